//! Messages low at the right, and the list of all.

use eframe::egui::{
    self, Align2, Area, Frame, Id, Margin, Order, RichText, ScrollArea, Stroke, Ui, vec2,
};

use crate::window::actions::Command;
use crate::window::icons::{self, Icon};
use crate::window::messages::{Level, Message, Offer};
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets::{self, ago};

/// Toasts, and whether the list is shown.
#[derive(Default)]
pub struct Toasts {
    listed: bool,
}

const WIDTH: f32 = 360.0;

impl Toasts {
    /// Shows or hides the list of all messages.
    pub fn toggle(&mut self) {
        self.listed = !self.listed;
    }

    /// Shows what is to be shown now.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session) {
        let (toasts, next) = session.messages.toasts(session.now());
        if let Some(next) = next {
            ui.ctx().request_repaint_after(next);
        }
        let corner = vec2(-12.0, -36.0);
        if !toasts.is_empty() && !self.listed {
            Area::new(Id::unique("toasts"))
                .order(Order::Foreground)
                .anchor(Align2::RIGHT_BOTTOM, corner)
                .show(ui.ctx(), |ui| {
                    for (i, message) in toasts {
                        toast(ui, session, i, &message);
                    }
                });
        }
        if self.listed {
            let mut open = true;
            let window = egui::Window::new("Messages")
                .open(&mut open)
                .resizable(false)
                .collapsible(false);
            window
                .anchor(Align2::RIGHT_BOTTOM, corner)
                .default_width(WIDTH)
                .show(ui.ctx(), |ui| list(ui, session));
            self.listed = open;
        }
    }
}

fn look(level: Level, tokens: &Tokens) -> (Icon, egui::Color32) {
    match level {
        Level::Note => (icons::NOTE, tokens.note),
        Level::Warning => (icons::WARNING, tokens.warning),
        Level::Error => (icons::ERROR, tokens.error),
    }
}

fn toast(ui: &mut Ui, session: &mut Session, i: usize, message: &Message) {
    let tokens = Tokens::of(ui);
    let (icon, color) = look(message.level, tokens);
    let frame = Frame::new()
        .fill(tokens.popup)
        .stroke(Stroke::new(1.0, tokens.edge))
        .corner_radius(6)
        .inner_margin(Margin::same(8));
    frame.outer_margin(Margin::symmetric(0, 2)).show(ui, |ui| {
        ui.set_width(WIDTH);
        ui.horizontal_top(|ui| {
            widgets::icon(ui, icon, color);
            let buttons = if message.offer.is_some() { 120.0 } else { 32.0 };
            ui.vertical(|ui| {
                ui.set_width(ui.available_width() - buttons);
                ui.label(&message.text);
            });
            offer(ui, session, i, message);
            if widgets::icon_button(ui, icons::CLOSE, "Put this message away").clicked() {
                session.messages.dismiss(i);
            }
        });
    });
}

fn offer(ui: &mut Ui, session: &mut Session, i: usize, message: &Message) {
    let pressed = match message.offer {
        Some(Offer::Undo) if widgets::link(ui, "Undo").clicked() => {
            session.commands.push_back(Command::Undo);
            true
        }
        Some(Offer::Reopen) if widgets::link(ui, "Open again").clicked() => {
            session.reopen();
            true
        }
        Some(Offer::Resume) if widgets::link(ui, "Resume").clicked() => {
            session.commands.push_back(Command::Resume);
            true
        }
        _ => false,
    };
    if pressed {
        session.messages.dismiss(i);
    }
}

fn list(ui: &mut Ui, session: &Session) {
    let now = session.now();
    ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
        ui.set_width(WIDTH);
        if session.messages.all().is_empty() {
            ui.label("No messages so far.");
        }
        for message in session.messages.all().iter().rev() {
            let tokens = Tokens::of(ui);
            let (icon, color) = look(message.level, tokens);
            ui.horizontal_top(|ui| {
                widgets::icon(ui, icon, color);
                ui.vertical(|ui| {
                    ui.label(&message.text);
                    let when = ago(now.saturating_sub(message.at).as_secs());
                    ui.label(RichText::new(when).small().color(tokens.weak));
                });
            });
        }
    });
}
