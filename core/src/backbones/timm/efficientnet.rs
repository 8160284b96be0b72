//! timm's EfficientNet (Tan and Le 2019, arXiv 1905.11946):
//! b0 to b8, lite0 to lite4, and the `tf_` variants, which pad as TensorFlow does and use an epsilon of 1e-3.
//!
//! With `features_only` the output i is the last map of the i-th resolution (strides 2, 4, 8, 16, 32); without, it is
//! the single map after the 1x1 head convolution.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Asked, COMMON, activation};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Init, InitRule, NormConfig, Padding, Params,
    SqueezeExcite, make_divisible,
};

/// The keys of timm's EfficientNet.
#[derive(Debug, Deserialize)]
struct Keys {
    act_layer: Option<String>,
    bn_eps: Option<f64>,
    bn_momentum: Option<f64>,
    pad_type: Option<String>,
    feature_location: Option<String>,
}

/// A member of the family.
#[derive(Debug, PartialEq)]
struct Variant {
    width: f64,
    depth: f64,
    /// No squeeze-and-excite, ReLU6, first and last stage and the stem not scaled.
    lite: bool,
    tensorflow: bool,
}

const STEM_STRIDE: usize = 2;

/// Repeats, filter size, stride, expansion, channels.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// Width and depth of b0 to b8; lite0 to lite4 have those of b0 to b4.
const SCALES: [(f64, f64); 9] = [
    (1.0, 1.0),
    (1.0, 1.1),
    (1.1, 1.2),
    (1.2, 1.4),
    (1.4, 1.8),
    (1.6, 2.2),
    (1.8, 2.6),
    (2.0, 3.1),
    (2.2, 3.6),
];

/// How many of these there are in `lite`.
const LITE: usize = 5;

/// Where timm's own weights lie, below [`WEIGHTS_AT`]; a name without a tag has the weights of timm's default tag.
const WEIGHTS: [(&str, &str); 13] = [
    ("efficientnet_b0", "efficientnet_b0_ra-3dd342df.pth"),
    ("efficientnet_b1", "efficientnet_b1-533bc792.pth"),
    ("efficientnet_b2", "efficientnet_b2_ra-bcdf34b7.pth"),
    ("efficientnet_b3", "efficientnet_b3_ra2-cf984f9c.pth"),
    ("efficientnet_b4", "efficientnet_b4_ra2_320-7eb33cd5.pth"),
    ("tf_efficientnet_b0", "tf_efficientnet_b0_ns-c0e6a31c.pth"),
    ("tf_efficientnet_b1", "tf_efficientnet_b1_ns-99dd0c41.pth"),
    ("tf_efficientnet_b2", "tf_efficientnet_b2_ns-00306e48.pth"),
    ("tf_efficientnet_b3", "tf_efficientnet_b3_ns-9d44bf68.pth"),
    ("tf_efficientnet_b4", "tf_efficientnet_b4_ns-d6313a46.pth"),
    ("tf_efficientnet_b5", "tf_efficientnet_b5_ns-6f26d0cf.pth"),
    ("tf_efficientnet_b6", "tf_efficientnet_b6_ns-51548356.pth"),
    ("tf_efficientnet_b7", "tf_efficientnet_b7_ns-1dbc32de.pth"),
];
const WEIGHTS_AT: &str =
    "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/";

impl Variant {
    /// Reads a model's name; the old suffixes `_ap`, `_ns`, `_aa` name weights only.
    fn parse(name: &str) -> Option<Self> {
        let (tensorflow, name) = match name.strip_prefix("tf_") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let name = name.strip_prefix("efficientnet_")?;
        if matches!(name, "l2" | "l2_ns" | "l2_ns_475") && (tensorflow || name == "l2") {
            return Some(Self {
                width: 4.3,
                depth: 5.3,
                lite: false,
                tensorflow,
            });
        }
        let (lite, index) = match (name.strip_prefix("lite"), name.strip_prefix('b')) {
            (Some(index), _) => (true, index),
            (_, Some(index)) => (false, index),
            _ => return None,
        };
        let index = if tensorflow && !lite {
            ["_ap", "_ns", "_aa"]
                .iter()
                .find_map(|s| index.strip_suffix(s))
                .unwrap_or(index)
        } else {
            // timm's aliases of b2 and b3
            if matches!(index, "2a" | "3a") {
                &index[..1]
            } else {
                index
            }
        };
        let index: usize = index.parse().ok()?;
        let limit = if lite { LITE } else { SCALES.len() };
        let &(width, depth) = SCALES[..limit].get(index)?;
        Some(Self {
            width,
            depth,
            lite,
            tensorflow,
        })
    }

