//! A picture to look at: a file, the demo's, or one that was pasted; and what it is once it is read.

use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::ColorImage;

use smalti::Predictor;
use smalti::data::{DecodeOptions, Picture as Pixels, PictureError, decode};

use crate::demo;
use crate::window::files::short;
use crate::window::host::Host;

/// Where a picture comes from.
#[derive(Clone, Debug)]
pub enum Item {
    /// A file.
    File(PathBuf),
    /// The demo's picture, which is in the program.
    Demo,
    /// From the clipboard.
    Pasted(Arc<ColorImage>),
}

/// What was read.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file's bytes.
    Bytes(Arc<Vec<u8>>),
    /// Pixels as they are.
    Pixels(Arc<Pixels>),
}

impl Item {
    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => short(path),
            Self::Demo => "digits.jpg".into(),
            Self::Pasted(_) => "pasted picture".into(),
        }
    }

    /// Its whole name, as annotations and results know it.
    pub fn path(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Demo => demo::PICTURE_NAME.into(),
            Self::Pasted(_) => "pasted.png".into(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self, host: &dyn Host) -> Result<Content, String> {
        match self {
            Self::File(path) => Ok(Content::Bytes(Arc::new(host.read(path)?))),
            Self::Demo => Ok(Content::Bytes(Arc::new(demo::PICTURE.to_vec()))),
            Self::Pasted(image) => {
                let rgb = image.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]);
                let [width, height] = image.size;
                Pixels::from_rgb(width, height, rgb.collect())
                    .map(|pixels| Content::Pixels(Arc::new(pixels)))
                    .ok_or_else(|| "it has no pixels".into())
            }
        }
    }
}

impl Content {
    /// The picture as people see it.
    ///
    /// # Errors
    /// It is no picture, or a broken one.
    pub fn decode(&self, name: &str) -> Result<Pixels, String> {
        match self {
            Self::Bytes(bytes) => decode(name, bytes, &DecodeOptions::default()).map_err(told),
            Self::Pixels(pixels) => Ok((**pixels).clone()),
        }
    }

    /// The picture as a detector's config reads it.
    ///
    /// # Errors
    /// It is no picture, or a broken one.
    pub fn decode_for(&self, name: &str, predictor: &Predictor) -> Result<Pixels, String> {
        match self {
            Self::Bytes(bytes) => predictor.decode(name, bytes).map_err(told),
            Self::Pixels(pixels) => Ok((**pixels).clone()),
        }
    }
}

/// The reason alone: the name stands beside it already.
fn told(error: PictureError) -> String {
    error.problem.to_string()
}
