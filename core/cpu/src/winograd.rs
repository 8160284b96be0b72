//! [`Winograd`]: 3x3 convolution with stride 1 by F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308): 36 products for 16 pixels, where the plain
//! way has 144. Its sums are of larger numbers, so that its error is some ten times that of the plain way: 1e-5 of the largest value.
//!
//! Shapes: x `[C, H, W]`, y `[K, H', W']`. A block of tiles is transformed to `[C][36][tiles]`, multiplied by the weights `[36][K][C]`, and the products
//! are transformed back: memory is that of a block, whatever the picture.

use rayon::prelude::*;

use crate::tiles::{IN, OUT, PRODUCTS, Scratch, filter, input_row, output_row};

/// Bytes of a block of transformed tiles, about.
const BLOCK: usize = 4 << 20;

/// Weights of a convolution, transformed once.
#[derive(Debug)]
pub struct Winograd {
    /// `[36][K][C]`.
    weights: Vec<f32>,
    channels_in: usize,
    channels_out: usize,
}

/// One picture that goes in.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// `[C, H, W]`.
    pub values: &'a [f32],
    /// Height and width.
    pub size: [usize; 2],
    /// Zeros before and after each axis.
    pub padding: [(usize, usize); 2],
}

/// What is done to the sums before they are written, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// `[K]`, added.
    pub bias: Option<&'a [f32]>,
    /// `[K, H', W']`, added.
    pub add: Option<&'a [f32]>,
    /// Negative numbers become 0.
    pub relu: bool,
}

impl Picture<'_> {
    /// Height and width of what comes out; `None` if nothing does.
    pub fn size_out(&self) -> Option<[usize; 2]> {
        let side = |i: usize| {
            let (before, after) = self.padding[i];
            (self.size[i] + before + after)
                .checked_sub(2)
                .filter(|n| *n > 0)
        };
        Some([side(0)?, side(1)?])
    }
}

/// Tiles next to each other in a row of tiles.
#[derive(Clone, Copy)]
struct Run {
    row: usize,
    first: usize,
    tiles: usize,
    /// Its first place in the block.
    at: usize,
}

impl Winograd {
    /// `weight` is `[K, C, 3, 3]`.
    ///
    /// # Panics
    /// If it has another number of values.
    pub fn new(weight: &[f32], channels_out: usize, channels_in: usize) -> Self {
        assert_eq!(
            weight.len(),
            channels_out * channels_in * 9,
            "3x3 for each pair of channels"
        );
        let pairs = channels_out * channels_in;
        let mut taps = vec![0.0; 9 * pairs];
        for (pair, g) in weight.chunks_exact(9).enumerate() {
            for (t, value) in g.iter().enumerate() {
                taps[t * pairs + pair] = *value;
            }
        }
        let mut weights = vec![0.0; PRODUCTS * pairs];
        let products = weights.par_chunks_exact_mut(pairs.max(1));
        products.enumerate().for_each(|(i, made)| {
            pulp::Arch::new().dispatch(|| filter(i, &taps, made));
        });
        Self {
            weights,
            channels_in,
            channels_out,
        }
    }

