//! Merges a child into its base, as MMEngine's `_merge_a_into_b` does.

use super::diagnostic::{Diagnostic, Kind};
use super::eval::NESTING;
use super::value::{Dict, Entry, Key, Node, Value};

/// `child` merged into `base`. Dicts are merged key by key; everything else is replaced. `_delete_=True` in a dict
/// replaces the base's. With `list_keys`, keys such as `0` reach into lists: that is for the command line.
pub(crate) fn merge(
    child: &Dict,
    base: &Dict,
    list_keys: bool,
    errors: &mut Vec<Diagnostic>,
) -> Dict {
    merge_within(child, base, list_keys, errors, "", 0)
}

fn merge_within(
    child: &Dict,
    base: &Dict,
    list_keys: bool,
    errors: &mut Vec<Diagnostic>,
    path: &str,
    depth: usize,
) -> Dict {
    let mut merged = base.clone();
    if depth > NESTING {
        errors.push(Diagnostic::error(format!("`{path}` is nested too deep")).kind(Kind::Limit));
        return merged;
    }
    for (key, entry) in child.iter() {
        let (Value::Dict(new), Some(old)) = (&entry.node.value, base.entry(key)) else {
            merged.insert(key.clone(), entry.clone());
            continue;
        };
        // In a dict that replaces nothing, `_delete_` stays; so it does further down.
        let (deletes, new) = take_delete(new);
        let place = if path.is_empty() {
            key.to_string()
        } else {
            format!("{path}.{key}")
        };
        let value = match &old.node.value {
            _ if deletes => Value::Dict(new),
            Value::Dict(inner) => Value::Dict(merge_within(
                &new,
                inner,
                list_keys,
                errors,
                &place,
                depth + 1,
            )),
            Value::List(items) if list_keys => {
                let mut items = items.as_ref().clone();
                merge_list(&new, &mut items, errors, &place, depth + 1);
                Value::List(items.into())
            }
            _ => {
                errors.push(cannot(&place, entry, old));
                continue;
            }
        };
        // A merged dict is still the base's; a replaced one is the child's.
        let origin = if deletes {
            entry.node.origin.clone()
        } else {
            old.node.origin.clone()
        };
        let key_origin = if deletes {
            entry.key.clone()
        } else {
            old.key.clone()
        };
        let entry = Entry {
            node: Node { value, origin },
            key: key_origin,
        };
        merged.insert(key.clone(), entry);
    }
    merged
}

fn merge_list(
    child: &Dict,
    items: &mut [Node],
    errors: &mut Vec<Diagnostic>,
    path: &str,
    depth: usize,
) {
    let count = items.len();
    for (key, entry) in child.iter() {
        let index = key.as_str().and_then(|k| k.parse::<usize>().ok());
        let Some(slot) = index.and_then(|i| items.get_mut(i)) else {
            let message = match index {
                Some(_) => format!("index {key} exceeds the list of {count} at `{path}`"),
                None => format!("`{path}` is a list of {count} here; `{key}` is no index of it"),
            };
            let error = Diagnostic::error(message)
                .kind(Kind::Option)
                .at(&entry.node.origin, "");
            errors.push(error.help(match count {
                0 => "the list is empty".to_owned(),
                _ => format!("give an index from 0 to {}: `{path}.0...`", count - 1),
            }));
            continue;
        };
        let place = format!("{path}.{key}");
        match (&entry.node.value, &slot.value) {
            (Value::Dict(new), Value::Dict(old)) => {
                slot.value = Value::Dict(merge_within(new, old, true, errors, &place, depth));
            }
            (Value::Dict(new), Value::List(inner)) => {
                let mut inner = inner.as_ref().clone();
                if depth < NESTING {
                    merge_list(new, &mut inner, errors, &place, depth + 1);
                }
                slot.value = Value::List(inner.into());
            }
            (Value::Dict(_), _) => {
                let old = Entry {
                    key: slot.origin.clone(),
                    node: slot.clone(),
                };
                errors.push(cannot(&place, entry, &old));
            }
            _ => *slot = entry.node.clone(),
        }
    }
}

/// Whether the dict says `_delete_=True`, and the dict without it.
fn take_delete(dict: &Dict) -> (bool, Dict) {
    let mut dict = dict.clone();
    let deletes = dict
        .remove("_delete_")
        .is_some_and(|e| truth(&e.node.value));
    (deletes, dict)
}

fn truth(value: &Value) -> bool {
    match value {
        Value::None | Value::Bool(false) | Value::Int(0) => false,
        Value::Float(x) => *x != 0.0,
        Value::Str(s) => !s.is_empty(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => !items.is_empty(),
        Value::Dict(dict) => !dict.is_empty(),
        _ => true,
    }
}

/// A dict over something that is none.
fn cannot(path: &str, new: &Entry, old: &Entry) -> Diagnostic {
    let found = describe(&old.node);
    let key = path.rsplit('.').next().unwrap_or(path);
    Diagnostic::error(format!("the base has {found} at `{path}`; a dict cannot be merged into it"))
        .kind(Kind::Merge)
        .at(&new.node.origin, "a dict here")
        .at(&old.node.origin, format!("{found} in the base"))
        .help(match old.node.value {
            Value::List(_) | Value::Tuple(_) => format!(
                "give the whole {}, change an item with `_base_.{path}[0]`, or replace it: `{key}=dict(_delete_=True, ...)`",
                old.node.type_name()
            ),
            _ => format!("to replace it: `{key}=dict(_delete_=True, ...)`"),
        })
}

fn describe(node: &Node) -> String {
    match &node.value {
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Tuple(items) => format!("a tuple of {}", items.len()),
        Value::None => "None".to_owned(),
        Value::Int(_) => "an int".to_owned(),
        Value::Object(o) => format!("the object {}", o.path()),
        _ => format!("a {}", node.type_name()),
    }
}

/// Writes `_scope_` into the outermost dicts with a `type`, for bases of another package.
pub(crate) fn scoped(dict: &Dict, scope: &str) -> Dict {
    fn walk(node: &Node, scope: &str) -> Node {
        let origin = node.origin.clone();
        let items =
            |items: &[Node]| std::sync::Arc::new(items.iter().map(|n| walk(n, scope)).collect());
        let value = match &node.value {
            Value::Dict(dict) => Value::Dict(within(dict, scope, &origin)),
            Value::List(list) => Value::List(items(list)),
            Value::Tuple(list) => Value::Tuple(items(list)),
            other => other.clone(),
        };
        Node { value, origin }
    }
    fn within(dict: &Dict, scope: &str, origin: &super::source::Origin) -> Dict {
        if !dict.contains("type") {
            return entries(dict, scope);
        }
        let mut dict = dict.clone();
        if dict.get("_scope_").is_none_or(Node::is_none) {
            let node = Node {
                value: Value::Str(scope.into()),
                origin: origin.clone(),
            };
            dict.set("_scope_", node);
        }
        dict
    }
    fn entries(dict: &Dict, scope: &str) -> Dict {
        let walked = |(key, entry): (&Key, &Entry)| {
            let node = walk(&entry.node, scope);
            let key_origin = entry.key.clone();
            (
                key.clone(),
                Entry {
                    node,
                    key: key_origin,
                },
            )
        };
        dict.iter().map(walked).collect()
    }
    let origin = match dict.iter().next() {
        Some((_, entry)) => entry.node.origin.clone(),
        None => return dict.clone(),
    };
    within(dict, scope, &origin)
}
