//! [`Optimization`]: gradients to a step of all parameters, and its state for checkpoints.

use std::collections::HashMap;
use std::fmt;

use burn::tensor::{Tensor, TensorData, Transaction};

use super::clip::{Bounds, Clip};
use super::groups::{Group, Groups};
use super::optim_wrapper::{OptimWrapper, auto_scale};
use super::optimizers::{Kept, Optimizer};
use super::{LossScaler, Settings, groups};
use crate::Precision;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{Gradients, Store};
use crate::ops::DetectError;
use crate::ops::launch::ReadError;
use crate::ops::train::Measured;
use crate::registry::{DEFAULT_SCOPE, Registry};

/// An optimizer at work: groups, what is kept of each parameter, and how gradients are bounded.
#[derive(Debug)]
pub struct Optimization {
    optimizer: Box<dyn Optimizer>,
    groups: Groups,
    clip: Option<Clip>,
    scaler: Option<LossScaler>,
    /// Losses are scaled: products are of f16.
    scaling: bool,
    kept: HashMap<String, Kept>,
    /// `accumulative_counts`: iterations for a step; see [`super::Accumulation`].
    pub accumulative_counts: u64,
    /// What is done otherwise than the config says.
    pub notes: Diagnostics,
}

/// Why there was no step.
#[derive(Clone, Debug, PartialEq)]
pub enum UpdateError {
    /// Gradients have a norm that is no finite number, and `error_if_nonfinite` forbids that.
    NotFinite(f32),
    /// The device was lost.
    Read(ReadError),
    /// A first stage gave no proposals.
    Proposals(DetectError),
}

