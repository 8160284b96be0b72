//! Second stages: maps and the proposals of a first stage in, instances or losses out. To add one, write a file and a row in [`ROWS`];
//! what they are made of has tables of its own ([`EXTRACTORS`], [`SHARED_HEADS`], [`BOX_HEADS`], [`MASK_HEADS`],
//! [`MASK_IOU_HEADS`]).

mod box_head;
mod box_learning;
mod cascade;
mod double_head;
mod dynamic;
mod extractor;
mod generic_extractor;
mod mask_head;
mod mask_iou_head;
mod mask_learning;
mod pisa;
mod plugin;
mod regions;
mod sampling;
mod shared_head;
mod standard;

pub use box_head::{BoxHead, BoxHeads, BoxOutputs, ROWS as BOX_HEADS};
pub use cascade::CascadeRoiHead;
pub use extractor::{ROWS as EXTRACTORS, RoiExtractor, RoiExtractors};
pub use mask_head::{MaskHead, MaskHeads, ROWS as MASK_HEADS};
pub use mask_iou_head::{MaskIouHead, MaskIouHeads, ROWS as MASK_IOU_HEADS};
pub use regions::Regions;
pub use shared_head::{ROWS as SHARED_HEADS, SharedHeads};
pub use standard::StandardRoiHead;

pub(crate) use mask_learning::cut_out;
pub(crate) use regions::{clipped, rows_of};
pub(crate) use sampling::{Sampled, boxes_of};
pub(crate) use standard::{of_positives, with_masks};

use burn::tensor::Tensor;

use crate::backbones::Features;
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::detectors::Pending;
use crate::losses::Losses;
use crate::ops::detections::Kept;
use crate::registry::{Family, Row};
use crate::structures::Instances;
use crate::targets::Targets;

/// What a detector tells its second stage.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The maps that come in.
    pub features: Features<'a>,
    /// The second stage's part of the detector's `test_cfg`.
    pub test_cfg: &'a Node,
    /// The second stage's part of the detector's `train_cfg`, if there is one.
    pub train_cfg: Option<&'a Node>,
}

/// The map that heads see of each region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionMap {
    /// Channels of it.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
}

/// A second stage.
pub trait RoiHead: std::fmt::Debug + Send + Sync {
    /// Maps and proposals to instances, one list a picture. What is awaited is the read-back.
    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
    ) -> Pending<'a, Vec<Instances>>;

    /// Maps, proposals and objects to losses. Proposals are read back, to find which object each is to be; nothing else is.
    ///
    /// # Panics
    /// If the model was not built for training.
    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
        targets: &'a Targets,
    ) -> Pending<'a, Losses>;

    /// Classes, background not counted.
    fn classes(&self) -> usize;
}

/// The kind `RoI head` of the registry.
#[derive(Debug)]
pub struct RoiHeads;

impl Family for RoiHeads {
    const KIND: &'static str = "RoI head";
    type Build = fn(&Node, Given, &Build) -> Result<Box<dyn RoiHead>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<RoiHeads>; 6] = [
    Row::<RoiHeads>::new("mmdet", "CascadeRoIHead", cascade::build),
    Row::<RoiHeads>::new("mmdet", "DoubleHeadRoIHead", standard::build_double),
    Row::<RoiHeads>::new("mmdet", "DynamicRoIHead", standard::build_dynamic),
    Row::<RoiHeads>::new("mmdet", "MaskScoringRoIHead", standard::build_scoring),
    Row::<RoiHeads>::new("mmdet", "PISARoIHead", standard::build_pisa),
    Row::<RoiHeads>::new("mmdet", "StandardRoIHead", standard::build),
];

/// Why a head has what it learns by.
const FOR_TRAINING: &str = "the model was built for training";

/// `key` of `node`, unless it is absent or None.
fn present<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).filter(|n| !n.is_none())
}
