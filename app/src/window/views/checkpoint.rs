//! A checkpoint: its tensors with name, shape, type and values, and how they fit the config that is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{
    Align, Align2, CornerRadius, FontId, Key, Layout, Modifiers, Rect, RichText, Role, ScrollArea,
    Sense, TextEdit, Ui, WidgetInfo, pos2, vec2,
};

use smalti::weights::{self, Checkpoint, Wanted};

use super::View;
use crate::window::actions::Command;
use crate::window::analysis::Analysis;
use crate::window::files::short;
use crate::window::frame::plural;
use crate::window::icons::{self, Icon};
use crate::window::jobs::{Job, Jobs, Newest};
use crate::window::load_report::Hint;
use crate::window::session::Session;
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

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

/// A file and the model that it is to fit.
struct Question {
    checkpoint: Arc<Checkpoint>,
    analysis: Option<Arc<Analysis>>,
    prefix: Option<String>,
}

/// How a tensor fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// The model takes it.
    Fit,
    /// The model wants it, and the file lacks it.
    Missing,
    /// It has another shape.
    Shape,
    /// The model does not want it.
    Extra,
    /// It cannot be read.
    Unreadable,
}

const STATES: [(State, &str); 5] = [
    (State::Fit, "fit"),
    (State::Missing, "missing"),
    (State::Shape, "shape"),
    (State::Extra, "extra"),
    (State::Unreadable, "unreadable"),
];

impl State {
    fn word(self) -> &'static str {
        STATES
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, word)| word)
    }

    fn look(self, tokens: &Tokens) -> (Icon, eframe::egui::Color32) {
        match self {
            Self::Fit => (icons::OK, tokens.ok),
            Self::Missing | Self::Unreadable => (icons::ERROR, tokens.error),
            Self::Shape => (icons::WARNING, tokens.warning),
            Self::Extra => (icons::NOTE, tokens.weak),
        }
    }
}

#[derive(Clone, Debug)]
struct Tensor {
    /// Its name in the file, or in the model if the file lacks it.
    key: String,
    shape: String,
    dtype: String,
    state: Option<State>,
    why: String,
}

/// All tensors, and what would make them fit.
struct Fit {
    tensors: Vec<Tensor>,
    counts: Vec<(State, usize)>,
    hint: Option<Hint>,
    against: Option<String>,
    /// Why there is no model to fit.
    without: Option<String>,
}

/// What is in a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    count: usize,
    least: f32,
    most: f32,
    mean: f64,
    deviation: f64,
    not_finite: usize,
    bins: Vec<usize>,
}

const BINS: usize = 64;

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

/// Where columns begin.
struct Columns {
    shape: f32,
    dtype: f32,
    state: f32,
}

impl Columns {
    fn of(width: f32) -> Self {
        Self {
            shape: width - 260.0,
            dtype: width - 180.0,
            state: width - 112.0,
        }
    }

    fn head(&self, ui: &mut Ui, tokens: &Tokens) {
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
        let at = |x: f32, align: Align2, text: &str| {
            ui.painter().text(
                pos2(rect.left() + x, rect.center().y),
                align,
                text,
                FontId::proportional(SMALL),
                tokens.weak,
            );
        };
        at(8.0, Align2::LEFT_CENTER, "name");
        at(self.shape + 60.0, Align2::RIGHT_CENTER, "shape");
        at(self.dtype, Align2::LEFT_CENTER, "type");
        at(self.state, Align2::LEFT_CENTER, "config");
    }

