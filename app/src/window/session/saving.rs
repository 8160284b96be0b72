//! Saving and closing texts, and having back what was not saved.

use std::path::PathBuf;

use super::{Ask, Saved, Session};
use crate::window::document::{DocumentId, Kind};
use crate::window::files;
use crate::window::host;
use crate::window::jobs::Jobs;
use crate::window::journal::Unsaved;
use crate::window::messages::{Level, Offer};

impl Session {
    /// Saves a document; asks where if it has no place, or is to get another.
    pub fn save(&mut self, jobs: &mut Jobs, id: DocumentId, elsewhere: bool) {
        let Some(document) = self.documents.get(id) else {
            return;
        };
        if document.placed && !elsewhere {
            let (path, text) = (document.path.clone(), document.text().to_owned());
            self.write(jobs, id, path, text);
        } else {
            let (host, question) = (
                self.host.clone(),
                host::Question::Save(document.path.clone()),
            );
            self.asking = Some((
                Ask::SaveAs(id),
                jobs.asking(async move |_| host.ask(&question).await),
            ));
        }
    }

    /// Writes a text as a document's file.
    pub fn write(&mut self, jobs: &mut Jobs, document: DocumentId, path: PathBuf, text: String) {
        let host = self.host.clone();
        self.saving.push(
            jobs.start(&format!("saving {}", files::short(&path)), move |_| {
                let failed = host.write(&path, text.as_bytes()).err();
                Saved {
                    document,
                    path,
                    text,
                    failed,
                }
            }),
        );
    }

    pub(super) fn take_saved(&mut self) {
        let mut done = Vec::new();
        self.saving.retain(|job| match job.poll() {
            Some(result) => {
                done.push(result);
                false
            }
            None => true,
        });
        for saved in done {
            match saved {
                Ok(Saved {
                    path,
                    failed: Some(why),
                    ..
                }) => {
                    self.tell(
                        Level::Error,
                        format!(
                            "{} could not be saved: {why}. Save it under another name",
                            path.display()
                        ),
                    );
                }
                Ok(saved) => {
                    self.settings.opened(&saved.path);
                    self.tell(Level::Note, format!("saved {}", files::short(&saved.path)));
                    if let Some(document) = self.documents.get_mut(saved.document) {
                        document.path = saved.path;
                        document.placed = true;
                        document.saved = saved.text;
                        document.elsewhere = None;
                    }
                }
                Err(why) => self.tell(Level::Error, why),
            }
        }
    }

    /// Closes a document. What is not saved can be had back from the message.
    pub fn close_document(&mut self, id: DocumentId) {
        let Some(document) = self.documents.get(id) else {
            return;
        };
        if document.is_modified() {
            self.closed.push(Unsaved {
                path: document.path.clone(),
                placed: document.placed,
                text: document.text().to_owned(),
                at: self.host.now().as_secs(),
            });
            let name = document.name();
            self.tell(
                Level::Warning,
                format!("{name} was closed with unsaved edits"),
            );
            self.messages.offer(Offer::Reopen);
        }
        self.documents.close(id);
    }

    /// Opens again what was closed last with edits.
    pub fn reopen(&mut self) {
        if let Some(unsaved) = self.closed.pop() {
            self.restore(vec![unsaved]);
            self.restored.clear();
        }
    }

    pub(super) fn restore(&mut self, left: Vec<Unsaved>) {
        for unsaved in left {
            let on_disk = match unsaved.placed {
                true => self
                    .host
                    .read(&unsaved.path)
                    .ok()
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                false => None,
            };
            if on_disk.as_deref() == Some(&unsaved.text) {
                continue;
            }
            let placed = on_disk.is_some();
            let id = self
                .documents
                .open(unsaved.path.clone(), on_disk.unwrap_or_default(), placed);
            self.documents
                .replace(id, &unsaved.text, Kind::Step, self.host.now());
            self.restored.push(unsaved);
        }
    }

    /// Throws away what was restored: texts are as on disk again.
    pub fn discard_restored(&mut self) {
        for unsaved in std::mem::take(&mut self.restored) {
            let Some(document) = self.documents.at(&unsaved.path) else {
                continue;
            };
            let (id, placed, saved) = (document.id, document.placed, document.saved.clone());
            if placed {
                self.documents
                    .replace(id, &saved, Kind::Step, self.host.now());
            } else {
                self.close_document(id);
            }
        }
    }
}
