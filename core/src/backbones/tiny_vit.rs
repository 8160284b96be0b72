//! TinyViT (Wu et al. 2022, arXiv 2207.10666) as MMPretrain 1.2.0 builds it: a stage of inverted residual blocks, then stages of attention
//! within windows. The original counts the places of each stage from `img_size`, so that pictures have one size.
//!
//! Shapes: stage i gives `[N, channels[i + 1], H / (8 * 2^i), W / ...]`, the last one that of the stage before it.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::options::{OutIndices, Sides, act, each, rate, rising, token_norm, widened};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Init, InitRule, Linear, Mlp, Norm,
    NormConfig, OffsetBias, Params, attend, join_heads, join_windows, map_from_tokens,
    tokens_from_map, windows,
};
use crate::limits::{Channels, Layers, List, Pixels};

/// The keys of `type='mmpretrain.TinyViT'`.
#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<Sides<Bounded<1, 8192>>>,
    window_size: Option<List<Bounded<1, 64>>>,
    in_channels: Option<Channels>,
    mlp_ratio: Option<f64>,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    mbconv_expand_ratio: Option<f64>,
    local_conv_size: Option<Pixels>,
    out_indices: Option<OutIndices>,
    frozen_stages: Option<i64>,
    gap_before_final_norm: Option<bool>,
}

const OTHERS: &[&str] = &[
    "arch",
    "act_cfg",
    "norm_cfg",
    "init_cfg",
    "use_checkpoint",
    "layer_lr_decay",
];

/// The keys of an `arch` that is no name.
#[derive(Debug, Deserialize)]
struct ArchKeys {
    channels: List<Channels>,
    num_heads: List<Channels>,
    depths: List<Layers>,
}

/// Name, and channels, heads and blocks of each stage.
type ArchRow = (&'static str, [usize; 4], [usize; 4], [usize; 4]);

const ARCHES: [ArchRow; 3] = [
    ("5m", [64, 128, 160, 320], [2, 4, 5, 10], [2, 2, 6, 2]),
    ("11m", [64, 128, 256, 448], [2, 4, 8, 14], [2, 2, 6, 2]),
    ("21m", [96, 192, 384, 576], [3, 6, 12, 18], [2, 2, 6, 2]),
];

/// One stage.
struct StageShape {
    channels: usize,
    heads: usize,
    blocks: usize,
    window: usize,
    hidden: usize,
    /// Channels that it gives, by half as many places a side; none for the last one.
    next: Option<usize>,
}

/// What the keys come to.
struct Plan {
    picture: [usize; 2],
    channels_in: usize,
    stages: Vec<StageShape>,
    expanded: usize,
    local_conv: usize,
    drop_rate: f64,
    drop_path_rate: f64,
    act: Activation,
    norm: NormConfig,
    out_indices: Vec<usize>,
    frozen_stages: i64,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    Ok(Box::new(TinyVit::new(keys.plan(node)?, &build.params)))
}

impl Keys {
    fn plan(self, node: &Node) -> Result<Plan, Diagnostics> {
        let stages = self.stages(node)?;
        let count = stages.len();
        if self.gap_before_final_norm.unwrap_or(true) {
            let message = "`gap_before_final_norm` is True, by default too, which gives no maps";
            let help = "gap_before_final_norm=False gives maps";
            return Err(error_at(node, "gap_before_final_norm", message, help));
        }
        let picture = self
            .img_size
            .map_or([224; 2], |s| s.both().map(Bounded::get));
        let coarsest = 4usize << (count - 1).min(16);
        if picture.iter().any(|side| side % coarsest != 0) {
            let message = format!("`img_size` must be a multiple of {coarsest}");
            return Err(error_at(node, "img_size", message, ""));
        }
        let frozen_stages = self.frozen_stages.unwrap_or(0);
        if frozen_stages > count as i64 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} stages");
            return Err(error_at(node, "frozen_stages", message, ""));
        }
        let things = "stages";
        let local_conv = self.local_conv_size.map_or(3, Pixels::get);
        if local_conv.is_multiple_of(2) {
            let message = format!("`local_conv_size` is {local_conv}, must be odd");
            return Err(error_at(node, "local_conv_size", message, ""));
        }
        let expand = self.mbconv_expand_ratio.unwrap_or(4.0);
        Ok(Plan {
            picture,
            channels_in: self.in_channels.map_or(3, Channels::get),
            expanded: widened(node, "mbconv_expand_ratio", stages[0].channels, expand)?,
            local_conv,
            drop_rate: rate(node, "drop_rate", self.drop_rate)?,
            drop_path_rate: match self.drop_path_rate {
                Some(_) => rate(node, "drop_path_rate", self.drop_path_rate)?,
                None => 0.1,
            },
            act: act(node, "act_cfg", Activation::Gelu)?,
            norm: token_norm(node, "norm_cfg", NormConfig::layer(1e-5))?,
            out_indices: OutIndices::of(self.out_indices.as_ref(), &[-1], count, things, node)?,
            frozen_stages,
            stages,
        })
    }

    fn stages(&self, node: &Node) -> Result<Vec<StageShape>, Diagnostics> {
        let (channels, heads, depths) = arch(node)?;
        let count = channels.len();
        let windows = self.window_size.as_ref();
        let windows = windows.map_or_else(|| vec![7, 7, 14, 7], List::numbers);
        let windows = each(node, "window_size", &windows, count)?;
        let ratio = self.mlp_ratio.unwrap_or(4.0);
        let mut stages = Vec::new();
        for i in 0..count {
            if i > 0 && channels[i] % heads[i] != 0 {
                let (channels, heads) = (channels[i], heads[i]);
                let message = format!("{channels} channels cannot be shared among {heads} heads");
                return Err(error_at(node, "arch", message, ""));
            }
            stages.push(StageShape {
                channels: channels[i],
                heads: heads[i],
                blocks: depths[i],
                window: windows[i],
                hidden: widened(node, "mlp_ratio", channels[i], ratio)?,
                next: channels.get(i + 1).copied(),
            });
        }
        Ok(stages)
    }
}

