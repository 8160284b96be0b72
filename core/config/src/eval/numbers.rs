//! Functions on numbers and their texts, `math`, and the pure part of `os.path`.

use super::super::source::Span;
use super::functions::Arguments;
use super::objects::{Item, Val};
use super::operators::{Number, float_divmod};
use super::{Eval, Evaluator};

impl Evaluator<'_> {
    pub(super) fn call_on_numbers(
        &mut self,
        name: &'static str,
        arguments: &Arguments,
        span: Span,
    ) -> Eval<Val> {
        let first = arguments.get(0).cloned();
        let Some(val) = first else {
            return match name {
                "int" => Ok(Val::Int(0)),
                "float" => Ok(Val::Float(0.0)),
                "bool" => Ok(Val::Bool(false)),
                "str" => Ok(Val::Str("".into())),
                _ => self.fail(span, format!("`{name}` takes an argument")),
            };
        };
        let number = Number::of(&val);
        match (name, number) {
            ("bool", _) => Ok(Val::Bool(self.truth(&val))),
            ("str", _) => Ok(Val::Str(self.str(&val, span)?)),
            ("int", Some(Number::Int(i))) => Ok(Val::Int(i)),
            ("int", Some(Number::Float(x))) => self.whole(x.trunc(), span),
            ("int", None) => {
                let base = match arguments.any(1, "base") {
                    None => 10,
                    Some(Val::Int(base @ 2..=36)) => *base as u32,
                    Some(_) => return self.fail(span, "the base of `int` is from 2 to 36"),
                };
                let Val::Str(text) = &val else {
                    return self.fail(span, format!("a {} is no integer", self.type_name(&val)));
                };
                match parse_int(text, base) {
                    Some(i) => Ok(Val::Int(i)),
                    None => self.fail(
                        span,
                        format!("{} is no integer", super::super::text::quoted(text)),
                    ),
                }
            }
            ("float", Some(n)) => Ok(Val::Float(n.float())),
            ("float", None) => match &val {
                Val::Str(text) => match parse_float(text) {
                    Some(x) => Ok(Val::Float(x)),
                    None => self.fail(
                        span,
                        format!("{} is no number", super::super::text::quoted(text)),
                    ),
                },
                _ => self.fail(span, format!("a {} is no number", self.type_name(&val))),
            },
            ("abs", Some(Number::Int(i))) => match i.checked_abs() {
                Some(i) => Ok(Val::Int(i)),
                None => self.overflow(span),
            },
            ("abs", Some(Number::Float(x))) => Ok(Val::Float(x.abs())),
            ("round", Some(n)) => match arguments.any(1, "ndigits") {
                None | Some(Val::None) => match n {
                    Number::Int(i) => Ok(Val::Int(i)),
                    Number::Float(x) => self.whole(x.round_ties_even(), span),
                },
                Some(Val::Int(digits)) => Ok(round_to(n, *digits)),
                Some(_) => self.fail(span, "the number of digits is an integer"),
            },
            ("divmod", Some(a)) => {
                let Some(b) = arguments.get(1).and_then(Number::of) else {
                    return self.fail(span, "`divmod` takes two numbers");
                };
                if b.float() == 0.0 {
                    return self.fail(span, "division by zero");
                }
                use super::super::python::ast::Binary::{FloorDiv, Mod};
                let other = arguments.get(1).cloned().unwrap_or(Val::None);
                let (quotient, rest) = match (a, b) {
                    (Number::Int(_), Number::Int(_)) => (
                        self.binary(FloorDiv, &val, &other, span)?,
                        self.binary(Mod, &val, &other, span)?,
                    ),
                    _ => {
                        let (q, r) = float_divmod(a.float(), b.float());
                        (Val::Float(q), Val::Float(r))
                    }
                };
                let at = self.origin(span);
                let item = |val| Item {
                    val,
                    at: at.clone(),
                };
                let items = vec![item(quotient), item(rest)];
                Ok(self.tuple(items))
            }
            ("pow", Some(_)) => match arguments.get(1).cloned() {
                Some(b) if arguments.positional.len() == 2 => {
                    self.binary(super::super::python::ast::Binary::Pow, &val, &b, span)
                }
                _ => self.fail(span, "`pow` takes two numbers"),
            },
            ("chr", Some(Number::Int(i))) => match u32::try_from(i).ok().and_then(char::from_u32) {
                Some(c) => self.string(c.to_string(), span),
                None => self.fail(span, format!("{i} is no character")),
            },
            ("ord", None) => match &val {
                Val::Str(s) if s.chars().count() == 1 => {
                    Ok(Val::Int(s.chars().next().map_or(0, |c| c as i64)))
                }
                _ => self.fail(span, "`ord` takes one character"),
            },
            _ => self.fail(
                span,
                format!("`{name}` is not for a {}", self.type_name(&val)),
            ),
        }
    }

    /// A float without a fraction as an integer.
    fn whole(&self, x: f64, span: Span) -> Eval<Val> {
        if !x.is_finite() {
            return self.fail(span, "this float is no integer");
        }
        if x.abs() >= 9.3e18 || (x as i64) as f64 != x {
            return self.overflow(span);
        }
        Ok(Val::Int(x as i64))
    }

    pub(super) fn path(&mut self, name: &str, arguments: &Arguments, span: Span) -> Eval<Val> {
        let mut parts = Vec::new();
        for item in &arguments.positional {
            match &item.val {
                Val::Str(s) => parts.push(s.clone()),
                other => {
                    return self.fail(
                        span,
                        format!("a path is a string, not a {}", self.type_name(other)),
                    );
                }
            }
        }
        self.room(parts.iter().map(|part| part.len() + 1).sum(), span)?;
        let Some(first) = parts.first() else {
            return self.fail(span, format!("`{name}` takes a path"));
        };
        let (folder, base) = match first.rfind('/') {
            Some(i) => (first[..=i].trim_end_matches('/'), &first[i + 1..]),
            None => ("", &**first),
        };
        let folder = if folder.is_empty() && first.starts_with('/') {
            "/"
        } else {
            folder
        };
        let text = match name {
            "os.path.join" => {
                let mut joined = String::new();
                for part in &parts {
                    if part.starts_with('/') {
                        joined.clear();
                    } else if !joined.is_empty() && !joined.ends_with('/') {
                        joined.push('/');
                    }
                    joined.push_str(part);
                }
                joined
            }
            "os.path.basename" => base.to_owned(),
            "os.path.dirname" => folder.to_owned(),
            _ => {
                let dot = base
                    .rfind('.')
                    .filter(|i| base[..*i].contains(|c| c != '.'));
                let split = first.len() - base.len() + dot.unwrap_or(base.len());
                let at = self.origin(span);
                let item = |s: &str| Item {
                    val: Val::Str(s.into()),
                    at: at.clone(),
                };
                let pair = vec![item(&first[..split]), item(&first[split..])];
                return Ok(self.tuple(pair));
            }
        };
        self.string(text, span)
    }

    pub(super) fn math(&mut self, name: &str, arguments: &Arguments, span: Span) -> Eval<Val> {
        let mut numbers = Vec::new();
        for item in &arguments.positional {
            match Number::of(&item.val) {
                Some(n) => numbers.push(n),
                None => return self.fail(span, format!("`{name}` takes numbers")),
            }
        }
        let Some(x) = numbers.first().map(|n| n.float()) else {
            return self.fail(span, format!("`{name}` takes a number"));
        };
        let second = numbers.get(1).map(|n| n.float());
        let value = match (name, second) {
            ("math.floor" | "math.ceil" | "math.trunc", None) => {
                if let Some(Number::Int(i)) = numbers.first() {
                    return Ok(Val::Int(*i));
                }
                let whole = match name {
                    "math.floor" => x.floor(),
                    "math.ceil" => x.ceil(),
                    _ => x.trunc(),
                };
                return self.whole(whole, span);
            }
            ("math.sqrt", None) if x >= 0.0 => x.sqrt(),
            ("math.exp", None) => x.exp(),
            ("math.log", None) if x > 0.0 => x.ln(),
            ("math.log", Some(base)) if x > 0.0 && base > 0.0 && base != 1.0 => x.ln() / base.ln(),
            ("math.log2", None) if x > 0.0 => x.log2(),
            ("math.log10", None) if x > 0.0 => x.log10(),
            ("math.sin", None) => x.sin(),
            ("math.cos", None) => x.cos(),
            ("math.tan", None) => x.tan(),
            ("math.atan", None) => x.atan(),
            ("math.atan2", Some(y)) => x.atan2(y),
            ("math.pow", Some(y)) => x.powf(y),
            ("math.fabs", None) => x.abs(),
            ("math.radians", None) => x.to_radians(),
            ("math.degrees", None) => x.to_degrees(),
            _ => return self.fail(span, format!("`{name}` is not defined for these arguments")),
        };
        if !value.is_finite() && x.is_finite() {
            return self.fail(span, format!("`{name}` is not defined for this number"));
        }
        Ok(Val::Float(value))
    }
}

