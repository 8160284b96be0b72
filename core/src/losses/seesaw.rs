//! `SeesawLoss` (Wang et al. 2021, arXiv 2008.10032, section 3) as MMDetection 3.3.0 computes it: softmax over classes, where a rare class is
//! pushed down less by samples of frequent ones, and pushed down more where it is mistaken for the right one; and apart from that, whether
//! there is an object at all.
//!
//! Logits: `[R, K + 2]`, the classes, then object and background. `cum_samples` in the state dict counts the samples of each class so far.

use burn::tensor::{Int, Tensor, activation};
use serde::Deserialize;

use super::{
    Accuracy, AvgFactor, ClassLoss, ClassTarget, CrossEntropyLoss, Loss, Losses, Reduce, Reduction,
    accuracy, one_hot, zero,
};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{Init, Weight};
use crate::limits::Channels;

/// The keys of `type='SeesawLoss'`.
#[derive(Debug, Deserialize)]
struct SeesawConfig {
    use_sigmoid: Option<bool>,
    p: Option<f64>,
    q: Option<f64>,
    num_classes: Option<Channels>,
    eps: Option<f64>,
    return_dict: Option<bool>,
}

/// The seesaw loss.
#[derive(Clone, Debug)]
pub struct SeesawLoss {
    /// The power of how much rarer a class is.
    p: f64,
    /// The power of how much more probable a wrong class is.
    q: f64,
    /// The least probability that is divided by.
    eps: f64,
    /// K.
    classes: usize,
    /// Whether its two losses are reported apart.
    return_dict: bool,
    /// `[K + 1]`: samples so far, the background's last.
    samples: Weight<1>,
    reduce: Reduce,
}

/// Of LVIS v1.
const CLASSES: usize = 1203;

pub(super) fn build(node: &Node, build: &Build) -> Result<Loss, Diagnostics> {
    let config: SeesawConfig = node.read_knowing(Reduce::KEYS)?;
    if config.use_sigmoid == Some(true) {
        let message = "`SeesawLoss` is of softmax only";
        return Err(error_at(
            node,
            "use_sigmoid",
            message,
            "write use_sigmoid=False",
        ));
    }
    let classes = config.num_classes.map_or(CLASSES, Channels::get);
    let none = Init::Constant(0.0);
    Ok(Loss::Class(Box::new(SeesawLoss {
        p: config.p.unwrap_or(0.8),
        q: config.q.unwrap_or(2.0),
        eps: config.eps.unwrap_or(1e-2),
        classes,
        return_dict: config.return_dict.unwrap_or(true),
        samples: build.params.buffer("cum_samples", [classes + 1], none),
        reduce: Reduce::read(node)?,
    })))
}

impl SeesawLoss {
    /// Classes, and object or background.
    fn split(&self, logits: Tensor<2>) -> [Tensor<2>; 2] {
        [
            logits.clone().narrow(1, 0, self.classes),
            logits.narrow(1, self.classes, 2),
        ]
    }

    /// The losses of objects and of classes.
    ///
    /// # Panics
    /// If there are other targets than labels.
    fn both(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> [Tensor<1>; 2] {
        let ClassTarget::Labels(labels) = target else {
            panic!("heads of softmax learn labels");
        };
        let seen = one_hot(labels.clone(), self.classes + 1).sum_dim(0);
        let samples = self.samples.get().without_autodiff() + seen.squeeze_dim::<1>(0);
        self.samples.set(samples.clone());

        let [classes, objects] = self.split(logits);
        let found = labels.clone().lower_elem(self.classes as i64).float();
        let background = labels.clone().equal_elem(self.classes as i64).int();
        let entropy = CrossEntropyLoss::of_softmax(self.reduce);
        let of_objects = entropy.forward(
            objects,
            ClassTarget::Labels(background),
            weight.clone(),
            avg_factor.clone(),
        );
        // Rows of the background count 0, where the original leaves them out.
        let labels = labels.clamp_max(self.classes as i64 - 1);
        let logits = classes.clone() + self.push(classes, labels.clone(), samples);
        let chosen = one_hot(labels, self.classes);
        let loss = -(activation::log_softmax(logits, 1) * chosen).sum_dim(1);
        let count = || AvgFactor::Tensor(found.clone().sum().clamp_min(1.0));
        let over = avg_factor.or_else(|| (self.reduce.reduction != Reduction::Sum).then(count));
        let weight = weight.map_or(found.clone(), |w| w * found);
        let of_classes = self.reduce.of(loss.squeeze_dim::<1>(1), Some(weight), over);
        [of_objects, of_classes]
    }

    /// What is added to the logits of other classes than a row's own, `[R, K]`; no gradient is taken of it.
    fn push(&self, logits: Tensor<2>, labels: Tensor<1, Int>, samples: Tensor<1>) -> Tensor<2> {
        let logits = logits.without_autodiff();
        let [rows, classes] = logits.dims();
        let labels: Tensor<2, Int> = labels.unsqueeze_dim(1);
        let mut push = logits.zeros_like();
        if self.p > 0.0 {
            let samples = samples.narrow(0, 0, classes).clamp_min(1.0);
            let samples = samples.unsqueeze::<2>().expand([rows, classes]);
            let own = samples.clone().gather(1, labels.clone());
            let rarer = (samples / own).clamp_max(1.0);
            push = push + rarer.log() * self.p;
        }
        if self.q > 0.0 {
            let scores = activation::softmax(logits, 1);
            let own = scores.clone().gather(1, labels.clone());
            let mistaken = (scores / own.clamp_min(self.eps)).clamp_min(1.0);
            push = push + mistaken.log() * self.q;
        }
        let own = one_hot(labels.squeeze_dim::<1>(1), classes);
        push * (-own + 1.0)
    }
}

impl ClassLoss for SeesawLoss {
    fn of_rows(
        &self,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let [of_objects, of_classes] = self.both(logits, target, weight, avg_factor);
        of_classes + of_objects
    }

    fn named(
        &self,
        name: &str,
        logits: Tensor<2>,
        target: ClassTarget,
        weight: Option<Tensor<1>>,
        avg_factor: Option<AvgFactor>,
    ) -> Losses {
        let mut losses = Losses::default();
        if logits.dims()[0] == 0 {
            losses.add(name, zero(&logits.device()));
            return losses;
        }
        let [of_objects, of_classes] = self.both(logits, target, weight, avg_factor);
        if self.return_dict {
            losses.add("loss_cls_objectness", of_objects);
            losses.add("loss_cls_classes", of_classes);
        } else {
            losses.add(name, of_classes + of_objects);
        }
        losses
    }

    fn reduction(&self) -> Reduction {
        self.reduce.reduction
    }

    fn channels(&self) -> Option<usize> {
        Some(self.classes + 2)
    }

    fn scores(&self, logits: Tensor<2>) -> Option<Tensor<2>> {
        let [classes, objects] = self.split(logits);
        let objects = activation::softmax(objects, 1);
        let [object, background] = [0, 1].map(|i| objects.clone().narrow(1, i, 1));
        let classes = activation::softmax(classes, 1) * object;
        Some(Tensor::cat(vec![classes, background], 1))
    }

    fn accuracy(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Losses {
        let [classes, objects] = self.split(logits);
        let background = labels.clone().equal_elem(self.classes as i64).int();
        let mut found = Losses::default();
        found.add(
            "acc_objectness",
            accuracy(objects, background, Accuracy::default()),
        );
        let of_objects = Accuracy {
            labels_below: Some(self.classes),
            ..Accuracy::default()
        };
        found.add("acc_classes", accuracy(classes, labels, of_objects));
        found
    }
}
