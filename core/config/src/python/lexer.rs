//! Text to tokens.

use super::super::characters::{advice, named};
use super::super::source::Span;
use super::super::substitute::with_data;
use super::super::value::Key;
use super::strings::unescape;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok<'t> {
    Name(&'t str),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    /// An f-string: offsets of its body, and whether it is raw.
    Format(usize, usize, bool),
    Op(&'static str),
    Newline,
    Indent,
    Dedent,
    End,
}

/// A token with its byte range in the text.
#[derive(Clone, Debug)]
pub(super) struct Token<'t> {
    pub tok: Tok<'t>,
    pub span: Span,
}

/// What is wrong with the text, and where.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub message: String,
    pub span: Span,
    pub help: Option<String>,
    /// Where a comma would mend it.
    pub comma: Option<usize>,
    /// Whether a limit of ours was met, rather than Python's grammar broken.
    pub kind: super::super::diagnostic::Kind,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, start: usize, end: usize) -> Self {
        let span = span(start, end);
        Self {
            message: message.into(),
            span,
            help: None,
            comma: None,
            kind: super::super::diagnostic::Kind::Syntax,
        }
    }
}

/// An escape that is none, at `at` in the literal's body that begins at `body`.
pub(super) fn bad_escape(text: &str, body: usize, (at, message): (usize, &'static str)) -> Wrong {
    let start = body + at;
    let mut wrong = Wrong::new(message, start, start + 2);
    if let Some(escape) = text.get(start..start + 2) {
        wrong.help = Some(format!(
            "`{escape}` begins an escape of Python: a path is written r'C:\\folder', 'C:/folder' or 'C:\\\\folder'"
        ));
    }
    wrong
}

pub(super) fn span(start: usize, end: usize) -> Span {
    Span {
        start: start as u32,
        end: end as u32,
    }
}

/// Longest first, so that `**=` is not read as `**`.
const OPERATORS: [&str; 47] = [
    "**=", "//=", "<<=", ">>=", "...", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "->", ":=",
    "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "+", "-", "*", "/", "%", "@", "&", "|",
    "^", "~", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", ".", ";", "=",
];

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    end: usize,
    /// Open brackets with their places; newlines do not count within them.
    open: Vec<(u8, usize)>,
    indents: Vec<usize>,
    tokens: Vec<Token<'t>>,
}

/// The tokens of a whole file.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut lexer = Lexer {
        text,
        at: 0,
        end: text.len(),
        open: Vec::new(),
        indents: vec![0],
        tokens: Vec::with_capacity(text.len() / 5),
    };
    lexer.file()?;
    Ok(lexer.tokens)
}

/// The tokens of an expression within a text, as in an f-string's braces: newlines do not count.
pub(super) fn expression_tokens(
    text: &str,
    start: usize,
    end: usize,
) -> Result<Vec<Token<'_>>, Wrong> {
    let mut lexer = Lexer {
        text,
        at: start,
        end,
        open: vec![(b'{', start)],
        indents: vec![0],
        tokens: Vec::new(),
    };
    while lexer.token()? {}
    lexer.push(Tok::End, end);
    Ok(lexer.tokens)
}

impl<'t> Lexer<'t> {
    fn push(&mut self, tok: Tok<'t>, start: usize) {
        let span = span(start, self.at);
        self.tokens.push(Token { tok, span });
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes()[..self.end].get(self.at).copied()
    }

    fn file(&mut self) -> Result<(), Wrong> {
        loop {
            self.indentation()?;
            while self.token()? {}
            if self.byte().is_none() {
                break;
            }
            self.at += 1;
            self.push(Tok::Newline, self.at - 1);
        }
        if let Some((bracket, start)) = self.open.last() {
            let message = format!("this `{}` is not closed", *bracket as char);
            return Err(Wrong::new(message, *start, start + 1));
        }
        let ended = self
            .tokens
            .last()
            .is_none_or(|t| matches!(t.tok, Tok::Newline | Tok::Dedent));
        if !ended {
            self.push(Tok::Newline, self.at);
        }
        for _ in 1..self.indents.len() {
            self.push(Tok::Dedent, self.at);
        }
        self.push(Tok::End, self.at);
        Ok(())
    }

