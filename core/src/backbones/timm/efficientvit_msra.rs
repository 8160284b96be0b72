//! timm's EfficientViT of Microsoft (Liu et al. 2023, arXiv 2305.07027), m0 to m5: in windows, attention of which each head takes what the one
//! before it gave. Its biases are for places of windows and its sizes are counted from `img_size`, so that pictures have one size.
//!
//! Shapes: stage i gives `[N, channels[i], H / (16 * 2^i), W / ...]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::{Backbone, Feature};
use crate::config::{Bounded, Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, Init, InitRule, NormConfig, OffsetBias, Params,
    SqueezeExcite, attend, join_heads, join_windows, map_from_tokens, tokens_from_map, windows,
};

/// The keys of its own.
#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<Bounded<16, 8192>>,
}

/// Name, and of each stage channels, blocks and heads; sides of the filters of each head's queries.
type Row = (&'static str, [usize; 3], [usize; 3], [usize; 3], [usize; 4]);

const ROWS: [Row; 6] = [
    (
        "efficientvit_m0",
        [64, 128, 192],
        [1, 2, 3],
        [4, 4, 4],
        [5, 5, 5, 5],
    ),
    (
        "efficientvit_m1",
        [128, 144, 192],
        [1, 2, 3],
        [2, 3, 3],
        [7, 5, 3, 3],
    ),
    (
        "efficientvit_m2",
        [128, 192, 224],
        [1, 2, 3],
        [4, 3, 2],
        [7, 5, 3, 3],
    ),
    (
        "efficientvit_m3",
        [128, 240, 320],
        [1, 2, 3],
        [4, 3, 4],
        [5, 5, 5, 5],
    ),
    (
        "efficientvit_m4",
        [128, 256, 384],
        [1, 2, 3],
        [4, 4, 4],
        [7, 5, 3, 3],
    ),
    (
        "efficientvit_m5",
        [192, 288, 384],
        [1, 3, 4],
        [3, 3, 4],
        [7, 5, 3, 3],
    ),
];

/// Channels of q and of k in a head.
const KEY: usize = 16;
const WINDOW: usize = 7;
const PATCH: usize = 16;

pub(super) fn names() -> Vec<String> {
    ROWS.iter().map(|row| row.0.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let known: Vec<_> = COMMON.iter().copied().chain(["img_size"]).collect();
    let keys: Keys = asked.node.read_knowing(&known)?;
    asked.no_output_stride()?;
    asked.no_drop_path()?;
    let picture = keys.img_size.map_or(224, Bounded::get);
    if !picture.is_multiple_of(PATCH) {
        let message = format!("`img_size` is {picture}, must be a multiple of {PATCH}");
        return Err(error_at(asked.node, "img_size", message, ""));
    }
    let row = ROWS.iter().find(|row| row.0 == asked.name);
    let (_, channels, depths, heads, kernels) = row.expect("the family knows its names");
    let map = |i: usize| Feature {
        channels: channels[i],
        stride: PATCH << i,
    };
    let maps = [0, 1, 2].map(map);
    let out_indices = asked.levels(&maps)?;
    let patch = (0..4).map(|i| {
        let from = if i == 0 {
            asked.channels_in
        } else {
            channels[0] >> (4 - i)
        };
        let conv = ConvConfig::new(from, channels[0] >> (3 - i), 3)
            .stride(2)
            .pad(1);
        let conv = conv.act((i < 3).then_some(Activation::Relu));
        layer(
            conv,
            &asked.flattened(&format!("patch_embed.conv{}", i + 1)),
        )
    });
    let patch = patch.collect();
    // What comes after the last level that is asked for is not there.
    let count = out_indices.last().map_or(1, |last| last + 1);
    let mut side = picture / PATCH;
    let mut stages = Vec::new();
    for i in 0..count {
        let at = asked.flattened(&format!("stages.{i}"));
        let shrink = (i > 0).then(|| {
            side = side.div_ceil(2);
            Shrink::new(channels[i - 1], channels[i], &at.at("downsample"))
        });
        let shape = BlockShape {
            channels: channels[i],
            heads: heads[i],
            window: side.min(WINDOW),
            kernels,
        };
        let blocks = (0..depths[i]).map(|j| Block::new(&shape, &at.at(format!("blocks.{j}"))));
        stages.push(Stage {
            shrink,
            blocks: blocks.collect(),
        });
    }
    asked.params.built();
    Ok(Box::new(EfficientVitMsra {
        patch,
        stages,
        features: out_indices.iter().map(|i| maps[*i]).collect(),
        out_indices,
        channels_in: asked.channels_in,
        picture,
    }))
}

/// A convolution and its norm.
fn layer(conv: ConvConfig, at: &Params) -> ConvNormAct {
    let norm = NormConfig::batch(1e-5);
    conv.init(&at.at("conv"), Some((&norm, &at.at("bn"))))
}

/// The last layer of a branch, which begins as none.
fn last_layer(conv: ConvConfig, at: &Params) -> ConvNormAct {
    let zeros = InitRule::all(Init::Constant(0.0), 0.0);
    at.at("bn").initialise_built(zeros);
    layer(conv, at)
}

/// EfficientViT of Microsoft from timm.
#[derive(Debug)]
pub struct EfficientVitMsra {
    patch: Vec<ConvNormAct>,
    stages: Vec<Stage>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
    picture: usize,
}

impl Backbone for EfficientVitMsra {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.patch.iter().fold(x, |x, layer| layer.forward(x));
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            if let Some(shrink) = &stage.shrink {
                x = shrink.forward(x);
            }
            x = stage.blocks.iter().fold(x, |x, block| block.forward(x));
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

    fn only_size(&self) -> Option<[usize; 2]> {
        Some([self.picture; 2])
    }
}

#[derive(Debug)]
struct Stage {
    shrink: Option<Shrink>,
    blocks: Vec<Block>,
}

/// A filter for each channel, then two convolutions of 1x1; each part is added to its input.
#[derive(Debug)]
struct Local {
    filter: ConvNormAct,
    feed: [ConvNormAct; 2],
}

impl Local {
    /// `filter` and `feed` are what the parts are called. `last` makes the filter.
    fn new(
        c: usize,
        [filter, feed]: [&str; 2],
        last: fn(ConvConfig, &Params) -> ConvNormAct,
        at: &Params,
    ) -> Self {
        let depthwise = ConvConfig::new(c, c, 3).pad(1).groups(c);
        let filter = last(depthwise, &at.at(filter).at("m"));
        let feed = at.at(feed).at("m");
        let widen = ConvConfig::new(c, 2 * c, 1).act(Some(Activation::Relu));
        Self {
            filter,
            feed: [
                layer(widen, &feed.at("pw1")),
                last_layer(ConvConfig::new(2 * c, c, 1), &feed.at("pw2")),
            ],
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.filter.forward_onto(x.clone(), x);
        let [widen, narrow] = &self.feed;
        narrow.forward_onto(widen.forward(x.clone()), x)
    }
}

/// Half as many places a side: widen, filter every second place, weigh channels, narrow; neighbours are mixed before and after.
#[derive(Debug)]
struct Shrink {
    before: Local,
    widen: ConvNormAct,
    filter: ConvNormAct,
    squeeze_excite: SqueezeExcite,
    narrow: ConvNormAct,
    after: Local,
}

impl Shrink {
    fn new(from: usize, to: usize, at: &Params) -> Self {
        let before = Local::new(from, ["0", "1"], layer, &at.at("res1"));
        let merge = at.at("patchmerge");
        let wide = 4 * from;
        let act = Some(Activation::Relu);
        let widen = layer(ConvConfig::new(from, wide, 1).act(act), &merge.at("conv1"));
        let filter = ConvConfig::new(wide, wide, 3).stride(2).pad(1).groups(wide);
        let filter = layer(filter.act(act), &merge.at("conv2"));
        let se = merge.at("se");
        let convs = [
            (Activation::Relu, &se.at("fc1")),
            (Activation::Sigmoid, &se.at("fc2")),
        ];
        let squeeze_excite = SqueezeExcite::new(wide, from, convs, |conv, act, at| {
            conv.act(Some(act)).init(at, None)
        });
        Self {
            before,
            widen,
            filter,
            squeeze_excite,
            narrow: layer(ConvConfig::new(wide, to, 1), &merge.at("conv3")),
            after: Local::new(to, ["0", "1"], layer, &at.at("res2")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.widen.forward(self.before.forward(x));
        let x = self.squeeze_excite.forward(self.filter.forward(x));
        self.after.forward(self.narrow.forward(x))
    }
}

struct BlockShape<'a> {
    channels: usize,
    heads: usize,
    window: usize,
    kernels: &'a [usize; 4],
}

/// Neighbours mixed, attention within windows, neighbours mixed.
#[derive(Debug)]
struct Block {
    before: Local,
    attention: CascadedAttention,
    after: Local,
}

impl Block {
    fn new(shape: &BlockShape, at: &Params) -> Self {
        let local = |names| Local::new(shape.channels, names, last_layer, at);
        let before = local(["dw0", "ffn0"]);
        let attention = CascadedAttention::new(shape, &at.at("mixer.m.attn"));
        Self {
            before,
            attention,
            after: local(["dw1", "ffn1"]),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.before.forward(x);
        let x = x.clone() + self.attention.forward_windows(x);
        self.after.forward(x)
    }
}

/// Attention of which each head takes its share of channels and what the head before it gave.
#[derive(Debug)]
struct CascadedAttention {
    bias: OffsetBias,
    /// Of each head: q, k and v, and the filter of q.
    heads: Vec<[ConvNormAct; 2]>,
    proj: ConvNormAct,
    window: usize,
    /// Channels of a head's values.
    value: usize,
}

impl CascadedAttention {
    fn new(shape: &BlockShape, at: &Params) -> Self {
        let (c, heads, window) = (shape.channels, shape.heads, shape.window);
        let bias = OffsetBias::new(heads, [window; 2], 1, false, at);
        let value = c / heads;
        let qkv = |i| {
            let conv = ConvConfig::new(value, 2 * KEY + value, 1);
            layer(conv, &at.at(format!("qkvs.{i}")))
        };
        let qkvs: Vec<_> = (0..heads).map(qkv).collect();
        let filter = |i: usize| {
            let k = shape.kernels[i];
            let conv = ConvConfig::new(KEY, KEY, k).pad(k / 2).groups(KEY);
            layer(conv, &at.at(format!("dws.{i}")))
        };
        let filters: Vec<_> = (0..heads).map(filter).collect();
        Self {
            bias,
            heads: qkvs
                .into_iter()
                .zip(filters)
                .map(|(qkv, filter)| [qkv, filter])
                .collect(),
            proj: last_layer(ConvConfig::new(c, c, 1), &at.at("proj.1")),
            window,
            value,
        }
    }

    /// Within windows, with zeros where the map ends before one.
    fn forward_windows(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let window = [self.window; 2];
        if [h, w] == window {
            return self.forward(x);
        }
        let whole = [h, w].map(|side| side.next_multiple_of(self.window));
        let x = match whole == [h, w] {
            true => x,
            false => x.pad((0, whole[1] - w, 0, whole[0] - h), 0.0),
        };
        let x = map_from_tokens(windows(x.permute([0, 2, 3, 1]), window), window);
        let x = join_windows(tokens_from_map(self.forward(x)), window, whole);
        x.narrow(1, 0, h).narrow(2, 0, w).permute([0, 3, 1, 2])
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let biases = self.bias.forward();
        let mut given: Vec<Tensor<4>> = Vec::new();
        for (i, [qkv, filter]) in self.heads.iter().enumerate() {
            let share = x.clone().narrow(1, i * self.value, self.value);
            let share = match given.last() {
                Some(before) => share + before.clone(),
                None => share,
            };
            let all = qkv.forward(share);
            let part = |from, count| all.clone().narrow(1, from, count);
            let q = tokens_from_map(filter.forward(part(0, KEY)));
            let k = tokens_from_map(part(KEY, KEY));
            let v = tokens_from_map(part(2 * KEY, self.value));
            let bias = biases.clone().narrow(1, i, 1);
            let scale = (KEY as f64).powf(-0.5);
            let alone = |x: Tensor<3>| x.unsqueeze_dim::<4>(1);
            let y = attend(alone(q), alone(k), alone(v), scale, Some(bias));
            given.push(map_from_tokens(join_heads(y), [h, w]));
        }
        let x = Activation::Relu.forward(Tensor::cat(given, 1));
        self.proj.forward(x)
    }
}
