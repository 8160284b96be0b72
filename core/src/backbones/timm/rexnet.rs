//! timm's ReXNet (Han et al. 2021, arXiv 2007.00992), as timm 0.9.16 builds it: the channels grow a little with every block.
//!
//! With `features_only` the maps are the last of each resolution (strides 2, 4, 8, 16, 32), and what comes after the last of them is left
//! out; without, the single map is that of the last convolution.
//!
//! Shapes: x `[N, C, H, W]`, maps `[N, C', ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::efficientnet::make_divisible;
use super::{Asked, COMMON, activation};
use crate::backbones::options::rate;
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Dropout, Init, InitRule, NormConfig, Params,
};

/// Name, width, what channels are multiples of.
const MODELS: [(&str, f64, usize); 10] = [
    ("rexnet_100", 1.0, 1),
    ("rexnet_130", 1.3, 1),
    ("rexnet_150", 1.5, 1),
    ("rexnet_200", 2.0, 1),
    ("rexnet_300", 3.0, 1),
    ("rexnetr_100", 1.0, 8),
    ("rexnetr_130", 1.3, 8),
    ("rexnetr_150", 1.5, 8),
    ("rexnetr_200", 2.0, 8),
    ("rexnetr_300", 3.0, 16),
];

/// Blocks and stride of each stage.
const STAGES: [(usize, usize); 6] = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (5, 2)];
const STEM: f64 = 32.0;
const FIRST: f64 = 16.0;
/// Channels that the last block has more than the first, before scaling.
const GROWTH: f64 = 180.0;
const EXPANSION: usize = 6;
/// Stages with squeeze-and-excite begin here.
const SQUEEZES_FROM: usize = 2;
const SQUEEZE: f64 = 1.0 / 12.0;
const LAST: f64 = 1280.0;
/// Share of numbers that the original drops of its last map, while learning.
const DROP_RATE: f64 = 0.2;

/// The keys of timm's ReXNet.
#[derive(Debug, Deserialize)]
struct Keys {
    act_layer: Option<String>,
    dw_act_layer: Option<String>,
    drop_rate: Option<f64>,
}

/// The names of this family.
pub(super) fn names() -> Vec<String> {
    MODELS.iter().map(|model| model.0.to_string()).collect()
}

/// A block in numbers.
struct BlockShape {
    channels_in: usize,
    channels_out: usize,
    mid: usize,
    /// Of the squeeze-and-excite; 0 for none.
    squeezed: usize,
    stride: usize,
    dilation: usize,
    shortcut: bool,
    drop_path_rate: f64,
    /// The level whose map comes into the block, where it is the first of another resolution.
    level: Option<Feature>,
}

