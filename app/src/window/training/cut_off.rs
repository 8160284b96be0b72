//! Which run is under way, on disk: where the window is killed, the next one knows what was cut off, and can go on.

use std::any::Any;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::work::{Last, last};
use super::{Begin, Order};
use crate::window::host::Host;

/// What is known of a run that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// What is trained.
    pub order: Order,
    /// Seconds since 1970.
    pub at: u64,
    /// Epochs that were done.
    pub epoch: u64,
    /// Iterations that were done.
    pub iter: u64,
    /// Whether the run counts epochs.
    pub by_epoch: bool,
}

/// A note that stays until the run ends. Its folder is this window's own.
pub struct Kept {
    host: Arc<dyn Host>,
    folder: PathBuf,
    own: RefCell<Option<Box<dyn Any + Send + Sync>>>,
}

/// A run of a window that is no more.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    folder: PathBuf,
    /// What is known of it.
    pub note: Note,
    /// From where it can go on.
    pub last: Option<Last>,
}

const FILE: &str = "run.json";

fn all(host: &dyn Host) -> PathBuf {
    host.data().join("runs")
}

impl Kept {
    /// Begins a note.
    pub fn begin(host: Arc<dyn Host>) -> Self {
        let stamp = host.now();
        let name = format!("{}-{:09}", stamp.as_secs(), stamp.subsec_nanos());
        let folder = all(&*host).join(name);
        let own = RefCell::new(host.claim(&folder));
        Self { host, folder, own }
    }

    /// Writes where the run is.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(&self, note: &Note) -> Result<(), String> {
        let text = serde_json::to_vec(note).map_err(|e| e.to_string())?;
        self.host.write(&self.folder.join(FILE), &text)
    }

    /// The run ended in a way that somebody was told of.
    pub fn end(&self) {
        self.own.replace(None);
        self.host.remove(&self.folder);
    }

    /// The time, seconds since 1970.
    pub fn now(&self) -> u64 {
        self.host.now().as_secs()
    }
}

/// What windows that are no more were training.
pub fn left(host: &dyn Host) -> Vec<Left> {
    let mut all_left = Vec::new();
    for folder in host.list(&all(host)) {
        // a window that lives has it
        let Some(own) = host.claim(&folder) else {
            continue;
        };
        let bytes = host.read(&folder.join(FILE)).unwrap_or_default();
        drop(own);
        match serde_json::from_slice::<Note>(&bytes) {
            Ok(note) => {
                let last = last(host, &note.order.work_dir);
                all_left.push(Left { folder, note, last });
            }
            // it had hardly begun
            Err(_) => host.remove(&folder),
        }
    }
    all_left
}

impl Left {
    /// What was cut off, and when.
    pub fn title(&self, now: u64) -> String {
        let Note { epoch, iter, .. } = self.note;
        let name = crate::window::files::short(&self.note.order.config);
        let ago = crate::window::widgets::ago(now.saturating_sub(self.note.at));
        let place = if self.note.by_epoch {
            format!("epoch {}, iteration {iter}", epoch + 1)
        } else {
            format!("iteration {iter}")
        };
        format!("The training of {name} was cut off {ago}, at {place}")
    }

    /// How it goes on.
    pub fn order(&self) -> Order {
        let begin = match &self.last {
            Some(last) => Begin::At(last.path.clone()),
            None => Begin::Anew,
        };
        Order {
            begin,
            ..self.note.order.clone()
        }
    }

    /// Where its note is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
