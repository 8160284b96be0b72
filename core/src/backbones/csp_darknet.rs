//! CSPDarknet, the backbone of YOLOX (Ge et al. 2021, arXiv 2107.08430) and YOLOv5, as MMDetection 3.3.0 builds it: a stem that sorts
//! 2x2 pixels into channels, then stages of a strided convolution and a [`CspLayer`], the last with spatial pyramid pooling
//! (He et al. 2014, arXiv 1406.4729) between them; and CSPNeXt, the backbone of RTMDet (Lyu et al. 2022, arXiv 2212.07784), whose stem is three
//! convolutions and whose layers have other blocks and channel attention. `out_indices` counts the stem as 0.
//!
//! Shapes: output i is `[N, channels_i, H / 2^(i + 1), W / 2^(i + 1)]`. H and W of CSPDarknet's must be even, as the original's.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Short, error_at};
use crate::layers::{
    ConvConfig, ConvNormAct, ConvStyle, CspLayer, CspLayerConfig, Init, InitRule, Params,
};
use crate::limits::{Index, List, Pixels};
use crate::ops::pool::max_pool2d;

/// The keys of `type='CSPDarknet'` and `type='CSPNeXt'`, in the originals' spelling.
#[derive(Debug, Deserialize)]
struct CspDarknetConfig {
    arch: Option<String>,
    deepen_factor: Option<f64>,
    widen_factor: Option<f64>,
    out_indices: Option<List<Index>>,
    use_depthwise: Option<bool>,
    arch_ovewrite: Option<Short<StageRow, MOST_STAGES>>,
    /// Of CSPDarknet.
    spp_kernal_sizes: Option<List<Pixels>>,
    /// Of CSPNeXt.
    spp_kernel_sizes: Option<List<Pixels>>,
    /// Of CSPNeXt: channels of each half of a layer, as a share of its own.
    expand_ratio: Option<f64>,
    /// Of CSPNeXt.
    channel_attention: Option<bool>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

/// Input channels, output channels, blocks, whether they add their input, whether there is pyramid pooling.
type StageRow = (usize, usize, usize, bool, bool);

const P5: [StageRow; 4] = [
    (64, 128, 3, true, false),
    (128, 256, 9, true, false),
    (256, 512, 9, true, false),
    (512, 1024, 3, false, true),
];
const P6: [StageRow; 5] = [
    (64, 128, 3, true, false),
    (128, 256, 9, true, false),
    (256, 512, 9, true, false),
    (512, 768, 3, true, false),
    (768, 1024, 3, false, true),
];

/// Blocks of CSPNeXt's longer stages, which are 9 in the tables above.
const NEXT_BLOCKS: usize = 6;

/// Which of the two registered classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Darknet,
    Next,
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Darknet => "CSPDarknet",
            Self::Next => "CSPNeXt",
        }
    }

    fn spp_key(self) -> &'static str {
        match self {
            Self::Darknet => "spp_kernal_sizes",
            Self::Next => "spp_kernel_sizes",
        }
    }

    /// Keys that the other has.
    fn foreign(self, config: &CspDarknetConfig) -> Option<&'static str> {
        let given = match self {
            Self::Darknet => [
                config.spp_kernel_sizes.as_ref().map(|_| "spp_kernel_sizes"),
                config.expand_ratio.map(|_| "expand_ratio"),
                config.channel_attention.map(|_| "channel_attention"),
            ],
            Self::Next => [
                config.spp_kernal_sizes.as_ref().map(|_| "spp_kernal_sizes"),
                None,
                None,
            ],
        };
        given.into_iter().flatten().next()
    }
}

/// Each layer splits its channels in two halves.
const LEAST_CHANNELS: usize = 2;
/// A wider stage is a slip in a config, and would not fit any device.
const MOST_CHANNELS: usize = 1 << 16;
/// Blocks of a stage.
const MOST_BLOCKS: usize = 128;
/// Each halves the map.
const MOST_STAGES: usize = 16;

/// All layers in numbers that were checked.
struct Plan {
    variant: Variant,
    style: ConvStyle,
    stem_channels: usize,
    /// Of CSPNeXt's first two convolutions.
    half_stem_channels: usize,
    stages: Vec<StagePlan>,
    /// Whether the stem, and how many stages, are frozen: 0 is the stem alone, -1 nothing.
    frozen: i64,
    evaluate: bool,
    out_indices: Vec<usize>,
    features: Vec<Feature>,
}

