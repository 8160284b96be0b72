//! [`Batch`]: pictures on the device, as a network takes them.

use burn::tensor::Tensor;

use crate::data::Meta;

/// Pictures on the device, and what is known of each.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[N, C, H, W]`, normalised and padded.
    pub pixels: Tensor<4>,
    /// One for each picture.
    pub pictures: Vec<Meta>,
    /// Whether boxes are wanted in pixels of the original pictures, not of the batch.
    pub rescale: bool,
}
