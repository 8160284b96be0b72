//! `ATSSAssigner` (Zhang et al. 2020, arXiv 1912.02424, section 4) as MMDetection 3.3.0 computes it: of the priors nearest to an object's
//! middle, those that overlap it as much as the mean and one deviation of these, and whose middle lies in it. Of priors that are as near the
//! first are asked; the original leaves that open.

use rayon::prelude::*;
use serde::Deserialize;

use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, LEFT_OUT, Overlaps, Priors};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, unsupported};
use crate::structures::Xyxy;
use crate::structures::boxes::Overlap;
use crate::targets::Objects;

/// The keys of `type='ATSSAssigner'`.
#[derive(Debug, Deserialize)]
struct AtssConfig {
    topk: Bounded<1, 65_536>,
    ignore_iof_thr: Option<f32>,
}

/// Assigns by a threshold of each object's own.
#[derive(Clone, Debug)]
pub struct AtssAssigner {
    /// How many priors of a level are asked for an object.
    pub topk: usize,
    /// Priors that lie in an ignored box by more than this are left out; none, unless it is above 0.
    pub ignore_iof_thr: f32,
    /// How overlaps are measured.
    pub overlaps: Overlaps,
}

/// The overlap of a prior that finds no object.
const NONE: f32 = -1e8;
/// How far inside of an object a middle is to be, px.
const INSIDE: f32 = 0.01;

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: AtssConfig = node.read_knowing(&["alpha", "iou_calculator"])?;
    if node.get("alpha").is_some_and(|n| !n.is_none()) {
        let message = "`alpha`, by which it asks what is predicted (DDOD), is not supported yet";
        return Err(unsupported(node, "alpha", message, "leave it out"));
    }
    Ok(AnyAssigner::Boxes(Box::new(AtssAssigner {
        topk: config.topk.get(),
        ignore_iof_thr: config.ignore_iof_thr.unwrap_or(-1.0),
        overlaps: Overlaps::read(node)?,
    })))
}

impl Assigner for AtssAssigner {
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let count = priors.boxes.len();
        if objects.boxes.is_empty() {
            return Assigned::all(BACKGROUND, count);
        }
        let ignored = super::max_iou::in_ignored(
            priors.boxes,
            &objects.ignored,
            self.ignore_iof_thr,
            true,
            self.overlaps,
        );
        let middles: Vec<[f32; 2]> = priors.boxes.iter().map(middle).collect();
        let found = |bbox| self.found(priors, &middles, &ignored, bbox);
        let found: Vec<Vec<(usize, f32)>> = objects.boxes.par_iter().map(found).collect();

        let mut assigned = Assigned {
            object: ignored
                .iter()
                .map(|i| if *i { LEFT_OUT } else { BACKGROUND })
                .collect(),
            overlap: vec![NONE; count],
            ..Assigned::default()
        };
        for (g, found) in found.into_iter().enumerate() {
            for (p, overlap) in found {
                if overlap > assigned.overlap[p] {
                    (assigned.object[p], assigned.overlap[p]) = (g as i32 + 1, overlap);
                }
            }
        }
        assigned
    }
}

impl AtssAssigner {
    /// The priors that may find the object `bbox`, and their overlaps with it.
    fn found(
        &self,
        priors: &Priors,
        middles: &[[f32; 2]],
        ignored: &[bool],
        bbox: &Xyxy,
    ) -> Vec<(usize, f32)> {
        let [x, y] = middle(bbox);
        let mut nearest = Vec::new();
        let mut first = 0;
        for level in priors.levels {
            let of_level = (first..first + level).map(|p| {
                let [dx, dy] = [middles[p][0] - x, middles[p][1] - y];
                let far = if ignored[p] {
                    -NONE
                } else {
                    (dx * dx + dy * dy).sqrt()
                };
                (far, p)
            });
            let mut of_level: Vec<(f32, usize)> = of_level.collect();
            if of_level.len() > self.topk {
                let by =
                    |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
                of_level.select_nth_unstable_by(self.topk, by);
                of_level.truncate(self.topk);
            }
            nearest.extend(of_level.into_iter().map(|(_, p)| p));
            first += level;
        }
        let overlap = |p: usize| (p, self.overlaps.of(&priors.boxes[p], bbox, Overlap::Iou));
        let mut found: Vec<(usize, f32)> = nearest.into_iter().map(overlap).collect();
        let least = threshold(&found);
        found.retain(|(p, overlap)| {
            let [x, y] = middles[*p];
            let sides = [x - bbox[0], y - bbox[1], bbox[2] - x, bbox[3] - y];
            *overlap >= least && sides.iter().all(|side| *side > INSIDE)
        });
        found
    }
}

/// Mean and standard deviation (the estimate of all from a sample) of overlaps; no number of a single one, as PyTorch's.
fn threshold(found: &[(usize, f32)]) -> f32 {
    let count = found.len() as f64;
    let values = found.iter().map(|(_, overlap)| f64::from(*overlap));
    let mean = values.clone().sum::<f64>() / count;
    let square: f64 = values.map(|v| (v - mean) * (v - mean)).sum();
    let deviation = (square / (count - 1.0)).sqrt();
    mean as f32 + deviation as f32
}

fn middle(b: &Xyxy) -> [f32; 2] {
    [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0]
}
