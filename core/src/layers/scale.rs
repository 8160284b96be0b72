//! [`Scale`]: one learned factor for a whole map.

use burn::tensor::Tensor;

use super::{Init, Params, Weight};

/// mmcv's `Scale`: multiplies by one number.
#[derive(Debug)]
pub struct Scale {
    scale: Weight<1>,
}

impl Scale {
    /// Its tensor, `scale` without dimensions, is below `at`.
    pub fn new(at: &Params) -> Self {
        Self {
            scale: at.number("scale", Init::Constant(1.0)),
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        x * self.scale.get().reshape([1, 1, 1, 1])
    }
}
