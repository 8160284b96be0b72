//! What is trained and what is frozen, part by part, with its share of all parameters.

use eframe::egui::{
    Align2, CollapsingHeader, Color32, CornerRadius, FontId, Rect, RichText, Role, Sense, Ui,
    WidgetInfo, pos2, vec2,
};
use smalti::train::run::{Parameters, Place};

use super::thousands;
use crate::window::icons::{self, Icon};
use crate::window::tokens::{BODY, ROW, SMALL, Tokens};
use crate::window::widgets::middle;

/// Shows the tree.
pub fn show(ui: &mut Ui, parameters: &Parameters, when: &str) {
    let tokens = Tokens::of(ui);
    ui.heading("Frozen");
    let [all, frozen] = parameters.total();
    let text = format!(
        "{} of {} parameters, {}, {when}",
        thousands(frozen),
        thousands(all),
        percent(frozen, all)
    );
    ui.label(RichText::new(text).color(tokens.soft));
    ui.add_space(8.0);
    eframe::egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            for (part, places) in parts(&parameters.places) {
                let sum = |of: fn(&Place) -> u64| places.iter().map(|p| of(p)).sum::<u64>();
                let (numbers, frozen) = (sum(|p| p.numbers), sum(|p| p.frozen));
                let state = State::of(numbers, frozen);
                let title = format!("{part}: {}, {}", state.word(), percent(numbers, all));
                CollapsingHeader::new(RichText::new(title).color(tokens.text))
                    .id_salt(part)
                    .default_open(true)
                    .show_unindented(ui, |ui| {
                        for place in places {
                            row(ui, tokens, place, all);
                        }
                    });
            }
        });
}

/// Places by the part of the model that they are in, in the model's order.
fn parts(places: &[Place]) -> Vec<(&str, Vec<&Place>)> {
    let mut parts: Vec<(&str, Vec<&Place>)> = Vec::new();
    for place in places {
        let part = place.name.split('.').next().unwrap_or_default();
        match parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, places)) => places.push(place),
            None => parts.push((part, vec![place])),
        }
    }
    parts
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trained,
    Frozen,
    Partly,
    Nothing,
}

impl State {
    fn of(numbers: u64, frozen: u64) -> Self {
        match (numbers, frozen) {
            (0, _) => Self::Nothing,
            (_, 0) => Self::Trained,
            (n, m) if n == m => Self::Frozen,
            _ => Self::Partly,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Frozen => "frozen",
            Self::Partly => "partly frozen",
            Self::Nothing => "no parameters",
        }
    }

    fn look(self, tokens: &Tokens) -> (Option<Icon>, Color32) {
        match self {
            Self::Trained => (Some(icons::TRAIN), tokens.ok),
            Self::Frozen => (Some(icons::FROZEN), tokens.note),
            Self::Partly => (Some(icons::FROZEN), tokens.warning),
            Self::Nothing => (None, tokens.weak),
        }
    }
}

fn row(ui: &mut Ui, tokens: &Tokens, place: &Place, all: u64) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let state = State::of(place.numbers, place.frozen);
    let norms = match place.learning {
        [_, 0] => String::new(),
        [n, m] if n == m => String::new(),
        [0, _] => "; its norms evaluate".to_owned(),
        [n, m] => format!("; {n} of {m} norms learn"),
    };
    let share = percent(place.numbers, all);
    let told = format!("{}: {}, {share}{norms}", place.name, state.word());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &told));
    let y = rect.center().y;
    let painter = ui.painter_at(rect);
    // from the right: the share as a bar and a number
    painter.text(
        pos2(rect.right(), y),
        Align2::RIGHT_CENTER,
        &share,
        FontId::proportional(SMALL),
        tokens.soft,
    );
    let whole = Rect::from_min_max(
        pos2(rect.right() - 112.0, y - 3.0),
        pos2(rect.right() - 48.0, y + 3.0),
    );
    let (icon, color) = state.look(tokens);
    painter.rect_filled(whole, CornerRadius::same(2), tokens.field);
    if all > 0 && place.numbers > 0 {
        let mut part = whole;
        let width = whole.width() * place.numbers as f32 / all as f32;
        part.set_width(width.max(1.0));
        painter.rect_filled(part, CornerRadius::same(2), color);
    }
    let square = Rect::from_center_size(pos2(rect.left() + 12.0, y), vec2(14.0, 14.0));
    if let Some(icon) = icon {
        icons::paint(&painter, icon, square, color);
    }
    let name = place.name.split_once('.').map_or(&*place.name, |(_, n)| n);
    let most = ((whole.left() - square.right() - 16.0) / 7.5).max(6.0) as usize;
    painter.text(
        pos2(square.right() + 8.0, y),
        Align2::LEFT_CENTER,
        middle(name, most),
        FontId::monospace(BODY),
        if state == State::Frozen {
            tokens.weak
        } else {
            tokens.text
        },
    );
    response.on_hover_text(format!("{told}\n{} parameters", thousands(place.numbers)));
}

fn percent(part: u64, all: u64) -> String {
    if all == 0 {
        return "0%".to_owned();
    }
    let share = part as f64 / all as f64 * 100.0;
    match part {
        0 => "0%".to_owned(),
        _ if share < 0.1 => "< 0.1%".to_owned(),
        _ if share < 10.0 => format!("{share:.1}%"),
        _ => format!("{share:.0}%"),
    }
}
