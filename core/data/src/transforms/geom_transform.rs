//! The geometric transforms of mmdet 3.3 (datasets/transforms/geometric.py): `ShearX`, `ShearY`, `Rotate`, `TranslateX`, `TranslateY`
//! and their base `GeomTransform`, which draws, clips the boxes and moves nothing. The picture keeps its size. Boxes become those around
//! their moved corners, clipped; none is left out, as there.

use std::f64::consts::PI;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::level::{Given, Level, Magnitude, chance, float};
use super::{Draws, Outcome, Transform, kind_of};
use crate::image::{Depth, Image, Samples};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels, Taps};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::masks::{Shapes, rotation_matrix};
use crate::structures::{Bitmap, Masks, boxes};
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GeomKind {
    GeomTransform,
    ShearX,
    ShearY,
    Rotate,
    TranslateX,
    TranslateY,
}

impl GeomKind {
    const ALL: [Self; 6] = [
        GeomKind::GeomTransform,
        GeomKind::ShearX,
        GeomKind::ShearY,
        GeomKind::Rotate,
        GeomKind::TranslateX,
        GeomKind::TranslateY,
    ];

    fn name(self) -> &'static str {
        match self {
            GeomKind::GeomTransform => "GeomTransform",
            GeomKind::ShearX => "ShearX",
            GeomKind::ShearY => "ShearY",
            GeomKind::Rotate => "Rotate",
            GeomKind::TranslateX => "TranslateX",
            GeomKind::TranslateY => "TranslateY",
        }
    }

    /// Default of `max_mag`, and where the magnitudes must lie: degrees, or shares of a side.
    fn max(self) -> (f64, Option<RangeInclusive<f64>>) {
        match self {
            GeomKind::GeomTransform => (1.0, None),
            GeomKind::ShearX | GeomKind::ShearY => (30.0, Some(0.0..=90.0)),
            GeomKind::Rotate => (30.0, Some(0.0..=180.0)),
            GeomKind::TranslateX | GeomKind::TranslateY => (0.1, Some(0.0..=1.0)),
        }
    }

    /// Source to target for a picture of `[width, height]`, as OpenCV is given it.
    fn matrix(self, magnitude: f64, size: [usize; 2]) -> [[f64; 3]; 2] {
        match self {
            GeomKind::GeomTransform => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            GeomKind::ShearX => [[1.0, f64::from(magnitude as f32), 0.0], [0.0, 1.0, 0.0]],
            GeomKind::ShearY => [[1.0, 0.0, 0.0], [f64::from(magnitude as f32), 1.0, 0.0]],
            GeomKind::TranslateX => [[1.0, 0.0, offset(magnitude, size[0])], [0.0, 1.0, 0.0]],
            GeomKind::TranslateY => [[1.0, 0.0, 0.0], [0.0, 1.0, offset(magnitude, size[1])]],
            GeomKind::Rotate => {
                let center = size.map(|v| (v as f64 - 1.0) * 0.5);
                rotation_matrix(center, -magnitude, 1.0)
            }
        }
    }
}

/// A share of a side in whole pixels.
fn offset(magnitude: f64, side: usize) -> f64 {
    (side as f64 * magnitude).trunc()
}

/// Moves a picture with its objects, with a chance and a strength.
#[derive(Clone, Debug, PartialEq)]
pub struct GeomTransform {
    kind: GeomKind,
    level: Level,
    reversal_prob: f64,
    /// What the picture leaves open, per channel.
    fill: [f64; 3],
    mask_fill: f64,
    interpolation: Interpolation,
}

/// How a pixel is made of those around its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interpolation {
    Nearest,
    Linear,
    Taps(Taps),
}

