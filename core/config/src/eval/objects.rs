//! Values while a file is evaluated: a heap of lists and dicts; from the tree (thaw) and back to it (freeze).

use super::super::diagnostic::Kind;
use super::super::source::{Origin, Span};
use super::super::substitute::MARK;
use super::super::value::{Dict, Entry, Key, Node, Object, Value};
use super::{Eval, Evaluator, Halt, NESTING, NODES};
use indexmap::IndexMap;
use std::sync::Arc;

/// Index of an object in the heap.
pub(super) type Id = usize;

/// A value; containers by reference.
#[derive(Clone, Debug)]
pub(in super::super) enum Val {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    List(Id),
    Tuple(Id),
    Set(Id),
    Dict(Id),
    Range(i64, i64, i64),
    /// What `zip` and generators give: items that are used up.
    Iter(Id),
    Lazy(Arc<Object>),
    /// A module of Python.
    Module(Arc<str>),
    /// A function of Python that we know.
    Builtin(&'static str),
    /// A function or class that we do not know; it may be named but not used.
    Opaque(Arc<str>),
    /// `globals()`.
    Globals,
    /// A container of a base that was not looked into yet. Never seen outside of containers.
    Frozen(Value),
    /// Set by a statement that failed.
    Poison,
}

/// A value in a container or variable, with the place where it was put there.
#[derive(Clone, Debug)]
pub(in super::super) struct Item {
    pub val: Val,
    pub at: Origin,
}

/// The value and its key's place.
pub(super) type Map = IndexMap<Key, (Item, Origin)>;

/// A container.
#[derive(Debug)]
pub(super) enum Obj {
    /// Also tuples, and the rest of an iterator in reverse.
    Items(Vec<Item>),
    Set(IndexMap<Key, Item>),
    Dict {
        map: Map,
        /// Whether it came from a base: then it has attributes, and `update` merges.
        config: bool,
    },
}

impl Evaluator<'_> {
    pub(super) fn type_name(&self, val: &Val) -> &'static str {
        match val {
            Val::None => "NoneType",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Float(_) => "float",
            Val::Str(_) => "str",
            Val::List(_) => "list",
            Val::Tuple(_) => "tuple",
            Val::Set(_) => "set",
            Val::Dict(id) if self.is_config(*id) => "ConfigDict",
            Val::Dict(_) | Val::Globals => "dict",
            Val::Range(..) => "range",
            Val::Iter(_) => "iterator",
            Val::Lazy(_) => "object of a package",
            Val::Module(_) => "module",
            Val::Builtin(_) | Val::Opaque(_) => "function",
            Val::Frozen(value) => value.type_name(),
            Val::Poison => "nothing",
        }
    }

    fn alloc(&mut self, obj: Obj) -> Id {
        self.heap.push(obj);
        self.heap.len() - 1
    }

    pub(super) fn list(&mut self, items: Vec<Item>) -> Val {
        Val::List(self.alloc(Obj::Items(items)))
    }

    pub(super) fn tuple(&mut self, items: Vec<Item>) -> Val {
        Val::Tuple(self.alloc(Obj::Items(items)))
    }

    pub(super) fn iterator(&mut self, items: Vec<Item>) -> Val {
        Val::Iter(self.alloc(Obj::Items(items)))
    }

    pub(super) fn dict(&mut self, map: Map, config: bool) -> Val {
        Val::Dict(self.alloc(Obj::Dict { map, config }))
    }

    pub(super) fn set(&mut self, items: IndexMap<Key, Item>) -> Val {
        Val::Set(self.alloc(Obj::Set(items)))
    }

    /// The items of a list or tuple, as they lie.
    pub(super) fn items(&self, id: Id) -> &[Item] {
        match &self.heap[id] {
            Obj::Items(items) => items,
            _ => &[],
        }
    }

    pub(super) fn items_mut(&mut self, id: Id) -> &mut Vec<Item> {
        match &mut self.heap[id] {
            Obj::Items(items) => items,
            _ => unreachable!("the id of a list names a list"),
        }
    }

    pub(super) fn map(&self, id: Id) -> &Map {
        match &self.heap[id] {
            Obj::Dict { map, .. } => map,
            _ => unreachable!("the id of a dict names a dict"),
        }
    }

    pub(super) fn map_mut(&mut self, id: Id) -> &mut Map {
        match &mut self.heap[id] {
            Obj::Dict { map, .. } => map,
            _ => unreachable!("the id of a dict names a dict"),
        }
    }

    pub(super) fn set_items(&self, id: Id) -> &IndexMap<Key, Item> {
        match &self.heap[id] {
            Obj::Set(items) => items,
            _ => unreachable!("the id of a set names a set"),
        }
    }

    pub(super) fn set_items_mut(&mut self, id: Id) -> &mut IndexMap<Key, Item> {
        match &mut self.heap[id] {
            Obj::Set(items) => items,
            _ => unreachable!("the id of a set names a set"),
        }
    }

    pub(super) fn is_config(&self, id: Id) -> bool {
        matches!(self.heap[id], Obj::Dict { config: true, .. })
    }

    // From the tree.

    /// A base's dict; its containers stay frozen until they are looked at.
    pub(in super::super) fn thaw_dict(&mut self, dict: &Dict) -> Val {
        let entries = dict.iter().map(|(key, entry)| {
            let item = frozen(&entry.node);
            (key.clone(), (item, entry.key.clone()))
        });
        let map = entries.collect();
        self.dict(map, true)
    }

    fn thaw(&mut self, value: Value) -> Val {
        match value {
            Value::Dict(dict) => self.thaw_dict(&dict),
            Value::List(items) => {
                let items = items.iter().map(frozen).collect();
                self.list(items)
            }
            Value::Tuple(items) => {
                let items = items.iter().map(frozen).collect();
                self.tuple(items)
            }
            Value::Set(items) => {
                let items = items
                    .iter()
                    .filter_map(|n| Some((value_key(&n.value)?, frozen(n))));
                let items = items.collect();
                self.set(items)
            }
            other => scalar(other),
        }
    }

    /// The item at an index of a list or tuple, thawed in place.
    pub(super) fn item(&mut self, id: Id, index: usize) -> Val {
        let val = self.items(id)[index].val.clone();
        let Val::Frozen(value) = val else {
            return val;
        };
        let val = self.thaw(value);
        self.items_mut(id)[index].val = val.clone();
        val
    }

    /// The value under a key, thawed in place.
    pub(super) fn entry(&mut self, id: Id, key: &Key) -> Option<Val> {
        let val = self.map(id).get(key)?.0.val.clone();
        let Val::Frozen(value) = val else {
            return Some(val);
        };
        let val = self.thaw(value);
        if let Some((item, _)) = self.map_mut(id).get_mut(key) {
            item.val = val.clone();
        }
        Some(val)
    }

    /// All items of a list or tuple, thawed in place and copied. Pays for the copy.
    pub(super) fn all_items(&mut self, id: Id, span: Span) -> Eval<Vec<Item>> {
        self.copies(self.items(id).len(), span)?;
        for index in 0..self.items(id).len() {
            if matches!(self.items(id)[index].val, Val::Frozen(_)) {
                self.item(id, index);
            }
        }
        Ok(self.items(id).to_vec())
    }

    /// All entries of a dict, thawed in place and copied. Pays for the copy.
    pub(super) fn all_entries(&mut self, id: Id, span: Span) -> Eval<Vec<(Key, Item, Origin)>> {
        self.copies(self.map(id).len(), span)?;
        let frozen = |(_, (item, _)): &(&Key, &(Item, Origin))| matches!(item.val, Val::Frozen(_));
        let keys: Vec<Key> = self
            .map(id)
            .iter()
            .filter(frozen)
            .map(|(k, _)| k.clone())
            .collect();
        for key in keys {
            self.entry(id, &key);
        }
        let entries = self.map(id).iter();
        let own = |(k, (item, at)): (&Key, &(Item, Origin))| (k.clone(), item.clone(), at.clone());
        Ok(entries.map(own).collect())
    }

    // Conversions of Python and mmengine.

    /// The key for a value; unhashable values are an error.
    pub(super) fn key(&mut self, val: &Val, span: Span) -> Eval<Key> {
        self.key_within(val, span, 0, &mut Key::LONGEST.clone())
    }

    /// Keys are hashed and compared again and again, so that each has little room: `room` bytes here.
    fn key_within(&mut self, val: &Val, span: Span, depth: usize, room: &mut usize) -> Eval<Key> {
        if depth > NESTING {
            return self.fail(span, format!("a key is nested more than {NESTING} deep"));
        }
        let bytes = match val {
            Val::Str(s) => s.len(),
            Val::Lazy(o) => o.module.len() + o.name.as_ref().map_or(0, |name| name.len()),
            _ => 1,
        };
        *room = match room.checked_sub(bytes) {
            Some(left) => left,
            None => {
                let message = format!("a key of more than {} bytes", Key::LONGEST);
                return Err(Halt::Error(Box::new(self.diagnostic(
                    Kind::Limit,
                    message,
                    span,
                ))));
            }
        };
        Ok(match val {
            Val::Str(s) => Key::Str(s.clone()),
            Val::Int(i) => Key::Int(*i),
            Val::Float(x) => Key::Float(*x),
            Val::Bool(b) => Key::Bool(*b),
            Val::None => Key::None,
            Val::Lazy(o) => Key::Object(o.clone()),
            Val::Tuple(id) => {
                let items = self.all_items(*id, span)?;
                self.step(items.len(), span)?;
                let keys: Eval<Vec<Key>> = items
                    .iter()
                    .map(|i| self.key_within(&i.val, span, depth + 1, room))
                    .collect();
                Key::Tuple(keys?.into())
            }
            _ => {
                let message = format!(
                    "a {} cannot be a key of a dict or an item of a set",
                    self.type_name(val)
                );
                return self.fail(span, message);
            }
        })
    }

    /// The value of a key.
    pub(super) fn key_val(&mut self, key: &Key, at: &Origin) -> Val {
        match key {
            Key::Str(s) => Val::Str(s.clone()),
            Key::Int(i) => Val::Int(*i),
            Key::Float(x) => Val::Float(*x),
            Key::Bool(b) => Val::Bool(*b),
            Key::None => Val::None,
            Key::Object(o) => Val::Lazy(o.clone()),
            Key::Tuple(keys) => {
                let mut items = Vec::new();
                for key in keys.iter() {
                    let val = self.key_val(key, at);
                    items.push(Item {
                        val,
                        at: at.clone(),
                    });
                }
                self.tuple(items)
            }
        }
    }

    /// What a value becomes when it is put into a dict of the base: plain dicts become dicts of that kind, and lists
    /// around them are copied.
    pub(super) fn hook(&mut self, val: Val, span: Span) -> Eval<Val> {
        self.hook_within(val, span, 0)
    }

    fn hook_within(&mut self, val: Val, span: Span, depth: usize) -> Eval<Val> {
        if depth > NESTING {
            return self.too_deep(span);
        }
        match val {
            Val::Dict(id) if !self.is_config(id) => {
                let entries = self.all_entries(id, span)?;
                self.step(entries.len() + 1, span)?;
                let mut map = Map::with_capacity(entries.len());
                for (key, item, at) in entries {
                    let val = self.hook_within(item.val, span, depth + 1)?;
                    map.insert(key, (Item { val, at: item.at }, at));
                }
                Ok(self.dict(map, true))
            }
            Val::List(id) | Val::Tuple(id) => {
                let mut items = self.all_items(id, span)?;
                self.step(items.len() + 1, span)?;
                for item in &mut items {
                    item.val = self.hook_within(item.val.clone(), span, depth + 1)?;
                }
                Ok(match val {
                    Val::List(_) => self.list(items),
                    _ => self.tuple(items),
                })
            }
            other => Ok(other),
        }
    }

    /// Sets a key of a dict as Python does: the first position stays; a dict of the base converts the value.
    pub(super) fn set_entry(
        &mut self,
        id: Id,
        key: Key,
        item: Item,
        at: Origin,
        span: Span,
    ) -> Eval<()> {
        let val = if self.is_config(id) {
            self.hook(item.val, span)?
        } else {
            item.val
        };
        let item = Item { val, at: item.at };
        match self.map_mut(id).get_mut(&key) {
            Some(slot) => *slot = (item, at),
            None => {
                self.map_mut(id).insert(key, (item, at));
            }
        }
        Ok(())
    }

    /// A deep copy; what is shared within stays shared.
    pub(super) fn deep_copy(&mut self, val: &Val, span: Span) -> Eval<Val> {
        let mut done = std::collections::HashMap::new();
        self.copy_within(val, span, 0, &mut done)
    }

    fn copy_within(
        &mut self,
        val: &Val,
        span: Span,
        depth: usize,
        done: &mut std::collections::HashMap<Id, Val>,
    ) -> Eval<Val> {
        let (Val::List(id) | Val::Tuple(id) | Val::Set(id) | Val::Dict(id)) = val else {
            return match val {
                Val::Iter(_) => self.fail(
                    span,
                    "an iterator cannot be copied; make it a `list(...)` first",
                ),
                other => Ok(other.clone()),
            };
        };
        if let Some(copy) = done.get(id) {
            return Ok(copy.clone());
        }
        if depth > NESTING {
            return self.too_deep(span);
        }
        // The copy is noted before its items are made, for values that contain themselves.
        let copy = match val {
            Val::List(_) => self.list(Vec::new()),
            Val::Tuple(_) => self.tuple(Vec::new()),
            Val::Set(_) => self.set(IndexMap::new()),
            _ => {
                let config = self.is_config(*id);
                self.dict(Map::new(), config)
            }
        };
        done.insert(*id, copy.clone());
        match (val, &copy) {
            (Val::Dict(_), Val::Dict(to)) => {
                let entries: Vec<_> = self
                    .map(*id)
                    .iter()
                    .map(|(k, e)| (k.clone(), e.clone()))
                    .collect();
                self.step(entries.len() + 1, span)?;
                for (key, (item, at)) in entries {
                    let val = self.copy_within(&item.val, span, depth + 1, done)?;
                    self.map_mut(*to)
                        .insert(key, (Item { val, at: item.at }, at));
                }
            }
            (Val::Set(_), Val::Set(to)) => {
                self.step(self.set_items(*id).len() + 1, span)?;
                let items = self.set_items(*id).clone();
                *self.set_items_mut(*to) = items;
            }
            (_, Val::List(to) | Val::Tuple(to)) => {
                self.step(self.items(*id).len() + 1, span)?;
                let items = self.items(*id).to_vec();
                for item in items {
                    let val = self.copy_within(&item.val, span, depth + 1, done)?;
                    self.items_mut(*to).push(Item { val, at: item.at });
                }
            }
            _ => {}
        }
        Ok(copy)
    }

    pub(super) fn too_deep<T>(&self, span: Span) -> Eval<T> {
        let message = format!("this value is nested more than {NESTING} deep, or contains itself");
        self.spent(span, message)
    }

    // To the tree.

    /// The tree of a value. `base` resolves `{{_base_.name}}`.
    pub(in super::super) fn freeze(&mut self, item: &Item, base: &Dict) -> Eval<Node> {
        self.freeze_within(item, base, NESTING)
    }

    /// The tree of `_base_` as the file left it.
    pub(in super::super) fn freeze_base(&mut self) -> Eval<Dict> {
        let Some(val) = self.base.clone() else {
            return Ok(Dict::new());
        };
        let at = self.origin(Span::default());
        match self.freeze(&Item { val, at }, &Dict::new())?.value {
            Value::Dict(dict) => Ok(dict),
            _ => Ok(Dict::new()),
        }
    }

    fn freeze_within(&mut self, item: &Item, base: &Dict, depth: usize) -> Eval<Node> {
        let (Some(depth), Some(less)) = (depth.checked_sub(1), self.nodes.checked_sub(1)) else {
            let what = if depth == 0 {
                format!("this value is nested more than {NESTING} deep, or contains itself")
            } else {
                format!("this config has more than {NODES} values")
            };
            let diagnostic = super::Diagnostic::error(what)
                .kind(Kind::Limit)
                .at(&item.at, "");
            return Err(Halt::Spent(Box::new(diagnostic)));
        };
        self.nodes = less;
        let value = match &item.val {
            Val::None => Value::None,
            Val::Bool(b) => Value::Bool(*b),
            Val::Int(i) => Value::Int(*i),
            Val::Float(x) => Value::Float(*x),
            Val::Str(s) if self.text.has_base_values => {
                self.scan(s, Span::default())?;
                match s.contains(MARK) {
                    true => self.base_value(s, &item.at, base)?,
                    false => Value::Str(s.clone()),
                }
            }
            Val::Str(s) => Value::Str(s.clone()),
            Val::Range(a, b, c) => Value::Range(*a, *b, *c),
            Val::Lazy(o) => Value::Object(o.clone()),
            Val::Frozen(value) => value.clone(),
            Val::List(id) | Val::Tuple(id) => {
                let count = self.items(*id).len();
                let mut nodes = Vec::with_capacity(count);
                for index in 0..count {
                    let inner = self.items(*id)[index].clone();
                    nodes.push(self.freeze_within(&inner, base, depth)?);
                }
                match item.val {
                    Val::List(_) => Value::List(Arc::new(nodes)),
                    _ => Value::Tuple(Arc::new(nodes)),
                }
            }
            Val::Set(id) => {
                let items: Vec<Item> = self.set_items(*id).values().cloned().collect();
                let nodes: Eval<Vec<Node>> = items
                    .iter()
                    .map(|inner| self.freeze_within(inner, base, depth))
                    .collect();
                Value::Set(Arc::new(nodes?))
            }
            Val::Dict(id) => {
                let mut entries = Vec::with_capacity(self.map(*id).len());
                for index in 0..self.map(*id).len() {
                    let Some((key, (inner, at))) = self.map(*id).get_index(index) else {
                        break;
                    };
                    let (key, inner, at) = (key.clone(), inner.clone(), at.clone());
                    if self.text.has_base_values && key.as_str().is_some_and(|k| k.contains(MARK)) {
                        return Err(self.misplaced(&at));
                    }
                    let node = self.freeze_within(&inner, base, depth)?;
                    entries.push((key, Entry { node, key: at }));
                }
                Value::Dict(entries.into_iter().collect())
            }
            Val::Poison => return Err(Halt::Poisoned),
            Val::Iter(_) | Val::Module(_) | Val::Builtin(_) | Val::Opaque(_) | Val::Globals => {
                let message = format!("a {} is no config value", self.type_name(&item.val));
                let mut diagnostic = super::Diagnostic::error(message)
                    .kind(Kind::Unsupported)
                    .at(&item.at, "");
                if matches!(item.val, Val::Iter(_)) {
                    diagnostic = diagnostic.help("make it a list: `list(...)`");
                }
                return Err(Halt::Error(Box::new(diagnostic)));
            }
        };
        let origin = item.at.clone();
        Ok(Node { value, origin })
    }

    /// The value of the base for a string that `{{_base_.a.b}}` became.
    fn base_value(&self, marked: &str, at: &Origin, base: &Dict) -> Eval<Value> {
        let name = marked.strip_prefix(MARK).and_then(|n| n.strip_suffix(MARK));
        let Some(name) = name.filter(|n| !n.contains(MARK)) else {
            return Err(self.misplaced(at));
        };
        base_value(name, at, base).map_err(|d| Halt::Error(Box::new(d)))
    }

    fn misplaced(&self, at: &Origin) -> Halt {
        Halt::Error(Box::new(misplaced(at)))
    }
}

