//! The table of what was found: only the rows in sight are laid out.

use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2,
    vec2,
};

use super::rows::{Filter, Key, Row, Rows, Verdict, Which};
use crate::window::icons;
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// What somebody did with it in this frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// The row under the pointer.
    pub hovered: Option<Which>,
    /// The row that was clicked.
    pub clicked: Option<Which>,
    /// The row that was clicked twice.
    pub entered: Option<Which>,
}

/// How it is shown.
pub struct Look<'a> {
    /// The row that is selected.
    pub selected: Option<Which>,
    /// The row whose box is under the pointer.
    pub lit: Option<Which>,
    /// Brings the selected row into sight.
    pub reveal: bool,
    /// Colour of a class.
    pub color: &'a dyn Fn(Option<usize>) -> Color32,
}

/// Shows it in what is left of the panel.
pub fn show(ui: &mut Ui, rows: &Rows, filter: &mut Filter, look: &Look<'_>) -> Done {
    let columns = Columns::of(ui.available_width(), rows.sums.is_some());
    columns.head(ui, filter);
    let mut done = Done::default();
    ui.spacing_mut().item_spacing.y = 0.0;
    let mut area = ScrollArea::vertical().id_salt("rows").auto_shrink(false);
    if look.reveal
        && let Some(place) = look.selected.and_then(|which| rows.place(which))
    {
        let middle = place as f32 * ROW - ui.available_height() / 2.0;
        area = area.vertical_scroll_offset(middle.max(0.0));
    }
    area.show_rows(ui, ROW, rows.rows.len(), |ui, range| {
        for row in &rows.rows[range] {
            let response = columns.row(ui, row, look);
            if response.hovered() {
                done.hovered = Some(row.which);
            }
            if response.clicked() {
                done.clicked = Some(row.which);
            }
            if response.double_clicked() {
                done.entered = Some(row.which);
            }
        }
    });
    done
}

/// Where columns end, or begin where their text is not a number.
struct Columns {
    number: f32,
    class: f32,
    score: f32,
    size: f32,
    truth: Option<f32>,
}

impl Columns {
    fn of(width: f32, truth: bool) -> Self {
        let right = if truth { width - 68.0 } else { width - 12.0 };
        Self {
            number: 24.0,
            class: 32.0,
            score: right - 72.0,
            size: right,
            truth: truth.then_some(right + 12.0),
        }
    }

    fn head(&self, ui: &mut Ui, filter: &mut Filter) {
        let tokens = Tokens::of(ui);
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
        let mut column = |key: Key, title: &str, x: f32, align: Align2| {
            let font = FontId::proportional(SMALL);
            let on = filter.key == key;
            let sign = match (on, filter.reversed) {
                (false, _) => "",
                (true, false) => " ▼",
                (true, true) => " ▲",
            };
            let color = if on { tokens.text } else { tokens.weak };
            let text = ui
                .painter()
                .layout_no_wrap(format!("{title}{sign}"), font, color);
            let at = pos2(rect.left() + x, rect.center().y);
            let place = align.anchor_size(at, text.size());
            let (hit, id) = (place.expand2(vec2(4.0, 6.0)), ui.scope_id().with(title));
            let response = ui.interact(hit, id, Sense::click());
            let name = format!("Sort by {}", title.trim_end_matches(" px"));
            response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, &name));
            if response.hovered() {
                ui.painter()
                    .rect_filled(hit, CornerRadius::same(4), tokens.hover);
            }
            ui.painter().galley(place.min, text, color);
            widgets::focus_ring(ui, &response);
            if response.clicked() {
                filter.reversed = on && !filter.reversed;
                filter.key = key;
            }
        };
        column(Key::Number, "#", self.number, Align2::RIGHT_CENTER);
        column(Key::Class, "class", self.class, Align2::LEFT_CENTER);
        column(Key::Score, "score", self.score, Align2::RIGHT_CENTER);
        column(Key::Size, "size px", self.size, Align2::RIGHT_CENTER);
        if let Some(truth) = self.truth {
            column(Key::Truth, "truth", truth, Align2::LEFT_CENTER);
        }
    }

    fn row(&self, ui: &mut Ui, row: &Row, look: &Look<'_>) -> eframe::egui::Response {
        let tokens = Tokens::of(ui);
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let selected = look.selected == Some(row.which);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, spoken(row)));
        let painter = ui.painter_at(rect);
        let lit = response.hovered() || look.lit == Some(row.which);
        if selected {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.selection);
        } else if lit {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.hover);
        }
        if lit {
            // seen without colour too
            let edge = Rect::from_min_size(rect.min, vec2(3.0, rect.height()));
            painter.rect_filled(edge, CornerRadius::ZERO, tokens.accent);
        }
        let (y, code) = (rect.center().y, FontId::monospace(BODY));
        let at = |x: f32| pos2(rect.left() + x, y);
        let write = |x, align, text: String, font: &FontId, color| {
            painter.text(at(x), align, text, font.clone(), color)
        };
        let number = match row.which {
            Which::Found(i) => (i + 1).to_string(),
            Which::Missed(_) => "–".into(),
        };
        write(
            self.number,
            Align2::RIGHT_CENTER,
            number,
            &code,
            tokens.soft,
        );
        let dot = Rect::from_center_size(at(self.class + 5.0), vec2(10.0, 10.0));
        painter.rect_filled(dot, CornerRadius::same(2), (look.color)(row.label));
        let [w, h] = row.size();
        let score = row.score.map_or("–".into(), |s| format!("{s:.2}"));
        let score = write(self.score, Align2::RIGHT_CENTER, score, &code, tokens.text);
        let size = format!("{w:.0}x{h:.0}");
        write(self.size, Align2::RIGHT_CENTER, size, &code, tokens.soft);
        let left = self.class + 16.0;
        let most = ((score.left() - rect.left() - left - 8.0) / 7.5).max(3.0) as usize;
        let class = middle(&row.class, most);
        let font = FontId::proportional(BODY);
        write(left, Align2::LEFT_CENTER, class, &font, tokens.text);
        if let (Some(x), Some(verdict)) = (self.truth, row.verdict) {
            let (icon, color) = verdict.look(tokens);
            let square = Rect::from_center_size(at(x + 6.0), vec2(12.0, 12.0));
            icons::paint(&painter, icon, square, color);
            let word = verdict.word().to_owned();
            write(x + 16.0, Align2::LEFT_CENTER, word, &font, color);
        }
        widgets::focus_ring(ui, &response);
        response
    }
}

/// A row, as it is read aloud.
fn spoken(row: &Row) -> String {
    let [w, h] = row.size();
    let score = row
        .score
        .map(|s| format!(", score {s:.2}"))
        .unwrap_or_default();
    let verdict = row
        .verdict
        .map(|v| format!(", {}", v.word()))
        .unwrap_or_default();
    let missed = matches!(row.verdict, Some(Verdict::Miss));
    let what = if missed { "object" } else { "box" };
    format!("{what} {}{score}, {w:.0}x{h:.0} px{verdict}", row.class)
}
