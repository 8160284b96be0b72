//! Names of Caffe2's Detectron made those of Detectron2, as that does when it loads such a file: `res2_0_branch2a_w` is `res2.0.conv1.weight`. The
//! background, which is the first class there, is the last here.

use super::error::CheckpointError;
use super::state::{Entry, StateDict};
use super::storage::Storages;
use super::tensor::{TensorInfo, TensorView};

/// Ends of names that are of training.
const MOMENTUM: &str = "_momentum";

/// Whether names are Caffe2's: no dots in them, and blocks of a ResNet.
pub(crate) fn is(state: &StateDict) -> bool {
    let mut keys = state.entries.iter().map(|entry| entry.key.as_str());
    let dotted = keys.clone().any(|key| key.contains('.'));
    !dotted && keys.any(|key| key.contains("_branch2a_") || key == "conv_rpn_w")
}

/// Gives all tensors Detectron2's names.
///
/// # Errors
/// `TooLarge` where the new names are too long in all.
pub(crate) fn rename(
    state: &mut StateDict,
    storages: &mut Storages,
) -> Result<(), CheckpointError> {
    let mut renamed = StateDict {
        section: std::mem::take(&mut state.section),
        not_tensors: std::mem::take(&mut state.not_tensors),
        ..StateDict::default()
    };
    for entry in std::mem::take(&mut state.entries) {
        if entry.key.ends_with(MOMENTUM) {
            continue;
        }
        let key = name(&entry.key);
        let tensor = entry.tensor.and_then(|info| classes(&key, info, storages));
        renamed.put(Entry { key, tensor })?;
    }
    *state = renamed;
    Ok(())
}

/// The tensor of a last layer with its classes as Detectron2 has them.
fn classes(key: &str, mut info: TensorInfo, storages: &mut Storages) -> Result<TensorInfo, String> {
    let dropped = match key {
        _ if key.starts_with("bbox_pred.") => 4,
        _ if key.starts_with("mask_head.predictor.") => 1,
        _ if key.starts_with("cls_score.") => 0,
        _ => return Ok(info),
    };
    let Some(rows) = info.shape.first().copied().filter(|rows| *rows > dropped) else {
        return Ok(info);
    };
    if dropped > 0 {
        info.offset += dropped * info.strides[0] * info.dtype.size();
        info.shape[0] -= dropped;
        return Ok(info);
    }
    let view = TensorView {
        key,
        info: &info,
        storages,
    };
    let mut bytes = view.bytes().map_err(|e| e.to_string())?;
    let row = bytes.len() / rows;
    bytes.rotate_left(row);
    let length = bytes.len();
    let storage = storages.add_owned(bytes);
    TensorInfo::new(info.dtype, info.shape, None, 0, (storage, length), false)
}

/// Ends of names, and what they are here, in the order in which they are looked for.
const ENDS: [(&str, &str); 13] = [
    (".b", ".bias"),
    (".w", ".weight"),
    ("bn.s", "norm.weight"),
    ("bn.bias", "norm.bias"),
    ("bn.rm", "norm.running_mean"),
    ("bn.running.mean", "norm.running_mean"),
    ("bn.riv", "norm.running_var"),
    ("bn.running.var", "norm.running_var"),
    ("bn.gamma", "norm.weight"),
    ("bn.beta", "norm.bias"),
    ("gn.s", "norm.weight"),
    ("gn.bias", "norm.bias"),
    ("gn.b", "norm.bias"),
];
/// Beginnings of names.
const STARTS: [(&str, &str); 8] = [
    ("res.conv1.norm.", "conv1.norm."),
    ("conv1.", "stem.conv1."),
    ("bbox.pred", "bbox_pred"),
    ("cls.score", "cls_score"),
    ("fc6.", "box_head.fc1."),
    ("fc7.", "box_head.fc2."),
    ("head.conv", "box_head.conv"),
    (".mask.fcn", "mask_head.mask_fcn"),
];
/// Parts of names.
const PARTS: [(&str, &str); 14] = [
    (".branch1.", ".shortcut."),
    (".branch2a.", ".conv1."),
    (".branch2b.", ".conv2."),
    (".branch2c.", ".conv3."),
    ("conv.rpn.fpn2", "proposal_generator.rpn_head.conv"),
    ("conv.rpn", "proposal_generator.rpn_head.conv"),
    (
        "rpn.bbox.pred.fpn2",
        "proposal_generator.rpn_head.anchor_deltas",
    ),
    (
        "rpn.cls.logits.fpn2",
        "proposal_generator.rpn_head.objectness_logits",
    ),
    ("rpn.bbox.pred", "proposal_generator.rpn_head.anchor_deltas"),
    (
        "rpn.cls.logits",
        "proposal_generator.rpn_head.objectness_logits",
    ),
    (".[mask].fcn", "mask_head.mask_fcn"),
    ("mask.fcn.logits", "mask_head.predictor"),
    ("conv5.mask", "mask_head.deconv"),
    ("conv.fcn", "roi_heads.keypoint_head.conv_fcn"),
];

