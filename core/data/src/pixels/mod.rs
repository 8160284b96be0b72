//! What transforms do to pixels: [`Op`] says what, [`Pixels`] does it, on the CPU (the twins in
//! `smalti_shaders::reference`) or on a device (the WGSL kernels).
//!
//! In `exact` mode every step is done at once, with OpenCV's arithmetic, as MMDetection does it. Otherwise consecutive
//! geometric steps are composed into one [`Gather`], which is done when something needs the pixels.

#[doc(hidden)]
pub mod checks;
mod cpu;
mod gather;
pub mod image;
mod method;
mod noted;
mod taps;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::picture::Fault;
use crate::structures::Bitmap;
use image::{Depth, Image, Samples, Store};

pub use crate::structures::Direction;

pub use gather::{Gather, Half, Layer, Map, Paint};
pub use method::Method;
pub use noted::Noted;
pub use taps::Taps;

/// What lies outside of the source.
#[derive(Clone, Debug, PartialEq)]
pub enum Border {
    /// One value per channel; for u8 rounded as OpenCV's saturate_cast where the op is OpenCV's, truncated where it is numpy's (the caller does that).
    Constant(Vec<f64>),
    /// The last pixel.
    Edge,
    /// Mirrored without the last pixel.
    Reflect,
    /// Mirrored with the last pixel.
    Symmetric,
}

/// One step on the pixels of one image.
#[derive(Clone, Debug)]
pub enum Op {
    /// `cv2.resize` (or Pillow's) to `[width, height]`.
    Resize {
        /// New width and height.
        size: [usize; 2],
        /// Whose arithmetic, which kernel.
        method: Method,
    },
    /// Mirrored.
    Flip(Direction),
    /// A canvas of `size` on which the source's pixel (0, 0) lies at `at` (either sign): crop, pad, expand and shift.
    Window {
        /// New width and height.
        size: [usize; 2],
        /// Where the source's top left pixel lands.
        at: [i64; 2],
        /// What the source does not cover.
        border: Border,
    },
    /// `cv2.warpAffine(img, matrix, size, flags, BORDER_CONSTANT, fill)`; `matrix` is source to target, as passed there.
    WarpAffine {
        /// Rows of the 2x3 matrix.
        matrix: [[f64; 3]; 2],
        /// New width and height.
        size: [usize; 2],
        /// Linear or nearest.
        linear: bool,
        /// Border value per channel.
        fill: Vec<f64>,
    },
    /// The same with a kernel of more pixels. Done on the CPU everywhere.
    WarpTaps {
        /// Rows of the 2x3 matrix.
        matrix: [[f64; 3]; 2],
        /// New width and height.
        size: [usize; 2],
        /// Which kernel.
        taps: Taps,
        /// Border value per channel.
        fill: Vec<f64>,
    },
    /// `cv2.warpPerspective(img, matrix, size, borderValue)`, linear; `matrix` is source to target.
    WarpPerspective {
        /// Rows of the 3x3 matrix.
        matrix: [[f64; 3]; 3],
        /// New width and height.
        size: [usize; 2],
        /// Border value per channel.
        fill: Vec<f64>,
    },
    /// `weight * image + (1 - weight) * other`, as float, truncated to u8 for a u8 result (MixUp).
    Blend {
        /// Of the same size.
        other: Image,
        /// Of this image.
        weight: f32,
    },
    /// `other` where the mask is set (CopyPaste).
    Paste {
        /// Of the same size.
        other: Image,
        /// `height * width`.
        mask: Bitmap,
    },
    /// Rectangles `[x1, y1, x2, y2]` (exclusive) of one value per channel (CutOut, RandomErasing).
    Fill {
        /// Within the image.
        rects: Vec<[usize; 4]>,
        /// Per channel, already in the image's depth (truncated as numpy does).
        value: Vec<f64>,
    },
    /// YOLOXHSVRandomAug's: int16 gains on OpenCV's u8 HSV. BGR only; floats are cut to whole numbers, on the CPU
    /// everywhere.
    Hsv {
        /// Hue (modulo 180), saturation, value (clipped).
        gains: [i16; 3],
    },
    /// PhotoMetricDistortion; the result is f32.
    Photometric(Photometric),
    /// mmcv's photometric functions. u8 unless said otherwise.
    Colour(Colour),
    /// Samples become f32.
    ToFloat,
    /// Samples become u8, as numpy's `astype(np.uint8)` of values from 0 to 255: cut, not rounded.
    ToBytes,
}

