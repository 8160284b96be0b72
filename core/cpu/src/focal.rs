//! [`Focal`]: the sum of the sigmoid focal loss (Lin et al. 2017, arXiv 1708.02002, section 3.2) over a map of logits, and its gradient, a
//! pass over memory each.
//!
//! Shapes: logits `[N, A, K, P]`, A places of a cell, K classes, P cells; labels and weights `[N, P, A]`, labels from K on (and below 0) are
//! background. With one cell that is `[R, K]` and `[R]`.
//!
//! Of a logit x that is to be found, z is -x, else x. `q = sigmoid(z)` is how wrong it is and `softplus(z)` its entropy; it costs
//! `a * q^gamma * softplus(z)`, where a is `alpha` or `1 - alpha`. All is made of `e = exp(-|z|)` without a difference of near numbers, so
//! that relative errors stay small however sure the logits are.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::Instructions;
use crate::finish::exp;

/// A map of logits, and what the loss is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Focal {
    /// N.
    pub pictures: usize,
    /// A.
    pub per_cell: usize,
    /// K.
    pub classes: usize,
    /// P.
    pub cells: usize,
    /// The power of how wrong a logit is.
    pub gamma: f32,
    /// The factor of what is to be found; `1 - alpha` is that of the rest.
    pub alpha: f32,
}

impl Focal {
    /// Logits.
    pub fn logits(&self) -> usize {
        self.rows() * self.classes
    }

    /// Labels.
    pub fn rows(&self) -> usize {
        self.pictures * self.per_cell * self.cells
    }

    /// The sum of the losses, each times the weight of its row.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn sum(&self, logits: &[f32], labels: &[f32], weights: &[f32]) -> f64 {
        self.sum_with(logits, labels, weights, Instructions::widest())
    }

    /// As [`Focal::sum`], computed with these instructions.
    ///
    /// # Panics
    /// As [`Focal::sum`].
    pub fn sum_with(
        &self,
        logits: &[f32],
        labels: &[f32],
        weights: &[f32],
        instructions: Instructions,
    ) -> f64 {
        let rows = self.by_places(labels, weights);
        let Some((lines, each)) = self.lines(logits, &rows) else {
            return 0.0;
        };
        let part = |(i, logits): (usize, &[f32])| {
            let lines = self.part(i * each, logits, &rows);
            instructions.0.dispatch(Sum(lines))
        };
        lines.enumerate().map(part).sum()
    }

    /// Writes the gradient of `scale` times the sum.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn gradient(
        &self,
        logits: &[f32],
        labels: &[f32],
        weights: &[f32],
        scale: f32,
        gradient: &mut [f32],
    ) {
        let instructions = Instructions::widest();
        self.gradient_with(logits, labels, weights, scale, gradient, instructions);
    }

    /// As [`Focal::gradient`], computed with these instructions.
    ///
    /// # Panics
    /// As [`Focal::gradient`].
    pub fn gradient_with(
        &self,
        logits: &[f32],
        labels: &[f32],
        weights: &[f32],
        scale: f32,
        gradient: &mut [f32],
        instructions: Instructions,
    ) {
        let rows = self.by_places(labels, weights);
        assert_eq!(gradient.len(), logits.len(), "a gradient for each logit");
        let Some((lines, each)) = self.lines(logits, &rows) else {
            return;
        };
        let made = gradient.par_chunks_mut(each * self.line());
        lines.zip(made).enumerate().for_each(|(i, (logits, made))| {
            let lines = self.part(i * each, logits, &rows);
            instructions.0.dispatch(Gradient { lines, scale, made });
        });
    }

    /// Logits one after another whose rows are one or lie so too: a class's cells, or a row's classes.
    fn line(&self) -> usize {
        if self.cells == 1 {
            self.classes
        } else {
            self.cells
        }
    }

    /// Logits in chunks of so many lines, enough for a thread to be worth its while; None if there are none.
    fn lines<'a>(
        &self,
        logits: &'a [f32],
        rows: &Rows,
    ) -> Option<(rayon::slice::Chunks<'a, f32>, usize)> {
        const LEAST: usize = 1 << 13;
        assert_eq!(logits.len(), self.logits(), "logits are [N, A, K, P]");
        assert_eq!(rows.labels().len(), self.rows(), "labels are [N, P, A]");
        assert_eq!(rows.weights().len(), self.rows(), "weights are [N, P, A]");
        if logits.is_empty() {
            return None;
        }
        let each = LEAST.div_ceil(self.line());
        Some((logits.par_chunks(each * self.line()), each))
    }

    /// Labels and weights as `[N, A, P]`.
    fn by_places<'a>(&self, labels: &'a [f32], weights: &'a [f32]) -> Rows<'a> {
        if self.per_cell == 1 || self.cells == 1 {
            return Rows::Given(labels, weights);
        }
        let turned = |values: &[f32]| -> Vec<f32> {
            let pictures = values.chunks(self.per_cell * self.cells);
            let of_place = |picture: &'_ [f32], place: usize| -> Vec<f32> {
                picture
                    .iter()
                    .skip(place)
                    .step_by(self.per_cell)
                    .copied()
                    .collect()
            };
            pictures
                .flat_map(|picture| (0..self.per_cell).flat_map(move |a| of_place(picture, a)))
                .collect()
        };
        Rows::Turned(turned(labels), turned(weights))
    }

    fn part<'a>(&'a self, first: usize, logits: &'a [f32], rows: &'a Rows) -> Lines<'a> {
        Lines {
            focal: self,
            first,
            logits,
            labels: rows.labels(),
            weights: rows.weights(),
        }
    }

    /// The loss of a logit and its slope.
    #[inline(always)]
    fn of<P: Power>(&self, x: f32, found: bool) -> (f32, f32) {
        let z = if found { -x } else { x };
        let a = if found { self.alpha } else { 1.0 - self.alpha };
        let e = exp(-z.abs());
        let log = log_one_and(e);
        let wrong = if z > 0.0 { z + log } else { log };
        let right = if z > 0.0 { log } else { log - z };
        let most = 1.0 / (1.0 + e);
        let least = e * most;
        let (q, rest) = if z > 0.0 {
            (most, least)
        } else {
            (least, most)
        };
        let factor = a * P::of(q, right, self.gamma);
        let slope = factor * (self.gamma * rest * wrong + q);
        (factor * wrong, if found { -slope } else { slope })
    }
}

