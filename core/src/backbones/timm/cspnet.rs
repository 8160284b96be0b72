//! timm's CspNet (Wang et al. 2019, arXiv 1911.11929): CSPResNet, CSPResNeXt, CSPDarknet, Darknet (Redmon and Farhadi 2018, arXiv 1804.02767), and
//! `cs3`, whose blocks no convolution follows. See [`crate::backbones::cross_stage`].
//!
//! With `features_only` the outputs are the last map of each resolution; without, the map of the last stage.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON, activation};
use crate::backbones::cross_stage::{
    BlockConfig, BlockKind, CrossStage, CrossStageConfig, DownConfig, Names, SplitConfig,
};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{
    ConvConfig, ConvNormAct, ConvStyle, Dropout, Init, InitRule, NormConfig, Params, make_divisible,
};
use crate::ops::pool::max_pool2d;

/// The keys of timm's CspNet.
#[derive(Debug, Deserialize)]
struct Keys {
    act_layer: Option<String>,
    zero_init_last: Option<bool>,
}

/// What the blocks of a stage pass by.
#[derive(Clone, Copy, PartialEq)]
enum StageKind {
    /// A half of the channels, a convolution after them.
    Csp,
    /// A half of the channels.
    Cs3,
    /// Nothing.
    Dark,
}

/// A model in figures. What is said of all stages but of the first in another way is a pair.
#[derive(Clone)]
struct Arch {
    /// Channels of the stem's convolutions, the side of their filters, its stride, and whether a pooling ends it.
    stem: (Vec<usize>, usize, usize, bool),
    depths: Vec<usize>,
    channels: Vec<usize>,
    /// Of the first stage; the others have 2.
    first_stride: usize,
    groups: [usize; 4],
    stage: StageKind,
    block: BlockKind,
    /// Channels of the blocks, inside of them, and of both halves, each as a share of those of the stage.
    block_ratio: [f64; 2],
    bottle_ratio: [f64; 2],
    expand_ratio: [f64; 2],
    /// Whether the convolution of stride 2 has the channels of the stage.
    down_growth: bool,
    /// Whether it is a pooling and a convolution of 1x1.
    avg_down: bool,
    /// Whether no activation comes before the split.
    cross_linear: bool,
    /// Channels inside of squeeze-and-excite as a share of those before it.
    squeeze: Option<f64>,
    act: &'static str,
}

/// Of timm's squeeze-and-excite.
const SQUEEZE: f64 = 1.0 / 16.0;
/// What the channels inside of it are a multiple of.
const SQUEEZE_DIVISOR: usize = 8;

const NAMES: [&str; 23] = [
    "cspresnet50",
    "cspresnet50d",
    "cspresnet50w",
    "cspresnext50",
    "cspdarknet53",
    "darknet17",
    "darknet21",
    "sedarknet21",
    "darknet53",
    "darknetaa53",
    "cs3darknet_s",
    "cs3darknet_m",
    "cs3darknet_l",
    "cs3darknet_x",
    "cs3darknet_focus_s",
    "cs3darknet_focus_m",
    "cs3darknet_focus_l",
    "cs3darknet_focus_x",
    "cs3sedarknet_l",
    "cs3sedarknet_x",
    "cs3sedarknet_xdw",
    "cs3edgenet_x",
    "cs3se_edgenet_x",
];

/// All names.
pub(super) fn names() -> Vec<String> {
    NAMES.map(String::from).to_vec()
}

impl Arch {
    /// ResNet's blocks behind its stem.
    fn resnet(stem: Vec<usize>, channels: usize) -> Self {
        let kernel = if stem.len() == 1 { 7 } else { 3 };
        Self {
            stem: (stem, kernel, 4, true),
            depths: vec![3, 3, 5, 2],
            channels: (0..4).map(|i| channels << i).collect(),
            first_stride: 1,
            groups: [1; 4],
            stage: StageKind::Csp,
            block: BlockKind::Bottle,
            block_ratio: [1.0; 2],
            bottle_ratio: [0.5; 2],
            expand_ratio: [2.0; 2],
            down_growth: false,
            avg_down: false,
            cross_linear: true,
            squeeze: None,
            act: "leaky_relu",
        }
    }