impl Op {
    /// A resize to the same size, a window that is the whole, a fill of nothing.
    fn changes_nothing(&self, image: &Image) -> bool {
        match self {
            Op::Resize { size, .. } => *size == image.size(),
            Op::Window { size, at, .. } => *size == image.size() && *at == [0, 0],
            Op::Fill { rects, .. } => rects.is_empty(),
            Op::ToFloat => image.depth() == Depth::F32,
            Op::ToBytes => image.depth() == Depth::U8,
            _ => false,
        }
    }

    /// Steps that are too rare for a kernel; with a device the picture is read for them.
    fn on_cpu_only(&self, image: &Image) -> bool {
        match self {
            Op::WarpTaps { .. } => true,
            Op::Hsv { .. } => image.depth() == Depth::F32,
            _ => false,
        }
    }
}

/// The drawn values of PhotoMetricDistortion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Photometric {
    /// Added first.
    pub brightness: Option<f32>,
    /// Contrast before (`true`) or after (`false`) the saturation and hue part.
    pub contrast_first: bool,
    /// Factor.
    pub contrast: Option<f32>,
    /// Factor of saturation.
    pub saturation: Option<f32>,
    /// Degrees added to the hue.
    pub hue: Option<f32>,
    /// Order of channels.
    pub swap: Option<[usize; 3]>,
}

/// mmcv 2.1 image/photometric.py.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Colour {
    /// `adjust_color(img, factor)`.
    Color(f64),
    /// `adjust_brightness(img, factor)`.
    Brightness(f64),
    /// `adjust_contrast(img, factor)`.
    Contrast(f64),
    /// `adjust_sharpness(img, factor)`.
    Sharpness(f64),
    /// `solarize(img, thr)`.
    Solarize(f64),
    /// `np.minimum(img + add, 255)` where below 128, as mmdet's SolarizeAdd.
    SolarizeAdd(f64),
    /// `posterize(img, bits)`.
    Posterize(u32),
    /// `imequalize`.
    Equalize,
    /// `auto_contrast`.
    AutoContrast,
    /// `iminvert`.
    Invert,
}

/// A part of a canvas: `image`, resized to `resized` (linear, as `mmcv.imresize`), of which the rectangle at `crop` lies at `place`.
#[derive(Clone, Debug)]
pub struct Part {
    /// The source.
    pub image: Image,
    /// Width and height to which it is resized first.
    pub resized: [usize; 2],
    /// Top left of what is shown, in the resized image.
    pub crop: [usize; 2],
    /// `[x1, y1, x2, y2]` on the canvas; its size is that of what is shown.
    pub place: [usize; 4],
}

/// Parts laid on a canvas of one fill, later ones on top.
#[derive(Clone, Copy, Debug)]
pub struct Canvas<'a> {
    /// Width and height.
    pub size: [usize; 2],
    /// Samples of a pixel.
    pub channels: usize,
    /// What a sample is.
    pub depth: Depth,
    /// What no part covers: a value per channel, in `depth`.
    pub fill: &'a [f64],
    /// The parts, of as many channels.
    pub parts: &'a [Part],
}

/// A device that runs the kernels.
pub trait Engine: Send + Sync {
    /// For messages.
    fn name(&self) -> String;
    /// Uploads.
    fn upload(&self, image: &Image) -> Result<Image, Fault>;
    /// Does one step.
    fn run(&self, image: &Image, op: &Op) -> Result<Image, Fault>;
    /// Lays parts on a canvas of one fill.
    fn canvas(&self, canvas: &Canvas<'_>) -> Result<Image, Fault>;
    /// Does a composed step.
    fn gather(&self, gather: &Gather) -> Result<Image, Fault>;
    /// Copies back, once the device has come so far.
    fn read<'a>(&'a self, image: &'a Image) -> Reading<'a>;
}

/// Samples on their way from a device.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Arc<Samples>, Fault>> + 'a>>;

/// Does what [`Op`]s say.
#[derive(Clone)]
pub struct Pixels {
    engine: Option<Arc<dyn Engine>>,
    exact: bool,
    for_batch: bool,
}

impl Pixels {
    /// On the CPU; geometric steps are composed.
    pub fn cpu() -> Self {
        Self {
            engine: None,
            exact: false,
            for_batch: false,
        }
    }

    /// On a device.
    pub fn on(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine: Some(engine),
            exact: false,
            for_batch: false,
        }
    }

    /// Step by step, as MMDetection interpolates.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Step by step, but for a last resize and padding, which are left for the pass that makes a batch: [`Noted`].
    pub fn for_batch(mut self) -> Self {
        self.exact = true;
        self.for_batch = true;
        self
    }

