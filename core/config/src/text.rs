//! Python's text forms: `repr` of strings and floats, and format specifications.

use super::characters::has_escape;
use super::diagnostic::{VALUE, cut};

/// `repr` of a float: the shortest digits that read back, as Python writes them.
pub fn float(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    // Rust gives the shortest digits too; only the layout differs.
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{x}");
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}

/// The escape of a character in a string of Python.
pub(crate) fn escape(c: char) -> String {
    match c as u32 {
        code @ 0..0x100 => format!("\\x{code:02x}"),
        code @ 0x100..0x10000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// `repr` of a string: single quotes unless that needs escapes and double quotes do not.
pub fn string(s: &str) -> String {
    let quote = if s.contains('\'') && !s.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(s.len() + 2);
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if has_escape(c) => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// As [`string`], for a message: cut to a length that can be read.
pub(crate) fn quoted(s: &str) -> String {
    string(&cut(s, VALUE))
}

/// A number or string to be laid out by [`format()`].
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// An integer, or a bool in a numeric layout.
    Int(i64),
    /// A float.
    Float(f64),
    /// Any other value, already as text.
    Text(&'a str),
}

/// A parsed specification `[[fill]align][sign][#][0][width][,][.precision][type]`.
#[derive(Clone, Debug)]
pub struct Spec {
    fill: char,
    align: Option<char>,
    sign: char,
    alternate: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Largest width or precision; Python has no limit, but a config needs none larger.
const WIDEST: usize = 10_000;

impl Spec {
    /// Reads a specification; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let chars: Vec<char> = text.chars().collect();
        let is_align = |c: Option<&char>| c.is_some_and(|c| "<>=^".contains(*c));
        let mut spec = Spec {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            group: None,
            precision: None,
            kind: None,
        };
        let mut at = 0;
        if is_align(chars.get(1)) {
            (spec.fill, spec.align, at) = (chars[0], Some(chars[1]), 2);
        } else if is_align(chars.first()) {
            (spec.align, at) = (Some(chars[0]), 1);
        }
        if let Some(sign @ ('+' | '-' | ' ')) = chars.get(at) {
            (spec.sign, at) = (*sign, at + 1);
        }
        if chars.get(at) == Some(&'#') {
            (spec.alternate, at) = (true, at + 1);
        }
        if chars.get(at) == Some(&'0') {
            at += 1;
            if spec.align.is_none() {
                (spec.fill, spec.align) = ('0', Some('='));
            }
        }
        let number = |at: &mut usize| -> Result<Option<usize>, String> {
            let from = *at;
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            let digits: String = chars[from..*at].iter().collect();
            if digits.is_empty() {
                return Ok(None);
            }
            let value = digits.parse().ok().filter(|n| *n <= WIDEST);
            value
                .map(Some)
                .ok_or(format!("a width of {digits} is too large"))
        };
        spec.width = number(&mut at)?.unwrap_or(0);
        if let Some(group @ (',' | '_')) = chars.get(at) {
            (spec.group, at) = (Some(*group), at + 1);
        }
        if chars.get(at) == Some(&'.') {
            at += 1;
            spec.precision = number(&mut at)?;
            if spec.precision.is_none() {
                return Err("a precision is missing after `.`".into());
            }
        }
        (spec.kind, at) = (chars.get(at).copied(), at + usize::from(at < chars.len()));
        if at < chars.len() {
            return Err(format!("`{text}` is no format specification"));
        }
        Ok(spec)
    }
}

/// `format(item, spec)`.
pub fn format(item: Item<'_>, spec: &Spec) -> Result<String, String> {
    let wrong = |what: &str| {
        let kind = spec
            .kind
            .map_or("this layout".into(), |k| format!("layout `{k}`"));
        Err(format!("{kind} is not for {what}"))
    };
    match item {
        Item::Text(text) => {
            if !matches!(spec.kind, None | Some('s'))
                || spec.align == Some('=')
                || spec.group.is_some()
            {
                return wrong("a string");
            }
            let cut: String = match spec.precision {
                Some(length) => text.chars().take(length).collect(),
                None => text.to_owned(),
            };
            Ok(pad("", &cut, spec, '<'))
        }
        Item::Int(value) => {
            if matches!(spec.kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) {
                return format(Item::Float(value as f64), spec);
            }
            if spec.precision.is_some() {
                return wrong("an integer with a precision");
            }
            let magnitude = value.unsigned_abs();
            let (prefix, digits) = match spec.kind {
                None | Some('d' | 'n') => ("", magnitude.to_string()),
                Some('b') => ("0b", format!("{magnitude:b}")),
                Some('o') => ("0o", format!("{magnitude:o}")),
                Some('x') => ("0x", format!("{magnitude:x}")),
                Some('X') => ("0X", format!("{magnitude:X}")),
                Some('c') => {
                    let c = u32::try_from(value).ok().and_then(char::from_u32);
                    let c = c.ok_or("this number is no character")?;
                    return Ok(pad("", &c.to_string(), spec, '<'));
                }
                _ => return wrong("an integer"),
            };
            let every = if matches!(spec.kind, None | Some('d' | 'n')) {
                3
            } else {
                4
            };
            let prefix = if spec.alternate { prefix } else { "" };
            let lead = sign(value < 0, spec).to_owned() + prefix;
            Ok(pad(&lead, &grouped(&digits, spec.group, every), spec, '>'))
        }
        Item::Float(value) => {
            let digits = float_digits(value.abs(), spec)?;
            let split = digits.find(['.', 'e', 'E', '%']).unwrap_or(digits.len());
            let (whole, rest) = digits.split_at(split);
            let body = grouped(whole, spec.group, 3) + rest;
            Ok(pad(sign(value.is_sign_negative(), spec), &body, spec, '>'))
        }
    }
}

fn sign(negative: bool, spec: &Spec) -> &'static str {
    match (negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    }
}

/// The digits of a non-negative float.
fn float_digits(value: f64, spec: &Spec) -> Result<String, String> {
    let upper = spec.kind.is_some_and(|k| k.is_ascii_uppercase());
    if !value.is_finite() {
        let text = if value.is_nan() { "nan" } else { "inf" };
        let percent = if spec.kind == Some('%') { "%" } else { "" };
        return Ok(if upper {
            text.to_uppercase()
        } else {
            text.to_owned() + percent
        });
    }
    let precision = spec.precision.unwrap_or(6);
    let text = match spec.kind {
        None if spec.precision.is_none() => float(value),
        None => general(value, precision.max(1), spec.alternate, true),
        Some('f' | 'F') => format!("{value:.precision$}"),
        Some('%') => format!("{:.precision$}%", value * 100.0),
        Some('e' | 'E') => scientific(value, precision),
        Some('g' | 'G' | 'n') => general(value, precision.max(1), spec.alternate, false),
        Some(other) => return Err(format!("layout `{other}` is not for a float")),
    };
    Ok(if upper { text.to_uppercase() } else { text })
}

fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Layout `g`: `precision` significant digits, without trailing zeros. `keep` leaves one digit behind the point, as
/// the layout without a letter does.
fn general(value: f64, precision: usize, alternate: bool, keep: bool) -> String {
    let rounded = scientific(value, precision - 1);
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match (alternate, text.contains('.')) {
        (false, true) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text.to_owned(),
    };
    let highest = precision as i64 - i64::from(keep);
    if exponent < -4 || exponent >= highest.max(if keep { 1 } else { 0 }) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(digits), exponent.abs());
    }
    let places = (precision as i64 - 1 - exponent).max(0) as usize;
    let text = trim(&format!("{value:.places$}"));
    if keep && !text.contains('.') {
        text + ".0"
    } else {
        text
    }
}

