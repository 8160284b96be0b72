//! Files that other programs change: open texts, their bases, logs of runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use eframe::egui;

use super::{Seen, Session};
use crate::window::document::{DocumentId, Kind};
use crate::window::files;
use crate::window::jobs::{Job, Jobs};
use crate::window::messages::{Level, Offer};

/// Least time between looks at files that change.
const OFTEN: Duration = Duration::from_millis(200);

impl Session {
    /// Watches the folders of open texts and their bases, and looks at the files when something changed there or the window comes to the front.
    pub(super) fn look_at_disk(&mut self, jobs: &mut Jobs, ctx: &egui::Context) {
        let mut folders: Vec<PathBuf> = self
            .documents
            .iter()
            .filter(|d| d.placed)
            .filter_map(|d| d.path.parent().map(Path::to_owned))
            .collect();
        let bases = self
            .analysis
            .iter()
            .filter_map(|a| a.config.as_ref())
            .flat_map(|c| c.files());
        folders.extend(bases.filter_map(|file| Path::new(file).parent().map(Path::to_owned)));
        // of runs: new lines of a log, and a new beginning
        self.logs
            .retain(|log| self.runs.iter().any(|run| log.starts_with(run)));
        folders.extend(self.runs.iter().cloned());
        folders.extend(
            self.logs
                .iter()
                .filter_map(|log| log.parent().map(Path::to_owned)),
        );
        folders.sort();
        folders.dedup();
        folders.retain(|folder| folder.is_absolute());
        if folders != self.watched {
            let (changed, ctx) = (self.changed.clone(), ctx.clone());
            self.host.watch(
                &folders,
                Box::new(move || {
                    changed.store(true, Ordering::Relaxed);
                    // a file that is written all the time is no reason to paint all the time
                    ctx.request_repaint_after(OFTEN);
                }),
            );
            self.watched = folders;
        }
        let focused = ctx.input(|i| i.viewport().focused.unwrap_or(true));
        let came = focused && !self.focused;
        self.focused = focused;
        if came {
            self.changed.store(true, Ordering::Relaxed);
        }
        if let Some(seen) = self.looking.as_ref().and_then(Job::poll) {
            self.looking = None;
            self.seen(seen.unwrap_or_default());
        }
        if self.looking.is_none() && self.changed.swap(false, Ordering::Relaxed) {
            self.changes += 1;
            let host = self.host.clone();
            let paths: Vec<PathBuf> = self
                .documents
                .iter()
                .filter(|d| d.placed)
                .map(|d| d.path.clone())
                .collect();
            self.looking = Some(jobs.quietly("looking at changed files", move |_| {
                let read = |path: PathBuf| {
                    let text = host.read(&path).ok().map(files::text_of);
                    (path, text)
                };
                paths.into_iter().map(read).collect()
            }));
        }
    }

    pub(super) fn seen(&mut self, seen: Seen) {
        // a base that is not open may have changed too
        self.asked = None;
        for (path, text) in seen {
            let Some(document) = self.documents.at(&path) else {
                continue;
            };
            let (id, name) = (document.id, document.name());
            let Some(text) = text else {
                if document.elsewhere.is_none() && !document.saved.is_empty() {
                    self.tell(
                        Level::Warning,
                        format!("{name} is not on disk any more: save it to have it there again"),
                    );
                    if let Some(document) = self.documents.get_mut(id) {
                        document.saved = String::new();
                    }
                }
                continue;
            };
            let (modified, same) = (
                document.is_modified(),
                text == document.saved || text == document.text(),
            );
            if same {
                if let Some(document) = self.documents.get_mut(id) {
                    document.saved = text;
                    document.elsewhere = None;
                }
            } else if modified {
                if let Some(document) = self.documents.get_mut(id) {
                    document.elsewhere = Some(text);
                }
            } else {
                self.documents
                    .replace(id, &text, Kind::Step, self.host.now());
                if let Some(document) = self.documents.get_mut(id) {
                    document.saved = text;
                }
                self.tell(
                    Level::Note,
                    format!("{name} was changed on disk and is loaded again"),
                );
                self.messages.offer(Offer::Undo);
            }
        }
    }

    /// What to do where a file on disk changed beside edits: take it, or keep the edits.
    pub fn settle(&mut self, id: DocumentId, load: bool) {
        let now = self.host.now();
        let Some(text) = self.documents.get_mut(id).and_then(|d| d.elsewhere.take()) else {
            return;
        };
        if load {
            self.documents.replace(id, &text, Kind::Step, now);
        }
        if let Some(document) = self.documents.get_mut(id) {
            document.saved = text;
        }
    }

    /// The other text of a document that changed on disk beside edits, as a document of its own.
    pub fn compare_on_disk(&mut self, path: &Path) {
        let Some(document) = self.documents.at(path) else {
            return;
        };
        if let Some(text) = document.elsewhere.clone() {
            let name = format!(
                "{} (on disk).py",
                document.path.with_extension("").display()
            );
            self.create(&name, &text);
        }
    }
}
