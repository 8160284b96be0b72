//! A resolved config as text: Python that reads back to the same config, or JSON.

use super::characters::{hidden, is_invisible, visible_json};
use super::python::is_keyword;
use super::text;
use super::value::{Dict, Key, Node, Value};

/// Longest line that is written where there is a choice.
const WIDTH: usize = 100;

/// Functions that the text may call. A config's own value of that name hides one, so it is set when all others are.
const CALLED: [&str; 5] = ["dict", "float", "globals", "range", "set"];

/// The config as Python, one `name = value` for each key.
pub fn to_py(root: &Dict) -> String {
    let mut out = String::new();
    let mut hiding = Vec::new();
    for (key, entry) in root.iter() {
        let name = key.to_string();
        if CALLED.contains(&&*name) {
            hiding.push((name, inline(&entry.node.value)));
            continue;
        }
        let head = if is_name(&name) && key.as_str().is_some() {
            format!("{name} = ")
        } else {
            // A JSON or YAML config may have names that are none in Python.
            format!("globals()[{}] = ", string(&name))
        };
        out.push_str(&head);
        python(&entry.node, &mut out, 0, head.chars().count());
        out.push('\n');
    }
    if !hiding.is_empty() {
        let (names, values): (Vec<_>, Vec<_>) = hiding.into_iter().unzip();
        out.push_str(&format!("{} = {}\n", names.join(", "), values.join(", ")));
    }
    out
}

/// A value as Python on one line.
pub fn value_to_py(node: &Node) -> String {
    inline(&node.value)
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    first && chars.all(|c| c.is_alphanumeric() || c == '_') && !is_keyword(text)
}

/// A string; `{{` is broken up, as a reader would replace it.
fn string(s: &str) -> String {
    let text = text::string(s).replace("{{", "{\\x7b");
    if hidden(&text).is_none() {
        return text;
    }
    let seen = |c: char| match is_invisible(c) {
        true => text::escape(c),
        false => c.to_string(),
    };
    text.chars().map(seen).collect()
}

fn number(x: f64) -> String {
    if x.is_finite() {
        text::float(x)
    } else {
        format!("float('{}')", text::float(x))
    }
}

fn key(key: &Key) -> String {
    match key {
        Key::Str(s) => string(s),
        Key::Float(x) => number(*x),
        Key::Tuple(keys) => {
            let items: String = keys.iter().map(|k| self::key(k) + ",").collect();
            format!("({items})")
        }
        Key::Object(o) => string(&o.path()),
        other => other.to_string(),
    }
}

/// Whether all keys can be written as names of arguments.
fn as_call(dict: &Dict) -> bool {
    dict.iter().all(|(k, _)| k.as_str().is_some_and(is_name))
}

fn entry(call: bool, k: &Key) -> String {
    match k {
        Key::Str(s) if call => format!("{s}="),
        other => format!("{}: ", key(other)),
    }
}

fn inline(value: &Value) -> String {
    let join = |items: &[Node]| {
        items
            .iter()
            .map(|n| inline(&n.value))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match value {
        Value::None => "None".into(),
        Value::Bool(b) => if *b { "True" } else { "False" }.into(),
        // The smallest integer has no literal of its own.
        Value::Int(i64::MIN) => format!("{} - 1", i64::MIN + 1),
        Value::Int(i) => i.to_string(),
        Value::Float(x) => number(*x),
        Value::Str(s) => string(s),
        Value::Object(o) => string(&o.path()),
        Value::Range(from, to, 1) => format!("range({from}, {to})"),
        Value::Range(from, to, step) => format!("range({from}, {to}, {step})"),
        Value::List(items) => format!("[{}]", join(items)),
        Value::Tuple(items) if items.len() == 1 => format!("({},)", join(items)),
        Value::Tuple(items) => format!("({})", join(items)),
        Value::Set(items) if items.is_empty() => "set()".into(),
        Value::Set(items) => format!("{{{}}}", join(items)),
        Value::Dict(dict) => {
            let call = as_call(dict);
            let items: Vec<String> = dict
                .iter()
                .map(|(k, e)| entry(call, k) + &inline(&e.node.value))
                .collect();
            let items = items.join(", ");
            if call {
                format!("dict({items})")
            } else {
                format!("{{{items}}}")
            }
        }
    }
}

/// Whether a value fits on a line; looks no further than needed.
fn fits(value: &Value, room: usize) -> bool {
    fn walk(value: &Value, left: &mut usize) -> bool {
        let mut take = |n: usize| match left.checked_sub(n) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        };
        match value {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
                take(2) && items.iter().all(|n| walk(&n.value, left))
            }
            Value::Dict(dict) => {
                take(2)
                    && dict.iter().all(|(k, e)| {
                        let length = k.as_str().map_or(4, str::len);
                        left.checked_sub(length).is_some_and(|rest| {
                            *left = rest;
                            walk(&e.node.value, left)
                        })
                    })
            }
            Value::Str(s) => take(s.len().min(WIDTH)),
            _ => take(1),
        }
    }
    let mut left = room;
    walk(value, &mut left) && inline(value).chars().count() <= room
}

