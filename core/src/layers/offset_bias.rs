//! A learned bias for each distance between two places of a map, whatever its direction, and each head (LeViT, Graham et al. 2021,
//! arXiv 2104.01136, section 4.2).

use burn::tensor::Tensor;

use super::{Init, Params, Rows, Weight};

/// Biases of an attention from places of a map, or of every `stride`th, to all.
#[derive(Debug)]
pub struct OffsetBias {
    /// `[heads, height * width]`
    table: Weight<2>,
    size: [usize; 2],
    stride: usize,
    rows: Rows,
}

impl OffsetBias {
    /// The name of the table.
    pub const NAME: &'static str = "attention_biases";

    /// For maps of this height and width. `listed` is whether the state dict has the places' distances.
    pub fn new(heads: usize, size: [usize; 2], stride: usize, listed: bool, at: &Params) -> Self {
        let places = size[0] * size[1];
        let table = at.weight(Self::NAME, [heads, places], Init::Constant(0.0));
        if listed {
            let from = size.map(|side| side.div_ceil(stride));
            let shape = [from[0] * from[1], places];
            at.indices("attention_bias_idxs", &shape, || offsets(size, stride));
        }
        Self {
            table,
            size,
            stride,
            rows: Rows::default(),
        }
    }

    /// # Shapes
    /// - output: `[1, heads, N, M]`, M the places of the map, N those that are asked
    pub fn forward(&self) -> Tensor<4> {
        let table = self.table.get();
        let [heads, places] = table.dims();
        let rows = || offsets(self.size, self.stride);
        let bias = self.rows.gather(table.transpose(), rows);
        let from = bias.dims()[0] / places;
        bias.reshape([1, from, places, heads]).permute([0, 3, 1, 2])
    }
}

/// For each pair of places `|dy| * width + |dx|`.
fn offsets([height, width]: [usize; 2], stride: usize) -> Vec<i64> {
    let mut all = Vec::new();
    for y in (0..height).step_by(stride) {
        for x in (0..width).step_by(stride) {
            for v in 0..height {
                all.extend((0..width).map(|u| (y.abs_diff(v) * width + x.abs_diff(u)) as i64));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_no_direction() {
        assert_eq!(offsets([1, 3], 1), [0, 1, 2, 1, 0, 1, 2, 1, 0]);
        assert_eq!(offsets([1, 3], 2), [0, 1, 2, 2, 1, 0]);
        assert_eq!(offsets([2, 2], 2), [0, 1, 2, 3]);
    }
}
