//! [`unreadable_text`]: what a file is that should have been a text, and what to do about it. For configs and annotation files alike.

use std::fmt;

use crate::file_kind::no_text;

/// Why a file is no text that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What was found: `it is a Git LFS pointer, ...`.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.help)
    }
}

const WRONG: &str = "name the file that is meant";

/// What is wrong with a file that should be a text, or `None` if it is one. `bytes` are the file, or at least its first few thousand.
pub fn unreadable_text(bytes: &[u8]) -> Option<Unreadable> {
    other_kind(bytes).or_else(|| not_utf8(bytes))
}

/// Something else than a text in UTF-8, by its beginning: empty, packed, UTF-16, a Git LFS pointer, a web page.
pub fn other_kind(bytes: &[u8]) -> Option<Unreadable> {
    let found = |what: String, help: &str| {
        Some(Unreadable {
            what,
            help: help.to_owned(),
        })
    };
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = text.trim_ascii_start();
    if text.is_empty() {
        let size = match bytes.len() {
            0 => "it is empty".to_owned(),
            n => format!("it has nothing but {n} bytes of space"),
        };
        return found(size, "copy, download or write it again");
    }
    if let Some(kind) = no_text(bytes).filter(|_| wide(bytes).is_none()) {
        return found(format!("it is no text but {kind}"), WRONG);
    }
    if text.starts_with(b"version https://git-lfs.github.com/spec/") {
        let size = String::from_utf8_lossy(text);
        let size = size.lines().find_map(|l| l.strip_prefix("size "));
        let size = size.map_or(String::new(), |s| format!(" ({} B)", s.trim()));
        let what = format!("it is a Git LFS pointer, not the file{size} that it stands for");
        return found(what, "fetch the file with `git lfs pull`");
    }
    let start = text[..text.len().min(15)].to_ascii_lowercase();
    if [&b"<!doctype html"[..], b"<html", b"<head"]
        .iter()
        .any(|tag| start.starts_with(tag))
    {
        let title = title(text).map_or(String::new(), |t| format!(" ('{t}')"));
        let help = "download the file itself: the address led to a page about it, or to an error";
        return found(format!("it is an HTML page{title}"), help);
    }
    if let Some(encoding) = wide(bytes) {
        let help = format!(
            "save it as UTF-8 in an editor, or run `iconv -f {encoding} -t UTF-8 FILE > NEW`"
        );
        return found(format!("it is {encoding}, not UTF-8"), &help);
    }
    if bytes.iter().all(|b| *b == 0) {
        let what = format!(
            "it is {} bytes that are all 0: writing it was not finished",
            bytes.len()
        );
        return found(what, "copy, download or write it again");
    }
    None
}

fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(&page[..page.len().min(4096)]).into_owned();
    let (_, rest) = page.split_once("<title>")?;
    let title = rest.split("</title>").next()?.trim();
    (!title.is_empty()).then(|| format!("{title:.60}"))
}

/// UTF-16 or UTF-32, by a byte-order mark or by the zeros beside ASCII.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    for (mark, name) in [
        (&b"\xff\xfe\0\0"[..], "UTF-32LE"),
        (b"\0\0\xfe\xff", "UTF-32BE"),
        (b"\xff\xfe", "UTF-16LE"),
        (b"\xfe\xff", "UTF-16BE"),
    ] {
        if bytes.starts_with(mark) {
            return Some(name);
        }
    }
    let start = &bytes[..bytes.len().min(64) / 4 * 4];
    let pattern = |zeros: &[usize], unit: usize| {
        start.len() >= 4
            && start
                .iter()
                .enumerate()
                .all(|(i, b)| (*b == 0) == zeros.contains(&(i % unit)))
    };
    [
        (&[1][..], 2, "UTF-16LE"),
        (&[0], 2, "UTF-16BE"),
        (&[1, 2, 3], 4, "UTF-32LE"),
        (&[0, 1, 2], 4, "UTF-32BE"),
    ]
    .into_iter()
    .find_map(|(zeros, unit, name)| pattern(zeros, unit).then_some(name))
}

/// A text in another encoding: where it stops to be UTF-8, and which it may be. A last character that was cut off is no fault.
pub fn not_utf8(bytes: &[u8]) -> Option<Unreadable> {
    let error = std::str::from_utf8(bytes).err()?;
    error.error_len()?;
    let at = error.valid_up_to();
    let line = 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
    let byte = bytes[at];
    let start = &bytes[..bytes.len().min(4096)];
    let control = |b: &&u8| **b < 32 && !matches!(b, b'\t' | b'\n' | b'\r' | 12);
    if start.iter().filter(control).count() * 50 > start.len() {
        return Some(Unreadable {
            what: format!(
                "it is no text: byte 0x{byte:02X} at offset {at}, and control characters"
            ),
            help: WRONG.into(),
        });
    }
    let (looks, iconv) = match encoding(bytes) {
        Some(name) => (format!("; it looks like {name}"), name),
        None => (String::new(), "ENCODING"),
    };
    let iconv = iconv.split(' ').next().unwrap_or(iconv);
    Some(Unreadable {
        what: format!("it is not UTF-8: byte 0x{byte:02X} at offset {at}, in line {line}{looks}"),
        help: format!(
            "save it as UTF-8 in an editor, or run `iconv -f {iconv} -t UTF-8 FILE > NEW`"
        ),
    })
}

