//! The strip: what every step of the pipeline left, small, with what it did.

use eframe::egui::{
    self, Align2, Color32, CornerRadius, FontId, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind,
    TextureHandle, Ui, WidgetInfo, pos2, vec2,
};
use smalti::data::trace::readable;

use super::draws::Pins;
use super::sample::Seen;
use crate::window::frame::plural;
use crate::window::icons;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets;

/// Height of the strip, with its bar.
pub const HEIGHT: f32 = 104.0;
const TILE: egui::Vec2 = vec2(112.0, 92.0);
const PICTURE: f32 = 56.0;

/// Shows it; gives the row that was clicked.
pub fn show(
    ui: &mut Ui,
    seen: &Seen,
    thumbs: &[Option<TextureHandle>],
    pins: &Pins,
    reveal: bool,
) -> Option<usize> {
    let mut clicked = None;
    ScrollArea::horizontal()
        .auto_shrink(false)
        .id_salt("steps")
        .show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 4.0;
                for i in 0..seen.rows.len() {
                    let tile = tile(ui, seen, i, thumbs.get(i).and_then(Option::as_ref), pins);
                    if reveal && seen.chosen == Some(i) {
                        tile.scroll_to_me(None);
                    }
                    if tile.clicked() {
                        clicked = Some(i);
                    }
                }
            });
        });
    clicked
}

/// Whether a row is the one at which the pipeline ended with an error.
pub fn failed(seen: &Seen, i: usize) -> bool {
    let first = seen
        .rows
        .iter()
        .position(|r| r.idle.as_deref() == Some("it failed"));
    seen.trace.error.is_some() && first == Some(i)
}

fn tile(
    ui: &mut Ui,
    seen: &Seen,
    i: usize,
    thumb: Option<&TextureHandle>,
    pins: &Pins,
) -> egui::Response {
    let (row, tokens) = (&seen.rows[i], Tokens::of(ui));
    let (rect, response) = ui.allocate_exact_size(TILE, Sense::click());
    let step = row.step.map(|s| &seen.trace.steps[s]);
    let objects = step.map(|s| s.samples()[0].gt.len());
    let dropped = step.map_or(0, |s| s.dropped.len());
    let drew = step.is_some_and(|s| s.params.is_some() || s.indexes.is_some());
    let is_pinned = step.is_some_and(|s| {
        let places = s.saved.into_iter().flatten();
        places.into_iter().any(|at| pins.has(&seen.trace, at))
    });
    let failed = failed(seen, i);
    let selected = seen.chosen == Some(i);
    let mut name = format!("{} {}", i + 1, row.name);
    if let Some(n) = objects {
        name += &format!(", {}", plural(n, "object"));
    }
    if dropped > 0 {
        name += &format!(", {dropped} dropped");
    }
    if is_pinned {
        name += ", pinned";
    }
    if let Some(why) = &row.idle {
        name += &format!(", {why}");
    }
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &name));
    let painter = ui.painter_at(rect.expand(1.0));
    let fill = match (selected, response.hovered()) {
        (true, _) => tokens.selection,
        (false, true) => tokens.hover,
        (false, false) => tokens.panel,
    };
    painter.rect_filled(rect, CornerRadius::same(4), fill);
    let edge = match (failed, selected) {
        (true, _) => Some(tokens.error),
        (false, true) => Some(tokens.accent),
        _ => None,
    };
    if let Some(color) = edge {
        let stroke = Stroke::new(2.0, color);
        painter.rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
    }
    let dim = row.idle.is_some() && !failed;
    let place = Rect::from_min_size(rect.min + vec2(4.0, 4.0), vec2(TILE.x - 8.0, PICTURE));
    match thumb {
        Some(texture) => picture(&painter, texture, place, dim),
        None => {
            let color = if failed { tokens.error } else { tokens.weak };
            let icon = if failed { icons::ERROR } else { icons::NOTE };
            let square = Rect::from_center_size(place.center(), vec2(20.0, 20.0));
            icons::paint(&painter, icon, square, color);
        }
    }
    let ink = match (failed, dim) {
        (true, _) => tokens.error,
        (_, true) => tokens.weak,
        _ => tokens.text,
    };
    let font = FontId::proportional(SMALL);
    let indent = if row.is_inner { "· " } else { "" };
    let title = widgets::middle(&format!("{} {indent}{}", i + 1, row.name), 16);
    let left = rect.left() + 6.0;
    painter.text(
        pos2(left, rect.bottom() - 23.0),
        Align2::LEFT_CENTER,
        title,
        font.clone(),
        ink,
    );
    let y = rect.bottom() - 10.0;
    let facts = match (&row.idle, objects) {
        (Some(why), None) => widgets::middle(why, 16),
        (_, Some(n)) => plural(n, "object"),
        _ => String::new(),
    };
    let facts = painter.text(
        pos2(left, y),
        Align2::LEFT_CENTER,
        facts,
        font.clone(),
        tokens.weak,
    );
    if dropped > 0 {
        painter.text(
            pos2(facts.right() + 4.0, y),
            Align2::LEFT_CENTER,
            format!("-{dropped}"),
            font,
            tokens.error,
        );
    }
    let mut right = rect.right() - 12.0;
    let mut badge = |icon, color: Color32| {
        let square = Rect::from_center_size(pos2(right, y), vec2(12.0, 12.0));
        icons::paint(&painter, icon, square, color);
        right -= 14.0;
    };
    if is_pinned {
        badge(icons::PIN, tokens.accent);
    }
    if drew {
        badge(icons::DICE, tokens.weak);
    }
    widgets::focus_ring(ui, &response);
    response.on_hover_ui(|ui| {
        if let Some(texture) = thumb {
            ui.image((texture.id(), texture.size_vec2()));
        }
        ui.label(&row.name);
        if let Some(why) = &row.idle {
            ui.label(why);
        }
        if let Some(params) = step.and_then(|s| s.params.as_ref()) {
            ui.label(readable(params));
        }
    })
}

fn picture(painter: &egui::Painter, texture: &TextureHandle, place: Rect, dim: bool) {
    let size = texture.size_vec2();
    let scale = (place.width() / size.x).min(place.height() / size.y);
    let rect = Rect::from_center_size(place.center(), size * scale);
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    let tint = Color32::WHITE.gamma_multiply(if dim { 0.4 } else { 1.0 });
    painter.image(texture.id(), rect, whole, tint);
}
