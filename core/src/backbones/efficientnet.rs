//! EfficientNet (Tan and Le 2019, arXiv 1905.11946) b0 to b8 and l2, and EfficientNet-EdgeTPU (Gupta and Akin 2020, arXiv 2003.02838) es, em and
//! el, as MMPretrain 1.2.0 and MMDetection 3.3.0 build them: `layers.0` is the stem, `layers.1` to `.5` the stages, `layers.6` a 1x1
//! convolution. `out_indices` counts all of them. MMDetection's leaves out what comes after the last map, and strides in the second
//! convolution of an edge block, where MMPretrain's does in the first.

use serde::Deserialize;

use super::Backbone;
use super::inverted_residual::{BlockConfig, Names};
use super::options::rate;
use super::staged::{Counted, Layer, Staged};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvStyle, Init, InitRule, NormConfig, Params, make_divisible,
};
use crate::limits::{Index, List};

/// The keys of `type='EfficientNet'`.
#[derive(Debug, Deserialize)]
struct EfficientNetConfig {
    arch: Option<String>,
    drop_path_rate: Option<f64>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

/// Keys that [`ConvStyle`] or others read, or that are of memory only.
const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "act_cfg", "with_cp", "init_cfg"];

/// Width, depth; whether it is one of the EdgeTPU's.
const ARCHES: [(&str, f64, f64, bool); 13] = [
    ("b0", 1.0, 1.0, false),
    ("b1", 1.0, 1.1, false),
    ("b2", 1.1, 1.2, false),
    ("b3", 1.2, 1.4, false),
    ("b4", 1.4, 1.8, false),
    ("b5", 1.6, 2.2, false),
    ("b6", 1.8, 2.6, false),
    ("b7", 2.0, 3.1, false),
    ("b8", 2.2, 3.6, false),
    ("l2", 4.3, 5.3, false),
    ("es", 1.0, 1.0, true),
    ("em", 1.0, 1.1, true),
    ("el", 1.2, 1.4, true),
];

/// Blocks of a kind before scaling: how many, filter size, channels, stride, expansion.
type Group = [usize; 5];

/// Groups of stride 1 are in the stage of the group before, but for the first.
const GROUPS: [Group; 7] = [
    [1, 3, 16, 1, 1],
    [2, 3, 24, 2, 6],
    [2, 5, 40, 2, 6],
    [3, 3, 80, 2, 6],
    [3, 5, 112, 1, 6],
    [4, 5, 192, 2, 6],
    [1, 3, 320, 1, 6],
];
/// Of the EdgeTPU's; the first three are edge blocks.
const EDGE_GROUPS: [Group; 6] = [
    [1, 3, 24, 1, 3],
    [2, 3, 32, 2, 8],
    [4, 3, 48, 2, 8],
    [5, 5, 96, 2, 8],
    [4, 5, 144, 1, 8],
    [2, 5, 192, 2, 8],
];
const STEM_CHANNELS: usize = 32;
const END_CHANNELS: usize = 1280;
/// `layers.6`.
const LAST: usize = 6;
/// Channels of a squeeze-and-excite for each that comes into the block.
const SQUEEZE: usize = 4;

/// A block, and whether it is an edge one and, if so, may have a shortcut.
struct Block {
    config: BlockConfig,
    edge: Option<bool>,
}

/// Whose class it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Library {
    MmDetection,
    MmPretrain,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    read(node, build, Library::MmPretrain)
}

pub(super) fn build_mmdet(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    read(node, build, Library::MmDetection)
}