fn grouped(digits: &str, group: Option<char>, every: usize) -> String {
    let Some(group) = group else {
        return digits.to_owned();
    };
    let length = digits.chars().count();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (length - i).is_multiple_of(every) {
            out.push(group);
        }
        out.push(c);
    }
    out
}

fn pad(lead: &str, body: &str, spec: &Spec, default: char) -> String {
    let length = lead.chars().count() + body.chars().count();
    let missing = spec.width.saturating_sub(length);
    let fill = |n: usize| spec.fill.to_string().repeat(n);
    match spec.align.unwrap_or(default) {
        '<' => format!("{lead}{body}{}", fill(missing)),
        '^' => format!(
            "{}{lead}{body}{}",
            fill(missing / 2),
            fill(missing - missing / 2)
        ),
        '=' => format!("{lead}{}{body}", fill(missing)),
        _ => format!("{}{lead}{body}", fill(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e15, "1000000000000000.0"),
            (-0.0, "-0.0"),
            (2.5e-7, "2.5e-07"),
            (f64::INFINITY, "inf"),
            (1e100, "1e+100"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn strings_as_python_writes_them() {
        for (value, text) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("a\n\\\x01é", "'a\\n\\\\\\x01é'"),
        ] {
            assert_eq!(string(value), text);
        }
    }

    #[test]
    fn layouts() {
        let lay = |item, spec: &str| format(item, &Spec::parse(spec).unwrap()).unwrap();
        assert_eq!(lay(Item::Int(5), "03d"), "005");
        assert_eq!(lay(Item::Int(-5), "04"), "-005");
        assert_eq!(lay(Item::Int(1234567), ","), "1,234,567");
        assert_eq!(lay(Item::Int(255), "#x"), "0xff");
        assert_eq!(lay(Item::Float(0.00012345), ".2e"), "1.23e-04");
        assert_eq!(lay(Item::Float(1234.5), ".1f"), "1234.5");
        assert_eq!(lay(Item::Float(2.5), ".0f"), "2");
        assert_eq!(lay(Item::Float(0.0001), "g"), "0.0001");
        assert_eq!(lay(Item::Float(1e-5), "g"), "1e-05");
        assert_eq!(lay(Item::Float(100000.0), ".3g"), "1e+05");
        assert_eq!(lay(Item::Float(3.0), ".3"), "3.0");
        assert_eq!(lay(Item::Float(0.25), ".1%"), "25.0%");
        assert_eq!(lay(Item::Text("ab"), "*^6"), "**ab**");
        assert_eq!(lay(Item::Text("abc"), ".2"), "ab");
        assert!(Spec::parse("999999999d").is_err() && Spec::parse("5dd").is_err());
        assert!(format(Item::Text("a"), &Spec::parse("d").unwrap()).is_err());
    }
}
