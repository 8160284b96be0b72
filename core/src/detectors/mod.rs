//! Detectors: a batch in, instances out. To add one, write a file and a row in [`ROWS`].

pub mod detectron2;
mod extractor;
mod single_stage;
mod two_stage;

pub use extractor::Extractor;
pub use single_stage::SingleStage;
pub use two_stage::TwoStage;

use std::future::Future;
use std::pin::Pin;

use burn::tensor::Tensor;

use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::losses::Losses;
use crate::ops::DetectError;
use crate::probe::Probe;
use crate::registry::{Family, Row};
use crate::structures::Instances;
use crate::targets::Targets;

/// What comes back from the device.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, DetectError>> + 'a>>;

/// A whole model.
pub trait Detector: std::fmt::Debug + Send + Sync {
    /// The pixels of a batch, `[N, C, H, W]`, to the maps that heads read.
    fn extract(&self, pixels: Tensor<4>, probe: &mut Probe) -> Vec<Tensor<4>>;

    /// Maps to instances, one list a picture. All work is queued on the device when this returns; what is awaited is the read-back.
    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        probe: &mut Probe,
    ) -> Pending<'a, Vec<Instances>>;

    /// Maps and objects to losses. What is awaited are the proposals of a first stage, which the second is to learn from: a detector of one
    /// stage reads nothing back.
    ///
    /// # Panics
    /// If the model was not built for training.
    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        targets: &'a Targets,
        probe: &mut Probe,
    ) -> Pending<'a, Losses>;

    /// Switches the loss `name` on or off; whether there is one that can be.
    fn switch_loss(&self, _name: &str, _on: bool) -> bool {
        false
    }

    /// Told which epoch of a training begins, from 0.
    fn set_epoch(&self, _epoch: u64) {}

    /// Height and width of a batch must be multiples of this, px.
    fn size_divisor(&self) -> usize;

    /// The one height and width that a batch can have, if there is but one.
    fn only_size(&self) -> Option<[usize; 2]>;

    /// Channels that pictures must have.
    fn channels_in(&self) -> usize;

    /// Classes that it tells apart.
    fn classes(&self) -> usize;

    /// How many classes the objects that it learns from may be of; None where it does not look at them.
    fn labels(&self) -> Option<usize> {
        Some(self.classes())
    }
}

/// The kind `detector` of the registry.
#[derive(Debug)]
pub struct Detectors;

impl Family for Detectors {
    const KIND: &'static str = "detector";
    type Build = fn(&Node, &Build) -> Result<Box<dyn Detector>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Detectors>; 13] = [
    Row::<Detectors>::new("detectron2", "Detector", detectron2::build),
    Row::<Detectors>::new("mmdet", "CascadeRCNN", two_stage::build),
    Row::<Detectors>::new("mmdet", "Detectron2Wrapper", detectron2::build_wrapper),
    Row::<Detectors>::new("mmdet", "FCOS", single_stage::build),
    Row::<Detectors>::new("mmdet", "FastRCNN", two_stage::build),
    Row::<Detectors>::new("mmdet", "FasterRCNN", two_stage::build),
    Row::<Detectors>::new("mmdet", "MaskRCNN", two_stage::build),
    Row::<Detectors>::new("mmdet", "MaskScoringRCNN", two_stage::build),
    Row::<Detectors>::new("mmdet", "RPN", single_stage::build_rpn),
    Row::<Detectors>::new("mmdet", "RetinaNet", single_stage::build),
    Row::<Detectors>::new("mmdet", "SingleStageDetector", single_stage::build),
    Row::<Detectors>::new("mmdet", "TwoStageDetector", two_stage::build),
    Row::<Detectors>::new("mmdet", "YOLOX", single_stage::build),
];
