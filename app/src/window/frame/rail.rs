//! The rail: one button for each view, icon over name. In a narrow window it is a bar below, with the rest behind "More".

use eframe::egui::{
    self, Align2, Button, CornerRadius, FontId, Popup, Rect, Response, Role, Sense, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::is_narrow;
use crate::window::actions::{Command, VIEW_KEYS};
use crate::window::icons::{self, Icon};
use crate::window::session::Session;
use crate::window::tokens::{SMALL, TOUCH, Tokens};
use crate::window::views::VIEWS;
use crate::window::widgets;

const HEIGHT: f32 = 52.0;
/// In the bar of a narrow window, in this order.
const FIRST: [&str; 4] = ["Detect", "Config", "Augment", "Train"];

/// All of them, one below the other.
pub fn show(ui: &mut Ui, session: &mut Session, front: usize) {
    ui.spacing_mut().item_spacing.y = 0.0;
    for (i, row) in VIEWS.iter().enumerate() {
        let size = vec2(ui.available_width(), HEIGHT);
        let response = cell(ui, size, row.icon, row.name, i == front);
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

/// Some of them side by side, and the others in a menu.
pub fn bar(ui: &mut Ui, session: &mut Session, front: usize) {
    ui.spacing_mut().item_spacing = Vec2::ZERO;
    let size = vec2(
        ui.available_width() / (FIRST.len() + 1) as f32,
        ui.available_height(),
    );
    let place = |name: &str| VIEWS.iter().position(|row| row.name == name);
    ui.horizontal(|ui| {
        for i in FIRST.into_iter().filter_map(place) {
            let row = &VIEWS[i];
            if cell(ui, size, row.icon, row.name, i == front).clicked() {
                session.commands.push_back(Command::View(i));
            }
        }
        let elsewhere = !FIRST.contains(&VIEWS[front].name);
        let more = cell(ui, size, icons::MORE, "More", elsewhere);
        Popup::menu(&more).show(|ui| {
            ui.spacing_mut().interact_size.y = TOUCH;
            let mut entry = |ui: &mut Ui, name: &str, command: Command, on: bool| {
                if ui.add(Button::selectable(on, name)).clicked() {
                    session.commands.push_back(command);
                }
            };
            let others = VIEWS.iter().enumerate();
            for (i, row) in others.filter(|(_, row)| !FIRST.contains(&row.name)) {
                entry(ui, row.name, Command::View(i), i == front);
            }
            ui.separator();
            entry(ui, "Find anything", Command::Palette, false);
            entry(ui, "Settings", Command::Settings, false);
            entry(ui, "Messages", Command::Messages, false);
        });
    });
}

fn cell(ui: &mut Ui, size: Vec2, icon: Icon, name: &str, selected: bool) -> Response {
    let below = is_narrow(ui);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let tokens = Tokens::of(ui);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, name));
    let fill = match (selected, response.hovered()) {
        (true, _) => tokens.raised,
        (false, true) => tokens.hover,
        (false, false) => tokens.panel,
    };
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::ZERO, fill);
    if selected {
        let mark = vec2(
            if below { size.x } else { 3.0 },
            if below { 3.0 } else { size.y },
        );
        let mark = Rect::from_min_size(rect.min, mark);
        painter.rect_filled(mark, CornerRadius::ZERO, tokens.accent);
    }
    let color = if selected { tokens.text } else { tokens.weak };
    let square =
        egui::Rect::from_center_size(pos2(rect.center().x, rect.top() + 18.0), vec2(20.0, 20.0));
    icons::paint(painter, icon, square, color);
    painter.text(
        pos2(rect.center().x, rect.top() + 40.0),
        Align2::CENTER_CENTER,
        name,
        FontId::proportional(SMALL),
        color,
    );
    widgets::focus_ring(ui, &response);
    response
}
