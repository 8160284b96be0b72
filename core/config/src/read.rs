//! Typed reading of a component's config through serde, with every mistake at its place.
//!
//! serde stops at the first error. To report all of them, the value that failed is replaced by a stand-in which fits
//! anything, and the reading is done again; so also for a missing key. Keys that a struct has no field for are found
//! from its list of fields; `type` and `_scope_` name the component itself and are passed over.

use super::diagnostic::{Diagnostic, Kind, PRINTED, VALUE, cut};
use super::nearest::nearest;
use super::source::Origin;
use super::value::{Dict, Entry, Key, Node, Value};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// Readings of one value before its mistakes are reported as found so far.
const ATTEMPTS: usize = 64;

/// Keys of every component that are no options of it.
const OWN_KEYS: [&str; 2] = ["type", "_scope_"];

/// The name under which a [`Node`] asks for itself.
const NODE: &str = "$smalti::config::Node";

thread_local! {
    /// A node on its way to the `Node` that asked for it; serde has no other way for a value of our own.
    static PASSED: RefCell<Option<Node>> = const { RefCell::new(None) };
}

impl Node {
    /// Reads the value into a type. All missing, mistyped and unknown keys are reported, each with its place.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        self.read_knowing(&[])
    }

    /// As [`Node::read`], of a component that has the keys `others` too: somebody else reads them.
    pub fn read_knowing<T: DeserializeOwned>(&self, others: &[&str]) -> Result<T, Vec<Diagnostic>> {
        let mut read = None;
        let diagnostics = self.attempt(others, &mut |reader| {
            read = Some(T::deserialize(reader)?);
            Ok(())
        });
        match read {
            Some(value) if diagnostics.is_empty() => Ok(value),
            _ => Err(diagnostics),
        }
    }

    /// Reads until all mistakes are found. Apart from what is read, as there are hundreds of such types.
    fn attempt(
        &self,
        others: &[&str],
        read: &mut dyn FnMut(Reader<'_>) -> Result<(), ReadError>,
    ) -> Vec<Diagnostic> {
        let reading = Reading {
            others: others.iter().map(|key| key.to_string()).collect(),
            ..Reading::default()
        };
        for _ in 0..ATTEMPTS {
            let Err(error) = read(Reader::new(self, String::new(), &reading)) else {
                break;
            };
            let path = error.0.path.clone().unwrap_or_default();
            let known = reading.replaced.borrow().contains(&path);
            reading.report(error, self);
            // A stand-in that did not fit either: nothing more is found by trying again.
            if known {
                break;
            }
            reading.replaced.borrow_mut().push(path);
        }
        reading.diagnostics.into_inner()
    }
}

impl<'de> de::Deserialize<'de> for Node {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;
        impl<'de> Visitor<'de> for Taken {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any config value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                let node = PASSED.with(|p| p.borrow_mut().take());
                node.ok_or_else(|| E::custom("a Node is read from a config only"))
            }
        }
        deserializer.deserialize_newtype_struct(NODE, Taken)
    }
}

/// What was found so far.
#[derive(Default)]
struct Reading {
    /// Keys of the component that others read.
    others: Vec<String>,
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Paths of values that a stand-in replaces.
    replaced: RefCell<Vec<String>>,
    /// Paths of unknown keys that were reported.
    unknown: RefCell<HashSet<String>>,
}

impl Reading {
    fn report(&self, ReadError(error): ReadError, root: &Node) {
        let origin = error.origin.clone().unwrap_or_else(|| root.origin.clone());
        let path = error.path.unwrap_or_default();
        let key = path.rsplit('.').next().unwrap_or("");
        let diagnostic = match error.what {
            What::Missing(field) => Diagnostic::error(format!("the key `{field}` is missing"))
                .kind(Kind::Missing)
                .at(&origin, ""),
            What::Variant(found, expected) => {
                let of = if key.is_empty() {
                    String::new()
                } else {
                    format!("`{key}`: ")
                };
                let error = Diagnostic::error(format!("{of}'{found}' is not known"))
                    .kind(Kind::Mistyped)
                    .at(&origin, "");
                let error = error.known(expected.iter().copied());
                match nearest(&found, expected.iter().copied()) {
                    Some(near) => error
                        .help(format!(
                            "did you mean '{near}'? There are {}",
                            list(expected)
                        ))
                        .use_name(&origin, near),
                    None => error.help(format!("there are {}", list(expected))),
                }
            }
            What::Other(message) => {
                let of = if key.is_empty() {
                    String::new()
                } else {
                    format!("`{key}`: ")
                };
                Diagnostic::error(format!("{of}{message}"))
                    .kind(Kind::Mistyped)
                    .at(&origin, "")
            }
        };
        let diagnostic = match &error.tuple {
            Some(tuple) => diagnostic.comma(tuple),
            None => diagnostic,
        };
        let mut all = self.diagnostics.borrow_mut();
        let same = |d: &Diagnostic| {
            d.message == diagnostic.message
                && d.labels.first().map(|l| l.0.to_string())
                    == diagnostic.labels.first().map(|l| l.0.to_string())
        };
        if !all.iter().any(same) {
            all.push(diagnostic);
        }
    }

