//! [`Image`]: a picture on its way through the transforms, on the CPU or on a device, done or still to be gathered.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Gather, Noted};
use crate::picture::Picture;

/// What a sample of a pixel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// 0 to 255.
    U8,
    /// `to_float32`, and what `PhotoMetricDistortion` leaves.
    F32,
}

/// Samples in memory: rows from the top, interleaved, colour as BGR.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// As decoded.
    U8(Vec<u8>),
    /// As `np.float32`.
    F32(Vec<f32>),
}

impl Samples {
    /// What they are.
    pub fn depth(&self) -> Depth {
        match self {
            Samples::U8(_) => Depth::U8,
            Samples::F32(_) => Depth::F32,
        }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Samples::U8(v) => v.len(),
            Samples::F32(v) => v.len(),
        }
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A picture, cheap to clone. Only [`super::Pixels`] and its engines look inside.
#[derive(Clone)]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    depth: Depth,
    /// Where its pixels are.
    pub store: Store,
}

/// Where an image's pixels are.
#[derive(Clone)]
pub enum Store {
    /// In memory.
    Cpu(Arc<Samples>),
    /// On the device of the `Pixels` that made it, in its own form.
    Device(Arc<dyn Any + Send + Sync>),
    /// Geometric steps that were composed and not done yet.
    Lazy(Arc<Gather>),
    /// Steps that the pass which makes a batch will do.
    Noted(Arc<Noted>),
}

impl Image {
    /// No picture: before it is loaded.
    pub fn none() -> Self {
        Self::with_store(
            [0, 0],
            3,
            Depth::U8,
            Store::Cpu(Arc::new(Samples::U8(Vec::new()))),
        )
    }

    /// From samples.
    ///
    /// # Panics
    /// If their number is not `width * height * channels`.
    pub fn new([width, height]: [usize; 2], channels: usize, samples: Samples) -> Self {
        assert_eq!(
            samples.len(),
            width * height * channels,
            "samples of an image"
        );
        let depth = samples.depth();
        Self::with_store(
            [width, height],
            channels,
            depth,
            Store::Cpu(Arc::new(samples)),
        )
    }

    #[doc(hidden)]
    pub fn with_store(
        [width, height]: [usize; 2],
        channels: usize,
        depth: Depth,
        store: Store,
    ) -> Self {
        Self {
            width,
            height,
            channels,
            depth,
            store,
        }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width and height.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// Samples of a pixel: 1, 3 (BGR) or 4.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// What a sample is.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The samples, if they are in memory as they are.
    pub fn samples(&self) -> Option<&Arc<Samples>> {
        match &self.store {
            Store::Cpu(samples) => Some(samples),
            _ => None,
        }
    }
}

impl From<Picture> for Image {
    fn from(picture: Picture) -> Self {
        let size = [picture.width(), picture.height()];
        let channels = picture.channels();
        Image::new(size, channels, Samples::U8(picture.into_pixels()))
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match &self.store {
            Store::Cpu(_) => "memory",
            Store::Device(_) => "device",
            Store::Lazy(_) => "to be gathered",
            Store::Noted(_) => "noted for a batch",
        };
        write!(
            f,
            "Image({}x{}x{} {:?}, {store})",
            self.width, self.height, self.channels, self.depth
        )
    }
}
