//! Box coders: how a head's four numbers say where a box is, relative to its prior. To add one, a function here and a row in [`ROWS`].
//!
//! `DeltaXYWHBBoxCoder` moves the centre by `dx * w, dy * h` and multiplies the size by `exp(dw), exp(dh)` (R-CNN, Girshick et al. 2014,
//! arXiv 1311.2524, appendix C). The arithmetic is [`DeltaCoder`]'s, which the GPU kernel shares.
//! `DistancePointBBoxCoder` gives distances from a point to the four sides (FCOS, Tian et al. 2019, arXiv 1904.01355, section 3.1).

use burn::tensor::Tensor;
use serde::Deserialize;
pub use smalti_shaders::reference::decode::DeltaCoder;

use crate::config::{Diagnostics, Node};
use crate::registry::{Family, Row};
use crate::structures::Xyxy;

/// The keys of `type='DeltaXYWHBBoxCoder'`.
#[derive(Debug, Deserialize)]
struct DeltaConfig {
    target_means: Option<[f32; 4]>,
    target_stds: Option<[f32; 4]>,
    clip_border: Option<bool>,
    add_ctr_clamp: Option<bool>,
    ctr_clamp: Option<f32>,
}

/// The keys of `type='DistancePointBBoxCoder'`.
#[derive(Debug, Deserialize)]
struct DistanceConfig {
    clip_border: Option<bool>,
}

/// How four numbers and a prior make a box.
#[derive(Clone, Debug, PartialEq)]
pub enum BoxCoder {
    /// Shift and scale of an anchor.
    Delta(DeltaCoder),
    /// Distances from a point to the left, upper, right and lower side.
    Distance {
        /// Clip boxes to the picture.
        clip_border: bool,
    },
}

impl BoxCoder {
    /// Its registered name.
    pub fn name(&self) -> &'static str {
        match self {
            BoxCoder::Delta(_) => "DeltaXYWHBBoxCoder",
            BoxCoder::Distance { .. } => "DistancePointBBoxCoder",
        }
    }
}

/// The way back, and the way of rows on a device, which has gradients.
pub trait DeltaRows {
    /// The deltas that make `object` of `anchor`, both xyxy px.
    fn encode(&self, anchor: Xyxy, object: Xyxy) -> [f32; 4];

    /// The boxes that `deltas` make of `anchors`, `[R, 4]`, not clipped.
    fn decode_rows(&self, anchors: Tensor<2>, deltas: Tensor<2>) -> Tensor<2>;
}

impl DeltaRows for DeltaCoder {
    fn encode(&self, anchor: Xyxy, object: Xyxy) -> [f32; 4] {
        let mut deltas = [0.0; 4];
        for axis in 0..2 {
            let middle = |b: Xyxy| (b[axis] + b[axis + 2]) * 0.5;
            let size = |b: Xyxy| b[axis + 2] - b[axis] + self.extra();
            deltas[axis] = (middle(object) - middle(anchor)) / size(anchor);
            deltas[axis + 2] = (size(object) / size(anchor)).ln();
        }
        std::array::from_fn(|i| (deltas[i] - self.means[i]) / self.stds[i])
    }

    fn decode_rows(&self, anchors: Tensor<2>, deltas: Tensor<2>) -> Tensor<2> {
        let column = |t: &Tensor<2>, i: usize| t.clone().narrow(1, i, 1);
        let axis = |axis: usize| {
            let number = |i: usize| column(&deltas, i) * self.stds[i] + self.means[i];
            let (low, high) = (column(&anchors, axis), column(&anchors, axis + 2));
            let size = high.clone() - low.clone() + self.extra();
            let (mut shift, mut ratio) = (size.clone() * number(axis), number(axis + 2));
            let most = self.max_ratio();
            if self.add_ctr_clamp {
                shift = shift.clamp(-self.ctr_clamp, self.ctr_clamp);
                ratio = ratio.clamp_max(most);
            } else {
                ratio = ratio.clamp(-most, most);
            }
            let middle = (low + high) * 0.5 + shift;
            let half = size * ratio.exp() * 0.5;
            [middle.clone() - half.clone(), middle + half]
        };
        let ([x1, x2], [y1, y2]) = (axis(0), axis(1));
        Tensor::cat(vec![x1, y1, x2, y2], 1)
    }
}

/// The kind `box coder` of the registry.
#[derive(Debug)]
pub struct BoxCoders;

impl Family for BoxCoders {
    const KIND: &'static str = "box coder";
    type Build = fn(&Node) -> Result<BoxCoder, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("BucketingBBoxCoder", ""),
        ("PseudoBBoxCoder", ""),
        ("TBLRBBoxCoder", ""),
        ("YOLOBBoxCoder", ""),
    ];
}

/// The table: scope, name, builder.
pub const ROWS: [Row<BoxCoders>; 3] = [
    Row::<BoxCoders>::new("mmdet", "DeltaXYWHBBoxCoder", delta),
    Row::<BoxCoders>::new("mmdet", "DistancePointBBoxCoder", distance),
    Row::<BoxCoders>::new("mmdet", "LegacyDeltaXYWHBBoxCoder", legacy),
];

fn delta(node: &Node) -> Result<BoxCoder, Diagnostics> {
    let config: DeltaConfig = node.read_knowing(&["use_box_type"])?;
    let default = DeltaCoder::default();
    Ok(BoxCoder::Delta(DeltaCoder {
        means: config.target_means.unwrap_or(default.means),
        stds: config.target_stds.unwrap_or(default.stds),
        clip_border: config.clip_border.unwrap_or(default.clip_border),
        add_ctr_clamp: config.add_ctr_clamp.unwrap_or(default.add_ctr_clamp),
        ctr_clamp: config.ctr_clamp.unwrap_or(default.ctr_clamp),
        ..default
    }))
}

/// That of MMDetection 1.x, which knows two keys.
fn legacy(node: &Node) -> Result<BoxCoder, Diagnostics> {
    /// Its keys.
    #[derive(Deserialize)]
    struct Keys {
        target_means: Option<[f32; 4]>,
        target_stds: Option<[f32; 4]>,
    }
    let keys: Keys = node.read_knowing(&["use_box_type"])?;
    let default = DeltaCoder::default();
    Ok(BoxCoder::Delta(DeltaCoder {
        means: keys.target_means.unwrap_or(default.means),
        stds: keys.target_stds.unwrap_or(default.stds),
        legacy: true,
        ..default
    }))
}

fn distance(node: &Node) -> Result<BoxCoder, Diagnostics> {
    let config: DistanceConfig = node.read_knowing(&["use_box_type"])?;
    Ok(BoxCoder::Distance {
        clip_border: config.clip_border.unwrap_or(true),
    })
}
