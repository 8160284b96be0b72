//! What is wrong, and what to do next: with the data, with the pipeline, with this sample.

use eframe::egui::{Align, Layout, RichText, Ui};

use smalti::config::Diagnostic;

use super::data::Trouble;
use super::{Augment, strip};
use crate::window::actions::Command;
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::{Place, Session};
use crate::window::tokens::Tokens;
use crate::window::views::{Shows, for_what};
use crate::window::widgets;

impl Augment {
    /// What is wrong with the pipeline or this sample, above the picture.
    pub(super) fn errors(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        if self.data.is_stale {
            widgets::bar(ui, tokens.raised, |ui| {
                widgets::icon(ui, icons::WARNING, tokens.warning);
                ui.label("The config has errors: this is what it said before.");
                if widgets::button(ui, "Go to the config").clicked() {
                    front(session);
                }
            });
        }
        if let Some(found) = self.failed.clone() {
            widgets::bar(ui, tokens.raised, |ui| {
                widgets::icon(ui, icons::ERROR, tokens.error);
                wrong(ui, session, jobs, &found);
            });
        }
        let Some(shown) = &self.shown else { return };
        let Some(error) = &shown.seen.trace.error else {
            return;
        };
        let seen = &shown.seen;
        let failed = (0..seen.rows.len()).find(|i| strip::failed(seen, *i));
        let name = failed.map_or("the pipeline", |i| seen.rows[i].name.as_str());
        let text = format!("{name} failed: {error}");
        let path = failed.and_then(|i| seen.rows[i].path.clone());
        let path =
            path.and_then(|p| Some(format!("{}.{p}", self.data.source.as_ref()?.path.as_ref()?)));
        let node = path.and_then(|path| {
            let config = session.analysis.as_ref()?.config.as_ref()?;
            Place::of(config.at(&path)?)
        });
        let mut unpin = false;
        widgets::bar(ui, tokens.raised, |ui| {
            widgets::icon(ui, icons::ERROR, tokens.error);
            ui.label(RichText::new(text).color(tokens.error));
            if let Some(place) = &node
                && widgets::button(ui, "Go to line").clicked()
            {
                go(session, jobs, place);
            }
            if !self.pins.all().is_empty() {
                unpin = widgets::button(ui, "Let all pins go").clicked();
            }
        });
        if unpin {
            self.pins.clear();
        }
    }

    /// Why there is no data, in its place.
    pub(super) fn trouble(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        trouble: &Trouble,
    ) {
        let tokens = Tokens::of(ui);
        ui.add_space(24.0);
        let card = |ui: &mut Ui, show: &mut dyn FnMut(&mut Ui)| {
            ui.horizontal(|ui| {
                ui.add_space(24.0);
                ui.vertical(|ui| {
                    ui.set_max_width((ui.available_width() - 24.0).min(640.0));
                    widgets::card(ui, tokens.error, |ui| show(ui));
                });
            });
        };
        match trouble {
            Trouble::Missing(missing) => {
                let place = |session: &Session| {
                    let root = self.data.source.as_ref()?.path.clone()?;
                    let key = match missing.dataset.as_str() {
                        "" => format!("{root}.ann_file"),
                        inner => format!("{root}.{inner}.ann_file"),
                    };
                    let config = session.analysis.as_ref()?.config.as_ref()?;
                    Place::of(config.at(&key)?)
                };
                let place = place(session);
                let (mut choose, mut retry) = (false, false);
                card(ui, &mut |ui| {
                    let text = format!("Train data not found: {}", missing.file);
                    ui.label(RichText::new(text).color(tokens.error));
                    ui.label("Relative paths begin at the folder in which the window was started. The folder that you choose is written into the config.");
                    ui.add_space(8.0);
                    ui.horizontal(|ui| {
                        choose = widgets::primary(ui, "Choose folder").clicked();
                        retry = widgets::button(ui, "Retry").clicked();
                        if let Some(place) = &place
                            && widgets::button(ui, "Go to line").clicked()
                        {
                            go(session, jobs, place);
                        }
                    });
                });
                if choose {
                    self.data.choose(session, jobs, missing);
                }
                if retry {
                    self.data.retry();
                }
            }
            Trouble::Wrong(_) | Trouble::Fault(_) => {
                let mut retry = false;
                card(ui, &mut |ui| {
                    ui.label(RichText::new("The train data cannot be read.").color(tokens.error));
                    match trouble {
                        Trouble::Wrong(found) => wrong(ui, session, jobs, found),
                        Trouble::Fault(why) => drop(ui.label(why)),
                        Trouble::Missing(_) => {}
                    }
                    retry = widgets::button(ui, "Retry").clicked();
                });
                if retry {
                    self.data.retry();
                }
            }
        }
    }
}

/// To a place of the text, which the config's view shows.
pub(super) fn go(session: &mut Session, jobs: &mut Jobs, place: &Place) {
    session.go(jobs, place);
    front(session);
}

fn front(session: &mut Session) {
    if let Some(view) = for_what(Shows::Config) {
        session.commands.push_back(Command::View(view));
    }
}

/// The first finding, and where it is.
fn wrong(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs, found: &[Diagnostic]) {
    let tokens = Tokens::of(ui);
    let Some(first) = found.first() else { return };
    ui.label(RichText::new(&first.message).color(tokens.error));
    if let Some(help) = &first.help {
        ui.label(help);
    }
    let place = first.labels.first().map(|(origin, _)| Place {
        path: origin.file().into(),
        range: origin.range(),
    });
    if let Some(place) = place.filter(|p| p.path.is_absolute())
        && widgets::button(ui, "Go to line").clicked()
    {
        go(session, jobs, &place);
    }
}

/// There is no data to show.
pub(super) fn nothing(ui: &mut Ui, session: &mut Session) {
    let has_config = session.documents.active().is_some();
    let sentence = if has_config {
        "This config names no train data."
    } else {
        "Open a config, or drop a file of annotations."
    };
    if widgets::empty(ui, sentence, "Open...") {
        session.commands.push_back(Command::Open);
    }
}

pub(super) fn loading(ui: &mut Ui) {
    let tokens = Tokens::of(ui);
    ui.with_layout(Layout::top_down(Align::Min), |ui| {
        ui.add_space(24.0);
        ui.horizontal(|ui| {
            ui.add_space(24.0);
            ui.label(RichText::new("Reading the train data ...").color(tokens.weak));
        });
    });
}
