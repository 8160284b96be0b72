//! Gradients of a convolution: [`InputGradient`], [`bias_gradient`]; that of the weights is in `weight_gradient.rs`. `dy` is the gradient of
//! what came out, before anything that finished it.
//!
//! The input's gradient at stride 1 is again a convolution, of `dy` with the filters turned by half a turn and their two kinds of
//! channels exchanged, so that a 3x3 takes Winograd's algorithm once more (Dumoulin and Visin 2016, arXiv 1603.07285, chapter 4). At
//! other strides it is a product of matrices whose rows are added where they came from (col2im), a panel at a time.
//!
//! Shapes: dx `[N, C, H, W]`, dy `[N, K, H', W']`, weight `[K, C / groups, KH, KW]`, db `[K]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::gather::{self, Gather};
use crate::product::{Begin, Buffer, Packed, Rows, Tile, multiply, parts};
use crate::{Filters, Finish, Instructions, Picture, Shape};

/// Weights of a convolution, prepared for the gradient of its input: once for a step of training, however many pictures it has.
#[derive(Debug)]
pub struct InputGradient {
    shape: Shape,
    padding: [(usize, usize); 2],
    prepared: Prepared,
}

#[derive(Debug)]
enum Prepared {
    Turned(Box<Filters>),
    Spread(Vec<Spread>, Instructions),
}

/// Filters of a few input channels, transposed: `[channels * KH * KW, K / groups]`.
#[derive(Debug)]
struct Spread {
    group: usize,
    channels: usize,
    weights: Packed,
}

/// Rows of [`Spread`]'s product, about: so many multiplications for each number of dy that is gathered.
const SPREAD: usize = 96;

impl InputGradient {
    /// `weight` is `[K, C / groups, KH, KW]`; `padding` that of the input.
    ///
    /// # Panics
    /// If it has another number of values, or a number of `shape` is 0, or its groups do not divide the channels.
    pub fn new(weight: &[f32], shape: Shape, padding: [(usize, usize); 2]) -> Self {
        Self::with(weight, shape, padding, Instructions::widest())
    }

    /// As [`InputGradient::new`], computed with these instructions.
    ///
    /// # Panics
    /// As [`InputGradient::new`].
    pub fn with(
        weight: &[f32],
        shape: Shape,
        padding: [(usize, usize); 2],
        instructions: Instructions,
    ) -> Self {
        shape.check();
        let depth = shape.depth();
        assert_eq!(
            weight.len(),
            shape.channels_out * depth,
            "weights are [K, C / groups, KH, KW]"
        );
        let prepared = if turned_padding(&shape, padding).is_some() {
            let turned = Shape {
                channels_out: shape.channels_in,
                channels_in: shape.channels_out,
                ..shape
            };
            Prepared::Turned(Box::new(Filters::with(
                &turn(weight, &shape),
                turned,
                instructions,
            )))
        } else {
            Prepared::Spread(spread(weight, &shape, instructions), instructions)
        };
        Self {
            shape,
            padding,
            prepared,
        }
    }

