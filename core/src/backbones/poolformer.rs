//! PoolFormer (Yu et al. 2022, arXiv 2111.11418) and RIFormer (Wang et al. 2023, arXiv 2304.05659) as MMPretrain 1.2.0 builds them: transformers
//! whose attention is the mean of what is around, or one factor for each channel.
//!
//! `network` has the stages and, where their channels differ, what halves the map between them; `out_indices` counts all of these.
//!
//! Shapes: stage i gives `[N, channels, H / (4 * 2^i), W / ..]`.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Short, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Dropout, LayerScale, Norm,
    NormConfig, Params,
};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of `type='mmpretrain.PoolFormer'` and `RIFormer`; `arch`, `out_indices`, `norm_cfg` and `act_cfg` are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    /// Of RIFormer only.
    in_channels: Option<Channels>,
    /// Of PoolFormer only.
    pool_size: Option<Pixels>,
    in_patch_size: Option<Pixels>,
    in_stride: Option<Pixels>,
    in_pad: Option<crate::config::Bounded<0, 1024>>,
    down_patch_size: Option<Pixels>,
    down_stride: Option<Pixels>,
    down_pad: Option<crate::config::Bounded<0, 1024>>,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    frozen_stages: Option<i64>,
    /// Of RIFormer only.
    deploy: Option<bool>,
}

const OTHERS: &[&str] = &["arch", "out_indices", "norm_cfg", "act_cfg", "init_cfg"];

/// Stages of an `arch` that is a dict.
const MOST_STAGES: usize = 8;
/// Channels between the two layers of a block.
const MOST_HIDDEN: f64 = (1 << 18) as f64;

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct Given {
    layers: Short<Layers, MOST_STAGES>,
    embed_dims: Short<Channels, MOST_STAGES>,
    mlp_ratios: Option<Short<f64, MOST_STAGES>>,
    layer_scale_init_value: Option<f64>,
}

/// Blocks and channels of each stage, first value of the scales.
type Size = ([usize; 4], [usize; 4], f64);

const S: [usize; 4] = [64, 128, 320, 512];
const M: [usize; 4] = [96, 192, 384, 768];

const ARCHES: [(&str, Size); 5] = [
    ("s12", ([2, 2, 6, 2], S, 1e-5)),
    ("s24", ([4, 4, 12, 4], S, 1e-5)),
    ("s36", ([6, 6, 18, 6], S, 1e-6)),
    ("m36", ([6, 6, 18, 6], M, 1e-6)),
    ("m48", ([8, 8, 24, 8], M, 1e-6)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    PoolFormer,
    RiFormer,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let model = PoolFormer::read(node, build, Variant::PoolFormer)?;
    Ok(Box::new(model))
}

pub(super) fn build_riformer(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let model = PoolFormer::read(node, build, Variant::RiFormer)?;
    Ok(Box::new(model))
}

/// Blocks, channels and hidden channels of each stage, first value of the scales.
struct Arch {
    stages: Vec<(usize, usize, usize)>,
    scale: f64,
}

impl Arch {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let fail = |message: &str| Err(error_at(node, "arch", message, ""));
        let (blocks, channels, ratios, scale) =
            match options::arch::<Size, Given>(node, "s12", &ARCHES)? {
                options::Arch::Named((blocks, channels, scale)) => {
                    (blocks.to_vec(), channels.to_vec(), vec![4.0; 4], scale)
                }
                options::Arch::Given(arch) => (
                    arch.layers.numbers(),
                    arch.embed_dims.numbers(),
                    arch.mlp_ratios
                        .map_or(vec![4.0; 4], |ratios| ratios.to_vec()),
                    arch.layer_scale_init_value.unwrap_or(1e-5),
                ),
            };
        let count = blocks.len();
        if count == 0 {
            return fail("there are no stages");
        }
        options::one_each(node, "arch", &channels, count)?;
        if ratios.len() < count {
            return fail("`mlp_ratios` has fewer entries than there are stages");
        }
        let mut stages = Vec::new();
        for (i, blocks) in blocks.into_iter().enumerate() {
            let hidden = channels[i] as f64 * ratios[i];
            if !(1.0..=MOST_HIDDEN).contains(&hidden) {
                return fail(&format!("`mlp_ratios` lead to {hidden} channels"));
            }
            stages.push((blocks, channels[i], hidden as usize));
        }
        Ok(Self { stages, scale })
    }
}

