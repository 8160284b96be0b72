//! What Detectron2's heads learn from: [`Matcher`] finds the object of each box, a sampler chooses among them, and losses are sums over what was
//! chosen, divided by what Detectron2 divides by.
//!
//! Shapes: P anchors of a level in a picture, row after row, in each cell one after another; rows are level after level, in each picture after picture.

use std::sync::Mutex;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::anchors::Anchors;
use super::settings::{RetinaNet, Rpn};
use crate::assigners::{Assigned, BACKGROUND, LEFT_OUT};
use crate::batch::Pictures;
use crate::box_coders::{DeltaCoder, DeltaRows};
use crate::config::{Diagnostics, Node, error_at};
use crate::heads::Outputs;
use crate::layers::{Dice, Params};
use crate::losses::{
    AvgFactor, BoxLoss, ClassLoss, ClassTarget, CrossEntropyLoss, FocalLoss, Formula, L1Loss,
    Losses, OverlapLoss, Reduce, SmoothL1Loss, rows_of,
};
use crate::samplers::{Choice, RandomSampler, Sampler};
use crate::structures::Xyxy;
use crate::structures::masks::Shapes;
use crate::targets::{Objects, Targets};

/// Objects of no more px one way are not learned from.
const LEAST_SIDE: f32 = 1e-5;

/// The objects that are learned from: those that are not empty.
pub(super) fn filtered(targets: &Targets) -> Targets {
    let of_picture = |objects: &Objects| {
        let large = |b: &Xyxy| b[2] - b[0] > LEAST_SIDE && b[3] - b[1] > LEAST_SIDE;
        let seen = |i: usize| match objects.masks.as_ref().map(|masks| &masks.shapes) {
            None => true,
            Some(Shapes::Bitmaps(bitmaps)) => bitmaps[i].iter().any(|v| *v != 0),
            Some(Shapes::Polygons(polygons)) => !polygons[i].is_empty(),
        };
        let kept: Vec<usize> = (0..objects.boxes.len())
            .filter(|i| large(&objects.boxes[*i]) && seen(*i))
            .collect();
        Objects {
            boxes: kept.iter().map(|i| objects.boxes[*i]).collect(),
            labels: kept.iter().map(|i| objects.labels[*i]).collect(),
            ignored: Vec::new(),
            masks: objects.masks.as_ref().map(|masks| masks.select(&kept)),
        }
    };
    Targets {
        pictures: targets.pictures.iter().map(of_picture).collect(),
    }
}

/// Finds the object of each box by overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    thresholds: Vec<f32>,
    labels: Vec<i64>,
    /// The boxes that an object overlaps most with are its own, however little that is.
    low_quality: bool,
}

impl Matcher {
    /// Reads `IOU_THRESHOLDS` and `IOU_LABELS` of a group.
    pub fn read(
        group: &Node,
        thresholds: &[f32],
        labels: &[i64],
        low_quality: bool,
    ) -> Result<Self, Diagnostics> {
        let rising = thresholds.windows(2).all(|two| two[0] <= two[1]);
        if !rising || thresholds.first().is_none_or(|first| *first <= 0.0) {
            let message = "`IOU_THRESHOLDS` rise from above 0";
            return Err(error_at(
                group,
                "IOU_THRESHOLDS",
                message,
                "for example [0.3, 0.7]",
            ));
        }
        let known = labels.iter().all(|label| (-1..=1).contains(label));
        if labels.len() != thresholds.len() + 1 || !known {
            let message = format!(
                "`IOU_LABELS` has one of -1, 0 and 1 for each of {} ranges of overlaps",
                thresholds.len() + 1
            );
            return Err(error_at(group, "IOU_LABELS", message, ""));
        }
        Ok(Self {
            thresholds: thresholds.to_vec(),
            labels: labels.to_vec(),
            low_quality,
        })
    }

    /// That of a stage of a cascade.
    pub fn of_threshold(threshold: f32) -> Self {
        Self {
            thresholds: vec![threshold],
            labels: vec![0, 1],
            low_quality: false,
        }
    }

    /// The first threshold.
    pub fn first(&self) -> f32 {
        self.thresholds[0]
    }

    fn label(&self, overlap: f32) -> i64 {
        let range = self.thresholds.iter().filter(|low| overlap >= **low);
        self.labels[range.count()]
    }