struct StagePlan {
    channels_in: usize,
    spp_kernels: Option<Vec<usize>>,
    csp: CspLayerConfig,
}

impl CspDarknetConfig {
    fn plan(&self, node: &Node, variant: Variant) -> Result<Plan, Diagnostics> {
        if let Some(key) = variant.foreign(self) {
            let message = format!("the key `{key}` is not known to {}", variant.name());
            let help = match key.starts_with("spp") {
                true => format!("did you mean `{}`?", variant.spp_key()),
                false => "`CSPNeXt` has it".into(),
            };
            return Err(error_at(node, key, message, &help));
        }
        let rows = &self.rows(node, variant)?;
        let out_indices = self.out_indices(node, rows.len())?;
        let frozen = self.frozen(node, rows.len())?;
        let spp_kernels = self.spp_kernels(node, rows, variant)?;
        let widths = self.widths(node, rows, variant)?;
        let inside = self.inside(node, &widths[1..])?;
        let stem = rows[0].0 as f64 * self.widen_factor.unwrap_or(1.0);
        let half_stem_channels = (stem / 2.0) as usize;
        let halves = widths[1..].iter().map(|c| c / 2).chain(inside.clone());
        let all: Vec<_> = widths.iter().copied().chain(halves).collect();
        let style = ConvStyle::read(node, ConvStyle::batch_swish(), &all)?;
        let next = variant == Variant::Next;
        if next && let Some(norm) = &style.norm {
            let checked = norm.check(&[half_stem_channels]);
            checked.map_err(|message| error_at(node, "norm_cfg", message, ""))?;
        }
        let blocks = self.blocks(node, rows, variant)?;
        let stage = |(i, row): (usize, &StageRow)| {
            let &(_, _, _, add_identity, use_spp) = row;
            StagePlan {
                channels_in: widths[i],
                spp_kernels: use_spp.then(|| spp_kernels.clone()),
                csp: CspLayerConfig {
                    channels_inside: inside[i],
                    num_blocks: blocks[i],
                    add_identity,
                    use_depthwise: self.use_depthwise.unwrap_or(false),
                    next,
                    channel_attention: next && self.channel_attention.unwrap_or(true),
                    ..CspLayerConfig::new(widths[i + 1], widths[i + 1])
                },
            }
        };
        let feature = |(i, &channels): (usize, &usize)| {
            let stride = 2 << i;
            out_indices
                .contains(&i)
                .then_some(Feature { channels, stride })
        };
        Ok(Plan {
            variant,
            style,
            stem_channels: widths[0],
            half_stem_channels,
            stages: rows.iter().enumerate().map(stage).collect(),
            frozen,
            evaluate: self.norm_eval.unwrap_or(false),
            features: widths.iter().enumerate().filter_map(feature).collect(),
            out_indices,
        })
    }

    /// The rows of `arch_ovewrite`, if it has any.
    fn own_rows(&self) -> Option<&[StageRow]> {
        self.arch_ovewrite
            .as_deref()
            .filter(|rows| !rows.is_empty())
    }

    fn rows(&self, node: &Node, variant: Variant) -> Result<Vec<StageRow>, Diagnostics> {
        let mut rows = match self.arch.as_deref() {
            None | Some("P5") => P5.to_vec(),
            Some("P6") => P6.to_vec(),
            Some(other) => {
                let message = format!("{} has no arch '{other}'", variant.name());
                return Err(error_at(node, "arch", message, "known are P5, P6"));
            }
        };
        if variant == Variant::Next {
            let long = rows.iter_mut().filter(|row| row.2 == 9);
            long.for_each(|row| row.2 = NEXT_BLOCKS);
        }
        Ok(self.own_rows().map_or(rows, <[StageRow]>::to_vec))
    }

    /// Channels of each half of the layers of so many channels.
    fn inside(&self, node: &Node, widths: &[usize]) -> Result<Vec<usize>, Diagnostics> {
        let share = self.expand_ratio.unwrap_or(0.5);
        let inside = widths.iter().map(|c| (*c as f64 * share) as usize);
        let inside: Vec<_> = inside.collect();
        if let Some(c) = inside.iter().find(|c| !(1..=MOST_CHANNELS).contains(*c)) {
            let message = format!("half a layer would have {c} channels");
            let help = format!("1 to {MOST_CHANNELS} are possible");
            return Err(error_at(node, "expand_ratio", message, &help));
        }
        Ok(inside)
    }

