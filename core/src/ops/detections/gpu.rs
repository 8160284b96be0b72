//! The kernels of `shaders/wgsl/nms/` in a row: from logits and deltas to detections on the GPU.
//!
//! A level: (select, digit) x 7 find the best `nms_pre` scores, decode orders them and makes boxes of them.
//! Then order and nms work on the boxes of all levels. What is kept lies in one buffer, which is read back
//! at once or becomes tensors.
//!
//! Sizes that depend on the data stay on the device; buffers have room for the most there can be. What
//! does not fit is marked as overflow, and the caller does the batch on the CPU.
//!
//! All parameters are one upload: a record for the batch, one for each level, then the numbers of the
//! pictures and the base anchors. A launch binds its own record.

use bytemuck::{Zeroable, cast_slice};
use smalti_shaders::records::{
    BatchRecord, LevelRecord, MOST_LEVELS, RECORD_WORDS, Row, SCORES, SIGMOID, SOFTMAX, State,
};
use smalti_shaders::reference::nms::Method;
use smalti_shaders::{DECODE, DIGIT, NMS, ORDER, SELECT};

use super::cpu::suppress;
use super::{Activation, Coder, DetectError, Found, Frame, Group, Kept, Level, Select};
use crate::ops::launch::{Buffer, Gpu, MOST_WORKGROUPS, Strided};

/// Bins of a histogram.
const BINS: usize = 2048;
/// Digits of a key, and one launch that collects.
const ROUNDS: usize = 7;
/// Candidates a level, which decode.wgsl compares each with each.
const MOST_PER_LEVEL: usize = 8192;
/// Boxes a picture: nms.wgsl keeps one bit of each in workgroup memory.
const MOST_SLOTS: usize = 32_768;
/// Elements of a map, so that the kernels' 32-bit indices do not wrap.
const MOST_ELEMENTS: usize = 1 << 31;
/// Workgroups a picture that go over a level's logits.
const SELECT_GROUPS: usize = 256;
/// No bound in logits; below every number that counts.
const LOWEST: f32 = -3.4e38;

/// A level with the places that it has in the shared buffers.
struct Placed {
    scores: Strided<4>,
    boxes: Strided<4>,
    factor: Option<Strided<4>>,
    /// Boxes that it can give.
    slots: usize,
    /// More could be wanted than that.
    can_overflow: bool,
    /// Its first slot.
    first_slot: usize,
    /// Candidates that it can collect.
    capacity: usize,
    /// Its first candidate.
    first_candidate: usize,
    /// Where its base anchors are among the numbers.
    anchors: usize,
    /// Priors of the levels before.
    first_source: usize,
}

/// What the kernels keep, as words on the device.
pub(super) struct OnDevice {
    gpu: Gpu,
    kept: Buffer,
    parts: Parts,
    can_overflow: bool,
    /// Soft-NMS changes scores box by box: the CPU does it with the few boxes left.
    left_to_do: Option<Select>,
    /// With groups of levels: the first source of each.
    first_sources: Option<Vec<u32>>,
}

/// Where the parts of what is kept begin, in words; the counts are at 0.
#[derive(Clone, Copy)]
struct Parts {
    pictures: usize,
    most: usize,
    overflows: usize,
    boxes: usize,
    scores: usize,
    labels: usize,
    sources: usize,
    end: usize,
}

