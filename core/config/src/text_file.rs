//! Text files: from bytes to text. A byte-order mark is no part of any text; bytes that are none of their encoding are an error that names the
//! first of them.

use std::borrow::Cow;

use crate::encodings::{self, Encoding, utf8, utf16be, utf16le};
use crate::unreadable_text;

/// UTF-8's byte-order mark.
pub const MARK: [u8; 3] = *b"\xEF\xBB\xBF";

/// Where the declaration of an XML file must have ended.
const LONGEST_DECLARATION: usize = 1024;

/// The bytes of a text in UTF-8, without its byte-order mark.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(&MARK).unwrap_or(bytes)
}

/// The text of a file: UTF-8, or UTF-16 where a byte-order mark says so.
///
/// # Errors
/// What the file is instead; the first byte that is none of the encoding, and which encoding it looks like.
pub fn text(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let found = match marked(bytes)? {
        Some((encoding, rest)) => decoded(rest, &encoding, bytes.len() - rest.len()),
        None => match unreadable_text(bytes).filter(|_| !bytes.trim_ascii().is_empty()) {
            Some(found) => return Err(found.to_string()),
            None => decoded(bytes, &utf8(), 0),
        },
    };
    found.map_err(|what| format!("{what}: save the file as UTF-8"))
}

/// The lines of a list. A mark may also stand between two lists that were put together.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.trim_start_matches('\u{FEFF}'))
}

/// The text of an XML file: in the encoding that its byte-order mark says, else that of its declaration, else UTF-8. As on the web, what is
/// declared ISO-8859-1 is read as windows-1252, which has letters where the former has none.
///
/// # Errors
/// An encoding that is not known, and the first byte that is none of the encoding.
pub fn xml(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    if let Some((encoding, rest)) = marked(bytes)? {
        return decoded(rest, &encoding, bytes.len() - rest.len());
    }
    match bytes {
        [b'<', 0, ..] => return decoded(bytes, &utf16le(), 0),
        [0, b'<', ..] => return decoded(bytes, &utf16be(), 0),
        _ => {}
    }
    let Some(label) = declared(bytes) else {
        return decoded(bytes, &utf8(), 0).map_err(|what| {
            format!(
                "{what}, and the file declares no other encoding: save it as UTF-8, or begin it with <?xml version=\"1.0\" encoding=\"...\"?>"
            )
        });
    };
    let Some(encoding) = named(label) else {
        return Err(format!(
            "its encoding `{}` is not known: save it as UTF-8",
            label.escape_debug()
        ));
    };
    let wrong = |what: String| format!("{what}, though the file declares `{label}`");
    // Who could read the declaration knows that it is no UTF-16: programs that write UTF-8 forget to change it.
    if encoding == utf16le() || encoding == utf16be() {
        return decoded(bytes, &utf8(), 0).map_err(wrong);
    }
    let ascii = label.to_ascii_lowercase().contains("ascii");
    match bytes.iter().position(|byte| ascii && !byte.is_ascii()) {
        Some(at) => Err(wrong(no_text(bytes, at, 0, "ASCII"))),
        None => decoded(bytes, &encoding, 0).map_err(wrong),
    }
}

/// The encoding that a byte-order mark says, and what follows the mark.
fn marked(bytes: &[u8]) -> Result<Option<(Encoding, &[u8])>, String> {
    if bytes.starts_with(b"\xFF\xFE\0\0") || bytes.starts_with(b"\0\0\xFE\xFF") {
        return Err("UTF-32, which is not read: save the file as UTF-8".into());
    }
    Ok(encodings::marked(bytes))
}

/// The value of `encoding` in `<?xml version="1.0" encoding="..."?>`.
fn declared(bytes: &[u8]) -> Option<&str> {
    let head = bytes.trim_ascii_start().strip_prefix(b"<?xml")?;
    let head = &head[..head.len().min(LONGEST_DECLARATION)];
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let head = std::str::from_utf8(&head[..end]).ok()?;
    let value = head.split_once("encoding")?.1.trim_start();
    let value = value.strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Some(value[1..].split_once(quote)?.0.trim())
}

/// An encoding by its names on the web, and by those of Python and Windows.
fn named(label: &str) -> Option<Encoding> {
    let plain = label.to_ascii_lowercase().replace('_', "-");
    let other = match plain.as_str() {
        "utf-8-sig" => "utf-8",
        "latin-1" => "latin1",
        "latin9" | "latin-9" => "iso-8859-15",
        "cp932" | "ms-kanji" => "shift_jis",
        "cp936" | "ms936" => "gbk",
        "cp949" | "uhc" => "euc-kr",
        "cp950" => "big5",
        plain => plain,
    };
    Encoding::of_label(label).or_else(|| Encoding::of_label(other))
}

/// `before`: bytes of the file before these.
fn decoded<'a>(
    bytes: &'a [u8],
    encoding: &Encoding,
    before: usize,
) -> Result<Cow<'a, str>, String> {
    let text = encoding.decode(bytes);
    text.map_err(|at| no_text(bytes, at, before, &encoding.name()))
}

