//! Twin of `augment/warp.wgsl`: `cv2.warpAffine` and `cv2.warpPerspective` of OpenCV 4.11 with a constant border.
//!
//! OpenCV rounds source positions to 1/32 pixel and weighs the four pixels around them with whole multiples of
//! 1/1024. So do we: for u8 the result is the same to the bit. f32 sums the four products in OpenCV's order.
//!
//! OpenCV finds positions in f64. An affine one is a term of the column plus a term of the row: both are made here
//! as fixed point of 32 fractional bits of 1/32 pixel, which a kernel can add without f64. A position can differ from
//! OpenCV's where it is within 1e-9 of a tie. Only a true perspective needs a division per pixel
//! ([`Positions::Quotients`]).

use crate::reference::resize::{Sample, View};

/// Fractional bits of the terms.
const BITS: u32 = 32;
/// Terms are held below this (a position of 8 million pixels), so that sums never overflow.
const FAR: f64 = (1i64 << 60) as f64;
/// Steps of a pixel to which positions are rounded: OpenCV's `INTER_TAB_SIZE`.
const STEPS: f64 = 32.0;

/// Where target pixels lie in the source, in 1/32 pixel (linear) or whole pixels (nearest), x and y.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// An affine map: of the column's and the row's term, the sum's upper 32 bits.
    Sums {
        /// Per target column.
        columns: Vec<[i64; 2]>,
        /// Per target row.
        rows: Vec<[i64; 2]>,
        /// Rounded to the nearest, ties to even (`warpPerspective`), instead of down (`warpAffine`).
        round: bool,
    },
    /// A perspective one: the inverse matrix, in f64 as OpenCV's blocks of columns have it.
    Quotients {
        /// Target to source.
        inverse: [[f64; 3]; 3],
        /// Width and height of the target.
        size: [usize; 2],
    },
}

impl Positions {
    /// Of `cv2.warpAffine`; `matrix` is source to target. `None` if a number of it or of its inverse is not finite.
    pub fn affine(matrix: &[[f64; 3]; 2], size: [usize; 2], linear: bool) -> Option<Self> {
        let [[a, b, c], [d, e, f]] = *matrix;
        let determinant = a * e - b * d;
        let share = if determinant == 0.0 {
            0.0
        } else {
            1.0 / determinant
        };
        let (xx, xy, yx, yy) = (e * share, b * -share, d * -share, a * share);
        let inverse = [
            [xx, xy, -xx * c - xy * f],
            [yx, yy, -yx * c - yy * f],
            [0.0; 3],
        ];
        if !finite(&inverse) || !matrix.iter().flatten().all(|v| v.is_finite()) {
            return None;
        }
        // Ten fractional bits; for linear only five of them are kept in the end.
        let (half, shift) = if linear {
            (16, BITS - 5)
        } else {
            (512, BITS - 10)
        };
        let fixed = |v: f64| (v * 1024.0).round_ties_even() as i32; // `as` saturates
        let term = |v: i64| v << shift;
        let columns = (0..size[0])
            .map(|x| [0, 1].map(|k| term(fixed(inverse[k][0] * x as f64).into())))
            .collect();
        let rows = (0..size[1])
            .map(|y| {
                [0, 1].map(|k| {
                    let at = inverse[k][1] * y as f64 + inverse[k][2];
                    term(i64::from(fixed(at)) + half)
                })
            })
            .collect();
        Some(Self::Sums {
            columns,
            rows,
            round: false,
        })
    }

    /// Of `cv2.warpPerspective`, linear; `matrix` is source to target. `None` if a number of it or of its inverse is
    /// not finite. As in OpenCV, a matrix without inverse maps every pixel to the first.
    pub fn perspective(matrix: &[[f64; 3]; 3], size: [usize; 2]) -> Option<Self> {
        let inverse = inverted(matrix)?;
        let [w0, w1, w2] = inverse[2];
        if w0 != 0.0 || w1 != 0.0 {
            return Some(Self::Quotients { inverse, size });
        }
        let scale = if w2 == 0.0 { 0.0 } else { STEPS / w2 };
        let fixed = |v: f64| {
            let fixed = v * scale * (1u64 << BITS) as f64;
            fixed.clamp(-FAR, FAR).round_ties_even() as i64 // 0 for NaN
        };
        let columns = (0..size[0])
            .map(|x| [0, 1].map(|k| fixed(inverse[k][0] * x as f64)))
            .collect();
        let rows = (0..size[1])
            .map(|y| [0, 1].map(|k| fixed(inverse[k][1] * y as f64 + inverse[k][2])))
            .collect();
        Some(Self::Sums {
            columns,
            rows,
            round: true,
        })
    }

