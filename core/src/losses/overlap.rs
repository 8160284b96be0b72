//! Losses of two boxes that go on where they do not overlap: `GIoULoss` (Rezatofighi et al. 2019, arXiv 1902.09630), `DIoULoss` (Zheng et
//! al. 2020, arXiv 1911.08287), `CIoULoss` (Zheng et al. 2021, arXiv 2005.03572), `EIoULoss` (Peng and Yu 2021, ICPR) and `SIoULoss`
//! (Gevorgyan 2022, arXiv 2205.12740), as MMDetection 3.3.0 computes them.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::Tensor;
use serde::Deserialize;

use super::pairs::{Pairs, area, larger, over_rows, size, smaller};
use super::{AvgFactor, BoxLoss, Loss, Reduce, Reduction};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

/// The keys of most of them.
#[derive(Debug, Deserialize)]
struct OverlapConfig {
    eps: Option<f64>,
}

/// The keys of `type='EIoULoss'`.
#[derive(Debug, Deserialize)]
struct EiouConfig {
    eps: Option<f64>,
    smooth_point: Option<f64>,
}

/// The keys of `type='SIoULoss'`.
#[derive(Debug, Deserialize)]
struct SiouConfig {
    eps: Option<f64>,
    neg_gamma: Option<bool>,
}

/// What is taken of two boxes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Formula {
    /// The overlap, less the empty share of the box around both.
    Giou,
    /// The overlap, less the way between the middles, in diagonals of the box around both.
    Diou,
    /// That, less a difference of the angles of diagonals, of boxes that overlap by more than half.
    Ciou,
    /// The same of all boxes, and without bounds, as Detectron2 has it.
    CiouOfAll,
    /// An overlap below 0 where boxes are apart; a parabola near 1.
    Eiou {
        /// How far from 1 the parabola ends.
        smooth_point: f64,
    },
    /// The overlap, less what angle, distance and shape cost.
    Siou {
        /// The paper's sign of the exponent of distances; training is less stable with it.
        neg_gamma: bool,
    },
}

/// A loss of two boxes.
#[derive(Clone, Debug)]
pub struct OverlapLoss {
    /// What is taken of them.
    pub formula: Formula,
    /// Added to what is divided by.
    pub eps: f64,
    /// How elements become one number.
    pub reduce: Reduce,
}

fn build(node: &Node, formula: Formula, eps: Option<f64>) -> Result<Loss, Diagnostics> {
    Ok(Loss::Boxes(Box::new(OverlapLoss {
        formula,
        eps: eps.unwrap_or(1e-6),
        reduce: Reduce::read(node)?,
    })))
}

pub(super) fn build_giou(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: OverlapConfig = node.read_knowing(Reduce::KEYS)?;
    build(node, Formula::Giou, config.eps)
}

pub(super) fn build_diou(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: OverlapConfig = node.read_knowing(Reduce::KEYS)?;
    build(node, Formula::Diou, config.eps)
}

pub(super) fn build_ciou(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: OverlapConfig = node.read_knowing(Reduce::KEYS)?;
    build(node, Formula::Ciou, config.eps)
}

pub(super) fn build_eiou(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: EiouConfig = node.read_knowing(Reduce::KEYS)?;
    let smooth_point = config.smooth_point.unwrap_or(0.1);
    if smooth_point == 0.0 {
        let message = "`smooth_point` is divided by, so it is not 0";
        return Err(error_at(node, "smooth_point", message, "for example 0.1"));
    }
    build(node, Formula::Eiou { smooth_point }, config.eps)
}

pub(super) fn build_siou(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: SiouConfig = node.read_knowing(Reduce::KEYS)?;
    let neg_gamma = config.neg_gamma.unwrap_or(false);
    build(node, Formula::Siou { neg_gamma }, config.eps)
}

impl BoxLoss for OverlapLoss {
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let eps = self.eps;
        over_rows(
            self.reduce,
            [pred, target],
            weight,
            avg_factor,
            |pairs| match self.formula {
                Formula::Giou => -giou(&pairs, eps) + 1.0,
                Formula::Diou => -(iou(&pairs, eps) - apart(&pairs, eps)) + 1.0,
                Formula::Ciou => -ciou(&pairs, eps, 0.5).clamp(-1.0, 1.0) + 1.0,
                Formula::CiouOfAll => -ciou(&pairs, eps, -1.0) + 1.0,
                Formula::Eiou { smooth_point } => eiou(&pairs, eps, smooth_point),
                Formula::Siou { neg_gamma } => -siou(&pairs, eps, neg_gamma).clamp(-1.0, 1.0) + 1.0,
            },
        )
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }
}

