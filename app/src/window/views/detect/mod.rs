//! Runs a detector on pictures: what it finds, how sure it is, how long it takes, and where ground truth says otherwise.
//!
//! The picture in front is read by [`load`], looked at by a [`pane`]'s detector (two panes compare two), held against what is [`known`] of it,
//! and listed as [`rows`], which the picture's boxes and the table share. The threshold only filters: nothing runs again.

mod bars;
mod centre;
mod compare;
mod export;
mod filmstrip;
mod found;
mod item;
mod known;
mod load;
mod pane;
mod rows;
mod side;
mod table;
mod threshold;
mod truth;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::{self, Event, Key as Pressed, Modifiers, Ui};

use compare::{Asking, Other};
use export::Export;
use filmstrip::Filmstrip;
use item::{Content, Item};
use known::Known;
use load::Loader;
use pane::{At, Pane};
use rows::{Filter, Key, Rows, Which};

use super::{Shows, View};
use crate::window::actions::Command;
use crate::window::detector::{Built, Parts};
use crate::window::jobs::Jobs;
use crate::window::picture::Sight;
use crate::window::session::Session;
use crate::window::widgets;

/// The view.
pub struct DetectView {
    items: Vec<Item>,
    /// Another number is another folder.
    opening: u64,
    /// Which of the items is in front.
    place: usize,
    seen: Seen,
    /// The demo's detector is meant, whatever is open.
    demo: bool,
    loader: Loader,
    shown: Option<(At, Result<Content, String>)>,
    main: Pane,
    other: Option<Other>,
    asking: Option<Asking>,
    /// On which device, and where, something failed last.
    doubted: Option<(u64, At)>,
    known: Known,
    strip: Filmstrip,
    export: Export,
    filter: Filter,
    /// Nobody chose an order yet.
    unsorted: bool,
    rows: Rows,
    selected: Option<Which>,
    /// The selected row is to be in sight.
    reveal: bool,
    /// What the pointer is on: a row, a box, a class.
    on_row: Option<Which>,
    on_mark: Option<Which>,
    on_class: Option<String>,
    sight: Sight,
    /// Where the picture was last, to zoom to a box of it.
    room: egui::Vec2,
}

/// What was open a frame ago.
#[derive(Default)]
struct Seen {
    pictures: Arc<Vec<PathBuf>>,
    checkpoint: Option<PathBuf>,
    document: Option<crate::window::document::DocumentId>,
}

impl Default for DetectView {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            opening: 0,
            place: 0,
            seen: Seen::default(),
            demo: false,
            loader: Loader::default(),
            shown: None,
            main: Pane::default(),
            other: None,
            asking: None,
            doubted: None,
            known: Known::default(),
            strip: Filmstrip::default(),
            export: Export::default(),
            filter: Filter {
                threshold: threshold::USUAL,
                only: BTreeSet::new(),
                key: Key::Score,
                reversed: false,
            },
            unsorted: true,
            rows: Rows::default(),
            selected: None,
            reveal: false,
            on_row: None,
            on_mark: None,
            on_class: None,
            sight: Sight::default(),
            room: egui::Vec2::ZERO,
        }
    }
}

impl View for DetectView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.follow(session);
        self.paste(ui);
        self.export.tick(session);
        self.take_other();
        if self.items.is_empty() {
            if widgets::empty(ui, "Drop a picture or a folder, or paste one.", "Open...") {
                session.commands.push_back(Command::Open);
            }
            ui.vertical_centered(|ui| {
                ui.add_space(8.0);
                if widgets::link(ui, "Try the demo").clicked() {
                    session.commands.push_back(Command::Demo);
                }
            });
            return;
        }
        self.keys(ui);
        self.work(ui, session, jobs);
        self.centre(ui, session, jobs);
    }

    fn takes(&self, what: Shows) -> bool {
        let used = matches!(what, Shows::Checkpoint | Shows::Annotations);
        what == Shows::Pictures || used && !self.items.is_empty()
    }

    fn inspects(&self, _session: &Session) -> bool {
        !self.items.is_empty()
    }

    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, _jobs: &mut Jobs) {
        self.side(ui, session);
    }

    fn command(&mut self, command: Command, session: &mut Session, jobs: &mut Jobs) -> bool {
        match command {
            Command::Demo => {
                self.follow(session);
                self.open(vec![Item::Demo]);
                self.demo = true;
            }
            Command::Run if !self.items.is_empty() => self.run(session, jobs),
            Command::Compare if !self.items.is_empty() => self.compare(session, jobs),
            _ => return false,
        }
        true
    }
}

