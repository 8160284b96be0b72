//! What is wrong with the device that detectors run on, above whatever view is in front: there is none, or it was lost.

use eframe::egui::Ui;

use crate::window::actions::Command;
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets;

/// A bar, if something is.
pub fn bar(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
    let tokens = Tokens::of(ui);
    if let Some(lost) = session.engine.lost.clone() {
        widgets::bar(ui, tokens.raised, |ui| {
            widgets::icon(ui, icons::WARNING, tokens.warning);
            ui.label(format!(
                "{lost} was lost. Detectors go on with the CPU, and so can training, from its last checkpoint. To use it again, start Smalti again."
            ));
            if widgets::link(ui, "Dismiss").clicked() {
                session.engine.lost = None;
            }
        });
    }
    let Some(why) = session.engine.failed.clone() else {
        return;
    };
    let first = why.lines().next().unwrap_or_default().to_owned();
    widgets::bar(ui, tokens.raised, |ui| {
        widgets::icon(ui, icons::ERROR, tokens.error);
        let label = match &session.engine.chosen {
            Some(chosen) => format!("{} is in use still: {first}", chosen.name),
            None => format!("There is no device to run on: {first}"),
        };
        ui.label(label).on_hover_text(why);
        if widgets::button(ui, "Use the CPU").clicked() {
            session.settings.device = "cpu".into();
            session.engine.choose(jobs, "cpu");
        }
        if widgets::link(ui, "Settings").clicked() {
            session.commands.push_back(Command::Settings);
        }
    });
}
