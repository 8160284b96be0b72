//! `IterTimerHook` of MMEngine 0.10: how long iterations take, and how much of that is waiting for samples.

use std::time::Instant;

use super::{Given, Hook, Step, no_keys};
use crate::config::{Diagnostics, Node};
use crate::train::learner::Stepped;
use crate::train::run::Run;

/// Takes the time.
#[derive(Default)]
pub(super) struct IterTimerHook {
    /// The end of the iteration before.
    last: Option<Instant>,
    /// The first iteration of this process, and its beginning.
    begun: Option<(u64, Instant)>,
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    no_keys(node, &[])?;
    Ok(Box::<IterTimerHook>::default())
}

impl IterTimerHook {
    /// While the run was held, nothing was done.
    fn pass_over_held(&mut self, run: &mut Run) {
        let held = std::mem::take(&mut run.held);
        self.last = self.last.map(|last| last + held);
        if let Some((_, begun)) = &mut self.begun {
            *begun += held;
        }
    }
}

impl Hook for IterTimerHook {
    fn name(&self) -> &'static str {
        "IterTimerHook"
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        self.pass_over_held(run);
        self.last = Some(Instant::now());
        Ok(())
    }

    fn before_train_iter(&mut self, run: &mut Run) -> Step {
        self.pass_over_held(run);
        let now = Instant::now();
        self.begun.get_or_insert((run.position.iter, now));
        let last = self.last.unwrap_or(now);
        let seconds = now.duration_since(last).as_secs_f64();
        run.scalars.add("train/data_time", seconds);
        Ok(())
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        let now = Instant::now();
        let last = self.last.replace(now).unwrap_or(now);
        let seconds = now.duration_since(last).as_secs_f64();
        run.scalars.add("train/time", seconds);
        if let Some((first, begun)) = self.begun {
            let done = run.position.iter + 1 - first;
            let each = now.duration_since(begun).as_secs_f64() / done as f64;
            run.seconds_left = Some(each * (run.length.max_iters - run.position.iter - 1) as f64);
        }
        Ok(())
    }

    fn after_val(&mut self, run: &mut Run) -> Step {
        self.pass_over_held(run);
        // what validation took is no iteration's
        self.last = Some(Instant::now());
        Ok(())
    }
}
