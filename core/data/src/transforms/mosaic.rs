//! `Mosaic` of mmdet 3.3 (datasets/transforms/transforms.py), from YOLOv4 (2020, arXiv:2004.10934): four pictures around a centre
//! on a canvas of twice the size.
//!
//! Masks go with their boxes; MMDetection's Mosaic drops them. They are resized and moved as its CachedMosaic does, but on the
//! picture's canvas (there its height and width are swapped).

use serde::{Deserialize, Serialize};

use super::canvas::{checked, stored};
use super::level::within;
use super::mixing::{PadVal, fitted, img_scale, mixed, of, probability, rescaled};
use super::{Draws, Others, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Canvas, Part, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{GroundTruth, Reason, boxes};
use smalti_config::{Diagnostics, Node};

/// Four pictures in one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mosaic {
    /// Width and height into which each picture is fitted; the canvas is twice that.
    img_scale: [usize; 2],
    /// Of the centre, in units of `img_scale`.
    center_ratio_range: [f64; 2],
    bbox_clip_border: bool,
    pad_val: PadVal,
    prob: f64,
}

/// Draws of [`Mosaic`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MosaicDrawn {
    /// Whether it is done (`prob`).
    pub apply: bool,
    /// Where the four pictures meet on the canvas, px.
    #[serde(default)]
    pub center: [i64; 2],
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(Mosaic::read(node)?))
}

#[derive(Deserialize)]
struct Config {
    img_scale: Option<Node>,
    center_ratio_range: Option<[f64; 2]>,
    bbox_clip_border: Option<bool>,
    pad_val: Option<PadVal>,
    prob: Option<f64>,
}

impl Mosaic {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let config: Config = node.read()?;
        Self::new(
            node,
            config.img_scale.as_ref(),
            config.center_ratio_range,
            config.bbox_clip_border,
            config.pad_val,
            config.prob,
        )
    }

    /// From the options, which CachedMosaic has too.
    pub(super) fn new(
        node: &Node,
        scale: Option<&Node>,
        center_ratio_range: Option<[f64; 2]>,
        bbox_clip_border: Option<bool>,
        pad_val: Option<PadVal>,
        prob: Option<f64>,
    ) -> Result<Self, Diagnostics> {
        let center_ratio_range = center_ratio_range.unwrap_or([0.5, 1.5]);
        within(node, "center_ratio_range", center_ratio_range, 0.0..=2.0)?;
        Ok(Self {
            img_scale: img_scale(node, scale)?,
            center_ratio_range,
            bbox_clip_border: bbox_clip_border.unwrap_or(true),
            pad_val: pad_val.unwrap_or(PadVal::Float(114.0)),
            prob: probability(node, prob)?,
        })
    }

    /// Whether to do it at all.
    pub(super) fn draw_apply(&self, random: &mut dyn Random) -> Result<bool, Fault> {
        Ok(random.uniform(0.0, 1.0)? <= self.prob)
    }

    /// The centre.
    pub(super) fn draw_center(&self, random: &mut dyn Random) -> Result<[i64; 2], Fault> {
        let [low, high] = self.center_ratio_range;
        let x = random.uniform(low, high)? * self.img_scale[0] as f64;
        let y = random.uniform(low, high)? * self.img_scale[1] as f64;
        Ok([x as i64, y as i64])
    }

    /// Lays four samples around a centre: itself top left, the three others in reading order.
    pub(super) fn combine(
        &self,
        mut sample: Sample,
        others: Vec<Sample>,
        center: [i64; 2],
        pixels: &Pixels,
    ) -> Outcome {
        let canvas = checked(self.img_scale.map(|v| v.saturating_mul(2)))?;
        let center = on_canvas(center, canvas)?;
        let (channels, depth) = (sample.image.channels(), sample.image.depth());
        let own = (
            sample.info.clone(),
            sample.image.clone(),
            std::mem::take(&mut sample.gt),
        );
        let others = others.into_iter().map(|s| (s.info, s.image, s.gt));
        let mut parts = Vec::with_capacity(4);
        let mut all: Option<GroundTruth> = None;
        for (corner, (info, image, mut gt)) in std::iter::once(own).chain(others).enumerate() {
            if (image.channels(), image.depth()) != (channels, depth) {
                let text = format!(
                    "the pictures of a mosaic differ in channels or depth: here {} of {:?}, in {} {channels} of {depth:?}",
                    image.channels(),
                    image.depth(),
                    sample.info.img_path
                );
                return Err(of(&info)(Fault::Transform(text)));
            }
            let (scale, resized) = fitted(image.size(), self.img_scale).map_err(of(&info))?;
            let x = Span::new(corner % 2 == 0, center[0], resized[0], canvas[0]);
            let y = Span::new(corner < 2, center[1], resized[1], canvas[1]);
            let at = [x.offset(), y.offset()];
            boxes::rescale(&mut gt.boxes, [scale as f32; 2]);
            boxes::translate(&mut gt.boxes, at.map(|v| v as f32));
            if let Some(masks) = gt.masks.take() {
                let size = rescaled([masks.width, masks.height], scale).map_err(of(&info))?;
                gt.masks = Some(masks.resize(size).place(canvas, at));
            }
            match &mut all {
                None => all = Some(gt),
                Some(all) => all.append(gt),
            }
            if x.end > x.start && y.end > y.start {
                parts.push(Part {
                    image,
                    resized,
                    crop: [x.crop, y.crop],
                    place: [x.start, y.start, x.end, y.end],
                });
            }
        }
        sample.gt = all.unwrap_or_default();
        sample
            .gt
            .keep(&boxes::inside(&sample.gt.boxes, canvas), Reason::Outside);
        if self.bbox_clip_border {
            // after leaving out those outside, of which clipping would leave a line; the others stay the same
            boxes::clip(&mut sample.gt.boxes, canvas);
        }
        let fill = stored(&self.pad_val.values(), &sample.image)?;
        sample.set_image(pixels.canvas(&Canvas {
            size: canvas,
            channels,
            depth,
            fill: &fill,
            parts: &parts,
        })?);
        sample.mix.clear();
        Ok(Some(sample))
    }
}

