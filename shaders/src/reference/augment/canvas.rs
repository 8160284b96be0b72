//! Twin of `augment/place.wgsl` on a canvas: a rectangle of a picture copied onto it.

use crate::reference::resize::View;

/// Copies what of `source` lies from `crop` on into `[x1, y1, x2, y2]` of a canvas that is `width` pixels wide.
/// `convert` makes the canvas' samples.
///
/// # Panics
/// If the rectangle is beyond the canvas or the source.
pub fn lay<T: Copy, U>(
    canvas: &mut [U],
    width: usize,
    source: View<'_, T>,
    crop: [usize; 2],
    [x1, y1, x2, y2]: [usize; 4],
    convert: impl Fn(T) -> U,
) {
    let channels = source.channels;
    let length = (x2 - x1) * channels;
    for y in y1..y2 {
        let from = ((crop[1] + y - y1) * source.width + crop[0]) * channels;
        let pixels = &source.pixels[from..from + length];
        let target = &mut canvas[(y * width + x1) * channels..][..length];
        for (to, from) in target.iter_mut().zip(pixels) {
            *to = convert(*from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corner() {
        // 1 2 3
        // 4 5 6
        let pixels = [1u8, 2, 3, 4, 5, 6];
        let mut canvas = [0.0; 8];
        let source = View::new(&pixels, 3, 2, 1);
        lay(&mut canvas, 4, source, [1, 1], [2, 0, 4, 1], f32::from);
        lay(&mut canvas, 4, source, [0, 0], [0, 1, 1, 2], f32::from);
        assert_eq!(canvas, [0.0, 0.0, 5.0, 6.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
