//! timm's HRNet (Wang et al. 2019, arXiv 1908.07919). See [`crate::backbones::high_resolution`].
//!
//! With `features_only` the outputs are the stem's first map (stride 2) and the four branches (4 to 32), each widened by a bottleneck
//! (`feature_location='incre'`) or as it is (`''`); without, the single map of 2048 channels that the classifier would read.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::high_resolution::{HighResolution, Plan, STEM_CHANNELS, Stage};
use crate::backbones::residual::{ResidualBlock, ResidualConfig};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Dropout, Init, InitRule, NormConfig, Params,
};

/// The keys of timm's HRNet.
#[derive(Debug, Deserialize)]
struct Keys {
    feature_location: Option<String>,
    head_conv_bias: Option<bool>,
}

/// Widths of the first branch.
const WIDTHS: [usize; 7] = [18, 30, 32, 40, 44, 48, 64];
/// Of what the branches are widened to, a quarter.
const WIDENED: [usize; 4] = [32, 64, 128, 256];
const EXPANSION: usize = 4;
/// Of the single map.
const HEAD_CHANNELS: usize = 2048;

/// All names.
pub(super) fn names() -> Vec<String> {
    let widths = WIDTHS.iter().map(|width| format!("hrnet_w{width}"));
    let others = [
        "hrnet_w18_small",
        "hrnet_w18_small_v2",
        "hrnet_w18_ssld",
        "hrnet_w48_ssld",
    ];
    widths.chain(others.map(String::from)).collect()
}

fn stages(name: &str) -> [Stage; 4] {
    match name {
        "hrnet_w18_small" => Stage::published_with(16, [32, 1], [1, 1, 1], 2),
        "hrnet_w18_small_v2" => Stage::published_with(18, [64, 2], [1, 3, 2], 2),
        _ => {
            let width = WIDTHS.iter().find(|width| {
                let rest = name.strip_prefix(&format!("hrnet_w{width}"));
                matches!(rest, Some("" | "_ssld"))
            });
            Stage::published(*width.expect("the family knows its names"))
        }
    }
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let stages = stages(&asked.name);
    let widens = match keys.feature_location.as_deref() {
        None | Some("incre") => true,
        Some("") => false,
        Some(other) => {
            let message = format!("`feature_location` is '{other}', must be 'incre' or ''");
            return Err(error_at(asked.node, "feature_location", message, ""));
        }
    };
    if keys.feature_location.is_some() && !asked.features_only {
        let message = "`feature_location` needs features_only=True";
        return Err(error_at(asked.node, "feature_location", message, ""));
    }
    if asked.output_stride != 32 {
        let message = format!("`output_stride` is {}, HRNet has 32", asked.output_stride);
        return Err(error_at(asked.node, "output_stride", message, ""));
    }
    let style = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(Activation::Relu),
        ..ConvStyle::default()
    };
    let plan = Plan {
        channels_in: asked.channels_in,
        stages,
        multiscale_output: true,
        first_style: style.clone(),
        style,
        zero_residual: false,
    };
    let bias = keys.head_conv_bias;
    let bias = bias.unwrap_or(!asked.name.ends_with("_ssld"));
    let (wanted, features) = if asked.features_only {
        let maps = maps(&plan, widens);
        let wanted = asked.wanted(&maps)?;
        let features = wanted.iter().map(|i| maps[*i]).collect();
        (wanted, features)
    } else {
        let map = Feature {
            channels: HEAD_CHANNELS,
            stride: 32,
        };
        (Vec::new(), vec![map])
    };

    let params = &asked.params;
    let mut net = TimmHrNet {
        body: {
            weigh(params);
            HighResolution::new(&plan, params)
        },
        widened: Vec::new(),
        head: None,
        features,
        wanted,
        channels_in: plan.channels_in,
        size_divisor: plan.size_divisor(),
    };
    if widens {
        let channels = plan.stages[3].channels_out();
        let at = params.at("incre_modules");
        let widened = channels.iter().zip(WIDENED).enumerate();
        let block = |(i, (from, width)): (usize, (&usize, usize))| {
            let config = ResidualConfig::bottleneck(*from, width, EXPANSION * width);
            config.init(&plan.style, &at.at(i).at(0))
        };
        net.widened = widened.map(block).collect();
    }
    if !asked.features_only {
        let dropout = asked.head_dropout()?;
        net.head = Some(Head::new(&plan.style, bias, dropout, params));
    }
    params.built();
    Ok(Box::new(net))
}

