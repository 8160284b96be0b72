//! [`max_pool2d`]: `smalti-cpu`'s on the CPU, burn's elsewhere and where gradients are recorded.
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C, H', W']`, `H' = (H + 2 * padding - kernel) / stride + 1`.

use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Tensor, TensorData, module};
use smalti_cpu::Picture;

use super::conv::cpu::{on_cpu, slice};

/// The largest number of each `kernel` x `kernel` window.
pub fn max_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    let [pictures, channels, height, width] = x.dims();
    let side = |size: usize| Some((size + 2 * padding).checked_sub(kernel)? / stride + 1);
    let size = side(height).zip(side(width));
    if let (Some((down, across)), Some(values), false) = (size, on_cpu(&x), x.dims().contains(&0)) {
        let mut y = vec![0.0; pictures * channels * down * across];
        let each = y.len() / pictures;
        let planes = slice(&values).chunks_exact(channels * height * width);
        for (values, y) in planes.zip(y.chunks_exact_mut(each)) {
            let picture = Picture {
                values,
                size: [height, width],
                padding: [(padding, padding); 2],
            };
            smalti_cpu::max_pool(picture, kernel, stride, y);
        }
        let data = TensorData::new(y, [pictures, channels, down, across]);
        return Tensor::from_data(data, &x.device());
    }
    let options = MaxPoolOptions::new([kernel; 2])
        .with_stride([stride; 2])
        .with_padding([padding; 2]);
    module::max_pool2d(x, options)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn as_burn_s() {
        let device = Device::flex();
        for (kernel, stride, padding) in [(3, 2, 1), (1, 2, 0), (5, 1, 2), (13, 1, 6), (2, 3, 0)] {
            let x = Tensor::<4>::random([2, 3, 14, 21], Distribution::Default, &device);
            let options = MaxPoolOptions::new([kernel; 2])
                .with_stride([stride; 2])
                .with_padding([padding; 2]);
            let expected = module::max_pool2d(x.clone(), options);
            // As a view in another order.
            let view = x.clone().swap_dims(2, 3).swap_dims(2, 3);
            let found = max_pool2d(view, kernel, stride, padding);
            found.into_data().assert_eq(&expected.into_data(), true);
        }
    }
}
