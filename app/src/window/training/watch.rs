//! A hook that looks on: figures of every iteration, pictures after every epoch, and the note of where the run is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::Device;
use smalti::detectors::Detector;
use smalti::evaluate::{TestSet, Told};
use smalti::train::hooks::{Figures, Hook, Seen, Step};
use smalti::train::{Run, Stepped, Stop, Validated, Validation};

use super::cut_off::{Kept, Note};
use super::glimpse::{Glimpse, PICTURES, Thing};
use super::looked::Looked;
use super::{News, Predictions, Said, Voice};
use crate::window::host::Host;
use crate::window::jobs::Progress;

/// The data of validations, which the hook has pictures of too.
#[derive(Clone)]
pub struct Shared(pub Rc<RefCell<TestSet>>);

impl Validation for Shared {
    fn figures(
        &mut self,
        model: &dyn Detector,
        device: &Device,
        told: &mut dyn FnMut(Told<'_>) -> Result<(), Stop>,
    ) -> Result<Validated, Stop> {
        self.0.borrow_mut().figures(model, device, told)
    }
}

/// Looks on.
pub struct Watch {
    voice: Voice,
    progress: Progress,
    set: Option<Rc<RefCell<TestSet>>>,
    kept: Rc<Kept>,
    note: Note,
    /// Iterations that were done when the first figures came.
    start: u64,
    /// How many values of each figure were sent.
    sent: BTreeMap<String, usize>,
    pictures: Pictures,
    host: Arc<dyn Host>,
    /// The run's.
    folder: PathBuf,
    /// What was found so far.
    looked: Looked,
    failed: bool,
}

/// Pictures, each read once, and what is found in them at the moment.
#[derive(Default)]
struct Pictures {
    known: Vec<Glimpse>,
    new: Vec<Glimpse>,
    found: Vec<Vec<Thing>>,
}

/// Seconds between notes of where the run is.
const OFTEN: u64 = 1;

impl Watch {
    /// Looks on at a run that is about to begin.
    pub fn new(
        voice: Voice,
        progress: Progress,
        set: Option<Rc<RefCell<TestSet>>>,
        (kept, note): (Rc<Kept>, Note),
        (host, folder, looked): (Arc<dyn Host>, PathBuf, Looked),
    ) -> Self {
        Self {
            voice,
            progress,
            set,
            kept,
            start: note.iter,
            note,
            sent: BTreeMap::new(),
            pictures: Pictures {
                known: looked.glimpses.clone(),
                ..Pictures::default()
            },
            host,
            folder,
            looked,
            failed: false,
        }
    }

    /// Sends the values that were read from the device since it did so last.
    fn send(&mut self, run: &Run) {
        let mut figures = Vec::new();
        for name in run.scalars.names() {
            let Some(short) = name.strip_prefix("train/") else {
                continue;
            };
            if !(short.contains("loss") || short == "lr") {
                continue;
            }
            let values = run.scalars.values(name);
            let sent = self.sent.entry(name.to_owned()).or_default();
            // of very long runs, old values are not kept: what was sent of them cannot be told any more
            *sent = (*sent).min(values.len());
            if *sent < values.len() {
                let first = self.start + *sent as u64 + 1;
                figures.push((short.to_owned(), first, values[*sent..].to_vec()));
                *sent = values.len();
            }
        }
        if !figures.is_empty() {
            self.voice.tell(News::Figures(figures));
        }
    }

    /// Notes where the run is, for the case that the window is killed.
    fn note(&mut self, run: &Run, iter: u64, always: bool) {
        let now = self.kept.now();
        if !always && now.saturating_sub(self.note.at) < OFTEN {
            return;
        }
        (self.note.at, self.note.epoch) = (now, run.position.epoch);
        self.note.iter = iter;
        let Err(why) = self.kept.write(&self.note) else {
            return;
        };
        if !std::mem::replace(&mut self.failed, true) {
            let text = format!(
                "where this run is cannot be noted, so that after a crash nobody would be asked whether it is to go on: {why}"
            );
            self.voice.tell(News::Said(Said::Note, text));
        }
    }

