//! MobileNetV3 (Howard et al. 2019, arXiv 1905.02244) as MMPretrain 1.2.0 builds it: `layer0` is the stem, `layer1..` the
//! inverted residual blocks, and the last layer a 1x1 convolution. `out_indices` counts all of them.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NormConfig, Params,
    SqueezeExcite, make_divisible,
};
use crate::limits::{Index, List};

/// The keys of `type='mmpretrain.MobileNetV3'`.
#[derive(Debug, Deserialize)]
struct MobileNetV3Config {
    arch: Option<String>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

/// Filter size, inner channels, output channels, squeeze-and-excite, hard swish (else ReLU), stride.
type BlockRow = (usize, usize, usize, bool, bool, usize);

const SMALL: [BlockRow; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];
const SMALL_075: [BlockRow; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 32, true, true, 2),
    (5, 192, 32, true, true, 1),
    (5, 192, 32, true, true, 1),
    (5, 96, 40, true, true, 1),
    (5, 120, 40, true, true, 1),
    (5, 240, 72, true, true, 2),
    (5, 432, 72, true, true, 1),
    (5, 432, 72, true, true, 1),
];
const SMALL_050: [BlockRow; 11] = [
    (3, 16, 8, true, false, 2),
    (3, 40, 16, false, false, 2),
    (3, 56, 16, false, false, 1),
    (5, 64, 24, true, true, 2),
    (5, 144, 24, true, true, 1),
    (5, 144, 24, true, true, 1),
    (5, 72, 24, true, true, 1),
    (5, 72, 24, true, true, 1),
    (5, 144, 48, true, true, 2),
    (5, 288, 48, true, true, 1),
    (5, 288, 48, true, true, 1),
];
const LARGE: [BlockRow; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

const STEM_CHANNELS: usize = 16;
const HARD_SIGMOID: Activation = Activation::HSigmoid {
    bias: 3.0,
    divisor: 6.0,
    min: 0.0,
    max: 1.0,
};

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(MobileNetV3::read(node, build)?))
}

/// MobileNetV3 small, large, and the narrower smalls.
#[derive(Debug)]
pub struct MobileNetV3 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    last: ConvNormAct,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
}

impl MobileNetV3 {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: MobileNetV3Config =
            node.read_knowing(&["conv_cfg", "norm_cfg", "with_cp", "init_cfg"])?;
        let arch = config.arch.as_deref().unwrap_or("small");
        let rows: &[BlockRow] = match arch {
            "small" => &SMALL,
            "small_075" => &SMALL_075,
            "small_050" => &SMALL_050,
            "large" => &LARGE,
            other => {
                let message = format!("MobileNetV3 has no arch '{other}'");
                let known = "known are 'small', 'small_075', 'small_050', 'large'";
                return Err(error_at(node, "arch", message, known));
            }
        };
        let last_index = rows.len() + 1;
        let out_indices = config
            .out_indices
            .map_or_else(|| vec![last_index], |list| list.numbers());
        if let Some(i) = out_indices.iter().find(|i| **i > last_index) {
            let message =
                format!("`out_indices` names layer {i}; '{arch}' has layers 0 to {last_index}");
            return Err(error_at(node, "out_indices", message, ""));
        }
        let frozen_stages = config.frozen_stages.unwrap_or(-1);
        if !(-1..=last_index as i64).contains(&frozen_stages) {
            let message = format!(
                "`frozen_stages` is {frozen_stages}, must be -1 to {last_index} for '{arch}'"
            );
            return Err(error_at(node, "frozen_stages", message, ""));
        }
        let mut channels = vec![STEM_CHANNELS];
        channels.extend(rows.iter().flat_map(|row| [row.1, row.2]));
        let defaults = ConvStyle {
            norm: Some(NormConfig {
                momentum: Some(0.01),
                ..NormConfig::batch(1e-3)
            }),
            act: Some(Activation::HSwish),
            initialises: true,
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults, &channels)?;

