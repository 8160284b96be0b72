//! The status bar: the device, what is being done and how long it takes, messages.

use eframe::egui::{self, Align, Color32, Layout, RichText, Ui, vec2};

use super::top::plural;
use crate::window::actions::Command;
use crate::window::icons;
use crate::window::jobs::{Jobs, Running};
use crate::window::messages::Level;
use crate::window::session::Session;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets;

/// A job that is over sooner is not shown. In a page one is seen before it begins, or not at all.
const UNSEEN: std::time::Duration =
    std::time::Duration::from_millis(if cfg!(target_arch = "wasm32") { 0 } else { 150 });
/// From here on a bar is shown.
const BAR: std::time::Duration = std::time::Duration::from_secs(1);

pub fn show(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
    ui.horizontal_centered(|ui| {
        let tokens = Tokens::of(ui);
        let (name, warning) = session.engine.title();
        if let Some(why) = &warning {
            widgets::icon(ui, icons::WARNING, tokens.warning);
            device(ui, session, &name, tokens.warning, why);
        } else {
            device(
                ui,
                session,
                &name,
                tokens.soft,
                "What detectors run on. Click for the settings",
            );
        }
        if let Some(analysis) = session.current() {
            let text = format!("config read in {} ms", analysis.took.as_millis());
            ui.label(RichText::new(text).size(SMALL).color(tokens.weak));
        } else if session.is_reading() {
            ui.label(RichText::new("reading ...").size(SMALL).color(tokens.weak));
        }
        for job in jobs.running() {
            job_row(ui, tokens, &job);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            messages(ui, session, tokens)
        });
    });
}

fn device(ui: &mut Ui, session: &mut Session, name: &str, color: Color32, hover: &str) {
    let text = RichText::new(name).size(SMALL).color(color);
    let button = egui::Button::new(text).frame(false);
    if ui.add(button).on_hover_text(hover).clicked() {
        session.commands.push_back(Command::Settings);
    }
}

fn job_row(ui: &mut Ui, tokens: &Tokens, job: &Running) {
    if job.time < UNSEEN {
        ui.ctx().request_repaint_after(UNSEEN - job.time);
        return;
    }
    let mut text = if job.said.is_empty() {
        job.name.clone()
    } else {
        format!("{}: {}", job.name, job.said)
    };
    if job.cancelled {
        text += ", stopping";
    }
    ui.label(RichText::new(text).size(SMALL).color(tokens.soft));
    match job.share {
        Some(share) if job.time >= BAR => {
            ui.add(
                egui::ProgressBar::new(share)
                    .desired_width(96.0)
                    .desired_height(8.0)
                    .fill(tokens.accent),
            );
            let left = job
                .left()
                .map(|l| format!(", {} s left", l.as_secs()))
                .unwrap_or_default();
            ui.label(
                RichText::new(format!("{:.0}%{left}", share * 100.0))
                    .size(SMALL)
                    .color(tokens.soft),
            );
        }
        _ => ui.ctx().request_repaint_after(BAR),
    }
    if !job.cancelled
        && widgets::icon_button(ui, icons::CLOSE, &format!("Stop {}", job.name)).clicked()
    {
        job.cancel();
    }
}

fn messages(ui: &mut Ui, session: &mut Session, tokens: &Tokens) {
    let all = session.messages.all();
    if !all.is_empty() {
        let bad = all.iter().any(|m| m.level == Level::Error && !m.away);
        let text = RichText::new(plural(all.len(), "message"))
            .size(SMALL)
            .color(if bad { tokens.error } else { tokens.soft });
        if ui.add(egui::Button::new(text).frame(false)).clicked() {
            session.commands.push_back(Command::Messages);
        }
    }
    let size = (session.settings.size * 100.0).round();
    if size != 100.0 {
        ui.label(
            RichText::new(format!("{size:.0}%"))
                .size(SMALL)
                .color(tokens.weak),
        );
    }
    ui.allocate_space(vec2(0.0, 0.0));
}
