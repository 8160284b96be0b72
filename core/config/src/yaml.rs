//! YAML as PyYAML reads it (YAML 1.1's scalars), with the place of each value.
//!
//! The grammar is saphyr-parser's; what a plain word means is decided here, since `yes` is a bool, `010` is 8 and
//! `1e-3` is a string for the configs that people have.

use super::characters::{advice, named};
use super::diagnostic::{Diagnostic, Kind};
use super::eval::{NESTING, NODES, value_key};
use super::source::{Origin, Source, SourceKind, Span};
use super::substitute::{Text, with_data};
use super::value::{Dict, Entry, Key, Node, Value};
use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;
use std::sync::Arc;

/// Parses a YAML text of one document.
pub fn parse(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    parse_text(source, &Text::plain(source))
}

/// A list or dict that is being read.
struct Open {
    /// Index of its anchor, 0 for none.
    anchor: usize,
    origin: Origin,
    tuple: bool,
    /// A list of one Python expression, whose value is meant.
    expression: bool,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Dict {
        entries: IndexMap<Key, Entry>,
        /// Entries of `<<` dicts, which come first and lose against the others.
        merged: IndexMap<Key, Entry>,
        /// A key whose value is awaited; whether it is a plain `<<`.
        key: Option<(Node, bool)>,
    },
}

pub(crate) fn parse_text(source: &Arc<Source>, text: &Text<'_>) -> Result<Node, Diagnostic> {
    let offsets = offsets(&text.text);
    let origin = |span: &saphyr_parser::Span| {
        let at = |index: usize| match &offsets {
            Some(offsets) => offsets
                .get(index)
                .copied()
                .unwrap_or(text.text.len() as u32),
            None => index as u32,
        };
        let span = Span {
            start: text.original(at(span.start.index())),
            end: text.original(at(span.end.index())),
        };
        Origin::new(source, span)
    };
    let wrong =
        |at: &Origin, message: String| Diagnostic::error(message).kind(Kind::Syntax).at(at, "");
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut root = None;
    let mut left = NODES;
    let mut parser = Parser::new_from_str(&text.text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let marker = *error.marker();
            let at = origin(&saphyr_parser::Span::new(marker, marker));
            let error = wrong(&at, format!("this is no YAML: {}", error.info()));
            strange_character(error, source)
        })?;
        let at = origin(&span);
        let node = match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if root.is_some() => {
                return Err(wrong(
                    &at,
                    "a config is one YAML document; here a second begins".into(),
                ));
            }
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {
                continue;
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = tag.as_ref().map(|t| t.suffix.as_str());
                let tuple = tag == Some("python/tuple");
                let expression = tag == Some(EVAL);
                if !tuple && !expression && !matches!(tag, None | Some("seq")) {
                    return Err(unknown_tag(&at, tag));
                }
                let kind = OpenKind::List(Vec::new());
                open.push(Open {
                    anchor,
                    origin: at,
                    tuple,
                    expression,
                    kind,
                });
                if open.len() > NESTING {
                    return Err(
                        wrong(&open[0].origin, "this text is nested too deep".into())
                            .kind(Kind::Limit),
                    );
                }
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                let tag = tag.as_ref().map(|t| t.suffix.as_str());
                if !matches!(tag, None | Some("map" | "omap")) {
                    return Err(unknown_tag(&at, tag));
                }
                let kind = OpenKind::Dict {
                    entries: IndexMap::new(),
                    merged: IndexMap::new(),
                    key: None,
                };
                open.push(Open {
                    anchor,
                    origin: at,
                    tuple: false,
                    expression: false,
                    kind,
                });
                if open.len() > NESTING {
                    return Err(
                        wrong(&open[0].origin, "this text is nested too deep".into())
                            .kind(Kind::Limit),
                    );
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = open.pop() else { continue };
                let value = match done.kind {
                    OpenKind::List(items) if done.expression => evaluated(&items, &done.origin)?,
                    OpenKind::List(items) if done.tuple => Value::Tuple(Arc::new(items)),
                    OpenKind::List(items) => Value::List(Arc::new(items)),
                    OpenKind::Dict {
                        entries,
                        mut merged,
                        ..
                    } => {
                        if merged.is_empty() {
                            Value::Dict(entries.into_iter().collect())
                        } else {
                            merged.extend(entries);
                            Value::Dict(merged.into_iter().collect())
                        }
                    }
                };
                let node = Node {
                    value,
                    origin: done.origin,
                };
                if done.anchor > 0 {
                    anchors.insert(done.anchor, node.clone());
                }
                node
            }
            Event::Alias(anchor) => {
                let Some(node) = anchors.get(&anchor) else {
                    return Err(wrong(&at, "this alias is within its own anchor".into()));
                };
                // Aliases of aliases grow fast; each counts with all that it holds.
                let size = node.value.count(left, NESTING);
                let Some(rest) = size.and_then(|size| left.checked_sub(size)) else {
                    let message = format!("the aliases of this text make more than {NODES} values");
                    return Err(wrong(&at, message).kind(Kind::Limit));
                };
                left = rest;
                node.clone()
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_ref().map(|t| t.suffix.as_str());
                // `<<` as a key is the merge key.
                let merges = plain && tag.is_none() && text == "<<";
                let content = with_data(text.as_ref(), text.as_ref().into());
                let value = match scalar(&content, plain, tag, &at)? {
                    // A variable's value that is a list or dict.
                    Value::Str(s) if plain && *content != *text && s.starts_with(['[', '{']) => {
                        let inner = Source::new(source.name(), &*s, SourceKind::Made);
                        parse(&inner).map_or(Value::Str(s), |node| node.value)
                    }
                    value => value,
                };
                let node = Node { value, origin: at };
                if anchor > 0 {
                    anchors.insert(anchor, node.clone());
                }
                if merges
                    && let Some(Open {
                        kind:
                            OpenKind::Dict {
                                key: key @ None, ..
                            },
                        ..
                    }) = open.last_mut()
                {
                    *key = Some((node, true));
                    continue;
                }
                node
            }
        };
        let Some(rest) = left.checked_sub(1) else {
            let message = format!("this text has more than {NODES} values");
            return Err(wrong(&node.origin, message).kind(Kind::Limit));
        };
        left = rest;
        match open.last_mut() {
            None => root = Some(node),
            Some(parent) => place(parent, node)?,
        }
    }
    match root {
        Some(node) => Ok(node),
        None => {
            let origin = Origin::new(source, Span::default());
            Ok(Node {
                value: Value::None,
                origin,
            })
        }
    }
}

