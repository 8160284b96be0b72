//! Dense heads: feature maps in, class logits and box deltas out. To add one, write a file and a row in [`ROWS`].

mod retina;
pub(crate) mod test_cfg;

pub use retina::RetinaHead;

use burn::tensor::Tensor;

use crate::backbones::Feature;
use crate::box_coders::DeltaCoder;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::priors::AnchorGenerator;
use crate::registry::{Family, Row};

/// What comes into a head.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The maps that the neck (or the backbone, without one) gives.
    pub features: &'a [Feature],
}

/// What a head gives, one tensor for each level.
#[derive(Clone, Debug)]
pub struct HeadOutput {
    /// `[N, anchors * classes, H, W]`, before sigmoid or softmax.
    pub cls_logits: Vec<Tensor<4>>,
    /// `[N, anchors * 4, H, W]`, encoded boxes.
    pub deltas: Vec<Tensor<4>>,
}

/// Predicts, for every anchor of every cell, classes and a box.
pub trait DenseHead: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - inputs: one `[N, C, H, W]` for each level
    fn forward(&self, inputs: &[Tensor<4>]) -> HeadOutput;

    /// Classes, background not counted.
    fn num_classes(&self) -> usize;

    /// Whether scores are sigmoids; else softmax over the classes and, last, background.
    fn use_sigmoid(&self) -> bool;

    /// Where boxes start from.
    fn priors(&self) -> &AnchorGenerator;

    /// How deltas become boxes.
    fn coder(&self) -> &DeltaCoder;
}

/// The kind `head` of the registry.
#[derive(Debug)]
pub struct Heads;

impl Family for Heads {
    const KIND: &'static str = "head";
    type Build = fn(&Node, Inputs, &Build) -> Result<Box<dyn DenseHead>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Heads>; 1] = [Row::<Heads>::new("mmdet", "RetinaHead", retina::build)];
