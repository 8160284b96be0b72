//! CSPDarkNet-53, CSPResNet-50 and CSPResNeXt-50 (Wang et al. 2019, arXiv 1911.11929) as MMPretrain 1.2.0 builds them. Another CSPDarknet, YOLOX's, is
//! MMDetection's.
//!
//! Shapes: stage i of CSPDarkNet is `[N, 64 * 2^i, H / 2^(i + 1), ..]`; of the others `[N, channels_i, H / 2^(i + 2), ..]`, a half less deep with
//! `deep_stem`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::cross_stage::{
    BlockConfig, BlockKind, CrossStage, CrossStageConfig, DownConfig, Names, SplitConfig,
};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NormConfig, Params,
};
use crate::limits::{Channels, List};
use crate::ops::pool::max_pool2d;

/// The keys of the three classes.
#[derive(Debug, Deserialize)]
struct CspNetConfig {
    depth: i64,
    in_channels: Option<Channels>,
    out_indices: Option<Indices>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
    /// Of the two ResNets.
    deep_stem: Option<bool>,
}

/// One number or a list of them, from the end if negative.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Indices {
    One(i64),
    Many(List<i64>),
}

/// A class.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    DarkNet,
    ResNet,
    ResNeXt,
}

/// Channels out, blocks, channels of both halves.
type StageRow = (usize, usize, usize);

const DARKNET: [StageRow; 5] = [
    (64, 1, 128),
    (128, 2, 128),
    (256, 8, 256),
    (512, 8, 512),
    (1024, 4, 1024),
];
const RESNET: [StageRow; 4] = [
    (128, 3, 256),
    (256, 3, 512),
    (512, 5, 1024),
    (1024, 2, 2048),
];
const RESNEXT: [StageRow; 4] = [
    (256, 3, 256),
    (512, 3, 512),
    (1024, 5, 1024),
    (2048, 2, 2048),
];
const GROUPS: usize = 32;

pub(super) fn build_darknet(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(CspNet::read(node, build, Class::DarkNet)?))
}

pub(super) fn build_resnet(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(CspNet::read(node, build, Class::ResNet)?))
}

pub(super) fn build_resnext(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(CspNet::read(node, build, Class::ResNeXt)?))
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::DarkNet => "CSPDarkNet",
            Self::ResNet => "CSPResNet",
            Self::ResNeXt => "CSPResNeXt",
        }
    }

    fn rows(self) -> &'static [StageRow] {
        match self {
            Self::DarkNet => &DARKNET,
            Self::ResNet => &RESNET,
            Self::ResNeXt => &RESNEXT,
        }
    }

    fn stem_channels(self) -> usize {
        if self == Self::DarkNet { 32 } else { 64 }
    }

    fn block(self, stage: usize, channels: usize) -> BlockConfig {
        let (kind, channels_inside, groups) = match self {
            Self::DarkNet if stage == 0 => (BlockKind::Dark, channels / 2, 1),
            Self::DarkNet => (BlockKind::Dark, channels, 1),
            Self::ResNet => (BlockKind::Bottle, channels / 2, 1),
            Self::ResNeXt => (BlockKind::Bottle, channels, GROUPS),
        };
        BlockConfig {
            kind,
            channels,
            channels_inside,
            groups,
            dilation: 1,
            squeezed: None,
            drop_path_rate: 0.0,
            zero_residual: false,
        }
    }

    fn stages(self) -> Vec<CrossStageConfig> {
        let mut channels_in = self.stem_channels();
        let mut stages = Vec::new();
        for (i, &(out, blocks, wide)) in self.rows().iter().enumerate() {
            let dark = self == Self::DarkNet;
            let down = DownConfig {
                channels: if dark { out } else { channels_in },
                stride: 2,
                dilation: 1,
                groups: if self == Self::ResNeXt { GROUPS } else { 1 },
                pooled: false,
            };
            stages.push(CrossStageConfig {
                channels_in,
                down: (dark || i > 0).then_some(down),
                split: Some(SplitConfig {
                    channels: wide,
                    linear: !dark,
                    first: false,
                }),
                blocks: vec![self.block(i, wide / 2); blocks],
                channels_out: out,
            });
            channels_in = out;
        }
        stages
    }
}

impl CspNetConfig {
    fn out_indices(&self, node: &Node, stages: usize) -> Result<Vec<usize>, Diagnostics> {
        let given = match &self.out_indices {
            None => vec![-1],
            Some(Indices::One(i)) => vec![*i],
            Some(Indices::Many(list)) => list.to_vec(),
        };
        let count = stages as i64;
        if let Some(i) = given.iter().find(|i| !(-count..count).contains(i)) {
            let last = count - 1;
            let message = format!(
                "`out_indices` names stage {i}; there are 0 to {last}, or -1 and so on from the end"
            );
            return Err(error_at(node, "out_indices", message, ""));
        }
        Ok(given.iter().map(|i| i.rem_euclid(count) as usize).collect())
    }
}

