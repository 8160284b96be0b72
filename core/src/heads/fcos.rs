//! FCOS's head (Tian et al. 2019, arXiv 1904.01355, section 3) as MMDetection 3.3.0 builds it: every point of every level predicts classes,
//! its distances to the four sides of a box, and how near to the middle of that box it is. The last is multiplied into the scores.
//!
//! Shapes: K classes (and background, with softmax): logits `[N, K, H, W]`, distances `[N, 4, H, W]` in px, centreness `[N, 1, H, W]`.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::class_scores::ClassScores;
use super::fcos_losses::FcosLosses;
use super::tower::{Tower, TowerConfig, last};
use super::{
    DenseHead, FOR_TRAINING, Given, OF_STYLE, OTHERS, Outputs, check_channels, present, relu_style,
    test_cfg, training,
};
use crate::batch::Pictures;
use crate::box_coders::{BoxCoder, BoxCoders};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    ConvBias, ConvConfig, ConvNormAct, ConvStyle, NormConfig, NormedConv, NormedConvConfig, Scale,
};
use crate::limits::{Channels, Layers, List, Pixels};
use crate::losses::{Losses, register_buffers};
use crate::ops::detections::{Candidates, Coder, Level, Select};
use crate::priors::PointGenerator;
use crate::targets::Targets;

/// The keys of `type='FCOSHead'`.
#[derive(Debug, Deserialize)]
struct FcosHeadConfig {
    num_classes: Channels,
    in_channels: Channels,
    feat_channels: Option<Channels>,
    stacked_convs: Option<Layers>,
    strides: Option<List<Pixels>>,
    conv_bias: Option<ConvBias>,
    regress_ranges: Option<List<[f32; 2]>>,
    center_sampling: Option<bool>,
    center_sample_radius: Option<f32>,
    dcn_on_last_conv: Option<bool>,
    norm_on_bbox: Option<bool>,
    centerness_on_reg: Option<bool>,
    cls_predictor_cfg: Option<NormedConvConfig>,
}

/// Keys that another reads, and those that belong to training.
const OF_FCOS: &[&str] = &["bbox_coder", "loss_centerness"];

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn DenseHead>, Diagnostics> {
    Ok(Box::new(FcosHead::read(node, given, build)?))
}

/// FCOS's head.
#[derive(Debug)]
pub struct FcosHead {
    cls_convs: Tower,
    reg_convs: Tower,
    conv_cls: Classifier,
    conv_reg: ConvNormAct,
    conv_centerness: ConvNormAct,
    scales: Vec<Scale>,
    norm_on_bbox: bool,
    centerness_on_reg: bool,
    scores: ClassScores,
    points: PointGenerator,
    clip_border: bool,
    select: Select,
    losses: Option<FcosLosses>,
}

/// `conv_cls`.
#[derive(Debug)]
enum Classifier {
    Plain(Box<ConvNormAct>),
    /// `cls_predictor_cfg`.
    Normed(Box<NormedConv>),
}

