//! The panel of the chosen step: the options of its transform, which are the config's text; what it drew this time; what it left out.

use eframe::egui::style::HandleShape;
use eframe::egui::{
    Align, ComboBox, DragValue, Layout, RangeSlider, Response, RichText, Role, Sense, Slider,
    SliderClamping, Ui, WidgetInfo, pos2, vec2,
};
use serde_json::{Value as Json, json};

use smalti::config::Node;
use smalti::data::draws_file::class_name;
use smalti::data::trace::{Step, why};

use super::draws::{self, Drawn};
use super::options::{self, Choice, Shape};
use super::plan::Row;
use crate::window::icons;
use crate::window::session::Place;
use crate::window::tokens::{ROW, SMALL, Tokens};
use crate::window::widgets::{self, middle};

/// The chosen step, as the panel shows it.
pub struct Chosen<'a> {
    /// Its row.
    pub row: &'a Row,
    /// How large the picture is, and how long it took.
    pub facts: String,
    /// Its options as they are now.
    pub node: Option<Node>,
    /// What was recorded, if it ran.
    pub step: Option<&'a Step>,
    /// Whether its draws are pinned.
    pub is_pinned: bool,
    /// Whether a config says its options, which can be written there.
    pub is_written: bool,
    /// The file in front.
    pub file: String,
    /// Names of classes.
    pub classes: &'a [String],
    /// The ghost that is hovered.
    pub lit: Option<usize>,
}

/// What somebody wants.
#[derive(Debug)]
pub enum Act {
    /// An option is to be this Python.
    Option(String, String, bool),
    /// A draw is to be this from now on: its place, its value.
    Draw(String, Json),
    /// The step's draws are to stay as they are, or no longer.
    Pin,
    /// To a place of the text.
    Go(Place),
}

/// Width of a number's field.
const FIELD: f32 = 56.0;

/// Shows it; gives what somebody wants, and the ghost under the pointer.
pub fn show(ui: &mut Ui, chosen: &Chosen<'_>) -> (Vec<Act>, Option<usize>) {
    let (tokens, mut acts) = (Tokens::of(ui), Vec::new());
    ui.horizontal(|ui| {
        ui.heading(&chosen.row.name);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let facts = RichText::new(&chosen.facts).size(SMALL);
            ui.label(facts.color(tokens.weak));
        });
    });
    if let Some(why) = &chosen.row.idle {
        ui.label(RichText::new(why).color(tokens.weak));
    }
    let choices = match &chosen.node {
        Some(node) => options::of(&chosen.row.name, node),
        None => Vec::new(),
    };
    let params = chosen.step.and_then(|s| s.params.as_ref());
    ui.add_space(8.0);
    head(ui, "Config");
    if choices.is_empty() {
        let text = "It has no numbers to drag.";
        ui.label(RichText::new(text).color(tokens.weak));
    }
    ui.add_enabled_ui(chosen.is_written, |ui| {
        for choice in &choices {
            let ticks = draws::ticks(&chosen.row.name, &choice.key, params, &choices);
            option(ui, chosen, choice, &ticks, &mut acts);
        }
    });
    if let Some(step) = chosen.step {
        this_draw(ui, chosen, step, &choices, &mut acts);
    }
    let lit = chosen.step.and_then(|step| left_out(ui, chosen, step));
    (acts, lit)
}

fn head(ui: &mut Ui, text: &str) {
    let color = Tokens::of(ui).soft;
    ui.label(RichText::new(text).color(color).strong());
}

