//! Beside the picture: threshold, sums, classes, the table and times.

use eframe::egui::{
    Color32, CornerRadius, FontId, Panel, Rect, Response, RichText, Role, ScrollArea, Sense, Ui,
    WidgetInfo, pos2, vec2,
};

use super::DetectView;
use super::found::Times;
use super::rows::Verdict;
use super::{table, threshold};
use crate::window::frame::plural;
use crate::window::picture::class_color;
use crate::window::session::Session;
use crate::window::tokens::{BODY, SMALL, Tokens};
use crate::window::widgets::{self, middle};

impl DetectView {
    /// All of it.
    pub(super) fn side(&mut self, ui: &mut Ui, session: &mut Session) {
        let tokens = Tokens::of(ui);
        let found = match self.main.result(self.place) {
            Some(Ok(found)) => Some(found.clone()),
            _ => None,
        };
        if let Some(found) = &found {
            Panel::bottom("times")
                .exact_size(28.0)
                .frame(Default::default())
                .show(ui, |ui| {
                    let device = session.detector.built().map(|b| b.device.clone());
                    times(ui, &found.times, &device.unwrap_or_default());
                });
        }
        let scores = found.as_ref().map_or(&[][..], |f| &f.scores);
        ui.heading(match &found {
            Some(found) => format!(
                "{} of {}",
                self.rows.found().len(),
                plural(found.len(), "detection")
            ),
            None => "Detections".to_owned(),
        });
        threshold::show(ui, &mut self.filter.threshold, scores);
        ui.add_space(4.0);
        if let Some(sums) = self.rows.sums {
            ui.horizontal_wrapped(|ui| {
                let verdicts = [Verdict::Hit, Verdict::Miss, Verdict::FalseAlarm];
                for ((verdict, n), word) in
                    verdicts
                        .into_iter()
                        .zip(sums)
                        .zip(["hit", "miss", "false alarm"])
                {
                    let (icon, color) = verdict.look(tokens);
                    widgets::icon(ui, icon, color);
                    let text = if word == "miss" && n != 1 {
                        format!("{n} misses")
                    } else {
                        plural(n, word)
                    };
                    ui.label(RichText::new(text).color(color));
                    ui.add_space(4.0);
                }
            });
            ui.add_space(4.0);
        }
        self.classes(ui);
        let (key, reversed) = (self.filter.key, self.filter.reversed);
        let color = |label: Option<usize>| label.map_or(tokens.weak, class_color);
        let look = table::Look {
            selected: self.selected,
            lit: self.on_mark,
            reveal: std::mem::take(&mut self.reveal),
            color: &color,
        };
        let done = table::show(ui, &self.rows, &mut self.filter, &look);
        self.unsorted &= (key, reversed) == (self.filter.key, self.filter.reversed);
        self.on_row = done.hovered;
        if done.clicked.is_some() {
            self.selected = done.clicked;
        }
        if done.entered.is_some() {
            self.zoom();
        }
    }

    /// A chip for each class that is there: the pointer on it shows its boxes, a click leaves out the others.
    fn classes(&mut self, ui: &mut Ui) {
        self.on_class = None;
        if self.rows.classes.is_empty() && self.filter.only.is_empty() {
            return;
        }
        // classes that are chosen and not in this picture can be given up too
        let mut classes = self.rows.classes.clone();
        for class in &self.filter.only {
            if !classes.iter().any(|(known, ..)| known == class) {
                classes.push((class.clone(), None, 0));
            }
        }
        ScrollArea::vertical()
            .id_salt("classes")
            .max_height(92.0)
            .show(ui, |ui| {
                ui.horizontal_wrapped(|ui| {
                    ui.spacing_mut().item_spacing = vec2(4.0, 4.0);
                    for (class, label, count) in classes {
                        let on = self.filter.only.contains(&class);
                        let color = label.map_or(Tokens::of(ui).weak, class_color);
                        let response = chip(ui, color, &class, count, on);
                        if response.hovered() {
                            self.on_class = Some(class.clone());
                        }
                        if response.clicked() {
                            if on {
                                self.filter.only.remove(&class);
                            } else {
                                self.filter.only.insert(class);
                            }
                        }
                    }
                });
            });
        ui.add_space(4.0);
    }
}

fn chip(ui: &mut Ui, color: Color32, class: &str, count: usize, on: bool) -> Response {
    let tokens = Tokens::of(ui);
    let font = FontId::proportional(BODY);
    let text = ui
        .painter()
        .layout_no_wrap(middle(class, 24), font.clone(), tokens.text);
    let count_text = ui
        .painter()
        .layout_no_wrap(format!("×{count}"), font, tokens.weak);
    let size = vec2(text.size().x + count_text.size().x + 34.0, 24.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let name = format!("Only class {class}, {count}");
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, &name));
    let fill = match (on, response.hovered()) {
        (true, _) => tokens.selection,
        (false, true) => tokens.hover,
        _ => tokens.raised,
    };
    let edge = if on { tokens.accent } else { tokens.separator };
    let painter = ui.painter();
    painter.rect(
        rect,
        CornerRadius::same(12),
        fill,
        eframe::egui::Stroke::new(1.0, edge),
        eframe::egui::StrokeKind::Inside,
    );
    let dot = Rect::from_center_size(pos2(rect.left() + 12.0, rect.center().y), vec2(8.0, 8.0));
    painter.rect_filled(dot, CornerRadius::same(2), color);
    let at = pos2(rect.left() + 20.0, rect.center().y - text.size().y / 2.0);
    let after = at + vec2(text.size().x + 6.0, 0.0);
    painter.galley(at, text, tokens.text);
    painter.galley(after, count_text, tokens.weak);
    widgets::focus_ring(ui, &response);
    response
}

/// `pre 2.1  net 14.2  post 1.0 ms on CPU`.
fn times(ui: &mut Ui, times: &Times, device: &str) {
    let tokens = Tokens::of(ui);
    let [before, network, after] = times.stages();
    let parts: Vec<String> = std::iter::once(("decode", times.decode))
        .chain(times.parts.iter().map(|(name, ms)| (name.as_str(), *ms)))
        .map(|(name, ms)| format!("{name} {ms:.1} ms"))
        .collect();
    let mut hover = parts.join("\n");
    let first = if times.first {
        hover += "\nA detector's first run is slower: its kernels are made ready.";
        ", first run"
    } else {
        ""
    };
    ui.horizontal_centered(|ui| {
        let text = format!("pre {before:.1}  net {network:.1}  post {after:.1} ms{first}");
        ui.label(
            RichText::new(text)
                .monospace()
                .size(SMALL)
                .color(tokens.soft),
        )
        .on_hover_text(format!("{hover}\non {device}"));
    });
}
