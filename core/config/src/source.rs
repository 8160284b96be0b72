//! Where a value was written: a source text and a span in it.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// What kind of text a [`Source`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A config file, or text given in its place.
    File,
    /// One `key=value` of `--cfg-options`.
    CommandLine,
    /// A value that the program made; there is no text to show.
    Made,
}

/// One text in which values are written.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    kind: SourceKind,
    lines: OnceLock<Vec<u32>>,
    /// Characters before each [`BLOCK`] of bytes, so that a column in a long line is not counted from its beginning.
    characters: OnceLock<Vec<u32>>,
}

/// Bytes.
const BLOCK: usize = 512;

impl Source {
    /// A source with the name that messages show and its text as read, but for a byte-order mark.
    pub fn new(name: impl Into<String>, text: impl Into<String>, kind: SourceKind) -> Arc<Self> {
        let mut text = text.into();
        if text.starts_with('\u{FEFF}') {
            text.remove(0);
        }
        Arc::new(Self {
            name: name.into(),
            text,
            kind,
            lines: OnceLock::new(),
            characters: OnceLock::new(),
        })
    }

    /// The file's path as messages show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text as read, before any `{{...}}` was replaced.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What kind of text this is.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Byte offsets at which lines start; made on first use, as only messages need them.
    fn line_starts(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let breaks = self.text.bytes().enumerate();
            std::iter::once(0)
                .chain(
                    breaks
                        .filter(|(_, b)| *b == b'\n')
                        .map(|(i, _)| i as u32 + 1),
                )
                .collect()
        })
    }
}

impl Source {
    /// Characters that begin before a byte.
    fn characters_before(&self, at: usize) -> usize {
        let begins = |byte: &u8| *byte & 0xC0 != 0x80;
        let bytes = self.text.as_bytes();
        let blocks = self.characters.get_or_init(|| {
            let counts = bytes.chunks(BLOCK).scan(0, |before, block| {
                let count = block.iter().filter(|b| begins(b)).count() as u32;
                Some(std::mem::replace(before, *before + count))
            });
            counts.collect()
        });
        let block = (at / BLOCK).min(blocks.len().saturating_sub(1));
        let rest = bytes.get(block * BLOCK..at).unwrap_or_default();
        let before = blocks.get(block).copied().unwrap_or(0) as usize;
        before + rest.iter().filter(|b| begins(b)).count()
    }
}

/// A byte range of the text that is being parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(crate) fn to(self, end: Span) -> Span {
        Span {
            start: self.start,
            end: end.end.max(self.end),
        }
    }
}

/// The place where a value was written. Cheap to clone.
#[derive(Clone)]
pub struct Origin {
    source: Arc<Source>,
    start: u32,
    end: u32,
}

impl Origin {
    pub(crate) fn new(source: &Arc<Source>, span: Span) -> Self {
        Self {
            source: source.clone(),
            start: span.start,
            end: span.end,
        }
    }

    /// The place of a value that no text holds, for example one made by a program.
    pub fn made(by: &str) -> Self {
        Self::new(&Source::new(by, "", SourceKind::Made), Span::default())
    }

    /// The place of a value given on the command line as `text`.
    pub fn command_line(text: &str) -> Self {
        let source = Source::new("--cfg-options", text, SourceKind::CommandLine);
        let end = text.len() as u32;
        Self::new(&source, Span { start: 0, end })
    }

    /// The source text in which the value stands.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The file's path as messages show it.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// The bytes of the source text that say the value.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The offset behind the value.
    pub(crate) fn end(&self) -> usize {
        self.end as usize
    }

    /// Line, counted from 1.
    pub fn line(&self) -> usize {
        self.source
            .line_starts()
            .partition_point(|s| *s <= self.start)
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> usize {
        let (line, here) = (self.line_start(), self.start as usize);
        let before = |at: usize| self.source.characters_before(at);
        before(here.min(self.source.text.len())) - before(line) + 1
    }

    /// The text of the line on which the value begins.
    pub fn line_text(&self) -> &str {
        let rest = self.source.text.get(self.line_start()..).unwrap_or("");
        rest.lines().next().unwrap_or("")
    }

    /// The text from which the value was made, for example `[256, 512]`.
    pub fn text(&self) -> &str {
        let range = self.start as usize..self.end as usize;
        self.source.text.get(range).unwrap_or("")
    }

    fn line_start(&self) -> usize {
        let starts = self.source.line_starts();
        starts[self.line().max(1) - 1] as usize
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source.kind {
            SourceKind::File => write!(f, "{}:{}:{}", self.file(), self.line(), self.column()),
            SourceKind::CommandLine => write!(f, "--cfg-options {}", self.source.text),
            SourceKind::Made => write!(f, "<{}>", self.file()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let source = Source::new("a.py", "x = 1\né = [2, 3]\n", SourceKind::File);
        let origin = Origin::new(&source, Span { start: 11, end: 17 });
        assert_eq!((origin.line(), origin.column()), (2, 5));
        assert_eq!(origin.text(), "[2, 3]");
        assert_eq!(origin.line_text(), "é = [2, 3]");
        assert_eq!(origin.to_string(), "a.py:2:5");
        let text = format!("x = 1\n{}", "é".repeat(2000));
        let source = Source::new("a.py", text, SourceKind::File);
        for n in [0, 1, 255, 256, 257, 1999, 2000] {
            let start = 6 + 2 * n;
            let origin = Origin::new(&source, Span { start, end: start });
            assert_eq!((origin.line(), origin.column()), (2, n as usize + 1));
        }
    }

    #[test]
    fn a_made_origin_has_no_text_and_does_not_panic() {
        let origin = Origin::made("default");
        assert_eq!((origin.line(), origin.column()), (1, 1));
        assert_eq!(origin.to_string(), "<default>");
        assert_eq!(origin.line_text(), "");
    }
}
