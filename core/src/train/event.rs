//! [`Event`]: what a run tells whoever watches.

use std::path::PathBuf;

use super::run::{Parameters, Position};

/// What a run tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// An epoch begins.
    Epoch(u64),
    /// A step was made.
    Step {
        /// Where the run is now.
        position: Position,
        /// The last loss that was read, and the learning rate.
        figures: Option<(f64, f64)>,
        /// How long the run will go on, s.
        seconds_left: Option<f64>,
    },
    /// A line of the log.
    Line(String),
    /// A validation is under way.
    Validating {
        /// Pictures that are done.
        done: usize,
        /// All of them.
        total: usize,
    },
    /// A table of figures.
    Table(String),
    /// A checkpoint was written.
    Saved(PathBuf),
    /// What is trained from here on.
    Trained(Parameters),
    /// A sentence.
    Note(String),
}
