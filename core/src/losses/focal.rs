//! `FocalLoss` (Lin et al. 2017, arXiv 1708.02002, section 3) as MMDetection 3.3.0 computes it: binary cross entropy of each class, times
//! `alpha` or `1 - alpha` and a power of how wrong the logit is.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::{AvgFactor, ClassLoss, ClassTarget, Loss, Reduce, Reduction, binary_cross_entropy};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='FocalLoss'`.
#[derive(Debug, Deserialize)]
struct FocalConfig {
    use_sigmoid: Option<bool>,
    gamma: Option<f64>,
    alpha: Option<f64>,
    activated: Option<bool>,
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
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for FocalLoss {
    fn default() -> Self {
        Self {
            gamma: 2.0,
            alpha: 0.25,
            activated: false,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: FocalConfig = node.read_knowing(Reduce::KEYS)?;
    if config.use_sigmoid == Some(false) {
        let message = "`FocalLoss` is of sigmoids only";
        return Err(error_at(
            node,
            "use_sigmoid",
            message,
            "write use_sigmoid=True",
        ));
    }
    let default = FocalLoss::default();
    Ok(Loss::Class(Box::new(FocalLoss {
        gamma: config.gamma.unwrap_or(default.gamma),
        alpha: config.alpha.unwrap_or(default.alpha),
        activated: config.activated.unwrap_or(false),
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
            return -(factor * self.power(wrong) * activation::log_sigmoid(right));
        }
        let share = if self.activated {
            pred.clone()
        } else {
            activation::sigmoid(pred.clone())
        };
        let wrong = (-share.clone() + 1.0) * shares.clone() + share * (-shares.clone() + 1.0);
        let entropy = if self.activated {
            let log = |share: Tensor<2>| share.log().clamp_min(-100.0); // torch's bound
            -(log(pred.clone()) * shares.clone() + log(-pred + 1.0) * (-shares + 1.0))
        } else {
            binary_cross_entropy(pred, shares)
        };
        entropy * factor * self.power(wrong)
    }

    fn power(&self, wrong: Tensor<2>) -> Tensor<2> {
        if self.gamma == 2.0 {
            wrong.clone() * wrong
        } else {
            wrong.powf_scalar(self.gamma)
        }
    }
}

impl ClassLoss for FocalLoss {
    fn forward(
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
}
