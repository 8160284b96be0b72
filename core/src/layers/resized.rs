//! [`Resized`]: position embeddings of a checkpoint that was trained with pictures of another size.

use crate::ops::resize::Interpolation;

/// A learned vector for each place of a map, `[1, extra + height * width, C]`, that a checkpoint may have for a square map of another size
/// (MMPretrain's `_prepare_pos_embed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Vectors before those of places, which stay as they are.
    pub extra: usize,
    /// Height and width.
    pub places: [usize; 2],
    /// How it is resized.
    pub how: Interpolation,
}

impl Resized {
    /// The model's values from a checkpoint's; none if its shape is not one of such an embedding.
    pub(super) fn fit(self, shape: &[usize], values: &[f32], to: &[usize]) -> Option<Vec<f32>> {
        let (&[1, rows, channels], &[_, wanted, same]) = (shape, to) else {
            return None;
        };
        if channels != same || values.len() != rows * channels {
            return None;
        }
        // A class token that the model does without.
        if self.extra == 0 && rows == wanted + 1 {
            return Some(values[channels..].to_vec());
        }
        let side = rows.checked_sub(self.extra)?.isqrt();
        if side == 0 || side * side + self.extra != rows {
            return None;
        }
        let [height, width] = self.places;
        let across = self.how.matrix(side, width, false);
        let down = self.how.matrix(side, height, false);
        let (extra, square) = values.split_at(self.extra * channels);
        let lines = square.chunks_exact(side * channels);
        let wide: Vec<_> = lines.flat_map(|line| mixed(&across, line, side)).collect();
        let places = mixed(&down, &wide, side);
        Some([extra, &places].concat())
    }
}

/// Rows of a matrix times `count` vectors that lie one after another.
fn mixed(matrix: &[f32], vectors: &[f32], count: usize) -> Vec<f32> {
    let width = vectors.len() / count;
    let mut all = Vec::with_capacity(matrix.len() / count * width);
    for weights in matrix.chunks_exact(count) {
        let mut sum = vec![0.0; width];
        let used = weights.iter().zip(vectors.chunks_exact(width));
        for (weight, vector) in used.filter(|(weight, _)| **weight != 0.0) {
            sum.iter_mut()
                .zip(vector)
                .for_each(|(sum, x)| *sum += weight * x);
        }
        all.extend(sum);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_resized_and_tokens_stay() {
        let of = |extra, places| Resized {
            extra,
            places,
            how: Interpolation::Bilinear,
        };
        // One token, and four places of one channel.
        let values = [7.0, 0.0, 1.0, 2.0, 3.0];
        let found = of(1, [1, 3]).fit(&[1, 5, 1], &values, &[1, 4, 1]).unwrap();
        assert_eq!(found, [7.0, 1.0, 1.5, 2.0]);
        let found = of(0, [2, 2]).fit(&[1, 5, 1], &values, &[1, 4, 1]).unwrap();
        assert_eq!(found, values[1..], "without the token");
        assert_eq!(
            of(1, [1, 3]).fit(&[1, 4, 1], &values[..4], &[1, 4, 1]),
            None
        );
        assert_eq!(of(1, [1, 3]).fit(&[1, 5, 1], &values, &[1, 4, 2]), None);
    }
}