/// `{{_base_.x}}` as a part of a longer text, or as a key.
pub(in super::super) fn misplaced(at: &Origin) -> super::Diagnostic {
    super::Diagnostic::error("`{{_base_.name}}` stands for a whole value, not for a part of a string or a key")
        .kind(Kind::Evaluate)
        .at(at, "")
        .help("write `_base_.name` without braces: it is an ordinary value, as in f'{_base_.data_root}/train'")
}

/// The value that `{{_base_.name}}` stands for, or why there is none.
pub(in super::super) fn base_value(
    name: &str,
    at: &Origin,
    base: &Dict,
) -> Result<Value, super::Diagnostic> {
    let mut current = Value::Dict(base.clone());
    for part in name.split('.') {
        let next = match &current {
            Value::Dict(dict) => dict.get(part).map(|n| n.value.clone()),
            _ => None,
        };
        current = next.ok_or_else(|| {
            let names: Vec<&str> = match &current {
                Value::Dict(dict) => dict.names().collect(),
                _ => Vec::new(),
            };
            let message = format!("the base has no `{part}` for `{{{{_base_.{name}}}}}`");
            let error = super::Diagnostic::error(message)
                .kind(Kind::Evaluate)
                .at(at, "");
            match super::super::nearest::nearest(part, names) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error,
            }
        })?;
    }
    Ok(current)
}

