//! Statements.

use super::super::commas::{HELP, behind};
use super::super::diagnostic::{Diagnostic, Kind, VALUE, cut};
use super::super::effects::mentions;
use super::super::python::ast::{
    Alias, Binary, Expr, ExprKind, ImportFrom, Stmt, StmtKind, Trailer,
};
use super::super::source::Span;
use super::super::value::{Key, Object};
use super::objects::{Item, Val};
use super::{Eval, Evaluator, Halt, is_standard_module};
use std::sync::Arc;

/// Errors after which the rest of a file is not tried.
const ERRORS: usize = 50;

/// Variables among which a stray comma is looked for.
const NAMES: usize = 2000;

impl Evaluator<'_> {
    /// Runs a whole file. Errors are collected; after one, the next statement is tried.
    pub(in super::super) fn run(&mut self, statements: &[Stmt<'_>]) {
        for statement in statements {
            if self.errors.len() >= ERRORS {
                return;
            }
            match self.statement(statement) {
                Ok(()) => {}
                Err(Halt::Error(diagnostic)) => {
                    let explained = self.with_comma(*diagnostic);
                    self.errors.push(explained);
                    self.poison(statement);
                }
                Err(Halt::Poisoned) => self.poison(statement),
                Err(Halt::Spent(diagnostic)) => {
                    self.errors.push(*diagnostic);
                    return;
                }
                Err(Halt::Break | Halt::Continue) => {
                    let message = "`break` and `continue` stand in a loop only";
                    self.errors
                        .push(self.diagnostic(Kind::Syntax, message, statement.span));
                }
            }
            self.locals.clear();
        }
    }

    /// Points at the comma that made a tuple of one, if the expression that failed uses a variable of which that is true.
    fn with_comma(&self, error: Diagnostic) -> Diagnostic {
        let Some((failed, _)) = error.labels.first() else {
            return error;
        };
        let comma = self
            .globals
            .iter()
            .take(NAMES)
            .find_map(|(name, (item, _))| {
                let Val::Tuple(id) = item.val else {
                    return None;
                };
                let [single] = self.items(id) else {
                    return None;
                };
                let (at, bare) = behind(&single.at)?;
                (bare && mentions(failed.text(), name)).then(|| (at, name.clone()))
            });
        match comma {
            Some((at, name)) => error
                .at(&at, format!("this comma makes `{name}` a tuple of one"))
                .help(HELP),
            None => error,
        }
    }

    /// Marks the names that a failed statement would have set, so that their use is no second error.
    fn poison(&mut self, statement: &Stmt<'_>) {
        match &statement.kind {
            StmtKind::Assign(targets, _) => targets.iter().for_each(|t| self.poison_target(t)),
            StmtKind::If(_, body, other) | StmtKind::While(_, body, other) => {
                body.iter().chain(other).for_each(|s| self.poison(s));
            }
            StmtKind::For(head, body, _) => {
                self.poison_target(&head.0);
                body.iter().for_each(|s| self.poison(s));
            }
            _ => {}
        }
    }

    fn poison_target(&mut self, target: &Expr<'_>) {
        match &target.kind {
            ExprKind::Name(name) => self.set_global(name, Val::Poison, target.span),
            ExprKind::Tuple(targets) | ExprKind::List(targets) => {
                targets.iter().for_each(|t| self.poison_target(t))
            }
            _ => {}
        }
    }

    fn block(&mut self, statements: &[Stmt<'_>]) -> Eval<()> {
        statements.iter().try_for_each(|s| self.statement(s))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Eval<()> {
        let span = statement.span;
        self.step(1, span)?;
        match &statement.kind {
            StmtKind::Assign(targets, value) => {
                // In text style the bases were loaded before.
                let base = |t: &Expr<'_>| matches!(t.kind, ExprKind::Name("_base_"));
                if !self.lazy && targets.first().is_some_and(base) {
                    return Ok(());
                }
                let item = self.placed(value)?;
                targets
                    .iter()
                    .try_for_each(|target| self.assign(target, item.clone()))
            }
            StmtKind::AugAssign(target, op, value) => self.augment(target, *op, value, span),
            StmtKind::Expr(expr) => self.expression(expr).map(|_| ()),
            StmtKind::Delete(targets) => targets.iter().try_for_each(|t| self.delete(t)),
            StmtKind::Import(names) => names.iter().try_for_each(|n| self.import(n)),
            StmtKind::ImportFrom(from) => self.import_from(from, span),
            StmtKind::If(test, body, other) => {
                // The older spelling of `with read_base():`; its imports are bases.
                if matches!(&test.kind, ExprKind::Str(s) if &**s == "_base_") {
                    return self.block(body);
                }
                let test = self.expression(test)?;
                let chosen = if self.truth(&test) { body } else { other };
                self.block(chosen)
            }
            StmtKind::For(head, body, other) => {
                let (target, items) = head.as_ref();
                let val = self.expression(items)?;
                for item in self.iterate(&val, items.span)? {
                    self.step(1, span)?;
                    self.assign(target, item)?;
                    match self.block(body) {
                        Ok(()) | Err(Halt::Continue) => {}
                        Err(Halt::Break) => return Ok(()),
                        Err(halt) => return Err(halt),
                    }
                }
                self.block(other)
            }
            StmtKind::While(test, body, other) => {
                loop {
                    let holds = self.expression(test)?;
                    if !self.truth(&holds) {
                        break;
                    }
                    self.step(1, span)?;
                    match self.block(body) {
                        Ok(()) | Err(Halt::Continue) => {}
                        Err(Halt::Break) => return Ok(()),
                        Err(halt) => return Err(halt),
                    }
                }
                self.block(other)
            }
            StmtKind::With(items, body) => {
                let reads_base = items.len() == 1 && is_read_base(&items[0]);
                if !reads_base {
                    return self.unsupported(span, "`with` other than `with read_base():`");
                }
                for inner in body {
                    if !matches!(inner.kind, StmtKind::ImportFrom(_)) {
                        let message = "in `with read_base():` there is only `from ... import ...`";
                        return self.fail(inner.span, message);
                    }
                }
                self.block(body)
            }
            StmtKind::Assert(test, message) => {
                let holds = self.expression(test)?;
                if self.truth(&holds) {
                    return Ok(());
                }
                let said = match message {
                    Some(message) => {
                        let val = self.expression(message)?;
                        format!(": {}", cut(&self.str(&val, span)?, VALUE))
                    }
                    None => String::new(),
                };
                self.fail(span, format!("this assertion does not hold{said}"))
            }
            StmtKind::Pass => Ok(()),
            StmtKind::Break => Err(Halt::Break),
            StmtKind::Continue => Err(Halt::Continue),
            StmtKind::Def(name) => {
                let what = Val::Opaque((*name).into());
                self.set_global(name, what, span);
                Ok(())
            }
            StmtKind::Unsupported(what) => self.unsupported(span, &format!("`{what}`")),
        }
    }

    fn assign(&mut self, target: &Expr<'_>, item: Item) -> Eval<()> {
        match &target.kind {
            ExprKind::Name(name) => {
                let at = self.origin(target.span);
                self.globals.insert((*name).into(), (item, at));
                Ok(())
            }
            ExprKind::Tuple(targets) | ExprKind::List(targets) => {
                let items = self.unpack(targets, &item.val, target.span)?;
                for (target, item) in targets.iter().zip(items) {
                    let target = match &target.kind {
                        ExprKind::Starred(inner) => inner,
                        _ => target,
                    };
                    self.assign(target, item)?;
                }
                Ok(())
            }
            ExprKind::Postfix(base, trailers) => {
                let (val, last) = self.holder(base, trailers, target.span)?;
                self.assign_to(&val, last, item, target.span)
            }
            _ => self.fail(target.span, "this cannot be assigned to"),
        }
    }

    /// The value that holds the last attribute or item of a target.
    fn holder<'a, 't>(
        &mut self,
        base: &Expr<'t>,
        trailers: &'a [(Trailer<'t>, Span)],
        span: Span,
    ) -> Eval<(Val, &'a Trailer<'t>)> {
        let Some(((last, _), before)) = trailers.split_last() else {
            return self.fail(span, "this cannot be assigned to");
        };
        let val = self.postfix(base, before)?;
        Ok((val, last))
    }

    fn assign_to(&mut self, holder: &Val, last: &Trailer<'_>, item: Item, span: Span) -> Eval<()> {
        match (holder, last) {
            (Val::Dict(id), Trailer::Attribute(name)) if self.is_config(*id) => {
                if super::dicts::DICT_METHODS.contains(name) {
                    return self.fail_help(
                        span,
                        format!("`{name}` is a method of a dict"),
                        format!("write `['{name}'] = ...`"),
                    );
                }
                let at = self.origin(span);
                self.set_entry(*id, Key::Str((*name).into()), item, at, span)
            }
            (Val::Dict(_), Trailer::Attribute(name)) => {
                let help = format!(
                    "write `['{name}'] = ...`; only values of `_base_` have their keys as attributes"
                );
                self.fail_help(span, "an attribute of a plain dict cannot be set", help)
            }
            (Val::Dict(id), Trailer::Index(index)) => {
                let val = self.expression(index)?;
                let key = self.key(&val, index.span)?;
                let at = self.origin(span);
                self.set_entry(*id, key, item, at, span)
            }
            (Val::List(id), Trailer::Index(index)) => {
                if let ExprKind::Slice(parts) = &index.kind {
                    let parts = self.slice_parts(parts)?;
                    return self.assign_slice(*id, &parts, &item, span);
                }
                let index = self.expression(index)?;
                let at = self.position(self.items(*id).len(), &index, holder, span)?;
                self.items_mut(*id)[at] = item;
                Ok(())
            }
            (Val::Globals, Trailer::Index(index)) => match self.expression(index)? {
                Val::Str(name) => {
                    let at = self.origin(span);
                    self.globals.insert(name, (item, at));
                    Ok(())
                }
                _ => self.fail(span, "names are strings"),
            },
            _ => self.fail(
                span,
                format!("nothing within a {} can be set", self.type_name(holder)),
            ),
        }
    }

    fn assign_slice(
        &mut self,
        id: usize,
        parts: &[Option<Val>; 3],
        item: &Item,
        span: Span,
    ) -> Eval<()> {
        let new = self.iterate(&item.val, span)?;
        let length = self.items(id).len();
        let indices = self.slice_indices(length, parts, span)?;
        self.size(length + new.len(), span)?;
        let step = match &parts[2] {
            Some(Val::Int(step)) => *step,
            _ => 1,
        };
        if step != 1 {
            if indices.len() != new.len() {
                let message = format!(
                    "{} values cannot replace the {} of this slice",
                    new.len(),
                    indices.len()
                );
                return self.fail(span, message);
            }
            for (at, item) in indices.into_iter().zip(new) {
                self.items_mut(id)[at] = item;
            }
            return Ok(());
        }
        // An empty slice is a place between two items: where it starts.
        let from = match indices.first() {
            Some(first) => *first,
            None => {
                let start = self.slice_indices(length, &[None, parts[0].clone(), None], span)?;
                start.len()
            }
        };
        self.items_mut(id).splice(from..from + indices.len(), new);
        Ok(())
    }

    fn augment(&mut self, target: &Expr<'_>, op: Binary, value: &Expr<'_>, span: Span) -> Eval<()> {
        let at = self.origin(span);
        match &target.kind {
            ExprKind::Name(name) => {
                let old = self.name(name, target.span)?;
                let new = self.expression(value)?;
                let val = self.in_place(op, old, &new, span)?;
                // The name keeps the place of its first value for containers, which stay the same object.
                self.globals.insert(
                    (*name).into(),
                    (
                        Item {
                            val,
                            at: at.clone(),
                        },
                        at,
                    ),
                );
                Ok(())
            }
            ExprKind::Postfix(base, trailers) => {
                let (holder, last) = self.holder(base, trailers, target.span)?;
                let old = match last {
                    Trailer::Attribute(name) => self.attribute(&holder, name, target.span)?,
                    Trailer::Index(index) => self.subscript(&holder, index, target.span)?,
                    Trailer::Call(_) => return self.fail(span, "this cannot be assigned to"),
                };
                let new = self.expression(value)?;
                let val = self.in_place(op, old, &new, span)?;
                self.assign_to(&holder, last, Item { val, at }, target.span)
            }
            _ => self.fail(target.span, "this cannot be assigned to"),
        }
    }

    /// `old op= new`: lists, sets and dicts are changed themselves, so all their names see it.
    fn in_place(&mut self, op: Binary, old: Val, new: &Val, span: Span) -> Eval<Val> {
        match (op, &old) {
            (Binary::Add, Val::List(id)) => {
                let more = self.iterate(new, span)?;
                self.size(self.items(*id).len() + more.len(), span)?;
                self.items_mut(*id).extend(more);
                Ok(old)
            }
            (Binary::Mul, Val::List(id)) => {
                let Val::List(made) = self.binary(op, &old, new, span)? else {
                    return Ok(old);
                };
                *self.items_mut(*id) = self.all_items(made, span)?;
                Ok(old)
            }
            (Binary::Or | Binary::And | Binary::Sub | Binary::Xor, Val::Set(id))
                if matches!(new, Val::Set(_)) =>
            {
                let Val::Set(made) = self.binary(op, &old, new, span)? else {
                    return Ok(old);
                };
                self.copies(self.set_items(made).len(), span)?;
                *self.set_items_mut(*id) = self.set_items(made).clone();
                Ok(old)
            }
            (Binary::Or, Val::Dict(id)) => {
                if self.is_config(*id)
                    && let Val::Dict(other) = new
                {
                    self.update_from(*id, *other, span, 0)?;
                    return Ok(old);
                }
                for (key, item, at) in self.pairs(new, span)? {
                    self.set_entry(*id, key, item, at, span)?;
                }
                Ok(old)
            }
            _ => self.binary(op, &old, new, span),
        }
    }

    fn delete(&mut self, target: &Expr<'_>) -> Eval<()> {
        let span = target.span;
        match &target.kind {
            ExprKind::Name(name) => {
                self.copies(self.globals.len(), span)?;
                match self.globals.shift_remove(*name) {
                    Some((item, _)) if matches!(item.val, Val::Poison) => Err(Halt::Poisoned),
                    Some(_) => Ok(()),
                    None => self.name(name, span).map(|_| ()),
                }
            }
            ExprKind::Tuple(targets) | ExprKind::List(targets) => {
                targets.iter().try_for_each(|t| self.delete(t))
            }
            ExprKind::Postfix(base, trailers) => {
                let (holder, last) = self.holder(base, trailers, span)?;
                match (&holder, last) {
                    (Val::Dict(id), Trailer::Attribute(name)) if self.is_config(*id) => {
                        self.remove_key(*id, &Key::Str((*name).into()), span)
                    }
                    (Val::Dict(id), Trailer::Index(index)) => {
                        let val = self.expression(index)?;
                        let key = self.key(&val, span)?;
                        self.remove_key(*id, &key, span)
                    }
                    (Val::List(id), Trailer::Index(index)) => {
                        let length = self.items(*id).len();
                        self.step(length / 8, span)?;
                        if let ExprKind::Slice(parts) = &index.kind {
                            let parts = self.slice_parts(parts)?;
                            let gone = self.slice_indices(length, &parts, span)?;
                            let gone: std::collections::HashSet<usize> = gone.into_iter().collect();
                            let mut at = 0..;
                            self.items_mut(*id)
                                .retain(|_| !at.next().is_some_and(|i| gone.contains(&i)));
                            return Ok(());
                        }
                        let index = self.expression(index)?;
                        let at = self.position(length, &index, &holder, span)?;
                        self.items_mut(*id).remove(at);
                        Ok(())
                    }
                    _ => self.fail(
                        span,
                        format!(
                            "nothing within a {} can be deleted",
                            self.type_name(&holder)
                        ),
                    ),
                }
            }
            _ => self.fail(span, "this cannot be deleted"),
        }
    }

    fn remove_key(&mut self, id: usize, key: &Key, span: Span) -> Eval<()> {
        self.step(self.map(id).len() / 8, span)?;
        match self.map_mut(id).shift_remove(key) {
            Some(_) => Ok(()),
            None => self.no_key(id, key, span),
        }
    }

    fn import(&mut self, alias: &Alias<'_>) -> Eval<()> {
        let top = alias.name.split('.').next().unwrap_or("");
        let val = if is_standard_module(&alias.name) {
            let module = if alias.rename.is_some() {
                &alias.name
            } else {
                top
            };
            Val::Module(module.into())
        } else if let Some(_rename) = alias.rename {
            Val::Lazy(Arc::new(Object {
                module: alias.name.as_str().into(),
                name: None,
            }))
        } else if self.lazy {
            // Gathered before the file runs.
            return Ok(());
        } else {
            Val::Lazy(Arc::new(Object {
                module: top.into(),
                name: None,
            }))
        };
        let name = alias.rename.unwrap_or(top);
        if self.lazy {
            self.imported.push(name.to_owned());
        }
        self.set_global(name, val, alias.span);
        Ok(())
    }

    /// `import a.b` of other packages makes `a` known before the file runs, in lazy style.
    pub(in super::super) fn gather_imports(&mut self, statements: &[Stmt<'_>]) {
        let mut names: indexmap::IndexMap<&str, Span> = indexmap::IndexMap::new();
        for statement in statements {
            let StmtKind::Import(list) = &statement.kind else {
                continue;
            };
            for alias in list
                .iter()
                .filter(|a| a.rename.is_none() && !is_standard_module(&a.name))
            {
                let top = alias.name.split('.').next().unwrap_or("");
                names.entry(top).or_insert(alias.span);
            }
        }
        for (name, span) in names.into_iter().rev() {
            let module = Object {
                module: name.into(),
                name: None,
            };
            self.imported.push(name.to_owned());
            self.set_global(name, Val::Lazy(Arc::new(module)), span);
        }
    }

    /// Names imported from bases are known before the file runs, in lazy style.
    pub(in super::super) fn import_bases(&mut self, statements: &[Stmt<'_>]) -> Eval<()> {
        for statement in statements {
            let span = statement.span;
            match &statement.kind {
                StmtKind::ImportFrom(from) => {
                    let Some(Val::Dict(id)) = self.modules.get(&from.dotted()).cloned() else {
                        continue;
                    };
                    let Some(names) = &from.names else {
                        for (key, item, at) in self.all_entries(id, span)? {
                            if let Key::Str(name) = key {
                                self.globals.insert(name, (item, at));
                            }
                        }
                        continue;
                    };
                    for alias in names {
                        let key = Key::Str(alias.name.as_str().into());
                        let Some(val) = self.entry(id, &key) else {
                            let known: Vec<String> =
                                self.map(id).keys().map(ToString::to_string).collect();
                            let message = format!("`{}` has no `{}`", from.dotted(), alias.name);
                            let mut error = self.diagnostic(Kind::Evaluate, message, alias.span);
                            let near = super::super::nearest::nearest(
                                &alias.name,
                                known.iter().map(String::as_str),
                            );
                            if let Some(near) = near {
                                error = error.help(format!("did you mean `{near}`?"));
                            }
                            self.errors.push(error);
                            continue;
                        };
                        self.set_global(alias.rename.unwrap_or(&alias.name), val, alias.span);
                    }
                }
                StmtKind::With(_, body) | StmtKind::If(_, body, _) => self.import_bases(body)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn import_from(&mut self, from: &ImportFrom<'_>, span: Span) -> Eval<()> {
        let module = from.dotted();
        // Its names were set before the file ran.
        if self.modules.contains_key(&module) {
            return Ok(());
        }
        let Some(names) = &from.names else {
            return self.fail_help(
                span,
                format!("`from {module} import *` is for bases only"),
                "import a base within `with read_base():`, and name what you need of other packages",
            );
        };
        for alias in names {
            let val = self.imported_name(&module, &alias.name);
            let name = alias.rename.unwrap_or(&alias.name);
            if self.lazy {
                self.imported.push(name.to_owned());
            }
            self.set_global(name, val, alias.span);
        }
        Ok(())
    }

    /// Why this file is a program and no config, if it is one.
    pub(in super::super) fn script(&self, statements: &[Stmt<'_>]) -> Option<Diagnostic> {
        let mut reasons: Vec<(&str, Span)> = Vec::new();
        let defines = statements
            .iter()
            .find(|s| matches!(s.kind, StmtKind::Def(_)));
        for statement in statements {
            match &statement.kind {
                StmtKind::Import(names) if names.iter().any(|n| n.name == "argparse") => {
                    reasons.push(("it reads a command line", statement.span));
                }
                StmtKind::ImportFrom(from) if from.module == "argparse" => {
                    reasons.push(("it reads a command line", statement.span));
                }
                StmtKind::If(test, ..) if defines.is_some() && is_main_guard(test) => {
                    reasons.push(("it runs as a program", statement.span));
                }
                _ => {}
            }
        }
        if reasons.is_empty() {
            // In lazy style a function would be a value of the config.
            let first = defines.filter(|_| self.lazy)?;
            reasons.push(("it defines a function", first.span));
        }
        let mut diagnostic =
            Diagnostic::error("this file is a Python program, not a config").kind(Kind::Script);
        for (reason, span) in reasons {
            diagnostic = diagnostic.at(&self.origin(span), reason);
        }
        Some(diagnostic.help("run it with Python; a config only says what its values are"))
    }
}

/// `read_base()`
pub(in super::super) fn is_read_base(expr: &Expr<'_>) -> bool {
    let ExprKind::Postfix(base, trailers) = &expr.kind else {
        return false;
    };
    match (&base.kind, trailers.as_slice()) {
        (ExprKind::Name("read_base"), [(Trailer::Call(a), _)]) => a.is_empty(),
        (
            ExprKind::Name(_),
            [
                ..,
                (Trailer::Attribute("read_base"), _),
                (Trailer::Call(a), _),
            ],
        ) => a.is_empty(),
        _ => false,
    }
}

/// `__name__ == '__main__'`
fn is_main_guard(test: &Expr<'_>) -> bool {
    let ExprKind::Compare(first, rest) = &test.kind else {
        return false;
    };
    matches!(first.kind, ExprKind::Name("__name__"))
        && rest
            .iter()
            .any(|(_, e)| matches!(&e.kind, ExprKind::Str(s) if &**s == "__main__"))
}
