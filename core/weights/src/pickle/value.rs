//! What a pickle describes, as an arena of nodes, and the questions that readers ask of it.

use std::borrow::Cow;
use std::ops::Range;

use super::budget::Budget;
use super::text;

/// Number of a node in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub u32);

impl Id {
    pub const NONE: Self = Self(0);
    pub const TRUE: Self = Self(1);
    pub const FALSE: Self = Self(2);
    pub const EMPTY_TUPLE: Self = Self(3);
}

/// One Python value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond i64; its value is not kept.
    BigInt,
    Float(f64),
    /// UTF-8 text: a range of the pickle's bytes.
    Text(Range<u32>),
    /// Python bytes.
    Bytes(Range<u32>),
    /// A Python 2 string: text or bytes, whichever the reader needs.
    Str8(Range<u32>),
    /// Text that had escapes.
    OwnedText(Box<str>),
    /// A Python 2 string that had escapes.
    OwnedStr8(Box<[u8]>),
    /// A class or function by module and name, both text nodes. Never looked up.
    Global(Id, Id),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Object(Box<Object>),
    /// A value kept outside the pickle, by its identifier: how PyTorch refers to storages.
    Persistent(Id),
    /// A number of Python's extension registry, or an out-of-band buffer.
    Opaque,
}

/// The result of a call or of creating an object, not executed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    /// What was called: usually a [`Node::Global`].
    pub callable: Id,
    pub args: Id,
    /// What `__setstate__` would have been given.
    pub state: Option<Id>,
    /// Key-value pairs set afterwards, as for subclasses of dict.
    pub items: Vec<(Id, Id)>,
    /// Values appended afterwards, as for subclasses of list and deque.
    pub list: Vec<Id>,
}

/// A parsed pickle.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub bytes: &'a [u8],
    pub nodes: Vec<Node>,
    pub root: Id,
    /// Where the pickle ends: legacy PyTorch files have several in a row.
    pub end: usize,
    /// Pays for all that is asked below.
    pub budget: Budget,
}

/// Longest name, key or label that is looked at, in bytes.
const MAX_TEXT: usize = 4096;

/// What a pair that is looked at costs, in the budget's steps.
const PAIR: usize = 8;

/// How many wrappers (`_reconstructor`, nested `state`) are looked through.
const MAX_WRAPPERS: usize = 4;