/// What all blocks have in common.
struct Make {
    norm: NormConfig,
    act: Option<Activation>,
    scale: f64,
    dropout: f64,
    mixing: Mixing,
}

/// What stands for attention.
#[derive(Clone, Copy)]
enum Mixing {
    /// The side of the windows.
    Pool(usize),
    Affine,
    /// As the one before, in the norm.
    Merged,
}

/// PoolFormer and RIFormer.
#[derive(Debug)]
pub struct PoolFormer {
    embed: ConvNormAct,
    network: Vec<Part>,
    /// Parts that give a map, and the norm of that.
    outputs: Vec<(usize, Norm)>,
    features: Vec<Feature>,
    channels_in: usize,
}

#[derive(Debug)]
enum Part {
    Stage(Vec<Block>),
    Downsample(Box<ConvNormAct>),
}

impl PoolFormer {
    fn read(node: &Node, build: &Build, variant: Variant) -> Result<Self, Diagnostics> {
        let config: Keys = node.read_knowing(OTHERS)?;
        config.refuse(node, variant)?;
        let arch = Arch::read(node)?;
        let make = config.make(node, &arch, variant)?;
        let params = &build.params;

        let channels_in = config.in_channels.map_or(3, Channels::get);
        let patch = |from, to, [size, stride, pad]: [usize; 3], at: &Params| {
            let conv = ConvConfig::new(from, to, size).stride(stride).pad(pad);
            conv.init(&at.at("proj"), None)
        };
        let size = |size: Option<Pixels>, default| size.map_or(default, Pixels::get);
        let stem = [
            size(config.in_patch_size, 7),
            size(config.in_stride, 4),
            config.in_pad.map_or(2, |pad| pad.get()),
        ];
        let down = [
            size(config.down_patch_size, 3),
            size(config.down_stride, 2),
            config.down_pad.map_or(1, |pad| pad.get()),
        ];
        let parts = parts(&arch, stem[1], down[1]);
        // The original counts back from 7, however many parts there are; its norms are in the order that is said.
        let wanted = options::said_indices(node, &[-1], parts.len(), 7)?;
        let last = config.frozen(node, variant, parts.len())?;

        let embed = patch(
            channels_in,
            arch.stages[0].1,
            stem,
            &params.at("patch_embed"),
        );
        let rate = options::rate(node, "drop_path_rate", config.drop_path_rate)?;
        let count = arch.stages.iter().map(|stage| stage.0).sum();
        let mut rates = (0..count).map(options::rising(rate, count));
        let at = params.at("network");
        let mut network = Vec::new();
        for (i, (stage, feature)) in parts.iter().enumerate() {
            let at = at.at(i);
            network.push(match stage {
                Some(stage) => {
                    let (blocks, channels, hidden) = arch.stages[*stage];
                    let rates = rates.by_ref().take(blocks).enumerate();
                    let block = |(j, rate)| Block::new([channels, hidden], &make, rate, &at.at(j));
                    Part::Stage(rates.map(block).collect())
                }
                None => {
                    let from = parts[i - 1].1.channels;
                    Part::Downsample(Box::new(patch(from, feature.channels, down, &at)))
                }
            });
        }
        let mut outputs = Vec::new();
        for i in wanted {
            let feature = parts[i].1;
            // What the original has for it, which fits as long as there is something between all stages.
            if arch.stages.get(i.div_ceil(2)).map(|stage| stage.1) != Some(feature.channels) {
                let message = format!("the norm of part {i} would not have its channels");
                return Err(error_at(node, "out_indices", message, ""));
            }
            let norm = make
                .norm
                .init(feature.channels, &params.at(format!("norm{i}")));
            outputs.push((i, norm));
        }
        outputs.sort_by_key(|(i, _)| *i);
        let features = outputs.iter().map(|(i, _)| parts[*i].1).collect();
        if config.frozen_stages.unwrap_or(variant.frozen()) >= 0 {
            params.at("patch_embed").freeze();
        }
        for i in 0..last {
            at.at(i).freeze();
            params.at(format!("norm{i}")).freeze();
        }
        Ok(Self {
            embed,
            network,
            outputs,
            features,
            channels_in,
        })
    }
}