impl Parts {
    fn new(pictures: usize, most: usize) -> Self {
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

impl OnDevice {
    /// Whether nothing has to be read back: all is done, and nothing can have been too much.
    pub fn is_final(&self) -> bool {
        self.left_to_do.is_none() && !self.can_overflow
    }

    /// Whether something is left to the CPU.
    pub fn is_unfinished(&self) -> bool {
        self.left_to_do.is_some()
    }

    /// The boxes of each picture; `None` if there was no room for all.
    pub async fn read(&self) -> Result<Option<Vec<Vec<Found>>>, DetectError> {
        let Parts { pictures, most, .. } = self.parts;
        let words = self.gpu.read(&self.kept).await?;
        let overflows = &words[self.parts.overflows..][..pictures];
        if overflows.iter().any(|o| *o != 0) {
            return Ok(None);
        }
        let found = |i: usize| -> Vec<Found> {
            let rows = i * most..i * most + words[i] as usize;
            rows.map(|at| self.found(&words, at)).collect()
        };
        let found = (0..pictures).map(found);
        Ok(Some(match &self.left_to_do {
            Some(select) => found.map(|f| suppress(&f, select)).collect(),
            None => found.collect(),
        }))
    }

    fn found(&self, words: &[u32], at: usize) -> Found {
        let parts = &self.parts;
        let (label, source) = (words[parts.labels + at], words[parts.sources + at]);
        let corner = |i| f32::from_bits(words[parts.boxes + at * 4 + i]);
        Found {
            bbox: std::array::from_fn(corner),
            score: f32::from_bits(words[parts.scores + at]),
            label,
            group: match &self.first_sources {
                Some(firsts) => firsts.partition_point(|first| *first <= source) as u32 - 1,
                None => label,
            },
            source,
        }
    }

    /// The same as tensors, without a read-back.
    pub fn tensors(&self) -> Kept {
        let Parts { pictures, most, .. } = self.parts;
        let part = |start: usize, each: usize| self.kept.part(start, pictures * each);
        let ints = |start| self.gpu.int_tensor(part(start, most), [pictures, most]);
        let (boxes, scores) = (
            part(self.parts.boxes, most * 4),
            part(self.parts.scores, most),
        );
        Kept {
            boxes: self.gpu.tensor(boxes, [pictures, most, 4]),
            scores: self.gpu.tensor(scores, [pictures, most]),
            labels: ints(self.parts.labels),
            source: ints(self.parts.sources),
            counts: self.gpu.int_tensor(part(0, 1), [pictures]),
        }
    }
}

/// Queues all kernels; `None` if the GPU has no room for this batch. Something must be wanted of it.
pub(super) fn launch(
    gpu: &Gpu,
    levels: &[Level],
    frames: &[Frame],
    select: &Select,
) -> Result<Option<OnDevice>, DetectError> {
    let pictures = frames.len();
    let Some(plan) = plan(gpu, levels, pictures, select)? else {
        return Ok(None);
    };
    let slots = plan.iter().map(|l| l.slots).sum::<usize>();
    let soft = matches!(select.nms.method, Method::Soft(_));
    let most = if soft {
        slots
    } else {
        most_kept(select).min(slots)
    };
    let parts = Parts::new(pictures, most);

    let (words, numbers_at) = parameters(levels, &plan, frames, select, &parts);
    let parameters = gpu.upload(&words);
    let batch = parameters.part(0, RECORD_WORDS);
    let numbers = parameters.part(numbers_at, words.len() - numbers_at);
    let state = gpu.upload(&vec![0; plan.len() * pictures * State::WORDS]);
    let histogram = gpu.upload(&vec![0; pictures * BINS]);
    let candidates = plan.iter().map(|l| l.capacity * pictures).sum::<usize>();
    let candidates = gpu.empty(candidates * 2);
    let rows = gpu.empty(pictures * slots * Row::WORDS);
    let ordered = gpu.empty(pictures * slots * Row::WORDS);
    let no_factor = gpu.upload(&[0]);

    let y = pictures as u32;
    for (i, level) in plan.iter().enumerate().filter(|(_, l)| l.slots > 0) {
        let record = parameters.part((1 + i) * RECORD_WORDS, RECORD_WORDS);
        let items = level.scores.shape[1..].iter().product::<usize>();
        let groups = items.div_ceil(2048).clamp(1, SELECT_GROUPS) as u32;
        for _ in 0..ROUNDS {
            let buffers = [
                &level.scores.buffer,
                &record,
                &state,
                &histogram,
                &candidates,
            ];
            gpu.launch(&SELECT, [groups, y, 1], &buffers);
            gpu.launch(&DIGIT, [y, 1, 1], &[&record, &state, &histogram]);
        }
        let groups = level.capacity.max(level.slots).div_ceil(256) as u32;
        let buffers = [
            &level.boxes.buffer,
            &record,
            &numbers,
            &state,
            &candidates,
            &rows,
            level.factor.as_ref().map_or(&no_factor, |f| &f.buffer),
        ];
        gpu.launch(&DECODE, [groups, y, 1], &buffers);
    }
    let groups = slots.div_ceil(256) as u32;
    gpu.launch(&ORDER, [groups, y, 1], &[&rows, &batch, &state, &ordered]);
    let kept = gpu.empty(parts.end);
    gpu.launch(&NMS, [y, 1, 1], &[&ordered, &batch, &state, &kept]);
    let first_sources = || plan.iter().map(|l| l.first_source as u32).collect();
    Ok(Some(OnDevice {
        gpu: gpu.clone(),
        kept,
        parts,
        can_overflow: plan.iter().any(|l| l.can_overflow),
        left_to_do: soft.then(|| select.clone()),
        first_sources: (select.group == Group::Level).then(first_sources),
    }))
}

/// Most boxes of a picture that can be told without counting them first.
fn most_kept(select: &Select) -> usize {
    let max_num = match select.nms.method {
        Method::Hard => usize::try_from(select.nms.max_num).unwrap_or(0),
        _ => 0,
    };
    let most = usize::try_from(select.max_per_img).unwrap_or(usize::MAX);
    if max_num > 0 { most.min(max_num) } else { most }
}

/// Gives each level its places; `None` if something is too large for the kernels.
fn plan(
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
fn parameters(
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
    let softmax = level.activation == Activation::Softmax;
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
            Activation::Sigmoid => SIGMOID,
            Activation::Softmax => SOFTMAX,
            Activation::None => SCORES,
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
        ..LevelRecord::zeroed()
    };
    match &level.coder {
        Coder::Xyxy { clip } => LevelRecord {
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
