//! `InfiniteSampler` of mmengine 0.10 (dataset/sampler.py): one permutation behind the other, for ever.

use serde::Deserialize;

use super::{Indices, Permutations, Sampler};
use crate::datasets::Dataset;
use smalti_config::{Diagnostics, Node};

/// Every sample once a round; batches go on from one round into the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfiniteSampler {
    /// Each round in an order of its own.
    pub shuffle: bool,
    /// Of all orders.
    pub seed: u64,
}

impl Sampler for InfiniteSampler {
    fn order<'a>(&'a self, _: u64, data: &'a dyn Dataset) -> Indices<'a> {
        rounds(data.len(), self.shuffle, self.seed)
    }

    fn is_endless(&self) -> bool {
        true
    }
}

/// Indices below `len` in rounds; none at all if `len` is 0.
pub(super) fn rounds(len: usize, shuffle: bool, seed: u64) -> Indices<'static> {
    if len == 0 {
        return Box::new(std::iter::empty());
    }
    if !shuffle {
        return Box::new((0..len).cycle());
    }
    let mut permutations = Permutations::new(seed);
    Box::new(std::iter::repeat_with(move || permutations.next(len)).flatten())
}

#[derive(Deserialize)]
struct Config {
    shuffle: Option<bool>,
    seed: Option<u64>,
}

pub(super) fn build(node: &Node, seed: u64) -> Result<Box<dyn Sampler>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(InfiniteSampler {
        shuffle: config.shuffle.unwrap_or(true),
        seed: config.seed.unwrap_or(seed),
    }))
}
