//! `MaxIoUAssigner` of MMDetection 3.3.0: each prior goes to the object that it overlaps most, if it does so enough; then each object takes
//! the priors that overlap it most, however little that is. `ApproxMaxIoUAssigner` is the same where a prior stands for several
//! ([`super::More::approxs`]), of which the one that overlaps most counts.

use std::borrow::Cow;

use rayon::prelude::*;
use serde::Deserialize;

use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, LEFT_OUT, Overlaps, Priors, Repeated};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::structures::Xyxy;
use crate::structures::boxes::Overlap;
use crate::targets::Objects;

/// The keys of `type='MaxIoUAssigner'`.
#[derive(Debug, Deserialize)]
struct MaxIouConfig {
    pos_iou_thr: f32,
    neg_iou_thr: Negative,
    min_pos_iou: Option<f32>,
    gt_max_assign_all: Option<bool>,
    ignore_iof_thr: Option<f32>,
    ignore_wrt_candidates: Option<bool>,
    match_low_quality: Option<bool>,
}

/// Overlaps of the background.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum Negative {
    /// From 0 on.
    Below(f32),
    /// From one to another.
    Between([f32; 2]),
}

/// Assigns by the largest overlap.
#[derive(Clone, Debug)]
pub struct MaxIouAssigner {
    /// From this overlap on a prior finds an object.
    pub pos_iou_thr: f32,
    /// From the first to below the second it is background.
    pub neg_iou_thr: [f32; 2],
    /// The least overlap of a prior that an object takes.
    pub min_pos_iou: f32,
    /// Whether an object takes all priors that overlap it equally, or the first of them.
    pub gt_max_assign_all: bool,
    /// Priors that lie in an ignored box by more than this are left out; none, unless it is above 0.
    pub ignore_iof_thr: f32,
    /// Whether the share is of the prior, or of the ignored box.
    pub ignore_wrt_candidates: bool,
    /// Whether objects take priors.
    pub match_low_quality: bool,
    /// How overlaps are measured.
    pub overlaps: Overlaps,
    /// Whether each prior stands for several.
    pub approximate: bool,
    /// How objects of one box are moved apart, if they are.
    pub repeated: Option<Repeated>,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let known = ["gpu_assign_thr", "iou_calculator", "perm_repeat_gt_cfg"];
    let repeated = Repeated::read(node)?;
    let plain = read(node, &known)?;
    Ok(AnyAssigner::Boxes(Box::new(MaxIouAssigner {
        repeated,
        ..plain
    })))
}

pub(super) fn build_approximate(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    Ok(AnyAssigner::Boxes(Box::new(MaxIouAssigner {
        approximate: true,
        ..read(node, &["gpu_assign_thr", "iou_calculator"])?
    })))
}

fn read(node: &Node, known: &[&str]) -> Result<MaxIouAssigner, Diagnostics> {
    let config: MaxIouConfig = node.read_knowing(known)?;
    Ok(MaxIouAssigner {
        pos_iou_thr: config.pos_iou_thr,
        neg_iou_thr: match config.neg_iou_thr {
            Negative::Below(below) => [0.0, below],
            Negative::Between(bounds) => bounds,
        },
        min_pos_iou: config.min_pos_iou.unwrap_or(0.0),
        gt_max_assign_all: config.gt_max_assign_all.unwrap_or(true),
        ignore_iof_thr: config.ignore_iof_thr.unwrap_or(-1.0),
        ignore_wrt_candidates: config.ignore_wrt_candidates.unwrap_or(true),
        match_low_quality: config.match_low_quality.unwrap_or(true),
        overlaps: Overlaps::read(node)?,
        approximate: false,
        repeated: None,
    })
}

/// The overlap of a prior that lies in an ignored box.
const IGNORED: f32 = -1.0;

impl Assigner for MaxIouAssigner {
    fn with_overlap(&self, overlap: f32) -> Option<Box<dyn Assigner>> {
        Some(Box::new(Self {
            pos_iou_thr: overlap,
            neg_iou_thr: [0.0, overlap],
            min_pos_iou: overlap,
            ..self.clone()
        }))
    }

