//! Statements, on top of the parser's expressions.

use super::ast::*;
use super::lexer::{Tok, Wrong};
use super::parser::{Parsed, Parser};

impl<'t> Parser<'t> {
    pub(super) fn statement(&mut self, into: &mut Vec<Stmt<'t>>) -> Parsed<()> {
        let start = self.span();
        let word = match *self.tok() {
            Tok::Name(word) => word,
            Tok::Indent => return Err(self.expected("an unindented line")),
            _ => "",
        };
        let kind = match word {
            "if" => self.if_statement()?,
            "for" => self.for_statement()?,
            "while" => {
                self.at += 1;
                let test = self.named_expression()?;
                let body = self.block()?;
                StmtKind::While(test, body, self.else_block()?)
            }
            "with" => self.with_statement()?,
            "def" | "class" | "async" | "try" | "@" => self.skipped(word)?,
            "match" if matches!(self.peek(1), Tok::Name(_)) => self.skipped("match")?,
            _ if self.op("@") => self.skipped("@")?,
            _ => return self.simple_line(into),
        };
        let span = self.since(start);
        into.push(Stmt { kind, span });
        Ok(())
    }

    fn simple_line(&mut self, into: &mut Vec<Stmt<'t>>) -> Parsed<()> {
        loop {
            let start = self.span();
            let kind = self.simple()?;
            let span = self.since(start);
            into.push(Stmt { kind, span });
            if !self.take_op(";") || self.is(&Tok::Newline) {
                break;
            }
        }
        if self.is(&Tok::Newline) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected("the end of the line"))
    }

    fn block(&mut self) -> Parsed<Vec<Stmt<'t>>> {
        self.expect_op(":")?;
        let mut body = Vec::new();
        if !self.is(&Tok::Newline) {
            self.simple_line(&mut body)?;
            return Ok(body);
        }
        self.at += 1;
        if !self.is(&Tok::Indent) {
            return Err(self.expected("an indented block"));
        }
        self.at += 1;
        while !self.is(&Tok::Dedent) && !self.is(&Tok::End) {
            self.deeper(|p| p.statement(&mut body))?;
        }
        self.at += 1;
        Ok(body)
    }

    fn else_block(&mut self) -> Parsed<Vec<Stmt<'t>>> {
        if self.take_word("else") {
            self.block()
        } else {
            Ok(Vec::new())
        }
    }

    fn if_statement(&mut self) -> Parsed<StmtKind<'t>> {
        self.at += 1;
        let test = self.named_expression()?;
        let body = self.block()?;
        let start = self.span();
        let other = if self.word("elif") {
            let kind = self.deeper(Self::if_statement)?;
            let span = self.since(start);
            vec![Stmt { kind, span }]
        } else {
            self.else_block()?
        };
        Ok(StmtKind::If(test, body, other))
    }

    fn for_statement(&mut self) -> Parsed<StmtKind<'t>> {
        self.at += 1;
        let target = self.target_list()?;
        if !self.take_word("in") {
            return Err(self.expected("`in`"));
        }
        let items = self.expression_list()?;
        let body = self.block()?;
        Ok(StmtKind::For(
            Box::new((target, items)),
            body,
            self.else_block()?,
        ))
    }

    fn with_statement(&mut self) -> Parsed<StmtKind<'t>> {
        self.at += 1;
        let mut items = vec![self.expression()?];
        while self.take_op(",") {
            items.push(self.expression()?);
        }
        if self.take_word("as") {
            self.target_list()?;
        }
        Ok(StmtKind::With(items, self.block()?))
    }

    /// Functions, classes and the like are passed over without being parsed.
    fn skipped(&mut self, word: &str) -> Parsed<StmtKind<'t>> {
        let kind = match word {
            "def" => match *self.peek(1) {
                Tok::Name(name) => StmtKind::Def(name),
                _ => return Err(self.expected("a function's name")),
            },
            "class" => StmtKind::Unsupported("class"),
            "async" => StmtKind::Unsupported("async"),
            "try" => StmtKind::Unsupported("try"),
            "match" => StmtKind::Unsupported("match"),
            _ => StmtKind::Unsupported("a decorator"),
        };
        while !self.is(&Tok::Newline) && !self.is(&Tok::End) {
            self.at += 1;
        }
        self.at += 1;
        if self.is(&Tok::Indent) {
            let mut depth = 0;
            loop {
                match self.tok() {
                    Tok::Indent => depth += 1,
                    Tok::Dedent => depth -= 1,
                    Tok::End => break,
                    _ => {}
                }
                self.at += 1;
                if depth == 0 {
                    break;
                }
            }
        }
        // The other parts of `try`.
        if word == "try" && ["except", "finally", "else"].iter().any(|w| self.word(w)) {
            return self.skipped("try");
        }
        Ok(kind)
    }

    fn simple(&mut self) -> Parsed<StmtKind<'t>> {
        let word = match *self.tok() {
            Tok::Name(word) => word,
            _ => "",
        };
        for keyword in ["return", "raise", "global", "nonlocal", "yield", "await"] {
            if word == keyword {
                while !self.is(&Tok::Newline) && !self.is(&Tok::End) && !self.op(";") {
                    self.at += 1;
                }
                return Ok(StmtKind::Unsupported(keyword));
            }
        }
        match word {
            "pass" | "break" | "continue" => {
                self.at += 1;
                Ok(match word {
                    "pass" => StmtKind::Pass,
                    "break" => StmtKind::Break,
                    _ => StmtKind::Continue,
                })
            }
            "del" => {
                self.at += 1;
                let list = self.target_list()?;
                Ok(StmtKind::Delete(match list.kind {
                    ExprKind::Tuple(items) => items,
                    _ => vec![list],
                }))
            }
            "assert" => {
                self.at += 1;
                let test = self.expression()?;
                let message = self.take_op(",").then(|| self.expression()).transpose()?;
                Ok(StmtKind::Assert(test, message))
            }
            "import" => {
                self.at += 1;
                let mut names = vec![self.alias(true)?];
                while self.take_op(",") {
                    names.push(self.alias(true)?);
                }
                Ok(StmtKind::Import(names))
            }
            "from" => self.import_from(),
            _ => self.expression_statement(),
        }
    }

    fn dotted(&mut self) -> Parsed<String> {
        let mut name = self.name()?.to_owned();
        while self.take_op(".") {
            name.push('.');
            name.push_str(self.name()?);
        }
        Ok(name)
    }

    fn alias(&mut self, dotted: bool) -> Parsed<Alias<'t>> {
        let start = self.span();
        let name = if dotted {
            self.dotted()?
        } else {
            self.name()?.to_owned()
        };
        let rename = self.take_word("as").then(|| self.name()).transpose()?;
        let span = self.since(start);
        Ok(Alias { name, rename, span })
    }

    fn import_from(&mut self) -> Parsed<StmtKind<'t>> {
        self.at += 1;
        let mut level = 0;
        loop {
            if self.take_op(".") {
                level += 1;
            } else if self.take_op("...") {
                level += 3;
            } else {
                break;
            }
        }
        let module = if self.word("import") {
            String::new()
        } else {
            self.dotted()?
        };
        if !self.take_word("import") {
            return Err(self.expected("`import`"));
        }
        let mut names = None;
        if !self.take_op("*") {
            let bracket = self.take_op("(");
            let mut list = vec![self.alias(false)?];
            while self.take_op(",") && !(bracket && self.op(")")) {
                list.push(self.alias(false)?);
            }
            if bracket {
                self.expect_op(")")?;
            }
            names = Some(list);
        }
        Ok(StmtKind::ImportFrom(ImportFrom {
            level,
            module,
            names,
        }))
    }

    fn expression_statement(&mut self) -> Parsed<StmtKind<'t>> {
        let first = self.expression_list()?;
        if let Tok::Op(op) = *self.tok() {
            if let Some(binary) = op.strip_suffix('=').and_then(Binary::of)
                && !matches!(op, "<=" | ">=" | "==")
            {
                self.at += 1;
                let value = self.expression_list()?;
                check_target(&first)?;
                return Ok(StmtKind::AugAssign(first, binary, value));
            }
            if op == ":" {
                self.at += 1;
                self.expression()?;
                check_target(&first)?;
                return Ok(if self.take_op("=") {
                    StmtKind::Assign(vec![first], self.expression_list()?)
                } else {
                    StmtKind::Pass
                });
            }
        }
        if !self.op("=") {
            return Ok(StmtKind::Expr(first));
        }
        let mut targets = vec![first];
        while self.take_op("=") {
            targets.push(self.expression_list()?);
        }
        let value = targets.pop().ok_or_else(|| self.expected("a value"))?;
        targets.iter().try_for_each(check_target)?;
        Ok(StmtKind::Assign(targets, value))
    }
}

/// Only names, attributes, items and sequences of them can be assigned to.
pub(super) fn check_target(target: &Expr<'_>) -> Parsed<()> {
    match &target.kind {
        ExprKind::Name(_) => Ok(()),
        ExprKind::Postfix(_, trailers)
            if !matches!(trailers.last(), Some((Trailer::Call(_), _))) =>
        {
            Ok(())
        }
        ExprKind::Tuple(items) | ExprKind::List(items) => items.iter().try_for_each(check_target),
        ExprKind::Starred(inner) => check_target(inner),
        _ => {
            let span = target.span;
            let mut wrong = Wrong::new(
                "this cannot be assigned to",
                span.start as usize,
                span.end as usize,
            );
            wrong.help = Some(
                "to compare, write `==`; a key of a dict is set with `d['key'] = value`".into(),
            );
            Err(wrong)
        }
    }
}
