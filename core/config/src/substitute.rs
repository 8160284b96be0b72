//! `{{...}}` in a config's text: names of the file, environment variables, and values of the base.
//!
//! MMEngine replaces them in the text before it is parsed, in this order, also within comments and strings. So do we,
//! and keep a map back to the text as it was read, for messages. One thing differs: what is put into a string is data there,
//! whatever is in it. `'{{$ROOT:/data}}'` is the value of `ROOT` also where that has backslashes, quotes or ends of lines.

use super::diagnostic::{Diagnostic, Kind};
use super::loader::LARGEST;
use super::python::parse_expression;
use super::source::{Origin, Source, Span};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Frames the name of a base value where `{{_base_.name}}` stood. A code point that no text may contain.
pub(crate) const MARK: char = '\u{FDD0}';

/// How long a text may become: as long as one that is read, and what is data in a string is twice as long here.
const MOST: usize = 2 * LARGEST;

/// Longest `{{...}}` that is looked into, in bytes.
const FIELD: usize = 1024;

/// Frames a text that was put into a string, its bytes as hexadecimal digits: no rule of quotes and escapes sees it.
const DATA: char = '\u{FDD1}';

/// Reads an environment variable; an error says why its value cannot be had.
pub(crate) type Env<'a> = dyn Fn(&str) -> Result<Option<String>, String> + 'a;

/// A text as data within a string.
fn data(text: &str) -> String {
    let mut out = String::from(DATA);
    text.bytes().for_each(|b| out.push_str(&format!("{b:02x}")));
    out.push(DATA);
    out
}

/// The content of a string with what was put into it as data. `raw` is how it is written: an escape that gives the same character is no frame.
pub(crate) fn with_data<'t>(raw: &str, text: Cow<'t, str>) -> Cow<'t, str> {
    if !raw.contains(DATA) {
        return text;
    }
    let digits = |part: &str| {
        let pairs = part.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        String::from_utf8(pairs.collect::<Option<Vec<u8>>>()?).ok()
    };
    // Every second part was framed; else it is the text that has the character.
    let parts = text.split(DATA).enumerate();
    let parts = parts.map(|(i, part)| match i % 2 {
        1 => digits(part),
        _ => Some(part.to_owned()),
    });
    let paired = text.matches(DATA).count().is_multiple_of(2);
    let whole = parts.collect::<Option<String>>().filter(|_| paired);
    whole.map_or(text, Cow::Owned)
}

/// Whether a place in a text is within a string or comment. Asked from the front to the back.
struct Quotes<'t> {
    text: &'t [u8],
    at: usize,
    language: Language,
    /// The quote that ends the string, and whether there are three.
    within: Option<(u8, bool)>,
    comment: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Language {
    Python,
    Json,
    /// Words need no quotes: all is text.
    Yaml,
}

impl<'t> Quotes<'t> {
    fn new(text: &'t str, file: &str) -> Self {
        let language = match file.rsplit_once('.').map_or("", |(_, e)| e) {
            "json" => Language::Json,
            "yaml" | "yml" => Language::Yaml,
            _ => Language::Python,
        };
        Self {
            text: text.as_bytes(),
            at: 0,
            language,
            within: None,
            comment: false,
        }
    }

    /// Whether `to` is within text; then goes on at `end`, without a look at what is between.
    fn text_at(&mut self, to: usize, end: usize) -> bool {
        if self.language == Language::Yaml {
            return true;
        }
        let python = self.language == Language::Python;
        while self.at < to {
            let byte = self.text[self.at];
            let three = self.text[self.at..].starts_with(&[byte; 3]);
            self.at += 1;
            match (self.within, byte) {
                _ if self.comment => self.comment = byte != b'\n',
                (Some(_), b'\\') => self.at += 1,
                (Some((quote, false)), _) if byte == quote => self.within = None,
                (Some((_, false)), b'\n') => self.within = None,
                (Some((quote, true)), _) if byte == quote && three => {
                    self.at += 2;
                    self.within = None;
                }
                (Some(_), _) => {}
                (None, b'#') if python => self.comment = true,
                (None, b'"' | b'\'') if python || byte == b'"' => {
                    self.within = Some((byte, python && three));
                    self.at += 2 * usize::from(python && three);
                }
                _ => {}
            }
        }
        self.at = self.at.max(end);
        self.within.is_some() || self.comment
    }
}

