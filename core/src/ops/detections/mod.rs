//! From a head's outputs to instances: score filter, best k, decoding, NMS.
//!
//! What MMDetection's heads do in `predict_by_feat`, once for all of them: whatever a head predicts is a [`Level`] of scores and boxes.
//! A feature map of anchors or points is one; a set of queries is a level of height 1; a heat map of centres is one without NMS.
//! On a GPU nothing is read back between the steps (`gpu.rs`); on the CPU the kernels' twins run (`cpu.rs`).
//!
//! Differences from MMDetection: of equal scores the one with the lower index is taken first (MMDetection
//! leaves it to an unstable sort), and boxes that are not finite are dropped.
//!
//! Shapes: N pictures, A boxes a place, C classes, H x W places of one level.

mod cpu;
mod gpu;

use burn::tensor::Tensor;
use smalti_shaders::reference::decode::DeltaCoder;
use smalti_shaders::reference::nms::{Method, NmsConfig};
pub use smalti_shaders::reference::topk::Activation;
use smalti_shaders::reference::topk::Filter;

use super::launch::{Gpu, ReadError};
use crate::batch::Batch;
use crate::structures::{Instances, Xyxy};

/// All that there is to choose from, and how.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// Fine ones first.
    pub levels: Vec<Level>,
    /// How to choose.
    pub select: Select,
}

/// Scores and boxes of one level.
#[derive(Clone, Debug)]
pub struct Level {
    /// `[N, A * C, H, W]`; with softmax C counts the background, which is last.
    pub scores: Tensor<4>,
    /// How they become scores.
    pub activation: Activation,
    /// `[N, A, H, W]`, 0 to 1: multiplied into the scores of the best `nms_pre`, so it decides nothing before (centreness, IoU).
    pub factor: Option<Tensor<4>>,
    /// `[N, A * 4, H, W]`.
    pub boxes: Tensor<4>,
    /// What the numbers of `boxes` are.
    pub coder: Coder,
}

/// How a level's numbers become boxes.
#[derive(Clone, Debug)]
pub enum Coder {
    /// They are boxes: xyxy in pixels of the batch. What is not anchors is decoded by its head, which are a few tensor operations.
    Xyxy {
        /// Clip to the picture.
        clip: bool,
    },
    /// Deltas of anchors: only the best are decoded, as there are many.
    Delta {
        /// The arithmetic.
        coder: DeltaCoder,
        /// The A anchors of the cell at row 0, column 0; xyxy px.
        base_anchors: Vec<Xyxy>,
        /// Distance between cells in x and y, px.
        stride: [usize; 2],
    },
}

impl Level {
    /// Boxes a place (A).
    fn priors(&self) -> usize {
        match &self.coder {
            Coder::Xyxy { .. } => self.boxes.dims()[1] / 4,
            Coder::Delta { base_anchors, .. } => base_anchors.len(),
        }
    }

    /// Boxes a picture (A x H x W).
    fn places(&self) -> usize {
        let [_, _, h, w] = self.scores.dims();
        self.priors() * h * w
    }
}

/// Which candidates stay: a head's `test_cfg`, and the ways in which heads differ from each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Classes without background.
    pub classes: usize,
    /// Scores must be above this.
    pub score_thr: f32,
    /// ... or equal to it.
    pub at_least: bool,
    /// Which classes of a place count.
    pub labels: Labels,
    /// Candidates a level, as the end of a Python slice (so does MMDetection: -1, its default, drops the lowest one).
    pub nms_pre: i64,
    /// Boxes must be wider and higher than this (px of the result), unless it is negative.
    pub min_bbox_size: f32,
    /// Which boxes can suppress each other.
    pub group: Group,
    /// Suppression.
    pub nms: NmsConfig,
    /// Instances a picture, as the end of a Python slice.
    pub max_per_img: i64,
}

impl Select {
    /// What there is to know before boxes are made.
    fn filter(&self, activation: Activation) -> Filter {
        Filter {
            classes: self.classes,
            activation,
            score_thr: self.score_thr,
            at_least: self.at_least,
            best_class: self.labels == Labels::Best,
            nms_pre: self.nms_pre,
        }
    }
}

/// Which classes of a place are candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Each whose score passes.
    Every,
    /// Only the one with the highest score; the first of equal ones.
    Best,
}

/// Between which boxes there is suppression, unless it is class agnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Those of one class.
    Class,
    /// Those of one level (an RPN's).
    Level,
}

/// Why there are no instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectError {
    /// A tensor does not have the shape that the configuration asks for.
    Shape(String),
    /// The device failed.
    Read(ReadError),
}

