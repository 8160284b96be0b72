//! `ScoreHLRSampler` of MMDetection 3.3.0 (ISR-N of PISA, Cao et al. 2019, arXiv 1904.04821, section 4): the negatives that a head is surest to be
//! objects, each weighed by its rank. Those that a head would move to one place form a group; ranks count within groups first, then among all
//! that have the same rank in theirs.

use serde::Deserialize;

use super::random::{self, draw};
use super::{RandomSampler, Sampled, Sampler, split};
use crate::assigners::Assigned;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Dice;
use crate::structures::Xyxy;

/// The keys of `type='ScoreHLRSampler'` besides those of a random one.
#[derive(Debug, Deserialize)]
struct RankConfig {
    k: Option<f32>,
    bias: Option<f32>,
    score_thr: Option<f32>,
    iou_thr: Option<f32>,
}

const OF_RANKS: &[&str] = &["k", "bias", "score_thr", "iou_thr", "context"];
const OF_RANDOM: &[&str] = &[
    "num",
    "pos_fraction",
    "neg_pos_ub",
    "add_gt_as_proposals",
    "context",
];

/// Negatives by rank.
#[derive(Clone, Debug)]
pub struct ScoreHlrSampler {
    /// How many, and which positives.
    counts: RandomSampler,
    /// Power of the weights.
    k: f32,
    /// Least weight before it is raised to that.
    bias: f32,
    /// Scores must be above this to be ranked.
    score_thr: f32,
    /// Boxes of a group overlap their best one at least so much.
    iou_thr: f32,
}

/// What a head says of a negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rated {
    /// That of its likeliest class.
    pub score: f32,
    /// Where that class would have it.
    pub bbox: Xyxy,
    /// What it would lose.
    pub loss: f32,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Box<dyn Sampler>, Diagnostics> {
    let config: RankConfig = node.read_knowing(OF_RANDOM)?;
    for (key, given) in [("k", config.k), ("bias", config.bias)] {
        if given.is_some_and(|number| number.is_nan() || number < 0.0) {
            let message = format!("`{key}` must not be below 0");
            return Err(error_at(node, key, message, ""));
        }
    }
    Ok(Box::new(ScoreHlrSampler {
        counts: random::read(node, node, OF_RANKS)?,
        k: config.k.unwrap_or(0.5),
        bias: config.bias.unwrap_or(0.0),
        score_thr: config.score_thr.unwrap_or(0.05),
        iou_thr: config.iou_thr.unwrap_or(0.5),
    }))
}

impl Sampler for ScoreHlrSampler {
    /// # Panics
    /// Always: a second stage asks [`Sampler::by_rank`].
    fn sample(&self, _: &Assigned, _: &Dice) -> Sampled {
        panic!("who takes a sampler that asks for losses looks whether it ranks")
    }

    fn asks_losses(&self) -> bool {
        true
    }

    fn by_rank(&self) -> Option<&ScoreHlrSampler> {
        Some(self)
    }

    fn adds_objects(&self) -> bool {
        self.counts.add_gt_as_proposals
    }
}

impl ScoreHlrSampler {
    /// The positives that are learned from; all negatives, and how many of these are to be.
    pub fn positives(&self, assigned: &Assigned, dice: &Dice) -> (Vec<usize>, Vec<usize>, usize) {
        let [positives, negatives] = split(assigned);
        let positives = draw(positives, self.counts.positives_wanted(), dice);
        let wanted = self.counts.negatives_wanted(positives.len());
        (positives, negatives, wanted)
    }

    /// Which of `rated`, `wanted` at most, and what each counts.
    pub fn negatives(&self, rated: &[Rated], wanted: usize, dice: &Dice) -> (Vec<usize>, Vec<f32>) {
        let wanted = wanted.min(rated.len());
        let all = 0..rated.len();
        let (valid, invalid): (Vec<_>, Vec<_>) =
            all.clone().partition(|i| rated[*i].score > self.score_thr);
        if valid.is_empty() {
            return (draw(all.collect(), wanted, dice), vec![1.0; wanted]);
        }
        let mut chosen = self.ranked(rated, &valid);
        chosen.truncate(wanted);
        let bound = wanted.max(valid.len()) as f32;
        let weight = |rank: usize| (bound - rank as f32) / bound;
        let mut weights: Vec<f32> = (0..chosen.len()).map(weight).collect();
        weights.resize(wanted, weights.last().copied().unwrap_or(1.0));
        chosen.extend(draw(invalid, wanted - chosen.len(), dice));
        for weight in &mut weights {
            *weight = (self.bias + (1.0 - self.bias) * *weight).powf(self.k);
        }
        let lost = |weight: &dyn Fn(usize) -> f32| {
            let each = chosen.iter().enumerate();
            each.map(|(at, i)| f64::from(rated[*i].loss * weight(at)))
                .sum::<f64>()
        };
        let ratio = (lost(&|_| 1.0) / lost(&|at| weights[at])) as f32;
        // Nothing is lost by nothing.
        if ratio.is_finite() {
            weights.iter_mut().for_each(|weight| *weight *= ratio);
        }
        (chosen, weights)
    }

