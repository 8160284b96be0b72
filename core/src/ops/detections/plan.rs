//! What the kernels are told: where each level has its places in the shared buffers, and the parameters.
//!
//! All parameters are one upload: a record for the batch, one for each level, then the numbers of the
//! pictures and the base anchors. A launch binds its own record.

use bytemuck::{Zeroable, cast_slice};
use smalti_shaders::records::{
    BatchRecord, LevelRecord, MOST_LEVELS, ORDER, RECORD_WORDS, SCORES, SIGMOID, SOFTMAX,
};
use smalti_shaders::reference::nms::Method;

use super::{Coder, DetectError, Frame, Group, Level, Scoring, Select};
use crate::ops::launch::{Gpu, MOST_WORKGROUPS, Strided};

/// Candidates a level, which decode.wgsl compares each with each.
const MOST_PER_LEVEL: usize = 8192;
/// Boxes a picture: nms.wgsl keeps one bit of each in workgroup memory.
const MOST_SLOTS: usize = 32_768;
/// Elements of a map, so that the kernels' 32-bit indices do not wrap.
const MOST_ELEMENTS: usize = 1 << 31;
/// No bound in logits; below every number that counts.
const LOWEST: f32 = -3.4e38;

/// A level with the places that it has in the shared buffers.
pub(super) struct Placed {
    pub scores: Strided<4>,
    pub boxes: Strided<4>,
    pub factor: Option<Strided<4>>,
    /// Boxes that it can give.
    pub slots: usize,
    /// More could be wanted than that.
    pub can_overflow: bool,
    /// Its first slot.
    pub first_slot: usize,
    /// Candidates that it can collect.
    pub capacity: usize,
    /// Its first candidate.
    pub first_candidate: usize,
    /// Where its base anchors are among the numbers.
    pub anchors: usize,
    /// Priors of the levels before.
    pub first_source: usize,
}

/// Where the parts of what is kept begin, in words; the counts are at 0.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub pictures: usize,
    pub most: usize,
    pub overflows: usize,
    pub boxes: usize,
    pub scores: usize,
    pub labels: usize,
    pub sources: usize,
    pub end: usize,
}

impl Parts {
    pub fn new(pictures: usize, most: usize) -> Self {
        let after = |start: usize, words: usize| (start + words).next_multiple_of(RECORD_WORDS);
        let overflows = after(0, pictures);
        let boxes = after(overflows, pictures);
        let scores = after(boxes, pictures * most * 4);
        let labels = after(scores, pictures * most);
        let sources = after(labels, pictures * most);
        Parts {
            pictures,
            most,
            overflows,
            boxes,
            scores,
            labels,
            sources,
            end: after(sources, pictures * most),
        }
    }
}

/// Gives each level its places; `None` if something is too large for the kernels.
pub(super) fn plan(
    gpu: &Gpu,
    levels: &[Level],
    pictures: usize,
    select: &Select,
) -> Result<Option<Vec<Placed>>, DetectError> {
    if levels.len() > MOST_LEVELS || pictures > MOST_WORKGROUPS as usize {
        return Ok(None);
    }
    let room = MOST_PER_LEVEL.min(MOST_SLOTS / levels.len().max(1));
    let mut plan: Vec<Placed> = Vec::with_capacity(levels.len());
    let (mut first_slot, mut first_candidate, mut first_source) = (0, 0, 0);
    let mut anchors = pictures * 4;
    for level in levels {
        let scores = gpu.strided(level.scores.clone())?;
        if scores.shape.iter().product::<usize>() >= MOST_ELEMENTS {
            return Ok(None);
        }
        let factor = match &level.factor {
            Some(factor) => Some(gpu.strided(factor.clone())?),
            None => None,
        };
        let wanted = level.wanted(select);
        let slots = wanted.min(room);
        let scores_each = scores.shape[1..].iter().product::<usize>();
        let capacity = scores_each.min((slots * 2).max(2048));
        plan.push(Placed {
            scores,
            boxes: gpu.strided(level.boxes.clone())?,
            factor,
            slots,
            can_overflow: wanted > room,
            first_slot,
            capacity,
            first_candidate,
            anchors,
            first_source,
        });
        first_slot += slots;
        first_candidate += capacity * pictures;
        first_source += level.places();
        anchors += match &level.coder {
            Coder::Delta { base_anchors, .. } => base_anchors.len() * 4,
            Coder::Xyxy { .. } => 0,
        };
    }
    Ok(Some(plan))
}

