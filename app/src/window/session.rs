//! What is open: texts, checkpoint, pictures, settings, the engine's device. The only thing that views share.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eframe::egui;
use smalti::config::{Fix, Node, SourceKind};

use super::actions::Command;
use super::analysis::{self, Analysis, Question};
use super::detector::{Detector, Parts};
use super::document::{DocumentId, Documents, Kind};
use super::engine::Engine;
use super::files::{self, Opened};
use super::host::{self, Host};
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

    fn restore(&mut self, left: Vec<Unsaved>) {
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

    /// Tells something, as a toast and in the list of messages.
    pub fn tell(&mut self, level: Level, text: impl Into<String>) {
        self.messages.tell(level, text, self.host.now());
    }

    /// Opens a file or folder of any kind: what it is is seen from its content.
    pub fn open(&mut self, jobs: &mut Jobs, path: &Path) {
        self.open_at(jobs, path, None);
    }

    fn open_at(&mut self, jobs: &mut Jobs, path: &Path, reveal: Option<std::ops::Range<usize>>) {
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

    /// Goes to a place, which [`Self::back`] comes back from.
    pub fn go(&mut self, jobs: &mut Jobs, place: &Place) {
        self.here();
        let (places, at) = &mut self.places;
        places.truncate(*at);
        places.push(place.clone());
        *at = places.len();
        self.open_at(jobs, &place.path.clone(), Some(place.range.clone()));
    }

    /// Notes where the caret is, so that one can come back.
    fn here(&mut self) {
        let Some(document) = self.documents.active() else {
            return;
        };
        let here = Place {
            path: document.path.clone(),
            range: document.caret..document.caret,
        };
        let (places, at) = &mut self.places;
        let near = |p: &Place| {
            let (around, at) = (
                p.range.start.saturating_sub(40)..p.range.end + 40,
                here.range.start,
            );
            p.path == here.path && around.contains(&at)
        };
        if *at == places.len() && !places.last().is_some_and(near) {
            places.push(here);
            *at = places.len();
        }
    }

    /// To the place before (-1) or after (1) in the order in which they were visited.
    pub fn visit(&mut self, jobs: &mut Jobs, by: isize) {
        if by < 0 {
            self.here();
        }
        let (places, at) = &mut self.places;
        let to = at.saturating_add_signed(by);
        if to == 0 || to > places.len() {
            return;
        }
        *at = to;
        let place = places[to - 1].clone();
        self.open_at(jobs, &place.path, Some(place.range));
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

    /// Asks for files or a folder and opens them.
    pub fn ask_to_open(&mut self, jobs: &mut Jobs, question: host::Question) {
        let host = self.host.clone();
        self.asking = Some((
            Ask::Open,
            jobs.asking(async move |_| host.ask(&question).await),
        ));
    }

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

    /// What the config in front means, if that is known of the text as it is now.
    pub fn current(&self) -> Option<&Arc<Analysis>> {
        let document = self.documents.active()?;
        self.analysis
            .as_ref()
            .filter(|a| (a.document, a.version) == (document.id, document.version))
    }

    /// Whether something of the config in front is still being read.
    pub fn is_reading(&self) -> bool {
        self.reads.is_busy() || !self.opening.is_empty()
    }

    /// Takes what jobs have made, starts what is due. Called once a frame; gives the time until it wants to be called again.
    pub fn tick(&mut self, jobs: &mut Jobs, ctx: &egui::Context) {
        if self.engine.tick() {
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
        for (level, text) in self.training.tick(jobs, &self.host) {
            self.tell(level, text);
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

    fn take_opened(&mut self) {
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

    fn take_answers(&mut self, jobs: &mut Jobs) {
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

    fn take_saved(&mut self) {
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

    /// Goes on with a run that was cut off.
    pub fn resume_left(&mut self, jobs: &mut Jobs, i: usize) {
        if self.training.is_live() || self.engine.chosen.is_none() {
            self.tell(
                Level::Warning,
                "a run is under way, or there is no device yet: try again after that",
            );
        } else if let Some(order) = self.training.take_left(&*self.host, i) {
            self.train(jobs, order);
        }
    }

    /// Watches the folders of open texts and their bases, and looks at the files when something changed there or the window comes to the front.
    fn look_at_disk(&mut self, jobs: &mut Jobs, ctx: &egui::Context) {
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
                    ctx.request_repaint();
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

    fn seen(&mut self, seen: Seen) {
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
