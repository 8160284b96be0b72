//! Vision GNN (Han et al. 2022, arXiv 2206.00272) as MMPretrain 1.2.0 builds it: each place of a map is joined to those that are most like it
//! and takes from them what differs most. `Vig` keeps one map, `PyramidVig` has four stages. Positions are learned for pictures of 224 x 224
//! px, which therefore is their size.
//!
//! Shapes: Vig `[N, C, H / 16, W / 16]` after each block, stage i of PyramidVig `[N, C_i, H / (4 * 2^i), W / ...]`.

use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Int, Tensor, TensorData};
use serde::Deserialize;

use super::options::{OutIndices, act, norm, rate, rising};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Init, NormConfig, Params, Weight,
    tokens_from_map,
};
use crate::limits::Channels;
use crate::ops::resize::Interpolation;

/// The keys of `type='mmpretrain.Vig'` and `'mmpretrain.PyramidVig'`.
#[derive(Debug, Deserialize)]
struct Keys {
    arch: String,
    in_channels: Option<Channels>,
    k: Option<Bounded<1, 98>>,
    out_indices: Option<OutIndices>,
    graph_conv_bias: Option<bool>,
    graph_conv_type: Option<String>,
    /// Of `use_stochastic`.
    epsilon: Option<f64>,
    use_stochastic: Option<bool>,
    drop_path: Option<f64>,
    norm_eval: Option<bool>,
    frozen_stages: Option<i64>,
    /// Of Vig only.
    use_dilation: Option<bool>,
    /// Of Vig only.
    relative_pos: Option<bool>,
}

const OTHERS: &[&str] = &["act_cfg", "norm_cfg", "init_cfg"];

/// Name, blocks and channels.
const VIG: [(&str, usize, usize); 3] = [("tiny", 12, 192), ("small", 16, 320), ("base", 16, 640)];
/// Name, and blocks and channels of each stage.
const PYRAMID: [(&str, [usize; 4], [usize; 4]); 4] = [
    ("tiny", [2, 2, 6, 2], [48, 96, 240, 384]),
    ("small", [2, 2, 6, 2], [80, 160, 400, 640]),
    ("medium", [2, 2, 16, 2], [96, 192, 384, 768]),
    ("base", [2, 2, 18, 2], [128, 256, 512, 1024]),
];

/// Side of a picture, px.
const PICTURE: usize = 224;
/// Places that a place of each stage of PyramidVig is compared with: means of squares of this side.
const REDUCED: [usize; 4] = [4, 2, 1, 1];
/// Groups of channels in a convolution of a graph.
const GROUPS: usize = 4;
/// Channels inside the two convolutions after a graph, in those of the block.
const RATIO: usize = 4;

/// What a place makes of those it is joined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GraphKind {
    /// The largest difference of each channel (max-relative).
    Mr,
    /// The largest of what a convolution makes of each difference.
    Edge,
    /// The largest of what a convolution makes of each.
    Sage,
    /// The sum.
    Gin,
}

/// What all blocks share.
struct Shape {
    kind: GraphKind,
    bias: bool,
    norm: NormConfig,
    act: Activation,
}

