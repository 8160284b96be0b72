//! DenseNet (Huang et al. 2017, arXiv 1608.06993) as MMPretrain 1.2.0 builds it, and timm 0.9.16 (`timm/densenet.rs`): in a block each layer
//! sees what all layers before it gave.
//!
//! Shapes: block i takes `[N, C, H, W]` at stride `4 * 2^i` and gives `[N, C + layers * growth, H, W]`; the transition after it halves the sides,
//! rounded down, and the channels.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;

use super::{Backbone, Feature};
use crate::backbones::options::rate;
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    Activation, BlurPool, ConvConfig, ConvNormAct, ConvStyle, Dropout, Norm, NormConfig, Params,
};
use crate::limits::{Channels, List};
use crate::ops::pool::max_pool2d;

/// Each has maps of half the sides.
const MOST_BLOCKS: usize = 16;
/// Layers of a block.
const MOST_LAYERS: usize = 128;
/// Layers of all blocks: each looks at all before it.
const MOST_IN_ALL: usize = 512;
/// Channels of a map.
const MOST_CHANNELS: usize = 1 << 16;

/// The keys of `type='mmpretrain.DenseNet'`.
#[derive(Debug, Deserialize)]
struct DenseNetConfig {
    arch: Option<Node>,
    in_channels: Option<Channels>,
    bn_size: Option<Channels>,
    drop_rate: Option<f64>,
    compression_factor: Option<f64>,
    out_indices: Option<Node>,
    frozen_stages: Option<i64>,
}

/// Keys that others read, or that change the memory of training only.
const OTHERS: &[&str] = &["norm_cfg", "act_cfg", "init_cfg", "memory_efficient"];

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct ArchConfig {
    growth_rate: Channels,
    depths: List<Bounded<0, MOST_LAYERS>>,
    init_channels: Channels,
}

/// Names, growth, layers of each block, channels of the stem.
const ARCHES: [(&str, usize, [usize; 4], usize); 4] = [
    ("121", 32, [6, 12, 24, 16], 64),
    ("169", 32, [6, 12, 32, 32], 64),
    ("201", 32, [6, 12, 48, 32], 64),
    ("161", 48, [6, 12, 36, 24], 96),
];

/// A DenseNet in numbers that were checked.
pub(super) struct Plan {
    pub names: Names,
    pub channels_in: usize,
    /// Channels of the stem's convolutions: one of 7x7, or three of 3x3.
    pub stem: Vec<usize>,
    pub blocks: Vec<BlockShape>,
    pub norm: NormConfig,
    pub act: Activation,
    /// Share of the numbers that a layer leaves out.
    pub drop_rate: f64,
    /// Blur before the stem's pooling leaves numbers out.
    pub blurred_stem: bool,
    /// The same in transitions.
    pub blurred_transitions: bool,
    pub given: Vec<Given>,
}

/// A block, and the transition after it.
#[derive(Clone, Copy)]
pub(super) struct BlockShape {
    pub layers: usize,
    pub channels_in: usize,
    pub growth: usize,
    /// Between the two convolutions of a layer.
    pub width: usize,
    /// Channels that the transition leaves; none after the last block.
    pub squeezed: Option<usize>,
}

impl BlockShape {
    /// Channels that come out of the last layer.
    pub fn channels_out(&self) -> usize {
        self.channels_in + self.layers * self.growth
    }
}

/// A map that is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Given {
    /// What comes out of the stem before its pooling.
    Stem,
    /// What comes out of a block.
    Block(usize),
    /// What comes out of a transition; after the last block of a norm.
    Transition(usize),
}

/// How the original calls the parts.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Names {
    MmPretrain,
    /// In `features`, or where its maps are given beside it, one name with it.
    Timm {
        flat: bool,
    },
}

impl Names {
    /// A part of timm's `features`.
    fn feature(self, name: &str, at: &Params) -> Params {
        if self == (Self::Timm { flat: false }) {
            return at.at(format!("features.{name}"));
        }
        let part = at.at(format!("features_{name}"));
        part.once_called(&format!("features.{name}"));
        part
    }

    /// The i-th of the stem's convolutions, and its norm.
    fn stem(self, i: usize, at: &Params) -> [Params; 2] {
        match self {
            Self::MmPretrain => ["stem.0", "stem.1"].map(|name| at.at(name)),
            _ => ["conv", "norm"].map(|name| self.feature(&format!("{name}{i}"), at)),
        }
    }

    fn block(self, i: usize, at: &Params) -> Params {
        match self {
            Self::MmPretrain => at.at(format!("stages.{i}.block")),
            _ => self.feature(&format!("denseblock{}", i + 1), at),
        }
    }

