//! The kernels' twins in a row, on maps in host memory.

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData};
use smalti_shaders::reference::decode::{Xyxy, anchor, clipped, is_valid, product};
use smalti_shaders::reference::nms::batched_nms;
use smalti_shaders::reference::topk::{Candidate, Grid, topk, wanted};

use super::{Coder, DetectError, Found, Frame, Group, Level, ReadError, Select};

/// Candidates of a picture, for which there is memory.
const MOST_CANDIDATES: usize = 1 << 22;
/// Pairs of boxes that suppression may compare: those of 65,536 boxes if as many may be kept, of a million if a thousand may.
const MOST_PAIRS: u64 = 1 << 32;

/// Whether suppression of `boxes`, of which `most` are kept, is done.
fn check_crowd(boxes: usize, most: usize) -> Result<(), DetectError> {
    let pairs = boxes as u64 * boxes.min(most) as u64;
    if boxes <= MOST_CANDIDATES && pairs <= MOST_PAIRS {
        return Ok(());
    }
    Err(DetectError::TooLarge(format!(
        "{boxes} boxes of one picture pass `score_thr` and `nms_pre`: give a higher threshold, an `nms_pre` such as 1000, or a \
         `max_per_img` such as 100"
    )))
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

pub(super) async fn detect(
    levels: &[Level],
    frames: &[Frame],
    select: &Select,
) -> Result<Vec<Vec<Found>>, DetectError> {
    let mut maps = Vec::with_capacity(levels.len());
    for level in levels {
        maps.push(LevelMaps::read(level).await?);
    }
    let mut found = Vec::with_capacity(frames.len());
    for (i, frame) in frames.iter().enumerate() {
        let mut candidates = Vec::new();
        let (mut first_place, mut crowd) = (0, 0);
        for (number, (level, maps)) in levels.iter().zip(&maps).enumerate() {
            let boxes = LevelBoxes {
                level,
                number: number as u32,
                first_place,
                frame,
                boxes: maps.boxes.picture(i, level.priors())?,
                factor: match &maps.factor {
                    Some(factor) => Some(factor.picture(i, level.priors())?),
                    None => None,
                },
            };
            let (scores, grid) = maps.scores.picture(i, level.priors())?;
            let best = topk(scores, &grid, &select.filter(level.activation));
            crowd += best.len();
            check_crowd(crowd, most(select))?;
            candidates.extend(best.iter().filter_map(|c| boxes.found(c, select)));
            first_place += level.places();
        }
        found.push(suppress(&candidates, select));
    }
    Ok(found)
}

/// A level's maps in host memory.
struct LevelMaps {
    scores: HostMap,
    boxes: HostMap,
    factor: Option<HostMap>,
}

impl LevelMaps {
    async fn read(level: &Level) -> Result<Self, DetectError> {
        Ok(LevelMaps {
            scores: HostMap::read(&level.scores).await?,
            boxes: HostMap::read(&level.boxes).await?,
            factor: match &level.factor {
                Some(factor) => Some(HostMap::read(factor).await?),
                None => None,
            },
        })
    }
}

/// What makes boxes of one level's and picture's candidates.
struct LevelBoxes<'a> {
    level: &'a Level,
    number: u32,
    /// Places of the levels before.
    first_place: usize,
    frame: &'a Frame,
    boxes: (&'a [f32], Grid),
    factor: Option<(&'a [f32], Grid)>,
}

impl LevelBoxes<'_> {
    /// The candidate with its box, if that counts.
    fn found(&self, c: &Candidate, select: &Select) -> Option<Found> {
        let (boxes, grid) = self.boxes;
        let (prior, label) = (
            c.index as usize / select.classes,
            c.index as usize % select.classes,
        );
        let (cell, a) = (prior / grid.priors, prior % grid.priors);
        let (y, x) = (cell / grid.width, cell % grid.width);
        let score = match self.factor {
            Some((factors, grid)) => product(c.score, factors[grid.at(a, y, x)])?,
            None => c.score,
        };
        let each = self.level.boxes_each();
        let of_prior = a * each + if each > 1 { label } else { 0 };
        let four: [f32; 4] = std::array::from_fn(|i| boxes[grid.at(of_prior * 4 + i, y, x)]);
        let b = match &self.level.coder {
            Coder::Xyxy { clip: false, .. } => four,
            Coder::Xyxy { clip: true, .. } => clipped(four, self.frame.clip),
            Coder::Delta {
                coder,
                base_anchors,
                stride,
            } => {
                let stride = stride.map(|v| v as f32);
                let anchor = anchor(base_anchors[a], stride, y, x);
                coder.decode(anchor, four, self.frame.clip)
            }
        };
        let bbox: Xyxy = std::array::from_fn(|i| b[i] * self.frame.factors[i % 2]);
        is_valid(&bbox, select.min_bbox_size).then_some(Found {
            bbox,
            score,
            label: label as u32,
            group: match select.group {
                Group::Class => label as u32,
                Group::Level => self.number,
            },
            source: (self.first_place + prior) as u32,
        })
    }
}

/// Boxes that are kept of a picture.
fn most(select: &Select) -> usize {
    usize::try_from(select.max_per_img).unwrap_or(usize::MAX)
}

/// NMS and the limit on the number of detections.
pub(super) fn suppress(candidates: &[Found], select: &Select) -> Vec<Found> {
    let boxes: Vec<Xyxy> = candidates.iter().map(|c| c.bbox).collect();
    let scores: Vec<f32> = candidates.iter().map(|c| c.score).collect();
    let groups: Vec<u32> = candidates.iter().map(|c| c.group).collect();
    let kept = batched_nms(&boxes, &scores, &groups, &select.nms, most(select));
    let keep = wanted(kept.len(), select.max_per_img);
    let kept = kept.into_iter().take(keep);
    kept.map(|(i, score)| Found {
        score,
        ..candidates[i]
    })
    .collect()
}
