//! The config language of MMEngine, read without Python.
//!
//! A config is a Python file in text style (`_base_ = '../x.py'`) or lazy style (`with read_base():`), or JSON or YAML. The
//! way of one file, in the order of the modules: its text ([`Loader`]), `{{...}}` replaced (`substitute`), parsed
//! (`python`, [`json`], [`yaml`]), its bases loaded the same way (`resolve`), evaluated with `_base_` in reach (`eval`), and
//! merged into its bases (`merge`). What comes out is a tree of [`Node`]s that know where they were written, so that any
//! later stage can point at the text ([`Diagnostic`]).
//!
//! Nothing of a config is ever run: names imported from packages stay names, `custom_imports` is only listed. Nothing here
//! does I/O: files come from a [`Loader`]. Nothing recurses or allocates without bound: work, depth and size have limits,
//! and going over one is an error.
//!
//! Where we differ from MMEngine 0.10.7 on purpose: integers have 64 bits; files that are programs are refused; a
//! `{{_base_.x}}` within a longer string is an error (it would stay a random text); what `{{$NAME:default}}` puts into a string is data, not
//! Python; a `_base_` that MMEngine would lose (within an `if`, set twice) is an error; bases may be written with `\`.

mod bounded;
mod characters;
mod commas;
mod diagnostic;
mod diff;
mod effects;
mod encodings;
mod eval;
pub mod file_kind;
mod find;
pub mod json;
mod left_over;
mod loader;
mod merge;
mod nearest;
mod options;
mod paths;
mod python;
mod read;
pub mod registry;
mod resolve;
mod source;
mod substitute;
pub mod text;
pub mod text_file;
mod unreadable;
mod value;
mod write;
pub mod yaml;

pub use bounded::{Bounded, Short};
pub use characters::named as named_character;
pub use characters::{line, visible, visible_json};
pub use commas::{check as check_commas, stray_comma};
pub use diagnostic::{
    ConfigErrors, Diagnostic, Diagnostics, Fix, Kind, Severity, cut, error_at, number_wanted,
    unsupported,
};
pub use diff::{Change, diff};
pub use left_over::left_over;
pub use loader::{LARGEST, LoadError, Loader, MapLoader};
pub use nearest::{distance, nearest};
pub use source::{Origin, Source, SourceKind};
pub use unreadable::{Unreadable, encoding, not_utf8, other_kind, unreadable_text};
pub use value::{Dict, Entry, Key, Node, Object, Value};
pub use write::{to_json, value_to_py};

use indexmap::IndexMap;
use resolve::{Loaded, Resolver};

/// Keys that MMEngine keeps for itself at the top of a config.
const RESERVED: [&str; 4] = ["filename", "text", "pretty_text", "env_variables"];

/// A resolved config.
#[derive(Clone, Debug)]
pub struct Config {
    /// The tree; always a dict.
    pub root: Node,
    /// The path from which it was loaded.
    pub path: String,
    /// Names that a lazy-style config imported, with what they stand for. They are no part of the config.
    pub imported: Dict,
    /// Warnings and notes, for example that a base is deprecated.
    pub notes: Vec<Diagnostic>,
    /// Environment variables that were read, for `{{$NAME}}` or by `os.environ`, with their values. Whatever the config says may have been
    /// computed from them.
    pub env: Vec<(String, String)>,
    /// Each base's path, with the entry that named it.
    includes: IndexMap<String, Origin>,
}

/// Loads configs; bases that several of them share are read once.
pub struct Configs<'l> {
    resolver: Resolver<'l>,
}

impl<'l> Configs<'l> {
    /// Loads with this loader.
    pub fn new(loader: &'l dyn Loader) -> Self {
        let resolver = Resolver::new(loader);
        Self { resolver }
    }

    /// Loads and resolves a file. All errors of the file and its bases are collected.
    pub fn load(&mut self, path: &str) -> Result<Config, ConfigErrors> {
        let loaded = self.resolver.load(path)?;
        Config::of(path, &loaded)
    }
}

impl Config {
    /// Loads and resolves a file. All errors of the file and its bases are collected.
    pub fn load(path: &str, loader: &dyn Loader) -> Result<Self, ConfigErrors> {
        Configs::new(loader).load(path)
    }

    /// Resolves a text as if it were the file `name`, whose ending says whether it is `.py`, `.json` or `.yaml`.
    pub fn parse(text: &str, name: &str, loader: &dyn Loader) -> Result<Self, ConfigErrors> {
        let loaded = Resolver::new(loader).text(name, text.to_owned())?;
        Self::of(name, &loaded)
    }

