//! `--cfg-options key=value ...`: MMEngine's `DictAction`, and the merge that follows it.

use super::diagnostic::{Diagnostic, Kind};
use super::eval::{parse_float, parse_int};
use super::merge::merge;
use super::source::Origin;
use super::value::{Dict, Entry, Key, Node, Value};
use indexmap::IndexMap;
use std::sync::Arc;

/// Nested brackets beyond this are an error.
const NESTING: usize = 32;

/// `options` merged into `root`. Keys reach into dicts and lists by dots: `train_dataloader.dataset.pipeline.0.type=X`.
pub(crate) fn apply<S: AsRef<str>>(root: &Dict, options: &[S]) -> Result<Dict, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    // A key that is given twice has its last value, at its first position.
    let mut given: IndexMap<&str, Node> = IndexMap::new();
    for option in options {
        let option = option.as_ref();
        let origin = Origin::command_line(option);
        match option.split_once('=') {
            Some((key, text)) if !key.is_empty() && key.split('.').all(|k| !k.is_empty()) => {
                match iterable(text, &origin, 0) {
                    Ok(value) => {
                        given.insert(key, Node { value, origin });
                    }
                    Err(message) => errors.push(
                        Diagnostic::error(message)
                            .kind(Kind::Option)
                            .at(&origin, ""),
                    ),
                }
            }
            _ => {
                let error = Diagnostic::error(format!("`{option}` is no option"))
                    .kind(Kind::Option)
                    .at(&origin, "");
                errors.push(error.help(
                    "write `key=value`, with dots for keys within keys: `model.backbone.depth=18`",
                ));
            }
        }
    }
    let mut tree = Dict::new();
    for (key, node) in given {
        let mut parts: Vec<&str> = key.split('.').collect();
        let Some(last) = parts.pop() else { continue };
        if parts.len() >= super::eval::NESTING {
            let error = Diagnostic::error(format!("`{key}` is nested too deep")).kind(Kind::Limit);
            errors.push(error.at(&node.origin, ""));
            continue;
        }
        if let Err(part) = insert(&mut tree, &parts, last, &node) {
            let message = format!("`{part}` has a value already, so `{key}` cannot be set in it");
            errors.push(
                Diagnostic::error(message)
                    .kind(Kind::Option)
                    .at(&node.origin, ""),
            );
        }
    }
    let merged = merge(&tree, root, true, &mut errors);
    if errors.is_empty() {
        Ok(merged)
    } else {
        Err(errors)
    }
}

fn insert<'k>(
    tree: &mut Dict,
    parents: &[&'k str],
    last: &str,
    node: &Node,
) -> Result<(), &'k str> {
    let Some((first, rest)) = parents.split_first() else {
        let entry = Entry {
            node: node.clone(),
            key: node.origin.clone(),
        };
        tree.insert(Key::Str(last.into()), entry);
        return Ok(());
    };
    if !tree.contains(first) {
        let empty = Node {
            value: Value::Dict(Dict::new()),
            origin: node.origin.clone(),
        };
        tree.set(first, empty);
    }
    match tree.get_mut(first) {
        Some(Node {
            value: Value::Dict(inner),
            ..
        }) => insert(inner, rest, last, node),
        _ => Err(first),
    }
}

/// A value: `1,2`, `[1,2]`, `(1,2)`, nested, or a single one. Quotes around it and all spaces are dropped.
fn iterable(text: &str, origin: &Origin, depth: usize) -> Result<Value, String> {
    if depth > NESTING {
        return Err("the brackets of this value do not fit".into());
    }
    let text = text.trim_matches(['\'', '"']).replace(' ', "");
    let within =
        |open: char, close: char| text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
    let (tuple, rest) = if let Some(inner) = within('(', ')') {
        (true, inner)
    } else if let Some(inner) = within('[', ']') {
        (false, inner)
    } else if text.contains(',') {
        (false, text.as_str())
    } else {
        return single(&text);
    };
    let mut items = Vec::new();
    for part in between_commas(rest)? {
        let item = iterable(part, origin, depth + 1)?;
        items.push(Node {
            value: item,
            origin: origin.clone(),
        });
    }
    let items = Arc::new(items);
    Ok(if tuple {
        Value::Tuple(items)
    } else {
        Value::List(items)
    })
}

/// The parts between commas outside of brackets; nothing behind the last comma is none.
fn between_commas(text: &str) -> Result<Vec<&str>, String> {
    let (mut round, mut square, mut from) = (0i32, 0i32, 0);
    let mut parts = Vec::new();
    for (i, c) in text.char_indices() {
        match c {
            '(' => round += 1,
            ')' => round -= 1,
            '[' => square += 1,
            ']' => square -= 1,
            ',' if round == 0 && square == 0 => {
                parts.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    if round != 0 || square != 0 {
        return Err(format!("the brackets in `{text}` do not fit"));
    }
    if from < text.len() {
        parts.push(&text[from..]);
    }
    Ok(parts)
}

fn single(text: &str) -> Result<Value, String> {
    if let Some(i) = parse_int(text, 10) {
        return Ok(Value::Int(i));
    }
    let digits = text.trim().trim_start_matches(['+', '-']);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{text} does not fit in 64 bits"));
    }
    if let Some(x) = parse_float(text) {
        return Ok(Value::Float(x));
    }
    Ok(match text.to_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text == "None" => Value::None,
        _ => Value::Str(text.into()),
    })
}
