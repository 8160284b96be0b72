//! `AnchorGenerator` as MMDetection 3.3.0 computes it, in f32.

use serde::Deserialize;

use crate::config::{Bounded, Diagnostics, Node, Short, error_at};
use crate::limits::{ANCHORS, List, Pixels};

/// The keys of `type='AnchorGenerator'`.
#[derive(Debug, Deserialize)]
struct AnchorConfig {
    strides: List<Stride>,
    ratios: Short<f32, ANCHORS>,
    scales: Option<Short<f32, ANCHORS>>,
    base_sizes: Option<List<f32>>,
    scale_major: Option<bool>,
    octave_base_scale: Option<f64>,
    scales_per_octave: Option<Bounded<0, ANCHORS>>,
    centers: Option<List<[f32; 2]>>,
    center_offset: Option<f32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Stride {
    Both(Pixels),
    /// Across, then down.
    Each([Pixels; 2]),
}

/// Anchors around the corner of the first cell of each level, shifted by the stride for the others.
#[derive(Clone, Debug, PartialEq)]
pub struct AnchorGenerator {
    levels: Vec<AnchorLevel>,
}

/// Anchors of one level.
#[derive(Clone, Debug, PartialEq)]
pub struct AnchorLevel {
    /// xyxy in pixels, of the cell at row 0, column 0.
    pub base_anchors: Vec<[f32; 4]>,
    /// Pixels between cells, across and down.
    pub stride: [usize; 2],
}

impl AnchorGenerator {
    /// Reads `anchor_generator=dict(type='AnchorGenerator', ...)`.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        Self::read_as(node, false)
    }

    /// Reads `anchor_generator=dict(type='LegacyAnchorGenerator', ...)`, that of MMDetection 1.x.
    pub fn read_legacy(node: &Node) -> Result<Self, Diagnostics> {
        Self::read_as(node, true)
    }

    fn read_as(node: &Node, legacy: bool) -> Result<Self, Diagnostics> {
        let config: AnchorConfig = node.read_knowing(&["use_box_type"])?;
        let fail = |key, message: &str| Err(error_at(node, key, message, ""));
        let strides: Vec<_> = config
            .strides
            .iter()
            .map(|s| match s {
                Stride::Both(s) => [s.get(); 2],
                Stride::Each(s) => s.map(Pixels::get),
            })
            .collect();
        if strides.is_empty() {
            return fail("strides", "`strides` is empty");
        }
        if config.ratios.is_empty() {
            return fail("ratios", "`ratios` is empty");
        }
        let octave = config.octave_base_scale.zip(config.scales_per_octave);
        let scales = match (config.scales, octave) {
            (Some(_), Some(_)) => {
                return fail(
                    "scales",
                    "`scales` and `octave_base_scale` with `scales_per_octave` exclude each other",
                );
            }
            (Some(scales), None) => scales.into_vec(),
            (None, Some((base, n))) => (0..n.get())
                .map(|i| (base * 2f64.powf(i as f64 / n.get() as f64)) as f32)
                .collect(),
            (None, None) => {
                return fail(
                    "type",
                    "give either `scales`, or `octave_base_scale` and `scales_per_octave`",
                );
            }
        };
        let anchors = scales.len() * config.ratios.len();
        if anchors > ANCHORS {
            let message = format!("{anchors} anchors in a cell, at most {ANCHORS} are possible");
            return fail("ratios", &message);
        }
        let offset = config.center_offset.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&offset) {
            return fail("center_offset", "`center_offset` must be from 0 to 1");
        }
        if offset != 0.0 && config.centers.is_some() {
            return fail(
                "centers",
                "`centers` and `center_offset` exclude each other",
            );
        }
        let same_length = |n: Option<usize>| n.is_none_or(|n| n == strides.len());
        if !same_length(config.centers.as_ref().map(|list| list.len())) {
            return fail("centers", "`centers` needs one entry for each stride");
        }
        if !same_length(config.base_sizes.as_ref().map(|list| list.len())) {
            return fail("base_sizes", "`base_sizes` needs one entry for each stride");
        }
        let scale_major = config.scale_major.unwrap_or(true);
        let levels = strides.iter().enumerate().map(|(i, &stride)| {
            let size = match &config.base_sizes {
                Some(sizes) => sizes[i],
                None => stride[0].min(stride[1]) as f32,
            };
            let centre = match &config.centers {
                Some(centres) => centres[i],
                None if legacy => [offset * (size - 1.0); 2],
                None => [offset * size; 2],
            };
            let anchors = base_anchors(size, centre, &scales, &config.ratios, scale_major);
            AnchorLevel {
                base_anchors: match legacy {
                    true => anchors.into_iter().map(whole).collect(),
                    false => anchors,
                },
                stride,
            }
        });
        Ok(Self {
            levels: levels.collect(),
        })
    }

    /// RetinaNet's default: 3 scales in each octave, 3 ratios, strides 8 to 128.
    pub fn retina() -> Self {
        let scales = (0..3).map(|i| (4.0 * 2f64.powf(f64::from(i) / 3.0)) as f32);
        Self::of_three_ratios(&scales.collect::<Vec<_>>(), [8, 16, 32, 64, 128])
    }

    /// The default of other heads: 3 scales, 3 ratios, strides 4 to 64.
    pub fn by_default() -> Self {
        Self::of_three_ratios(&[8.0, 16.0, 32.0], [4, 8, 16, 32, 64])
    }

    fn of_three_ratios(scales: &[f32], strides: [usize; 5]) -> Self {
        let level = |stride: usize| AnchorLevel {
            base_anchors: base_anchors(stride as f32, [0.0; 2], scales, &[0.5, 1.0, 2.0], true),
            stride: [stride; 2],
        };
        Self {
            levels: strides.map(level).to_vec(),
        }
    }

    /// The levels, fine ones first.
    pub fn levels(&self) -> &[AnchorLevel] {
        &self.levels
    }

    /// Anchors in each cell (of the first level; dense heads need all levels to have as many).
    pub fn per_cell(&self) -> usize {
        self.levels[0].base_anchors.len()
    }
}

