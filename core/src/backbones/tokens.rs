//! What backbones of tokens have in common: patches of pictures as tokens, tokens merged, embeddings of positions, and how their keys are read.
//!
//! Shapes: tokens lie as maps with their channels last, `[B, H, W, C]`.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::options::rising;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    ActConfig, Activation, ConvConfig, ConvNormAct, Init, Linear, Norm, NormConfig, NormKind,
    Padding, Params, Weight,
};
use crate::limits::{Channels, List};
use crate::ops::resize::{Interpolation, resize};

/// Normal with deviation 0.02, as transformers begin.
pub(super) const NARROW: Init = Init::TruncNormal {
    mean: 0.0,
    std: 0.02,
    a: -2.0,
    b: 2.0,
};

/// Channels of a stage, or of the hidden layer of a block.
pub(super) const MOST_WIDTH: usize = 1 << 18;

/// The side of a window: there are as many scores as its fourth power.
pub(super) type WindowSide = Bounded<1, 64>;

/// One value for all, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrEach<T> {
    One(T),
    Each(List<T>),
}

impl<T: Copy> OneOrEach<T> {
    /// The i-th; None where there are too few.
    pub(super) fn get(&self, i: usize) -> Option<T> {
        match self {
            Self::One(value) => Some(*value),
            Self::Each(list) => list.get(i).copied(),
        }
    }
}

/// Height and width of a picture that a model was trained with, px.
pub(super) type PictureSize = OneOrEach<Bounded<1, 8192>>;

/// Both sides of a size that may be given as one number.
pub(super) fn sides(
    node: &Node,
    key: &str,
    size: Option<&PictureSize>,
    default: usize,
) -> Result<[usize; 2], Diagnostics> {
    let wrong = |count| {
        let message = format!("`{key}` has {count} numbers, must be one or two");
        Err(error_at(
            node,
            key,
            message,
            "for example 224 or (224, 320)",
        ))
    };
    match size {
        None => Ok([default; 2]),
        Some(OneOrEach::One(side)) => Ok([side.get(); 2]),
        Some(OneOrEach::Each(list)) => match list.numbers()[..] {
            [side] => Ok([side; 2]),
            [height, width] => Ok([height, width]),
            ref other => wrong(other.len()),
        },
    }
}

/// The layer norm that a key asks for; the `default` if it is absent, none if it is None.
pub(super) fn layer_norm(
    node: &Node,
    key: &str,
    default: NormConfig,
) -> Result<Option<NormConfig>, Diagnostics> {
    let Some(norm) = optional::<NormConfig>(node, key)? else {
        return Ok(Some(default));
    };
    match norm.as_ref().map(|norm| (norm.norm_kind(), &norm.kind)) {
        None | Some((Ok(NormKind::Layer), _)) => Ok(norm),
        Some((Ok(_), kind)) => {
            let message = format!("tokens are normalised each by itself, not by `{kind}`");
            Err(error_at(node, key, message, "`LN` does that"))
        }
        Some((Err(message), _)) => Err(error_at(node, key, message, "")),
    }
}

/// As [`layer_norm`], where there must be one.
pub(super) fn some_layer_norm(
    node: &Node,
    key: &str,
    default: NormConfig,
) -> Result<NormConfig, Diagnostics> {
    layer_norm(node, key, default)?
        .ok_or_else(|| error_at(node, key, format!("a `{key}` is needed"), "dict(type='LN')"))
}

/// The activation that `act_cfg` asks for, GELU if it is absent.
pub(super) fn activation(node: &Node) -> Result<Activation, Diagnostics> {
    let wrong = |message: String| {
        let help = format!("known are {}", Activation::NAMES.join(", "));
        Err(error_at(node, "act_cfg", message, &help))
    };
    match optional::<ActConfig>(node, "act_cfg")? {
        None => Ok(Activation::Gelu),
        Some(None) => wrong("an `act_cfg` is needed".into()),
        Some(Some(config)) => match Activation::from_config(&config) {
            Some(act) => Ok(act),
            None => wrong(format!("unknown activation `{}`", config.kind)),
        },
    }
}

