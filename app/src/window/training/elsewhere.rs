//! Of training, what a window without it has: a page can read logs, and starts nothing.

#[path = "log.rs"]
pub mod log;

use std::path::PathBuf;
use std::sync::Arc;

use smalti::device::Chosen;

use super::host::Host;
use super::jobs::Jobs;
use super::messages::{Level, Offer};

/// A run that could be begun: here there is none.
pub enum Order {}

/// A run of this window: here there is none.
pub enum LiveRun {}

impl LiveRun {
    /// Whether it has not ended yet.
    pub fn is_live(&self) -> bool {
        match *self {}
    }

    /// The config that is trained.
    pub fn config(&self) -> &PathBuf {
        match *self {}
    }

    /// Ends it.
    pub fn stop(&self) {
        match *self {}
    }
}

/// No run.
#[derive(Default)]
pub struct Training {
    /// The last run of this window: none.
    pub run: Option<LiveRun>,
}

impl Training {
    /// Whether a run is under way.
    pub fn is_live(&self) -> bool {
        false
    }

    /// Begins a run, of which there is no order here.
    pub fn start(&mut self, _: &mut Jobs, _: &Arc<dyn Host>, _: &Chosen, order: Order) {
        match order {}
    }

    /// What was cut off: nothing.
    pub fn take_left(&mut self, _: &dyn Host, _: usize) -> Option<Order> {
        None
    }

    /// Nothing comes.
    pub fn tick(&mut self, _: &mut Jobs, _: &Arc<dyn Host>) -> Vec<(Level, String, Option<Offer>)> {
        Vec::new()
    }
}
