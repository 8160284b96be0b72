//! EfficientFormer (Li et al. 2022, arXiv 2206.01191) as MMPretrain 1.2.0 builds it: blocks that average neighbours, and at the end of the last
//! stage attention with biases for its 7 x 7 places, which fix the size of pictures.
//!
//! Shapes: stage i gives `[N, embed_dims[i], H / (4 * 2^i), W / ...]`.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;

use super::options::{OutIndices, act, rate, widened};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Dropout, LayerScale, Linear, Mlp,
    Norm, NormConfig, OffsetBias, Params, attend, join_heads, map_from_tokens, tokens_from_map,
};
use crate::limits::{Channels, Layers, List, Pixels};

/// The keys of `type='mmpretrain.EfficientFormer'`.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    pool_size: Option<Pixels>,
    mlp_ratios: Option<f64>,
    reshape_last_feat: Option<bool>,
    out_indices: Option<OutIndices>,
    frozen_stages: Option<i64>,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    use_layer_scale: Option<bool>,
}

/// The keys of an `arch` that is no name.
#[derive(Debug, Deserialize)]
struct ArchKeys {
    layers: List<Layers>,
    embed_dims: List<Channels>,
    downsamples: List<bool>,
    vit_num: Layers,
}

/// Blocks and channels of each stage, whether it halves the sides, and how many blocks at the end attend.
type Arch = ([usize; 4], [usize; 4], [bool; 4], usize);

const DOWNSAMPLES: [bool; 4] = [false, true, true, true];
const ARCHES: [(&str, Arch); 3] = [
    ("l1", ([3, 2, 6, 4], [48, 96, 224, 448], DOWNSAMPLES, 1)),
    ("l3", ([4, 4, 12, 6], [64, 128, 320, 512], DOWNSAMPLES, 4)),
    ("l7", ([6, 6, 18, 8], [96, 192, 384, 768], DOWNSAMPLES, 8)),
];

/// Channels inside a block that averages, in those of the block, whatever `mlp_ratios` says.
const POOL_RATIO: usize = 4;
const HEADS: usize = 8;
/// Channels of q and of k in a head, and of v.
const KEY: usize = 32;
const VALUE: usize = 128;
/// Places that attend, down and across.
const PLACES: usize = 7;
/// The value of factors at the beginning.
const SCALE: f64 = 1e-5;

/// What the blocks share.
struct Shape {
    pool: usize,
    mlp_ratio: f64,
    act: Activation,
    drop_rate: f64,
    scale: bool,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(&["arch", "act_cfg", "init_cfg"])?;
    Ok(Box::new(keys.build(node, &build.params)?))
}

fn arch(node: &Node) -> Result<Arch, Diagnostics> {
    let given = node.get("arch");
    let name = match given {
        None => "l1",
        Some(given) => match given.as_str() {
            Some(name) => name,
            None => {
                let keys: ArchKeys = given.read()?;
                let lists = (
                    keys.layers.numbers().try_into(),
                    keys.embed_dims.numbers().try_into(),
                    keys.downsamples.to_vec().try_into(),
                );
                let (Ok(layers), Ok(channels), Ok(downsamples)) = lists else {
                    let message = "EfficientFormer has four stages";
                    return Err(error_at(given, "layers", message, ""));
                };
                let (layers, vits): ([usize; 4], _) = (layers, keys.vit_num.get());
                if vits > layers[3] {
                    let message = format!("`vit_num` is {vits}, the last stage has {}", layers[3]);
                    return Err(error_at(given, "vit_num", message, ""));
                }
                let channels: [usize; 4] = channels;
                if channels[0] < 2 {
                    let message = "the stem has half of the first stage's channels";
                    return Err(error_at(given, "embed_dims", message, ""));
                }
                return Ok((layers, channels, downsamples, vits));
            }
        },
    };
    let Some((_, arch)) = ARCHES.iter().find(|row| row.0 == name) else {
        let message = format!("EfficientFormer has no arch '{name}'");
        let known: Vec<_> = ARCHES.iter().map(|row| row.0).collect();
        let help = format!("known are {}", known.join(", "));
        return Err(error_at(node, "arch", message, &help));
    };
    Ok(*arch)
}

