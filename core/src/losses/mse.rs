//! `MSELoss` as MMDetection 3.3.0 computes it: squared differences, number by number.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{AvgFactor, BoxLoss, Loss, Reduce, Reduction};
use crate::build::Build;
use crate::config::{Diagnostics, Node};

/// The keys of `type='MSELoss'`.
#[derive(Debug, Deserialize)]
struct MseConfig {}

/// The squared difference.
#[derive(Clone, Debug, Default)]
pub struct MseLoss {
    /// How elements become one number.
    pub reduce: Reduce,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let MseConfig {} = node.read_knowing(Reduce::KEYS)?;
    let reduce = Reduce::read(node)?;
    Ok(Loss::Boxes(Box::new(MseLoss { reduce })))
}

impl BoxLoss for MseLoss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        self.reduce.of((pred - target).square(), weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn of_numbers(&self) -> bool {
        true
    }
}
