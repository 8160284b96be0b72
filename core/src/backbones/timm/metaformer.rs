//! timm's MetaFormers: PoolFormer (Yu et al. 2022, arXiv 2111.11418), and PoolFormer V2, ConvFormer and CAFormer (Yu et al. 2022, arXiv 2210.13452).
//!
//! With `features_only` the maps are those of the four stages; without, the last one after a norm. Where the original has tokens for attention,
//! what is not attention stays maps here.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::poolformer::around;
use crate::backbones::{Backbone, Feature, options};
use crate::config::{Diagnostics, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Dropout, Init, InitRule, LayerKind, LayerScale,
    Norm, NormConfig, Params, Weight, attend, join_heads, map_from_tokens, split_qkv,
    tokens_from_map,
};

/// The keys of timm's MetaFormer that are read.
#[derive(Debug, Deserialize)]
struct Keys {
    proj_drop_rate: Option<f64>,
}

const STAGES: usize = 4;
/// Channels of one head of attention.
const HEAD: usize = 32;
/// Of the first version.
const EPS_V1: f64 = 1e-5;
const EPS: f64 = 1e-6;
const POOL: usize = 3;
const KERNEL: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pool1,
    Pool2,
    /// Depthwise filters in all stages.
    Conv,
    /// The same in the first two, attention in the others.
    ConvAttention,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] = [
        ("poolformer_", Self::Pool1),
        ("poolformerv2_", Self::Pool2),
        ("convformer_", Self::Conv),
        ("caformer_", Self::ConvAttention),
    ];

    fn is_pool(self) -> bool {
        matches!(self, Self::Pool1 | Self::Pool2)
    }
}

/// Blocks and channels of each stage, first value of the scales of the first version.
type Size = (&'static str, [usize; STAGES], [usize; STAGES], f64);

const S: [usize; STAGES] = [64, 128, 320, 512];
const M: [usize; STAGES] = [96, 192, 384, 768];

const POOLS: [Size; 5] = [
    ("s12", [2, 2, 6, 2], S, 1e-5),
    ("s24", [4, 4, 12, 4], S, 1e-5),
    ("s36", [6, 6, 18, 6], S, 1e-6),
    ("m36", [6, 6, 18, 6], M, 1e-6),
    ("m48", [8, 8, 24, 8], M, 1e-6),
];
const OTHERS: [Size; 4] = [
    ("s18", [3, 3, 9, 3], S, 0.0),
    ("s36", [3, 12, 18, 3], S, 0.0),
    ("m36", [3, 12, 18, 3], [96, 192, 384, 576], 0.0),
    ("b36", [3, 12, 18, 3], [128, 256, 512, 768], 0.0),
];

fn sizes(kind: Kind) -> &'static [Size] {
    match kind.is_pool() {
        true => &POOLS,
        false => &OTHERS,
    }
}

/// All names.
pub(super) fn names() -> Vec<String> {
    let of = |(prefix, kind): &(&str, Kind)| {
        let name = |size: &Size| format!("{prefix}{}", size.0);
        sizes(*kind).iter().map(name).collect::<Vec<_>>()
    };
    Kind::ALL.iter().flat_map(of).collect()
}

fn parse(name: &str) -> Option<(Kind, Size)> {
    let (rest, kind) = Kind::ALL
        .iter()
        .find_map(|(prefix, kind)| Some((name.strip_prefix(prefix)?, *kind)))?;
    let size = sizes(kind).iter().find(|size| size.0 == rest)?;
    Some((kind, *size))
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Keys = asked.node.read_knowing(COMMON)?;
    let dropout = options::rate(asked.node, "proj_drop_rate", config.proj_drop_rate)?;
    if asked.output_stride != 32 {
        let message = "MetaFormers have no `output_stride`";
        return Err(unsupported(
            asked.node,
            "output_stride",
            message,
            "leave it out",
        ));
    }
    let params = &asked.params;
    let trunc = crate::backbones::convnext::INITIAL;
    params.initialise_built(InitRule::of(&["Conv2d", "Linear"], trunc));
    let model = MetaFormer::new(asked, dropout)?;
    params.built();
    Ok(Box::new(model))
}

