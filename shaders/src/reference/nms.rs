//! Non-maximum suppression: the twin of `nms/order.wgsl` and `nms/nms.wgsl`, and Soft-NMS.
//!
//! What MMCV's `batched_nms` does: boxes of different groups do not touch each other; groups are classes, or an
//! RPN's levels. MMCV moves the boxes of group g by g x (largest coordinate + 1) for that. The moved boxes are used
//! here too, since their rounding decides the closest cases, and the groups are compared besides.
//!
//! Soft-NMS: Bodla et al. 2017, arXiv:1704.04503.

use std::collections::HashMap;

use super::decode::Xyxy;

/// What an overlap above the threshold does to the lower box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Nothing: only order the boxes (`nms=None`).
    None,
    /// Remove it (`type='nms'`).
    Hard,
    /// Lower its score (`type='soft_nms'`).
    Soft(Soft),
}

/// Options of Soft-NMS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Soft {
    /// How the score falls with the overlap.
    pub decay: Decay,
    /// Width of the Gaussian.
    pub sigma: f32,
    /// Boxes whose score falls below this are removed.
    pub min_score: f32,
}

impl Default for Soft {
    fn default() -> Self {
        Soft {
            decay: Decay::Linear,
            sigma: 0.5,
            min_score: 1e-3,
        }
    }
}

/// `method` of Soft-NMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// To 0, at or above the threshold.
    Naive,
    /// By (1 - IoU), at or above the threshold.
    Linear,
    /// By exp(-IoU^2 / sigma), everywhere.
    Gaussian,
}

/// Keys of a `test_cfg.nms`, with MMCV's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct NmsConfig {
    /// What to do.
    pub method: Method,
    /// Boxes that overlap by more than this are too close.
    pub iou_threshold: f32,
    /// Let boxes of different groups remove each other.
    pub class_agnostic: bool,
    /// Only boxes above this take part, if it is above 0 (`type='nms'` only).
    pub score_threshold: f32,
    /// Most boxes kept, if above 0 (`type='nms'` only).
    pub max_num: i64,
    /// From this number of boxes on MMCV works group by group, even when class agnostic.
    pub split_thr: usize,
    /// Added to widths and heights. 0, unless a config of the days of "+1" says 1.
    pub offset: f32,
}

impl Default for NmsConfig {
    fn default() -> Self {
        NmsConfig {
            method: Method::Hard,
            iou_threshold: 0.5,
            class_agnostic: false,
            score_threshold: 0.0,
            max_num: -1,
            split_thr: 10_000,
            offset: 0.0,
        }
    }
}

/// Area of the overlap, and the sum of both areas less the overlap.
fn overlap(a: &Xyxy, b: &Xyxy, offset: f32) -> (f32, f32) {
    let area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset);
    let area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset);
    let w = (a[2].min(b[2]) - a[0].max(b[0]) + offset).max(0.0);
    let h = (a[3].min(b[3]) - a[1].max(b[1]) + offset).max(0.0);
    let both = w * h;
    (both, area_a + area_b - both)
}

/// Indices in descending order of score, equal ones in ascending order of index.
pub fn score_order(scores: &[f32]) -> Vec<usize> {
    // As whole numbers, which sort faster than indices that are looked up: the score's as `f32::total_cmp` has it, turned round, then the index.
    let key = |(i, score): (usize, &f32)| {
        let bits = score.to_bits() as i32;
        let ascending = bits ^ ((bits >> 31) as u32 >> 1) as i32;
        (u64::from(!ascending as u32 ^ 1 << 31) << 32) | i as u64
    };
    let mut keys: Vec<u64> = scores.iter().enumerate().map(key).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| key as u32 as usize).collect()
}

/// Indices of the boxes kept and their scores, best first.
///
/// `boxes` in pixels, `scores` not NaN, `groups` numbers of classes or levels, all of one length. At most `most` boxes.
///
/// # Panics
/// If the lengths differ.
pub fn batched_nms(
    boxes: &[Xyxy],
    scores: &[f32],
    groups: &[u32],
    config: &NmsConfig,
    most: usize,
) -> Vec<(usize, f32)> {
    assert!(
        boxes.len() == scores.len() && boxes.len() == groups.len(),
        "one score and one group a box"
    );
    let most = match (config.method, usize::try_from(config.max_num)) {
        (Method::Hard, Ok(max)) if max > 0 => most.min(max),
        _ => most,
    };
    let order = score_order(scores);
    if config.method == Method::None {
        return order
            .into_iter()
            .take(most)
            .map(|i| (i, scores[i]))
            .collect();
    }
    let moved = moved_apart(boxes, groups, config.class_agnostic);
    let compare = !config.class_agnostic || boxes.len() >= config.split_thr;
    let group = |i: usize| if compare { groups[i] } else { 0 };
    match config.method {
        Method::Soft(soft) => soft_nms(order, &moved, scores, group, config, soft, most),
        _ => hard_nms(&order, &moved, scores, group, config, most),
    }
}

