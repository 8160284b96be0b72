//! Schedules: how settings of groups change while training goes on (MMEngine's `param_scheduler`). To add one, write a file and a row in
//! [`ROWS`].
//!
//! Several are chained as MMEngine chains them: each makes the next value out of the one that the group has now, whoever made that, so they
//! are steps of a recursion and not functions of time. Each does its first step when it is built, in the config's order. They count what they
//! were told (`_global_step`) and, between `begin` and `end`, what they did (`last_step`). All is f64; no device is asked.
//!
//! `XLR` changes `lr`, `XMomentum` changes `momentum` or the first of `betas`, `XParamScheduler` what its `param_name` says.

mod constant;
mod cosine;
mod cosine_restart;
mod detectron2;
mod exponential;
mod linear;
mod one_cycle;
mod plateau;
mod poly;
mod quadratic_warmup;
mod schedule;
mod span;
mod step;
#[cfg(test)]
mod tests;

pub use plateau::Plateau;
pub use schedule::{Saved, Schedule, ScheduleError};
pub use span::{Length, Span};

use std::sync::Arc;

use super::Settings;
use super::groups::Groups;
use crate::config::{Diagnostics, Node, unsupported};
use crate::registry::{Family, Registry, Row};

/// What the next value is made of.
pub struct At<'a> {
    /// Steps of this schedule before this one.
    pub step: f64,
    /// The value now.
    pub value: f64,
    /// The value before any schedule.
    pub base: f64,
    /// All settings of the group.
    pub settings: &'a Settings,
}

/// Makes the next value of a setting.
pub trait Formula: std::fmt::Debug + Send + Sync {
    /// The value of this step.
    fn next(&self, at: &At) -> f64;

    /// What is to be set before the first step in each of the groups that the flags say are awake.
    ///
    /// # Errors
    /// The config does not fit the groups.
    fn prepare(&self, groups: &mut Groups, parameter: &str) -> Result<(), String> {
        let _ = (groups, parameter);
        Ok(())
    }
}

/// What a schedule goes by.
#[derive(Clone, Debug)]
pub enum Rule {
    /// The steps that were done.
    Formula(Arc<dyn Formula>),
    /// What validation finds.
    Plateau(Plateau),
}

/// Which setting a schedule changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `lr`.
    Lr,
    /// `momentum`, or the first of `betas`.
    Momentum,
    /// `weight_decay`.
    WeightDecay,
    /// What `param_name` says.
    Named,
}

/// What builds a schedule.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Which setting it changes.
    pub target: Target,
    /// Reads its rule.
    pub rule: fn(&Node, &Span) -> Result<Rule, Diagnostics>,
}

/// The kind `parameter scheduler` of the registry.
#[derive(Debug)]
pub struct Schedulers;

impl Family for Schedulers {
    const KIND: &'static str = "parameter scheduler";
    type Build = Kind;
    const COMPLETE: bool = true;
}

const fn row(
    scope: &'static str,
    name: &'static str,
    target: Target,
    rule: fn(&Node, &Span) -> Result<Rule, Diagnostics>,
) -> Row<Schedulers> {
    Row::<Schedulers>::new(scope, name, Kind { target, rule })
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Schedulers>; 36] = {
    use Target::{Lr, Momentum, Named, WeightDecay};
    [
        row("detectron2", "WarmupCosineLR", Lr, detectron2::cosine),
        row("detectron2", "WarmupMultiStepLR", Lr, detectron2::steps),
        row(
            "detectron2",
            "WarmupStepWithFixedGammaLR",
            Lr,
            detectron2::equal,
        ),
        row("mmengine", "ConstantLR", Lr, constant::read),
        row("mmengine", "ConstantMomentum", Momentum, constant::read),
        row("mmengine", "ConstantParamScheduler", Named, constant::read),
        row("mmengine", "CosineAnnealingLR", Lr, cosine::read),
        row(
            "mmengine",
            "CosineAnnealingMomentum",
            Momentum,
            cosine::read,
        ),
        row(
            "mmengine",
            "CosineAnnealingParamScheduler",
            Named,
            cosine::read,
        ),
        row("mmengine", "CosineRestartLR", Lr, cosine_restart::read),
        row(
            "mmengine",
            "CosineRestartMomentum",
            Momentum,
            cosine_restart::read,
        ),
        row(
            "mmengine",
            "CosineRestartParamScheduler",
            Named,
            cosine_restart::read,
        ),
        row("mmengine", "ExponentialLR", Lr, exponential::read),
        row(
            "mmengine",
            "ExponentialMomentum",
            Momentum,
            exponential::read,
        ),
        row(
            "mmengine",
            "ExponentialParamScheduler",
            Named,
            exponential::read,
        ),
        row("mmengine", "LinearLR", Lr, linear::read),
        row("mmengine", "LinearMomentum", Momentum, linear::read),
        row("mmengine", "LinearParamScheduler", Named, linear::read),
        row("mmengine", "MultiStepLR", Lr, step::read_milestones),
        row(
            "mmengine",
            "MultiStepMomentum",
            Momentum,
            step::read_milestones,
        ),
        row(
            "mmengine",
            "MultiStepParamScheduler",
            Named,
            step::read_milestones,
        ),
        row("mmengine", "OneCycleLR", Lr, one_cycle::read),
        row("mmengine", "OneCycleParamScheduler", Named, one_cycle::read),
        row("mmengine", "PolyLR", Lr, poly::read),
        row("mmengine", "PolyMomentum", Momentum, poly::read),
        row("mmengine", "PolyParamScheduler", Named, poly::read),
        row("mmengine", "ReduceOnPlateauLR", Lr, plateau::read),
        row(
            "mmengine",
            "ReduceOnPlateauMomentum",
            Momentum,
            plateau::read,
        ),
        row(
            "mmengine",
            "ReduceOnPlateauParamScheduler",
            Named,
            plateau::read,
        ),
        row("mmengine", "StepLR", Lr, step::read),
        row("mmengine", "StepMomentum", Momentum, step::read),
        row("mmengine", "StepParamScheduler", Named, step::read),
        row("mmdet", "QuadraticWarmupLR", Lr, quadratic_warmup::read),
        row(
            "mmdet",
            "QuadraticWarmupMomentum",
            Momentum,
            quadratic_warmup::read,
        ),
        row(
            "mmdet",
            "QuadraticWarmupParamScheduler",
            Named,
            quadratic_warmup::read,
        ),
        row(
            "mmpretrain",
            "CosineAnnealingWeightDecay",
            WeightDecay,
            cosine::read_weight_decay,
        ),
    ]
};

