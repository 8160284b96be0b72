//! The table of a model's parts: what each gives, parameters, products, frozen or not. Parts are folded; heads of columns sort.

use std::collections::HashMap;

use eframe::egui::{
    Align2, CornerRadius, FontId, Key, Modifiers, Rect, RichText, Role, ScrollArea, Sense, Ui,
    WidgetInfo, pos2, vec2,
};

use smalti::data::summary::thousands;

use super::parts::{Order, Part, Parts, given};
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// What the table keeps.
#[derive(Default)]
pub struct Table {
    /// Parts that were opened or closed by hand.
    opened: HashMap<String, bool>,
    /// What is looked for.
    pub search: String,
    order: Order,
    /// The selected part.
    pub selected: Option<String>,
    reveal: bool,
}

const INDENT: f32 = 14.0;

impl Table {
    /// Shows it; true if another part was selected.
    pub fn show(&mut self, ui: &mut Ui, parts: &Parts) -> bool {
        let before = self.selected.clone();
        let rows = parts.rows(&|part| self.is_open(part), &self.search, self.order);
        self.keys(ui, parts, &rows);
        let columns = Columns::of(ui.available_width());
        self.head(ui, &columns);
        let mut area = ScrollArea::vertical().id_salt("layers").auto_shrink(false);
        let is = |at: &usize| Some(&parts.all[*at].place) == self.selected.as_ref();
        if std::mem::take(&mut self.reveal)
            && let Some(i) = rows.iter().position(is)
        {
            let above = i as f32 * ROW - ui.available_height() / 2.0;
            area = area.vertical_scroll_offset(above.max(0.0));
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        area.show_rows(ui, ROW, rows.len(), |ui, range| {
            for at in &rows[range] {
                self.row(ui, &columns, &parts.all[*at]);
            }
        });
        if rows.is_empty() {
            ui.label(RichText::new("No part has that name or shape.").color(Tokens::of(ui).weak));
        }
        self.selected != before
    }

    fn is_open(&self, part: &Part) -> bool {
        let by_itself = part.depth == 0;
        self.opened.get(&part.place).copied().unwrap_or(by_itself)
    }

    fn toggle(&mut self, part: &Part) {
        let open = self.is_open(part);
        self.opened.insert(part.place.clone(), !open);
    }

    /// Arrows walk the rows, left and right close and open.
    fn keys(&mut self, ui: &Ui, parts: &Parts, rows: &[usize]) {
        if ui.ctx().text_edit_focused() || self.selected.is_none() {
            return;
        }
        let is = |at: &usize| Some(&parts.all[*at].place) == self.selected.as_ref();
        let Some(i) = rows.iter().position(is) else {
            return;
        };
        let keys = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let part = &parts.all[rows[i]];
        let to = match () {
            () if keys(Key::ArrowDown) => rows.get(i + 1),
            () if keys(Key::ArrowUp) => i.checked_sub(1).and_then(|i| rows.get(i)),
            () => None,
        };
        if let Some(to) = to {
            self.selected = Some(parts.all[*to].place.clone());
            self.reveal = true;
        }
        let open = self.is_open(part);
        let branch = !part.children.is_empty();
        if branch && ((keys(Key::ArrowRight) && !open) || (keys(Key::ArrowLeft) && open)) {
            self.toggle(part);
        }
    }

    fn head(&mut self, ui: &mut Ui, columns: &Columns) {
        let tokens = Tokens::of(ui);
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
        let font = FontId::proportional(SMALL);
        let at = |x: f32| pos2(rect.left() + x, rect.center().y);
        let painter = ui.painter().clone();
        let text = |x: f32, align: Align2, text: &str| {
            painter.text(at(x), align, text, font.clone(), tokens.weak);
        };
        text(8.0, Align2::LEFT_CENTER, "part");
        text(columns.output, Align2::RIGHT_CENTER, "output, C x H x W");
        text(columns.frozen, Align2::LEFT_CENTER, "training");
        for (x, order, name, long) in [
            (
                columns.parameters,
                Order::Parameters,
                "parameters",
                "parameters",
            ),
            (
                columns.products,
                Order::Products,
                "GFLOPs",
                "GFLOPs: products, in thousands of millions",
            ),
        ] {
            let place = Rect::from_min_max(
                pos2(at(x).x - 96.0, rect.top()),
                pos2(at(x).x + 4.0, rect.bottom()),
            );
            let response = ui.interact(place, ui.scope_id().with(name), Sense::click());
            let on = self.order == order;
            response.widget_info(|| {
                WidgetInfo::selected(Role::Button, true, on, format!("Sort by {name}"))
            });
            let color = match on || response.hovered() {
                true => tokens.text,
                false => tokens.weak,
            };
            let shown = if on {
                format!("{name} ▼")
            } else {
                name.to_owned()
            };
            painter.text(at(x), Align2::RIGHT_CENTER, shown, font.clone(), color);
            widgets::focus_ring(ui, &response);
            if response.clicked() {
                self.order = if on { Order::Model } else { order };
            }
            response.on_hover_text(format!("Sort by {long}"));
        }
    }

    fn row(&mut self, ui: &mut Ui, columns: &Columns, part: &Part) {
        let tokens = Tokens::of(ui);
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let selected = self.selected.as_ref() == Some(&part.place);
        let (parameters, products) = (thousands(part.parameters as usize), giga(part.products));
        let output = given(&part.outputs);
        let trained = training(part);
        let said = format!(
            "{}, {output}, {parameters} parameters, {products} GFLOPs, {trained}",
            part.place
        );
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &said));
        let painter = ui.painter_at(rect);
        if selected {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.selection);
        } else if response.hovered() {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.hover);
        }
        let y = rect.center().y;
        let code = FontId::monospace(BODY);
        let at = |x: f32| pos2(rect.left() + x, y);
        let left = painter.text(
            at(columns.output),
            Align2::RIGHT_CENTER,
            output,
            code.clone(),
            tokens.soft,
        );
        for (x, text) in [
            (columns.parameters, parameters),
            (columns.products, products),
        ] {
            painter.text(at(x), Align2::RIGHT_CENTER, text, code.clone(), tokens.text);
        }
        let color = if part.frozen > 0 {
            tokens.note
        } else {
            tokens.weak
        };
        painter.text(
            at(columns.frozen),
            Align2::LEFT_CENTER,
            trained,
            FontId::proportional(BODY),
            color,
        );
        let mut x = rect.left() + 8.0 + part.depth as f32 * INDENT;
        if !part.children.is_empty() {
            let open = self.is_open(part) || !self.search.trim().is_empty();
            painter.text(
                pos2(x, y),
                Align2::LEFT_CENTER,
                if open { "▼" } else { "▶" },
                FontId::proportional(BODY),
                tokens.weak,
            );
        }
        x += INDENT + 4.0;
        let room = (columns.output).min(columns.parameters - 80.0);
        let most = ((left.left().min(rect.left() + room) - x - 8.0) / 8.0).max(4.0);
        painter.text(
            pos2(x, y),
            Align2::LEFT_CENTER,
            middle(&part.name, most as usize),
            code,
            tokens.text,
        );
        widgets::focus_ring(ui, &response);
        if response.clicked() {
            let triangle = response.interact_pointer_pos().is_some_and(|p| p.x < x);
            if !part.children.is_empty() && (triangle || selected) {
                self.toggle(part);
            }
            if !triangle {
                self.selected = Some(part.place.clone());
            }
        }
        let many = part.outputs.len() > 1;
        if many {
            let all: Vec<String> = part.outputs.iter().map(|o| super::parts::by(o)).collect();
            response.on_hover_text(all.join("\n"));
        }
    }
}

