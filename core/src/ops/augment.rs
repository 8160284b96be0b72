//! The pixel steps of training on a device: each [`Op`] by the kernels of `shaders/wgsl/augment`, with the values of
//! [`data::pixels`](crate::data::pixels)' CPU path, u8 to the bit.
//!
//! A picture on the device is u8 with one word a pixel (channel c in byte c), or f32 with one word a sample. A step is
//! one or a few dispatches into a new buffer; nothing is read back until [`Engine::read`]. A picture in memory is
//! uploaded once for as long as its samples live, see `Uploads`. What the device cannot do is an error and never
//! done on the CPU instead.

mod colour;
mod geometry;
mod uploads;

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use smalti_shaders::Kernel;
use smalti_shaders::reference::augment::warp::Positions;

use self::colour::Table;
use self::uploads::Uploads;
use super::launch::{Buffer, Gpu, MOST_WORKGROUPS};
use crate::data::image::{Depth, Image, Samples, Store};
use crate::data::picture::Fault;
use crate::data::pixels::checks::{self, fault};
use crate::data::pixels::{Canvas, Engine, Gather, Op, Pixels, Reading};

/// Most bytes in one storage buffer that every WebGPU device grants.
const MOST_BYTES: usize = 128 << 20;

/// Invocations side by side where pixels are counted through: a multiple of the workgroup's 256.
const ROW: u32 = 1 << 13;

/// Does pixel steps on `device`; `None` if it does not run WGSL (there the CPU does them).
pub fn engine(device: &Device) -> Option<Arc<dyn Engine>> {
    Augment::new(device).map(|engine| Arc::new(engine) as Arc<dyn Engine>)
}

/// Pixel steps on `device`, or on the CPU if it does not run WGSL.
pub fn pixels(device: &Device) -> Pixels {
    engine(device).map_or_else(Pixels::cpu, Pixels::on)
}

/// The kernels on one device.
pub struct Augment {
    gpu: Gpu,
    uploads: Mutex<Uploads>,
    /// The tables used last, the latest last.
    tables: Mutex<Vec<(Table, Buffer)>>,
}

/// A picture's words on a device.
struct Held {
    gpu: Gpu,
    buffer: Buffer,
}

impl Augment {
    /// On `device`; `None` if it does not run WGSL.
    pub fn new(device: &Device) -> Option<Self> {
        Some(Self {
            gpu: Gpu::of(device)?,
            uploads: Mutex::default(),
            tables: Mutex::default(),
        })
    }

    /// Copies back.
    async fn samples(&self, image: &Image) -> Result<Arc<Samples>, Fault> {
        if let Some(samples) = image.samples() {
            return Ok(samples.clone());
        }
        let held = self.held(image)?;
        let words = self.gpu.read(&held.buffer).await;
        let words = words.map_err(|e| fault(e.to_string()))?;
        let pixels = image.width() * image.height();
        let samples = match image.depth() {
            Depth::U8 => {
                let pixels = words.iter().take(pixels);
                let bytes = pixels.flat_map(|w| w.to_le_bytes().into_iter().take(image.channels()));
                Samples::U8(bytes.collect())
            }
            Depth::F32 => {
                let samples = words.iter().take(pixels * image.channels());
                Samples::F32(samples.map(|w| f32::from_bits(*w)).collect())
            }
        };
        Ok(Arc::new(samples))
    }

    /// The picture's words on the device, whatever is still to be done to it done.
    ///
    /// # Errors
    /// A picture of another device, or one that is too large.
    pub(super) fn words_of(&self, image: &Image) -> Result<Buffer, Fault> {
        Ok(self.held(image)?.buffer.clone())
    }

    /// The picture's words, uploaded if they are not there yet.
    fn held(&self, image: &Image) -> Result<Arc<Held>, Fault> {
        match &image.store {
            Store::Cpu(samples) => {
                fits(image.size(), words(image))?;
                let uploads = || self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(held) = uploads().find(samples) {
                    return Ok(held);
                }
                let buffer = self.gpu.upload(&packed(samples, image.channels()));
                let gpu = self.gpu.clone();
                let held = Arc::new(Held { gpu, buffer });
                uploads().keep(samples, held.clone());
                Ok(held)
            }
            Store::Device(any) => match any.clone().downcast::<Held>() {
                Ok(held) if held.gpu.is(&self.gpu) => Ok(held),
                _ => Err(fault("the picture is on another device")),
            },
            Store::Noted(noted) => {
                let source = noted.image().clone();
                let done = noted.steps().try_fold(source, |i, op| self.run(&i, &op))?;
                self.held(&done)
            }
            Store::Lazy(gather) => self.held(&match &gather.single {
                Some(one) => self.run(&one.0, &one.1)?,
                None => self.gather(gather)?,
            }),
        }
    }

    /// An image of this device.
    fn image(&self, size: [usize; 2], channels: usize, depth: Depth, buffer: Buffer) -> Image {
        let gpu = self.gpu.clone();
        let held: Arc<dyn Any + Send + Sync> = Arc::new(Held { gpu, buffer });
        Image::with_store(size, channels, depth, Store::Device(held))
    }

    /// Memory for a picture of `size`.
    fn target(&self, [width, height]: [usize; 2], words: usize) -> Result<Buffer, Fault> {
        fits([width, height], words)?;
        Ok(self.gpu.empty(width * height * words))
    }

