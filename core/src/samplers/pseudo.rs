//! `PseudoSampler` and `MaskPseudoSampler` of MMDetection 3.3.0: all priors.

use serde::Deserialize;

use super::{Sampled, Sampler, split};
use crate::assigners::Assigned;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::Dice;

/// The keys of `type='PseudoSampler'`.
#[derive(Debug, Deserialize)]
struct PseudoConfig {}

/// All priors; losses are divided by the positive ones.
#[derive(Clone, Copy, Debug)]
pub struct PseudoSampler;

pub(super) fn build(node: &Node, _: &Build) -> Result<Box<dyn Sampler>, Diagnostics> {
    let PseudoConfig {} = node.read()?;
    Ok(Box::new(PseudoSampler))
}

impl Sampler for PseudoSampler {
    fn sample(&self, assigned: &Assigned, _: &Dice) -> Sampled {
        let [positives, negatives] = split(assigned);
        Sampled::new(positives, negatives, false)
    }
}
