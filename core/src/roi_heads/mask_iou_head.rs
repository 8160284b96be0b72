//! What tells how good a mask is, by which its instance's score is weighed (Mask Scoring R-CNN, Huang et al. 2019, arXiv 1903.00241): MMDetection
//! 3.3.0's `MaskIoUHead`.
//!
//! Shapes: features `[R, C, 14, 14]`, mask logits `[R, 28, 28]`, output `[R, classes]`.

use burn::tensor::{Int, Tensor, TensorData, activation};
use serde::Deserialize;

use super::sampling::Sampled;
use super::{Given, RegionMap, present};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::heads::training;
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, Distribution, Fan, Init, InitRule, Linear,
};
use crate::limits::Channels;
use crate::losses::{self, AvgFactor, BoxLoss, MseLoss, Reduce, Reduction};
use crate::ops::pool::max_pool2d;
use crate::registry::{Family, Row};
use crate::structures::masks::Shapes;
use crate::structures::{Masks, Polygon};
use crate::targets::Targets;

/// The keys of `type='MaskIoUHead'`.
#[derive(Debug, Deserialize)]
struct MaskIouConfig {
    num_convs: Option<Bounded<1, 128>>,
    num_fcs: Option<Bounded<1, 128>>,
    roi_feat_size: Option<Size>,
    in_channels: Option<Channels>,
    conv_out_channels: Option<Channels>,
    fc_out_channels: Option<Channels>,
    num_classes: Option<Channels>,
}

type Side = Bounded<2, 64>;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    One(Side),
    Two([Side; 2]),
}

/// The kind `mask IoU head` of the registry.
#[derive(Debug)]
pub struct MaskIouHeads;

impl Family for MaskIouHeads {
    const KIND: &'static str = "mask IoU head";
    type Build = fn(&Node, &Given, &Build) -> Result<MaskIouHead, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<MaskIouHeads>; 1] = [Row::<MaskIouHeads>::new(
    "mmdet",
    "MaskIoUHead",
    MaskIouHead::read,
)];

/// Tells the overlap of masks with those of their objects.
#[derive(Debug)]
pub struct MaskIouHead {
    convs: Vec<ConvNormAct>,
    fcs: Vec<Linear>,
    fc_mask_iou: Linear,
    takes: RegionMap,
    classes: usize,
    learning: Option<Learning>,
}

#[derive(Debug)]
struct Learning {
    loss_iou: Box<dyn BoxLoss>,
    /// Logits above it are of the mask.
    threshold: f64,
}

/// Losses that take single numbers.
const LOSSES: [&str; 4] = ["MSELoss", "L1Loss", "SmoothL1Loss", "BalancedL1Loss"];

impl Learning {
    fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let named = present(node, "loss_iou").and_then(|loss| loss.get("type")?.as_type());
        let named = named.as_deref().unwrap_or("MSELoss");
        if !LOSSES.contains(&named.rsplit('.').next().unwrap_or_default()) {
            let message = format!("`{named}` cannot be the loss of single numbers");
            let known = format!("known are {}", LOSSES.join(", "));
            return Err(error_at(node, "loss_iou", message, &known));
        }
        let default = MseLoss {
            reduce: Reduce {
                loss_weight: 0.5,
                ..Reduce::default()
            },
        };
        let threshold = given
            .train_cfg
            .and_then(|cfg| present(cfg, "mask_thr_binary"));
        let Some(threshold) = threshold.and_then(Node::as_float) else {
            let message = "this detector's `train_cfg` has no number `mask_thr_binary`, so its scores of masks cannot be trained";
            let help = "for example mask_thr_binary=0.5";
            return Err(unsupported(node, "", message, help));
        };
        Ok(Self {
            loss_iou: losses::box_loss(node, "loss_iou", build, default)?,
            threshold,
        })
    }
}