/// The blocks.
fn shapes(width: f64, divisor: usize, stem: usize, asked: &Asked) -> Vec<BlockShape> {
    let scaled = |channels: f64| make_divisible(channels, divisor, 0.9);
    let count = STAGES.iter().map(|stage| stage.0).sum::<usize>();
    let mut base = FIRST;
    let (mut channels_in, mut stride, mut dilation) = (stem, 2, 1);
    let mut shapes: Vec<BlockShape> = Vec::new();
    for (i, &(blocks, first_stride)) in STAGES.iter().enumerate() {
        for j in 0..blocks {
            let strides = if j == 0 { first_stride } else { 1 };
            let level = (strides > 1).then_some(Feature {
                channels: channels_in,
                stride,
            });
            let (own_stride, next_dilation) = if strides > 1 && stride >= asked.output_stride {
                (1, dilation * strides)
            } else {
                (strides, dilation)
            };
            let expansion = if i == 0 { 1 } else { EXPANSION };
            let mid = match expansion {
                1 => channels_in,
                _ => scaled((channels_in * expansion) as f64),
            };
            let squeezed = match i < SQUEEZES_FROM {
                true => 0,
                false => scaled((mid as f64 * SQUEEZE).floor()),
            };
            let channels_out = scaled((base * width).round_ties_even());
            let keeps = own_stride == 1 && dilation == next_dilation;
            shapes.push(BlockShape {
                channels_in,
                channels_out,
                mid,
                squeezed,
                stride: own_stride,
                dilation,
                shortcut: keeps && channels_in <= channels_out,
                drop_path_rate: asked.drop_path_rate * shapes.len() as f64 / (count - 1) as f64,
                level,
            });
            base += GROWTH / count as f64;
            stride *= own_stride;
            dilation = next_dilation;
            channels_in = channels_out;
        }
    }
    shapes
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let act = |key, said: &Option<String>, default| match said.as_deref() {
        None => Ok(default),
        Some(name) => activation(name).ok_or_else(|| {
            let message = format!("timm has no activation '{name}'");
            error_at(asked.node, key, message, "")
        }),
    };
    let acts = Acts {
        act: act("act_layer", &keys.act_layer, Activation::Silu)?,
        depthwise: act("dw_act_layer", &keys.dw_act_layer, Activation::Relu6)?,
    };
    let drop_rate = keys.drop_rate.or(Some(DROP_RATE));
    let drop_rate = rate(asked.node, "drop_rate", drop_rate)?;
    if ![8, 16, 32].contains(&asked.output_stride) {
        let message = "ReXNet has no `output_stride` but 8, 16 and 32".to_string();
        return Err(error_at(asked.node, "output_stride", message, ""));
    }
    let known = MODELS.iter().find(|model| model.0 == asked.name);
    let &(_, width, divisor) = known.expect("the family knows its names");
    let stem_channels = make_divisible((STEM * width).round_ties_even(), divisor, 0.9);
    let shapes = shapes(width, divisor, stem_channels, asked);
    let stride = 2 * shapes.iter().map(|shape| shape.stride).product::<usize>();
    let channels = shapes[shapes.len() - 1].channels_out;
    let levels = shapes.iter().enumerate();
    let mut levels: Vec<_> = levels
        .filter_map(|(i, shape)| Some((i, shape.level?)))
        .collect();
    levels.push((shapes.len(), Feature { channels, stride }));
    let list: Vec<_> = levels.iter().map(|level| level.1).collect();
    let (out_blocks, features) = if asked.features_only {
        let wanted = asked.wanted(&list)?.into_iter();
        wanted.map(|i| levels[i]).unzip()
    } else {
        let channels = make_divisible(LAST * width, divisor, 0.9);
        (Vec::new(), vec![Feature { channels, stride }])
    };

    let params = &asked.params;
    let stem = ConvConfig::new(asked.channels_in, stem_channels, 3)
        .stride(2)
        .pad(1);
    let stem = layer(stem.act(Some(acts.act)), &params.at("stem"));
    let built = match asked.features_only {
        true => out_blocks.last().copied().unwrap_or(0),
        false => shapes.len(),
    };
    let features_at = |i: usize| match asked.features_only {
        false => params.at("features").at(i),
        true => {
            let at = params.at(format!("features_{i}"));
            at.once_called(&format!("features.{i}"));
            at
        }
    };
    let blocks = shapes.iter().enumerate().take(built);
    let blocks = blocks.map(|(i, shape)| Bottleneck::new(shape, acts, &features_at(i)));
    let blocks = blocks.collect();
    let head = (!asked.features_only).then(|| {
        let conv = ConvConfig::new(channels, features[0].channels, 1);
        let conv = layer(conv.act(Some(acts.act)), &features_at(shapes.len()));
        (conv, Dropout::new(drop_rate, &params.at("head").at("drop")))
    });
    params.built();
    Ok(Box::new(RexNet {
        stem,
        blocks,
        head,
        features,
        out_blocks,
        channels_in: asked.channels_in,
    }))
}

/// The activations.
#[derive(Clone, Copy)]
struct Acts {
    act: Activation,
    /// After the convolutions that see neighbours.
    depthwise: Activation,
}

/// `conv` and `bn` with the initial values of TensorFlow's.
fn layer(conv: ConvConfig, at: &Params) -> ConvNormAct {
    let norm = NormConfig::batch(1e-5);
    let norm = (&norm, &at.at("bn"));
    tensorflow(conv.bias(false), &at.at("conv"), Some(norm))
}

