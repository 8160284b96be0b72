//! MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) as MMPretrain 1.2.0 and MMDetection 3.3.0 build it: `conv1`, seven stages of inverted
//! residual blocks, and `conv2`, a 1x1 convolution. `out_indices` counts from the first stage; `conv2` is 7. The two differ in the
//! names inside a block, and in the maps that they give where nothing is said.

use serde::Deserialize;

use super::Backbone;
use super::inverted_residual::{BlockConfig, Names};
use super::staged::{Counted, Layer, Staged};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvStyle, Init, InitRule, NormConfig, make_divisible,
};
use crate::limits::{Index, List};

/// The keys of `type='MobileNetV2'`.
#[derive(Debug, Deserialize)]
struct MobileNetV2Config {
    widen_factor: Option<f64>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
    /// MMDetection's only: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
}

/// Keys that others read, or that are of memory only.
const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "act_cfg", "with_cp", "init_cfg"];

/// Widening inside of a block, channels, blocks, stride.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];
const STEM_CHANNELS: usize = 32;
const END_CHANNELS: usize = 1280;
/// Largest `widen_factor`; the published models have at most 1.4.
const WIDEST: f64 = 32.0;

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

impl MobileNetV2Config {
    fn widen_factor(&self, node: &Node) -> Result<f64, Diagnostics> {
        let factor = self.widen_factor.unwrap_or(1.0);
        if factor > 0.0 && factor <= WIDEST {
            return Ok(factor);
        }
        let message =
            format!("`widen_factor` is {factor}, must be more than 0 and at most {WIDEST}");
        Err(error_at(node, "widen_factor", message, ""))
    }

    /// MMDetection's takes `init_cfg=None`, too, for none given.
    fn initial(&self, node: &Node, build: &Build, library: Library) -> Result<(), Diagnostics> {
        let ours = library == Library::MmDetection;
        if let Some(name) = &self.pretrained {
            if !ours {
                let message = "the key `pretrained` is not known to MobileNetV2".to_string();
                let help = "give init_cfg=dict(type='Pretrained', checkpoint='...')";
                return Err(error_at(node, "pretrained", message, help));
            }
            if build.wants_weights() {
                build.pretrained(node, name, None, &build.params)?;
            }
            return Ok(());
        }
        let given = node.get("init_cfg");
        if given.is_none_or(|init| ours && init.is_none()) {
            let params = &build.params;
            params.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
            let norms = ["_BatchNorm", "GroupNorm"];
            params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
        }
        Ok(())
    }
}

fn read(node: &Node, build: &Build, library: Library) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: MobileNetV2Config = node.read_knowing(OTHERS)?;
    let last = STAGES.len();
    let counted = Counted {
        node,
        of: "MobileNetV2",
        last,
    };
    let (default, names): (&[usize], _) = match library {
        Library::MmDetection => (&[1, 2, 4, 7], Names::Apart),
        Library::MmPretrain => (&[7], Names::Sequence),
    };
    let out_indices = counted.out_indices(config.out_indices.as_ref(), default)?;
    let frozen_stages = counted.frozen_stages(config.frozen_stages, [-1, 7])?;
    let factor = config.widen_factor(node)?;
    let widened = |channels: usize| make_divisible(channels as f64 * factor, 8);
    let stem_channels = widened(STEM_CHANNELS);
    let end_channels = (END_CHANNELS as f64 * factor.max(1.0)) as usize;

    let blocks = blocks(stem_channels, widened);
    let mut channels = vec![stem_channels, end_channels];
    let of_blocks = blocks.iter().flatten();
    channels.extend(of_blocks.flat_map(|block| [block.mid, block.channels_out]));
    let defaults = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(Activation::Relu6),
        ..ConvStyle::default()
    };
    let style = ConvStyle::read(node, defaults, &channels)?;
    // The stages are PyTorch's own sequences.
    let apart = ConvStyle {
        initialises: true,
        ..style.clone()
    };

    config.initial(node, build, library)?;
    let params = &build.params;
    let mut staged = Staged::new(3, out_indices);
    let stem = ConvConfig::new(3, stem_channels, 3).stride(2).pad(1);
    let stem = apart.module(stem, &params.at("conv1"));
    let mut before: Vec<Box<dyn Layer>> = vec![Box::new(stem)];
    let mut before_stride = 2;
    for (i, stage) in blocks.iter().enumerate() {
        let at = params.at(format!("layer{}", i + 1));
        let mut layers = std::mem::take(&mut before);
        let of_stage = stage.iter().enumerate();
        layers.extend(of_stage.map(|(j, block)| -> Box<dyn Layer> {
            Box::new(block.inverted(&style, names, &at.at(j)))
        }));
        let stride = stage.iter().map(|block| block.stride).product::<usize>();
        let out = stage.last().map_or(0, |block| block.channels_out);
        staged.push(layers, out, stride * before_stride);
        before_stride = 1;
    }
    let end = ConvConfig::new(widened(STAGES[last - 1][1]), end_channels, 1);
    let end = apart.module(end, &params.at("conv2"));
    staged.push(vec![Box::new(end)], end_channels, 1);

    if frozen_stages >= 0 {
        // Its norm goes on to learn its statistics.
        params.at("conv1").require_grad(false);
    }
    for i in 1..=frozen_stages {
        params.at(format!("layer{i}")).freeze();
    }
    if config.norm_eval.unwrap_or(false) {
        params.evaluate();
    }
    Ok(Box::new(staged))
}

/// The blocks of each stage.
fn blocks(stem_channels: usize, widened: impl Fn(usize) -> usize) -> Vec<Vec<BlockConfig>> {
    let mut channels_in = stem_channels;
    let mut block = |[expansion, base, _, stride]: [usize; 4], j: usize| {
        let block = BlockConfig {
            channels_in,
            mid: channels_in * expansion,
            channels_out: widened(base),
            kernel: 3,
            stride: if j == 0 { stride } else { 1 },
            squeeze: None,
            drop_path_rate: 0.0,
        };
        channels_in = block.channels_out;
        block
    };
    let mut stages = Vec::new();
    for stage in STAGES {
        stages.push((0..stage[2]).map(|j| block(stage, j)).collect());
    }
    stages
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            (
                "dict(type='MobileNetV2', out_indices=(8,))",
                "`out_indices` names layer 8; MobileNetV2 has layers 0 to 7",
            ),
            (
                "dict(type='MobileNetV2', frozen_stages=8)",
                "`frozen_stages` is 8, must be -1 to 7 for MobileNetV2",
            ),
            (
                "dict(type='MobileNetV2', widen_factor=0)",
                "`widen_factor` is 0, must be more than 0",
            ),
            (
                "dict(type='mmpretrain.MobileNetV2', pretrained='a.pth')",
                "`pretrained` is not known to MobileNetV2",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