    /// Width and height of the target.
    pub fn size(&self) -> [usize; 2] {
        match self {
            Self::Sums { columns, rows, .. } => [columns.len(), rows.len()],
            Self::Quotients { size, .. } => *size,
        }
    }

    /// The positions of a target row; `row` has one entry a column.
    pub fn row(&self, y: usize, row: &mut [[i32; 2]]) {
        match self {
            Self::Sums {
                columns,
                rows,
                round: false,
            } => {
                for (at, column) in row.iter_mut().zip(columns) {
                    *at = [0, 1].map(|k| ((column[k] + rows[y][k]) >> BITS) as i32);
                }
            }
            Self::Sums { columns, rows, .. } => {
                for (at, column) in row.iter_mut().zip(columns) {
                    *at = [0, 1].map(|k| nearest_even(column[k] + rows[y][k]));
                }
            }
            Self::Quotients { inverse, size } => {
                let block = 1024 / size[1].clamp(1, 16);
                for (x, at) in row.iter_mut().enumerate() {
                    let start = (x - x % block) as f64;
                    let [x, y] = [(x % block) as f64, y as f64];
                    let [u, v, w] = inverse.map(|[a, b, c]| a * start + b * y + c + a * x);
                    let scale = if w == 0.0 { 0.0 } else { STEPS / w };
                    *at = [u, v].map(|v| (v * scale).round_ties_even() as i32); // saturates
                }
            }
        }
    }
}

/// The upper 32 bits, rounded by the lower ones.
fn nearest_even(sum: i64) -> i32 {
    let biased = sum + (1 << (BITS - 1));
    let tie = biased as u32 == 0;
    let whole = (biased >> BITS) as i32;
    whole - i32::from(tie && whole & 1 == 1)
}

fn finite(matrix: &[[f64; 3]; 3]) -> bool {
    matrix.iter().flatten().all(|v| v.is_finite())
}

/// `cv2.invert` of a 3x3 matrix, zeros if it has no inverse; its order of operations decides last bits.
fn inverted(m: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let minor = |a: [usize; 2], b: [usize; 2]| m[a[0]][a[1]] * m[b[0]][b[1]];
    let determinant = m[0][0] * (minor([1, 1], [2, 2]) - minor([1, 2], [2, 1]))
        - m[0][1] * (minor([1, 0], [2, 2]) - minor([1, 2], [2, 0]))
        + m[0][2] * (minor([1, 0], [2, 1]) - minor([1, 1], [2, 0]));
    if determinant == 0.0 {
        return Some([[0.0; 3]; 3]);
    }
    let share = 1.0 / determinant;
    let mut inverse = [[0.0; 3]; 3];
    for (row, values) in inverse.iter_mut().enumerate() {
        for (column, value) in values.iter_mut().enumerate() {
            // The cofactor of the transposed place, without its sign: the cyclic order has it.
            let (r1, r2) = ((column + 1) % 3, (column + 2) % 3);
            let (c1, c2) = ((row + 1) % 3, (row + 2) % 3);
            *value = (minor([r1, c1], [r2, c2]) - minor([r1, c2], [r2, c1])) * share;
        }
    }
    (finite(m) && finite(&inverse)).then_some(inverse)
}

/// Samples that can be weighed.
pub trait Weighed: Sample {
    /// Of the pixels top left, top right, bottom left, bottom right; `x` and `y` are 0 to 31, of 32.
    fn weighed(corners: [Self; 4], x: i32, y: i32) -> Self;
}

