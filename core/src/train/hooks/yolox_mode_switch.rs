//! `YOLOXModeSwitchHook` of MMDetection 3.3: in the last epochs, no Mosaic and no MixUp, and a loss of the boxes' numbers besides.

use serde::Deserialize;

use super::{Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node};
use crate::train::Stop;
use crate::train::run::{FEED, Run};

/// Switches the pipeline and the loss.
struct YoloxModeSwitchHook {
    num_last_epochs: u64,
    skip_type_keys: Vec<String>,
    done: bool,
}

#[derive(Deserialize)]
struct Config {
    num_last_epochs: Option<u64>,
    skip_type_keys: Option<Vec<String>>,
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let config: Config = node.read_knowing(OWN)?;
    let default = || {
        ["Mosaic", "RandomAffine", "MixUp"]
            .map(String::from)
            .to_vec()
    };
    Ok(Box::new(YoloxModeSwitchHook {
        num_last_epochs: config.num_last_epochs.unwrap_or(15),
        skip_type_keys: config.skip_type_keys.unwrap_or_else(default),
        done: false,
    }))
}

impl Hook for YoloxModeSwitchHook {
    fn name(&self) -> &'static str {
        "YOLOXModeSwitchHook"
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        let last = run.position.epoch + 1 + self.num_last_epochs >= run.length.max_epochs;
        if self.done || !last {
            return Ok(());
        }
        self.done = true;
        run.feed
            .as_mut()
            .expect(FEED)
            .skip_transforms(&self.skip_type_keys)?;
        if !run.learner.detector.switch_loss("use_l1", true) {
            return Err(Stop::fault(
                "YOLOXModeSwitchHook switches `use_l1` of a YOLOXHead, and this model has none: leave the hook out",
            ));
        }
        run.note(format!(
            "the last epochs: without {}, and with `loss_l1`",
            self.skip_type_keys.join(", ")
        ));
        Ok(())
    }
}
