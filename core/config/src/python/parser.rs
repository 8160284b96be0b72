//! Tokens to the syntax tree, by recursive descent.

use super::super::diagnostic::Kind;
use super::super::source::Span;
use super::super::substitute::with_data;
use super::ast::*;
use super::lexer::{Tok, Token, Wrong, bad_escape, expression_tokens, tokens};
use super::statements::check_target;
use super::strings::{RawPiece, split, unescape};

/// How deep expressions and blocks may be nested.
const DEPTH: usize = 64;

/// How many constants, names and operators a file may have.
const TOKENS: usize = 4_000_000;

pub(super) type Parsed<T> = Result<T, Wrong>;

/// Parses a whole file.
pub(crate) fn parse(text: &str) -> Parsed<Vec<Stmt<'_>>> {
    let mut parser = Parser::new(text, tokens(text)?)?;
    let mut statements = Vec::new();
    while !parser.is(&Tok::End) {
        parser.statement(&mut statements)?;
    }
    Ok(statements)
}

/// Parses a single expression.
pub(crate) fn parse_expression(text: &str) -> Parsed<Expr<'_>> {
    let mut parser = Parser::new(text, expression_tokens(text, 0, text.len())?)?;
    let value = parser.expression_list()?;
    parser.expect_end()?;
    Ok(value)
}