    fn layer(self, i: usize, at: &Params) -> Params {
        match self {
            Self::MmPretrain => at.at(i),
            _ => at.at(format!("denselayer{}", i + 1)),
        }
    }

    fn transition(self, i: usize, at: &Params) -> Params {
        match self {
            Self::MmPretrain => at.at(format!("transitions.{i}")),
            _ => self.feature(&format!("transition{}", i + 1), at),
        }
    }

    /// What follows the last block.
    fn last_norm(self, i: usize, at: &Params) -> Params {
        match self {
            Self::MmPretrain => at.at(format!("transitions.{i}.0")),
            _ => self.feature("norm5", at),
        }
    }
}

/// The blocks of `depths`: each begins with what the transition before it leaves. None if there are too many layers or channels.
pub(super) fn blocks(
    depths: &[usize],
    stem: usize,
    growth: usize,
    bn_size: usize,
    compress: impl Fn(usize) -> usize,
) -> Option<Vec<BlockShape>> {
    let width = growth.checked_mul(bn_size)?;
    let fits = |channels: usize| (1..=MOST_CHANNELS).contains(&channels);
    let many = depths.len() > MOST_BLOCKS || depths.iter().sum::<usize>() > MOST_IN_ALL;
    if many || !fits(width) {
        return None;
    }
    let mut channels = stem;
    let mut blocks = Vec::new();
    for (i, layers) in depths.iter().enumerate() {
        let mut block = BlockShape {
            layers: *layers,
            channels_in: channels,
            growth,
            width,
            squeezed: None,
        };
        channels = block.channels_out();
        if i + 1 < depths.len() {
            let squeezed = compress(channels);
            block.squeezed = Some(squeezed);
            channels = squeezed;
        }
        if !fits(block.channels_out()) || !fits(channels) {
            return None;
        }
        blocks.push(block);
    }
    Some(blocks)
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: DenseNetConfig = node.read_knowing(OTHERS)?;
    let frozen_stages = config.frozen_stages.unwrap_or(0);
    let plan = config.plan(node)?;
    let count = plan.blocks.len();
    if frozen_stages > count as i64 {
        let message = format!("`frozen_stages` is {frozen_stages}, there are {count} stages");
        return Err(error_at(node, "frozen_stages", message, ""));
    }
    let params = &build.params;
    let backbone = DenseNet::new(&plan, params);
    params.listed_in_order(["stages", "transitions"]);
    for i in 0..frozen_stages {
        params.at(format!("stages.{i}")).freeze();
        params.at(format!("transitions.{i}")).freeze();
    }
    Ok(Box::new(backbone))
}

impl DenseNetConfig {
    /// Growth, layers of each block, channels of the stem.
    fn arch(&self, node: &Node) -> Result<(usize, Vec<usize>, usize), Diagnostics> {
        let Some(arch) = &self.arch else {
            let (_, growth, depths, stem) = ARCHES[0];
            return Ok((growth, depths.to_vec(), stem));
        };
        let Some(name) = arch.as_str() else {
            let arch: ArchConfig = arch.read()?;
            let depths = arch.depths.numbers();
            return Ok((arch.growth_rate.get(), depths, arch.init_channels.get()));
        };
        let Some((_, growth, depths, stem)) = ARCHES.iter().find(|arch| arch.0 == name) else {
            let message = format!("DenseNet has no arch '{name}'");
            let known = "known are '121', '169', '201', '161', or a dict";
            return Err(error_at(node, "arch", message, known));
        };
        Ok((*growth, depths.to_vec(), *stem))
    }

    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let (growth, depths, stem) = self.arch(node)?;
        if depths.is_empty() {
            return fail("arch", "`depths` is empty".into());
        }
        let factor = self.compression_factor.unwrap_or(0.5);
        let drop_rate = rate(node, "drop_rate", self.drop_rate)?;
        let compress = |channels: usize| (channels as f64 * factor) as usize;
        let bn_size = self.bn_size.map_or(4, Channels::get);
        let Some(blocks) = blocks(&depths, stem, growth, bn_size, compress) else {
            let message = "this arch has no channels somewhere, or too many layers or channels";
            return fail("arch", message.into());
        };
        let of_block = |block: &BlockShape| {
            let layers = (0..=block.layers).map(|i| block.channels_in + i * block.growth);
            layers.chain([block.width]).collect::<Vec<_>>()
        };
        let normed = blocks.iter().flat_map(of_block).chain([stem]);
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults, &normed.collect::<Vec<_>>())?;
        let (Some(norm), Some(act)) = (style.norm, style.act) else {
            return fail(
                "norm_cfg",
                "DenseNet needs a `norm_cfg` and an `act_cfg`".into(),
            );
        };
        let given = self.out_indices(node, blocks.len())?;
        Ok(Plan {
            names: Names::MmPretrain,
            channels_in: self.in_channels.map_or(3, Channels::get),
            stem: vec![stem],
            blocks,
            norm,
            act,
            drop_rate,
            blurred_stem: false,
            blurred_transitions: false,
            given: given.into_iter().map(Given::Transition).collect(),
        })
    }

    /// Which of `count` stages give maps: one or more, from the end if negative; the last where nothing is said.
    fn out_indices(&self, node: &Node, count: usize) -> Result<Vec<usize>, Diagnostics> {
        let named: Vec<i64> = match &self.out_indices {
            None => vec![-1],
            Some(one) if one.as_int().is_some() => one.as_int().into_iter().collect(),
            Some(list) => list.read::<List<i64>>()?.into_vec(),
        };
        let count = count as i64;
        if let Some(i) = named.iter().find(|i| !(-count..count).contains(i)) {
            let message = format!("`out_indices` names stage {i}; there are {count}, from 0");
            return Err(error_at(node, "out_indices", message, ""));
        }
        let is_named = |i: &i64| named.iter().any(|index| index.rem_euclid(count) == *i);
        Ok((0..count).filter(is_named).map(|i| i as usize).collect())
    }
}

