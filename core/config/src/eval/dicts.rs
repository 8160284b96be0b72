//! Methods of dicts, and of the dicts of a base, which are merged where plain ones are replaced.

use super::super::source::Span;
use super::super::value::Key;
use super::functions::Arguments;
use super::objects::{Id, Item, Map, Val};
use super::{Eval, Evaluator, NESTING};

/// Names that are methods of a base's dict, and so are no attributes of it.
pub(super) const DICT_METHODS: [&str; 15] = [
    "get",
    "keys",
    "values",
    "items",
    "pop",
    "popitem",
    "update",
    "setdefault",
    "copy",
    "deepcopy",
    "clear",
    "merge",
    "to_dict",
    "fromkeys",
    "freeze",
];

impl Evaluator<'_> {
    pub(super) fn dict_method(
        &mut self,
        id: Id,
        name: &str,
        arguments: Arguments,
        span: Span,
    ) -> Eval<Option<Val>> {
        let at = self.origin(span);
        let item = |val| Item {
            val,
            at: at.clone(),
        };
        match name {
            "get" | "pop" | "setdefault" => {
                let Some(wanted) = arguments.any(0, "key").cloned() else {
                    return self.fail(span, format!("`{name}` takes a key"));
                };
                let key = self.key(&wanted, span)?;
                let found = self.entry(id, &key);
                let default = arguments.any(1, "default").cloned();
                match (name, found) {
                    ("pop", Some(val)) => {
                        self.step(self.map(id).len() / 8, span)?;
                        self.map_mut(id).shift_remove(&key);
                        Ok(Some(val))
                    }
                    (_, Some(val)) => Ok(Some(val)),
                    ("setdefault", None) => {
                        let val = default.unwrap_or(Val::None);
                        let config = self.is_config(id);
                        self.set_entry(id, key.clone(), item(val.clone()), at.clone(), span)?;
                        // As addict does, the converted value is stored but the given one is the result.
                        Ok(Some(if config {
                            val
                        } else {
                            self.entry(id, &key).unwrap_or(Val::None)
                        }))
                    }
                    // A base's dict gives None for a missing key; a plain dict has none.
                    ("pop", None) if default.is_none() && !self.is_config(id) => {
                        self.no_key(id, &key, span)
                    }
                    _ => Ok(Some(default.unwrap_or(Val::None))),
                }
            }
            "keys" => {
                let items = self.iterate(&Val::Dict(id), span)?;
                Ok(Some(self.list(items)))
            }
            "values" => {
                let items: Vec<Item> = self
                    .all_entries(id, span)?
                    .into_iter()
                    .map(|(_, i, _)| i)
                    .collect();
                self.size(items.len(), span)?;
                Ok(Some(self.list(items)))
            }
            "items" => {
                let entries = self.all_entries(id, span)?;
                self.size(entries.len(), span)?;
                let mut pairs = Vec::with_capacity(entries.len());
                for (key, value, key_at) in entries {
                    let key = self.key_val(&key, &key_at);
                    let at = value.at.clone();
                    let key = Item {
                        val: key,
                        at: key_at,
                    };
                    let val = self.tuple(vec![key, value]);
                    pairs.push(Item { val, at });
                }
                Ok(Some(self.list(pairs)))
            }
            "popitem" => {
                let Some(key) = self.map(id).last().map(|(k, _)| k.clone()) else {
                    return self.fail(span, "this dict is empty");
                };
                let val = self.entry(id, &key).unwrap_or(Val::None);
                self.map_mut(id).pop();
                let key = self.key_val(&key, &at);
                let pair = vec![item(key), item(val)];
                Ok(Some(self.tuple(pair)))
            }
            "update" if self.is_config(id) => {
                // Merges: dicts within dicts are updated, not replaced.
                let Val::Dict(other) = self.dict(Map::new(), false) else {
                    return Ok(None);
                };
                if let Some(val) = arguments.get(0)
                    && !matches!(val, Val::Dict(_))
                {
                    let message = format!(
                        "`update` of a base's dict takes a dict, not a {}",
                        self.type_name(val)
                    );
                    return self.fail(span, message);
                }
                self.fill_dict(other, arguments, span)?;
                self.update_from(id, other, span, 0)?;
                Ok(Some(Val::None))
            }
            "update" => {
                self.fill_dict(id, arguments, span)?;
                Ok(Some(Val::None))
            }
            "copy" => self.copied(&Val::Dict(id), span).map(Some),
            "clear" => {
                self.map_mut(id).clear();
                Ok(Some(Val::None))
            }
            "fromkeys" => {
                let Some(keys) = arguments.get(0).cloned() else {
                    return self.fail(span, "`fromkeys` takes the keys");
                };
                let value = arguments.get(1).cloned().unwrap_or(Val::None);
                let mut map = Map::new();
                for key in self.iterate(&keys, span)? {
                    let at = key.at.clone();
                    let key = self.key(&key.val, span)?;
                    map.insert(key, (item(value.clone()), at));
                }
                Ok(Some(self.dict(map, false)))
            }
            "deepcopy" if self.is_config(id) => self.deep_copy(&Val::Dict(id), span).map(Some),
            "to_dict" if self.is_config(id) => {
                let val = self.plain(&Val::Dict(id), span, 0)?;
                Ok(Some(val))
            }
            "merge" if self.is_config(id) => {
                let Some(other @ Val::Dict(_)) = arguments.get(0).cloned() else {
                    return self.fail(span, "`merge` takes a dict");
                };
                let Val::Dict(other) = self.deep_copy(&other, span)? else {
                    return Ok(None);
                };
                // Into a copy, as MMEngine does: other names for what lies within keep the old values.
                let Val::Dict(copy) = self.deep_copy(&Val::Dict(id), span)? else {
                    return Ok(None);
                };
                self.merge_into(copy, other, span, 0)?;
                *self.map_mut(id) = std::mem::take(self.map_mut(copy));
                Ok(Some(Val::None))
            }
            _ => Ok(None),
        }
    }

    /// `update` of a base's dict: dicts within dicts are updated, everything else replaced.
    pub(super) fn update_from(&mut self, id: Id, other: Id, span: Span, depth: usize) -> Eval<()> {
        if depth > NESTING {
            return self.too_deep(span);
        }
        let entries = self.all_entries(other, span)?;
        self.step(entries.len() + 1, span)?;
        for (key, item, at) in entries {
            match (self.entry(id, &key), &item.val) {
                (Some(Val::Dict(inner)), Val::Dict(from)) if self.is_config(id) => {
                    if inner != *from {
                        self.update_from(inner, *from, span, depth + 1)?;
                    }
                }
                _ => self.set_entry(id, key, item, at, span)?,
            }
        }
        Ok(())
    }

    /// `merge` of a base's dict in lazy style: as a child is merged into its base, with `_delete_`.
    fn merge_into(&mut self, id: Id, other: Id, span: Span, depth: usize) -> Eval<()> {
        if depth > NESTING {
            return self.too_deep(span);
        }
        let delete = Key::Str("_delete_".into());
        if let Some((item, _)) = self.map_mut(other).shift_remove(&delete)
            && self.truth(&item.val)
        {
            self.map_mut(id).clear();
        }
        // It vanishes from the base as well.
        self.map_mut(id).shift_remove(&delete);
        let entries = self.all_entries(other, span)?;
        self.step(entries.len() + 1, span)?;
        for (key, item, at) in entries {
            match (self.entry(id, &key), &item.val) {
                (Some(Val::Dict(inner)), Val::Dict(from)) => {
                    self.merge_into(inner, *from, span, depth + 1)?;
                }
                (_, Val::Dict(from)) => {
                    self.map_mut(*from).shift_remove(&delete);
                    self.set_entry(id, key, item, at, span)?;
                }
                _ => self.set_entry(id, key, item, at, span)?,
            }
        }
        Ok(())
    }

    /// The value with plain dicts instead of a base's.
    fn plain(&mut self, val: &Val, span: Span, depth: usize) -> Eval<Val> {
        if depth > NESTING {
            return self.too_deep(span);
        }
        match val {
            Val::Dict(id) => {
                let entries = self.all_entries(*id, span)?;
                self.size(entries.len(), span)?;
                let mut map = Map::with_capacity(entries.len());
                for (key, item, at) in entries {
                    let val = self.plain(&item.val, span, depth + 1)?;
                    map.insert(key, (Item { val, at: item.at }, at));
                }
                Ok(self.dict(map, false))
            }
            Val::List(id) | Val::Tuple(id) => {
                let mut items = self.all_items(*id, span)?;
                self.size(items.len(), span)?;
                for item in &mut items {
                    item.val = self.plain(&item.val.clone(), span, depth + 1)?;
                }
                Ok(match val {
                    Val::List(_) => self.list(items),
                    _ => self.tuple(items),
                })
            }
            other => Ok(other.clone()),
        }
    }
}
