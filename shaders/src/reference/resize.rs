//! Resizing pictures to the pixel as OpenCV 4 does (`cv2.resize`, through mmcv's `imresize`).
//!
//! u8 follows OpenCV's fixed-point arithmetic: weights of 11 bits, horizontal pass first. f32 uses
//! the same taps in floating point. Against OpenCV 4.11 on 172 pairs of sizes with 1, 3 and 4
//! channels: no different pixel for u8 nearest, linear, area and lanczos; cubic differs by 1 level
//! in 4% of the samples with Intel's IPP, in 3e-7 of them without; f32 within 1e-4 of 255 without
//! IPP (with it, OpenCV's own linear and cubic move by up to 0.05).
//!
//! Not done in one dispatch with the rest of the preprocessing (`preprocess.rs` is, for nearest
//! and linear): these are the paths that test pipelines seldom ask for.

use super::wide::wide;

/// How values between pixels are found; the names are mmcv's (`area` averages the covered pixels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The pixel whose cell holds the point, without rounding to the centre (as OpenCV).
    Nearest,
    /// 2x2 pixels.
    Linear,
    /// 4x4 pixels, a = -0.75.
    Cubic,
    /// Mean over the covered area when shrinking, a kind of linear when enlarging.
    Area,
    /// 8x8 pixels.
    Lanczos4,
}

/// A picture in memory: rows of `width * channels` interleaved samples, no gap between rows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    /// `height * width * channels` samples.
    pub pixels: &'a [T],
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Samples of one pixel.
    pub channels: usize,
}

impl<'a, T> View<'a, T> {
    /// Wraps `pixels`.
    ///
    /// # Panics
    /// If their number is not `width * height * channels`.
    pub fn new(pixels: &'a [T], width: usize, height: usize, channels: usize) -> Self {
        assert_eq!(
            pixels.len(),
            width * height * channels,
            "the pixels of a view"
        );
        Self {
            pixels,
            width,
            height,
            channels,
        }
    }

    fn row(&self, y: usize) -> &'a [T] {
        let stride = self.width * self.channels;
        &self.pixels[y * stride..(y + 1) * stride]
    }
}

/// Fixed-point one: OpenCV's `INTER_RESIZE_COEF_SCALE`.
pub(super) const ONE: f32 = 2048.0;

/// Source positions and weights for every position of a resized axis.
#[doc(hidden)]
pub struct Taps {
    /// Taps per position.
    count: usize,
    /// `positions * count`, clamped to the source.
    index: Vec<usize>,
    /// `positions * count`, summing to 1.
    weight: Vec<f32>,
}

/// The sample types that can be resized.
pub trait Sample: Copy + Default {
    /// The value as a float.
    fn to_f32(self) -> f32;
    /// Rounds (half to even) and saturates where the type is an integer.
    fn from_f32(value: f32) -> Self;
    #[doc(hidden)]
    fn separable(source: View<'_, Self>, columns: &Taps, rows: &Taps) -> Vec<Self>;
}

impl Sample for u8 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        // The sum's lower bits are the nearest whole number, ties to even: one instruction for a whole vector.
        // `round_ties_even` is a call on many targets.
        const ROUND: f32 = 12_582_912.0;
        (value.clamp(0.0, 255.0) + ROUND).to_bits() as u8
    }

    #[inline(always)]
    fn separable(source: View<'_, u8>, columns: &Taps, rows: &Taps) -> Vec<u8> {
        if columns.count == 2 {
            return linear(source, columns, rows);
        }
        let column_weights: Vec<i32> = columns.weight.iter().map(|w| fixed(*w)).collect();
        let row_weights: Vec<i32> = rows.weight.iter().map(|w| fixed(*w)).collect();
        let scale = 1.0 / (ONE * ONE);
        two_passes(
            source,
            columns,
            rows,
            |row, line| {
                gather(
                    row,
                    source.channels,
                    columns,
                    &column_weights,
                    line,
                    |v, w| i32::from(v) * w,
                );
            },
            |y, lines, target: &mut [u8]| {
                let weights = &row_weights[y * rows.count..][..rows.count];
                if rows.count == 4 {
                    // OpenCV's vector code sums in floating point, from the last tap up.
                    for (x, value) in target.iter_mut().enumerate() {
                        let mut sum = 0.0;
                        for (line, weight) in lines.iter().zip(weights).rev() {
                            sum += line[x] as f32 * (*weight as f32 * scale);
                        }
                        *value = u8::from_f32(sum);
                    }
                } else {
                    for (x, value) in target.iter_mut().enumerate() {
                        let sum: i32 = lines.iter().zip(weights).map(|(l, w)| l[x] * w).sum();
                        *value = ((sum + (1 << 21)) >> 22).clamp(0, 255) as u8;
                    }
                }
            },
        )
    }
}

