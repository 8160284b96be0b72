//! Detectron2's backbones: ResNet (He et al. 2016, arXiv 1512.03385), ResNeXt, and the feature pyramid on top (Lin et al. 2017, arXiv
//! 1612.03144), with the names that Detectron2 gives tensors and maps.
//!
//! Shapes: `res2`..`res5` are `[N, RES2_OUT_CHANNELS * 2^i, H / 4 / 2^i, W / 4 / 2^i]`, `p2`..`p7` `[N, OUT_CHANNELS, H / 2^level, W / 2^level]`.

use burn::tensor::{Tensor, activation};

use super::settings::{self, Fpn, ResNets};
use crate::backbones::Feature;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvNormAct, Init, InitRule, NormConfig, Params,
};
use crate::layers::{Distribution, Fan};
use crate::limits::Channels;
use crate::ops::pool::max_pool2d;
use crate::ops::resize::enlarge;

/// Channels of a layer.
const MOST_WIDTH: usize = 1 << 16;

/// How fvcore's `c2_msra_fill` begins.
pub(super) fn msra() -> InitRule {
    InitRule::all(Init::KAIMING, 0.0)
}

/// How fvcore's `c2_xavier_fill` begins.
pub(super) fn xavier() -> InitRule {
    let init = Init::Kaiming {
        gain: 1.0,
        fan: Fan::In,
        distribution: Distribution::Uniform,
    };
    InitRule::all(init, 0.0)
}

/// What a `NORM` means for layers of so many channels; None where it is empty.
pub(super) fn norm(
    group: &Node,
    name: &str,
    channels: &[usize],
) -> Result<Option<NormConfig>, Diagnostics> {
    let config = match name {
        "" => return Ok(None),
        "BN" | "SyncBN" | "nnSyncBN" | "naiveSyncBN" | "naiveSyncBN_N" => NormConfig::batch(1e-5),
        "FrozenBN" => NormConfig {
            kind: FROZEN.into(),
            ..NormConfig::batch(1e-5)
        },
        "GN" => NormConfig::group(32),
        "LN" => NormConfig::layer(1e-6),
        other => {
            let message = format!("there is no norm '{other}'");
            let help = "known are '', 'BN', 'SyncBN', 'FrozenBN', 'GN', 'LN'";
            return Err(error_at(group, "NORM", message, help));
        }
    };
    match config.check(channels) {
        Ok(()) => Ok(Some(config)),
        Err(message) => Err(error_at(group, "NORM", message, "")),
    }
}

/// A convolution with its norm below it, as Detectron2's `Conv2d` has it.
pub(super) fn conv(config: ConvConfig, norm: Option<&NormConfig>, at: &Params) -> ConvNormAct {
    let below = at.at("norm");
    let layer = config.init(at, norm.map(|norm| (norm, &below)));
    if norm.is_some_and(|norm| norm.kind == FROZEN && norm.track_running_stats == Some(true)) {
        below.counter("num_batches_tracked");
    }
    layer
}

/// A batch norm that never learns.
const FROZEN: &str = "FrozenBN";

/// A backbone, and the names of its maps, fine ones first.
#[derive(Debug)]
pub struct Backbone {
    pyramid: Option<Pyramid>,
    bottom_up: ResNet,
    /// Names of the maps.
    pub names: Vec<String>,
    /// What they are.
    pub features: Vec<Feature>,
    /// Height and width of what comes in must be multiples of this.
    pub divisor: usize,
}

impl Backbone {
    /// Reads `MODEL.BACKBONE` and what it is made of.
    pub fn read(whole: &Node, at: &Params) -> Result<Self, Diagnostics> {
        let backbone: settings::Backbone = settings::at(whole, "MODEL.BACKBONE")?;
        let top = match backbone.name.as_str() {
            "build_resnet_backbone" => None,
            "build_resnet_fpn_backbone" => Some(false),
            "build_retinanet_resnet_fpn_backbone" => Some(true),
            other => {
                let group = whole.at("MODEL.BACKBONE").unwrap_or(whole);
                let message = format!("the backbone `{other}` is not supported");
                let known = "known are build_resnet_backbone, build_resnet_fpn_backbone, build_retinanet_resnet_fpn_backbone";
                return Err(unsupported(group, "NAME", message, known));
            }
        };
        let Some(retina) = top else {
            let plan = Plan::read(whole, backbone.freeze_at)?;
            let (names, features) = plan.outputs();
            return Ok(Self {
                pyramid: None,
                bottom_up: ResNet::new(&plan, at),
                names,
                features,
                divisor: 1,
            });
        };
        let plan = Plan::read(whole, backbone.freeze_at)?;
        let pyramid = Pyramid::read(whole, &plan, retina, at)?;
        let bottom_up = ResNet::new(&plan, &at.at("bottom_up"));
        let (names, features) = pyramid.outputs();
        Ok(Self {
            divisor: pyramid.coarsest,
            pyramid: Some(pyramid),
            bottom_up,
            names,
            features,
        })
    }

