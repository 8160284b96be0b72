//! [`FcosLosses`]: what FCOS's head learns (Tian et al. 2019, arXiv 1904.01355, section 3.1 and 3.2) as MMDetection 3.3.0 does it: a point
//! finds the smallest object that it lies in, if its level is the one for that size.
//!
//! What each point is to say depends on boxes alone, so it is worked out on the host; only points that find an object have distances.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Outputs;
use super::anchor_losses::{nothing, size_of};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Mode;
use crate::limits::List;
use crate::losses::{
    self, AvgFactor, BoxLoss, ClassLoss, ClassTarget, CrossEntropyLoss, FocalLoss, IouLoss, Losses,
    Reduce, rows_of,
};
use crate::priors::PointGenerator;
use crate::structures::boxes::area;
use crate::targets::{Objects, Targets};

/// How FCOS's head learns.
#[derive(Debug)]
pub(super) struct FcosLosses {
    loss_cls: Box<dyn ClassLoss>,
    loss_bbox: Box<dyn BoxLoss>,
    loss_centerness: Box<dyn ClassLoss>,
    /// The largest distance to a side that a level's points learn, from and to, px.
    regress_ranges: Vec<[f32; 2]>,
    /// How far from an object's middle its points may be, in strides; None: anywhere in it.
    center_radius: Option<f32>,
}

/// `regress_ranges` where none are said.
const RANGES: [[f32; 2]; 5] = [
    [-1.0, 64.0],
    [64.0, 128.0],
    [128.0, 256.0],
    [256.0, 512.0],
    [512.0, 1e8],
];

/// What points learn, over all levels, in each over all pictures.
#[derive(Default)]
struct Learned {
    labels: Vec<i32>,
    positives: Vec<i32>,
    /// Of the positive points: where they are, px, and how far the sides are.
    points: Vec<[f32; 2]>,
    distances: Vec<[f32; 4]>,
}

impl FcosLosses {
    /// Reads what the head `node` says of it, which has these levels.
    pub fn read(
        node: &Node,
        levels: usize,
        regress_ranges: Option<List<[f32; 2]>>,
        center_radius: Option<f32>,
        build: &Build,
    ) -> Result<Self, Diagnostics> {
        let regress_ranges = regress_ranges.map_or_else(|| RANGES.to_vec(), List::into_vec);
        // Only training asks for them: a model of other levels can run.
        if regress_ranges.len() != levels && build.params.mode() == Mode::Train {
            let given = regress_ranges.len();
            let message = format!("{given} `regress_ranges` for {levels} feature levels");
            let help = "write one (from, to) for each level";
            return Err(error_at(node, "regress_ranges", message, help));
        }
        let centreness = CrossEntropyLoss::of_sigmoids(Reduce::default());
        Ok(Self {
            loss_cls: losses::class_loss(node, "loss_cls", build, FocalLoss::default())?,
            loss_bbox: losses::box_loss(node, "loss_bbox", build, IouLoss::default())?,
            loss_centerness: losses::class_loss(node, "loss_centerness", build, centreness)?,
            regress_ranges,
            center_radius,
        })
    }

    /// The losses of `outputs`, class logits, distances and centreness logits; `normed`: distances are learned in strides.
    pub fn of(
        &self,
        points: &PointGenerator,
        outputs: &Outputs,
        targets: &Targets,
        classes: usize,
        normed: bool,
    ) -> Losses {
        let levels: Vec<[&Tensor<4>; 3]> = outputs.levels().collect();
        let device = levels[0][0].device();
        let mut learned = Learned::default();
        let (mut distances, mut centreness) = (Vec::new(), Vec::new());
        for (level, [of_class, of_box, of_middle]) in levels.iter().enumerate() {
            let stride = points.strides()[level][0] as f32;
            let scale = if normed { stride } else { 1.0 };
            let of_level = points.points(level, size_of(of_class));
            for objects in &targets.pictures {
                self.learn(
                    &mut learned,
                    &of_level,
                    level,
                    stride,
                    scale,
                    objects,
                    classes,
                );
            }
            distances.push(rows_of(of_box, 4) / scale);
            centreness.push(rows_of(of_middle, 1));
        }
        let rows = learned.labels.len();
        let labels = Tensor::from_data(TensorData::new(learned.labels, [rows]), &device);
        let found = learned.points.len();
        let per_object = || Some(AvgFactor::Number(found.max(1) as f64));
        let mut losses = Losses::default();
        let maps: Vec<&Tensor<4>> = levels.iter().map(|[of_class, ..]| *of_class).collect();
        let channels = maps[0].dims()[1];
        // of nothing the first point, which is background: it counts neither as right nor as wrong
        let positives = if found > 0 {
            learned.positives
        } else {
            vec![0]
        };
        let index = TensorData::new(positives, [found.max(1)]);
        let index = Tensor::<1, Int>::from_data(index, &device);
        if self.loss_cls.channels().is_some() {
            losses.append("", self.accuracy(&maps, &labels, &index));
        }
        let of_classes = self
            .loss_cls
            .of_maps(&maps, channels, labels, None, per_object());
        losses.add("loss_cls", of_classes);
        if found == 0 {
            let [_, of_box, of_middle] = levels[0];
            losses.add("loss_bbox", nothing(of_box));
            losses.add("loss_centerness", nothing(of_middle));
            return losses;
        }

        let middles: Vec<f32> = learned.distances.iter().map(centre).collect();
        let sum = middles.iter().sum::<f32>().max(1e-6);
        let boxes = |distances: Tensor<2>| boxes(&learned.points, distances, &device);
        let wanted = TensorData::new(learned.distances.concat(), [found, 4]);
        let wanted = Tensor::<2>::from_data(wanted, &device);
        let middles = Tensor::<2>::from_data(TensorData::new(middles, [found, 1]), &device);
        let of_boxes = self.loss_bbox.forward(
            boxes(Tensor::cat(distances, 0).select(0, index.clone())),
            boxes(wanted),
            Some(middles.clone().expand([found, 4])),
            Some(AvgFactor::Number(f64::from(sum))),
        );
        losses.add("loss_bbox", of_boxes);
        let of_middles = self.loss_centerness.forward(
            Tensor::cat(centreness, 0).select(0, index),
            ClassTarget::Soft(middles),
            None,
            per_object(),
        );
        losses.add("loss_centerness", of_middles);
        losses
    }

