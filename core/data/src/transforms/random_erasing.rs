//! `RandomErasing` of mmdet 3.3 (Zhong et al. 2017, arXiv 1708.04896): rectangles of one colour; objects that are nearly covered are left out.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::canvas::stored;
use super::cut_out::{Rects, count};
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::masks::Shapes;
use crate::structures::{Bitmap, Masks, Reason, Xyxy};
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Erases rectangles.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomErasing {
    patches: [i64; 2],
    ratio: [f64; 2],
    squared: bool,
    erased_thr: f64,
    fill: Vec<f64>,
    mask_fill: u8,
}

impl RandomErasing {
    fn ratio(&self, random: &mut dyn Random) -> Result<f64, Fault> {
        Ok(random.random()? * (self.ratio[1] - self.ratio[0]) + self.ratio[0])
    }

    /// Whether enough of a box is seen.
    fn seen(&self, b: &Xyxy, rects: &[[usize; 4]]) -> bool {
        let erased = |r: &[usize; 4]| {
            let [x1, y1, x2, y2] = r.map(|v| v as f64);
            let [bx1, by1, bx2, by2] = b.map(f64::from);
            let w = (bx2.min(x2) - bx1.max(x1)).max(0.0);
            let h = (by2.min(y2) - by1.max(y1)).max(0.0);
            w * h
        };
        let erased: f64 = rects.iter().map(erased).sum();
        let area = (b[2] - b[0]) * (b[3] - b[1]) + 1e-7;
        erased / f64::from(area) < self.erased_thr
    }
}

impl Draws for RandomErasing {
    type Drawn = Rects;

    fn name(&self) -> &'static str {
        "RandomErasing"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<Rects, Fault> {
        let [h, w] = sample.img_shape;
        let patches = random.randint(self.patches[0], self.patches[1] + 1)?;
        let mut rects = Vec::new();
        for _ in 0..patches {
            let ratio_h = self.ratio(random)?;
            let ratio_w = if self.squared {
                ratio_h
            } else {
                self.ratio(random)?
            };
            let (patch_h, patch_w) = ((h as f64 * ratio_h) as i64, (w as f64 * ratio_w) as i64);
            let x = random.randint(0, (w as i64).saturating_sub(patch_w))?;
            let y = random.randint(0, (h as i64).saturating_sub(patch_h))?;
            rects.push([x, y, x.saturating_add(patch_w), y.saturating_add(patch_h)]);
        }
        Ok(Rects { rects })
    }

    fn apply(&self, mut sample: Sample, drawn: &Rects, pixels: &Pixels) -> Outcome {
        let rects = drawn.on(sample.image.size());
        let op = Op::Fill {
            rects: rects.clone(),
            value: stored(&self.fill, &sample.image)?,
        };
        sample.image = pixels.run(&sample.image, &op)?;
        if sample.has_boxes {
            let boxes = sample.gt.boxes.iter();
            let seen: Vec<bool> = boxes.map(|b| self.seen(b, &rects)).collect();
            sample.gt.keep(&seen, Reason::Covered);
        }
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(erased(masks, &rects, self.mask_fill));
        }
        Ok(Some(sample))
    }
}

/// Masks with rectangles set to a value; polygons become bitmaps.
fn erased(masks: &Masks, rects: &[[usize; 4]], value: u8) -> Masks {
    if rects.is_empty() {
        return masks.clone();
    }
    let (width, height) = (masks.width, masks.height);
    let bitmaps = masks.to_bitmaps().into_iter().map(|bitmap| {
        let mut rows = bitmap.to_vec();
        for [x1, y1, x2, y2] in rects {
            let (x1, x2) = ((*x1).min(width), (*x2).min(width));
            for y in *y1..(*y2).min(height) {
                rows[y * width + x1..y * width + x2].fill(value);
            }
        }
        Bitmap::from(rows)
    });
    Masks {
        width,
        height,
        shapes: Shapes::Bitmaps(bitmaps.collect()),
    }
}

#[derive(Deserialize)]
struct Config {
    n_patches: Node,
    ratio: Node,
    squared: Option<bool>,
    bbox_erased_thr: Option<f64>,
    img_border_value: Option<Node>,
    mask_border_value: Option<u8>,
    /// Of segmentation maps, which are not read.
    #[serde(rename = "seg_ignore_label")]
    _seg_ignore_label: Option<IgnoredAny>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let fill = match &config.img_border_value {
        None => Some(vec![128.0]),
        Some(given) => match (given.as_float(), given.as_items()) {
            (Some(value), _) => Some(vec![value]),
            (None, Some(items)) if !items.is_empty() => items.iter().map(Node::as_float).collect(),
            _ => None,
        },
    };
    let Some(fill) = fill else {
        let message = "`img_border_value` must be a number or a tuple of three";
        return Err(error_at(node, "img_border_value", message, ""));
    };
    let patches = count(node, "n_patches", &config.n_patches)?;
    let ratio = ratio(node, &config.ratio)?;
    if ratio == [1.0; 2] && patches[1] > 0 {
        let message = "`ratio` is 1: there is no place to draw for a patch as large as the picture";
        return Err(error_at(node, "ratio", message, "must be less than 1"));
    }
    Ok(Box::new(RandomErasing {
        patches,
        ratio,
        squared: config.squared.unwrap_or(true),
        erased_thr: config.bbox_erased_thr.unwrap_or(0.9),
        fill,
        mask_fill: config.mask_border_value.unwrap_or(0),
    }))
}