fn iou(pairs: &Pairs, eps: f64) -> Tensor<2> {
    let both = pairs.both();
    both.clone() / (pairs.union(both) + eps)
}

fn giou(pairs: &Pairs, eps: f64) -> Tensor<2> {
    let both = pairs.both();
    let union = pairs.union(both.clone()).clamp_min(eps);
    let [width, height] = pairs.around(0.0);
    let around = (width * height).clamp_min(eps);
    both / union.clone() - (around.clone() - union) / around
}

/// The way between the middles in diagonals of the box around both, squared.
fn apart(pairs: &Pairs, eps: f64) -> Tensor<2> {
    let [across, down] = pairs.way();
    let [width, height] = pairs.around(0.0);
    let way = across.square() / 4.0 + down.square() / 4.0;
    way / (width.square() + height.square() + eps)
}

/// Angles count where boxes overlap by more than `least`.
fn ciou(pairs: &Pairs, eps: f64, least: f64) -> Tensor<2> {
    let iou = iou(pairs, eps);
    let angle = |sides| {
        let [width, height] = size(sides);
        (width / (height + eps)).atan()
    };
    let turn = (angle(&pairs.target) - angle(&pairs.pred)).square() * (4.0 / (PI * PI));
    // a factor, of which no gradient is taken
    let share = {
        let (iou, turn) = (iou.clone().detach(), turn.clone().detach());
        let near = iou.clone().greater_elem(least).float();
        near * turn.clone() / (-iou + 1.0 + turn)
    };
    iou - apart(pairs, eps) - share * turn
}

fn eiou(pairs: &Pairs, eps: f64, smooth_point: f64) -> Tensor<2> {
    // Along an axis: where both begin, where what both cover begins and ends, and these two in order, which they are not if boxes are apart.
    let along = |axis: usize| {
        let (pred, target) = (&pairs.pred, &pairs.target);
        let first = smaller(&pred[axis], &target[axis]);
        let low = larger(&pred[axis], &target[axis]);
        let high = smaller(&pred[axis + 2], &target[axis + 2]);
        let [least, most] = [smaller(&low, &high), larger(&low, &high)];
        [low, high, least, most].map(|at| at - first.clone())
    };
    let [
        [left, right, x_least, x_most],
        [top, bottom, y_least, y_most],
    ] = [along(0), along(1)];
    let both = right * bottom + x_least * y_least - left * y_most - x_most * top;
    let union = area(&pairs.pred) + area(&pairs.target) - both.clone() + eps;
    let far = -(both / union) + 1.0;
    let near = far.clone().lower_elem(smooth_point);
    let parabola = far.clone().square() * (0.5 / smooth_point);
    (far - 0.5 * smooth_point).mask_where(near, parabola)
}

fn siou(pairs: &Pairs, eps: f64, neg_gamma: bool) -> Tensor<2> {
    let iou = iou(pairs, eps);
    let around = pairs.around(eps);
    let way = pairs.way().map(|twice| twice * 0.5 + eps);

    // What the angle costs: the sine of twice the smaller of the angles that the way has with the axes.
    let length = (way[0].clone().square() + way[1].clone().square()).sqrt();
    let [across, down] = way.clone().map(|way| way.abs() / length.clone());
    let steep = across.clone().greater_elem(FRAC_1_SQRT_2);
    let sine = across.mask_where(steep, down);
    let angle = sine.clone() * (-sine.square() + 1.0).sqrt() * 2.0;

    let gamma = if neg_gamma { angle - 2.0 } else { -angle + 2.0 };
    let [across, down] = [0, 1].map(|axis| {
        let way = (way[axis].clone() / around[axis].clone()).square();
        (gamma.clone() * way).exp()
    });
    let distance = -(across + down) + 2.0;

    // heights have `eps` added, widths have not
    let [[w1, h1], [w2, h2]] = [size(&pairs.pred), size(&pairs.target)];
    let shape = [(w1, w2), (h1 + eps, h2 + eps)].map(|(a, b)| {
        let differ = (a.clone() - b.clone()).abs() / larger(&a, &b);
        (-(-differ).exp() + 1.0).square().square()
    });
    let [width, height] = shape;
    iou - (distance + width + height) * 0.5
}