/// One block.
struct BlockShape {
    channels: usize,
    /// Places that a place is joined to.
    joined: usize,
    /// Every so many of the nearest is taken.
    dilation: usize,
    /// Side of the squares whose means it is compared with.
    reduced: usize,
    /// Side of the map, if positions count.
    positions: Option<usize>,
    rate: f64,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    let Some((_, blocks, channels)) = VIG.iter().find(|row| row.0 == keys.arch) else {
        return Err(unknown(node, "Vig", &keys.arch, &VIG.map(|row| row.0)));
    };
    let k = keys.k.map_or(9, Bounded::get);
    let joined = spread(k, 2 * k, *blocks);
    let furthest = 196 / (2 * k);
    let dilated = keys.use_dilation.unwrap_or(true);
    let rates = rising(rate(node, "drop_path", keys.drop_path)?, *blocks);
    let shape = |i: usize| BlockShape {
        channels: *channels,
        joined: joined[i],
        dilation: if dilated {
            (i / 4 + 1).min(furthest)
        } else {
            1
        },
        reduced: 1,
        positions: keys.relative_pos.unwrap_or(false).then_some(PICTURE / 16),
        rate: rates(i),
    };
    let c = *channels;
    let stem = [c / 8, c / 4, c / 2, c, c];
    let each = keys.shape(node, &[&stem[..], &[2 * c]].concat())?;
    let given = OutIndices::of(keys.out_indices.as_ref(), &[-1], *blocks, "blocks", node)?;
    let frozen_stages = keys.frozen(node, *blocks, "blocks")?;
    let params = &build.params;
    let positions = positions(c, PICTURE / 16, params);
    let stem = keys.stem(&stem, &each, &params.at("stem"));
    let at = params.at("blocks");
    let stages = (0..*blocks).map(|i| Stage {
        shrink: None,
        blocks: vec![Block::new(&shape(i), &each, &at.at(i))],
    });
    let stages = stages.collect();
    keys.freeze(frozen_stages, "blocks", params);
    let feature = Feature {
        channels: c,
        stride: 16,
    };
    Ok(Box::new(Vig {
        stem,
        positions,
        stages,
        features: vec![feature; given.len()],
        out_indices: given,
        channels_in: keys.channels_in(),
    }))
}

pub(super) fn build_pyramid(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    for (key, given) in [
        ("use_dilation", keys.use_dilation.is_some()),
        ("relative_pos", keys.relative_pos.is_some()),
    ] {
        if given {
            let message = format!("the key `{key}` is not known to PyramidVig");
            return Err(error_at(node, key, message, "`Vig` has it"));
        }
    }
    let Some((_, blocks, channels)) = PYRAMID.iter().find(|row| row.0 == keys.arch) else {
        return Err(unknown(
            node,
            "PyramidVig",
            &keys.arch,
            &PYRAMID.map(|row| row.0),
        ));
    };
    let k = keys.k.map_or(9, Bounded::get);
    if k > 49 {
        let message = format!("`k` is {k}, the last stage has 49 places");
        return Err(error_at(node, "k", message, ""));
    }
    let all = blocks.iter().sum::<usize>();
    let rates = rising(rate(node, "drop_path", keys.drop_path)?, all);
    let first = channels[0];
    let stem = [first / 2, first, first];
    let of_norms = [&stem[..], channels, &channels.map(|c| 2 * c)].concat();
    let each = keys.shape(node, &of_norms)?;
    let given = OutIndices::of(keys.out_indices.as_ref(), &[-1], 4, "stages", node)?;
    let frozen_stages = keys.frozen(node, 4, "stages")?;
    let params = &build.params;
    let positions = positions(first, PICTURE / 4, params);
    let stem = keys.stem(&stem, &each, &params.at("stem"));
    let mut built = 0;
    let mut stages = Vec::new();
    let mut features = Vec::new();
    for (i, c) in channels.iter().copied().enumerate() {
        let at = params.at(format!("stages.{i}"));
        let stride = 4 << i;
        let shrink = (i > 0).then(|| {
            let conv = ConvConfig::new(channels[i - 1], c, 3).stride(2).pad(1);
            layer(conv, &each.norm, &at.at(0))
        });
        let before = usize::from(shrink.is_some());
        let mut built_blocks = Vec::new();
        for j in 0..blocks[i] {
            let shape = BlockShape {
                channels: c,
                joined: k,
                dilation: (built / 4 + 1).min(49 / k),
                reduced: REDUCED[i],
                positions: Some(PICTURE / stride),
                rate: rates(built),
            };
            built_blocks.push(Block::new(&shape, &each, &at.at(before + j)));
            built += 1;
        }
        stages.push(Stage {
            shrink,
            blocks: built_blocks,
        });
        features.push(Feature {
            channels: c,
            stride,
        });
    }
    keys.freeze(frozen_stages, "stages", params);
    Ok(Box::new(Vig {
        stem,
        positions,
        stages,
        features: given.iter().map(|i| features[*i]).collect(),
        out_indices: given,
        channels_in: keys.channels_in(),
    }))
}

