//! `OneCycle` (Smith and Topin 2017, arXiv 1708.07120): from `eta_max / div_factor` up to `eta_max`, and down far below the start. It is not
//! chained: values are functions of the step.

use std::f64::consts::PI;
use std::sync::Arc;

use serde::Deserialize;

use super::schedule::initial_name;
use super::span::{Span, own, share};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, error_at};
use crate::train::groups::Groups;

#[derive(Deserialize)]
struct Config {
    eta_max: Option<Node>,
    total_steps: Option<f64>,
    pct_start: Option<f64>,
    anneal_strategy: Option<Strategy>,
    div_factor: Option<f64>,
    final_div_factor: Option<f64>,
    three_phase: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    Cos,
    Linear,
}

#[derive(Debug)]
struct OneCycle {
    eta_max: Vec<f64>,
    one_for_all: bool,
    div_factor: f64,
    final_div_factor: f64,
    strategy: Strategy,
    phases: Vec<Phase>,
}

/// Until the step `end`, from one of a group's values to another.
#[derive(Debug)]
struct Phase {
    end: f64,
    from: &'static str,
    to: &'static str,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    let named = node.get("param_name").and_then(|name| name.as_str());
    if named.is_some_and(|name| name != "lr") {
        let message = "OneCycle is of the learning rate alone";
        return Err(error_at(node, "param_name", message, ""));
    }
    let numbers = |node: &Node| match node.as_items() {
        Some(items) => items.iter().map(Node::as_float).collect::<Option<Vec<_>>>(),
        None => node.as_float().map(|value| vec![value]),
    };
    let one_for_all = config
        .eta_max
        .as_ref()
        .is_none_or(|n| n.as_items().is_none());
    let eta_max = config.eta_max.as_ref().map_or(Some(vec![0.0]), numbers);
    let Some(eta_max) = eta_max else {
        let message = "`eta_max` is a number, or one for each group";
        return Err(error_at(node, "eta_max", message, ""));
    };
    let total = config
        .total_steps
        .map_or(span.steps(), |steps| span.scaled(steps));
    // The original stops at the step after `total`.
    if total.is_nan() || total <= 0.0 || span.steps() - 1.0 > total {
        let message = format!(
            "`total_steps` is {total}, the schedule has {} steps",
            span.steps()
        );
        return Err(error_at(node, "total_steps", message, ""));
    }
    let start = share(node, "pct_start", config.pct_start.unwrap_or(0.3))?;
    let phase = |end, from, to| Phase { end, from, to };
    let first = phase(start * total - 1.0, "initial_lr", "max_lr");
    let phases = match config.three_phase.unwrap_or(false) {
        true => vec![
            first,
            phase(2.0 * start * total - 2.0, "max_lr", "initial_lr"),
            phase(total - 1.0, "initial_lr", "min_lr"),
        ],
        false => vec![first, phase(total - 1.0, "max_lr", "min_lr")],
    };
    let one_cycle = OneCycle {
        eta_max,
        one_for_all,
        div_factor: config.div_factor.unwrap_or(25.0),
        final_div_factor: config.final_div_factor.unwrap_or(1e4),
        strategy: config.anneal_strategy.unwrap_or(Strategy::Cos),
        phases,
    };
    if one_cycle
        .phases
        .windows(2)
        .any(|pair| pair[0].end == pair[1].end)
        || start * total == 1.0
    {
        let message = "a phase of this schedule has no steps";
        return Err(error_at(node, "pct_start", message, "another `pct_start`"));
    }
    Ok(Rule::Formula(Arc::new(one_cycle)))
}

impl Formula for OneCycle {
    fn next(&self, at: &At) -> f64 {
        let mut began = 0.0;
        let last = self.phases.len() - 1;
        for (i, phase) in self.phases.iter().enumerate() {
            if at.step > phase.end && i != last {
                began = phase.end;
                continue;
            }
            let done = (at.step - began) / (phase.end - began);
            let [from, to] = [phase.from, phase.to].map(|name| at.settings.known(name));
            return match self.strategy {
                Strategy::Cos => to + (from - to) / 2.0 * ((PI * done).cos() + 1.0),
                Strategy::Linear => (to - from) * done + from,
            };
        }
        at.value
    }

    fn prepare(&self, groups: &mut Groups, parameter: &str) -> Result<(), String> {
        let awake = groups.awake();
        let count = awake.iter().filter(|awake| **awake).count();
        if !self.one_for_all && self.eta_max.len() != count {
            return Err(format!(
                "`eta_max` has {} values, there are {count} groups, with the base",
                self.eta_max.len()
            ));
        }
        let mut given = self.eta_max.iter().copied();
        let mut max = given.next().unwrap_or(0.0);
        let mut first = true;
        for (settings, awake) in groups.settings_mut().zip(awake) {
            if awake && !first && !self.one_for_all {
                max = given.next().unwrap_or(max);
            }
            first &= !awake;
            let initial = max / self.div_factor;
            settings.set(&initial_name(parameter), initial);
            settings.set(&format!("max_{parameter}"), max);
            settings.set(&format!("min_{parameter}"), initial / self.final_div_factor);
        }
        Ok(())
    }
}
