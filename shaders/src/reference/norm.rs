//! Batch norm by channel with the activation after it (Ioffe and Szegedy 2015, arXiv 1502.03167), and activations alone: the twins of the
//! kernels of `norm/`, with all arithmetic in f64. They judge the kernels; what runs on the CPU is `smalti-cpu`'s.
//!
//! Shapes: x and y `[M, F]`, M rows of C channels, filled up to F, a multiple of four; all else `[C]`.

use super::conv::activated;
use crate::records::{ActRecord, NormRecord};

/// Mean and variance (of all values, not an estimate) of each channel.
pub fn statistics(told: &NormRecord, x: &[f32]) -> [Vec<f64>; 2] {
    let mean = told.over_rows(|row, c| told.at(x, row, c));
    let var = told.over_rows(|row, c| (told.at(x, row, c) - mean[c] / told.count()).powi(2));
    [mean, var].map(|sums| sums.into_iter().map(|sum| sum / told.count()).collect())
}

/// Running statistics with a batch's: shares of what there is, of the new mean, of the new variance.
pub fn running(shares: [f32; 3], new: [&[f32]; 2], kept: [&[f32]; 2]) -> [Vec<f64>; 2] {
    let mixed = |i: usize| {
        let both = kept[i].iter().zip(new[i]);
        let [old, share] = [shares[0], shares[i + 1]].map(f64::from);
        both.map(|(kept, new)| f64::from(*kept) * old + f64::from(*new) * share)
            .collect()
    };
    [mixed(0), mixed(1)]
}

/// y by these statistics.
pub fn normalise(
    told: &NormRecord,
    x: &[f32],
    [weight, bias]: [&[f32]; 2],
    statistics: &[Vec<f64>; 2],
) -> Vec<f64> {
    let line = told.line([weight, bias], statistics);
    let y = x.iter().enumerate().map(|(i, x)| {
        let channel = i % told.filled();
        line.get(channel).map_or(0.0, |[scale, shift, ..]| {
            activated(f64::from(*x) * scale + shift, told.act, told.act_by)
        })
    });
    y.collect()
}

/// The gradients of x, weight and bias from that of y.
pub fn gradients(
    told: &NormRecord,
    x: &[f32],
    gradient: &[f32],
    affine: [&[f32]; 2],
    statistics: &[Vec<f64>; 2],
) -> [Vec<f64>; 3] {
    let line = told.line(affine, statistics);
    let inner = |row: usize, c: usize| {
        let [scale, shift, ..] = line[c];
        let v = told.at(x, row, c) * scale + shift;
        told.at(gradient, row, c) * slope(v, told.act, told.act_by)
    };
    let standard = |row: usize, c: usize| {
        let [_, _, mean, inverse] = line[c];
        (told.at(x, row, c) - mean) * inverse
    };
    let of_bias = told.over_rows(inner);
    let of_weight = told.over_rows(|row, c| inner(row, c) * standard(row, c));
    let part = f64::from(told.own) / told.count();
    let of_x = (0..x.len()).map(|i| {
        let (row, c) = (i / told.filled(), i % told.filled());
        if c >= line.len() {
            return 0.0;
        }
        let moved = of_bias[c] + standard(row, c) * of_weight[c];
        line[c][0] * (inner(row, c) - part * moved)
    });
    [of_x.collect(), of_weight, of_bias]
}

/// The activation of every number, or the gradient of x from that of y.
pub fn activate(told: &ActRecord, x: &[f32], gradient: &[f32]) -> Vec<f64> {
    let made = x.iter().enumerate().map(|(i, x)| {
        let x = f64::from(*x);
        match told.slopes {
            0 => activated(x, told.act, told.act_by),
            _ => f64::from(gradient[i]) * slope(x, told.act, told.act_by),
        }
    });
    made.collect()
}