    fn row(&self, ui: &mut Ui, tokens: &Tokens, tensor: &Tensor, selected: bool) -> bool {
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let name = format!(
            "{} {} {}",
            tensor.key,
            tensor.shape,
            tensor.state.map_or("", State::word)
        );
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &name));
        let painter = ui.painter_at(rect);
        if selected {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.selection);
        } else if response.hovered() {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.hover);
        }
        let y = rect.center().y;
        let code = FontId::monospace(BODY);
        let shape = painter.text(
            pos2(rect.left() + self.shape + 60.0, y),
            Align2::RIGHT_CENTER,
            &tensor.shape,
            code.clone(),
            tokens.soft,
        );
        let most = ((shape.left() - rect.left() - 24.0) / 8.0).max(8.0) as usize;
        painter.text(
            pos2(rect.left() + 8.0, y),
            Align2::LEFT_CENTER,
            middle(&tensor.key, most),
            code.clone(),
            tokens.text,
        );
        painter.text(
            pos2(rect.left() + self.dtype, y),
            Align2::LEFT_CENTER,
            &tensor.dtype,
            code,
            tokens.soft,
        );
        if let Some(state) = tensor.state {
            let (icon, color) = state.look(tokens);
            let square =
                Rect::from_center_size(pos2(rect.left() + self.state + 7.0, y), vec2(14.0, 14.0));
            icons::paint(&painter, icon, square, color);
            painter.text(
                pos2(rect.left() + self.state + 20.0, y),
                Align2::LEFT_CENTER,
                state.word(),
                FontId::proportional(BODY),
                color,
            );
        }
        widgets::focus_ring(ui, &response);
        response.clicked()
    }
}

fn shape(sizes: &[usize]) -> String {
    if sizes.is_empty() {
        return "number".into();
    }
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    sizes.join("x")
}

fn fit(question: &Question) -> Fit {
    let checkpoint = &question.checkpoint;
    let tensor = |key: &str| Tensor {
        key: key.to_owned(),
        shape: checkpoint
            .get(key)
            .map_or(String::new(), |t| shape(t.shape())),
        dtype: checkpoint
            .get(key)
            .map_or(String::new(), |t| t.dtype().to_string()),
        state: checkpoint.fault(key).map(|_| State::Unreadable),
        why: checkpoint.fault(key).map(str::to_owned).unwrap_or_default(),
    };
    let mut tensors: Vec<Tensor> = checkpoint.keys().map(tensor).collect();
    let alone = |tensors, why: &str| Fit {
        tensors,
        counts: Vec::new(),
        hint: None,
        against: None,
        without: Some(why.to_owned()),
    };
    let Some(config) = question.analysis.as_ref().and_then(|a| a.config.as_ref()) else {
        return alone(tensors, "Open a config to see which of them fit its model.");
    };
    let wanted: Vec<Wanted> = match smalti::model::state(config, &smalti::registry()) {
        Ok(state) => state.into_iter().map(Wanted::from).collect(),
        Err(_) => {
            return alone(
                tensors,
                "The model of the config that is open has errors: mend them to see which tensors fit.",
            );
        }
    };
    let report = weights::report(&wanted, checkpoint, question.prefix.as_deref());
    let prefix = report.prefix.clone().unwrap_or_default();
    let place: std::collections::HashMap<String, usize> = tensors
        .iter()
        .enumerate()
        .map(|(i, t)| (t.key.clone(), i))
        .collect();
    let mut set = |key: &str, state: State, why: String| {
        if let Some(tensor) = place.get(key).and_then(|i| tensors.get_mut(*i)) {
            (tensor.state, tensor.why) = (Some(state), why);
        }
    };
    report
        .matched
        .iter()
        .for_each(|(_, key)| set(key, State::Fit, String::new()));
    report.unexpected.iter().for_each(|key| {
        set(
            &format!("{prefix}{key}"),
            State::Extra,
            ": the model has no such tensor".into(),
        )
    });
    report.wrong_shape.iter().for_each(|w| {
        set(
            &format!("{prefix}{}", w.key),
            State::Shape,
            format!(": the model wants {}", shape(&w.model)),
        )
    });
    report.unreadable.iter().for_each(|(key, why)| {
        set(
            &format!("{prefix}{key}"),
            State::Unreadable,
            format!(": {why}"),
        )
    });
    let shapes: std::collections::HashMap<&str, &[usize]> = wanted
        .iter()
        .map(|w| (w.key.as_str(), w.shape.as_slice()))
        .collect();
    let missing = report.missing.iter().map(|key| Tensor {
        key: key.clone(),
        shape: shapes.get(key.as_str()).map_or(String::new(), |s| shape(s)),
        dtype: String::new(),
        state: Some(State::Missing),
        why: ": the file lacks it".into(),
    });
    tensors.extend(missing.collect::<Vec<_>>());
    let counts = STATES
        .iter()
        .map(|(state, _)| {
            (
                *state,
                tensors.iter().filter(|t| t.state == Some(*state)).count(),
            )
        })
        .filter(|(_, n)| *n > 0);
    let counts = counts.collect();
    let hint = Hint::of(&report);
    let against = Some(short(Path::new(&config.path)));
    Fit {
        tensors,
        counts,
        hint,
        against,
        without: None,
    }
}

