//! `RandomCenterCropPad` of mmdet 3.3 (CornerNet, Law and Deng 2018, arXiv 1808.01244): in training a window around a drawn centre, which may
//! reach beyond the picture; in tests the picture in the middle of a larger one. What lies outside is the mean. Masks are cropped
//! too (MMDetection raises an error with them).

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::canvas::checked;
use super::min_iou_random_crop::centred;
use super::{Draws, Outcome, Transform};
use crate::image::{Depth, Image};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{Reason, Xyxy, boxes};
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Centres tried for one size.
const TRIES: usize = 50;
/// Sizes tried before a picture is given up; MMDetection never does, and hangs where no object's centre can be reached.
const ROUNDS: usize = 1_000;

/// Crops around a centre, and pads.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomCenterCropPad {
    mode: Mode,
    /// In the order of the picture's channels.
    mean: Vec<f64>,
    clip: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Mode {
    Train {
        crop_size: [f64; 2],
        ratios: Vec<f64>,
        border: f64,
    },
    Test {
        pad: TestPad,
        add: i64,
    },
}

/// `test_pad_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TestPad {
    LogicalOr(i64),
    SizeDivisor(i64),
}

/// The window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Centred {
    /// Width and height, px.
    pub size: [i64; 2],
    /// What of the picture is in its middle: x and y, px.
    pub center: [i64; 2],
}

/// A window on a picture.
struct Placed {
    /// Of the window.
    size: [usize; 2],
    /// Where the picture's top left pixel lands in it.
    at: [i64; 2],
    /// The part of the window that may show the picture: of an odd side the last row or column never does.
    shown: [usize; 2],
    /// The part of the picture that is seen: `[x1, y1, x2, y2]`.
    patch: [i64; 4],
}

impl Placed {
    fn new(drawn: &Centred, image: &Image) -> Result<Self, Fault> {
        let side = |v: i64| usize::try_from(v).unwrap_or(0);
        let size = checked(drawn.size.map(side))?;
        let source = image.size().map(|v| v as i64);
        let half = size.map(|v| (v / 2) as i64);
        // draws made for another picture may point outside
        let center = [0, 1].map(|i| drawn.center[i].clamp(0, source[i]));
        let low = [0, 1].map(|i| (center[i] - half[i]).max(0));
        let high = [0, 1].map(|i| (center[i] + half[i]).min(source[i]));
        Ok(Self {
            size,
            at: [half[0] - center[0], half[1] - center[1]],
            shown: half.map(|v| 2 * v as usize),
            patch: [low[0], low[1], high[0], high[1]],
        })
    }

    fn image(&self, image: &Image, mean: &[f64], pixels: &Pixels) -> Result<Image, Fault> {
        let fill: Vec<f64> = mean.iter().map(|v| f64::from(*v as f32)).collect();
        let window = |size: [usize; 2], at: [i64; 2]| Op::Window {
            size,
            at,
            border: Border::Constant(fill.clone()),
        };
        if self.shown == self.size {
            return pixels.run(image, &window(self.size, self.at));
        }
        if self.shown.contains(&0) {
            // a window of one row or column: it is all border
            return pixels.run(image, &window(self.size, image.size().map(|v| v as i64)));
        }
        let shown = pixels.run(image, &window(self.shown, self.at))?;
        pixels.run(&shown, &window(self.size, [0, 0]))
    }
}

/// How far from the picture's border a centre is drawn: `border`, halved until there is room.
fn border_of(border: f64, side: usize) -> i64 {
    let k = 2.0 * border / side as f64;
    if k <= 0.0 {
        return 0;
    }
    let halvings = k.ceil().log2().ceil() + f64::from(u8::from(k == k.trunc()));
    (border / halvings.exp2()).floor() as i64
}

