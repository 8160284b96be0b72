//! Means over what was counted, and pycocotools' `summarize`.

use std::collections::HashMap;

use super::coco_eval::{AREA_NAMES, Evaluated};
use super::matching::AREAS;

/// Of what a mean is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Average precision.
    Precision,
    /// Average recall.
    Recall,
}

impl Evaluated {
    /// Mean over `groups`, at one threshold or over all, for a range of sizes and a place in
    /// [`Protocol::max_dets`]. -1 where there is nothing: no such threshold or number, or no object.
    pub fn mean(
        &self,
        of: Of,
        threshold: Option<f64>,
        area: usize,
        max_dets: Option<usize>,
        groups: impl IntoIterator<Item = usize>,
    ) -> f64 {
        let Some(max_dets) = max_dets else {
            return -1.0;
        };
        let (mut sum, mut count) = (0.0, 0);
        for group in groups {
            let cells = &self.groups[group].cells;
            let cell = cells.get(area * self.protocol.max_dets.len() + max_dets);
            let Some(cell) = cell.and_then(Option::as_ref) else {
                continue;
            };
            let values = match of {
                Of::Precision => &cell.precision,
                Of::Recall => &cell.recall,
            };
            for (value, at) in values.iter().zip(&self.protocol.thresholds) {
                if threshold.is_none_or(|t| t == *at) {
                    (sum, count) = (sum + value, count + 1);
                }
            }
        }
        if count == 0 {
            -1.0
        } else {
            sum / f64::from(count)
        }
    }

    /// All groups.
    pub fn every(&self) -> std::ops::Range<usize> {
        0..self.groups.len()
    }

    /// Where a category is among the groups, by its index in [`Truth::categories`].
    pub fn places(&self) -> HashMap<usize, usize> {
        let categories = self.protocol.categories.iter();
        categories.enumerate().map(|(g, c)| (*c, g)).collect()
    }

    /// pycocotools' twelve `stats`: precision, then recall. `mAP` is that of 100 detections, the rest that of the third number.
    pub fn summary(&self) -> Vec<Line> {
        let nums = &self.protocol.max_dets;
        let third = nums.get(2).copied().unwrap_or(100);
        let num = |i: usize| nums.get(i).copied().unwrap_or(third);
        self.lines(100, third, &[num(0), num(1), third])
    }

    /// The same where `mAP` is that of the most detections too, and there are as many recalls as numbers: MMDetection's `COCOevalMP`.
    pub fn summary_of_each(&self) -> Vec<Line> {
        let nums = &self.protocol.max_dets;
        let last = nums.last().copied().unwrap_or(100);
        self.lines(last, last, nums)
    }

    fn lines(&self, whole: usize, rest: usize, recalls: &[usize]) -> Vec<Line> {
        let nums = &self.protocol.max_dets;
        let line = |of, threshold, area, max_dets| {
            let place = nums.iter().position(|n| *n == max_dets);
            Line {
                of,
                threshold,
                range: self.span(),
                area,
                max_dets,
                value: self.mean(of, threshold, area, place, self.every()),
            }
        };
        let (p, r) = (Of::Precision, Of::Recall);
        let mut lines = vec![
            line(p, None, 0, whole),
            line(p, Some(0.5), 0, rest),
            line(p, Some(0.75), 0, rest),
        ];
        lines.extend((1..AREAS).map(|area| line(p, None, area, rest)));
        lines.extend(recalls.iter().map(|num| line(r, None, 0, *num)));
        lines.extend((1..AREAS).map(|area| line(r, None, area, rest)));
        lines
    }

    fn span(&self) -> [f64; 2] {
        let all = &self.protocol.thresholds;
        [0, all.len() - 1].map(|i| all[i])
    }
}

/// A line of a summary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Precision or recall.
    pub of: Of,
    /// `None`: the mean over all.
    pub threshold: Option<f64>,
    /// First and last threshold.
    pub range: [f64; 2],
    /// Index in [`AREA_NAMES`].
    pub area: usize,
    /// Detections of a picture that count.
    pub max_dets: usize,
    /// -1 where there is nothing.
    pub value: f64,
}

/// As pycocotools prints it.
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (title, short) = match self.of {
            Of::Precision => ("Average Precision", "(AP)"),
            Of::Recall => ("Average Recall", "(AR)"),
        };
        let iou = match self.threshold {
            Some(t) => format!("{t:.2}"),
            None => format!("{:.2}:{:.2}", self.range[0], self.range[1]),
        };
        let (area, max_dets, value) = (AREA_NAMES[self.area], self.max_dets, self.value);
        write!(
            f,
            " {title:<18} {short} @[ IoU={iou:<9} | area={area:>6} | maxDets={max_dets:>3} ] = {value:0.3}"
        )
    }
}
