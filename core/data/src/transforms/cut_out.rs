//! `CutOut` of mmdet 3.3 (DeVries and Taylor 2017, arXiv 1708.04552): rectangles of one colour. Objects stay as they are.

use serde::{Deserialize, Serialize};

use super::canvas::{cut, stored};
use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// More holes than this are a mistake in the config.
const MOST: i64 = 100_000;

/// Fills holes.
#[derive(Clone, Debug, PartialEq)]
pub struct CutOut {
    holes: [i64; 2],
    shapes: Shapes,
    fill: Vec<f64>,
}

/// Sizes of holes, of which one is drawn.
#[derive(Clone, Debug, PartialEq)]
enum Shapes {
    /// Width and height, px.
    Pixels(Vec<[i64; 2]>),
    /// In sides of the picture.
    Ratio(Vec<[f64; 2]>),
}

/// The rectangles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rects {
    /// `[x1, y1, x2, y2]`, px.
    pub rects: Vec<[i64; 4]>,
}

impl Rects {
    /// Their part on a picture of `[width, height]`.
    pub(super) fn on(&self, size: [usize; 2]) -> Vec<[usize; 4]> {
        self.rects.iter().filter_map(|r| cut(*r, size)).collect()
    }
}

impl Draws for CutOut {
    type Drawn = Rects;

    fn name(&self) -> &'static str {
        "CutOut"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<Rects, Fault> {
        let [w, h] = sample.image.size();
        let holes = random.randint(self.holes[0], self.holes[1] + 1)?;
        let mut rects = Vec::new();
        for _ in 0..holes {
            let x = random.randint(0, w as i64)?;
            let y = random.randint(0, h as i64)?;
            let [hole_w, hole_h] = match &self.shapes {
                Shapes::Pixels(shapes) => pick(shapes, random)?,
                Shapes::Ratio(ratios) => {
                    let [x, y] = pick(ratios, random)?;
                    [(x * w as f64) as i64, (y * h as f64) as i64]
                }
            };
            let x2 = x.saturating_add(hole_w).clamp(0, w as i64);
            let y2 = y.saturating_add(hole_h).clamp(0, h as i64);
            rects.push([x, y, x2, y2]);
        }
        Ok(Rects { rects })
    }

    fn apply(&self, mut sample: Sample, drawn: &Rects, pixels: &Pixels) -> Outcome {
        let op = Op::Fill {
            rects: drawn.on(sample.image.size()),
            value: stored(&self.fill, &sample.image)?,
        };
        sample.image = pixels.run(&sample.image, &op)?;
        Ok(Some(sample))
    }
}

fn pick<T: Copy>(of: &[T], random: &mut dyn Random) -> Result<T, Fault> {
    let index = random.randint(0, of.len() as i64)?;
    let chosen = usize::try_from(index).ok().and_then(|i| of.get(i));
    let wrong = || Fault::Transform(format!("`CutOut` has no candidate {index}"));
    chosen.copied().ok_or_else(wrong)
}

#[derive(Deserialize)]
struct Config {
    n_holes: Node,
    cutout_shape: Option<Node>,
    cutout_ratio: Option<Node>,
    fill_in: Option<Vec<f64>>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let holes = count(node, "n_holes", &config.n_holes)?;
    let shapes = match (&config.cutout_shape, &config.cutout_ratio) {
        (Some(shape), None) => {
            Shapes::Pixels(candidates(node, "cutout_shape", shape, Node::as_int)?)
        }
        (None, Some(ratio)) => {
            Shapes::Ratio(candidates(node, "cutout_ratio", ratio, Node::as_float)?)
        }
        _ => {
            let message = "`CutOut` needs one of `cutout_shape` and `cutout_ratio`";
            let help = "for example cutout_shape=[(8, 8), (16, 16)]";
            return Err(error_at(node, "cutout_ratio", message, help));
        }
    };
    let fill = config.fill_in.unwrap_or(vec![0.0; 3]);
    if fill.is_empty() {
        return Err(error_at(node, "fill_in", "`fill_in` has no values", ""));
    }
    Ok(Box::new(CutOut {
        holes,
        shapes,
        fill,
    }))
}

/// A number, or the least and the most as a tuple.
pub(super) fn count(node: &Node, key: &str, given: &Node) -> Result<[i64; 2], Diagnostics> {
    let range = match (&given.value, given.as_int()) {
        (_, Some(n)) => Some([n, n]),
        (Value::Tuple(items), _) => {
            let numbers: Vec<i64> = items.iter().filter_map(Node::as_int).collect();
            let numbers = (numbers.len() == items.len()).then_some(numbers);
            numbers.and_then(|n| n.try_into().ok())
        }
        _ => None,
    };
    let Some([least, most]) = range else {
        let message = format!("`{key}` must be an int, or a tuple of two ints");
        let help = "for example (2, 5); a list is not taken";
        return Err(error_at(node, key, message, help));
    };
    if given.as_int().is_none() && !(0 <= least && least < most) {
        let message = format!(
            "`{key}` is ({least}, {most}), must be from 0 upwards, and the second more than the first"
        );
        return Err(error_at(node, key, message, ""));
    }
    if !(-MOST..=MOST).contains(&least) || most > MOST {
        let message = format!("`{key}` must be {MOST} at most");
        return Err(error_at(node, key, message, ""));
    }
    Ok([least, most])
}

