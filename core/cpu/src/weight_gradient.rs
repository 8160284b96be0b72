//! [`weight_gradient`]: what the weights of a convolution get from the gradient of what came out of it, of many pictures.
//!
//! It is a product of matrices: pixels under each tap, `[C / groups * KH * KW, columns]`, times dy, `[columns, K / groups]`, where the columns are
//! the outputs of all pictures. Nothing is gathered: a row of pixels is a part of a channel's padded plane from the tap's place on, if dy has zeros
//! between its lines. At other strides than 1 the plane is taken apart, every so manyth line and pixel a plane of its own, of which that is true.
//!
//! Sums are kept in registers, filters in their vectors ([`ByRows`]): so dy is turned, a block of columns at a time. Where there are too few
//! filters to fill vectors, as in depthwise convolution, columns are in the vectors ([`ByColumns`]).
//!
//! Shapes: x `[N, C, H, W]`, dy `[N, K, H', W']`, dw `[K, C / groups, KH, KW]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::product::Buffer;
use crate::{Instructions, Picture, Shape};

/// Filters of a group from which on they fill vectors.
const FEW: usize = 8;

/// Adds the gradient of the weights to `dw`. `x` has all pictures, one after the other.
///
/// # Panics
/// If a slice has another length than its shape, a number of `shape` is 0, or its groups do not divide the channels.
pub fn weight_gradient(shape: &Shape, x: Picture, dy: &[f32], dw: &mut [f32]) {
    weight_gradient_with(shape, x, dy, dw, Instructions::widest());
}

/// As [`weight_gradient`], computed with these instructions.
///
/// # Panics
/// As [`weight_gradient`].
pub fn weight_gradient_with(
    shape: &Shape,
    x: Picture,
    dy: &[f32],
    dw: &mut [f32],
    instructions: Instructions,
) {
    shape.check();
    let depth = shape.depth();
    let out = shape.size_out(x.size, x.padding).unwrap_or_default();
    let each = shape.channels_in * x.size[0] * x.size[1];
    let each_out = shape.channels_out * out[0] * out[1];
    let pictures = x.values.len().checked_div(each).unwrap_or(0);
    assert_eq!(x.values.len(), pictures * each, "x is [N, C, H, W]");
    assert_eq!(dy.len(), pictures * each_out, "dy is [N, K, H', W']");
    assert_eq!(
        dw.len(),
        shape.channels_out * depth,
        "dw is [K, C / groups, KH, KW]"
    );
    if dy.is_empty() {
        return;
    }
    let all = Pictures {
        shape,
        x,
        dy,
        each,
        each_out,
        pictures,
        out,
    };
    all.sum(dw, instructions);
}

/// What goes in and what came back.
struct Pictures<'a> {
    shape: &'a Shape,
    x: Picture<'a>,
    dy: &'a [f32],
    /// Numbers of a picture.
    each: usize,
    /// Numbers of its dy.
    each_out: usize,
    pictures: usize,
    /// Height and width of dy.
    out: [usize; 2],
}

/// Columns whose products are summed before they are added to others: a block of dy of so many columns and 64 filters stays in the nearest
/// cache, and no sum gets much larger than what is added to it.
const COLUMNS: usize = 96;

/// Numbers of dy that are turned at a time, 4 MB.
const TURNED: usize = 1 << 20;

/// Columns of a piece where nothing is turned.
const LONG: usize = 1 << 12;

/// Rows of dw that a task has at most, about.
const ROWS: usize = 96;

/// Lines of a picture's dy.
struct Piece {
    picture: usize,
    lines: Range<usize>,
    /// Its first column among those that are turned.
    at: usize,
}

/// Rows of dw that a task sums: all taps of some channels of a group.
struct Task<'a> {
    group: usize,
    channels: Range<usize>,
    /// `[channels * KH * KW, filters in vectors]`.
    sums: &'a mut [f32],
}

