//! [`Block`]: a residual block, of two 3x3 convolutions or a bottleneck, and the [`Style`] that the blocks of a network share.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

use super::config::StagePlan;
use super::extras::Extras;
use crate::backbones::plugins::Plugin;
use crate::backbones::res2net::{Scales, ScalesConfig};
use crate::backbones::resnest::{SplitAttention, SplitAttentionConfig};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Init, InitRule, NormConfig, Params,
    SqueezeExcite, make_divisible,
};

/// What the blocks share.
pub(in crate::backbones) struct Style {
    pub conv: ConvStyle,
    pub middle: MiddleConfig,
    pub caffe: bool,
    pub avg_down: bool,
    /// See [`Class::pools_always`].
    pub pools_always: bool,
    /// The last norm of a block begins with 0.
    pub zero_residual: bool,
    /// Channels for one of the squeezed, where there is squeeze-and-excite.
    pub se_ratio: Option<usize>,
}

/// What is between the 1x1 convolutions of a bottleneck, besides its width and stride.
#[derive(Clone, Copy, Debug)]
pub(in crate::backbones) enum MiddleConfig {
    /// A 3x3 convolution.
    Conv,
    Scales {
        count: usize,
        /// Whether the last part of a stage's first block is pooled where nothing strides, too.
        pools_always: bool,
    },
    SplitAttention {
        radix: usize,
        reduction: usize,
        avg_down_stride: bool,
    },
}

impl MiddleConfig {
    /// The split attention of a block, if that is what is meant.
    pub fn split_attention(self, stage: &StagePlan, stride: usize) -> Option<SplitAttentionConfig> {
        let Self::SplitAttention {
            radix,
            reduction,
            avg_down_stride,
        } = self
        else {
            return None;
        };
        Some(SplitAttentionConfig {
            channels: stage.width,
            groups: stage.groups,
            radix,
            reduction,
            stride,
            pools: avg_down_stride,
            dilation: stage.dilation,
        })
    }
}

impl Style {
    /// `bn` or `gn`.
    pub fn norm_name(&self) -> &'static str {
        self.conv.norm.as_ref().map_or("", NormConfig::abbreviation)
    }

    /// The i-th convolution of a block, from 1: `conv1` and, beside it, its norm `bn1` or `gn1`.
    pub fn layer(&self, conv: ConvConfig, at: &Params, i: usize) -> ConvNormAct {
        let names = (format!("conv{i}"), format!("{}{i}", self.norm_name()));
        self.conv.named(conv.bias(false), at, names.0, names.1)
    }

    /// The same without an activation.
    pub fn bare_layer(&self, conv: ConvConfig, at: &Params, i: usize) -> ConvNormAct {
        let names = (format!("conv{i}"), format!("{}{i}", self.norm_name()));
        let bare = self.conv.act(None);
        bare.named(conv.bias(false), at, names.0, names.1)
    }
}

/// A block in its stage.
#[derive(Clone, Copy)]
pub(in crate::backbones) struct BlockPlace<'a> {
    pub channels_in: usize,
    pub bottleneck: bool,
    /// Whether it is the stage's first, which strides.
    pub first: bool,
    pub drop_path_rate: f64,
    pub extras: &'a Extras,
}

/// A residual block: two 3x3 convolutions, or a middle between two 1x1 (bottleneck), added to the shortcut before the last activation.
#[derive(Debug)]
pub(in crate::backbones) struct Block {
    first: ConvNormAct,
    middle: Option<Middle>,
    last: ConvNormAct,
    gate: Option<SqueezeExcite>,
    /// What follows each of the three convolutions.
    pub plugins: [Vec<Plugin>; 3],
    /// For what comes back from a recursive pyramid.
    pub rfp: Option<ConvNormAct>,
    drop_path: Option<DropPath>,
    downsample: Option<ConvNormAct>,
    /// Side of the average pooling before the shortcut's convolution, 1 for none.
    pool: usize,
}

/// What is between the 1x1 convolutions of a bottleneck.
#[derive(Debug)]
enum Middle {
    Conv(Box<ConvNormAct>),
    Scales(Scales),
    SplitAttention(Box<SplitAttention>),
}

impl Middle {
    fn forward(&self, x: Tensor<4>, dilation: Option<usize>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => match dilation {
                Some(dilation) => conv.forward_dilated(x, dilation),
                None => conv.forward(x),
            },
            Self::Scales(scales) => scales.forward(x),
            Self::SplitAttention(attention) => attention.forward(x),
        }
    }

    fn learning(&self) -> bool {
        match self {
            Self::Conv(conv) => conv.learning(),
            Self::Scales(scales) => scales.learning(),
            Self::SplitAttention(attention) => attention.learning(),
        }
    }
}

