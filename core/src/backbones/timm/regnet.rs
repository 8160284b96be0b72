//! timm's RegNet X and Y (Radosavovic et al. 2020, arXiv 2003.13678), Z (Dollár et al. 2021, arXiv 2103.06877) and V, a Y with its norms
//! before the convolutions: widths that grow by a rule of four numbers, blocks with groups of one size.
//!
//! Shapes: level 0 is the stem, `[N, 32, H / 2, W / 2]`; level i is stage i, `[N, width, H / 2^(i + 1), ..]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON, activation, shortcut_average, squeeze_excite};
use crate::backbones::{Backbone, Feature};
use crate::config::{Bounded, Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Dropout, Init, InitRule, Norm, NormConfig,
    Params, SqueezeExcite, make_divisible,
};
use crate::limits::Channels;

/// Blocks of all stages.
const MOST_BLOCKS: usize = 128;
/// Channels of a convolution.
const MOST_CHANNELS: usize = 1 << 16;
/// Widths are multiples of it.
const QUANTUM: f64 = 8.0;

/// What is done to what goes past the first block of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Downsample {
    /// Nothing goes past it.
    None,
    Convolution,
    Average,
}

/// A member of the family.
#[derive(Clone, Copy, Debug)]
struct Arch {
    depth: usize,
    /// The first width.
    w0: usize,
    /// How much wider each block would be.
    wa: f64,
    /// How much wider each stage is.
    wm: f64,
    group_size: usize,
    bottle_ratio: f64,
    se_ratio: f64,
    /// Rounds widths as torchvision, not by less than a tenth.
    rounds_up: bool,
    stem_width: usize,
    downsample: Downsample,
    /// No activation after the sum.
    linear_out: bool,
    /// Norms before convolutions.
    preact: bool,
    /// Of a convolution at the end; 0 for none.
    num_features: usize,
    act: Activation,
    /// Group norms of groups of 16 channels.
    group_norm: bool,
}

const fn x(depth: usize, w0: usize, wa: f64, wm: f64, group_size: usize) -> Arch {
    Arch {
        depth,
        w0,
        wa,
        wm,
        group_size,
        bottle_ratio: 1.0,
        se_ratio: 0.0,
        rounds_up: false,
        stem_width: 32,
        downsample: Downsample::Convolution,
        linear_out: false,
        preact: false,
        num_features: 0,
        act: Activation::Relu,
        group_norm: false,
    }
}

const fn y(depth: usize, w0: usize, wa: f64, wm: f64, group_size: usize) -> Arch {
    Arch {
        se_ratio: 0.25,
        ..x(depth, w0, wa, wm, group_size)
    }
}

const fn v(downsample: Downsample, arch: Arch) -> Arch {
    Arch {
        preact: true,
        act: Activation::Silu,
        downsample,
        ..arch
    }
}

const fn z(num_features: usize, arch: Arch) -> Arch {
    Arch {
        bottle_ratio: 4.0,
        downsample: Downsample::None,
        linear_out: true,
        num_features,
        act: Activation::Silu,
        ..arch
    }
}

const fn torchvision(arch: Arch) -> Arch {
    Arch {
        rounds_up: true,
        ..arch
    }
}

