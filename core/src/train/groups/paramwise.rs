//! MMEngine's `DefaultOptimWrapperConstructor`: each parameter is a group of its own, with factors by its layer's kind (`norm_decay_mult`,
//! `bias_lr_mult`, ...), or, where a key of `custom_keys` is a part of its name, with those of the longest such key and no others.

use serde::Deserialize;

use super::{Given, Group, Member, check_decay, custom_keys, factor, missing, setting, split};
use crate::config::{Diagnostics, Node};
use crate::layers::{LayerKind, Slot};

/// The keys of `paramwise_cfg`.
#[derive(Debug, Deserialize)]
struct Paramwise {
    custom_keys: Option<Node>,
    bias_lr_mult: Option<f64>,
    bias_decay_mult: Option<f64>,
    norm_decay_mult: Option<f64>,
    dwconv_decay_mult: Option<f64>,
    flat_decay_mult: Option<f64>,
    dcn_offset_lr_mult: Option<f64>,
}

pub(super) fn groups(given: &Given) -> Result<Vec<Group>, Diagnostics> {
    let node = given.paramwise;
    // `_delete` is in configs of MMPretrain that mean `_delete_`.
    let config: Paramwise = node.read_knowing(&["bypass_duplicate", "_delete"])?;
    let keys = custom_keys(node, config.custom_keys.as_ref())?;
    check_decay(given, &keys)?;
    check_lr(given, &config, &keys)?;
    let group = |slot| group(given, &config, &keys, slot);
    given.parameters.iter().map(|slot| group(slot)).collect()
}

/// Factors of a learning rate need one that is written down.
fn check_lr(given: &Given, config: &Paramwise, keys: &[(String, Node)]) -> Result<(), Diagnostics> {
    let factors = [
        ("bias_lr_mult", config.bias_lr_mult.is_some()),
        ("dcn_offset_lr_mult", config.dcn_offset_lr_mult.is_some()),
        ("custom_keys", !keys.is_empty()),
    ];
    let mut named = factors.iter().filter(|(_, named)| *named);
    match (given.lr, named.next()) {
        (None, Some((key, _))) => Err(missing(given.paramwise, key, "lr")),
        _ => Ok(()),
    }
}

fn group(
    given: &Given,
    config: &Paramwise,
    keys: &[(String, Node)],
    slot: &Slot,
) -> Result<Group, Diagnostics> {
    let (place, name) = split(slot.key());
    let mut settings = given.defaults.clone();
    let custom = keys.iter().find(|(key, _)| match place {
        // The original puts the dot there all the same.
        "" => format!(".{name}").contains(key.as_str()),
        _ => slot.key().contains(key.as_str()),
    });
    let (lr_mult, decay_mult) = match custom {
        Some((_, own)) => (
            Some(factor(own, "lr_mult")?),
            Some(factor(own, "decay_mult")?),
        ),
        None => (
            lr_mult(config, slot, place, name),
            decay_mult(config, slot, name),
        ),
    };
    if let (Some(factor), Some(lr)) = (lr_mult, given.lr) {
        settings.set("lr", lr * factor);
    }
    // Without a weight decay in the config the optimizer's default is left as it is.
    let decay_mult = decay_mult.filter(|_| given.weight_decay.is_some());
    if let (Some(factor), Some(decay)) = (decay_mult, given.weight_decay) {
        settings.set("weight_decay", decay * factor);
    }
    if let Some((_, own)) = custom {
        for (key, entry) in own.as_dict().into_iter().flat_map(|dict| dict.iter()) {
            let (key, node) = (key.to_string(), &entry.node);
            settings.set(&key, setting(given, &key, node)?);
        }
    }
    let member = Member {
        key: slot.key().to_string(),
        lr_mult: lr_mult.unwrap_or(1.0),
        decay_mult: decay_mult.unwrap_or(1.0),
        asleep: slot.frozen(),
    };
    Ok(Group {
        members: vec![member],
        settings,
    })
}

fn lr_mult(config: &Paramwise, slot: &Slot, place: &str, name: &str) -> Option<f64> {
    let offset = of_deformable(slot);
    if place.contains("conv_offset") && offset && config.dcn_offset_lr_mult.is_some() {
        return config.dcn_offset_lr_mult;
    }
    let bias = name == "bias" && slot.kind() != LayerKind::Norm && !offset;
    config.bias_lr_mult.filter(|_| bias)
}

/// The first rule that applies and has a factor.
fn decay_mult(config: &Paramwise, slot: &Slot, name: &str) -> Option<f64> {
    let offset = of_deformable(slot);
    let rules = [
        (slot.kind() == LayerKind::Norm, config.norm_decay_mult),
        (name == "bias" && !offset, config.bias_decay_mult),
        (
            slot.kind() == LayerKind::DepthwiseConv,
            config.dwconv_decay_mult,
        ),
        (slot.shape().len() == 1 && !offset, config.flat_decay_mult),
    ];
    let mut applying = rules.into_iter().filter(|(applies, _)| *applies);
    applying.find_map(|(_, factor)| factor)
}

/// Whether it is a deformable convolution's layer of offsets.
fn of_deformable(slot: &Slot) -> bool {
    slot.kind() == LayerKind::Offsets
}
