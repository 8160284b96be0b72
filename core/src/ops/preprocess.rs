//! A batch of pictures to the network's input, [N, C, H, W]. Pictures of u8 in memory, with a resize and a padding that are still to be
//! done ([`Noted`](crate::data::pixels::Noted)), are one launch of the kernel on a GPU, and its twin elsewhere. Those that are on the
//! GPU already go there picture by picture, those of f32 by tensor operations.

use burn::tensor::{Device, Tensor, TensorData};
use smalti_shaders::PREPROCESS;
use smalti_shaders::reference::preprocess::{Slot, Values, pack, plan, preprocess};
use smalti_shaders::reference::resize::Interpolation;

use super::augment::Augment;
use super::launch::{Buffer, Gpu};
use crate::data::image::{Depth, Image, Samples, Store};
use crate::data::packed::Packed;
use crate::data::pixels::Pixels;
use crate::data::preprocessor::DetDataPreprocessor;

/// Most bytes in one storage buffer that every WebGPU device grants.
const MOST_BYTES: usize = 128 << 20;

/// Makes the batch of `pictures` on `device`. Height and width are the largest of the pictures', up to
/// the divisor; each picture lies at the top left.
///
/// # Errors
/// If there are no pictures, their channels differ from each other or do not fit the preprocessor, or one is on another device.
pub fn batch(
    pictures: &[Packed],
    preprocessor: &DetDataPreprocessor,
    device: &Device,
) -> Result<Tensor<4>, String> {
    let Some(source_channels) = pictures.first().map(|p| p.image.channels()) else {
        return Err("a batch of no pictures".into());
    };
    let channels = |p: &&Packed| p.image.channels() != source_channels;
    if let Some(other) = pictures.iter().find(channels) {
        return Err(format!(
            "pictures of one batch differ in channels: {source_channels}, and {} in {}",
            other.image.channels(),
            other.meta.img_path
        ));
    }
    let values = preprocessor.values(source_channels)?;
    let size = preprocessor.batch_size(pictures.iter().map(|p| p.image.size()));
    let shape = [pictures.len(), values.channels(), size[1], size[0]];
    let plan = Plan {
        preprocessor,
        values,
        size,
        device,
    };
    let gpu = Gpu::of(device);
    let in_memory = pictures.iter().all(|p| is_in_memory(&p.image));
    if let Some(gpu) = &gpu {
        if let Some(tensor) = plan.at_once(gpu, pictures, shape) {
            return Ok(tensor);
        }
        if !in_memory {
            return plan.one_by_one(gpu, pictures);
        }
    }
    let mut data = vec![0.0; shape.iter().product()];
    let part = (data.len() / pictures.len()).max(1);
    for (picture, part) in pictures.iter().zip(data.chunks_exact_mut(part)) {
        plan.on_cpu(picture, part)?;
    }
    Ok(Tensor::from_data(TensorData::new(data, shape), device))
}

fn is_in_memory(image: &Image) -> bool {
    matches!(image.store, Store::Cpu(_) | Store::Noted(_))
}

/// The u8 pixels of a picture in memory, and what the pass is to do with them.
fn bytes(image: &Image) -> Option<(&[u8], Slot)> {
    let (source, slot) = match &image.store {
        Store::Noted(noted) => (noted.image(), noted.slot()),
        _ => (image, still(image.size())),
    };
    match &**source.samples()? {
        Samples::U8(pixels) => Some((pixels, slot)),
        Samples::F32(_) => None,
    }
}

/// Neither resized nor padded.
fn still(size: [usize; 2]) -> Slot {
    Slot::new(size, size, size, [0; 4], Interpolation::Linear)
}

/// What becomes of every picture of a batch.
struct Plan<'a> {
    preprocessor: &'a DetDataPreprocessor,
    values: Values,
    /// Width and height of the batch.
    size: [usize; 2],
    device: &'a Device,
}

