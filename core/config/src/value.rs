//! The resolved tree: values that know where they came from.

use super::eval::range_len;
use super::source::Origin;
use indexmap::{Equivalent, IndexMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A value and the place where it was written. Cheap to clone: containers are shared.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// A config value, typed as in Python.
#[derive(Clone, Debug)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer; Python's larger ones are an error when read.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Str(Arc<str>),
    /// A list.
    List(Arc<Vec<Node>>),
    /// A tuple: not equal to a list, and kept apart on output.
    Tuple(Arc<Vec<Node>>),
    /// A set, in order of insertion.
    Set(Arc<Vec<Node>>),
    /// A dict, in order of insertion.
    Dict(Dict),
    /// `range(start, stop, step)` itself as a value.
    Range(i64, i64, i64),
    /// A class or function of a package, named in lazy style and never imported.
    Object(Arc<Object>),
}

/// A name imported in lazy style, for example `from torch.optim import SGD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The module, `torch.optim`.
    pub module: Arc<str>,
    /// The name in it, `SGD`; none where the module itself is the value.
    pub name: Option<Arc<str>>,
}

impl Object {
    /// The dotted name as MMEngine dumps it: `torch.optim.SGD`. (A module as a value is dumped with its name twice.)
    pub fn path(&self) -> String {
        format!(
            "{}.{}",
            self.module,
            self.name.as_ref().unwrap_or(&self.module)
        )
    }

    /// The object's attribute `name`.
    pub(crate) fn attribute(&self, name: &str) -> Self {
        let module = match &self.name {
            Some(inner) => format!("{}.{inner}", self.module).into(),
            None => self.module.clone(),
        };
        let name = Some(name.into());
        Self { module, name }
    }
}

/// A dict key. Equal as in Python: `1`, `1.0` and `True` are one key; but any two NaN are one, so that a dict with one is equal to itself.
#[derive(Clone, Debug)]
pub enum Key {
    /// A string: nearly every key.
    Str(Arc<str>),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// `True` or `False`.
    Bool(bool),
    /// `None`.
    None,
    /// A tuple of keys.
    Tuple(Arc<[Key]>),
    /// A class named in lazy style.
    Object(Arc<Object>),
}

impl Key {
    /// Bytes of the longest key; of a tuple's, all together.
    pub(crate) const LONGEST: usize = 1000;

    /// The string, if the key is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Key::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The key as a value.
    pub fn value(&self, origin: &Origin) -> Value {
        match self {
            Key::Str(s) => Value::Str(s.clone()),
            Key::Int(i) => Value::Int(*i),
            Key::Float(x) => Value::Float(*x),
            Key::Bool(b) => Value::Bool(*b),
            Key::None => Value::None,
            Key::Object(o) => Value::Object(o.clone()),
            Key::Tuple(keys) => {
                let node = |k: &Key| Node {
                    value: k.value(origin),
                    origin: origin.clone(),
                };
                Value::Tuple(Arc::new(keys.iter().map(node).collect()))
            }
        }
    }

    /// The integer to which a number key is equal.
    fn integer(&self) -> Option<i64> {
        match self {
            Key::Int(i) => Some(*i),
            Key::Bool(b) => Some(i64::from(*b)),
            Key::Float(x) if *x == (*x as i64) as f64 && x.abs() < 9e18 => Some(*x as i64),
            _ => None,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Key::Str(a), Key::Str(b)) => a == b,
            (Key::None, Key::None) => true,
            (Key::Tuple(a), Key::Tuple(b)) => a == b,
            (Key::Object(a), Key::Object(b)) => a == b,
            (Key::Float(a), Key::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            _ => self.integer().is_some() && self.integer() == other.integer(),
        }
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::Str(s) => s.hash(state),
            Key::None => 0u8.hash(state),
            Key::Tuple(keys) => keys.hash(state),
            Key::Object(o) => o.hash(state),
            Key::Int(_) | Key::Bool(_) | Key::Float(_) => match (self.integer(), self) {
                (Some(i), _) => i.hash(state),
                (None, Key::Float(x)) if x.is_nan() => f64::NAN.to_bits().hash(state),
                (None, Key::Float(x)) => x.to_bits().hash(state),
                _ => {}
            },
        }
    }
}

