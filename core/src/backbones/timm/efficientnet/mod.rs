//! timm's EfficientNet and MobileNetV3, and all that is built of the same blocks: see [`recipes`] for the models.
//!
//! With `features_only` the output i is the last map of the i-th resolution (strides 2, 4, 8, 16, 32); without, it is
//! the single map after the last convolution of 1x1.

mod block;
mod cond_conv;
mod global_context;
mod mixed_conv;
mod recipes;
mod rows;

use burn::tensor::Tensor;
use serde::Deserialize;

use self::block::{Block, BlockShape, Make};
use self::recipes::{Head, Recipe, TENSORFLOW_EPS};
use super::{Asked, COMMON, activation};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{ConvConfig, ConvNormAct, Dropout, Init, NormConfig, Params};

/// The keys of timm's EfficientNet and MobileNetV3.
#[derive(Debug, Deserialize)]
struct Keys {
    act_layer: Option<String>,
    bn_eps: Option<f64>,
    bn_momentum: Option<f64>,
    pad_type: Option<String>,
    feature_location: Option<String>,
}

const STEM_STRIDE: usize = 2;

/// The names of this family.
pub(super) fn names() -> Vec<String> {
    recipes::names()
}

/// The multiple of `divisor` nearest to `value`, at least `divisor`, and not less than `limit` of `value`.
pub(super) fn make_divisible(value: f64, divisor: usize, limit: f64) -> usize {
    let d = divisor as f64;
    let rounded = (((value + d / 2.0) as usize) / divisor * divisor).max(divisor);
    if (rounded as f64) < limit * value {
        rounded + divisor
    } else {
        rounded
    }
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let plan = keys.plan(asked)?;
    Ok(Box::new(TimmEfficientNet::new(plan, asked)))
}

/// More classes than any classifier has.
const MOST_CLASSES: usize = 65_536;

/// All layers in numbers that were checked.
struct Plan {
    make: Make,
    recipe: Recipe,
    stages: Vec<Vec<BlockShape>>,
    features: Vec<Feature>,
    /// Levels of which maps are given: 0 is the stem, then the stages; none if the head's map is the output.
    out_levels: Option<Vec<usize>>,
    from_expansion: bool,
    /// Of the head's map.
    dropout: Option<Dropout>,
}

impl Keys {
    /// What is said of all layers at once.
    fn make(&self, recipe: &Recipe, asked: &Asked) -> Result<Make, Diagnostics> {
        let node = asked.node;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let act = match self.act_layer.as_deref() {
            None => recipe.act,
            Some(name) => match activation(name) {
                Some(act) => act,
                None => return fail("act_layer", format!("timm has no activation '{name}'")),
            },
        };
        let same = match self.pad_type.as_deref() {
            None => recipe.same,
            Some("same") => true,
            Some("") => false,
            Some(other) => {
                let message = format!("`pad_type` is '{other}', must be '' or 'same'");
                return fail("pad_type", message);
            }
        };
        let of_batch = [
            ("bn_eps", self.bn_eps.is_some()),
            ("bn_momentum", self.bn_momentum.is_some()),
        ];
        if let (Some((key, _)), Some(_)) = (of_batch.iter().find(|k| k.1), recipe.norm_group) {
            let message = format!("'{}' has group norms, which have no `{key}`", asked.name);
            return fail(key, message);
        }
        // Of this model alone only the trained weights have it.
        let pretrained = node.get("pretrained").and_then(Node::as_bool) == Some(true);
        let eps = match asked.name.as_str() {
            "fbnetc_100" if pretrained => TENSORFLOW_EPS,
            _ => recipe.eps,
        };
        let mut norm = NormConfig::batch(self.bn_eps.unwrap_or(eps));
        norm.momentum = self.bn_momentum.or(norm.momentum);
        Ok(Make {
            norm,
            norm_group: recipe.norm_group,
            act,
            same,
            attention: recipe.attention,
            initialises: recipe.pruned.is_none(),
        })
    }