impl DetectView {
    /// Shows these from now on.
    fn open(&mut self, items: Vec<Item>) {
        self.items = items;
        self.opening += 1;
        (self.place, self.shown, self.selected) = (0, None, None);
        self.strip.forget();
        self.sight.fit();
    }

    /// What was opened since the last frame.
    fn follow(&mut self, session: &Session) {
        let document = session.documents.active().map(|d| d.id);
        if !Arc::ptr_eq(&session.pictures, &self.seen.pictures) {
            self.seen.pictures = session.pictures.clone();
            self.open(session.pictures.iter().cloned().map(Item::File).collect());
            self.demo = false;
        }
        if (&session.checkpoint, document) != (&self.seen.checkpoint, self.seen.document) {
            self.seen.checkpoint = session.checkpoint.clone();
            self.seen.document = document;
            self.demo = false;
        }
    }

    /// A picture of the clipboard is shown after those that are open.
    fn paste(&mut self, ui: &Ui) {
        let image = ui.input(|i| {
            i.events.iter().rev().find_map(|event| match event {
                Event::PasteImage(image) => Some(image.clone()),
                _ => None,
            })
        });
        if let Some(image) = image {
            self.items.push(Item::Pasted(image));
            self.go(self.items.len() - 1);
        }
    }

    fn at(&self) -> At {
        (self.opening, self.place)
    }

    /// To a picture.
    fn go(&mut self, place: usize) {
        if place < self.items.len() && place != self.place {
            self.place = place;
            (self.selected, self.on_mark) = (None, None);
            self.sight.fit();
        }
    }

    /// Left and Right, rows up and down, Enter and Escape.
    fn keys(&mut self, ui: &Ui) {
        if ui.ctx().text_edit_focused() {
            return;
        }
        let pressed = |key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        if pressed(Pressed::ArrowRight) {
            self.go(self.place + 1);
        }
        if pressed(Pressed::ArrowLeft) && self.place > 0 {
            self.go(self.place - 1);
        }
        let at = self.selected.and_then(|which| self.rows.place(which));
        let to = match at {
            _ if pressed(Pressed::ArrowDown) => Some(at.map_or(0, |at| at + 1)),
            Some(at) if pressed(Pressed::ArrowUp) => at.checked_sub(1),
            _ => None,
        };
        if let Some(row) = to.and_then(|to| self.rows.rows.get(to)) {
            (self.selected, self.reveal) = (Some(row.which), true);
        }
        let free = ui.memory(|m| m.focused().is_none());
        if free && self.selected.is_some() && pressed(Pressed::Enter) {
            self.zoom();
        }
        if self.selected.is_some() && pressed(Pressed::Escape) {
            self.selected = None;
        }
    }

    /// Looks at the selected box closely.
    fn zoom(&mut self) {
        let place = self.selected.and_then(|which| self.rows.place(which));
        let (Some(place), Some((_, picture))) = (place, &self.main.picture) else {
            return;
        };
        picture.zoom_to(&mut self.sight, self.rows.rows[place].bbox, self.room);
    }

    /// What the detector is to be made of; `None` while the config is read.
    fn parts(&self, session: &Session) -> Option<Parts> {
        if self.demo || session.checkpoint.is_none() || session.documents.active().is_none() {
            return Some(Parts::default());
        }
        Some(Parts {
            config: Some(session.current()?.clone()),
            checkpoint: session.checkpoint.clone(),
            prefix: session.prefix.clone(),
        })
    }

