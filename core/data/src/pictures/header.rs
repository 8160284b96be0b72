//! The size of a picture from the first bytes of its file, as [`decode`](crate::decode::decode) would give it: turned as EXIF says.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, ImageReader};

use crate::decode::{Backend, DecodeOptions};

/// Bytes that nearly always hold the size.
pub(crate) const HEAD: usize = 1 << 17;

/// Width and height, px. `None` if these bytes do not say it, or are no picture.
pub(crate) fn size_of(bytes: &[u8], options: &DecodeOptions) -> Option<[u32; 2]> {
    let turns = options.color_type.turns();
    let (size, orientation, turns) = if bytes.starts_with(&[0xff, 0xd8]) {
        let (size, orientation) = jpeg(bytes)?;
        (size, orientation, turns)
    } else {
        let reader = ImageReader::new(Cursor::new(bytes));
        let reader = reader.with_guessed_format().ok()?;
        let turns = match reader.format()? {
            ImageFormat::Tiff => true,
            ImageFormat::Png => turns,
            _ => turns && options.backend == Backend::Pillow,
        };
        let mut decoder = reader.into_decoder().ok()?;
        let orientation = if turns {
            decoder.orientation().ok()?
        } else {
            Orientation::NoTransforms
        };
        (decoder.dimensions().into(), orientation, turns)
    };
    let [width, height] = size;
    // 5 to 8 are those that lie on their side
    Some(if turns && orientation.to_exif() >= 5 {
        [height, width]
    } else {
        size
    })
}

/// What the segments of a JPEG say before its first scan.
fn jpeg(bytes: &[u8]) -> Option<([u32; 2], Orientation)> {
    let mut orientation = Orientation::NoTransforms;
    let mut at = 2;
    loop {
        let (lead, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?);
        match (lead, marker) {
            // padding before a marker
            (0xff, 0xff) => at += 1,
            // markers without a segment
            (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, _) => {
                let length = u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]);
                let segment = bytes.get(at + 4..at + 2 + usize::from(length).max(2))?;
                match marker {
                    0xe1 => {
                        let exif = segment.strip_prefix(b"Exif\0\0");
                        orientation = exif
                            .and_then(Orientation::from_exif_chunk)
                            .unwrap_or(orientation);
                    }
                    0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                        let side = |i: usize| {
                            let pair = [*segment.get(i)?, *segment.get(i + 1)?];
                            Some(u32::from(u16::from_be_bytes(pair)))
                        };
                        return Some(([side(3)?, side(1)?], orientation));
                    }
                    0xd9 | 0xda => return None,
                    _ => {}
                }
                at += 2 + usize::from(length).max(2);
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ColorType;

    /// A JPEG's segments up to its frame: 7x5 pixels.
    fn head(orientation: Option<u8>) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff];
        if let Some(orientation) = orientation {
            let tiff = [b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1];
            let entry = [1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
            bytes.extend([0xff, 0xe1, 0, 2 + 6 + 26]);
            bytes.extend(b"Exif\0\0");
            bytes.extend(tiff.iter().chain(&entry));
        }
        bytes.extend([0xff, 0xc4, 0, 3, 9]);
        bytes.extend([0xff, 0xc2, 0, 11, 8, 0, 5, 0, 7, 1, 1, 0x11, 0]);
        bytes
    }

    #[test]
    fn jpeg_turned_and_not() {
        let options = DecodeOptions::default();
        assert_eq!(size_of(&head(None), &options), Some([7, 5]));
        for (orientation, size) in [
            (1, [7, 5]),
            (3, [7, 5]),
            (5, [5, 7]),
            (6, [5, 7]),
            (8, [5, 7]),
        ] {
            assert_eq!(size_of(&head(Some(orientation)), &options), Some(size));
        }
        let flat = DecodeOptions {
            color_type: ColorType::ColorIgnoreOrientation,
            ..options
        };
        assert_eq!(size_of(&head(Some(6)), &flat), Some([7, 5]));
        for length in 0..head(Some(6)).len() - 5 {
            let cut = &head(Some(6))[..length];
            assert_eq!(size_of(cut, &options), None, "{length} bytes");
        }
    }

    #[test]
    fn others() {
        let options = DecodeOptions::default();
        assert_eq!(size_of(b"P5 2 1 255\n\x0a\x14", &options), Some([2, 1]));
        assert_eq!(
            size_of(b"GIF89a\x03\0\x02\0\0\0\0,\0\0\0\0\x03\0\x02\0\0", &options),
            Some([3, 2])
        );
        for bad in [
            &b""[..],
            b"hello",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xd9",
        ] {
            assert_eq!(size_of(bad, &options), None, "{bad:?}");
        }
    }
}
