//! Characters that look like others, or like nothing: their names and codes, and how messages show them.
//!
//! They come with text that is copied from a page or a document: no-break spaces, curly quotes, punctuation of full width.

use std::borrow::Cow;

/// Name, and what is meant by it: nothing, a space, or ASCII.
fn known(c: char) -> Option<(Cow<'static, str>, Cow<'static, str>)> {
    const INVISIBLE: &[(char, &str)] = &[
        ('\u{AD}', "SOFT HYPHEN"),
        ('\u{34F}', "COMBINING GRAPHEME JOINER"),
        ('\u{61C}', "ARABIC LETTER MARK"),
        ('\u{115F}', "HANGUL CHOSEONG FILLER"),
        ('\u{180E}', "MONGOLIAN VOWEL SEPARATOR"),
        ('\u{200B}', "ZERO WIDTH SPACE"),
        ('\u{200C}', "ZERO WIDTH NON-JOINER"),
        ('\u{200D}', "ZERO WIDTH JOINER"),
        ('\u{200E}', "LEFT-TO-RIGHT MARK"),
        ('\u{200F}', "RIGHT-TO-LEFT MARK"),
        ('\u{202A}', "LEFT-TO-RIGHT EMBEDDING"),
        ('\u{202B}', "RIGHT-TO-LEFT EMBEDDING"),
        ('\u{202C}', "POP DIRECTIONAL FORMATTING"),
        ('\u{202D}', "LEFT-TO-RIGHT OVERRIDE"),
        ('\u{202E}', "RIGHT-TO-LEFT OVERRIDE"),
        ('\u{2060}', "WORD JOINER"),
        ('\u{2066}', "LEFT-TO-RIGHT ISOLATE"),
        ('\u{2067}', "RIGHT-TO-LEFT ISOLATE"),
        ('\u{2068}', "FIRST STRONG ISOLATE"),
        ('\u{2069}', "POP DIRECTIONAL ISOLATE"),
        ('\u{FE0E}', "VARIATION SELECTOR-15"),
        ('\u{FE0F}', "VARIATION SELECTOR-16"),
        ('\u{FEFF}', "ZERO WIDTH NO-BREAK SPACE, a byte-order mark"),
        ('\u{FFFC}', "OBJECT REPLACEMENT CHARACTER"),
    ];
    const SPACES: &[(char, &str)] = &[
        ('\u{85}', "NEXT LINE"),
        ('\u{A0}', "NO-BREAK SPACE"),
        ('\u{1680}', "OGHAM SPACE MARK"),
        ('\u{2000}', "EN QUAD"),
        ('\u{2001}', "EM QUAD"),
        ('\u{2002}', "EN SPACE"),
        ('\u{2003}', "EM SPACE"),
        ('\u{2004}', "THREE-PER-EM SPACE"),
        ('\u{2005}', "FOUR-PER-EM SPACE"),
        ('\u{2006}', "SIX-PER-EM SPACE"),
        ('\u{2007}', "FIGURE SPACE"),
        ('\u{2008}', "PUNCTUATION SPACE"),
        ('\u{2009}', "THIN SPACE"),
        ('\u{200A}', "HAIR SPACE"),
        ('\u{2028}', "LINE SEPARATOR"),
        ('\u{2029}', "PARAGRAPH SEPARATOR"),
        ('\u{202F}', "NARROW NO-BREAK SPACE"),
        ('\u{205F}', "MEDIUM MATHEMATICAL SPACE"),
        ('\u{2800}', "BRAILLE PATTERN BLANK"),
        ('\u{3000}', "IDEOGRAPHIC SPACE"),
        ('\u{3164}', "HANGUL FILLER"),
    ];
    const LIKE_ASCII: &[(char, &str, &str)] = &[
        ('\u{AB}', "LEFT-POINTING DOUBLE ANGLE QUOTATION MARK", "\""),
        ('\u{B4}', "ACUTE ACCENT", "'"),
        ('\u{BB}', "RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK", "\""),
        ('\u{D7}', "MULTIPLICATION SIGN", "*"),
        ('\u{F7}', "DIVISION SIGN", "/"),
        ('\u{2010}', "HYPHEN", "-"),
        ('\u{2011}', "NON-BREAKING HYPHEN", "-"),
        ('\u{2012}', "FIGURE DASH", "-"),
        ('\u{2013}', "EN DASH", "-"),
        ('\u{2014}', "EM DASH", "-"),
        ('\u{2015}', "HORIZONTAL BAR", "-"),
        ('\u{2018}', "LEFT SINGLE QUOTATION MARK", "'"),
        ('\u{2019}', "RIGHT SINGLE QUOTATION MARK", "'"),
        ('\u{201A}', "SINGLE LOW-9 QUOTATION MARK", "'"),
        ('\u{201B}', "SINGLE HIGH-REVERSED-9 QUOTATION MARK", "'"),
        ('\u{201C}', "LEFT DOUBLE QUOTATION MARK", "\""),
        ('\u{201D}', "RIGHT DOUBLE QUOTATION MARK", "\""),
        ('\u{201E}', "DOUBLE LOW-9 QUOTATION MARK", "\""),
        ('\u{201F}', "DOUBLE HIGH-REVERSED-9 QUOTATION MARK", "\""),
        ('\u{2026}', "HORIZONTAL ELLIPSIS", "..."),
        ('\u{2032}', "PRIME", "'"),
        ('\u{2033}', "DOUBLE PRIME", "\""),
        ('\u{2039}', "SINGLE LEFT-POINTING ANGLE QUOTATION MARK", "'"),
        (
            '\u{203A}',
            "SINGLE RIGHT-POINTING ANGLE QUOTATION MARK",
            "'",
        ),
        ('\u{2044}', "FRACTION SLASH", "/"),
        ('\u{2212}', "MINUS SIGN", "-"),
        ('\u{2217}', "ASTERISK OPERATOR", "*"),
        ('\u{3001}', "IDEOGRAPHIC COMMA", ","),
        ('\u{3002}', "IDEOGRAPHIC FULL STOP", "."),
        ('\u{3008}', "LEFT ANGLE BRACKET", "<"),
        ('\u{3009}', "RIGHT ANGLE BRACKET", ">"),
        ('\u{300C}', "LEFT CORNER BRACKET", "'"),
        ('\u{300D}', "RIGHT CORNER BRACKET", "'"),
        ('\u{3010}', "LEFT BLACK LENTICULAR BRACKET", "["),
        ('\u{3011}', "RIGHT BLACK LENTICULAR BRACKET", "]"),
    ];
    let named = |list: &[(char, &'static str)]| {
        let found = list.iter().find(|(known, _)| *known == c);
        found.map(|(_, name)| Cow::Borrowed(*name))
    };
    if let Some(name) = named(INVISIBLE) {
        return Some((name, "".into()));
    }
    if let Some(name) = named(SPACES) {
        return Some((name, " ".into()));
    }
    if let Some((_, name, ascii)) = LIKE_ASCII.iter().find(|(known, ..)| *known == c) {
        return Some(((*name).into(), (*ascii).into()));
    }
    let code = c as u32;
    match code {
        0xFF01..=0xFF5E => {
            let ascii = char::from_u32(code - 0xFEE0)?;
            let name = format!("FULLWIDTH {}", ascii_name(ascii));
            Some((name.into(), ascii.to_string().into()))
        }
        0xE0000..=0xE007F => Some(("TAG CHARACTER".into(), "".into())),
        0xFFFD => Some((
            "REPLACEMENT CHARACTER, what a wrong decoding leaves".into(),
            "".into(),
        )),
        0xFDD0..=0xFDEF => Some(("a code point that is no character".into(), "".into())),
        0 => Some(("NULL".into(), "".into())),
        _ if c.is_control() => Some(("a control character".into(), "".into())),
        _ => None,
    }
}

fn ascii_name(c: char) -> String {
    let name = match c {
        '!' => "EXCLAMATION MARK",
        '"' => "QUOTATION MARK",
        '#' => "NUMBER SIGN",
        '$' => "DOLLAR SIGN",
        '%' => "PERCENT SIGN",
        '&' => "AMPERSAND",
        '\'' => "APOSTROPHE",
        '(' => "LEFT PARENTHESIS",
        ')' => "RIGHT PARENTHESIS",
        '*' => "ASTERISK",
        '+' => "PLUS SIGN",
        ',' => "COMMA",
        '-' => "HYPHEN-MINUS",
        '.' => "FULL STOP",
        '/' => "SOLIDUS",
        ':' => "COLON",
        ';' => "SEMICOLON",
        '<' => "LESS-THAN SIGN",
        '=' => "EQUALS SIGN",
        '>' => "GREATER-THAN SIGN",
        '?' => "QUESTION MARK",
        '@' => "COMMERCIAL AT",
        '[' => "LEFT SQUARE BRACKET",
        '\\' => "REVERSE SOLIDUS",
        ']' => "RIGHT SQUARE BRACKET",
        '^' => "CIRCUMFLEX ACCENT",
        '_' => "LOW LINE",
        '`' => "GRAVE ACCENT",
        '{' => "LEFT CURLY BRACKET",
        '|' => "VERTICAL LINE",
        '}' => "RIGHT CURLY BRACKET",
        '~' => "TILDE",
        '0' => "DIGIT ZERO",
        '1' => "DIGIT ONE",
        '2' => "DIGIT TWO",
        '3' => "DIGIT THREE",
        '4' => "DIGIT FOUR",
        '5' => "DIGIT FIVE",
        '6' => "DIGIT SIX",
        '7' => "DIGIT SEVEN",
        '8' => "DIGIT EIGHT",
        '9' => "DIGIT NINE",
        'A'..='Z' => return format!("LATIN CAPITAL LETTER {c}"),
        _ => return format!("LATIN SMALL LETTER {}", c.to_ascii_uppercase()),
    };
    name.into()
}

/// Whether nothing, or nothing but space, is seen of it. A space, a tab and the end of a line are not meant.
pub(crate) fn is_invisible(c: char) -> bool {
    if matches!(c, ' '..='~' | '\n' | '\t') {
        return false;
    }
    known(c).is_some_and(|(_, meant)| matches!(&*meant, "" | " ")) && c != '\u{FFFD}'
}

/// Whether Python's `repr` writes it as an escape: it leaves a few as they are that cannot be seen.
pub(crate) fn has_escape(c: char) -> bool {
    is_invisible(c)
        && !matches!(
            c,
            '\u{34F}' | '\u{115F}' | '\u{FE0E}' | '\u{FE0F}' | '\u{FFFC}'
        )
}

/// JSON in which what cannot be seen, and what acts on a terminal, is written as escapes. It means the same.
pub fn visible_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The first invisible character of a text.
pub(crate) fn hidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_invisible(*c))
}

