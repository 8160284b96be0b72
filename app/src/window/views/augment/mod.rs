//! Augment: what the training pipeline makes of a sample, step by step. Sliders are the config's text; what was drawn can be dragged, and
//! stays then.

use std::sync::Arc;

use eframe::egui::{
    self, Align, Align2, CentralPanel, Frame, Key, Layout, Margin, Modifiers, Panel, RichText, Ui,
};

use smalti::config::{Diagnostic, Node, value_to_py};
use smalti::data::trace::Trace;

use super::{Shows, View, for_what};
use crate::window::actions::Command;
use crate::window::document::Kind;
use crate::window::files::short;
use crate::window::icons;
use crate::window::jobs::{Jobs, Newest};
use crate::window::messages::Level;
use crate::window::picture::Sight;
use crate::window::session::{Place, Session};
use crate::window::tokens::Tokens;
use crate::window::widgets;

mod bar;
mod data;
mod draws;
mod edits;
mod grid;
mod missing;
mod mosaic;
mod opened;
mod options;
mod panel;
mod plan;
mod sample;
mod sizes;
mod stage;
mod strip;

use data::Trouble;
use panel::Act;
use sample::{Failed, Last, Question, Seen};

/// A frame that takes longer is shown at half size while one drags.
const SLOW: std::time::Duration = std::time::Duration::from_millis(16);
/// Height of the box sizes.
const SIZES: f32 = 140.0;

/// The view.
pub struct Augment {
    data: data::Data,
    edits: edits::Edits,
    samples: Newest<Question, Result<Seen, Failed>>,
    thumbs: Newest<Steps, Small>,
    /// The trace whose small pictures were asked for.
    small: Option<Arc<Trace>>,
    asked: Option<Asked>,
    shown: Option<stage::Shown>,
    failed: Option<Vec<Diagnostic>>,
    index: usize,
    seed: u64,
    is_locked: bool,
    pins: draws::Pins,
    /// The step that is shown, by its place below the source.
    chosen: Option<String>,
    reveal: bool,
    beside: bool,
    sight: Sight,
    /// The ghost that is hovered in the picture, and in the list.
    lit: (Option<usize>, Option<usize>),
    /// A press in which something was dragged.
    is_dragging: bool,
    is_slow: bool,
    grid: Option<grid::Grid>,
    grid_of: Option<Asked>,
    sizes: sizes::Panel,
}

/// A trace and the rows of the strip.
type Steps = (Arc<Trace>, Vec<plan::Row>);
/// Small pictures of a trace.
type Small = (Arc<Trace>, Vec<Option<sample::Shot>>);

/// What decides of a sample.
#[derive(Clone, PartialEq)]
struct Asked {
    data: u64,
    index: usize,
    seed: u64,
    pins: draws::Pins,
    chosen: Option<String>,
    beside: bool,
    half: bool,
    device: Option<String>,
}

impl Default for Augment {
    fn default() -> Self {
        let last = Last::default();
        Self {
            data: data::Data::default(),
            edits: edits::Edits::default(),
            samples: Newest::new("making a sample", move |question, _| {
                sample::make(&last, &question)
            }),
            thumbs: Newest::new("small pictures of the steps", |(trace, rows): Steps, _| {
                let small = sample::thumbs(&trace, &rows);
                (trace, small)
            }),
            small: None,
            asked: None,
            shown: None,
            failed: None,
            index: 0,
            seed: 0,
            is_locked: false,
            pins: draws::Pins::default(),
            chosen: None,
            reveal: false,
            beside: false,
            sight: Sight::default(),
            lit: (None, None),
            is_dragging: false,
            is_slow: false,
            grid: None,
            grid_of: None,
            sizes: sizes::Panel::default(),
        }
    }
}

