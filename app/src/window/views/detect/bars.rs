//! What stands above the picture: what can be done, which detector is in use, and what is wrong with it.

use std::sync::Arc;

use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{Align, Button, Layout, Panel, RichText, Ui, vec2};

use super::DetectView;
use super::centre::thousands;
use super::compare::Other;
use super::export::{Drawing, Results};
use super::found::Found;
use super::pane::Pane;
use crate::window::actions::Command;
use crate::window::detector::{Failed, Next};
use crate::window::files::short;
use crate::window::frame::{is_narrow, plural};
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::{BUTTON, Tokens};
use crate::window::views::{Shows, for_what};
use crate::window::widgets::{self, middle};

impl DetectView {
    /// All of it.
    pub(super) fn bars(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        let frame = eframe::egui::Frame::new()
            .fill(tokens.panel)
            .inner_margin(4);
        Panel::top("detect tools")
            .frame(frame)
            .resizable(false)
            .show(ui, |ui| {
                ui.horizontal(|ui| self.tools(ui, session, jobs));
            });
        if let Some(failed) = session.detector.failed().cloned()
            && card(ui, &failed, session)
        {
            session.detector.retry();
        }
        if let Some(other) = &mut self.other
            && let Some(failed) = other.detector.failed().cloned()
        {
            let prefix = session.prefix.clone();
            if card(ui, &failed, session) {
                other.detector.retry();
            }
            // the prefix is the other checkpoint's
            if session.prefix != prefix {
                other.prefix = std::mem::replace(&mut session.prefix, prefix);
            }
        }
        self.notes(ui, session, jobs);
    }

