//! Twin of `augment/photometric.wgsl`: mmdet 3.3's PhotoMetricDistortion on f32 BGR, with OpenCV's f32 HSV (hue 0 to 360,
//! saturation 0 to 1, value as the samples).
//!
//! Against OpenCV 4.11 within 1e-4 of 255: its vector code fuses some multiplications and additions.

use super::hsv::{sectors, whole};
use crate::reference::wide::wide;

/// Pixels that are done together.
const BLOCK: usize = 32;

/// Every step; those that were not drawn do nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Photometric {
    /// Added first; 0 for none.
    pub brightness: f32,
    /// Factor before the saturation and hue part; 1 for none.
    pub contrast_before: f32,
    /// Factor; 1 for none. Above 1 the saturation is clipped.
    pub saturation: f32,
    /// Degrees; 0 for none.
    pub hue: f32,
    /// Factor after it; 1 for none.
    pub contrast_after: f32,
    /// The source of each channel, last.
    pub swap: [usize; 3],
}

impl Default for Photometric {
    fn default() -> Self {
        Self {
            brightness: 0.0,
            contrast_before: 1.0,
            saturation: 1.0,
            hue: 0.0,
            contrast_after: 1.0,
            swap: [0, 1, 2],
        }
    }
}

wide!(
    /// Changes interleaved BGR pixels. The way to HSV and back is gone in any case, as there.
    ///
    /// # Panics
    /// If `swap` names a channel beyond the third.
    pub fn photometric(pixels: &mut [f32], step: &Photometric) = blocks
);

