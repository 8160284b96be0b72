//! The inspector of a narrow window: a sheet over the lower part, low, half as high as there is room, or nearly all of it.

use eframe::egui::{
    CornerRadius, Frame, Panel, Rect, Role, Sense, Ui, UiBuilder, WidgetInfo, vec2,
};

use crate::window::tokens::{TOUCH, Tokens};
use crate::window::widgets;

/// How high it stands.
#[derive(Clone, Copy, Default)]
enum Height {
    #[default]
    Low,
    Half,
    Full,
}

/// The sheet.
#[derive(Default)]
pub struct Sheet {
    height: Height,
    /// So far the grip has been drawn up.
    dragged: f32,
}

/// Its least height, the grip's included.
const LOW: f32 = 96.0 + GRIP;
const GRIP: f32 = 28.0;
/// A drag from here on counts.
const FAR: f32 = 40.0;

impl Sheet {
    /// Shows it below what comes after.
    pub fn show(&mut self, ui: &mut Ui, show: impl FnOnce(&mut Ui)) {
        let tokens = Tokens::of(ui);
        let room = ui.available_height();
        let height = match self.height {
            Height::Low => LOW,
            Height::Half => (room * 0.5).max(LOW),
            Height::Full => (room - TOUCH).max(LOW),
        };
        Panel::bottom("sheet")
            .exact_size(height.min(room))
            .frame(Frame::new().fill(tokens.panel))
            .resizable(false)
            .show(ui, |ui| {
                self.grip(ui);
                // what has no room is cut off, and takes none of the other panels'
                let rest = ui.available_rect_before_wrap();
                let inside = UiBuilder::new().max_rect(rest.shrink2(vec2(12.0, 0.0)));
                let mut child = ui.new_child(inside);
                child.set_clip_rect(rest.intersect(ui.clip_rect()));
                show(&mut child);
                ui.advance_cursor_after_rect(rest);
            });
    }

    /// What it is drawn up and down by; a click takes it to the next height.
    fn grip(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui);
        let size = vec2(ui.available_width(), GRIP);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        let name = match self.height {
            Height::Full => "Lower the details",
            _ => "Raise the details",
        };
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
        let bar = Rect::from_center_size(rect.center(), vec2(40.0, 4.0));
        let color = if response.hovered() {
            tokens.text
        } else {
            tokens.edge
        };
        ui.painter().rect_filled(bar, CornerRadius::same(2), color);
        widgets::focus_ring(ui, &response);
        if response.clicked() {
            self.height = match self.height {
                Height::Low => Height::Half,
                Height::Half => Height::Full,
                Height::Full => Height::Low,
            };
        }
        self.dragged -= response.drag_delta().y;
        if response.drag_stopped() {
            let by = std::mem::take(&mut self.dragged);
            self.height = match (self.height, by > 0.0) {
                _ if by.abs() < FAR => self.height,
                (Height::Low, true) => Height::Half,
                (_, true) => Height::Full,
                (Height::Full, false) => Height::Half,
                (_, false) => Height::Low,
            };
        }
    }
}
