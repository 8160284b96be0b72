//! JSON as Python's `json` module reads it, with the place of each value.

use super::characters::{advice, named};
use super::diagnostic::{Diagnostic, Kind};
use super::eval::{NESTING, NODES};
use super::source::{Origin, Source, Span};
use super::substitute::{Text, with_data};
use super::value::{Dict, Entry, Key, Node, Value};
use std::sync::Arc;

/// Parses a JSON text. Beside the standard, `NaN`, `Infinity` and `-Infinity` are read, as Python does.
pub fn parse(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    parse_text(source, &Text::plain(source))
}

pub(crate) fn parse_text(source: &Arc<Source>, text: &Text<'_>) -> Result<Node, Diagnostic> {
    let mut reader = Reader {
        source,
        map: text,
        text: &text.text,
        at: 0,
        left: NODES,
    };
    reader.space();
    let node = reader.value(NESTING)?;
    reader.space();
    if reader.at < reader.text.len() {
        return Err(reader.unexpected("the text goes on behind its value"));
    }
    Ok(node)
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    map: &'a Text<'a>,
    text: &'a str,
    at: usize,
    /// Values that there may still be.
    left: usize,
}

impl Reader<'_> {
    fn origin(&self, start: usize, end: usize) -> Origin {
        let span = Span {
            start: self.map.original(start as u32),
            end: self.map.original(end as u32),
        };
        Origin::new(self.source, span)
    }

    fn wrong(&self, message: impl Into<String>) -> Diagnostic {
        let origin = self.origin(self.at, (self.at + 1).min(self.text.len()));
        Diagnostic::error(message)
            .kind(Kind::Syntax)
            .at(&origin, "")
    }

    /// Something else was expected here; a character that only looks right is named.
    fn unexpected(&self, message: &str) -> Diagnostic {
        match self.text[self.at..].chars().next() {
            None if self.text.trim().is_empty() => {
                self.wrong(format!("{message}, but the file is empty"))
            }
            Some(c) if !c.is_ascii_graphic() => {
                let error = self.wrong(format!("{message}, found the character {}", named(c)));
                match advice(c, self.text) {
                    Some(help) => error.help(help),
                    None => error,
                }
            }
            _ => self.wrong(message),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Diagnostic> {
        if self.byte() != Some(byte) {
            return Err(self.unexpected(&format!("`{}` was expected here", byte as char)));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, Diagnostic> {
        let start = self.at;
        let Some(left) = self.left.checked_sub(1) else {
            return Err(self
                .wrong(format!("this text has more than {NODES} values"))
                .kind(Kind::Limit));
        };
        self.left = left;
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.wrong("this text is nested too deep").kind(Kind::Limit));
        };
        let value = match self.byte() {
            Some(b'{') => Value::Dict(self.object(depth)?),
            Some(b'[') => Value::List(Arc::new(self.array(depth)?)),
            Some(b'"') => Value::Str(self.string()?),
            Some(b'-' | b'0'..=b'9') if !self.text[start..].starts_with("-Infinity") => {
                self.number()?
            }
            _ => {
                let words = [
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                    ("null", Value::None),
                    ("NaN", Value::Float(f64::NAN)),
                    ("Infinity", Value::Float(f64::INFINITY)),
                    ("-Infinity", Value::Float(f64::NEG_INFINITY)),
                ];
                let found = words
                    .into_iter()
                    .find(|(w, _)| self.text[start..].starts_with(w));
                let Some((word, value)) = found else {
                    let error = self.unexpected("a value was expected here");
                    return Err(match self.byte() {
                        Some(b'\'') => error.help("JSON has double quotes only"),
                        Some(b'}' | b']') => error.help("JSON has no comma behind the last item"),
                        Some(b'/' | b'#') => error.help("JSON has no comments"),
                        _ => error,
                    });
                };
                self.at += word.len();
                value
            }
        };
        let origin = self.origin(start, self.at);
        Ok(Node { value, origin })
    }

    fn object(&mut self, depth: usize) -> Result<Dict, Diagnostic> {
        self.at += 1;
        let mut entries = indexmap::IndexMap::new();
        self.space();
        while self.byte() != Some(b'}') {
            let start = self.at;
            if self.byte() != Some(b'"') {
                let error = self.unexpected("a key in double quotes was expected here");
                return Err(match self.byte() {
                    Some(b'}') => error.help("JSON has no comma behind the last item"),
                    Some(b'\'') => error.help("JSON has double quotes only"),
                    _ => error,
                });
            }
            let name = self.string()?;
            let key = self.origin(start, self.at);
            if name.len() > Key::LONGEST {
                let message = format!("a key of more than {} bytes", Key::LONGEST);
                return Err(Diagnostic::error(message).kind(Kind::Limit).at(&key, ""));
            }
            let name = Key::Str(name);
            self.space();
            self.expect(b':')?;
            self.space();
            let node = self.value(depth)?;
            entries.insert(name, Entry { node, key });
            self.space();
            if self.byte() != Some(b',') {
                break;
            }
            self.at += 1;
            self.space();
            if self.byte() == Some(b'}') {
                return Err(self
                    .wrong("a key was expected here")
                    .help("JSON has no comma behind the last item"));
            }
        }
        self.expect(b'}')?;
        Ok(entries.into_iter().collect())
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node>, Diagnostic> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.byte() == Some(b']') {
            self.at += 1;
            return Ok(items);
        }
        loop {
            self.space();
            items.push(self.value(depth)?);
            self.space();
            if self.byte() != Some(b',') {
                break;
            }
            self.at += 1;
        }
        self.expect(b']')?;
        Ok(items)
    }

    fn number(&mut self) -> Result<Value, Diagnostic> {
        let start = self.at;
        let digits = |this: &mut Self| {
            let from = this.at;
            while this.byte().is_some_and(|b| b.is_ascii_digit()) {
                this.at += 1;
            }
            this.at > from
        };
        self.at += usize::from(self.byte() == Some(b'-'));
        let first = self.byte();
        let from = self.at;
        if !digits(self) || (first == Some(b'0') && self.at > from + 1) {
            self.at = start;
            return Err(self.wrong("this is no number of JSON"));
        }
        let mut float = false;
        if self.byte() == Some(b'.') {
            float = true;
            self.at += 1;
            if !digits(self) {
                return Err(self.wrong("a digit was expected here"));
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            float = true;
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            if !digits(self) {
                return Err(self.wrong("a digit was expected here"));
            }
        }
        let text = &self.text[start..self.at];
        if float {
            return text
                .parse()
                .map(Value::Float)
                .map_err(|_| self.wrong("this is no number"));
        }
        text.parse().map(Value::Int).map_err(|_| {
            let origin = self.origin(start, self.at);
            Diagnostic::error("this integer does not fit in 64 bits")
                .kind(Kind::Overflow)
                .at(&origin, "")
        })
    }

    fn string(&mut self) -> Result<Arc<str>, Diagnostic> {
        self.at += 1;
        let start = self.at;
        // Most strings have no escapes and are taken as they are.
        let rest = &self.text.as_bytes()[start..];
        let plain = rest
            .iter()
            .take_while(|b| !matches!(b, b'"' | b'\\' | 0..0x20))
            .count();
        if rest.get(plain) == Some(&b'"') {
            self.at += plain + 1;
            let text = &self.text[start..start + plain];
            return Ok(with_data(text, text.into()).into());
        }
        let mut out = String::new();
        loop {
            let Some(c) = self.text[self.at..].chars().next() else {
                self.at = start - 1;
                return Err(self.wrong("this string is not closed"));
            };
            match c {
                '"' => break,
                '\\' => out.push(self.escape()?),
                c if (c as u32) < 0x20 => {
                    return Err(
                        self.wrong("a control character in a string is written as an escape")
                    );
                }
                c => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        let written = &self.text[start..self.at];
        self.at += 1;
        Ok(with_data(written, out.into()).into())
    }

    fn escape(&mut self) -> Result<char, Diagnostic> {
        self.at += 1;
        let c = self.byte();
        let simple = match c {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                let code = if (0xD800..0xDC00).contains(&first)
                    && self.text[self.at..].starts_with("\\u")
                {
                    self.at += 1;
                    let second = self.hex()?;
                    0x10000 + ((first - 0xD800) << 10) + (second.wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    first
                };
                return char::from_u32(code)
                    .ok_or_else(|| self.wrong("this escape is no character"));
            }
            _ => return Err(self.wrong("this is no escape of JSON")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// The four digits behind the `u` at which the reader stands.
    fn hex(&mut self) -> Result<u32, Diagnostic> {
        let digits = self.text.get(self.at + 1..self.at + 5);
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.ok_or_else(|| self.wrong("four hexadecimal digits were expected here"))?;
        self.at += 5;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceKind;
    use super::*;

    fn read(text: &str) -> Result<Node, Diagnostic> {
        parse(&Source::new("a.json", text, SourceKind::File))
    }

    #[test]
    fn values_keep_type_order_and_place() {
        let node =
            read(r#"{"b": 1, "a": [1.0, -2, true, null, NaN], "b": "x\u00e9\ud83d\ude00\n"}"#)
                .unwrap();
        let names: Vec<_> = node.as_dict().unwrap().names().collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(node.get("b").unwrap().as_str(), Some("xé😀\n"));
        assert_eq!(node.at("a.0").unwrap().type_name(), "float");
        assert_eq!(node.at("a.1").unwrap().as_int(), Some(-2));
        assert_eq!(node.at("a").unwrap().origin.column(), 15);
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, column) in [
            ("{\"a\": 1,}", 9),
            ("{'a': 1}", 2),
            ("[1, 2", 6),
            ("[01]", 2),
            ("\"a", 1),
            ("[1] 2", 5),
            ("[\"\\x\"]", 4),
            ("", 1),
            ("{\"a\" 1}", 6),
            ("[tru]", 2),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.labels[0].0.column(), column, "{text}: {error}");
        }
        assert_eq!(
            read("99999999999999999999").unwrap_err().kind,
            Kind::Overflow
        );
        assert_eq!(read(&"[".repeat(100_000)).unwrap_err().kind, Kind::Limit);
    }
}
