//! `CrossEntropyLoss` of MMDetection 3.3.0: softmax over classes and background, or a sigmoid for each class.

use burn::tensor::{Bool, Int, Tensor, TensorData, activation};
use serde::Deserialize;

use super::{
    AvgFactor, ClassLoss, ClassTarget, Loss, Losses, MaskCrossEntropyLoss, Reduce, Reduction,
    binary_cross_entropy, one_hot,
};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Short, error_at};
use crate::limits::Channels;

/// The keys of `type='CrossEntropyLoss'`.
#[derive(Debug, Deserialize)]
struct CrossEntropyConfig {
    use_sigmoid: Option<bool>,
    use_mask: Option<bool>,
    class_weight: Option<Short<f32, 65_536>>,
    ignore_index: Option<i64>,
    avg_non_ignore: Option<bool>,
    num_classes: Option<Channels>,
}

/// What PyTorch leaves out where nothing is said.
const IGNORED: i64 = -100;

/// Cross entropy.
#[derive(Clone, Debug)]
pub struct CrossEntropyLoss {
    /// A sigmoid for each class, not softmax over all.
    pub use_sigmoid: bool,
    /// A factor for each class.
    pub class_weight: Option<Vec<f32>>,
    /// The label that is left out.
    pub ignore_index: i64,
    /// Whether means are over what is not left out.
    pub avg_non_ignore: bool,
    /// Classes of `CrossEntropyCustomLoss`, which has its own say on logits (V3Det).
    pub custom: Option<usize>,
    /// How elements become one number.
    pub reduce: Reduce,
}

impl CrossEntropyLoss {
    /// Of sigmoids.
    pub fn of_sigmoids(reduce: Reduce) -> Self {
        Self {
            use_sigmoid: true,
            ..Self::of_softmax(reduce)
        }
    }

    /// Of softmax over classes and background.
    pub fn of_softmax(reduce: Reduce) -> Self {
        Self {
            use_sigmoid: false,
            class_weight: None,
            ignore_index: IGNORED,
            avg_non_ignore: false,
            custom: None,
            reduce,
        }
    }
}

pub(super) fn build(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: CrossEntropyConfig = node.read_knowing(Reduce::KEYS)?;
    if config.num_classes.is_some() {
        let message = "`CrossEntropyLoss` has no `num_classes`";
        let help = "leave it out, or write type='CrossEntropyCustomLoss'";
        return Err(error_at(node, "num_classes", message, help));
    }
    of(node, config)
}

pub(super) fn build_custom(node: &Node, _: &Build) -> Result<Loss, Diagnostics> {
    let config: CrossEntropyConfig = node.read_knowing(Reduce::KEYS)?;
    if config.num_classes.is_none() {
        let message = "`CrossEntropyCustomLoss` asks for `num_classes`";
        return Err(error_at(node, "num_classes", message, ""));
    }
    of(node, config)
}

fn of(node: &Node, config: CrossEntropyConfig) -> Result<Loss, Diagnostics> {
    let use_sigmoid = config.use_sigmoid.unwrap_or(false);
    if config.use_mask == Some(true) {
        if use_sigmoid {
            let message = "`use_sigmoid` and `use_mask` exclude each other";
            return Err(error_at(node, "use_mask", message, "leave one out"));
        }
        if config.class_weight.is_some() {
            let message = "weights of classes and `use_mask` exclude each other";
            return Err(error_at(node, "class_weight", message, "leave one out"));
        }
        let reduce = Reduce::read(node)?;
        return Ok(Loss::Mask(MaskCrossEntropyLoss { reduce }));
    }
    Ok(Loss::Class(Box::new(CrossEntropyLoss {
        use_sigmoid,
        class_weight: config.class_weight.map(|list| list.into_vec()),
        ignore_index: config.ignore_index.unwrap_or(IGNORED),
        avg_non_ignore: config.avg_non_ignore.unwrap_or(false),
        custom: config.num_classes.map(Channels::get),
        reduce: Reduce::read(node)?,
    })))
}

impl CrossEntropyLoss {
    /// `class_weight` as a row.
    fn weights_of_classes(&self, like: &Tensor<2>) -> Option<Tensor<2>> {
        let weights = self.class_weight.as_ref()?;
        let data = TensorData::new(weights.clone(), [1, weights.len()]);
        Some(Tensor::from_data(data, &like.device()))
    }