/// Python's `int(text, base)`.
pub(in super::super) fn parse_int(text: &str, base: u32) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefix = match base {
        16 => "0x",
        8 => "0o",
        2 => "0b",
        _ => "",
    };
    let mut digits = lower.strip_prefix(prefix).unwrap_or(&lower);
    if digits.len() < lower.len() {
        digits = digits.strip_prefix('_').unwrap_or(digits);
    }
    let plain = without_underscores(digits)?;
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{plain}"), base).ok()
}

/// Python's `float(text)`.
pub(in super::super) fn parse_float(text: &str) -> Option<f64> {
    let plain = without_underscores(text.trim())?;
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let lower = unsigned.to_ascii_lowercase();
    let word = matches!(lower.as_str(), "inf" | "infinity" | "nan");
    if !word
        && !unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
    {
        return None;
    }
    plain.parse().ok()
}

/// The text without the underscores that may stand between two digits; none if one stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |i: Option<usize>| {
        i.and_then(|i| bytes.get(i))
            .is_some_and(u8::is_ascii_alphanumeric)
    };
    let fits = |(i, b): (usize, &u8)| *b != b'_' || (digit(i.checked_sub(1)) && digit(Some(i + 1)));
    let valid = bytes.iter().enumerate().all(fits);
    valid.then(|| text.replace('_', ""))
}