    fn channels(&self, base: usize) -> usize {
        make_divisible(base as f64 * self.width, 8)
    }

    fn repeats(&self, stage: usize) -> usize {
        let base = STAGES[stage].0;
        if self.lite && (stage == 0 || stage == STAGES.len() - 1) {
            return base;
        }
        (base as f64 * self.depth).ceil() as usize
    }

    fn stem_channels(&self) -> usize {
        if self.lite { 32 } else { self.channels(32) }
    }

    /// After the last stage.
    fn end_channels(&self) -> usize {
        self.channels(STAGES[STAGES.len() - 1].4)
    }

    fn head_channels(&self) -> usize {
        if self.lite { 1280 } else { self.channels(1280) }
    }

    /// The blocks of each stage; the rate of dropped paths rises from 0 at the first block towards `drop_path_rate`.
    fn stages(&self, output_stride: usize, drop_path_rate: f64) -> Vec<Vec<BlockShape>> {
        let count: usize = (0..STAGES.len()).map(|i| self.repeats(i)).sum();
        let rate = |block: usize| drop_path_rate * block as f64 / count as f64;
        let mut blocks = 0;
        let (mut channels, mut stride, mut dilation) = (self.stem_channels(), STEM_STRIDE, 1);
        let mut stages = Vec::new();
        for (i, &(_, kernel, stage_stride, expansion, base)) in STAGES.iter().enumerate() {
            let out = self.channels(base);
            // Past `output_stride` a stage does not stride; the blocks after the first one are dilated instead.
            let (first_stride, next_dilation) = if stride * stage_stride > output_stride {
                (1, dilation * stage_stride)
            } else {
                (stage_stride, dilation)
            };
            let mut stage = Vec::new();
            for j in 0..self.repeats(i) {
                stage.push(BlockShape {
                    channels_in: channels,
                    channels_out: out,
                    kernel,
                    stride: if j == 0 { first_stride } else { 1 },
                    dilation: if j == 0 { dilation } else { next_dilation },
                    expansion,
                    squeeze_excite: !self.lite,
                    drop_path_rate: rate(blocks),
                });
                blocks += 1;
                channels = out;
            }
            stride *= first_stride;
            dilation = next_dilation;
            stages.push(stage);
        }
        stages
    }
}

/// The last map at each resolution, as the number of its stage and its shape.
fn maps(stages: &[Vec<BlockShape>], from_expansion: bool) -> Vec<(usize, Feature)> {
    let mut stride = STEM_STRIDE;
    let mut maps = Vec::new();
    for (i, stage) in stages.iter().enumerate() {
        stride *= stage.iter().map(|block| block.stride).product::<usize>();
        let last = stage.last().expect("a stage has a block");
        if STAGES.get(i + 1).is_none_or(|next| next.2 > 1) {
            let channels = if from_expansion {
                last.mid()
            } else {
                last.channels_out
            };
            maps.push((i, Feature { channels, stride }));
        }
    }
    maps
}

/// The names that [`Variant::parse`] knows.
pub(super) fn names() -> Vec<String> {
    let of = |prefix: &str| {
        let sizes = (0..SCALES.len()).map(|i| format!("b{i}"));
        let lite = (0..LITE).map(|i| format!("lite{i}"));
        let all = sizes.chain(lite).chain(["l2".to_string()]);
        all.map(|size| format!("{prefix}efficientnet_{size}"))
            .collect::<Vec<_>>()
    };
    let mut names = [of(""), of("tf_")].concat();
    names.extend(["b2a", "b3a"].map(|size| format!("efficientnet_{size}")));
    names.extend(["l2_ns", "l2_ns_475"].map(|size| format!("tf_efficientnet_{size}")));
    for kind in ["ap", "ns", "aa"] {
        let old = |i| format!("tf_efficientnet_b{i}_{kind}");
        names.extend((0..SCALES.len()).map(old));
    }
    names
}

