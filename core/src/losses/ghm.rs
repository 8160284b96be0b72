//! `GHMC` and `GHMR` (Li et al. 2019, arXiv 1811.05181) as MMDetection 3.3.0 computes them: cross entropy and a smooth L1 where each element
//! counts the less, the more others have a gradient of about the same length.
//!
//! How many have is counted on the device, bin by bin. Both keep `edges` of the bins in the state dict, and with `momentum` the running
//! counts, `acc_sum`. `avg_factor` does not count.

use std::fmt;

use burn::tensor::{Bool, Tensor, activation};
use serde::Deserialize;

use super::{
    AvgFactor, BoxLoss, ClassLoss, ClassTarget, Loss, Reduce, Reduction, binary_cross_entropy,
    only_sigmoid,
};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node};
use crate::layers::{Init, Params, Weight};

/// Counts of gradients. The original takes any number; each is a pass over all elements.
type Count = Bounded<1, 1000>;

/// The keys of `type='GHMC'`.
#[derive(Debug, Deserialize)]
struct GhmcConfig {
    bins: Option<Count>,
    momentum: Option<f64>,
    use_sigmoid: Option<bool>,
}

/// The keys of `type='GHMR'`.
#[derive(Debug, Deserialize)]
struct GhmrConfig {
    mu: Option<f64>,
    bins: Option<Count>,
    momentum: Option<f64>,
}

/// Of class logits.
#[derive(Clone, Debug)]
pub struct GhmcLoss {
    bins: Bins,
    reduce: Reduce,
}

/// Of numbers of boxes.
#[derive(Clone, Debug)]
pub struct GhmrLoss {
    /// How wide the curve is round, near 0.
    mu: f64,
    bins: Bins,
    reduce: Reduce,
}

pub(super) fn build_ghmc(node: &Node, build: &Build) -> Result<Loss, Diagnostics> {
    let config: GhmcConfig = node.read_knowing(Reduce::KEYS)?;
    only_sigmoid(node, config.use_sigmoid)?;
    Ok(Loss::Class(Box::new(GhmcLoss {
        bins: Bins::new(config.bins, config.momentum, LAST_OF_CLASSES, &build.params),
        reduce: Reduce::read(node)?,
    })))
}

pub(super) fn build_ghmr(node: &Node, build: &Build) -> Result<Loss, Diagnostics> {
    let config: GhmrConfig = node.read_knowing(Reduce::KEYS)?;
    Ok(Loss::Boxes(Box::new(GhmrLoss {
        mu: config.mu.unwrap_or(0.02),
        bins: Bins::new(config.bins, config.momentum, LAST_OF_BOXES, &build.params),
        reduce: Reduce::read(node)?,
    })))
}

/// The last edge of classes' bins, so that a length of 1 is in the last.
const LAST_OF_CLASSES: f32 = 1.0 + 1e-6;
/// That of boxes' bins.
const LAST_OF_BOXES: f32 = 1e3;

impl ClassLoss for GhmcLoss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        _: Option<AvgFactor>,
    ) -> Tensor<1> {
        let dims = logits.dims();
        let wanted = target.shares(dims[1]);
        let apart = (
            logits.clone().without_autodiff(),
            wanted.clone().without_autodiff(),
        );
        let length = (activation::sigmoid(apart.0) - apart.1).abs();
        let counts = match weight {
            Some(weight) => weight.without_autodiff().unsqueeze_dim::<2>(1).expand(dims),
            None => length.ones_like(),
        };
        let valid = counts.greater_elem(0.0);
        let total = valid.clone().float().sum().clamp_min(1.0);
        let loss = binary_cross_entropy(logits, wanted);
        self.bins.over(self.reduce, loss, length, valid, total)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}

impl BoxLoss for GhmrLoss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        _: Option<AvgFactor>,
    ) -> Tensor<1> {
        let off = pred - target;
        let round = (off.clone().square() + self.mu * self.mu).sqrt();
        let length = (off / round.clone()).abs().without_autodiff();
        let weight = match weight {
            Some(weight) => weight.without_autodiff(),
            None => length.ones_like(),
        };
        let total = weight.clone().sum().clamp_min(1.0);
        let valid = weight.greater_elem(0.0);
        self.bins
            .over(self.reduce, round - self.mu, length, valid, total)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}

/// Bins of gradients' lengths.
#[derive(Clone)]
struct Bins {
    /// One more than there are bins.
    edges: Vec<f32>,
    momentum: f64,
    /// `[bins]`, where there is momentum.
    running: Option<Weight<1>>,
}

impl Bins {
    fn new(bins: Option<Count>, momentum: Option<f64>, last: f32, params: &Params) -> Self {
        let bins = bins.map_or(10, Count::get);
        let momentum = momentum.unwrap_or(0.0);
        params.buffer("edges", [bins + 1], Init::Edges { last });
        let running = || params.buffer("acc_sum", [bins], Init::Constant(0.0));
        Self {
            edges: Init::Edges { last }.values(0, "edges", &[bins + 1]),
            momentum,
            running: (momentum > 0.0).then(running),
        }
    }

    /// The number of `loss`, whose elements have gradients of these lengths, if they are `valid`, which come to `total`.
    fn over(
        &self,
        reduce: Reduce,
        loss: Tensor<2>,
        length: Tensor<2>,
        valid: Tensor<2, Bool>,
        total: Tensor<1>,
    ) -> Tensor<1> {
        let held = self.running.as_ref().map(Weight::get);
        let mut running = Vec::new();
        let mut weights = length.zeros_like();
        let mut used = total.zeros_like();
        for (i, edges) in self.edges.windows(2).enumerate() {
            let above = length.clone().greater_equal_elem(edges[0]);
            let below = length.clone().lower_elem(edges[1]);
            let inside = above.bool_and(below).bool_and(valid.clone()).float();
            let count = inside.clone().sum();
            let any = count.clone().greater_elem(0.0).float();
            let count = match &held {
                None => count,
                Some(held) => {
                    let old = held.clone().narrow(0, i, 1);
                    let new = old.clone() * self.momentum + count * (1.0 - self.momentum);
                    let new = new * any.clone() + old * (-any.clone() + 1.0);
                    running.push(new.clone());
                    new
                }
            };
            // nothing is in an empty bin, whatever it would count
            let each = total.clone() / (count + (-any.clone() + 1.0));
            weights = weights + inside * each.unsqueeze::<2>();
            used = used + any;
        }
        if let Some(kept) = &self.running {
            kept.set(Tensor::cat(running, 0));
        }
        let weights = weights / used.clamp_min(1.0).unsqueeze::<2>();
        reduce.of(loss, Some(weights), Some(AvgFactor::Tensor(total)))
    }
}

impl fmt::Debug for Bins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bins", self.edges.len() - 1)
    }
}
