//! `IoULoss` (Yu et al. 2016, arXiv 1608.01471) as MMDetection 3.3.0 computes it: of the overlap of two boxes, its logarithm, its square, or
//! itself.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::pairs::over_rows;
use super::{AvgFactor, BoxLoss, Loss, Reduce, Reduction};
use crate::build::Build;
use crate::config::{Diagnostics, Node};

/// The keys of `type='IoULoss'`.
#[derive(Debug, Deserialize)]
struct IouConfig {
    linear: Option<bool>,
    eps: Option<f64>,
    mode: Option<IouMode>,
}

/// What is made of an overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IouMode {
    /// `1 - iou`.
    Linear,
    /// `1 - iou^2`.
    Square,
    /// `-ln(iou)`.
    #[default]
    Log,
}

/// A loss of overlaps.
#[derive(Clone, Debug)]
pub struct IouLoss {
    /// What is made of an overlap.
    pub mode: IouMode,
    /// The least overlap.
    pub eps: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for IouLoss {
    fn default() -> Self {
        Self {
            mode: IouMode::Log,
            eps: 1e-6,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: IouConfig = node.read_knowing(Reduce::KEYS)?;
    let default = IouLoss::default();
    let mode = match config.linear {
        Some(true) => IouMode::Linear,
        _ => config.mode.unwrap_or_default(),
    };
    Ok(Loss::Boxes(Box::new(IouLoss {
        mode,
        eps: config.eps.unwrap_or(default.eps),
        reduce: Reduce::read(node)?,
    })))
}

impl BoxLoss for IouLoss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        over_rows(self.reduce, [pred, target], weight, avg_factor, |pairs| {
            let both = pairs.both();
            let ious = both.clone() / pairs.union(both).clamp_min(1e-6);
            let ious = ious.clamp_min(self.eps);
            match self.mode {
                IouMode::Linear => -ious + 1.0,
                IouMode::Square => -(ious.clone() * ious) + 1.0,
                IouMode::Log => -ious.log(),
            }
        })
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}
