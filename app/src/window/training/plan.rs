//! What a run would do, before any of it is done: how long, with which learning rates, what is frozen, where its files go.

use std::path::PathBuf;
use std::sync::Arc;

use smalti::config::Config;
use smalti::train::run::Parameters;
use smalti::train::schedules::Length;
use smalti::train::{Plan, PlannedGroup, TrainError, Trainer, work_dir};

use super::curve::Columns;
use super::log::Points;
use super::work::{self, Last};
use crate::window::host::Host;
use crate::window::jobs::Progress;

/// What is to be planned.
pub struct Question {
    /// The config as it is open.
    pub config: Config,
    /// Where files are.
    pub host: Arc<dyn Host>,
}

/// A run as it is planned.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// Where its files go.
    pub work_dir: PathBuf,
    /// The last checkpoint that is there already.
    pub last: Option<Last>,
    /// How long it is.
    pub length: Length,
    /// Whether it counts epochs.
    pub by_epoch: bool,
    /// Pictures of an iteration.
    pub batch_size: u64,
    /// Names of the classes.
    pub classes: usize,
    /// Every how many epochs or iterations it is validated, if the config says how.
    pub validated: Option<u64>,
    /// The optimizer.
    pub optimizer: String,
    /// The schedules.
    pub schedules: Vec<&'static str>,
    /// Parameters that share their settings.
    pub groups: Vec<PlannedGroup>,
    /// The learning rate of each of the groups by iteration, thinned.
    pub rates: Vec<Points>,
    /// What is trained and what is frozen.
    pub parameters: Parameters,
    /// Its hooks.
    pub hooks: Vec<&'static str>,
    /// What is to be known of it.
    pub notes: Vec<String>,
}

impl RunPlan {
    /// Whether the last checkpoint that is there is the run's end.
    pub fn is_done(&self) -> bool {
        let done = self.last.as_ref().map_or(0, |last| last.iter);
        done >= self.length.max_iters
    }
}

/// Columns of the learning rate's curve.
const COLUMNS: u64 = 1000;

/// Plans. The model is built on the CPU, without the weights that the config names.
///
/// # Errors
/// Why it cannot be trained.
pub fn plan(question: &Question, progress: &Progress) -> Result<RunPlan, String> {
    let Question { config, host } = question;
    let folder = host.absolute(&work_dir(config));
    let trainer = Trainer::builder(config, host.files())
        .registry(&smalti::registry())
        .work_dir(&folder)
        .build();
    let trainer = trainer.map_err(|e: TrainError| e.to_string())?;
    let run = trainer.run();
    let learner = &run.learner;
    let length = run.length;
    let plan = Plan::new(
        &learner.optimization,
        &learner.schedules,
        &learner.store,
        length,
    );
    let feed = run.feed.as_ref();
    let notes = learner.optimization.notes.iter();
    Ok(RunPlan {
        last: work::last(&**host, &folder),
        work_dir: folder,
        length,
        by_epoch: run.train_loop.by_epoch,
        batch_size: feed.map_or(0, |feed| feed.batch_size()),
        classes: run.classes.len(),
        validated: work::validates(config).then_some(run.train_loop.val_interval),
        rates: rates(&plan, length, progress),
        optimizer: plan.optimizer,
        schedules: plan.schedules,
        groups: plan.groups,
        parameters: run.parameters(),
        hooks: trainer.hooks(),
        notes: notes.map(ToString::to_string).collect(),
    })
}

fn rates(plan: &Plan, length: Length, progress: &Progress) -> Vec<Points> {
    let width = length.max_iters.div_ceil(COLUMNS).max(1) as f64;
    let mut all = vec![Columns::new(0.0, width); plan.groups.len()];
    for planned in plan.iterations() {
        if planned.iter.is_multiple_of(1024) && progress.cancelled() {
            break;
        }
        for (columns, rate) in all.iter_mut().zip(&planned.lr) {
            columns.push([planned.iter as f64 + 1.0, *rate]);
        }
    }
    all.into_iter().map(Columns::points).collect()
}