/// `None` if the key is absent, `Some(None)` if it is None.
fn optional<T: DeserializeOwned>(node: &Node, key: &str) -> Result<Option<Option<T>>, Diagnostics> {
    node.get(key).map(Node::read).transpose()
}

/// The share of pictures that go without the branches of each block: more from the first block to the last.
pub(super) fn drop_path_rates(most: f64, depths: &[usize]) -> Vec<Vec<f64>> {
    let rate = rising(most, depths.iter().sum());
    let mut blocks = 0..;
    let stage = |depth: &usize| blocks.by_ref().take(*depth).map(rate).collect();
    depths.iter().map(stage).collect()
}

/// Whether the numbers of stages are those that lists have entries for, and heads divide channels.
pub(super) fn check_stages(
    node: &Node,
    count: usize,
    lists: &[(&str, usize)],
) -> Result<(), Diagnostics> {
    if count == 0 {
        let message = "a backbone has at least one stage";
        return Err(error_at(
            node,
            lists.first().map_or("", |l| l.0),
            message,
            "",
        ));
    }
    match lists.iter().find(|(_, len)| *len < count) {
        None => Ok(()),
        Some((key, len)) => {
            let message = format!("`{key}` has {len} entries for {count} stages");
            Err(error_at(node, key, message, ""))
        }
    }
}

/// Whether `out_indices` names stages that there are.
pub(super) fn check_out(node: &Node, out: &[usize], count: usize) -> Result<(), Diagnostics> {
    match out.iter().find(|i| **i >= count) {
        None => Ok(()),
        Some(i) => {
            let message = format!("`out_indices` names stage {i}; there are {count}, from 0");
            Err(error_at(node, "out_indices", message, ""))
        }
    }
}

/// Whether `frozen_stages` is at most `most`.
pub(super) fn check_frozen(node: &Node, frozen: i64, most: usize) -> Result<(), Diagnostics> {
    if frozen <= most as i64 {
        return Ok(());
    }
    let message = format!("`frozen_stages` is {frozen}, must be -1 to {most}");
    Err(error_at(node, "frozen_stages", message, ""))
}

/// Whether `heads` divide `channels`, and those and the `hidden` ones are not too many.
pub(super) fn check_width(
    node: &Node,
    key: &str,
    [channels, hidden, heads]: [usize; 3],
) -> Result<(), Diagnostics> {
    let message = if channels > MOST_WIDTH || hidden > MOST_WIDTH {
        let most = channels.max(hidden);
        format!("a block would have {most} channels, at most {MOST_WIDTH} are possible")
    } else if heads == 0 || channels % heads != 0 {
        format!("{heads} heads do not divide {channels} channels")
    } else {
        return Ok(());
    };
    Err(error_at(node, key, message, ""))
}

/// The checkpoint that a class of MMDetection's reads in its own way: its `init_cfg` may name nothing else, and needs no `type`.
pub(super) fn foreign_checkpoint<'a>(
    node: &'a Node,
    pretrained: Option<&'a str>,
) -> Result<Option<&'a str>, Diagnostics> {
    let given = node.get("init_cfg").filter(|given| !given.is_none());
    let checkpoint = given.and_then(|given| given.get("checkpoint")?.as_str());
    let (message, help) = match (given, checkpoint, pretrained) {
        (None, _, pretrained) => return Ok(pretrained),
        (Some(_), Some(name), None) => return Ok(Some(name)),
        (Some(_), None, _) => (
            "this backbone takes `Pretrained` alone",
            "leave `init_cfg` out to begin with the paper's values",
        ),
        (Some(_), Some(_), Some(_)) => ("`init_cfg` and `pretrained` are both given", ""),
    };
    Err(error_at(node, "init_cfg", message, help))
}

