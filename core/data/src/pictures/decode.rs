//! Bytes of a file to a [`Picture`], as `cv2.imdecode` of OpenCV 4.11 does it for
//! `LoadImageFromFile` (what was compared: every format and kind below, pixel by pixel).
//!
//! - JPEG by libjpeg-turbo-rs: equal to libjpeg-turbo's pixels (0 different samples on 30 pictures,
//!   where zune-jpeg has 4.8%, up to 4 levels, and jpeg-decoder 3.8%, up to 3).
//! - Orientation: JPEG and PNG turn as EXIF says, unless the colour type ignores it; TIFF always;
//!   WebP only with `imdecode_backend='pillow'`.
//! - 16 bits: the upper 8, but `round(v / 257)` of a colour TIFF. Alpha is dropped, not blended; TIFF has more: see
//!   `decode/tiff.rs`.
//! - CMYK: OpenCV's formula. A file that ends too early is an error; a damaged one that does not
//!   end early is shown as far as it goes, as OpenCV does.
//! - Sizes: [`SizeLimits`], and no more than the file's length can hold (`most_pixels`), before anything is allocated.
//!
//! Where we differ: GIF is read (its first frame; OpenCV 4.11's wheel reads none); so is a JPEG that
//! lacks nothing but its end marker; grey of a colour PNG is 1 level off in 0.4% (and its gamma is ignored);
//! `unchanged` keeps 8 bits only.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use libjpeg_turbo_rs::{
    ColorSpace, ComponentInfo, DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat,
    ScalingFactor,
};
use serde::Deserialize;

use crate::picture::{Fault, Picture, PictureError, swap_red_blue};
use crate::size_limits::SizeLimits;
use smalti_config::file_kind::looks_like;

mod tiff;

/// mmcv's `color_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorType {
    /// Three channels, turned as EXIF says.
    #[default]
    Color,
    /// One channel, turned as EXIF says.
    Grayscale,
    /// The channels of the file, not turned.
    Unchanged,
    /// Three channels, not turned.
    ColorIgnoreOrientation,
    /// One channel, not turned.
    GrayscaleIgnoreOrientation,
}

impl ColorType {
    pub(super) fn turns(self) -> bool {
        matches!(self, ColorType::Color | ColorType::Grayscale)
    }

    fn is_grey(self) -> bool {
        matches!(
            self,
            ColorType::Grayscale | ColorType::GrayscaleIgnoreOrientation
        )
    }
}

/// mmcv's `imdecode_backend`. All are read by the same decoders and give OpenCV's pixels; they
/// agree with the named library for 8-bit grey and colour pictures. Pillow itself would blend a
/// grey picture with alpha, round CMYK in another way, and clip 16-bit grey instead of scaling it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// OpenCV.
    #[default]
    Cv2,
    /// PyTurboJPEG.
    Turbojpeg,
    /// Pillow: WebP is turned as EXIF says, too.
    Pillow,
    /// tifffile.
    Tifffile,
}

/// How a file is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Channels and orientation.
    pub color_type: ColorType,
    /// The library to follow where they differ.
    pub backend: Backend,
    /// Larger pictures are refused before they are decoded; by default as the environment says.
    pub limits: Option<SizeLimits>,
}

impl DecodeOptions {
    /// The pixels of a picture that may be read.
    fn check(&self, size: [usize; 2]) -> Result<usize, Fault> {
        if size.contains(&0) {
            let [width, height] = size;
            return Err(Fault::Unsupported(format!(
                "a picture of {width}x{height} pixels"
            )));
        }
        self.limits
            .map_or_else(SizeLimits::in_force, Ok)?
            .check(size)
    }
}

