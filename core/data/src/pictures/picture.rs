//! [`Picture`]: decoded pixels as MMDetection counts them, and what can be wrong with a file.

use std::fmt;
use std::sync::Arc;

use crate::sample::SampleError;
use crate::size_limits::SizeLimits;
use crate::structures::Proposals;

/// u8 pixels in memory: rows from the top, samples interleaved, colour as **BGR** (as OpenCV and
/// so MMDetection have it), BGRA with four channels. RGB is a conversion at the edge.
#[derive(Clone, PartialEq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
    proposals: Option<Arc<Proposals>>,
}

impl Picture {
    /// Wraps samples. `None` if there are no pixels, not 1, 3 or 4 channels, or another number of
    /// samples than `width * height * channels`.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Option<Self> {
        let samples = width.checked_mul(height)?.checked_mul(channels)?;
        (samples > 0 && samples == pixels.len() && matches!(channels, 1 | 3 | 4)).then_some(Self {
            width,
            height,
            channels,
            pixels,
            proposals: None,
        })
    }

    /// From RGB samples, for example of a browser's canvas (after dropping alpha).
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Option<Self> {
        let mut picture = Self::new(width, height, 3, rgb)?;
        swap_red_blue(&mut picture.pixels, 3);
        Some(picture)
    }

    /// With boxes that may hold an object, for detectors that propose none themselves.
    #[must_use]
    pub fn with_proposals(mut self, proposals: Arc<Proposals>) -> Self {
        self.proposals = Some(proposals);
        self
    }

    /// Boxes that may hold an object, if they were given.
    pub fn proposals(&self) -> Option<&Arc<Proposals>> {
        self.proposals.as_ref()
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Samples of a pixel: 1, 3 (BGR) or 4 (BGRA).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All samples.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All samples, without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// RGB samples, grey as three equal ones, alpha dropped: to draw on or to save.
    pub fn to_rgb(&self) -> Vec<u8> {
        match self.channels {
            1 => self.pixels.iter().flat_map(|v| [*v; 3]).collect(),
            n => {
                let pixels = self.pixels.chunks_exact(n);
                pixels.flat_map(|p| [p[2], p[1], p[0]]).collect()
            }
        }
    }

    /// Turned and mirrored as EXIF's tag 0x0112 says (1 to 8; other values change nothing).
    pub fn oriented(self, exif: u8) -> Self {
        if !(2..=8).contains(&exif) {
            return self;
        }
        let (w, h, n) = (self.width, self.height, self.channels);
        let transposed = exif >= 5;
        let (width, height) = if transposed { (h, w) } else { (w, h) };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            for x in 0..width {
                // where the stored picture has the pixel that is shown at (x, y)
                let (sx, sy) = match exif {
                    2 => (w - 1 - x, y),
                    3 => (w - 1 - x, h - 1 - y),
                    4 => (x, h - 1 - y),
                    5 => (y, x),
                    6 => (y, h - 1 - x),
                    7 => (w - 1 - y, h - 1 - x),
                    _ => (w - 1 - y, x),
                };
                let at = (sy * w + sx) * n;
                pixels.extend_from_slice(&self.pixels[at..at + n]);
            }
        }
        Self {
            width,
            height,
            channels: n,
            pixels,
            proposals: self.proposals,
        }
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Picture({}x{}x{})",
            self.width, self.height, self.channels
        )
    }
}

/// RGB to BGR and back, in place; `channels` at least 3.
pub fn swap_red_blue(pixels: &mut [u8], channels: usize) {
    for pixel in pixels.chunks_exact_mut(channels) {
        pixel.swap(0, 2);
    }
}

/// A picture that cannot be used: which, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureError {
    /// The file's name, or whatever the caller knows it by.
    pub name: String,
    /// What is wrong.
    pub problem: Fault,
}

/// What is wrong with a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file could not be read.
    Unreadable(String),
    /// A file of no bytes.
    Empty,
    /// None of the formats that are read.
    UnknownFormat {
        /// What the file seems to be, for example `it looks like HEIC ...`.
        looks_like: String,
    },
    /// The file ends before its last pixel.
    Truncated,
    /// The bytes contradict the format.
    Corrupt {
        /// For example `PNG`.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A kind of picture that is not read.
    Unsupported(String),
    /// More pixels than the limit; nothing was decoded.
    TooLarge {
        /// Pixels in a row, as the file or the pipeline has it.
        width: usize,
        /// Rows.
        height: usize,
        /// The limits that are in force.
        limits: SizeLimits,
    },
    /// A transform made something impossible of it.
    Transform(String),
    /// Not this picture, but one that was mixed into it.
    Other(Box<SampleError>),
}

impl PictureError {
    /// An error about the picture `name`.
    pub fn new(name: impl Into<String>, problem: Fault) -> Self {
        Self {
            name: name.into(),
            problem,
        }
    }
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unreadable(reason) => write!(f, "cannot be read: {reason}"),
            Fault::Empty => write!(f, "the file is empty: copy or download it again"),
            Fault::UnknownFormat { looks_like } => write!(
                f,
                "not a picture that is read: {looks_like}; expected JPEG, PNG, WebP, BMP, TIFF, GIF or PNM"
            ),
            Fault::Truncated => write!(f, "the file ends before the picture does"),
            Fault::Corrupt { format, reason } => write!(f, "not a good {format}: {reason}"),
            Fault::Unsupported(what) => write!(f, "{what}"),
            Fault::TooLarge {
                width,
                height,
                limits,
            } => limits.explain([*width, *height], f),
            Fault::Transform(what) => write!(f, "{what}"),
            Fault::Other(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for PictureError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_order() {
        let picture = Picture::from_rgb(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(picture.pixels(), [3, 2, 1, 6, 5, 4]);
        assert_eq!(picture.to_rgb(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(Picture::new(1, 1, 1, vec![9]).unwrap().to_rgb(), [9, 9, 9]);
        assert_eq!(
            Picture::new(1, 1, 4, vec![1, 2, 3, 4]).unwrap().to_rgb(),
            [3, 2, 1]
        );
        assert!(Picture::new(0, 5, 3, vec![]).is_none());
        assert!(Picture::new(2, 2, 3, vec![0; 11]).is_none());
        assert!(Picture::new(usize::MAX, 2, 3, vec![]).is_none());
    }

    #[test]
    fn orientations() {
        // 1 2 3
        // 4 5 6
        let turned = |exif| {
            let picture = Picture::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
            let picture = picture.oriented(exif);
            (picture.width(), picture.pixels().to_vec())
        };
        for (exif, width, pixels) in [
            (0, 3, [1, 2, 3, 4, 5, 6]),
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
            (9, 3, [1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(turned(exif), (width, pixels.to_vec()), "orientation {exif}");
        }
    }
}