impl Sample for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn separable(source: View<'_, f32>, columns: &Taps, rows: &Taps) -> Vec<f32> {
        two_passes(
            source,
            columns,
            rows,
            |row, line| {
                gather(
                    row,
                    source.channels,
                    columns,
                    &columns.weight,
                    line,
                    |v, w| v * w,
                );
            },
            |y, lines, target: &mut [f32]| {
                let weights = &rows.weight[y * rows.count..][..rows.count];
                if let ([a, b], [wa, wb]) = (lines, weights) {
                    for ((value, a), b) in target.iter_mut().zip(*a).zip(*b) {
                        *value = a * wa + b * wb;
                    }
                    return;
                }
                for (x, value) in target.iter_mut().enumerate() {
                    *value = lines.iter().zip(weights).map(|(l, w)| l[x] * w).sum();
                }
            },
        )
    }
}

/// Resizes to `width` x `height` pixels. An empty source or target gives zeros.
pub fn resize<T: Sample>(
    source: View<'_, T>,
    width: usize,
    height: usize,
    interpolation: Interpolation,
) -> Vec<T> {
    if source.pixels.is_empty() || width == 0 || height == 0 {
        return vec![T::default(); width * height * source.channels];
    }
    if (source.width, source.height) == (width, height) {
        return source.pixels.to_vec();
    }
    match way(
        [source.width, source.height],
        [width, height],
        interpolation,
    ) {
        Way::Nearest => nearest(source, width, height),
        Way::Mean => area_whole(source, width, height),
        Way::Area => area(source, width, height),
        Way::Taps => {
            let columns = taps(source.width, width, interpolation, true);
            let rows = taps(source.height, height, interpolation, false);
            separable(source, &columns, &rows)
        }
    }
}

/// Linear in f64, weights too: what OpenCV's build for x86 makes of numpy's default floats, by Intel's IPP (OpenCV's own
/// code has weights in f32). The last bit of a sample may differ from theirs.
pub fn linear_f64(source: View<'_, f64>, width: usize, height: usize) -> Vec<f64> {
    let axis = |source: usize, target: usize| -> Vec<(usize, usize, f64)> {
        let (scale, last) = (source as f64 / target as f64, source as i64 - 1);
        let position = |x: usize| {
            let at = (x as f64 + 0.5) * scale - 0.5;
            let first = at.floor() as i64;
            let clamped = |at: i64| at.clamp(0, last) as usize;
            (clamped(first), clamped(first + 1), at - at.floor())
        };
        (0..target).map(position).collect()
    };
    let channels = source.channels;
    if source.pixels.is_empty() || width == 0 || height == 0 {
        return vec![0.0; width * height * channels];
    }
    let columns = axis(source.width, width);
    let line = |y: usize| {
        let row = source.row(y);
        let samples = columns.iter().flat_map(move |&(a, b, f)| {
            let (a, b) = (a * channels, b * channels);
            (0..channels).map(move |c| row[a + c] + (row[b + c] - row[a + c]) * f)
        });
        samples.collect::<Vec<f64>>()
    };
    let mut lines = (usize::MAX, usize::MAX, Vec::new(), Vec::new());
    let mut out = Vec::with_capacity(width * height * channels);
    for (a, b, f) in axis(source.height, height) {
        if (lines.0, lines.1) != (a, b) {
            lines = (a, b, line(a), line(b));
        }
        out.extend(lines.2.iter().zip(&lines.3).map(|(a, b)| a + (b - a) * f));
    }
    out
}

