//! Training: the plan of the config that is open, the run with its curves, what is frozen and what the weights find, and runs of before.
//!
//! [`toolbar`] starts, holds and stops; [`planned`] is the page before a run, [`curves`], [`predictions`] and [`said`] are the page of runs,
//! [`runs`] whose they are. What is frozen is in the inspector ([`frozen`]).

mod curves;
mod frozen;
mod left;
mod planned;
mod predictions;
mod runs;
mod said;
mod toolbar;

pub use left::left_cards;
use predictions::Of;

use eframe::egui::{Frame, Label, Margin, RichText, ScrollArea, Ui};

use super::View;
use super::panes::{Layout, Pane, Panes};
use crate::window::actions::Command;
use crate::window::jobs::{Jobs, Newest};
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::training::plan::{self, RunPlan};
use crate::window::training::work::Failure;
use crate::window::training::{Begin, Order, Phase};
use crate::window::widgets;

/// The view.
pub struct TrainView {
    plans: Newest<plan::Question, Result<RunPlan, String>>,
    planned: Option<Result<RunPlan, String>>,
    asked: Option<Asked>,
    /// The config that was planned last, as text.
    text: String,
    /// The page that somebody chose; the one that fits, if nobody did.
    page: Option<Page>,
    validate: bool,
    runs: runs::Runs,
    curves: curves::Curves,
    /// The iteration that curves, what is frozen and predictions are of; the last one, if none.
    cursor: Option<u64>,
    panes: Panes<Part>,
    predictions: predictions::Predictions,
    said: said::Messages,
}

/// What a plan is of: the analysis, and the last run with whether it is live, as a run changes what is in its folder.
type Asked = (usize, Option<(u64, bool)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Plan,
    Runs,
}

/// What the page of a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Curves,
    Predictions,
    Messages,
}

impl Pane for Part {
    const VIEW: &'static str = "Train";
    const ALL: &'static [Self] = &[Self::Curves, Self::Predictions, Self::Messages];

    fn name(self) -> &'static str {
        match self {
            Self::Curves => "Curves",
            Self::Predictions => "Predictions",
            Self::Messages => "Messages",
        }
    }

    fn first() -> Layout {
        let below = vec![Self::Predictions.alone(), Self::Messages.alone()];
        Layout::Column(vec![
            (0.5, Self::Curves.alone()),
            (0.5, Layout::Stack(0, below)),
        ])
    }
}

/// Height of what stands above the plots.
const HEAD: f32 = 32.0;

impl Default for TrainView {
    fn default() -> Self {
        Self {
            plans: Newest::new("planning the training", |question, progress| {
                plan::plan(&question, progress)
            }),
            planned: None,
            asked: None,
            text: String::new(),
            page: None,
            validate: true,
            runs: runs::Runs::default(),
            curves: curves::Curves::default(),
            cursor: None,
            panes: Panes::default(),
            predictions: predictions::Predictions::default(),
            said: said::Messages::default(),
        }
    }
}

