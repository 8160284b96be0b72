//! The rail: one button for each view, icon over name.

use eframe::egui::{self, Align2, CornerRadius, FontId, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::window::actions::{Command, VIEW_KEYS};
use crate::window::icons;
use crate::window::session::Session;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::views::VIEWS;
use crate::window::widgets;

const HEIGHT: f32 = 52.0;

pub fn show(ui: &mut Ui, session: &mut Session, front: usize) {
    ui.spacing_mut().item_spacing.y = 0.0;
    for (i, row) in VIEWS.iter().enumerate() {
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), HEIGHT), Sense::click());
        let (tokens, selected) = (Tokens::of(ui), i == front);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, row.name));
        let fill = match (selected, response.hovered()) {
            (true, _) => tokens.raised,
            (false, true) => tokens.hover,
            (false, false) => tokens.panel,
        };
        let painter = ui.painter();
        painter.rect_filled(rect, CornerRadius::ZERO, fill);
        if selected {
            painter.rect_filled(
                egui::Rect::from_min_size(rect.min, vec2(3.0, HEIGHT)),
                CornerRadius::ZERO,
                tokens.accent,
            );
        }
        let color = if selected { tokens.text } else { tokens.weak };
        let square = egui::Rect::from_center_size(
            pos2(rect.center().x, rect.top() + 18.0),
            vec2(20.0, 20.0),
        );
        icons::paint(painter, row.icon, square, color);
        painter.text(
            pos2(rect.center().x, rect.top() + 40.0),
            Align2::CENTER_CENTER,
            row.name,
            FontId::proportional(SMALL),
            color,
        );
        widgets::focus_ring(ui, &response);
        let keys = VIEW_KEYS
            .get(i)
            .map(|k| ui.ctx().format_shortcut(k))
            .unwrap_or_default();
        if response
            .on_hover_text(format!("{} ({keys})", row.name))
            .clicked()
        {
            session.commands.push_back(Command::View(i));
        }
    }
}