/// Whether a part is trained.
fn training(part: &Part) -> String {
    match (part.parameters, part.frozen) {
        (0, _) => String::new(),
        (_, 0) => "trained".into(),
        (all, frozen) if all == frozen => "frozen".into(),
        (all, frozen) => format!("{:.0}% frozen", 100.0 * frozen as f64 / all as f64),
    }
}

/// Thousands of millions, with three digits behind the point.
pub fn giga(products: u64) -> String {
    match products {
        0 => String::new(),
        n if n < 500_000 => "<0.001".into(),
        n => format!("{:.3}", n as f64 / 1e9),
    }
}

/// Where columns are, from the left.
struct Columns {
    output: f32,
    parameters: f32,
    products: f32,
    frozen: f32,
}

impl Columns {
    fn of(width: f32) -> Self {
        if width < 480.0 {
            // names and parameters come first: what else there is, the details have
            let far = 2.0 * width;
            return Self {
                output: far,
                parameters: width - 84.0,
                products: width - 12.0,
                frozen: far,
            };
        }
        let frozen = width - 100.0;
        Self {
            output: frozen - 232.0,
            parameters: frozen - 112.0,
            products: frozen - 24.0,
            frozen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words() {
        assert_eq!(giga(0), "");
        assert_eq!(giga(1000), "<0.001");
        assert_eq!(giga(4_089_184_256), "4.089");
        let part = |parameters, frozen| Part {
            parameters,
            frozen,
            ..Part::default()
        };
        let words = [(0, 0), (8, 0), (8, 8), (8, 2)].map(|(p, f)| training(&part(p, f)));
        assert_eq!(words, ["", "trained", "frozen", "25% frozen"]);
    }
}
