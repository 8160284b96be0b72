//! `RegionAssigner` (Wang et al. 2019, arXiv 1901.03278, section 3.5) as MMDetection 3.3.0 computes it: anchors in the middle of an object, on
//! the level for its size, find it; those around that, and those in the middle of it on the levels next to that, are left out.
//!
//! The original also leaves out anchors outside of the picture; heads give no others here.

use serde::Deserialize;

use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, LEFT_OUT, Priors};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::structures::Xyxy;
use crate::targets::Objects;

/// The keys of `type='RegionAssigner'`.
#[derive(Debug, Deserialize)]
struct RegionConfig {
    center_ratio: Option<f32>,
    ignore_ratio: Option<f32>,
}

/// Assigns by regions of objects.
#[derive(Clone, Debug)]
pub struct RegionAssigner {
    /// The share of an object's sides in which anchors find it.
    pub center_ratio: f32,
    /// The share in which they are not background.
    pub ignore_ratio: f32,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: RegionConfig = node.read()?;
    Ok(AnyAssigner::Boxes(Box::new(RegionAssigner {
        center_ratio: config.center_ratio.unwrap_or(0.2),
        ignore_ratio: config.ignore_ratio.unwrap_or(0.5),
    })))
}

impl Assigner for RegionAssigner {
    /// # Panics
    /// If it is not said how large maps are.
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let mut assigned = Assigned::all(BACKGROUND, priors.boxes.len());
        let ranges: Vec<_> = priors.ranges().collect();
        let Some(last) = ranges.len().checked_sub(1) else {
            return assigned;
        };
        assert_eq!(
            priors.more.maps.len(),
            ranges.len(),
            "the head says how large maps are"
        );
        let smallest = priors.more.anchor_scale * priors.strides[0][0];
        let [middle, around] =
            [self.center_ratio, self.ignore_ratio].map(|share| (1.0 - share) / 2.0);
        let mut left_out = Vec::new();
        for (g, bbox) in objects.boxes.iter().enumerate() {
            let size = ((bbox[2] - bbox[0]) * (bbox[3] - bbox[1])).sqrt();
            let level = (size.log2() - smallest.log2() + 0.5).floor();
            // of no number 0, as the saturating cast has it
            let level = (level.max(0.0) as usize).min(last);
            let inside = |level: usize, ratio: f32| {
                let [stride, _] = priors.strides[level];
                let region = region(bbox, ratio, stride, priors.more.maps[level]);
                let holds = move |p: &usize| holds(&region, &priors.boxes[*p], stride);
                ranges[level].clone().filter(holds)
            };
            for p in inside(level, around) {
                assigned.object[p] = LEFT_OUT;
            }
            for p in inside(level, middle) {
                assigned.object[p] = g as i32 + 1;
            }
            for beside in [level.checked_sub(1), (level < last).then_some(level + 1)] {
                left_out.extend(beside.into_iter().flat_map(|level| inside(level, around)));
            }
        }
        for p in left_out {
            assigned.object[p] = LEFT_OUT;
        }
        assigned
    }
}

/// What of a box is within a share of its sides, in cells of a map of `[height, width]`.
fn region(bbox: &Xyxy, ratio: f32, stride: f32, [height, width]: [usize; 2]) -> Xyxy {
    let b = bbox.map(|side| side / stride);
    let at = |low: usize, ratio: f32, most: usize| {
        let side = (1.0 - ratio) * b[low] + ratio * b[low + 2];
        side.round_ties_even().clamp(0.0, most as f32)
    };
    // the original's order of the two products
    let far = |low: usize, most: usize| {
        let side = ratio * b[low] + (1.0 - ratio) * b[low + 2];
        side.round_ties_even().clamp(0.0, most as f32)
    };
    [
        at(0, ratio, width),
        at(1, ratio, height),
        far(0, width),
        far(1, height),
    ]
}

/// Whether the middle of an anchor is there.
fn holds(region: &Xyxy, anchor: &Xyxy, stride: f32) -> bool {
    let [x, y] = [0, 1].map(|axis| (anchor[axis] / stride + anchor[axis + 2] / stride) * 0.5);
    x >= region[0] && x <= region[2] && y >= region[1] && y <= region[3]
}