/// Where timm's own weights of a model lie.
pub(super) fn weights(name: &str) -> Option<String> {
    let (_, file) = WEIGHTS.iter().find(|(known, _)| *known == name)?;
    Some(format!("{WEIGHTS_AT}{file}"))
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let plan = keys.plan(asked)?;
    Ok(Box::new(TimmEfficientNet::new(plan, &asked.params)))
}

/// More classes than any classifier has.
const MOST_CLASSES: usize = 65_536;

/// How all layers of one network are made.
struct Make {
    norm: NormConfig,
    act: Activation,
    same: bool,
}

impl Make {
    /// A convolution `name` and its norm `norm`, side by side.
    fn layer(
        &self,
        conv: ConvConfig,
        act: bool,
        at: &Params,
        name: &str,
        norm: &str,
    ) -> ConvNormAct {
        // TensorFlow's (`efficientnet_init_weights`), when all is built.
        let std = (2.0 / conv.fan_out_of_group() as f64).sqrt();
        let conv_at = at.at(name);
        conv_at.initialise_built(InitRule::all(Init::normal(std), 0.0));
        conv.bias(false)
            .act(act.then_some(self.act))
            .init(&conv_at, Some((&self.norm, &at.at(norm))))
    }

    /// timm's padding for a filter.
    fn padding(&self, kernel: usize, stride: usize, dilation: usize) -> Padding {
        if self.same {
            Padding::Same
        } else {
            Padding::Even((stride - 1 + dilation * (kernel - 1)) / 2)
        }
    }
}

/// What the config says of all layers at once.
struct Style {
    variant: Variant,
    make: Make,
    from_expansion: bool,
}

/// All layers in numbers that were checked.
struct Plan {
    make: Make,
    channels_in: usize,
    stem: ConvConfig,
    stages: Vec<Vec<BlockShape>>,
    head: Option<ConvConfig>,
    /// Classes and channels of a classifier that the original drops.
    classifier: Option<[usize; 2]>,
    features: Vec<Feature>,
    out_stages: Vec<usize>,
    from_expansion: bool,
}

impl Keys {
    fn style(&self, asked: &Asked) -> Result<Style, Diagnostics> {
        let node = asked.node;
        let variant = Variant::parse(&asked.name).expect("the family knows its names");
        let default_act = if variant.lite { "relu6" } else { "swish" };
        let act_name = self.act_layer.as_deref().unwrap_or(default_act);
        let Some(act) = activation(act_name) else {
            let message = format!("timm has no activation '{act_name}'");
            return Err(error_at(node, "act_layer", message, ""));
        };
        let same = match self.pad_type.as_deref() {
            None => variant.tensorflow,
            Some("same") => true,
            Some("") => false,
            Some(other) => {
                let message = format!("`pad_type` is '{other}', must be '' or 'same'");
                return Err(error_at(node, "pad_type", message, ""));
            }
        };
        let from_expansion = match self.feature_location.as_deref() {
            None | Some("bottleneck" | "") => false,
            Some("expansion" | "depthwise") => true,
            Some(other) => {
                let message =
                    format!("`feature_location` is '{other}', must be 'bottleneck' or 'expansion'");
                return Err(error_at(node, "feature_location", message, ""));
            }
        };
        let eps = if variant.tensorflow { 1e-3 } else { 1e-5 };
        let mut norm = NormConfig::batch(self.bn_eps.unwrap_or(eps));
        norm.momentum = self.bn_momentum.or(norm.momentum);
        Ok(Style {
            variant,
            make: Make { norm, act, same },
            from_expansion,
        })
    }

    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let Style {
            variant,
            make,
            from_expansion,
        } = self.style(asked)?;
        let channels_in = asked.channels_in;
        let stem = ConvConfig::new(channels_in, variant.stem_channels(), 3)
            .stride(STEM_STRIDE)
            .padding(make.padding(3, STEM_STRIDE, 1));
        let stages = variant.stages(asked.output_stride, asked.drop_path_rate);
        let maps = maps(&stages, from_expansion);
        let (head, out_stages, features) = if asked.features_only {
            let levels: Vec<_> = maps.iter().map(|map| map.1).collect();
            let wanted = asked.wanted(&levels)?.into_iter();
            let (out_stages, features) = wanted.map(|i| maps[i]).unzip();
            (None, out_stages, features)
        } else {
            let (channels, wide) = (variant.end_channels(), variant.head_channels());
            let map = Feature {
                channels: wide,
                stride: maps[maps.len() - 1].1.stride,
            };
            (
                Some(ConvConfig::new(channels, wide, 1)),
                Vec::new(),
                vec![map],
            )
        };
        let classes = asked.node.get("num_classes").and_then(Node::as_int);
        let classes = classes.map_or(1000, |n| usize::try_from(n).unwrap_or(0));
        let classifier = head.is_some().then(|| [classes, features[0].channels]);
        let classifier = classifier.filter(|shape| (1..=MOST_CLASSES).contains(&shape[0]));
        Ok(Plan {
            make,
            channels_in,
            stem,
            stages,
            head,
            classifier,
            features,
            out_stages,
            from_expansion,
        })
    }
}