impl std::fmt::Display for DetectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DetectError::Shape(what) => write!(f, "head outputs do not fit: {what}"),
            DetectError::Read(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for DetectError {}

impl From<ReadError> for DetectError {
    fn from(e: ReadError) -> Self {
        DetectError::Read(e)
    }
}

/// Where a batch's pictures end, and what takes their boxes to the wanted picture: what is needed of each picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Frame {
    /// Height and width, px.
    clip: [f32; 2],
    /// From the batch's to the wanted picture, in x and y.
    factors: [f32; 2],
}

impl Frame {
    fn all(batch: &Batch) -> Vec<Self> {
        let frame = |meta: &crate::data::Meta| Frame {
            clip: meta.img_shape.map(|v| v as f32),
            factors: if batch.rescale {
                meta.scale_factor.map(|s| (1.0 / s) as f32)
            } else {
                [1.0; 2]
            },
        };
        batch.pictures.iter().map(frame).collect()
    }
}

/// One box, and all that is asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    bbox: Xyxy,
    score: f32,
    label: u32,
    /// Boxes of different groups do not touch each other.
    group: u32,
    /// Its place: level after level, then rows, columns, and the A boxes of a place.
    source: u32,
}

fn instances(found: &[Found]) -> Instances {
    let mut instances = Instances::default();
    for f in found {
        instances.push(f.bbox, f.score, f.label as usize);
    }
    instances
}

/// The instances of each picture of a batch, with one read-back for all.
///
/// On a GPU there is room for 8192 candidates a level and 32768 a picture. Where a configuration without
/// `nms_pre` meets more than that, the outputs are read back and the CPU does the batch.
///
/// # Errors
/// If shapes do not fit, or the device fails.
pub async fn detect(candidates: &Candidates, batch: &Batch) -> Result<Vec<Instances>, DetectError> {
    let Candidates { levels, select } = candidates;
    let frames = Frame::all(batch);
    check(levels, frames.len(), select)?;
    let Some(first) = levels.first() else {
        return Ok(vec![Instances::default(); frames.len()]);
    };
    if let Some(gpu) = Gpu::of(&first.scores.device())
        && let Some(found) = gpu::detect(&gpu, levels, &frames, select).await?
    {
        return Ok(found);
    }
    let found = cpu::detect(levels, &frames, select).await?;
    Ok(found.iter().map(|f| instances(f)).collect())
}

/// [`detect`], waiting for the device.
///
/// # Errors
/// As [`detect`].
#[cfg(not(target_arch = "wasm32"))]
pub fn detect_blocking(
    candidates: &Candidates,
    batch: &Batch,
) -> Result<Vec<Instances>, DetectError> {
    pollster::block_on(detect(candidates, batch))
}

fn check(levels: &[Level], pictures: usize, select: &Select) -> Result<(), DetectError> {
    for (i, level) in levels.iter().enumerate() {
        let [n, c, h, w] = level.scores.dims();
        let a = level.priors();
        let background = level.activation == Activation::Softmax;
        let channels = select.classes + usize::from(background);
        if n != pictures || c != a * channels {
            return Err(DetectError::Shape(format!(
                "level {i} has class scores {n}x{c}x{h}x{w}, expected {pictures}x{}x{h}x{w} \
                 ({a} boxes a place, {channels} channels a box)",
                a * channels
            )));
        }
        let mut shapes = vec![("boxes", level.boxes.dims(), [n, a * 4, h, w])];
        shapes.extend(
            level
                .factor
                .iter()
                .map(|f| ("factors", f.dims(), [n, a, h, w])),
        );
        for (what, found, wanted) in shapes {
            if found != wanted {
                let message = format!("level {i} has {what} {found:?}, expected {wanted:?}");
                return Err(DetectError::Shape(message));
            }
        }
    }
    Ok(())
}

/// The first instances of a Python slice's end.
fn cut(found: &mut Instances, end: i64) {
    let keep = smalti_shaders::reference::topk::wanted(found.len(), end);
    found.truncate(keep);
}

/// Most detections of a picture that can be told without counting them first.
fn most_detections(select: &Select) -> usize {
    let max_num = match select.nms.method {
        Method::Hard => usize::try_from(select.nms.max_num).unwrap_or(0),
        _ => 0,
    };
    let most = usize::try_from(select.max_per_img).unwrap_or(usize::MAX);
    if max_num > 0 { most.min(max_num) } else { most }
}

#[cfg(test)]
mod tests;
