//! RepVGG (Ding et al. 2021, arXiv 2101.03697) as MMPretrain 1.2.0 builds it; the net of its blocks also serves MobileOne (`mobileone.rs`) and
//! timm's models of both (`timm/repvgg.rs`).
//!
//! A block is convolutions side by side, which come to one where the model stays as it is; with `deploy=True` the state dict has that one.
//!
//! Shapes: stage i gives `[N, channels, H / (2 * strides[..=i]), W / ..]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Diagnostics, Key, Node, Short, error_at};
use crate::layers::{
    ActConfig, Activation, Branch, Branches, ConvConfig, ConvKind, ConvNormAct, ConvStyle,
    DropPath, Init, InitRule, NormConfig, Params, SqueezeExcite, make_divisible,
};
use crate::limits::{Channels, Layers, Pixels};
use crate::ops::pool::max_pool2d;

/// The keys of `type='mmpretrain.RepVGG'`; `arch`, `out_indices` and what [`ConvStyle`] reads are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    base_channels: Option<Channels>,
    strides: Option<Short<Pixels, MOST_STAGES>>,
    dilations: Option<Short<Pixels, MOST_STAGES>>,
    frozen_stages: Option<i64>,
    deploy: Option<bool>,
    norm_eval: Option<bool>,
    add_ppf: Option<bool>,
}

pub(super) const OTHERS: &[&str] = &[
    "arch",
    "out_indices",
    "conv_cfg",
    "norm_cfg",
    "act_cfg",
    "with_cp",
    "init_cfg",
];

/// Stages of an `arch` that is a dict.
const MOST_STAGES: usize = 16;
/// Channels of a layer.
pub(super) const MOST_CHANNELS: usize = 1 << 16;

/// An `arch` that is a dict; `group_layer_map` is read apart, as its keys are numbers.
#[derive(Debug, Deserialize)]
struct Given {
    num_blocks: Short<Layers, MOST_STAGES>,
    width_factor: Short<f64, MOST_STAGES>,
    #[serde(rename = "group_layer_map")]
    _group_layer_map: Option<serde::de::IgnoredAny>,
    se_cfg: Option<SeConfig>,
    stem_channels: Option<Channels>,
}

/// A `se_cfg`: the keys of MMPretrain's `SELayer`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SeConfig {
    ratio: Option<Channels>,
    divisor: Option<Channels>,
    squeeze_channels: Option<Channels>,
    act_cfg: Option<SeActs>,
    /// Its layers have no norm, so that `auto` is a bias.
    bias: Option<crate::layers::ConvBias>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum SeActs {
    Both(ActConfig),
    Each([ActConfig; 2]),
}

impl SeConfig {
    /// # Errors
    /// `node` has an activation that there is not.
    pub fn plan(&self, node: &Node) -> Result<SePlan, Diagnostics> {
        let act = |config: &ActConfig| {
            let message = || format!("unknown activation `{}`", config.kind);
            let known = || format!("known are {}", Activation::NAMES.join(", "));
            let act = Activation::from_config(config);
            act.ok_or_else(|| error_at(node, "act_cfg", message(), &known()))
        };
        let default = SePlan::new(
            self.ratio.map_or(16, Channels::get),
            self.divisor.map_or(8, Channels::get),
        );
        let bias = self.bias.clone().and_then(crate::layers::ConvBias::said);
        Ok(SePlan {
            squeezed: self.squeeze_channels.map(Channels::get),
            acts: match &self.act_cfg {
                None => default.acts,
                Some(SeActs::Both(config)) => [act(config)?; 2],
                Some(SeActs::Each([first, last])) => [act(first)?, act(last)?],
            },
            bias: bias.unwrap_or(true),
            ..default
        })
    }
}

/// Which layers squeeze and excite.
#[derive(Clone, Debug)]
pub(super) struct SePlan {
    ratio: usize,
    divisor: usize,
    squeezed: Option<usize>,
    acts: [Activation; 2],
    bias: bool,
    /// Whether a number of channels that was rounded down by more than a tenth is rounded up.
    rounds_up: bool,
}

