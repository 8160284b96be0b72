//! Losses: what is predicted, what should have been, how far apart they are. To add one, write a file and a row in [`ROWS`].
//!
//! Names, keys and defaults are MMDetection 3.3.0's, and so is how elements become one number ([`Reduce`]). Everything stays on the device:
//! what a sum is divided by may be a tensor too ([`AvgFactor`]).

mod cross_entropy;
mod focal;
mod iou;
mod l1;
mod reduce;

pub use cross_entropy::CrossEntropyLoss;
pub use focal::FocalLoss;
pub use iou::{IouLoss, IouMode};
pub use l1::{L1Loss, SmoothL1Loss};
pub use reduce::{AvgFactor, Reduce, Reduction};

use std::fmt::Debug;

use burn::tensor::{Int, Tensor, activation};

use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::registry::{Family, Row};

/// A loss of class logits.
pub trait ClassLoss: Debug + Send + Sync {
    /// # Shapes
    /// - `logits`: `[R, K]`; `weight`: `[R]`
    fn forward(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1>;

    /// How its elements become one number.
    fn reduction(&self) -> Reduction;
}

/// What class logits should say.
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
    /// # Shapes
    /// - `pred`, `target`, `weight`: `[R, 4]`
    fn forward(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weight: Option<Tensor<2>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1>;

    /// How its elements become one number.
    fn reduction(&self) -> Reduction;
}

/// What a builder of losses gives.
#[derive(Debug)]
pub enum Loss {
    /// Of class logits.
    Class(Box<dyn ClassLoss>),
    /// Of boxes.
    Boxes(Box<dyn BoxLoss>),
}

/// The kind `loss` of the registry.
#[derive(Debug)]
pub struct LossFamily;

impl Family for LossFamily {
    const KIND: &'static str = "loss";
    type Build = fn(&Node, &Build) -> Result<Loss, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<LossFamily>; 5] = [
    Row::<LossFamily>::new("mmdet", "CrossEntropyLoss", cross_entropy::build),
    Row::<LossFamily>::new("mmdet", "FocalLoss", focal::build),
    Row::<LossFamily>::new("mmdet", "IoULoss", iou::build),
    Row::<LossFamily>::new("mmdet", "L1Loss", l1::build_l1),
    Row::<LossFamily>::new("mmdet", "SmoothL1Loss", l1::build_smooth_l1),
];

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
        Some(Loss::Boxes(_)) => {
            let message = format!("`{key}` is a loss of boxes, classes are wanted");
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
        Some(Loss::Class(_)) => {
            let message = format!("`{key}` is a loss of classes, boxes are wanted");
            let help = "for example dict(type='L1Loss', loss_weight=1.0)";
            Err(error_at(node, key, message, help))
        }
    }
}

fn named(node: &Node, key: &str, build: &Build) -> Result<Option<Loss>, Diagnostics> {
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
