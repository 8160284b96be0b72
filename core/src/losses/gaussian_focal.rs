//! `GaussianFocalLoss` (Law and Deng 2018, arXiv 1808.01244, section 3.2) as MMDetection 3.3.0 computes it: of heat maps whose peaks are 1,
//! where what is near a peak counts less against it.

use burn::tensor::{Int, Tensor};
use serde::Deserialize;

use super::{AvgFactor, Loss, Reduce, power, zero};
use crate::build::Build;
use crate::config::{Diagnostics, Node};

/// The keys of `type='GaussianFocalLoss'`.
#[derive(Debug, Deserialize)]
struct GaussianFocalConfig {
    alpha: Option<f64>,
    gamma: Option<f64>,
    pos_weight: Option<f64>,
    neg_weight: Option<f64>,
}

/// The focal loss of heat maps.
#[derive(Clone, Debug)]
pub struct GaussianFocalLoss {
    /// The power of how wrong a probability is.
    pub alpha: f64,
    /// The power of how far from a peak a place is.
    pub gamma: f64,
    /// The factor of peaks.
    pub pos_weight: f64,
    /// The factor of all else.
    pub neg_weight: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for GaussianFocalLoss {
    fn default() -> Self {
        Self {
            alpha: 2.0,
            gamma: 4.0,
            pos_weight: 1.0,
            neg_weight: 1.0,
            reduce: Reduce::default(),
        }
    }
}

/// Added to probabilities before their logarithm.
const EPS: f64 = 1e-12;

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: GaussianFocalConfig = node.read_knowing(Reduce::KEYS)?;
    let default = GaussianFocalLoss::default();
    Ok(Loss::HeatMap(GaussianFocalLoss {
        alpha: config.alpha.unwrap_or(default.alpha),
        gamma: config.gamma.unwrap_or(default.gamma),
        pos_weight: config.pos_weight.unwrap_or(default.pos_weight),
        neg_weight: config.neg_weight.unwrap_or(default.neg_weight),
        reduce: Reduce::read(node)?,
    }))
}

impl GaussianFocalLoss {
    /// Of probabilities and the heat map that they should be, both of the same shape. Peaks are where the map is 1.
    pub fn forward<const D: usize>(
        &self,
        pred: Tensor<D>,
        target: Tensor<D>,
        weight: Option<Tensor<D>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if pred.dims()[0] == 0 {
            return zero(&pred.device());
        }
        let peaks = target.clone().equal_elem(1.0).float();
        let of_peaks = self.found(pred.clone()) * peaks * self.pos_weight;
        let loss = of_peaks + self.rest(pred, target) * self.neg_weight;
        self.reduce.of(loss, weight, avg_factor)
    }

    /// The same where peaks are said: rows and classes, of which a place may have several (CenterNet's update).
    ///
    /// # Shapes
    /// - `pred`, `target`: `[R, K]`; `rows`, `labels`: `[M]`
    pub fn at_peaks(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        [rows, labels]: [Tensor<1, Int>; 2],
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let at = pred.clone().select(0, rows);
        let at = at.gather(1, labels.unsqueeze_dim::<2>(1));
        let of_peaks = self.reduce.of(self.found(at), None, avg_factor.clone());
        let of_rest = self.reduce.of(self.rest(pred, target), None, avg_factor);
        of_peaks * self.pos_weight + of_rest * self.neg_weight
    }

    fn found<const D: usize>(&self, pred: Tensor<D>) -> Tensor<D> {
        -(pred.clone() + EPS).log() * power(-pred + 1.0, self.alpha)
    }

    fn rest<const D: usize>(&self, pred: Tensor<D>, target: Tensor<D>) -> Tensor<D> {
        let far = power(-target + 1.0, self.gamma);
        -(-pred.clone() + (1.0 + EPS)).log() * power(pred, self.alpha) * far
    }
}
