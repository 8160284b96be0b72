//! Edits that are not saved yet, kept aside: a second after each they are on disk, and a window that starts finds those of one that was
//! killed. Each window has a folder of its own in the data folder, which is its own as long as it lives.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::document::{Document, DocumentId};
use super::host::Host;
use super::jobs::{Job, Jobs};

/// One text with edits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unsaved {
    /// Where it is to be saved.
    pub path: PathBuf,
    /// Whether it has a place on disk.
    pub placed: bool,
    /// The text.
    pub text: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// The journal of one window.
pub struct Journal {
    host: Arc<dyn Host>,
    folder: PathBuf,
    own: Option<Box<dyn Any + Send + Sync>>,
    /// The version of each document that is in the journal, or on its way there.
    kept: Vec<(DocumentId, u64)>,
    /// When the texts were last seen to change.
    changed: Option<(Vec<(DocumentId, u64)>, Duration)>,
    writes: Option<Job<Result<(), String>>>,
    /// Folders of windows that are no more, whose edits are open here.
    inherits: Vec<PathBuf>,
}

/// Quiet time after an edit.
const WAIT: Duration = Duration::from_secs(1);
const FILE: &str = "unsaved.json";

impl Journal {
    /// Takes a folder for this window, and what windows that are no more left behind.
    pub fn open(host: Arc<dyn Host>) -> (Self, Vec<Unsaved>) {
        let all = host.data().join("unsaved");
        let (mut left, mut inherits) = (Vec::new(), Vec::new());
        for folder in host.list(&all) {
            let Some(own) = host.claim(&folder) else {
                continue;
            };
            if let Ok(bytes) = host.read(&folder.join(FILE)) {
                left.extend(serde_json::from_slice::<Vec<Unsaved>>(&bytes).unwrap_or_default());
            }
            drop(own);
            inherits.push(folder);
        }
        let stamp = host.now();
        let folder = all.join(format!("{}-{:09}", stamp.as_secs(), stamp.subsec_nanos()));
        let own = host.claim(&folder);
        (
            Self {
                host,
                folder,
                own,
                kept: Vec::new(),
                changed: None,
                writes: None,
                inherits,
            },
            left,
        )
    }

    /// Writes what changed, a second after the last edit. Gives the time until it wants to be asked again, and an error of writing.
    pub fn tick<'d>(
        &mut self,
        jobs: &mut Jobs,
        documents: impl Iterator<Item = &'d Document>,
    ) -> (Option<Duration>, Option<String>) {
        let failed = match self.writes.as_ref().and_then(Job::poll) {
            Some(result) => {
                self.writes = None;
                result.and_then(|r| r).err()
            }
            None => None,
        };
        if failed.is_some() {
            self.kept.clear();
            self.changed = None;
        }
        let modified: Vec<&Document> = documents.filter(|d| d.is_modified()).collect();
        let state: Vec<(DocumentId, u64)> = modified.iter().map(|d| (d.id, d.version)).collect();
        if state == self.kept {
            self.changed = None;
            if self.writes.is_none() && failed.is_none() {
                // what others left is in this window's journal by now, or was not needed
                self.inherits
                    .drain(..)
                    .for_each(|folder| self.host.remove(&folder));
            }
            return (None, failed);
        }
        let now = self.host.now();
        let since = match &self.changed {
            Some((same, since)) if *same == state => *since,
            _ => {
                self.changed = Some((state, now));
                return (Some(WAIT), failed);
            }
        };
        let waited = now.saturating_sub(since);
        if waited < WAIT || self.writes.is_some() {
            return (
                Some(WAIT.saturating_sub(waited).max(Duration::from_millis(50))),
                failed,
            );
        }
        self.write(jobs, &modified, now);
        self.kept = state;
        (None, failed)
    }

    fn write(&mut self, jobs: &mut Jobs, modified: &[&Document], now: Duration) {
        let (host, path, all) = (
            self.host.clone(),
            self.folder.join(FILE),
            unsaved(modified, now),
        );
        self.writes =
            Some(jobs.quietly("keeping unsaved edits", move |_| put(&*host, &path, &all)));
    }

    /// The window ends: what is not saved stays for the next one.
    pub fn close<'d>(&mut self, documents: impl Iterator<Item = &'d Document>) {
        let modified: Vec<&Document> = documents.filter(|d| d.is_modified()).collect();
        if modified.is_empty() {
            self.own = None;
            self.host.remove(&self.folder);
        } else {
            let all = unsaved(&modified, self.host.now());
            // nobody is left to be told
            let _ = put(&*self.host, &self.folder.join(FILE), &all);
            self.own = None;
        }
    }
}

fn unsaved(modified: &[&Document], now: Duration) -> Vec<Unsaved> {
    let of = |d: &&Document| Unsaved {
        path: d.path.clone(),
        placed: d.placed,
        text: d.text().to_owned(),
        at: now.as_secs(),
    };
    modified.iter().map(of).collect()
}

fn put(host: &dyn Host, path: &Path, all: &[Unsaved]) -> Result<(), String> {
    if all.is_empty() {
        host.remove(path);
        return Ok(());
    }
    let text = serde_json::to_vec(all).map_err(|e| e.to_string())?;
    host.write(path, &text)
}
