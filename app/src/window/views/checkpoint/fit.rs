//! How the tensors of a file fit the model of the config that is open.

use std::path::Path;
use std::sync::Arc;

use eframe::egui::Color32;

use smalti::weights::{self, Checkpoint, Wanted};

use crate::window::analysis::Analysis;
use crate::window::files::short;
use crate::window::icons::{self, Icon};
use crate::window::load_report::Hint;
use crate::window::tokens::Tokens;

/// A file and the model that it is to fit.
pub struct Question {
    pub checkpoint: Arc<Checkpoint>,
    pub analysis: Option<Arc<Analysis>>,
    pub prefix: Option<String>,
}

/// How a tensor fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The model takes it.
    Fit,
    /// The model wants it, and the file lacks it.
    Missing,
    /// It has another shape.
    Shape,
    /// The model does not want it.
    Extra,
    /// It cannot be read.
    Unreadable,
}

const STATES: [(State, &str); 5] = [
    (State::Fit, "fit"),
    (State::Missing, "missing"),
    (State::Shape, "shape"),
    (State::Extra, "extra"),
    (State::Unreadable, "unreadable"),
];

impl State {
    /// In a word.
    pub fn word(self) -> &'static str {
        STATES
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, word)| word)
    }

    /// Its icon and its colour.
    pub fn look(self, tokens: &Tokens) -> (Icon, Color32) {
        match self {
            Self::Fit => (icons::OK, tokens.ok),
            Self::Missing | Self::Unreadable => (icons::ERROR, tokens.error),
            Self::Shape => (icons::WARNING, tokens.warning),
            Self::Extra => (icons::NOTE, tokens.weak),
        }
    }
}

/// A tensor of the file, or one that the model wants and the file lacks.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name in the file, or in the model if the file lacks it.
    pub key: String,
    pub shape: String,
    pub dtype: String,
    pub state: Option<State>,
    pub why: String,
}

/// All tensors, and what would make them fit.
pub struct Fit {
    pub tensors: Vec<Tensor>,
    pub counts: Vec<(State, usize)>,
    pub hint: Option<Hint>,
    pub against: Option<String>,
    /// Why there is no model to fit.
    pub without: Option<String>,
}

/// A shape as text: `64x3x7x7`.
pub fn shape(sizes: &[usize]) -> String {
    if sizes.is_empty() {
        return "number".into();
    }
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    sizes.join("x")
}

/// Compares a file with a model.
pub fn fit(question: &Question) -> Fit {
    let checkpoint = &question.checkpoint;
    let tensor = |key: &str| Tensor {
        key: key.to_owned(),
        shape: checkpoint
            .get(key)
            .map_or(String::new(), |t| shape(t.shape())),
        dtype: checkpoint
            .get(key)
            .map_or(String::new(), |t| t.dtype().to_string()),
        state: checkpoint.fault(key).map(|_| State::Unreadable),
        why: checkpoint.fault(key).map(str::to_owned).unwrap_or_default(),
    };
    let mut tensors: Vec<Tensor> = checkpoint.keys().map(tensor).collect();
    let alone = |tensors, why: &str| Fit {
        tensors,
        counts: Vec::new(),
        hint: None,
        against: None,
        without: Some(why.to_owned()),
    };
    let Some(config) = question.analysis.as_ref().and_then(|a| a.config.as_ref()) else {
        return alone(tensors, "Open a config to see which of them fit its model.");
    };
    let wanted: Vec<Wanted> = match smalti::model::state(config, &smalti::registry()) {
        Ok(state) => state.into_iter().map(Wanted::from).collect(),
        Err(_) => {
            return alone(
                tensors,
                "The model of the config that is open has errors: mend them to see which tensors fit.",
            );
        }
    };
    let report = weights::report(&wanted, checkpoint, question.prefix.as_deref());
    let prefix = report.prefix.clone().unwrap_or_default();
    let place: std::collections::HashMap<String, usize> = tensors
        .iter()
        .enumerate()
        .map(|(i, t)| (t.key.clone(), i))
        .collect();
    let mut set = |key: &str, state: State, why: String| {
        if let Some(tensor) = place.get(key).and_then(|i| tensors.get_mut(*i)) {
            (tensor.state, tensor.why) = (Some(state), why);
        }
    };
    report
        .matched
        .iter()
        .for_each(|(_, key)| set(key, State::Fit, String::new()));
    report.unexpected.iter().for_each(|key| {
        set(
            &format!("{prefix}{key}"),
            State::Extra,
            ": the model has no such tensor".into(),
        )
    });
    report.wrong_shape.iter().for_each(|w| {
        set(
            &format!("{prefix}{}", w.key),
            State::Shape,
            format!(": the model wants {}", shape(&w.model)),
        )
    });
    report.unreadable.iter().for_each(|(key, why)| {
        set(
            &format!("{prefix}{key}"),
            State::Unreadable,
            format!(": {why}"),
        )
    });
    let shapes: std::collections::HashMap<&str, &[usize]> = wanted
        .iter()
        .map(|w| (w.key.as_str(), w.shape.as_slice()))
        .collect();
    let missing = report.missing.iter().map(|key| Tensor {
        key: key.clone(),
        shape: shapes.get(key.as_str()).map_or(String::new(), |s| shape(s)),
        dtype: String::new(),
        state: Some(State::Missing),
        why: ": the file lacks it".into(),
    });
    tensors.extend(missing.collect::<Vec<_>>());
    let counts = STATES
        .iter()
        .map(|(state, _)| {
            (
                *state,
                tensors.iter().filter(|t| t.state == Some(*state)).count(),
            )
        })
        .filter(|(_, n)| *n > 0);
    let counts = counts.collect();
    let hint = Hint::of(&report);
    let against = Some(short(Path::new(&config.path)));
    Fit {
        tensors,
        counts,
        hint,
        against,
        without: None,
    }
}
