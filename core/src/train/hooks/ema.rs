//! `EMAHook` of MMEngine 0.10: keeps averaged weights beside the model's, validates with them, and puts them into checkpoints.

use super::{Figures, Given, Hook, Step};
use crate::config::{Diagnostics, Node};
use crate::registry::{DEFAULT_SCOPE, Registry};
use crate::train::Average;
use crate::train::Stop;
use crate::train::learner::Stepped;
use crate::train::run::Run;

/// Averages the weights.
struct EmaHook {
    node: Node,
    registry: Registry,
    scope: String,
    /// The averages are in the model's place.
    swapped: bool,
}

pub(super) fn build(node: &Node, given: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let scope = given.config.root.get("default_scope");
    let scope = scope.and_then(|s| s.as_str()).unwrap_or(DEFAULT_SCOPE);
    // whatever the model is, the hook's own keys can be wrong
    Average::read(node, &Default::default(), given.registry, scope)?;
    Ok(Box::new(EmaHook {
        node: node.clone(),
        registry: given.registry.clone(),
        scope: scope.to_string(),
        swapped: false,
    }))
}

impl EmaHook {
    fn swap(&mut self, run: &mut Run, in_place: bool) {
        if self.swapped != in_place
            && let Some(average) = &mut run.learner.average
        {
            average.swap();
            self.swapped = in_place;
        }
    }
}

impl Hook for EmaHook {
    fn name(&self) -> &'static str {
        "EMAHook"
    }

    fn before_run(&mut self, run: &mut Run) -> Step {
        if run.learner.average.is_some() {
            return Err(Stop::fault("a run has one EMAHook"));
        }
        let store = &run.learner.store;
        let average = Average::read(&self.node, store, &self.registry, &self.scope);
        let average =
            average.map_err(|problems| Stop::fault(run.config.errors(problems).to_string()))?;
        run.learner.average = Some(average);
        Ok(())
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        if let Some(average) = &mut run.learner.average {
            average.after_iter(run.position.iter, run.position.epoch);
        }
        Ok(())
    }

    fn before_val_epoch(&mut self, run: &mut Run) -> Step {
        self.swap(run, true);
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, _: &Figures) -> Step {
        self.swap(run, false);
        Ok(())
    }

    fn after_val(&mut self, run: &mut Run) -> Step {
        // of a validation that was interrupted, there are no figures
        self.swap(run, false);
        Ok(())
    }
}
