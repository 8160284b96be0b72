//! timm's FastViT (Vasu et al. 2023, arXiv 2303.14189): MobileOne's blocks, depthwise filters in place of attention, which is in the last stage only.
//!
//! With `features_only` the maps are those of the four stages; without, the last one after the classifier's convolution. With
//! `inference_mode=True` the state dict has each set of branches as the one convolution that they come to; without, they are merged where the
//! model stays as it is.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::convnext::INITIAL;
use crate::backbones::{Backbone, Feature, options};
use crate::config::{Diagnostics, unsupported};
use crate::layers::{
    Activation, Branch, Branches, ConvConfig, ConvNormAct, DropPath, Dropout, InitRule, LayerScale,
    Norm, NormConfig, Params, SqueezeExcite, attend, join_heads, map_from_tokens, split_qkv,
    tokens_from_map,
};

/// The keys of timm's FastViT that are read.
#[derive(Debug, Deserialize)]
struct Keys {
    proj_drop_rate: Option<f64>,
    layer_scale_init_value: Option<f64>,
    lkc_use_act: Option<bool>,
    inference_mode: Option<bool>,
}

const STAGES: usize = 4;
/// Channels of one head of attention.
const HEAD: usize = 32;
/// Sides of filters: of those in place of attention, those of the pointwise layers, of where a map is halved, of positions.
const MIXER: usize = 3;
const MLP: usize = 7;
const DOWN: usize = 7;
const POSITION: usize = 7;
const EPS: f64 = 1e-5;
const GELU: Option<Activation> = Some(Activation::Gelu);

/// Blocks of each stage, channels of the first, how much wider the pointwise layers are, attention in the last stage.
type Size = ([usize; STAGES], usize, usize, bool);

const SIZES: [(&str, Size); 7] = [
    ("t8", ([2, 2, 4, 2], 48, 3, false)),
    ("t12", ([2, 2, 6, 2], 64, 3, false)),
    ("s12", ([2, 2, 6, 2], 64, 4, false)),
    ("sa12", ([2, 2, 6, 2], 64, 4, true)),
    ("sa24", ([4, 4, 12, 4], 64, 4, true)),
    ("sa36", ([6, 6, 18, 6], 64, 4, true)),
    ("ma36", ([6, 6, 18, 6], 76, 4, true)),
];

/// All names.
pub(super) fn names() -> Vec<String> {
    let name = |(size, _): &(&str, Size)| format!("fastvit_{size}");
    SIZES.iter().map(name).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Keys = asked.node.read_knowing(COMMON)?;
    if asked.output_stride != 32 {
        let message = "FastViT has no `output_stride`";
        return Err(unsupported(
            asked.node,
            "output_stride",
            message,
            "leave it out",
        ));
    }
    let make = Make {
        dropout: options::rate(asked.node, "proj_drop_rate", config.proj_drop_rate)?,
        scale: config.layer_scale_init_value.unwrap_or(1e-5),
        down_act: GELU.filter(|_| config.lkc_use_act.unwrap_or(false)),
        merged: config.inference_mode.unwrap_or(false),
    };
    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Linear"], INITIAL));
    let model = FastVit::new(asked, &make)?;
    params.built();
    Ok(Box::new(model))
}

/// What all blocks have in common.
struct Make {
    dropout: f64,
    /// First value of the scales.
    scale: f64,
    /// After the large filters that halve a map.
    down_act: Option<Activation>,
    /// Whether the state dict has branches merged.
    merged: bool,
}

/// A square convolution in numbers: channels before and after, the side of its filters.
#[derive(Clone, Copy)]
struct Shape {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
}

impl Shape {
    /// One filter for each channel, or several.
    fn depthwise(channels: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self {
            channels,
            kernel,
            stride,
            groups: channels[0],
        }
    }

    /// One place at a time.
    fn pointwise(channels: [usize; 2]) -> Self {
        Self {
            channels,
            kernel: 1,
            stride: 1,
            groups: 1,
        }
    }

    fn conv(self) -> ConvConfig {
        ConvConfig::new(self.channels[0], self.channels[1], self.kernel)
            .stride(self.stride)
            .pad(self.kernel / 2)
            .groups(self.groups)
    }