    /// # Shapes
    /// - input `[N, 3, H, W]`, outputs as [`Backbone::features`] say
    pub fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let maps = self.bottom_up.forward(x);
        match &self.pyramid {
            Some(pyramid) => pyramid.forward(&maps),
            None => {
                let kept = maps.into_iter().zip(&self.bottom_up.stages);
                let kept = kept.filter(|(_, stage)| self.names.contains(&stage.name));
                kept.map(|(map, _)| map).collect()
            }
        }
    }

    /// Which of the maps these names mean, and what they are.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn select(
        &self,
        group: &Node,
        names: &[String],
    ) -> Result<(Vec<usize>, Vec<Feature>), Diagnostics> {
        let mut places = Vec::new();
        for name in names {
            match self.names.iter().position(|n| n == name) {
                Some(place) => places.push(place),
                None => {
                    let message = format!("the backbone gives no `{name}`");
                    let help = format!("it gives {}", self.names.join(", "));
                    return Err(error_at(group, "IN_FEATURES", message, &help));
                }
            }
        }
        if places.is_empty() {
            let message = "`IN_FEATURES` is empty";
            return Err(error_at(group, "IN_FEATURES", message, ""));
        }
        let features: Vec<Feature> = places.iter().map(|i| self.features[*i]).collect();
        if features.iter().any(|f| f.channels != features[0].channels) {
            let message = "these maps have not as many channels as each other";
            return Err(error_at(group, "IN_FEATURES", message, ""));
        }
        Ok((places, features))
    }
}

/// What a ResNet is to be.
#[derive(Debug)]
pub struct Plan {
    blocks: [usize; 4],
    basic: bool,
    config: ResNets,
    norm: Option<NormConfig>,
    freeze_at: i64,
    stages: usize,
}