    fn unknown_key(&self, key: &Key, entry: &Entry, path: &str, fields: &[&'static str]) {
        let place = format!("{path}.{key}");
        if !self.unknown.borrow_mut().insert(place) {
            return;
        }
        let error = Diagnostic::error(format!("the key `{key}` is not known"))
            .kind(Kind::Unknown)
            .at(&entry.key, "");
        // Those that are only counted need no advice.
        if self.unknown.borrow().len() > PRINTED {
            self.diagnostics.borrow_mut().push(error);
            return;
        }
        let fields = fields.iter().copied().filter(|f| !OWN_KEYS.contains(f));
        let others = self.others.iter().filter(|_| path.is_empty());
        let known: Vec<&str> = fields.chain(others.map(String::as_str)).collect();
        let error = error.known(known.iter().copied());
        let error = match nearest(&key.to_string(), known.iter().copied()) {
            Some(near) => error
                .help(format!("did you mean `{near}`?"))
                .use_name(&entry.key, near),
            None => error.help(format!("there are {}", list(&known))),
        };
        self.diagnostics.borrow_mut().push(error);
    }
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    if quoted.is_empty() {
        "none".into()
    } else {
        quoted.join(", ")
    }
}

/// serde's error. On the heap, as every step of a reading hands results on.
#[derive(Debug)]
struct ReadError(Box<Mistake>);

/// What is wrong, with the place at which it arose.
#[derive(Debug)]
struct Mistake {
    what: What,
    origin: Option<Origin>,
    path: Option<String>,
    /// The value, where it is a tuple that a comma may have made.
    tuple: Option<Box<Node>>,
}

#[derive(Debug)]
enum What {
    Missing(&'static str),
    Variant(String, &'static [&'static str]),
    Other(String),
}

impl ReadError {
    fn new(what: What) -> Self {
        Self(Box::new(Mistake {
            what,
            origin: None,
            path: None,
            tuple: None,
        }))
    }

    /// Gives the error the place of the value in which it arose, unless it has one.
    fn within(mut self, node: &Node, path: &str) -> Self {
        let mistake = &mut *self.0;
        if mistake.path.is_none() {
            mistake.path = Some(match &mistake.what {
                What::Missing(field) => join(path, field),
                _ => path.to_owned(),
            });
            mistake.origin = Some(node.origin.clone());
            mistake.tuple = matches!(node.value, Value::Tuple(_)).then(|| Box::new(node.clone()));
        }
        self
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.what {
            What::Missing(field) => write!(f, "the key `{field}` is missing"),
            What::Variant(found, _) => write!(f, "'{found}' is not known"),
            What::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::Variant(cut(variant, VALUE).into_owned(), expected))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Bool(b) => if b { "True" } else { "False" }.to_owned(),
            de::Unexpected::Unit | de::Unexpected::Option => "None".to_owned(),
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Map => "a dict".to_owned(),
            de::Unexpected::Float(x) => format!("the float {}", super::text::float(x)),
            de::Unexpected::Signed(i) => format!("the integer {i}"),
            de::Unexpected::Unsigned(i) => format!("the integer {i}"),
            de::Unexpected::Str(s) => format!("the string {}", super::text::quoted(s)),
            other => other.to_string(),
        };
        Self::new(What::Other(format!(
            "{} expected, but {found} given",
            named(expected)
        )))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(What::Other(format!(
            "{} expected, but {found} given",
            named(expected)
        )))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::new(What::Other(format!(
            "{} expected, but there are {length} items",
            named(expected)
        )))
    }
}

/// serde's names of Rust types, as a config's writer knows them.
fn named(expected: &dyn de::Expected) -> String {
    match expected.to_string().as_str() {
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer that is not negative".into(),
        "f32" | "f64" => "a number".into(),
        "a string" | "a borrowed string" | "string" => "a string".into(),
        "a boolean" => "True or False".into(),
        "a sequence" => "a list".into(),
        "a map" => "a dict".into(),
        text if text.starts_with("struct ") => "a dict".into(),
        text => text.to_owned(),
    }
}

/// serde's deserializer of a node. One type for what is there and for stand-ins, as every type that is read is compiled for each.
struct Reader<'a> {
    /// None: a stand-in, which fits what is asked for, so that reading goes on behind a mistake.
    node: Option<&'a Node>,
    path: String,
    reading: &'a Reading,
}