impl View for TrainView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.plan(session, jobs);
        if self.runs.follow(session, jobs) {
            self.page = Some(Page::Runs);
        }
        let tokens = Tokens::of(ui);
        let nothing = session.training.run.is_none() && session.runs.is_empty();
        if nothing && session.documents.active().is_none() {
            left_cards(ui, session, jobs);
            if widgets::empty(ui, "No run, and no config to train.", "Open...") {
                session.commands.push_back(Command::Open);
            }
            return;
        }
        let bar = Frame::new()
            .fill(tokens.panel)
            .inner_margin(Margin::symmetric(12, 4));
        if session.training.run.is_some() || session.documents.active().is_some() {
            bar.show(ui, |ui| self.toolbar(ui, session, jobs));
        }
        Frame::new().inner_margin(12).show(ui, |ui| {
            left_cards(ui, session, jobs);
            match self.page(session) {
                Page::Plan => self.plan_page(ui, session, jobs),
                Page::Runs => self.runs_page(ui, session, jobs),
            }
        });
    }

    fn inspects(&self, session: &Session) -> bool {
        match self.page(session) {
            Page::Plan => matches!(self.planned, Some(Ok(_))),
            Page::Runs => {
                let run = session.training.run.as_ref();
                let kept = || {
                    self.runs
                        .looked()
                        .is_some_and(|(.., l)| !l.trained.is_empty())
                };
                run.map_or_else(kept, |run| !run.trained.is_empty())
            }
        }
    }

    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, _jobs: &mut Jobs) {
        match (self.page(session), &self.planned, &session.training.run) {
            (Page::Plan, Some(Ok(plan)), _) => {
                frozen::show(ui, &plan.parameters, "before the first iteration");
            }
            (Page::Runs, _, Some(run)) => {
                let at = self.cursor.unwrap_or(run.position.iter);
                let then = run.trained.iter().rev().find(|(from, _)| *from <= at);
                if let Some((_, parameters)) = then.or(run.trained.first()) {
                    let when = match self.cursor {
                        Some(iter) => format!("at iteration {}", thousands(iter)),
                        None => "now".to_owned(),
                    };
                    frozen::show(ui, parameters, &when);
                }
            }
            (Page::Runs, _, None) => {
                if let Some((_, name, looked)) = self.runs.looked()
                    && let Some(parameters) = looked.trained_at(self.cursor)
                {
                    let when = match self.cursor {
                        Some(iter) => format!("in {name} at iteration {}", thousands(iter)),
                        None => format!("in {name} at its end"),
                    };
                    frozen::show(ui, parameters, &when);
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, command: Command, session: &mut Session, jobs: &mut Jobs) -> bool {
        if command != Command::Run {
            return false;
        }
        if session.training.is_live() {
            let run = session.training.run.as_ref();
            run.into_iter().for_each(|run| run.hold(!run.is_to_hold()));
        } else if let Some(order) = self.best_order(session) {
            self.start(session, jobs, order);
        }
        true
    }
}

impl TrainView {
    fn page(&self, session: &Session) -> Page {
        let runs = session.training.run.is_some() || !session.runs.is_empty();
        match (runs, session.documents.active().is_some()) {
            (false, _) => Page::Plan,
            (true, false) => Page::Runs,
            (true, true) => self.page.unwrap_or(Page::Runs),
        }
    }

    /// Keeps the plan that of the config in front.
    fn plan(&mut self, session: &Session, jobs: &mut Jobs) {
        if let Some(plan) = self.plans.poll(jobs) {
            self.planned = Some(plan.and_then(|plan| plan));
        }
        let Some(analysis) = session.current() else {
            if session.documents.active().is_none() {
                (self.planned, self.asked) = (None, None);
            }
            return;
        };
        let at = std::sync::Arc::as_ptr(analysis) as usize;
        // by its number too: a run that fails at once is never seen live
        let run = session.training.run.as_ref();
        let asked = (at, run.map(|run| (run.id, run.is_live())));
        if self.asked == Some(asked) {
            return;
        }
        let before = self.asked.map(|(_, run)| run);
        self.asked = Some(asked);
        match &analysis.config {
            Some(config) => {
                // read again, it may mean the same
                let text = config.to_py();
                if text != self.text || before != Some(asked.1) || self.planned.is_none() {
                    self.text = text;
                    let (config, host) = (config.clone(), session.host.clone());
                    self.plans.ask(jobs, plan::Question { config, host });
                }
            }
            None => {
                let why = analysis.found.iter().map(ToString::to_string);
                self.planned = Some(Err(why.take(3).collect::<Vec<_>>().join("\n")));
            }
        }
    }

    /// What the run of the config in front would be, from its beginning.
    fn order(&self, session: &Session) -> Option<Order> {
        let Some(Ok(plan)) = &self.planned else {
            return None;
        };
        let document = session.documents.active()?;
        Some(Order {
            config: document.path.clone(),
            work_dir: plan.work_dir.clone(),
            begin: Begin::Anew,
            validate: self.validate,
        })
    }

    /// What is most likely meant by "train": to go on with what is there, else to begin.
    fn best_order(&self, session: &Session) -> Option<Order> {
        if self.obstacle(session).is_some() {
            return None;
        }
        let order = self.order(session)?;
        let Some(Ok(plan)) = &self.planned else {
            return None;
        };
        let begin = match &plan.last {
            Some(last) if !plan.is_done() => Begin::At(last.path.clone()),
            _ => Begin::Anew,
        };
        Some(Order { begin, ..order })
    }

    /// Why the config in front cannot be trained now.
    fn obstacle(&self, session: &Session) -> Option<String> {
        let document = session.documents.active()?;
        let unsaved = unsaved(session);
        if session.training.is_live() {
            Some("a run is under way".into())
        } else if !document.placed || !unsaved.is_empty() {
            Some("training reads the files: save them first".into())
        } else if session.engine.chosen.is_none() {
            Some("there is no device yet".into())
        } else {
            match &self.planned {
                Some(Ok(_)) if session.current().is_some() && !self.plans.is_busy() => None,
                Some(Err(_)) => Some("the plan says what is wrong".into()),
                _ => Some("the plan is being made".into()),
            }
        }
    }

    fn start(&mut self, session: &mut Session, jobs: &mut Jobs, order: Order) {
        (self.cursor, self.page) = (None, Some(Page::Runs));
        session.train(jobs, order);
    }

    fn runs_page(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let failed = session.training.run.as_ref().and_then(|run| {
            let Phase::Ended(Err(failure)) = &run.phase else {
                return None;
            };
            Some((run.order.clone(), failure.clone()))
        });
        if let Some((order, failure)) = failed
            && let Some(begin) = failure_card(ui, session, &failure)
        {
            self.start(session, jobs, Order { begin, ..order });
        }
        self.runs.show(ui, session);
        let drawn = self.runs.drawn(session, Tokens::of(ui));
        let height = |ui: &Ui| (ui.available_height() - HEAD).clamp(80.0, 900.0);
        let run = session.training.run.as_ref();
        let kept = || {
            let (id, _, looked) = self.runs.looked()?;
            Some(Of::kept(id, looked))
        };
        let Some(of) = run.map(Of::live).or_else(kept) else {
            let height = height(ui);
            self.curves.show(ui, &drawn, &mut self.cursor, height);
            return;
        };
        let Self {
            panes,
            curves,
            predictions,
            said,
            cursor,
            ..
        } = self;
        panes.begin(&session.settings);
        panes.show(ui, |ui, part| {
            Frame::new().inner_margin(4).show(ui, |ui| match part {
                Part::Curves => {
                    let height = height(ui);
                    curves.show(ui, &drawn, cursor, height);
                }
                Part::Predictions => {
                    ui.horizontal(|ui| predictions.head(ui, &of, cursor));
                    predictions.show(ui, &of, *cursor);
                }
                Part::Messages => match run {
                    Some(run) => {
                        ui.horizontal(|ui| said.head(ui, run));
                        said.show(ui, run);
                    }
                    None => {
                        let text =
                            "Messages of runs of before are in TIME/TIME.log of their folder.";
                        ui.label(RichText::new(text).color(Tokens::of(ui).weak));
                    }
                },
            });
        });
        drop(drawn);
        self.panes.end(ui, &mut session.settings);
    }
}

/// What went wrong, and what next. Gives from where it is to go on, if that was chosen.
fn failure_card(ui: &mut Ui, session: &mut Session, failure: &Failure) -> Option<Begin> {
    let tokens = Tokens::of(ui);
    let mut begin = None;
    widgets::card(ui, tokens.error, |ui| {
        let title = match &failure.not_finite {
            Some((iter, loss)) => format!("Loss is {loss} at {}.", thousands(*iter)),
            None => "The run failed.".to_owned(),
        };
        ui.label(RichText::new(title).color(tokens.error));
        failure_text(ui, &failure.text);
        ui.horizontal_wrapped(|ui| {
            let resume = failure.last.as_ref().map(|last| {
                let text = format!("Resume from {}", thousands(last.iter));
                (text, Begin::At(last.path.clone()))
            });
            let again = ("Start again".to_owned(), Begin::Anew);
            for (text, from) in resume.into_iter().chain([again]) {
                if widgets::button(ui, &text).clicked() {
                    begin = Some(from);
                }
            }
            if session.documents.active().is_some()
                && widgets::button(ui, "Go to the config").clicked()
                && let Some(view) = super::for_what(super::Shows::Config)
            {
                session.commands.push_back(Command::View(view));
            }
        });
    });
    ui.add_space(8.0);
    begin
}

/// What went wrong, as it was told: config errors show the text with a caret.
fn failure_text(ui: &mut Ui, text: &str) {
    let lines = text.lines().count();
    ScrollArea::both()
        .id_salt("what went wrong")
        .max_height(240.0)
        .auto_shrink([false, true])
        .show(ui, |ui| {
            let text = RichText::new(text.trim_end());
            if lines > 1 {
                ui.add(Label::new(text.monospace()).extend());
            } else {
                ui.label(text);
            }
        });
}

/// Texts of the config in front that are not on disk as they are here.
fn unsaved(session: &Session) -> Vec<crate::window::document::DocumentId> {
    let config = session.analysis.as_ref().and_then(|a| a.config.as_ref());
    let files: Vec<&str> = config.into_iter().flat_map(|c| c.files()).collect();
    let active = session.documents.active().map(|d| d.id);
    let modified = session.documents.iter().filter(|d| d.is_modified());
    let own = modified.filter(|d| Some(d.id) == active || files.contains(&&*d.key()));
    own.map(|d| d.id).collect()
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Four digits that count.
fn short(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if (1e-3..1e5).contains(&number.abs()) {
        let digits = (3.0 - number.abs().log10().floor()).clamp(0.0, 6.0) as usize;
        return format!("{number:.digits$}");
    }
    format!("{number:.2e}")
}

/// The same without zeros at the end.
fn trimmed(number: f64) -> String {
    let text = short(number);
    if text.contains('e') || !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