/// The padding of patches.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum PatchPadding {
    Even(Bounded<0, 64>),
    Named(PaddingName),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PaddingName {
    Corner,
    Same,
}

impl PatchPadding {
    pub(super) fn padding(&self) -> Padding {
        match self {
            Self::Named(PaddingName::Corner) => Padding::Corner,
            Self::Named(PaddingName::Same) => Padding::Same,
            Self::Even(zeros) => Padding::Even(zeros.get()),
        }
    }
}

/// A convolution of tokens as a map.
pub(super) fn conv_on_tokens(conv: &ConvNormAct, x: Tensor<4>) -> Tensor<4> {
    conv.forward(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
}

/// A linear layer, as one or as a convolution.
#[derive(Debug)]
pub(super) enum Pointwise {
    Linear(Box<Linear>),
    Conv(Box<ConvNormAct>),
}

impl Pointwise {
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Linear(linear) => linear.forward(x),
            Self::Conv(conv) => conv_on_tokens(conv, x),
        }
    }
}

/// How to make a [`PatchEmbed`].
#[derive(Clone, Debug)]
pub(super) struct PatchEmbedConfig {
    /// Its kernel, stride and padding.
    pub(super) conv: ConvConfig,
    pub(super) channels_out: usize,
    pub(super) norm: Option<NormConfig>,
    /// The convolution's name.
    pub(super) projection: &'static str,
}

/// Patches of a picture or a map as tokens: a convolution, then a layer norm.
#[derive(Debug)]
pub(super) struct PatchEmbed {
    conv: ConvNormAct,
    norm: Option<Norm>,
}

impl PatchEmbedConfig {
    pub(super) fn init(&self, at: &Params) -> PatchEmbed {
        let norm = self.norm.as_ref();
        PatchEmbed {
            conv: self.conv.init(&at.at(self.projection), None),
            norm: norm.map(|norm| norm.init(self.channels_out, &at.at("norm"))),
        }
    }
}

impl PatchEmbed {
    /// # Shapes
    /// - input `[B, C, H, W]`, output `[B, H', W', C_out]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x).permute([0, 2, 3, 1]);
        match &self.norm {
            Some(norm) => norm.forward_tokens(x),
            None => x,
        }
    }
}

/// How to make a [`PatchMerging`].
#[derive(Clone, Debug)]
pub(super) struct PatchMergingConfig {
    pub(super) channels: [usize; 2],
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) padding: Padding,
    pub(super) bias: bool,
    pub(super) norm: Option<NormConfig>,
    /// Whether the norm comes after the linear layer, not before.
    pub(super) norm_last: bool,
    /// Whether the norm stands first in the state dict.
    pub(super) norm_listed_first: bool,
    /// Whether merged tokens have the places of a channel one after another (mmcv), not the channels of a place, column by column (timm).
    pub(super) places_last: bool,
}

impl PatchMergingConfig {
    /// Two by two, as mmcv merges them.
    pub(super) fn new(channels: [usize; 2], norm: Option<NormConfig>) -> Self {
        Self {
            channels,
            kernel: 2,
            stride: 2,
            dilation: 1,
            padding: Padding::Corner,
            bias: false,
            norm,
            norm_last: false,
            norm_listed_first: true,
            places_last: true,
        }
    }

    pub(super) fn init(&self, at: &Params) -> PatchMerging {
        let [channels_in, channels_out] = self.channels;
        let merged = channels_in * self.kernel * self.kernel;
        let reduction = || Linear::new(merged, channels_out, self.bias, &at.at("reduction"));
        let normed = if self.norm_last { channels_out } else { merged };
        let norm = || {
            self.norm
                .as_ref()
                .map(|norm| norm.init(normed, &at.at("norm")))
        };
        let (norm, reduction) = match self.norm_listed_first {
            true => {
                let norm = norm();
                (norm, reduction())
            }
            false => {
                let reduction = reduction();
                (norm(), reduction)
            }
        };
        PatchMerging {
            config: self.clone(),
            norm,
            reduction,
        }
    }
}

