//! [`Span`]: from when until when a schedule works.

use serde::de::DeserializeOwned;

use crate::config::{Diagnostics, Node, error_at};

/// MMEngine's infinity.
pub(super) const INF: f64 = 1e9;

/// Keys that every schedule has.
const COMMON: [&str; 7] = [
    "begin",
    "end",
    "last_step",
    "by_epoch",
    "verbose",
    "convert_to_iter_based",
    "param_name",
];

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Epochs.
    pub max_epochs: u64,
    /// Iterations in all.
    pub max_iters: u64,
    /// Iterations of an epoch.
    pub epoch_length: u64,
}

/// Steps from `begin` on and before `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The first step.
    pub begin: f64,
    /// The step after the last one.
    pub end: f64,
    /// Steps are epochs, not iterations.
    pub by_epoch: bool,
    /// Iterations of an epoch, where what the config says in epochs is to be done in iterations.
    epoch_length: Option<f64>,
}

impl Span {
    /// What a schedule's config says, with the end of the run as the default end.
    pub(super) fn read(node: &Node, length: &Length) -> Result<Self, Diagnostics> {
        let by_epoch = flag(node, "by_epoch")?.unwrap_or(true);
        let convert = flag(node, "convert_to_iter_based")?.unwrap_or(false);
        let last = number(node, "last_step")?.unwrap_or(-1.0);
        if last != -1.0 {
            let message = "`last_step` other than -1 is for resuming without a state; a checkpoint's state is read here";
            return Err(error_at(node, "last_step", message, ""));
        }
        let default = if by_epoch {
            length.max_epochs
        } else {
            length.max_iters
        };
        let mut begin = number(node, "begin")?.unwrap_or(0.0);
        let mut end = number(node, "end")?.unwrap_or(default as f64);
        let mut span = Self {
            begin,
            end,
            by_epoch,
            epoch_length: None,
        };
        if convert {
            if !by_epoch || length.epoch_length == 0 {
                let message = "only a schedule with by_epoch=True, of epochs that have iterations, becomes one of iterations";
                return Err(error_at(node, "convert_to_iter_based", message, ""));
            }
            let epoch_length = length.epoch_length as f64;
            begin = (begin * epoch_length).trunc();
            if end != INF {
                end = (end * epoch_length).trunc();
            }
            span = Self {
                begin,
                end,
                by_epoch: false,
                epoch_length: Some(epoch_length),
            };
        }
        // NaN is not larger.
        if span.end.partial_cmp(&span.begin) != Some(std::cmp::Ordering::Greater) {
            let message = format!(
                "`end` is larger than `begin`, here from {} to {}",
                span.begin, span.end
            );
            return Err(error_at(node, "end", message, ""));
        }
        Ok(span)
    }

    /// Steps that the span has.
    pub fn steps(&self) -> f64 {
        self.end - self.begin
    }

    /// Whether what the config says in epochs is done in iterations.
    pub fn converts(&self) -> bool {
        self.epoch_length.is_some()
    }

    /// A number of steps as the config has it, in steps of the schedule.
    pub fn scaled(&self, steps: f64) -> f64 {
        steps * self.epoch_length.unwrap_or(1.0)
    }

    /// Whether this step is in it.
    pub fn holds(&self, step: f64) -> bool {
        (self.begin..self.end).contains(&step)
    }
}

/// The keys of a schedule's own.
pub(super) fn own<T: DeserializeOwned>(node: &Node) -> Result<T, Diagnostics> {
    node.read_knowing(&COMMON)
}

fn number(node: &Node, key: &str) -> Result<Option<f64>, Diagnostics> {
    let Some(value) = node.get(key).filter(|value| !value.is_none()) else {
        return Ok(None);
    };
    let number = value.as_float().filter(|number| number.is_finite());
    let wrong = || error_at(node, key, format!("`{key}` is a number"), "");
    number.map(Some).ok_or_else(wrong)
}

fn flag(node: &Node, key: &str) -> Result<Option<bool>, Diagnostics> {
    let Some(value) = node.get(key).filter(|value| !value.is_none()) else {
        return Ok(None);
    };
    let wrong = || error_at(node, key, format!("`{key}` is True or False"), "");
    value.as_bool().map(Some).ok_or_else(wrong)
}

/// An error unless `value` is from 0 to 1.
pub(super) fn share(node: &Node, key: &str, value: f64) -> Result<f64, Diagnostics> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    let message = format!("`{key}` is {value}, 0 to 1 are possible");
    Err(error_at(node, key, message, ""))
}
