//! timm's EfficientViT of MIT (Cai et al. 2022, arXiv 2205.14756): inverted residual blocks, and in the later stages attention whose scores
//! are products of positive numbers, so that its cost grows with the number of places. b0 to b3, and l1 to l3.
//!
//! Shapes: stage i gives `[N, widths[i + 1], H / (4 * 2^i), W / ...]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::{Backbone, Feature};
use crate::config::Diagnostics;
use crate::layers::{Activation, ConvConfig, ConvNormAct, NormConfig, Params, product};

/// No keys of its own.
#[derive(Debug, Deserialize)]
struct Keys {}

/// Name, channels of the stem and the four stages, blocks of each, and channels of a head.
type Row = (&'static str, [usize; 5], [usize; 5], usize);

const ROWS: [Row; 7] = [
    ("efficientvit_b0", [8, 16, 32, 64, 128], [1, 2, 2, 2, 2], 16),
    (
        "efficientvit_b1",
        [16, 32, 64, 128, 256],
        [1, 2, 3, 3, 4],
        16,
    ),
    (
        "efficientvit_b2",
        [24, 48, 96, 192, 384],
        [1, 3, 4, 4, 6],
        32,
    ),
    (
        "efficientvit_b3",
        [32, 64, 128, 256, 512],
        [1, 4, 6, 6, 9],
        32,
    ),
    (
        "efficientvit_l1",
        [32, 64, 128, 256, 512],
        [1, 1, 1, 6, 6],
        32,
    ),
    (
        "efficientvit_l2",
        [32, 64, 128, 256, 512],
        [1, 2, 2, 8, 8],
        32,
    ),
    (
        "efficientvit_l3",
        [64, 128, 256, 512, 1024],
        [1, 2, 2, 8, 8],
        32,
    ),
];

/// Side of the filters that gather neighbours before the attention.
const GATHERED: usize = 5;
/// Added to what the attention divides by.
const EPS: f64 = 1e-5;

pub(super) fn names() -> Vec<String> {
    ROWS.iter().map(|row| row.0.to_string()).collect()
}

/// Which convolutions a block has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Depthwise, after a widening one unless that is by 1.
    Depthwise,
    /// A full one that widens, and a narrowing one.
    Fused,
    /// Two full ones.
    Full,
}

/// How all layers are made.
struct Make {
    act: Activation,
    norm: NormConfig,
}

struct BlockShape {
    channels: [usize; 2],
    stride: usize,
    expansion: usize,
    /// Whether the last convolution alone has a norm, and the others a bias.
    one_norm: bool,
    kind: Kind,
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let Keys {} = asked.node.read_knowing(COMMON)?;
    asked.no_output_stride()?;
    asked.no_drop_path()?;
    let row = ROWS.iter().find(|row| row.0 == asked.name);
    let (name, widths, depths, head) = row.expect("the family knows its names");
    let map = |i: usize| Feature {
        channels: widths[i + 1],
        stride: 4 << i,
    };
    let maps = [0, 1, 2, 3].map(map);
    let out_indices = asked.levels(&maps)?;
    let large = name.starts_with("efficientvit_l");
    let make = match large {
        true => Make {
            act: Activation::GeluTanh,
            norm: NormConfig::batch(1e-7),
        },
        false => Make {
            act: Activation::HSwish,
            norm: NormConfig::batch(1e-5),
        },
    };
    let first = ConvConfig::new(asked.channels_in, widths[0], 3)
        .stride(2)
        .pad(1);
    let first = make.layer(first, true, true, &asked.flattened("stem.in_conv"));
    let stem = BlockShape {
        channels: [widths[0]; 2],
        stride: 1,
        expansion: 1,
        one_norm: false,
        kind: if large { Kind::Full } else { Kind::Depthwise },
    };
    let stem = (0..depths[0]).map(|i| {
        let at = asked.flattened(&format!("stem.res{i}"));
        Block::new(&stem, true, &make, &at.at("main"))
    });
    let stem = stem.collect();
    // What comes after the last level that is asked for is not there.
    let count = out_indices.last().map_or(1, |last| last + 1);
    let stage = |i: usize| {
        let at = asked.flattened(&format!("stages.{i}")).at("blocks");
        let sizes = [widths[i], widths[i + 1], depths[i + 1], *head];
        Stage::new(i, large, sizes, &make, &at)
    };
    Ok(Box::new(EfficientVit {
        first,
        stem,
        stages: (0..count).map(stage).collect(),
        features: out_indices.iter().map(|i| maps[*i]).collect(),
        out_indices,
        channels_in: asked.channels_in,
    }))
}

impl Make {
    /// A convolution with a norm, or with a bias.
    fn layer(&self, conv: ConvConfig, norm: bool, act: bool, at: &Params) -> ConvNormAct {
        let norm_at = at.at("norm");
        conv.bias(!norm)
            .act(act.then_some(self.act))
            .init(&at.at("conv"), norm.then_some((&self.norm, &norm_at)))
    }
}

/// EfficientViT of MIT from timm.
#[derive(Debug)]
pub struct EfficientVit {
    first: ConvNormAct,
    stem: Vec<Block>,
    stages: Vec<Stage>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
}

impl Backbone for EfficientVit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.first.forward(x);
        let mut x = self.stem.iter().fold(x, |x, block| block.forward(x));
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.forward(x);
            if self.out_indices.contains(&i) {
                maps.push(x.clone());
            }
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<Block>,
    /// Attention, then a block, in turn.
    mixed: Vec<(LinearAttention, Block)>,
}

