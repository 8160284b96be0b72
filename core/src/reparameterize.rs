//! Backbones whose branches come to one convolution where nothing learns (RepVGG, MobileOne, RepLKNet): what the tensors of a checkpoint of training
//! are in the deployed form.

use std::sync::Arc;

use burn::tensor::Device;

use crate::backbones::Backbones;
use crate::build::Build;
use crate::config::{Config, Diagnostics, Node, error_at};
use crate::layers::{Merged, Mode, Params, StateSource};
use crate::limits;
use crate::registry::{DEFAULT_SCOPE, Registry};
use crate::weights::{Checkpoint, LoadReport, Wanted, report};

/// What becomes of a checkpoint.
#[derive(Debug)]
pub struct Reparameterized {
    /// The registered name of the backbone.
    pub backbone: String,
    /// Its key that says that the deployed form is meant.
    pub key: &'static str,
    /// Each set of branches, and what comes in its place.
    pub merged: Vec<Merged>,
}

impl Reparameterized {
    /// Which of [`Reparameterized::merged`] the tensor `name` of the checkpoint goes into.
    pub fn set_of(&self, name: &str) -> Option<usize> {
        let below = |place: &String| {
            let rest = name.strip_prefix(place.as_str());
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let meant = |merged: &Merged| merged.from.iter().any(below);
        self.merged.iter().position(meant)
    }
}

/// Why it cannot be done.
#[derive(Debug)]
pub enum ReparameterizeError {
    /// The config has no such backbone, or something in it is wrong.
    Config(Diagnostics),
    /// The checkpoint has not all of the backbone's tensors.
    Weights(Box<LoadReport>),
}

impl From<Diagnostics> for ReparameterizeError {
    fn from(problems: Diagnostics) -> Self {
        Self::Config(problems)
    }
}

/// Merges the branches of a config's backbone, whose tensors lie in the checkpoint below `backbone.`, or by themselves.
///
/// # Errors
/// [`ReparameterizeError`].
pub fn reparameterize(
    config: &Config,
    registry: &Registry,
    checkpoint: &Arc<Checkpoint>,
) -> Result<Reparameterized, ReparameterizeError> {
    const PART: &str = "backbone";
    let model = config.get("model").unwrap_or(&config.root);
    let Some(node) = model.get(PART) else {
        let message = "this config has no `model.backbone`";
        return Err(error_at(&config.root, "", message, "").into());
    };
    let below = checkpoint.keys().any(|key| key.starts_with("backbone."));
    let scope = config.get("default_scope").and_then(Node::as_str);
    let walk = |params: &Params| -> Result<(), Diagnostics> {
        let scope = scope.unwrap_or(DEFAULT_SCOPE);
        let root = Build::new(registry, params.clone(), scope, None);
        let (make, part) = match below {
            true => root.part::<Backbones>(PART, node)?,
            false => root.root::<Backbones>(node)?,
        };
        make(node, &part).map(drop)
    };

    let plan = Params::new(&Device::flex(), Mode::Plan, None);
    walk(&plan)?;
    limits::check(node, &plan.state())?;
    let wanted: Vec<_> = plan.state().into_iter().map(Wanted::from).collect();
    let report = report(&wanted, checkpoint, None).after_reading(checkpoint);
    if !report.is_complete() {
        return Err(ReparameterizeError::Weights(Box::new(report)));
    }
    let source = StateSource::new(checkpoint.clone(), None);
    let params = Params::new(&Device::flex(), Mode::Fixed, Some(Box::new(source)));
    params.note_merged();
    walk(&params)?;

    let backbone = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let key = match backbone.rsplit('.').next() {
        Some("RepLKNet") => "small_kernel_merged",
        _ => "deploy",
    };
    let merged = params.merged();
    if merged.is_empty() {
        let already = node.get(key).and_then(Node::as_bool) == Some(true);
        let (message, help) = match already {
            true => (
                format!("with {key}=True the branches of this {backbone} are merged already"),
                "give the config that the checkpoint was trained with",
            ),
            false => (
                format!("{backbone} has no branches that can be merged"),
                "RepVGG, MobileOne and RepLKNet have, where their norms are batch norms",
            ),
        };
        return Err(error_at(node, key, message, help).into());
    }
    Ok(Reparameterized {
        backbone,
        key,
        merged,
    })
}
