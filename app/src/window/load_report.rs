//! How a checkpoint fits a model, in a sentence, and what would make it fit, as a button.

use eframe::egui::Ui;

use smalti::weights::LoadReport;

use super::icons;
use super::session::Session;
use super::tokens::Tokens;
use super::widgets;

/// What would make a checkpoint fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// In a sentence.
    pub text: String,
    /// The prefix that would; empty where the one in use is in the way.
    pub prefix: Option<String>,
}

/// How many of the model's tensors the file has, and how many there are.
pub fn fitted(report: &LoadReport) -> (usize, usize) {
    // counters are never counted as missing, so they do not count here either
    let counts = |key: &&(String, String)| !key.0.ends_with("num_batches_tracked");
    let fit = report.matched.iter().filter(counts).count();
    let lost = report.missing.len() + report.wrong_shape.len() + report.unreadable.len();
    (fit, fit + lost)
}

impl Hint {
    /// What a report says of it.
    pub fn of(report: &LoadReport) -> Option<Self> {
        let ((fit, wanted), (matched, of)) = (fitted(report), report.hint_matches);
        // the hint counts counters too
        let would = matched.min(wanted);
        match (&report.prefix_hint, &report.part_hint) {
            (Some(prefix), _) => Some(Self {
                text: match prefix.as_str() {
                    "" => format!(
                        "{fit} of {wanted} tensors of the model fit; without a prefix {would} of {wanted}."
                    ),
                    prefix => format!(
                        "{fit} of {wanted} tensors of the model fit; with prefix `{prefix}` {would} of {wanted}."
                    ),
                },
                prefix: Some(prefix.clone()),
            }),
            (None, Some(part)) => Some(Self {
                text: format!(
                    "{matched} of the file's {of} tensors fit the model's `{part}` alone: name the file in its init_cfg=dict(type='Pretrained', checkpoint='...')."
                ),
                prefix: None,
            }),
            (None, None) => None,
        }
    }

    /// The sentence, and the button that does what it says.
    pub fn show(&self, ui: &mut Ui, session: &mut Session) {
        let tokens = Tokens::of(ui);
        ui.horizontal_wrapped(|ui| {
            widgets::icon(ui, icons::WARNING, tokens.warning);
            ui.label(&self.text);
            let Some(prefix) = &self.prefix else { return };
            let name = match prefix.as_str() {
                "" => "Use no prefix".to_owned(),
                prefix => format!("Use prefix {prefix}"),
            };
            if widgets::primary(ui, &name).clicked() {
                session.prefix = Some(prefix.clone()).filter(|p| !p.is_empty());
            }
        });
    }
}
