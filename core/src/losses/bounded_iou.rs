//! `BoundedIoULoss` (Tychsen-Smith and Petersson 2018, arXiv 1711.00164, section 3.2) as MMDetection 3.3.0 computes it: for each of a box's
//! middle and sizes the largest overlap that it allows, through [`super::SmoothL1Loss`]'s curve.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::l1::smooth;
use super::pairs::{Pairs, larger, size, smaller};
use super::{AvgFactor, BoxLoss, Loss, Reduce, Reduction};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='BoundedIoULoss'`.
#[derive(Debug, Deserialize)]
struct BoundedIouConfig {
    beta: Option<f64>,
    eps: Option<f64>,
}

/// A loss of overlaps, each of four numbers alone.
#[derive(Clone, Debug)]
pub struct BoundedIouLoss {
    /// Where the parabola ends.
    pub beta: f64,
    /// Added to what is divided by, px.
    pub eps: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: BoundedIouConfig = node.read_knowing(Reduce::KEYS)?;
    let beta = config.beta.unwrap_or(0.2);
    if beta <= 0.0 || beta.is_nan() {
        let message = "`beta` must be above 0";
        return Err(error_at(node, "beta", message, "for example 0.2"));
    }
    Ok(Loss::Boxes(Box::new(BoundedIouLoss {
        beta,
        eps: config.eps.unwrap_or(1e-3),
        reduce: Reduce::read(node)?,
    })))
}

impl BoxLoss for BoundedIouLoss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let Some(weight) = weight else {
            let loss = smooth(self.far(&Pairs::new(pred, target)), self.beta);
            return self.reduce.of(loss, None, avg_factor);
        };
        // as in `over_rows`
        let nothing = weight.clone().abs().sum_dim(1).equal_elem(0.0);
        let nothing = nothing.expand(pred.dims());
        let pred = pred.mask_where(nothing.clone(), target.clone());
        let loss = smooth(self.far(&Pairs::new(pred, target)), self.beta);
        let loss = loss.mask_fill(nothing, 0.0);
        self.reduce.of(loss, Some(weight), avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}

impl BoundedIouLoss {
    /// How far from 1 the overlaps are: by the middle's x and y, by width and height, `[R, 4]`.
    fn far(&self, pairs: &Pairs) -> Tensor<2> {
        let (sizes, wanted) = (size(&pairs.pred), size(&pairs.target));
        let zeros = wanted[0].zeros_like();
        let middle = [0, 1].map(|axis| {
            let twice = pairs.way()[axis].clone().abs();
            let wanted = wanted[axis].clone();
            let overlap = (wanted.clone() - twice.clone()) / (wanted + twice + self.eps);
            larger(&overlap, &zeros)
        });
        let size = [0, 1].map(|axis| {
            let (size, wanted) = (sizes[axis].clone(), wanted[axis].clone());
            let wider = wanted.clone() / (size.clone() + self.eps);
            smaller(&wider, &(size / (wanted + self.eps)))
        });
        -Tensor::cat([middle, size].concat(), 1) + 1.0
    }
}
