//! [`resolve`]: Detectron2's whole config, from its defaults and what a user's config says otherwise.
//!
//! As yacs merges it: only settings that there are can be set, and only to a value of the kind that they have. Texts are read as Python literals
//! where they are such, as YAML and command lines have no tuples.

use std::collections::HashSet;

use crate::config::{
    Diagnostic, Diagnostics, Dict, Kind, Node, Value, error_at, nearest, parse_value, unsupported,
};

/// The defaults of Detectron2 0.6, in the language of our configs.
const DEFAULTS: &str = include_str!("defaults.py");

/// All settings at their defaults.
pub fn defaults() -> Node {
    parse_value(DEFAULTS).expect("the defaults are a dict")
}

/// The whole config in which `given` says some settings by their own, upper-case names.
///
/// # Errors
/// There is no such setting, or it has values of another kind.
pub fn resolve(given: &Node) -> Result<Node, Diagnostics> {
    merge(&defaults(), given, Case::AsWritten)
}

/// The whole config in which `given` says some settings below `MODEL` in lower case, as MMDetection's `Detectron2Wrapper` has them.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_model(given: &Node) -> Result<Node, Diagnostics> {
    let mut whole = defaults();
    let model = whole.get("MODEL").expect("there is a model");
    let model = merge(model, given, Case::Upper)?;
    set(&mut whole, "MODEL", model);
    Ok(whole)
}

/// The config `whole` with what a YAML says.
///
/// # Errors
/// As [`resolve`], or it is of an older Detectron2.
pub(super) fn merge_file(whole: &Node, file: &Node) -> Result<Node, Diagnostics> {
    let mut file = file.clone();
    if let Value::Dict(dict) = &mut file.value {
        dict.remove("_BASE_");
    }
    let version = file.get("VERSION").and_then(Node::as_int);
    if version.is_some_and(|version| version != 2) {
        let message = "settings of another version than 2 are not supported";
        return Err(unsupported(
            &file,
            "VERSION",
            message,
            "have Detectron2 write them anew",
        ));
    }
    merge(whole, &file, Case::AsWritten)
}

/// The config `whole` with `pairs` of a command line: `MODEL.RPN.NMS_THRESH`, then its value, and so on.
///
/// # Errors
/// As [`resolve`], or a name has no value.
pub fn with_pairs(whole: &Node, pairs: &[String]) -> Result<Node, Diagnostics> {
    let (pairs, rest) = pairs.as_chunks::<2>();
    if let [name] = rest {
        let message = format!("`{name}` has no value: settings are written as KEY VALUE");
        return Err(vec![Diagnostic::error(message)]);
    }
    let mut whole = whole.clone();
    let mut problems = Vec::new();
    for [name, value] in pairs {
        let origin = crate::config::Origin::command_line(&format!("{name} {value}"));
        let leaf = Node {
            value: Value::Str(value.as_str().into()),
            origin: origin.clone(),
        };
        let given = name.split('.').rev().fold(leaf, |inner, key| {
            let mut dict = Dict::new();
            dict.set(key, inner);
            Node {
                value: Value::Dict(dict),
                origin: origin.clone(),
            }
        });
        match merge(&whole, &given, Case::AsWritten) {
            Ok(merged) => whole = merged,
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(whole)
    } else {
        Err(problems)
    }
}

/// How names are written.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    AsWritten,
    Upper,
}

fn merge(defaults: &Node, given: &Node, case: Case) -> Result<Node, Diagnostics> {
    let mut problems = Vec::new();
    let merged = merge_at(defaults, given, case, "", &mut problems);
    if problems.is_empty() {
        Ok(merged)
    } else {
        Err(problems)
    }
}

fn merge_at(
    defaults: &Node,
    given: &Node,
    case: Case,
    path: &str,
    problems: &mut Diagnostics,
) -> Node {
    let (Some(known), Some(said)) = (defaults.as_dict(), given.as_dict()) else {
        let message = format!(
            "{} is a group of settings, not {}",
            named(path),
            kind(given)
        );
        problems.extend(error_at(given, "", message, "write a dict"));
        return defaults.clone();
    };
    let mut merged = known.clone();
    let mut seen = HashSet::new();
    for (key, entry) in said.iter() {
        let written = key.to_string();
        let name = match case {
            Case::AsWritten => written.clone(),
            Case::Upper => written.to_uppercase(),
        };
        let Some(old) = known.get(&name) else {
            let of_path = named(path);
            let error = Diagnostic::error(format!("{of_path} has no setting `{written}`"))
                .kind(Kind::Unknown)
                .at(&entry.key, "");
            let shown = |known: &str| match case {
                Case::AsWritten => known.to_string(),
                Case::Upper => known.to_lowercase(),
            };
            problems.push(match nearest(&name, known.names()) {
                Some(near) => error.help(format!("did you mean `{}`?", shown(near))),
                None => {
                    let names: Vec<_> = known.names().map(shown).collect();
                    error.help(format!("there are {}", names.join(", ")))
                }
            });
            continue;
        };
        if !seen.insert(name.clone()) {
            let message = format!("`{written}` is said twice");
            problems.push(Diagnostic::error(message).at(&entry.key, ""));
        }
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        let new = if old.as_dict().is_some() {
            merge_at(old, &entry.node, case, &path, problems)
        } else {
            match value(old, &entry.node) {
                Some(new) => new,
                None => {
                    let message = format!("`{path}` is {}, not {}", kind(old), kind(&entry.node));
                    let mut error = error_at(&entry.node, "", message, "");
                    error.iter_mut().for_each(|e| e.kind = Kind::Mistyped);
                    problems.extend(error);
                    continue;
                }
            }
        };
        merged.set(&name, new);
    }
    Node {
        value: Value::Dict(merged),
        origin: given.origin.clone(),
    }
}

