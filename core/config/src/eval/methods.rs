//! Methods of str, list, tuple, set and dict, and of the dicts of a base.

use super::super::source::Span;
use super::super::value::Key;
use super::functions::Arguments;
use super::objects::{Id, Item, Val};
use super::{Eval, Evaluator};

impl Evaluator<'_> {
    /// Calls `val.name(...)`; none if there is no such method.
    pub(super) fn method(
        &mut self,
        val: &Val,
        name: &str,
        arguments: Arguments,
        span: Span,
    ) -> Eval<Option<Val>> {
        self.step(1, span)?;
        self.scan_arguments(&arguments, span)?;
        match val {
            Val::Str(s) => self.str_method(&s.clone(), name, &arguments, span),
            Val::List(id) => self.list_method(*id, name, arguments, span),
            Val::Tuple(id) if matches!(name, "index" | "count") => {
                self.list_method(*id, name, arguments, span)
            }
            Val::Dict(id) => self.dict_method(*id, name, arguments, span),
            Val::Set(id) => self.set_method(*id, name, arguments, span),
            Val::Builtin("dict") if name == "fromkeys" => {
                self.dict_method(usize::MAX, name, arguments, span)
            }
            Val::Globals if name == "update" => {
                if let Some(val) = arguments.get(0).cloned() {
                    for (key, item, at) in self.pairs(&val, span)? {
                        if let Key::Str(name) = key {
                            self.globals.insert(name, (item, at));
                        }
                    }
                }
                for (name, item, at) in arguments.named {
                    self.globals.insert(name, (item, at));
                }
                Ok(Some(Val::None))
            }
            _ => Ok(None),
        }
    }

    fn text_argument(
        &self,
        arguments: &Arguments,
        index: usize,
        method: &str,
        span: Span,
    ) -> Eval<std::sync::Arc<str>> {
        match arguments.get(index) {
            Some(Val::Str(s)) => Ok(s.clone()),
            Some(other) => self.fail(
                span,
                format!("`{method}` takes a string, not a {}", self.type_name(other)),
            ),
            None => self.fail(span, format!("`{method}` takes a string")),
        }
    }

    fn str_method(
        &mut self,
        s: &str,
        name: &str,
        arguments: &Arguments,
        span: Span,
    ) -> Eval<Option<Val>> {
        let text = |this: &mut Self, text: String| this.string(text, span).map(Some);
        let at = self.origin(span);
        let list = |this: &mut Self, parts: Vec<String>| -> Eval<Option<Val>> {
            this.size(parts.len(), span)?;
            let mut items = Vec::with_capacity(parts.len());
            for part in parts {
                let val = this.string(part, span)?;
                items.push(Item {
                    val,
                    at: at.clone(),
                });
            }
            Ok(Some(this.list(items)))
        };
        let chars = match arguments.get(0) {
            Some(Val::Str(chars)) => Some(chars.clone()),
            _ => None,
        };
        let strip = |c: char| match &chars {
            Some(chars) => chars.contains(c),
            None => c.is_whitespace(),
        };
        let limit = match arguments.any(1, "maxsplit") {
            Some(Val::Int(n)) if *n >= 0 => *n as usize,
            _ => usize::MAX - 1,
        };
        self.step(s.len() / 16, span)?;
        if let ("strip" | "lstrip" | "rstrip", Some(chars)) = (name, &chars) {
            // Each character may be looked for in all of them.
            self.step(s.len().saturating_mul(chars.len() / 64), span)?;
        }
        match name {
            "lower" | "casefold" => text(self, s.to_lowercase()),
            "upper" => text(self, s.to_uppercase()),
            "capitalize" => {
                let mut rest = s.chars();
                let first: String = rest
                    .next()
                    .map(|c| c.to_uppercase().collect())
                    .unwrap_or_default();
                text(self, first + &rest.as_str().to_lowercase())
            }
            "title" => {
                let mut inside = false;
                let mut out = String::new();
                for c in s.chars() {
                    if inside {
                        out.extend(c.to_lowercase())
                    } else {
                        out.extend(c.to_uppercase())
                    }
                    inside = c.is_alphabetic();
                }
                text(self, out)
            }
            "strip" => text(self, s.trim_matches(strip).to_owned()),
            "lstrip" => text(self, s.trim_start_matches(strip).to_owned()),
            "rstrip" => text(self, s.trim_end_matches(strip).to_owned()),
            "replace" => {
                let (from, to) = (
                    self.text_argument(arguments, 0, name, span)?,
                    self.text_argument(arguments, 1, name, span)?,
                );
                let times = match arguments.any(2, "count") {
                    Some(Val::Int(n)) if *n >= 0 => *n as usize,
                    _ => usize::MAX,
                };
                let found = s.matches(&*from).count().min(times);
                self.room(s.len() + found.saturating_mul(to.len()), span)?;
                text(self, s.replacen(&*from, &to, times))
            }
            "split" | "rsplit" => {
                let separator = arguments.any(0, "sep").cloned();
                let parts = match separator {
                    None | Some(Val::None) => split_spaces(s, limit, name == "rsplit"),
                    Some(Val::Str(sep)) if sep.is_empty() => {
                        return self.fail(span, "the separator is empty");
                    }
                    Some(Val::Str(sep)) if name == "split" => {
                        s.splitn(limit + 1, &*sep).map(str::to_owned).collect()
                    }
                    Some(Val::Str(sep)) => {
                        let mut parts: Vec<String> =
                            s.rsplitn(limit + 1, &*sep).map(str::to_owned).collect();
                        parts.reverse();
                        parts
                    }
                    Some(_) => return self.fail(span, "the separator is a string"),
                };
                list(self, parts)
            }
            "splitlines" => list(self, s.lines().map(str::to_owned).collect()),
            "join" => {
                let Some(items) = arguments.get(0).cloned() else {
                    return self.fail(span, "`join` takes the strings to join");
                };
                let mut out = String::new();
                for (index, item) in self.iterate(&items, span)?.into_iter().enumerate() {
                    let Val::Str(part) = &item.val else {
                        let message =
                            format!("`join` takes strings, not a {}", self.type_name(&item.val));
                        return self.fail_help(
                            span,
                            message,
                            "make them strings: `str(x) for x in ...`",
                        );
                    };
                    self.room(part.len() + s.len(), span)?;
                    out.push_str(if index > 0 { s } else { "" });
                    out.push_str(part);
                }
                text(self, out)
            }
            "format" => {
                let out = self.str_format(s, arguments, span)?;
                text(self, out)
            }
            "startswith" | "endswith" => {
                let options = match arguments.get(0).cloned() {
                    Some(Val::Tuple(id)) => self
                        .all_items(id, span)?
                        .into_iter()
                        .map(|i| i.val)
                        .collect(),
                    Some(other) => vec![other],
                    None => Vec::new(),
                };
                self.step(options.len() / 4, span)?;
                for option in &options {
                    if let Val::Str(option) = option {
                        self.scan(option, span)?;
                    }
                }
                let found = options.iter().any(|o| match o {
                    Val::Str(o) if name == "startswith" => s.starts_with(&**o),
                    Val::Str(o) => s.ends_with(&**o),
                    _ => false,
                });
                Ok(Some(Val::Bool(found)))
            }
            "removeprefix" | "removesuffix" => {
                let part = self.text_argument(arguments, 0, name, span)?;
                let cut = if name == "removeprefix" {
                    s.strip_prefix(&*part)
                } else {
                    s.strip_suffix(&*part)
                };
                text(self, cut.unwrap_or(s).to_owned())
            }
            "find" | "rfind" | "index" | "rindex" => {
                let part = self.text_argument(arguments, 0, name, span)?;
                let found = if name.starts_with('r') {
                    s.rfind(&*part)
                } else {
                    s.find(&*part)
                };
                match found {
                    Some(at) => Ok(Some(Val::Int(s[..at].chars().count() as i64))),
                    None if name.ends_with("find") => Ok(Some(Val::Int(-1))),
                    None => self.fail(span, format!("`{part}` is not in this string")),
                }
            }
            "count" => {
                let part = self.text_argument(arguments, 0, name, span)?;
                Ok(Some(Val::Int(s.matches(&*part).count() as i64)))
            }
            "partition" | "rpartition" => {
                let part = self.text_argument(arguments, 0, name, span)?;
                let split = if name == "partition" {
                    s.split_once(&*part)
                } else {
                    s.rsplit_once(&*part)
                };
                let parts = match split {
                    Some((a, b)) => [a, &*part, b],
                    None if name == "partition" => [s, "", ""],
                    None => ["", "", s],
                };
                let item = |p: &str| Item {
                    val: Val::Str(p.into()),
                    at: at.clone(),
                };
                let parts = parts.into_iter().map(item).collect();
                Ok(Some(self.tuple(parts)))
            }
            "zfill" | "ljust" | "rjust" | "center" => {
                let Some(Val::Int(width @ 0..=10_000)) = arguments.get(0) else {
                    return self.fail(span, format!("`{name}` takes a width of at most 10000"));
                };
                let missing = (*width as usize).saturating_sub(s.chars().count());
                let fill = match arguments.get(1) {
                    Some(Val::Str(fill)) if fill.chars().count() == 1 => fill.to_string(),
                    Some(_) => {
                        return self.fail(span, format!("`{name}` fills with one character"));
                    }
                    None => " ".to_owned(),
                };
                text(
                    self,
                    match name {
                        "zfill" => {
                            let split = usize::from(s.starts_with(['+', '-']));
                            format!("{}{}{}", &s[..split], "0".repeat(missing), &s[split..])
                        }
                        "ljust" => s.to_owned() + &fill.repeat(missing),
                        "rjust" => fill.repeat(missing) + s,
                        _ => {
                            let left = missing / 2 + (missing & *width as usize & 1);
                            fill.repeat(left) + s + &fill.repeat(missing - left)
                        }
                    },
                )
            }
            "isdigit" | "isnumeric" | "isdecimal" => Ok(Some(Val::Bool(
                !s.is_empty() && s.chars().all(char::is_numeric),
            ))),
            "isalpha" => Ok(Some(Val::Bool(
                !s.is_empty() && s.chars().all(char::is_alphabetic),
            ))),
            "isalnum" => Ok(Some(Val::Bool(
                !s.is_empty() && s.chars().all(char::is_alphanumeric),
            ))),
            "islower" => Ok(Some(Val::Bool(
                s != s.to_uppercase() && s == s.to_lowercase(),
            ))),
            "isupper" => Ok(Some(Val::Bool(
                s != s.to_lowercase() && s == s.to_uppercase(),
            ))),
            _ => Ok(None),
        }
    }

    fn list_method(
        &mut self,
        id: Id,
        name: &str,
        arguments: Arguments,
        span: Span,
    ) -> Eval<Option<Val>> {
        let this = Val::List(id);
        let first = arguments.positional.first().cloned();
        let wants = |evaluator: &Self| evaluator.fail(span, format!("`{name}` takes an argument"));
        match name {
            "append" => {
                let Some(item) = first else {
                    return wants(self);
                };
                self.items_mut(id).push(item);
            }
            "extend" => {
                let Some(item) = first else {
                    return wants(self);
                };
                let more = self.iterate(&item.val, span)?;
                self.size(self.items(id).len() + more.len(), span)?;
                self.items_mut(id).extend(more);
            }
            "insert" => {
                let (Some(Val::Int(at)), Some(item)) =
                    (arguments.get(0), arguments.positional.get(1))
                else {
                    return self.fail(span, "`insert` takes an index and a value");
                };
                let length = self.items(id).len();
                let at = if *at < 0 {
                    at.saturating_add(length as i64).max(0)
                } else {
                    *at
                };
                let at = usize::try_from(at).unwrap_or(0).min(length);
                self.step(length - at, span)?;
                self.items_mut(id).insert(at, item.clone());
            }
            "pop" => {
                let length = self.items(id).len();
                let index = first.map_or(Val::Int(-1), |i| i.val);
                let at = self.position(length, &index, &this, span)?;
                let val = self.item(id, at);
                self.step(length - at, span)?;
                self.items_mut(id).remove(at);
                return Ok(Some(val));
            }
            "remove" | "index" | "count" => {
                let Some(wanted) = first else {
                    return wants(self);
                };
                let mut found = Vec::new();
                for index in 0..self.items(id).len() {
                    let item = self.item(id, index);
                    if self.equal(&item, &wanted.val, span)? {
                        found.push(index);
                    }
                }
                match (name, found.first()) {
                    ("count", _) => return Ok(Some(Val::Int(found.len() as i64))),
                    ("index", Some(at)) => return Ok(Some(Val::Int(*at as i64))),
                    ("remove", Some(at)) => {
                        self.copies(self.items(id).len(), span)?;
                        self.items_mut(id).remove(*at);
                    }
                    _ => return self.fail(span, "this value is not in the list"),
                }
            }
            "reverse" => {
                self.copies(self.items(id).len(), span)?;
                self.items_mut(id).reverse();
            }
            "clear" => self.items_mut(id).clear(),
            "copy" => return self.copied(&this, span).map(Some),
            "sort" => {
                if arguments
                    .named("key")
                    .is_some_and(|k| !matches!(k, Val::None))
                {
                    return self.unsupported(span, "it sorts by a function");
                }
                let reverse = arguments.named("reverse").is_some_and(|r| self.truth(r));
                let items = self.all_items(id, span)?;
                *self.items_mut(id) = self.sorted(items, reverse, span)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Val::None))
    }

    fn set_method(
        &mut self,
        id: Id,
        name: &str,
        arguments: Arguments,
        span: Span,
    ) -> Eval<Option<Val>> {
        let first = arguments.positional.first().cloned();
        match (name, first) {
            ("add", Some(item)) => {
                let key = self.key(&item.val, span)?;
                self.set_items_mut(id).entry(key).or_insert(item);
            }
            ("discard" | "remove", Some(item)) => {
                let key = self.key(&item.val, span)?;
                self.copies(self.set_items(id).len(), span)?;
                let found = self.set_items_mut(id).shift_remove(&key);
                if found.is_none() && name == "remove" {
                    return self.fail(span, "this value is not in the set");
                }
            }
            ("update", Some(item)) => {
                for item in self.iterate(&item.val, span)? {
                    let key = self.key(&item.val, span)?;
                    self.set_items_mut(id).entry(key).or_insert(item);
                }
            }
            ("union" | "intersection" | "difference", Some(item)) => {
                let items = self.iterate(&item.val, span)?;
                let mut other = indexmap::IndexMap::new();
                for item in items {
                    let key = self.key(&item.val, span)?;
                    other.entry(key).or_insert(item);
                }
                use super::super::python::ast::Binary::{And, Or, Sub};
                let other = self.set(other);
                let op = match name {
                    "union" => Or,
                    "intersection" => And,
                    _ => Sub,
                };
                return self.binary(op, &Val::Set(id), &other, span).map(Some);
            }
            ("copy", None) => return self.copied(&Val::Set(id), span).map(Some),
            ("clear", None) => self.set_items_mut(id).clear(),
            _ => return Ok(None),
        }
        Ok(Some(Val::None))
    }
}

/// `split()` without a separator: at runs of white space.
fn split_spaces(s: &str, limit: usize, from_right: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = if from_right {
        s.trim_end()
    } else {
        s.trim_start()
    };
    while !rest.is_empty() {
        if parts.len() >= limit {
            parts.push(rest.to_owned());
            break;
        }
        let (part, other) = if from_right {
            match rest.rfind(char::is_whitespace) {
                Some(i) => (rest[i..].trim_start(), rest[..i].trim_end()),
                None => (rest, ""),
            }
        } else {
            match rest.find(char::is_whitespace) {
                Some(i) => (&rest[..i], rest[i..].trim_start()),
                None => (rest, ""),
            }
        };
        parts.push(part.to_owned());
        rest = other;
    }
    if from_right {
        parts.reverse();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_at_spaces() {
        assert_eq!(
            split_spaces("  a  b c ", usize::MAX, false),
            ["a", "b", "c"]
        );
        assert_eq!(split_spaces(" a  b c ", 1, false), ["a", "b c "]);
        assert_eq!(split_spaces(" a  b c ", 1, true), [" a  b", "c"]);
        assert!(split_spaces("  ", 3, false).is_empty());
    }
}