/// What a resize comes to.
enum Way {
    Nearest,
    /// The mean of whole blocks.
    Mean,
    Area,
    Taps,
}

fn way(source: [usize; 2], target: [usize; 2], interpolation: Interpolation) -> Way {
    let scale_x = scale(source[0], target[0]);
    let scale_y = scale(source[1], target[1]);
    let whole = |s: f64| (s - s.round()).abs() < f64::EPSILON;
    let halved = scale_x == 2.0 && scale_y == 2.0;
    let shrinks = scale_x >= 1.0 && scale_y >= 1.0;
    match interpolation {
        Interpolation::Nearest => Way::Nearest,
        Interpolation::Area if shrinks && whole(scale_x) && whole(scale_y) => Way::Mean,
        Interpolation::Linear if halved => Way::Mean,
        Interpolation::Area if shrinks => Way::Area,
        _ => Way::Taps,
    }
}

/// How the kernel `augment/resize` adds samples up; the values are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Sum {
    /// u8, two taps an axis.
    Linear = 0,
    /// u8, four.
    Cubic = 1,
    /// u8, in whole numbers.
    Whole = 2,
    /// In floating point.
    Float = 3,
    /// The mean of a block.
    Mean = 4,
    /// Pillow's.
    Pillow = 5,
}

/// Tables of a resize for the kernel `augment/resize`.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The arithmetic.
    pub sum: Sum,
    /// Per target position first entry and number of entries; then entries: source position, weight.
    pub columns: Vec<u32>,
    /// Likewise.
    pub rows: Vec<u32>,
    /// What a mean multiplies its sum with.
    pub share: f32,
    /// Whether a mean is rounded half up.
    pub half_up: bool,
}

impl Packed {
    /// Source pixels that the target pixel with the most of them is made of.
    pub fn most_taps(&self, target: [usize; 2]) -> usize {
        let most = |axis: &[u32], length: usize| {
            let counts = axis[..length * 2].iter().skip(1).step_by(2);
            counts.max().map_or(0, |n| *n as usize)
        };
        most(&self.columns, target[0]).saturating_mul(most(&self.rows, target[1]))
    }
}

/// One axis of [`Packed`].
pub(super) fn pack_axis(positions: impl Iterator<Item = Vec<(usize, u32)>>) -> Vec<u32> {
    let (mut heads, mut entries) = (Vec::new(), Vec::new());
    for position in positions {
        heads.extend([entries.len() as u32 / 2, position.len() as u32]);
        entries.extend(position.iter().flat_map(|(at, w)| [*at as u32, *w]));
    }
    heads.append(&mut entries);
    heads
}

