//! `RandomChoiceResize` of mmcv 2.1: one of several scales.

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

/// Resizes to one of several scales.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomChoiceResize {
    scales: Vec<OneOrTwo>,
    resize: ResizeType,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Index into `scales`.
    pub scale_idx: usize,
}

impl Draws for RandomChoiceResize {
    type Drawn = Chosen;

    fn name(&self) -> &'static str {
        "RandomChoiceResize"
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Chosen, Fault> {
        let scale_idx = random.randint_below(self.scales.len() as i64)? as usize;
        Ok(Chosen { scale_idx })
    }

    fn apply(&self, sample: Sample, drawn: &Chosen, pixels: &Pixels) -> Outcome {
        let index = drawn.scale_idx;
        let wrong = || Fault::Transform(format!("`RandomChoiceResize` has no scale {index}"));
        let scale = self.scales.get(index).ok_or_else(wrong)?;
        let resized = self.resize.at(*scale).resize(sample, pixels)?;
        Ok(resized.map(|mut sample| {
            sample.more.insert("scale_idx", index.into());
            sample
        }))
    }
}

#[derive(Deserialize)]
struct Config {
    scales: Node,
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
    // anything but a list is one scale
    let items = match &config.scales.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&config.scales),
    };
    let number = |node: &Node| node.as_float().filter(|v| v.is_finite() && *v > 0.0);
    let scale = |item: &Node| match &item.value {
        Value::Int(_) if resize.takes_one() => number(item).map(OneOrTwo::One),
        Value::Tuple(pair) => match &pair[..] {
            [a, b] => Some(OneOrTwo::Two([number(a)?, number(b)?])),
            _ => None,
        },
        _ => None,
    };
    let scales: Option<Vec<OneOrTwo>> = items.iter().map(scale).collect();
    let Some(scales) = scales.filter(|s| !s.is_empty()) else {
        let message = "`scales` must be a list of tuples (width, height), all positive";
        let help = "for example [(1333, 640), (1333, 800)]; whole numbers only with keep_ratio=True or ResizeShortestEdge";
        return Err(error_at(node, "scales", message, help));
    };
    Ok(Box::new(RandomChoiceResize { scales, resize }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::trial::{refused, run, sample};

    #[test]
    fn one_of_several() {
        let chosen = |options: &str| {
            let text = format!("dict(type='RandomChoiceResize', {options})");
            let draws = Some(json!({"scale_idx": 1}));
            run(&text, sample([4, 3], &[]), draws).map(|out| out.unwrap())
        };
        let out = chosen("scales=[(1, 1), (10, 5)]").unwrap();
        assert_eq!(
            (out.image.size(), &out.more["scale_idx"]),
            ([10, 5], &json!(1))
        );
        let size = |options: &str| chosen(options).unwrap().image.size();
        assert_eq!(size("scales=[(1, 1), (10, 5)], keep_ratio=True"), [7, 5]);
        let fixed = "scales=[(1, 1), (10, 5)], resize_type='mmdet.FixScaleResize', keep_ratio=True";
        assert_eq!(size(fixed), [6, 5]);
        let shortest = "scales=[9, 6], resize_type='ResizeShortestEdge', max_size=7";
        assert_eq!(size(shortest), [7, 5]);
        // one number is a factor there
        assert_eq!(size("scales=[1, 2], keep_ratio=True"), [8, 6]);
        assert!(chosen("scales=[(9, 9)]").is_err(), "draws of a longer list");
    }

    #[test]
    fn options() {
        for options in [
            "scales=[]",
            "scales=[5]",
            "scales=[(5, 0)]",
            "scales=[[5, 5]]",
            "scales=[(5., )]",
        ] {
            let message = refused(&format!("dict(type='RandomChoiceResize', {options})"));
            assert!(
                message.contains("`scales` must be a list of tuples"),
                "{message}"
            );
        }
    }
}
