//! Stages of cross-stage partial networks (Wang et al. 2019, arXiv 1911.11929) and of Darknet (Redmon and Farhadi 2018, arXiv 1804.02767), as
//! MMDetection 3.3.0, MMPretrain 1.2.0 and timm 0.9.16 build them: a 1x1 convolution whose channels are split in two halves, of which one passes residual blocks
//! and the other goes past them, and a 1x1 convolution that joins them.
//!
//! Shapes: x `[N, channels_in, H, W]`, output `[N, channels_out, H / stride, W / stride]`.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Init, InitRule, Params, SqueezeExcite,
};

/// Whose names the tensors have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Names {
    Mmdet,
    Mmpretrain,
    Timm,
}

impl Names {
    /// Of a stage: what makes it smaller, widens it, follows the blocks, and joins the halves.
    fn parts(self) -> [&'static str; 4] {
        match self {
            // Its stages have no halves.
            Self::Mmdet => ["conv", "", "", ""],
            Self::Mmpretrain => [
                "downsample_conv",
                "expand_conv",
                "atfer_blocks_conv", // as the original spells it
                "final_conv",
            ],
            Self::Timm => [
                "conv_down",
                "conv_exp",
                "conv_transition_b",
                "conv_transition",
            ],
        }
    }

    /// The i-th block of a stage.
    fn block(self, at: &Params, i: usize) -> Params {
        match self {
            Self::Mmdet => at.at(format!("res{i}")),
            Self::Mmpretrain | Self::Timm => at.at("blocks").at(i),
        }
    }

    /// A convolution `conv` and its norm `bn` at a place.
    pub fn module(self, style: &ConvStyle, conv: ConvConfig, at: &Params) -> ConvNormAct {
        match self {
            Self::Mmdet | Self::Mmpretrain => style.module(conv, at),
            Self::Timm => style.named(conv.bias(false), at, "conv", "bn"),
        }
    }
}

/// Of which convolutions a block is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BlockKind {
    /// 1x1, 3x3; nothing follows the sum.
    Dark,
    /// 3x3, 1x1; nothing follows the sum.
    Edge,
    /// ResNet's: 1x1, 3x3, 1x1, and an activation after the sum.
    Bottle,
}

/// How to make a block, which keeps its channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockConfig {
    pub kind: BlockKind,
    pub channels: usize,
    pub channels_inside: usize,
    pub groups: usize,
    pub dilation: usize,
    /// Channels inside of squeeze-and-excite, if there is any.
    pub squeezed: Option<usize>,
    pub drop_path_rate: f64,
    /// Whether it begins as the identity: the last norm's weight is 0.
    pub zero_residual: bool,
}

impl BlockConfig {
    fn convs(&self) -> Vec<ConvConfig> {
        let (c, inside) = (self.channels, self.channels_inside);
        let one = |from, to| ConvConfig::new(from, to, 1);
        let three = |from, to| {
            ConvConfig::new(from, to, 3)
                .pad(self.dilation)
                .dilation(self.dilation)
                .groups(self.groups)
        };
        match self.kind {
            BlockKind::Dark => vec![one(c, inside), three(inside, c)],
            BlockKind::Edge => vec![three(c, inside), one(inside, c)],
            BlockKind::Bottle => vec![one(c, inside), three(inside, inside), one(inside, c)],
        }
    }

    fn init(&self, style: &ConvStyle, names: Names, at: &Params) -> Block {
        let bottle = self.kind == BlockKind::Bottle;
        let drop_path = DropPath::new(self.drop_path_rate, &at.at("drop_path"));
        let configs = self.convs();
        let count = configs.len();
        let bare = style.act(None);
        let mut convs = Vec::new();
        let mut squeeze_excite = None;
        for (i, conv) in configs.into_iter().enumerate() {
            let last = i + 1 == count;
            let after_sum = last && bottle && drop_path.is_some();
            let style = if after_sum { &bare } else { style };
            let name = format!("conv{}", i + 1);
            let place = at.at(&name);
            if last && self.zero_residual {
                let zero = InitRule::all(Init::Constant(0.0), 0.0);
                place.at("bn").initialise_built(zero);
            }
            convs.push(if names == Names::Mmpretrain && bottle {
                let norm = style.norm.as_ref().map_or("", |n| n.abbreviation());
                let norm = format!("{norm}{}", i + 1);
                style.named(conv.bias(false), at, name, norm)
            } else {
                names.module(style, conv, &place)
            });
            if i + 2 == count
                && let Some(squeezed) = self.squeezed
            {
                let at = at.at(if bottle { "attn2" } else { "attn" });
                squeeze_excite = Some(self.squeeze_excite(squeezed, style.act, &at));
            }
        }
        Block {
            convs,
            squeeze_excite,
            drop_path: drop_path.map(|drop| (drop, style.act.filter(|_| bottle))),
            act_first: !bottle,
        }
    }

    fn squeeze_excite(
        &self,
        squeezed: usize,
        act: Option<Activation>,
        at: &Params,
    ) -> SqueezeExcite {
        let act = act.unwrap_or(Activation::Relu);
        let (reduce, expand) = (at.at("fc1"), at.at("fc2"));
        let convs = [(act, &reduce), (Activation::Sigmoid, &expand)];
        SqueezeExcite::new(self.channels_inside, squeezed, convs, |conv, act, at| {
            conv.act(Some(act)).init(at, None)
        })
    }
}

