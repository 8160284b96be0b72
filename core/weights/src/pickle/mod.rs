//! Python pickles of every protocol (0 to 5), read without running anything.
//!
//! [`machine`] turns the opcodes into an arena of [`Node`]s: a call is kept as "this name was called
//! with these arguments", an object as its class, arguments, state and items. What the calls mean is
//! decided afterwards, by whoever looks ([`super::torch`], [`super::numpy`]), and only for the parts
//! they look at. So an unknown class never fails a file, and a hostile one has nothing to call.
//!
//! Bounds: each opcode makes at most three nodes, there are at most [`machine::MAX_NODES`], and strings and
//! bytes stay in the file. Nodes refer to each other by number, so a structure that contains itself is
//! harmless, and nothing recurses while parsing or dropping.

mod machine;
mod render;
mod text;
mod value;

pub(crate) use machine::parse;
pub(crate) use value::{Id, Node, Pickle};
