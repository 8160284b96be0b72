//! Adamax, Adam by the largest gradient (Kingma and Ba 2014, arXiv 1412.6980, section 7.1), as PyTorch has it.

use burn::tensor::Tensor;

use super::{Bounded, Kept, Optimizer, Settings, read, slope};
use crate::config::{Diagnostics, Node};

/// Adamax.
#[derive(Debug)]
pub struct Adamax {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let numbers = [("lr", 2e-3), ("eps", 1e-8), ("weight_decay", 0.0)];
    let numbers = numbers.map(|(name, number)| (name, number, 0.0..=f64::INFINITY));
    let betas = ("betas", [0.9, 0.999], 0.0..=1.0f64.next_down());
    let defaults = read(node, &numbers, &[betas], &["maximize"])?;
    Ok(Box::new(Adamax { defaults }))
}

impl Optimizer for Adamax {
    fn name(&self) -> &'static str {
        "Adamax"
    }

    fn defaults(&self) -> &Settings {
        &self.defaults
    }

    fn counts_steps(&self) -> bool {
        true
    }

    fn step(
        &self,
        settings: &Settings,
        value: Tensor<1>,
        gradient: Bounded,
        kept: &mut Kept,
    ) -> Tensor<1> {
        let [lr, eps] = ["lr", "eps"].map(|name| settings.known(name));
        let [first, second] = settings.betas();
        let lr = lr / (1.0 - first.powf(kept.steps as f64));
        let slope = slope(settings, &value, gradient);
        let [mean, largest] = kept.pair(["exp_avg", "exp_inf"], &value);
        *mean = mean.clone() + (slope.clone() - mean.clone()) * (1.0 - first);
        *largest = (largest.clone() * second).max_pair(slope.abs() + eps);
        value - mean.clone() / largest.clone() * lr
    }
}
