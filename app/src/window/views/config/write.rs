//! How a value of the resolved config is changed in the text: where it is said, or, where that is in a base, as an override in the config
//! in front.

use std::ops::Range;

use smalti::config::{
    Config, Dict, Entry, Loader, MapLoader, Node, SourceKind, Value, parse_value, value_to_py,
};

/// An edit of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file, as configs name it.
    pub file: String,
    /// Bytes of its text.
    pub range: Range<usize>,
    /// What is put there.
    pub text: String,
}

/// Puts a value where a node is said. `None` if it is not written there as it is, but computed.
pub fn where_said(node: &Node, new: &str) -> Option<Edit> {
    let origin = &node.origin;
    if origin.source().kind() != SourceKind::File {
        return None;
    }
    let written = parse_value(origin.text()).ok()?;
    let same = value_to_py(&written) == value_to_py(node);
    same.then(|| Edit {
        file: origin.file().to_owned(),
        range: origin.range(),
        text: new.to_owned(),
    })
}

/// Overrides a value in the text of a child: `path` as `--cfg-options` has it, `new` as Python.
///
/// # Errors
/// Why it cannot be done, and what to do.
pub fn overridden(config: &Config, text: &str, path: &str, new: &str) -> Result<Edit, String> {
    let file = config.path.clone();
    let (keys, new) = through_lists(config, path, new)?;
    if text.contains("read_base()") {
        return Ok(Edit {
            range: text.len()..text.len(),
            text: lazily(text, &keys, &new),
            file,
        });
    }
    if !file.ends_with(".py") {
        return Err("overrides are written into Python configs: edit the text".into());
    }
    let alone = alone(text, &file)?;
    let Some((first, rest)) = keys.split_first() else {
        return Err("there is no such value".into());
    };
    let Some(mut node) = alone.get(first) else {
        let break_line = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let text_new = format!("{break_line}{first} = {}\n", nested(rest, &new));
        return Ok(Edit {
            range: text.len()..text.len(),
            text: text_new,
            file,
        });
    };
    for (i, key) in rest.iter().enumerate() {
        match node.get(key) {
            Some(inner) => node = inner,
            None => return inserted(node, text, &file, key, &nested(&rest[i + 1..], &new)),
        }
    }
    where_said(node, &new)
        .filter(|edit| edit.file == file)
        .ok_or_else(|| format!("`{path}` is computed in {}: edit the text", node.origin))
}

/// Says an option that a dict does not have yet: in that dict, if it is written in the text, else as an override.
///
/// # Errors
/// Why it cannot be done, and what to do.
pub fn added(config: &Config, text: &str, path: &str, new: &str) -> Result<Edit, String> {
    let (parent, key) = path.rsplit_once('.').ok_or("there is no such dict")?;
    let node = config.at(parent).ok_or("there is no such dict")?;
    match inserted(node, text, &config.path, key, new) {
        Ok(edit) if node.origin.source().kind() == SourceKind::File => Ok(edit),
        _ => overridden(config, text, path, new),
    }
}

/// A list of a base cannot be overridden in part: then the whole list is written, changed.
fn through_lists(config: &Config, path: &str, new: &str) -> Result<(Vec<String>, String), String> {
    let parts: Vec<&str> = path.split('.').collect();
    let mut node = &config.root;
    for (i, part) in parts.iter().enumerate() {
        if node.as_items().is_some() {
            let value = parse_value(new).map_err(|e| e.to_string())?;
            let mut whole = node.clone();
            set(&mut whole, &parts[i..], value)?;
            let keys = parts[..i].iter().map(|p| (*p).to_owned()).collect();
            return Ok((keys, value_to_py(&whole)));
        }
        match node.get(part) {
            Some(inner) => node = inner,
            None if i + 1 == parts.len() => break,
            None => return Err(format!("there is no `{path}`")),
        }
    }
    Ok((
        parts.iter().map(|p| (*p).to_owned()).collect(),
        new.to_owned(),
    ))
}

