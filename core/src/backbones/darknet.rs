//! Darknet-53, the backbone of YOLOv3 (Redmon and Farhadi 2018, arXiv 1804.02767), as MMDetection 3.3.0 builds it: a convolution, then stages of a
//! strided convolution and residual blocks. `out_indices` counts the first convolution as 0.
//!
//! Shapes: output i is `[N, 32 * 2^i, H / 2^i, W / 2^i]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::cross_stage::{BlockConfig, BlockKind, CrossStage, CrossStageConfig, DownConfig, Names};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NormConfig};
use crate::limits::{Index, List};

/// The keys of `type='Darknet'`.
#[derive(Debug, Deserialize)]
struct DarknetConfig {
    depth: Option<i64>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
}

/// Blocks of each stage.
const BLOCKS: [usize; 5] = [1, 2, 8, 8, 4];
const STEM_CHANNELS: usize = 32;

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(Darknet::read(node, build)?))
}

/// Darknet-53.
#[derive(Debug)]
pub struct Darknet {
    stem: ConvNormAct,
    stages: Vec<CrossStage>,
    out_indices: Vec<usize>,
}

/// The stage, from 0, with twice as many channels as the one before.
fn stage(i: usize) -> CrossStageConfig {
    let (channels_in, channels) = (STEM_CHANNELS << i, STEM_CHANNELS << (i + 1));
    let block = BlockConfig {
        kind: BlockKind::Dark,
        channels,
        channels_inside: channels_in,
        groups: 1,
        dilation: 1,
        squeezed: None,
        drop_path_rate: 0.0,
        zero_residual: false,
    };
    CrossStageConfig {
        channels_in,
        down: Some(DownConfig {
            channels,
            stride: 2,
            dilation: 1,
            groups: 1,
            pooled: false,
        }),
        split: None,
        blocks: vec![block; BLOCKS[i]],
        channels_out: channels,
    }
}

impl Darknet {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: DarknetConfig =
            node.read_knowing(&["conv_cfg", "norm_cfg", "act_cfg", "init_cfg"])?;
        let depth = config.depth.unwrap_or(53);
        if depth != 53 {
            let message = format!("Darknet has no depth {depth}");
            return Err(error_at(node, "depth", message, "known is 53"));
        }
        let count = BLOCKS.len();
        let out_indices = config.out_indices;
        let out_indices = out_indices.map_or_else(|| vec![3, 4, 5], |list| list.numbers());
        if let Some(i) = out_indices.iter().find(|i| **i > count) {
            let message = format!(
                "`out_indices` names {i}; there are the first convolution, 0, and {count} stages"
            );
            return Err(error_at(node, "out_indices", message, ""));
        }
        let frozen = config.frozen_stages.unwrap_or(-1);
        if frozen > count as i64 + 1 {
            let message = format!("`frozen_stages` is {frozen}, must be -1 to {}", count + 1);
            let help = "1 is the first convolution alone";
            return Err(error_at(node, "frozen_stages", message, help));
        }
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::LeakyRelu(0.1)),
            ..ConvStyle::default()
        };
        let widths: Vec<_> = (0..=count).map(|i| STEM_CHANNELS << i).collect();
        let style = ConvStyle::read(node, defaults, &widths)?;

        let params = &build.params;
        if let Some(name) = &config.pretrained {
            if build.wants_weights() {
                build.pretrained(node, name, None, params)?;
            }
        } else if node.get("init_cfg").is_none_or(Node::is_none) {
            params.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
            let norms = ["_BatchNorm", "GroupNorm"];
            params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
        }
        // The stages are sequences, which do not ask their modules.
        let alone = ConvStyle {
            initialises: true,
            ..style.clone()
        };
        let stem = ConvConfig::new(3, STEM_CHANNELS, 3).pad(1);
        let stem = alone.module(stem, &params.at("conv1"));
        let place = |i: usize| match i {
            0 => params.at("conv1"),
            i => params.at(format!("conv_res_block{i}")),
        };
        let stages = (0..count)
            .map(|i| stage(i).init(&style, &style, Names::Mmdet, &place(i + 1)))
            .collect();
        for i in 0..frozen.max(0) as usize {
            place(i).freeze();
        }
        if config.norm_eval.unwrap_or(true) {
            params.evaluate();
        }
        Ok(Self {
            stem,
            stages,
            out_indices,
        })
    }
}

impl Backbone for Darknet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(x);
        let last = self.out_indices.iter().max().copied().unwrap_or(0);
        let mut outputs = Vec::new();
        if self.out_indices.contains(&0) {
            outputs.push(x.clone());
        }
        for (i, stage) in (1..).zip(&self.stages) {
            // After the last map only for running statistics, which are in the state dict.
            if i > last && !stage.learning() {
                break;
            }
            x = stage.forward(x);
            if self.out_indices.contains(&i) {
                outputs.push(x.clone());
            }
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        let wanted = (0..=BLOCKS.len()).filter(|i| self.out_indices.contains(i));
        let feature = |i| Feature {
            channels: STEM_CHANNELS << i,
            stride: 1usize << i,
        };
        wanted.map(feature).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (keys, part) in [
            ("depth=21", "known is 53"),
            ("out_indices=(3, 6)", "`out_indices` names 6"),
            ("frozen_stages=7", "must be -1 to 6"),
            ("norm_cfg=dict(type='GN', num_groups=48)", "does not divide"),
        ] {
            let text = format!("dict(type='Darknet', {keys})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
    }
}
