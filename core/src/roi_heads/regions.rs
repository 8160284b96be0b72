//! [`Regions`]: boxes of pictures whose features are asked for.

use burn::tensor::{Int, Tensor, TensorData};

use crate::batch::Pictures;
use crate::ops::detections::Kept;
use crate::structures::Xyxy;

/// Boxes of the pictures of a batch, as many rows for each; those behind a picture's last one are worked on and count nothing.
#[derive(Clone, Debug)]
pub struct Regions {
    /// `[N, K, 4]`, xyxy px of the batch.
    pub boxes: Tensor<3>,
    /// `[N, K]`: 1 where there is one, else 0.
    pub there: Tensor<2>,
}

impl From<&Kept> for Regions {
    fn from(kept: &Kept) -> Self {
        let [pictures, most] = kept.labels.dims();
        let device = kept.boxes.device();
        let places = Tensor::<1, Int>::arange(0..most as i64, &device);
        let places = places.unsqueeze::<2>().expand([pictures, most]);
        let counts = kept.counts.clone().unsqueeze_dim::<2>(1);
        let there = places.lower(counts.expand([pictures, most]));
        Self {
            boxes: kept.boxes.clone(),
            there: there.float(),
        }
    }
}

impl Regions {
    /// Which picture, then the box: `[N * K, 5]`.
    pub fn rows(&self) -> Tensor<2> {
        let [pictures, most, _] = self.boxes.dims();
        let numbers = (0..pictures).flat_map(|i| std::iter::repeat_n(i as f32, most));
        let numbers = TensorData::new(numbers.collect::<Vec<_>>(), [pictures * most, 1]);
        let numbers = Tensor::from_data(numbers, &self.boxes.device());
        let boxes = self.boxes.clone().reshape([pictures * most, 4]);
        Tensor::cat(vec![numbers, boxes], 1)
    }
}

/// Boxes `[N, K, 4]` cut at the ends of their pictures, which are `less` px smaller than they are.
pub(crate) fn clipped(boxes: Tensor<3>, pictures: &Pictures, less: f32) -> Tensor<3> {
    let metas = &pictures.metas;
    let ends = metas.iter().flat_map(|meta| {
        let [height, width] = meta.img_shape.map(|side| side as f32 - less);
        [width, height, width, height]
    });
    let ends = TensorData::new(ends.collect::<Vec<_>>(), [metas.len(), 1, 4]);
    let ends = Tensor::<3>::from_data(ends, &boxes.device());
    let dims = boxes.dims();
    boxes.clamp_min(0.0).min_pair(ends.expand(dims))
}

/// Boxes that are listed for each picture: `[R, 5]`, which picture, then xyxy px.
pub(crate) fn rows_of<'a>(
    pictures: impl IntoIterator<Item = &'a [Xyxy]>,
    device: &burn::tensor::Device,
) -> Tensor<2> {
    let mut rows = Vec::new();
    for (i, boxes) in pictures.into_iter().enumerate() {
        for bbox in boxes {
            rows.push(i as f32);
            rows.extend(bbox);
        }
    }
    let count = rows.len() / 5;
    Tensor::from_data(TensorData::new(rows, [count, 5]), device)
}
