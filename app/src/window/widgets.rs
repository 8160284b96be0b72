//! Small things that several views are made of: buttons with icons, cards, empty states, names with their middle left out.

use eframe::egui::{
    self, Button, Color32, CornerRadius, Frame, Margin, Response, RichText, Role, Sense, Stroke,
    Ui, WidgetInfo, vec2,
};

use super::icons::{self, Icon};
use super::tokens::{BUTTON, LARGE, ROW, TOUCH, Tokens};

/// The one button of a view that is meant first.
pub fn primary(ui: &mut Ui, text: &str) -> Response {
    let tokens = Tokens::of(ui);
    let text = RichText::new(text).color(tokens.on_accent);
    ui.add(
        Button::new(text)
            .fill(tokens.accent)
            .stroke(Stroke::NONE)
            .min_size(vec2(0.0, BUTTON)),
    )
}

/// A button as high as tabs are.
pub fn button(ui: &mut Ui, text: &str) -> Response {
    ui.add(Button::new(text).min_size(vec2(0.0, BUTTON)))
}

/// A button that is text in the accent's colour, for what stands within a row.
pub fn link(ui: &mut Ui, text: &str) -> Response {
    let text = RichText::new(text).color(Tokens::of(ui).accent);
    ui.add(
        Button::new(text)
            .fill(Color32::TRANSPARENT)
            .stroke(Stroke::NONE),
    )
}

/// A button that is on or off; true if that was changed.
pub fn toggle(ui: &mut Ui, on: &mut bool, text: &str, hint: &str) -> bool {
    let button = Button::new(text).selected(*on).min_size(vec2(0.0, ROW));
    let pressed = ui.add(button).on_hover_text(hint).clicked();
    *on ^= pressed;
    pressed
}

/// A button that is an icon alone; its name is shown on hover and told to assistive technology.
pub fn icon_button(ui: &mut Ui, icon: Icon, name: &str) -> Response {
    let touch = ui.spacing().interact_size.y >= TOUCH;
    let side = if touch { TOUCH } else { 20.0 };
    let (rect, response) = ui.allocate_exact_size(vec2(side, side), Sense::click());
    let tokens = Tokens::of(ui);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
    if response.hovered() || response.has_focus() {
        ui.painter()
            .rect_filled(rect, CornerRadius::same(4), tokens.hover);
    }
    let color = if response.hovered() {
        tokens.text
    } else {
        tokens.weak
    };
    let square = egui::Rect::from_center_size(rect.center(), vec2(14.0, 14.0));
    icons::paint(ui.painter(), icon, square, color);
    focus_ring(ui, &response);
    response.on_hover_text(name)
}

/// What assistive technology calls a widget that has no text of its own.
pub fn name(response: &Response, name: &str) {
    response
        .ctx
        .accesskit_node_builder(response.id, |node| node.set_label(name));
}

/// An icon beside text.
pub fn icon(ui: &mut Ui, icon: Icon, color: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(16.0, 16.0), Sense::hover());
    icons::paint(ui.painter(), icon, rect, color);
}

/// Around what has the keyboard's focus.
pub fn focus_ring(ui: &Ui, response: &Response) {
    if response.has_focus() {
        let stroke = Stroke::new(2.0, Tokens::of(ui).accent);
        ui.painter().rect_stroke(
            response.rect.expand(1.0),
            CornerRadius::same(4),
            stroke,
            egui::StrokeKind::Outside,
        );
    }
}

/// A card: what stands above others, or says what is wrong in their place.
pub fn card(ui: &mut Ui, edge: Color32, show: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    let frame = Frame::new()
        .fill(tokens.raised)
        .stroke(Stroke::new(1.0, edge))
        .corner_radius(6)
        .inner_margin(Margin::same(12));
    frame.show(ui, show);
}

/// What a view shows where it has nothing: one sentence, one button. True if that was pressed.
pub fn empty(ui: &mut Ui, sentence: &str, action: &str) -> bool {
    let mut pressed = false;
    ui.vertical_centered(|ui| {
        ui.add_space((ui.available_height() * 0.35).max(24.0));
        ui.label(
            RichText::new(sentence)
                .size(LARGE)
                .color(Tokens::of(ui).soft),
        );
        ui.add_space(16.0);
        pressed = primary(ui, action).clicked();
    });
    pressed
}

/// A line across a panel.
pub fn bar(ui: &mut Ui, fill: Color32, show: impl FnOnce(&mut Ui)) {
    Frame::new()
        .fill(fill)
        .inner_margin(Margin::symmetric(8, 4))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_wrapped(show);
        });
}

/// A name that fits so many characters, its middle left out.
pub fn middle(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    let head = most.saturating_sub(1).div_ceil(2);
    let tail = most.saturating_sub(1) - head;
    let begin: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(count - tail).collect();
    format!("{begin}…{end}")
}

/// How long ago something was, in words.
pub fn ago(seconds: u64) -> String {
    let (n, unit) = match seconds {
        0..60 => return "just now".into(),
        60..3600 => (seconds / 60, "minute"),
        3600..86400 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_the_middle_and_times_are_told_in_words() {
        assert_eq!(middle("retinanet_r50.py", 9), "reti…0.py");
        assert_eq!(middle("é.py", 9), "é.py");
        assert_eq!(
            (ago(5), ago(60), ago(7200), ago(86400 * 3)),
            (
                "just now".into(),
                "1 minute ago".into(),
                "2 hours ago".into(),
                "3 days ago".into()
            )
        );
    }
}
