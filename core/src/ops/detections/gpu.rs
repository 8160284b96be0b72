//! The kernels of `shaders/wgsl/nms/` in a row: from logits and deltas to detections on the GPU.
//!
//! A level: (select, digit) x 7 find the best `nms_pre` scores, decode orders them and makes boxes of them.
//! Then order and nms work on the boxes of all levels. One read-back of the boxes kept.
//!
//! Sizes that depend on the data stay on the device; buffers have room for the most there can be. What
//! does not fit is marked as overflow, and the caller does the batch on the CPU.
//!
//! All parameters are one upload: a record of 64 words for the batch, one for each level, then the numbers
//! of the pictures and the base anchors. A launch binds its own record.

use smalti_shaders::reference::nms::Method;
use smalti_shaders::reference::topk::logit_bound;
use smalti_shaders::{DECODE, DIGIT, NMS, ORDER, SELECT};

use super::cpu::suppress;
use super::{
    Activation, Coder, DeltaCoder, DetectError, Found, Frame, Group, Labels, Level, Select, cut,
    instances, most_detections,
};
use crate::ops::launch::{Buffer, Gpu, MOST_WORKGROUPS, Strided};
use crate::structures::{Instances, Xyxy};

/// Words of a record; a binding begins at a multiple of 256 bytes.
const RECORD: usize = 64;
/// Words of state a level and picture.
const STATE: usize = 12;
/// Bins of a histogram.
const BINS: usize = 2048;
/// Digits of a key, and one launch that collects.
const ROUNDS: usize = 7;
/// Candidates a level, which decode.wgsl compares each with each.
const MOST_PER_LEVEL: usize = 8192;
/// Boxes a picture: nms.wgsl keeps one bit of each in workgroup memory.
const MOST_SLOTS: usize = 32_768;
/// The batch's record has room for this many levels.
const MOST_LEVELS: usize = RECORD - 16;
/// Elements of a map, so that the kernels' 32-bit indices do not wrap.
const MOST_ELEMENTS: usize = 1 << 31;
/// Label of a box that does not count.
const INVALID: u32 = u32::MAX;
/// Workgroups a picture that go over a level's logits.
const SELECT_GROUPS: usize = 256;

/// A level with the places that it has in the shared buffers.
struct Placed {
    logits: Strided<4>,
    deltas: Strided<4>,
    /// Boxes that it can give.
    slots: usize,
    /// Its first slot.
    first_slot: usize,
    /// Candidates that it can collect.
    capacity: usize,
    /// Its first candidate.
    first_candidate: usize,
    /// Where its base anchors are among the numbers.
    anchors: usize,
}

