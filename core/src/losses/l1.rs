//! Losses of differences, number by number: `L1Loss`, and `SmoothL1Loss` (Girshick 2015, arXiv 1504.08083, section 2.3), which is a parabola
//! near 0. As MMDetection 3.3.0 computes them.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{AvgFactor, BoxLoss, Loss, Reduce, Reduction};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='L1Loss'`.
#[derive(Debug, Deserialize)]
struct L1Config {}

/// The keys of `type='SmoothL1Loss'`.
#[derive(Debug, Deserialize)]
struct SmoothL1Config {
    beta: Option<f64>,
}

/// The absolute difference.
#[derive(Clone, Debug, Default)]
pub struct L1Loss {
    /// How elements become one number.
    pub reduce: Reduce,
}

/// The absolute difference, less half of `beta`; below `beta` a parabola.
#[derive(Clone, Debug)]
pub struct SmoothL1Loss {
    /// Where the parabola ends.
    pub beta: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

pub(super) fn build_l1(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let L1Config {} = node.read_knowing(Reduce::KEYS)?;
    let reduce = Reduce::read(node)?;
    Ok(Loss::Boxes(Box::new(L1Loss { reduce })))
}

pub(super) fn build_smooth_l1(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: SmoothL1Config = node.read_knowing(Reduce::KEYS)?;
    let beta = config.beta.unwrap_or(1.0);
    if beta <= 0.0 || beta.is_nan() {
        let message = "`beta` must be above 0";
        return Err(error_at(node, "beta", message, "without it, L1Loss"));
    }
    Ok(Loss::Boxes(Box::new(SmoothL1Loss {
        beta,
        reduce: Reduce::read(node)?,
    })))
}

impl BoxLoss for L1Loss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        self.reduce.of((pred - target).abs(), weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn of_numbers(&self) -> bool {
        true
    }
}

impl BoxLoss for SmoothL1Loss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let loss = smooth((pred - target).abs(), self.beta);
        self.reduce.of(loss, weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn of_numbers(&self) -> bool {
        true
    }

    fn with_beta(&self, beta: f64) -> Option<Box<dyn BoxLoss>> {
        let reduce = self.reduce;
        Some(Box::new(Self { beta, reduce }))
    }
}

/// `off`, which is above 0, less half of `beta`; below `beta` a parabola.
pub(super) fn smooth(off: Tensor<2>, beta: f64) -> Tensor<2> {
    let near = off.clone().lower_elem(beta);
    let parabola = off.clone() * off.clone() * (0.5 / beta);
    (off - 0.5 * beta).mask_where(near, parabola)
}
