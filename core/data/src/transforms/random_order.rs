//! `RandomOrder` of mmdet 3.3 (datasets/transforms/wrappers.py): its transforms in a drawn order.

use serde::{Deserialize, Serialize};

use super::compose::all;
use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Transforms in any order.
#[derive(Debug)]
pub struct RandomOrder {
    steps: Vec<Box<dyn Transform>>,
}

/// Indices of transforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    order: Vec<usize>,
}

impl Transform for RandomOrder {
    fn name(&self) -> &'static str {
        "RandomOrder"
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let drawn = cx.drawn(self.name(), |random| {
            let order = random.permutation(self.steps.len())?;
            let order = order.into_iter().map(|i| i as usize).collect();
            Ok(Order { order })
        })?;
        for index in drawn.order {
            let step = self.steps.get(index).ok_or_else(|| {
                Fault::Transform(format!("`RandomOrder` has no transform {index}"))
            })?;
            match cx.run_one(&**step, sample)? {
                Some(next) => sample = next,
                None => return Ok(None),
            }
        }
        Ok(Some(sample))
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
    let steps = look.steps(&config.transforms)?;
    Ok(Box::new(RandomOrder { steps }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{first_channel, plain, replayed, with_params};

    const TEXT: &str = "dict(type='RandomOrder', transforms=[dict(type='Invert', level=0), dict(type='SolarizeAdd', level=1)])";

    #[test]
    fn in_the_drawn_order() {
        let rand = json!(["np.rand", [], {}, 0.5]);
        let run = |order: [i64; 2]| {
            let draws = json!([["np.permutation", [2], {}, order], rand, rand]);
            let (sample, saved) = replayed(TEXT, plain([1, 1], 100), draws);
            let names: Vec<String> = saved.iter().map(|s| s.name.clone()).collect();
            (first_channel(&sample.unwrap()), names[1].clone())
        };
        // 255 - (100 + 11), and 155 is not dark
        assert_eq!(run([1, 0]), (vec![144.0], "SolarizeAdd".into()));
        assert_eq!(run([0, 1]), (vec![155.0], "Invert".into()));
    }

    #[test]
    fn an_order_of_a_stranger() {
        assert!(with_params(TEXT, plain([1, 1], 1), json!({"order": [2]})).is_err());
    }
}
