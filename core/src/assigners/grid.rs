//! `GridAssigner` of MMDetection 3.3.0 (of YOLOv3's heads; Redmon and Farhadi 2018, arXiv 1804.02767, section 2.1): as
//! [`super::MaxIouAssigner`], but only priors of cells in which the middle of an object lies can find one.

use serde::Deserialize;

use super::max_iou::{Negative, Table};
use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, LEFT_OUT, Overlaps, Priors};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::structures::boxes::Overlap;
use crate::targets::Objects;

/// The keys of `type='GridAssigner'`.
#[derive(Debug, Deserialize)]
struct GridConfig {
    pos_iou_thr: f32,
    neg_iou_thr: Negative,
    min_pos_iou: Option<f32>,
    gt_max_assign_all: Option<bool>,
}

/// Assigns by overlaps within responsible cells.
#[derive(Clone, Debug)]
pub struct GridAssigner {
    /// Above this overlap a responsible prior finds an object.
    pub pos_iou_thr: f32,
    /// Up to here a prior is background: from 0 on, or from above the first of two.
    pub neg_iou_thr: Negative,
    /// An object takes priors that overlap it by more than this.
    pub min_pos_iou: f32,
    /// Whether an object takes all priors that overlap it equally, or the first of them.
    pub gt_max_assign_all: bool,
    /// How overlaps are measured.
    pub overlaps: Overlaps,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: GridConfig = node.read_knowing(&["iou_calculator"])?;
    Ok(AnyAssigner::Boxes(Box::new(GridAssigner {
        pos_iou_thr: config.pos_iou_thr,
        neg_iou_thr: config.neg_iou_thr,
        min_pos_iou: config.min_pos_iou.unwrap_or(0.0),
        gt_max_assign_all: config.gt_max_assign_all.unwrap_or(true),
        overlaps: Overlaps::read(node)?,
    })))
}

impl Assigner for GridAssigner {
    /// # Panics
    /// If it is not said which priors are responsible.
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let (boxes, responsible) = (priors.boxes, priors.more.responsible);
        assert_eq!(
            responsible.len(),
            boxes.len(),
            "the head says which priors are responsible"
        );
        if objects.boxes.is_empty() {
            return Assigned::all(BACKGROUND, boxes.len());
        }
        let iou = |g: usize, p: usize| self.overlaps.of(&objects.boxes[g], &boxes[p], Overlap::Iou);
        let all = Table::new(boxes.len(), objects.boxes.len(), &iou, &|_, _| false);
        let of_responsible = |g: usize, p: usize| if responsible[p] { iou(g, p) } else { -1.0 };
        let mut object: Vec<i32> = vec![LEFT_OUT; boxes.len()];
        for (object, most) in object.iter_mut().zip(&all.most) {
            let background = match self.neg_iou_thr {
                Negative::Below(bound) => *most >= 0.0 && *most <= bound,
                Negative::Between([low, high]) => *most > low && *most <= high,
            };
            if background {
                *object = BACKGROUND;
            }
        }
        let table = Table::new(
            boxes.len(),
            objects.boxes.len(),
            &of_responsible,
            &|_, _| false,
        );
        for (p, object) in object.iter_mut().enumerate() {
            if table.most[p] > self.pos_iou_thr && responsible[p] {
                *object = table.nearest[p] as i32 + 1;
            }
        }
        for (g, best) in table.best.iter().enumerate() {
            if best.value > self.min_pos_iou {
                table.take(g, self.gt_max_assign_all, &of_responsible, |p| {
                    if responsible[p] {
                        object[p] = g as i32 + 1;
                    }
                });
            }
        }
        Assigned {
            object,
            overlap: table.most,
            ..Assigned::default()
        }
    }
}
