//! Samplers: which of the assigned priors are learned from. To add one, write a file and a row in [`ROWS`].

mod combined;
mod instance_balanced;
mod iou_balanced;
mod ohem;
mod pseudo;
mod random;
mod score_hlr;

pub use iou_balanced::Bins;
pub use pseudo::PseudoSampler;
pub use random::{Choice, RandomSampler};
pub use score_hlr::{Rated, ScoreHlrSampler};

use std::fmt::Debug;

use crate::assigners::{Assigned, BACKGROUND};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Dice;
use crate::registry::{Family, Row};

/// Chooses among the priors of one picture.
pub trait Sampler: Debug + Send + Sync {
    /// `dice` gives the random numbers, the same again for the same step.
    fn sample(&self, assigned: &Assigned, dice: &Dice) -> Sampled;

    /// The same where `losses` are to be had: what a head would lose by priors, of the class of their object or of background. A second stage
    /// calls this, and works out losses only for samplers that ask for them.
    fn sample_by(&self, assigned: &Assigned, dice: &Dice, _: &Losses) -> Sampled {
        self.sample(assigned, dice)
    }

    /// Whether [`Sampler::sample_by`] is to be called.
    fn asks_losses(&self) -> bool {
        false
    }

    /// What ranks negatives by what a head says of them, which is then asked in place of [`Sampler::sample_by`].
    fn by_rank(&self) -> Option<&ScoreHlrSampler> {
        None
    }

    /// Whether the objects themselves are to be among the priors (of second stages).
    fn adds_objects(&self) -> bool {
        false
    }
}

/// The losses of these priors, read from the device.
pub type Losses<'l> = dyn Fn(&[usize]) -> Vec<f32> + 'l;

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
    type Build = fn(&Node, &Build) -> Result<Box<dyn Sampler>, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[("MultiInsRandomSampler", "")];
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Samplers>; 8] = [
    Row::<Samplers>::new("mmdet", "CombinedSampler", |node, build| {
        boxed(combined::build(node, build))
    }),
    Row::<Samplers>::new("mmdet", "IoUBalancedNegSampler", |node, build| {
        boxed(iou_balanced::build(node, build))
    }),
    Row::<Samplers>::new("mmdet", "InstanceBalancedPosSampler", |node, build| {
        boxed(instance_balanced::build(node, build))
    }),
    Row::<Samplers>::new("mmdet", "MaskPseudoSampler", pseudo::build),
    Row::<Samplers>::new("mmdet", "OHEMSampler", |node, build| {
        boxed(ohem::build(node, build))
    }),
    Row::<Samplers>::new("mmdet", "PseudoSampler", pseudo::build),
    Row::<Samplers>::new("mmdet", "RandomSampler", |node, build| {
        boxed(random::build(node, build))
    }),
    Row::<Samplers>::new("mmdet", "ScoreHLRSampler", score_hlr::build),
];

fn boxed(sampler: Result<RandomSampler, Diagnostics>) -> Result<Box<dyn Sampler>, Diagnostics> {
    Ok(Box::new(sampler?))
}

/// The `sampler` of a `train_cfg`; without one all priors are learned from.
///
/// # Errors
/// It is wrong, or chooses by losses.
pub fn read(train_cfg: &Node, build: &Build) -> Result<Box<dyn Sampler>, Diagnostics> {
    let sampler = of_second_stage(train_cfg, build)?;
    if sampler.asks_losses() {
        let message =
            "this sampler chooses by the losses of a second stage, and this is a first one";
        let help = "for example sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5)";
        return Err(error_at(train_cfg, "sampler", message, help));
    }
    Ok(sampler)
}

