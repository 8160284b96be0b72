//! What transformers are made of: attention of tokens to each other, windows of a map, and biases by how far apart two tokens are.
//!
//! Shapes: q `[B, heads, N, d]`, k and v `[B, heads, M, d]`; maps here have their channels last, `[B, H, W, C]`.

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::{Dropout, Init, Params, Weight};
use crate::ops::count::counted;

/// Scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.1): `softmax(scale * q k^T + bias) v`.
///
/// # Shapes
/// - bias: `[B or 1, heads or 1, N, M]`
/// - output: `[B, heads, N, d of v]`
pub fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    attend_without(q, k, v, scale, bias, &None)
}

/// As [`attend`], without some of the weights while learning.
pub fn attend_without(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
    drop: &Option<Dropout>,
) -> Tensor<4> {
    let ([b, heads, n, d], [_, _, m, of_v]) = (q.dims(), v.dims());
    if counted(|| b * heads * n * m * (d + of_v)) {
        return Tensor::zeros([b, heads, n, of_v], &q.device());
    }
    let scores = (q * scale).matmul(k.swap_dims(2, 3));
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    let weights = activation::softmax(scores, 3);
    let weights = match drop {
        Some(drop) => drop.forward(weights),
        None => weights,
    };
    weights.matmul(v)
}

/// A product of matrices, counted where products are.
///
/// # Shapes
/// - inputs `[B, heads, N, d]` and `[B, heads, d, M]`, output `[B, heads, N, M]`
pub fn product(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    let ([n, heads, rows, d], [_, _, _, columns]) = (a.dims(), b.dims());
    if counted(|| n * heads * rows * d * columns) {
        return Tensor::zeros([n, heads, rows, columns], &a.device());
    }
    a.matmul(b)
}

/// The three of `qkv`, which has them one after another along its channels, each as heads.
///
/// # Shapes
/// - input `[B, N, 3 * heads * d]`, outputs `[B, heads, N, d]`
pub fn split_qkv(qkv: Tensor<3>, heads: usize) -> [Tensor<4>; 3] {
    let [b, n, c] = qkv.dims();
    let d = c / 3 / heads;
    let qkv = qkv.reshape([b, n, 3, heads, d]).permute([2, 0, 3, 1, 4]);
    [0, 1, 2].map(|i| qkv.clone().narrow(0, i, 1).reshape([b, heads, n, d]))
}

/// Tokens with heads, `[B, heads, N, d]`, from `[B, N, heads * d]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, n, c] = x.dims();
    x.reshape([b, n, heads, c / heads]).swap_dims(1, 2)
}

/// Tokens, `[B, N, heads * d]`, from `[B, heads, N, d]`.
pub fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [b, heads, n, d] = x.dims();
    x.swap_dims(1, 2).reshape([b, n, heads * d])
}

/// Tokens of a map, row by row: `[N, H * W, C]` from `[N, C, H, W]`.
pub fn tokens_from_map(x: Tensor<4>) -> Tensor<3> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).swap_dims(1, 2)
}

/// The map of tokens: `[N, C, H, W]` from `[N, H * W, C]`.
pub fn map_from_tokens(x: Tensor<3>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [n, _, c] = x.dims();
    x.swap_dims(1, 2).reshape([n, c, h, w])
}

/// A map with its channels last cut into windows, row by row.
///
/// # Shapes
/// - input `[B, H, W, C]`, multiples of the window; output `[B * windows, height * width, C]`
pub fn windows(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<3> {
    let [b, h, w, c] = x.dims();
    let (down, across) = (h / height, w / width);
    x.reshape([b, down, height, across, width, c])
        .swap_dims(2, 3)
        .reshape([b * down * across, height * width, c])
}

/// What [`windows`] cut, `[B, H, W, C]` with the given height and width.
pub fn join_windows(x: Tensor<3>, [height, width]: [usize; 2], [h, w]: [usize; 2]) -> Tensor<4> {
    let (down, across) = (h / height, w / width);
    let [n, _, c] = x.dims();
    let b = n / (down * across);
    x.reshape([b, down, across, height, width, c])
        .swap_dims(2, 3)
        .reshape([b, h, w, c])
}

/// For each pair of places of a window the row of a table that has an entry for each distance between them, as Swin counts them:
/// `(dy + height - 1) * (2 * width - 1) + dx + width - 1`. `[height * width]` squared, row by row.
pub fn window_distances([height, width]: [usize; 2]) -> Vec<i64> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let of = |(y, x): (usize, usize)| {
        (0..height).flat_map(move |v| {
            let down = y + height - 1 - v;
            (0..width).map(move |u| (down * (2 * width - 1) + x + width - 1 - u) as i64)
        })
    };
    places.flat_map(of).collect()
}