    fn tools(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        let count = self.items.len();
        if self.panes().any(Pane::is_running) {
            if widgets::button(ui, "Stop").clicked() {
                self.panes().for_each(Pane::stop);
            }
        } else if !self.is_done() {
            let text = format!("Run on all {}", thousands(count));
            if widgets::primary(ui, &text)
                .on_hover_text("Ctrl+Enter")
                .clicked()
            {
                self.run(session, jobs);
            }
        } else if widgets::button(ui, "Run again")
            .on_hover_text("Ctrl+Enter")
            .clicked()
        {
            self.run(session, jobs);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            self.export_menu(ui, session, jobs);
            if self.other.is_some() {
                if widgets::button(ui, "Compare no more").clicked() {
                    self.other = None;
                }
            } else if widgets::button(ui, "Compare...")
                .on_hover_text("With what another checkpoint finds in the same picture")
                .clicked()
            {
                session.commands.push_back(Command::Compare);
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let title = match (session.detector.built(), session.detector.is_building()) {
                    (_, true) => "building the detector ...".to_owned(),
                    (Some(built), _) => built.title.clone(),
                    _ if session.engine.chosen.is_none() => "waiting for a device ...".to_owned(),
                    _ => String::new(),
                };
                let mut most = (ui.available_width() / 8.0) as usize;
                if count == 1 {
                    let name = middle(&self.items[0].name(), 32);
                    most = most.saturating_sub(name.chars().count());
                    ui.label(name);
                }
                let most = most.max(8);
                if !is_narrow(ui) {
                    ui.label(RichText::new(middle(&title, most)).color(tokens.soft));
                }
            });
        });
    }

    fn export_menu(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let at = self.at();
        let built = session.detector.built().cloned();
        let content = self.shown.as_ref().filter(|(of, _)| *of == at);
        let content = content.and_then(|(_, content)| content.as_ref().ok().cloned());
        let found = self
            .main
            .result(self.place)
            .and_then(|r| r.as_ref().ok())
            .cloned();
        let menu = Button::new("Export")
            .right_text("▼")
            .min_size(vec2(0.0, BUTTON));
        MenuButton::from_button(menu).ui(ui, |ui| {
            let Some((built, (content, found))) = built.zip(content.zip(found)) else {
                ui.label(RichText::new("Nothing was found yet.").color(Tokens::of(ui).weak));
                return;
            };
            let classes = built.predictor.classes().to_vec();
            if ui.button("This picture with its boxes...").clicked() {
                let drawing = Drawing {
                    item: self.items[self.place].clone(),
                    content,
                    found,
                    shown: self.rows.found(),
                    classes: classes.clone(),
                };
                self.export.picture(session, jobs, drawing);
            }
            let mut detectors = vec![(String::new(), classes, self.main.results())];
            if let Some((other, built)) = self.other.as_ref().and_then(Other::ready) {
                let name = format!(" by {}", middle(&short(&other.path), 30));
                let classes = built.predictor.classes().to_vec();
                detectors.push((name, classes, other.pane.results()));
            }
            for (by, classes, all) in detectors {
                let pictures = plural(all.len(), "picture");
                let text = format!("Results of {pictures}{by} as JSON...");
                let hover = "COCO's result form; scores from the threshold on";
                if ui.button(text).on_hover_text(hover).clicked() {
                    let all = all.into_iter();
                    let of =
                        |(i, found): (usize, Arc<Found>)| Some((self.items.get(i)?.clone(), found));
                    let results = Results {
                        found: all.filter_map(of).collect(),
                        classes,
                        threshold: self.filter.threshold,
                        annotations: self.known.annotations().cloned(),
                    };
                    self.export.results(session, jobs, results);
                }
            }
        });
    }

    /// What one should know of what is seen.
    fn notes(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        let config = session.documents.active().map(|d| middle(&d.name(), 30));
        let weights = session.checkpoint.as_deref().map(short);
        let weights = weights.map(|name| middle(&name, 30));
        match (self.demo, config, weights) {
            (true, Some(config), Some(weights)) => widgets::bar(ui, tokens.raised, |ui| {
                ui.label("This is the demo's digit detector.");
                if widgets::link(ui, &format!("Use {weights} in {config}")).clicked() {
                    self.demo = false;
                }
            }),
            (true, ..) | (_, Some(_), Some(_)) => {}
            (false, config, weights) => {
                let named = session.weights();
                let text = match (config, weights) {
                    (Some(config), _) if named.is_empty() => format!(
                        "The demo's digit detector is used: {config} has no weights yet. Open its checkpoint."
                    ),
                    (Some(config), _) => {
                        format!("The demo's digit detector is used, not yet that of {config}.")
                    }
                    (None, Some(weights)) => format!(
                        "The demo's digit detector is used: {weights} has no config yet. Open it."
                    ),
                    (None, None) => "The demo's digit detector is used. For yours, open its config and its checkpoint.".into(),
                };
                widgets::bar(ui, tokens.raised, |ui| {
                    widgets::icon(ui, icons::NOTE, tokens.note);
                    ui.label(text);
                    for path in named {
                        let link = widgets::link(ui, &format!("Use {}", middle(&short(&path), 40)));
                        if link.on_hover_text(path.display().to_string()).clicked() {
                            session.open(jobs, &path);
                        }
                    }
                    if widgets::link(ui, "Open...").clicked() {
                        session.commands.push_back(Command::Open);
                    }
                });
            }
        }
        let note = session.detector.built().and_then(|b| b.note.clone());
        if let Some(note) = note {
            widgets::bar(ui, tokens.raised, |ui| {
                widgets::icon(ui, icons::WARNING, tokens.warning);
                ui.label(note);
                look_link(ui, session);
            });
        }
        if let Some(note) = self.known.without(self.at()) {
            widgets::bar(ui, tokens.raised, |ui| {
                widgets::icon(ui, icons::NOTE, tokens.note);
                ui.label(format!("No ground truth: {note}"));
            });
        }
        let shown = !matches!(&self.shown, Some((_, Err(_))));
        if let Some(Err(why)) = self.main.result(self.place)
            && shown
        {
            let why = why.clone();
            widgets::bar(ui, tokens.raised, |ui| {
                widgets::icon(ui, icons::ERROR, tokens.error);
                ui.label(format!("Nothing could be found: {why}"));
                if widgets::link(ui, "Retry").clicked() {
                    self.main.again(self.place);
                }
            });
        }
    }
}

fn look_link(ui: &mut Ui, session: &mut Session) {
    if let Some(view) = for_what(Shows::Checkpoint)
        && widgets::link(ui, "Look into the checkpoint").clicked()
    {
        session.commands.push_back(Command::View(view));
    }
}

/// Why there is no detector, and what to do. True if it is to be tried again.
fn card(ui: &mut Ui, failed: &Failed, session: &mut Session) -> bool {
    let tokens = Tokens::of(ui);
    let mut retry = false;
    let frame = eframe::egui::Frame::new().inner_margin(8);
    frame.show(ui, |ui| {
        widgets::card(ui, tokens.error, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_wrapped(|ui| {
                widgets::icon(ui, icons::ERROR, tokens.error);
                ui.label(RichText::new(&failed.what).color(tokens.error));
            });
            for line in failed.why.lines().filter(|l| !l.trim().is_empty()).take(4) {
                ui.label(RichText::new(line).color(tokens.soft));
            }
            if let Next::Follow(hint) = &failed.next {
                hint.show(ui, session);
            }
            ui.horizontal(|ui| {
                if failed.next == Next::Mend && widgets::button(ui, "Go to the problem").clicked() {
                    session.commands.push_back(Command::NextProblem);
                }
                retry = widgets::button(ui, "Retry").clicked();
                if matches!(failed.next, Next::Look | Next::Follow(_)) {
                    look_link(ui, session);
                }
            });
        });
    });
    retry
}