/// Puts a value at a path within others.
///
/// # Errors
/// There is nothing at that path.
pub fn set(node: &mut Node, path: &[&str], value: Node) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    let missing = || format!("there is no `{first}`");
    match &mut node.value {
        Value::List(items) | Value::Tuple(items) => {
            let i: usize = first.parse().map_err(|_| missing())?;
            set(
                std::sync::Arc::make_mut(items)
                    .get_mut(i)
                    .ok_or_else(missing)?,
                rest,
                value,
            )
        }
        Value::Dict(dict) => {
            let inner = match dict.get(first) {
                None if rest.is_empty() => value,
                None => return Err(missing()),
                Some(inner) => {
                    let mut inner = inner.clone();
                    set(&mut inner, rest, value)?;
                    inner
                }
            };
            dict.set(first, inner);
            Ok(())
        }
        _ => Err(missing()),
    }
}

/// `dict(a=dict(b=VALUE))`.
fn nested(keys: &[String], value: &str) -> String {
    keys.iter().rev().fold(value.to_owned(), |inner, key| {
        if is_name(key) {
            format!("dict({key}={inner})")
        } else {
            format!("{{'{key}': {inner}}}")
        }
    })
}

fn is_name(key: &str) -> bool {
    let mut chars = key.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// In lazy style what a base says is updated.
fn lazily(text: &str, keys: &[String], new: &str) -> String {
    let break_line = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    match keys.split_first() {
        Some((first, [])) => format!("{break_line}{first} = {new}\n"),
        Some((first, rest)) => format!("{break_line}{first}.update({})\n", nested(rest, new)),
        None => String::new(),
    }
}

/// What a child says by itself: its bases are left out, by white space in their place, so that all else stands where it stands.
fn alone(text: &str, name: &str) -> Result<Config, String> {
    let mut blank = text.to_owned();
    if let Some(range) = base_statement(text) {
        let white: String = text[range.clone()]
            .bytes()
            .map(|b| if b == b'\n' { '\n' } else { ' ' })
            .collect();
        blank.replace_range(range, &white);
    }
    let loader: &dyn Loader = &MapLoader::default();
    Config::parse(&blank, name, loader)
        .map_err(|_| "this config computes values from its bases, so that no override can be added by itself: edit the text".to_owned())
}

/// The statement that names the bases.
fn base_statement(text: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("_base_").map(str::trim_start);
        if rest.is_some_and(|r| r.starts_with('=')) {
            // to the end of the line on which all brackets are closed
            let mut depth = 0_i32;
            let mut end = at;
            for line in text[at..].split_inclusive('\n') {
                depth += line
                    .chars()
                    .map(|c| i32::from("([{".contains(c)) - i32::from(")]}".contains(c)))
                    .sum::<i32>();
                end += line.len();
                if depth <= 0 {
                    break;
                }
            }
            return Some(at..end);
        }
        at += line.len();
    }
    None
}

/// Puts a key into a dict that the text has.
fn inserted(node: &Node, text: &str, file: &str, key: &str, value: &str) -> Result<Edit, String> {
    let range = node.origin.range();
    let written = text.get(range.clone()).unwrap_or("");
    let (call, literal) = (written.starts_with("dict("), written.starts_with('{'));
    if node.origin.file() != file || !(call || literal) || node.as_dict().is_none() {
        return Err(format!(
            "`{key}` belongs to a dict that is computed in {}: edit the text",
            node.origin
        ));
    }
    let inner_end = range.end - 1;
    let inner_start = range.start + if call { 5 } else { 1 };
    let inner = &text[inner_start..inner_end];
    let entry = if call && is_name(key) {
        format!("{key}={value}")
    } else if literal {
        format!("'{key}': {value}")
    } else {
        format!("**{{'{key}': {value}}}")
    };
    // behind what was last said, not behind its comment or white space
    let last = last_said(inner);
    let at = inner_start + last;
    let text_new = match inner[..last].chars().next_back() {
        None => entry,
        Some(',') => format!(" {entry}"),
        Some(_) => format!(", {entry}"),
    };
    Ok(Edit {
        file: file.to_owned(),
        range: at..at,
        text: text_new,
    })
}

