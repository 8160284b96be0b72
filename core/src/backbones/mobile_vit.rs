//! MobileViT (Mehta and Rastegari 2021, arXiv 2110.02178): inverted residual blocks, and in the later stages encoder layers in which places
//! attend to those that have the same position in other patches. MMPretrain's (1.2.0) and timm's (0.9.16, see `timm/mobile_vit.rs`), whose
//! names differ; and timm's MobileViT v2 (Mehta and Rastegari 2022, arXiv 2206.02680), where each place asks one vector of its patches.
//!
//! Shapes: the stem and each stage of stride 2 halve the sides; the last map has `last` channels, after a convolution of 1x1.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::options::{OutIndices, each};
use super::vision_transformer::{EncoderLayer, LayerNames, LayerShape, QkvBias, Scale};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Dropout, Init, InitRule, Norm,
    NormConfig, Params,
};
use crate::limits::Channels;
use crate::ops::resize::{Interpolation, resize};
use crate::ops::rows::softmax;

/// The keys of `type='mmpretrain.MobileViT'`.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    stem_channels: Option<Channels>,
    last_exp_factor: Option<Bounded<1, 64>>,
    out_indices: Option<OutIndices>,
    frozen_stages: Option<i64>,
}

const OTHERS: &[&str] = &["arch", "conv_cfg", "norm_cfg", "act_cfg", "init_cfg"];

/// Output channels, stride, channels of tokens and of the layers inside (0 for a stage without), blocks or layers.
type StageRow = (usize, usize, [usize; 2], usize);

/// Name, what blocks widen by, and the stages.
type ArchRow = (&'static str, usize, [StageRow; 5]);

const NONE: [usize; 2] = [0, 0];
const ARCHES: [ArchRow; 3] = [
    (
        "small",
        4,
        [
            (32, 1, NONE, 1),
            (64, 2, NONE, 3),
            (96, 2, [144, 288], 2),
            (128, 2, [192, 384], 4),
            (160, 2, [240, 480], 3),
        ],
    ),
    (
        "x_small",
        4,
        [
            (32, 1, NONE, 1),
            (48, 2, NONE, 3),
            (64, 2, [96, 192], 2),
            (80, 2, [120, 240], 4),
            (96, 2, [144, 288], 3),
        ],
    ),
    (
        "xx_small",
        2,
        [
            (16, 1, NONE, 1),
            (24, 2, NONE, 3),
            (48, 2, [64, 128], 2),
            (64, 2, [80, 160], 4),
            (80, 2, [96, 192], 3),
        ],
    ),
];

/// Heads of each encoder layer.
const HEADS: usize = 4;
/// Sides of a patch.
const PATCH: usize = 2;

/// One stage.
#[derive(Clone, Debug)]
pub(super) struct StageShape {
    pub channels: usize,
    pub stride: usize,
    /// Inverted residual blocks.
    pub blocks: usize,
    /// Channels inside a block, in those that it takes.
    pub expansion: f64,
    pub mixer: Option<MixerShape>,
}

/// What mixes places after a stage's blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum MixerShape {
    /// Encoder layers of tokens with `channels`.
    Attention {
        channels: usize,
        hidden: usize,
        layers: usize,
    },
    /// Those of MobileViT v2.
    Linear { channels: usize, layers: usize },
}

