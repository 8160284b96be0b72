//! A pull reader of JSON for files that are larger than memory should be: no tree, one buffer, no recursion.
//!
//! Takes what Python's `json` takes: also `NaN` and `Infinity`, which other readers refuse, so that one bad number does not lose the file.
//! What is skipped is not checked, except that brackets and strings end.

use std::fmt;
use std::io::Read;

use smalti_config::{named_character, not_utf8, other_kind};

/// Bytes read at once.
const BUFFER: usize = 1 << 18;
/// Longest number or text; a longer one is no annotation.
const LONGEST: usize = 1 << 24;
/// More bytes than a short number has.
const SHORT: usize = 24;
/// 10^0 to 10^15, which f64 has exactly.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Why a text is no JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Bytes before it.
    pub at: u64,
    /// What was expected or what failed.
    pub what: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            0 => f.write_str(&self.what),
            at => write!(f, "{} at byte {at}", self.what),
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, JsonError>;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Object,
    Array,
    Text,
    Number,
    True,
    False,
    Null,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Next::Object => "an object",
            Next::Array => "a list",
            Next::Text => "a text",
            Next::Number => "a number",
            Next::True => "true",
            Next::False => "false",
            Next::Null => "null",
        })
    }
}

/// A number as Python would have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    /// An integer of more than 64 bits; [`Json::digits`] has all of them.
    Big(f64),
    Float(f64),
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Big(x) | Number::Float(x) => x,
        }
    }
}

/// The reader. Containers are walked with `enter_*` and `key` or `item`, which say false where the container ends.
pub(crate) struct Json<R> {
    input: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// Bytes that were in the buffer before.
    before: u64,
    /// A container was entered and nothing of it was read.
    fresh: bool,
    scratch: Vec<u8>,
    /// The last number that was not short.
    digits: String,
}

impl<R: Read> Json<R> {
    pub fn new(input: R) -> Result<Self> {
        let mut json = Self {
            input,
            buffer: vec![0; BUFFER].into(),
            at: 0,
            end: 0,
            before: 0,
            fresh: false,
            scratch: Vec::new(),
            digits: String::new(),
        };
        let first = json.look()?;
        if let Some(other) = other_kind(&json.buffer[..json.end]) {
            return json.fail(other.to_string());
        }
        if first == Some(smalti_config::text_file::MARK[0]) {
            for byte in smalti_config::text_file::MARK {
                json.expect(byte)?;
            }
        }
        Ok(json)
    }

    pub fn next(&mut self) -> Result<Next> {
        Ok(match self.solid()? {
            b'{' => Next::Object,
            b'[' => Next::Array,
            b'"' => Next::Text,
            b't' => Next::True,
            b'f' => Next::False,
            b'n' => Next::Null,
            b'-' | b'0'..=b'9' | b'N' | b'I' => Next::Number,
            _ => {
                let found = self.found()?;
                return self.fail(format!("a value was expected, found {found}"));
            }
        })
    }

    pub fn enter_object(&mut self) -> Result<()> {
        self.solid()?;
        self.expect(b'{')?;
        self.fresh = true;
        Ok(())
    }

    pub fn enter_array(&mut self) -> Result<()> {
        self.solid()?;
        self.expect(b'[')?;
        self.fresh = true;
        Ok(())
    }

    /// Whether the array has one more item, which is next.
    pub fn item(&mut self) -> Result<bool> {
        self.another(b']')
    }

    /// The next key as its index in `names` (their number, if it is none of them); `None` at the object's end.
    pub fn key(&mut self, names: &[&str]) -> Result<Option<usize>> {
        if !self.another(b'}')? {
            return Ok(None);
        }
        let mut name = std::mem::take(&mut self.scratch);
        let read = self.bytes_of_text(&mut name);
        let index = names.iter().position(|n| n.as_bytes() == name);
        self.scratch = name;
        read?;
        self.solid()?;
        self.expect(b':')?;
        Ok(Some(index.unwrap_or(names.len())))
    }

