//! [`Meta`]: what is known of a picture of a batch, besides its pixels.

use std::sync::Arc;

use crate::coco::ImageId;
use crate::pixels::Direction;
use crate::sample::Sample;
use crate::structures::Proposals;

/// What heads and results have to know of a picture: MMDetection's `metainfo`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Where it came from.
    pub img_path: String,
    /// Its id in an annotation file.
    pub img_id: Option<ImageId>,
    /// Height and width as loaded, px.
    pub ori_shape: [usize; 2],
    /// Height and width after the pipeline, px; `Pad` counts, the batch's padding does not.
    pub img_shape: [usize; 2],
    /// Height and width up to the batch's `pad_size_divisor`, px: [`DetDataPreprocessor::pad_shape`]. Until a batch is made, `img_shape`.
    ///
    /// [`DetDataPreprocessor::pad_shape`]: crate::preprocessor::DetDataPreprocessor::pad_shape
    pub pad_shape: [usize; 2],
    /// New by old width, new by old height, of the last `Resize`.
    pub scale_factor: [f64; 2],
    /// In which direction it was mirrored, if it was.
    pub flip_direction: Option<Direction>,
    /// Where objects may be, px, if that came with the picture.
    pub proposals: Option<Arc<Proposals>>,
}

impl Meta {
    /// Of a sample at the end of its pipeline.
    pub fn of(sample: &Sample) -> Self {
        Self {
            img_path: sample.info.img_path.clone(),
            img_id: sample.info.img_id.clone(),
            ori_shape: sample.ori_shape,
            img_shape: sample.img_shape,
            pad_shape: sample.img_shape,
            scale_factor: sample.scale_factor.unwrap_or([1.0, 1.0]),
            flip_direction: sample.flip_direction.filter(|_| sample.flip == Some(true)),
            proposals: sample.proposals.clone(),
        }
    }

    /// It was mirrored.
    pub fn flip(&self) -> bool {
        self.flip_direction.is_some()
    }
}
