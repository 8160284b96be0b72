//! The model of the config in front: its parts as a table with what each gives, parameters, products and what is frozen; the line of the selected
//! part, and what it makes of the picture that is open.

use std::path::Path;
use std::sync::Arc;

use eframe::egui::{DragValue, Frame, RichText, ScrollArea, TextEdit, Ui};

use smalti::config::{Config, Node};
use smalti::data::summary::thousands;
use smalti::outline::{Outline, usual_size};

use super::View;
use crate::window::actions::Command;
use crate::window::analysis::Analysis;
use crate::window::files::short;
use crate::window::icons;
use crate::window::jobs::{Jobs, Newest};
use crate::window::session::{Place, Session};
use crate::window::tokens::Tokens;
use crate::window::widgets::{self, middle};

mod heat;
mod inspect;
mod parts;
mod table;

use parts::Parts;

/// The view.
pub struct ModelView {
    outlines: Newest<Question, Answer>,
    asked: Option<(usize, [usize; 2])>,
    shown: Option<Answer>,
    table: table::Table,
    /// Height and width of the picture, if somebody chose them.
    size: Option<[usize; 2]>,
    heat: heat::Heat,
}

/// A config and the size of a picture.
struct Question {
    analysis: Arc<Analysis>,
    size: [usize; 2],
}

/// What is known of a config's model.
struct Answer {
    analysis: Arc<Analysis>,
    made: Result<(Outline, Parts), String>,
}

/// Height and width where a config does not say them, px.
const USUAL: [usize; 2] = [800, 1333];
/// Sides of pictures that can be asked for, px.
const SIDES: std::ops::RangeInclusive<usize> = 32..=4096;

impl Default for ModelView {
    fn default() -> Self {
        Self {
            outlines: Newest::new("counting the model's layers", |question, _| {
                outline(question)
            }),
            asked: None,
            shown: None,
            table: table::Table::default(),
            size: None,
            heat: heat::Heat::default(),
        }
    }
}

fn outline(question: Question) -> Answer {
    let made = match &question.analysis.config {
        Some(config) => Outline::of(config, &smalti::registry(), question.size)
            .map_err(|found| config.errors(found).to_string())
            .map(|outline| {
                let parts = Parts::of(&outline);
                (outline, parts)
            }),
        None => Err("The config cannot be read.".into()),
    };
    Answer {
        analysis: question.analysis,
        made,
    }
}

impl View for ModelView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        if session.documents.active().is_none() {
            if widgets::empty(ui, "Needs a config.", "Open...") {
                session.commands.push_back(Command::Open);
            }
            return;
        }
        self.ask(session, jobs);
        let frame = Frame::new().inner_margin(12);
        frame.show(ui, |ui| match self.shown.take() {
            Some(answer) => {
                self.answer(ui, session, &answer);
                self.shown = Some(answer);
            }
            None => {
                let weak = Tokens::of(ui).weak;
                ui.label(RichText::new("Counting the model's layers ...").color(weak));
            }
        });
    }

    fn inspects(&self, session: &Session) -> bool {
        let part = self.shown.as_ref().and_then(|answer| self.selected(answer));
        session.documents.active().is_some() && part.is_some()
    }

    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let Some(answer) = self.shown.take() else {
            return;
        };
        if let Some((outline, part)) = self.selected(&answer) {
            ScrollArea::vertical()
                .id_salt("part")
                .auto_shrink(false)
                .show(ui, |ui| {
                    inspect::head(ui, session, jobs, &answer, part);
                    self.heat.show(ui, session, jobs, &answer.analysis, part);
                    inspect::details(ui, outline, part);
                });
        }
        self.shown = Some(answer);
    }
}

