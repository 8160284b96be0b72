//! [`Shell`]: the app with what a page adds to it: files that arrive by themselves, and a state to be read from outside.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use eframe::egui;
use serde::Deserialize;
use serde_json::json;
use smalti::config::Severity;
use smalti_app::window::App;
use smalti_app::window::engine::Engine;
use smalti_app::window::host::Host;
use smalti_app::window::messages::Level;
use smalti_app::window::views::VIEWS;

use crate::host::PageHost;
use crate::tree::{BUILT_IN, Tree};

/// What a link holds.
#[derive(Deserialize)]
pub struct Linked {
    #[serde(default)]
    name: Option<String>,
    config: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Whether this page had opened it before it was loaded again: what was edited since is open again, then.
    #[serde(default)]
    again: bool,
}

/// What comes from outside the window.
pub enum Arrived {
    /// A path to open.
    Path(PathBuf),
    /// A config of a link.
    Linked(Linked),
    /// Something that could not be done.
    Wrong(String),
}

thread_local! {
    static ARRIVED: RefCell<(Vec<Arrived>, Option<egui::Context>)> = const { RefCell::new((Vec::new(), None)) };
}

/// Something comes for the window's next frame.
pub fn arrive(what: Arrived) {
    ARRIVED.with_borrow_mut(|(all, ctx)| {
        all.push(what);
        ctx.iter().for_each(egui::Context::request_repaint);
    });
}

/// The app on a page.
pub struct Shell {
    app: App,
    tree: Arc<Tree>,
}

impl Shell {
    /// The app, with these files.
    pub fn new(ctx: &egui::Context, tree: Arc<Tree>) -> Self {
        ARRIVED.with_borrow_mut(|(_, known)| *known = Some(ctx.clone()));
        let host: Arc<dyn Host> = Arc::new(PageHost::new(tree.clone()));
        let mut app = App::new(ctx, host.clone(), Engine::default(), &[]);
        // of files that went with the page that had them nothing can be opened
        let recent = &mut app.session.settings.recent;
        recent.retain(|path| host.head(path, 0).is_some() || host.is_folder(path));
        for path in BUILT_IN.iter().map(|(path, _)| PathBuf::from(path)) {
            if !recent.contains(&path) {
                recent.push(path);
            }
        }
        Self { app, tree }
    }

    fn take(&mut self) {
        let arrived = ARRIVED.with_borrow_mut(|(all, _)| std::mem::take(all));
        let App { session, jobs, .. } = &mut self.app;
        for what in arrived {
            match what {
                Arrived::Path(path) => session.open(jobs, &path),
                Arrived::Wrong(text) => session.tell(Level::Error, text),
                Arrived::Linked(linked) => {
                    for (path, text) in linked.files {
                        if let Err(why) = self.tree.put(&path, text.into_bytes()) {
                            session.tell(Level::Error, format!("{path}: {why}"));
                        }
                    }
                    let name = linked.name.unwrap_or_else(|| "config.py".into());
                    let open = session.documents.at(Path::new(&name));
                    let open = open.filter(|d| linked.again || d.text() == linked.config);
                    match open.map(|d| d.id) {
                        Some(id) => session.documents.activate(id),
                        None => {
                            let id = session.create(&name, &linked.config);
                            if let Some(document) = session.documents.get_mut(id) {
                                document.reveal = Some(0..0);
                            }
                        }
                    }
                }
            }
        }
    }

    /// What is shown.
    pub fn state(&mut self) -> String {
        let view = VIEWS[self.app.front()].name;
        let idle = self.app.jobs.is_idle() && !self.app.session.is_reading();
        let session = &self.app.session;
        let found = session.current().map(|analysis| {
            let errors = analysis.found.iter();
            let errors = errors.filter(|d| d.severity == Severity::Error);
            errors.map(|d| d.message.clone()).collect::<Vec<_>>()
        });
        let detector = session.detector.built();
        let document = session.documents.active();
        let messages = session.messages.all().iter();
        json!({
            "view": view,
            "idle": idle,
            "device": session.engine.title().0,
            "adapters": session.engine.adapters.iter().map(|a| a.title()).collect::<Vec<_>>(),
            "detector": detector.map(|d| [Some(d.device.clone()), d.note.clone()]),
            "document": document.map(|d| d.key()),
            "text": document.map(|d| d.text()),
            "errors": found,
            "checkpoint": session.checkpoint,
            "detections": detector.map(|d| d.runs.load(Ordering::Relaxed)),
            "messages": messages.map(|m| m.text.clone()).collect::<Vec<_>>(),
        })
        .to_string()
    }
}

impl eframe::App for Shell {
    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        self.take();
        eframe::App::ui(&mut self.app, ui, frame);
    }

    /// Files that are dropped come by [`crate::open`], which has their content and their folders.
    fn raw_input_hook(&mut self, _: &egui::Context, input: &mut egui::RawInput) {
        input.dropped_files.clear();
    }

    fn as_any_mut(&mut self) -> Option<&mut dyn std::any::Any> {
        Some(self)
    }
}
