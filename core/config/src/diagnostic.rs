//! What is wrong or noteworthy in a config, as data; and the one place where it becomes text.

use super::characters::{line, shown};
use super::source::{Origin, SourceKind};
use super::value::Node;
use std::borrow::Cow;
use std::fmt;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The config cannot be used.
    Error,
    /// The config is used, but probably does not mean what its writer wanted.
    Warning,
    /// Something worth knowing.
    Note,
}

/// The kind of a problem, for programs that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text is no Python, JSON or YAML.
    Syntax,
    /// Python that runs code and is outside the config language.
    Unsupported,
    /// The file is a program, not a config.
    Script,
    /// An operation failed: unknown name, wrong type, missing key, division by zero.
    Evaluate,
    /// An integer outside 64 bits.
    Overflow,
    /// Too much work, too deep or too large.
    Limit,
    /// A file could not be read, or a base was not found.
    File,
    /// Bases that load each other.
    Cycle,
    /// The same key in two bases, or a reserved key.
    Key,
    /// Text style and lazy style in one chain.
    Style,
    /// A child cannot be merged into its base.
    Merge,
    /// A bad `--cfg-options` entry.
    Option,
    /// A component lacks a key.
    Missing,
    /// A component has a key of the wrong type or value.
    Mistyped,
    /// A component has a key that nothing reads.
    Unknown,
    /// Anything else, for example what a later stage found.
    Other,
}

/// One finding: a message, places with a word each, and what to do next.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub kind: Kind,
    /// What was found and what was expected.
    pub message: String,
    /// Places; the first is the one to look at. The text stands beside the caret, and may be empty.
    pub labels: Vec<(Origin, String)>,
    /// What to do next.
    pub help: Option<String>,
    /// What would mend it; boxed, as few findings have it and all are passed around.
    mending: Option<Box<Mending>>,
    /// The `_base_` entries that led to the file of the first label, nearest first.
    pub chain: Vec<Origin>,
    /// The key that the first label is of, and the `type` beside it, which was written elsewhere. See [`super::left_over`].
    pub(crate) beside: Option<Box<(String, Origin)>>,
}

/// What would mend a finding.
#[derive(Clone, Debug, Default)]
struct Mending {
    fixes: Vec<Fix>,
    names: Vec<String>,
}

/// A change of the text that mends what a [`Diagnostic`] tells of.
#[derive(Clone, Debug)]
pub struct Fix {
    /// What is replaced; an empty place is one before which the text is put.
    pub place: Origin,
    /// What is put there.
    pub text: String,
    /// What a button says, for example "Use FPN".
    pub label: String,
}

/// Longest value that a message repeats, in characters.
pub(crate) const VALUE: usize = 200;
/// Longest message, in characters.
const MESSAGE: usize = 4000;
/// Places of a message; of a hundred the first few say as much.
const PLACES: usize = 8;
/// Messages that are printed; the others are counted.
pub(crate) const PRINTED: usize = 50;

/// A message in which what stands in backquotes, and the whole, is cut where it is too long to be read.
fn readable(text: impl Into<String>) -> String {
    let text: String = text.into();
    if text.len() <= VALUE {
        return text;
    }
    let part = |(i, part): (usize, &'_ str)| match i % 2 {
        1 => cut(part, VALUE).into_owned(),
        _ => part.to_owned(),
    };
    let parts: Vec<_> = text.split('`').enumerate().map(part).collect();
    cut(&parts.join("`"), MESSAGE).into_owned()
}

/// A text with its middle left out if it is longer than `most` characters.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    // Not gone over if its bytes are few enough.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    let end = most / 8;
    let head = text
        .char_indices()
        .nth(most - end)
        .map_or(text.len(), |(at, _)| at);
    let tail = text
        .char_indices()
        .rev()
        .nth(end - 1)
        .map_or(0, |(at, _)| at);
    Cow::Owned(format!("{}...{}", &text[..head], &text[tail..]))
}

