//! The selected part: where the config says it, its numbers, what it gives and its tensors.

use eframe::egui::{Grid, RichText, Ui};

use smalti::data::summary::thousands;
use smalti::outline::Outline;

use super::parts::{Part, by};
use super::{Answer, go_to_config, node_of, table};
use crate::window::files::short;
use crate::window::jobs::Jobs;
use crate::window::session::{Place, Session};
use crate::window::tokens::Tokens;
use crate::window::widgets::{self, middle};

/// Its name, its line, its numbers.
pub fn head(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs, answer: &Answer, part: &Part) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(&part.place).monospace());
    said(ui, session, jobs, answer, part);
    ui.add_space(8.0);
    let numbers = |n: u64| match n {
        0 => String::new(),
        n => thousands(n as usize),
    };
    let facts = [
        ("parameters", numbers(part.parameters)),
        ("of them frozen", numbers(part.frozen)),
        ("GFLOPs", table::giga(part.products)),
    ];
    Grid::new("facts").num_columns(2).show(ui, |ui| {
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            ui.label(RichText::new(*name).color(tokens.weak));
            ui.label(RichText::new(value).monospace());
            ui.end_row();
        }
    });
}

/// What it gives, and its tensors.
pub fn details(ui: &mut Ui, outline: &Outline, part: &Part) {
    maps(ui, outline, part);
    tensors(ui, part);
}

/// What the config says of it, and where.
fn said(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs, answer: &Answer, part: &Part) {
    let tokens = Tokens::of(ui);
    let config = answer.analysis.config.as_ref();
    let Some(node) = config.and_then(|config| node_of(config, &part.place)) else {
        return;
    };
    ui.horizontal_wrapped(|ui| {
        if let Some(kind) = node.get("type").and_then(|t| t.as_type()) {
            ui.label(RichText::new(kind).color(tokens.soft));
        }
        let Some(place) = Place::of(node) else { return };
        let line = node.origin.line();
        let front = session.documents.active().map(|d| d.path.clone());
        let name = match front.as_ref() == Some(&place.path) {
            true => format!(":{line}"),
            false => format!("{}:{line}", middle(&short(&place.path), 28)),
        };
        let link = widgets::link(ui, &name).on_hover_text("Go to this line of the config");
        if link.clicked() {
            session.go(jobs, &place);
            go_to_config(session);
        }
    });
}

/// The shapes of what it gives; of a backbone or a neck with strides, as a config takes them.
fn maps(ui: &mut Ui, outline: &Outline, part: &Part) {
    if part.outputs.is_empty() {
        return;
    }
    let tokens = Tokens::of(ui);
    ui.add_space(8.0);
    ui.label(RichText::new("Gives").color(tokens.weak));
    let whole = part.depth == 0 && matches!(part.name.as_str(), "backbone" | "neck");
    let [_, _, height, _] = outline.input;
    Grid::new("maps").num_columns(3).show(ui, |ui| {
        for (i, shape) in part.outputs.iter().enumerate() {
            ui.label(RichText::new(i.to_string()).monospace().color(tokens.weak));
            ui.label(RichText::new(by(shape)).monospace());
            if let &[_, _, h, _] = &shape[..]
                && whole
            {
                let stride = (height as f64 / h as f64).round();
                ui.label(RichText::new(format!("stride {stride}")).color(tokens.soft));
            }
            ui.end_row();
        }
    });
    if whole {
        let channels: Vec<String> = part.outputs.iter().map(|s| s[1].to_string()).collect();
        let text = format!("in_channels=[{}]", channels.join(", "));
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(&text).monospace().color(tokens.soft));
            if widgets::link(ui, "Copy").clicked() {
                ui.ctx().copy_text(text);
            }
        });
    }
}

fn tensors(ui: &mut Ui, part: &Part) {
    if part.tensors.is_empty() {
        return;
    }
    let tokens = Tokens::of(ui);
    ui.add_space(8.0);
    ui.label(RichText::new("Tensors").color(tokens.weak));
    Grid::new("tensors").num_columns(2).show(ui, |ui| {
        for (name, shape) in &part.tensors {
            ui.label(RichText::new(name).monospace());
            let shape = if shape.is_empty() {
                "number".into()
            } else {
                by(shape)
            };
            ui.label(RichText::new(shape).monospace().color(tokens.soft));
            ui.end_row();
        }
    });
}
