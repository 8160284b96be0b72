//! Assigners: which prior is to find which object. To add one, write a file and a row in [`ROWS`].
//!
//! Most ask for boxes only, so they run on the host, with no word from the device ([`Assigner`]). Those that ask what the head predicts
//! run on the device ([`PredictionAssigner`]): nothing is read back between a forward and a backward pass.

mod max_iou;
mod sim_ota;

pub use max_iou::MaxIouAssigner;
pub use sim_ota::SimOtaAssigner;

use std::fmt::Debug;

use burn::tensor::{Int, Tensor};

use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::registry::{Family, Row};
use crate::structures::Xyxy;
use crate::targets::{Objects, Padded};

/// What a prior may be assigned to besides an object: `g + 1` is object g.
pub const BACKGROUND: i32 = 0;
/// Neither an object nor background.
pub const LEFT_OUT: i32 = -1;

/// Assigns by boxes alone.
pub trait Assigner: Debug + Send + Sync {
    /// An entry for every prior.
    fn assign(&self, priors: &Priors, objects: &Objects) -> Assigned;
}

/// Priors of one picture, level after level.
#[derive(Clone, Copy, Debug)]
pub struct Priors<'a> {
    /// xyxy in pixels of the batch; a point is a box without size.
    pub boxes: &'a [Xyxy],
    /// How many of them each level has.
    pub levels: &'a [usize],
    /// Pixels between the cells of each level, across and down.
    pub strides: &'a [[f32; 2]],
}

/// What became of the priors of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// [`LEFT_OUT`], [`BACKGROUND`], or object g as `g + 1`.
    pub object: Vec<i32>,
    /// The largest overlap with any object.
    pub overlap: Vec<f32>,
}

/// Assigns by what is predicted.
pub trait PredictionAssigner: Debug + Send + Sync {
    /// On the device; nothing of it is recorded for gradients.
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice;
}

/// What a head predicts at its P places, apart from any recording.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// `[P, 4]`: centre x, y and stride across, down, px.
    pub priors: Tensor<2>,
    /// `[N, P, 4]`: xyxy px.
    pub boxes: Tensor<3>,
    /// `[N, P, K]`, as the assigner wants them: probabilities, mostly.
    pub scores: Tensor<3>,
}

/// What became of the places of a batch.
#[derive(Clone, Debug)]
pub struct AssignedOnDevice {
    /// `[N, P]`: [`BACKGROUND`], or object g as `g + 1`.
    pub object: Tensor<2, Int>,
    /// `[N, P]`: the overlap with that object, or 0.
    pub overlap: Tensor<2>,
}

/// What a builder of assigners gives.
#[derive(Debug)]
pub enum AnyAssigner {
    /// By boxes alone.
    Boxes(Box<dyn Assigner>),
    /// By what is predicted.
    Predictions(Box<dyn PredictionAssigner>),
}

/// The kind `assigner` of the registry.
#[derive(Debug)]
pub struct Assigners;

impl Family for Assigners {
    const KIND: &'static str = "assigner";
    type Build = fn(&Node) -> Result<AnyAssigner, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Assigners>; 2] = [
    Row::<Assigners>::new("mmdet", "MaxIoUAssigner", max_iou::build),
    Row::<Assigners>::new("mmdet", "SimOTAAssigner", sim_ota::build),
];

/// The `assigner` of a `train_cfg`, which is to ask for boxes only.
///
/// # Errors
/// There is none, or it is wrong, or another one.
pub fn by_boxes(train_cfg: &Node, build: &Build) -> Result<Box<dyn Assigner>, Diagnostics> {
    match named(train_cfg, build)? {
        AnyAssigner::Boxes(assigner) => Ok(assigner),
        AnyAssigner::Predictions(_) => {
            let message =
                "this head assigns by its priors, and this assigner asks what is predicted";
            let help = "for example assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)";
            Err(error_at(train_cfg, "assigner", message, help))
        }
    }
}

/// The `assigner` of a `train_cfg`, which is to ask what is predicted.
///
/// # Errors
/// As [`by_boxes`].
pub fn by_predictions(
    train_cfg: &Node,
    build: &Build,
) -> Result<Box<dyn PredictionAssigner>, Diagnostics> {
    match named(train_cfg, build)? {
        AnyAssigner::Predictions(assigner) => Ok(assigner),
        AnyAssigner::Boxes(_) => {
            let message =
                "this head assigns by what it predicts, and this assigner asks for boxes only";
            let help = "for example assigner=dict(type='SimOTAAssigner', center_radius=2.5)";
            Err(error_at(train_cfg, "assigner", message, help))
        }
    }
}

fn named(train_cfg: &Node, build: &Build) -> Result<AnyAssigner, Diagnostics> {
    let Some(node) = train_cfg.get("assigner").filter(|n| !n.is_none()) else {
        let message = "`train_cfg` has no `assigner`";
        return Err(error_at(train_cfg, "assigner", message, ""));
    };
    build.find::<Assigners>(node)?(node)
}

/// Checks `iou_calculator`, of which the plain one is there.
fn check_iou_calculator(node: &Node) -> Result<(), Diagnostics> {
    let Some(calculator) = node.get("iou_calculator").filter(|n| !n.is_none()) else {
        return Ok(());
    };
    let name = calculator.get("type").and_then(Node::as_type);
    let name = name.unwrap_or_default();
    if name.rsplit('.').next() == Some("BboxOverlaps2D") {
        return Ok(());
    }
    let message = format!("overlaps by `{name}` are not supported yet");
    let help = "write iou_calculator=dict(type='BboxOverlaps2D')";
    Err(unsupported(node, "iou_calculator", message, help))
}