/// All parameters, and where the numbers begin.
pub(super) fn parameters(
    levels: &[Level],
    plan: &[Placed],
    frames: &[Frame],
    select: &Select,
    parts: &Parts,
) -> (Vec<u32>, usize) {
    let slots = plan.iter().map(|l| l.slots).sum::<usize>();
    let mut words = Vec::with_capacity((1 + plan.len()) * RECORD_WORDS);
    let batch = batch_record(plan, select, slots, parts);
    words.extend_from_slice(cast_slice(std::slice::from_ref(&batch)));
    for (i, (placed, level)) in plan.iter().zip(levels).enumerate() {
        words.resize((1 + i) * RECORD_WORDS, 0);
        let record = level_record(i, placed, level, frames.len(), select, slots);
        words.extend_from_slice(cast_slice(std::slice::from_ref(&record)));
    }
    words.resize((1 + plan.len()) * RECORD_WORDS, 0);
    let numbers_at = words.len();
    for frame in frames {
        let [height, width] = frame.clip;
        let [x, y] = frame.factors;
        words.extend([height, width, x, y].map(f32::to_bits));
    }
    for level in levels {
        if let Coder::Delta { base_anchors, .. } = &level.coder {
            words.extend(base_anchors.iter().flatten().map(|v| v.to_bits()));
        }
    }
    (words, numbers_at)
}

fn batch_record(plan: &[Placed], select: &Select, slots: usize, parts: &Parts) -> BatchRecord {
    let nms = &select.nms;
    let hard = nms.method == Method::Hard;
    let soft = matches!(nms.method, Method::Soft(_));
    let mut first_slots = [0; MOST_LEVELS];
    for (first, level) in first_slots.iter_mut().zip(plan) {
        *first = level.first_slot as u32;
    }
    BatchRecord {
        pictures: parts.pictures as u32,
        levels: plan.len() as u32,
        slots: slots as u32,
        most: parts.most as u32,
        sorted: u32::from(plan.iter().all(|l| l.factor.is_none())),
        suppress: u32::from(hard),
        iou_threshold: nms.iou_threshold,
        offset: nms.offset,
        score_threshold: nms.score_threshold,
        class_agnostic: u32::from(nms.class_agnostic),
        split_thr: u32::try_from(nms.split_thr).unwrap_or(u32::MAX),
        max_per_img: if soft {
            i32::MAX
        } else {
            saturated(select.max_per_img)
        },
        overflows_at: parts.overflows as u32,
        boxes_at: parts.boxes as u32,
        scores_at: parts.scores as u32,
        labels_at: parts.labels as u32,
        sources_at: parts.sources as u32,
        first_slots,
    }
}

fn saturated(end: i64) -> i32 {
    end.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

fn level_record(
    number: usize,
    placed: &Placed,
    level: &Level,
    pictures: usize,
    select: &Select,
    slots: usize,
) -> LevelRecord {
    let [_, _, h, w] = placed.scores.shape;
    let softmax = level.activation == Scoring::Softmax;
    let strides = |map: &Strided<4>| map.strides.map(|v| v as u32);
    let filter = select.filter(level.activation);
    let record = LevelRecord {
        score_strides: strides(&placed.scores),
        box_strides: strides(&placed.boxes),
        factor_strides: placed.factor.as_ref().map_or([0; 4], strides),
        height: h as u32,
        width: w as u32,
        priors: level.priors() as u32,
        channels: (select.classes + usize::from(softmax)) as u32,
        activation: match level.activation {
            Scoring::Sigmoid => SIGMOID,
            Scoring::Softmax => SOFTMAX,
            Scoring::None => SCORES,
            Scoring::Order => ORDER,
        },
        dense: dense(&placed.scores),
        score_thr: filter.score_thr,
        bound: filter.bound().clamp(LOWEST, f32::MAX),
        at_least: u32::from(filter.at_least),
        best_class: u32::from(filter.best_class),
        pictures: pictures as u32,
        first_state: (number * pictures) as u32,
        nms_pre: saturated(filter.nms_pre),
        capacity: placed.capacity as u32,
        first_candidate: placed.first_candidate as u32,
        slots: placed.slots as u32,
        first_slot: placed.first_slot as u32,
        all_slots: slots as u32,
        level: number as u32,
        by_level: u32::from(select.group == Group::Level),
        first_source: placed.first_source as u32,
        has_factor: u32::from(placed.factor.is_some()),
        min_bbox_size: select.min_bbox_size,
        boxes_each: level.boxes_each() as u32,
        ..LevelRecord::zeroed()
    };
    match &level.coder {
        Coder::Xyxy { clip, .. } => LevelRecord {
            decoded: 1,
            clip: u32::from(*clip),
            ..record
        },
        Coder::Delta { coder, stride, .. } => LevelRecord {
            means: coder.means,
            stds: coder.stds,
            stride: stride.map(|v| v as f32),
            anchors: placed.anchors as u32,
            clip: u32::from(coder.clip_border),
            add_ctr_clamp: u32::from(coder.add_ctr_clamp),
            ctr_clamp: coder.ctr_clamp,
            max_ratio: coder.max_ratio(),
            extra: coder.extra(),
            ..record
        },
    }
}

/// How a picture's logits lie: 1 dense with channels first, 2 dense with channels last, 0 otherwise.
fn dense(logits: &Strided<4>) -> u32 {
    let [_, c, h, w] = logits.shape;
    let [_, sc, sh, sw] = logits.strides;
    match (sc, sh, sw) {
        last if last == (1, w * c, c) => 2,
        first if first == (h * w, w, 1) => 1,
        _ => 0,
    }
}
