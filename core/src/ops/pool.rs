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

/// The means of `height` x `width` parts of each map, which overlap where they do not divide it (PyTorch's `AdaptiveAvgPool2d`). Two products with
/// matrices, so that gradients go through on every device.
pub fn adaptive_avg_pool2d(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let device = x.device().without_autodiff();
    let matrix = |from: usize, to: usize| -> Tensor<2> {
        let mut matrix = vec![0.0; from * to];
        for (i, row) in matrix.chunks_mut(from).enumerate() {
            let part = i * from / to..((i + 1) * from).div_ceil(to);
            let share = 1.0 / part.len() as f32;
            row[part].fill(share);
        }
        Tensor::from_data(TensorData::new(matrix, [to, from]), &device)
    };
    let x = x
        .reshape([n * c * h, w])
        .matmul(matrix(w, width).transpose());
    let x = x.reshape([n * c, h, width]);
    let x = matrix(h, height).unsqueeze::<3>().matmul(x);
    x.reshape([n, c, height, width])
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

    #[test]
    fn parts_of_a_map() {
        let device = Device::flex();
        let x = Tensor::<4>::random([2, 3, 9, 4], Distribution::Default, &device);
        for size in [[7, 7], [3, 2], [1, 1], [9, 4]] {
            let expected = module::adaptive_avg_pool2d(x.clone(), size).into_data();
            let found = adaptive_avg_pool2d(x.clone(), size).into_data();
            found.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::absolute(1e-5));
        }
    }
}
