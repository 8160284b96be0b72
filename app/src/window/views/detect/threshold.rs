//! The score threshold over a histogram of scores: drag it, step it with the arrows, or type it.

use eframe::egui::{
    CornerRadius, DragValue, EventFilter, Key, Modifiers, Rect, Sense, Stroke, Ui, WidgetInfo,
    pos2, vec2,
};

use crate::window::tokens::Tokens;
use crate::window::widgets;

/// What is shown where nobody has said anything else, as by the command line.
pub const USUAL: f32 = crate::drawn::DRAWN_SCORE;
const BINS: usize = 50;
const HEIGHT: f32 = 44.0;
const FIELD: f32 = 60.0;

/// Shows it; `scores` are all that there are, also those below it.
pub fn show(ui: &mut Ui, threshold: &mut f32, scores: &[f32]) {
    ui.horizontal(|ui| {
        let width = (ui.available_width() - FIELD - 8.0).max(80.0);
        rail(ui, threshold, scores, width);
        let field = DragValue::new(threshold)
            .range(0.0..=1.0)
            .speed(0.005)
            .fixed_decimals(2);
        let field = ui.add_sized(vec2(FIELD, 24.0), field);
        widgets::name(&field, "Score threshold, as a number");
    });
}

fn rail(ui: &mut Ui, threshold: &mut f32, scores: &[f32], width: f32) {
    let tokens = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(width, HEIGHT), Sense::click_and_drag());
    if response.clicked() || response.dragged() {
        response.request_focus();
    }
    let fine = ui.input(|i| i.modifiers.shift);
    if response.double_clicked() {
        *threshold = USUAL;
    } else if response.dragged() && fine {
        *threshold += response.drag_delta().x / rect.width() / 10.0;
    } else if let Some(at) = response.interact_pointer_pos()
        && (response.dragged() || response.clicked())
    {
        *threshold = (at.x - rect.left()) / rect.width();
    }
    if response.has_focus() {
        let filter = EventFilter {
            horizontal_arrows: true,
            ..EventFilter::default()
        };
        ui.memory_mut(|m| m.set_focus_lock_filter(response.id, filter));
        let step = |key| {
            let by = |modifiers, step: f32| {
                let times = ui.input_mut(|i| i.count_and_consume_key(modifiers, key));
                times as f32 * step
            };
            by(Modifiers::SHIFT, 0.1) + by(Modifiers::NONE, 0.01)
        };
        *threshold += step(Key::ArrowRight) - step(Key::ArrowLeft);
    }
    *threshold = threshold.clamp(0.0, 1.0);
    let value = f64::from(*threshold);
    response.widget_info(|| WidgetInfo::slider(true, value, "Score threshold"));
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(4), tokens.field);
    let bins = histogram(scores);
    let most = bins.iter().copied().max().unwrap_or(0).max(1) as f32;
    let bar = rect.width() / BINS as f32;
    for (i, n) in bins.iter().enumerate().filter(|(_, n)| **n > 0) {
        // a root, so that few high scores are seen beside many low ones
        let height = ((*n as f32 / most).sqrt() * (rect.height() - 6.0)).max(2.0);
        let left = rect.left() + i as f32 * bar;
        let above = (i as f32 + 0.5) / BINS as f32 >= *threshold;
        let fill = if above { tokens.accent } else { tokens.pressed };
        let corners = [
            pos2(left, rect.bottom() - height),
            pos2(left + bar - 1.0, rect.bottom()),
        ];
        painter.rect_filled(Rect::from_points(&corners), CornerRadius::ZERO, fill);
    }
    let x = rect.left() + *threshold * rect.width();
    let x = x.clamp(rect.left() + 1.0, rect.right() - 1.0);
    painter.vline(x, rect.y_range(), Stroke::new(2.0, tokens.text));
    let knob = Rect::from_center_size(pos2(x, rect.top() + 5.0), vec2(9.0, 10.0));
    painter.rect_filled(knob, CornerRadius::same(2), tokens.text);
    widgets::focus_ring(ui, &response);
    response.on_hover_text(
        "Lowest score that is shown. Shift drags finely, a double click goes back to 0.30",
    );
}

fn histogram(scores: &[f32]) -> [usize; BINS] {
    let mut bins = [0; BINS];
    for score in scores {
        bins[((score * BINS as f32) as usize).min(BINS - 1)] += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_one_belong_to_the_last_bin() {
        let bins = histogram(&[0.0, 0.019, 0.02, 1.0, 0.99]);
        assert_eq!((bins[0], bins[1], bins[BINS - 1]), (2, 1, 2));
    }
}
