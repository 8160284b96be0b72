//! [`Pairs`]: boxes and those that they should be, row by row, and what losses of overlaps ask of them.
//!
//! Where two sides are the same, a larger or smaller one of them passes half of the gradient to each, as PyTorch's `max` and `min` of two
//! tensors do; burn's pass all to one.

use burn::tensor::Tensor;

use super::{AvgFactor, Reduce};

/// The sides of boxes and of those that they should be, each `[R, 1]` px.
pub(super) struct Pairs {
    pub pred: [Tensor<2>; 4],
    pub target: [Tensor<2>; 4],
}

impl Pairs {
    /// # Shapes
    /// - both: `[R, 4]`, xyxy px
    pub fn new(pred: Tensor<2>, target: Tensor<2>) -> Self {
        let sides = |boxes: Tensor<2>| -> [Tensor<2>; 4] {
            std::array::from_fn(|i| boxes.clone().narrow(1, i, 1))
        };
        Self {
            pred: sides(pred),
            target: sides(target),
        }
    }

    /// What both cover, px².
    pub fn both(&self) -> Tensor<2> {
        let along = |axis: usize| {
            let high = smaller(&self.pred[axis + 2], &self.target[axis + 2]);
            let low = larger(&self.pred[axis], &self.target[axis]);
            (high - low).clamp_min(0.0)
        };
        along(0) * along(1)
    }

    /// The areas together, what both cover once, px².
    pub fn union(&self, both: Tensor<2>) -> Tensor<2> {
        area(&self.pred) + area(&self.target) - both
    }

    /// Width and height of the smallest box around both, px, at least `least`.
    pub fn around(&self, least: f64) -> [Tensor<2>; 2] {
        [0, 1].map(|axis| {
            let high = larger(&self.pred[axis + 2], &self.target[axis + 2]);
            let low = smaller(&self.pred[axis], &self.target[axis]);
            (high - low).clamp_min(least)
        })
    }

    /// Twice the way from the middle of the box to that of its target, across and down, px.
    pub fn way(&self) -> [Tensor<2>; 2] {
        let twice =
            |sides: &[Tensor<2>; 4], axis: usize| sides[axis].clone() + sides[axis + 2].clone();
        [0, 1].map(|axis| twice(&self.target, axis) - twice(&self.pred, axis))
    }
}

/// Width and height, px.
pub(super) fn size(sides: &[Tensor<2>; 4]) -> [Tensor<2>; 2] {
    [0, 1].map(|axis| sides[axis + 2].clone() - sides[axis].clone())
}

/// Signed, px².
pub(super) fn area(sides: &[Tensor<2>; 4]) -> Tensor<2> {
    let [width, height] = size(sides);
    width * height
}

/// The smaller of two, element by element.
pub(super) fn smaller(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    larger_share(b, a).mix(a, b)
}

/// The larger of two, element by element.
pub(super) fn larger(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    larger_share(a, b).mix(a, b)
}

/// What of each of two numbers is taken, 0 to 1.
struct Share(Tensor<2>);

/// 1 where `a` is larger, 1/2 where they are the same.
fn larger_share(a: &Tensor<2>, b: &Tensor<2>) -> Share {
    let above = a.clone().greater(b.clone()).float();
    let not_below = a.clone().greater_equal(b.clone()).float();
    Share((above + not_below) * 0.5)
}

impl Share {
    fn mix(self, a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
        let Share(share) = self;
        a.clone() * share.clone() + b.clone() * (-share + 1.0)
    }
}

/// The number of `loss`, which gives one element a row, `[R, 1]`.
///
/// A row counts the mean of its weights. One that counts nothing may have a box of any size, and a loss that is no number: neither its
/// loss nor its gradient comes through.
pub(super) fn over_rows(
    reduce: Reduce,
    [pred, target]: [Tensor<2>; 2],
    weight: Option<Tensor<2>>,
    avg_factor: Option<AvgFactor>,
    loss: impl FnOnce(Pairs) -> Tensor<2>,
) -> Tensor<1> {
    let Some(weight) = weight else {
        return reduce.of(loss(Pairs::new(pred, target)), None, avg_factor);
    };
    let weight = weight.mean_dim(1);
    let nothing = weight.clone().equal_elem(0.0);
    let whole_row = nothing.clone().expand(pred.dims());
    let pred = pred.mask_where(whole_row, target.clone());
    let loss = loss(Pairs::new(pred, target)).mask_fill(nothing, 0.0);
    reduce.of(loss, Some(weight), avg_factor)
}