/// DenseNet.
#[derive(Debug)]
pub struct DenseNet {
    stem: Vec<ConvNormAct>,
    blur: Option<BlurPool>,
    blocks: Vec<Block>,
    given: Vec<Given>,
    features: Vec<Feature>,
    channels_in: usize,
}

#[derive(Debug)]
struct Block {
    layers: Vec<Layer>,
    /// None if nothing asks for it.
    transition: Option<Transition>,
}

impl DenseNet {
    pub(super) fn new(plan: &Plan, params: &Params) -> Self {
        let names = plan.names;
        // timm leaves out what comes after the last map.
        let (count, last) = match (names, plan.given.last()) {
            (Names::MmPretrain, _) | (_, None) => (plan.blocks.len(), true),
            (_, Some(Given::Stem)) => (0, false),
            (_, Some(Given::Block(i))) => (i + 1, false),
            (_, Some(Given::Transition(i))) => (i + 1, true),
        };
        let stem = plan.stem(params);
        let stem_channels = plan.stem[plan.stem.len() - 1];
        let blur =
            (plan.blurred_stem && count > 0).then(|| BlurPool::new(stem_channels, 2, params));
        let mut blocks = Vec::new();
        for (i, shape) in plan.blocks.iter().enumerate().take(count) {
            let at = names.block(i, params);
            let layer = |j| Layer::new(shape, j, plan, &names.layer(j, &at));
            let layers = (0..shape.layers).map(layer).collect();
            let follows = last || i + 1 < count;
            let transition = follows.then(|| Transition::new(shape, i, plan, params));
            blocks.push(Block { layers, transition });
        }
        let stride = |i: usize| 4 << i;
        let feature = |given: &Given| match *given {
            Given::Stem => Feature {
                channels: stem_channels,
                stride: 2,
            },
            Given::Block(i) => Feature {
                channels: plan.blocks[i].channels_out(),
                stride: stride(i),
            },
            Given::Transition(i) => match plan.blocks[i].squeezed {
                Some(channels) => Feature {
                    channels,
                    stride: stride(i + 1),
                },
                None => Feature {
                    channels: plan.blocks[i].channels_out(),
                    stride: stride(i),
                },
            },
        };
        Self {
            stem,
            blur,
            blocks,
            features: plan.given.iter().map(feature).collect(),
            given: plan.given.clone(),
            channels_in: plan.channels_in,
        }
    }

    fn learning(&self, from: usize) -> bool {
        let transition =
            |block: &Block| block.transition.as_ref().is_some_and(Transition::learning);
        let blocks = &self.blocks[from..];
        let block = |block: &Block| transition(block) || block.layers.iter().any(Layer::learning);
        blocks.iter().any(block)
    }
}

impl Plan {
    fn stem(&self, at: &Params) -> Vec<ConvNormAct> {
        let deep = self.stem.len() > 1;
        let mut channels = self.channels_in;
        let layer = |(i, to): (usize, &usize)| {
            let conv = match deep {
                true => ConvConfig::new(channels, *to, 3).pad(1),
                false => ConvConfig::new(channels, *to, 7).pad(3),
            };
            channels = *to;
            let [conv_at, norm_at] = self.names.stem(i, at);
            conv.stride(if i == 0 { 2 } else { 1 })
                .bias(false)
                .act(Some(self.act))
                .init(&conv_at, Some((&self.norm, &norm_at)))
        };
        self.stem.iter().enumerate().map(layer).collect()
    }
}