fn no_text(bytes: &[u8], at: usize, before: usize, encoding: &str) -> String {
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let byte = bytes.get(at).copied().unwrap_or(0);
    format!(
        "byte {} in line {line} is 0x{byte:02X}, which is no {encoding} there",
        before + at
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_no_text() {
        let utf16 = |le: bool, text: &str| -> Vec<u8> {
            let bytes = |unit: u16| {
                if le {
                    unit.to_le_bytes()
                } else {
                    unit.to_be_bytes()
                }
            };
            let marked = format!("\u{FEFF}{text}");
            marked.encode_utf16().flat_map(bytes).collect()
        };
        for bytes in [
            b"a\xC3\xA9\nb".to_vec(),
            b"\xEF\xBB\xBFa\xC3\xA9\nb".to_vec(),
            utf16(true, "aé\nb"),
            utf16(false, "aé\nb"),
        ] {
            assert_eq!(text(&bytes).unwrap(), "aé\nb", "{bytes:?}");
            assert_eq!(xml(&bytes).unwrap(), "aé\nb", "{bytes:?}");
        }
        assert_eq!(text(b"\xEF\xBB\xBF").unwrap(), "");
        assert_eq!(text(b"").unwrap(), "");
        assert_eq!(unmarked(b"\xEF\xBB\xBF1"), b"1");
        let joined: Vec<&str> = lines("1\r\n\u{FEFF}2\n").collect();
        assert_eq!(joined, ["1", "2"]);
    }

    #[test]
    fn errors_name_the_byte() {
        let error = text(b"ok\nfa\xE7ade").unwrap_err();
        assert!(
            error.starts_with("it is not UTF-8: byte 0xE7 at offset 5, in line 2; it looks like"),
            "{error}"
        );
        assert_eq!(
            text(b"1\nfa\xE7").unwrap_err(),
            "byte 4 in line 2 is 0xE7, which is no UTF-8 there: save the file as UTF-8"
        );
        let pointer = b"version https://git-lfs.github.com/spec/v1\nsize 3\n";
        assert!(text(pointer).unwrap_err().contains("git lfs pull"));
        let error = text(b"\xEF\xBB\xBFok\xE7").unwrap_err();
        assert!(error.starts_with("byte 5 in line 1 is 0xE7"), "{error}");
        assert!(text(b"\xFF\xFEa\0b").unwrap_err().contains("no UTF-16LE"));
        assert!(text(b"\xFF\xFE\0\0a\0\0\0").unwrap_err().contains("UTF-32"));
    }

    #[test]
    fn declared_encodings() {
        let read = |label: &str, bytes: &[u8]| {
            let head = format!("<?xml version='1.0' encoding=\"{label}\" ?>");
            let all = [head.as_bytes(), bytes].concat();
            let text = xml(&all).map(Cow::into_owned);
            text.map(|text| text.split_once("?>").unwrap().1.to_owned())
        };
        for (label, bytes, expected) in [
            ("UTF-8", &b"\xC3\xA9"[..], "é"),
            ("utf8", b"\xC3\xA9", "é"),
            ("ISO-8859-1", b"\xE9", "é"),
            ("latin-1", b"\xE9", "é"),
            ("iso_8859-15", b"\xA4", "€"),
            ("windows-1252", b"\x80", "€"),
            ("windows-1251", b"\xEA", "к"),
            ("GBK", b"\xC6\xBB\xB9\xFB", "苹果"),
            ("cp936", b"\xC6\xBB", "苹"),
            ("gb18030", b"\xC6\xBB", "苹"),
            ("Big5", b"\xC4\xAB", "蘋"),
            ("Shift_JIS", b"\x8C\xA2", "犬"),
            ("cp932", b"\x8C\xA2", "犬"),
            ("euc_jp", b"\xB8\xA4", "犬"),
            ("euc-kr", b"\xB0\xB3", "개"),
            ("us-ascii", b"e", "e"),
            // by a program that changed its mind
            ("utf-16", b"\xC3\xA9", "é"),
        ] {
            assert_eq!(read(label, bytes).as_deref(), Ok(expected), "{label}");
        }
        for (label, bytes, expected) in [
            ("klingon", &b"e"[..], "its encoding `klingon` is not known"),
            ("hz-gb-2312", b"e", "is not known"),
            (
                "utf-8",
                b"\xE9",
                "0xE9, which is no UTF-8 there, though the file declares `utf-8`",
            ),
            (
                "gbk",
                b"\xC6",
                "0xC6, which is no GBK there, though the file declares `gbk`",
            ),
            ("shift_jis", b"a\xFD", "0xFD, which is no Shift_JIS"),
            ("US-ASCII", b"\xE9", "0xE9, which is no ASCII"),
            ("utf-16", b"\xE9", "0xE9, which is no UTF-8"),
        ] {
            let error = read(label, bytes).unwrap_err();
            assert!(error.contains(expected), "{label}: {error}");
        }
        let error = xml(b"<a>\n\xE9</a>").unwrap_err();
        assert!(
            error.starts_with("byte 4 in line 2 is 0xE9, which is no UTF-8 there, and the file declares no other encoding"),
            "{error}"
        );
        let plain: Vec<u8> = "<a>é</a>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(xml(&plain).unwrap(), "<a>é</a>");
    }
}