/// All schedules of a run.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    all: Vec<Schedule>,
}

impl Schedules {
    /// Those of `node`, a config's `param_scheduler` (a dict, a list of them, or none). Each does its first step on `groups`.
    ///
    /// # Errors
    /// Something in the config is wrong.
    pub fn build(
        node: Option<&Node>,
        groups: &mut Groups,
        length: &Length,
        registry: &Registry,
        scope: &str,
    ) -> Result<Self, Diagnostics> {
        let Some(node) = node.filter(|node| !node.is_none()) else {
            return Ok(Self::default());
        };
        if node
            .as_dict()
            .is_some_and(|dict| !dict.contains("type") && !dict.is_empty())
        {
            let message = "schedules of several optimizers are not supported yet";
            return Err(unsupported(node, "", message, ""));
        }
        let nodes = node.as_items().unwrap_or(std::slice::from_ref(node));
        let (mut all, mut problems) = (Vec::new(), Diagnostics::new());
        for node in nodes {
            let scope = node
                .get("_scope_")
                .and_then(|s| s.as_str())
                .unwrap_or(scope);
            let made = registry.find::<Schedulers>(node, scope);
            match made.and_then(|row| Schedule::build(node, &row, groups, length)) {
                Ok(schedule) => all.push(schedule),
                Err(errors) => problems.extend(errors),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { all })
    }

    /// To be told after every iteration.
    pub fn after_iter(&mut self, groups: &mut Groups) {
        let by_iter = self.all.iter_mut().filter(|schedule| !schedule.by_epoch());
        by_iter.for_each(|schedule| schedule.step(groups));
    }

    /// To be told after every epoch.
    pub fn after_epoch(&mut self, groups: &mut Groups) {
        let by_epoch = self.all.iter_mut().filter(|schedule| schedule.by_epoch());
        by_epoch.for_each(|schedule| schedule.step(groups));
    }

    /// To be told what a validation found, by the names of its metrics.
    ///
    /// # Errors
    /// A schedule waits for another metric.
    pub fn after_validation(
        &mut self,
        groups: &mut Groups,
        metrics: &[(String, f64)],
    ) -> Result<(), ScheduleError> {
        let mut all = self.all.iter_mut();
        all.try_for_each(|schedule| schedule.step_by(groups, metrics))
    }

    /// Goes on with these of the groups alone, by their places in [`Groups::settings`].
    pub(super) fn keep(&mut self, places: &[usize]) {
        self.all
            .iter_mut()
            .for_each(|schedule| schedule.keep(places));
    }

    /// In the config's order.
    pub fn iter(&self) -> impl Iterator<Item = &Schedule> {
        self.all.iter()
    }

    /// What a checkpoint has of each (`param_schedulers`).
    pub fn state(&self, groups: &Groups) -> Vec<Saved> {
        self.all
            .iter()
            .map(|schedule| schedule.state(groups))
            .collect()
    }

    /// Goes on where a checkpoint was written. The groups' settings come from the optimizer's state.
    ///
    /// # Errors
    /// The checkpoint has other schedules.
    pub fn restore(&mut self, saved: &[Saved], groups: &Groups) -> Result<(), ScheduleError> {
        if saved.len() != self.all.len() {
            return Err(ScheduleError::Count {
                saved: saved.len(),
                here: self.all.len(),
            });
        }
        let pairs = self.all.iter_mut().zip(saved);
        for (index, (schedule, saved)) in pairs.enumerate() {
            schedule.restore(saved, groups, index)?;
        }
        Ok(())
    }
}
