//! What is done to rows of numbers: [`softmax`], [`LayerNorm`] (Ba, Kiros and Hinton 2016, arXiv 1607.06450), of rows or of channels, and
//! [`finish_rows`]. A pass over memory each, for rows that fit into the cache.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::curve::{Curve, WithCurve};
use crate::finish::exp;
use crate::sums::{BLOCK, Moments};
use crate::{Act, Instructions};

/// Numbers that are worth a thread's while.
const CHUNK: usize = 1 << 14;
/// Numbers that are added side by side, and become vectors.
const LANES: usize = 16;

/// What is added to the scores of attention before [`softmax`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// `[H, N, M]` of scores that are `[B, H, N, M]`.
    pub of_heads: Option<&'a [f32]>,
    /// `[W, N, M]` of scores that are `[B * W, H, N, M]`.
    pub of_windows: Option<&'a [f32]>,
}

/// Makes each row of attention's scores, `[B, heads, N, M]`, add up to 1: `softmax(x * scale + added)` along the last axis. `shape` is `[heads, N, M]`.
///
/// # Panics
/// If a slice has another length than its shape.
pub fn softmax(x: &mut [f32], shape: [usize; 3], scale: f32, added: Added) {
    softmax_with(x, shape, scale, added, Instructions::widest());
}

/// As [`softmax`], computed with these instructions.
///
/// # Panics
/// As [`softmax`].
pub fn softmax_with(
    x: &mut [f32],
    [heads, rows, length]: [usize; 3],
    scale: f32,
    added: Added,
    instructions: Instructions,
) {
    let plane = rows * length;
    let planes = x.len().checked_div(plane).unwrap_or(0);
    assert_eq!(x.len(), planes * plane, "x is [B, H, N, M]");
    let of_heads = added.of_heads.is_none_or(|a| a.len() == heads * plane);
    let of_windows = added.of_windows.is_none_or(|a| a.len() % plane.max(1) == 0);
    assert!(of_heads && of_windows, "[H, N, M] and [W, N, M] are added");
    if plane == 0 {
        return;
    }
    let windows = added.of_windows.map_or(1, |a| (a.len() / plane).max(1));
    let work = |(i, x): (usize, &mut [f32])| {
        let part = |at: usize| at * plane..(at + 1) * plane;
        let (head, window) = (i % heads.max(1), i / heads.max(1) % windows);
        instructions.0.dispatch(Plane {
            x,
            length,
            scale,
            added: [
                added.of_heads.map(|all| &all[part(head)]),
                added.of_windows.map(|all| &all[part(window)]),
            ],
        });
    };
    let least = CHUNK.div_ceil(plane);
    let planes = x.par_chunks_exact_mut(plane).enumerate();
    planes.with_min_len(least).for_each(work);
}

/// The rows of one head.
struct Plane<'a, 'x> {
    x: &'x mut [f32],
    length: usize,
    scale: f32,
    added: [Option<&'a [f32]>; 2],
}

impl WithSimd for Plane<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (i, row) in self.x.chunks_exact_mut(self.length).enumerate() {
            row.iter_mut().for_each(|v| *v *= self.scale);
            for added in self.added.into_iter().flatten() {
                let added = &added[i * self.length..][..row.len()];
                row.iter_mut().zip(added).for_each(|(v, a)| *v += a);
            }
            let most = largest(row);
            row.iter_mut().for_each(|v| *v = exp(*v - most));
            let share = 1.0 / sum(row, |v| v);
            row.iter_mut().for_each(|v| *v *= share);
        }
    }
}

/// What is no number is passed over: it is seen by the exponential.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, v) in lanes.iter_mut().zip(chunk) {
            *most = if *v > *most { *v } else { *most };
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(
        f32::NEG_INFINITY,
        |most, v| if *v > most { *v } else { most },
    )
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, v) in lanes.iter_mut().zip(chunk) {
            *sum += of(*v);
        }
    }
    for (sum, v) in lanes.iter_mut().zip(rest) {
        *sum += of(*v);
    }
    lanes.iter().sum()
}