/// The stages, by their numbers, and what is between them, each with what it gives.
fn parts(arch: &Arch, stem: usize, down: usize) -> Vec<(Option<usize>, Feature)> {
    let mut parts: Vec<(Option<usize>, Feature)> = Vec::new();
    let mut stride = stem;
    for (i, (_, channels, _)) in arch.stages.iter().enumerate() {
        let channels = *channels;
        if i > 0 && arch.stages[i - 1].1 != channels {
            stride = stride.saturating_mul(down);
            parts.push((None, Feature { channels, stride }));
        }
        parts.push((Some(i), Feature { channels, stride }));
    }
    parts
}

impl Variant {
    /// `frozen_stages` where nothing is said.
    fn frozen(self) -> i64 {
        match self {
            Self::PoolFormer => 0,
            Self::RiFormer => -1,
        }
    }
}

impl Keys {
    /// Keys of the other class.
    fn refuse(&self, node: &Node, variant: Variant) -> Result<(), Diagnostics> {
        let (name, other, keys) = match variant {
            Variant::PoolFormer => {
                let keys = [
                    ("in_channels", self.in_channels.is_some()),
                    ("deploy", self.deploy.is_some()),
                ];
                ("PoolFormer", "RIFormer", keys)
            }
            Variant::RiFormer => {
                let pool = ("pool_size", self.pool_size.is_some());
                ("RIFormer", "PoolFormer", [pool, pool])
            }
        };
        match keys.iter().find(|(_, given)| *given) {
            Some((key, _)) => {
                let message = format!("the key `{key}` is not known to {name}");
                Err(error_at(node, key, message, &format!("`{other}` has it")))
            }
            None => Ok(()),
        }
    }

    /// How many parts of the network are frozen.
    fn frozen(&self, node: &Node, variant: Variant, count: usize) -> Result<usize, Diagnostics> {
        // RIFormer's is the last of them.
        let past = match variant {
            Variant::PoolFormer => 0,
            Variant::RiFormer => 1,
        };
        let frozen =
            options::frozen_stages(node, self.frozen_stages, variant.frozen(), count - past)?;
        Ok(usize::try_from(frozen.saturating_add(past as i64)).unwrap_or(0))
    }

    fn make(&self, node: &Node, arch: &Arch, variant: Variant) -> Result<Make, Diagnostics> {
        let channels: Vec<_> = arch.stages.iter().map(|stage| stage.1).collect();
        let defaults = ConvStyle {
            norm: Some(NormConfig::group(1)),
            act: Some(Activation::Gelu),
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults, &channels)?;
        let Some(norm) = style.norm else {
            return Err(error_at(
                node,
                "norm_cfg",
                "there is no block without norms",
                "",
            ));
        };
        let pool = self.pool_size.map_or(3, Pixels::get);
        if pool.is_multiple_of(2) {
            let message = format!("a window of {pool} px does not keep the size of maps");
            return Err(error_at(
                node,
                "pool_size",
                message,
                "odd numbers are possible",
            ));
        }
        Ok(Make {
            norm,
            act: style.act,
            scale: arch.scale,
            dropout: options::rate(node, "drop_rate", self.drop_rate)?,
            mixing: match (variant, self.deploy) {
                (Variant::PoolFormer, _) => Mixing::Pool(pool),
                (Variant::RiFormer, Some(true)) => Mixing::Merged,
                (Variant::RiFormer, _) => Mixing::Affine,
            },
        })
    }
}

