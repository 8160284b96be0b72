//! `NumClassCheckHook` of MMDetection 3.3: the head's classes are those of the data set.

use super::{Given, Hook, Step, no_keys};
use crate::config::{Diagnostics, Node};
use crate::train::Stop;
use crate::train::run::Run;

/// Compares classes.
struct NumClassCheckHook;

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    no_keys(node, &[])?;
    Ok(Box::new(NumClassCheckHook))
}

impl Hook for NumClassCheckHook {
    fn name(&self) -> &'static str {
        "NumClassCheckHook"
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        let (head, data) = (run.learner.detector.labels(), run.classes.len());
        if data == 0 {
            run.note("the data set does not say its classes: `metainfo` could");
            return Ok(());
        }
        let Some(head) = head.filter(|head| *head != data) else {
            return Ok(());
        };
        Err(Stop::fault(format!(
            "the head tells {head} classes apart, the training data set has {data}: write num_classes={data} in the head, or a `metainfo` of \
             {head} classes in the data set"
        )))
    }
}
