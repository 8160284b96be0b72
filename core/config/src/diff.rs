//! What differs between two configs, path by path.

use super::value::{Dict, Key, Node, Value};

/// One difference.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where, as in `model.backbone.depth` or `train_pipeline.2.scale`.
    pub path: String,
    /// The value in the first config, if it has one.
    pub left: Option<Node>,
    /// The value in the second config, if it has one.
    pub right: Option<Node>,
}

/// All differences in value or type; the order of keys does not count.
pub fn diff(left: &Dict, right: &Dict) -> Vec<Change> {
    let mut changes = Vec::new();
    dicts(left, right, "", &mut changes);
    changes
}

fn dicts(left: &Dict, right: &Dict, path: &str, changes: &mut Vec<Change>) {
    let place = |key: &Key| {
        if path.is_empty() {
            key.to_string()
        } else {
            format!("{path}.{key}")
        }
    };
    for (key, entry) in left.iter() {
        let other = right.entry(key).map(|e| &e.node);
        nodes(Some(&entry.node), other, place(key), changes);
    }
    for (key, entry) in right.iter() {
        if left.entry(key).is_none() {
            nodes(None, Some(&entry.node), place(key), changes);
        }
    }
}

fn nodes(left: Option<&Node>, right: Option<&Node>, path: String, changes: &mut Vec<Change>) {
    if let (Some(a), Some(b)) = (left, right) {
        match (&a.value, &b.value) {
            (Value::Dict(a), Value::Dict(b)) => return dicts(a, b, &path, changes),
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                // A short list of plain numbers is one value to a reader.
                let plain = |items: &[Node]| {
                    items
                        .iter()
                        .all(|n| n.as_items().is_none() && n.as_dict().is_none())
                };
                if a == b {
                    return;
                }
                if !(plain(a) && plain(b)) {
                    for i in 0..a.len().max(b.len()) {
                        nodes(a.get(i), b.get(i), format!("{path}.{i}"), changes);
                    }
                    return;
                }
            }
            (a, b) if a == b => return,
            _ => {}
        }
    }
    changes.push(Change {
        path,
        left: left.cloned(),
        right: right.cloned(),
    });
}
