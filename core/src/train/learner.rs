//! [`Learner`]: what learns. A model, its optimizer and schedules, and one step: walk 2 of the crate.

use burn::tensor::Tensor;

use super::Average;
use super::schedules::{Length, ScheduleError, Schedules};
use super::{Accumulation, Optimization, UpdateError};
use crate::batch::Batch;
use crate::config::{Config, Diagnostics};
use crate::detectors::Detector;
use crate::layers::{Params, Store};
use crate::losses::Losses;
use crate::probe::Probe;
use crate::registry::{DEFAULT_SCOPE, Registry};
use crate::targets::Targets;
use crate::threads;

/// A model that learns.
#[derive(Debug)]
pub struct Learner {
    /// The model.
    pub detector: Box<dyn Detector>,
    /// Its tensors.
    pub store: Store,
    /// The optimizer.
    pub optimization: Optimization,
    /// The schedules.
    pub schedules: Schedules,
    /// The averaged weights, where a hook keeps some.
    pub average: Option<Average>,
    accumulation: Accumulation,
    seed: u64,
}

/// What a step came to, on the device.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// The losses.
    pub losses: Losses,
    /// The norm of all gradients before they were bounded, where that is done and this iteration made a step.
    pub grad_norm: Option<Tensor<1>>,
}

impl Learner {
    /// What `config` says of the training of `detector`, which was built in `params`.
    ///
    /// # Errors
    /// Something in the config is wrong.
    pub fn build(
        config: &Config,
        registry: &Registry,
        detector: Box<dyn Detector>,
        params: &Params,
        length: &Length,
        batch_size: u64,
        seed: u64,
    ) -> Result<Self, Diagnostics> {
        let store = params.store();
        let mut optimization = Optimization::build(&config.root, registry, &store, batch_size)?;
        let scope = config.root.get("default_scope").and_then(|s| s.as_str());
        let schedules = Schedules::build(
            config.root.get("param_scheduler"),
            optimization.groups_mut(),
            length,
            registry,
            scope.unwrap_or(DEFAULT_SCOPE),
        )?;
        store.track(true);
        store.learn("", true);
        Ok(Self {
            accumulation: Accumulation::new(optimization.accumulative_counts, 0, length.max_iters),
            detector,
            store,
            optimization,
            schedules,
            average: None,
            seed,
        })
    }

    /// Goes on after `done` of `all` iterations.
    pub fn resume(&mut self, done: u64, all: u64) {
        self.accumulation = Accumulation::new(self.accumulation.counts(), done, all);
    }

    /// Learns from a batch. `iter` counts the iterations of the run from 0; layers and samplers draw by it.
    ///
    /// # Errors
    /// See [`UpdateError`].
    ///
    /// # Panics
    /// If the model gives no loss.
    pub async fn step(
        &mut self,
        iter: u64,
        batch: Batch,
        targets: &Targets,
    ) -> Result<Stepped, UpdateError> {
        let device = batch.pixels.device();
        threads::among(&device, async || self.step_here(iter, batch, targets).await).await
    }

    async fn step_here(
        &mut self,
        iter: u64,
        batch: Batch,
        targets: &Targets,
    ) -> Result<Stepped, UpdateError> {
        self.store.set_step(self.seed, iter);
        let probe = &mut Probe::off();
        let maps = self.detector.extract(batch.pixels, probe); // backbone, neck
        let losses = self
            .detector
            .losses(maps, &batch.pictures, targets, probe) // priors, assigners, samplers, losses
            .await?;
        let total = losses.total().expect("a detector that learns has a loss");
        let share = self.accumulation.factor();
        let total = if share == 1 {
            total
        } else {
            total / share as f64
        };
        let scale = self.optimization.loss_scale();
        let total = if scale == 1.0 { total } else { total * scale };
        let gradients = self.store.gradients(total);
        let grad_norm = match self.accumulation.take(gradients) {
            Some(gradients) => self.optimization.update(gradients).await?,
            None => None,
        };
        let losses = losses.without_autodiff();
        Ok(Stepped { losses, grad_norm })
    }

    /// To be called after each iteration, by the hook of schedules.
    pub fn schedule_iter(&mut self) {
        self.schedules.after_iter(self.optimization.groups_mut());
    }

    /// To be called after each epoch.
    pub fn schedule_epoch(&mut self) {
        self.schedules.after_epoch(self.optimization.groups_mut());
    }

    /// To be called after each validation.
    ///
    /// # Errors
    /// A schedule waits for another figure.
    pub fn schedule_by(&mut self, figures: &[(String, f64)]) -> Result<(), ScheduleError> {
        self.schedules
            .after_validation(self.optimization.groups_mut(), figures)
    }

    /// Unfreezes all below `place` for good, norms too where `norm_eval` does not hold them, and gives the parameters the groups that they would
    /// have had. The names of those that were frozen.
    pub fn unfreeze(&mut self, place: &str) -> Vec<String> {
        let changed = self.store.freeze(place, false);
        for key in &changed {
            self.optimization.groups_mut().wake(key);
        }
        changed
    }
}