    /// # Panics
    /// If each prior stands for several, and it is not said for which.
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let count = priors.boxes.len();
        if objects.boxes.is_empty() {
            return Assigned::all(BACKGROUND, count);
        }
        let ignored = in_ignored(
            priors.boxes,
            &objects.ignored,
            self.ignore_iof_thr,
            self.ignore_wrt_candidates,
            self.overlaps,
        );
        let overlaps = self.overlaps;
        let gts: Cow<[Xyxy]> = match &self.repeated {
            Some(repeated) => repeated.apart(&objects.boxes, overlaps).into(),
            None => (&objects.boxes).into(),
        };
        if !self.approximate {
            let iou = |g: usize, p: usize| {
                if ignored[p] {
                    return IGNORED;
                }
                overlaps.of(&gts[g], &priors.boxes[p], Overlap::Iou)
            };
            let around: Vec<Xyxy> = priors.boxes.chunks(CHUNK).map(around).collect();
            let apart = |g: usize, chunk: usize| {
                let ([a, b], plain) = ([gts[g], around[chunk]], overlaps == Overlaps::Plain);
                let beyond = |axis: usize| a[axis + 2] <= b[axis] || b[axis + 2] <= a[axis];
                plain && (beyond(0) || beyond(1))
            };
            return self.by(&iou, &apart, count, gts.len());
        }
        let approxs = priors.more.approxs;
        let each = approxs.len() / count.max(1);
        assert!(
            approxs.len() == each * count && (each > 0 || count == 0),
            "the head says what priors stand for"
        );
        let iou = |g: usize, p: usize| {
            if ignored[p] {
                return IGNORED;
            }
            let of = |approx| overlaps.of(approx, &gts[g], Overlap::Iou);
            let of_prior = approxs[p * each..][..each].iter().map(of);
            of_prior.fold(f32::NEG_INFINITY, f32::max)
        };
        self.by(&iou, &|_, _| false, count, gts.len())
    }
}

impl MaxIouAssigner {
    /// Of `iou(object, prior)` and `apart(object, chunk)`.
    fn by<F, A>(&self, iou: &F, apart: &A, priors: usize, objects: usize) -> Assigned
    where
        F: Fn(usize, usize) -> f32 + Sync,
        A: Fn(usize, usize) -> bool + Sync,
    {
        let table = Table::new(priors, objects, iou, apart);
        let mut object = vec![LEFT_OUT; priors];
        for (p, object) in object.iter_mut().enumerate() {
            let [low, high] = self.neg_iou_thr;
            let most = table.most[p];
            if most >= low && most < high {
                *object = BACKGROUND;
            }
            if most >= self.pos_iou_thr {
                *object = table.nearest[p] as i32 + 1;
            }
        }
        let takes = |value: f32| self.match_low_quality && value >= self.min_pos_iou;
        for (g, best) in table.best.iter().enumerate() {
            if takes(best.value) {
                table.take(g, self.gt_max_assign_all, iou, |p| object[p] = g as i32 + 1);
            }
        }
        Assigned {
            object,
            overlap: table.most,
            ..Assigned::default()
        }
    }
}

/// The smallest box around all.
fn around(boxes: &[Xyxy]) -> Xyxy {
    let join = |a: Xyxy, b: &Xyxy| {
        [
            a[0].min(b[0]),
            a[1].min(b[1]),
            a[2].max(b[2]),
            a[3].max(b[3]),
        ]
    };
    let nothing = [
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
    ];
    boxes.iter().fold(nothing, join)
}

/// Whether priors lie in ignored boxes by more than `least`; none do, unless that is above 0.
pub(super) fn in_ignored(
    priors: &[Xyxy],
    ignored: &[Xyxy],
    least: f32,
    of_priors: bool,
    overlaps: Overlaps,
) -> Vec<bool> {
    let inside = |prior: &Xyxy| {
        let share = |ignored: &Xyxy| {
            if of_priors {
                overlaps.of(prior, ignored, Overlap::Iof)
            } else {
                overlaps.of(ignored, prior, Overlap::Iof)
            }
        };
        least > 0.0 && ignored.iter().any(|ignored| share(ignored) > least)
    };
    priors.iter().map(inside).collect()
}

/// Priors that are worked out at a time: a few rows of cells, which most objects are apart from.
const CHUNK: usize = 1024;

/// What is to be known of all overlaps, of which there are too many to keep.
pub(super) struct Table {
    /// The largest overlap of each prior, and the first object that has it.
    pub most: Vec<f32>,
    pub nearest: Vec<usize>,
    /// Of each object.
    pub best: Vec<Best>,
    /// The largest overlap of each object with the priors of each chunk, `[chunks, objects]`.
    chunks: Vec<Vec<Best>>,
}

