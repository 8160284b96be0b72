//! `MaxIoUAssigner` of MMDetection 3.3.0: each prior goes to the object that it overlaps most, if it does so enough; then each object takes
//! the priors that overlap it most, however little that is.

use serde::Deserialize;

use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, LEFT_OUT, Priors, check_iou_calculator};
use crate::config::{Diagnostics, Node, unsupported};
use crate::structures::boxes::{Overlap, overlap};
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

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Negative {
    Below(f32),
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
}

pub(super) fn build(node: &Node) -> Result<AnyAssigner, Diagnostics> {
    let config: MaxIouConfig =
        node.read_knowing(&["gpu_assign_thr", "iou_calculator", "perm_repeat_gt_cfg"])?;
    check_iou_calculator(node)?;
    if node.get("perm_repeat_gt_cfg").is_some_and(|n| !n.is_none()) {
        let message = "objects moved at random where two are the same are not supported yet";
        return Err(unsupported(
            node,
            "perm_repeat_gt_cfg",
            message,
            "leave it out",
        ));
    }
    Ok(AnyAssigner::Boxes(Box::new(MaxIouAssigner {
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
    })))
}

/// The overlap of a prior that lies in an ignored box.
const IGNORED: f32 = -1.0;

impl Assigner for MaxIouAssigner {
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let priors = priors.boxes;
        if objects.boxes.is_empty() {
            return Assigned {
                object: vec![BACKGROUND; priors.len()],
                overlap: vec![0.0; priors.len()],
            };
        }
        let ignored = self.ignored(priors, objects);
        let iou = |p: usize, g: usize| {
            if ignored[p] {
                return IGNORED;
            }
            overlap(&objects.boxes[g], &priors[p], Overlap::Iou)
        };
        let mut object = vec![LEFT_OUT; priors.len()];
        let mut most = vec![f32::NEG_INFINITY; priors.len()];
        // of each object: the largest overlap, and the first prior that has it
        let mut best = vec![(f32::NEG_INFINITY, 0); objects.boxes.len()];
        for p in 0..priors.len() {
            let mut nearest = 0;
            for (g, best) in best.iter_mut().enumerate() {
                let iou = iou(p, g);
                if iou > most[p] {
                    (most[p], nearest) = (iou, g);
                }
                if iou > best.0 {
                    *best = (iou, p);
                }
            }
            let [low, high] = self.neg_iou_thr;
            if most[p] >= low && most[p] < high {
                object[p] = BACKGROUND;
            }
            if most[p] >= self.pos_iou_thr {
                object[p] = nearest as i32 + 1;
            }
        }
        if self.match_low_quality {
            for (g, (value, first)) in best.into_iter().enumerate() {
                if value < self.min_pos_iou {
                    continue;
                }
                if !self.gt_max_assign_all {
                    object[first] = g as i32 + 1;
                    continue;
                }
                for (p, object) in object.iter_mut().enumerate().skip(first) {
                    if iou(p, g) == value {
                        *object = g as i32 + 1;
                    }
                }
            }
        }
        Assigned {
            object,
            overlap: most,
        }
    }
}

impl MaxIouAssigner {
    fn ignored(&self, priors: &[crate::structures::Xyxy], objects: &Objects) -> Vec<bool> {
        let inside = |prior| {
            let share = |ignored| {
                if self.ignore_wrt_candidates {
                    overlap(prior, ignored, Overlap::Iof)
                } else {
                    overlap(ignored, prior, Overlap::Iof)
                }
            };
            let mut shares = objects.ignored.iter().map(share);
            self.ignore_iof_thr > 0.0 && shares.any(|share| share > self.ignore_iof_thr)
        };
        priors.iter().map(inside).collect()
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
    };

    fn assign(assigner: &MaxIouAssigner, boxes: &[[f32; 4]], objects: &Objects) -> Vec<i32> {
        let priors = Priors {
            boxes,
            levels: &[boxes.len()],
            strides: &[[8.0; 2]],
        };
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
}
