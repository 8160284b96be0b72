//! Twin of `augment/smooth.wgsl`: the mean of 3x3 pixels with five times the middle one, `cv2.filter2D` with the kernel
//! of mmcv's `adjust_sharpness`; the border is mirrored without its last pixel.

use super::place::{Border, window};
use crate::reference::resize::{Sample, View};
use crate::reference::wide::wide;

wide!(
    /// A smoothed picture, u8 rounded to the nearest (a thirteenth is never a tie).
    pub fn smooth<T: Sample>(source: View<'_, T>) -> Vec<T> = smoothed
);

#[inline(always)]
fn smoothed<T: Sample>(source: View<'_, T>) -> Vec<T> {
    let View {
        pixels,
        width,
        height,
        channels,
    } = source;
    if pixels.is_empty() {
        return Vec::new();
    }
    let columns = window(width, width + 2, 1, Border::Reflect);
    let rows = window(height, height + 2, 1, Border::Reflect);
    let stride = width * channels;
    let row = |y: usize| &pixels[rows[y] as usize * stride..][..stride];
    let mut out = Vec::with_capacity(pixels.len());
    // Sums of three pixels of a column.
    let mut sums = vec![0.0f32; stride];
    for y in 0..height {
        let (above, middle, below) = (row(y), row(y + 1), row(y + 2));
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = above[i].to_f32() + middle[i].to_f32() + below[i].to_f32();
        }
        let one = |left: f32, here: f32, right: f32, middle: T| {
            T::from_f32((left + here + right + 4.0 * middle.to_f32()) / 13.0)
        };
        let at = |x: usize| columns[x] as usize * channels;
        let side = |x: usize, out: &mut Vec<T>| {
            let (left, right) = (&sums[at(x)..], &sums[at(x + 2)..]);
            for c in 0..channels {
                let i = x * channels + c;
                out.push(one(left[c], sums[i], right[c], middle[i]));
            }
        };
        side(0, &mut out);
        if width > 1 {
            let triples = sums.windows(2 * channels + 1);
            out.extend(triples.zip(&middle[channels..]).map(|(three, middle)| {
                one(three[0], three[channels], three[2 * channels], *middle)
            }));
            side(width - 1, &mut out);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_spreads() {
        let mut pixels = [0u8; 25];
        pixels[12] = 130;
        let out = smooth(View::new(&pixels, 5, 5, 1));
        let wanted = [
            0, 0, 0, 0, 0, 0, 10, 10, 10, 0, 0, 10, 50, 10, 0, 0, 10, 10, 10, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(out, wanted);
    }

    #[test]
    fn borders_are_mirrored() {
        assert_eq!(smooth(View::new(&[9u8, 8, 7], 1, 1, 3)), [9, 8, 7]);
        // Columns 1 0 1 | 0 1 0: (5 * 0 + 2 * 0 + 6 * 13) / 13, (5 * 13 + 2 * 13) / 13.
        assert_eq!(smooth(View::new(&[0.0, 13.0], 2, 1, 1)), [6.0, 7.0]);
        assert!(smooth(View::<u8>::new(&[], 0, 0, 3)).is_empty());
    }
}