const MODELS: [(&str, Arch); 36] = [
    (
        "regnetv_040",
        v(Downsample::Convolution, y(22, 96, 31.41, 2.24, 64)),
    ),
    (
        "regnetv_064",
        v(Downsample::Average, y(25, 112, 33.22, 2.27, 72)),
    ),
    ("regnetx_002", x(13, 24, 36.44, 2.49, 8)),
    ("regnetx_004", x(22, 24, 24.48, 2.54, 16)),
    ("regnetx_004_tv", torchvision(x(22, 24, 24.48, 2.54, 16))),
    ("regnetx_006", x(16, 48, 36.97, 2.24, 24)),
    ("regnetx_008", x(16, 56, 35.73, 2.28, 16)),
    ("regnetx_016", x(18, 80, 34.01, 2.25, 24)),
    ("regnetx_032", x(25, 88, 26.31, 2.25, 48)),
    ("regnetx_040", x(23, 96, 38.65, 2.43, 40)),
    ("regnetx_064", x(17, 184, 60.83, 2.07, 56)),
    ("regnetx_080", x(23, 80, 49.56, 2.88, 120)),
    ("regnetx_120", x(19, 168, 73.36, 2.37, 112)),
    ("regnetx_160", x(22, 216, 55.59, 2.1, 128)),
    ("regnetx_320", x(23, 320, 69.86, 2.0, 168)),
    ("regnety_002", y(13, 24, 36.44, 2.49, 8)),
    ("regnety_004", y(16, 48, 27.89, 2.09, 8)),
    ("regnety_006", y(15, 48, 32.54, 2.32, 16)),
    ("regnety_008", y(14, 56, 38.84, 2.4, 16)),
    ("regnety_008_tv", torchvision(y(14, 56, 38.84, 2.4, 16))),
    ("regnety_016", y(27, 48, 20.71, 2.65, 24)),
    ("regnety_032", y(21, 80, 42.63, 2.66, 24)),
    ("regnety_040", y(22, 96, 31.41, 2.24, 64)),
    ("regnety_040_sgn", SGN),
    ("regnety_064", y(25, 112, 33.22, 2.27, 72)),
    ("regnety_080", y(17, 192, 76.82, 2.19, 56)),
    ("regnety_080_tv", torchvision(y(17, 192, 76.82, 2.19, 56))),
    ("regnety_120", y(19, 168, 73.36, 2.37, 112)),
    ("regnety_1280", y(27, 456, 160.83, 2.52, 264)),
    ("regnety_160", y(18, 200, 106.23, 2.48, 112)),
    ("regnety_2560", y(27, 640, 230.83, 2.53, 373)),
    ("regnety_320", y(20, 232, 115.89, 2.53, 232)),
    ("regnety_640", y(20, 352, 147.48, 2.4, 328)),
    ("regnetz_005", z(1024, y(21, 16, 10.7, 2.51, 4))),
    ("regnetz_040", z(0, y(28, 48, 14.5, 2.226, 8))),
    ("regnetz_040_h", z(1536, y(28, 48, 14.5, 2.226, 8))),
];

const SGN: Arch = Arch {
    act: Activation::Silu,
    group_norm: true,
    ..y(22, 96, 31.41, 2.24, 64)
};

/// The keys of timm's RegNet, each in place of the model's own number.
#[derive(Debug, Deserialize)]
struct Keys {
    depth: Option<Bounded<4, MOST_BLOCKS>>,
    w0: Option<Channels>,
    wa: Option<f64>,
    wm: Option<f64>,
    group_size: Option<Channels>,
    bottle_ratio: Option<f64>,
    se_ratio: Option<f64>,
    group_min_ratio: Option<f64>,
    stem_width: Option<Channels>,
    downsample: Option<String>,
    linear_out: Option<bool>,
    preact: Option<bool>,
    num_features: Option<Bounded<0, MOST_CHANNELS>>,
    act_layer: Option<String>,
    zero_init_last: Option<bool>,
}

