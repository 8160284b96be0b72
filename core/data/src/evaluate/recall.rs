//! Recall of proposals at fixed overlaps: `eval_recalls` of mmdet 3.3 (evaluation/functional/recall.py), in f32 as it computes.
//!
//! Objects and proposals are paired greedily, the largest overlap first. (MMDetection 3.3 itself fails here with numpy 1.24 or later unless every
//! picture has as many objects and proposals as the others; this is what it means.)

use crate::structures::Xyxy;

/// A picture: its objects and its proposals, in the order in which they count.
pub(super) type Picture = (Vec<Xyxy>, Vec<Xyxy>);

/// `[nums][thresholds]`; NaN where there is no object. `extra` is 1 where the last pixel counts (`use_legacy_coordinate`).
pub(super) fn recalls(
    pictures: &[Picture],
    nums: &[usize],
    thresholds: &[f64],
    extra: f32,
) -> Vec<Vec<f64>> {
    let most = nums.last().copied().unwrap_or(0);
    let all = super::parallel::each(pictures.len(), |i| {
        let (objects, proposals) = &pictures[i];
        let proposals = &proposals[..proposals.len().min(most)];
        let overlaps: Vec<Vec<f32>> = objects
            .iter()
            .map(|a| proposals.iter().map(|b| iou(a, b, extra)).collect())
            .collect();
        let best = |num: &usize| best_pairs(&overlaps, (*num).min(proposals.len()));
        nums.iter().map(best).collect::<Vec<_>>()
    });
    let total: usize = pictures.iter().map(|(objects, _)| objects.len()).sum();
    let found = |k: usize, threshold: f64| {
        let threshold = threshold as f32;
        let overlaps = all.iter().flat_map(|picture| &picture[k]);
        overlaps.filter(|iou| **iou >= threshold).count() as f64 / total as f64
    };
    let row = |k: usize| thresholds.iter().map(|t| found(k, *t)).collect();
    (0..nums.len()).map(row).collect()
}

/// The overlap with which each object is paired, by greed.
fn best_pairs(overlaps: &[Vec<f32>], proposals: usize) -> Vec<f32> {
    if proposals == 0 {
        return vec![0.0; overlaps.len()];
    }
    let mut left: Vec<Vec<f32>> = overlaps
        .iter()
        .map(|row| row[..proposals].to_vec())
        .collect();
    let mut out = Vec::with_capacity(left.len());
    for _ in 0..left.len() {
        let (mut best, mut at) = (f32::NEG_INFINITY, [0, 0]);
        for (i, row) in left.iter().enumerate() {
            for (j, iou) in row.iter().enumerate() {
                if *iou > best {
                    (best, at) = (*iou, [i, j]);
                }
            }
        }
        out.push(best);
        left[at[0]].fill(-1.0);
        left.iter_mut().for_each(|row| row[at[1]] = -1.0);
    }
    out
}

/// `bbox_overlaps`.
pub(super) fn iou(a: &Xyxy, b: &Xyxy, extra: f32) -> f32 {
    let area = |v: &Xyxy| (v[2] - v[0] + extra) * (v[3] - v[1] + extra);
    let side = |axis: usize| {
        let side = a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis]) + extra;
        side.max(0.0)
    };
    let both = side(0) * side(1);
    let union = area(a) + area(b) - both;
    both / union.max(1e-6)
}
