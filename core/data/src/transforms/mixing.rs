//! What Mosaic, MixUp, CopyPaste and the cached ones share: options, and fitting a picture into a size.

use serde::Deserialize;

use super::canvas::checked;
use crate::picture::Fault;
use crate::sample::SampleError;
use crate::sample::{DataInfo, Sample};
use smalti_config::{Diagnostics, Node, Value, error_at};

/// `pad_val`. Python's types matter: see [`PadVal::is_float`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number, or one per channel")]
pub(super) enum PadVal {
    Int(i64),
    Float(f64),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl PadVal {
    /// One value, or one per channel.
    pub fn values(&self) -> Vec<f64> {
        match self {
            PadVal::Int(v) => vec![*v as f64],
            PadVal::Float(v) => vec![*v],
            PadVal::Ints(v) => v.iter().map(|v| *v as f64).collect(),
            PadVal::Floats(v) => v.clone(),
        }
    }

    /// Of Python's floats: an array that is made with it has floats.
    pub fn is_float(&self) -> bool {
        matches!(self, PadVal::Float(_) | PadVal::Floats(_))
    }
}

/// `img_scale`: width and height, which the original wants as a tuple.
pub(super) fn img_scale(node: &Node, value: Option<&Node>) -> Result<[usize; 2], Diagnostics> {
    let Some(value) = value else {
        return Ok([640, 640]);
    };
    if !matches!(value.value, Value::Tuple(_)) {
        let message = format!("`img_scale` must be a tuple, found {}", value.type_name());
        return Err(error_at(
            node,
            "img_scale",
            message,
            "write (width, height), for example (640, 640)",
        ));
    }
    let [width, height]: [usize; 2] = value.read()?;
    if width == 0 || height == 0 {
        let message = format!("`img_scale` is ({width}, {height})");
        return Err(error_at(
            node,
            "img_scale",
            message,
            "both must be positive",
        ));
    }
    Ok([width, height])
}

/// `prob`, 1 by default.
pub(super) fn probability(node: &Node, value: Option<f64>) -> Result<f64, Diagnostics> {
    let prob = value.unwrap_or(1.0);
    if (0.0..=1.0).contains(&prob) {
        return Ok(prob);
    }
    let message = format!("`prob` is {prob}");
    Err(error_at(node, "prob", message, "must be between 0 and 1"))
}

/// Makes a problem that of the picture that `info` tells of, which is mixed into another one.
pub(super) fn of(info: &DataInfo) -> impl Fn(Fault) -> Fault {
    |problem| Fault::Other(Box::new(SampleError::new(info, problem)))
}

/// Takes the other pictures of a sample, of which there must be `count`.
pub(super) fn mixed(sample: &mut Sample, name: &str, count: usize) -> Result<Vec<Sample>, Fault> {
    let others = std::mem::take(&mut sample.mix);
    if others.len() == count {
        return Ok(others);
    }
    Err(Fault::Transform(format!(
        "`{name}` mixes in {count} other pictures and found {}: put it into the `pipeline` of a `MultiImageMixDataset`, or use `Cached{name}`",
        others.len()
    )))
}

/// The factor by which a picture fits into `bounds`, and its size then, truncated as the original does.
pub(super) fn fitted(size: [usize; 2], bounds: [usize; 2]) -> Result<(f64, [usize; 2]), Fault> {
    let [width, height] = size.map(|v| v as f64);
    let scale = (bounds[1] as f64 / height).min(bounds[0] as f64 / width);
    let resized = [(width * scale) as usize, (height * scale) as usize];
    if resized.contains(&0) || !scale.is_finite() {
        let text = format!(
            "a picture of {width}x{height} fitted into {}x{} has no pixels",
            bounds[0], bounds[1]
        );
        return Err(Fault::Transform(text));
    }
    Ok((scale, checked(resized)?))
}

/// Size of masks after `rescale` (mmcv's `rescale_size`).
pub(super) fn rescaled(size: [usize; 2], scale: f64) -> Result<[usize; 2], Fault> {
    let size = size.map(|v| (v as f64 * scale + 0.5) as usize);
    checked(size.map(|v| v.max(1)))
}
