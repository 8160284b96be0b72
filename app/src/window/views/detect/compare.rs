//! Two checkpoints on the same picture, side by side: one sight for both, and boxes that lie on each other light up together.

use std::path::PathBuf;

use eframe::egui::{Align, CornerRadius, Key, Layout, Rect, RichText, Sense, Ui, UiBuilder, vec2};

use smalti::structures::boxes::{Overlap, overlap};

use super::DetectView;
use super::centre::Marks;
use super::pane::Pane;
use super::rows::{Row, Rows, Which};
use crate::window::detector::{Built, Detector, Parts};
use crate::window::files::short;
use crate::window::frame::plural;
use crate::window::host::Question;
use crate::window::jobs::{Job, Jobs};
use crate::window::picture::{Mark, Seen};
use crate::window::session::Session;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets::middle;

/// The other checkpoint.
pub struct Other {
    /// Its file.
    pub path: PathBuf,
    /// The prefix of its names that count.
    pub prefix: Option<String>,
    /// The detector of it and the config that is open.
    pub detector: Detector,
    /// What it found.
    pub pane: Pane,
    /// Of the picture in front.
    pub rows: Rows,
    /// The box under the pointer.
    on_mark: Option<usize>,
}

/// A dialog in which the other checkpoint is chosen.
pub type Asking = Job<Vec<PathBuf>>;

/// Two boxes of a class are about the same object if they overlap as much as this.
const SAME: f32 = 0.5;
const GAP: f32 = 4.0;
const TITLE: f32 = 24.0;

impl Other {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            prefix: None,
            detector: Detector::default(),
            pane: Pane::default(),
            rows: Rows::default(),
            on_mark: None,
        }
    }

    /// With its detector, if that is ready.
    pub fn ready(&self) -> Option<(&Self, &Built)> {
        Some((self, self.detector.built()?))
    }

    /// Has its detector built: as the main one, with its own weights.
    pub fn want(&mut self, session: &Session, jobs: &mut Jobs, main: &Parts) {
        let parts = Parts {
            config: main.config.clone(),
            checkpoint: Some(self.path.clone()),
            prefix: self.prefix.clone(),
        };
        if let Some(chosen) = &session.engine.chosen {
            let device = (chosen, session.engine.number);
            self.detector.want(jobs, &session.host, device, &parts);
        }
    }
}

impl DetectView {
    /// Asks for the other checkpoint.
    pub(super) fn compare(&mut self, session: &Session, jobs: &mut Jobs) {
        let host = session.host.clone();
        let question = Question::Files("Compare with a checkpoint");
        self.asking = Some(jobs.asking(async move |_| host.ask(&question).await));
    }

    /// Takes the answer.
    pub(super) fn take_other(&mut self) {
        let Some(answer) = self.asking.as_ref().and_then(Job::poll) else {
            return;
        };
        self.asking = None;
        if let Some(path) = answer.unwrap_or_default().into_iter().next() {
            self.other = Some(Other::new(path));
        }
    }

    /// What the other found in the picture in front.
    pub(super) fn list_other(&mut self, ui: &Ui, jobs: &mut Jobs) {
        let at = self.at();
        let Some(other) = &mut self.other else { return };
        let known = self.known.objects(at);
        let judged = known.and_then(|(objects, version)| other.pane.judge(at, objects, version));
        let truth = known
            .zip(judged.as_ref())
            .map(|((objects, _), j)| (objects, j));
        other.rows = match (other.detector.built(), other.pane.result(at.1)) {
            (Some(built), Some(Ok(found))) => {
                Rows::of(found, built.predictor.classes(), truth, &self.filter)
            }
            _ => Rows::default(),
        };
        other.pane.mask(ui.ctx(), jobs, at, &other.rows.found());
    }

