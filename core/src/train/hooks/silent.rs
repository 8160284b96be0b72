//! Hooks of MMEngine and MMDetection that are for what does not arise here: several processes, samplers that must be told the epoch, PyTorch's
//! cache of GPU memory. Configs name them; they do nothing.

use super::{Given, Hook, no_keys};
use crate::config::{Diagnostics, Node};

struct Silent(&'static str);

impl Hook for Silent {
    fn name(&self) -> &'static str {
        self.0
    }
}

fn build(node: &Node, others: &[&str], name: &'static str) -> Result<Box<dyn Hook>, Diagnostics> {
    no_keys(node, others)?;
    Ok(Box::new(Silent(name)))
}

/// `DistSamplerSeedHook`: a loader here is told the epoch in any case.
pub(super) fn sampler_seed(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    build(node, &[], "DistSamplerSeedHook")
}

/// `SyncBuffersHook`: there is one process.
pub(super) fn sync_buffers(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    build(node, &[], "SyncBuffersHook")
}

/// `SyncNormHook`: there is one process.
pub(super) fn sync_norm(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    build(node, &["num_last_epochs", "interval"], "SyncNormHook")
}

/// `EmptyCacheHook`: memory is given back by itself.
pub(super) fn empty_cache(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let keys = ["before_epoch", "after_epoch", "after_iter"];
    build(node, &keys, "EmptyCacheHook")
}
