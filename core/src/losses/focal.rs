//! `FocalLoss` (Lin et al. 2017, arXiv 1708.02002, section 3) as MMDetection 3.3.0 computes it: binary cross entropy of each class, times
//! `alpha` or `1 - alpha` and a power of how wrong the logit is.

use burn::tensor::{Int, Tensor, activation};
use serde::Deserialize;

use super::{
    AvgFactor, ClassLoss, ClassTarget, Loss, Losses, Reduce, Reduction, entropy, only_sigmoid,
    power, rows_of, zero,
};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::limits::Channels;
use crate::ops::focal::{Focal, focal};

/// The keys of `type='FocalLoss'`.
#[derive(Debug, Deserialize)]
struct FocalConfig {
    use_sigmoid: Option<bool>,
    gamma: Option<f64>,
    alpha: Option<f64>,
    activated: Option<bool>,
    num_classes: Option<Channels>,
}

/// The focal loss.
#[derive(Clone, Debug)]
pub struct FocalLoss {
    /// The power of how wrong a logit is.
    pub gamma: f64,
    /// The factor of what is to be found; `1 - alpha` is that of the rest.
    pub alpha: f64,
    /// Whether probabilities come in, not logits.
    pub activated: bool,
    /// Classes of `FocalCustomLoss`, which has its own say on logits (V3Det).
    pub custom: Option<usize>,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl Default for FocalLoss {
    fn default() -> Self {
        Self {
            gamma: 2.0,
            alpha: 0.25,
            activated: false,
            custom: None,
            reduce: Reduce::default(),
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: FocalConfig = node.read_knowing(Reduce::KEYS)?;
    if config.num_classes.is_some() {
        let message = "`FocalLoss` has no `num_classes`";
        let help = "leave it out, or write type='FocalCustomLoss'";
        return Err(error_at(node, "num_classes", message, help));
    }
    of(node, config)
}

pub(super) fn build_custom(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let mut config: FocalConfig = node.read_knowing(Reduce::KEYS)?;
    if config.num_classes.is_none() {
        let message = "`FocalCustomLoss` asks for `num_classes`";
        return Err(error_at(node, "num_classes", message, ""));
    }
    config.activated = None; // which the original reads, and leaves aside
    of(node, config)
}

fn of(node: &Node, config: FocalConfig) -> Result<Loss, Diagnostics> {
    only_sigmoid(node, config.use_sigmoid)?;
    let default = FocalLoss::default();
    Ok(Loss::Class(Box::new(FocalLoss {
        gamma: config.gamma.unwrap_or(default.gamma),
        alpha: config.alpha.unwrap_or(default.alpha),
        activated: config.activated.unwrap_or(default.activated),
        custom: config.num_classes.map(Channels::get),
        reduce: Reduce::read(node)?,
    })))
}

impl FocalLoss {
    fn elements(&self, pred: Tensor<2>, target: ClassTarget) -> Tensor<2> {
        let shares = target.shares(pred.dims()[1]);
        let factor = shares.clone() * (2.0 * self.alpha - 1.0) + (1.0 - self.alpha);
        let share = if self.activated {
            pred.clone()
        } else {
            activation::sigmoid(pred.clone())
        };
        let wrong = (-share.clone() + 1.0) * shares.clone() + share * (-shares.clone() + 1.0);
        entropy(pred, shares, self.activated) * factor * power(wrong, self.gamma)
    }

    /// The sum over logits of this shape, as one operation; `None` where that is not to be had.
    fn sum<const D: usize>(
        &self,
        logits: &Tensor<D>,
        [pictures, per_cell, classes, cells]: [usize; 4],
        labels: &Tensor<1, Int>,
        weight: Option<&Tensor<1>>,
    ) -> Option<Tensor<1>> {
        let of = Focal {
            pictures,
            per_cell,
            classes,
            cells,
            gamma: self.gamma as f32,
            alpha: self.alpha as f32,
        };
        if self.activated {
            return None;
        }
        focal(logits, labels, weight, of)
    }
}

impl ClassLoss for FocalLoss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let dims @ [rows, classes] = logits.dims();
        if let ClassTarget::Labels(labels) = &target {
            let shape = [rows, 1, classes, 1];
            if let Some(sum) = self.sum(&logits, shape, labels, weight.as_ref()) {
                return self.reduce.of_sum(sum, rows * classes, avg_factor);
            }
        }
        let weight = weight.map(|w| w.unsqueeze_dim::<2>(1).expand(dims));
        self.reduce
            .of(self.elements(logits, target), weight, avg_factor)
    }

    fn of_maps(
        &self,
        maps: &[&Tensor<4>],
        channels: usize,
        labels: Tensor<1, Int>,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let (mut first, mut elements) = (0, 0);
        let mut sums: Option<Tensor<1>> = None;
        for map in maps {
            let [n, all, height, width] = map.dims();
            let (per_cell, cells) = (all / channels, height * width);
            let rows = n * per_cell * cells;
            if rows == 0 {
                continue;
            }
            let of_level = labels.clone().narrow(0, first, rows);
            let weight = weight.clone().map(|w| w.narrow(0, first, rows));
            let shape = [n, per_cell, channels, cells];
            let sum = match self.sum(*map, shape, &of_level, weight.as_ref()) {
                Some(sum) => sum,
                None => {
                    let logits = rows_of(map, channels);
                    let loss = self.elements(logits, ClassTarget::Labels(of_level));
                    match weight {
                        Some(weight) => (loss * weight.unsqueeze_dim::<2>(1)).sum(),
                        None => loss.sum(),
                    }
                }
            };
            first += rows;
            elements += rows * channels;
            sums = Some(match sums {
                Some(sums) => sums + sum,
                None => sum,
            });
        }
        let sum = sums.unwrap_or_else(|| zero(&labels.device()));
        self.reduce.of_sum(sum, elements.max(1), avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn channels(&self) -> Option<usize> {
        self.custom
    }

    fn scores(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        let of_classes = logits.narrow(1, 0, self.custom?);
        Some(activation::sigmoid(of_classes))
    }

    fn accuracy(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Losses {
        super::class_accuracy(self.custom, logits, labels)
    }
}