impl<'a> Pickle<'a> {
    pub fn node(&self, id: Id) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::Opaque)
    }

    fn slice(&self, range: &Range<u32>) -> &'a [u8] {
        let range = range.start as usize..range.end as usize;
        self.bytes.get(range).unwrap_or_default()
    }

    /// Text of a str, or of a Python 2 string (UTF-8 where it is, else Latin-1), up to [`MAX_TEXT`] bytes:
    /// names and keys.
    pub fn text(&self, id: Id) -> Option<Cow<'_, str>> {
        self.long_text(id, MAX_TEXT)
    }

    /// Text of up to `max` bytes.
    pub fn long_text(&self, id: Id, max: usize) -> Option<Cow<'_, str>> {
        let (bytes, is_text) = self
            .text_bytes(id)
            .filter(|(bytes, _)| bytes.len() <= max)?;
        self.budget.spend(2 * bytes.len() + 1)?;
        Some(if is_text {
            String::from_utf8_lossy(bytes)
        } else {
            text::utf8_or_latin1(bytes)
        })
    }

    /// Whether this is that text: as [`Self::text`] would tell, without decoding it.
    pub fn is_text(&self, id: Id, expected: &str) -> bool {
        let Some((bytes, is_text)) = self.text_bytes(id) else {
            return false;
        };
        if bytes.len() == expected.len() {
            return self.budget.spend(bytes.len()).is_some() && bytes == expected.as_bytes();
        }
        // A byte of Latin-1 is one character, of one byte only if it is ASCII.
        let latin1 = !is_text && bytes.len() < expected.len() && !expected.is_ascii();
        latin1 && self.text(id).is_some_and(|text| text == expected)
    }

    /// The length of a text in bytes, undecoded.
    pub fn text_len(&self, id: Id) -> Option<usize> {
        self.text_bytes(id).map(|(bytes, _)| bytes.len())
    }

    /// The first `max` bytes or so of a text.
    pub fn text_start(&self, id: Id, max: usize) -> Option<Cow<'_, str>> {
        let (bytes, _) = self.text_bytes(id)?;
        let start = &bytes[..bytes.len().min(max)];
        self.budget.spend(2 * start.len() + 1)?;
        Some(String::from_utf8_lossy(start))
    }

    /// The bytes of a text, and whether they are UTF-8 by rights.
    fn text_bytes(&self, id: Id) -> Option<(&[u8], bool)> {
        match self.node(id) {
            Node::Text(range) => Some((self.slice(range), true)),
            Node::Str8(range) => Some((self.slice(range), false)),
            Node::OwnedText(text) => Some((text.as_bytes(), true)),
            Node::OwnedStr8(bytes) => Some((bytes, false)),
            _ => None,
        }
    }

    /// The value that holds the bytes of a bytes, bytearray or Python 2 string: itself, or the text or bytes it is
    /// made from. Protocols 0 to 2 write `_codecs.encode(text, 'latin1')` and `bytearray(...)`.
    pub fn bytes_source(&self, id: Id) -> Option<Id> {
        match self.node(id) {
            Node::Bytes(_) | Node::Str8(_) | Node::OwnedStr8(_) => Some(id),
            Node::Object(_) => {
                let (module, name, args) = self.call(id)?;
                let codec = module == "_codecs" && name == "encode";
                match args {
                    // One level of calls is what Python writes, but for bytearray(_codecs.encode(...)).
                    [first, ..] if codec => self.text_bytes(*first).map(|_| *first),
                    [first, ..] if name == "bytes" || name == "bytearray" => {
                        match self.call(*first) {
                            Some((_, inner, [text, ..])) if inner == "encode" => {
                                self.text_bytes(*text).map(|_| *text)
                            }
                            _ => Some(*first),
                        }
                    }
                    // Empty bytes.
                    [] if name == "bytes" || name == "bytearray" => Some(id),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The bytes that a [`Self::bytes_source`] stands for: to be asked for once, since a text is decoded, at no cost to the budget.
    pub fn source_bytes(&self, source: Id) -> Option<Cow<'_, [u8]>> {
        match self.node(source) {
            Node::Bytes(range) | Node::Str8(range) => Some(Cow::Borrowed(self.slice(range))),
            Node::OwnedStr8(bytes) => Some(Cow::Borrowed(bytes)),
            Node::Object(_) => Some(Cow::Borrowed(&[])),
            _ => match self.text_bytes(source)? {
                (bytes, true) => text::latin1_bytes(&String::from_utf8_lossy(bytes)),
                (bytes, false) => text::latin1_bytes(&text::utf8_or_latin1(bytes)),
            }
            .map(Cow::Owned),
        }
    }

    /// The range of the pickle's bytes that holds these bytes as they are, if one does.
    pub fn bytes_range(&self, source: Id) -> Option<Range<usize>> {
        match self.node(source) {
            Node::Bytes(range) | Node::Str8(range) => {
                Some(range.start as usize..range.end as usize)
            }
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub fn index(&self, id: Id) -> Option<usize> {
        self.int(id).and_then(|value| usize::try_from(value).ok())
    }

    /// The items of a tuple, or of a list where a tuple is meant.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a tuple, list, set, or of a subclass of one such as `torch.Size` or `deque`.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Set(items) => Some(items),
            Node::Object(object) if !object.list.is_empty() => Some(&object.list),
            Node::Object(object) => {
                let (_, name) = self.global(object.callable)?;
                let known = ["Size", "deque", "set", "frozenset", "list", "tuple"];
                known.contains(&&*name).then_some(())?;
                match self.tuple(object.args)? {
                    [] => Some(&[]),
                    [first, ..] => self.tuple(*first),
                }
            }
            _ => self.tuple(id),
        }
    }

    /// Sizes or strides; at most `max` of them.
    pub fn sizes(&self, id: Id, max: usize) -> Option<Vec<usize>> {
        let items = self.sequence(id).filter(|items| items.len() <= max)?;
        self.budget.spend(2 * items.len())?;
        items.iter().map(|&item| self.index(item)).collect()
    }

    /// Module and name of a class or function.
    pub fn global(&self, id: Id) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
        match self.node(id) {
            Node::Global(module, name) => Some((self.text(*module)?, self.text(*name)?)),
            _ => None,
        }
    }

    /// A call of a class or function: its module, name and arguments.
    pub fn call(&self, id: Id) -> Option<(Cow<'_, str>, Cow<'_, str>, &[Id])> {
        let Node::Object(object) = self.node(id) else {
            return None;
        };
        let (module, name) = self.global(object.callable)?;
        Some((module, name, self.tuple(object.args).unwrap_or_default()))
    }

    /// The pairs of a dict, or of an object that stands for one: OrderedDict, defaultdict, addict.Dict,
    /// ConfigDict, and any other subclass of dict, however it was pickled.
    pub fn pairs(&self, id: Id) -> Option<Cow<'_, [(Id, Id)]>> {
        self.pairs_within(id, MAX_WRAPPERS)
    }

    fn pairs_within(&self, id: Id, depth: usize) -> Option<Cow<'_, [(Id, Id)]>> {
        let object = match self.node(id) {
            Node::Dict(pairs) => return Some(Cow::Borrowed(pairs)),
            Node::Object(object) => object,
            _ => return None,
        };
        if !object.items.is_empty() {
            return Some(Cow::Borrowed(&object.items));
        }
        let depth = depth.checked_sub(1)?;
        let args = self.tuple(object.args).unwrap_or_default();
        let (_, name) = self.global(object.callable)?;
        if name == "_reconstructor" {
            // (class, base, value of the base): how protocols 0 and 1 write objects.
            return self.pairs_within(*args.get(2)?, depth);
        }
        match args {
            // An empty subclass of dict; with other names, an object of which nothing is known.
            [] if name.contains("Dict") || name.contains("dict") => Some(Cow::Borrowed(&[])),
            [factory] if name == "defaultdict" && self.global(*factory).is_some() => {
                Some(Cow::Borrowed(&[]))
            }
            [only] => match self.node(*only) {
                Node::List(items) if name.ends_with("Dict") => {
                    self.budget.spend(items.len().saturating_mul(PAIR))?;
                    let pair = |&item: &Id| match self.tuple(item) {
                        Some(&[key, value]) => Some((key, value)),
                        _ => None,
                    };
                    let pairs: Option<Vec<_>> = items.iter().map(pair).collect();
                    pairs.map(Cow::Owned)
                }
                _ if name.contains("Dict") || name == "Counter" || name == "MessageHub" => {
                    self.pairs_within(*only, depth)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The value of a text key in a dict or the like; the last one counts, as in Python.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let pairs = self.pairs(dict)?;
        for &(found, value) in pairs.iter().rev() {
            self.budget.spend(PAIR)?;
            if self.is_text(found, key) {
                return Some(value);
            }
        }
        None
    }

    /// The attributes of an object: the dict that was its state.
    pub fn attribute(&self, object: Id, name: &str) -> Option<Id> {
        let Node::Object(object) = self.node(object) else {
            return None;
        };
        let state = object.state?;
        // With __slots__ the state is (dict or None, slots).
        match self.node(state) {
            Node::Tuple(parts) if parts.len() == 2 => {
                parts.iter().find_map(|&part| self.get(part, name))
            }
            _ => self.get(state, name),
        }
    }
}
