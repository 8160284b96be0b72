//! [`Stop`] and [`TrainError`]: why a run does not go on. [`Event`]: what it tells meanwhile.

use std::fmt;
use std::path::PathBuf;

use super::run::{Parameters, Position};
use crate::config::ConfigErrors;

/// Why a run does not go on.
#[derive(Debug)]
pub enum Stop {
    /// Something that was to be reached is: no error.
    Finished(String),
    /// An error.
    Fault(TrainError),
}

impl Stop {
    /// An error of this sentence.
    pub fn fault(what: impl Into<String>) -> Self {
        Self::Fault(TrainError::Fault(what.into()))
    }
}

/// Why a model cannot be trained.
#[derive(Debug)]
pub enum TrainError {
    /// The config is wrong, or asks for something that is not built.
    Config(ConfigErrors),
    /// Something else, as a sentence.
    Fault(String),
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(errors) => errors.fmt(f),
            Self::Fault(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for TrainError {}

impl From<Stop> for TrainError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Finished(why) => Self::Fault(why),
            Stop::Fault(error) => error,
        }
    }
}

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
