//! `ParamSchedulerHook` of MMEngine 0.10: steps the schedules.

use super::{Figures, Given, Hook, Step, no_keys};
use crate::config::{Diagnostics, Node};
use crate::train::Stop;
use crate::train::learner::Stepped;
use crate::train::run::Run;

/// Steps the schedules.
pub(super) struct ParamSchedulerHook;

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    no_keys(node, &[])?;
    Ok(Box::new(ParamSchedulerHook))
}

impl Hook for ParamSchedulerHook {
    fn name(&self) -> &'static str {
        "ParamSchedulerHook"
    }

    fn priority(&self) -> u8 {
        70
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        run.learner.schedule_iter();
        Ok(())
    }

    fn after_train_epoch(&mut self, run: &mut Run) -> Step {
        run.learner.schedule_epoch();
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        let stepped = run.learner.schedule_by(figures);
        stepped.map_err(|e| Stop::fault(e.to_string()))
    }
}
