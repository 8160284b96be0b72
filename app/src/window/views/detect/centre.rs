//! The picture with its boxes, or two of them side by side, and the filmstrip below.

use eframe::egui::{Color32, DragValue, Frame, Margin, Panel, RichText, Sense, Ui};

use smalti::draw::caption;

use super::DetectView;
use super::filmstrip::{self, Badge};
use super::pane::At;
use super::rows::{Row, Rows, Verdict, Which};
use crate::window::jobs::Jobs;
use crate::window::picture::{Line, Mark, Seen, class_color};
use crate::window::session::Session;
use crate::window::tokens::{DARK, IGNORED, SMALL, Tokens};
use crate::window::widgets;

/// Boxes on a picture, and the rows that they belong to.
pub(super) struct Marks {
    /// Boxes.
    pub marks: Vec<Mark>,
    rows: Vec<Option<Which>>,
}

impl Marks {
    /// The row that a box belongs to.
    pub fn which(&self, mark: Option<usize>) -> Option<Which> {
        self.rows.get(mark?).copied().flatten()
    }
}

/// How much is left of the colour of what is not meant.
const FAINT: f32 = 0.35;

impl DetectView {
    /// All of it.
    pub(super) fn centre(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.bars(ui, session, jobs);
        if self.items.len() > 1 {
            self.filmstrip(ui, session, jobs);
        }
        let at = self.at();
        if let Some((of, Err(why))) = &self.shown
            && *of == at
        {
            let why = why.clone();
            self.broken(ui, &why);
            return;
        }
        self.room = ui.available_size();
        if self.other.is_some() {
            self.side_by_side(ui, session);
        } else {
            self.alone(ui);
        }
    }

    fn alone(&mut self, ui: &mut Ui) {
        let at = self.at();
        let marks = self.marks(&self.rows, at);
        let lit = self.lit();
        let Some((of, picture)) = &mut self.main.picture else {
            waiting(ui);
            return;
        };
        // until the next picture has come, the last one stays, without boxes that are not its own
        let own = *of == at;
        let shown = if own { &marks.marks[..] } else { &[] };
        let seen = picture.show(ui, &mut self.sight, shown, lit.filter(|_| own));
        self.clicked(&seen, &marks);
        let hovered = marks.which(seen.hovered.filter(|_| own));
        self.point(ui, hovered);
    }

    /// A click on a box of the main picture selects it, a click beside all of them none.
    pub(super) fn clicked(&mut self, seen: &Seen, marks: &Marks) {
        if seen.response.clicked() {
            self.selected = marks.which(seen.clicked);
            self.reveal = self.selected.is_some();
        }
    }

    /// The pointer is on this box.
    pub(super) fn point(&mut self, ui: &Ui, which: Option<Which>) {
        if which != self.on_mark {
            self.on_mark = which;
            // the table stands before the picture in a frame
            ui.ctx().request_repaint();
        }
    }

    /// The place among the marks of what the pointer is on elsewhere, or of what is selected.
    pub(super) fn lit(&self) -> Option<usize> {
        let which = self.on_row.or(self.selected)?;
        self.rows.place(which)
    }

    /// Boxes of one detector: those of rows in the order of rows, then ground truth that was found.
    pub(super) fn marks(&self, rows: &Rows, at: At) -> Marks {
        let mut all = Marks {
            marks: rows.rows.iter().map(|row| self.mark(row)).collect(),
            rows: rows.rows.iter().map(|row| Some(row.which)).collect(),
        };
        let Some((objects, _)) = self.known.objects(at) else {
            return all;
        };
        let only = &self.filter.only;
        for (j, object) in objects.iter().enumerate() {
            let missed = rows.place(Which::Missed(j)).is_some();
            if missed || !only.is_empty() && !only.contains(&object.class) {
                continue;
            }
            let color = match (object.ignored, object.label) {
                (false, Some(label)) => class_color(label),
                _ => IGNORED,
            };
            all.marks.push(Mark {
                xyxy: object.bbox,
                color: self.meant(&object.class, color),
                caption: String::new(),
                line: Line::Dashed,
            });
            // the box of an object that was found belongs to the detection that finds it
            let by = rows.found_by.get(j).copied().flatten();
            all.rows.push(by.map(Which::Found));
        }
        all
    }

    fn mark(&self, row: &Row) -> Mark {
        let color = row.label.map_or(Color32::WHITE, class_color);
        // on pictures the dark theme's colours are light enough in either theme
        let (color, line, before) = match row.verdict {
            Some(Verdict::Miss) => (DARK.warning, Line::Dashed, "missed "),
            Some(Verdict::FalseAlarm) => (DARK.error, Line::Solid, "false "),
            _ => (color, Line::Solid, ""),
        };
        let text = match row.score {
            Some(score) => caption(&row.class, score),
            None => row.class.clone(),
        };
        let meant = self
            .on_class
            .as_ref()
            .is_none_or(|class| *class == row.class);
        Mark {
            xyxy: row.bbox,
            color: self.meant(&row.class, color),
            caption: if meant {
                format!("{before}{text}")
            } else {
                String::new()
            },
            line,
        }
    }

    /// Fainter while the pointer is on another class.
    fn meant(&self, class: &str, color: Color32) -> Color32 {
        match &self.on_class {
            Some(on) if on != class => color.gamma_multiply(FAINT),
            _ => color,
        }
    }

    fn broken(&mut self, ui: &mut Ui, why: &str) {
        let tokens = Tokens::of(ui);
        let name = self.items[self.place].name();
        let mut retry = false;
        Frame::new().inner_margin(24).show(ui, |ui| {
            widgets::card(ui, tokens.error, |ui| {
                ui.label(RichText::new(format!("{name} cannot be shown.")).color(tokens.error));
                ui.label(why);
                ui.label(RichText::new("Copy or convert it again, then retry.").color(tokens.soft));
                retry = widgets::button(ui, "Retry").clicked();
            });
        });
        if retry {
            self.loader.retry();
            self.main.again(self.place);
        }
    }

    fn filmstrip(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        let frame = Frame::new()
            .fill(tokens.panel)
            .inner_margin(Margin::symmetric(8, 4));
        let mut to = None;
        Panel::bottom("filmstrip panel")
            .exact_size(filmstrip::HEIGHT + 32.0)
            .frame(frame)
            .resizable(false)
            .show(ui, |ui| {
                ui.horizontal(|ui| {
                    let mut number = self.place + 1;
                    let field = DragValue::new(&mut number)
                        .range(1..=self.items.len())
                        .speed(0.2);
                    let field = ui.add(field);
                    widgets::name(&field, "Picture number");
                    if number != self.place + 1 {
                        to = Some(number - 1);
                    }
                    let count = thousands(self.items.len());
                    let name = widgets::middle(&self.items[self.place].name(), 60);
                    let text = format!("/ {count}   {name}");
                    ui.label(RichText::new(text).size(SMALL).color(tokens.soft));
                });
                let (main, threshold) = (&self.main, self.filter.threshold);
                let badge = |i: usize| match main.result(i)? {
                    Ok(found) => Some(Badge::Found(found.above(threshold))),
                    Err(_) => Some(Badge::Failed),
                };
                to = self
                    .strip
                    .show(ui, &self.items, self.place, &badge, session, jobs)
                    .or(to);
            });
        if let Some(to) = to {
            self.go(to);
        }
    }
}

/// While the first picture is read.
fn waiting(ui: &mut Ui) {
    ui.allocate_exact_size(ui.available_size(), Sense::hover());
}

/// `10,000`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
