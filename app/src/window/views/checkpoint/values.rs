//! What is in a tensor: its range, mean and deviation, and a histogram.

use eframe::egui::{Align, CornerRadius, Layout, Rect, RichText, Sense, Ui, pos2, vec2};

use crate::window::tokens::{SMALL, Tokens};

/// What is in a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    count: usize,
    least: f32,
    most: f32,
    mean: f64,
    deviation: f64,
    not_finite: usize,
    bins: Vec<usize>,
}

const BINS: usize = 64;

/// Looks at all values.
pub fn measure(values: &[f32]) -> Values {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (mut least, mut most, mut count) = (f32::INFINITY, f32::NEG_INFINITY, 0_usize);
    let mut sum = 0.0;
    for v in finite() {
        (least, most, count) = (least.min(v), most.max(v), count + 1);
        sum += f64::from(v);
    }
    let mean = if count > 0 { sum / count as f64 } else { 0.0 };
    let square: f64 = finite().map(|v| (f64::from(v) - mean).powi(2)).sum();
    let mut bins = vec![0; BINS];
    let width = (f64::from(most) - f64::from(least)).max(f64::MIN_POSITIVE);
    for v in finite() {
        let at = (f64::from(v) - f64::from(least)) / width * BINS as f64;
        bins[(at as usize).min(BINS - 1)] += 1;
    }
    let deviation = if count > 0 {
        (square / count as f64).sqrt()
    } else {
        0.0
    };
    Values {
        count: values.len(),
        least,
        most,
        mean,
        deviation,
        not_finite: values.len() - count,
        bins,
    }
}

/// Shows them.
pub fn histogram(ui: &mut Ui, values: &Values) {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 120.0), Sense::hover());
    ui.painter()
        .rect_filled(rect, CornerRadius::same(4), tokens.field);
    let most = values.bins.iter().copied().max().unwrap_or(0).max(1);
    let width = rect.width() / BINS as f32;
    for (i, n) in values.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
        let height = (*n as f32 / most as f32 * (rect.height() - 8.0)).max(1.0);
        let left = rect.left() + i as f32 * width;
        let bar = Rect::from_min_max(
            pos2(left, rect.bottom() - height),
            pos2(left + width - 1.0, rect.bottom()),
        );
        ui.painter()
            .rect_filled(bar, CornerRadius::ZERO, tokens.accent);
    }
    ui.horizontal(|ui| {
        ui.label(
            RichText::new(number(values.least.into()))
                .size(SMALL)
                .color(tokens.soft),
        );
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.label(
                RichText::new(number(values.most.into()))
                    .size(SMALL)
                    .color(tokens.soft),
            );
        });
    });
    ui.label(format!(
        "{} values, mean {}, deviation {}",
        values.count,
        number(values.mean),
        number(values.deviation)
    ));
    if values.not_finite > 0 {
        ui.label(
            RichText::new(format!("{} are not finite", values.not_finite)).color(tokens.error),
        );
    }
}

/// A number with four digits.
fn number(x: f64) -> String {
    if x == 0.0 || (1e-3..1e5).contains(&x.abs()) {
        format!("{x:.4}")
    } else {
        format!("{x:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::shape;
    use super::*;

    #[test]
    fn values_are_measured_without_those_that_are_not_finite() {
        let values = measure(&[0.0, 1.0, 2.0, 3.0, f32::NAN, f32::INFINITY]);
        assert_eq!(
            (
                values.count,
                values.not_finite,
                values.least,
                values.most,
                values.mean
            ),
            (6, 2, 0.0, 3.0, 1.5)
        );
        assert!((values.deviation - 1.25f64.sqrt()).abs() < 1e-12);
        assert_eq!(
            (
                values.bins.iter().sum::<usize>(),
                values.bins[0],
                values.bins[BINS - 1]
            ),
            (4, 1, 1)
        );
        let same = measure(&[7.0; 3]);
        assert_eq!((same.bins[0], same.deviation), (3, 0.0));
        assert_eq!(measure(&[]).count, 0);
        assert_eq!(
            (number(0.5), number(1e-9), shape(&[3, 4]), shape(&[])),
            (
                "0.5000".into(),
                "1.000e-9".into(),
                "3x4".into(),
                "number".into()
            )
        );
    }
}