impl RandomCenterCropPad {
    fn train(
        &self,
        sample: &Sample,
        random: &mut dyn Random,
        crop_size: [f64; 2],
        ratios: &[f64],
        border: f64,
    ) -> Result<Centred, Fault> {
        let of = Json::from(ratios);
        let [w, h] = sample.image.size();
        for _ in 0..ROUNDS {
            let ratio = random.choice(of.clone(), None)?;
            let ratio = ratios.get(ratio).copied().unwrap_or(1.0);
            let size = crop_size.map(|v| (v * ratio) as i64);
            let (border_x, border_y) = (border_of(border, w), border_of(border, h));
            for _ in 0..TRIES {
                let x = random.randint_named(border_x, w as i64 - border_x)?;
                let y = random.randint_named(border_y, h as i64 - border_y)?;
                let drawn = Centred {
                    size,
                    center: [x, y],
                };
                let patch = Placed::new(&drawn, &sample.image)?.patch.map(|v| v as f32);
                let boxes = &sample.gt.boxes;
                if boxes.is_empty() || boxes.iter().any(|b| centred(b, &patch)) {
                    return Ok(drawn);
                }
            }
        }
        let message = "`RandomCenterCropPad` found no window with an object's centre in it";
        Err(Fault::Transform(message.into()))
    }

    fn fits(&self, image: &Image) -> Result<(), Fault> {
        if image.depth() != Depth::F32 {
            let message =
                "`RandomCenterCropPad` needs a float picture: to_float32=True in LoadImageFromFile";
            return Err(Fault::Transform(message.into()));
        }
        if image.channels() != self.mean.len() {
            return Err(Fault::Transform(format!(
                "`RandomCenterCropPad` has {} values in `mean`, but the picture has {} channels",
                self.mean.len(),
                image.channels()
            )));
        }
        Ok(())
    }

    fn crop(&self, mut sample: Sample, drawn: &Centred, pixels: &Pixels) -> Outcome {
        let placed = Placed::new(drawn, &sample.image)?;
        sample.set_image(placed.image(&sample.image, &self.mean, pixels)?);
        let gt = &mut sample.gt;
        let patch: Xyxy = placed.patch.map(|v| v as f32);
        let kept: Vec<bool> = gt.boxes.iter().map(|b| centred(b, &patch)).collect();
        gt.keep(&kept, Reason::Outside);
        boxes::translate(&mut gt.boxes, placed.at.map(|v| v as f32));
        if self.clip {
            boxes::clip(&mut gt.boxes, placed.size);
        }
        gt.keep(&boxes::inside(&gt.boxes, placed.size), Reason::Clipped);
        if let Some(masks) = &gt.masks {
            let shown = masks.place(placed.shown, placed.at);
            gt.masks = Some(shown.place(placed.size, [0, 0]));
        }
        Ok(Some(sample))
    }

    fn pad(&self, mut sample: Sample, pad: TestPad, add: i64, pixels: &Pixels) -> Outcome {
        let source = sample.image.size().map(|v| v as i64);
        let size = source.map(|side| match pad {
            TestPad::LogicalOr(value) => (side | value).saturating_add(add),
            TestPad::SizeDivisor(divisor) => {
                let times = (side as f64 / divisor as f64).ceil() as i64;
                times.saturating_mul(divisor)
            }
        });
        let drawn = Centred {
            size,
            center: source.map(|side| side / 2),
        };
        let placed = Placed::new(&drawn, &sample.image)?;
        sample.set_image(placed.image(&sample.image, &self.mean, pixels)?);
        // where the picture lies: top, bottom, left, right
        let [x1, y1, x2, y2] = placed.patch;
        let [x, y] = placed.at;
        let border = [y1 + y, y2 + y, x1 + x, x2 + x].map(|v| v as f32);
        sample.more.insert("border", json!(border));
        Ok(Some(sample))
    }
}

impl Draws for RandomCenterCropPad {
    fn name(&self) -> &'static str {
        "RandomCenterCropPad"
    }
    /// `None` in test mode.
    type Drawn = Option<Centred>;

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<Option<Centred>, Fault> {
        self.fits(&sample.image)?;
        match &self.mode {
            Mode::Test { .. } => Ok(None),
            Mode::Train {
                crop_size,
                ratios,
                border,
            } => self
                .train(sample, random, *crop_size, ratios, *border)
                .map(Some),
        }
    }

    fn apply(&self, sample: Sample, drawn: &Option<Centred>, pixels: &Pixels) -> Outcome {
        self.fits(&sample.image)?;
        match (&self.mode, drawn) {
            (Mode::Test { pad, add }, _) => self.pad(sample, *pad, *add, pixels),
            (Mode::Train { .. }, Some(drawn)) if sample.has_boxes => {
                self.crop(sample, drawn, pixels)
            }
            (Mode::Train { .. }, drawn) => {
                let message = match drawn {
                    None => "`RandomCenterCropPad` in train mode needs a window",
                    Some(_) => {
                        "`RandomCenterCropPad` needs boxes: LoadAnnotations(with_bbox=True) before it"
                    }
                };
                Err(Fault::Transform(message.into()))
            }
        }
    }
}

