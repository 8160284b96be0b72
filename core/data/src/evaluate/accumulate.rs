//! Precision and recall of one category from the fates of its detections: pycocotools' `accumulate`.
//!
//! Precision is wanted at 101 recalls only, and recall rises at hits only, so a curve is its hits.

use super::coco_eval::{Cell, Counted, Curve, Group, Protocol, RECALLS, recall_at};
use super::matching::AREAS;

/// All of one category, pictures in order.
pub(super) fn accumulate(
    counted: &[Counted],
    objects: [usize; AREAS],
    protocol: &Protocol,
) -> Group {
    let mut order: Vec<u32> = (0..counted.len() as u32).collect();
    order.sort_by(|a, b| {
        let [a, b] = [a, b].map(|i| counted[*i as usize].score);
        b.partial_cmp(&a).unwrap_or(a.is_nan().cmp(&b.is_nan()))
    });
    let mut group = Group {
        objects,
        detections: counted.len(),
        curves: vec![Vec::new(); AREAS],
        ..Group::default()
    };
    let last = protocol.max_dets.len().saturating_sub(1);
    for (area, objects) in objects.into_iter().enumerate() {
        for (m, most) in protocol.max_dets.iter().enumerate() {
            if objects == 0 {
                group.cells.push(None);
                continue;
            }
            let curves = protocol.curves && m == last;
            let sorted = order.iter().map(|i| &counted[*i as usize]);
            let sorted = sorted.filter(|c| (c.place as usize) < *most);
            let (cell, kept) = cell(sorted, area, objects, protocol.thresholds.len(), curves);
            group.cells.push(Some(cell));
            if curves {
                group.curves[area] = kept;
            }
        }
    }
    group
}

/// The hits of one threshold, so far.
#[derive(Clone, Default)]
struct Hits {
    hits: u32,
    misses: u32,
    /// Of each hit.
    precision: Vec<f64>,
    /// Of each hit, if curves are wanted.
    score: Vec<f64>,
}

fn cell<'a>(
    sorted: impl Iterator<Item = &'a Counted>,
    area: usize,
    objects: usize,
    thresholds: usize,
    curves: bool,
) -> (Cell, Vec<Curve>) {
    let mut all = vec![Hits::default(); thresholds];
    let mut first = None;
    for counted in sorted {
        first = first.or(Some(counted.score));
        let (hit, ignored) = (counted.fate.hit[area], counted.fate.ignored[area]);
        for (t, hits) in all.iter_mut().enumerate() {
            if ignored >> t & 1 == 1 {
                continue;
            }
            if hit >> t & 1 == 1 {
                hits.hits += 1;
                let (tp, fp) = (f64::from(hits.hits), f64::from(hits.misses));
                hits.precision.push(tp / (fp + tp + f64::EPSILON));
                if curves {
                    hits.score.push(counted.score);
                }
            } else {
                hits.misses += 1;
            }
        }
    }
    let (mut cell, mut kept) = (Cell::default(), Vec::new());
    for mut hits in all {
        let precision = &mut hits.precision;
        for i in (1..precision.len()).rev() {
            precision[i - 1] = precision[i - 1].max(precision[i]);
        }
        let mut curve = Curve::default();
        let (mut sum, mut at) = (0.0, 0);
        for r in 0..RECALLS {
            let wanted = recall_at(r);
            // recall after hit number `at`, counted from 0
            while at < precision.len() && ((at + 1) as f64 / objects as f64) < wanted {
                at += 1;
            }
            let value = precision.get(at).copied().unwrap_or(0.0);
            sum += value;
            if curves {
                curve.precision.push(value);
                let score = match r {
                    0 => first,
                    _ => hits.score.get(at).copied(),
                };
                curve.score.push(score.unwrap_or(0.0));
            }
        }
        cell.precision.push(sum / RECALLS as f64);
        cell.recall.push(f64::from(hits.hits) / objects as f64);
        if curves {
            kept.push(curve);
        }
    }
    (cell, kept)
}