fn name(caffe2: &str) -> String {
    let mut name = match caffe2 {
        "pred_b" => "linear.b".to_owned(),
        "pred_w" => "linear.w".to_owned(),
        other => other.replace('_', "."),
    };
    for (end, new) in ENDS {
        if let Some(rest) = name.strip_suffix(end) {
            name = format!("{rest}{new}");
        }
    }
    let (early, late) = STARTS.split_at(2);
    let (blocks, heads) = PARTS.split_at(6);
    let start = |name: &mut String, starts: &[(&str, &str)]| {
        for (start, new) in starts {
            if let Some(rest) = name.strip_prefix(start) {
                *name = format!("{new}{rest}");
            }
        }
    };
    start(&mut name, early);
    let part = |name: &mut String, parts: &[(&str, &str)]| {
        for (part, new) in parts {
            *name = name.replace(part, new);
        }
    };
    part(&mut name, blocks);
    part(&mut name, &heads[..4]);
    start(&mut name, late);
    part(&mut name, &heads[4..]);
    pyramid(&name).unwrap_or(name)
}

/// `fpn.inner.res2.2.sum.lateral.weight` is a lateral convolution, `fpn.res2.2.sum.weight` an output one.
fn pyramid(name: &str) -> Option<String> {
    let (kind, rest) = match name.strip_prefix("fpn.inner.res") {
        Some(rest) => ("fpn_lateral", rest),
        None => ("fpn_output", name.strip_prefix("fpn.res")?),
    };
    let parts: Vec<&str> = rest.split('.').collect();
    let norm = if parts.contains(&"norm") { ".norm" } else { "" };
    Some(format!("{kind}{}{norm}.{}", parts.first()?, parts.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_detectron2s() {
        for (caffe2, detectron2) in [
            ("conv1_w", "stem.conv1.weight"),
            ("res_conv1_bn_s", "stem.conv1.norm.weight"),
            ("res2_0_branch1_w", "res2.0.shortcut.weight"),
            ("res2_0_branch1_bn_b", "res2.0.shortcut.norm.bias"),
            ("res4_22_branch2b_bn_s", "res4.22.conv2.norm.weight"),
            ("res5_2_branch2c_gn_b", "res5.2.conv3.norm.bias"),
            ("pred_w", "linear.weight"),
            ("conv_rpn_fpn2_w", "proposal_generator.rpn_head.conv.weight"),
            ("conv_rpn_w", "proposal_generator.rpn_head.conv.weight"),
            (
                "rpn_cls_logits_fpn2_b",
                "proposal_generator.rpn_head.objectness_logits.bias",
            ),
            (
                "rpn_bbox_pred_w",
                "proposal_generator.rpn_head.anchor_deltas.weight",
            ),
            ("bbox_pred_w", "bbox_pred.weight"),
            ("cls_score_b", "cls_score.bias"),
            ("fc6_w", "box_head.fc1.weight"),
            ("head_conv1_gn_s", "box_head.conv1.norm.weight"),
            ("fpn_inner_res4_5_sum_lateral_w", "fpn_lateral4.weight"),
            ("fpn_inner_res5_2_sum_w", "fpn_lateral5.weight"),
            ("fpn_res2_2_sum_b", "fpn_output2.bias"),
            ("_[mask]_fcn1_w", "mask_head.mask_fcn1.weight"),
            ("mask_fcn_logits_w", "mask_head.predictor.weight"),
            ("conv5_mask_b", "mask_head.deconv.bias"),
        ] {
            assert_eq!(name(caffe2), detectron2);
        }
    }
}
