//! `RandomSampler` of MMDetection 3.3.0: so many priors, a share of them positive if there are enough; and those that differ from it in how
//! positives or negatives are chosen ([`Choice`]).

use serde::Deserialize;

use super::{Losses, Sampled, Sampler, instance_balanced, iou_balanced, split};
use crate::assigners::Assigned;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Dice;

/// The keys of `type='RandomSampler'`, and of all that are like it.
#[derive(Debug, Deserialize)]
struct RandomConfig {
    num: usize,
    pos_fraction: f64,
    neg_pos_ub: Option<f64>,
    add_gt_as_proposals: Option<bool>,
}

/// So many priors.
#[derive(Clone, Debug)]
pub struct RandomSampler {
    /// How many in all.
    pub num: usize,
    /// The most that positives may have of them, 0 to 1.
    pub pos_fraction: f64,
    /// The most negatives for each positive, if it is not below 0.
    pub neg_pos_ub: f64,
    /// Whether objects are priors too.
    pub add_gt_as_proposals: bool,
    /// How positives are chosen.
    pub positives: Choice,
    /// How negatives are chosen.
    pub negatives: Choice,
}

/// How priors are chosen where there are more than wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Any.
    Random,
    /// As many of each object.
    ByObject,
    /// As many of each range of overlaps.
    ByOverlap(iou_balanced::Bins),
    /// Those of the largest losses.
    Hardest,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<RandomSampler, Diagnostics> {
    read(node, node, &[])
}

/// What `node` says, and where it says nothing, what `outer` does.
pub(super) fn read(
    node: &Node,
    outer: &Node,
    known: &[&str],
) -> Result<RandomSampler, Diagnostics> {
    let given = |node: &Node, key: &str| node.get(key).is_some_and(|n| !n.is_none());
    let config: RandomConfig = if std::ptr::eq(node, outer) || given(node, "num") {
        node.read_knowing(known)?
    } else {
        // a part of `CombinedSampler` has its numbers from that
        outer.read_knowing(&["pos_sampler", "neg_sampler"])?
    };
    if !(0.0..=1.0).contains(&config.pos_fraction) {
        let message = "`pos_fraction` is a share, from 0 to 1";
        return Err(error_at(node, "pos_fraction", message, ""));
    }
    Ok(RandomSampler {
        num: config.num,
        pos_fraction: config.pos_fraction,
        neg_pos_ub: config.neg_pos_ub.unwrap_or(-1.0),
        add_gt_as_proposals: config.add_gt_as_proposals.unwrap_or(true),
        positives: Choice::Random,
        negatives: Choice::Random,
    })
}

impl RandomSampler {
    /// How many positives there are to be.
    pub(super) fn positives_wanted(&self) -> usize {
        (self.num as f64 * self.pos_fraction) as usize
    }

    /// How many negatives, beside so many positives.
    pub(super) fn negatives_wanted(&self, positives: usize) -> usize {
        let rest = self.num - positives.min(self.num);
        match self.neg_pos_ub >= 0.0 {
            true => rest.min((self.neg_pos_ub * positives.max(1) as f64) as usize),
            false => rest,
        }
    }
}

impl Sampler for RandomSampler {
    /// # Panics
    /// If it chooses by losses.
    fn sample(&self, assigned: &Assigned, dice: &Dice) -> Sampled {
        assert!(
            !self.asks_losses(),
            "a head that gives losses calls `sample_by`"
        );
        self.sample_by(assigned, dice, &|_| Vec::new())
    }

    fn sample_by(&self, assigned: &Assigned, dice: &Dice, losses: &Losses) -> Sampled {
        let [positives, negatives] = split(assigned);
        let choose = |choice: &Choice, from: Vec<usize>, count: usize| {
            if from.len() <= count {
                return from;
            }
            match choice {
                Choice::Random => draw(from, count, dice),
                Choice::ByObject => instance_balanced::draw_positives(from, count, assigned, dice),
                Choice::ByOverlap(bins) => bins.draw(from, count, assigned, dice),
                Choice::Hardest => hardest(from, count, losses),
            }
        };
        let positives = choose(&self.positives, positives, self.positives_wanted());
        let expected = self.negatives_wanted(positives.len());
        Sampled::new(
            positives,
            choose(&self.negatives, negatives, expected),
            true,
        )
    }

    fn asks_losses(&self) -> bool {
        [&self.positives, &self.negatives].contains(&&Choice::Hardest)
    }

    fn adds_objects(&self) -> bool {
        self.add_gt_as_proposals
    }
}

/// `count` of `from`, or all where there are not more, ascending.
pub(super) fn draw(mut from: Vec<usize>, count: usize, dice: &Dice) -> Vec<usize> {
    if from.len() <= count {
        return from;
    }
    // The first steps of a shuffle (Fisher and Yates).
    for (i, number) in dice.roll(count).into_iter().enumerate() {
        let left = from.len() - i;
        let chosen = i + ((f64::from(number) * left as f64) as usize).min(left - 1);
        from.swap(i, chosen);
    }
    from.truncate(count);
    from.sort_unstable();
    from
}

/// Those of the largest losses, ascending; of equal losses the first.
fn hardest(from: Vec<usize>, count: usize, losses: &Losses) -> Vec<usize> {
    let losses = losses(&from);
    assert_eq!(losses.len(), from.len(), "a loss for each prior");
    let mut ranked: Vec<(f32, usize)> = losses.into_iter().zip(from).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<usize> = ranked.into_iter().take(count).map(|(_, i)| i).collect();
    chosen.sort_unstable();
    chosen
}
