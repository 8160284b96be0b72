//! RAdam (Liu et al. 2019, arXiv 1908.03265), as PyTorch has it: Adam, but for the first steps, of which the variance says too little.

use burn::tensor::Tensor;

use super::{Bounded, Kept, Optimizer, Settings, read, slope};
use crate::config::{Diagnostics, Node};

/// RAdam.
#[derive(Debug)]
pub struct RAdam {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let numbers = [("lr", 1e-3), ("eps", 1e-8), ("weight_decay", 0.0)];
    let numbers = numbers.map(|(name, number)| (name, number, 0.0..=f64::INFINITY));
    let betas = ("betas", [0.9, 0.999], 0.0..=1.0f64.next_down());
    let flags = ["maximize", "decoupled_weight_decay"];
    let defaults = read(node, &numbers, &[betas], &flags)?;
    Ok(Box::new(RAdam { defaults }))
}

impl Optimizer for RAdam {
    fn name(&self) -> &'static str {
        "RAdam"
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
        let steps = kept.steps as f64;
        let (value, slope) = match settings.known("decoupled_weight_decay") != 0.0 {
            true => {
                let keep = 1.0 - lr * settings.known("weight_decay");
                (
                    value * keep,
                    gradient.into_tensor() * f64::from(super::sign(settings)),
                )
            }
            false => {
                let slope = slope(settings, &value, gradient);
                (value, slope)
            }
        };
        let [mean, square] = kept.pair(["exp_avg", "exp_avg_sq"], &value);
        *mean = mean.clone() + (slope.clone() - mean.clone()) * (1.0 - first);
        *square = square.clone() * second + slope.square() * (1.0 - second);
        let left = second.powf(steps);
        let step = mean.clone() * (lr / (1.0 - first.powf(steps)));
        // The length of the average, and what it comes to.
        let longest = 2.0 / (1.0 - second) - 1.0;
        let length = longest - 2.0 * steps * left / (1.0 - left);
        if length <= 5.0 {
            return value - step;
        }
        let rectified = (length - 4.0) * (length - 2.0) * longest
            / ((longest - 4.0) * (longest - 2.0) * length);
        let factor = (rectified * (1.0 - left)).sqrt();
        value - step / (square.clone().sqrt() + eps) * factor
    }
}
