//! The bar above: start, hold, go on, stop; how far the run is, and which page is shown.

use std::time::Duration;

use eframe::egui::{RichText, Ui, vec2};

use super::{Page, TrainView, short, thousands, trimmed};
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::{BUTTON, Tokens};
use crate::window::training::{Begin, LiveRun, Order, Phase};
use crate::window::widgets;

impl TrainView {
    pub(super) fn toolbar(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        ui.horizontal_wrapped(|ui| {
            ui.set_min_size(vec2(ui.available_width(), BUTTON));
            let runs = session.training.run.is_some() || !session.runs.is_empty();
            if runs && session.documents.active().is_some() {
                let mut page = self.page(session);
                ui.selectable_value(&mut page, Page::Plan, "Plan");
                ui.selectable_value(&mut page, Page::Runs, "Runs");
                self.page = Some(page);
                ui.separator();
            }
            match &session.training.run {
                Some(run) if run.is_live() => going(ui, run),
                run => {
                    let stopped = run.as_ref().filter(|_| self.page(session) == Page::Runs);
                    // its card says how one that failed can go on
                    let failed =
                        stopped.is_some_and(|run| matches!(run.phase, Phase::Ended(Err(_))));
                    let stopped = stopped.and_then(on_from);
                    match stopped {
                        Some(order) => {
                            if widgets::primary(ui, "Resume").clicked() {
                                self.start(session, jobs, order);
                            }
                        }
                        None if failed => {}
                        None => self.offers(ui, session, jobs),
                    }
                }
            }
            if let Some(run) = &session.training.run {
                place(ui, run);
            }
        });
    }

    /// How the config in front can be trained.
    fn offers(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let Some(document) = session.documents.active() else {
            return;
        };
        let (id, obstacle) = (document.id, self.obstacle(session));
        let unsaved = super::unsaved(session);
        if !document.placed || !unsaved.is_empty() {
            if widgets::primary(ui, "Save").clicked() {
                let all = if unsaved.is_empty() {
                    vec![id]
                } else {
                    unsaved
                };
                all.into_iter().for_each(|id| session.save(jobs, id, false));
            }
            let tokens = Tokens::of(ui);
            let text = "Training reads the files: save them first.";
            ui.label(RichText::new(text).color(tokens.soft));
            return;
        }
        let (best, anew) = (self.best_order(session), self.order(session));
        let resumes = matches!(&best, Some(order) if order.begin != Begin::Anew);
        let (last, done) = match &self.planned {
            Some(Ok(plan)) => (plan.last.clone().filter(|_| resumes), plan.is_done()),
            _ => (None, false),
        };
        let mut chosen: Option<Order> = None;
        ui.add_enabled_ui(obstacle.is_none(), |ui| {
            let again = "From the first iteration; checkpoints of the same names are written over";
            if done || resumes {
                let button = widgets::button(ui, "Start again").on_hover_text(again);
                if button.clicked() {
                    chosen = anew;
                }
            }
            if !done {
                let text = match &last {
                    Some(last) => format!("Resume from {}", thousands(last.iter)),
                    None => "Start training".to_owned(),
                };
                let start = widgets::primary(ui, &text);
                let why = obstacle.clone().unwrap_or_default();
                if start.on_disabled_hover_text(why).clicked() {
                    chosen = best;
                }
            }
            ui.checkbox(&mut self.validate, "Validate");
        });
        if let Some(order) = chosen {
            self.start(session, jobs, order);
        }
    }
}

/// From where a run of this window that was stopped goes on.
fn on_from(run: &LiveRun) -> Option<Order> {
    use smalti::train::Ended;
    let Phase::Ended(Ok(Ended::Interrupted(path))) = &run.phase else {
        return None;
    };
    Some(Order {
        begin: Begin::At(path.clone()),
        ..run.order.clone()
    })
}

/// What can be done with a run that is under way.
fn going(ui: &mut Ui, run: &LiveRun) {
    let stopping = run.is_stopping();
    ui.add_enabled_ui(!stopping && run.head.is_some(), |ui| {
        if run.is_to_hold() {
            if widgets::primary(ui, "Go on").clicked() {
                run.hold(false);
            }
        } else if widgets::button(ui, "Pause")
            .on_hover_text("Wait after this iteration; the device's memory is kept")
            .clicked()
        {
            run.hold(true);
        }
    });
    ui.add_enabled_ui(!stopping, |ui| {
        let stop = widgets::button(ui, "Stop");
        let hover = "Write a checkpoint after this iteration and end; it can go on from there";
        if stop.on_hover_text(hover).clicked() {
            run.stop();
        }
    });
}

/// How far it is.
fn place(ui: &mut Ui, run: &LiveRun) {
    let tokens = Tokens::of(ui);
    let mut parts: Vec<String> = Vec::new();
    if let Some(head) = &run.head {
        let (length, position) = (head.length, run.position);
        if head.by_epoch {
            let epoch = (position.epoch + 1).min(length.max_epochs);
            parts.push(format!("epoch {epoch}/{}", thousands(length.max_epochs)));
        }
        let iter = thousands(position.iter);
        parts.push(format!("iteration {iter}/{}", thousands(length.max_iters)));
        if let Some((loss, lr)) = run.figures {
            parts.push(format!("loss {}", short(loss)));
            parts.push(format!("lr {}", trimmed(lr)));
        }
        if let Some((done, all)) = run.validating {
            parts.push(format!("validating {done}/{all}"));
        }
    }
    let state = match &run.phase {
        _ if run.is_stopping() => "stopping after this iteration",
        Phase::Building => "building",
        Phase::Held => "held",
        Phase::Going if run.is_to_hold() => "pausing after this iteration",
        Phase::Going => "",
        Phase::Ended(Ok(smalti::train::Ended::Done)) => "done",
        Phase::Ended(Ok(_)) => "stopped",
        Phase::Ended(Err(_)) => "failed",
    };
    if !state.is_empty() {
        parts.push(state.to_owned());
    } else if let Some(left) = run.seconds_left.filter(|left| *left >= 1.0) {
        parts.push(format!("{} left", duration(left)));
    }
    if let Some(head) = run.head.as_ref().filter(|_| run.is_live()) {
        parts.push(format!("on {}", head.device));
    }
    ui.label(RichText::new(parts.join("  ")).color(tokens.soft));
}

/// A time in words, as exactly as it matters.
fn duration(seconds: f64) -> String {
    let minutes = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs() / 60;
    match minutes {
        0 => format!("{seconds:.0} s"),
        1..100 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_short() {
        let told = [3.4, 61.0, 3600.0 * 2.0 + 60.0 * 5.0].map(duration);
        assert_eq!(told, ["3 s", "1 min", "2 h 5 min"]);
        let told = [0.0, 0.5123, 12.345, 2e-5, 123_456.0].map(short);
        assert_eq!(told, ["0", "0.5123", "12.35", "2.00e-5", "1.23e5"]);
        assert_eq!(
            [0.002, 1.0, 2e-5, 100.0].map(trimmed),
            ["0.002", "1", "2.00e-5", "100"]
        );
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