impl Plan {
    /// Reads `MODEL.RESNETS`.
    pub fn read(whole: &Node, freeze_at: i64) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.RESNETS").unwrap_or(whole);
        let config: ResNets = settings::at(whole, "MODEL.RESNETS")?;
        let fail = |key, message: &str, help: &str| Err(error_at(group, key, message, help));
        let blocks = match config.depth {
            18 => [2, 2, 2, 2],
            34 | 50 => [3, 4, 6, 3],
            101 => [3, 4, 23, 3],
            152 => [3, 8, 36, 3],
            other => {
                let message = format!("there is no ResNet of depth {other}");
                let help = "known are 18, 34, 50, 101, 152";
                return Err(error_at(group, "DEPTH", message, help));
            }
        };
        let basic = config.depth < 50;
        let deformable = config.deform_on_per_stage.iter();
        let deformable: Vec<usize> = deformable
            .enumerate()
            .filter_map(|(i, on)| on.then_some(i))
            .collect();
        if config.deform_on_per_stage.len() < STAGES.len() {
            let message = "there is one entry for each of 4 stages";
            return fail("DEFORM_ON_PER_STAGE", message, "");
        }
        let (stem, out) = (
            config.stem_out_channels.get(),
            config.res2_out_channels.get(),
        );
        let inner = config.num_groups.get() * config.width_per_group.get();
        let sets = config.deform_num_groups.get();
        let uneven = |stage: &&usize| !(inner << **stage).is_multiple_of(sets);
        if let Some(stage) = deformable.iter().filter(|i| **i < 4).find(uneven) {
            let message = format!("{sets} sets of offsets for {} channels", inner << stage);
            return fail("DEFORM_NUM_GROUPS", &message, "write a divisor of them");
        }
        if basic {
            if !deformable.is_empty() {
                let message = "ResNet 18 and 34 have no deformable convolutions";
                return fail("DEFORM_ON_PER_STAGE", message, "");
            }
            if out != 64 {
                return fail(
                    "RES2_OUT_CHANNELS",
                    "ResNet 18 and 34 have 64 here",
                    "write 64",
                );
            }
            if config.num_groups.get() != 1 || config.res5_dilation.get() != 1 {
                let message = "ResNet 18 and 34 have no groups and no dilation";
                return fail(
                    "NUM_GROUPS",
                    message,
                    "write NUM_GROUPS 1 and RES5_DILATION 1",
                );
            }
        }
        if out * 8 > MOST_WIDTH || inner * 8 > MOST_WIDTH {
            return fail(
                "RES2_OUT_CHANNELS",
                "more channels than a convolution takes",
                "",
            );
        }
        let mut widths = vec![stem];
        for i in 0..4 {
            widths.extend([out << i, inner << i]);
        }
        let norm = norm(group, &config.norm, &widths)?;
        let mut stages = 0;
        for name in config.out_features.iter() {
            match STAGES.iter().position(|stage| stage == name) {
                Some(i) => stages = stages.max(i + 1),
                None => {
                    let message = format!("a ResNet has no `{name}` to give");
                    let help = "known are res2, res3, res4, res5";
                    return Err(error_at(group, "OUT_FEATURES", message, help));
                }
            }
        }
        if stages == 0 {
            return fail(
                "OUT_FEATURES",
                "`OUT_FEATURES` is empty",
                "for example ['res4']",
            );
        }
        Ok(Self {
            blocks,
            basic,
            config,
            norm,
            freeze_at,
            stages,
        })
    }

    /// Names and kinds of the maps that `OUT_FEATURES` wants, fine ones first.
    fn outputs(&self) -> (Vec<String>, Vec<Feature>) {
        let wanted = |i: &usize| self.config.out_features.iter().any(|n| n == STAGES[*i]);
        let stages: Vec<usize> = (0..self.stages).filter(wanted).collect();
        let names = stages.iter().map(|i| STAGES[*i].to_string()).collect();
        (names, stages.iter().map(|i| self.feature(*i)).collect())
    }

    fn feature(&self, stage: usize) -> Feature {
        let halved = stage.min(if self.dilated(stage) { 2 } else { 3 });
        Feature {
            channels: self.config.res2_out_channels.get() << stage,
            stride: 4 << halved,
        }
    }

    fn dilated(&self, stage: usize) -> bool {
        stage == 3 && self.config.res5_dilation.get() == 2
    }

    fn norm_of(&self, frozen: bool) -> Option<NormConfig> {
        let norm = self.norm.clone()?;
        // What is frozen has no batch statistics either.
        match frozen && norm.abbreviation() == "bn" {
            true if norm.kind != FROZEN => Some(NormConfig {
                kind: FROZEN.into(),
                // It keeps the number of batches that it was.
                track_running_stats: Some(true),
                ..norm
            }),
            true => Some(norm),
            false => Some(norm),
        }
    }

    /// The blocks of a stage, `from` channels before it.
    fn stage(&self, stage: usize, from: usize, frozen: bool, at: &Params) -> Vec<Block> {
        let dilation = if self.dilated(stage) { 2 } else { 1 };
        let stride = if stage == 0 || dilation == 2 { 1 } else { 2 };
        let blocks = self.blocks[stage];
        self.blocks_of(stage, blocks, from, [stride, dilation], frozen, at)
    }

    fn blocks_of(
        &self,
        stage: usize,
        blocks: usize,
        from: usize,
        [stride, dilation]: [usize; 2],
        frozen: bool,
        at: &Params,
    ) -> Vec<Block> {
        let norm = self.norm_of(frozen);
        let to = self.config.res2_out_channels.get() << stage;
        let groups = self.config.num_groups.get();
        let inner = (groups * self.config.width_per_group.get()) << stage;
        let on = self.config.deform_on_per_stage.get(stage);
        let deformable = on.is_some_and(|on| *on).then(|| ConvKind::Deformable {
            modulated: self.config.deform_modulated,
            sets: self.config.deform_num_groups.get(),
        });
        let block = |i: usize| {
            let at = at.at(i);
            let unmoved = InitRule::all(Init::Constant(0.0), 0.0);
            at.at("conv2_offset").initialise(unmoved);
            let (from, stride) = if i == 0 { (from, stride) } else { (to, 1) };
            let relu = Some(Activation::Relu);
            let layer = |name: &str, config: ConvConfig| conv(config, norm.as_ref(), &at.at(name));
            let shortcut = ConvConfig::new(from, to, 1).stride(stride);
            let shortcut = (from != to).then(|| layer("shortcut", shortcut.bias(false)));
            let configs = if self.basic {
                let first = ConvConfig::new(from, to, 3).stride(stride).pad(1);
                vec![first, ConvConfig::new(to, to, 3).pad(1)]
            } else {
                let [first, second] = match self.config.stride_in_1x1 {
                    true => [stride, 1],
                    false => [1, stride],
                };
                let middle = ConvConfig::new(inner, inner, 3)
                    .stride(second)
                    .pad(dilation)
                    .dilation(dilation)
                    .groups(groups);
                let middle = match deformable {
                    Some(kind) => middle.kind(kind).offsets_beside(),
                    None => middle,
                };
                vec![
                    ConvConfig::new(from, inner, 1).stride(first),
                    middle,
                    ConvConfig::new(inner, to, 1),
                ]
            };
            let convs = configs.into_iter().enumerate();
            let convs = convs
                .map(|(i, config)| layer(&format!("conv{}", i + 1), config.bias(false).act(relu)));
            let convs = convs.collect();
            if deformable.is_some() {
                at.listed_in_order(["shortcut", "conv1", "conv2_offset", "conv2", "conv3"]);
            }
            Block { shortcut, convs }
        };
        at.initialise(msra());
        let blocks = (0..blocks).map(block).collect();
        if frozen {
            at.require_grad(false);
        }
        blocks
    }

    /// The stage that C4 models have in their second stage.
    pub fn res5_head(&self, at: &Params) -> Vec<Block> {
        self.blocks_of(3, 3, self.res5_width() / 2, [2, 1], false, at)
    }

    /// Whether deformable convolutions are wanted there.
    pub fn res5_deforms(&self) -> bool {
        self.config.deform_on_per_stage.iter().last() == Some(&true)
    }

    /// Channels that it gives.
    pub fn res5_width(&self) -> usize {
        self.config.res2_out_channels.get() * 8
    }
}