impl Equivalent<Key> for str {
    fn equivalent(&self, key: &Key) -> bool {
        key.as_str() == Some(self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Str(s) => f.write_str(s),
            Key::Int(i) => write!(f, "{i}"),
            Key::Float(x) => f.write_str(&super::text::float(*x)),
            Key::Bool(b) => f.write_str(if *b { "True" } else { "False" }),
            Key::None => f.write_str("None"),
            Key::Object(o) => f.write_str(&o.path()),
            Key::Tuple(keys) => {
                f.write_str("(")?;
                keys.iter().try_for_each(|k| write!(f, "{k},"))?;
                f.write_str(")")
            }
        }
    }
}

/// One entry of a [`Dict`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// The value.
    pub node: Node,
    /// Where the key was written.
    pub key: Origin,
}

/// A dict that keeps the order of insertion. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dict {
    map: Arc<IndexMap<Key, Entry>>,
}

impl Dict {
    /// An empty dict.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value under a string key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map.get(key).map(|e| &e.node)
    }

    /// The value and key place under any key.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.map.get(key)
    }

    /// Whether there is such a string key.
    pub fn contains(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Entry)> {
        self.map.iter()
    }

    /// The string keys in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().filter_map(Key::as_str)
    }

    /// Sets a key; an old key keeps its position, as in Python.
    pub fn insert(&mut self, key: Key, entry: Entry) {
        Arc::make_mut(&mut self.map).insert(key, entry);
    }

    /// Sets a string key to a node; the key's place is the node's.
    pub fn set(&mut self, key: &str, node: Node) {
        let key_origin = node.origin.clone();
        let key = Key::Str(key.into());
        self.insert(
            key,
            Entry {
                node,
                key: key_origin,
            },
        );
    }

    /// Takes a key out, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        if !self.contains(key) {
            return None;
        }
        Arc::make_mut(&mut self.map).shift_remove(key)
    }

    /// Keeps the entries of which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) {
        if !self.map.keys().all(&mut keep) {
            Arc::make_mut(&mut self.map).retain(|k, _| keep(k));
        }
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        if !self.contains(key) {
            return None;
        }
        Arc::make_mut(&mut self.map)
            .get_mut(key)
            .map(|e| &mut e.node)
    }
}

impl FromIterator<(Key, Entry)> for Dict {
    fn from_iter<T: IntoIterator<Item = (Key, Entry)>>(entries: T) -> Self {
        let map = Arc::new(entries.into_iter().collect());
        Self { map }
    }
}

impl Node {
    /// A node made by a program, with a name that messages show as its place.
    pub fn made(value: Value, by: &str) -> Self {
        let origin = Origin::made(by);
        Self { value, origin }
    }

    /// The value under `key` of a dict.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_dict()?.get(key)
    }

    /// The value at a path such as `train_dataloader.dataset.pipeline.0.type`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.')
            .try_fold(self, |node, part| match &node.value {
                Value::Dict(dict) => dict.get(part).or_else(|| {
                    let key = Key::Int(part.parse().ok()?);
                    dict.entry(&key).map(|e| &e.node)
                }),
                _ => node.as_items()?.get(part.parse::<usize>().ok()?),
            })
    }

    /// The string; for a class named in lazy style see [`Node::as_type`].
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The name of a type: a string, or the dotted name of a class imported in lazy style.
    pub fn as_type(&self) -> Option<String> {
        match &self.value {
            Value::Str(s) => Some(s.to_string()),
            Value::Object(o) => Some(o.path()),
            _ => None,
        }
    }

    /// The integer. A bool is none.
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(i) => Some(i),
            _ => None,
        }
    }

    /// The float, or an integer as a float.
    pub fn as_float(&self) -> Option<f64> {
        match self.value {
            Value::Float(x) => Some(x),
            Value::Int(i) => Some(i as f64),
            _ => None,
        }
    }

    /// The bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn as_items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The dict.
    pub fn as_dict(&self) -> Option<&Dict> {
        match &self.value {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// Whether the value is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self.value, Value::None)
    }

    /// Python's name of the value's type: `dict`, `list`, `int`.
    pub fn type_name(&self) -> &'static str {
        self.value.type_name()
    }
}

