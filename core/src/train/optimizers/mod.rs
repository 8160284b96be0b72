//! Optimizers: how a parameter moves by its gradient. To add one, write a file and a row in [`ROWS`].
//!
//! They are PyTorch 2.4's, to its names: of a group's settings (`lr`, `betas`) and of what is kept of each parameter (`exp_avg`), so that
//! checkpoints go either way. A step is one pass over memory, or one launch on a GPU; nothing is read back.

mod adam;
mod kept;
mod rmsprop;
mod sgd;
#[cfg(test)]
mod tests;

pub use adam::Adam;
pub use kept::Kept;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use burn::tensor::Tensor;

use super::Settings;
use crate::config::{Diagnostics, Node, error_at};
use crate::registry::{Family, Row};

/// Moves parameters by their gradients.
pub trait Optimizer: std::fmt::Debug + Send + Sync {
    /// Its registered name.
    fn name(&self) -> &'static str;

    /// The settings of a group that says nothing of its own (PyTorch's `defaults`).
    fn defaults(&self) -> &Settings;

    /// Whether PyTorch keeps how often a parameter moved (`step`).
    fn counts_steps(&self) -> bool;

    /// A step; gives what `value` becomes. The settings have all that the defaults have.
    ///
    /// # Shapes
    /// - `value`, `gradient`, each tensor that is kept, output: `[n]`
    fn step(
        &self,
        settings: &Settings,
        value: Tensor<1>,
        gradient: Tensor<1>,
        kept: &mut Kept,
    ) -> Tensor<1>;
}

/// The kind `optimizer` of the registry.
#[derive(Debug)]
pub struct Optimizers;

impl Family for Optimizers {
    const KIND: &'static str = "optimizer";
    type Build = fn(&Node) -> Result<Box<dyn Optimizer>, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("ASGD", ""),
        ("Adadelta", ""),
        ("Adagrad", ""),
        ("Adamax", ""),
        ("LARS", ""),
        ("LBFGS", ""),
        ("Lamb", ""),
        ("Lion", ""),
        ("NAdam", ""),
        ("RAdam", ""),
        ("Rprop", ""),
    ];
}

/// The table: scope, name, builder. MMEngine registers PyTorch's in its own scope.
pub const ROWS: [Row<Optimizers>; 4] = [
    Row::<Optimizers>::new("mmengine", "SGD", sgd::build),
    Row::<Optimizers>::new("mmengine", "Adam", adam::build),
    Row::<Optimizers>::new("mmengine", "AdamW", adam::build_w),
    Row::<Optimizers>::new("mmengine", "RMSprop", rmsprop::build),
];

/// Keys by which PyTorch chooses between implementations of the same step.
const IMPLEMENTATION: [&str; 4] = ["foreach", "fused", "capturable", "differentiable"];

/// Whether a number of a config is as PyTorch wants it.
fn within(
    node: &Node,
    key: &str,
    value: f64,
    bounds: std::ops::RangeInclusive<f64>,
    problems: &mut Diagnostics,
) {
    if !bounds.contains(&value) {
        let (least, most) = (bounds.start(), bounds.end());
        let message = match most.is_finite() {
            true => format!("`{key}` is {value}, {least} to {most} are possible"),
            false => format!("`{key}` is {value}, it is {least} or more"),
        };
        problems.extend(error_at(node, key, message, ""));
    }
}

/// -1 where the objective is to grow.
fn sign(settings: &Settings) -> f32 {
    if settings.known("maximize") != 0.0 {
        -1.0
    } else {
        1.0
    }
}
