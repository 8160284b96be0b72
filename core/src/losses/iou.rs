//! `IoULoss` (Yu et al. 2016, arXiv 1608.01471) as MMDetection 3.3.0 computes it: of the overlap of two boxes, its logarithm, its square, or
//! itself.

use burn::tensor::Tensor;
use serde::Deserialize;

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
    fn forward(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let ious = Pairs::new(pred, target).iou(1e-6).clamp_min(self.eps);
        let loss = match self.mode {
            IouMode::Linear => -ious + 1.0,
            IouMode::Square => -(ious.clone() * ious) + 1.0,
            IouMode::Log => -ious.log(),
        };
        let weight = weight.map(|w| w.mean_dim(1));
        self.reduce.of(loss, weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}

/// The sides of boxes and of those that they should be, row by row, each `[R, 1]` px.
pub(super) struct Pairs {
    pub pred: [Tensor<2>; 4],
    pub target: [Tensor<2>; 4],
}

impl Pairs {
    /// # Shapes
    /// - both: `[R, 4]`, xyxy px
    pub fn new(pred: Tensor<2>, target: Tensor<2>) -> Self {
        let sides =
            |boxes: Tensor<2>| -> [Tensor<2>; 4] { std::array::from_fn(|i| boxes.clone().narrow(1, i, 1)) };
        Self {
            pred: sides(pred),
            target: sides(target),
        }
    }

    /// What both cover, px².
    pub fn both(&self) -> Tensor<2> {
        let along = |axis: usize| {
            let high = least(&self.pred[axis + 2], &self.target[axis + 2]);
            let low = most(&self.pred[axis], &self.target[axis]);
            (high - low).clamp_min(0.0)
        };
        along(0) * along(1)
    }

    /// The areas together, what both cover once, px².
    pub fn union(&self, both: Tensor<2>) -> Tensor<2> {
        area(&self.pred) + area(&self.target) - both
    }

    /// Overlaps, `[R, 1]`; `eps` is the least union, px².
    pub fn iou(&self, eps: f64) -> Tensor<2> {
        let both = self.both();
        both.clone() / self.union(both).clamp_min(eps)
    }
}

/// Signed, px².
pub(super) fn area(sides: &[Tensor<2>; 4]) -> Tensor<2> {
    (sides[2].clone() - sides[0].clone()) * (sides[3].clone() - sides[1].clone())
}

pub(super) fn least(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    a.clone().min_pair(b.clone())
}

pub(super) fn most(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    a.clone().max_pair(b.clone())
}
