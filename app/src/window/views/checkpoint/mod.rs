//! A checkpoint: its tensors with name, shape, type and values, and how they fit the config that is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{Key, Modifiers, RichText, ScrollArea, TextEdit, Ui};

use smalti::weights::Checkpoint;

use super::View;
use crate::window::actions::Command;
use crate::window::files::short;
use crate::window::frame::plural;
use crate::window::jobs::{Job, Jobs, Newest};
use crate::window::session::Session;
use crate::window::tokens::{ROW, Tokens};
use crate::window::widgets::{self, middle};

mod fit;
mod table;
mod values;

use fit::{Fit, Question, State, Tensor, fit};
use table::Columns;
use values::{Values, histogram, measure};

/// The view.
pub struct CheckpointView {
    loading: Option<(PathBuf, Job<Result<Checkpoint, String>>)>,
    open: Option<(PathBuf, Result<Arc<Checkpoint>, String>)>,
    fits: Newest<Question, Fit>,
    asked: Option<(usize, usize, Option<String>)>,
    fit: Option<Fit>,
    search: String,
    only: Option<State>,
    selected: Option<String>,
    values: Newest<(Arc<Checkpoint>, String), Measured>,
    shown: Option<Measured>,
    reveal: bool,
}

/// A tensor's name, and what is in it.
type Measured = (String, Result<Values, String>);

impl Default for CheckpointView {
    fn default() -> Self {
        Self {
            loading: None,
            open: None,
            fits: Newest::new("fitting the checkpoint", |question, _| fit(&question)),
            asked: None,
            fit: None,
            search: String::new(),
            only: None,
            selected: None,
            values: Newest::new(
                "reading a tensor",
                |(checkpoint, key): (Arc<Checkpoint>, String), _| {
                    let read = checkpoint
                        .f32(&key)
                        .map(|values| measure(&values))
                        .map_err(|e| e.to_string());
                    (key, read)
                },
            ),
            shown: None,
            reveal: false,
        }
    }
}

impl View for CheckpointView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let Some(path) = session.checkpoint.clone() else {
            if widgets::empty(ui, "Drop a .pth or .safetensors.", "Open...") {
                session.commands.push_back(Command::Open);
            }
            ui.vertical_centered(|ui| {
                for named in session.weights() {
                    ui.add_space(8.0);
                    let link = widgets::link(ui, &format!("Open {}", middle(&short(&named), 40)));
                    let hover = format!("{}\nThe config names it", named.display());
                    if link.on_hover_text(hover).clicked() {
                        session.open(jobs, &named);
                    }
                }
            });
            return;
        };
        self.load(session, jobs, &path);
        let tokens = Tokens::of(ui);
        let checkpoint = match &self.open {
            Some((open, Ok(checkpoint))) if *open == path => checkpoint.clone(),
            Some((open, Err(why))) if *open == path => {
                let mut retry = false;
                ui.add_space(24.0);
                widgets::card(ui, tokens.error, |ui| {
                    ui.label(
                        RichText::new(format!("{} cannot be read.", short(&path)))
                            .color(tokens.error),
                    );
                    ui.label(why);
                    retry = widgets::button(ui, "Retry").clicked();
                });
                if retry {
                    self.open = None;
                }
                return;
            }
            _ => {
                ui.add_space(24.0);
                ui.label(RichText::new(format!("Reading {} ...", short(&path))).color(tokens.weak));
                return;
            }
        };
        self.ask(session, jobs, &checkpoint);
        let frame = eframe::egui::Frame::new().inner_margin(12);
        frame.show(ui, |ui| {
            self.head(ui, session, &path, &checkpoint);
            self.table(ui);
        });
    }

    fn inspects(&self, session: &Session) -> bool {
        session.checkpoint.is_some() && self.selected.is_some()
    }

    fn inspect(&mut self, ui: &mut Ui, _session: &mut Session, jobs: &mut Jobs) {
        let (Some(key), Some((_, Ok(checkpoint)))) = (self.selected.clone(), &self.open) else {
            return;
        };
        if self.shown.as_ref().is_none_or(|(of, _)| *of != key)
            && !self.values.is_busy()
            && checkpoint.get(&key).is_some()
        {
            self.values.ask(jobs, (checkpoint.clone(), key.clone()));
        }
        if let Some(Ok(values)) = self.values.poll(jobs) {
            self.shown = Some(values);
        }
        let tokens = Tokens::of(ui);
        ui.label(RichText::new(&key).monospace());
        if let Some(tensor) = self
            .fit
            .as_ref()
            .and_then(|f| f.tensors.iter().find(|t| t.key == key))
        {
            ui.label(
                RichText::new(format!("{} {}", tensor.dtype, tensor.shape)).color(tokens.soft),
            );
            if let Some(state) = tensor.state {
                let (icon, color) = state.look(tokens);
                ui.horizontal_wrapped(|ui| {
                    widgets::icon(ui, icon, color);
                    ui.label(
                        RichText::new(format!("{} {}", state.word(), tensor.why)).color(color),
                    );
                });
            }
        }
        ui.add_space(8.0);
        match &self.shown {
            Some((of, Ok(values))) if *of == key => histogram(ui, values),
            Some((of, Err(why))) if *of == key => {
                ui.label(RichText::new(why).color(tokens.error));
            }
            _ => {}
        }
    }
}

