//! `RuntimeInfoHook` of MMEngine 0.10: keeps the figures of each step.

use super::{Figures, Given, Hook, Step, no_keys};
use crate::config::{Diagnostics, Node};
use crate::train::learner::Stepped;
use crate::train::run::Run;

/// Keeps learning rates, losses and validation figures.
pub(super) struct RuntimeInfoHook;

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    no_keys(node, &[])?;
    Ok(Box::new(RuntimeInfoHook))
}

impl Hook for RuntimeInfoHook {
    fn name(&self) -> &'static str {
        "RuntimeInfoHook"
    }

    fn priority(&self) -> u8 {
        10
    }

    fn before_train_iter(&mut self, run: &mut Run) -> Step {
        let groups = run.learner.optimization.groups();
        let first = groups.iter().next().and_then(|g| g.settings.number("lr"));
        let base = groups.base().map(|_| groups.base_lr());
        run.scalars.add("train/lr", first.unwrap_or(0.0));
        if let Some(base) = base {
            run.scalars.add("train/base_lr", base);
        }
        Ok(())
    }

    fn after_train_iter(&mut self, run: &mut Run, stepped: &Stepped) -> Step {
        if let Some(norm) = &stepped.grad_norm {
            run.scalars.add_later("train/grad_norm", norm.clone());
        }
        if let Some(total) = stepped.losses.total() {
            run.scalars.add_later("train/loss", total);
        }
        for (name, loss) in stepped.losses.iter() {
            run.scalars
                .add_later(&format!("train/{name}"), loss.clone());
        }
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        for (name, value) in figures {
            run.scalars.add(&format!("val/{name}"), *value);
        }
        Ok(())
    }
}
