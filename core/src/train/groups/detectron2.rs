//! Detectron2's groups (solver/build.py, `get_default_optimizer_params`): norms have a weight decay of their own, and biases a learning rate and a
//! weight decay, those of norms too.

use serde::Deserialize;

use super::{Given, Group, Member, split};
use crate::config::{Diagnostics, error_at};
use crate::layers::LayerKind;

/// The keys of `paramwise_cfg`, which are Detectron2's in lower case.
#[derive(Debug, Deserialize)]
struct Params {
    weight_decay_norm: Option<f64>,
    bias_lr_factor: Option<f64>,
    weight_decay_bias: Option<f64>,
}

pub(super) fn groups(given: &Given) -> Result<Vec<Group>, Diagnostics> {
    let params: Params = given.paramwise.read()?;
    let (Some(lr), Some(decay)) = (given.lr, given.weight_decay) else {
        let message = "these groups need `lr` and `weight_decay` in `optimizer`";
        return Err(error_at(given.wrapper, "optimizer", message, ""));
    };
    let mut groups: Vec<([f64; 2], Group)> = Vec::new();
    for slot in given.parameters {
        let (_, name) = split(slot.key());
        let mut own = [lr, decay];
        if slot.kind() == LayerKind::Norm {
            own[1] = params.weight_decay_norm.unwrap_or(decay);
        }
        if name == "bias" {
            own[0] = lr * params.bias_lr_factor.unwrap_or(1.0);
            own[1] = params.weight_decay_bias.unwrap_or(own[1]);
        }
        let ratio = |i: usize, of: f64| if of == 0.0 { 1.0 } else { own[i] / of };
        let member = Member {
            key: slot.key().to_string(),
            lr_mult: ratio(0, lr),
            decay_mult: ratio(1, decay),
            asleep: slot.frozen(),
        };
        match groups.iter_mut().find(|(settings, _)| *settings == own) {
            Some((_, group)) => group.members.push(member),
            None => {
                let mut settings = given.defaults.clone();
                settings.set("lr", own[0]);
                settings.set("weight_decay", own[1]);
                let members = vec![member];
                groups.push((own, Group { members, settings }));
            }
        }
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}
