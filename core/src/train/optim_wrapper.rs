//! [`OptimWrapper`]: what a config's `optim_wrapper` says besides its groups, and `auto_scale_lr`. To add a wrapper, a row in [`ROWS`].

use serde::Deserialize;

use super::clip::Clip;
use super::optimizers::{Optimizer, Optimizers};
use crate::config::{Bounded, Diagnostic, Diagnostics, Dict, Node, error_at};
use crate::registry::{Family, Registry, Row};

/// How an optimizer is used.
#[derive(Debug)]
pub struct OptimWrapper {
    /// Its optimizer.
    pub optimizer: Box<dyn Optimizer>,
    /// `clip_grad`.
    pub clip: Option<Clip>,
    /// `accumulative_counts`: iterations for a step.
    pub accumulative_counts: u64,
    /// What is done otherwise than the config says.
    pub notes: Diagnostics,
}

/// In which numbers a wrapper wants to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    Single,
    /// f16 or bf16 where it is safe, with scaled losses. f32 here.
    Mixed,
}

/// The kind `optim wrapper` of the registry.
#[derive(Debug)]
pub struct Wrappers;

impl Family for Wrappers {
    const KIND: &'static str = "optim wrapper";
    type Build = Precision;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("ApexOptimWrapper", "AmpOptimWrapper"),
        ("DeepSpeedOptimWrapper", "OptimWrapper"),
        ("OptimWrapperDict", "one optimizer"),
    ];
}

/// The table: scope, name, precision.
pub const ROWS: [Row<Wrappers>; 2] = [
    Row::<Wrappers>::new("mmengine", "OptimWrapper", Precision::Single),
    Row::<Wrappers>::new("mmengine", "AmpOptimWrapper", Precision::Mixed),
];

#[derive(Deserialize)]
struct Config {
    optimizer: Node,
    clip_grad: Option<Node>,
    accumulative_counts: Option<Bounded<1, 1_000_000>>,
}

/// Keys that groups read, and those of mixed precision.
const OTHERS: [&str; 5] = [
    "paramwise_cfg",
    "constructor",
    "loss_scale",
    "dtype",
    "use_fsdp",
];

impl OptimWrapper {
    /// A config's `optim_wrapper`.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub fn read(node: &Node, registry: &Registry, scope: &str) -> Result<Self, Diagnostics> {
        let scope = node
            .get("_scope_")
            .and_then(|s| s.as_str())
            .unwrap_or(scope);
        let named = node.as_dict().is_some_and(|dict| dict.contains("type"));
        let precision = match named {
            true => registry.find::<Wrappers>(node, scope)?.build,
            false => Precision::Single,
        };
        let mixed = precision == Precision::Mixed;
        let others = if mixed { &OTHERS[..] } else { &OTHERS[..2] };
        let config: Config = node.read_knowing(others)?;
        let clip = config.clip_grad.filter(|clip| !clip.is_none());
        let clip = clip.as_ref().map(Clip::read).transpose()?;
        let row = registry.find::<Optimizers>(&config.optimizer, scope)?;
        let mut notes = Diagnostics::new();
        if mixed {
            let note =
                Diagnostic::note("`AmpOptimWrapper`: all is computed in f32, losses need no scale");
            let at = node.get("type").unwrap_or(node);
            notes.push(note.at(&at.origin, ""));
        }
        Ok(Self {
            optimizer: (row.build)(&config.optimizer)?,
            clip,
            accumulative_counts: config.accumulative_counts.map_or(1, |n| n.get() as u64),
            notes,
        })
    }
}

/// The factor of learning rates by a config's `auto_scale_lr`, for batches of `batch_size` (Goyal et al. 2017, arXiv 1706.02677); None
/// unless it is enabled.
///
/// # Errors
/// It is enabled without a `base_batch_size`.
pub fn auto_scale(node: Option<&Node>, batch_size: u64) -> Result<Option<f64>, Diagnostics> {
    let Some(node) = node.filter(|node| node.as_dict().is_some_and(|dict| !Dict::is_empty(dict)))
    else {
        return Ok(None);
    };
    if node.get("enable").and_then(|enable| enable.as_bool()) != Some(true) {
        return Ok(None);
    }
    let base = node.get("base_batch_size").and_then(|base| base.as_float());
    let base = base.filter(|base| *base > 0.0 && base.is_finite());
    let base = base.ok_or_else(|| {
        let message = "`auto_scale_lr` needs a `base_batch_size` above 0";
        error_at(node, "base_batch_size", message, "")
    })?;
    Ok(Some(batch_size as f64 / base))
}
