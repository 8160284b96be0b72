//! Global response normalisation (Woo et al. 2023, arXiv 2301.00808, section 3): each channel is scaled by its size over the whole map,
//! compared with that of the others.

use burn::tensor::Tensor;

use super::{Init, Params, Weight};

/// Added to the mean size.
const EPS: f64 = 1e-6;
/// Keeps the slope of the square root finite where a channel is zero everywhere.
const LEAST_SQUARE: f64 = 1e-24;

/// GRN: `gamma * x * size / mean(size) + beta + x`.
#[derive(Debug)]
pub struct ResponseNorm {
    gamma: Weight<1>,
    beta: Weight<1>,
}

impl ResponseNorm {
    /// Its two tensors, below `at`; they are 0 at first, so that nothing is done.
    pub fn new([gamma, beta]: [&str; 2], channels: usize, at: &Params) -> Self {
        let zeros = |name| at.weight(name, [channels], Init::Constant(0.0));
        Self {
            gamma: zeros(gamma),
            beta: zeros(beta),
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = |values: Tensor<1>| {
            let [c] = values.dims();
            values.reshape([1, c, 1, 1])
        };
        let squares = x.clone().square().sum_dim(2).sum_dim(3);
        let size = squares.clamp_min(LEAST_SQUARE).sqrt();
        let share = size.clone() / (size.mean_dim(1) + EPS);
        x * (channels(self.gamma.get()) * share + 1.0) + channels(self.beta.get())
    }
}
