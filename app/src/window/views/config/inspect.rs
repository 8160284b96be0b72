//! The selected value: a widget to change it, where it was said, and what it overrode.

use std::sync::Arc;

use eframe::egui::{self, ComboBox, DragValue, RichText, ScrollArea, TextEdit, Ui};

use smalti::config::{Config, Node, Value, parse_value, value_to_py};

use super::chain::{self, Link};
use super::docs::{self, KeyDoc};
use super::{apply, tree};
use crate::window::analysis::Analysis;
use crate::window::document::Kind;
use crate::window::files::short;
use crate::window::jobs::{Jobs, Newest};
use crate::window::session::{Place, Session};
use crate::window::tokens::Tokens;
use crate::window::widgets::{self, middle};

/// What is kept of the selected value.
pub struct Inspect {
    /// What was typed and is no value yet, with the path it is for.
    typed: Option<(String, String)>,
    chains: Newest<chain::Question, (String, Vec<Link>)>,
    chain: Option<(String, Vec<Link>)>,
    asked: Option<(String, usize)>,
    /// Names by kind of component.
    names: Vec<(&'static str, String)>,
}

impl Default for Inspect {
    fn default() -> Self {
        let registry = smalti::registry();
        let name = |(kind, scope, name): (&'static str, &str, &str)| {
            (
                kind,
                if scope == smalti::registry::DEFAULT_SCOPE {
                    name.to_owned()
                } else {
                    format!("{scope}.{name}")
                },
            )
        };
        Self {
            typed: None,
            chains: Newest::new(
                "looking through the bases",
                |question: chain::Question, _| {
                    let links = chain::find(&question);
                    (question.path, links)
                },
            ),
            chain: None,
            asked: None,
            names: registry.names().map(name).collect(),
        }
    }
}

/// What is known of the key at a path: of the component that holds it, or of the file's top level.
fn about(config: &Config, path: &str) -> Option<KeyDoc> {
    let Some((above, key)) = path.rsplit_once('.') else {
        return docs::key(docs::CONFIG, path);
    };
    let owner = config.at(above)?.get("type").and_then(Node::as_type);
    docs::key(owner.as_deref().unwrap_or(above), key)
}

/// What a widget says is to be done.
enum Change {
    /// Put this Python there; a drag is one step.
    To(String, Kind),
}

impl Inspect {
    /// Shows the value at a path.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        analysis: &Arc<Analysis>,
        path: &str,
    ) {
        let tokens = Tokens::of(ui);
        let Some((config, node)) = analysis
            .config
            .as_ref()
            .and_then(|c| Some((c, c.at(path)?)))
        else {
            ui.label(RichText::new("Select a value of the tree.").color(tokens.weak));
            return;
        };
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            ui.label(RichText::new(path.rsplit('.').next().unwrap_or(path)).heading());
            ui.label(RichText::new(path).monospace().small().color(tokens.weak));
            if let Some(doc) = about(config, path) {
                let default = doc.default.map(|d| format!(" (else {d})"));
                let text = format!("{}{}", doc.about, default.unwrap_or_default());
                ui.label(RichText::new(text).color(tokens.soft));
            }
            ui.add_space(8.0);
            let fresh = session.current().is_some_and(|a| Arc::ptr_eq(a, analysis));
            let change = ui
                .add_enabled_ui(fresh, |ui| self.value(ui, path, node))
                .inner;
            if let Some(Change::To(text, kind)) = change {
                apply::value(session, jobs, config, path, &text, kind);
            }
            ui.add_space(12.0);
            self.chain(ui, session, jobs, analysis, config, node, path);
            ui.add_space(12.0);
            if let Some(kind) = node.get("type").and_then(Node::as_type) {
                let about = docs::component(&kind).map(|about| format!(": {about}"));
                let text = format!("A {kind}{}", about.unwrap_or_default());
                ui.label(RichText::new(text).color(tokens.soft));
            }
        });
    }

    /// A widget that fits the value.
    fn value(&mut self, ui: &mut Ui, path: &str, node: &Node) -> Option<Change> {
        let key = path.rsplit('.').next().unwrap_or(path);
        match &node.value {
            Value::Bool(on) => {
                let (mut on, was) = (*on, *on);
                let word = |on: bool| if on { "True" } else { "False" };
                let changed = ui.checkbox(&mut on, word(was)).changed();
                return changed.then(|| Change::To(word(on).into(), Kind::Step));
            }
            Value::Int(i) => {
                let (mut i, was) = (*i, *i);
                let response = ui.add(DragValue::new(&mut i).speed(0.2));
                widgets::name(&response, key);
                if response.changed() && i != was {
                    return Some(Change::To(i.to_string(), Kind::Drag));
                }
            }
            Value::Float(x) => {
                let mut new = *x;
                let speed = (x.abs() * 0.01).max(1e-6);
                let response = ui.add(DragValue::new(&mut new).speed(speed).max_decimals(10));
                widgets::name(&response, key);
                if response.changed() && new != *x {
                    return Some(Change::To(
                        smalti::config::text::float(rounded(new, speed)),
                        Kind::Drag,
                    ));
                }
            }
            Value::List(items) | Value::Tuple(items)
                if !items.is_empty() && items.len() <= 8 && items.iter().all(is_number) =>
            {
                if let Some(change) = numbers(ui, key, node, items) {
                    return Some(change);
                }
            }
            Value::Str(name) if key == "type" => {
                if let Some(change) = self.names(ui, name) {
                    return Some(change);
                }
            }
            _ => {}
        }
        self.text(ui, path, node)
    }

    /// Names of the same kind as a component's.
    fn names(&self, ui: &mut Ui, name: &str) -> Option<Change> {
        let kind = self
            .names
            .iter()
            .find(|(_, n)| n == name || n.rsplit('.').next() == Some(name))
            .map(|(kind, _)| *kind)?;
        let mut chosen = None;
        ComboBox::from_label(kind)
            .selected_text(name)
            .height(320.0)
            .show_ui(ui, |ui| {
                for (_, other) in self.names.iter().filter(|(k, _)| *k == kind) {
                    if ui.selectable_label(other == name, other).clicked() {
                        chosen = Some(Change::To(format!("'{other}'"), Kind::Step));
                    }
                }
            });
        chosen
    }

    /// Any value as Python.
    fn text(&mut self, ui: &mut Ui, path: &str, node: &Node) -> Option<Change> {
        let tokens = Tokens::of(ui);
        let now = value_to_py(node);
        let mut text = match &self.typed {
            Some((of, typed)) if of == path => typed.clone(),
            _ => now.clone(),
        };
        let field = TextEdit::multiline(&mut text)
            .code_editor()
            .desired_rows(1)
            .desired_width(f32::INFINITY);
        let field = ui.add(field.return_key(egui::KeyboardShortcut::new(
            egui::Modifiers::SHIFT,
            egui::Key::Enter,
        )));
        widgets::name(&field, &format!("Value of {path}"));
        if field.changed() {
            self.typed = Some((path.to_owned(), text.clone()));
        }
        let (of, typed) = self.typed.as_ref()?;
        if of != path || *typed == now {
            self.typed = None;
            return None;
        }
        let good = parse_value(typed);
        if let Err(errors) = &good {
            let message = errors
                .diagnostics
                .first()
                .map(|d| d.message.clone())
                .unwrap_or_default();
            ui.label(RichText::new(message).color(tokens.error));
        }
        let entered = field.has_focus()
            && ui.input(|i| i.key_pressed(egui::Key::Enter) && !i.modifiers.shift);
        let mut taken = None;
        ui.horizontal(|ui| {
            let set = ui
                .add_enabled(good.is_ok(), egui::Button::new("Set"))
                .clicked();
            if good.is_ok() && (set || entered) {
                taken = Some(Change::To(typed.clone(), Kind::Step));
            }
            if ui.button("Leave as it is").clicked() {
                taken = Some(Change::To(now.clone(), Kind::Step));
            }
        });
        if taken.is_some() {
            self.typed = None;
        }
        taken.filter(|Change::To(text, _)| *text != now)
    }

    /// Where the value was said, and what it overrode.
    #[allow(clippy::too_many_arguments)]
    fn chain(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        analysis: &Arc<Analysis>,
        config: &Config,
        node: &Node,
        path: &str,
    ) {
        let tokens = Tokens::of(ui);
        if let Some(Ok(chain)) = self.chains.poll(jobs) {
            self.chain = Some(chain);
        }
        let asked = Some((path.to_owned(), Arc::as_ptr(analysis) as usize));
        if self.asked != asked {
            self.asked = asked;
            let open = session
                .documents
                .iter()
                .map(|d| (d.key(), d.text().to_owned()))
                .collect();
            let question = chain::Question {
                path: path.to_owned(),
                config: config.clone(),
                open,
                host: session.host.clone(),
            };
            self.chains.ask(jobs, question);
        }
        ui.label(RichText::new("Said in").color(tokens.soft));
        let here = tree::place(node);
        let mut goal: Option<Place> = None;
        let links = self
            .chain
            .as_ref()
            .filter(|(of, _)| of == path)
            .map(|(_, links)| links.as_slice())
            .unwrap_or_default();
        for link in links.iter().rev() {
            let wins = here.as_ref() == Some(&link.place);
            row(ui, &link.place, link.line, &link.value, !wins, &mut goal);
        }
        if let Some(place) = here.filter(|here| links.iter().all(|l| l.place != *here)) {
            row(
                ui,
                &place,
                node.origin.line(),
                &value_to_py(node),
                false,
                &mut goal,
            );
        }
        if let Some(place) = goal {
            session.go(jobs, &place);
        }
    }
}