impl Keys {
    fn build(&self, node: &Node, params: &Params) -> Result<EfficientFormer, Diagnostics> {
        let fail = |key, message: String, help| Err(error_at(node, key, message, help));
        let (layers, channels, downsamples, vits) = arch(node)?;
        let given = OutIndices::listed(self.out_indices.as_ref(), &[-1], 4, "stages", node)?;
        if given.contains(&3) && !self.reshape_last_feat.unwrap_or(false) {
            let message = "`reshape_last_feat` is False, by default too, which gives no map of the last stage";
            return fail(
                "reshape_last_feat",
                message.into(),
                "reshape_last_feat=True gives one",
            );
        }
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        if frozen_stages > 4 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are 4 stages");
            return fail("frozen_stages", message, "");
        }
        let pool = self.pool_size.map_or(3, Pixels::get);
        if pool.is_multiple_of(2) {
            return fail(
                "pool_size",
                format!("`pool_size` is {pool}, must be odd"),
                "",
            );
        }
        let shape = Shape {
            pool,
            mlp_ratio: self.mlp_ratios.unwrap_or(4.0),
            act: act(node, "act_cfg", Activation::Gelu)?,
            drop_rate: rate(node, "drop_rate", self.drop_rate)?,
            scale: self.use_layer_scale.unwrap_or(true),
        };
        let hidden = widened(node, "mlp_ratios", channels[3], shape.mlp_ratio)?;
        let rate = rate(node, "drop_path_rate", self.drop_path_rate)?;
        let all = layers.iter().sum::<usize>();
        let rates = super::options::rising(rate, all);
        let channels_in = self.in_channels.map_or(3, Channels::get);
        let patch = patch(channels_in, channels[0], &params.at("patch_embed"));
        let (mut stages, mut features) = (Vec::new(), Vec::new());
        let (mut stride, mut built) = (4, 0);
        for i in 0..4 {
            let at = params.at(format!("network.{i}"));
            let mut place = 0;
            let mut next = || {
                place += 1;
                at.at(place - 1)
            };
            let from = if i == 0 { channels[0] } else { channels[i - 1] };
            let downsample = downsamples[i].then(|| {
                let conv = ConvConfig::new(from, channels[i], 3).stride(2).pad(1);
                style(None, false).module(conv.bias(true), &next())
            });
            if downsample.is_none() && from != channels[i] {
                let message = format!("stage {i} has {} channels after {from}", channels[i]);
                let help = "a stage that does not halve the sides keeps its channels";
                return fail("arch", message, help);
            }
            let attending = if i == 3 { vits } else { 0 };
            let mut pooling = Vec::new();
            for _ in 0..layers[i] - attending {
                pooling.push(PoolBlock::new(channels[i], &shape, rates(built), &next()));
                built += 1;
            }
            // Where the map becomes tokens, the original has a place of its own.
            if attending > 0 {
                next();
            }
            let mut attention = Vec::new();
            for _ in 0..attending {
                let sizes = [channels[i], hidden];
                attention.push(AttentionBlock::new(sizes, &shape, rates(built), &next()));
                built += 1;
            }
            if downsamples[i] {
                stride *= 2;
            }
            features.push(Feature {
                channels: channels[i],
                stride,
            });
            stages.push(Stage {
                downsample,
                pooling,
                attention,
                norm: None,
            });
        }
        for i in &given {
            let norm = NormConfig::group(1);
            if stages[*i].norm.is_none() {
                let at = params.at(format!("norm{i}"));
                stages[*i].norm = Some(norm.init(channels[*i], &at));
            }
        }
        freeze(params, frozen_stages);
        let wanted = (0..4).filter(|i| stages[*i].norm.is_some());
        Ok(EfficientFormer {
            features: wanted.map(|i| features[i]).collect(),
            patch,
            stages,
            channels_in,
            only_size: (vits > 0).then_some([PLACES * stride; 2]),
        })
    }
}

fn style(act: Option<Activation>, initialises: bool) -> ConvStyle {
    ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act,
        initialises,
        ..ConvStyle::default()
    }
}

fn patch(channels_in: usize, channels: usize, at: &Params) -> [ConvNormAct; 2] {
    let half = channels / 2;
    let layer = |from, to, name: &str| {
        let conv = ConvConfig::new(from, to, 3).stride(2).pad(1).bias(true);
        style(Some(Activation::Relu), true).module(conv, &at.at(name))
    };
    [layer(channels_in, half, "0"), layer(half, channels, "1")]
}

/// The original's `_freeze_stages`: from 0 on the stem, from 1 on the stages up to that number, with their norms.
fn freeze(params: &Params, frozen_stages: i64) {
    if frozen_stages >= 0 {
        params.at("patch_embed").freeze();
    }
    for i in 0..frozen_stages {
        params.at(format!("network.{i}")).freeze();
        params.at(format!("norm{i}")).freeze();
    }
}

/// EfficientFormer.
#[derive(Debug)]
pub struct EfficientFormer {
    patch: [ConvNormAct; 2],
    stages: Vec<Stage>,
    features: Vec<Feature>,
    channels_in: usize,
    only_size: Option<[usize; 2]>,
}

#[derive(Debug)]
struct Stage {
    downsample: Option<ConvNormAct>,
    pooling: Vec<PoolBlock>,
    attention: Vec<AttentionBlock>,
    /// Of the map that is given, if one is.
    norm: Option<Norm>,
}

impl Stage {
    fn learning(&self) -> bool {
        let downsample = self.downsample.as_ref();
        downsample.is_some_and(ConvNormAct::learning)
            || self.pooling.iter().any(|block| block.mlp[0].learning())
    }
}

