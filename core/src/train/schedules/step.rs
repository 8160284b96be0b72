//! `Step` and `MultiStep`: `gamma` times the value every `step_size` steps, or at each of `milestones`, which may be said several times.
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, Short, error_at};

#[derive(Deserialize)]
struct StepConfig {
    step_size: f64,
    gamma: Option<f64>,
}

#[derive(Deserialize)]
struct MilestonesConfig {
    milestones: Short<f64, 10_000>,
    gamma: Option<f64>,
}

#[derive(Debug)]
struct Step {
    size: f64,
    gamma: f64,
}

#[derive(Debug)]
struct Milestones {
    at: Vec<f64>,
    gamma: f64,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: StepConfig = own(node)?;
    if config.step_size == 0.0 || !config.step_size.is_finite() {
        return Err(error_at(
            node,
            "step_size",
            "`step_size` is a number of steps",
            "",
        ));
    }
    Ok(Rule::Formula(Arc::new(Step {
        size: span.scaled(config.step_size),
        gamma: config.gamma.unwrap_or(0.1),
    })))
}

pub(super) fn read_milestones(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: MilestonesConfig = own(node)?;
    let at = config.milestones.iter().map(|at| span.scaled(*at));
    Ok(Rule::Formula(Arc::new(Milestones {
        at: at.collect(),
        gamma: config.gamma.unwrap_or(0.1),
    })))
}

impl Formula for Step {
    fn next(&self, at: &At) -> f64 {
        if at.step == 0.0 || at.step % self.size != 0.0 {
            return at.value;
        }
        at.value * self.gamma
    }
}

impl Formula for Milestones {
    fn next(&self, at: &At) -> f64 {
        match self
            .at
            .iter()
            .filter(|milestone| **milestone == at.step)
            .count()
        {
            0 => at.value,
            times => at.value * self.gamma.powi(times as i32),
        }
    }
}
