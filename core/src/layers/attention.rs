//! What transformers are made of: attention of tokens to each other, windows of a map, and biases by how far apart two tokens are.
//!
//! Shapes: q `[B, heads, N, d]`, k and v `[B, heads, M, d]`; maps here have their channels last, `[B, H, W, C]`.

use std::sync::OnceLock;

use burn::tensor::{Int, Tensor, TensorData};

use super::{Dropout, Init, Params, Weight};
use crate::ops::count::product;
use crate::ops::rows::{self, softmax};

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
    let weights = attention_weights(q, k, scale, bias);
    let weights = match drop {
        Some(drop) => drop.forward(weights),
        None => weights,
    };
    product(weights, v)
}

/// How much each token takes of each other: what [`attend`] multiplies the values with.
///
/// # Shapes
/// - output: `[B, heads, N, M]`
pub fn attention_weights(
    q: Tensor<4>,
    k: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    softmax_of_products(q, k, scale, bias, None)
}

/// As [`attention_weights`], with what is added for each window (`[windows, N, M]`) where a batch is of windows, picture by picture.
pub(super) fn softmax_of_products(
    q: Tensor<4>,
    k: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
    mask: Option<Tensor<3>>,
) -> Tensor<4> {
    // There are more scores than numbers of q, but the softmax is a pass over them anyway.
    let (q, scale) = match rows::here(&q) {
        true => (q, scale),
        false => (q * scale, 1.0),
    };
    softmax(product(q, k.swap_dims(2, 3)), scale, bias, mask)
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

/// The pairs of places of a window, and the table that has a row for each distance between two.
#[derive(Debug)]
pub struct Pairs {
    window: [usize; 2],
    rows: Rows,
}

impl Pairs {
    /// For windows of this height and width.
    pub fn new(window: [usize; 2]) -> Self {
        Self {
            window,
            rows: Rows::default(),
        }
    }

    /// Rows of the table.
    pub fn rows(&self) -> usize {
        (2 * self.window[0] - 1) * (2 * self.window[1] - 1)
    }

    /// `[1, heads, N, N]`, N the places of the window, from the table, `[rows, heads]`.
    pub fn gather(&self, table: Tensor<2>) -> Tensor<4> {
        let [_, heads] = table.dims();
        let n = self.window[0] * self.window[1];
        let bias = self.rows.gather(table, || window_distances(self.window));
        bias.reshape([1, n, n, heads]).permute([0, 3, 1, 2])
    }

    /// Each row's distance on a scale of logarithms (Swin V2, Liu et al. 2022, arXiv 2111.09883, section 3.3), in units of the window that a
    /// model was trained with: down, then to the right, from -1 to 1 within it, nearly.
    pub fn logarithms(&self, trained: [usize; 2]) -> Vec<f32> {
        self.distances(|axis, distance| match distance {
            0 => 0.0, // in windows of one place, too, whose side less one is 0
            _ => {
                let x = distance as f32 / (trained[axis] as f32 - 1.0) * 8.0;
                x.signum() * (x.abs() + 1.0).log2() / 8f32.log2()
            }
        })
    }

    /// What `of` makes of each row's distance down, which is axis 0, then of that to the right.
    pub fn distances(&self, of: impl Fn(usize, i64) -> f32) -> Vec<f32> {
        let [h, w] = self.window.map(|side| side as i64);
        let all = (1 - h..h).flat_map(|y| (1 - w..w).map(move |x| [y, x]));
        all.flat_map(|[y, x]| [of(0, y), of(1, x)]).collect()
    }
}

/// A learned bias for each distance between two places of a window and each head (Swin, Liu et al. 2021, arXiv 2103.14030, section 3.2).
#[derive(Debug)]
pub struct RelativePositionBias {
    /// `[(2 * height - 1) * (2 * width - 1), heads]`
    table: Weight<2>,
    pairs: Pairs,
}

impl RelativePositionBias {
    /// The table, `name` in the state dict.
    pub fn new(name: &str, window: [usize; 2], heads: usize, init: Init, at: &Params) -> Self {
        let pairs = Pairs::new(window);
        Self {
            table: at.weight(name, [pairs.rows(), heads], init),
            pairs,
        }
    }

    /// # Shapes
    /// - output: `[1, heads, N, N]`, N the places of the window
    pub fn forward(&self) -> Tensor<4> {
        self.pairs.gather(self.table.get())
    }
}

/// Rows of a table that are the same each time, on the device of the table that was first asked for.
#[derive(Debug, Default)]
pub struct Rows(OnceLock<Tensor<1, Int>>);

impl Rows {
    /// `[rows.len(), C]` from `[R, C]`.
    pub fn gather(&self, table: Tensor<2>, rows: impl FnOnce() -> Vec<i64>) -> Tensor<2> {
        let rows = self.0.get_or_init(|| index(&rows(), &table));
        table.select(0, rows.clone())
    }
}

/// The rows of a table, `[rows.len(), C]` from `[R, C]`.
pub fn gather_rows(table: Tensor<2>, rows: &[i64]) -> Tensor<2> {
    let rows = index(rows, &table);
    table.select(0, rows)
}

/// Numbers of rows on the device of `table`.
fn index(rows: &[i64], table: &Tensor<2>) -> Tensor<1, Int> {
    let device = table.device().without_autodiff();
    let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), &device)
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
    fn distances_on_a_scale_of_logarithms() {
        let pairs = Pairs::new([1, 2]);
        assert_eq!(pairs.rows(), 3);
        // log2(8 + 1) / log2(8)
        let end = 9f32.log2() / 3.0;
        assert_eq!(pairs.logarithms([1, 2]), [0.0, -end, 0.0, 0.0, 0.0, end]);
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