    /// The same with other filters and a norm, as a branch at a place.
    fn branch<'a>(self, kernel: usize, norm: &'a NormConfig, at: &Params) -> Branch<'a> {
        let conv = Self { kernel, ..self }.conv();
        Branch::normed(conv, at.at("conv"), norm, at.at("bn"))
    }
}

impl Make {
    /// `branches`, or in their place one convolution.
    fn branches(&self, whole: ConvConfig, branches: &[Branch], at: &Params) -> Branches {
        match self.merged {
            true => Branches::one(whole.bias(true).init(&at.at("reparam_conv"), None)),
            false => Branches::new(&whole, branches, None),
        }
    }

    /// MobileOne's block: the input alone where it has the result's shape, filters, and those of one tap.
    fn mobile(&self, shape: Shape, act: Option<Activation>, at: &Params) -> Branches {
        let norm = &NormConfig::batch(EPS);
        let mut branches = Vec::new();
        if shape.channels[0] == shape.channels[1] && shape.stride == 1 {
            branches.push(Branch::Norm(norm, at.at("identity")));
        }
        branches.push(shape.branch(shape.kernel, norm, &at.at("conv_kxk.0")));
        if shape.kernel > 1 {
            branches.push(shape.branch(1, norm, &at.at("conv_scale")));
        }
        self.branches(shape.conv().act(act), &branches, at)
    }
}

