//! TIFF (and BigTIFF) as OpenCV 4.11 reads it for `IMREAD_COLOR`: what libtiff's `TIFFReadRGBA*` makes of the first page.
//! Signs of samples are ignored, colour that alpha is not yet multiplied into is multiplied with it.
//!
//! The crate `tiff` reads the directory. Its decoder has no palettes, no alpha beside grey, no fax of group 3 and no
//! order of bits, so strips and tiles are unpacked here, by the crates that it uses too; JPEG by ours, with OpenCV's pixels.
//!
//! Where we differ: grey and palettes of 2 and 4 bits are read, and a file that is cut short is an error. Tiles of a turned picture, and
//! tiles larger than the picture, lie where they belong (OpenCV turns each by itself, and shows memory that nothing was written to). Not read, with an error that names the kind: more than 4 samples a
//! pixel, L*a*b*, YCbCr with subsampling outside of JPEG, two-dimensional fax of group 3, JPEG of the old style.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};

use ::tiff::TiffError;
use ::tiff::decoder::Decoder;
use ::tiff::decoder::ifd::Value;
use ::tiff::tags::{ByteOrder, Tag};
use libjpeg_turbo_rs::{ColorSpace, PixelFormat};

use super::{
    ColorType, DecodeOptions, Fault, JPEG_LIMITS, LUMA, ONLY_EIGHT_BITS, finish, jpeg_problem,
};
use crate::picture::Picture;

mod colour;
mod unpack;

use colour::Colour;
use unpack::{DEFLATE, FAX2, FAX3, FAX4, JPEG, LZW, NONE, OLD_DEFLATE, PACK_BITS};

/// Decodes the first page of `bytes`.
pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Picture, Fault> {
    let page = Page::read(bytes, options)?;
    let colour = page.colour()?;
    // OpenCV takes 16 bits of grey with alpha for 8
    if options.color_type == ColorType::Unchanged && page.bits > 8 && page.samples != 2 {
        return Err(Fault::Unsupported(ONLY_EIGHT_BITS.into()));
    }
    page.check_lengths()?;
    let with_alpha = options.color_type == ColorType::Unchanged && page.samples == 4;
    let channels = match colour {
        Colour::Grey { .. } => 1,
        _ if with_alpha => 4,
        _ => 3,
    };
    let [width, height] = page.size;
    let mut pixels = Vec::new();
    for band in 0..page.down() {
        let rows = page.rows(band);
        let start = pixels.len();
        for across in 0..page.across() {
            let samples = page.samples_of(band * page.across() + across, rows, colour.reads())?;
            pixels.resize(start + rows * width * channels, 0);
            let left = across * page.tile[0];
            let columns = page.tile[0].min(width - left);
            for y in 0..rows {
                let from = &samples[y * page.tile[0] * colour.reads()..];
                let to = &mut pixels[start + (y * width + left) * channels..][..columns * channels];
                colour.paint(from, to, channels);
            }
        }
    }
    let picture = finish(width, height, channels, pixels, options, LUMA)?;
    Ok(picture.oriented(page.orientation))
}

/// What the directory of a page says.
struct Page<'a> {
    bytes: &'a [u8],
    /// Width and height.
    size: [usize; 2],
    /// Bits of a sample.
    bits: usize,
    /// Samples of a pixel.
    samples: usize,
    photometric: u64,
    compression: u64,
    /// Each sample has strips or tiles of its own.
    planar: bool,
    /// Samples are differences to the pixel before.
    differences: bool,
    big_endian: bool,
    /// The lowest bit of a byte comes first.
    reversed: bool,
    /// The fourth sample (second of grey) is alpha that is not yet multiplied into the others.
    straight_alpha: bool,
    orientation: u8,
    /// Width and height of a tile; a strip is as wide as the picture.
    tile: [usize; 2],
    /// Offset and length of each strip or tile.
    places: Vec<[u64; 2]>,
    jpeg_tables: Vec<u8>,
    /// Red, green and blue of each index, one after the other.
    palette: Vec<u16>,
}