pub(super) struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    pub(super) at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, tokens: Vec<Token<'t>>) -> Parsed<Self> {
        if tokens.len() > TOKENS {
            return Err(limit("this file is too large for a config", tokens[0].span));
        }
        Ok(Self {
            text,
            tokens,
            at: 0,
            depth: 0,
        })
    }

    pub(super) fn tok(&self) -> &Tok<'t> {
        &self.tokens[self.at.min(self.tokens.len() - 1)].tok
    }

    pub(super) fn peek(&self, ahead: usize) -> &Tok<'t> {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    pub(super) fn span(&self) -> Span {
        self.tokens[self.at.min(self.tokens.len() - 1)].span
    }

    /// The span from `start` to the last token read.
    pub(super) fn since(&self, start: Span) -> Span {
        start.to(self.tokens[self.at.max(1) - 1].span)
    }

    pub(super) fn is(&self, tok: &Tok<'t>) -> bool {
        self.tok() == tok
    }

    pub(super) fn op(&self, op: &str) -> bool {
        matches!(self.tok(), Tok::Op(o) if *o == op)
    }

    pub(super) fn word(&self, word: &str) -> bool {
        matches!(self.tok(), Tok::Name(n) if *n == word)
    }

    pub(super) fn take_op(&mut self, op: &str) -> bool {
        let found = self.op(op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expected(&self, what: &str) -> Wrong {
        let found = match self.tok() {
            Tok::Newline => "the line ends".to_owned(),
            Tok::End => "the text ends".to_owned(),
            Tok::Indent => "the line is indented".to_owned(),
            Tok::Dedent => "the block ends".to_owned(),
            _ => {
                let span = self.span();
                let text = self.text.get(span.start as usize..span.end as usize);
                format!("`{}` was found", text.unwrap_or(""))
            }
        };
        let span = self.span();
        Wrong::new(
            format!("{what} was expected, but {found}"),
            span.start as usize,
            span.end as usize,
        )
    }

    pub(super) fn expect_op(&mut self, op: &'static str) -> Parsed<()> {
        if self.take_op(op) {
            return Ok(());
        }
        let mut wrong = self.expected(&format!("`{op}`"));
        if op == ")" || op == "]" || op == "}" {
            wrong.help = Some("a comma may be missing before this".into());
            let begins = matches!(
                self.tok(),
                Tok::Name(_) | Tok::Str(_) | Tok::Int(_) | Tok::Float(_)
            );
            let before = self.at.checked_sub(1).filter(|_| begins);
            wrong.comma = before.map(|i| self.tokens[i].span.end as usize);
        }
        Err(wrong)
    }

    fn expect_end(&mut self) -> Parsed<()> {
        if self.is(&Tok::End) {
            Ok(())
        } else {
            Err(self.expected("the end"))
        }
    }

    pub(super) fn name(&mut self) -> Parsed<&'t str> {
        match *self.tok() {
            Tok::Name(name) if !is_keyword(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// Runs a part of the grammar one level deeper.
    pub(super) fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH {
            return Err(limit("expressions are nested too deep here", self.span()));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    // Expressions, from the loosest binding to the tightest.

    /// One expression, or a tuple without brackets.
    pub(super) fn expression_list(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let first = self.starred_or_named()?;
        if !self.op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_op(",") && self.starts_expression() {
            items.push(self.starred_or_named()?);
        }
        Ok(Expr {
            kind: ExprKind::Tuple(items),
            span: self.since(start),
        })
    }

    /// The targets of `for` and `del`: postfix expressions, since `in` would end them.
    pub(super) fn target_list(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let mut items = vec![self.target()?];
        let mut tuple = false;
        while self.take_op(",") {
            tuple = true;
            if !self.starts_expression() || self.word("in") {
                break;
            }
            items.push(self.target()?);
        }
        items.iter().try_for_each(check_target)?;
        match items.pop() {
            Some(single) if !tuple => Ok(single),
            last => {
                items.extend(last);
                Ok(Expr {
                    kind: ExprKind::Tuple(items),
                    span: self.since(start),
                })
            }
        }
    }

    fn target(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        if self.take_op("*") {
            let inner = Box::new(self.deeper(Self::postfix)?);
            return Ok(Expr {
                kind: ExprKind::Starred(inner),
                span: self.since(start),
            });
        }
        self.deeper(Self::postfix)
    }

    fn starts_expression(&self) -> bool {
        match self.tok() {
            Tok::Op(op) => matches!(*op, "(" | "[" | "{" | "-" | "+" | "~" | "*" | "..."),
            Tok::Name(word) => {
                !is_keyword(word)
                    || matches!(
                        *word,
                        "None" | "True" | "False" | "not" | "lambda" | "await"
                    )
            }
            Tok::Newline | Tok::Indent | Tok::Dedent | Tok::End => false,
            _ => true,
        }
    }

    fn starred_or_named(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        if self.take_op("*") {
            let inner = Box::new(self.expression()?);
            return Ok(Expr {
                kind: ExprKind::Starred(inner),
                span: self.since(start),
            });
        }
        self.named_expression()
    }

    pub(super) fn named_expression(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        if let (Tok::Name(name), Tok::Op(":=")) = (self.tok().clone(), self.peek(1)) {
            self.at += 2;
            let value = Box::new(self.expression()?);
            return Ok(Expr {
                kind: ExprKind::Named(name, value),
                span: self.since(start),
            });
        }
        self.expression()
    }

    pub(super) fn expression(&mut self) -> Parsed<Expr<'t>> {
        self.deeper(|p| {
            let start = p.span();
            if p.word("lambda") {
                return p.lambda();
            }
            let value = p.or_test()?;
            if !p.take_word("if") {
                return Ok(value);
            }
            let test = p.or_test()?;
            if !p.take_word("else") {
                return Err(p.expected("`else`"));
            }
            let other = p.expression()?;
            Ok(Expr {
                kind: ExprKind::If(Box::new([value, test, other])),
                span: p.since(start),
            })
        })
    }

    fn lambda(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let mut depth = 0;
        while !(depth == 0 && self.op(":")) {
            match self.tok() {
                Tok::Op("(" | "[" | "{") => depth += 1,
                Tok::Op(")" | "]" | "}") => depth -= 1,
                Tok::Newline | Tok::End => return Err(self.expected("`:`")),
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        self.expression()?;
        Ok(Expr {
            kind: ExprKind::Unsupported("a lambda"),
            span: self.since(start),
        })
    }

    fn or_test(&mut self) -> Parsed<Expr<'t>> {
        self.words("or", Self::and_test, ExprKind::Or)
    }

    fn and_test(&mut self) -> Parsed<Expr<'t>> {
        self.words("and", Self::not_test, ExprKind::And)
    }

    fn words(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Parsed<Expr<'t>>,
        make: fn(Vec<Expr<'t>>) -> ExprKind<'t>,
    ) -> Parsed<Expr<'t>> {
        let start = self.span();
        let first = part(self)?;
        if !self.word(word) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_word(word) {
            items.push(part(self)?);
        }
        Ok(Expr {
            kind: make(items),
            span: self.since(start),
        })
    }

    fn not_test(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        if !self.take_word("not") {
            return self.comparison();
        }
        let inner = Box::new(self.deeper(Self::not_test)?);
        Ok(Expr {
            kind: ExprKind::Unary(Unary::Not, inner),
            span: self.since(start),
        })
    }

    fn comparison(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let first = self.binary(0)?;
        let mut rest = Vec::new();
        while let Some(compare) = self.compare_sign() {
            rest.push((compare, self.binary(0)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr {
            kind: ExprKind::Compare(Box::new(first), rest),
            span: self.since(start),
        })
    }

    fn compare_sign(&mut self) -> Option<Compare> {
        let (compare, length) = match (self.tok(), self.peek(1)) {
            (Tok::Op("=="), _) => (Compare::Equal, 1),
            (Tok::Op("!="), _) => (Compare::NotEqual, 1),
            (Tok::Op("<"), _) => (Compare::Less, 1),
            (Tok::Op("<="), _) => (Compare::LessEqual, 1),
            (Tok::Op(">"), _) => (Compare::Greater, 1),
            (Tok::Op(">="), _) => (Compare::GreaterEqual, 1),
            (Tok::Name("in"), _) => (Compare::In, 1),
            (Tok::Name("not"), Tok::Name("in")) => (Compare::NotIn, 2),
            (Tok::Name("is"), Tok::Name("not")) => (Compare::IsNot, 2),
            (Tok::Name("is"), _) => (Compare::Is, 1),
            _ => return None,
        };
        self.at += length;
        Some(compare)
    }

    /// Binary operators of the given level and all that bind tighter.
    fn binary(&mut self, level: usize) -> Parsed<Expr<'t>> {
        const LEVELS: [&[&str]; 6] = [
            &["|"],
            &["^"],
            &["&"],
            &["<<", ">>"],
            &["+", "-"],
            &["*", "/", "//", "%", "@"],
        ];
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let start = self.span();
        let first = self.binary(level + 1)?;
        let mut rest = Vec::new();
        while let Tok::Op(op) = *self.tok()
            && operators.contains(&op)
        {
            let Some(binary) = Binary::of(op) else {
                return Err(self.expected("an operator on numbers"));
            };
            self.at += 1;
            rest.push((binary, self.binary(level + 1)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr {
            kind: ExprKind::Binary(Box::new(first), rest),
            span: self.since(start),
        })
    }

    fn unary(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let unary = match self.tok() {
            Tok::Op("-") => Unary::Minus,
            Tok::Op("+") => Unary::Plus,
            Tok::Op("~") => Unary::Invert,
            _ => return self.power(),
        };
        self.at += 1;
        let inner = Box::new(self.deeper(Self::unary)?);
        Ok(Expr {
            kind: ExprKind::Unary(unary, inner),
            span: self.since(start),
        })
    }

    fn power(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let base = self.postfix()?;
        if !self.take_op("**") {
            return Ok(base);
        }
        // The exponent may have a sign, and another power: 2**-3**2.
        let exponent = self.deeper(Self::unary)?;
        Ok(Expr {
            kind: ExprKind::Power(Box::new(base), Box::new(exponent)),
            span: self.since(start),
        })
    }

    fn postfix(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let base = self.atom()?;
        let mut trailers = Vec::new();
        loop {
            let from = self.span();
            let trailer = if self.take_op(".") {
                match *self.tok() {
                    Tok::Name(name) => self.at += usize::from(!name.is_empty()),
                    _ => return Err(self.expected("a name")),
                }
                match self.tokens[self.at - 1].tok {
                    Tok::Name(name) => Trailer::Attribute(name),
                    _ => return Err(self.expected("a name")),
                }
            } else if self.take_op("(") {
                let arguments = self.deeper(Self::arguments)?;
                Trailer::Call(arguments)
            } else if self.take_op("[") {
                let index = self.deeper(Self::subscript)?;
                self.expect_op("]")?;
                Trailer::Index(Box::new(index))
            } else {
                break;
            };
            trailers.push((trailer, self.since(from)));
        }
        if trailers.is_empty() {
            return Ok(base);
        }
        Ok(Expr {
            kind: ExprKind::Postfix(Box::new(base), trailers),
            span: self.since(start),
        })
    }

    fn arguments(&mut self) -> Parsed<Vec<Argument<'t>>> {
        let mut list = Vec::new();
        while !self.op(")") {
            let start = self.span();
            let argument = if self.take_op("**") {
                Argument::StarStar(self.expression()?)
            } else if self.take_op("*") {
                Argument::Star(self.expression()?)
            } else if let (Tok::Name(_), Tok::Op("=")) = (self.tok(), self.peek(1)) {
                let name = self.name()?;
                self.at += 1;
                Argument::Named(name, start, self.expression()?)
            } else {
                let value = self.named_expression()?;
                if self.word("for") {
                    let span = value.span;
                    Argument::Positional(self.comprehension(Made::Generator, value, span)?)
                } else {
                    Argument::Positional(value)
                }
            };
            let named = |a: &Argument| matches!(a, Argument::Named(..) | Argument::StarStar(_));
            if matches!(argument, Argument::Positional(_)) && list.iter().any(named) {
                let message = "a positional argument cannot follow a named one";
                return Err(Wrong::new(
                    message,
                    start.start as usize,
                    start.end as usize,
                ));
            }
            list.push(argument);
            if !self.take_op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(list)
    }

    fn subscript(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let first = self.slice()?;
        if !self.op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_op(",") && !self.op("]") {
            items.push(self.slice()?);
        }
        Ok(Expr {
            kind: ExprKind::Tuple(items),
            span: self.since(start),
        })
    }

    fn slice(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let ends = |p: &Self| p.op(":") || p.op("]") || p.op(",");
        let from = if ends(self) {
            None
        } else {
            Some(self.named_expression()?)
        };
        if !self.take_op(":") {
            return from.ok_or_else(|| self.expected("an index"));
        }
        let to = if ends(self) {
            None
        } else {
            Some(self.expression()?)
        };
        let mut step = None;
        if self.take_op(":") && !ends(self) {
            step = Some(self.expression()?);
        }
        Ok(Expr {
            kind: ExprKind::Slice(Box::new([from, to, step])),
            span: self.since(start),
        })
    }

    fn loops(&mut self) -> Parsed<Vec<Loop<'t>>> {
        let mut loops: Vec<Loop<'t>> = Vec::new();
        loop {
            if self.take_word("for") {
                let target = self.target_list()?;
                if !self.take_word("in") {
                    return Err(self.expected("`in`"));
                }
                loops.push(Loop {
                    target,
                    items: self.or_test()?,
                    conditions: Vec::new(),
                });
                if loops.len() > 16 {
                    return Err(limit("this comprehension has too many loops", self.span()));
                }
            } else if self.word("if")
                && let Some(last) = loops.last_mut()
            {
                self.at += 1;
                last.conditions.push(self.or_test()?);
            } else {
                return Ok(loops);
            }
        }
    }

    fn comprehension(&mut self, made: Made, element: Expr<'t>, start: Span) -> Parsed<Expr<'t>> {
        let loops = self.loops()?;
        Ok(Expr {
            kind: ExprKind::Comprehension(made, Box::new(element), loops),
            span: self.since(start),
        })
    }

    fn atom(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let kind = match self.tok().clone() {
            Tok::Name("None") => ExprKind::None,
            Tok::Name("True") => ExprKind::Bool(true),
            Tok::Name("False") => ExprKind::Bool(false),
            Tok::Name(word @ ("yield" | "await")) => {
                self.at += 1;
                self.expression()?;
                let what = if word == "yield" {
                    "`yield`"
                } else {
                    "`await`"
                };
                return Ok(Expr {
                    kind: ExprKind::Unsupported(what),
                    span: self.since(start),
                });
            }
            Tok::Name(name) if !is_keyword(name) => ExprKind::Name(name),
            Tok::Int(value) => ExprKind::Int(value),
            Tok::Float(value) => ExprKind::Float(value),
            Tok::Str(_) | Tok::Format(..) => return self.strings(),
            Tok::Op("...") => ExprKind::Unsupported("`...`"),
            Tok::Op("(") => return self.bracketed(")"),
            Tok::Op("[") => return self.bracketed("]"),
            Tok::Op("{") => return self.deeper(Self::braces),
            _ => return Err(self.expected("a value")),
        };
        self.at += 1;
        let span = start;
        Ok(Expr { kind, span })
    }

    /// Neighbouring string literals are one.
    fn strings(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        let mut pieces: Vec<Piece<'t>> = Vec::new();
        let mut formats = false;
        let mut text = String::new();
        let mut single = None;
        loop {
            match self.tok().clone() {
                Tok::Str(value) => {
                    self.at += 1;
                    if text.is_empty()
                        && !formats
                        && !matches!(self.tok(), Tok::Str(_) | Tok::Format(..))
                    {
                        single = Some(value);
                        break;
                    }
                    text.push_str(&value);
                }
                Tok::Format(from, to, raw) => {
                    self.at += 1;
                    formats = true;
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    self.deeper(|p| p.pieces(from, to, raw, false, &mut pieces))?;
                }
                _ => break,
            }
        }
        let kind = if formats {
            if !text.is_empty() {
                pieces.push(Piece::Text(text));
            }
            ExprKind::Format(pieces)
        } else {
            ExprKind::Str(single.unwrap_or_else(|| text.into()))
        };
        let span = self.since(start);
        Ok(Expr { kind, span })
    }

    /// The parts of an f-string, or of a format specification within one.
    fn pieces(
        &mut self,
        from: usize,
        to: usize,
        raw: bool,
        nested: bool,
        into: &mut Vec<Piece<'t>>,
    ) -> Parsed<()> {
        let wrong = |(at, message): (usize, &'static str)| Wrong::new(message, at, at + 1);
        for piece in split(self.text, from, to, nested).map_err(wrong)? {
            match piece {
                RawPiece::Text(start, end) => {
                    let body = &self.text[start..end];
                    let text =
                        unescape(body, raw).map_err(|wrong| bad_escape(self.text, start, wrong))?;
                    into.push(Piece::Text(with_data(body, text).into_owned()));
                }
                RawPiece::Field {
                    start,
                    end,
                    debug,
                    conversion,
                    spec,
                } => {
                    let inner = expression_tokens(self.text, start, end)?;
                    let mut parser = Parser::new(self.text, inner)?;
                    parser.depth = self.depth;
                    let value = Box::new(parser.expression_list()?);
                    parser.expect_end()?;
                    let mut pieces = Vec::new();
                    if let Some((start, end)) = spec {
                        self.deeper(|p| p.pieces(start, end, raw, true, &mut pieces))?;
                    }
                    into.push(Piece::Field {
                        value,
                        conversion,
                        spec: pieces,
                        debug: debug.then(|| self.text[start..end].to_owned() + "="),
                    });
                }
            }
        }
        Ok(())
    }

    /// A tuple, a list, a comprehension, or an expression in brackets.
    fn bracketed(&mut self, close: &'static str) -> Parsed<Expr<'t>> {
        self.deeper(|p| {
            let start = p.span();
            let round = close == ")";
            p.at += 1;
            let mut items = Vec::new();
            let mut comma = false;
            while !p.op(close) {
                items.push(p.starred_or_named()?);
                if items.len() == 1 && p.word("for") {
                    let made = if round { Made::Generator } else { Made::List };
                    let Some(element) = items.pop() else { break };
                    let loops = p.loops()?;
                    p.expect_op(close)?;
                    return Ok(Expr {
                        kind: ExprKind::Comprehension(made, Box::new(element), loops),
                        span: p.since(start),
                    });
                }
                comma = p.take_op(",");
                if !comma {
                    break;
                }
            }
            p.expect_op(close)?;
            let span = p.since(start);
            if round && items.len() == 1 && !comma {
                return match items.pop() {
                    // The brackets belong to the place of the value.
                    Some(Expr { kind, .. }) if !matches!(kind, ExprKind::Starred(_)) => {
                        Ok(Expr { kind, span })
                    }
                    _ => Err(Wrong::new(
                        "`*` needs a list or tuple around it",
                        span.start as usize,
                        span.end as usize,
                    )),
                };
            }
            let kind = if round {
                ExprKind::Tuple(items)
            } else {
                ExprKind::List(items)
            };
            Ok(Expr { kind, span })
        })
    }

    /// A dict, a set, or a comprehension of one.
    fn braces(&mut self) -> Parsed<Expr<'t>> {
        let start = self.span();
        self.at += 1;
        let (mut entries, mut items) = (Vec::new(), Vec::new());
        while !self.op("}") {
            if self.take_op("**") {
                entries.push((None, self.binary(0)?));
            } else {
                let first = self.starred_or_named()?;
                if self.take_op(":") {
                    let value = self.expression()?;
                    if entries.is_empty() && items.is_empty() && self.word("for") {
                        let loops = self.loops()?;
                        self.expect_op("}")?;
                        return Ok(Expr {
                            kind: ExprKind::DictComprehension(Box::new((first, value)), loops),
                            span: self.since(start),
                        });
                    }
                    entries.push((Some(first), value));
                } else if entries.is_empty() && items.is_empty() && self.word("for") {
                    let mut made = self.comprehension(Made::Set, first, start)?;
                    self.expect_op("}")?;
                    made.span = self.since(start);
                    return Ok(made);
                } else {
                    items.push(first);
                }
            }
            if !entries.is_empty() && !items.is_empty() {
                return Err(self.expected("`:` and a value"));
            }
            if !self.take_op(",") {
                break;
            }
        }
        self.expect_op("}")?;
        let kind = if items.is_empty() {
            ExprKind::Dict(entries)
        } else {
            ExprKind::Set(items)
        };
        Ok(Expr {
            kind,
            span: self.since(start),
        })
    }
}

fn limit(message: &str, span: Span) -> Wrong {
    let mut wrong = Wrong::new(message, span.start as usize, span.end as usize);
    wrong.kind = Kind::Limit;
    wrong
}

/// Words that cannot be names.
pub(crate) fn is_keyword(word: &str) -> bool {
    const WORDS: [&str; 35] = [
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class",
        "continue", "def", "del", "elif", "else", "except", "finally", "for", "from", "global",
        "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return",
        "try", "while", "with", "yield",
    ];
    WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> ExprKind<'_> {
        parse_expression(text).unwrap().kind
    }

    #[test]
    fn precedence() {
        // -640 // 2 is (-640) // 2; -2**2 is -(2**2).
        let ExprKind::Binary(first, rest) = value("-640 // 2") else {
            panic!()
        };
        assert!(matches!(first.kind, ExprKind::Unary(Unary::Minus, _)));
        assert_eq!(rest[0].0, Binary::FloorDiv);
        assert!(matches!(value("-2**2"), ExprKind::Unary(Unary::Minus, _)));
        assert!(matches!(
            value("not a == b"),
            ExprKind::Unary(Unary::Not, _)
        ));
        assert!(matches!(
            value("a if b else c if d else e"),
            ExprKind::If(_)
        ));
        assert!(matches!(value("1 + 2 < 3 | 4"), ExprKind::Compare(..)));
    }

    #[test]
    fn tuples_and_brackets() {
        assert!(matches!(value("('a')"), ExprKind::Str(_)));
        assert!(matches!(value("('a',)"), ExprKind::Tuple(i) if i.len() == 1));
        assert!(matches!(value("1, 2,"), ExprKind::Tuple(i) if i.len() == 2));
        assert!(matches!(value("()"), ExprKind::Tuple(i) if i.is_empty()));
        assert!(matches!(value("{}"), ExprKind::Dict(_)));
        assert!(matches!(value("{1}"), ExprKind::Set(_)));
        assert!(matches!(value("{**a, 'b': 1}"), ExprKind::Dict(e) if e.len() == 2));
        assert!(matches!(value("'a' 'b'"), ExprKind::Str(s) if &*s == "ab"));
        assert!(matches!(value("'a' f'{b}' 'c'"), ExprKind::Format(p) if p.len() == 3));
    }

    #[test]
    fn statements_of_every_kind() {
        let text = "\
import a.b as c, d
from ..x import (y as z,
    w,)
from . import *
a = b.c[1:2, ::3] = d, *e = 1,
a: int = 3
a.b += [1 for x, y in z if x if y for w in y]
del a, b.c
if a: b
elif c:
    d
else:
    e; f
for i, (j, k) in x: pass
while False: break
with read_base():
    from .a import *
def f(x, *, y=1):
    return (
x)
@decorated
class C:
    pass
try:
    a
except E:
    b
assert a, 'b'
";
        let kinds = parse(text).unwrap();
        assert_eq!(kinds.len(), 16);
        let StmtKind::ImportFrom(from) = &kinds[1].kind else {
            panic!()
        };
        assert_eq!(
            (from.dotted().as_str(), from.names.as_ref().unwrap().len()),
            ("..x", 2)
        );
        assert!(matches!(&kinds[3].kind, StmtKind::Assign(t, _) if t.len() == 3));
        assert!(matches!(kinds[11].kind, StmtKind::Def("f")));
    }

    #[test]
    fn nesting_is_bounded_and_long_chains_are_not() {
        for open in [
            "(",
            "[",
            "{1:",
            "-",
            "not ",
            "a[",
            "f(",
            "2**",
            "x if y else ",
            "lambda:",
        ] {
            let text = format!("x = {}", open.repeat(5000));
            assert!(parse(&text).is_err(), "{open}");
        }
        let chain = format!("x = {}1", "1 + ".repeat(100_000));
        assert!(parse(&chain).is_ok());
        let chain = format!("x = a{}", ".b[0]".repeat(100_000));
        assert!(parse(&chain).is_ok());
        let deep: String = (0..2000)
            .map(|i| format!("{}if x:\n", " ".repeat(i)))
            .collect();
        assert!(parse(&deep).is_err());
        let elifs = format!("if a:\n  b\n{}", "elif a:\n  b\n".repeat(5000));
        assert_eq!(parse(&elifs).unwrap_err().kind, Kind::Limit);
    }

    #[test]
    fn mistakes_are_placed() {
        let at = |text: &str| {
            let wrong = parse(text).unwrap_err();
            text[wrong.span.start as usize..wrong.span.end as usize].to_owned()
        };
        assert_eq!(at("x = dict(a=1 b=2)"), "b");
        assert_eq!(at("1 = x"), "1");
        assert_eq!(at("f(x) = 3"), "f(x)");
        assert_eq!(at("x = [1, 2"), "[");
        assert_eq!(at("x = = 3"), "=");
        assert_eq!(at("dict(a=1, 2)"), "2");
        assert!(
            parse("  x = 1").is_err()
                && parse("if a:\nb").is_err()
                && parse("x = f'{a b}'").is_err()
        );
    }
}
