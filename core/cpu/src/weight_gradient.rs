//! [`weight_gradient`]: what the weights of a convolution get from the gradient of what came out of it, of many pictures.
//!
//! It is a product of matrices: pixels under each tap, `[C / groups * KH * KW, columns]`, times dy, `[columns, K / groups]`, where the columns are
//! the outputs of all pictures. Sums are kept in registers, filters in their vectors: so dy is turned, a block of columns at a time
//! ([`Turned`]), and pixels are read one by one. At stride 1 a row of pixels is a channel's padded plane from the tap's place on: nothing is
//! gathered but zeros around it; then dy has zeros between its lines too. Where a filter sees few others, as in depthwise convolution, there are
//! no filters to fill vectors with: there each pair of rows is multiplied along the columns ([`Dots`]).
//!
//! Shapes: x `[N, C, H, W]`, dy `[N, K, H', W']`, dw `[K, C / groups, KH, KW]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::gather::{self, Gather};
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
    if shape.filters() < FEW {
        all.by_dots(dw, instructions);
    } else {
        all.by_rows(dw, instructions);
    }
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
    fn by_rows(&self, dw: &mut [f32], instructions: Instructions) {
        let Shape { groups, .. } = *self.shape;
        let (filters, seen, depth) = (self.shape.filters(), self.shape.seen(), self.shape.depth());
        let taps = depth / seen;
        let filled = filters.next_multiple_of(instructions.tile().lanes.max(4));
        let wanted = (4 * rayon::current_num_threads()).div_ceil(groups);
        let channels = seen.div_ceil(wanted).clamp(1, ROWS.div_ceil(taps));
        let mut sums = vec![0.0; groups * depth * filled];
        let mut turned = Buffer::default();
        for pieces in self.pieces(groups * filled) {
            let columns: usize = pieces.iter().map(|piece| self.columns(piece)).sum();
            let turned = turned.get(groups * columns * filled);
            self.turn(&pieces, filled, turned);
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
            tasks
                .into_par_iter()
                .for_each_init(Buffer::default, |room, task| {
                    let turned = &turned[task.group * columns * filled..][..columns * filled];
                    instructions.0.dispatch(ByRows {
                        all: self,
                        pieces: &pieces,
                        turned,
                        filled,
                        task,
                        room,
                    });
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

    /// Columns of a line: at stride 1 as many as a padded line of x has, so that a tap is a place in its plane.
    fn line(&self) -> usize {
        if self.at_once() {
            let (before, after) = self.x.padding[1];
            self.x.size[1] + before + after
        } else {
            self.out[1]
        }
    }

    /// Whether rows of pixels are parts of padded planes.
    fn at_once(&self) -> bool {
        self.shape.stride == [1; 2]
    }

    fn columns(&self, piece: &Piece) -> usize {
        piece.lines.len() * self.line()
    }

    /// All lines, so many at a time that what is turned of them has its bound.
    fn pieces(&self, filled: usize) -> Vec<Vec<Piece>> {
        let most = (TURNED / (filled * self.line())).max(1);
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

    /// What a task reads of a piece's pixels, and the length of a plane: at stride 1 a padded plane for each channel, else one for each tap of
    /// it.
    fn planes<'p>(
        &'p self,
        piece: &Piece,
        task: &Task,
        room: &'p mut Buffer,
    ) -> (&'p [f32], usize) {
        let Shape {
            kernel,
            stride,
            dilation,
            ..
        } = *self.shape;
        let ([height, width], line) = (self.x.size, self.line());
        let [top, left] = [self.x.padding[0].0, self.x.padding[1].0];
        let first = task.group * self.shape.seen() + task.channels.start;
        let values = &self.x.values[piece.picture * self.each..][..self.each];
        if self.shape.pointwise() && self.out == self.x.size {
            let length = height * width;
            let planes = &values[first * length..][..task.channels.len() * length];
            return (&planes[piece.lines.start * width..], length);
        }
        let plane_of = |c: usize| &values[(first + c) * height * width..][..height * width];
        if self.at_once() {
            let lines = piece.lines.len() + dilation[0] * (kernel[0] - 1);
            // What the last taps of the last line's zeros reach.
            let length = lines * line + dilation[1] * (kernel[1] - 1);
            let planes = room.get(task.channels.len() * length);
            for (c, to) in planes.chunks_exact_mut(length).enumerate() {
                let from = plane_of(c);
                to[lines * line..].fill(0.0);
                for (i, to) in to.chunks_exact_mut(line).take(lines).enumerate() {
                    let y = (piece.lines.start + i).checked_sub(top);
                    match y.filter(|y| *y < height) {
                        Some(y) => {
                            to[..left].fill(0.0);
                            to[left..left + width].copy_from_slice(&from[y * width..][..width]);
                            to[left + width..].fill(0.0);
                        }
                        None => to.fill(0.0),
                    }
                }
            }
            return (planes, length);
        }
        let length = self.columns(piece);
        let taps = kernel[0] * kernel[1];
        let planes = room.get(task.channels.len() * taps * length);
        for (row, to) in planes.chunks_exact_mut(length).enumerate() {
            let (from, tap) = (plane_of(row / taps), row % taps);
            let down = tap / kernel[1] * dilation[0];
            let right = tap % kernel[1] * dilation[1];
            for (i, to) in to.chunks_exact_mut(line).enumerate() {
                let y = ((piece.lines.start + i) * stride[0] + down).checked_sub(top);
                let Some(y) = y.filter(|y| *y < height) else {
                    to.fill(0.0);
                    continue;
                };
                let from = &from[y * width..][..width];
                for (x, to) in to.iter_mut().enumerate() {
                    let x = (x * stride[1] + right).checked_sub(left);
                    *to = x.and_then(|x| from.get(x)).copied().unwrap_or(0.0);
                }
            }
        }
        (planes, length)
    }

    /// Where a row of a task begins in its planes.
    fn place(&self, row: usize, length: usize) -> usize {
        let Shape {
            kernel, dilation, ..
        } = *self.shape;
        if !self.at_once() {
            return row * length;
        }
        let taps = kernel[0] * kernel[1];
        let (channel, tap) = (row / taps, row % taps);
        let down = tap / kernel[1] * dilation[0];
        let right = tap % kernel[1] * dilation[1];
        channel * length + down * self.line() + right
    }
}

/// The products of a task's rows with all filters.
struct ByRows<'a> {
    all: &'a Pictures<'a>,
    pieces: &'a [Piece],
    /// `[columns, filled]`
    turned: &'a [f32],
    filled: usize,
    task: Task<'a>,
    room: &'a mut Buffer,
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
            let (planes, length) = all.planes(piece, &task, room);
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

/// Columns of the pixels' matrix that are gathered together for [`Dots`].
const GATHERED: usize = 512;

/// Room of a thread.
#[derive(Default)]
struct Room {
    pixels: Buffer,
    runs: Vec<gather::Run>,
}

impl Pictures<'_> {
    fn by_dots(&self, dw: &mut [f32], instructions: Instructions) {
        let (filters, depth) = (self.shape.filters(), self.shape.depth());
        let plane = self.out[0] * self.out[1];
        let groups = dw.par_chunks_exact_mut(filters * depth).enumerate();
        groups.for_each_init(Room::default, |room, (group, dw)| {
            let pictures = self.x.values.chunks_exact(self.each);
            for (values, dy) in pictures.zip(self.dy.chunks_exact(self.each_out)) {
                let x = Picture { values, ..self.x };
                instructions.0.dispatch(Dots {
                    gather: Gather::new(&x, self.shape, group).expect("something comes out"),
                    dy: &dy[group * filters * plane..][..filters * plane],
                    rows: 0..depth,
                    sums: dw,
                    room,
                });
            }
        });
    }
}

/// Products of the rows of dy with some rows of the pixels' matrix.
struct Dots<'a> {
    gather: Gather<'a>,
    dy: &'a [f32],
    rows: Range<usize>,
    /// `[K / groups, rows]`
    sums: &'a mut [f32],
    room: &'a mut Room,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            gather, rows, sums, ..
        } = self;
        let (plane, count) = (gather.columns(), rows.len());
        for from in (0..plane).step_by(GATHERED) {
            let columns = from..(from + GATHERED).min(plane);
            gather.runs(columns.clone(), GATHERED, &mut self.room.runs);
            let pixels = self.room.pixels.get(count * GATHERED);
            let runs = &self.room.runs;
            gather.fill(rows.clone(), runs, pixels, GATHERED, |column, row| {
                row * GATHERED + column
            });
            let dy = &self.dy[from..];
            let a = (dy, plane);
            let b = (&*pixels, GATHERED);
            if S::REGISTER_COUNT >= 32 {
                dots::<S, 4, 6>(simd, a, b, columns.len(), count, sums);
            } else {
                dots::<S, 3, 4>(simd, a, b, columns.len(), count, sums);
            }
        }
    }
}