impl View for Augment {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.tick(ui, session, jobs);
        if self.data.source.is_none() {
            return nothing(ui, session);
        }
        match self.data.opened.clone() {
            None => return loading(ui),
            Some(Err(trouble)) => return self.trouble(ui, session, jobs, &trouble),
            Some(Ok(_)) => {}
        }
        self.keys(ui, session);
        let tokens = Tokens::of(ui);
        let frame = |margin| Frame::new().fill(tokens.panel).inner_margin(margin);
        Panel::bottom("sample")
            .exact_size(bar::HEIGHT)
            .resizable(false)
            .frame(frame(Margin::symmetric(8, 4)))
            .show(ui, |ui| self.bar(ui, session));
        if self.sizes.is_open {
            Panel::bottom("box sizes")
                .default_size(SIZES)
                .size_range(96.0..=320.0)
                .frame(frame(Margin::symmetric(8, 4)))
                .show(ui, |ui| {
                    if self.sizes.show(ui) {
                        self.sizes.retry();
                    }
                });
        }
        if self.grid.is_some() {
            CentralPanel::default()
                .frame(Frame::new().fill(tokens.canvas).inner_margin(4))
                .show(ui, |ui| self.grid(ui));
            return;
        }
        Panel::top("steps")
            .exact_size(strip::HEIGHT)
            .resizable(false)
            .frame(frame(Margin::symmetric(4, 4)))
            .show(ui, |ui| self.strip(ui));
        CentralPanel::default()
            .frame(Frame::new().fill(tokens.canvas))
            .show(ui, |ui| self.stage(ui, session, jobs));
    }

    fn inspects(&self, _session: &Session) -> bool {
        self.grid.is_none() && self.shown.as_ref().is_some_and(|s| s.seen.chosen.is_some())
    }

    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        egui::ScrollArea::vertical()
            .auto_shrink(false)
            .show(ui, |ui| self.panel(ui, session, jobs));
    }
}

impl Augment {
    /// Takes what was made, asks for what is due.
    fn tick(&mut self, ui: &Ui, session: &mut Session, jobs: &mut Jobs) {
        let ctx = ui.ctx();
        self.edits.tick(session, jobs);
        self.data.tick(session, jobs, &mut self.edits);
        if self.is_dragging && !ctx.input(|i| i.pointer.any_down()) {
            self.is_dragging = false;
        }
        if !self.is_dragging && !self.edits.is_busy() {
            session.documents.end_drag();
            self.edits.end_drag();
        }
        self.take(ctx, session, jobs);
        self.take_small(ctx, jobs);
        let Some(question) = self.question(session) else {
            return;
        };
        let asked = Asked {
            data: self.data.number,
            index: question.index,
            seed: question.seed,
            pins: self.pins.clone(),
            chosen: question.chosen.clone(),
            beside: question.beside,
            half: question.half,
            device: question.device.as_ref().map(|(name, _)| name.clone()),
        };
        let whole = Asked {
            chosen: None,
            beside: false,
            half: false,
            ..asked.clone()
        };
        if let Some(grid) = &mut self.grid {
            if self.grid_of.as_ref() != Some(&whole) && !self.is_dragging {
                self.grid_of = Some(whole);
                // near the end the last sixteen
                let last = question.opened.len.saturating_sub(grid::COUNT);
                grid.ask(Question {
                    index: question.index.min(last),
                    ..question.clone()
                });
            }
            grid.tick(ctx, jobs);
        }
        let of = (self.data.number, self.seed);
        self.sizes.tick(jobs, &question, of, self.is_dragging);
        if self.asked.as_ref() != Some(&asked) {
            self.asked = Some(asked);
            self.samples.ask(jobs, question);
        }
    }

    fn question(&self, session: &Session) -> Option<Question> {
        let Some(Ok(opened)) = &self.data.opened else {
            return None;
        };
        let source = self.data.source.as_ref()?;
        // a software GPU is slower than the CPU itself
        let chosen = session.engine.chosen.as_ref();
        let gpu = chosen.filter(|c| c.is_gpu && !c.is_software);
        Some(Question {
            opened: opened.clone(),
            node: source.node.clone(),
            index: self.index.min(opened.len.saturating_sub(1)),
            seed: self.seed,
            pins: self.pins.all().to_vec(),
            chosen: self.chosen.clone(),
            beside: self.beside,
            half: self.is_slow && self.is_dragging,
            device: gpu.map(|c| (c.name.clone(), c.device.clone())),
            host: session.host.clone(),
        })
    }

    fn take(&mut self, ctx: &egui::Context, session: &mut Session, jobs: &mut Jobs) {
        let answer = match self.samples.poll(jobs) {
            None => return,
            Some(Err(why)) => return session.tell(Level::Error, why),
            Some(Ok(answer)) => answer,
        };
        match answer {
            Ok(seen) => {
                if !seen.is_half && !seen.is_same {
                    self.is_slow = seen.took > SLOW;
                }
                self.failed = None;
                let meta = match &self.data.opened {
                    Some(Ok(opened)) => &opened.meta,
                    _ => return,
                };
                let old = self.shown.take();
                self.shown = Some(stage::Shown::new(ctx, seen, meta, old));
            }
            Err(Failed::Config(found)) => self.failed = Some(found),
            Err(Failed::Index) => self.index = 0,
        }
    }

