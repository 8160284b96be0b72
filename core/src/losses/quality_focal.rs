//! `QualityFocalLoss` (Li et al. 2020, arXiv 2006.04388, section 3.2) as MMDetection 3.3.0 computes it: binary cross entropy of a class and
//! how good its box is, times a power of how far the two are apart; a row's classes are added up.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::{
    AvgFactor, ClassLoss, ClassTarget, Loss, Reduce, Reduction, entropy, only_sigmoid, power,
};
use crate::build::Build;
use crate::config::{Diagnostics, Node};

/// The keys of `type='QualityFocalLoss'`.
#[derive(Debug, Deserialize)]
struct QualityFocalConfig {
    use_sigmoid: Option<bool>,
    beta: Option<f64>,
    activated: Option<bool>,
}

/// The focal loss of qualities.
#[derive(Clone, Debug)]
pub struct QualityFocalLoss {
    /// The power of how far a logit is off.
    pub beta: f64,
    /// Whether probabilities come in, not logits.
    pub activated: bool,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for QualityFocalLoss {
    fn default() -> Self {
        Self {
            beta: 2.0,
            activated: false,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: QualityFocalConfig = node.read_knowing(Reduce::KEYS)?;
    only_sigmoid(node, config.use_sigmoid)?;
    let default = QualityFocalLoss::default();
    Ok(Loss::Class(Box::new(QualityFocalLoss {
        beta: config.beta.unwrap_or(default.beta),
        activated: config.activated.unwrap_or(default.activated),
        reduce: Reduce::read(node)?,
    })))
}

impl ClassLoss for QualityFocalLoss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let wanted = target.shares(logits.dims()[1]);
        let share = if self.activated {
            logits.clone()
        } else {
            activation::sigmoid(logits.clone())
        };
        let off = power((wanted.clone() - share).abs(), self.beta);
        let loss = entropy(logits, wanted, self.activated) * off;
        let weight = weight.map(|w| w.unsqueeze_dim::<2>(1));
        self.reduce.of(loss.sum_dim(1), weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}