/// `slope_of` of `shared/slope.wgsl`.
pub fn slope(v: f64, act: u32, by: [f32; 4]) -> f64 {
    let [a, b, c, d] = by.map(f64::from);
    let share = 1.0 / (1.0 + (-v).exp());
    let within = |v: f64, low: f64, high: f64| f64::from(u8::from((low..=high).contains(&v)));
    match act {
        1 => f64::from(u8::from(v > 0.0)),
        2 if v == a || v == b => c,
        2 => within(v, a, b),
        3 if v <= 0.0 => a,
        4 => share * (1.0 - share),
        5 => share * (1.0 + v * (1.0 - share)),
        6 if v < -3.0 => 0.0,
        6 if v <= 3.0 => v / 3.0 + 0.5,
        7 => within((v + a) / b, c, d) / b,
        _ => 1.0,
    }
}

impl NormRecord {
    fn count(&self) -> f64 {
        f64::from(self.rows)
    }

    /// F.
    pub fn filled(&self) -> usize {
        self.channels.next_multiple_of(4) as usize
    }

    fn at(&self, x: &[f32], row: usize, channel: usize) -> f64 {
        f64::from(x[row * self.filled() + channel])
    }

    fn over_rows(&self, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let sum = |c| (0..self.rows as usize).map(|row| of(row, c)).sum();
        (0..self.channels as usize).map(sum).collect()
    }

    /// Scale, shift, mean and the inverse of the deviation of each channel.
    fn line(&self, [weight, bias]: [&[f32]; 2], [mean, var]: &[Vec<f64>; 2]) -> Vec<[f64; 4]> {
        let of = |c: usize| {
            let inverse = 1.0 / (var[c] + f64::from(self.eps)).sqrt();
            let scale = f64::from(weight[c]) * inverse;
            [
                scale,
                f64::from(bias[c]) - mean[c] * scale,
                mean[c],
                inverse,
            ]
        };
        (0..self.channels as usize).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // one channel of four in memory: 1, 3; mean 2, variance 1
        let told = NormRecord {
            act_by: [0.0; 4],
            act: 1,
            rows: 2,
            channels: 1,
            slices: 1,
            own: 1,
            eps: 0.0,
            unused: [0; 2],
        };
        let x = [1.0, 9.0, 9.0, 9.0, 3.0, 9.0, 9.0, 9.0];
        let found = statistics(&told, &x);
        assert_eq!(found, [[2.0], [1.0]]);
        let mixed = running([0.75, 0.25, 0.5], [&[2.0], &[1.0]], [&[4.0], &[2.0]]);
        assert_eq!(mixed, [[3.5], [2.0]]);
        let affine = [&[2.0][..], &[0.5][..]];
        // 2 * -1 + 0.5 is below 0; 2 * 1 + 0.5
        let y = normalise(&told, &x, affine, &found);
        assert_eq!(y, [0.0, 0.0, 0.0, 0.0, 2.5, 0.0, 0.0, 0.0]);
        let [of_x, of_weight, of_bias] = gradients(&told, &x, &[1.0; 8], affine, &found);
        // the slopes are 0 and 1, of which the mean, 0.5, and x times its part of the weight's go
        assert_eq!([of_weight, of_bias], [[1.0], [1.0]]);
        assert_eq!(of_x, [0.0; 8]);
        let fixed = NormRecord { own: 0, ..told };
        let [of_x, ..] = gradients(&fixed, &x, &[1.0; 8], affine, &found);
        assert_eq!(of_x, [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn slopes_are_those_of_the_curves() {
        let by = [
            [0.0; 4],
            [-1.0, 1.5, 1.0, 0.0],
            [0.1, 0.0, 0.0, 0.0],
            [0.0; 4],
            [0.0; 4],
            [0.0; 4],
            [3.0, 6.0, 0.0, 1.0],
        ];
        for (act, by) in (1..).zip(by) {
            for v in [-4.1, -2.2, -0.3, 0.4, 1.2, 2.9, 5.0] {
                let step = 1e-6;
                let rise = activated(v + step, act, by) - activated(v - step, act, by);
                let off = slope(v, act, by) - rise / (2.0 * step);
                assert!(off.abs() < 1e-6, "{act} at {v}: {off}");
            }
        }
    }
}
