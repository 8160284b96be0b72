//! [`Schedule`]: one entry of `param_scheduler`, and where it is.

use std::fmt;

use super::span::Span;
use super::{At, Length, Rule, Schedulers, Target};
use crate::config::{Diagnostics, Node, error_at};
use crate::registry::Row;
use crate::train::groups::Groups;
use crate::train::{Setting, Settings};

/// What a checkpoint has of a schedule, by MMEngine's names (`last_step`, `_global_step`, ...).
pub type Saved = Settings;

/// Why a schedule cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleError {
    /// A validation did not find what a schedule goes by.
    NoMetric {
        /// The schedule's `monitor`.
        monitor: String,
        /// What was found.
        found: Vec<String>,
    },
    /// A checkpoint has another number of schedules.
    Count {
        /// In the checkpoint.
        saved: usize,
        /// In the config.
        here: usize,
    },
    /// Something of a checkpoint's schedule is missing, or is no number.
    Missing {
        /// Which schedule.
        index: usize,
        /// The name.
        key: &'static str,
    },
    /// A checkpoint's schedule is of another number of groups.
    Groups {
        /// Which schedule.
        index: usize,
        /// In the checkpoint.
        saved: usize,
        /// Here.
        here: usize,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMetric { monitor, found } => write!(
                f,
                "a schedule goes by the metric `{monitor}`, validation found {}",
                found.join(", ")
            ),
            Self::Count { saved, here } => write!(
                f,
                "the checkpoint has {saved} schedules, the config {here}: resume with the config that it was written with"
            ),
            Self::Missing { index, key } => write!(
                f,
                "schedule {index} of the checkpoint has no number `{key}`"
            ),
            Self::Groups { index, saved, here } => write!(
                f,
                "schedule {index} of the checkpoint is of {saved} groups of parameters, here are {here}"
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}

/// Changes one setting of all groups.
#[derive(Clone, Debug)]
pub struct Schedule {
    name: &'static str,
    parameter: String,
    /// `momentum` stands for the first of `betas`.
    betas: bool,
    span: Span,
    rule: Rule,
    last_step: i64,
    global_step: i64,
    base_values: Vec<f64>,
    last_value: Vec<f64>,
}

const NUMBERS: &str = "checked when the schedule was built";

impl Schedule {
    pub(super) fn build(
        node: &Node,
        row: &Row<Schedulers>,
        groups: &mut Groups,
        length: &Length,
    ) -> Result<Self, Diagnostics> {
        let span = Span::read(node, length)?;
        let rule = (row.build.rule)(node, &span)?;
        let named = node.get("param_name").and_then(|name| name.as_str());
        let parameter = match (row.build.target, named) {
            (Target::Lr, None) => "lr",
            (Target::Momentum, None) => "momentum",
            (Target::WeightDecay, None) => "weight_decay",
            (Target::Named, Some(name)) => name,
            (Target::Named, None) => {
                return Err(error_at(
                    node,
                    "param_name",
                    "the key `param_name` is missing",
                    "",
                ));
            }
            (_, Some(_)) => {
                let message = format!("`{}` has no `param_name`", row.name);
                return Err(error_at(node, "param_name", message, ""));
            }
        };
        let has = |groups: &Groups, name: &str| groups.settings().all(|s| s.get(name).is_some());
        let momentum = row.build.target == Target::Momentum;
        // Adam has a `momentum` only since another schedule gave it one.
        let betas = momentum && has(groups, "betas");
        if betas {
            for settings in groups.settings_mut() {
                let [first, _] = settings.betas();
                settings.set("momentum", first);
            }
        }
        if !groups.settings().all(|s| s.number(parameter).is_some()) {
            let message = format!("the optimizer has no number `{parameter}` to be scheduled");
            return Err(error_at(node, "param_name", message, ""));
        }
        if let Rule::Formula(formula) = &rule {
            let prepared = formula.prepare(groups, parameter);
            prepared.map_err(|message| error_at(node, "", message, ""))?;
        }
        if let Rule::Plateau(plateau) = &rule {
            let count = groups.awake().iter().filter(|awake| **awake).count();
            let count = count - usize::from(groups.base().is_some());
            let fits = plateau.fits(count);
            fits.map_err(|message| error_at(node, "min_value", message, ""))?;
        }
        let initial = initial_name(parameter);
        for settings in groups.settings_mut() {
            let value = settings.known(parameter);
            settings.set_default(&initial, value);
        }
        let values =
            |name: &str| -> Vec<f64> { groups.settings().map(|s| s.known(name)).collect() };
        let waits = matches!(rule, Rule::Plateau(_));
        let mut schedule = Self {
            name: row.name,
            parameter: parameter.to_string(),
            betas,
            span,
            rule,
            last_step: -1,
            global_step: if waits { 0 } else { -1 },
            base_values: values(&initial),
            last_value: values(parameter),
        };
        if !waits {
            schedule.step(groups);
        }
        Ok(schedule)
    }

    /// Its registered name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The setting that it changes.
    pub fn parameter(&self) -> &str {
        &self.parameter
    }

    /// When it works.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Whether it is told of epochs, not of iterations.
    pub fn by_epoch(&self) -> bool {
        self.span.by_epoch
    }

    pub(super) fn step(&mut self, groups: &mut Groups) {
        self.global_step += 1;
        if let Rule::Formula(formula) = &self.rule {
            if self.span.holds(self.global_step as f64) {
                self.last_step += 1;
                let all = groups.settings_mut().zip(&self.base_values);
                for (settings, base) in all {
                    let value = formula.next(&At {
                        step: self.last_step as f64,
                        value: settings.known(&self.parameter),
                        base: *base,
                        settings,
                    });
                    settings.set(&self.parameter, value);
                }
            }
            self.done(groups);
        }
    }

    /// Tells what a validation found.
    pub(super) fn step_by(
        &mut self,
        groups: &mut Groups,
        metrics: &[(String, f64)],
    ) -> Result<(), ScheduleError> {
        let awake = groups.awake();
        let Rule::Plateau(plateau) = &mut self.rule else {
            return Ok(());
        };
        if self.span.holds(self.global_step as f64) {
            self.last_step += 1;
            let found = metrics.iter().find(|(name, _)| name == plateau.monitor());
            let Some((_, metric)) = found else {
                return Err(ScheduleError::NoMetric {
                    monitor: plateau.monitor().to_string(),
                    found: metrics.iter().map(|(name, _)| name.clone()).collect(),
                });
            };
            if plateau.reduces(*metric) {
                let least = plateau.least(&awake);
                for (settings, least) in groups.settings_mut().zip(least) {
                    let old = settings.known(&self.parameter);
                    if let Some(value) = plateau.reduced(old, least) {
                        settings.set(&self.parameter, value);
                    }
                }
            }
        }
        self.done(groups);
        Ok(())
    }

    pub(super) fn keep(&mut self, places: &[usize]) {
        let of = |values: &[f64]| places.iter().map(|place| values[*place]).collect();
        self.base_values = of(&self.base_values);
        self.last_value = of(&self.last_value);
    }

    fn done(&mut self, groups: &mut Groups) {
        self.last_value.clear();
        for settings in groups.settings_mut() {
            let value = settings.known(&self.parameter);
            self.last_value.push(value);
            if self.betas {
                let [_, second] = settings.betas();
                settings.set("betas", [value, second]);
            }
        }
    }

    pub(super) fn state(&self, groups: &Groups) -> Saved {
        let awake = groups.awake();
        let of_awake = |values: &[f64]| {
            let pairs = values.iter().zip(&awake).filter(|(_, awake)| **awake);
            Setting::Numbers(pairs.map(|(value, _)| *value).collect())
        };
        let mut saved = Saved::default();
        saved.set("param_name", self.parameter.as_str());
        saved.set("begin", self.span.begin as i64);
        saved.set("end", self.span.end as i64);
        saved.set("by_epoch", self.span.by_epoch);
        saved.set("base_values", of_awake(&self.base_values));
        saved.set("last_step", self.last_step);
        saved.set("_global_step", self.global_step);
        saved.set("verbose", false);
        if self.betas {
            saved.set("use_betas", true);
        }
        if let Rule::Plateau(plateau) = &self.rule {
            plateau.save(&mut saved);
        }
        saved.set("_last_value", of_awake(&self.last_value));
        saved
    }

    pub(super) fn restore(
        &mut self,
        saved: &Saved,
        groups: &Groups,
        index: usize,
    ) -> Result<(), ScheduleError> {
        let number = |key: &'static str| {
            let number = saved.number(key).filter(|n| n.abs() < 1e15);
            number.ok_or(ScheduleError::Missing { index, key })
        };
        let (last_step, global_step) = (number("last_step")?, number("_global_step")?);
        let awake = groups.awake();
        let here = awake.iter().filter(|awake| **awake).count();
        let lists = ["base_values", "_last_value"].map(|key| match saved.get(key) {
            // Saved before MMEngine 0.7.
            None => Ok(None),
            Some(Setting::Numbers(values)) if values.len() == here => Ok(Some(values)),
            Some(Setting::Numbers(values)) => Err(ScheduleError::Groups {
                index,
                saved: values.len(),
                here,
            }),
            Some(_) => Err(ScheduleError::Missing { index, key }),
        });
        let [base_values, last_value] = lists;
        let (base_values, last_value) = (base_values?, last_value?);
        if let Rule::Plateau(plateau) = &mut self.rule {
            plateau.restore(saved);
        }
        self.last_step = last_step as i64;
        self.global_step = global_step as i64;
        let put = |values: &mut Vec<f64>, saved: Option<&Vec<f64>>| {
            let of_awake = values.iter_mut().zip(&awake).filter(|(_, awake)| **awake);
            for ((value, _), saved) in of_awake.zip(saved.into_iter().flatten()) {
                *value = *saved;
            }
        };
        put(&mut self.base_values, base_values);
        put(&mut self.last_value, last_value);
        debug_assert_eq!(
            self.base_values.len(),
            groups.settings().count(),
            "{NUMBERS}"
        );
        Ok(())
    }
}

/// Where a group keeps the value that a setting had before any schedule.
pub(super) fn initial_name(parameter: &str) -> String {
    format!("initial_{parameter}")
}
