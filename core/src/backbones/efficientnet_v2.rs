//! EfficientNetV2 (Tan and Le 2021, arXiv 2104.00298) as MMPretrain 1.2.0 builds it: `layers.0` is the stem, the last layer a 1x1 convolution,
//! the stages are between them. `out_indices` counts all of them, from the end where it is negative.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::Backbone;
use super::efficientnet::mobile_style;
use super::inverted_residual::{BlockConfig, Names};
use super::options::rate;
use super::staged::{Counted, Layer, Staged};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvNormAct, ConvStyle, DropPath, Init, InitRule, Params,
};
use crate::limits::{Channels, List};

/// The keys of `type='mmpretrain.EfficientNetV2'`.
#[derive(Debug, Deserialize)]
struct EfficientNetV2Config {
    arch: Option<String>,
    in_channels: Option<Channels>,
    drop_path_rate: Option<f64>,
    out_indices: Option<OutIndices>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

/// One index or some.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OutIndices {
    One(i64),
    Some(List<i64>),
}

/// Keys that others read, or that are of memory only.
const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "act_cfg", "with_cp", "init_cfg"];

/// Which blocks a stage has: bare convolutions, edge blocks, or inverted residuals with squeeze-and-excite.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Conv,
    Edge,
    Inverted,
}
use Kind::{Conv, Edge, Inverted};

/// Blocks, stride, expansion, channels.
type Stage = (usize, usize, usize, usize, Kind);

const S: [Stage; 6] = [
    (2, 1, 1, 24, Conv),
    (4, 2, 4, 48, Edge),
    (4, 2, 4, 64, Edge),
    (6, 2, 4, 128, Inverted),
    (9, 1, 6, 160, Inverted),
    (15, 2, 6, 256, Inverted),
];
const M: [Stage; 7] = [
    (3, 1, 1, 24, Conv),
    (5, 2, 4, 48, Edge),
    (5, 2, 4, 80, Edge),
    (7, 2, 4, 160, Inverted),
    (14, 1, 6, 176, Inverted),
    (18, 2, 6, 304, Inverted),
    (5, 1, 6, 512, Inverted),
];
const L: [Stage; 7] = [
    (4, 1, 1, 32, Conv),
    (7, 2, 4, 64, Edge),
    (7, 2, 4, 96, Edge),
    (10, 2, 4, 192, Inverted),
    (19, 1, 6, 224, Inverted),
    (25, 2, 6, 384, Inverted),
    (7, 1, 6, 640, Inverted),
];
const XL: [Stage; 7] = [
    (4, 1, 1, 32, Conv),
    (8, 2, 4, 64, Edge),
    (8, 2, 4, 96, Edge),
    (16, 2, 4, 192, Inverted),
    (24, 1, 6, 256, Inverted),
    (32, 2, 6, 512, Inverted),
    (8, 1, 6, 640, Inverted),
];
const B0: [Stage; 6] = [
    (1, 1, 1, 16, Conv),
    (2, 2, 4, 32, Edge),
    (2, 2, 4, 48, Edge),
    (3, 2, 4, 96, Inverted),
    (5, 1, 6, 112, Inverted),
    (8, 2, 6, 192, Inverted),
];
const B1: [Stage; 6] = [
    (2, 1, 1, 16, Conv),
    (3, 2, 4, 32, Edge),
    (3, 2, 4, 48, Edge),
    (4, 2, 4, 96, Inverted),
    (6, 1, 6, 112, Inverted),
    (9, 2, 6, 192, Inverted),
];
const B2: [Stage; 6] = [
    (2, 1, 1, 16, Conv),
    (3, 2, 4, 32, Edge),
    (3, 2, 4, 56, Edge),
    (4, 2, 4, 104, Inverted),
    (6, 1, 6, 120, Inverted),
    (10, 2, 6, 208, Inverted),
];
const B3: [Stage; 6] = [
    (2, 1, 1, 16, Conv),
    (3, 2, 4, 40, Edge),
    (3, 2, 4, 56, Edge),
    (5, 2, 4, 112, Inverted),
    (7, 1, 6, 136, Inverted),
    (12, 2, 6, 232, Inverted),
];

/// Names, the stem's channels, stages, the last layer's channels.
type Arch = (&'static [&'static str], usize, &'static [Stage], usize);