fn python(node: &Node, out: &mut String, indent: usize, column: usize) {
    let nested = matches!(
        node.value,
        Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_)
    );
    if !nested || fits(&node.value, WIDTH.saturating_sub(column + 1)) {
        out.push_str(&inline(&node.value));
        return;
    }
    let pad = "    ".repeat(indent + 1);
    let column = pad.len();
    let mut items = |open: &str, close: &str, nodes: &[Node]| {
        out.push_str(open);
        for node in nodes {
            out.push('\n');
            out.push_str(&pad);
            python(node, out, indent + 1, column);
            out.push(',');
        }
        out.push('\n');
        out.push_str(&pad[4..]);
        out.push_str(close);
    };
    match &node.value {
        Value::List(nodes) => items("[", "]", nodes),
        Value::Tuple(nodes) => items("(", ")", nodes),
        Value::Set(nodes) => items("{", "}", nodes),
        Value::Dict(dict) => {
            let call = as_call(dict);
            out.push_str(if call { "dict(" } else { "{" });
            for (k, e) in dict.iter() {
                let head = entry(call, k);
                out.push('\n');
                out.push_str(&pad);
                out.push_str(&head);
                python(&e.node, out, indent + 1, column + head.chars().count());
                out.push(',');
            }
            out.push('\n');
            out.push_str(&pad[4..]);
            out.push_str(if call { ")" } else { "}" });
        }
        _ => {}
    }
}

/// A value as JSON with two spaces of indentation. Tuples and sets become lists, keys strings; floats that are not
/// finite are written as Python's `json` does.
pub fn to_json(node: &Node) -> String {
    let mut out = String::new();
    json(&node.value, &mut out, 0);
    out.push('\n');
    visible_json(&out).into_owned()
}

fn json_string(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn json(value: &Value, out: &mut String, indent: usize) {
    let line = |out: &mut String, indent: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(indent));
    };
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(x) if x.is_nan() => out.push_str("NaN"),
        Value::Float(x) if x.is_infinite() => {
            out.push_str(if *x > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Value::Float(x) => out.push_str(&text::float(*x)),
        Value::Str(s) => json_string(s, out),
        Value::Object(o) => json_string(&o.path(), out),
        Value::Range(from, to, step) => {
            out.push('[');
            let mut at = i128::from(*from);
            let (to, step) = (i128::from(*to), i128::from(*step));
            // A range was checked for nothing when it was made; nobody wants a million numbers in a listing.
            for i in 0..1_000_000 {
                if (step > 0 && at >= to) || (step <= 0 && at <= to) {
                    break;
                }
                out.push_str(&format!("{}{at}", if i > 0 { ", " } else { "" }));
                at += step;
            }
            out.push(']');
        }
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            let nested = items
                .iter()
                .any(|n| n.as_items().is_some() || n.as_dict().is_some());
            out.push('[');
            for (i, node) in items.iter().enumerate() {
                out.push_str(if i == 0 {
                    ""
                } else if nested {
                    ","
                } else {
                    ", "
                });
                if nested {
                    line(out, indent + 1);
                }
                json(&node.value, out, indent + 1);
            }
            if nested {
                line(out, indent);
            }
            out.push(']');
        }
        Value::Dict(dict) => {
            out.push('{');
            for (i, (key, entry)) in dict.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(out, indent + 1);
                let name = match key {
                    Key::Bool(b) => if *b { "true" } else { "false" }.to_owned(),
                    Key::None => "null".to_owned(),
                    other => other.to_string(),
                };
                json_string(&name, out);
                out.push_str(": ");
                json(&entry.node.value, out, indent + 1);
            }
            if !dict.is_empty() {
                line(out, indent);
            }
            out.push('}');
        }
    }
}
