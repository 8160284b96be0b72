//! What is open: texts, checkpoint, pictures, settings, the engine's device. The only thing that views share.

mod disk;
mod opening;
mod places;
mod saving;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use eframe::egui;
use smalti::config::{Fix, Node, SourceKind};

use super::actions::Command;
use super::analysis::{self, Analysis, Question};
use super::detector::{Detector, Parts};
use super::document::{DocumentId, Documents, Kind};
use super::engine::Engine;
use super::files::{self, Opened};
use super::host::Host;
use super::jobs::{Job, Jobs, Newest};
use super::journal::{Journal, Unsaved};
use super::messages::{Level, Messages, Offer};
use super::settings::Settings;
use super::training::{Order, Training};

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Bytes of its text.
    pub range: std::ops::Range<usize>,
}

impl Place {
    /// Where a value was said; none if that is in no file.
    pub fn of(node: &Node) -> Option<Self> {
        let origin = &node.origin;
        let source = origin.source();
        let is_file = source.kind() == SourceKind::File && !source.text().is_empty();
        is_file.then(|| Self {
            path: PathBuf::from(origin.file()),
            range: origin.range(),
        })
    }
}

/// What is open.
pub struct Session {
    /// Files, threads, clock.
    pub host: Arc<dyn Host>,
    /// Adapter, theme, recent files.
    pub settings: Settings,
    /// Configs that are open.
    pub documents: Documents,
    /// The checkpoint that was opened last.
    pub checkpoint: Option<PathBuf>,
    /// The prefix of the checkpoint's names that count, as `smalti weights --prefix` has it.
    pub prefix: Option<String>,
    /// The pictures that were opened last.
    pub pictures: Arc<Vec<PathBuf>>,
    /// The annotation file that was opened last.
    pub annotations: Option<PathBuf>,
    /// The sample of the config's training data that is to be shown next.
    pub sample: Option<usize>,
    /// Folders of runs whose logs are open.
    pub runs: Vec<PathBuf>,
    /// How often one was opened.
    pub runs_opened: usize,
    /// Counts what was seen to change on disk, of texts and logs that are open.
    pub changes: u64,
    /// Logs of the runs.
    logs: Vec<PathBuf>,
    /// The run of this window.
    pub training: Training,
    /// What to run on.
    pub engine: Engine,
    /// The detector in use.
    pub detector: Detector,
    /// What the window told.
    pub messages: Messages,
    /// What is to be done next.
    pub commands: VecDeque<Command>,
    /// What the config in front means; of an older version of it while a newer one is read.
    pub analysis: Option<Arc<Analysis>>,
    /// Texts that were restored, until somebody says what is to become of them.
    pub restored: Vec<Unsaved>,
    closed: Vec<Unsaved>,
    /// Fixes of texts that are being opened.
    fixing: Vec<Fix>,
    reads: Newest<Question, Analysis>,
    asked: Option<Vec<(DocumentId, u64)>>,
    opening: Vec<Opening>,
    asking: Option<(Ask, Job<Vec<PathBuf>>)>,
    saving: Vec<Job<Saved>>,
    journal: Journal,
    changed: Arc<AtomicBool>,
    looking: Option<Job<Seen>>,
    watched: Vec<PathBuf>,
    places: (Vec<Place>, usize),
    remembered: Settings,
    focused: bool,
}

/// Files that were looked at, with their texts where they are still there.
type Seen = Vec<(PathBuf, Option<String>)>;

/// A file that is being opened, and what of it is to be shown.
type Opening = (Job<Opened>, Option<std::ops::Range<usize>>);

/// What the answer of a dialog is for.
enum Ask {
    Open,
    SaveAs(DocumentId),
}

/// A text was written, or why not.
struct Saved {
    document: DocumentId,
    path: PathBuf,
    text: String,
    failed: Option<String>,
}

