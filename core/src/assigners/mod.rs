//! Assigners: which prior is to find which object. To add one, write a file and a row in [`ROWS`].
//!
//! Most ask for boxes only, so they run on the host, with no word from the device ([`Assigner`]). Those that ask what the head predicts
//! run on the device ([`PredictionAssigner`]): nothing is read back between a forward and a backward pass.

mod atss;
mod center_region;
mod dynamic_soft_label;
mod grid;
mod hungarian;
mod match_cost;
mod max_iou;
mod overlaps;
mod pairs;
mod point;
mod region;
mod repeated;
mod sim_ota;
mod task_aligned;
mod uniform;

pub use atss::AtssAssigner;
pub use center_region::CenterRegionAssigner;
pub use dynamic_soft_label::DynamicSoftLabelAssigner;
pub use grid::GridAssigner;
pub use hungarian::{HungarianAssigner, Queries};
pub use match_cost::{IouCostMode, MATCH_COSTS, MatchCost, MatchCosts};
pub use max_iou::{MaxIouAssigner, Negative};
pub use overlaps::Overlaps;
pub use point::PointAssigner;
pub use region::RegionAssigner;
pub use repeated::Repeated;
pub use sim_ota::SimOtaAssigner;
pub use task_aligned::TaskAlignedAssigner;
pub use uniform::UniformAssigner;

use std::fmt::Debug;

use burn::tensor::{Bool, Int, Tensor};

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

    /// The same that takes a prior from another overlap on; None where overlaps do not count.
    fn with_overlap(&self, _: f32) -> Option<Box<dyn Assigner>> {
        None
    }
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
    /// What few assigners ask for.
    pub more: More<'a>,
}

/// What heads whose assigners ask for it say of their priors besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct More<'a> {
    /// The boxes that each prior stands for, as many for each, one prior's after the other's ([`MaxIouAssigner::approximate`]).
    pub approxs: &'a [Xyxy],
    /// Whether the middle of an object lies in a prior's cell ([`GridAssigner`]).
    pub responsible: &'a [bool],
    /// Height and width of each level's map ([`RegionAssigner`]).
    pub maps: &'a [[usize; 2]],
    /// The size of anchors in strides ([`RegionAssigner`]).
    pub anchor_scale: f32,
}

impl<'a> Priors<'a> {
    /// Of which nothing more is said.
    pub fn new(boxes: &'a [Xyxy], levels: &'a [usize], strides: &'a [[f32; 2]]) -> Self {
        Self {
            boxes,
            levels,
            strides,
            more: More::default(),
        }
    }

    /// Where each level's are.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
        let mut first = 0;
        self.levels.iter().map(move |count| {
            let range = first..first + count;
            first += count;
            range
        })
    }
}

/// What became of the priors of one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assigned {
    /// [`LEFT_OUT`], [`BACKGROUND`], or object g as `g + 1`.
    pub object: Vec<i32>,
    /// The largest overlap with any object; 0 where the assigner does not ask.
    pub overlap: Vec<f32>,
    /// Priors and the classes that they do not learn ([`CenterRegionAssigner`]).
    pub shadowed: Vec<(usize, usize)>,
}

impl Assigned {
    /// All the same.
    fn all(object: i32, count: usize) -> Self {
        Self {
            object: vec![object; count],
            overlap: vec![0.0; count],
            shadowed: Vec::new(),
        }
    }
}

/// Assigns by what is predicted.
pub trait PredictionAssigner: Debug + Send + Sync {
    /// On the device; nothing of it is recorded for gradients.
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice;

    /// Takes `alpha` and `beta` of the `train_cfg` around it ([`TaskAlignedAssigner`]).
    fn set_powers(&mut self, _alpha: f64, _beta: f64) {}
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
    /// `[P, 4]`, xyxy px, of heads of anchors whose assigner asks ([`UniformAssigner`]).
    pub anchors: Option<Tensor<2>>,
}

/// What became of the places of a batch.
#[derive(Clone, Debug)]
pub struct AssignedOnDevice {
    /// `[N, P]`: [`LEFT_OUT`], [`BACKGROUND`], or object g as `g + 1`.
    pub object: Tensor<2, Int>,
    /// `[N, P]`: the overlap with that object, or 0.
    pub overlap: Tensor<2>,
    /// `[N, P]`: how well score and overlap are aligned, or 0 ([`TaskAlignedAssigner`]).
    pub metric: Option<Tensor<2>>,
    /// Pairs of boxes and objects, of which a place may have several ([`UniformAssigner`]).
    pub pairing: Option<Pairing>,
}

