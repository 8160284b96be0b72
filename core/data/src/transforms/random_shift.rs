//! `RandomShift` of mmdet 3.3 (YOLOF, Chen et al. 2021, arXiv 2103.09460): the picture moved by some pixels, black where it was. A picture
//! of which no object would be left stays as it is. Masks move too (MMDetection leaves them where they were).

use serde::{Deserialize, Serialize};

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{Reason, boxes};
use smalti_config::{Diagnostics, Node, error_at};

use super::level::chance;

/// Shifts the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomShift {
    prob: f64,
    max_shift_px: i64,
    filter_thr_px: f32,
}

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// x and y, px; `None`: not this time.
    pub shift: Option<[i64; 2]>,
}

impl Draws for RandomShift {
    type Drawn = Shift;

    fn name(&self) -> &'static str {
        "RandomShift"
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Shift, Fault> {
        if random.uniform(0.0, 1.0)? >= self.prob {
            return Ok(Shift { shift: None });
        }
        let x = random.randint(-self.max_shift_px, self.max_shift_px)?;
        let y = random.randint(-self.max_shift_px, self.max_shift_px)?;
        Ok(Shift {
            shift: Some([x, y]),
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &Shift, pixels: &Pixels) -> Outcome {
        let Some(shift) = drawn.shift else {
            return Ok(Some(sample));
        };
        if !sample.has_boxes {
            let message = "`RandomShift` needs boxes: LoadAnnotations(with_bbox=True) before it";
            return Err(Fault::Transform(message.into()));
        }
        let size = sample.image.size();
        let mut moved = sample.gt.boxes.clone();
        boxes::translate(&mut moved, shift.map(|v| v as f32));
        let inside = boxes::inside(&moved, size);
        boxes::clip(&mut moved, size);
        let thr = self.filter_thr_px;
        let large = moved.iter().map(|b| b[2] - b[0] > thr && b[3] - b[1] > thr);
        let large: Vec<bool> = large.collect();
        if !large.contains(&true) {
            return Ok(Some(sample));
        }
        // beyond the side everything is outside anyway
        let at = [0, 1].map(|i| shift[i].clamp(-(size[i] as i64), size[i] as i64));
        let op = Op::Window {
            size,
            at,
            border: Border::Constant(vec![0.0; sample.image.channels()]),
        };
        sample.image = pixels.run(&sample.image, &op)?;
        sample.gt.boxes = moved;
        sample.gt.keep_or(&large, |i| {
            if inside[i] {
                Reason::TooSmall
            } else {
                Reason::Outside
            }
        });
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(masks.place(size, at));
        }
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    prob: Option<f64>,
    max_shift_px: Option<i64>,
    filter_thr_px: Option<f64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let prob = config.prob.unwrap_or(0.5);
    chance(node, "prob", prob)?;
    let max_shift_px = config.max_shift_px.unwrap_or(32);
    if max_shift_px < 1 {
        let message = format!(
            "`max_shift_px` is {max_shift_px}: shifts are drawn from -n on and below n, so it must be at least 1"
        );
        return Err(error_at(node, "max_shift_px", message, ""));
    }
    Ok(Box::new(RandomShift {
        prob,
        max_shift_px,
        filter_thr_px: config.filter_thr_px.unwrap_or(1.0).trunc() as f32,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{
        after, areas, first_channel, grey, mistakes, plain, replayed, with_boxes, with_params,
    };
    use crate::structures::Reason;

    #[test]
    fn by_hand() {
        let pixels: Vec<u8> = (1..10).collect();
        let boxes = [
            [0.0, 0.0, 3.0, 3.0],
            [0.0, 1.0, 2.0, 3.0],
            [0.0, 0.0, 1.0, 1.0],
        ];
        let sample = with_boxes(grey([3, 3], &pixels), &boxes);
        let draws = json!([
            ["np.uniform", [0, 1], {}, 0.4],
            ["np.randint", [-2, 2], {}, -1],
            ["np.randint", [-2, 2], {}, 1],
        ]);
        let text = "dict(type='RandomShift', max_shift_px=2)";
        let (sample, saved) = replayed(text, sample, draws);
        let sample = sample.unwrap();
        assert_eq!(saved[0].params, json!({"shift": [-1, 1]}));
        let expected = [0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0];
        assert_eq!(first_channel(&sample), expected);
        assert_eq!(sample.gt.boxes, [[0.0, 1.0, 2.0, 3.0]]);
        assert_eq!(areas(&sample), [4.0]);
        let reasons: Vec<Reason> = sample.gt.dropped.iter().map(|d| d.reason).collect();
        assert_eq!(reasons, [Reason::TooSmall, Reason::Outside]);
    }

    #[test]
    fn stays_where_no_object_would_be_left() {
        let sample = with_boxes(grey([2, 1], &[1, 2]), &[[0.0, 0.0, 2.0, 1.0]]);
        let params = json!({"shift": [1, 0]});
        let text = "dict(type='RandomShift')";
        let sample = with_params(text, sample, params).unwrap().unwrap();
        assert_eq!(first_channel(&sample), [1.0, 2.0]);
        assert_eq!(sample.gt.boxes, [[0.0, 0.0, 2.0, 1.0]]);
        let draws = json!([["np.uniform", [0, 1], {}, 0.5]]);
        after(text, plain([2, 1], 1), draws);
    }

    #[test]
    fn asserts_and_strangers() {
        for text in [
            "prob=1.5",
            "max_shift_px=-1",
            "max_shift_px=0",
            "max_shift_px=0.5",
        ] {
            let text = format!("dict(type='RandomShift', {text})");
            assert_eq!(mistakes(&text).len(), 1, "{text}");
        }
        let params = json!({"shift": [i64::MIN, i64::MAX]});
        let sample = with_boxes(plain([2, 2], 1), &[[0.0, 0.0, 2.0, 2.0]]);
        let run = with_params("dict(type='RandomShift')", sample, params);
        assert!(run.is_ok());
        let mut none = plain([2, 2], 1);
        none.has_boxes = false;
        let params = json!({"shift": [1, 1]});
        assert!(with_params("dict(type='RandomShift')", none, params).is_err());
    }
}