/// Binding 0 of the kernel for [`resize`] of u8 or f32 (`float`) from a source of any size but 0 to another size.
/// `None` for [`Interpolation::Nearest`], of which [`nearest_positions`] tells all.
pub fn pack(
    source: [usize; 2],
    target: [usize; 2],
    interpolation: Interpolation,
    float: bool,
) -> Option<Packed> {
    let axes = |axis: &dyn Fn(usize) -> Vec<u32>| [axis(0), axis(1)];
    let (mut share, mut half_up) = (0.0, false);
    let (sum, [columns, rows]) = match way(source, target, interpolation) {
        Way::Nearest => return None,
        Way::Mean => {
            let block: [usize; 2] = std::array::from_fn(|i| source[i] / target[i]);
            share = 1.0 / (block[0] * block[1]) as f32;
            half_up = block == [2, 2] && !float;
            let axis = |i: usize| {
                let cell = |x: usize| (x * block[i]..(x + 1) * block[i]).map(|at| (at, 0));
                pack_axis((0..target[i]).map(|x| cell(x).collect()))
            };
            (Sum::Mean, axes(&axis))
        }
        Way::Area => {
            let axis = |i: usize| {
                let cells = cells(source[i], target[i]);
                let entries = |(start, weights): &(usize, Vec<f32>)| {
                    let weights = weights.iter().enumerate();
                    weights.map(|(k, w)| (start + k, w.to_bits())).collect()
                };
                pack_axis(cells.iter().map(entries))
            };
            (Sum::Float, axes(&axis))
        }
        Way::Taps => {
            let mut count = 0;
            let mut axis = |i: usize| {
                let taps = taps(source[i], target[i], interpolation, i == 0);
                count = taps.count;
                let weight = |w: &f32| {
                    if float { w.to_bits() } else { fixed(*w) as u32 }
                };
                let index = taps.index.chunks_exact(count);
                pack_axis(index.zip(taps.weight.chunks_exact(count)).map(|(at, w)| {
                    let mut entries: Vec<_> =
                        at.iter().copied().zip(w.iter().map(weight)).collect();
                    if count == 4 && !float && i == 1 {
                        entries.reverse(); // the order in which `separable` adds rows up
                    }
                    entries
                }))
            };
            let axes = [axis(0), axis(1)];
            let sum = match count {
                _ if float => Sum::Float,
                2 => Sum::Linear,
                4 => Sum::Cubic,
                _ => Sum::Whole,
            };
            (sum, axes)
        }
    };
    Some(Packed {
        sum,
        columns,
        rows,
        share,
        half_up,
    })
}

/// Where nearest looks, for every position of an axis.
pub fn nearest_positions(source: usize, target: usize) -> Vec<usize> {
    let scale = scale(source, target);
    (0..target)
        .map(|x| nearest_position(x, scale, source))
        .collect()
}

fn fixed(weight: f32) -> i32 {
    (weight * ONE).round_ties_even() as i32
}

/// Source pixels per target pixel, as OpenCV rounds it.
pub(super) fn scale(source: usize, target: usize) -> f64 {
    1.0 / (target as f64 / source as f64)
}

/// Where the linear kernel looks: source position before clamping, and the weight of the next one.
pub(super) fn linear_position(target: usize, scale: f64) -> (i64, f32) {
    let at = ((target as f64 + 0.5) * scale - 0.5) as f32;
    (at.floor() as i64, at - at.floor())
}

/// The source position of nearest.
pub(super) fn nearest_position(target: usize, scale: f64, source: usize) -> usize {
    ((target as f64 * scale).floor() as usize).min(source - 1)
}

fn nearest<T: Sample>(source: View<'_, T>, width: usize, height: usize) -> Vec<T> {
    let columns = nearest_positions(source.width, width);
    let mut out = Vec::with_capacity(width * height * source.channels);
    for y in nearest_positions(source.height, height) {
        let row = source.row(y);
        for x in &columns {
            out.extend_from_slice(&row[x * source.channels..][..source.channels]);
        }
    }
    out
}

fn taps(source: usize, target: usize, interpolation: Interpolation, column: bool) -> Taps {
    let count: usize = match interpolation {
        Interpolation::Cubic => 4,
        Interpolation::Lanczos4 => 8,
        _ => 2,
    };
    let scale = scale(source, target);
    let last = source as i64 - 1;
    let mut index = Vec::with_capacity(target * count);
    let mut weight = Vec::with_capacity(target * count);
    for x in 0..target {
        let (mut at, mut fraction) = if interpolation == Interpolation::Area {
            let at = (x as f64 * scale).floor();
            let f = ((x + 1) as f64 - (at + 1.0) / scale) as f32;
            (at as i64, if f <= 0.0 { 0.0 } else { f - f.floor() })
        } else {
            linear_position(x, scale)
        };
        if column && count == 2 && (at < 0 || at >= last) {
            (at, fraction) = (at.clamp(0, last), 0.0);
        }
        let first = at - (count as i64 / 2 - 1);
        index.extend((0..count as i64).map(|k| (first + k).clamp(0, last) as usize));
        match count {
            4 => weight.extend(cubic(fraction)),
            8 => weight.extend(lanczos4(fraction)),
            _ => weight.extend([1.0 - fraction, fraction]),
        }
    }
    Taps {
        count,
        index,
        weight,
    }
}