    /// Small pictures follow the large one, and not while one drags.
    fn take_small(&mut self, ctx: &egui::Context, jobs: &mut Jobs) {
        let made = self.thumbs.poll(jobs);
        let Some(shown) = &mut self.shown else { return };
        if let Some(Ok((trace, small))) = made
            && Arc::ptr_eq(&trace, &shown.seen.trace)
        {
            shown.set_thumbs(ctx, small);
        }
        let trace = &shown.seen.trace;
        let known = self.small.as_ref().is_some_and(|t| Arc::ptr_eq(t, trace));
        if !known && !self.is_dragging {
            self.small = Some(trace.clone());
            let rows = shown.seen.rows.clone();
            self.thumbs.ask(jobs, (trace.clone(), rows));
        }
    }

    /// Letters, while nobody types.
    fn keys(&mut self, ui: &Ui, session: &mut Session) {
        if ui.ctx().text_edit_focused() {
            return;
        }
        let pressed = |key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        if pressed(Key::R) {
            self.reroll(session);
        }
        if pressed(Key::P) {
            self.toggle_pin();
        }
        if pressed(Key::B) {
            self.beside = !self.beside;
        }
        if pressed(Key::G) {
            self.toggle_grid();
        }
        if pressed(Key::Comma) {
            self.walk(-1);
        }
        if pressed(Key::Period) {
            self.walk(1);
        }
        // arrows belong to what has the keyboard
        if ui.memory(|m| m.focused().is_none()) {
            if pressed(Key::ArrowLeft) {
                self.step(-1);
            }
            if pressed(Key::ArrowRight) {
                self.step(1);
            }
        }
    }

    fn reroll(&mut self, session: &mut Session) {
        if self.is_locked {
            session.tell(Level::Note, "the seed is locked: unlock it to draw anew");
        } else {
            self.seed = self.seed.wrapping_add(1);
        }
    }

    fn toggle_grid(&mut self) {
        self.grid = match self.grid {
            Some(_) => None,
            None => Some(grid::Grid::default()),
        };
        self.grid_of = None;
    }

    /// To another sample.
    fn step(&mut self, by: isize) {
        let Some(Ok(opened)) = &self.data.opened else {
            return;
        };
        let last = opened.len.saturating_sub(1);
        self.index = self.index.min(last).saturating_add_signed(by).min(last);
    }

    /// To another step of the strip.
    fn walk(&mut self, by: isize) {
        let Some(shown) = &self.shown else { return };
        let rows = &shown.seen.rows;
        let ran: Vec<usize> = (0..rows.len())
            .filter(|i| rows[*i].step.is_some())
            .collect();
        let at = ran.iter().position(|i| Some(*i) == shown.seen.chosen);
        let to = at.map(|at| {
            at.saturating_add_signed(by)
                .min(ran.len().saturating_sub(1))
        });
        if let Some(row) = to.and_then(|to| ran.get(to)) {
            self.chosen.clone_from(&rows[*row].path);
            self.reveal = true;
        }
    }

    fn strip(&mut self, ui: &mut Ui) {
        let Some(shown) = &self.shown else { return };
        let reveal = std::mem::take(&mut self.reveal);
        let clicked = strip::show(ui, &shown.seen, &shown.thumbs, &self.pins, reveal);
        if let Some(row) = clicked {
            let row = &shown.seen.rows[row];
            if row.step.is_some() {
                self.chosen.clone_from(&row.path);
            }
        }
    }

    fn grid(&mut self, ui: &mut Ui) {
        if let Some(index) = self.grid.as_ref().and_then(|grid| grid.show(ui)) {
            self.index = index;
            self.grid = None;
        }
    }

    fn stage(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.errors(ui, session, jobs);
        let range = self.center_range();
        let Some(shown) = &mut self.shown else {
            return;
        };
        let room = ui.available_rect_before_wrap();
        let did = shown.show(ui, &mut self.sight, self.beside, self.lit.1, range);
        self.lit.0 = did.hovered;
        if shown.seen.is_half {
            let text = format!(
                "half size while you drag, {} ms",
                shown.seen.took.as_millis()
            );
            stage::chip(ui, room, Align2::RIGHT_TOP, &text, Tokens::of(ui).soft);
        }
        if let Some((center, is_range)) = did.center {
            self.is_dragging |= ui.input(|i| i.pointer.any_down());
            if is_range {
                self.move_range(center);
            } else {
                self.draw("/center", serde_json::json!(center.map(|v| v as i64)));
            }
        }
    }

