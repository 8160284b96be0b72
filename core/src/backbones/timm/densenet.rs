//! timm's DenseNet (Huang et al. 2017, arXiv 1608.06993), also with a stem of three convolutions (`d`) and with blur (`blur`).
//!
//! Shapes: level 0 is the stem, `[N, 2 * growth, H / 2, ..]`, level i block i, at stride `2 * 2^i`; the last is what comes out of the last norm.

use burn::tensor::Tensor;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Asked, COMMON, activation};
use crate::backbones::densenet::{BlockShape, DenseNet, Given, Names, Plan, blocks};
use crate::backbones::options::rate;
use crate::backbones::{Backbone, Feature};
use crate::config::{Bounded, Diagnostics, error_at};
use crate::layers::{Distribution, Dropout, Fan, Init, InitRule, NormConfig};
use crate::limits::{Channels, List};

/// The keys of timm's DenseNet.
#[derive(Debug, Deserialize)]
struct Keys {
    growth_rate: Option<Channels>,
    block_config: Option<List<Bounded<1, 128>>>,
    bn_size: Option<Channels>,
    stem_type: Option<String>,
    act_layer: Option<String>,
    proj_drop_rate: Option<f64>,
    aa_stem_only: Option<bool>,
    /// A class, which a config cannot name.
    aa_layer: Option<IgnoredAny>,
    /// The same: what MMPretrain makes of a name has no activation.
    norm_layer: Option<IgnoredAny>,
}

/// Keys that are of the classifier, or of the memory that training takes.
const OTHERS: &[&str] = &["global_pool", "memory_efficient"];

/// Names, growth, layers of each block, a deep stem, blur.
const MODELS: [(&str, usize, [usize; 4], bool, bool); 6] = [
    ("densenet121", 32, [6, 12, 24, 16], false, false),
    ("densenet161", 48, [6, 12, 36, 24], false, false),
    ("densenet169", 32, [6, 12, 32, 32], false, false),
    ("densenet201", 32, [6, 12, 48, 32], false, false),
    ("densenet264d", 48, [6, 12, 64, 48], true, false),
    ("densenetblur121d", 32, [6, 12, 24, 16], true, true),
];

/// All names.
pub(super) fn names() -> Vec<String> {
    MODELS.iter().map(|model| model.0.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(&[COMMON, OTHERS].concat())?;
    let plan = keys.plan(asked)?;
    let params = &asked.params;
    params.initialise_built(InitRule {
        bias: None,
        ..InitRule::of(&["Conv2d"], KAIMING_IN)
    });
    let backbone = DenseNet::new(&plan, params);
    params.built();
    let Some(rate) = asked.classifier_dropout()? else {
        return Ok(Box::new(backbone));
    };
    let dropout = Dropout::new(rate, &params.at("head_drop"));
    Ok(Box::new(Dropped(backbone, dropout)))
}

/// PyTorch's `kaiming_normal_` as it is by default.
const KAIMING_IN: Init = Init::Kaiming {
    gain: std::f64::consts::SQRT_2,
    fan: Fan::In,
    distribution: Distribution::Normal,
};

impl Keys {
    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let node = asked.node;
        let name = &asked.name;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        for (key, given) in [
            ("aa_layer", self.aa_layer.is_some()),
            ("norm_layer", self.norm_layer.is_some()),
        ] {
            if given {
                let message = format!("`{key}` must be a class, which no config can name");
                return fail(key, message);
            }
        }
        if asked.output_stride != 32 {
            return fail("output_stride", format!("'{name}' has no `output_stride`"));
        }
        if asked.drop_path_rate > 0.0 {
            let message = format!("'{name}' has no stochastic depth");
            return fail("drop_path_rate", message);
        }
        let drop_rate = rate(asked.node, "proj_drop_rate", self.proj_drop_rate)?;
        let act = self.act_layer.as_deref().unwrap_or("relu");
        let Some(act) = activation(act) else {
            return fail("act_layer", format!("timm has no activation '{act}'"));
        };
        let model = MODELS.iter().find(|model| model.0 == name);
        let &(_, growth, own_depths, deep, blurred) = model.expect("the family knows its names");
        let growth = self.growth_rate.map_or(growth, Channels::get);
        let depths = self.block_config.as_ref();
        let depths = depths.map_or_else(|| own_depths.to_vec(), List::numbers);
        let own = if deep { "deep" } else { "" };
        let stem = stem(self.stem_type.as_deref().unwrap_or(own), growth);
        let bn_size = self.bn_size.map_or(4, Channels::get);
        let blocks = blocks(&depths, 2 * growth, growth, bn_size, |c| c / 2);
        let (Some(blocks), false) = (blocks, stem.contains(&0) || depths.is_empty()) else {
            let message = "these blocks have no channels somewhere, or too many layers or channels";
            return fail("growth_rate", message.into());
        };
        Ok(Plan {
            names: Names::Timm {
                flat: asked.features_only,
            },
            channels_in: asked.channels_in,
            given: given(asked, &blocks)?,
            stem,
            blocks,
            norm: NormConfig::batch(1e-5),
            act,
            drop_rate,
            blurred_stem: blurred,
            blurred_transitions: blurred && self.aa_stem_only == Some(false),
        })
    }
}

/// Channels of the stem's convolutions.
fn stem(kind: &str, growth: usize) -> Vec<usize> {
    let out = 2 * growth;
    if !kind.contains("deep") {
        return vec![out];
    }
    if !kind.contains("tiered") {
        return vec![growth, growth, out];
    }
    let second = match kind.contains("narrow") {
        true => out,
        false => 6 * (growth / 4),
    };
    vec![3 * (growth / 4), second, out]
}

/// Which maps are asked for.
fn given(asked: &Asked, blocks: &[BlockShape]) -> Result<Vec<Given>, Diagnostics> {
    let last = blocks.len() - 1;
    if !asked.features_only {
        return Ok(vec![Given::Transition(last)]);
    }
    let mut levels = vec![Feature {
        channels: 2 * blocks[0].growth,
        stride: 2,
    }];
    for (i, block) in blocks.iter().enumerate() {
        levels.push(Feature {
            channels: block.channels_out(),
            stride: 4 << i,
        });
    }
    let wanted = asked.wanted(&levels)?.into_iter();
    let map = |level: usize| match level.checked_sub(1) {
        None => Given::Stem,
        Some(i) if i == last => Given::Transition(i),
        Some(i) => Given::Block(i),
    };
    Ok(wanted.map(map).collect())
}

/// With the dropout that its classifier would begin with.
#[derive(Debug)]
struct Dropped(DenseNet, Option<Dropout>);

impl Backbone for Dropped {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let maps = self.0.forward(x);
        let drop = |map| match &self.1 {
            Some(dropout) => dropout.forward(map),
            None => map,
        };
        maps.into_iter().map(drop).collect()
    }

    fn features(&self) -> Vec<Feature> {
        self.0.features()
    }

    fn channels_in(&self) -> usize {
        self.0.channels_in()
    }
}
