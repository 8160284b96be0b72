//! `Compose` of mmcv 2.1 (transforms/wrappers.py): transforms one after another.

use serde::Deserialize;

use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Transforms one after another.
#[derive(Debug)]
pub struct Compose {
    steps: Vec<Box<dyn Transform>>,
}

impl Transform for Compose {
    fn name(&self) -> &'static str {
        "Compose"
    }

    fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
        cx.run_all(&self.steps, sample)
    }

    fn children(&self) -> Vec<&dyn Transform> {
        all(&self.steps)
    }
}

#[derive(Deserialize)]
struct Config {
    transforms: Node,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(Compose {
        steps: look.steps(&config.transforms)?,
    }))
}

/// For [`Transform::children`].
pub(super) fn all(steps: &[Box<dyn Transform>]) -> Vec<&dyn Transform> {
    steps.iter().map(|s| &**s).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{after, built, first_channel, mistakes, plain};

    #[test]
    fn one_after_another() {
        let rand = json!(["np.rand", [], {}, 0.5]);
        let text = "dict(type='Compose', transforms=[dict(type='Invert', level=0), dict(type='Solarize', level=0)])";
        let sample = after(text, plain([1, 1], 5), json!([rand, rand]));
        assert_eq!(first_channel(&sample), [5.0]);
        assert_eq!(built(text).children()[0].name(), "Invert");
    }

    #[test]
    fn mistakes_of_all() {
        let text = "dict(type='Compose', transforms=[dict(type='Invrt'), dict(type='Color', level=11), 3])";
        assert_eq!(mistakes(text).len(), 3);
    }
}
