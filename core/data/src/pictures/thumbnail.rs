//! [`thumbnail`]: a picture's file as a small picture, to be looked at among many.

use image::{ImageBuffer, Rgb, imageops};

use crate::decode::{DecodeOptions, decode_small};
use crate::picture::{Picture, PictureError};

/// A picture of at most `side` pixels a side, of the file's ratio and turned as it says; a smaller one stays as it is. A JPEG is decoded no larger
/// than is needed. `name` is for the error.
///
/// # Errors
/// As [`decode`](crate::decode()).
pub fn thumbnail(name: &str, bytes: &[u8], side: usize) -> Result<Picture, PictureError> {
    let picture = decode_small(name, bytes, &DecodeOptions::default(), Some(side))?;
    let (width, height) = (picture.width(), picture.height());
    let longest = width.max(height);
    if longest <= side || picture.channels() != 3 {
        return Ok(picture);
    }
    let scaled = |length: usize| (length * side).div_ceil(longest).max(1);
    let (w, h) = (scaled(width), scaled(height));
    let pixels = picture.into_pixels();
    let whole = ImageBuffer::<Rgb<u8>, _>::from_raw(width as u32, height as u32, pixels);
    let whole = whole.expect("three samples a pixel");
    let small = imageops::thumbnail(&whole, w as u32, h as u32);
    Ok(Picture::new(w, h, 3, small.into_raw()).expect("three samples a pixel"))
}

#[cfg(test)]
mod tests {
    use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};

    use super::*;

    fn jpeg(width: usize, height: usize) -> Vec<u8> {
        let left = |x: usize| {
            if x < width / 2 {
                [200, 10, 10]
            } else {
                [10, 10, 200]
            }
        };
        let rgb: Vec<u8> = (0..width * height).flat_map(|i| left(i % width)).collect();
        compress(&rgb, width, height, PixelFormat::Rgb, 95, Subsampling::S444).unwrap()
    }

    #[test]
    fn small_of_the_same_ratio() {
        for (size, side, expected) in [
            ([640, 480], 128, [128, 96]),
            ([480, 640], 100, [75, 100]),
            ([64, 48], 128, [64, 48]),
            ([900, 2], 100, [100, 1]),
        ] {
            let small = thumbnail("a.jpg", &jpeg(size[0], size[1]), side).unwrap();
            assert_eq!([small.width(), small.height()], expected);
        }
        let small = thumbnail("a.jpg", &jpeg(640, 480), 64).unwrap();
        let at = |x: usize| &small.pixels()[(24 * 64 + x) * 3..][..3];
        let near = |a: &[u8], b: [u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 6);
        assert!(
            near(at(8), [10, 10, 200]) && near(at(56), [200, 10, 10]),
            "BGR"
        );
        assert!(thumbnail("a.jpg", b"no picture", 64).is_err());
    }
}
