//! `PipelineSwitchHook` of MMDetection 3.3: trains with another pipeline from an epoch on.

use serde::Deserialize;

use super::{Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node};
use crate::train::run::{FEED, Run};

/// Switches the pipeline.
struct PipelineSwitchHook {
    switch_epoch: u64,
    pipeline: Node,
    done: bool,
}

#[derive(Deserialize)]
struct Config {
    switch_epoch: u64,
    switch_pipeline: Node,
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let config: Config = node.read_knowing(OWN)?;
    Ok(Box::new(PipelineSwitchHook {
        switch_epoch: config.switch_epoch,
        pipeline: config.switch_pipeline,
        done: false,
    }))
}

impl Hook for PipelineSwitchHook {
    fn name(&self) -> &'static str {
        "PipelineSwitchHook"
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        if self.done || run.position.epoch < self.switch_epoch {
            return Ok(());
        }
        self.done = true;
        run.note("the pipeline is another one from here on");
        run.feed
            .as_mut()
            .expect(FEED)
            .switch_pipeline(&self.pipeline)
    }
}