    fn of(path: &str, loaded: &Loaded) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        for name in RESERVED {
            let entry = loaded.dict.entry(&Key::Str(name.into()));
            if let Some(entry) = entry.filter(|_| !loaded.imported.contains(name)) {
                let message = format!("`{name}` is reserved and cannot be a name of a config");
                let error = Diagnostic::error(message)
                    .kind(Kind::Key)
                    .at(&entry.key, "");
                errors.push(error.help("give it another name"));
            }
        }
        let is_imported = |key: &Key| {
            key.as_str()
                .is_some_and(|key| loaded.imported.contains(key))
        };
        let (mut dict, mut imported) = (loaded.dict.clone(), loaded.dict.clone());
        dict.retain(|key| !is_imported(key));
        imported.retain(is_imported);
        let root = Node {
            value: Value::Dict(dict),
            origin: Origin::new(&Source::new(path, "", SourceKind::File), Default::default()),
        };
        let config = Self {
            root,
            path: path.to_owned(),
            imported,
            notes: loaded.notes.values().flatten().cloned().collect(),
            env: loaded
                .env
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            includes: loaded.includes.clone(),
        };
        if errors.is_empty() {
            let broken = config.errors(paths::broken(config.dict())).diagnostics;
            let mut config = config;
            config.notes.extend(broken);
            Ok(config)
        } else {
            errors.splice(0..0, config.notes.iter().cloned());
            Err(config.errors(errors))
        }
    }

    /// The files that it was read from: its own and all bases.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let bases = self.includes.keys().map(String::as_str);
        std::iter::once(self.path.as_str()).chain(bases.filter(|base| *base != self.path))
    }

    /// The tree as a dict.
    pub fn dict(&self) -> &Dict {
        static EMPTY: std::sync::LazyLock<Dict> = std::sync::LazyLock::new(Dict::new);
        self.root.as_dict().unwrap_or(&EMPTY)
    }

    /// The value under a name.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.root.get(key)
    }

    /// The value at a path such as `model.backbone.depth` or `train_pipeline.0.type`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        self.root.at(path)
    }

    /// Merges `key=value` options of a command line, as MMEngine's `--cfg-options` does. On an error nothing changes. Options that set a
    /// new key, or a variable that nothing reads any more, are noted.
    pub fn merge_options<S: AsRef<str>>(&mut self, options: &[S]) -> Result<(), ConfigErrors> {
        let merged = options::apply(self.dict(), options).map_err(|e| self.errors(e))?;
        self.notes.extend(effects::notes(self.dict(), options));
        self.root.value = Value::Dict(merged);
        Ok(())
    }

    /// Modules that the config asks to have imported. We never import them.
    pub fn custom_imports(&self) -> Vec<&str> {
        let imports = self.at("custom_imports.imports");
        let items = imports.and_then(Node::as_items).unwrap_or_default();
        let single = imports.and_then(Node::as_str);
        items
            .iter()
            .filter_map(Node::as_str)
            .chain(single)
            .collect()
    }

    /// Findings of any stage as an error that shows by which bases their places were reached.
    pub fn errors(&self, mut diagnostics: Vec<Diagnostic>) -> ConfigErrors {
        for diagnostic in &mut diagnostics {
            let Some((origin, _)) = diagnostic
                .labels
                .first()
                .filter(|_| diagnostic.chain.is_empty())
            else {
                continue;
            };
            let mut file = origin.file().to_owned();
            while let Some(by) = self.includes.get(&file) {
                if diagnostic.chain.len() > self.includes.len() {
                    break;
                }
                diagnostic.chain.push(by.clone());
                file = by.file().to_owned();
            }
            left_over::help(diagnostic);
        }
        diagnostics.into()
    }

    /// The config as Python that reads back to the same config.
    pub fn to_py(&self) -> String {
        write::to_py(self.dict())
    }

    /// The config as JSON; tuples become lists.
    pub fn to_json(&self) -> String {
        to_json(&self.root)
    }

    /// Every value with its path and place, in order; empty containers count as values.
    pub fn origins(&self) -> Vec<(String, &Node)> {
        fn walk<'a>(node: &'a Node, path: String, out: &mut Vec<(String, &'a Node)>) {
            match &node.value {
                Value::Dict(dict) if !dict.is_empty() => {
                    for (key, entry) in dict.iter() {
                        walk(&entry.node, format!("{path}.{key}"), out);
                    }
                }
                Value::List(items) | Value::Tuple(items)
                    if items.iter().any(|n| n.as_dict().is_some()) =>
                {
                    for (i, item) in items.iter().enumerate() {
                        walk(item, format!("{path}.{i}"), out);
                    }
                }
                _ => out.push((path, node)),
            }
        }
        let mut out = Vec::new();
        for (key, entry) in self.dict().iter() {
            walk(&entry.node, key.to_string(), &mut out);
        }
        out
    }
}

/// Reads a single Python value without a file, for example `dict(type='ResNet', depth=18)` of a command line.
pub fn parse_value(text: &str) -> Result<Node, ConfigErrors> {
    resolve::value(text).map_err(Into::into)
}

#[cfg(test)]
mod tests;