impl Diagnostic {
    /// An error with a message and no place yet. Values that it repeats are cut to a length that can be read.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind: Kind::Other,
            message: readable(message),
            labels: Vec::new(),
            help: None,
            mending: None,
            chain: Vec::new(),
            beside: None,
        }
    }

    /// A warning with a message and no place yet.
    pub fn warning(message: impl Into<String>) -> Self {
        let mut warning = Self::error(message);
        warning.severity = Severity::Warning;
        warning
    }

    /// Sets the kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Something worth knowing, with a message and no place yet.
    pub fn note(message: impl Into<String>) -> Self {
        let mut note = Self::error(message);
        note.severity = Severity::Note;
        note
    }

    /// Adds a place with a word that stands beside its caret.
    pub fn at(mut self, origin: &Origin, label: impl Into<String>) -> Self {
        if self.labels.len() < PLACES {
            self.labels.push((origin.clone(), readable(label)));
        }
        self
    }

    /// Adds to the help line.
    pub(crate) fn help_too(&mut self, more: String) {
        self.help = Some(match self.help.take() {
            Some(help) => format!("{help}; {more}"),
            None => more,
        });
    }

    /// Sets the help line.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(readable(help));
        self
    }

    /// Adds a change of the text that mends it. A place that no file holds cannot be changed: nothing is added.
    pub fn fix(
        mut self,
        place: &Origin,
        text: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        if place.source().kind() == SourceKind::File {
            let (text, label) = (text.into(), readable(label));
            let place = place.clone();
            self.mending().fixes.push(Fix { place, text, label });
        }
        self
    }

    /// Adds the fix that puts `name` in the place of a name, which keeps its quotes if it has any.
    pub fn use_name(self, place: &Origin, name: &str) -> Self {
        let written = place.text();
        let text = match written.chars().next() {
            Some(quote @ ('\'' | '"')) if written.len() > 1 && written.ends_with(quote) => {
                format!("{quote}{name}{quote}")
            }
            Some(c) if c.is_alphabetic() || c == '_' => name.to_owned(),
            _ => return self,
        };
        self.fix(place, text, format!("Use {name}"))
    }

    /// Sets the names that would do where the first label points.
    pub fn known<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.mending().names = names.into_iter().map(Into::into).collect();
        self
    }

    fn mending(&mut self) -> &mut Mending {
        self.mending.get_or_insert_default()
    }

    /// Changes of the text that would mend it, likeliest first.
    pub fn fixes(&self) -> &[Fix] {
        self.mending.as_ref().map_or(&[], |m| &m.fixes)
    }

    /// Names that would do where the first label points, if one of a list belongs there.
    pub fn names(&self) -> &[String] {
        self.mending.as_ref().map_or(&[], |m| &m.names)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}", line(&self.message))?;
        let numbers = self.labels.iter().map(|(o, _)| o.line().to_string().len());
        let margin = numbers.max().unwrap_or(1);
        for (origin, label) in &self.labels {
            place(f, origin, label, margin)?;
        }
        if let (Some(last), Some((origin, _))) = (self.chain.last(), self.labels.first()) {
            write!(f, "\n{:margin$} = base chain: ", "")?;
            let mut entries = self.chain.iter().rev();
            entries.try_for_each(|o| write!(f, "{}:{} -> ", line(o.file()), o.line()))?;
            let end = if origin.file() == last.file() && self.chain.len() == 1 {
                "here"
            } else {
                origin.file()
            };
            write!(f, "{}", line(end))?;
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {}", line(help)),
            None => Ok(()),
        }
    }
}

/// Longest part of a source line that is shown.
const SHOWN: usize = 110;

/// One place: the file, its line, and a caret below the span.
fn place(f: &mut fmt::Formatter<'_>, origin: &Origin, label: &str, margin: usize) -> fmt::Result {
    write!(
        f,
        "\n{:margin$}--> {}",
        "",
        line(&cut(&origin.to_string(), MESSAGE))
    )?;
    let text = origin.line_text();
    if origin.source().kind() != SourceKind::File || text.trim().is_empty() {
        return match label {
            "" => Ok(()),
            label => write!(f, " ({})", line(label)),
        };
    }
    let chars: Vec<char> = text.chars().collect();
    let column = (origin.column() - 1).min(chars.len());
    let width = origin.text().lines().next().unwrap_or("").chars().count();
    let width = width.min(chars.len() - column).max(1);
    // A window over long lines that keeps the caret in sight.
    let from = if chars.len() > SHOWN && column + width.min(40) > SHOWN {
        column.saturating_sub(SHOWN / 3)
    } else {
        0
    };
    let to = chars.len().min(from + SHOWN);
    // Invisible characters are shown by their codes, so what is shown is longer than what is there.
    let shown = |chars: &[char]| -> String {
        let parts = chars
            .iter()
            .map(|c| shown(*c).unwrap_or_else(|| c.to_string()));
        parts.collect()
    };
    let end = (column + width).clamp(from, to.max(column));
    let pad = shown(&chars[from..column]).chars().count();
    let width = shown(&chars[column..end]).chars().count().max(1);
    let shown = shown(&chars[from..to]);
    let before = if from > 0 { "..." } else { "" };
    let after = if to < chars.len() { "..." } else { "" };
    let number = origin.line();
    write!(f, "\n{number:>margin$} | {before}{shown}{after}")?;
    let pad = pad + before.len();
    let carets = "^".repeat(width);
    write!(f, "\n{:margin$} | {:pad$}{carets}", "", "")?;
    match label {
        "" => Ok(()),
        label => write!(f, " {}", line(label)),
    }
}

/// All that was wrong with a config.
#[derive(Clone, Debug, Default)]
pub struct ConfigErrors {
    /// The findings in the order in which they were found; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

impl From<Vec<Diagnostic>> for ConfigErrors {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics }
    }
}