/// All names.
pub(super) fn names() -> Vec<String> {
    MODELS.iter().map(|(name, _)| name.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked
        .node
        .read_knowing(&[COMMON, &["global_pool"]].concat())?;
    let plan = keys.plan(asked)?;
    Ok(Box::new(TimmRegNet::new(plan, &asked.params)))
}

/// All layers in numbers that were checked.
struct Plan {
    arch: Arch,
    zero_last: bool,
    channels_in: usize,
    stages: Vec<Vec<BlockShape>>,
    /// Of the stem, then of each stage.
    levels: Vec<Feature>,
    /// Which levels are given; none if the last map is.
    wanted: Option<Vec<usize>>,
    dropout: Option<f64>,
}

/// A block in numbers.
#[derive(Clone, Copy)]
struct BlockShape {
    channels_in: usize,
    /// Of the 3x3 convolution.
    width: usize,
    channels_out: usize,
    groups: usize,
    stride: usize,
    dilation: usize,
    /// Of squeeze-and-excite, 0 for none.
    squeezed: usize,
    /// Whether what goes past it would have to be made another.
    differs: bool,
    drop_path_rate: f64,
}

/// The widths of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
struct StageShape {
    blocks: usize,
    channels: usize,
    group: usize,
}

impl Arch {
    /// Section 3.3: widths on a line, rounded to powers of `wm` and to multiples of 8, then to whole groups.
    fn stages(&self) -> Vec<StageShape> {
        let w0 = self.w0 as f64;
        let width = |i: usize| {
            let exponent = ((i as f64 * self.wa + w0) / w0).ln() / self.wm.ln();
            let width = w0 * self.wm.powf(exponent.round_ties_even()) / QUANTUM;
            (width.round_ties_even() * QUANTUM) as usize
        };
        let mut widths: Vec<_> = (0..self.depth).map(width).collect();
        widths.sort_unstable();
        let stage = |same: &[usize]| {
            let inner = (same[0] as f64 * self.bottle_ratio) as usize;
            let group = self.group_size.min(inner).max(1);
            let inner = match self.rounds_up {
                true => make_divisible(inner as f64, group),
                false => (inner as f64 / group as f64).round_ties_even() as usize * group,
            };
            StageShape {
                blocks: same.len(),
                channels: (inner as f64 / self.bottle_ratio) as usize,
                group,
            }
        };
        widths.chunk_by(|a, b| a == b).map(stage).collect()
    }

    fn norm(&self, channels: usize) -> NormConfig {
        match self.group_norm {
            true => NormConfig::group((channels / 16).max(1)),
            false => NormConfig::batch(1e-5),
        }
    }

    /// A convolution and its norm, with timm's names for them, and an activation.
    fn layer(&self, conv: ConvConfig, channels: usize, act: bool, at: &Params) -> ConvNormAct {
        initialise(&conv, &at.at("conv"));
        conv.bias(false)
            .act(act.then_some(self.act))
            .init(&at.at("conv"), Some((&self.norm(channels), &at.at("bn"))))
    }
}

/// Normal, by the filters of a group.
fn initialise(conv: &ConvConfig, at: &Params) {
    let std = (2.0 / conv.fan_out_of_group() as f64).sqrt();
    at.initialise_built(InitRule::all(Init::normal(std), 0.0));
}

/// A convolution by itself.
fn bare(conv: ConvConfig, at: &Params) -> ConvNormAct {
    initialise(&conv, at);
    conv.bias(false).init(at, None)
}

impl Keys {
    fn arch(&self, asked: &Asked) -> Result<Arch, Diagnostics> {
        let node = asked.node;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let model = MODELS.iter().find(|(name, _)| *name == asked.name);
        let own = model.expect("the family knows its names").1;
        let downsample = match self.downsample.as_deref() {
            None => own.downsample,
            Some("") => Downsample::None,
            Some("conv1x1") => Downsample::Convolution,
            Some("avg") => Downsample::Average,
            Some(other) => {
                let message = format!("`downsample` is '{other}', must be 'conv1x1', 'avg' or ''");
                return fail("downsample", message);
            }
        };
        let act = match &self.act_layer {
            None => Some(own.act),
            Some(name) => activation(name),
        };
        let Some(act) = act else {
            return fail("act_layer", "timm has no such activation".into());
        };
        let arch = Arch {
            depth: self.depth.map_or(own.depth, Bounded::get),
            w0: self.w0.map_or(own.w0, Bounded::get),
            wa: self.wa.unwrap_or(own.wa),
            wm: self.wm.unwrap_or(own.wm),
            group_size: self.group_size.map_or(own.group_size, Bounded::get),
            bottle_ratio: self.bottle_ratio.unwrap_or(own.bottle_ratio),
            se_ratio: self.se_ratio.unwrap_or(own.se_ratio),
            rounds_up: self.group_min_ratio.map_or(own.rounds_up, |r| r != 0.0),
            stem_width: self.stem_width.map_or(own.stem_width, Bounded::get),
            downsample,
            linear_out: self.linear_out.unwrap_or(own.linear_out),
            preact: self.preact.unwrap_or(own.preact),
            num_features: self.num_features.map_or(own.num_features, Bounded::get),
            act,
            group_norm: own.group_norm,
        };
        if !arch.w0.is_multiple_of(QUANTUM as usize) {
            return fail(
                "w0",
                format!("`w0` is {}, must be a multiple of 8", arch.w0),
            );
        }
        // Within these bounds no width overflows.
        for (key, value, least) in [
            ("wa", arch.wa, 0.0),
            ("wm", arch.wm, 1.0 + 1e-6),
            ("bottle_ratio", arch.bottle_ratio, 1e-3),
            ("se_ratio", arch.se_ratio, 0.0),
        ] {
            if !(least..=1e4).contains(&value) {
                return fail(key, format!("`{key}` is {value}, which makes no widths"));
            }
        }
        Ok(arch)
    }

    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let node = asked.node;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let arch = self.arch(asked)?;
        let output_stride = asked.output_stride;
        if !matches!(output_stride, 8 | 16 | 32) {
            let message = format!("`output_stride` is {output_stride}, must be 8, 16 or 32");
            return fail("output_stride", message);
        }
        let shapes = arch.stages();
        if shapes.len() != 4 {
            let message = format!("these numbers make {} stages, must be 4", shapes.len());
            return fail("wm", message);
        }
        let stages = plan_stages(&arch, &shapes, output_stride, asked.drop_path_rate);
        for block in stages.iter().flatten() {
            let sizes = [block.width, block.channels_out, block.squeezed.max(1)];
            if let Some(size) = sizes.iter().find(|n| !(1..=MOST_CHANNELS).contains(*n)) {
                return fail("w0", format!("a convolution would have {size} channels"));
            }
            if block.groups == 0 || !block.width.is_multiple_of(block.groups) {
                let message = format!("groups of the size do not divide {} channels", block.width);
                return fail("group_size", message);
            }
            let normed = [arch.stem_width, block.width, block.channels_out];
            let bad = normed
                .iter()
                .find(|n| arch.norm(**n).check(&[**n]).is_err());
            if let Some(channels) = bad {
                let message = format!("groups of 16 channels do not divide {channels}");
                return fail("stem_width", message);
            }
        }
        let mut levels = vec![Feature {
            channels: arch.stem_width,
            stride: 2,
        }];
        for (i, stage) in stages.iter().enumerate() {
            levels.push(Feature {
                channels: stage[0].channels_out,
                stride: levels[i].stride * stage[0].stride,
            });
        }
        let wanted = match asked.features_only {
            true => Some(asked.wanted(&levels)?),
            false => None,
        };
        Ok(Plan {
            arch,
            zero_last: self.zero_init_last.unwrap_or(true),
            channels_in: asked.channels_in,
            stages,
            levels,
            wanted,
            dropout: asked.classifier_dropout()?,
        })
    }
}

