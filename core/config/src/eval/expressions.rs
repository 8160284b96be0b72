//! Expressions.

use super::super::diagnostic::Kind;
use super::super::nearest::nearest;
use super::super::python::ast::{Argument, Binary, Expr, ExprKind, Loop, Made, Trailer};
use super::super::source::Span;
use super::super::value::Key;
use super::dicts::DICT_METHODS;
use super::functions::{Arguments, builtin, builtin_names, module_attribute};
use super::objects::{Item, Map, Val};
use super::{Eval, Evaluator, Halt};
use indexmap::IndexMap;
use std::sync::Arc;

impl Evaluator<'_> {
    /// The value of an expression, with the expression's place.
    pub(in super::super) fn placed(&mut self, expr: &Expr<'_>) -> Eval<Item> {
        let val = self.expression(expr)?;
        let at = self.origin(expr.span);
        Ok(Item { val, at })
    }

    /// The value of an expression.
    pub(super) fn expression(&mut self, expr: &Expr<'_>) -> Eval<Val> {
        let span = expr.span;
        self.step(1, span)?;
        match &expr.kind {
            ExprKind::None => Ok(Val::None),
            ExprKind::Bool(b) => Ok(Val::Bool(*b)),
            ExprKind::Int(i) => Ok(Val::Int(*i)),
            ExprKind::Float(x) => Ok(Val::Float(*x)),
            ExprKind::Str(s) => Ok(Val::Str(s.clone())),
            ExprKind::Format(pieces) => {
                let text = self.format_string(pieces, span)?;
                self.string(text, span)
            }
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::List(items) => {
                let items = self.elements(items)?;
                Ok(self.list(items))
            }
            ExprKind::Tuple(items) => {
                let items = self.elements(items)?;
                Ok(self.tuple(items))
            }
            ExprKind::Set(items) => {
                let mut set = IndexMap::new();
                for item in self.elements(items)? {
                    let key = self.key(&item.val, span)?;
                    set.entry(key).or_insert(item);
                }
                Ok(self.set(set))
            }
            ExprKind::Dict(entries) => self.dict_display(entries),
            ExprKind::Starred(_) => self.fail(span, "`*` needs a list or tuple around it"),
            ExprKind::Unary(unary, inner) => {
                let val = self.expression(inner)?;
                self.unary(*unary, &val, span)
            }
            ExprKind::Binary(first, rest) => {
                let mut val = self.expression(first)?;
                for (op, next) in rest {
                    let other = self.expression(next)?;
                    val = self.binary(*op, &val, &other, first.span.to(next.span))?;
                }
                Ok(val)
            }
            ExprKind::Power(base, exponent) => {
                let (a, b) = (self.expression(base)?, self.expression(exponent)?);
                self.binary(Binary::Pow, &a, &b, span)
            }
            ExprKind::Compare(first, rest) => {
                let mut left = self.expression(first)?;
                for (op, next) in rest {
                    let right = self.expression(next)?;
                    if !self.compare(*op, &left, &right, span)? {
                        return Ok(Val::Bool(false));
                    }
                    left = right;
                }
                Ok(Val::Bool(true))
            }
            ExprKind::And(items) | ExprKind::Or(items) => {
                let stop = matches!(expr.kind, ExprKind::Or(_));
                let mut val = Val::None;
                for item in items {
                    val = self.expression(item)?;
                    if self.truth(&val) == stop {
                        break;
                    }
                }
                Ok(val)
            }
            ExprKind::If(parts) => {
                let [value, test, other] = parts.as_ref();
                let test = self.expression(test)?;
                let chosen = if self.truth(&test) { value } else { other };
                self.expression(chosen)
            }
            ExprKind::Postfix(base, trailers) => self.postfix(base, trailers),
            ExprKind::Slice(_) => self.fail(span, "a slice stands in `[...]` only"),
            ExprKind::Comprehension(made, element, loops) => {
                let mut items = Vec::new();
                self.comprehension(loops, &mut |this| {
                    let item = this.placed(element)?;
                    items.push(item);
                    Ok(())
                })?;
                self.size(items.len(), span)?;
                match made {
                    Made::List => Ok(self.list(items)),
                    Made::Generator => Ok(self.iterator(items)),
                    Made::Set => {
                        let mut set = IndexMap::new();
                        for item in items {
                            let key = self.key(&item.val, span)?;
                            set.entry(key).or_insert(item);
                        }
                        Ok(self.set(set))
                    }
                }
            }
            ExprKind::DictComprehension(entry, loops) => {
                let mut map = Map::new();
                let (key, value) = entry.as_ref();
                self.comprehension(loops, &mut |this| {
                    let key_item = this.placed(key)?;
                    let key = this.key(&key_item.val, key.span)?;
                    let item = this.placed(value)?;
                    match map.get_mut(&key) {
                        Some(slot) => *slot = (item, key_item.at),
                        None => {
                            map.insert(key, (item, key_item.at));
                        }
                    }
                    Ok(())
                })?;
                self.size(map.len(), span)?;
                Ok(self.dict(map, false))
            }
            ExprKind::Named(name, value) => {
                let val = self.expression(value)?;
                self.set_global(name, val.clone(), value.span);
                Ok(val)
            }
            // A function may be named; it is dropped, as MMEngine does.
            ExprKind::Unsupported("a lambda") => Ok(Val::Opaque("a lambda".into())),
            ExprKind::Unsupported(what) => self.unsupported(span, what),
        }
    }

    /// The value of a name.
    pub(super) fn name(&mut self, name: &str, span: Span) -> Eval<Val> {
        self.copies(self.locals.len(), span)?;
        if let Some((_, val)) = self.locals.iter().rev().find(|(n, _)| &**n == name) {
            return Ok(val.clone());
        }
        if let Some((item, _)) = self.globals.get(name) {
            return match &item.val {
                Val::Poison => Err(Halt::Poisoned),
                val => Ok(val.clone()),
            };
        }
        if name == "_base_"
            && let Some(base) = &self.base
        {
            return Ok(base.clone());
        }
        if let Some(val) = builtin(name) {
            return Ok(val);
        }
        if PYTHON_ONLY.contains(&name) {
            return self.unsupported(span, &format!("it uses `{name}`"));
        }
        if self.reads_bases {
            return self.fail_help(
                span,
                format!("`_base_` is computed from `{name}`, but bases are read before the file runs: no name is known yet"),
                "write the paths out: _base_ = ['./base.py']; `{{fileDirname}}` and `{{$NAME:default}}` of the environment may \
                 be part of them",
            );
        }
        let message = format!("there is no name `{name}`");
        let own = nearest(name, self.globals.keys().map(|k| &**k));
        if let Some(near) = own.or_else(|| nearest(name, builtin_names())) {
            let diagnostic = self.diagnostic(Kind::Evaluate, message, span);
            let place = self.origin(span);
            return Err(Halt::Error(Box::new(
                diagnostic
                    .help(format!("did you mean `{near}`?"))
                    .use_name(&place, near),
            )));
        }
        let in_base = match &self.base {
            Some(Val::Dict(id)) => self.map(*id).contains_key(name),
            _ => false,
        };
        if in_base {
            return self.fail_help(
                span,
                message,
                format!("it is a name of the base: write `_base_.{name}`"),
            );
        }
        if name == "_base_" {
            return self.fail_help(
                span,
                message,
                "a file in lazy style uses the names it imports from its bases",
            );
        }
        self.fail(span, message)
    }

    /// The items of a list or tuple display.
    fn elements(&mut self, exprs: &[Expr<'_>]) -> Eval<Vec<Item>> {
        let mut items = Vec::with_capacity(exprs.len());
        for expr in exprs {
            match &expr.kind {
                ExprKind::Starred(inner) => {
                    let val = self.expression(inner)?;
                    items.extend(self.iterate(&val, inner.span)?);
                    self.size(items.len(), expr.span)?;
                }
                _ => items.push(self.placed(expr)?),
            }
        }
        Ok(items)
    }

    fn dict_display(&mut self, entries: &[(Option<Expr<'_>>, Expr<'_>)]) -> Eval<Val> {
        let mut map = Map::with_capacity(entries.len());
        for (key, value) in entries {
            match key {
                Some(key) => {
                    let key_val = self.expression(key)?;
                    let name = self.key(&key_val, key.span)?;
                    let item = self.placed(value)?;
                    let at = self.origin(key.span);
                    match map.get_mut(&name) {
                        Some(slot) => *slot = (item, at),
                        None => {
                            map.insert(name, (item, at));
                        }
                    }
                }
                None => {
                    let val = self.expression(value)?;
                    let Val::Dict(_) = val else {
                        let message = format!("`**` takes a dict, not a {}", self.type_name(&val));
                        return self.fail(value.span, message);
                    };
                    for (key, item, at) in self.pairs(&val, value.span)? {
                        match map.get_mut(&key) {
                            Some(slot) => *slot = (item, at),
                            None => {
                                map.insert(key, (item, at));
                            }
                        }
                    }
                }
            }
        }
        Ok(self.dict(map, false))
    }

    fn comprehension(
        &mut self,
        loops: &[Loop<'_>],
        each: &mut dyn FnMut(&mut Self) -> Eval<()>,
    ) -> Eval<()> {
        let depth = self.locals.len();
        let result = self.run_loops(loops, each);
        self.locals.truncate(depth);
        result
    }

    fn run_loops(
        &mut self,
        loops: &[Loop<'_>],
        each: &mut dyn FnMut(&mut Self) -> Eval<()>,
    ) -> Eval<()> {
        let Some((first, rest)) = loops.split_first() else {
            return each(self);
        };
        let items = self.expression(&first.items)?;
        let items = self.iterate(&items, first.items.span)?;
        let depth = self.locals.len();
        'items: for item in items {
            self.step(1, first.items.span)?;
            self.locals.truncate(depth);
            self.bind_local(&first.target, item.val)?;
            for condition in &first.conditions {
                let holds = self.expression(condition)?;
                if !self.truth(&holds) {
                    continue 'items;
                }
            }
            self.run_loops(rest, each)?;
        }
        Ok(())
    }

    /// Binds the variables of a comprehension.
    fn bind_local(&mut self, target: &Expr<'_>, val: Val) -> Eval<()> {
        match &target.kind {
            ExprKind::Name(name) => {
                self.locals.push(((*name).into(), val));
                Ok(())
            }
            ExprKind::Tuple(targets) | ExprKind::List(targets) => {
                let items = self.unpack(targets, &val, target.span)?;
                for (target, item) in targets.iter().zip(items) {
                    let target = match &target.kind {
                        ExprKind::Starred(inner) => inner,
                        _ => target,
                    };
                    self.bind_local(target, item.val)?;
                }
                Ok(())
            }
            _ => self.fail(target.span, "a comprehension's variable is a name"),
        }
    }

    /// The values for a list of targets, of which one may be starred.
    pub(super) fn unpack(
        &mut self,
        targets: &[Expr<'_>],
        val: &Val,
        span: Span,
    ) -> Eval<Vec<Item>> {
        let mut items = self.iterate(val, span)?;
        let starred = |e: &Expr<'_>| matches!(e.kind, ExprKind::Starred(_));
        let wrong = |this: &Self, count: usize| {
            this.fail(
                span,
                format!("{count} values cannot be given to {} names", targets.len()),
            )
        };
        let Some(star) = targets.iter().position(starred) else {
            if items.len() != targets.len() {
                return wrong(self, items.len());
            }
            return Ok(items);
        };
        let behind = targets.len() - star - 1;
        if items.len() < star + behind || targets.iter().filter(|t| starred(t)).count() > 1 {
            return wrong(self, items.len());
        }
        let tail = items.split_off(items.len() - behind);
        let middle = items.split_off(star);
        let at = self.origin(span);
        let val = self.list(middle);
        items.push(Item { val, at });
        items.extend(tail);
        Ok(items)
    }

    /// A value followed by attributes, items and calls.
    pub(super) fn postfix(
        &mut self,
        base: &Expr<'_>,
        trailers: &[(Trailer<'_>, Span)],
    ) -> Eval<Val> {
        let mut val = self.expression(base)?;
        let mut rest = trailers.iter().peekable();
        while let Some((trailer, at)) = rest.next() {
            let span = base.span.to(*at);
            match trailer {
                Trailer::Attribute(name) => {
                    // A method is looked up only where it is called.
                    if let Some((Trailer::Call(arguments), call)) = rest.peek() {
                        let is_attribute = match &val {
                            Val::Dict(id) => self.is_config(*id) && !DICT_METHODS.contains(name),
                            Val::Module(_) | Val::Lazy(_) => true,
                            _ => false,
                        };
                        if !is_attribute {
                            let arguments = self.arguments(arguments)?;
                            let span = base.span.to(*call);
                            val = match self.method(&val, name, arguments, span)? {
                                Some(val) => val,
                                None => {
                                    let what = format!(
                                        "it calls the method `{name}` of a {}",
                                        self.type_name(&val)
                                    );
                                    return self.unsupported(span, &what);
                                }
                            };
                            rest.next();
                            continue;
                        }
                    }
                    val = self.attribute(&val, name, span)?;
                }
                Trailer::Index(index) => val = self.subscript(&val, index, span)?,
                Trailer::Call(arguments) => {
                    // Another package's classes are not called, so their arguments do not matter.
                    let arguments = match val {
                        Val::Lazy(_) | Val::Opaque(_) => Arguments::default(),
                        _ => self.arguments(arguments)?,
                    };
                    val = self.call(&val, arguments, span)?;
                }
            }
        }
        Ok(val)
    }

    /// `val[index]`, also with slices.
    pub(super) fn subscript(&mut self, val: &Val, index: &Expr<'_>, span: Span) -> Eval<Val> {
        if let ExprKind::Slice(parts) = &index.kind {
            let parts = self.slice_parts(parts)?;
            return self.slice(val, &parts, span);
        }
        let index = self.expression(index)?;
        if let (Val::Module(module), Val::Str(name)) = (val, &index)
            && &**module == "os.environ"
        {
            return match self.variable(name, span)? {
                Some(value) => Ok(value),
                None => self.fail(span, format!("environment variable `{name}` is not set")),
            };
        }
        self.index(val, &index, span)
    }

    pub(super) fn slice_parts(&mut self, parts: &[Option<Expr<'_>>; 3]) -> Eval<[Option<Val>; 3]> {
        let mut values = [None, None, None];
        for (value, part) in values.iter_mut().zip(parts) {
            if let Some(part) = part {
                *value = Some(self.expression(part)?);
            }
        }
        Ok(values)
    }

    /// `val.name`.
    pub(super) fn attribute(&mut self, val: &Val, name: &str, span: Span) -> Eval<Val> {
        match val {
            Val::Dict(id) if self.is_config(*id) => {
                let key = self.key(&Val::Str(name.into()), span)?;
                match self.entry(*id, &key) {
                    Some(val) => Ok(val),
                    None => self.no_key(*id, &key, span),
                }
            }
            Val::Dict(_) => {
                let message = format!("a dict has no attribute `{name}`");
                let help = format!(
                    "write `['{name}']`; only values of `_base_` have their keys as attributes"
                );
                self.fail_help(span, message, help)
            }
            Val::Lazy(object) => {
                self.room(object.path().len() + name.len(), span)?;
                Ok(Val::Lazy(Arc::new(object.attribute(name))))
            }
            Val::Module(module) => match module_attribute(module, name) {
                Some(val) => Ok(val),
                None => Ok(Val::Opaque(format!("{module}.{name}").into())),
            },
            Val::Opaque(what) => {
                self.room(what.len() + name.len(), span)?;
                Ok(Val::Opaque(format!("{what}.{name}").into()))
            }
            _ => {
                let message = format!("a {} has no attribute `{name}`", self.type_name(val));
                self.fail(span, message)
            }
        }
    }

    /// The values of a call's arguments.
    fn arguments(&mut self, list: &[Argument<'_>]) -> Eval<Arguments> {
        let mut arguments = Arguments::default();
        for argument in list {
            match argument {
                Argument::Positional(expr) => arguments.positional.push(self.placed(expr)?),
                Argument::Star(expr) => {
                    let val = self.expression(expr)?;
                    arguments.positional.extend(self.iterate(&val, expr.span)?);
                }
                Argument::Named(name, at, expr) => {
                    let item = self.placed(expr)?;
                    let at = self.origin(*at);
                    arguments.named.push(((*name).into(), item, at));
                }
                Argument::StarStar(expr) => {
                    let val = self.expression(expr)?;
                    let Val::Dict(_) = val else {
                        let message = format!("`**` takes a dict, not a {}", self.type_name(&val));
                        return self.fail(expr.span, message);
                    };
                    for (key, item, at) in self.pairs(&val, expr.span)? {
                        let Key::Str(name) = key else {
                            return self.fail(
                                expr.span,
                                format!("an argument's name is a string, not {key}"),
                            );
                        };
                        arguments.named.push((name, item, at));
                    }
                }
            }
        }
        if arguments.named.len() > 1 {
            let mut seen = std::collections::HashMap::with_capacity(arguments.named.len());
            for (name, _, at) in &arguments.named {
                if let Some(first) = seen.insert(&**name, at) {
                    let diagnostic = super::Diagnostic::error(format!("`{name}` is given twice"))
                        .kind(super::Kind::Evaluate)
                        .at(at, "")
                        .at(first, "first here");
                    return Err(Halt::Error(Box::new(diagnostic)));
                }
            }
        }
        Ok(arguments)
    }
}

/// Names of Python that run or read something.
const PYTHON_ONLY: [&str; 22] = [
    "open",
    "exec",
    "eval",
    "compile",
    "__import__",
    "input",
    "type",
    "object",
    "super",
    "property",
    "vars",
    "locals",
    "dir",
    "iter",
    "next",
    "id",
    "hash",
    "setattr",
    "delattr",
    "bytes",
    "complex",
    "callable",
];
