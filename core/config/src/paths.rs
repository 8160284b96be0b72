//! What a config has but hardly means: paths of Windows in which Python's escapes were read (`'D:\data\new'` has the end of a line in
//! it), and keys with invisible characters.

use std::collections::BTreeSet;

use super::characters::{hidden, named};
use super::diagnostic::{Diagnostic, Kind};
use super::source::SourceKind;
use super::value::{Dict, Node, Value};

/// Warnings for strings that begin as paths of Windows and have a control character, and for keys with an invisible one.
pub(crate) fn broken(root: &Dict) -> Vec<Diagnostic> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    entries(root, &mut found, &mut seen);
    found
}

fn entries(dict: &Dict, found: &mut Vec<Diagnostic>, seen: &mut BTreeSet<String>) {
    for (key, entry) in dict.iter() {
        let strange = key.as_str().and_then(hidden);
        if let Some(c) = strange.filter(|_| seen.insert(entry.key.to_string())) {
            let message = format!("the key `{key}` has {} in it", named(c));
            let warning = Diagnostic::warning(message).kind(Kind::Key);
            found.push(warning.at(&entry.key, "").help("take it away"));
        }
        walk(&entry.node, found, seen);
    }
}

fn walk(node: &Node, found: &mut Vec<Diagnostic>, seen: &mut BTreeSet<String>) {
    match &node.value {
        Value::Str(text) => {
            let Some(c) = text.chars().find(|c| c.is_control()) else {
                return;
            };
            if is_path(text)
                && node.origin.text().contains('\\')
                && node.origin.source().kind() == SourceKind::File
                && seen.insert(node.origin.to_string())
            {
                found.push(warning(node, c));
            }
        }
        Value::Dict(dict) => entries(dict, found, seen),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().for_each(|item| walk(item, found, seen));
        }
        _ => {}
    }
}

/// `C:` and a separator, or what an escape left of one; or `\\server`, `..\x`.
fn is_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    let drive = matches!(bytes, [letter, b':', next, ..] if letter.is_ascii_alphabetic()
        && (matches!(next, b'\\' | b'/') || next.is_ascii_control()));
    let relative = matches!(bytes, [b'.', next, ..] | [b'.', b'.', next, ..] if *next == b'\\' || next.is_ascii_control());
    drive || relative || text.starts_with("\\\\")
}

fn warning(node: &Node, c: char) -> Diagnostic {
    let escape = match c {
        '\n' => r"\n",
        '\t' => r"\t",
        '\r' => r"\r",
        '\x07' => r"\a",
        '\x08' => r"\b",
        '\x0b' => r"\v",
        '\x0c' => r"\f",
        _ => r"\",
    };
    let name = match c {
        '\n' => "the end of a line",
        '\t' => "a tab",
        _ => "a control character",
    };
    let message = format!("the `{escape}` in this path is an escape: there is {name} in its place");
    Diagnostic::warning(message)
        .kind(Kind::Mistyped)
        .at(&node.origin, "")
        .help(r"write it as r'C:\folder', 'C:/folder' or 'C:\\folder'")
}

#[cfg(test)]
mod tests {
    use super::super::{Config, MapLoader};

    fn notes(text: &str) -> Vec<String> {
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        config.notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn invisible_characters_in_keys_are_warned_of() {
        let found = notes("a = {'lr\u{200B}': 1, '名': 2, 'b c': 3}");
        assert_eq!(found.len(), 1, "{found:?}");
        let message = "warning: the key `lr<U+200B>` has U+200B ZERO WIDTH SPACE in it";
        assert!(found[0].starts_with(message), "{}", found[0]);
    }

    #[test]
    fn escapes_in_paths_are_warned_of() {
        for (text, escape) in [
            (r"a = 'D:\data\new\coco'", r"\n"),
            (r"a = dict(b=['C:\temp'])", r"\t"),
            (r"a = '..\base\x.py'.replace('x', 'y')", r"\b"),
            (r"a = 'C:\001'", r"\"),
        ] {
            let text = text.replace(r"\x.", r"\\x.");
            let found = notes(&text);
            let message = format!("warning: the `{escape}` in this path is an escape");
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(&message), "{}", found[0]);
        }
        for text in [
            r"a = r'D:\data\new'",
            r"a = 'D:/new'",
            r"a = 'a:\n b'",
            r"a = 'x\ty'",
        ] {
            let found = notes(text);
            assert_eq!(
                found.len(),
                usize::from(text.contains("a:")),
                "{text}: {found:?}"
            );
        }
    }
}
