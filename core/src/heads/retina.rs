//! RetinaNet's head (Lin et al. 2017, arXiv 1708.02002, section 4) as MMDetection 3.3.0 builds it: two stacks of convolutions, one for classes
//! and one for boxes, shared by all levels.
//!
//! Shapes: A anchors in a cell, K classes (and background, with softmax): logits `[N, A * K, H, W]`, deltas `[N, A * 4, H, W]`.

use burn::tensor::Tensor;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{DenseHead, HeadOutput, Inputs};
use crate::box_coders::{self, DeltaCoder};
use crate::build::Build;
use crate::config::{Diagnostic, Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct, Init, NormConfig, Params,
};
use crate::priors::AnchorGenerator;

/// The keys of `type='RetinaHead'`.
#[derive(Debug, Deserialize)]
struct RetinaHeadConfig {
    num_classes: usize,
    in_channels: usize,
    stacked_convs: Option<usize>,
    feat_channels: Option<usize>,
    conv_cfg: Option<ConvLayerConfig>,
    norm_cfg: Option<NormConfig>,
    // Read from the tree by their own readers.
    #[serde(rename = "anchor_generator")]
    _anchor_generator: Option<IgnoredAny>,
    #[serde(rename = "bbox_coder")]
    _bbox_coder: Option<IgnoredAny>,
    #[serde(rename = "loss_cls")]
    _loss_cls: Option<IgnoredAny>,
    // Of training only, or the detector's to give.
    #[serde(rename = "loss_bbox")]
    _loss_bbox: Option<IgnoredAny>,
    #[serde(rename = "reg_decoded_bbox")]
    _reg_decoded_bbox: Option<bool>,
    #[serde(rename = "train_cfg")]
    _train_cfg: Option<IgnoredAny>,
    #[serde(rename = "test_cfg")]
    _test_cfg: Option<IgnoredAny>,
    #[serde(rename = "init_cfg")]
    _init_cfg: Option<IgnoredAny>,
}

pub(super) fn build(
    node: &Node,
    inputs: Inputs,
    build: &Build,
) -> Result<Box<dyn DenseHead>, Diagnostics> {
    Ok(Box::new(RetinaHead::read(node, inputs, build)?))
}

/// The share of anchors that the untrained head takes for objects (section 4.1 of the paper).
const FOREGROUND_PRIOR: f32 = 0.01;

/// RetinaNet's head.
#[derive(Debug)]
pub struct RetinaHead {
    cls_convs: Vec<ConvNormAct>,
    reg_convs: Vec<ConvNormAct>,
    retina_cls: ConvNormAct,
    retina_reg: ConvNormAct,
    num_classes: usize,
    use_sigmoid: bool,
    priors: AnchorGenerator,
    coder: DeltaCoder,
}

