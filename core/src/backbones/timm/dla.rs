//! timm's DLA (Yu et al. 2018, arXiv 1707.06484), with Res2Net's blocks, too (Gao et al. 2019, arXiv 1904.01169): trees of residual blocks, each two
//! of which a 1x1 convolution joins with what is above them.
//!
//! With `features_only` output i has the stride 2^i, all but the first where nothing is said; without, the last is the output.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::residual::{ResidualBlock, ResidualConfig};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Dropout, Init, InitRule, NormConfig, Params,
};
use crate::ops::pool::max_pool2d;

/// It has no keys of its own.
#[derive(Debug, Deserialize)]
struct Keys {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BlockKind {
    Basic,
    Bottleneck,
    /// Res2Net's: the channels in four parts, each convolved with the one before.
    Bottle2neck,
}

/// Blocks of one model.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    kind: BlockKind,
    groups: usize,
    /// Channels of a group, where a block has 64.
    base_width: usize,
    /// Whether what joins two blocks adds the last to it.
    root_shortcut: bool,
}

/// A model: convolutions and depths of trees, channels, blocks.
struct Arch {
    levels: [usize; LEVELS],
    channels: [usize; LEVELS],
    blocks: Blocks,
}

const LEVELS: usize = 6;
const NAMES: [&str; 12] = [
    "dla34",
    "dla46_c",
    "dla46x_c",
    "dla60",
    "dla60_res2net",
    "dla60_res2next",
    "dla60x",
    "dla60x_c",
    "dla102",
    "dla102x",
    "dla102x2",
    "dla169",
];
const NARROW: [usize; LEVELS] = [16, 32, 64, 64, 128, 256];
const WIDE: [usize; LEVELS] = [16, 32, 128, 256, 512, 1024];
/// Parts of a Res2Net block.
const SCALE: usize = 4;

/// All names.
pub(super) fn names() -> Vec<String> {
    NAMES.map(String::from).to_vec()
}

impl Arch {
    fn named(name: &str) -> Self {
        let (kind, groups, base_width) = match name {
            "dla34" => (BlockKind::Basic, 1, 64),
            "dla60_res2net" => (BlockKind::Bottle2neck, 1, 28),
            "dla60_res2next" => (BlockKind::Bottle2neck, 8, 4),
            "dla102x2" => (BlockKind::Bottleneck, 64, 4),
            _ if name.contains('x') => (BlockKind::Bottleneck, 32, 4),
            _ => (BlockKind::Bottleneck, 1, 64),
        };
        let deep = name.starts_with("dla102") || name == "dla169";
        let levels = match name {
            "dla34" | "dla46_c" | "dla46x_c" => [1, 1, 1, 2, 2, 1],
            "dla169" => [1, 1, 2, 3, 5, 1],
            _ if deep => [1, 1, 1, 3, 4, 1],
            _ => [1, 1, 1, 2, 3, 1],
        };
        let channels = match name {
            "dla34" => [16, 32, 64, 128, 256, 512],
            _ if name.ends_with("_c") => NARROW,
            _ => WIDE,
        };
        Self {
            levels,
            channels,
            blocks: Blocks {
                kind,
                groups,
                base_width,
                root_shortcut: deep,
            },
        }
    }
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let _: Keys = asked.node.read_knowing(COMMON)?;
    if asked.output_stride != 32 {
        let message = format!("`output_stride` is {}, DLA has 32", asked.output_stride);
        return Err(error_at(asked.node, "output_stride", message, ""));
    }
    let arch = Arch::named(&asked.name);
    let map = |i: usize| Feature {
        channels: arch.channels[i],
        stride: 1usize << i,
    };
    let maps: Vec<_> = (0..LEVELS).map(map).collect();
    let (wanted, dropout) = if asked.features_only {
        let wanted = asked.wanted_or(&maps, Some(&[1, 2, 3, 4, 5]))?;
        (wanted, None)
    } else {
        (vec![LEVELS - 1], asked.head_dropout()?)
    };
    let style = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(Activation::Relu),
        ..ConvStyle::default()
    };

    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Conv2d"], Init::KAIMING));
    let convs = |from: usize, to: usize, [count, stride, kernel]: [usize; 3], at: &Params| {
        let conv = |i: usize| {
            let (from, stride) = if i == 0 { (from, stride) } else { (to, 1) };
            let conv = ConvConfig::new(from, to, kernel).stride(stride);
            let conv = conv.pad(kernel / 2).bias(false);
            style.named(conv, at, 3 * i, 3 * i + 1)
        };
        (0..count).map(conv).collect::<Vec<_>>()
    };
    let [channels, levels] = [arch.channels, arch.levels];
    let stem = convs(
        asked.channels_in,
        channels[0],
        [1, 1, 7],
        &params.at("base_layer"),
    );
    let last = wanted.last().copied().unwrap_or(0);
    let level = |i: usize| {
        let at = params.at(format!("level{i}"));
        let before = channels[i.saturating_sub(1)];
        if i < 2 {
            return Level::Convs(convs(before, channels[i], [levels[i], i + 1, 3], &at));
        }
        let tree = TreeConfig {
            depth: levels[i],
            channels_in: before,
            channels_out: channels[i],
            stride: 2,
            level_root: i > 2,
            above: 0,
        };
        Level::Tree(Box::new(tree.init(&arch.blocks, &style, &at)))
    };
    let levels = (0..=last).map(level).collect();
    params.built();
    Ok(Box::new(TimmDla {
        stem,
        levels,
        features: wanted.iter().map(|i| maps[*i]).collect(),
        size_divisor: if last > 1 { maps[last].stride } else { 1 },
        wanted,
        dropout,
        channels_in: asked.channels_in,
    }))
}

