//! Sources seen through affine maps, painted on a target: bilinear, every weight an integer.
//!
//! A source index has 32 bits before and 32 after the point, computed exactly ([`FixedMap`]); weights have 6 bits in x and in y.
//! u8: `(sum of 4 samples times weights of 12 bits + 2048) >> 12`. OpenCV's warps have 5 bits a direction and agree within a level where
//! the picture is smooth. Beyond the border the last pixel is repeated.

#[cfg(target_arch = "x86_64")]
use super::gather_avx2 as avx2;
use crate::reference::resize::View;

/// Bits of the weight in one direction.
pub const BITS: u32 = 6;
/// Weights of a sample: `ONE` in each direction.
pub const ONE: u32 = 1 << BITS;

/// The columns `[from, to)` of one row.
pub type Span = [u32; 2];

/// An affine map from target to source indices in integers of 2^-32 px: x = `x[0] * x + x[1] * y + x[2]`, and so for y.
/// The half that rounding to the weight's bits needs is already in `x[2]` and `y[2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedMap {
    /// Terms of the source column.
    pub x: [i64; 3],
    /// Terms of the source row.
    pub y: [i64; 3],
}

impl FixedMap {
    /// `None` if a term is no number, or so large that sums could overflow.
    pub fn new(rows: [[f64; 3]; 2]) -> Option<Self> {
        let fixed =
            |v: f64, most: f64| (v.abs() < most).then(|| (v * 4_294_967_296.0).round() as i64);
        let half = 1i64 << (31 - BITS);
        let row = |[a, b, c]: [f64; 3]| {
            Some([
                fixed(a, 4096.0)?,
                fixed(b, 4096.0)?,
                fixed(c, 16_777_216.0)? + half,
            ])
        };
        Some(Self {
            x: row(rows[0])?,
            y: row(rows[1])?,
        })
    }

    /// Source column and row of a target pixel, times 2^32.
    #[inline]
    pub fn at(&self, x: u32, y: u32) -> [i64; 2] {
        let (x, y) = (i64::from(x), i64::from(y));
        let sum = |t: &[i64; 3]| {
            t[0].wrapping_mul(x)
                .wrapping_add(t[1].wrapping_mul(y))
                .wrapping_add(t[2])
        };
        [sum(&self.x), sum(&self.y)]
    }
}

/// Samples that can be gathered.
pub trait Target: Copy + PartialEq {
    /// The nearest sample to a number.
    fn of(value: f64) -> Self;
    /// Of four samples with weights that sum to 4096.
    fn mixed(samples: [Self; 4], weights: [u32; 4]) -> Self;
    /// Three channels at once, where that is faster: the pixels at byte offsets `at` of rows `top` and `bottom`.
    #[inline]
    fn three(source: &[Self], at: [usize; 4], weights: [u32; 4]) -> [Self; 3] {
        std::array::from_fn(|c| Self::mixed(at.map(|i| source[i + c]), weights))
    }
    /// Paints pixels of a row of three channels as vector code, and says which: `[from, to)`.
    fn many(
        _row: &mut [Self],
        _source: View<'_, Self>,
        _start: [i64; 2],
        _step: [i64; 2],
    ) -> [usize; 2] {
        [0, 0]
    }
}

impl Target for u8 {
    fn of(value: f64) -> u8 {
        value.round_ties_even() as u8
    }

    #[inline]
    fn mixed(samples: [u8; 4], weights: [u32; 4]) -> u8 {
        let sum: u32 = (0..4).map(|i| u32::from(samples[i]) * weights[i]).sum();
        ((sum + 2048) >> 12) as u8
    }

    /// Three lanes of 21 bits in one word: 255 * 4096 + 2048 takes 20.
    #[inline]
    fn three(source: &[u8], at: [usize; 4], weights: [u32; 4]) -> [u8; 3] {
        const ROUND: u64 = 2048 | 2048 << 21 | 2048 << 42;
        let lanes = |i: usize| match source.get(i..i + 4) {
            Some(&[a, b, c, d]) => {
                let v = u64::from(u32::from_le_bytes([a, b, c, d]));
                (v & 0xff) | (v & 0xff00) << 13 | (v & 0xff_0000) << 26
            }
            _ => {
                let p = &source[i..i + 3];
                u64::from(p[0]) | u64::from(p[1]) << 21 | u64::from(p[2]) << 42
            }
        };
        let sum: u64 = (0..4)
            .map(|i| lanes(at[i]) * u64::from(weights[i]))
            .sum::<u64>()
            + ROUND;
        [(sum >> 12) as u8, (sum >> 33) as u8, (sum >> 54) as u8]
    }

