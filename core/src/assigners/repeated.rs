//! [`Repeated`]: objects of one box, moved apart at random before priors are asked how much they overlap them (`perm_repeat_gt_cfg` of
//! `MaxIoUAssigner`, MMDetection 3.3.0, for V3Det): else the first of them would get all priors.
//!
//! What is drawn follows from the boxes alone, so that a run can be repeated; the original draws from PyTorch's generator.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Overlaps;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Random;
use crate::structures::Xyxy;
use crate::structures::boxes::Overlap;

/// How objects of one box are moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeated {
    /// The overlap with where it was that a box is to have; after the first try, 0.97.
    pub iou_thr: f32,
    /// Each side is multiplied by 1 and up to this more or less.
    pub perm_range: f64,
}

/// The keys of `perm_repeat_gt_cfg`.
#[derive(Deserialize)]
struct RepeatedConfig {
    iou_thr: Option<f32>,
    perm_range: Option<f64>,
}

/// Tries after the first; the last one counts whatever it is.
const TRIES: u32 = 5;
/// The overlap that is asked for where nothing is said, and from the second try on.
const IOU_THR: f32 = 0.97;

impl Repeated {
    /// An assigner's `perm_repeat_gt_cfg`, if it has one.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub(super) fn read(node: &Node) -> Result<Option<Self>, Diagnostics> {
        let Some(given) = node.get("perm_repeat_gt_cfg").filter(|n| !n.is_none()) else {
            return Ok(None);
        };
        let config: RepeatedConfig = given.read()?;
        let perm_range = config.perm_range.unwrap_or(0.01);
        if !(0.0..=1.0).contains(&perm_range) {
            let message = format!("`perm_range` is {perm_range}, 0 to 1 are possible");
            return Err(error_at(given, "perm_range", message, ""));
        }
        Ok(Some(Self {
            iou_thr: config.iou_thr.unwrap_or(IOU_THR),
            perm_range,
        }))
    }

    /// The boxes, those that are there more than once moved.
    pub fn apart(&self, boxes: &[Xyxy], overlaps: Overlaps) -> Vec<Xyxy> {
        let mut made = boxes.to_vec();
        let mut same: BTreeMap<[u32; 4], Vec<usize>> = BTreeMap::new();
        for (i, bbox) in boxes.iter().enumerate() {
            same.entry(bbox.map(f32::to_bits)).or_default().push(i);
        }
        for places in same.values().filter(|places| places.len() > 1) {
            let moved = self.moved(&boxes[places[0]], places.len(), overlaps);
            for (at, moved) in places.iter().zip(moved) {
                made[*at] = moved;
            }
        }
        made
    }

    /// `count` boxes near `bbox`.
    fn moved(&self, bbox: &Xyxy, count: usize, overlaps: Overlaps) -> Vec<Xyxy> {
        let bits = bbox.map(|side| u64::from(side.to_bits()));
        let draws = Random::new("perm_repeat_gt_cfg").with(count as u64);
        let mut draws = bits.into_iter().fold(draws, Random::with);
        let (mut range, mut least) = (self.perm_range, self.iou_thr);
        for tried in 0.. {
            let mut side = |side: f32| {
                let factor = 1.0 - range + 2.0 * range * f64::from(draws.uniform());
                side * factor as f32
            };
            let boxes: Vec<Xyxy> = (0..count).map(|_| bbox.map(&mut side)).collect();
            let fits = |b: &Xyxy| {
                b[2] > b[0] && b[3] > b[1] && overlaps.of(bbox, b, Overlap::Iou) >= least
            };
            if tried == TRIES || boxes.iter().all(fits) {
                return boxes;
            }
            // As the original's recursion has it, which hands on the range alone.
            range = (range - f64::from(tried) * 0.001).max(0.001);
            least = IOU_THR;
        }
        unreachable!("the last try counts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_value;

    #[test]
    fn those_that_are_one_are_moved_a_little() {
        let boxes = [
            [10.0, 10.0, 50.0, 90.0],
            [0.0, 0.0, 5.0, 5.0],
            [10.0, 10.0, 50.0, 90.0],
            [10.0, 10.0, 50.0, 90.0],
            [10.0, 10.0, 50.0, 90.5],
        ];
        let repeated = Repeated {
            iou_thr: 0.9,
            perm_range: 0.02,
        };
        let made = repeated.apart(&boxes, Overlaps::Plain);
        assert_eq!([made[1], made[4]], [boxes[1], boxes[4]], "these are alone");
        for i in [0, 2, 3] {
            let iou = Overlaps::Plain.of(&boxes[i], &made[i], Overlap::Iou);
            assert!((0.9..1.0).contains(&iou), "{:?}: {iou}", made[i]);
            for (side, moved) in boxes[i].iter().zip(made[i]) {
                assert!((moved / side - 1.0).abs() <= 0.02001);
            }
        }
        assert!(made[0] != made[2] && made[2] != made[3]);
        assert_eq!(made, repeated.apart(&boxes, Overlaps::Plain), "repeatable");
        // A box far from the corner moves by more than its size: the last try counts.
        let far = [[1000.0, 1000.0, 1001.0, 1001.0]; 2];
        assert_ne!(repeated.apart(&far, Overlaps::Plain), far);
    }

    #[test]
    fn configs() {
        let read = |text: &str| {
            let node = parse_value(&format!("dict(perm_repeat_gt_cfg={text})")).unwrap();
            Repeated::read(&node).map_err(|e| e[0].to_string())
        };
        assert_eq!(read("None"), Ok(None));
        let [iou_thr, perm_range] = [0.7, 0.05];
        let given = Repeated {
            iou_thr: iou_thr as f32,
            perm_range,
        };
        assert_eq!(read("dict(iou_thr=0.7, perm_range=0.05)"), Ok(Some(given)));
        let plain = Repeated {
            iou_thr: 0.97,
            perm_range: 0.01,
        };
        assert_eq!(read("dict()"), Ok(Some(plain)));
        let odd = read("dict(perm_range=2.0)").unwrap_err();
        assert!(
            odd.contains("`perm_range` is 2, 0 to 1 are possible"),
            "{odd}"
        );
    }
}