#[derive(Deserialize)]
struct Config {
    crop_size: Option<[f64; 2]>,
    ratios: Option<Vec<f64>>,
    border: Option<f64>,
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    to_rgb: Option<bool>,
    test_mode: Option<bool>,
    test_pad_mode: Option<Node>,
    test_pad_add_pix: Option<i64>,
    bbox_clip_border: Option<bool>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let mut problems = Diagnostics::new();
    for (key, given) in [
        ("mean", config.mean.is_some()),
        ("std", config.std.is_some()),
        ("to_rgb", config.to_rgb.is_some()),
    ] {
        if !given {
            let message = format!("`RandomCenterCropPad` needs `{key}`");
            let help = "the same as the data preprocessor has";
            problems.extend(error_at(node, key, message, help));
        }
    }
    let mode = if config.test_mode.unwrap_or(false) {
        test_mode(node, &config, &mut problems)
    } else {
        train_mode(node, &config, &mut problems)
    };
    let mut mean = config.mean.unwrap_or_default();
    if config.to_rgb.unwrap_or(false) {
        mean.reverse();
    }
    match mode {
        Some(mode) if problems.is_empty() => Ok(Box::new(RandomCenterCropPad {
            mode,
            mean,
            clip: config.bbox_clip_border.unwrap_or(true),
        })),
        _ => Err(problems),
    }
}

/// An option that has a default must be switched off by `None`.
fn must_be_none(node: &Node, key: &str, mode: &str, problems: &mut Diagnostics) {
    if !node.get(key).is_some_and(Node::is_none) {
        let message = format!("`{key}` must be None in {mode} mode");
        problems.extend(error_at(node, key, message, &format!("write {key}=None")));
    }
}

fn test_mode(node: &Node, config: &Config, problems: &mut Diagnostics) -> Option<Mode> {
    if config.crop_size.is_some() {
        let message = "`crop_size` must be None in test mode";
        problems.extend(error_at(node, "crop_size", message, ""));
    }
    must_be_none(node, "ratios", "test", problems);
    must_be_none(node, "border", "test", problems);
    let pad = match (&config.test_pad_mode, node.get("test_pad_mode")) {
        (None, None) => Some(TestPad::LogicalOr(127)),
        (Some(given), _) => pad_mode(given),
        (None, Some(_)) => None,
    };
    if pad.is_none() {
        let message = "`test_pad_mode` must be ('logical_or', n) or ('size_divisor', n)";
        problems.extend(error_at(node, "test_pad_mode", message, ""));
    }
    Some(Mode::Test {
        pad: pad?,
        add: config.test_pad_add_pix.unwrap_or(0),
    })
}

fn pad_mode(given: &Node) -> Option<TestPad> {
    let (Value::Tuple(items) | Value::List(items)) = &given.value else {
        return None;
    };
    let [mode, value] = &items[..] else {
        return None;
    };
    match (mode.as_str()?, value.as_int()?) {
        ("logical_or", value) => Some(TestPad::LogicalOr(value)),
        ("size_divisor", value) if value > 0 => Some(TestPad::SizeDivisor(value)),
        _ => None,
    }
}

