//! [`Scale`]: one learned factor for a whole map.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Init, Params};

/// mmcv's `Scale`: multiplies by one number.
#[derive(Module, Debug)]
pub struct Scale {
    scale: Param<Tensor<1>>,
}

impl Scale {
    /// Its tensor, `scale` without dimensions, is below `at`.
    pub fn new(at: &Params) -> Self {
        let value = at.values("scale", &[], Init::Constant(1.0));
        Self {
            scale: at.upload(value, [1]),
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        x * self.scale.val().reshape([1, 1, 1, 1])
    }
}
