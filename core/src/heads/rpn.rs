//! The region proposal network's head (Ren et al. 2015, arXiv 1506.01497, section 3.1; by level as in Lin et al. 2017, arXiv 1612.03144) as
//! MMDetection 3.3.0 builds it: one convolution, then object or not and a box for every anchor. Boxes of each level suppress each other.
//!
//! Shapes: A anchors in a cell: logits `[N, A, H, W]` (`[N, A * 2, H, W]` with softmax), deltas `[N, A * 4, H, W]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::anchor_losses::AnchorLosses;
use super::anchored::Anchored;
use super::class_scores::ClassScores;
use super::tower::{Tower, TowerConfig, last};
use super::{
    DenseHead, FOR_TRAINING, Given, OF_ANCHORS, OTHERS, Outputs, check_channels, relu_style,
    test_cfg, training,
};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvConfig, ConvNormAct};
use crate::limits::{Channels, Layers};
use crate::losses::{Losses, register_buffers};
use crate::ops::detections::{Candidates, Group, Select};
use crate::priors::AnchorGenerator;
use crate::targets::Targets;

/// The keys of `type='RPNHead'`.
#[derive(Debug, Deserialize)]
struct RpnHeadConfig {
    in_channels: Channels,
    num_classes: Option<Channels>,
    num_convs: Option<Layers>,
    feat_channels: Option<Channels>,
}

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn DenseHead>, Diagnostics> {
    Ok(Box::new(RpnHead::read(node, given, build)?))
}

/// An RPN's head.
#[derive(Debug)]
pub struct RpnHead {
    convs: Convs,
    rpn_cls: ConvNormAct,
    rpn_reg: ConvNormAct,
    scores: ClassScores,
    anchors: Anchored,
    select: Select,
    /// Of what a second stage learns from.
    select_to_learn: Select,
    losses: Option<AnchorLosses>,
}

/// `rpn_conv`: the original's state dict names one otherwise than several.
#[derive(Debug)]
enum Convs {
    One(Box<ConvNormAct>),
    Several(Tower),
}

impl RpnHead {
    fn read(node: &Node, given: Given, build: &Build) -> Result<Self, Diagnostics> {
        let config: RpnHeadConfig = node.read_knowing(&[OTHERS, OF_ANCHORS].concat())?;
        check_channels(node, config.in_channels.get(), &given.features)?;
        if config.num_classes.is_some_and(|n| n.get() != 1) {
            let message = "an RPN tells objects from background: `num_classes` must be 1";
            return Err(error_at(node, "num_classes", message, "leave it out"));
        }
        let anchors = Anchored::read(node, &given, build, AnchorGenerator::by_default)?;
        let scores = ClassScores::read(node, 1)?;
        let select_to_learn = select(given.proposal_cfg.unwrap_or(given.test_cfg))?;
        let select = select(given.test_cfg)?;

        let losses = training(build, || AnchorLosses::read(node, &given, build))?;

        super::initial(node, build, None);
        let params = &build.params;
        register_buffers(node, "loss_cls", build);
        register_buffers(node, "loss_bbox", build);
        let (from, width) = (
            config.in_channels.get(),
            config.feat_channels.map_or(256, Channels::get),
        );
        let at = params.at("rpn_conv");
        let convs = match config.num_convs.map_or(1, Layers::get) {
            0 | 1 => {
                let conv = ConvConfig::new(from, width, 3).pad(1);
                Convs::One(Box::new(conv.act(Some(Activation::Relu)).init(&at, None)))
            }
            layers => {
                let tower = TowerConfig {
                    layers,
                    channels_in: from,
                    channels: width,
                    style: relu_style(None),
                    bias: None,
                    depthwise: false,
                };
                Convs::Several(tower.init(&at))
            }
        };
        let (a, at) = (anchors.per_cell(), |name| params.at(name));
        Ok(Self {
            convs,
            rpn_cls: last(width, a * scores.channels, 1, &at("rpn_cls")),
            rpn_reg: last(width, a * 4, 1, &at("rpn_reg")),
            scores,
            anchors,
            select,
            select_to_learn,
            losses,
        })
    }
}

/// An RPN has no threshold, and takes all places where `nms_pre` is not positive.
fn select(test_cfg: &Node) -> Result<Select, Diagnostics> {
    let select = test_cfg::read(test_cfg, 1)?;
    Ok(Select {
        score_thr: -1.0,
        nms_pre: if select.nms_pre > 0 {
            select.nms_pre
        } else {
            i64::MAX
        },
        group: Group::Level,
        ..select
    })
}

impl DenseHead for RpnHead {
    /// Object logits, deltas.
    fn forward(&self, maps: &[Tensor<4>]) -> Outputs {
        Outputs::of(maps, |_, x| {
            let x = match &self.convs {
                Convs::One(conv) => conv.forward(x.clone()),
                Convs::Several(convs) => convs.forward(x),
            };
            [self.rpn_cls.forward(x.clone()), self.rpn_reg.forward(x)]
        })
    }

    fn candidates(&self, outputs: &Outputs, _: &Pictures) -> Candidates {
        self.anchors.candidates(outputs, self.scores, &self.select)
    }

    fn proposals(&self, outputs: &Outputs, _: &Pictures) -> Candidates {
        let select = &self.select_to_learn;
        self.anchors.candidates(outputs, self.scores, select)
    }

    fn losses(&self, outputs: &Outputs, pictures: &Pictures, targets: &Targets) -> Losses {
        let losses = self.losses.as_ref().expect(FOR_TRAINING);
        let names = ["loss_rpn_cls", "loss_rpn_bbox"];
        let classes = self.classes();
        losses.of(
            &self.anchors,
            outputs,
            pictures,
            &targets.one_class(),
            names,
            classes,
        )
    }

    fn classes(&self) -> usize {
        1
    }

    fn labels(&self) -> Option<usize> {
        None
    }

    fn outputs_each(&self) -> usize {
        self.anchors.per_cell() * (self.scores.channels + 4)
    }
}