impl Plan<'_> {
    /// One launch for all. `None` if the batch is empty, too large for that, or has pictures that are not u8 in memory.
    fn at_once(&self, gpu: &Gpu, pictures: &[Packed], shape: [usize; 4]) -> Option<Tensor<4>> {
        let sources = pictures.iter().map(|p| bytes(&p.image));
        let sources: Vec<(&[u8], Slot)> = sources.collect::<Option<_>>()?;
        let total = sources
            .iter()
            .try_fold(0usize, |sum, (pixels, _)| sum.checked_add(pixels.len() + 4))?;
        let elements = shape.iter().product::<usize>();
        if elements == 0 || total > MOST_BYTES || elements.checked_mul(4)? > MOST_BYTES {
            return None;
        }
        let sources: Vec<(&[u8], &Slot)> = sources.iter().map(|(p, s)| (*p, s)).collect();
        let packed = pack(&sources, &self.values, self.size)?;
        let source = gpu.upload_bytes(&packed.source);
        Some(self.launch(gpu, &packed.plan, &source, shape))
    }

    fn launch(&self, gpu: &Gpu, plan: &[u32], source: &Buffer, shape: [usize; 4]) -> Tensor<4> {
        let table: Vec<u32> = self.values.table().iter().map(|v| v.to_bits()).collect();
        let out = gpu.empty(shape.iter().product());
        let [sx, sy, sz] = PREPROCESS.workgroup;
        gpu.launch(
            &PREPROCESS,
            [
                plan[3].div_ceil(sx),
                plan[2].div_ceil(sy),
                plan[0].div_ceil(sz),
            ],
            &[&gpu.upload(plan), source, &gpu.upload(&table), &out],
        );
        gpu.tensor(out, shape)
    }

    /// Picture by picture, wherever each is.
    fn one_by_one(&self, gpu: &Gpu, pictures: &[Packed]) -> Result<Tensor<4>, String> {
        let engine = Augment::new(self.device).ok_or("this device does not run WGSL")?;
        let shape = [1, self.values.channels(), self.size[1], self.size[0]];
        let parts = pictures.iter().map(|picture| {
            let image = &picture.image;
            if is_in_memory(image) {
                let mut data = vec![0.0; shape.iter().product()];
                self.on_cpu(picture, &mut data)?;
                return Ok(Tensor::from_data(TensorData::new(data, shape), self.device));
            }
            let fail = |e: crate::data::Fault| format!("{}: {e}", picture.meta.img_path);
            let words = engine.words_of(image).map_err(fail)?;
            if image.depth() == Depth::F32 {
                return Ok(self.floats_on_gpu(gpu, words, image, shape));
            }
            // a pixel is a word: four bytes, whatever it has of them
            let plan = plan(&[(0, &still(image.size()))], 4, &self.values, self.size);
            let plan = plan.ok_or("a batch that is too large")?;
            Ok(self.launch(gpu, &plan, &words, shape))
        });
        let parts = parts.collect::<Result<Vec<_>, String>>()?;
        Ok(Tensor::cat(parts, 0))
    }

    /// # Shapes
    /// - `words`: [h, w, source channels], f32
    fn floats_on_gpu(
        &self,
        gpu: &Gpu,
        words: Buffer,
        image: &Image,
        shape: [usize; 4],
    ) -> Tensor<4> {
        let [_, channels, height, width] = shape;
        let ([w, h], from) = (image.size(), image.channels());
        let planes: Tensor<3> = gpu.tensor(words, [h, w, from]).permute([2, 0, 1]);
        let mut planes = planes.narrow(0, 0, channels);
        if self.preprocessor.swap {
            planes = planes.flip([0]);
        }
        let pairs = &self.preprocessor.mean_std;
        if !pairs.is_empty() {
            let of = |value: fn(&(f32, f32)) -> f32| {
                let values: Vec<f32> = pairs.iter().map(value).collect();
                let shape = [pairs.len(), 1, 1];
                Tensor::<3>::from_data(TensorData::new(values, shape), self.device)
            };
            planes = (planes - of(|pair| pair.0)) / of(|pair| pair.1);
        }
        Tensor::full(shape, self.preprocessor.pad_value, self.device).slice_assign(
            [0..1, 0..channels, 0..h.min(height), 0..w.min(width)],
            planes.unsqueeze(),
        )
    }

    /// One picture of the batch, in memory.
    fn on_cpu(&self, picture: &Packed, out: &mut [f32]) -> Result<(), String> {
        let [width, height] = self.size;
        if width * height == 0 {
            return Ok(());
        }
        let mut planes: Vec<&mut [f32]> = out.chunks_exact_mut(width * height).collect();
        if let Some((pixels, slot)) = bytes(&picture.image) {
            preprocess(pixels, &slot, &self.values, width, 0, &mut planes);
            return Ok(());
        }
        let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", picture.meta.img_path);
        let image = Pixels::cpu().done(&picture.image).map_err(|e| fail(&e))?;
        let samples = image.samples();
        let samples = samples.ok_or_else(|| fail(&"the picture is on another device"))?;
        let [w, h] = picture.image.size();
        match &**samples {
            Samples::U8(pixels) => {
                preprocess(pixels, &still([w, h]), &self.values, width, 0, &mut planes);
            }
            Samples::F32(values) => {
                let channels = picture.image.channels();
                floats(values, channels, w, self.preprocessor, width, &mut planes);
            }
        }
        Ok(())
    }
}

/// Pictures of f32: normalised value by value.
fn floats(
    values: &[f32],
    source_channels: usize,
    source_width: usize,
    preprocessor: &DetDataPreprocessor,
    width: usize,
    planes: &mut [&mut [f32]],
) {
    for (c, plane) in planes.iter_mut().enumerate() {
        plane.fill(preprocessor.pad_value);
        let source = if preprocessor.swap { 2 - c } else { c };
        let pairs = &preprocessor.mean_std;
        let pair = pairs.get(c).or(pairs.first());
        let rows = values.chunks_exact((source_width * source_channels).max(1));
        for (from, to) in rows.zip(plane.chunks_exact_mut(width)) {
            for (pixel, value) in from.chunks_exact(source_channels).zip(to) {
                let v = pixel[source];
                *value = pair.map_or(v, |(mean, std)| (v - mean) / std);
            }
        }
    }
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
