//! `RandomResize` of mmcv 2.1: a scale between two, or one times a drawn ratio (large-scale jitter: Ghiasi et al. 2021, arXiv 2012.07177).

use serde::{Deserialize, Serialize};

use super::resize::{Given, OneOrTwo};
use super::resize_type::ResizeType;
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Resizes to a drawn scale.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomResize {
    scales: Scales,
    resize: ResizeType,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scales {
    /// Width and height, each times one ratio from a range.
    Ratio([i64; 2], [f64; 2]),
    /// Two of width and height; each side is drawn between them.
    Between([[i64; 2]; 2]),
}

/// The drawn scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Width and height, or bounds where the ratio is kept.
    pub scale: [i64; 2],
}

impl Draws for RandomResize {
    type Drawn = Scale;

    fn name(&self) -> &'static str {
        "RandomResize"
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Scale, Fault> {
        let scale = match self.scales {
            Scales::Ratio(scale, [least, most]) => {
                let ratio = random.random_sample()? * (most - least) + least;
                scale.map(|v| (v as f64 * ratio) as i64)
            }
            Scales::Between([a, b]) => {
                let mut side =
                    |i: usize| random.randint(a[i].min(b[i]), a[i].max(b[i]).saturating_add(1));
                [side(0)?, side(1)?]
            }
        };
        Ok(Scale { scale })
    }

    fn apply(&self, sample: Sample, drawn: &Scale, pixels: &Pixels) -> Outcome {
        let scale = drawn.scale.map(|v| v as f64);
        self.resize.at(OneOrTwo::Two(scale)).resize(sample, pixels)
    }
}

#[derive(Deserialize)]
struct Config {
    scale: Node,
    ratio_range: Option<[f64; 2]>,
    resize_type: Option<String>,
    keep_ratio: Option<bool>,
    clip_object_border: Option<bool>,
    backend: Option<String>,
    interpolation: Option<String>,
    max_size: Option<f64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let given = Given {
        keep_ratio: config.keep_ratio,
        clip_object_border: config.clip_object_border,
        backend: config.backend.as_deref(),
        interpolation: config.interpolation.as_deref(),
    };
    let kind = config.resize_type.as_deref();
    let resize = ResizeType::read(node, kind, given, config.max_size)?;
    let scales = scales(node, &config.scale, config.ratio_range)?;
    Ok(Box::new(RandomResize { scales, resize }))
}

/// A tuple of two ints.
fn pair(node: &Node) -> Option<[i64; 2]> {
    match &node.value {
        Value::Tuple(items) => match &items[..] {
            [a, b] => Some([a.as_int()?, b.as_int()?]),
            _ => None,
        },
        _ => None,
    }
}

fn scales(node: &Node, scale: &Node, ratio: Option<[f64; 2]>) -> Result<Scales, Diagnostics> {
    let positive = |scale: [i64; 2]| {
        if scale.iter().all(|v| *v > 0) {
            Ok(scale)
        } else {
            Err(error_at(node, "scale", "`scale` must be positive", ""))
        }
    };
    if let Some(scale) = pair(scale) {
        let Some([least, most]) = ratio else {
            let message = "`RandomResize` with one `scale` needs `ratio_range`";
            let help = "for example ratio_range=(0.5, 2.0); or give two scales in a list";
            return Err(error_at(node, "scale", message, help));
        };
        let finite = least.is_finite() && most.is_finite();
        if !(finite && least <= most && most > 0.0 && least >= 0.0) {
            let message =
                format!("`ratio_range` is ({least}, {most}), must rise to a positive number");
            return Err(error_at(node, "ratio_range", message, ""));
        }
        return Ok(Scales::Ratio(positive(scale)?, [least, most]));
    }
    let two = match (&scale.value, scale.as_items()) {
        (Value::List(_), Some([a, b])) => pair(a).zip(pair(b)),
        _ => None,
    };
    let Some((a, b)) = two else {
        let message = "`scale` must be a tuple (width, height), or a list of two such tuples";
        let help = "for example [(1333, 640), (1333, 800)], whole numbers";
        return Err(error_at(node, "scale", message, help));
    };
    Ok(Scales::Between([positive(a)?, positive(b)?]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::trial::{refused, run, sample};

    #[test]
    fn resizes_to_what_was_drawn() {
        let text = "dict(type='RandomResize', scale=(8, 6), ratio_range=(.5, 2.), keep_ratio=True)";
        let draws = json!({"scale": [6, 12]});
        let out = run(text, sample([4, 3], &[]), Some(draws))
            .unwrap()
            .unwrap();
        assert_eq!((out.image.size(), out.keep_ratio), ([8, 6], Some(true)));
        for scale in [[0, 0], [-5, 8], [i64::MAX, i64::MAX]] {
            let out = run(text, sample([4, 3], &[]), Some(json!({"scale": scale})));
            assert!(out.is_err(), "{scale:?}");
        }
    }

    #[test]
    fn options() {
        for (options, expected) in [
            ("scale=(8, 6)", "needs `ratio_range`"),
            ("scale=(8, 6), ratio_range=(2., 1.)", "must rise"),
            ("scale=((8, 6), (9, 9))", "must be a tuple (width, height)"),
            (
                "scale=[8, 6], ratio_range=(1., 2.)",
                "must be a tuple (width, height)",
            ),
            ("scale=[(8, 6)]", "must be a tuple (width, height)"),
            ("scale=[(8, 6), (9, 0)]", "must be positive"),
            (
                "scale=[(8, 6), (9, 9)], resize_type='Shrink'",
                "known are Resize",
            ),
            (
                "scale=[(8, 6), (9, 9)], max_size=9",
                "`ResizeShortestEdge` has",
            ),
            (
                "scale=[(8, 6), (9, 9)], interpolation='box'",
                "cv2 has nearest",
            ),
        ] {
            let message = refused(&format!("dict(type='RandomResize', {options})"));
            assert!(message.contains(expected), "{options}: {message}");
        }
    }
}
