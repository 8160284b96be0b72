//! Values as text: `str`, `repr`, f-strings, `str.format`, and `%`.

use super::super::python::ast::Piece;
use super::super::source::Span;
use super::super::substitute::MARK;
use super::super::text;
use super::functions::Arguments;
use super::objects::Val;
use super::operators::Number;
use super::{Eval, Evaluator, NESTING};
use std::sync::Arc;

impl Evaluator<'_> {
    /// `str(val)`.
    pub(super) fn str(&mut self, val: &Val, span: Span) -> Eval<Arc<str>> {
        match val {
            Val::Str(s) => Ok(s.clone()),
            Val::Lazy(o) => Ok(o.name.clone().unwrap_or_else(|| o.module.clone())),
            _ => Ok(self.repr(val, span)?.into()),
        }
    }

    /// `repr(val)`.
    pub(super) fn repr(&mut self, val: &Val, span: Span) -> Eval<String> {
        let mut out = String::new();
        self.repr_into(val, &mut out, span, 0)?;
        Ok(out)
    }

    fn repr_into(&mut self, val: &Val, out: &mut String, span: Span, depth: usize) -> Eval<()> {
        if depth > NESTING {
            return self.too_deep(span);
        }
        let before = out.len();
        match val {
            Val::None => out.push_str("None"),
            Val::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
            Val::Int(i) => out.push_str(&i.to_string()),
            Val::Float(x) => out.push_str(&text::float(*x)),
            Val::Str(s) => out.push_str(&text::string(s)),
            Val::Range(from, to, 1) => out.push_str(&format!("range({from}, {to})")),
            Val::Range(from, to, step) => out.push_str(&format!("range({from}, {to}, {step})")),
            Val::Lazy(o) => out.push_str(o.name.as_ref().unwrap_or(&o.module)),
            Val::List(id) | Val::Tuple(id) => {
                let list = matches!(val, Val::List(_));
                out.push(if list { '[' } else { '(' });
                let count = self.items(*id).len();
                for index in 0..count {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    let item = self.item(*id, index);
                    self.repr_into(&item, out, span, depth + 1)?;
                }
                out.push_str(match (list, count) {
                    (true, _) => "]",
                    (false, 1) => ",)",
                    _ => ")",
                });
                return self.step(1, span);
            }
            Val::Set(id) => {
                let items: Vec<Val> = self
                    .set_items(*id)
                    .values()
                    .map(|i| i.val.clone())
                    .collect();
                out.push_str(if items.is_empty() { "set(" } else { "{" });
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.repr_into(item, out, span, depth + 1)?;
                }
                out.push_str(if items.is_empty() { ")" } else { "}" });
                return self.step(1, span);
            }
            Val::Dict(id) => {
                out.push('{');
                for (index, (key, item, at)) in self.all_entries(*id, span)?.into_iter().enumerate()
                {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    let key = self.key_val(&key, &at);
                    self.repr_into(&key, out, span, depth + 1)?;
                    out.push_str(": ");
                    self.repr_into(&item.val, out, span, depth + 1)?;
                }
                out.push('}');
                return self.step(1, span);
            }
            _ => return self.fail(span, format!("a {} has no text", self.type_name(val))),
        }
        self.room(out.len() - before, span)
    }

    /// `format(val, spec)`.
    pub(super) fn format_value(&mut self, val: &Val, spec: &str, span: Span) -> Eval<String> {
        if spec.is_empty() {
            return Ok(self.str(val, span)?.to_string());
        }
        self.scan(spec, span)?;
        let wrong = |this: &Self, message: String| this.fail(span, message);
        let spec = match text::Spec::parse(spec) {
            Ok(spec) => spec,
            Err(message) => return wrong(self, message),
        };
        let as_text;
        let item = match val {
            Val::Int(i) => text::Item::Int(*i),
            Val::Bool(b) => text::Item::Int(i64::from(*b)),
            Val::Float(x) => text::Item::Float(*x),
            Val::Str(s) => text::Item::Text(s),
            // Python gives other types no layout.
            _ => {
                as_text = self.type_name(val);
                return wrong(self, format!("a {as_text} takes no format specification"));
            }
        };
        text::format(item, &spec).or_else(|message| wrong(self, message))
    }

    fn converted(&mut self, val: Val, conversion: Option<char>, span: Span) -> Eval<Val> {
        Ok(match conversion {
            None => val,
            Some('s') => Val::Str(self.str(&val, span)?),
            Some('a') => {
                let text = self.repr(&val, span)?;
                let escape = |c: char| match c as u32 {
                    0..0x80 => c.to_string(),
                    code @ 0x80..0x100 => format!("\\x{code:02x}"),
                    code @ 0x100..0x10000 => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                };
                Val::Str(text.chars().map(escape).collect::<String>().into())
            }
            Some(_) => Val::Str(self.repr(&val, span)?.into()),
        })
    }

    /// An f-string.
    pub(super) fn format_string(&mut self, pieces: &[Piece<'_>], span: Span) -> Eval<String> {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field {
                    value,
                    conversion,
                    spec,
                    debug,
                } => {
                    let val = self.expression(value)?;
                    let spec = self.format_string(spec, span)?;
                    let mut conversion = *conversion;
                    if let Some(debug) = debug {
                        out.push_str(debug);
                        if spec.is_empty() && conversion.is_none() {
                            conversion = Some('r');
                        }
                    }
                    let val = self.converted(val, conversion, value.span)?;
                    let text = self.format_value(&val, &spec, value.span)?;
                    self.room(text.len(), span)?;
                    out.push_str(&text);
                }
            }
        }
        Ok(out)
    }

    /// `template.format(...)`.
    pub(super) fn str_format(
        &mut self,
        template: &str,
        arguments: &Arguments,
        span: Span,
    ) -> Eval<String> {
        let mut automatic = 0;
        self.str_format_within(template, arguments, &mut automatic, span, 0)
    }

    fn str_format_within(
        &mut self,
        template: &str,
        arguments: &Arguments,
        automatic: &mut usize,
        span: Span,
        depth: usize,
    ) -> Eval<String> {
        if depth > 2 {
            return self.fail(span, "fields are nested too deep in this format string");
        }
        if template.contains(MARK) {
            return Err(super::Halt::Error(Box::new(super::objects::misplaced(
                &self.origin(span),
            ))));
        }
        let (mut out, mut rest) = (String::new(), template);
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            if rest[at + 1..].starts_with(brace) {
                out.push_str(brace);
                rest = &rest[at + 2..];
                continue;
            }
            let mut open = 0usize;
            let close = rest[at..].char_indices().find(|(_, c)| {
                open = match c {
                    '{' => open + 1,
                    '}' => open.saturating_sub(1),
                    _ => open,
                };
                open == 0 && *c == '}'
            });
            let Some((length, _)) = close.filter(|_| brace == "{") else {
                return self.fail(
                    span,
                    format!("a single `{brace}` in a format string; write `{brace}{brace}`"),
                );
            };
            let field = &rest[at + 1..at + length];
            rest = &rest[at + length + 1..];
            let (field, spec) = field.split_once(':').unwrap_or((field, ""));
            let (name, conversion) = match field.rsplit_once('!') {
                Some((name, conversion)) => (name, conversion.chars().next()),
                None => (field, None),
            };
            // Its argument is looked for among all.
            self.step(1, span)?;
            self.copies(arguments.named.len(), span)?;
            let val = self.field(name, arguments, automatic, span)?;
            let spec = self.str_format_within(spec, arguments, automatic, span, depth + 1)?;
            let val = self.converted(val, conversion, span)?;
            let text = self.format_value(&val, &spec, span)?;
            self.room(text.len(), span)?;
            out.push_str(&text);
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The argument that a field such as `0`, `name`, `a.b` or `a[0]` names.
    fn field(
        &mut self,
        name: &str,
        arguments: &Arguments,
        automatic: &mut usize,
        span: Span,
    ) -> Eval<Val> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let found = if first.is_empty() {
            *automatic += 1;
            arguments.positional.get(*automatic - 1)
        } else if let Ok(index) = first.parse::<usize>() {
            arguments.positional.get(index)
        } else {
            let mut named = arguments.named.iter();
            named
                .find(|(n, _, _)| &**n == first)
                .map(|(_, item, _)| item)
        };
        let Some(item) = found else {
            return self.fail(
                span,
                format!("the format string's field `{{{name}}}` has no argument"),
            );
        };
        let mut val = item.val.clone();
        while !rest.is_empty() {
            let inner = if let Some(after) = rest.strip_prefix('[') {
                let Some((key, after)) = after.split_once(']') else {
                    return self.fail(span, "a `]` is missing in the format string");
                };
                rest = after;
                match key.parse() {
                    Ok(index) => Val::Int(index),
                    Err(_) => Val::Str(key.into()),
                }
            } else {
                let after = &rest[1..];
                let end = after.find(['.', '[']).unwrap_or(after.len());
                rest = &after[end..];
                val = self.attribute(&val, &after[..end], span)?;
                continue;
            };
            val = self.index(&val, &inner, span)?;
        }
        Ok(val)
    }

    /// `template % values`.
    pub(super) fn percent(&mut self, template: &str, values: &Val, span: Span) -> Eval<Val> {
        if template.contains(MARK) {
            return Err(super::Halt::Error(Box::new(super::objects::misplaced(
                &self.origin(span),
            ))));
        }
        let mut list: Vec<Val> = match values {
            Val::Tuple(id) => self
                .all_items(*id, span)?
                .into_iter()
                .map(|i| i.val)
                .collect(),
            other => vec![other.clone()],
        };
        list.reverse();
        let (mut out, mut rest, mut named) = (String::new(), template, false);
        self.scan(template, span)?;
        while let Some(at) = rest.find('%') {
            self.step(1, span)?;
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let mut val = None;
            if let Some(after) = rest.strip_prefix('(') {
                let Some((key, after)) = after.split_once(')') else {
                    return self.fail(span, "a `)` is missing in the format string");
                };
                rest = after;
                named = true;
                val = Some(self.index(values, &Val::Str(key.into()), span)?);
            }
            let end = rest.find(|c: char| c.is_ascii_alphabetic() || c == '%');
            let Some(end) = end else {
                return self.fail(span, "this `%` has no letter after its flags");
            };
            let (flags, kind) = (&rest[..end], &rest[end..end + 1]);
            rest = &rest[end + 1..];
            if kind == "%" {
                out.push('%');
                continue;
            }
            let Some(val) = val.or_else(|| list.pop()) else {
                return self.fail(span, "this format string has more fields than values");
            };
            let text = self.percent_field(&val, flags, kind, span)?;
            self.room(text.len(), span)?;
            out.push_str(&text);
        }
        out.push_str(rest);
        if !named && !list.is_empty() {
            return self.fail(span, "this format string has fewer fields than values");
        }
        self.string(out, span)
    }

    fn percent_field(&mut self, val: &Val, flags: &str, kind: &str, span: Span) -> Eval<String> {
        let split = flags
            .find(|c: char| !"-+ #0".contains(c))
            .unwrap_or(flags.len());
        let (flags, size) = flags.split_at(split);
        let (left, plus) = (flags.contains('-'), flags.contains('+'));
        let mut layout = String::from(if left { "<" } else { "" });
        layout.push_str(if plus {
            "+"
        } else if flags.contains(' ') {
            " "
        } else {
            ""
        });
        layout.push_str(if flags.contains('#') { "#" } else { "" });
        match kind {
            "s" | "r" | "a" => {
                let text = match kind {
                    "s" => self.str(val, span)?,
                    _ => self.repr(val, span)?.into(),
                };
                let layout = format!("{}{size}", if left { "<" } else { ">" });
                self.format_value(&Val::Str(text), &layout, span)
            }
            "d" | "i" | "u" | "x" | "X" | "o" => {
                let number = match Number::of(val) {
                    Some(Number::Int(i)) => i,
                    Some(Number::Float(x))
                        if kind.len() == 1 && "diu".contains(kind) && x.is_finite() =>
                    {
                        x as i64
                    }
                    _ => return self.fail(span, format!("`%{kind}` needs an integer")),
                };
                let letter = if "diu".contains(kind) { "d" } else { kind };
                let zero = if flags.contains('0') && !left {
                    "0"
                } else {
                    ""
                };
                self.format_value(
                    &Val::Int(number),
                    &format!("{layout}{zero}{size}{letter}"),
                    span,
                )
            }
            "e" | "E" | "f" | "F" | "g" | "G" => {
                let Some(number) = Number::of(val) else {
                    return self.fail(span, format!("`%{kind}` needs a number"));
                };
                let zero = if flags.contains('0') && !left {
                    "0"
                } else {
                    ""
                };
                self.format_value(
                    &Val::Float(number.float()),
                    &format!("{layout}{zero}{size}{kind}"),
                    span,
                )
            }
            _ => self.fail(span, format!("`%{kind}` is no format")),
        }
    }
}