/// The detections; `None` if the GPU has no room for this batch.
pub(super) async fn detect(
    gpu: &Gpu,
    levels: &[Level],
    frames: &[Frame],
    select: &Select,
) -> Result<Option<Vec<Instances>>, DetectError> {
    let plain =
        |level: &Level| matches!(level.coder, Coder::Delta { .. }) && level.factor.is_none();
    if !levels.iter().all(plain)
        || select.at_least
        || select.labels != Labels::Every
        || select.group != Group::Class
    {
        return Ok(None);
    }
    let pictures = frames.len();
    let most = most_detections(select);
    if pictures == 0 || most == 0 || select.nms_pre == 0 {
        return Ok(Some(vec![Instances::default(); pictures]));
    }
    let Some(plan) = plan(gpu, levels, pictures, select)? else {
        return Ok(None);
    };
    let slots = plan.iter().map(|l| l.slots).sum::<usize>();
    if slots == 0 {
        return Ok(Some(vec![Instances::default(); pictures]));
    }
    let most = most.min(slots);

    let (words, numbers_at) = parameters(levels, &plan, frames, select, slots, most);
    let parameters = gpu.upload(&words);
    let batch = parameters.part(0, RECORD);
    let numbers = parameters.part(numbers_at, words.len() - numbers_at);
    let state = gpu.upload(&vec![0; plan.len() * pictures * STATE]);
    let histogram = gpu.upload(&vec![0; pictures * BINS]);
    let candidates = plan.iter().map(|l| l.capacity * pictures).sum::<usize>();
    let candidates = gpu.empty(candidates * 2);
    let boxes = gpu.empty(pictures * slots * 8);
    let ordered = gpu.empty(pictures * (8 + slots * 8));

    let y = pictures as u32;
    for (i, level) in plan.iter().enumerate() {
        if level.slots == 0 {
            continue;
        }
        let record = parameters.part((1 + i) * RECORD, RECORD);
        let items = level.logits.shape[1..].iter().product::<usize>();
        let groups = items.div_ceil(2048).clamp(1, SELECT_GROUPS) as u32;
        for _ in 0..ROUNDS {
            let buffers = [
                &level.logits.buffer,
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
            &level.deltas.buffer,
            &record,
            &numbers,
            &state,
            &candidates,
            &boxes,
        ];
        gpu.launch(&DECODE, [groups, y, 1], &buffers);
    }
    let groups = slots.div_ceil(256) as u32;
    gpu.launch(&ORDER, [groups, y, 1], &[&boxes, &batch, &state, &ordered]);

    if select.nms.method != Method::Hard {
        // Soft-NMS changes scores box by box: the CPU does it with the few boxes left
        let Some(candidates) = rows(&gpu.read(&ordered).await?, pictures, slots) else {
            return Ok(None);
        };
        let suppressed = candidates.iter().map(|c| {
            let found = (0..c.len()).map(|i| Found {
                bbox: c.boxes[i],
                score: c.scores[i],
                label: c.labels[i] as u32,
                group: c.labels[i] as u32,
                source: 0,
            });
            instances(&suppress(&found.collect::<Vec<_>>(), select))
        });
        return Ok(Some(suppressed.collect()));
    }
    let kept: Buffer = gpu.empty(pictures * (8 + most * 8));
    gpu.launch(&NMS, [y, 1, 1], &[&ordered, &batch, &kept]);
    let mut found = rows(&gpu.read(&kept).await?, pictures, most);
    for detections in found.iter_mut().flatten() {
        cut(detections, select.max_per_img);
    }
    Ok(found)
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
    let wanted = usize::try_from(select.nms_pre).unwrap_or(usize::MAX);
    let mut plan: Vec<Placed> = Vec::with_capacity(levels.len());
    let (mut first_slot, mut first_candidate, mut anchors) = (0, 0, pictures * 4);
    for level in levels {
        let logits = gpu.strided(level.scores.clone())?;
        let deltas = gpu.strided(level.boxes.clone())?;
        if logits.shape.iter().product::<usize>() >= MOST_ELEMENTS {
            return Ok(None);
        }
        let [_, _, h, w] = logits.shape;
        let scores = h * w * level.priors() * select.classes;
        let slots = wanted.min(scores).min(room);
        let capacity = scores.min((slots * 2).max(2048));
        plan.push(Placed {
            logits,
            deltas,
            slots,
            first_slot,
            capacity,
            first_candidate,
            anchors,
        });
        first_slot += slots;
        first_candidate += capacity * pictures;
        anchors += level.priors() * 4;
    }
    Ok(Some(plan))
}

/// All parameters, and where the numbers begin.
fn parameters(
    levels: &[Level],
    plan: &[Placed],
    frames: &[Frame],
    select: &Select,
    slots: usize,
    most: usize,
) -> (Vec<u32>, usize) {
    let mut words = vec![0u32; (1 + plan.len()) * RECORD];
    let numbers_at = words.len();
    batch_record(
        &mut words[..RECORD],
        plan,
        frames.len(),
        select,
        slots,
        most,
    );
    let records = words[RECORD..].chunks_exact_mut(RECORD);
    for (i, (record, level)) in records.zip(plan).enumerate() {
        level_record(record, i, level, &levels[i], frames.len(), select, slots);
    }
    for frame in frames {
        let [height, width] = frame.clip;
        let [x, y] = frame.factors;
        words.extend([height, width, x, y].map(f32::to_bits));
    }
    for level in levels {
        let (_, base_anchors, _) = anchors(level);
        words.extend(base_anchors.iter().flatten().map(|v| v.to_bits()));
    }
    (words, numbers_at)
}

/// The record that order.wgsl and nms.wgsl read as `batch`.
fn batch_record(
    record: &mut [u32],
    plan: &[Placed],
    pictures: usize,
    select: &Select,
    slots: usize,
    most: usize,
) {
    let nms = &select.nms;
    record[..9].copy_from_slice(&[
        pictures as u32,
        plan.len() as u32,
        slots as u32,
        most as u32,
        nms.iou_threshold.to_bits(),
        nms.offset.to_bits(),
        nms.score_threshold.to_bits(),
        u32::from(nms.class_agnostic),
        u32::try_from(nms.split_thr).unwrap_or(u32::MAX),
    ]);
    for (word, level) in record[16..].iter_mut().zip(plan) {
        *word = level.first_slot as u32;
    }
}

/// The record that select.wgsl, digit.wgsl and decode.wgsl read as `level`.
fn level_record(
    record: &mut [u32],
    i: usize,
    level: &Placed,
    output: &Level,
    pictures: usize,
    select: &Select,
    slots: usize,
) {
    let [_, _, h, w] = level.logits.shape;
    let softmax = output.activation == Activation::Softmax;
    let channels = select.classes + usize::from(softmax);
    let bound = if softmax {
        f32::MIN
    } else {
        logit_bound(select.score_thr).clamp(f32::MIN, f32::MAX)
    };
    let nms_pre = select.nms_pre.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let [sn, sc, sh, sw] = level.logits.strides.map(|v| v as u32);
    let [dn, dc, dh, dw] = level.deltas.strides.map(|v| v as u32);
    let (coder, _, stride) = anchors(output);
    record[..26].copy_from_slice(&[
        h as u32,
        w as u32,
        output.priors() as u32,
        channels as u32,
        u32::from(softmax),
        sn,
        sc,
        sh,
        sw,
        select.score_thr.to_bits(),
        bound.to_bits(),
        (i * pictures * STATE) as u32,
        0,
        level.first_candidate as u32,
        level.capacity as u32,
        nms_pre as u32,
        level.slots as u32,
        level.first_slot as u32,
        slots as u32,
        dn,
        dc,
        dh,
        dw,
        level.anchors as u32,
        (stride[0] as f32).to_bits(),
        (stride[1] as f32).to_bits(),
    ]);
    for k in 0..4 {
        record[26 + k] = coder.means[k].to_bits();
        record[30 + k] = coder.stds[k].to_bits();
    }
    record[34] = coder.max_ratio().to_bits();
    record[35] = u32::from(coder.clip_border);
    record[36] = u32::from(coder.add_ctr_clamp);
    record[37] = coder.ctr_clamp.to_bits();
    record[38] = select.min_bbox_size.to_bits();
    record[39] = pictures as u32;
    record[40] = layout(&level.logits);
}

/// How a picture's logits lie: 1 dense with channels first, 2 dense with channels last, 0 otherwise.
fn layout(logits: &Strided<4>) -> u32 {
    let [_, c, h, w] = logits.shape;
    let [_, sc, sh, sw] = logits.strides;
    match (sc, sh, sw) {
        last if last == (1, w * c, c) => 2,
        first if first == (h * w, w, 1) => 1,
        _ => 0,
    }
}

/// The rows of each picture behind its header; `None` if one has the mark of an overflow.
fn rows(words: &[u32], pictures: usize, most: usize) -> Option<Vec<Instances>> {
    let mut found = Vec::with_capacity(pictures);
    for part in words.chunks_exact(8 + most * 8).take(pictures) {
        if part[1] != 0 {
            return None;
        }
        let mut detections = Instances::default();
        let filled = part[8..].chunks_exact(8).take(part[0] as usize);
        for row in filled.filter(|row| row[5] != INVALID) {
            let b = std::array::from_fn(|i| f32::from_bits(row[i]));
            detections.push(b, f32::from_bits(row[4]), row[5] as usize);
        }
        found.push(detections);
    }
    Some(found)
}

fn anchors(level: &Level) -> (&DeltaCoder, &[Xyxy], [usize; 2]) {
    match &level.coder {
        Coder::Delta {
            coder,
            base_anchors,
            stride,
        } => (coder, base_anchors, *stride),
        Coder::Xyxy { .. } => unreachable!("only levels of deltas come here"),
    }
}
