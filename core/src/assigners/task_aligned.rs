//! `TaskAlignedAssigner` (Feng et al. 2021, arXiv 2108.07755, section 3.2) as MMDetection 3.3.0 computes it: an object takes the places whose
//! score and overlap are best together; one that several take stays with the object that it overlaps most.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::pairs::{Pairs, first_rounds, of_classes};
use super::{AnyAssigner, AssignedOnDevice, Predicted, PredictionAssigner, plain_overlaps};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node};
use crate::targets::Padded;

/// The keys of `type='TaskAlignedAssigner'`.
#[derive(Debug, Deserialize)]
struct TaskAlignedConfig {
    topk: Bounded<1, 1000>,
}

/// Assigns by scores and overlaps.
#[derive(Clone, Debug)]
pub struct TaskAlignedAssigner {
    /// How many places an object may take.
    pub topk: usize,
    /// The power of scores.
    pub alpha: f64,
    /// The power of overlaps.
    pub beta: f64,
}

/// How far inside of an object a middle is to be, px.
const INSIDE: f64 = 0.01;

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: TaskAlignedConfig = node.read_knowing(&["iou_calculator"])?;
    plain_overlaps(node)?;
    Ok(AnyAssigner::Predictions(Box::new(TaskAlignedAssigner {
        topk: config.topk.get(),
        alpha: 1.0,
        beta: 6.0,
    })))
}

impl PredictionAssigner for TaskAlignedAssigner {
    /// Scores are probabilities.
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice {
        let pairs = Pairs::new(predicted, objects);
        let [n, places, _] = pairs.there.dims();
        let ious = pairs.ious();
        let scores = of_classes(&predicted.scores, objects);
        let aligned = power(scores, self.alpha) * power(ious.clone(), self.beta);
        let taken = first_rounds(aligned.clone(), self.topk.min(places), None)
            .bool_and(aligned.clone().greater_elem(0.0))
            .bool_and(pairs.within(INSIDE));

        let (most, at) = ious
            .mask_fill(taken.bool_not(), NONE)
            .max_dim_with_indices(2);
        let found = most.clone().greater_elem(NONE);
        let object = (at.clone() + 1) * found.clone().int();
        let found = found.float();
        AssignedOnDevice {
            object: object.reshape([n, places]),
            overlap: (most * found.clone()).reshape([n, places]),
            metric: Some((aligned.gather(2, at) * found).reshape([n, places])),
            pairing: None,
        }
    }

    fn set_powers(&mut self, alpha: f64, beta: f64) {
        (self.alpha, self.beta) = (alpha, beta);
    }
}

/// The overlap with an object that a place does not find.
const NONE: f64 = -1.0;

fn power(base: Tensor<3>, exponent: f64) -> Tensor<3> {
    if exponent == 1.0 {
        base
    } else {
        base.powf_scalar(exponent)
    }
}
