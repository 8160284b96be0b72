//! `AutoAugment` of mmdet 3.3 (datasets/transforms/augment_wrappers.py; Cubuk et al. 2018, arXiv 1805.09501): one of several policies, each a
//! list of transforms with a chance and a level.

use serde::Deserialize;

use super::Transform;
use super::random_choice::{Pipelines, RandomChoice};
use crate::lookup::Lookup;
use smalti_config::{Diagnostics, Dict, Node, Value, error_at};

/// The paper's policies: transform, chance, level.
#[rustfmt::skip]
const POLICIES_V0: [[(&str, f64, i64); 2]; 25] = [
    [("Equalize", 0.8, 1), ("ShearY", 0.8, 4)],
    [("Color", 0.4, 9), ("Equalize", 0.6, 3)],
    [("Color", 0.4, 1), ("Rotate", 0.6, 8)],
    [("Solarize", 0.8, 3), ("Equalize", 0.4, 7)],
    [("Solarize", 0.4, 2), ("Solarize", 0.6, 2)],
    [("Color", 0.2, 0), ("Equalize", 0.8, 8)],
    [("Equalize", 0.4, 8), ("SolarizeAdd", 0.8, 3)],
    [("ShearX", 0.2, 9), ("Rotate", 0.6, 8)],
    [("Color", 0.6, 1), ("Equalize", 1.0, 2)],
    [("Invert", 0.4, 9), ("Rotate", 0.6, 0)],
    [("Equalize", 1.0, 9), ("ShearY", 0.6, 3)],
    [("Color", 0.4, 7), ("Equalize", 0.6, 0)],
    [("Posterize", 0.4, 6), ("AutoContrast", 0.4, 7)],
    [("Solarize", 0.6, 8), ("Color", 0.6, 9)],
    [("Solarize", 0.2, 4), ("Rotate", 0.8, 9)],
    [("Rotate", 1.0, 7), ("TranslateY", 0.8, 9)],
    [("ShearX", 0.0, 0), ("Solarize", 0.8, 4)],
    [("ShearY", 0.8, 0), ("Color", 0.6, 4)],
    [("Color", 1.0, 0), ("Rotate", 0.6, 2)],
    [("Equalize", 0.8, 4), ("Equalize", 0.0, 8)],
    [("Equalize", 1.0, 4), ("AutoContrast", 0.6, 2)],
    [("ShearY", 0.4, 7), ("SolarizeAdd", 0.6, 7)],
    [("Posterize", 0.8, 2), ("Solarize", 0.6, 10)],
    [("Solarize", 0.6, 8), ("Equalize", 0.6, 1)],
    [("Color", 0.8, 6), ("Rotate", 0.4, 5)],
];

#[derive(Deserialize)]
struct Config {
    policies: Option<Node>,
    #[serde(rename = "prob")]
    _prob: Option<Node>,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let policies = match &config.policies {
        Some(given) => lists(node, "policies", given)?.to_vec(),
        None => POLICIES_V0.iter().map(policy).collect(),
    };
    Ok(Box::new(RandomChoice {
        name: "AutoAugment",
        pipelines: Pipelines::read(look, node, "policies", &policies)?,
    }))
}

fn policy(of: &[(&str, f64, i64); 2]) -> Node {
    let steps = of.iter().map(|(kind, prob, level)| {
        default_transform(
            kind,
            &[("prob", Value::Float(*prob)), ("level", Value::Int(*level))],
        )
    });
    let steps: Vec<Node> = steps.collect();
    Node::made(Value::List(steps.into()), "AutoAugment's policies")
}

/// The config of a transform that a default names.
pub(super) fn default_transform(kind: &str, options: &[(&str, Value)]) -> Node {
    let made = |value| Node::made(value, "a default");
    let mut dict = Dict::new();
    dict.set("type", made(Value::Str(kind.into())));
    for (key, value) in options {
        dict.set(key, made(value.clone()));
    }
    made(Value::Dict(dict))
}

/// The items of a list, which are lists of dicts, none of them empty.
pub(super) fn lists<'a>(
    node: &Node,
    key: &str,
    given: &'a Node,
) -> Result<&'a [Node], Diagnostics> {
    let dicts = |item: &Node| {
        filled(item).is_some_and(|steps| steps.iter().all(|s| s.get("type").is_some()))
    };
    match filled(given) {
        Some(items) if items.iter().all(dicts) => Ok(items),
        _ => {
            let message =
                format!("`{key}` must be a list of lists of transforms, none of them empty");
            let help = "for example [[dict(type='Rotate', level=3)], [dict(type='Color')]]";
            Err(error_at(node, key, message, help))
        }
    }
}

/// The items of a list with some.
fn filled(node: &Node) -> Option<&[Node]> {
    match &node.value {
        Value::List(items) if !items.is_empty() => Some(items),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{after, built, first_channel, mistakes, plain};

    #[test]
    fn default_policies() {
        assert_eq!(built("dict(type='AutoAugment')").children().len(), 50);
        let all: Vec<i64> = (0..25).collect();
        let draws = json!([
            ["np.choice", [all], {"p": null}, 4],
            // level 2 of 256 is 51.2: inverted from there on
            ["np.rand", [], {}, 0.4],
            ["np.rand", [], {}, 0.7],
        ]);
        let sample = after("dict(type='AutoAugment')", plain([1, 1], 60), draws);
        assert_eq!(first_channel(&sample), [195.0]);
    }

    #[test]
    fn given_policies() {
        let text = "dict(type='AutoAugment', policies=[[dict(type='Invert', level=1)], [dict(type='Color')]], prob=[1.0, 0.0])";
        let draws = json!([
            ["np.choice", [[0, 1]], {"p": [1.0, 0.0]}, 0],
            ["np.rand", [], {}, 0.4],
        ]);
        let sample = after(text, plain([1, 1], 60), draws);
        assert_eq!(first_channel(&sample), [195.0]);
        for policies in [
            "[]",
            "[[]]",
            "[dict(type='Color')]",
            "([dict(type='Color')],)",
            "[[dict(level=1)]]",
        ] {
            let text = format!("dict(type='AutoAugment', policies={policies})");
            assert_eq!(mistakes(&text).len(), 1, "{text}");
        }
    }
}
