//! Sines and cosines of each place of a map, projected to its channels (XCiT, El-Nouby et al. 2021, arXiv 2106.09681, section 3.3).
//!
//! Shapes: `[1, C, H, W]`.

use std::f32::consts::TAU;

use burn::tensor::{Tensor, TensorData};

use crate::layers::{ConvConfig, ConvNormAct, Params};

/// Wavelengths of each axis, a sine and a cosine of half as many.
const WAVES: usize = 32;
const TEMPERATURE: f32 = 10_000.0;

/// What is added to a map to tell its places apart.
#[derive(Debug)]
pub(super) struct FourierPositions {
    projection: ConvNormAct,
}

impl FourierPositions {
    /// The projection's tensors are at `at`.
    pub fn new(channels: usize, at: &Params) -> Self {
        Self {
            projection: ConvConfig::new(2 * WAVES, channels, 1).init(at, None),
        }
    }

    /// That of a map of the given size, where `like` is.
    pub fn forward(&self, [h, w]: [usize; 2], like: &Tensor<4>) -> Tensor<4> {
        let axis = |size: usize| (0..size).map(move |i| waves(i, size)).collect::<Vec<_>>();
        let (rows, columns) = (axis(h), axis(w));
        let mut values = Vec::with_capacity(2 * WAVES * h * w);
        for k in 0..WAVES {
            values.extend(rows.iter().flat_map(|row| std::iter::repeat_n(row[k], w)));
        }
        for k in 0..WAVES {
            values.extend((0..h).flat_map(|_| columns.iter().map(|column| column[k])));
        }
        let data = TensorData::new(values, [1, 2 * WAVES, h, w]);
        let device = like.device().without_autodiff();
        self.projection.forward(Tensor::from_data(data, &device))
    }
}

/// Sines and cosines of the place `i` of `size` along an axis.
fn waves(i: usize, size: usize) -> [f32; WAVES] {
    let place = (i as f32 + 1.0) / (size as f32 + 1e-6) * TAU;
    std::array::from_fn(|k| {
        let angle = place / TEMPERATURE.powf(2.0 * (k / 2) as f32 / WAVES as f32);
        if k % 2 == 0 { angle.sin() } else { angle.cos() }
    })
}