    /// Both. While C is held they change places.
    pub(super) fn side_by_side(&mut self, ui: &mut Ui, session: &Session) {
        let at = self.at();
        let Some(mut other) = self.other.take() else {
            return;
        };
        let place = ui.available_rect_before_wrap();
        let (left, right) = place.split_left_right_at_fraction(0.5);
        let (left, right) = (
            left.with_max_x(left.right() - GAP / 2.0),
            right.with_min_x(right.left() + GAP / 2.0),
        );
        let flip = !ui.ctx().text_edit_focused()
            && ui.input(|i| i.modifiers.is_none() && i.key_down(Key::C));
        let (ours, theirs) = if flip { (right, left) } else { (left, right) };
        let (marks, their_marks) = (self.marks(&self.rows, at), self.marks(&other.rows, at));
        let main = self.lit();
        // what the pointer is on in one is lit in both
        let lit = main.or_else(|| partner(&other.rows, other.on_mark, &self.rows));
        let their_lit = other.on_mark.or_else(|| {
            let on = self.on_mark.and_then(|which| self.rows.place(which));
            partner(&self.rows, on.or(main), &other.rows)
        });
        let title = session.detector.built().map_or("", |b| b.title.as_str());
        let their_title = match other.detector.built() {
            Some(built) => built.title.clone(),
            None => format!("{} ...", short(&other.path)),
        };
        let mut room = self.room;
        let mut show = |ui: &mut Ui,
                        rect: Rect,
                        title: String,
                        pane: &mut Pane,
                        marks: &[Mark],
                        lit: Option<usize>| {
            let picture = pane.picture.as_mut().filter(|(of, _)| *of == at);
            ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| -> Option<Seen> {
                head(ui, &title);
                room = ui.available_size();
                let (_, picture) = picture?;
                Some(picture.show(ui, &mut self.sight, marks, lit))
            })
            .inner
        };
        let title = format!("{title}: {}", plural(self.rows.found().len(), "detection"));
        let their_count = plural(other.rows.found().len(), "detection");
        let their_title = format!("{their_title}: {their_count}");
        let seen = ui.push_id("main", |ui| {
            show(ui, ours, title, &mut self.main, &marks.marks, lit)
        });
        let their_seen = ui.push_id("other", |ui| {
            show(
                ui,
                theirs,
                their_title,
                &mut other.pane,
                &their_marks.marks,
                their_lit,
            )
        });
        self.room = room;
        ui.advance_cursor_after_rect(place);
        // what the pointer is on in either one
        let (seen, their_seen) = (seen.inner, their_seen.inner);
        let place = |seen: &Option<Seen>, marks: &Marks, rows: &Rows, clicked: bool| {
            let seen = seen.as_ref()?;
            let mark = if clicked { seen.clicked } else { seen.hovered };
            rows.place(marks.which(mark)?)
        };
        other.on_mark = place(&their_seen, &their_marks, &other.rows, false);
        let of_ours = |place: Option<usize>| place.map(|i| self.rows.rows[i].which);
        let hovered = place(&seen, &marks, &self.rows, false)
            .or_else(|| partner(&other.rows, other.on_mark, &self.rows));
        let hovered = of_ours(hovered);
        if let Some(seen) = &their_seen
            && seen.response.clicked()
        {
            let on = place(&their_seen, &their_marks, &other.rows, true);
            self.selected = of_ours(partner(&other.rows, on, &self.rows));
        }
        if let Some(seen) = &seen {
            self.clicked(seen, &marks);
        }
        self.point(ui, hovered);
        self.other = Some(other);
    }
}

/// A title above a picture.
fn head(ui: &mut Ui, title: &str) {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), TITLE), Sense::hover());
    let most = ((rect.width() - 16.0) / 6.5).max(8.0) as usize;
    ui.painter()
        .rect_filled(rect, CornerRadius::ZERO, tokens.panel);
    let text = RichText::new(middle(title, most))
        .size(SMALL)
        .color(tokens.soft);
    let place = rect.shrink2(vec2(8.0, 0.0));
    ui.scope_builder(
        UiBuilder::new()
            .max_rect(place)
            .layout(Layout::left_to_right(Align::Center)),
        |ui| ui.label(text),
    );
}

/// Which row of others is about what a row is about: of its class, where it is.
fn partner(rows: &Rows, place: Option<usize>, others: &Rows) -> Option<usize> {
    let row = rows.rows.get(place?)?;
    let overlaps = |other: &Row| overlap(&row.bbox, &other.bbox, Overlap::Iou);
    let same = |other: &Row| {
        let missed = |row: &Row| matches!(row.which, Which::Missed(_));
        other.class == row.class && missed(other) == missed(row)
    };
    let best = others
        .rows
        .iter()
        .enumerate()
        .filter(|(_, other)| same(other));
    let best = best.map(|(i, other)| (i, overlaps(other)));
    let best = best.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (best.1 >= SAME).then_some(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_a_class_on_each_other_are_partners() {
        let row = |i: usize, class: &str, x: f32| Row {
            which: Which::Found(i),
            label: Some(0),
            class: class.into(),
            bbox: [x, 0.0, x + 10.0, 10.0],
            score: Some(0.5),
            verdict: None,
        };
        let rows = |rows: Vec<Row>| Rows {
            rows,
            ..Rows::default()
        };
        let ours = rows(vec![row(0, "cat", 0.0), row(1, "dog", 50.0)]);
        let theirs = rows(vec![
            row(0, "dog", 0.0),
            row(1, "cat", 1.0),
            row(2, "cat", 8.0),
        ]);
        assert_eq!(partner(&ours, Some(0), &theirs), Some(1));
        assert_eq!(partner(&ours, Some(1), &theirs), None);
        assert_eq!(partner(&ours, None, &theirs), None);
    }
}
