//! `Pad` of mmcv 2.1 and mmdet 3.3: pixels added at the right and bottom.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Transform;
use crate::config::Node;
use crate::registry::{Problems, problem};

/// What the added pixels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaddingMode {
    /// `pad_val`.
    #[default]
    Constant,
    /// The last pixel.
    Edge,
    /// Mirrored without the last pixel: `abcd|cba`.
    Reflect,
    /// Mirrored with the last pixel: `abcd|dcba`.
    Symmetric,
}

impl PaddingMode {
    /// The position that stands for position `at` of an axis of `length` pixels.
    fn source(self, at: usize, length: usize) -> usize {
        if at < length {
            return at;
        }
        let period = match self {
            PaddingMode::Constant | PaddingMode::Edge => return length - 1,
            PaddingMode::Reflect => 2 * length - 2,
            PaddingMode::Symmetric => 2 * length,
        };
        if period == 0 {
            return 0;
        }
        let at = at % period;
        match self {
            _ if at < length => at,
            PaddingMode::Reflect => period - at,
            _ => period - 1 - at,
        }
    }
}

/// `pad_val`'s `img`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number, or one per channel")]
pub enum Fill {
    /// An int: every channel.
    All(i64),
    /// A float: OpenCV takes it for the first channel only, the others are 0.
    First(f64),
    /// One per channel.
    Each(Vec<f64>),
}

impl Fill {
    /// One value per channel. `None` if their number is another.
    pub fn channels(&self, channels: usize) -> Option<Vec<f64>> {
        match self {
            Fill::All(v) => Some(vec![*v as f64; channels]),
            Fill::First(v) => {
                let mut values = vec![0.0; channels];
                values[0] = *v;
                Some(values)
            }
            Fill::Each(values) => (values.len() == channels).then(|| values.clone()),
        }
    }
}

/// Pads to a size that may depend on the picture's.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// Width and height at least.
    size: Option<[usize; 2]>,
    divisor: Option<usize>,
    to_square: bool,
    /// What is added, if the mode is constant.
    pub fill: Fill,
    /// What is added.
    pub mode: PaddingMode,
}

impl Pad {
    /// Width and height that a picture of `width` x `height` pixels gets: never less.
    pub fn size(&self, width: usize, height: usize) -> [usize; 2] {
        let mut size = [width, height];
        if self.to_square {
            size = [width.max(height); 2];
        }
        if let Some(divisor) = self.divisor {
            size = size.map(|v| v.div_ceil(divisor).saturating_mul(divisor));
        } else if let Some(given) = self.size {
            size = given;
        }
        [size[0].max(width), size[1].max(height)]
    }

    /// The padded samples of a picture of `width` x `height` pixels; `fill` has one per channel.
    pub(in crate::data) fn apply<T: Copy>(
        &self,
        pixels: &[T],
        [width, height]: [usize; 2],
        padded: [usize; 2],
        fill: &[T],
    ) -> Vec<T> {
        let channels = fill.len();
        let mut out = Vec::with_capacity(padded[0] * padded[1] * channels);
        for y in 0..padded[1] {
            for x in 0..padded[0] {
                if self.mode == PaddingMode::Constant && (x >= width || y >= height) {
                    out.extend_from_slice(fill);
                } else {
                    let (sx, sy) = (self.mode.source(x, width), self.mode.source(y, height));
                    let at = (sy * width + sx) * channels;
                    out.extend_from_slice(&pixels[at..at + channels]);
                }
            }
        }
        out
    }
}

/// `pad_val`: an int, or a dict whose `img` is ours.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an int or a dict(img=..., seg=...)")]
enum PadVal {
    Int(i64),
    Dict {
        img: Option<Fill>,
        #[serde(rename = "seg")]
        _seg: Option<IgnoredAny>,
        #[serde(rename = "masks")]
        _masks: Option<IgnoredAny>,
    },
}

#[derive(Deserialize)]
struct Config {
    size: Option<[usize; 2]>,
    size_divisor: Option<usize>,
    pad_to_square: Option<bool>,
    pad_val: Option<PadVal>,
    padding_mode: Option<PaddingMode>,
}

pub(super) fn build(node: &Node) -> Result<Transform, Problems> {
    let config: Config = node.read()?;
    let to_square = config.pad_to_square.unwrap_or(false);
    if to_square && config.size.is_some() {
        let message = "`size` and `pad_to_square` exclude each other";
        return Err(problem(node, "size", message, ""));
    }
    if !to_square && config.size.is_some() == config.size_divisor.is_some() {
        let message = "`Pad` needs one of `size`, `size_divisor` and `pad_to_square`";
        return Err(problem(
            node,
            "type",
            message,
            "for example size_divisor=32",
        ));
    }
    if config.size_divisor == Some(0) {
        return Err(problem(node, "size_divisor", "`size_divisor` is 0", ""));
    }
    let fill = match config.pad_val {
        None => Fill::All(0),
        Some(PadVal::Int(v)) => Fill::All(v),
        Some(PadVal::Dict { img, .. }) => img.unwrap_or(Fill::All(0)),
    };
    if matches!(&fill, Fill::Each(values) if values.is_empty()) {
        return Err(problem(node, "pad_val", "`pad_val` has no values", ""));
    }
    Ok(Transform::Pad(Pad {
        size: config.size,
        divisor: config.size_divisor,
        to_square,
        fill,
        mode: config.padding_mode.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad(size: Option<[usize; 2]>, divisor: Option<usize>, to_square: bool) -> Pad {
        Pad {
            size,
            divisor,
            to_square,
            fill: Fill::All(0),
            mode: PaddingMode::Constant,
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(
            pad(Some([640, 640]), None, false).size(640, 427),
            [640, 640]
        );
        assert_eq!(pad(Some([64, 640]), None, false).size(640, 427), [640, 640]);
        assert_eq!(pad(None, Some(32), false).size(65, 64), [96, 64]);
        assert_eq!(pad(None, None, true).size(65, 64), [65, 65]);
        assert_eq!(pad(None, Some(32), true).size(65, 64), [96, 96]);
    }

    #[test]
    fn modes_as_opencv() {
        // cv2.copyMakeBorder of [1, 2, 3] by 5 at the right
        for (mode, expected) in [
            (PaddingMode::Constant, [1, 2, 3, 9, 9, 9, 9, 9]),
            (PaddingMode::Edge, [1, 2, 3, 3, 3, 3, 3, 3]),
            (PaddingMode::Reflect, [1, 2, 3, 2, 1, 2, 3, 2]),
            (PaddingMode::Symmetric, [1, 2, 3, 3, 2, 1, 1, 2]),
        ] {
            let mut pad = pad(None, Some(8), false);
            pad.mode = mode;
            assert_eq!(
                pad.apply(&[1, 2, 3], [3, 1], [8, 1], &[9]),
                expected,
                "{mode:?}"
            );
            // rows are padded alike
            assert_eq!(
                pad.apply(&[1, 2, 3], [1, 3], [1, 8], &[9]),
                expected,
                "{mode:?}"
            );
        }
        let mut one = pad(None, Some(3), false);
        one.mode = PaddingMode::Reflect;
        assert_eq!(one.apply(&[7], [1, 1], [3, 1], &[0]), [7, 7, 7]);
    }

    #[test]
    fn fills() {
        assert_eq!(Fill::All(114).channels(3), Some(vec![114.0; 3]));
        assert_eq!(Fill::First(1.5).channels(3), Some(vec![1.5, 0.0, 0.0]));
        assert_eq!(Fill::Each(vec![1.0, 2.0]).channels(3), None);
    }
}
