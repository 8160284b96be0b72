//! timm's EdgeNeXt (Maaz et al. 2022, arXiv 2206.10589): that of `../edgenext.rs` by other names, and `edgenext_small_rw`, whose stages
//! begin with a block that halves the sides.

use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::edgenext::{EdgeNext, Library, Places, Plan, StageShape};
use crate::backbones::{Backbone, Feature};
use crate::config::Diagnostics;
use crate::layers::{Activation, Init, InitRule, NormConfig};

/// No keys of its own.
#[derive(Debug, Deserialize)]
struct Keys {}

/// Name, and channels, blocks and heads of each stage.
type Row = (&'static str, [usize; 4], [usize; 4], usize);

const ROWS: [Row; 5] = [
    ("edgenext_xx_small", [24, 48, 88, 168], [2, 2, 6, 2], 4),
    ("edgenext_x_small", [32, 64, 100, 192], [3, 3, 9, 3], 4),
    ("edgenext_small", [48, 96, 160, 304], [3, 3, 9, 3], 8),
    ("edgenext_base", [80, 160, 288, 584], [3, 3, 9, 3], 8),
    (REWORKED, [48, 96, 192, 384], [3, 3, 9, 3], 8),
];
const REWORKED: &str = "edgenext_small_rw";

const KERNELS: [usize; 4] = [3, 5, 7, 9];
const SCALES: [usize; 4] = [2, 2, 3, 4];

pub(super) fn names() -> Vec<String> {
    ROWS.iter().map(|row| row.0.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let Keys {} = asked.node.read_knowing(COMMON)?;
    asked.no_output_stride()?;
    let row = ROWS.iter().find(|row| row.0 == asked.name);
    let (name, channels, blocks, heads) = row.expect("the family knows its names");
    let stage = |i: usize| StageShape {
        channels: channels[i],
        blocks: blocks[i],
        split_blocks: usize::from(i > 0),
        heads: *heads,
        kernel: KERNELS[i],
        scales: SCALES[i],
        positions: i == 1,
    };
    let map = |i: usize| Feature {
        channels: channels[i],
        stride: 4 << i,
    };
    let out_indices = asked.levels(&[0, 1, 2, 3].map(map))?;
    // What comes after the last level that is asked for is not there.
    let count = out_indices.last().map_or(1, |last| last + 1);
    let reworked = *name == REWORKED;
    let norm = NormConfig::layer(1e-6);
    let params = &asked.params;
    let init = Init::TruncNormal {
        mean: 0.0,
        std: 0.02,
        a: -0.04,
        b: 0.04,
    };
    params.initialise_built(InitRule::of(&["Conv2d", "Linear"], init));
    let stages: Vec<_> = (0..count)
        .map(|i| asked.flattened(&format!("stages.{i}")))
        .collect();
    let places = Places {
        stem: ["stem.0", "stem.1"].map(|name| asked.flattened(name)),
        downsamples: stages.iter().map(|at| at.at("downsample")).collect(),
        stages,
    };
    let plan = Plan {
        library: Library::Timm,
        channels_in: asked.channels_in,
        stages: (0..count).map(stage).collect(),
        stem_kernel: if reworked { 9 } else { 4 },
        shrinking_block: reworked,
        conv_bias: !reworked,
        positions: false,
        split_ratio: 4,
        linear: true,
        scale: 1e-6,
        split_norm: norm.clone(),
        norm: norm.clone(),
        act: Activation::Gelu,
        drop_path_rate: asked.drop_path_rate,
        all_blocks: blocks.iter().sum(),
        out_indices,
    };
    let mut backbone = EdgeNext::new(plan, params, &places);
    if !asked.features_only {
        backbone.dropout = asked.head_dropout()?;
        backbone.norms = vec![norm.init(channels[3], &params.at("head.norm"))];
    }
    params.built();
    Ok(Box::new(backbone))
}