impl Draws for Mosaic {
    type Drawn = MosaicDrawn;

    fn name(&self) -> &'static str {
        "Mosaic"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<MosaicDrawn, Fault> {
        let _ = sample;
        let apply = self.draw_apply(random)?;
        let center = if apply {
            self.draw_center(random)?
        } else {
            [0, 0]
        };
        Ok(MosaicDrawn { apply, center })
    }

    fn apply(&self, mut sample: Sample, drawn: &MosaicDrawn, pixels: &Pixels) -> Outcome {
        if !drawn.apply {
            return Ok(Some(sample));
        }
        let others = mixed(&mut sample, Draws::name(self), 3)?;
        self.combine(sample, others, drawn.center, pixels)
    }

    fn indexes(
        &self,
        others: &mut dyn Others,
        random: &mut dyn Random,
    ) -> Option<Result<Vec<usize>, Fault>> {
        let count = others.len() as i64;
        let draw = |_| Ok(random.randint(0, count)? as usize);
        Some((0..3).map(draw).collect())
    }

    fn mixes(&self) -> bool {
        true
    }
}

/// A centre outside of the canvas, as of a `center_ratio_range` outside of 0 to 2, is an error in the original too.
fn on_canvas(center: [i64; 2], canvas: [usize; 2]) -> Result<[usize; 2], Fault> {
    let [x, y] = center.map(|v| usize::try_from(v).unwrap_or(usize::MAX));
    if x <= canvas[0] && y <= canvas[1] {
        return Ok([x, y]);
    }
    let text = format!(
        "the centre of the mosaic ({}, {}) is outside of its canvas of {}x{}",
        center[0], center[1], canvas[0], canvas[1]
    );
    Err(Fault::Transform(text))
}

/// Where a resized picture lies along one axis of the canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// First pixel on the canvas.
    start: usize,
    /// One after the last.
    end: usize,
    /// Pixel of the picture that lies at `start`.
    crop: usize,
}

impl Span {
    /// A picture of `length` pixels that ends (`before`) or starts at `center`, on a canvas of `limit` pixels.
    fn new(before: bool, center: usize, length: usize, limit: usize) -> Self {
        if before {
            let start = center.saturating_sub(length);
            Self {
                start,
                end: center,
                crop: length - (center - start),
            }
        } else {
            Self {
                start: center,
                end: limit.min(center + length),
                crop: 0,
            }
        }
    }