/// DLA from timm.
#[derive(Debug)]
pub struct TimmDla {
    stem: Vec<ConvNormAct>,
    levels: Vec<Level>,
    wanted: Vec<usize>,
    features: Vec<Feature>,
    dropout: Option<Dropout>,
    channels_in: usize,
    size_divisor: usize,
}

#[derive(Debug)]
enum Level {
    Convs(Vec<ConvNormAct>),
    Tree(Box<Tree>),
}

impl Backbone for TimmDla {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = pass(&self.stem, x);
        let mut outputs = Vec::new();
        for (i, level) in self.levels.iter().enumerate() {
            x = match level {
                Level::Convs(convs) => pass(convs, x),
                Level::Tree(tree) => tree.forward(x, Vec::new()),
            };
            if self.wanted.contains(&i) {
                outputs.push(x.clone());
            }
        }
        match &self.dropout {
            Some(dropout) => outputs.into_iter().map(|x| dropout.forward(x)).collect(),
            None => outputs,
        }
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }

    /// A pooling and a convolution of stride 2 give maps of one size where theirs is even.
    fn size_divisor(&self) -> usize {
        self.size_divisor
    }
}

fn pass(convs: &[ConvNormAct], x: Tensor<4>) -> Tensor<4> {
    convs.iter().fold(x, |x, conv| conv.forward(x))
}

/// How to make a [`Tree`].
#[derive(Clone, Copy)]
struct TreeConfig {
    /// 1 for two blocks.
    depth: usize,
    channels_in: usize,
    channels_out: usize,
    stride: usize,
    /// Whether the input is joined, too.
    level_root: bool,
    /// Channels that are joined from above.
    above: usize,
}

impl TreeConfig {
    fn init(self, blocks: &Blocks, style: &ConvStyle, at: &Params) -> Tree {
        let (from, to) = (self.channels_in, self.channels_out);
        let above = self.above + if self.level_root { from } else { 0 };
        let project = (self.depth == 1 && from != to).then(|| {
            let conv = ConvConfig::new(from, to, 1).bias(false);
            style.act(None).named(conv, &at.at("project"), 0, 1)
        });
        let (first, second) = (at.at("tree1"), at.at("tree2"));
        let parts = if self.depth == 1 {
            let pair = [
                Block::new(from, to, self.stride, blocks, style, &first),
                Block::new(to, to, 1, blocks, style, &second),
            ];
            let root = at.at("root");
            let conv = ConvConfig::new(2 * to + above, to, 1).bias(false);
            Parts::Blocks(Box::new(Pair {
                blocks: pair,
                root: style.named(conv, &root, "conv", "bn"),
                shortcut: blocks.root_shortcut,
            }))
        } else {
            let depth = self.depth - 1;
            let inner = Self {
                depth,
                level_root: false,
                above: 0,
                ..self
            };
            let after = Self {
                channels_in: to,
                stride: 1,
                above: above + to,
                ..inner
            };
            Parts::Trees(Box::new([
                inner.init(blocks, style, &first),
                after.init(blocks, style, &second),
            ]))
        };
        Tree {
            stride: self.stride,
            project,
            level_root: self.level_root,
            parts,
        }
    }
}

/// Two blocks or two trees, one after the other.
#[derive(Debug)]
struct Tree {
    stride: usize,
    /// Of the first block's shortcut.
    project: Option<ConvNormAct>,
    level_root: bool,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Trees(Box<[Tree; 2]>),
    Blocks(Box<Pair>),
}

