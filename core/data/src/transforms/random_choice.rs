//! `RandomChoice` of mmcv 2.1 (transforms/wrappers.py): one of several lists of transforms.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// One of several pipelines.
#[derive(Debug)]
pub struct RandomChoice {
    pub(super) name: &'static str,
    pub(super) pipelines: Pipelines,
}

/// Lists of transforms, and how likely each is.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub lists: Vec<Vec<Box<dyn Transform>>>,
    pub prob: Option<Vec<f64>>,
}

/// Index of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chosen {
    choice: usize,
}

impl Pipelines {
    /// Reads the lists, and checks `prob` as mmcv's asserts do.
    pub fn read(
        look: &Lookup<'_>,
        node: &Node,
        key: &str,
        items: &[Node],
    ) -> Result<Self, Diagnostics> {
        let (mut lists, mut problems) = (Vec::new(), Vec::new());
        for item in items {
            match look.steps(item) {
                Ok(list) => lists.push(list),
                Err(found) => problems.extend(found),
            }
        }
        if items.is_empty() {
            let message = format!("`{key}` has no transforms to choose from");
            problems.extend(error_at(node, key, message, ""));
        }
        let prob = prob(node, key, items.len()).unwrap_or_else(|found| {
            problems.extend(found);
            None
        });
        if problems.is_empty() {
            Ok(Self { lists, prob })
        } else {
            Err(problems)
        }
    }

    /// `np.arange(n)`.
    pub fn indices(&self) -> Json {
        Json::from_iter(0..self.lists.len())
    }

    /// A list.
    pub fn get(&self, name: &str, index: usize) -> Result<&[Box<dyn Transform>], Fault> {
        let wrong = || Fault::Transform(format!("`{name}` has no choice {index}"));
        self.lists.get(index).map(|l| &l[..]).ok_or_else(wrong)
    }

    /// For [`Transform::children`].
    pub fn all(&self) -> Vec<&dyn Transform> {
        self.lists.iter().flatten().map(|s| &**s).collect()
    }
}

fn prob(node: &Node, key: &str, lists: usize) -> Result<Option<Vec<f64>>, Diagnostics> {
    let Some(given) = node.get("prob").filter(|p| !p.is_none()) else {
        return Ok(None);
    };
    let wrong = |message: &str, help: &str| Err(error_at(node, "prob", message, help));
    let items = given.as_items().unwrap_or_default();
    let mut values = Vec::new();
    for item in items {
        match item.value {
            Value::Float(value) if value >= 0.0 => values.push(value),
            _ => return wrong("`prob` must be floats from 0 to 1", "write 1.0, not 1"),
        }
    }
    if values.len() != lists {
        let message = format!(
            "`prob` has {} values, but `{key}` has {lists}",
            values.len()
        );
        return wrong(&message, "");
    }
    let sum: f64 = values.iter().sum();
    if sum != 1.0 {
        return wrong(&format!("`prob` has the sum {sum}, must be 1"), "");
    }
    Ok(Some(values))
}

impl Transform for RandomChoice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let lists = &self.pipelines;
        let drawn = cx.drawn(self.name, |random| {
            let choice = random.choice(lists.indices(), lists.prob.as_deref())?;
            Ok(Chosen { choice })
        })?;
        cx.run_all(lists.get(self.name, drawn.choice)?, sample)
    }

    fn children(&self) -> Vec<&dyn Transform> {
        self.pipelines.all()
    }
}

#[derive(Deserialize)]
struct Config {
    transforms: Vec<Node>,
    #[serde(rename = "prob")]
    _prob: Option<Node>,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(RandomChoice {
        name: "RandomChoice",
        pipelines: Pipelines::read(look, node, "transforms", &config.transforms)?,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{first_channel, mistakes, plain, replayed, with_params};

    const TEXT: &str = "dict(type='RandomChoice', transforms=[dict(type='Solarize', level=0), [dict(type='Invert', level=0), dict(type='Invert', level=0)]]";

    #[test]
    fn one_list() {
        let rand = json!(["np.rand", [], {}, 0.5]);
        let choice = json!(["np.choice", [[0, 1]], {"p": null}, 1]);
        let text = format!("{TEXT})");
        let (sample, saved) = replayed(&text, plain([1, 1], 5), json!([choice, rand, rand]));
        assert_eq!(first_channel(&sample.unwrap()), [5.0]);
        assert_eq!(
            (saved[0].params.clone(), saved.len()),
            (json!({"choice": 1}), 3)
        );
        let choice = json!(["np.choice", [[0, 1]], {"p": [0.25, 0.75]}, 0]);
        let text = format!("{TEXT}, prob=[0.25, 0.75])");
        let (sample, _) = replayed(&text, plain([1, 1], 5), json!([choice, rand]));
        assert_eq!(first_channel(&sample.unwrap()), [250.0]);
    }

    #[test]
    fn asserts() {
        for (prob, message) in [
            ("[0, 1]", "`prob` must be floats from 0 to 1"),
            ("[-0.5, 1.5]", "`prob` must be floats from 0 to 1"),
            ("[1.0]", "`prob` has 1 values, but `transforms` has 2"),
            ("[0.5, 0.4]", "`prob` has the sum 0.9, must be 1"),
        ] {
            assert_eq!(mistakes(&format!("{TEXT}, prob={prob})")), [message]);
        }
        assert_eq!(
            mistakes("dict(type='RandomChoice', transforms=[])").len(),
            1
        );
        let text = format!("{TEXT})");
        assert!(with_params(&text, plain([1, 1], 1), json!({"choice": 2})).is_err());
    }
}
