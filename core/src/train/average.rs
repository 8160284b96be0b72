//! [`Average`]: a running average of a model's weights beside them (MMEngine's `EMAHook`), used for validation and in files. To add a way to
//! average, a function and a row in [`ROWS`].
//!
//! As MMEngine has it. Until it begins, the average is the model. Its first update copies; every `interval`th after it moves each parameter
//! towards its value by a share that may depend on the updates before ([`Rate`]). With `update_buffers` running statistics are averaged too, and
//! `num_batches_tracked` stays what the first copy had; without it they are the model's. With it a tensor of two names is moved twice, as the
//! original goes by names there.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;

use crate::config::{Bounded, Diagnostics, Dict, Node, Value, error_at};
use crate::layers::{Role, Slot, Store, TensorSource};
use crate::ops::train::{Share, apply};
use crate::registry::{Family, Registry, Row};

/// How much of a value goes into its average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// `ExponentialMovingAverage`: always the same share.
    Momentum(f64),
    /// `MomentumAnnealingEMA`: `gamma / (gamma + updates)`, but not less than the momentum.
    Annealing {
        /// `momentum`.
        momentum: f64,
        /// `gamma`.
        gamma: f64,
    },
    /// `ExpMomentumEMA` (YOLOX, Ge et al. 2021, arXiv 2107.08430): falls to the momentum by `exp(-updates / gamma)`.
    Exponential {
        /// `momentum`.
        momentum: f64,
        /// `gamma`.
        gamma: f64,
    },
    /// `StochasticWeightAverage` (Izmailov et al. 2018, arXiv 1803.05407): the mean of all values.
    Mean,
}

impl Rate {
    /// The share after so many updates, of which each `interval`th counts.
    fn share(self, updates: u64, interval: u64) -> f64 {
        let done = updates as f64;
        match self {
            Self::Momentum(momentum) => momentum,
            Self::Annealing { momentum, gamma } => momentum.max(gamma / (gamma + done)),
            Self::Exponential { momentum, gamma } => {
                (1.0 - momentum) * (-(1.0 + done) / gamma).exp() + momentum
            }
            Self::Mean => 1.0 / ((updates / interval) as f64 + 1.0),
        }
    }
}

/// When averaging begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Iter(u64),
    Epoch(u64),
}

/// The kind `averaged model` of the registry.
#[derive(Debug)]
pub struct Averages;

impl Family for Averages {
    const KIND: &'static str = "averaged model";
    type Build = fn(&Node) -> Result<Rate, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Averages>; 4] = [
    Row::<Averages>::new("mmengine", "ExponentialMovingAverage", exponential),
    Row::<Averages>::new("mmengine", "MomentumAnnealingEMA", annealing),
    Row::<Averages>::new("mmengine", "StochasticWeightAverage", mean),
    Row::<Averages>::new("mmdet", "ExpMomentumEMA", exp_momentum),
];

/// Keys of `EMAHook` and of every average.
const COMMON: [&str; 8] = [
    "ema_type",
    "strict_load",
    "begin_iter",
    "begin_epoch",
    "priority",
    "interval",
    "update_buffers",
    "device",
];

#[derive(Deserialize)]
struct MomentumConfig {
    momentum: Option<f64>,
}

#[derive(Deserialize)]
struct GammaConfig {
    momentum: Option<f64>,
    gamma: Option<f64>,
}

#[derive(Deserialize)]
struct MeanConfig {}

fn exponential(node: &Node) -> Result<Rate, Diagnostics> {
    let config: MomentumConfig = node.read_knowing(&COMMON)?;
    momentum(node, config.momentum).map(Rate::Momentum)
}

fn annealing(node: &Node) -> Result<Rate, Diagnostics> {
    let [momentum, gamma] = with_gamma(node, 100.0)?;
    Ok(Rate::Annealing { momentum, gamma })
}

fn exp_momentum(node: &Node) -> Result<Rate, Diagnostics> {
    let [momentum, gamma] = with_gamma(node, 2000.0)?;
    Ok(Rate::Exponential { momentum, gamma })
}

fn mean(node: &Node) -> Result<Rate, Diagnostics> {
    let MeanConfig {} = node.read_knowing(&COMMON)?;
    Ok(Rate::Mean)
}

fn with_gamma(node: &Node, default: f64) -> Result<[f64; 2], Diagnostics> {
    let config: GammaConfig = node.read_knowing(&COMMON)?;
    let gamma = config.gamma.unwrap_or(default);
    if gamma.is_nan() || gamma <= 0.0 {
        let message = format!("`gamma` is {gamma}, it is above 0");
        return Err(error_at(node, "gamma", message, ""));
    }
    Ok([momentum(node, config.momentum)?, gamma])
}

fn momentum(node: &Node, given: Option<f64>) -> Result<f64, Diagnostics> {
    let momentum = given.unwrap_or(0.0002);
    if momentum > 0.0 && momentum < 1.0 {
        return Ok(momentum);
    }
    let message = format!("`momentum` is {momentum}, it is above 0 and below 1");
    let help = "it is the share of the new value, and usually small";
    Err(error_at(node, "momentum", message, help))
}

/// The keys of `EMAHook` that are of no average's own.
#[derive(Deserialize)]
struct HookConfig {
    begin_iter: Option<u64>,
    begin_epoch: Option<u64>,
    interval: Option<Bounded<1, 1_000_000_000>>,
    update_buffers: Option<bool>,
}

/// An average of a model's tensors.
pub struct Average {
    rate: Rate,
    interval: u64,
    update_buffers: bool,
    begin: Begin,
    updates: u64,
    entries: Vec<Entry>,
}