impl Draws for GeomTransform {
    type Drawn = Magnitude;

    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Magnitude, Fault> {
        if self.level.left_out(random)? {
            return Ok(Magnitude { magnitude: None });
        }
        let mut magnitude = self.level.magnitude(random)?;
        if matches!(self.kind, GeomKind::ShearX | GeomKind::ShearY) {
            magnitude = (magnitude * PI / 180.0).tan();
        }
        if random.rand()? > self.reversal_prob {
            magnitude = -magnitude;
        }
        Ok(Magnitude {
            magnitude: Some(magnitude),
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &Magnitude, pixels: &Pixels) -> Outcome {
        let Some(magnitude) = drawn.magnitude else {
            return Ok(Some(sample));
        };
        let size = [sample.img_shape[1], sample.img_shape[0]];
        let rows = self.kind.matrix(magnitude, size);
        // np.float32
        let rows = [rows[0], rows[1], [0.0, 0.0, 1.0]].map(|row| row.map(|v| f64::from(v as f32)));
        sample.record_homography(rows);
        sample.image = self.image(&sample.image, magnitude, pixels)?;
        if sample.has_boxes {
            boxes::project(&mut sample.gt.boxes, &rows);
            boxes::clip(&mut sample.gt.boxes, size);
        }
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(self.masks(masks, magnitude, size)?);
        }
        Ok(Some(sample))
    }
}

impl GeomTransform {
    fn image(&self, image: &Image, magnitude: f64, pixels: &Pixels) -> Result<Image, Fault> {
        let fill = self.fill(image);
        let [width, height] = image.size();
        let moved = |share: f64, side: usize| {
            // beyond the side everything is outside anyway
            let side = side as f64;
            offset(share, side as usize).clamp(-side, side) as i64
        };
        let op = match self.kind {
            GeomKind::GeomTransform => return Ok(image.clone()),
            // a whole number of pixels: the same as OpenCV's warp by it
            GeomKind::TranslateX => Op::Window {
                size: image.size(),
                at: [moved(magnitude, width), 0],
                border: Border::Constant(fill),
            },
            GeomKind::TranslateY => Op::Window {
                size: image.size(),
                at: [0, moved(magnitude, height)],
                border: Border::Constant(fill),
            },
            GeomKind::ShearX | GeomKind::ShearY | GeomKind::Rotate => {
                let size = image.size();
                let matrix = self.kind.matrix(magnitude, size);
                match self.interpolation {
                    Interpolation::Taps(taps) => Op::WarpTaps {
                        matrix,
                        size,
                        taps,
                        fill,
                    },
                    given => Op::WarpAffine {
                        matrix,
                        size,
                        linear: given == Interpolation::Linear,
                        fill,
                    },
                }
            }
        };
        pixels.run(image, &op)
    }

    /// `img_border_value` per channel, as OpenCV rounds it.
    fn fill(&self, image: &Image) -> Vec<f64> {
        let values = self.fill.iter().copied().chain([0.0]);
        let values = values.take(image.channels());
        match image.depth() {
            Depth::U8 => values.map(f64::round_ties_even).collect(),
            Depth::F32 => values.collect(),
        }
    }

    fn masks(&self, masks: &Masks, magnitude: f64, size: [usize; 2]) -> Result<Masks, Fault> {
        let moved = self.moved(masks, magnitude, size, 0.0)?;
        if self.mask_fill == 0.0 {
            return Ok(moved);
        }
        let filled = self.moved(masks, magnitude, size, self.mask_fill)?;
        let (Shapes::Bitmaps(bare), Shapes::Bitmaps(filled)) = (moved.shapes, filled.shapes) else {
            return self.moved(masks, magnitude, size, 0.0);
        };
        // mmdet hands OpenCV all masks as channels of one picture, and the fill as a scalar of four values, of which it sets the
        // first or the first three; the others stay 0
        let set = match self.kind {
            GeomKind::Rotate => 1,
            _ => 3,
        };
        let pairs = bare.into_iter().zip(filled).enumerate();
        let chosen = pairs.map(|(i, (bare, filled))| if i % 4 < set { filled } else { bare });
        Ok(Masks::bitmaps(size, chosen.collect()))
    }