    /// A number; any other value is skipped.
    pub fn number(&mut self) -> Result<Option<Number>> {
        if self.next()? != Next::Number {
            self.skip()?;
            return Ok(None);
        }
        if self.end - self.at < SHORT {
            self.fill()?;
        }
        match short_number(&self.buffer[self.at..self.end]) {
            Some((number, length)) => {
                self.at += length;
                Ok(Some(number))
            }
            None => self.long_number().map(Some),
        }
    }

    /// The text of the last number, if it was [`Number::Big`].
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// A list of numbers into `out`; false if it is no list, or has something else in it.
    pub fn numbers(&mut self, out: &mut Vec<f64>) -> Result<bool> {
        out.clear();
        if self.next()? != Next::Array {
            self.skip()?;
            return Ok(false);
        }
        self.enter_array()?;
        self.rest_of_numbers(out)
    }

    /// What is left of a list whose first items were read.
    pub fn rest_of_numbers(&mut self, out: &mut Vec<f64>) -> Result<bool> {
        let mut good = true;
        while self.item()? {
            match self.number()? {
                Some(number) => out.push(number.float()),
                None => good = false,
            }
            // Nearly all bytes of an annotation file are `12.34, 56.78, `: without a look at the borders of the buffer.
            while let [b',', b' ', rest @ ..] = &self.buffer[self.at..self.end]
                && rest.len() > SHORT
                && let Some((number, length)) = short_number(rest)
            {
                out.push(number.float());
                self.at += 2 + length;
            }
        }
        Ok(good)
    }

    /// A text into `out`; any other value is skipped, and false.
    pub fn text(&mut self, out: &mut String) -> Result<bool> {
        out.clear();
        if self.next()? != Next::Text {
            self.skip()?;
            return Ok(false);
        }
        let mut bytes = std::mem::take(out).into_bytes();
        self.bytes_of_text(&mut bytes)?;
        match String::from_utf8(bytes) {
            Ok(text) => *out = text,
            Err(error) => {
                let what = not_utf8(error.as_bytes()).map_or(String::new(), |found| {
                    format!(" ({}): {}", found.what, found.help)
                });
                return self.fail(format!(
                    "the file is not UTF-8{what}; its first such text ends"
                ));
            }
        }
        Ok(true)
    }

    /// Whether Python counts the value as true.
    pub fn truth(&mut self) -> Result<bool> {
        match self.next()? {
            Next::Number => Ok(self.number()?.is_some_and(|n| n.float() != 0.0)),
            Next::Text => {
                let mut bytes = std::mem::take(&mut self.scratch);
                let read = self.bytes_of_text(&mut bytes);
                let full = !bytes.is_empty();
                self.scratch = bytes;
                read.map(|()| full)
            }
            next @ (Next::Object | Next::Array) => {
                let end = if next == Next::Object { b'}' } else { b']' };
                self.bump();
                let full = self.solid()? != end;
                self.skip_rest(1)?;
                Ok(full)
            }
            next => {
                self.skip()?;
                Ok(next == Next::True)
            }
        }
    }

