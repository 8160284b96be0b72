//! Adagrad (Duchi et al. 2011, JMLR 12), as PyTorch has it.

use burn::tensor::Tensor;

use super::{Bounded, Kept, Optimizer, Settings, read, slope};
use crate::config::{Diagnostics, Node};

/// Adagrad.
#[derive(Debug)]
pub struct Adagrad {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let numbers = [
        ("lr", 1e-2),
        ("lr_decay", 0.0),
        ("eps", 1e-10),
        ("weight_decay", 0.0),
        ("initial_accumulator_value", 0.0),
    ];
    let numbers = numbers.map(|(name, number)| (name, number, 0.0..=f64::INFINITY));
    let defaults = read(node, &numbers, &[], &["maximize"])?;
    Ok(Box::new(Adagrad { defaults }))
}

impl Optimizer for Adagrad {
    fn name(&self) -> &'static str {
        "Adagrad"
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
        let [lr, decay, eps] = ["lr", "lr_decay", "eps"].map(|name| settings.known(name));
        let lr = lr / (1.0 + (kept.steps as f64 - 1.0) * decay);
        let slope = slope(settings, &value, gradient);
        let first = match kept.has("sum") {
            true => 0.0,
            false => settings.known("initial_accumulator_value"),
        };
        let [sum] = kept.tensors(&["sum"], &value) else {
            panic!("one was asked for");
        };
        *sum = sum.clone() + first + slope.clone().square();
        value - slope / (sum.clone().sqrt() + eps) * lr
    }
}
