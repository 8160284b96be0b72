//! `OHEMSampler` (Shrivastava et al. 2016, arXiv 1604.03540) of MMDetection 3.3.0: the priors that a head knows least, by its own losses.

use super::RandomSampler;
use super::random::{self, Choice};
use crate::build::Build;
use crate::config::{Diagnostics, Node};

pub(super) fn build(node: &Node, _: &Build) -> Result<RandomSampler, Diagnostics> {
    // `loss_key` names the loss among those of a head, which gives that of classes; `context` is the original's way to the head
    Ok(RandomSampler {
        positives: Choice::Hardest,
        negatives: Choice::Hardest,
        ..random::read(node, node, &["loss_key", "context"])?
    })
}
