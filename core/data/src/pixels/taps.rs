//! `cv2.warpAffine` with `INTER_CUBIC` and `INTER_LANCZOS4` (OpenCV 4.11, imgproc/src/imgwarp.cpp): 16 or 64 pixels around each position,
//! which is rounded to 1/32 pixel. Only geometric transforms with such an `interpolation` use it, so that there is no kernel: it is
//! done on the CPU where there is a device too. u8 is the same to the bit; f32 sums in another order.

use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::sync::OnceLock;

use smalti_shaders::reference::augment::warp::Positions;
use smalti_shaders::reference::resize::View;

/// Which kernel of more than four pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taps {
    /// 4 x 4 pixels.
    Cubic,
    /// 8 x 8 pixels.
    Lanczos4,
}

/// Steps of a pixel: OpenCV's `INTER_TAB_SIZE`.
const STEPS: usize = 32;
/// One, in fixed point: `INTER_REMAP_COEF_SCALE`.
const ONE: i32 = 1 << 15;

/// Weights of the pixels around a position, for each 1/32 pixel in y and x.
pub(super) struct Table {
    side: usize,
    floats: Vec<f32>,
    fixed: Vec<i32>,
}

impl Table {
    fn of(taps: Taps) -> &'static Self {
        static CUBIC: OnceLock<Table> = OnceLock::new();
        static LANCZOS4: OnceLock<Table> = OnceLock::new();
        match taps {
            Taps::Cubic => CUBIC.get_or_init(|| Self::new(4, cubic)),
            Taps::Lanczos4 => LANCZOS4.get_or_init(|| Self::new(8, lanczos4)),
        }
    }

    fn new<const N: usize>(side: usize, weights: fn(f32) -> [f32; N]) -> Self {
        let lines: Vec<[f32; N]> = (0..STEPS)
            .map(|i| weights(i as f32 / STEPS as f32))
            .collect();
        let (mut floats, mut fixed) = (Vec::new(), Vec::new());
        for vertical in &lines {
            for horizontal in &lines {
                let start = floats.len();
                let products = vertical
                    .iter()
                    .flat_map(|y| horizontal.iter().map(move |x| y * x));
                floats.extend(products);
                // saturate_cast<short>: a whole weight of one is not reached
                let whole = |w: &f32| (w * ONE as f32).round_ties_even() as i16;
                fixed.extend(floats[start..].iter().map(|w| i32::from(whole(w))));
                level(&mut fixed[start..], side);
            }
        }
        Self {
            side,
            floats,
            fixed,
        }
    }
}

/// Makes the sum of weights one: what is missing goes to the largest of four in the middle, what is too much comes from the least.
fn level(weights: &mut [i32], side: usize) {
    let excess = weights.iter().sum::<i32>() - ONE;
    let half = side / 2;
    let (mut least, mut most) = (half * side + half, half * side + half);
    for at in [0, 1, side, side + 1].map(|offset| half * side + half + offset) {
        if weights[at] < weights[least] {
            least = at;
        } else if weights[at] > weights[most] {
            most = at;
        }
    }
    weights[if excess < 0 { most } else { least }] -= excess;
}

/// `interpolateCubic`.
fn cubic(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let first = ((A * (x + 1.0) - 5.0 * A) * (x + 1.0) + 8.0 * A) * (x + 1.0) - 4.0 * A;
    let (second, third) = (near(x), near(1.0 - x));
    [first, second, third, 1.0 - first - second - third]
}

