//! `EQLV2Loss` (Tan et al. 2021, arXiv 2012.08548, section 4) as MMDetection 3.3.0 computes it: binary cross entropy of each class, whose
//! gradients for and against it are kept in balance.
//!
//! Logits: `[R, K + 1]`, background last. The state dict keeps the gradients so far, `pos_grad` and `neg_grad`, and their ratio `pos_neg`.
//! Weights and `avg_factor` do not count.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::{AvgFactor, ClassLoss, ClassTarget, Loss, Reduce, Reduction, binary_cross_entropy};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::{Init, Weight};
use crate::limits::Channels;

/// The keys of `type='EQLV2Loss'` that count; the original reads others too.
#[derive(Debug, Deserialize)]
struct Eqlv2Config {
    num_classes: Option<Channels>,
    mu: Option<f64>,
    alpha: Option<f64>,
    gamma: Option<f64>,
}

/// The second equalization loss.
#[derive(Clone, Debug)]
pub struct Eqlv2Loss {
    /// The ratio of gradients at which those against a class count half.
    mu: f64,
    /// How much more gradients for a class may count.
    alpha: f64,
    /// How steep that is.
    gamma: f64,
    /// Each `[K]`.
    pos_grad: Weight<1>,
    neg_grad: Weight<1>,
    pos_neg: Weight<1>,
    reduce: Reduce,
}

const OTHERS: &[&str] = &[
    "use_sigmoid",
    "class_weight",
    "use_distributed",
    "vis_grad",
    "test_with_obj",
];

pub(super) fn build(node: &Node, build: &Build) -> Result<Loss, Diagnostics> {
    let config: Eqlv2Config = node.read_knowing(&[Reduce::KEYS, OTHERS].concat())?;
    let classes = config.num_classes.map_or(1203, Channels::get);
    let buffer = |name, value| build.params.buffer(name, [classes], Init::Constant(value));
    Ok(Loss::Class(Box::new(Eqlv2Loss {
        mu: config.mu.unwrap_or(0.8),
        alpha: config.alpha.unwrap_or(4.0),
        gamma: config.gamma.unwrap_or(12.0),
        pos_grad: buffer("pos_grad", 0.0),
        neg_grad: buffer("neg_grad", 0.0),
        pos_neg: buffer("pos_neg", 100.0),
        reduce: Reduce::read(node)?,
    })))
}

impl ClassLoss for Eqlv2Loss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        _: Option<Tensor<1>>,
        _: Option<AvgFactor>,
    ) -> Tensor<1> {
        let [rows, channels] = logits.dims();
        let wanted = target.shares(channels);
        let against = {
            let steep = (self.pos_neg.get().without_autodiff() - self.mu) * self.gamma;
            let of_classes = activation::sigmoid(steep);
            let of_background = of_classes.clone().narrow(0, 0, 1).ones_like();
            Tensor::cat(vec![of_classes, of_background], 0).unsqueeze::<2>()
        };
        let towards = (-against.clone() + 1.0) * self.alpha + 1.0;
        let weight = towards * wanted.clone() + against * (-wanted.clone() + 1.0);
        let loss = binary_cross_entropy(logits.clone(), wanted.clone()) * weight.clone();
        let loss = loss.sum() * (self.reduce.loss_weight / rows.max(1) as f64);
        self.keep(logits.without_autodiff(), wanted, weight);
        loss
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}

impl Eqlv2Loss {
    /// Adds up the lengths of gradients, but for the background's.
    fn keep(&self, logits: Tensor<2>, wanted: Tensor<2>, weight: Tensor<2>) {
        let length = (activation::sigmoid(logits) - wanted.clone()).abs() * weight;
        let classes = self.pos_grad.shape()[0];
        let add = |kept: &Weight<1>, lengths: Tensor<2>| {
            let sum = lengths.sum_dim(0).squeeze_dim::<1>(0).narrow(0, 0, classes);
            let sum = kept.get().without_autodiff() + sum;
            kept.set(sum.clone());
            sum
        };
        let towards = add(&self.pos_grad, length.clone() * wanted.clone());
        let against = add(&self.neg_grad, length * (-wanted + 1.0));
        self.pos_neg.set(towards / (against + 1e-10));
    }
}
