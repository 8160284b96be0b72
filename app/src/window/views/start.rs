//! The first view: open something, begin from a recipe, go on with what was open before.

use eframe::egui::{Button, Frame, Margin, RichText, ScrollArea, Stroke, Ui, vec2};

use super::View;
use crate::window::actions::Command;
use crate::window::files::short;
use crate::window::frame::is_narrow;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::{LARGE, Tokens};
use crate::window::widgets;

mod recipes;

/// The view.
#[derive(Default)]
pub struct Start {
    recipes: recipes::Recipes,
}

const WIDTH: f32 = 720.0;

impl View for Start {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            let width = WIDTH.min(ui.available_width() - 32.0);
            let margin = ((ui.available_width() - width) / 2.0).max(16.0);
            Frame::new()
                .inner_margin(Margin {
                    left: margin as i8,
                    right: 0,
                    top: 32,
                    bottom: 32,
                })
                .show(ui, |ui| {
                    ui.set_width(width);
                    open(ui, session);
                    ui.add_space(24.0);
                    restored(ui, session);
                    super::train::left_cards(ui, session, jobs);
                    recent(ui, session, jobs);
                    ui.add_space(24.0);
                    self.recipes.show(ui, session, jobs);
                });
        });
    }
}

fn open(ui: &mut Ui, session: &mut Session) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new("Smalti").size(LARGE).color(tokens.text));
    ui.label(
        RichText::new("Object detection from MMDetection's configs and checkpoints")
            .color(tokens.soft),
    );
    ui.add_space(12.0);
    ui.horizontal_wrapped(|ui| {
        if widgets::primary(ui, "Try the demo")
            .on_hover_text(
                "A trained detector reads the digits on a photograph; both are in the program",
            )
            .clicked()
        {
            session.commands.push_back(Command::Demo);
        }
        if widgets::button(ui, "Open...").clicked() {
            session.commands.push_back(Command::Open);
        }
        if widgets::button(ui, "Open a folder...").clicked() {
            session.commands.push_back(Command::OpenFolder);
        }
        // a phone has nothing to drop
        if !is_narrow(ui) {
            ui.label(
                RichText::new("or drop a config, a picture, a checkpoint or a folder here")
                    .color(tokens.weak),
            );
        }
    });
}

fn restored(ui: &mut Ui, session: &mut Session) {
    if session.restored.is_empty() {
        return;
    }
    let tokens = Tokens::of(ui);
    widgets::card(ui, tokens.warning, |ui| {
        super::config::restored_bar(ui, session)
    });
    ui.add_space(24.0);
}

fn recent(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
    let tokens = Tokens::of(ui);
    ui.heading("Recent");
    if session.settings.recent.is_empty() {
        ui.label(RichText::new("Nothing has been open yet.").color(tokens.weak));
    }
    let mut goal = None;
    for path in &session.settings.recent {
        let folder = path
            .parent()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        let most = if is_narrow(ui) { 20 } else { 60 };
        let folder = widgets::middle(&folder, most);
        let row = Button::new(widgets::middle(&short(path), most.max(24)))
            .right_text(RichText::new(folder).color(tokens.weak));
        let row = row
            .fill(tokens.canvas)
            .stroke(Stroke::NONE)
            .min_size(vec2(ui.available_width(), crate::window::tokens::ROW));
        if ui
            .add(row)
            .on_hover_text(path.display().to_string())
            .clicked()
        {
            goal = Some(path.clone());
        }
    }
    if let Some(path) = goal {
        session.open(jobs, &path);
    }
}
