//! VAN (Guo et al. 2022, arXiv 2202.09741) as MMPretrain 1.2.0 builds it: attention is what two depthwise filters, the second one dilated, make of
//! the map, and multiplies it.
//!
//! Shapes: stage i gives `[N, embed_dims[i], H / (4 * 2^i), W / ..]`, by default.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Short, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Dropout, LayerScale, Norm,
    NormConfig, NormKind, Params,
};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of `type='mmpretrain.VAN'`; `arch`, `out_indices`, `norm_cfg` and `block_cfgs` are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    patch_sizes: Option<Short<Pixels, MOST_STAGES>>,
    in_channels: Option<Channels>,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

const OTHERS: &[&str] = &["arch", "out_indices", "norm_cfg", "block_cfgs", "init_cfg"];

/// `block_cfgs`; `norm_cfg` and `act_cfg` are read apart.
#[derive(Debug, Default, Deserialize)]
struct BlockKeys {
    layer_scale_init_value: Option<f64>,
}

/// Stages of an `arch` that is a dict.
const MOST_STAGES: usize = 8;
/// Channels between the two layers of a block.
const MOST_HIDDEN: f64 = (1 << 20) as f64;

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct Given {
    embed_dims: Short<Channels, MOST_STAGES>,
    depths: Short<Layers, MOST_STAGES>,
    ffn_ratios: Short<f64, MOST_STAGES>,
}

/// Channels of the stages, and their blocks.
type Size = ([usize; 4], [usize; 4]);

const NARROW: [usize; 4] = [32, 64, 160, 256];
const WIDE: [usize; 4] = [64, 128, 320, 512];
const RATIOS: [f64; 4] = [8.0, 8.0, 4.0, 4.0];

const ARCHES: [(&str, Size); 8] = [
    ("tiny", (NARROW, [3, 3, 5, 2])),
    ("t", (NARROW, [3, 3, 5, 2])),
    ("small", (WIDE, [2, 2, 4, 2])),
    ("s", (WIDE, [2, 2, 4, 2])),
    ("base", (WIDE, [3, 3, 12, 3])),
    ("b", (WIDE, [3, 3, 12, 3])),
    ("large", (WIDE, [3, 5, 27, 3])),
    ("l", (WIDE, [3, 5, 27, 3])),
];

/// A stage in numbers.
struct StagePlan {
    channels: usize,
    hidden: usize,
    depth: usize,
    patch: usize,
}

/// What all blocks have in common.
struct Make {
    norm: NormConfig,
    act: Option<Activation>,
    scale: Option<f64>,
    dropout: f64,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(Van::read(node, build)?))
}

/// Visual attention network.
#[derive(Debug)]
pub struct Van {
    stages: Vec<Stage>,
    outputs: Vec<usize>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl Van {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: Keys = node.read_knowing(OTHERS)?;
        let plans = config.stages(node)?;
        let count = plans.len();
        let channels: Vec<_> = plans.iter().map(|plan| plan.channels).collect();
        let norm = end_norm(node, &channels)?;
        let make = config.make(node, &channels)?;
        let outputs = options::out_indices(node, &[3], count, 0)?;
        let frozen = options::frozen_stages(node, config.frozen_stages, -1, count - 1)?;
        let rate = options::rate(node, "drop_path_rate", config.drop_path_rate)?;
        let depth = plans.iter().map(|plan| plan.depth).sum();
        let mut rates = (0..depth).map(options::rising(rate, depth));

        let params = &build.params;
        let channels_in = config.in_channels.map_or(3, Channels::get);
        let (mut into, mut stride) = (channels_in, 1usize);
        let (mut stages, mut features) = (Vec::new(), Vec::new());
        for (i, plan) in plans.iter().enumerate() {
            let step = plan.patch / 2 + 1;
            let conv = ConvConfig::new(into, plan.channels, plan.patch);
            let conv = conv.stride(step).pad(plan.patch / 2).bias(true);
            let at = params.at(format!("patch_embed{}", i + 1));
            let batch = NormConfig::batch(1e-5);
            let embed = conv.init(&at.at("projection"), Some((&batch, &at.at("norm"))));
            let at = params.at(format!("blocks{}", i + 1));
            let rates = rates.by_ref().take(plan.depth).enumerate();
            stages.push(Stage {
                embed,
                blocks: rates
                    .map(|(j, rate)| Block::new(plan, &make, rate, &at.at(j)))
                    .collect(),
                norm: norm.init(plan.channels, &params.at(format!("norm{}", i + 1))),
            });
            into = plan.channels;
            stride = stride.saturating_mul(step);
            features.push(Feature {
                channels: into,
                stride,
            });
        }
        for i in 1..=frozen + 1 {
            for part in ["patch_embed", "blocks", "norm"] {
                params.at(format!("{part}{i}")).freeze();
            }
        }
        if config.norm_eval.unwrap_or(false) {
            params.evaluate();
        }
        Ok(Self {
            stages,
            features: outputs.iter().map(|i| features[*i]).collect(),
            outputs,
            channels_in,
        })
    }
}