/// A row of *Config*: the key, where it is said, and a rail with a field for each number.
fn option(ui: &mut Ui, chosen: &Chosen<'_>, choice: &Choice, ticks: &[f64], acts: &mut Vec<Act>) {
    ui.horizontal(|ui| {
        ui.label(&choice.key);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            origin(ui, chosen, choice, acts);
        });
    });
    if choice.shape == Shape::Flag {
        let mut on = choice.node.as_bool().unwrap_or_default();
        let word = if on { "True" } else { "False" };
        let check = ui.checkbox(&mut on, word);
        widgets::name(&check, &choice.key);
        if check.changed() {
            let text = if on { "True" } else { "False" };
            acts.push(Act::Option(choice.key.clone(), text.to_owned(), false));
        }
        return;
    }
    let (mut values, span) = (choice.values(), choice.span());
    let whole = choice.is_whole();
    let step = step_of(whole, Some(&span));
    let before = values.clone();
    if let (Shape::Range, [low, high]) = (choice.shape, &mut values[..]) {
        ui.horizontal(|ui| {
            let most = *high;
            number(
                ui,
                low,
                *span.start()..=most,
                step,
                &format!("{} low", choice.key),
            );
            let rail = ui.available_width() - FIELD - ui.spacing().item_spacing.x;
            ui.spacing_mut().slider_width = rail.max(48.0);
            let slider = RangeSlider::new(low, high, span.clone())
                .show_value(false)
                .clamping(SliderClamping::Edits)
                .handle_shape(HandleShape::Circle);
            let slider = ui.add(if whole { slider.step_by(1.0) } else { slider });
            widgets::name(&slider, &choice.key);
            for end in ["low", "high"] {
                let name = format!("{} {end} end", choice.key);
                ui.ctx()
                    .accesskit_node_builder(slider.id.with(end), |node| node.set_label(name));
            }
            paint_ticks(ui, &slider, &span, ticks);
            let least = *low;
            number(
                ui,
                high,
                least..=f64::INFINITY,
                step,
                &format!("{} high", choice.key),
            );
        });
    } else {
        let count = values.len();
        for (i, value) in values.iter_mut().enumerate() {
            let name = match count {
                1 => choice.key.clone(),
                _ => format!("{} {}", choice.key, i + 1),
            };
            ui.horizontal(|ui| {
                let slider = rail(ui, value, span.clone(), whole, &name);
                if i == 0 {
                    paint_ticks(ui, &slider, &span, ticks);
                }
                number(ui, value, f64::NEG_INFINITY..=f64::INFINITY, step, &name);
                let twice = ui.input(|i| {
                    i.pointer
                        .button_double_clicked(eframe::egui::PointerButton::Primary)
                });
                if twice
                    && slider.contains_pointer()
                    && let Some(default) = options::default_of(&chosen.row.name, &choice.key)
                {
                    acts.push(Act::Option(choice.key.clone(), default.to_owned(), false));
                }
            });
        }
    }
    if values != before {
        let text = choice.text(&values);
        if text != choice.text(&before) {
            acts.push(Act::Option(choice.key.clone(), text, true));
        }
    }
}

/// A rail for one number.
fn rail(
    ui: &mut Ui,
    value: &mut f64,
    span: std::ops::RangeInclusive<f64>,
    whole: bool,
    name: &str,
) -> Response {
    let width = ui.available_width() - FIELD - ui.spacing().item_spacing.x;
    ui.spacing_mut().slider_width = width.max(48.0);
    let slider = Slider::new(value, span)
        .show_value(false)
        .trailing_fill(true)
        .clamping(SliderClamping::Edits)
        .handle_shape(HandleShape::Circle);
    let slider = ui.add(if whole { slider.step_by(1.0) } else { slider });
    widgets::name(&slider, &format!("{name} rail"));
    slider
}

/// What a pixel of dragging a number's field changes; `None` for a whole number.
fn step_of(whole: bool, span: Option<&std::ops::RangeInclusive<f64>>) -> Option<f64> {
    let room = span.map_or(1.0, |span| span.end() - span.start());
    (!whole).then_some(room / 100.0)
}

fn number(
    ui: &mut Ui,
    value: &mut f64,
    range: std::ops::RangeInclusive<f64>,
    step: Option<f64>,
    name: &str,
) -> Response {
    let field = DragValue::new(value)
        .range(range)
        .clamp_existing_to_range(false)
        .speed(step.unwrap_or(0.5))
        .max_decimals(if step.is_none() { 0 } else { 4 });
    let field = ui.add_sized(vec2(FIELD, ROW - 2.0), field);
    widgets::name(&field, name);
    field
}

/// Where the draws of this time lie on the rail.
fn paint_ticks(ui: &Ui, slider: &Response, span: &std::ops::RangeInclusive<f64>, ticks: &[f64]) {
    let rect = slider.rect;
    let rail = rect.x_range().shrink(rect.height() / 2.5);
    for tick in ticks {
        let share = (tick - span.start()) / (span.end() - span.start());
        let x = rail.min + share.clamp(0.0, 1.0) as f32 * rail.span();
        let tip = pos2(x, rect.center().y - 4.0);
        let shape = vec![tip, tip + vec2(-4.0, -7.0), tip + vec2(4.0, -7.0)];
        let color = Tokens::of(ui).warning;
        ui.painter().add(eframe::egui::Shape::convex_polygon(
            shape,
            color,
            eframe::egui::Stroke::NONE,
        ));
    }
}

/// Where an option is said.
fn origin(ui: &mut Ui, chosen: &Chosen<'_>, choice: &Choice, acts: &mut Vec<Act>) {
    let tokens = Tokens::of(ui);
    if !choice.is_said {
        ui.label(RichText::new("default").size(SMALL).color(tokens.weak));
        return;
    }
    let (node, Some(place)) = (&choice.node, Place::of(&choice.node)) else {
        return;
    };
    let line = node.origin.line();
    let file = node.origin.file();
    let text = match file == chosen.file {
        true => format!(":{line}"),
        false => format!(
            "{}:{line}",
            middle(file.rsplit('/').next().unwrap_or(file), 20)
        ),
    };
    let link = widgets::link(ui, &text).on_hover_text(file);
    widgets::name(&link, &format!("Go to {} at {text}", choice.key));
    if link.clicked() {
        acts.push(Act::Go(place));
    }
}