/// How `q^gamma` is made of q and the entropy of `1 - q`: a choice that is to be outside of the loops.
trait Power {
    fn of(q: f32, right: f32, gamma: f32) -> f32;
}

/// Of `gamma = 2`.
struct Square;

impl Power for Square {
    #[inline(always)]
    fn of(q: f32, _: f32, _: f32) -> f32 {
        q * q
    }
}

/// Of any.
struct Exponential;

impl Power for Exponential {
    #[inline(always)]
    fn of(_: f32, right: f32, gamma: f32) -> f32 {
        exp(-gamma * right)
    }
}

/// Some of a map's lines.
struct Lines<'a> {
    focal: &'a Focal,
    /// Which line is the first.
    first: usize,
    logits: &'a [f32],
    /// Of the map, `[N, A, P]`.
    labels: &'a [f32],
    weights: &'a [f32],
}

impl<'a> Lines<'a> {
    /// The cells of line `i` of these: its class, their labels and weights.
    #[inline(always)]
    fn cells(&self, i: usize) -> (f32, &'a [f32], &'a [f32]) {
        let Focal { classes, cells, .. } = *self.focal;
        let (place, class) = ((self.first + i) / classes, (self.first + i) % classes);
        let at = place * cells;
        (
            class as f32,
            &self.labels[at..][..cells],
            &self.weights[at..][..cells],
        )
    }
}

/// Adds up the losses of lines.
struct Sum<'a>(Lines<'a>);

impl WithSimd for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        if self.0.focal.gamma == 2.0 {
            self.by::<Square>()
        } else {
            self.by::<Exponential>()
        }
    }
}

/// Numbers that are added side by side, and become vectors.
const LANES: usize = 32;