    /// What of the rows counts; None if all does.
    fn kept(&self, labels: &Tensor<1, Int>) -> Tensor<1> {
        labels.clone().not_equal_elem(self.ignore_index).float()
    }

    /// The loss of each row by softmax, not reduced, `[R]`.
    pub fn each(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.of_each(logits, &labels) * self.reduce.loss_weight
    }

    fn of_each(&self, logits: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
        let classes = logits.dims()[1];
        let mut chosen = one_hot(labels.clone(), classes);
        if let Some(weights) = self.weights_of_classes(&logits) {
            chosen = chosen * weights;
        }
        // a label that is left out may be one of the classes
        let kept = self.kept(labels);
        let loss = -(activation::log_softmax(logits, 1) * chosen).sum_dim(1);
        loss.squeeze_dim::<1>(1) * kept
    }

    fn softmax(
        &self,
        logits: Tensor<2>,
        labels: Tensor<1, Int>,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let loss = self.of_each(logits, &labels);
        let kept = self.kept(&labels);
        let averages = avg_factor.is_none() && self.avg_non_ignore;
        let avg_factor = avg_factor.or_else(|| averages.then(|| AvgFactor::Tensor(kept.sum())));
        self.reduce.of(loss, weight, avg_factor)
    }

    fn sigmoid(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        let kept: Tensor<2> = match &target {
            ClassTarget::Labels(labels) | ClassTarget::Quality { labels, .. } => {
                let known: Tensor<1, Bool> = labels.clone().greater_equal_elem(0);
                (known.float() * self.kept(labels))
                    .unsqueeze_dim::<2>(1)
                    .expand([rows, classes])
            }
            ClassTarget::Soft(shares) => {
                let known = shares.clone().greater_equal_elem(0.0);
                let left_out = shares.clone().equal_elem(self.ignore_index as f64);
                known.bool_and(left_out.bool_not()).float()
            }
        };
        let shares = target.shares(classes);
        let loss = match self.weights_of_classes(&logits) {
            // torch's `pos_weight`: of what is to be found alone
            Some(weights) => {
                let yes = activation::log_sigmoid(logits.clone()) * shares.clone() * weights;
                let no = activation::log_sigmoid(-logits) * (-shares + 1.0);
                -(yes + no)
            }
            None => binary_cross_entropy(logits, shares),
        };
        let averages = avg_factor.is_none() && self.avg_non_ignore;
        let avg_factor =
            avg_factor.or_else(|| averages.then(|| AvgFactor::Tensor(kept.clone().sum())));
        let weight = match weight {
            Some(weight) => kept * weight.unsqueeze_dim::<2>(1),
            None => kept,
        };
        self.reduce.of(loss, Some(weight), avg_factor)
    }
}

impl ClassLoss for CrossEntropyLoss {
    /// # Panics
    /// If softmax is to learn shares.
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        if self.use_sigmoid {
            return self.sigmoid(logits, target, weight, avg_factor);
        }
        let ClassTarget::Labels(labels) = target else {
            panic!("heads of softmax learn labels");
        };
        self.softmax(logits, labels, weight, avg_factor)
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn by_row(&self) -> Option<&CrossEntropyLoss> {
        (!self.use_sigmoid).then_some(self)
    }

    fn channels(&self) -> Option<usize> {
        let background = usize::from(!self.use_sigmoid);
        Some(self.custom? + background)
    }

    fn scores(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        let classes = self.custom?;
        let of_classes = logits.clone().narrow(1, 0, classes);
        if !self.use_sigmoid {
            let of_background = logits.clone().narrow(1, logits.dims()[1] - 1, 1);
            let all = Tensor::cat(vec![of_classes, of_background], 1);
            return Some(activation::softmax(all, 1));
        }
        let shares = activation::sigmoid(of_classes);
        let rest = (-shares.clone().sum_dim(1) + 1.0).clamp(0.0, 1.0);
        Some(Tensor::cat(vec![shares, rest], 1))
    }

    fn accuracy(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Losses {
        super::class_accuracy(self.custom, logits, labels)
    }
}
