//! `DistributionFocalLoss` (Li et al. 2020, arXiv 2006.04388, section 3.2) as MMDetection 3.3.0 computes it: cross entropy of a distribution
//! over whole distances and the two whole distances next to the wanted one, the nearer counting more.

use burn::tensor::{Int, Tensor, activation};
use serde::Deserialize;

use super::{AvgFactor, Loss, Reduce, zero};
use crate::build::Build;
use crate::config::{Diagnostics, Node};

/// The keys of `type='DistributionFocalLoss'`.
#[derive(Debug, Deserialize)]
struct DistributionFocalConfig {}

/// A loss of distributions.
#[derive(Clone, Debug, Default)]
pub struct DistributionFocalLoss {
    /// How elements become one number.
    pub reduce: Reduce,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let DistributionFocalConfig {} = node.read_knowing(Reduce::KEYS)?;
    let reduce = Reduce::read(node)?;
    Ok(Loss::Distribution(DistributionFocalLoss { reduce }))
}

impl DistributionFocalLoss {
    /// # Shapes
    /// - `logits`: `[R, M + 1]` of the distances 0 to M
    /// - `target`: `[R]` distances, 0 to below M; `weight`: `[R]`
    pub fn forward(
        &self,
        logits: Tensor<2>,
        target: Tensor<1>,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if logits.dims()[0] == 0 {
            return zero(&logits.device());
        }
        let [rows, distances] = logits.dims();
        let each = Tensor::<1, Int>::arange(0..distances as i64, &logits.device());
        let each = each.float().unsqueeze::<2>().expand([rows, distances]);
        // 1 at the wanted distance, falling to 0 at the next whole one on either side
        let off = (each - target.unsqueeze_dim::<2>(1)).abs();
        let shares = (-off + 1.0).clamp_min(0.0);
        let loss = -(activation::log_softmax(logits, 1) * shares).sum_dim(1);
        self.reduce.of(loss.squeeze_dim::<1>(1), weight, avg_factor)
    }
}
