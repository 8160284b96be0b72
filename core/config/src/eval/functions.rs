//! The functions of Python that a config may call.

use super::super::source::{Origin, Span};
use super::objects::{Item, Map, Val};
use super::operators::Number;
use super::{Eval, Evaluator};
use indexmap::IndexMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// The arguments of a call.
#[derive(Default)]
pub(super) struct Arguments {
    pub positional: Vec<Item>,
    /// Name, value, place of the name.
    pub named: Vec<(Arc<str>, Item, Origin)>,
}

impl Arguments {
    pub(super) fn get(&self, index: usize) -> Option<&Val> {
        self.positional.get(index).map(|i| &i.val)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Val> {
        let mut named = self.named.iter();
        named
            .find(|(n, _, _)| &**n == name)
            .map(|(_, item, _)| &item.val)
    }

    /// The argument at a position or under a name.
    pub(super) fn any(&self, index: usize, name: &str) -> Option<&Val> {
        self.get(index).or_else(|| self.named(name))
    }
}

/// Names that are known without an import.
const BUILTINS: [&str; 33] = [
    "abs",
    "all",
    "any",
    "bool",
    "chr",
    "dict",
    "divmod",
    "enumerate",
    "filter",
    "float",
    "format",
    "frozenset",
    "getattr",
    "globals",
    "hasattr",
    "int",
    "isinstance",
    "len",
    "list",
    "map",
    "max",
    "min",
    "ord",
    "pow",
    "print",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "sorted",
    "str",
    "sum",
];

const MORE_BUILTINS: [&str; 2] = ["tuple", "zip"];

/// The function that a name stands for without an import.
pub(super) fn builtin(name: &str) -> Option<Val> {
    let known = BUILTINS.iter().chain(&MORE_BUILTINS).find(|b| **b == name);
    match name {
        // A config is not run as a program.
        "__name__" => Some(Val::Str("builtins".into())),
        _ => known.map(|b| Val::Builtin(b)),
    }
}

/// All names that are known without an import, for "did you mean".
pub(super) fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTINS.into_iter().chain(MORE_BUILTINS)
}

const MATH: [&str; 17] = [
    "math.sqrt",
    "math.exp",
    "math.log",
    "math.log2",
    "math.log10",
    "math.sin",
    "math.cos",
    "math.tan",
    "math.atan",
    "math.atan2",
    "math.pow",
    "math.floor",
    "math.ceil",
    "math.trunc",
    "math.fabs",
    "math.radians",
    "math.degrees",
];

/// What a name of a module of Python stands for, where we know it.
pub(super) fn module_attribute(module: &str, name: &str) -> Option<Val> {
    let function = |f| Some(Val::Builtin(f));
    match (module, name) {
        ("copy", "copy") => function("copy.copy"),
        ("copy", "deepcopy") => function("copy.deepcopy"),
        ("math", "pi") => Some(Val::Float(std::f64::consts::PI)),
        ("math", "e") => Some(Val::Float(std::f64::consts::E)),
        ("math", "tau") => Some(Val::Float(std::f64::consts::TAU)),
        ("math", "inf") => Some(Val::Float(f64::INFINITY)),
        ("math", "nan") => Some(Val::Float(f64::NAN)),
        ("math", _) => {
            let known = MATH.iter().find(|m| m.strip_prefix("math.") == Some(name));
            known.and_then(|m| function(m))
        }
        ("collections", "OrderedDict") => function("dict"),
        ("os", "path") => Some(Val::Module("os.path".into())),
        ("os", "environ") => Some(Val::Module("os.environ".into())),
        ("os", "getenv") => function("os.environ.get"),
        ("os", "sep") => Some(Val::Str("/".into())),
        ("os.environ", "get") => function("os.environ.get"),
        ("os.path", "join") => function("os.path.join"),
        ("os.path", "basename") => function("os.path.basename"),
        ("os.path", "dirname") => function("os.path.dirname"),
        ("os.path", "splitext") => function("os.path.splitext"),
        ("mmengine.config", "read_base") => function("read_base"),
        ("mmengine.config", "ConfigDict") => function("ConfigDict"),
        _ => None,
    }
}

