//! Detectron2's region proposal network (Ren et al. 2015, arXiv 1506.01497, section 3.1).
//!
//! Shapes: A anchors in a cell: logits `[N, A, H, W]`, deltas `[N, A * 4, H, W]`.

use burn::tensor::Tensor;

use super::anchors::{Anchors, coder};
use super::backbone::Backbone;
use super::learning::{Dense, Matcher, RpnLearning};
use super::settings::{self, ProposalGenerator, Rpn as RpnSettings};
use crate::batch::Pictures;
use crate::box_coders::DeltaCoder;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::heads::Outputs;
use crate::layers::{Activation, ConvConfig, ConvNormAct, Init, InitRule, Params};
use crate::losses::Losses;
use crate::ops::detections::{Candidates, Group, Labels, Scoring, Select};
use crate::targets::Targets;
use smalti_shaders::reference::nms::NmsConfig;

/// Channels of a layer.
const MOST_WIDTH: i64 = 1 << 16;

/// A region proposal network.
#[derive(Debug)]
pub struct Rpn {
    places: Vec<usize>,
    convs: Vec<ConvNormAct>,
    objectness_logits: ConvNormAct,
    anchor_deltas: ConvNormAct,
    anchors: Anchors,
    coder: DeltaCoder,
    select: Select,
    select_to_learn: Select,
    learning: RpnLearning,
}

impl Rpn {
    /// Reads `MODEL.RPN` and `MODEL.PROPOSAL_GENERATOR`.
    pub fn read(whole: &Node, backbone: &Backbone, at: &Params) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.RPN").unwrap_or(whole);
        let config: RpnSettings = settings::at(whole, "MODEL.RPN")?;
        let generator: ProposalGenerator = settings::at(whole, "MODEL.PROPOSAL_GENERATOR")?;
        if generator.name != "RPN" {
            let group = whole.at("MODEL.PROPOSAL_GENERATOR").unwrap_or(whole);
            let message = format!(
                "the proposal generator `{}` is not supported",
                generator.name
            );
            return Err(unsupported(group, "NAME", message, "known is RPN"));
        }
        if config.head_name != "StandardRPNHead" {
            let message = format!("the head `{}` is not supported", config.head_name);
            return Err(unsupported(
                group,
                "HEAD_NAME",
                message,
                "known is StandardRPNHead",
            ));
        }
        let (places, features) = backbone.select(group, &config.in_features)?;
        let anchors = Anchors::read(whole, &features)?;
        let coder = coder(config.bbox_reg_weights, true);
        let matcher = Matcher::read(group, &config.iou_thresholds, &config.iou_labels, true)?;
        let learning = RpnLearning::read(group, &config, matcher, &at.at("sampler"))?;

        let at = at.at("rpn_head");
        at.initialise(InitRule::all(Init::normal(0.01), 0.0));
        let mut from = features[0].channels;
        let mut convs = Vec::new();
        let several = config.conv_dims.len() > 1;
        for (i, width) in config.conv_dims.iter().enumerate() {
            let width = match *width {
                -1 => from,
                1..=MOST_WIDTH => *width as usize,
                other => {
                    let message = format!("{other} is no number of channels");
                    return Err(error_at(
                        group,
                        "CONV_DIMS",
                        message,
                        "-1 is as many as come in",
                    ));
                }
            };
            let conv = ConvConfig::new(from, width, 3)
                .pad(1)
                .act(Some(Activation::Relu));
            let at = at.at("conv");
            let at = if several {
                at.at(format!("conv{i}"))
            } else {
                at
            };
            convs.push(conv.init(&at, None));
            from = width;
        }
        let a = anchors.per_cell();
        let last = |name, channels| ConvConfig::new(from, channels, 1).init(&at.at(name), None);
        let select = |before: settings::Count, after: settings::Count| Select {
            classes: 1,
            score_thr: -1.0,
            at_least: false,
            labels: Labels::Every,
            nms_pre: before.get() as i64,
            min_bbox_size: generator.min_size,
            group: Group::Level,
            nms: NmsConfig {
                iou_threshold: config.nms_thresh,
                ..NmsConfig::default()
            },
            max_per_img: after.get() as i64,
        };
        Ok(Self {
            places,
            objectness_logits: last("objectness_logits", a),
            anchor_deltas: last("anchor_deltas", a * 4),
            convs,
            select: select(config.pre_nms_topk_test, config.post_nms_topk_test),
            select_to_learn: select(config.pre_nms_topk_train, config.post_nms_topk_train),
            anchors,
            coder,
            learning,
        })
    }

    /// Numbers for one place of a map.
    pub fn outputs_each(&self) -> usize {
        self.anchors.per_cell() * 5
    }

    /// Logits, deltas.
    pub fn forward(&self, maps: &[Tensor<4>]) -> Outputs {
        let maps: Vec<_> = self.places.iter().map(|i| maps[*i].clone()).collect();
        Outputs::of(&maps, |_, x| {
            let x = self.convs.iter().fold(x.clone(), |x, conv| conv.forward(x));
            [
                self.objectness_logits.forward(x.clone()),
                self.anchor_deltas.forward(x),
            ]
        })
    }

    /// What proposals are chosen from; `learning` is for a second stage that learns.
    pub fn candidates(&self, outputs: &Outputs, learning: bool) -> Candidates {
        let select = if learning {
            &self.select_to_learn
        } else {
            &self.select
        };
        let by = Scoring::Order;
        self.anchors.candidates(outputs, by, &self.coder, select)
    }

    /// `loss_rpn_cls` and `loss_rpn_loc`.
    pub fn losses(&self, outputs: &Outputs, pictures: &Pictures, targets: &Targets) -> Losses {
        let dense = Dense::new(&self.anchors, &self.coder, outputs, targets.pictures.len());
        self.learning.losses(&dense, pictures, targets)
    }
}
