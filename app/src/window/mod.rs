//! The window: an [`App`] is a [`Session`] (what is open), [`Jobs`] (long work) and the [`views`] (what is shown). A desktop's window,
//! a test and a page show the same app; what they run on is behind [`host::Host`].
//!
//! A frame: keys of [`actions`] first, then [`frame`]'s bars, then the view in front. Views share nothing but the session. Long work is a job;
//! what a job made is taken at the next frame. Texts are changed by [`Session::edit`] alone, so that one history knows of all edits.
//!
//! How things fail: what cannot be done is told by a message, a card in its place, or a mark in the text; nothing panics, and no edit is lost.

pub mod actions;
pub mod analysis;
pub mod detector;
pub mod document;
pub mod engine;
pub mod files;
pub mod frame;
pub mod host;
pub mod icons;
pub mod jobs;
pub mod journal;
pub mod load_report;
pub mod messages;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod picture;
pub mod session;
pub mod settings;
pub mod tokens;
#[cfg(not(target_arch = "wasm32"))]
pub mod training;
#[cfg(target_arch = "wasm32")]
#[path = "training/elsewhere.rs"]
pub mod training;
pub mod views;
pub mod widgets;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui;

use actions::Command;
use engine::Engine;
use frame::Frame;
use host::{Host, Question};
use jobs::Jobs;
use session::Session;
use views::{Shows, VIEWS, View};

/// What a window shows.
pub struct App {
    /// What is open.
    pub session: Session,
    /// What is being done.
    pub jobs: Jobs,
    views: Vec<Box<dyn View>>,
    front: usize,
    frame: Frame,
    /// What was open a frame ago, to see what is new.
    seen: Seen,
}

#[derive(Default, PartialEq)]
struct Seen {
    document: Option<document::DocumentId>,
    pictures: Arc<Vec<PathBuf>>,
    checkpoint: Option<PathBuf>,
    annotations: Option<PathBuf>,
    runs: usize,
}

impl App {
    /// An app that opens these files. Without a device in `engine` one is chosen as the settings say.
    pub fn new(
        ctx: &egui::Context,
        host: Arc<dyn Host>,
        engine: Engine,
        paths: &[PathBuf],
    ) -> Self {
        tokens::set_fonts(ctx);
        let mut jobs = Jobs::new(host.clone(), ctx.clone());
        let mut session = Session::new(host, engine);
        if session.engine.chosen.is_none() {
            let spec = session.settings.device.clone();
            session.engine.choose(&mut jobs, &spec);
        }
        for path in paths {
            session.open(&mut jobs, path);
        }
        let views = VIEWS.iter().map(|row| (row.make)()).collect();
        let frame = Frame::new(ctx, &session.settings);
        Self {
            session,
            jobs,
            views,
            front: 0,
            frame,
            seen: Seen::default(),
        }
    }

    /// One frame.
    pub fn show(&mut self, ui: &mut egui::Ui) {
        let ctx = ui.ctx().clone();
        self.frame.set_style(&ctx, &self.session.settings);
        self.session.tick(&mut self.jobs, &ctx);
        self.bring_to_front();
        self.take_drops(&ctx);
        let typed = ctx.input_mut(actions::typed);
        self.session.commands.extend(typed);
        self.run_commands(&ctx);
        let view = &mut *self.views[self.front];
        self.frame
            .show(ui, &mut self.session, &mut self.jobs, view, self.front);
        // what buttons of this frame asked for
        self.run_commands(&ctx);
    }

    /// The view in front, by its place in [`VIEWS`].
    pub fn front(&self) -> usize {
        self.front
    }

    /// The view in front itself.
    pub fn view(&self) -> &dyn View {
        &*self.views[self.front]
    }

