//! Twin of `augment/paste.wgsl`: another picture's pixels where a mask is set, and rectangles of one colour.

/// Where `mask` (one entry a pixel) is not 0, pixels become `other`'s.
///
/// # Panics
/// If the sizes differ.
pub fn paste<T: Copy>(pixels: &mut [T], other: &[T], channels: usize, mask: &[u8]) {
    assert_eq!(pixels.len(), other.len(), "pictures of one size");
    assert_eq!(pixels.len(), mask.len() * channels, "an entry a pixel");
    let pairs = pixels
        .chunks_exact_mut(channels)
        .zip(other.chunks_exact(channels));
    for ((pixel, other), _) in pairs.zip(mask).filter(|(_, set)| **set != 0) {
        pixel.copy_from_slice(other);
    }
}

/// Fills `[x1, y1, x2, y2]`, of which what lies outside of the picture is left out.
pub fn fill<T: Copy>(pixels: &mut [T], width: usize, [x1, y1, x2, y2]: [usize; 4], value: &[T]) {
    let stride = width * value.len();
    let x2 = x2.min(width);
    if x1 >= x2 {
        return;
    }
    let rows = pixels.chunks_exact_mut(stride);
    for row in rows.take(y2).skip(y1) {
        for pixel in row[x1 * value.len()..x2 * value.len()].chunks_exact_mut(value.len()) {
            pixel.copy_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_a_mask() {
        let mut pixels = [1, 1, 2, 2, 3, 3];
        paste(&mut pixels, &[7, 8, 7, 8, 7, 8], 2, &[0, 1, 255]);
        assert_eq!(pixels, [1, 1, 7, 8, 7, 8]);
    }

    #[test]
    fn rectangles_are_cut() {
        let filled = |rect| {
            let mut pixels = [0; 6];
            fill(&mut pixels, 3, rect, &[5]);
            pixels
        };
        assert_eq!(filled([1, 0, 2, 2]), [0, 5, 0, 0, 5, 0]);
        assert_eq!(filled([2, 1, usize::MAX, usize::MAX]), [0, 0, 0, 0, 0, 5]);
        assert_eq!(filled([2, 1, 1, 0]), [0; 6]);
        assert_eq!(filled([9, 9, 10, 10]), [0; 6]);
    }
}
