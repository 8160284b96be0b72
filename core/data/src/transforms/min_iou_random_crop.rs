//! `MinIoURandomCrop` of mmdet 3.3 (SSD, Liu et al. 2016, arXiv 1512.02325, section 2.2): a window that overlaps every object by at least a drawn
//! IoU. Objects stay whose centre is in the window.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::canvas::cut;
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::boxes::{self, Overlap, overlap};
use crate::structures::{Reason, Xyxy};
use smalti_config::{Diagnostics, Node, Short};

/// Windows tried for one drawn IoU.
const TRIES: usize = 50;
/// IoUs drawn before a picture is given up; MMDetection goes on until it draws 1, which takes a few dozen at most.
const ROUNDS: usize = 10_000;

/// Crops a window that overlaps objects enough.
#[derive(Clone, Debug, PartialEq)]
pub struct MinIoURandomCrop {
    /// 1, `min_ious`, 0.
    modes: Vec<f64>,
    min_crop_size: f64,
    clip: bool,
}

/// What was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinIoUCrop {
    /// The least overlap; 1 leaves the picture as it is.
    pub min_iou: f64,
    /// `[x1, y1, x2, y2]`, px; `None` leaves the picture as it is.
    pub window: Option<[i64; 4]>,
}

impl MinIoURandomCrop {
    /// One window, or `None` if it does not do.
    fn window(
        &self,
        sample: &Sample,
        min_iou: f64,
        random: &mut dyn Random,
    ) -> Result<Option<[i64; 4]>, Fault> {
        let [w, h] = sample.image.size().map(|v| v as f64);
        let new_w = random.uniform(self.min_crop_size * w, w)?;
        let new_h = random.uniform(self.min_crop_size * h, h)?;
        if new_h / new_w < 0.5 || new_h / new_w > 2.0 {
            return Ok(None);
        }
        // MMDetection gives the low end only: the high one is 1
        let left = random.uniform_from(w - new_w)?;
        let top = random.uniform_from(h - new_h)?;
        let window = [left, top, left + new_w, top + new_h].map(|v| v as i64);
        if window[2] == window[0] || window[3] == window[1] {
            return Ok(None);
        }
        let boxes = &sample.gt.boxes;
        let patch = window.map(|v| v as f32);
        // torch's least of some overlaps is NaN if one is, and that is not less than anything
        let numbers = boxes.iter().flatten().all(|v| !v.is_nan());
        let little = |b: &Xyxy| f64::from(overlap(&patch, b, Overlap::Iou)) < min_iou;
        if numbers && boxes.iter().any(little) {
            return Ok(None);
        }
        let fits = boxes.is_empty() || boxes.iter().any(|b| centred(b, &patch));
        Ok(fits.then_some(window))
    }
}

