//! [`MatchCost`]: what it costs a query to find an object, as MMDetection 3.3.0's match costs say it (Carion et al. 2020, arXiv 2005.12872,
//! section 3.1). In f32, in the original's order.

use serde::Deserialize;

use super::hungarian::Queries;
use crate::build::Build;
use crate::config::{Diagnostics, Node, unsupported};
use crate::registry::{Family, Row};
use crate::structures::Xyxy;
use crate::structures::boxes::{Overlap, area, overlap};

/// One of the costs that are added up, with its `weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MatchCost {
    /// `BBoxL1Cost`: how far sides are apart, in widths and heights of the picture.
    BoxL1 {
        /// Middles and sizes, not sides.
        cxcywh: bool,
        /// Its factor.
        weight: f32,
    },
    /// `IoUCost`: less of an overlap costs more.
    Iou {
        /// How it is measured.
        mode: IouCostMode,
        /// Its factor.
        weight: f32,
    },
    /// `ClassificationCost`: a class that softmax holds less probable costs more.
    Classification {
        /// Its factor.
        weight: f32,
    },
    /// `FocalLossCost`: the focal loss of the class, less that of its absence.
    Focal {
        /// The factor of what is to be found.
        alpha: f32,
        /// The power of how wrong a logit is.
        gamma: f32,
        /// Added to probabilities before their logarithm.
        eps: f32,
        /// Its factor.
        weight: f32,
    },
}

/// `iou_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IouCostMode {
    /// By the area of both.
    Iou,
    /// By the area of the predicted box.
    Iof,
    /// Less the empty share of the box around both.
    #[default]
    Giou,
}

/// The kind `match cost` of the registry.
#[derive(Debug)]
pub struct MatchCosts;

impl Family for MatchCosts {
    const KIND: &'static str = "match cost";
    type Build = fn(&Node, &Build) -> Result<MatchCost, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("BinaryFocalLossCost", ""),
        ("CrossEntropyLossCost", "of masks"),
        ("DiceCost", "of masks"),
    ];
}

/// The table: scope, name, builder.
pub const MATCH_COSTS: [Row<MatchCosts>; 4] = [
    Row::<MatchCosts>::new("mmdet", "BBoxL1Cost", build_box),
    Row::<MatchCosts>::new("mmdet", "ClassificationCost", build_classification),
    Row::<MatchCosts>::new("mmdet", "FocalLossCost", build_focal),
    Row::<MatchCosts>::new("mmdet", "IoUCost", build_iou),
];

/// `box_format`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BoxFormat {
    Xyxy,
    Xywh,
}

#[derive(Debug, Deserialize)]
struct BoxConfig {
    box_format: Option<BoxFormat>,
    weight: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct IouConfig {
    iou_mode: Option<IouCostMode>,
    weight: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct ClassificationConfig {
    weight: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct FocalConfig {
    alpha: Option<f32>,
    gamma: Option<f32>,
    eps: Option<f32>,
    binary_input: Option<bool>,
    weight: Option<f32>,
}

fn build_box(node: &Node, _: &Build) -> Result<MatchCost, Diagnostics> {
    let config: BoxConfig = node.read()?;
    Ok(MatchCost::BoxL1 {
        cxcywh: matches!(config.box_format, Some(BoxFormat::Xywh)),
        weight: config.weight.unwrap_or(1.0),
    })
}

fn build_iou(node: &Node, _: &Build) -> Result<MatchCost, Diagnostics> {
    let config: IouConfig = node.read()?;
    Ok(MatchCost::Iou {
        mode: config.iou_mode.unwrap_or_default(),
        weight: config.weight.unwrap_or(1.0),
    })
}

fn build_classification(node: &Node, _: &Build) -> Result<MatchCost, Diagnostics> {
    let config: ClassificationConfig = node.read()?;
    let weight = config.weight.unwrap_or(1.0);
    Ok(MatchCost::Classification { weight })
}

fn build_focal(node: &Node, _: &Build) -> Result<MatchCost, Diagnostics> {
    let config: FocalConfig = node.read()?;
    if config.binary_input == Some(true) {
        let message = "costs of masks are not supported yet";
        return Err(unsupported(node, "binary_input", message, "leave it out"));
    }
    Ok(MatchCost::Focal {
        alpha: config.alpha.unwrap_or(0.25),
        gamma: config.gamma.unwrap_or(2.0),
        eps: config.eps.unwrap_or(1e-12),
        weight: config.weight.unwrap_or(1.0),
    })
}

impl MatchCost {
    /// Of query `q` and an object.
    pub fn of(
        &self,
        queries: &Queries,
        q: usize,
        bbox: &Xyxy,
        label: usize,
        [height, width]: [usize; 2],
    ) -> f32 {
        match *self {
            Self::BoxL1 { cxcywh, weight } => {
                let size = [width as f32, height as f32];
                let of = |b: &Xyxy| if cxcywh { cxcywh_from_xyxy(b) } else { *b };
                let (a, b) = (of(&queries.boxes[q]), of(bbox));
                let apart = |i: usize| (a[i] / size[i % 2] - b[i] / size[i % 2]).abs();
                (0..4).map(apart).sum::<f32>() * weight
            }
            Self::Iou { mode, weight } => {
                let pred = &queries.boxes[q];
                -weight
                    * match mode {
                        IouCostMode::Iou => overlap(pred, bbox, Overlap::Iou),
                        IouCostMode::Iof => overlap(pred, bbox, Overlap::Iof),
                        IouCostMode::Giou => giou(pred, bbox),
                    }
            }
            Self::Classification { weight } => {
                let logits = queries.logits(q);
                let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = logits.iter().map(|x| (x - most).exp()).sum();
                -(logits[label] - most).exp() / sum * weight
            }
            Self::Focal {
                alpha,
                gamma,
                eps,
                weight,
            } => {
                let share = 1.0 / (1.0 + (-queries.logits(q)[label]).exp());
                let no = -(1.0 - share + eps).ln() * (1.0 - alpha) * share.powf(gamma);
                let yes = -(share + eps).ln() * alpha * (1.0 - share).powf(gamma);
                (yes - no) * weight
            }
        }
    }
}

fn cxcywh_from_xyxy(b: &Xyxy) -> [f32; 4] {
    [
        (b[0] + b[2]) / 2.0,
        (b[1] + b[3]) / 2.0,
        b[2] - b[0],
        b[3] - b[1],
    ]
}

fn giou(a: &Xyxy, b: &Xyxy) -> f32 {
    let along = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let both = along(0) * along(1);
    let union = (area(a) + area(b) - both).max(1e-6);
    let around = |axis: usize| (a[axis + 2].max(b[axis + 2]) - a[axis].min(b[axis])).max(0.0);
    let around = (around(0) * around(1)).max(1e-6);
    both / union - (around - union) / around
}