impl Pictures<'_> {
    fn sum(&self, dw: &mut [f32], instructions: Instructions) {
        let Shape { groups, .. } = *self.shape;
        let (filters, seen, depth) = (self.shape.filters(), self.shape.seen(), self.shape.depth());
        let taps = depth / seen;
        let few = filters < FEW;
        let filled = match few {
            true => filters,
            false => filters.next_multiple_of(instructions.tile().lanes),
        };
        let wanted = (4 * rayon::current_num_threads()).div_ceil(groups);
        let channels = seen.div_ceil(wanted).clamp(1, ROWS.div_ceil(taps));
        let mut sums = vec![0.0; groups * depth * filled];
        let mut turned = Buffer::default();
        let most = if few {
            LONG
        } else {
            TURNED / (groups * filled)
        };
        for pieces in self.pieces(most) {
            let columns: usize = pieces.iter().map(|piece| self.columns(piece)).sum();
            let turned = match few {
                true => &mut [],
                false => turned.get(groups * columns * filled),
            };
            if !few {
                self.turn(&pieces, filled, turned);
            }
            let turned = &*turned;
            let mut tasks = Vec::new();
            let mut rest = sums.as_mut_slice();
            for group in 0..groups {
                for first in (0..seen).step_by(channels) {
                    let channels = first..(first + channels).min(seen);
                    let (sums, after) = rest.split_at_mut(channels.len() * taps * filled);
                    rest = after;
                    tasks.push(Task {
                        group,
                        channels,
                        sums,
                    });
                }
            }
            let tasks = tasks.into_par_iter();
            tasks.for_each_init(Room::default, |room, task| {
                let (all, pieces) = (self, pieces.as_slice());
                if few {
                    instructions.0.dispatch(ByColumns {
                        all,
                        pieces,
                        task,
                        room,
                    });
                } else {
                    instructions.0.dispatch(ByRows {
                        all,
                        pieces,
                        turned: &turned[task.group * columns * filled..][..columns * filled],
                        filled,
                        task,
                        room,
                    });
                }
            });
        }
        let of_filters = dw.par_chunks_exact_mut(depth).enumerate();
        of_filters.for_each(|(k, dw)| {
            let (group, k) = (k / filters, k % filters);
            let sums = &sums[group * depth * filled..][..depth * filled];
            for (dw, sums) in dw.iter_mut().zip(sums.chunks_exact(filled)) {
                *dw += sums[k];
            }
        });
    }

    /// Columns of a line: as many as a line of a plane has.
    fn line(&self) -> usize {
        let (before, after) = self.x.padding[1];
        (self.x.size[1] + before + after).div_ceil(self.shape.stride[1])
    }

    fn columns(&self, piece: &Piece) -> usize {
        piece.lines.len() * self.line()
    }

    /// All lines, so many at a time as have that many columns, or one.
    fn pieces(&self, columns: usize) -> Vec<Vec<Piece>> {
        let most = (columns / self.line()).max(1);
        let (mut all, mut pieces, mut lines) = (Vec::new(), Vec::new(), 0);
        for picture in 0..self.pictures {
            let mut first = 0;
            while first < self.out[0] {
                let count = (self.out[0] - first).min(most - lines);
                pieces.push(Piece {
                    picture,
                    lines: first..first + count,
                    at: lines * self.line(),
                });
                first += count;
                lines += count;
                if lines == most {
                    all.push(std::mem::take(&mut pieces));
                    lines = 0;
                }
            }
        }
        all.extend((!pieces.is_empty()).then_some(pieces));
        all
    }

    /// Writes dy with its filters last, `[groups, columns, filled]`.
    fn turn(&self, pieces: &[Piece], filled: usize, turned: &mut [f32]) {
        let (filters, line) = (self.shape.filters(), self.line());
        let [height, width] = self.out;
        let columns = turned.len() / filled / self.shape.groups;
        let lines = turned.par_chunks_exact_mut(line * filled).enumerate();
        lines.for_each(|(i, to)| {
            let (group, at) = (i * line / columns, i * line % columns);
            let piece = pieces.partition_point(|piece| piece.at <= at) - 1;
            let piece = &pieces[piece];
            let y = piece.lines.start + (at - piece.at) / line;
            let from = &self.dy[piece.picture * self.each_out..][..self.each_out];
            if filled > filters {
                to.fill(0.0);
            } else {
                to[width * filled..].fill(0.0);
            }
            for k in 0..filters {
                let from = &from[((group * filters + k) * height + y) * width..][..width];
                let to = to[k..].iter_mut().step_by(filled);
                to.zip(from).for_each(|(to, from)| *to = *from);
            }
        });
    }

    /// Lines of a plane beyond a piece's own, and pixels beyond its last line, which the last taps reach.
    fn reach(&self) -> [usize; 2] {
        let reach = |i: usize| {
            let taps = self.shape.kernel[i] - 1;
            (self.shape.dilation[i] * taps) / self.shape.stride[i]
        };
        [reach(0), reach(1)]
    }

    /// The planes of a task's channels that a piece needs, and the length of each.
    fn planes<'p>(
        &'p self,
        piece: &Piece,
        task: &Task,
        room: &'p mut Buffer,
    ) -> (&'p [f32], usize) {
        let Shape { stride, .. } = *self.shape;
        let ([height, width], line) = (self.x.size, self.line());
        let [top, left] = [self.x.padding[0].0, self.x.padding[1].0];
        let first = task.group * self.shape.seen() + task.channels.start;
        let values = &self.x.values[piece.picture * self.each..][..self.each];
        if self.shape.pointwise() && self.out == self.x.size {
            let length = height * width;
            let planes = &values[first * length..][..task.channels.len() * length];
            return (&planes[piece.lines.start * width..], length);
        }
        let [more_lines, more] = self.reach();
        let lines = piece.lines.len() + more_lines;
        let length = lines * line + more;
        let apart = stride[0] * stride[1];
        let planes = room.get(task.channels.len() * apart * length);
        for (plane, to) in planes.chunks_exact_mut(length).enumerate() {
            let (channel, apart) = (plane / apart, plane % apart);
            let from = &values[(first + channel) * height * width..][..height * width];
            let (down, right) = (apart / stride[1], apart % stride[1]);
            // Pixels of a line before the picture, and its first one.
            let skip = left.saturating_sub(right).div_ceil(stride[1]).min(line);
            let begin = skip * stride[1] + right - left;
            to[lines * line..].fill(0.0);
            for (i, to) in to.chunks_exact_mut(line).take(lines).enumerate() {
                let y = ((piece.lines.start + i) * stride[0] + down).checked_sub(top);
                let Some(y) = y.filter(|y| *y < height) else {
                    to.fill(0.0);
                    continue;
                };
                let from = from[y * width..][..width].get(begin..).unwrap_or_default();
                let (before, to) = to.split_at_mut(skip);
                before.fill(0.0);
                let (to, after) = to.split_at_mut(from.len().div_ceil(stride[1]).min(to.len()));
                after.fill(0.0);
                match stride[1] {
                    1 => to.copy_from_slice(&from[..to.len()]),
                    step => {
                        let from = from.iter().step_by(step);
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
        (planes, length)
    }

    /// Where a row of a task begins in its planes.
    fn place(&self, row: usize, length: usize) -> usize {
        let Shape {
            kernel,
            stride,
            dilation,
            ..
        } = *self.shape;
        let taps = kernel[0] * kernel[1];
        let (channel, tap) = (row / taps, row % taps);
        let down = tap / kernel[1] * dilation[0];
        let right = tap % kernel[1] * dilation[1];
        let apart = down % stride[0] * stride[1] + right % stride[1];
        let plane = channel * stride[0] * stride[1] + apart;
        plane * length + down / stride[0] * self.line() + right / stride[1]
    }
}

/// Room of a thread.
#[derive(Default)]
struct Room {
    planes: Buffer,
    dy: Buffer,
}

/// The products of a task's rows with all filters.
struct ByRows<'a> {
    all: &'a Pictures<'a>,
    pieces: &'a [Piece],
    /// `[columns, filled]`
    turned: &'a [f32],
    filled: usize,
    task: Task<'a>,
    room: &'a mut Room,
}

impl WithSimd for ByRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            all,
            pieces,
            turned,
            filled,
            task,
            room,
        } = self;
        let rows = task.sums.len() / filled;
        for piece in pieces {
            let (planes, length) = all.planes(piece, &task, &mut room.planes);
            let columns = all.columns(piece);
            for from in (0..columns).step_by(COLUMNS) {
                let count = COLUMNS.min(columns - from);
                let dy = &turned[(piece.at + from) * filled..][..count * filled];
                let row = |row: usize| &planes[all.place(row, length) + from..][..count];
                let mut i = 0;
                while i + 4 <= rows {
                    let x = [row(i), row(i + 1), row(i + 2), row(i + 3)];
                    let sums = &mut task.sums[i * filled..][..4 * filled];
                    products::<S, 4>(simd, x, dy, filled, sums);
                    i += 4;
                }
                while i < rows {
                    let sums = &mut task.sums[i * filled..][..filled];
                    products::<S, 1>(simd, [row(i)], dy, filled, sums);
                    i += 1;
                }
            }
        }
    }
}