fn unknown(node: &Node, class: &str, name: &str, known: &[&str]) -> Diagnostics {
    let message = format!("{class} has no arch '{name}'");
    error_at(
        node,
        "arch",
        message,
        &format!("known are {}", known.join(", ")),
    )
}

/// Whole numbers from one to another, as `torch.linspace` of f32 cut off.
fn spread(from: usize, to: usize, count: usize) -> Vec<usize> {
    let step = (to as f32 - from as f32) / (count - 1) as f32;
    let number = |i: usize| match i < count / 2 {
        true => from as f32 + step * i as f32,
        false => to as f32 - step * (count - 1 - i) as f32,
    };
    (0..count).map(|i| number(i) as usize).collect()
}

fn positions(channels: usize, side: usize, at: &Params) -> Weight<4> {
    at.weight("pos_embed", [1, channels, side, side], Init::Constant(0.0))
}

/// A convolution with a bias and its norm, side by side in a sequence.
fn layer(conv: ConvConfig, norm: &NormConfig, at: &Params) -> ConvNormAct {
    conv.bias(true).init(&at.at("0"), Some((norm, &at.at("1"))))
}

impl Keys {
    fn channels_in(&self) -> usize {
        self.in_channels.map_or(3, Channels::get)
    }

    /// `channels` are those of norms.
    fn shape(&self, node: &Node, channels: &[usize]) -> Result<Shape, Diagnostics> {
        if self.use_stochastic.unwrap_or(false) {
            let message = "neighbours by chance are not supported";
            return Err(unsupported(node, "use_stochastic", message, ""));
        }
        let _ = self.epsilon; // how often they would be
        let kind = match self.graph_conv_type.as_deref().unwrap_or("mr") {
            "mr" => GraphKind::Mr,
            "edge" => GraphKind::Edge,
            "sage" => GraphKind::Sage,
            "gin" => GraphKind::Gin,
            other => {
                let message = format!("`graph_conv_type` '{other}' is not known");
                let help = "known are 'mr', 'edge', 'sage', 'gin'";
                return Err(error_at(node, "graph_conv_type", message, help));
            }
        };
        Ok(Shape {
            kind,
            bias: self.graph_conv_bias.unwrap_or(true),
            norm: norm(node, "norm_cfg", NormConfig::batch(1e-5), channels)?,
            act: act(node, "act_cfg", Activation::Gelu)?,
        })
    }

    fn frozen(&self, node: &Node, count: usize, things: &str) -> Result<i64, Diagnostics> {
        let frozen_stages = self.frozen_stages.unwrap_or(0);
        if frozen_stages > count as i64 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} {things}");
            return Err(error_at(node, "frozen_stages", message, ""));
        }
        Ok(frozen_stages)
    }

    /// The original's `_freeze_stages`: the stem's norms always stay as they are.
    fn freeze(&self, frozen_stages: i64, things: &str, params: &Params) {
        params.at("stem").evaluate();
        for i in 0..frozen_stages {
            params.at(format!("{things}.{i}")).freeze();
        }
        if self.norm_eval.unwrap_or(false) {
            params.evaluate();
        }
    }

    /// Convolutions of stride 2 with an activation, and one without either.
    fn stem(&self, channels: &[usize], shape: &Shape, at: &Params) -> Vec<ConvNormAct> {
        let mut from = self.channels_in();
        let layer = |(i, to): (usize, &usize)| {
            let more = i + 1 < channels.len();
            let conv = ConvConfig::new(from, *to, 3).pad(1).bias(true);
            let conv = conv.stride(if more { 2 } else { 1 });
            from = *to;
            conv.act(more.then_some(shape.act))
                .init(&at.at(3 * i), Some((&shape.norm, &at.at(3 * i + 1))))
        };
        channels.iter().enumerate().map(layer).collect()
    }
}

/// Vig and PyramidVig.
#[derive(Debug)]
pub struct Vig {
    stem: Vec<ConvNormAct>,
    /// `[1, C, H, W]`
    positions: Weight<4>,
    stages: Vec<Stage>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
}

#[derive(Debug)]
struct Stage {
    shrink: Option<ConvNormAct>,
    blocks: Vec<Block>,
}

