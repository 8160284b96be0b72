//! What a training run saves, to be gone on from: weights, optimizer, schedulers, and how far it was.
//!
//! The form is MMEngine 0.10.7's (`Runner.save_checkpoint`), both ways: its `Runner.resume` takes what is written here, and what it wrote is
//! read here. Two things differ. The message hub's histories of losses are objects of MMEngine's, so they are neither read nor written, and our
//! files load with `torch.load(weights_only=True)`. And averages are told from what they average by name: in the file, MMEngine's `EMAHook` swaps
//! the two, so that `state_dict` has the averages, with which one tests.

use std::borrow::Cow;
use std::sync::Arc;

use super::dtype::DType;
use super::error::CheckpointError;
use super::plain::{Dict, Plain};
use super::save::Saved;
use super::storage::Storages;
use super::tensor::{TensorInfo, TensorView};

mod read;
mod write;

/// A training run at one moment. Its tensors are of type `T`: [`Stored`] in a file that was read; to be written, whatever is [`Saved`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState<T> {
    /// How far it was, and of what.
    pub meta: TrainingMeta,
    /// The model as it is trained, by key in the model's order, counters among it.
    pub state_dict: Vec<(String, T)>,
    /// The averages of the model, where it is averaged.
    pub averaged: Option<Averaged<T>>,
    /// The optimizer, where it was saved (`save_optimizer`).
    pub optimizer: Option<OptimizerState<T>>,
    /// The schedulers' attributes in the order of the config, where they were saved (`save_param_scheduler`).
    pub param_schedulers: Option<Vec<Dict>>,
    /// What hooks keep in the message hub (`runtime_info`), such as `best_ckpt` and `keep_ckpt_ids`.
    pub runtime_info: Dict,
    /// Anything else, by its name at the file's top level.
    pub others: Dict,
}

/// How far a training run was, and of what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingMeta {
    /// Epochs that are done.
    pub epoch: i64,
    /// Iterations that are done.
    pub iter: i64,
    /// The config, as Python text.
    pub cfg: String,
    /// What random numbers came from.
    pub seed: Option<i64>,
    /// The run's name: the config's and the time of its start.
    pub experiment_name: String,
    /// When this was saved, as `20261123_122055`.
    pub time: String,
    /// Class names of the data set, in label order.
    pub classes: Vec<String>,
    /// The classes' colours, red, green, blue; empty where there are none.
    pub palette: Vec<[u8; 3]>,
    /// Anything else, such as `hook_msgs` and `mmengine_version`.
    pub others: Dict,
}

/// The averages of a model (MMEngine's `AveragedModel`).
#[derive(Debug, Clone, PartialEq)]
pub struct Averaged<T> {
    /// Each average, by the key of what it averages.
    pub state_dict: Vec<(String, T)>,
    /// Updates so far.
    pub steps: i64,
}

/// An optimizer's `state_dict`.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState<T> {
    /// What it keeps of each parameter. One that never had a gradient has none.
    pub state: Vec<ParameterState<T>>,
    /// Each group's settings, its parameters' numbers (`params`) among them.
    pub param_groups: Vec<Dict>,
    /// The settings of a group without parameters, which MMEngine adds where `paramwise_cfg` is given, to show `base_lr`. Schedulers count it as
    /// the last group.
    pub base_param_settings: Option<Dict>,
    /// The state of PyTorch's GradScaler, which MMEngine's `AmpOptimWrapper` adds.
    pub loss_scaler: Option<Dict>,
}

/// What an optimizer keeps of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterState<T> {
    /// The parameter's number, counted through all groups.
    pub number: usize,
    /// By name, as the optimizer calls them: `exp_avg`.
    pub values: Vec<(String, StateValue<T>)>,
}

/// One thing that an optimizer keeps of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum StateValue<T> {
    /// As `exp_avg`; also `step`, which PyTorch keeps as a tensor without dimensions.
    Tensor(T),
    /// As the `step` of older releases, or a `momentum_buffer` that is `None` yet.
    Plain(Plain),
}

/// A tensor of a checkpoint that was read, still in the file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stored {
    key: String,
    info: TensorInfo,
    storages: Arc<Storages>,
}

impl<T> TrainingState<T> {
    /// The same with other tensors.
    pub fn map<U>(self, mut with: impl FnMut(T) -> U) -> TrainingState<U> {
        let mut all = |entries: Vec<(String, T)>| {
            let entries = entries.into_iter();
            entries.map(|(key, tensor)| (key, with(tensor))).collect()
        };
        let state_dict = all(self.state_dict);
        let averaged = self.averaged.map(|averaged| Averaged {
            state_dict: all(averaged.state_dict),
            steps: averaged.steps,
        });
        let mut value = |value| match value {
            StateValue::Tensor(tensor) => StateValue::Tensor(with(tensor)),
            StateValue::Plain(plain) => StateValue::Plain(plain),
        };
        let optimizer = self.optimizer.map(|optimizer| OptimizerState {
            state: (optimizer.state.into_iter())
                .map(|parameter| ParameterState {
                    number: parameter.number,
                    values: (parameter.values.into_iter())
                        .map(|(name, v)| (name, value(v)))
                        .collect(),
                })
                .collect(),
            param_groups: optimizer.param_groups,
            base_param_settings: optimizer.base_param_settings,
            loss_scaler: optimizer.loss_scaler,
        });
        TrainingState {
            meta: self.meta,
            state_dict,
            averaged,
            optimizer,
            param_schedulers: self.param_schedulers,
            runtime_info: self.runtime_info,
            others: self.others,
        }
    }
}

impl Stored {
    /// The tensor.
    pub fn view(&self) -> TensorView<'_> {
        TensorView {
            key: &self.key,
            info: &self.info,
            storages: &self.storages,
        }
    }

    /// The elements as f32, row-major; see [`TensorView::f32`].
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn f32(&self) -> Result<Vec<f32>, CheckpointError> {
        self.view().f32()
    }
}

impl Saved for Stored {
    fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    fn dtype(&self) -> DType {
        self.info.dtype
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        let bytes = self.view().bytes().map_err(|error| error.to_string())?;
        Ok(bytes.into())
    }

    fn tied(&self) -> Option<usize> {
        self.view().whole_storage()
    }
}