/// Decodes `bytes`; the format is recognised by its content. `name` is for the error.
///
/// # Errors
/// Whatever is wrong with the file; see [`Fault`].
pub fn decode(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Picture, PictureError> {
    decode_small(name, bytes, options, None)
}

/// As [`decode`]; a JPEG, of which that takes less time, a half, a quarter or an eighth as large, as long as no side is below `least`.
pub(super) fn decode_small(
    name: &str,
    bytes: &[u8],
    options: &DecodeOptions,
    least: Option<usize>,
) -> Result<Picture, PictureError> {
    let result = match bytes {
        [] => Err(Fault::Empty),
        // JPEG-LS begins as JPEG does
        [0xff, 0xd8, 0xff, 0xf7, ..] => other(bytes, options),
        [0xff, 0xd8, ..] => jpeg(bytes, options, least),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => tiff::decode(bytes, options),
        _ => other(bytes, options),
    };
    result.map_err(|problem| PictureError::new(name, problem))
}

fn jpeg(bytes: &[u8], options: &DecodeOptions, least: Option<usize>) -> Result<Picture, Fault> {
    let mut decoder = Decoder::new_with_limits(bytes, JPEG_LIMITS).map_err(jpeg_problem)?;
    let header = decoder.header();
    let (width, height) = (usize::from(header.width), usize::from(header.height));
    let components = header.components.len();
    let pixels = options.check([width, height])?;
    // A block of 64 pixels takes a bit at least, but for arithmetic coding (lossless needs more).
    if pixels as u64 / 64 > bytes.len() as u64 * 8
        && !libjpeg_turbo_rs::probe(bytes).is_ok_and(|info| info.arithmetic)
    {
        return Err(Fault::Truncated);
    }
    let grey = options.color_type.is_grey();
    let cmyk = matches!(
        decoder.jpeg_color_space(),
        ColorSpace::Cmyk | ColorSpace::Ycck
    );
    let (format, channels) = match components {
        _ if cmyk => (PixelFormat::Cmyk, 4),
        1 if grey || options.color_type == ColorType::Unchanged => (PixelFormat::Grayscale, 1),
        // an RGB JPEG has no luma of its own
        3 if grey && decoder.jpeg_color_space() == ColorSpace::YCbCr => (PixelFormat::Grayscale, 1),
        1 | 3 => (PixelFormat::Bgr, 3),
        n => return Err(Fault::Unsupported(format!("JPEG with {n} components"))),
    };
    if !regular(&header.components) {
        return Err(Fault::Unsupported("JPEG with irregular sampling".into()));
    }
    decoder.set_lenient(true);
    decoder.set_output_format(format);
    let fits = |n: &u32| least.is_some_and(|least| width.min(height) / *n as usize >= least);
    if let Some(n) = [8, 4, 2].into_iter().find(fits) {
        decoder.set_scale(ScalingFactor::try_new(1, n).map_err(jpeg_problem)?);
    }
    let exif = decoder.exif_orientation().unwrap_or(1);
    let image = decoder.decode_image().map_err(jpeg_problem)?;
    let short = image
        .warnings
        .iter()
        .any(|w| matches!(w, DecodeWarning::TruncatedData { .. }));
    if short && !ends(bytes) {
        return Err(Fault::Truncated);
    }
    let (width, height) = (image.width, image.height);
    let mut pixels = image.data;
    if cmyk {
        pixels = bgr_from_cmyk(&pixels);
    }
    let channels = if cmyk { 3 } else { channels };
    let picture = finish(width, height, channels, pixels, options, LUMA)?;
    Ok(if options.color_type.turns() {
        picture.oriented(exif)
    } else {
        picture
    })
}

/// Sizes are checked by us, before.
const JPEG_LIMITS: DecodeLimits = DecodeLimits {
    max_width: 65_535,
    max_height: 65_535,
    max_pixels: u64::MAX,
    max_scans: 512,
    max_memory: None,
};

fn jpeg_problem(error: JpegError) -> Fault {
    match error {
        JpegError::UnexpectedEof => Fault::Truncated,
        JpegError::Unsupported(what) => Fault::Unsupported(format!("JPEG with {what}")),
        other => Fault::Corrupt {
            format: "JPEG",
            reason: other.to_string(),
        },
    }
}

/// Whether the sampling is one that the decoder can do: factors divide the largest, as libjpeg demands;
/// and of four components, the first and last have the largest, the two between the same.
fn regular(components: &[ComponentInfo]) -> bool {
    let factors: Vec<[u8; 2]> = components
        .iter()
        .map(|c| [c.horizontal_sampling, c.vertical_sampling])
        .collect();
    let most = [0, 1].map(|i| factors.iter().map(|f| f[i]).max().unwrap_or(1));
    let divides = |f: &[u8; 2]| (0..2).all(|i| f[i] > 0 && most[i].is_multiple_of(f[i]));
    factors.iter().all(divides)
        && match factors.as_slice() {
            [a, b, c, d] => *a == most && *d == most && b == c,
            _ => true,
        }
}

/// Whether the last marker of a JPEG, padding aside, is its end.
fn ends(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(1 << 16)..];
    tail.windows(2).any(|w| w == [0xff, 0xd9])
}

