//! [`YoloxLosses`]: what YOLOX's head learns (Ge et al. 2021, arXiv 2107.08430, section 2.1) as MMDetection 3.3.0 does it: the assigner asks
//! what is predicted, so all of it happens on the device, and a place that finds no object weighs nothing.
//!
//! Shapes: P places over all levels, K classes, `[N * P]` rows.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::anchor_losses::size_of;
use super::yolox::decode;
use super::{Given, Outputs};
use crate::assigners::{self, AssignedOnDevice, Predicted, PredictionAssigner};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::losses::{
    self, AvgFactor, BoxLoss, ClassLoss, ClassTarget, CrossEntropyLoss, IouLoss, IouMode, L1Loss,
    Losses, Reduce, Reduction, rows_of,
};
use crate::priors::PointGenerator;
use crate::targets::{Padded, Targets};

/// How YOLOX's head learns.
#[derive(Debug)]
pub(super) struct YoloxLosses {
    loss_cls: Box<dyn ClassLoss>,
    loss_bbox: Box<dyn BoxLoss>,
    loss_obj: Box<dyn ClassLoss>,
    loss_l1: Box<dyn BoxLoss>,
    use_l1: AtomicBool,
    assigner: Box<dyn PredictionAssigner>,
}

impl YoloxLosses {
    /// Reads what the head `node` says of it.
    pub fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let sum = |loss_weight| Reduce {
            reduction: Reduction::Sum,
            loss_weight,
        };
        let entropy = || CrossEntropyLoss::of_sigmoids(sum(1.0));
        let loss_bbox = IouLoss {
            mode: IouMode::Square,
            eps: 1e-16,
            reduce: sum(5.0),
        };
        let loss_l1 = L1Loss { reduce: sum(1.0) };
        let train_cfg = given.train_cfg(node)?;
        Ok(Self {
            loss_cls: losses::class_loss(node, "loss_cls", build, entropy())?,
            loss_bbox: losses::box_loss(node, "loss_bbox", build, loss_bbox)?,
            loss_obj: losses::class_loss(node, "loss_obj", build, entropy())?,
            loss_l1: losses::box_loss(node, "loss_l1", build, loss_l1)?,
            use_l1: AtomicBool::new(false),
            assigner: assigners::by_predictions(train_cfg, build)?,
        })
    }

    /// Whether there is a loss of that name that can be switched.
    pub fn switch(&self, name: &str, on: bool) -> bool {
        let known = name == "use_l1";
        if known {
            self.use_l1.store(on, Relaxed);
        }
        known
    }

    /// The losses of `outputs`: class logits, boxes, objectness logits.
    pub fn of(&self, points: &PointGenerator, outputs: &Outputs, targets: &Targets) -> Losses {
        let levels: Vec<[&Tensor<4>; 3]> = outputs.levels().collect();
        let batch = levels[0][0].dims()[0];
        let join = |group: &dyn Fn(usize) -> Tensor<4>| -> Tensor<3> {
            let level = |i| {
                let map = group(i);
                let [n, channels, h, w] = map.dims();
                rows_of(&map, channels).reshape([n, h * w, channels])
            };
            Tensor::cat((0..levels.len()).map(level).collect(), 1)
        };
        let logits = join(&|i| levels[i][0].clone());
        let numbers = join(&|i| levels[i][1].clone());
        let objectness = join(&|i| levels[i][2].clone());
        let boxes = join(&|i| decode(points, i, levels[i][1]));
        let priors = priors(points, &levels);

        let objects = targets.padded(&logits.device().without_autodiff());
        let assigned = {
            let [logits, boxes, objectness] =
                [&logits, &boxes, &objectness].map(|t| t.clone().without_autodiff());
            let scores = activation::sigmoid(logits) * activation::sigmoid(objectness);
            // places are assigned by their middles, and boxes start at their corners
            let corner = priors.clone().narrow(1, 0, 2);
            let stride = priors.clone().narrow(1, 2, 2);
            let middles = Tensor::cat(vec![corner + stride.clone() * 0.5, stride], 1);
            let predicted = Predicted {
                priors: middles,
                boxes,
                scores: scores.sqrt(),
                anchors: None,
            };
            self.assigner.assign(&predicted, &objects)
        };
        self.compare(
            [logits, numbers, objectness, boxes],
            &priors,
            assigned,
            &objects,
            batch,
        )
    }

    fn compare(
        &self,
        [logits, numbers, objectness, boxes]: [Tensor<3>; 4],
        priors: &Tensor<2>,
        assigned: AssignedOnDevice,
        objects: &Padded,
        batch: usize,
    ) -> Losses {
        let [_, places, classes] = logits.dims();
        let rows = batch * places;
        let found = assigned.object.clone().greater_elem(0).float();
        let weight = found.reshape([rows]);
        let count = weight.clone().sum().clamp_min(1.0);
        // the object of each place; any, where it finds none
        let object = (assigned.object - 1).clamp_min(0);
        let labels = objects.labels.clone().gather(1, object.clone());
        let index: Tensor<3, Int> = object.unsqueeze_dim(2);
        let index = index.expand([batch, places, 4]);
        let wanted = objects.boxes.clone().gather(1, index).reshape([rows, 4]);
        let quality =
            losses::one_hot(labels.reshape([rows]), classes) * assigned.overlap.reshape([rows, 1]);

        let weights: Tensor<2> = weight.clone().unsqueeze_dim(1);
        let weights = weights.expand([rows, 4]);
        let nowhere = weights.clone().equal_elem(0.0);
        // A box that finds nothing may be of any size: its loss would be no number, and that times 0 neither.
        let of_found = |pred: Tensor<3>, wanted: &Tensor<2>| {
            let pred = pred.reshape([rows, 4]);
            pred.mask_where(nowhere.clone(), wanted.clone())
        };
        // A mean is over what is found, where the original has no other rows.
        let over = |reduction: Reduction, each: usize| {
            let mean = reduction != Reduction::Sum;
            mean.then(|| AvgFactor::Tensor(count.clone() * each as f64))
        };
        let mut losses = Losses::default();
        let of_classes = self.loss_cls.forward(
            logits.reshape([rows, classes]),
            ClassTarget::Soft(quality),
            Some(weight.clone()),
            over(self.loss_cls.reduction(), classes),
        );
        losses.add("loss_cls", of_classes / count.clone());
        let of_boxes = self.loss_bbox.forward(
            of_found(boxes, &wanted),
            wanted.clone(),
            Some(weights.clone()),
            over(self.loss_bbox.reduction(), 1),
        );
        losses.add("loss_bbox", of_boxes / count.clone());
        let found = ClassTarget::Soft(weight.unsqueeze_dim(1));
        let of_objects = self
            .loss_obj
            .forward(objectness.reshape([rows, 1]), found, None, None);
        losses.add("loss_obj", of_objects / count.clone());
        if self.use_l1.load(Relaxed) {
            let wanted = l1_targets(&wanted, priors, batch);
            let of_numbers = self.loss_l1.forward(
                of_found(numbers, &wanted),
                wanted.clone(),
                Some(weights),
                over(self.loss_l1.reduction(), 4),
            );
            losses.add("loss_l1", of_numbers / count);
        }
        losses
    }
}