impl Block {
    pub fn new(place: BlockPlace, stage: &StagePlan, style: &Style, at: &Params) -> Self {
        let BlockPlace {
            channels_in,
            bottleneck,
            first,
            drop_path_rate,
            extras,
        } = place;
        let (stride, out) = (if first { stage.stride } else { 1 }, stage.channels);
        let styled = extras.style(style, first);
        let middle_style = styled.as_ref().unwrap_or(style);
        extras.initialise(style, first, at);
        if style.zero_residual && !extras.trident {
            let last = if bottleneck { 3 } else { 2 };
            let last = at.at(format!("{}{last}", style.norm_name()));
            last.initialise(InitRule::all(Init::Constant(0.0), 0.0));
        }
        let drop_path = DropPath::new(drop_path_rate, &at.at("drop_path"));
        // What is done to the branch before it is added is done between its last norm and the activation.
        let last_layer =
            |conv, i| match style.se_ratio.is_none() && drop_path.is_none() && !extras.plugged {
                true => style.layer(conv, at, i),
                false => style.bare_layer(conv, at, i),
            };
        let (first_conv, middle, last) = if bottleneck {
            let strides = if style.caffe {
                [stride, 1]
            } else {
                [1, stride]
            };
            let width = match style.middle {
                MiddleConfig::Scales { count, .. } => stage.width * count,
                _ => stage.width,
            };
            let conv = ConvConfig::new(channels_in, width, 1).stride(strides[0]);
            let first_conv = style.layer(conv, at, 1);
            let middle = match style.middle {
                MiddleConfig::Scales { .. } => None, // the state dict has it after all others
                _ => Some(Self::middle(strides[1], first, stage, middle_style, at)),
            };
            let last = last_layer(ConvConfig::new(width, out, 1), 3);
            (first_conv, middle, last)
        } else {
            let conv = ConvConfig::new(channels_in, out, 3)
                .stride(stride)
                .pad(stage.dilation)
                .dilation(stage.dilation);
            let first_conv = style.layer(conv, at, 1);
            let last = last_layer(ConvConfig::new(out, out, 3).pad(1), 2);
            (first_conv, None, last)
        };
        let shortcut = stride != 1 || channels_in != out;
        let pools = style.avg_down && !extras.trident && (stride != 1 || style.pools_always);
        let downsample = shortcut.then(|| {
            let first = usize::from(pools); // the pooling is the sequence's first entry
            let stride = if pools { 1 } else { stride };
            let conv = ConvConfig::new(channels_in, out, 1).stride(stride);
            let bare = style.conv.act(None);
            bare.named(conv.bias(false), &at.at("downsample"), first, first + 1)
        });
        let middle = match style.middle {
            MiddleConfig::Scales { .. } if bottleneck => {
                let stride = if style.caffe { 1 } else { stride };
                Some(Self::middle(stride, first, stage, middle_style, at))
            }
            _ => middle,
        };
        let gate = style.se_ratio.map(|ratio| {
            let squeezed = make_divisible((out / ratio) as f64, 8);
            let at = at.at("se_layer");
            let convs = [
                (Activation::Relu, &at.at("conv1")),
                (Activation::Sigmoid, &at.at("conv2")),
            ];
            SqueezeExcite::new(out, squeezed, convs, |conv, act, at| {
                ConvStyle::default().act(Some(act)).module(conv, at)
            })
        });
        at.built_in_order(["downsample", "conv1", "conv2", "conv3"]);
        Self {
            first: first_conv,
            middle,
            last,
            gate,
            plugins: Default::default(),
            rfp: None,
            drop_path,
            downsample,
            pool: if pools { stride } else { 1 },
        }
    }

    /// What is between the 1x1 convolutions; `first` says of a stage.
    fn middle(stride: usize, first: bool, stage: &StagePlan, style: &Style, at: &Params) -> Middle {
        match style.middle {
            MiddleConfig::Conv => {
                let conv = ConvConfig::new(stage.width, stage.width, 3)
                    .groups(stage.groups)
                    .stride(stride)
                    .pad(stage.dilation)
                    .dilation(stage.dilation);
                Middle::Conv(Box::new(style.layer(conv, at, 2)))
            }
            MiddleConfig::Scales {
                count,
                pools_always,
            } => {
                let config = ScalesConfig {
                    count,
                    width: stage.width,
                    stride,
                    dilation: stage.dilation,
                    first,
                    pools_always,
                };
                Middle::Scales(Scales::new(config, &style.conv, at))
            }
            MiddleConfig::SplitAttention { .. } => {
                let config = style.middle.split_attention(stage, stride);
                let config = config.expect("it is one");
                let attention = SplitAttention::new(config, &style.conv, &at.at("conv2"));
                Middle::SplitAttention(Box::new(attention))
            }
        }
    }

    /// `given` is what comes back from a recursive pyramid; `dilation` that of a 3x3 middle, if not its own.
    pub fn forward(
        &self,
        x: Tensor<4>,
        given: Option<&Tensor<4>>,
        dilation: Option<usize>,
    ) -> Tensor<4> {
        let shortcut = match &self.downsample {
            None => x.clone(),
            Some(conv) if self.pool == 1 => conv.forward(x.clone()),
            Some(conv) => {
                let options = AvgPoolOptions::new([self.pool; 2])
                    .with_stride([self.pool; 2])
                    .with_ceil_mode(true)
                    .with_count_include_pad(false);
                conv.forward(avg_pool2d(x.clone(), options))
            }
        };
        let shortcut = match (&self.rfp, given) {
            (Some(conv), Some(given)) => shortcut + conv.forward(given.clone()),
            _ => shortcut,
        };
        let plugged = |x: Tensor<4>, i: usize| self.plugins[i].iter().fold(x, |x, p| p.forward(x));
        let mut x = plugged(self.first.forward(x), 0);
        if let Some(middle) = &self.middle {
            x = plugged(middle.forward(x, dilation), 1);
        }
        if self.gate.is_none() && self.drop_path.is_none() && self.plugins[2].is_empty() {
            return self.last.forward_onto(x, shortcut);
        }
        x = plugged(self.last.forward(x), 2);
        if let Some(gate) = &self.gate {
            x = gate.forward(x);
        }
        Activation::Relu.forward(DropPath::add(&self.drop_path, shortcut, x))
    }

    /// Whether a norm here takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        let convs = [&self.first, &self.last].into_iter();
        convs.chain(&self.downsample).any(ConvNormAct::learning)
            || self.middle.as_ref().is_some_and(Middle::learning)
    }
}
