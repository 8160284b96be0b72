//! EdgeNeXt (Maaz et al. 2022, arXiv 2206.10589): stages of ConvNeXt blocks that end with one in which channels, split and filtered one
//! after another, attend to each other. MMPretrain's (1.2.0) and timm's (0.9.16, see `timm/edgenext.rs`), whose names differ.
//!
//! Shapes: stage i gives `[N, channels[i], H / (4 * 2^i), W / ...]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::channel_attention::{ChannelAttention, ChannelAttentionShape};
use super::fourier::FourierPositions;
use super::options::{OutIndices, act, each, norm, rate, rising};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Dropout, LayerScale, Mlp, Norm, NormConfig,
    NormKind, Params, map_from_tokens, tokens_from_map,
};
use crate::limits::{Channels, Layers, List, Pixels};

/// The keys of `type='mmpretrain.EdgeNeXt'`.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    global_blocks: Option<List<Layers>>,
    drop_path_rate: Option<f64>,
    layer_scale_init_value: Option<f64>,
    linear_pw_conv: Option<bool>,
    mlp_ratio: Option<Bounded<1, 64>>,
    conv_kernel_sizes: Option<List<Pixels>>,
    use_pos_embd_csa: Option<List<bool>>,
    use_pos_embd_global: Option<bool>,
    d2_scales: Option<List<Channels>>,
    out_indices: Option<OutIndices>,
    frozen_stages: Option<i64>,
    gap_before_final_norm: Option<bool>,
}

const OTHERS: &[&str] = &[
    "arch",
    "norm_cfg",
    "act_cfg",
    "init_cfg",
    "global_block_type",
];

/// The original checks these and goes by `global_blocks`.
#[derive(Debug, Deserialize)]
enum BlockType {
    None,
    #[serde(rename = "SDTA")]
    Sdta,
}

/// The keys of an `arch` that is no name.
#[derive(Debug, Deserialize)]
struct ArchKeys {
    channels: List<Channels>,
    depths: List<Layers>,
    num_heads: List<Channels>,
}

/// Name, and channels, blocks and heads of each stage.
type ArchRow = (&'static str, [usize; 4], [usize; 4], [usize; 4]);

const ARCHES: [ArchRow; 4] = [
    ("xxsmall", [24, 48, 88, 168], [2, 2, 6, 2], [4; 4]),
    ("xsmall", [32, 64, 100, 192], [3, 3, 9, 3], [4; 4]),
    ("small", [48, 96, 160, 304], [3, 3, 9, 3], [8; 4]),
    ("base", [80, 160, 288, 584], [3, 3, 9, 3], [8; 4]),
];

/// The value of MMPretrain's factors of split blocks at the beginning, whatever `layer_scale_init_value` says.
const SPLIT_SCALE: f64 = 1e-6;
/// Channels inside a convolutional block, in those of the block.
const CONV_RATIO: usize = 4;

/// Whose names the tensors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    MmPretrain,
    Timm,
}

/// One stage.
pub(super) struct StageShape {
    pub channels: usize,
    pub blocks: usize,
    /// How many of the blocks, the last ones, split their channels.
    pub split_blocks: usize,
    pub heads: usize,
    pub kernel: usize,
    /// Into how many parts channels are split.
    pub scales: usize,
    /// Whether split blocks know places.
    pub positions: bool,
}

/// All that there is to know of an EdgeNeXt.
pub(super) struct Plan {
    pub library: Library,
    pub channels_in: usize,
    pub stages: Vec<StageShape>,
    /// Side of the filter of the stem, whose stride is 4.
    pub stem_kernel: usize,
    /// Whether a stage's first block halves the sides, in place of a convolution before it.
    pub shrinking_block: bool,
    pub conv_bias: bool,
    /// Whether maps of the first stage know places.
    pub positions: bool,
    /// Channels inside a split block, in those of the block.
    pub split_ratio: usize,
    /// Whether convolutional blocks have fully connected layers in place of convolutions of 1x1.
    pub linear: bool,
    pub scale: f64,
    pub norm: NormConfig,
    pub split_norm: NormConfig,
    pub act: Activation,
    pub drop_path_rate: f64,
    /// Blocks that the rates rise over, whether they are built or not.
    pub all_blocks: usize,
    pub out_indices: Vec<usize>,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    let plan = keys.plan(node)?;
    let frozen_stages = keys.frozen_stages.unwrap_or(0);
    let count = plan.stages.len();
    if frozen_stages > count as i64 {
        let message = format!("`frozen_stages` is {frozen_stages}, there are {count} stages");
        return Err(error_at(node, "frozen_stages", message, ""));
    }
    let params = &build.params;
    let places = Places {
        stem: ["0", "1"].map(|i| params.at(format!("downsample_layers.0.{i}"))),
        stages: (0..count)
            .map(|i| params.at(format!("stages.{i}")))
            .collect(),
        downsamples: (0..count)
            .map(|i| params.at(format!("downsample_layers.{i}")))
            .collect(),
    };
    let mut backbone = EdgeNext::new(plan, params, &places);
    let norms = backbone.out_indices.iter().zip(&backbone.features);
    let norm = norm_cfg(node)?;
    let norms = norms.map(|(i, map)| norm.init(map.channels, &params.at(format!("norm{i}"))));
    backbone.norms = norms.collect();
    for i in 0..frozen_stages {
        params.at(format!("downsample_layers.{i}")).freeze();
        params.at(format!("stages.{i}")).freeze();
    }
    Ok(Box::new(backbone))
}

