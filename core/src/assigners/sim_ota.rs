//! `SimOTAAssigner` (Ge et al. 2021, arXiv 2107.08430, section 2.1) as MMDetection 3.3.0 computes it: each object takes the places that
//! predict it at the least cost, as many as the overlaps of the ten best boxes come to.

use burn::tensor::{Bool, Int, Tensor};
use serde::Deserialize;

use super::{AnyAssigner, AssignedOnDevice, Predicted, PredictionAssigner, check_iou_calculator};
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

pub(super) fn build(node: &Node) -> Result<AnyAssigner, Diagnostics> {
    let config: SimOtaConfig = node.read_knowing(&["iou_calculator"])?;
    check_iou_calculator(node)?;
    Ok(AnyAssigner::Predictions(Box::new(SimOtaAssigner {
        center_radius: config.center_radius.unwrap_or(2.5),
        candidate_topk: config.candidate_topk.map_or(10, Bounded::get),
        iou_weight: config.iou_weight.unwrap_or(3.0),
        cls_weight: config.cls_weight.unwrap_or(1.0),
    })))
}

/// The cost of a place that is not both in an object and near its middle.
const FAR: f64 = 100_000.0;
/// The cost of a place that is not asked, and of an object that is not there.
const NEVER: f64 = 1e30;

impl PredictionAssigner for SimOtaAssigner {
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice {
        let pairs = Pairs::new(predicted, objects);
        let inside = pairs.inside();
        let central = pairs.near(self.center_radius);
        // `[N, P, 1]`: a place in any object, or near the middle of any
        let asked = any(inside.clone().bool_or(central.clone()), 2);
        let possible = asked.expand(inside.dims()).bool_and(pairs.there.clone());

        let ious = pairs.ious().mask_fill(possible.clone().bool_not(), 0.0);
        let far = inside.bool_and(central).bool_not().float() * FAR;
        let cost = class_cost(predicted, objects) * self.cls_weight
            - (ious.clone() + 1e-7).log() * self.iou_weight
            + far;
        let cost = cost.mask_fill(possible.clone().bool_not(), NEVER);

        let matched = self.cheapest(&cost, &ious).bool_and(possible);
        let matched = settle(matched, cost);
        let [n, places, _] = matched.dims();
        let object = matched.clone().int() * numbers(&matched);
        AssignedOnDevice {
            object: object.sum_dim(2).reshape([n, places]),
            overlap: (matched.float() * ious).sum_dim(2).reshape([n, places]),
        }
    }
}

impl SimOtaAssigner {
    /// `[N, P, G]`: the places that each object would take.
    fn cheapest(&self, cost: &Tensor<3>, ious: &Tensor<3>) -> Tensor<3, Bool> {
        let [_, places, _] = cost.dims();
        let rounds = self.candidate_topk.min(places);
        let wanted = best_sum(ious.clone(), rounds).int().clamp_min(1);
        let index = Tensor::<1, Int>::arange(0..places as i64, &cost.device());
        let index = index.reshape([1, places, 1]).expand(cost.dims());
        let mut left = cost.clone();
        let mut taken: Option<Tensor<3, Bool>> = None;
        for round in 0..rounds {
            let (_, at) = left.clone().min_dim_with_indices(1);
            let here = index.clone().equal(at.expand(cost.dims()));
            let more = wanted.clone().greater_elem(round as i64);
            let chosen = here.clone().bool_and(more.expand(cost.dims()));
            left = left.mask_fill(here, f32::INFINITY);
            taken = Some(match taken {
                Some(taken) => taken.bool_or(chosen),
                None => chosen,
            });
        }
        taken.expect(
            "at least one round: `candidate_topk` is positive, and so is the number of places",
        )
    }
}

/// The sum of the `count` largest values along the places, `[N, 1, G]`.
fn best_sum(values: Tensor<3>, count: usize) -> Tensor<3> {
    let [_, places, _] = values.dims();
    let index = Tensor::<1, Int>::arange(0..places as i64, &values.device());
    let index = index.reshape([1, places, 1]).expand(values.dims());
    let mut left = values;
    let mut sum: Option<Tensor<3>> = None;
    for _ in 0..count {
        let (value, at) = left.clone().max_dim_with_indices(1);
        let here = index.clone().equal(at.expand(left.dims()));
        left = left.mask_fill(here, -1.0);
        sum = Some(match sum {
            Some(sum) => sum + value,
            None => value,
        });
    }
    sum.expect("at least one is wanted")
}

/// A place that several objects take stays with the object that it costs least, be it one of them or not.
fn settle(matched: Tensor<3, Bool>, cost: Tensor<3>) -> Tensor<3, Bool> {
    let shape = matched.dims();
    let several = matched
        .clone()
        .int()
        .sum_dim(2)
        .greater_elem(1)
        .expand(shape);
    let (_, cheapest) = cost.min_dim_with_indices(2);
    let cheapest = (numbers(&matched) - 1).equal(cheapest.expand(shape));
    several
        .clone()
        .bool_and(cheapest)
        .bool_or(several.bool_not().bool_and(matched))
}

