//! RepLKNet (Ding et al. 2022, arXiv 2203.06717) as MMPretrain 1.2.0 builds it: depthwise filters of up to 31x31, with small ones beside them that
//! they can be merged with (`small_kernel_merged=True`).
//!
//! Shapes: stage i gives `[N, channels[i], H / (4 * 2^i), W / ..]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Short, error_at};
use crate::layers::{
    Activation, Branch, Branches, ConvConfig, ConvNormAct, DropPath, Init, InitRule, Norm,
    NormConfig, Params,
};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of `type='mmpretrain.RepLKNet'`; `arch` and `out_indices` are read apart. The original passes none of `conv_cfg`, `norm_cfg`,
/// `act_cfg`, `strides`, `dilations` on to its layers.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    ffn_ratio: Option<f64>,
    strides: Option<Short<Pixels, MOST_STAGES>>,
    dilations: Option<Short<Pixels, MOST_STAGES>>,
    frozen_stages: Option<i64>,
    drop_path_rate: Option<f64>,
    small_kernel_merged: Option<bool>,
    norm_eval: Option<bool>,
}

const OTHERS: &[&str] = &[
    "arch",
    "out_indices",
    "conv_cfg",
    "norm_cfg",
    "act_cfg",
    "with_cp",
    "norm_intermediate_features",
    "init_cfg",
];

/// Stages of an `arch` that is a dict.
const MOST_STAGES: usize = 16;
/// Channels within a block.
const MOST_CHANNELS: f64 = (1 << 18) as f64;
const EPS: f64 = 1e-5;

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct Given {
    large_kernel_sizes: Short<Pixels, MOST_STAGES>,
    layers: Short<Layers, MOST_STAGES>,
    channels: Short<Channels, MOST_STAGES>,
    small_kernel: Option<Pixels>,
    dw_ratio: f64,
}

/// Large filters, channels of the first stage, small filters, channels of the large filters to those of the stage.
type Size = ([usize; 4], usize, Option<usize>, f64);

const BLOCKS: [usize; 4] = [2, 2, 18, 2];
const ARCHES: [(&str, Size); 3] = [
    ("31B", ([31, 29, 27, 13], 128, Some(5), 1.0)),
    ("31L", ([31, 29, 27, 13], 192, Some(5), 1.0)),
    ("XL", ([27, 27, 27, 13], 256, None, 1.5)),
];

/// A stage in numbers: its blocks, channels, channels of the large filters, channels between the pointwise layers, sides of the filters.
#[derive(Clone, Copy)]
struct StagePlan {
    depth: usize,
    channels: usize,
    filtered: usize,
    hidden: usize,
    large: usize,
    small: Option<usize>,
    merged: bool,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(RepLkNet::read(node, build)?))
}