    /// Passes over a value.
    pub fn skip(&mut self) -> Result<()> {
        match self.next()? {
            Next::Object | Next::Array => {
                self.bump();
                self.skip_rest(1)
            }
            Next::Text => self.skip_text(),
            _ => {
                self.pass(|b| matches!(b, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'))?;
                Ok(())
            }
        }
    }

    /// Nothing but space is left.
    pub fn finish(&mut self) -> Result<()> {
        self.space()?;
        match self.look()? {
            None => Ok(()),
            Some(_) => self.fail("the file goes on after its end"),
        }
    }

    pub fn fail<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(JsonError {
            at: self.before + self.at as u64,
            what: what.into(),
        })
    }

    fn another(&mut self, end: u8) -> Result<bool> {
        let fresh = std::mem::take(&mut self.fresh);
        let byte = self.solid()?;
        if byte == end {
            self.bump();
            return Ok(false);
        }
        if !fresh {
            self.expect(b',')?;
            self.solid()?;
        }
        Ok(true)
    }

    /// The rest of containers of which `depth` are open.
    fn skip_rest(&mut self, mut depth: u64) -> Result<()> {
        while depth > 0 {
            match self.pass(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'))? {
                Some(b'"') => {
                    self.skip_text()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(_) => depth -= 1,
                None => return self.fail("the file ends too early"),
            }
            self.bump();
        }
        Ok(())
    }

    fn skip_text(&mut self) -> Result<()> {
        self.expect(b'"')?;
        loop {
            match self.pass(|b| matches!(b, b'"' | b'\\'))? {
                Some(b'"') => break,
                Some(_) => {
                    self.bump();
                    self.look()?;
                    self.bump();
                }
                None => return self.fail("a text has no end"),
            }
        }
        self.bump();
        Ok(())
    }

    /// To the next byte of which `stop` says so.
    fn pass(&mut self, stop: impl Fn(u8) -> bool) -> Result<Option<u8>> {
        loop {
            let rest = &self.buffer[self.at..self.end];
            if let Some(found) = rest.iter().position(|b| stop(*b)) {
                self.at += found;
                return Ok(Some(rest[found]));
            }
            self.at = self.end;
            if self.look()?.is_none() {
                return Ok(None);
            }
        }
    }

    /// A text without its quotes and escapes.
    fn bytes_of_text(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        self.expect(b'"')?;
        loop {
            let rest = &self.buffer[self.at..self.end];
            let plain = rest
                .iter()
                .position(|b| matches!(b, b'"' | b'\\'))
                .unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            if out.len() > LONGEST {
                return self.fail("a text is too long");
            }
            match self.look()? {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.bump();
                    self.escape(out)?;
                }
                Some(_) => {}
                None => return self.fail("a text has no end"),
            }
        }
        self.bump();
        Ok(())
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(byte) = self.look()? else {
            return self.fail("a text has no end");
        };
        self.bump();
        let byte = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' => byte,
            b'u' => {
                let mut code = self.hex()?;
                if (0xD800..0xDC00).contains(&code) && self.look()? == Some(b'\\') {
                    self.bump();
                    self.expect(b'u')?;
                    let low = self.hex()?.wrapping_sub(0xDC00) & 0x3FF;
                    code = 0x10000 + ((code - 0xD800) << 10) + low;
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return self.fail("an unknown escape in a text"),
        };
        out.push(byte);
        Ok(())
    }

    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.look()?.and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return self.fail("four hex digits were expected");
            };
            code = code * 16 + digit;
            self.bump();
        }
        Ok(code)
    }

    fn long_number(&mut self) -> Result<Number> {
        self.digits.clear();
        while let Some(byte) = self.look()? {
            if !matches!(byte, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') {
                break;
            }
            if self.digits.len() > LONGEST {
                return self.fail("a number is too long");
            }
            self.digits.push(char::from(byte));
            self.bump();
        }
        let text = self.digits.as_str();
        match text {
            "NaN" => return Ok(Number::Float(f64::NAN)),
            "Infinity" => return Ok(Number::Float(f64::INFINITY)),
            "-Infinity" => return Ok(Number::Float(f64::NEG_INFINITY)),
            _ => {}
        }
        // Rust's `inf` and `nan` are no JSON.
        let spelled = text
            .bytes()
            .any(|b| b.is_ascii_alphabetic() && !matches!(b, b'e' | b'E'));
        if let (Ok(int), false) = (text.parse(), spelled) {
            return Ok(Number::Int(int));
        }
        let whole = text.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9'));
        match text.parse() {
            Ok(float) if whole => Ok(Number::Big(float)),
            Ok(float) if !spelled => Ok(Number::Float(float)),
            _ => self.fail(format!("`{text:.40}` is no number; it ends")),
        }
    }

    /// The next character, for messages.
    fn found(&mut self) -> Result<String> {
        if self.end - self.at < 4 {
            self.fill()?;
        }
        let rest = &self.buffer[self.at..self.end.min(self.at + 4)];
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(e) => std::str::from_utf8(&rest[..e.valid_up_to()]).unwrap_or(""),
        };
        Ok(match (valid.chars().next(), rest.first()) {
            (Some(c), _) => named_character(c),
            (None, Some(byte)) => format!("the byte 0x{byte:02X}, which is not UTF-8"),
            (None, None) => "the file's end".into(),
        })
    }

    /// The next byte that is no space.
    fn solid(&mut self) -> Result<u8> {
        self.space()?;
        match self.look()? {
            Some(byte) => Ok(byte),
            None => self.fail("the file ends too early"),
        }
    }

    fn space(&mut self) -> Result<()> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.look()? {
            self.bump();
        }
        Ok(())
    }

    #[inline]
    fn look(&mut self) -> Result<Option<u8>> {
        if self.at == self.end {
            self.fill()?;
        }
        Ok(self.buffer[..self.end].get(self.at).copied())
    }

    /// Past the byte that [`Self::look`] showed.
    #[inline]
    fn bump(&mut self) {
        self.at = self.end.min(self.at + 1);
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        match self.look()? {
            Some(found) if found == byte => {
                self.bump();
                Ok(())
            }
            None => self.fail("the file ends too early"),
            Some(_) => {
                let found = self.found()?;
                self.fail(format!(
                    "`{}` was expected, found {found}",
                    char::from(byte).escape_default()
                ))
            }
        }
    }

    /// Moves what is left to the front and reads more.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.before += self.at as u64;
        self.end -= self.at;
        self.at = 0;
        while self.end < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                // Not past what the reader was given, whatever it says.
                Ok(n) => self.end = self.buffer.len().min(self.end + n),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return self.fail(format!("reading failed: {e};")),
            }
        }
        Ok(())
    }
}