impl Evaluator<'_> {
    /// Pays for reading the texts that a call is given, so that no function has to think of it.
    pub(super) fn scan_arguments(&mut self, arguments: &Arguments, span: Span) -> Eval<()> {
        // Named ones are looked for one after another.
        self.copies(arguments.named.len(), span)?;
        let named = arguments.named.iter().map(|(_, item, _)| item);
        for item in arguments.positional.iter().chain(named) {
            if let Val::Str(text) = &item.val {
                self.scan(text, span)?;
            }
        }
        Ok(())
    }

    /// Calls a function.
    pub(super) fn call(&mut self, function: &Val, arguments: Arguments, span: Span) -> Eval<Val> {
        self.step(1, span)?;
        self.scan_arguments(&arguments, span)?;
        match function {
            Val::Builtin(name) => self.call_builtin(name, arguments, span),
            Val::Lazy(object) => {
                let what = format!("it calls `{}` of another package", object.path());
                self.unsupported(span, &what)
            }
            Val::Opaque(name) => {
                let what = format!("it calls `{name}`");
                self.unsupported(span, &what)
            }
            Val::Poison => Err(super::Halt::Poisoned),
            _ => self.fail(
                span,
                format!("a {} cannot be called", self.type_name(function)),
            ),
        }
    }

    /// The single argument of a function.
    fn one(&self, name: &str, arguments: &Arguments, span: Span) -> Eval<Val> {
        match arguments.positional.as_slice() {
            [only] if arguments.named.is_empty() => Ok(only.val.clone()),
            _ => self.fail(span, format!("`{name}` takes one argument")),
        }
    }

    fn call_builtin(&mut self, name: &'static str, arguments: Arguments, span: Span) -> Eval<Val> {
        match name {
            "dict" | "ConfigDict" => {
                let Val::Dict(id) = self.dict(Map::new(), name == "ConfigDict") else {
                    return Ok(Val::None);
                };
                self.fill_dict(id, arguments, span)?;
                Ok(Val::Dict(id))
            }
            "list" | "tuple" | "set" | "frozenset" | "sorted" | "reversed" | "enumerate"
            | "zip" | "map" | "filter" | "sum" | "any" | "all" | "min" | "max" => {
                self.call_on_items(name, &arguments, span)
            }
            "len" => {
                let val = self.one(name, &arguments, span)?;
                Ok(Val::Int(self.length(&val, span)?))
            }
            "range" => self.range(&arguments, span),
            "int" | "float" | "bool" | "str" | "abs" | "round" | "divmod" | "pow" | "chr"
            | "ord" => self.call_on_numbers(name, &arguments, span),
            "repr" => {
                let val = self.one(name, &arguments, span)?;
                Ok(Val::Str(self.repr(&val, span)?.into()))
            }
            "format" => {
                let (Some(val), spec) = (arguments.get(0).cloned(), arguments.get(1).cloned())
                else {
                    return self.fail(span, "`format` takes a value and a specification");
                };
                let spec = match spec {
                    Some(spec) => self.str(&spec, span)?,
                    None => "".into(),
                };
                let text = self.format_value(&val, &spec, span)?;
                self.string(text, span)
            }
            "copy.deepcopy" => {
                let val = self.one(name, &arguments, span)?;
                self.deep_copy(&val, span)
            }
            "copy.copy" => {
                let val = self.one(name, &arguments, span)?;
                self.shallow_copy(&val, span)
            }
            "getattr" | "hasattr" => {
                let (Some(val), Some(Val::Str(attribute))) =
                    (arguments.get(0).cloned(), arguments.get(1).cloned())
                else {
                    return self.fail(span, format!("`{name}` takes a value and a name"));
                };
                let found = match val {
                    Val::Dict(id) if self.is_config(id) => {
                        let key = self.key(&Val::Str(attribute.clone()), span)?;
                        self.entry(id, &key)
                    }
                    _ => None,
                };
                match (name, found, arguments.get(2)) {
                    ("hasattr", found, _) => Ok(Val::Bool(found.is_some())),
                    (_, Some(found), _) => Ok(found),
                    (_, None, Some(default)) => Ok(default.clone()),
                    (_, None, None) => self.attribute(&val, &attribute, span),
                }
            }
            "isinstance" => self.is_instance(&arguments, span),
            "globals" => Ok(Val::Globals),
            "print" => Ok(Val::None),
            "os.environ.get" => {
                let Some(Val::Str(variable)) = arguments.any(0, "key").cloned() else {
                    return self.fail(span, "the name of an environment variable is a string");
                };
                let value = self.variable(&variable, span)?;
                let default = || arguments.any(1, "default").cloned().unwrap_or(Val::None);
                Ok(value.unwrap_or_else(default))
            }
            "os.path.join" | "os.path.basename" | "os.path.dirname" | "os.path.splitext" => {
                self.path(name, &arguments, span)
            }
            _ if name.starts_with("math.") => self.math(name, &arguments, span),
            _ => self.unsupported(span, &format!("it calls `{name}`")),
        }
    }

    /// Fills a dict as `dict(...)` and `.update(...)` do: a mapping or pairs, then named arguments.
    pub(super) fn fill_dict(
        &mut self,
        id: super::objects::Id,
        arguments: Arguments,
        span: Span,
    ) -> Eval<()> {
        if arguments.positional.len() > 1 {
            return self.fail(span, "at most one dict may be given without a name");
        }
        if let Some(item) = arguments.positional.into_iter().next() {
            let entries = self.pairs(&item.val, span)?;
            for (key, item, at) in entries {
                self.set_entry(id, key, item, at, span)?;
            }
        }
        self.step(arguments.named.len(), span)?;
        for (name, item, at) in arguments.named {
            self.set_entry(id, super::super::value::Key::Str(name), item, at, span)?;
        }
        Ok(())
    }

    /// The entries of a dict, or of a sequence of pairs.
    pub(super) fn pairs(
        &mut self,
        val: &Val,
        span: Span,
    ) -> Eval<Vec<(super::super::value::Key, Item, Origin)>> {
        if let Val::Dict(id) = val {
            let entries = self.all_entries(*id, span)?;
            self.step(entries.len(), span)?;
            return Ok(entries);
        }
        let mut entries = Vec::new();
        for item in self.iterate(val, span)? {
            let mut pair = self.iterate(&item.val, span)?;
            let (Some(value), Some(key), true) = (pair.pop(), pair.pop(), pair.is_empty()) else {
                return self.fail(span, "a dict is made from another dict or from pairs");
            };
            let at = key.at.clone();
            entries.push((self.key(&key.val, span)?, value, at));
        }
        Ok(entries)
    }

    fn shallow_copy(&mut self, val: &Val, span: Span) -> Eval<Val> {
        match val {
            Val::List(id) => {
                let items = self.all_items(*id, span)?;
                self.size(items.len(), span)?;
                Ok(self.list(items))
            }
            Val::Dict(id) => {
                let entries = self.all_entries(*id, span)?;
                self.size(entries.len(), span)?;
                let config = self.is_config(*id);
                let mut map = Map::with_capacity(entries.len());
                for (key, item, at) in entries {
                    // A dict of the base converts what is put into it, so its lists are copied.
                    let val = if config {
                        self.hook(item.val, span)?
                    } else {
                        item.val
                    };
                    map.insert(key, (Item { val, at: item.at }, at));
                }
                Ok(self.dict(map, config))
            }
            Val::Set(id) => {
                self.copies(self.set_items(*id).len(), span)?;
                let items = self.set_items(*id).clone();
                self.size(items.len(), span)?;
                Ok(self.set(items))
            }
            Val::Iter(_) => self.fail(
                span,
                "an iterator cannot be copied; make it a `list(...)` first",
            ),
            other => Ok(other.clone()),
        }
    }

    /// `.copy()` of a list, dict or set.
    pub(super) fn copied(&mut self, val: &Val, span: Span) -> Eval<Val> {
        self.shallow_copy(val, span)
    }

    fn range(&mut self, arguments: &Arguments, span: Span) -> Eval<Val> {
        let mut numbers = Vec::new();
        for item in &arguments.positional {
            match Number::of(&item.val) {
                Some(Number::Int(i)) => numbers.push(i),
                _ => {
                    let message = format!(
                        "`range` takes integers, not a {}",
                        self.type_name(&item.val)
                    );
                    return self.fail_help(
                        span,
                        message,
                        "`/` always gives a float; use `//` or `int(...)`",
                    );
                }
            }
        }
        match numbers.as_slice() {
            [to] => Ok(Val::Range(0, *to, 1)),
            [from, to] => Ok(Val::Range(*from, *to, 1)),
            [_, _, 0] => self.fail(span, "the step of a range cannot be zero"),
            [from, to, step] => Ok(Val::Range(*from, *to, *step)),
            _ => self.fail(span, "`range` takes one to three integers"),
        }
    }

    /// Functions that go over the items of their argument.
    fn call_on_items(
        &mut self,
        name: &'static str,
        arguments: &Arguments,
        span: Span,
    ) -> Eval<Val> {
        let at = self.origin(span);
        if name == "zip" {
            let mut columns = Vec::new();
            for item in &arguments.positional {
                columns.push(self.iterate(&item.val, span)?);
            }
            let shortest = columns.iter().map(Vec::len).min().unwrap_or(0);
            self.size(shortest.saturating_mul(columns.len()), span)?;
            let mut rows = Vec::with_capacity(shortest);
            for row in 0..shortest {
                let row = columns.iter().map(|c| c[row].clone()).collect();
                let val = self.tuple(row);
                rows.push(Item {
                    val,
                    at: at.clone(),
                });
            }
            return Ok(self.iterator(rows));
        }
        if name == "map" || name == "filter" {
            let [function, items] = arguments.positional.as_slice() else {
                return self.fail(span, format!("`{name}` takes a function and its items"));
            };
            let mut out = Vec::new();
            for item in self.iterate(&items.val, span)? {
                let given = Arguments {
                    positional: vec![item.clone()],
                    named: Vec::new(),
                };
                if name == "map" {
                    let val = self.call(&function.val, given, span)?;
                    out.push(Item { val, at: item.at });
                } else {
                    let keep = match function.val {
                        Val::None => item.val.clone(),
                        _ => self.call(&function.val, given, span)?,
                    };
                    if self.truth(&keep) {
                        out.push(item);
                    }
                }
            }
            return Ok(self.iterator(out));
        }
        let several = matches!(name, "min" | "max") && arguments.positional.len() > 1;
        let items = match arguments.get(0).cloned() {
            _ if several => arguments.positional.clone(),
            Some(val) => self.iterate(&val, span)?,
            None if matches!(name, "list" | "tuple" | "set" | "frozenset") => Vec::new(),
            None => return self.fail(span, format!("`{name}` takes an argument")),
        };
        if arguments
            .named("key")
            .is_some_and(|k| !matches!(k, Val::None))
        {
            return self.unsupported(span, "it sorts by a function");
        }
        match name {
            "list" => Ok(self.list(items)),
            "tuple" => Ok(self.tuple(items)),
            "set" | "frozenset" => {
                let mut set = IndexMap::with_capacity(items.len());
                for item in items {
                    let key = self.key(&item.val, span)?;
                    set.entry(key).or_insert(item);
                }
                Ok(self.set(set))
            }
            "sorted" => {
                let reverse = arguments.named("reverse").cloned();
                let reverse = reverse.is_some_and(|r| self.truth(&r));
                let items = self.sorted(items, reverse, span)?;
                Ok(self.list(items))
            }
            "reversed" => Ok(self.iterator(items.into_iter().rev().collect())),
            "enumerate" => {
                let start = match arguments.any(1, "start") {
                    None => 0,
                    Some(Val::Int(i)) => *i,
                    Some(_) => return self.fail(span, "`start` is an integer"),
                };
                let mut out = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let index = start.saturating_add(index as i64);
                    let at = item.at.clone();
                    let number = Item {
                        val: Val::Int(index),
                        at: at.clone(),
                    };
                    let val = self.tuple(vec![number, item]);
                    out.push(Item { val, at });
                }
                Ok(self.iterator(out))
            }
            "any" => Ok(Val::Bool(items.iter().any(|i| self.truth(&i.val)))),
            "all" => Ok(Val::Bool(items.iter().all(|i| self.truth(&i.val)))),
            "sum" => {
                let mut total = arguments.any(1, "start").cloned().unwrap_or(Val::Int(0));
                if matches!(total, Val::Str(_)) {
                    return self.fail_help(
                        span,
                        "`sum` does not join strings",
                        "use `''.join(...)`",
                    );
                }
                for item in items {
                    total = self.binary(
                        super::super::python::ast::Binary::Add,
                        &total,
                        &item.val,
                        span,
                    )?;
                }
                Ok(total)
            }
            _ => {
                let wanted = if name == "min" {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
                let mut best: Option<Val> = None;
                for item in items {
                    best = match best {
                        Some(b) if self.order(&item.val, &b, span)? != Some(wanted) => Some(b),
                        _ => Some(item.val),
                    };
                }
                match best.or_else(|| arguments.named("default").cloned()) {
                    Some(best) => Ok(best),
                    None => self.fail(span, format!("`{name}` of nothing")),
                }
            }
        }
    }

    /// A stable sort; an error if two items have no order.
    pub(super) fn sorted(
        &mut self,
        mut items: Vec<Item>,
        reverse: bool,
        span: Span,
    ) -> Eval<Vec<Item>> {
        // An order that fails must not reach `sort_by`, so every comparison's failure is kept.
        let mut failed = None;
        let mut compare = |a: &Item, b: &Item| match self.order(&a.val, &b.val, span) {
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(halt) => {
                failed.get_or_insert(halt);
                Ordering::Equal
            }
        };
        // Merging by hand: the standard sort may panic on an inconsistent order, which NaN gives.
        let mut width = 1;
        while width < items.len() {
            let mut merged = Vec::with_capacity(items.len());
            for chunk in items.chunks(2 * width) {
                let (a, b) = chunk.split_at(width.min(chunk.len()));
                let (mut i, mut j) = (0, 0);
                while i < a.len() && j < b.len() {
                    let order = compare(&a[i], &b[j]);
                    let second = if reverse {
                        order == Ordering::Less
                    } else {
                        order == Ordering::Greater
                    };
                    if second {
                        merged.push(b[j].clone());
                        j += 1;
                    } else {
                        merged.push(a[i].clone());
                        i += 1;
                    }
                }
                merged.extend_from_slice(&a[i..]);
                merged.extend_from_slice(&b[j..]);
            }
            items = merged;
            width *= 2;
        }
        match failed {
            Some(halt) => Err(halt),
            None => Ok(items),
        }
    }

    fn is_instance(&mut self, arguments: &Arguments, span: Span) -> Eval<Val> {
        let (Some(val), Some(kinds)) = (arguments.get(0).cloned(), arguments.get(1).cloned())
        else {
            return self.fail(span, "`isinstance` takes a value and a type");
        };
        let kinds = match kinds {
            Val::Tuple(id) => self
                .all_items(id, span)?
                .into_iter()
                .map(|i| i.val)
                .collect(),
            other => vec![other],
        };
        for kind in kinds {
            let Val::Builtin(kind) = kind else {
                return self.unsupported(span, "it asks for the type of a value");
            };
            let found = match self.type_name(&val) {
                "ConfigDict" => kind == "dict" || kind == "ConfigDict",
                "bool" => kind == "bool" || kind == "int",
                other => other == kind,
            };
            if found {
                return Ok(Val::Bool(true));
            }
        }
        Ok(Val::Bool(false))
    }
}