/// The end of the last thing that is said in code: before white space and comments.
fn last_said(code: &str) -> usize {
    let mut end = 0;
    let mut quote: Option<char> = None;
    let mut comment = false;
    let mut escaped = false;
    for (i, c) in code.char_indices() {
        match (comment, quote) {
            (true, _) => comment = c != '\n',
            (false, Some(q)) => {
                if !escaped && c == q {
                    quote = None;
                }
                escaped = c == '\\' && !escaped;
                end = i + c.len_utf8();
            }
            (false, None) if c == '#' => comment = true,
            (false, None) => {
                if c == '\'' || c == '"' {
                    quote = Some(c);
                }
                if !c.is_whitespace() {
                    end = i + c.len_utf8();
                }
            }
        }
    }
    end
}

/// A child of `base` that says only what differs between two configs.
pub fn child(base: &str, old: &Config, new: &Config) -> String {
    let changes = difference(old.dict(), new.dict());
    let mut text = format!(
        "_base_ = {}\n",
        value_to_py(&Node::made(Value::Str(base.into()), "a base's name"))
    );
    for (key, entry) in changes.iter() {
        text += &format!("{key} = {}\n", value_to_py(&entry.node));
    }
    text
}

/// What has to be said over `old` to get `new`. A dict that lost a key is said anew as a whole.
fn difference(old: &Dict, new: &Dict) -> Dict {
    let mut changes = Dict::new();
    for (key, entry) in new.iter() {
        let before = old.entry(key).map(|e| &e.node);
        let said = match (before, &entry.node.value) {
            (Some(before), _) if value_to_py(before) == value_to_py(&entry.node) => continue,
            (
                Some(Node {
                    value: Value::Dict(before),
                    ..
                }),
                Value::Dict(after),
            ) => {
                let lost = before.iter().any(|(k, _)| after.entry(k).is_none());
                let mut dict = if lost {
                    after.clone()
                } else {
                    difference(before, after)
                };
                if lost {
                    dict.set("_delete_", Node::made(Value::Bool(true), "a child"));
                }
                Node {
                    value: Value::Dict(dict),
                    origin: entry.node.origin.clone(),
                }
            }
            _ => entry.node.clone(),
        };
        changes.insert(
            key.clone(),
            Entry {
                key: entry.key.clone(),
                node: said,
            },
        );
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "model = dict(backbone=dict(depth=50, style='p'), neck=dict(n=[1, 2]))\npipe = [dict(type='A', k=1), dict(type='B')]\nx = 1\n";

    fn changed(child: &str, path: &str, new: &str) -> Result<(String, Config), String> {
        let files = [("base.py", BASE), ("child.py", child)];
        let config = Config::load("child.py", &MapLoader::new(files)).unwrap();
        let edit = overridden(&config, child, path, new)?;
        assert_eq!(edit.file, "child.py");
        let mut text = child.to_owned();
        text.replace_range(edit.range, &edit.text);
        let files = [("base.py", BASE), ("child.py", text.as_str())];
        let config = Config::load("child.py", &MapLoader::new(files))
            .unwrap_or_else(|e| panic!("{text}\n{e}"));
        Ok((text, config))
    }

    #[test]
    fn overrides_stand_where_their_dict_is_or_at_the_end() {
        for (child, path, expected) in [
            (
                "_base_ = './base.py'\n",
                "model.backbone.depth",
                "_base_ = './base.py'\nmodel = dict(backbone=dict(depth=18))\n",
            ),
            (
                "_base_ = ['./base.py']",
                "x",
                "_base_ = ['./base.py']\nx = 18\n",
            ),
            (
                "_base_ = [\n    './base.py'\n]\nmodel = dict(a=1)\n",
                "model.backbone.depth",
                "_base_ = [\n    './base.py'\n]\nmodel = dict(a=1, backbone=dict(depth=18))\n",
            ),
            (
                "_base_ = './base.py'\nmodel = dict(\n    backbone=dict(style='q'),  # why\n)\n",
                "model.backbone.depth",
                "_base_ = './base.py'\nmodel = dict(\n    backbone=dict(style='q', depth=18),  # why\n)\n",
            ),
            (
                "_base_ = './base.py'\nmodel = {'backbone': {}}\n",
                "model.backbone.depth",
                "_base_ = './base.py'\nmodel = {'backbone': {'depth': 18}}\n",
            ),
            (
                "_base_ = './base.py'\nmodel = dict(backbone=dict(depth=34))\n",
                "model.backbone.depth",
                "_base_ = './base.py'\nmodel = dict(backbone=dict(depth=18))\n",
            ),
        ] {
            let (text, config) = changed(child, path, "18").unwrap();
            assert_eq!(text, expected);
            assert_eq!(config.at(path).and_then(Node::as_int), Some(18), "{text}");
        }
    }

    #[test]
    fn a_list_of_a_base_is_written_whole() {
        let (text, config) = changed("_base_ = './base.py'\n", "pipe.0.k", "2").unwrap();
        assert_eq!(
            text,
            "_base_ = './base.py'\npipe = [dict(type='A', k=2), dict(type='B')]\n"
        );
        assert_eq!(config.at("pipe.0.k").and_then(Node::as_int), Some(2));
        let (_, config) = changed("_base_ = './base.py'\n", "model.neck.n.1", "'é'").unwrap();
        assert_eq!(
            config.at("model.neck.n.1").and_then(Node::as_str),
            Some("é")
        );
    }

    #[test]
    fn an_option_is_added_where_its_dict_is_written() {
        let text = "p = [\n    dict(type='A'),  # first\n]\nx = dict(y=p)\n";
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        let edit = added(&config, text, "x.y.0.k", "(1, 2)").unwrap();
        let mut new = text.to_owned();
        new.replace_range(edit.range, &edit.text);
        assert_eq!(new, text.replace("type='A'", "type='A', k=(1, 2)"));
        let files = [("base.py", BASE), ("child.py", "_base_ = './base.py'\n")];
        let config = Config::load("child.py", &MapLoader::new(files)).unwrap();
        let edit = added(&config, files[1].1, "pipe.1.k", "3").unwrap();
        let expected = "pipe = [dict(type='A', k=1), dict(type='B', k=3)]\n";
        assert_eq!(
            (edit.file.as_str(), edit.text.as_str()),
            ("child.py", expected)
        );
    }

    #[test]
    fn what_is_computed_is_not_overwritten() {
        let error = changed(
            "_base_ = './base.py'\ny = _base_.x\n",
            "model.backbone.depth",
            "1",
        )
        .unwrap_err();
        assert!(error.contains("edit the text"), "{error}");
        let text = "a = 2\nb = dict(c=a * 2, d=a)\n";
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        assert_eq!(where_said(config.at("b.c").unwrap(), "9"), None);
        let edit = where_said(config.at("a").unwrap(), "9").unwrap();
        assert_eq!((edit.range, edit.text.as_str()), (4..5, "9"));
    }

    #[test]
    fn a_child_says_only_what_differs_and_reads_back() {
        let old = Config::parse(BASE, "base.py", &MapLoader::default()).unwrap();
        let new = "model = dict(backbone=dict(depth=18, style='p'), neck=dict(m=3))\npipe = [dict(type='A', k=1), dict(type='B')]\nx = 1\ny = (1,)\n";
        let new = Config::parse(new, "new.py", &MapLoader::default()).unwrap();
        let text = child("./base.py", &old, &new);
        assert!(
            !text.contains("pipe") && text.contains("_delete_=True"),
            "{text}"
        );
        let files = [("base.py", BASE), ("child.py", text.as_str())];
        let config = Config::load("child.py", &MapLoader::new(files)).unwrap();
        assert_eq!(config.to_py(), new.to_py());
    }
}
