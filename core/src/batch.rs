//! [`Batch`]: pictures on the device, as a network takes them.

use burn::tensor::Tensor;

use crate::data::Meta;

/// Pixels for the backbone, and [`Pictures`] for all that comes after it: the pixels' memory is free again as soon as they are used.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[N, C, H, W]`, normalised and padded.
    pub pixels: Tensor<4>,
    /// What they show.
    pub pictures: Pictures,
}

/// What is known of the pictures of a batch.
#[derive(Clone, Debug, Default)]
pub struct Pictures {
    /// One for each picture.
    pub metas: Vec<Meta>,
    /// Whether boxes are wanted in pixels of the original pictures, not of the batch.
    pub rescale: bool,
}