/// 1 to G along the objects, `[N, P, G]`.
fn numbers(like: &Tensor<3, Bool>) -> Tensor<3, Int> {
    let [_, _, objects] = like.dims();
    let numbers = Tensor::<1, Int>::arange(1..objects as i64 + 1, &like.device());
    numbers.reshape([1, 1, objects]).expand(like.dims())
}

fn any(flags: Tensor<3, Bool>, dim: usize) -> Tensor<3, Bool> {
    flags.any_dim(dim)
}

/// Binary cross entropy of a place's probabilities and an object's class, `[N, P, G]`.
fn class_cost(predicted: &Predicted, objects: &Padded) -> Tensor<3> {
    let [n, places, _] = predicted.scores.dims();
    let [_, count] = objects.labels.dims();
    let log = |share: Tensor<3>| share.log().clamp_min(-100.0); // torch's bound
    let yes = log(predicted.scores.clone());
    let no = log(-predicted.scores.clone() + 1.0);
    let labels: Tensor<3, Int> = objects.labels.clone().unsqueeze_dim(1);
    let labels = labels.expand([n, places, count]);
    let of_class = (no.clone() - yes).gather(2, labels);
    of_class - no.sum_dim(2)
}

/// Places and objects, each with each: `[N, P, G]`.
struct Pairs {
    /// Middle x, y and stride across, down of places, `[1, P, 1]`.
    places: [Tensor<3>; 4],
    /// Sides of predicted boxes, `[N, P, 1]`.
    boxes: [Tensor<3>; 4],
    /// Sides of objects, `[N, 1, G]`.
    objects: [Tensor<3>; 4],
    /// Whether there is such an object.
    there: Tensor<3, Bool>,
}

impl Pairs {
    fn new(predicted: &Predicted, objects: &Padded) -> Self {
        let [n, places, _] = predicted.boxes.dims();
        let [_, count, _] = objects.boxes.dims();
        let there: Tensor<3, Bool> = objects.there.clone().unsqueeze_dim(1);
        let priors: Tensor<3> = predicted.priors.clone().unsqueeze_dim(0);
        let column = |t: &Tensor<3>, i: usize| t.clone().narrow(2, i, 1);
        Self {
            places: std::array::from_fn(|i| column(&priors, i)),
            boxes: std::array::from_fn(|i| column(&predicted.boxes, i)),
            objects: std::array::from_fn(|i| column(&objects.boxes, i).reshape([n, 1, count])),
            there: there.expand([n, places, count]),
        }
    }

    fn inside(&self) -> Tensor<3, Bool> {
        let [left, top, right, bottom] = &self.objects;
        self.between([left.clone(), top.clone()], [right.clone(), bottom.clone()])
    }

    fn near(&self, radius: f64) -> Tensor<3, Bool> {
        let [left, top, right, bottom] = &self.objects;
        let middle = [
            (left.clone() + right.clone()) / 2.0,
            (top.clone() + bottom.clone()) / 2.0,
        ];
        let reach = |axis: usize| self.places[axis + 2].clone() * radius;
        let [x, y] = middle;
        self.between(
            [x.clone() - reach(0), y.clone() - reach(1)],
            [x + reach(0), y + reach(1)],
        )
    }

    /// Whether the middle of a place lies between these sides of an object that is there.
    fn between(&self, low: [Tensor<3>; 2], high: [Tensor<3>; 2]) -> Tensor<3, Bool> {
        let mut all = self.there.clone();
        for (axis, (low, high)) in low.into_iter().zip(high).enumerate() {
            let place = self.places[axis].clone();
            let above = (place.clone() - low).greater_elem(0.0);
            let below = (high - place).greater_elem(0.0);
            all = all.bool_and(above.expand(self.there.dims()));
            all = all.bool_and(below.expand(self.there.dims()));
        }
        all
    }

    fn ious(&self) -> Tensor<3> {
        let (a, b) = (&self.boxes, &self.objects);
        let shape = self.there.dims();
        let wide = |t: &Tensor<3>| t.clone().expand(shape);
        let along = |axis: usize| {
            let high = wide(&a[axis + 2]).min_pair(wide(&b[axis + 2]));
            let low = wide(&a[axis]).max_pair(wide(&b[axis]));
            (high - low).clamp_min(0.0)
        };
        let area =
            |s: &[Tensor<3>; 4]| (s[2].clone() - s[0].clone()) * (s[3].clone() - s[1].clone());
        let both = along(0) * along(1);
        let union = area(a) + area(b) - both.clone();
        both / union.clamp_min(1e-6)
    }
}
