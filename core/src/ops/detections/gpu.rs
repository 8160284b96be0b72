//! The kernels of `shaders/wgsl/nms/` in a row: from logits and deltas to detections on the GPU.
//!
//! A level: (select, digit) x 7 find the best `nms_pre` scores, decode orders them and makes boxes of them.
//! Then order and nms work on the boxes of all levels. What is kept lies in one buffer, which is read back
//! at once or becomes tensors.
//!
//! Sizes that depend on the data stay on the device; buffers have room for the most there can be. What
//! does not fit is marked as overflow, and the caller does the batch on the CPU.

use smalti_shaders::records::{RECORD_WORDS, Row, State};
use smalti_shaders::reference::nms::Method;
use smalti_shaders::{DECODE, DIGIT, NMS, ORDER, SELECT};

use super::cpu::suppress;
use super::plan::{Parts, parameters, plan};
use super::{DetectError, Found, Frame, Group, Kept, Level, Select};
use crate::ops::launch::{Buffer, Gpu};

/// Bins of a histogram.
const BINS: usize = 2048;
/// Digits of a key, and one launch that collects.
const ROUNDS: usize = 7;
/// Workgroups a picture that go over a level's logits.
const SELECT_GROUPS: usize = 256;

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
