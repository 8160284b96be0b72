//! [`Meta`]: what is known of a picture of a batch, besides its pixels.

use super::coco::ImageId;

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
    /// New by old width, new by old height, of the last `Resize`.
    pub scale_factor: [f64; 2],
}