impl SePlan {
    /// Of a ratio and a divisor.
    pub fn new(ratio: usize, divisor: usize) -> Self {
        Self {
            ratio,
            divisor,
            squeezed: None,
            acts: [Activation::Relu, Activation::Sigmoid],
            bias: true,
            rounds_up: true,
        }
    }

    /// The same as timm rounds.
    pub fn nearest(self) -> Self {
        Self {
            rounds_up: false,
            ..self
        }
    }

    fn init(&self, channels: usize, naming: Naming, at: &Params) -> SqueezeExcite {
        let share = channels / self.ratio;
        let down = (share + self.divisor / 2) / self.divisor * self.divisor;
        let squeezed = self.squeezed.unwrap_or(match self.rounds_up {
            true => make_divisible(share as f64, self.divisor),
            false => down.max(self.divisor),
        });
        let [first, last] = naming.squeeze_excite().map(|name| at.at(name));
        let convs = [(self.acts[0], &first), (self.acts[1], &last)];
        SqueezeExcite::new(channels, squeezed, convs, |conv, act, at| {
            let conv = conv.bias(self.bias).act(Some(act));
            match naming {
                Naming::TimmRepVgg | Naming::TimmMobileOne => conv.init(at, None),
                _ => ConvStyle {
                    act: Some(act),
                    initialises: true,
                    ..ConvStyle::default()
                }
                .module(conv, at),
            }
        })
    }
}

/// Blocks of each stage, the widths of the stages but the last and of the last, groups of every second block, squeeze-and-excite, channels of
/// the stem at most.
type Size = ([usize; 4], [f64; 2], usize, bool, usize);

const A: [usize; 4] = [2, 4, 14, 1];
const B: [usize; 4] = [4, 6, 16, 1];

const ARCHES: [(&str, Size); 15] = [
    ("A0", (A, [0.75, 2.5], 1, false, 64)),
    ("A1", (A, [1.0, 2.5], 1, false, 64)),
    ("A2", (A, [1.5, 2.75], 1, false, 64)),
    ("B0", (B, [1.0, 2.5], 1, false, 64)),
    ("B1", (B, [2.0, 4.0], 1, false, 64)),
    ("B1g2", (B, [2.0, 4.0], 2, false, 64)),
    ("B1g4", (B, [2.0, 4.0], 4, false, 64)),
    ("B2", (B, [2.5, 5.0], 1, false, 64)),
    ("B2g2", (B, [2.5, 5.0], 2, false, 64)),
    ("B2g4", (B, [2.5, 5.0], 4, false, 64)),
    ("B3", (B, [3.0, 5.0], 1, false, 64)),
    ("B3g2", (B, [3.0, 5.0], 2, false, 64)),
    ("B3g4", (B, [3.0, 5.0], 4, false, 64)),
    ("D2se", ([8, 14, 24, 1], [2.5, 5.0], 1, true, 64)),
    ("yolox-pai-small", ([3, 5, 7, 3], [1.0, 1.0], 1, false, 32)),
];

/// The last block of a named arch that has groups, counted from 1.
const LAST_GROUPED: usize = 26;

struct Arch {
    blocks: Vec<usize>,
    widths: Vec<f64>,
    /// Groups of a block, counted from 1 through all stages.
    groups: Vec<(usize, usize)>,
    squeeze_excite: Option<SePlan>,
    stem_channels: usize,
}

