//! Evaluates the statements of a Python config, with Python's semantics and nothing that runs code.
//!
//! Lists and dicts have an identity, as `a = _base_.model; a.depth = 18` changes `_base_.model` too. They live in a heap
//! of the evaluator and are named by index, so cycles and deep nesting cost nothing when it is dropped. Work and size are
//! bounded by budgets; going over one is an error, as is an integer outside 64 bits.

mod dicts;
mod expressions;
mod functions;
mod items;
mod methods;
mod numbers;
mod objects;
mod operators;
mod statements;
mod strings;

use super::diagnostic::{Diagnostic, Kind};
use super::python::ast::Stmt;
use super::source::{Origin, Source, Span};
use super::substitute::{Env, Text};
use super::value::{Dict, Object};
use indexmap::IndexMap;
use std::sync::Arc;

pub(super) use numbers::{parse_float, parse_int};
pub(super) use objects::{Item, Val, base_value, misplaced, value_key};
pub(super) use operators::range_len;
pub(super) use statements::is_read_base;

/// Steps of evaluation that one file may take.
const STEPS: usize = 1_000_000;

/// Steps that a config may take with all its bases.
pub(super) const STEPS_OF_ALL: usize = 4 * STEPS;

/// Bytes of text that one file may make.
const BYTES: usize = 64 << 20;

/// Items that one list, and values that one file's config may have.
pub(super) const NODES: usize = 500_000;

/// How deep values may be nested.
pub(super) const NESTING: usize = 100;

/// Why evaluation stopped.
pub(super) enum Halt {
    /// An error to be reported; the next statement is tried.
    Error(Box<Diagnostic>),
    /// The statement uses a name whose own statement failed: that was reported already.
    Poisoned,
    /// A budget is spent; the file is given up.
    Spent(Box<Diagnostic>),
    /// `break` on its way to its loop.
    Break,
    /// `continue` on its way to its loop.
    Continue,
}

type Eval<T> = Result<T, Halt>;

/// The evaluator of one file.
pub(super) struct Evaluator<'e> {
    heap: Vec<objects::Obj>,
    /// The file's variables, in order of first assignment.
    pub globals: IndexMap<Arc<str>, (Item, Origin)>,
    /// Variables of comprehensions, innermost last.
    locals: Vec<(Box<str>, Val)>,
    /// `_base_`: the merged bases of a file in text style.
    base: Option<Val>,
    source: &'e Arc<Source>,
    text: &'e Text<'e>,
    /// Reads an environment variable.
    env: &'e Env<'e>,
    /// Environment variables that were read, with their values.
    pub used: Vec<(String, String)>,
    /// Bases of a file in lazy style, by module as written.
    pub modules: IndexMap<String, Val>,
    /// Whether the file is in lazy style.
    lazy: bool,
    /// Whether this is the value of `_base_`, which is read before any name is known.
    pub reads_bases: bool,
    /// Names imported in lazy style: they are no part of the config.
    pub imported: Vec<String>,
    steps: usize,
    bytes: usize,
    /// How many values the tree of this file may still have.
    nodes: usize,
    /// What went wrong.
    pub errors: Vec<Diagnostic>,
    /// What is worth saying.
    pub notes: Vec<Diagnostic>,
}

impl<'e> Evaluator<'e> {
    /// An evaluator for a file whose `_base_` is `base`.
    pub(super) fn new(
        source: &'e Arc<Source>,
        text: &'e Text<'e>,
        env: &'e Env<'e>,
        base: Option<&Dict>,
        lazy: bool,
    ) -> Self {
        let mut evaluator = Self {
            heap: Vec::new(),
            globals: IndexMap::new(),
            locals: Vec::new(),
            base: None,
            source,
            text,
            env,
            used: Vec::new(),
            modules: IndexMap::new(),
            lazy,
            reads_bases: false,
            imported: Vec::new(),
            steps: STEPS,
            bytes: BYTES,
            nodes: NODES,
            errors: Vec::new(),
            notes: Vec::new(),
        };
        evaluator.base = base.map(|dict| evaluator.thaw_dict(dict));
        evaluator
    }