/// EfficientNet from timm.
#[derive(Debug)]
pub struct TimmEfficientNet {
    stem: ConvNormAct,
    stages: Vec<Vec<Block>>,
    head: Option<ConvNormAct>,
    features: Vec<Feature>,
    /// Stages after which a map is given; none if the head's map is the output.
    out_stages: Vec<usize>,
    /// Whether the maps are what the last block of a stage has before it narrows (`feature_location='expansion'`).
    from_expansion: bool,
    channels_in: usize,
}

impl TimmEfficientNet {
    fn new(plan: Plan, params: &Params) -> Self {
        let make = &plan.make;
        let stem = make.layer(plan.stem, true, params, "conv_stem", "bn1");
        // timm tries whether its squeeze-and-excite takes a ratio.
        for _ in 0..2 {
            ConvConfig::new(8, 8, 1).built_and_dropped(params);
        }
        let blocks = params.at("blocks");
        let stage = |(i, stage): (usize, &Vec<BlockShape>)| {
            let at = blocks.at(i);
            let block = |(j, shape)| Block::new(shape, make, &at.at(j));
            stage.iter().enumerate().map(block).collect()
        };
        let stages = plan.stages.iter().enumerate().map(stage).collect();
        let head = plan
            .head
            .map(|conv| make.layer(conv, true, params, "conv_head", "bn2"));
        if let Some(classifier) = &plan.classifier {
            params.built_and_dropped(Init::TORCH, classifier);
            params.built_and_dropped(Init::torch_bias(classifier), &classifier[..1]);
        }
        params.built();
        if let Some(classifier) = &plan.classifier {
            let bound = (classifier[0] as f64).sqrt().recip();
            let init = Init::Uniform {
                a: -bound,
                b: bound,
            };
            params.built_and_dropped(init, classifier);
        }
        Self {
            stem,
            stages,
            head,
            features: plan.features,
            out_stages: plan.out_stages,
            from_expansion: plan.from_expansion,
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for TimmEfficientNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(x);
        let mut outputs = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let after = self.head.is_none() && self.out_stages.last().is_none_or(|last| i > *last);
            if after && !stage.iter().any(|block| block.depthwise.learning()) {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            let wanted = self.out_stages.contains(&i);
            for (j, block) in stage.iter().enumerate() {
                let wide = block.widen(x.clone());
                if wanted && self.from_expansion && j + 1 == stage.len() {
                    outputs.push(wide.clone());
                }
                x = block.narrow(wide, x);
            }
            if wanted && !self.from_expansion {
                outputs.push(x.clone());
            }
        }
        if let Some(head) = &self.head {
            outputs.push(head.forward(x));
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

struct BlockShape {
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    expansion: usize,
    squeeze_excite: bool,
    drop_path_rate: f64,
}

impl BlockShape {
    /// Channels of the depthwise convolution.
    fn mid(&self) -> usize {
        match self.expansion {
            1 => self.channels_in,
            e => make_divisible((self.channels_in * e) as f64, 8),
        }
    }
}

/// Depthwise-separable block, with a widening convolution first where the expansion is above 1.
#[derive(Debug)]
struct Block {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvNormAct,
    shortcut: bool,
    drop_path: Option<DropPath>,
}

impl Block {
    fn new(shape: &BlockShape, make: &Make, at: &Params) -> Self {
        let &BlockShape {
            channels_in,
            channels_out,
            kernel,
            stride,
            dilation,
            expansion,
            ..
        } = shape;
        // timm names the layers of a block without expansion conv_dw, bn1, conv_pw, bn2.
        let expands = expansion > 1;
        let mid = shape.mid();
        let expand = expands.then(|| {
            make.layer(
                ConvConfig::new(channels_in, mid, 1),
                true,
                at,
                "conv_pw",
                "bn1",
            )
        });
        let depthwise = ConvConfig::new(mid, mid, kernel)
            .stride(stride)
            .dilation(dilation)
            .groups(mid)
            .padding(make.padding(kernel, stride, dilation));
        let norm = if expands { "bn2" } else { "bn1" };
        let depthwise = make.layer(depthwise, true, at, "conv_dw", norm);
        let squeeze_excite = shape.squeeze_excite.then(|| {
            let squeezed = (mid as f64 * (0.25 / expansion as f64)).round_ties_even() as usize;
            let at = at.at("se");
            let convs = [
                (make.act, &at.at("conv_reduce")),
                (Activation::Sigmoid, &at.at("conv_expand")),
            ];
            SqueezeExcite::new(mid, squeezed, convs, |conv, act, at| {
                at.initialise_built(InitRule::all(Init::KAIMING, 0.0));
                conv.act(Some(act)).init(at, None)
            })
        });
        let (conv, norm) = if expands {
            ("conv_pwl", "bn3")
        } else {
            ("conv_pw", "bn2")
        };
        let project = make.layer(ConvConfig::new(mid, channels_out, 1), false, at, conv, norm);
        let shortcut = stride == 1 && channels_in == channels_out;
        let rate = if shortcut { shape.drop_path_rate } else { 0.0 };
        let drop_path = DropPath::new(rate, &at.at("drop_path"));
        Self {
            expand,
            depthwise,
            squeeze_excite,
            project,
            shortcut,
            drop_path,
        }
    }

    /// Up to the input of the last convolution.
    fn widen(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.expand {
            Some(expand) => expand.forward(x),
            None => x,
        };
        let x = self.depthwise.forward(x);
        match &self.squeeze_excite {
            Some(se) => se.forward(x),
            None => x,
        }
    }

    /// The last convolution, and the shortcut from the block's input.
    fn narrow(&self, wide: Tensor<4>, input: Tensor<4>) -> Tensor<4> {
        match &self.drop_path {
            Some(drop) if drop.learning() => drop.forward(self.project.forward(wide)) + input,
            _ if self.shortcut => self.project.forward_onto(wide, input),
            _ => self.project.forward(wide),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let b1 = Variant::parse("efficientnet_b1").unwrap();
        assert_eq!(
            (b1.width, b1.depth, b1.lite, b1.tensorflow),
            (1.0, 1.1, false, false)
        );
        assert_eq!(
            Variant::parse("tf_efficientnet_b0_ap"),
            Variant::parse("tf_efficientnet_b0")
        );
        assert!(Variant::parse("tf_efficientnet_lite3").unwrap().lite);
        assert_eq!(
            Variant::parse("efficientnet_b2a"),
            Variant::parse("efficientnet_b2")
        );
        assert_eq!(Variant::parse("tf_efficientnet_l2_ns").unwrap().width, 4.3);
        assert!(
            super::names()
                .iter()
                .all(|name| Variant::parse(name).is_some())
        );
        for unknown in [
            "efficientnet_b9",
            "efficientnet_b0_gn",
            "resnet50",
            "efficientnet_lite7",
            "efficientnet_b",
        ] {
            assert_eq!(Variant::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn scaling() {
        let b7 = Variant::parse("efficientnet_b7").unwrap();
        let repeats: Vec<_> = (0..7).map(|i| b7.repeats(i)).collect();
        assert_eq!(repeats, [4, 7, 7, 10, 10, 13, 4]);
        assert_eq!(b7.channels(32), 64);
        let lite = Variant::parse("efficientnet_lite4").unwrap();
        assert_eq!(
            (lite.repeats(0), lite.repeats(1), lite.repeats(6)),
            (1, 4, 1)
        );
    }
}
