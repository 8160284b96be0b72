//! `RandomSampler` of MMDetection 3.3.0: so many priors, a share of them positive if there are enough.

use serde::Deserialize;

use super::{Sampled, Sampler, split};
use crate::assigners::Assigned;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Dice;

/// The keys of `type='RandomSampler'`.
#[derive(Debug, Deserialize)]
struct RandomConfig {
    num: usize,
    pos_fraction: f64,
    neg_pos_ub: Option<f64>,
    add_gt_as_proposals: Option<bool>,
}

/// So many priors, drawn at random.
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
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Sampler>, Diagnostics> {
    let config: RandomConfig = node.read()?;
    if !(0.0..=1.0).contains(&config.pos_fraction) {
        let message = "`pos_fraction` is a share, from 0 to 1";
        return Err(error_at(node, "pos_fraction", message, ""));
    }
    Ok(Box::new(RandomSampler {
        num: config.num,
        pos_fraction: config.pos_fraction,
        neg_pos_ub: config.neg_pos_ub.unwrap_or(-1.0),
        add_gt_as_proposals: config.add_gt_as_proposals.unwrap_or(true),
    }))
}

impl Sampler for RandomSampler {
    fn sample(&self, assigned: &Assigned, dice: &Dice) -> Sampled {
        let [positives, negatives] = split(assigned);
        let expected = (self.num as f64 * self.pos_fraction) as usize;
        let positives = draw(positives, expected, dice);
        let mut expected = self.num - positives.len();
        if self.neg_pos_ub >= 0.0 {
            let bound = self.neg_pos_ub * positives.len().max(1) as f64;
            expected = expected.min(bound as usize);
        }
        Sampled::new(positives, draw(negatives, expected, dice), true)
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
