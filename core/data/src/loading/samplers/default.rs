//! `DefaultSampler` of mmengine 0.10 (dataset/sampler.py): every sample once an epoch.

use serde::Deserialize;

use super::{Indices, Permutations, Sampler};
use crate::datasets::Dataset;
use smalti_config::{Diagnostics, Node};

/// Every sample once, in another order each epoch if `shuffle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultSampler {
    /// In an order of its own, drawn from seed and epoch; else as they are counted.
    pub shuffle: bool,
    /// Of the order.
    pub seed: u64,
}

impl Sampler for DefaultSampler {
    fn order<'a>(&'a self, epoch: u64, data: &'a dyn Dataset) -> Indices<'a> {
        let len = data.len();
        if self.shuffle {
            let seed = self.seed.wrapping_add(epoch);
            Box::new(Permutations::new(seed).next(len).into_iter())
        } else {
            Box::new(0..len)
        }
    }
}

#[derive(Deserialize)]
struct Config {
    shuffle: Option<bool>,
    seed: Option<u64>,
    /// There is one process.
    #[serde(rename = "round_up")]
    _round_up: Option<bool>,
}

pub(super) fn build(node: &Node, seed: u64) -> Result<Box<dyn Sampler>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(DefaultSampler {
        shuffle: config.shuffle.unwrap_or(true),
        seed: config.seed.unwrap_or(seed),
    }))
}
