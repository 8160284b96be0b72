//! A training run read back.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::{
    Averaged, OptimizerState, ParameterState, StateValue, Stored, TrainingMeta, TrainingState,
};
use crate::dtype::DType;
use crate::error::{CheckpointError, MAX_NAME, shortened};
use crate::graph::Graph;
use crate::pickle::{Budget, Id, Node};
use crate::plain::{Dict, Plain};
use crate::state::{JOINED, LISTED, MAX_KEY, MAX_TENSORS};
use crate::storage::Storages;
use crate::tensor::TensorInfo;

/// Plain values within plain values are read to this depth.
const MAX_DEPTH: usize = 32;
/// Longest text that is read, in bytes: the config's is one.
const MAX_TEXT: usize = 8 << 20;
/// Parts of the file that are read by themselves.
const OWN: [&str; 6] = [
    "meta",
    "state_dict",
    "ema_state_dict",
    "message_hub",
    "optimizer",
    "param_schedulers",
];

/// A tensor on the way: its key, and where it lies.
type Found = (String, TensorInfo);

impl TrainingState<Stored> {
    /// Reads what MMEngine, or [`TrainingState::write`], saved. No tensor is copied yet.
    ///
    /// # Errors
    /// Any [`CheckpointError`] of [`Checkpoint::read`](crate::Checkpoint::read); `NotTraining` when nothing can be gone on from, and
    /// `Unreadable` for any tensor that cannot be read: a run cannot go on without it.
    pub fn read(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, CheckpointError> {
        let mut storages = Storages::new(bytes);
        let read = crate::read_torch(&mut storages, &Budget::new(), |graph, storages| {
            let found = graph.training(storages);
            // Used up, it makes parts seem absent.
            graph.pickle.budget.check()?;
            found
        })?;
        let (_, found) = read.ok_or(CheckpointError::NotTraining {
            lacks: "any such part: its format has tensors alone",
        })?;
        let storages = Arc::new(storages);
        Ok(found.map(|(key, info)| Stored {
            key,
            info,
            storages: storages.clone(),
        }))
    }
}

impl Graph<'_, '_> {
    fn training(
        &mut self,
        storages: &mut Storages,
    ) -> Result<TrainingState<Found>, CheckpointError> {
        let pickle = self.pickle;
        let root = pickle.root;
        let lacks = |lacks| CheckpointError::NotTraining { lacks };
        let meta = pickle.get(root, "meta").ok_or(lacks("`meta`"))?;
        let meta = self.plain_dict(meta, storages).unwrap_or_default();
        let meta = training_meta(meta).ok_or(lacks("`epoch` and `iter` in its `meta`"))?;
        if pickle.get(root, "state_dict").is_none() {
            return Err(lacks("`state_dict`"));
        }
        let mut state_dict = self.tensors("state_dict", storages)?;
        let averaged = match pickle.get(root, "ema_state_dict") {
            Some(_) => {
                let kept = self.tensors("ema_state_dict", storages)?;
                Some(self.swapped(&mut state_dict, kept, storages)?)
            }
            None => None,
        };
        let optimizer = match pickle.get(root, "optimizer") {
            Some(id) => Some(self.optimizer(id, storages)?),
            None => None,
        };
        let param_schedulers = match pickle.get(root, "param_schedulers") {
            Some(id) => Some(self.dicts(id, "schedulers", storages)?),
            None => None,
        };
        let hub = pickle.get(root, "message_hub");
        let info = hub.and_then(|hub| pickle.get(hub, "runtime_info"));
        let runtime_info = info.and_then(|info| self.plain_dict(info, storages));
        let mut others = Dict::new();
        for &(key, value) in pickle.pairs(root).unwrap_or_default().iter() {
            let Some(name) = pickle.long_text(key, MAX_NAME) else {
                continue;
            };
            if !OWN.contains(&&*name)
                && let Some(value) = self.plain(value, storages, MAX_DEPTH)
            {
                others.0.push((Plain::Text(name.into_owned()), value));
            }
        }
        Ok(TrainingState {
            meta,
            state_dict,
            averaged,
            optimizer,
            param_schedulers,
            runtime_info: runtime_info.unwrap_or_default(),
            others,
        })
    }