fn named(path: &str) -> String {
    match path {
        "" => "Detectron2's config".into(),
        path => format!("`{path}`"),
    }
}

/// A value in place of `old`, if it is of the same kind. A number may be whole where it need not be.
fn value(old: &Node, given: &Node) -> Option<Node> {
    let given = literal(given);
    let same = matches!(
        (&old.value, &given.value),
        (Value::None, _)
            | (_, Value::None)
            | (Value::Bool(_), Value::Bool(_))
            | (Value::Int(_), Value::Int(_))
            | (Value::Float(_), Value::Float(_) | Value::Int(_))
            | (Value::Str(_), Value::Str(_))
            | (
                Value::List(_) | Value::Tuple(_),
                Value::List(_) | Value::Tuple(_)
            )
    );
    same.then_some(given)
}

/// A text that is a Python literal is that value.
fn literal(node: &Node) -> Node {
    let Some(text) = node.as_str() else {
        return node.clone();
    };
    let parsed = parse_value(text).ok().map(|parsed| parsed.value);
    match parsed.filter(is_literal) {
        Some(value) => Node {
            value,
            origin: node.origin.clone(),
        },
        None => node.clone(),
    }
}

fn is_literal(value: &Value) -> bool {
    match value {
        Value::List(items) | Value::Tuple(items) => items.iter().all(|n| is_literal(&n.value)),
        Value::Dict(dict) => dict.iter().all(|(_, entry)| is_literal(&entry.node.value)),
        Value::Set(_) | Value::Range(..) | Value::Object(_) => false,
        _ => true,
    }
}

fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::None => "nothing",
        Value::Bool(_) => "True or False",
        Value::Int(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Str(_) => "a text",
        Value::List(_) | Value::Tuple(_) => "a list",
        Value::Dict(_) => "a group of settings",
        _ => "something else",
    }
}

fn set(node: &mut Node, key: &str, to: Node) {
    if let Value::Dict(dict) = &mut node.value {
        dict.set(key, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Result<Node, String> {
        let given = parse_value(text).unwrap();
        resolve_model(&given).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn settings_are_found_by_their_lower_case_names() {
        let whole = model("dict(mask_on=True, rpn=dict(nms_thresh=0.5, conv_dims=(-1, -1)))");
        let whole = whole.unwrap();
        assert_eq!(
            whole.at("MODEL.MASK_ON").and_then(Node::as_bool),
            Some(true)
        );
        assert_eq!(
            whole.at("MODEL.RPN.NMS_THRESH").and_then(Node::as_float),
            Some(0.5)
        );
        assert_eq!(
            whole
                .at("MODEL.RPN.BATCH_SIZE_PER_IMAGE")
                .and_then(Node::as_int),
            Some(256)
        );
    }

    #[test]
    fn what_is_not_there_or_of_another_kind_is_an_error() {
        let error = model("dict(rpn=dict(nms_tresh=0.5))").unwrap_err();
        assert!(
            error.contains("`RPN` has no setting `nms_tresh`")
                && error.contains("did you mean `nms_thresh`?"),
            "{error}"
        );
        for (text, part) in [
            (
                "dict(mask_on=1)",
                "`MASK_ON` is True or False, not a whole number",
            ),
            (
                "dict(rpn=3)",
                "`RPN` is a group of settings, not a whole number",
            ),
            (
                "dict(rpn=dict(nms_thresh='high'))",
                "is a number, not a text",
            ),
            (
                "dict(weights=dict())",
                "`WEIGHTS` is a text, not a group of settings",
            ),
            (
                "dict(roi_heads=dict(num_classes=2.5))",
                "a whole number, not a number",
            ),
        ] {
            let error = model(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn texts_are_read_as_literals() {
        let pairs = [
            "MODEL.RPN.IOU_THRESHOLDS",
            "(0.2, 0.8)",
            "MODEL.MASK_ON",
            "True",
        ];
        let whole = with_pairs(&defaults(), &pairs.map(String::from)).unwrap();
        let thresholds = whole.at("MODEL.RPN.IOU_THRESHOLDS").unwrap();
        assert_eq!(thresholds.as_items().map(<[_]>::len), Some(2));
        let named = ["MODEL.RESNETS.NORM", "BN"].map(String::from);
        let whole = with_pairs(&defaults(), &named).unwrap();
        assert_eq!(
            whole.at("MODEL.RESNETS.NORM").and_then(Node::as_str),
            Some("BN")
        );
        assert!(with_pairs(&defaults(), &["MODEL.MASK_ON".to_string()]).is_err());
    }
}