impl Session {
    /// What was left by a window that was killed is open again.
    pub fn new(host: Arc<dyn Host>, engine: Engine) -> Self {
        let (settings, wrong) = Settings::load(&*host);
        let (journal, left) = Journal::open(host.clone());
        let mut session = Self {
            remembered: settings.clone(),
            settings,
            documents: Documents::default(),
            checkpoint: None,
            prefix: None,
            pictures: Arc::default(),
            annotations: None,
            sample: None,
            runs: Vec::new(),
            runs_opened: 0,
            changes: 0,
            logs: Vec::new(),
            training: Training::default(),
            engine,
            detector: Detector::default(),
            messages: Messages::default(),
            commands: VecDeque::new(),
            analysis: None,
            restored: Vec::new(),
            closed: Vec::new(),
            fixing: Vec::new(),
            reads: Newest::new("reading the config", |question, _| {
                analysis::analyse(question)
            }),
            asked: None,
            opening: Vec::new(),
            asking: None,
            saving: Vec::new(),
            journal,
            changed: Arc::default(),
            looking: None,
            watched: Vec::new(),
            places: (Vec::new(), 0),
            focused: true,
            host,
        };
        if let Some(why) = wrong {
            session.tell(Level::Warning, why);
        }
        session.restore(left);
        session
    }

    /// Tells something, as a toast and in the list of messages.
    pub fn tell(&mut self, level: Level, text: impl Into<String>) {
        self.messages.tell(level, text, self.host.now());
    }

    /// A new text, not on disk yet.
    pub fn create(&mut self, name: &str, text: &str) -> DocumentId {
        let mut path = PathBuf::from(name);
        let mut n = 2;
        while self.documents.at(&path).is_some() {
            path = PathBuf::from(name.replace(".py", &format!("_{n}.py")));
            n += 1;
        }
        self.documents.open(path, text.to_owned(), false)
    }

    /// Copies an address that opens a document, with the texts that it is made of, where there are such addresses.
    pub fn copy_link(&self, id: DocumentId) -> bool {
        let Some(document) = self.documents.get(id) else {
            return false;
        };
        let of = self.analysis.as_ref().filter(|a| a.document == id);
        let config = of.and_then(|a| a.config.as_ref());
        let names = config.into_iter().flat_map(|config| config.files());
        let bases = names
            .filter(|name| **name != document.key())
            .filter_map(|name| {
                let path = Path::new(name);
                let text = match self.documents.at(path) {
                    Some(open) => open.text().to_owned(),
                    None => files::text_of(self.host.read(path).ok()?),
                };
                Some((name.to_owned(), text))
            });
        self.host
            .copy_link(&document.key(), document.text(), &bases.collect())
    }

    /// One edit of a text, in the history of all.
    pub fn edit(
        &mut self,
        id: DocumentId,
        range: std::ops::Range<usize>,
        new: &str,
        kind: Kind,
    ) -> bool {
        self.documents.edit(id, range, new, kind, self.host.now())
    }

    /// Mends what fixes are for, each in the text that it is about: opened if need be.
    pub fn fix(&mut self, jobs: &mut Jobs, mut fixes: Vec<Fix>) {
        // from the end of a text to its beginning, so that places stay
        fixes.sort_by_key(|f| std::cmp::Reverse(f.place.range().start));
        for fix in fixes {
            let path = PathBuf::from(fix.place.file());
            let Some(document) = self.documents.at(&path) else {
                self.open_at(jobs, &path, Some(fix.place.range()));
                self.fixing.push(fix);
                continue;
            };
            let (id, range) = (document.id, fix.place.range());
            if document.text().get(range.clone()) == Some(fix.place.text()) {
                self.edit(id, range, &fix.text, Kind::Step);
                self.documents.activate(id);
            } else {
                self.tell(
                    Level::Warning,
                    format!(
                        "\"{}\" is about another text: wait until this one is read",
                        fix.label
                    ),
                );
            }
        }
    }

    /// What the config in front means, if that is known of the text as it is now.
    pub fn current(&self) -> Option<&Arc<Analysis>> {
        let document = self.documents.active()?;
        self.analysis
            .as_ref()
            .filter(|a| (a.document, a.version) == (document.id, document.version))
    }

    /// Weights that the config in front names and that are there.
    pub fn weights(&self) -> Vec<PathBuf> {
        let document = self.documents.active().map(|d| d.id);
        let of = |a: &&Arc<Analysis>| Some(a.document) == document;
        self.analysis
            .as_ref()
            .filter(of)
            .map_or_else(Vec::new, |a| a.weights.clone())
    }

    /// Whether files are being opened.
    pub fn is_opening(&self) -> bool {
        !self.opening.is_empty()
    }

    /// Whether something of the config in front is still being read.
    pub fn is_reading(&self) -> bool {
        self.reads.is_busy() || !self.opening.is_empty()
    }