    /// Skips empty lines, then compares the indentation of the next one with the block's.
    fn indentation(&mut self) -> Result<(), Wrong> {
        let (mut width, mut line) = (0, self.at);
        loop {
            match self.byte() {
                Some(b' ') => width += 1,
                Some(b'\t') => width = (width / 8 + 1) * 8,
                Some(b'\x0c') => width = 0,
                Some(b'\n' | b'\r') => {
                    width = 0;
                    line = self.at + 1;
                }
                Some(b'#') => {
                    self.comment();
                    continue;
                }
                _ => break,
            }
            self.at += 1;
        }
        if self.byte().is_none() {
            return Ok(());
        }
        let current = self.indents.last().copied().unwrap_or(0);
        if width > current {
            if self.indents.len() > 50 {
                return Err(Wrong::new("blocks are nested too deep", line, self.at));
            }
            self.indents.push(width);
            self.push(Tok::Indent, line);
        }
        while width < self.indents.last().copied().unwrap_or(0) {
            self.indents.pop();
            self.push(Tok::Dedent, line);
        }
        if width != self.indents.last().copied().unwrap_or(0) {
            return Err(Wrong::new(
                "this indentation fits no line above",
                line,
                self.at,
            ));
        }
        Ok(())
    }

    fn comment(&mut self) {
        let rest = &self.text.as_bytes()[self.at..self.end];
        self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }

    /// Reads one token; false at the end of the logical line or text.
    fn token(&mut self) -> Result<bool, Wrong> {
        loop {
            match self.byte() {
                None => return Ok(false),
                Some(b' ' | b'\t' | b'\r' | b'\x0c') => self.at += 1,
                Some(b'#') => self.comment(),
                Some(b'\n') if self.open.is_empty() => return Ok(false),
                Some(b'\n') => self.at += 1,
                Some(b'\\') => {
                    let rest = &self.text[self.at + 1..self.end];
                    let newline = ["\r\n", "\n"].iter().find(|n| rest.starts_with(**n));
                    let Some(newline) = newline else {
                        let message = "after `\\` only the end of the line may follow";
                        return Err(Wrong::new(message, self.at, self.at + 1));
                    };
                    self.at += 1 + newline.len();
                }
                Some(_) => break,
            }
        }
        let start = self.at;
        let byte = self.byte().unwrap_or(0);
        let next = self.text.as_bytes().get(start + 1).copied().unwrap_or(0);
        if byte.is_ascii_digit() || (byte == b'.' && next.is_ascii_digit()) {
            self.number()?;
        } else if byte == b'\'' || byte == b'"' {
            self.string("")?;
        } else if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 128 {
            self.word()?;
        } else {
            self.operator()?;
        }
        Ok(true)
    }

    /// The character at `at` has no place in Python.
    fn stray(&self, at: usize) -> Wrong {
        let c = self.text[at..].chars().next().unwrap_or(' ');
        let message = format!("the character {} is no Python", named(c));
        let mut wrong = Wrong::new(message, at, at + c.len_utf8());
        wrong.help = advice(c, self.text);
        wrong
    }

    fn word(&mut self) -> Result<(), Wrong> {
        let (start, rest) = (self.at, &self.text[self.at..self.end]);
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let word = &rest[..length.unwrap_or(rest.len())];
        let Some(first) = rest.chars().next().filter(|_| !word.is_empty()) else {
            return Err(self.stray(start));
        };
        debug_assert!(first.is_alphabetic() || first == '_' || !first.is_ascii());
        // Python takes `ａ` for `a`, which nobody means; and no number of another script begins a name.
        let wide = |c: char| ('\u{FF01}'..='\u{FF5E}').contains(&c);
        if let Some((i, _)) = word.char_indices().find(|(_, c)| wide(*c)) {
            return Err(self.stray(start + i));
        }
        if first.is_numeric() {
            return Err(self.stray(start));
        }
        if word.len() > Key::LONGEST {
            let message = format!("a name of more than {} bytes", Key::LONGEST);
            return Err(Wrong::new(message, start, start + word.len()));
        }
        self.at += word.len();
        let prefix = word.len() <= 2 && word.bytes().all(|b| b"rRbBuUfF".contains(&b));
        if prefix && matches!(self.byte(), Some(b'\'' | b'"')) {
            self.at = start;
            return self.string(word);
        }
        self.push(Tok::Name(word), start);
        Ok(())
    }