/// Two blocks, and what joins them.
#[derive(Debug)]
struct Pair {
    blocks: [Block; 2],
    root: ConvNormAct,
    /// Whether the second's map is added.
    shortcut: bool,
}

impl Tree {
    /// `above` is what the root of the last two blocks joins, too.
    fn forward(&self, x: Tensor<4>, mut above: Vec<Tensor<4>>) -> Tensor<4> {
        let bottom = || match self.stride {
            1 => x.clone(),
            stride => max_pool2d(x.clone(), stride, stride, 0),
        };
        if self.level_root {
            above.push(bottom());
        }
        match &self.parts {
            Parts::Trees(pair) => {
                let first = pair[0].forward(x, Vec::new());
                above.push(first.clone());
                pair[1].forward(first, above)
            }
            Parts::Blocks(pair) => {
                let [first, second] = &pair.blocks;
                let passed = match &self.project {
                    Some(project) => project.forward(bottom()),
                    None => bottom(),
                };
                let first = first.forward(x, passed);
                let second = second.forward(first.clone(), first.clone());
                let mut all = vec![second.clone(), first];
                all.append(&mut above);
                let all = Tensor::cat(all, 1);
                match pair.shortcut {
                    true => pair.root.forward_onto(all, second),
                    false => pair.root.forward(all),
                }
            }
        }
    }
}

/// A block that a shortcut is given to.
#[derive(Debug)]
enum Block {
    Plain(Box<ResidualBlock>),
    Bottle2neck(Box<Bottle2neck>),
}

impl Block {
    fn new(
        from: usize,
        to: usize,
        stride: usize,
        blocks: &Blocks,
        style: &ConvStyle,
        at: &Params,
    ) -> Self {
        let width = to * blocks.base_width / 64 * blocks.groups / 2;
        let config = match blocks.kind {
            BlockKind::Basic => ResidualConfig::basic(from, to),
            BlockKind::Bottleneck => ResidualConfig::bottleneck(from, width, to),
            BlockKind::Bottle2neck => {
                let ends = [from, to];
                let made = Bottle2neck::new(ends, width, stride, blocks.groups, style, at);
                return Self::Bottle2neck(Box::new(made));
            }
        };
        let config = ResidualConfig {
            stride,
            groups: blocks.groups,
            ..config
        };
        Self::Plain(Box::new(config.init_branch(style, at)))
    }

    fn forward(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Plain(block) => block.forward_onto(x, shortcut),
            Self::Bottle2neck(block) => block.forward(x, shortcut),
        }
    }
}

/// Res2Net's block: all parts but the last are convolved, each together with what came of the one before.
#[derive(Debug)]
struct Bottle2neck {
    conv1: ConvNormAct,
    convs: Vec<ConvNormAct>,
    conv3: ConvNormAct,
    width: usize,
    stride: usize,
}

impl Bottle2neck {
    fn new(
        [from, to]: [usize; 2],
        width: usize,
        stride: usize,
        groups: usize,
        style: &ConvStyle,
        at: &Params,
    ) -> Self {
        let conv1 = ConvConfig::new(from, SCALE * width, 1).bias(false);
        let conv1 = style.named(conv1, at, "conv1", "bn1");
        let three = ConvConfig::new(width, width, 3).stride(stride).pad(1);
        let three = three.groups(groups).bias(false);
        let part = |i: usize| {
            let names = (format!("convs.{i}"), format!("bns.{i}"));
            style.named(three.clone(), at, names.0, names.1)
        };
        let convs = (0..SCALE - 1).map(part).collect();
        at.listed_in_order(["convs", "bns"]);
        let conv3 = ConvConfig::new(SCALE * width, to, 1).bias(false);
        Self {
            conv1,
            convs,
            conv3: style.named(conv3, at, "conv3", "bn3"),
            width,
            stride,
        }
    }

    fn forward(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward(x);
        let part = |i: usize| x.clone().narrow(1, i * self.width, self.width);
        let mut parts: Vec<Tensor<4>> = Vec::new();
        for (i, conv) in self.convs.iter().enumerate() {
            // The first block of a tree does not pass its parts on.
            let input = match parts.last() {
                Some(before) if self.stride == 1 => before.clone() + part(i),
                _ => part(i),
            };
            parts.push(conv.forward(input));
        }
        let last = part(SCALE - 1);
        parts.push(match self.stride {
            1 => last,
            stride => {
                let options = AvgPoolOptions::new([3; 2])
                    .with_stride([stride; 2])
                    .with_padding([1; 2])
                    .with_count_include_pad(true);
                avg_pool2d(last, options)
            }
        });
        self.conv3.forward_onto(Tensor::cat(parts, 1), shortcut)
    }
}
