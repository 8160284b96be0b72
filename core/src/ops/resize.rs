//! [`resize`]: maps and position embeddings at another size, as `torch.nn.functional.interpolate` makes them. Two products with matrices, so
//! that gradients go through on every device.
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C, H', W']`.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};

/// Between which pixels, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Linear between two.
    Bilinear,
    /// Cubic convolution of four (Keys 1981, a = -0.75, as PyTorch).
    Bicubic,
}

impl Interpolation {
    /// The name that PyTorch has for it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bilinear" => Some(Self::Bilinear),
            "bicubic" => Some(Self::Bicubic),
            _ => None,
        }
    }

    /// Weights of the pixels from `floor(at) + first` on for a place `at` between pixels; `t` is its distance to `floor(at)`.
    fn weights(self, t: f32) -> (i64, Vec<f32>) {
        const A: f32 = -0.75;
        let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        match self {
            Self::Bilinear => (0, vec![1.0 - t, t]),
            Self::Bicubic => (-1, vec![far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]),
        }
    }

    /// `[to, from]`: what each pixel has of those before.
    pub(crate) fn matrix(self, from: usize, to: usize, align_corners: bool) -> Vec<f32> {
        let mut matrix = vec![0.0; from * to];
        let step = match (align_corners, to) {
            (true, 1) => 0.0,
            (true, _) => (from as f32 - 1.0) / (to as f32 - 1.0),
            (false, _) => from as f32 / to as f32,
        };
        for (i, row) in matrix.chunks_mut(from).enumerate() {
            let mut at = i as f32 * step;
            if !align_corners {
                at = (i as f32 + 0.5) * step - 0.5;
                if self == Self::Bilinear {
                    at = at.max(0.0);
                }
            }
            let (first, weights) = self.weights(at - at.floor());
            for (k, weight) in weights.into_iter().enumerate() {
                let pixel = at.floor() as i64 + first + k as i64;
                row[pixel.clamp(0, from as i64 - 1) as usize] += weight;
            }
        }
        matrix
    }
}

/// `x` at another size, without antialiasing.
pub fn resize(
    x: Tensor<4>,
    [height, width]: [usize; 2],
    how: Interpolation,
    align_corners: bool,
) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    if [h, w] == [height, width] {
        return x;
    }
    let device = x.device().without_autodiff();
    let matrix = |from, to, device: &Device| -> Tensor<2> {
        let values = how.matrix(from, to, align_corners);
        Tensor::from_data(TensorData::new(values, [to, from]), device)
    };
    let across = matrix(w, width, &device).transpose();
    let down = matrix(h, height, &device);
    let x = x.reshape([n * c * h, w]).matmul(across);
    let x = x.reshape([n * c, h, width]);
    let x = down.unsqueeze::<3>().matmul(x);
    x.reshape([n, c, height, width])
}

/// `x` with each pixel as a square of `factor` x `factor` (`mode='nearest'`).
pub fn enlarge(x: Tensor<4>, factor: usize) -> Tensor<4> {
    if factor == 1 {
        return x;
    }
    let [_, _, h, w] = x.dims();
    let options = InterpolateOptions::new(InterpolateMode::Nearest);
    interpolate(x, options.with_output_size([h * factor, w * factor]))
}

/// As [`resize`] of one map that is no tensor yet.
pub(crate) fn resize_values(
    values: &[f32],
    [h, w]: [usize; 2],
    [height, width]: [usize; 2],
    how: Interpolation,
) -> Vec<f32> {
    let [down, across] = [(h, height), (w, width)].map(|(from, to)| how.matrix(from, to, false));
    let dot = |row: &[f32], column: &mut dyn Iterator<Item = f32>| -> f32 {
        row.iter().zip(column).map(|(a, b)| a * b).sum()
    };
    let rows: Vec<f32> = values
        .chunks_exact(w)
        .flat_map(|line| {
            across
                .chunks_exact(w)
                .map(|row| dot(row, &mut line.iter().copied()))
        })
        .collect();
    down.chunks_exact(h)
        .flat_map(|row| {
            let column = |x| (0..h).map(move |y| y * width + x);
            let rows = &rows;
            (0..width).map(move |x| dot(row, &mut column(x).map(|i| rows[i])))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(how: Interpolation, to: usize, align_corners: bool) -> Vec<f32> {
        let device = Device::flex();
        let x = Tensor::<4>::from_floats([[[[0.0, 1.0, 4.0, 9.0]]]], &device);
        let y = resize(x, [1, to], how, align_corners);
        y.into_data().try_into_vec().unwrap()
    }

    /// `torch.nn.functional.interpolate` (2.4.1) of the line 0, 1, 4, 9.
    #[test]
    fn as_pytorchs() {
        use Interpolation::{Bicubic, Bilinear};
        let cases: [(Interpolation, bool, &[f32]); 6] = [
            (
                Bilinear,
                false,
                &[0.0, 0.357143, 0.928571, 2.5, 4.357144, 7.214287, 9.0],
            ),
            (Bilinear, false, &[0.166667, 2.5, 8.166668]),
            (Bilinear, true, &[0.0, 0.6, 1.6, 3.4, 6.0, 9.0]),
            (
                Bicubic,
                false,
                &[
                    -0.099217, 0.156248, 0.804209, 2.125, 4.424657, 7.480775, 9.496081,
                ],
            ),
            (Bicubic, false, &[0.091435, 2.125, 8.334492]),
            (
                Bicubic,
                true,
                &[0.0, 0.288, 1.504002, 3.016003, 6.264003, 9.0],
            ),
        ];
        for (how, align_corners, expected) in cases {
            let found = line(how, expected.len(), align_corners);
            for (a, b) in found.iter().zip(expected) {
                assert!(
                    (a - b).abs() < 1e-5,
                    "{how:?} {align_corners} {found:?} {expected:?}"
                );
            }
        }
    }

    #[test]
    fn values_as_tensors() {
        let values: Vec<f32> = (0..15).map(|i| (i as f32).sin()).collect();
        let x = TensorData::new(values.clone(), [1, 1, 3, 5]);
        let x = Tensor::<4>::from_data(x, &Device::flex());
        let expected = resize(x, [5, 4], Interpolation::Bicubic, false).into_data();
        let expected: Vec<f32> = expected.try_into_vec().unwrap();
        let found = resize_values(&values, [3, 5], [5, 4], Interpolation::Bicubic);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
        }
    }
}
