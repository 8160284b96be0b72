//! How large boxes are, before and after augmentation: counted over some samples, away from the window's thread.

use eframe::egui::{
    Align2, CornerRadius, FontId, Rect, RichText, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
    pos2, vec2,
};

use smalti::data::pixels::Pixels;
use smalti::structures::Xyxy;

use super::sample::{self, Question};
use crate::window::jobs::{Job, Jobs, Progress};
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets;

/// Samples that are looked at.
pub const SAMPLES: usize = 200;
/// Bins: from 2 px on, two for each doubling.
const BINS: usize = 20;

/// Counts of boxes by the root of their area.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sizes {
    /// As annotated.
    pub before: [usize; BINS],
    /// As they leave the pipeline.
    pub after: [usize; BINS],
    /// Samples that were looked at, and those that could not be made.
    pub samples: (usize, usize),
}

/// Which bin a box belongs to.
fn bin([x1, y1, x2, y2]: Xyxy) -> usize {
    let side = ((x2 - x1).max(0.0) * (y2 - y1).max(0.0)).sqrt();
    let place = (side.max(2.0).log2() - 1.0) * 2.0;
    (place as usize).min(BINS - 1)
}

/// The smallest side of a bin, px.
fn least(bin: usize) -> f32 {
    2.0_f32.powf(1.0 + bin as f32 / 2.0)
}

/// The panel.
#[derive(Default)]
pub struct Panel {
    /// Whether it is shown.
    pub is_open: bool,
    job: Option<Job<Option<Sizes>>>,
    found: Option<Sizes>,
    /// For which state of the config that was.
    of: Option<(u64, u64)>,
    failed: Option<String>,
}

async fn count(question: &Question, progress: &Progress) -> Option<Sizes> {
    let (mut sizes, pixels) = (Sizes::default(), Pixels::cpu());
    let most = SAMPLES.min(question.opened.len);
    for i in 0..most {
        if progress.cancelled() {
            return None;
        }
        progress.tell(i as u64, most as u64);
        question.host.pause().await;
        // spread over the whole data set
        let index = i * question.opened.len / most;
        let made = question.opened.with(&question.node, |dataset, files| {
            let trace = sample::traced(dataset, files, &pixels, index, question.seed, Vec::new());
            let before = dataset
                .info(index)
                .instances
                .iter()
                .map(|i| i.bbox)
                .collect();
            let last = trace.steps.last().filter(|_| trace.error.is_none());
            let after = last.map(|s| s.samples()[0].gt.boxes.clone());
            (before, after)
        });
        let Ok((before, Some(after))): Result<(Vec<Xyxy>, Option<Vec<Xyxy>>), _> = made else {
            sizes.samples.1 += 1;
            continue;
        };
        sizes.samples.0 += 1;
        before.into_iter().for_each(|b| sizes.before[bin(b)] += 1);
        after.into_iter().for_each(|b| sizes.after[bin(b)] += 1);
    }
    Some(sizes)
}

impl Panel {
    /// Starts counting if the config or the data is another one than was counted, and nobody is dragging.
    pub fn tick(&mut self, jobs: &mut Jobs, question: &Question, of: (u64, u64), dragging: bool) {
        if let Some(done) = self.job.as_ref().and_then(Job::poll) {
            self.job = None;
            match done {
                Ok(Some(sizes)) => (self.found, self.failed) = (Some(sizes), None),
                Ok(None) => self.failed = Some("The count was stopped.".into()),
                Err(why) => self.failed = Some(why),
            }
        }
        if !self.is_open || dragging || self.of == Some(of) {
            return;
        }
        self.of = Some(of);
        self.failed = None;
        let question = question.clone();
        self.job = Some(jobs.start_waiting("sizes of boxes", async move |progress| {
            count(&question, &progress).await
        }));
    }

    /// Counts again at the next chance.
    pub fn retry(&mut self) {
        (self.of, self.failed, self.job) = (None, None, None);
    }