/// Points at the first character that only looks like space or punctuation, which may be why a text is no YAML; or at a tab that indents.
fn strange_character(error: Diagnostic, source: &Arc<Source>) -> Diagnostic {
    let text = source.text();
    let place = |at: usize, length: usize| {
        let span = Span {
            start: at as u32,
            end: (at + length) as u32,
        };
        Origin::new(source, span)
    };
    let strange = text
        .char_indices()
        .find(|(_, c)| !c.is_ascii() && advice(*c, "").is_some());
    if let Some((at, c)) = strange {
        let error = error.at(&place(at, c.len_utf8()), named(c));
        return match advice(c, text) {
            Some(help) => error.help(help),
            None => error,
        };
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indent].find('\t') {
            let error = error.at(&place(start + tab, 1), "a tab");
            return error.help("YAML is indented with spaces only");
        }
        start += line.len();
    }
    error
}

/// Puts a finished node into the list or dict that is open.
fn place(parent: &mut Open, node: Node) -> Result<(), Diagnostic> {
    match &mut parent.kind {
        OpenKind::List(items) => items.push(node),
        OpenKind::Dict {
            entries,
            merged,
            key,
        } => match key.take() {
            None => *key = Some((node, false)),
            Some((key, true)) => {
                let dicts: Vec<Dict> = match &node.value {
                    Value::Dict(dict) => vec![dict.clone()],
                    Value::List(items) => {
                        let dicts: Option<Vec<Dict>> =
                            items.iter().map(|n| n.as_dict().cloned()).collect();
                        // The first of several wins, so it comes last.
                        dicts.unwrap_or_default().into_iter().rev().collect()
                    }
                    _ => Vec::new(),
                };
                if dicts.is_empty() {
                    let message = "`<<` takes a mapping or a list of mappings";
                    return Err(Diagnostic::error(message)
                        .kind(Kind::Syntax)
                        .at(&key.origin, ""));
                }
                for dict in dicts {
                    for (key, entry) in dict.iter() {
                        merged.insert(key.clone(), entry.clone());
                    }
                }
            }
            Some((key, false)) => {
                if key.as_str().is_some_and(|key| key.len() > Key::LONGEST) {
                    let message = format!("a key of more than {} bytes", Key::LONGEST);
                    return Err(Diagnostic::error(message)
                        .kind(Kind::Limit)
                        .at(&key.origin, ""));
                }
                let Some(name) = value_key(&key.value) else {
                    let message = format!("a {} cannot be a key", key.type_name());
                    return Err(Diagnostic::error(message)
                        .kind(Kind::Syntax)
                        .at(&key.origin, ""));
                };
                let entry = Entry {
                    node,
                    key: key.origin,
                };
                entries.insert(name, entry);
            }
        },
    }
    Ok(())
}

