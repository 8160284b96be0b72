//! What a run said: its log, tables of figures, notes, checkpoints.

use eframe::egui::{FontId, RichText, ScrollArea, Ui};

use crate::window::tokens::{BODY, Tokens};
use crate::window::training::{LiveRun, Said};

/// Which messages are shown.
#[derive(Default)]
pub struct Messages {
    all: bool,
}

impl Messages {
    /// What stands beside the tab.
    pub fn head(&mut self, ui: &mut Ui, _: &LiveRun) {
        ui.checkbox(&mut self.all, "Lines of the log too");
    }

    /// The messages, the newest last.
    pub fn show(&self, ui: &mut Ui, run: &LiveRun) {
        let tokens = Tokens::of(ui);
        let wanted = |(said, _): &&(Said, String)| self.all || *said != Said::Line;
        let messages: Vec<&(Said, String)> = run.said.iter().filter(wanted).collect();
        if messages.is_empty() {
            ui.label(RichText::new("It has said nothing yet.").color(tokens.weak));
        }
        ScrollArea::vertical()
            .id_salt("messages of the run")
            .auto_shrink(false)
            .stick_to_bottom(true)
            .show(ui, |ui| {
                for (said, text) in messages {
                    let color = match said {
                        Said::Line => tokens.soft,
                        Said::Table => tokens.text,
                        Said::Note => tokens.note,
                    };
                    let text = RichText::new(text.trim_end()).color(color);
                    let table = *said == Said::Table;
                    ui.label(if table {
                        text.font(FontId::monospace(BODY))
                    } else {
                        text
                    });
                }
            });
    }
}
