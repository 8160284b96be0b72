//! The table of tensors: a row each, with its shape, its type and how it fits.

use eframe::egui::{Align2, CornerRadius, FontId, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use super::fit::{State, Tensor};
use crate::window::icons;
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// Where columns begin.
pub struct Columns {
    shape: f32,
    dtype: f32,
    state: f32,
}

impl Columns {
    /// In a table of this width.
    pub fn of(width: f32) -> Self {
        if width < 480.0 {
            // what type a tensor is of, the details have
            return Self {
                shape: width - 150.0,
                dtype: 2.0 * width,
                state: width - 76.0,
            };
        }
        Self {
            shape: width - 260.0,
            dtype: width - 180.0,
            state: width - 112.0,
        }
    }

    /// Their names.
    pub fn head(&self, ui: &mut Ui, tokens: &Tokens) {
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
        let at = |x: f32, align: Align2, text: &str| {
            ui.painter().text(
                pos2(rect.left() + x, rect.center().y),
                align,
                text,
                FontId::proportional(SMALL),
                tokens.weak,
            );
        };
        at(8.0, Align2::LEFT_CENTER, "name");
        at(self.shape + 60.0, Align2::RIGHT_CENTER, "shape");
        at(self.dtype, Align2::LEFT_CENTER, "type");
        at(self.state, Align2::LEFT_CENTER, "config");
    }

    /// A tensor's row; true if it was clicked.
    pub fn row(&self, ui: &mut Ui, tokens: &Tokens, tensor: &Tensor, selected: bool) -> bool {
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let name = format!(
            "{} {} {}",
            tensor.key,
            tensor.shape,
            tensor.state.map_or("", State::word)
        );
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &name));
        let painter = ui.painter_at(rect);
        if selected {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.selection);
        } else if response.hovered() {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.hover);
        }
        let y = rect.center().y;
        let code = FontId::monospace(BODY);
        let shape = painter.text(
            pos2(rect.left() + self.shape + 60.0, y),
            Align2::RIGHT_CENTER,
            &tensor.shape,
            code.clone(),
            tokens.soft,
        );
        let most = ((shape.left() - rect.left() - 24.0) / 8.0).max(8.0) as usize;
        painter.text(
            pos2(rect.left() + 8.0, y),
            Align2::LEFT_CENTER,
            middle(&tensor.key, most),
            code.clone(),
            tokens.text,
        );
        painter.text(
            pos2(rect.left() + self.dtype, y),
            Align2::LEFT_CENTER,
            &tensor.dtype,
            code,
            tokens.soft,
        );
        if let Some(state) = tensor.state {
            let (icon, color) = state.look(tokens);
            let square =
                Rect::from_center_size(pos2(rect.left() + self.state + 7.0, y), vec2(14.0, 14.0));
            icons::paint(&painter, icon, square, color);
            painter.text(
                pos2(rect.left() + self.state + 20.0, y),
                Align2::LEFT_CENTER,
                state.word(),
                FontId::proportional(BODY),
                color,
            );
        }
        widgets::focus_ring(ui, &response);
        response.clicked()
    }
}
