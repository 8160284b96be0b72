//! `CombinedSampler` of MMDetection 3.3.0: positives by one sampler, negatives by another. What these do not say is as it says.

use super::random;
use super::{RandomSampler, Samplers, iou_balanced};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

pub(super) fn build(node: &Node, build: &Build) -> Result<RandomSampler, Diagnostics> {
    let own = random::read(node, node, &["pos_sampler", "neg_sampler"])?;
    let part = |key: &str| -> Result<RandomSampler, Diagnostics> {
        let Some(part) = node.get(key).filter(|n| !n.is_none()) else {
            let message = format!("`CombinedSampler` has no `{key}`");
            return Err(error_at(
                node,
                key,
                message,
                "for example dict(type='RandomSampler')",
            ));
        };
        let name = part.get("type").and_then(Node::as_type);
        let known = name.as_deref().and_then(|name| name.rsplit('.').next());
        match known {
            Some("IoUBalancedNegSampler") => iou_balanced::with_outer(part, node),
            Some("RandomSampler") => random::read(part, node, &[]),
            Some("InstanceBalancedPosSampler") => Ok(RandomSampler {
                positives: random::Choice::ByObject,
                ..random::read(part, node, &[])?
            }),
            _ => {
                build.find::<Samplers>(part)?; // one that nobody knows is told of its name
                let message = format!(
                    "`{}` is no part of another sampler",
                    name.unwrap_or_default()
                );
                Err(error_at(part, "type", message, "for example RandomSampler"))
            }
        }
    };
    Ok(RandomSampler {
        positives: part("pos_sampler")?.positives,
        negatives: part("neg_sampler")?.negatives,
        ..own
    })
}
