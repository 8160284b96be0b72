//! Score filter and top-k of one feature level: the twin of `nms/select.wgsl` and `nms/digit.wgsl`.
//!
//! What MMDetection's `filter_scores_and_topk` does: scores strictly above a threshold, the best
//! `nms_pre` of them. Equal scores are taken in ascending order of index (MMDetection leaves that open).
//! Two things are otherwise in some heads (YOLOX's): scores may equal the threshold, and only the best class of
//! a place counts.
//!
//! The scan compares logits: the threshold is turned into a bound in logits that lies a little below it,
//! and only what passes the bound is turned into a score. The bound rises as better candidates are found.
//!
//! Shapes: A priors a cell, C channels a prior (classes, and one for the background with softmax), H x W cells.

use std::cmp::Ordering;

/// How logits become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// One independent score a class.
    Sigmoid,
    /// Over the channels of a prior; the last one is the background and gives no score.
    Softmax,
    /// They are scores already, 0 to 1; what lies outside is taken for the nearer end.
    None,
    /// Only their order counts: a score is the place of a logit among all that there are, four at a time (0 to 1.75). A sigmoid would make logits
    /// equal that are not, and one of a device may change their order.
    Order,
}

impl Scoring {
    /// The score of a logit that does not need its neighbours.
    fn score(self, x: f32) -> f32 {
        match self {
            // abs: -0 is 0, so that the order of the bits is that of the scores
            Scoring::None => x.clamp(0.0, 1.0).abs(),
            Scoring::Order => place(x),
            _ => sigmoid(x),
        }
    }

    /// A logit below which no score is as high as `score`.
    fn bound(self, score: f32) -> f32 {
        match self {
            Scoring::None if score > 0.0 => score,
            Scoring::None => f32::NEG_INFINITY,
            Scoring::Order => first_of_place(score),
            _ => logit_bound(score),
        }
    }
}

/// Which scores of a level are candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    /// Classes without the background.
    pub classes: usize,
    /// How logits become scores.
    pub activation: Scoring,
    /// Scores must be above this.
    pub score_thr: f32,
    /// ... or equal to it.
    pub at_least: bool,
    /// Only the class with the highest score of each prior counts, the first of equal ones.
    pub best_class: bool,
    /// Most candidates, as the end of a Python slice.
    pub nms_pre: i64,
}

impl Filter {
    /// Scores of this activation above 0, all of them.
    pub fn new(classes: usize, activation: Scoring) -> Self {
        Filter {
            classes,
            activation,
            score_thr: 0.0,
            at_least: false,
            best_class: false,
            nms_pre: i64::MAX,
        }
    }

    /// A logit below which no score passes; not for softmax.
    pub fn bound(&self) -> f32 {
        self.activation.bound(self.score_thr)
    }

    fn passes(&self, score: f32) -> bool {
        score > self.score_thr || (self.at_least && score == self.score_thr)
    }
}

/// Where a picture's values lie in a slice: (A * C) x H x W with any strides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Priors a cell (A).
    pub priors: usize,
    /// Rows of cells (H).
    pub height: usize,
    /// Cells a row (W).
    pub width: usize,
    /// Distance in elements between channels, rows and columns.
    pub strides: [usize; 3],
}

impl Grid {
    /// A contiguous channels-first map.
    pub fn contiguous(priors: usize, height: usize, width: usize) -> Self {
        Grid {
            priors,
            height,
            width,
            strides: [height * width, width, 1],
        }
    }

    /// Position of a channel's value at row `y`, column `x`.
    pub fn at(&self, channel: usize, y: usize, x: usize) -> usize {
        channel * self.strides[0] + y * self.strides[1] + x * self.strides[2]
    }
}

/// One score that passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Score, 0 to 1 (or a place in an order).
    pub score: f32,
    /// `prior * classes + class`, where `prior = (y * W + x) * A + a`.
    pub index: u32,
}

/// Descending score, then ascending index: a total order, as no score is NaN.
pub fn by_score(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.index.cmp(&b.index))
}