fn cubic(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let outer = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let inner = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let (a, b, c) = (outer(x + 1.0), inner(x), inner(1.0 - x));
    [a, b, c, 1.0 - a - b - c]
}

fn lanczos4(x: f32) -> [f32; 8] {
    use std::f64::consts::{FRAC_1_SQRT_2 as S, FRAC_PI_4};
    const TURN: [[f64; 2]; 8] = [
        [1.0, 0.0],
        [-S, -S],
        [0.0, 1.0],
        [S, -S],
        [-1.0, 0.0],
        [S, S],
        [0.0, -1.0],
        [-S, S],
    ];
    let (sin, cos) = (-f64::from(x + 3.0) * FRAC_PI_4).sin_cos();
    let mut weights = [0.0f32; 8];
    for (i, weight) in weights.iter_mut().enumerate() {
        let distance = x + 3.0 - i as f32;
        *weight = if distance.abs() >= 1e-6 {
            let y = -f64::from(distance) * FRAC_PI_4;
            ((TURN[i][0] * sin + TURN[i][1] * cos) / (y * y)) as f32
        } else {
            1e30
        };
    }
    let sum = 1.0 / weights.iter().sum::<f32>();
    weights.map(|w| w * sum)
}

/// Horizontal pass into a ring of rows, then the vertical pass: no row is resampled twice in a row.
#[inline(always)]
fn two_passes<T: Sample, A: Copy + Default>(
    source: View<'_, T>,
    columns: &Taps,
    rows: &Taps,
    horizontal: impl Fn(&[T], &mut [A]),
    vertical: impl Fn(usize, &[&[A]], &mut [T]),
) -> Vec<T> {
    let width = columns.index.len() / columns.count * source.channels;
    let height = rows.index.len() / rows.count;
    let mut out = vec![T::default(); width * height];
    let mut ring: Vec<(Option<usize>, Vec<A>)> =
        vec![(None, vec![A::default(); width]); rows.count];
    for (y, target) in out.chunks_exact_mut(width).enumerate() {
        let wanted = &rows.index[y * rows.count..][..rows.count];
        // A row that is wanted lives in slot `row % count`: wanted rows are consecutive.
        for &row in wanted {
            let slot = &mut ring[row % rows.count];
            if slot.0 != Some(row) {
                horizontal(source.row(row), &mut slot.1);
                slot.0 = Some(row);
            }
        }
        let mut lines: [&[A]; 8] = [&[]; 8];
        for (line, &row) in lines.iter_mut().zip(wanted) {
            *line = &ring[row % rows.count].1;
        }
        vertical(y, &lines[..rows.count], target);
    }
    out
}

/// u8 with two taps an axis: 16-bit lines, of which four bits are cut as in OpenCV.
#[inline(always)]
fn linear(source: View<'_, u8>, columns: &Taps, rows: &Taps) -> Vec<u8> {
    let weights =
        |taps: &Taps| -> Vec<i16> { taps.weight.iter().map(|w| fixed(*w) as i16).collect() };
    let (column_weights, row_weights) = (weights(columns), weights(rows));
    two_passes(
        source,
        columns,
        rows,
        |row, line: &mut [i16]| {
            let sum = |a: u8, wa: i16, b: u8, wb: i16| {
                ((i32::from(a) * i32::from(wa) + i32::from(b) * i32::from(wb)) >> 4) as i16
            };
            pairs(row, source.channels, columns, &column_weights, line, sum);
        },
        |y, lines, target: &mut [u8]| {
            let [wa, wb] = [row_weights[2 * y], row_weights[2 * y + 1]];
            let upper = |a: i16, w: i16| ((i32::from(a) * i32::from(w)) >> 16) as i16;
            for ((value, a), b) in target.iter_mut().zip(lines[0]).zip(lines[1]) {
                *value = ((upper(*a, wa) + upper(*b, wb) + 2) >> 2) as u8;
            }
        },
    )
}