/// Two or three convolutions, added to what goes in.
#[derive(Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    /// Before the last convolution.
    squeeze_excite: Option<SqueezeExcite>,
    /// What leaves the branch out, and the activation that then follows the sum.
    drop_path: Option<(DropPath, Option<Activation>)>,
    /// Whether the last activation comes before the sum.
    act_first: bool,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let mut y = before.iter().fold(x.clone(), |y, conv| conv.forward(y));
        if let Some(se) = &self.squeeze_excite {
            y = se.forward(y);
        }
        match &self.drop_path {
            Some((drop, act)) => {
                let sum = drop.forward(last.forward(y)) + x;
                match act {
                    Some(act) => act.forward(sum),
                    None => sum,
                }
            }
            None if self.act_first => last.forward(y) + x,
            None => last.forward_onto(y, x),
        }
    }
}

/// How a stage begins: with a convolution of 3x3, or a pooling of 2x2 and one of 1x1.
#[derive(Clone, Copy, Debug)]
pub(super) struct DownConfig {
    pub channels: usize,
    pub stride: usize,
    pub dilation: usize,
    pub groups: usize,
    pub pooled: bool,
}

/// How the two halves are made and joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitConfig {
    /// Channels of both halves.
    pub channels: usize,
    /// No activation before the split.
    pub linear: bool,
    /// The first half passes the blocks, and no convolution follows them; else the second half does, and a convolution follows.
    pub first: bool,
}

/// How to make a [`CrossStage`].
#[derive(Clone, Debug)]
pub(super) struct CrossStageConfig {
    pub channels_in: usize,
    pub down: Option<DownConfig>,
    /// None for Darknet's, where all channels pass the blocks.
    pub split: Option<SplitConfig>,
    pub blocks: Vec<BlockConfig>,
    pub channels_out: usize,
}

impl CrossStageConfig {
    /// Channels of all norms.
    pub fn norms(&self) -> Vec<usize> {
        let blocks = self.blocks.iter();
        let inside = blocks.flat_map(|block| [block.channels, block.channels_inside]);
        let split = self.split.iter().flat_map(|s| [s.channels, s.channels / 2]);
        let down = self.down.iter().map(|down| down.channels);
        inside
            .chain(split)
            .chain(down)
            .chain([self.channels_out])
            .collect()
    }

    /// Builds the stage. `block_style` is that of the blocks.
    pub fn init(
        &self,
        style: &ConvStyle,
        block_style: &ConvStyle,
        names: Names,
        at: &Params,
    ) -> CrossStage {
        let [down_name, expand, after, last] = names.parts();
        let one = |style: &ConvStyle, from, to, name: &str| {
            names.module(style, ConvConfig::new(from, to, 1), &at.at(name))
        };
        let down = self.down.map(|down| {
            let DownConfig {
                channels, groups, ..
            } = down;
            if down.pooled {
                let conv = ConvConfig::new(self.channels_in, channels, 1).groups(groups);
                // The pooling is the first in the sequence.
                return names.module(style, conv, &at.at(down_name).at(1));
            }
            let conv = ConvConfig::new(self.channels_in, channels, 3)
                .stride(down.stride)
                .pad(down.dilation)
                .dilation(down.dilation)
                .groups(groups);
            names.module(style, conv, &at.at(down_name))
        });
        let pool = self.down.filter(|down| down.pooled && down.stride == 2);
        let channels = self.down.map_or(self.channels_in, |down| down.channels);
        let bare = style.act(None);
        let expand = self.split.map(|split| {
            let style = if split.linear { &bare } else { style };
            one(style, channels, split.channels, expand)
        });
        let block =
            |(i, block): (usize, &BlockConfig)| block.init(block_style, names, &names.block(at, i));
        let blocks = self.blocks.iter().enumerate().map(block).collect();
        let split = self.split.zip(expand).map(|(split, expand)| Split {
            expand,
            half: split.channels / 2,
            first: split.first,
            after: (!split.first).then(|| {
                let half = split.channels / 2;
                one(style, half, half, after)
            }),
            last: one(style, split.channels, self.channels_out, last),
        });
        CrossStage {
            pool: pool.is_some(),
            down,
            split,
            blocks,
        }
    }
}

/// One stage.
#[derive(Debug)]
pub(super) struct CrossStage {
    pool: bool,
    down: Option<ConvNormAct>,
    split: Option<Split>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Split {
    expand: ConvNormAct,
    half: usize,
    first: bool,
    after: Option<ConvNormAct>,
    last: ConvNormAct,
}

impl CrossStage {
    pub fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        if self.pool {
            x = avg_pool2d(x, AvgPoolOptions::new([2; 2]).with_stride([2; 2]));
        }
        if let Some(down) = &self.down {
            x = down.forward(x);
        }
        let Some(split) = &self.split else {
            return self.pass(x);
        };
        let x = split.expand.forward(x);
        let first = x.clone().narrow(1, 0, split.half);
        let second = x.narrow(1, split.half, split.half);
        let halves = if split.first {
            vec![self.pass(first), second]
        } else {
            let passed = self.pass(second);
            let passed = match &split.after {
                Some(after) => after.forward(passed),
                None => passed,
            };
            vec![first, passed]
        };
        split.last.forward(Tensor::cat(halves, 1))
    }

    fn pass(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }

    /// Whether its norms take in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        let split = self.split.iter().map(|split| &split.last);
        split.chain(&self.down).any(ConvNormAct::learning)
    }
}
