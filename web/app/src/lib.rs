//! The window of `smalti` on a canvas of a page: the same app as on a desktop, with a page's files, clock and dialogs ([`host`]).
//!
//! `web/page/app.js` loads it, gives it files that are dropped or chosen ([`put`], [`open`]), and is what it asks for what only JavaScript has
//! ([`page`]). Detectors run on the CPU, or, if that is chosen, on WebGPU in the package's engine ([`elsewhere`]).
//! Everything else runs on the page's one thread: a job begins when the frame that shows it is painted.
//!
//! How things fail: as in the window, by messages; without WebGL [`start`] is an error; after a panic the page says so, and edits are kept.

#![cfg(target_arch = "wasm32")]

mod elsewhere;
mod host;
mod page;
mod shell;
mod tree;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use eframe::WebRunner;
use eframe::web_sys::HtmlCanvasElement;
use wasm_bindgen::prelude::*;

use shell::{Arrived, Linked, Shell};
use tree::Tree;

thread_local! {
    static RUNS: RefCell<Option<Runs>> = const { RefCell::new(None) };
}

/// What runs on this page.
struct Runs {
    runner: WebRunner,
    tree: Arc<Tree>,
}

/// Shows the window on a canvas. `linked` is what a link holds: JSON of a config's `name`, text `config`, and `files`, texts by path; `again` if this page
/// opened it before.
///
/// # Errors
/// There is no WebGL to paint with.
#[wasm_bindgen]
pub async fn start(canvas: HtmlCanvasElement, linked: Option<String>) -> Result<(), JsValue> {
    console_error_panic_hook::set_once();
    let tree = Arc::new(Tree::with_demo());
    let runner = WebRunner::new();
    let runs = Runs {
        runner: runner.clone(),
        tree: tree.clone(),
    };
    RUNS.set(Some(runs));
    if let Some(text) = linked {
        link(&text);
    }
    let create = move |cc: &eframe::CreationContext<'_>| {
        let shell = Shell::new(&cc.egui_ctx, tree);
        Ok(Box::new(shell) as Box<dyn eframe::App>)
    };
    let options = eframe::WebOptions::default();
    runner.start(canvas, options, Box::new(create)).await
}

/// Puts a file among those of the page.
///
/// # Errors
/// There is no room for it.
#[wasm_bindgen]
pub fn put(path: &str, bytes: Vec<u8>) -> Result<(), JsError> {
    RUNS.with_borrow(|runs| match runs {
        Some(runs) => runs
            .tree
            .put(path, bytes)
            .map_err(|why| JsError::new(&format!("{path} cannot be opened: {why}"))),
        None => Err(JsError::new("the window is not there yet")),
    })
}

/// Opens files or folders of the page in the window.
#[wasm_bindgen]
pub fn open(paths: Vec<String>) {
    paths
        .into_iter()
        .for_each(|path| shell::arrive(Arrived::Path(PathBuf::from(path))));
}

/// Opens the config of a link, as [`start`] does.
#[wasm_bindgen]
pub fn link(linked: &str) {
    shell::arrive(match serde_json::from_str::<Linked>(linked) {
        Ok(linked) => Arrived::Linked(linked),
        Err(why) => Arrived::Wrong(format!("the link cannot be read: {why}")),
    });
}

/// Tells the person before the window what could not be done.
#[wasm_bindgen]
pub fn wrong(text: String) {
    shell::arrive(Arrived::Wrong(text));
}

/// What the window shows, as JSON: for tests, and for who looks at it from outside.
#[wasm_bindgen]
pub fn state() -> String {
    RUNS.with_borrow(|runs| {
        let shell = runs.as_ref().and_then(|r| r.runner.app_mut::<Shell>());
        shell.map_or_else(|| "null".into(), |mut shell| shell.state())
    })
}
