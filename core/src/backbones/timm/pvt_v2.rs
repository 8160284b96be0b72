//! timm's PVTv2 (Wang et al. 2022, arXiv 2106.13797): b0 to b5, and b2-li, whose tokens attend to a map of seven by seven.
//!
//! Stage i gives `[N, channels, H / (4 * 2^i), W / ...]`; without `features_only` the last one alone.

use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::options::rate;
use crate::backbones::pvt::{BlockPlan, Library, Plan, PyramidVisionTransformer, Reach, StagePlan};
use crate::backbones::tokens::{NARROW, PatchEmbedConfig, check_width, drop_path_rates};
use crate::backbones::{Backbone, Feature};
use crate::config::Diagnostics;
use crate::layers::{Activation, ConvConfig, InitRule, NormConfig};

#[derive(Debug, Deserialize)]
struct Keys {
    qkv_bias: Option<bool>,
    linear: Option<bool>,
    proj_drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
}

/// Name, depths, channels of a head, what the hidden layers of the first two stages have more.
const ROWS: [(&str, [usize; 4], usize, usize); 7] = [
    ("pvt_v2_b0", [2, 2, 2, 2], 32, 8),
    ("pvt_v2_b1", [2, 2, 2, 2], 64, 8),
    ("pvt_v2_b2", [3, 4, 6, 3], 64, 8),
    ("pvt_v2_b2_li", [3, 4, 6, 3], 64, 8),
    ("pvt_v2_b3", [3, 4, 18, 3], 64, 8),
    ("pvt_v2_b4", [3, 8, 27, 3], 64, 8),
    ("pvt_v2_b5", [3, 6, 40, 3], 64, 4),
];
const HEADS: [usize; 4] = [1, 2, 5, 8];
const REDUCTIONS: [usize; 4] = [8, 4, 2, 1];

pub(super) fn names() -> Vec<String> {
    ROWS.iter().map(|row| row.0.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let plan = keys.plan(asked)?;
    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Linear"], NARROW));
    for stage in &plan.stages {
        if let Some(i) = stage.name.strip_prefix("stages_") {
            params.at(&stage.name).once_called(&format!("stages.{i}"));
        }
    }
    let backbone = PyramidVisionTransformer::new(&plan, params);
    params.built();
    Ok(Box::new(backbone))
}

impl Keys {
    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let node = asked.node;
        let row = ROWS.iter().find(|row| row.0 == asked.name);
        let &(name, depths, head, ratio) = row.expect("the family knows its names");
        let linear = self.linear.unwrap_or(name.ends_with("_li"));
        let dropout = rate(node, "proj_drop_rate", self.proj_drop_rate)?;
        let attention_dropout = rate(node, "attn_drop_rate", self.attn_drop_rate)?;
        let rates = drop_path_rates(asked.drop_path_rate, &depths);
        let joint = if asked.features_only { '_' } else { '.' };
        let mut before = asked.channels_in;
        let mut stages = Vec::new();
        for (i, rates) in rates.iter().enumerate() {
            let channels = HEADS[i] * head;
            let hidden = channels * if i < 2 { ratio } else { 4 };
            check_width(node, "model_name", [channels, hidden, HEADS[i]])?;
            let block = |rate: &f64| BlockPlan {
                library: Library::Timm,
                channels,
                heads: HEADS[i],
                reach: match linear {
                    true => Reach::Pooled,
                    false => Reach::Reduced(REDUCTIONS[i]),
                },
                hidden,
                depthwise: true,
                qkv_bias: self.qkv_bias.unwrap_or(true),
                act: Activation::Gelu,
                dropout,
                attention_dropout,
                drop_path_rate: *rate,
                norm: NormConfig::layer(1e-6),
                reduced_norm: NormConfig::layer(1e-5),
                initialised: true,
            };
            let (kernel, stride) = if i == 0 { (7, 4) } else { (3, 2) };
            stages.push(StagePlan {
                name: format!("stages{joint}{i}"),
                embed: PatchEmbedConfig {
                    conv: ConvConfig::new(before, channels, kernel)
                        .stride(stride)
                        .pad(kernel / 2),
                    channels_out: channels,
                    norm: Some(NormConfig::layer(1e-5)),
                    projection: "proj",
                },
                position: None,
                conditional: false,
                blocks: rates.iter().map(block).collect(),
                norm: Some(NormConfig::layer(1e-6)),
                feature: Feature {
                    channels,
                    stride: 4 << i,
                },
            });
            before = channels;
        }
        let outputs = match asked.features_only {
            true => {
                let features: Vec<_> = stages.iter().map(|stage| stage.feature).collect();
                asked.wanted_or(&features, Some(&[0, 1, 2, 3]))?
            }
            false => vec![stages.len() - 1],
        };
        stages.truncate(outputs.last().map_or(0, |last| last + 1));
        Ok(Plan {
            library: Library::Timm,
            channels_in: asked.channels_in,
            stages,
            dropout: 0.0,
            outputs,
            initialised: true,
        })
    }
}