/// FastViT.
#[derive(Debug)]
pub struct FastVit {
    stem: Vec<Branches>,
    stages: Vec<Stage>,
    /// Stages that give a map.
    outputs: Vec<usize>,
    end: Option<End>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl FastVit {
    fn new(asked: &Asked, make: &Make) -> Result<Self, Diagnostics> {
        let size = asked.name.trim_start_matches("fastvit_");
        let found = SIZES.iter().find(|(known, _)| *known == size);
        let (_, (depths, first, ratio, attends)) = found.expect("the family knows its names");
        let params = &asked.params;
        let mut levels = [0, 1, 2, 3].map(|i| Feature {
            channels: first << i,
            stride: 4 << i,
        });
        let outputs = match asked.features_only {
            true => asked.wanted(&levels)?,
            false => vec![STAGES - 1],
        };
        let built = outputs.last().map_or(0, |last| last + 1);
        let part = |whole: &str, i: usize| {
            if !asked.features_only {
                return params.at(whole).at(i);
            }
            let at = params.at(format!("{whole}_{i}"));
            at.once_called(&format!("{whole}.{i}"));
            at
        };
        let full = Shape {
            channels: [asked.channels_in, *first],
            kernel: 3,
            stride: 2,
            groups: 1,
        };
        let stem = [
            full,
            Shape::depthwise([*first; 2], 3, 2),
            Shape::pointwise([*first; 2]),
        ];
        let stem = stem.iter().enumerate();
        let stem = stem.map(|(i, shape)| make.mobile(*shape, GELU, &part("stem", i)));
        let stem = stem.collect();
        let count = depths.iter().sum();
        let mut rates = (0..count).map(options::rising(asked.drop_path_rate, count));
        let stage = |i: usize| {
            let rates: Vec<_> = rates.by_ref().take(depths[i]).collect();
            let channels = levels[i].channels;
            let plan = StagePlan {
                into: (i > 0).then(|| levels[i - 1].channels),
                channels,
                hidden: channels * ratio,
                attends: *attends && i == STAGES - 1,
            };
            Stage::new(&plan, make, &rates, &part("stages", i))
        };
        let stages = (0..built).map(stage).collect();
        let end = (!asked.features_only).then(|| {
            let channels = levels[STAGES - 1].channels;
            End::new(channels, make, &params.at("final_conv"))
        });
        if end.is_some() {
            levels[STAGES - 1].channels *= 2;
        }
        Ok(Self {
            stem,
            stages,
            features: outputs.iter().map(|i| levels[*i]).collect(),
            outputs,
            end,
            channels_in: asked.channels_in,
        })
    }
}

impl Backbone for FastVit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, block| block.forward(x));
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.forward(x);
            if self.outputs.contains(&i) {
                maps.push(match &self.end {
                    Some(end) => end.forward(x.clone()),
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

/// Before the classifier: a MobileOne block that weighs its channels.
#[derive(Debug)]
struct End {
    squeeze_excite: SqueezeExcite,
    conv: Branches,
}

impl End {
    fn new(channels: usize, make: &Make, at: &Params) -> Self {
        let wide = 2 * channels;
        let se = at.at("se");
        let convs = [
            (Activation::Relu, &se.at("fc1")),
            (Activation::Sigmoid, &se.at("fc2")),
        ];
        // A sixteenth, to the nearest number.
        let squeezed = ((wide + 8) / 16).max(1);
        let squeeze_excite = SqueezeExcite::new(wide, squeezed, convs, |conv, act, at| {
            conv.act(Some(act)).init(at, None)
        });
        let shape = Shape::depthwise([channels, wide], 3, 1);
        Self {
            squeeze_excite,
            conv: make.mobile(shape, None, at),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.squeeze_excite.forward(self.conv.forward(x));
        Activation::Gelu.forward(x)
    }
}

/// A stage in numbers.
struct StagePlan {
    /// Channels of the stage before it, which is halved.
    into: Option<usize>,
    channels: usize,
    hidden: usize,
    attends: bool,
}

#[derive(Debug)]
struct Stage {
    /// Large and small filters side by side, then a block of one place.
    downsample: Option<[Branches; 2]>,
    /// A filter that is added to its input.
    positions: Option<Positions>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Positions {
    conv: ConvNormAct,
    /// Whether the input is in the filter.
    merged: bool,
}

impl Stage {
    fn new(plan: &StagePlan, make: &Make, rates: &[f64], at: &Params) -> Self {
        let channels = plan.channels;
        let downsample = plan.into.map(|into| {
            let at = at.at("downsample.proj");
            let (first, second) = (at.at(0), at.at(1));
            let shape = Shape::depthwise([into, channels], DOWN, 2);
            let norm = &NormConfig::batch(EPS);
            let branches = [
                shape.branch(DOWN, norm, &first.at("large_conv")),
                shape.branch(3, norm, &first.at("small_conv")),
            ];
            let large = make.branches(shape.conv().act(make.down_act), &branches, &first);
            [
                large,
                make.mobile(Shape::pointwise([channels; 2]), GELU, &second),
            ]
        });
        let positions = plan.attends.then(|| {
            let conv = Shape::depthwise([channels; 2], POSITION, 1).conv();
            let name = if make.merged {
                "reparam_conv"
            } else {
                "pos_enc"
            };
            Positions {
                conv: conv.init(&at.at("pos_emb").at(name), None),
                merged: make.merged,
            }
        });
        let blocks = at.at("blocks");
        let block = |(j, rate): (usize, &f64)| Block::new(plan, make, *rate, &blocks.at(j));
        Self {
            downsample,
            positions,
            blocks: rates.iter().enumerate().map(block).collect(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self
            .downsample
            .iter()
            .flatten()
            .fold(x, |x, part| part.forward(x));
        let x = match &self.positions {
            Some(Positions { conv, merged: true }) => conv.forward(x),
            Some(Positions { conv, .. }) => conv.forward_onto(x.clone(), x),
            None => x,
        };
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

/// What looks around, then layers of one place each.
#[derive(Debug)]
struct Block {
    mixer: Mixer,
    mlp: Mlp,
    scale: LayerScale,
    drop_path: Option<DropPath>,
}

impl Block {
    fn new(plan: &StagePlan, make: &Make, rate: f64, at: &Params) -> Self {
        let mixer = match plan.attends {
            true => Mixer::Attention(Box::new(Attention::new(plan, make, rate, at))),
            false => Mixer::filter(plan, make, &at.at("token_mixer")),
        };
        let (scale, drop) = match plan.attends {
            true => ("layer_scale_2", "drop_path2"),
            false => ("layer_scale", "drop_path"),
        };
        Self {
            mixer,
            mlp: Mlp::new(plan, make, &at.at("mlp")),
            scale: LayerScale::of_map("gamma", plan.channels, make.scale, &at.at(scale)),
            drop_path: DropPath::new(rate, &at.at(drop)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.mixer.forward(x);
        let y = self.scale.forward(self.mlp.forward(x.clone()));
        DropPath::add(&self.drop_path, x, y)
    }
}

#[derive(Debug)]
enum Mixer {
    /// A MobileOne block less a norm, scaled and added to the input.
    Filter(Box<Filter>),
    /// All that as one filter.
    Merged(Box<ConvNormAct>),
    Attention(Box<Attention>),
}

#[derive(Debug)]
struct Filter {
    norm: Norm,
    conv: Branches,
    scale: LayerScale,
}

impl Mixer {
    fn filter(plan: &StagePlan, make: &Make, at: &Params) -> Self {
        let channels = plan.channels;
        let shape = Shape::depthwise([channels; 2], MIXER, 1);
        if make.merged {
            let merged = shape.conv().init(&at.at("reparam_conv"), None);
            return Self::Merged(Box::new(merged));
        }
        Self::Filter(Box::new(Filter {
            norm: NormConfig::batch(EPS).init(channels, &at.at("norm.identity")),
            conv: make.mobile(shape, None, &at.at("mixer")),
            scale: LayerScale::of_map("gamma", channels, make.scale, &at.at("layer_scale")),
        }))
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Filter(filter) => {
                let Filter { norm, conv, scale } = &**filter;
                let y = conv.forward(x.clone()) - norm.forward(x.clone());
                x + scale.forward(y)
            }
            Self::Merged(conv) => conv.forward(x),
            Self::Attention(attention) => attention.forward(x),
        }
    }
}

/// Attention of all places to each other, scaled and added to the input.
#[derive(Debug)]
struct Attention {
    norm: Norm,
    qkv: ConvNormAct,
    project: ConvNormAct,
    scale: LayerScale,
    drop_path: Option<DropPath>,
}

impl Attention {
    fn new(plan: &StagePlan, make: &Make, rate: f64, at: &Params) -> Self {
        let channels = plan.channels;
        let norm = NormConfig::batch(EPS).init(channels, &at.at("norm"));
        let place = at.at("token_mixer");
        let qkv = ConvConfig::new(channels, 3 * channels, 1).linear();
        let project = ConvConfig::new(channels, channels, 1).linear();
        Self {
            norm,
            qkv: qkv.bias(false).init(&place.at("qkv"), None),
            project: project.init(&place.at("proj"), None),
            scale: LayerScale::of_map("gamma", channels, make.scale, &at.at("layer_scale_1")),
            drop_path: DropPath::new(rate, &at.at("drop_path1")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, h, w] = x.dims();
        let qkv = tokens_from_map(self.qkv.forward(self.norm.forward(x.clone())));
        let [q, k, v] = split_qkv(qkv, channels / HEAD);
        let found = attend(q, k, v, (HEAD as f64).powf(-0.5), None);
        let y = self
            .project
            .forward(map_from_tokens(join_heads(found), [h, w]));
        DropPath::add(&self.drop_path, x, self.scale.forward(y))
    }
}

/// A depthwise filter, then two layers of one place each.
#[derive(Debug)]
struct Mlp {
    depthwise: ConvNormAct,
    widen: ConvNormAct,
    narrow: ConvNormAct,
    dropout: Option<Dropout>,
}

impl Mlp {
    fn new(plan: &StagePlan, make: &Make, at: &Params) -> Self {
        at.initialise_built(InitRule::of(&["Conv2d"], INITIAL));
        let (channels, hidden) = (plan.channels, plan.hidden);
        let norm = NormConfig::batch(EPS);
        let depthwise = Shape::depthwise([channels; 2], MLP, 1).conv().bias(false);
        let place = at.at("conv");
        let norm = Some((&norm, &place.at("bn")));
        let depthwise = depthwise.init(&place.at("conv"), norm);
        let widen = ConvConfig::new(channels, hidden, 1).act(GELU);
        let narrow = ConvConfig::new(hidden, channels, 1);
        Self {
            depthwise,
            widen: widen.init(&at.at("fc1"), None),
            narrow: narrow.init(&at.at("fc2"), None),
            dropout: Dropout::new(make.dropout, &at.at("drop")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let drop = |x| match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        };
        let x = self.widen.forward(self.depthwise.forward(x));
        drop(self.narrow.forward(drop(x)))
    }
}
