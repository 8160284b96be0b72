//! Twin of `augment/hsv.wgsl`: YOLOX's colour step on u8 BGR. To OpenCV's 8-bit HSV (hue 0 to 179), gains, and back.
//!
//! Forth is OpenCV's integer arithmetic. Back is its f32 arithmetic as its AVX2 code has it: a row's blocks of 32
//! pixels are truncated, the pixels after the last whole block rounded. Both are equal to OpenCV 4.11's on a machine
//! with AVX2 for all 2^24 BGR and all 180 * 2^16 HSV colours. OpenCV without AVX2 has blocks of 16 and differs by a
//! level in 5e-5 of the colours besides.

use crate::reference::wide::wide;

/// Pixels of a block.
pub const BLOCK: usize = 32;
/// Added to a float below 2^22 it leaves the nearest whole number, ties to even, in the lower bits: unlike `as`, one
/// instruction for a whole vector.
const ROUND: f32 = 12_582_912.0;

wide!(
    /// Changes rows of `width` interleaved BGR pixels. `gains` are added to hue (modulo 180), saturation and value
    /// (clipped).
    ///
    /// # Panics
    /// If the samples are not whole rows.
    pub fn hsv(pixels: &mut [u8], width: usize, gains: [i16; 3]) = rows
);

#[inline(always)]
fn rows(pixels: &mut [u8], width: usize, gains: [i16; 3]) {
    if pixels.is_empty() {
        return;
    }
    assert_eq!(pixels.len() % (width * 3), 0, "whole rows");
    let gains = [
        i32::from(gains[0]).rem_euclid(180),
        gains[1].into(),
        gains[2].into(),
    ];
    for row in pixels.chunks_exact_mut(width * 3) {
        let (blocks, rest) = row.as_chunks_mut::<{ 3 * BLOCK }>();
        for pixels in blocks {
            block(pixels, gains, true);
        }
        if !rest.is_empty() {
            let mut padded = [0; 3 * BLOCK];
            padded[..rest.len()].copy_from_slice(rest);
            block(&mut padded, gains, false);
            rest.copy_from_slice(&padded[..rest.len()]);
        }
    }
}

/// Simple loops over a block, which the compiler makes into vector code.
#[inline(always)]
fn block(pixels: &mut [u8; 3 * BLOCK], gains: [i32; 3], down: bool) {
    let (bgr, _) = pixels.as_chunks_mut::<3>();
    let [mut b, mut g, mut r] = [[0i32; BLOCK]; 3];
    for (i, pixel) in bgr.iter().enumerate() {
        [b[i], g[i], r[i]] = pixel.map(i32::from);
    }
    for i in 0..BLOCK {
        let [hue, saturation, value] = forth([b[i], g[i], r[i]]);
        let hue = hue + gains[0];
        let hue = hue - if hue >= 180 { 180 } else { 0 };
        let saturation = (saturation + gains[1]).clamp(0, 255);
        let value = (value + gains[2]).clamp(0, 255);
        [b[i], g[i], r[i]] = back([hue, saturation, value], down);
    }
    for (i, pixel) in bgr.iter_mut().enumerate() {
        *pixel = [b[i] as u8, g[i] as u8, r[i] as u8];
    }
}

/// `numerator / divisor` to the nearest, as a float division that is exact enough (a test tries all).
#[inline(always)]
fn share(numerator: f32, divisor: i32) -> i32 {
    whole(numerator / divisor.max(1) as f32, false)
}

/// A float between -2^22 and 2^22 as a whole number: the one below, or the nearest.
#[inline(always)]
pub(super) fn whole(value: f32, down: bool) -> i32 {
    let sum = value + ROUND;
    let nearest = sum.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    nearest - i32::from(down && sum - ROUND > value)
}

/// Hue (0 to 179), saturation and value of blue, green and red.
#[inline(always)]
fn forth([b, g, r]: [i32; 3]) -> [i32; 3] {
    let value = b.max(g).max(r);
    let range = value - b.min(g).min(r);
    // Twelve fractional bits; a kernel has the shares in tables of 256.
    let saturation = (range * share(1_044_480.0, value) + 2048) >> 12;
    let ahead = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * range
    } else {
        r - g + 4 * range
    };
    let hue = (ahead * share(122_880.0, range) + 2048) >> 12;
    [hue + if hue < 0 { 180 } else { 0 }, saturation, value]
}

/// Blue, green and red, cut to whole levels or rounded.
#[inline(always)]
fn back([hue, saturation, value]: [i32; 3], down: bool) -> [i32; 3] {
    const LEVEL: f32 = 1.0 / 255.0;
    let turn = hue as f32 * (6.0 / 180.0);
    let sector = whole(turn, true);
    let (saturation, value) = (saturation as f32 * LEVEL, value as f32 * LEVEL);
    let level = |v: f32| whole(v * 255.0, down);
    let low = level(value * (1.0 - saturation));
    let high = level(value);
    let middle = level(value * middle(turn - sector as f32, sector, saturation));
    sectors(sector, low, middle, high)
}

