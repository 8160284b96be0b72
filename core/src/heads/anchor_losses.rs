//! [`AnchorLosses`]: what heads of anchors learn, as MMDetection 3.3.0's `AnchorHead` does: anchors to objects, objects to labels and deltas,
//! those to two losses a level.
//!
//! Which anchor is to find what is worked out on the host ([`crate::assigners`]); only classes, weights, and the deltas of the anchors that
//! find an object go to the device.
//!
//! Shapes: P anchors of a level in a picture, row after row, in each cell one after another; `[N * P]` rows.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::anchored::Anchored;
use super::{Given, Outputs, present};
use crate::assigners::{self, Assigner};
use crate::batch::Pictures;
use crate::box_coders::DeltaRows;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::data::Meta;
use crate::layers::Dice;
use crate::losses::{
    self, AvgFactor, BoxLoss, ClassLoss, CrossEntropyLoss, Losses, Reduce, SmoothL1Loss, rows_of,
};
use crate::samplers::{self, Sampler};
use crate::structures::Xyxy;
use crate::targets::{Objects, Targets};

/// How a head of anchors learns.
#[derive(Debug)]
pub(super) struct AnchorLosses {
    loss_cls: Box<dyn ClassLoss>,
    loss_bbox: Box<dyn BoxLoss>,
    assigner: Box<dyn Assigner>,
    sampler: Box<dyn Sampler>,
    /// How far out of the picture an anchor may reach, px; below 0 any.
    allowed_border: f32,
    /// What an anchor with an object counts, if it is above 0.
    pos_weight: f32,
    /// Boxes are compared, not deltas.
    reg_decoded_bbox: bool,
    dice: Dice,
}

impl AnchorLosses {
    /// Reads `loss_cls`, `loss_bbox`, `reg_decoded_bbox` of the head `node`, and its `train_cfg`.
    pub fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let reduce = Reduce::default();
        let loss_cls = CrossEntropyLoss::of_sigmoids(reduce);
        let beta = 1.0 / 9.0;
        let loss_bbox = SmoothL1Loss { beta, reduce };
        let train_cfg = given.train_cfg(node)?;
        let number = |key: &str| -> Result<f32, Diagnostics> {
            let found = present(train_cfg, key).and_then(Node::as_float);
            let number = found.ok_or_else(|| {
                let message = format!("`train_cfg` has no number `{key}`");
                error_at(train_cfg, key, message, &format!("for example {key}=-1"))
            })?;
            Ok(number as f32)
        };
        Ok(Self {
            loss_cls: losses::class_loss(node, "loss_cls", build, loss_cls)?,
            loss_bbox: losses::box_loss(node, "loss_bbox", build, loss_bbox)?,
            assigner: assigners::by_boxes(train_cfg, build)?,
            sampler: samplers::read(train_cfg, build)?,
            allowed_border: number("allowed_border")?,
            pos_weight: number("pos_weight")?,
            reg_decoded_bbox: present(node, "reg_decoded_bbox").and_then(Node::as_bool)
                == Some(true),
            dice: build.params.at("sampler").dice(),
        })
    }

    /// The losses of `outputs`, class logits and deltas. `names` are those of the two losses, `classes` is also the background's label.
    pub fn of(
        &self,
        anchored: &Anchored,
        outputs: &Outputs,
        pictures: &Pictures,
        targets: &Targets,
        names: [&str; 2],
        classes: usize,
    ) -> Losses {
        let levels: Vec<[&Tensor<4>; 2]> = outputs.levels().collect();
        let maps = levels.iter().map(|[logits, _]| size_of(logits));
        let anchors = anchored.grid(&maps.collect::<Vec<_>>());
        let learned = pictures.metas.iter().zip(&targets.pictures);
        let learned: Vec<Learned> = learned
            .map(|(meta, objects)| self.learn(anchored, &anchors, meta, objects, classes))
            .collect();
        let avg_factor = learned.iter().map(|l| l.avg_factor).sum::<usize>() as f64;

        let mut sums: [Option<Tensor<1>>; 2] = [None, None];
        for (level, [logits, deltas]) in levels.into_iter().enumerate() {
            let rows = Rows::new(&learned, anchors.level(level), &logits.device());
            let by = |factor| Some(AvgFactor::Number(factor));
            let of_classes = self.loss_cls.of_maps(
                &[logits],
                logits.dims()[1] / anchored.per_cell(),
                rows.labels,
                Some(rows.weights),
                by(avg_factor),
            );
            let of_boxes = match rows.positives {
                None => nothing(deltas),
                Some((index, targets, anchors)) => {
                    let deltas = rows_of(deltas, 4).select(0, index);
                    let pred = if self.reg_decoded_bbox {
                        anchored.coder().decode_rows(anchors, deltas)
                    } else {
                        deltas
                    };
                    self.loss_bbox.forward(pred, targets, None, by(avg_factor))
                }
            };
            for (sum, loss) in sums.iter_mut().zip([of_classes, of_boxes]) {
                *sum = Some(match sum.take() {
                    Some(sum) => sum + loss,
                    None => loss,
                });
            }
        }
        let mut losses = Losses::default();
        for (name, sum) in names.into_iter().zip(sums) {
            losses.add(name, sum.expect("a head has at least one level"));
        }
        losses
    }

    /// What one picture's anchors are to say.
    fn learn(
        &self,
        anchored: &Anchored,
        grid: &Grid,
        meta: &Meta,
        objects: &Objects,
        classes: usize,
    ) -> Learned {
        let used = grid.used(meta, self.allowed_border);
        let boxes: Vec<Xyxy> = used.iter().map(|i| grid.boxes[*i]).collect();
        let count =
            |range: &std::ops::Range<usize>| used.iter().filter(|i| range.contains(i)).count();
        let levels: Vec<usize> = grid.levels.iter().map(count).collect();
        let priors = assigners::Priors::new(&boxes, &levels, &grid.strides);
        let assigned = self.assigner.assign(&priors, objects);
        let sampled = self.sampler.sample(&assigned, &self.dice);

        let mut learned = Learned {
            labels: vec![classes as i32; grid.boxes.len()],
            weights: vec![0.0; grid.boxes.len()],
            positives: Vec::with_capacity(sampled.positives.len()),
            avg_factor: sampled.avg_factor,
        };
        for i in sampled.positives {
            let (anchor, object) = (used[i], assigned.object[i] as usize - 1);
            let gt = objects.boxes[object];
            learned.labels[anchor] = objects.labels[object] as i32;
            learned.weights[anchor] = if self.pos_weight > 0.0 {
                self.pos_weight
            } else {
                1.0
            };
            let target = if self.reg_decoded_bbox {
                gt
            } else {
                anchored.coder().encode(boxes[i], gt)
            };
            learned.positives.push((anchor, target, boxes[i]));
        }
        for i in sampled.negatives {
            learned.weights[used[i]] = 1.0;
        }
        learned
    }
}

