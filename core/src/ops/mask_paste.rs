//! [`paste`]: small masks of boxes at the size of their picture. `smalti_shaders::reference::mask_paste` has the arithmetic.

use std::sync::Arc;

use burn::tensor::Tensor;
use rayon::prelude::*;
use smalti_shaders::MASK_PASTE;
use smalti_shaders::records::PasteRecord;
use smalti_shaders::reference::mask_paste;
pub use smalti_shaders::reference::mask_paste::Level;

use super::launch::{Gpu, MOST_WORKGROUPS, ReadError};
use crate::structures::{Bitmap, Masks, Xyxy};

/// The masks of `boxes` on a picture of `[width, height]` px: by a kernel on a GPU, of which pixels are read back, else by its twin.
///
/// # Errors
/// The device fails.
///
/// # Shapes
/// - `masks`: `[M, h, w]`, one for each box
pub async fn paste(
    masks: Tensor<3>,
    boxes: &[Xyxy],
    [width, height]: [usize; 2],
    level: Level,
) -> Result<Masks, ReadError> {
    let [count, mask_height, mask_width] = masks.dims();
    let pixels = width * height;
    if count == 0 || pixels == 0 {
        let empty = vec![Bitmap::from(Vec::new()); count];
        return Ok(Masks::bitmaps([width, height], empty));
    }
    let bitmaps = match Gpu::of(&masks.device()) {
        Some(gpu) => by_kernel(&gpu, masks, boxes, [width, height], level).await?,
        None => {
            let data = masks.into_data_async().await;
            let data = data.map_err(|e| ReadError(format!("{e:?}")))?;
            let numbers: Vec<f32> = data.iter::<f32>().collect();
            let size = [mask_height, mask_width];
            let each = numbers.par_chunks_exact(mask_height * mask_width);
            let each = each.zip(boxes).map(|(mask, bbox)| {
                let mut picture = vec![0; pixels];
                mask_paste::paste(mask, size, *bbox, &mut picture, width, level);
                Arc::from(picture)
            });
            each.collect()
        }
    };
    Ok(Masks::bitmaps([width, height], bitmaps))
}

async fn by_kernel(
    gpu: &Gpu,
    masks: Tensor<3>,
    boxes: &[Xyxy],
    [width, height]: [usize; 2],
    level: Level,
) -> Result<Vec<Bitmap>, ReadError> {
    /// Words of one read-back: 256 MiB.
    const MOST: usize = 1 << 26;
    let [count, mask_height, mask_width] = masks.dims();
    let words = width.div_ceil(4);
    let at_once = (MOST / (words * height)).clamp(1, count);
    let mut bitmaps = Vec::with_capacity(count);
    for first in (0..count).step_by(at_once) {
        let part = at_once.min(count - first);
        let record = PasteRecord {
            masks: part as u32,
            mask_height: mask_height as u32,
            mask_width: mask_width as u32,
            height: height as u32,
            width: width as u32,
            words: words as u32,
            grey: u32::from(level == Level::Grey),
            threshold: match level {
                Level::Threshold(threshold) => threshold,
                Level::Grey => 0.0,
            },
        };
        let told = gpu.constant(bytemuck::cast_slice(std::slice::from_ref(&record)));
        let of_boxes = &boxes[first..first + part];
        let of_boxes = gpu.upload(bytemuck::cast_slice(of_boxes));
        let masks = gpu.contiguous(masks.clone().narrow(0, first, part))?;
        let out = gpu.empty(part * height * words);
        let rows = (part * height).min(MOST_WORKGROUPS as usize) as u32;
        let grid = [(words as u32).div_ceil(64), rows, 1];
        gpu.launch(&MASK_PASTE, grid, &[&told, &masks, &of_boxes, &out]);
        let read = gpu.read(&out).await?;
        for picture in read.chunks_exact(words * height) {
            let rows = picture.chunks_exact(words);
            let pixels = rows.flat_map(|row| {
                let bytes = row.iter().flat_map(|word| word.to_le_bytes());
                bytes.take(width)
            });
            bitmaps.push(pixels.collect());
        }
    }
    Ok(bitmaps)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use smalti_shaders::reference::random::Random;

    use super::*;
    use crate::device::gpu_for_tests;

    #[test]
    fn a_gpu_pastes_what_the_processor_pastes() {
        let Some(gpu) = gpu_for_tests() else { return };
        let mut random = Random::new(4);
        let size @ [width, height] = [67, 40];
        let mut boxes: Vec<Xyxy> = (0..30)
            .map(|_| {
                let (x, y) = (random.unit() * 80.0 - 10.0, random.unit() * 50.0 - 10.0);
                [x, y, x + random.unit() * 60.0, y + random.unit() * 40.0]
            })
            .collect();
        boxes.push([5.0, 3.0, 5.0, 20.0]);
        boxes.push([-90.0, -90.0, -80.0, -80.0]);
        boxes.push([-9.0, -9.0, 99.0, 99.0]);
        let count = boxes.len();
        let numbers: Vec<f32> = (0..count * 28 * 28).map(|_| random.unit()).collect();
        for level in [Level::Threshold(0.5), Level::Grey] {
            let on = |device: &Device| {
                let masks = TensorData::new(numbers.clone(), [count, 28, 28]);
                let masks = Tensor::from_data(masks, device);
                let made = pollster::block_on(paste(masks, &boxes, size, level));
                made.unwrap().to_bitmaps()
            };
            let (ours, expected) = (on(&gpu), on(&Device::flex()));
            let pixels =
                |masks: &[Bitmap]| -> Vec<u8> { masks.iter().flat_map(|m| m.to_vec()).collect() };
            let (ours, expected) = (pixels(&ours), pixels(&expected));
            assert_eq!(ours.len(), count * width * height);
            let differ = ours
                .iter()
                .zip(&expected)
                .filter(|(a, b)| a.abs_diff(**b) > 1 || (level != Level::Grey && a != b));
            // where a value is next to the threshold
            assert!(differ.count() <= ours.len() / 10_000);
        }
    }
}
