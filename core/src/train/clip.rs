//! [`Clip`]: bounds of gradients before a step (`clip_grad`), as PyTorch's `clip_grad_norm_` and `clip_grad_value_` have them.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::config::{Diagnostics, Dict, Node, error_at};
use crate::layers::Gradients;

/// How gradients are bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// All are scaled so that their common norm is at most this.
    Norm {
        /// `max_norm`.
        most: f64,
        /// `norm_type`; may be infinite.
        kind: f64,
        /// `error_if_nonfinite`: a norm that is no finite number is an error. The norm is read back therefore.
        finite: bool,
    },
    /// Each number is from the negative of this to this.
    Value(f64),
}

#[derive(Deserialize)]
struct NormConfig {
    max_norm: f64,
    norm_type: Option<Node>,
    error_if_nonfinite: Option<bool>,
}

#[derive(Deserialize)]
struct ValueConfig {
    clip_value: f64,
}

impl Clip {
    /// A config's `clip_grad`.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub(super) fn read(node: &Node) -> Result<Self, Diagnostics> {
        if node.as_dict().is_none_or(Dict::is_empty) {
            let message =
                "`clip_grad` is a dict with `max_norm`, or with type='value' and `clip_value`";
            return Err(error_at(node, "", message, ""));
        }
        match node.get("type").map(|kind| (kind, kind.as_str())) {
            None | Some((_, Some("norm"))) => Self::read_norm(node),
            Some((_, Some("value"))) => {
                let config: ValueConfig = node.read_knowing(&["foreach"])?;
                Ok(Self::Value(config.clip_value))
            }
            Some(_) => {
                let message = "`type` of `clip_grad` is 'norm' or 'value'";
                Err(error_at(node, "type", message, ""))
            }
        }
    }

    fn read_norm(node: &Node) -> Result<Self, Diagnostics> {
        let config: NormConfig = node.read_knowing(&["foreach"])?;
        // As Python's float() has it.
        let number = |node: &Node| match node.as_str() {
            Some(text) => text.trim().parse().ok(),
            None => node.as_float(),
        };
        let kind = config.norm_type.as_ref().map_or(Some(2.0), number);
        let kind = kind.filter(|kind| *kind > 0.0).ok_or_else(|| {
            let message = "`norm_type` is a number above 0, or 'inf'";
            error_at(node, "norm_type", message, "")
        })?;
        Ok(Self::Norm {
            most: config.max_norm,
            kind,
            finite: config.error_if_nonfinite.unwrap_or(false),
        })
    }

    /// Bounds gradients, and gives the norm that they had, which stays on the device, if that is what is bounded and there are any.
    pub fn apply(&self, gradients: &mut Gradients) -> Option<Tensor<1>> {
        match *self {
            Self::Norm {
                most, kind: 2.0, ..
            } => gradients.clip(most),
            Self::Norm { most, kind, .. } => {
                let norm = norm(gradients, kind)?;
                let factor = ((norm.clone() + 1e-6).recip() * most).clamp_max(1.0);
                gradients.map(|gradient| gradient * factor.clone());
                Some(norm)
            }
            Self::Value(most) => {
                gradients.map(|gradient| gradient.clamp(-most, most));
                None
            }
        }
    }
}

/// The `kind`-norm of all gradients together.
fn norm(gradients: &Gradients, kind: f64) -> Option<Tensor<1>> {
    let all = gradients.iter().map(|(_, gradient)| gradient.clone().abs());
    if kind.is_infinite() {
        return all.map(Tensor::max).reduce(|a, b| a.max_pair(b));
    }
    if kind == 1.0 {
        return all.map(Tensor::sum).reduce(|a, b| a + b);
    }
    let powers = all.map(|gradient| gradient.powf_scalar(kind).sum());
    let sum = powers.reduce(|a, b| a + b)?;
    Some(sum.powf_scalar(1.0 / kind))
}
