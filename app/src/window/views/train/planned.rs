//! The page before a run: how long it is, what is trained with which learning rates, where files go.

use eframe::egui::{Align, FontId, Grid, Label, Layout, RichText, ScrollArea, Ui, vec2};
use egui_plot::{Line, PlotPoints};

use super::curves::{self, Frame};
use super::{TrainView, failure_text, thousands, trimmed};
use crate::window::actions::Command;
use crate::window::files;
use crate::window::frame::plural;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::{BODY, SMALL, Tokens};
use crate::window::training::plan::RunPlan;
use crate::window::widgets::{self, middle};

/// Groups whose learning rates are drawn; those beyond have one of a few more factors.
const LINES: usize = 12;
/// Width of what stands before the facts.
const HEADS: f32 = 88.0;

impl TrainView {
    pub(super) fn plan_page(&mut self, ui: &mut Ui, session: &mut Session, _jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        let Some(document) = session.documents.active() else {
            return;
        };
        let name = document.name();
        let mut retry = false;
        match &self.planned {
            None => {
                ui.label(RichText::new("Planning ...").color(tokens.weak));
            }
            Some(Err(why)) => widgets::card(ui, tokens.error, |ui| {
                let title = format!("{} cannot be trained.", middle(&name, 60));
                ui.label(RichText::new(title).color(tokens.error));
                failure_text(ui, why);
                ui.horizontal(|ui| {
                    retry = widgets::button(ui, "Retry").clicked();
                    if widgets::button(ui, "Go to the config").clicked()
                        && let Some(view) = super::super::for_what(super::super::Shows::Config)
                    {
                        session.commands.push_back(Command::View(view));
                    }
                });
            }),
            Some(Ok(plan)) => {
                ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                    facts(ui, session, plan, &name);
                    ui.add_space(12.0);
                    rates(ui, plan);
                    ui.add_space(12.0);
                    groups(ui, plan);
                    for note in &plan.notes {
                        ui.label(RichText::new(note).color(tokens.note));
                    }
                });
            }
        }
        if retry {
            (self.asked, self.planned) = (None, None);
        }
    }
}

fn facts(ui: &mut Ui, session: &Session, plan: &RunPlan, name: &str) {
    let tokens = Tokens::of(ui);
    ui.heading(middle(name, 60));
    let length = plan.length;
    let iterations =
        |n: u64| plural(n as usize, "iteration").replace(&n.to_string(), &thousands(n));
    let much = if plan.by_epoch {
        let epochs = plural(length.max_epochs as usize, "epoch");
        format!("{epochs} of {}", iterations(length.epoch_length))
    } else {
        iterations(length.max_iters)
    };
    let unit = if plan.by_epoch { "epoch" } else { "iteration" };
    let validated = match plan.validated {
        None => "not validated: the config has no `val_evaluator`".to_owned(),
        Some(1) => format!("after every {unit}"),
        Some(n) => format!("after every {} {unit}s", thousands(n)),
    };
    let schedules = match plan.schedules.as_slice() {
        [] => "none: the learning rate stays as it is".to_owned(),
        names => names.join(", "),
    };
    let files = match &plan.last {
        None => "nothing is there yet".to_owned(),
        Some(last) => {
            let state = if plan.is_done() { "the end" } else { "so far" };
            let name = files::short(&last.path);
            format!(
                "{name} is there: iteration {}, {state}",
                thousands(last.iter)
            )
        }
    };
    let classes = match plan.classes {
        1 => "1 class".to_owned(),
        n => format!("{n} classes"),
    };
    let device = session.engine.title().0;
    let pictures = plural(plan.batch_size as usize, "picture");
    let rows = [
        ("Length", format!("{much}, {pictures} each")),
        ("Data", classes),
        ("Validated", validated),
        ("Optimizer", plan.optimizer.clone()),
        ("Schedules", schedules),
        ("Runs on", device),
        ("Files go to", plan.work_dir.display().to_string()),
        ("", files),
        ("Hooks", plan.hooks.join(", ")),
    ];
    for (what, text) in rows {
        ui.horizontal_top(|ui| {
            let size = vec2(HEADS, ui.spacing().interact_size.y.min(16.0));
            ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::TOP), |ui| {
                ui.set_min_width(HEADS);
                ui.label(RichText::new(what).color(tokens.weak));
            });
            ui.add(Label::new(text).wrap());
        });
    }
}

fn rates(ui: &mut Ui, plan: &RunPlan) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new("Learning rate").color(tokens.soft));
    let last = plan.length.max_iters as f64;
    let frame = Frame {
        name: "Learning rate by iteration",
        size: [ui.available_width(), 200.0],
        last,
        log: false,
        from_zero: true,
        group: "plan",
    };
    let rates = plan.rates.iter().zip(&plan.groups).take(LINES);
    let lines: Vec<Line> = rates
        .enumerate()
        .map(|(i, (points, group))| {
            let (color, style) = curves::look(tokens, i);
            let name = format!("{} and those like it", group.example);
            Line::new(name, PlotPoints::from(points.clone()))
                .color(color)
                .style(style)
                .width(1.5)
        })
        .collect();
    curves::plot(ui, &frame, None, lines);
}

fn groups(ui: &mut Ui, plan: &RunPlan) {
    let tokens = Tokens::of(ui);
    let heads = ["parameters", "numbers", "learning rate", "weight decay"];
    let right = |ui: &mut Ui, text: RichText| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text));
    };
    Grid::new("groups")
        .num_columns(6)
        .spacing([16.0, 4.0])
        .show(ui, |ui| {
            ui.label("");
            for head in heads {
                right(ui, RichText::new(head).size(SMALL).color(tokens.weak));
            }
            ui.label(RichText::new("such as").size(SMALL).color(tokens.weak));
            ui.end_row();
            for (i, group) in plan.groups.iter().enumerate() {
                curves::swatch(ui, (i < LINES).then(|| curves::look(tokens, i)));
                let code = |text: String| RichText::new(text).font(FontId::monospace(BODY));
                right(ui, code(group.parameters.to_string()));
                right(ui, code(thousands(group.numbers)));
                right(ui, code(trimmed(group.lr)));
                right(ui, code(trimmed(group.weight_decay)));
                ui.label(code(middle(&group.example, 48)).color(tokens.soft));
                ui.end_row();
            }
        });
}