/// Boxes of group g moved by g x (largest coordinate + 1).
fn moved_apart(boxes: &[Xyxy], groups: &[u32], class_agnostic: bool) -> Vec<Xyxy> {
    if class_agnostic {
        return boxes.to_vec();
    }
    let top = boxes.iter().flatten().fold(-3.0e38f32, |m, v| m.max(*v));
    let step = top + 1.0;
    boxes
        .iter()
        .zip(groups)
        .map(|(b, group)| b.map(|v| v + *group as f32 * step))
        .collect()
}

fn hard_nms(
    order: &[usize],
    boxes: &[Xyxy],
    scores: &[f32],
    group: impl Fn(usize) -> u32,
    config: &NmsConfig,
    most: usize,
) -> Vec<(usize, f32)> {
    // Of each group those that are not gone yet, best first: no other can be removed by one of them.
    let mut left: HashMap<u32, Vec<(usize, Xyxy)>> = HashMap::new();
    for &i in order {
        left.entry(group(i)).or_default().push((i, boxes[i]));
    }
    let mut removed = vec![false; boxes.len()];
    let mut kept = Vec::new();
    for &best in order {
        if removed[best] {
            continue;
        }
        let too_low = config.score_threshold > 0.0 && scores[best] <= config.score_threshold;
        if too_low || kept.len() >= most {
            break;
        }
        kept.push((best, scores[best]));
        let left = left.entry(group(best)).or_default();
        left.retain(|(other, bbox)| {
            let (both, either) = overlap(&boxes[best], bbox, config.offset);
            let close = both > config.iou_threshold * either;
            if close {
                removed[*other] = true;
            }
            *other != best && !close
        });
    }
    kept
}