/// The tag by which PyYAML has a Python expression evaluated.
const EVAL: &str = "python/object/apply:eval";

/// The value of such an expression, of which there is one: what a config may say, and nothing that runs.
fn evaluated(items: &[Node], at: &Origin) -> Result<Value, Diagnostic> {
    let wrong = |message: String| {
        Diagnostic::error(message)
            .kind(Kind::Unsupported)
            .at(at, "")
    };
    let [Some(text)] = items.iter().map(Node::as_str).collect::<Vec<_>>()[..] else {
        return Err(wrong(format!("the tag `{EVAL}` takes one text")));
    };
    match super::resolve::value(text) {
        Ok(node) => Ok(node.value),
        Err(errors) => {
            let why = errors.first().map_or("", |e| e.message.as_str());
            Err(wrong(format!("`{text}` cannot be evaluated: {why}")))
        }
    }
}

fn unknown_tag(at: &Origin, tag: Option<&str>) -> Diagnostic {
    Diagnostic::error(format!(
        "the tag `{}` makes no config value",
        tag.unwrap_or("")
    ))
    .kind(Kind::Unsupported)
    .at(at, "")
}

/// The value of a scalar, by PyYAML's rules.
fn scalar(text: &str, plain: bool, tag: Option<&str>, at: &Origin) -> Result<Value, Diagnostic> {
    let as_str = || Value::Str(text.into());
    let wrong = |what: &str| {
        Diagnostic::error(format!("`{text}` is no {what}"))
            .kind(Kind::Syntax)
            .at(at, "")
    };
    match tag {
        None if !plain => Ok(as_str()),
        None => resolve(text, at).map(|v| v.unwrap_or_else(as_str)),
        Some("str" | "python/str" | "") => Ok(as_str()),
        Some("null" | "python/none") => Ok(Value::None),
        Some("bool" | "python/bool") => boolean(text).map(Value::Bool).ok_or_else(|| wrong("bool")),
        Some("int" | "python/int") => match integer(text) {
            Some(Some(i)) => Ok(Value::Int(i)),
            _ => Err(wrong("integer")),
        },
        Some("float" | "python/float") => {
            match (float(text), integer(text), super::eval::parse_float(text)) {
                (Some(x), _, _) | (None, None, Some(x)) => Ok(Value::Float(x)),
                (None, Some(Some(i)), _) => Ok(Value::Float(i as f64)),
                _ => Err(wrong("number")),
            }
        }
        Some(other) => Err(unknown_tag(at, Some(other))),
    }
}