    /// Sends what was found in the pictures.
    fn show(&mut self, run: &Run, epoch: u64) {
        let Pictures { new, found, .. } = &mut self.pictures;
        if !new.is_empty() {
            self.voice.tell(News::Glimpses(std::mem::take(new)));
        }
        if !found.is_empty() {
            let seen = Predictions {
                epoch,
                iter: run.position.iter,
                found: std::mem::take(found),
            };
            self.looked.glimpses.clone_from(&self.pictures.known);
            self.looked.seen.push(seen.clone());
            self.voice.tell(News::Seen(seen));
        }
        self.keep(run);
    }

    /// Keeps what was found, and what is frozen, in the run's folder.
    fn keep(&mut self, run: &Run) {
        self.looked.train(run.position.iter, run.parameters());
        if let Err(why) = self.looked.write(&*self.host, &self.folder) {
            let text = format!("what was found in the pictures is not kept: {why}");
            self.voice.tell(News::Said(Said::Note, text));
        }
    }
}

impl Pictures {
    /// Keeps what was found in a picture, if it is one of those that are shown.
    fn see(&mut self, told: &Told, files: &dyn smalti::data::files::Files) {
        let at = told.done - 1;
        if at >= PICTURES || at != self.found.len() {
            return;
        }
        if at == self.known.len() {
            // one that cannot be read would have ended the validation
            let Ok(glimpse) = Glimpse::of(told, files) else {
                return;
            };
            self.new.push(glimpse.clone());
            self.known.push(glimpse);
        }
        // what was kept may be of other data
        if self.known[at].path == told.info.img_path {
            self.found.push(self.known[at].found(told));
        }
    }
}

impl Hook for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn priority(&self) -> u8 {
        // when all others are done, the one of checkpoints too
        100
    }

    fn before_train(&mut self, run: &mut Run) -> Step {
        self.start = run.position.iter;
        self.progress.tell(self.start, run.length.max_iters);
        self.note(run, self.start, true);
        self.keep(run);
        Ok(())
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        self.send(run);
        let done = run.position.iter + 1;
        self.progress.tell(done, run.length.max_iters);
        self.note(run, done, false);
        Ok(())
    }

    fn after_train_epoch(&mut self, run: &mut Run) -> Step {
        run.read_scalars()?;
        self.send(run);
        let done = run.position.epoch + 1;
        let by_epoch = run.train_loop.by_epoch;
        let Some(set) = self.set.clone().filter(|_| by_epoch) else {
            self.keep(run);
            return Ok(());
        };
        if run.train_loop.validates(done) {
            // that has the same pictures
            return Ok(());
        }
        // a validation that ends after some pictures
        self.pictures.found.clear();
        let store = run.learner.store.clone();
        store.track(false);
        store.learn("", false);
        let pictures = &mut self.pictures;
        let seen = set
            .borrow_mut()
            .figures(&*run.learner.detector, &run.device, &mut |told| {
                pictures.see(&told, &*run.files);
                if told.done >= PICTURES {
                    return Err(Stop::Finished(String::new()));
                }
                Ok(())
            });
        store.learn("", true);
        store.track(true);
        match seen {
            Err(Stop::Fault(error)) => Err(Stop::Fault(error)),
            _ => {
                self.show(run, done);
                Ok(())
            }
        }
    }

    fn before_val_epoch(&mut self, _: &mut Run) -> Step {
        self.pictures.found.clear();
        Ok(())
    }

    fn after_val_picture(&mut self, seen: &Seen) -> Step {
        self.pictures.see(&seen.told, seen.files);
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        self.voice
            .tell(News::Validated(run.position.iter, figures.to_vec()));
        self.show(run, run.position.epoch);
        Ok(())
    }
}
