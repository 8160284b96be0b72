//! ConvNeXt (Liu et al. 2022, arXiv 2201.03545) and ConvNeXt V2 (Woo et al. 2023, arXiv 2301.00808) as MMPretrain 1.2.0 builds them; timm's, and
//! its InceptionNeXt (Yu et al. 2023, arXiv 2303.16900), are the same model with other names (see `timm/convnext.rs`).
//!
//! A stem that cuts the picture into patches, then stages of blocks: a depthwise filter, a norm, and two layers that see one place each. The
//! originals transpose maps to have linear layers there; here they are 1x1 convolutions.
//!
//! Shapes: stage i gives `[N, channels[i], H / (patch * 2^i), W / ..]`, what is left over at each step not counted.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Short, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Init, InitRule, LayerScale, Norm,
    NormConfig, Padding, Params, ResponseNorm,
};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of `type='mmpretrain.ConvNeXt'`; `arch`, `out_indices` and what [`ConvStyle`] reads are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    stem_patch_size: Option<Pixels>,
    linear_pw_conv: Option<bool>,
    use_grn: Option<bool>,
    drop_path_rate: Option<f64>,
    layer_scale_init_value: Option<f64>,
    frozen_stages: Option<i64>,
    gap_before_final_norm: Option<bool>,
}

const OTHERS: &[&str] = &[
    "arch",
    "out_indices",
    "norm_cfg",
    "act_cfg",
    "with_cp",
    "init_cfg",
];

/// Stages of an `arch` that is a dict.
const MOST_STAGES: usize = 16;

/// An `arch` that is a dict: blocks and channels of each stage.
#[derive(Debug, Deserialize)]
struct Arch {
    depths: Short<Layers, MOST_STAGES>,
    channels: Short<Channels, MOST_STAGES>,
}

/// Blocks of the stages but the third, those of the third, channels of the first; each later one has twice as many.
type Size = (usize, usize, usize);

const ARCHES: [(&str, Size); 10] = [
    ("atto", (2, 6, 40)),
    ("femto", (2, 6, 48)),
    ("pico", (2, 6, 64)),
    ("nano", (2, 8, 80)),
    ("tiny", (3, 9, 96)),
    ("small", (3, 27, 96)),
    ("base", (3, 27, 128)),
    ("large", (3, 27, 192)),
    ("xlarge", (3, 27, 256)),
    ("huge", (3, 27, 352)),
];

/// Blocks and channels of each stage.
fn stages(node: &Node) -> Result<(Vec<usize>, Vec<usize>), Diagnostics> {
    let arch = options::arch::<Size, Arch>(node, "tiny", &ARCHES)?;
    let (depths, channels) = match arch {
        options::Arch::Named((others, third, first)) => (
            vec![others, others, third, others],
            (0..4).map(|i| first << i).collect(),
        ),
        options::Arch::Given(arch) => (arch.depths.numbers(), arch.channels.numbers()),
    };
    options::one_each(node, "arch", &depths, channels.len())?;
    if channels.is_empty() {
        return Err(error_at(node, "arch", "there are no stages", ""));
    }
    Ok((depths, channels))
}

/// What is cut off in initial values of deviation 0.02 lies far outside.
pub(super) const INITIAL: Init = Init::TruncNormal {
    mean: 0.0,
    std: 0.02,
    a: -2.0,
    b: 2.0,
};

/// How wide the two pointwise layers are.
const EXPANSION: usize = 4;

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    let plan = keys.plan(node)?;
    let frozen = options::frozen_stages(node, keys.frozen_stages, 0, plan.stages.len())?;
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d", "Linear"], INITIAL));
        at.initialise(InitRule::of(&["LayerNorm"], Init::Constant(1.0)));
    });
    let params = &build.params;
    let model = ConvNext::new(plan, params);
    for i in 0..frozen {
        params.at("downsample_layers").at(i).freeze();
        params.at("stages").at(i).freeze();
    }
    Ok(Box::new(model))
}

