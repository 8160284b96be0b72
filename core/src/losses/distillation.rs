//! `KnowledgeDistillationKLDivLoss` (Hinton et al. 2015, arXiv 1503.02531; for detectors Zheng et al. 2022, arXiv 2102.12252) as MMDetection
//! 3.3.0 computes it: how far one distribution is from another, both made flatter.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::{AvgFactor, Loss, Reduce, zero};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of `type='KnowledgeDistillationKLDivLoss'`.
#[derive(Debug, Deserialize)]
struct DistillationConfig {
    #[serde(rename = "T")]
    temperature: Option<f64>,
}

/// A loss of two distributions.
#[derive(Clone, Debug)]
pub struct DistillationLoss {
    /// What logits are divided by (`T`).
    pub temperature: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: DistillationConfig = node.read_knowing(Reduce::KEYS)?;
    let temperature = config.temperature.unwrap_or(10.0);
    if temperature < 1.0 || temperature.is_nan() {
        let message = "`T` is a temperature, 1 or more";
        return Err(error_at(node, "T", message, "for example T=10"));
    }
    Ok(Loss::Distillation(DistillationLoss {
        temperature,
        reduce: Reduce::read(node)?,
    }))
}

impl DistillationLoss {
    /// # Shapes
    /// - `logits`, `soft_label`: `[R, M]`; of the second no gradient is taken
    /// - `weight`: `[R]`
    pub fn forward(
        &self,
        logits: Tensor<2>,
        soft_label: Tensor<2>,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if logits.dims()[0] == 0 {
            return zero(&logits.device());
        }
        let flat = |logits: Tensor<2>| activation::log_softmax(logits / self.temperature, 1);
        let wanted = flat(soft_label.detach());
        let loss = wanted.clone().exp() * (wanted - flat(logits));
        let loss = loss.mean_dim(1) * (self.temperature * self.temperature);
        self.reduce.of(loss.squeeze_dim::<1>(1), weight, avg_factor)
    }
}
