//! `DetDataPreprocessor` of mmdet 3.3 (and `ImgDataPreprocessor` of mmengine 0.10, its base): the
//! options; the engine does the work.

use serde::Deserialize;
use smalti_shaders::reference::preprocess::Values;

use smalti_config::{Bounded, Config, Diagnostics, Kind, Node, error_at};

/// Pixels by which a picture may be made larger, less one.
const MOST_DIVISOR: usize = 1024;

/// Normalisation, channel order, and padding of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct DetDataPreprocessor {
    /// Mean and standard deviation, one pair per channel after reordering, or one for all, or none.
    pub mean_std: Vec<(f32, f32)>,
    /// BGR to RGB, or RGB to BGR: the same reordering.
    pub swap: bool,
    /// Height and width of a batch are multiples of this.
    pub pad_size_divisor: usize,
    /// What lies outside of a picture, after normalisation.
    pub pad_value: f32,
}

impl Default for DetDataPreprocessor {
    fn default() -> Self {
        Self {
            mean_std: Vec::new(),
            swap: false,
            pad_size_divisor: 1,
            pad_value: 0.0,
        }
    }
}

#[derive(Deserialize)]
struct Keys {
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    pad_size_divisor: Option<Bounded<1, MOST_DIVISOR>>,
    pad_value: Option<f64>,
    bgr_to_rgb: Option<bool>,
    rgb_to_bgr: Option<bool>,
}