impl FcosHead {
    fn read(node: &Node, given: Given, build: &Build) -> Result<Self, Diagnostics> {
        let config: FcosHeadConfig = node.read_knowing(&[OTHERS, OF_STYLE, OF_FCOS].concat())?;
        let (classes, channels_in) = (config.num_classes.get(), config.in_channels.get());
        check_channels(node, channels_in, &given.features)?;
        let fail = |key, message: &str, help: &str| Err(error_at(node, key, message, help));
        if config.dcn_on_last_conv == Some(true) {
            let message = "deformable convolution is not supported yet";
            return Err(unsupported(node, "dcn_on_last_conv", message, ""));
        }
        let strides = config
            .strides
            .map_or(vec![4, 8, 16, 32, 64], |list| list.numbers());
        super::check_strides(node, &strides, &given.features)?;
        let coder = match present(node, "bbox_coder") {
            Some(node) => build.find::<BoxCoders>(node)?(node)?,
            None => BoxCoder::Distance { clip_border: true },
        };
        let BoxCoder::Distance { clip_border } = coder else {
            let help = "write bbox_coder=dict(type='DistancePointBBoxCoder')";
            let message = format!(
                "points need a coder of distances, `{}` is none",
                coder.name()
            );
            return fail("bbox_coder", &message, help);
        };
        let width = config.feat_channels.map_or(256, Channels::get);
        let style = relu_style(Some(NormConfig::group(32)));
        let style = ConvStyle::read(node, style, &[width])?;
        let scores = ClassScores::read(node, classes)?;
        let select = test_cfg::read(given.test_cfg, classes)?;

        let radius = config.center_sample_radius.unwrap_or(1.5);
        let radius = (config.center_sampling == Some(true)).then_some(radius);
        let losses = training(build, || {
            FcosLosses::read(node, strides.len(), config.regress_ranges, radius, build)
        })?;

        super::initial(node, build, Some("conv_cls"));
        let params = &build.params;
        register_buffers(node, "loss_cls", build);
        let tower = TowerConfig {
            layers: config.stacked_convs.map_or(4, Layers::get),
            channels_in,
            channels: width,
            style,
            bias: config.conv_bias.and_then(ConvBias::said),
            depthwise: false,
        };
        let cls_convs = tower.init(&params.at("cls_convs"));
        let reg_convs = tower.init(&params.at("reg_convs"));
        let at = |name: &str| {
            // MMDetection's first names, `fcos_cls` and so on.
            let at = params.at(name);
            at.once_called(&name.replace("conv_", "fcos_"));
            at
        };
        let conv_cls = match &config.cls_predictor_cfg {
            None => {
                let conv = last(width, scores.channels, 3, &at("conv_cls"));
                Classifier::Plain(Box::new(conv))
            }
            Some(normed) => {
                // The other one is built first.
                ConvConfig::new(width, scores.channels, 3).built_and_dropped(params);
                let conv = normed.init(width, scores.channels, &at("conv_cls"));
                Classifier::Normed(Box::new(conv))
            }
        };
        let scale = |i| Scale::new(&params.at("scales").at(i));
        let conv_reg = last(width, 4, 3, &at("conv_reg"));
        let conv_centerness = last(width, 1, 3, &at("conv_centerness"));
        if matches!(conv_cls, Classifier::Normed(_)) {
            params.built_in_order(["conv_reg", "conv_centerness", "conv_cls"]);
        }
        Ok(Self {
            cls_convs,
            reg_convs,
            conv_cls,
            conv_reg,
            conv_centerness,
            scales: (0..strides.len()).map(scale).collect(),
            norm_on_bbox: config.norm_on_bbox.unwrap_or(false),
            centerness_on_reg: config.centerness_on_reg.unwrap_or(false),
            scores,
            points: PointGenerator::new(strides.iter().map(|s| [*s; 2]).collect(), 0.5),
            clip_border,
            select,
            losses,
        })
    }
}

impl DenseHead for FcosHead {
    /// Class logits, distances, centreness logits.
    fn forward(&self, maps: &[Tensor<4>]) -> Outputs {
        let level = |i: usize, x: &Tensor<4>| {
            let of_class = self.cls_convs.forward(x);
            let of_box = self.reg_convs.forward(x);
            let middle = if self.centerness_on_reg {
                of_box.clone()
            } else {
                of_class.clone()
            };
            let distances = self.scales[i].forward(self.conv_reg.forward(of_box));
            let distances = if self.norm_on_bbox {
                distances.clamp_min(0.0) * self.points.strides()[i][0] as f32
            } else {
                distances.exp()
            };
            let logits = match &self.conv_cls {
                Classifier::Plain(conv) => conv.forward(of_class),
                Classifier::Normed(conv) => conv.forward(of_class),
            };
            [logits, distances, self.conv_centerness.forward(middle)]
        };
        Outputs::of(maps, level)
    }

    fn candidates(&self, outputs: &Outputs, _: &Pictures) -> Candidates {
        let level = |(i, [logits, distances, centreness]): (usize, [&Tensor<4>; 3])| {
            let [n, _, h, w] = distances.dims();
            let [x, y] = self.points.grid(i, [h, w], &distances.device());
            let side = |k: usize| distances.clone().slice([0..n, k..k + 1, 0..h, 0..w]);
            let boxes = vec![
                x.clone() - side(0),
                y.clone() - side(1),
                x + side(2),
                y + side(3),
            ];
            Level {
                scores: logits.clone(),
                activation: self.scores.activation,
                factor: Some(activation::sigmoid(centreness.clone())),
                boxes: Tensor::cat(boxes, 1),
                coder: Coder::Xyxy {
                    clip: self.clip_border,
                    each: 1,
                },
            }
        };
        Candidates {
            levels: outputs.levels().enumerate().map(level).collect(),
            select: self.select.clone(),
        }
    }

    fn losses(&self, outputs: &Outputs, _: &Pictures, targets: &Targets) -> Losses {
        let losses = self.losses.as_ref().expect(FOR_TRAINING);
        let classes = self.classes();
        losses.of(&self.points, outputs, targets, classes, self.norm_on_bbox)
    }

    fn classes(&self) -> usize {
        self.select.classes
    }

    fn outputs_each(&self) -> usize {
        self.scores.channels + 5
    }
}
