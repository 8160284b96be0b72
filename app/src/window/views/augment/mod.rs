//! Augment: what the training pipeline makes of a sample, step by step. Sliders are the config's text; what was drawn can be dragged, and
//! stays then.

use std::sync::Arc;

use eframe::egui::{
    self, Align2, CentralPanel, Frame, Key, Margin, Modifiers, Panel, ScrollArea, Ui,
};

use smalti::config::Diagnostic;
use smalti::data::trace::Trace;

use super::View;
use crate::window::jobs::{Jobs, Newest};
use crate::window::messages::Level;
use crate::window::picture::Sight;
use crate::window::session::Session;
use crate::window::tokens::Tokens;

mod bar;
mod chosen;
mod data;
mod draws;
mod edits;
mod faults;
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
        if let Some(index) = session.sample.take() {
            self.index = index;
        }
        self.tick(ui, session, jobs);
        if self.data.source.is_none() {
            return faults::nothing(ui, session);
        }
        match self.data.opened.clone() {
            None => return faults::loading(ui),
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
        ScrollArea::vertical()
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
}