    /// Starts what is due and takes what has come.
    fn work(&mut self, ui: &Ui, session: &mut Session, jobs: &mut Jobs) {
        let at = self.at();
        if let Some(parts) = self.parts(session) {
            session.want_detector(jobs, &parts);
            if let Some(other) = &mut self.other {
                other.want(session, jobs, &parts);
            }
        }
        let panes = 1 + usize::from(self.other.is_some());
        let item = &self.items[self.place];
        self.loader
            .ask(jobs, &session.host, ui.ctx(), (at, item), panes);
        if let Some(loaded) = self.loader.poll(jobs) {
            let content = loaded.what.map(|(content, pictures)| {
                let mut pictures = pictures.into_iter();
                if let Some(picture) = pictures.next() {
                    self.main.show(loaded.at, picture);
                }
                if let (Some(other), Some(picture)) = (&mut self.other, pictures.next()) {
                    other.pane.show(loaded.at, picture);
                }
                content
            });
            self.shown = Some((loaded.at, content));
        }
        self.known.tick(session, jobs);
        let built = session.detector.built().cloned();
        self.main.tick(jobs, built.as_ref(), self.opening);
        let content = match &self.shown {
            Some((of, Ok(content))) if *of == at => Some(content),
            _ => None,
        };
        if let (Some(built), Some(content)) = (&built, content) {
            self.main
                .look(jobs, &session.host, built, at, item, content);
            let classes = (built.id, built.predictor.classes());
            self.known.ask(session, jobs, at, item, classes);
        }
        if let Some(other) = &mut self.other {
            let built = other.detector.built().cloned();
            other.pane.tick(jobs, built.as_ref(), self.opening);
            if let (Some(built), Some(content)) = (&built, content) {
                other
                    .pane
                    .look(jobs, &session.host, built, at, item, content);
            }
        }
        // each failure once
        let failed =
            self.panes().any(|pane| pane.failed(at.1)) || session.detector.failed().is_some();
        let on = (session.engine.number, at);
        if failed && self.doubted != Some(on) {
            self.doubted = Some(on);
            session.engine.doubt(jobs);
        }
        self.list(ui, jobs, built.as_ref());
        self.list_other(ui, jobs);
    }

    /// The rows of what was found.
    fn list(&mut self, ui: &Ui, jobs: &mut Jobs, built: Option<&Arc<Built>>) {
        let at = self.at();
        let known = self.known.objects(at);
        let judged = known.and_then(|(objects, version)| self.main.judge(at, objects, version));
        if self.unsorted {
            self.filter.key = if judged.is_some() {
                Key::Truth
            } else {
                Key::Score
            };
        }
        let (Some(built), Some(Ok(found))) = (built, self.main.result(at.1)) else {
            self.rows = Rows::default();
            return;
        };
        let classes = built.predictor.classes();
        let truth = known
            .zip(judged.as_ref())
            .map(|((objects, _), j)| (objects, j));
        self.rows = Rows::of(found, classes, truth, &self.filter);
        self.main.mask(ui.ctx(), jobs, at, &self.rows.found());
    }

    /// Looks at all pictures, or again at the one there is.
    fn run(&mut self, session: &mut Session, jobs: &mut Jobs) {
        let Some(built) = session.detector.built().cloned() else {
            session.detector.retry();
            return;
        };
        let all = !self.is_done();
        let (items, host, place) = (&self.items, &session.host, self.place);
        let mut run = |pane: &mut Pane, built: &Arc<Built>| match all {
            true => pane.look_at_all(jobs, host, built, items),
            false => pane.again(place),
        };
        run(&mut self.main, &built);
        if let Some(other) = &mut self.other
            && let Some(built) = other.detector.built().cloned()
        {
            run(&mut other.pane, &built);
        }
    }

    /// One detector's pictures, or both's.
    fn panes(&self) -> impl Iterator<Item = &Pane> {
        let other = self.other.iter().map(|other| &other.pane);
        std::iter::once(&self.main).chain(other)
    }

    /// Whether all of several pictures were looked at.
    fn is_done(&self) -> bool {
        let count = self.items.len();
        count < 2 || self.panes().all(|pane| pane.is_done(count))
    }
}
