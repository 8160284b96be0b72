//! A batch of pictures to the network's input, [N, C, H, W]: the kernel on a GPU, its twin elsewhere.

use burn::tensor::{Device, Tensor, TensorData};
use smalti_shaders::PREPROCESS;
use smalti_shaders::reference::preprocess::{Slot, Values, pack, preprocess};

use super::launch::Gpu;
use crate::data::pipeline::{Content, Prepared};
use crate::data::preprocessor::DetDataPreprocessor;

/// Most bytes in one storage buffer that every WebGPU device grants.
const MOST_BYTES: usize = 128 << 20;

/// Makes the batch of `pictures` on `device`. Height and width are the largest of the pictures', up to
/// the divisor; each picture lies at the top left.
///
/// # Errors
/// If there are no pictures, or their channels differ from each other or do not fit the preprocessor.
pub fn batch(
    pictures: &[Prepared],
    preprocessor: &DetDataPreprocessor,
    device: &Device,
) -> Result<Tensor<4>, String> {
    let Some(source_channels) = pictures.first().map(Prepared::channels) else {
        return Err("a batch of no pictures".into());
    };
    if let Some(other) = pictures.iter().find(|p| p.channels() != source_channels) {
        return Err(format!(
            "pictures of one batch differ in channels: {source_channels}, and {} in {}",
            other.channels(),
            other.meta.img_path
        ));
    }
    let values = preprocessor.values(source_channels)?;
    let [width, height] = preprocessor.batch_size(pictures.iter().map(Prepared::size));
    let shape = [pictures.len(), values.channels(), height, width];
    if let Some(gpu) = Gpu::of(device)
        && let Some(tensor) = on_gpu(&gpu, pictures, &values, shape)
    {
        return Ok(tensor);
    }
    let data = on_cpu(pictures, preprocessor, &values, shape);
    Ok(Tensor::from_data(TensorData::new(data, shape), device))
}

/// `None` if the batch is empty, too large for one dispatch, or has pictures of f32.
fn on_gpu(
    gpu: &Gpu,
    pictures: &[Prepared],
    values: &Values,
    shape: [usize; 4],
) -> Option<Tensor<4>> {
    let bytes = |p: &Prepared| match &p.content {
        Content::Bytes(picture, _) => picture.pixels().len() + 4,
        Content::Floats { .. } => usize::MAX,
    };
    let total = pictures
        .iter()
        .try_fold(0usize, |sum, p| sum.checked_add(bytes(p)))?;
    let elements = shape.iter().product::<usize>();
    if elements == 0 || total > MOST_BYTES || elements.checked_mul(4)? > MOST_BYTES {
        return None;
    }
    let sources: Vec<(&[u8], &Slot)> = pictures
        .iter()
        .filter_map(|p| match &p.content {
            Content::Bytes(picture, slot) => Some((picture.pixels(), slot)),
            Content::Floats { .. } => None,
        })
        .collect();
    let packed = pack(&sources, values, [shape[3], shape[2]])?;
    let table: Vec<u32> = values.table().iter().map(|v| v.to_bits()).collect();
    let out = gpu.empty(elements);
    let [x, y, z] = packed.invocations;
    let [sx, sy, sz] = PREPROCESS.workgroup;
    gpu.launch(
        &PREPROCESS,
        [x.div_ceil(sx), y.div_ceil(sy), z.div_ceil(sz)],
        &[
            &gpu.upload(&packed.plan),
            &gpu.upload_bytes(&packed.source),
            &gpu.upload(&table),
            &out,
        ],
    );
    Some(gpu.tensor(out, shape))
}

fn on_cpu(
    pictures: &[Prepared],
    preprocessor: &DetDataPreprocessor,
    values: &Values,
    shape: [usize; 4],
) -> Vec<f32> {
    let [_, channels, height, width] = shape;
    let mut out = vec![0.0; shape.iter().product()];
    let plane = height * width;
    if plane == 0 {
        return out;
    }
    for (picture, part) in pictures.iter().zip(out.chunks_exact_mut(channels * plane)) {
        let mut planes: Vec<&mut [f32]> = part.chunks_exact_mut(plane).collect();
        match &picture.content {
            Content::Bytes(source, slot) => {
                preprocess(source.pixels(), slot, values, width, 0, &mut planes);
            }
            Content::Floats { channels, values } => {
                let [w, _] = picture.size();
                floats(values, *channels, w, preprocessor, width, &mut planes);
            }
        }
    }
    out
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