/// The place of a logit in the order of all, as a float from 0 to 1.75: what the bits of a number are without the last two, from the lowest on.
pub fn place(x: f32) -> f32 {
    let bits = x.to_bits();
    let ordered = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    f32::from_bits(ordered >> 2)
}

/// The lowest logit of a place, or one below all.
fn first_of_place(place: f32) -> f32 {
    if place <= 0.0 {
        return f32::NEG_INFINITY;
    }
    let ordered = place.to_bits() << 2;
    let bits = if ordered >> 31 == 1 {
        ordered & !(1 << 31)
    } else {
        !ordered
    };
    f32::from_bits(bits)
}

/// The logistic function in f32.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// A logit below which no sigmoid, however rounded, is above `score`.
pub fn logit_bound(score: f32) -> f32 {
    let t = f64::from(score) * (1.0 - 1e-5);
    if t <= 0.0 {
        return f32::NEG_INFINITY;
    }
    if t >= 1.0 {
        return f32::INFINITY;
    }
    let x = (t / (1.0 - t)).ln();
    (x - 1e-4 - 1e-5 * x.abs()) as f32
}

/// How many of `passed` candidates stay: `nms_pre` is the end of a Python slice, as in MMDetection,
/// so -1 drops the lowest one.
pub fn wanted(passed: usize, nms_pre: i64) -> usize {
    if nms_pre >= 0 {
        passed.min(usize::try_from(nms_pre).unwrap_or(usize::MAX))
    } else {
        passed.saturating_sub(usize::try_from(nms_pre.unsigned_abs()).unwrap_or(usize::MAX))
    }
}

/// The best candidates of one picture and level, best first.
///
/// NaN logits give no candidate; with softmax they take their whole prior along.
///
/// # Panics
/// If the grid reaches beyond `logits`.
pub fn topk(logits: &[f32], grid: &Grid, filter: &Filter) -> Vec<Candidate> {
    if grid.priors * grid.height * grid.width * filter.classes == 0 || filter.nms_pre == 0 {
        return Vec::new();
    }
    let mut best = Best::new(*filter);
    match (filter.activation, filter.best_class) {
        (Scoring::Softmax, _) => softmax_scan(logits, grid, &mut best),
        (_, true) => best_class_scan(logits, grid, &mut best),
        (_, false) => every_class_scan(logits, grid, &mut best),
    }
    best.finish()
}

/// The candidates so far. With a limit, the lowest are thrown out whenever there are too many.
struct Best {
    filter: Filter,
    /// Limit and the size at which the surplus is thrown out.
    limit: Option<(usize, usize)>,
    /// No score below this can get in any more.
    least: f32,
    /// The same in logits.
    bound: f32,
    found: Vec<Candidate>,
}

impl Best {
    fn new(filter: Filter) -> Self {
        let limit = usize::try_from(filter.nms_pre)
            .ok()
            .map(|k| (k, k.saturating_mul(2).max(4096)));
        Best {
            filter,
            limit,
            least: f32::NEG_INFINITY,
            bound: filter.bound(),
            found: Vec::new(),
        }
    }

    fn offer_logit(&mut self, x: f32, index: usize) {
        self.offer(self.filter.activation.score(x), index);
    }

    fn offer(&mut self, score: f32, index: usize) {
        // not `<`: NaN must not pass
        if !(self.filter.passes(score) && score >= self.least) {
            return;
        }
        self.found.push(Candidate {
            score,
            index: index as u32,
        });
        if let Some((limit, full)) = self.limit
            && self.found.len() >= full
        {
            self.found.select_nth_unstable_by(limit - 1, by_score);
            self.found.truncate(limit);
            self.least = self.found[limit - 1].score;
            self.bound = self.bound.max(self.filter.activation.bound(self.least));
        }
    }

    fn finish(mut self) -> Vec<Candidate> {
        let keep = wanted(self.found.len(), self.filter.nms_pre);
        self.found.sort_unstable_by(by_score);
        self.found.truncate(keep);
        self.found
    }
}

/// Elements compared at once before looking closer.
const CHUNK: usize = 32;

