//! `LoadEmptyAnnotations` of mmdet 3.3: no objects, for pictures without labels.

use serde::Deserialize;

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{GroundTruth, Masks};
use smalti_config::{Diagnostics, Node, unsupported};

/// Takes all objects away.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadEmptyAnnotations {
    with_bbox: bool,
    with_mask: bool,
}

impl Draws for LoadEmptyAnnotations {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "LoadEmptyAnnotations"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, mut sample: Sample, (): &(), _: &Pixels) -> Outcome {
        let [height, width] = sample.img_shape;
        sample.gt = GroundTruth {
            masks: self.with_mask.then(|| Masks::none(width, height)),
            ..GroundTruth::default()
        };
        sample.has_boxes = self.with_bbox;
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    with_bbox: Option<bool>,
    /// There are none either way.
    #[serde(rename = "with_label")]
    _with_label: Option<bool>,
    with_mask: Option<bool>,
    with_seg: Option<bool>,
    #[serde(rename = "seg_ignore_label")]
    _seg_ignore_label: Option<i64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    if config.with_seg == Some(true) {
        let message = "segmentation maps are not made yet";
        return Err(unsupported(node, "with_seg", message, "leave it out"));
    }
    Ok(Box::new(LoadEmptyAnnotations {
        with_bbox: config.with_bbox.unwrap_or(true),
        with_mask: config.with_mask.unwrap_or(false),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{run, sample};

    #[test]
    fn empties() {
        let full = sample([3, 2], &[[0.0, 0.0, 1.0, 1.0]]);
        let out = run(
            "dict(type='LoadEmptyAnnotations', with_mask=True)",
            full,
            None,
        );
        let out = out.unwrap().unwrap();
        assert_eq!((out.gt.len(), out.has_boxes), (0, true));
        assert_eq!(out.gt.masks.unwrap().size(), [3, 2]);
    }
}
