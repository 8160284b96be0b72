//! Classes, sizes of boxes and faults as bars: a click on one leaves the pictures that have it, with Shift also those.

use std::collections::BTreeSet;

use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Rect, RichText, Role, ScrollArea, Sense, TextEdit, Ui,
    WidgetInfo, pos2, vec2,
};

use smalti::config::Severity;
use smalti::data::summary::{FaultKind, thousands};

use super::index::{Filter, Index, UNREADABLE, words};
use crate::window::icons::{self, Icon};
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// What the bars keep.
#[derive(Default)]
pub struct Bars {
    search: String,
    /// Classes in the order of their counts.
    order: Vec<usize>,
    of: usize,
}

/// More classes than this can be searched.
const FEW: usize = 12;
/// Fewer rows of classes are not shown at a time.
const LEAST: usize = 6;

impl Bars {
    /// Shows them; changes the filter.
    pub fn show(&mut self, ui: &mut Ui, index: &Index, filter: &mut Filter, unreadable: usize) {
        let of = std::ptr::from_ref(index) as usize;
        if self.of != of {
            let classes = &index.summary.classes;
            self.order = (0..classes.len()).collect();
            self.order
                .sort_by_key(|label| std::cmp::Reverse(classes[*label].boxes));
            self.of = of;
            self.search.clear();
        }
        let sizes = index.summary.sizes.rows(|v| format!("{v}"), false);
        let full = |row: &(String, usize)| row.1 > 0;
        let first = sizes.iter().position(full).unwrap_or(sizes.len());
        let end = sizes.iter().rposition(full).map_or(0, |last| last + 1);
        let sizes = sizes.iter().enumerate().take(end).skip(first);
        let sizes: Vec<(usize, &(String, usize))> = sizes.collect();
        let faults = FaultKind::ALL.into_iter().enumerate();
        let faults: Vec<(usize, FaultKind, usize)> = faults
            .map(|(i, kind)| (i, kind, index.summary.faults.get(kind).count))
            .filter(|(.., count)| *count > 0)
            .collect();
        ScrollArea::vertical()
            .id_salt("bars")
            .auto_shrink(false)
            .show(ui, |ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                let others =
                    sizes.len() + faults.len() + index.notes.len() + usize::from(unreadable > 0);
                let rest = ui.available_height() - others as f32 * ROW - 4.0 * 32.0;
                self.classes(ui, index, filter, rest);
                heading(ui, "Sizes of boxes, px");
                let most = sizes.iter().map(|(_, row)| row.1).max().unwrap_or(0);
                for (bin, (name, count)) in sizes {
                    let row = Row {
                        name,
                        count: *count,
                        share: *count as f32 / most.max(1) as f32,
                        on: filter.sizes.contains(&bin),
                        mark: Mark::None,
                    };
                    if let Some(add) = row.show(ui, "boxes") {
                        choose(&mut filter.sizes, bin, add);
                    }
                }
                if !faults.is_empty() || !index.notes.is_empty() || unreadable > 0 {
                    heading(ui, "Faults");
                }
                let tokens = Tokens::of(ui);
                for (i, kind, count) in faults {
                    let bad = matches!(kind, FaultKind::MissingFile);
                    let row = Row {
                        name: words(kind),
                        count,
                        share: 0.0,
                        on: filter.faults.contains(&i),
                        mark: fault_mark(tokens, bad),
                    };
                    if let Some(add) = row.show(ui, "times") {
                        choose(&mut filter.faults, i, add);
                    }
                }
                if unreadable > 0 {
                    let row = Row {
                        name: UNREADABLE,
                        count: unreadable,
                        share: 0.0,
                        on: filter.unreadable,
                        mark: fault_mark(tokens, true),
                    };
                    if row.show(ui, "of those looked at").is_some() {
                        filter.unreadable = !filter.unreadable;
                    }
                }
                for (severity, text) in &index.notes {
                    note(ui, *severity, text);
                }
            });
    }

    fn classes(&mut self, ui: &mut Ui, index: &Index, filter: &mut Filter, rest: f32) {
        let classes = &index.summary.classes;
        heading(ui, &format!("Classes: {}", thousands(classes.len())));
        let search = self.search.trim().to_lowercase();
        if classes.len() > FEW {
            let field = ui.add(
                TextEdit::singleline(&mut self.search)
                    .hint_text("Find a class")
                    .desired_width(f32::INFINITY),
            );
            widgets::name(&field, "Find a class");
            ui.add_space(4.0);
        }
        let named = |label: &&usize| classes[**label].name.to_lowercase().contains(&search);
        let shown: Vec<usize> = self.order.iter().filter(named).copied().collect();
        if shown.is_empty() {
            let none = if classes.is_empty() {
                "None."
            } else {
                "No class has that name."
            };
            ui.label(RichText::new(none).color(Tokens::of(ui).weak));
            return;
        }
        let most = self.order.first().map_or(0, |label| classes[*label].boxes);
        let height = rest.max(LEAST as f32 * ROW).min(shown.len() as f32 * ROW);
        let area = ScrollArea::vertical()
            .id_salt("classes")
            .auto_shrink([false, true])
            .max_height(height);
        area.show_rows(ui, ROW, shown.len(), |ui, range| {
            for label in &shown[range] {
                let class = &classes[*label];
                let row = Row {
                    name: &class.name,
                    count: class.boxes,
                    share: class.boxes as f32 / most.max(1) as f32,
                    on: filter.classes.contains(label),
                    mark: Mark::Color(super::class_color(*label as i32)),
                };
                if let Some(add) = row.show(ui, "objects") {
                    choose(&mut filter.classes, *label, add);
                }
            }
        });
    }
}