/// Which encoding a text that is not UTF-8 may have: a guess from the bytes beyond ASCII.
pub fn encoding(bytes: &[u8]) -> Option<&'static str> {
    // Runs of bytes beyond ASCII: in one-byte encodings of the West they are short, in those of East Asia even.
    let (mut runs, mut alone, mut odd, mut total) = (0usize, 0, 0, 0usize);
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|b| **b >= 0x80).count();
        if length == 0 {
            at += 1;
            continue;
        }
        runs += 1;
        alone += usize::from(length == 1);
        odd += usize::from(length % 2 == 1);
        total += length;
        at += length;
    }
    if runs == 0 {
        return None;
    }
    let pairs = pairs(bytes);
    let share = |test: &dyn Fn(u8, u8) -> bool| {
        let hits = pairs.iter().filter(|(a, b)| test(*a, *b)).count();
        hits * 100 / pairs.len().max(1)
    };
    let kana = share(&|a, b| matches!(a, 0x82 | 0x83) && b >= 0x40);
    if kana >= 40 {
        return Some("Shift_JIS");
    }
    if alone * 2 > runs {
        return Some("WINDOWS-1252 (Western Europe) or another one-byte encoding");
    }
    if odd * 3 > runs && share(&|a, b| a >= 0xC0 && b >= 0xC0) > 60 {
        return Some("WINDOWS-1251 (Cyrillic) or another one-byte encoding");
    }
    if share(&|a, _| matches!(a, 0xA4 | 0xA5)) >= 40 && odd == 0 {
        return Some("EUC-JP");
    }
    let low = share(&|_, b| b < 0x80);
    if low >= 20 && share(&|a, _| (0xA1..=0xF9).contains(&a)) >= 95 {
        return Some("BIG5 (traditional Chinese)");
    }
    if pairs.len() >= 6 && odd == 0 && share(&|a, b| (0xB0..=0xC8).contains(&a) && b >= 0xA1) >= 95
    {
        return Some("EUC-KR (Korean)");
    }
    if share(&|a, b| (0x81..=0xFE).contains(&a) && b >= 0x40 && b != 0x7F && b != 0xFF) >= 95
        && total >= 2
    {
        return Some("GBK (Chinese)");
    }
    None
}

/// The characters of two bytes, if each byte beyond ASCII leads one.
fn pairs(bytes: &[u8]) -> Vec<(u8, u8)> {
    const MOST: usize = 10_000;
    let (mut pairs, mut at) = (Vec::new(), 0);
    while at + 1 < bytes.len() && pairs.len() < MOST {
        if bytes[at] >= 0x80 {
            pairs.push((bytes[at], bytes[at + 1]));
            at += 1;
        }
        at += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(bytes: &[u8]) -> String {
        unreadable_text(bytes).map_or_else(String::new, |u| u.what)
    }

    #[test]
    fn texts_are_texts() {
        for text in ["a = 1\n", "\u{FEFF}{}", "名 = 'é'", "version = 1", "<a/>"] {
            assert_eq!(what(text.as_bytes()), "", "{text}");
        }
        // cut within a character
        assert_eq!(what(&"a = 'é".as_bytes()[..6]), "");
    }

    #[test]
    fn other_files_are_named() {
        let utf16 = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16();
            units.flat_map(u16::to_le_bytes).collect()
        };
        assert_eq!(what(b""), "it is empty");
        assert_eq!(what(b"\n \n"), "it has nothing but 3 bytes of space");
        assert_eq!(what(&utf16("\u{FEFF}a = 1")), "it is UTF-16LE, not UTF-8");
        assert_eq!(what(&utf16("{\"a\": 1}")), "it is UTF-16LE, not UTF-8");
        let swapped: Vec<u8> = utf16("{\"a\": 1}")
            .chunks(2)
            .flat_map(|c| [c[1], c[0]])
            .collect();
        assert_eq!(what(&swapped), "it is UTF-16BE, not UTF-8");
        assert_eq!(
            what(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
            "it is a Git LFS pointer, not the file (12 B) that it stands for"
        );
        assert_eq!(
            what(b" <!DOCTYPE html><html><title>404 Not Found</title>"),
            "it is an HTML page ('404 Not Found')"
        );
        assert_eq!(
            what(b"\x1f\x8b\x08"),
            "it is no text but gzip data (unpack it first)"
        );
        assert_eq!(
            what(b"\x01\x02\x03ab\xc3\x05\xff"),
            "it is no text: byte 0xC3 at offset 5, and control characters"
        );
        assert_eq!(
            what(&[0; 9]),
            "it is 9 bytes that are all 0: writing it was not finished"
        );
    }

    #[test]
    fn encodings_are_guessed() {
        let gbk = b"# \xd6\xd0\xce\xc4\xd7\xa2\xca\xcd\nclasses = ('\xc3\xa8',)\n";
        assert_eq!(
            what(gbk),
            "it is not UTF-8: byte 0xD6 at offset 2, in line 1; it looks like GBK (Chinese)"
        );
        assert!(unreadable_text(gbk).unwrap().help.contains("iconv -f GBK "));
        for (bytes, name) in [
            (&b"# caf\xe9 du c\xf4t\xe9"[..], "WINDOWS-1252"),
            (b"# \x82\xb1\x82\xea\x82\xcd\x83e\x83X\x83g", "Shift_JIS"),
            (
                b"# \xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0 \xfd\xf2\xee",
                "WINDOWS-1251",
            ),
            (
                b"# \xc7\xd1\xb1\xb9\xbe\xee \xbc\xb3\xb8\xed\xc0\xd4\xb4\xcf\xb4\xd9",
                "EUC-KR",
            ),
            (
                b"# \xa4\xa4\xa4\xe5\xb5\xf9\xb8\xd1\xaa\xba\xa4@\xa6r",
                "BIG5",
            ),
        ] {
            let found = encoding(bytes).unwrap_or_default();
            assert!(found.starts_with(name), "{name}: {found}");
        }
        assert_eq!(encoding(b"plain"), None);
    }
}