/// A learned bias for each distance between two places of a window and each head (Swin, Liu et al. 2021, arXiv 2103.14030, section 3.2).
#[derive(Debug)]
pub struct RelativePositionBias {
    /// `[(2 * height - 1) * (2 * width - 1), heads]`
    table: Weight<2>,
    window: [usize; 2],
}

impl RelativePositionBias {
    /// The table, `name` in the state dict.
    pub fn new(name: &str, window: [usize; 2], heads: usize, init: Init, at: &Params) -> Self {
        let rows = (2 * window[0] - 1) * (2 * window[1] - 1);
        Self {
            table: at.weight(name, [rows, heads], init),
            window,
        }
    }

    /// # Shapes
    /// - output: `[1, heads, N, N]`, N the places of the window
    pub fn forward(&self) -> Tensor<4> {
        let table = self.table.get();
        let [_, heads] = table.dims();
        let n = self.window[0] * self.window[1];
        let bias = gather_rows(table, &window_distances(self.window));
        bias.reshape([1, n, n, heads]).permute([0, 3, 1, 2])
    }
}

/// The rows of a table, `[rows.len(), C]` from `[R, C]`.
pub fn gather_rows(table: Tensor<2>, rows: &[i64]) -> Tensor<2> {
    let device = table.device().without_autodiff();
    let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
    table.select(0, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn counting<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn windows_are_cut_row_by_row_and_joined_again() {
        let x = counting([1, 2, 6, 1]);
        let cut = windows(x.clone(), [2, 3]);
        assert_eq!(cut.dims(), [2, 6, 1]);
        let expected = [0.0, 1.0, 2.0, 6.0, 7.0, 8.0, 3.0, 4.0, 5.0, 9.0, 10.0, 11.0];
        assert_eq!(numbers(cut.clone()), expected);
        assert_eq!(numbers(join_windows(cut, [2, 3], [2, 6])), numbers(x));
        let x = counting([2, 4, 6, 3]);
        let back = join_windows(windows(x.clone(), [2, 2]), [2, 2], [4, 6]);
        assert_eq!(numbers(back), numbers(x));
    }

    #[test]
    fn distances_are_swins() {
        // Two places side by side: the distances 0 and -1, then 1 and 0.
        assert_eq!(window_distances([1, 2]), [1, 0, 2, 1]);
        let four = [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4];
        assert_eq!(window_distances([2, 2]), four);
    }

    #[test]
    fn heads_are_split_and_joined() {
        let x = counting([1, 2, 12]);
        let [q, k, v] = split_qkv(x, 2);
        assert_eq!(
            numbers(q.clone()),
            [0.0, 1.0, 12.0, 13.0, 2.0, 3.0, 14.0, 15.0]
        );
        assert_eq!(numbers(k)[0], 4.0);
        assert_eq!(numbers(v)[0], 8.0);
        let joined = join_heads(q.clone());
        assert_eq!(numbers(joined.clone())[..4], [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(numbers(split_heads(joined, 2)), numbers(q));
    }

    #[test]
    fn attention_by_hand() {
        let device = Device::flex();
        let q = Tensor::<4>::from_floats([[[[1.0], [0.0]]]], &device);
        let k = Tensor::<4>::from_floats([[[[3f32.ln()], [0.0]]]], &device);
        let v = Tensor::<4>::from_floats([[[[4.0, 0.0], [0.0, 8.0]]]], &device);
        let y = numbers(attend(q, k, v, 1.0, None));
        // Weights (3/4, 1/4) and (1/2, 1/2).
        for (found, expected) in y.iter().zip([3.0, 2.0, 2.0, 4.0]) {
            assert!((found - expected).abs() < 1e-6, "{y:?}");
        }
    }
}