impl<'a> Reader<'a> {
    fn new(node: &'a Node, path: String, reading: &'a Reading) -> Self {
        let replaced = reading.replaced.borrow().contains(&path);
        Self {
            node: (!replaced).then_some(node),
            path,
            reading,
        }
    }

    fn value(&self) -> Option<&'a Value> {
        self.node.map(|node| &node.value)
    }

    /// Whether this is the component itself, and somebody else reads its `key`.
    fn is_others(&self, key: &str) -> bool {
        self.path.is_empty() && self.reading.others.iter().any(|other| other == key)
    }

    /// Gives an error of a visit the place of this value.
    fn placed(&self, error: ReadError) -> ReadError {
        match self.node {
            Some(node) => error.within(node, &self.path),
            None => error,
        }
    }

    /// So many stand-ins behind the items of the value, if it has some.
    fn items(&self, stand_ins: usize) -> Items<'_> {
        Items {
            items: self.node.and_then(items).unwrap_or_default(),
            at: 0,
            stand_ins,
            path: &self.path,
            reading: self.reading,
        }
    }

    fn report_unknown(&self, dict: &Dict, fields: &'static [&'static str]) {
        for (key, entry) in dict.iter() {
            let known = key
                .as_str()
                .is_some_and(|k| fields.contains(&k) || OWN_KEYS.contains(&k) || self.is_others(k));
            if !known {
                self.reading.unknown_key(key, entry, &self.path, fields);
            }
        }
    }

    /// What is wrong with a value of another length.
    fn not_so_many(&self, length: usize) -> Option<ReadError> {
        let items = items(self.node?)?;
        let message = format!("{length} items expected, but there are {}", items.len());
        let error = || self.placed(ReadError::new(What::Other(message)));
        (items.len() != length).then(error)
    }

    fn no_variant(&self, node: &Node, variants: &[&str]) -> ReadError {
        let (list, found) = (list(variants), node.type_name());
        let message = format!("one of {list} expected, but a {found} given");
        ReadError::new(What::Other(message))
    }

    /// Passes the node to the `Node` that asks for it.
    fn pass(&self) {
        let node = self.node.cloned();
        let node = node.unwrap_or_else(|| Node::made(Value::None, "nothing"));
        PASSED.with(|p| *p.borrow_mut() = Some(node));
    }
}

/// The items of a list and the like.
fn items(node: &Node) -> Option<Vec<Node>> {
    match &node.value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => Some(items.to_vec()),
        Value::Range(from, to, step) => {
            let made = |i: i64| Node {
                value: Value::Int(i),
                origin: node.origin.clone(),
            };
            let mut list = Vec::new();
            let mut at = *from;
            while ((*step > 0 && at < *to) || (*step < 0 && at > *to))
                && list.len() < super::eval::NODES
            {
                list.push(made(at));
                at = at.checked_add(*step)?;
            }
            Some(list)
        }
        _ => None,
    }
}