/// The blocks of each stage: past `output_stride` a stage does not stride, its blocks are dilated instead, the first by half.
fn plan_stages(
    arch: &Arch,
    shapes: &[StageShape],
    output_stride: usize,
    drop_path_rate: f64,
) -> Vec<Vec<BlockShape>> {
    let (mut channels_in, mut net_stride, mut dilation) = (arch.stem_width, 2, 1);
    let mut blocks = 0;
    let mut stages = Vec::new();
    for shape in shapes {
        let mut stride = 2;
        if net_stride >= output_stride {
            dilation *= 2;
            stride = 1;
        } else {
            net_stride *= stride;
        }
        let first_dilation = if dilation <= 2 { 1 } else { 2 };
        let width = (shape.channels as f64 * arch.bottle_ratio).round_ties_even() as usize;
        let block = |j: usize| {
            let first = j == 0;
            let from = if first { channels_in } else { shape.channels };
            let stride = if first { stride } else { 1 };
            BlockShape {
                channels_in: from,
                width,
                channels_out: shape.channels,
                groups: width / shape.group,
                stride,
                dilation: if first { first_dilation } else { dilation },
                squeezed: (from as f64 * arch.se_ratio).round_ties_even() as usize,
                differs: from != shape.channels
                    || stride != 1
                    || (first && first_dilation != dilation),
                drop_path_rate: drop_path_rate * (blocks + j) as f64
                    / arch.depth.saturating_sub(1).max(1) as f64,
            }
        };
        stages.push((0..shape.blocks).map(block).collect());
        blocks += shape.blocks;
        channels_in = shape.channels;
    }
    stages
}

/// RegNet from timm.
#[derive(Debug)]
pub struct TimmRegNet {
    stem: ConvNormAct,
    stages: Vec<Vec<Block>>,
    last: Last,
    features: Vec<Feature>,
    /// None if what comes last is given.
    wanted: Option<Vec<usize>>,
    dropout: Option<Dropout>,
    channels_in: usize,
}

/// What comes after the stages where `features_only` is not.
#[derive(Debug)]
enum Last {
    None,
    Activation(Activation),
    Convolution(Box<ConvNormAct>),
}