impl Value {
    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Set(_) => "set",
            Value::Dict(_) => "dict",
            Value::Range(..) => "range",
            Value::Object(_) => "object",
        }
    }

    /// Number of nodes in the tree, shared ones counted each time, and a long text as several; none when over `limit` nodes or
    /// nested deeper than `depth`.
    pub(crate) fn count(&self, limit: usize, depth: usize) -> Option<usize> {
        /// Bytes of text that count as a node.
        const TEXT: usize = 256;
        /// Numbers of a range that do.
        const RANGE: usize = 16;
        fn walk(value: &Value, left: &mut usize, depth: usize) -> Option<()> {
            let long = match value {
                Value::Str(text) => text.len() / TEXT,
                // Written out as JSON, or read as a list.
                Value::Range(from, to, step) => {
                    let items = range_len(*from, *to, *step).min(1 << 20);
                    items as usize / RANGE
                }
                _ => 0,
            };
            *left = left.checked_sub(1 + long)?;
            match value {
                Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
                    let depth = depth.checked_sub(1)?;
                    items.iter().try_for_each(|n| walk(&n.value, left, depth))
                }
                Value::Dict(dict) => {
                    let depth = depth.checked_sub(1)?;
                    dict.map
                        .values()
                        .try_for_each(|e| walk(&e.node.value, left, depth))
                }
                _ => Some(()),
            }
        }
        let mut left = limit;
        walk(self, &mut left, depth)?;
        Some(limit - left)
    }
}

/// Equality as in Python, but typed: `1` is not `1.0`, a list is no tuple. Places and key order do not count.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => a == b,
            (Value::Set(a), Value::Set(b)) => a.len() == b.len() && a.iter().all(|x| b.contains(x)),
            (Value::Dict(a), Value::Dict(b)) => a == b,
            (Value::Range(a, b, c), Value::Range(d, e, f)) => (a, b, c) == (d, e, f),
            (Value::Object(a), Value::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Dict {
    fn eq(&self, other: &Self) -> bool {
        let same = |(k, e): (&Key, &Entry)| other.entry(k).is_some_and(|o| o.node == e.node);
        Arc::ptr_eq(&self.map, &other.map) || (self.len() == other.len() && self.iter().all(same))
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(i: i64) -> Node {
        Node::made(Value::Int(i), "test")
    }

    #[test]
    fn keys_are_equal_as_in_python_and_the_first_one_stays() {
        let mut dict = Dict::new();
        let entry = |i| Entry {
            node: int(i),
            key: Origin::made("test"),
        };
        dict.insert(Key::Int(1), entry(1));
        dict.insert(Key::Str("1".into()), entry(2));
        dict.insert(Key::Bool(true), entry(3));
        dict.insert(Key::Float(1.0), entry(4));
        assert_eq!(dict.len(), 2);
        let (key, first) = dict.iter().next().unwrap();
        assert!(matches!(key, Key::Int(1)));
        assert_eq!(first.node.as_int(), Some(4));
    }

    #[test]
    fn paths_reach_into_dicts_lists_and_integer_keys() {
        let mut inner = Dict::new();
        inner.insert(
            Key::Int(3),
            Entry {
                node: int(7),
                key: Origin::made("test"),
            },
        );
        let inner = Node::made(Value::Dict(inner), "test");
        let mut dict = Dict::new();
        dict.set(
            "a",
            Node::made(Value::Tuple(Arc::new(vec![int(5), inner])), "test"),
        );
        let root = Node::made(Value::Dict(dict), "test");
        assert_eq!(root.at("a.0").and_then(Node::as_int), Some(5));
        assert_eq!(root.at("a.1.3").and_then(Node::as_int), Some(7));
        assert!(root.at("a.2").is_none() && root.at("b").is_none());
        assert_eq!(root.value.count(100, 10), Some(5));
        assert_eq!(root.value.count(4, 10), None);
        assert_eq!(root.value.count(100, 2), None);
    }

    #[test]
    fn objects_are_named_as_mmengine_dumps_them() {
        let nn = Object {
            module: "torch.nn".into(),
            name: None,
        };
        let relu = nn.attribute("ReLU");
        assert_eq!(relu.path(), "torch.nn.ReLU");
        assert_eq!(relu.attribute("x").path(), "torch.nn.ReLU.x");
    }
}
