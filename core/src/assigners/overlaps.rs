//! [`Overlaps`]: how overlaps are measured, an assigner's `iou_calculator`.

use serde::Deserialize;

use crate::config::{Diagnostics, Node, unsupported};
use crate::structures::Xyxy;
use crate::structures::boxes::{Overlap, overlap};

/// How the overlap of two boxes is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlaps {
    /// `BboxOverlaps2D`.
    #[default]
    Plain,
    /// `BboxOverlaps2D_GLIP`: x2 and y2 are within a box, so it is a pixel wider and higher. It knows no share of one box.
    Inclusive,
}

/// The keys of `type='BboxOverlaps2D'`.
#[derive(Debug, Deserialize)]
struct OverlapsConfig {
    #[serde(rename = "scale")]
    _scale: Option<f64>,
    dtype: Option<String>,
}

impl Overlaps {
    /// Reads `iou_calculator` of an assigner.
    ///
    /// # Errors
    /// It is another one.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let Some(calculator) = node.get("iou_calculator").filter(|n| !n.is_none()) else {
            return Ok(Self::default());
        };
        let name = calculator.get("type").and_then(Node::as_type);
        let name = name.unwrap_or_default();
        let overlaps = match name.rsplit('.').next() {
            Some("BboxOverlaps2D") => Self::Plain,
            Some("BboxOverlaps2D_GLIP") => Self::Inclusive,
            _ => {
                let message = format!("overlaps by `{name}` are not supported yet");
                let help = "write iou_calculator=dict(type='BboxOverlaps2D')";
                return Err(unsupported(node, "iou_calculator", message, help));
            }
        };
        // `scale` divides boxes of half precision, and nothing else
        let config: OverlapsConfig = calculator.read_knowing(&["type"])?;
        if config.dtype.as_deref() == Some("fp16") {
            let message = "overlaps of half precision are not supported yet";
            return Err(unsupported(calculator, "dtype", message, "leave it out"));
        }
        Ok(overlaps)
    }

    /// Of two boxes.
    pub fn of(self, a: &Xyxy, b: &Xyxy, mode: Overlap) -> f32 {
        match self {
            Self::Plain => overlap(a, b, mode),
            Self::Inclusive => {
                let along = |axis: usize| {
                    (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis]) + 1.0).max(0.0)
                };
                let area = |b: &Xyxy| (b[2] - b[0] + 1.0) * (b[3] - b[1] + 1.0);
                let both = along(0) * along(1);
                both / (area(a) + area(b) - both)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_value;

    #[test]
    fn by_hand() {
        let (a, b) = ([0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 4.0]);
        assert_eq!(Overlaps::Inclusive.of(&a, &b, Overlap::Iou), 0.5);
        assert_eq!(Overlaps::Plain.of(&a, &b, Overlap::Iou), 4.0 / 9.0);
        assert_eq!(Overlaps::Plain.of(&b, &a, Overlap::Iof), 1.0);
    }

    #[test]
    fn read() {
        let of = |text: &str| {
            let node = parse_value(&format!("dict(type='MaxIoUAssigner', {text})")).unwrap();
            Overlaps::read(&node)
                .map_err(|problems| problems.iter().map(|p| p.to_string()).collect::<String>())
        };
        assert_eq!(of(""), Ok(Overlaps::Plain));
        assert_eq!(
            of("iou_calculator=dict(type='BboxOverlaps2D', scale=1.0)"),
            Ok(Overlaps::Plain)
        );
        assert_eq!(
            of("iou_calculator=dict(type='BboxOverlaps2D_GLIP')"),
            Ok(Overlaps::Inclusive)
        );
        let half = of("iou_calculator=dict(type='BboxOverlaps2D', scale=512.0, dtype='fp16')");
        assert!(half.unwrap_err().contains("half precision"));
        assert!(
            of("iou_calculator=dict(type='RBboxOverlaps2D')")
                .unwrap_err()
                .contains("RBboxOverlaps2D")
        );
    }
}
