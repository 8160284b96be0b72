//! Strings as the text opcodes of old pickles write them.

use std::borrow::Cow;

/// UTF-8 where the bytes are, else Latin-1, as Python 2 strings are read by Python 3 tools.
pub(super) fn utf8_or_latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// Each character as one byte; None when one is beyond Latin-1.
pub(super) fn latin1_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

/// A quoted Python 2 string with its escapes, as the STRING opcode has it.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let quote = *line.first()?;
    if line.len() < 2 || !matches!(quote, b'\'' | b'"') || line.last() != Some(&quote) {
        return None;
    }
    let line = &line[1..line.len() - 1];
    let mut out = Vec::with_capacity(line.len());
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escape = *line.get(at)?;
        at += 1;
        match escape {
            b'\n' => {}
            b'\\' | b'\'' | b'"' => out.push(escape),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'v' => out.push(11),
            b'f' => out.push(12),
            b'r' => out.push(b'\r'),
            b'x' => {
                out.push(u8::try_from(hex(line.get(at..at + 2)?)?).ok()?);
                at += 2;
            }
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    if let Some(&digit @ b'0'..=b'7') = line.get(at) {
                        value = value * 8 + u32::from(digit - b'0');
                        at += 1;
                    }
                }
                out.push((value & 0xff) as u8);
            }
            other => out.extend([b'\\', other]),
        }
    }
    Some(out)
}

/// Text of the UNICODE opcode: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        let digits = match (byte, line.get(at + 1)) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                at += 1;
                continue;
            }
        };
        let code = hex(line.get(at + 2..at + 2 + digits)?)?;
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        at += 2 + digits;
    }
    Some(out)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        value.checked_mul(16)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(
            unquote(br"'a\x00\\\'\n\101\7z'").unwrap(),
            b"a\0\\'\nA\x07z"
        );
        assert_eq!(unquote(br#""it's""#).unwrap(), b"it's");
        assert_eq!(unquote(br"'\q'").unwrap(), br"\q");
        for bad in [&b"'"[..], b"", b"'a", b"a'", b"'\\'", br"'\x4'", br"'\xzz'"] {
            assert_eq!(unquote(bad), None, "{bad:?}");
        }
        assert_eq!(raw_unicode(b"\\u00e9\xe9\\\\").unwrap(), "éé\\\\");
        assert_eq!(raw_unicode(b"\\U0001f600").unwrap(), "\u{1f600}");
        assert_eq!(raw_unicode(b"\\ud800").unwrap(), "\u{fffd}");
        assert_eq!(raw_unicode(b"\\u00"), None);
    }

    #[test]
    fn latin1() {
        assert_eq!(utf8_or_latin1(b"caf\xe9"), "café");
        assert_eq!(latin1_bytes("é\0").unwrap(), [0xe9, 0]);
        assert_eq!(latin1_bytes("€"), None);
    }
}