    fn darknet(depths: [usize; 5]) -> Self {
        Self {
            stem: (vec![32], 3, 1, false),
            depths: depths.to_vec(),
            channels: (0..5).map(|i| 64 << i).collect(),
            first_stride: 2,
            stage: StageKind::Dark,
            block: BlockKind::Dark,
            cross_linear: false,
            ..Self::resnet(vec![64], 0)
        }
    }

    fn cs3(width: f64, depth: f64, focus: bool) -> Self {
        let wide = |channels: usize| make_divisible(channels as f64 * width, 8);
        Self {
            stem: if focus {
                (vec![wide(64)], 6, 2, false)
            } else {
                (vec![wide(32), wide(64)], 3, 2, false)
            },
            depths: [3, 6, 9, 3]
                .map(|d| (f64::from(d) * depth) as usize)
                .to_vec(),
            channels: [128, 256, 512, 1024].map(wide).to_vec(),
            stage: StageKind::Cs3,
            block_ratio: [0.5; 2],
            bottle_ratio: [1.0; 2],
            expand_ratio: [1.0; 2],
            act: "silu",
            ..Self::darknet([1; 5])
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "cspresnet50" => Self::resnet(vec![64], 128),
            "cspresnet50d" => Self::resnet(vec![32, 32, 64], 128),
            "cspresnet50w" => Self {
                block_ratio: [0.5; 2],
                bottle_ratio: [0.25; 2],
                expand_ratio: [1.0; 2],
                ..Self::resnet(vec![32, 32, 64], 256)
            },
            "cspresnext50" => Self {
                groups: [32; 4],
                block_ratio: [0.5; 2],
                bottle_ratio: [1.0; 2],
                expand_ratio: [1.0; 2],
                ..Self::resnet(vec![64], 256)
            },
            "cspdarknet53" => Self {
                stage: StageKind::Csp,
                block_ratio: [1.0, 0.5],
                bottle_ratio: [0.5, 1.0],
                expand_ratio: [2.0, 1.0],
                down_growth: true,
                ..Self::darknet([1, 2, 8, 8, 4])
            },
            "darknet17" => Self::darknet([1; 5]),
            "darknet21" => Self::darknet([1, 1, 1, 2, 2]),
            "sedarknet21" => Self {
                squeeze: Some(SQUEEZE),
                ..Self::darknet([1, 1, 1, 2, 2])
            },
            "darknet53" => Self::darknet([1, 2, 8, 8, 4]),
            "darknetaa53" => Self {
                avg_down: true,
                ..Self::darknet([1, 2, 8, 8, 4])
            },
            "cs3sedarknet_xdw" => Self {
                depths: vec![3, 6, 12, 4],
                channels: vec![256, 512, 1024, 2048],
                groups: [1, 1, 256, 512],
                stage: StageKind::Csp,
                block: BlockKind::Bottle,
                bottle_ratio: [0.5; 2],
                squeeze: Some(SQUEEZE),
                ..Self::cs3(1.0, 1.0, false)
            },
            _ => Self::cs3_named(name),
        }
    }

    fn cs3_named(name: &str) -> Self {
        let (width, depth) = match name.rsplit('_').next() {
            Some("s") => (0.5, 0.5),
            Some("m") => (0.75, 0.67),
            Some("x") => (1.25, 1.33),
            _ => (1.0, 1.0),
        };
        let mut arch = Self::cs3(width, depth, name.contains("focus"));
        if name.contains("edgenet") {
            arch.block = BlockKind::Edge;
            arch.bottle_ratio = [1.5; 2];
        }
        arch.squeeze = match name {
            "cs3sedarknet_l" | "cs3se_edgenet_x" => Some(0.25),
            "cs3sedarknet_x" => Some(SQUEEZE),
            _ => None,
        };
        arch
    }

    fn strides(&self) -> Vec<usize> {
        let stride = |i| if i == 0 { self.first_stride } else { 2 };
        (0..self.depths.len()).map(stride).collect()
    }