/// One alone, or none if it was that; with Shift one more or one less.
fn choose(of: &mut BTreeSet<usize>, one: usize, add: bool) {
    let on = of.contains(&one);
    if !add {
        let alone = on && of.len() == 1;
        of.clear();
        if !alone {
            of.insert(one);
        }
    } else if on {
        of.remove(&one);
    } else {
        of.insert(one);
    }
}

fn heading(ui: &mut Ui, text: &str) {
    ui.add_space(8.0);
    ui.label(RichText::new(text).size(SMALL).color(Tokens::of(ui).weak));
    ui.add_space(4.0);
}

fn fault_mark(tokens: &Tokens, bad: bool) -> Mark {
    match bad {
        true => Mark::Icon(icons::ERROR, tokens.error),
        false => Mark::Icon(icons::WARNING, tokens.warning),
    }
}

/// What was noticed while the data set was read; all of it on hover.
fn note(ui: &mut Ui, severity: Severity, text: &str) {
    let tokens = Tokens::of(ui);
    let (icon, color) = match severity {
        Severity::Error => (icons::ERROR, tokens.error),
        Severity::Warning => (icons::WARNING, tokens.warning),
        Severity::Note => (icons::NOTE, tokens.note),
    };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let square = Rect::from_center_size(pos2(rect.left() + 8.0, rect.center().y), vec2(14.0, 14.0));
    icons::paint(ui.painter(), icon, square, color);
    let painter = ui.painter_at(rect);
    painter.text(
        pos2(rect.left() + 20.0, rect.center().y),
        Align2::LEFT_CENTER,
        middle(text, ((rect.width() - 24.0) / 6.0) as usize),
        FontId::proportional(BODY),
        tokens.text,
    );
    response.on_hover_text(text);
}

enum Mark {
    None,
    Color(Color32),
    Icon(Icon, Color32),
}

/// A name, a count, and a bar behind both.
struct Row<'a> {
    name: &'a str,
    count: usize,
    share: f32,
    on: bool,
    mark: Mark,
}

impl Row<'_> {
    /// Whether it was clicked, and whether to add to what is chosen.
    fn show(&self, ui: &mut Ui, unit: &str) -> Option<bool> {
        let tokens = Tokens::of(ui);
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let count = thousands(self.count);
        let name = format!("{}, {count} {unit}", self.name);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, self.on, name.trim_end()));
        let painter = ui.painter_at(rect);
        if response.hovered() {
            painter.rect_filled(rect, CornerRadius::same(2), tokens.hover);
        }
        let inner = rect.shrink2(vec2(0.0, 2.0));
        let width = (inner.width() * self.share).max(if self.share > 0.0 { 2.0 } else { 0.0 });
        let fill = if self.on {
            tokens.selection
        } else {
            tokens.idle
        };
        let bar = if self.on {
            inner
        } else {
            inner.with_max_x(inner.left() + width)
        };
        painter.rect_filled(bar, CornerRadius::same(2), fill);
        if self.on {
            let left = inner.with_max_x(inner.left() + 3.0);
            painter.rect_filled(left, CornerRadius::ZERO, tokens.accent);
        }
        let (middle_y, mut x) = (rect.center().y, rect.left() + 8.0);
        match self.mark {
            Mark::None => {}
            Mark::Color(color) => {
                let square = Rect::from_center_size(pos2(x + 4.0, middle_y), vec2(8.0, 8.0));
                painter.rect_filled(square, CornerRadius::same(2), color);
                x += 14.0;
            }
            Mark::Icon(icon, color) => {
                let square = Rect::from_center_size(pos2(x + 7.0, middle_y), vec2(14.0, 14.0));
                icons::paint(&painter, icon, square, color);
                x += 20.0;
            }
        }
        let right = painter.text(
            pos2(rect.right() - 8.0, middle_y),
            Align2::RIGHT_CENTER,
            &count,
            FontId::monospace(SMALL),
            tokens.soft,
        );
        let most = ((right.left() - x - 8.0) / 6.5).max(4.0) as usize;
        painter.text(
            pos2(x, middle_y),
            Align2::LEFT_CENTER,
            middle(self.name, most),
            FontId::proportional(BODY),
            tokens.text,
        );
        widgets::focus_ring(ui, &response);
        let hint = match self.on {
            true => "Click: show all again",
            false => "Click: show these alone. Shift: these too",
        };
        let clicked = response.clicked();
        let cut = self.name.chars().count() > most;
        response.on_hover_text(if cut {
            format!("{}\n{hint}", self.name)
        } else {
            hint.to_owned()
        });
        clicked.then(|| ui.input(|i| i.modifiers.shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_takes_one_and_shift_adds() {
        let mut chosen = BTreeSet::new();
        let mut after = |one, add| {
            choose(&mut chosen, one, add);
            chosen.iter().copied().collect::<Vec<_>>()
        };
        assert_eq!(after(1, false), [1]);
        assert_eq!(after(2, true), [1, 2]);
        assert_eq!(after(3, false), [3]);
        assert_eq!(after(3, false), [0; 0]);
        assert_eq!(after(4, true), [4]);
        assert_eq!(after(4, true), [0; 0]);
    }
}
