//! A run to a file and back: what a checkpoint has beside weights, so that a run that was killed goes on with the same numbers.
//!
//! The form is MMEngine's, both ways; see [`crate::weights::TrainingState`]. Files appear whole or not at all: they are written beside their
//! place, synced, and renamed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::learner::Learner;
use super::run::{Position, Run};
use super::schedules::Saved as SavedSchedule;
use super::{Event, GroupState, ParameterState, Setting, Settings, Stop};
use crate::host::checkpoint_files::{self, CheckpointFileError};
use crate::layers::{Role, StateEntry, TensorSource};
use crate::weights::{
    Averaged, DType, Dict, OptimizerState as SavedOptimizer, ParameterState as SavedParameter,
    Plain, Saved, StateValue, Stored, TrainingMeta, TrainingState,
};

/// What a checkpoint is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saving {
    /// What the optimizer keeps.
    pub optimizer: bool,
    /// Where the schedules are.
    pub schedules: bool,
}

impl Saving {
    /// Everything.
    pub const ALL: Self = Self {
        optimizer: true,
        schedules: true,
    };
    /// Weights only.
    pub const WEIGHTS: Self = Self {
        optimizer: false,
        schedules: false,
    };
}

/// A tensor on its way to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    shape: Vec<usize>,
    values: Values,
    tied: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    F32(Arc<Vec<f32>>),
    Whole(Arc<Vec<i64>>),
}

impl Saved for Held {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn dtype(&self) -> DType {
        match self.values {
            Values::F32(_) => DType::F32,
            Values::Whole(_) => DType::I64,
        }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        Ok(match &self.values {
            Values::F32(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
            Values::Whole(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
        })
    }

    fn tied(&self) -> Option<usize> {
        self.tied
    }
}

/// Where ours note how far in an epoch a run was; MMEngine writes between epochs only.
const OURS: &str = "smalti";

impl Run {
    /// Writes a checkpoint, as of `position`, and notes it as the last one.
    ///
    /// # Errors
    /// The device was lost, or the file cannot be written; what was there before is whole.
    pub fn save(&mut self, path: &Path, position: Position, saving: Saving) -> Result<(), Stop> {
        self.read_scalars()?;
        let state = self.state(position, saving)?;
        let fail = |e: CheckpointFileError| Stop::fault(e.to_string());
        checkpoint_files::save(path, |file| state.write(file)).map_err(fail)?;
        if saving.optimizer {
            checkpoint_files::note_last(&self.work_dir, path).map_err(fail)?;
        }
        self.tell(&Event::Saved(path.to_path_buf()));
        Ok(())
    }