fn read(node: &Node, build: &Build, library: Library) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: EfficientNetConfig = node.read_knowing(OTHERS)?;
    let arch = config.arch.as_deref().unwrap_or("b0");
    let known = |row: &&(&str, f64, f64, bool)| {
        row.0 == arch && (library == Library::MmPretrain || arch != "l2")
    };
    let Some(&(_, width, depth, edge)) = ARCHES.iter().find(known) else {
        let names = ARCHES.map(|row| format!("'{}'", row.0));
        let message = format!("EfficientNet has no arch '{arch}'");
        let help = match (arch, library) {
            ("l2", Library::MmDetection) => "`mmpretrain.EfficientNet` has it".into(),
            _ => format!("known are {}", names.join(", ")),
        };
        return Err(error_at(node, "arch", message, &help));
    };
    let counted = Counted {
        node,
        of: &format!("'{arch}'"),
        last: LAST,
    };
    let out_indices = counted.out_indices(config.out_indices.as_ref(), &[LAST])?;
    let built = match library {
        Library::MmPretrain => LAST,
        Library::MmDetection => out_indices.last().copied().unwrap_or(LAST),
    };
    let frozen_stages = counted.frozen_stages(config.frozen_stages, [0, built as i64 + 1])?;
    let drop_path_rate = rate(node, "drop_path_rate", config.drop_path_rate)?;

    let widened = |channels: usize| make_divisible(channels as f64 * width, 8);
    let groups: &[Group] = if edge { &EDGE_GROUPS } else { &GROUPS };
    let (style, plain_norm) = style(node, groups, widened)?;
    let act = style.act.unwrap_or(Activation::Silu);
    let mut stages = stages(groups, [width, depth], edge, act);
    set_rates(&mut stages, drop_path_rate);

    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        let norms = ["_BatchNorm", "GroupNorm"];
        at.initialise(InitRule::of(&norms, Init::Constant(1.0)));
    });
    let layers = build.params.at("layers");
    let mut staged = Staged::new(3, out_indices);
    let stem_channels = widened(STEM_CHANNELS);
    let stem = ConvConfig::new(3, stem_channels, 3).stride(2).pad(1);
    let stem = style.module(stem, &layers.at(0));
    staged.push(vec![Box::new(stem)], stem_channels, 2);
    let mut channels = stem_channels;
    for (i, stage) in stages.iter().enumerate().take(built) {
        let at = layers.at(i + 1);
        let blocks = stage.iter().enumerate();
        let blocks = blocks.map(|(j, block)| block.init(&style, library, &at.at(j)));
        let stride = stage.iter().map(|b| b.config.stride).product();
        channels = stage.last().map_or(channels, |b| b.config.channels_out);
        staged.push(blocks.collect(), channels, stride);
    }
    if built == LAST {
        let end_channels = widened(END_CHANNELS);
        let end = ConvConfig::new(channels, end_channels, 1);
        let end = style.module(end, &layers.at(LAST));
        staged.push(vec![Box::new(end)], end_channels, 1);
    }
    for i in 0..frozen_stages {
        layers.at(i).freeze();
    }
    // The original looks for `BatchNorm2d` alone.
    if config.norm_eval.unwrap_or(false) && plain_norm {
        build.params.evaluate();
    }
    Ok(Box::new(staged))
}

/// What the convolutions have in common, and whether their norm is not one that spans devices.
fn style(
    node: &Node,
    groups: &[Group],
    widened: impl Fn(usize) -> usize,
) -> Result<(ConvStyle, bool), Diagnostics> {
    let mut bases = vec![STEM_CHANNELS, END_CHANNELS];
    bases.extend(groups.iter().map(|group| group[2]));
    let channels: Vec<_> = bases.into_iter().map(widened).collect();
    let style = mobile_style(node, &channels)?;
    let plain = style.norm.as_ref();
    let plain = plain.is_some_and(|norm| !norm.kind.ends_with("SyncBN"));
    Ok((style, plain))
}

/// The style of both EfficientNets: padding, epsilon and activation are TensorFlow's.
pub(super) fn mobile_style(node: &Node, channels: &[usize]) -> Result<ConvStyle, Diagnostics> {
    let defaults = ConvStyle {
        kind: ConvKind::SamePadding,
        norm: Some(NormConfig::batch(1e-3)),
        act: Some(Activation::Silu),
        initialises: false,
    };
    let style = ConvStyle::read(node, defaults, channels)?;
    if style.act.is_none() {
        let message = "EfficientNet needs an `act_cfg`".to_string();
        return Err(error_at(node, "act_cfg", message, ""));
    }
    Ok(style)
}

