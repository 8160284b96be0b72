//! Training: how losses become better weights.
//!
//! One step, in the order of the modules: an iteration's gradients are summed with those of others ([`Accumulation`]) and bounded ([`Clip`]); each
//! parameter moves by the settings of its group ([`groups`]) as its optimizer says ([`optimizers`]); [`schedules`] change the settings.
//! [`Optimization`] holds that together, and [`Learner`] with the model. [`Average`] follows the weights. All keys are those of MMEngine's configs
//! and checkpoints.
//!
//! A run (`Trainer`, `Run`, `hooks`) writes files, and is native alone. In a browser the steps of a [`Learner`] are asked for one by one.

mod accumulation;
mod average;
pub mod batch_augments;
#[cfg(not(target_arch = "wasm32"))]
pub mod checkpoint;
mod clip;
#[cfg(not(target_arch = "wasm32"))]
pub mod curves;
#[cfg(not(target_arch = "wasm32"))]
mod event;
pub mod feed;
#[cfg(not(target_arch = "wasm32"))]
mod first_batches;
mod first_weights;
#[cfg(not(target_arch = "wasm32"))]
pub mod hooks;
mod learned;
mod learner;
mod loss_scaler;
mod optim_wrapper;
mod optimization;
mod plan;
#[cfg(not(target_arch = "wasm32"))]
pub mod run;
mod scalars;
mod settings;
mod stop;
mod train_loop;
#[cfg(not(target_arch = "wasm32"))]
mod trainer;
#[cfg(not(target_arch = "wasm32"))]
mod validate;

pub mod groups;
pub mod optimizers;
pub mod schedules;

pub use accumulation::Accumulation;
pub use average::{Average, Averages, Rate};
pub use clip::{Bounded, Clip};
#[cfg(not(target_arch = "wasm32"))]
pub use event::Event;
pub use first_weights::first_weights;
pub use learned::Learned;
pub use learner::{Learner, Stepped};
pub use loss_scaler::LossScaler;
pub use optim_wrapper::{Mixed, OptimWrapper, Wrappers, Wrapping, auto_scale};
pub use optimization::{
    GroupState, Optimization, OptimizerState, ParameterState, RestoreError, UpdateError,
};
pub use plan::{Plan, Planned, PlannedGroup};
#[cfg(not(target_arch = "wasm32"))]
pub use run::Run;
pub use scalars::Scalars;
pub use settings::{Setting, Settings};
pub use stop::{Stop, TrainError};
pub use train_loop::TrainLoop;
#[cfg(not(target_arch = "wasm32"))]
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
        .extend(batch_augments::ROWS);
    #[cfg(not(target_arch = "wasm32"))]
    all.extend(hooks::ROWS);
}
