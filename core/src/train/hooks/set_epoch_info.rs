//! `SetEpochInfoHook` of MMDetection 3.3: tells the model which epoch it is.

use super::{Given, Hook, Step, no_keys};
use crate::config::{Diagnostics, Node};
use crate::train::run::Run;

/// Tells the epoch.
struct SetEpochInfoHook;

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    no_keys(node, &[])?;
    Ok(Box::new(SetEpochInfoHook))
}

impl Hook for SetEpochInfoHook {
    fn name(&self) -> &'static str {
        "SetEpochInfoHook"
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        run.learner.detector.set_epoch(run.position.epoch);
        Ok(())
    }
}
