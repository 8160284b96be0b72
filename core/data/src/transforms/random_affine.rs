//! `RandomAffine` of mmdet 3.3 (datasets/transforms/transforms.py): rotated, scaled, sheared and moved by one matrix.
//!
//! Masks go with their boxes; MMDetection refuses them here.

use serde::{Deserialize, Serialize};

use super::canvas::checked;
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{Reason, boxes};
use smalti_config::{Diagnostics, Node, error_at};

/// One random matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomAffine {
    max_rotate_degree: f64,
    max_translate_ratio: f64,
    scaling_ratio_range: [f64; 2],
    max_shear_degree: f64,
    /// Added on each side of the picture, x and y; negative cuts.
    border: [i64; 2],
    border_val: Vec<f64>,
    bbox_clip_border: bool,
}

/// Draws of [`RandomAffine`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RandomAffineDrawn {
    /// Clockwise.
    pub rotate_degree: f64,
    /// Factor of the size.
    pub scaling_ratio: f64,
    /// In x and y.
    pub shear_degree: [f64; 2],
    /// In x and y, in units of the new picture's width and height.
    pub translate_ratio: [f64; 2],
}

/// `border_val`: OpenCV takes a number for the first channel only.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or one per channel")]
enum BorderVal {
    One(f64),
    Each(Vec<f64>),
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(RandomAffine::read(node)?))
}

#[derive(Deserialize)]
struct Config {
    max_rotate_degree: Option<f64>,
    max_translate_ratio: Option<f64>,
    scaling_ratio_range: Option<[f64; 2]>,
    max_shear_degree: Option<f64>,
    border: Option<[i64; 2]>,
    border_val: Option<BorderVal>,
    bbox_clip_border: Option<bool>,
}

impl RandomAffine {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let config: Config = node.read()?;
        let max_translate_ratio = config.max_translate_ratio.unwrap_or(0.1);
        if !(0.0..=1.0).contains(&max_translate_ratio) {
            let message = format!("`max_translate_ratio` is {max_translate_ratio}");
            let help = "must be between 0 and 1";
            return Err(error_at(node, "max_translate_ratio", message, help));
        }
        let [low, high] = config.scaling_ratio_range.unwrap_or([0.5, 1.5]);
        if !(low > 0.0 && low <= high) {
            let message = format!("`scaling_ratio_range` is ({low}, {high})");
            let help = "must be positive, the smaller first";
            return Err(error_at(node, "scaling_ratio_range", message, help));
        }
        let border_val = match config.border_val {
            None => vec![114.0; 3],
            Some(BorderVal::One(v)) => vec![v],
            Some(BorderVal::Each(values)) => values,
        };
        if border_val.len() > 4 {
            let message = format!("`border_val` has {} values", border_val.len());
            return Err(error_at(
                node,
                "border_val",
                message,
                "OpenCV takes up to 4",
            ));
        }
        Ok(Self {
            max_rotate_degree: config.max_rotate_degree.unwrap_or(10.0),
            max_translate_ratio,
            scaling_ratio_range: [low, high],
            max_shear_degree: config.max_shear_degree.unwrap_or(2.0),
            border: config.border.unwrap_or([0, 0]),
            border_val,
            bbox_clip_border: config.bbox_clip_border.unwrap_or(true),
        })
    }
}

impl Draws for RandomAffine {
    type Drawn = RandomAffineDrawn;