/// The value of a plain word; none for a string.
fn resolve(text: &str, at: &Origin) -> Result<Option<Value>, Diagnostic> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Some(Value::None));
    }
    if let Some(b) = boolean(text) {
        return Ok(Some(Value::Bool(b)));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Ok(None);
    }
    match integer(text) {
        Some(Some(i)) => return Ok(Some(Value::Int(i))),
        Some(None) => {
            let message = "this integer does not fit in 64 bits";
            return Err(Diagnostic::error(message).kind(Kind::Overflow).at(at, ""));
        }
        None => {}
    }
    if is_date(text) {
        let message = "a date is no config value";
        let error = Diagnostic::error(message)
            .kind(Kind::Unsupported)
            .at(at, "");
        return Err(error.help(format!("quote it, if it is a text: '{text}'")));
    }
    Ok(float(text).map(Value::Float))
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// None for what is no integer, none within for one that does not fit.
fn integer(text: &str) -> Option<Option<i64>> {
    let (negative, digits) = signed(text);
    let value = if let Some(parts) = sixty(digits) {
        parts
    } else {
        let (radix, digits) = match digits.as_bytes() {
            [b'0', b'b', ..] => (2, &digits[2..]),
            [b'0', b'x', ..] => (16, &digits[2..]),
            [b'0', _, ..] => (8, &digits[1..]),
            _ => (10, digits),
        };
        let plain = digits.replace('_', "");
        let starts = radix != 10 || digits.starts_with(|c: char| c.is_ascii_digit());
        if plain.is_empty() || !starts || !plain.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        i128::from_str_radix(&plain, radix).ok()
    };
    let value = value.map(|v| if negative { -v } else { v });
    Some(value.and_then(|v| i64::try_from(v).ok()))
}

/// `1:30` is 90; none for what has no such form.
fn sixty(digits: &str) -> Option<Option<i128>> {
    let mut parts = digits.split(':');
    let first = parts.next()?;
    let valid_first = first.starts_with(|c: char| ('1'..='9').contains(&c))
        && first.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let rest: Vec<&str> = parts.collect();
    let two = |p: &&str| {
        let b = p.as_bytes();
        matches!(b, [d] if d.is_ascii_digit())
            || matches!(b, [b'0'..=b'5', d] if d.is_ascii_digit())
    };
    if rest.is_empty() || !valid_first || !rest.iter().all(two) {
        return None;
    }
    let mut value: Option<i128> = first.replace('_', "").parse().ok();
    for part in rest {
        let digit: i128 = part.parse().ok()?;
        value = value.and_then(|v| v.checked_mul(60)?.checked_add(digit));
    }
    Some(value)
}

