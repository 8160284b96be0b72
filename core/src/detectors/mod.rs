//! Detectors: a batch in, boxes out. To add one, write a file and a row in [`ROWS`].

mod single_stage;

pub use single_stage::SingleStage;

use std::future::Future;
use std::pin::Pin;

use burn::tensor::Tensor;

use crate::backbones::Backbone;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::heads::HeadOutput;
use crate::necks::Neck;
use crate::ops::{DetectError, Detections, PictureMeta};
use crate::registry::{Family, Row};

/// Detections of every picture of a batch, once they have come back from the device.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<Vec<Detections>, DetectError>> + 'a>>;

/// A whole model. Its parts can be run one by one, which is how they are timed and compared.
pub trait Detector: std::fmt::Debug + Send + Sync {
    /// Picture to feature maps.
    fn backbone(&self) -> &dyn Backbone;

    /// Feature maps to the pyramid.
    fn neck(&self) -> Option<&dyn Neck>;

    /// Pyramid to logits and deltas.
    fn head(&self, maps: &[Tensor<4>]) -> HeadOutput;

    /// Logits and deltas to boxes. All work is queued on the device when this returns; the one read-back is awaited.
    fn postprocess<'a>(&'a self, output: HeadOutput, metas: &'a [PictureMeta]) -> Pending<'a>;

    /// The same detector with another lowest score.
    fn set_score_thr(&mut self, score_thr: f32);

    /// Classes that it tells apart.
    fn num_classes(&self) -> usize;

    /// The pyramid of a batch.
    ///
    /// # Shapes
    /// - input: `[N, 3, H, W]`, normalised
    fn extract(&self, batch: Tensor<4>) -> Vec<Tensor<4>> {
        let maps = self.backbone().forward(batch);
        match self.neck() {
            Some(neck) => neck.forward(maps),
            None => maps,
        }
    }

    /// Boxes of a batch; `metas` has one entry for each picture.
    fn predict<'a>(&'a self, batch: Tensor<4>, metas: &'a [PictureMeta]) -> Pending<'a> {
        let maps = self.extract(batch);
        self.postprocess(self.head(&maps), metas)
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
pub const ROWS: [Row<Detectors>; 2] = [
    Row::<Detectors>::new("mmdet", "RetinaNet", single_stage::build),
    Row::<Detectors>::new("mmdet", "SingleStageDetector", single_stage::build),
];