    #[cfg(target_arch = "x86_64")]
    fn many(row: &mut [u8], source: View<'_, u8>, start: [i64; 2], step: [i64; 2]) -> [usize; 2] {
        if !is_x86_feature_detected!("avx2") {
            return [0, 0];
        }
        let [from, to] = avx2::range(start, step, row.len() / 3, source.width, source.height);
        let first = [0, 1].map(|i| start[i] + from as i64 * step[i]);
        let part = &mut row[from * 3..to * 3];
        // SAFETY: AVX2 was found, and the range is that of these pixels.
        let done = unsafe { avx2::paint(part, source.pixels, source.width * 3, first, step) };
        [from, from + done]
    }
}

impl Target for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }

    #[inline]
    fn mixed(samples: [f32; 4], weights: [u32; 4]) -> f32 {
        let part = |i: usize| samples[i] * (weights[i] as f32 / 4096.0);
        (part(0) + part(1)) + (part(2) + part(3))
    }
}

/// Paints the spans of a target of `width` pixels with one value per channel.
pub fn fill<T: Target>(out: &mut [T], width: usize, value: &[T], spans: &[Span]) {
    let n = value.len();
    for (row, [from, to]) in out.chunks_exact_mut(width * n).zip(spans) {
        let part = &mut row[*from as usize * n..*to as usize * n];
        if value.iter().all(|v| *v == value[0]) {
            part.fill(value[0]);
            continue;
        }
        for pixel in part.chunks_exact_mut(n) {
            pixel.copy_from_slice(value);
        }
    }
}

/// Paints the spans of a target of `width` pixels with `source` as `map` shows it.
pub fn paint<T: Target>(
    out: &mut [T],
    width: usize,
    source: View<'_, T>,
    map: &FixedMap,
    spans: &[Span],
) {
    let n = source.channels;
    for (y, (row, [from, to])) in out.chunks_exact_mut(width * n).zip(spans).enumerate() {
        if from >= to {
            continue;
        }
        let part = &mut row[*from as usize * n..*to as usize * n];
        let start = map.at(*from, y as u32);
        if !copied(part, source, start, [map.x[0], map.y[0]]) {
            match n {
                3 => paint_three(part, source, start, [map.x[0], map.y[0]]),
                _ => paint_any(part, source, start, [map.x[0], map.y[0]]),
            }
        }
    }
}

/// A row that is a piece of a source row, maybe mirrored: copied. False if it is not.
fn copied<T: Target>(
    row: &mut [T],
    source: View<'_, T>,
    [sx, sy]: [i64; 2],
    step: [i64; 2],
) -> bool {
    const PIXEL: i64 = 1 << 32;
    let n = source.channels;
    let weight = |v: i64| (v >> (32 - BITS)) & i64::from(ONE - 1);
    if step[1] != 0 || step[0].abs() != PIXEL || weight(sx) != 0 || weight(sy) != 0 {
        return false;
    }
    let (first, y) = (sx >> 32, sy >> 32);
    let last = first + (row.len() / n) as i64 * step[0].signum() - step[0].signum();
    let within = |v: i64, most: usize| v >= 0 && v < most as i64;
    if !within(first, source.width) || !within(last, source.width) || !within(y, source.height) {
        return false;
    }
    let (left, right) = (first.min(last) as usize, first.max(last) as usize);
    let start = y as usize * source.width;
    let pixels = &source.pixels[(start + left) * n..(start + right + 1) * n];
    if step[0] > 0 {
        row.copy_from_slice(pixels);
    } else {
        for (to, from) in row.chunks_exact_mut(n).zip(pixels.chunks_exact(n).rev()) {
            to.copy_from_slice(from);
        }
    }
    true
}