impl Backbone for Vig {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let mut x = x + self.positions.get();
        let last = self.out_indices.last().copied().unwrap_or(0);
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let learning = |stage: &Stage| stage.blocks.iter().any(|b| b.enter.learning());
            // Running statistics are in the state dict, wanted or not.
            if i > last && !self.stages[i..].iter().any(learning) {
                break;
            }
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
        Some([PICTURE; 2])
    }
}

/// A graph of the places that are most alike between two convolutions of 1x1, then two more; both are added to their input.
#[derive(Debug)]
struct Block {
    /// What is added to distances, `[1, places, places compared with]`.
    positions: Option<Weight<3>>,
    enter: ConvNormAct,
    graph: Graph,
    leave: ConvNormAct,
    feed: [ConvNormAct; 2],
    drop_paths: [Option<DropPath>; 2],
    joined: usize,
    dilation: usize,
    reduced: usize,
}

impl Block {
    fn new(shape: &BlockShape, each: &Shape, at: &Params) -> Self {
        let c = shape.channels;
        let batch = NormConfig::batch(1e-5);
        let conv = |from, to| ConvConfig::new(from, to, 1);
        let (grapher, feed) = (at.at("0"), at.at("1"));
        let positions = shape.positions.map(|side| {
            let (places, reduced) = (side * side, shape.reduced * shape.reduced);
            let size = [1, places, places / reduced];
            grapher.weight_of("relative_pos", size, || {
                relative_positions(c, side, places / reduced)
            })
        });
        grapher.at("relative_pos").require_grad(false);
        let enter = layer(conv(c, c), &batch, &grapher.at("fc1"));
        let graph = Graph::new(c, each, &grapher.at("graph_conv.gconv"));
        let leave = layer(conv(2 * c, c), &batch, &grapher.at("fc2"));
        let widen = conv(c, RATIO * c).act(Some(each.act));
        let drop_path = |at: &Params| DropPath::new(shape.rate, &at.at("drop_path"));
        Self {
            positions,
            enter,
            graph,
            leave,
            feed: [
                layer(widen, &batch, &feed.at("fc1")),
                layer(conv(RATIO * c, c), &batch, &feed.at("fc2")),
            ],
            drop_paths: [drop_path(&grapher), drop_path(&feed)],
            joined: shape.joined,
            dilation: shape.dilation,
            reduced: shape.reduced,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let y = self.enter.forward(x.clone());
        let others = match self.reduced {
            1 => y.clone(),
            r => avg_pool2d(y.clone(), AvgPoolOptions::new([r; 2]).with_stride([r; 2])),
        };
        let (y, others) = (tokens_from_map(y), tokens_from_map(others));
        let nearest = self.nearest(y.clone(), others.clone());
        let y = self.graph.forward(y, others, nearest, [h, w]);
        let [drop, drop_feed] = &self.drop_paths;
        let x = DropPath::add(drop, x, self.leave.forward(y));
        let [widen, narrow] = &self.feed;
        let branch = narrow.forward(widen.forward(x.clone()));
        DropPath::add(drop_feed, x, branch)
    }

    /// Numbers of the others that each place is joined to, `[B, N, joined]`: of the nearest every `dilation`th.
    fn nearest(&self, x: Tensor<3>, others: Tensor<3>) -> Tensor<3, Int> {
        let unit = |x: Tensor<3>| {
            let x = x.detach();
            let length = x.clone().square().sum_dim(2).clamp_min(1e-24).sqrt();
            x / length
        };
        let (x, others) = (unit(x), unit(others));
        let square = |x: Tensor<3>| x.square().sum_dim(2);
        let products = x.clone().matmul(others.clone().swap_dims(1, 2));
        let mut distances = square(x) - products * 2.0 + square(others).swap_dims(1, 2);
        if let Some(positions) = &self.positions {
            distances = distances + positions.get().detach();
        }
        let [_, _, count] = distances.dims();
        let device = distances.device().without_autodiff();
        let numbers: Tensor<3, Int> =
            Tensor::<1, Int>::arange(0..count as i64, &device).reshape([1, 1, count]);
        let mut joined = Vec::with_capacity(self.joined);
        // One after another, as a sort would read the numbers back from some devices.
        for i in 0..(self.joined - 1) * self.dilation + 1 {
            let least = distances.clone().argmin(2);
            if i % self.dilation == 0 {
                joined.push(least.clone());
            }
            let taken = numbers.clone().equal(least);
            distances = distances.mask_fill(taken, f32::INFINITY);
        }
        Tensor::cat(joined, 2)
    }
}

/// What each place makes of those that it is joined to: `[B, 2 * C, H, W]`.
#[derive(Debug)]
struct Graph {
    kind: GraphKind,
    /// Of each that a place is joined to, by itself.
    first: Option<ConvNormAct>,
    last: ConvNormAct,
    /// By how much more than once a place counts itself (GIN).
    own: Option<Weight<1>>,
}

impl Graph {
    fn new(c: usize, each: &Shape, at: &Params) -> Self {
        let conv = |from, to, name: &str| {
            let at = at.at(name);
            ConvConfig::new(from, to, 1)
                .groups(GROUPS)
                .bias(each.bias)
                .act(Some(each.act))
                .init(&at.at("0"), Some((&each.norm, &at.at("1"))))
        };
        let own = || at.weight("eps", [1], Init::Constant(0.0));
        let (own, first, last) = match each.kind {
            GraphKind::Mr | GraphKind::Edge => (None, None, conv(2 * c, 2 * c, "nn")),
            GraphKind::Sage => {
                let first = conv(c, c, "nn1");
                (None, Some(first), conv(2 * c, 2 * c, "nn2"))
            }
            GraphKind::Gin => (Some(own()), None, conv(c, 2 * c, "nn")),
        };
        Self {
            kind: each.kind,
            first,
            last,
            own,
        }
    }

