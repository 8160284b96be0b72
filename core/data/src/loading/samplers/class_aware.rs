//! `ClassAwareSampler` of mmdet 3.3 (datasets/samplers/class_aware_sampler.py), after "Relay Backpropagation for Effective Learning of
//! Deep Convolutional Neural Networks" (Shen, Lin and Huang 2016, arXiv 1512.05830): classes in turn, a few pictures of each, so that a
//! rare class is seen as often as a common one.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Indices, Permutations, Sampler};
use crate::datasets::Dataset;
use smalti_config::{Diagnostics, Node, error_at};

/// As many samples as the data set has, by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassAwareSampler {
    /// Of classes and pictures.
    pub seed: u64,
    /// Pictures of a class before the next class has its turn.
    pub num_sample_class: usize,
}

impl Sampler for ClassAwareSampler {
    fn order<'a>(&'a self, epoch: u64, data: &'a dyn Dataset) -> Indices<'a> {
        let pictures = pictures_by_class(data);
        let mut permutations = Permutations::new(self.seed.wrapping_add(epoch));
        let mut classes = permutations.cycle(pictures.len());
        let mut cycles: Vec<_> = pictures
            .iter()
            .map(|of| permutations.cycle(of.len()))
            .collect();
        let next = std::iter::from_fn(move || {
            let class = classes.next(&mut permutations)?;
            let few = (0..self.num_sample_class).filter_map(|_| {
                let at = cycles[class].next(&mut permutations)?;
                Some(pictures[class][at])
            });
            Some(few.collect::<Vec<_>>())
        });
        Box::new(next.flatten().take(data.len()))
    }

    fn check(&self, data: &dyn Dataset) -> Result<(), String> {
        let any = data.is_empty() || !pictures_by_class(data).is_empty();
        any.then_some(()).ok_or_else(|| {
            "`ClassAwareSampler` finds no picture with an object of a class".to_owned()
        })
    }
}

/// Indices of the pictures that have an object of a class, for each class that has any.
fn pictures_by_class(data: &dyn Dataset) -> Vec<Vec<usize>> {
    let mut pictures = vec![Vec::new(); data.meta().classes.len()];
    for index in 0..data.len() {
        let labels: BTreeSet<i64> = data.labels(index).into_iter().collect();
        for label in labels {
            let of = usize::try_from(label)
                .ok()
                .and_then(|l| pictures.get_mut(l));
            if let Some(of) = of {
                of.push(index);
            }
        }
    }
    pictures.retain(|of| !of.is_empty());
    pictures
}

#[derive(Deserialize)]
struct Config {
    seed: Option<u64>,
    num_sample_class: Option<usize>,
}

pub(super) fn build(node: &Node, seed: u64) -> Result<Box<dyn Sampler>, Diagnostics> {
    let config: Config = node.read()?;
    let num_sample_class = config.num_sample_class.unwrap_or(1);
    if num_sample_class == 0 {
        let message = "`num_sample_class` is 0, must be 1 or more";
        return Err(error_at(node, "num_sample_class", message, ""));
    }
    Ok(Box::new(ClassAwareSampler {
        seed: config.seed.unwrap_or(seed),
        num_sample_class,
    }))
}