impl Sum<'_> {
    #[inline(always)]
    fn by<P: Power>(self) -> f64 {
        let Self(lines) = self;
        let focal = lines.focal;
        let mut sum = 0.0;
        for (i, logits) in lines.logits.chunks_exact(focal.line()).enumerate() {
            let mut lanes = [0.0f32; LANES];
            if focal.cells == 1 {
                let (label, weight) = (
                    lines.labels[lines.first + i],
                    lines.weights[lines.first + i],
                );
                for (at, logits) in logits.chunks(LANES).enumerate() {
                    let label = label - (at * LANES) as f32;
                    for (k, (lane, x)) in lanes.iter_mut().zip(logits).enumerate() {
                        *lane += focal.of::<P>(*x, k as i32 as f32 == label).0;
                    }
                }
                sum += f64::from(weight) * added(lanes);
                continue;
            }
            let (class, labels, weights) = lines.cells(i);
            let rows = labels.chunks(LANES).zip(weights.chunks(LANES));
            for (logits, (labels, weights)) in logits.chunks(LANES).zip(rows) {
                let rows = labels.iter().zip(weights);
                for (lane, (x, (label, weight))) in lanes.iter_mut().zip(logits.iter().zip(rows)) {
                    *lane += weight * focal.of::<P>(*x, *label == class).0;
                }
            }
            sum += added(lanes);
        }
        sum
    }
}

#[inline(always)]
fn added(lanes: [f32; LANES]) -> f64 {
    lanes.into_iter().map(f64::from).sum()
}

/// Writes the gradients of lines.
struct Gradient<'a> {
    lines: Lines<'a>,
    scale: f32,
    made: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.lines.focal.gamma == 2.0 {
            self.by::<Square>();
        } else {
            self.by::<Exponential>();
        }
    }
}

impl Gradient<'_> {
    #[inline(always)]
    fn by<P: Power>(self) {
        let Self { lines, scale, made } = self;
        let focal = lines.focal;
        let made = made.chunks_exact_mut(focal.line());
        for (i, (logits, made)) in lines
            .logits
            .chunks_exact(focal.line())
            .zip(made)
            .enumerate()
        {
            if focal.cells == 1 {
                let label = lines.labels[lines.first + i];
                let scale = scale * lines.weights[lines.first + i];
                for (k, (x, made)) in logits.iter().zip(made).enumerate() {
                    *made = scale * focal.of::<P>(*x, k as i32 as f32 == label).1;
                }
                continue;
            }
            let (class, labels, weights) = lines.cells(i);
            for ((x, made), (label, weight)) in
                logits.iter().zip(made).zip(labels.iter().zip(weights))
            {
                *made = scale * weight * focal.of::<P>(*x, *label == class).1;
            }
        }
    }
}

/// Labels and weights as `[N, A, P]`.
enum Rows<'a> {
    Given(&'a [f32], &'a [f32]),
    Turned(Vec<f32>, Vec<f32>),
}

impl Rows<'_> {
    fn labels(&self) -> &[f32] {
        match self {
            Rows::Given(labels, _) => labels,
            Rows::Turned(labels, _) => labels,
        }
    }

    fn weights(&self) -> &[f32] {
        match self {
            Rows::Given(_, weights) => weights,
            Rows::Turned(_, weights) => weights,
        }
    }
}

