//! `FocalLoss` (Lin et al. 2017, arXiv 1708.02002, section 3) as MMDetection 3.3.0 computes it: binary cross entropy of each class, times
//! `alpha` or `1 - alpha` and a power of how wrong the logit is.

use burn::tensor::{Int, Tensor, activation};
use serde::Deserialize;

use super::{
    AvgFactor, ClassLoss, ClassTarget, Loss, Losses, Reduce, Reduction, entropy, only_sigmoid,
    power,
};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::limits::Channels;

/// The keys of `type='FocalLoss'`.
#[derive(Debug, Deserialize)]
struct FocalConfig {
    use_sigmoid: Option<bool>,
    gamma: Option<f64>,
    alpha: Option<f64>,
    activated: Option<bool>,
    num_classes: Option<Channels>,
}

/// The focal loss.
#[derive(Clone, Debug)]
pub struct FocalLoss {
    /// The power of how wrong a logit is.
    pub gamma: f64,
    /// The factor of what is to be found; `1 - alpha` is that of the rest.
    pub alpha: f64,
    /// Whether probabilities come in, not logits.
    pub activated: bool,
    /// Classes of `FocalCustomLoss`, which has its own say on logits (V3Det).
    pub custom: Option<usize>,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for FocalLoss {
    fn default() -> Self {
        Self {
            gamma: 2.0,
            alpha: 0.25,
            activated: false,
            custom: None,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: FocalConfig = node.read_knowing(Reduce::KEYS)?;
    if config.num_classes.is_some() {
        let message = "`FocalLoss` has no `num_classes`";
        let help = "leave it out, or write type='FocalCustomLoss'";
        return Err(error_at(node, "num_classes", message, help));
    }
    of(node, config)
}

pub(super) fn build_custom(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let mut config: FocalConfig = node.read_knowing(Reduce::KEYS)?;
    if config.num_classes.is_none() {
        let message = "`FocalCustomLoss` asks for `num_classes`";
        return Err(error_at(node, "num_classes", message, ""));
    }
    config.activated = None; // which the original reads, and leaves aside
    of(node, config)
}

fn of(node: &Node, config: FocalConfig) -> Result<Loss, Diagnostics> {
    only_sigmoid(node, config.use_sigmoid)?;
    let default = FocalLoss::default();
    Ok(Loss::Class(Box::new(FocalLoss {
        gamma: config.gamma.unwrap_or(default.gamma),
        alpha: config.alpha.unwrap_or(default.alpha),
        activated: config.activated.unwrap_or(default.activated),
        custom: config.num_classes.map(Channels::get),
        reduce: Reduce::read(node)?,
    })))
}

impl FocalLoss {
    fn elements(&self, pred: Tensor<2>, target: ClassTarget) -> Tensor<2> {
        let hard = matches!(target, ClassTarget::Labels(_));
        let shares = target.shares(pred.dims()[1]);
        let factor = shares.clone() * (2.0 * self.alpha - 1.0) + (1.0 - self.alpha);
        if hard && !self.activated {
            // of 0 and 1: one sign for what is to be, and one against it
            let sign = shares * 2.0 - 1.0;
            let right = pred * sign;
            let wrong = activation::sigmoid(-right.clone());
            return -(factor * power(wrong, self.gamma) * activation::log_sigmoid(right));
        }
        let share = if self.activated {
            pred.clone()
        } else {
            activation::sigmoid(pred.clone())
        };
        let wrong = (-share.clone() + 1.0) * shares.clone() + share * (-shares.clone() + 1.0);
        entropy(pred, shares, self.activated) * factor * power(wrong, self.gamma)
    }
}

impl ClassLoss for FocalLoss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let dims = logits.dims();
        let weight = weight.map(|w| w.unsqueeze_dim::<2>(1).expand(dims));
        self.reduce
            .of(self.elements(logits, target), weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn channels(&self) -> Option<usize> {
        self.custom
    }

    fn scores(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        let of_classes = logits.narrow(1, 0, self.custom?);
        Some(activation::sigmoid(of_classes))
    }

    fn accuracy(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Losses {
        super::class_accuracy(self.custom, logits, labels)
    }
}