/// A number, or the least and the most as a tuple.
fn ratio(node: &Node, given: &Node) -> Result<[f64; 2], Diagnostics> {
    if let Some(one) = given.as_float().filter(|v| (0.0..=1.0).contains(v)) {
        return Ok([one; 2]);
    }
    if let Value::Tuple(items) = &given.value
        && let [least, most] = &items[..]
        && let (Some(least), Some(most)) = (least.as_float(), most.as_float())
        && 0.0 <= least
        && least < most
        && most <= 1.0
    {
        return Ok([least, most]);
    }
    let message =
        "`ratio` must be a number from 0 to 1, or a tuple of two, the second more than the first";
    let help = "for example (0.1, 0.3); a list is not taken";
    Err(error_at(node, "ratio", message, help))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{
        areas, first_channel, mistakes, plain, replayed, with_boxes, with_params,
    };
    use crate::structures::{Masks, Reason};

    #[test]
    fn by_hand() {
        let text = "dict(type='RandomErasing', n_patches=(1, 2), ratio=(0.2, 0.6), squared=False)";
        let boxes = [[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 4.0, 4.0]];
        let draws = json!([
            ["np.randint", [1, 3], {}, 1],
            // 0.5 * 0.4 + 0.2 = 0.4 of 5 rows
            ["np.random", [], {}, 0.5],
            ["np.random", [], {}, 1.0],
            ["np.randint", [0, 2], {}, 0],
            ["np.randint", [0, 3], {}, 0],
        ]);
        let sample = with_boxes(plain([4, 5], 1), &boxes);
        let (sample, saved) = replayed(text, sample, draws);
        let sample = sample.unwrap();
        assert_eq!(saved[0].params, json!({"rects": [[0, 0, 2, 2]]}));
        let rows = [128.0, 128.0, 1.0, 1.0, 128.0, 128.0, 1.0, 1.0, 1.0];
        assert_eq!(first_channel(&sample)[..9], rows);
        // all of the first is covered, a ninth of the second
        assert_eq!(sample.gt.boxes, boxes[1..]);
        assert_eq!(sample.gt.dropped[0].reason, Reason::Covered);
        assert_eq!(areas(&sample), [8.0]);
    }

    #[test]
    fn covered_twice_counts_twice() {
        let run = |text: &str| {
            let sample = with_boxes(plain([4, 4], 1), &[[0.0, 0.0, 4.0, 1.0]]);
            let params = json!({"rects": [[0, 0, 2, 2], [0, 0, 2, 1]]});
            with_params(text, sample, params).unwrap().unwrap()
        };
        let text = "dict(type='RandomErasing', n_patches=2, ratio=0.5, mask_border_value=1, img_border_value=(1, 2, 3)";
        assert!(run(&format!("{text})")).gt.is_empty());
        let kept = run(&format!("{text}, bbox_erased_thr=1.5)"));
        assert_eq!(areas(&kept), [6.0]);
    }

    #[test]
    fn polygons_become_bitmaps() {
        let text = "dict(type='RandomErasing', n_patches=1, ratio=0.5)";
        let mut sample = with_boxes(plain([4, 4], 1), &[[0.0, 0.0, 4.0, 4.0]]);
        let square = vec![vec![0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0]];
        sample.gt.masks = Some(Masks::polygons([4, 4], vec![square]));
        let params = json!({"rects": [[0, 0, 2, 2]]});
        let sample = with_params(text, sample, params).unwrap().unwrap();
        assert_eq!(areas(&sample), [12.0]);
    }

    #[test]
    fn asserts() {
        for text in [
            "n_patches=1",
            "ratio=0.5",
            "n_patches=1, ratio=1.5",
            "n_patches=1, ratio=1",
            "n_patches=1, ratio=(0.5, 0.5)",
            "n_patches=1, ratio=[0.1, 0.5]",
            "n_patches=(3, 1), ratio=0.5",
            "n_patches=1, ratio=0.5, img_border_value='grey'",
        ] {
            let text = format!("dict(type='RandomErasing', {text})");
            assert_eq!(mistakes(&text).len(), 1, "{text}");
        }
    }
}