/// Adds the products of `R` rows of pixels with dy, `[columns, filled]`, to `sums`, `[R, filled]`.
#[inline(always)]
fn products<S: Simd, const R: usize>(
    simd: S,
    x: [&[f32]; R],
    dy: &[f32],
    filled: usize,
    sums: &mut [f32],
) {
    let vectors = filled / S::F32_LANES;
    let mut at = 0;
    while at < vectors {
        // As many as registers hold, and none left alone.
        let left = vectors - at;
        let wide = S::REGISTER_COUNT >= 32 || S::F32_LANES == 1;
        at += match left {
            5 if wide => product::<S, R, 3>(simd, x, dy, filled, at, sums),
            4.. if wide => product::<S, R, 4>(simd, x, dy, filled, at, sums),
            3 if wide => product::<S, R, 3>(simd, x, dy, filled, at, sums),
            2.. => product::<S, R, 2>(simd, x, dy, filled, at, sums),
            _ => product::<S, R, 1>(simd, x, dy, filled, at, sums),
        };
    }
}

/// `V` vectors of filters from the one at `at` on; `V`.
#[inline(always)]
fn product<S: Simd, const R: usize, const V: usize>(
    simd: S,
    x: [&[f32]; R],
    dy: &[f32],
    filled: usize,
    at: usize,
    sums: &mut [f32],
) -> usize {
    let mut held = [[simd.splat_f32s(0.0); V]; R];
    let count = dy.len() / filled;
    let x = x.map(|x| &x[..count]);
    for (column, dy) in dy.chunks_exact(filled).enumerate() {
        let dy = &S::as_simd_f32s(dy).0[at..][..V];
        for r in 0..R {
            // Within: each row was cut to as many columns as dy has.
            let pixel = simd.splat_f32s(x[r][column]);
            for v in 0..V {
                held[r][v] = simd.mul_add_e_f32s(pixel, dy[v], held[r][v]);
            }
        }
    }
    for (held, sums) in held.iter().zip(sums.chunks_exact_mut(filled)) {
        let sums = &mut S::as_mut_simd_f32s(sums).0[at..][..V];
        for (sum, held) in sums.iter_mut().zip(held) {
            *sum = simd.add_f32s(*sum, *held);
        }
    }
    V
}