/// *This draw*: what the step drew, and its pin.
fn this_draw(
    ui: &mut Ui,
    chosen: &Chosen<'_>,
    step: &Step,
    choices: &[Choice],
    acts: &mut Vec<Act>,
) {
    if step.saved.iter().all(Option::is_none) || (step.params.is_none() && step.indexes.is_none()) {
        return;
    }
    let tokens = Tokens::of(ui);
    ui.add_space(12.0);
    ui.horizontal(|ui| {
        head(ui, "This draw");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let mut pinned = chosen.is_pinned;
            let hint = "Keep these draws while others are made anew (P)";
            if widgets::toggle(ui, &mut pinned, "Pin", hint) {
                acts.push(Act::Pin);
            }
            if chosen.is_pinned {
                widgets::icon(ui, icons::PIN, tokens.accent);
            }
        });
    });
    for drawn in step.params.as_ref().map(draws::of).unwrap_or_default() {
        draw(ui, chosen, &drawn, choices, acts);
    }
    if let Some(indexes) = &step.indexes {
        let text = format!("pictures {}", smalti::data::trace::readable(indexes));
        ui.label(RichText::new(text).color(tokens.soft));
    }
}

fn draw(ui: &mut Ui, chosen: &Chosen<'_>, drawn: &Drawn, choices: &[Choice], acts: &mut Vec<Act>) {
    let name = format!("draw {}", drawn.name);
    let mut put = |value: Json| acts.push(Act::Draw(drawn.pointer.clone(), value));
    match &drawn.value {
        Json::Bool(on) => {
            let mut on = *on;
            let check = ui.checkbox(&mut on, &drawn.name);
            if check.changed() {
                put(json!(on));
            }
        }
        Json::Number(n) => {
            let mut value = n.as_f64().unwrap_or_default();
            let whole = !n.is_f64();
            let before = value;
            ui.label(&drawn.name);
            ui.horizontal(|ui| {
                let span = draws::span(&chosen.row.name, &drawn.pointer, choices);
                match span.clone() {
                    Some(span) => {
                        rail(ui, &mut value, span, whole, &name);
                    }
                    None => {
                        ui.add_space(ui.available_width() - FIELD - ui.spacing().item_spacing.x);
                    }
                }
                let range = f64::NEG_INFINITY..=f64::INFINITY;
                number(ui, &mut value, range, step_of(whole, span.as_ref()), &name);
            });
            if value != before {
                put(match whole {
                    true => json!(value.round() as i64),
                    false => json!(value),
                });
            }
        }
        value if drawn.name == "direction" => {
            let now = value.as_str().unwrap_or("none").to_owned();
            let mut new = now.clone();
            let combo = ComboBox::from_id_salt(&drawn.pointer)
                .selected_text(&now)
                .show_ui(ui, |ui| {
                    for way in ["none", "horizontal", "vertical", "diagonal"] {
                        ui.selectable_value(&mut new, way.to_owned(), way);
                    }
                });
            widgets::name(&combo.response, &name);
            if new != now {
                put(match new.as_str() {
                    "none" => Json::Null,
                    way => json!(way),
                });
            }
        }
        value => {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            ui.label(format!("{} {}", drawn.name, middle(&text, 32)));
        }
    }
}

/// Objects that the step left out, each with its reason; gives the one under the pointer.
fn left_out(ui: &mut Ui, chosen: &Chosen<'_>, step: &Step) -> Option<usize> {
    if step.dropped.is_empty() {
        return None;
    }
    let tokens = Tokens::of(ui);
    ui.add_space(12.0);
    head(ui, &format!("Dropped {}", step.dropped.len()));
    let mut lit = None;
    for (i, dropped) in step.dropped.iter().take(200).enumerate() {
        let name = class_name(chosen.classes, dropped.label);
        let text = format!("{name}: {}", why(dropped.reason));
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
        let painter = ui.painter_at(rect);
        if response.hovered() || chosen.lit == Some(i) {
            painter.rect_filled(rect, 0.0, tokens.hover);
        }
        if response.hovered() {
            lit = Some(i);
        }
        painter.text(
            pos2(rect.left() + 4.0, rect.center().y),
            eframe::egui::Align2::LEFT_CENTER,
            middle(&text, (rect.width() / 7.0) as usize),
            eframe::egui::FontId::proportional(crate::window::tokens::BODY),
            tokens.error,
        );
        let [x1, y1, x2, y2] = dropped.bbox;
        let at = format!(
            "object {} of picture {}, last at {x1:.0}, {y1:.0}, {x2:.0}, {y2:.0}",
            dropped.origin.object, dropped.origin.picture
        );
        response.on_hover_text(at);
    }
    lit
}