/// All that there is to know of a MobileViT.
pub(super) struct Plan {
    pub names: LayerNames,
    pub channels_in: usize,
    pub stem_channels: usize,
    pub stages: Vec<StageShape>,
    /// Channels after the last stage, by a convolution.
    pub last: Option<usize>,
    /// Of the stem and the convolution after the last stage.
    pub style: ConvStyle,
    /// Of each block that mixes or does not.
    pub rates: Vec<f64>,
    pub out_indices: Vec<usize>,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    let plan = keys.plan(node)?;
    let count = plan.stages.len();
    let frozen_stages = keys.frozen_stages.unwrap_or(-1);
    if !(-1..count as i64).contains(&frozen_stages) {
        let last = count - 1;
        let message = format!("`frozen_stages` is {frozen_stages}, must be -1 to {last}");
        return Err(error_at(node, "frozen_stages", message, ""));
    }
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        let norms = ["_BatchNorm", "GroupNorm"];
        at.initialise(InitRule::of(&norms, Init::Constant(1.0)));
    });
    let params = &build.params;
    let stages: Vec<_> = (0..count)
        .map(|i| params.at(format!("layers.{i}")))
        .collect();
    let backbone = MobileVit::new(plan, params, &stages, &params.at("conv_1x1_exp"));
    for i in 0..frozen_stages {
        params.at(format!("layers.{i}")).freeze();
    }
    Ok(Box::new(backbone))
}

impl Keys {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        let stages = arch(node)?;
        let (things, count) = ("stages", stages.len());
        let default = [4];
        let out_indices = OutIndices::of(self.out_indices.as_ref(), &default, count, things, node)?;
        let channels = stages[count - 1].channels;
        let last = channels * self.last_exp_factor.map_or(4, Bounded::get);
        let stem_channels = self.stem_channels.map_or(16, Channels::get);
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Silu),
            ..ConvStyle::default()
        };
        Ok(Plan {
            names: LayerNames::MmPretrain,
            channels_in: self.in_channels.map_or(3, Channels::get),
            stem_channels,
            last: Some(last),
            style: ConvStyle::read(node, defaults, &[stem_channels, last])?,
            rates: Vec::new(),
            out_indices,
            stages,
        })
    }
}

fn arch(node: &Node) -> Result<Vec<StageShape>, Diagnostics> {
    let given = node.get("arch");
    if let Some((given, items)) = given.and_then(|node| Some((node, node.as_items()?))) {
        if !(1..=16).contains(&items.len()) {
            let message = format!("{} stages, 1 to 16 are possible", items.len());
            return Err(error_at(given, "", message, ""));
        }
        return items.iter().map(stage).collect();
    }
    let name = given
        .and_then(Node::as_str)
        .unwrap_or("small")
        .to_lowercase();
    if let Some(given) = given.filter(|given| given.as_str().is_none()) {
        let message = "`arch` must be a name or a list of stages";
        return Err(error_at(given, "", message, ""));
    }
    let Some((_, expansion, rows)) = ARCHES.iter().find(|row| row.0 == name) else {
        let message = format!("MobileViT has no arch '{name}'");
        let known: Vec<_> = ARCHES.iter().map(|row| row.0).collect();
        let help = format!("known are {}", known.join(", "));
        return Err(error_at(node, "arch", message, &help));
    };
    let stage = |&(channels, stride, [tokens, hidden], n): &StageRow| StageShape {
        channels,
        stride,
        blocks: if tokens == 0 { n } else { 1 },
        expansion: *expansion as f64,
        mixer: (tokens > 0).then_some(MixerShape::Attention {
            channels: tokens,
            hidden,
            layers: n,
        }),
    };
    Ok(rows.iter().map(stage).collect())
}