impl<'a> Page<'a> {
    fn read(bytes: &'a [u8], options: &DecodeOptions) -> Result<Self, Fault> {
        let mut file = Decoder::new(Cursor::new(bytes)).map_err(fault)?;
        let mut all = |tag: Tag| -> Result<Vec<u64>, Fault> {
            let values = file.find_tag_unsigned_vec(tag).map_err(fault)?;
            Ok(values.unwrap_or_default())
        };
        let mut one = |tag, default| -> Result<u64, Fault> {
            Ok(all(tag)?.first().copied().unwrap_or(default))
        };
        let size = [one(Tag::ImageWidth, 0)?, one(Tag::ImageLength, 0)?];
        let size = size.map(|side| usize::try_from(side).unwrap_or(usize::MAX));
        options.check(size)?;

        let format = one(Tag::SampleFormat, 1)?;
        if !matches!(format, 1 | 2) {
            let kind = match format {
                3 => "floating-point samples",
                5 | 6 => "complex samples",
                _ => "samples of an unknown type",
            };
            return unread(kind);
        }
        let compression = one(Tag::Compression, 1)?;
        if let Some(name) = unpack::name_of_unread(compression, one(T4_OPTIONS, 0)?) {
            return unread(&format!("compression {compression} ({name})"));
        }
        let tile_width = one(Tag::TileWidth, 0)?;
        let tiled = tile_width > 0;
        let [tile_height, offsets, lengths] = if tiled {
            [Tag::TileLength, Tag::TileOffsets, Tag::TileByteCounts]
        } else {
            [Tag::RowsPerStrip, Tag::StripOffsets, Tag::StripByteCounts]
        };
        let sides = [tile_width, one(tile_height, u64::MAX)?];
        let mut tile = sides.map(|side| usize::try_from(side).unwrap_or(usize::MAX));
        if !tiled {
            tile = [size[0], tile[1].min(size[1])];
        }
        options.check(tile)?;
        let predictor = one(Tag::Predictor, 1)?;
        let packs = matches!(compression, LZW | DEFLATE | OLD_DEFLATE);
        if packs && predictor == 3 {
            return unread("a predictor for floating-point samples");
        }
        let mut page = Self {
            bytes,
            size,
            bits: one(Tag::BitsPerSample, 1)? as usize,
            samples: one(Tag::SamplesPerPixel, 1)? as usize,
            photometric: one(Tag::PhotometricInterpretation, 0)?,
            compression,
            planar: one(Tag::PlanarConfiguration, 1)? == 2,
            differences: packs && predictor == 2,
            big_endian: false,
            reversed: one(Tag::FillOrder, 1)? == 2,
            straight_alpha: one(Tag::ExtraSamples, 0)? == 2,
            orientation: u8::try_from(one(Tag::Orientation, 1)?).unwrap_or(1),
            tile,
            places: Vec::new(),
            jpeg_tables: Vec::new(),
            palette: Vec::new(),
        };
        let lengths = all(lengths)?.into_iter();
        page.places = all(offsets)?
            .into_iter()
            .zip(lengths)
            .map(|(at, length)| [at, length])
            .collect();
        page.jpeg_tables = all(Tag::JPEGTables)?.iter().map(|v| *v as u8).collect();
        page.palette = all(Tag::ColorMap)?.iter().map(|v| *v as u16).collect();
        page.planar &= page.samples > 1;
        let inks = all(INK_SET)?.first().copied().unwrap_or(1);
        if page.photometric == SEPARATED && inks != 1 {
            return unread("inks other than CMYK");
        }
        let [h, v] = [0, 1].map(|i| all(Tag::ChromaSubsampling).ok()?.get(i).copied());
        let subsampled = [h, v].iter().any(|side| side.unwrap_or(2) != 1);
        if page.photometric == YCBCR && compression != JPEG {
            if subsampled {
                return unread("subsampled YCbCr");
            }
            for (tag, usual) in USUAL_YCBCR {
                let given = file.find_tag(tag).map_err(fault)?;
                if given.is_some_and(|given| !is_near(&given, usual)) {
                    return unread("YCbCr of other coefficients or levels than usual");
                }
            }
        }
        page.big_endian = file.byte_order() == ByteOrder::BigEndian;
        Ok(page)
    }

