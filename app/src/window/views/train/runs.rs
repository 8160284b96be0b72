//! Whose curves are shown: the run of this window, and runs whose folders are open, each with its colour and dash.

use std::path::{Path, PathBuf};

use eframe::egui::{RichText, Ui};

use super::curves::{self, Drawn};
use crate::window::files::short;
use crate::window::icons;
use crate::window::jobs::{Job, Jobs};
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::training::log::{self, RunLog};
use crate::window::training::looked::Looked;
use crate::window::widgets::{self, middle};

/// Runs whose folders are open.
#[derive(Default)]
pub struct Runs {
    open: Vec<OpenRun>,
    opened: usize,
    /// What was seen to change on disk when logs were read last.
    changes: u64,
    /// Folders whose curves are not shown.
    hidden: Vec<PathBuf>,
    /// Runs that were opened so far.
    count: u64,
}

/// Numbers of runs from here on are those of folders, which no run of the window has.
const FIRST: u64 = 1 << 32;

/// What is in a run's folder.
type Read = (Result<RunLog, String>, Option<Looked>);

struct OpenRun {
    folder: PathBuf,
    id: u64,
    log: Option<Result<RunLog, String>>,
    /// What its weights found, if the window trained it.
    looked: Option<Looked>,
    job: Option<Job<Read>>,
    /// Whether it is to be read again.
    changed: bool,
}

impl Runs {
    /// Reads what was opened. True if something was opened since.
    pub fn follow(&mut self, session: &Session, jobs: &mut Jobs) -> bool {
        self.open.retain(|run| session.runs.contains(&run.folder));
        for folder in &session.runs {
            if !self.open.iter().any(|run| run.folder == *folder) {
                self.count += 1;
                self.open.push(OpenRun {
                    folder: folder.clone(),
                    id: FIRST + self.count,
                    log: None,
                    looked: None,
                    job: None,
                    changed: false,
                });
            }
        }
        let news = session.runs_opened != self.opened;
        let changed = news || session.changes != self.changes;
        (self.opened, self.changes) = (session.runs_opened, session.changes);
        for run in &mut self.open {
            if let Some(read) = run.job.as_ref().and_then(Job::poll) {
                run.job = None;
                match read {
                    Ok((log, looked)) => (run.log, run.looked) = (Some(log), looked),
                    Err(why) => run.log = Some(Err(why)),
                }
            }
            run.changed |= changed;
            if run.job.is_none() && (run.log.is_none() || run.changed) {
                run.changed = false;
                let (host, folder) = (session.host.clone(), run.folder.clone());
                let name = format!("reading the log of {}", short(&folder));
                run.job = Some(jobs.start(&name, move |_| {
                    (log::read(&*host, &folder), Looked::read(&*host, &folder))
                }));
            }
        }
        news
    }

    /// A row of all runs, and cards of those that cannot be read.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session) {
        let tokens = Tokens::of(ui);
        let mut close: Option<PathBuf> = None;
        for run in &mut self.open {
            let Some(Err(why)) = &run.log else { continue };
            let mut retry = false;
            widgets::card(ui, tokens.error, |ui| {
                let title = format!("The log of {} cannot be read.", short(&run.folder));
                ui.label(RichText::new(title).color(tokens.error));
                ui.label(why);
                ui.horizontal(|ui| {
                    retry = widgets::button(ui, "Retry").clicked();
                    if widgets::button(ui, "Close").clicked() {
                        close = Some(run.folder.clone());
                    }
                });
            });
            if retry {
                run.log = None;
            }
        }
        let shown = self.all(session);
        if !self.open.is_empty() {
            ui.horizontal_wrapped(|ui| {
                for (i, (folder, name)) in shown.iter().enumerate() {
                    curves::swatch(ui, Some(curves::look(tokens, i)));
                    let hidden = self.hidden.contains(folder);
                    let text = RichText::new(middle(name, 28));
                    let hover = format!("{}\nShow or hide its curves", folder.display());
                    let label = ui.selectable_label(!hidden, text).on_hover_text(hover);
                    if label.clicked() {
                        if hidden {
                            self.hidden.retain(|f| f != folder);
                        } else {
                            self.hidden.push(folder.clone());
                        }
                    }
                    let is_open = session.runs.contains(folder);
                    if is_open
                        && widgets::icon_button(ui, icons::CLOSE, &format!("Close {name}"))
                            .clicked()
                    {
                        close = Some(folder.clone());
                    }
                    ui.add_space(8.0);
                }
            });
        }
        if let Some(folder) = close {
            session.runs.retain(|run| *run != folder);
        }
    }

    /// Folders and names of all runs, the one of this window first.
    fn all(&self, session: &Session) -> Vec<(PathBuf, String)> {
        let live = session.training.run.iter();
        let live = live.map(|run| (run.order.work_dir.clone(), "this run".to_owned()));
        let mut all: Vec<(PathBuf, String)> = live.collect();
        for run in &self.open {
            if !all.iter().any(|(folder, _)| *folder == run.folder) {
                all.push((run.folder.clone(), name(&run.folder)));
            }
        }
        all
    }

    /// What the run that was opened last, of those that are shown, found, with its number and its name.
    pub fn looked(&self) -> Option<(u64, String, &Looked)> {
        let shown = self.open.iter().rev();
        let mut shown = shown.filter(|run| !self.hidden.contains(&run.folder));
        shown.find_map(|run| Some((run.id, name(&run.folder), run.looked.as_ref()?)))
    }

    /// The curves of all that are shown.
    pub fn drawn<'s>(&'s self, session: &'s Session, tokens: &Tokens) -> Vec<Drawn<'s>> {
        let all = self.all(session);
        let drawn = all
            .into_iter()
            .enumerate()
            .filter_map(|(i, (folder, name))| {
                let live = session.training.run.as_ref();
                let live = live.filter(|run| run.order.work_dir == folder);
                let log = match live {
                    Some(run) => &run.log,
                    None => {
                        let run = self.open.iter().find(|run| run.folder == folder)?;
                        run.log.as_ref()?.as_ref().ok()?
                    }
                };
                let length = live.and_then(|run| Some(run.head.as_ref()?.length.max_iters));
                Some(Drawn {
                    run: i,
                    name,
                    log,
                    look: curves::look(tokens, i),
                    last: length.unwrap_or(0).max(log.last_iter()),
                    shown: !self.hidden.contains(&folder),
                })
            });
        drawn.filter(|drawn| drawn.shown).collect()
    }
}

/// A run's folder as people name it.
fn name(folder: &Path) -> String {
    short(folder)
}