fn norm_cfg(node: &Node) -> Result<NormConfig, Diagnostics> {
    let norm = norm(node, "norm_cfg", NormConfig::layer(1e-6), &[])?;
    match norm.norm_kind() {
        Ok(NormKind::Layer) => Ok(norm),
        _ => {
            let message = format!("EdgeNeXt has layer norms, `{}` is none", norm.kind);
            let help = "for example norm_cfg=dict(type='LN2d', eps=1e-6)";
            Err(error_at(node, "norm_cfg", message, help))
        }
    }
}

impl Keys {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        if self.gap_before_final_norm.unwrap_or(true) {
            let message = "`gap_before_final_norm` is True, by default too, which gives no maps";
            let help = "gap_before_final_norm=False gives maps";
            return Err(error_at(node, "gap_before_final_norm", message, help));
        }
        if let Some(types) = node.get("global_block_type") {
            let _: List<BlockType> = types.read()?;
        }
        let stages = self.stages(node)?;
        let (things, count) = ("stages", stages.len());
        Ok(Plan {
            library: Library::MmPretrain,
            channels_in: self.in_channels.map_or(3, Channels::get),
            stem_kernel: 4,
            shrinking_block: false,
            conv_bias: true,
            positions: self.use_pos_embd_global.unwrap_or(false),
            split_ratio: self.mlp_ratio.map_or(4, Bounded::get),
            linear: self.linear_pw_conv.unwrap_or(true),
            scale: self.layer_scale_init_value.unwrap_or(1e-6),
            norm: norm_cfg(node)?,
            split_norm: NormConfig::layer(1e-5),
            act: act(node, "act_cfg", Activation::Gelu)?,
            drop_path_rate: rate(node, "drop_path_rate", self.drop_path_rate)?,
            all_blocks: stages.iter().map(|stage| stage.blocks).sum(),
            out_indices: OutIndices::of(self.out_indices.as_ref(), &[-1], count, things, node)?,
            stages,
        })
    }

    fn stages(&self, node: &Node) -> Result<Vec<StageShape>, Diagnostics> {
        let [channels, blocks, heads] = arch(node)?;
        let count = channels.len();
        let of = |key, given: Option<Vec<usize>>, default: [usize; 4]| {
            each(node, key, &given.unwrap_or_else(|| default.to_vec()), count)
        };
        let split = self.global_blocks.as_ref().map(List::numbers);
        let split = of("global_blocks", split, [0, 1, 1, 1])?;
        let kernels = self.conv_kernel_sizes.as_ref().map(List::numbers);
        let kernels = of("conv_kernel_sizes", kernels, [3, 5, 7, 9])?;
        let scales = self.d2_scales.as_ref().map(List::numbers);
        let scales = of("d2_scales", scales, [2, 2, 3, 4])?;
        let positions: &[bool] = match &self.use_pos_embd_csa {
            Some(list) => list,
            None => &[false, true, false, false],
        };
        let positions = each(node, "use_pos_embd_csa", positions, count)?;
        let mut stages = Vec::new();
        for i in 0..count {
            let (c, n) = (channels[i], scales[i]);
            let fail = |key, message: String| Err(error_at(node, key, message, ""));
            if kernels[i].is_multiple_of(2) {
                return fail(
                    "conv_kernel_sizes",
                    format!("{} is even, must be odd", kernels[i]),
                );
            }
            if split[i] > 0 && !c.is_multiple_of(heads[i]) {
                let heads = heads[i];
                let message = format!("{c} channels cannot be shared among {heads} heads");
                return fail("arch", message);
            }
            if split[i] > 0 && (n < 2 || c.div_ceil(c.div_ceil(n)) != n) {
                return fail(
                    "d2_scales",
                    format!("{c} channels cannot be split into {n} parts"),
                );
            }
            stages.push(StageShape {
                channels: c,
                blocks: blocks[i],
                split_blocks: split[i].min(blocks[i]),
                heads: heads[i],
                kernel: kernels[i],
                scales: n,
                positions: positions[i],
            });
        }
        Ok(stages)
    }
}

