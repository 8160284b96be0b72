//! Losses: what is predicted, what should have been, how far apart they are. To add one, write a file and a row in [`ROWS`].
//!
//! Names, keys and defaults are MMDetection 3.3.0's, and so is how elements become one number ([`Reduce`]). Everything stays on the device:
//! what a sum is divided by may be a tensor too ([`AvgFactor`]).

mod accuracy;
mod balanced_l1;
mod bounded_iou;
mod cross_entropy;
mod dice;
mod distillation;
mod distribution_focal;
mod eqlv2;
mod focal;
mod gaussian_focal;
mod ghm;
mod iou;
mod l1;
mod mask_cross_entropy;
mod mse;
mod overlap;
mod pairs;
mod quality_focal;
mod reduce;
mod seesaw;
#[cfg(test)]
pub(crate) mod tests;
mod varifocal;

pub use accuracy::{Accuracy, accuracy};
pub use balanced_l1::BalancedL1Loss;
pub use bounded_iou::BoundedIouLoss;
pub use cross_entropy::CrossEntropyLoss;
pub use dice::DiceLoss;
pub use distillation::DistillationLoss;
pub use distribution_focal::DistributionFocalLoss;
pub use eqlv2::Eqlv2Loss;
pub use focal::FocalLoss;
pub use gaussian_focal::GaussianFocalLoss;
pub use ghm::{GhmcLoss, GhmrLoss};
pub use iou::{IouLoss, IouMode};
pub use l1::{L1Loss, SmoothL1Loss};
pub use mask_cross_entropy::MaskCrossEntropyLoss;
pub use mse::MseLoss;
pub use overlap::{Formula, OverlapLoss};
pub use quality_focal::QualityFocalLoss;
pub use reduce::{AvgFactor, Reduce, Reduction};
pub use seesaw::SeesawLoss;
pub use varifocal::VarifocalLoss;

use std::fmt::Debug;

use burn::tensor::{Device, Int, Tensor, activation};

use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::registry::{Family, Row};

/// A loss of class logits.
pub trait ClassLoss: Debug + Send + Sync {
    /// The loss, `[1]`; 0 of no rows.
    ///
    /// # Shapes
    /// - `logits`: `[R, K]`; `weight`: `[R]`
    fn forward(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if logits.dims()[0] == 0 {
            return zero(&logits.device());
        }
        self.of_rows(logits, target, weight, avg_factor)
    }

    /// What [`ClassLoss::forward`] is to be of at least one row.
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1>;

    /// The same of maps, one for each level, in which `channels` logits of a place of a cell lie together, from place to place. Labels and
    /// weights are of all rows, level after level. Losses that need not have logits in rows take them as they lie.
    ///
    /// # Shapes
    /// - `maps`: each `[N, A * channels, H, W]`; `labels`, `weight`: `[R]`, a level's in the order `[N, H, W, A]`
    fn of_maps(
        &self,
        maps: &[&Tensor<4>],
        channels: usize,
        labels: Tensor<1, Int>,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let rows: Vec<Tensor<2>> = maps.iter().map(|map| rows_of(map, channels)).collect();
        let logits = Tensor::cat(rows, 0);
        self.forward(logits, ClassTarget::Labels(labels), weight, avg_factor)
    }