/// RepLKNet.
#[derive(Debug)]
pub struct RepLkNet {
    stem: Vec<ConvNormAct>,
    stages: Vec<Vec<[Block; 2]>>,
    norms: Vec<Option<Norm>>,
    /// What is after each stage but the last.
    transitions: Vec<[ConvNormAct; 2]>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl RepLkNet {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: Keys = node.read_knowing(OTHERS)?;
        if node.get("arch").is_none() {
            let example = "for example arch='31B'";
            return Err(error_at(node, "arch", "RepLKNet needs an `arch`", example));
        }
        let plans = config.stages(node)?;
        let count = plans.len();
        let outputs = options::out_indices(node, &[3], count, 0)?;
        let frozen = options::frozen_stages(node, config.frozen_stages, -1, count)?;
        let rate = config.drop_path_rate.or(Some(0.3));
        let rate = options::rate(node, "drop_path_rate", rate)?;
        let depth = plans.iter().map(|plan| plan.depth).sum();
        let mut rates = (0..depth).map(options::rising(rate, depth));
        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
            let norms = ["_BatchNorm", "GroupNorm"];
            at.initialise(InitRule::of(&norms, Init::Constant(1.0)));
        });

        let params = &build.params;
        let channels_in = config.in_channels.map_or(3, Channels::get);
        let first = plans[0].channels;
        let each = |channels, stride| {
            let conv = ConvConfig::new(channels, channels, 3).pad(1);
            conv.stride(stride).groups(channels)
        };
        let stem = [
            ConvConfig::new(channels_in, first, 3).stride(2).pad(1),
            each(first, 1),
            ConvConfig::new(first, first, 1),
            each(first, 2),
        ];
        let at = params.at("stem");
        let relu = Some(Activation::Relu);
        let stem = stem.iter().enumerate();
        let stem = stem.map(|(i, conv)| layer(conv.clone(), relu, &at.at(i)));
        let stem = stem.collect();
        let (mut stages, mut norms) = (Vec::new(), Vec::new());
        for (i, plan) in plans.iter().enumerate() {
            let at = params.at("stages").at(i);
            let blocks = at.at("blocks");
            let rates = rates.by_ref().take(plan.depth).enumerate();
            let pair = |(j, rate)| {
                let filters = Block::filters(plan, rate, &blocks.at(2 * j));
                [filters, Block::pointwise(plan, rate, &blocks.at(2 * j + 1))]
            };
            stages.push(rates.map(pair).collect());
            let norm = || NormConfig::batch(EPS).init(plan.channels, &at.at("norm"));
            norms.push(outputs.contains(&i).then(norm));
        }
        let transition = |(i, pair): (usize, &[StagePlan])| {
            let at = params.at("transitions").at(i);
            let [from, to] = [pair[0].channels, pair[1].channels];
            let across = layer(ConvConfig::new(from, to, 1), relu, &at.at(0));
            [across, layer(each(to, 2), relu, &at.at(1))]
        };
        let transitions = plans.windows(2).enumerate().map(transition).collect();
        if frozen >= 0 {
            params.at("stem").freeze();
        }
        for i in 0..frozen {
            params.at("stages").at(i).freeze();
        }
        if config.norm_eval.unwrap_or(false) {
            params.evaluate();
        }
        let feature = |i: &usize| Feature {
            channels: plans[*i].channels,
            stride: 4 << i,
        };
        Ok(Self {
            stem,
            stages,
            norms,
            transitions,
            features: outputs.iter().map(feature).collect(),
            channels_in,
        })
    }
}

impl Keys {
    fn stages(&self, node: &Node) -> Result<Vec<StagePlan>, Diagnostics> {
        let (kernels, depths, channels, small, ratio) =
            match options::arch::<Size, Given>(node, "", &ARCHES)? {
                options::Arch::Named((kernels, first, small, ratio)) => {
                    let channels = (0..4).map(|i| first << i).collect();
                    (kernels.to_vec(), BLOCKS.to_vec(), channels, small, ratio)
                }
                options::Arch::Given(arch) => (
                    arch.large_kernel_sizes.numbers(),
                    arch.layers.numbers(),
                    arch.channels.numbers(),
                    arch.small_kernel.map(Pixels::get),
                    arch.dw_ratio,
                ),
            };
        let count = depths.len();
        if count == 0 {
            return Err(error_at(node, "arch", "there are no stages", ""));
        }
        options::one_each(node, "arch", &kernels, count)?;
        options::one_each(node, "arch", &channels, count)?;
        for (key, list) in [("strides", &self.strides), ("dilations", &self.dilations)] {
            let count_of = list.as_ref().map_or(4, |list| list.len());
            options::one_each(node, key, &vec![(); count_of], count)?;
        }
        let wider = self.ffn_ratio.unwrap_or(4.0);
        let stage = |i: usize| {
            let of = |ratio: f64| match channels[i] as f64 * ratio {
                found if (1.0..=MOST_CHANNELS).contains(&found) => Ok(found as usize),
                found => {
                    let message = format!("stage {i} would have layers of {found} channels");
                    Err(error_at(node, "arch", message, ""))
                }
            };
            let (large, least) = (kernels[i], small.unwrap_or(1));
            if large % 2 == 0 || least % 2 == 0 || least > large {
                let message = format!("filters of {large} and {least} px side by side");
                let help = "odd numbers are possible, the second not larger than the first";
                return Err(error_at(node, "arch", message, help));
            }
            Ok(StagePlan {
                depth: depths[i],
                channels: channels[i],
                filtered: of(ratio)?,
                hidden: of(wider)?,
                large,
                small,
                merged: self.small_kernel_merged.unwrap_or(false),
            })
        };
        (0..count).map(stage).collect()
    }
}

