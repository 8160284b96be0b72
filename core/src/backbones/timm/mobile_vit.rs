//! timm's MobileViT (Mehta and Rastegari 2021, arXiv 2110.02178) and MobileViT v2 (2022, arXiv 2206.02680): those of `../mobile_vit.rs`.

use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::mobile_vit::{MixerShape, MobileVit, Plan, StageShape};
use crate::backbones::options::rising;
use crate::backbones::vision_transformer::LayerNames;
use crate::backbones::{Backbone, Feature};
use crate::config::Diagnostics;
use crate::layers::{Activation, ConvStyle, Init, InitRule, NormConfig};

/// No keys of its own.
#[derive(Debug, Deserialize)]
struct Keys {}

/// Name, what blocks widen by, channels of the five stages, those of tokens in the last three, and those after all.
type Row = (&'static str, f64, [usize; 5], [usize; 3], usize);

const ROWS: [Row; 3] = [
    (
        "mobilevit_xxs",
        2.0,
        [16, 24, 48, 64, 80],
        [64, 80, 96],
        320,
    ),
    (
        "mobilevit_xs",
        4.0,
        [32, 48, 64, 80, 96],
        [96, 120, 144],
        384,
    ),
    (
        "mobilevit_s",
        4.0,
        [32, 64, 96, 128, 160],
        [144, 192, 240],
        640,
    ),
];
/// Names of MobileViT v2 end in what its channels are multiplied by, in hundredths.
const V2: &str = "mobilevitv2_";
const WIDTHS: [usize; 7] = [50, 75, 100, 125, 150, 175, 200];
const V2_CHANNELS: [usize; 5] = [64, 128, 256, 384, 512];
/// Encoder layers of the last three stages.
const LAYERS: [usize; 3] = [2, 4, 3];

pub(super) fn names() -> Vec<String> {
    let first = ROWS.iter().map(|row| row.0.to_string());
    let second = WIDTHS.iter().map(|width| format!("{V2}{width:03}"));
    first.chain(second).collect()
}

/// Channels of the stem, and after all where there is a convolution for them; the stages.
fn shape(name: &str) -> (usize, Option<usize>, Vec<StageShape>) {
    let stage = |i: usize, channels: [usize; 5], blocks, expansion, mixer| StageShape {
        channels: channels[i],
        stride: if i == 0 { 1 } else { 2 },
        blocks,
        expansion,
        mixer,
    };
    if let Some((_, expansion, channels, tokens, last)) = ROWS.iter().find(|row| row.0 == name) {
        let mixer = |i: usize| {
            Some(MixerShape::Attention {
                channels: tokens[i],
                hidden: 2 * tokens[i],
                layers: LAYERS[i],
            })
        };
        let of = |i: usize| match i.checked_sub(2) {
            None => stage(i, *channels, [1, 3][i], *expansion, None),
            Some(j) => stage(i, *channels, 1, *expansion, mixer(j)),
        };
        return (16, Some(*last), (0..5).map(of).collect());
    }
    let width = name.strip_prefix(V2).and_then(|rest| rest.get(..3));
    let width: usize = width
        .and_then(|width| width.parse().ok())
        .expect("the family knows its names");
    let scaled = |channels: usize| channels * width / 100;
    let channels = V2_CHANNELS.map(scaled);
    let mixer = |i: usize| {
        Some(MixerShape::Linear {
            channels: crate::layers::make_divisible(channels[i + 2] as f64 / 2.0, 8),
            layers: LAYERS[i],
        })
    };
    let of = |i: usize| match i.checked_sub(2) {
        None => stage(i, channels, [1, 2][i], 2.0, None),
        Some(j) => stage(i, channels, 1, 2.0, mixer(j)),
    };
    (scaled(32), None, (0..5).map(of).collect())
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let Keys {} = asked.node.read_knowing(COMMON)?;
    asked.no_output_stride()?;
    let (stem_channels, last, stages) = shape(&asked.name);
    let map = |(i, stage): (usize, &StageShape)| Feature {
        channels: stage.channels,
        stride: 2 << i,
    };
    let mut maps: Vec<_> = stages.iter().enumerate().map(map).collect();
    let count = stages.len();
    maps[count - 1].channels = last.unwrap_or(maps[count - 1].channels);
    let out_indices = asked.levels(&maps)?;
    // What comes after the last level that is asked for is not there.
    let there = out_indices.last().map_or(1, |last| last + 1);
    let blocks = |stage: &StageShape| stage.blocks + usize::from(stage.mixer.is_some());
    let all = stages.iter().map(blocks).sum();
    let params = &asked.params;
    let linear = Init::normal(0.01);
    params.initialise_built(InitRule::of(&["Linear"], linear));
    let plan = Plan {
        names: LayerNames::Timm,
        channels_in: asked.channels_in,
        stem_channels,
        last: last.filter(|_| there == count),
        style: ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Silu),
            ..ConvStyle::default()
        },
        rates: (0..all).map(rising(asked.drop_path_rate, all)).collect(),
        stages: stages[..there].to_vec(),
        out_indices,
    };
    let stages: Vec<_> = (0..there)
        .map(|i| asked.flattened(&format!("stages.{i}")))
        .collect();
    let mut backbone = MobileVit::new(plan, params, &stages, &params.at("final_conv"));
    if !asked.features_only {
        backbone.dropout = asked.head_dropout()?;
    }
    params.built();
    Ok(Box::new(backbone))
}