/// A character as a message names it: itself where it can be seen, its code, its name where we know it.
pub fn named(c: char) -> String {
    if matches!(c, ' '..='~') {
        return format!("`{c}`");
    }
    let code = format!("U+{:04X}", c as u32);
    let name = known(c).map(|(name, _)| format!(" {name}"));
    let name = name.unwrap_or_default();
    if is_invisible(c) || c.is_control() {
        return format!("{code}{name}");
    }
    format!("`{c}` ({code}{name})")
}

/// What to do about a character that has no place here.
pub(crate) fn advice(c: char, text: &str) -> Option<String> {
    let meant = match c {
        '`' => "'".into(),
        _ => known(c)?.1,
    };
    let what = match &*meant {
        "" => "take it away".to_owned(),
        " " => "write an ordinary space in its place".to_owned(),
        ascii => format!("write `{ascii}` in its place"),
    };
    let count = text.chars().filter(|other| *other == c).count();
    Some(match count {
        0 | 1 => what,
        n => format!("{what}; there are {n} of it in this file"),
    })
}

/// How a character stands in a line that is shown; `None`: as itself.
pub(crate) fn shown(c: char) -> Option<String> {
    match c {
        '\t' => Some(" ".into()),
        _ if is_invisible(c) => Some(format!("<U+{:04X}>", c as u32)),
        _ => None,
    }
}

