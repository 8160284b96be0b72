//! Samplers: which of the assigned priors are learned from. To add one, write a file and a row in [`ROWS`].

mod pseudo;
mod random;

pub use pseudo::PseudoSampler;
pub use random::RandomSampler;

use std::fmt::Debug;

use crate::assigners::{Assigned, BACKGROUND};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::Dice;
use crate::registry::{Family, Row};

/// Chooses among the priors of one picture.
pub trait Sampler: Debug + Send + Sync {
    /// `dice` gives the random numbers, the same again for the same step.
    fn sample(&self, assigned: &Assigned, dice: &Dice) -> Sampled;

    /// Whether the objects themselves are to be among the priors (of second stages).
    fn adds_objects(&self) -> bool {
        false
    }
}

/// The priors that are learned from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    /// Those with an object, ascending.
    pub positives: Vec<usize>,
    /// Those of the background, ascending.
    pub negatives: Vec<usize>,
    /// What losses are divided by: how many there are, at least one of each kind.
    pub avg_factor: usize,
}

impl Sampled {
    /// Divides by positives alone, or by all.
    fn new(positives: Vec<usize>, negatives: Vec<usize>, with_negatives: bool) -> Self {
        let avg_factor = if with_negatives {
            positives.len().max(1) + negatives.len().max(1)
        } else {
            positives.len().max(1)
        };
        Self {
            positives,
            negatives,
            avg_factor,
        }
    }
}

/// The priors with an object, and those of the background.
fn split(assigned: &Assigned) -> [Vec<usize>; 2] {
    let objects = assigned.object.iter().enumerate();
    let which = |holds: fn(i32) -> bool| {
        let found = objects.clone().filter(move |(_, object)| holds(**object));
        found.map(|(i, _)| i).collect()
    };
    [which(|o| o > BACKGROUND), which(|o| o == BACKGROUND)]
}

/// The kind `sampler` of the registry.
#[derive(Debug)]
pub struct Samplers;

impl Family for Samplers {
    const KIND: &'static str = "box sampler";
    type Build = fn(&Node) -> Result<Box<dyn Sampler>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Samplers>; 2] = [
    Row::<Samplers>::new("mmdet", "PseudoSampler", pseudo::build),
    Row::<Samplers>::new("mmdet", "RandomSampler", random::build),
];

/// The `sampler` of a `train_cfg`; without one all priors are learned from.
///
/// # Errors
/// It is wrong.
pub fn read(train_cfg: &Node, build: &Build) -> Result<Box<dyn Sampler>, Diagnostics> {
    match train_cfg.get("sampler").filter(|n| !n.is_none()) {
        None => Ok(Box::new(PseudoSampler)),
        Some(node) => build.find::<Samplers>(node)?(node),
    }
}