/// The norm after each stage: the original has tokens there.
fn end_norm(node: &Node, channels: &[usize]) -> Result<NormConfig, Diagnostics> {
    let defaults = ConvStyle {
        norm: Some(NormConfig::layer(1e-5)),
        ..ConvStyle::default()
    };
    let norm = ConvStyle::read(node, defaults, channels)?.norm;
    let of_tokens =
        |norm: &NormConfig| norm.norm_kind() == Ok(NormKind::Layer) && !norm.kind.ends_with("2d");
    norm.filter(of_tokens).ok_or_else(|| {
        let message = "the norms after the stages of VAN are of type 'LN'";
        error_at(node, "norm_cfg", message, "")
    })
}

impl Keys {
    fn stages(&self, node: &Node) -> Result<Vec<StagePlan>, Diagnostics> {
        let (channels, depths, ratios) = match options::arch::<Size, Given>(node, "tiny", &ARCHES)?
        {
            options::Arch::Named((channels, depths)) => {
                (channels.to_vec(), depths.to_vec(), RATIOS.to_vec())
            }
            options::Arch::Given(arch) => (
                arch.embed_dims.numbers(),
                arch.depths.numbers(),
                arch.ffn_ratios.to_vec(),
            ),
        };
        let count = depths.len();
        if count == 0 {
            return Err(error_at(node, "arch", "there are no stages", ""));
        }
        options::one_each(node, "arch", &channels, count)?;
        options::one_each(node, "arch", &ratios, count)?;
        let patches = self.patch_sizes.as_ref();
        let patches = patches.map_or_else(|| vec![7, 3, 3, 3], Short::numbers);
        if patches.len() < count {
            let message = format!(
                "`patch_sizes` has {} entries for {count} stages",
                patches.len()
            );
            return Err(error_at(node, "patch_sizes", message, ""));
        }
        let stage = |i: usize| {
            let hidden = channels[i] as f64 * ratios[i];
            if !(1.0..=MOST_HIDDEN).contains(&hidden) {
                let message = format!("`ffn_ratios` lead to {hidden} channels");
                return Err(error_at(node, "arch", message, ""));
            }
            Ok(StagePlan {
                channels: channels[i],
                hidden: hidden as usize,
                depth: depths[i],
                patch: patches[i],
            })
        };
        (0..count).map(stage).collect()
    }

    fn make(&self, node: &Node, channels: &[usize]) -> Result<Make, Diagnostics> {
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Gelu),
            ..ConvStyle::default()
        };
        let blocks = node.get("block_cfgs");
        let (keys, style) = match blocks {
            Some(blocks) => {
                let known = ["norm_cfg", "act_cfg", "init_cfg"];
                let keys: BlockKeys = blocks.read_knowing(&known)?;
                (keys, ConvStyle::read(blocks, defaults, channels)?)
            }
            None => (BlockKeys::default(), defaults),
        };
        let Some(norm) = style.norm else {
            let message = "there is no block without norms";
            return Err(error_at(node, "block_cfgs", message, ""));
        };
        let scale = keys.layer_scale_init_value.unwrap_or(1e-2);
        Ok(Make {
            norm,
            act: style.act,
            scale: (scale > 0.0).then_some(scale),
            dropout: options::rate(node, "drop_rate", self.drop_rate)?,
        })
    }
}