/// A stage of an `arch` that is a list: `['mobilenetv2', channels, stride, blocks, expansion]` or
/// `['mobilevit', channels, stride, channels of tokens, inner channels, layers, expansion]`.
fn stage(node: &Node) -> Result<StageShape, Diagnostics> {
    let items = node.as_items().unwrap_or_default();
    let kind = items.first().and_then(Node::as_str).unwrap_or_default();
    let count = match kind {
        "mobilenetv2" => 4,
        "mobilevit" => 6,
        _ => {
            let message = "a stage is ['mobilenetv2', ...] or ['mobilevit', ...]";
            return Err(error_at(node, "", message, ""));
        }
    };
    let rest = &items[1..];
    let mut numbers = Vec::new();
    for item in rest {
        let number: Bounded<1, 8192> = item.read()?;
        numbers.push(number.get());
    }
    if numbers.len() + 1 == count {
        numbers.push(4); // what blocks widen by, if nothing is said
    }
    let numbers = each(node, "", &numbers, count)?;
    let fail = |message: String| Err(error_at(node, "", message, ""));
    if rest.len() > count {
        return fail(format!(
            "a stage of '{kind}' has {count} numbers, found {}",
            rest.len()
        ));
    }
    let (layers, expansion) = (numbers[count - 2], numbers[count - 1]);
    if numbers[1] > 2 || layers > 128 || expansion > 64 {
        return fail(format!(
            "a stride of 1 or 2, at most 128 blocks or layers and an expansion of at most 64 are possible, found {numbers:?}"
        ));
    }
    let attention = count == 6;
    if attention && !numbers[2].is_multiple_of(HEADS) {
        let channels = numbers[2];
        return fail(format!(
            "{channels} channels cannot be shared among {HEADS} heads"
        ));
    }
    Ok(StageShape {
        channels: numbers[0],
        stride: numbers[1],
        blocks: if attention { 1 } else { layers },
        expansion: expansion as f64,
        mixer: attention.then(|| MixerShape::Attention {
            channels: numbers[2],
            hidden: numbers[3],
            layers,
        }),
    })
}

/// MobileViT.
#[derive(Debug)]
pub struct MobileVit {
    stem: ConvNormAct,
    stages: Vec<Stage>,
    last: Option<ConvNormAct>,
    /// Of numbers of the last map.
    pub(super) dropout: Option<Dropout>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<InvertedResidual>,
    mixer: Option<Mixer>,
}

/// How convolutions and norms are named and initialised.
struct Make {
    names: LayerNames,
    norm: NormConfig,
}

impl Make {
    /// A convolution, its norm, and an activation.
    fn layer(&self, conv: ConvConfig, act: bool, at: &Params) -> ConvNormAct {
        let conv = conv.act(act.then_some(Activation::Silu));
        self.initialise(&conv, &at.at("conv"));
        conv.init(&at.at("conv"), Some((&self.norm, &at.at("bn"))))
    }

    /// A convolution alone.
    fn bare(&self, conv: ConvConfig, at: &Params) -> ConvNormAct {
        self.initialise(&conv, at);
        conv.init(at, None)
    }

    fn initialise(&self, conv: &ConvConfig, at: &Params) {
        if self.names == LayerNames::Timm {
            let std = (2.0 / conv.fan_out_of_group() as f64).sqrt();
            at.initialise_built(InitRule::all(Init::normal(std), 0.0));
        }
    }

    fn pick<'n>(&self, ours: &'n str, timms: &'n str) -> &'n str {
        match self.names {
            LayerNames::MmPretrain => ours,
            LayerNames::Timm => timms,
        }
    }
}

impl MobileVit {
    /// `stages` are the places of the stages, `last` that of the convolution after them.
    pub(super) fn new(plan: Plan, params: &Params, stages: &[Params], last: &Params) -> Self {
        let make = Make {
            names: plan.names,
            norm: NormConfig::batch(1e-5),
        };
        let conv = ConvConfig::new(plan.channels_in, plan.stem_channels, 3)
            .stride(2)
            .pad(1);
        let stem_at = params.at("stem");
        let stem = plan.style.module(conv, &stem_at);
        let (mut channels, mut stride) = (plan.stem_channels, 2);
        let mut rates = plan.rates.iter().copied();
        let mut rate = || rates.next().unwrap_or(0.0);
        let (mut built, mut features) = (Vec::new(), Vec::new());
        for (shape, at) in plan.stages.iter().zip(stages) {
            let mut blocks = Vec::new();
            for j in 0..shape.blocks {
                let stride = if j == 0 { shape.stride } else { 1 };
                let block = BlockShape {
                    channels: [channels, shape.channels],
                    wide: wide(channels, shape.expansion, plan.names),
                    stride,
                    rate: rate(),
                };
                blocks.push(InvertedResidual::new(&block, &make, &at.at(j)));
                channels = shape.channels;
            }
            let at = at.at(shape.blocks);
            let mixer = shape.mixer.map(|mixer| match mixer {
                MixerShape::Attention {
                    channels: tokens,
                    hidden,
                    layers,
                } => {
                    let sizes = [channels, tokens, hidden, layers];
                    Mixer::Attention(Box::new(AttentionMixer::new(sizes, rate(), &make, &at)))
                }
                MixerShape::Linear {
                    channels: inner,
                    layers,
                } => {
                    let sizes = [channels, inner, layers];
                    Mixer::Linear(Box::new(LinearMixer::new(sizes, rate(), &make, &at)))
                }
            });
            stride *= shape.stride;
            built.push(Stage { blocks, mixer });
            features.push(Feature { channels, stride });
        }
        let last = plan.last.map(|wide| {
            let conv = ConvConfig::new(channels, wide, 1);
            if let Some(feature) = features.last_mut() {
                feature.channels = wide;
            }
            plan.style.module(conv, last)
        });
        Self {
            stem,
            stages: built,
            last,
            dropout: None,
            features: plan.out_indices.iter().map(|i| features[*i]).collect(),
            out_indices: plan.out_indices,
            channels_in: plan.channels_in,
        }
    }
}