/// Adds the products of each row of `a` with each of `b`'s first `count` to `sums`, `len` numbers of each row; rows begin at the strides.
#[inline(always)]
fn dots<S: Simd, const R: usize, const C: usize>(
    simd: S,
    a: (&[f32], usize),
    b: (&[f32], usize),
    len: usize,
    count: usize,
    sums: &mut [f32],
) {
    let rows = sums.len() / count;
    let mut i = 0;
    while i < rows {
        let tall = i + R <= rows;
        let mut j = 0;
        while j < count {
            let wide = j + C <= count;
            let at = (i, j, count);
            match (tall, wide) {
                (true, true) => dot::<S, R, C>(simd, a, b, len, at, sums),
                (true, false) => dot::<S, R, 1>(simd, a, b, len, at, sums),
                (false, true) => dot::<S, 1, C>(simd, a, b, len, at, sums),
                (false, false) => dot::<S, 1, 1>(simd, a, b, len, at, sums),
            }
            j += if wide { C } else { 1 };
        }
        i += if tall { R } else { 1 };
    }
}

#[inline(always)]
fn dot<S: Simd, const R: usize, const C: usize>(
    simd: S,
    (a, a_step): (&[f32], usize),
    (b, b_step): (&[f32], usize),
    len: usize,
    (i, j, count): (usize, usize, usize),
    sums: &mut [f32],
) {
    let vectors = len / S::F32_LANES;
    let mut heads_a: [&[S::f32s]; R] = [&[]; R];
    for r in 0..R {
        let row = &a[(i + r) * a_step..][..len];
        heads_a[r] = &S::as_simd_f32s(row).0[..vectors];
    }
    let mut heads_b: [&[S::f32s]; C] = [&[]; C];
    for c in 0..C {
        let row = &b[(j + c) * b_step..][..len];
        heads_b[c] = &S::as_simd_f32s(row).0[..vectors];
    }
    let mut held = [[simd.splat_f32s(0.0); C]; R];
    for v in 0..vectors {
        for c in 0..C {
            let b = heads_b[c][v];
            for r in 0..R {
                held[r][c] = simd.mul_add_e_f32s(heads_a[r][v], b, held[r][c]);
            }
        }
    }
    let tail = vectors * S::F32_LANES..len;
    for r in 0..R {
        for c in 0..C {
            let mut sum = simd.reduce_sum_f32s(held[r][c]);
            for t in tail.clone() {
                sum += a[(i + r) * a_step + t] * b[(j + c) * b_step + t];
            }
            sums[(i + r) * count + j + c] += sum;
        }
    }
}
