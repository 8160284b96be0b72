//! Closing the window while a run is under way asks what is to become of it.

use eframe::egui::{Context, Id, Key, Modal, ViewportCommand};

use crate::window::files::short;
use crate::window::session::Session;
use crate::window::widgets;

/// The question.
#[derive(Default)]
pub struct Closing {
    asked: bool,
    /// The window is to close when the run has stopped.
    stops: bool,
    /// The window is to close.
    sure: bool,
}

const WIDTH: f32 = 420.0;

impl Closing {
    /// Holds the window open, and asks.
    pub fn show(&mut self, ctx: &Context, session: &Session) {
        let live = session.training.run.as_ref().filter(|run| run.is_live());
        let closes = ctx.input(|i| i.viewport().close_requested());
        let Some(run) = live else {
            if std::mem::take(&mut self.stops) {
                self.sure = true;
                ctx.send_viewport_cmd(ViewportCommand::Close);
            }
            self.asked = false;
            return;
        };
        if closes && !self.sure {
            ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            self.asked = true;
        }
        if !self.asked {
            return;
        }
        let modal = Modal::new(Id::unique("closing")).show(ctx, |ui| {
            ui.set_width(WIDTH);
            ui.heading(format!("{} is being trained", short(run.config())));
            ui.add_space(8.0);
            if self.stops {
                ui.label("It stops after this iteration; then the window closes.");
            } else {
                ui.label("Stopped, it keeps a checkpoint and can go on from there: in this window, or by smalti train --resume.");
            }
            ui.add_space(12.0);
            ui.horizontal(|ui| {
                if self.stops {
                    let hover = "What was learned since the last checkpoint is lost";
                    if widgets::button(ui, "Close now").on_hover_text(hover).clicked() {
                        self.sure = true;
                        ui.ctx().send_viewport_cmd(ViewportCommand::Close);
                    }
                    return;
                }
                if widgets::primary(ui, "Stop and close").clicked() {
                    self.stops = true;
                    run.stop();
                }
                if widgets::button(ui, "Go on training").clicked() {
                    self.asked = false;
                }
            });
        });
        let away = modal.should_close() || ctx.input(|i| i.key_pressed(Key::Escape));
        if away && !self.stops {
            self.asked = false;
        }
    }
}