/// Channels inside a block: timm has multiples of eight.
fn wide(channels: usize, expansion: f64, names: LayerNames) -> usize {
    let wide = channels as f64 * expansion;
    match names {
        LayerNames::MmPretrain => wide.round_ties_even() as usize,
        LayerNames::Timm => crate::layers::make_divisible(wide, 8),
    }
}

impl Backbone for MobileVit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(x);
        let wanted = self.out_indices.last().copied().unwrap_or(0);
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            // Running statistics are in the state dict, wanted or not.
            let learning = |stage: &Stage| stage.blocks.iter().any(|b| b.convs[0].learning());
            if i > wanted && !self.stages[i..].iter().any(learning) {
                break;
            }
            x = stage.forward(x);
            if i + 1 == self.stages.len()
                && let Some(last) = &self.last
            {
                x = last.forward(x);
            }
            if self.out_indices.contains(&i) {
                maps.push(x.clone());
            }
        }
        if let Some(drop) = &self.dropout {
            maps = maps.into_iter().map(|map| drop.forward(map)).collect();
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

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        match &self.mixer {
            Some(Mixer::Attention(mixer)) => mixer.forward(x),
            Some(Mixer::Linear(mixer)) => mixer.forward(x),
            None => x,
        }
    }
}

struct BlockShape {
    channels: [usize; 2],
    /// Channels inside.
    wide: usize,
    stride: usize,
    rate: f64,
}

/// Widen (1x1, unless that is by 1), filter each channel (3x3), narrow (1x1); added to the input where shapes allow.
#[derive(Debug)]
struct InvertedResidual {
    convs: Vec<ConvNormAct>,
    shortcut: bool,
    drop_path: Option<DropPath>,
}