    /// All tensors of a part of the file.
    fn tensors(
        &mut self,
        section: &str,
        storages: &mut Storages,
    ) -> Result<Vec<(String, Found)>, CheckpointError> {
        let entries = self.state_dict(Some(section), storages)?.entries;
        let found = entries.into_iter().map(|entry| match entry.tensor {
            Ok(info) => Ok((entry.key.clone(), (entry.key, info))),
            Err(why) => Err(CheckpointError::Unreadable {
                key: entry.key,
                why,
            }),
        });
        found.collect()
    }

    /// Puts the trained values, which `EMAHook` keeps aside, back in their place, and gives the averages that were there.
    fn swapped(
        &mut self,
        state_dict: &mut [(String, Found)],
        kept: Vec<(String, Found)>,
        storages: &mut Storages,
    ) -> Result<Averaged<Found>, CheckpointError> {
        let keys = state_dict.iter().enumerate();
        let places: HashMap<String, usize> = keys.map(|(at, (key, _))| (key.clone(), at)).collect();
        let id = self.pickle.get(self.pickle.root, "ema_state_dict");
        let steps = id.and_then(|id| self.pickle.get(id, "steps"));
        let steps = steps.and_then(|id| self.whole_number(id, storages));
        let mut averaged = Vec::new();
        for (key, trained) in kept {
            match places.get(&key) {
                Some(&at) => {
                    let average = mem::replace(&mut state_dict[at].1, trained);
                    averaged.push((key, average));
                }
                None if key == "steps" => {}
                None => {
                    return Err(CheckpointError::Unreadable {
                        key,
                        why: "it is in `ema_state_dict` alone, not in `state_dict`".to_owned(),
                    });
                }
            }
        }
        Ok(Averaged {
            state_dict: averaged,
            steps: steps.unwrap_or(0),
        })
    }

    fn optimizer(
        &mut self,
        id: Id,
        storages: &mut Storages,
    ) -> Result<OptimizerState<Found>, CheckpointError> {
        let pickle = self.pickle;
        let Some(groups) = pickle.get(id, "param_groups") else {
            return Err(several("optimizers"));
        };
        let param_groups = self.dicts(groups, "groups of parameters", storages)?;
        let mut state = Vec::new();
        let mut count = 0;
        let kept = pickle
            .get(id, "state")
            .and_then(|state| pickle.pairs(state));
        for &(number, values) in kept.unwrap_or_default().iter() {
            let paid = pickle.budget.spend(LISTED);
            let (Some(number), Some(()), Some(pairs)) =
                (pickle.index(number), paid, pickle.pairs(values))
            else {
                continue;
            };
            let mut values = Vec::new();
            for (name, id) in self.text_keys(&pairs) {
                count += 1;
                if count > MAX_TENSORS {
                    return Err(CheckpointError::too_many_tensors());
                }
                if name.len() > MAX_KEY {
                    continue;
                }
                let key = format!("optimizer.state.{number}.{name}");
                match self.tensor(id, storages) {
                    Ok(Some(info)) => values.push((name, StateValue::Tensor((key, info)))),
                    Ok(None) => {
                        let plain = self.plain(id, storages, MAX_DEPTH);
                        values.extend(plain.map(|plain| (name, StateValue::Plain(plain))));
                    }
                    Err(why) => {
                        let why = shortened(&why, crate::error::MAX_WHY).into_owned();
                        return Err(CheckpointError::Unreadable { key, why });
                    }
                }
            }
            state.push(ParameterState { number, values });
        }
        let base = pickle.get(id, "base_param_settings");
        let scaler = pickle.get(id, "loss_scaler");
        Ok(OptimizerState {
            state,
            param_groups,
            // Its one parameter is a tensor that stands for none.
            base_param_settings: base.and_then(|base| self.plain_dict(base, storages)),
            loss_scaler: scaler.and_then(|scaler| self.plain_dict(scaler, storages)),
        })
    }

    /// A list of dicts.
    fn dicts(
        &mut self,
        id: Id,
        what: &'static str,
        storages: &mut Storages,
    ) -> Result<Vec<Dict>, CheckpointError> {
        let Some(items) = self.pickle.tuple(id) else {
            return Err(several(what));
        };
        let dicts = items.iter().map(|&item| {
            self.plain_dict(item, storages)
                .ok_or(CheckpointError::NotTraining {
                    lacks: "a dict for each scheduler and group of parameters",
                })
        });
        dicts.collect()
    }