/// Blue, green and red: which of the three levels each is in the six sectors of the hue.
#[inline(always)]
pub(super) fn sectors<T: Copy>(sector: i32, low: T, middle: T, high: T) -> [T; 3] {
    let pick = |lows: [i32; 2], middles: [i32; 2]| {
        if sector == lows[0] || sector == lows[1] {
            low
        } else if sector == middles[0] || sector == middles[1] {
            middle
        } else {
            high
        }
    };
    [
        pick([0, 1], [2, 5]),
        pick([4, 5], [0, 3]),
        pick([2, 3], [1, 4]),
    ]
}

/// What the channel between the others is of the value.
#[inline(always)]
fn middle(part: f32, sector: i32, saturation: f32) -> f32 {
    let part = if sector & 1 == 1 { part } else { 1.0 - part };
    // OpenCV's is a fused multiply and add: one rounding.
    (1.0 - f64::from(saturation) * f64::from(part)) as f32
}

/// For a kernel: the factors of `middle`, which f32 arithmetic that may be fused or not cannot give to the bit. 180 hues of
/// 256 saturations.
pub fn factors() -> Vec<f32> {
    let factor = |hue: i32, saturation: i32| {
        let turn = hue as f32 * (6.0 / 180.0);
        let sector = turn as i32;
        middle(
            turn - sector as f32,
            sector,
            saturation as f32 * (1.0 / 255.0),
        )
    };
    (0..180)
        .flat_map(|hue| (0..256).map(move |saturation| factor(hue, saturation)))
        .collect()
}

/// For a kernel: what a range is multiplied by for the saturation (per value) and for the hue (per range), 256 each.
pub fn shares() -> [Vec<i32>; 2] {
    [1_044_480.0, 122_880.0].map(|n| {
        (0..256)
            .map(|v| if v == 0 { 0 } else { share(n, v) })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let [saturation, hue] = shares();
        for v in 1..256 {
            let exact = |n: f64| (n / v as f64).round_ties_even() as i32;
            assert_eq!(saturation[v], exact(1_044_480.0));
            assert_eq!(hue[v], exact(122_880.0));
        }
    }

    #[test]
    fn factors_are_fused() {
        for hue in 0..180 {
            for saturation in 0..256 {
                let turn = hue as f32 * (6.0 / 180.0);
                let part = turn - turn.floor();
                let part = if turn as i32 % 2 == 1 {
                    part
                } else {
                    1.0 - part
                };
                let s = saturation as f32 * (1.0 / 255.0);
                assert_eq!(
                    middle(turn.fract(), turn as i32, s),
                    (-s).mul_add(part, 1.0)
                );
            }
        }
    }

    #[test]
    fn primaries_and_greys() {
        // Hue is half of the degrees: red 0, yellow 30, green 60, cyan 90, blue 120, magenta 150.
        for (bgr, hue) in [
            ([0, 0, 255], 0),
            ([0, 255, 255], 30),
            ([0, 255, 0], 60),
            ([255, 255, 0], 90),
            ([255, 0, 0], 120),
            ([255, 0, 255], 150),
        ] {
            assert_eq!(forth(bgr), [hue, 255, 255]);
            // Truncated, cyan and magenta are a level short, as OpenCV's are.
            let down = match hue {
                90 => [255, 254, 0],
                150 => [254, 0, 255],
                _ => bgr,
            };
            assert_eq!(back([hue, 255, 255], true), down);
            assert_eq!(back([hue, 255, 255], false), bgr);
        }
        for v in 0..256 {
            assert_eq!(forth([v; 3]), [0, 0, v]);
            assert_eq!(back([0, 0, v], true), [v; 3]);
        }
    }

    #[test]
    fn gains_wrap_and_clip() {
        let red = || [0u8, 0, 255];
        let turned = |gains| {
            let mut pixel = red();
            hsv(&mut pixel, 1, gains);
            pixel
        };
        assert_eq!(turned([60, 0, 0]), [0, 255, 0]);
        assert_eq!(turned([-60, 0, 0]), [255, 0, 0]);
        assert_eq!(turned([-60 - 180, 0, 0]), [255, 0, 0]);
        assert_eq!(turned([0, -255, 0]), [255, 255, 255]);
        assert_eq!(turned([0, i16::MIN, i16::MIN]), [0, 0, 0]);
        assert_eq!(turned([i16::MAX, i16::MAX, i16::MAX]), turned([7, 0, 0]));
    }

    #[test]
    fn the_same_with_and_without_wide_vectors() {
        let mut random = crate::reference::random::Random::new(2);
        for width in [1, 31, 32, 63, 64, 65] {
            let pixels: Vec<u8> = (0..width * 9).map(|_| random.bits() as u8).collect();
            let (mut a, mut b) = (pixels.clone(), pixels);
            hsv(&mut a, width, [5, -9, 13]);
            rows(&mut b, width, [5, -9, 13]);
            assert_eq!(a, b, "{width}");
        }
    }
}