impl Keys {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        let (depths, channels) = stages(node)?;
        // The original counts back from 4, however many there are.
        let out_stages = options::out_indices(node, &[-1], channels.len(), 4)?;
        if self.gap_before_final_norm.unwrap_or(true) {
            let message = "this ConvNeXt gives no maps, but their means";
            let help = "write gap_before_final_norm=False";
            return Err(error_at(node, "gap_before_final_norm", message, help));
        }
        let defaults = ConvStyle {
            norm: Some(NormConfig {
                kind: "LN2d".into(),
                ..NormConfig::layer(1e-6)
            }),
            act: Some(Activation::Gelu),
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults, &channels)?;
        let is_own = |norm: &NormConfig| norm.kind.rsplit('.').next() == Some("LN2d");
        let Some(norm) = style.norm.filter(is_own) else {
            let message = "the norms of ConvNeXt are of type 'LN2d'";
            return Err(error_at(node, "norm_cfg", message, ""));
        };
        let patch = self.stem_patch_size.map_or(4, Pixels::get);
        let stage = |(i, depth): (usize, usize)| StagePlan {
            channels: channels[i],
            depth,
            stride: patch << i,
            downsample: i
                .checked_sub(1)
                .map(|before| ConvConfig::new(channels[before], channels[i], 2).stride(2)),
            mixer: Mixing::Depthwise { kernel: 7 },
            dilation: 1,
            expansion: EXPANSION,
        };
        let channels_in = self.in_channels.map_or(3, Channels::get);
        let scale = self.layer_scale_init_value.unwrap_or(1e-6);
        Ok(Plan {
            naming: Naming::Mmpretrain,
            channels_in,
            stem: vec![ConvConfig::new(channels_in, channels[0], patch).stride(patch)],
            stages: depths.into_iter().enumerate().map(stage).collect(),
            out_stages,
            end: Ending::Norms,
            make: Make {
                norm,
                act: style.act,
                linear: self.linear_pw_conv.unwrap_or(true),
                bias: true,
                response_norm: self.use_grn.unwrap_or(false),
                scale: (scale > 0.0).then_some(scale),
            },
            drop_path_rate: options::rate(node, "drop_path_rate", self.drop_path_rate)?,
        })
    }
}

/// How the original names its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Mmpretrain,
    /// `flat` where it is cut into a list of levels.
    Timm {
        flat: bool,
    },
}

impl Naming {
    /// Part `i` of the stem.
    fn stem(self, params: &Params, i: usize) -> Params {
        match self {
            Self::Mmpretrain => params.at("downsample_layers.0").at(i),
            Self::Timm { flat } => part(params, "stem", i, flat),
        }
    }

    /// What is before the blocks of stage `i`.
    fn downsample(self, params: &Params, i: usize) -> Params {
        match self {
            Self::Mmpretrain => params.at("downsample_layers").at(i),
            Self::Timm { flat } => part(params, "stages", i, flat).at("downsample"),
        }
    }

    /// The blocks of stage `i`.
    fn blocks(self, params: &Params, i: usize) -> Params {
        match self {
            Self::Mmpretrain => params.at("stages").at(i),
            Self::Timm { flat } => part(params, "stages", i, flat).at("blocks"),
        }
    }

    /// A block's depthwise filter, its first layer and its second, its response norm.
    fn block(self) -> [&'static str; 4] {
        match self {
            Self::Mmpretrain => [
                "depthwise_conv",
                "pointwise_conv1",
                "pointwise_conv2",
                "grn",
            ],
            Self::Timm { .. } => ["conv_dw", "mlp.fc1", "mlp.fc2", "mlp.grn"],
        }
    }
}

/// Part `i` of timm's `whole`; where that is flat, checkpoints have it as it was before.
fn part(params: &Params, whole: &str, i: usize, flat: bool) -> Params {
    if !flat {
        return params.at(whole).at(i);
    }
    let at = params.at(format!("{whole}_{i}"));
    at.once_called(&format!("{whole}.{i}"));
    at
}

/// What all blocks have in common.
pub(super) struct Make {
    pub norm: NormConfig,
    pub act: Option<Activation>,
    /// Whether the pointwise layers are linear ones in the state dict.
    pub linear: bool,
    /// Of all convolutions but those.
    pub bias: bool,
    pub response_norm: bool,
    /// First value of the scale of a block's branch.
    pub scale: Option<f64>,
}

/// What looks beyond a place.
pub(super) enum Mixing {
    Depthwise { kernel: usize },
    Inception,
}

/// A stage in numbers.
pub(super) struct StagePlan {
    pub channels: usize,
    pub depth: usize,
    /// Of its map.
    pub stride: usize,
    /// A norm is before it.
    pub downsample: Option<ConvConfig>,
    pub mixer: Mixing,
    pub dilation: usize,
    pub expansion: usize,
}

