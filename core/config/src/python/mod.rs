//! The syntax of Python's expressions and simple statements, with a span for each.
//!
//! Hand written: a config needs a small part of Python, nothing of it may run, and a parser for all of Python is
//! larger than the rest of this engine's page in a browser.

pub(crate) mod ast;
mod lexer;
mod parser;
mod statements;
mod strings;

pub(crate) use parser::{is_keyword, parse, parse_expression};