    /// Whether the maps are what the last block of a stage has before it narrows.
    fn reads_expansion(&self, asked: &Asked) -> Result<bool, Diagnostics> {
        let said = self.feature_location.as_deref();
        if said.is_some() && !asked.features_only {
            let message = "`feature_location` needs features_only=True".to_string();
            return Err(error_at(asked.node, "feature_location", message, ""));
        }
        match said {
            None | Some("bottleneck" | "") => Ok(false),
            Some("expansion" | "depthwise") => Ok(true),
            Some(other) => {
                let message =
                    format!("`feature_location` is '{other}', must be 'bottleneck' or 'expansion'");
                Err(error_at(asked.node, "feature_location", message, ""))
            }
        }
    }

    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let recipe = recipes::recipe(&asked.name).expect("the family knows its names");
        let make = self.make(&recipe, asked)?;
        let from_expansion = self.reads_expansion(asked)?;
        let pooled = matches!(recipe.head, Head::Pooled(_));
        if pooled && !asked.features_only && asked.node.get("output_stride").is_some() {
            let message = format!(
                "`output_stride` of '{}' needs features_only=True",
                asked.name
            );
            return Err(error_at(asked.node, "output_stride", message, ""));
        }
        let stages = block::shapes(&recipe, asked.output_stride, asked.drop_path_rate);
        let maps = maps(&recipe, &stages, from_expansion);
        let (out_levels, features) = if asked.features_only {
            let levels: Vec<_> = maps.iter().map(|map| map.1).collect();
            let wanted = asked.wanted(&levels)?.into_iter();
            let (out_levels, features) = wanted.map(|i| maps[i]).unzip();
            (Some(out_levels), features)
        } else {
            let map = Feature {
                channels: recipe.head_channels(),
                stride: maps[maps.len() - 1].1.stride,
            };
            (None, vec![map])
        };
        Ok(Plan {
            make,
            recipe,
            stages,
            features,
            out_levels,
            from_expansion,
            dropout: asked.head_dropout()?,
        })
    }
}

/// The last map at each resolution, as the number of its level and its shape.
fn maps(
    recipe: &Recipe,
    stages: &[Vec<BlockShape>],
    from_expansion: bool,
) -> Vec<(usize, Feature)> {
    let first_strides = |i: usize| recipe.stages.get(i).is_none_or(|rows| rows[0].stride > 1);
    let mut stride = STEM_STRIDE;
    let channels = recipe.stem_channels();
    let stem = first_strides(0).then_some((0, Feature { channels, stride }));
    let mut maps = Vec::from_iter(stem);
    for (i, stage) in stages.iter().enumerate() {
        stride *= stage.iter().map(BlockShape::stride).product::<usize>();
        let last = stage.last().expect("a stage has a block");
        if first_strides(i + 1) {
            let channels = if from_expansion {
                last.mid()
            } else {
                last.channels_out()
            };
            maps.push((i + 1, Feature { channels, stride }));
        }
    }
    maps
}

/// EfficientNet and its kin from timm.
#[derive(Debug)]
pub struct TimmEfficientNet {
    stem: ConvNormAct,
    stages: Vec<Vec<Block>>,
    head: Option<(ConvNormAct, Option<Dropout>)>,
    features: Vec<Feature>,
    /// Levels of which maps are given: 0 is the stem, then the stages.
    out_levels: Vec<usize>,
    /// Whether the maps are what the last block of a stage has before it narrows (`feature_location='expansion'`).
    from_expansion: bool,
    channels_in: usize,
}

impl TimmEfficientNet {
    fn new(mut plan: Plan, asked: &Asked) -> Self {
        let dropout = plan.dropout.take();
        let Plan { make, recipe, .. } = &plan;
        let params = &asked.params;
        let act = Some(make.act);
        let channels = recipe.stem_channels();
        let stem = ConvConfig::new(asked.channels_in, channels, 3)
            .stride(STEM_STRIDE)
            .padding(make.padding(3, STEM_STRIDE, 1));
        let stem = make.plain(stem, act, params, "conv_stem", "bn1", channels);
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
        let head = plan.out_levels.is_none();
        let head = head.then(|| (plan.head(params), dropout));
        let classifier = head
            .is_some()
            .then(|| classifier(asked.node, recipe.head_channels()));
        let classifier = classifier.flatten();
        if let Some(classifier) = &classifier {
            params.built_and_dropped(Init::TORCH, classifier);
            params.built_and_dropped(Init::torch_bias(classifier), &classifier[..1]);
        }
        params.built();
        if let Some(classifier) = &classifier {
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
            out_levels: plan.out_levels.unwrap_or_default(),
            from_expansion: plan.from_expansion,
            channels_in: asked.channels_in,
        }
    }
}