    /// Whether steps are done one by one.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Does a step, or notes it.
    ///
    /// # Errors
    /// A size beyond the limit, another number of channels than the step takes, a failing device.
    pub fn run(&self, image: &Image, op: &Op) -> Result<Image, Fault> {
        if op.changes_nothing(image) {
            return Ok(image.clone());
        }
        let image = match &image.store {
            Store::Noted(_) if !self.exact => &self.done(image)?,
            _ => image,
        };
        if self.for_batch
            && let Some(noted) = noted::note(image, op)
        {
            return noted;
        }
        if !self.exact
            && let Some(composed) = gather::compose(image, op)
        {
            return composed;
        }
        let image = self.done(image)?;
        if self.for_batch
            && let Some(noted) = noted::note(&image, op)
        {
            return noted;
        }
        let mut op = op.clone();
        if let Op::Blend { other, .. } | Op::Paste { other, .. } = &mut op {
            *other = self.done(other)?;
        }
        self.step(&image, &op)
    }

    /// Lays parts on a canvas.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn canvas(&self, canvas: &Canvas<'_>) -> Result<Image, Fault> {
        let mut parts = canvas.parts.to_vec();
        for part in &mut parts {
            if let Store::Noted(_) = &part.image.store {
                part.image = self.done(&part.image)?;
            }
        }
        if !self.exact
            && let Some(composed) = gather::canvas(&Canvas {
                parts: &parts,
                ..*canvas
            })
        {
            return composed;
        }
        for part in &mut parts {
            part.image = self.done(&part.image)?;
        }
        let canvas = &Canvas {
            parts: &parts,
            ..*canvas
        };
        match &self.engine {
            Some(engine) => engine.canvas(canvas),
            None => cpu::canvas(canvas),
        }
    }

    /// The image with everything done that was only noted.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn done(&self, image: &Image) -> Result<Image, Fault> {
        match &image.store {
            Store::Lazy(gather) => match (&gather.single, &self.engine) {
                (Some(one), Some(engine)) => engine.run(&engine.upload(&one.0)?, &one.1),
                (Some(one), None) => cpu::run(&one.0, &one.1),
                (None, Some(engine)) => engine.gather(gather),
                (None, None) => gather::run(gather),
            },
            Store::Noted(noted) => {
                let source = noted.image().clone();
                noted
                    .steps()
                    .try_fold(source, |image, op| self.step(&image, &op))
            }
            _ => Ok(image.clone()),
        }
    }

    /// As far as the pass that makes a batch wants it: all is done but for what is [`Noted`], if that is how these pixels work.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn ready(&self, image: &Image) -> Result<Image, Fault> {
        match &image.store {
            Store::Noted(_) if self.for_batch => Ok(image.clone()),
            _ => self.done(image),
        }
    }

    /// Does one step on an image of which nothing is left to do.
    fn step(&self, image: &Image, op: &Op) -> Result<Image, Fault> {
        match &self.engine {
            Some(engine) if !op.on_cpu_only(image) => engine.run(&engine.upload(image)?, op),
            _ => {
                let samples = self.read_now(image)?;
                let (size, channels) = (image.size(), image.channels());
                let image = Image::with_store(size, channels, image.depth(), Store::Cpu(samples));
                cpu::run(&image, op)
            }
        }
    }

    /// The samples in memory.
    ///
    /// # Errors
    /// A failing device.
    pub async fn read(&self, image: &Image) -> Result<Arc<Samples>, Fault> {
        let image = self.done(image)?;
        match (image.samples(), &self.engine) {
            (Some(samples), _) => Ok(samples.clone()),
            (None, Some(engine)) => engine.read(&image).await,
            (None, None) => Err(Fault::Transform("the picture is on another device".into())),
        }
    }

    /// As [`Self::read`], for those who can wait.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self, image: &Image) -> Result<Arc<Samples>, Fault> {
        pollster::block_on(self.read(image))
    }

    /// As [`Self::read`], within a transform, which does not wait in a browser.
    pub(crate) fn read_now(&self, image: &Image) -> Result<Arc<Samples>, Fault> {
        #[cfg(not(target_arch = "wasm32"))]
        return self.read_blocking(image);
        #[cfg(target_arch = "wasm32")]
        {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match std::pin::pin!(self.read(image)).poll(&mut context) {
                std::task::Poll::Ready(samples) => samples,
                std::task::Poll::Pending => Err(Fault::Transform(
                    "this step is done on the CPU, and a browser does not wait for its GPU: do all pixels of this pipeline on the CPU"
                        .into(),
                )),
            }
        }
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.engine.as_ref().map_or("cpu".into(), |e| e.name());
        write!(f, "Pixels({name}, exact {})", self.exact)
    }
}