impl CheckpointView {
    fn load(&mut self, session: &Session, jobs: &mut Jobs, path: &Path) {
        if let Some(result) = self.loading.as_ref().and_then(|(_, job)| job.poll())
            && let Some((path, _)) = self.loading.take()
        {
            self.open = Some((path, result.and_then(|r| r).map(Arc::new)));
            (self.fit, self.asked, self.selected, self.shown, self.only) =
                (None, None, None, None, None);
        }
        let known = self.open.as_ref().is_some_and(|(p, _)| p == path)
            || self.loading.as_ref().is_some_and(|(p, _)| p == path);
        if !known {
            let (host, path) = (session.host.clone(), path.to_owned());
            let asked = path.clone();
            self.loading = Some((
                path,
                jobs.start(&format!("reading {}", short(&asked)), move |_| {
                    host.checkpoint(&asked)
                }),
            ));
        }
    }

    fn ask(&mut self, session: &Session, jobs: &mut Jobs, checkpoint: &Arc<Checkpoint>) {
        if let Some(Ok(fit)) = self.fits.poll(jobs) {
            self.fit = Some(fit);
        }
        let analysis = session.analysis.clone();
        let asked = (
            Arc::as_ptr(checkpoint) as usize,
            analysis.as_ref().map_or(0, |a| Arc::as_ptr(a) as usize),
            session.prefix.clone(),
        );
        if self.asked.as_ref() != Some(&asked) {
            self.asked = Some(asked);
            self.fits.ask(
                jobs,
                Question {
                    checkpoint: checkpoint.clone(),
                    analysis,
                    prefix: session.prefix.clone(),
                },
            );
        }
    }