    /// The same by name: `name`, unless the loss has names of its own.
    fn named(
        &self,
        name: &str,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Losses {
        let mut losses = Losses::default();
        losses.add(name, self.forward(logits, target, weight, avg_factor));
        losses
    }

    /// How its elements become one number.
    fn reduction(&self) -> Reduction;

    /// Logits of a box, where the loss has its own say (`custom_cls_channels`).
    fn channels(&self) -> Option<usize> {
        None
    }

    /// What scores logits `[R, channels]` are, background last where there is one, where the loss has its own say (`custom_activation`).
    fn scores(&self, _: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    /// The cross entropy of softmax that it is, where it is one: that has a loss for each row.
    fn by_row(&self) -> Option<&CrossEntropyLoss> {
        None
    }

    /// What heads of second stages report of how many rows are right, percent.
    ///
    /// # Shapes
    /// - `logits`: `[R, channels]`; `labels`: `[R]`
    fn accuracy(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Losses {
        class_accuracy(None, logits, labels)
    }
}

/// What class logits should say.
#[expect(
    clippy::large_enum_variant,
    reason = "a few of them a step, each moved once or twice"
)]
#[derive(Clone, Debug)]
pub enum ClassTarget {
    /// `[R]`: the class of each row; K is background.
    Labels(Tensor<1, Int>),
    /// `[R, K]`: a share for each class.
    Soft(Tensor<2>),
    /// The class of each row, and how good its box is, both `[R]`.
    Quality {
        /// K is background.
        labels: Tensor<1, Int>,
        /// Mostly the overlap with the object, 0 to 1.
        scores: Tensor<1>,
    },
}

impl ClassTarget {
    /// `[R, classes]`: a share for each class; background is a row of zeros.
    pub fn shares(self, classes: usize) -> Tensor<2> {
        match self {
            ClassTarget::Labels(labels) => one_hot(labels, classes),
            ClassTarget::Soft(shares) => shares,
            ClassTarget::Quality { labels, scores } => {
                one_hot(labels, classes) * scores.unsqueeze_dim(1)
            }
        }
    }
}

/// A loss of boxes, as numbers or as xyxy px: which, is the head's choice.
pub trait BoxLoss: Debug + Send + Sync {
    /// The loss, `[1]`; 0 of no rows.
    ///
    /// # Shapes
    /// - `pred`, `target`, `weight`: `[R, 4]`; losses of numbers (L1, MSE, GHMR) take any `[R, C]`
    fn forward(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if pred.dims()[0] == 0 {
            return zero(&pred.device());
        }
        self.of_rows(pred, target, weight, avg_factor)
    }

    /// What [`BoxLoss::forward`] is to be of at least one row.
    fn of_rows(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1>;

    /// How its elements become one number.
    fn reduction(&self) -> Reduction;

    /// Whether each number has a loss of its own, not four together.
    fn of_numbers(&self) -> bool {
        false
    }

    /// The same whose parabola ends elsewhere; None where it has none that may be moved.
    fn with_beta(&self, _: f64) -> Option<Box<dyn BoxLoss>> {
        None
    }
}

/// What a builder of losses gives.
#[derive(Debug)]
pub enum Loss {
    /// Of class logits.
    Class(Box<dyn ClassLoss>),
    /// Of boxes.
    Boxes(Box<dyn BoxLoss>),
    /// Of distributions of distances.
    Distribution(DistributionFocalLoss),
    /// Of what another model says.
    Distillation(DistillationLoss),
    /// Of heat maps.
    HeatMap(GaussianFocalLoss),
    /// Of masks.
    Dice(DiceLoss),
    /// Of masks by class.
    Mask(MaskCrossEntropyLoss),
}

impl Loss {
    /// What it is a loss of.
    fn of(&self) -> &'static str {
        match self {
            Loss::Class(_) => "classes",
            Loss::Boxes(_) => "boxes",
            Loss::Distribution(_) => "distributions",
            Loss::Distillation(_) => "another model's logits",
            Loss::HeatMap(_) => "heat maps",
            Loss::Dice(_) | Loss::Mask(_) => "masks",
        }
    }
}

/// The kind `loss` of the registry.
#[derive(Debug)]
pub struct LossFamily;

impl Family for LossFamily {
    const KIND: &'static str = "loss";
    type Build = fn(&Node, &Build) -> Result<Loss, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<LossFamily>; 25] = [
    Row::<LossFamily>::new("mmdet", "BalancedL1Loss", balanced_l1::build),
    Row::<LossFamily>::new("mmdet", "BoundedIoULoss", bounded_iou::build),
    Row::<LossFamily>::new("mmdet", "CIoULoss", overlap::build_ciou),
    Row::<LossFamily>::new(
        "mmdet",
        "CrossEntropyCustomLoss",
        cross_entropy::build_custom,
    ),
    Row::<LossFamily>::new("mmdet", "CrossEntropyLoss", cross_entropy::build),
    Row::<LossFamily>::new("mmdet", "DIoULoss", overlap::build_diou),
    Row::<LossFamily>::new("mmdet", "DiceLoss", dice::build),
    Row::<LossFamily>::new("mmdet", "DistributionFocalLoss", distribution_focal::build),
    Row::<LossFamily>::new("mmdet", "EIoULoss", overlap::build_eiou),
    Row::<LossFamily>::new("mmdet", "EQLV2Loss", eqlv2::build),
    Row::<LossFamily>::new("mmdet", "FocalCustomLoss", focal::build_custom),
    Row::<LossFamily>::new("mmdet", "FocalLoss", focal::build),
    Row::<LossFamily>::new("mmdet", "GHMC", ghm::build_ghmc),
    Row::<LossFamily>::new("mmdet", "GHMR", ghm::build_ghmr),
    Row::<LossFamily>::new("mmdet", "GIoULoss", overlap::build_giou),
    Row::<LossFamily>::new("mmdet", "GaussianFocalLoss", gaussian_focal::build),
    Row::<LossFamily>::new("mmdet", "IoULoss", iou::build),
    Row::<LossFamily>::new(
        "mmdet",
        "KnowledgeDistillationKLDivLoss",
        distillation::build,
    ),
    Row::<LossFamily>::new("mmdet", "L1Loss", l1::build_l1),
    Row::<LossFamily>::new("mmdet", "MSELoss", mse::build),
    Row::<LossFamily>::new("mmdet", "QualityFocalLoss", quality_focal::build),
    Row::<LossFamily>::new("mmdet", "SIoULoss", overlap::build_siou),
    Row::<LossFamily>::new("mmdet", "SeesawLoss", seesaw::build),
    Row::<LossFamily>::new("mmdet", "SmoothL1Loss", l1::build_smooth_l1),
    Row::<LossFamily>::new("mmdet", "VarifocalLoss", varifocal::build),
];

/// Registers what the loss that `key` of the head `node` names keeps in the state dict, where it was not built: a head that only runs may
/// have an assigner, say, that is not there. Losses that cannot be built are left to [`class_loss`] and its kin.
pub(crate) fn register_buffers(node: &Node, key: &str, build: &Build) {
    let name = node.get(key).and_then(|loss| loss.get("type")?.as_type());
    let name = name.unwrap_or_default();
    let keeps = ["GHMC", "GHMR", "SeesawLoss", "EQLV2Loss"];
    let keeps = keeps.contains(&name.rsplit('.').next().unwrap_or_default());
    if keeps && !build.params.at(key).registered() {
        let _ = named(node, key, build);
    }
}

/// The loss of classes that `key` of the head `node` names, else `default`.
///
/// # Errors
/// It is wrong, or one of boxes.
pub fn class_loss<L: ClassLoss + 'static>(
    node: &Node,
    key: &str,
    build: &Build,
    default: L,
) -> Result<Box<dyn ClassLoss>, Diagnostics> {
    match named(node, key, build)? {
        None => Ok(Box::new(default)),
        Some(Loss::Class(loss)) => Ok(loss),
        Some(other) => {
            let message = format!("`{key}` is a loss of {}, classes are wanted", other.of());
            let help = "for example dict(type='FocalLoss', use_sigmoid=True)";
            Err(error_at(node, key, message, help))
        }
    }
}

