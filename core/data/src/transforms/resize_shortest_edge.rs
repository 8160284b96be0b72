//! `ResizeShortestEdge` of mmdet 3.3, after detectron2: the shorter side gets a given length, as long as the longer one does not exceed another.

use serde::Deserialize;

use super::resize::{Given, OneOrTwo, Resize, Target, positive};
use super::resize_type::ResizeType;
use super::{Draws, Outcome};
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Resizes by the shorter side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResizeShortestEdge(pub(crate) Resize);

impl Draws for ResizeShortestEdge {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "ResizeShortestEdge"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, sample: Sample, (): &(), pixels: &Pixels) -> Outcome {
        self.0.resize(sample, pixels)
    }
}

#[derive(Deserialize)]
struct Config {
    scale: OneOrTwo,
    max_size: Option<f64>,
    resize_type: Option<String>,
    keep_ratio: Option<bool>,
    clip_object_border: Option<bool>,
    backend: Option<String>,
    interpolation: Option<String>,
}

pub(super) fn read(node: &Node) -> Result<ResizeShortestEdge, Diagnostics> {
    let config: Config = node.read()?;
    let given = Given {
        keep_ratio: config.keep_ratio,
        clip_object_border: config.clip_object_border,
        backend: config.backend.as_deref(),
        interpolation: config.interpolation.as_deref(),
    };
    if let Some(Value::Float(v)) = node.get("scale").map(|n| &n.value) {
        let message = format!("`scale` is {v}, must be an int or two");
        return Err(error_at(node, "scale", message, ""));
    }
    let inner = ResizeType::read(node, config.resize_type.as_deref(), given, None)?;
    let [a, b] = positive(node, "scale", config.scale.both())?;
    let half = inner.half().ok_or_else(|| {
        let message = "`resize_type` of a `ResizeShortestEdge` cannot be another one";
        error_at(
            node,
            "resize_type",
            message,
            "known are Resize, FixScaleResize",
        )
    })?;
    let most = config.max_size.filter(|m| *m > 0.0);
    let target = Target::Shortest(a.min(b), most);
    Ok(ResizeShortestEdge(inner.manner.to(target, half)))
}