/// Whether the centre of a box lies in a window, not on its border.
pub(super) fn centred(b: &Xyxy, window: &Xyxy) -> bool {
    let (x, y) = ((b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0);
    x > window[0] && y > window[1] && x < window[2] && y < window[3]
}

impl Draws for MinIoURandomCrop {
    type Drawn = MinIoUCrop;

    fn name(&self) -> &'static str {
        "MinIoURandomCrop"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<MinIoUCrop, Fault> {
        let of = Json::from(self.modes.clone());
        for _ in 0..ROUNDS {
            let mode = random.choice(of.clone(), None)?;
            let min_iou = self.modes.get(mode).copied().unwrap_or(1.0);
            if min_iou == 1.0 {
                return Ok(MinIoUCrop {
                    min_iou,
                    window: None,
                });
            }
            for _ in 0..TRIES {
                if let Some(window) = self.window(sample, min_iou, random)? {
                    return Ok(MinIoUCrop {
                        min_iou,
                        window: Some(window),
                    });
                }
            }
        }
        let message = format!("`MinIoURandomCrop` found no window in {ROUNDS} rounds");
        Err(Fault::Transform(message))
    }

    fn apply(&self, mut sample: Sample, drawn: &MinIoUCrop, pixels: &Pixels) -> Outcome {
        if !sample.has_boxes {
            let message =
                "`MinIoURandomCrop` needs boxes: LoadAnnotations(with_bbox=True) before it";
            return Err(Fault::Transform(message.into()));
        }
        let Some(window) = drawn.window else {
            return Ok(Some(sample));
        };
        let Some([x1, y1, x2, y2]) = cut(window, sample.image.size()) else {
            let [w, h] = sample.image.size();
            return Err(Fault::Transform(format!(
                "the window {window:?} of `MinIoURandomCrop` is outside of the picture of {w}x{h}"
            )));
        };
        let size = [x2 - x1, y2 - y1];
        let patch = [x1, y1, x2, y2].map(|v| v as f32);
        let kept: Vec<bool> = sample.gt.boxes.iter().map(|b| centred(b, &patch)).collect();
        sample.gt.keep(&kept, Reason::Outside);
        boxes::translate(&mut sample.gt.boxes, [-patch[0], -patch[1]]);
        if self.clip {
            boxes::clip(&mut sample.gt.boxes, size);
        }
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(masks.crop(patch));
        }
        let op = Op::Window {
            size,
            at: [-(x1 as i64), -(y1 as i64)],
            border: Border::Constant(vec![0.0; sample.image.channels()]),
        };
        sample.set_image(pixels.run(&sample.image, &op)?);
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    min_ious: Option<Short<f64, 64>>,
    min_crop_size: Option<f64>,
    bbox_clip_border: Option<bool>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let mut modes = vec![1.0];
    match config.min_ious {
        Some(ious) => modes.extend_from_slice(&ious),
        None => modes.extend([0.1, 0.3, 0.5, 0.7, 0.9]),
    }
    modes.push(0.0);
    Ok(Box::new(MinIoURandomCrop {
        modes,
        min_crop_size: config.min_crop_size.unwrap_or(0.3),
        clip: config.bbox_clip_border.unwrap_or(true),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::hand_made::{
        after, areas, first_channel, grey, plain, replayed, with_boxes, with_params,
    };
    use crate::structures::Reason;

    /// One try on a picture of 4x4: window sides, and where it begins.
    fn window(w: f64, h: f64, left: f64, top: f64) -> Vec<Json> {
        vec![
            json!(["np.uniform", [2.0, 4.0], {}, w]),
            json!(["np.uniform", [2.0, 4.0], {}, h]),
            json!(["np.uniform", [4.0 - w], {}, left]),
            json!(["np.uniform", [4.0 - h], {}, top]),
        ]
    }

    #[test]
    fn by_hand() {
        let pixels: Vec<u8> = (0..16).collect();
        let boxes = [[1.0, 1.0, 4.0, 3.0], [0.0, 0.0, 2.0, 1.0]];
        let sample = with_boxes(grey([4, 4], &pixels), &boxes);
        let text = "dict(type='MinIoURandomCrop', min_ious=(0.25, 0.5), min_crop_size=0.5)";
        let mut draws = vec![json!(["np.choice", [[1, 0.25, 0.5, 0]], {}, 0.25])];
        // 2 / 4.1 is flatter than one half: no place is drawn
        draws.push(json!(["np.uniform", [2.0, 4.0], {}, 4.0]));
        draws.push(json!(["np.uniform", [2.0, 4.0], {}, 1.9]));
        // [1, 1, 4, 3] has nothing of the second object
        draws.extend(window(3.0, 2.0, 1.0, 1.2));
        // [0, 0, 3, 3]: IoU with the first 4 / 11, with the second 2 / 9
        draws.extend(window(3.5, 3.5, 0.4, 0.4));
        // [0, 0, 3, 2]: 2 / 10
        draws.extend(window(3.0, 2.5, 0.9, 0.4));
        // the second round takes any
        for _ in 0..46 {
            draws.push(json!(["np.uniform", [2.0, 4.0], {}, 4.0]));
            draws.push(json!(["np.uniform", [2.0, 4.0], {}, 1.9]));
        }
        draws.push(json!(["np.choice", [[1, 0.25, 0.5, 0]], {}, 0.0]));
        draws.extend(window(3.5, 2.5, 0.6, 0.5));
        let (sample, saved) = replayed(text, sample, draws.into());
        let sample = sample.unwrap();
        let expected = json!({"min_iou": 0.0, "window": [0, 0, 4, 3]});
        assert_eq!(saved[0].params, expected);
        assert_eq!(sample.img_shape, [3, 4]);
        assert_eq!(first_channel(&sample)[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(sample.gt.boxes, boxes);
    }

    #[test]
    fn crops_and_drops() {
        let pixels: Vec<u8> = (0..16).collect();
        let boxes = [[1.0, 1.0, 4.0, 4.0], [0.0, 0.0, 2.0, 2.0]];
        let crop = |text: &str| {
            let sample = with_boxes(grey([4, 4], &pixels), &boxes);
            let params = json!({"min_iou": 0.0, "window": [1, 1, 3, 4]});
            with_params(text, sample, params).unwrap().unwrap()
        };
        let sample = crop("dict(type='MinIoURandomCrop')");
        // the second's centre (1, 1) is on the border of the window
        assert_eq!(sample.gt.boxes, [[0.0, 0.0, 2.0, 3.0]]);
        assert_eq!(sample.gt.dropped[0].reason, Reason::Outside);
        assert_eq!(areas(&sample), [6.0]);
        let expected = [5.0, 6.0, 9.0, 10.0, 13.0, 14.0];
        assert_eq!(first_channel(&sample), expected);
        let sample = crop("dict(type='MinIoURandomCrop', bbox_clip_border=False)");
        assert_eq!(sample.gt.boxes, [[0.0, 0.0, 3.0, 3.0]]);
    }

    #[test]
    fn one_leaves_all() {
        let draws = json!([["np.choice", [[1, 0.1, 0.3, 0.5, 0.7, 0.9, 0]], {}, 1.0]]);
        let sample = with_boxes(plain([4, 4], 1), &[[9.0, 9.0, 10.0, 10.0]]);
        let sample = after("dict(type='MinIoURandomCrop')", sample, draws);
        assert_eq!((sample.img_shape, sample.gt.len()), ([4, 4], 1));
    }

    #[test]
    fn windows_of_a_stranger() {
        let run = |window: Json| {
            let params = json!({"min_iou": 0.5, "window": window});
            with_params("dict(type='MinIoURandomCrop')", plain([4, 4], 1), params)
        };
        let sample = run(json!([-5, 2, 99, 99])).unwrap().unwrap();
        assert_eq!(sample.img_shape, [2, 4]);
        assert!(run(json!([4, 0, 9, 4])).is_err());
        assert!(run(json!([3, 0, 1, 4])).is_err());
    }
}
