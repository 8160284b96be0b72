//! [`Pairs`]: places and objects, each with each, and what assigners on the device ask of them.
//!
//! What is largest or least is found round by round: burn's `sort` and `topk` read back from a GPU.

use burn::tensor::{Bool, Int, Tensor};

use super::{AssignedOnDevice, Predicted};
use crate::targets::Padded;

/// Places and objects, each with each: `[N, P, G]`.
pub(super) struct Pairs {
    /// Middle x, y and stride across, down of places, `[1, P, 1]`.
    pub places: [Tensor<3>; 4],
    /// Sides of predicted boxes, `[N, P, 1]`.
    boxes: [Tensor<3>; 4],
    /// Sides of objects, `[N, 1, G]`.
    pub objects: [Tensor<3>; 4],
    /// Whether there is such an object.
    pub there: Tensor<3, Bool>,
}

impl Pairs {
    pub fn new(predicted: &Predicted, objects: &Padded) -> Self {
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

    /// Whether the middle of a place lies in an object.
    pub fn inside(&self) -> Tensor<3, Bool> {
        self.within(0.0)
    }

    /// Whether it lies in an object, further than so many px from all sides.
    pub fn within(&self, least: f64) -> Tensor<3, Bool> {
        let [left, top, right, bottom] = &self.objects;
        let (low, high) = ([left.clone(), top.clone()], [right.clone(), bottom.clone()]);
        self.between(low, high, least)
    }

    /// Whether it lies so many strides around an object's middle.
    pub fn near(&self, radius: f64) -> Tensor<3, Bool> {
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
            0.0,
        )
    }

    /// Whether the middle of a place lies between these sides of an object that is there, by more than `least`, px.
    fn between(&self, low: [Tensor<3>; 2], high: [Tensor<3>; 2], least: f64) -> Tensor<3, Bool> {
        let mut all = self.there.clone();
        for (axis, (low, high)) in low.into_iter().zip(high).enumerate() {
            let place = self.places[axis].clone();
            let above = (place.clone() - low).greater_elem(least);
            let below = (high - place).greater_elem(least);
            all = all.bool_and(above.expand(self.there.dims()));
            all = all.bool_and(below.expand(self.there.dims()));
        }
        all
    }

    /// The same for other boxes than those that are predicted, `[N, P, 4]`.
    pub fn with_boxes(&self, boxes: &Tensor<3>) -> Self {
        Self {
            boxes: std::array::from_fn(|i| boxes.clone().narrow(2, i, 1)),
            places: self.places.clone(),
            objects: self.objects.clone(),
            there: self.there.clone(),
        }
    }

    /// How far middles and sizes are apart, all four added, px.
    pub fn distances(&self) -> Tensor<3> {
        let of = |sides: &[Tensor<3>; 4]| -> [Tensor<3>; 4] {
            let middle = |axis: usize| (sides[axis].clone() + sides[axis + 2].clone()) / 2.0;
            let size = |axis: usize| sides[axis + 2].clone() - sides[axis].clone();
            [middle(0), middle(1), size(0), size(1)]
        };
        let pairs = of(&self.boxes).into_iter().zip(of(&self.objects));
        let apart = pairs.map(|(a, b)| (a - b).abs());
        apart.reduce(|a, b| a + b).expect("there are four")
    }

