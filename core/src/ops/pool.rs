//! [`max_pool2d`]: `smalti-cpu`'s on the CPU, burn's elsewhere and where gradients are recorded.
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C, H', W']`, `H' = (H + 2 * padding - kernel) / stride + 1`.

use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Int, Tensor, TensorData, module};
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

/// The largest number of each of `height` x `width` windows that cover the map (`torch.nn.functional.adaptive_max_pool2d`).
pub fn adaptive_max_pool2d(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    if [h, w] == [height, width] {
        return x;
    }
    if h == w * height / width.max(1) && h.is_multiple_of(height) && w == h / height * width {
        let side = h / height;
        return max_pool2d(x, side, side, 0);
    }
    let x = largest_along(x, 2, height);
    largest_along(x, 3, width)
}

/// The same along one axis. Windows that are shorter than the longest one have their last place more than once.
fn largest_along(x: Tensor<4>, axis: usize, to: usize) -> Tensor<4> {
    let from = x.dims()[axis];
    if from == to {
        return x;
    }
    let ends = |i: usize| (i * from / to, ((i + 1) * from).div_ceil(to));
    let longest = (0..to).map(|i| ends(i).1 - ends(i).0).max().unwrap_or(0);
    let mut largest: Option<Tensor<4>> = None;
    for step in 0..longest {
        let place = |i: usize| (ends(i).0 + step).min(ends(i).1 - 1) as i32;
        let places: Vec<i32> = (0..to).map(place).collect();
        let places = TensorData::new(places, [to]);
        let places = Tensor::<1, Int>::from_data(places, &x.device().without_autodiff());
        let seen = x.clone().select(axis, places);
        largest = Some(match largest {
            // Where both are equal the first one counts: a place that is seen twice has its gradient once.
            Some(largest) => {
                let more = seen.clone().greater(largest.clone());
                largest.mask_where(more, seen)
            }
            None => seen,
        });
    }
    largest.unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// `torch.nn.functional.adaptive_max_pool2d` has these windows: 5 as 0..2, 1..4, 3..5; 4 as 0..2, 2..4.
    #[test]
    fn windows_cover_the_map() {
        let device = Device::flex();
        let numbers: Vec<f32> = (0..20).map(|v| ((v * 7) % 20) as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(numbers, [1, 1, 5, 4]), &device);
        let found = adaptive_max_pool2d(x.clone(), [3, 2]);
        let found: Vec<f32> = found.into_data().try_into_vec().unwrap();
        let rows = [0..2, 1..4, 3..5];
        let at = |r: usize, c: usize| ((r * 4 + c) * 7 % 20) as f32;
        let mut expected = Vec::new();
        for rows in rows {
            for columns in [0..2, 2..4] {
                let all = rows
                    .clone()
                    .flat_map(|r| columns.clone().map(move |c| at(r, c)));
                expected.push(all.fold(0.0, f32::max));
            }
        }
        assert_eq!(found, expected);
        assert_eq!(adaptive_max_pool2d(x, [5, 4]).dims(), [1, 1, 5, 4]);
    }

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
