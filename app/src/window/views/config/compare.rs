//! The config in front beside another one: what differs, path by path.

use std::path::PathBuf;

use eframe::egui::{RichText, ScrollArea, Ui, Window};

use smalti::config::{Config, Configs, Node, diff, value_to_py};

use super::tree;
use crate::window::analysis::Open;
use crate::window::files::short;
use crate::window::host::Question;
use crate::window::jobs::{Job, Jobs};
use crate::window::session::{Place, Session};
use crate::window::tokens::{ROW, Tokens};
use crate::window::widgets::{self, middle};

/// A row: path, what the other says, what this one says, with places.
type Row = (
    String,
    Option<(String, Option<Place>)>,
    Option<(String, Option<Place>)>,
);

/// The other config's file and what differs, or why that is not known.
type Compared = Result<(PathBuf, Vec<Row>), String>;

/// The comparison.
#[derive(Default)]
pub struct Compare {
    asking: Option<Job<Vec<PathBuf>>>,
    reading: Option<Job<Compared>>,
    shown: Option<Compared>,
}

impl Compare {
    /// Asks for the other config.
    pub fn ask(&mut self, session: &Session, jobs: &mut Jobs) {
        let host = session.host.clone();
        self.asking =
            Some(jobs.asking(async move |_| host.ask(&Question::Files("Compare with")).await));
    }

    /// Compares with a file.
    pub fn with(&mut self, session: &Session, jobs: &mut Jobs, other: PathBuf) {
        let Some(config) = session.current().and_then(|a| a.config.clone()) else {
            self.shown = Some(Err("the config in front has to be readable first".into()));
            return;
        };
        let host = session.host.clone();
        let open = session
            .documents
            .iter()
            .map(|d| (d.key(), d.text().to_owned()))
            .collect();
        self.reading = Some(jobs.start("comparing", move |_| {
            let loader = Open {
                texts: open,
                files: host.configs(),
            };
            let name = crate::window::document::key(&other);
            let read = Configs::new(&loader)
                .load(&name)
                .map_err(|e| e.to_string())?;
            Ok((other, rows(&read, &config)))
        }));
    }

    /// Takes answers, and shows what differs in a window.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        if let Some(answer) = self.asking.as_ref().and_then(Job::poll) {
            self.asking = None;
            if let Some(other) = answer.ok().and_then(|paths| paths.into_iter().next()) {
                self.with(session, jobs, session.host.absolute(&other));
            }
        }
        if let Some(answer) = self.reading.as_ref().and_then(Job::poll) {
            self.reading = None;
            self.shown = Some(answer.and_then(|a| a));
        }
        let Some(shown) = &self.shown else { return };
        let (mut open, mut goal) = (true, None);
        let window = Window::new("Compare")
            .open(&mut open)
            .default_size([760.0, 420.0])
            .collapsible(false);
        window.show(ui.ctx(), |ui| match shown {
            Err(why) => {
                ui.label(RichText::new(why).color(Tokens::of(ui).error));
            }
            Ok((other, rows)) => table(ui, other, rows, &mut goal),
        });
        if !open {
            self.shown = None;
        }
        if let Some(place) = goal {
            session.go(jobs, &place);
        }
    }
}

fn rows(other: &Config, this: &Config) -> Vec<Row> {
    let said = |node: Option<Node>| node.map(|n| (value_to_py(&n), tree::place(&n)));
    diff(other.dict(), this.dict())
        .into_iter()
        .map(|c| (c.path.to_string(), said(c.left), said(c.right)))
        .collect()
}

fn table(ui: &mut Ui, other: &std::path::Path, rows: &[Row], goal: &mut Option<Place>) {
    let tokens = Tokens::of(ui);
    let count = crate::window::frame::plural(rows.len(), "difference");
    ui.label(RichText::new(format!("{count} from {}", short(other))).color(tokens.soft));
    ui.separator();
    let third = (ui.available_width() - 24.0) / 3.0;
    ScrollArea::vertical()
        .auto_shrink(false)
        .show_rows(ui, ROW, rows.len(), |ui, range| {
            for (path, left, right) in &rows[range] {
                ui.horizontal(|ui| {
                    ui.set_min_height(ROW);
                    let most = (third / 8.0) as usize;
                    cell(ui, third, |ui| {
                        ui.label(
                            RichText::new(middle(path, most))
                                .monospace()
                                .color(tokens.code[0]),
                        )
                        .on_hover_text(path);
                    });
                    for (side, sign) in [(left, "-"), (right, "+")] {
                        cell(ui, third, |ui| match side {
                            Some((value, place)) => {
                                let text = format!("{sign} {}", middle(value, most));
                                if widgets::link(ui, &text).on_hover_text(value).clicked() {
                                    goal.clone_from(place);
                                }
                            }
                            None => {
                                ui.label(RichText::new("not said").color(tokens.weak));
                            }
                        });
                    }
                });
            }
        });
}

fn cell(ui: &mut Ui, width: f32, show: impl FnOnce(&mut Ui)) {
    ui.scope(|ui| {
        ui.set_width(width);
        show(ui);
    });
}