impl Backbone for Van {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = x;
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let after = self.outputs.last().is_none_or(|last| i > *last);
            if after && !stage.learning() {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            x = stage.forward(x);
            if self.outputs.contains(&i) {
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
    embed: ConvNormAct,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.embed.forward(x);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.norm.forward(x)
    }

    fn learning(&self) -> bool {
        let blocks = self.blocks.iter().flat_map(|block| &block.norms);
        self.embed.learning() || blocks.into_iter().any(Norm::learning)
    }
}

/// Attention, then layers of one place with a depthwise filter between, both scaled and added to their inputs.
#[derive(Debug)]
struct Block {
    scales: Option<[LayerScale; 2]>,
    norms: [Norm; 2],
    attention: Attention,
    widen: ConvNormAct,
    depthwise: ConvNormAct,
    narrow: ConvNormAct,
    dropout: Option<Dropout>,
    drop_path: Option<DropPath>,
}

impl Block {
    fn new(plan: &StagePlan, make: &Make, rate: f64, at: &Params) -> Self {
        let (channels, hidden) = (plan.channels, plan.hidden);
        let scale = |value: f64| {
            ["layer_scale_1", "layer_scale_2"]
                .map(|name| LayerScale::new(name, channels, value, at))
        };
        let scales = make.scale.map(scale);
        let norm = |name| make.norm.init(channels, &at.at(name));
        let first = norm("norm1");
        let attention = Attention::new(channels, make.act, &at.at("attn"));
        let second = norm("norm2");
        let mlp = at.at("mlp");
        let widen = ConvConfig::new(channels, hidden, 1);
        let depthwise = ConvConfig::new(hidden, hidden, 3).pad(1).groups(hidden);
        let narrow = ConvConfig::new(hidden, channels, 1);
        Self {
            scales,
            norms: [first, second],
            attention,
            widen: widen.init(&mlp.at("fc1"), None),
            depthwise: depthwise.act(make.act).init(&mlp.at("dwconv"), None),
            narrow: narrow.init(&mlp.at("fc2"), None),
            dropout: Dropout::new(make.dropout, &mlp.at("drop")),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.attention.forward(self.norms[0].forward(x.clone()));
        let x = DropPath::add(&self.drop_path, x, self.scaled(y, 0));
        let drop = |x| match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        };
        let y = self.widen.forward(self.norms[1].forward(x.clone()));
        let y = drop(self.depthwise.forward(y));
        let y = drop(self.narrow.forward(y));
        DropPath::add(&self.drop_path, x, self.scaled(y, 1))
    }

    fn scaled(&self, x: Tensor<4>, which: usize) -> Tensor<4> {
        match &self.scales {
            Some(scales) => scales[which].forward(x),
            None => x,
        }
    }
}

/// Large kernel attention, in one layer of one place and out by another.
#[derive(Debug)]
struct Attention {
    first: ConvNormAct,
    near: ConvNormAct,
    far: ConvNormAct,
    mix: ConvNormAct,
    last: ConvNormAct,
}

impl Attention {
    fn new(channels: usize, act: Option<Activation>, at: &Params) -> Self {
        let one = |act, at: &Params| {
            let conv = ConvConfig::new(channels, channels, 1).act(act);
            conv.init(at, None)
        };
        let each = |kernel, dilation, at: &Params| {
            ConvConfig::new(channels, channels, kernel)
                .dilation(dilation)
                .pad(dilation * (kernel - 1) / 2)
                .groups(channels)
                .init(at, None)
        };
        let gate = at.at("spatial_gating_unit");
        Self {
            first: one(act, &at.at("proj_1")),
            near: each(5, 1, &gate.at("DW_conv")),
            far: each(7, 3, &gate.at("DW_D_conv")),
            mix: one(None, &gate.at("conv1")),
            last: one(None, &at.at("proj_2")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.first.forward(x.clone());
        let gate = self
            .mix
            .forward(self.far.forward(self.near.forward(y.clone())));
        self.last.forward_onto(y * gate, x)
    }
}
