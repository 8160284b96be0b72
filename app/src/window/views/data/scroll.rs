//! [`Scroll`]: many rows of one height, of which a few are in sight. Where they are scrolled to is kept in f64: an f32 of as many pixels as a million
//! rows have makes rows tremble, from 2^23 on it has no halves.

use eframe::egui::{CornerRadius, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::window::tokens::Tokens;

/// Width of the bar, px.
pub const BAR: f32 = 10.0;

/// Where rows are scrolled to.
#[derive(Debug, Default)]
pub struct Scroll {
    /// px above what is in sight.
    top: f64,
    /// px of all rows, and of those in sight.
    all: f64,
    sight: f64,
    /// The row to be brought into sight.
    reveal: Option<usize>,
}

/// The rows that are in sight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// The first of them.
    pub first: usize,
    /// How many there are.
    pub count: usize,
    /// Where the first one begins, px below the top of the area: not above 0.
    pub y: f32,
}

impl Scroll {
    /// Brings a row into sight at the next frame.
    pub fn reveal(&mut self, row: usize) {
        self.reveal = Some(row);
    }

    /// Back to the first row.
    pub fn start(&mut self) {
        self.top = 0.0;
    }

    /// Follows wheel and bar; gives what is in sight of `rows` rows. The bar takes the right of `area`.
    pub fn show(&mut self, ui: &mut Ui, area: Rect, rows: usize, height: f32) -> Sight {
        self.all = rows as f64 * f64::from(height);
        self.sight = f64::from(area.height());
        if ui.rect_contains_pointer(area) {
            let wheel = ui.input_mut(|i| std::mem::take(&mut i.smooth_scroll_delta.y));
            self.top -= f64::from(wheel);
        }
        if let Some(row) = self.reveal.take() {
            let (above, height) = (row as f64 * f64::from(height), f64::from(height));
            self.top = self.top.clamp(above + height - self.sight, above.max(0.0));
        }
        self.bar(ui, area);
        self.top = self.top.clamp(0.0, (self.all - self.sight).max(0.0));
        self.sight(rows, height)
    }

    fn sight(&self, rows: usize, height: f32) -> Sight {
        let height = f64::from(height);
        let first = ((self.top / height) as usize).min(rows.saturating_sub(1));
        let y = (first as f64 * height - self.top) as f32;
        let count = ((self.sight - f64::from(y)) / height).ceil().max(0.0) as usize;
        Sight {
            first,
            count: count.min(rows - first.min(rows)),
            y,
        }
    }

    fn bar(&mut self, ui: &mut Ui, area: Rect) {
        let hidden = self.all - self.sight;
        if hidden <= 0.0 {
            return;
        }
        let tokens = Tokens::of(ui);
        let rail = area.with_min_x(area.right() - BAR);
        let height = f64::from(rail.height());
        let length = (height * self.sight / self.all).max(32.0).min(height);
        let share = (self.top / hidden).clamp(0.0, 1.0);
        let response = ui.interact(
            rail,
            ui.scope_id().with("scroll bar"),
            Sense::click_and_drag(),
        );
        response.widget_info(|| {
            let mut info = WidgetInfo::labeled(Role::ScrollBar, true, "Scroll");
            info.value = Some(share);
            info
        });
        if let Some(at) = response.interact_pointer_pos() {
            let before = f64::from(at.y - response.drag_delta().y - rail.top());
            let begin = share * (height - length);
            if (begin..=begin + length).contains(&before) || response.drag_delta().y != 0.0 {
                let free = (height - length).max(1.0);
                self.top += f64::from(response.drag_delta().y) * hidden / free;
            } else if response.clicked() {
                self.top += if before < begin {
                    -self.sight
                } else {
                    self.sight
                };
            }
        }
        let share = (self.top / hidden).clamp(0.0, 1.0);
        let top = rail.top() + (share * (height - length)) as f32;
        let thumb =
            Rect::from_min_size(pos2(rail.left() + 2.0, top), vec2(BAR - 4.0, length as f32));
        let color = match response.hovered() || response.dragged() {
            true => tokens.weak,
            false => tokens.edge,
        };
        ui.painter()
            .rect_filled(thumb, CornerRadius::same(3), color);
    }

    /// How many rows a page has.
    pub fn page(&self, height: f32) -> usize {
        ((self.sight / f64::from(height)) as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_two_to_the_23_stand_still() {
        let (rows, height) = (860_001, 24.0);
        let mut scroll = Scroll {
            top: 860_000.0 * 24.0 - 0.25,
            all: rows as f64 * 24.0,
            sight: 240.0,
            reveal: None,
        };
        let sight = scroll.sight(rows, height);
        assert_eq!((sight.first, sight.y), (859_999, -23.75));
        scroll.top = 0.5;
        let sight = scroll.sight(rows, height);
        assert_eq!((sight.first, sight.y, sight.count), (0, -0.5, 11));
        assert_eq!(scroll.sight(3, height).count, 3);
        assert_eq!(scroll.sight(0, height).count, 0);
        assert_eq!(scroll.page(height), 10);
    }
}