/// `sum` of the two weighed samples of every position of a line.
#[inline(always)]
fn pairs<T: Copy, W: Copy, A>(
    row: &[T],
    channels: usize,
    taps: &Taps,
    weights: &[W],
    line: &mut [A],
    sum: impl Fn(T, W, T, W) -> A,
) {
    #[inline(always)]
    fn fixed<const C: usize, T: Copy, W: Copy, A>(
        row: &[T],
        taps: &Taps,
        weights: &[W],
        line: &mut [A],
        sum: impl Fn(T, W, T, W) -> A,
    ) {
        let (row, _) = row.as_chunks::<C>();
        let (line, _) = line.as_chunks_mut::<C>();
        let (index, _) = taps.index.as_chunks::<2>();
        let (weights, _) = weights.as_chunks::<2>();
        for ((pixel, [a, b]), [wa, wb]) in line.iter_mut().zip(index).zip(weights) {
            let (a, b) = (row[*a], row[*b]);
            for c in 0..C {
                pixel[c] = sum(a[c], *wa, b[c], *wb);
            }
        }
    }
    match channels {
        1 => fixed::<1, _, _, _>(row, taps, weights, line, sum),
        3 => fixed::<3, _, _, _>(row, taps, weights, line, sum),
        _ => {
            let index = taps.index.chunks_exact(2).zip(weights.chunks_exact(2));
            for (pixel, (index, weight)) in line.chunks_exact_mut(channels).zip(index) {
                for (c, value) in pixel.iter_mut().enumerate() {
                    let [a, b] = [0, 1].map(|k| row[index[k] * channels + c]);
                    *value = sum(a, weight[0], b, weight[1]);
                }
            }
        }
    }
}

#[inline(always)]
fn gather<T: Copy, W: Copy, A: std::iter::Sum<A> + std::ops::Add<Output = A>>(
    row: &[T],
    channels: usize,
    taps: &Taps,
    weights: &[W],
    line: &mut [A],
    product: impl Fn(T, W) -> A,
) {
    if taps.count == 2 {
        let sum = |a, wa, b, wb| product(a, wa) + product(b, wb);
        return pairs(row, channels, taps, weights, line, sum);
    }
    let positions = taps
        .index
        .chunks_exact(taps.count)
        .zip(weights.chunks_exact(taps.count));
    for (pixel, (index, weight)) in line.chunks_exact_mut(channels).zip(positions) {
        for (c, value) in pixel.iter_mut().enumerate() {
            *value = index
                .iter()
                .zip(weight)
                .map(|(&i, &w)| product(row[i * channels + c], w))
                .sum();
        }
    }
}

wide!(
    fn separable<T: Sample>(source: View<'_, T>, columns: &Taps, rows: &Taps) -> Vec<T> = T::separable
);

wide!(
    fn area_whole<T: Sample>(source: View<'_, T>, width: usize, height: usize) -> Vec<T> = blocks
);

/// Both scales are whole numbers: the plain mean of a block. For u8 the sum is whole too.
#[inline(always)]
fn blocks<T: Sample>(source: View<'_, T>, width: usize, height: usize) -> Vec<T> {
    let (bx, by) = (source.width / width, source.height / height);
    let channels = source.channels;
    let share = 1.0 / (bx * by) as f32;
    // OpenCV rounds a mean of four half up, every other one half to even.
    let four_u8 = bx == 2 && by == 2 && T::from_f32(0.5).to_f32() == 0.0;
    let mean = |sum: f32| {
        T::from_f32(if four_u8 {
            (sum * share + 0.5) as i32 as f32
        } else {
            sum * share
        })
    };
    let mut out = Vec::with_capacity(width * height * channels);
    let mut sums = vec![0.0f32; width * channels];
    for y in 0..height {
        sums.fill(0.0);
        for row in y * by..(y + 1) * by {
            let blocks = source.row(row).chunks_exact(bx * channels);
            for (sums, block) in sums.chunks_exact_mut(channels).zip(blocks) {
                for pixel in block.chunks_exact(channels) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += value.to_f32();
                    }
                }
            }
        }
        out.extend(sums.iter().map(|&sum| mean(sum)));
    }
    out
}