/// Corner x, y and stride across, down of each place, `[P, 4]` px.
fn priors(points: &PointGenerator, levels: &[[&Tensor<4>; 3]]) -> Tensor<2> {
    let mut numbers = Vec::new();
    for (i, [logits, ..]) in levels.iter().enumerate() {
        let [across, down] = points.strides()[i].map(|s| s as f32);
        for [x, y] in points.points(i, size_of(logits)) {
            numbers.extend([x, y, across, down]);
        }
    }
    let places = numbers.len() / 4;
    let device = levels[0][0].device().without_autodiff();
    Tensor::from_data(TensorData::new(numbers, [places, 4]), &device)
}

/// What the head's numbers should be for boxes, `[N * P, 4]`: the shift of the middle in strides, the logarithm of the size in strides.
fn l1_targets(boxes: &Tensor<2>, priors: &Tensor<2>, batch: usize) -> Tensor<2> {
    let low = boxes.clone().narrow(1, 0, 2);
    let high = boxes.clone().narrow(1, 2, 2);
    let priors = priors.clone().repeat_dim(0, batch);
    let (corner, stride) = (priors.clone().narrow(1, 0, 2), priors.narrow(1, 2, 2));
    let middle = (low.clone() + high.clone()) / 2.0;
    let shift = (middle - corner) / stride.clone();
    let size = ((high - low) / stride + 1e-8).log();
    Tensor::cat(vec![shift, size], 1)
}
