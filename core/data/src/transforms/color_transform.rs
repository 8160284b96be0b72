//! The colour transforms of mmdet 3.3 (datasets/transforms/colorspace.py): `Color`, `Brightness`, `Contrast`, `Sharpness`, `Solarize`,
//! `SolarizeAdd`, `Posterize`, `Equalize`, `AutoContrast`, `Invert` and their base `ColorTransform`, which draws and does nothing.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::level::{Given, Level, Magnitude};
use super::{Draws, Outcome, Transform, kind_of};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Colour, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ColorKind {
    ColorTransform,
    Color,
    Brightness,
    Contrast,
    Sharpness,
    Solarize,
    SolarizeAdd,
    Posterize,
    Equalize,
    AutoContrast,
    Invert,
}

impl ColorKind {
    const ALL: [Self; 11] = [
        ColorKind::ColorTransform,
        ColorKind::Color,
        ColorKind::Brightness,
        ColorKind::Contrast,
        ColorKind::Sharpness,
        ColorKind::Solarize,
        ColorKind::SolarizeAdd,
        ColorKind::Posterize,
        ColorKind::Equalize,
        ColorKind::AutoContrast,
        ColorKind::Invert,
    ];

    fn name(self) -> &'static str {
        match self {
            ColorKind::ColorTransform => "ColorTransform",
            ColorKind::Color => "Color",
            ColorKind::Brightness => "Brightness",
            ColorKind::Contrast => "Contrast",
            ColorKind::Sharpness => "Sharpness",
            ColorKind::Solarize => "Solarize",
            ColorKind::SolarizeAdd => "SolarizeAdd",
            ColorKind::Posterize => "Posterize",
            ColorKind::Equalize => "Equalize",
            ColorKind::AutoContrast => "AutoContrast",
            ColorKind::Invert => "Invert",
        }
    }

    /// Defaults of `min_mag` and `max_mag`.
    fn defaults(self) -> [f64; 2] {
        match self {
            ColorKind::Solarize => [0.0, 256.0],
            ColorKind::SolarizeAdd => [0.0, 110.0],
            ColorKind::Posterize => [0.0, 4.0],
            _ => [0.1, 1.9],
        }
    }

    /// Where the magnitudes must lie, if they matter.
    fn range(self) -> Option<RangeInclusive<f64>> {
        match self {
            ColorKind::Color
            | ColorKind::Brightness
            | ColorKind::Contrast
            | ColorKind::Sharpness => Some(0.0..=2.0),
            ColorKind::Solarize => Some(0.0..=256.0),
            ColorKind::SolarizeAdd => Some(0.0..=110.0),
            ColorKind::Posterize => Some(0.0..=8.0),
            _ => None,
        }
    }

    fn colour(self, magnitude: f64) -> Result<Option<Colour>, Fault> {
        Ok(Some(match self {
            ColorKind::ColorTransform => return Ok(None),
            ColorKind::Color => Colour::Color(magnitude),
            ColorKind::Brightness => Colour::Brightness(magnitude),
            ColorKind::Contrast => Colour::Contrast(magnitude),
            ColorKind::Sharpness => Colour::Sharpness(magnitude),
            ColorKind::Solarize => Colour::Solarize(magnitude),
            ColorKind::SolarizeAdd => Colour::SolarizeAdd(magnitude),
            ColorKind::Posterize => {
                let bits = magnitude.ceil();
                if !(0.0..=8.0).contains(&bits) {
                    let message = format!("`Posterize` keeps 0 to 8 bits, not {bits}");
                    return Err(Fault::Transform(message));
                }
                Colour::Posterize(bits as u32)
            }
            ColorKind::Equalize => Colour::Equalize,
            ColorKind::AutoContrast => Colour::AutoContrast,
            ColorKind::Invert => Colour::Invert,
        }))
    }
}

/// Changes colours with a chance and a strength.
#[derive(Clone, Debug, PartialEq)]
pub struct ColorTransform {
    kind: ColorKind,
    level: Level,
}

impl Draws for ColorTransform {
    type Drawn = Magnitude;

    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Magnitude, Fault> {
        let magnitude = if self.level.left_out(random)? {
            None
        } else {
            Some(self.level.magnitude(random)?)
        };
        Ok(Magnitude { magnitude })
    }