/// A text in which invisible characters are shown by their codes: `ResNet<U+200B>`. Tabs and ends of lines stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t'))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match shown(c).filter(|_| c != '\t') {
            Some(code) => out.push_str(&code),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// As [`visible`], of what is to be one line: ends of lines and tabs are shown too.
pub fn line(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    if !shown.contains(['\n', '\t']) {
        return shown;
    }
    Cow::Owned(shown.replace('\n', "\\n").replace('\t', "\\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes() {
        for (c, expected) in [
            ('$', "`$`"),
            ('\u{A0}', "U+00A0 NO-BREAK SPACE"),
            ('\u{200B}', "U+200B ZERO WIDTH SPACE"),
            ('，', "`，` (U+FF0C FULLWIDTH COMMA)"),
            ('Ａ', "`Ａ` (U+FF21 FULLWIDTH LATIN CAPITAL LETTER A)"),
            ('’', "`’` (U+2019 RIGHT SINGLE QUOTATION MARK)"),
            ('\x07', "U+0007 a control character"),
            ('\0', "U+0000 NULL"),
            ('€', "`€` (U+20AC)"),
        ] {
            assert_eq!(named(c), expected);
        }
    }

    #[test]
    fn advice_counts_them() {
        assert_eq!(
            advice('\u{A0}', "a\u{A0}=\u{A0}1").unwrap(),
            "write an ordinary space in its place; there are 2 of it in this file"
        );
        assert_eq!(advice('（', "（").unwrap(), "write `(` in its place");
        assert_eq!(advice('\u{200B}', "").unwrap(), "take it away");
        assert_eq!(advice('$', "$"), None);
    }

    #[test]
    fn what_is_invisible_is_shown() {
        assert_eq!(visible("ResNet\u{200B}"), "ResNet<U+200B>");
        assert_eq!(visible("D:\\data\new"), "D:\\data\new");
        assert_eq!(visible("é 数\t\x07"), "é 数\t<U+0007>");
    }
}