impl DetDataPreprocessor {
    /// That of `config`'s model; one that does nothing, where it has none.
    ///
    /// # Errors
    /// As [`DetDataPreprocessor::read`].
    pub fn of(config: &Config) -> Result<Self, Diagnostics> {
        let node = config.root.at("model.data_preprocessor");
        node.filter(|n| !n.is_none())
            .map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Reads `model.data_preprocessor`.
    ///
    /// # Errors
    /// Another type, or options that contradict each other.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        if let Some(kind) = node.get("type").and_then(Node::as_type) {
            let name = kind.rsplit('.').next().unwrap_or_default();
            if !matches!(name, "DetDataPreprocessor" | "ImgDataPreprocessor") {
                let message = format!("no data preprocessor `{kind}`");
                let mut problems = error_at(node, "type", message, "known is DetDataPreprocessor");
                problems.iter_mut().for_each(|p| p.kind = Kind::Unknown);
                return Err(problems);
            }
        }
        let config: Keys = node.read_knowing(&[
            "pad_mask",
            "mask_pad_value",
            "pad_seg",
            "seg_pad_value",
            "boxtype2tensor",
            "non_blocking",
            "batch_augments",
        ])?;
        let fail = |key, message: &str| Err(error_at(node, key, message, ""));
        if config.bgr_to_rgb == Some(true) && config.rgb_to_bgr == Some(true) {
            return fail(
                "rgb_to_bgr",
                "`bgr_to_rgb` and `rgb_to_bgr` exclude each other",
            );
        }
        let mean_std = match (config.mean, config.std) {
            (None, None) => Vec::new(),
            (Some(mean), Some(std)) => {
                for (key, values) in [("mean", &mean), ("std", &std)] {
                    if !matches!(values.len(), 1 | 3) {
                        let found =
                            format!("`{key}` has {} values, must have 1 or 3", values.len());
                        return fail(key, &found);
                    }
                }
                let n = mean.len().max(std.len());
                let at = |values: &[f64], c: usize| values[c % values.len()] as f32;
                (0..n).map(|c| (at(&mean, c), at(&std, c))).collect()
            }
            (Some(_), None) => return fail("mean", "`mean` needs `std` beside it"),
            (None, Some(_)) => return fail("std", "`std` needs `mean` beside it"),
        };
        Ok(Self {
            mean_std,
            swap: config.bgr_to_rgb == Some(true) || config.rgb_to_bgr == Some(true),
            pad_size_divisor: config.pad_size_divisor.map_or(1, Bounded::get),
            pad_value: config.pad_value.unwrap_or(0.0) as f32,
        })
    }

    /// What becomes of the values of pictures with `channels` channels.
    ///
    /// # Errors
    /// If the options do not fit that number of channels.
    pub fn values(&self, channels: usize) -> Result<Values, String> {
        if self.swap && channels < 3 {
            return Err(format!(
                "`bgr_to_rgb` needs pictures of 3 channels, these have {channels}: load them with color_type='color'"
            ));
        }
        let out = if self.swap { 3 } else { channels };
        if self.mean_std.len() == 3 && out != 3 {
            return Err(format!(
                "`mean` has 3 values, the pictures have {out} channels"
            ));
        }
        Ok(Values::new(
            channels,
            self.swap,
            &self.mean_std,
            self.pad_value,
        ))
    }

    /// Width and height of a batch: the largest of its pictures', then up to the divisor.
    pub fn batch_size(&self, sizes: impl IntoIterator<Item = [usize; 2]>) -> [usize; 2] {
        let largest = sizes
            .into_iter()
            .fold([0, 0], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
        largest.map(|v| v.next_multiple_of(self.pad_size_divisor))
    }

    /// `pad_shape` of a picture of `height` x `width` pixels: up to the divisor by itself.
    pub fn pad_shape(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        [height, width].map(|v| v.next_multiple_of(self.pad_size_divisor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_batch() {
        let pre = DetDataPreprocessor {
            pad_size_divisor: 32,
            ..Default::default()
        };
        assert_eq!(pre.batch_size([[100, 60], [64, 97]]), [128, 128]);
        assert_eq!(pre.pad_shape([60, 100]), [64, 128]);
        assert_eq!(DetDataPreprocessor::default().batch_size([[7, 5]]), [7, 5]);
    }

    #[test]
    fn channels_that_do_not_fit() {
        let mut pre = DetDataPreprocessor {
            swap: true,
            ..Default::default()
        };
        assert!(pre.values(1).unwrap_err().contains("color_type='color'"));
        assert_eq!(pre.values(4).unwrap().channels(), 3);
        pre.swap = false;
        pre.mean_std = vec![(0.0, 1.0); 3];
        assert!(pre.values(1).is_err() && pre.values(3).is_ok());
    }

    fn read(text: &str) -> Result<DetDataPreprocessor, String> {
        let node = smalti_config::parse_value(text).unwrap();
        DetDataPreprocessor::read(&node).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn options() {
        let read_one = read(
            "dict(type='mmdet.DetDataPreprocessor', mean=[127.5], std=[2], rgb_to_bgr=True, pad_value=114, \
             pad_mask=True, mask_pad_value=0, pad_seg=True, seg_pad_value=255, boxtype2tensor=False, \
             non_blocking=True, batch_augments=[dict(type='BatchFixedSizePad', size=(3, 3))])",
        );
        let expected = DetDataPreprocessor {
            mean_std: vec![(127.5, 2.0)],
            swap: true,
            pad_size_divisor: 1,
            pad_value: 114.0,
        };
        assert_eq!(read_one, Ok(expected));
        for (options, words) in [
            ("mean=[1, 2, 3]", "`mean` needs `std`"),
            ("mean=[1, 2], std=[1, 2]", "`mean` has 2 values"),
            ("bgr_to_rgb=True, rgb_to_bgr=True", "exclude each other"),
            ("pad_size_divisor=0", "is out of bounds"),
        ] {
            let error = read(&format!("dict(type='DetDataPreprocessor', {options})")).unwrap_err();
            assert!(error.contains(words), "{options}: {error}");
        }
        let error = read("dict(type='ReIDDataPreprocessor')").unwrap_err();
        assert!(
            error.contains("no data preprocessor `ReIDDataPreprocessor`"),
            "{error}"
        );
    }
}