/// The loss of boxes that `key` of the head `node` names, else `default`.
///
/// # Errors
/// It is wrong, or one of classes.
pub fn box_loss<L: BoxLoss + 'static>(
    node: &Node,
    key: &str,
    build: &Build,
    default: L,
) -> Result<Box<dyn BoxLoss>, Diagnostics> {
    match named(node, key, build)? {
        None => Ok(Box::new(default)),
        Some(Loss::Boxes(loss)) => Ok(loss),
        Some(other) => {
            let message = format!("`{key}` is a loss of {}, boxes are wanted", other.of());
            let help = "for example dict(type='L1Loss', loss_weight=1.0)";
            Err(error_at(node, key, message, help))
        }
    }
}

/// The loss that `key` of the head `node` names, if it names one.
///
/// # Errors
/// It is wrong.
pub fn named(node: &Node, key: &str, build: &Build) -> Result<Option<Loss>, Diagnostics> {
    let Some(loss) = node.get(key).filter(|n| !n.is_none()) else {
        return Ok(None);
    };
    let (make, below) = build.part::<LossFamily>(key, loss)?;
    make(loss, &below).map(Some)
}

/// Losses of a batch by the original's names, in its order. Each is one number, on the device.
#[derive(Clone, Debug, Default)]
pub struct Losses(Vec<(String, Tensor<1>)>);

impl Losses {
    /// Adds one. What has no `loss` in its name is only reported.
    pub fn add(&mut self, name: impl Into<String>, loss: Tensor<1>) {
        self.0.push((name.into(), loss));
    }

    /// Adds those of another part, with `prefix` before their names.
    pub fn append(&mut self, prefix: &str, other: Losses) {
        let named = other
            .0
            .into_iter()
            .map(|(name, loss)| (format!("{prefix}{name}"), loss));
        self.0.extend(named);
    }

