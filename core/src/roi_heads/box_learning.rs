//! What box heads learn, as MMDetection 3.3.0's `BBoxHead` does: each region's class, and where it has an object how to move it there.

use burn::tensor::{Device, Tensor, TensorData};

use super::box_head::{BoxHead, BoxOutputs, labels_on};
use super::sampling::{Sampled, Sampling};
use super::{Given, present};
use crate::box_coders::DeltaRows;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::losses::{
    self, AvgFactor, BoxLoss, ClassTarget, Losses, Reduce, Reduction, SmoothL1Loss, class_accuracy,
};
use crate::structures::Xyxy;
use crate::targets::Targets;

/// How a box head learns.
#[derive(Debug)]
pub(super) struct BoxLearning {
    loss_bbox: Box<dyn BoxLoss>,
    /// Boxes are compared, not deltas.
    reg_decoded_bbox: bool,
    /// What a region with an object counts, if it is above 0.
    pos_weight: f32,
    /// How proposals are chosen.
    pub sampling: Sampling,
}

impl BoxLearning {
    /// Whether the loss of boxes has a parabola whose end can be moved.
    pub fn asks_beta(&self) -> bool {
        self.loss_bbox.with_beta(1.0).is_some()
    }

    /// Whether the loss of boxes has a loss for each number.
    pub fn counts_numbers(&self) -> bool {
        self.loss_bbox.of_numbers()
    }

    /// The sum of the losses of numbers, each times its weight, all `[P, 4]`.
    pub fn sum_of_numbers(
        &self,
        pred: Tensor<2>,
        target: Tensor<2>,
        weights: Tensor<2>,
    ) -> Tensor<1> {
        let numbers = pred.shape().num_elements();
        let by = |factor| self.loss_bbox.forward(pred, target, Some(weights), factor);
        match self.loss_bbox.reduction() {
            Reduction::Mean => by(Some(AvgFactor::Number(1.0))),
            Reduction::Sum => by(None),
            Reduction::None => by(None) * numbers as f64,
        }
    }

    /// Reads `loss_bbox`, `reg_decoded_bbox` of the head `node`, and its `train_cfg`.
    pub fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let reduce = Reduce::default();
        let loss_bbox = SmoothL1Loss { beta: 1.0, reduce };
        let Some(train_cfg) = given.train_cfg else {
            let message =
                "this detector has no `train_cfg` for its second stage, so it cannot be trained";
            let help = "for example train_cfg=dict(rcnn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5), sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25), pos_weight=-1))";
            return Err(crate::config::unsupported(node, "train_cfg", message, help));
        };
        let Some(pos_weight) = present(train_cfg, "pos_weight").and_then(Node::as_float) else {
            let message = "`train_cfg` has no number `pos_weight`";
            let help = "for example pos_weight=-1";
            return Err(error_at(train_cfg, "pos_weight", message, help));
        };
        Ok(Self {
            loss_bbox: losses::box_loss(node, "loss_bbox", build, loss_bbox)?,
            reg_decoded_bbox: present(node, "reg_decoded_bbox").and_then(Node::as_bool)
                == Some(true),
            pos_weight: pos_weight as f32,
            sampling: Sampling::read(train_cfg, build)?,
        })
    }
}

/// What the regions of a batch are to say, picture after picture.
pub(super) struct Learned {
    /// The class of each; background is the number of classes.
    pub labels: Vec<usize>,
    /// What each counts.
    pub weights: Vec<f32>,
    /// Rows with an object: which, its own box, the object's.
    pub positives: Vec<(usize, Xyxy, Xyxy)>,
    /// Of the loss of boxes, if that is not the config's.
    pub beta: Option<f64>,
}

impl Learned {
    pub fn of(sampled: &[Sampled], targets: &Targets, head: &BoxHead) -> Self {
        let weight = match head.learning().pos_weight {
            weight if weight > 0.0 => weight,
            _ => 1.0,
        };
        let mut learned = Learned {
            labels: Vec::new(),
            weights: Vec::new(),
            positives: Vec::new(),
            beta: None,
        };
        let ranked = sampled.first().is_some_and(|first| first.weights.is_some());
        for (sampled, objects) in sampled.iter().zip(&targets.pictures) {
            for (bbox, object) in sampled.boxes.iter().zip(&sampled.objects) {
                let row = learned.labels.len();
                let positive = (row, *bbox, objects.boxes[*object]);
                learned.positives.push(positive);
                learned.labels.push(objects.labels[*object]);
                learned.weights.push(weight);
            }
            let rows = learned.labels.len() - sampled.objects.len() + sampled.boxes.len();
            learned.labels.resize(rows, head.classes);
            // As in the original none count if there is no background in the first picture.
            match sampled.weights.as_ref().filter(|_| ranked) {
                Some(weights) => learned.weights.extend(weights),
                None => learned.weights.resize(rows, 1.0),
            }
        }
        learned
    }