/// Where something stands next.
struct Ahead {
    what: &'static str,
    at: Option<usize>,
}

impl Ahead {
    fn of(what: &'static str) -> Self {
        Self { what, at: None }
    }

    /// The first place not before `from`, which never goes back; the end of the text if there is none.
    fn from(&mut self, text: &str, from: usize) -> usize {
        let at = match self.at {
            Some(at) if at >= from => at,
            _ => text[from..]
                .find(self.what)
                .map_or(text.len(), |i| i + from),
        };
        self.at = Some(at);
        at
    }
}

/// A text with its replacements made.
pub(crate) struct Text<'s> {
    pub text: Cow<'s, str>,
    /// In the order of the text, none within another.
    replaced: Vec<Replaced>,
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
        env: &Env<'_>,
    ) -> Result<Self, Diagnostic> {
        let mut text = Self::plain(source);
        if !source.text().contains("{{") {
            return Ok(text);
        }
        let mut used = Vec::new();
        text.replace(
            |inside, text| {
                let value = file_name(inside, path);
                Ok(value.map(|value| if text { data(&value) } else { value }))
            },
            source,
        )?;
        text.replace(
            |inside, text| {
                let Some((name, default)) = variable(inside) else {
                    return Ok(None);
                };
                let wrong = |message: String| Diagnostic::error(message).kind(Kind::Evaluate);
                let value = env(name).map_err(|why| {
                    wrong(format!(
                        "environment variable `{name}` cannot be used: {why}"
                    ))
                })?;
                if value.as_deref().unwrap_or(default).is_empty() {
                    let how = match value {
                        Some(_) => "is empty",
                        None => "is not set and has no default",
                    };
                    return Err(wrong(format!("environment variable `{name}` {how}"))
                        .help(format!("set it, or give a default: {{{{${name}:value}}}}")));
                }
                let Some(value) = value else {
                    return Ok(Some(default.to_owned()));
                };
                used.push((name.to_owned(), value.clone()));
                if text {
                    return Ok(Some(data(&value)));
                }
                // A part of a number or name may be no value by itself.
                let part = |c: char| is_word(c) || "+-.".contains(c);
                if !value.chars().all(part) && parse_expression(value.trim()).is_err() {
                    return Err(
                        wrong(format!("the value of `{name}` is no value of a config"))
                            .help(QUOTE_IT),
                    );
                }
                Ok(Some(value))
            },
            source,
        )?;
        let mut found = false;
        text.replace(
            |inside, _| {
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

    /// Replaces each `{{inside}}` for which `value` has a text. It is also told whether the place is within a string or comment.
    fn replace(
        &mut self,
        mut value: impl FnMut(&str, bool) -> Result<Option<String>, Diagnostic>,
        source: &Arc<Source>,
    ) -> Result<(), Diagnostic> {
        let old = self.text.as_ref();
        let mut quotes = Quotes::new(old, source.name());
        let (mut new, mut done, mut from) = (String::new(), 0, 0);
        let mut made: Vec<Made> = Vec::new();
        // The first of each behind the pair: looked for once, not for each pair before them.
        let (mut close, mut line_end) = (Ahead::of("}}"), Ahead::of("\n"));
        while let Some(start) = old[from..].find("{{").map(|i| i + from) {
            let (close, line_end) = (close.from(old, start + 2), line_end.from(old, start + 2));
            if close >= old.len() {
                break;
            }
            if close > line_end || close - start > FIELD {
                from = start + 1;
                continue;
            }
            let end = close + 2;
            let span = Span {
                start: self.original(start as u32),
                end: self.original(end as u32),
            };
            let inside = &old[start + 2..end - 2];
            let within = quotes.text_at(start, start);
            match value(inside, within).map_err(|d| d.at(&Origin::new(source, span), ""))? {
                Some(text) => {
                    quotes.text_at(start, end);
                    if new.len() + text.len() > MOST {
                        let message =
                            format!("with its variables this text has more than {MOST} bytes");
                        let error = Diagnostic::error(message).kind(Kind::Limit);
                        return Err(error.at(&Origin::new(source, span), ""));
                    }
                    new.push_str(&old[done..start]);
                    let at = new.len() as u32;
                    new.push_str(&text);
                    made.push(Made {
                        old: start as u32..end as u32,
                        now: Replaced {
                            new: at..new.len() as u32,
                            read: span.start..span.end,
                        },
                    });
                    (done, from) = (end, end);
                }
                // `{{{...}}}`: the pair may begin one character later.
                None => from = start + 1,
            }
        }
        if made.is_empty() {
            return Ok(());
        }
        new.push_str(&old[done..]);
        self.replaced = Replaced::of_both(&self.replaced, &made);
        self.text = Cow::Owned(new);
        Ok(())
    }

    /// The offset in the text as read, of an offset in the new text.
    pub(crate) fn original(&self, at: u32) -> u32 {
        let i = self.replaced.partition_point(|r| r.new.start <= at);
        match i.checked_sub(1).map(|i| &self.replaced[i]) {
            None => at,
            Some(Replaced { new, read }) if at < new.end => {
                if at == new.start {
                    read.start
                } else {
                    read.end
                }
            }
            Some(Replaced { new, read }) => at - new.end + read.end,
        }
    }
}

/// A piece of a text that stands there for another.
#[derive(Clone)]
struct Replaced {
    /// Where it is.
    new: Range<u32>,
    /// What it stands for, in the text as read.
    read: Range<u32>,
}

/// A replacement that was just made.
struct Made {
    /// What it stands for, in the text before it.
    old: Range<u32>,
    now: Replaced,
}

impl Replaced {
    /// What is replaced after `made`: these, and what they left of the `earlier` ones.
    fn of_both(earlier: &[Self], made: &[Made]) -> Vec<Self> {
        let shifted = |at: u32| {
            let i = made.partition_point(|m| m.old.end <= at);
            let before = i.checked_sub(1).map(|i| &made[i]);
            before.map_or(at, |m| at - m.old.end + m.now.new.end)
        };
        let mut both: Vec<Self> = made.iter().map(|m| m.now.clone()).collect();
        for Self { new, read } in earlier {
            // Text that was put in may begin or end a `{{...}}`: then a part of it is left, or two.
            let (mut at, mut left) = (new.start, read.clone());
            let first = made.partition_point(|m| m.old.end <= at);
            for m in made[first..].iter().take_while(|m| m.old.start < new.end) {
                if at < m.old.start {
                    let new = shifted(at)..shifted(m.old.start);
                    both.push(Self { new, read: left });
                }
                (at, left) = (m.old.end, read.end..read.end);
            }
            if at < new.end || new.is_empty() && at == new.end {
                let new = shifted(at)..shifted(new.end);
                both.push(Self { new, read: left });
            }
        }
        both.sort_unstable_by_key(|r| (r.new.start, r.new.end));
        both
    }
}

const QUOTE_IT: &str = "outside of quotes the value is read as a part of the config; put quotes around `{{...}}` to have it as text";

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `{{ fileDirname }}` and the like.
fn file_name(inside: &str, path: &str) -> Option<String> {
    let wanted = inside.trim();
    if !wanted.starts_with("file") {
        return None;
    }
    let path = path.replace('\\', "/");
    let (folder, base) = path.rsplit_once('/').unwrap_or(("", &path));
    // As Python's splitext: leading dots are no extension.
    let dot = base
        .rfind('.')
        .filter(|i| base[..*i].contains(|c| c != '.'));
    let (stem, extension) = base.split_at(dot.unwrap_or(base.len()));
    let value = match wanted {
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
        let env = |name: &str| Ok((name == "ROOT").then(|| "/data".to_owned()));
        let text = Text::of(&source, "/x/y.b/run.v2.py", &env)?.text;
        Ok(with_data(&text, text.as_ref().into()).into_owned())
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
    fn strings_and_comments_are_told_from_code() {
        for (text, within) in [
            ("x = {{a}}", false),
            ("x = '{{a}}'", true),
            ("x = r\"it's {{a}}\"", true),
            ("x = 'it\\'s {{a}}'", true),
            ("x = 'a' + {{a}}", false),
            ("x = '''a'b\n{{a}}'''", true),
            ("x = '''a''' + {{a}}", false),
            ("x = ''\ny = {{a}}", false),
            ("# it's\nx = {{a}}", false),
            ("x = 1  # {{a}}", true),
            ("x = f'{y}/{{a}}'", true),
        ] {
            let at = text.find("{{").unwrap();
            assert_eq!(Quotes::new(text, "a.py").text_at(at, at), within, "{text}");
        }
        let json = "{\"it's\": {{a}}, \"b\": \"{{b}}\"}";
        let mut quotes = Quotes::new(json, "a.json");
        let places = [json.find("{{a").unwrap(), json.find("{{b").unwrap()];
        assert_eq!(places.map(|at| quotes.text_at(at, at)), [false, true]);
    }

    #[test]
    fn data_is_data() {
        for value in [
            "D:\\666\\new_dir",
            "it's \"so\"",
            "a\nb",
            "{{$X:y}}",
            "名",
            "",
        ] {
            let text = format!("a{}b", data(value));
            assert_eq!(with_data(&text, text.as_str().into()), format!("a{value}b"));
        }
        let stranger = format!("a{DATA}zz{DATA}b{DATA}");
        assert_eq!(with_data(&stranger, stranger.as_str().into()), stranger);
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
        let text = Text::of(&source, "/x/y.py", &|_| Ok(None)).unwrap();
        for word in [" b ", "+ d", "a="] {
            let at = text.text.find(word).unwrap() as u32;
            assert_eq!(
                text.original(at) as usize,
                given.find(word).unwrap(),
                "{word}"
            );
        }
    }

    #[test]
    fn what_was_put_in_may_be_within_the_next_braces_or_across_them() {
        let env = |name: &str| Ok((name == "ROOT").then(|| "7".to_owned()));
        for (given, path, expected) in [
            // Within.
            (
                "y {{ _base_.{{fileBasenameNoExtension}} }} z",
                "/x/run.py",
                format!("y \"{MARK}run{MARK}\" z"),
            ),
            // One at each end.
            (
                "y {{fileDirname}}}} z",
                "/a{{$ROOT:1/run.py",
                "y /a7 z".into(),
            ),
            (
                "y {{{{fileDirname}} z",
                "/$ROOT:1}}b/run.py",
                "y {{/$ROOT:1}}b z".into(),
            ),
            (
                "y {{$ROOT:{{fileExtname}} z",
                "/x/run.p}}b",
                "y 7b z".into(),
            ),
            // One that has all of it.
            (
                "y {{fileDirname}} z",
                "/a/{{$ROOT:1}}/b/run.py",
                "y /a/7/b z".into(),
            ),
            // One after the other in the same.
            (
                "y {{fileDirname}} z",
                "/{{$ROOT:1}}{{$A:12345}}/run.py",
                "y /712345 z".into(),
            ),
        ] {
            let source = Source::new("a.py", given, SourceKind::File);
            let text = Text::of(&source, path, &env).unwrap();
            assert_eq!(text.text, expected);
            let places: Vec<u32> = (0..=text.text.len() as u32)
                .map(|at| text.original(at))
                .collect();
            assert!(places.is_sorted(), "{given}: {places:?}");
            for word in ["y ", " z"] {
                let at = places[text.text.find(word).unwrap()];
                assert_eq!(at as usize, given.find(word).unwrap(), "{given}: {word}");
            }
        }
    }
}