    fn moved(
        &self,
        masks: &Masks,
        magnitude: f64,
        size: [usize; 2],
        fill: f64,
    ) -> Result<Masks, Fault> {
        let linear = self.interpolation != Interpolation::Nearest;
        if let (Interpolation::Taps(taps), Shapes::Bitmaps(bitmaps)) =
            (self.interpolation, &masks.shapes)
        {
            let matrix = self.kind.matrix(magnitude, size);
            let moved = bitmaps
                .iter()
                .map(|b| by_taps(b, masks, &matrix, taps, fill));
            return Ok(Masks::bitmaps(
                masks.size(),
                moved.collect::<Result<_, _>>()?,
            ));
        }
        Ok(match self.kind {
            GeomKind::GeomTransform => masks.clone(),
            GeomKind::ShearX => masks.shear(size, magnitude, true, fill, linear),
            GeomKind::ShearY => masks.shear(size, magnitude, false, fill, linear),
            GeomKind::Rotate => masks.rotate(size, magnitude, None, 1.0, fill, linear),
            GeomKind::TranslateX => {
                masks.translate(size, offset(magnitude, size[0]), true, fill, linear)
            }
            GeomKind::TranslateY => {
                masks.translate(size, offset(magnitude, size[1]), false, fill, linear)
            }
        })
    }
}

/// A bitmap through a matrix with a kernel of more pixels than `Masks` knows.
fn by_taps(
    bitmap: &Bitmap,
    masks: &Masks,
    matrix: &[[f64; 3]; 2],
    taps: Taps,
    fill: f64,
) -> Result<Bitmap, Fault> {
    let image = Image::new(masks.size(), 1, Samples::U8(bitmap.to_vec()));
    let op = Op::WarpTaps {
        matrix: *matrix,
        size: masks.size(),
        taps,
        fill: vec![fill],
    };
    let pixels = Pixels::cpu().exact(true);
    match &*pixels.read_now(&pixels.run(&image, &op)?)? {
        Samples::U8(bytes) => Ok(bytes[..].into()),
        Samples::F32(_) => Err(Fault::Transform("a mask became a float picture".into())),
    }
}

#[derive(Deserialize)]
struct Config {
    prob: Option<f64>,
    level: Option<i64>,
    min_mag: Option<f64>,
    max_mag: Option<f64>,
    reversal_prob: Option<f64>,
    img_border_value: Option<Node>,
    mask_border_value: Option<f64>,
    /// Of segmentation maps, which are not read.
    #[serde(rename = "seg_ignore_label")]
    _seg_ignore_label: Option<IgnoredAny>,
    interpolation: Option<String>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let kind = kind_of(node, &GeomKind::ALL, GeomKind::name)?;
    let config: Config = node.read()?;
    let given = Given {
        prob: config.prob,
        level: config.level,
        min_mag: config.min_mag,
        max_mag: config.max_mag,
    };
    let (max, range) = kind.max();
    let level = Level::read(node, given, [0.0, max], range)?;
    let reversal_prob = config.reversal_prob.unwrap_or(0.5);
    float(node, "reversal_prob")?;
    chance(node, "reversal_prob", reversal_prob)?;
    Ok(Box::new(GeomTransform {
        kind,
        level,
        reversal_prob,
        fill: fill(node, config.img_border_value.as_ref())?,
        mask_fill: config.mask_border_value.unwrap_or(0.0),
        interpolation: interpolation(node, config.interpolation.as_deref().unwrap_or("bilinear"))?,
    }))
}

fn fill(node: &Node, given: Option<&Node>) -> Result<[f64; 3], Diagnostics> {
    let Some(given) = given else {
        return Ok([128.0; 3]);
    };
    let values = match &given.value {
        Value::Tuple(items) if items.len() == 3 => {
            let numbers: Vec<f64> = items.iter().filter_map(Node::as_float).collect();
            <[f64; 3]>::try_from(numbers).ok()
        }
        _ => given.as_float().map(|v| [v; 3]),
    };
    let Some(values) = values else {
        let message = "`img_border_value` must be a number or a tuple of three";
        let help = "for example (114, 114, 114); a list is not taken";
        return Err(error_at(node, "img_border_value", message, help));
    };
    if !values.iter().all(|v| (0.0..=255.0).contains(v)) {
        let message = "`img_border_value` must be from 0 to 255";
        return Err(error_at(node, "img_border_value", message, ""));
    }
    Ok(values)
}

fn interpolation(node: &Node, name: &str) -> Result<Interpolation, Diagnostics> {
    match name {
        "nearest" => Ok(Interpolation::Nearest),
        // OpenCV's warps take area for linear
        "bilinear" | "area" => Ok(Interpolation::Linear),
        "bicubic" => Ok(Interpolation::Taps(Taps::Cubic)),
        "lanczos" => Ok(Interpolation::Taps(Taps::Lanczos4)),
        _ => {
            let message = format!("no interpolation '{name}'");
            let help = "there are nearest, bilinear, bicubic, area, lanczos";
            Err(error_at(node, "interpolation", message, help))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::hand_made::{
        after, areas, first_channel, grey, mistakes, plain, replayed, with_boxes, with_params,
    };

    fn rand(values: &[f64]) -> Json {
        let draws = values.iter().map(|v| json!(["np.rand", [], {}, v]));
        draws.collect()
    }

    #[test]
    fn translates_by_whole_pixels() {
        let sample = with_boxes(grey([4, 1], &[1, 2, 3, 4]), &[[1.0, 0.0, 4.0, 1.0]]);
        // int(4 * 0.4) = 1, to the left as 0.6 > 0.5
        let text = "dict(type='TranslateX', level=8, max_mag=0.5, img_border_value=(9, 8, 7))";
        let left = after(text, sample.clone(), rand(&[0.2, 0.6]));
        assert_eq!(first_channel(&left), [2.0, 3.0, 4.0, 9.0]);
        assert_eq!(left.gt.boxes, [[0.0, 0.0, 3.0, 1.0]]);
        assert_eq!(areas(&left), [3.0]);
        assert_eq!(left.homography.unwrap()[0], [1.0, 0.0, -1.0]);
        // boxes end at the border, and none is left out
        let right = after(text, sample, rand(&[0.2, 0.5]));
        assert_eq!(first_channel(&right), [9.0, 1.0, 2.0, 3.0]);
        assert_eq!(right.gt.boxes, [[2.0, 0.0, 4.0, 1.0]]);
        let gone = with_boxes(plain([1, 4], 5), &[[0.0, 3.0, 1.0, 4.0]]);
        let text = "dict(type='TranslateY', level=10, max_mag=1.0)";
        let gone = after(text, gone, rand(&[0.2, 0.5]));
        assert_eq!(first_channel(&gone), [128.0; 4]);
        assert_eq!(gone.gt.boxes, [[0.0, 4.0, 1.0, 4.0]]);
        assert_eq!(areas(&gone), [0.0]);
    }

    #[test]
    fn shears_by_an_angle() {
        // tan(45 degrees) = 1: a row y moves by y pixels
        let sample = with_boxes(
            grey([3, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            &[[0.0, 0.0, 1.0, 2.0]],
        );
        let text = "dict(type='ShearX', level=10, max_mag=45.0, img_border_value=0)";
        let (sheared, saved) = replayed(text, sample.clone(), rand(&[0.0, 0.0]));
        let sheared = sheared.unwrap();
        let magnitude = saved[0].params["magnitude"].as_f64().unwrap();
        assert!((magnitude - 1.0).abs() < 1e-12);
        let expected = [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 0.0, 0.0, 7.0];
        assert_eq!(first_channel(&sheared), expected);
        // corners (0, 0), (1, 0), (0 + 2, 2), (1 + 2, 2)
        assert_eq!(sheared.gt.boxes, [[0.0, 0.0, 3.0, 2.0]]);
        assert_eq!(areas(&sheared), [2.0]);
        let text = "dict(type='ShearY', level=10, max_mag=45.0, interpolation='nearest')";
        let sheared = after(text, sample, rand(&[0.0, 0.0]));
        let expected = [1.0, 128.0, 128.0, 4.0, 2.0, 128.0, 7.0, 5.0, 3.0];
        assert_eq!(first_channel(&sheared), expected);
        assert_eq!(sheared.gt.boxes, [[0.0, 0.0, 1.0, 3.0]]);
    }

    #[test]
    fn rotates_clockwise() {
        // a quarter: (x, y) lands at (2 - y, x)
        let sample = with_boxes(
            grey([3, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            &[[0.0, 0.0, 2.0, 1.0]],
        );
        let text = "dict(type='Rotate', level=10, max_mag=90.0, interpolation='nearest')";
        let turned = after(text, sample, rand(&[0.0, 0.0]));
        let expected = [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0];
        assert_eq!(first_channel(&turned), expected);
        // corners, not pixels, are turned around the middle of the pixels
        let expected = [1.0, 0.0, 2.0, 2.0];
        for (found, expected) in turned.gt.boxes[0].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
        assert_eq!(areas(&turned), [2.0]);
    }

    #[test]
    fn the_base_records_and_clips() {
        let sample = with_boxes(plain([4, 4], 5), &[[-1.0, 1.0, 9.0, 2.0]]);
        let text = "dict(type='GeomTransform', prob=0.5)";
        let same = after(text, sample.clone(), rand(&[0.9]));
        assert_eq!((same.homography, same.gt.boxes[0][0]), (None, -1.0));
        let moved = after(text, sample, rand(&[0.5, 0.5, 0.5]));
        assert_eq!(moved.homography.unwrap()[1], [0.0, 1.0, 0.0]);
        assert_eq!(moved.gt.boxes, [[0.0, 1.0, 4.0, 2.0]]);
    }

    #[test]
    fn asserts() {
        for (text, message) in [
            ("max_mag=1.5", "`max_mag` is 1.5, must be from 0 to 1"),
            (
                "reversal_prob=1",
                "`reversal_prob` must be a float, found the int 1",
            ),
            (
                "reversal_prob=1.5",
                "`reversal_prob` is 1.5, must be from 0 to 1",
            ),
            (
                "img_border_value=[1, 2, 3]",
                "`img_border_value` must be a number or a tuple of three",
            ),
            (
                "img_border_value=256",
                "`img_border_value` must be from 0 to 255",
            ),
            ("interpolation='cubic'", "no interpolation 'cubic'"),
        ] {
            let text = format!("dict(type='TranslateX', {text})");
            assert_eq!(mistakes(&text), [message]);
        }
    }

    #[test]
    fn saved_magnitudes_of_a_stranger() {
        for kind in ["ShearX", "ShearY", "Rotate", "TranslateX", "TranslateY"] {
            for magnitude in [1e300, -1e300, 1e18, 0.0] {
                let sample = with_boxes(plain([3, 2], 5), &[[0.0, 0.0, 2.0, 2.0]]);
                let params = json!({"magnitude": magnitude});
                let text = format!("dict(type='{kind}')");
                // a matrix beyond f32 may be refused
                if let Ok(sample) = with_params(&text, sample, params) {
                    assert_eq!(sample.unwrap().image.size(), [3, 2]);
                }
            }
        }
    }
}