/// S pairs of a place and an object in each picture.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// `[N, S]`.
    pub place: Tensor<2, Int>,
    /// `[N, S]`.
    pub object: Tensor<2, Int>,
    /// `[N, S]`: it is learned from.
    pub counts: Tensor<2, Bool>,
}

/// What a builder of assigners gives.
#[derive(Debug)]
pub enum AnyAssigner {
    /// By boxes alone.
    Boxes(Box<dyn Assigner>),
    /// By what is predicted.
    Predictions(Box<dyn PredictionAssigner>),
    /// By what queries predict, on the host.
    Queries(HungarianAssigner),
}

/// The kind `assigner` of the registry.
#[derive(Debug)]
pub struct Assigners;

impl Family for Assigners {
    const KIND: &'static str = "assigner";
    type Build = fn(&Node, &Build) -> Result<AnyAssigner, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] =
        &[("MultiInstanceAssigner", ""), ("TopkHungarianAssigner", "")];
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Assigners>; 12] = [
    Row::<Assigners>::new("mmdet", "ATSSAssigner", atss::build),
    Row::<Assigners>::new("mmdet", "ApproxMaxIoUAssigner", max_iou::build_approximate),
    Row::<Assigners>::new("mmdet", "CenterRegionAssigner", center_region::build),
    Row::<Assigners>::new(
        "mmdet",
        "DynamicSoftLabelAssigner",
        dynamic_soft_label::build,
    ),
    Row::<Assigners>::new("mmdet", "GridAssigner", grid::build),
    Row::<Assigners>::new("mmdet", "HungarianAssigner", hungarian::build),
    Row::<Assigners>::new("mmdet", "MaxIoUAssigner", max_iou::build),
    Row::<Assigners>::new("mmdet", "PointAssigner", point::build),
    Row::<Assigners>::new("mmdet", "RegionAssigner", region::build),
    Row::<Assigners>::new("mmdet", "SimOTAAssigner", sim_ota::build),
    Row::<Assigners>::new("mmdet", "TaskAlignedAssigner", task_aligned::build),
    Row::<Assigners>::new("mmdet", "UniformAssigner", uniform::build),
];

/// The `assigner` of a `train_cfg`, which is to ask for boxes only.
///
/// # Errors
/// There is none, or it is wrong, or another one.
pub fn by_boxes(train_cfg: &Node, build: &Build) -> Result<Box<dyn Assigner>, Diagnostics> {
    match named(train_cfg, build)? {
        AnyAssigner::Boxes(assigner) => Ok(assigner),
        AnyAssigner::Predictions(_) | AnyAssigner::Queries(_) => {
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
        AnyAssigner::Predictions(mut assigner) => {
            let power = |key| train_cfg.get(key).and_then(Node::as_float);
            if let (Some(alpha), Some(beta)) = (power("alpha"), power("beta")) {
                assigner.set_powers(alpha, beta);
            }
            Ok(assigner)
        }
        AnyAssigner::Boxes(_) | AnyAssigner::Queries(_) => {
            let message =
                "this head assigns by what its places predict, and this assigner does not";
            let help = "for example assigner=dict(type='SimOTAAssigner', center_radius=2.5)";
            Err(error_at(train_cfg, "assigner", message, help))
        }
    }
}

/// The `assigner` of a `train_cfg` of a head of queries.
///
/// # Errors
/// As [`by_boxes`].
pub fn by_queries(train_cfg: &Node, build: &Build) -> Result<HungarianAssigner, Diagnostics> {
    match named(train_cfg, build)? {
        AnyAssigner::Queries(assigner) => Ok(assigner),
        AnyAssigner::Boxes(_) | AnyAssigner::Predictions(_) => {
            let message = "a head of queries assigns one to one, and this assigner does not";
            let help = "write assigner=dict(type='HungarianAssigner', match_costs=[...])";
            Err(error_at(train_cfg, "assigner", message, help))
        }
    }
}

fn named(train_cfg: &Node, build: &Build) -> Result<AnyAssigner, Diagnostics> {
    let Some(node) = train_cfg.get("assigner").filter(|n| !n.is_none()) else {
        let message = "`train_cfg` has no `assigner`";
        return Err(error_at(train_cfg, "assigner", message, ""));
    };
    build.find::<Assigners>(node)?(node, build)
}

/// Checks `iou_calculator` where overlaps are worked out on the device, of which the plain ones are there.
fn plain_overlaps(node: &Node) -> Result<(), Diagnostics> {
    if Overlaps::read(node)? == Overlaps::Plain {
        return Ok(());
    }
    let message = "this assigner knows `BboxOverlaps2D` only";
    let help = "write iou_calculator=dict(type='BboxOverlaps2D')";
    Err(unsupported(node, "iou_calculator", message, help))
}

#[cfg(test)]
mod tests;
