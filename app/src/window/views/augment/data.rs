//! Which data is in view: the train data set of the config in front, or a file of annotations that was dropped; read away from the window's
//! thread, and again only where what is read changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use smalti::config::{Diagnostic, value_to_py};

use super::edits::Edits;
use super::missing;
use super::opened::{Missing, Opened, Source, pictures_of};
use crate::window::document::Kind;
use crate::window::files::short;
use crate::window::host::Question;
use crate::window::jobs::{Job, Jobs};
use crate::window::messages::Level;
use crate::window::session::Session;

/// The data in view.
#[derive(Default)]
pub struct Data {
    /// Its config as it is now, with what is being dragged in it.
    pub source: Option<Arc<Source>>,
    /// Counts changes of the source.
    pub number: u64,
    /// The text has errors: the source is that of the last text without.
    pub is_stale: bool,
    /// The dropped annotations are shown, not the config's data.
    pub is_dropped: bool,
    /// What was read, or why it was not.
    pub opened: Option<Result<Arc<Opened>, Trouble>>,
    of: Option<State>,
    text: String,
    to_read: String,
    reading: Option<Job<Result<Opened, Trouble>>>,
    pictures: Option<(PathBuf, PathBuf)>,
    looking: Option<(PathBuf, Job<PathBuf>)>,
    choosing: Option<Job<Answer>>,
}

/// What the source was made of: the analysis, edits on their way, the dropped file.
type State = (usize, u64, Option<PathBuf>);

/// A folder with the annotation file below it, why not, or nothing chosen.
type Answer = Option<Result<(PathBuf, String), String>>;

/// Why there is no data.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The annotation file is not there.
    Missing(Missing),
    /// The config or the annotations are wrong.
    Wrong(Vec<Diagnostic>),
    /// A fault of this program.
    Fault(String),
}

impl Data {
    /// Follows the config in front and what was dropped.
    pub fn tick(&mut self, session: &mut Session, jobs: &mut Jobs, edits: &mut Edits) {
        self.find_pictures(session, jobs);
        self.follow(session, edits);
        self.take_folder(session, edits);
        if let Some(read) = self.reading.as_ref().and_then(Job::poll) {
            self.reading = None;
            self.opened = Some(match read {
                Ok(Ok(opened)) => Ok(Arc::new(opened)),
                Ok(Err(trouble)) => Err(trouble),
                Err(why) => Err(Trouble::Fault(why)),
            });
            self.number += 1;
        }
        let Some(source) = self.source.clone() else {
            (self.opened, self.reading) = (None, None);
            self.to_read.clear();
            return;
        };
        let to_read = source.to_read();
        if to_read != self.to_read {
            self.to_read = to_read;
            self.read(session, jobs, source);
        }
    }

    fn read(&mut self, session: &Session, jobs: &mut Jobs, source: Arc<Source>) {
        let host = session.host.clone();
        self.reading = Some(jobs.start("reading the train data", move |_| {
            if let Some(missing) = source.missing(&*host) {
                return Err(Trouble::Missing(missing));
            }
            Opened::read(&source, host).map_err(Trouble::Wrong)
        }));
    }

    /// Reads again, though nothing in the config changed.
    pub fn retry(&mut self) {
        self.to_read.clear();
        self.opened = None;
    }

    /// Where the pictures of a dropped file are.
    fn find_pictures(&mut self, session: &Session, jobs: &mut Jobs) {
        if let Some(found) = self.looking.as_ref().and_then(|(_, job)| job.poll())
            && let Some((file, _)) = self.looking.take()
        {
            let folder = file.parent().unwrap_or(Path::new("")).to_owned();
            self.pictures = Some((file, found.unwrap_or(folder)));
        }
        let Some(file) = &session.annotations else {
            return;
        };
        let known = self.pictures.as_ref().is_some_and(|(of, _)| of == file)
            || self.looking.as_ref().is_some_and(|(of, _)| of == file);
        if !known {
            let (host, path) = (session.host.clone(), file.clone());
            let name = format!("looking for the pictures of {}", short(file));
            let job = jobs.start(&name, move |_| pictures_of(&*host, &path));
            self.looking = Some((file.clone(), job));
        }
    }

    fn follow(&mut self, session: &Session, edits: &Edits) {
        let analysis = session.analysis.as_ref();
        let config = analysis.and_then(|a| a.config.as_ref());
        self.is_stale = analysis.is_some() && config.is_none();
        if self.is_stale && self.source.is_some() {
            return;
        }
        let own = config.and_then(Source::of);
        let dropped = self.pictures.clone().filter(|(file, _)| {
            session.annotations.as_ref() == Some(file) && (self.is_dropped || own.is_none())
        });
        let state = (
            analysis.map_or(0, |a| Arc::as_ptr(a) as usize),
            edits.number,
            dropped.as_ref().map(|(file, _)| file.clone()),
        );
        if self.of.as_ref() == Some(&state) {
            return;
        }
        self.of = Some(state);
        let source = match &dropped {
            Some((file, pictures)) => Some(Source::of_annotations(config, file, pictures)),
            None => own,
        };
        let source = source.map(|mut source| {
            if let Some(root) = &source.path {
                source.node = edits.over(&source.node, root);
            }
            source
        });
        let text = source
            .as_ref()
            .map(|s| value_to_py(&s.node))
            .unwrap_or_default();
        if text != self.text || source.is_none() != self.source.is_none() {
            self.number += 1;
            self.text = text;
        }
        self.source = source.map(Arc::new);
    }

    /// Asks for the folder in which the data is.
    pub fn choose(&mut self, session: &Session, jobs: &mut Jobs, missing: &Missing) {
        let (host, ann_file) = (session.host.clone(), missing.ann_file.clone());
        self.choosing = Some(jobs.asking(async move |_| {
            let question = Question::Folder("The folder of the train data");
            let folder = host.ask(&question).await.into_iter().next()?;
            let found = missing::found(&*host, &folder, &ann_file);
            Some(found.ok_or_else(|| format!("{} has no {ann_file}", folder.display())))
        }));
    }

    fn take_folder(&mut self, session: &mut Session, edits: &mut Edits) {
        let Some(answer) = self.choosing.as_ref().and_then(Job::poll) else {
            return;
        };
        self.choosing = None;
        let missing = match &self.opened {
            Some(Err(Trouble::Missing(missing))) => missing.clone(),
            _ => return,
        };
        let root = self.source.as_ref().and_then(|s| s.path.clone());
        match answer {
            Ok(Some(Ok(found))) => {
                let config = session.analysis.as_ref().and_then(|a| a.config.as_ref());
                if let (Some(config), Some(root)) = (config, root) {
                    for (path, new) in missing::edits(config, &root, &missing, &found) {
                        edits.change(&path, &new, Kind::Step);
                    }
                }
            }
            Ok(Some(Err(why))) | Err(why) => session.tell(Level::Warning, why),
            Ok(None) => {}
        }
    }
}
