//! [`OptimWrapper`]: what a config's `optim_wrapper` says besides its groups, and `auto_scale_lr`. To add a wrapper, a row in [`ROWS`].

use serde::Deserialize;

use super::LossScaler;
use super::clip::Clip;
use super::optimizers::{Optimizer, Optimizers};
use crate::Precision;
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
    /// Mixed precision, if that is wanted.
    pub mixed: Option<Mixed>,
}

/// What mixed precision is to be.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// In which numbers convolutions are to multiply.
    pub precision: Precision,
    /// `loss_scale`.
    pub scaler: LossScaler,
}

/// How a wrapper is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// In f32.
    Plain,
    /// Products in f16 and scaled losses, where a device has them (PyTorch's autocast and GradScaler).
    Mixed,
}

/// The kind `optim wrapper` of the registry.
#[derive(Debug)]
pub struct Wrappers;

impl Family for Wrappers {
    const KIND: &'static str = "optim wrapper";
    type Build = Wrapping;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("ApexOptimWrapper", "AmpOptimWrapper"),
        ("DeepSpeedOptimWrapper", "OptimWrapper"),
        ("OptimWrapperDict", "one optimizer"),
    ];
}

/// The table: scope, name, way.
pub const ROWS: [Row<Wrappers>; 2] = [
    Row::<Wrappers>::new("mmengine", "OptimWrapper", Wrapping::Plain),
    Row::<Wrappers>::new("mmengine", "AmpOptimWrapper", Wrapping::Mixed),
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

/// The kinds of numbers that `dtype` may name.
const DTYPES: [&str; 4] = ["float16", "bfloat16", "float32", "float64"];

impl OptimWrapper {
    /// A config's `optim_wrapper`.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub fn read(node: &Node, registry: &Registry, scope: &str) -> Result<Self, Diagnostics> {
        let scope = scope_of(node, scope);
        let mixed = Mixed::read(node, registry, scope)?;
        let others = match mixed {
            Some(_) => &OTHERS[..],
            None => &OTHERS[..2],
        };
        let config: Config = node.read_knowing(others)?;
        let clip = config.clip_grad.filter(|clip| !clip.is_none());
        let clip = clip.as_ref().map(Clip::read).transpose()?;
        let row = registry.find::<Optimizers>(&config.optimizer, scope)?;
        Ok(Self {
            optimizer: (row.build)(&config.optimizer)?,
            clip,
            accumulative_counts: config.accumulative_counts.map_or(1, |n| n.get() as u64),
            mixed,
        })
    }
}

impl Mixed {
    /// What a config's `optim_wrapper` says of it.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub fn read(
        node: &Node,
        registry: &Registry,
        scope: &str,
    ) -> Result<Option<Self>, Diagnostics> {
        if node.as_dict().is_none_or(|dict| !dict.contains("type")) {
            return Ok(None);
        }
        let row = registry.find::<Wrappers>(node, scope_of(node, scope))?;
        if row.build == Wrapping::Plain {
            return Ok(None);
        }
        let dtype = node.get("dtype").filter(|dtype| !dtype.is_none());
        let named = dtype.map(|dtype| dtype.as_str().filter(|name| DTYPES.contains(name)));
        let precision = match named {
            // PyTorch's default on a GPU.
            None | Some(Some("float16")) => Precision::F16,
            Some(Some(_)) => Precision::F32,
            Some(None) => {
                let message = "`dtype` is 'float16', 'bfloat16', 'float32' or 'float64'";
                return Err(error_at(node, "dtype", message, ""));
            }
        };
        let scaler = LossScaler::read(node)?;
        Ok(Some(Self { precision, scaler }))
    }

    /// What is done otherwise than `node` says, where it is computed in `precision`.
    pub(super) fn note(&self, node: &Node, precision: Precision) -> Option<Diagnostic> {
        let why = match (self.precision, precision) {
            (Precision::F16, Precision::F16) => return None,
            (Precision::F16, _) => "this device has no f16",
            _ => "`dtype` is not float16",
        };
        let message = format!(
            "`AmpOptimWrapper`: {why}, so all is computed in f32 and losses are not scaled"
        );
        let at = node.get("type").unwrap_or(node);
        Some(Diagnostic::note(message).at(&at.origin, ""))
    }
}

fn scope_of<'a>(node: &'a Node, scope: &'a str) -> &'a str {
    let own = node.get("_scope_").and_then(|s| s.as_str());
    own.unwrap_or(scope)
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