/// In the order of memory, along whichever axis is dense.
fn every_class_scan(logits: &[f32], grid: &Grid, best: &mut Best) {
    let channels = grid.priors * best.filter.classes;
    let (height, width) = (grid.height, grid.width);
    let mut run = |start: usize, length: usize, step: usize, first: usize, index_step: usize| {
        if step != 1 {
            for i in 0..length {
                let x = logits[start + i * step];
                if x >= best.bound {
                    best.offer_logit(x, first + i * index_step);
                }
            }
            return;
        }
        for (c, chunk) in logits[start..start + length].chunks(CHUNK).enumerate() {
            // without an early end, so that the compiler makes vector code of it
            let mut any = false;
            for x in chunk {
                any |= *x >= best.bound;
            }
            if any {
                for (i, x) in chunk.iter().enumerate() {
                    if *x >= best.bound {
                        best.offer_logit(*x, first + (c * CHUNK + i) * index_step);
                    }
                }
            }
        }
    };
    if grid.strides[0] == 1 && grid.strides[2] != 1 {
        for y in 0..height {
            for x in 0..width {
                run(grid.at(0, y, x), channels, 1, (y * width + x) * channels, 1);
            }
        }
    } else if grid.strides[1] == width * grid.strides[2] {
        for channel in 0..channels {
            let start = grid.at(channel, 0, 0);
            run(start, height * width, grid.strides[2], channel, channels);
        }
    } else {
        for channel in 0..channels {
            for y in 0..height {
                let first = y * width * channels + channel;
                run(
                    grid.at(channel, y, 0),
                    width,
                    grid.strides[2],
                    first,
                    channels,
                );
            }
        }
    }
}

/// Row by row: first the highest logit of each place, then a closer look at those that can matter.
fn best_class_scan(logits: &[f32], grid: &Grid, best: &mut Best) {
    let (classes, width) = (best.filter.classes, grid.width);
    let step = grid.strides[2];
    let mut tops = vec![0f32; width];
    for y in 0..grid.height {
        for a in 0..grid.priors {
            tops.fill(f32::NEG_INFINITY);
            for class in 0..classes {
                let start = grid.at(a * classes + class, y, 0);
                if step == 1 {
                    for (top, x) in tops.iter_mut().zip(&logits[start..start + width]) {
                        *top = if *x > *top { *x } else { *top };
                    }
                } else {
                    for (x, top) in tops.iter_mut().enumerate() {
                        *top = top.max(logits[start + x * step]);
                    }
                }
            }
            for (x, top) in tops.iter().enumerate() {
                if *top >= best.bound {
                    let prior = (y * width + x) * grid.priors + a;
                    let score = |c| {
                        let x = logits[grid.at(a * classes + c, y, x)];
                        best.filter.activation.score(x)
                    };
                    if let Some((class, score)) = first_best((0..classes).map(score)) {
                        best.offer(score, prior * classes + class);
                    }
                }
            }
        }
    }
}

/// The highest score and where it is; the first of equal ones, and never NaN.
fn first_best(scores: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for (i, score) in scores.enumerate().filter(|(_, s)| !s.is_nan()) {
        if best.is_none_or(|(_, top)| score > top) {
            best = Some((i, score));
        }
    }
    best
}

