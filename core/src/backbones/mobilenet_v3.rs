//! MobileNetV3 (Howard et al. 2019, arXiv 1905.02244) as MMPretrain 1.2.0 builds it: `layer0` is the stem, `layer1..` the
//! inverted residual blocks, and the last layer a 1x1 convolution. `out_indices` counts all of them.

use serde::Deserialize;

use super::Backbone;
use super::inverted_residual::{BlockConfig, Names};
use super::staged::{Counted, Staged};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvStyle, Init, InitRule, NormConfig, make_divisible,
};
use crate::limits::{Index, List};

/// The keys of `type='mmpretrain.MobileNetV3'`.
#[derive(Debug, Deserialize)]
struct MobileNetV3Config {
    arch: Option<String>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

/// Filter size, inner channels, output channels, squeeze-and-excite, hard swish (else ReLU), stride.
type BlockRow = (usize, usize, usize, bool, bool, usize);

const SMALL: [BlockRow; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];
const SMALL_075: [BlockRow; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 32, true, true, 2),
    (5, 192, 32, true, true, 1),
    (5, 192, 32, true, true, 1),
    (5, 96, 40, true, true, 1),
    (5, 120, 40, true, true, 1),
    (5, 240, 72, true, true, 2),
    (5, 432, 72, true, true, 1),
    (5, 432, 72, true, true, 1),
];
const SMALL_050: [BlockRow; 11] = [
    (3, 16, 8, true, false, 2),
    (3, 40, 16, false, false, 2),
    (3, 56, 16, false, false, 1),
    (5, 64, 24, true, true, 2),
    (5, 144, 24, true, true, 1),
    (5, 144, 24, true, true, 1),
    (5, 72, 24, true, true, 1),
    (5, 72, 24, true, true, 1),
    (5, 144, 48, true, true, 2),
    (5, 288, 48, true, true, 1),
    (5, 288, 48, true, true, 1),
];
const LARGE: [BlockRow; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

const STEM_CHANNELS: usize = 16;
const HARD_SIGMOID: Activation = Activation::HSigmoid {
    bias: 3.0,
    divisor: 6.0,
    min: 0.0,
    max: 1.0,
};

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: MobileNetV3Config =
        node.read_knowing(&["conv_cfg", "norm_cfg", "with_cp", "init_cfg"])?;
    let arch = config.arch.as_deref().unwrap_or("small");
    let rows = rows(node, arch)?;
    let last = rows.len() + 1;
    let counted = Counted {
        node,
        of: &format!("'{arch}'"),
        last,
    };
    let out_indices = counted.out_indices(config.out_indices.as_ref(), &[last])?;
    let frozen_stages = counted.frozen_stages(config.frozen_stages, [-1, last as i64])?;
    let mut channels = vec![STEM_CHANNELS];
    channels.extend(rows.iter().flat_map(|row| [row.1, row.2]));
    let defaults = ConvStyle {
        norm: Some(NormConfig {
            momentum: Some(0.01),
            ..NormConfig::batch(1e-3)
        }),
        act: Some(Activation::HSwish),
        initialises: true,
        ..ConvStyle::default()
    };
    let style = ConvStyle::read(node, defaults, &channels)?;

    // Each of the modules here then draws its own once more.
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        at.initialise(InitRule::of(&["BatchNorm2d"], Init::Constant(1.0)));
    });
    let params = &build.params;
    let mut staged = Staged::new(3, out_indices);
    let stem = ConvConfig::new(3, STEM_CHANNELS, 3).stride(2).pad(1);
    let stem = style.module(stem, &params.at("layer0"));
    staged.push(vec![Box::new(stem)], STEM_CHANNELS, 2);
    let mut channels = STEM_CHANNELS;
    for (i, row) in rows.iter().enumerate() {
        let at = params.at(format!("layer{}", i + 1));
        let style = style.act(Some(if row.4 {
            Activation::HSwish
        } else {
            Activation::Relu
        }));
        let block = block(channels, row).inverted(&style, Names::Apart, &at);
        staged.push(vec![Box::new(block)], row.2, row.5);
        channels = row.2;
    }
    let wide = rows[rows.len() - 1].1;
    let end = ConvConfig::new(channels, wide, 1);
    let end = style.module(end, &params.at(format!("layer{last}")));
    staged.push(vec![Box::new(end)], wide, 1);

    for i in 0..=frozen_stages {
        params.at(format!("layer{i}")).freeze();
    }
    if config.norm_eval.unwrap_or(false) {
        params.evaluate();
    }
    Ok(Box::new(staged))
}

fn rows(node: &Node, arch: &str) -> Result<&'static [BlockRow], Diagnostics> {
    Ok(match arch {
        "small" => &SMALL,
        "small_075" => &SMALL_075,
        "small_050" => &SMALL_050,
        "large" => &LARGE,
        other => {
            let message = format!("MobileNetV3 has no arch '{other}'");
            let known = "known are 'small', 'small_075', 'small_050', 'large'";
            return Err(error_at(node, "arch", message, known));
        }
    })
}

fn block(channels_in: usize, row: &BlockRow) -> BlockConfig {
    let &(kernel, mid, channels_out, squeezes, _, stride) = row;
    let squeezed = make_divisible((mid / 4) as f64, 8);
    BlockConfig {
        channels_in,
        mid,
        channels_out,
        kernel,
        stride,
        squeeze: squeezes.then_some((squeezed, [Activation::Relu, HARD_SIGMOID])),
        drop_path_rate: 0.0,
    }
}