const ARCHES: [Arch; 8] = [
    (&["s", "small"], 24, &S, 1280),
    (&["m", "medium"], 24, &M, 1280),
    (&["l", "large"], 32, &L, 1280),
    (&["xl"], 32, &XL, 1280),
    (&["b0"], 32, &B0, 1280),
    (&["b1"], 32, &B1, 1280),
    (&["b2"], 32, &B2, 1408),
    (&["b3"], 40, &B3, 1536),
];

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: EfficientNetV2Config = node.read_knowing(OTHERS)?;
    let arch = config.arch.as_deref().unwrap_or("s");
    let Some(&(_, stem_channels, stages, end_channels)) =
        ARCHES.iter().find(|row| row.0.contains(&arch))
    else {
        let names = ARCHES.iter().flat_map(|row| row.0);
        let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
        let message = format!("EfficientNetV2 has no arch '{arch}'");
        let help = format!("known are {}", names.join(", "));
        return Err(error_at(node, "arch", message, &help));
    };
    let last = stages.len() + 1;
    let counted = Counted {
        node,
        of: &format!("'{arch}'"),
        last,
    };
    let out_indices = match &config.out_indices {
        None => vec![last],
        Some(OutIndices::One(index)) => counted.signed_out_indices(&[*index])?,
        Some(OutIndices::Some(list)) => counted.signed_out_indices(list)?,
    };
    let frozen_stages = counted.frozen_stages(config.frozen_stages, [0, last as i64])?;
    let drop_path_rate = rate(node, "drop_path_rate", config.drop_path_rate)?;
    let channels_in = config.in_channels.map_or(3, Channels::get);
    let mut channels = vec![stem_channels, end_channels];
    channels.extend(stages.iter().map(|stage| stage.3));
    let style = mobile_style(node, &channels)?;

    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        let norms = ["_BatchNorm", "GroupNorm"];
        at.initialise(InitRule::of(&norms, Init::Constant(1.0)));
    });
    let layers = build.params.at("layers");
    let mut staged = Staged::new(channels_in, out_indices);
    // Without padding, but for what its kind of convolution pads by itself.
    let stem = ConvConfig::new(channels_in, stem_channels, 3).stride(2);
    let stem = style.module(stem, &layers.at(0));
    staged.push(vec![Box::new(stem)], stem_channels, 2);
    let count = stages.iter().map(|stage| stage.0).sum::<usize>();
    let (mut channels, mut done) = (stem_channels, 0);
    for (i, stage) in stages.iter().enumerate() {
        let at = layers.at(i + 1);
        let mut blocks = Vec::new();
        for j in 0..stage.0 {
            let rate = drop_path_rate * done as f64 / (count - 1) as f64;
            blocks.push(block(stage, j == 0, channels, rate, &style, &at.at(j)));
            channels = stage.3;
            done += 1;
        }
        staged.push(blocks, channels, stage.1);
    }
    let end = ConvConfig::new(channels, end_channels, 1);
    let end = style.module(end, &layers.at(last));
    staged.push(vec![Box::new(end)], end_channels, 1);

    for i in 0..frozen_stages {
        layers.at(i).freeze();
    }
    // The original looks for `BatchNorm2d` alone.
    let synced = |norm: &crate::layers::NormConfig| norm.kind.ends_with("SyncBN");
    if config.norm_eval.unwrap_or(false) && !style.norm.as_ref().is_some_and(synced) {
        build.params.evaluate();
    }
    Ok(Box::new(staged))
}

/// A block of a stage; `conv_cfg` is for those that stride.
fn block(
    &(_, stride, expansion, channels_out, kind): &Stage,
    first: bool,
    channels_in: usize,
    drop_path_rate: f64,
    style: &ConvStyle,
    at: &Params,
) -> Box<dyn Layer> {
    let stride = if first { stride } else { 1 };
    let act = style.act.unwrap_or(Activation::Silu);
    let style = &ConvStyle {
        kind: if stride == 2 && kind != Conv {
            style.kind
        } else {
            ConvKind::Plain
        },
        ..style.clone()
    };
    let squeezed = (channels_in / 4).max(1);
    let config = BlockConfig {
        channels_in,
        mid: channels_in * expansion,
        channels_out,
        kernel: 3,
        stride,
        squeeze: (kind == Inverted).then_some((squeezed, [act, Activation::Sigmoid])),
        drop_path_rate,
    };
    match kind {
        Conv => {
            let conv = ConvConfig::new(channels_in, channels_out, 3)
                .stride(stride)
                .pad(1);
            let conv = style.module(conv, at);
            if stride != 1 || channels_in != channels_out {
                return Box::new(conv);
            }
            Box::new(ResidualConv {
                conv,
                drop_path: DropPath::new(drop_path_rate, &at.at("drop_path")),
            })
        }
        Edge => Box::new(config.edge(style, (ConvKind::Plain, 1), true, at)),
        Inverted => Box::new(config.inverted(style, Names::Apart, at)),
    }
}

/// A convolution, norm and activation that is added to its input.
#[derive(Debug)]
struct ResidualConv {
    conv: ConvNormAct,
    drop_path: Option<DropPath>,
}

impl Layer for ResidualConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv.forward(x.clone());
        DropPath::add(&self.drop_path, x, y)
    }

    fn learning(&self) -> bool {
        self.conv.learning()
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("arch='b4'", "EfficientNetV2 has no arch 'b4'"),
            (
                "out_indices=(8,)",
                "names layer 8; 's' has layers 0 to 7, or -8 to -1",
            ),
            (
                "arch='m', frozen_stages=9",
                "`frozen_stages` is 9, must be 0 to 8 for 'm'",
            ),
        ] {
            let text = format!("dict(type='mmpretrain.EfficientNetV2', {text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
