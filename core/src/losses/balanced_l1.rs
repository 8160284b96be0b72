//! `BalancedL1Loss` (Pang et al. 2019, arXiv 1904.02701, section 3.3) as MMDetection 3.3.0 computes it: near differences learn faster than by
//! a parabola, far ones no faster than by `gamma`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{AvgFactor, BoxLoss, Loss, Reduce, Reduction};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='BalancedL1Loss'`.
#[derive(Debug, Deserialize)]
struct BalancedL1Config {
    alpha: Option<f64>,
    gamma: Option<f64>,
    beta: Option<f64>,
}

/// The balanced difference.
#[derive(Clone, Debug)]
pub struct BalancedL1Loss {
    /// How fast near differences learn.
    pub alpha: f64,
    /// The slope of far ones.
    pub gamma: f64,
    /// From where on a difference is far.
    pub beta: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: BalancedL1Config = node.read_knowing(Reduce::KEYS)?;
    let beta = config.beta.unwrap_or(1.0);
    if beta <= 0.0 || beta.is_nan() {
        let message = "`beta` must be above 0";
        return Err(error_at(node, "beta", message, "for example 1.0"));
    }
    let alpha = config.alpha.unwrap_or(0.5);
    if alpha == 0.0 {
        let message = "`alpha` is divided by, so it is not 0";
        return Err(error_at(node, "alpha", message, "for example 0.5"));
    }
    Ok(Loss::Boxes(Box::new(BalancedL1Loss {
        alpha,
        gamma: config.gamma.unwrap_or(1.5),
        beta,
        reduce: Reduce::read(node)?,
    })))
}

impl BoxLoss for BalancedL1Loss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let Self {
            alpha,
            gamma,
            beta,
            reduce,
        } = *self;
        let b = (gamma / alpha).exp() - 1.0;
        let off = (pred - target).abs();
        let near = off.clone().lower_elem(beta);
        let log = (off.clone() * (b / beta) + 1.0).log();
        let curve = (off.clone() * b + 1.0) * log * (alpha / b) - off.clone() * alpha;
        let loss = (off * gamma + (gamma / b - alpha * beta)).mask_where(near, curve);
        reduce.of(loss, weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn of_numbers(&self) -> bool {
        true
    }
}
