//! [`Grid`]: the pictures of a data set in rows, those in sight with their boxes. A file that cannot be read keeps its place.

use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Key, Modifiers, Painter, Rect, Response, Role, Sense,
    Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

use smalti::data::summary::FaultKind;

use super::index::{Filter, Index};
use super::scroll::{BAR, Scroll};
use super::thumbs::{Thumb, Thumbs};
use crate::window::files::short;
use crate::window::frame::plural;
use crate::window::icons;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// Between pictures, px.
const GAP: f32 = 8.0;
/// A picture's name below it, px.
const NAME: f32 = 20.0;
/// Boxes that are drawn of one picture.
const MOST_BOXES: usize = 120;

/// Where the grid is, and what is selected in it.
#[derive(Default)]
pub struct Grid {
    scroll: Scroll,
    /// The selected picture.
    pub selected: Option<u32>,
}

/// What it shows.
pub struct Shown<'a> {
    /// The data set.
    pub index: &'a Index,
    /// Pictures in their order.
    pub pictures: &'a [u32],
    /// What is looked for: other objects stand back.
    pub filter: &'a Filter,
    /// Width and height of a picture's place, px.
    pub side: f32,
}

impl Grid {
    /// Other pictures: from the first on.
    pub fn start(&mut self) {
        self.scroll.start();
    }

    /// Shows it; gives the picture that is to be opened.
    pub fn show(&mut self, ui: &mut Ui, thumbs: &mut Thumbs, shown: &Shown<'_>) -> Option<u32> {
        let area = ui.available_rect_before_wrap();
        ui.advance_cursor_after_rect(area);
        let (side, count) = (shown.side, shown.pictures.len());
        let columns = (((area.width() - BAR - 4.0 + GAP) / (side + GAP)) as usize).max(1);
        let (rows, height) = (count.div_ceil(columns), side + NAME + GAP);
        let mut open = self.keys(ui, shown, columns, height);
        let sight = self.scroll.show(ui, area, rows, height);
        let mut ui = ui.new_child(eframe::egui::UiBuilder::new().max_rect(area));
        ui.set_clip_rect(area.intersect(ui.clip_rect()));
        for row in 0..sight.count {
            for column in 0..columns {
                let at = (sight.first + row) * columns + column;
                let Some(&picture) = shown.pictures.get(at) else {
                    break;
                };
                let left = area.left() + 4.0 + column as f32 * (side + GAP);
                let top = area.top() + 4.0 + sight.y + row as f32 * height;
                let place = Rect::from_min_size(pos2(left, top), vec2(side, side));
                let response = self.cell(&mut ui, thumbs, shown, picture, place);
                if response.clicked() {
                    self.selected = Some(picture);
                }
                if response.double_clicked() {
                    open = Some(picture);
                }
            }
        }
        open
    }

    /// Arrows walk, Enter opens.
    fn keys(&mut self, ui: &Ui, shown: &Shown<'_>, columns: usize, height: f32) -> Option<u32> {
        if ui.ctx().text_edit_focused() || shown.pictures.is_empty() {
            return None;
        }
        let pressed = |key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        let last = shown.pictures.len() - 1;
        let page = columns * self.scroll.page(height);
        let at = self
            .selected
            .and_then(|s| shown.pictures.binary_search(&s).ok());
        let steps = [
            (Key::ArrowRight, 1),
            (Key::ArrowLeft, -1),
            (Key::ArrowDown, columns as isize),
            (Key::ArrowUp, -(columns as isize)),
            (Key::PageDown, page as isize),
            (Key::PageUp, -(page as isize)),
            (Key::End, isize::MAX),
            (Key::Home, isize::MIN),
        ];
        for (key, by) in steps {
            if !pressed(key) {
                continue;
            }
            let to = match at {
                Some(at) => at.saturating_add_signed(by).min(last),
                None => 0,
            };
            self.selected = Some(shown.pictures[to]);
            self.scroll.reveal(to / columns);
        }
        at.filter(|_| pressed(Key::Enter))
            .map(|at| shown.pictures[at])
    }