impl Arch {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let arch = match options::arch::<Size, Given>(node, "", &ARCHES)? {
            options::Arch::Named((blocks, [width, last], groups, excites, stem_channels)) => Self {
                blocks: blocks.to_vec(),
                widths: vec![width, width, width, last],
                groups: (2..=LAST_GROUPED).step_by(2).map(|i| (i, groups)).collect(),
                squeeze_excite: excites.then(|| SePlan::new(16, 1)),
                stem_channels,
            },
            options::Arch::Given(arch) => {
                let at = node.get("arch").expect("it was read");
                let se = arch.se_cfg.as_ref();
                let se_at = at.get("se_cfg").unwrap_or(at);
                Self {
                    blocks: arch.num_blocks.numbers(),
                    widths: arch.width_factor.to_vec(),
                    groups: group_layer_map(at)?,
                    squeeze_excite: se.map(|se| se.plan(se_at)).transpose()?,
                    stem_channels: arch.stem_channels.map_or(64, Channels::get),
                }
            }
        };
        if arch.blocks.is_empty() {
            return Err(error_at(node, "arch", "there are no stages", ""));
        }
        options::one_each(node, "arch", &arch.widths, arch.blocks.len())?;
        Ok(arch)
    }
}

/// Numbers of blocks and their groups.
fn group_layer_map(arch: &Node) -> Result<Vec<(usize, usize)>, Diagnostics> {
    let key = "group_layer_map";
    let Some(map) = arch.get(key).and_then(Node::as_dict) else {
        return Ok(Vec::new());
    };
    let pair = |(block, entry): (&Key, &crate::config::Entry)| {
        let block = match block {
            Key::Int(block) => usize::try_from(*block).ok(),
            _ => None,
        };
        let Some(block) = block else {
            let message = "the keys of `group_layer_map` are numbers of blocks, from 1";
            return Err(error_at(arch, key, message, ""));
        };
        Ok((block, entry.node.read::<Channels>()?.get()))
    };
    map.iter().map(pair).collect()
}

/// `base * width`, rounded down.
pub(super) fn wide(base: usize, width: f64, node: &Node) -> Result<usize, Diagnostics> {
    let channels = base as f64 * width;
    if (1.0..=MOST_CHANNELS as f64).contains(&channels) {
        return Ok(channels as usize);
    }
    let message = format!("a width factor of {width} leads to {channels} channels");
    Err(error_at(node, "arch", message, ""))
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Keys = node.read_knowing(OTHERS)?;
    let plan = config.plan(node)?;
    let frozen = options::frozen_stages(node, config.frozen_stages, -1, plan.stages.len())?;
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        let norms = ["_BatchNorm", "GroupNorm"];
        at.initialise(InitRule::of(&norms, Init::Constant(1.0)));
    });
    let params = &build.params;
    let model = RepNet::new(plan, params);
    freeze(params, frozen, "stem", "stage_");
    if config.norm_eval.unwrap_or(false) {
        params.evaluate();
    }
    Ok(Box::new(model))
}

/// From 0 on the stem, from 1 on the stages up to that number.
pub(super) fn freeze(params: &Params, frozen: i64, stem: &str, stage: &str) {
    if frozen >= 0 {
        params.at(stem).freeze();
    }
    for i in 1..=frozen {
        params.at(format!("{stage}{i}")).freeze();
    }
}