#[inline(always)]
fn blocks(pixels: &mut [f32], step: &Photometric) {
    // Angles that differ by whole turns are the same.
    let turn = step.hue % 360.0;
    let step = Photometric {
        hue: if turn.is_finite() { turn } else { 0.0 },
        ..*step
    };
    let (blocks, rest) = pixels.as_chunks_mut::<{ 3 * BLOCK }>();
    for pixels in blocks {
        block(pixels, &step);
    }
    let mut padded = [0.0; 3 * BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    block(&mut padded, &step);
    rest.copy_from_slice(&padded[..rest.len()]);
}

/// Simple loops over a block, which the compiler makes into vector code.
#[inline(always)]
fn block(pixels: &mut [f32; 3 * BLOCK], step: &Photometric) {
    let most = if step.saturation > 1.0 {
        1.0
    } else {
        f32::INFINITY
    };
    let (bgr, _) = pixels.as_chunks_mut::<3>();
    let mut planes = [[0.0; BLOCK]; 3];
    for (i, pixel) in bgr.iter().enumerate() {
        for c in 0..3 {
            planes[c][i] = pixel[c];
        }
    }
    let [b, g, r] = &mut planes;
    for i in 0..BLOCK {
        let lit = [b[i], g[i], r[i]].map(|v| (v + step.brightness) * step.contrast_before);
        let [hue, saturation, value] = hsv_from_bgr(lit);
        let saturation = saturation * step.saturation;
        let saturation = if saturation > most { most } else { saturation };
        let hue = hue + step.hue;
        let hue = hue - if hue > 360.0 { 360.0 } else { 0.0 };
        let hue = hue + if hue < 0.0 { 360.0 } else { 0.0 };
        let out = bgr_from_hsv([hue, saturation, value]);
        [b[i], g[i], r[i]] = out.map(|v| v * step.contrast_after);
    }
    for (i, pixel) in bgr.iter_mut().enumerate() {
        *pixel = step.swap.map(|c| planes[c][i]);
    }
}

/// YOLOX's colour step where it is given floats: it cuts their hue, saturation (0 to 1) and value to whole numbers and
/// goes on as for u8. Hardly what was meant, but what mmdet does.
pub fn hsv_cut(pixels: &mut [f32], gains: [i16; 3]) {
    let (bgr, _) = pixels.as_chunks_mut::<3>();
    for pixel in bgr {
        let cut = hsv_from_bgr(*pixel).map(|v| v as i32 as i16);
        let [hue, saturation, value] = [0, 1, 2].map(|k| cut[k].wrapping_add(gains[k]));
        let (saturation, value) = (saturation.clamp(0, 255), value.clamp(0, 255));
        *pixel = bgr_from_hsv([hue.rem_euclid(180), saturation, value].map(f32::from));
    }
}

/// Hue, saturation, value.
#[inline(always)]
pub fn hsv_from_bgr([b, g, r]: [f32; 3]) -> [f32; 3] {
    let most = |a: f32, b: f32| if a > b { a } else { b };
    let least = |a: f32, b: f32| if a < b { a } else { b };
    let value = most(most(b, g), r);
    let range = value - least(least(b, g), r);
    let saturation = range / (value.abs() + f32::EPSILON);
    let share = 60.0 / (range + f32::EPSILON);
    let (ahead, start) = if value == r {
        (g - b, 0.0)
    } else if value == g {
        (b - r, 120.0)
    } else {
        (r - g, 240.0)
    };
    let hue = ahead * share + start;
    [hue + if hue < 0.0 { 360.0 } else { 0.0 }, saturation, value]
}

/// Blue, green, red; for hues from -360 to 720.
#[inline(always)]
pub fn bgr_from_hsv([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let turn = hue * (6.0 / 360.0);
    let sector = whole(turn, true);
    let part = turn - sector as f32;
    let part = if sector & 1 == 0 { 1.0 - part } else { part };
    let sector = sector + if sector < 0 { 6 } else { 0 };
    let sector = sector - if sector > 5 { 6 } else { 0 };
    let low = value * (1.0 - saturation);
    let middle = value * (1.0 - saturation * part);
    sectors(sector, low, middle, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: [f32; 3], b: [f32; 3]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
    }

    #[test]
    fn forth_and_back() {
        assert!(close(
            hsv_from_bgr([0.0, 128.0, 255.0]),
            [30.118, 1.0, 255.0]
        ));
        assert!(close(
            hsv_from_bgr([200.0, 100.0, 100.0]),
            [240.0, 0.5, 200.0]
        ));
        let mut random = crate::reference::random::Random::new(3);
        for _ in 0..1000 {
            let bgr = [0; 3].map(|_| random.unit() * 255.0);
            assert!(close(bgr_from_hsv(hsv_from_bgr(bgr)), bgr), "{bgr:?}");
        }
    }

    #[test]
    fn floats_are_cut() {
        // Hue 30.118, saturation 1, value 255: 30, 1, 255.
        let mut pixels = [0.0, 128.0, 255.0, 3.7, 3.7, 3.7];
        hsv_cut(&mut pixels, [0; 3]);
        assert_eq!(pixels, [0.0, 127.5, 255.0, 3.0, 3.0, 3.0]);
        hsv_cut(&mut pixels, [i16::MAX; 3]);
    }

    #[test]
    fn steps() {
        let done = |step: Photometric| {
            let mut pixel = [50.0, 100.0, 150.0];
            photometric(&mut pixel, &step);
            pixel
        };
        let none = Photometric::default();
        assert!(close(done(none), [50.0, 100.0, 150.0]));
        let step = Photometric {
            brightness: 10.0,
            contrast_before: 2.0,
            ..none
        };
        assert!(close(done(step), [120.0, 220.0, 320.0]));
        // 2/3 * 2 is clipped to 1.
        let step = Photometric {
            saturation: 2.0,
            ..none
        };
        assert!(close(done(step), [0.0, 75.0, 150.0]));
        let step = Photometric {
            hue: 120.0,
            contrast_after: 0.5,
            ..none
        };
        assert!(close(done(step), [50.0, 75.0, 25.0]));
        // 30 - 120 degrees wraps.
        let step = Photometric {
            hue: -120.0,
            swap: [2, 0, 1],
            ..none
        };
        assert!(close(done(step), [100.0, 150.0, 50.0]), "{:?}", done(step));
        for hue in [f32::NAN, f32::INFINITY, -1e30] {
            done(Photometric { hue, ..none });
        }
    }
}
