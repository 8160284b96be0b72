//! Adadelta (Zeiler 2012, arXiv 1212.5701), as PyTorch has it.

use burn::tensor::Tensor;

use super::{Bounded, Kept, Optimizer, Settings, read, slope};
use crate::config::{Diagnostics, Node};

/// Adadelta.
#[derive(Debug)]
pub struct Adadelta {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let defaults = read(
        node,
        &[
            ("lr", 1.0, 0.0..=f64::INFINITY),
            ("rho", 0.9, 0.0..=1.0),
            ("eps", 1e-6, 0.0..=f64::INFINITY),
            ("weight_decay", 0.0, 0.0..=f64::INFINITY),
        ],
        &[],
        &["maximize"],
    )?;
    Ok(Box::new(Adadelta { defaults }))
}

impl Optimizer for Adadelta {
    fn name(&self) -> &'static str {
        "Adadelta"
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
        let [lr, rho, eps] = ["lr", "rho", "eps"].map(|name| settings.known(name));
        let slope = slope(settings, &value, gradient);
        let [square, moved] = kept.pair(["square_avg", "acc_delta"], &value);
        *square = square.clone() * rho + slope.clone().square() * (1.0 - rho);
        let step = (moved.clone() + eps).sqrt() / (square.clone() + eps).sqrt() * slope;
        *moved = moved.clone() * rho + step.clone().square() * (1.0 - rho);
        value - step * lr
    }
}
