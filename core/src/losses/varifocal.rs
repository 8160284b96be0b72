//! `VarifocalLoss` (Zhang et al. 2021, arXiv 2008.13367, section 3.2) as MMDetection 3.3.0 computes it: binary cross entropy of a class and
//! how good its box is, which counts more the better the box is; of what is not to be found, `alpha` times a power of how wrong it is.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::{
    AvgFactor, ClassLoss, ClassTarget, Loss, Reduce, Reduction, binary_cross_entropy, only_sigmoid,
    power,
};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='VarifocalLoss'`.
#[derive(Debug, Deserialize)]
struct VarifocalConfig {
    use_sigmoid: Option<bool>,
    alpha: Option<f64>,
    gamma: Option<f64>,
    iou_weighted: Option<bool>,
}

/// The varifocal loss.
#[derive(Clone, Debug)]
pub struct VarifocalLoss {
    /// The factor of what is not to be found.
    pub alpha: f64,
    /// Its power of how wrong a logit is.
    pub gamma: f64,
    /// Whether what is to be found counts as much as its share.
    pub iou_weighted: bool,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for VarifocalLoss {
    fn default() -> Self {
        Self {
            alpha: 0.75,
            gamma: 2.0,
            iou_weighted: true,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: VarifocalConfig = node.read_knowing(Reduce::KEYS)?;
    only_sigmoid(node, config.use_sigmoid)?;
    let default = VarifocalLoss::default();
    let alpha = config.alpha.unwrap_or(default.alpha);
    if alpha < 0.0 {
        let message = "`alpha` is a factor, 0 or more";
        return Err(error_at(node, "alpha", message, "for example 0.75"));
    }
    Ok(Loss::Class(Box::new(VarifocalLoss {
        alpha,
        gamma: config.gamma.unwrap_or(default.gamma),
        iou_weighted: config.iou_weighted.unwrap_or(default.iou_weighted),
        reduce: Reduce::read(node)?,
    })))
}

impl ClassLoss for VarifocalLoss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let dims = logits.dims();
        let wanted = target.shares(dims[1]);
        let found = wanted.clone().greater_elem(0.0).float();
        let share = activation::sigmoid(logits.clone());
        let wrong = power((share - wanted.clone()).abs(), self.gamma);
        let of_rest = wrong * (-found.clone() + 1.0) * self.alpha;
        let of_found = if self.iou_weighted {
            wanted.clone() * found
        } else {
            found
        };
        let loss = binary_cross_entropy(logits, wanted) * (of_found + of_rest);
        let weight = weight.map(|w| w.unsqueeze_dim::<2>(1).expand(dims));
        self.reduce.of(loss, weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}