/// What is after the stages.
pub(super) enum Ending {
    /// A norm for each output.
    Norms,
    Nothing,
    /// A norm at a place; a layer of so many channels after it.
    Head(&'static str, Option<usize>),
}

/// All layers in numbers that were checked.
pub(super) struct Plan {
    pub naming: Naming,
    pub channels_in: usize,
    /// A norm is after the last one.
    pub stem: Vec<ConvConfig>,
    pub stages: Vec<StagePlan>,
    /// In order.
    pub out_stages: Vec<usize>,
    pub end: Ending,
    pub make: Make,
    pub drop_path_rate: f64,
}

/// ConvNeXt and its kin.
#[derive(Debug)]
pub struct ConvNext {
    stem: Vec<ConvNormAct>,
    stages: Vec<Stage>,
    /// Stages that give a map, and what is done to it.
    outputs: Vec<(usize, Option<End>)>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl ConvNext {
    pub(super) fn new(plan: Plan, params: &Params) -> Self {
        let (naming, make, stages) = (plan.naming, &plan.make, &plan.stages);
        let last = plan.stem.len() - 1;
        let stem = plan.stem.iter().enumerate().map(|(i, conv)| {
            let norm_at = naming.stem(params, i + 1);
            let norm = (i == last).then_some((&make.norm, &norm_at));
            let conv = conv.clone().bias(make.bias);
            conv.init(&naming.stem(params, i), norm)
        });
        let stem = stem.collect();
        let downsample = |i: usize| {
            let conv = stages[i].downsample.clone()?.bias(make.bias);
            let at = naming.downsample(params, i);
            let into = stages[i.saturating_sub(1)].channels;
            Some((make.norm.init(into, &at.at(0)), conv.init(&at.at(1), None)))
        };
        let depths = stages.iter().map(|stage| stage.depth).sum();
        let mut rates = (0..depths).map(options::rising(plan.drop_path_rate, depths));
        let mut blocks = |i: usize| -> Vec<Block> {
            let at = naming.blocks(params, i);
            let of = |(j, rate)| Block::new(&stages[i], make, naming, rate, &at.at(j));
            let rates = rates.by_ref().take(stages[i].depth);
            rates.enumerate().map(of).collect()
        };
        let stages: Vec<_> = match naming {
            Naming::Mmpretrain => {
                let first: Vec<_> = (0..stages.len()).map(downsample).collect();
                let stage = |(i, downsample)| Stage {
                    downsample,
                    blocks: blocks(i),
                };
                first.into_iter().enumerate().map(stage).collect()
            }
            Naming::Timm { .. } => {
                let stage = |i| Stage {
                    downsample: downsample(i),
                    blocks: blocks(i),
                };
                (0..stages.len()).map(stage).collect()
            }
        };
        let end = |i: usize| End::new(&plan.end, i, plan.stages[i].channels, make, params);
        let outputs = plan.out_stages.iter().map(|i| (*i, end(*i)));
        let feature = |i: &usize| Feature {
            channels: match plan.end {
                Ending::Head(_, Some(hidden)) => hidden,
                _ => plan.stages[*i].channels,
            },
            stride: plan.stages[*i].stride,
        };
        Self {
            stem,
            stages,
            outputs: outputs.collect(),
            features: plan.out_stages.iter().map(feature).collect(),
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for ConvNext {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let mut maps = Vec::new();
        let mut outputs = self.outputs.iter().peekable();
        for (i, stage) in self.stages.iter().enumerate() {
            if outputs.peek().is_none() {
                break;
            }
            x = stage.forward(x);
            if let Some((_, end)) = outputs.next_if(|(wanted, _)| *wanted == i) {
                maps.push(match end {
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

/// What is done to a map before it is given.
#[derive(Debug)]
struct End {
    norm: Norm,
    hidden: Option<ConvNormAct>,
}

impl End {
    fn new(end: &Ending, i: usize, channels: usize, make: &Make, at: &Params) -> Option<Self> {
        let (at_norm, hidden) = match end {
            Ending::Norms => (at.at(format!("norm{i}")), None),
            Ending::Nothing => return None,
            Ending::Head(name, hidden) => (at.at(name), *hidden),
        };
        let norm = make.norm.init(channels, &at_norm);
        let hidden = hidden.map(|hidden| {
            let conv = ConvConfig::new(channels, hidden, 1).act(Some(Activation::Gelu));
            conv.init(&at.at("head.pre_logits.fc"), None)
        });
        Some(Self { norm, hidden })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(x);
        match &self.hidden {
            Some(hidden) => hidden.forward(x),
            None => x,
        }
    }
}

#[derive(Debug)]
struct Stage {
    downsample: Option<(Norm, ConvNormAct)>,
    blocks: Vec<Block>,
}

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.downsample {
            Some((norm, conv)) => conv.forward(norm.forward(x)),
            None => x,
        };
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

/// Depthwise filters, a norm, wide and narrow layers of one place each, added to the input.
#[derive(Debug)]
struct Block {
    scale: Option<LayerScale>,
    mixer: Mixer,
    norm: Norm,
    widen: ConvNormAct,
    narrow: ConvNormAct,
    response_norm: Option<ResponseNorm>,
    drop_path: Option<DropPath>,
}

impl Block {
    fn new(stage: &StagePlan, make: &Make, naming: Naming, rate: f64, at: &Params) -> Self {
        let (channels, wide) = (stage.channels, stage.channels * stage.expansion);
        let [depthwise, first, second, response] = naming.block();
        let pointwise = |conv: ConvConfig, name: &str| {
            let conv = if make.linear { conv.linear() } else { conv };
            conv.init(&at.at(name), None)
        };
        let response_norm = |names| {
            let norm = || ResponseNorm::new(names, wide, &at.at(response));
            make.response_norm.then(norm)
        };
        let scale = make.scale;
        let scale = scale.map(|value| LayerScale::new("gamma", channels, value, at));
        let mixer = match stage.mixer {
            Mixing::Depthwise { kernel } => {
                let conv = ConvConfig::new(channels, channels, kernel)
                    .pad(stage.dilation * (kernel - 1) / 2)
                    .dilation(stage.dilation)
                    .groups(channels)
                    .bias(make.bias);
                Mixer::Depthwise(Box::new(conv.init(&at.at(depthwise), None)))
            }
            Mixing::Inception => Mixer::inception(channels, stage.dilation, at),
        };
        let norm = make.norm.init(channels, &at.at("norm"));
        let widen = pointwise(ConvConfig::new(channels, wide, 1).act(make.act), first);
        let narrow = || pointwise(ConvConfig::new(wide, channels, 1), second);
        let (narrow, response_norm) = match naming {
            Naming::Mmpretrain => (narrow(), response_norm(["gamma", "beta"])),
            Naming::Timm { .. } => {
                let norm = response_norm(["weight", "bias"]);
                (narrow(), norm)
            }
        };
        Self {
            scale,
            mixer,
            norm,
            widen,
            narrow,
            response_norm,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.norm.forward(self.mixer.forward(x.clone()));
        let y = self.widen.forward(y);
        let y = match &self.response_norm {
            Some(norm) => norm.forward(y),
            None => y,
        };
        let y = self.narrow.forward(y);
        let y = match &self.scale {
            Some(scale) => scale.forward(y),
            None => y,
        };
        DropPath::add(&self.drop_path, x, y)
    }
}

#[derive(Debug)]
enum Mixer {
    Depthwise(Box<ConvNormAct>),
    /// Each of the three filters has `share` channels, the last ones; the others stay as they are.
    Inception {
        filters: Vec<ConvNormAct>,
        share: usize,
    },
}

/// Of InceptionNeXt: the side of its square filters, the length of its bands, and which part of the channels each of them has.
const SQUARE: usize = 3;
const BAND: usize = 11;
const BRANCH: usize = 8;

impl Mixer {
    /// A square filter, a row and a column.
    fn inception(channels: usize, dilation: usize, at: &Params) -> Self {
        let share = channels / BRANCH;
        let at = at.at("token_mixer");
        let shapes = [
            ("dwconv_hw", [SQUARE, SQUARE]),
            ("dwconv_w", [1, BAND]),
            ("dwconv_h", [BAND, 1]),
        ];
        let filters = shapes.into_iter().map(|(name, kernel)| {
            ConvConfig::new(share, share, 1)
                .kernel(kernel)
                .padding(Padding::Each(kernel.map(|side| dilation * (side - 1) / 2)))
                .dilation(dilation)
                .groups(share)
                .init(&at.at(name), None)
        });
        Self::Inception {
            filters: filters.collect(),
            share,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Depthwise(conv) => conv.forward(x),
            Self::Inception { filters, share } => {
                let channels = x.dims()[1];
                let rest = channels - filters.len() * share;
                let mut parts = vec![x.clone().narrow(1, 0, rest)];
                for (i, filter) in filters.iter().enumerate() {
                    let part = x.clone().narrow(1, rest + i * share, *share);
                    parts.push(filter.forward(part));
                }
                Tensor::cat(parts, 1)
            }
        }
    }
}