impl MaskIouHead {
    fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let config: MaskIouConfig = node.read_knowing(&["loss_iou", "init_cfg"])?;
        let size = match &config.roi_feat_size {
            None => [14; 2],
            Some(Size::One(side)) => [side.get(); 2],
            Some(Size::Two(sides)) => [sides[0].get(), sides[1].get()],
        };
        if size.iter().any(|side| side % 2 == 1) {
            let message =
                "`roi_feat_size` is odd, so its half is not what the last convolution gives";
            return Err(error_at(node, "roi_feat_size", message, ""));
        }
        let learning = training(build, || Learning::read(node, given, build))?;
        build.initial(node, |at| {
            at.at("convs").initialise(InitRule::all(Init::KAIMING, 0.0));
            let caffe2 = Init::Kaiming {
                gain: 1.0,
                fan: Fan::In,
                distribution: Distribution::Uniform,
            };
            at.at("fcs").initialise(InitRule::all(caffe2, 0.0));
            let normal = InitRule::all(Init::normal(0.01), 0.0);
            at.at("fc_mask_iou").initialise(normal);
        });
        let channels = config.in_channels.map_or(256, Channels::get);
        let width = config.conv_out_channels.map_or(256, Channels::get);
        let fc_width = config.fc_out_channels.map_or(1024, Channels::get);
        let classes = config.num_classes.map_or(80, Channels::get);
        let count = config.num_convs.map_or(4, |count| count.get());
        let params = &build.params;
        let conv = |i: usize| {
            let from = if i == 0 { channels + 1 } else { width };
            let stride = if i + 1 == count { 2 } else { 1 };
            let conv = ConvConfig::new(from, width, 3).stride(stride).pad(1);
            conv.act(Some(Activation::Relu))
                .init(&params.at("convs").at(i), None)
        };
        let convs = (0..count).map(conv).collect();
        let fc = |i: usize| {
            let area = size[0] / 2 * (size[1] / 2);
            let from = if i == 0 { width * area } else { fc_width };
            Linear::new(from, fc_width, true, &params.at("fcs").at(i))
        };
        let fcs = 0..config.num_fcs.map_or(2, |count| count.get());
        Ok(Self {
            convs,
            fcs: fcs.map(fc).collect(),
            fc_mask_iou: Linear::new(fc_width, classes, true, &params.at("fc_mask_iou")),
            takes: RegionMap { channels, size },
            classes,
            learning,
        })
    }

    /// Whether it takes such maps of regions, with masks of such a size and so many classes.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(
        &self,
        node: &Node,
        map: RegionMap,
        mask: [usize; 2],
        classes: usize,
    ) -> Result<(), Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let RegionMap { channels, size } = self.takes;
        if channels != map.channels {
            let message = format!(
                "the head has `in_channels` {channels}, but regions have {} channels",
                map.channels
            );
            return fail("in_channels", message);
        }
        if size != map.size || mask.map(|side| side / 2) != size {
            let message = format!(
                "the head has `roi_feat_size` {size:?}; regions are seen as {:?}, masks have {mask:?}, which must be twice that",
                map.size
            );
            return fail("roi_feat_size", message);
        }
        if self.classes < classes {
            let message = format!("the head has {} classes, the masks {classes}", self.classes);
            return fail("num_classes", message);
        }
        Ok(())
    }

    /// The overlap that each region's mask has with its object's, by its label.
    ///
    /// # Shapes
    /// - features `[R, C, H, W]`, mask logits `[R, 2 * H, 2 * W]`, labels `[R]`, output `[R]`
    pub(super) fn forward(
        &self,
        features: Tensor<4>,
        logits: Tensor<3>,
        labels: Tensor<1, Int>,
    ) -> Tensor<1> {
        let mask = activation::sigmoid(logits).unsqueeze_dim::<4>(1);
        let x = Tensor::cat(vec![features, max_pool2d(mask, 2, 2, 0)], 1);
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x));
        let x: Tensor<2> = x.flatten(1, 3);
        let layer = |x, fc: &Linear| Activation::Relu.forward(fc.forward(x));
        let overlaps = self.fc_mask_iou.forward(self.fcs.iter().fold(x, layer));
        let labels = labels.clamp(0, self.classes as i64 - 1);
        overlaps
            .gather(1, labels.unsqueeze_dim::<2>(1))
            .squeeze_dim(1)
    }

    /// The loss of overlaps that were told of masks; `logits` and `wanted` are the masks `[R, H, W]` within their regions.
    ///
    /// # Panics
    /// If the model was not built for training.
    pub(super) fn loss(
        &self,
        overlaps: Tensor<1>,
        logits: Tensor<3>,
        wanted: Tensor<3>,
        sampled: &[Sampled],
        targets: &Targets,
    ) -> Tensor<1> {
        let Learning {
            loss_iou,
            threshold,
        } = self.learning.as_ref().expect(super::FOR_TRAINING);
        let device = wanted.device();
        let area = |x: Tensor<3>| -> Tensor<1> { x.sum_dim(2).sum_dim(1).flatten(0, 2) };
        let found = logits.without_autodiff().greater_elem(*threshold).float();
        let within = shares_within(sampled, targets);
        let count = within.len();
        let within = Tensor::<1>::from_data(TensorData::new(within, [count]), &device);
        let both = area(found.clone() * wanted.clone());
        let whole = area(wanted) / (within + 1e-7);
        let target = both.clone() / (area(found) + whole - both);
        let some = target.clone().greater_elem(0.0);
        // What is no number is not above 0.
        let target = target.mask_fill(some.clone().bool_not(), 0.0);
        let some = some.float();
        let factor = match loss_iou.reduction() {
            Reduction::Mean => Some(AvgFactor::Tensor(some.clone().sum().clamp_min(1.0))),
            _ => None,
        };
        let column = |x: Tensor<1>| x.unsqueeze_dim::<2>(1);
        loss_iou.forward(column(overlaps), column(target), Some(column(some)), factor)
    }
}

/// Of each region with an object: how much of the object's mask is in it.
fn shares_within(sampled: &[Sampled], targets: &Targets) -> Vec<f32> {
    let mut shares = Vec::new();
    for (sampled, objects) in sampled.iter().zip(&targets.pictures) {
        let Some(masks) = &objects.masks else {
            continue;
        };
        let whole = areas(masks);
        for (bbox, object) in sampled.positives().iter().zip(&sampled.objects) {
            let inside = areas(&masks.select(&[*object]).crop(bbox.map(f32::trunc)));
            let inside = inside.first().copied().unwrap_or(0.0);
            shares.push((inside / (whole[*object] + 1e-7)) as f32);
        }
    }
    shares
}

/// Pixels of each mask.
fn areas(masks: &Masks) -> Vec<f64> {
    match &masks.shapes {
        Shapes::Bitmaps(bitmaps) => {
            let area =
                |bitmap: &crate::structures::Bitmap| bitmap.iter().map(|v| f64::from(*v)).sum();
            bitmaps.iter().map(area).collect()
        }
        Shapes::Polygons(polygons) => polygons.iter().map(polygon_area).collect(),
    }
}

fn polygon_area(polygon: &Polygon) -> f64 {
    let part = |part: &Vec<f64>| {
        let (corners, _) = part.as_chunks::<2>();
        let last = corners.last().copied().unwrap_or_default();
        let before = std::iter::once(&last).chain(corners);
        let crosses = before.zip(corners).map(|(a, b)| a[0] * b[1] - a[1] * b[0]);
        crosses.sum::<f64>().abs() / 2.0
    };
    polygon.iter().map(part).sum()
}
