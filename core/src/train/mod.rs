//! Training: how losses become better weights.
//!
//! One step, in the order of the modules: an iteration's gradients are summed with those of others ([`Accumulation`]) and bounded ([`Clip`]); each
//! parameter moves by the settings of its group ([`groups`]) as its optimizer says ([`optimizers`]); [`schedules`] change the settings.
//! [`Optimization`] holds that together. All keys are those of MMEngine's configs and checkpoints.

mod accumulation;
mod clip;
mod optim_wrapper;
mod optimization;
mod settings;

pub mod groups;
pub mod optimizers;
pub mod schedules;

pub use accumulation::Accumulation;
pub use clip::Clip;
pub use optim_wrapper::{OptimWrapper, Precision, Wrappers, auto_scale};
pub use optimization::{
    GroupState, Optimization, OptimizerState, ParameterState, RestoreError, UpdateError,
};
pub use settings::{Setting, Settings};

/// Adds what training builds.
pub(crate) fn register(all: &mut crate::registry::Registry) {
    all.extend(optimizers::ROWS)
        .extend(optim_wrapper::ROWS)
        .extend(groups::ROWS)
        .extend(schedules::ROWS);
}
