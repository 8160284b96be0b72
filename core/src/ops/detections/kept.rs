//! [`Kept`]: boxes that stay on the device.

use burn::tensor::{Device, Int, Tensor, TensorData, Transaction};

use super::{DetectError, Found, Frame, ReadError};
use crate::batch::Pictures;
use crate::structures::{Instances, Xyxy};

/// The boxes of each of N pictures, best first. There is room for K a picture; behind the last one boxes, scores and sources
/// are 0, and labels are -1.
#[derive(Clone, Debug)]
pub struct Kept {
    /// `[N, K, 4]`, xyxy px of the batch.
    pub boxes: Tensor<3>,
    /// `[N, K]`.
    pub scores: Tensor<2>,
    /// `[N, K]`: class indices.
    pub labels: Tensor<2, Int>,
    /// `[N, K]`: the place that each came from: level after level, then rows, columns, and the A boxes of a place.
    pub source: Tensor<2, Int>,
    /// `[N]`: how many there are.
    pub counts: Tensor<1, Int>,
}

impl Kept {
    /// What the CPU found, on a device.
    pub(super) fn of(found: &[Vec<Found>], device: &Device) -> Self {
        let pictures = found.len();
        let most = found.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let mut boxes = vec![0f32; pictures * most * 4];
        let mut scores = vec![0f32; pictures * most];
        let mut labels = vec![-1i32; pictures * most];
        let mut source = vec![0i32; pictures * most];
        for (i, found) in found.iter().enumerate() {
            for (k, f) in found.iter().enumerate() {
                let at = i * most + k;
                boxes[at * 4..][..4].copy_from_slice(&f.bbox);
                scores[at] = f.score;
                labels[at] = f.label as i32;
                source[at] = f.source as i32;
            }
        }
        let counts: Vec<i32> = found.iter().map(|f| f.len() as i32).collect();
        let ints = |values| Tensor::from_data(TensorData::new(values, [pictures, most]), device);
        Kept {
            boxes: Tensor::from_data(TensorData::new(boxes, [pictures, most, 4]), device),
            scores: Tensor::from_data(TensorData::new(scores, [pictures, most]), device),
            labels: ints(labels),
            source: ints(source),
            counts: Tensor::from_data(TensorData::new(counts, [pictures]), device),
        }
    }

    /// Boxes of each picture, with their scores, that were not found here: all of one class.
    pub fn given(pictures: &[(&[Xyxy], &[f32])], device: &Device) -> Self {
        let found = pictures.iter().map(|(boxes, scores)| {
            let each = boxes.iter().zip(*scores).zip(0..);
            let found = each.map(|((bbox, score), source)| Found {
                bbox: *bbox,
                score: *score,
                label: 0,
                group: 0,
                source,
            });
            found.collect()
        });
        let found: Vec<Vec<Found>> = found.collect();
        Self::of(&found, device)
    }

    /// The instances of each picture, in the pixels that are wanted of `batch`, with one read-back.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn read(&self, pictures: &Pictures) -> Result<Vec<Instances>, DetectError> {
        let data = Transaction::default()
            .register(self.boxes.clone())
            .register(self.scores.clone())
            .register(self.labels.clone())
            .register(self.counts.clone())
            .execute_async()
            .await
            .map_err(|e| ReadError(format!("{e:?}")))?;
        let [boxes, scores, labels, counts] = data.as_slice() else {
            return Err(ReadError("not all tensors came".into()).into());
        };
        let most = self.scores.dims()[1];
        let boxes: Vec<f32> = boxes.iter::<f32>().collect();
        let scores: Vec<f32> = scores.iter::<f32>().collect();
        let labels: Vec<i32> = labels.iter::<i32>().collect();
        let frames = Frame::all(pictures, pictures.rescale);
        let pictures = frames.iter().zip(counts.iter::<i32>()).enumerate();
        let instances = pictures.map(|(i, (frame, count))| {
            let mut instances = Instances::default();
            for at in i * most..i * most + count as usize {
                let corner = |k: usize| boxes[at * 4 + k] * frame.factors[k % 2];
                let bbox = std::array::from_fn(corner);
                instances.push(bbox, scores[at], labels[at] as usize);
            }
            instances
        });
        Ok(instances.collect())
    }
}