struct Entry {
    slot: Arc<Slot>,
    /// Names that the tensor has.
    names: i32,
    /// None as long as it is the model's.
    value: Option<Held>,
}

enum Held {
    Numbers(Box<Tensor<1>>),
    Count(u64),
}

impl Average {
    /// What `node`, a config's `EMAHook`, says, for the model of `store`.
    ///
    /// # Errors
    /// Something in the config is wrong.
    pub fn read(
        node: &Node,
        store: &Store,
        registry: &Registry,
        scope: &str,
    ) -> Result<Self, Diagnostics> {
        let kind = Value::Str("ExponentialMovingAverage".into());
        let kind = Node {
            value: kind,
            origin: node.origin.clone(),
        };
        let mut dict = node.as_dict().cloned().unwrap_or_else(Dict::new);
        dict.set("type", dict.get("ema_type").cloned().unwrap_or(kind));
        let named = Node {
            value: Value::Dict(dict),
            origin: node.origin.clone(),
        };
        let rate = (registry.find::<Averages>(&named, scope)?.build)(&named)?;
        let others = [
            "momentum",
            "gamma",
            "ema_type",
            "strict_load",
            "priority",
            "device",
        ];
        let config: HookConfig = node.read_knowing(&others)?;
        let begin = match (
            config.begin_iter.unwrap_or(0),
            config.begin_epoch.unwrap_or(0),
        ) {
            (iter, 0) => Begin::Iter(iter),
            (0, epoch) => Begin::Epoch(epoch),
            _ => {
                let message = "either `begin_iter` or `begin_epoch` can be given";
                return Err(error_at(node, "begin_epoch", message, ""));
            }
        };
        let update_buffers = config.update_buffers.unwrap_or(false);
        let all = store.entries().into_iter();
        let entries = all
            .filter(|(name, slot)| name == slot.key() && slot.role() != Role::Index)
            .filter(|(_, slot)| update_buffers || slot.role() == Role::Parameter)
            .map(|(name, slot)| Entry {
                slot,
                names: if update_buffers {
                    store.ties(&name).len() as i32
                } else {
                    1
                },
                value: None,
            });
        Ok(Self {
            rate,
            interval: config.interval.map_or(1, |n| n.get() as u64),
            update_buffers,
            begin,
            updates: 0,
            entries: entries.collect(),
        })
    }

    /// How much of a value goes into its average.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether buffers are averaged too.
    pub fn update_buffers(&self) -> bool {
        self.update_buffers
    }

    /// Updates so far (`steps` of `ema_state_dict`).
    pub fn steps(&self) -> u64 {
        self.updates
    }

    /// To be told after every iteration, with the numbers of it and of its epoch, from 0.
    pub fn after_iter(&mut self, iter: u64, epoch: u64) {
        let begun = match self.begin {
            Begin::Iter(begin) => iter + 1 >= begin,
            Begin::Epoch(begin) => epoch + 1 >= begin,
        };
        if begun {
            self.update();
        }
    }

    fn update(&mut self) {
        let due = self.updates.is_multiple_of(self.interval);
        let share = self.rate.share(self.updates, self.interval);
        for entry in &mut self.entries {
            match &mut entry.value {
                value @ None => *value = Some(held(&entry.slot)),
                Some(Held::Numbers(average)) if due => {
                    // Moved so many times towards the same value.
                    let share = match entry.names {
                        1 => share,
                        names => 1.0 - (1.0 - share).powi(names),
                    };
                    let device = average.device();
                    let old = std::mem::replace(&mut **average, Tensor::empty([0], &device));
                    let value = entry.slot.value();
                    **average = apply(&Share(share as f32), old, value, None, &mut []);
                }
                Some(_) => (),
            }
        }
        self.updates += 1;
    }

    /// Exchanges the model's tensors for their averages, and back: around validation, and around [`Store::source`] for a checkpoint, whose
    /// `state_dict` is the average, and whose `ema_state_dict` has the model by names below `module`, and [`Average::steps`].
    pub fn swap(&mut self) {
        for Entry { slot, value, .. } in &mut self.entries {
            match value {
                None => (),
                Some(Held::Count(count)) => *count = slot.replace_count(*count),
                Some(Held::Numbers(average)) => {
                    slot.update(|value| std::mem::replace(&mut **average, value))
                }
            }
        }
    }

    /// Goes on from a checkpoint with these averages by the model's names, after so many updates. Gives the names that `source` does not have,
    /// of which the average is the model.
    pub fn load(&mut self, source: &mut dyn TensorSource, steps: u64) -> Vec<String> {
        self.updates = steps;
        let mut missing = Vec::new();
        for Entry { slot, value, .. } in &mut self.entries {
            if steps == 0 {
                *value = None;
                continue;
            }
            *value = source
                .tensor(&slot.as_entry())
                .map(|values| match slot.role() {
                    Role::Counter => Held::Count(values.first().map_or(0, |count| *count as u64)),
                    _ => {
                        let shape = [values.len()];
                        let data = TensorData::new(values, shape);
                        let device = slot.value().device();
                        Held::Numbers(Box::new(Tensor::from_data(data, &device)))
                    }
                });
            if value.is_none() {
                missing.push(slot.key().to_string());
                *value = Some(held(slot));
            }
        }
        missing
    }
}

fn held(slot: &Slot) -> Held {
    match slot.role() {
        Role::Counter => Held::Count(slot.count()),
        _ => Held::Numbers(Box::new(slot.value())),
    }
}

impl std::fmt::Debug for Average {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} of {} tensors, {} updates",
            self.rate,
            self.entries.len(),
            self.updates
        )
    }
}

#[cfg(test)]
#[path = "average_tests.rs"]
mod tests;
