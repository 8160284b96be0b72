//! Blur pooling (Zhang 2019, arXiv 1904.11486): a binomial filter of 3x3 before numbers are left out, so that what comes out moves with the
//! picture.
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C, ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use super::{Params, Weight};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// What filters each channel by itself. It has nothing in the state dict.
#[derive(Debug)]
pub struct BlurPool {
    filter: Weight<4>,
    stride: usize,
}

impl BlurPool {
    /// `params` tells the device.
    pub fn new(channels: usize, stride: usize, params: &Params) -> Self {
        let line = [0.25, 0.5, 0.25];
        let filter = line.iter().flat_map(|down| line.map(|right| down * right));
        let filter: Vec<f32> = filter.collect();
        Self {
            filter: params.upload(filter.repeat(channels), [channels, 1, 3, 3]),
            stride,
        }
    }

    /// # Shapes
    /// - input: `[N, C, H, W]`
    /// - output: `[N, C, ceil(H / stride), ceil(W / stride)]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = x.dims();
        // A single row or column has no other to reflect.
        let x = match height.min(width) {
            0 | 1 => x.pad([(1, 1), (1, 1)], PadMode::Edge),
            _ => x.pad([(1, 1), (1, 1)], PadMode::Reflect),
        };
        let shape = ConvShape {
            stride: [self.stride; 2],
            padding: [(0, 0); 2],
            dilation: [1; 2],
            groups: channels,
            precision: self.filter.precision(),
        };
        conv2d(x, &self.filter, &shape, Finish::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;
    use burn::tensor::Device;

    #[test]
    fn values_by_hand() {
        let device = Device::flex();
        let blur = |stride| BlurPool::new(1, stride, &Params::new(&device, Mode::Fixed, None));
        let x = Tensor::<4>::from_floats([[[[4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]], &device);
        let run = |stride, x: &Tensor<4>| -> Vec<f32> {
            let y = blur(stride).forward(x.clone());
            y.into_data().try_into_vec().unwrap()
        };
        // Down 4, 0 reflects to 0, 4, 0 (half is left) and 4, 0, 4 (half); across the same.
        assert_eq!(run(1, &x), [1.0, 0.5, 0.0, 1.0, 0.5, 0.0]);
        assert_eq!(run(2, &x), [1.0, 0.0]);
        let one = Tensor::<4>::ones([1, 1, 1, 1], &device);
        assert_eq!(run(2, &one), [1.0]);
    }
}