    /// How samples become colour, if it is a kind that is read.
    fn colour(&self) -> Result<Colour, Fault> {
        let (bits, samples) = (self.bits, self.samples);
        let kind = match self.photometric {
            0 | 1 => "grey",
            2 => "RGB",
            3 => "a palette",
            4 => return unread("a transparency mask"),
            SEPARATED => "CMYK",
            YCBCR => "YCbCr",
            8..=10 => return unread("L*a*b*"),
            n => return unread(&format!("photometric interpretation {n}")),
        };
        let (depths, least): (&[usize], usize) = match self.photometric {
            0 | 1 => (&[1, 2, 4, 8, 16], 1),
            3 => (&[1, 2, 4, 8], 1),
            2 => (&[8, 16], 3),
            SEPARATED => (&[8], 4),
            _ => (&[8], 3),
        };
        let wrong = if self.differences && bits < 8 {
            Some("a predictor for less than 8 bits".to_owned())
        } else if !depths.contains(&bits) || bits < 8 && samples > 1 {
            Some(format!("{kind} of {samples} x {bits} bits"))
        } else if samples < least || samples > 4 {
            Some(format!("{kind} of {samples} samples a pixel"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return unread(&wrong);
        }
        let straight_alpha = self.straight_alpha && samples > least;
        Ok(match self.photometric {
            2 if samples == 3 => Colour::Rgb,
            2 => Colour::Rgba { straight_alpha },
            3 => Colour::Palette(self.palette_of_bytes()?),
            SEPARATED => Colour::Cmyk,
            // libjpeg has made RGB of it
            YCBCR if self.compression == JPEG && !self.planar => Colour::Rgb,
            YCBCR => Colour::YCbCr,
            white_is_zero => Colour::Grey {
                // libtiff treats planes of grey as it treats those of colour
                inverted: white_is_zero == 0 && !self.planar,
                highest: (1 << bits.min(8)) - 1,
                straight_alpha: straight_alpha && self.planar,
            },
        })
    }

    /// The palette with 8 bits: the upper ones of 16, unless a careless writer filled the lower.
    fn palette_of_bytes(&self) -> Result<Vec<[u8; 3]>, Fault> {
        let count = 1 << self.bits;
        if self.palette.len() < 3 * count {
            return Err(corrupt("its palette is too short"));
        }
        let wide = self.palette.iter().any(|v| *v >= 256);
        let byte = |v: u16| (if wide { v >> 8 } else { v }) as u8;
        let entry = |i| [2, 1, 0].map(|c| byte(self.palette[c * count + i]));
        Ok((0..count).map(entry).collect())
    }

    fn across(&self) -> usize {
        self.size[0].div_ceil(self.tile[0])
    }

    fn down(&self) -> usize {
        self.size[1].div_ceil(self.tile[1])
    }

    /// Rows of the picture in a row of strips or tiles.
    fn rows(&self, band: usize) -> usize {
        self.tile[1].min(self.size[1] - band * self.tile[1])
    }

    /// Samples of a pixel that one strip or tile holds.
    fn interleaved(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    fn row_bytes(&self) -> usize {
        (self.tile[0] * self.interleaved() * self.bits).div_ceil(8)
    }

    /// Whether every strip or tile is there and long enough for what it should unpack to: nothing is allocated for a file
    /// that cannot hold its picture.
    fn check_lengths(&self) -> Result<(), Fault> {
        let each = self.across() * self.down();
        let planes = if self.planar { self.samples } else { 1 };
        if self.places.len() < each * planes {
            return Err(corrupt("it lacks strips or tiles"));
        }
        for (i, place) in self.places[..each * planes].iter().enumerate() {
            let rows = self.rows(i % each / self.across());
            let unpacked = (rows * self.row_bytes()) as u64;
            let most = match self.compression {
                NONE => self.packed(*place, unpacked)?.len() as u64,
                // a row takes a bit at least
                FAX2 | FAX3 | FAX4 => place[1].saturating_mul(8 * self.row_bytes() as u64),
                PACK_BITS => place[1].saturating_mul(64),
                // 4096 bytes in a code of 12 bits; deflate has 1032 to 1; JPEG 64 samples in two bits
                _ => place[1].saturating_mul(2731),
            };
            if unpacked > most {
                return Err(Fault::Truncated);
            }
            if self.compression != NONE {
                self.packed(*place, 0)?;
            }
        }
        Ok(())
    }

    /// The bytes of a strip or tile as they are in the file: as many as the directory says, or `least` of them.
    fn packed(&self, [at, length]: [u64; 2], least: u64) -> Result<&'a [u8], Fault> {
        let end = at.checked_add(length.max(least));
        let range = usize::try_from(at)
            .ok()
            .zip(end.and_then(|end| usize::try_from(end).ok()));
        let packed = range.and_then(|(start, end)| self.bytes.get(start..end));
        packed.ok_or(Fault::Truncated)
    }

    /// The first `take` samples of each pixel of a strip or tile, as 8 bits (palette and grey below 8 bits as they are).
    fn samples_of(&self, index: usize, rows: usize, take: usize) -> Result<Vec<u8>, Fault> {
        let [width, _] = self.tile;
        let mut samples = vec![0; rows * width * take];
        let row_bytes = self.row_bytes();
        // an extra plane that is not there is not needed either
        let planes = if self.planar {
            take.min(self.samples)
        } else {
            1
        };
        let step = self.interleaved();
        for plane in 0..planes {
            let place = self.places[plane * self.across() * self.down() + index];
            let mut data = self.unpack(place, rows)?;
            if self.differences {
                for row in data.to_mut().chunks_exact_mut(row_bytes) {
                    self.add_up(row);
                }
            }
            let out = samples.chunks_exact_mut(width * take);
            for (row, out) in data.chunks_exact(row_bytes).zip(out) {
                let count = take.min(step);
                for (x, pixel) in out.chunks_exact_mut(take).enumerate() {
                    let pixel = &mut pixel[plane..plane + count];
                    match self.bits {
                        8 => pixel.copy_from_slice(&row[x * step..][..count]),
                        _ => (0..count).for_each(|c| pixel[c] = self.sample(row, x * step + c)),
                    }
                }
            }
        }
        Ok(samples)
    }

    /// A sample that is not a byte.
    fn sample(&self, row: &[u8], i: usize) -> u8 {
        match self.bits {
            16 => {
                let wide = self.wide(&row[2 * i..]);
                // libtiff cuts grey, and rounds colour
                if self.photometric < 2 && !self.planar {
                    (wide >> 8) as u8
                } else {
                    ((u32::from(wide) + 128) / 257) as u8
                }
            }
            bits => {
                let shift = 8 - bits - i * bits % 8;
                (row[i * bits / 8] >> shift) & ((1 << bits) - 1)
            }
        }
    }

    fn wide(&self, bytes: &[u8]) -> u16 {
        let two = [bytes[0], bytes[1]];
        if self.big_endian {
            u16::from_be_bytes(two)
        } else {
            u16::from_le_bytes(two)
        }
    }

    /// Undoes the horizontal predictor in a row.
    fn add_up(&self, row: &mut [u8]) {
        let step = self.interleaved() * self.bits.div_ceil(8);
        if self.bits == 16 {
            for i in (step..row.len() - 1).step_by(2) {
                let sum = self
                    .wide(&row[i..])
                    .wrapping_add(self.wide(&row[i - step..]));
                let two = if self.big_endian {
                    sum.to_be_bytes()
                } else {
                    sum.to_le_bytes()
                };
                row[i..i + 2].copy_from_slice(&two);
            }
        } else if self.bits == 8 {
            for i in step..row.len() {
                row[i] = row[i].wrapping_add(row[i - step]);
            }
        }
    }

    /// The rows of a strip or tile.
    fn unpack(&self, place: [u64; 2], rows: usize) -> Result<Cow<'a, [u8]>, Fault> {
        let length = rows * self.row_bytes();
        let mut packed = Cow::Borrowed(match self.compression {
            NONE => &self.packed(place, length as u64)?[..length],
            _ => self.packed(place, 0)?,
        });
        if self.compression == JPEG {
            return self.jpeg(&packed, length).map(Cow::Owned);
        }
        if self.reversed {
            for byte in packed.to_mut() {
                *byte = byte.reverse_bits();
            }
        }
        if self.compression == NONE {
            return Ok(packed);
        }
        let mut out = vec![0; length];
        let filled = unpack::fill(&packed, &mut out, self.compression, self.tile[0])?;
        if filled < length {
            return Err(Fault::Truncated);
        }
        Ok(Cow::Owned(out))
    }

    /// JPEG, whose tables may be in the directory. Samples are as they are stored, but for YCbCr, of which RGB is made.
    fn jpeg(&self, packed: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let tables = self.jpeg_tables.strip_suffix(b"\xff\xd9");
        let stream = match (tables, packed.strip_prefix(b"\xff\xd8")) {
            (Some(tables), Some(rest)) => Cow::Owned([tables, rest].concat()),
            _ => Cow::Borrowed(packed),
        };
        let mut decoder = libjpeg_turbo_rs::Decoder::new_with_limits(&stream, JPEG_LIMITS)
            .map_err(jpeg_problem)?;
        let header = decoder.header();
        let size = [header.width(), header.height()];
        let components = header.components.len();
        let format = match components {
            1 => PixelFormat::Grayscale,
            3 => PixelFormat::Rgb,
            4 => PixelFormat::Cmyk,
            n => return unread(&format!("JPEG with {n} components")),
        };
        let row_bytes = self.row_bytes();
        if self.bits != 8
            || components != self.interleaved()
            || !super::regular(&header.components)
            || size[0] != self.tile[0]
            || size[1] > self.tile[1]
            || size[1] * row_bytes < length
        {
            return Err(corrupt("its JPEG has other sizes"));
        }
        decoder.set_output_format(format);
        if components == 3
            && self.photometric != YCBCR
            && decoder.jpeg_color_space() == ColorSpace::YCbCr
        {
            decoder.set_output_colorspace(ColorSpace::YCbCr);
        }
        let mut data = decoder.decode_image().map_err(jpeg_problem)?.data;
        data.truncate(length);
        Ok(data)
    }
}

const SEPARATED: u64 = 5;
const YCBCR: u64 = 6;

/// Coefficients of CCIR 601, and levels of black and white.
const USUAL_YCBCR: [(Tag, &[f64]); 2] = [
    (Tag::Unknown(529), &[0.299, 0.587, 0.114]),
    (Tag::Unknown(532), &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
];

fn is_near(value: &Value, usual: &[f64]) -> bool {
    let Value::List(values) = value else {
        return false;
    };
    let near = |(value, usual): (&Value, &f64)| match value {
        Value::Rational(n, d) => (f64::from(*n) / f64::from(*d) - usual).abs() < 1e-6,
        _ => false,
    };
    values.len() == usual.len() && values.iter().zip(usual).all(near)
}

const T4_OPTIONS: Tag = Tag::Unknown(292);
const INK_SET: Tag = Tag::Unknown(332);

fn fault(error: TiffError) -> Fault {
    match error {
        TiffError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => Fault::Truncated,
        TiffError::UnsupportedError(what) => Fault::Unsupported(format!(
            "a TIFF that is not read ({what}): save it again as RGB or grey of 8 bits"
        )),
        TiffError::FormatError(what) => corrupt(what.to_string()),
        other => corrupt(other.to_string()),
    }
}

fn corrupt(reason: impl Into<String>) -> Fault {
    Fault::Corrupt {
        format: "TIFF",
        reason: reason.into(),
    }
}

fn unread<T>(kind: &str) -> Result<T, Fault> {
    Err(Fault::Unsupported(format!(
        "TIFF with {kind} is not read: save it again as RGB or grey of 8 bits, uncompressed or with LZW"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn files() -> Vec<serde_json::Value> {
        let packed: &[u8] = include_bytes!("../../../../../tests/data/tiffs.json.gz");
        let mut text = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(packed);
        unpacked.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn bytes(file: &serde_json::Value) -> Vec<u8> {
        let hex = file["file"].as_str().unwrap().as_bytes();
        let (pairs, _) = hex.as_chunks::<2>();
        let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
        pairs
            .iter()
            .map(|[a, b]| digit(*a) << 4 | digit(*b))
            .collect()
    }

    fn with(color_type: ColorType) -> DecodeOptions {
        DecodeOptions {
            color_type,
            ..DecodeOptions::default()
        }
    }

    #[test]
    fn opencvs_pixels_or_the_kind() {
        // kinds that are not read, with what the error says
        let unread = [
            ("floats", "floating-point samples"),
            ("half floats", "floating-point samples"),
            ("32 bits", "grey of 1 x 32 bits"),
            ("complex", "complex samples"),
            ("five samples", "grey of 5 samples"),
            ("rgb, lzma", "LZMA"),
            ("rgb, zstd", "Zstandard"),
            ("rgb, webp", "WebP"),
            ("rgb, jpeg2000", "JPEG 2000"),
            ("rgb, jpegxl", "JPEG XL"),
            ("rgb, lerc", "LERC"),
            ("rgb, png", "compression 34933"),
            ("lab", "L*a*b*"),
            ("mask", "a transparency mask"),
        ];
        let mut wrong = Vec::new();
        for file in files() {
            let name = file["name"].as_str().unwrap();
            let tiff = bytes(&file);
            for (mode, color_type) in [
                ("color", ColorType::Color),
                ("grayscale", ColorType::Grayscale),
                ("unchanged", ColorType::Unchanged),
            ] {
                let read = decode(&tiff, &with(color_type));
                let expected = &file[mode];
                match (read, unread.iter().find(|(n, _)| *n == name)) {
                    (Err(problem), Some((_, kind))) if problem.to_string().contains(kind) => {}
                    (Ok(_), None) if expected.is_null() => {}
                    (Ok(picture), None) => {
                        let mut crc = flate2::Crc::new();
                        crc.update(picture.pixels());
                        let channels = (picture.channels() > 1).then_some(picture.channels());
                        let shape = [Some(picture.height()), Some(picture.width()), channels];
                        let shape: Vec<_> = shape.into_iter().flatten().collect();
                        let found = serde_json::json!({"shape": shape, "crc": crc.sum()});
                        if found != *expected {
                            wrong.push(format!("{name}, {mode}: {found}, expected {expected}"));
                        }
                    }
                    (Err(Fault::Unsupported(what)), None)
                        if what == ONLY_EIGHT_BITS && expected.is_null() => {}
                    (read, _) => wrong.push(format!("{name}, {mode}: {read:?}")),
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn cut_or_changed_anywhere_it_is_an_answer() {
        let limits = crate::SizeLimits {
            pixels: 1 << 22,
            ..Default::default()
        };
        let options = DecodeOptions {
            limits: Some(limits),
            ..DecodeOptions::default()
        };
        let mut state = 5u32;
        for file in files() {
            let good = bytes(&file);
            for i in 0..60 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % good.len();
                let _ = decode(&good[..at], &options);
                let mut bad = good.clone();
                // half of the changes are in the directory, which is at one of the ends
                let at = if i % 2 == 0 { at % 300 } else { at }.min(good.len() - 1);
                bad[at] = (state >> 24) as u8;
                let _ = decode(&bad, &options);
            }
        }
    }

    #[test]
    fn a_short_file_that_claims_much_is_seen_through() {
        let claim = |width: u32, height: u32, compression: u16, length: u32| {
            let entries = [
                (256, 4, width),
                (257, 4, height),
                (258, 3, 8),
                (259, 3, u32::from(compression)),
                (262, 3, 1),
                (273, 4, 8),
                (278, 4, height),
                (279, 4, length),
            ];
            let mut file = b"II*\0\x08\0\0\0\x08\0".to_vec();
            for (tag, kind, value) in entries {
                file.extend(u16::to_le_bytes(tag));
                file.extend(u16::to_le_bytes(kind));
                file.extend(1u32.to_le_bytes());
                file.extend(value.to_le_bytes());
            }
            file.extend([0; 4]);
            decode(&file, &DecodeOptions::default())
        };
        for compression in [1, 2, 3, 4, 5, 7, 8, 32773] {
            assert_eq!(claim(32768, 32768, compression, 90), Err(Fault::Truncated));
            assert_eq!(
                claim(32768, 32768, compression, u32::MAX),
                Err(Fault::Truncated)
            );
        }
        assert!(matches!(
            claim(40000, 40000, 1, 90),
            Err(Fault::TooLarge { .. })
        ));
    }
}
