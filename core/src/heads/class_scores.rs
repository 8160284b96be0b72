//! What a head's `loss_cls` says of its class logits: how they become scores, and how many there are.

use crate::config::{Diagnostics, Node, error_at};
use crate::ops::detections::Scoring;

/// How class logits are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClassScores {
    /// Sigmoid; or softmax over the classes and, last, background.
    pub activation: Scoring,
    /// Logits of a box.
    pub channels: usize,
}

impl ClassScores {
    /// Reads `loss_cls` of the head `node`; without one it is a loss of sigmoids. The original asks the config's dict, not the loss, whose
    /// own default may differ.
    pub fn read(node: &Node, classes: usize) -> Result<Self, Diagnostics> {
        let Some(loss) = super::present(node, "loss_cls") else {
            return Ok(Self::new(Scoring::Sigmoid, classes));
        };
        let name = loss.get("type").and_then(Node::as_type);
        let name = name.unwrap_or_default();
        if name.ends_with("SeesawLoss") {
            let message = format!("`{name}` is not supported yet");
            return Err(error_at(node, "loss_cls", message, ""));
        }
        let sigmoid = loss.get("use_sigmoid").and_then(Node::as_bool);
        Ok(if sigmoid.unwrap_or(false) {
            Self::new(Scoring::Sigmoid, classes)
        } else {
            Self::new(Scoring::Softmax, classes)
        })
    }

    fn new(activation: Scoring, classes: usize) -> Self {
        let background = usize::from(activation == Scoring::Softmax);
        Self {
            activation,
            channels: classes + background,
        }
    }
}