    /// `x` `[B, N, C]`, the others `[B, M, C]`, and numbers of those, `[B, N, joined]`.
    fn forward(
        &self,
        x: Tensor<3>,
        others: Tensor<3>,
        nearest: Tensor<3, Int>,
        [h, w]: [usize; 2],
    ) -> Tensor<4> {
        let [b, n, c] = x.dims();
        let [_, _, k] = nearest.dims();
        let [_, m, _] = others.dims();
        let device = nearest.device();
        let firsts: Vec<i32> = (0..b).map(|i| (i * m) as i32).collect();
        let firsts = Tensor::<3, Int>::from_data(TensorData::new(firsts, [b, 1, 1]), &device);
        let rows = (nearest + firsts).reshape([b * n * k]);
        let joined = others.reshape([b * m, c]).select(0, rows);
        // [B, C, N, joined], and the places themselves [B, C, N, 1].
        let joined = joined.reshape([b, n, k, c]).permute([0, 3, 1, 2]);
        let own = x.swap_dims(1, 2).reshape([b, c, n, 1]);
        let y = match self.kind {
            GraphKind::Mr => {
                let most = joined.max_dim(3) - own.clone();
                // Side by side, channel by channel.
                let both = Tensor::cat(vec![own, most], 3).reshape([b, c, n, 2]);
                let both = both.swap_dims(2, 3).reshape([b, 2 * c, n, 1]);
                self.last.forward(both)
            }
            GraphKind::Edge => {
                let own = own.expand([b, c, n, k]);
                let both = Tensor::cat(vec![own.clone(), joined - own], 1);
                self.last.forward(both).max_dim(3)
            }
            GraphKind::Sage => {
                let joined = match &self.first {
                    Some(first) => first.forward(joined),
                    None => joined,
                };
                self.last
                    .forward(Tensor::cat(vec![own, joined.max_dim(3)], 1))
            }
            GraphKind::Gin => {
                let own = match &self.own {
                    Some(more) => own * (more.get().reshape([1, 1, 1, 1]) + 1.0),
                    None => own,
                };
                self.last.forward(own + joined.sum_dim(3))
            }
        };
        let channels = y.dims()[1];
        y.reshape([b, channels, h, w])
    }
}

/// How unlike places are for lying apart, as the original begins: minus twice the mean product of their sines and cosines, for maps of
/// `side` squared places, and so many places that they are compared with.
fn relative_positions(channels: usize, side: usize, reduced: usize) -> Vec<f32> {
    let places = side * side;
    let quarter = channels / 4;
    let waves = |position: usize| {
        let angle = move |i: usize| position as f64 / 10_000f64.powf(i as f64 / quarter as f64);
        let sines = (0..quarter).map(move |i| angle(i).sin() as f32);
        sines.chain((0..quarter).map(move |i| angle(i).cos() as f32))
    };
    let place = |i: usize| waves(i % side).chain(waves(i / side)).collect::<Vec<_>>();
    let all: Vec<Vec<f32>> = (0..places).map(place).collect();
    let width = all[0].len();
    // Bicubic between places in a row, whatever rows they are of.
    let matrix = match reduced == places {
        true => None,
        false => Some(Interpolation::Bicubic.matrix(places, reduced, false)),
    };
    let compared: Vec<Vec<f32>> = match &matrix {
        None => all.clone(),
        Some(matrix) => matrix
            .chunks_exact(places)
            .map(|weights| {
                let mut sum = vec![0.0; width];
                for (weight, place) in weights.iter().zip(&all).filter(|(w, _)| **w != 0.0) {
                    sum.iter_mut()
                        .zip(place)
                        .for_each(|(sum, x)| *sum += weight * x);
                }
                sum
            })
            .collect(),
    };
    let scale = -2.0 / width as f32;
    let mut values = Vec::with_capacity(places * reduced);
    for a in &all {
        values.extend(compared.iter().map(|b| {
            let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            scale * product
        }));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn positions_begin_as_the_originals() {
        let near = |found: &[f32], places: &[(usize, f32)]| {
            for (i, expected) in places {
                assert!((found[*i] - expected).abs() < 1e-5, "{i}: {}", found[*i]);
            }
        };
        let all = relative_positions(16, 4, 16);
        assert_eq!(all.len(), 256);
        near(
            &all,
            &[
                (0, -1.0),
                (1, -0.941_907),
                (15, -0.491_222),
                (100, -0.820_465),
            ],
        );
        let reduced = relative_positions(48, 8, 16);
        assert_eq!(reduced.len(), 1024);
        near(
            &reduced,
            &[
                (0, -0.949_436),
                (1, -0.878_206),
                (16, -0.995_158),
                (500, -0.853_415),
            ],
        );
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            (
                "dict(type='mmpretrain.Vig', arch='medium')",
                "known are tiny, small, base",
            ),
            (
                "dict(type='mmpretrain.PyramidVig', arch='tiny', k=50)",
                "the last stage has 49 places",
            ),
            (
                "dict(type='mmpretrain.PyramidVig', arch='tiny', relative_pos=True)",
                "`Vig` has it",
            ),
            (
                "dict(type='mmpretrain.Vig', arch='tiny', use_stochastic=True)",
                "not supported",
            ),
            (
                "dict(type='mmpretrain.EfficientFormer')",
                "reshape_last_feat=True gives one",
            ),
            (
                "dict(type='mmpretrain.EfficientFormer', out_indices=[0], pool_size=2)",
                "must be odd",
            ),
            (
                "dict(type='mmpretrain.EdgeNeXt')",
                "gap_before_final_norm=False gives maps",
            ),
            (
                "dict(type='mmpretrain.EdgeNeXt', gap_before_final_norm=False, d2_scales=[2, 1, 3, 4])",
                "48 channels cannot be split into 1 parts",
            ),
            (
                "dict(type='mmpretrain.MobileViT', frozen_stages=5)",
                "must be -1 to 4",
            ),
            (
                "dict(type='mmpretrain.MobileViT', arch=[['mobilevit', 8, 3, 8, 8, 1]], out_indices=0)",
                "a stride of 1 or 2",
            ),
            (
                "dict(type='mmpretrain.MobileViT', arch=[['vit', 8]], out_indices=0)",
                "a stage is ['mobilenetv2', ...]",
            ),
            (
                "dict(type='mmpretrain.TIMMBackbone', model_name='mobilevit_s', features_only=True, output_stride=16)",
                "has no `output_stride`",
            ),
            (
                "dict(type='mmpretrain.TIMMBackbone', model_name='edgenext_base', features_only=True, out_indices=(4,))",
                "has maps 0 to 3",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
