//! `RandomCrop` of mmdet 3.3: a window at a drawn place, of a given or drawn size. Objects outside of it are left out, and with them
//! the whole picture if no object is left and `allow_negative_crop` is not set.

use serde::{Deserialize, Serialize};

use super::canvas::{checked, cut};
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{Reason, boxes};
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Crops at random.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomCrop {
    size: Size,
    allow_negative: bool,
    recompute: bool,
    clip: bool,
}

/// `crop_size` by `crop_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    /// Width and height, px.
    Absolute([i64; 2]),
    /// The least and the most of both, px.
    AbsoluteRange([i64; 2]),
    /// Share of width and height.
    Relative([f64; 2]),
    /// The least share of **height and width**: so it is in MMDetection.
    RelativeRange([f64; 2]),
}

/// The window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Left and top, px.
    pub offset: [i64; 2],
    /// Width and height, px.
    pub size: [i64; 2],
}

impl Draws for RandomCrop {
    type Drawn = Window;

    fn name(&self) -> &'static str {
        "RandomCrop"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<Window, Fault> {
        let [w, h] = sample.image.size().map(|v| v as i64);
        let share = |side: i64, share: f64| (side as f64 * share + 0.5) as i64;
        let [width, height] = match self.size {
            Size::Absolute(size) => [size[0].min(w), size[1].min(h)],
            Size::AbsoluteRange([least, most]) => {
                let height = random.randint(h.min(least), h.min(most) + 1)?;
                let width = random.randint(w.min(least), w.min(most) + 1)?;
                [width, height]
            }
            Size::Relative([x, y]) => [share(w, x), share(h, y)],
            Size::RelativeRange(least) => {
                let drawn = random.rand_n(2)?;
                // the least are np.float32, the draws are not
                let of = |i: usize| {
                    let least = least[i] as f32;
                    let drawn: f64 = drawn.get(i).copied().unwrap_or_default();
                    f64::from(least) + drawn * f64::from(1.0 - least)
                };
                [share(w, of(1)), share(h, of(0))]
            }
        };
        let y = random.randint(0, (h - height).max(0) + 1)?;
        let x = random.randint(0, (w - width).max(0) + 1)?;
        Ok(Window {
            offset: [x, y],
            size: [width, height],
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &Window, pixels: &Pixels) -> Outcome {
        let Window { offset, size } = *drawn;
        let [left, top] = offset;
        let end = [0, 1].map(|i| offset[i].saturating_add(size[i]));
        let inside = cut([left, top, end[0], end[1]], sample.image.size());
        let Some([x1, y1, x2, y2]) = inside.filter(|_| left >= 0 && top >= 0) else {
            let message = format!(
                "`RandomCrop` to {}x{} pixels at ({left}, {top}) shows nothing of a picture of {}x{}",
                size[0],
                size[1],
                sample.image.width(),
                sample.image.height()
            );
            return Err(Fault::Transform(message));
        };
        let size = checked([x2 - x1, y2 - y1])?;
        let op = Op::Window {
            size,
            at: [-left, -top],
            border: Border::Constant(vec![0.0; sample.image.channels()]),
        };
        let image = pixels.run(&sample.image, &op)?;
        sample.set_image(image);
        let [x, y] = offset.map(|v| -(v as f64));
        sample.record_homography([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]]);
        if !sample.has_boxes {
            return Ok(Some(sample));
        }
        boxes::translate(&mut sample.gt.boxes, [x as f32, y as f32]);
        if self.clip {
            boxes::clip(&mut sample.gt.boxes, size);
        }
        let shown = boxes::inside(&sample.gt.boxes, size);
        if !shown.contains(&true) && !self.allow_negative {
            return Ok(None);
        }
        sample.gt.keep(&shown, Reason::Outside);
        if let Some(masks) = &sample.gt.masks {
            let masks = masks.crop([x1, y1, x2, y2].map(|v| v as f32));
            if self.recompute {
                sample.gt.boxes = masks.boxes();
            }
            sample.gt.masks = Some(masks);
        }
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    crop_size: [f64; 2],
    crop_type: Option<String>,
    allow_negative_crop: Option<bool>,
    recompute_bbox: Option<bool>,
    bbox_clip_border: Option<bool>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let wrong = |message: String, help: &str| Err(error_at(node, "crop_size", message, help));
    let given = config.crop_size;
    let kind = config.crop_type.as_deref().unwrap_or("absolute");
    let items = node.get("crop_size").and_then(Node::as_items);
    let whole = items.is_some_and(|items| items.iter().all(|i| matches!(i.value, Value::Int(_))));
    let size = match kind {
        "absolute" | "absolute_range" => {
            if !whole || given.iter().any(|v| *v <= 0.0) {
                let message =
                    format!("`crop_size` must be two positive ints for crop_type='{kind}'");
                return wrong(
                    message,
                    "for shares of the picture use crop_type='relative'",
                );
            }
            let size = given.map(|v| v as i64);
            if kind == "absolute" {
                Size::Absolute(size)
            } else if size[0] <= size[1] {
                Size::AbsoluteRange(size)
            } else {
                let message = format!("`crop_size` is ({}, {})", size[0], size[1]);
                return wrong(
                    message,
                    "for 'absolute_range' it is the least, then the most",
                );
            }
        }
        "relative" | "relative_range" => {
            if !given.iter().all(|v| 0.0 < *v && *v <= 1.0) {
                let message =
                    format!("`crop_size` must be more than 0 and at most 1 for crop_type='{kind}'");
                return wrong(message, "for pixels use crop_type='absolute'");
            }
            match kind {
                "relative" => Size::Relative(given),
                _ => Size::RelativeRange(given),
            }
        }
        _ => {
            let message = format!("`crop_type` is '{kind}'");
            let help = "known are absolute, absolute_range, relative, relative_range";
            return Err(error_at(node, "crop_type", message, help));
        }
    };
    Ok(Box::new(RandomCrop {
        size,
        allow_negative: config.allow_negative_crop.unwrap_or(false),
        recompute: config.recompute_bbox.unwrap_or(false),
        clip: config.bbox_clip_border.unwrap_or(true),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::trial::{refused, run, sample};

    const CROP: &str = "dict(type='RandomCrop', crop_size=(4, 3)";

    fn objects() -> [[f32; 4]; 2] {
        [[0.0, 0.0, 2.0, 2.0], [3.0, 1.0, 9.0, 5.0]]
    }

    #[test]
    fn crops() {
        let draws = json!({"offset": [2, 1], "size": [4, 3]});
        let text = format!("{CROP})");
        let out = run(&text, sample([9, 6], &objects()), Some(draws.clone()));
        let out = out.unwrap().unwrap();
        assert_eq!(out.img_shape, [3, 4]);
        assert_eq!(out.gt.boxes, [[1.0, 0.0, 4.0, 3.0]]);
        assert_eq!(out.gt.masks.as_ref().unwrap().areas(), [9.0]);
        assert_eq!(out.gt.dropped[0].reason, super::Reason::Outside);
        let matrix = [[1.0, 0.0, -2.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]];
        assert_eq!(out.homography, Some(matrix));
        let free = format!("{CROP}, bbox_clip_border=False)");
        let out = run(&free, sample([9, 6], &objects()), Some(draws.clone()));
        assert_eq!(out.unwrap().unwrap().gt.boxes, [[1.0, 0.0, 7.0, 4.0]]);
        let again = format!("{CROP}, bbox_clip_border=False, recompute_bbox=True)");
        let out = run(&again, sample([9, 6], &objects()), Some(draws));
        assert_eq!(out.unwrap().unwrap().gt.boxes, [[1.0, 0.0, 4.0, 3.0]]);
    }

    #[test]
    fn no_object_left() {
        let draws = json!({"offset": [2, 2], "size": [1, 3]});
        let text = format!("{CROP})");
        let out = run(&text, sample([9, 6], &objects()), Some(draws.clone()));
        assert!(out.unwrap().is_none());
        let text = format!("{CROP}, allow_negative_crop=True)");
        let out = run(&text, sample([9, 6], &objects()), Some(draws));
        let out = out.unwrap().unwrap();
        assert_eq!((out.gt.len(), out.gt.dropped.len()), (0, 2));
    }

    #[test]
    fn foreign_draws() {
        for draws in [
            json!({"offset": [-1, 0], "size": [4, 3]}),
            json!({"offset": [99, 0], "size": [4, 3]}),
            json!({"offset": [0, i64::MAX], "size": [4, i64::MAX]}),
            json!({"offset": [0, 0], "size": [0, i64::MIN]}),
        ] {
            let out = run(&format!("{CROP})"), sample([9, 6], &objects()), Some(draws));
            assert!(out.is_err());
        }
    }

    #[test]
    fn options() {
        for (options, expected) in [
            ("crop_size=(0, 3)", "two positive ints"),
            ("crop_size=(.5, .5)", "for shares of the picture use"),
            (
                "crop_size=(5, 3), crop_type='absolute_range'",
                "the least, then the most",
            ),
            (
                "crop_size=(2, 1), crop_type='relative'",
                "more than 0 and at most 1",
            ),
            ("crop_size=(1, 1), crop_type='centre'", "known are absolute"),
            ("crop_size=3", "crop_size"),
        ] {
            let message = refused(&format!("dict(type='RandomCrop', {options})"));
            assert!(message.contains(expected), "{options}: {message}");
        }
    }
}