/// Adds `bias`, `[C]`, to each row of y, `[N, C]`, and applies `act`: what follows a product of matrices.
///
/// # Panics
/// If y has no whole rows.
pub fn finish_rows(y: &mut [f32], bias: Option<&[f32]>, channels: usize, act: Option<Act>) {
    let channels = channels.max(1);
    assert_eq!(y.len() % channels, 0, "y is [N, C]");
    assert!(
        bias.is_none_or(|bias| bias.len() == channels),
        "a bias is [C]"
    );
    let chunks = y.par_chunks_mut(CHUNK.div_ceil(channels) * channels);
    chunks.for_each(|y| {
        let work = Finished {
            y,
            bias,
            channels,
            act,
        };
        Instructions::widest().0.dispatch(work);
    });
}

struct Finished<'a, 'y> {
    y: &'y mut [f32],
    bias: Option<&'a [f32]>,
    channels: usize,
    act: Option<Act>,
}

impl WithSimd for Finished<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        Act::with(self.act, self);
    }
}

impl WithCurve for Finished<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn by<C: Curve>(self, curve: C) {
        for row in self.y.chunks_exact_mut(self.channels) {
            match self.bias {
                Some(bias) => {
                    let both = row.iter_mut().zip(bias);
                    both.for_each(|(y, bias)| *y = curve.of(*y + bias));
                }
                None => row.iter_mut().for_each(|y| *y = curve.of(*y)),
            }
        }
    }
}

/// Mean 0 and variance 1 for all channels of a place, then a factor and a summand for each.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// `[C]`
    pub weight: &'a [f32],
    /// `[C]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm<'_> {
    /// Of x `[N, C]`, which is made y.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn rows(&self, x: &[f32], y: &mut [f32]) {
        self.rows_with(x, y, Instructions::widest());
    }

    /// As [`LayerNorm::rows`], computed with these instructions.
    ///
    /// # Panics
    /// As [`LayerNorm::rows`].
    pub fn rows_with(&self, x: &[f32], y: &mut [f32], instructions: Instructions) {
        let channels = self.check(x, y);
        let size = CHUNK.div_ceil(channels) * channels;
        let chunks = x.par_chunks(size).zip(y.par_chunks_mut(size));
        chunks.for_each(|(x, y)| instructions.0.dispatch(Rows { norm: *self, x, y }));
    }

    /// Of x `[N, C, P]`, P the places of a map.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn maps(&self, places: usize, x: &[f32], y: &mut [f32]) {
        self.maps_with(places, x, y, Instructions::widest());
    }

    /// As [`LayerNorm::maps`], computed with these instructions.
    ///
    /// # Panics
    /// As [`LayerNorm::maps`].
    pub fn maps_with(&self, places: usize, x: &[f32], y: &mut [f32], instructions: Instructions) {
        let channels = self.check(x, y);
        let plane = channels * places;
        assert_eq!(x.len() % plane.max(1), 0, "x is [N, C, P]");
        if plane == 0 {
            return;
        }
        // Runs of places are parts of every channel: a thread has its own.
        let width = places.div_ceil(places.div_ceil(MAP_BLOCK));
        let pictures = x.chunks_exact(plane).zip(y.chunks_exact_mut(plane));
        let mut work = Vec::new();
        for (x, y) in pictures {
            let blocks = places.div_ceil(width);
            let mut parts: Vec<Vec<&mut [f32]>> = (0..blocks).map(|_| Vec::new()).collect();
            for channel in y.chunks_exact_mut(places) {
                let runs = channel.chunks_mut(width);
                parts
                    .iter_mut()
                    .zip(runs)
                    .for_each(|(part, run)| part.push(run));
            }
            work.extend(
                parts
                    .into_iter()
                    .enumerate()
                    .map(|(i, part)| (i * width, x, part)),
            );
        }
        let least = CHUNK.div_ceil(channels * width);
        let work = work.into_par_iter().with_min_len(least);
        work.for_each(|(from, x, y)| {
            instructions.0.dispatch(Maps {
                norm: *self,
                places,
                from,
                x,
                y,
            });
        });
    }

    /// The channels.
    fn check(&self, x: &[f32], y: &[f32]) -> usize {
        let channels = self.weight.len();
        assert_eq!(self.bias.len(), channels, "weight and bias are [C]");
        assert_eq!(x.len(), y.len(), "y is as x");
        assert_eq!(x.len() % channels.max(1), 0, "x has C channels");
        channels.max(1)
    }

    #[inline(always)]
    fn inverse(&self, var: f64) -> f32 {
        (1.0 / (var + self.eps).sqrt()) as f32
    }
}

