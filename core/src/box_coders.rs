//! Box coders: how a head's four numbers say where a box is, relative to its prior.
//!
//! `DeltaXYWHBBoxCoder` moves the centre by `dx * w, dy * h` and multiplies the size by `exp(dw), exp(dh)` (R-CNN, Girshick et al. 2014,
//! arXiv 1311.2524, appendix C). The arithmetic is [`DeltaCoder`]'s, which the GPU kernel shares.

use serde::Deserialize;
pub use smalti_shaders::reference::decode::DeltaCoder;

use crate::config::{Diagnostics, Node, unsupported};

/// The keys of `type='DeltaXYWHBBoxCoder'`.
#[derive(Debug, Deserialize)]
struct DeltaConfig {
    target_means: Option<[f32; 4]>,
    target_stds: Option<[f32; 4]>,
    clip_border: Option<bool>,
    add_ctr_clamp: Option<bool>,
    ctr_clamp: Option<f32>,
    #[serde(rename = "use_box_type")]
    _use_box_type: Option<bool>,
}

/// Reads `bbox_coder=dict(type='DeltaXYWHBBoxCoder', ...)`.
///
/// # Errors
/// Another type, or keys that it does not have.
pub fn read(node: &Node) -> Result<DeltaCoder, Diagnostics> {
    let name = node
        .get("type")
        .and_then(|t| t.as_type())
        .unwrap_or_default();
    if name.rsplit('.').next() != Some("DeltaXYWHBBoxCoder") {
        let message = format!("unknown box coder `{name}`");
        return Err(unsupported(
            node,
            "type",
            message,
            "known is DeltaXYWHBBoxCoder",
        ));
    }
    let config: DeltaConfig = node.read()?;
    let default = DeltaCoder::default();
    Ok(DeltaCoder {
        means: config.target_means.unwrap_or(default.means),
        stds: config.target_stds.unwrap_or(default.stds),
        clip_border: config.clip_border.unwrap_or(default.clip_border),
        add_ctr_clamp: config.add_ctr_clamp.unwrap_or(default.add_ctr_clamp),
        ctr_clamp: config.ctr_clamp.unwrap_or(default.ctr_clamp),
        ..default
    })
}