impl RetinaHead {
    fn read(node: &Node, inputs: Inputs, build: &Build) -> Result<Self, Diagnostics> {
        let config: RetinaHeadConfig = node.read()?;
        let fail = |key, message: String, help: &str| Err(error_at(node, key, message, help));
        if let Some(feature) = inputs
            .features
            .iter()
            .find(|f| f.channels != config.in_channels)
        {
            let message = format!(
                "`RetinaHead` has `in_channels` {} but gets maps of {} channels",
                config.in_channels, feature.channels
            );
            return fail(
                "in_channels",
                message,
                &format!("write in_channels={}", feature.channels),
            );
        }
        if config.num_classes == 0 {
            return fail("num_classes", "`num_classes` must be at least 1".into(), "");
        }
        let feat_channels = config.feat_channels.unwrap_or(256);
        if let Some(norm) = &config.norm_cfg
            && let Err(message) = norm.check(&[feat_channels])
        {
            return fail("norm_cfg", message, "");
        }
        let kind = match config.conv_cfg.as_ref().map(|c| c.conv_kind()) {
            None => ConvKind::Plain,
            Some(Ok(kind)) => kind,
            Some(Err(message)) => return fail("conv_cfg", message, ""),
        };
        let present = |key| node.get(key).filter(|n| !n.is_none());
        let priors = match present("anchor_generator") {
            Some(node) => AnchorGenerator::read(node)?,
            None => AnchorGenerator::retina(),
        };
        let coder = match present("bbox_coder") {
            Some(node) => box_coders::read(node)?,
            None => DeltaCoder::default(),
        };
        if priors.levels().len() != inputs.features.len() {
            let levels = inputs.features.len();
            let strides = priors.levels().len();
            let message =
                format!("the anchor generator has {strides} strides for {levels} feature levels");
            let at = present("anchor_generator").unwrap_or(node);
            let at = at.get("strides").unwrap_or(at);
            return Err(vec![
                Diagnostic::error(message)
                    .at(&at.origin, format!("{strides} strides"))
                    .help(format!("the levels have strides {:?}", strides_of(inputs))),
            ]);
        }
        // The original asks the config's dict, not the loss, whose own default may differ.
        let use_sigmoid = match present("loss_cls") {
            None => true,
            Some(loss) => {
                let name = loss
                    .get("type")
                    .and_then(|t| t.as_type())
                    .unwrap_or_default();
                if name.ends_with("SeesawLoss") {
                    return fail("loss_cls", format!("`{name}` is not supported yet"), "");
                }
                loss.get("use_sigmoid")
                    .and_then(|s| s.as_bool())
                    .unwrap_or(false)
            }
        };

        let params = &build.params;
        register_loss_buffers(present("loss_cls"), &params.at("loss_cls"));
        register_loss_buffers(present("loss_bbox"), &params.at("loss_bbox"));
        let stacked = config.stacked_convs.unwrap_or(4);
        let stack = |list: &str| -> Vec<ConvNormAct> {
            let layer = |i| {
                let from = if i == 0 {
                    config.in_channels
                } else {
                    feat_channels
                };
                let at = params.at(list).at(i);
                let norm_at = config
                    .norm_cfg
                    .as_ref()
                    .map(|n| (n, at.at(n.abbreviation())));
                ConvConfig::new(from, feat_channels, 3)
                    .pad(1)
                    .kind(kind)
                    .act(Some(Activation::Relu))
                    .initial(Init::Normal { std: 0.01 }, 0.0)
                    .init(&at.at("conv"), norm_at.as_ref().map(|(n, at)| (*n, at)))
            };
            (0..stacked).map(layer).collect()
        };
        let cls_convs = stack("cls_convs");
        let reg_convs = stack("reg_convs");
        let width = if stacked == 0 {
            config.in_channels
        } else {
            feat_channels
        };
        let cls_out = config.num_classes + usize::from(!use_sigmoid);
        let last = |channels, name, bias| {
            ConvConfig::new(width, channels, 3)
                .pad(1)
                .initial(Init::Normal { std: 0.01 }, bias)
                .init(&params.at(name), None)
        };
        let prior_logit = (FOREGROUND_PRIOR / (1.0 - FOREGROUND_PRIOR)).ln();
        Ok(Self {
            cls_convs,
            reg_convs,
            retina_cls: last(priors.per_cell() * cls_out, "retina_cls", prior_logit),
            retina_reg: last(priors.per_cell() * 4, "retina_reg", 0.0),
            num_classes: config.num_classes,
            use_sigmoid,
            priors,
            coder,
        })
    }
}

/// The gradient-harmonising losses (Li et al. 2019, arXiv 1811.05181) keep histograms in the state dict; inference does not read them.
fn register_loss_buffers(loss: Option<&Node>, at: &Params) {
    let Some(loss) = loss else { return };
    let name = loss
        .get("type")
        .and_then(|t| t.as_type())
        .unwrap_or_default();
    if !matches!(name.rsplit('.').next(), Some("GHMC" | "GHMR")) {
        return;
    }
    let bins = loss
        .get("bins")
        .and_then(|b| b.as_int())
        .unwrap_or(10)
        .clamp(0, 1 << 16) as usize;
    at.buffer("edges", [bins + 1], Init::Constant(0.0));
    if loss
        .get("momentum")
        .and_then(|m| m.as_float())
        .unwrap_or(0.0)
        > 0.0
    {
        at.buffer("acc_sum", [bins], Init::Constant(0.0));
    }
}

fn strides_of(inputs: Inputs) -> Vec<usize> {
    inputs.features.iter().map(|f| f.stride).collect()
}

impl DenseHead for RetinaHead {
    fn forward(&self, inputs: &[Tensor<4>]) -> HeadOutput {
        let run = |convs: &[ConvNormAct], last: &ConvNormAct, x: &Tensor<4>| {
            last.forward(convs.iter().fold(x.clone(), |x, conv| conv.forward(x)))
        };
        let logits = inputs
            .iter()
            .map(|x| run(&self.cls_convs, &self.retina_cls, x));
        let deltas = inputs
            .iter()
            .map(|x| run(&self.reg_convs, &self.retina_reg, x));
        HeadOutput {
            cls_logits: logits.collect(),
            deltas: deltas.collect(),
        }
    }

    fn num_classes(&self) -> usize {
        self.num_classes
    }

    fn use_sigmoid(&self) -> bool {
        self.use_sigmoid
    }

    fn priors(&self) -> &AnchorGenerator {
        &self.priors
    }

    fn coder(&self) -> &DeltaCoder {
        &self.coder
    }
}