fn measure(values: &[f32]) -> Values {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (mut least, mut most, mut count) = (f32::INFINITY, f32::NEG_INFINITY, 0_usize);
    let mut sum = 0.0;
    for v in finite() {
        (least, most, count) = (least.min(v), most.max(v), count + 1);
        sum += f64::from(v);
    }
    let mean = if count > 0 { sum / count as f64 } else { 0.0 };
    let square: f64 = finite().map(|v| (f64::from(v) - mean).powi(2)).sum();
    let mut bins = vec![0; BINS];
    let width = (f64::from(most) - f64::from(least)).max(f64::MIN_POSITIVE);
    for v in finite() {
        let at = (f64::from(v) - f64::from(least)) / width * BINS as f64;
        bins[(at as usize).min(BINS - 1)] += 1;
    }
    let deviation = if count > 0 {
        (square / count as f64).sqrt()
    } else {
        0.0
    };
    Values {
        count: values.len(),
        least,
        most,
        mean,
        deviation,
        not_finite: values.len() - count,
        bins,
    }
}

fn histogram(ui: &mut Ui, values: &Values) {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 120.0), Sense::hover());
    ui.painter()
        .rect_filled(rect, CornerRadius::same(4), tokens.field);
    let most = values.bins.iter().copied().max().unwrap_or(0).max(1);
    let width = rect.width() / BINS as f32;
    for (i, n) in values.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
        let height = (*n as f32 / most as f32 * (rect.height() - 8.0)).max(1.0);
        let left = rect.left() + i as f32 * width;
        let bar = Rect::from_min_max(
            pos2(left, rect.bottom() - height),
            pos2(left + width - 1.0, rect.bottom()),
        );
        ui.painter()
            .rect_filled(bar, CornerRadius::ZERO, tokens.accent);
    }
    ui.horizontal(|ui| {
        ui.label(
            RichText::new(number(values.least.into()))
                .size(SMALL)
                .color(tokens.soft),
        );
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.label(
                RichText::new(number(values.most.into()))
                    .size(SMALL)
                    .color(tokens.soft),
            );
        });
    });
    ui.label(format!(
        "{} values, mean {}, deviation {}",
        values.count,
        number(values.mean),
        number(values.deviation)
    ));
    if values.not_finite > 0 {
        ui.label(
            RichText::new(format!("{} are not finite", values.not_finite)).color(tokens.error),
        );
    }
}

/// A number with four digits.
fn number(x: f64) -> String {
    if x == 0.0 || (1e-3..1e5).contains(&x.abs()) {
        format!("{x:.4}")
    } else {
        format!("{x:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_measured_without_those_that_are_not_finite() {
        let values = measure(&[0.0, 1.0, 2.0, 3.0, f32::NAN, f32::INFINITY]);
        assert_eq!(
            (
                values.count,
                values.not_finite,
                values.least,
                values.most,
                values.mean
            ),
            (6, 2, 0.0, 3.0, 1.5)
        );
        assert!((values.deviation - 1.25f64.sqrt()).abs() < 1e-12);
        assert_eq!(
            (
                values.bins.iter().sum::<usize>(),
                values.bins[0],
                values.bins[BINS - 1]
            ),
            (4, 1, 1)
        );
        let same = measure(&[7.0; 3]);
        assert_eq!((same.bins[0], same.deviation), (3, 0.0));
        assert_eq!(measure(&[]).count, 0);
        assert_eq!(
            (number(0.5), number(1e-9), shape(&[3, 4]), shape(&[])),
            (
                "0.5000".into(),
                "1.000e-9".into(),
                "3x4".into(),
                "number".into()
            )
        );
    }
}
