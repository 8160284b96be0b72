//! A dense head's `test_cfg`: which scores count, how overlaps are removed, how many boxes stay.

use serde::Deserialize;
use smalti_shaders::reference::nms::{Decay, Method, NmsConfig, Soft};

use crate::config::{Diagnostics, Node, error_at};
use crate::ops::detections::{Group, Labels, Select};

/// The keys of a dense head's `test_cfg`.
#[derive(Debug, Deserialize)]
struct TestConfig {
    nms_pre: Option<i64>,
    min_bbox_size: Option<f32>,
    score_thr: Option<f32>,
    max_per_img: Option<i64>,
}

/// Keys that belong to other heads or exporters, or to MMDetection 2's RPN; many configs carry them along.
const OTHERS: &[&str] = &[
    "nms",
    "multi_label",
    "deploy_nms_pre",
    "nms_across_levels",
    "nms_post",
    "nms_thr",
    "max_num",
];

/// The keys of `test_cfg.nms`.
#[derive(Debug, Deserialize)]
struct NmsKeys {
    #[serde(rename = "type")]
    kind: Option<String>,
    iou_threshold: Option<f32>,
    /// The old name of `iou_threshold`.
    iou_thr: Option<f32>,
    class_agnostic: Option<bool>,
    split_thr: Option<usize>,
    score_threshold: Option<f32>,
    max_num: Option<i64>,
    offset: Option<f32>,
    // Of soft_nms.
    method: Option<String>,
    sigma: Option<f32>,
    min_score: Option<f32>,
}

/// Reads the `test_cfg` of a head of `classes`; what a head does otherwise than most, it sets itself.
///
/// # Errors
/// Missing, unknown or wrong keys.
pub fn read(test_cfg: &Node, classes: usize) -> Result<Select, Diagnostics> {
    let select = read_unlimited(test_cfg, classes)?;
    if super::present(test_cfg, "max_per_img").is_none() {
        let message = "the key `max_per_img` is missing";
        return Err(error_at(
            test_cfg,
            "max_per_img",
            message,
            "for example max_per_img=100",
        ));
    }
    Ok(select)
}

/// As [`read`]; without `max_per_img` all instances stay.
pub fn read_unlimited(test_cfg: &Node, classes: usize) -> Result<Select, Diagnostics> {
    read_knowing(test_cfg, classes, OTHERS)
}

/// As [`read`], of a second stage: all scores that pass are candidates, and a `max_per_img` that is not above 0 is no limit.
pub fn read_second_stage(test_cfg: &Node, classes: usize) -> Result<Select, Diagnostics> {
    let select = read_knowing(test_cfg, classes, &[OTHERS, &["mask_thr_binary"]].concat())?;
    if super::present(test_cfg, "score_thr").is_none() {
        let message = "the key `score_thr` is missing";
        return Err(error_at(
            test_cfg,
            "score_thr",
            message,
            "for example score_thr=0.05",
        ));
    }
    Ok(Select {
        nms_pre: i64::MAX,
        min_bbox_size: -1.0,
        max_per_img: match select.max_per_img {
            most if most > 0 => most,
            _ => i64::MAX,
        },
        ..select
    })
}

fn read_knowing(test_cfg: &Node, classes: usize, others: &[&str]) -> Result<Select, Diagnostics> {
    let config: TestConfig = test_cfg.read_knowing(others)?;
    let nms = match test_cfg.get("nms") {
        None => {
            let help =
                "write nms=dict(type='nms', iou_threshold=0.5), or nms=None for no suppression";
            return Err(error_at(test_cfg, "nms", "`test_cfg` has no `nms`", help));
        }
        Some(n) if n.is_none() => NmsConfig {
            method: Method::None,
            ..NmsConfig::default()
        },
        Some(n) => read_nms(n)?,
    };
    Ok(Select {
        classes,
        score_thr: config.score_thr.unwrap_or(0.0),
        at_least: false,
        labels: Labels::Every,
        nms_pre: config.nms_pre.unwrap_or(-1),
        min_bbox_size: config.min_bbox_size.unwrap_or(-1.0),
        group: Group::Class,
        nms,
        max_per_img: config.max_per_img.unwrap_or(i64::MAX),
    })
}

fn read_nms(node: &Node) -> Result<NmsConfig, Diagnostics> {
    let keys: NmsKeys = node.read()?;
    let default = NmsConfig::default();
    let iou_threshold = keys.iou_threshold.or(keys.iou_thr);
    let method = match keys.kind.as_deref().unwrap_or("nms") {
        "nms" => Method::Hard,
        "soft_nms" => {
            let default = Soft::default();
            let decay = match keys.method.as_deref() {
                None => default.decay,
                Some("naive") => Decay::Naive,
                Some("linear") => Decay::Linear,
                Some("gaussian") => Decay::Gaussian,
                Some(other) => {
                    let message = format!("`soft_nms` has no method '{other}'");
                    let known = "known are 'naive', 'linear', 'gaussian'";
                    return Err(error_at(node, "method", message, known));
                }
            };
            Method::Soft(Soft {
                decay,
                sigma: keys.sigma.unwrap_or(default.sigma),
                min_score: keys.min_score.unwrap_or(default.min_score),
            })
        }
        other => {
            let message = format!("unknown nms type '{other}'");
            return Err(error_at(
                node,
                "type",
                message,
                "known are 'nms' and 'soft_nms'",
            ));
        }
    };
    let iou_threshold = match (iou_threshold, method) {
        (Some(threshold), _) => threshold,
        (None, Method::Hard) => {
            return Err(error_at(
                node,
                "iou_threshold",
                "`nms` has no `iou_threshold`",
                "for example iou_threshold=0.5",
            ));
        }
        (None, _) => 0.3,
    };
    Ok(NmsConfig {
        method,
        iou_threshold,
        class_agnostic: keys.class_agnostic.unwrap_or(false),
        score_threshold: keys.score_threshold.unwrap_or(default.score_threshold),
        max_num: keys.max_num.unwrap_or(default.max_num),
        split_thr: keys.split_thr.unwrap_or(default.split_thr),
        offset: keys.offset.unwrap_or(default.offset),
    })
}