    fn plain_dict(&mut self, id: Id, storages: &mut Storages) -> Option<Dict> {
        match self.plain(id, storages, MAX_DEPTH)? {
            Plain::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// A value without code; None for any other. A dict is read without those of its values that are others.
    fn plain(&mut self, id: Id, storages: &mut Storages, depth: usize) -> Option<Plain> {
        let pickle = self.pickle;
        let depth = depth.checked_sub(1)?;
        pickle.budget.spend(LISTED)?;
        Some(match pickle.node(id) {
            Node::None => Plain::None,
            Node::Bool(value) => Plain::Bool(*value),
            Node::Int(value) => Plain::Int(*value),
            Node::Float(value) => Plain::Float(*value),
            Node::Text(_) | Node::Str8(_) | Node::OwnedText(_) | Node::OwnedStr8(_) => {
                pickle
                    .budget
                    .spend(JOINED.saturating_mul(pickle.text_len(id)?))?;
                Plain::Text(pickle.long_text(id, MAX_TEXT)?.into_owned())
            }
            Node::List(items) => Plain::List(self.plain_items(items, storages, depth)?),
            Node::Tuple(items) => Plain::Tuple(self.plain_items(items, storages, depth)?),
            Node::Object(_) if self.is_tensor(id) => return self.plain_number(id, storages),
            Node::Dict(_) | Node::Object(_) => {
                let Some(pairs) = pickle.pairs(id) else {
                    let items = pickle.sequence(id)?;
                    return Some(Plain::Tuple(self.plain_items(items, storages, depth)?));
                };
                let mut dict = Dict::new();
                for &(key, value) in pairs.iter() {
                    let key = self.plain(key, storages, depth);
                    let value = self.plain(value, storages, depth);
                    dict.0.extend(key.zip(value));
                }
                match pickle.call(id) {
                    Some((_, name, _)) if name == "Counter" => Plain::Counter(dict),
                    _ => Plain::Dict(dict),
                }
            }
            _ => return None,
        })
    }

    fn plain_items(
        &mut self,
        items: &[Id],
        storages: &mut Storages,
        depth: usize,
    ) -> Option<Vec<Plain>> {
        let items = items.iter();
        items
            .map(|&item| self.plain(item, storages, depth))
            .collect()
    }

    /// A number of numpy's, or a tensor without dimensions.
    fn plain_number(&mut self, id: Id, storages: &mut Storages) -> Option<Plain> {
        let info = self.tensor(id, storages).ok()??;
        if !info.shape.is_empty() {
            return None;
        }
        Some(match info.dtype {
            DType::Bool => Plain::Bool(self.number(id, storages)? != 0.0),
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => {
                Plain::Float(self.number(id, storages)?)
            }
            _ => Plain::Int(self.whole_number(id, storages)?),
        })
    }
}

/// None without an epoch and an iteration.
fn training_meta(mut others: Dict) -> Option<TrainingMeta> {
    let number = |others: &mut Dict, name| others.remove(name).and_then(|value| value.int());
    let text = |others: &mut Dict, name| match others.remove(name) {
        Some(Plain::Text(text)) => text,
        _ => String::new(),
    };
    let epoch = number(&mut others, "epoch")?;
    let iter = number(&mut others, "iter")?;
    let dataset = others.remove("dataset_meta");
    let of_dataset = |name| dataset.as_ref()?.dict()?.get(name)?.items();
    let classes = of_dataset("classes").unwrap_or_default().iter();
    let colour = |colour: &Plain| {
        let channel = |channel: &Plain| u8::try_from(channel.int()?).ok();
        let channels: Option<Vec<u8>> = colour.items()?.iter().map(channel).collect();
        <[u8; 3]>::try_from(channels?).ok()
    };
    let palette: Option<_> = of_dataset("palette")
        .unwrap_or_default()
        .iter()
        .map(colour)
        .collect();
    Some(TrainingMeta {
        epoch,
        iter,
        cfg: text(&mut others, "cfg"),
        seed: number(&mut others, "seed"),
        experiment_name: text(&mut others, "experiment_name"),
        time: text(&mut others, "time"),
        classes: classes
            .filter_map(|name| name.text().map(str::to_owned))
            .collect(),
        palette: palette.unwrap_or_default(),
        others,
    })
}

fn several(what: &'static str) -> CheckpointError {
    CheckpointError::Unsupported {
        what: format!("a training checkpoint of several {what}, as `OptimWrapperDict` makes"),
        help: "its weights alone can be loaded (`load_from`)",
    }
}