    /// The object of each box.
    pub fn assign(&self, boxes: &[Xyxy], objects: &[Xyxy]) -> Assigned {
        let mut best = vec![(0usize, -1.0f32); boxes.len()];
        let mut wanted = vec![false; boxes.len()];
        let mut overlaps = vec![0.0; boxes.len()];
        for (i, object) in objects.iter().enumerate() {
            let mut most = 0.0f32;
            for ((overlap, bbox), best) in overlaps.iter_mut().zip(boxes).zip(&mut best) {
                *overlap = iou(object, bbox);
                most = most.max(*overlap);
                if *overlap > best.1 {
                    *best = (i, *overlap);
                }
            }
            if self.low_quality {
                let pairs = wanted.iter_mut().zip(&overlaps);
                pairs.for_each(|(wanted, overlap)| *wanted |= *overlap == most);
            }
        }
        let object = |((i, overlap), wanted): (&(usize, f32), &bool)| {
            let label = match objects.is_empty() {
                true => self.labels[0].min(0),
                false if *wanted => 1,
                false => self.label(*overlap),
            };
            match label {
                1 => *i as i32 + 1,
                0 => BACKGROUND,
                _ => LEFT_OUT,
            }
        };
        Assigned {
            object: best.iter().zip(&wanted).map(object).collect(),
            overlap: best.iter().map(|(_, overlap)| overlap.max(0.0)).collect(),
            ..Assigned::default()
        }
    }
}

fn iou(a: &Xyxy, b: &Xyxy) -> f32 {
    let along = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |b: &Xyxy| (b[2] - b[0]) * (b[3] - b[1]);
    let both = along(0) * along(1);
    if both > 0.0 {
        both / (area(a) + area(b) - both)
    } else {
        0.0
    }
}

/// A sampler of so many boxes.
pub(super) fn sampler(
    group: &Node,
    num: usize,
    pos_fraction: f64,
) -> Result<RandomSampler, Diagnostics> {
    if !(0.0..=1.0).contains(&pos_fraction) {
        let message = "`POSITIVE_FRACTION` is a share, from 0 to 1";
        return Err(error_at(group, "POSITIVE_FRACTION", message, ""));
    }
    Ok(RandomSampler {
        num,
        pos_fraction,
        neg_pos_ub: -1.0,
        add_gt_as_proposals: false,
        positives: Choice::Random,
        negatives: Choice::Random,
    })
}

/// How boxes are compared (`BBOX_REG_LOSS_TYPE`).
#[derive(Debug)]
pub(super) struct Regression {
    loss: Box<dyn BoxLoss>,
    /// Boxes are compared, not deltas.
    decoded: bool,
}

impl Regression {
    /// Reads the type; `beta` is where a parabola ends.
    pub fn read(group: &Node, kind: &str, beta: f64, weight: f64) -> Result<Self, Diagnostics> {
        let reduce = Reduce::weighted(weight);
        let of_boxes = |formula| -> Box<dyn BoxLoss> {
            Box::new(OverlapLoss {
                formula,
                eps: 1e-7,
                reduce,
            })
        };
        let loss: Box<dyn BoxLoss> = match kind {
            // Below that Detectron2 has no parabola either.
            "smooth_l1" if beta < 1e-5 => Box::new(L1Loss { reduce }),
            "smooth_l1" => Box::new(SmoothL1Loss { beta, reduce }),
            "giou" => of_boxes(Formula::Giou),
            "diou" => of_boxes(Formula::Diou),
            "ciou" => of_boxes(Formula::CiouOfAll),
            other => {
                let message = format!("there is no loss of boxes '{other}'");
                let help = "known are 'smooth_l1', 'giou', 'diou', 'ciou'";
                return Err(error_at(group, "BBOX_REG_LOSS_TYPE", message, help));
            }
        };
        Ok(Self {
            loss,
            decoded: kind != "smooth_l1",
        })
    }

    /// The loss of `deltas`, rows that have a box and an object each, over `normalizer`.
    pub fn of(
        &self,
        coder: &DeltaCoder,
        deltas: Tensor<2>,
        pairs: &[(Xyxy, Xyxy)],
        normalizer: f64,
    ) -> Tensor<1> {
        if pairs.is_empty() {
            return deltas.sum() * 0.0;
        }
        let device = deltas.device().without_autodiff();
        let rows = |numbers: Vec<f32>| -> Tensor<2> {
            Tensor::from_data(TensorData::new(numbers, [pairs.len(), 4]), &device)
        };
        let own = pairs.iter().flat_map(|(own, _)| *own).collect();
        let (pred, target) = if self.decoded {
            let target = pairs.iter().flat_map(|(_, object)| *object).collect();
            (coder.decode_rows(rows(own), deltas), rows(target))
        } else {
            let encode = |(own, object): &(Xyxy, Xyxy)| coder.encode(*own, *object);
            (deltas, rows(pairs.iter().flat_map(encode).collect()))
        };
        let factor = Some(AvgFactor::Number(normalizer));
        self.loss.forward(pred, target, None, factor)
    }
}

