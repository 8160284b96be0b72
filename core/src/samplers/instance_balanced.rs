//! `InstanceBalancedPosSampler` (Pang et al. 2019, arXiv 1904.02701) of MMDetection 3.3.0: as many positives of each object.

use super::RandomSampler;
use super::random::{self, Choice, draw};
use crate::assigners::Assigned;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::Dice;

pub(super) fn build(node: &Node, _: &Build) -> Result<RandomSampler, Diagnostics> {
    Ok(RandomSampler {
        positives: Choice::ByObject,
        ..random::read(node, node, &[])?
    })
}

/// `count` of `from`, which are more, ascending.
///
/// Where objects have too few, the original means to fill up with others, but draws from all: some come twice, and count once.
pub(super) fn draw_positives(
    from: Vec<usize>,
    count: usize,
    assigned: &Assigned,
    dice: &Dice,
) -> Vec<usize> {
    let mut objects: Vec<i32> = from.iter().map(|p| assigned.object[*p]).collect();
    objects.sort_unstable();
    objects.dedup();
    let each = (count as f64 / objects.len() as f64).round_ties_even() as usize + 1;
    let of_object = |object: i32| {
        let of_object = from.iter().filter(|p| assigned.object[**p] == object);
        draw(of_object.copied().collect(), each, dice)
    };
    let mut chosen: Vec<usize> = objects.into_iter().flat_map(of_object).collect();
    if chosen.len() < count {
        chosen.extend(draw(from, count - chosen.len(), dice));
    } else {
        chosen = draw(chosen, count, dice);
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}
