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
mod kept;
mod plan;

use burn::tensor::{Device, Tensor};
use smalti_shaders::reference::decode::DeltaCoder;
use smalti_shaders::reference::nms::NmsConfig;
pub use smalti_shaders::reference::topk::Scoring;
use smalti_shaders::reference::topk::{Filter, wanted};

use self::gpu::OnDevice;
pub use self::kept::Kept;
use super::launch::{Gpu, ReadError};
use crate::batch::Pictures;
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
    pub activation: Scoring,
    /// `[N, A, H, W]`, 0 to 1: multiplied into the scores of the best `nms_pre`, so it decides nothing before (centreness, IoU).
    pub factor: Option<Tensor<4>>,
    /// `[N, A * 4, H, W]`; `[N, A * C * 4, H, W]` where each class has its own.
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
        /// Boxes of a prior: 1, or one for each class, where a second stage has its own for each.
        each: usize,
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
            Coder::Xyxy { each, .. } => self.boxes.dims()[1] / 4 / each,
            Coder::Delta { base_anchors, .. } => base_anchors.len(),
        }
    }

    /// Boxes of a prior.
    fn boxes_each(&self) -> usize {
        match &self.coder {
            Coder::Xyxy { each, .. } => *each,
            Coder::Delta { .. } => 1,
        }
    }

    /// Boxes a picture (A x H x W).
    fn places(&self) -> usize {
        let [_, _, h, w] = self.scores.dims();
        self.priors() * h * w
    }

    /// Scores a picture that can be wanted.
    fn wanted(&self, select: &Select) -> usize {
        let each = match select.labels {
            Labels::Every => select.classes,
            Labels::Best => 1,
        };
        wanted(self.places() * each, select.nms_pre)
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
    fn filter(&self, activation: Scoring) -> Filter {
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
    /// More than is computed: what it is, and what to change.
    TooLarge(String),
    /// A detector that proposes nothing itself has no proposals of this picture.
    NoProposals(String),
    /// The device failed.
    Read(ReadError),
}

impl std::fmt::Display for DetectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DetectError::Shape(what) => write!(f, "head outputs do not fit: {what}"),
            DetectError::TooLarge(what) => write!(f, "too much to choose from: {what}"),
            DetectError::NoProposals(picture) => write!(
                f,
                "there are no proposals of `{picture}`, and this detector has no `rpn_head` that would make some: \
                 write `proposal_file` in the data set and dict(type='LoadProposals') in its pipeline, or give `--proposals` to `smalti detect`"
            ),
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
    /// One for each picture; `rescale`: original pictures are wanted, not those of the batch.
    fn all(pictures: &Pictures, rescale: bool) -> Vec<Self> {
        let frame = |meta: &crate::data::Meta| Frame {
            clip: meta.img_shape.map(|v| v as f32),
            factors: if rescale {
                meta.scale_factor.map(|s| (1.0 / s) as f32)
            } else {
                [1.0; 2]
            },
        };
        pictures.metas.iter().map(frame).collect()
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
pub async fn detect(
    candidates: &Candidates,
    pictures: &Pictures,
) -> Result<Vec<Instances>, DetectError> {
    let frames = Frame::all(pictures, pictures.rescale);
    check(&candidates.levels, frames.len(), &candidates.select)?;
    let read = match launch(candidates, &frames)? {
        Some(on_device) => on_device.read().await?,
        None => None,
    };
    let found = match read {
        Some(found) => found,
        None => on_cpu(candidates, &frames).await?,
    };
    Ok(found.iter().map(|f| instances(f)).collect())
}

/// The same boxes, to stay on the device: [`Kept`].
///
/// On a GPU nothing is read back, unless `nms_pre` can be more than there is room for, or with Soft-NMS.
///
/// Other than with [`detect`] everything is in pixels of the batch, `min_bbox_size` and suppression too:
/// so does MMDetection with boxes that are not yet results.
///
/// # Errors
/// As [`detect`].
pub async fn keep(candidates: &Candidates, pictures: &Pictures) -> Result<Kept, DetectError> {
    let frames = Frame::all(pictures, false);
    check(&candidates.levels, frames.len(), &candidates.select)?;
    let mut read = None;
    if let Some(on_device) = launch(candidates, &frames)? {
        if !on_device.is_final() {
            read = on_device.read().await?;
        }
        if on_device.is_final() || (read.is_some() && !on_device.is_unfinished()) {
            return Ok(on_device.tensors());
        }
    }
    let found = match read {
        Some(found) => found,
        None => on_cpu(candidates, &frames).await?,
    };
    let device = match candidates.levels.first() {
        Some(level) => level.scores.device(),
        None => Device::flex(),
    };
    Ok(Kept::of(&found, &device))
}

/// Starts the kernels, if this is on a GPU, there is room, and anything can come of it.
fn launch(candidates: &Candidates, frames: &[Frame]) -> Result<Option<OnDevice>, DetectError> {
    let Candidates { levels, select } = candidates;
    let gpu = levels.first().and_then(|l| Gpu::of(&l.scores.device()));
    match gpu {
        Some(gpu) if can_find(candidates, frames) => gpu::launch(&gpu, levels, frames, select),
        _ => Ok(None),
    }
}

async fn on_cpu(candidates: &Candidates, frames: &[Frame]) -> Result<Vec<Vec<Found>>, DetectError> {
    if !can_find(candidates, frames) {
        return Ok(vec![Vec::new(); frames.len()]);
    }
    cpu::detect(&candidates.levels, frames, &candidates.select).await
}

/// Whether there is anything to choose from, and anything wanted.
fn can_find(candidates: &Candidates, frames: &[Frame]) -> bool {
    let Candidates { levels, select } = candidates;
    let any = levels.iter().any(|l| l.wanted(select) > 0);
    !frames.is_empty() && select.max_per_img != 0 && any
}

/// [`detect`], waiting for the device.
///
/// # Errors
/// As [`detect`].
#[cfg(not(target_arch = "wasm32"))]
pub fn detect_blocking(
    candidates: &Candidates,
    pictures: &Pictures,
) -> Result<Vec<Instances>, DetectError> {
    pollster::block_on(detect(candidates, pictures))
}

fn check(levels: &[Level], pictures: usize, select: &Select) -> Result<(), DetectError> {
    for (i, level) in levels.iter().enumerate() {
        let [n, c, h, w] = level.scores.dims();
        let each = level.boxes_each();
        if each != 1 && each != select.classes {
            let message = format!(
                "level {i} has {each} boxes a prior for {} classes",
                select.classes
            );
            return Err(DetectError::Shape(message));
        }
        let a = level.priors();
        let background = level.activation == Scoring::Softmax;
        let channels = select.classes + usize::from(background);
        if n != pictures || c != a * channels {
            return Err(DetectError::Shape(format!(
                "level {i} has class scores {n}x{c}x{h}x{w}, expected {pictures}x{}x{h}x{w} \
                 ({a} boxes a place, {channels} channels a box)",
                a * channels
            )));
        }
        let mut shapes = vec![(
            "boxes",
            level.boxes.dims(),
            [n, a * level.boxes_each() * 4, h, w],
        )];
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

#[cfg(test)]
mod tests;
