//! Twin of `augment/grey.wgsl`: `cv2.cvtColor(COLOR_BGR2GRAY)`.

use crate::reference::resize::Sample;

/// Samples whose grey OpenCV computes.
pub trait Grey: Sample {
    /// Of blue, green and red.
    fn grey(bgr: [Self; 3]) -> Self;
}

impl Grey for u8 {
    /// In 15 fractional bits.
    fn grey(bgr: [u8; 3]) -> u8 {
        let [b, g, r] = bgr.map(u32::from);
        ((b * 3735 + g * 19235 + r * 9798 + (1 << 14)) >> 15) as u8
    }
}

impl Grey for f32 {
    fn grey([b, g, r]: [f32; 3]) -> f32 {
        b * 0.114 + g * 0.587 + r * 0.299
    }
}

/// One sample for every interleaved BGR pixel.
pub fn grey<T: Grey>(pixels: &[T]) -> Vec<T> {
    let (bgr, _) = pixels.as_chunks::<3>();
    bgr.iter().map(|&bgr| T::grey(bgr)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay() {
        for v in 0..=255 {
            assert_eq!(u8::grey([v; 3]), v);
        }
        assert_eq!(grey(&[255, 0, 0, 0, 255, 0, 0, 0, 255u8]), [29, 150, 76]);
        assert!((f32::grey([1.0, 2.0, 3.0]) - 2.185).abs() < 1e-6);
    }
}
