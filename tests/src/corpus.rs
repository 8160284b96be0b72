//! Checks a tree of configs against the form in which MMEngine resolves each of them.
//!
//! The expected rows are made by MMEngine itself: JSON lines `{file, ok, cfg}` or `{file, ok: false, error}`, where a tagged
//! value is `{"d": [[key, value]...]}` for a dict in order, `{"t": [...]}` for a tuple, `{"s": [...]}` for a set, and
//! `{"o": text}` for an object of Python; lists and scalars stand for themselves.

use flate2::read::MultiGzDecoder;
use smalti::config::{
    Config, ConfigErrors, Configs, Key, Kind, Loader, Node, Object, Source, SourceKind, Value, json,
};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// One row of expected values.
pub struct Row {
    /// The config's path below the tree.
    pub file: String,
    /// The tagged config, or MMEngine's error.
    pub expected: Result<Node, String>,
}

/// What came of one row.
pub enum Outcome {
    /// Equal.
    Passed,
    /// Different; says where first.
    Failed(String),
    /// MMEngine refused it, and so is not counted; says what ours does.
    Refused(String),
}

/// Reads a `.jsonl` or `.jsonl.gz` file of rows.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut text = String::new();
    let result = if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text)
    } else {
        bytes.as_slice().read_to_string(&mut text)
    };
    result.map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text.lines().filter(|l| !l.trim().is_empty());
    lines
        .enumerate()
        .map(|(i, line)| row(line).map_err(|e| format!("{}:{}: {e}", path.display(), i + 1)))
        .collect()
}

fn row(line: &str) -> Result<Row, String> {
    let source = Source::new("row", line, SourceKind::File);
    let node = match json::parse(&source) {
        Ok(node) => node,
        // Python's integers have no limit, ours do: such a row cannot be compared.
        Err(error) if error.kind == Kind::Overflow => {
            let name = line.split('"').nth(3).unwrap_or("");
            return Ok(Row {
                file: name.to_owned(),
                expected: Err("none; it has an integer beyond 64 bits".into()),
            });
        }
        Err(error) => return Err(error.to_string()),
    };
    let text = |key: &str| node.get(key).and_then(Node::as_str).map(str::to_owned);
    let file = text("file").ok_or("the row has no `file`")?;
    let expected = match node.get("cfg") {
        Some(cfg) => Ok(cfg.clone()),
        None => Err(text("error").unwrap_or_default()),
    };
    Ok(Row { file, expected })
}

/// Compares what came of loading a row's config.
pub fn check(row: &Row, ours: Result<Config, ConfigErrors>) -> Outcome {
    let first_line =
        |e: &dyn std::fmt::Display| e.to_string().lines().next().unwrap_or("").to_owned();
    let expected = match (&row.expected, &ours) {
        (Err(theirs), Ok(_)) => return Outcome::Refused(format!("accepted (MMEngine: {theirs})")),
        (Err(_), Err(errors)) => return Outcome::Refused(first_line(errors)),
        (Ok(expected), _) => expected,
    };
    match ours {
        Ok(config) => match compare(expected, &config) {
            None => Outcome::Passed,
            Some(difference) => Outcome::Failed(difference),
        },
        // A program among the configs: MMEngine's result holds nothing but its functions.
        Err(errors)
            if errors.diagnostics.iter().all(|d| d.kind == Kind::Script) && only_code(expected) =>
        {
            Outcome::Passed
        }
        Err(errors) => Outcome::Failed(first_line(&errors)),
    }
}

/// Whether an expected dict holds functions, modules and classes only.
fn only_code(expected: &Node) -> bool {
    let entries = expected
        .get("d")
        .and_then(Node::as_items)
        .unwrap_or_default();
    entries.iter().all(|e| match e.as_items() {
        Some([name, value]) => value.get("o").is_some() || is_imported_name(name, value),
        _ => false,
    })
}

/// `["mmengine", "mmengine.mmengine"]`: an imported module, as MMEngine writes it.
fn is_imported_name(name: &Node, value: &Node) -> bool {
    let name = name.as_str().unwrap_or("");
    value
        .as_str()
        .is_some_and(|v| v.rsplit('.').next() == Some(name) && v.contains('.'))
}

/// The first path at which a config differs from its tagged form.
pub fn compare(expected: &Node, config: &Config) -> Option<String> {
    let mut expected = expected.clone();
    let shown = |node: &Node, key: &str| {
        node.as_items()
            .and_then(|p| p.first()?.as_str().map(|s| s == key))
            == Some(true)
    };
    // Names that a lazy-style config imports are in MMEngine's raw dict but no part of the config.
    let mut imported = Vec::new();
    if let Some(Value::List(entries)) = expected.get("d").map(|d| d.value.clone()) {
        let (hidden, kept): (Vec<Node>, Vec<Node>) = entries
            .iter()
            .cloned()
            .partition(|e| config.imported.names().any(|n| shown(e, n)));
        imported = hidden;
        expected = tagged("d", kept, &expected);
    }
    for entry in imported {
        let Some([name, value]) = entry.as_items() else {
            continue;
        };
        let name = name.as_str().unwrap_or("");
        // Functions and modules of Python have no form to compare.
        if value.get("o").is_none()
            && let Some(difference) = config
                .imported
                .get(name)
                .and_then(|ours| differs(value, ours, name))
        {
            return Some(difference);
        }
    }
    differs(&expected, &config.root, "")
}

fn tagged(tag: &str, items: Vec<Node>, like: &Node) -> Node {
    let list = Node {
        value: Value::List(items.into()),
        origin: like.origin.clone(),
    };
    let mut dict = smalti::config::Dict::new();
    dict.set(tag, list);
    Node {
        value: Value::Dict(dict),
        origin: like.origin.clone(),
    }
}

