//! `CheckInvalidLossHook` of MMDetection 3.3: ends a run whose loss is no number, and says at which pictures.

use serde::Deserialize;

use super::{Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node};
use crate::train::learner::Stepped;
use crate::train::run::Run;

/// Looks at the loss.
struct CheckInvalidLossHook {
    interval: u64,
}

#[derive(Deserialize)]
struct Config {
    interval: Option<u64>,
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let config: Config = node.read_knowing(OWN)?;
    Ok(Box::new(CheckInvalidLossHook {
        interval: config.interval.unwrap_or(50),
    }))
}

impl Hook for CheckInvalidLossHook {
    fn name(&self) -> &'static str {
        "CheckInvalidLossHook"
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        if !run.every_iters(self.interval) {
            return Ok(());
        }
        run.read_scalars()
    }
}