/// The largest overlap of an object, and the first prior that has it.
#[derive(Clone, Copy)]
pub(super) struct Best {
    pub value: f32,
    prior: usize,
}

const NOTHING: Best = Best {
    value: f32::NEG_INFINITY,
    prior: 0,
};

impl Table {
    /// Of `iou(object, prior)`. `apart(object, chunk)` may say that the object overlaps none of that chunk's priors: `iou` is 0 there, or one
    /// number below 0 for an object and all others.
    pub fn new<F, A>(priors: usize, objects: usize, iou: &F, apart: &A) -> Self
    where
        F: Fn(usize, usize) -> f32 + Sync,
        A: Fn(usize, usize) -> bool + Sync,
    {
        let mut most = vec![f32::NEG_INFINITY; priors];
        let mut nearest = vec![0; priors];
        let parts = most
            .par_chunks_mut(CHUNK)
            .zip(nearest.par_chunks_mut(CHUNK));
        let chunks = parts.enumerate().map(|(i, (most, nearest))| {
            let mut best = vec![NOTHING; objects];
            let chunk = i * CHUNK..i * CHUNK + most.len();
            for (g, best) in best.iter_mut().enumerate() {
                // the first object has told the priors of the 0 that they have at least
                if g > 0 && apart(g, i) {
                    let prior = chunk.clone().find(|p| iou(g, *p) == 0.0);
                    let prior = prior.unwrap_or(chunk.start);
                    let value = iou(g, prior);
                    *best = Best { value, prior };
                    continue;
                }
                let found = chunk.clone().zip(most.iter_mut().zip(nearest.iter_mut()));
                for (prior, (most, nearest)) in found {
                    let value = iou(g, prior);
                    if value > *most {
                        (*most, *nearest) = (value, g);
                    }
                    if value > best.value {
                        *best = Best { value, prior };
                    }
                }
            }
            best
        });
        let chunks: Vec<Vec<Best>> = chunks.collect();
        let best = (0..objects).map(|g| {
            let of_chunks = chunks.iter().map(|best| best[g]);
            of_chunks.fold(NOTHING, |a, b| if b.value > a.value { b } else { a })
        });
        Self {
            most,
            nearest,
            best: best.collect(),
            chunks,
        }
    }

