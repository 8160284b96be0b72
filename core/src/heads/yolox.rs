//! YOLOX's head (Ge et al. 2021, arXiv 2107.08430, section 2.1) as MMDetection 3.3.0 builds it: each level has stacks of its own for classes
//! and for boxes; a cell predicts classes, a box around its corner, and whether there is an object at all.
//!
//! Shapes: K classes: logits `[N, K, H, W]`, boxes `[N, 4, H, W]` (shift of the middle in strides, logarithm of the size in strides),
//! objectness `[N, 1, H, W]`.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::tower::{Tower, TowerConfig, last};
use super::yolox_losses::YoloxLosses;
use super::{
    DenseHead, FOR_TRAINING, Given, OF_STYLE, OTHERS, Outputs, check_channels, test_cfg, training,
};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::initializers::bias_with_prob;
use crate::layers::{ConvBias, ConvNormAct, ConvStyle, Init, InitRule};
use crate::limits::{Channels, Layers, List, Pixels};
use crate::losses::{Losses, register_buffers};
use crate::ops::detections::{Candidates, Coder, Labels, Level, Scoring, Select};
use crate::priors::PointGenerator;
use crate::targets::Targets;

/// The keys of `type='YOLOXHead'`.
#[derive(Debug, Deserialize)]
struct YoloxHeadConfig {
    num_classes: Channels,
    in_channels: Channels,
    feat_channels: Option<Channels>,
    stacked_convs: Option<Layers>,
    strides: Option<List<Pixels>>,
    use_depthwise: Option<bool>,
    dcn_on_last_conv: Option<bool>,
    conv_bias: Option<ConvBias>,
}

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn DenseHead>, Diagnostics> {
    Ok(Box::new(YoloxHead::read(node, given, build)?))
}

/// YOLOX's head; each list has one entry a level.
#[derive(Debug)]
pub struct YoloxHead {
    cls_convs: Vec<Tower>,
    reg_convs: Vec<Tower>,
    conv_cls: Vec<ConvNormAct>,
    conv_reg: Vec<ConvNormAct>,
    conv_obj: Vec<ConvNormAct>,
    points: PointGenerator,
    select: Select,
    losses: Option<YoloxLosses>,
}

impl YoloxHead {
    fn read(node: &Node, given: Given, build: &Build) -> Result<Self, Diagnostics> {
        let config: YoloxHeadConfig =
            node.read_knowing(&[OTHERS, OF_STYLE, &["act_cfg", "loss_obj", "loss_l1"]].concat())?;
        let (classes, channels_in) = (config.num_classes.get(), config.in_channels.get());
        check_channels(node, channels_in, &given.features)?;
        if config.dcn_on_last_conv == Some(true) {
            let message = "deformable convolution is not supported yet";
            return Err(unsupported(node, "dcn_on_last_conv", message, ""));
        }
        let strides = config
            .strides
            .map_or(vec![8, 16, 32], |list| list.numbers());
        super::check_strides(node, &strides, &given.features)?;
        let width = config.feat_channels.map_or(256, Channels::get);
        let style = ConvStyle::read(node, ConvStyle::batch_swish(), &[width])?;
        let select = select(given.test_cfg, classes)?;

        let losses = training(build, || YoloxLosses::read(node, &given, build))?;

        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::TORCH))
        });
        let params = &build.params;
        // Whatever `init_cfg` says.
        for name in ["multi_level_conv_cls", "multi_level_conv_obj"] {
            let prior = bias_with_prob(super::FOREGROUND);
            params.at(name).initialise(InitRule::bias(prior));
        }
        for loss in ["loss_cls", "loss_bbox", "loss_obj", "loss_l1"] {
            register_buffers(node, loss, build);
        }
        let tower = TowerConfig {
            layers: config.stacked_convs.map_or(2, Layers::get),
            channels_in,
            channels: width,
            style,
            bias: config.conv_bias.and_then(ConvBias::said),
            depthwise: config.use_depthwise.unwrap_or(false),
        };
        let list = |name: &'static str| (0..strides.len()).map(move |i| params.at(name).at(i));
        let towers = |name| -> Vec<_> { list(name).map(|at| tower.init(&at)).collect() };
        let lasts = |name: &'static str, channels: usize| -> Vec<_> {
            list(name).map(|at| last(width, channels, 1, &at)).collect()
        };
        // In the order of the original's state dict, which goes list by list, where building goes level by level.
        let lists = [
            "multi_level_cls_convs",
            "multi_level_reg_convs",
            "multi_level_conv_cls",
            "multi_level_conv_reg",
            "multi_level_conv_obj",
        ];
        let cls_convs = towers(lists[0]);
        let reg_convs = towers(lists[1]);
        let conv_cls = lasts(lists[2], classes);
        let conv_reg = lasts(lists[3], 4);
        let conv_obj = lasts(lists[4], 1);
        params.built_in_order(
            (0..strides.len()).flat_map(|i| lists.map(|list| format!("{list}.{i}"))),
        );
        Ok(Self {
            cls_convs,
            reg_convs,
            conv_cls,
            conv_reg,
            conv_obj,
            points: PointGenerator::new(strides.iter().map(|s| [*s; 2]).collect(), 0.0),
            select,
            losses,
        })
    }
}

