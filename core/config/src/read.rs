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
        let reading = Reading {
            others: others.iter().map(|key| key.to_string()).collect(),
            ..Reading::default()
        };
        let mut result = None;
        for _ in 0..ATTEMPTS {
            let value = Reader {
                node: self,
                path: String::new(),
                reading: &reading,
            };
            match T::deserialize(value) {
                Ok(value) => {
                    result = Some(value);
                    break;
                }
                Err(error) => {
                    let path = error.path.clone().unwrap_or_default();
                    let known = reading.replaced.borrow().contains(&path);
                    reading.report(error, self);
                    // A stand-in that did not fit either: nothing more is found by trying again.
                    if known {
                        break;
                    }
                    reading.replaced.borrow_mut().push(path);
                }
            }
        }
        let diagnostics = reading.diagnostics.into_inner();
        match result {
            Some(value) if diagnostics.is_empty() => Ok(value),
            _ => Err(diagnostics),
        }
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
    fn report(&self, error: ReadError, root: &Node) {
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

/// serde's error, with the place at which it arose.
#[derive(Debug)]
struct ReadError {
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
        Self {
            what,
            origin: None,
            path: None,
            tuple: None,
        }
    }

    /// Gives the error the place of the value in which it arose, unless it has one.
    fn within(mut self, node: &Node, path: &str) -> Self {
        if self.path.is_none() {
            self.path = Some(match &self.what {
                What::Missing(field) => join(path, field),
                _ => path.to_owned(),
            });
            self.origin = Some(node.origin.clone());
            self.tuple = matches!(node.value, Value::Tuple(_)).then(|| Box::new(node.clone()));
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
        match &self.what {
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

/// serde's deserializer of a node.
struct Reader<'a> {
    node: &'a Node,
    path: String,
    reading: &'a Reading,
}

impl<'a> Reader<'a> {
    /// Whether this is the component itself, and somebody else reads its `key`.
    fn is_others(&self, key: &str) -> bool {
        self.path.is_empty() && self.reading.others.iter().any(|other| other == key)
    }

    fn replaced(&self) -> bool {
        self.reading.replaced.borrow().contains(&self.path)
    }

    /// Runs a visit and gives its error the place of this value.
    fn placed<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|e| e.within(self.node, &self.path))
    }

    fn items(&self) -> Option<Vec<Node>> {
        match &self.node.value {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => Some(items.to_vec()),
            Value::Range(from, to, step) => {
                let node = |i: i64| Node {
                    value: Value::Int(i),
                    origin: self.node.origin.clone(),
                };
                let mut list = Vec::new();
                let mut at = *from;
                while ((*step > 0 && at < *to) || (*step < 0 && at > *to))
                    && list.len() < super::eval::NODES
                {
                    list.push(node(at));
                    at = at.checked_add(*step)?;
                }
                Some(list)
            }
            _ => None,
        }
    }
}

macro_rules! plain {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            if self.replaced() {
                return StandIn.$method(visitor);
            }
            self.deserialize_any(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.replaced() {
            return StandIn.deserialize_any(visitor);
        }
        let result = match &self.node.value {
            Value::None => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(i) => visitor.visit_i64(*i),
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Str(s) => visitor.visit_str(s),
            Value::Object(o) => visitor.visit_string(o.path()),
            Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Range(..) => {
                let items = self.items().unwrap_or_default();
                let mut items = Items {
                    items: &items,
                    at: 0,
                    path: &self.path,
                    reading: self.reading,
                };
                let result = visitor.visit_seq(&mut items);
                // A tuple of a fixed length leaves what it has no place for.
                let left = items.items.len() - items.at;
                match result {
                    Ok(_) if left > 0 => Err(ReadError::new(What::Other(format!(
                        "{} items expected, but there are {}",
                        items.at,
                        items.items.len()
                    )))),
                    other => other,
                }
            }
            Value::Dict(dict) => visitor.visit_map(Entries::new(&self, dict, &[])),
        };
        self.placed(result)
    }

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_seq
        deserialize_map deserialize_identifier
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match (&self.node.value, self.replaced()) {
            (Value::Int(i), false) => visitor.visit_f64(*i as f64),
            (_, true) => StandIn.deserialize_f64(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_none() || self.replaced() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
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
            PASSED.with(|p| *p.borrow_mut() = Some(self.node.clone()));
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.replaced() {
            return StandIn.deserialize_tuple(length, visitor);
        }
        // Said here, as serde would name the number of items only.
        if let Some(items) = self.items()
            && items.len() != length
        {
            let message = format!("{length} items expected, but there are {}", items.len());
            return self.placed(Err(ReadError::new(What::Other(message))));
        }
        self.deserialize_any(visitor)
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
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.replaced() {
            return StandIn.deserialize_struct(name, fields, visitor);
        }
        let Value::Dict(dict) = &self.node.value else {
            return self.deserialize_any(visitor);
        };
        for (key, entry) in dict.iter() {
            let known = key
                .as_str()
                .is_some_and(|k| fields.contains(&k) || OWN_KEYS.contains(&k) || self.is_others(k));
            if !known {
                self.reading.unknown_key(key, entry, &self.path, fields);
            }
        }
        let result = visitor.visit_map(Entries::new(&self, dict, fields));
        self.placed(result)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.replaced() {
            return StandIn.deserialize_enum(name, variants, visitor);
        }
        let result = match &self.node.value {
            Value::Str(s) => visitor.visit_enum((**s).into_deserializer()),
            Value::Dict(dict) if dict.len() == 1 => visitor.visit_enum(
                de::value::MapAccessDeserializer::new(Entries::new(&self, dict, &[])),
            ),
            _ => {
                let message = format!(
                    "one of {} expected, but a {} given",
                    list(variants),
                    self.node.type_name()
                );
                Err(ReadError::new(What::Other(message)))
            }
        };
        self.placed(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    items: &'a [Node],
    at: usize,
    path: &'a str,
    reading: &'a Reading,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.items.get(self.at) else {
            return Ok(None);
        };
        let path = join(self.path, &self.at.to_string());
        self.at += 1;
        let reader = Reader {
            node,
            path: path.clone(),
            reading: self.reading,
        };
        seed.deserialize(reader)
            .map(Some)
            .map_err(|e| e.within(node, &path))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.at)
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
    fn new(reader: &'a Reader<'a>, dict: &Dict, fields: &'static [&'static str]) -> Self {
        let wanted = |(key, _): &(&Key, &Entry)| {
            fields.is_empty() || key.as_str().is_some_and(|k| fields.contains(&k))
        };
        let own = |(key, entry): (&Key, &Entry)| (key.clone(), Some(entry.node.clone()));
        let mut entries: Vec<(Key, Option<Node>)> = dict.iter().filter(wanted).map(own).collect();
        let replaced = reader.reading.replaced.borrow();
        for field in fields {
            if !dict.contains(field) && replaced.contains(&join(&reader.path, field)) {
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
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some((join(self.path, &key.to_string()), node));
        match key {
            Key::Int(i) => seed.deserialize(i.into_deserializer()).map(Some),
            Key::Str(s) => seed.deserialize((*s).into_deserializer()).map(Some),
            other => seed
                .deserialize(other.to_string().into_deserializer())
                .map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        match self.current.take() {
            Some((path, Some(node))) => {
                let reader = Reader {
                    node: &node,
                    path: path.clone(),
                    reading: self.reading,
                };
                seed.deserialize(reader).map_err(|e| e.within(&node, &path))
            }
            Some((path, None)) => seed.deserialize(StandIn).map_err(|mut e| {
                e.path.get_or_insert(path);
                e
            }),
            None => Err(de::Error::custom("a value without a key")),
        }
    }
}

/// A value that fits what is asked for, so that reading goes on behind a mistake.
struct StandIn;

macro_rules! stand_in {
    ($($method:ident $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.$visit($value)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for StandIn {
    type Error = ReadError;

    stand_in! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 1;
        deserialize_i16 visit_i16 1;
        deserialize_i32 visit_i32 1;
        deserialize_i64 visit_i64 1;
        deserialize_u8 visit_u8 1;
        deserialize_u16 visit_u16 1;
        deserialize_u32 visit_u32 1;
        deserialize_u64 visit_u64 1;
        deserialize_f32 visit_f32 0.0;
        deserialize_f64 visit_f64 0.0;
        deserialize_char visit_char ' ';
        deserialize_str visit_str "";
        deserialize_string visit_str "";
        deserialize_identifier visit_str "";
        deserialize_bytes visit_bytes &[];
        deserialize_byte_buf visit_bytes &[];
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == NODE {
            PASSED.with(|p| *p.borrow_mut() = Some(Node::made(Value::None, "nothing")));
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(StandIns(0))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(StandIns(length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(StandIns(length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_map(de::value::MapDeserializer::new(std::iter::empty::<(
            &str,
            &str,
        )>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(StandIns(fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let first = variants.first().copied().unwrap_or("");
        visitor.visit_enum(first.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

struct StandIns(usize);

impl<'de> de::SeqAccess<'de> for StandIns {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(left) = self.0.checked_sub(1) else {
            return Ok(None);
        };
        self.0 = left;
        seed.deserialize(StandIn).map(Some)
    }
}