/// `interpolateLanczos4`.
fn lanczos4(x: f32) -> [f32; 8] {
    if x < f32::EPSILON {
        return [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    }
    const S: f64 = FRAC_1_SQRT_2;
    const TURNS: [[f64; 2]; 8] = [
        [1.0, 0.0],
        [-S, -S],
        [0.0, 1.0],
        [S, -S],
        [-1.0, 0.0],
        [S, S],
        [0.0, -1.0],
        [-S, S],
    ];
    let (sin, cos) = (-(f64::from(x) + 3.0) * PI * 0.25).sin_cos();
    let mut weights = [0.0; 8];
    for (i, weight) in weights.iter_mut().enumerate() {
        let y = -f64::from(x + 3.0 - i as f32) * PI * 0.25;
        *weight = ((TURNS[i][0] * sin + TURNS[i][1] * cos) / (y * y)) as f32;
    }
    let share = 1.0 / weights.iter().sum::<f32>();
    weights.map(|w| w * share)
}

/// Samples that can be summed with weights.
pub(super) trait Tapped: Copy + Default {
    /// Of weighed differences to the fill.
    type Sum;
    fn start(fill: Self) -> Self::Sum;
    fn add(sum: &mut Self::Sum, difference: (Self, Self), table: &Table, weight: usize);
    fn end(sum: Self::Sum) -> Self;
}

impl Tapped for u8 {
    type Sum = i32;

    fn start(fill: u8) -> i32 {
        i32::from(fill) * ONE
    }

    fn add(sum: &mut i32, (value, fill): (u8, u8), table: &Table, weight: usize) {
        *sum += (i32::from(value) - i32::from(fill)) * table.fixed[weight];
    }

    fn end(sum: i32) -> u8 {
        ((sum + ONE / 2) >> 15).clamp(0, 255) as u8
    }
}

impl Tapped for f32 {
    type Sum = f32;

    fn start(fill: f32) -> f32 {
        fill
    }

    fn add(sum: &mut f32, (value, fill): (f32, f32), table: &Table, weight: usize) {
        *sum += (value - fill) * table.floats[weight];
    }

    fn end(sum: f32) -> f32 {
        sum
    }
}

/// The target; what lies outside of the source is `fill`, one value per channel, and weighs in at the border.
pub(super) fn warp<T: Tapped>(
    source: View<'_, T>,
    positions: &Positions,
    taps: Taps,
    fill: &[T],
) -> Vec<T> {
    let table = Table::of(taps);
    let side = table.side;
    let [width, height] = positions.size();
    let channels = source.channels;
    let mut out = Vec::with_capacity(width * height * channels);
    let mut row = vec![[0; 2]; width];
    for y in 0..height {
        positions.row(y, &mut row);
        for [x, y] in &row {
            let weights = ((y & 31) as usize * STEPS + (x & 31) as usize) * side * side;
            // i64: positions may be as far as i32 goes
            let first = |v: &i32| i64::from(v >> 5) - (side as i64 / 2 - 1);
            let (left, top) = (first(x), first(y));
            for (c, fill) in fill.iter().enumerate() {
                let mut sum = T::start(*fill);
                for i in 0..side * side {
                    let (x, y) = (left + (i % side) as i64, top + (i / side) as i64);
                    if (0..source.width as i64).contains(&x)
                        && (0..source.height as i64).contains(&y)
                    {
                        let at = (y as usize * source.width + x as usize) * channels + c;
                        T::add(&mut sum, (source.pixels[at], *fill), table, weights + i);
                    }
                }
                out.push(T::end(sum));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        for taps in [Taps::Cubic, Taps::Lanczos4] {
            let table = Table::of(taps);
            let n = table.side * table.side;
            assert_eq!(table.fixed.len(), STEPS * STEPS * n);
            assert!(
                table
                    .fixed
                    .chunks_exact(n)
                    .all(|w| w.iter().sum::<i32>() == ONE)
            );
        }
        // half way: -A / 8 of the outer two
        let expected = [-0.09375, 0.59375, 0.59375, -0.09375];
        assert_eq!(cubic(0.5), expected);
        let line = lanczos4(0.5);
        assert!(
            line.iter()
                .zip(line.iter().rev())
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        assert_eq!(lanczos4(0.0)[3], 1.0);
    }

    #[test]
    fn as_opencv() {
        // cv2.warpAffine(np.uint8([[0, 10, 200, 50, 90, 30]]), np.float32([[1, 0, .5], [0, 1, 0]]), (6, 1), flags=..., borderValue=7)
        for (taps, expected) in [
            (Taps::Cubic, [3, 0, 120, 139, 62, 66]),
            (Taps::Lanczos4, [13, 0, 127, 140, 49, 77]),
        ] {
            let source = [0, 10, 200, 50, 90, 30];
            let matrix = [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]];
            let positions = Positions::affine(&matrix, [6, 1], true).unwrap();
            let found = warp(View::new(&source, 6, 1, 1), &positions, taps, &[7]);
            assert_eq!(found, expected, "{taps:?}");
        }
    }
}
