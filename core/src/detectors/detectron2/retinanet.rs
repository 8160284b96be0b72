//! Detectron2's RetinaNet (Lin et al. 2017, arXiv 1708.02002, section 4): what comes after the backbone.
//!
//! Shapes: A anchors in a cell, K classes: logits `[N, A * K, H, W]`, deltas `[N, A * 4, H, W]`.

use burn::tensor::Tensor;
use smalti_shaders::reference::nms::NmsConfig;

use super::anchors::{Anchors, coder};
use super::backbone::{Backbone, norm};
use super::learning::{Dense, Matcher, RetinaLearning};
use super::settings::{self, RetinaNet as RetinaSettings};
use crate::box_coders::DeltaCoder;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::heads::Outputs;
use crate::initializers::bias_with_prob;
use crate::layers::{Activation, ConvConfig, ConvNormAct, Init, InitRule, Params};
use crate::losses::Losses;
use crate::ops::detections::{Candidates, Group, Labels, Scoring, Select};
use crate::targets::Targets;

/// RetinaNet's head.
#[derive(Debug)]
pub struct RetinaNet {
    places: Vec<usize>,
    cls_subnet: Vec<ConvNormAct>,
    bbox_subnet: Vec<ConvNormAct>,
    cls_score: ConvNormAct,
    bbox_pred: ConvNormAct,
    anchors: Anchors,
    coder: DeltaCoder,
    select: Select,
    learning: RetinaLearning,
}

impl RetinaNet {
    /// Reads `MODEL.RETINANET`.
    pub fn read(whole: &Node, backbone: &Backbone, at: &Params) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.RETINANET").unwrap_or(whole);
        let config: RetinaSettings = settings::at(whole, "MODEL.RETINANET")?;
        let test: settings::Test = settings::at(whole, "TEST")?;
        let (places, features) = backbone.select(group, &config.in_features)?;
        let anchors = Anchors::read(whole, &features)?;
        let classes = config.num_classes.get();
        let matcher = Matcher::read(group, &config.iou_thresholds, &config.iou_labels, true)?;
        if !(config.prior_prob > 0.0 && config.prior_prob < 1.0) {
            let message = "`PRIOR_PROB` is between 0 and 1";
            return Err(error_at(group, "PRIOR_PROB", message, ""));
        }
        let learning = RetinaLearning::read(group, &config, matcher)?;
        let width = features[0].channels;
        let norm = norm(group, &config.norm, &[width])?;
        if norm.as_ref().is_some_and(|n| n.kind == "BN") {
            let message = "batch norm with statistics of each level is not supported";
            return Err(unsupported(group, "NORM", message, "write '' or 'GN'"));
        }

        let at = at.at("head");
        at.initialise(InitRule::of(&["Conv2d"], Init::normal(0.01)));
        let prior = InitRule::all(Init::normal(0.01), bias_with_prob(config.prior_prob));
        at.at("cls_score").initialise(prior);
        // Convolution, norm, activation are entries of one list.
        let step = if norm.is_some() { 3 } else { 2 };
        let subnet = |name: &str| -> Vec<ConvNormAct> {
            let at = at.at(name);
            let layer = |i: usize| {
                let conv = ConvConfig::new(width, width, 3).pad(1).bias(true);
                let conv = conv.act(Some(Activation::Relu));
                let next = at.at(i * step + 1);
                conv.init(&at.at(i * step), norm.as_ref().map(|norm| (norm, &next)))
            };
            (0..config.num_convs.get()).map(layer).collect()
        };
        let (cls_subnet, bbox_subnet) = (subnet("cls_subnet"), subnet("bbox_subnet"));
        let a = anchors.per_cell();
        let last = |name, channels| {
            ConvConfig::new(width, channels, 3)
                .pad(1)
                .init(&at.at(name), None)
        };
        Ok(Self {
            places,
            cls_subnet,
            bbox_subnet,
            cls_score: last("cls_score", a * classes),
            bbox_pred: last("bbox_pred", a * 4),
            anchors,
            coder: coder(config.bbox_reg_weights, false),
            select: Select {
                classes,
                score_thr: config.score_thresh_test,
                at_least: false,
                labels: Labels::Every,
                nms_pre: config.topk_candidates_test.get() as i64,
                min_bbox_size: -1.0,
                group: Group::Class,
                nms: NmsConfig {
                    iou_threshold: config.nms_thresh_test,
                    ..NmsConfig::default()
                },
                max_per_img: test.detections_per_image,
            },
            learning,
        })
    }

    /// Classes.
    pub fn classes(&self) -> usize {
        self.select.classes
    }

    /// Numbers for one place of a map.
    pub fn outputs_each(&self) -> usize {
        self.anchors.per_cell() * (self.select.classes + 4)
    }

    /// Logits, deltas.
    pub fn forward(&self, maps: &[Tensor<4>]) -> Outputs {
        let maps: Vec<_> = self.places.iter().map(|i| maps[*i].clone()).collect();
        let subnet = |layers: &[ConvNormAct], x: &Tensor<4>| {
            let layers = layers.iter();
            layers.fold(x.clone(), |x, conv| conv.forward(x))
        };
        Outputs::of(&maps, |_, x| {
            [
                self.cls_score.forward(subnet(&self.cls_subnet, x)),
                self.bbox_pred.forward(subnet(&self.bbox_subnet, x)),
            ]
        })
    }

    /// What instances are chosen from.
    pub fn candidates(&self, outputs: &Outputs) -> Candidates {
        let by = Scoring::Sigmoid;
        self.anchors
            .candidates(outputs, by, &self.coder, &self.select)
    }

    /// `loss_cls` and `loss_box_reg`.
    pub fn losses(&self, outputs: &Outputs, targets: &Targets) -> Losses {
        let dense = Dense::new(&self.anchors, &self.coder, outputs, targets.pictures.len());
        self.learning.losses(&dense, self.select.classes, targets)
    }
}