/// A number of at most 15 digits without exponent, and the bytes it takes; something must follow it. Such a number is exact: it is one division
/// of two numbers that f64 has exactly.
#[inline]
fn short_number(text: &[u8]) -> Option<(Number, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mut digits, mut at, mut point) = (0u64, start, 0);
    loop {
        match *text.get(at)? {
            byte @ b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
            b'.' if point == 0 && at > start => point = at,
            b'.' | b'e' | b'E' => return None,
            _ => break,
        }
        at += 1;
        if at - start > 16 {
            return None;
        }
    }
    let count = at - start - usize::from(point > 0);
    if count == 0 || count > 15 {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    Some(match point {
        0 => (Number::Int(sign * digits as i64), at),
        _ => {
            let value = digits as f64 / POWERS[at - point - 1];
            (Number::Float(sign as f64 * value), at)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, so that everything lies across a border.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(out.len()).min(1);
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn number(text: &str) -> Result<Option<Number>> {
        // A number has an end only where something follows.
        let text = format!("[{text}]");
        let mut json = Json::new(Drip(text.as_bytes()))?;
        json.enter_array()?;
        assert!(json.item()?);
        let number = json.number()?;
        assert!(!json.item()?);
        json.finish()?;
        Ok(number)
    }

    #[test]
    fn numbers_are_pythons() {
        for text in [
            "0.1",
            "343.69",
            "-0.5",
            "1e3",
            "123456789012345.5",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "-12.",
            "99999999999999.99",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(number(text), Ok(Some(Number::Float(expected))), "{text}");
        }
        assert_eq!(number("-17"), Ok(Some(Number::Int(-17))));
        assert_eq!(
            number("9223372036854775807"),
            Ok(Some(Number::Int(i64::MAX)))
        );
        assert_eq!(
            number("-9223372036854775809"),
            Ok(Some(Number::Big(-9223372036854775809.0)))
        );
        assert_eq!(number("1e400"), Ok(Some(Number::Float(f64::INFINITY))));
        assert_eq!(
            number("-Infinity"),
            Ok(Some(Number::Float(f64::NEG_INFINITY)))
        );
        assert!(matches!(number("NaN"), Ok(Some(Number::Float(x))) if x.is_nan()));
        assert_eq!(number("\"7\""), Ok(None));
        assert!(number("--1").is_err() && number("1.2.3").is_err() && number("Nanu").is_err());
    }

    #[test]
    fn walks_and_skips() {
        let text = r#" {"a": {"x": [1, "]}\"", {}]}, "b\u00e9\ud83d\ude00": "\n", "c": [true, null, [], [0], 2.5]} "#;
        let mut json = Json::new(Drip(text.as_bytes())).unwrap();
        json.enter_object().unwrap();
        let names = ["c", "bé😀"];
        assert_eq!(json.key(&names), Ok(Some(2)));
        json.skip().unwrap();
        assert_eq!(json.key(&names), Ok(Some(1)));
        let mut out = String::new();
        assert_eq!(json.text(&mut out), Ok(true));
        assert_eq!(out, "\n");
        assert_eq!(json.key(&names), Ok(Some(0)));
        json.enter_array().unwrap();
        let mut truths = Vec::new();
        while json.item().unwrap() {
            truths.push(json.truth().unwrap());
        }
        assert_eq!(truths, [true, false, false, true, true]);
        assert_eq!(json.key(&names), Ok(None));
        json.finish().unwrap();
    }

    #[test]
    fn what_is_no_json_is_named() {
        let fails = |bytes: &[u8]| {
            let read = |bytes| {
                let mut json = Json::new(Drip(bytes))?;
                json.enter_object()?;
                while json.key(&[])?.is_some() {
                    json.text(&mut String::new())?;
                }
                json.finish()
            };
            read(bytes).unwrap_err().to_string()
        };
        let utf16: Vec<u8> = "{\"a\": 1}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (bytes, part) in [
            (&b""[..], "it is empty: copy"),
            (&utf16, "it is UTF-16LE, not UTF-8: save it as UTF-8"),
            (
                b"version https://git-lfs.github.com/spec/v1\nsize 12\n",
                "git lfs pull",
            ),
            (
                b"<!DOCTYPE html><title>Sign in</title>",
                "an HTML page ('Sign in')",
            ),
            (
                b"\x1f\x8b\x08\0",
                "it is no text but gzip data (unpack it first): name the file that is meant",
            ),
            (
                "{\u{A0}\"a\": 1}".as_bytes(),
                "found U+00A0 NO-BREAK SPACE at byte 1",
            ),
            (
                "{“a”: 1}".as_bytes(),
                "found `“` (U+201C LEFT DOUBLE QUOTATION MARK) at byte 1",
            ),
            (b"{\"a\": \"\xd6\xd0\xce\xc4\"}", "it looks like GBK"),
            (
                b"{\xff",
                "found the byte 0xFF, which is not UTF-8 at byte 1",
            ),
        ] {
            let error = fails(bytes);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn says_where_it_fails() {
        let fails = |text: &str| {
            let mut json = Json::new(Drip(text.as_bytes()))?;
            json.enter_array()?;
            while json.item()? {
                json.skip()?;
            }
            json.finish()
        };
        assert_eq!(fails("[1, [2, {}]]"), Ok(()));
        let error = fails("[1, \"abc").unwrap_err();
        assert_eq!(error.to_string(), "a text has no end at byte 8");
        assert_eq!(fails("[1").unwrap_err().what, "the file ends too early");
        assert_eq!(fails("[1 2]").unwrap_err().at, 3);
        assert!(fails("[1] x").is_err() && fails("").is_err());
        let deep = "[".repeat(1_000_000);
        assert!(fails(&deep).is_err(), "no recursion");
    }
}