    /// Those of `valid`, the most important first.
    fn ranked(&self, rated: &[Rated], valid: &[usize]) -> Vec<usize> {
        let mut order = valid.to_vec();
        order.sort_by(|a, b| rated[*b].score.total_cmp(&rated[*a].score));
        let mut importance = vec![0.0f32; rated.len()];
        let mut left = order.clone();
        while let Some(best) = left.first().copied() {
            let joins =
                |i: &usize| *i == best || overlap(rated[best].bbox, rated[*i].bbox) >= self.iou_thr;
            let (group, others): (Vec<_>, Vec<_>) = left.into_iter().partition(joins);
            for (rank, i) in group.iter().enumerate() {
                importance[*i] = (valid.len() as f32 - rank as f32) + rated[*i].score;
            }
            left = others;
        }
        let mut chosen = valid.to_vec();
        chosen.sort_by(|a, b| importance[*b].total_cmp(&importance[*a]));
        chosen
    }
}

/// What mmcv's `nms_match` compares.
fn overlap(a: Xyxy, b: Xyxy) -> f32 {
    let area = |b: Xyxy| (b[2] - b[0]) * (b[3] - b[1]);
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let inside = side(0) * side(1);
    inside / (area(a) + area(b) - inside)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::layers::{Mode, Params};

    fn sampler(k: f32, bias: f32) -> ScoreHlrSampler {
        let text =
            format!("dict(type='ScoreHLRSampler', num=8, pos_fraction=0.25, k={k}, bias={bias})");
        let node = crate::config::parse_value(&text).unwrap();
        let registry = crate::registry();
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        let root = Build::new(&registry, params, "mmdet", None);
        build(&node, &root).unwrap().by_rank().unwrap().clone()
    }

    fn dice() -> Dice {
        Params::new(&Device::flex(), Mode::Plan, None).dice()
    }

    fn rated(score: f32, left: f32) -> Rated {
        Rated {
            score,
            bbox: [left, 0.0, left + 10.0, 10.0],
            loss: 2.0 * score,
        }
    }

    /// Two groups of two and one, and one that is not ranked: the best of each group come first.
    #[test]
    fn groups_come_before_scores() {
        let rated = [
            rated(0.5, 100.0),
            rated(0.04, 0.0),
            rated(0.8, 1.0),
            rated(0.9, 0.0),
        ];
        let (chosen, weights) = sampler(1.0, 0.0).negatives(&rated, 9, &dice());
        assert_eq!(chosen, [3, 0, 2, 1]);
        // of 4: 4/4, 3/4, 2/4, and the last as the least; as much is lost as before
        let plain = [1.0, 0.75, 0.5, 0.5];
        let losses = [1.8f32, 1.0, 1.6, 0.08];
        let lost: f32 = losses.iter().zip(plain).map(|(l, w)| l * w).sum();
        let ratio = losses.iter().sum::<f32>() / lost;
        for (weight, plain) in weights.iter().zip(plain) {
            assert!((weight - plain * ratio).abs() < 1e-6, "{weights:?}");
        }
        let (chosen, weights) = sampler(0.0, 0.0).negatives(&rated, 2, &dice());
        assert_eq!((chosen, weights), (vec![3, 0], vec![1.0; 2]));
        let (chosen, weights) = sampler(1.0, 0.0).negatives(&rated[1..2], 1, &dice());
        assert_eq!((chosen, weights), (vec![0], vec![1.0]));
        let (none, _) = sampler(1.0, 0.0).negatives(&[], 3, &dice());
        assert!(none.is_empty());
    }
}