/// What timm gives its layers when all are built.
fn weigh(params: &Params) {
    let rule = InitRule::of(&["Conv2d"], Init::KAIMING);
    params.initialise_built(InitRule { bias: None, ..rule });
}

/// The stem's map, then the branches'.
fn maps(plan: &Plan, widens: bool) -> Vec<Feature> {
    let stem = Feature {
        channels: STEM_CHANNELS,
        stride: 2,
    };
    let widened = |(map, width): (Feature, usize)| Feature {
        channels: if widens {
            EXPANSION * width
        } else {
            map.channels
        },
        ..map
    };
    let branches = plan.features().into_iter().zip(WIDENED).map(widened);
    [stem].into_iter().chain(branches).collect()
}

/// HRNet from timm.
#[derive(Debug)]
pub struct TimmHrNet {
    body: HighResolution,
    /// For each branch what widens it, if anything does.
    widened: Vec<ResidualBlock>,
    head: Option<Head>,
    features: Vec<Feature>,
    /// 0 is the stem's first map; from 1 on the branches.
    wanted: Vec<usize>,
    channels_in: usize,
    size_divisor: usize,
}

impl Backbone for TimmHrNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let stem = self.body.stem(x);
        let mut outputs = Vec::new();
        if self.wanted.contains(&0) {
            outputs.push(stem.clone());
        }
        let learning = self.body.learning();
        if self.wanted == [0] && !learning {
            return outputs;
        }
        let maps = self.body.branches(stem);
        if let Some(head) = &self.head {
            return vec![head.forward(&self.widened, maps)];
        }
        for (i, map) in maps.into_iter().enumerate() {
            let wanted = self.wanted.contains(&(i + 1));
            let map = match self.widened.get(i) {
                // Its running statistics are in the state dict, wanted or not.
                Some(block) if wanted || learning => block.forward(map),
                _ => map,
            };
            outputs.extend(wanted.then_some(map));
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }

    fn size_divisor(&self) -> usize {
        self.size_divisor
    }
}

/// The branches joined into the coarsest, and a convolution.
#[derive(Debug)]
struct Head {
    /// From each branch to the next.
    downsample: Vec<ConvNormAct>,
    last: ConvNormAct,
    dropout: Option<Dropout>,
}

impl Head {
    fn new(style: &ConvStyle, bias: bool, dropout: Option<Dropout>, params: &Params) -> Self {
        let at = params.at("downsamp_modules");
        let channels = WIDENED.map(|width| EXPANSION * width);
        let down = |(i, pair): (usize, &[usize])| {
            let conv = ConvConfig::new(pair[0], pair[1], 3).stride(2).pad(1);
            style.named(conv.bias(bias), &at.at(i), 0, 1)
        };
        let downsample = channels.windows(2).enumerate().map(down).collect();
        let last = ConvConfig::new(channels[3], HEAD_CHANNELS, 1).bias(bias);
        Self {
            downsample,
            last: style.named(last, &params.at("final_layer"), 0, 1),
            dropout,
        }
    }

    fn forward(&self, widened: &[ResidualBlock], maps: Vec<Tensor<4>>) -> Tensor<4> {
        let mut widened = widened.iter().zip(maps).map(|(block, x)| block.forward(x));
        let first = widened.next().expect("there are four branches");
        let joined = widened
            .zip(&self.downsample)
            .fold(first, |x, (map, down)| map + down.forward(x));
        let x = self.last.forward(joined);
        match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        }
    }
}