/// OpenCV's conversion; JPEG's CMYK is stored inverted.
fn bgr_from_cmyk(cmyk: &[u8]) -> Vec<u8> {
    let ink = |v: u8, k: u8| {
        let k = i32::from(k);
        (k - (((255 - i32::from(v)) * k) >> 8)) as u8
    };
    let pixels = cmyk.chunks_exact(4);
    pixels
        .flat_map(|p| [ink(p[2], p[3]), ink(p[1], p[3]), ink(p[0], p[3])])
        .collect()
}

fn other(bytes: &[u8], options: &DecodeOptions) -> Result<Picture, Fault> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Fault::Unreadable(e.to_string()))?;
    let unknown = || Fault::UnknownFormat {
        looks_like: looks_like(bytes),
    };
    let format = reader.format().ok_or_else(unknown)?;
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Pnm => "PNM",
        _ => return Err(unknown()),
    };
    let mut limits = image::Limits::default();
    let most = options.limits.map_or_else(SizeLimits::in_force, Ok)?.pixels;
    limits.max_alloc = Some((most as u64).saturating_mul(8).saturating_add(64 << 20));
    reader.limits(limits);
    let problem = |error: image::ImageError| match error {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Fault::Truncated
        }
        image::ImageError::Unsupported(e) => Fault::Unsupported(e.to_string()),
        other => Fault::Corrupt {
            format: name,
            reason: other.to_string(),
        },
    };
    let mut decoder = reader.into_decoder().map_err(problem)?;
    let (width, height) = decoder.dimensions();
    let pixels = options.check([width as usize, height as usize])?;
    if pixels as u64 > most_pixels(format, bytes.len() as u64) {
        return Err(Fault::Truncated);
    }
    let turns = match format {
        ImageFormat::Png => options.color_type.turns(),
        _ => options.color_type.turns() && options.backend == Backend::Pillow,
    };
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(problem)?;
    let picture = eight_bits(image, format, options)?;
    Ok(if turns {
        picture.oriented(orientation.to_exif())
    } else {
        picture
    })
}

/// The most pixels that a file of `length` bytes can hold; for formats in which a few bytes may stand for many pixels that
/// nothing is said of, those that cost little memory are granted.
fn most_pixels(format: ImageFormat, length: u64) -> u64 {
    const GRANTED: u64 = 1 << 24;
    match format {
        // deflate: 1032 to 1, with 8 pixels in a byte
        ImageFormat::Png => length.saturating_mul(1032 * 8),
        // a code of 12 bits for 4096 pixels; the canvas may be larger than its frames
        ImageFormat::Gif => length.saturating_mul(2731) + GRANTED,
        // a run of 255 pixels in two bytes; lines may end early
        ImageFormat::Bmp => length.saturating_mul(128) + GRANTED,
        ImageFormat::Pnm => length.saturating_mul(8),
        // a WebP of one colour has the same length for every size, and these are at most 2^28 pixels
        _ => u64::MAX,
    }
}

fn eight_bits(
    image: DynamicImage,
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<Picture, Fault> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (samples, channels): (Vec<u8>, usize) = match image {
        DynamicImage::ImageLuma8(i) => (i.into_raw(), 1),
        DynamicImage::ImageLumaA8(i) => (i.into_raw(), 2),
        DynamicImage::ImageRgb8(i) => (i.into_raw(), 3),
        DynamicImage::ImageRgba8(i) => (i.into_raw(), 4),
        wide => {
            if options.color_type == ColorType::Unchanged {
                return Err(Fault::Unsupported(ONLY_EIGHT_BITS.into()));
            }
            let (samples, channels) = match wide {
                DynamicImage::ImageLuma16(i) => (i.into_raw(), 1),
                DynamicImage::ImageLumaA16(i) => (i.into_raw(), 2),
                DynamicImage::ImageRgb16(i) => (i.into_raw(), 3),
                DynamicImage::ImageRgba16(i) => (i.into_raw(), 4),
                _ => return Err(Fault::Unsupported("floating-point samples".into())),
            };
            let narrow = samples.into_iter().map(|v| (v >> 8) as u8);
            (narrow.collect(), channels)
        }
    };
    let unchanged = options.color_type == ColorType::Unchanged;
    let (pixels, channels) = match channels {
        // OpenCV makes four channels of grey with alpha
        2 if unchanged => {
            let pixels = samples.chunks_exact(2);
            let bgra = pixels.flat_map(|p| [p[0], p[0], p[0], p[1]]);
            (bgra.collect(), 4)
        }
        2 => (samples.chunks_exact(2).map(|p| p[0]).collect(), 1),
        4 if !unchanged => {
            let pixels = samples.chunks_exact(4);
            (pixels.flat_map(|p| [p[2], p[1], p[0]]).collect(), 3)
        }
        1 => (samples, 1),
        n => {
            let mut samples = samples;
            swap_red_blue(&mut samples, n);
            (samples, n)
        }
    };
    let luma = match format {
        ImageFormat::Png => LUMA_PNG,
        ImageFormat::WebP => LUMA_WEBP,
        _ => LUMA,
    };
    finish(width, height, channels, pixels, options, luma)
}

