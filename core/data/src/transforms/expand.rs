//! `Expand` of mmdet 3.3 (SSD, Liu et al. 2016, arXiv 1512.02325): the picture somewhere on a larger canvas of one colour.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::canvas::{checked, stored};
use super::level::within;
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::boxes;
use smalti_config::{Diagnostics, Node, error_at};

/// Puts the picture on a larger canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    /// In the order of the picture's channels.
    mean: Vec<f64>,
    ratio_range: [f64; 2],
    prob: f64,
}

/// How large, and where the picture lies on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The canvas' sides in those of the picture.
    pub ratio: f64,
    /// px.
    pub left: usize,
    /// px.
    pub top: usize,
}

impl Draws for Expand {
    fn name(&self) -> &'static str {
        "Expand"
    }
    /// `None`: left out this time.
    type Drawn = Option<Placed>;

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<Option<Placed>, Fault> {
        if random.uniform(0.0, 1.0)? > self.prob {
            return Ok(None);
        }
        let ratio = random.uniform(self.ratio_range[0], self.ratio_range[1])?;
        let [w, h] = sample.image.size().map(|v| v as f64);
        let left = random.uniform(0.0, w * ratio - w)? as usize;
        let top = random.uniform(0.0, h * ratio - h)? as usize;
        Ok(Some(Placed { ratio, left, top }))
    }

    fn apply(&self, mut sample: Sample, drawn: &Option<Placed>, pixels: &Pixels) -> Outcome {
        let Some(placed) = drawn else {
            return Ok(Some(sample));
        };
        let [w, h] = sample.image.size();
        let size = checked([w, h].map(|v| (v as f64 * placed.ratio) as usize))?;
        if size[0] < w || size[1] < h {
            let [nw, nh] = size;
            return Err(Fault::Transform(format!(
                "`Expand` by {} makes a canvas of {nw}x{nh}, smaller than the picture of {w}x{h}",
                placed.ratio
            )));
        }
        // draws made for another picture may point further
        let at = [placed.left.min(size[0] - w), placed.top.min(size[1] - h)];
        let op = Op::Window {
            size,
            at: at.map(|v| v as i64),
            border: Border::Constant(stored(&self.mean, &sample.image)?),
        };
        sample.set_image(pixels.run(&sample.image, &op)?);
        if sample.has_boxes {
            boxes::translate(&mut sample.gt.boxes, at.map(|v| v as f32));
        }
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(masks.expand(size, at));
        }
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    mean: Option<Vec<f64>>,
    to_rgb: Option<bool>,
    ratio_range: Option<[f64; 2]>,
    /// Of segmentation maps, which are not read.
    #[serde(rename = "seg_ignore_label")]
    _seg_ignore_label: Option<IgnoredAny>,
    prob: Option<f64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let mut mean = config.mean.unwrap_or(vec![0.0; 3]);
    if mean.is_empty() {
        return Err(error_at(node, "mean", "`mean` has no values", ""));
    }
    if config.to_rgb.unwrap_or(true) {
        mean.reverse();
    }
    let ratio_range = config.ratio_range.unwrap_or([1.0, 4.0]);
    within(node, "ratio_range", ratio_range, 1.0..=f64::INFINITY)?;
    Ok(Box::new(Expand {
        mean,
        ratio_range,
        prob: config.prob.unwrap_or(0.5),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{
        after, areas, first_channel, grey, mistakes, plain, with_boxes, with_params,
    };

    #[test]
    fn by_hand() {
        let sample = with_boxes(grey([2, 1], &[1, 2]), &[[0.0, 0.0, 2.0, 1.0]]);
        // BGR of an RGB mean: blue is 30.9, truncated
        let text = "dict(type='Expand', mean=[10, 20, 30.9], ratio_range=(1, 3))";
        let draws = json!([
            ["np.uniform", [0, 1], {}, 0.5],
            ["np.uniform", [1, 3], {}, 2.0],
            ["np.uniform", [0, 2.0], {}, 1.7],
            ["np.uniform", [0, 1.0], {}, 0.3],
        ]);
        let sample = after(text, sample, draws);
        assert_eq!(sample.img_shape, [2, 4]);
        let expected = [30.0, 1.0, 2.0, 30.0, 30.0, 30.0, 30.0, 30.0];
        assert_eq!(first_channel(&sample), expected);
        assert_eq!(sample.gt.boxes, [[1.0, 0.0, 3.0, 1.0]]);
        assert_eq!(areas(&sample), [2.0]);
    }

    #[test]
    fn left_out() {
        let draws = json!([["np.uniform", [0, 1], {}, 0.51]]);
        let sample = after("dict(type='Expand')", plain([2, 1], 3), draws);
        assert_eq!(sample.img_shape, [1, 2]);
    }

    #[test]
    fn strangers() {
        assert_eq!(mistakes("dict(type='Expand', mean=[])").len(), 1);
        let run = |params| with_params("dict(type='Expand')", plain([2, 1], 3), params);
        // as far as it goes
        let sample = run(json!({"ratio": 2.0, "left": 99, "top": 99})).unwrap();
        assert_eq!(first_channel(&sample.unwrap())[6..], [3.0, 3.0]);
        assert!(run(json!({"ratio": 0.5, "left": 0, "top": 0})).is_err());
        assert!(run(json!({"ratio": 1e30, "left": 0, "top": 0})).is_err());
        assert!(run(json!({"ratio": -1.0, "left": 0, "top": 0})).is_err());
        let text = "dict(type='Expand', mean=[1, 2])";
        let params = json!({"ratio": 2.0, "left": 0, "top": 0});
        assert!(with_params(text, plain([2, 1], 3), params).is_err());
    }
}