/// A float has a point, and its exponent has a sign: `1e3` is a string.
fn float(text: &str) -> Option<f64> {
    let (negative, digits) = signed(text);
    let sign = if negative { -1.0 } else { 1.0 };
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if digits == text => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(i) => (&digits[..i], Some(&digits[i + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digit = |b: u8| b.is_ascii_digit() || b == b'_';
    let starts = |t: &str| t.starts_with(|c: char| c.is_ascii_digit());
    if !fraction.bytes().all(digit) {
        return None;
    }
    if whole.contains(':') && exponent.is_none() {
        let whole = sixty(whole)??;
        let fraction: f64 = format!("0.{}", fraction.replace('_', ""))
            .parse()
            .unwrap_or(0.0);
        return Some(sign * (whole as f64 + fraction));
    }
    // Only what starts with the point has no sign before it.
    let valid = if whole.is_empty() {
        starts(fraction) && digits == text
    } else {
        starts(whole) && whole.bytes().all(digit)
    };
    let exponent_fits = exponent.is_none_or(|e| {
        let rest = e.strip_prefix(['+', '-']);
        rest.is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit()))
    });
    if !valid || !exponent_fits {
        return None;
    }
    let plain = digits.replace('_', "");
    plain.parse::<f64>().ok().map(|x| sign * x)
}

/// `2024-01-31`, also with a time behind it.
fn is_date(text: &str) -> bool {
    let head = text.get(..10).unwrap_or(text).as_bytes();
    let digits = |range: &[u8]| !range.is_empty() && range.iter().all(u8::is_ascii_digit);
    let parts: Vec<&[u8]> = head.split(|b| *b == b'-').collect();
    let form = matches!(parts.as_slice(), [y, m, d] if y.len() == 4 && digits(y) && digits(m) && m.len() <= 2
        && (digits(d) || d.first().is_some_and(u8::is_ascii_digit)));
    if !form {
        return false;
    }
    if text.len() == 10 {
        return head[4] == b'-' && head[7] == b'-';
    }
    text.contains(':')
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-: .tTzZ+".contains(&b))
}

/// Byte offsets of each character, where they differ from the characters' numbers.
fn offsets(text: &str) -> Option<Vec<u32>> {
    if text.is_ascii() {
        return None;
    }
    Some(text.char_indices().map(|(i, _)| i as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceKind;
    use super::*;

    fn read(text: &str) -> Result<Node, Diagnostic> {
        parse(&Source::new("a.yaml", text, SourceKind::File))
    }

    #[test]
    fn words_mean_what_they_mean_to_pyyaml() {
        use Value::{Bool, Float, Int, None, Str};
        let s = |t: &str| Str(t.into());
        let cases = [
            ("yes", Bool(true)),
            ("Off", Bool(false)),
            ("y", s("y")),
            ("~", None),
            ("null", None),
            ("010", Int(8)),
            ("0x1F", Int(31)),
            ("0b11", Int(3)),
            ("1_000", Int(1000)),
            ("1:30", Int(90)),
            ("-1:30", Int(-90)),
            ("1e3", s("1e3")),
            ("1e-3", s("1e-3")),
            ("1.0e-3", Float(0.001)),
            ("1.e+3", Float(1000.0)),
            (".5", Float(0.5)),
            ("1.5e3", s("1.5e3")),
            (".inf", Float(f64::INFINITY)),
            ("-.inf", Float(f64::NEG_INFINITY)),
            ("1.", Float(1.0)),
            ("089", s("089")),
            ("0o17", s("0o17")),
            ("'1'", s("1")),
            ("1.2.3", s("1.2.3")),
            ("!!str 1", s("1")),
            ("!!float 1", Float(1.0)),
            ("+12", Int(12)),
            ("a b", s("a b")),
            ("190:20:30.15", Float(685230.15)),
        ];
        for (text, value) in cases {
            assert_eq!(
                read(&format!("a: {text}")).unwrap().get("a").unwrap().value,
                value,
                "{text}"
            );
        }
        assert!(read("a: 2024-01-31").is_err() && read("a: 99999999999999999999").is_err());
        assert!(read("a: !!python/object:os.system x").is_err());
    }

    #[test]
    fn merge_keys_come_first_and_lose() {
        let node =
            read("b: &b {x: 1, y: 2}\nc: &c {y: 3, z: 4}\na:\n  w: 0\n  x: 5\n  <<: [*b, *c]\n")
                .unwrap();
        let a = node.get("a").unwrap().as_dict().unwrap();
        let shown: Vec<_> = a
            .iter()
            .map(|(k, e)| format!("{k}={}", e.node.as_int().unwrap()))
            .collect();
        assert_eq!(shown, ["y=2", "z=4", "x=5", "w=0"]);
    }

    #[test]
    fn lists_tuples_and_places() {
        let node = read("é: ü\nlist:\n  - 1\n  - !!python/tuple [2, 3]\n3: x\n").unwrap();
        assert_eq!(node.at("list.1").unwrap().type_name(), "tuple");
        let origin = &node.at("list.0").unwrap().origin;
        assert_eq!((origin.line(), origin.column(), origin.text()), (3, 5, "1"));
        assert!(node.at("3").is_some());
    }

    #[test]
    fn hostile_texts_end_in_errors() {
        let mut bomb = String::from("a0: &a0 [1, 1]\n");
        for i in 1..60 {
            bomb += &format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1);
        }
        assert_eq!(read(&bomb).unwrap_err().kind, Kind::Limit);
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"- ".repeat(10_000)).is_err());
        assert!(
            read("a: [1").is_err() && read("a: 1\n---\nb: 2").is_err() && read("&a [*a]").is_err()
        );
    }
}