    /// What was just opened is shown by its view.
    fn bring_to_front(&mut self) {
        let session = &self.session;
        let now = Seen {
            document: session.documents.active().map(|d| d.id),
            pictures: session.pictures.clone(),
            checkpoint: session.checkpoint.clone(),
            annotations: session.annotations.clone(),
            runs: session.runs_opened,
        };
        // what was opened together is looked at together
        if now == self.seen || session.is_opening() {
            return;
        }
        // what is shown rather than what stands before it
        let news = [
            (
                now.document != self.seen.document && now.document.is_some(),
                Shows::Config,
                "configs",
            ),
            (
                now.checkpoint != self.seen.checkpoint,
                Shows::Checkpoint,
                "checkpoints",
            ),
            (
                now.annotations != self.seen.annotations,
                Shows::Annotations,
                "annotations",
            ),
            (
                now.pictures != self.seen.pictures,
                Shows::Pictures,
                "pictures",
            ),
            (now.runs != self.seen.runs, Shows::Run, "runs"),
        ];
        let was = self.front;
        for (_, what, name) in news.into_iter().filter(|(new, ..)| *new) {
            if self.views[was].takes(what) {
                continue;
            }
            match views::for_what(what) {
                Some(view) => self.front = view,
                None => self.session.tell(
                    messages::Level::Warning,
                    format!("the window has no view for {name} yet: `smalti --help` lists the commands that take them"),
                ),
            }
        }
        self.seen = now;
    }

    fn take_drops(&mut self, ctx: &egui::Context) {
        let dropped = ctx.input(|i| i.raw.dropped_files.clone());
        for path in dropped.into_iter().map(|file| file.path().to_owned()) {
            self.session.open(&mut self.jobs, &path);
        }
    }

    fn run_commands(&mut self, ctx: &egui::Context) {
        while let Some(command) = self.session.commands.pop_front() {
            self.run(ctx, command);
        }
    }

    fn run(&mut self, ctx: &egui::Context, command: Command) {
        let (session, jobs) = (&mut self.session, &mut self.jobs);
        let active = session.documents.active().map(|d| d.id);
        match (command, active) {
            (Command::View(i), _) if i < VIEWS.len() => self.front = i,
            (Command::View(_), _) => {}
            (Command::Palette, _) => self.frame.palette.open(),
            (Command::Settings, _) => self.frame.settings.toggle(),
            (Command::Messages, _) => self.frame.toasts.toggle(),
            (Command::Open, _) => {
                session.ask_to_open(jobs, Question::Files("Open configs, pictures, checkpoints"))
            }
            (Command::OpenFolder, _) => {
                session.ask_to_open(jobs, Question::Folder("Open a folder"))
            }
            (Command::Demo, _) => {
                if let Some(view) = views::for_what(Shows::Pictures) {
                    self.front = view;
                    self.views[view].command(Command::Demo, session, jobs);
                }
            }
            (Command::New, _) => self.front = views::for_what(Shows::Nothing).unwrap_or(self.front),
            (Command::Save, Some(id)) => session.save(jobs, id, false),
            (Command::SaveAs, Some(id)) => session.save(jobs, id, true),
            (Command::Link, Some(id)) => {
                if session.copy_link(id) {
                    session.tell(messages::Level::Note, "the link is copied");
                }
            }
            (Command::Close, Some(id)) => session.close_document(id),
            (Command::Undo, _) => {
                if !session.documents.undo() {
                    session.tell(messages::Level::Note, "nothing to take back");
                }
            }
            (Command::Redo, _) => {
                if !session.documents.redo() {
                    session.tell(messages::Level::Note, "nothing to do again");
                }
            }
            (Command::Resume, _) => {
                session.resume_left(jobs, 0);
                self.front = views::for_what(Shows::Run).unwrap_or(self.front);
            }
            (Command::Back, _) => session.visit(jobs, -1),
            (Command::Forward, _) => session.visit(jobs, 1),
            (Command::Inspector, _) => session.settings.inspector = !session.settings.inspector,
            (Command::Problems, _) => session.settings.problems = !session.settings.problems,
            (Command::NextRegion, _) => self.frame.next_region(ctx, 1),
            (Command::PreviousRegion, _) => self.frame.next_region(ctx, -1),
            (other, _) => {
                if !self.views[self.front].command(other, session, jobs) {
                    // a config's commands are for the config that is open, whatever is in front
                    if let Some(view) = views::for_what(Shows::Config).filter(|_| active.is_some())
                    {
                        self.front = view;
                        self.views[view].command(other, session, jobs);
                    }
                }
            }
        }
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.show(ui);
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn on_exit(&mut self) {
        // edits that are not saved are there again at the next start
        self.session.close();
    }
}