/// `round(number, digits)`, half to even on the exact value.
fn round_to(number: Number, digits: i64) -> Val {
    match number {
        Number::Int(i) if digits >= 0 => Val::Int(i),
        Number::Int(i) => {
            let Some(unit) = u32::try_from(-digits)
                .ok()
                .and_then(|d| 10i128.checked_pow(d))
            else {
                return Val::Int(0);
            };
            let value = i128::from(i);
            let (down, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
            let up = rest * 2 > unit || (rest * 2 == unit && down % 2 != 0);
            Val::Int(i64::try_from((down + i128::from(up)) * unit).unwrap_or(i))
        }
        Number::Float(x) if !x.is_finite() || digits > 300 => Val::Float(x),
        Number::Float(x) if digits >= 0 => {
            let places = digits as usize;
            Val::Float(format!("{x:.places$}").parse().unwrap_or(x))
        }
        Number::Float(x) => {
            let unit = 10f64.powi(digits.max(-400).unsigned_abs() as i32);
            Val::Float(if unit.is_finite() {
                (x / unit).round_ties_even() * unit
            } else {
                0.0
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_half_to_even() {
        let round = |x, d| match round_to(Number::Float(x), d) {
            Val::Float(x) => x,
            _ => f64::NAN,
        };
        assert_eq!(round(2.675, 2), 2.67);
        assert_eq!(round(0.125, 2), 0.12);
        assert_eq!(round(1234.5, -2), 1200.0);
        let int = |i, d| match round_to(Number::Int(i), d) {
            Val::Int(i) => i,
            _ => 0,
        };
        assert_eq!(
            (int(25, -1), int(35, -1), int(-15, -1), int(7, 2)),
            (20, 40, -20, 7)
        );
    }

    #[test]
    fn numbers_in_strings() {
        assert_eq!(parse_int(" +1_000 ", 10), Some(1000));
        assert_eq!(parse_int("0xff", 16), Some(255));
        for bad in ["", "1_", "_1", "1__0", "1.5", "a", "9223372036854775808"] {
            assert_eq!(parse_int(bad, 10), None, "{bad}");
        }
        assert_eq!(parse_float("1e-3"), Some(1e-3));
        assert_eq!(parse_float("-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_float("1_0.5"), Some(10.5));
        for bad in ["", "1e", "abc", "1_.5", "infx"] {
            assert_eq!(parse_float(bad), None, "{bad}");
        }
    }
}