impl Keys {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        if node.get("arch").is_none() {
            return Err(error_at(
                node,
                "arch",
                "RepVGG needs an `arch`",
                "for example arch='A0'",
            ));
        }
        let arch = Arch::read(node)?;
        let count = arch.blocks.len();
        let all = |list: &Option<Short<Pixels, MOST_STAGES>>, default| match list {
            Some(list) => list.numbers(),
            None => vec![default; 4],
        };
        let (strides, dilations) = (all(&self.strides, 2), all(&self.dilations, 1));
        options::one_each(node, "strides", &strides, count)?;
        options::one_each(node, "dilations", &dilations, count)?;
        let base = self.base_channels.map_or(64, Channels::get);
        let width = |i: usize| wide(base, arch.widths[i] * (1u64 << i) as f64, node);
        let channels = (0..count).map(width).collect::<Result<Vec<_>, _>>()?;
        let stem = arch.stem_channels.min(wide(base, arch.widths[0], node)?);
        let outs = options::out_indices(node, &[3], count, 0)?;
        let style = style(node, &[&[stem][..], &channels].concat())?;
        let channels_in = self.in_channels.map_or(3, Channels::get);
        let mut into = stem;
        let mut number = 1;
        let mut stages = Vec::new();
        for i in 0..count {
            let mut blocks = Vec::new();
            for j in 0..arch.blocks[i] {
                let found = arch.groups.iter().find(|(block, _)| *block == number);
                let groups = found.map_or(1, |(_, groups)| *groups);
                if into % groups != 0 || channels[i] % groups != 0 {
                    let message = format!(
                        "{groups} groups do not divide the channels of block {number}, {into} and {}",
                        channels[i]
                    );
                    return Err(error_at(node, "arch", message, ""));
                }
                let stride = if j == 0 { strides[i] } else { 1 };
                blocks.push(BlockPlan {
                    groups,
                    dilation: dilations[i],
                    squeeze_excite: arch.squeeze_excite.clone(),
                    ..BlockPlan::new([into, channels[i]], 3, stride)
                });
                number += 1;
                into = channels[i];
            }
            stages.push(blocks);
        }
        let ppf = self.add_ppf.unwrap_or(false);
        Ok(Plan {
            naming: Naming::RepVgg,
            style,
            deploy: self.deploy.unwrap_or(false),
            stem: BlockPlan {
                squeeze_excite: arch.squeeze_excite.clone(),
                ..BlockPlan::new([channels_in, stem], 3, 2)
            },
            stages,
            ppf: ppf.then_some(into),
            outputs: outs.into_iter().map(|i| i + 1).collect(),
        })
    }
}

/// The style of all blocks.
pub(super) fn style(node: &Node, channels: &[usize]) -> Result<ConvStyle, Diagnostics> {
    let defaults = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(Activation::Relu),
        initialises: true,
        ..ConvStyle::default()
    };
    let style = ConvStyle::read(node, defaults, channels)?;
    if style.norm.is_none() {
        return Err(error_at(
            node,
            "norm_cfg",
            "there is no block without norms",
            "",
        ));
    }
    Ok(style)
}

/// How the original names its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    RepVgg,
    MobileOne,
    TimmRepVgg,
    TimmMobileOne,
}

impl Naming {
    fn is_timm(self) -> bool {
        matches!(self, Self::TimmRepVgg | Self::TimmMobileOne)
    }

    /// The stem, or a stage, by its number from 1.
    fn level(self, params: &Params, i: usize, flat: bool) -> Params {
        let name = match (self, i) {
            (Self::MobileOne, i) => format!("stage{i}"),
            (_, 0) => "stem".into(),
            (Self::RepVgg, i) => format!("stage_{i}"),
            (_, i) if flat => {
                let at = params.at(format!("stages_{}", i - 1));
                at.once_called(&format!("stages.{}", i - 1));
                return at;
            }
            (_, i) => format!("stages.{}", i - 1),
        };
        params.at(name)
    }

    fn squeeze_excite(self) -> [&'static str; 2] {
        match self {
            Self::RepVgg => ["se_layer.conv1", "se_layer.conv2"],
            Self::MobileOne => ["se.conv1", "se.conv2"],
            _ => ["attn.fc1", "attn.fc2"],
        }
    }
}

/// A block in numbers.
pub(super) struct BlockPlan {
    /// Before and after.
    pub channels: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub groups: usize,
    /// How many of the largest filters are side by side.
    pub copies: usize,
    /// Whether the input is normed alone: where it has the result's shape, and nothing says otherwise.
    pub identity: bool,
    pub squeeze_excite: Option<SePlan>,
    pub drop_path_rate: f64,
}

