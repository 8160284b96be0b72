//! Python pickles of every protocol (0 to 5), read without running anything.
//!
//! [`machine`] turns the opcodes into an arena of [`Node`]s: a call is kept as "this name was called
//! with these arguments", an object as its class, arguments, state and items. What the calls mean is
//! decided afterwards, by whoever looks ([`super::torch`], [`super::numpy`]), and only for the parts
//! they look at. So an unknown class never fails a file, and a hostile one has nothing to call.
//!
//! Bounds: each opcode makes at most three nodes, there are at most [`budget::MAX_NODES`], strings and bytes stay in
//! the file, and all that is asked of the nodes is paid for out of a [`Budget`]. Nodes refer to each other by number, so a structure that contains itself is
//! harmless, and nothing recurses while parsing or dropping.

mod budget;
mod machine;
mod render;
mod text;
mod value;

pub(crate) use budget::Budget;
#[cfg(test)]
pub(crate) use budget::MAX_STEPS;
pub(crate) use machine::parse;
pub(crate) use value::{Id, Node, Pickle};