/// The products of a task's rows with each of few filters.
struct ByColumns<'a> {
    all: &'a Pictures<'a>,
    pieces: &'a [Piece],
    task: Task<'a>,
    room: &'a mut Room,
}

impl WithSimd for ByColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            all,
            pieces,
            task,
            room,
        } = self;
        let Room { planes, dy } = room;
        let (filters, line, [height, width]) = (all.shape.filters(), all.line(), all.out);
        let rows = task.sums.len() / filters;
        for piece in pieces {
            let (planes, length) = all.planes(piece, &task, planes);
            let columns = all.columns(piece);
            let row = |row: usize| &planes[all.place(row, length)..][..columns];
            let from = &all.dy[piece.picture * all.each_out..][..all.each_out];
            let from = &from[task.group * filters * height * width..];
            for k in 0..filters {
                let dy = dy.get(columns);
                let from = &from[(k * height + piece.lines.start) * width..];
                for (to, from) in dy.chunks_exact_mut(line).zip(from.chunks_exact(width)) {
                    to[..width].copy_from_slice(from);
                    to[width..].fill(0.0);
                }
                let mut i = 0;
                while i < rows {
                    let left = rows - i;
                    let sums = &mut task.sums[i * filters..];
                    if left >= 5 {
                        let x = [row(i), row(i + 1), row(i + 2), row(i + 3), row(i + 4)];
                        dots::<S, 5>(simd, x, dy, filters, k, sums);
                        i += 5;
                    } else {
                        dots::<S, 1>(simd, [row(i)], dy, filters, k, sums);
                        i += 1;
                    }
                }
            }
        }
    }
}

/// Adds the products of `R` rows of pixels with a filter's dy to the `k`th of each row of `sums`, `[R, filters]`.
#[inline(always)]
fn dots<S: Simd, const R: usize>(
    simd: S,
    x: [&[f32]; R],
    dy: &[f32],
    filters: usize,
    k: usize,
    sums: &mut [f32],
) {
    let (vectors, tail) = S::as_simd_f32s(dy);
    let x = x.map(|x| {
        let (head, tail) = S::as_simd_f32s(x);
        (&head[..vectors.len()], tail)
    });
    let mut held = [simd.splat_f32s(0.0); R];
    for (v, dy) in vectors.iter().enumerate() {
        for r in 0..R {
            held[r] = simd.mul_add_e_f32s(x[r].0[v], *dy, held[r]);
        }
    }
    for r in 0..R {
        let rest = tail.iter().zip(x[r].1).map(|(dy, x)| dy * x);
        sums[r * filters + k] += simd.reduce_sum_f32s(held[r]) + rest.sum::<f32>();
    }
}