    /// Leaves no more steps than `of_all`; gives back how many of them are left when the file has run.
    pub(super) fn run_within(&mut self, of_all: &mut usize, statements: &[Stmt<'_>]) {
        let most = self.steps.min(*of_all);
        self.steps = most;
        self.run(statements);
        *of_all -= most - self.steps;
    }

    /// The place of a span of this file.
    pub(super) fn origin(&self, span: Span) -> Origin {
        let span = Span {
            start: self.text.original(span.start),
            end: self.text.original(span.end),
        };
        Origin::new(self.source, span)
    }

    fn diagnostic(&self, kind: Kind, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic::error(message)
            .kind(kind)
            .at(&self.origin(span), "")
    }

    /// An evaluation error at a place.
    fn fail<T>(&self, span: Span, message: impl Into<String>) -> Eval<T> {
        Err(Halt::Error(Box::new(self.diagnostic(
            Kind::Evaluate,
            message,
            span,
        ))))
    }

    /// An evaluation error with a help line.
    fn fail_help<T>(
        &self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Eval<T> {
        let diagnostic = self.diagnostic(Kind::Evaluate, message, span).help(help);
        Err(Halt::Error(Box::new(diagnostic)))
    }

    /// Python outside the config language.
    fn unsupported<T>(&self, span: Span, what: &str) -> Eval<T> {
        let message = format!("this config runs Python code: {what}");
        let diagnostic = self.diagnostic(Kind::Unsupported, message, span).help(
            "a config is data: values, arithmetic, comprehensions, `if` and `for`, methods of str, list and dict, and \
             functions such as `dict`, `len`, `range`, `round`, `copy.deepcopy`",
        );
        Err(Halt::Error(Box::new(diagnostic)))
    }

    fn overflow<T>(&self, span: Span) -> Eval<T> {
        let message = "this integer does not fit in 64 bits";
        Err(Halt::Error(Box::new(self.diagnostic(
            Kind::Overflow,
            message,
            span,
        ))))
    }

    fn spent<T>(&self, span: Span, message: impl Into<String>) -> Eval<T> {
        Err(Halt::Spent(Box::new(self.diagnostic(
            Kind::Limit,
            message,
            span,
        ))))
    }

    /// Takes `n` steps of work.
    fn step(&mut self, n: usize, span: Span) -> Eval<()> {
        match self.steps.checked_sub(n) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => self.spent(
                span,
                format!("this config takes more than {STEPS} steps to evaluate, or {STEPS_OF_ALL} with its bases"),
            ),
        }
    }

    /// Pays for going over a text.
    fn scan(&mut self, text: &str, span: Span) -> Eval<()> {
        self.step(text.len() / 64, span)
    }

    /// Pays for copying `n` items, which are small.
    fn copies(&mut self, n: usize, span: Span) -> Eval<()> {
        self.step(n / 16, span)
    }

    /// Makes a string, within the budget.
    fn string(&mut self, text: impl Into<Arc<str>>, span: Span) -> Eval<Val> {
        let text = text.into();
        self.room(text.len(), span)?;
        Ok(Val::Str(text))
    }

    /// Takes `n` bytes of text.
    fn room(&mut self, n: usize, span: Span) -> Eval<()> {
        match self.bytes.checked_sub(n) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => self.spent(
                span,
                format!("this config makes more than {BYTES} bytes of text"),
            ),
        }
    }

    /// The value of an environment variable, if it is set.
    fn variable(&mut self, name: &Arc<str>, span: Span) -> Eval<Option<Val>> {
        // As a key: a long one names none.
        self.key(&Val::Str(name.clone()), span)?;
        match (self.env)(name) {
            Ok(Some(value)) => {
                self.used.push((name.to_string(), value.clone()));
                self.string(value, span).map(Some)
            }
            Ok(None) => Ok(None),
            Err(why) => {
                let message = format!("environment variable `{name}` cannot be used: {why}");
                self.fail(span, message)
            }
        }
    }

    /// Sets a variable of the file.
    fn set_global(&mut self, name: &str, val: Val, span: Span) {
        let at = self.origin(span);
        let item = Item {
            val,
            at: at.clone(),
        };
        self.globals.insert(name.into(), (item, at));
    }

    /// The object that an import names, where we know it; else the imported name as it is.
    fn imported_name(&self, module: &str, name: &str) -> Val {
        match functions::module_attribute(module, name) {
            Some(val) => val,
            None if is_standard_module(module) => Val::Opaque(format!("{module}.{name}").into()),
            None => Val::Lazy(Arc::new(Object {
                module: module.into(),
                name: Some(name.into()),
            })),
        }
    }
}

/// Whether a module belongs to Python (or is `mmengine.config`), so that importing it does not make a config lazy.
pub(super) fn is_standard_module(module: &str) -> bool {
    const MODULES: &str = " __future__ abc argparse array ast asyncio base64 bisect builtins bz2 calendar cmath collections \
        colorsys concurrent configparser contextlib copy csv ctypes dataclasses datetime decimal difflib enum errno fnmatch \
        fractions functools gc getpass glob gzip hashlib heapq html http importlib inspect io itertools json keyword \
        locale logging lzma math multiprocessing numbers operator os pathlib pickle pkgutil platform pprint queue random \
        re shlex shutil signal site socket sqlite3 ssl stat statistics string struct subprocess sys sysconfig tarfile \
        tempfile textwrap threading time timeit token tokenize traceback types typing unicodedata unittest urllib uuid \
        warnings weakref xml zipfile zlib ";
    let top = module.split('.').next().unwrap_or("");
    !top.is_empty()
        && (module.starts_with("mmengine.config") || MODULES.contains(&format!(" {top} ")))
}