impl Backbone for EfficientFormer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.patch.iter().fold(x, |x, layer| layer.forward(x));
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            // Running statistics are in the state dict, wanted or not.
            let later = &self.stages[i..];
            if later.iter().all(|s| s.norm.is_none() && !s.learning()) {
                break;
            }
            if let Some(downsample) = &stage.downsample {
                x = downsample.forward(x);
            }
            x = stage.pooling.iter().fold(x, |x, block| block.forward(x));
            if !stage.attention.is_empty() {
                let [_, _, h, w] = x.dims();
                let tokens = stage.attention.iter();
                let tokens = tokens.fold(tokens_from_map(x), |x, block| block.forward(x));
                x = map_from_tokens(tokens, [h, w]);
            }
            if let Some(norm) = &stage.norm {
                maps.push(norm.forward(x.clone()));
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
        self.only_size
    }
}

fn scales(channels: usize, shape: &Shape, at: &Params) -> Option<[LayerScale; 2]> {
    let scale = |name| LayerScale::new(name, channels, SCALE, at);
    shape.scale.then(|| ["ls1.weight", "ls2.weight"].map(scale))
}

/// What the mean of neighbours is more than a place, and two convolutions of 1x1; each added to its input.
#[derive(Debug)]
struct PoolBlock {
    pool: usize,
    mlp: [ConvNormAct; 2],
    drop: Option<Dropout>,
    scales: Option<[LayerScale; 2]>,
    drop_path: Option<DropPath>,
}

impl PoolBlock {
    fn new(c: usize, shape: &Shape, rate: f64, at: &Params) -> Self {
        let mlp = at.at("mlp");
        let wide = POOL_RATIO * c;
        let layer = |from, to, act, [conv, norm]: [&str; 2]| {
            let style = style(act, false);
            style.named(ConvConfig::new(from, to, 1).bias(true), &mlp, conv, norm)
        };
        let convs = [
            layer(c, wide, Some(shape.act), ["fc1", "norm1"]),
            layer(wide, c, None, ["fc2", "norm2"]),
        ];
        mlp.listed_in_order(["fc1", "fc2", "norm1", "norm2"]);
        Self {
            pool: shape.pool,
            mlp: convs,
            drop: Dropout::new(shape.drop_rate, &mlp.at("drop")),
            scales: scales(c, shape, at),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let scaled = |i: usize, x: Tensor<4>| match &self.scales {
            Some(scales) => scales[i].forward(x),
            None => x,
        };
        let drop = |x: Tensor<4>| match &self.drop {
            Some(drop) => drop.forward(x),
            None => x,
        };
        let options = AvgPoolOptions::new([self.pool; 2])
            .with_stride([1; 2])
            .with_padding([self.pool / 2; 2])
            .with_count_include_pad(false);
        let branch = avg_pool2d(x.clone(), options) - x.clone();
        let x = DropPath::add(&self.drop_path, x, scaled(0, branch));
        let [widen, narrow] = &self.mlp;
        let branch = drop(narrow.forward(drop(widen.forward(x.clone()))));
        DropPath::add(&self.drop_path, x, scaled(1, branch))
    }
}

/// Attention of all places to each other, and two fully connected layers.
#[derive(Debug)]
struct AttentionBlock {
    norms: [Norm; 2],
    bias: OffsetBias,
    qkv: Linear,
    proj: Linear,
    mlp: Mlp,
    scales: Option<[LayerScale; 2]>,
    drop_path: Option<DropPath>,
}

impl AttentionBlock {
    fn new([c, hidden]: [usize; 2], shape: &Shape, rate: f64, at: &Params) -> Self {
        let norm = |name: &str| NormConfig::layer(1e-5).init(c, &at.at(name));
        let first = norm("norm1");
        let mixer = at.at("token_mixer");
        let bias = OffsetBias::new(HEADS, [PLACES; 2], 1, true, &mixer);
        let qkv = Linear::new(c, HEADS * (2 * KEY + VALUE), true, &mixer.at("qkv"));
        let proj = Linear::new(HEADS * VALUE, c, true, &mixer.at("proj"));
        let second = norm("norm2");
        let places = [&at.at("mlp.fc1"), &at.at("mlp.fc2")];
        Self {
            norms: [first, second],
            bias,
            qkv,
            proj,
            mlp: Mlp::new([c, hidden, c], shape.act, shape.drop_rate, places),
            scales: scales(c, shape, at),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let scaled = |i: usize, x: Tensor<3>| match &self.scales {
            Some(scales) => scales[i].forward_tokens(x),
            None => x,
        };
        let [first, second] = &self.norms;
        let branch = self.attend(first.forward_tokens(x.clone()));
        let x = DropPath::add(&self.drop_path, x, scaled(0, branch));
        let branch = self.mlp.forward(second.forward_tokens(x.clone()));
        DropPath::add(&self.drop_path, x, scaled(1, branch))
    }

    fn attend(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, n, _] = x.dims();
        // Each head has its q, k and v together.
        let qkv = self
            .qkv
            .forward(x)
            .reshape([b, n, HEADS, 2 * KEY + VALUE])
            .swap_dims(1, 2);
        let part = |from, count| qkv.clone().narrow(3, from, count);
        let (q, k, v) = (part(0, KEY), part(KEY, KEY), part(2 * KEY, VALUE));
        let scale = (KEY as f64).powf(-0.5);
        self.proj.forward(join_heads(attend(
            q,
            k,
            v,
            scale,
            Some(self.bias.forward()),
        )))
    }
}