/// The rate of dropped paths rises from 0 at the first block to `most` at the last.
fn set_rates(stages: &mut [Vec<Block>], most: f64) {
    let count = stages.iter().map(Vec::len).sum::<usize>();
    let blocks = stages.iter_mut().flatten();
    for (i, block) in blocks.enumerate() {
        block.config.drop_path_rate = most * i as f64 / (count.max(2) - 1) as f64;
    }
}

/// The blocks of each stage, scaled.
fn stages(
    groups: &[Group],
    [width, depth]: [f64; 2],
    edge: bool,
    act: Activation,
) -> Vec<Vec<Block>> {
    let widened = |channels: usize| make_divisible(channels as f64 * width, 8);
    let mut channels_in = widened(STEM_CHANNELS);
    let mut stages: Vec<Vec<Block>> = Vec::new();
    for (i, &[count, kernel, base, stride, expansion]) in groups.iter().enumerate() {
        let edge = edge && i < 3;
        let mut blocks = Vec::new();
        for j in 0..(count as f64 * depth).ceil() as usize {
            // The first stage of an EdgeTPU's changes after its first block.
            let odd = edge && expansion == 3 && j > 0;
            let expansion = if odd { 4 } else { expansion };
            let mid = channels_in * expansion;
            let squeezed = (mid / (SQUEEZE * expansion)).max(1);
            let config = BlockConfig {
                channels_in,
                mid,
                channels_out: widened(base),
                kernel,
                stride: if j == 0 { stride } else { 1 },
                squeeze: (groups.len() == GROUPS.len())
                    .then_some((squeezed, [act, Activation::Sigmoid])),
                drop_path_rate: 0.0,
            };
            channels_in = config.channels_out;
            blocks.push(Block {
                config,
                edge: edge.then_some(!odd),
            });
        }
        match stages.last_mut().filter(|_| stride == 1 && i > 0) {
            Some(stage) => stage.extend(blocks),
            None => stages.push(blocks),
        }
    }
    stages
}

impl Block {
    fn init(&self, style: &ConvStyle, library: Library, at: &Params) -> Box<dyn Layer> {
        let config = &self.config;
        let Some(shortcut) = self.edge else {
            return Box::new(config.inverted(style, Names::Apart, at));
        };
        let narrow = match library {
            Library::MmDetection => (style.kind, config.stride),
            Library::MmPretrain => (ConvKind::Plain, 1),
        };
        Box::new(config.edge(style, narrow, shortcut, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn scaling() {
        let lengths = |arch: &str| {
            let row = ARCHES.iter().find(|row| row.0 == arch).unwrap();
            let groups: &[Group] = if row.3 { &EDGE_GROUPS } else { &GROUPS };
            let stages = stages(groups, [row.1, row.2], row.3, Activation::Silu);
            stages.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths("b0"), [1, 2, 2, 6, 5]);
        assert_eq!(lengths("b3"), [2, 3, 3, 10, 8]);
        assert_eq!(lengths("em"), [2, 3, 5, 11, 3]);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            (
                "dict(type='mmpretrain.EfficientNet', arch='b9')",
                "EfficientNet has no arch 'b9'",
            ),
            (
                "dict(type='EfficientNet', arch='l2')",
                "help: `mmpretrain.EfficientNet` has it",
            ),
            (
                "dict(type='EfficientNet', out_indices=(3, 4), frozen_stages=6)",
                "`frozen_stages` is 6, must be 0 to 5",
            ),
            (
                "dict(type='EfficientNet', out_indices=(7,))",
                "names layer 7; 'b0' has layers 0 to 6",
            ),
            (
                "dict(type='EfficientNet', act_cfg=None)",
                "needs an `act_cfg`",
            ),
            (
                "dict(type='EfficientNet', drop_path_rate=1.0)",
                "must be from 0 to less than 1",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