impl From<DetectError> for UpdateError {
    fn from(error: DetectError) -> Self {
        Self::Proposals(error)
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite(norm) => write!(
                f,
                "the norm of all gradients is {norm}, and `clip_grad` has error_if_nonfinite=True"
            ),
            Self::Read(error) => error.fmt(f),
            Self::Proposals(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UpdateError {}

impl Optimization {
    /// What `root`, a whole config, says of optimizer, groups and gradients, for the parameters of `store` in batches of `batch_size`.
    ///
    /// # Errors
    /// Something in the config is wrong.
    pub fn build(
        root: &Node,
        registry: &Registry,
        store: &Store,
        batch_size: u64,
    ) -> Result<Self, Diagnostics> {
        let scope = root.get("default_scope").and_then(|s| s.as_str());
        let scope = scope.unwrap_or(DEFAULT_SCOPE);
        let wrapper = root.get("optim_wrapper").filter(|node| !node.is_none());
        let Some(wrapper) = wrapper else {
            let message = "this config has no `optim_wrapper`";
            let help = "training needs one, for example optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))";
            return Err(error_at(root, "", message, help));
        };
        let OptimWrapper {
            optimizer,
            clip,
            accumulative_counts,
            mixed,
        } = OptimWrapper::read(wrapper, registry, scope)?;
        let none = || error_at(root, "", "this config has no `model`", "");
        let model = root.get("model").ok_or_else(none)?;
        let parameters = store.parameters();
        let mut groups = groups::build(wrapper, model, &parameters, &*optimizer, registry, scope)?;
        if let Some(ratio) = auto_scale(root.get("auto_scale_lr"), batch_size)? {
            groups.scale_lr(ratio);
        }
        let precision = store.precision();
        let note = mixed.as_ref().and_then(|m| m.note(wrapper, precision));
        Ok(Self {
            optimizer,
            groups,
            clip,
            scaling: mixed.is_some() && precision == Precision::F16,
            scaler: mixed.map(|mixed| mixed.scaler),
            kept: HashMap::new(),
            accumulative_counts,
            notes: note.into_iter().collect(),
        })
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &dyn Optimizer {
        &*self.optimizer
    }

    /// The groups of parameters.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The groups of parameters, for schedules to change.
    pub fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// How gradients are bounded.
    pub fn clip(&self) -> Option<&Clip> {
        self.clip.as_ref()
    }

    /// By what losses are to be multiplied before gradients are taken; 1 unless products are of f16.
    pub fn loss_scale(&self) -> f32 {
        let scaler = self.scaler.as_ref().filter(|_| self.scaling);
        scaler.map_or(1.0, LossScaler::scale)
    }

    /// The scaler of losses, if there is mixed precision.
    pub fn scaler(&self) -> Option<&LossScaler> {
        self.scaler.as_ref()
    }

    /// A step by gradients of losses that were multiplied by [`Optimization::loss_scale`]. Gives the norm that the gradients had where it is bounded
    /// (`grad_norm` of the log); it stays on the device. Parameters without a gradient stay as they are, and so do those that sleep. It waits for the
    /// device only where `error_if_nonfinite` asks, and where losses are scaled: then a step with gradients that are not finite is left out.
    ///
    /// # Errors
    /// The norm is not to be infinite, and is.
    pub async fn update(
        &mut self,
        mut gradients: Gradients,
    ) -> Result<Option<Tensor<1>>, UpdateError> {
        let groups = &self.groups;
        gradients.retain(|slot| {
            groups
                .group(slot.key())
                .is_some_and(|(_, member)| !member.asleep)
        });
        let scale = self.loss_scale();
        let scaling = self.scaling && self.scaler.as_ref().is_some_and(LossScaler::enabled);
        let measured = match scaling {
            true => Measured::of(gradients.iter().map(|(_, gradient)| gradient)),
            false => None,
        };
        let bounds = match &self.clip {
            Some(clip) => clip.bounds(&gradients, measured.as_ref(), scale),
            None => Bounds::unscaled(&gradients, scale),
        };
        let norm = bounds.norm.clone();
        if let (Some(Clip::Norm { finite: true, .. }), Some(norm)) = (self.clip, &norm) {
            let value = number(norm).await?;
            if !value.is_finite() {
                return Err(UpdateError::NotFinite(value));
            }
        }
        if let (Some(scaler), true) = (&mut self.scaler, scaling) {
            let left_out = match &measured {
                Some(measured) => number(&measured.not_finite).await? > 0.0,
                None => false,
            };
            scaler.update(left_out);
            if left_out {
                return Ok(norm);
            }
        }
        for (slot, gradient) in gradients {
            let Some((group, _)) = self.groups.group(slot.key()) else {
                continue;
            };
            let kept = self.kept.entry(slot.key().to_string()).or_default();
            kept.steps += 1;
            let gradient = bounds.of(gradient);
            slot.update(|value| self.optimizer.step(&group.settings, value, gradient, kept));
        }
        Ok(norm)
    }

    /// All that a checkpoint has of the optimizer.
    ///
    /// # Errors
    /// The device was lost.
    pub async fn state(&self) -> Result<OptimizerState, ReadError> {
        let order = self.groups.order();
        let counts = self.optimizer.counts_steps();
        let known = |key: &str| self.kept.get(key).map(|kept| (key.to_string(), kept));
        let kept = order.iter().filter_map(|key| known(key));
        let kept = kept.filter(|(_, kept)| counts || kept.iter().next().is_some());
        let kept: Vec<_> = kept.collect();
        let mut tensors = kept.iter().flat_map(|(_, kept)| kept.iter()).peekable();
        let mut read = Vec::new();
        if tensors.peek().is_some() {
            let reads = tensors.fold(Transaction::default(), |reads, (_, tensor)| {
                reads.register(tensor.clone())
            });
            let all = reads.execute_async().await;
            read = all.map_err(|e| ReadError(format!("{e:?}")))?;
        }
        let mut read = read.into_iter();
        let mut parameters = Vec::new();
        for (key, kept) in kept {
            let mut tensors = Vec::new();
            for (name, _) in kept.iter() {
                let data = read.next().expect("one for each that was asked for");
                let values = data.try_into_vec_as::<f32>();
                let values = values.map_err(|e| ReadError(format!("{e:?}")))?;
                tensors.push((name.to_string(), values));
            }
            let step = counts.then_some(kept.steps);
            parameters.push(ParameterState { key, step, tensors });
        }
        let group = |group: &Group, asleep: bool| {
            let members = group.members.iter().filter(|m| m.asleep == asleep);
            let keys: Vec<_> = members.map(|m| m.key.clone()).collect();
            let settings = group.settings.clone();
            (!keys.is_empty()).then_some(GroupState { keys, settings })
        };
        let asleep = self.groups.all().iter().filter(|group| !group.awake());
        Ok(OptimizerState {
            optimizer: self.optimizer.name().to_string(),
            groups: self.groups.iter().filter_map(|g| group(g, false)).collect(),
            asleep: asleep.filter_map(|g| group(g, true)).collect(),
            base: self.groups.base().cloned(),
            loss_scaler: self.scaler.as_ref().map(LossScaler::state),
            parameters,
        })
    }

    /// Goes on where a checkpoint was written: settings of groups, and what was kept of parameters. Parameters that have woken since the run
    /// began must be woken before. `store` has the parameters of the config from which this was built.
    ///
    /// # Errors
    /// The state is of other groups or parameters; nothing is changed then.
    pub fn restore(&mut self, state: OptimizerState, store: &Store) -> Result<(), RestoreError> {
        let here: Vec<usize> = self.groups.iter().map(count).collect();
        let there: Vec<usize> = state.groups.iter().map(|group| group.keys.len()).collect();
        if here != there {
            return Err(RestoreError::Groups { saved: there, here });
        }
        let saved = state.groups.iter().flat_map(|group| &group.keys);
        for (saved, here) in saved.zip(self.groups.order()) {
            if saved != here {
                return Err(RestoreError::Order {
                    saved: saved.clone(),
                    here: here.to_string(),
                });
            }
        }
        let mut kept = HashMap::new();
        for parameter in state.parameters {
            let slot = store.slot(&parameter.key);
            let Some(slot) = slot.filter(|_| self.groups.group(&parameter.key).is_some()) else {
                return Err(RestoreError::Unknown(parameter.key));
            };
            let count = slot.shape().iter().product::<usize>();
            let device = slot.value().device();
            let mut tensors = Vec::new();
            for (name, values) in parameter.tensors {
                if values.len() != count {
                    return Err(RestoreError::Size {
                        key: parameter.key,
                        name,
                        saved: values.len(),
                        here: count,
                    });
                }
                let data = TensorData::new(values, [count]);
                tensors.push((name, Tensor::from_data(data, &device)));
            }
            let steps = parameter.step.unwrap_or(1);
            kept.insert(parameter.key, Kept::new(steps, tensors));
        }
        // Only what is of the same kind as here: an optimizer reads it.
        let mut odd = Vec::new();
        let mut changed = self.groups.clone();
        let saved = state.groups.iter().chain(&state.asleep);
        for saved in saved {
            let first = saved.keys.first().cloned().unwrap_or_default();
            if let Some(settings) = changed.settings_of(&first) {
                odd.extend(settings.restore(&saved.settings));
            }
        }
        if let (Some(base), Some(saved)) = (changed.base_mut(), &state.base) {
            odd.extend(base.restore(saved));
        }
        if let Some(name) = odd.pop() {
            return Err(RestoreError::Setting(name));
        }
        if state.asleep.is_empty() {
            changed.follow();
        }
        (self.groups, self.kept) = (changed, kept);
        if let (Some(scaler), Some(saved)) = (&mut self.scaler, &state.loss_scaler) {
            scaler.restore(saved);
        }
        Ok(())
    }
}

/// The number of a tensor that has one.
async fn number(tensor: &Tensor<1>) -> Result<f32, UpdateError> {
    let read = tensor.clone().into_data_async().await;
    let read = read.map_err(|e| UpdateError::Read(ReadError(format!("{e:?}"))))?;
    Ok(read.iter::<f32>().next().unwrap_or_default())
}

fn count(group: &Group) -> usize {
    group.members.iter().filter(|member| !member.asleep).count()
}

/// What a checkpoint has of an optimizer, in the host's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// The optimizer's registered name.
    pub optimizer: String,
    /// PyTorch's `param_groups`, in order; it numbers parameters through all of them.
    pub groups: Vec<GroupState>,
    /// Groups of parameters that are frozen and that the original leaves out; none in its checkpoints.
    pub asleep: Vec<GroupState>,
    /// MMEngine's `base_param_settings`.
    pub base: Option<Settings>,
    /// Of mixed precision, MMEngine's `loss_scaler`.
    pub loss_scaler: Option<Settings>,
    /// PyTorch's `state`, in the same order; parameters that never had a gradient are not there.
    pub parameters: Vec<ParameterState>,
}

/// A group of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupState {
    /// Names of its parameters.
    pub keys: Vec<String>,
    /// What they are trained with.
    pub settings: Settings,
}

/// What is kept of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterState {
    /// Its name.
    pub key: String,
    /// PyTorch's `step`, of optimizers that have it.
    pub step: Option<u64>,
    /// Tensors by PyTorch's names, row-major in the parameter's shape.
    pub tensors: Vec<(String, Vec<f32>)>,
}

/// Why a checkpoint's optimizer is not this one.
#[derive(Clone, Debug, PartialEq)]
pub enum RestoreError {
    /// Groups of other sizes.
    Groups {
        /// Parameters of each group in the checkpoint.
        saved: Vec<usize>,
        /// Here.
        here: Vec<usize>,
    },
    /// Other parameters, or in another order.
    Order {
        /// In the checkpoint.
        saved: String,
        /// In its place here.
        here: String,
    },
    /// A parameter that is in no group here.
    Unknown(String),
    /// A tensor of another size.
    Size {
        /// The parameter.
        key: String,
        /// What is kept of it.
        name: String,
        /// Numbers in the checkpoint.
        saved: usize,
        /// Numbers here.
        here: usize,
    },
    /// A setting of another kind than the optimizer's.
    Setting(String),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the checkpoint's optimizer is another one: ")?;
        match self {
            Self::Groups { saved, here } => {
                let [of_saved, of_here] = [saved, here].map(|sizes| sizes.iter().sum::<usize>());
                write!(
                    f,
                    "{of_saved} parameters in {} groups, here are {of_here} in {}",
                    saved.len(),
                    here.len()
                )
            }
            Self::Order { saved, here } => write!(f, "it has `{saved}` where `{here}` is here"),
            Self::Unknown(key) => write!(f, "`{key}` is not trained here"),
            Self::Size {
                key,
                name,
                saved,
                here,
            } => write!(
                f,
                "`{name}` of `{key}` has {saved} numbers, the parameter has {here}"
            ),
            Self::Setting(name) => write!(f, "`{name}` of a group is of another kind"),
        }
    }
}

impl std::error::Error for RestoreError {}

#[cfg(test)]
#[path = "optimization_tests.rs"]
mod tests;
