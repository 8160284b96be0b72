//! `ReduceOnPlateau`: `factor` of the value when a metric of validation has not got better for more than `patience` epochs.

use serde::Deserialize;

use super::span::{INF, Span, own};
use super::{Rule, Saved};
use crate::config::{Diagnostics, Node, error_at};
use crate::train::Setting;

#[derive(Deserialize)]
struct Config {
    monitor: Option<String>,
    rule: Option<Better>,
    factor: Option<f64>,
    patience: Option<i64>,
    threshold: Option<f64>,
    threshold_rule: Option<Threshold>,
    cooldown: Option<i64>,
    min_value: Option<Node>,
    eps: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Better {
    Less,
    Greater,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Threshold {
    Rel,
    Abs,
}

/// How a metric went so far.
#[derive(Clone, Debug)]
pub struct Plateau {
    monitor: String,
    better: Better,
    factor: f64,
    patience: i64,
    threshold: f64,
    threshold_rule: Threshold,
    cooldown: i64,
    /// One for all groups, or one for each.
    min_values: Vec<f64>,
    one_for_all: bool,
    eps: f64,
    best: f64,
    bad_epochs: i64,
    cooling: i64,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    if !span.by_epoch || span.converts() {
        let message = "`ReduceOnPlateau` goes by epochs";
        return Err(error_at(node, "by_epoch", message, ""));
    }
    let factor = config.factor.unwrap_or(0.1);
    if factor.is_nan() || factor >= 1.0 {
        let message = format!("`factor` is {factor}, it is below 1");
        return Err(error_at(node, "factor", message, ""));
    }
    let threshold = config.threshold.unwrap_or(1e-4);
    if threshold.is_nan() || threshold < 0.0 {
        let message = format!("`threshold` is {threshold}, it is 0 or more");
        return Err(error_at(node, "threshold", message, ""));
    }
    let least = config.min_value.as_ref();
    let one_for_all = least.is_none_or(|node| node.as_items().is_none());
    let min_values = match least {
        None => Some(vec![0.0]),
        Some(node) => match node.as_items() {
            Some(items) => items.iter().map(Node::as_float).collect(),
            None => node.as_float().map(|value| vec![value]),
        },
    };
    let Some(min_values) = min_values else {
        let message = "`min_value` is a number, or one for each group";
        return Err(error_at(node, "min_value", message, ""));
    };
    let better = config.rule.unwrap_or(Better::Less);
    Ok(Rule::Plateau(Plateau {
        monitor: config.monitor.unwrap_or_else(|| "loss".into()),
        better,
        factor,
        patience: config.patience.unwrap_or(10),
        threshold,
        threshold_rule: config.threshold_rule.unwrap_or(Threshold::Rel),
        cooldown: config.cooldown.unwrap_or(0),
        min_values,
        one_for_all,
        eps: config.eps.unwrap_or(1e-8),
        best: if better == Better::Less { INF } else { -INF },
        bad_epochs: 0,
        cooling: 0,
    }))
}

impl Plateau {
    /// The metric that it goes by.
    pub fn monitor(&self) -> &str {
        &self.monitor
    }

    /// Whether there is a least value for each of so many groups.
    pub(super) fn fits(&self, groups: usize) -> Result<(), String> {
        let given = self.min_values.len();
        if self.one_for_all || given == groups {
            return Ok(());
        }
        Err(format!(
            "`min_value` has {given} values, there are {groups} groups"
        ))
    }

    /// The least value of each group, those that sleep and the base as the one before.
    pub(super) fn least(&self, awake: &[bool]) -> Vec<f64> {
        let mut given = self.min_values.iter().copied();
        let mut value = given.next().unwrap_or(0.0);
        let mut first = true;
        let least = awake.iter().map(|awake| {
            if *awake && !first {
                value = given.next().unwrap_or(value);
            }
            first &= !awake;
            value
        });
        least.collect()
    }

    /// Takes a metric in. Whether values are to be reduced now.
    pub(super) fn reduces(&mut self, metric: f64) -> bool {
        if self.is_better(metric) {
            self.best = metric;
            self.bad_epochs = 0;
        } else {
            self.bad_epochs += 1;
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad_epochs = 0;
        }
        let reduces = self.bad_epochs > self.patience;
        if reduces {
            self.cooling = self.cooldown;
            self.bad_epochs = 0;
        }
        reduces
    }

    fn is_better(&self, metric: f64) -> bool {
        let (best, threshold) = (self.best, self.threshold);
        match (self.better, self.threshold_rule) {
            (Better::Less, Threshold::Rel) => metric < best * (1.0 - threshold),
            (Better::Less, Threshold::Abs) => metric < best - threshold,
            (Better::Greater, Threshold::Rel) => metric > best * (threshold + 1.0),
            (Better::Greater, Threshold::Abs) => metric > best + threshold,
        }
    }

    /// The value after `old`, unless that would be hardly less.
    pub(super) fn reduced(&self, old: f64, least: f64) -> Option<f64> {
        let value = (old * self.factor).max(least);
        (old - value > self.eps).then_some(value)
    }

    pub(super) fn save(&self, saved: &mut Saved) {
        saved.set("best", self.best);
        saved.set("num_bad_epochs", self.bad_epochs);
        saved.set("cooldown_counter", self.cooling);
    }

    pub(super) fn restore(&mut self, saved: &Saved) {
        let number = |key: &str| saved.get(key).and_then(Setting::number);
        self.best = number("best").unwrap_or(self.best);
        let count = |key: &str, now: i64| number(key).map_or(now, |n| n as i64);
        self.bad_epochs = count("num_bad_epochs", self.bad_epochs);
        self.cooling = count("cooldown_counter", self.cooling);
    }
}
