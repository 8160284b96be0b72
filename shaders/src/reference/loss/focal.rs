//! The sigmoid focal loss over a map of logits (Lin et al. 2017, arXiv 1708.02002, section 3): the twin of `loss/focal.wgsl`.
//!
//! Shapes: logits `[N, A, K, P]`, A places of a cell, K classes, P cells; labels and weights `[N, P, A]`, labels from K on (and below 0) are
//! background.

use crate::records::FocalRecord;

/// The sum of the losses, each times the weight of its row, in f64.
pub fn sum(told: &FocalRecord, logits: &[f32], labels: &[f32], weights: &[f32]) -> f64 {
    let losses = logits.iter().enumerate().map(|(i, x)| {
        let (row, class) = told.place(i);
        let (loss, _) = told.of(*x, labels[row] == class as f32);
        loss * f64::from(weights[row])
    });
    losses.sum()
}

/// The gradient of `scale` times the sum.
pub fn gradient(
    told: &FocalRecord,
    logits: &[f32],
    labels: &[f32],
    weights: &[f32],
    scale: f32,
) -> Vec<f32> {
    let slopes = logits.iter().enumerate().map(|(i, x)| {
        let (row, class) = told.place(i);
        let (_, slope) = told.of(*x, labels[row] == class as f32);
        (slope * f64::from(weights[row]) * f64::from(scale)) as f32
    });
    slopes.collect()
}

impl FocalRecord {
    /// The row and the class of a logit.
    fn place(&self, i: usize) -> (usize, usize) {
        let [per_cell, classes, cells] =
            [self.per_cell, self.classes, self.cells].map(|n| n as usize);
        let (line, cell) = (i / cells, i % cells);
        let (place, class) = (line / classes, line % classes);
        let row = (place / per_cell * cells + cell) * per_cell + place % per_cell;
        (row, class)
    }

    /// The loss of a logit and its slope.
    fn of(&self, x: f32, found: bool) -> (f64, f64) {
        let (x, gamma, alpha) = (f64::from(x), f64::from(self.gamma), f64::from(self.alpha));
        let (z, factor) = if found { (-x, alpha) } else { (x, 1.0 - alpha) };
        let q = 1.0 / (1.0 + (-z).exp());
        let entropy = z.max(0.0) + (-z.abs()).exp().ln_1p();
        let factor = factor * q.powf(gamma);
        let slope = factor * (gamma * (1.0 - q) * entropy + q);
        (factor * entropy, if found { -slope } else { slope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let told = FocalRecord {
            logits: 4,
            per_cell: 1,
            classes: 2,
            cells: 2,
            slopes: 0,
            gamma: 2.0,
            alpha: 0.25,
            unused: 0,
        };
        // at 0 each logit is half wrong; of cell 0 the second class is to be found, of cell 1 none
        let (logits, labels, weights) = ([0.0; 4], [1.0, 2.0], [1.0, 2.0]);
        let each = 0.25 * std::f64::consts::LN_2;
        let expected = each * (0.75 + 0.25 + 2.0 * (0.75 + 0.75));
        assert!((sum(&told, &logits, &labels, &weights) - expected).abs() < 1e-9);
        let slope = 0.25 * (2.0 * 0.5 * std::f64::consts::LN_2 + 0.5);
        let expected = [0.75, 1.5, -0.25, 1.5].map(|a| 10.0 * a * slope);
        let made = gradient(&told, &logits, &labels, &weights, 10.0);
        for (made, expected) in made.into_iter().zip(expected) {
            assert!((f64::from(made) - expected).abs() < 1e-5);
        }
    }
}