/// Index of the first sample along an axis of `length`, whether the next one is another, and the next one's weight.
#[inline]
fn tap(v: i64, length: usize) -> (usize, usize, u32) {
    let at = v >> 32;
    if at < 0 {
        (0, 0, 0)
    } else if at as usize >= length - 1 {
        (length - 1, 0, 0)
    } else {
        (at as usize, 1, (v >> (32 - BITS)) as u32 & (ONE - 1))
    }
}

#[inline]
fn weights(fx: u32, fy: u32) -> [u32; 4] {
    [
        (ONE - fx) * (ONE - fy),
        fx * (ONE - fy),
        (ONE - fx) * fy,
        fx * fy,
    ]
}

/// Three channels: what vector code can do, then what is left at both ends.
fn paint_three<T: Target>(row: &mut [T], source: View<'_, T>, start: [i64; 2], step: [i64; 2]) {
    let pixels = row.len() / 3;
    let [from, to] = T::many(row, source, start, step);
    for [from, to] in [[0, from], [to, pixels]] {
        let first = [0, 1].map(|i| start[i].wrapping_add(step[i].wrapping_mul(from as i64)));
        paint_some(&mut row[from * 3..to * 3], source, first, step);
    }
}

fn paint_some<T: Target>(
    row: &mut [T],
    source: View<'_, T>,
    [mut sx, mut sy]: [i64; 2],
    step: [i64; 2],
) {
    let stride = source.width * 3;
    for pixel in row.chunks_exact_mut(3) {
        let (x, next_x, fx) = tap(sx, source.width);
        let (y, next_y, fy) = tap(sy, source.height);
        let top = y * stride + x * 3;
        let bottom = top + next_y * stride;
        let at = [top, top + next_x * 3, bottom, bottom + next_x * 3];
        pixel.copy_from_slice(&T::three(source.pixels, at, weights(fx, fy)));
        sx = sx.wrapping_add(step[0]);
        sy = sy.wrapping_add(step[1]);
    }
}

