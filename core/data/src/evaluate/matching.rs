//! Which detections of one picture and category find an object: pycocotools' `evaluateImg`, which lvis-api has too.
//!
//! Detections choose, best first: the free object that they overlap most, and only if there is none one that does not count (a crowd, or of
//! another size); of equal overlaps the later object. It is done for every threshold and every range of sizes; of most detections it is enough to
//! know that they overlap nothing, so only overlaps above the lowest threshold are looked at again.

use crate::structures::masks::Runs;

/// How many ranges of sizes there are: all, small, medium, large.
pub const AREAS: usize = 4;

/// An object of the picture.
pub(super) struct Gt {
    /// x, y, width, height.
    pub bbox: [f64; 4],
    pub area: f64,
    /// Any number of detections may lie in it.
    pub crowd: bool,
    pub ignore: bool,
    /// What finds it counts as finding nothing.
    pub zero: bool,
    pub runs: Option<Runs>,
}

/// A detection.
pub(super) struct Dt<'a> {
    pub bbox: [f64; 4],
    pub area: f64,
    pub runs: Option<&'a Runs>,
}

/// What is compared with what.
pub(super) struct Rules<'a> {
    /// At most 32.
    pub thresholds: &'a [f64],
    /// Least and most, px²; both count.
    pub areas: &'a [[f64; 2]; AREAS],
    /// Detections that find nothing do not count.
    pub forgiving: bool,
}

/// A detection's fate: a bit for each threshold, for each range of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// It found an object.
    pub hit: [u32; AREAS],
    /// It does not count.
    pub ignored: [u32; AREAS],
}

impl Rules<'_> {
    /// Whether an area is outside of a range.
    fn outside(&self, range: usize, area: f64) -> bool {
        let [least, most] = self.areas[range];
        area < least || area > most
    }

    /// Whether an object counts where only a range of sizes does.
    pub fn counts(&self, range: usize, gt: &Gt) -> bool {
        !gt.ignore && !self.outside(range, gt.area)
    }

    /// The fates of detections, which come best first.
    pub fn judge(&self, gts: &[Gt], dts: &[Dt<'_>]) -> Vec<Fate> {
        // An overlap of less is below every threshold.
        let thresholds = self.thresholds.iter().map(|t| t.min(1.0 - 1e-10));
        let lowest = thresholds.clone().fold(f64::INFINITY, f64::min);
        let bounds: Vec<_> = gts.iter().map(|gt| bounds(gt.runs.as_ref())).collect();
        let mut starts = vec![0];
        let mut near: Vec<(usize, f64)> = Vec::new();
        for dt in dts {
            let frame = bounds_of(dt);
            for (i, gt) in gts.iter().enumerate() {
                let iou = match (&gt.runs, dt.runs) {
                    (Some(_), Some(_)) if !meet(bounds[i], frame) => 0.0,
                    (Some(a), Some(b)) => iou_of_runs(b, a, gt.crowd),
                    _ => iou_of_boxes(dt.bbox, gt.bbox, gt.crowd),
                };
                if iou >= lowest {
                    near.push((i, iou));
                }
            }
            starts.push(near.len());
        }
        let every = u32::MAX >> (32 - self.thresholds.len().clamp(1, 32));
        let mut fates = vec![Fate::default(); dts.len()];
        let mut taken = vec![0_u32; gts.len()];
        for range in 0..AREAS {
            taken.fill(0);
            for ((i, dt), fate) in dts.iter().enumerate().zip(&mut fates) {
                let near = &near[starts[i]..starts[i + 1]];
                let (mut hit, mut ignored) = (0, 0);
                for (t, threshold) in thresholds.clone().enumerate().filter(|_| !near.is_empty()) {
                    let best = |counts: bool| {
                        let (mut least, mut found) = (threshold, None);
                        for (i, iou) in near {
                            let gt = &gts[*i];
                            let free = taken[*i] >> t & 1 == 0 || gt.crowd;
                            if free && self.counts(range, gt) == counts && *iou >= least {
                                (least, found) = (*iou, Some(*i));
                            }
                        }
                        found
                    };
                    if let Some(found) = best(true) {
                        taken[found] |= 1 << t;
                        hit |= u32::from(!gts[found].zero) << t;
                    } else if let Some(found) = best(false) {
                        taken[found] |= 1 << t;
                        ignored |= 1 << t;
                        hit |= u32::from(!gts[found].zero) << t;
                    }
                }
                if self.forgiving || self.outside(range, dt.area) {
                    ignored |= every & !hit;
                }
                (fate.hit[range], fate.ignored[range]) = (hit, ignored);
            }
        }
        fates
    }
}

fn bounds(runs: Option<&Runs>) -> Option<[usize; 4]> {
    runs.and_then(Runs::bounds)
}

fn bounds_of(dt: &Dt<'_>) -> Option<[usize; 4]> {
    bounds(dt.runs)
}

fn meet(a: Option<[usize; 4]>, b: Option<[usize; 4]>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Overlap over union of two boxes (x, y, width, height); of a crowd, over the detection's area alone.
pub(super) fn iou_of_boxes(dt: [f64; 4], gt: [f64; 4], crowd: bool) -> f64 {
    let side = |axis: usize| {
        let end = (dt[axis + 2] + dt[axis]).min(gt[axis + 2] + gt[axis]);
        end - dt[axis].max(gt[axis])
    };
    let (w, h) = (side(0), side(1));
    if w <= 0.0 || h <= 0.0 {
        return 0.0;
    }
    let (both, area) = (w * h, dt[2] * dt[3]);
    let union = if crowd {
        area
    } else {
        area + gt[2] * gt[3] - both
    };
    both / union
}

/// The same of two masks.
pub(super) fn iou_of_runs(dt: &Runs, gt: &Runs, crowd: bool) -> f64 {
    let both = dt.overlap(gt);
    if both == 0 {
        return 0.0;
    }
    let union = if crowd {
        dt.area()
    } else {
        dt.area() + gt.area() - both
    };
    both as f64 / union as f64
}