    /// What losses with their own say on classes report: how many of the points that find an object know which.
    fn accuracy(
        &self,
        maps: &[&Tensor<4>],
        labels: &Tensor<1, Int>,
        found: &Tensor<1, Int>,
    ) -> Losses {
        let channels = maps[0].dims()[1];
        let rows = maps
            .iter()
            .map(|map| rows_of(map, channels).without_autodiff());
        let rows = Tensor::cat(rows.collect(), 0);
        let found = found.clone().without_autodiff();
        let labels = labels.clone().without_autodiff().select(0, found.clone());
        self.loss_cls.accuracy(rows.select(0, found), labels)
    }

    /// Adds what the points of one level learn of one picture.
    #[expect(clippy::too_many_arguments, reason = "one level of one picture")]
    fn learn(
        &self,
        learned: &mut Learned,
        points: &[[f32; 2]],
        level: usize,
        stride: f32,
        scale: f32,
        objects: &Objects,
        classes: usize,
    ) {
        let [least, most] = self.regress_ranges[level];
        for point in points {
            let mut smallest = (f32::INFINITY, None);
            for (g, bbox) in objects.boxes.iter().enumerate() {
                let sides = distances(*point, *bbox);
                let inside = match self.center_radius {
                    None => sides,
                    Some(radius) => distances(*point, middle_of(*bbox, stride * radius)),
                };
                let largest = sides.into_iter().fold(f32::NEG_INFINITY, f32::max);
                let inside = inside.into_iter().all(|side| side > 0.0);
                if inside && largest >= least && largest <= most && area(bbox) < smallest.0 {
                    smallest = (area(bbox), Some((g, sides)));
                }
            }
            let Some((g, sides)) = smallest.1 else {
                learned.labels.push(classes as i32);
                continue;
            };
            learned.positives.push(learned.labels.len() as i32);
            learned.labels.push(objects.labels[g] as i32);
            learned.points.push(*point);
            learned.distances.push(sides.map(|side| side / scale));
        }
    }
}

/// From a point to the left, upper, right and lower side, px.
fn distances([x, y]: [f32; 2], [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
    [x - x1, y - y1, x2 - x, y2 - y]
}

/// What is nearer than `reach` to the middle of a box, px.
fn middle_of([x1, y1, x2, y2]: [f32; 4], reach: f32) -> [f32; 4] {
    let [x, y] = [(x1 + x2) / 2.0, (y1 + y2) / 2.0];
    [
        (x - reach).max(x1),
        (y - reach).max(y1),
        (x + reach).min(x2),
        (y + reach).min(y2),
    ]
}

/// How near to the middle of a box a point with these distances is, 0 to 1.
fn centre([left, top, right, bottom]: &[f32; 4]) -> f32 {
    let share = |a: f32, b: f32| a.min(b) / a.max(b);
    (share(*left, *right) * share(*top, *bottom)).sqrt()
}

/// The boxes that lie so far around points, `[R, 4]`.
fn boxes(points: &[[f32; 2]], distances: Tensor<2>, device: &Device) -> Tensor<2> {
    let rows = points.len();
    let points = TensorData::new(points.concat(), [rows, 2]);
    let points = Tensor::<2>::from_data(points, device);
    let low = points.clone() - distances.clone().narrow(1, 0, 2);
    let high = points + distances.narrow(1, 2, 2);
    Tensor::cat(vec![low, high], 1)
}