fn differs(expected: &Node, ours: &Node, path: &str) -> Option<String> {
    let place = if path.is_empty() { "the config" } else { path };
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    let differ = |theirs: String| {
        Some(format!(
            "{place}: {} expected, {} found",
            theirs,
            short(ours)
        ))
    };
    let sequence = |theirs: &[Node], items: &[Node]| {
        let common = theirs.iter().zip(items).enumerate();
        let mut differences = common.filter_map(|(i, (a, b))| differs(a, b, &join(&i.to_string())));
        differences.next().or_else(|| {
            let counts = (theirs.len(), items.len());
            (counts.0 != counts.1)
                .then(|| format!("{place}: {} items expected, {} found", counts.0, counts.1))
        })
    };
    let Value::Dict(dict) = &expected.value else {
        return match (&expected.value, &ours.value) {
            (Value::List(theirs), Value::List(items)) => sequence(theirs, items),
            (Value::Float(a), Value::Float(b)) if close(*a, *b) => None,
            (Value::Str(a), Value::Object(o)) if **a == o.path() => None,
            (a, b) if !matches!(a, Value::List(_)) && a == b => None,
            _ => differ(short(expected)),
        };
    };
    let Some((tag, entry)) = dict.iter().next() else {
        return differ("a tag".into());
    };
    let inner = entry.node.as_items().unwrap_or_default();
    match (tag.as_str(), &ours.value) {
        (Some("t"), Value::Tuple(items)) => sequence(inner, items),
        (Some("s"), Value::Set(items)) => {
            let missing = inner
                .iter()
                .find(|e| items.iter().all(|o| differs(e, o, path).is_some()));
            match missing {
                Some(missing) => Some(format!("{place}: the set lacks {}", short(missing))),
                None if inner.len() != items.len() => differ(format!("a set of {}", inner.len())),
                None => None,
            }
        }
        (Some("o"), Value::Range(a, b, c)) => {
            let step = if *c == 1 {
                String::new()
            } else {
                format!(", {c}")
            };
            let text = format!("builtins.range:range({a}, {b}{step})");
            if entry.node.as_str() == Some(&text) {
                None
            } else {
                differ(short(&entry.node))
            }
        }
        (Some("d"), Value::Dict(ours_dict)) => {
            let mut theirs = inner.iter();
            let mut own = ours_dict.iter();
            loop {
                let (their, own) = match (theirs.next(), own.next()) {
                    (None, None) => return None,
                    (Some(e), None) => {
                        return Some(format!("{place}: the key {} is missing", key_text(e)));
                    }
                    (None, Some((k, _))) => {
                        return Some(format!("{place}: the key `{k}` was not expected"));
                    }
                    (Some(e), Some(own)) => (e, own),
                };
                let (key, entry) = own;
                let Some([their_key, their_value]) = their.as_items() else {
                    return Some(format!("{place}: the expected dict has no pairs"));
                };
                if !same_key(their_key, key) {
                    return Some(format!(
                        "{place}: the key {} expected here, `{key}` found",
                        key_text(their)
                    ));
                }
                if let Some(difference) = differs(their_value, &entry.node, &join(&key.to_string()))
                {
                    return Some(difference);
                }
            }
        }
        _ => differ(match tag.as_str() {
            Some("t") => "a tuple".into(),
            Some("d") => "a dict".into(),
            Some("s") => "a set".into(),
            _ => short(&entry.node),
        }),
    }
}

fn key_text(pair: &Node) -> String {
    match pair.as_items() {
        Some([key, _]) => short(key),
        _ => "?".into(),
    }
}

/// A key is a string, or `{"k": repr}`.
fn same_key(theirs: &Node, ours: &Key) -> bool {
    match theirs.as_str() {
        Some(text) => ours.as_str() == Some(text),
        None => theirs.get("k").and_then(Node::as_str) == Some(&key_repr(ours)),
    }
}

fn key_repr(key: &Key) -> String {
    match key {
        Key::Str(s) => smalti::config::text::string(s),
        Key::Tuple(keys) if keys.len() == 1 => format!("({},)", key_repr(&keys[0])),
        Key::Tuple(keys) => format!(
            "({})",
            keys.iter().map(key_repr).collect::<Vec<_>>().join(", ")
        ),
        Key::Object(o) => {
            let Object { module, name } = o.as_ref();
            name.as_ref().unwrap_or(module).to_string()
        }
        other => other.to_string(),
    }
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

fn short(node: &Node) -> String {
    let text = smalti::config::value_to_py(node);
    let kind = node.type_name();
    if text.chars().count() > 60 {
        let start: String = text.chars().take(57).collect();
        return format!("{kind} {start}...");
    }
    format!("{kind} {text}")
}

/// What came of a whole tree.
#[derive(Default)]
pub struct Tally {
    /// Rows that are equal.
    pub passed: usize,
    /// File and difference of rows that are not.
    pub failed: Vec<(String, String)>,
    /// File and what ours says of rows that MMEngine refused.
    pub refused: Vec<(String, String)>,
    /// Time that our loading took, without the comparison.
    pub loading: Duration,
}

/// Checks all rows against the tree at `root`.
pub fn check_all(rows: &[Row], root: &str, loader: &dyn Loader) -> Tally {
    let mut configs = Configs::new(loader);
    let mut tally = Tally::default();
    for row in rows {
        let file = row.file.clone();
        let path = format!("{}/{}", root.trim_end_matches('/'), row.file);
        let start = Instant::now();
        let ours = configs.load(&path);
        tally.loading += start.elapsed();
        match check(row, ours) {
            Outcome::Passed => tally.passed += 1,
            Outcome::Failed(why) => tally.failed.push((file, why)),
            Outcome::Refused(why) => tally.refused.push((file, why)),
        }
    }
    tally
}
