//! `PointAssigner` (Yang et al. 2019, arXiv 1904.11490) as MMDetection 3.3.0 computes it: each object takes the points nearest to its middle,
//! of the level for its size; a point that several take stays with the one it is nearest to.

use serde::Deserialize;

use super::{AnyAssigner, Assigned, Assigner, BACKGROUND, Priors};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::targets::Objects;

/// The keys of `type='PointAssigner'`.
#[derive(Debug, Deserialize)]
struct PointConfig {
    scale: Option<f32>,
    pos_num: Option<Bounded<1, 65_536>>,
}

/// Assigns points to objects of their level's size.
#[derive(Clone, Debug)]
pub struct PointAssigner {
    /// The size of an object in strides of its level.
    pub scale: f32,
    /// How many points an object takes.
    pub pos_num: usize,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: PointConfig = node.read()?;
    let scale = config.scale.unwrap_or(4.0);
    if scale <= 0.0 || scale.is_nan() {
        let message = "`scale` must be above 0";
        return Err(error_at(node, "scale", message, "for example 4"));
    }
    Ok(AnyAssigner::Boxes(Box::new(PointAssigner {
        scale,
        pos_num: config.pos_num.map_or(3, Bounded::get),
    })))
}

impl Assigner for PointAssigner {
    /// Of priors without size. A level with fewer points than an object takes gives all, where the original fails.
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned {
        let mut assigned = Assigned::all(BACKGROUND, priors.boxes.len());
        // whole powers of 2 of the levels' strides; those of levels without points do not count
        let levels: Vec<(i32, std::ops::Range<usize>)> = priors
            .ranges()
            .zip(priors.strides)
            .filter(|(range, _)| !range.is_empty())
            .map(|(range, [stride, _])| (stride.log2() as i32, range))
            .collect();
        let all = levels.iter().map(|(level, _)| *level);
        let (Some(least), Some(most)) = (all.clone().min(), all.max()) else {
            return assigned;
        };
        let mut nearest = vec![f32::INFINITY; priors.boxes.len()];
        for (g, bbox) in objects.boxes.iter().enumerate() {
            let [x, y] = [0, 1].map(|axis| (bbox[axis] + bbox[axis + 2]) / 2.0);
            let [width, height] = [0, 1].map(|axis| (bbox[axis + 2] - bbox[axis]).max(1e-6));
            let size = ((width / self.scale).log2() + (height / self.scale).log2()) / 2.0;
            let wanted = (size as i32).clamp(least, most);
            let points = levels.iter().filter(|(level, _)| *level == wanted);
            let mut points: Vec<(f32, usize)> = points
                .flat_map(|(_, range)| range.clone())
                .map(|p| {
                    let [px, py, ..] = priors.boxes[p];
                    let (dx, dy) = ((px - x) / width, (py - y) / height);
                    ((dx * dx + dy * dy).sqrt(), p)
                })
                .collect();
            if points.len() > self.pos_num {
                let by =
                    |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
                points.select_nth_unstable_by(self.pos_num, by);
                points.truncate(self.pos_num);
            }
            for (far, p) in points {
                if far < nearest[p] {
                    (nearest[p], assigned.object[p]) = (far, g as i32 + 1);
                }
            }
        }
        assigned
    }
}