impl ModelView {
    fn selected<'a>(&self, answer: &'a Answer) -> Option<(&'a Outline, &'a parts::Part)> {
        let (outline, parts) = answer.made.as_ref().ok()?;
        let part = parts.find(self.table.selected.as_ref()?)?;
        Some((outline, part))
    }

    fn ask(&mut self, session: &Session, jobs: &mut Jobs) {
        if let Some(Ok(answer)) = self.outlines.poll(jobs) {
            self.shown = Some(answer);
        }
        let Some(analysis) = session.analysis.clone() else {
            return;
        };
        let usual = analysis.config.as_ref().and_then(usual_size);
        let size = self.size.or(usual).unwrap_or(USUAL);
        let asked = (Arc::as_ptr(&analysis) as usize, size);
        if self.asked != Some(asked) {
            self.asked = Some(asked);
            self.outlines.ask(jobs, Question { analysis, size });
        }
    }

    fn answer(&mut self, ui: &mut Ui, session: &mut Session, answer: &Answer) {
        let tokens = Tokens::of(ui);
        let (outline, parts) = match &answer.made {
            Ok(made) => made,
            Err(why) => {
                let mut look = false;
                ui.add_space(12.0);
                widgets::card(ui, tokens.error, |ui| {
                    let title = "This config makes no model.";
                    ui.label(RichText::new(title).color(tokens.error));
                    ui.label(RichText::new(why).monospace());
                    look = widgets::button(ui, "Go to the config").clicked();
                });
                if look {
                    go_to_config(session);
                }
                return;
            }
        };
        self.head(ui, answer, outline);
        if let Some(why) = &outline.unknown {
            ui.horizontal_wrapped(|ui| {
                widgets::icon(ui, icons::NOTE, tokens.note);
                let text = format!("Behind the neck only parameters are known: {why}");
                ui.label(RichText::new(text).color(tokens.note));
            });
        }
        let field = ui.add(
            TextEdit::singleline(&mut self.table.search)
                .hint_text("Name or shape")
                .desired_width(f32::INFINITY),
        );
        widgets::name(&field, "Find a part");
        if self.table.show(ui, parts) {
            let place = self.table.selected.as_deref();
            let place = place.and_then(|place| place_of(answer.analysis.config.as_ref()?, place));
            reveal(session, place);
        }
    }

    /// Which model, of which picture, and its sums.
    fn head(&mut self, ui: &mut Ui, answer: &Answer, outline: &Outline) {
        let tokens = Tokens::of(ui);
        let [parameters, frozen] = outline.parameters();
        ui.horizontal_wrapped(|ui| {
            let config = answer.analysis.config.as_ref();
            let kind = config.and_then(|c| c.at("model.type")?.as_type());
            let file = config
                .map(|c| short(Path::new(&c.path)))
                .unwrap_or_default();
            ui.heading(kind.unwrap_or_else(|| "Model".into()));
            ui.label(RichText::new(format!("of {}", middle(&file, 48))).color(tokens.soft));
        });
        ui.horizontal_wrapped(|ui| {
            let mut text = format!("{} parameters", thousands(parameters as usize));
            if frozen > 0 {
                text += &format!(", {} of them frozen", thousands(frozen as usize));
            }
            text += &format!(
                "; {} GFLOPs of a picture of",
                table::giga(outline.products())
            );
            ui.label(RichText::new(text).color(tokens.soft));
            let [height, width] = self.asked.map_or(USUAL, |(_, size)| size);
            let mut size = [width, height];
            for (side, name) in size.iter_mut().zip(["Width", "Height"]) {
                let drag = DragValue::new(side).range(SIDES).speed(4.0).suffix(" px");
                let response = ui.add(drag);
                widgets::name(&response, &format!("{name} of the picture, px"));
                if name == "Width" {
                    ui.label(RichText::new("x").color(tokens.weak));
                }
            }
            if size != [width, height] {
                self.size = Some([size[1], size[0]]);
            }
            let [_, _, rows, columns] = outline.input;
            if [rows, columns] != [height, width] {
                let padded = format!("padded to {columns} x {rows}");
                ui.label(RichText::new(padded).color(tokens.weak));
            }
            if self.size.is_some() && widgets::link(ui, "As the config says").clicked() {
                self.size = None;
            }
        });
    }
}

/// What the config says of a part: the innermost dict on the way to it.
fn node_of<'a>(config: &'a Config, place: &str) -> Option<&'a Node> {
    let mut node = config.get("model")?;
    for (depth, name) in place.split('.').enumerate() {
        // its tensors have another name than its config
        let name = match name {
            "bbox_head" if depth == 0 && node.get(name).is_none() => "rpn_head",
            name => name,
        };
        let inner = node.at(name);
        let is_part = |n: &&Node| n.as_dict().is_some() || n.as_items().is_some();
        match inner.filter(is_part) {
            Some(inner) => node = inner,
            None => break,
        }
    }
    Some(node)
}

/// Where the config says what it says of a part.
fn place_of(config: &Config, place: &str) -> Option<Place> {
    Place::of(node_of(config, place)?)
}

/// Has the editor show a place, if it is in the text in front. The view stays where it is.
fn reveal(session: &mut Session, place: Option<Place>) {
    if let (Some(place), Some(document)) = (place, session.documents.active_mut())
        && document.path == place.path
    {
        document.reveal = Some(place.range);
    }
}

fn go_to_config(session: &mut Session) {
    if let Some(view) = super::for_what(super::Shows::Config) {
        session.commands.push_back(Command::View(view));
    }
}
