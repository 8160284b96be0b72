//! [`Stop`] and [`TrainError`]: why a run does not go on.

use std::fmt;

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