    /// Overlaps of predicted boxes with objects.
    pub fn ious(&self) -> Tensor<3> {
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

/// Whether a place is asked: `possible` for any object, `[N, P, G]`.
pub(super) fn for_any(possible: Tensor<3, Bool>) -> Tensor<3, Bool> {
    let shape = possible.dims();
    possible.any_dim(2).expand(shape)
}

/// The cost of a place that is not asked, and of an object that is not there.
const NEVER: f64 = 1e30;

/// Each object takes the places that are `possible` at the least cost, as many as the `topk` largest overlaps come to, at least one; a place
/// that several take stays with the object that it costs least, be it one of them or not.
///
/// # Shapes
/// - all: `[N, P, G]`
pub(super) fn dynamic_k(
    cost: Tensor<3>,
    ious: Tensor<3>,
    possible: Tensor<3, Bool>,
    topk: usize,
) -> AssignedOnDevice {
    let not = possible.clone().bool_not();
    let ious = ious.mask_fill(not.clone(), 0.0);
    let cost = cost.mask_fill(not, NEVER);
    let [n, places, _] = cost.dims();
    let rounds = topk.min(places);
    let wanted = best_sum(ious.clone(), rounds).int().clamp_min(1);
    let matched = first_rounds(-cost.clone(), rounds, Some(wanted)).bool_and(possible);
    let matched = settle(matched, cost);
    let object = matched.clone().int() * numbers(&matched);
    AssignedOnDevice {
        object: object.sum_dim(2).reshape([n, places]),
        overlap: (matched.float() * ious).sum_dim(2).reshape([n, places]),
        metric: None,
        pairing: None,
    }
}

/// The `rounds` places of the largest value of each object, `[N, P, G]`; or as many of them as `wanted`, `[N, 1, G]`.
pub(super) fn first_rounds(
    values: Tensor<3>,
    rounds: usize,
    wanted: Option<Tensor<3, Int>>,
) -> Tensor<3, Bool> {
    let mut taken: Option<Tensor<3, Bool>> = None;
    for (round, here) in largest(values, rounds).enumerate() {
        let chosen = match &wanted {
            None => here.places,
            Some(wanted) => {
                let more = wanted.clone().greater_elem(round as i64);
                here.places
                    .clone()
                    .bool_and(more.expand(here.places.dims()))
            }
        };
        taken = Some(match taken {
            Some(taken) => taken.bool_or(chosen),
            None => chosen,
        });
    }
    taken.expect("at least one round is wanted")
}

/// What a round finds of each object.
pub(super) struct Round {
    /// The one place, `[N, P, G]`.
    pub places: Tensor<3, Bool>,
    /// Its number, `[N, 1, G]`.
    pub at: Tensor<3, Int>,
    /// Its value, `[N, 1, G]`.
    value: Tensor<3>,
}

/// The places of the largest, second largest, ... of `values` along the places.
pub(super) fn largest(values: Tensor<3>, rounds: usize) -> impl Iterator<Item = Round> {
    let [_, places, _] = values.dims();
    let shape = values.dims();
    let index = Tensor::<1, Int>::arange(0..places as i64, &values.device());
    let index = index.reshape([1, places, 1]).expand(shape);
    let mut left = values;
    (0..rounds).map(move |_| {
        let (value, at) = left.clone().max_dim_with_indices(1);
        let here = index.clone().equal(at.clone().expand(shape));
        left = left.clone().mask_fill(here.clone(), f32::NEG_INFINITY);
        Round {
            places: here,
            at,
            value,
        }
    })
}

/// The sum of the `count` largest values along the places, `[N, 1, G]`.
fn best_sum(values: Tensor<3>, count: usize) -> Tensor<3> {
    let rounds = largest(values, count).map(|round| round.value);
    rounds.reduce(|a, b| a + b).expect("at least one is wanted")
}

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
pub(super) fn numbers(like: &Tensor<3, Bool>) -> Tensor<3, Int> {
    let [_, _, objects] = like.dims();
    let numbers = Tensor::<1, Int>::arange(1..objects as i64 + 1, &like.device());
    numbers.reshape([1, 1, objects]).expand(like.dims())
}

/// What `scores`, `[N, P, K]`, say of each object's class, `[N, P, G]`.
pub(super) fn of_classes(scores: &Tensor<3>, objects: &Padded) -> Tensor<3> {
    let [n, places, _] = scores.dims();
    let [_, count] = objects.labels.dims();
    let labels: Tensor<3, Int> = objects.labels.clone().unsqueeze_dim(1);
    scores.clone().gather(2, labels.expand([n, places, count]))
}