impl Backbone for PoolFormer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.embed.forward(x);
        let mut maps = Vec::new();
        let mut outputs = self.outputs.iter().peekable();
        for (i, part) in self.network.iter().enumerate() {
            let learns = |part: &Part| matches!(part, Part::Stage(blocks) if blocks.iter().any(Block::learning));
            if outputs.peek().is_none() && !self.network[i..].iter().any(learns) {
                break;
            }
            x = match part {
                Part::Stage(blocks) => blocks.iter().fold(x, |x, block| block.forward(x)),
                Part::Downsample(conv) => conv.forward(x),
            };
            if let Some((_, norm)) = outputs.next_if(|(wanted, _)| *wanted == i) {
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
}

/// What stands for attention, then two layers of one place each, both scaled and added to their inputs.
#[derive(Debug)]
struct Block {
    scales: [LayerScale; 2],
    norms: [Norm; 2],
    mixer: Mixer,
    mlp: ConvMlp,
    drop_path: Option<DropPath>,
}

impl Block {
    fn new([channels, hidden]: [usize; 2], make: &Make, rate: f64, at: &Params) -> Self {
        let scale = |name| LayerScale::new(name, channels, make.scale, at);
        let scales = [scale("layer_scale_1"), scale("layer_scale_2")];
        let norm = |name| make.norm.init(channels, &at.at(name));
        let first = norm(match make.mixing {
            Mixing::Merged => "norm_reparam",
            _ => "norm1",
        });
        let mixer = match make.mixing {
            Mixing::Pool(side) => Mixer::Pool(side),
            Mixing::Affine => {
                let conv = ConvConfig::new(channels, channels, 1).groups(channels);
                Mixer::Affine(Box::new(conv.init(&at.at("token_mixer.affine"), None)))
            }
            Mixing::Merged => Mixer::None,
        };
        Self {
            scales,
            norms: [first, norm("norm2")],
            mixer,
            mlp: ConvMlp::new([channels, hidden], make.act, make.dropout, &at.at("mlp")),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn learning(&self) -> bool {
        self.norms.iter().any(Norm::learning)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.mixer.forward(self.norms[0].forward(x.clone()));
        let x = DropPath::add(&self.drop_path, x, self.scales[0].forward(y));
        let y = self.mlp.forward(self.norms[1].forward(x.clone()));
        DropPath::add(&self.drop_path, x, self.scales[1].forward(y))
    }
}

#[derive(Debug)]
enum Mixer {
    Pool(usize),
    Affine(Box<ConvNormAct>),
    None,
}

impl Mixer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Pool(side) => around(x, *side),
            Self::Affine(conv) => conv.forward(x.clone()) - x,
            Self::None => x,
        }
    }
}

/// The mean of the window around each place, without what is beyond the map, less the place itself.
pub(super) fn around(x: Tensor<4>, side: usize) -> Tensor<4> {
    let options = AvgPoolOptions::new([side; 2])
        .with_stride([1; 2])
        .with_padding([side / 2; 2])
        .with_count_include_pad(false);
    avg_pool2d(x.clone(), options) - x
}

/// Two convolutions of one place, `fc1` and `fc2`.
#[derive(Debug)]
pub(super) struct ConvMlp {
    widen: ConvNormAct,
    narrow: ConvNormAct,
    dropout: Option<Dropout>,
}

impl ConvMlp {
    /// Channels, channels between, what is between, and the share of numbers that is left out after each.
    pub fn new(
        [channels, hidden]: [usize; 2],
        act: Option<Activation>,
        dropout: f64,
        at: &Params,
    ) -> Self {
        let widen = ConvConfig::new(channels, hidden, 1).act(act);
        let narrow = ConvConfig::new(hidden, channels, 1);
        Self {
            widen: widen.init(&at.at("fc1"), None),
            narrow: narrow.init(&at.at("fc2"), None),
            dropout: Dropout::new(dropout, &at.at("drop")),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let drop = |x| match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        };
        let hidden = drop(self.widen.forward(x));
        drop(self.narrow.forward(hidden))
    }
}