impl InvertedResidual {
    fn new(shape: &BlockShape, make: &Make, at: &Params) -> Self {
        let [from, to] = shape.channels;
        let wide = shape.wide;
        let shortcut = shape.stride == 1 && from == to;
        let filter = ConvConfig::new(wide, wide, 3)
            .stride(shape.stride)
            .pad(1)
            .groups(wide);
        let mut layers = vec![
            (ConvConfig::new(from, wide, 1), "conv1_1x1"),
            (filter, "conv2_kxk"),
            (ConvConfig::new(wide, to, 1), "conv3_1x1"),
        ];
        if make.names == LayerNames::MmPretrain && wide == from {
            layers.remove(0);
        }
        let count = layers.len();
        if make.names == LayerNames::Timm && shortcut {
            // The block begins as the identity.
            let zeros = InitRule::all(Init::Constant(0.0), 0.0);
            at.at("conv3_1x1.bn").initialise_built(zeros);
        }
        let layer = |(i, (conv, name)): (usize, (ConvConfig, &str))| {
            let ours = format!("conv.{i}");
            make.layer(conv, i + 1 < count, &at.at(make.pick(&ours, name)))
        };
        Self {
            convs: layers.into_iter().enumerate().map(layer).collect(),
            shortcut,
            drop_path: DropPath::new(if shortcut { shape.rate } else { 0.0 }, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let y = before.iter().fold(x.clone(), |x, layer| layer.forward(x));
        match &self.drop_path {
            Some(drop) if drop.learning() => x + drop.forward(last.forward(y)),
            _ if self.shortcut => last.forward_onto(y, x),
            _ => last.forward(y),
        }
    }
}

#[derive(Debug)]
enum Mixer {
    Attention(Box<AttentionMixer>),
    Linear(Box<LinearMixer>),
}

/// Patches down and across a map, and the size that they make up.
fn patches([h, w]: [usize; 2]) -> ([usize; 2], [usize; 2]) {
    let count = [h, w].map(|side| side.div_ceil(PATCH));
    (count, count.map(|n| n * PATCH))
}

/// A filtered map as tokens, encoder layers, and their map beside the first one, filtered again.
#[derive(Debug)]
struct AttentionMixer {
    local: [ConvNormAct; 2],
    layers: Vec<EncoderLayer>,
    norm: Norm,
    project: ConvNormAct,
    fuse: ConvNormAct,
}

impl AttentionMixer {
    fn new(
        [channels, tokens, hidden, layers]: [usize; 4],
        rate: f64,
        make: &Make,
        at: &Params,
    ) -> Self {
        let filter = ConvConfig::new(channels, channels, 3).pad(1);
        let filter = make.layer(filter, true, &at.at(make.pick("local_rep.0", "conv_kxk")));
        let widen = ConvConfig::new(channels, tokens, 1).bias(false);
        let widen = make.bare(widen, &at.at(make.pick("local_rep.1.conv", "conv_1x1")));
        let norm = NormConfig::layer(1e-5);
        let shape = LayerShape {
            names: make.names,
            channels: tokens,
            heads: HEADS,
            hidden,
            bias: QkvBias::All,
            norm: norm.clone(),
            act: Activation::Silu,
            gated: false,
            scale: Scale::None,
            one_norm: false,
            initialises: false,
            drop_rate: 0.0,
            attn_proj_drop: false,
            attn_drop_rate: 0.0,
            drop_path_rate: rate,
            places: None,
        };
        let inside = at.at(make.pick("global_rep", "transformer"));
        let encoders = (0..layers).map(|i| EncoderLayer::new(&shape, &inside.at(i)));
        let encoders = encoders.collect();
        let name = format!("global_rep.{layers}");
        let norm = norm.init(tokens, &at.at(make.pick(&name, "norm")));
        let project = ConvConfig::new(tokens, channels, 1);
        let fuse = ConvConfig::new(2 * channels, channels, 3).pad(1);
        Self {
            local: [filter, widen],
            layers: encoders,
            norm,
            project: make.layer(project, true, &at.at("conv_proj")),
            fuse: make.layer(fuse, true, &at.at("conv_fusion")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, _, h, w] = x.dims();
        let ([down, across], whole) = patches([h, w]);
        let y = self
            .local
            .iter()
            .fold(x.clone(), |x, layer| layer.forward(x));
        let y = resize(y, whole, Interpolation::Bilinear, false);
        let c = y.dims()[1];
        let y = y
            .reshape([b, c, down, PATCH, across, PATCH])
            .permute([0, 3, 5, 2, 4, 1])
            .reshape([b * PATCH * PATCH, down * across, c]);
        let y = self
            .layers
            .iter()
            .fold(y, |y, layer| layer.forward(y, None));
        let y = (self.norm.forward_tokens(y))
            .reshape([b, PATCH, PATCH, down, across, c])
            .permute([0, 5, 3, 1, 4, 2])
            .reshape([b, c, whole[0], whole[1]]);
        let y = resize(y, [h, w], Interpolation::Bilinear, false);
        let y = self.project.forward(y);
        self.fuse.forward(Tensor::cat(vec![x, y], 1))
    }
}

/// Layers of separable attention over the places of patches.
#[derive(Debug)]
struct LinearMixer {
    local: [ConvNormAct; 2],
    layers: Vec<LinearLayer>,
    norm: Norm,
    project: ConvNormAct,
}

impl LinearMixer {
    fn new([channels, inner, layers]: [usize; 3], rate: f64, make: &Make, at: &Params) -> Self {
        let filter = ConvConfig::new(channels, channels, 3)
            .pad(1)
            .groups(channels);
        let filter = make.layer(filter, true, &at.at("conv_kxk"));
        let narrow = ConvConfig::new(channels, inner, 1).bias(false);
        let narrow = make.bare(narrow, &at.at("conv_1x1"));
        let inside = at.at("transformer");
        let layers = (0..layers).map(|i| LinearLayer::new(inner, rate, make, &inside.at(i)));
        let layers = layers.collect();
        let norm = NormConfig::group(1).init(inner, &at.at("norm"));
        let project = ConvConfig::new(inner, channels, 1);
        Self {
            local: [filter, narrow],
            layers,
            norm,
            project: make.layer(project, false, &at.at("conv_proj")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, _, h, w] = x.dims();
        let ([down, across], whole) = patches([h, w]);
        let x = resize(x, whole, Interpolation::Bilinear, true);
        let y = self.local.iter().fold(x, |x, layer| layer.forward(x));
        let c = y.dims()[1];
        let y = y
            .reshape([b, c, down, PATCH, across, PATCH])
            .permute([0, 1, 3, 5, 2, 4])
            .reshape([b, c, PATCH * PATCH, down * across]);
        let y = self.layers.iter().fold(y, |y, layer| layer.forward(y));
        let y = (self.norm.forward(y))
            .reshape([b, c, PATCH, PATCH, down, across])
            .permute([0, 1, 4, 2, 5, 3])
            .reshape([b, c, whole[0], whole[1]]);
        self.project.forward(y)
    }
}

/// Separable attention, then two convolutions of 1x1.
///
/// Shapes: `[B, C, places of a patch, patches]`.
#[derive(Debug)]
struct LinearLayer {
    norms: [Norm; 2],
    /// Of a score, the key and the value.
    qkv: ConvNormAct,
    out: ConvNormAct,
    mlp: [ConvNormAct; 2],
    drop_paths: [Option<DropPath>; 2],
}

impl LinearLayer {
    fn new(c: usize, rate: f64, make: &Make, at: &Params) -> Self {
        let norm = |name: &str| NormConfig::group(1).init(c, &at.at(name));
        let conv = |from, to, act, name: &str| {
            let conv = ConvConfig::new(from, to, 1).bias(true).act(act);
            make.bare(conv, &at.at(name))
        };
        let first = norm("norm1");
        let qkv = conv(c, 1 + 2 * c, None, "attn.qkv_proj");
        let out = conv(c, c, None, "attn.out_proj");
        let second = norm("norm2");
        let act = Some(Activation::Silu);
        Self {
            norms: [first, second],
            qkv,
            out,
            mlp: [
                conv(c, 2 * c, act, "mlp.fc1"),
                conv(2 * c, c, None, "mlp.fc2"),
            ],
            drop_paths: ["drop_path1", "drop_path2"].map(|name| DropPath::new(rate, &at.at(name))),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second] = &self.norms;
        let c = x.dims()[1];
        let qkv = self.qkv.forward(first.forward(x.clone()));
        let scores = softmax(qkv.clone().narrow(1, 0, 1), 1.0, None, None);
        let context = (qkv.clone().narrow(1, 1, c) * scores).sum_dim(3);
        let value = activation::relu(qkv.narrow(1, 1 + c, c));
        let [drop, drop_feed] = &self.drop_paths;
        let x = DropPath::add(drop, x, self.out.forward(value * context));
        let [widen, narrow] = &self.mlp;
        let branch = narrow.forward(widen.forward(second.forward(x.clone())));
        DropPath::add(drop_feed, x, branch)
    }
}