/// An item whose containers are frozen.
fn frozen(node: &Node) -> Item {
    let val = match &node.value {
        Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_) => {
            Val::Frozen(node.value.clone())
        }
        other => scalar(other.clone()),
    };
    let at = node.origin.clone();
    Item { val, at }
}

fn scalar(value: Value) -> Val {
    match value {
        Value::None => Val::None,
        Value::Bool(b) => Val::Bool(b),
        Value::Int(i) => Val::Int(i),
        Value::Float(x) => Val::Float(x),
        Value::Str(s) => Val::Str(s),
        Value::Range(a, b, c) => Val::Range(a, b, c),
        Value::Object(o) => Val::Lazy(o),
        container => Val::Frozen(container),
    }
}

/// The key for a value of the tree, if it can be one.
pub(in super::super) fn value_key(value: &Value) -> Option<Key> {
    Some(match value {
        Value::Str(s) => Key::Str(s.clone()),
        Value::Int(i) => Key::Int(*i),
        Value::Float(x) => Key::Float(*x),
        Value::Bool(b) => Key::Bool(*b),
        Value::None => Key::None,
        Value::Object(o) => Key::Object(o.clone()),
        Value::Tuple(items) => {
            let keys: Option<Vec<Key>> = items.iter().map(|n| value_key(&n.value)).collect();
            Key::Tuple(keys?.into())
        }
        _ => return None,
    })
}
