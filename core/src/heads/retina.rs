//! RetinaNet's head (Lin et al. 2017, arXiv 1708.02002, section 4) as MMDetection 3.3.0 builds it: two stacks of convolutions, one for classes
//! and one for boxes, shared by all levels.
//!
//! Shapes: A anchors in a cell, K classes (and background, with softmax): logits `[N, A * K, H, W]`, deltas `[N, A * 4, H, W]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::anchor_losses::AnchorLosses;
use super::anchored::Anchored;
use super::class_scores::ClassScores;
use super::tower::{Tower, TowerConfig, last};
use super::{
    DenseHead, FOR_TRAINING, Given, OF_ANCHORS, OF_STYLE, OTHERS, Outputs, check_channels,
    relu_style, test_cfg, training,
};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::{ConvNormAct, ConvStyle};
use crate::limits::{Channels, Layers};
use crate::losses::{Losses, register_buffers};
use crate::ops::{Candidates, Select};
use crate::priors::AnchorGenerator;
use crate::targets::Targets;

/// The keys of `type='RetinaHead'`.
#[derive(Debug, Deserialize)]
struct RetinaHeadConfig {
    num_classes: Channels,
    in_channels: Channels,
    stacked_convs: Option<Layers>,
    feat_channels: Option<Channels>,
}

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn DenseHead>, Diagnostics> {
    Ok(Box::new(RetinaHead::read(node, given, build)?))
}

/// RetinaNet's head.
#[derive(Debug)]
pub struct RetinaHead {
    cls_convs: Tower,
    reg_convs: Tower,
    retina_cls: ConvNormAct,
    retina_reg: ConvNormAct,
    scores: ClassScores,
    anchors: Anchored,
    select: Select,
    losses: Option<AnchorLosses>,
}

impl RetinaHead {
    fn read(node: &Node, given: Given, build: &Build) -> Result<Self, Diagnostics> {
        let config: RetinaHeadConfig =
            node.read_knowing(&[OTHERS, OF_ANCHORS, OF_STYLE].concat())?;
        let (classes, channels_in) = (config.num_classes.get(), config.in_channels.get());
        check_channels(node, channels_in, &given.features)?;
        let width = config.feat_channels.map_or(256, Channels::get);
        let style = ConvStyle::read(node, relu_style(None), &[width])?;
        let anchors = Anchored::read(node, &given, build, AnchorGenerator::retina)?;
        let scores = ClassScores::read(node, classes)?;
        let select = test_cfg::read(given.test_cfg, classes)?;

        let losses = training(build, || AnchorLosses::read(node, &given, build))?;

        super::initial(node, build, Some("retina_cls"));
        let params = &build.params;
        register_buffers(node, "loss_cls", build);
        register_buffers(node, "loss_bbox", build);
        let tower = TowerConfig {
            layers: config.stacked_convs.map_or(4, Layers::get),
            channels_in,
            channels: width,
            style,
            bias: None,
            depthwise: false,
        };
        let cls_convs = tower.init(&params.at("cls_convs"));
        let reg_convs = tower.init(&params.at("reg_convs"));
        let lists = ["cls_convs", "reg_convs"];
        params.built_in_order(
            (0..tower.layers).flat_map(|i| lists.map(|list| format!("{list}.{i}"))),
        );
        let from = tower.channels_out();
        let (a, at) = (anchors.per_cell(), |name| params.at(name));
        Ok(Self {
            cls_convs,
            reg_convs,
            retina_cls: last(from, a * scores.channels, 3, &at("retina_cls")),
            retina_reg: last(from, a * 4, 3, &at("retina_reg")),
            scores,
            anchors,
            select,
            losses,
        })
    }
}

impl DenseHead for RetinaHead {
    /// Class logits, deltas.
    fn forward(&self, maps: &[Tensor<4>]) -> Outputs {
        Outputs::of(maps, |_, x| {
            [
                self.retina_cls.forward(self.cls_convs.forward(x)),
                self.retina_reg.forward(self.reg_convs.forward(x)),
            ]
        })
    }

    fn candidates(&self, outputs: &Outputs, _: &Pictures) -> Candidates {
        self.anchors.candidates(outputs, self.scores, &self.select)
    }

    fn losses(&self, outputs: &Outputs, pictures: &Pictures, targets: &Targets) -> Losses {
        let losses = self.losses.as_ref().expect(FOR_TRAINING);
        let names = ["loss_cls", "loss_bbox"];
        let classes = self.classes();
        losses.of(&self.anchors, outputs, pictures, targets, names, classes)
    }

    fn classes(&self) -> usize {
        self.select.classes
    }

    fn outputs_each(&self) -> usize {
        self.anchors.per_cell() * (self.scores.channels + 4)
    }
}