/// Neighbouring tokens as one (Swin, Liu et al. 2021, arXiv 2103.14030, section 3.1).
#[derive(Debug)]
pub(super) struct PatchMerging {
    config: PatchMergingConfig,
    norm: Option<Norm>,
    reduction: Linear,
}

impl PatchMerging {
    /// # Shapes
    /// - input `[B, H, W, C]`, output `[B, H', W', C_out]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.merge(x);
        let norm = |x| match &self.norm {
            Some(norm) => norm.forward_tokens(x),
            None => x,
        };
        match self.config.norm_last {
            true => norm(self.reduction.forward(x)),
            false => self.reduction.forward(norm(x)),
        }
    }

    /// # Shapes
    /// - output: `[B, H', W', kernel * kernel * C]`
    fn merge(&self, x: Tensor<4>) -> Tensor<4> {
        let PatchMergingConfig {
            kernel,
            stride,
            dilation,
            padding,
            places_last,
            ..
        } = self.config;
        let reach = dilation * (kernel - 1) + 1;
        let [b, h, w, c] = x.dims();
        let zeros = |axis: usize, size: usize| {
            let (before, after) = padding.sides(axis, size, kernel, stride, dilation);
            let size = before + size + after;
            let count = size.saturating_sub(reach) / stride + 1;
            // So that each tap has `count` whole strides.
            let whole = (count * stride + reach - 1).max(size);
            ((before, after + whole - size), count)
        };
        let (down, across) = (zeros(0, h), zeros(1, w));
        let sides = [(0, 0), down.0, across.0, (0, 0)];
        let x = match sides == [(0, 0); 4] {
            true => x,
            false => x.pad(sides, PadMode::Constant(0.0)),
        };
        let (down, across) = (down.1, across.1);
        let tap = |y: usize, u: usize| {
            x.clone()
                .narrow(1, y * dilation, down * stride)
                .narrow(2, u * dilation, across * stride)
                .reshape([b, down, stride, across, stride, c])
                .narrow(2, 0, 1)
                .narrow(4, 0, 1)
                .reshape([b, down, across, c])
        };
        let places = (0..kernel * kernel).map(|i| (i / kernel, i % kernel));
        match places_last {
            true => {
                let taps = places.map(|(y, u)| tap(y, u)).collect();
                let taps = Tensor::stack::<5>(taps, 4);
                taps.reshape([b, down, across, c * kernel * kernel])
            }
            false => Tensor::cat(places.map(|(u, y)| tap(y, u)).collect(), 3),
        }
    }
}

/// A learned vector for each place of a grid, resized to the map that it is added to.
#[derive(Debug)]
pub(super) struct PositionEmbedding {
    /// `[1, H * W, C]`
    weight: Weight<3>,
    grid: [usize; 2],
    how: Interpolation,
}

impl PositionEmbedding {
    /// The tensor, `name` in the state dict.
    pub(super) fn new(
        name: &str,
        grid: [usize; 2],
        channels: usize,
        how: Interpolation,
        init: Init,
        at: &Params,
    ) -> Self {
        Self {
            weight: at.weight(name, [1, grid[0] * grid[1], channels], init),
            grid,
            how,
        }
    }

    /// # Shapes
    /// - input and output: `[B, H, W, C]`
    pub(super) fn add(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, h, w, c] = x.dims();
        let [rows, columns] = self.grid;
        let positions = self.weight.get().reshape([1, rows, columns, c]);
        let positions = positions.permute([0, 3, 1, 2]);
        x + resize(positions, [h, w], self.how, false).permute([0, 2, 3, 1])
    }
}

/// Channels of a picture, three if nothing is said.
pub(super) fn channels_in(given: Option<Channels>) -> usize {
    given.map_or(3, Channels::get)
}
