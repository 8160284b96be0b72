//! `RandAugment` of mmdet 3.3 (datasets/transforms/augment_wrappers.py; Cubuk et al. 2019, arXiv 1909.13719): a few different transforms of a
//! list.

use serde::{Deserialize, Serialize};

use super::auto_augment::{default_transform, lists};
use super::random_choice::Pipelines;
use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::random::Choice;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, Value, error_at};

const SPACE: [&str; 15] = [
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
];

/// Some of its transforms.
#[derive(Debug)]
pub struct RandAugment {
    space: Pipelines,
    number: usize,
}

/// Indices in the space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chosen {
    choices: Vec<usize>,
}

impl Transform for RandAugment {
    fn name(&self) -> &'static str {
        "RandAugment"
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let drawn = cx.drawn(self.name(), |random| {
            let choices = random.choices(Choice {
                of: self.space.indices(),
                size: Some(self.number),
                size_positional: true,
                replace: Some(false),
                p: self.space.prob.clone(),
            })?;
            let choices = choices.into_iter().map(|i| i as usize).collect();
            Ok(Chosen { choices })
        })?;
        for index in drawn.choices {
            match cx.run_all(self.space.get(self.name(), index)?, sample)? {
                Some(next) => sample = next,
                None => return Ok(None),
            }
        }
        Ok(Some(sample))
    }

    fn children(&self) -> Vec<&dyn Transform> {
        self.space.all()
    }
}

#[derive(Deserialize)]
struct Config {
    aug_space: Option<Node>,
    aug_num: Option<usize>,
    #[serde(rename = "prob")]
    _prob: Option<Node>,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let space = match &config.aug_space {
        Some(given) => lists(node, "aug_space", given)?.to_vec(),
        None => SPACE.iter().map(|kind| alone(kind)).collect(),
    };
    if space
        .iter()
        .any(|s| s.as_items().is_some_and(|l| l.len() != 1))
    {
        let message = "each item of `aug_space` must be a list of one transform";
        return Err(error_at(
            node,
            "aug_space",
            message,
            "[[dict(type='Rotate')], ...]",
        ));
    }
    let number = config.aug_num.unwrap_or(2);
    if number > space.len() {
        let message = format!(
            "`aug_num` is {number}, but there are {} transforms",
            space.len()
        );
        return Err(error_at(node, "aug_num", message, ""));
    }
    Ok(Box::new(RandAugment {
        space: Pipelines::read(look, node, "aug_space", &space)?,
        number,
    }))
}

fn alone(kind: &str) -> Node {
    let list = vec![default_transform(kind, &[])];
    Node::made(Value::List(list.into()), "RandAugment's space")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{built, first_channel, mistakes, plain, replayed, with_params};

    #[test]
    fn by_hand() {
        assert_eq!(built("dict(type='RandAugment')").children().len(), 15);
        let text = "dict(type='RandAugment', aug_num=2, aug_space=[[dict(type='Color')], [dict(type='Invert', level=0)], [dict(type='SolarizeAdd', level=1)]])";
        let rand = json!(["np.rand", [], {}, 0.5]);
        let draws = json!([
            ["np.choice", [[0, 1, 2], 2], {"p": null, "replace": false}, [2, 1]],
            rand,
            rand,
        ]);
        let (sample, saved) = replayed(text, plain([1, 1], 100), draws);
        assert_eq!(first_channel(&sample.unwrap()), [144.0]);
        assert_eq!(saved[0].params, json!({"choices": [2, 1]}));
        assert!(with_params(text, plain([1, 1], 1), json!({"choices": [3]})).is_err());
    }

    #[test]
    fn asserts() {
        for text in [
            "aug_num=16",
            "aug_num=-1",
            "aug_space=[]",
            "aug_space=[dict(type='Color')]",
            "aug_space=[[dict(type='Color'), dict(type='Invert')]]",
            "prob=[1.0]",
        ] {
            let text = format!("dict(type='RandAugment', {text})");
            assert_eq!(mistakes(&text).len(), 1, "{text}");
        }
    }
}