impl Backbone for DenseNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let mut outputs = Vec::new();
        let mut give = |given, x: &Tensor<4>| {
            if self.given.contains(&given) {
                outputs.push(x.clone());
            }
            outputs.len() == self.given.len()
        };
        let mut all = give(Given::Stem, &x);
        if !self.blocks.is_empty() {
            x = match &self.blur {
                Some(blur) => blur.forward(max_pool2d(x, 3, 1, 1)),
                None => max_pool2d(x, 3, 2, 1),
            };
        }
        for (i, block) in self.blocks.iter().enumerate() {
            if all && !self.learning(i) {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            for layer in &block.layers {
                let new = layer.forward(x.clone());
                x = Tensor::cat(vec![x, new], 1);
            }
            all = give(Given::Block(i), &x);
            if let Some(transition) = &block.transition {
                x = transition.forward(x);
                all = give(Given::Transition(i), &x);
            }
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

/// A norm before a convolution of 1x1, another before one of 3x3.
#[derive(Debug)]
struct Layer {
    norm: Norm,
    act: Activation,
    narrow: ConvNormAct,
    conv: ConvNormAct,
    dropout: Option<Dropout>,
}

impl Layer {
    /// The i-th layer of a block.
    fn new(shape: &BlockShape, i: usize, plan: &Plan, at: &Params) -> Self {
        let channels = shape.channels_in + i * shape.growth;
        let conv = |from, to, kernel: usize| {
            let conv = ConvConfig::new(from, to, kernel).pad(kernel / 2);
            conv.bias(false)
        };
        Self {
            norm: plan.norm.init(channels, &at.at("norm1")),
            act: plan.act,
            narrow: conv(channels, shape.width, 1)
                .act(Some(plan.act))
                .init(&at.at("conv1"), Some((&plan.norm, &at.at("norm2")))),
            conv: conv(shape.width, shape.growth, 3).init(&at.at("conv2"), None),
            dropout: Dropout::new(plan.drop_rate, at),
        }
    }

    fn learning(&self) -> bool {
        self.norm.learning() || self.narrow.learning()
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.act.forward(self.norm.forward(x));
        let x = self.conv.forward(self.narrow.forward(x));
        match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        }
    }
}

/// A norm, and but for the last a convolution of 1x1 and a pooling.
#[derive(Debug)]
struct Transition {
    norm: Norm,
    act: Activation,
    rest: Option<(ConvNormAct, Option<BlurPool>)>,
}

impl Transition {
    fn new(shape: &BlockShape, i: usize, plan: &Plan, params: &Params) -> Self {
        let channels = shape.channels_out();
        let (norm, rest) = match shape.squeezed {
            None => (plan.names.last_norm(i, params), None),
            Some(to) => {
                let at = plan.names.transition(i, params);
                (at.at("norm"), Some((to, at.at("conv"))))
            }
        };
        let norm = plan.norm.init(channels, &norm);
        let rest = rest.map(|(to, at)| {
            let conv = ConvConfig::new(channels, to, 1).bias(false).init(&at, None);
            let blurred = plan.blurred_transitions;
            (conv, blurred.then(|| BlurPool::new(to, 2, params)))
        });
        Self {
            norm,
            act: plan.act,
            rest,
        }
    }

    fn learning(&self) -> bool {
        self.norm.learning()
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.act.forward(self.norm.forward(x));
        match &self.rest {
            None => x,
            Some((conv, None)) => halve(conv.forward(x)),
            Some((conv, Some(blur))) => blur.forward(conv.forward(x)),
        }
    }
}

/// The mean of each square of two; of a single row or column that of what is there.
fn halve(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let kernel = [height, width].map(|side| side.clamp(1, 2));
    avg_pool2d(x, AvgPoolOptions::new(kernel).with_stride([2; 2]))
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (keys, part) in [
            ("arch='122'", "DenseNet has no arch '122'"),
            ("arch=dict(growth_rate=4, depths=[1])", "init_channels"),
            (
                "arch=dict(growth_rate=4, depths=[], init_channels=8)",
                "`depths` is empty",
            ),
            (
                "arch=dict(growth_rate=65536, depths=[9], init_channels=8)",
                "too many",
            ),
            (
                "arch=dict(growth_rate=1, depths=[128, 128, 128, 128, 128], init_channels=8)",
                "too many",
            ),
            ("compression_factor=0.0", "no channels somewhere"),
            ("compression_factor=1e300", "too many"),
            ("drop_rate=1", "`drop_rate` is 1"),
            ("out_indices=4", "names stage 4; there are 4"),
            ("out_indices=(0, -5)", "names stage -5"),
            ("frozen_stages=5", "there are 4 stages"),
            ("norm_cfg=dict(type='GN', num_groups=64)", "does not divide"),
            ("norm_cfg=None", "needs a `norm_cfg`"),
        ] {
            let text = format!("dict(type='mmpretrain.DenseNet', {keys})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
