//! The kernels' twins in a row, on maps in host memory.

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData};
use smalti_shaders::reference::decode::{Xyxy, anchor, is_valid};
use smalti_shaders::reference::nms::batched_nms;
use smalti_shaders::reference::topk::{Grid, topk};

use super::{Coder, DetectError, Frame, Level, ReadError, Select, cut};
use crate::structures::Instances;

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

pub(super) async fn detect(
    levels: &[Level],
    frames: &[Frame],
    select: &Select,
) -> Result<Vec<Instances>, DetectError> {
    let mut maps = Vec::with_capacity(levels.len());
    for level in levels {
        maps.push((
            HostMap::read(&level.scores).await?,
            HostMap::read(&level.boxes).await?,
        ));
    }
    let mut found = Vec::with_capacity(frames.len());
    for (i, frame) in frames.iter().enumerate() {
        let mut candidates = Instances::default();
        for (level, (logits, boxes)) in levels.iter().zip(&maps) {
            let priors = level.priors();
            let logits = logits.picture(i, priors)?;
            let boxes = boxes.picture(i, priors)?;
            level_candidates(level, logits, boxes, frame, select, &mut candidates);
        }
        found.push(suppress(&candidates, select));
    }
    Ok(found)
}

/// Adds the boxes of one level's best scores.
fn level_candidates(
    level: &Level,
    (logits, grid): (&[f32], Grid),
    (boxes, box_grid): (&[f32], Grid),
    frame: &Frame,
    select: &Select,
    out: &mut Instances,
) {
    let classes = select.classes;
    let (priors, width) = (grid.priors, grid.width);
    for c in topk(
        logits,
        &grid,
        classes,
        level.activation,
        select.score_thr,
        select.nms_pre,
    ) {
        let (prior, label) = (c.index as usize / classes, c.index as usize % classes);
        let (cell, a) = (prior / priors, prior % priors);
        let (y, x) = (cell / width, cell % width);
        let four: [f32; 4] = std::array::from_fn(|i| boxes[box_grid.at(a * 4 + i, y, x)]);
        let b: Xyxy = match &level.coder {
            Coder::Xyxy { clip: false } => four,
            Coder::Xyxy { clip: true } => {
                std::array::from_fn(|i| four[i].max(0.0).min(frame.clip[1 - i % 2]))
            }
            Coder::Delta {
                coder,
                base_anchors,
                stride,
            } => {
                let stride = stride.map(|v| v as f32);
                coder.decode(anchor(base_anchors[a], stride, y, x), four, frame.clip)
            }
        };
        let b: Xyxy = std::array::from_fn(|i| b[i] * frame.factors[i % 2]);
        if is_valid(&b, select.min_bbox_size) {
            out.push(b, c.score, label);
        }
    }
}

/// NMS and the limit on the number of detections.
pub(super) fn suppress(candidates: &Instances, select: &Select) -> Instances {
    let labels: Vec<u32> = candidates.labels.iter().map(|l| *l as u32).collect();
    let most = usize::try_from(select.max_per_img).unwrap_or(usize::MAX);
    let kept = batched_nms(
        &candidates.boxes,
        &candidates.scores,
        &labels,
        &select.nms,
        most,
    );
    let mut out = Instances::default();
    for (i, score) in kept {
        out.push(candidates.boxes[i], score, candidates.labels[i]);
    }
    cut(&mut out, select.max_per_img);
    out
}