    /// Convolves a picture into `y`.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn run(&self, x: Picture, finish: Finish, y: &mut [f32]) {
        let Some([height, width]) = x.size_out() else {
            return;
        };
        let plane = height * width;
        assert_eq!(
            x.values.len(),
            self.channels_in * x.size[0] * x.size[1],
            "x is [C, H, W]"
        );
        assert_eq!(y.len(), self.channels_out * plane, "y is [K, H', W']");
        assert!(
            finish
                .bias
                .is_none_or(|bias| bias.len() == self.channels_out),
            "a bias is [K]"
        );
        assert!(
            finish.add.is_none_or(|add| add.len() == y.len()),
            "what is added is as y"
        );
        let across = width.div_ceil(OUT);
        let tiles = height.div_ceil(OUT) * across;
        let room = BLOCK / (4 * PRODUCTS * self.channels_in.max(1));
        let block = (room / 16 * 16).clamp(32, 512).min(tiles);
        let mut transformed = vec![0.0; self.channels_in * PRODUCTS * block];
        let chunk = self.chunk();
        for start in (0..tiles).step_by(block) {
            let count = block.min(tiles - start);
            let runs = runs(start, count, across);
            let each = PRODUCTS * block;
            let planes = x.values.par_chunks_exact((x.size[0] * x.size[1]).max(1));
            planes
                .zip(transformed.par_chunks_exact_mut(each))
                .for_each_init(Input::default, |input, (plane, to)| {
                    pulp::Arch::new().dispatch(|| input.transform(plane, &x, &runs, to, block));
                });
            let transformed = &transformed;
            y.par_chunks_mut(chunk * plane).enumerate().for_each_init(
                Output::default,
                |output, (i, y)| {
                    let first = i * chunk;
                    let channels = chunk.min(self.channels_out - first);
                    output.products.resize(chunk * each, 0.0);
                    self.multiply(
                        first,
                        channels,
                        transformed,
                        block,
                        count,
                        &mut output.products,
                    );
                    for (k, y) in y.chunks_exact_mut(plane).enumerate() {
                        let from = &output.products[k * each..][..each];
                        let finish = Channel {
                            bias: finish.bias.map_or(0.0, |bias| bias[first + k]),
                            add: finish.add.map(|add| &add[(first + k) * plane..][..plane]),
                            relu: finish.relu,
                        };
                        let lines = &mut output.lines;
                        let scratch = &mut output.scratch;
                        pulp::Arch::new().dispatch(|| {
                            write(
                                from,
                                block,
                                &runs,
                                [height, width],
                                finish,
                                y,
                                lines,
                                scratch,
                            );
                        });
                    }
                },
            );
        }
    }

    /// Output channels of one task: enough that what is read again for each is read seldom, and a task for each thread.
    fn chunk(&self) -> usize {
        let threads = rayon::current_num_threads();
        let even = self.channels_out.div_ceil(threads).next_multiple_of(16);
        even.clamp(16, 128).min(self.channels_out.max(1))
    }

    /// The products of some output channels with a block of tiles: `[channel][36][tile]`.
    fn multiply(
        &self,
        first: usize,
        channels: usize,
        transformed: &[f32],
        block: usize,
        count: usize,
        products: &mut [f32],
    ) {
        let (pairs, step) = (self.channels_out * self.channels_in, PRODUCTS * block);
        assert!(transformed.len() >= self.channels_in * step && products.len() >= channels * step);
        for i in 0..PRODUCTS {
            let weights = &self.weights[i * pairs + first * self.channels_in..];
            let weights = &weights[..channels * self.channels_in];
            // SAFETY: rows of `step` floats begin within the slices, of which `count <= block` floats at `i * block` are read or written: the
            // asserted lengths hold them all. Nothing else refers to `products` meanwhile.
            unsafe {
                gemm::gemm(
                    channels,
                    count,
                    self.channels_in,
                    products.as_mut_ptr().add(i * block),
                    1,
                    step as isize,
                    false,
                    weights.as_ptr(),
                    1,
                    self.channels_in as isize,
                    transformed.as_ptr().add(i * block),
                    1,
                    step as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
    }
}

/// The tiles from `start` on, by rows of tiles.
fn runs(start: usize, count: usize, across: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < count {
        let (row, first) = ((start + at) / across, (start + at) % across);
        let tiles = (across - first).min(count - at);
        runs.push(Run {
            row,
            first,
            tiles,
            at,
        });
        at += tiles;
    }
    runs
}

/// Room for the lines of one channel.
#[derive(Default)]
struct Input {
    lines: Vec<f32>,
    scratch: Scratch,
}

impl Input {
    /// Transforms a channel's tiles: value `i` of tile `t` goes to `to[i * block + t]`.
    #[inline(always)]
    fn transform(
        &mut self,
        plane: &[f32],
        x: &Picture,
        runs: &[Run],
        to: &mut [f32],
        block: usize,
    ) {
        let [height, width] = x.size;
        for run in runs {
            let wide = OUT * (run.tiles + 1);
            self.lines.clear();
            self.lines.resize(IN * wide, 0.0);
            let left = run.first * OUT;
            // Columns of the padded picture to those of the picture.
            let begin = left.max(x.padding[1].0);
            let end = (left + wide).min(x.padding[1].0 + width);
            for (i, line) in self.lines.chunks_exact_mut(wide).enumerate() {
                let y = (run.row * OUT + i).checked_sub(x.padding[0].0);
                let Some(y) = y.filter(|y| *y < height && begin < end) else {
                    continue;
                };
                let from = &plane[y * width + begin - x.padding[1].0..][..end - begin];
                line[begin - left..][..from.len()].copy_from_slice(from);
            }
            input_row(
                &self.lines,
                run.tiles,
                &mut to[run.at..],
                block,
                &mut self.scratch,
            );
        }
    }
}

/// Room for the products of some channels.
#[derive(Default)]
struct Output {
    products: Vec<f32>,
    lines: Vec<f32>,
    scratch: Scratch,
}

/// What finishes one channel.
#[derive(Clone, Copy)]
struct Channel<'a> {
    bias: f32,
    add: Option<&'a [f32]>,
    relu: bool,
}

/// Transforms the products of one channel back, and writes the pixels that the picture has.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn write(
    from: &[f32],
    block: usize,
    runs: &[Run],
    [height, width]: [usize; 2],
    finish: Channel,
    y: &mut [f32],
    lines: &mut Vec<f32>,
    scratch: &mut Scratch,
) {
    for run in runs {
        let wide = OUT * run.tiles;
        lines.resize(OUT * wide, 0.0);
        output_row(
            &from[run.at..],
            block,
            run.tiles,
            &mut lines[..OUT * wide],
            scratch,
        );
        let left = run.first * OUT;
        let columns = wide.min(width - left);
        let top = run.row * OUT;
        for (i, line) in lines.chunks_exact(wide).enumerate().take(height - top) {
            let place = (top + i) * width + left;
            let to = &mut y[place..place + columns];
            match finish.add {
                Some(add) => {
                    for ((to, sum), add) in to.iter_mut().zip(line).zip(&add[place..]) {
                        *to = sum + finish.bias + add;
                    }
                }
                None => {
                    for (to, sum) in to.iter_mut().zip(line) {
                        *to = sum + finish.bias;
                    }
                }
            }
            if finish.relu {
                // As PyTorch's, which keeps NaN.
                to.iter_mut()
                    .for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// The plain way, in f64.
    fn plain(x: Picture, weight: &[f32], [k, c]: [usize; 2], finish: Finish) -> Vec<f64> {
        let [height, width] = x.size_out().unwrap_or_default();
        let mut y = Vec::new();
        for channel in 0..k {
            for row in 0..height {
                for column in 0..width {
                    let mut sum = finish.bias.map_or(0.0, |bias| f64::from(bias[channel]));
                    for from in 0..c {
                        for tap in 0..9 {
                            let at = [row + tap / 3, column + tap % 3];
                            let inside = |i: usize| {
                                let n = at[i].checked_sub(x.padding[i].0)?;
                                (n < x.size[i]).then_some(n)
                            };
                            let Some((r, c2)) = inside(0).zip(inside(1)) else {
                                continue;
                            };
                            let value = x.values[(from * x.size[0] + r) * x.size[1] + c2];
                            sum += f64::from(value)
                                * f64::from(weight[(channel * c + from) * 9 + tap]);
                        }
                    }
                    if let Some(add) = finish.add {
                        sum += f64::from(add[(channel * height + row) * width + column]);
                    }
                    y.push(if finish.relu { sum.max(0.0) } else { sum });
                }
            }
        }
        y
    }

    #[test]
    fn equal_to_the_plain_way() {
        let sizes = [
            [1, 1],
            [1, 9],
            [2, 3],
            [3, 4],
            [4, 5],
            [5, 8],
            [7, 6],
            [8, 1],
            [9, 9],
            [33, 70],
        ];
        for (i, size) in sizes.into_iter().enumerate() {
            for [k, c] in [[1, 1], [3, 5], [16, 16], [17, 5], [40, 17], [130, 3]] {
                for padding in [
                    [(1, 1), (1, 1)],
                    [(0, 0), (0, 0)],
                    [(0, 2), (3, 1)],
                    [(2, 2), (0, 1)],
                ] {
                    let seed = (i * 1000 + k * 10 + c) as u32;
                    let values = random(c * size[0] * size[1], seed);
                    let x = Picture {
                        values: &values,
                        size,
                        padding,
                    };
                    let Some([h, w]) = x.size_out() else { continue };
                    let weight = random(k * c * 9, seed + 1);
                    let (bias, add) = (random(k, seed + 2), random(k * h * w, seed + 3));
                    let winograd = Winograd::new(&weight, k, c);
                    for finish in [
                        Finish::default(),
                        Finish {
                            bias: Some(&bias),
                            add: Some(&add),
                            relu: true,
                        },
                        Finish {
                            bias: Some(&bias),
                            add: None,
                            relu: true,
                        },
                    ] {
                        let mut y = vec![f32::NAN; k * h * w];
                        winograd.run(x, finish, &mut y);
                        let expected = plain(x, &weight, [k, c], finish);
                        let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
                        for (got, want) in y.iter().zip(&expected) {
                            let error = (f64::from(*got) - want).abs() / largest;
                            // The issue of large factors in the transforms; seen: 4e-6.
                            assert!(error < 2e-5, "{size:?} {k} {c} {padding:?}: {error}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn more_tiles_than_a_block() {
        let (k, c, size) = (20, 260, [61, 67]);
        let values = random(c * size[0] * size[1], 1);
        let x = Picture {
            values: &values,
            size,
            padding: [(1, 1); 2],
        };
        let weight = random(k * c * 9, 2);
        let mut y = vec![f32::NAN; k * size[0] * size[1]];
        Winograd::new(&weight, k, c).run(x, Finish::default(), &mut y);
        let expected = plain(x, &weight, [k, c], Finish::default());
        let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
        let worst = y
            .iter()
            .zip(&expected)
            .map(|(a, b)| (f64::from(*a) - b).abs());
        let worst = worst.fold(0.0, f64::max) / largest;
        assert!(worst < 2e-5, "{worst}");
    }
}
