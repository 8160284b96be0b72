//! Rprop (Riedmiller and Braun 1993, ICNN), as PyTorch has it: steps grow while a gradient keeps its sign, and shrink where it turns.

use burn::tensor::Tensor;

use super::{Bounded, Kept, Optimizer, Settings, read};
use crate::config::{Diagnostics, Node, error_at};

/// Rprop.
#[derive(Debug)]
pub struct Rprop {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let any = 0.0..=f64::INFINITY;
    let pairs = [
        ("etas", [0.5, 1.2], any.clone()),
        ("step_sizes", [1e-6, 50.0], any.clone()),
    ];
    let defaults = read(node, &[("lr", 1e-2, any)], &pairs, &["maximize"])?;
    let [less, more] = defaults.pair("etas");
    if !(less > 0.0 && less < 1.0 && more > 1.0) {
        let message =
            format!("`etas` are {less} and {more}: the first is below 1, the second above");
        return Err(error_at(node, "etas", message, ""));
    }
    Ok(Box::new(Rprop { defaults }))
}

impl Optimizer for Rprop {
    fn name(&self) -> &'static str {
        "Rprop"
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
        let [less, more] = settings.pair("etas");
        let [least, most] = settings.pair("step_sizes");
        let slope = gradient.into_tensor() * f64::from(super::sign(settings));
        let fresh = !kept.has("step_size");
        let [before, size] = kept.pair(["prev", "step_size"], &value);
        if fresh {
            *size = size.full_like(settings.known("lr"));
        }
        let both = slope.clone() * before.clone();
        let (turned, stays) = (both.clone().lower_elem(0.0), both.greater_elem(0.0));
        let factor = slope.ones_like().mask_fill(stays, more);
        let factor = factor.mask_fill(turned.clone(), less);
        *size = (size.clone() * factor).clamp(least, most);
        *before = slope.mask_fill(turned, 0.0);
        value - before.clone().sign() * size.clone()
    }
}