    /// Dispatches one invocation for each of `size`.
    fn over(&self, kernel: &Kernel, [width, height]: [usize; 2], buffers: &[&Buffer]) {
        let [x, y, _] = kernel.workgroup;
        let grid = [(width as u32).div_ceil(x), (height as u32).div_ceil(y), 1];
        self.gpu.launch(kernel, grid, buffers);
    }

    /// Dispatches one invocation for each of `pixels`, in rows of [`ROW`].
    fn each(&self, kernel: &Kernel, pixels: usize, buffers: &[&Buffer]) {
        self.over(
            kernel,
            [ROW as usize, pixels.div_ceil(ROW as usize)],
            buffers,
        );
    }
}

impl Engine for Augment {
    fn name(&self) -> String {
        "wgpu".into()
    }

    fn upload(&self, image: &Image) -> Result<Image, Fault> {
        let held: Arc<dyn Any + Send + Sync> = self.held(image)?;
        Ok(Image::with_store(
            image.size(),
            image.channels(),
            image.depth(),
            Store::Device(held),
        ))
    }

    fn run(&self, image: &Image, op: &Op) -> Result<Image, Fault> {
        checks::step(image, op)?;
        match op {
            Op::Resize { size, method } => self.resized(image, *size, *method),
            Op::Flip(direction) => self.flipped(image, *direction),
            Op::Window { size, at, border } => self.windowed(image, *size, *at, border),
            Op::WarpAffine {
                matrix,
                size,
                linear,
                fill,
            } => {
                fits(*size, words(image))?;
                self.warped(
                    image,
                    Positions::affine(matrix, *size, *linear),
                    *linear,
                    fill,
                )
            }
            Op::WarpTaps { .. } => Err(Fault::Transform(
                "a warp with a kernel of more than four pixels is done on the CPU".into(),
            )),
            Op::WarpPerspective { matrix, size, fill } => {
                fits(*size, words(image))?;
                self.warped(image, Positions::perspective(matrix, *size), true, fill)
            }
            Op::Blend { other, weight } => self.blended(image, other, *weight),
            Op::Paste { other, mask } => self.pasted(image, other, mask),
            Op::Fill { rects, value } => self.filled(image, rects, value),
            Op::Hsv { gains } => self.hsv_changed(image, *gains),
            Op::Photometric(drawn) => self.distorted(image, drawn),
            Op::Colour(colour) => self.coloured(image, *colour),
            Op::ToFloat => self.converted(image, Depth::F32),
            Op::ToBytes => self.converted(image, Depth::U8),
        }
    }

    fn canvas(&self, canvas: &Canvas<'_>) -> Result<Image, Fault> {
        self.laid(canvas)
    }

    fn gather(&self, gather: &Gather) -> Result<Image, Fault> {
        self.gathered(gather)
    }

    fn read<'a>(&'a self, image: &'a Image) -> Reading<'a> {
        Box::pin(self.samples(image))
    }
}

/// Words of a pixel.
fn words(image: &Image) -> usize {
    match image.depth() {
        Depth::U8 => 1,
        Depth::F32 => image.channels(),
    }
}

/// Whether a picture fits in one buffer, and one dispatch of four rows a workgroup.
fn fits(size: [usize; 2], words: usize) -> Result<(), Fault> {
    let most_side = 4 * MOST_WORKGROUPS as usize;
    let bytes = size[0].saturating_mul(size[1]).saturating_mul(words * 4);
    if bytes > MOST_BYTES {
        return Err(too_large(size, bytes));
    }
    if size.iter().any(|side| *side > most_side) {
        return Err(fault(format!(
            "a picture of {}x{} pixels: a device takes {most_side} in a row or column; make it smaller, or do the pixels \
             on the CPU",
            size[0], size[1]
        )));
    }
    Ok(())
}

fn too_large([width, height]: [usize; 2], bytes: usize) -> Fault {
    fault(format!(
        "a picture of {width}x{height} pixels takes {} MiB on a device, more than the {} MiB of one buffer: make it \
         smaller, or do the pixels on the CPU",
        bytes.div_ceil(1 << 20),
        MOST_BYTES >> 20
    ))
}

/// Pixels of a picture.
fn count(image: &Image) -> usize {
    image.width() * image.height()
}

/// Samples as they lie on a device.
fn packed(samples: &Samples, channels: usize) -> Vec<u32> {
    match samples {
        Samples::U8(bytes) => {
            let pixels = bytes.chunks_exact(channels.max(1));
            pixels
                .map(|p| p.iter().rev().fold(0, |word, v| word << 8 | u32::from(*v)))
                .collect()
        }
        Samples::F32(values) => values.iter().map(|v| v.to_bits()).collect(),
    }
}

/// A pixel of one value per channel, as it lies on a device; values are saturated as `cv2` does.
fn pixel(value: &[f64], channels: usize, depth: Depth) -> [u32; 4] {
    let of = |c: usize| value.get(c).copied().unwrap_or(0.0);
    let channels = 0..channels.min(4);
    match depth {
        Depth::U8 => {
            let byte = |c| u32::from(of(c).round_ties_even() as u8); // `as` saturates
            [
                channels.fold(0, |word, c| word | byte(c) << (8 * c)),
                0,
                0,
                0,
            ]
        }
        Depth::F32 => std::array::from_fn(|c| {
            let within = channels.contains(&c);
            if within { (of(c) as f32).to_bits() } else { 0 }
        }),
    }
}

#[cfg(test)]
#[path = "augment_tests.rs"]
mod tests;
