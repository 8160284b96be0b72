//! The annotation file that is open, and what it knows of the picture in front: read away from the window's thread.

use std::path::PathBuf;
use std::sync::Arc;

use super::item::Item;
use super::pane::At;
use super::truth::{Annotations, Object};
use crate::window::files::short;
use crate::window::host::Host;
use crate::window::jobs::{Job, Jobs, Newest};
use crate::window::session::Session;

struct Question {
    annotations: Arc<Annotations>,
    host: Arc<dyn Host>,
    item: Item,
    classes: Vec<String>,
    of: Of,
}

/// Of which file and which picture, for which detector's classes.
type Of = (usize, At, u64);

type Read = Result<Option<Vec<Object>>, String>;

/// What is known.
pub struct Known {
    path: Option<PathBuf>,
    reading: Option<Job<Result<Annotations, String>>>,
    annotations: Option<Arc<Annotations>>,
    failed: Option<String>,
    asks: Newest<Question, (Of, Read)>,
    asked: Option<Of>,
    objects: Option<(Of, Read)>,
    version: usize,
}

impl Default for Known {
    fn default() -> Self {
        let work = |q: Question, _: &_| (q.of, q.annotations.of(&q.host, &q.item, &q.classes));
        Self {
            path: None,
            reading: None,
            annotations: None,
            failed: None,
            asks: Newest::new("reading ground truth", work),
            asked: None,
            objects: None,
            version: 0,
        }
    }
}

impl Known {
    /// Follows the file that is open.
    pub fn tick(&mut self, session: &Session, jobs: &mut Jobs) {
        if self.path != session.annotations {
            *self = Self {
                path: session.annotations.clone(),
                version: self.version + 1,
                ..Self::default()
            };
            if let Some(path) = self.path.clone() {
                let host = session.host.clone();
                let name = format!("reading {}", short(&path));
                self.reading = Some(jobs.start(&name, move |_| Annotations::read(&*host, &path)));
            }
        }
        if let Some(read) = self.reading.as_ref().and_then(Job::poll) {
            self.reading = None;
            match read.and_then(|r| r) {
                Ok(annotations) => self.annotations = Some(Arc::new(annotations)),
                Err(why) => self.failed = Some(why),
            }
        }
        match self.asks.poll(jobs) {
            Some(Ok((of, read))) if self.asked == Some(of) => {
                self.version += 1;
                self.objects = Some((of, read));
            }
            Some(Err(why)) => self.failed = Some(why),
            _ => {}
        }
    }

    /// Reads what is known of a picture.
    pub fn ask(
        &mut self,
        session: &Session,
        jobs: &mut Jobs,
        at: At,
        item: &Item,
        (detector, classes): (u64, &[String]),
    ) {
        let Some(annotations) = &self.annotations else {
            return;
        };
        let of = (Arc::as_ptr(annotations) as usize, at, detector);
        if self.asked == Some(of) {
            return;
        }
        self.asked = Some(of);
        self.asks.ask(
            jobs,
            Question {
                annotations: annotations.clone(),
                host: session.host.clone(),
                item: item.clone(),
                classes: classes.to_vec(),
                of,
            },
        );
    }

    /// The objects of a picture, with a number that other objects do not have. None while they are read, and of a picture that the file does
    /// not list.
    pub fn objects(&self, at: At) -> Option<(&[Object], usize)> {
        match &self.objects {
            Some(((_, of, _), Ok(Some(objects)))) if *of == at => Some((objects, self.version)),
            _ => None,
        }
    }

    /// What to say of a picture without objects: the file does not list it, or cannot be read.
    pub fn without(&self, at: At) -> Option<String> {
        let name = short(self.path.as_deref()?);
        if let Some(why) = &self.failed {
            return Some(format!("{name} cannot be read: {why}"));
        }
        match &self.objects {
            Some(((_, of, _), Ok(None))) if *of == at => {
                Some(format!("{name} does not list this picture"))
            }
            Some(((_, of, _), Err(why))) if *of == at => {
                Some(format!("{name} cannot be used for this picture: {why}"))
            }
            _ => None,
        }
    }

    /// The file.
    pub fn annotations(&self) -> Option<&Arc<Annotations>> {
        self.annotations.as_ref()
    }
}
