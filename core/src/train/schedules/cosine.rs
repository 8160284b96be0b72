//! `CosineAnnealing` (SGDR, Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts): along half a cosine to `eta_min`, or
//! `eta_min_ratio` of the first value, in `T_max` steps, and up again after them.
//!
//! MMPretrain's `CosineAnnealingWeightDecay` leaves groups alone that have no weight decay.

use std::f64::consts::PI;
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, error_at};

#[derive(Deserialize)]
#[allow(non_snake_case)]
struct Config {
    T_max: Option<f64>,
    eta_min: Option<f64>,
    eta_min_ratio: Option<f64>,
}

#[derive(Debug)]
struct Cosine {
    steps: f64,
    least: Least,
    zero_stays: bool,
}

/// The lowest value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Least {
    Value(f64),
    /// Of the value before any schedule.
    Ratio(f64),
}

impl Least {
    pub(super) fn of(self, base: f64) -> f64 {
        match self {
            Least::Value(value) => value,
            Least::Ratio(ratio) => base * ratio,
        }
    }
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    read_as(node, span, false)
}

pub(super) fn read_weight_decay(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    read_as(node, span, true)
}

fn read_as(node: &Node, span: &Span, zero_stays: bool) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    let least = match (config.eta_min, config.eta_min_ratio) {
        (Some(_), Some(_)) => {
            let message = "either `eta_min` or `eta_min_ratio` can be given";
            return Err(error_at(node, "eta_min_ratio", message, ""));
        }
        (None, Some(ratio)) => Least::Ratio(ratio),
        (value, None) => Least::Value(value.unwrap_or(0.0)),
    };
    // 0 is as good as none.
    let steps = config.T_max.filter(|steps| *steps != 0.0);
    let steps = steps.map_or(span.steps(), |steps| span.scaled(steps));
    if !steps.is_finite() {
        return Err(error_at(node, "T_max", "`T_max` is a number of steps", ""));
    }
    Ok(Rule::Formula(Arc::new(Cosine {
        steps,
        least,
        zero_stays,
    })))
}

impl Formula for Cosine {
    fn next(&self, at: &At) -> f64 {
        if at.step == 0.0 {
            return at.value;
        }
        if self.zero_stays && at.base == 0.0 {
            return 0.0;
        }
        let least = self.least.of(at.base);
        // The step after the lowest one, from which no factor leads up.
        if (at.step - 1.0 - self.steps) % (2.0 * self.steps) == 0.0 {
            return at.value + (at.base - least) * (1.0 - (PI / self.steps).cos()) / 2.0;
        }
        let height = |step: f64| 1.0 + (PI * step / self.steps).cos();
        height(at.step) / height(at.step - 1.0) * (at.value - least) + least
    }
}