/// A norm with a factor for each channel, mostly without a bias.
#[derive(Debug)]
struct ScaledNorm {
    norm: Norm,
    scale: Option<LayerScale>,
}

impl ScaledNorm {
    fn with_bias(norm: &NormConfig, channels: usize, at: &Params) -> Self {
        Self {
            norm: norm.init(channels, at),
            scale: None,
        }
    }

    fn without_bias(norm: &NormConfig, channels: usize, at: &Params) -> Self {
        let bare = NormConfig {
            affine: Some(false),
            ..norm.clone()
        };
        let at = &at.layer(LayerKind::Norm);
        Self {
            norm: bare.init(channels, at),
            scale: Some(LayerScale::new("weight", channels, 1.0, at)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(x);
        match &self.scale {
            Some(scale) => scale.forward(x),
            None => x,
        }
    }
}

/// The MetaFormers of timm.
#[derive(Debug)]
pub struct MetaFormer {
    stem: ConvNormAct,
    stem_norm: Option<ScaledNorm>,
    stages: Vec<Stage>,
    /// Stages that give a map.
    outputs: Vec<usize>,
    norm: Option<Norm>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl MetaFormer {
    fn new(asked: &Asked, dropout: f64) -> Result<Self, Diagnostics> {
        let (kind, (_, depths, dims, scale)) =
            parse(&asked.name).expect("the family knows its names");
        let params = &asked.params;
        let levels = [0, 1, 2, 3].map(|i| Feature {
            channels: dims[i],
            stride: 4 << i,
        });
        let outputs = match asked.features_only {
            true => asked.wanted(&levels)?,
            false => vec![STAGES - 1],
        };
        let built = outputs.last().map_or(0, |last| last + 1);
        let layer = NormConfig::layer(EPS);
        let stem = ConvConfig::new(asked.channels_in, dims[0], 7)
            .stride(4)
            .pad(2);
        let stem = stem.init(&params.at("stem.conv"), None);
        let stem_norm = (kind != Kind::Pool1)
            .then(|| ScaledNorm::without_bias(&layer, dims[0], &params.at("stem.norm")));
        let count = depths.iter().sum();
        let mut rates = (0..count).map(options::rising(asked.drop_path_rate, count));
        let stage = |i: usize| {
            let at = match asked.features_only {
                true => {
                    let at = params.at(format!("stages_{i}"));
                    at.once_called(&format!("stages.{i}"));
                    at
                }
                false => params.at("stages").at(i),
            };
            let downsample = (i > 0).then(|| {
                let at = at.at("downsample");
                let norm = (kind != Kind::Pool1)
                    .then(|| ScaledNorm::without_bias(&layer, dims[i - 1], &at.at("norm")));
                let conv = ConvConfig::new(dims[i - 1], dims[i], 3).stride(2).pad(1);
                (norm, conv.init(&at.at("conv"), None))
            });
            let make = Make {
                kind,
                attends: kind == Kind::ConvAttention && i >= 2,
                channels: dims[i],
                scale: (kind == Kind::Pool1).then_some(scale),
                scales_input: kind != Kind::Pool1 && i >= 2,
                dropout,
            };
            let at = at.at("blocks");
            let rates = rates.by_ref().take(depths[i]).enumerate();
            Stage {
                downsample,
                blocks: rates
                    .map(|(j, rate)| Block::new(&make, rate, &at.at(j)))
                    .collect(),
            }
        };
        let stages = (0..built).map(stage).collect();
        let norm =
            (!asked.features_only).then(|| layer.init(dims[STAGES - 1], &params.at("head.norm")));
        Ok(Self {
            stem,
            stem_norm,
            stages,
            norm,
            features: outputs.iter().map(|i| levels[*i]).collect(),
            outputs,
            channels_in: asked.channels_in,
        })
    }
}

impl Backbone for MetaFormer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(x);
        if let Some(norm) = &self.stem_norm {
            x = norm.forward(x);
        }
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.forward(x);
            if self.outputs.contains(&i) {
                maps.push(match &self.norm {
                    Some(norm) => norm.forward(x.clone()),
                    None => x.clone(),
                });
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
    downsample: Option<(Option<ScaledNorm>, ConvNormAct)>,
    blocks: Vec<Block>,
}

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.downsample {
            Some((Some(norm), conv)) => conv.forward(norm.forward(x)),
            Some((None, conv)) => conv.forward(x),
            None => x,
        };
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

/// What the blocks of a stage have in common.
struct Make {
    kind: Kind,
    attends: bool,
    channels: usize,
    /// First value of the scale of a branch.
    scale: Option<f64>,
    /// Whether what a branch is added to is scaled too.
    scales_input: bool,
    dropout: f64,
}

/// A norm and a layer, twice, added to their inputs.
#[derive(Debug)]
struct Block {
    mixer: Branch<Mixer>,
    mlp: Branch<Mlp>,
}

#[derive(Debug)]
struct Branch<L> {
    norm: ScaledNorm,
    layer: L,
    drop_path: Option<DropPath>,
    scale: Option<LayerScale>,
    input_scale: Option<LayerScale>,
}

impl<L> Branch<L> {
    fn new(number: usize, layer: impl FnOnce() -> L, make: &Make, rate: f64, at: &Params) -> Self {
        let norm_at = at.at(format!("norm{number}"));
        let norm = match make.kind {
            Kind::Pool1 => {
                let norm = NormConfig {
                    eps: Some(EPS_V1),
                    ..NormConfig::group(1)
                };
                ScaledNorm::with_bias(&norm, make.channels, &norm_at)
            }
            Kind::Pool2 => {
                let norm = NormConfig {
                    eps: Some(EPS),
                    ..NormConfig::group(1)
                };
                ScaledNorm::without_bias(&norm, make.channels, &norm_at)
            }
            _ => ScaledNorm::without_bias(&NormConfig::layer(EPS), make.channels, &norm_at),
        };
        let layer = layer();
        let scale = |name: &str, value: f64| {
            let at = at.at(format!("{name}{number}"));
            LayerScale::new("scale", make.channels, value, &at)
        };
        Self {
            norm,
            layer,
            drop_path: DropPath::new(rate, &at.at(format!("drop_path{number}"))),
            scale: make.scale.map(|value| scale("layer_scale", value)),
            input_scale: make.scales_input.then(|| scale("res_scale", 1.0)),
        }
    }

    fn forward(&self, x: Tensor<4>, layer: impl FnOnce(&L, Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let y = layer(&self.layer, self.norm.forward(x.clone()));
        let y = match &self.scale {
            Some(scale) => scale.forward(y),
            None => y,
        };
        let x = match &self.input_scale {
            Some(scale) => scale.forward(x),
            None => x,
        };
        DropPath::add(&self.drop_path, x, y)
    }
}

impl Block {
    fn new(make: &Make, rate: f64, at: &Params) -> Self {
        let mixer = || Mixer::new(make, &at.at("token_mixer"));
        let mlp = || Mlp::new(make, &at.at("mlp"));
        Self {
            mixer: Branch::new(1, mixer, make, rate, at),
            mlp: Branch::new(2, mlp, make, rate, at),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.mixer.forward(x, Mixer::forward);
        self.mlp.forward(x, Mlp::forward)
    }
}

#[derive(Debug)]
enum Mixer {
    Pool,
    Separable(Box<Separable>),
    Attention(Box<Attention>),
}

impl Mixer {
    fn new(make: &Make, at: &Params) -> Self {
        match make.kind {
            kind if kind.is_pool() => Self::Pool,
            _ if make.attends => Self::Attention(Box::new(Attention::new(make, at))),
            _ => Self::Separable(Box::new(Separable::new(make.channels, at))),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Pool => around(x, POOL),
            Self::Separable(layers) => layers.forward(x),
            Self::Attention(attention) => attention.forward(x),
        }
    }
}

/// One place, each channel around, one place.
#[derive(Debug)]
struct Separable {
    widen: ConvNormAct,
    act: StarRelu,
    depthwise: ConvNormAct,
    narrow: ConvNormAct,
}

impl Separable {
    fn new(channels: usize, at: &Params) -> Self {
        let wide = 2 * channels;
        let conv = |conv: ConvConfig, name: &str| conv.bias(false).init(&at.at(name), None);
        let depthwise = ConvConfig::new(wide, wide, KERNEL).pad(KERNEL / 2);
        Self {
            widen: conv(ConvConfig::new(channels, wide, 1), "pwconv1"),
            act: StarRelu::new(&at.at("act1")),
            depthwise: conv(depthwise.groups(wide), "dwconv"),
            narrow: conv(ConvConfig::new(wide, channels, 1), "pwconv2"),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.act.forward(self.widen.forward(x));
        self.narrow.forward(self.depthwise.forward(x))
    }
}

/// Attention of all places to each other.
#[derive(Debug)]
struct Attention {
    qkv: ConvNormAct,
    project: ConvNormAct,
    dropout: Option<Dropout>,
}

impl Attention {
    fn new(make: &Make, at: &Params) -> Self {
        let channels = make.channels;
        let linear = |to, name: &str| {
            let conv = ConvConfig::new(channels, to, 1).linear().bias(false);
            conv.init(&at.at(name), None)
        };
        Self {
            qkv: linear(3 * channels, "qkv"),
            project: linear(channels, "proj"),
            dropout: Dropout::new(make.dropout, &at.at("proj_drop")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, h, w] = x.dims();
        let qkv = tokens_from_map(self.qkv.forward(x));
        let [q, k, v] = split_qkv(qkv, channels / HEAD);
        let found = attend(q, k, v, (HEAD as f64).powf(-0.5), None);
        let y = self
            .project
            .forward(map_from_tokens(join_heads(found), [h, w]));
        match &self.dropout {
            Some(dropout) => dropout.forward(y),
            None => y,
        }
    }
}

/// Two layers of one place each.
#[derive(Debug)]
struct Mlp {
    widen: ConvNormAct,
    /// None where it is GELU, which the first layer has.
    act: Option<StarRelu>,
    narrow: ConvNormAct,
    dropout: Option<Dropout>,
}

impl Mlp {
    fn new(make: &Make, at: &Params) -> Self {
        let (channels, wide) = (make.channels, 4 * make.channels);
        let first = make.kind == Kind::Pool1;
        let conv = |from, to, name: &str, act| {
            let conv = ConvConfig::new(from, to, 1).bias(first).act(act);
            let conv = if make.attends { conv.linear() } else { conv };
            conv.init(&at.at(name), None)
        };
        Self {
            widen: conv(channels, wide, "fc1", first.then_some(Activation::Gelu)),
            act: (!first).then(|| StarRelu::new(&at.at("act"))),
            narrow: conv(wide, channels, "fc2", None),
            dropout: Dropout::new(make.dropout, &at.at("drop1")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let drop = |x| match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        };
        let x = self.widen.forward(x);
        let x = match &self.act {
            Some(act) => act.forward(x),
            None => x,
        };
        drop(self.narrow.forward(drop(x)))
    }
}

/// `scale * relu(x)^2 + bias`, two learned numbers.
#[derive(Debug)]
struct StarRelu {
    scale: Weight<1>,
    bias: Weight<1>,
}

impl StarRelu {
    fn new(at: &Params) -> Self {
        Self {
            scale: at.weight("scale", [1], Init::Constant(1.0)),
            bias: at.weight("bias", [1], Init::Constant(0.0)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let number = |weight: &Weight<1>| weight.get().reshape([1, 1, 1, 1]);
        Activation::Relu.forward(x).square() * number(&self.scale) + number(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes() {
        assert!(names().iter().all(|name| parse(name).is_some()));
        let (kind, size) = parse("poolformerv2_m36").unwrap();
        assert_eq!((kind, size.2[3]), (Kind::Pool2, 768));
        assert_eq!(parse("caformer_m36").unwrap().1.2[3], 576);
        assert!(parse("caformer_s12").is_none() && parse("poolformer_b36").is_none());
    }
}
