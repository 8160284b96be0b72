//! Runs that were cut off with the window that trained them: to go on with, or to forget.

use eframe::egui::Ui;

use crate::window::actions::Command;
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::views::{Shows, for_what};
use crate::window::widgets;

/// A card for each.
pub fn left_cards(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
    let tokens = Tokens::of(ui);
    let now = session.now().as_secs();
    let (mut resume, mut dismiss) = (None, None);
    for (i, left) in session.training.left.iter().enumerate() {
        widgets::card(ui, tokens.warning, |ui| {
            ui.horizontal_wrapped(|ui| {
                widgets::icon(ui, icons::WARNING, tokens.warning);
                ui.label(format!("{}.", left.title(now)));
                let (text, hover) = match &left.last {
                    Some(last) => (
                        format!("Resume from {}", super::thousands(last.iter)),
                        last.path.display().to_string(),
                    ),
                    None => (
                        "Start again".to_owned(),
                        "It had no checkpoint yet".to_owned(),
                    ),
                };
                if widgets::button(ui, &text).on_hover_text(hover).clicked() {
                    resume = Some(i);
                }
                if widgets::button(ui, "Dismiss").clicked() {
                    dismiss = Some(i);
                }
            });
        });
        ui.add_space(8.0);
    }
    if let Some(i) = dismiss {
        session.take_left(i);
    }
    if let Some(i) = resume {
        session.resume_left(jobs, i);
        if let Some(view) = for_what(Shows::Run) {
            session.commands.push_back(Command::View(view));
        }
    }
}
