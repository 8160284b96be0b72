//! [`ResLayer`]: one stage of a ResNet by itself, which the second stage of a detector on `C4` maps goes through (He et al. 2016, arXiv 1512.03385,
//! appendix), as MMDetection 3.3.0's `shared_heads/res_layer.py` builds it. Tensors are those of the stage in a whole ResNet.
//!
//! Shapes: x `[R, channels_in, H, W]`, output `[R, channels_out, ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::Tensor;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::resnet::{Block, BlockPlace, DEPTHS, Extras, MiddleConfig, StagePlan, Style};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{Activation, ConvStyle, Init, InitRule, NormConfig};
use crate::limits::Pixels;

/// Channels inside a block of the first stage.
const BASE: usize = 64;

/// The keys of `type='ResLayer'`.
#[derive(Debug, Deserialize)]
struct ResLayerConfig {
    depth: i64,
    /// Which stage, from 0.
    stage: Option<Bounded<1, 3>>,
    stride: Option<Pixels>,
    dilation: Option<Pixels>,
    style: Option<String>,
    norm_eval: Option<bool>,
    pretrained: Option<String>,
    dcn: Option<IgnoredAny>,
}

/// A stage of a ResNet.
#[derive(Debug)]
pub struct ResLayer {
    blocks: Vec<Block>,
    channels: [usize; 2],
    stride: usize,
}

impl ResLayer {
    /// # Errors
    /// A key is wrong.
    pub fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: ResLayerConfig = node.read_knowing(&["norm_cfg", "with_cp", "init_cfg"])?;
        if config.dcn.is_some() {
            let message = "deformable convolutions are not supported yet";
            return Err(unsupported(node, "dcn", message, ""));
        }
        let known = &DEPTHS[..5];
        let Some((depth, blocks)) = known.iter().find(|(depth, _)| *depth == config.depth) else {
            let message = format!("ResLayer has no depth {}", config.depth);
            let known: Vec<_> = known.iter().map(|(depth, _)| depth.to_string()).collect();
            let known = format!("known are {}", known.join(", "));
            return Err(error_at(node, "depth", message, &known));
        };
        let caffe = match config.style.as_deref() {
            None | Some("pytorch") => false,
            Some("caffe") => true,
            Some(other) => {
                let message = format!("`style` is '{other}', must be 'pytorch' or 'caffe'");
                return Err(error_at(node, "style", message, ""));
            }
        };
        let bottleneck = *depth >= 50;
        let expansion = if bottleneck { 4 } else { 1 };
        let stage = config.stage.map_or(3, |stage| stage.get());
        let width = BASE << stage;
        let plan = StagePlan {
            blocks: blocks[stage],
            channels: width * expansion,
            width,
            groups: 1,
            stride: config.stride.map_or(2, Pixels::get),
            dilation: config.dilation.map_or(1, Pixels::get),
        };
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let conv = ConvStyle::read(node, defaults, &[width, plan.channels])?;
        if conv.norm.is_none() {
            return Err(error_at(
                node,
                "norm_cfg",
                "ResLayer needs a `norm_cfg`",
                "",
            ));
        }
        let style = Style {
            conv,
            middle: MiddleConfig::Conv,
            caffe,
            avg_down: false,
            pools_always: true,
            zero_residual: false,
            se_ratio: None,
        };
        let params = &build.params;
        match &config.pretrained {
            Some(name) if build.wants_weights() => build.pretrained(node, name, None, params)?,
            Some(_) => {}
            None if node.get("init_cfg").is_none_or(Node::is_none) => {
                params.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
                let norms = ["_BatchNorm", "GroupNorm"];
                params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
            }
            None => {}
        }
        let channels_in = (BASE << (stage - 1)) * expansion;
        let at = params.at(format!("layer{}", stage + 1));
        let extras = Extras::default();
        let block = |i: usize| {
            let place = BlockPlace {
                channels_in: if i == 0 { channels_in } else { plan.channels },
                bottleneck,
                first: i == 0,
                drop_path_rate: 0.0,
                extras: &extras,
            };
            Block::new(place, &plan, &style, &at.at(i))
        };
        let blocks = (0..plan.blocks).map(block).collect();
        if config.norm_eval.unwrap_or(true) {
            params.evaluate();
        }
        Ok(Self {
            blocks,
            channels: [channels_in, plan.channels],
            stride: plan.stride,
        })
    }

    /// See the shapes above.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks
            .iter()
            .fold(x, |x, block| block.forward(x, None, None))
    }

    /// Channels that come in, and that go out.
    pub fn channels(&self) -> [usize; 2] {
        self.channels
    }

    /// Of a side that comes in what goes out.
    pub fn side(&self, side: usize) -> usize {
        side.div_ceil(self.stride)
    }
}