impl Backbone for RepLkNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let wanted = self.norms[i..].iter().any(Option::is_some);
            let mut later = self.stages[i..].iter().flatten().flatten();
            if !wanted && !later.any(|block| block.norm.learning()) {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            x = stage.iter().flatten().fold(x, |x, block| block.forward(x));
            if let Some(norm) = &self.norms[i] {
                maps.push(norm.forward(x.clone()));
            }
            if let Some(transition) = self.transitions.get(i) {
                x = transition.iter().fold(x, |x, layer| layer.forward(x));
            }
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// A convolution and its norm.
fn layer(conv: ConvConfig, act: Option<Activation>, at: &Params) -> ConvNormAct {
    let norm = NormConfig::batch(EPS);
    let conv = conv.bias(false).act(act);
    conv.init(&at.at("conv"), Some((&norm, &at.at("bn"))))
}

/// A norm and two layers of one place, added to the input; large depthwise filters between them, in every second block.
#[derive(Debug)]
struct Block {
    norm: Norm,
    first: ConvNormAct,
    filters: Option<Branches>,
    last: ConvNormAct,
    drop_path: Option<DropPath>,
}

impl Block {
    fn filters(plan: &StagePlan, rate: f64, at: &Params) -> Self {
        let (channels, filtered) = (plan.channels, plan.filtered);
        let relu = Some(Activation::Relu);
        let first = layer(ConvConfig::new(channels, filtered, 1), relu, &at.at("pw1"));
        let last = layer(ConvConfig::new(filtered, channels, 1), None, &at.at("pw2"));
        let place = at.at("large_kernel");
        let deployed = place.at("lkb_reparam");
        let conv = |kernel: usize| {
            let conv = ConvConfig::new(filtered, filtered, kernel).pad(kernel / 2);
            conv.groups(filtered)
        };
        let norm = NormConfig::batch(EPS);
        let branch = |kernel: usize, name: &str| {
            let at = place.at(name);
            Branch::normed(conv(kernel), at.at("conv"), &norm, at.at("bn"))
        };
        let whole = conv(plan.large).act(relu);
        let filters = match plan.merged {
            true => Branches::one(whole.bias(true).init(&deployed, None)),
            false => {
                let mut branches = vec![branch(plan.large, "lkb_origin")];
                branches.extend(plan.small.map(|small| branch(small, "small_conv")));
                Branches::new(&whole, &branches, Some(&deployed))
            }
        };
        Self {
            norm: norm.init(channels, &at.at("prelkb_bn")),
            first,
            filters: Some(filters),
            last,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn pointwise(plan: &StagePlan, rate: f64, at: &Params) -> Self {
        let (channels, hidden) = (plan.channels, plan.hidden);
        let gelu = Some(Activation::Gelu);
        let norm = NormConfig::batch(EPS).init(channels, &at.at("preffn_bn"));
        Self {
            norm,
            first: layer(ConvConfig::new(channels, hidden, 1), gelu, &at.at("pw1")),
            filters: None,
            last: layer(ConvConfig::new(hidden, channels, 1), None, &at.at("pw2")),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.first.forward(self.norm.forward(x.clone()));
        let y = match &self.filters {
            Some(filters) => filters.forward(y),
            None => y,
        };
        DropPath::add(&self.drop_path, x, self.last.forward(y))
    }
}
