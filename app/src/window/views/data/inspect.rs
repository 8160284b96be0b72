//! The selected picture: larger, with what is wrong, and its objects.

use eframe::egui::{
    Align2, CornerRadius, FontId, Rect, RichText, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui,
    WidgetInfo, pos2, vec2,
};

use smalti::data::summary::FaultKind;

use super::grid::{self, Shown};
use super::index::words;
use super::thumbs::{Thumb, Thumbs};
use crate::window::files::short;
use crate::window::frame::plural;
use crate::window::icons;
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// Shows it. True if it is to be opened.
pub fn show(ui: &mut Ui, thumbs: &mut Thumbs, shown: &Shown<'_>, picture: u32) -> bool {
    let tokens = Tokens::of(ui);
    let (index, i) = (shown.index, picture as usize);
    let of = index.picture(i);
    let name = short(of.path.as_ref().as_ref());
    ui.heading(middle(&name, 36)).on_hover_text(&*of.path);
    let size = match of.size {
        [0, _] | [_, 0] => "size unknown".to_owned(),
        [width, height] => format!("{width} x {height} px"),
    };
    let objects = index.objects(i);
    let text = format!("{size}, {}", plural(objects.len(), "object"));
    ui.label(RichText::new(text).color(tokens.soft));
    ui.add_space(4.0);
    let width = ui.available_width();
    let ratio = match of.size {
        [0, _] | [_, 0] => 0.75,
        [w, h] => h as f32 / w as f32,
    };
    let height = (width * ratio).clamp(64.0, 320.0);
    let (place, _) = ui.allocate_exact_size(vec2(width, height), Sense::hover());
    ui.painter()
        .rect_filled(place, CornerRadius::same(4), tokens.field);
    let px = place.width().max(place.height()) * ui.ctx().pixels_per_point();
    let missing = index.faults(i).any(|kind| kind == FaultKind::MissingFile);
    let thumb = match missing {
        true => None,
        false => thumbs.get(picture, &of.path, px),
    };
    let mut inside = None;
    let mut broken = None;
    match thumb {
        Some(Thumb::Shown(texture)) => {
            let rect = grid::fitted(place, texture.size().map(|v| v as f32));
            let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            let white = eframe::egui::Color32::WHITE;
            ui.painter().image(texture.id(), rect, uv, white);
            grid::boxes(&ui.painter_at(rect), shown, i, rect);
            inside = Some(rect);
        }
        Some(Thumb::Broken(why)) => broken = Some(why.clone()),
        None => {}
    }
    let open = ui
        .horizontal(|ui| widgets::button(ui, "Open").clicked())
        .inner;
    if let Some(why) = &broken {
        fault(ui, &format!("The file cannot be read: {why}"), true);
        if widgets::button(ui, "Retry").clicked() {
            thumbs.retry();
        }
    }
    for kind in index.faults(i) {
        fault(ui, words(kind), kind == FaultKind::MissingFile);
    }
    ui.add_space(8.0);
    ui.spacing_mut().item_spacing.y = 0.0;
    let area = ScrollArea::vertical().id_salt("objects").auto_shrink(false);
    area.show_rows(ui, ROW, objects.len(), |ui, range| {
        for at in range {
            let lit = row(ui, shown, i, at);
            if let (true, Some(rect), [width, height]) = (lit, inside, of.size)
                && width > 0
                && height > 0
            {
                let [x1, y1, x2, y2] = objects[at].bbox;
                let (x, y) = (rect.width() / width as f32, rect.height() / height as f32);
                let at = Rect::from_min_max(
                    pos2(rect.left() + x1 * x, rect.top() + y1 * y),
                    pos2(rect.left() + x2 * x, rect.top() + y2 * y),
                );
                let stroke = Stroke::new(3.0, eframe::egui::Color32::WHITE);
                let painter = ui.ctx().layer_painter(ui.layer_id()).with_clip_rect(rect);
                painter.rect_stroke(at, CornerRadius::ZERO, stroke, StrokeKind::Middle);
            }
        }
    });
    open
}

fn fault(ui: &mut Ui, text: &str, bad: bool) {
    let tokens = Tokens::of(ui);
    let (icon, color) = match bad {
        true => (icons::ERROR, tokens.error),
        false => (icons::WARNING, tokens.warning),
    };
    ui.horizontal_wrapped(|ui| {
        widgets::icon(ui, icon, color);
        ui.label(RichText::new(text).color(color));
    });
}

/// An object; whether the pointer is over it.
fn row(ui: &mut Ui, shown: &Shown<'_>, picture: usize, at: usize) -> bool {
    let tokens = Tokens::of(ui);
    let object = shown.index.objects(picture)[at];
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let class = shown.index.class(object.label);
    let [x1, y1, x2, y2] = object.bbox;
    let size = format!("{:.0} x {:.0}", x2 - x1, y2 - y1);
    let said = format!("{class} {size} px");
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &said));
    let painter = ui.painter_at(rect);
    if response.hovered() {
        painter.rect_filled(rect, CornerRadius::same(2), tokens.hover);
    }
    let y = rect.center().y;
    let square = Rect::from_center_size(pos2(rect.left() + 8.0, y), vec2(8.0, 8.0));
    let color = super::class_color(object.label);
    painter.rect_filled(square, CornerRadius::same(2), color);
    let mut x = rect.left() + 20.0;
    if object.fault.is_some() {
        let square = Rect::from_center_size(pos2(x + 7.0, y), vec2(14.0, 14.0));
        icons::paint(&painter, icons::WARNING, square, tokens.warning);
        x += 20.0;
    }
    let right = painter.text(
        pos2(rect.right() - 4.0, y),
        Align2::RIGHT_CENTER,
        size,
        FontId::monospace(SMALL),
        tokens.soft,
    );
    let most = ((right.left() - x - 60.0) / 6.5).max(4.0) as usize;
    let name = painter.text(
        pos2(x, y),
        Align2::LEFT_CENTER,
        middle(class, most),
        FontId::proportional(BODY),
        tokens.text,
    );
    if object.ignore {
        painter.text(
            pos2(name.right() + 6.0, y),
            Align2::LEFT_CENTER,
            "ignored",
            FontId::proportional(SMALL),
            tokens.weak,
        );
    }
    match object.fault {
        Some(kind) => response.on_hover_text(words(kind)).hovered(),
        None => response.hovered(),
    }
}