impl Weighed for u8 {
    #[inline(always)]
    fn weighed([a, b, c, d]: [u8; 4], x: i32, y: i32) -> u8 {
        let row = |a: u8, b: u8| i32::from(a) * (32 - x) + i32::from(b) * x;
        ((row(a, b) * (32 - y) + row(c, d) * y + 512) >> 10) as u8
    }
}

impl Weighed for f32 {
    #[inline(always)]
    fn weighed([a, b, c, d]: [f32; 4], x: i32, y: i32) -> f32 {
        let weight = |x: i32, y: i32| (x * y) as f32 * (1.0 / 1024.0);
        a * weight(32 - x, 32 - y)
            + b * weight(x, 32 - y)
            + c * weight(32 - x, y)
            + d * weight(x, y)
    }
}

/// The target; what lies outside of the source is `fill`, one value per channel, and mixes with the last pixels.
///
/// # Panics
/// If `fill` has another length than a pixel.
pub fn warp<T: Weighed>(
    source: View<'_, T>,
    positions: &Positions,
    linear: bool,
    fill: &[T],
) -> Vec<T> {
    assert_eq!(fill.len(), source.channels, "a value per channel");
    match source.channels {
        _ if !linear => nearest(source, positions, fill),
        1 => interpolated::<1, T>(source, positions, fill),
        3 => interpolated::<3, T>(source, positions, fill),
        _ => interpolated::<0, T>(source, positions, fill),
    }
}

/// Where a pixel's samples begin, if there is such a pixel.
#[inline(always)]
fn start<T>(source: &View<'_, T>, x: i32, y: i32) -> Option<usize> {
    // Negative positions become huge.
    let (x, y) = (x as usize, y as usize);
    (x < source.width && y < source.height).then(|| (y * source.width + x) * source.channels)
}

fn nearest<T: Weighed>(source: View<'_, T>, positions: &Positions, fill: &[T]) -> Vec<T> {
    let [width, height] = positions.size();
    let mut out = Vec::with_capacity(width * height * source.channels);
    let mut row = vec![[0; 2]; width];
    for y in 0..height {
        positions.row(y, &mut row);
        for &[x, y] in &row {
            match start(&source, x, y) {
                Some(at) => out.extend_from_slice(&source.pixels[at..at + source.channels]),
                None => out.extend_from_slice(fill),
            }
        }
    }
    out
}

/// `C` is the number of channels, or 0 where only `source` knows it.
fn interpolated<const C: usize, T: Weighed>(
    source: View<'_, T>,
    positions: &Positions,
    fill: &[T],
) -> Vec<T> {
    let [width, height] = positions.size();
    let channels = if C == 0 { source.channels } else { C };
    let stride = source.width * channels;
    let (last_x, last_y) = (
        source.width.saturating_sub(1),
        source.height.saturating_sub(1),
    );
    let mut out = vec![T::default(); width * height * channels];
    let mut row = vec![[0; 2]; width];
    for (y, target) in out.chunks_exact_mut((width * channels).max(1)).enumerate() {
        positions.row(y, &mut row);
        for (pixel, &[x, y]) in target.chunks_exact_mut(channels).zip(&row) {
            let ([sx, sy], [fx, fy]) = ([x >> 5, y >> 5], [x & 31, y & 31]);
            if (sx as usize) < last_x && (sy as usize) < last_y {
                let at = sy as usize * stride + sx as usize * channels;
                let top = &source.pixels[at..][..2 * channels];
                let bottom = &source.pixels[at + stride..][..2 * channels];
                for c in 0..channels {
                    let corners = [top[c], top[channels + c], bottom[c], bottom[channels + c]];
                    pixel[c] = T::weighed(corners, fx, fy);
                }
                continue;
            }
            let (next_x, next_y) = (sx.saturating_add(1), sy.saturating_add(1));
            let corners = [
                start(&source, sx, sy),
                start(&source, next_x, sy),
                start(&source, sx, next_y),
                start(&source, next_x, next_y),
            ];
            if corners == [None; 4] {
                pixel.copy_from_slice(fill);
                continue;
            }
            for (c, value) in pixel.iter_mut().enumerate() {
                let corners = corners.map(|at| at.map_or(fill[c], |at| source.pixels[at + c]));
                *value = T::weighed(corners, fx, fy);
            }
        }
    }
    out
}