    /// Writes the gradient of one input of `size` or several, all of it: `[N, C, H, W]` from `[N, K, H', W']`.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn run(&self, dy: &[f32], size: [usize; 2], dx: &mut [f32]) {
        let shape = &self.shape;
        let out = shape.size_out(size, self.padding).unwrap_or_default();
        let (each, given) = (
            shape.channels_in * size[0] * size[1],
            shape.channels_out * out[0] * out[1],
        );
        let pictures = match each {
            0 => dy.len() / given.max(1),
            each => dx.len() / each,
        };
        assert_eq!(dx.len(), pictures * each, "dx is [N, C, H, W]");
        assert_eq!(dy.len(), pictures * given, "dy is [N, K, H', W']");
        if dy.is_empty() || dx.is_empty() {
            dx.fill(0.0);
            return;
        }
        match &self.prepared {
            Prepared::Turned(filters) => {
                let dy = Picture {
                    values: dy,
                    size: out,
                    padding: turned_padding(shape, self.padding).unwrap_or_default(),
                };
                filters.run(dy, Finish::default(), dx);
            }
            Prepared::Spread(all, instructions) => {
                let mut tasks = Vec::new();
                for (dy, dx) in dy.chunks_exact(given).zip(dx.chunks_exact_mut(each)) {
                    let mut rest = dx;
                    for spread in all {
                        let (dx, after) = rest.split_at_mut(spread.channels * size[0] * size[1]);
                        tasks.push((spread, dy, dx));
                        rest = after;
                    }
                }
                tasks
                    .into_par_iter()
                    .for_each_init(Room::default, |room, (spread, dy, dx)| {
                        instructions.0.dispatch(Add {
                            gradient: self,
                            spread,
                            dy: Picture {
                                values: dy,
                                size: out,
                                padding: Default::default(),
                            },
                            size,
                            dx,
                            room,
                        });
                    });
            }
        }
    }
}

/// Zeros around dy with which the turned filters give dx; `None` if they do not.
fn turned_padding(shape: &Shape, padding: [(usize, usize); 2]) -> Option<[(usize, usize); 2]> {
    let side = |i: usize| {
        let reach = shape.dilation[i] * (shape.kernel[i] - 1);
        let (before, after) = padding[i];
        Some((reach.checked_sub(before)?, reach.checked_sub(after)?))
    };
    (shape.stride == [1; 2])
        .then(|| Some([side(0)?, side(1)?]))
        .flatten()
}

/// Filters turned by half a turn, `[C, K / groups, KH, KW]`.
fn turn(weight: &[f32], shape: &Shape) -> Vec<f32> {
    let taps = shape.kernel[0] * shape.kernel[1];
    let (filters, seen) = (shape.filters(), shape.seen());
    let mut turned = vec![0.0; weight.len()];
    let channels = turned.par_chunks_exact_mut(filters * taps).enumerate();
    channels.for_each(|(channel, to)| {
        let (group, c) = (channel / seen, channel % seen);
        for (k, to) in to.chunks_exact_mut(taps).enumerate() {
            let from = &weight[((group * filters + k) * seen + c) * taps..][..taps];
            to.iter_mut()
                .zip(from.iter().rev())
                .for_each(|(to, from)| *to = *from);
        }
    });
    turned
}

fn spread(weight: &[f32], shape: &Shape, instructions: Instructions) -> Vec<Spread> {
    let taps = shape.kernel[0] * shape.kernel[1];
    let (filters, seen, depth) = (shape.filters(), shape.seen(), shape.depth());
    let each = SPREAD.div_ceil(taps);
    let mut all = Vec::new();
    for group in 0..shape.groups {
        let weight = &weight[group * filters * depth..][..filters * depth];
        for first in (0..seen).step_by(each) {
            let channels = each.min(seen - first);
            let at = |row: usize, k: usize| weight[k * depth + first * taps + row];
            all.push(Spread {
                group,
                channels,
                weights: Packed::new(instructions.tile(), channels * taps, filters, at),
            });
        }
    }
    all
}

/// Room of a thread.
#[derive(Default)]
struct Room {
    pixels: Buffer,
    sums: Buffer,
    runs: Vec<gather::Run>,
}