    /// How far each row with an object has to move: the mean of the first two numbers of what it learns.
    pub fn moves(&self, head: &BoxHead) -> Vec<f64> {
        let decoded = head.learning().reg_decoded_bbox;
        let learned = |own: &Xyxy, object: &Xyxy| match decoded {
            true => *object,
            false => head.coder.encode(*own, *object),
        };
        let positives = self.positives.iter();
        let moves = positives.map(|(_, own, object)| {
            let [x, y, ..] = learned(own, object);
            f64::from((x.abs() + y.abs()) / 2.0)
        });
        moves.collect()
    }
}

/// The losses of what `head` gave for regions.
pub(super) fn losses(head: &BoxHead, outputs: &BoxOutputs, learned: &Learned) -> Losses {
    let mut losses = Losses::default();
    let logits = &outputs.logits;
    let device = logits.device().without_autodiff();
    let rows = learned.labels.len();
    let labels = labels_on(&learned.labels, &device);
    if rows > 0 {
        let weights = Tensor::from_data(TensorData::new(learned.weights.clone(), [rows]), &device);
        let counted = learned
            .weights
            .iter()
            .filter(|weight| **weight > 0.0)
            .count();
        let factor = Some(AvgFactor::Number(counted.max(1) as f64));
        let target = ClassTarget::Labels(labels.clone());
        let loss_cls = head.loss_cls();
        let of_classes = loss_cls.named("loss_cls", logits.clone(), target, Some(weights), factor);
        losses.append("", of_classes);
        losses.append("", loss_cls.accuracy(logits.clone(), labels));
    } else {
        losses.add("loss_cls", logits.clone().sum());
        losses.append("", class_accuracy(None, logits.clone(), labels));
    }
    if let Some(deltas) = &outputs.deltas {
        losses.add("loss_bbox", of_boxes(head, deltas, learned, &device));
    }
    losses
}

fn of_boxes(head: &BoxHead, deltas: &Tensor<2>, learned: &Learned, device: &Device) -> Tensor<1> {
    let found = learned.positives.len();
    if found == 0 {
        return deltas.clone().sum() * 0.0;
    }
    let BoxLearning {
        loss_bbox,
        reg_decoded_bbox,
        ..
    } = head.learning();
    let target = targets_of_positives(head, learned, device);
    let deltas = deltas_of_positives(head, deltas, learned);
    let pred = match reg_decoded_bbox {
        true => head
            .coder
            .decode_rows(own_of_positives(learned, device), deltas),
        false => deltas,
    };
    let factor = AvgFactor::Number(learned.labels.len() as f64);
    let other = learned.beta.and_then(|beta| loss_bbox.with_beta(beta));
    let loss_bbox = other.as_ref().unwrap_or(loss_bbox);
    loss_bbox.forward(pred, target, None, Some(factor))
}

/// The deltas of the rows with an object, of its class, `[P, 4]`.
pub(super) fn deltas_of_positives(
    head: &BoxHead,
    deltas: &Tensor<2>,
    learned: &Learned,
) -> Tensor<2> {
    let row = |(row, ..): &(usize, Xyxy, Xyxy)| match head.agnostic {
        true => *row,
        false => row * head.classes + learned.labels[*row],
    };
    let rows: Vec<usize> = learned.positives.iter().map(row).collect();
    let device = deltas.device().without_autodiff();
    let [count, numbers] = deltas.dims();
    let deltas = deltas.clone().reshape([count * numbers / 4, 4]);
    deltas.select(0, labels_on(&rows, &device))
}

/// What the rows with an object learn, `[P, 4]`: deltas, or with `reg_decoded_bbox` the object's box.
pub(super) fn targets_of_positives(
    head: &BoxHead,
    learned: &Learned,
    device: &Device,
) -> Tensor<2> {
    let decoded = head.learning().reg_decoded_bbox;
    let target = |(_, own, object): &(usize, Xyxy, Xyxy)| match decoded {
        true => *object,
        false => head.coder.encode(*own, *object),
    };
    boxes_on(learned.positives.iter().flat_map(target), device)
}

/// The rows with an object themselves, `[P, 4]`.
pub(super) fn own_of_positives(learned: &Learned, device: &Device) -> Tensor<2> {
    boxes_on(
        learned.positives.iter().flat_map(|(_, own, _)| *own),
        device,
    )
}

fn boxes_on(numbers: impl Iterator<Item = f32>, device: &Device) -> Tensor<2> {
    let numbers: Vec<f32> = numbers.collect();
    let count = numbers.len() / 4;
    Tensor::from_data(TensorData::new(numbers, [count, 4]), device)
}