    fn out_indices(&self, node: &Node, stages: usize) -> Result<Vec<usize>, Diagnostics> {
        let indices = self.out_indices.as_ref();
        let indices = indices.map_or_else(|| vec![2, 3, 4], List::numbers);
        if let Some(i) = indices.iter().find(|i| **i > stages) {
            let message =
                format!("`out_indices` names {i}; there are a stem, 0, and {stages} stages");
            return Err(error_at(node, "out_indices", message, ""));
        }
        Ok(indices)
    }

    fn frozen(&self, node: &Node, stages: usize) -> Result<i64, Diagnostics> {
        let frozen = self.frozen_stages.unwrap_or(-1);
        if (-1..=stages as i64).contains(&frozen) {
            return Ok(frozen);
        }
        let message = format!("`frozen_stages` is {frozen}, must be -1 to {stages}");
        Err(error_at(node, "frozen_stages", message, "0 is the stem"))
    }

    fn spp_kernels(
        &self,
        node: &Node,
        rows: &[StageRow],
        variant: Variant,
    ) -> Result<Vec<usize>, Diagnostics> {
        let key = variant.spp_key();
        let kernels = self
            .spp_kernal_sizes
            .as_ref()
            .or(self.spp_kernel_sizes.as_ref());
        let kernels = kernels.map_or_else(|| vec![5, 9, 13], List::numbers);
        if let Some(even) = kernels.iter().find(|k| **k % 2 == 0)
            && rows.iter().any(|row| row.4)
        {
            let message = format!("`{key}` has {even}, must be odd");
            let help = "a window with a middle pixel keeps the map's size";
            return Err(error_at(node, key, message, help));
        }
        Ok(kernels)
    }

    /// The blocks of each stage.
    fn blocks(
        &self,
        node: &Node,
        rows: &[StageRow],
        variant: Variant,
    ) -> Result<Vec<usize>, Diagnostics> {
        let deepen = self.deepen_factor.unwrap_or(1.0);
        // Python rounds halves to even.
        let deepened = |row: &StageRow| (row.2 as f64 * deepen).round_ties_even() as usize;
        let blocks: Vec<_> = rows.iter().map(|row| deepened(row).max(1)).collect();
        if let Some(many) = blocks.iter().find(|n| **n > MOST_BLOCKS) {
            let message = format!("{} would have a stage of {many} blocks", variant.name());
            let help = format!("up to {MOST_BLOCKS} are possible");
            return Err(error_at(node, self.source("deepen_factor"), message, &help));
        }
        Ok(blocks)
    }

    /// The key that a stage's size comes from: `factor` where there are no rows of its own.
    fn source(&self, factor: &'static str) -> &'static str {
        match self.own_rows() {
            Some(_) => "arch_ovewrite",
            None => factor,
        }
    }

    /// The channels after the stem and after each stage.
    fn widths(
        &self,
        node: &Node,
        rows: &[StageRow],
        variant: Variant,
    ) -> Result<Vec<usize>, Diagnostics> {
        let widen = self.widen_factor.unwrap_or(1.0);
        let widened = |channels: usize| (channels as f64 * widen) as usize;
        let mut channels = widened(rows[0].0);
        let mut widths = vec![channels];
        for (i, row) in rows.iter().enumerate() {
            if widened(row.0) != channels {
                let message = format!(
                    "stage {} takes {} channels, but gets {channels}",
                    i + 1,
                    widened(row.0)
                );
                return Err(error_at(node, "arch_ovewrite", message, ""));
            }
            channels = widened(row.1);
            widths.push(channels);
        }
        let possible = LEAST_CHANNELS..=MOST_CHANNELS;
        if let Some(c) = widths.iter().find(|c| !possible.contains(c)) {
            let message = format!("{} would have a layer of {c} channels", variant.name());
            let help = format!("{LEAST_CHANNELS} to {MOST_CHANNELS} are possible");
            return Err(error_at(node, self.source("widen_factor"), message, &help));
        }
        Ok(widths)
    }
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(CspDarknet::read(node, build, Variant::Darknet)?))
}

pub(super) fn build_next(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(CspDarknet::read(node, build, Variant::Next)?))
}

/// CSPDarknet of YOLOX and CSPNeXt of RTMDet, all sizes.
#[derive(Debug)]
pub struct CspDarknet {
    variant: Variant,
    stem: Vec<ConvNormAct>,
    stages: Vec<Stage>,
    out_indices: Vec<usize>,
    features: Vec<Feature>,
}

