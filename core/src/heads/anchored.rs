//! [`Anchored`]: what heads of anchors have in common, from `anchor_generator` and `bbox_coder` to candidates.

use burn::tensor::Tensor;

use smalti_shaders::reference::decode::anchor;

use super::anchor_losses::Grid;
use super::class_scores::ClassScores;
use super::{Given, Outputs, present};
use crate::box_coders::{BoxCoder, BoxCoders, DeltaCoder};
use crate::build::Build;
use crate::config::{Diagnostic, Diagnostics, Node, error_at};
use crate::ops::detections::{Candidates, Coder, Level, Select};
use crate::priors::{AnchorGenerator, AnchorLevel, Priors};

/// Anchors of each level, and how deltas move them.
#[derive(Debug)]
pub(super) struct Anchored {
    priors: AnchorGenerator,
    coder: DeltaCoder,
}

impl Anchored {
    /// Reads `anchor_generator` (`default`, where there is none) and `bbox_coder` of the head `node`.
    pub fn read(
        node: &Node,
        given: &Given,
        build: &Build,
        default: fn() -> AnchorGenerator,
    ) -> Result<Self, Diagnostics> {
        let generator = present(node, "anchor_generator");
        let priors = match generator {
            Some(node) => build.find::<Priors>(node)?(node)?,
            None => default(),
        };
        let coder = match present(node, "bbox_coder") {
            Some(node) => build.find::<BoxCoders>(node)?(node)?,
            None => BoxCoder::Delta(DeltaCoder::default()),
        };
        let BoxCoder::Delta(coder) = coder else {
            let message = format!("anchors need a coder of deltas, `{}` is none", coder.name());
            let help = "write bbox_coder=dict(type='DeltaXYWHBBoxCoder', ...)";
            return Err(error_at(node, "bbox_coder", message, help));
        };
        let (strides, levels) = (priors.levels().len(), given.features.list.len());
        if strides != levels {
            let message =
                format!("the anchor generator has {strides} strides for {levels} feature levels");
            let at = generator.unwrap_or(node);
            let at = at.get("strides").unwrap_or(at);
            let of_maps: Vec<_> = given.features.list.iter().map(|f| f.stride).collect();
            return Err(vec![
                Diagnostic::error(message)
                    .at(&at.origin, format!("{strides} strides"))
                    .help(format!("the levels have strides {of_maps:?}")),
            ]);
        }
        Ok(Self { priors, coder })
    }

    /// Anchors in each cell.
    pub fn per_cell(&self) -> usize {
        self.priors.per_cell()
    }

    /// How deltas move anchors.
    pub fn coder(&self) -> &DeltaCoder {
        &self.coder
    }

    /// The anchors of maps of these heights and widths.
    pub fn grid(&self, maps: &[[usize; 2]]) -> Grid {
        let (mut boxes, mut levels) = (Vec::new(), Vec::new());
        for (level, [height, width]) in self.priors.levels().iter().zip(maps) {
            let start = boxes.len();
            let stride = level.stride.map(|s| s as f32);
            for y in 0..*height {
                for x in 0..*width {
                    let cell = level
                        .base_anchors
                        .iter()
                        .map(|base| anchor(*base, stride, y, x));
                    boxes.extend(cell);
                }
            }
            levels.push(start..boxes.len());
        }
        let strides = self.priors.levels().iter();
        Grid {
            boxes,
            levels,
            maps: maps.to_vec(),
            strides: strides
                .map(|level| level.stride.map(|s| s as f32))
                .collect(),
            per_cell: self.per_cell(),
        }
    }

    /// All anchors of `outputs`: class logits and deltas.
    pub fn candidates(
        &self,
        outputs: &Outputs,
        scores: ClassScores,
        select: &Select,
    ) -> Candidates {
        let levels = outputs.levels().zip(self.priors.levels());
        let level = |([logits, deltas], anchors): ([&Tensor<4>; 2], &AnchorLevel)| Level {
            scores: logits.clone(),
            activation: scores.activation,
            factor: None,
            boxes: deltas.clone(),
            coder: Coder::Delta {
                coder: self.coder.clone(),
                base_anchors: anchors.base_anchors.clone(),
                stride: anchors.stride,
            },
        };
        Candidates {
            levels: levels.map(level).collect(),
            select: select.clone(),
        }
    }
}