/// The same for a head that can say what it would lose ([`Sampler::sample_by`]).
///
/// # Errors
/// It is wrong.
pub fn of_second_stage(train_cfg: &Node, build: &Build) -> Result<Box<dyn Sampler>, Diagnostics> {
    match train_cfg.get("sampler").filter(|n| !n.is_none()) {
        None => Ok(Box::new(PseudoSampler)),
        Some(node) => build.find::<Samplers>(node)?(node, build),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::config::parse_value;
    use crate::layers::{Mode, Params};

    fn sampler(text: &str) -> Result<Box<dyn Sampler>, String> {
        let registry = crate::registry();
        let params = Params::new(&Device::flex(), Mode::Train, None);
        let build = Build::new(&registry, params, "mmdet", None);
        let train_cfg = parse_value(&format!("dict(sampler=dict({text}))")).unwrap();
        let found = of_second_stage(&train_cfg, &build);
        found.map_err(|problems| problems.iter().map(|p| p.to_string()).collect())
    }

    fn dice() -> Dice {
        Params::new(&Device::flex(), Mode::Train, None).dice()
    }

    /// 30 priors of object 1, 3 of object 2, 100 of background: 70 without an overlap, 20 about 0.1, 10 about 0.3.
    fn assigned() -> Assigned {
        let of =
            |object: i32, count: usize, overlap: f32| (0..count).map(move |_| (object, overlap));
        let all = of(1, 30, 0.6).chain(of(2, 3, 0.6)).chain(of(0, 70, 0.0));
        let all = all.chain(of(0, 20, 0.1)).chain(of(0, 10, 0.3));
        let (object, overlap) = all.unzip();
        Assigned {
            object,
            overlap,
            ..Assigned::default()
        }
    }

    #[test]
    fn as_many_of_each_object() {
        let by_object =
            sampler("type='InstanceBalancedPosSampler', num=40, pos_fraction=0.25").unwrap();
        let found = by_object.sample(&assigned(), &dice());
        // round(10 / 2) + 1 of each, then all 3 of the second and 1 or 2 more
        assert!((30..33).all(|p| found.positives.contains(&p)));
        assert!(
            (9..=10).contains(&found.positives.len()),
            "{:?}",
            found.positives
        );
        assert_eq!(found.negatives.len(), 40 - found.positives.len());
    }

    #[test]
    fn as_many_of_each_overlap() {
        let by_overlap =
            sampler("type='IoUBalancedNegSampler', num=24, pos_fraction=0.0, num_bins=3").unwrap();
        let found = by_overlap.sample(&assigned(), &dice());
        let count = |range: std::ops::Range<usize>| {
            found.negatives.iter().filter(|p| range.contains(p)).count()
        };
        // bins of 0.2: 8 of the first, 8 of the second, and the rest of both to fill up the empty third
        assert_eq!((found.positives.len(), found.negatives.len()), (0, 24));
        assert_eq!(count(33..103), 0, "what overlaps comes first");
        assert!(count(123..133) >= 8 && count(103..123) >= 8);
        let floor = "type='IoUBalancedNegSampler', num=24, pos_fraction=0.0, floor_thr=0.2, floor_fraction=0.75";
        let found = sampler(floor).unwrap().sample(&assigned(), &dice());
        let above = found.negatives.iter().filter(|p| **p >= 123).count();
        assert_eq!((above, found.negatives.len()), (6, 24));
    }

    #[test]
    fn the_hardest() {
        let hardest =
            sampler("type='OHEMSampler', num=8, pos_fraction=0.25, add_gt_as_proposals=False")
                .unwrap();
        assert!(hardest.asks_losses() && !hardest.adds_objects());
        let losses =
            |priors: &[usize]| priors.iter().map(|p| (p % 10) as f32).collect::<Vec<f32>>();
        let found = hardest.sample_by(&assigned(), &dice(), &losses);
        assert_eq!(found.positives, [9, 19]);
        assert_eq!(found.negatives, [39, 49, 59, 69, 79, 89]);
    }

    #[test]
    fn combined() {
        let text = "type='CombinedSampler', num=16, pos_fraction=0.25, neg_pos_ub=2, \
                    pos_sampler=dict(type='InstanceBalancedPosSampler'), \
                    neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, floor_fraction=0, num_bins=3)";
        let found = sampler(text).unwrap().sample(&assigned(), &dice());
        assert_eq!((found.positives.len(), found.negatives.len()), (4, 8));
        assert!(found.negatives.iter().all(|p| *p >= 103));
        let wrong = sampler(
            "type='CombinedSampler', num=1, pos_fraction=0.5, pos_sampler=dict(type='PseudoSampler')",
        );
        assert!(wrong.unwrap_err().contains("no part of another"));
    }
}
