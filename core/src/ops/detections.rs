//! From a dense head's outputs to detections: score filter, top-k, box decoding, NMS.
//!
//! What MMDetection's `BaseDenseHead.predict_by_feat` does for anchors and class scores. On a GPU nothing
//! is read back between the steps (`detections_gpu.rs`); on the CPU the kernels' twins run.
//!
//! Differences from MMDetection: of equal scores the one with the lower index is taken first (MMDetection
//! leaves it to an unstable sort), and boxes that are not finite are dropped.
//!
//! Shapes: N pictures, A anchors a cell, C classes, H x W cells of one feature level.

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData};
use smalti_shaders::reference::decode::{DeltaCoder, Xyxy, anchor, is_valid};
use smalti_shaders::reference::nms::{Method, NmsConfig, batched_nms};
use smalti_shaders::reference::topk::{Activation, Grid, topk};

use super::detections_gpu;
use super::launch::{Gpu, ReadError};

/// A head's outputs on one feature level.
#[derive(Clone, Debug)]
pub struct LevelOutput {
    /// N x (A*C) x H x W logits; with softmax C counts the background, which is last.
    pub cls_logits: Tensor<4>,
    /// N x (A*4) x H x W box deltas.
    pub deltas: Tensor<4>,
    /// The A anchors of the cell at row 0, column 0; xyxy px.
    pub base_anchors: Vec<[f32; 4]>,
    /// Distance between cells in x and y, px.
    pub stride: [usize; 2],
}

/// A head's `test_cfg` and what else decides the detections.
#[derive(Clone, Debug, PartialEq)]
pub struct PostConfig {
    /// Classes without background.
    pub num_classes: usize,
    /// Sigmoid, one score a class; or softmax with a background channel.
    pub use_sigmoid: bool,
    /// Scores must be above this.
    pub score_thr: f32,
    /// Candidates a level, as the end of a Python slice (so does MMDetection: -1, its default, drops the lowest one).
    pub nms_pre: i64,
    /// Boxes must be wider and higher than this (px of the result), unless it is negative.
    pub min_bbox_size: f32,
    /// Suppression.
    pub nms: NmsConfig,
    /// Detections a picture, as the end of a Python slice.
    pub max_per_img: i64,
    /// Box coder.
    pub coder: DeltaCoder,
}

/// What the result depends on besides the head's outputs, of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureMeta {
    /// Height and width of the resized picture without padding, px.
    pub img_shape: [usize; 2],
    /// Resized by original size, in x and y.
    pub scale_factor: [f64; 2],
    /// Give boxes in pixels of the original picture.
    pub rescale: bool,
}

impl PictureMeta {
    /// Factors from the resized to the wanted picture, in x and y.
    pub(super) fn factors(&self) -> [f32; 2] {
        match self.rescale {
            true => self.scale_factor.map(|s| (1.0 / s) as f32),
            false => [1.0; 2],
        }
    }

    /// Height and width, px.
    pub(super) fn clip(&self) -> [f32; 2] {
        self.img_shape.map(|v| v as f32)
    }
}

/// The detections of one picture, in descending order of score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detections {
    /// xyxy px.
    pub boxes: Vec<[f32; 4]>,
    /// 0 to 1.
    pub scores: Vec<f32>,
    /// Class indices.
    pub labels: Vec<usize>,
}

impl Detections {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    pub(super) fn push(&mut self, b: [f32; 4], score: f32, label: usize) {
        self.boxes.push(b);
        self.scores.push(score);
        self.labels.push(label);
    }

    /// As `self[:end]` in Python.
    pub(super) fn cut(&mut self, end: i64) {
        let keep = smalti_shaders::reference::topk::wanted(self.len(), end);
        self.boxes.truncate(keep);
        self.scores.truncate(keep);
        self.labels.truncate(keep);
    }
}

/// Why there are no detections.
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

/// The detections of each picture of a batch, with one read-back for all.
///
/// On a GPU there is room for 8192 candidates a level and 32768 a picture. Where a configuration without
/// `nms_pre` meets more than that, the outputs are read back and the CPU does the batch.
///
/// # Errors
/// If shapes do not fit, or the device fails.
pub async fn detect(
    levels: &[LevelOutput],
    metas: &[PictureMeta],
    config: &PostConfig,
) -> Result<Vec<Detections>, DetectError> {
    check(levels, metas.len(), config)?;
    let Some(first) = levels.first() else {
        return Ok(vec![Detections::default(); metas.len()]);
    };
    if let Some(gpu) = Gpu::of(&first.cls_logits.device())
        && let Some(found) = detections_gpu::detect(&gpu, levels, metas, config).await?
    {
        return Ok(found);
    }
    detect_on_cpu(levels, metas, config).await
}

/// [`detect`], waiting for the device.
///
/// # Errors
/// As [`detect`].
#[cfg(not(target_arch = "wasm32"))]
pub fn detect_blocking(
    levels: &[LevelOutput],
    metas: &[PictureMeta],
    config: &PostConfig,
) -> Result<Vec<Detections>, DetectError> {
    pollster::block_on(detect(levels, metas, config))
}

fn check(levels: &[LevelOutput], pictures: usize, config: &PostConfig) -> Result<(), DetectError> {
    for (i, level) in levels.iter().enumerate() {
        let [n, c, h, w] = level.cls_logits.dims();
        let a = level.base_anchors.len();
        let channels = config.num_classes + usize::from(!config.use_sigmoid);
        if n != pictures || c != a * channels {
            return Err(DetectError::Shape(format!(
                "level {i} has class logits {n}x{c}x{h}x{w}, expected {pictures}x{}x{h}x{w} \
                 ({a} anchors a cell, {channels} channels an anchor)",
                a * channels
            )));
        }
        if level.deltas.dims() != [n, a * 4, h, w] {
            return Err(DetectError::Shape(format!(
                "level {i} has deltas {:?}, expected {:?}",
                level.deltas.dims(),
                [n, a * 4, h, w]
            )));
        }
    }
    Ok(())
}

