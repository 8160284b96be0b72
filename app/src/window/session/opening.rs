//! Opening files: what each is is seen from its content, away from the window's thread.

use std::path::Path;
use std::sync::Arc;

use super::{Ask, Session};
use crate::window::files::{self, Opened};
use crate::window::host;
use crate::window::jobs::Jobs;
use crate::window::messages::Level;

impl Session {
    /// Opens a file or folder of any kind: what it is is seen from its content.
    pub fn open(&mut self, jobs: &mut Jobs, path: &Path) {
        self.open_at(jobs, path, None);
    }

    pub(super) fn open_at(
        &mut self,
        jobs: &mut Jobs,
        path: &Path,
        reveal: Option<std::ops::Range<usize>>,
    ) {
        let path = self.host.absolute(path);
        if let Some(open) = self.documents.at(&path) {
            let id = open.id;
            self.documents.activate(id);
            if let (Some(range), Some(document)) = (reveal, self.documents.get_mut(id)) {
                document.reveal = Some(range);
            }
            return;
        }
        let host = self.host.clone();
        let job = jobs.start(&format!("opening {}", files::short(&path)), move |_| {
            files::open(&*host, &path)
        });
        self.opening.push((job, reveal));
    }

    /// Asks for files or a folder and opens them.
    pub fn ask_to_open(&mut self, jobs: &mut Jobs, question: host::Question) {
        let host = self.host.clone();
        self.asking = Some((
            Ask::Open,
            jobs.asking(async move |_| host.ask(&question).await),
        ));
    }

    pub(super) fn take_opened(&mut self) {
        let mut opened = Vec::new();
        self.opening.retain(|(job, reveal)| match job.poll() {
            Some(result) => {
                opened.push((result, reveal.clone()));
                false
            }
            None => true,
        });
        for (result, reveal) in opened {
            match result {
                Ok(Opened::Text { path, text }) => {
                    self.settings.opened(&path);
                    let id = self.documents.open(path, text, true);
                    if let Some(document) = self.documents.get_mut(id) {
                        document.reveal = Some(reveal.unwrap_or(0..0));
                    }
                }
                Ok(Opened::Pictures { path, pictures }) => {
                    self.settings.opened(&path);
                    self.pictures = Arc::new(pictures);
                }
                Ok(Opened::Checkpoint(path)) => {
                    self.settings.opened(&path);
                    if self.checkpoint.as_ref() != Some(&path) {
                        // the prefix was another file's
                        self.prefix = None;
                    }
                    self.checkpoint = Some(path);
                }
                Ok(Opened::Annotations(path)) => {
                    self.settings.opened(&path);
                    self.annotations = Some(path);
                }
                Ok(Opened::Run { folder, logs }) => {
                    self.settings.opened(&folder);
                    // the one that was opened last comes last, and is another list than before
                    self.runs.retain(|run| *run != folder);
                    self.runs.push(folder);
                    self.runs_opened += 1;
                    self.logs.extend(logs);
                    self.logs.sort();
                    self.logs.dedup();
                }
                Ok(Opened::Nothing(why)) | Err(why) => self.tell(Level::Error, why),
            }
        }
    }

    pub(super) fn take_answers(&mut self, jobs: &mut Jobs) {
        let Some(paths) = self.asking.as_ref().and_then(|(_, job)| job.poll()) else {
            return;
        };
        let Some((ask, _)) = self.asking.take() else {
            return;
        };
        match (ask, paths) {
            (_, Err(why)) => self.tell(Level::Error, why),
            (Ask::Open, Ok(paths)) => paths.iter().for_each(|path| self.open(jobs, path)),
            (Ask::SaveAs(id), Ok(paths)) => {
                let text = self.documents.get(id).map(|d| d.text().to_owned());
                if let (Some(path), Some(text)) = (paths.into_iter().next(), text) {
                    let path = self.host.absolute(&path);
                    self.write(jobs, id, path, text);
                }
            }
        }
    }
}