impl CspDarknet {
    fn read(node: &Node, build: &Build, variant: Variant) -> Result<Self, Diagnostics> {
        let config: CspDarknetConfig =
            node.read_knowing(&["conv_cfg", "norm_cfg", "act_cfg", "init_cfg"])?;
        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::TORCH))
        });
        Ok(Self::new(config.plan(node, variant)?, &build.params))
    }

    fn new(plan: Plan, params: &Params) -> Self {
        let style = &plan.style;
        let stem = stem(&plan, &params.at("stem"));
        let stage = |(i, stage)| {
            let at = params.at(format!("stage{}", i + 1));
            Stage::new(stage, style, &at)
        };
        let stages = plan.stages.iter().enumerate().map(stage).collect();
        // The original's `_freeze_stages`: from 0 on the stem, from 1 on the stages up to that number.
        for i in 0..=plan.frozen {
            match i {
                0 => params.at("stem").freeze(),
                i => params.at(format!("stage{i}")).freeze(),
            }
        }
        if plan.evaluate {
            params.evaluate();
        }
        Self {
            variant: plan.variant,
            stem,
            stages,
            out_indices: plan.out_indices,
            features: plan.features,
        }
    }
}

impl Backbone for CspDarknet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = match self.variant {
            Variant::Darknet => pixels_to_channels(x),
            Variant::Next => x,
        };
        let mut x = self.stem.iter().fold(x, |x, conv| conv.forward(x));
        let mut outputs = Vec::new();
        for i in 0..=self.stages.len() {
            if i > 0 {
                x = self.stages[i - 1].forward(x);
            }
            if self.out_indices.contains(&i) {
                outputs.push(x.clone());
            }
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn size_divisor(&self) -> usize {
        match self.variant {
            Variant::Darknet => 2,
            Variant::Next => 1,
        }
    }
}

/// CSPDarknet's convolution of sorted pixels, or CSPNeXt's three, which `conv_cfg` is not for.
fn stem(plan: &Plan, at: &Params) -> Vec<ConvNormAct> {
    let (out, half) = (plan.stem_channels, plan.half_stem_channels);
    if plan.variant == Variant::Darknet {
        let conv = ConvConfig::new(4 * 3, out, 3).pad(1);
        return vec![plan.style.module(conv, &at.at("conv"))];
    }
    let plain = ConvStyle {
        kind: Default::default(),
        ..plan.style.clone()
    };
    let convs = [(3, half, 2), (half, half, 1), (half, out, 1)];
    let conv = |(i, (from, to, stride)): (usize, (usize, usize, usize))| {
        let conv = ConvConfig::new(from, to, 3).stride(stride).pad(1);
        plain.module(conv, &at.at(i))
    };
    convs.into_iter().enumerate().map(conv).collect()
}

/// The four pixels of each 2x2 square one after another in the channels: left column first, from top to bottom.
///
/// # Shapes
/// - input: `[N, C, H, W]`, H and W even
/// - output: `[N, 4 * C, H / 2, W / 2]`
fn pixels_to_channels(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    assert!(
        h % 2 == 0 && w % 2 == 0,
        "CSPDarknet is given batches of even height and width, not {h} x {w}"
    );
    x.reshape([n, c, h / 2, 2, w / 2, 2])
        .permute([0, 5, 3, 1, 2, 4])
        .reshape([n, 4 * c, h / 2, w / 2])
}

/// Half the size, pooling if it is the last, and a cross-stage partial layer.
#[derive(Debug)]
struct Stage {
    downsample: Vec<ConvNormAct>,
    spp: Option<SppBottleneck>,
    csp: CspLayer,
}

