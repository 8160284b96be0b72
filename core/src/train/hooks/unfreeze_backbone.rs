//! `UnfreezeBackboneEpochBasedHook` of MMDetection's how-to page: trains a frozen backbone from an epoch on.
//!
//! It does what the page says. In MMDetection 3.x that hook has no effect: `train()` freezes the stages again right after it, and with a
//! `paramwise_cfg` the parameters are in no group of the optimizer. Here `frozen_stages` ends for good, the parameters get the group and the
//! optimizer's state that they would have had, and norms learn again unless `norm_eval` says otherwise.

use serde::Deserialize;

use super::{Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node};
use crate::train::run::Run;

/// Unfreezes `backbone`.
struct UnfreezeBackboneEpochBasedHook {
    unfreeze_epoch: u64,
    done: bool,
}

#[derive(Deserialize)]
struct Config {
    unfreeze_epoch: Option<u64>,
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let config: Config = node.read_knowing(OWN)?;
    Ok(Box::new(UnfreezeBackboneEpochBasedHook {
        unfreeze_epoch: config.unfreeze_epoch.unwrap_or(1),
        done: false,
    }))
}

impl Hook for UnfreezeBackboneEpochBasedHook {
    fn name(&self) -> &'static str {
        "UnfreezeBackboneEpochBasedHook"
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        // Later too: a run that goes on from a checkpoint unfreezes what the run before it had.
        if !self.done && run.position.epoch >= self.unfreeze_epoch {
            self.done = true;
            run.unfreeze("backbone");
        }
        Ok(())
    }
}