    /// Takes what jobs have made, starts what is due. Called once a frame; gives the time until it wants to be called again.
    pub fn tick(&mut self, jobs: &mut Jobs, ctx: &egui::Context) {
        if self.engine.tick(jobs) {
            let notes = self
                .engine
                .chosen
                .as_ref()
                .map(|c| c.notes.clone())
                .unwrap_or_default();
            notes
                .into_iter()
                .for_each(|note| self.tell(Level::Note, note));
        }
        for (level, text, offer) in self.training.tick(jobs, &self.host) {
            if level == Level::Error {
                self.engine.doubt(jobs);
            }
            self.tell(level, text);
            offer
                .into_iter()
                .for_each(|offer| self.messages.offer(offer));
        }
        self.take_opened();
        if self.opening.is_empty() && !self.fixing.is_empty() {
            let fixes = std::mem::take(&mut self.fixing);
            self.fix(jobs, fixes);
        }
        self.take_answers(jobs);
        self.take_saved();
        self.look_at_disk(jobs, ctx);
        self.read(jobs);
        let (again, failed) = self.journal.tick(jobs, self.documents.iter());
        if let Some(why) = failed {
            self.tell(
                Level::Error,
                format!("unsaved edits cannot be kept aside: {why}. Save often"),
            );
        }
        if let Some(again) = again {
            ctx.request_repaint_after(again);
        }
        if self.settings != self.remembered {
            self.remembered = self.settings.clone();
            if let Err(why) = self.settings.save(&*self.host) {
                self.tell(
                    Level::Warning,
                    format!("settings cannot be remembered: {why}"),
                );
            }
        }
    }

    /// Begins a run, unless one is under way.
    pub fn train(&mut self, jobs: &mut Jobs, order: Order) {
        match &self.engine.chosen {
            Some(chosen) => self.training.start(jobs, &self.host, chosen, order),
            None => self.tell(
                Level::Warning,
                "there is no device to train on yet: choose one in the settings",
            ),
        }
    }

    /// Takes a run that was cut off from those that are offered.
    pub fn take_left(&mut self, i: usize) -> Option<Order> {
        self.messages.withdraw(Offer::Resume);
        self.training.take_left(&*self.host, i)
    }

    /// Goes on with a run that was cut off.
    pub fn resume_left(&mut self, jobs: &mut Jobs, i: usize) {
        if self.training.is_live() || self.engine.chosen.is_none() {
            self.tell(
                Level::Warning,
                "a run is under way, or there is no device yet: try again after that",
            );
        } else if let Some(order) = self.take_left(i) {
            self.train(jobs, order);
        } else {
            self.tell(Level::Note, "no training was cut off");
        }
    }

    fn read(&mut self, jobs: &mut Jobs) {
        match self.reads.poll(jobs) {
            Some(Ok(analysis)) => self.analysis = Some(Arc::new(analysis)),
            Some(Err(why)) => {
                self.tell(Level::Error, format!("the config could not be read: {why}"))
            }
            None => {}
        }
        let Some(active) = self.documents.active() else {
            self.analysis = None;
            self.asked = None;
            return;
        };
        // a base that is open and edited counts too
        let mut state: Vec<(DocumentId, u64)> = vec![(active.id, active.version)];
        state.extend(self.documents.iter().map(|d| (d.id, d.version)));
        if self.asked.as_ref() == Some(&state) {
            return;
        }
        let question = Question {
            document: active.id,
            version: active.version,
            path: active.path.clone(),
            text: active.text().to_owned(),
            open: self
                .documents
                .iter()
                .map(|d| (d.key(), d.text().to_owned()))
                .collect(),
            host: self.host.clone(),
        };
        self.asked = Some(state);
        self.reads.ask(jobs, question);
    }

    /// The detector that a config and a checkpoint make is to be in use. To be called in every frame that shows it; once there is a device it
    /// is built, if it is not in use already.
    pub fn want_detector(&mut self, jobs: &mut Jobs, parts: &Parts) {
        if let Some(chosen) = &self.engine.chosen {
            let device = (chosen, self.engine.number);
            self.detector.want(jobs, &self.host, device, parts);
        }
    }

    /// The window ends; what is not saved is kept for the next one.
    pub fn close(&mut self) {
        self.journal.close(self.documents.iter());
    }

    /// Time since 1970.
    pub fn now(&self) -> Duration {
        self.host.now()
    }
}