    /// All that a checkpoint has.
    fn state(&mut self, position: Position, saving: Saving) -> Result<TrainingState<Held>, Stop> {
        let fault = |e: crate::ops::launch::ReadError| Stop::fault(e.to_string());
        let state_dict = state_dict(&self.learner, 0)?;
        let averaged = match &mut self.learner.average {
            None => None,
            Some(average) => {
                let steps = average.steps() as i64;
                average.swap();
                // Other tensors than the model's.
                let state_dict = self::state_dict(&self.learner, state_dict.len());
                if let Some(average) = &mut self.learner.average {
                    average.swap();
                }
                let state_dict = state_dict?;
                Some(Averaged { state_dict, steps })
            }
        };
        let learner = &self.learner;
        let optimizer = if saving.optimizer {
            let state = pollster::block_on(learner.optimization.state()).map_err(fault)?;
            Some(saved_optimizer(state, learner))
        } else {
            None
        };
        let groups = learner.optimization.groups();
        let schedules = learner.schedules.state(groups);
        let schedules = saving
            .schedules
            .then(|| schedules.iter().map(dict_of).collect());
        let meta = TrainingMeta {
            epoch: position.epoch as i64,
            iter: position.iter as i64,
            cfg: self.config.to_py(),
            seed: i64::try_from(self.seed).ok(),
            experiment_name: self.name.clone(),
            time: crate::host::clock::timestamp(),
            classes: self.classes.clone(),
            palette: self.palette.clone(),
            others: Dict::new(),
        };
        let info = self.info.iter();
        let info = info.map(|(key, value)| (Plain::Text(key.clone()), value.clone()));
        let ours = Dict::new()
            .with("batch", Plain::Int(position.batch as i64))
            .with("version", Plain::Text(env!("CARGO_PKG_VERSION").into()));
        Ok(TrainingState {
            meta,
            state_dict,
            averaged,
            optimizer,
            param_schedulers: schedules,
            runtime_info: Dict(info.collect()),
            others: Dict::new().with(OURS, Plain::Dict(ours)),
        })
    }
}

/// The tensors of the model as they are. Those that are one have the same number, from `first` on.
fn state_dict(learner: &Learner, first: usize) -> Result<Vec<(String, Held)>, Stop> {
    let source = pollster::block_on(learner.store.source());
    let mut source = source.map_err(|e| Stop::fault(e.to_string()))?;
    let mut numbers = HashMap::new();
    let entries = learner.store.entries().into_iter().map(|(name, slot)| {
        let held = match slot.role() {
            Role::Counter => Held {
                shape: Vec::new(),
                values: Values::Whole(Arc::new(vec![slot.count() as i64])),
                tied: None,
            },
            Role::Index => Held {
                shape: slot.shape().to_vec(),
                values: Values::Whole(slot.indices()),
                tied: None,
            },
            _ => {
                let next = first + numbers.len();
                let number = *numbers.entry(slot.key().to_string()).or_insert(next);
                let values = source.tensor(&slot.as_entry());
                Held {
                    shape: slot.shape().to_vec(),
                    values: Values::F32(Arc::new(values.expect("a snapshot has all tensors"))),
                    tied: Some(number),
                }
            }
        };
        (name, held)
    });
    Ok(entries.collect())
}

/// A small text file, whole or not at all.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), Stop> {
    let written = checkpoint_files::save(path, |file| Ok(file.write_all(text.as_bytes())?));
    written.map_err(|e| Stop::fault(e.to_string()))
}

fn plain(setting: &Setting) -> Plain {
    match setting {
        Setting::Flag(flag) => Plain::Bool(*flag),
        Setting::Int(number) => Plain::Int(*number),
        Setting::Number(number) => Plain::Float(*number),
        Setting::Numbers(numbers) => {
            Plain::Tuple(numbers.iter().map(|n| Plain::Float(*n)).collect())
        }
        Setting::Text(text) => Plain::Text(text.clone()),
    }
}

fn setting(plain: &Plain) -> Option<Setting> {
    Some(match plain {
        Plain::Bool(flag) => Setting::Flag(*flag),
        Plain::Int(number) => Setting::Int(*number),
        Plain::Float(number) => Setting::Number(*number),
        Plain::Text(text) => Setting::Text(text.clone()),
        _ => {
            let numbers = plain.items()?.iter().map(Plain::float);
            Setting::Numbers(numbers.collect::<Option<_>>()?)
        }
    })
}

fn dict_of(settings: &Settings) -> Dict {
    let pairs = settings.iter();
    Dict(
        pairs
            .map(|(name, value)| (Plain::Text(name.into()), plain(value)))
            .collect(),
    )
}

fn settings_of(dict: &Dict) -> Settings {
    let pairs = dict.iter();
    pairs
        .filter_map(|(name, value)| Some((name.to_string(), setting(value)?)))
        .collect()
}

/// Where groups that the original does not have are kept: parameters that sleep.
const ASLEEP: &str = "smalti_asleep";

fn saved_optimizer(state: super::OptimizerState, learner: &Learner) -> SavedOptimizer<Held> {
    let order = learner.optimization.groups().order();
    let number = |key: &str| order.iter().position(|known| *known == key);
    let shape = |key: &str| {
        let slot = learner.store.slot(key);
        slot.map(|slot| slot.shape().to_vec()).unwrap_or_default()
    };
    let parameter = |kept: ParameterState| {
        let dims = shape(&kept.key);
        let mut values = Vec::new();
        if let Some(step) = kept.step {
            let step = Held {
                shape: Vec::new(),
                values: Values::F32(Arc::new(vec![step as f32])),
                tied: None,
            };
            values.push(("step".to_string(), StateValue::Tensor(step)));
        }
        for (name, numbers) in kept.tensors {
            let held = Held {
                shape: dims.clone(),
                values: Values::F32(Arc::new(numbers)),
                tied: None,
            };
            values.push((name, StateValue::Tensor(held)));
        }
        Some(SavedParameter {
            number: number(&kept.key)?,
            values,
        })
    };
    let group = |group: &GroupState| {
        let numbers = group.keys.iter().filter_map(|key| number(key));
        let numbers = numbers.map(|n| Plain::Int(n as i64)).collect();
        dict_of(&group.settings).with("params", Plain::List(numbers))
    };
    let mut groups: Vec<Dict> = state.groups.iter().map(group).collect();
    if !state.asleep.is_empty()
        && let Some(first) = groups.first_mut()
    {
        let asleep = state.asleep.iter().map(|group| {
            let keys = group.keys.iter().map(|key| Plain::Text(key.clone()));
            Plain::Dict(dict_of(&group.settings).with("keys", Plain::List(keys.collect())))
        });
        first.insert(ASLEEP, Plain::List(asleep.collect()));
    }
    SavedOptimizer {
        state: state.parameters.into_iter().filter_map(parameter).collect(),
        param_groups: groups,
        base_param_settings: state.base.as_ref().map(dict_of),
        loss_scaler: state.loss_scaler.as_ref().map(dict_of),
    }
}

/// Goes on from a checkpoint: weights, averages, optimizer, schedules and position of a run that was built from the same config.
///
/// # Errors
/// It is of another model or optimizer.
pub(super) fn restore(run: &mut Run, state: &TrainingState<Stored>) -> Result<(), Stop> {
    let mut source = FromState {
        tensors: state
            .state_dict
            .iter()
            .map(|(k, t)| (k.as_str(), t))
            .collect(),
        fault: None,
    };
    let missing = run.learner.store.load(&mut source);
    if let Some(why) = source.fault {
        return Err(Stop::fault(why));
    }
    if let Some(first) = missing.first() {
        return Err(Stop::fault(format!(
            "the checkpoint lacks {} tensors of this model, `{first}` first: resume with the config that it was written with, or take its \
             weights with load_from",
            missing.len()
        )));
    }
    run.position = Position {
        epoch: u64::try_from(state.meta.epoch).unwrap_or(0),
        iter: u64::try_from(state.meta.iter).unwrap_or(0),
        batch: 0,
    };
    let ours = state.others.get(OURS).and_then(Plain::dict);
    if let Some(batch) = ours.and_then(|d| d.get("batch")).and_then(Plain::int) {
        run.position.batch = u64::try_from(batch).unwrap_or(0);
    }
    for (key, value) in state.runtime_info.iter() {
        run.info.insert(key.to_string(), value.clone());
    }
    Ok(())
}

/// The second part of [`restore`], when hooks have unfrozen what they had.
pub(super) fn restore_optimizer(run: &mut Run, state: &TrainingState<Stored>) -> Result<(), Stop> {
    let fail = |e: &dyn std::fmt::Display| Stop::fault(e.to_string());
    if let Some(saved) = &state.optimizer {
        let saved = optimizer_of(saved, &run.learner).map_err(|e| fail(&e))?;
        let learner = &mut run.learner;
        let restored = learner.optimization.restore(saved, &learner.store);
        restored.map_err(|e| fail(&e))?;
    }
    if let Some(saved) = &state.param_schedulers {
        let saved: Vec<SavedSchedule> = saved.iter().map(settings_of).collect();
        let learner = &mut run.learner;
        let groups = learner.optimization.groups();
        let restored = learner.schedules.restore(&saved, groups);
        restored.map_err(|e| fail(&e))?;
    }
    if let (Some(average), Some(saved)) = (&mut run.learner.average, &state.averaged) {
        let mut source = FromState {
            tensors: saved
                .state_dict
                .iter()
                .map(|(k, t)| (k.as_str(), t))
                .collect(),
            fault: None,
        };
        average.load(&mut source, u64::try_from(saved.steps).unwrap_or(0));
        if let Some(why) = source.fault {
            return Err(Stop::fault(why));
        }
    }
    Ok(())
}

fn optimizer_of(
    saved: &SavedOptimizer<Stored>,
    learner: &Learner,
) -> Result<super::OptimizerState, String> {
    let order = learner.optimization.groups().order();
    let key = |number: usize| {
        let known = order.get(number).map(|key| key.to_string());
        known.ok_or_else(|| {
            format!(
                "the checkpoint's optimizer has a parameter {number}, here are {}: was it written with another config?",
                order.len()
            )
        })
    };
    let mut parameters = Vec::new();
    for parameter in &saved.state {
        let key = key(parameter.number)?;
        let (mut step, mut tensors) = (None, Vec::new());
        for (name, value) in &parameter.values {
            match value {
                StateValue::Tensor(tensor) => {
                    let values = tensor.f32().map_err(|e| e.to_string())?;
                    match (name.as_str(), values.first()) {
                        ("step", Some(first)) => step = Some(*first as u64),
                        _ => tensors.push((name.clone(), values)),
                    }
                }
                StateValue::Plain(plain) if name == "step" => {
                    step = plain.float().map(|step| step as u64);
                }
                // nothing was kept yet
                StateValue::Plain(_) => {}
            }
        }
        parameters.push(ParameterState { key, step, tensors });
    }
    let mut groups = Vec::new();
    let mut asleep = Vec::new();
    for group in &saved.param_groups {
        let mut group = group.clone();
        let numbers = group.remove("params");
        if let Some(Plain::List(list)) = group.remove(ASLEEP) {
            for entry in list {
                if let Plain::Dict(mut settings) = entry {
                    let keys = settings.remove("keys");
                    let keys = keys.as_ref().and_then(Plain::items).unwrap_or_default();
                    let keys = keys.iter().filter_map(|k| k.text().map(String::from));
                    asleep.push(GroupState {
                        keys: keys.collect(),
                        settings: settings_of(&settings),
                    });
                }
            }
        }
        let numbers = numbers.as_ref().and_then(Plain::items).unwrap_or_default();
        let keys = numbers.iter().filter_map(Plain::int);
        let keys = keys.map(|n| key(usize::try_from(n).unwrap_or(usize::MAX)));
        groups.push(GroupState {
            keys: keys.collect::<Result<_, _>>()?,
            settings: settings_of(&group),
        });
    }
    Ok(super::OptimizerState {
        optimizer: learner.optimization.optimizer().name().to_string(),
        groups,
        asleep,
        base: saved.base_param_settings.as_ref().map(settings_of),
        loss_scaler: saved.loss_scaler.as_ref().map(settings_of),
        parameters,
    })
}

/// The tensors of a checkpoint, by name and shape.
struct FromState<'a> {
    tensors: HashMap<&'a str, &'a Stored>,
    fault: Option<String>,
}