struct Rows<'a> {
    norm: LayerNorm<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let LayerNorm { weight, bias, .. } = self.norm;
        let channels = weight.len().max(1);
        let rows = self.x.chunks_exact(channels);
        for (x, y) in rows.zip(self.y.chunks_exact_mut(channels)) {
            let moments = x.chunks(BLOCK).map(Moments::of);
            let moments = moments.fold(Moments::default(), Moments::with);
            let (mean, inverse) = (moments.mean as f32, self.norm.inverse(moments.var()));
            let affine = weight.iter().zip(bias);
            for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(affine) {
                *y = (x - mean) * inverse * weight + bias;
            }
        }
    }
}

/// Places of a map that are normed side by side.
const MAP_BLOCK: usize = 64;

struct Maps<'a, 'y> {
    norm: LayerNorm<'a>,
    places: usize,
    /// The first place.
    from: usize,
    /// All channels of a picture.
    x: &'a [f32],
    /// A run of places of each channel.
    y: Vec<&'y mut [f32]>,
}

impl WithSimd for Maps<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let count = self.y.first().map_or(0, |run| run.len());
        let channels = self.y.len() as f32;
        let run = |c: usize| &self.x[c * self.places + self.from..][..count];
        let mut sums = [0.0f32; MAP_BLOCK];
        // Distances from the first channel, so that a large mean costs no digits.
        let near = run(0);
        for c in 0..self.y.len() {
            for ((sum, x), near) in sums.iter_mut().zip(run(c)).zip(near) {
                *sum += x - near;
            }
        }
        let mut means = [0.0f32; MAP_BLOCK];
        for ((mean, sum), near) in means.iter_mut().zip(&sums).zip(near) {
            *mean = near + sum / channels;
        }
        let mut squares = [0.0f32; MAP_BLOCK];
        for c in 0..self.y.len() {
            for ((square, x), mean) in squares.iter_mut().zip(run(c)).zip(&means) {
                *square += (x - mean) * (x - mean);
            }
        }
        let mut inverses = [0.0f32; MAP_BLOCK];
        for (inverse, square) in inverses.iter_mut().zip(&squares) {
            *inverse = self.norm.inverse(f64::from(square / channels));
        }
        let affine = self.norm.weight.iter().zip(self.norm.bias);
        for ((c, y), (weight, bias)) in self.y.into_iter().enumerate().zip(affine) {
            let by = means.iter().zip(&inverses);
            for ((y, x), (mean, inverse)) in y.iter_mut().zip(run(c)).zip(by) {
                *y = (x - mean) * inverse * weight + bias;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i + seed) * 7919 % 8191) as f32 / 1000.0 - 4.0;
        (0..count).map(number).collect()
    }

    #[test]
    fn softmax_by_hand() {
        for instructions in Instructions::all() {
            // One window, two heads of one row.
            let mut x = vec![0.0, 2f32.ln(), 0.0, 0.0];
            let heads = [0.0, 0.0, 3f32.ln(), 0.0];
            let added = Added {
                of_heads: Some(&heads),
                of_windows: None,
            };
            softmax_with(&mut x, [2, 1, 2], 1.0, added, instructions);
            let expected = [1.0 / 3.0, 2.0 / 3.0, 0.75, 0.25];
            assert!(
                x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{x:?}"
            );
        }
    }

    #[test]
    fn softmax_as_in_f64() {
        for instructions in Instructions::all() {
            for [batch, windows, heads, rows, length] in [
                [1, 1, 1, 1, 1],
                [2, 3, 2, 5, 17],
                [1, 4, 3, 49, 49],
                [1, 1, 2, 63, 300],
            ] {
                let plane = rows * length;
                let x = numbers(batch * windows * heads * plane, 0);
                let (of_heads, of_windows) =
                    (numbers(heads * plane, 5), numbers(windows * plane, 9));
                let added = Added {
                    of_heads: Some(&of_heads),
                    of_windows: Some(&of_windows),
                };
                let mut y = x.clone();
                softmax_with(&mut y, [heads, rows, length], 0.5, added, instructions);
                for (r, row) in y.chunks_exact(length).enumerate() {
                    let (p, n) = (r / rows, r % rows);
                    let score = |m: usize| {
                        let at = n * length + m;
                        let head = of_heads[p % heads * plane + at];
                        let window = of_windows[p / heads % windows * plane + at];
                        f64::from(x[r * length + m]) * 0.5 + f64::from(head) + f64::from(window)
                    };
                    let all: f64 = (0..length).map(|m| score(m).exp()).sum();
                    for (m, found) in row.iter().enumerate() {
                        let expected = score(m).exp() / all;
                        // f32's rounding of scores up to 12, and the exponential's
                        assert!(
                            (f64::from(*found) - expected).abs() < 3e-6,
                            "{found} {expected}"
                        );
                    }
                }
            }
        }
        let mut x = vec![f32::NAN, 0.0];
        softmax(&mut x, [1, 1, 2], 1.0, Added::default());
        assert!(x.iter().all(|v| v.is_nan()), "what is no number is seen");
    }

    #[test]
    fn rows_are_finished() {
        let (rows, channels) = (1300, 13);
        let (x, bias) = (numbers(rows * channels, 0), numbers(channels, 7));
        for act in [None, Some(Act::Relu)] {
            let mut y = x.clone();
            finish_rows(&mut y, Some(&bias), channels, act);
            for (i, (y, x)) in y.iter().zip(&x).enumerate() {
                let sum = x + bias[i % channels];
                let expected = if act.is_some() { sum.max(0.0) } else { sum };
                assert_eq!(*y, expected);
            }
        }
    }

    #[test]
    fn layer_norm_as_in_f64() {
        for instructions in Instructions::all() {
            for [pictures, channels, places] in [
                [1, 1, 1],
                [2, 3, 65],
                [1, 64, 63],
                [3, 17, 130],
                [1, 2100, 2],
            ] {
                let maps: Vec<f32> = numbers(pictures * channels * places, 1);
                // A large mean costs no digits.
                let maps: Vec<f32> = maps.iter().map(|v| v + 100.0).collect();
                let (weight, bias) = (numbers(channels, 2), numbers(channels, 3));
                let norm = LayerNorm {
                    weight: &weight,
                    bias: &bias,
                    eps: 1e-5,
                };
                let at = |n: usize, c: usize, p: usize| (n * channels + c) * places + p;
                let mut rows = vec![0.0; maps.len()];
                let row = |n: usize, c: usize, p: usize| (n * places + p) * channels + c;
                let all = || {
                    (0..pictures).flat_map(move |n| {
                        (0..channels).flat_map(move |c| (0..places).map(move |p| (n, c, p)))
                    })
                };
                all().for_each(|(n, c, p)| rows[row(n, c, p)] = maps[at(n, c, p)]);
                let (mut of_maps, mut of_rows) = (vec![0.0; maps.len()], vec![0.0; maps.len()]);
                norm.maps_with(places, &maps, &mut of_maps, instructions);
                norm.rows_with(&rows, &mut of_rows, instructions);
                for (n, c, p) in all() {
                    let value = |c: usize| f64::from(maps[at(n, c, p)]);
                    let mean = (0..channels).map(value).sum::<f64>() / channels as f64;
                    let square = |c: usize| (value(c) - mean).powi(2);
                    let var = (0..channels).map(square).sum::<f64>() / channels as f64;
                    let normed = (value(c) - mean) / (var + 1e-5).sqrt();
                    let expected = normed * f64::from(weight[c]) + f64::from(bias[c]);
                    for found in [of_maps[at(n, c, p)], of_rows[row(n, c, p)]] {
                        let error = (f64::from(found) - expected).abs();
                        assert!(error < 5e-5, "{channels} {places}: {found} {expected}");
                    }
                }
            }
        }
    }
}
