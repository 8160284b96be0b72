//! `FixShapeResize` of mmdet 3.3: one size for all pictures; where the ratio is kept, the rest is padded.

use serde::Deserialize;

use super::canvas::checked;
use super::pad::{Pad, PadVal};
use super::resize::{Given, Manner, fitting, resize};
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, error_at};

/// Resizes to one size.
#[derive(Clone, Debug, PartialEq)]
pub struct FixShapeResize {
    size: [usize; 2],
    manner: Manner,
    pad: Pad,
}

impl Draws for FixShapeResize {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "FixShapeResize"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, mut sample: Sample, (): &(), pixels: &Pixels) -> Outcome {
        let old = sample.image.size();
        let Manner {
            keep_ratio,
            method,
            clip,
        } = self.manner;
        let factor = [0, 1].map(|i| self.size[i] as f64 / old[i] as f64);
        sample.keep_ratio = Some(keep_ratio);
        if !keep_ratio {
            let size = checked(self.size)?;
            return resize(sample, method, pixels, size, factor, size, clip);
        }
        // boxes follow the exact factor, the picture is rounded twice
        let factor = factor[0].min(factor[1]);
        let rounded = |factor: f64| old.map(|v| (v as f64 * factor + 0.5) as usize);
        let bounds = rounded(factor).map(|v| v as f64);
        let size = checked(rounded(fitting(old, bounds)))?;
        match resize(sample, method, pixels, size, [factor; 2], size, clip)? {
            Some(sample) => self.pad.pad(sample, pixels),
            None => Ok(None),
        }
    }
}

#[derive(Deserialize)]
struct Config {
    width: usize,
    height: usize,
    pad_val: Option<PadVal>,
    keep_ratio: Option<bool>,
    clip_object_border: Option<bool>,
    backend: Option<String>,
    interpolation: Option<String>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let given = Given {
        keep_ratio: config.keep_ratio,
        clip_object_border: config.clip_object_border,
        backend: config.backend.as_deref(),
        interpolation: config.interpolation.as_deref(),
    };
    for (key, side) in [("width", config.width), ("height", config.height)] {
        if side == 0 {
            return Err(error_at(node, key, format!("`{key}` is 0"), ""));
        }
    }
    let size = [config.width, config.height];
    Ok(Box::new(FixShapeResize {
        size,
        manner: Manner::read(node, given)?,
        pad: Pad::to(size, node, config.pad_val)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refused, run, sample};

    #[test]
    fn to_one_size() {
        let objects = [[0.0, 0.0, 3.0, 5.0]];
        let text = "dict(type='FixShapeResize', width=14, height=8, keep_ratio=True, pad_val=dict(img=9, masks=1))";
        let out = run(text, sample([6, 5], &objects), None).unwrap().unwrap();
        // 1.6 times, rounded down from 9.6 + 0.5
        assert_eq!(
            (out.image.size(), out.scale_factor),
            ([14, 8], Some([1.6; 2]))
        );
        assert_eq!(out.gt.boxes, [[0.0, 0.0, 3.0 * 1.6, 8.0]]);
        // five columns of the picture, four of the padding
        assert_eq!(out.gt.masks.unwrap().areas(), [5.0 * 8.0 + 4.0 * 8.0]);
        assert_eq!(out.more["pad_shape"], serde_json::json!([8, 14, 3]));
        let text = "dict(type='FixShapeResize', width=12, height=5)";
        let out = run(text, sample([6, 5], &objects), None).unwrap().unwrap();
        assert_eq!(
            (out.image.size(), out.scale_factor),
            ([12, 5], Some([2.0, 1.0]))
        );
        let message = refused("dict(type='FixShapeResize', width=0, height=5)");
        assert!(message.contains("`width` is 0"), "{message}");
    }
}
