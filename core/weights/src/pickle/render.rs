//! Small values as Python would write them, for people to read.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::value::{Id, Node, Pickle};
use crate::error::shortened;

/// Containers within containers are shown to this depth.
const MAX_DEPTH: usize = 6;

impl Pickle<'_> {
    /// At most about `max` characters of `repr(value)`; objects of classes appear as `<module.Class>`.
    pub fn render(&self, id: Id, max: usize) -> String {
        let mut out = String::new();
        self.render_into(&mut out, id, MAX_DEPTH, max);
        shortened(&out, max).into_owned()
    }

    fn render_into(&self, out: &mut String, id: Id, depth: usize, max: usize) {
        if out.len() > max {
            return;
        }
        // Writing to a String cannot fail.
        let _ = match self.node(id) {
            Node::None => write!(out, "None"),
            Node::Bool(true) => write!(out, "True"),
            Node::Bool(false) => write!(out, "False"),
            Node::Int(value) => write!(out, "{value}"),
            Node::BigInt => write!(out, "<an integer beyond 64 bits>"),
            Node::Float(value) => write!(out, "{value:?}"),
            Node::Bytes(range) => write!(out, "<{} bytes>", range.len()),
            Node::Text(_) | Node::Str8(_) | Node::OwnedText(_) | Node::OwnedStr8(_) => {
                let text = self.text_start(id, 4 * max + 4).unwrap_or_default();
                let mut shown: String = text.chars().take(max + 1).collect();
                shown = shown.replace('\\', "\\\\").replace('\'', "\\'");
                write!(out, "'{}'", shown.replace('\n', "\\n"))
            }
            Node::Global(..) => match self.global(id) {
                Some((module, name)) => write!(out, "<class {}>", short(&module, &name)),
                None => write!(out, "<class>"),
            },
            Node::Tuple(items) => {
                self.render_items(out, ("(", ")"), items, depth, max);
                if items.len() == 1 && out.ends_with(')') {
                    out.truncate(out.len() - 1);
                    out.push_str(",)");
                }
                Ok(())
            }
            Node::List(items) => {
                self.render_items(out, ("[", "]"), items, depth, max);
                Ok(())
            }
            Node::Set(items) => {
                self.render_items(out, ("{", "}"), items, depth, max);
                Ok(())
            }
            Node::Dict(_) | Node::Object(_) => {
                match (self.plain_pairs(id), self.call(id)) {
                    (Some(pairs), _) => self.render_pairs(out, &pairs, depth, max),
                    (_, Some((module, name, _))) => {
                        let _ = write!(out, "<{}>", short(&module, &name));
                    }
                    _ => out.push_str("<object>"),
                }
                Ok(())
            }
            Node::Persistent(_) => write!(out, "<a stored object>"),
            Node::Opaque => write!(out, "<unknown>"),
        };
    }

    /// The pairs of a dict or the like; not where a list of them would have to be built first.
    fn plain_pairs(&self, id: Id) -> Option<Cow<'_, [(Id, Id)]>> {
        if let Some((_, _, [only])) = self.call(id)
            && matches!(self.node(*only), Node::List(_))
        {
            return None;
        }
        self.pairs(id)
    }

    fn render_items(
        &self,
        out: &mut String,
        (open, close): (&str, &str),
        items: &[Id],
        depth: usize,
        max: usize,
    ) {
        out.push_str(open);
        if depth == 0 {
            out.push_str("...");
        } else {
            for (i, &item) in items.iter().enumerate() {
                if out.len() > max {
                    break;
                }
                out.push_str(if i == 0 { "" } else { ", " });
                self.render_into(out, item, depth - 1, max);
            }
        }
        out.push_str(close);
    }

    fn render_pairs(&self, out: &mut String, pairs: &[(Id, Id)], depth: usize, max: usize) {
        out.push('{');
        if depth == 0 {
            out.push_str("...");
        } else {
            for (i, &(key, value)) in pairs.iter().enumerate() {
                if out.len() > max {
                    break;
                }
                out.push_str(if i == 0 { "" } else { ", " });
                self.render_into(out, key, depth - 1, max);
                out.push_str(": ");
                self.render_into(out, value, depth - 1, max);
            }
        }
        out.push('}');
    }
}

/// `module.name`, each cut to a readable length.
fn short(module: &str, name: &str) -> String {
    let cut = |text: &str| text.chars().take(80).collect::<String>();
    format!("{}.{}", cut(module), cut(name))
}
