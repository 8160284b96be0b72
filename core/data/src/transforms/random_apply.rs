//! `RandomApply` of mmcv 2.1 (transforms/wrappers.py): its transforms, or nothing.

use serde::{Deserialize, Serialize};

use super::compose::all;
use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Transforms with a chance.
#[derive(Debug)]
pub struct RandomApply {
    steps: Vec<Box<dyn Transform>>,
    prob: f64,
}

/// Whether they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    apply: bool,
}

impl Transform for RandomApply {
    fn name(&self) -> &'static str {
        "RandomApply"
    }

    fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let drawn = cx.drawn(self.name(), |random| {
            let apply = random.rand()? < self.prob;
            Ok(Applied { apply })
        })?;
        if drawn.apply {
            cx.run_all(&self.steps, sample)
        } else {
            Ok(Some(sample))
        }
    }

    fn children(&self) -> Vec<&dyn Transform> {
        all(&self.steps)
    }
}

#[derive(Deserialize)]
struct Config {
    transforms: Node,
    prob: Option<f64>,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(RandomApply {
        steps: look.steps(&config.transforms)?,
        prob: config.prob.unwrap_or(0.5),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{after, first_channel, plain};

    #[test]
    fn by_chance() {
        let text = "dict(type='RandomApply', transforms=[dict(type='Invert', level=0)], prob=0.3)";
        let rand = |value: f64| json!(["np.rand", [], {}, value]);
        let sample = after(text, plain([1, 1], 5), json!([rand(0.29), rand(0.5)]));
        assert_eq!(first_channel(&sample), [250.0]);
        // not less than the chance
        let sample = after(text, plain([1, 1], 5), json!([rand(0.3)]));
        assert_eq!(first_channel(&sample), [5.0]);
        // one half without `prob`
        let text = "dict(type='RandomApply', transforms=dict(type='Invert', level=0))";
        let sample = after(text, plain([1, 1], 5), json!([rand(0.49), rand(0.5)]));
        assert_eq!(first_channel(&sample), [250.0]);
    }
}