fn train_mode(node: &Node, config: &Config, problems: &mut Diagnostics) -> Option<Mode> {
    must_be_none(node, "test_pad_mode", "train", problems);
    let off = |key: &str| node.get(key).is_some_and(Node::is_none);
    let ratios = match &config.ratios {
        Some(ratios) if !ratios.iter().all(|r| *r > 0.0) || ratios.is_empty() => None,
        Some(ratios) => Some(ratios.clone()),
        None if off("ratios") => None,
        None => Some(vec![0.9, 1.0, 1.1]),
    };
    if ratios.is_none() {
        let message = "`ratios` must be numbers in train mode";
        let help = "for example (0.9, 1.0, 1.1)";
        problems.extend(error_at(node, "ratios", message, help));
    }
    let border = match config.border {
        Some(border) => Some(border),
        None if off("border") => None,
        None => Some(128.0),
    };
    if border.is_none_or(|b| b < 0.0) {
        let message = "`border` must be a number of pixels in train mode";
        problems.extend(error_at(node, "border", message, ""));
    }
    let crop_size = config.crop_size.filter(|s| s[0] > 0.0 && s[1] > 0.0);
    if crop_size.is_none() {
        let message = "`crop_size` must be two positive numbers in train mode";
        let help = "width and height: (512, 512)";
        problems.extend(error_at(node, "crop_size", message, help));
    }
    Some(Mode::Train {
        crop_size: crop_size?,
        ratios: ratios?,
        border: border?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{
        after, areas, as_float, first_channel, grey, mistakes, plain, replayed, with_boxes,
        with_params,
    };
    use super::*;

    const TRAIN: &str = "dict(type='RandomCenterCropPad', crop_size=(2, 3), ratios=(1.0, 1.6), border=1, mean=[7, 8, 9], std=[1, 1, 1], to_rgb=True, test_pad_mode=None";
    const TEST: &str = "dict(type='RandomCenterCropPad', ratios=None, border=None, mean=[7, 8, 9], std=[1, 1, 1], to_rgb=False, test_mode=True";

    #[test]
    fn borders_as_mmdet() {
        // border, side: what RandomCenterCropPad._get_border gives
        for (border, side, expected) in [
            (128.0, 140, 64),
            (128.0, 200, 64),
            (128.0, 256, 64),
            (128.0, 257, 128),
            (128.0, 64, 16),
            (128.0, 1, 0),
            (1.0, 200, 1),
            (100.0, 150, 50),
            (0.0, 150, 0),
        ] {
            assert_eq!(border_of(border, side), expected, "{border} {side}");
        }
    }

    #[test]
    fn trains() {
        let pixels: Vec<u8> = (1..17).collect();
        let sample = with_boxes(grey([4, 4], &pixels), &[[0.0, 0.0, 2.0, 4.0]]);
        let draws = json!([
            ["np.choice", [[1.0, 1.6]], {}, 1.6],
            // around (2, 1) columns 1 and 2 are seen: the object's centre (1, 2) is on the border
            ["np.randint", [], {"low": 1, "high": 3}, 2],
            ["np.randint", [], {"low": 1, "high": 3}, 1],
            ["np.randint", [], {"low": 1, "high": 3}, 1],
            ["np.randint", [], {"low": 1, "high": 3}, 2],
        ]);
        let (sample, saved) = replayed(&format!("{TRAIN})"), as_float(sample), draws);
        let sample = sample.unwrap();
        // int(2 * 1.6), int(3 * 1.6)
        let expected = json!({"size": [3, 4], "center": [1, 2]});
        assert_eq!(saved[0].params, expected);
        // two columns of the picture, then the mean: of an odd width one is never shown
        let rows = [
            1.0, 2.0, 9.0, 5.0, 6.0, 9.0, 9.0, 10.0, 9.0, 13.0, 14.0, 9.0,
        ];
        assert_eq!(first_channel(&sample), rows);
        assert_eq!(sample.img_shape, [4, 3]);
        assert_eq!(sample.gt.boxes, [[0.0, 0.0, 2.0, 4.0]]);
        assert_eq!(areas(&sample), [8.0]);
    }

    #[test]
    fn crops_and_drops() {
        let boxes = [
            [0.0, 0.0, 2.0, 4.0],
            [0.0, 0.0, 4.0, 1.0],
            [-2.0, 1.0, 4.0, 4.0],
        ];
        let run = |text: &str| {
            let sample = as_float(with_boxes(plain([4, 4], 1), &boxes));
            // from (-1, 1) to (1, 3)
            let params = json!({"size": [2, 2], "center": [0, 2]});
            with_params(text, sample, params).unwrap().unwrap()
        };
        let sample = run(&format!("{TRAIN})"));
        assert_eq!(first_channel(&sample), [9.0, 1.0, 9.0, 1.0]);
        // no centre is left of 1
        assert!(sample.gt.is_empty());
        let boxes = [[0.0, 0.0, 1.0, 4.0]];
        let run = |text: &str| {
            let sample = as_float(with_boxes(plain([4, 4], 1), &boxes));
            let params = json!({"size": [2, 2], "center": [0, 2]});
            with_params(text, sample, params).unwrap().unwrap()
        };
        let sample = run(&format!("{TRAIN})"));
        assert_eq!(sample.gt.boxes, [[1.0, 0.0, 2.0, 2.0]]);
        assert_eq!(areas(&sample), [2.0]);
        let sample = run(&format!("{TRAIN}, bbox_clip_border=False)"));
        assert_eq!(sample.gt.boxes, [[1.0, -1.0, 2.0, 3.0]]);
    }

    #[test]
    fn tests_pad_around() {
        let sample = as_float(grey([3, 2], &[1, 2, 3, 4, 5, 6]));
        // 3 | 4 = 7, 2 | 4 = 6
        let text = format!("{TEST}, test_pad_mode=('logical_or', 4))");
        let padded = after(&text, sample.clone(), json!([]));
        assert_eq!(padded.img_shape, [6, 7]);
        // 7 // 2 - 3 // 2 = 2 to the right, 3 - 1 = 2 down
        assert_eq!(padded.more["border"], json!([2.0, 4.0, 2.0, 5.0]));
        let row = [7.0, 7.0, 1.0, 2.0, 3.0, 7.0, 7.0];
        assert_eq!(first_channel(&padded)[14..21], row);
        let text = format!("{TEST}, test_pad_mode=('size_divisor', 4))");
        let padded = after(&text, sample.clone(), json!([]));
        assert_eq!(padded.img_shape, [4, 4]);
        let text = format!("{TEST}, test_pad_mode=('logical_or', 0), test_pad_add_pix=1)");
        let padded = after(&text, sample, json!([]));
        assert_eq!(padded.img_shape, [3, 4]);
    }

    #[test]
    fn asserts() {
        for (text, message) in [
            (
                format!("{TRAIN}, test_mode=True)"),
                "`crop_size` must be None in test mode",
            ),
            (
                format!("{TEST}, test_pad_mode=('ceil', 4))"),
                "`test_pad_mode` must be ('logical_or', n) or ('size_divisor', n)",
            ),
            (
                TRAIN.replace(", test_pad_mode=None", ")"),
                "`test_pad_mode` must be None in train mode",
            ),
            (
                TRAIN.replace("(2, 3)", "(2, 0)") + ")",
                "`crop_size` must be two positive numbers in train mode",
            ),
            (
                TRAIN.replace("std=[1, 1, 1], ", "") + ")",
                "`RandomCenterCropPad` needs `std`",
            ),
            (
                TRAIN.replace("ratios=(1.0, 1.6)", "ratios=None") + ")",
                "`ratios` must be numbers in train mode",
            ),
            (
                TEST.replace("border=None, ", "") + ")",
                "`border` must be None in test mode",
            ),
        ] {
            assert_eq!(mistakes(&text)[0], message, "{text}");
        }
    }

    #[test]
    fn strangers() {
        let text = format!("{TRAIN})");
        let run = |size: [i64; 2], center: [i64; 2]| {
            let sample = as_float(with_boxes(plain([4, 4], 1), &[]));
            with_params(&text, sample, json!({"size": size, "center": center}))
        };
        assert!(run([0, 4], [1, 1]).is_err());
        assert!(run([i64::MAX, i64::MAX], [1, 1]).is_err());
        let one = run([1, 1], [i64::MIN, i64::MAX]).unwrap().unwrap();
        assert_eq!(first_channel(&one), [9.0]);
        // u8
        let params = json!({"size": [2, 2], "center": [1, 1]});
        assert!(with_params(&text, plain([4, 4], 1), params).is_err());
    }
}