/// Channels, heads and blocks of each stage.
type Stages = (Vec<usize>, Vec<usize>, Vec<usize>);

fn arch(node: &Node) -> Result<Stages, Diagnostics> {
    let given = node.get("arch");
    let name = match given {
        None => "5m",
        Some(given) => match given.as_str() {
            Some(name) => name,
            None => {
                let keys: ArchKeys = given.read()?;
                let channels = keys.channels.numbers();
                if channels.len() < 2 || channels[0] < 2 {
                    let message = "TinyViT has at least two stages, of at least two channels";
                    return Err(error_at(given, "channels", message, ""));
                }
                let count = channels.len();
                let heads = each(given, "num_heads", &keys.num_heads.numbers(), count)?;
                let depths = each(given, "depths", &keys.depths.numbers(), count)?;
                return Ok((channels, heads, depths));
            }
        },
    };
    let Some((_, channels, heads, depths)) = ARCHES.iter().find(|row| row.0 == name) else {
        let message = format!("TinyViT has no arch '{name}'");
        let known: Vec<_> = ARCHES.iter().map(|row| row.0).collect();
        let help = format!("known are {}", known.join(", "));
        return Err(error_at(node, "arch", message, &help));
    };
    Ok((channels.to_vec(), heads.to_vec(), depths.to_vec()))
}

/// TinyViT.
#[derive(Debug)]
pub struct TinyVit {
    patch: [ConvNormAct; 2],
    stages: Vec<Stage>,
    /// Of the stages that give maps.
    norms: Vec<Norm>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
    picture: [usize; 2],
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<Block>,
    /// Convolutions that halve the sides.
    downsample: Option<[ConvNormAct; 3]>,
}

#[derive(Debug)]
enum Block {
    Conv(Box<ConvBlock>),
    Attention(Box<AttentionBlock>),
}