    /// The stem's convolutions, their names, and what comes out of each; the pooling's output is last.
    fn stem(&self, channels_in: usize) -> (Vec<ConvConfig>, Vec<Feature>) {
        let (widths, kernel, whole, pool) = &self.stem;
        let (mut channels, mut stride) = (channels_in, 1);
        let (mut convs, mut features) = (Vec::new(), Vec::new());
        for (i, &width) in widths.iter().enumerate() {
            let own = if i == 0 && *whole > 1 { 2 } else { 1 };
            // 6x6 has an output of half the size.
            let padding = (own - 1 + kernel - 1) / 2 - usize::from(kernel % 2 == 0);
            let conv = ConvConfig::new(channels, width, *kernel);
            convs.push(conv.stride(own).pad(padding));
            (channels, stride) = (width, stride * own);
            features.push(Feature { channels, stride });
        }
        if *pool {
            let stride = 2 * stride;
            features.push(Feature { channels, stride });
        }
        (convs, features)
    }

    /// The stages, from a stem's output on. Past `output_stride` they do not stride; what follows is dilated instead.
    fn stages(
        &self,
        stem: Feature,
        output_stride: usize,
        drop_path_rate: f64,
    ) -> (Vec<CrossStageConfig>, Vec<Feature>) {
        let Feature {
            mut channels,
            mut stride,
        } = stem;
        let all: usize = self.depths.iter().sum();
        let rate = |block: usize| drop_path_rate * block as f64 / (all.max(2) - 1) as f64;
        let (mut dilation, mut blocks) = (1, 0);
        let (mut stages, mut features) = (Vec::new(), Vec::new());
        for (i, mut own) in self.strides().into_iter().enumerate() {
            if stride >= output_stride && own > 1 {
                dilation *= own;
                own = 1;
            }
            stride *= own;
            let first_dilation = if dilation <= 2 { 1 } else { 2 };
            let out = self.channels[i];
            let share = |ratio: [f64; 2], of: usize| {
                (of as f64 * ratio[usize::from(i > 0)]).round_ties_even() as usize
            };
            let dark = self.stage == StageKind::Dark;
            let groups = self.groups[i.min(3)];
            let grown = self.down_growth || self.avg_down || dark;
            let down = DownConfig {
                channels: if grown { out } else { channels },
                stride: own,
                dilation: first_dilation,
                groups,
                pooled: self.avg_down,
            };
            let block_channels = share(self.block_ratio, out);
            let inside = share(self.bottle_ratio, block_channels);
            let block = |j| BlockConfig {
                kind: self.block,
                channels: block_channels,
                channels_inside: inside,
                groups,
                dilation,
                squeezed: self.squeeze.map(|share| squeezed(inside, share)),
                drop_path_rate: rate(blocks + j),
                zero_residual: true,
            };
            stages.push(CrossStageConfig {
                channels_in: channels,
                down: (dark || own != 1 || first_dilation != dilation).then_some(down),
                split: (!dark).then(|| SplitConfig {
                    channels: share(self.expand_ratio, out),
                    linear: self.cross_linear,
                    first: self.stage == StageKind::Cs3,
                }),
                blocks: (0..self.depths[i]).map(block).collect(),
                channels_out: out,
            });
            blocks += self.depths[i];
            channels = out;
            features.push(Feature { channels, stride });
        }
        (stages, features)
    }
}

/// The multiple of [`SQUEEZE_DIVISOR`] nearest to a share of the channels.
fn squeezed(channels: usize, share: f64) -> usize {
    let half = SQUEEZE_DIVISOR as f64 / 2.0;
    let rounded = (channels as f64 * share + half) as usize / SQUEEZE_DIVISOR;
    rounded.max(1) * SQUEEZE_DIVISOR
}

