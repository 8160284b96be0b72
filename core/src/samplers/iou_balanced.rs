//! `IoUBalancedNegSampler` (Pang et al. 2019, arXiv 1904.02701, section 3.1) of MMDetection 3.3.0: as many negatives of each range of overlaps.

use serde::Deserialize;

use super::RandomSampler;
use super::random::{self, Choice, draw};
use crate::assigners::Assigned;
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::Dice;

/// The keys of `type='IoUBalancedNegSampler'` besides those of a random one.
#[derive(Debug, Deserialize)]
struct BinsConfig {
    floor_thr: Option<f32>,
    floor_fraction: Option<f64>,
    num_bins: Option<Bounded<1, 1000>>,
}

/// Ranges of overlaps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bins {
    /// Overlaps below are drawn apart from the bins; 0: those of 0.
    pub floor_thr: f32,
    /// The share of what is drawn that these may have.
    pub floor_fraction: f64,
    /// How many there are above.
    pub num_bins: usize,
}

const OF_BINS: &[&str] = &["floor_thr", "floor_fraction", "num_bins"];
const OF_RANDOM: &[&str] = &["num", "pos_fraction", "neg_pos_ub", "add_gt_as_proposals"];

pub(super) fn build(node: &Node, _: &Build) -> Result<RandomSampler, Diagnostics> {
    with_outer(node, node)
}

/// As a part of `outer`, which may be the sampler itself.
pub(super) fn with_outer(node: &Node, outer: &Node) -> Result<RandomSampler, Diagnostics> {
    let config: BinsConfig = node.read_knowing(OF_RANDOM)?;
    let floor_thr = config.floor_thr.unwrap_or(-1.0);
    if !(floor_thr >= 0.0 || floor_thr == -1.0) {
        let message = "`floor_thr` is an overlap, or -1";
        return Err(error_at(node, "floor_thr", message, ""));
    }
    let floor_fraction = config.floor_fraction.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&floor_fraction) {
        let message = "`floor_fraction` is a share, from 0 to 1";
        return Err(error_at(node, "floor_fraction", message, ""));
    }
    let bins = Bins {
        // The original takes -1 for 0 from the second picture of a run on; here from the first.
        floor_thr: floor_thr.max(0.0),
        floor_fraction,
        num_bins: config.num_bins.map_or(3, Bounded::get),
    };
    Ok(RandomSampler {
        negatives: Choice::ByOverlap(bins),
        ..random::read(node, outer, OF_BINS)?
    })
}

impl Bins {
    /// `count` of `from`, which are more, ascending.
    pub(super) fn draw(
        &self,
        from: Vec<usize>,
        count: usize,
        assigned: &Assigned,
        dice: &Dice,
    ) -> Vec<usize> {
        let overlap = |p: &usize| assigned.overlap[*p];
        let floor = |p: &usize| match self.floor_thr {
            0.0 => overlap(p) == 0.0,
            bound => overlap(p) >= 0.0 && overlap(p) < bound,
        };
        let above = |p: &usize| match self.floor_thr {
            0.0 => overlap(p) > 0.0,
            bound => overlap(p) >= bound,
        };
        let which = |holds: &dyn Fn(&usize) -> bool| -> Vec<usize> {
            from.iter().filter(|p| holds(p)).copied().collect()
        };
        let of_bins = (count as f64 * (1.0 - self.floor_fraction)) as usize;
        let candidates = which(&above);
        let mut chosen = if candidates.len() > of_bins && self.num_bins >= 2 {
            self.draw_by_bin(candidates, of_bins, assigned, dice)
        } else {
            draw(candidates, of_bins, dice)
        };
        chosen.extend(draw(which(&floor), count - chosen.len(), dice));
        fill(chosen, &from, count, dice)
    }

    fn draw_by_bin(
        &self,
        from: Vec<usize>,
        count: usize,
        assigned: &Assigned,
        dice: &Dice,
    ) -> Vec<usize> {
        let most = assigned.overlap.iter().copied().fold(0.0f32, f32::max);
        let width = (most - self.floor_thr) / self.num_bins as f32;
        let mut chosen = Vec::new();
        for i in 0..self.num_bins {
            let [start, end] = [i, i + 1].map(|i| self.floor_thr + i as f32 * width);
            let inside = |p: &&usize| (start..end).contains(&assigned.overlap[**p]);
            let of_bin = from.iter().filter(inside).copied().collect();
            chosen.extend(draw(of_bin, count / self.num_bins, dice));
        }
        fill(chosen, &from, count, dice)
    }
}

/// `chosen` and others of `from`, `count` in all, ascending.
fn fill(mut chosen: Vec<usize>, from: &[usize], count: usize, dice: &Dice) -> Vec<usize> {
    chosen.sort_unstable();
    let others = from.iter().filter(|p| chosen.binary_search(p).is_err());
    let others = others.copied().collect();
    let others = draw(others, count.saturating_sub(chosen.len()), dice);
    chosen.extend(others);
    chosen.sort_unstable();
    chosen
}
