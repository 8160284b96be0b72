//! The views: what the centre of the window shows. One view, one file (or folder), one row of [`VIEWS`].

use eframe::egui::Ui;

use super::actions::Command;
use super::icons::{self, Icon};
use super::jobs::Jobs;
use super::session::Session;

mod augment;
mod checkpoint;
mod config;
mod data;
mod detect;
mod model;
pub mod panes;
mod start;
#[cfg(not(target_arch = "wasm32"))]
mod train;
#[cfg(target_arch = "wasm32")]
#[path = "train_elsewhere.rs"]
mod train;

/// A view. What is open is in the session; a view keeps what only it needs.
pub trait View {
    /// Shows it in the centre.
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs);

    /// Whether it does something with what was just opened: then it stays in front.
    fn takes(&self, what: Shows) -> bool {
        let _ = what;
        false
    }

    /// Whether [`Self::inspect`] shows something now.
    fn inspects(&self, session: &Session) -> bool {
        let _ = session;
        false
    }

    /// Shows what is selected, in the panel beside the centre.
    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let _ = (ui, session, jobs);
    }

    /// Does a command that the frame does not do itself. False if it is none of this view's.
    fn command(&mut self, command: Command, session: &mut Session, jobs: &mut Jobs) -> bool {
        let _ = (command, session, jobs);
        false
    }
}

/// What was opened; a view that shows it comes to the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Nothing: the first view.
    Nothing,
    /// A config.
    Config,
    /// Pictures to find objects in.
    Pictures,
    /// Weights.
    Checkpoint,
    /// Annotations.
    Annotations,
    /// A sample of the config's training data.
    Sample,
    /// A run's folder.
    Run,
}

/// A row of the table.
pub struct Row {
    /// Its name in the rail.
    pub name: &'static str,
    /// Its icon.
    pub icon: Icon,
    /// What it comes to the front for.
    pub shows: &'static [Shows],
    /// Makes it.
    pub make: fn() -> Box<dyn View>,
}

/// All views, in the order of the rail.
pub const VIEWS: &[Row] = &[
    Row {
        name: "Start",
        icon: icons::START,
        shows: &[Shows::Nothing],
        make: || Box::new(start::Start::default()),
    },
    Row {
        name: "Config",
        icon: icons::CONFIG,
        shows: &[Shows::Config],
        make: || Box::new(config::ConfigView::default()),
    },
    Row {
        name: "Augment",
        icon: icons::AUGMENT,
        shows: &[Shows::Sample],
        make: || Box::new(augment::Augment::default()),
    },
    Row {
        name: "Detect",
        icon: icons::DETECT,
        shows: &[Shows::Pictures],
        make: || Box::new(detect::DetectView::default()),
    },
    Row {
        name: "Train",
        icon: icons::TRAIN,
        shows: &[Shows::Run],
        make: || Box::new(train::TrainView::default()),
    },
    Row {
        name: "Checkpoint",
        icon: icons::CHECKPOINT,
        shows: &[Shows::Checkpoint],
        make: || Box::new(checkpoint::CheckpointView::default()),
    },
    Row {
        name: "Data",
        icon: icons::DATA,
        shows: &[Shows::Annotations],
        make: || Box::new(data::DataView::default()),
    },
    Row {
        name: "Model",
        icon: icons::MODEL,
        shows: &[],
        make: || Box::new(model::ModelView::default()),
    },
];

/// The view that shows this, if one does.
pub fn for_what(what: Shows) -> Option<usize> {
    VIEWS.iter().position(|row| row.shows.contains(&what))
}