/// Names of the stages.
const STAGES: [&str; 4] = ["res2", "res3", "res4", "res5"];

/// A ResNet.
#[derive(Debug)]
struct ResNet {
    stem: ConvNormAct,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    blocks: Vec<Block>,
}

/// A residual block.
#[derive(Debug)]
pub struct Block {
    shortcut: Option<ConvNormAct>,
    convs: Vec<ConvNormAct>,
}

impl Block {
    /// # Shapes
    /// - input `[N, C, H, W]`, output `[N, C_out, H / stride, W / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x.clone()),
            None => x.clone(),
        };
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let x = before.iter().fold(x, |x, conv| conv.forward(x));
        last.forward_onto(x, shortcut)
    }
}

impl ResNet {
    fn new(plan: &Plan, at: &Params) -> Self {
        let width = plan.config.stem_out_channels.get();
        let stem_at = at.at("stem");
        stem_at.initialise(msra());
        let stem = ConvConfig::new(3, width, 7).stride(2).pad(3).bias(false);
        let stem = stem.act(Some(Activation::Relu));
        let norm = plan.norm_of(plan.freeze_at >= 1);
        let stem = conv(stem, norm.as_ref(), &stem_at.at("conv1"));
        if plan.freeze_at >= 1 {
            stem_at.require_grad(false);
        }
        let mut from = width;
        let stages = (0..plan.stages).map(|i| {
            let frozen = plan.freeze_at >= i as i64 + 2;
            let blocks = plan.stage(i, from, frozen, &at.at(STAGES[i]));
            from = plan.feature(i).channels;
            Stage {
                name: STAGES[i].to_string(),
                blocks,
            }
        });
        Self {
            stem,
            stages: stages.collect(),
        }
    }

    /// The maps of all stages.
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = max_pool2d(self.stem.forward(x), 3, 2, 1);
        let mut maps = Vec::new();
        for stage in &self.stages {
            x = stage.blocks.iter().fold(x, |x, block| block.forward(x));
            maps.push(x.clone());
        }
        maps
    }
}

/// A feature pyramid.
#[derive(Debug)]
struct Pyramid {
    /// Stages of the ResNet that it reads, its lateral and output convolutions.
    levels: Vec<(usize, ConvNormAct, ConvNormAct)>,
    /// `p6` and `p7` of RetinaNet, from `res5`; else `p6` is every second place of `p5`.
    top: Option<[ConvNormAct; 2]>,
    average: bool,
    channels: usize,
    /// The stride of the coarsest map that comes in.
    coarsest: usize,
    finest: usize,
}

