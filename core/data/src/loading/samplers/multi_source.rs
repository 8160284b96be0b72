//! `MultiSourceSampler` and `GroupMultiSourceSampler` of mmdet 3.3 (datasets/samplers/multi_source_sampler.py): each batch has so many
//! samples of each data set of a `ConcatDataset`, as semi-supervised training wants; with groups, a batch has only pictures that are
//! wider than high, or only the others.
//!
//! The group of a batch is drawn by numpy from its global generator in MMDetection; here from one with the sampler's seed.

use serde::Deserialize;

use super::infinite::rounds;
use super::{Indices, Sampler, shape};
use crate::datasets::Dataset;
use crate::random::{Numpy, Random};
use smalti_config::{Diagnostics, Node, error_at};

/// Endless batches of fixed parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiSourceSampler {
    /// Samples of each source in a batch.
    pub per_source: Vec<usize>,
    /// In an order of its own.
    pub shuffle: bool,
    /// Of all orders.
    pub seed: u64,
    /// Batches are of pictures of one shape.
    pub grouped: bool,
}

impl MultiSourceSampler {
    fn name(&self) -> &'static str {
        if self.grouped {
            "GroupMultiSourceSampler"
        } else {
            "MultiSourceSampler"
        }
    }

    /// Indices of each source, by group: all in the first one unless there are groups.
    fn groups(&self, data: &dyn Dataset, ends: &[usize]) -> Vec<Vec<Vec<usize>>> {
        let mut groups = vec![vec![Vec::new(); ends.len()]; 1 + usize::from(self.grouped)];
        let mut start = 0;
        for (source, end) in ends.iter().enumerate() {
            for index in start..*end {
                let group = if self.grouped { shape(data, index) } else { 0 };
                groups[group][source].push(index);
            }
            start = *end;
        }
        groups
    }
}

impl Sampler for MultiSourceSampler {
    fn order<'a>(&'a self, _: u64, data: &'a dyn Dataset) -> Indices<'a> {
        let groups = self.groups(data, data.ends().unwrap_or_default());
        let first = groups[0].iter().map(Vec::len).sum::<usize>();
        let chance = first as f64 / data.len().max(1) as f64;
        let mut drawn = Numpy::new(self.seed);
        let mut orders: Vec<Vec<Indices<'a>>> = groups
            .iter()
            .map(|sources| {
                let of = |s: &Vec<usize>| rounds(s.len(), self.shuffle, self.seed);
                sources.iter().map(of).collect()
            })
            .collect();
        let next = std::iter::from_fn(move || {
            let group = if self.grouped {
                let drawn: &mut dyn Random = &mut drawn;
                usize::from(drawn.rand().ok()? >= chance)
            } else {
                0
            };
            let mut batch = Vec::new();
            for (source, number) in self.per_source.iter().enumerate() {
                let order = orders[group].get_mut(source)?;
                batch.extend(order.take(*number).map(|at| groups[group][source][at]));
            }
            (!batch.is_empty()).then_some(batch)
        });
        Box::new(next.flatten())
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn check(&self, data: &dyn Dataset) -> Result<(), String> {
        let name = self.name();
        let Some(ends) = data.ends() else {
            return Err(format!("`{name}` needs a ConcatDataset to sample from"));
        };
        if ends.len() != self.per_source.len() {
            return Err(format!(
                "`source_ratio` of `{name}` has {} numbers, the ConcatDataset {} data sets",
                self.per_source.len(),
                ends.len()
            ));
        }
        for sources in self.groups(data, ends) {
            // a group without any picture is never drawn
            let empty = sources.iter().position(Vec::is_empty);
            if let Some(source) = empty.filter(|_| sources.iter().any(|s| !s.is_empty())) {
                let of = if self.grouped { " of one shape" } else { "" };
                return Err(format!(
                    "`{name}` finds no picture{of} in data set {source} of the ConcatDataset"
                ));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Config {
    batch_size: usize,
    source_ratio: Vec<f64>,
    shuffle: Option<bool>,
    seed: Option<u64>,
}

fn read(node: &Node, seed: u64, grouped: bool) -> Result<Box<dyn Sampler>, Diagnostics> {
    let config: Config = node.read()?;
    let (size, ratio) = (config.batch_size, config.source_ratio);
    let total: f64 = ratio.iter().sum();
    if ratio.iter().any(|r| !r.is_finite() || *r < 0.0) || total <= 0.0 {
        let message = "`source_ratio` must be positive numbers";
        return Err(error_at(node, "source_ratio", message, ""));
    }
    let part = |r: &f64| (size as f64 * r / total) as usize;
    let mut per_source: Vec<usize> = ratio.iter().map(part).collect();
    per_source[0] = size - per_source[1..].iter().sum::<usize>().min(size);
    if let Some(none) = per_source.iter().position(|n| *n == 0) {
        let message = format!("a batch of {size} samples has none of data set {none}");
        let help = "make `batch_size` larger, or the number of this data set in `source_ratio`";
        return Err(error_at(node, "source_ratio", message, help));
    }
    Ok(Box::new(MultiSourceSampler {
        per_source,
        shuffle: config.shuffle.unwrap_or(true),
        seed: config.seed.unwrap_or(seed),
        grouped,
    }))
}

pub(super) fn build(node: &Node, seed: u64) -> Result<Box<dyn Sampler>, Diagnostics> {
    read(node, seed, false)
}

pub(super) fn build_grouped(node: &Node, seed: u64) -> Result<Box<dyn Sampler>, Diagnostics> {
    read(node, seed, true)
}