    /// Where the picture's first pixel would be.
    fn offset(self) -> i64 {
        self.start as i64 - self.crop as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::flat::{Flat, refused};
    use crate::image::Samples;

    fn mosaic(img_scale: [usize; 2]) -> Mosaic {
        Mosaic {
            img_scale,
            center_ratio_range: [0.5, 1.5],
            bbox_clip_border: true,
            pad_val: PadVal::Float(9.0),
            prob: 1.0,
        }
    }

    /// Four pictures whose sizes on the canvas are 4x3, 2x3, 4x3 and 4x3.
    fn four() -> Sample {
        let mut pictures = Flat::new(&[[4, 3], [2, 3], [8, 6], [4, 3]]);
        pictures.masks = true;
        let mut sample = pictures.sample(0);
        sample.mix = (1..4).map(|i| pictures.sample(i)).collect();
        sample
    }

    #[test]
    fn spans() {
        let span = |before, center, length| {
            let s = Span::new(before, center, length, 8);
            [s.start as i64, s.end as i64, s.crop as i64, s.offset()]
        };
        // shorter and longer than what is left of the centre
        assert_eq!(span(true, 5, 3), [2, 5, 0, 2]);
        assert_eq!(span(true, 2, 3), [0, 2, 1, -1]);
        assert_eq!(span(true, 0, 3), [0, 0, 3, -3]);
        assert_eq!(span(true, 8, 3), [5, 8, 0, 5]);
        // and right of it
        assert_eq!(span(false, 2, 3), [2, 5, 0, 2]);
        assert_eq!(span(false, 6, 3), [6, 8, 0, 6]);
        assert_eq!(span(false, 8, 3), [8, 8, 0, 8]);
        assert_eq!(span(false, 0, 3), [0, 3, 0, 0]);
    }

    #[test]
    fn four_in_one() {
        let drawn = MosaicDrawn {
            apply: true,
            center: [3, 2],
        };
        let pixels = Pixels::cpu().exact(true);
        let sample = mosaic([4, 3]).apply(four(), &drawn, &pixels);
        let sample = sample.unwrap().unwrap();
        assert_eq!(sample.img_shape, [6, 8]);
        let Samples::U8(samples) = &*pixels.read_blocking(&sample.image).unwrap() else {
            panic!("u8 pictures give a u8 mosaic");
        };
        let blue: Vec<u8> = samples.chunks(3).map(|p| p[0]).collect();
        let rows: Vec<&[u8]> = blue.chunks(8).collect();
        let (upper, lower) = ([1, 1, 1, 2, 2, 9, 9, 9], [3, 3, 3, 4, 4, 4, 4, 9]);
        assert_eq!(rows, [upper, upper, lower, lower, lower, [9; 8]]);
        assert_eq!(
            sample.gt.boxes,
            [
                [0.0, 0.0, 3.0, 2.0],
                [3.0, 0.0, 5.0, 2.0],
                [0.0, 2.0, 3.0, 5.0],
                [3.0, 2.0, 7.0, 5.0]
            ]
        );
        assert_eq!(sample.gt.labels, [0, 1, 2, 3]);
        let masks = sample.gt.masks.unwrap();
        assert_eq!(masks.size(), [8, 6]);
        assert_eq!(masks.areas(), [6.0, 4.0, 9.0, 12.0]);
        assert!(sample.mix.is_empty());
    }

    #[test]
    fn objects_beside_the_canvas_are_dropped() {
        let drawn = MosaicDrawn {
            apply: true,
            center: [8, 6],
        };
        let pixels = Pixels::cpu().exact(true);
        let sample = mosaic([4, 3]).apply(four(), &drawn, &pixels);
        let sample = sample.unwrap().unwrap();
        assert_eq!(sample.gt.boxes, [[4.0, 3.0, 8.0, 6.0]]);
        let dropped = &sample.gt.dropped;
        assert_eq!(dropped.len(), 3);
        assert_eq!(dropped[0].bbox, [8.0, 3.0, 10.0, 6.0]);
        assert!(dropped.iter().all(|d| d.reason == Reason::Outside));
    }

    #[test]
    fn whatever_draws_say_it_does_not_panic() {
        let pixels = Pixels::cpu().exact(true);
        for center in [[9, 0], [0, 7], [-1, 0], [i64::MIN, i64::MAX]] {
            let drawn = MosaicDrawn {
                apply: true,
                center,
            };
            let outcome = mosaic([4, 3]).apply(four(), &drawn, &pixels);
            let problem = outcome.unwrap_err().to_string();
            assert!(
                problem.contains("outside of its canvas of 8x6"),
                "{problem}"
            );
        }
        let drawn = MosaicDrawn {
            apply: true,
            center: [1, 1],
        };
        let thin = mosaic([1, 1000]).apply(four(), &drawn, &pixels);
        assert!(thin.unwrap_err().to_string().contains("no pixels"));
        let large = mosaic([usize::MAX, 2]).apply(four(), &drawn, &pixels);
        assert!(matches!(large, Err(Fault::TooLarge { .. })));
    }

    #[test]
    fn alone_it_names_the_fix() {
        let drawn = MosaicDrawn {
            apply: true,
            center: [3, 2],
        };
        let mut sample = four();
        sample.mix.clear();
        let outcome = mosaic([4, 3]).apply(sample, &drawn, &Pixels::cpu());
        assert_eq!(
            outcome.unwrap_err().to_string(),
            "`Mosaic` mixes in 3 other pictures and found 0: put it into the `pipeline` of a `MultiImageMixDataset`, or use `CachedMosaic`"
        );
    }

    #[test]
    fn asserts_of_the_original() {
        let refused = |options| refused(&format!("dict(type='Mosaic', {options})"));
        assert_eq!(refused("img_scale=(640, 640), pad_val=(114, 114, 114)"), "");
        assert!(refused("img_scale=[640, 640]").contains("must be a tuple"));
        assert_eq!(refused("img_scale=(0, 640)"), "`img_scale` is (0, 640)");
        assert_eq!(refused("prob=1.5"), "`prob` is 1.5");
        assert!(refused("img_size=(640, 640)").contains("img_size"));
    }
}