fn softmax_scan(logits: &[f32], grid: &Grid, best: &mut Best) {
    let classes = best.filter.classes;
    let channels = classes + 1;
    let mut row = vec![0f32; channels];
    for y in 0..grid.height {
        for x in 0..grid.width {
            for a in 0..grid.priors {
                let mut top = f32::NEG_INFINITY;
                let mut nan = false;
                for (c, v) in row.iter_mut().enumerate() {
                    *v = logits[grid.at(a * channels + c, y, x)];
                    nan |= v.is_nan();
                    top = top.max(*v);
                }
                if nan || top.is_infinite() {
                    continue;
                }
                let mut sum = 0.0;
                for v in &mut row {
                    *v = (*v - top).exp();
                    sum += *v;
                }
                let prior = (y * grid.width + x) * grid.priors + a;
                let scores = row[..classes].iter().map(|v| *v / sum);
                if best.filter.best_class {
                    if let Some((c, score)) = first_best(scores) {
                        best.offer(score, prior * classes + c);
                    }
                    continue;
                }
                for (c, score) in scores.enumerate() {
                    best.offer(score, prior * classes + c);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::random::Random;

    fn indices(found: &[Candidate]) -> Vec<u32> {
        found.iter().map(|c| c.index).collect()
    }

    #[test]
    fn places_keep_the_order_of_logits() {
        let logits = [
            f32::MIN,
            -9.0,
            -1e-3,
            -0.0,
            0.0,
            1e-6,
            8.0,
            8.00001,
            17.5,
            18.0,
            f32::MAX,
        ];
        for two in logits.windows(2) {
            assert!(place(two[0]) < place(two[1]), "{two:?}");
        }
        for x in logits {
            let first = first_of_place(place(x));
            assert!(first <= x && place(first) == place(x), "{x}: {first}");
            assert!((0.0..=1.75).contains(&place(x)));
        }
        assert_eq!(sigmoid(17.5), sigmoid(18.0), "which a sigmoid does not");
    }

    #[test]
    fn strict_threshold_order_and_ties() {
        // 1 x 4 cells, one prior, one class; 0 gives exactly 0.5
        let grid = Grid::contiguous(1, 1, 4);
        let run = |l: &[f32], score_thr, nms_pre| {
            let filter = Filter {
                score_thr,
                nms_pre,
                ..Filter::new(1, Scoring::Sigmoid)
            };
            indices(&topk(l, &grid, &filter))
        };
        assert_eq!(run(&[0.0, 1.0, -1.0, 2.0], 0.5, 10), [3, 1]);
        assert_eq!(run(&[0.0, 1.0, -1.0, 2.0], 0.4999, 10), [3, 1, 0]);
        assert_eq!(run(&[1.0, 1.0, 1.0, 1.0], 0.5, 2), [0, 1]);
        assert_eq!(
            run(&[f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY], 0.0, 9),
            [2, 1]
        );
        // saturated logits differ, their scores do not
        assert_eq!(run(&[30.0, 40.0, 50.0, 20.0], 0.5, 3), [0, 1, 2]);
    }

    #[test]
    fn nms_pre_is_a_slice_end() {
        assert_eq!(wanted(5, 3), 3);
        assert_eq!(wanted(5, 0), 0);
        assert_eq!(wanted(5, -1), 4);
        assert_eq!(wanted(0, -1), 0);
        assert_eq!(wanted(2, i64::MIN), 0);
    }

    #[test]
    fn softmax_drops_the_background() {
        // two channels: class 0 and background; equal logits give 0.5
        let grid = Grid::contiguous(1, 1, 3);
        let logits = [0.0, 3.0, f32::INFINITY, 0.0, 0.0, 0.0];
        let found = topk(&logits, &grid, &Filter::new(1, Scoring::Softmax));
        assert_eq!(indices(&found), [1, 0]);
        assert_eq!(found[1].score, 0.5);
    }

    #[test]
    fn scores_as_they_are() {
        let grid = Grid::contiguous(1, 1, 6);
        let scores = [0.25, f32::NAN, 0.5, -0.0, 1.5, -2.0];
        let mut filter = Filter::new(1, Scoring::None);
        let found = topk(&scores, &grid, &filter);
        assert_eq!(indices(&found), [4, 2, 0]);
        assert_eq!(found[0].score, 1.0);
        filter.score_thr = 0.25;
        assert_eq!(indices(&topk(&scores, &grid, &filter)), [4, 2]);
        filter.at_least = true;
        assert_eq!(indices(&topk(&scores, &grid, &filter)), [4, 2, 0]);
        filter.score_thr = -1.0;
        assert_eq!(indices(&topk(&scores, &grid, &filter)), [4, 2, 0, 3, 5]);
    }

    #[test]
    fn a_threshold_of_minus_one_takes_all() {
        let grid = Grid::contiguous(1, 1, 4);
        let logits = [-1e30, 1.0, f32::NEG_INFINITY, f32::NAN];
        let filter = Filter {
            score_thr: -1.0,
            ..Filter::new(1, Scoring::Sigmoid)
        };
        assert_eq!(indices(&topk(&logits, &grid, &filter)), [1, 0, 2]);
    }

    #[test]
    fn the_best_class_of_a_place() {
        // 1 x 2 cells, two priors, three classes: channel by channel, of two cells each
        let n = f32::NAN;
        let logits = [
            [1.0, n], // prior 0
            [2.0, n],
            [2.0, n],
            [30.0, -1.0], // prior 1: scores of 1 are equal, whatever the logits
            [40.0, n],
            [0.0, -2.0],
        ]
        .concat();
        let mut filter = Filter {
            best_class: true,
            ..Filter::new(3, Scoring::Sigmoid)
        };
        let grid = Grid::contiguous(2, 1, 2);
        // index = (cell * 2 + prior) * 3 + class
        assert_eq!(indices(&topk(&logits, &grid, &filter)), [3, 1, 9]);
        filter.nms_pre = 2;
        assert_eq!(indices(&topk(&logits, &grid, &filter)), [3, 1]);
        filter.score_thr = 0.9;
        assert_eq!(indices(&topk(&logits, &grid, &filter)), [3]);
        // class, class, background
        let filter = Filter {
            best_class: true,
            ..Filter::new(2, Scoring::Softmax)
        };
        let logits = [1.0, 1.0, 3.0, 0.0, 0.5, 9.0];
        let grid = Grid::contiguous(2, 1, 1);
        assert_eq!(indices(&topk(&logits, &grid, &filter)), [0, 3]);
    }

    #[test]
    fn the_bound_is_below_the_threshold() {
        for i in 1..2000 {
            let t = i as f32 / 2000.0;
            let x = logit_bound(t);
            assert!(sigmoid(x) < t && sigmoid(x) > t * 0.999, "{t}: {x}");
        }
        assert_eq!(logit_bound(0.0), f32::NEG_INFINITY);
        assert_eq!(logit_bound(2.0), f32::INFINITY);
        // where the sigmoid has few values left
        for x in [14.0f32, 15.0, 16.0, 16.5, 17.0, 20.0] {
            assert!(logit_bound(sigmoid(x)) < x);
        }
    }

    #[test]
    fn pruning_and_layout_do_not_change_the_result() {
        let mut random = Random::new(7);
        let (priors, classes, height, width) = (3, 5, 31, 65);
        let channels = priors * classes;
        // coarse values, so that there are many ties
        let first: Vec<f32> = (0..channels * height * width)
            .map(|_| (random.normal() * 8.0).round() / 8.0)
            .collect();
        let mut last = vec![0.0; first.len()];
        for c in 0..channels {
            for cell in 0..height * width {
                last[cell * channels + c] = first[c * height * width + cell];
            }
        }
        let grid = Grid::contiguous(priors, height, width);
        let grid_last = Grid {
            strides: [1, width * channels, channels],
            ..grid
        };
        use Scoring::{None, Sigmoid, Softmax};
        for (activation, best_class) in [Sigmoid, Softmax, None]
            .into_iter()
            .flat_map(|a| [(a, false), (a, true)])
        {
            let filter = |nms_pre| Filter {
                score_thr: 0.1,
                best_class,
                nms_pre,
                ..Filter::new(classes - usize::from(activation == Softmax), activation)
            };
            let mut all = topk(&first, &grid, &filter(i64::MAX));
            assert!(all.is_sorted_by(|a, b| by_score(a, b).is_lt()));
            for k in [1, 63, 64, 65, 1000] {
                let some = topk(&first, &grid, &filter(k));
                assert_eq!(some, all[..k as usize]);
                assert_eq!(some, topk(&last, &grid_last, &filter(k)));
            }
            all.pop();
            assert_eq!(topk(&first, &grid, &filter(-1)), all);
        }
    }
}