    /// The same with all that is minimised times a factor.
    pub fn weighted(self, factor: f64) -> Self {
        let each = self.0.into_iter();
        let each = each.map(|(name, loss)| match name.contains("loss") {
            true => (name, loss * factor),
            false => (name, loss),
        });
        Self(each.collect())
    }

    /// The same, without what they were computed from.
    pub fn without_autodiff(self) -> Self {
        let values = self.0.into_iter();
        Self(
            values
                .map(|(name, loss)| (name, loss.without_autodiff()))
                .collect(),
        )
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<1>)> {
        self.0.iter().map(|(name, loss)| (name.as_str(), loss))
    }

    /// What is minimised: the sum of all that have `loss` in their names. None if there is none.
    pub fn total(&self) -> Option<Tensor<1>> {
        let losses = self.0.iter().filter(|(name, _)| name.contains("loss"));
        losses.map(|(_, loss)| loss.clone()).reduce(|a, b| a + b)
    }
}

/// `[N, A * count, H, W]` as rows of `count`, `[N * H * W * A, count]`.
pub(crate) fn rows_of(map: &Tensor<4>, count: usize) -> Tensor<2> {
    let rows = map.dims().iter().product::<usize>() / count;
    map.clone().permute([0, 2, 3, 1]).reshape([rows, count])
}

/// `[R, classes]` of 0 and 1; labels from `classes` on give rows of zeros.
pub(crate) fn one_hot(labels: Tensor<1, Int>, classes: usize) -> Tensor<2> {
    let columns = Tensor::<1, Int>::arange(0..classes as i64, &labels.device());
    let labels = labels.unsqueeze_dim::<2>(1);
    let rows = labels.dims()[0];
    let columns = columns.unsqueeze::<2>().expand([rows, classes]);
    labels.expand([rows, classes]).equal(columns).float()
}

/// Binary cross entropy of `logits` and shares from 0 to 1, element by element. Two logarithms of sigmoids lose no digits, and have a
/// slope at 0.
pub(crate) fn binary_cross_entropy<const D: usize>(
    logits: Tensor<D>,
    shares: Tensor<D>,
) -> Tensor<D> {
    let yes = activation::log_sigmoid(logits.clone()) * shares.clone();
    let no = activation::log_sigmoid(-logits) * (-shares + 1.0);
    -(yes + no)
}

/// The loss of no rows.
fn zero(device: &Device) -> Tensor<1> {
    Tensor::zeros([1], device)
}

/// The same, or of probabilities, whose logarithms are no less than PyTorch's bound.
fn entropy(pred: Tensor<2>, shares: Tensor<2>, activated: bool) -> Tensor<2> {
    if !activated {
        return binary_cross_entropy(pred, shares);
    }
    let log = |share: Tensor<2>| share.log().clamp_min(-100.0);
    -(log(pred.clone()) * shares.clone() + log(-pred + 1.0) * (-shares + 1.0))
}

/// `base`, which is not below 0, to the power of `exponent`.
fn power<const D: usize>(base: Tensor<D>, exponent: f64) -> Tensor<D> {
    if exponent == 2.0 {
        base.clone() * base
    } else if exponent == 1.0 {
        base
    } else {
        base.powf_scalar(exponent)
    }
}

/// What softmax would ask for is not there.
fn only_sigmoid(node: &Node, use_sigmoid: Option<bool>) -> Result<(), Diagnostics> {
    if use_sigmoid != Some(false) {
        return Ok(());
    }
    let name = node.get("type").and_then(Node::as_type);
    let message = format!("`{}` is of sigmoids only", name.unwrap_or_default());
    Err(error_at(
        node,
        "use_sigmoid",
        message,
        "write use_sigmoid=True",
    ))
}

/// `acc`; or `acc_classes`, where a loss has its own say on `custom` classes.
pub(crate) fn class_accuracy(
    custom: Option<usize>,
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
) -> Losses {
    let mut found = Losses::default();
    match custom {
        None => found.add("acc", accuracy(logits, labels, Accuracy::default())),
        Some(classes) => {
            let labels_below = Some(classes);
            let of_objects = Accuracy {
                labels_below,
                ..Accuracy::default()
            };
            let logits = logits.narrow(1, 0, classes);
            found.add("acc_classes", accuracy(logits, labels, of_objects));
        }
    }
    found
}