    /// The chosen row, if the picture is of the data in view.
    fn row(&self) -> Option<&plan::Row> {
        let seen = &self.shown.as_ref()?.seen;
        seen.rows.get(seen.chosen?)
    }

    /// The chosen transform's options as they are now.
    fn node(&self) -> Option<Node> {
        let path = self.row()?.path.as_deref()?;
        self.data.source.as_ref()?.node.at(path).cloned()
    }

    /// Where the centre of a Mosaic may be, px.
    fn center_range(&self) -> Option<[f64; 4]> {
        let options = options::of("Mosaic", &self.node()?);
        let values = |key: &str| options.iter().find(|o| o.key == key).map(|o| o.values());
        let (scale, range) = (values("img_scale")?, values("center_ratio_range")?);
        let [low, high] = range[..] else { return None };
        let [w, h] = scale[..] else { return None };
        Some([low * w, low * h, high * w, high * h])
    }

    /// Moves the range of a Mosaic's centre so that its middle is there.
    fn move_range(&mut self, [x, _]: [f64; 2]) {
        let Some(node) = self.node() else { return };
        let options = options::of("Mosaic", &node);
        let find = |key: &str| options.iter().find(|o| o.key == key);
        let (Some(range), Some(scale)) = (find("center_ratio_range"), find("img_scale")) else {
            return;
        };
        let ([low, high], Some(width)) = (
            range.values()[..].try_into().unwrap_or([0.5, 1.5]),
            scale.values().first().copied(),
        ) else {
            return;
        };
        let half = (high - low) / 2.0;
        let middle = (x / width).clamp(half, 2.0 - half);
        let text = range.text(&[middle - half, middle + half]);
        self.set_option("center_ratio_range", &text, true);
    }

    /// The place of the chosen transform in the config, where that says it.
    fn place(&self, session: &Session) -> Option<String> {
        let row = self.row()?;
        let root = self.data.source.as_ref()?.path.clone()?;
        let path = format!("{root}.{}", row.path.as_deref()?);
        let config = session.analysis.as_ref()?.config.as_ref()?;
        let is_same = config
            .at(&path)
            .is_some_and(|n| opened::type_of(n) == row.name);
        is_same.then_some(path)
    }

    fn set_option(&mut self, key: &str, text: &str, drag: bool) {
        let root = self.data.source.as_ref().and_then(|s| s.path.clone());
        let path = self.row().and_then(|row| row.path.clone());
        if let (Some(root), Some(path)) = (root, path) {
            let kind = if drag { Kind::Drag } else { Kind::Step };
            self.edits
                .change(&format!("{root}.{path}.{key}"), text, kind);
        }
    }

    /// Makes a draw of the chosen step this value, and pins it with the pictures that were mixed in.
    fn draw(&mut self, pointer: &str, value: serde_json::Value) {
        let Some(shown) = &self.shown else { return };
        let trace = shown.seen.trace.clone();
        let step = self.row().and_then(|row| row.step).map(|s| &trace.steps[s]);
        let Some((step, at)) = step.and_then(|s| Some((s, s.saved[0]?))) else {
            return;
        };
        let Some(params) = self.pins.get(&trace, at).or(step.params.as_ref()) else {
            return;
        };
        let params = draws::with(params, pointer, value);
        self.pins.set(&trace, at, Some(params));
        if let Some(at) = step.saved[1] {
            self.pins.set(&trace, at, None);
        }
    }

    fn toggle_pin(&mut self) {
        let Some(shown) = &self.shown else { return };
        let trace = shown.seen.trace.clone();
        let step = self.row().and_then(|row| row.step).map(|s| &trace.steps[s]);
        let places: Vec<usize> = step.into_iter().flat_map(|s| s.saved).flatten().collect();
        let pinned = places.iter().any(|at| self.pins.has(&trace, *at));
        for at in places {
            if pinned {
                self.pins.unset(&trace, at);
            } else {
                self.pins.set(&trace, at, None);
            }
        }
    }