    fn name(&self) -> &'static str {
        "RandomAffine"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<RandomAffineDrawn, Fault> {
        let _ = sample;
        let mut within = |most: f64| random.uniform(-most, most);
        let rotate_degree = within(self.max_rotate_degree)?;
        let [low, high] = self.scaling_ratio_range;
        let scaling_ratio = random.uniform(low, high)?;
        let mut within = |most: f64| random.uniform(-most, most);
        Ok(RandomAffineDrawn {
            rotate_degree,
            scaling_ratio,
            shear_degree: [
                within(self.max_shear_degree)?,
                within(self.max_shear_degree)?,
            ],
            translate_ratio: [
                within(self.max_translate_ratio)?,
                within(self.max_translate_ratio)?,
            ],
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &RandomAffineDrawn, pixels: &Pixels) -> Outcome {
        let source = [sample.image.width(), sample.image.height()];
        let bordered =
            [0, 1].map(|i| (source[i] as i64).saturating_add(self.border[i].saturating_mul(2)));
        // OpenCV takes the source's size for a target without area; no box is inside of that target
        let vanishes = bordered.iter().any(|v| *v <= 0);
        let size = if vanishes {
            source
        } else {
            checked(bordered.map(|v| v as usize))?
        };
        let matrix = matrix(drawn, bordered);
        if !matrix.iter().flatten().all(|v| v.is_finite()) {
            let text = format!("no matrix of {drawn:?}");
            return Err(Fault::Transform(text));
        }
        let mut fill = self.border_val.clone();
        fill.resize(sample.image.channels(), 0.0);
        let op = Op::WarpPerspective { matrix, size, fill };
        let image = pixels.run(&sample.image, &op)?;
        sample.set_image(image);
        if let Some(masks) = &mut sample.gt.masks {
            *masks = masks.warp(&matrix, size);
        }
        boxes::project(&mut sample.gt.boxes, &matrix);
        let mut inside = boxes::inside(&sample.gt.boxes, size);
        if vanishes {
            inside.fill(false);
        }
        sample.gt.keep(&inside, Reason::Outside);
        if self.bbox_clip_border {
            // after leaving out those outside, of which clipping would leave a line; the others stay the same
            boxes::clip(&mut sample.gt.boxes, size);
        }
        Ok(Some(sample))
    }
}

/// Scaled, rotated, sheared, then moved; in f32, as the original has it.
fn matrix(drawn: &RandomAffineDrawn, [width, height]: [i64; 2]) -> [[f64; 3]; 3] {
    let (sin, cos) = drawn.rotate_degree.to_radians().sin_cos();
    let s = drawn.scaling_ratio;
    let [shear_x, shear_y] = drawn.shear_degree.map(|v| v.to_radians().tan());
    let x = drawn.translate_ratio[0] * width as f64;
    let y = drawn.translate_ratio[1] * height as f64;
    let translation = [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
    let shear = [[1.0, shear_x, 0.0], [shear_y, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let rotation = [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]];
    let scaling = [[s, 0.0, 0.0], [0.0, s, 0.0], [0.0, 0.0, 1.0]];
    let product = [shear, rotation, scaling]
        .iter()
        .fold(narrow(&translation), |m, next| times(&m, &narrow(next)));
    product.map(|row| row.map(f64::from))
}

fn narrow(matrix: &[[f64; 3]; 3]) -> [[f32; 3]; 3] {
    matrix.map(|row| row.map(|v| v as f32))
}

fn times(a: &[[f32; 3]; 3], b: &[[f32; 3]; 3]) -> [[f32; 3]; 3] {
    std::array::from_fn(|i| {
        std::array::from_fn(|j| (0..3).fold(0.0, |sum, k| a[i][k].mul_add(b[k][j], sum)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::flat::{Flat, refused};

    #[test]
    fn matrices_as_numpy() {
        // RandomAffine._get_translation_matrix(...) @ ..., mmdet 3.3 on numpy 1.26; f32
        let drawn = RandomAffineDrawn {
            rotate_degree: -1.8462594383942772,
            scaling_ratio: 0.5553660401118601,
            shear_degree: [1.1541395099470106, -0.8507792608426166],
            translate_ratio: [-0.009929882606545773, -0.0392175389318469],
        };
        let expected: [[f32; 3]; 3] = [
            [0.554_717_24, 0.029_075_373, -1.588_781_2],
            [-0.026_135_532, 0.554_812, -4.706_104_8],
            [0.0, 0.0, 1.0],
        ];
        assert_eq!(
            matrix(&drawn, [160, 120]),
            expected.map(|r| r.map(f64::from))
        );
        // a quarter turn, twice as large, moved by 50 and -10
        let drawn = RandomAffineDrawn {
            rotate_degree: 90.0,
            scaling_ratio: 2.0,
            shear_degree: [0.0; 2],
            translate_ratio: [0.5, -0.25],
        };
        let [[_, b, c], [d, _, f], _] = matrix(&drawn, [100, 40]);
        assert_eq!([b, c, d, f], [-2.0, 50.0, 2.0, -10.0]);
    }

    fn affine(options: &str) -> RandomAffine {
        let node = smalti_config::parse_value(&format!("dict(type='RandomAffine', {options})"));
        RandomAffine::read(&node.unwrap()).unwrap()
    }

    fn half() -> RandomAffineDrawn {
        RandomAffineDrawn {
            rotate_degree: 0.0,
            scaling_ratio: 0.5,
            shear_degree: [0.0; 2],
            translate_ratio: [0.0; 2],
        }
    }

    #[test]
    fn objects_and_masks_go_along() {
        let pixels = Pixels::cpu().exact(true);
        let mut pictures = Flat::new(&[[8, 6]]);
        pictures.masks = true;
        let sample = affine("border=(-1, 1)").apply(pictures.sample(0), &half(), &pixels);
        let sample = sample.unwrap().unwrap();
        assert_eq!(sample.img_shape, [8, 6]);
        assert_eq!(sample.gt.boxes, [[0.0, 0.0, 4.0, 3.0]]);
        let masks = sample.gt.masks.unwrap();
        assert_eq!((masks.size(), masks.areas()), ([6, 8], vec![12.0]));
        // moved out of sight
        let mut away = half();
        away.translate_ratio = [-0.5, 0.0];
        let sample = affine("").apply(pictures.sample(0), &away, &pixels);
        let gt = sample.unwrap().unwrap().gt;
        assert!(gt.is_empty());
        assert_eq!(gt.dropped[0].bbox, [-4.0, 0.0, 0.0, 3.0]);
        assert_eq!(gt.dropped[0].reason, Reason::Outside);
    }

    #[test]
    fn whatever_draws_say_it_does_not_panic() {
        let pixels = Pixels::cpu().exact(true);
        let sample = || Flat::new(&[[8, 6]]).sample(0);
        let vanished = affine("border=(-4, 0)").apply(sample(), &half(), &pixels);
        let vanished = vanished.unwrap().unwrap();
        assert_eq!((vanished.img_shape, vanished.gt.len()), ([6, 8], 0));
        let large = affine("border=(9000000000000000000, 5)").apply(sample(), &half(), &pixels);
        assert!(matches!(large, Err(Fault::TooLarge { .. })));
        for v in [f64::NAN, f64::INFINITY, 1e300] {
            let mut drawn = half();
            drawn.scaling_ratio = v;
            assert!(affine("").apply(sample(), &drawn, &pixels).is_err());
        }
        for v in [0.0, 1e-30, -1.0, 1e30] {
            let mut drawn = half();
            drawn.scaling_ratio = v;
            // a picture or an error, not a panic
            let _ = affine("").apply(sample(), &drawn, &pixels);
        }
    }

    #[test]
    fn asserts_of_the_original() {
        let refused = |options| refused(&format!("dict(type='RandomAffine', {options})"));
        assert_eq!(refused("border=(-320, -320), border_val=(1, 2, 3)"), "");
        assert!(refused("max_translate_ratio=1.5").contains("is 1.5"));
        assert!(refused("scaling_ratio_range=(0.0, 1.0)").contains("(0, 1)"));
        assert!(refused("scaling_ratio_range=(2.0, 1.0)").contains("(2, 1)"));
    }
}