impl TinyVit {
    fn new(plan: Plan, params: &Params) -> Self {
        let first = plan.stages[0].channels;
        let seq = params.at("patch_embed.seq");
        let conv = |from, to| ConvConfig::new(from, to, 3).stride(2).pad(1);
        let half = first / 2;
        let patch = [
            layer(
                conv(plan.channels_in, half),
                Some(Activation::Gelu),
                &seq.at("0"),
            ),
            layer(conv(half, first), None, &seq.at("2")),
        ];
        let rates = rising(
            plan.drop_path_rate,
            plan.stages.iter().map(|stage| stage.blocks).sum(),
        );
        let mut built = 0;
        let (mut stages, mut all) = (Vec::new(), Vec::new());
        let mut stride = 4;
        for (i, shape) in plan.stages.iter().enumerate() {
            let at = params.at(format!("stages.{i}"));
            let mut blocks = Vec::new();
            for j in 0..shape.blocks {
                let at = at.at(format!("blocks.{j}"));
                let rate = rates(built);
                blocks.push(if i == 0 {
                    Block::Conv(Box::new(ConvBlock::new(first, plan.expanded, rate, &at)))
                } else {
                    Block::Attention(Box::new(AttentionBlock::new(shape, &plan, rate, &at)))
                });
                built += 1;
            }
            let downsample = shape.next.map(|next| {
                let at = at.at("downsample");
                let act = Some(plan.act);
                let depthwise = conv(next, next).groups(next);
                [
                    layer(
                        ConvConfig::new(shape.channels, next, 1),
                        act,
                        &at.at("conv1"),
                    ),
                    layer(depthwise, act, &at.at("conv2")),
                    layer(ConvConfig::new(next, next, 1), None, &at.at("conv3")),
                ]
            });
            if downsample.is_some() {
                stride *= 2;
            }
            let channels = shape.next.unwrap_or(shape.channels);
            all.push(Feature { channels, stride });
            stages.push(Stage { blocks, downsample });
        }
        let features: Vec<_> = plan.out_indices.iter().map(|i| all[*i]).collect();
        let norm = |i: &usize| {
            plan.norm
                .init(all[*i].channels, &params.at(format!("norm{i}")))
        };
        let norms = plan.out_indices.iter().map(norm).collect();
        for i in 0..plan.frozen_stages {
            params.at(format!("stages.{i}")).freeze();
        }
        Self {
            patch,
            stages,
            norms,
            features,
            out_indices: plan.out_indices,
            channels_in: plan.channels_in,
            picture: plan.picture,
        }
    }
}

/// A convolution and its norm.
fn layer(conv: ConvConfig, act: Option<Activation>, at: &Params) -> ConvNormAct {
    let style = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act,
        ..ConvStyle::default()
    };
    style.named(conv, at, "conv2d", "bn2d")
}

impl Backbone for TinyVit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.patch.iter().fold(x, |x, layer| layer.forward(x));
        let last = self.out_indices.last().copied().unwrap_or(0);
        let mut maps = Vec::new();
        let mut norms = self.norms.iter();
        for (i, stage) in self.stages.iter().enumerate() {
            // Running statistics are in the state dict, wanted or not.
            if i > last && !stage.blocks.iter().any(Block::learning) {
                break;
            }
            x = stage.forward(x);
            if self.out_indices.contains(&i)
                && let Some(norm) = norms.next()
            {
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
        Some(self.picture)
    }
}

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks.iter().fold(x, |x, block| match block {
            Block::Conv(block) => block.forward(x),
            Block::Attention(block) => block.forward(x),
        });
        let downsample = self.downsample.iter().flatten();
        downsample.fold(x, |x, layer| layer.forward(x))
    }
}

impl Block {
    fn learning(&self) -> bool {
        match self {
            Self::Conv(block) => block.convs[0].learning(),
            Self::Attention(block) => block.local_conv.learning(),
        }
    }
}

/// Widen (1x1), filter each channel (3x3), narrow (1x1), add.
#[derive(Debug)]
struct ConvBlock {
    convs: [ConvNormAct; 3],
    drop_path: Option<DropPath>,
}