/// Channels, blocks and heads of each stage.
fn arch(node: &Node) -> Result<[Vec<usize>; 3], Diagnostics> {
    let given = node.get("arch");
    let name = match given {
        None => "xxsmall".to_string(),
        Some(given) => match given.as_str() {
            Some(name) => name.to_lowercase(),
            None => {
                let keys: ArchKeys = given.read()?;
                let blocks = keys.depths.numbers();
                if !(1..=16).contains(&blocks.len()) {
                    let message = format!("{} stages, 1 to 16 are possible", blocks.len());
                    return Err(error_at(given, "depths", message, ""));
                }
                let channels = each(given, "channels", &keys.channels.numbers(), blocks.len())?;
                let heads = each(given, "num_heads", &keys.num_heads.numbers(), blocks.len())?;
                return Ok([channels, blocks, heads]);
            }
        },
    };
    let Some((_, channels, blocks, heads)) = ARCHES.iter().find(|row| row.0 == name) else {
        let message = format!("EdgeNeXt has no arch '{name}'");
        let known: Vec<_> = ARCHES.iter().map(|row| row.0).collect();
        let help = format!("known are {}", known.join(", "));
        return Err(error_at(node, "arch", message, &help));
    };
    Ok([channels, blocks, heads].map(|list| list.to_vec()))
}

/// Where the parts have their tensors.
pub(super) struct Places {
    /// Of the convolution and its norm.
    pub stem: [Params; 2],
    pub stages: Vec<Params>,
    /// Of what is before each stage but the first.
    pub downsamples: Vec<Params>,
}

/// EdgeNeXt.
#[derive(Debug)]
pub struct EdgeNext {
    stem: (ConvNormAct, Norm),
    positions: Option<FourierPositions>,
    stages: Vec<Stage>,
    /// Of the maps that are given; none where they are given as they are.
    pub(super) norms: Vec<Norm>,
    /// Of numbers of the last map.
    pub(super) dropout: Option<Dropout>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
}

