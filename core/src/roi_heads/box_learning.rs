//! What box heads learn, as MMDetection 3.3.0's `BBoxHead` does: each region's class, and where it has an object how to move it there.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::box_head::{BoxHead, BoxOutputs, labels_on};
use super::sampling::{Sampled, Sampling};
use super::{Given, present};
use crate::box_coders::DeltaRows;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::losses::{
    self, AvgFactor, BoxLoss, ClassTarget, Losses, Reduce, SmoothL1Loss, class_accuracy,
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
    weights: Vec<f32>,
    /// Rows with an object: which, its own box, the object's.
    positives: Vec<(usize, Xyxy, Xyxy)>,
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
            learned.weights.resize(rows, 1.0);
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
        let factor = Some(AvgFactor::Number(rows as f64));
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
    let each = if head.agnostic { 1 } else { head.classes };
    let row = |(row, ..): &(usize, Xyxy, Xyxy)| match head.agnostic {
        true => *row as i32,
        false => (row * each + learned.labels[*row]) as i32,
    };
    let rows: Vec<i32> = learned.positives.iter().map(row).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [found]), device);
    let boxes =
        |numbers: Vec<f32>| Tensor::<2>::from_data(TensorData::new(numbers, [found, 4]), device);
    let [count, numbers] = deltas.dims();
    let deltas = deltas.clone().reshape([count * numbers / 4, 4]);
    let deltas = deltas.select(0, rows);
    let (pred, target) = match reg_decoded_bbox {
        true => {
            let own = learned.positives.iter().flat_map(|(_, own, _)| *own);
            let target = learned.positives.iter().flat_map(|(_, _, object)| *object);
            let pred = head.coder.decode_rows(boxes(own.collect()), deltas);
            (pred, boxes(target.collect()))
        }
        false => {
            let encode = |(_, own, object): &(usize, Xyxy, Xyxy)| head.coder.encode(*own, *object);
            let target = learned.positives.iter().flat_map(encode);
            (deltas, boxes(target.collect()))
        }
    };
    let factor = AvgFactor::Number(learned.labels.len() as f64);
    let other = learned.beta.and_then(|beta| loss_bbox.with_beta(beta));
    let loss_bbox = other.as_ref().unwrap_or(loss_bbox);
    loss_bbox.forward(pred, target, None, Some(factor))
}

/// What each row loses by its class, `[R]`: by it the hardest are chosen.
pub(super) fn hardness(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    let logits = logits.without_autodiff();
    let labels = labels_on(labels, &logits.device());
    let [rows, channels] = logits.dims();
    let firsts = Tensor::<1, Int>::arange(0..rows as i64, &logits.device());
    let log = activation::log_softmax(logits, 1).reshape([rows * channels]);
    log.select(0, firsts * channels as i64 + labels).neg()
}
