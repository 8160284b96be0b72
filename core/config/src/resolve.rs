//! From a file's name to its resolved dict: bases, evaluation, merge. The order is MMEngine's.

use super::diagnostic::{Diagnostic, Kind};
use super::eval::{
    Evaluator, Halt, Item, NESTING, NODES, STEPS_OF_ALL, Val, base_value, is_read_base,
    is_standard_module, misplaced,
};
use super::find::Folders;
use super::loader::{LARGEST, LoadError, Loader, folder, join, relative};
use super::merge::{merge, scoped};
use super::python::ast::{Expr, ExprKind, Stmt, StmtKind, Trailer};
use super::python::parse;
use super::source::{Origin, Source, SourceKind, Span};
use super::substitute::{Env, MARK, Text};
use super::unreadable::other_kind;
use super::value::{Dict, Entry, Key, Node, Object, Value};
use super::{json, yaml};
use indexmap::{IndexMap, IndexSet};
use std::collections::HashMap;
use std::sync::Arc;

/// How long a chain of bases may be.
const CHAIN: usize = 32;

/// Entries of `_base_` that one config and its bases may have.
const BASES: usize = 10_000;

/// Errors of one kind in a file after which the rest is not looked at.
const ERRORS: usize = 1000;

/// A file with its bases merged.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub dict: Dict,
    /// Names that a lazy-style file imported; they are no part of the config.
    pub imported: IndexSet<String>,
    /// Warnings of this file and its bases, by path: a base that is reached in many ways has its own once.
    pub notes: IndexMap<String, Vec<Diagnostic>>,
    /// Each base's path, with the first entry that named it.
    pub includes: IndexMap<String, Origin>,
    /// Environment variables that were used.
    pub env: IndexMap<String, String>,
}

impl Loaded {
    /// Notes environment variables that were read.
    fn used(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            let entry = self.env.entry(name.clone());
            entry.or_insert_with(|| value.clone());
        }
    }

    /// Takes over what is to be said of the base at `path`, which the entry at `by` names.
    fn include(&mut self, path: String, by: &Origin, base: &Self) {
        self.includes.entry(path).or_insert_with(|| by.clone());
        for (path, by) in &base.includes {
            self.includes
                .entry(path.clone())
                .or_insert_with(|| by.clone());
        }
        for (path, notes) in &base.notes {
            self.notes
                .entry(path.clone())
                .or_insert_with(|| notes.clone());
        }
        for (name, value) in &base.env {
            self.env
                .entry(name.clone())
                .or_insert_with(|| value.clone());
        }
    }
}

pub(super) type Loads<T> = Result<T, Vec<Diagnostic>>;

/// What the file that asks for a base expects it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Style {
    /// The first file of a chain decides.
    Any,
    Text,
    Lazy,
}

/// Loads files, each only once.
pub(crate) struct Resolver<'l> {
    pub(super) loader: &'l dyn Loader,
    done: HashMap<(String, Style), Option<Arc<Loaded>>>,
    /// The files being loaded, outermost first.
    chain: Vec<String>,
    /// Entries of `_base_` that this config may still have.
    left: usize,
    /// Steps that it may still take.
    steps: usize,
    /// What was seen of folders, for suggestions.
    pub(super) seen: Folders,
}

impl<'l> Resolver<'l> {
    pub(crate) fn new(loader: &'l dyn Loader) -> Self {
        Self {
            loader,
            done: HashMap::new(),
            chain: Vec::new(),
            left: BASES,
            steps: STEPS_OF_ALL,
            seen: Folders::default(),
        }
    }

    /// Forgets what failed, so that another config tells of it too.
    fn begin(&mut self) {
        self.done.retain(|_, done| done.is_some());
        self.left = BASES;
        self.steps = STEPS_OF_ALL;
        self.seen = Folders::default();
    }