/// A cross-stage partial network.
#[derive(Debug)]
pub struct CspNet {
    stem: Vec<ConvNormAct>,
    /// Whether a pooling of half the size follows the stem.
    pool: bool,
    stages: Vec<CrossStage>,
    out_indices: Vec<usize>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl CspNet {
    fn read(node: &Node, build: &Build, class: Class) -> Result<Self, Diagnostics> {
        let config: CspNetConfig =
            node.read_knowing(&["conv_cfg", "norm_cfg", "act_cfg", "init_cfg"])?;
        let depth = if class == Class::DarkNet { 53 } else { 50 };
        let name = class.name();
        if config.depth != depth {
            let message = format!("{name} has no depth {}", config.depth);
            let help = format!("known is {depth}");
            return Err(error_at(node, "depth", message, &help));
        }
        if config.deep_stem.is_some() && class == Class::DarkNet {
            let message = "the key `deep_stem` is not known to CSPDarkNet";
            return Err(error_at(node, "deep_stem", message, ""));
        }
        let deep_stem = config.deep_stem.unwrap_or(false);
        let stages = class.stages();
        let out_indices = config.out_indices(node, stages.len())?;
        let frozen = config.frozen_stages.unwrap_or(-1);
        if !(-1..stages.len() as i64).contains(&frozen) {
            let last = stages.len() - 1;
            let message = format!("`frozen_stages` is {frozen}, must be -1 to {last}");
            let help = "0 is the stem and the first stage";
            return Err(error_at(node, "frozen_stages", message, help));
        }
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::LeakyRelu(0.01)),
            initialises: true,
            ..ConvStyle::default()
        };
        let norms = stages.iter().flat_map(CrossStageConfig::norms);
        let stem_channels = class.stem_channels();
        let norms: Vec<_> = norms.chain([stem_channels, stem_channels / 2]).collect();
        let style = ConvStyle::read(node, defaults, &norms)?;
        if style.norm.is_none() && class != Class::DarkNet {
            let message = format!("{name} needs a `norm_cfg`");
            return Err(error_at(node, "norm_cfg", message, ""));
        }

        let params = &build.params;
        build.initial(node, |at| {
            let init = match class {
                Class::DarkNet => Init::TORCH,
                _ => Init::KAIMING,
            };
            at.initialise(InitRule::of(&["Conv2d"], init));
        });
        let channels_in = config.in_channels.map_or(3, Channels::get);
        let stem = stem(class, channels_in, deep_stem, &style, &params.at("stem"));
        let dark = class == Class::DarkNet;
        let pool = !dark && !deep_stem;
        // `conv_cfg` is of the blocks and the stem.
        let plain = ConvStyle {
            kind: Default::default(),
            ..style.clone()
        };
        let mut stride = [1, 2][usize::from(!dark)] * [1, 2][usize::from(pool)];
        let mut features = Vec::new();
        let mut built = Vec::new();
        for (i, stage) in stages.iter().enumerate() {
            let at = params.at("stages").at(i);
            built.push(stage.init(&plain, &style, Names::Mmpretrain, &at));
            stride *= stage.down.map_or(1, |down| down.stride);
            if out_indices.contains(&i) {
                let channels = stage.channels_out;
                features.push(Feature { channels, stride });
            }
        }
        if frozen >= 0 {
            params.at("stem").freeze();
        }
        for i in 0..=frozen {
            params.at("stages").at(i).freeze();
        }
        if config.norm_eval.unwrap_or(false) {
            params.evaluate();
        }
        Ok(Self {
            stem,
            pool,
            stages: built,
            out_indices,
            features,
            channels_in,
        })
    }
}

fn stem(
    class: Class,
    channels_in: usize,
    deep: bool,
    style: &ConvStyle,
    at: &Params,
) -> Vec<ConvNormAct> {
    let out = class.stem_channels();
    if class == Class::DarkNet {
        let plain = ConvStyle {
            kind: Default::default(),
            ..style.clone()
        };
        return vec![plain.module(ConvConfig::new(channels_in, out, 3).pad(1), at)];
    }
    // In a sequence that does not ask its modules.
    let style = &ConvStyle {
        initialises: false,
        ..style.clone()
    };
    if !deep {
        let conv = ConvConfig::new(channels_in, out, 7).stride(2).pad(3);
        return vec![style.module(conv, &at.at(0))];
    }
    let half = out / 2;
    let convs = [(channels_in, half, 2), (half, half, 1), (half, out, 1)];
    let conv = |(i, (from, to, stride)): (usize, (usize, usize, usize))| {
        let conv = ConvConfig::new(from, to, 3).stride(stride).pad(1);
        style.module(conv, &at.at(i))
    };
    convs.into_iter().enumerate().map(conv).collect()
}

impl Backbone for CspNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, conv| conv.forward(x));
        if self.pool {
            x = max_pool2d(x, 3, 2, 1);
        }
        let last = self.out_indices.iter().max().copied().unwrap_or(0);
        let mut outputs = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
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
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (keys, part) in [
            ("type='mmpretrain.CSPDarkNet', depth=50", "known is 53"),
            ("type='mmpretrain.CSPResNet', depth=53", "known is 50"),
            ("type='mmpretrain.CSPResNet'", "`depth` is missing"),
            (
                "type='mmpretrain.CSPDarkNet', depth=53, out_indices=5",
                "names stage 5; there are 0 to 4",
            ),
            (
                "type='mmpretrain.CSPResNeXt', depth=50, out_indices=[0, -5]",
                "names stage -5",
            ),
            (
                "type='mmpretrain.CSPResNet', depth=50, frozen_stages=4",
                "must be -1 to 3",
            ),
            (
                "type='mmpretrain.CSPDarkNet', depth=53, deep_stem=True",
                "not known to CSPDarkNet",
            ),
            (
                "type='mmpretrain.CSPResNet', depth=50, norm_cfg=None",
                "needs a `norm_cfg`",
            ),
            (
                "type='mmpretrain.CSPDarkNet', depth=53, norm_cfg=dict(type='GN', num_groups=48)",
                "does not divide",
            ),
        ] {
            let message = made(&format!("dict({keys})"), Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
    }
}
