//! What is wrong, a row each: a click goes there, a button mends it.

use std::path::Path;

use eframe::egui::{Button, RichText, ScrollArea, Stroke, Ui, vec2};

use smalti::config::{Fix, Severity};

use super::marks::Mark;
use crate::window::analysis::Analysis;
use crate::window::files::short;
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::{Place, Session};
use crate::window::tokens::{ROW, Tokens};
use crate::window::widgets;

/// Fixes of a row that have a button; others are few and alike.
const BUTTONS: usize = 3;

/// The pane's rows.
pub fn show(
    ui: &mut Ui,
    session: &mut Session,
    jobs: &mut Jobs,
    analysis: &Analysis,
    marks: &[Mark],
) {
    let tokens = Tokens::of(ui);
    if analysis.found.is_empty() {
        ui.label(RichText::new("Nothing is wrong.").color(tokens.ok));
        return;
    }
    let (mut goal, mut fixes): (Option<Place>, Vec<Fix>) = (None, Vec::new());
    ScrollArea::vertical().auto_shrink(false).show_rows(
        ui,
        ROW,
        analysis.found.len(),
        |ui, rows| {
            for i in rows {
                let found = &analysis.found[i];
                let (icon, color, word) = look(found.severity, tokens);
                let mark = marks.iter().find(|m| m.index == i);
                ui.horizontal(|ui| {
                    ui.set_min_height(ROW);
                    widgets::icon(ui, icon, color);
                    let place = mark.map_or(String::new(), |m| {
                        format!("{}:{}  ", short(Path::new(&m.file)), m.line)
                    });
                    let buttons = mark.map_or(0, |m| m.fixes.len().min(BUTTONS)) as f32 * 160.0;
                    let line = found.message.lines().next().unwrap_or("").to_owned();
                    let text = RichText::new(format!("{place}{line}")).color(tokens.text);
                    let row = Button::new(text)
                        .truncate()
                        .frame(false)
                        .min_size(vec2(0.0, ROW))
                        .stroke(Stroke::NONE);
                    let width = (ui.available_width() - buttons).max(120.0);
                    let response = ui.scope(|ui| {
                        ui.set_max_width(width);
                        ui.add(row)
                    });
                    let help = found
                        .help
                        .as_deref()
                        .map(|h| format!("\n{h}"))
                        .unwrap_or_default();
                    if response
                        .inner
                        .on_hover_text(format!("{word}: {}{help}", found.message))
                        .clicked()
                    {
                        goal = mark.map(|m| Place {
                            path: super::marks::path(m),
                            range: m.range.clone(),
                        });
                    }
                    let Some(mark) = mark else { return };
                    for fix in mark.fixes.iter().take(BUTTONS) {
                        let before = fix.place.text();
                        let hover = format!(
                            "{}:{}\n- {before}\n+ {}",
                            short(Path::new(&mark.file)),
                            mark.line,
                            fix.text
                        );
                        if widgets::link(ui, &fix.label).on_hover_text(hover).clicked() {
                            fixes.push(fix.clone());
                        }
                    }
                    let alike = alike(marks, mark);
                    if alike.len() > 1
                        && widgets::link(ui, &format!("all {} alike", alike.len())).clicked()
                    {
                        fixes.extend(alike);
                    }
                });
            }
        },
    );
    if let Some(place) = goal {
        session.go(jobs, &place);
    }
    session.fix(jobs, fixes);
}

/// The first fixes of all findings that say the same and are mended in the same way.
fn alike(marks: &[Mark], mark: &Mark) -> Vec<Fix> {
    let Some(first) = mark.fixes.first() else {
        return Vec::new();
    };
    let same = |m: &&Mark| {
        m.message == mark.message && m.fixes.first().is_some_and(|f| f.label == first.label)
    };
    marks
        .iter()
        .filter(same)
        .filter_map(|m| m.fixes.first().cloned())
        .collect()
}

/// Icon, colour and word of how bad something is.
pub fn look(
    severity: Severity,
    tokens: &Tokens,
) -> (icons::Icon, eframe::egui::Color32, &'static str) {
    match severity {
        Severity::Error => (icons::ERROR, tokens.error, "error"),
        Severity::Warning => (icons::WARNING, tokens.warning, "warning"),
        Severity::Note => (icons::NOTE, tokens.note, "note"),
    }
}