        // Each of the modules here then draws its own once more.
        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
            at.initialise(InitRule::of(&["BatchNorm2d"], Init::Constant(1.0)));
        });
        let params = &build.params;
        let stem = ConvConfig::new(3, STEM_CHANNELS, 3).stride(2).pad(1);
        let stem = style.module(stem, &params.at("layer0"));
        let mut channels = STEM_CHANNELS;
        let mut maps = vec![Feature {
            channels,
            stride: 2,
        }];
        let mut blocks = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let at = params.at(format!("layer{}", i + 1));
            blocks.push(InvertedResidual::new(channels, row, &style, &at));
            channels = row.2;
            let stride = maps[i].stride * row.5;
            maps.push(Feature { channels, stride });
        }
        let wide = rows[rows.len() - 1].1;
        let last = ConvConfig::new(channels, wide, 1);
        let at = params.at(format!("layer{last_index}"));
        let last = style.module(last, &at);
        maps.push(Feature {
            channels: wide,
            stride: maps[rows.len()].stride,
        });
        let features = (0..=last_index)
            .filter(|i| out_indices.contains(i))
            .map(|i| maps[i])
            .collect();
        for i in 0..=frozen_stages {
            params.at(format!("layer{i}")).freeze();
        }
        if config.norm_eval.unwrap_or(false) {
            params.evaluate();
        }
        Ok(Self {
            stem,
            blocks,
            last,
            features,
            out_indices,
        })
    }
}

impl Backbone for MobileNetV3 {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let wanted = |i| self.out_indices.contains(&i);
        let mut outputs = Vec::new();
        let mut x = self.stem.forward(x);
        if wanted(0) {
            outputs.push(x.clone());
        }
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if wanted(i + 1) {
                outputs.push(x.clone());
            }
        }
        let last = wanted(self.blocks.len() + 1);
        // Its running statistics are in the state dict, wanted or not.
        if last || self.last.learning() {
            let x = self.last.forward(x);
            outputs.extend(last.then_some(x));
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }
}

/// Widen (1x1), filter each channel (depthwise), weigh the channels, narrow (1x1); added to the input where shapes allow.
#[derive(Debug)]
struct InvertedResidual {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    squeeze_excite: Option<SqueezeExcite>,
    linear: ConvNormAct,
    shortcut: bool,
}

impl InvertedResidual {
    fn new(channels_in: usize, row: &BlockRow, style: &ConvStyle, at: &Params) -> Self {
        let &(kernel, mid, out, with_se, hard_swish, stride) = row;
        let bare = &style.act(None);
        let style = &style.act(Some(if hard_swish {
            Activation::HSwish
        } else {
            Activation::Relu
        }));
        let expand = (mid != channels_in).then(|| {
            let conv = ConvConfig::new(channels_in, mid, 1);
            style.module(conv, &at.at("expand_conv"))
        });
        let depthwise = ConvConfig::new(mid, mid, kernel)
            .stride(stride)
            .pad(kernel / 2)
            .groups(mid);
        let depthwise = style.module(depthwise, &at.at("depthwise_conv"));
        let squeeze_excite = with_se.then(|| {
            let squeezed = make_divisible((mid / 4) as f64, 8);
            let at = at.at("se");
            let convs = [
                (Activation::Relu, &at.at("conv1")),
                (HARD_SIGMOID, &at.at("conv2")),
            ];
            let plain = ConvStyle {
                initialises: true,
                ..ConvStyle::default()
            };
            SqueezeExcite::new(mid, squeezed, convs, |conv, act, at| {
                plain.act(Some(act)).module(conv, at)
            })
        });
        let linear = bare.module(ConvConfig::new(mid, out, 1), &at.at("linear_conv"));
        Self {
            expand,
            depthwise,
            squeeze_excite,
            linear,
            shortcut: stride == 1 && channels_in == out,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = match &self.expand {
            Some(expand) => expand.forward(x.clone()),
            None => x.clone(),
        };
        y = self.depthwise.forward(y);
        if let Some(se) = &self.squeeze_excite {
            y = se.forward(y);
        }
        if self.shortcut {
            self.linear.forward_onto(y, x)
        } else {
            self.linear.forward(y)
        }
    }
}