impl From<Diagnostic> for ConfigErrors {
    fn from(diagnostic: Diagnostic) -> Self {
        vec![diagnostic].into()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().take(PRINTED).enumerate() {
            write!(f, "{}{diagnostic}", if i > 0 { "\n\n" } else { "" })?;
        }
        match self.diagnostics.len().saturating_sub(PRINTED) {
            0 => Ok(()),
            more => write!(f, "\n\n... and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Config errors, collected.
pub type Diagnostics = Vec<Diagnostic>;

/// One config error about `key` of `node` (or the whole dict where the key is absent).
pub fn error_at(node: &Node, key: &str, message: impl Into<String>, help: &str) -> Diagnostics {
    let at = node.get(key).unwrap_or(node);
    let error = Diagnostic::error(message.into()).at(&at.origin, "");
    if help.is_empty() {
        return vec![error];
    }
    vec![error.help(help)]
}

/// As [`error_at`], about a number that has to be another one.
pub fn number_wanted(
    node: &Node,
    key: &str,
    message: impl Into<String>,
    right: usize,
) -> Diagnostics {
    let help = format!("write {key}={right}");
    let errors = error_at(node, key, message, &help).into_iter();
    let mended = errors.map(|error| match node.get(key) {
        Some(value) => error.fix(
            &value.origin,
            right.to_string(),
            format!("Write {key}={right}"),
        ),
        None => error,
    });
    mended.collect()
}

/// As [`error_at`], about something that the original has and we do not yet: the config may be right.
pub fn unsupported(node: &Node, key: &str, message: impl Into<String>, help: &str) -> Diagnostics {
    let mut problems = error_at(node, key, message, help);
    problems.iter_mut().for_each(|p| p.kind = Kind::Unsupported);
    problems
}

#[cfg(test)]
mod tests {
    use super::super::source::{Source, Span};
    use super::*;

    fn origin(name: &str, text: &str, part: &str) -> Origin {
        let start = text.find(part).unwrap() as u32;
        let end = start + part.len() as u32;
        let source = Source::new(name, text, SourceKind::File);
        Origin::new(&source, Span { start, end })
    }

    #[test]
    fn renders_line_caret_chain_and_help() {
        let place = origin(
            "base.py",
            "a = 1\nneck = dict(x=[512, 1024])\n",
            "[512, 1024]",
        );
        let entry = origin("child.py", "_base_ = 'base.py'", "'base.py'");
        let mut error = Diagnostic::error("`x` has 2 entries, not 3")
            .at(&place, "2 entries")
            .help("give 3 numbers");
        error.chain.push(entry);
        let expected = "\
error: `x` has 2 entries, not 3
 --> base.py:2:15
2 | neck = dict(x=[512, 1024])
  |               ^^^^^^^^^^^ 2 entries
  = base chain: child.py:1 -> base.py
help: give 3 numbers";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("x = '{}' + oops", "a".repeat(5000));
        let error = Diagnostic::error("no `oops`").at(&origin("a.py", &text, "oops"), "");
        let text = error.to_string();
        assert!(text.lines().all(|l| l.len() < 160), "{text}");
        assert!(text.contains("oops") && text.contains("..."));
    }

    #[test]
    fn values_are_cut_and_advice_is_not() {
        let list = "name, ".repeat(100);
        let long = "x".repeat(1000);
        let error =
            Diagnostic::error(format!("no `{long}` here")).help(format!("known are {list}"));
        assert_eq!(error.message.len(), "no `` here".len() + 200 + 3);
        assert_eq!(error.help, Some(format!("known are {list}")));
        assert!(Diagnostic::error(long.repeat(9)).message.len() < 4100);
        assert_eq!(
            cut(&"é".repeat(20), 16),
            format!("{}...{}", "é".repeat(14), "é".repeat(2))
        );
    }

    #[test]
    fn invisible_characters_are_shown_and_the_caret_fits() {
        let place = origin("a.py", "x\u{A0}= 'a\u{200B}' + oops", "oops");
        let error = Diagnostic::error("no a\u{200B}").at(&place, "");
        let expected = "\
error: no a<U+200B>
 --> a.py:1:12
1 | x<U+00A0>= 'a<U+200B>' + oops
  |                          ^^^^";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_name_is_put_in_the_place_of_another_and_keeps_its_quotes() {
        let text = "a(type='FPNN', in_chanels=[1])";
        let fixed = |part: &str, name: &str| {
            let error = Diagnostic::error("").use_name(&origin("a.py", text, part), name);
            let fixes = error.fixes().iter().cloned();
            let fixes = fixes.map(|fix| (fix.text, fix.label));
            fixes.collect::<Vec<_>>()
        };
        let fix = |text: &str, label: &str| vec![(text.to_owned(), label.to_owned())];
        assert_eq!(fixed("'FPNN'", "FPN"), fix("'FPN'", "Use FPN"));
        assert_eq!(
            fixed("in_chanels", "in_channels"),
            fix("in_channels", "Use in_channels")
        );
        assert!(fixed("[1]", "x").is_empty(), "that is no name");
        let made = Diagnostic::error("").fix(&Origin::command_line("a=1"), "b", "Use b");
        assert!(made.fixes().is_empty(), "there is no text to change");
    }

    #[test]
    fn the_command_line_is_shown_as_it_was_typed() {
        let error = Diagnostic::error("no").at(&Origin::command_line("a.b=1"), "here");
        assert_eq!(
            error.to_string(),
            "error: no\n --> --cfg-options a.b=1 (here)"
        );
    }
}
