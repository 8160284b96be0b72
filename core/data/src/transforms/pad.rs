//! `Pad` of mmcv 2.1 and mmdet 3.3: pixels added at the right and bottom.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::canvas::checked;
use super::{Draws, Outcome};
use crate::image::Depth;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, error_at};

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
                if let Some(first) = values.first_mut() {
                    *first = *v;
                }
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
    /// What is added to masks.
    masks: u8,
}

impl Pad {
    /// To a size, with a constant.
    pub(super) fn to(
        size: [usize; 2],
        node: &Node,
        value: Option<PadVal>,
    ) -> Result<Self, Diagnostics> {
        let (fill, masks) = fills(node, value)?;
        Ok(Self {
            size: Some(size),
            divisor: None,
            to_square: false,
            fill,
            mode: PaddingMode::Constant,
            masks,
        })
    }

    /// Picture and masks.
    pub(super) fn pad(&self, mut sample: Sample, pixels: &Pixels) -> Outcome {
        let [width, height] = sample.image.size();
        let size = checked(self.size(width, height))?;
        let channels = sample.image.channels();
        let border = match self.mode {
            PaddingMode::Constant => Border::Constant(self.constant(&sample)?),
            PaddingMode::Edge => Border::Edge,
            PaddingMode::Reflect => Border::Reflect,
            PaddingMode::Symmetric => Border::Symmetric,
        };
        if size != [width, height] {
            let at = [0, 0];
            let op = Op::Window { size, at, border };
            sample.image = pixels.run(&sample.image, &op)?;
        }
        sample.img_shape = [size[1], size[0]];
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(masks.pad(size, self.masks));
        }
        let mut shape = vec![size[1], size[0]];
        // OpenCV's grey pictures have no third axis
        shape.extend((channels > 1).then_some(channels));
        sample.more.insert("pad_shape", json!(shape));
        sample.more.insert("pad_fixed_size", json!(self.size));
        sample.more.insert("pad_size_divisor", json!(self.divisor));
        Ok(Some(sample))
    }

    /// The constant for each channel, as OpenCV stores it.
    fn constant(&self, sample: &Sample) -> Result<Vec<f64>, Fault> {
        let channels = sample.image.channels();
        let fill = self.fill.channels(channels).ok_or_else(|| {
            let Fill::Each(values) = &self.fill else {
                return Fault::Transform("no value to pad with".into());
            };
            Fault::Transform(format!(
                "`pad_val` has {} values, but the picture has {channels} channels",
                values.len()
            ))
        })?;
        let stored = |v: f64| match sample.image.depth() {
            Depth::U8 => f64::from(v.round_ties_even() as u8),
            Depth::F32 => f64::from(v as f32),
        };
        Ok(fill.into_iter().map(stored).collect())
    }

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
}

impl Draws for Pad {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "Pad"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, sample: Sample, (): &(), pixels: &Pixels) -> Outcome {
        self.pad(sample, pixels)
    }
}

/// `pad_val`: an int, or a dict whose `img` and `masks` are ours.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected an int or a dict(img=..., masks=..., seg=...)"
)]
pub(super) enum PadVal {
    Int(i64),
    Dict {
        img: Option<Fill>,
        #[serde(rename = "seg")]
        _seg: Option<IgnoredAny>,
        masks: Option<f64>,
    },
}

/// What is added to pictures and to masks.
fn fills(node: &Node, value: Option<PadVal>) -> Result<(Fill, u8), Diagnostics> {
    let (fill, masks) = match value {
        None => (Fill::All(0), 0.0),
        Some(PadVal::Int(v)) => (Fill::All(v), 0.0),
        Some(PadVal::Dict { img, masks, .. }) => {
            (img.unwrap_or(Fill::All(0)), masks.unwrap_or(0.0))
        }
    };
    if matches!(&fill, Fill::Each(values) if values.is_empty()) {
        return Err(error_at(node, "pad_val", "`pad_val` has no values", ""));
    }
    // OpenCV rounds and saturates
    Ok((fill, masks.round_ties_even() as u8))
}

#[derive(Deserialize)]
struct Config {
    size: Option<[usize; 2]>,
    size_divisor: Option<usize>,
    pad_to_square: Option<bool>,
    pad_val: Option<PadVal>,
    padding_mode: Option<PaddingMode>,
}

