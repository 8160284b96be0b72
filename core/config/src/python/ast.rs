//! The syntax tree.
//!
//! Chains that grow by repetition (`a + b + c`, `a.b[0].c`) are flat lists, so that the depth of the tree is bounded by
//! the nesting that the parser allows.

use super::super::source::Span;
use std::sync::Arc;

/// An expression and its place.
#[derive(Debug)]
pub(crate) struct Expr<'t> {
    pub kind: ExprKind<'t>,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) enum ExprKind<'t> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    /// An f-string.
    Format(Vec<Piece<'t>>),
    Name(&'t str),
    List(Vec<Expr<'t>>),
    Tuple(Vec<Expr<'t>>),
    Set(Vec<Expr<'t>>),
    /// Key and value; no key stands for `**value`.
    Dict(Vec<(Option<Expr<'t>>, Expr<'t>)>),
    Starred(Box<Expr<'t>>),
    Unary(Unary, Box<Expr<'t>>),
    /// Operators of one precedence, from left to right.
    Binary(Box<Expr<'t>>, Vec<(Binary, Expr<'t>)>),
    Power(Box<Expr<'t>>, Box<Expr<'t>>),
    Compare(Box<Expr<'t>>, Vec<(Compare, Expr<'t>)>),
    And(Vec<Expr<'t>>),
    Or(Vec<Expr<'t>>),
    /// `value if test else other`
    If(Box<[Expr<'t>; 3]>),
    Postfix(Box<Expr<'t>>, Vec<(Trailer<'t>, Span)>),
    Slice(Box<[Option<Expr<'t>>; 3]>),
    /// List, set, generator: what is made, the element, the loops.
    Comprehension(Made, Box<Expr<'t>>, Vec<Loop<'t>>),
    DictComprehension(Box<(Expr<'t>, Expr<'t>)>, Vec<Loop<'t>>),
    /// `name := value`
    Named(&'t str, Box<Expr<'t>>),
    /// Valid Python that no config needs; the text says what it is.
    Unsupported(&'static str),
}

/// A part of an f-string.
#[derive(Debug)]
pub(crate) enum Piece<'t> {
    Text(String),
    Field {
        value: Box<Expr<'t>>,
        conversion: Option<char>,
        spec: Vec<Piece<'t>>,
        /// The text of `{x=}`.
        debug: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Made {
    List,
    Set,
    Generator,
}

#[derive(Debug)]
pub(crate) struct Loop<'t> {
    pub target: Expr<'t>,
    pub items: Expr<'t>,
    pub conditions: Vec<Expr<'t>>,
}

#[derive(Debug)]
pub(crate) enum Trailer<'t> {
    Attribute(&'t str),
    Index(Box<Expr<'t>>),
    Call(Vec<Argument<'t>>),
}

#[derive(Debug)]
pub(crate) enum Argument<'t> {
    Positional(Expr<'t>),
    Named(&'t str, Span, Expr<'t>),
    Star(Expr<'t>),
    StarStar(Expr<'t>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unary {
    Minus,
    Plus,
    Invert,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
    ShiftLeft,
    ShiftRight,
    And,
    Or,
    Xor,
}

impl Binary {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Binary::Add => "+",
            Binary::Sub => "-",
            Binary::Mul => "*",
            Binary::Div => "/",
            Binary::FloorDiv => "//",
            Binary::Mod => "%",
            Binary::Pow => "**",
            Binary::ShiftLeft => "<<",
            Binary::ShiftRight => ">>",
            Binary::And => "&",
            Binary::Or => "|",
            Binary::Xor => "^",
        }
    }

    pub(crate) fn of(sign: &str) -> Option<Self> {
        use Binary::*;
        let all = [
            Add, Sub, Mul, Div, FloorDiv, Mod, Pow, ShiftLeft, ShiftRight, And, Or, Xor,
        ];
        all.into_iter().find(|b| b.sign() == sign)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

/// A statement and its place.
#[derive(Debug)]
pub(crate) struct Stmt<'t> {
    pub kind: StmtKind<'t>,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) enum StmtKind<'t> {
    Assign(Vec<Expr<'t>>, Expr<'t>),
    AugAssign(Expr<'t>, Binary, Expr<'t>),
    Expr(Expr<'t>),
    Delete(Vec<Expr<'t>>),
    Import(Vec<Alias<'t>>),
    ImportFrom(ImportFrom<'t>),
    If(Expr<'t>, Vec<Stmt<'t>>, Vec<Stmt<'t>>),
    For(Box<(Expr<'t>, Expr<'t>)>, Vec<Stmt<'t>>, Vec<Stmt<'t>>),
    While(Expr<'t>, Vec<Stmt<'t>>, Vec<Stmt<'t>>),
    With(Vec<Expr<'t>>, Vec<Stmt<'t>>),
    Assert(Expr<'t>, Option<Expr<'t>>),
    Pass,
    Break,
    Continue,
    /// A function; its body was skipped.
    Def(&'t str),
    /// Other Python; the text is its keyword.
    Unsupported(&'static str),
}

/// `import module as name`, or `name as other` of a from-import.
#[derive(Debug)]
pub(crate) struct Alias<'t> {
    /// Dotted, without spaces.
    pub name: String,
    pub rename: Option<&'t str>,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) struct ImportFrom<'t> {
    /// Number of leading dots.
    pub level: usize,
    pub module: String,
    /// None for `*`.
    pub names: Option<Vec<Alias<'t>>>,
}

impl ImportFrom<'_> {
    /// The module with its dots, as written.
    pub(crate) fn dotted(&self) -> String {
        ".".repeat(self.level) + &self.module
    }
}