fn tensorflow(conv: ConvConfig, at: &Params, norm: Option<(&NormConfig, &Params)>) -> ConvNormAct {
    let std = (2.0 / conv.fan_out_of_group() as f64).sqrt();
    at.initialise_built(InitRule::all(Init::normal(std), 0.0));
    conv.init(at, norm)
}

/// ReXNet from timm.
#[derive(Debug)]
struct RexNet {
    stem: ConvNormAct,
    blocks: Vec<Bottleneck>,
    head: Option<(ConvNormAct, Option<Dropout>)>,
    features: Vec<Feature>,
    /// How many blocks there are before each map.
    out_blocks: Vec<usize>,
    channels_in: usize,
}

impl Backbone for RexNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(x);
        let mut outputs = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if self.out_blocks.contains(&(i + 1)) {
                outputs.push(x.clone());
            }
        }
        if let Some((conv, dropout)) = &self.head {
            let x = conv.forward(x);
            outputs.push(match dropout {
                Some(dropout) => dropout.forward(x),
                None => x,
            });
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// Widen, filter each channel, weigh the channels, narrow; the input is added to the first of the channels.
#[derive(Debug)]
struct Bottleneck {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    /// Two layers on the channels' means, and the gate that they give.
    squeeze: Option<[ConvNormAct; 2]>,
    act: Activation,
    project: ConvNormAct,
    shortcut: bool,
    drop_path: Option<DropPath>,
}

impl Bottleneck {
    fn new(shape: &BlockShape, acts: Acts, at: &Params) -> Self {
        let &BlockShape {
            channels_in,
            channels_out,
            mid,
            squeezed,
            stride,
            dilation,
            shortcut,
            drop_path_rate,
            ..
        } = shape;
        let expand = (mid != channels_in).then(|| {
            let conv = ConvConfig::new(channels_in, mid, 1).act(Some(acts.act));
            layer(conv, &at.at("conv_exp"))
        });
        // The activation is the norm's next neighbour where nothing weighs the channels.
        let (own, later) = match squeezed {
            0 => (Some(acts.depthwise), None),
            _ => (None, Some(acts.depthwise)),
        };
        let depthwise = ConvConfig::new(mid, mid, 3)
            .stride(stride)
            .dilation(dilation)
            .pad((stride - 1 + 2 * dilation) / 2)
            .groups(mid)
            .act(own);
        let depthwise = layer(depthwise, &at.at("conv_dw"));
        let squeeze = later.map(|_| squeeze(mid, squeezed, &at.at("se")));
        let project = layer(ConvConfig::new(mid, channels_out, 1), &at.at("conv_pwl"));
        let rate = if shortcut { drop_path_rate } else { 0.0 };
        Self {
            expand,
            depthwise,
            squeeze,
            act: acts.depthwise,
            project,
            shortcut,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = match &self.expand {
            Some(expand) => expand.forward(x.clone()),
            None => x.clone(),
        };
        y = self.depthwise.forward(y);
        if let Some([reduce, expand]) = &self.squeeze {
            let means = y.clone().mean_dim(2).mean_dim(3);
            y = self.act.forward(y * expand.forward(reduce.forward(means)));
        }
        y = self.project.forward(y);
        if !self.shortcut {
            return y;
        }
        if let Some(drop) = &self.drop_path {
            y = drop.forward(y);
        }
        let (narrow, wide) = (x.dims()[1], y.dims()[1]);
        if narrow == wide {
            return y + x;
        }
        let first = y.clone().narrow(1, 0, narrow) + x;
        Tensor::cat(vec![first, y.narrow(1, narrow, wide - narrow)], 1)
    }
}

fn squeeze(channels: usize, squeezed: usize, at: &Params) -> [ConvNormAct; 2] {
    let conv = |from, to, act| ConvConfig::new(from, to, 1).bias(true).act(Some(act));
    let norm = NormConfig::batch(1e-5);
    let norm = (&norm, &at.at("bn"));
    let reduce = conv(channels, squeezed, Activation::Relu);
    let expand = conv(squeezed, channels, Activation::Sigmoid);
    [
        tensorflow(reduce, &at.at("fc1"), Some(norm)),
        tensorflow(expand, &at.at("fc2"), None),
    ]
}
