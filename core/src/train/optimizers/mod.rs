//! Optimizers: how a parameter moves by its gradient. To add one, write a file and a row in [`ROWS`].
//!
//! They are PyTorch 2.4's, to its names: of a group's settings (`lr`, `betas`) and of what is kept of each parameter (`exp_avg`), so that
//! checkpoints go either way. A step is one pass over memory, or one launch on a GPU; nothing is read back. Those that few name are made of tensor
//! operations, a launch each.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod kept;
mod radam;
mod rmsprop;
mod rprop;
mod sgd;
#[cfg(test)]
mod tests;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use kept::Kept;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rprop::Rprop;
pub use sgd::Sgd;

use std::ops::RangeInclusive;

use burn::tensor::Tensor;

use super::clip::Bounded;
use super::{Setting, Settings};
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

    /// A step; gives what `value` becomes. The settings have all that the defaults have. [`Bounded::into_tensor`] has the numbers of the gradient.
    ///
    /// # Shapes
    /// - `value`, `gradient`, each tensor that is kept, output: `[n]`
    fn step(
        &self,
        settings: &Settings,
        value: Tensor<1>,
        gradient: Bounded,
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
        ("LARS", ""),
        ("LBFGS", ""),
        ("Lamb", ""),
        ("Lion", ""),
        ("NAdam", ""),
    ];
}

/// The table: scope, name, builder. MMEngine registers PyTorch's in its own scope.
pub const ROWS: [Row<Optimizers>; 9] = [
    Row::<Optimizers>::new("mmengine", "SGD", sgd::build),
    Row::<Optimizers>::new("mmengine", "Adam", adam::build),
    Row::<Optimizers>::new("mmengine", "AdamW", adam::build_w),
    Row::<Optimizers>::new("mmengine", "RMSprop", rmsprop::build),
    Row::<Optimizers>::new("mmengine", "Adadelta", adadelta::build),
    Row::<Optimizers>::new("mmengine", "Adagrad", adagrad::build),
    Row::<Optimizers>::new("mmengine", "Adamax", adamax::build),
    Row::<Optimizers>::new("mmengine", "RAdam", radam::build),
    Row::<Optimizers>::new("mmengine", "Rprop", rprop::build),
];

/// Keys by which PyTorch chooses between implementations of the same step.
const IMPLEMENTATION: [&str; 4] = ["foreach", "fused", "capturable", "differentiable"];

/// The settings that a config's optimizer has: numbers, pairs and flags by name, with defaults and bounds; PyTorch's flags are False.
fn read(
    node: &Node,
    numbers: &[(&str, f64, RangeInclusive<f64>)],
    pairs: &[(&str, [f64; 2], RangeInclusive<f64>)],
    flags: &[&str],
) -> Result<Settings, Diagnostics> {
    let names = numbers.iter().map(|(name, ..)| *name);
    let names = names.chain(pairs.iter().map(|(name, ..)| *name));
    let names = names.chain(flags.iter().copied()).chain(IMPLEMENTATION);
    let NoMore {} = node.read_knowing(&names.collect::<Vec<_>>())?;
    let given = |name: &str| node.get(name).filter(|n| !n.is_none());
    let (mut problems, mut settings) = (Diagnostics::new(), Settings::default());
    let mut wrong = |name: &str, what: &str| {
        problems.extend(error_at(node, name, format!("`{name}` is {what}"), ""));
    };
    for (name, default, _) in numbers {
        let number = given(name).map_or(Some(*default), Node::as_float);
        match number {
            Some(number) => settings.set(name, number),
            None => wrong(name, "a number"),
        }
    }
    for (name, default, _) in pairs {
        let read = |node: &Node| match node.as_items()? {
            [a, b] => Some([a.as_float()?, b.as_float()?]),
            _ => None,
        };
        match given(name).map_or(Some(*default), read) {
            Some(pair) => settings.set(name, pair),
            None => wrong(name, "a pair of numbers"),
        }
    }
    for name in flags {
        match given(name).map_or(Some(false), Node::as_bool) {
            Some(flag) => settings.set(name, flag),
            None => wrong(name, "True or False"),
        }
    }
    for (name, _, bounds) in numbers {
        if let Some(number) = settings.number(name) {
            within(node, name, number, bounds.clone(), &mut problems);
        }
    }
    for (name, _, bounds) in pairs {
        if let Some(Setting::Numbers(pair)) = settings.get(name) {
            for number in pair {
                within(node, name, *number, bounds.clone(), &mut problems);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(settings),
        false => Err(problems),
    }
}

#[derive(serde::Deserialize)]
struct NoMore {}

/// The gradient with its sign and PyTorch's weight decay, which is part of it.
fn slope(settings: &Settings, value: &Tensor<1>, gradient: Bounded) -> Tensor<1> {
    let slope = gradient.into_tensor() * f64::from(sign(settings));
    match settings.known("weight_decay") {
        0.0 => slope,
        decay => slope + value.clone() * decay,
    }
}

/// Whether a number of a config is as PyTorch wants it.
fn within(
    node: &Node,
    key: &str,
    value: f64,
    bounds: RangeInclusive<f64>,
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
