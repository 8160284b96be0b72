//! What the weights find in some pictures of the validation data, after each epoch; what is in truth there is dashed.

use eframe::egui::{DragValue, Label, Rect, RichText, Sense, Ui, UiBuilder, pos2, vec2};

use super::thousands;
use crate::window::files::short;
use crate::window::icons;
use crate::window::picture::{Line, Mark, Picture, Sight, class_color};
use crate::window::tokens::{SMALL, Tokens};
use crate::window::training::glimpse::{Glimpse, Thing};
use crate::window::training::looked::Looked;
use crate::window::training::{LiveRun, Predictions as Found};
use crate::window::widgets::{self, middle};

/// The pictures.
pub struct Predictions {
    /// Of which run they are.
    run: u64,
    pictures: Vec<(Picture, Sight)>,
    /// Objects that are found with less are not shown.
    least: f32,
    /// The object that the pointer is on, by picture.
    lit: Option<(usize, usize)>,
}

impl Default for Predictions {
    fn default() -> Self {
        Self {
            run: 0,
            pictures: Vec::new(),
            least: 0.3,
            lit: None,
        }
    }
}

/// What is shown: of a run of this window, or of one whose folder is open.
pub struct Of<'r> {
    id: u64,
    glimpses: &'r [Glimpse],
    seen: &'r [Found],
    classes: &'r [String],
    by_epoch: bool,
    /// What to say where nothing was found yet.
    nothing: &'static str,
}

impl<'r> Of<'r> {
    /// The run of this window.
    pub fn live(run: &'r LiveRun) -> Self {
        let head = run.head.as_ref();
        let nothing = match head {
            Some(head) if !head.validated => {
                "This run has no validation data, so there are no pictures to look at."
            }
            _ => "Pictures come after the first epoch.",
        };
        Self {
            id: run.id,
            glimpses: &run.glimpses,
            seen: &run.seen,
            classes: head.map_or(&[], |head| &head.classes),
            by_epoch: head.is_none_or(|head| head.by_epoch),
            nothing,
        }
    }

    /// A run of before; `id` is another number than other runs have.
    pub fn kept(id: u64, looked: &'r Looked) -> Self {
        Self {
            id,
            glimpses: &looked.glimpses,
            seen: &looked.seen,
            classes: &looked.classes,
            by_epoch: looked.by_epoch,
            nothing: "The pictures of this run are not there any more, or it had none.",
        }
    }
}

/// Epochs that are offered at once.
const EPOCHS: usize = 9;
const GAP: f32 = 8.0;

impl Predictions {
    /// What stands beside the tab: of which epoch, and from which score on.
    pub fn head(&mut self, ui: &mut Ui, of: &Of, cursor: &mut Option<u64>) {
        let tokens = Tokens::of(ui);
        ui.add_space(8.0);
        ui.label(RichText::new("score from").color(tokens.weak));
        let score = DragValue::new(&mut self.least).range(0.0..=1.0).speed(0.01);
        let score = ui.add(score.fixed_decimals(2));
        widgets::name(&score, "Least score");
        let Some(at) = place(of, *cursor) else {
            return;
        };
        ui.add_space(8.0);
        let word = match of.by_epoch {
            true => "epoch",
            false => "iteration",
        };
        ui.label(RichText::new(word).color(tokens.weak));
        let mut to = None;
        ui.add_enabled_ui(at > 0, |ui| {
            if widgets::icon_button(ui, icons::BEFORE, &format!("The {word} before")).clicked() {
                to = at.checked_sub(1);
            }
        });
        let first = at.saturating_sub(EPOCHS / 2);
        let last = (first + EPOCHS).min(of.seen.len());
        for i in last.saturating_sub(EPOCHS)..last {
            let seen = &of.seen[i];
            let number = if word == "epoch" {
                seen.epoch
            } else {
                seen.iter
            };
            if ui.selectable_label(i == at, thousands(number)).clicked() {
                to = Some(i);
            }
        }
        ui.add_enabled_ui(at + 1 < of.seen.len(), |ui| {
            if widgets::icon_button(ui, icons::AFTER, &format!("The {word} after")).clicked() {
                to = Some(at + 1);
            }
        });
        if let Some(i) = to {
            // the last one stays the last one while the run goes on
            *cursor = (i + 1 < of.seen.len()).then(|| of.seen[i].iter);
        }
        if cursor.is_some() && widgets::link(ui, "Latest").clicked() {
            *cursor = None;
        }
    }