/// `ln(1 + e)` of e from 0 to 1, with a small relative error however small e is: the series of the inverse hyperbolic tangent of
/// `e / (2 + e)`, which is a third at most.
#[inline(always)]
fn log_one_and(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let square = s * s;
    let mut p = 1.0 / 15.0;
    for factor in [
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        0.2,
        1.0 / 3.0,
        1.0,
    ] {
        p = p * square + factor;
    }
    2.0 * s * p
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loss and its slope in f64.
    fn exact(focal: &Focal, x: f32, found: bool) -> (f64, f64) {
        let (x, gamma, alpha) = (f64::from(x), f64::from(focal.gamma), f64::from(focal.alpha));
        let (z, a) = if found { (-x, alpha) } else { (x, 1.0 - alpha) };
        let q = 1.0 / (1.0 + (-z).exp());
        let entropy = z.max(0.0) + (-z.abs()).exp().ln_1p();
        let factor = a * q.powf(gamma);
        let slope = factor * (gamma * (1.0 - q) * entropy + q);
        (factor * entropy, if found { -slope } else { slope })
    }

    #[test]
    fn one_logit_by_hand() {
        // At 0 a logit is half wrong: 0.75 * 0.5^2 * ln 2.
        let focal = Focal {
            pictures: 1,
            per_cell: 1,
            classes: 1,
            cells: 1,
            gamma: 2.0,
            alpha: 0.25,
        };
        let loss = focal.sum(&[0.0], &[1.0], &[1.0]);
        assert!((loss - 0.75 * 0.25 * std::f64::consts::LN_2).abs() < 1e-8);
        let loss = focal.sum(&[0.0], &[0.0], &[3.0]);
        assert!((loss - 3.0 * 0.25 * 0.25 * std::f64::consts::LN_2).abs() < 1e-8);
    }

    #[test]
    fn single_logits_are_as_in_f64() {
        for gamma in [2.0, 1.5, 0.0] {
            let focal = Focal {
                pictures: 1,
                per_cell: 1,
                classes: 1,
                cells: 1,
                gamma,
                alpha: 0.25,
            };
            for i in -250..250 {
                let x = i as f32 / 10.0;
                for found in [false, true] {
                    let label = if found { 0.0 } else { 1.0 };
                    let (loss, slope) = exact(&focal, x, found);
                    let sum = focal.sum(&[x], &[label], &[1.0]);
                    let mut made = [0.0];
                    focal.gradient(&[x], &[label], &[1.0], 1.0, &mut made);
                    // more of a power that is an exponential of a large number
                    let bound = 2e-6 + 2e-7 * f64::from(x.abs());
                    assert!(
                        (sum - loss).abs() <= bound * loss,
                        "{x} {found} {gamma}: {sum} {loss}"
                    );
                    let off = (f64::from(made[0]) - slope).abs();
                    assert!(
                        off <= bound * slope.abs(),
                        "{x} {found} {gamma}: {made:?} {slope}"
                    );
                }
            }
        }
    }

    #[test]
    fn maps_are_as_their_rows() {
        for (pictures, per_cell, classes, cells) in [
            (1, 1, 5, 1),
            (3, 1, 80, 1),
            (2, 1, 3, 70),
            (2, 3, 4, 33),
            (1, 9, 2, 1),
            (40, 2, 7, 64),
        ] {
            let focal = Focal {
                pictures,
                per_cell,
                classes,
                cells,
                gamma: 2.0,
                alpha: 0.25,
            };
            let number = |i: usize, by: usize| ((i * by) % 997) as f32 / 997.0;
            let logits: Vec<f32> = (0..focal.logits())
                .map(|i| number(i, 389) * 8.0 - 4.0)
                .collect();
            let labels = (0..focal.rows()).map(|i| (i * 31 % (classes + 2)) as f32 - 1.0);
            let labels: Vec<f32> = labels.collect();
            let weights: Vec<f32> = (0..focal.rows()).map(|i| number(i, 71) + 0.1).collect();
            let mut expected = (0.0, Vec::new());
            for (i, x) in logits.iter().enumerate() {
                let (p, k) = (i % cells, i / cells % classes);
                let place = i / (cells * classes);
                let row = (place / per_cell * cells + p) * per_cell + place % per_cell;
                let (loss, slope) = exact(&focal, *x, labels[row] == k as f32);
                let weight = f64::from(weights[row]);
                expected.0 += weight * loss;
                expected.1.push(3.0 * weight * slope);
            }
            for instructions in Instructions::all() {
                let sum = focal.sum_with(&logits, &labels, &weights, instructions);
                assert!(
                    (sum - expected.0).abs() <= 1e-6 * expected.0,
                    "{focal:?}: {sum} {expected:?}"
                );
                let mut made = vec![0.0; logits.len()];
                focal.gradient_with(&logits, &labels, &weights, 3.0, &mut made, instructions);
                for (made, expected) in made.iter().zip(&expected.1) {
                    let off = (f64::from(*made) - expected).abs();
                    assert!(off <= 4e-6 * expected.abs(), "{focal:?}: {made} {expected}");
                }
            }
        }
    }

    #[test]
    fn nothing_costs_nothing_and_what_is_no_number_is_seen() {
        let mut focal = Focal {
            pictures: 0,
            per_cell: 1,
            classes: 3,
            cells: 4,
            gamma: 2.0,
            alpha: 0.25,
        };
        assert_eq!(focal.sum(&[], &[], &[]), 0.0);
        focal.gradient(&[], &[], &[], 1.0, &mut []);
        (focal.pictures, focal.cells) = (1, 1);
        assert!(focal.sum(&[f32::NAN, 0.0, 0.0], &[0.0], &[1.0]).is_nan());
        let mut made = [0.0; 3];
        focal.gradient(
            &[f32::NAN, f32::INFINITY, 0.0],
            &[0.0],
            &[1.0],
            1.0,
            &mut made,
        );
        assert!(made[0].is_nan());
    }
}