fn paint_any<T: Target>(
    row: &mut [T],
    source: View<'_, T>,
    [mut sx, mut sy]: [i64; 2],
    step: [i64; 2],
) {
    let n = source.channels;
    let stride = source.width * n;
    for pixel in row.chunks_exact_mut(n) {
        let (x, next_x, fx) = tap(sx, source.width);
        let (y, next_y, fy) = tap(sy, source.height);
        let top = y * stride + x * n;
        let bottom = top + next_y * stride;
        let at = [top, top + next_x * n, bottom, bottom + next_x * n];
        for (c, value) in pixel.iter_mut().enumerate() {
            *value = T::mixed(at.map(|i| source.pixels[i + c]), weights(fx, fy));
        }
        sx = sx.wrapping_add(step[0]);
        sy = sy.wrapping_add(step[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::random::Random;

    /// In f64, with weights rounded as the integers' are.
    fn expected(source: View<'_, u8>, rows: [[f64; 3]; 2], x: usize, y: usize, c: usize) -> f64 {
        let at = |row: [f64; 3], length: usize| {
            let v = row[0] * x as f64 + row[1] * y as f64 + row[2];
            let v = ((v * 64.0 + 0.5).floor() / 64.0).clamp(0.0, (length - 1) as f64);
            let low = (v as usize).min(length - 1);
            (low, (low + 1).min(length - 1), v - low as f64)
        };
        let (x0, x1, fx) = at(rows[0], source.width);
        let (y0, y1, fy) = at(rows[1], source.height);
        let p = |x: usize, y: usize| {
            f64::from(source.pixels[(y * source.width + x) * source.channels + c])
        };
        (1.0 - fy) * ((1.0 - fx) * p(x0, y0) + fx * p(x1, y0))
            + fy * ((1.0 - fx) * p(x0, y1) + fx * p(x1, y1))
    }

    #[test]
    fn equals_bilinear_by_definition() {
        let mut random = Random::new(7);
        for round in 0..60 {
            let size = |r: &mut Random| [1, 2, 3, 17, 63, 64, 65][r.bits() as usize % 7];
            let (w, h, n) = (size(&mut random), size(&mut random), [1, 3, 4][round % 3]);
            let pixels: Vec<u8> = (0..w * h * n).map(|_| random.bits() as u8).collect();
            let source = View::new(&pixels, w, h, n);
            let mut term = |scale: f32| f64::from((random.unit() - 0.5) * scale);
            // the last rounds are whole steps: copies and mirrors
            let rows = match round {
                50.. => [
                    [if round % 2 == 0 { 1.0 } else { -1.0 }, 0.0, 3.0],
                    [0.0, 1.0, -1.0],
                ],
                _ => [
                    [term(4.0), term(4.0), term(40.0)],
                    [term(4.0), term(4.0), term(40.0)],
                ],
            };
            let map = FixedMap::new(rows).unwrap();
            let (tw, th) = (20, 11);
            let spans: Vec<Span> = (0..th as u32).map(|y| [y % 3, 20 - y % 2]).collect();
            let mut out = vec![7u8; tw * th * n];
            paint(&mut out, tw, source, &map, &spans);
            for (i, value) in out.iter().enumerate() {
                let (x, y, c) = (i / n % tw, i / n / tw, i % n);
                if (spans[y][0]..spans[y][1]).contains(&(x as u32)) {
                    let right = expected(source, rows, x, y, c);
                    // a coordinate that lies on a step of 1/64 may fall to either side of it
                    assert!(
                        (f64::from(*value) - right).abs() <= 4.6,
                        "round {round} ({x}, {y}): {value}, {right}"
                    );
                } else {
                    assert_eq!(*value, 7, "outside of the span");
                }
            }
        }
    }

    #[test]
    fn three_lanes_are_three_samples() {
        let mut random = Random::new(3);
        let pixels: Vec<u8> = (0..64)
            .map(|_| {
                if random.bits().is_multiple_of(3) {
                    255
                } else {
                    random.bits() as u8
                }
            })
            .collect();
        for _ in 0..2000 {
            let at = std::array::from_fn(|_| random.bits() as usize % 62);
            let weights = weights(random.bits() % ONE, random.bits() % ONE);
            let one_by_one: [u8; 3] =
                std::array::from_fn(|c| u8::mixed(at.map(|i| pixels[i + c]), weights));
            assert_eq!(u8::three(&pixels, at, weights), one_by_one);
        }
    }

    /// The plain loop is what the device computes too; vector code must not differ from it.
    #[test]
    fn vector_code_gives_the_same_bytes() {
        let mut random = Random::new(11);
        for round in 0..400 {
            let side = |r: &mut Random| [1, 2, 3, 4, 9, 40, 130][r.bits() as usize % 7];
            let (w, h) = (side(&mut random), side(&mut random));
            let pixels: Vec<u8> = (0..w * h * 3).map(|_| random.bits() as u8).collect();
            let source = View::new(&pixels, w, h, 3);
            let mut term = |scale: f32| f64::from((random.unit() - 0.5) * scale);
            let rows = match round % 4 {
                0 => [[term(1.0), 0.0, term(9.0)], [0.0, term(2.0), 1.0]],
                1 => [[term(4.0), term(4.0), 30.0], [term(4.0), term(4.0), 20.0]],
                2 => [[0.37, 0.0, 0.0], [0.0, 0.9, 0.0]],
                _ => [[0.0, 0.7, 2.0], [-0.7, 0.0, 60.0]],
            };
            let map = FixedMap::new(rows).unwrap();
            let spans: Vec<Span> = (0..31).map(|y| [y % 5, 97 - y % 3]).collect();
            let (mut fast, mut plain) = (vec![3u8; 97 * 31 * 3], vec![3u8; 97 * 31 * 3]);
            paint(&mut fast, 97, source, &map, &spans);
            for (y, (row, [from, to])) in plain.chunks_exact_mut(97 * 3).zip(&spans).enumerate() {
                let start = map.at(*from, y as u32);
                let part = &mut row[*from as usize * 3..*to as usize * 3];
                paint_some(part, source, start, [map.x[0], map.y[0]]);
            }
            assert!(fast == plain, "round {round}: {w}x{h}, {rows:?}");
        }
    }

    #[test]
    fn maps_are_bounded() {
        assert!(FixedMap::new([[f64::NAN, 0.0, 0.0], [0.0, 1.0, 0.0]]).is_none());
        assert!(FixedMap::new([[1e9, 0.0, 0.0], [0.0, 1.0, 0.0]]).is_none());
        assert!(FixedMap::new([[1.0, 0.0, f64::INFINITY], [0.0, 1.0, 0.0]]).is_none());
    }
}