    /// The pictures side by side.
    pub fn show(&mut self, ui: &mut Ui, of: &Of, cursor: Option<u64>) {
        let tokens = Tokens::of(ui);
        if self.run != of.id {
            (self.run, self.lit) = (of.id, None);
            self.pictures.clear();
        }
        for glimpse in &of.glimpses[self.pictures.len().min(of.glimpses.len())..] {
            let name = short(glimpse.path.as_ref());
            let picture = Picture::new(ui.ctx(), &name, glimpse.size, glimpse.rgb.to_vec());
            self.pictures.push((picture, Sight::default()));
        }
        let Some(found) = place(of, cursor).map(|i| &of.seen[i]) else {
            ui.label(RichText::new(of.nothing).color(tokens.weak));
            return;
        };
        let count = self.pictures.len().max(1) as f32;
        let room = ui.available_size();
        let each = (room.x - GAP * (count - 1.0)) / count;
        let height = room.y.max(96.0);
        let (all, _) = ui.allocate_exact_size(vec2(room.x, height), Sense::hover());
        let mut lit = None;
        for (i, (picture, sight)) in self.pictures.iter_mut().enumerate() {
            let left = all.left() + i as f32 * (each + GAP);
            let rect = Rect::from_min_size(pos2(left, all.top()), vec2(each, height));
            let mut ui = ui.new_child(UiBuilder::new().max_rect(rect).id_salt(("picture", i)));
            let glimpse = &of.glimpses[i];
            let marks = marks(found, i, &glimpse.truth, self.least, of.classes);
            let hits = marks.len() - glimpse.truth.len();
            let name = middle(&short(glimpse.path.as_ref()), 24);
            let best = found.found.get(i).and_then(|found| found.first());
            let seen = match (hits, best) {
                (0, Some(best)) => format!("0 found, best {:.2}", best.score),
                _ => format!("{hits} found"),
            };
            let text = format!("{name}  {} there, {seen}", glimpse.truth.len());
            let text = RichText::new(text).size(SMALL).color(tokens.soft);
            ui.add(Label::new(text).truncate())
                .on_hover_text(&glimpse.path);
            let own = self.lit.filter(|(of, _)| *of == i).map(|(_, mark)| mark);
            let seen = picture.show(&mut ui, sight, &marks, own);
            if let Some(mark) = seen.hovered {
                lit = Some((i, mark));
            }
        }
        self.lit = lit;
    }
}

/// The predictions that the cursor is on: the last ones that are not beyond it.
fn place(of: &Of, cursor: Option<u64>) -> Option<usize> {
    let at = match cursor {
        Some(iter) => of
            .seen
            .iter()
            .rposition(|seen| seen.iter <= iter)
            .unwrap_or(0),
        None => of.seen.len().checked_sub(1)?,
    };
    (at < of.seen.len()).then_some(at)
}

/// What was found, and below it what is in truth.
fn marks(found: &Found, i: usize, truth: &[Thing], least: f32, classes: &[String]) -> Vec<Mark> {
    let things = found.found.get(i).map(Vec::as_slice).unwrap_or_default();
    let found = things.iter().filter(|thing| thing.score >= least);
    let name = |thing: &Thing| {
        let name = classes.get(thing.label).cloned();
        name.unwrap_or_else(|| thing.label.to_string())
    };
    let found = found.map(|thing| Mark {
        xyxy: thing.xyxy,
        color: class_color(thing.label),
        caption: smalti::draw::caption(&name(thing), thing.score),
        line: Line::Solid,
    });
    let truth = truth.iter().map(|thing| Mark {
        xyxy: thing.xyxy,
        color: class_color(thing.label),
        caption: String::new(),
        line: Line::Dashed,
    });
    found.chain(truth).collect()
}
