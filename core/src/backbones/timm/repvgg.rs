//! timm's RepVGG and MobileOne, of its ByobNet: names and sizes; the net is [`RepNet`]'s.
//!
//! With `features_only` there are maps of strides 2 to 32, those of the stem and the stages.

use serde::Deserialize;

use super::{Asked, COMMON, activation};
use crate::backbones::mobileone::{self, Arch};
use crate::backbones::repvgg::{BlockPlan, Naming, Plan, RepNet, SePlan};
use crate::backbones::{Backbone, Feature, options};
use crate::config::{Diagnostics, error_at};
use crate::layers::{Activation, ConvStyle, Init, InitRule, NormConfig};

/// The keys of timm's ByobNet that are read.
#[derive(Debug, Deserialize)]
struct Keys {
    act_layer: Option<String>,
}

const STAGES: usize = 4;
const STEM_STRIDE: usize = 2;

/// Blocks of each stage, the widths of the stages but the last and of the last, groups of every second block.
type Size = ([usize; STAGES], [f64; 2], usize);

const A: [usize; STAGES] = [2, 4, 14, 1];
const B: [usize; STAGES] = [4, 6, 16, 1];

const REPVGG: [(&str, Size); 11] = [
    ("a0", (A, [0.75, 2.5], 1)),
    ("a1", (A, [1.0, 2.5], 1)),
    ("a2", (A, [1.5, 2.75], 1)),
    ("b0", (B, [1.0, 2.5], 1)),
    ("b1", (B, [2.0, 4.0], 1)),
    ("b1g4", (B, [2.0, 4.0], 4)),
    ("b2", (B, [2.5, 5.0], 1)),
    ("b2g4", (B, [2.5, 5.0], 4)),
    ("b3", (B, [3.0, 5.0], 1)),
    ("b3g4", (B, [3.0, 5.0], 4)),
    ("d2se", ([8, 14, 24, 1], [2.5, 5.0], 1)),
];

/// All names.
pub(super) fn names() -> Vec<String> {
    let repvgg = REPVGG.iter().map(|(name, _)| format!("repvgg_{name}"));
    let mobileone = mobileone::ARCHES.iter();
    let mobileone = mobileone.map(|(name, _)| format!("mobileone_{name}"));
    repvgg.chain(mobileone).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Keys = asked.node.read_knowing(COMMON)?;
    let node = asked.node;
    let act = config.act_layer.as_deref().unwrap_or("relu");
    let Some(act) = activation(act) else {
        let message = format!("timm has no activation '{act}'");
        return Err(error_at(node, "act_layer", message, ""));
    };
    let mut plan = match asked.name.strip_prefix("repvgg_") {
        Some(size) => repvgg(asked, size),
        None => mobileone(asked, asked.name.trim_start_matches("mobileone_")),
    };
    plan.style.act = Some(act);
    spread(asked, &mut plan);
    let mut levels = vec![Feature {
        channels: plan.stem.channels[1],
        stride: STEM_STRIDE,
    }];
    for stage in &plan.stages {
        let last = stage.last().expect("a stage has a block");
        let stride = stage.iter().map(|block| block.stride).product::<usize>();
        levels.push(Feature {
            channels: last.channels[1],
            stride: levels[levels.len() - 1].stride * stride,
        });
    }
    if asked.features_only {
        plan.outputs = asked.wanted(&levels)?;
        let last = plan.outputs.last().copied().unwrap_or(0);
        plan.stages.truncate(last);
    }
    let params = &asked.params;
    let norms = match plan.naming {
        // Its blocks do so after the whole.
        Naming::TimmRepVgg => Init::Normal {
            mean: 0.1,
            std: 0.1,
        },
        _ => Init::Constant(1.0),
    };
    params.initialise_built(InitRule::of(&["Conv2d"], Init::KAIMING));
    params.initialise_built(InitRule::of(&["BatchNorm2d"], norms));
    let model = RepNet::named(plan, params, asked.features_only);
    params.built();
    Ok(Box::new(model))
}

/// Rates of dropped paths; strides that become dilations past `output_stride`.
fn spread(asked: &Asked, plan: &mut Plan) {
    let count = plan.stages.iter().map(Vec::len).sum();
    let mut rates = (0..count).map(options::rising(asked.drop_path_rate, count));
    let (mut total, mut dilation) = (STEM_STRIDE, 1);
    for stage in &mut plan.stages {
        let stride = stage[0].stride;
        if total >= asked.output_stride {
            dilation *= stride;
            stage[0].stride = 1;
        }
        total *= stage[0].stride;
        for (i, block) in stage.iter_mut().enumerate() {
            block.drop_path_rate = rates.next().unwrap_or(0.0);
            let first = match (i, dilation) {
                (0, 1 | 2) => 1,
                (0, _) => 2,
                _ => dilation,
            };
            // Those of MobileOne are not passed on, but decide whether the input is normed alone.
            block.identity &= first == dilation;
            if plan.naming == Naming::TimmRepVgg {
                block.dilation = first;
            }
        }
    }
}

/// Without what is common.
fn plan(
    naming: Naming,
    asked: &Asked,
    stem: usize,
    stages: Vec<Vec<BlockPlan>>,
    stem_excites: Option<&SePlan>,
) -> Plan {
    Plan {
        naming,
        style: ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        },
        deploy: false,
        stem: BlockPlan {
            squeeze_excite: stem_excites.cloned(),
            ..BlockPlan::new([asked.channels_in, stem], 3, STEM_STRIDE)
        },
        stages,
        ppf: None,
        outputs: vec![STAGES],
    }
}

fn repvgg(asked: &Asked, size: &str) -> Plan {
    let found = REPVGG.iter().find(|(name, _)| *name == size);
    let (_, (blocks, [width, last], groups)) = found.expect("the family knows its names");
    let excites = SePlan::new(16, 1).nearest();
    let excites = (size == "d2se").then_some(&excites);
    let channels = |i: usize| {
        let width = if i == STAGES - 1 { last } else { width };
        ((64 << i) as f64 * width) as usize
    };
    let stem = channels(0).min(64);
    let mut into = stem;
    let stage = |i: usize| {
        let mut stage = Vec::new();
        for j in 0..blocks[i] {
            stage.push(BlockPlan {
                groups: if j % 2 == 1 { *groups } else { 1 },
                squeeze_excite: excites.cloned(),
                ..BlockPlan::new([into, channels(i)], 3, if j == 0 { 2 } else { 1 })
            });
            into = channels(i);
        }
        stage
    };
    let stages = (0..STAGES).map(stage).collect();
    plan(Naming::TimmRepVgg, asked, stem, stages, excites)
}

fn mobileone(asked: &Asked, size: &str) -> Plan {
    let found = mobileone::ARCHES.iter().find(|(name, _)| *name == size);
    let (_, (widths, copies, excited)) = found.expect("the family knows its names");
    let arch = Arch {
        blocks: mobileone::BLOCKS.to_vec(),
        widths: widths.to_vec(),
        copies: vec![*copies; STAGES],
        excited: excited.to_vec(),
    };
    let channels: Vec<_> = (0..STAGES)
        .map(|i| ((64 << i) as f64 * widths[i]) as usize)
        .collect();
    let stem = channels[0].min(64);
    let excites = SePlan::new(16, 8).nearest();
    let stages = arch.stages(&channels, stem, Some(&excites));
    plan(Naming::TimmMobileOne, asked, stem, stages, None)
}
