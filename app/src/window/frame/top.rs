//! The top bar: what is open, find anything, how many problems there are.

use eframe::egui::{self, Align, Button, Layout, RichText, Ui, vec2};

use smalti::config::Severity;

use crate::window::actions::Command;
use crate::window::files::short;
use crate::window::icons;
use crate::window::session::Session;
use crate::window::tokens::{BUTTON, Tokens};
use crate::window::widgets::{self, middle};

pub fn show(ui: &mut Ui, session: &mut Session) {
    ui.horizontal_centered(|ui| {
        let tokens = Tokens::of(ui);
        let narrow = super::is_narrow(ui);
        let most = if narrow { 20 } else { 36 };
        let (modified, name) = match session.documents.active() {
            Some(d) => (d.is_modified(), middle(&d.name(), most)),
            None => (false, "no config".into()),
        };
        let title = format!("{name}{}", if modified { " *" } else { "" });
        let menu = egui::containers::menu::MenuButton::from_button(
            Button::new(title)
                .right_text("▼")
                .min_size(vec2(0.0, BUTTON)),
        );
        menu.ui(ui, |ui| documents(ui, session));
        if let Some(checkpoint) = session.checkpoint.as_ref().filter(|_| !narrow) {
            ui.label(RichText::new(middle(&short(checkpoint), 36)).color(tokens.soft))
                .on_hover_text(checkpoint.display().to_string());
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            problems(ui, session);
            let width = ui.available_width().min(280.0);
            let mut find = Button::new(RichText::new("Find anything").color(tokens.weak));
            if !narrow {
                find = find.right_text(RichText::new(shortcut(ui)).color(tokens.weak));
            }
            if ui
                .add(find.fill(tokens.field).min_size(vec2(width, BUTTON)))
                .clicked()
            {
                session.commands.push_back(Command::Palette);
            }
        });
    });
}

fn shortcut(ui: &Ui) -> String {
    let palette = crate::window::actions::ACTIONS
        .iter()
        .find(|a| a.command == Command::Palette);
    palette
        .and_then(|a| a.keys.first())
        .map(|k| ui.ctx().format_shortcut(k))
        .unwrap_or_default()
}

fn documents(ui: &mut Ui, session: &mut Session) {
    let open: Vec<_> = session
        .documents
        .iter()
        .map(|d| (d.id, d.name(), d.key()))
        .collect();
    for (id, name, path) in open {
        if ui.button(name).on_hover_text(path).clicked() {
            session.documents.activate(id);
        }
    }
    if session.documents.iter().len() > 0 {
        ui.separator();
    }
    for (text, command) in [
        ("Open...", Command::Open),
        ("New from recipe", Command::New),
        ("Save", Command::Save),
        ("Save as...", Command::SaveAs),
    ] {
        if ui.button(text).clicked() {
            session.commands.push_back(command);
        }
    }
}

/// How many findings there are of the worst kind.
fn problems(ui: &mut Ui, session: &mut Session) {
    let tokens = Tokens::of(ui);
    let Some(analysis) = &session.analysis else {
        return;
    };
    let (errors, warnings) = (
        analysis.count(Severity::Error),
        analysis.count(Severity::Warning),
    );
    let (icon, color, text) = match (errors, warnings) {
        (0, 0) => return,
        (0, n) => (icons::WARNING, tokens.warning, plural(n, "warning")),
        (n, _) => (icons::ERROR, tokens.error, plural(n, "error")),
    };
    if widgets::link(ui, &text)
        .on_hover_text("Go to the next problem (F8)")
        .clicked()
    {
        session.commands.push_back(Command::NextProblem);
    }
    widgets::icon(ui, icon, color);
}

/// A count and its word.
pub fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}