pub(super) fn read(node: &Node) -> Result<Pad, Diagnostics> {
    let config: Config = node.read()?;
    let to_square = config.pad_to_square.unwrap_or(false);
    if to_square && config.size.is_some() {
        let message = "`size` and `pad_to_square` exclude each other";
        return Err(error_at(node, "size", message, ""));
    }
    if !to_square && config.size.is_some() == config.size_divisor.is_some() {
        let message = "`Pad` needs one of `size`, `size_divisor` and `pad_to_square`";
        return Err(error_at(
            node,
            "type",
            message,
            "for example size_divisor=32",
        ));
    }
    if config.size_divisor == Some(0) {
        return Err(error_at(node, "size_divisor", "`size_divisor` is 0", ""));
    }
    let (fill, masks) = fills(node, config.pad_val)?;
    Ok(Pad {
        size: config.size,
        divisor: config.size_divisor,
        to_square,
        fill,
        mode: config.padding_mode.unwrap_or_default(),
        masks,
    })
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
            masks: 0,
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
            (pad.mode, pad.fill) = (mode, Fill::All(9));
            // rows are padded alike
            for row in [true, false] {
                let size = if row { [3, 1] } else { [1, 3] };
                assert_eq!(padded(&pad, size, &[1, 2, 3], row), expected, "{mode:?}");
            }
        }
        let mut one = pad(None, Some(3), false);
        one.mode = PaddingMode::Reflect;
        assert_eq!(padded(&one, [1, 1], &[7], true), [7, 7, 7]);
    }

    /// The grey samples of the first row, or of the first column.
    fn padded(pad: &Pad, size: [usize; 2], samples: &[u8], row: bool) -> Vec<u8> {
        use crate::image::{Image, Samples};
        let pixels = Pixels::cpu().exact(true);
        let mut sample = Sample::new(Default::default());
        sample.set_image(Image::new(size, 1, Samples::U8(samples.to_vec())));
        let out = pad.pad(sample, &pixels).unwrap().unwrap();
        let width = out.image.width();
        match &*pixels.read_blocking(&out.image).unwrap() {
            Samples::U8(v) if row => v[..width].to_vec(),
            Samples::U8(v) => v.iter().step_by(width).copied().collect(),
            Samples::F32(_) => panic!("u8 stays u8"),
        }
    }

    #[test]
    fn fills() {
        assert_eq!(Fill::All(114).channels(3), Some(vec![114.0; 3]));
        assert_eq!(Fill::First(1.5).channels(3), Some(vec![1.5, 0.0, 0.0]));
        assert_eq!(Fill::Each(vec![1.0, 2.0]).channels(3), None);
    }

    #[test]
    fn all_that_is_there() {
        use super::super::trial::{pixels, refused, run, sample};
        use crate::image::Samples;
        let full = || sample([2, 1], &[[0.0, 0.0, 1.0, 1.0]]);
        let text =
            "dict(type='Pad', size=(3, 2), pad_val=dict(img=(1.5, 2.5, 300), masks=1, seg=9))";
        let out = run(text, full(), None).unwrap().unwrap();
        // rounded half to even and cut, as OpenCV does
        let fill = [2, 2, 255];
        let expected = [&[0, 0, 7, 1, 0, 7][..], &fill, &fill, &fill, &fill].concat();
        assert_eq!(pixels(&out), Samples::U8(expected));
        assert_eq!(
            (out.img_shape, out.gt.masks.unwrap().areas()),
            ([2, 3], vec![5.0])
        );
        assert_eq!(out.more["pad_shape"], json!([2, 3, 3]));
        assert_eq!(out.more["pad_fixed_size"], json!([3, 2]));
        assert_eq!(out.more["pad_size_divisor"], json!(null));
        let text = "dict(type='Pad', size=(3, 2), pad_val=dict(img=(1, 2)))";
        let error = run(text, full(), None).unwrap_err();
        assert!(
            error.to_string().contains("`pad_val` has 2 values"),
            "{error}"
        );
        let huge = run("dict(type='Pad', size_divisor=9999999)", full(), None);
        assert!(matches!(huge, Err(Fault::TooLarge { .. })));
        for (options, expected) in [
            ("size=(2, 2), size_divisor=2", "needs one of"),
            ("size=(2, 2), pad_to_square=True", "exclude each other"),
            ("size=(2, 2), pad_val=1.5", "pad_val"),
            ("size=(2, 2), padding_mode='wrap'", "padding_mode"),
        ] {
            let message = refused(&format!("dict(type='Pad', {options})"));
            assert!(message.contains(expected), "{options}: {message}");
        }
    }
}
