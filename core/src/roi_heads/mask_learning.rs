//! What mask heads learn, as MMDetection 3.3.0's `FCNMaskHead` does: of each region with an object that object's mask, cut out and made small.

use burn::tensor::{Int, Tensor, TensorData};
use serde::Deserialize;
use smalti_shaders::reference::roi_align::{Bin, Region, RoiLevel, Sampling};

use super::box_head::labels_on;
use super::mask_head::MaskHead;
use super::sampling::Sampled;
use super::{Given, present};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::losses::{self, Loss, Losses, MaskCrossEntropyLoss};
use crate::structures::masks::{Shapes, polygon_to_bitmap};
use crate::structures::{Masks, Polygon, Xyxy};
use crate::targets::Targets;

type Side = Bounded<1, 512>;

/// `mask_size`: one number, or height and width.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum MaskSize {
    One(Side),
    Two([Side; 2]),
}

/// How a mask head learns.
#[derive(Debug)]
pub(super) struct MaskLearning {
    loss_mask: MaskCrossEntropyLoss,
    /// Height and width of what is compared.
    size: [usize; 2],
}

impl MaskLearning {
    /// Reads `loss_mask` of the head `node`, and its `train_cfg`.
    pub fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let loss_mask = match losses::named(node, "loss_mask", build)? {
            None => MaskCrossEntropyLoss::default(),
            Some(Loss::Mask(loss)) => loss,
            Some(_) => {
                let message = "`loss_mask` is no loss of masks by class";
                let help =
                    "for example dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)";
                return Err(error_at(node, "loss_mask", message, help));
            }
        };
        let train_cfg = given.train_cfg.and_then(|cfg| present(cfg, "mask_size"));
        let Some(size) = train_cfg else {
            let message =
                "this detector's `train_cfg` has no `mask_size`, so its masks cannot be trained";
            return Err(unsupported(node, "", message, "for example mask_size=28"));
        };
        let size = match size.read()? {
            MaskSize::One(side) => [side.get(); 2],
            MaskSize::Two(sides) => sides.map(|side| side.get()),
        };
        Ok(Self { loss_mask, size })
    }
}

/// The loss of the masks of all regions that have objects, `[P, classes, H, W]`, picture after picture.
///
/// # Panics
/// If objects have no masks.
pub(super) fn losses(
    head: &MaskHead,
    logits: Tensor<4>,
    sampled: &[Sampled],
    targets: &Targets,
) -> Losses {
    losses_and_wanted(head, logits, sampled, targets).0
}

/// Masks, `[P, H, W]`, and labels of regions, `[P]`.
pub(super) type Wanted = (Tensor<3>, Tensor<1, Int>);

/// Also what the masks should be, if there is any region with an object.
pub(super) fn losses_and_wanted(
    head: &MaskHead,
    logits: Tensor<4>,
    sampled: &[Sampled],
    targets: &Targets,
) -> (Losses, Option<Wanted>) {
    let mut losses = Losses::default();
    let MaskLearning { loss_mask, size } = head.learning();
    let device = logits.device().without_autodiff();
    let (mut wanted, mut labels) = (Vec::new(), Vec::new());
    for (sampled, objects) in sampled.iter().zip(&targets.pictures) {
        if sampled.objects.is_empty() {
            continue;
        }
        let masks = objects.masks.as_ref();
        let masks = masks
            .expect("objects have masks: `LoadAnnotations` of the pipeline has with_mask=True");
        wanted.extend(cut_out(masks, sampled, *size, LEAST_SIDE));
        labels.extend(sampled.objects.iter().map(|object| match head.agnostic {
            true => 0,
            false => objects.labels[*object],
        }));
    }
    let count = labels.len();
    if count == 0 {
        losses.add("loss_mask", logits.sum() * 0.0);
        return (losses, None);
    }
    let shape = [count, size[0], size[1]];
    let wanted = Tensor::<3>::from_data(TensorData::new(wanted, shape), &device);
    let labels = labels_on(&labels, &device);
    let loss = loss_mask.forward(logits, wanted.clone(), labels.clone());
    losses.add("loss_mask", loss);
    (losses, Some((wanted, labels)))
}

/// Regions that are smaller are made so large before a polygon is cut out, px.
const LEAST_SIDE: f64 = 1.0;

/// Of each region that has an object the part of that object's mask, 0 or 1, at another size. `least` is what sides of polygons' regions have
/// at least, px.
pub(crate) fn cut_out(masks: &Masks, sampled: &Sampled, size: [usize; 2], least: f64) -> Vec<f32> {
    let [width, height] = masks.size().map(|side| side as f32);
    let within = |b: &Xyxy| -> Xyxy {
        [
            b[0].clamp(0.0, width),
            b[1].clamp(0.0, height),
            b[2].clamp(0.0, width),
            b[3].clamp(0.0, height),
        ]
    };
    let pairs = sampled.positives().iter().zip(&sampled.objects);
    let mut out = Vec::with_capacity(sampled.objects.len() * size[0] * size[1]);
    match &masks.shapes {
        Shapes::Bitmaps(bitmaps) => {
            let level = RoiLevel {
                first: 0,
                height: masks.height,
                width: masks.width,
                scale: 1.0,
            };
            let sampling = Sampling {
                bins: size,
                ratio: 0,
                aligned: true,
                bin: Bin::Mean,
            };
            let mut planes: Vec<Option<Vec<f32>>> = vec![None; bitmaps.len()];
            let mut means = vec![0.0; size[0] * size[1]];
            for (bbox, object) in pairs {
                let plane = planes[*object].get_or_insert_with(|| {
                    bitmaps[*object].iter().map(|v| f32::from(*v)).collect()
                });
                let region = Region::new(within(bbox), level, sampling);
                region.read(plane, &mut means);
                out.extend(means.iter().map(|mean| f32::from(u8::from(*mean >= 0.5))));
            }
        }
        Shapes::Polygons(polygons) => {
            for (bbox, object) in pairs {
                let polygon = scaled(&polygons[*object], within(bbox), size, least);
                let bitmap = polygon_to_bitmap(&polygon, size[1], size[0]);
                out.extend(bitmap.iter().map(|v| f32::from(*v)));
            }
        }
    }
    out
}

/// A polygon as it lies in `bbox`, when that has another size.
fn scaled(polygon: &Polygon, bbox: Xyxy, [height, width]: [usize; 2], least: f64) -> Polygon {
    let [x1, y1, x2, y2] = bbox.map(f64::from);
    let factors = [
        width as f64 / (x2 - x1).max(least),
        height as f64 / (y2 - y1).max(least),
    ];
    let first = [x1, y1];
    let part = |part: &Vec<f64>| {
        let numbers = part.iter().enumerate();
        numbers
            .map(|(i, v)| (v - first[i % 2]) * factors[i % 2])
            .collect()
    };
    polygon.iter().map(part).collect()
}
