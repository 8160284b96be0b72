//! Points, one a cell: `MlvlPointGenerator` of MMDetection 3.3.0.

use burn::tensor::{Device, Int, Tensor};

/// Points of each level, in the middle of their cells or elsewhere in them.
#[derive(Clone, Debug, PartialEq)]
pub struct PointGenerator {
    strides: Vec<[usize; 2]>,
    offset: f32,
}

impl PointGenerator {
    /// `strides` across and down; `offset` is where in its cell a point lies, 0.5 in the middle.
    pub fn new(strides: Vec<[usize; 2]>, offset: f32) -> Self {
        Self { strides, offset }
    }

    /// Pixels between points, across and down, of each level.
    pub fn strides(&self) -> &[[usize; 2]] {
        &self.strides
    }

    /// The points of a map of `level`, row after row: x and y in pixels of the batch.
    pub fn points(&self, level: usize, [height, width]: [usize; 2]) -> Vec<[f32; 2]> {
        let [across, down] = self.strides[level].map(|s| s as f32);
        let at = |cell: usize, stride: f32| (cell as f32 + self.offset) * stride;
        let row = |y| (0..width).map(move |x| [at(x, across), at(y, down)]);
        (0..height).flat_map(row).collect()
    }

    /// The points of a map of `level`: x and y in pixels of the batch.
    ///
    /// # Shapes
    /// - x `[1, 1, 1, W]`, y `[1, 1, H, 1]`
    pub fn grid(
        &self,
        level: usize,
        [height, width]: [usize; 2],
        device: &Device,
    ) -> [Tensor<4>; 2] {
        let [across, down] = self.strides[level];
        let axis = |count: usize, stride: usize| {
            let cells = Tensor::<1, Int>::arange(0..count as i64, device).float();
            (cells + self.offset) * stride as f32
        };
        [
            axis(width, across).reshape([1, 1, 1, width]),
            axis(height, down).reshape([1, 1, height, 1]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_by_hand() {
        let points = PointGenerator::new(vec![[8, 8], [16, 32]], 0.5);
        let [x, y] = points.grid(1, [2, 3], &Device::flex());
        let values = |t: Tensor<4>| t.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!((x.dims(), y.dims()), ([1, 1, 1, 3], [1, 1, 2, 1]));
        assert_eq!(values(x), [8.0, 24.0, 40.0]);
        assert_eq!(values(y), [16.0, 48.0]);
        assert_eq!(points.points(1, [2, 3])[4], [24.0, 48.0]);
    }
}
