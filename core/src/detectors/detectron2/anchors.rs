//! [`Anchors`]: Detectron2's `DefaultAnchorGenerator`, and how deltas move what it gives.

use burn::tensor::Tensor;
use smalti_shaders::reference::decode::anchor;

use super::settings::{self, AnchorGenerator, PerLevel};
use crate::backbones::Feature;
use crate::box_coders::DeltaCoder;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::heads::Outputs;
use crate::limits::ANCHORS;
use crate::ops::detections::{Candidates, Coder, Level, Scoring, Select};
use crate::structures::Xyxy;

/// How deltas with these weights move boxes: sizes are bounded from above only.
pub(super) fn coder(weights: [f32; 4], clip_border: bool) -> DeltaCoder {
    DeltaCoder {
        stds: weights.map(|weight| 1.0 / weight),
        clip_border,
        add_ctr_clamp: true,
        ctr_clamp: f32::MAX,
        ..DeltaCoder::default()
    }
}

/// The anchors of each level.
#[derive(Debug)]
pub(super) struct Anchors {
    /// xyxy px of the cell at row 0, column 0, and the stride.
    levels: Vec<(Vec<Xyxy>, usize)>,
}

impl Anchors {
    /// Reads `MODEL.ANCHOR_GENERATOR` for these maps.
    pub fn read(whole: &Node, features: &[Feature]) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.ANCHOR_GENERATOR").unwrap_or(whole);
        let config: AnchorGenerator = settings::at(whole, "MODEL.ANCHOR_GENERATOR")?;
        if config.name != "DefaultAnchorGenerator" {
            let message = format!("the anchor generator `{}` is not supported", config.name);
            let help = "known is DefaultAnchorGenerator";
            return Err(unsupported(group, "NAME", message, help));
        }
        if !(0.0..1.0).contains(&config.offset) {
            let message = "`OFFSET` is from 0 to below 1";
            return Err(error_at(group, "OFFSET", message, ""));
        }
        let levels = features.len();
        let sizes = of_levels(group, "SIZES", &config.sizes, levels)?;
        let ratios = of_levels(group, "ASPECT_RATIOS", &config.aspect_ratios, levels)?;
        let mut made: Vec<(Vec<Xyxy>, usize)> = Vec::new();
        for (i, feature) in features.iter().enumerate() {
            let shift = config.offset * feature.stride as f64;
            let base = base_anchors(sizes[i], ratios[i], shift as f32);
            if base.is_empty() || base.len() > ANCHORS {
                let message = format!(
                    "{} anchors in a cell, possible are 1 to {ANCHORS}",
                    base.len()
                );
                return Err(error_at(group, "SIZES", message, ""));
            }
            if made
                .first()
                .is_some_and(|(first, _)| first.len() != base.len())
            {
                let message = "levels have different numbers of anchors in a cell";
                return Err(error_at(group, "SIZES", message, ""));
            }
            made.push((base, feature.stride));
        }
        Ok(Self { levels: made })
    }

    /// Anchors in each cell.
    pub fn per_cell(&self) -> usize {
        self.levels.first().map_or(0, |(base, _)| base.len())
    }

    /// All anchors of maps of these heights and widths, each level's by itself.
    pub fn grid(&self, maps: &[[usize; 2]]) -> Vec<Vec<Xyxy>> {
        let level = |((base, stride), [height, width]): (&(Vec<Xyxy>, usize), &[usize; 2])| {
            let stride = [*stride as f32; 2];
            let cells = (0..*height).flat_map(|y| (0..*width).map(move |x| [y, x]));
            let at = |[y, x]: [usize; 2]| base.iter().map(move |base| anchor(*base, stride, y, x));
            cells.flat_map(at).collect()
        };
        self.levels.iter().zip(maps).map(level).collect()
    }

    /// All anchors of `outputs`, which are logits and deltas.
    pub fn candidates(
        &self,
        outputs: &Outputs,
        activation: Scoring,
        coder: &DeltaCoder,
        select: &Select,
    ) -> Candidates {
        let level =
            |([logits, deltas], (base, stride)): ([&Tensor<4>; 2], &(Vec<Xyxy>, usize))| Level {
                scores: logits.clone(),
                activation,
                factor: None,
                boxes: deltas.clone(),
                coder: Coder::Delta {
                    coder: coder.clone(),
                    base_anchors: base.clone(),
                    stride: [*stride; 2],
                },
            };
        Candidates {
            levels: outputs.levels().zip(&self.levels).map(level).collect(),
            select: select.clone(),
        }
    }
}

fn of_levels<'a>(
    group: &Node,
    key: &str,
    given: &'a PerLevel,
    levels: usize,
) -> Result<Vec<&'a [f64]>, Diagnostics> {
    let lists: Vec<&[f64]> = match given {
        PerLevel::All(one) => vec![one; levels],
        PerLevel::Levels(lists) if lists.len() == 1 => vec![&lists[0]; levels],
        PerLevel::Levels(lists) => lists.iter().map(|list| &list[..]).collect(),
    };
    if lists.len() != levels {
        let message = format!("`{key}` is of {} levels, there are {levels}", lists.len());
        return Err(error_at(
            group,
            key,
            message,
            "give one list for all, or one for each",
        ));
    }
    Ok(lists)
}

/// Anchors around the middle of the first cell: all ratios, height to width, of one size after another.
fn base_anchors(sizes: &[f64], ratios: &[f64], shift: f32) -> Vec<Xyxy> {
    let of_size = |size: &f64| {
        let area = size * size;
        let of_ratio = move |ratio: &f64| {
            let width = (area / ratio).sqrt();
            let half = [width / 2.0, ratio * width / 2.0];
            let ends = [-half[0], -half[1], half[0], half[1]];
            ends.map(|end| end as f32 + shift)
        };
        ratios.iter().map(of_ratio)
    };
    sizes.iter().flat_map(of_size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_have_their_area_whatever_their_ratio() {
        let anchors = base_anchors(&[32.0, 64.0], &[0.5, 1.0, 2.0], 0.0);
        assert_eq!(anchors.len(), 6);
        assert_eq!(anchors[1], [-16.0, -16.0, 16.0, 16.0]);
        let [x1, y1, x2, y2] = anchors[2];
        assert!((x2 - x1 - 22.627_417).abs() < 1e-5 && (y2 - y1 - 45.254_833).abs() < 1e-5);
        assert_eq!(
            base_anchors(&[32.0], &[1.0], 8.0),
            [[-8.0, -8.0, 24.0, 24.0]]
        );
    }
}
