//! `RandomFlip` of mmcv 2.1 and mmdet 3.3: mirrored in one of several directions, or not at all.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Direction, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::boxes;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// Mirrors at random.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomFlip {
    directions: Vec<Direction>,
    /// Of each direction, and of none at the end.
    prob: Vec<f64>,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    /// `None`: not this time.
    pub direction: Option<Direction>,
}

impl Draws for RandomFlip {
    type Drawn = Flip;

    fn name(&self) -> &'static str {
        "RandomFlip"
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Flip, Fault> {
        let mut candidates: Vec<Json> = self.directions.iter().map(|d| json!(d)).collect();
        candidates.push(Json::Null);
        let index = random.choice(candidates.into(), Some(&self.prob))?;
        Ok(Flip {
            direction: self.directions.get(index).copied(),
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &Flip, pixels: &Pixels) -> Outcome {
        sample.flip = Some(drawn.direction.is_some());
        sample.flip_direction = drawn.direction;
        let Some(direction) = drawn.direction else {
            return Ok(Some(sample));
        };
        sample.image = pixels.run(&sample.image, &Op::Flip(direction))?;
        let size = sample.image.size();
        boxes::flip(&mut sample.gt.boxes, size, direction);
        if let Some(masks) = &sample.gt.masks {
            sample.gt.masks = Some(masks.flip(direction));
        }
        let [w, h] = size.map(|v| v as f64);
        let (mirrored, kept) = (|side: f64| (-1.0, side), (1.0, 0.0));
        let ((a, x), (b, y)) = match direction {
            Direction::Horizontal => (mirrored(w), kept),
            Direction::Vertical => (kept, mirrored(h)),
            Direction::Diagonal => (mirrored(w), mirrored(h)),
        };
        sample.record_homography([[a, 0.0, x], [0.0, b, y], [0.0, 0.0, 1.0]]);
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    prob: Option<Node>,
    direction: Option<Node>,
    /// Of segmentation maps, which are not read.
    #[serde(rename = "swap_seg_labels")]
    _swap_seg_labels: Option<Node>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let directions = directions(node, config.direction.as_ref());
    let ((directions, listed), prob) = match (directions, prob(node, config.prob.as_ref())) {
        (Ok(directions), Ok(prob)) => (directions, prob),
        (directions, prob) => {
            let both = [directions.err(), prob.err()];
            return Err(both.into_iter().flatten().flatten().collect());
        }
    };
    let count = directions.len();
    let prob = match prob {
        Prob::One(p) => {
            let mut all = vec![p / count as f64; count];
            all.push(1.0 - p);
            all
        }
        Prob::Each(mut all) => {
            if !listed || all.len() != count {
                let message = format!("`prob` has {} values, `direction` has {count}", all.len());
                let help = "give `direction` as a list of the same length";
                return Err(error_at(node, "prob", message, help));
            }
            all.push(1.0 - all.iter().sum::<f64>());
            all
        }
    };
    Ok(Box::new(RandomFlip { directions, prob }))
}

/// The directions, and whether they were given as a list.
fn directions(node: &Node, given: Option<&Node>) -> Result<(Vec<Direction>, bool), Diagnostics> {
    let Some(given) = given else {
        return Ok((vec![Direction::Horizontal], false));
    };
    let one = |node: &Node| match node.as_str()? {
        "horizontal" => Some(Direction::Horizontal),
        "vertical" => Some(Direction::Vertical),
        "diagonal" => Some(Direction::Diagonal),
        _ => None,
    };
    let (all, listed) = match &given.value {
        Value::List(items) => (items.iter().map(one).collect(), true),
        _ => (one(given).map(|d| vec![d]), false),
    };
    match all {
        Some(all) if !all.is_empty() => Ok((all, listed)),
        _ => {
            let message =
                "`direction` must be 'horizontal', 'vertical' or 'diagonal', or a list of these";
            Err(error_at(node, "direction", message, ""))
        }
    }
}

enum Prob {
    One(f64),
    Each(Vec<f64>),
}

fn prob(node: &Node, given: Option<&Node>) -> Result<Prob, Diagnostics> {
    let float = |node: &Node| match node.value {
        Value::Float(v) => Some(v),
        _ => None,
    };
    let prob = match given.map(|n| (n, &n.value)) {
        Some((_, Value::Float(v))) => Some(Prob::One(*v)),
        Some((_, Value::List(items))) => items
            .iter()
            .map(float)
            .collect::<Option<_>>()
            .map(Prob::Each),
        _ => None,
    };
    let Some(prob) = prob else {
        let message = "`prob` must be a float, or a list of floats";
        return Err(error_at(node, "prob", message, "write 1.0, not 1"));
    };
    let (sum, least) = match &prob {
        Prob::One(v) => (*v, *v),
        Prob::Each(all) => (all.iter().sum(), all.iter().copied().fold(0.0, f64::min)),
    };
    if !(0.0..=1.0).contains(&sum) || least < 0.0 {
        let message = format!("`prob` is {sum} in sum, must be from 0 to 1, and none negative");
        return Err(error_at(node, "prob", message, ""));
    }
    Ok(prob)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{pixels, refused, run, sample};
    use super::*;
    use crate::image::Samples;

    #[test]
    fn flips() {
        let all = "dict(type='RandomFlip', prob=[.5, .25], direction=['horizontal', 'diagonal'])";
        let object = [0.0, 0.0, 1.0, 2.0];
        let draws = json!({"direction": "horizontal"});
        let out = run(all, sample([3, 2], &[object]), Some(draws))
            .unwrap()
            .unwrap();
        assert_eq!(out.gt.boxes, [[2.0, 0.0, 3.0, 2.0]]);
        assert_eq!(out.gt.masks.as_ref().unwrap().boxes(), out.gt.boxes);
        let Samples::U8(bytes) = pixels(&out) else {
            panic!("u8 stays u8")
        };
        assert_eq!([bytes[0], bytes[3], bytes[6]], [2, 1, 0]);
        assert_eq!(out.flip_direction, Some(Direction::Horizontal));
        let matrix = [[-1.0, 0.0, 3.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(out.homography, Some(matrix));
        let out = run(
            all,
            sample([3, 2], &[object]),
            Some(json!({"direction": null})),
        );
        let out = out.unwrap().unwrap();
        assert_eq!((out.flip, out.flip_direction), (Some(false), None));
        assert_eq!(out.homography, None);
    }

    #[test]
    fn options() {
        for (options, expected) in [
            ("", "`prob` must be a float, or a list of floats"),
            ("prob=1", "write 1.0, not 1"),
            ("prob=1.5", "must be from 0 to 1"),
            (
                "prob=[.7, .7], direction=['vertical', 'diagonal']",
                "in sum",
            ),
            ("prob=[.5]", "give `direction` as a list of the same length"),
            (
                "prob=.5, direction='up'",
                "`direction` must be 'horizontal'",
            ),
            ("prob=.5, direction=[]", "`direction` must be 'horizontal'"),
            ("prob=.5, turn=1", "turn"),
        ] {
            let message = refused(&format!("dict(type='RandomFlip', {options})"));
            assert!(message.contains(expected), "{options}: {message}");
        }
        let both = refused("dict(type='RandomFlip', prob=2., direction='up')");
        assert!(
            both.contains("`prob`") && both.contains("`direction`"),
            "{both}"
        );
    }
}
