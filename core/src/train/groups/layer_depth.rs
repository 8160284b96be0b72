//! MMPretrain's `LearningRateDecayOptimWrapperConstructor`: `layer_decay_rate` to the power of the layers above a parameter is its learning
//! rate's factor; weight decay has factors as in MMEngine's constructor, and each parameter is a group of its own.
//!
//! How deep a parameter lies is what MMPretrain's backbones say (`get_layer_depth`). The original asks its classifiers alone; here a detector's
//! `backbone` is asked, and everything after it is the last layer.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Given, Group, Member, check_decay, custom_keys, factor, setting, split};
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::LayerKind;

/// The keys of `paramwise_cfg`.
#[derive(Deserialize)]
struct Config {
    layer_decay_rate: Option<f64>,
    custom_keys: Option<Node>,
    bias_decay_mult: Option<f64>,
    norm_decay_mult: Option<f64>,
    flat_decay_mult: Option<f64>,
}

const BACKBONE: &str = "backbone.";

pub(super) fn groups(given: &Given) -> Result<Vec<Group>, Diagnostics> {
    let others = ["bypass_duplicate", "_delete"];
    let config: Config = given.paramwise.read_knowing(&others)?;
    let keys = custom_keys(given.paramwise, config.custom_keys.as_ref())?;
    check_decay(given, &keys)?;
    let Some(lr) = given.lr else {
        let message = "this constructor needs an `lr` in `optimizer`";
        return Err(error_at(given.wrapper, "optimizer", message, ""));
    };
    let names = given.parameters.iter().map(|slot| slot.key());
    let Some(depths) = Depths::of(given.model, names) else {
        let message = "layers of this backbone have no depths";
        let help = "those of ConvNeXt, SwinTransformer and VisionTransformer have";
        return Err(unsupported(given.wrapper, "constructor", message, help));
    };
    let rate = config.layer_decay_rate.unwrap_or(1.0);
    let mut groups = Vec::new();
    for slot in given.parameters {
        let (key, (_, name)) = (slot.key(), split(slot.key()));
        let mut settings = given.defaults.clone();
        let mut decay_mult = 1.0;
        if let Some(weight_decay) = given.weight_decay {
            let custom = keys.iter().find(|(part, _)| key.contains(part.as_str()));
            decay_mult = match custom {
                Some((_, own)) => factor(own, "decay_mult")?,
                None => {
                    let rules = [
                        (slot.kind() == LayerKind::Norm, config.norm_decay_mult),
                        (name == "bias", config.bias_decay_mult),
                        (slot.shape().len() == 1, config.flat_decay_mult),
                    ];
                    let mut applying = rules.into_iter().filter(|(applies, _)| *applies);
                    applying.find_map(|(_, factor)| factor).unwrap_or(1.0)
                }
            };
            settings.set("weight_decay", weight_decay * decay_mult);
            let own = custom.and_then(|(_, own)| own.as_dict());
            for (key, entry) in own.into_iter().flat_map(|dict| dict.iter()) {
                let key = key.to_string();
                if key == "decay_mult" {
                    continue;
                }
                settings.set(&key, setting(given, &key, &entry.node)?);
            }
        }
        let depth = depths.depth(key);
        let scale = rate.powi((depths.all - depth - 1) as i32);
        settings.set("lr", lr * scale);
        settings.set("lr_scale", scale);
        settings.set("layer_id", depth);
        settings.set("param_name", key);
        let member = Member {
            key: key.to_string(),
            lr_mult: scale,
            decay_mult,
            asleep: slot.frozen(),
        };
        let members = vec![member];
        groups.push(Group { members, settings });
    }
    Ok(groups)
}

/// How deep layers lie.
struct Depths {
    family: Backbone,
    /// Blocks of each stage.
    blocks: Vec<i64>,
    /// Depths that there are.
    all: i64,
}

#[derive(Clone, Copy)]
enum Backbone {
    ConvNext,
    Swin,
    Vision,
}

