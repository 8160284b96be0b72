//! String literals: prefixes, escapes, and the raw parts of f-strings.

use std::borrow::Cow;

/// The body of a literal with its escapes replaced; or what is wrong, with its offset in the body.
pub(super) fn unescape(body: &str, raw: bool) -> Result<Cow<'_, str>, (usize, &'static str)> {
    let body_cow = if body.contains('\r') {
        Cow::Owned(body.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(body)
    };
    if raw || !body_cow.contains('\\') {
        return Ok(body_cow);
    }
    let body = body_cow.as_ref();
    let mut out = String::with_capacity(body.len());
    let mut chars = body.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some((_, escaped)) = chars.next() else {
            out.push('\\');
            break;
        };
        match escaped {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(escaped),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            'x' | 'u' | 'U' => {
                let length = match escaped {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let mut code = 0u32;
                for _ in 0..length {
                    let digit = chars.next().and_then(|(_, c)| c.to_digit(16));
                    let digit = digit.ok_or((at, "this escape has too few hexadecimal digits"))?;
                    code = (code << 4) | digit;
                }
                out.push(char::from_u32(code).ok_or((at, "this escape is no Unicode character"))?);
            }
            '0'..='7' => {
                let mut code = escaped as u32 - '0' as u32;
                for _ in 0..2 {
                    match chars.peek().and_then(|(_, c)| c.to_digit(8)) {
                        Some(digit) => {
                            code = code * 8 + digit;
                            chars.next();
                        }
                        None => break,
                    }
                }
                out.push(char::from_u32(code).unwrap_or('\u{FFFD}'));
            }
            'N' => {
                return Err((
                    at,
                    r"named characters `\N{...}` are not supported; write the character",
                ));
            }
            // Python keeps an escape that it does not know.
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Ok(Cow::Owned(out))
}

/// A raw part of an f-string's body, as offsets into the text.
#[derive(Debug, PartialEq)]
pub(super) enum RawPiece {
    /// Text between fields, `{{` and `}}` already cut out as pieces of their own.
    Text(usize, usize),
    Field {
        /// The expression.
        start: usize,
        end: usize,
        /// Whether `=` followed it.
        debug: bool,
        conversion: Option<char>,
        /// The format specification.
        spec: Option<(usize, usize)>,
    },
}

/// Splits the body `text[start..end]` of an f-string. Within a specification (`nested`) braces are not doubled.
pub(super) fn split(
    text: &str,
    start: usize,
    end: usize,
    nested: bool,
) -> Result<Vec<RawPiece>, (usize, &'static str)> {
    let bytes = text.as_bytes();
    let (mut pieces, mut at, mut from) = (Vec::new(), start, start);
    while at < end {
        match bytes[at] {
            // `\N{...}` is refused later; any other escape cannot hide a brace.
            brace @ (b'{' | b'}') if !nested && at + 1 < end && bytes[at + 1] == brace => {
                pieces.push(RawPiece::Text(from, at + 1));
                at += 2;
                from = at;
            }
            b'{' => {
                if from < at {
                    pieces.push(RawPiece::Text(from, at));
                }
                let (piece, next) = field(text, at, end)?;
                pieces.push(piece);
                at = next;
                from = at;
            }
            b'}' => return Err((at, "a single `}` in an f-string; write `}}`")),
            _ => at += 1,
        }
    }
    if from < end {
        pieces.push(RawPiece::Text(from, end));
    }
    Ok(pieces)
}

/// The field that begins with the brace at `open`, and the offset behind it.
fn field(text: &str, open: usize, end: usize) -> Result<(RawPiece, usize), (usize, &'static str)> {
    let bytes = text.as_bytes();
    let unclosed = (open, "this `{` is not closed");
    let (mut at, mut depth, mut quote) = (open + 1, 0usize, None);
    // The expression ends at `!`, `:` or `}` outside of brackets and strings.
    while at < end {
        let byte = bytes[at];
        match (quote, byte) {
            (Some(q), b) if q == b => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']') => depth = depth.saturating_sub(1),
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}' | b':') if depth == 0 => break,
            (None, b'!') if depth == 0 && bytes.get(at + 1) != Some(&b'=') => break,
            _ => {}
        }
        at += 1;
    }
    if at >= end {
        return Err(unclosed);
    }
    let (start, mut stop) = (open + 1, at);
    let expression = text[start..stop].trim_end();
    let before = expression.strip_suffix('=');
    let debug = before.is_some_and(|b| !b.ends_with(['=', '!', '<', '>']));
    if debug {
        stop = start + expression.len() - 1;
    }
    let mut conversion = None;
    if bytes[at] == b'!' {
        conversion = text[at + 1..end].chars().next();
        if !matches!(conversion, Some('r' | 's' | 'a')) {
            return Err((at, "after `!` an f-string has `r`, `s` or `a`"));
        }
        at += 2;
    }
    let mut spec = None;
    if at < end && bytes[at] == b':' {
        let spec_start = at + 1;
        at = spec_start;
        let mut depth = 0usize;
        while at < end && (depth > 0 || bytes[at] != b'}') {
            match bytes[at] {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        spec = Some((spec_start, at));
    }
    if at >= end || bytes[at] != b'}' {
        return Err(unclosed);
    }
    let piece = RawPiece::Field {
        start,
        end: stop,
        debug,
        conversion,
        spec,
    };
    Ok((piece, at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_in_python() {
        let ok = |s| unescape(s, false).unwrap().into_owned();
        assert_eq!(ok(r"a\tb\\\'\x41\u00e9\101\d"), "a\tb\\'A\u{e9}A\\d");
        assert_eq!(ok("a\\\nb"), "ab");
        assert_eq!(unescape(r"a\tb", true).unwrap(), r"a\tb");
        for bad in [r"\x4", r"\ud800", r"\N{DASH}", r"\U00110000"] {
            assert!(unescape(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn f_strings_are_split_into_text_and_fields() {
        let text = "a{{b{x['k']!r:>{w}}c{y=}";
        let pieces = split(text, 0, text.len(), false).unwrap();
        assert_eq!(pieces.len(), 5);
        let RawPiece::Field {
            start,
            end,
            spec,
            conversion,
            ..
        } = &pieces[2]
        else {
            panic!("{pieces:?}")
        };
        assert_eq!(&text[*start..*end], "x['k']");
        assert_eq!(
            (*conversion, spec.map(|(a, b)| &text[a..b])),
            (Some('r'), Some(">{w}"))
        );
        assert!(matches!(&pieces[4], RawPiece::Field { debug: true, .. }));
        for bad in ["{x", "}", "{x!z}", "{x:{w}"] {
            assert!(split(bad, 0, bad.len(), false).is_err(), "{bad}");
        }
    }
}