/// One of a level's maps in host memory: the CPU device's own, or a copy.
enum HostMap {
    Shared(FloatTensor<Flex>),
    Copied(TensorData, [usize; 4]),
}

impl HostMap {
    async fn read(tensor: &Tensor<4>) -> Result<HostMap, DetectError> {
        let tensor = match tensor.dtype() {
            DType::F32 => tensor.clone(),
            _ => tensor.clone().cast(DType::F32),
        };
        if let Ok(shared) = tensor.clone().try_into_primitive::<Flex>()
            && shared.layout().strides().iter().all(|s| *s >= 0)
        {
            return Ok(HostMap::Shared(shared));
        }
        let shape = tensor.dims();
        let data = tensor
            .into_data_async()
            .await
            .map_err(|e| ReadError(format!("{e:?}")))?;
        Ok(HostMap::Copied(data, shape))
    }

    /// The values of picture `i`, and how they lie with `priors` priors a cell.
    fn picture(&self, i: usize, priors: usize) -> Result<(&[f32], Grid), DetectError> {
        let short = || ReadError("a map is shorter than its shape".into());
        match self {
            HostMap::Shared(tensor) => {
                let layout = tensor.layout();
                let stride = |d: usize| layout.strides()[d].unsigned_abs();
                let grid = Grid {
                    priors,
                    height: layout.shape()[2],
                    width: layout.shape()[3],
                    strides: [stride(1), stride(2), stride(3)],
                };
                let start = layout.start_offset() + i * stride(0);
                let values = tensor.storage::<f32>().get(start..).ok_or_else(short)?;
                Ok((values, grid))
            }
            HostMap::Copied(data, shape) => {
                let each = shape[1..].iter().product::<usize>();
                let values = data
                    .as_slice::<f32>()
                    .ok()
                    .and_then(|all| all.get(i * each..(i + 1) * each))
                    .ok_or_else(short)?;
                Ok((values, Grid::contiguous(priors, shape[2], shape[3])))
            }
        }
    }
}

async fn detect_on_cpu(
    levels: &[LevelOutput],
    metas: &[PictureMeta],
    config: &PostConfig,
) -> Result<Vec<Detections>, DetectError> {
    let mut maps = Vec::with_capacity(levels.len());
    for level in levels {
        maps.push((
            HostMap::read(&level.cls_logits).await?,
            HostMap::read(&level.deltas).await?,
        ));
    }
    let mut found = Vec::with_capacity(metas.len());
    for (i, meta) in metas.iter().enumerate() {
        let mut candidates = Detections::default();
        for (level, (logits, deltas)) in levels.iter().zip(&maps) {
            let priors = level.base_anchors.len();
            let logits = logits.picture(i, priors)?;
            let deltas = deltas.picture(i, priors)?;
            level_candidates(level, logits, deltas, meta, config, &mut candidates);
        }
        found.push(suppress(&candidates, config));
    }
    Ok(found)
}

/// Adds the boxes of one level's best scores.
fn level_candidates(
    level: &LevelOutput,
    (logits, grid): (&[f32], Grid),
    (deltas, delta_grid): (&[f32], Grid),
    meta: &PictureMeta,
    config: &PostConfig,
    out: &mut Detections,
) {
    let activation = match config.use_sigmoid {
        true => Activation::Sigmoid,
        false => Activation::Softmax,
    };
    let classes = config.num_classes;
    let (priors, width) = (grid.priors, grid.width);
    let stride = level.stride.map(|v| v as f32);
    let factors = meta.factors();
    for c in topk(
        logits,
        &grid,
        classes,
        activation,
        config.score_thr,
        config.nms_pre,
    ) {
        let (prior, label) = (c.index as usize / classes, c.index as usize % classes);
        let (cell, a) = (prior / priors, prior % priors);
        let (y, x) = (cell / width, cell % width);
        let delta = std::array::from_fn(|i| deltas[delta_grid.at(a * 4 + i, y, x)]);
        let from = anchor(level.base_anchors[a], stride, y, x);
        let b: Xyxy = config.coder.decode(from, delta, meta.clip());
        let b: Xyxy = std::array::from_fn(|i| b[i] * factors[i % 2]);
        if is_valid(&b, config.min_bbox_size) {
            out.push(b, c.score, label);
        }
    }
}

/// NMS and the limit on the number of detections.
pub(super) fn suppress(candidates: &Detections, config: &PostConfig) -> Detections {
    let labels: Vec<u32> = candidates.labels.iter().map(|l| *l as u32).collect();
    let most = usize::try_from(config.max_per_img).unwrap_or(usize::MAX);
    let kept = batched_nms(
        &candidates.boxes,
        &candidates.scores,
        &labels,
        &config.nms,
        most,
    );
    let mut out = Detections::default();
    for (i, score) in kept {
        out.push(candidates.boxes[i], score, candidates.labels[i]);
    }
    out.cut(config.max_per_img);
    out
}

/// Most detections of a picture that can be told without counting them first.
pub(super) fn most_detections(config: &PostConfig) -> usize {
    let max_num = match config.nms.method {
        Method::Hard => usize::try_from(config.nms.max_num).unwrap_or(0),
        _ => 0,
    };
    let most = usize::try_from(config.max_per_img).unwrap_or(usize::MAX);
    if max_num > 0 { most.min(max_num) } else { most }
}

#[cfg(test)]
#[path = "detections_tests.rs"]
mod tests;