impl Stage {
    fn new(
        i: usize,
        large: bool,
        [from, to, depth, head]: [usize; 4],
        make: &Make,
        at: &Params,
    ) -> Self {
        let attends = i >= if large { 3 } else { 2 };
        let one_norm = if large { i >= 2 } else { attends };
        let kind = if large && i < 2 {
            Kind::Fused
        } else {
            Kind::Depthwise
        };
        let [shrinking, local, mixed] = match (large, attends) {
            (false, _) => [4, 4, 4],
            (true, false) => [16, 4, 0],
            (true, true) => [24, 0, 6],
        };
        let shape = |channels, stride, expansion, one_norm| BlockShape {
            channels,
            stride,
            expansion,
            one_norm,
            kind,
        };
        let main = |j: usize| at.at(format!("{j}.main"));
        let first = shape([from, to], 2, shrinking, one_norm);
        let mut blocks = vec![Block::new(&first, false, make, &main(0))];
        if attends {
            let block = BlockShape {
                kind: Kind::Depthwise,
                ..shape([to; 2], 1, mixed, true)
            };
            let mixed = |j: usize| {
                let at = at.at(j);
                (
                    LinearAttention::new(to, head, make, &at.at("context_module.main")),
                    Block::new(&block, true, make, &at.at("local_module.main")),
                )
            };
            let mixed = (1..=depth).map(mixed).collect();
            return Self { blocks, mixed };
        }
        // Those of the large ones come after the first, those of the others with it.
        let count = if large { depth + 1 } else { depth };
        let block = shape([to; 2], 1, local, one_norm && large);
        blocks.extend((1..count).map(|j| Block::new(&block, true, make, &main(j))));
        Self {
            blocks,
            mixed: Vec::new(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let mixed = |x: Tensor<4>, (attention, block): &(LinearAttention, Block)| {
            block.forward(attention.forward(x))
        };
        self.mixed.iter().fold(x, mixed)
    }
}

/// Two or three convolutions.
#[derive(Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    shortcut: bool,
}

impl Block {
    fn new(shape: &BlockShape, shortcut: bool, make: &Make, at: &Params) -> Self {
        let &BlockShape {
            channels: [from, to],
            stride,
            expansion,
            one_norm,
            kind,
        } = shape;
        let wide = from * expansion;
        let three = |from, to| ConvConfig::new(from, to, 3).pad(1);
        let narrow = ("point_conv", ConvConfig::new(wide, to, 1));
        let convs = match kind {
            Kind::Full => vec![
                ("conv1", three(from, wide).stride(stride)),
                ("conv2", three(wide, to)),
            ],
            Kind::Fused => vec![("spatial_conv", three(from, wide).stride(stride)), narrow],
            Kind::Depthwise => {
                let filter = ("depth_conv", three(wide, wide).stride(stride).groups(wide));
                let widen = ("inverted_conv", ConvConfig::new(from, wide, 1));
                match expansion {
                    1 => vec![filter, narrow],
                    _ => vec![widen, filter, narrow],
                }
            }
        };
        let count = convs.len();
        let layer = |(i, (name, conv)): (usize, (&str, ConvConfig))| {
            let last = i + 1 == count;
            make.layer(conv, last || !one_norm, !last, &at.at(name))
        };
        Self {
            convs: convs.into_iter().enumerate().map(layer).collect(),
            shortcut,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let y = before.iter().fold(x.clone(), |x, layer| layer.forward(x));
        match self.shortcut {
            true => last.forward_onto(y, x),
            false => last.forward(y),
        }
    }
}

/// Attention by products of positive numbers, of each place and of what is gathered around it; added to its input.
#[derive(Debug)]
struct LinearAttention {
    qkv: ConvNormAct,
    /// A filter for each channel, then one across those of a head.
    gather: [ConvNormAct; 2],
    proj: ConvNormAct,
    head: usize,
}

impl LinearAttention {
    fn new(channels: usize, head: usize, make: &Make, at: &Params) -> Self {
        let heads = channels / head;
        let all = 3 * heads * head;
        let qkv = ConvConfig::new(channels, all, 1).bias(false);
        let filter = ConvConfig::new(all, all, GATHERED)
            .pad(GATHERED / 2)
            .groups(all)
            .bias(false);
        let mix = ConvConfig::new(all, all, 1).groups(3 * heads).bias(false);
        let qkv = qkv.init(&at.at("qkv.conv"), None);
        let gather = [
            filter.init(&at.at("aggreg.0.0"), None),
            mix.init(&at.at("aggreg.0.1"), None),
        ];
        let proj = ConvConfig::new(2 * heads * head, channels, 1);
        Self {
            qkv,
            gather,
            proj: make.layer(proj, true, false, &at.at("proj")),
            head,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, _, h, w] = x.dims();
        let qkv = self.qkv.forward(x.clone());
        let gathered = self
            .gather
            .iter()
            .fold(qkv.clone(), |x, conv| conv.forward(x));
        let all = Tensor::cat(vec![qkv, gathered], 1);
        let (d, heads) = (self.head, all.dims()[1] / (3 * self.head));
        let all = all.reshape([b, heads, 3 * d, h * w]);
        let part = |i: usize| all.clone().narrow(2, i * d, d);
        let (q, k) = (
            Activation::Relu.forward(part(0)),
            Activation::Relu.forward(part(1)),
        );
        let v = part(2);
        // [d of v, d of k], and the sum of the keys: what each place asks.
        let context = product(v, k.clone().swap_dims(2, 3));
        let total = k.sum_dim(3).swap_dims(2, 3);
        let y = product(context, q.clone()) / (product(total, q) + EPS);
        self.proj.forward_onto(y.reshape([b, heads * d, h, w]), x)
    }
}
