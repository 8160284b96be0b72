//! `CenterRegionAssigner` (Zhu et al. 2019, arXiv 1903.00621, section 3.1) as MMDetection 3.3.0 computes it: priors with their middle in an
//! object and enough of them in its core find it, the smallest object first. In its shadow, around the core, a prior is background, but does
//! not learn that class ([`Assigned::shadowed`]).

use serde::Deserialize;

use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, LEFT_OUT, Overlaps, Priors};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::structures::Xyxy;
use crate::structures::boxes::{Overlap, area};
use crate::targets::Objects;

/// The keys of `type='CenterRegionAssigner'`.
#[derive(Debug, Deserialize)]
struct CenterRegionConfig {
    pos_scale: f32,
    neg_scale: f32,
    min_pos_iof: Option<f32>,
    ignore_gt_scale: Option<f32>,
    foreground_dominate: Option<bool>,
}

/// Assigns by the cores and shadows of objects.
#[derive(Clone, Debug)]
pub struct CenterRegionAssigner {
    /// The core's share of an object's sides.
    pub pos_scale: f32,
    /// The shadow's.
    pub neg_scale: f32,
    /// A prior is in a core or shadow by more than this share of it.
    pub min_pos_iof: f32,
    /// The share of an ignored box's sides in which middles are left out.
    pub ignore_gt_scale: f32,
    /// Whether a prior in the shadow of an object finds another of the same class.
    pub foreground_dominate: bool,
    /// How overlaps are measured.
    pub overlaps: Overlaps,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: CenterRegionConfig = node.read_knowing(&["iou_calculator"])?;
    Ok(AnyAssigner::Boxes(Box::new(CenterRegionAssigner {
        pos_scale: config.pos_scale,
        neg_scale: config.neg_scale,
        min_pos_iof: config.min_pos_iof.unwrap_or(1e-2),
        ignore_gt_scale: config.ignore_gt_scale.unwrap_or(0.5),
        foreground_dominate: config.foreground_dominate.unwrap_or(false),
        overlaps: Overlaps::read(node)?,
    })))
}

impl Assigner for CenterRegionAssigner {
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let scaled = |boxes: &[Xyxy], by: f32| -> Vec<Xyxy> {
            boxes.iter().map(|b| scaled(b, by)).collect()
        };
        let cores = scaled(&objects.boxes, self.pos_scale);
        let shadows = scaled(&objects.boxes, self.neg_scale);
        let ignored = scaled(&objects.ignored, self.ignore_gt_scale);
        let mut assigned = Assigned::all(BACKGROUND, priors.boxes.len());
        for (p, prior) in priors.boxes.iter().enumerate() {
            let middle = [0, 1].map(|axis| (prior[axis + 2] + prior[axis]) / 2.0);
            let within = |region| self.overlaps.of(prior, region, Overlap::Iof) > self.min_pos_iof;
            let in_core = |g: usize| holds(&objects.boxes[g], middle) && within(&cores[g]);
            // Cores and shadows of one prior, and the smallest of the objects; of the same size the last one.
            let mut shadowed = Vec::new();
            let mut found: Option<usize> = None;
            for (g, shadow) in shadows.iter().enumerate() {
                if in_core(g) {
                    let smaller =
                        found.is_none_or(|f| area(&objects.boxes[g]) <= area(&objects.boxes[f]));
                    // an object whose core another takes casts a shadow there
                    let other = if smaller { found.replace(g) } else { Some(g) };
                    shadowed.extend(other);
                } else if within(shadow) {
                    shadowed.push(g);
                }
            }
            let of_ignored = ignored.iter().any(|b| holds(b, middle));
            let found = found.filter(|_| !of_ignored);
            let class = found.map(|g| objects.labels[g]);
            assigned.object[p] = match found {
                _ if of_ignored => LEFT_OUT,
                Some(g) => g as i32 + 1,
                None => BACKGROUND,
            };
            for g in shadowed {
                let same = class == Some(objects.labels[g]);
                if same && self.foreground_dominate {
                    continue;
                }
                if same {
                    assigned.object[p] = BACKGROUND;
                }
                assigned.shadowed.push((p, objects.labels[g]));
            }
        }
        assigned
    }
}

fn scaled(b: &Xyxy, by: f32) -> Xyxy {
    let half = [0, 1].map(|axis| (b[axis + 2] - b[axis]) * 0.5 * by);
    let middle = [0, 1].map(|axis| (b[axis + 2] + b[axis]) * 0.5);
    [
        middle[0] - half[0],
        middle[1] - half[1],
        middle[0] + half[0],
        middle[1] + half[1],
    ]
}

fn holds(b: &Xyxy, [x, y]: [f32; 2]) -> bool {
    x > b[0] && x < b[2] && y > b[1] && y < b[3]
}