/// A tuple of two numbers, or a list of such.
fn candidates<T>(
    node: &Node,
    key: &str,
    given: &Node,
    number: fn(&Node) -> Option<T>,
) -> Result<Vec<[T; 2]>, Diagnostics> {
    let pair = |node: &Node| {
        let [a, b] = node.as_items()? else {
            return None;
        };
        Some([number(a)?, number(b)?])
    };
    let all: Option<Vec<[T; 2]>> = match &given.value {
        Value::List(items) => items.iter().map(pair).collect(),
        Value::Tuple(_) => pair(given).map(|one| vec![one]),
        _ => None,
    };
    match all {
        Some(all) if !all.is_empty() => Ok(all),
        _ => {
            let message =
                format!("`{key}` must be a tuple of two numbers, or a list of such tuples");
            let help = "first the width, then the height: (16, 8); shapes are whole pixels";
            Err(error_at(node, key, message, help))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{first_channel, mistakes, plain, replayed, with_params};

    #[test]
    fn by_hand() {
        let text = "dict(type='CutOut', n_holes=(1, 3), cutout_shape=[(1, 2), (2, 1)], fill_in=(7.9, 0, 0))";
        let draws = json!([
            ["np.randint", [1, 4], {}, 2],
            ["np.randint", [0, 3], {}, 2],
            ["np.randint", [0, 2], {}, 1],
            ["np.randint", [0, 2], {}, 0],
            ["np.randint", [0, 3], {}, 0],
            ["np.randint", [0, 2], {}, 0],
            ["np.randint", [0, 2], {}, 1],
        ]);
        let (sample, saved) = replayed(text, plain([3, 2], 1), draws);
        let expected = json!({"rects": [[2, 1, 3, 2], [0, 0, 2, 1]]});
        assert_eq!(saved[0].params, expected);
        let expected = [7.0, 7.0, 1.0, 1.0, 1.0, 7.0];
        assert_eq!(first_channel(&sample.unwrap()), expected);
    }

    #[test]
    fn ratios_truncate() {
        let text = "dict(type='CutOut', n_holes=1, cutout_ratio=(0.5, 0.9))";
        let draws = json!([
            ["np.randint", [1, 2], {}, 1],
            ["np.randint", [0, 3], {}, 0],
            ["np.randint", [0, 2], {}, 0],
            ["np.randint", [0, 1], {}, 0],
        ]);
        let (_, saved) = replayed(text, plain([3, 2], 1), draws);
        assert_eq!(saved[0].params, json!({"rects": [[0, 0, 1, 1]]}));
    }

    #[test]
    fn asserts() {
        for text in [
            "n_holes=1",
            "n_holes=1, cutout_shape=(1, 1), cutout_ratio=(0.5, 0.5)",
            "n_holes=[1, 2], cutout_shape=(1, 1)",
            "n_holes=(2, 2), cutout_shape=(1, 1)",
            "n_holes=1.5, cutout_shape=(1, 1)",
            "n_holes=10**15, cutout_shape=(1, 1)",
            "n_holes=1, cutout_shape=(1, 1, 1)",
            "n_holes=1, cutout_shape=[1, 1]",
            "n_holes=1, cutout_shape=(0.5, 0.5)",
            "n_holes=1, cutout_ratio=[]",
            "cutout_shape=(1, 1)",
        ] {
            let text = format!("dict(type='CutOut', {text})");
            assert_eq!(mistakes(&text).len(), 1, "{text}");
        }
    }

    #[test]
    fn holes_of_a_stranger() {
        let text = "dict(type='CutOut', n_holes=1, cutout_shape=(1, 1))";
        let far = i64::MAX;
        let params = json!({"rects": [[-far, -far, 1, far], [9, 9, 12, 12], [1, 1, 0, 0]]});
        let sample = with_params(text, plain([2, 2], 1), params).unwrap();
        assert_eq!(first_channel(&sample.unwrap()), [0.0, 1.0, 0.0, 1.0]);
        let text = "dict(type='CutOut', n_holes=1, cutout_shape=(1, 1), fill_in=(1, 2))";
        assert!(with_params(text, plain([2, 2], 1), json!({"rects": []})).is_err());
    }
}