impl BlockPlan {
    /// A block of one large filter.
    pub fn new(channels: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self {
            channels,
            kernel,
            stride,
            dilation: 1,
            groups: 1,
            copies: 1,
            identity: channels[0] == channels[1] && stride == 1,
            squeeze_excite: None,
            drop_path_rate: 0.0,
        }
    }
}

/// All layers in numbers that were checked.
pub(super) struct Plan {
    pub naming: Naming,
    pub style: ConvStyle,
    pub deploy: bool,
    pub stem: BlockPlan,
    pub stages: Vec<Vec<BlockPlan>>,
    /// Channels of pooling in several sizes after the last stage, if there is any.
    pub ppf: Option<usize>,
    /// The stem (0) and stages that give a map, in order.
    pub outputs: Vec<usize>,
}

/// RepVGG and MobileOne.
#[derive(Debug)]
pub struct RepNet {
    /// The stem's block, then those of the stages.
    levels: Vec<Vec<Block>>,
    ppf: Option<Pooling>,
    outputs: Vec<usize>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl RepNet {
    pub(super) fn new(plan: Plan, params: &Params) -> Self {
        Self::named(plan, params, false)
    }

    /// `flat` where timm cuts it into a list of levels.
    pub(super) fn named(plan: Plan, params: &Params, flat: bool) -> Self {
        let (naming, make) = (plan.naming, (&plan.style, plan.deploy));
        let mut channels = plan.stem.channels[1];
        let mut stride = plan.stem.stride;
        let mut features = vec![Feature { channels, stride }];
        let stem = naming.level(params, 0, flat);
        let mut levels = vec![vec![Block::new(&plan.stem, naming, make, &stem)]];
        for (i, stage) in plan.stages.iter().enumerate() {
            let at = naming.level(params, i + 1, flat);
            let block = |(j, block)| Block::new(block, naming, make, &at.at(j));
            levels.push(stage.iter().enumerate().map(block).collect());
            for block in stage {
                channels = block.channels[1];
                stride *= block.stride;
            }
            features.push(Feature { channels, stride });
        }
        let ppf = plan.ppf;
        let ppf = ppf.map(|channels| Pooling::new(channels, &plan.style, &params.at("ppf")));
        Self {
            levels,
            ppf,
            features: plan.outputs.iter().map(|i| features[*i]).collect(),
            outputs: plan.outputs,
            channels_in: plan.stem.channels[0],
        }
    }
}

impl Backbone for RepNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = x;
        let mut maps = Vec::new();
        for (i, level) in self.levels.iter().enumerate() {
            let after = self.outputs.last().is_none_or(|last| i > *last);
            if after && !level.iter().any(|block| block.branches.learning()) {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            x = level.iter().fold(x, |x, block| block.forward(x));
            if let Some(ppf) = self.ppf.as_ref().filter(|_| i + 1 == self.levels.len()) {
                x = ppf.forward(x);
            }
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

/// Convolutions side by side, squeeze-and-excite, an activation.
#[derive(Debug)]
struct Block {
    branches: Branches,
    squeeze_excite: Option<SqueezeExcite>,
    /// After what weighs the channels; where there is none it is the branches'.
    act: Option<Activation>,
}

impl Block {
    fn new(
        plan: &BlockPlan,
        naming: Naming,
        (style, deploy): (&ConvStyle, bool),
        at: &Params,
    ) -> Self {
        let se = plan.squeeze_excite.as_ref();
        let se = || se.map(|se| se.init(plan.channels[1], naming, at));
        let branches = || branches(plan, naming, style, deploy, at);
        // MobileOne of MMPretrain has it first.
        let (squeeze_excite, branches) = match naming {
            Naming::MobileOne => {
                let se = se();
                (se, branches())
            }
            _ => {
                let branches = branches();
                (se(), branches)
            }
        };
        Self {
            branches,
            act: squeeze_excite.as_ref().and(style.act),
            squeeze_excite,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.branches.forward(x);
        let x = match &self.squeeze_excite {
            Some(se) => se.forward(x),
            None => x,
        };
        match self.act {
            Some(act) => act.forward(x),
            None => x,
        }
    }
}

fn branches(
    plan: &BlockPlan,
    naming: Naming,
    style: &ConvStyle,
    deploy: bool,
    at: &Params,
) -> Branches {
    let [from, to] = plan.channels;
    let conv = |kernel: usize, kind: ConvKind| {
        let dilation = if kernel > 1 { plan.dilation } else { 1 };
        ConvConfig::new(from, to, kernel)
            .stride(plan.stride)
            .dilation(dilation)
            .pad(dilation * (kernel - 1) / 2)
            .groups(plan.groups)
            .kind(kind)
    };
    let whole = conv(plan.kernel, style.kind);
    let last = style.act.filter(|_| plan.squeeze_excite.is_none());
    let deployed = at.at("branch_reparam");
    if deploy {
        return Branches::one(whole.act(last).bias(true).init(&deployed, None));
    }
    let norm = style.norm.as_ref().expect("it was checked");
    let names = match naming.is_timm() {
        true => ["conv", "bn"],
        false => ["conv", "norm"],
    };
    let branch = |conv: ConvConfig, place: Params| {
        let [conv_at, norm_at] = names.map(|name| place.at(name));
        Branch::normed(conv, conv_at, norm, norm_at)
    };
    let copies = |list: &str| -> Vec<_> {
        let list = at.at(list);
        let copy = |i| branch(whole.clone(), list.at(i));
        (0..plan.copies).map(copy).collect()
    };
    // Filters of one tap, where the others have more.
    let one = |name: &str| {
        let one = (plan.kernel > 1).then(|| branch(conv(1, style.kind), at.at(name)));
        one.into_iter().collect::<Vec<_>>()
    };
    let alone = |name: &str| {
        let alone = plan.identity.then(|| Branch::Norm(norm, at.at(name)));
        alone.into_iter().collect::<Vec<_>>()
    };
    let large = |name: &str| vec![branch(whole.clone(), at.at(name))];
    let parts = match naming {
        Naming::RepVgg => [alone("branch_norm"), large("branch_3x3"), one("branch_1x1")],
        Naming::MobileOne => {
            let copies = copies("branch_conv_list");
            [alone("branch_norm"), one("branch_scale"), copies]
        }
        Naming::TimmRepVgg => [alone("identity"), large("conv_kxk"), one("conv_1x1")],
        Naming::TimmMobileOne => [alone("identity"), copies("conv_kxk"), one("conv_scale")],
    };
    let rate = if plan.identity {
        plan.drop_path_rate
    } else {
        0.0
    };
    let deployed = (!naming.is_timm()).then_some(&deployed);
    Branches::new(
        &whole.clone().act(last),
        &parts.into_iter().flatten().collect::<Vec<_>>(),
        deployed,
    )
    .drop_path(DropPath::new(rate, &at.at("drop_path")))
}

/// Side of the windows.
const POOL: usize = 5;

/// What is largest around each place, in three sizes (MTSPPF of YOLOX-PAI).
#[derive(Debug)]
struct Pooling {
    narrow: ConvNormAct,
    wide: ConvNormAct,
}

impl Pooling {
    fn new(channels: usize, style: &ConvStyle, at: &Params) -> Self {
        let style = ConvStyle {
            kind: ConvKind::Plain,
            ..style.clone()
        };
        let hidden = (channels / 2).max(1);
        let narrow = ConvConfig::new(channels, hidden, 1);
        let wide = ConvConfig::new(4 * hidden, channels, 1);
        Self {
            narrow: style.module(narrow, &at.at("conv1")),
            wide: style.module(wide, &at.at("conv2")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut sizes = vec![self.narrow.forward(x)];
        for i in 0..3 {
            sizes.push(max_pool2d(sizes[i].clone(), POOL, 1, POOL / 2));
        }
        self.wide.forward(Tensor::cat(sizes, 1))
    }
}