/// What one picture's anchors are to say, all levels after each other.
struct Learned {
    labels: Vec<i32>,
    weights: Vec<f32>,
    /// Anchors that find an object, ascending: which, its four numbers, its box.
    positives: Vec<(usize, [f32; 4], Xyxy)>,
    avg_factor: usize,
}

/// All anchors of a picture.
pub(super) struct Grid {
    /// xyxy px, level after level.
    pub boxes: Vec<Xyxy>,
    /// Where each level's are.
    pub levels: Vec<std::ops::Range<usize>>,
    /// Height and width of each level's map.
    pub maps: Vec<[usize; 2]>,
    /// Pixels between cells, across and down.
    pub strides: Vec<[f32; 2]>,
    /// Anchors in a cell.
    pub per_cell: usize,
}

impl Grid {
    fn level(&self, level: usize) -> std::ops::Range<usize> {
        self.levels[level].clone()
    }

    /// The anchors whose cell has something of the picture, and that reach no further out of it than `border`, px; below 0 any.
    fn used(&self, meta: &Meta, border: f32) -> Vec<usize> {
        let [height, width] = meta.img_shape.map(|v| v as f32);
        let inside = |[x1, y1, x2, y2]: Xyxy| {
            x1 >= -border && y1 >= -border && x2 < width + border && y2 < height + border
        };
        let mut used = Vec::new();
        for (level, range) in self.levels.iter().enumerate() {
            let [across, down] = self.strides[level].map(|s| s as usize);
            let columns = meta.pad_shape[1].div_ceil(across);
            let rows = meta.pad_shape[0].div_ceil(down);
            let of_map = self.maps[level][1].max(1);
            let seen = |i: &usize| {
                let cell = (i - range.start) / self.per_cell;
                cell % of_map < columns && cell / of_map < rows
            };
            let kept = range.clone().filter(seen);
            used.extend(kept.filter(|i| border < 0.0 || inside(self.boxes[*i])));
        }
        used
    }
}

/// What the rows of one level are to say.
struct Rows {
    labels: Tensor<1, Int>,
    weights: Tensor<1>,
    /// Rows that find an object, their four numbers, their anchors.
    positives: Option<(Tensor<1, Int>, Tensor<2>, Tensor<2>)>,
}

impl Rows {
    fn new(learned: &[Learned], level: std::ops::Range<usize>, device: &Device) -> Self {
        let (mut labels, mut weights) = (Vec::new(), Vec::new());
        let (mut index, mut numbers, mut anchors) = (Vec::new(), Vec::new(), Vec::new());
        for picture in learned {
            let first = labels.len();
            labels.extend_from_slice(&picture.labels[level.clone()]);
            weights.extend_from_slice(&picture.weights[level.clone()]);
            for (anchor, target, bbox) in &picture.positives {
                if level.contains(anchor) {
                    index.push((first + anchor - level.start) as i32);
                    numbers.extend(target);
                    anchors.extend(bbox);
                }
            }
        }
        let (rows, found) = (labels.len(), index.len());
        let of_boxes = |v: Vec<f32>| Tensor::from_data(TensorData::new(v, [found, 4]), device);
        Self {
            labels: Tensor::from_data(TensorData::new(labels, [rows]), device),
            weights: Tensor::from_data(TensorData::new(weights, [rows]), device),
            positives: (found > 0).then(|| {
                let index = Tensor::from_data(TensorData::new(index, [found]), device);
                (index, of_boxes(numbers), of_boxes(anchors))
            }),
        }
    }
}

/// Height and width.
pub(super) fn size_of(map: &Tensor<4>) -> [usize; 2] {
    let [_, _, height, width] = map.dims();
    [height, width]
}

/// 0, with a gradient of zeros: an optimizer treats a tensor that was used in vain otherwise than one that was not used.
pub(super) fn nothing(map: &Tensor<4>) -> Tensor<1> {
    map.clone().sum() * 0.0
}