    fn apply(&self, mut sample: Sample, drawn: &Magnitude, pixels: &Pixels) -> Outcome {
        let Some(magnitude) = drawn.magnitude else {
            return Ok(Some(sample));
        };
        if let Some(colour) = self.kind.colour(magnitude)? {
            sample.image = pixels.run(&sample.image, &Op::Colour(colour))?;
        }
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    prob: Option<f64>,
    level: Option<i64>,
    min_mag: Option<f64>,
    max_mag: Option<f64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let kind = kind_of(node, &ColorKind::ALL, ColorKind::name)?;
    let config: Config = node.read()?;
    let given = Given {
        prob: config.prob,
        level: config.level,
        min_mag: config.min_mag,
        max_mag: config.max_mag,
    };
    let level = Level::read(node, given, kind.defaults(), kind.range())?;
    Ok(Box::new(ColorTransform { kind, level }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::hand_made::{after, first_channel, grey, mistakes, replayed, with_params};

    /// `np.random.rand()` gave this.
    fn rand(values: &[f64]) -> Json {
        let draws = values.iter().map(|v| json!(["np.rand", [], {}, v]));
        draws.collect()
    }

    #[test]
    fn levels_and_chances() {
        for (text, rands, magnitude) in [
            // round(.5 * 1.8 + .1, 1)
            ("dict(type='Color')", &[0.3, 0.5][..], json!(1.0)),
            ("dict(type='Color', level=6)", &[0.3], json!(1.2)),
            ("dict(type='Color', prob=0.5)", &[0.7], Json::Null),
            // not more than the chance: it runs
            ("dict(type='Color', prob=0.5, level=0)", &[0.5], json!(0.1)),
            (
                "dict(type='mmdet.Equalize', min_mag=3.0, max_mag=5.0)",
                &[0.1, 0.24],
                json!(3.5),
            ),
            ("dict(type='ColorTransform', level=10)", &[0.9], json!(1.9)),
        ] {
            let sample = grey([2, 1], &[10, 200]);
            let (result, saved) = replayed(text, sample, rand(rands));
            assert!(result.is_ok(), "{text}: {result:?}");
            assert_eq!(saved[0].params, json!({"magnitude": magnitude}), "{text}");
        }
    }

    #[test]
    fn pixels_by_hand() {
        for (text, expected) in [
            // 255 - v
            ("dict(type='Invert', level=0)", [245.0, 155.0, 55.0]),
            // from 128 on inverted
            ("dict(type='Solarize', level=5)", [10.0, 100.0, 55.0]),
            // 110 more below 128
            ("dict(type='SolarizeAdd', level=10)", [120.0, 210.0, 200.0]),
            // ceil(1.2) = 2 bits: multiples of 64
            ("dict(type='Posterize', level=3)", [0.0, 64.0, 192.0]),
            // half
            (
                "dict(type='Brightness', level=0, min_mag=0.5)",
                [5.0, 50.0, 100.0],
            ),
            // of grey nothing changes
            ("dict(type='Color', level=10)", [10.0, 100.0, 200.0]),
            (
                "dict(type='ColorTransform', level=10)",
                [10.0, 100.0, 200.0],
            ),
        ] {
            let sample = after(text, grey([3, 1], &[10, 100, 200]), rand(&[0.5]));
            assert_eq!(first_channel(&sample), expected, "{text}");
        }
    }

    #[test]
    fn asserts() {
        for (text, message) in [
            ("prob=1.5", "`prob` is 1.5, must be from 0 to 1"),
            ("level=11", "`level` is 11, must be from 0 to 10"),
            ("min_mag=0", "`min_mag` must be a float, found the int 0"),
            ("max_mag=2.5", "`max_mag` is 2.5, must be from 0 to 2"),
            (
                "min_mag=1.5, max_mag=0.5",
                "`min_mag` 1.5 is more than `max_mag` 0.5",
            ),
            ("levle=1", "the key `levle` is not known"),
        ] {
            let text = format!("dict(type='Contrast', {text})");
            assert_eq!(mistakes(&text), [message]);
        }
    }

    #[test]
    fn saved_magnitudes_of_a_stranger() {
        let run = |magnitude: Json| {
            let params = json!({"magnitude": magnitude});
            with_params("dict(type='Posterize')", grey([1, 1], &[255]), params)
        };
        assert!(run(json!(1e9)).is_err());
        assert!(run(json!("much")).is_err());
        let sample = run(json!(0.0)).unwrap().unwrap();
        assert_eq!(first_channel(&sample), [0.0]);
    }
}
