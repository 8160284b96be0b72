//! `FilterAnnotations` of mmdet 3.3: objects that are too small are left out, and where none stays, the picture.

use serde::Deserialize;

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::Reason;
use smalti_config::{Diagnostics, Node, error_at};

/// Leaves out small objects.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterAnnotations {
    /// Boxes must be wider and higher, px.
    min_wh: [f32; 2],
    /// Masks must have as many pixels.
    min_area: f64,
    by_box: bool,
    by_mask: bool,
    /// A picture of which no object stays is left out. (So it is, whatever the name says.)
    keep_empty: bool,
}

impl Draws for FilterAnnotations {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "FilterAnnotations"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, mut sample: Sample, (): &(), _: &Pixels) -> Outcome {
        if !sample.has_boxes {
            let message =
                "`FilterAnnotations` needs boxes: LoadAnnotations(with_bbox=True) before it";
            return Err(Fault::Transform(message.into()));
        }
        if sample.gt.is_empty() {
            return Ok(Some(sample));
        }
        let mut keep = vec![true; sample.gt.len()];
        if self.by_box {
            let [w, h] = self.min_wh;
            for (keep, b) in keep.iter_mut().zip(&sample.gt.boxes) {
                *keep &= b[2] - b[0] > w && b[3] - b[1] > h;
            }
        }
        if self.by_mask {
            let Some(masks) = &sample.gt.masks else {
                let message = "`FilterAnnotations(by_mask=True)` needs masks: LoadAnnotations(with_mask=True) before it";
                return Err(Fault::Transform(message.into()));
            };
            for (keep, area) in keep.iter_mut().zip(masks.areas()) {
                *keep &= area >= self.min_area;
            }
        }
        if self.keep_empty && !keep.contains(&true) {
            return Ok(None);
        }
        sample.gt.keep(&keep, Reason::TooSmall);
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    min_gt_bbox_wh: Option<[f64; 2]>,
    min_gt_mask_area: Option<f64>,
    by_box: Option<bool>,
    by_mask: Option<bool>,
    keep_empty: Option<bool>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let by_box = config.by_box.unwrap_or(true);
    let by_mask = config.by_mask.unwrap_or(false);
    if !by_box && !by_mask {
        let message = "`FilterAnnotations` needs `by_box` or `by_mask`";
        return Err(error_at(node, "by_box", message, ""));
    }
    Ok(Box::new(FilterAnnotations {
        min_wh: config.min_gt_bbox_wh.unwrap_or([1.0; 2]).map(|v| v as f32),
        min_area: config.min_gt_mask_area.unwrap_or(1.0),
        by_box,
        by_mask,
        keep_empty: config.keep_empty.unwrap_or(true),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refused, run, sample};

    #[test]
    fn filters() {
        let objects = [[0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 4.0, 3.0]];
        let run = |options: &str| {
            let text = format!("dict(type='FilterAnnotations', {options})");
            run(&text, sample([6, 6], &objects), None).unwrap()
        };
        assert_eq!(run("").unwrap().gt.labels, [1], "1 px is not more than 1");
        assert_eq!(run("min_gt_bbox_wh=(1., .5)").unwrap().gt.len(), 2);
        let out = run("by_box=False, by_mask=True, min_gt_mask_area=12").unwrap();
        assert_eq!(out.gt.dropped[0].reason, super::Reason::TooSmall);
        assert_eq!(out.gt.labels, [1]);
        assert!(run("min_gt_bbox_wh=(9, 9)").is_none());
        let out = run("min_gt_bbox_wh=(9, 9), keep_empty=False").unwrap();
        assert_eq!((out.gt.len(), out.gt.dropped.len()), (0, 2));
    }

    #[test]
    fn needs() {
        let message = refused("dict(type='FilterAnnotations', by_box=False)");
        assert!(message.contains("needs `by_box` or `by_mask`"), "{message}");
        let mut without = sample([2, 2], &[[0.0, 0.0, 1.0, 1.0]]);
        without.gt.masks = None;
        assert!(
            run(
                "dict(type='FilterAnnotations', by_mask=True)",
                without.clone(),
                None
            )
            .is_err()
        );
        without.has_boxes = false;
        assert!(run("dict(type='FilterAnnotations')", without, None).is_err());
    }
}
