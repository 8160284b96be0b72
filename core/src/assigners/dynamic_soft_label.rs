//! `DynamicSoftLabelAssigner` (Lyu et al. 2022, arXiv 2212.07784, section 3.3) as MMDetection 3.3.0 computes it: as
//! [`super::SimOtaAssigner`], but classes are to be as good as boxes are, and the way to an object's middle costs something.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::pairs::{Pairs, dynamic_k, for_any, of_classes};
use super::{AnyAssigner, AssignedOnDevice, Predicted, PredictionAssigner, plain_overlaps};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node};
use crate::targets::Padded;

/// The keys of `type='DynamicSoftLabelAssigner'`.
#[derive(Debug, Deserialize)]
struct DynamicSoftLabelConfig {
    soft_center_radius: Option<f64>,
    topk: Option<Bounded<1, 100>>,
    iou_weight: Option<f64>,
}

/// Assigns by the cost of what is predicted.
#[derive(Clone, Debug)]
pub struct DynamicSoftLabelAssigner {
    /// How many strides from an object's middle a place costs 1; each stride more ten times that.
    pub soft_center_radius: f64,
    /// Of how many boxes the overlaps are added up to the number of places.
    pub topk: usize,
    /// What overlaps cost.
    pub iou_weight: f64,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: DynamicSoftLabelConfig = node.read_knowing(&["iou_calculator"])?;
    plain_overlaps(node)?;
    Ok(AnyAssigner::Predictions(Box::new(
        DynamicSoftLabelAssigner {
            soft_center_radius: config.soft_center_radius.unwrap_or(3.0),
            topk: config.topk.map_or(13, Bounded::get),
            iou_weight: config.iou_weight.unwrap_or(3.0),
        },
    )))
}

impl PredictionAssigner for DynamicSoftLabelAssigner {
    /// Scores are logits. An object's middle is that of its box; the original takes its mask's, where there are masks.
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice {
        let pairs = Pairs::new(predicted, objects);
        let possible = for_any(pairs.inside()).bool_and(pairs.there.clone());
        let ious = pairs.ious().mask_fill(possible.clone().bool_not(), 0.0);

        let [left, top, right, bottom] = &pairs.objects;
        let way = |axis: usize, low: &Tensor<3>, high: &Tensor<3>| {
            let middle = (low.clone() + high.clone()) / 2.0;
            (pairs.places[axis].clone() - middle).square()
        };
        let way = (way(0, left, right) + way(1, top, bottom)).sqrt() / pairs.places[2].clone();
        let far = ((way - self.soft_center_radius) * std::f64::consts::LN_10).exp();
        let overlap = (ious.clone() + 1e-7).log() * self.iou_weight;
        let cost = class_cost(predicted, objects, &ious) - overlap + far;
        dynamic_k(cost, ious, possible, self.topk)
    }
}

/// The quality focal loss of a place's logits, where an object's class is as good as the overlap, `[N, P, G]`.
fn class_cost(predicted: &Predicted, objects: &Padded, ious: &Tensor<3>) -> Tensor<3> {
    let logits = &predicted.scores;
    // of a class that is not to be found
    let none =
        activation::sigmoid(logits.clone()).square() * -activation::log_sigmoid(-logits.clone());
    let logit = of_classes(logits, objects);
    let share = activation::sigmoid(logit.clone());
    let yes = activation::log_sigmoid(logit.clone()) * ious.clone();
    let no = activation::log_sigmoid(-logit) * (-ious.clone() + 1.0);
    let found = -(yes + no) * (ious.clone() - share).square();
    found - of_classes(&none, objects) + none.sum_dim(2)
}