    /// Shows it. True if it is to be counted again.
    pub fn show(&self, ui: &mut Ui) -> bool {
        let tokens = Tokens::of(ui);
        let mut again = false;
        ui.horizontal(|ui| {
            ui.label(RichText::new("Box sizes").color(tokens.soft).strong());
            match (&self.job, &self.failed, &self.found) {
                (Some(_), ..) => {
                    ui.label(RichText::new("counting ...").color(tokens.weak));
                }
                (None, Some(why), _) => {
                    ui.label(RichText::new(why).color(tokens.error));
                    again = widgets::button(ui, "Retry").clicked();
                }
                (None, None, Some(found)) => {
                    let (good, bad) = found.samples;
                    let bad = if bad > 0 {
                        format!(", {bad} failed")
                    } else {
                        String::new()
                    };
                    let text = format!("root of the area, px; {good} samples{bad}");
                    ui.label(RichText::new(text).color(tokens.weak));
                    key(ui, tokens.weak, false, "as annotated");
                    key(ui, tokens.accent, true, "after the pipeline");
                }
                _ => {}
            }
        });
        if let Some(found) = &self.found {
            bars(ui, found);
        }
        again
    }
}

fn key(ui: &mut Ui, color: eframe::egui::Color32, filled: bool, text: &str) {
    let (rect, _) = ui.allocate_exact_size(vec2(12.0, 12.0), Sense::hover());
    if filled {
        ui.painter().rect_filled(rect, CornerRadius::ZERO, color);
    } else {
        let stroke = Stroke::new(1.5, color);
        ui.painter()
            .rect_stroke(rect, CornerRadius::ZERO, stroke, StrokeKind::Inside);
    }
    ui.label(RichText::new(text).color(Tokens::of(ui).soft));
}

fn bars(ui: &mut Ui, found: &Sizes) {
    let tokens = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::hover());
    let share = |counts: &[usize; BINS]| {
        let all = counts.iter().sum::<usize>().max(1) as f32;
        counts.map(|n| n as f32 / all)
    };
    let (before, after) = (share(&found.before), share(&found.after));
    let all: usize = found.after.iter().sum();
    let name = format!(
        "Box sizes: {} boxes as annotated, {all} after the pipeline",
        found.before.iter().sum::<usize>()
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
    let used = |i: &usize| found.before[*i] + found.after[*i] > 0;
    let first = (0..BINS).find(used).unwrap_or(0);
    let last = (0..BINS).rfind(used).unwrap_or(BINS - 1);
    let count = last - first + 1;
    let most = before.iter().chain(&after).fold(0.01_f32, |m, v| m.max(*v));
    let (painter, width) = (ui.painter_at(rect), rect.width() / count as f32);
    let floor = rect.bottom() - 16.0;
    for (place, i) in (first..=last).enumerate() {
        let left = rect.left() + place as f32 * width;
        let bar = |share: f32, inset: f32| {
            let height = (floor - rect.top() - 4.0) * share / most;
            Rect::from_min_max(
                pos2(left + inset, floor - height),
                pos2(left + width - inset, floor),
            )
        };
        painter.rect_filled(bar(after[i], 4.0), CornerRadius::ZERO, tokens.accent);
        let stroke = Stroke::new(1.5, tokens.weak);
        let outline = bar(before[i], 2.0);
        painter.rect_stroke(outline, CornerRadius::ZERO, stroke, StrokeKind::Inside);
        if i % 2 == 0 {
            painter.text(
                pos2(left, rect.bottom()),
                Align2::LEFT_BOTTOM,
                format!("{:.0}", least(i)),
                FontId::proportional(SMALL),
                tokens.weak,
            );
        }
    }
    painter.hline(rect.x_range(), floor, Stroke::new(1.0, tokens.separator));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_fall_into_bins_of_half_a_doubling() {
        let of = |w: f32, h: f32| bin([5.0, 5.0, 5.0 + w, 5.0 + h]);
        assert_eq!((of(0.5, 0.5), of(2.0, 2.0), of(3.0, 3.0)), (0, 0, 1));
        assert_eq!((of(32.0, 32.0), of(16.0, 64.0), of(1e6, 1e6)), (8, 8, 19));
        assert_eq!(bin([3.0, 3.0, 1.0, 1.0]), 0, "no area");
        assert_eq!(least(8), 32.0);
    }
}
