//! Going over the items of a value, indexing and slicing.

use super::super::source::Span;
use super::objects::{Item, Val};
use super::operators::{Number, range_len};
use super::{Eval, Evaluator};

impl Evaluator<'_> {
    /// All items over which `for` would go.
    pub(super) fn iterate(&mut self, val: &Val, span: Span) -> Eval<Vec<Item>> {
        let at = self.origin(span);
        let items = match val {
            Val::List(id) | Val::Tuple(id) => self.all_items(*id, span)?,
            Val::Iter(id) => std::mem::take(self.items_mut(*id)),
            Val::Set(id) => self.set_items(*id).values().cloned().collect(),
            Val::Dict(id) => {
                let keys: Vec<_> = self
                    .map(*id)
                    .iter()
                    .map(|(k, (_, at))| (k.clone(), at.clone()))
                    .collect();
                let item = |(key, at)| {
                    let val = self.key_val(&key, &at);
                    Item { val, at }
                };
                keys.into_iter().map(item).collect()
            }
            Val::Str(s) => {
                self.size(s.len(), span)?;
                let char = |c: char| Item {
                    val: Val::Str(c.encode_utf8(&mut [0; 4]).into()),
                    at: at.clone(),
                };
                s.chars().map(char).collect()
            }
            Val::Range(from, to, step) => {
                let count = range_len(*from, *to, *step);
                self.size(usize::try_from(count).unwrap_or(usize::MAX), span)?;
                let item = |i: i128| Item {
                    val: Val::Int((i128::from(*from) + i * i128::from(*step)) as i64),
                    at: at.clone(),
                };
                return Ok((0..count).map(item).collect());
            }
            _ => {
                return self.fail(
                    span,
                    format!("a {} has no items to go over", self.type_name(val)),
                );
            }
        };
        self.step(items.len(), span)?;
        Ok(items)
    }

    /// `len(val)`.
    pub(super) fn length(&mut self, val: &Val, span: Span) -> Eval<i64> {
        let length = match val {
            Val::Str(s) => {
                self.scan(s, span)?;
                s.chars().count()
            }
            Val::List(id) | Val::Tuple(id) => self.items(*id).len(),
            Val::Set(id) => self.set_items(*id).len(),
            Val::Dict(id) => self.map(*id).len(),
            Val::Range(from, to, step) => {
                usize::try_from(range_len(*from, *to, *step)).unwrap_or(0)
            }
            _ => return self.fail(span, format!("a {} has no length", self.type_name(val))),
        };
        Ok(length as i64)
    }

    /// `val[index]`.
    pub(super) fn index(&mut self, val: &Val, index: &Val, span: Span) -> Eval<Val> {
        match val {
            Val::Dict(id) => {
                let key = self.key(index, span)?;
                match self.entry(*id, &key) {
                    Some(val) => Ok(val),
                    None => self.no_key(*id, &key, span),
                }
            }
            Val::List(id) | Val::Tuple(id) => {
                let at = self.position(self.items(*id).len(), index, val, span)?;
                Ok(self.item(*id, at))
            }
            Val::Str(s) => {
                self.scan(s, span)?;
                let count = s.chars().count();
                let at = self.position(count, index, val, span)?;
                let c = s.chars().nth(at).unwrap_or(' ');
                Ok(Val::Str(c.encode_utf8(&mut [0; 4]).into()))
            }
            Val::Range(from, to, step) => {
                let count = usize::try_from(range_len(*from, *to, *step)).unwrap_or(usize::MAX);
                let at = self.position(count, index, val, span)?;
                Ok(Val::Int(
                    (i128::from(*from) + at as i128 * i128::from(*step)) as i64,
                ))
            }
            Val::Globals => {
                let name = match index {
                    Val::Str(name) => name.clone(),
                    _ => return self.fail(span, "names are strings"),
                };
                match self.globals.get(&*name) {
                    Some((item, _)) => Ok(item.val.clone()),
                    None => self.fail(span, format!("there is no name `{name}`")),
                }
            }
            _ => self.fail(span, format!("a {} cannot be indexed", self.type_name(val))),
        }
    }

    /// The error for a missing key.
    pub(super) fn no_key<T>(
        &mut self,
        id: super::objects::Id,
        key: &super::super::value::Key,
        span: Span,
    ) -> Eval<T> {
        let names: Vec<String> = self.map(id).keys().map(ToString::to_string).collect();
        let message = format!("there is no key `{key}` here");
        let near =
            super::super::nearest::nearest(&key.to_string(), names.iter().map(String::as_str));
        match near {
            Some(near) => self.fail_help(span, message, format!("did you mean `{near}`?")),
            None if names.len() <= 12 && !names.is_empty() => {
                self.fail_help(span, message, format!("there are: {}", names.join(", ")))
            }
            None => self.fail(span, message),
        }
    }

    /// An index of a sequence, negative ones from its end.
    pub(super) fn position(&self, length: usize, index: &Val, of: &Val, span: Span) -> Eval<usize> {
        let Some(Number::Int(i)) = Number::of(index) else {
            let (of, index) = (self.type_name(of), self.type_name(index));
            return self.fail(
                span,
                format!("a {of} is indexed by integers, not by a {index}"),
            );
        };
        let at = if i < 0 {
            i.checked_add(length as i64)
        } else {
            Some(i)
        };
        match at
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| *at < length)
        {
            Some(at) => Ok(at),
            None => self.fail(
                span,
                format!(
                    "index {i} is outside of the {length} items of this {}",
                    self.type_name(of)
                ),
            ),
        }
    }

    /// The indices that a slice of a sequence of `length` items selects.
    pub(super) fn slice_indices(
        &self,
        length: usize,
        parts: &[Option<Val>; 3],
        span: Span,
    ) -> Eval<Vec<usize>> {
        let mut numbers = [None; 3];
        for (number, part) in numbers.iter_mut().zip(parts) {
            *number = match part {
                None | Some(Val::None) => None,
                Some(val) => match Number::of(val) {
                    Some(Number::Int(i)) => Some(i),
                    _ => {
                        return self.fail(
                            span,
                            format!("a slice has integers, not a {}", self.type_name(val)),
                        );
                    }
                },
            };
        }
        let (length, step) = (length as i64, numbers[2].unwrap_or(1));
        if step == 0 {
            return self.fail(span, "a slice's step cannot be zero");
        }
        let (low, high) = if step > 0 {
            (0, length)
        } else {
            (-1, length - 1)
        };
        let clamp = |i: i64| {
            if i < 0 {
                i.saturating_add(length).max(low)
            } else {
                i.min(high)
            }
        };
        let from = numbers[0].map_or(if step > 0 { low } else { high }, clamp);
        let to = numbers[1].map_or(if step > 0 { high } else { low }, clamp);
        let count = range_len(from, to, step);
        let index = |i: i128| (i128::from(from) + i * i128::from(step)) as usize;
        Ok((0..count).map(index).collect())
    }

    /// `val[from:to:step]`.
    pub(super) fn slice(&mut self, val: &Val, parts: &[Option<Val>; 3], span: Span) -> Eval<Val> {
        match val {
            Val::List(id) | Val::Tuple(id) => {
                self.step(self.items(*id).len(), span)?;
                let items = self.all_items(*id, span)?;
                let indices = self.slice_indices(items.len(), parts, span)?;
                let part = indices.into_iter().map(|i| items[i].clone()).collect();
                Ok(match val {
                    Val::List(_) => self.list(part),
                    _ => self.tuple(part),
                })
            }
            Val::Str(s) => {
                self.size(s.len(), span)?;
                let chars: Vec<char> = s.chars().collect();
                let indices = self.slice_indices(chars.len(), parts, span)?;
                let part: String = indices.into_iter().map(|i| chars[i]).collect();
                self.string(part, span)
            }
            Val::Range(..) => {
                let items = self.iterate(val, span)?;
                let list = self.list(items);
                self.slice(&list, parts, span)
            }
            _ => self.fail(span, format!("a {} cannot be sliced", self.type_name(val))),
        }
    }
}