    /// What the file is, how it fits, what would make it fit.
    fn head(&mut self, ui: &mut Ui, session: &mut Session, path: &Path, checkpoint: &Checkpoint) {
        let tokens = Tokens::of(ui);
        ui.horizontal_wrapped(|ui| {
            ui.heading(middle(&short(path), 60));
            let megabytes = checkpoint.file_len() as f64 / 1e6;
            let mut facts = format!(
                "{}, {megabytes:.1} MB, {}",
                checkpoint.format(),
                plural(checkpoint.state().len(), "tensor")
            );
            if let Some(epoch) = checkpoint.meta().epoch {
                facts += &format!(", epoch {epoch}");
            }
            ui.label(RichText::new(facts).color(tokens.soft));
            let others = checkpoint.meta().others.len() + checkpoint.state().not_tensors.len();
            if others > 0 {
                let names: Vec<String> = checkpoint
                    .meta()
                    .others
                    .iter()
                    .map(|(name, what)| format!("{name}: {what}"))
                    .collect();
                ui.label(RichText::new("Skipped: nothing is executed").color(tokens.weak))
                    .on_hover_text(names.join("\n"));
            }
        });
        let Some(fit) = &self.fit else { return };
        ui.horizontal_wrapped(|ui| match (&fit.against, &fit.without) {
            (_, Some(why)) => {
                ui.label(RichText::new(why).color(tokens.weak));
            }
            (Some(against), None) => {
                ui.label(RichText::new(format!("In the model of {against}:")).color(tokens.soft));
                for (state, count) in &fit.counts {
                    let (icon, color) = state.look(tokens);
                    widgets::icon(ui, icon, color);
                    let on = self.only == Some(*state);
                    let text = format!("{} {count}", state.word());
                    if ui
                        .selectable_label(on, text)
                        .on_hover_text("Show these alone")
                        .clicked()
                    {
                        self.only = if on { None } else { Some(*state) };
                    }
                }
            }
            _ => {}
        });
        if let Some(hint) = &fit.hint {
            hint.show(ui, session);
        }
        if let Some(prefix) = session.prefix.clone() {
            ui.horizontal(|ui| {
                ui.label(RichText::new(format!("Read with prefix {prefix}")).color(tokens.soft));
                if widgets::link(ui, "Without it").clicked() {
                    session.prefix = None;
                }
            });
        }
        let field = ui.add(
            TextEdit::singleline(&mut self.search)
                .hint_text("Name, shape or type")
                .desired_width(f32::INFINITY),
        );
        widgets::name(&field, "Find a tensor");
    }

    fn table(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui);
        let Some(fit) = &self.fit else { return };
        let search = self.search.trim().to_lowercase();
        let fits = |t: &&Tensor| {
            self.only.is_none_or(|only| t.state == Some(only))
                && (search.is_empty()
                    || t.key.to_lowercase().contains(&search)
                    || t.shape.contains(&search)
                    || t.dtype.to_lowercase().contains(&search))
        };
        let rows: Vec<&Tensor> = fit.tensors.iter().filter(fits).collect();
        let at = rows
            .iter()
            .position(|t| Some(&t.key) == self.selected.as_ref());
        let keys = |key| {
            !ui.ctx().text_edit_focused() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, key))
        };
        let to = match at {
            Some(at) if keys(Key::ArrowDown) => rows.get(at + 1),
            Some(at) if keys(Key::ArrowUp) => at.checked_sub(1).and_then(|i| rows.get(i)),
            _ => None,
        };
        if let Some(to) = to {
            self.selected = Some(to.key.clone());
            self.reveal = true;
        }
        let columns = Columns::of(ui.available_width());
        columns.head(ui, tokens);
        ui.spacing_mut().item_spacing.y = 0.0;
        let mut area = ScrollArea::vertical().auto_shrink(false);
        if std::mem::take(&mut self.reveal)
            && let Some(i) = rows
                .iter()
                .position(|t| Some(&t.key) == self.selected.as_ref())
        {
            area = area
                .vertical_scroll_offset((i as f32 * ROW - ui.available_height() / 2.0).max(0.0));
        }
        let mut selected = None;
        area.show_rows(ui, ROW, rows.len(), |ui, range| {
            for tensor in &rows[range] {
                if columns.row(
                    ui,
                    tokens,
                    tensor,
                    self.selected.as_ref() == Some(&tensor.key),
                ) {
                    selected = Some(tensor.key.clone());
                }
            }
        });
        if rows.is_empty() {
            ui.label(RichText::new("No tensor has that name, shape or type.").color(tokens.weak));
        }
        if selected.is_some() {
            self.selected = selected;
        }
    }
}
