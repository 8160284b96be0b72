//! While something is dragged over the window: what dropping it does.

use std::path::Path;

use eframe::egui::{Align2, FontId, HoveredFile, Id, LayerId, Order, Stroke, StrokeKind, Ui, vec2};

use crate::window::files::{self, Guess, short};
use crate::window::tokens::{BODY, LARGE, Tokens};
use crate::window::views::{Shows, View};
use crate::window::widgets::middle;

/// Lines that are shown, one for each file.
const LINES: usize = 8;

/// Over all of the window, while there is something.
pub fn show(ui: &Ui, tokens: &Tokens, view: &dyn View) {
    let hovered = ui.ctx().input(|i| i.raw.hovered_files.clone());
    if hovered.is_empty() {
        return;
    }
    let layer = LayerId::new(Order::Foreground, Id::unique("drop"));
    let painter = ui.ctx().layer_painter(layer);
    let rect = ui.ctx().content_rect();
    painter.rect_filled(rect, 0.0, tokens.canvas.gamma_multiply(0.9));
    let edge = Stroke::new(2.0, tokens.accent);
    painter.rect_stroke(rect.shrink(8.0), 6.0, edge, StrokeKind::Inside);
    let font = |size| FontId::proportional(size);
    let centre = Align2::CENTER_CENTER;
    let title = match hovered.len() {
        1 => "Drop it here".to_owned(),
        n => format!("Drop {n} files here"),
    };
    let mut at = rect.center() - vec2(0.0, 12.0 * hovered.len().min(LINES) as f32);
    painter.text(at, centre, title, font(LARGE), tokens.text);
    at.y += 12.0;
    let mut lines: Vec<String> = hovered.iter().map(|file| line(file, view)).collect();
    if lines.len() > LINES {
        let more = lines.len() - LINES + 1;
        lines.truncate(LINES - 1);
        lines.push(format!("and {more} more"));
    }
    for text in lines {
        at.y += 24.0;
        painter.text(at, centre, text, font(BODY), tokens.soft);
    }
}

/// A file's name, and what becomes of it.
pub fn line(file: &HoveredFile, view: &dyn View) -> String {
    let name = file.path.as_deref().map(|path| middle(&short(path), 40));
    let does = does(file.path.as_deref(), &file.mime, view);
    match name {
        Some(name) => format!("{name}: {does}"),
        None => does.to_owned(),
    }
}

fn does(path: Option<&Path>, mime: &str, view: &dyn View) -> &'static str {
    let guess = match path {
        Some(path) => files::guess(path),
        None if mime.starts_with("image/") => Guess::Picture,
        None => Guess::Unknown,
    };
    match guess {
        Guess::Config => "opened in the editor",
        Guess::Picture => "objects are found in it",
        Guess::Checkpoint if view.takes(Shows::Checkpoint) => "used as weights here",
        Guess::Checkpoint => "looked into as a checkpoint",
        Guess::Annotations if view.takes(Shows::Annotations) => "used as ground truth here",
        Guess::Annotations => "opened as a data set",
        Guess::Json => "a config, annotations or a log, by what is in it",
        Guess::Folder => "its pictures, annotations, run or configs",
        Guess::Unknown => "opened by what is in it",
    }
}