    fn panel(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let (Some(shown), Some(Ok(opened))) = (&self.shown, &self.data.opened) else {
            return;
        };
        let opened = opened.clone();
        let trace = shown.seen.trace.clone();
        let Some(row) = self.row().cloned() else {
            return;
        };
        let mut step = row.step.map(|s| trace.steps[s].clone());
        let places = step.iter().flat_map(|s| s.saved).flatten();
        let is_pinned = places.into_iter().any(|at| self.pins.has(&trace, at));
        // what is being dragged is newer than the picture
        if let Some(step) = &mut step
            && let Some(at) = step.saved[0]
            && let Some(params) = self.pins.get(&trace, at)
        {
            step.params = Some(params.clone());
        }
        let size = shown.size().map(|[w, h]| format!("{w} x {h} px, "));
        let took = format!("{} ms", shown.seen.took.as_millis());
        let chosen = panel::Chosen {
            facts: size.unwrap_or_default() + &took,
            row: &row,
            node: self.node(),
            step: step.as_ref(),
            is_pinned,
            is_written: self.place(session).is_some() && !self.data.is_stale,
            file: session
                .documents
                .active()
                .map(|d| d.key())
                .unwrap_or_default(),
            classes: &opened.meta.classes,
            lit: self.lit.0,
        };
        let (acts, lit) = panel::show(ui, &chosen);
        self.lit.1 = lit;
        for act in acts {
            let down = ui.input(|i| i.pointer.any_down());
            match act {
                Act::Option(key, text, drag) => {
                    self.is_dragging |= drag && down;
                    self.set_option(&key, &text, drag);
                }
                Act::Draw(pointer, value) => {
                    self.is_dragging |= down;
                    self.draw(&pointer, value);
                }
                Act::Pin => self.toggle_pin(),
                Act::Go(place) => go(session, jobs, &place),
            }
        }
    }

    /// What is wrong with the pipeline or this sample, above the picture.
    fn errors(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
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
        let text = format!("{name} failed: {}", sample::problem(error));
        let path = failed.and_then(|i| seen.rows[i].path.clone());
        let path =
            path.and_then(|p| Some(format!("{}.{p}", self.data.source.as_ref()?.path.as_ref()?)));
        let node = path.and_then(|path| {
            let config = session.analysis.as_ref()?.config.as_ref()?;
            super::config::place(config.at(&path)?)
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

    fn trouble(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs, trouble: &Trouble) {
        let tokens = Tokens::of(ui);
        ui.add_space(24.0);
        let card = |ui: &mut Ui, show: &mut dyn FnMut(&mut Ui)| {
            ui.horizontal(|ui| {
                ui.add_space(24.0);
                ui.vertical(|ui| {
                    ui.set_max_width(640.0);
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
                    super::config::place(config.at(&key)?)
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

    /// The pipeline as it is in view, as Python.
    fn as_config(&self) -> Option<String> {
        let node = &self.data.source.as_ref()?.node;
        let mut text = String::new();
        let mut put = |name: &str, pipeline: &Node| {
            let items = pipeline.as_items().unwrap_or_default();
            text += &format!("{name} = [\n");
            for item in items {
                text += &format!("    {},\n", value_to_py(item));
            }
            text += "]\n";
        };
        if let Some(inner) = node.get("dataset").and_then(|d| d.get("pipeline"))
            && node.get("pipeline").is_some()
        {
            put("load_pipeline", inner);
        }
        let mut at = node;
        while at.get("pipeline").is_none() {
            let several = at.get("datasets").and_then(Node::as_items);
            at = at
                .get("dataset")
                .or_else(|| several.and_then(|all| all.first()))?;
        }
        put("train_pipeline", at.get("pipeline")?);
        Some(text)
    }
}

/// To a place of the text, which the config's view shows.
fn go(session: &mut Session, jobs: &mut Jobs, place: &Place) {
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
fn nothing(ui: &mut Ui, session: &mut Session) {
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

fn loading(ui: &mut Ui) {
    let tokens = Tokens::of(ui);
    ui.with_layout(Layout::top_down(Align::Min), |ui| {
        ui.add_space(24.0);
        ui.horizontal(|ui| {
            ui.add_space(24.0);
            ui.label(RichText::new("Reading the train data ...").color(tokens.weak));
        });
    });
}

/// The name of what is shown, for the bar.
fn data_name(session: &Session) -> Option<String> {
    session.annotations.as_deref().map(short)
}