impl Pyramid {
    fn read(whole: &Node, plan: &Plan, retina: bool, at: &Params) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.FPN").unwrap_or(whole);
        let config: Fpn = settings::at(whole, "MODEL.FPN")?;
        let fail = |key, message: &str, help: &str| Err(error_at(group, key, message, help));
        let (names, _) = plan.outputs();
        let mut stages = Vec::new();
        for name in config.in_features.iter() {
            if !names.contains(name) {
                let message = format!("the ResNet gives no `{name}`");
                let help = format!("its OUT_FEATURES are {}", names.join(", "));
                return Err(error_at(group, "IN_FEATURES", message, &help));
            }
            stages.extend(STAGES.iter().position(|stage| stage == name));
        }
        let strides: Vec<usize> = stages.iter().map(|i| plan.feature(*i).stride).collect();
        if strides.is_empty() || strides.windows(2).any(|two| two[1] != two[0] * 2) {
            let message = format!("a pyramid has strides that double, these are {strides:?}");
            return fail("IN_FEATURES", &message, "");
        }
        let last = *stages.last().expect("there is one");
        if retina && !names.iter().any(|n| n == "res5") {
            return fail(
                "IN_FEATURES",
                "`p6` is made of `res5`, which there is not",
                "",
            );
        }
        if !retina && strides.last() != Some(&32) {
            return fail(
                "IN_FEATURES",
                "`p6` is made of `p5`, which there is not",
                "",
            );
        }
        if retina && last != 3 {
            return fail(
                "IN_FEATURES",
                "`p6` comes after `p5`, which there is not",
                "",
            );
        }
        let average = match config.fuse_type.as_str() {
            "sum" => false,
            "avg" => true,
            _ => return fail("FUSE_TYPE", "`FUSE_TYPE` is 'sum' or 'avg'", ""),
        };
        let channels = Channels::get(config.out_channels);
        let norm = norm(group, &config.norm, &[channels])?;
        let bias = norm.is_none();
        at.initialise(xavier());
        let levels = stages.iter().zip(&strides).map(|(stage, stride)| {
            let level = stride.ilog2();
            let from = plan.feature(*stage).channels;
            let lateral = ConvConfig::new(from, channels, 1).bias(bias);
            let output = ConvConfig::new(channels, channels, 3).pad(1).bias(bias);
            let lateral = conv(
                lateral,
                norm.as_ref(),
                &at.at(format!("fpn_lateral{level}")),
            );
            let output = conv(output, norm.as_ref(), &at.at(format!("fpn_output{level}")));
            (*stage, lateral, output)
        });
        let levels = levels.collect();
        let top = retina.then(|| {
            let at = at.at("top_block");
            let from = plan.feature(3).channels;
            let layer = |name: &str, from| {
                let conv = ConvConfig::new(from, channels, 3).stride(2).pad(1);
                conv.init(&at.at(name), None)
            };
            [layer("p6", from), layer("p7", channels)]
        });
        Ok(Self {
            levels,
            top,
            average,
            channels,
            coarsest: *strides.last().expect("there is one"),
            finest: strides[0],
        })
    }

    fn outputs(&self) -> (Vec<String>, Vec<Feature>) {
        let more = if self.top.is_some() { 2 } else { 1 };
        let first = self.finest.ilog2() as usize;
        let levels = first..first + self.levels.len() + more;
        let names = levels.clone().map(|level| format!("p{level}")).collect();
        let features = levels.map(|level| Feature {
            channels: self.channels,
            stride: 1 << level,
        });
        (names, features.collect())
    }

    fn forward(&self, maps: &[Tensor<4>]) -> Vec<Tensor<4>> {
        let mut results = Vec::new();
        let mut above: Option<Tensor<4>> = None;
        for (stage, lateral, output) in self.levels.iter().rev() {
            let x = lateral.forward(maps[*stage].clone());
            let x = match above {
                None => x,
                Some(above) => {
                    let sum = x + enlarge(above, 2);
                    if self.average { sum / 2.0 } else { sum }
                }
            };
            results.push(output.forward(x.clone()));
            above = Some(x);
        }
        results.reverse();
        match &self.top {
            None => {
                let last = results.last().expect("a pyramid has levels").clone();
                results.push(max_pool2d(last, 1, 2, 0));
            }
            Some([p6, p7]) => {
                let x = p6.forward(maps[3].clone());
                results.push(x.clone());
                results.push(p7.forward(activation::relu(x)));
            }
        }
        results
    }
}