impl Stage {
    fn new(plan: &StagePlan, style: &ConvStyle, at: &Params) -> Self {
        let csp = &plan.csp;
        let channels = csp.channels_in;
        let downsample = style.conv3x3(
            [plan.channels_in, channels],
            2,
            csp.use_depthwise,
            None,
            &at.at(0),
        );
        let spp = plan.spp_kernels.as_deref();
        let spp = spp.map(|kernels| SppBottleneck::new(channels, kernels, style, &at.at(1)));
        let last = 1 + usize::from(spp.is_some());
        Self {
            downsample,
            spp,
            csp: csp.init(style, &at.at(last)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.downsample.iter().fold(x, |x, conv| conv.forward(x));
        let x = match &self.spp {
            Some(spp) => spp.forward(x),
            None => x,
        };
        self.csp.forward(x)
    }
}

/// Spatial pyramid pooling at one size: the map and its maxima over windows of several sizes, one after another in the channels.
#[derive(Debug)]
struct SppBottleneck {
    conv1: ConvNormAct,
    kernels: Vec<usize>,
    conv2: ConvNormAct,
}

impl SppBottleneck {
    fn new(channels: usize, kernels: &[usize], style: &ConvStyle, at: &Params) -> Self {
        let half = channels / 2;
        let pooled = half * (kernels.len() + 1);
        Self {
            conv1: style.module(ConvConfig::new(channels, half, 1), &at.at("conv1")),
            kernels: kernels.to_vec(),
            conv2: style.module(ConvConfig::new(pooled, channels, 1), &at.at("conv2")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward(x);
        let mut maps = vec![x.clone()];
        for &kernel in &self.kernels {
            maps.push(max_pool2d(x.clone(), kernel, 1, kernel / 2));
        }
        self.conv2.forward(Tensor::cat(maps, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, Role, StateEntry};
    use burn::tensor::Device;

    fn made(keys: &str, mode: Mode) -> Result<(Box<dyn Backbone>, Vec<StateEntry>), String> {
        crate::backbones::made(&format!("dict(type='CSPDarknet', {keys})"), mode)
    }

    fn weights(state: &[StateEntry]) -> usize {
        let of = |e: &StateEntry| e.shape.iter().product::<usize>();
        let trained = |e: &&StateEntry| e.role == Role::Parameter;
        state.iter().filter(trained).map(of).sum()
    }

    #[test]
    fn pixels_are_sorted_as_the_original_does() {
        let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let x = Tensor::<1>::from_floats(x.as_slice(), &Device::flex()).reshape([1, 2, 2, 4]);
        let y = pixels_to_channels(x);
        assert_eq!(y.dims(), [1, 8, 1, 2]);
        let y: Vec<f32> = y.into_data().try_into_vec().unwrap();
        // Top left, bottom left, top right, bottom right, of both channels each.
        let expected = [
            0., 2., 8., 10., 4., 6., 12., 14., 1., 3., 9., 11., 5., 7., 13., 15.,
        ];
        assert_eq!(y, expected);
    }

    #[test]
    fn maps_have_the_sizes_that_features_say() {
        let tiny = "deepen_factor=0.33, widen_factor=0.0625";
        for (keys, strides) in [
            (String::from(tiny), vec![8, 16, 32]),
            (
                format!("{tiny}, arch='P6', out_indices=(0, 2, 5)"),
                vec![2, 8, 64],
            ),
            (
                format!("{tiny}, use_depthwise=True, spp_kernal_sizes=[3]"),
                vec![8, 16, 32],
            ),
        ] {
            let (backbone, _) = made(&keys, Mode::Fixed).unwrap();
            let features = backbone.features();
            assert_eq!(
                features.iter().map(|f| f.stride).collect::<Vec<_>>(),
                strides
            );
            let maps = backbone.forward(Tensor::zeros([1, 3, 64, 128], &Device::flex()));
            let found: Vec<_> = maps.iter().map(|m| m.dims()).collect();
            let said = features
                .iter()
                .map(|f| [1, f.channels, 64 / f.stride, 128 / f.stride]);
            assert_eq!(found, said.collect::<Vec<_>>());
        }
    }

    #[test]
    fn names_and_widths_of_the_smallest_yolox() {
        // YOLOX-nano: 16, 32, 64, 128, 256 channels; 1, 3, 3, 1 blocks.
        let (_, state) = made(
            "deepen_factor=0.33, widen_factor=0.25, use_depthwise=True",
            Mode::Plan,
        )
        .unwrap();
        let shape = |key: &str| {
            let entry = state.iter().find(|e| e.key == key);
            entry.map(|e| e.shape.clone())
        };
        for (key, expected) in [
            ("stem.conv.conv.weight", &[16, 12, 3, 3][..]),
            ("stage1.0.depthwise_conv.conv.weight", &[16, 1, 3, 3]),
            ("stage1.0.pointwise_conv.conv.weight", &[32, 16, 1, 1]),
            ("stage1.1.main_conv.conv.weight", &[16, 32, 1, 1]),
            ("stage1.1.blocks.0.conv1.conv.weight", &[16, 16, 1, 1]),
            (
                "stage1.1.blocks.0.conv2.depthwise_conv.bn.running_var",
                &[16],
            ),
            (
                "stage3.1.blocks.2.conv2.pointwise_conv.conv.weight",
                &[64, 64, 1, 1],
            ),
            ("stage4.1.conv1.conv.weight", &[128, 256, 1, 1]),
            ("stage4.1.conv2.conv.weight", &[256, 512, 1, 1]),
            ("stage4.2.final_conv.conv.weight", &[256, 256, 1, 1]),
        ] {
            assert_eq!(shape(key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(shape("stage1.1.blocks.1.conv1.conv.weight"), None);
        // Six tensors for each of 1 + (2 + 3 + 3) + 2 * (2 + 3 + 9) + (2 + 2 + 3 + 3) convolutions.
        assert_eq!(state.len(), 6 * (1 + 8 + 28 + 10));
    }

    #[test]
    fn weights_of_p6_counted_by_hand() {
        let (_, state) = made(
            "arch='P6', widen_factor=0.0625, deepen_factor=0.01",
            Mode::Plan,
        )
        .unwrap();
        // 4, 8, 16, 32, 48, 64 channels, one block each. A convolution of n filters brings 2n of its norm.
        let conv = |from: usize, to: usize, kernel: usize| to * (from * kernel * kernel + 2);
        let stage = |from: usize, to: usize| {
            let half = to / 2;
            let block = conv(half, half, 1) + conv(half, half, 3);
            conv(from, to, 3) + 2 * conv(to, half, 1) + conv(2 * half, to, 1) + block
        };
        let spp = conv(64, 32, 1) + conv(128, 64, 1);
        let stages = [(4, 8), (8, 16), (16, 32), (32, 48), (48, 64)];
        let all: usize = stages.map(|(from, to)| stage(from, to)).iter().sum();
        assert_eq!(weights(&state), conv(12, 4, 3) + all + spp);
    }

    #[test]
    fn a_half_block_is_rounded_to_even() {
        let blocks = |deepen: &str| {
            let keys = format!("widen_factor=0.0625, deepen_factor={deepen}");
            let (_, state) = made(&keys, Mode::Plan).unwrap();
            let stage = |i| {
                let end = ".conv1.conv.weight";
                let start = format!("stage{i}.1.blocks.");
                let is_block = |e: &&StateEntry| e.key.starts_with(&start) && e.key.ends_with(end);
                state.iter().filter(is_block).count()
            };
            (stage(1), stage(2))
        };
        assert_eq!(blocks("0.5"), (2, 4)); // 1.5 and 4.5
        assert_eq!(blocks("0"), (1, 1));
        assert_eq!(blocks("1.33"), (4, 12));
    }

    #[test]
    fn mistakes_are_explained() {
        for (keys, part) in [
            ("arch='P7'", "no arch 'P7'"),
            ("out_indices=(3, 5)", "`out_indices` names 5"),
            ("frozen_stages=5", "must be -1 to 4"),
            ("spp_kernal_sizes=(5, 8)", "has 8, must be odd"),
            ("spp_kernel_sizes=(5,)", "did you mean `spp_kernal_sizes`"),
            ("expand_ratio=0.5", "`CSPNeXt` has it"),
            ("widen_factor=0.001", "a layer of 0 channels"),
            ("widen_factor=1e300", "2 to 65536 are possible"),
            (
                "arch_ovewrite=[[8, 16, 1, True, False], [8, 32, 1, False, True]], out_indices=[2]",
                "stage 2 takes 8 channels, but gets 16",
            ),
            ("arch_ovewrite=[[8, 16, 1, True]]", "5 items expected"),
            ("norm_cfg=dict(type='GN', num_groups=48)", "does not divide"),
            ("act_cfg=dict(type='Swich')", "unknown activation `Swich`"),
        ] {
            let message = made(keys, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
        for (keys, part) in [
            ("arch='P7'", "CSPNeXt has no arch 'P7'"),
            ("spp_kernal_sizes=(5,)", "did you mean `spp_kernel_sizes`"),
            ("expand_ratio=0.001", "half a layer would have 0 channels"),
            ("expand_ratio=1e300", "1 to 65536 are possible"),
        ] {
            let text = format!("dict(type='CSPNeXt', {keys})");
            let message = crate::backbones::made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
        let own = "arch_ovewrite=[[8, 16, 1, True, False], [16, 32, 1, False, True]], out_indices=[1, 2], frozen_stages=1, norm_eval=True";
        let (backbone, _) = made(own, Mode::Plan).unwrap();
        let channels: Vec<_> = backbone.features().iter().map(|f| f.channels).collect();
        assert_eq!(channels, [16, 32]);
    }
}
