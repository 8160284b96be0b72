//! `DiceLoss` (Milletari et al. 2016, arXiv 1606.04797, section 3) as MMDetection 3.3.0 computes it: of masks, how much of two is not the same.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::{AvgFactor, Loss, Reduce, zero};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='DiceLoss'`.
#[derive(Debug, Deserialize)]
struct DiceConfig {
    use_sigmoid: Option<bool>,
    activate: Option<bool>,
    naive_dice: Option<bool>,
    eps: Option<f64>,
}

/// The dice loss.
#[derive(Clone, Debug)]
pub struct DiceLoss {
    /// Whether logits come in, not probabilities.
    pub activate: bool,
    /// Whether sizes are sums, not sums of squares.
    pub naive_dice: bool,
    /// Added to what is divided by.
    pub eps: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for DiceLoss {
    fn default() -> Self {
        Self {
            activate: true,
            naive_dice: false,
            eps: 1e-3,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: DiceConfig = node.read_knowing(Reduce::KEYS)?;
    let default = DiceLoss::default();
    let activate = config.activate.unwrap_or(default.activate);
    if activate && config.use_sigmoid == Some(false) {
        let message = "`DiceLoss` knows no other activation than sigmoid";
        let help = "write use_sigmoid=True, or activate=False for probabilities";
        return Err(error_at(node, "use_sigmoid", message, help));
    }
    Ok(Loss::Dice(DiceLoss {
        activate,
        naive_dice: config.naive_dice.unwrap_or(default.naive_dice),
        eps: config.eps.unwrap_or(default.eps),
        reduce: Reduce::read(node)?,
    }))
}

impl DiceLoss {
    /// # Shapes
    /// - `pred`, `target`: `[R, P]`, the P pixels of a mask in a row; `weight`: `[R]`
    pub fn forward(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if pred.dims()[0] == 0 {
            return zero(&pred.device());
        }
        let pred = if self.activate {
            activation::sigmoid(pred)
        } else {
            pred
        };
        let both = (pred.clone() * target.clone()).sum_dim(1) * 2.0;
        let same = if self.naive_dice {
            (both + self.eps) / (pred.sum_dim(1) + target.sum_dim(1) + self.eps)
        } else {
            let square = |mask: Tensor<2>| mask.square().sum_dim(1) + self.eps;
            both / (square(pred) + square(target))
        };
        let loss = (-same + 1.0).squeeze_dim::<1>(1);
        self.reduce.of(loss, weight, avg_factor)
    }
}
