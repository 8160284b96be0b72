//! MMDetection's `LearningRateDecayOptimizerConstructor`: the deeper a layer of a ConvNeXt lies, the lower its learning rate
//! (`decay_rate` to the power of the layers above it), by layers or by stages. A group for each depth, apart by whether weights decay;
//! biases and other vectors do not.

use serde::Deserialize;

use super::{Given, Group, Member};
use crate::config::{Diagnostics, error_at, unsupported};
use crate::layers::Slot;

/// The keys of `paramwise_cfg`.
#[derive(Deserialize)]
struct Config {
    num_layers: i64,
    decay_rate: f64,
    decay_type: Option<String>,
}

pub(super) fn groups(given: &Given) -> Result<Vec<Group>, Diagnostics> {
    let config: Config = given.paramwise.read()?;
    let node = given.wrapper;
    let kind = config.decay_type.as_deref().unwrap_or("layer_wise");
    let stage_wise = match kind {
        "stage_wise" => true,
        kind if kind.contains("layer_wise") => false,
        _ => {
            let message =
                format!("`decay_type` is '{kind}', 'layer_wise' and 'stage_wise' are possible");
            return Err(error_at(given.paramwise, "decay_type", message, ""));
        }
    };
    if !(0..=1024).contains(&config.num_layers) {
        let message = format!(
            "`num_layers` is {}, 0 to 1024 are possible",
            config.num_layers
        );
        return Err(error_at(given.paramwise, "num_layers", message, ""));
    }
    let (Some(lr), Some(weight_decay)) = (given.lr, given.weight_decay) else {
        let message = "this constructor needs `lr` and `weight_decay` in `optimizer`";
        return Err(error_at(node, "optimizer", message, ""));
    };
    let backbone = given.model.at("backbone.type").and_then(|t| t.as_type());
    if !backbone.is_some_and(|name| name.contains("ConvNeXt")) {
        let message = "layers of this backbone have no depths";
        let help = "the original knows those of ConvNeXt; MMPretrain's LearningRateDecayOptimWrapperConstructor knows others";
        return Err(unsupported(node, "constructor", message, help));
    }
    let layers = config.num_layers + 2;
    let mut groups: Vec<(String, Group)> = Vec::new();
    for slot in given.parameters {
        let depth = match stage_wise {
            true => stage(slot.key(), layers),
            false => layer(slot.key(), config.num_layers),
        };
        let decays = decays(slot);
        let name = format!(
            "layer_{depth}_{}",
            if decays { "decay" } else { "no_decay" }
        );
        let scale = config.decay_rate.powi((layers - depth - 1) as i32);
        let member = Member {
            key: slot.key().to_string(),
            lr_mult: scale,
            decay_mult: f64::from(u8::from(decays)),
            asleep: slot.frozen(),
        };
        if let Some((_, group)) = groups.iter_mut().find(|(known, _)| *known == name) {
            group.members.push(member);
            continue;
        }
        let mut settings = given.defaults.clone();
        settings.set("weight_decay", if decays { weight_decay } else { 0.0 });
        settings.set("lr_scale", scale);
        settings.set("group_name", name.as_str());
        settings.set("lr", scale * lr);
        let members = vec![member];
        groups.push((name, Group { members, settings }));
    }
    // In the order of those that the original would meet first.
    groups.sort_by_key(|(_, group)| !group.awake());
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

fn decays(slot: &Slot) -> bool {
    let key = slot.key();
    slot.shape().len() != 1 && !key.ends_with(".bias") && !["pos_embed", "cls_token"].contains(&key)
}

const FIRST: [&str; 3] = [
    "backbone.cls_token",
    "backbone.mask_token",
    "backbone.pos_embed",
];

/// The numbers after `place` in a name.
fn numbers<const N: usize>(key: &str, place: &str) -> Option<[i64; N]> {
    let mut parts = key.strip_prefix(place)?.strip_prefix('.')?.split('.');
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = parts.next()?.parse().ok()?;
    }
    Some(numbers)
}

fn layer(key: &str, most: i64) -> i64 {
    if FIRST.contains(&key) {
        return 0;
    }
    if let Some([stage]) = numbers(key, "backbone.downsample_layers") {
        return match stage {
            0 => 0,
            1 => 2,
            2 => 3,
            _ => most,
        };
    }
    match numbers(key, "backbone.stages") {
        Some([0, _]) => 1,
        Some([1, _]) => 2,
        Some([2, block]) => 3 + block / 3,
        Some(_) => most,
        None => most + 1,
    }
}

fn stage(key: &str, layers: i64) -> i64 {
    if FIRST.contains(&key) || key.starts_with("backbone.downsample_layers") {
        return 0;
    }
    match numbers(key, "backbone.stages") {
        Some([stage]) => stage + 1,
        None => layers - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_of_convnext() {
        for (key, by_layer, by_stage) in [
            ("backbone.downsample_layers.0.0.weight", 0, 0),
            ("backbone.downsample_layers.1.1.weight", 2, 0),
            ("backbone.downsample_layers.2.0.bias", 3, 0),
            ("backbone.downsample_layers.3.0.bias", 12, 0),
            ("backbone.stages.0.2.gamma", 1, 1),
            ("backbone.stages.1.0.norm.weight", 2, 2),
            ("backbone.stages.2.0.norm.weight", 3, 3),
            ("backbone.stages.2.26.norm.weight", 11, 3),
            ("backbone.stages.3.0.norm.weight", 12, 4),
            ("backbone.norm0.weight", 13, 13),
            ("neck.lateral_convs.0.conv.weight", 13, 13),
        ] {
            assert_eq!(
                (layer(key, 12), stage(key, 14)),
                (by_layer, by_stage),
                "{key}"
            );
        }
    }
}