/// The gradient of a few channels.
struct Add<'a> {
    gradient: &'a InputGradient,
    spread: &'a Spread,
    dy: Picture<'a>,
    size: [usize; 2],
    dx: &'a mut [f32],
    room: &'a mut Room,
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            gradient,
            spread,
            dx,
            room,
            ..
        } = self;
        let shape = &gradient.shape;
        // The rows of dy that this group has, as a filter of 1x1 sees them.
        let pointwise = Shape {
            channels_out: shape.channels_out,
            channels_in: shape.channels_out,
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            groups: shape.groups,
        };
        let gather = Gather::new(&self.dy, &pointwise, spread.group).expect("dy is not empty");
        let tile = Tile::of::<S>();
        let width = tile.width();
        let (weights, plane) = (&spread.weights, gather.columns());
        dx.fill(0.0);
        for from in (0..plane).step_by(width) {
            let columns = from..(from + width).min(plane);
            let wide = tile.vectors_of(columns.len()) * tile.lanes;
            gather.runs(columns.clone(), width, &mut room.runs);
            let sums = room.sums.get(weights.rows * width);
            let to = Rows::new(sums, width);
            for depth in parts(weights.depth) {
                let pixels = room.pixels.get(depth.len() * wide);
                gather.fill(depth.clone(), &room.runs, pixels, width, |column, row| {
                    row * wide + column
                });
                let begin = if depth.start == 0 {
                    Begin::Zero
                } else {
                    Begin::Sums
                };
                for group in 0..weights.groups() {
                    let part = weights.part(group, &depth);
                    let rows = weights.rows_of(group);
                    // SAFETY: `sums` is borrowed here, for this alone.
                    unsafe { multiply(simd, pixels, part, begin, to, rows, 0..columns.len()) };
                }
            }
            for (row, sums) in sums.chunks_exact(width).enumerate() {
                gradient.add(row, columns.clone(), self.dy.size, sums, self.size, dx);
            }
        }
    }
}

impl InputGradient {
    /// Adds a row of [`Spread`]'s product where its pixels came from.
    #[inline(always)]
    fn add(
        &self,
        row: usize,
        columns: Range<usize>,
        out: [usize; 2],
        sums: &[f32],
        size: [usize; 2],
        dx: &mut [f32],
    ) {
        let Shape {
            kernel,
            stride,
            dilation,
            ..
        } = self.shape;
        let taps = kernel[0] * kernel[1];
        let (channel, tap) = (row / taps, row % taps);
        let down = tap / kernel[1] * dilation[0];
        let right = tap % kernel[1] * dilation[1];
        let mut at = columns.start;
        while at < columns.end {
            let (row, first) = (at / out[1], at % out[1]);
            let count = (out[1] - first).min(columns.end - at);
            let sums = &sums[at - columns.start..][..count];
            at += count;
            let y = (row * stride[0] + down).checked_sub(self.padding[0].0);
            let Some(y) = y.filter(|y| *y < size[0]) else {
                continue;
            };
            let line = &mut dx[(channel * size[0] + y) * size[1]..][..size[1]];
            let begin = first * stride[1] + right;
            let before = self.padding[1].0;
            let skip = before.saturating_sub(begin).div_ceil(stride[1]).min(count);
            let place = (begin + skip * stride[1]).saturating_sub(before);
            let Some(line) = line.get_mut(place..) else {
                continue;
            };
            let pixels = line.iter_mut().step_by(stride[1]);
            for (to, sum) in pixels.zip(&sums[skip..]) {
                *to += sum;
            }
        }
    }
}

/// Adds the gradient of the bias, the sums of the planes of `dy`, to `db`.
///
/// # Panics
/// If `dy` is not `[K, H', W']` for a `db` of `[K]`.
pub fn bias_gradient(dy: &[f32], db: &mut [f32]) {
    if db.is_empty() || dy.is_empty() {
        return;
    }
    assert!(
        dy.len().is_multiple_of(db.len()),
        "dy has a plane for each bias"
    );
    let planes = dy.par_chunks_exact(dy.len() / db.len());
    planes.zip(db).for_each(|(plane, db)| {
        // Lanes that the compiler makes a vector of; in parts, so that no sum is much larger than what is added to it.
        let part = |part: &[f32]| {
            let mut lanes = [0.0f32; 16];
            let (chunks, rest) = part.as_chunks::<16>();
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += value;
                }
            }
            f64::from(lanes.iter().chain(rest).sum::<f32>())
        };
        *db += plane.chunks(4096).map(part).sum::<f64>() as f32;
    });
}