/// YOLOX takes the best class of every cell, all that reach the threshold, and as many as NMS leaves.
fn select(test_cfg: &Node, classes: usize) -> Result<Select, Diagnostics> {
    if test_cfg.get("score_thr").is_none() {
        let message = "the key `score_thr` is missing";
        return Err(error_at(
            test_cfg,
            "score_thr",
            message,
            "for example score_thr=0.01",
        ));
    }
    Ok(Select {
        at_least: true,
        labels: Labels::Best,
        nms_pre: i64::MAX,
        min_bbox_size: -1.0,
        max_per_img: i64::MAX,
        ..test_cfg::read_unlimited(test_cfg, classes)?
    })
}

/// The boxes of a level, `[N, 4, H, W]`, xyxy in pixels of the batch.
pub(super) fn decode(points: &PointGenerator, level: usize, boxes: &Tensor<4>) -> Tensor<4> {
    let [n, _, h, w] = boxes.dims();
    let stride = points.strides()[level][0] as f32;
    let [x, y] = points.grid(level, [h, w], &boxes.device());
    let number = |k: usize| boxes.clone().slice([0..n, k..k + 1, 0..h, 0..w]);
    let (x, y) = (number(0) * stride + x, number(1) * stride + y);
    let half = |k: usize| number(k).exp() * stride / 2.0;
    let (half_w, half_h) = (half(2), half(3));
    let corners = vec![
        x.clone() - half_w.clone(),
        y.clone() - half_h.clone(),
        x + half_w,
        y + half_h,
    ];
    Tensor::cat(corners, 1)
}

impl DenseHead for YoloxHead {
    /// Class logits, boxes, objectness logits.
    fn forward(&self, maps: &[Tensor<4>]) -> Outputs {
        Outputs::of(maps, |i, x| {
            let of_class = self.cls_convs[i].forward(x);
            let of_box = self.reg_convs[i].forward(x);
            [
                self.conv_cls[i].forward(of_class),
                self.conv_reg[i].forward(of_box.clone()),
                self.conv_obj[i].forward(of_box),
            ]
        })
    }

    fn candidates(&self, outputs: &Outputs, _: &Pictures) -> Candidates {
        let level = |(i, [logits, boxes, objectness]): (usize, [&Tensor<4>; 3])| {
            let object = activation::sigmoid(objectness.clone());
            Level {
                scores: activation::sigmoid(logits.clone()) * object,
                activation: Scoring::None,
                factor: None,
                boxes: decode(&self.points, i, boxes),
                coder: Coder::Xyxy {
                    clip: false,
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
        losses.of(&self.points, outputs, targets)
    }

    fn switch_loss(&self, name: &str, on: bool) -> bool {
        let losses = self.losses.as_ref().expect(FOR_TRAINING);
        losses.switch(name, on)
    }

    fn classes(&self) -> usize {
        self.select.classes
    }

    fn outputs_each(&self) -> usize {
        self.select.classes + 5
    }
}