impl Plan {
    /// The last convolution.
    fn head(&self, params: &Params) -> ConvNormAct {
        let Self { make, recipe, .. } = self;
        let channels = self.stages.last().and_then(|stage| stage.last());
        let channels = channels.map_or(0, BlockShape::channels_out);
        let wide = recipe.head_channels();
        let conv = ConvConfig::new(channels, wide, 1);
        let act = Some(make.act);
        match recipe.head {
            Head::Normed => make.plain(conv, act, params, "conv_head", "bn2", wide),
            Head::Pooled(bias) => {
                make.bare(conv.act(act).bias(bias), &params.at("conv_head"), None)
            }
        }
    }
}

/// Classes and channels of a classifier that the original builds and drops.
fn classifier(node: &Node, channels: usize) -> Option<[usize; 2]> {
    let classes = node.get("num_classes").and_then(Node::as_int);
    let classes = classes.map_or(1000, |n| usize::try_from(n).unwrap_or(0));
    (1..=MOST_CLASSES)
        .contains(&classes)
        .then_some([classes, channels])
}

impl Backbone for TimmEfficientNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let wanted = |level: usize| self.out_levels.contains(&level);
        let mut x = self.stem.forward(x);
        let mut outputs = Vec::new();
        if wanted(0) {
            outputs.push(x.clone());
        }
        // Nothing asks for what comes after, and no running statistics are to be kept.
        let needed = |(i, stage): (usize, &Vec<Block>)| {
            self.head.is_some() || wanted(i + 1) || stage.iter().any(Block::learning)
        };
        let end = self.stages.iter().enumerate().rposition(needed);
        for (i, stage) in self.stages[..end.map_or(0, |i| i + 1)].iter().enumerate() {
            for (j, block) in stage.iter().enumerate() {
                let last = wanted(i + 1) && j + 1 == stage.len();
                let (out, wide) = block.forward(x, last && self.from_expansion);
                outputs.extend(wide);
                x = out;
            }
            if wanted(i + 1) && !self.from_expansion {
                outputs.push(x.clone());
            }
        }
        if let Some((head, dropout)) = &self.head {
            let x = head.forward(x);
            outputs.push(match dropout {
                Some(dropout) => dropout.forward(x),
                None => x,
            });
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

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            (
                "efficientnet_b9'",
                "the timm model 'efficientnet_b9' is not supported",
            ),
            (
                "efficientnet_b0', act_layer='rrelu6'",
                "timm has no activation 'rrelu6'",
            ),
            ("efficientnet_b0', pad_type='valid'", "must be '' or 'same'"),
            (
                "efficientnet_b0', feature_location='expansion'",
                "`feature_location` needs features_only=True",
            ),
            (
                "efficientnet_b0_gn', bn_eps=1e-3",
                "'efficientnet_b0_gn' has group norms, which have no `bn_eps`",
            ),
            (
                "mobilenetv3_small_050', output_stride=16",
                "needs features_only=True",
            ),
            (
                "lcnet_050', features_only=True, out_indices=(5,)",
                "`out_indices` names map 5; 'lcnet_050' has maps 0 to 4",
            ),
            (
                "mixnet_s', drop_rate=1.0",
                "`drop_rate` must be from 0 to less than 1",
            ),
            (
                "ghostnet_100', output_stride=16",
                "GhostNet has no `output_stride` but 32",
            ),
            (
                "ghostnet_100', drop_path_rate=0.1",
                "GhostNet has no `drop_path_rate`",
            ),
            (
                "rexnet_100', output_stride=4",
                "ReXNet has no `output_stride` but 8, 16 and 32",
            ),
        ] {
            let text = format!("dict(type='mmpretrain.TIMMBackbone', model_name='{text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn every_name_is_planned() {
        for name in super::names() {
            let text = format!(
                "dict(type='mmpretrain.TIMMBackbone', model_name='{name}', features_only=True)"
            );
            let (backbone, state) = made(&text, Mode::Plan).unwrap();
            assert_eq!(backbone.features().len(), 5, "{name}");
            assert!(state[0].key == "timm_model.conv_stem.weight", "{name}");
        }
    }
}