    /// Gives `to` the priors that overlap object `g` most: all, or the first.
    pub fn take(
        &self,
        g: usize,
        all: bool,
        iou: &impl Fn(usize, usize) -> f32,
        mut to: impl FnMut(usize),
    ) {
        let Best { value, prior } = self.best[g];
        if self.most.is_empty() {
            return;
        }
        if !all {
            return to(prior);
        }
        for (i, best) in self.chunks.iter().enumerate() {
            if best[g].value == value {
                let of_chunk = i * CHUNK..((i + 1) * CHUNK).min(self.most.len());
                of_chunk.filter(|p| iou(g, *p) == value).for_each(&mut to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETINA: MaxIouAssigner = MaxIouAssigner {
        pos_iou_thr: 0.5,
        neg_iou_thr: [0.0, 0.4],
        min_pos_iou: 0.0,
        gt_max_assign_all: true,
        ignore_iof_thr: -1.0,
        ignore_wrt_candidates: true,
        match_low_quality: true,
        overlaps: Overlaps::Plain,
        approximate: false,
        repeated: None,
    };

    fn assign(assigner: &MaxIouAssigner, boxes: &[[f32; 4]], objects: &Objects) -> Vec<i32> {
        let levels = [boxes.len()];
        let priors = Priors::new(boxes, &levels, &[[8.0; 2]]);
        assigner.assign(&priors, objects).object
    }

    #[test]
    fn by_hand() {
        let square = |x: f32| [x, 0.0, x + 10.0, 10.0];
        // overlaps with the first object: 1, 9/11, 1/3, 0, 0.43
        let priors = [
            square(0.0),
            square(1.0),
            square(5.0),
            square(50.0),
            square(4.0),
        ];
        let mut objects = Objects {
            boxes: vec![square(0.0), [52.0, 0.0, 53.0, 1.0]],
            labels: vec![0, 1],
            ..Objects::default()
        };
        assert_eq!(assign(&RETINA, &priors, &objects), [1, 1, 0, 2, -1]);
        let strict = MaxIouAssigner {
            match_low_quality: false,
            ..RETINA
        };
        assert_eq!(assign(&strict, &priors, &objects), [1, 1, 0, 0, -1]);
        let between = MaxIouAssigner {
            neg_iou_thr: [0.2, 0.4],
            ..strict.clone()
        };
        assert_eq!(assign(&between, &priors, &objects), [1, 1, 0, -1, -1]);
        let least = MaxIouAssigner {
            min_pos_iou: 0.3,
            ..RETINA
        };
        assert_eq!(assign(&least, &priors, &objects), [1, 1, 0, 0, -1]);

        // Of two objects of one box the first has all, unless they are moved apart.
        let both = Objects {
            boxes: vec![[100.0, 100.0, 140.0, 140.0]; 2],
            labels: vec![0, 1],
            ..Objects::default()
        };
        let near = [[101.0, 100.0, 141.0, 140.0], [99.0, 100.0, 139.0, 140.0]];
        assert_eq!(assign(&RETINA, &near, &both), [2, 2]);
        let apart = MaxIouAssigner {
            repeated: Some(Repeated {
                iou_thr: 0.7,
                perm_range: 0.01,
            }),
            gt_max_assign_all: false,
            ..RETINA
        };
        let boxes = apart
            .repeated
            .map(|r| r.apart(&both.boxes, Overlaps::Plain));
        let moved = Objects {
            boxes: boxes.unwrap(),
            ..both.clone()
        };
        let plain = MaxIouAssigner {
            repeated: None,
            ..apart.clone()
        };
        let expected = assign(&plain, &near, &moved);
        assert_eq!(assign(&apart, &near, &both), expected);

        objects.ignored = vec![[48.0, 0.0, 70.0, 10.0]];
        let ignoring = MaxIouAssigner {
            ignore_iof_thr: 0.5,
            ..RETINA
        };
        assert_eq!(assign(&ignoring, &priors, &objects)[3], -1);
        objects.boxes.clear();
        assert_eq!(
            assign(&ignoring, &priors, &objects),
            [0; 5],
            "as the original"
        );
    }

    #[test]
    fn equal_overlaps() {
        let object = Objects {
            boxes: vec![[0.0, 0.0, 4.0, 4.0]],
            labels: vec![0],
            ..Objects::default()
        };
        let priors = [[0.0, 0.0, 2.0, 2.0], [2.0, 2.0, 4.0, 4.0], [9.0; 4]];
        assert_eq!(assign(&RETINA, &priors, &object), [1, 1, 0]);
        let first = MaxIouAssigner {
            gt_max_assign_all: false,
            ..RETINA
        };
        assert_eq!(assign(&first, &priors, &object), [1, 0, 0]);
    }

    /// Of several chunks, most of which an object is apart from, with ignored priors: as by hand, pair by pair.
    #[test]
    fn chunks_are_as_pairs() {
        let number = |i: usize, most: usize| (i * 7919 % 8191 % most) as f32;
        let boxes: Vec<Xyxy> = (0..5000)
            .map(|i| {
                let [x, y] = [(i % 100) as f32 * 8.0, (i / 100) as f32 * 8.0];
                [x - 10.0, y - 10.0, x + number(i, 30), y + number(i + 1, 30)]
            })
            .collect();
        let gts: Vec<Xyxy> = (0..7)
            .map(|g| {
                let [x, y] = [number(g + 11, 700), number(g * 3, 350)];
                [x, y, x + 4.0 + number(g, 60), y + 4.0 + number(g * 5, 60)]
            })
            .collect();
        let objects = Objects {
            labels: vec![0; gts.len()],
            boxes: gts,
            ignored: vec![[0.0, 0.0, 300.0, 60.0]],
            masks: None,
        };
        let assigner = MaxIouAssigner {
            ignore_iof_thr: 0.5,
            ..RETINA
        };
        let iou = |g: usize, p: usize| {
            let inside = Overlaps::Plain.of(&boxes[p], &objects.ignored[0], Overlap::Iof) > 0.5;
            let iou = Overlaps::Plain.of(&objects.boxes[g], &boxes[p], Overlap::Iou);
            if inside { IGNORED } else { iou }
        };
        let plain = assigner.by(&iou, &|_, _| false, boxes.len(), objects.boxes.len());
        let levels = [boxes.len()];
        let priors = Priors::new(&boxes, &levels, &[[8.0; 2]]);
        assert_eq!(assigner.assign(&priors, &objects), plain);
        assert!(plain.object.iter().any(|o| *o > 0) && plain.overlap.contains(&IGNORED));
    }
}