    fn string(&mut self, prefix: &str) -> Result<(), Wrong> {
        let start = self.at;
        let lower = prefix.to_ascii_lowercase();
        if lower.contains('b') {
            return Err(Wrong::new(
                "a config has no byte strings",
                start,
                start + prefix.len() + 1,
            ));
        }
        let (raw, format) = (lower.contains('r'), lower.contains('f'));
        let open = start + prefix.len();
        let bytes = &self.text.as_bytes()[..self.end];
        let quote = bytes[open];
        let triple = bytes.get(open + 1) == Some(&quote) && bytes.get(open + 2) == Some(&quote);
        let length = if triple { 3 } else { 1 };
        let body = open + length;
        let mut at = body;
        loop {
            match bytes.get(at) {
                Some(b'\\') if bytes[at + 1..].starts_with(b"\r\n") => at += 3,
                Some(b'\\') => at += 2,
                Some(b'\n') if !triple => break at = usize::MAX,
                Some(b) if *b == quote => {
                    if !triple || bytes[at..].starts_with(&[quote; 3]) {
                        break;
                    }
                    at += 1;
                }
                Some(_) => at += 1,
                None => break at = usize::MAX,
            }
        }
        if at == usize::MAX {
            let mut wrong = Wrong::new("this string is not closed", start, body);
            let line = self.text[start..].lines().next().unwrap_or("");
            if line.contains(&format!("\\{}", quote as char)) {
                wrong.help = Some(
                    "a `\\` before a quote makes the quote part of the text: leave it out, or write `/` or `\\\\`"
                        .into(),
                );
            }
            return Err(wrong);
        }
        self.at = at + length;
        if format {
            self.push(Tok::Format(body, at, raw), start);
            return Ok(());
        }
        let written = &self.text[body..at];
        let value = unescape(written, raw).map_err(|wrong| bad_escape(self.text, body, wrong))?;
        self.push(Tok::Str(with_data(written, value).into()), start);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        let bytes = &self.text.as_bytes()[..self.end];
        let digits = |from: usize| {
            let rest = bytes[from..].iter();
            from + rest
                .take_while(|b| b.is_ascii_digit() || **b == b'_')
                .count()
        };
        let radix = match bytes.get(start + 1).map(u8::to_ascii_lowercase) {
            Some(b'x') if bytes[start] == b'0' => 16,
            Some(b'o') if bytes[start] == b'0' => 8,
            Some(b'b') if bytes[start] == b'0' => 2,
            _ => 10,
        };
        let mut end = digits(start);
        let mut float = false;
        if radix == 10 {
            if bytes.get(end) == Some(&b'.') {
                float = true;
                end = digits(end + 1);
            }
            if matches!(bytes.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
                if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                    float = true;
                    end = digits(end + 1 + sign);
                }
            }
        } else {
            let rest = bytes[start + 2..].iter();
            end = start
                + 2
                + rest
                    .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
                    .count();
        }
        let tail = bytes[end..].iter();
        let tail = tail
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let text = &self.text[start..end];
        // `1if x else 2` is Python too, with a warning; only letters that make the number another one are refused.
        if tail > 0
            && !["if", "else", "and", "or", "in", "is", "for"]
                .contains(&&self.text[end..end + tail])
        {
            let message = if &self.text[end..end + tail] == "j" {
                "a config has no complex numbers"
            } else {
                "this is no number"
            };
            return Err(Wrong::new(message, start, end + tail));
        }
        self.at = end;
        if text.ends_with('_') || text.contains("__") {
            return Err(Wrong::new("this is no number", start, end));
        }
        let plain = text.replace('_', "");
        if float {
            let value = plain
                .parse()
                .map_err(|_| Wrong::new("this is no number", start, end))?;
            self.push(Tok::Float(value), start);
            return Ok(());
        }
        if radix == 10
            && plain.len() > 1
            && plain.starts_with('0')
            && plain.bytes().any(|b| b != b'0')
        {
            let mut wrong = Wrong::new("a decimal number has no leading zeros", start, end);
            wrong.help = Some("octal numbers are written `0o17`".into());
            return Err(wrong);
        }
        let digits = if radix == 10 {
            plain.as_str()
        } else {
            &plain[2..]
        };
        match i64::from_str_radix(digits, radix) {
            Ok(value) => self.push(Tok::Int(value), start),
            Err(e) if *e.kind() == std::num::IntErrorKind::PosOverflow => {
                let mut wrong = Wrong::new("this integer does not fit in 64 bits", start, end);
                wrong.kind = super::super::diagnostic::Kind::Overflow;
                return Err(wrong);
            }
            Err(_) => return Err(Wrong::new("this is no number", start, end)),
        }
        Ok(())
    }

    fn operator(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        let rest = &self.text[start..self.end];
        let first = rest.as_bytes()[0];
        let fits = |o: &&&str| o.as_bytes()[0] == first && rest.starts_with(**o);
        let Some(operator) = OPERATORS.iter().find(fits) else {
            return Err(self.stray(start));
        };
        self.at += operator.len();
        match *operator {
            "(" | "[" | "{" => self.open.push((operator.as_bytes()[0], start)),
            ")" | "]" | "}" => {
                let fits = match self.open.pop() {
                    Some((b'(', _)) => *operator == ")",
                    Some((b'[', _)) => *operator == "]",
                    Some(_) => *operator == "}",
                    None => false,
                };
                if !fits {
                    let message = format!("this `{operator}` closes nothing");
                    return Err(Wrong::new(message, start, self.at));
                }
            }
            _ => {}
        }
        self.push(Tok::Op(operator), start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toks(text: &str) -> Vec<Tok<'_>> {
        tokens(text).unwrap().into_iter().map(|t| t.tok).collect()
    }

    #[test]
    fn numbers_of_all_forms() {
        let given = "1 1_000 0xFF 0o17 0b101 1. .5 1e-3 1_0.5e+2 00";
        let numbers: Vec<_> = toks(given).into_iter().take(10).collect();
        use Tok::*;
        let expected = [
            Int(1),
            Int(1000),
            Int(255),
            Int(15),
            Int(5),
            Float(1.0),
            Float(0.5),
            Float(1e-3),
            Float(1050.0),
            Int(0),
        ];
        assert_eq!(numbers, expected);
        for bad in [
            "1_",
            "0x",
            "1__0",
            "012",
            "1abc",
            "1j",
            "0b12",
            "9223372036854775808",
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn blocks_and_joined_lines() {
        use Tok::*;
        let blocks: Vec<_> = toks("if x:\n  y\n\n# c\nz\\\n+1").into_iter().collect();
        let expected = [
            Name("if"),
            Name("x"),
            Op(":"),
            Newline,
            Indent,
            Name("y"),
            Newline,
            Dedent,
            Name("z"),
            Op("+"),
            Int(1),
            Newline,
            End,
        ];
        assert_eq!(blocks, expected);
        let inside = toks("(1,\n 2)");
        assert!(!inside[..inside.len() - 2].contains(&Newline));
    }

    #[test]
    fn what_is_not_closed_is_shown_where_it_opens() {
        let at = |text| tokens(text).unwrap_err().span.start;
        assert_eq!(at("x = (1,\n"), 4);
        assert_eq!(at("x = 'a\n'"), 4);
        assert_eq!(at("x = (]"), 5);
        assert_eq!(at("x = 'a' \\ b"), 8);
        assert_eq!(at("x = '''a"), 4);
        assert_eq!(at("x = $"), 4);
    }
}
