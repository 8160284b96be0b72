//! Training: how losses become better weights.
//!
//! One step, in the order of the modules: an iteration's gradients are summed with those of others ([`Accumulation`]) and bounded ([`Clip`]); each
//! parameter moves by the settings of its group ([`groups`]) as its optimizer says ([`optimizers`]); [`schedules`] change the settings.
//! [`Optimization`] holds that together. [`Average`] follows the weights. All keys are those of MMEngine's configs and checkpoints.

mod accumulation;
mod average;
pub mod batch_augments;
pub mod checkpoint;
mod clip;
pub mod curves;
pub mod feed;
mod first_batches;
pub mod hooks;
mod learner;
mod loss_scaler;
mod optim_wrapper;
mod optimization;
mod plan;
pub mod run;
mod scalars;
mod settings;
mod stop;
mod train_loop;
mod trainer;
mod validate;

pub mod groups;
pub mod optimizers;
pub mod schedules;

pub use accumulation::Accumulation;
pub use average::{Average, Averages, Rate};
pub use clip::{Bounded, Clip};
pub use learner::{Learner, Stepped};
pub use loss_scaler::LossScaler;
pub use optim_wrapper::{Mixed, OptimWrapper, Wrappers, Wrapping, auto_scale};
pub use optimization::{
    GroupState, Optimization, OptimizerState, ParameterState, RestoreError, UpdateError,
};
pub use plan::{Plan, Planned, PlannedGroup};
pub use run::{Learned, Run};
pub use scalars::Scalars;
pub use settings::{Setting, Settings};
pub use stop::{Event, Stop, TrainError};
pub use train_loop::TrainLoop;
pub use trainer::{Ended, Trainer, TrainerBuilder, Validated, Validation, work_dir};

#[cfg(test)]
#[path = "rates_tests.rs"]
mod rates_tests;

/// Adds what training builds.
pub(crate) fn register(all: &mut crate::registry::Registry) {
    all.extend(optimizers::ROWS)
        .extend(optim_wrapper::ROWS)
        .extend(groups::ROWS)
        .extend(average::ROWS)
        .extend(schedules::ROWS)
        .extend(train_loop::ROWS)
        .extend(batch_augments::ROWS)
        .extend(hooks::ROWS);
}