impl Depths {
    /// Those of the `backbone` of `model`, whose parameters tell how many blocks it has.
    fn of<'a>(model: &Node, names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let kind = model.at("backbone.type")?.as_type()?;
        let family = match kind.rsplit('.').next()? {
            "ConvNeXt" => Backbone::ConvNext,
            "SwinTransformer" => Backbone::Swin,
            "VisionTransformer" => Backbone::Vision,
            _ => return None,
        };
        let mut blocks: BTreeSet<(i64, i64)> = BTreeSet::new();
        for name in names.filter_map(|name| name.strip_prefix(BACKBONE)) {
            let parts: Vec<&str> = name.split('.').collect();
            let number = |at: usize| parts.get(at).and_then(|part| part.parse::<i64>().ok());
            let block = match (family, parts[0]) {
                (Backbone::ConvNext, "stages") => number(1).zip(number(2)),
                (Backbone::Swin, "stages") => number(1).zip(number(3)),
                (Backbone::Vision, "layers") => Some(0).zip(number(1)),
                _ => None,
            };
            blocks.extend(block);
        }
        let stages = blocks.iter().map(|(stage, _)| stage + 1).max().unwrap_or(0);
        let count = |stage| blocks.range((stage, 0)..(stage + 1, 0)).count() as i64;
        let blocks: Vec<i64> = (0..stages.min(64)).map(count).collect();
        let all = match family {
            Backbone::ConvNext => {
                let last_but_one = blocks.iter().rev().nth(1);
                2 + if last_but_one.is_some_and(|n| *n > 9) {
                    12
                } else {
                    6
                }
            }
            _ => blocks.iter().sum::<i64>() + 2,
        };
        Some(Self {
            family,
            blocks,
            all,
        })
    }

    fn depth(&self, key: &str) -> i64 {
        let last = self.all - 1;
        let Some(name) = key.strip_prefix(BACKBONE) else {
            return last;
        };
        let parts: Vec<&str> = name.split('.').collect();
        let number = |at: usize| parts.get(at).and_then(|part| part.parse::<i64>().ok());
        let before = |stage: i64| self.blocks.iter().take(stage.max(0) as usize).sum::<i64>();
        let depth = match (self.family, parts[0]) {
            (Backbone::ConvNext, "downsample_layers") => number(1).map(|stage| match stage {
                0 => 0,
                1 | 2 => stage + 1,
                _ => self.all - 2,
            }),
            (Backbone::ConvNext, "stages") => number(1).zip(number(2)).map(|at| match at {
                (0 | 1, _) => at.0 + 1,
                (2, block) => 3 + block / 3,
                _ => self.all - 2,
            }),
            (Backbone::Swin | Backbone::Vision, "patch_embed") => Some(0),
            (Backbone::Vision, "cls_token" | "pos_embed") if parts.len() == 1 => Some(0),
            (Backbone::Swin, "stages") => number(1).map(|stage| match number(3) {
                Some(block) => before(stage) + block + 1,
                None => before(stage + 1),
            }),
            (Backbone::Vision, "layers") => number(1).map(|layer| layer + 1),
            _ => None,
        };
        depth.unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_value;

    fn depths(kind: &str, names: &[(&str, i64)]) -> i64 {
        let model = parse_value(&format!("dict(backbone=dict(type='mmpretrain.{kind}'))")).unwrap();
        let depths = Depths::of(&model, names.iter().map(|(name, _)| *name)).unwrap();
        for (name, depth) in names {
            assert_eq!(depths.depth(name), *depth, "{name}");
        }
        depths.all
    }

    #[test]
    fn depths_by_name() {
        let swin = [
            ("backbone.patch_embed.projection.weight", 0),
            ("backbone.stages.0.blocks.0.norm1.weight", 1),
            ("backbone.stages.0.blocks.1.norm1.weight", 2),
            ("backbone.stages.0.downsample.reduction.weight", 2),
            ("backbone.stages.1.blocks.0.attn.w_msa.qkv.bias", 3),
            ("backbone.norm3.weight", 4),
            ("neck.convs.0.weight", 4),
        ];
        assert_eq!(depths("SwinTransformer", &swin), 5);
        let vit = [
            ("backbone.cls_token", 0),
            ("backbone.pos_embed", 0),
            ("backbone.patch_embed.projection.bias", 0),
            ("backbone.layers.0.ln1.weight", 1),
            ("backbone.layers.1.ln1.weight", 2),
            ("backbone.ln1.weight", 3),
            ("head.weight", 3),
        ];
        assert_eq!(depths("VisionTransformer", &vit), 4);
        let convnext = [
            ("backbone.downsample_layers.0.0.weight", 0),
            ("backbone.downsample_layers.3.0.weight", 6),
            ("backbone.stages.0.0.gamma", 1),
            ("backbone.stages.1.2.gamma", 2),
            ("backbone.stages.2.8.gamma", 5),
            ("backbone.stages.3.0.gamma", 6),
            ("backbone.norm3.weight", 7),
        ];
        assert_eq!(depths("ConvNeXt", &convnext), 8);
    }
}