impl TensorSource for FromState<'_> {
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
        let stored = self.tensors.get(entry.key.as_str())?;
        if stored.shape() != entry.shape {
            let (there, here) = (stored.shape(), &entry.shape);
            self.fault = Some(format!(
                "`{}` has the shape {there:?} in the checkpoint and {here:?} in this model: resume with the config that it was written with",
                entry.key
            ));
            return None;
        }
        match stored.f32() {
            Ok(values) => Some(values),
            Err(e) => {
                self.fault = Some(format!("`{}`: {e}", entry.key));
                None
            }
        }
    }
}

/// Writes a copy of a checkpoint with the parts that `keys` names, its name ending in eight digits of its own checksum, as MMEngine publishes.
pub(super) fn publish(path: &Path, keys: &[String]) -> Result<PathBuf, Stop> {
    use sha2::Digest;
    let fail = |e: &dyn std::fmt::Display| Stop::fault(format!("{}: {e}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| fail(&e))?;
    let mut state = TrainingState::read(bytes).map_err(|e| fail(&e))?;
    let wanted = |key: &str| keys.iter().any(|k| k == key);
    if !wanted("optimizer") {
        state.optimizer = None;
    }
    if !wanted("param_schedulers") {
        state.param_schedulers = None;
    }
    if !wanted("ema_state_dict")
        && let Some(averaged) = state.averaged.take()
    {
        // the file's weights are the averages
        state.state_dict = averaged.state_dict;
    }
    if !wanted("message_hub") {
        state.runtime_info = Dict::new();
    }
    state
        .others
        .0
        .retain(|(key, _)| key.text().is_some_and(&wanted));
    let mut bytes = Vec::new();
    state.write(&mut bytes).map_err(|e| fail(&e))?;
    let digits: String = sha2::Sha256::digest(&bytes)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let published = path.with_file_name(format!("{stem}-{digits}.pth"));
    let written = checkpoint_files::save(&published, |file| Ok(file.write_all(&bytes)?));
    written.map_err(|e| Stop::fault(e.to_string()))?;
    Ok(published)
}
