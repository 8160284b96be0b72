//! Training, in a page: says where it is.

use eframe::egui::{Frame, RichText, Ui};

use super::View;
use crate::window::actions::Command;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets;

/// The view.
#[derive(Default)]
pub struct TrainView;

/// Where training is.
const TEXT: &str = "Training runs in the desktop program, smalti: save the config, and open it there or run smalti train with it. \
                    The README of Smalti says how to install it. A run of a whole data set would keep this page's one thread busy for hours.\n\n\
                    A few pictures of your own can be taught in a browser: on the small page, index.html, below \"Teach it\", which takes \
                    the config and the weights that are dropped there.";

impl View for TrainView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, _: &mut Jobs) {
        let tokens = Tokens::of(ui);
        Frame::new().inner_margin(24).show(ui, |ui| {
            ui.set_max_width(640.0);
            ui.label(RichText::new(TEXT).color(tokens.soft));
            ui.add_space(12.0);
            let open = session.documents.active().is_some();
            if open && widgets::button(ui, "Save the config").clicked() {
                session.commands.push_back(Command::Save);
            }
        });
    }
}

/// Runs that were cut off: a page has none.
pub fn left_cards(_: &mut Ui, _: &mut Session, _: &mut Jobs) {}