const ONLY_EIGHT_BITS: &str =
    "more than 8 bits a sample: `color_type='unchanged'` keeps 8 only, use 'color'";

/// How a decoder makes grey of colour: weights of B, G, R, their bits, what is added to round.
type Luma = [u32; 5];
const LUMA: Luma = [1868, 9617, 4899, 14, 1 << 13];
const LUMA_WEBP: Luma = [3735, 19235, 9798, 15, 1 << 14];
const LUMA_PNG: Luma = [3735, 19235, 9798, 15, 0];

/// To the channels that the colour type asks for.
fn finish(
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
    options: &DecodeOptions,
    luma: Luma,
) -> Result<Picture, Fault> {
    let (pixels, channels) = match (options.color_type, channels) {
        (ColorType::Unchanged, n) => (pixels, n),
        (t, 3) if t.is_grey() => {
            let [b, g, r, bits, round] = luma;
            let grey = |p: &[u8]| {
                let sum = u32::from(p[0]) * b + u32::from(p[1]) * g + u32::from(p[2]) * r;
                ((sum + round) >> bits) as u8
            };
            (pixels.chunks_exact(3).map(grey).collect(), 1)
        }
        (t, 1) if !t.is_grey() => (pixels.iter().flat_map(|v| [*v; 3]).collect(), 3),
        (_, n) => (pixels, n),
    };
    Picture::new(width, height, channels, pixels).ok_or_else(|| Fault::Corrupt {
        format: "picture",
        reason: "its sizes and its pixels disagree".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, LumaA, Rgb, Rgba};

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn jpeg_bytes() -> Vec<u8> {
        let rgb: Vec<u8> = (0..48 * 32 * 3u32).map(|i| (i * 37 % 251) as u8).collect();
        let subsampling = libjpeg_turbo_rs::Subsampling::S420;
        libjpeg_turbo_rs::compress(&rgb, 48, 32, PixelFormat::Rgb, 90, subsampling).unwrap()
    }

    /// An APP1 segment with EXIF's orientation, in either byte order, after the start marker.
    fn with_orientation(jpeg: &[u8], orientation: u8, big_endian: bool) -> Vec<u8> {
        let tiff: Vec<u8> = if big_endian {
            [
                b"MM\0*\0\0\0\x08\0\x01".as_slice(),
                &[1, 18, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0],
                &[0; 4],
            ]
            .concat()
        } else {
            [
                b"II*\0\x08\0\0\0\x01\0".as_slice(),
                &[18, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0],
                &[0; 4],
            ]
            .concat()
        };
        let length = (tiff.len() + 8) as u16;
        [
            &jpeg[..2],
            &[0xff, 0xe1],
            &length.to_be_bytes(),
            b"Exif\0\0",
            &tiff,
            &jpeg[2..],
        ]
        .concat()
    }

    fn with(color_type: ColorType) -> DecodeOptions {
        DecodeOptions {
            color_type,
            ..DecodeOptions::default()
        }
    }

    #[test]
    fn colour_grey_alpha_and_16_bits() {
        let images: [(DynamicImage, [u8; 3]); 6] = [
            (ImageBuffer::from_pixel(2, 1, Luma([7u8])).into(), [7, 7, 7]),
            (
                ImageBuffer::from_pixel(2, 1, LumaA([7u8, 9])).into(),
                [7, 7, 7],
            ),
            (
                ImageBuffer::from_pixel(2, 1, Rgb([1u8, 2, 3])).into(),
                [3, 2, 1],
            ),
            (
                ImageBuffer::from_pixel(2, 1, Rgba([1u8, 2, 3, 0])).into(),
                [3, 2, 1],
            ),
            (
                ImageBuffer::from_pixel(2, 1, Luma([0x12ffu16])).into(),
                [0x12; 3],
            ),
            (
                ImageBuffer::from_pixel(2, 1, Rgb([0x0180u16, 0x02ff, 0xffff])).into(),
                [255, 2, 1],
            ),
        ];
        for (image, bgr) in images {
            let bytes = encoded(&image, ImageFormat::Png);
            let picture = decode("a.png", &bytes, &DecodeOptions::default()).unwrap();
            assert_eq!(picture.pixels(), [bgr, bgr].concat(), "{image:?}");
        }
        let wide: DynamicImage =
            ImageBuffer::from_pixel(1, 1, Rgb([0x0180u16, 0x02ff, 385])).into();
        let tiff = encoded(&wide, ImageFormat::Tiff);
        let picture = decode("a.tif", &tiff, &DecodeOptions::default()).unwrap();
        assert_eq!(
            picture.pixels(),
            [1, 3, 1],
            "a colour TIFF is divided by 257"
        );

        let rgba: DynamicImage = ImageBuffer::from_pixel(1, 1, Rgba([1u8, 2, 3, 4])).into();
        let png = encoded(&rgba, ImageFormat::Png);
        let unchanged = decode("a.png", &png, &with(ColorType::Unchanged)).unwrap();
        assert_eq!(
            (unchanged.channels(), unchanged.pixels()),
            (4, [3, 2, 1, 4].as_slice())
        );
        let grey = decode("a.png", &png, &with(ColorType::Grayscale)).unwrap();
        assert_eq!((grey.channels(), grey.pixels()), (1, [1].as_slice()));
    }

    #[test]
    fn every_format_by_its_content() {
        let image: DynamicImage =
            ImageBuffer::from_fn(5, 4, |x, y| Rgb([x as u8 * 50, y as u8 * 60, 9])).into();
        use ImageFormat::{Bmp, Gif, Png, Pnm, Tiff, WebP};
        for format in [Bmp, Gif, Png, Pnm, Tiff, WebP] {
            let bytes = encoded(&image, format);
            let picture = decode("wrong.jpg", &bytes, &DecodeOptions::default()).unwrap();
            assert_eq!(picture.to_rgb(), image.to_rgb8().into_raw(), "{format:?}");
        }
    }

    #[test]
    fn exif_turns_unless_told_not_to() {
        let plain = jpeg_bytes();
        let reference = decode("a.jpg", &plain, &DecodeOptions::default()).unwrap();
        for orientation in 0..10 {
            for big_endian in [true, false] {
                let bytes = with_orientation(&plain, orientation, big_endian);
                let turned = decode("a.jpg", &bytes, &DecodeOptions::default()).unwrap();
                assert_eq!(
                    turned,
                    reference.clone().oriented(orientation),
                    "{orientation}"
                );
                for kept in [ColorType::ColorIgnoreOrientation, ColorType::Unchanged] {
                    assert_eq!(decode("a.jpg", &bytes, &with(kept)).unwrap(), reference);
                }
            }
        }
    }

    #[test]
    fn grey_jpeg_is_its_luma() {
        let bytes = jpeg_bytes();
        let grey = decode("a.jpg", &bytes, &with(ColorType::Grayscale)).unwrap();
        let luma = libjpeg_turbo_rs::decompress_to(&bytes, PixelFormat::Grayscale).unwrap();
        assert_eq!((grey.channels(), grey.pixels()), (1, luma.data.as_slice()));
    }

    #[test]
    fn cmyk_as_opencv() {
        // inverted inks: full light, no light, some
        let cmyk = [255, 255, 255, 255, 9, 9, 9, 0, 100, 200, 50, 128];
        assert_eq!(bgr_from_cmyk(&cmyk), [255, 255, 255, 0, 0, 0, 26, 101, 51]);
    }

    #[test]
    fn broken_files_say_why() {
        let options = DecodeOptions::default();
        let png = encoded(
            &ImageBuffer::from_pixel(64, 64, Luma([7u8])).into(),
            ImageFormat::Png,
        );
        let jpeg = jpeg_bytes();
        let fault = |bytes: &[u8]| decode("x", bytes, &options).unwrap_err().problem;
        assert_eq!(fault(&[]), Fault::Empty);
        assert_eq!(
            fault(b"hello, this is text").to_string(),
            "not a picture that is read: it is a text file that begins with \"hello, this is text\"; \
             expected JPEG, PNG, WebP, BMP, TIFF, GIF or PNM"
        );
        assert_eq!(fault(&png[..png.len() - 20]), Fault::Truncated);
        assert_eq!(fault(&jpeg[..jpeg.len() * 2 / 3]), Fault::Truncated);
        assert!(
            decode("x", &jpeg[..jpeg.len() - 2], &options).is_ok(),
            "only the end marker"
        );
        let error = decode("folder/x.png", &png[..20], &options).unwrap_err();
        assert!(error.to_string().starts_with("folder/x.png: "), "{error}");
        let jpeg_ls = fault(b"\xff\xd8\xff\xf7\0\x0b").to_string();
        assert!(jpeg_ls.contains("it looks like JPEG-LS"), "{jpeg_ls}");
        // cut anywhere, flipped anywhere: an answer, never a panic
        for format in [
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::Tiff,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Pnm,
        ] {
            let image: DynamicImage =
                ImageBuffer::from_fn(9, 7, |x, y| Rgb([x as u8, y as u8, 7])).into();
            mangle(&encoded(&image, format), &options);
        }
        mangle(&jpeg, &options);
    }

    fn mangle(good: &[u8], options: &DecodeOptions) {
        let mut state = 5u32;
        for cut in (0..good.len()).step_by(good.len() / 40 + 1) {
            let _ = decode("x", &good[..cut], options);
            let mut bad = good.to_vec();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bad[cut] ^= (state >> 24) as u8 | 1;
            let _ = decode("x", &bad, options);
        }
    }

    #[test]
    fn too_many_pixels_are_refused_before_decoding() {
        let pixels = 48 * 32 - 1;
        let options = DecodeOptions {
            limits: Some(SizeLimits {
                pixels,
                ..SizeLimits::default()
            }),
            ..DecodeOptions::default()
        };
        let error = decode("big.jpg", &jpeg_bytes(), &options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "big.jpg: 48x32 pixels are more than the limit of 1535, which the environment variable \
             OPENCV_IO_MAX_IMAGE_PIXELS changes"
        );
        // files of some hundred bytes that claim 900 million pixels: nothing is allocated for them
        let claims = |mut file: Vec<u8>, at: usize, sides: [&[u8]; 2]| {
            file[at..at + sides[0].len()].copy_from_slice(sides[0]);
            let at = at + sides[0].len();
            file[at..at + sides[1].len()].copy_from_slice(sides[1]);
            decode("x", &file, &DecodeOptions::default())
                .unwrap_err()
                .problem
        };
        let small: DynamicImage = ImageBuffer::from_pixel(3, 2, Rgb([7u8, 8, 9])).into();
        let [wide, high] = [30_000_u32, 30_001];
        let jpeg = jpeg_bytes();
        let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        let sides = [&30_001u16.to_be_bytes()[..], &30_000u16.to_be_bytes()];
        assert_eq!(claims(jpeg, frame + 5, sides), Fault::Truncated);
        let sides = [&30_000u16.to_le_bytes()[..], &30_001u16.to_le_bytes()];
        let gif = encoded(&small, ImageFormat::Gif);
        assert_eq!(claims(gif, 6, sides), Fault::Truncated);
        let sides = [&wide.to_le_bytes()[..], &high.to_le_bytes()];
        let bmp = encoded(&small, ImageFormat::Bmp);
        assert_eq!(claims(bmp, 18, sides), Fault::Truncated);
        let pnm = b"P6 30000 30001 255\n\x01\x02\x03";
        let problem = decode("x", pnm, &DecodeOptions::default())
            .unwrap_err()
            .problem;
        assert_eq!(problem, Fault::Truncated);
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x31\x01\0\0\0\0";
        let mut crc = flate2::Crc::new();
        crc.update(&png[12..]);
        let idat = b"\0\0\0\x08IDAT\x78\x01\x03\0\0\0\0\x01\x01\x1b\x5b\x3f";
        let png = [&png[..], &crc.sum().to_be_bytes(), idat].concat();
        let problem = decode("x", &png, &DecodeOptions::default())
            .unwrap_err()
            .problem;
        assert_eq!(problem, Fault::Truncated);
        // a PNG whose header promises 4 billion by 4 billion pixels
        let mut png = encoded(
            &ImageBuffer::from_pixel(1, 1, Luma([7u8])).into(),
            ImageFormat::Png,
        );
        png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        assert!(decode("x.png", &png, &DecodeOptions::default()).is_err());
    }
}
