//! Dense heads: maps in; raw outputs; from them candidates. To add one, write a file and a row in [`ROWS`].
//!
//! `forward` gives what the original's head returns, before any sigmoid, so that candidates and losses are two ways from the same outputs.

mod anchored;
mod class_scores;
mod fcos;
mod outputs;
mod retina;
mod rpn;
mod test_cfg;
mod tower;
mod yolox;

pub use fcos::FcosHead;
pub use outputs::Outputs;
pub use retina::RetinaHead;
pub use rpn::RpnHead;
pub use yolox::YoloxHead;

use burn::tensor::Tensor;

use crate::backbones::Features;
use crate::batch::Batch;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::ops::Candidates;
use crate::registry::{Family, Row};

/// What a detector tells its head.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The maps that come in.
    pub features: Features<'a>,
    /// The part of the detector's `test_cfg` that is the head's.
    pub test_cfg: &'a Node,
}

/// Reads a pyramid and predicts classes and boxes for every place of every level.
pub trait DenseHead: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - maps: one `[N, C, H, W]` for each level
    fn forward(&self, maps: &[Tensor<4>]) -> Outputs;

    /// What post-processing has to choose from. No device is waited for.
    fn candidates(&self, outputs: &Outputs, batch: &Batch) -> Candidates;

    /// Classes, background not counted.
    fn classes(&self) -> usize;
}

/// The kind `head` of the registry.
#[derive(Debug)]
pub struct Heads;

impl Family for Heads {
    const KIND: &'static str = "head";
    type Build = fn(&Node, Given, &Build) -> Result<Box<dyn DenseHead>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Heads>; 4] = [
    Row::<Heads>::new("mmdet", "FCOSHead", fcos::build),
    Row::<Heads>::new("mmdet", "RPNHead", rpn::build),
    Row::<Heads>::new("mmdet", "RetinaHead", retina::build),
    Row::<Heads>::new("mmdet", "YOLOXHead", yolox::build),
];

/// Keys of heads that others read, or that belong to training.
const OTHERS: &[&str] = &[
    "anchor_generator",
    "bbox_coder",
    "init_cfg",
    "loss_bbox",
    "loss_cls",
    "norm_cfg",
    "test_cfg",
    "train_cfg",
];

/// `key` of `node`, unless it is absent or None.
fn present<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).filter(|n| !n.is_none())
}

/// Whether there is one of `strides` for each map.
fn check_strides(node: &Node, strides: &[usize], features: &Features) -> Result<(), Diagnostics> {
    let levels = features.list.len();
    if strides.len() == levels && !strides.contains(&0) {
        return Ok(());
    }
    let name = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let message = format!("`{name}` has strides {strides:?} for {levels} feature levels");
    let of_maps: Vec<_> = features.list.iter().map(|f| f.stride).collect();
    let help = format!("the levels have strides {of_maps:?}");
    Err(error_at(node, "strides", message, &help))
}

/// Whether maps of `in_channels` channels come in.
fn check_channels(node: &Node, in_channels: usize, features: &Features) -> Result<(), Diagnostics> {
    let Some(other) = features.list.iter().find(|f| f.channels != in_channels) else {
        return Ok(());
    };
    let name = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let message = format!(
        "`{name}` has `in_channels` {in_channels} but gets maps of {} channels",
        other.channels
    );
    let help = format!("write in_channels={}", other.channels);
    Err(error_at(node, "in_channels", message, &help))
}