/// Cells of one axis: per target position its first source position and the weights from there.
fn cells(source: usize, target: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = scale(source, target);
    (0..target)
        .map(|x| {
            let from = x as f64 * scale;
            let to = from + scale;
            let cell = scale.min(source as f64 - from);
            let last = (to.floor() as usize).min(source - 1);
            let first = (from.ceil() as usize).min(last);
            let mut weights = Vec::new();
            let mut start = first;
            if first as f64 - from > 1e-3 && first > 0 {
                start = first - 1;
                weights.push(((first as f64 - from) / cell) as f32);
            }
            weights.extend((first..last).map(|_| (1.0 / cell) as f32));
            if to - last as f64 > 1e-3 {
                weights.push(((to - last as f64).min(1.0).min(cell) / cell) as f32);
            }
            (start, weights)
        })
        .collect()
}

fn area<T: Sample>(source: View<'_, T>, width: usize, height: usize) -> Vec<T> {
    let channels = source.channels;
    let (columns, rows) = (cells(source.width, width), cells(source.height, height));
    let mut out = Vec::with_capacity(width * height * channels);
    let mut line = vec![0.0f32; width * channels];
    let mut sum = vec![0.0f32; width * channels];
    for (start, weights) in &rows {
        sum.fill(0.0);
        for (k, beta) in weights.iter().enumerate() {
            let row = source.row(start + k);
            line.fill(0.0);
            for ((start, weights), pixel) in columns.iter().zip(line.chunks_exact_mut(channels)) {
                for (k, alpha) in weights.iter().enumerate() {
                    let from = &row[(start + k) * channels..][..channels];
                    for (value, sample) in pixel.iter_mut().zip(from) {
                        *value += sample.to_f32() * alpha;
                    }
                }
            }
            for (total, value) in sum.iter_mut().zip(&line) {
                *total += beta * value;
            }
        }
        out.extend(sum.iter().map(|v| T::from_f32(*v)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `height` x `width` x 3 by an integer formula, and what OpenCV 4.11 makes of it: the first
    /// and last 6 samples of every mode, per target size.
    fn picture(width: usize, height: usize) -> Vec<u8> {
        (0..width * height * 3)
            .map(|i| ((i * i * 7 + i * 31 + (i >> 3) * 17) % 251) as u8)
            .collect()
    }

    const MODES: [Interpolation; 5] = [
        Interpolation::Nearest,
        Interpolation::Linear,
        Interpolation::Cubic,
        Interpolation::Area,
        Interpolation::Lanczos4,
    ];

    type Expected = ([usize; 4], [[u8; 12]; 5]);
    #[rustfmt::skip]
    const OPENCV: &[Expected] = &[
        ([7, 5, 11, 8], [
            [0, 38, 90, 0, 38, 90, 94, 12, 195, 141, 101, 92],
            [0, 38, 90, 71, 128, 85, 119, 60, 139, 141, 101, 92],
            [0, 14, 81, 72, 143, 69, 105, 54, 151, 144, 112, 89],
            [0, 38, 90, 67, 123, 85, 121, 63, 136, 141, 101, 92],
            [0, 6, 87, 73, 140, 68, 93, 62, 150, 144, 115, 92],
        ]),
        ([12, 10, 6, 5], [
            [0, 38, 90, 187, 58, 211, 238, 126, 28, 27, 250, 2],
            [125, 126, 75, 143, 36, 198, 136, 176, 100, 70, 127, 76],
            [127, 152, 56, 137, 3, 242, 139, 179, 91, 59, 119, 48],
            [125, 126, 75, 143, 36, 198, 136, 176, 100, 70, 127, 76],
            [123, 163, 49, 126, 0, 255, 129, 178, 79, 57, 112, 31],
        ]),
        ([23, 17, 9, 16], [
            [0, 38, 90, 187, 58, 211, 199, 130, 92, 99, 173, 244],
            [119, 189, 83, 123, 49, 151, 118, 163, 147, 225, 64, 144],
            [120, 212, 70, 119, 46, 153, 121, 161, 143, 236, 54, 137],
            [103, 119, 115, 137, 61, 138, 102, 172, 158, 201, 87, 166],
            [119, 213, 71, 125, 60, 150, 132, 151, 142, 240, 51, 133],
        ]),
        ([1, 6, 3, 4], [
            [0, 38, 90, 0, 38, 90, 142, 97, 66, 142, 97, 66],
            [39, 88, 87, 39, 88, 87, 72, 72, 72, 72, 72, 72],
            [34, 89, 83, 34, 89, 83, 71, 73, 67, 71, 73, 67],
            [52, 104, 86, 52, 104, 86, 80, 74, 71, 80, 74, 71],
            [30, 91, 79, 30, 91, 79, 74, 75, 64, 74, 75, 64],
        ]),
        ([30, 20, 10, 4], [
            [0, 38, 90, 110, 23, 201, 99, 216, 113, 167, 176, 182],
            [12, 119, 223, 105, 70, 49, 27, 196, 128, 61, 105, 180],
            [12, 119, 223, 105, 70, 49, 27, 196, 128, 61, 105, 180],
            [127, 135, 125, 87, 106, 119, 87, 124, 126, 139, 120, 112],
            [12, 119, 223, 105, 70, 49, 27, 196, 128, 61, 105, 180],
        ]),
    ];

    #[test]
    fn same_pixels_as_opencv() {
        for ([w, h, dw, dh], rows) in OPENCV {
            let source = picture(*w, *h);
            for (mode, expected) in MODES.iter().zip(rows) {
                let out = resize(View::new(&source, *w, *h, 3), *dw, *dh, *mode);
                let n = out.len();
                let found: Vec<u8> = out[..6].iter().chain(&out[n - 6..]).copied().collect();
                // cubic: OpenCV with IPP is 1 level away in places
                let tolerance = u8::from(*mode == Interpolation::Cubic);
                for (a, b) in found.iter().zip(expected) {
                    assert!(
                        a.abs_diff(*b) <= tolerance,
                        "{mode:?} {w}x{h} to {dw}x{dh}: {found:?}, OpenCV {expected:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        for size in [1, 2, 63, 64, 65] {
            for mode in MODES {
                let u8s = vec![200u8; 9 * 5 * 4];
                let out = resize(View::new(&u8s, 9, 5, 4), size, 7, mode);
                assert!(
                    out.len() == size * 7 * 4 && out.iter().all(|v| *v == 200),
                    "{mode:?}"
                );
                let f32s = vec![200.0f32; 9 * 5];
                let out = resize(View::new(&f32s, 9, 5, 1), size, 7, mode);
                assert!(out.iter().all(|v| (v - 200.0).abs() < 1e-3), "{mode:?}");
            }
        }
    }

    /// Values of cv2 4.11: `cv2.resize(np.array([[0., 9.], [90., 30.]]), (3, 4))`.
    #[test]
    fn linear_in_f64() {
        let found = linear_f64(View::new(&[0.0, 9.0, 90.0, 30.0], 2, 2, 1), 3, 4);
        let expected = [
            0.0,
            4.499999999999999,
            9.0,
            22.5,
            18.375,
            14.25,
            67.5,
            46.125,
            24.75,
            90.0,
            60.0,
            30.0,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(linear_f64(View::new(&[], 0, 0, 3), 1, 1), [0.0; 3]);
    }

    #[test]
    fn empty_and_single() {
        assert!(
            resize(
                View::new(&[1u8, 2, 3], 1, 1, 3),
                0,
                4,
                Interpolation::Linear
            )
            .is_empty()
        );
        assert_eq!(
            resize(View::<u8>::new(&[], 0, 3, 1), 2, 1, Interpolation::Area),
            [0, 0]
        );
        assert_eq!(
            resize(View::new(&[7u8], 1, 1, 1), 3, 2, Interpolation::Lanczos4),
            [7; 6]
        );
    }
}