fn soft_nms(
    mut left: Vec<usize>,
    boxes: &[Xyxy],
    scores: &[f32],
    group: impl Fn(usize) -> u32,
    config: &NmsConfig,
    soft: Soft,
    most: usize,
) -> Vec<(usize, f32)> {
    let mut scores = scores.to_vec();
    let mut kept = Vec::new();
    while !left.is_empty() && kept.len() < most {
        // the first of the highest
        let mut at = 0;
        for (i, &candidate) in left.iter().enumerate() {
            if scores[candidate] > scores[left[at]] {
                at = i;
            }
        }
        let best = left.remove(at);
        kept.push((best, scores[best]));
        left.retain(|&other| {
            if group(best) == group(other) {
                let (both, either) = overlap(&boxes[best], &boxes[other], config.offset);
                let iou = both / either;
                scores[other] *= match soft.decay {
                    Decay::Gaussian if iou.is_finite() => (-(iou * iou) / soft.sigma).exp(),
                    Decay::Linear if iou >= config.iou_threshold => 1.0 - iou,
                    Decay::Naive if iou >= config.iou_threshold => 0.0,
                    _ => 1.0,
                };
            }
            scores[other] >= soft.min_score
        });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(boxes: &[Xyxy], scores: &[f32], labels: &[u32], config: &NmsConfig) -> Vec<usize> {
        batched_nms(boxes, scores, labels, config, usize::MAX)
            .into_iter()
            .map(|(i, _)| i)
            .collect()
    }

    fn at(iou_threshold: f32) -> NmsConfig {
        NmsConfig {
            iou_threshold,
            ..NmsConfig::default()
        }
    }

    /// The numbers of MMCV's own test of `nms`.
    #[test]
    fn mmcv_numbers() {
        let boxes = [
            [6.0, 3.0, 8.0, 7.0],
            [3.0, 6.0, 9.0, 11.0],
            [3.0, 7.0, 10.0, 12.0],
            [1.0, 4.0, 13.0, 7.0],
        ];
        let scores = [0.6, 0.9, 0.7, 0.2];
        assert_eq!(kept(&boxes, &scores, &[0; 4], &at(0.3)), [1, 0, 3]);
    }

    /// The boxes of ONNX's NonMaxSuppression examples: three pairs, of which two overlap by 0.82.
    #[test]
    fn onnx_numbers() {
        let boxes = [
            [0.0, 0.0, 1.0, 1.0],
            [0.0, 0.1, 1.0, 1.1],
            [0.0, -0.1, 1.0, 0.9],
            [0.0, 10.0, 1.0, 11.0],
            [0.0, 10.1, 1.0, 11.1],
            [0.0, 100.0, 1.0, 101.0],
        ];
        let scores = [0.9, 0.75, 0.6, 0.95, 0.5, 0.3];
        assert_eq!(kept(&boxes, &scores, &[0; 6], &at(0.5)), [3, 0, 5]);
        let same = [[0.0, 0.0, 1.0, 1.0]; 10];
        assert_eq!(kept(&same, &[0.9; 10], &[0; 10], &at(0.5)), [0]);
        assert_eq!(kept(&[], &[], &[], &at(0.5)), [0usize; 0]);
    }

    #[test]
    fn an_overlap_of_exactly_the_threshold_stays() {
        // IoU 50 / 100
        let boxes = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0]];
        assert_eq!(kept(&boxes, &[0.9, 0.8], &[0; 2], &at(0.5)), [0, 1]);
        assert_eq!(kept(&boxes, &[0.9, 0.8], &[0; 2], &at(0.49999)), [0]);
    }

    #[test]
    fn no_plus_one() {
        // touching edges do not overlap; with the old offset IoU is 11 / (121 + 121 - 11)
        let boxes = [[0.0, 0.0, 10.0, 10.0], [10.0, 0.0, 20.0, 10.0]];
        let mut config = at(0.04);
        assert_eq!(kept(&boxes, &[0.9, 0.8], &[0; 2], &config), [0, 1]);
        config.offset = 1.0;
        assert_eq!(kept(&boxes, &[0.9, 0.8], &[0; 2], &config), [0]);
    }

    #[test]
    fn classes() {
        let boxes = [[-40.0, 0.0, 10.0, 10.0]; 3];
        let labels = [1, 0, 1];
        let mut config = at(0.5);
        assert_eq!(kept(&boxes, &[0.7, 0.8, 0.9], &labels, &config), [2, 1]);
        config.class_agnostic = true;
        assert_eq!(kept(&boxes, &[0.7, 0.8, 0.9], &labels, &config), [2]);
        config.split_thr = 3;
        assert_eq!(kept(&boxes, &[0.7, 0.8, 0.9], &labels, &config), [2, 1]);
    }

    #[test]
    fn limits() {
        let boxes: Vec<Xyxy> = (0..5)
            .map(|i| [i as f32 * 10.0, 0.0, i as f32 * 10.0 + 5.0, 5.0])
            .collect();
        let scores = [0.5, 0.4, 0.3, 0.2, 0.1];
        let mut config = at(0.5);
        assert_eq!(batched_nms(&boxes, &scores, &[0; 5], &config, 2).len(), 2);
        config.score_threshold = 0.3;
        assert_eq!(kept(&boxes, &scores, &[0; 5], &config), [0, 1]);
        config.score_threshold = 0.0;
        config.max_num = 3;
        assert_eq!(kept(&boxes, &scores, &[0; 5], &config), [0, 1, 2]);
        config.method = Method::None;
        assert_eq!(kept(&boxes, &scores, &[0; 5], &config), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn soft() {
        // IoU 0.5 between the first two
        let boxes = [
            [0.0, 0.0, 10.0, 10.0],
            [0.0, 0.0, 10.0, 5.0],
            [50.0, 50.0, 60.0, 60.0],
        ];
        let scores = [0.9, 0.8, 0.5];
        let run = |decay, min_score| {
            let config = NmsConfig {
                method: Method::Soft(Soft {
                    decay,
                    min_score,
                    ..Soft::default()
                }),
                iou_threshold: 0.3,
                ..NmsConfig::default()
            };
            batched_nms(&boxes, &scores, &[0; 3], &config, usize::MAX)
        };
        assert_eq!(run(Decay::Linear, 1e-3), [(0, 0.9), (2, 0.5), (1, 0.4)]);
        assert_eq!(run(Decay::Naive, 1e-3), [(0, 0.9), (2, 0.5)]);
        // 0.8 * exp(-0.25 / 0.5) falls below the third box
        let gaussian = run(Decay::Gaussian, 1e-3);
        assert_eq!([gaussian[0].0, gaussian[1].0, gaussian[2].0], [0, 2, 1]);
        assert!((gaussian[2].1 - 0.485_224_5).abs() < 1e-6);
        assert_eq!(run(Decay::Linear, 0.45).len(), 2);
    }

    /// Each box that no kept one before it is too close to, by comparing all with all.
    #[test]
    fn as_all_with_all() {
        let unit = |i: usize| (i as f32 * 12.9898).sin().abs();
        let boxes: Vec<Xyxy> = (0..400)
            .map(|i| {
                let (x, y) = (unit(i) * 100.0, unit(i + 7) * 60.0);
                // Some are empty, some there twice.
                [x, y, x + unit(i / 2) * 40.0, y + unit(i % 31) * 40.0]
            })
            .collect();
        let scores: Vec<f32> = (0..400).map(|i| unit(i / 3)).collect();
        let groups: Vec<u32> = (0..400).map(|i| i % 7 * 13).collect();
        for config in [
            at(0.5),
            NmsConfig {
                class_agnostic: true,
                offset: 1.0,
                ..at(0.3)
            },
        ] {
            let moved = moved_apart(&boxes, &groups, config.class_agnostic);
            let mut want: Vec<usize> = Vec::new();
            for i in score_order(&scores) {
                let clear = want.iter().all(|&k| {
                    let (both, either) = overlap(&moved[k], &moved[i], config.offset);
                    let same = config.class_agnostic || groups[k] == groups[i];
                    !same || both <= config.iou_threshold * either
                });
                if clear {
                    want.push(i);
                }
            }
            assert!((50..350).contains(&want.len()), "{}", want.len());
            assert_eq!(kept(&boxes, &scores, &groups, &config), want);
        }
    }

    #[test]
    fn equal_scores_stay_in_order() {
        let scores = [0.5, -1.0, 0.5, f32::INFINITY, 0.0, -0.0, -1.0];
        assert_eq!(score_order(&scores), [3, 0, 2, 4, 5, 1, 6]);
    }
}
