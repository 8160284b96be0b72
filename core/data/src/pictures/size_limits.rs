//! How large a picture may be, read from a file or made by a pipeline: OpenCV's limits, under the names of its variables.

use std::fmt;
use std::sync::OnceLock;

use crate::picture::Fault;

/// The three variables, in the order of [`SizeLimits`]' fields.
const VARIABLES: [&str; 3] = [
    "OPENCV_IO_MAX_IMAGE_PIXELS",
    "OPENCV_IO_MAX_IMAGE_WIDTH",
    "OPENCV_IO_MAX_IMAGE_HEIGHT",
];

/// The most of each that a picture may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// `OPENCV_IO_MAX_IMAGE_PIXELS`.
    pub pixels: usize,
    /// `OPENCV_IO_MAX_IMAGE_WIDTH`.
    pub width: usize,
    /// `OPENCV_IO_MAX_IMAGE_HEIGHT`.
    pub height: usize,
}

impl Default for SizeLimits {
    /// OpenCV's: 2^30 pixels, 2^20 in a row and column. Where addresses have 32 bits, as in a browser, 2^27 pixels: 384 MiB as BGR.
    fn default() -> Self {
        Self {
            pixels: 1 << if usize::BITS > 32 { 30 } else { 27 },
            width: 1 << 20,
            height: 1 << 20,
        }
    }
}

impl SizeLimits {
    /// The defaults, changed by what `value` gives for the variables: a number, with `KB` or `MB` behind it times 2^10 or 2^20.
    ///
    /// # Errors
    /// Names a variable that is no such number.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut limits = Self::default();
        let fields = [&mut limits.pixels, &mut limits.width, &mut limits.height];
        for (name, field) in VARIABLES.into_iter().zip(fields) {
            let Some(text) = value(name).filter(|text| !text.is_empty()) else {
                continue;
            };
            *field = number(&text).ok_or_else(|| {
                format!("the environment variable {name} is {text:?}: expected a number of pixels such as 1073741824 or 1024MB")
            })?;
        }
        Ok(limits)
    }

    /// Those of the environment, which is read once.
    pub(crate) fn in_force() -> Result<Self, Fault> {
        static IN_FORCE: OnceLock<Result<SizeLimits, String>> = OnceLock::new();
        let limits = IN_FORCE.get_or_init(|| Self::from_variables(|name| std::env::var(name).ok()));
        limits.clone().map_err(Fault::Unsupported)
    }

    /// Whether a picture may have this size; the pixels, if it may.
    pub(crate) fn check(&self, [width, height]: [usize; 2]) -> Result<usize, Fault> {
        let pixels = width.checked_mul(height).filter(|n| *n <= self.pixels);
        let fits = width <= self.width && height <= self.height;
        pixels.filter(|_| fits).ok_or(Fault::TooLarge {
            width,
            height,
            limits: *self,
        })
    }

    /// What is wrong with a size that [`Self::check`] refuses, and what can be done.
    pub(super) fn explain(
        &self,
        [width, height]: [usize; 2],
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let (more, limit, variable) = match () {
            () if width > self.width => ("wider", self.width, VARIABLES[1]),
            () if height > self.height => ("higher", self.height, VARIABLES[2]),
            () => ("more", self.pixels, VARIABLES[0]),
        };
        write!(
            f,
            "{width}x{height} pixels are {more} than the limit of {limit}"
        )?;
        if cfg!(target_arch = "wasm32") {
            write!(f, "; make the picture smaller")
        } else {
            write!(f, ", which the environment variable {variable} changes")
        }
    }
}

/// Whether a picture of this size may be made; its pixels, if it may. A file of many pixels is large itself, but a config asks for them in
/// a few letters: a sixteenth of the limit for files.
pub(crate) fn check(size: [usize; 2]) -> Result<usize, Fault> {
    let limits = SizeLimits::in_force()?;
    let pixels = limits.pixels / 16;
    SizeLimits { pixels, ..limits }.check(size)
}

fn number(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_opencvs() {
        let read = |pixels: &str, width: &str| {
            SizeLimits::from_variables(|name| match name {
                "OPENCV_IO_MAX_IMAGE_PIXELS" => Some(pixels.to_owned()),
                "OPENCV_IO_MAX_IMAGE_WIDTH" => Some(width.to_owned()),
                _ => None,
            })
        };
        let normal = SizeLimits::default();
        assert_eq!(read("", ""), Ok(normal));
        let limits = read("2MB", "77").unwrap();
        assert_eq!(
            (limits.pixels, limits.width, limits.height),
            (2 << 20, 77, 1 << 20)
        );
        for bad in ["abc", "-1", "1e9", "5GB", "99999999999999999999", "MB"] {
            let message = read(bad, "").unwrap_err();
            assert!(
                message.contains(&format!("OPENCV_IO_MAX_IMAGE_PIXELS is {bad:?}")),
                "{message}"
            );
        }
    }

    #[test]
    fn the_limit_that_is_passed_is_named() {
        let limits = SizeLimits {
            pixels: 100,
            width: 50,
            height: 40,
        };
        assert_eq!(limits.check([20, 5]), Ok(100));
        let why = |size| limits.check(size).unwrap_err().to_string();
        assert_eq!(
            why([20, 6]),
            "20x6 pixels are more than the limit of 100, which the environment variable OPENCV_IO_MAX_IMAGE_PIXELS changes"
        );
        assert!(why([51, 1]).contains("51x1 pixels are wider than the limit of 50"));
        assert!(why([1, 41]).contains("OPENCV_IO_MAX_IMAGE_HEIGHT"));
        assert!(why([usize::MAX, 2]).contains("are wider than"));
    }
}