    /// Loads the first file of a chain.
    pub(crate) fn load(&mut self, path: &str) -> Loads<Arc<Loaded>> {
        self.begin();
        let path = join("", path);
        match self.loader.read(&path) {
            Ok(text) => self.file(&path, text, Style::Any),
            Err(error) => {
                let message = format!("the config `{path}` cannot be read: {error}");
                let diagnostic = Diagnostic::error(message).kind(Kind::File);
                let missing = error == LoadError::NotFound;
                let near = missing.then(|| self.nearest_file(folder(&path), &path));
                let near = near.flatten();
                let near = near.map(|near| format!("did you mean `{near}`?"));
                let help = near.or_else(|| error.help().map(str::to_owned));
                Err(vec![match help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }])
            }
        }
    }

    /// Loads a text as if it were the file `path`.
    pub(crate) fn text(&mut self, path: &str, text: String) -> Loads<Arc<Loaded>> {
        self.begin();
        self.file(path, text, Style::Any)
    }

    /// Loads the base at `path`, which the entry at `by` names.
    /// What is wrong with a base is told once: where it is named again, the error has nothing in it.
    fn base(&mut self, path: &str, by: &Origin, style: Style) -> Loads<Arc<Loaded>> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            let message = format!("this config and its bases name more than {BASES} bases");
            vec![Diagnostic::error(message).kind(Kind::Limit).at(by, "")]
        })?;
        let result = match self.done.get(&(path.to_owned(), style)) {
            Some(done) if !self.chain.iter().any(|p| p == path) => {
                done.clone().ok_or_else(Vec::new)
            }
            _ => self.uncached_base(path, by, style),
        };
        result.map_err(|mut errors| {
            // Errors of the entry itself have no chain; those within the base were reached by it.
            let within =
                |e: &&mut Diagnostic| e.labels.first().is_none_or(|(o, _)| !is_same(o, by));
            errors
                .iter_mut()
                .filter(within)
                .for_each(|e| e.chain.push(by.clone()));
            errors
        })
    }

    fn uncached_base(&mut self, path: &str, by: &Origin, style: Style) -> Loads<Arc<Loaded>> {
        if let Some(at) = self.chain.iter().position(|p| p == path) {
            let cycle = self.chain[at..].join(" -> ");
            let message = format!("the bases load each other: {cycle} -> {path}");
            return Err(vec![
                Diagnostic::error(message).kind(Kind::Cycle).at(by, ""),
            ]);
        }
        if self.chain.len() >= CHAIN {
            let message = format!("a chain of more than {CHAIN} bases");
            return Err(vec![
                Diagnostic::error(message).kind(Kind::Limit).at(by, ""),
            ]);
        }
        let result = match self.loader.read(path) {
            Ok(text) => self.file(path, text, style),
            Err(error) => Err(vec![self.unreadable(path, by, &error)]),
        };
        let done = result.as_ref().ok().cloned();
        self.done.insert((path.to_owned(), style), done);
        result
    }

    fn unreadable(&mut self, path: &str, by: &Origin, error: &LoadError) -> Diagnostic {
        let message = format!("the base `{path}` cannot be read: {error}");
        let diagnostic = Diagnostic::error(message).kind(Kind::File).at(by, "");
        let help = match error {
            LoadError::NotFound if path.contains(char::is_control) => Some(
                "a `\\` in a string begins an escape: write the path with `/`, or as r'...'"
                    .to_owned(),
            ),
            LoadError::NotFound => {
                let near = self.nearest_file(folder(by.file()), path);
                let near = near.map(|near| relative(folder(by.file()), &near));
                near.map(|near| format!("the nearest file is `{near}`"))
            }
            _ => error.help().map(str::to_owned),
        };
        match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }

    fn file(&mut self, path: &str, text: String, style: Style) -> Loads<Arc<Loaded>> {
        if text.len() > LARGEST {
            let message = format!("`{path}` is larger than {LARGEST} bytes");
            return Err(vec![Diagnostic::error(message).kind(Kind::Limit)]);
        }
        // An empty file is a config without values, but no JSON.
        let blank = text.trim().is_empty() && !path.ends_with(".json");
        let other = other_kind(text.as_bytes()).filter(|_| !blank);
        let source = Source::new(path, text, SourceKind::File);
        if let Some(found) = other {
            let message = format!("`{path}` is no config: {}", found.what);
            let error = Diagnostic::error(message).kind(Kind::File);
            // Its text would say nothing.
            let source = Source::new(path, "", SourceKind::File);
            let error = error.at(&Origin::new(&source, Span::default()), "");
            return Err(vec![error.help(found.help)]);
        }
        self.chain.push(path.to_owned());
        let result = self.source(path, &source, style);
        self.chain.pop();
        result.map(Arc::new)
    }

    fn source(&mut self, path: &str, source: &Arc<Source>, style: Style) -> Loads<Loaded> {
        let loader = self.loader;
        let env = |name: &str| loader.env(name);
        let env: &Env<'_> = &env;
        let extension = path.rsplit_once('.').map_or("", |(_, e)| e);
        if !matches!(extension, "py" | "json" | "yaml" | "yml") {
            let message =
                format!("`{path}` is no config: a config ends in .py, .json, .yaml or .yml");
            return Err(vec![Diagnostic::error(message).kind(Kind::File)]);
        }
        let substituted = || {
            let absolute = join("", &loader.absolute(path));
            Text::of(source, &absolute, env).map_err(|d| vec![d])
        };
        if extension != "py" {
            if style == Style::Lazy {
                let message = format!("`{path}` cannot be imported: it is no Python");
                return Err(vec![Diagnostic::error(message).kind(Kind::Style)]);
            }
            return self.data(&substituted()?, source, extension);
        }
        // Lazy style has no `{{...}}`, so the text is taken as it is there.
        if style != Style::Lazy {
            let text = substituted()?;
            let statements = parsed(source, &text)?;
            let lazy = is_lazy(&statements);
            let as_text = !lazy || style == Style::Text;
            let evaluator = Evaluator::new(source, &text, env, None, lazy);
            if let Some(script) = evaluator.script(&statements) {
                return Err(vec![script]);
            }
            if as_text {
                if let Some(span) = lazy.then(|| lazy_statement(&statements)).flatten() {
                    return Err(vec![mixed(
                        &Origin::new(source, span),
                        "this file is in lazy style, but a file in text style loads it",
                    )]);
                }
                return self.text_style(&statements, source, &text);
            }
        }
        let text = Text::plain(source);
        let statements = parsed(source, &text)?;
        self.lazy_style(&statements, source, &text)
    }

    // Text style.

    fn text_style(
        &mut self,
        statements: &[Stmt<'_>],
        source: &Arc<Source>,
        text: &Text<'_>,
    ) -> Loads<Loaded> {
        let loader = self.loader;
        let env = |name: &str| loader.env(name);
        let mut loaded = Loaded::default();
        let names = base_names(statements, source, text, &env, &mut loaded)?;
        let base = self.bases(&names, &mut loaded)?;
        let mut evaluator = Evaluator::new(source, text, &env, Some(&base), false);
        evaluator.run_within(&mut self.steps, statements);
        loaded.used(&evaluator.used);
        let mut errors = std::mem::take(&mut evaluator.errors);
        if let Some((_, at)) = evaluator.globals.get("_base_") {
            errors.push(unread_base("within an expression", at));
        }
        evaluator.notes.extend(misspelt_base(&evaluator));
        let base = match evaluator.freeze_base() {
            Ok(base) => base,
            Err(halt) => {
                report(halt, &mut errors);
                Dict::new()
            }
        };
        let globals: Vec<_> = evaluator
            .globals
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let mut child = indexmap::IndexMap::new();
        for (name, (item, key)) in globals {
            // Functions and modules are dropped, as are private names.
            let code = matches!(item.val, Val::Module(_) | Val::Builtin(_) | Val::Opaque(_));
            if name.starts_with("__") || &*name == "_base_" || code {
                continue;
            }
            match evaluator.freeze(&item, &base) {
                Ok(node) => {
                    child.insert(Key::Str(name), Entry { node, key });
                }
                Err(halt) => report(halt, &mut errors),
            }
            if errors.len() >= ERRORS {
                break;
            }
        }
        note(&mut loaded, source, std::mem::take(&mut evaluator.notes));
        if !errors.is_empty() {
            return Err(errors);
        }
        finish(child.into_iter().collect(), base, text, loaded)
    }

    /// Loads and joins the bases of a file in text style.
    fn bases(&mut self, names: &[Node], loaded: &mut Loaded) -> Loads<Dict> {
        let (mut errors, mut failed) = (Vec::new(), false);
        let mut left = NODES;
        let mut joined = indexmap::IndexMap::<Key, (Entry, Origin)>::new();
        for name in names {
            let by = &name.origin;
            let result = self.find_base(name).and_then(|(path, scope)| {
                let base = self.base(&path, by, Style::Text)?;
                Ok((path, scope, base))
            });
            let (path, scope, base) = match result {
                Ok(found) => found,
                Err(more) => {
                    failed = true;
                    errors.extend(more);
                    if self.left == 0 || errors.len() >= ERRORS {
                        break;
                    }
                    continue;
                }
            };
            // Many bases may be large together though none is.
            let count = Value::Dict(base.dict.clone()).count(left, NESTING + 1);
            let Some(rest) = count.and_then(|count| left.checked_sub(count)) else {
                let message = format!("these bases have more than {NODES} values together");
                errors.push(Diagnostic::error(message).kind(Kind::Limit).at(by, ""));
                break;
            };
            left = rest;
            loaded.include(path, by, &base);
            let dict = match &scope {
                Some(scope) => scoped(&base.dict, scope),
                None => base.dict.clone(),
            };
            for (key, entry) in dict.iter() {
                if errors.len() >= ERRORS {
                    break;
                }
                if let Some((first, first_by)) = joined.get(key) {
                    let message = format!(
                        "two bases both set `{key}`: {} and {}",
                        first_by.text(),
                        by.text()
                    );
                    errors.push(
                        Diagnostic::error(message)
                            .kind(Kind::Key)
                            .at(by, "the second base")
                            .at(&first.key, format!("`{key}` of the first"))
                            .at(&entry.key, format!("`{key}` of the second"))
                            .help("load one base from the other, so that one value wins"),
                    );
                    continue;
                }
                joined.insert(key.clone(), (entry.clone(), by.clone()));
            }
        }
        if failed || !errors.is_empty() {
            return Err(errors);
        }
        Ok(joined
            .into_iter()
            .map(|(key, (entry, _))| (key, entry))
            .collect())
    }

    // Lazy style.

    fn lazy_style(
        &mut self,
        statements: &[Stmt<'_>],
        source: &Arc<Source>,
        text: &Text<'_>,
    ) -> Loads<Loaded> {
        if let Some(base) = statements.iter().find(|s| is_base_assignment(s)) {
            let origin = Origin::new(source, base.span);
            return Err(vec![mixed(
                &origin,
                "this file is in text style, but its chain is in lazy style",
            )]);
        }
        if let Some(span) = misplaced_read_base(statements) {
            let message = "`with read_base():` within another block is not read";
            let help = "bases are loaded before the file runs: put it at the top level; a choice between bases takes two files";
            let error = Diagnostic::error(message).kind(Kind::Key);
            return Err(vec![error.at(&Origin::new(source, span), "").help(help)]);
        }
        let loader = self.loader;
        let env = |name: &str| loader.env(name);
        let mut loaded = Loaded::default();
        let mut evaluator = Evaluator::new(source, text, &env, None, true);
        let (mut errors, mut failed) = (Vec::new(), false);
        for (module, span) in base_modules(statements) {
            if evaluator.modules.contains_key(&module) {
                continue;
            }
            let by = evaluator.origin(span);
            let result = self.find_module(&module, &by).and_then(|path| {
                let base = self.base(&path, &by, Style::Lazy)?;
                Ok((path, base))
            });
            match result {
                Ok((path, base)) => {
                    loaded.include(path, &by, &base);
                    loaded.imported.extend(base.imported.iter().cloned());
                    let dict = evaluator.thaw_dict(&base.dict);
                    evaluator.modules.insert(module, dict);
                }
                Err(more) => {
                    failed = true;
                    errors.extend(more);
                    if self.left == 0 || errors.len() >= ERRORS {
                        break;
                    }
                }
            }
        }
        if failed || !errors.is_empty() {
            return Err(errors);
        }
        if let Err(halt) = evaluator.import_bases(statements) {
            report(halt, &mut evaluator.errors);
            return Err(evaluator.errors);
        }
        evaluator.gather_imports(statements);
        evaluator.run_within(&mut self.steps, statements);
        loaded.used(&evaluator.used);
        let mut errors = std::mem::take(&mut evaluator.errors);
        loaded
            .imported
            .extend(std::mem::take(&mut evaluator.imported));
        let globals: Vec<_> = evaluator
            .globals
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let mut entries = indexmap::IndexMap::new();
        for (name, (item, key)) in globals {
            if name.starts_with("__") {
                continue;
            }
            match evaluator.freeze(&named(item), &Dict::new()) {
                Ok(node) => {
                    entries.insert(Key::Str(name), Entry { node, key });
                }
                Err(halt) => report(halt, &mut errors),
            }
            if errors.len() >= ERRORS {
                break;
            }
        }
        note(&mut loaded, source, std::mem::take(&mut evaluator.notes));
        if !errors.is_empty() {
            return Err(errors);
        }
        loaded.dict = entries.into_iter().collect();
        within_limits(loaded)
    }

    // JSON and YAML.

    fn data(&mut self, text: &Text<'_>, source: &Arc<Source>, extension: &str) -> Loads<Loaded> {
        let node = match extension {
            "json" => json::parse_text(source, text),
            _ => yaml::parse_text(source, text),
        };
        let node = node.map_err(|d| vec![d])?;
        let Value::Dict(mut child) = node.value else {
            let message = format!("a config is a dict, not a {}", node.type_name());
            return Err(vec![
                Diagnostic::error(message)
                    .kind(Kind::Syntax)
                    .at(&node.origin, ""),
            ]);
        };
        let strange: Vec<_> = child.iter().filter(|(k, _)| k.as_str().is_none()).collect();
        if let Some((key, entry)) = strange.first() {
            let message = format!("the names of a config are strings; {key} is none");
            return Err(vec![
                Diagnostic::error(message)
                    .kind(Kind::Key)
                    .at(&entry.key, ""),
            ]);
        }
        let mut loaded = Loaded::default();
        let names = match child.remove("_base_") {
            Some(entry) => base_list(entry.node)?,
            None => Vec::new(),
        };
        let base = self.bases(&names, &mut loaded)?;
        if text.has_base_values {
            let mut errors = Vec::new();
            child = with_base_values(&child, &base, &mut errors);
            if !errors.is_empty() {
                return Err(errors);
            }
        }
        finish(child, base, text, loaded)
    }
}

/// The last steps of text style: deprecation, merge, limits.
fn finish(mut child: Dict, base: Dict, text: &Text<'_>, mut loaded: Loaded) -> Loads<Loaded> {
    if let Some(entry) = child.remove("_deprecation_") {
        let said = |key: &str| {
            entry
                .node
                .get(key)
                .and_then(Node::as_str)
                .map(str::to_owned)
        };
        let mut note =
            Diagnostic::warning(format!("the config {} is deprecated", entry.key.file()))
                .at(&entry.key, "");
        if let Some(expected) = said("expected") {
            note = note.help(match said("reference") {
                Some(reference) => format!("use {expected} instead; see {reference}"),
                None => format!("use {expected} instead"),
            });
        }
        let source = entry.key.source().clone();
        self::note(&mut loaded, &source, vec![note]);
    }
    let mut errors = Vec::new();
    let mut dict = merge(&child, &base, false, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    dict.retain(|key| key.as_str().is_none_or(|k| !k.starts_with("__")));
    loaded.used(&text.env);
    loaded.dict = dict;
    within_limits(loaded)
}

/// Adds what is to be said of a file itself.
fn note(loaded: &mut Loaded, source: &Source, notes: Vec<Diagnostic>) {
    if !notes.is_empty() {
        let of_file = loaded.notes.entry(source.name().to_owned()).or_default();
        of_file.extend(notes);
    }
}

/// Refuses a tree that is too large or deep: sharing keeps it small in memory, but not for who walks it.
fn within_limits(loaded: Loaded) -> Loads<Loaded> {
    let whole = Value::Dict(loaded.dict.clone());
    if whole.count(NODES, NESTING + 1).is_some() {
        return Ok(loaded);
    }
    let message =
        format!("this config has more than {NODES} values, or is nested more than {NESTING} deep");
    let mut diagnostic = Diagnostic::error(message).kind(Kind::Limit);
    let mut left = NODES;
    let over = loaded.dict.iter().find(|(_, entry)| {
        let count = entry.node.value.count(left, NESTING);
        count.map(|count| left -= count).is_none()
    });
    if let Some((_, entry)) = over {
        diagnostic = diagnostic.at(&entry.node.origin, "with this part");
    }
    Err(vec![diagnostic])
}

fn parsed<'t>(source: &Arc<Source>, text: &'t Text<'_>) -> Loads<Vec<Stmt<'t>>> {
    parse(&text.text).map_err(|wrong| {
        let span = Span {
            start: text.original(wrong.span.start),
            end: text.original(wrong.span.end),
        };
        let mut diagnostic = Diagnostic::error(wrong.message)
            .kind(wrong.kind)
            .at(&Origin::new(source, span), "");
        if let Some(at) = wrong.comma {
            let at = text.original(at as u32);
            let place = Origin::new(source, Span { start: at, end: at });
            diagnostic = diagnostic.fix(&place, ",", "Put a comma");
        }
        vec![match wrong.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }]
    })
}

fn report(halt: Halt, errors: &mut Vec<Diagnostic>) {
    match halt {
        Halt::Error(diagnostic) | Halt::Spent(diagnostic) => errors.push(*diagnostic),
        Halt::Poisoned | Halt::Break | Halt::Continue => {}
    }
}

/// Modules and functions as named objects, so that a file that imports them from its base can use them.
fn named(item: Item) -> Item {
    let object = |module: &str, name: Option<&str>| {
        let name = name.map(Into::into);
        Val::Lazy(Arc::new(Object {
            module: module.into(),
            name,
        }))
    };
    let val = match &item.val {
        Val::Module(module) => object(module, None),
        Val::Builtin("read_base") => object("mmengine.config", Some("read_base")),
        Val::Builtin(name) => {
            let (module, name) = name.rsplit_once('.').unwrap_or(("builtins", name));
            object(module, Some(name))
        }
        Val::Opaque(name) => {
            let (module, name) = name.rsplit_once('.').unwrap_or(("builtins", name));
            object(module, Some(name))
        }
        _ => return item,
    };
    let at = item.at;
    Item { val, at }
}

fn mixed(origin: &Origin, message: &str) -> Diagnostic {
    Diagnostic::error(message)
        .kind(Kind::Style)
        .at(origin, "")
        .help("a chain has one style: `_base_ = ...` (text), or `with read_base():` and imports (lazy)")
}

fn is_same(a: &Origin, b: &Origin) -> bool {
    a.file() == b.file() && a.line() == b.line() && a.column() == b.column()
}

fn is_base_assignment(statement: &Stmt<'_>) -> bool {
    let StmtKind::Assign(targets, _) = &statement.kind else {
        return false;
    };
    targets
        .first()
        .is_some_and(|t| matches!(t.kind, ExprKind::Name("_base_")))
}

/// The entries of the first `_base_ = ...` of a file.
fn base_names(
    statements: &[Stmt<'_>],
    source: &Arc<Source>,
    text: &Text<'_>,
    env: &Env<'_>,
    loaded: &mut Loaded,
) -> Loads<Vec<Node>> {
    let misplaced = misplaced_bases(statements);
    if !misplaced.is_empty() {
        let error = |(span, what): &(Span, &str)| {
            let span = Span {
                start: text.original(span.start),
                end: text.original(span.end),
            };
            unread_base(what, &Origin::new(source, span))
        };
        return Err(misplaced.iter().map(error).collect());
    }
    let Some(statement) = statements.iter().find(|s| is_base_assignment(s)) else {
        return Ok(Vec::new());
    };
    let StmtKind::Assign(_, value) = &statement.kind else {
        return Ok(Vec::new());
    };
    // No name of the file is known yet.
    let mut evaluator = Evaluator::new(source, text, env, None, false);
    evaluator.reads_bases = true;
    let node = evaluator
        .placed(value)
        .and_then(|item| evaluator.freeze(&item, &Dict::new()));
    loaded.used(&evaluator.used);
    match node {
        Ok(node) => base_list(node),
        Err(halt) => {
            let mut errors = Vec::new();
            report(halt, &mut errors);
            for error in &mut errors {
                error.help.get_or_insert(
                    "`_base_` is read before the file: it is a path, or a list of paths".into(),
                );
            }
            Err(errors)
        }
    }
}

fn base_list(node: Node) -> Loads<Vec<Node>> {
    match &node.value {
        Value::Str(_) => Ok(vec![node]),
        Value::List(items) => Ok(items.to_vec()),
        _ => {
            let message = format!(
                "`_base_` is a path or a list of paths, not a {}",
                node.type_name()
            );
            Err(vec![
                Diagnostic::error(message)
                    .kind(Kind::Key)
                    .at(&node.origin, "")
                    .comma(&node),
            ])
        }
    }
}

fn unread_base(what: &str, at: &Origin) -> Diagnostic {
    let error = Diagnostic::error(format!("`_base_` {what} is not read")).kind(Kind::Key);
    error.at(at, "").help(
        "bases are loaded before the file runs, from one `_base_ = ...` at the top level: a path or a list of paths; a choice \
         between bases takes two files",
    )
}

/// A warning of a variable such as `__base__` or `_base` that names configs.
fn misspelt_base(evaluator: &Evaluator<'_>) -> Option<Diagnostic> {
    let near = |name: &str| {
        let plain = name.trim_matches('_').to_lowercase();
        name != "_base_" && plain.len() < name.len() && matches!(&*plain, "base" | "bases")
    };
    let (name, (item, at)) = evaluator.globals.iter().find(|(name, _)| near(name))?;
    let text = item.at.text();
    if ![".py", ".json", ".yaml", ".yml"]
        .iter()
        .any(|end| text.contains(end))
    {
        return None;
    }
    let warning = Diagnostic::warning(format!("`{name}` names no bases, and none is loaded"));
    Some(warning.at(at, "").help("write `_base_`"))
}

/// Places where `_base_` is set and nothing reads it, and what they are.
fn misplaced_bases(statements: &[Stmt<'_>]) -> Vec<(Span, &'static str)> {
    fn sets(target: &Expr<'_>) -> bool {
        match &target.kind {
            ExprKind::Name(name) => *name == "_base_",
            ExprKind::Tuple(items) | ExprKind::List(items) => items.iter().any(sets),
            ExprKind::Starred(inner) => sets(inner),
            _ => false,
        }
    }
    /// `_base_.append(...)`: the bases are no list by then.
    fn adds(expr: &Expr<'_>) -> bool {
        let ExprKind::Postfix(base, trailers) = &expr.kind else {
            return false;
        };
        let methods = ["append", "extend", "insert"];
        matches!(base.kind, ExprKind::Name("_base_"))
            && matches!(&trailers[..], [(Trailer::Attribute(m), _), (Trailer::Call(_), _)] if methods.contains(m))
    }
    fn walk(
        statements: &[Stmt<'_>],
        block: Option<&'static str>,
        found: &mut Vec<(Span, &'static str)>,
    ) {
        let mut first = true;
        for statement in statements {
            let what = match &statement.kind {
                StmtKind::Assign(..) if is_base_assignment(statement) && block.is_none() => {
                    (!std::mem::take(&mut first)).then_some("that is set a second time")
                }
                StmtKind::Assign(targets, _) if targets.iter().any(sets) => {
                    Some(block.unwrap_or("that is set together with other names"))
                }
                StmtKind::AugAssign(target, ..) if sets(target) => {
                    Some(block.unwrap_or("that is added to"))
                }
                StmtKind::Expr(expr) if adds(expr) => Some(block.unwrap_or("that is added to")),
                StmtKind::For(head, ..) if sets(&head.0) => Some("of a loop"),
                _ => None,
            };
            found.extend(what.map(|what| (statement.span, what)));
            match &statement.kind {
                StmtKind::If(_, body, other) => {
                    walk(body, Some("within an `if`"), found);
                    walk(other, Some("within an `if`"), found);
                }
                StmtKind::For(_, body, other) | StmtKind::While(_, body, other) => {
                    walk(body, Some("within a loop"), found);
                    walk(other, Some("within a loop"), found);
                }
                StmtKind::With(_, body) => walk(body, Some("within a `with`"), found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(statements, None, &mut found);
    found
}

/// `with read_base():` within another block, whose bases would not be loaded.
fn misplaced_read_base(statements: &[Stmt<'_>]) -> Option<Span> {
    let inner = |body: &[Stmt<'_>]| {
        let own = body.iter().find(
            |s| matches!(&s.kind, StmtKind::With(items, _) if items.iter().any(is_read_base)),
        );
        own.map(|s| s.span).or_else(|| misplaced_read_base(body))
    };
    statements
        .iter()
        .find_map(|statement| match &statement.kind {
            StmtKind::If(_, a, b) | StmtKind::For(_, a, b) | StmtKind::While(_, a, b) => {
                inner(a).or_else(|| inner(b))
            }
            StmtKind::With(_, body) => inner(body),
            _ => None,
        })
}

/// Whether a file is in lazy style: the first that is found of `_base_ = ...` (no), `with` (yes) and an import of another
/// package (yes), outer blocks before inner ones.
fn is_lazy(statements: &[Stmt<'_>]) -> bool {
    lazy_statement(statements).is_some()
}

fn lazy_statement(statements: &[Stmt<'_>]) -> Option<Span> {
    let mut blocks: Vec<&[Stmt<'_>]> = vec![statements];
    while !blocks.is_empty() {
        let mut inner: Vec<&[Stmt<'_>]> = Vec::new();
        for statement in blocks.into_iter().flatten() {
            let lazy = match &statement.kind {
                StmtKind::Assign(..) if is_base_assignment(statement) => return None,
                StmtKind::With(items, _) => items.iter().any(is_read_base),
                StmtKind::ImportFrom(from) => {
                    from.level > 0 || !(is_standard_module(&from.module) || imports_config(from))
                }
                StmtKind::Import(names) => names.iter().any(|n| !is_standard_module(&n.name)),
                StmtKind::If(_, a, b) | StmtKind::While(_, a, b) | StmtKind::For(_, a, b) => {
                    inner.extend([a.as_slice(), b.as_slice()]);
                    false
                }
                _ => false,
            };
            if lazy {
                return Some(statement.span);
            }
        }
        blocks = inner;
    }
    None
}

/// `from mmengine import Config` does not make a file lazy.
fn imports_config(from: &super::python::ast::ImportFrom<'_>) -> bool {
    let names = from.names.as_deref().unwrap_or_default();
    from.module == "mmengine" && matches!(names, [only] if only.name == "Config")
}

/// The modules that a file in lazy style imports as its bases.
fn base_modules(statements: &[Stmt<'_>]) -> Vec<(String, Span)> {
    let mut modules = Vec::new();
    for statement in statements {
        let body = match &statement.kind {
            StmtKind::With(items, body) if items.len() == 1 && is_read_base(&items[0]) => body,
            StmtKind::If(test, body, _) if matches!(&test.kind, ExprKind::Str(s) if &**s == "_base_") => {
                body
            }
            _ => continue,
        };
        for inner in body {
            if let StmtKind::ImportFrom(from) = &inner.kind {
                modules.push((from.dotted(), inner.span));
            }
        }
    }
    modules
}

/// `{{_base_.name}}` of a JSON or YAML text, replaced.
fn with_base_values(child: &Dict, base: &Dict, errors: &mut Vec<Diagnostic>) -> Dict {
    fn walk(node: &Node, base: &Dict, errors: &mut Vec<Diagnostic>) -> Node {
        let items = |items: &[Node], errors: &mut Vec<Diagnostic>| {
            Arc::new(items.iter().map(|n| walk(n, base, errors)).collect())
        };
        let value = match &node.value {
            Value::Str(s) if s.contains(MARK) => {
                let name = s.strip_prefix(MARK).and_then(|n| n.strip_suffix(MARK));
                let found = match name.filter(|n| !n.contains(MARK)) {
                    Some(name) => base_value(name, &node.origin, base),
                    None => Err(misplaced(&node.origin)),
                };
                found.unwrap_or_else(|error| {
                    errors.push(error);
                    Value::None
                })
            }
            _ if errors.len() >= ERRORS => Value::None,
            Value::List(list) => Value::List(items(list, errors)),
            Value::Tuple(list) => Value::Tuple(items(list, errors)),
            Value::Dict(dict) => Value::Dict(with_base_values(dict, base, errors)),
            other => other.clone(),
        };
        let origin = node.origin.clone();
        Node { value, origin }
    }
    let walked = child.iter().map(|(key, entry)| {
        let node = walk(&entry.node, base, errors);
        let key_origin = entry.key.clone();
        (
            key.clone(),
            Entry {
                node,
                key: key_origin,
            },
        )
    });
    walked.collect()
}

/// A single Python expression as a value.
pub(crate) fn value(text: &str) -> Loads<Node> {
    let source = Source::new("value", text, SourceKind::File);
    let plain = Text::plain(&source);
    let expression = super::python::parse_expression(text).map_err(|wrong| {
        let origin = Origin::new(&source, wrong.span);
        let error = Diagnostic::error(wrong.message)
            .kind(wrong.kind)
            .at(&origin, "");
        vec![match wrong.help {
            Some(help) => error.help(help),
            None => error,
        }]
    })?;
    let mut evaluator = Evaluator::new(&source, &plain, &|_| Ok(None), None, false);
    let item = evaluator.placed(&expression);
    item.and_then(|item| evaluator.freeze(&item, &Dict::new()))
        .map_err(|halt| {
            let mut errors = Vec::new();
            report(halt, &mut errors);
            errors
        })
}