impl ConvBlock {
    fn new(channels: usize, wide: usize, rate: f64, at: &Params) -> Self {
        let act = Some(Activation::Gelu);
        let last = at.at("conv3");
        // The block begins as the identity.
        let zeros = InitRule::all(Init::Constant(0.0), 0.0);
        last.at("bn2d").initialise_built(zeros);
        let depthwise = ConvConfig::new(wide, wide, 3).pad(1).groups(wide);
        let convs = [
            layer(ConvConfig::new(channels, wide, 1), act, &at.at("conv1")),
            layer(depthwise, act, &at.at("conv2")),
            layer(ConvConfig::new(wide, channels, 1), act, &last),
        ];
        at.built();
        Self {
            convs,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [widen, filter, narrow] = &self.convs;
        let wide = filter.forward(widen.forward(x.clone()));
        match &self.drop_path {
            Some(drop) if drop.learning() => {
                let branch = drop.forward(narrow.forward_bare(wide));
                Activation::Gelu.forward(x + branch)
            }
            _ => narrow.forward_onto(wide, x),
        }
    }
}

/// Attention within windows, a convolution of each channel, and two fully connected layers.
#[derive(Debug)]
struct AttentionBlock {
    window: usize,
    heads: usize,
    bias: OffsetBias,
    norms: [Norm; 2],
    qkv: Linear,
    proj: Linear,
    mlp: Mlp,
    local_conv: ConvNormAct,
    drop_path: Option<DropPath>,
}

impl AttentionBlock {
    fn new(shape: &StageShape, plan: &Plan, rate: f64, at: &Params) -> Self {
        let c = shape.channels;
        let norm = |at: &Params| NormConfig::layer(1e-5).init(c, &at.at("norm"));
        let (attn, mlp) = (at.at("attn"), at.at("mlp"));
        let bias = OffsetBias::new(shape.heads, [shape.window; 2], 1, false, &attn);
        let before_attention = norm(&attn);
        let qkv = Linear::new(c, 3 * c, true, &attn.at("qkv"));
        let proj = Linear::new(c, c, true, &attn.at("proj"));
        let before_mlp = norm(&mlp);
        let places = [&mlp.at("fc1"), &mlp.at("fc2")];
        let mlp = Mlp::new([c, shape.hidden, c], plan.act, plan.drop_rate, places);
        let k = plan.local_conv;
        let local_conv = ConvConfig::new(c, c, k).pad(k / 2).groups(c);
        Self {
            window: shape.window,
            heads: shape.heads,
            bias,
            norms: [before_attention, before_mlp],
            qkv,
            proj,
            mlp,
            local_conv: layer(local_conv, None, &at.at("local_conv")),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let branch = self.attend(x.clone());
        let x = self
            .local_conv
            .forward(DropPath::add(&self.drop_path, x, branch));
        let [_, norm] = &self.norms;
        let tokens = tokens_from_map(x.clone());
        let branch = self.mlp.forward(norm.forward_tokens(tokens));
        DropPath::add(&self.drop_path, x, map_from_tokens(branch, [h, w]))
    }

    fn attend(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, c, h, w] = x.dims();
        let window = [self.window; 2];
        let whole = [h, w].map(|side| side.next_multiple_of(self.window));
        // The norm is within the attention: what is padded is not zero there.
        let padding = (0, whole[1] - w, 0, whole[0] - h);
        let x = if whole == [h, w] {
            x
        } else {
            x.pad(padding, 0.0)
        };
        let [norm, _] = &self.norms;
        let x = norm.forward_tokens(windows(x.permute([0, 2, 3, 1]), window));
        let [b, n, _] = x.dims();
        let d = c / self.heads;
        // Each head has its q, k and v together.
        let qkv = self
            .qkv
            .forward(x)
            .reshape([b, n, self.heads, 3 * d])
            .swap_dims(1, 2);
        let [q, k, v] = [0, d, 2 * d].map(|from| qkv.clone().narrow(3, from, d));
        let scale = (d as f64).powf(-0.5);
        let x = join_heads(attend(q, k, v, scale, Some(self.bias.forward())));
        let x = join_windows(self.proj.forward(x), window, whole);
        x.narrow(1, 0, h).narrow(2, 0, w).permute([0, 3, 1, 2])
    }
}
