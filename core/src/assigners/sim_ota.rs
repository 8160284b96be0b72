//! `SimOTAAssigner` (Ge et al. 2021, arXiv 2107.08430, section 2.1) as MMDetection 3.3.0 computes it: each object takes the places that
//! predict it at the least cost, as many as the overlaps of the ten best boxes come to.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::pairs::{Pairs, dynamic_k, for_any, of_classes};
use super::{AnyAssigner, AssignedOnDevice, Predicted, PredictionAssigner, plain_overlaps};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node};
use crate::targets::Padded;

/// The keys of `type='SimOTAAssigner'`.
#[derive(Debug, Deserialize)]
struct SimOtaConfig {
    center_radius: Option<f64>,
    candidate_topk: Option<Bounded<1, 100>>,
    iou_weight: Option<f64>,
    cls_weight: Option<f64>,
}

/// Assigns by the cost of what is predicted.
#[derive(Clone, Debug)]
pub struct SimOtaAssigner {
    /// How far from an object's middle a place may be, in strides.
    pub center_radius: f64,
    /// Of how many boxes the overlaps are added up to the number of places.
    pub candidate_topk: usize,
    /// What overlaps cost.
    pub iou_weight: f64,
    /// What classes cost.
    pub cls_weight: f64,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: SimOtaConfig = node.read_knowing(&["iou_calculator"])?;
    plain_overlaps(node)?;
    Ok(AnyAssigner::Predictions(Box::new(SimOtaAssigner {
        center_radius: config.center_radius.unwrap_or(2.5),
        candidate_topk: config.candidate_topk.map_or(10, Bounded::get),
        iou_weight: config.iou_weight.unwrap_or(3.0),
        cls_weight: config.cls_weight.unwrap_or(1.0),
    })))
}

/// The cost of a place that is not both in an object and near its middle.
const FAR: f64 = 100_000.0;
impl PredictionAssigner for SimOtaAssigner {
    /// Scores are probabilities.
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice {
        let pairs = Pairs::new(predicted, objects);
        let inside = pairs.inside();
        let central = pairs.near(self.center_radius);
        // a place in any object, or near the middle of any
        let asked = for_any(inside.clone().bool_or(central.clone()));
        let possible = asked.bool_and(pairs.there.clone());

        let ious = pairs.ious().mask_fill(possible.clone().bool_not(), 0.0);
        let far = inside.bool_and(central).bool_not().float() * FAR;
        let cost = class_cost(predicted, objects) * self.cls_weight
            - (ious.clone() + 1e-7).log() * self.iou_weight
            + far;
        dynamic_k(cost, ious, possible, self.candidate_topk)
    }
}

/// Binary cross entropy of a place's probabilities and an object's class, `[N, P, G]`.
fn class_cost(predicted: &Predicted, objects: &Padded) -> Tensor<3> {
    let log = |share: Tensor<3>| share.log().clamp_min(-100.0); // torch's bound
    let yes = log(predicted.scores.clone());
    let no = log(-predicted.scores.clone() + 1.0);
    of_classes(&(no.clone() - yes), objects) - no.sum_dim(2)
}