#[derive(Debug)]
struct Stage {
    downsample: Option<(Norm, ConvNormAct)>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Block {
    Conv(Box<ConvBlock>),
    Split(Box<SplitBlock>),
}

impl EdgeNext {
    pub(super) fn new(plan: Plan, params: &Params, places: &Places) -> Self {
        let first = plan.stages[0].channels;
        let positions =
            (plan.positions).then(|| FourierPositions::new(first, &params.at("pos_embed.proj")));
        let k = plan.stem_kernel;
        let conv = ConvConfig::new(plan.channels_in, first, k).stride(4);
        let conv = conv.pad(if k > 4 { k / 2 } else { 0 }).bias(plan.conv_bias);
        let [conv_at, norm_at] = &places.stem;
        let stem = (conv.init(conv_at, None), plan.norm.init(first, norm_at));
        let downsample = |i: usize| {
            let (from, to) = (plan.stages[i - 1].channels, plan.stages[i].channels);
            let at = &places.downsamples[i];
            let conv = ConvConfig::new(from, to, 2).stride(2).bias(plan.conv_bias);
            (
                plan.norm.init(from, &at.at("0")),
                conv.init(&at.at("1"), None),
            )
        };
        let has = |i: usize| i > 0 && !plan.shrinking_block;
        let count = plan.stages.len();
        // MMPretrain has all of them before the stages.
        let mut before: Vec<_> = match plan.library {
            Library::MmPretrain => (0..count).map(|i| has(i).then(|| downsample(i))).collect(),
            Library::Timm => (0..count).map(|_| None).collect(),
        };
        let rates = rising(plan.drop_path_rate, plan.all_blocks);
        let mut built = 0;
        let mut channels = first;
        let (mut stages, mut features) = (Vec::new(), Vec::new());
        for (i, stage) in plan.stages.iter().enumerate() {
            let mut down = before[i].take();
            if down.is_none() && has(i) {
                down = Some(downsample(i));
            }
            if down.is_some() {
                channels = stage.channels;
            }
            let mut blocks = Vec::new();
            for j in 0..stage.blocks {
                let at = &places.stages[i];
                let at = match plan.library {
                    Library::MmPretrain => at.at(j),
                    Library::Timm => at.at(format!("blocks.{j}")),
                };
                let rate = rates(built);
                blocks.push(if j < stage.blocks - stage.split_blocks {
                    let shape = ConvBlockShape {
                        channels: [channels, stage.channels],
                        kernel: stage.kernel,
                        stride: if i > 0 && j == 0 && plan.shrinking_block {
                            2
                        } else {
                            1
                        },
                        rate,
                    };
                    Block::Conv(Box::new(ConvBlock::new(&shape, &plan, &at)))
                } else {
                    Block::Split(Box::new(SplitBlock::new(stage, &plan, rate, &at)))
                });
                channels = stage.channels;
                built += 1;
            }
            stages.push(Stage {
                downsample: down,
                blocks,
            });
            features.push(Feature {
                channels,
                stride: 4 << i,
            });
        }
        Self {
            stem,
            positions,
            stages,
            norms: Vec::new(),
            dropout: None,
            features: plan.out_indices.iter().map(|i| features[*i]).collect(),
            out_indices: plan.out_indices,
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for EdgeNext {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let (conv, norm) = &self.stem;
        let mut x = norm.forward(conv.forward(x));
        let last = self.out_indices.last().map_or(0, |last| last + 1);
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate().take(last) {
            if let Some((norm, conv)) = &stage.downsample {
                x = conv.forward(norm.forward(x));
            }
            x = stage.blocks.iter().fold(x, |x, block| match block {
                Block::Conv(block) => block.forward(x),
                Block::Split(block) => block.forward(x),
            });
            if i == 0
                && let Some(positions) = &self.positions
            {
                let [_, _, h, w] = x.dims();
                let positions = positions.forward([h, w], &x);
                x = x + positions;
            }
            if self.out_indices.contains(&i) {
                maps.push(match self.norms.get(maps.len()) {
                    Some(norm) => norm.forward(x.clone()),
                    None => x.clone(),
                });
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

struct ConvBlockShape {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    rate: f64,
}

/// A depthwise convolution, then two layers across channels.
#[derive(Debug)]
struct ConvBlock {
    filter: ConvNormAct,
    norm: Norm,
    pointwise: Pointwise,
    scale: Option<LayerScale>,
    drop_path: Option<DropPath>,
    /// Whether what is added to is the filtered map.
    shortcut_after: bool,
}

#[derive(Debug)]
enum Pointwise {
    Linear(Box<Mlp>),
    Conv(Box<[ConvNormAct; 2]>),
}

impl ConvBlock {
    fn new(shape: &ConvBlockShape, plan: &Plan, at: &Params) -> Self {
        let [from, c] = shape.channels;
        let scale = (plan.scale > 0.0).then(|| LayerScale::new("gamma", c, plan.scale, at));
        let filter = ConvConfig::new(from, c, shape.kernel)
            .stride(shape.stride)
            .pad(shape.kernel / 2)
            .groups(from)
            .bias(plan.conv_bias);
        let (name, [first, last]) = plan.library.names();
        let filter = filter.init(&at.at(name), None);
        let norm = plan.norm.init(c, &at.at("norm"));
        let wide = CONV_RATIO * c;
        let (first, last) = (at.at(first), at.at(last));
        let pointwise = if plan.linear {
            let mlp = Mlp::new([c, wide, c], plan.act, 0.0, [&first, &last]);
            Pointwise::Linear(Box::new(mlp))
        } else {
            let widen = ConvConfig::new(c, wide, 1).act(Some(plan.act));
            let narrow = ConvConfig::new(wide, c, 1);
            let convs = [widen.init(&first, None), narrow.init(&last, None)];
            Pointwise::Conv(Box::new(convs))
        };
        Self {
            filter,
            norm,
            pointwise,
            scale,
            drop_path: DropPath::new(shape.rate, &at.at("drop_path")),
            shortcut_after: shape.stride > 1 || from != c,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.filter.forward(x.clone());
        let shortcut = if self.shortcut_after { y.clone() } else { x };
        let mut y = match &self.pointwise {
            Pointwise::Linear(mlp) => {
                let y = self.norm.forward_tokens(y.permute([0, 2, 3, 1]));
                mlp.forward(y).permute([0, 3, 1, 2])
            }
            Pointwise::Conv(convs) => {
                let y = self.norm.forward(y);
                convs.iter().fold(y, |y, conv| conv.forward(y))
            }
        };
        if let Some(scale) = &self.scale {
            y = scale.forward(y);
        }
        DropPath::add(&self.drop_path, shortcut, y)
    }
}

impl Library {
    /// What the depthwise convolution of a block is called, and the two layers across channels.
    fn names(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Self::MmPretrain => ("depthwise_conv", ["pointwise_conv1", "pointwise_conv2"]),
            Self::Timm => ("conv_dw", ["mlp.fc1", "mlp.fc2"]),
        }
    }
}

/// Channels in parts, each filtered with what the one before gave added; then attention of channels, and two fully connected layers.
#[derive(Debug)]
struct SplitBlock {
    /// Of all parts but the last.
    filters: Vec<ConvNormAct>,
    /// Channels of a part.
    width: usize,
    positions: Option<FourierPositions>,
    norms: [Norm; 2],
    attention: ChannelAttention,
    mlp: Mlp,
    scales: Option<[LayerScale; 2]>,
    drop_path: Option<DropPath>,
}

impl SplitBlock {
    fn new(stage: &StageShape, plan: &Plan, rate: f64, at: &Params) -> Self {
        let c = stage.channels;
        let width = c.div_ceil(stage.scales);
        let timm = plan.library == Library::Timm;
        let pick = |ours: &'static str, timms: &'static str| if timm { timms } else { ours };
        let value = if timm { plan.scale } else { SPLIT_SCALE };
        let names = [pick("gamma_csa", "gamma_xca"), "gamma"];
        let scales = (value > 0.0).then(|| names.map(|name| LayerScale::new(name, c, value, at)));
        let filters = at.at(pick("conv_modules", "convs"));
        let filter = |i: usize| {
            let conv = ConvConfig::new(width, width, 3).pad(1).groups(width);
            conv.bias(plan.conv_bias).init(&filters.at(i), None)
        };
        let filters = (0..stage.scales - 1).map(filter).collect();
        let positions = stage.positions.then(|| {
            let name = pick("pos_embed.proj", "pos_embd.token_projection");
            FourierPositions::new(c, &at.at(name))
        });
        let first = plan
            .split_norm
            .init(c, &at.at(pick("norm_csa", "norm_xca")));
        let shape = ChannelAttentionShape {
            channels: c,
            heads: stage.heads,
            qkv_bias: true,
            scale: pick("scale", "temperature"),
            attn_drop_rate: 0.0,
            drop_rate: 0.0,
        };
        let attention = ChannelAttention::new(&shape, &at.at(pick("csa", "xca")));
        let second = plan.split_norm.init(c, &at.at("norm"));
        let (_, places) = plan.library.names();
        let [one, two] = places.map(|name| at.at(name));
        let wide = plan.split_ratio * c;
        Self {
            filters,
            width,
            positions,
            norms: [first, second],
            attention,
            mlp: Mlp::new([c, wide, c], Activation::Gelu, 0.0, [&one, &two]),
            scales,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let mut y = self.split(x.clone());
        if let Some(positions) = &self.positions {
            let positions = positions.forward([h, w], &y);
            y = y + positions;
        }
        let scaled = |i: usize, x: Tensor<3>| match &self.scales {
            Some(scales) => scales[i].forward_tokens(x),
            None => x,
        };
        let [first, second] = &self.norms;
        let y = tokens_from_map(y);
        let branch = self.attention.forward(first.forward_tokens(y.clone()));
        let y = DropPath::add(&self.drop_path, y, scaled(0, branch));
        let y = scaled(1, self.mlp.forward(second.forward_tokens(y)));
        DropPath::add(&self.drop_path, x, map_from_tokens(y, [h, w]))
    }

    fn split(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, c, _, _] = x.dims();
        let mut parts: Vec<Tensor<4>> = Vec::new();
        for (i, filter) in self.filters.iter().enumerate() {
            let part = x.clone().narrow(1, i * self.width, self.width);
            let part = match parts.last() {
                Some(before) => part + before.clone(),
                None => part,
            };
            parts.push(filter.forward(part));
        }
        let rest = self.filters.len() * self.width;
        parts.push(x.narrow(1, rest, c - rest));
        Tensor::cat(parts, 1)
    }
}