    fn cell(
        &self,
        ui: &mut Ui,
        thumbs: &mut Thumbs,
        shown: &Shown<'_>,
        picture: u32,
        place: Rect,
    ) -> Response {
        let tokens = Tokens::of(ui);
        let (index, i) = (shown.index, picture as usize);
        let whole = place.with_max_y(place.bottom() + NAME);
        let response = ui.interact(
            whole,
            ui.scope_id().with(("picture", picture)),
            Sense::click(),
        );
        let path = &index.picture(i).path;
        let name = short(path.as_ref().as_ref());
        let selected = self.selected == Some(picture);
        let painter = ui.painter().clone();
        painter.rect_filled(place, CornerRadius::same(4), tokens.field);
        let px = shown.side * ui.ctx().pixels_per_point();
        let missing = index.faults(i).any(|kind| kind == FaultKind::MissingFile);
        let thumb = match missing {
            true => None,
            false => thumbs.get(picture, path, px),
        };
        let wrong = match thumb {
            _ if missing => Some("not there"),
            Some(Thumb::Broken(_)) => Some("cannot be read"),
            _ => None,
        };
        if let Some(Thumb::Shown(texture)) = thumb {
            let [width, height] = texture.size().map(|v| v as f32);
            let rect = fitted(place, [width, height]);
            let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            painter.image(texture.id(), rect, uv, Color32::WHITE);
            boxes(
                &painter.with_clip_rect(rect.intersect(painter.clip_rect())),
                shown,
                i,
                rect,
            );
        }
        if let Some(wrong) = wrong {
            let icon = Rect::from_center_size(place.center() - vec2(0.0, 12.0), vec2(16.0, 16.0));
            icons::paint(&painter, icons::ERROR, icon, tokens.error);
            let text = FontId::proportional(SMALL);
            let below = place.center() + vec2(0.0, 8.0);
            painter.text(below, Align2::CENTER_CENTER, wrong, text, tokens.error);
        } else if index.faults(i).next().is_some() {
            let corner = Rect::from_min_size(place.min + vec2(4.0, 4.0), vec2(20.0, 20.0));
            painter.rect_filled(corner, CornerRadius::same(4), tokens.popup);
            icons::paint(&painter, icons::WARNING, corner.shrink(3.0), tokens.warning);
        }
        edge(&painter, tokens, place, &response, selected);
        painter.text(
            pos2(place.left() + 2.0, place.bottom() + NAME / 2.0),
            Align2::LEFT_CENTER,
            middle(&name, ((shown.side - 4.0) / 6.5) as usize),
            FontId::proportional(SMALL),
            if selected { tokens.text } else { tokens.soft },
        );
        let objects = plural(index.objects(i).len(), "object");
        let wrong = wrong.map(|wrong| format!(", {wrong}")).unwrap_or_default();
        let said = format!("{name}, {objects}{wrong}");
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &said));
        widgets::focus_ring(ui, &response);
        response
    }
}

fn edge(painter: &Painter, tokens: &Tokens, place: Rect, response: &Response, selected: bool) {
    let (width, color) = match (selected, response.hovered()) {
        (true, _) => (3.0, tokens.accent),
        (false, true) => (1.0, tokens.text),
        (false, false) => (1.0, tokens.separator),
    };
    let stroke = Stroke::new(width, color);
    let outside = if selected {
        StrokeKind::Outside
    } else {
        StrokeKind::Inside
    };
    painter.rect_stroke(place, CornerRadius::same(4), stroke, outside);
}

/// The largest place of that ratio in the middle of another.
pub fn fitted(place: Rect, [width, height]: [f32; 2]) -> Rect {
    let scale = (place.width() / width).min(place.height() / height);
    Rect::from_center_size(place.center(), vec2(width * scale, height * scale))
}

/// The boxes of a picture that is shown in `rect`; none if nobody knows its size.
pub fn boxes(painter: &Painter, shown: &Shown<'_>, i: usize, rect: Rect) {
    let [width, height] = shown.index.picture(i).size.map(|v| v as f32);
    if width <= 0.0 || height <= 0.0 {
        return;
    }
    let (x, y) = (rect.width() / width, rect.height() / height);
    let line = if rect.width() < 160.0 { 1.0 } else { 1.5 };
    for object in shown.index.objects(i).iter().take(MOST_BOXES) {
        let [x1, y1, x2, y2] = object.bbox;
        let at = Rect::from_min_max(
            pos2(rect.left() + x1 * x, rect.top() + y1 * y),
            pos2(rect.left() + x2 * x, rect.top() + y2 * y),
        );
        if !at.is_finite() {
            continue;
        }
        let color = super::class_color(object.label);
        let back = !shown.filter.is_empty() && !shown.filter.means(object);
        let color = if back {
            color.gamma_multiply(0.35)
        } else {
            color
        };
        let stroke = Stroke::new(line, color);
        painter.rect_stroke(at, CornerRadius::ZERO, stroke, StrokeKind::Middle);
    }
}