macro_rules! plain {
    ($($method:ident $visit:ident $stand_in:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.node {
                Some(_) => self.deserialize_any(visitor),
                None => visitor.$visit($stand_in),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match self.value() {
            None | Some(Value::None) => visitor.visit_unit(),
            Some(Value::Bool(b)) => visitor.visit_bool(*b),
            Some(Value::Int(i)) => visitor.visit_i64(*i),
            Some(Value::Float(x)) => visitor.visit_f64(*x),
            Some(Value::Str(s)) => visitor.visit_str(s),
            Some(Value::Object(o)) => visitor.visit_str(&o.path()),
            Some(Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Range(..)) => {
                let mut items = self.items(0);
                let result = visitor.visit_seq(&mut items);
                match (result, items.left_over()) {
                    (Ok(_), Some(error)) => Err(error),
                    (result, _) => result,
                }
            }
            Some(Value::Dict(dict)) => visitor.visit_map(Entries::new(&self, Some(dict), &[])),
        };
        result.map_err(|error| self.placed(error))
    }

    plain! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 1;
        deserialize_i16 visit_i16 1;
        deserialize_i32 visit_i32 1;
        deserialize_i64 visit_i64 1;
        deserialize_u8 visit_u8 1;
        deserialize_u16 visit_u16 1;
        deserialize_u32 visit_u32 1;
        deserialize_u64 visit_u64 1;
        deserialize_char visit_char ' ';
        deserialize_str visit_str "";
        deserialize_string visit_str "";
        deserialize_identifier visit_str "";
        deserialize_bytes visit_bytes &[];
        deserialize_byte_buf visit_bytes &[];
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            Some(Value::Int(i)) => visitor.visit_f64(*i as f64),
            Some(_) => self.deserialize_any(visitor),
            None => visitor.visit_f64(0.0),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node {
            Some(_) => self.deserialize_any(visitor),
            None => visitor.visit_seq(&mut self.items(0)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node {
            Some(_) => self.deserialize_any(visitor),
            None => visitor.visit_map(Entries::new(&self, None, &[])),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value() {
            None | Some(Value::None) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == NODE {
            self.pass();
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.node.is_none() {
            return visitor.visit_seq(&mut self.items(length));
        }
        // Said here, as serde would name the number of items only.
        match self.not_so_many(length) {
            Some(error) => Err(error),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match self.value() {
            None => return visitor.visit_seq(&mut self.items(fields.len())),
            Some(Value::Dict(dict)) => {
                self.report_unknown(dict, fields);
                visitor.visit_map(Entries::new(&self, Some(dict), fields))
            }
            Some(_) => return self.deserialize_any(visitor),
        };
        result.map_err(|error| self.placed(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match (self.node, self.value()) {
            (_, Some(Value::Dict(dict))) if dict.len() == 1 => visitor.visit_enum(
                de::value::MapAccessDeserializer::new(Entries::new(&self, Some(dict), &[])),
            ),
            (None, _) => {
                let first = variants.first().copied().unwrap_or("");
                visitor.visit_enum(first.into_deserializer())
            }
            (_, Some(Value::Str(s))) => visitor.visit_enum((**s).into_deserializer()),
            (Some(node), _) => Err(self.no_variant(node, variants)),
        };
        result.map_err(|error| self.placed(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

/// Items, then stand-ins.
struct Items<'a> {
    items: Vec<Node>,
    at: usize,
    stand_ins: usize,
    path: &'a str,
    reading: &'a Reading,
}

impl Items<'_> {
    /// A tuple of a fixed length leaves what it has no place for.
    fn left_over(&self) -> Option<ReadError> {
        let (taken, all) = (self.at, self.items.len());
        let message = || format!("{taken} items expected, but there are {all}");
        (taken < all).then(|| ReadError::new(What::Other(message())))
    }
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let (path, node) = match self.items.get(self.at) {
            Some(node) => {
                self.at += 1;
                (join(self.path, &(self.at - 1).to_string()), Some(node))
            }
            None if self.stand_ins > 0 => {
                self.stand_ins -= 1;
                (String::new(), None)
            }
            None => return Ok(None),
        };
        let value = next(seed, node, path, self.reading);
        value.map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.at + self.stand_ins)
    }
}

/// The entries of a dict; for a struct only those it has fields for, and stand-ins for missing ones that were reported.
struct Entries<'a> {
    entries: std::vec::IntoIter<(Key, Option<Node>)>,
    current: Option<(String, Option<Node>)>,
    path: &'a str,
    reading: &'a Reading,
}

impl<'a> Entries<'a> {
    fn new(reader: &'a Reader<'a>, dict: Option<&Dict>, fields: &'static [&'static str]) -> Self {
        let wanted = |(key, _): &(&Key, &Entry)| {
            fields.is_empty() || key.as_str().is_some_and(|k| fields.contains(&k))
        };
        let own = |(key, entry): (&Key, &Entry)| (key.clone(), Some(entry.node.clone()));
        let all = dict.into_iter().flat_map(Dict::iter);
        let mut entries: Vec<(Key, Option<Node>)> = all.filter(wanted).map(own).collect();
        let replaced = reader.reading.replaced.borrow();
        for field in fields {
            let there = dict.is_none_or(|dict| dict.contains(field));
            if !there && replaced.contains(&join(&reader.path, field)) {
                entries.push((Key::Str((*field).into()), None));
            }
        }
        Self {
            entries: entries.into_iter(),
            current: None,
            path: &reader.path,
            reading: reader.reading,
        }
    }

    fn next(&mut self) -> Option<Key> {
        let (key, node) = self.entries.next()?;
        self.current = Some((join(self.path, &key.to_string()), node));
        Some(key)
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some(key) = self.next() else {
            return Ok(None);
        };
        let read = match key {
            Key::Int(i) => seed.deserialize(i.into_deserializer()),
            other => seed.deserialize(other.to_string().as_str().into_deserializer()),
        };
        read.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        match self.current.take() {
            Some((path, node)) => next(seed, node.as_ref(), path, self.reading),
            None => Err(de::Error::custom("a value without a key")),
        }
    }
}

/// A value of a list or dict; a stand-in, if there is none.
fn next<'de, T: DeserializeSeed<'de>>(
    seed: T,
    node: Option<&Node>,
    path: String,
    reading: &Reading,
) -> Result<T::Value, ReadError> {
    let reader = match node {
        Some(node) => Reader::new(node, path.clone(), reading),
        None => Reader {
            node: None,
            path: path.clone(),
            reading,
        },
    };
    seed.deserialize(reader).map_err(|mut error| {
        if let Some(node) = node {
            return error.within(node, &path);
        }
        if !path.is_empty() {
            error.0.path.get_or_insert(path);
        }
        error
    })
}