impl TimmRegNet {
    fn new(plan: Plan, params: &Params) -> Self {
        let arch = &plan.arch;
        let stem = ConvConfig::new(plan.channels_in, arch.stem_width, 3)
            .stride(2)
            .pad(1);
        let at = params.at("stem");
        let stem = match arch.preact {
            true => bare(stem, &at),
            false => arch.layer(stem, arch.stem_width, true, &at),
        };
        let count = match &plan.wanted {
            Some(wanted) => wanted.last().copied().unwrap_or(0),
            None => plan.stages.len(),
        };
        let stage = |(i, stage): (usize, &Vec<BlockShape>)| {
            let at = params.at(format!("s{}", i + 1));
            let block = |(j, shape)| {
                let at = at.at(format!("b{}", j + 1));
                Block::new(shape, arch, plan.zero_last, &at)
            };
            stage.iter().enumerate().map(block).collect()
        };
        let stages = plan.stages.iter().take(count).enumerate().map(stage);
        let stages = stages.collect();
        let mut features = plan.levels.clone();
        let mut last = Last::None;
        if let Some(wanted) = &plan.wanted {
            features = wanted.iter().map(|i| plan.levels[*i]).collect();
        } else {
            features.drain(..plan.stages.len());
            if arch.num_features > 0 {
                let conv = ConvConfig::new(features[0].channels, arch.num_features, 1);
                features[0].channels = arch.num_features;
                let at = params.at("final_conv");
                let conv = arch.layer(conv, arch.num_features, true, &at);
                last = Last::Convolution(Box::new(conv));
            } else if arch.linear_out || arch.preact {
                last = Last::Activation(arch.act);
            }
        }
        params.built();
        Self {
            stem,
            stages,
            last,
            features,
            wanted: plan.wanted,
            dropout: plan
                .dropout
                .and_then(|rate| Dropout::new(rate, &params.at("head"))),
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for TimmRegNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let is_wanted = |i| self.wanted.as_ref().is_some_and(|w| w.contains(&i));
        let mut x = self.stem.forward(x);
        let mut outputs = Vec::new();
        if is_wanted(0) {
            outputs.push(x.clone());
        }
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if is_wanted(i + 1) {
                outputs.push(x.clone());
            }
        }
        if self.wanted.is_some() {
            return outputs;
        }
        let x = match &self.last {
            Last::None => x,
            Last::Activation(act) => act.forward(x),
            Last::Convolution(conv) => conv.forward(x),
        };
        match &self.dropout {
            Some(dropout) => vec![dropout.forward(x)],
            None => vec![x],
        }
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// A residual block: 1x1, 3x3 in groups, squeeze-and-excite, 1x1.
#[derive(Debug)]
struct Block {
    branch: Branch,
    squeeze_excite: Option<SqueezeExcite>,
    past: Past,
    drop_path: Option<DropPath>,
    /// After the sum.
    act: Option<Activation>,
}

/// The convolutions.
#[derive(Debug)]
enum Branch {
    /// Each with its norm after it.
    After(Box<[ConvNormAct; 3]>),
    /// Each with its norm and activation before it; the second norm comes with the first convolution.
    Before {
        norms: Box<[Norm; 2]>,
        convs: Box<[ConvNormAct; 3]>,
        act: Activation,
    },
}

/// What goes past the convolutions.
#[derive(Debug)]
enum Past {
    Nothing,
    Same,
    /// A convolution, of the means of squares where a stride for those is said.
    Convolution(Option<usize>, Box<ConvNormAct>),
}

impl Block {
    fn new(shape: &BlockShape, arch: &Arch, zero_last: bool, at: &Params) -> Self {
        let &BlockShape {
            channels_in,
            width,
            channels_out,
            ..
        } = shape;
        let first = ConvConfig::new(channels_in, width, 1);
        // timm's padding, which is the dilation for either stride.
        let second = ConvConfig::new(width, width, 3)
            .stride(shape.stride)
            .pad(shape.dilation)
            .dilation(shape.dilation)
            .groups(shape.groups);
        let third = ConvConfig::new(width, channels_out, 1);
        let squeezes = || {
            (shape.squeezed > 0).then(|| {
                let at = at.at("se");
                for (name, filters) in [("fc1", shape.squeezed), ("fc2", width)] {
                    let std = (2.0 / filters as f64).sqrt();
                    at.at(name)
                        .initialise_built(InitRule::all(Init::normal(std), 0.0));
                }
                squeeze_excite(width, shape.squeezed, arch.act, &at)
            })
        };
        let (branch, squeeze_excite) = if arch.preact {
            let norm1 = arch.norm(channels_in).init(channels_in, &at.at("norm1"));
            initialise(&first, &at.at("conv1"));
            let conv1 = first
                .bias(false)
                .act(Some(arch.act))
                .init(&at.at("conv1"), Some((&arch.norm(width), &at.at("norm2"))));
            let conv2 = bare(second, &at.at("conv2"));
            let squeeze_excite = squeezes();
            let norm3 = arch.norm(width).init(width, &at.at("norm3"));
            let conv3 = bare(third, &at.at("conv3"));
            let branch = Branch::Before {
                norms: Box::new([norm1, norm3]),
                convs: Box::new([conv1, conv2, conv3]),
                act: arch.act,
            };
            (branch, squeeze_excite)
        } else {
            let conv1 = arch.layer(first, width, true, &at.at("conv1"));
            let conv2 = arch.layer(second, width, true, &at.at("conv2"));
            let squeeze_excite = squeezes();
            if zero_last {
                let zero = InitRule::all(Init::Constant(0.0), 0.0);
                at.at("conv3.bn").initialise_built(zero);
            }
            let conv3 = arch.layer(third, channels_out, false, &at.at("conv3"));
            (
                Branch::After(Box::new([conv1, conv2, conv3])),
                squeeze_excite,
            )
        };
        let past = Past::new(shape, arch, &at.at("downsample"));
        let rate = match past {
            Past::Nothing => 0.0,
            _ => shape.drop_path_rate,
        };
        Self {
            branch,
            squeeze_excite,
            past,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
            act: (!arch.linear_out && !arch.preact).then_some(arch.act),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let excite = |x| match &self.squeeze_excite {
            Some(squeeze_excite) => squeeze_excite.forward(x),
            None => x,
        };
        let (input, y) = match &self.branch {
            Branch::After(convs) => {
                let [first, second, third] = &**convs;
                let y = excite(second.forward(first.forward(x.clone())));
                (x, third.forward(y))
            }
            Branch::Before { norms, convs, act } => {
                let ([norm1, norm3], [first, second, third]) = (&**norms, &**convs);
                let x = act.forward(norm1.forward(x));
                let y = excite(second.forward(first.forward(x.clone())));
                (x, third.forward(act.forward(norm3.forward(y))))
            }
        };
        let y = match self.past.forward(input) {
            Some(past) => DropPath::add(&self.drop_path, past, y),
            None => y,
        };
        match self.act {
            Some(act) => act.forward(y),
            None => y,
        }
    }
}

impl Past {
    fn new(shape: &BlockShape, arch: &Arch, at: &Params) -> Self {
        if !shape.differs {
            return Self::Same;
        }
        let conv = ConvConfig::new(shape.channels_in, shape.channels_out, 1);
        let (pool, conv, at) = match arch.downsample {
            Downsample::None => return Self::Nothing,
            Downsample::Convolution => (None, conv.stride(shape.stride), at.clone()),
            Downsample::Average => {
                let pools = shape.stride > 1 || shape.dilation > 1;
                (pools.then_some(shape.stride), conv, at.at("1"))
            }
        };
        let conv = match arch.preact {
            true => bare(conv, &at),
            false => arch.layer(conv, shape.channels_out, false, &at),
        };
        Self::Convolution(pool, Box::new(conv))
    }

    fn forward(&self, x: Tensor<4>) -> Option<Tensor<4>> {
        Some(match self {
            Self::Nothing => return None,
            Self::Same => x,
            Self::Convolution(None, conv) => conv.forward(x),
            Self::Convolution(Some(stride), conv) => conv.forward(shortcut_average(x, *stride)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn widths_are_the_papers() {
        let widths = |name: &str| {
            let arch = MODELS.iter().find(|(known, _)| *known == name).unwrap().1;
            let stages = arch.stages();
            let of = |stage: &StageShape| (stage.blocks, stage.channels);
            stages.iter().map(of).collect::<Vec<_>>()
        };
        // Tables 5 and 6 of the paper's appendix.
        let x = [(1, 24), (1, 56), (4, 152), (7, 368)];
        assert_eq!(widths("regnetx_002"), x);
        let y = [(2, 224), (5, 448), (11, 896), (1, 2240)];
        assert_eq!(widths("regnety_120"), y);
    }

    #[test]
    fn mistakes_are_explained() {
        for (keys, part) in [
            ("out_indices=(5,)", "has maps 0 to 4"),
            ("output_stride=64", "must be 8, 16 or 32"),
            ("w0=20", "multiple of 8"),
            ("wm=1.0", "makes no widths"),
            ("wm=9.0", "stages, must be 4"),
            ("wa=-1.0", "makes no widths"),
            ("bottle_ratio=0.0", "makes no widths"),
            ("bottle_ratio=1e4", "channels"),
            ("downsample='max'", "must be 'conv1x1', 'avg' or ''"),
            ("norm_layer='BN'", "norm_layer"),
        ] {
            let text = format!(
                "dict(type='mmpretrain.TIMMBackbone', model_name='regnety_002', features_only=True, {keys})"
            );
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