/// Row numbers on a device.
pub(super) fn indices(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// What a head of anchors gave, and the anchors.
pub(super) struct Dense<'a> {
    levels: Vec<[&'a Tensor<4>; 2]>,
    coder: &'a DeltaCoder,
    /// Of a picture, level after level.
    boxes: Vec<Xyxy>,
    /// Anchors of each level.
    counts: Vec<usize>,
    pictures: usize,
}

impl<'a> Dense<'a> {
    pub fn new(
        anchors: &Anchors,
        coder: &'a DeltaCoder,
        outputs: &'a Outputs,
        pictures: usize,
    ) -> Self {
        let levels: Vec<[&Tensor<4>; 2]> = outputs.levels().collect();
        let size = |[logits, _]: &[&Tensor<4>; 2]| {
            let [_, _, height, width] = logits.dims();
            [height, width]
        };
        let grid = anchors.grid(&levels.iter().map(size).collect::<Vec<_>>());
        Self {
            levels,
            coder,
            counts: grid.iter().map(Vec::len).collect(),
            boxes: grid.into_iter().flatten().collect(),
            pictures,
        }
    }

    /// The row of an anchor of a picture.
    fn row(&self, picture: usize, anchor: usize) -> usize {
        let (mut first, mut within) = (0, anchor);
        for count in &self.counts {
            if within < *count {
                return first + picture * count + within;
            }
            within -= count;
            first += count * self.pictures;
        }
        unreachable!("an anchor is of a level")
    }

    /// The group `group` of outputs in rows of `channels` numbers, of all levels.
    fn rows(&self, group: usize, channels: usize) -> Tensor<2> {
        let levels = self.levels.iter();
        Tensor::cat(
            levels
                .map(|level| rows_of(level[group], channels))
                .collect(),
            0,
        )
    }

    fn device(&self) -> Device {
        self.levels[0][0].device().without_autodiff()
    }

    /// The loss of the deltas of these rows, each with its anchor and its object.
    fn regression(
        &self,
        by: &Regression,
        found: &[(usize, Xyxy, Xyxy)],
        normalizer: f64,
    ) -> Tensor<1> {
        let deltas = self.rows(1, 4);
        if found.is_empty() {
            return deltas.sum() * 0.0;
        }
        let rows: Vec<usize> = found.iter().map(|(row, ..)| *row).collect();
        let pairs: Vec<_> = found
            .iter()
            .map(|(_, own, object)| (*own, *object))
            .collect();
        let deltas = deltas.select(0, indices(&rows, &self.device()));
        by.of(self.coder, deltas, &pairs, normalizer)
    }
}

/// How a region proposal network learns.
#[derive(Debug)]
pub(super) struct RpnLearning {
    matcher: Matcher,
    sampler: RandomSampler,
    dice: Dice,
    regression: Regression,
    loss_weight: f64,
    /// How far out of the picture an anchor may reach, px; below 0 any.
    boundary: f32,
}

impl RpnLearning {
    pub fn read(
        group: &Node,
        config: &Rpn,
        matcher: Matcher,
        at: &Params,
    ) -> Result<Self, Diagnostics> {
        let weight = config.bbox_reg_loss_weight * config.loss_weight;
        let (kind, beta) = (&config.bbox_reg_loss_type, config.smooth_l1_beta);
        Ok(Self {
            matcher,
            sampler: sampler(
                group,
                config.batch_size_per_image.get(),
                config.positive_fraction,
            )?,
            dice: at.dice(),
            regression: Regression::read(group, kind, beta, weight)?,
            loss_weight: config.loss_weight,
            boundary: config.boundary_thresh,
        })
    }

    pub fn losses(&self, dense: &Dense, pictures: &Pictures, targets: &Targets) -> Losses {
        let (mut rows, mut labels, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (objects, meta)) in targets.pictures.iter().zip(&pictures.metas).enumerate() {
            let mut assigned = self.matcher.assign(&dense.boxes, &objects.boxes);
            if self.boundary >= 0.0 {
                let [height, width] = meta.img_shape.map(|side| side as f32 + self.boundary);
                let inside = |[x1, y1, x2, y2]: Xyxy| {
                    x1 >= -self.boundary && y1 >= -self.boundary && x2 < width && y2 < height
                };
                let pairs = assigned.object.iter_mut().zip(&dense.boxes);
                pairs
                    .filter(|(_, b)| !inside(**b))
                    .for_each(|(o, _)| *o = LEFT_OUT);
            }
            let sampled = self.sampler.sample(&assigned, &self.dice);
            for anchor in sampled.positives {
                let row = dense.row(i, anchor);
                let object = objects.boxes[assigned.object[anchor] as usize - 1];
                found.push((row, dense.boxes[anchor], object));
                rows.push(row);
                labels.push(0);
            }
            for anchor in sampled.negatives {
                rows.push(dense.row(i, anchor));
                labels.push(1);
            }
        }
        let normalizer = (self.sampler.num * targets.pictures.len()) as f64;
        let device = dense.device();
        let logits = dense.rows(0, 1);
        let of_classes = if rows.is_empty() {
            logits.sum() * 0.0
        } else {
            let loss = CrossEntropyLoss::of_sigmoids(Reduce::weighted(self.loss_weight));
            let target = ClassTarget::Labels(indices(&labels, &device));
            let factor = Some(AvgFactor::Number(normalizer));
            loss.forward(
                logits.select(0, indices(&rows, &device)),
                target,
                None,
                factor,
            )
        };
        let mut losses = Losses::default();
        losses.add("loss_rpn_cls", of_classes);
        let of_boxes = dense.regression(&self.regression, &found, normalizer);
        losses.add("loss_rpn_loc", of_boxes);
        losses
    }
}

/// How RetinaNet learns.
#[derive(Debug)]
pub(super) struct RetinaLearning {
    matcher: Matcher,
    focal: FocalLoss,
    regression: Regression,
    /// Anchors with objects, averaged over the steps: what losses are divided by.
    normalizer: Mutex<f64>,
}

/// Anchors with objects that a run begins with, and how much of the average stays in a step.
const FIRST_NORMALIZER: f64 = 100.0;
const MOMENTUM: f64 = 0.9;

impl RetinaLearning {
    pub fn read(group: &Node, config: &RetinaNet, matcher: Matcher) -> Result<Self, Diagnostics> {
        let (kind, beta) = (&config.bbox_reg_loss_type, config.smooth_l1_loss_beta);
        Ok(Self {
            matcher,
            focal: FocalLoss {
                gamma: config.focal_loss_gamma,
                alpha: config.focal_loss_alpha,
                ..FocalLoss::default()
            },
            regression: Regression::read(group, kind, beta, 1.0)?,
            normalizer: Mutex::new(FIRST_NORMALIZER),
        })
    }

    pub fn losses(&self, dense: &Dense, classes: usize, targets: &Targets) -> Losses {
        let all = dense.boxes.len() * dense.pictures;
        let (mut labels, mut weights) = (vec![classes; all], vec![1.0f32; all]);
        let mut found = Vec::new();
        for (i, objects) in targets.pictures.iter().enumerate() {
            let assigned = self.matcher.assign(&dense.boxes, &objects.boxes);
            for (anchor, object) in assigned.object.iter().enumerate() {
                let row = dense.row(i, anchor);
                match *object {
                    LEFT_OUT => weights[row] = 0.0,
                    BACKGROUND => (),
                    object => {
                        let object = object as usize - 1;
                        labels[row] = objects.labels[object];
                        found.push((row, dense.boxes[anchor], objects.boxes[object]));
                    }
                }
            }
        }
        let normalizer = {
            let mut average = self
                .normalizer
                .lock()
                .expect("nobody panics while counting");
            *average = *average * MOMENTUM + found.len().max(1) as f64 * (1.0 - MOMENTUM);
            *average
        };
        let device = dense.device();
        let maps: Vec<&Tensor<4>> = dense.levels.iter().map(|level| level[0]).collect();
        let weights = Tensor::from_data(TensorData::new(weights, [all]), &device);
        let factor = Some(AvgFactor::Number(normalizer));
        let labels = indices(&labels, &device);
        let of_classes = self
            .focal
            .of_maps(&maps, classes, labels, Some(weights), factor);
        let mut losses = Losses::default();
        losses.add("loss_cls", of_classes);
        let of_boxes = dense.regression(&self.regression, &found, normalizer);
        losses.add("loss_box_reg", of_boxes);
        losses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_the_boxes_that_are_nearest_to_it_however_far_they_are() {
        let boxes = [
            [0.0, 0.0, 10.0, 10.0],
            [0.0, 0.0, 10.0, 5.0],
            [20.0, 0.0, 30.0, 10.0],
            [0.0, 0.0, 10.0, 4.0],
        ];
        let objects = [[0.0, 0.0, 10.0, 10.0], [29.0, 0.0, 39.0, 10.0]];
        let matcher = |low_quality| Matcher {
            thresholds: vec![0.45, 0.7],
            labels: vec![0, -1, 1],
            low_quality,
        };
        assert_eq!(
            matcher(false).assign(&boxes, &objects).object,
            [1, -1, 0, 0]
        );
        assert_eq!(matcher(true).assign(&boxes, &objects).object, [1, -1, 2, 0]);
        assert_eq!(matcher(true).assign(&boxes, &[]).object, [0; 4]);
    }
}
