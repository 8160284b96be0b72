//! The chosen step: its options, which the text takes, its draws, and their pins.

use eframe::egui::Ui;

use smalti::config::Node;

use super::panel::Act;
use super::{Augment, draws, faults, opened, options, panel, plan};
use crate::window::document::Kind;
use crate::window::jobs::Jobs;
use crate::window::session::Session;

impl Augment {
    /// The chosen row, if the picture is of the data in view.
    pub(super) fn row(&self) -> Option<&plan::Row> {
        let seen = &self.shown.as_ref()?.seen;
        seen.rows.get(seen.chosen?)
    }

    /// The chosen transform's options as they are now.
    pub(super) fn node(&self) -> Option<Node> {
        let path = self.row()?.path.as_deref()?;
        self.data.source.as_ref()?.node.at(path).cloned()
    }

    /// Where the centre of a Mosaic may be, px.
    pub(super) fn center_range(&self) -> Option<[f64; 4]> {
        let options = options::of("Mosaic", &self.node()?);
        let values = |key: &str| options.iter().find(|o| o.key == key).map(|o| o.values());
        let (scale, range) = (values("img_scale")?, values("center_ratio_range")?);
        let [low, high] = range[..] else { return None };
        let [w, h] = scale[..] else { return None };
        Some([low * w, low * h, high * w, high * h])
    }

    /// Moves the range of a Mosaic's centre so that its middle is there.
    pub(super) fn move_range(&mut self, [x, _]: [f64; 2]) {
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
        let span = high - low;
        let start = (x / width - span / 2.0).min(2.0 - span).max(0.0);
        // as the text says numbers, so that the span is the same after many small moves
        let start = (start * 1e4).round() / 1e4;
        let text = range.text(&[start, start + span]);
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
    pub(super) fn draw(&mut self, pointer: &str, value: serde_json::Value) {
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

    pub(super) fn toggle_pin(&mut self) {
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

    pub(super) fn panel(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
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
                Act::Go(place) => faults::go(session, jobs, &place),
            }
        }
    }
}