/// Boxes of every scale and ratio (height to width) around `centre`, xyxy in pixels.
fn base_anchors(
    size: f32,
    [cx, cy]: [f32; 2],
    scales: &[f32],
    ratios: &[f32],
    scale_major: bool,
) -> Vec<[f32; 4]> {
    let anchor = |scale: f32, ratio: f32| {
        let h_ratio = ratio.sqrt();
        let w_ratio = 1.0 / h_ratio;
        // The order of the products is the original's: it decides the last bit.
        let (w, h) = if scale_major {
            (size * w_ratio * scale, size * h_ratio * scale)
        } else {
            (size * scale * w_ratio, size * scale * h_ratio)
        };
        [cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h]
    };
    let mut anchors = Vec::with_capacity(scales.len() * ratios.len());
    if scale_major {
        for &ratio in ratios {
            anchors.extend(scales.iter().map(|&scale| anchor(scale, ratio)));
        }
    } else {
        for &scale in scales {
            anchors.extend(ratios.iter().map(|&ratio| anchor(scale, ratio)));
        }
    }
    anchors
}

/// A px smaller, and at whole pixels, as MMDetection 1.x has them.
fn whole([x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
    [x1 + 0.5, y1 + 0.5, x2 - 0.5, y2 - 0.5].map(f32::round_ties_even)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_by_hand() {
        assert_eq!(
            base_anchors(8.0, [0.0, 0.0], &[1.0, 2.0], &[1.0], true),
            [[-4.0, -4.0, 4.0, 4.0], [-8.0, -8.0, 8.0, 8.0]]
        );
        // Ratio 4 is twice as high as it would be square, and half as wide.
        assert_eq!(
            base_anchors(8.0, [4.0, 4.0], &[1.0], &[4.0], true),
            [[2.0, -4.0, 6.0, 12.0]]
        );
        let by_ratio = base_anchors(8.0, [0.0; 2], &[1.0, 2.0], &[1.0, 4.0], true);
        let by_scale = base_anchors(8.0, [0.0; 2], &[1.0, 2.0], &[1.0, 4.0], false);
        assert_eq!(by_ratio[1], by_scale[2]);
        assert_eq!(by_ratio[2], by_scale[1]);
    }
}
