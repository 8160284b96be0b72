//! `{{...}}` in a config's text: names of the file, environment variables, and values of the base.
//!
//! MMEngine replaces them in the text before it is parsed, in this order, also within comments and strings. So do we,
//! and keep a map back to the text as it was read, for messages.

use super::diagnostic::{Diagnostic, Kind};
use super::source::{Origin, Source, Span};
use std::borrow::Cow;
use std::sync::Arc;

/// Frames the name of a base value where `{{_base_.name}}` stood. A code point that no text may contain.
pub(crate) const MARK: char = '\u{FDD0}';

/// A text with its replacements made.
pub(crate) struct Text<'s> {
    pub text: Cow<'s, str>,
    /// Start and end in the new text, start and end in the old text, of each replacement.
    replaced: Vec<[u32; 4]>,
    /// Environment variables that were used, with their values.
    pub env: Vec<(String, String)>,
    /// Whether a `{{_base_.name}}` was found.
    pub has_base_values: bool,
}

impl<'s> Text<'s> {
    /// The text as it is.
    pub(crate) fn plain(source: &'s Source) -> Self {
        Self {
            text: Cow::Borrowed(source.text()),
            replaced: Vec::new(),
            env: Vec::new(),
            has_base_values: false,
        }
    }

    /// The text with `{{...}}` replaced. `path` is the file's absolute path; `env` reads the environment.
    pub(crate) fn of(
        source: &'s Arc<Source>,
        path: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Diagnostic> {
        let mut text = Self::plain(source);
        if !source.text().contains("{{") {
            return Ok(text);
        }
        let mut used = Vec::new();
        text.replace(|inside| Ok(file_name(inside, path)), source)?;
        text.replace(
            |inside| {
                let Some((name, default)) = variable(inside) else {
                    return Ok(None);
                };
                let value = match env(name) {
                    Some(value) => {
                        used.push((name.to_owned(), value.clone()));
                        value
                    }
                    None => default.to_owned(),
                };
                if value.is_empty() {
                    return Err(Diagnostic::error(format!(
                        "environment variable `{name}` is not set and has no default"
                    ))
                    .kind(Kind::Evaluate)
                    .help(format!("set it, or give a default: {{{{${name}:value}}}}")));
                }
                Ok(Some(value))
            },
            source,
        )?;
        let mut found = false;
        text.replace(
            |inside| {
                let name = inside.trim().strip_prefix("_base_.");
                let name =
                    name.filter(|n| !n.is_empty() && n.chars().all(|c| is_word(c) || c == '.'));
                found |= name.is_some();
                Ok(name.map(|n| format!("\"{MARK}{n}{MARK}\"")))
            },
            source,
        )?;
        text.env = used;
        text.has_base_values = found;
        Ok(text)
    }

    /// Replaces each `{{inside}}` for which `value` has a text.
    fn replace(
        &mut self,
        mut value: impl FnMut(&str) -> Result<Option<String>, Diagnostic>,
        source: &Arc<Source>,
    ) -> Result<(), Diagnostic> {
        let old = self.text.as_ref();
        let (mut new, mut done, mut from) = (String::new(), 0, 0);
        let mut replaced: Vec<[u32; 4]> = Vec::new();
        while let Some(start) = old[from..].find("{{").map(|i| i + from) {
            let line = old[start + 2..].split('\n').next().unwrap_or("");
            let Some(length) = line.find("}}") else {
                from = start + 2;
                continue;
            };
            let end = start + 2 + length + 2;
            let span = Span {
                start: self.original(start as u32),
                end: self.original(end as u32),
            };
            let inside = &old[start + 2..end - 2];
            match value(inside).map_err(|d| d.at(&Origin::new(source, span), ""))? {
                Some(text) => {
                    new.push_str(&old[done..start]);
                    let at = new.len() as u32;
                    new.push_str(&text);
                    replaced.push([at, new.len() as u32, span.start, span.end]);
                    (done, from) = (end, end);
                }
                // `{{{...}}}`: the pair may begin one character later.
                None => from = start + 1,
            }
        }
        if replaced.is_empty() {
            return Ok(());
        }
        new.push_str(&old[done..]);
        // Earlier replacements that were not touched keep their place in the new text.
        let shift = |old_at: u32| {
            let mut delta = 0i64;
            for r in &replaced {
                if r[3] <= old_at {
                    delta += i64::from(r[1] - r[0]) - i64::from(r[3] - r[2]);
                }
            }
            delta
        };
        let moved: Vec<[u32; 4]> = self
            .replaced
            .iter()
            .map(|earlier| {
                let by = shift(earlier[2]);
                let moved = |x: u32| (i64::from(x) + by).max(0) as u32;
                [moved(earlier[0]), moved(earlier[1]), earlier[2], earlier[3]]
            })
            .collect();
        replaced.extend(moved);
        replaced.sort_unstable();
        self.replaced = replaced;
        self.text = Cow::Owned(new);
        Ok(())
    }

    /// The offset in the text as read, of an offset in the new text.
    pub(crate) fn original(&self, at: u32) -> u32 {
        let i = self.replaced.partition_point(|r| r[0] <= at);
        match i.checked_sub(1).map(|i| self.replaced[i]) {
            None => at,
            Some([start, end, old_start, old_end]) if at < end => {
                if at == start {
                    old_start
                } else {
                    old_end
                }
            }
            Some([_, end, _, old_end]) => at - end + old_end,
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `{{ fileDirname }}` and the like.
fn file_name(inside: &str, path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let (folder, base) = path.rsplit_once('/').unwrap_or(("", &path));
    // As Python's splitext: leading dots are no extension.
    let dot = base
        .rfind('.')
        .filter(|i| base[..*i].contains(|c| c != '.'));
    let (stem, extension) = base.split_at(dot.unwrap_or(base.len()));
    let value = match inside.trim() {
        "fileDirname" if folder.is_empty() && path.starts_with('/') => "/",
        "fileDirname" => folder,
        "fileBasename" => base,
        "fileBasenameNoExtension" => stem,
        "fileExtname" => extension,
        _ => return None,
    };
    Some(value.to_owned())
}

/// The name and default of `{{$NAME:default}}`, also in quotes: `{{'$NAME:default'}}`.
fn variable(inside: &str) -> Option<(&str, &str)> {
    let inside = inside.strip_prefix(['\'', '"']).unwrap_or(inside);
    let inside = inside.strip_suffix(['\'', '"']).unwrap_or(inside);
    let (name, default) = inside.trim().strip_prefix('$')?.split_once(':')?;
    let (name, default) = (name.trim_end(), default.trim());
    let fits =
        !name.is_empty() && name.chars().all(is_word) && !default.contains(char::is_whitespace);
    fits.then_some((name, default))
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceKind;
    use super::*;

    fn text(text: &str) -> Result<String, Diagnostic> {
        let source = Source::new("a.py", text, SourceKind::File);
        let env = |name: &str| (name == "ROOT").then(|| "/data".to_owned());
        Ok(Text::of(&source, "/x/y.b/run.v2.py", &env)?
            .text
            .into_owned())
    }

    #[test]
    fn names_of_the_file() {
        let given =
            "'{{ fileDirname }}|{{fileBasename}}|{{fileBasenameNoExtension}}|{{ fileExtname}}'";
        assert_eq!(text(given).unwrap(), "'/x/y.b|run.v2.py|run.v2|.py'");
    }

    #[test]
    fn environment_with_and_without_default() {
        assert_eq!(text("'{{$ROOT:/d}}/a'").unwrap(), "'/data/a'");
        assert_eq!(text("n={{'$N:80'}}").unwrap(), "n=80");
        let missing = text("a = 1\nn = '{{$N:}}'").unwrap_err();
        assert!(missing.to_string().contains("a.py:2:6"), "{missing}");
    }

    #[test]
    fn base_values_become_marked_strings_and_other_braces_stay() {
        let base = text("x={{ _base_.a.b }}  # {{_base_.c}}").unwrap();
        assert_eq!(base, format!("x=\"{MARK}a.b{MARK}\"  # \"{MARK}c{MARK}\""));
        for unchanged in ["x = {{1}}", "'{{ }}'", "{{_base_.a b}}", "{{", "{{a\n}}"] {
            assert_eq!(text(unchanged).unwrap(), unchanged);
        }
    }

    #[test]
    fn offsets_map_back_to_the_text_as_read() {
        let given = "a='{{fileExtname}}' + b + {{_base_.c}} + d";
        let source = Source::new("a.py", given, SourceKind::File);
        let text = Text::of(&source, "/x/y.py", &|_| None).unwrap();
        for word in [" b ", "+ d", "a="] {
            let at = text.text.find(word).unwrap() as u32;
            assert_eq!(
                text.original(at) as usize,
                given.find(word).unwrap(),
                "{word}"
            );
        }
    }
}