fn row(ui: &mut Ui, place: &Place, line: usize, value: &str, lost: bool, goal: &mut Option<Place>) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        if widgets::link(ui, &format!("{}:{line}", middle(&short(&place.path), 28)))
            .on_hover_text(place.path.display().to_string())
            .clicked()
        {
            *goal = Some(place.clone());
        }
        let value = RichText::new(middle(value, 40)).monospace().color(if lost {
            tokens.weak
        } else {
            tokens.text
        });
        ui.label(if lost { value.strikethrough() } else { value });
    });
}

fn is_number(node: &Node) -> bool {
    matches!(node.value, Value::Int(_) | Value::Float(_))
}

/// A drag's number with no more digits than its steps have.
fn rounded(x: f64, step: f64) -> f64 {
    let digits = (-step.log10()).ceil().clamp(0.0, 12.0) as i32;
    let scale = 10f64.powi(digits);
    (x * scale).round() / scale
}

/// A field for each number, and a colour where three of them are one.
fn numbers(ui: &mut Ui, key: &str, node: &Node, items: &[Node]) -> Option<Change> {
    let mut values: Vec<f64> = items.iter().filter_map(Node::as_float).collect();
    if values.len() != items.len() {
        return None;
    }
    let whole: Vec<bool> = items
        .iter()
        .map(|n| matches!(n.value, Value::Int(_)))
        .collect();
    let mut changed = false;
    ui.horizontal_wrapped(|ui| {
        for (value, whole) in values.iter_mut().zip(&whole) {
            let speed = if *whole {
                0.2
            } else {
                (value.abs() * 0.01).max(1e-6)
            };
            let field =
                DragValue::new(value)
                    .speed(speed)
                    .max_decimals(if *whole { 0 } else { 10 });
            let field = ui.add(field);
            widgets::name(&field, key);
            changed |= field.changed();
        }
        let is_color =
            values.len() == 3 && (key.contains("pad_val") || key.contains("color") || key == "img");
        if is_color && values.iter().all(|v| (0.0..=255.0).contains(v)) {
            let mut rgb = [values[0] as u8, values[1] as u8, values[2] as u8];
            let color = ui.color_edit_button_srgb(&mut rgb);
            widgets::name(&color, &format!("Colour of {key}"));
            if color.changed() {
                values = rgb.iter().map(|v| f64::from(*v)).collect();
                changed = true;
            }
        }
    });
    if !changed {
        return None;
    }
    let text: Vec<String> = values
        .iter()
        .zip(&whole)
        .map(|(v, whole)| {
            if *whole {
                format!("{v:.0}")
            } else {
                smalti::config::text::float(rounded(*v, (v.abs() * 0.01).max(1e-6)))
            }
        })
        .collect();
    let text = text.join(", ");
    let is_tuple = matches!(node.value, Value::Tuple(_));
    let text = match (is_tuple, values.len()) {
        (true, 1) => format!("({text},)"),
        (true, _) => format!("({text})"),
        (false, _) => format!("[{text}]"),
    };
    (text != value_to_py(node)).then_some(Change::To(text, Kind::Drag))
}
