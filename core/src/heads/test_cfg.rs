//! A dense head's `test_cfg`: which scores count, how overlaps are removed, how many boxes stay.

use serde::Deserialize;
use serde::de::IgnoredAny;
use smalti_shaders::reference::nms::{Decay, Method, NmsConfig, Soft};

use super::DenseHead;
use crate::config::{Diagnostics, Node, error_at};
use crate::ops::PostConfig;

/// The keys of a dense head's `test_cfg`.
#[derive(Debug, Deserialize)]
struct TestConfig {
    nms_pre: Option<i64>,
    min_bbox_size: Option<f32>,
    score_thr: Option<f32>,
    max_per_img: i64,
    #[serde(rename = "nms")]
    _nms: Option<IgnoredAny>,
    // Read by other heads or exporters; many configs carry them along.
    #[serde(rename = "multi_label")]
    _multi_label: Option<bool>,
    #[serde(rename = "deploy_nms_pre")]
    _deploy_nms_pre: Option<i64>,
}

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

/// Reads `test_cfg` of the detector `node` for its head.
///
/// # Errors
/// Missing, unknown or wrong keys.
pub fn read(node: &Node, head: &dyn DenseHead) -> Result<PostConfig, Diagnostics> {
    let Some(test_cfg) = node.get("test_cfg").filter(|n| !n.is_none()) else {
        let help = "for example test_cfg=dict(nms_pre=1000, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)";
        return Err(error_at(
            node,
            "test_cfg",
            "this detector has no `test_cfg`",
            help,
        ));
    };
    let config: TestConfig = test_cfg.read()?;
    let nms = match test_cfg.get("nms") {
        None => {
            return Err(error_at(
                test_cfg,
                "nms",
                "`test_cfg` has no `nms`",
                "write nms=dict(type='nms', iou_threshold=0.5), or nms=None for no suppression",
            ));
        }
        Some(n) if n.is_none() => NmsConfig {
            method: Method::None,
            ..NmsConfig::default()
        },
        Some(n) => read_nms(n)?,
    };
    Ok(PostConfig {
        num_classes: head.num_classes(),
        use_sigmoid: head.use_sigmoid(),
        score_thr: config.score_thr.unwrap_or(0.0),
        nms_pre: config.nms_pre.unwrap_or(-1),
        min_bbox_size: config.min_bbox_size.unwrap_or(-1.0),
        nms,
        max_per_img: config.max_per_img,
        coder: head.coder().clone(),
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