/// Where a map comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A convolution of the stem.
    Stem(usize),
    Stage(usize),
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let arch = Arch::named(&asked.name);
    let act_name = keys.act_layer.as_deref().unwrap_or(arch.act);
    let Some(act) = activation(act_name) else {
        let message = format!("timm has no activation '{act_name}'");
        return Err(error_at(asked.node, "act_layer", message, ""));
    };
    if ![8, 16, 32].contains(&asked.output_stride) {
        let message = format!("`output_stride` is {}", asked.output_stride);
        let help = "8, 16, 32 are possible";
        return Err(error_at(asked.node, "output_stride", message, help));
    }
    let style = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(act),
        ..ConvStyle::default()
    };
    let (stem, stem_features) = arch.stem(asked.channels_in);
    let from = stem_features[stem_features.len() - 1];
    let (mut stages, stage_features) = arch.stages(from, asked.output_stride, asked.drop_path_rate);
    if keys.zero_init_last == Some(false) {
        let blocks = stages.iter_mut().flat_map(|stage| &mut stage.blocks);
        blocks.for_each(|block| block.zero_residual = false);
    }
    let levels = levels(&arch, &stem_features, &stage_features);
    let (outputs, features): (Vec<_>, Vec<_>) = if asked.features_only {
        let maps: Vec<_> = levels.iter().map(|level| level.1).collect();
        // Of those with six levels timm gives all, but five by this name.
        let five = [0, 1, 2, 3, 4];
        let default = (asked.name == "sedarknet21").then_some(&five[..]);
        let wanted = asked.wanted_or(&maps, default)?;
        wanted.into_iter().map(|i| levels[i]).unzip()
    } else {
        let last = levels.len() - 1;
        (vec![levels[last].0], vec![levels[last].1])
    };
    let dropout = match asked.features_only {
        true => None,
        false => asked.head_dropout()?,
    };

    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Conv2d"], Init::KAIMING));
    let last = outputs.iter().copied().max().unwrap_or(Place::Stem(0));
    let flat = asked.features_only;
    let conv = |(i, conv): (usize, ConvConfig)| {
        let at = place(params, flat, "stem", format!("conv{}", i + 1));
        Names::Timm.module(&style, conv, &at)
    };
    let reached = stem.into_iter().enumerate();
    let reached = reached.take_while(|(i, _)| Place::Stem(*i) <= last);
    let stem = reached.map(conv).collect();
    let stage = |(i, stage): (usize, &CrossStageConfig)| {
        let at = place(params, flat, "stages", i.to_string());
        stage.init(&style, &style, Names::Timm, &at)
    };
    let reached = stages.iter().enumerate();
    let reached = reached.take_while(|(i, _)| Place::Stage(*i) <= last);
    let stages = reached.map(stage).collect();
    params.built();
    Ok(Box::new(TimmCspNet {
        stem,
        pool: arch.stem.3,
        stages,
        outputs,
        features,
        dropout,
        channels_in: asked.channels_in,
    }))
}

/// A module of a sequence, which timm takes out of it to give features.
fn place(params: &Params, flat: bool, sequence: &str, name: String) -> Params {
    if !flat {
        return params.at(sequence).at(name);
    }
    let at = params.at(format!("{sequence}_{name}"));
    at.once_called(&format!("{sequence}.{name}"));
    at
}

/// The last map of each resolution: what comes before a stride.
fn levels(arch: &Arch, stem: &[Feature], stages: &[Feature]) -> Vec<(Place, Feature)> {
    let last = stem.len() - 1;
    // What a pooling gives no stride follows.
    let (mut levels, mut before) = match arch.stem.3 {
        true => (vec![(Place::Stem(last - 1), stem[last - 1])], None),
        false => (Vec::new(), Some((Place::Stem(last), stem[last]))),
    };
    for (i, stride) in arch.strides().into_iter().enumerate() {
        levels.extend(before.filter(|_| stride > 1));
        before = Some((Place::Stage(i), stages[i]));
    }
    levels.extend(before);
    levels
}

/// CspNet from timm.
#[derive(Debug)]
pub struct TimmCspNet {
    stem: Vec<ConvNormAct>,
    /// Whether a pooling ends the stem.
    pool: bool,
    stages: Vec<CrossStage>,
    outputs: Vec<Place>,
    features: Vec<Feature>,
    dropout: Option<Dropout>,
    channels_in: usize,
}

impl Backbone for TimmCspNet {
    fn forward(&self, mut x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut outputs = Vec::new();
        let mut put = |place: Place, x: &Tensor<4>| {
            if self.outputs.contains(&place) {
                outputs.push(x.clone());
            }
        };
        for (i, conv) in self.stem.iter().enumerate() {
            x = conv.forward(x);
            put(Place::Stem(i), &x);
        }
        if self.pool && !self.stages.is_empty() {
            x = max_pool2d(x, 3, 2, 1);
        }
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.forward(x);
            put(Place::Stage(i), &x);
        }
        match &self.dropout {
            Some(dropout) => outputs.into_iter().map(|x| dropout.forward(x)).collect(),
            None => outputs,
        }
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}
