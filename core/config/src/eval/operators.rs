//! Arithmetic, comparison and indexing, with Python's rules for numbers.

use super::super::python::ast::{Binary, Compare, Unary};
use super::super::source::Span;
use super::objects::{Item, Val};
use super::{Eval, Evaluator, NESTING, NODES};
use std::cmp::Ordering;

/// An int (or bool) or float.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(super) fn of(val: &Val) -> Option<Self> {
        Some(match val {
            Val::Int(i) => Number::Int(*i),
            Val::Bool(b) => Number::Int(i64::from(*b)),
            Val::Float(x) => Number::Float(*x),
            _ => return None,
        })
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Float(x) => x,
        }
    }

    fn cmp(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn truth(&self, val: &Val) -> bool {
        match val {
            Val::None => false,
            Val::Bool(b) => *b,
            Val::Int(i) => *i != 0,
            Val::Float(x) => *x != 0.0,
            Val::Str(s) => !s.is_empty(),
            Val::List(id) | Val::Tuple(id) => !self.items(*id).is_empty(),
            Val::Set(id) => !self.set_items(*id).is_empty(),
            Val::Dict(id) => !self.map(*id).is_empty(),
            Val::Range(from, to, step) => range_len(*from, *to, *step) > 0,
            _ => true,
        }
    }

    pub(super) fn unary(&mut self, unary: Unary, val: &Val, span: Span) -> Eval<Val> {
        match (unary, Number::of(val)) {
            (Unary::Not, _) => Ok(Val::Bool(!self.truth(val))),
            (Unary::Minus, Some(Number::Int(i))) => match i.checked_neg() {
                Some(i) => Ok(Val::Int(i)),
                None => self.overflow(span),
            },
            (Unary::Minus, Some(Number::Float(x))) => Ok(Val::Float(-x)),
            (Unary::Plus, Some(Number::Int(i))) => Ok(Val::Int(i)),
            (Unary::Plus, Some(Number::Float(x))) => Ok(Val::Float(x)),
            (Unary::Invert, Some(Number::Int(i))) => Ok(Val::Int(!i)),
            _ => self.fail(span, format!("a {} has no sign", self.type_name(val))),
        }
    }

    pub(super) fn binary(&mut self, op: Binary, a: &Val, b: &Val, span: Span) -> Eval<Val> {
        self.step(1, span)?;
        if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
            return self.arithmetic(
                op,
                x,
                y,
                matches!((a, b), (Val::Bool(_), Val::Bool(_))),
                span,
            );
        }
        match (op, a, b) {
            (Binary::Add, Val::Str(x), Val::Str(y)) => {
                self.room(x.len() + y.len(), span)?;
                Ok(Val::Str([&**x, &**y].concat().into()))
            }
            (Binary::Add, Val::List(x), Val::List(y))
            | (Binary::Add, Val::Tuple(x), Val::Tuple(y)) => {
                let mut items = self.all_items(*x, span)?;
                items.extend(self.all_items(*y, span)?);
                self.size(items.len(), span)?;
                Ok(match a {
                    Val::List(_) => self.list(items),
                    _ => self.tuple(items),
                })
            }
            (Binary::Mul, items, count) if Number::of(count).is_some() && is_sequence(items) => {
                self.repeat(items, count, span)
            }
            (Binary::Mul, count, items) if Number::of(count).is_some() && is_sequence(items) => {
                self.repeat(items, count, span)
            }
            (Binary::Mod, Val::Str(format), _) => self.percent(&format.clone(), b, span),
            (Binary::Or, Val::Dict(x), Val::Dict(y)) => {
                let entries = self.all_entries(*x, span)?;
                self.size(entries.len(), span)?;
                let map = entries
                    .into_iter()
                    .map(|(k, item, at)| (k, (item, at)))
                    .collect();
                let config = self.is_config(*x) || self.is_config(*y);
                let Val::Dict(id) = self.dict(map, config) else {
                    return Ok(Val::None);
                };
                self.update_from(id, *y, span, 0)?;
                Ok(Val::Dict(id))
            }
            (Binary::Or | Binary::And | Binary::Sub | Binary::Xor, Val::Set(x), Val::Set(y)) => {
                self.step(self.set_items(*x).len() + self.set_items(*y).len(), span)?;
                let (x, y) = (self.set_items(*x).clone(), self.set_items(*y).clone());
                let only = |a: &indexmap::IndexMap<_, Item>,
                            b: &indexmap::IndexMap<_, Item>,
                            both: bool| {
                    let keep =
                        |(k, _): &(&super::super::value::Key, &Item)| b.contains_key(*k) == both;
                    a.iter()
                        .filter(keep)
                        .map(|(k, i)| (k.clone(), i.clone()))
                        .collect::<indexmap::IndexMap<_, _>>()
                };
                let items = match op {
                    Binary::And => only(&x, &y, true),
                    Binary::Sub => only(&x, &y, false),
                    Binary::Xor => only(&x, &y, false)
                        .into_iter()
                        .chain(only(&y, &x, false))
                        .collect(),
                    _ => x
                        .iter()
                        .chain(only(&y, &x, false).iter())
                        .map(|(k, i)| (k.clone(), i.clone()))
                        .collect(),
                };
                Ok(self.set(items))
            }
            _ => {
                let (x, y) = (self.type_name(a), self.type_name(b));
                let message = format!("`{}` is not defined for {x} and {y}", op.sign());
                match (op, a, b) {
                    (Binary::Add, Val::Str(_), _) | (Binary::Add, _, Val::Str(_)) => self
                        .fail_help(
                            span,
                            message,
                            "make it a string first: `str(...)` or an f-string",
                        ),
                    (Binary::Add, Val::List(_), Val::Tuple(_))
                    | (Binary::Add, Val::Tuple(_), Val::List(_)) => self.fail_help(
                        span,
                        message,
                        "convert one of them: `list(...)` or `tuple(...)`",
                    ),
                    _ => self.fail(span, message),
                }
            }
        }
    }

    /// Guards the making of a container with `n` items.
    pub(super) fn size(&mut self, n: usize, span: Span) -> Eval<()> {
        if n > NODES {
            return self.spent(
                span,
                format!("this would have {n} items; at most {NODES} are allowed"),
            );
        }
        self.step(n, span)
    }

    fn repeat(&mut self, items: &Val, count: &Val, span: Span) -> Eval<Val> {
        let Some(Number::Int(count)) = Number::of(count) else {
            return self.fail(
                span,
                format!("a {} cannot be repeated by a float", self.type_name(items)),
            );
        };
        let count = usize::try_from(count).unwrap_or(0);
        match items {
            Val::Str(s) => {
                self.room(s.len().saturating_mul(count), span)?;
                Ok(Val::Str(s.repeat(count).into()))
            }
            Val::List(id) | Val::Tuple(id) => {
                let once = self.all_items(*id, span)?;
                self.size(once.len().saturating_mul(count), span)?;
                let mut all = Vec::with_capacity(once.len() * count);
                for _ in 0..if once.is_empty() { 0 } else { count } {
                    all.extend_from_slice(&once);
                }
                Ok(match items {
                    Val::List(_) => self.list(all),
                    _ => self.tuple(all),
                })
            }
            _ => self.fail(span, "this cannot be repeated"),
        }
    }

    fn arithmetic(
        &mut self,
        op: Binary,
        a: Number,
        b: Number,
        bools: bool,
        span: Span,
    ) -> Eval<Val> {
        use Number::Int;
        let int = |this: &Self, value: Option<i64>| match value {
            Some(value) => Ok(Val::Int(value)),
            None => this.overflow(span),
        };
        match (op, a, b) {
            (Binary::Add, Int(x), Int(y)) => int(self, x.checked_add(y)),
            (Binary::Sub, Int(x), Int(y)) => int(self, x.checked_sub(y)),
            (Binary::Mul, Int(x), Int(y)) => int(self, x.checked_mul(y)),
            (Binary::Add, ..) => Ok(Val::Float(a.float() + b.float())),
            (Binary::Sub, ..) => Ok(Val::Float(a.float() - b.float())),
            (Binary::Mul, ..) => Ok(Val::Float(a.float() * b.float())),
            (Binary::Div | Binary::FloorDiv | Binary::Mod, ..) if b.float() == 0.0 => {
                self.fail(span, "division by zero")
            }
            (Binary::Div, ..) => Ok(Val::Float(a.float() / b.float())),
            // Towards minus infinity; the remainder has the divisor's sign.
            (Binary::FloorDiv, Int(x), Int(y)) => {
                let quotient = x.checked_div(y);
                int(
                    self,
                    quotient.map(|q| {
                        if x % y != 0 && (x < 0) != (y < 0) {
                            q - 1
                        } else {
                            q
                        }
                    }),
                )
            }
            (Binary::Mod, Int(x), Int(y)) => {
                let rest = x.checked_rem(y).unwrap_or(0);
                Ok(Val::Int(if rest != 0 && (rest < 0) != (y < 0) {
                    rest + y
                } else {
                    rest
                }))
            }
            (Binary::FloorDiv, ..) => Ok(Val::Float(float_divmod(a.float(), b.float()).0)),
            (Binary::Mod, ..) => Ok(Val::Float(float_divmod(a.float(), b.float()).1)),
            (Binary::Pow, ..) => self.power(a, b, span),
            (Binary::ShiftLeft, Int(x), Int(y)) => {
                if y < 0 {
                    return self.fail(span, "a shift by a negative number");
                }
                let shifted = u32::try_from(y)
                    .ok()
                    .filter(|y| *y < 63)
                    .map(|y| i128::from(x) << y);
                let shifted = if x == 0 { Some(0) } else { shifted };
                int(self, shifted.and_then(|s| i64::try_from(s).ok()))
            }
            (Binary::ShiftRight, Int(x), Int(y)) => {
                if y < 0 {
                    return self.fail(span, "a shift by a negative number");
                }
                Ok(Val::Int(x >> y.min(63)))
            }
            (Binary::And, Int(x), Int(y)) => Ok(bit(x & y, bools)),
            (Binary::Or, Int(x), Int(y)) => Ok(bit(x | y, bools)),
            (Binary::Xor, Int(x), Int(y)) => Ok(bit(x ^ y, bools)),
            _ => self.fail(span, format!("`{}` is not defined for floats", op.sign())),
        }
    }

    fn power(&mut self, a: Number, b: Number, span: Span) -> Eval<Val> {
        match (a, b) {
            (Number::Int(x), Number::Int(y)) if y >= 0 => {
                let small = match x {
                    0 => Some(i64::from(y == 0)),
                    1 => Some(1),
                    -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
                    _ => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
                };
                match small {
                    Some(value) => Ok(Val::Int(value)),
                    None => self.overflow(span),
                }
            }
            _ => {
                let (x, y) = (a.float(), b.float());
                if x == 0.0 && y < 0.0 {
                    return self.fail(span, "zero cannot be raised to a negative power");
                }
                let value = x.powf(y);
                if x < 0.0 && y.fract() != 0.0 && y.is_finite() {
                    return self.fail(span, "a root of a negative number is complex");
                }
                if value.is_infinite() && x.is_finite() && y.is_finite() {
                    return self.fail(span, "this power is too large for a float");
                }
                Ok(Val::Float(value))
            }
        }
    }

    // Comparison.

    pub(super) fn compare(&mut self, op: Compare, a: &Val, b: &Val, span: Span) -> Eval<bool> {
        Ok(match op {
            Compare::Equal => self.equal(a, b, span)?,
            Compare::NotEqual => !self.equal(a, b, span)?,
            Compare::Is | Compare::IsNot => {
                if let (Val::Str(a), Val::Str(b)) = (a, b) {
                    self.scan(a, span)?;
                    self.scan(b, span)?;
                }
                self.same(a, b) == (op == Compare::Is)
            }
            Compare::In => self.contains(b, a, span)?,
            Compare::NotIn => !self.contains(b, a, span)?,
            Compare::Less => self.order(a, b, span)? == Some(Ordering::Less),
            Compare::Greater => self.order(a, b, span)? == Some(Ordering::Greater),
            Compare::LessEqual => matches!(
                self.order(a, b, span)?,
                Some(Ordering::Less | Ordering::Equal)
            ),
            Compare::GreaterEqual => matches!(
                self.order(a, b, span)?,
                Some(Ordering::Greater | Ordering::Equal)
            ),
        })
    }

    fn same(&self, a: &Val, b: &Val) -> bool {
        match (a, b) {
            (Val::None, Val::None) => true,
            (Val::Bool(x), Val::Bool(y)) => x == y,
            (Val::Int(x), Val::Int(y)) => x == y,
            (Val::Float(x), Val::Float(y)) => x == y,
            (Val::Str(x), Val::Str(y)) => x == y,
            (Val::List(x), Val::List(y))
            | (Val::Tuple(x), Val::Tuple(y))
            | (Val::Set(x), Val::Set(y))
            | (Val::Dict(x), Val::Dict(y)) => x == y,
            (Val::Lazy(x), Val::Lazy(y)) => x == y,
            (Val::Builtin(x), Val::Builtin(y)) => x == y,
            _ => false,
        }
    }

    pub(super) fn equal(&mut self, a: &Val, b: &Val, span: Span) -> Eval<bool> {
        self.equal_within(a, b, span, 0)
    }

    fn equal_within(&mut self, a: &Val, b: &Val, span: Span, depth: usize) -> Eval<bool> {
        self.step(1, span)?;
        if depth > NESTING {
            return self.too_deep(span);
        }
        if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
            return Ok(x.cmp(y) == Some(Ordering::Equal));
        }
        match (a, b) {
            (Val::List(x), Val::List(y)) | (Val::Tuple(x), Val::Tuple(y)) => {
                if self.items(*x).len() != self.items(*y).len() {
                    return Ok(false);
                }
                for index in 0..self.items(*x).len() {
                    let (p, q) = (self.item(*x, index), self.item(*y, index));
                    if !self.equal_within(&p, &q, span, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Val::Dict(x), Val::Dict(y)) => {
                if self.map(*x).len() != self.map(*y).len() {
                    return Ok(false);
                }
                self.step(self.map(*x).len(), span)?;
                for (key, item, _) in self.all_entries(*x, span)? {
                    match self.entry(*y, &key) {
                        Some(other) if self.equal_within(&item.val, &other, span, depth + 1)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            (Val::Set(x), Val::Set(y)) => {
                self.step(self.set_items(*x).len(), span)?;
                let (x, y) = (self.set_items(*x), self.set_items(*y));
                Ok(x.len() == y.len() && x.keys().all(|k| y.contains_key(k)))
            }
            (Val::Range(a, b, c), Val::Range(d, e, f)) => Ok((a, b, c) == (d, e, f)),
            (Val::Str(x), Val::Str(y)) => {
                self.scan(if x.len() == y.len() { x } else { "" }, span)?;
                Ok(x == y)
            }
            _ => Ok(self.same(a, b)),
        }
    }

    /// The order of two values; none where floats have none.
    pub(super) fn order(&mut self, a: &Val, b: &Val, span: Span) -> Eval<Option<Ordering>> {
        self.order_within(a, b, span, 0)
    }

    fn order_within(
        &mut self,
        a: &Val,
        b: &Val,
        span: Span,
        depth: usize,
    ) -> Eval<Option<Ordering>> {
        self.step(1, span)?;
        if depth > NESTING {
            return self.too_deep(span);
        }
        if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
            return Ok(x.cmp(y));
        }
        match (a, b) {
            (Val::Str(x), Val::Str(y)) => {
                self.scan(if x.len() < y.len() { x } else { y }, span)?;
                Ok(Some(x.cmp(y)))
            }
            (Val::List(x), Val::List(y)) | (Val::Tuple(x), Val::Tuple(y)) => {
                let (m, n) = (self.items(*x).len(), self.items(*y).len());
                for index in 0..m.min(n) {
                    let (p, q) = (self.item(*x, index), self.item(*y, index));
                    if !self.equal_within(&p, &q, span, depth + 1)? {
                        return self.order_within(&p, &q, span, depth + 1);
                    }
                }
                Ok(Some(m.cmp(&n)))
            }
            (Val::Set(x), Val::Set(y)) => {
                self.step(self.set_items(*x).len() + self.set_items(*y).len(), span)?;
                let (x, y) = (self.set_items(*x), self.set_items(*y));
                let (below, above) = (
                    x.keys().all(|k| y.contains_key(k)),
                    y.keys().all(|k| x.contains_key(k)),
                );
                Ok(match (below, above) {
                    (true, true) => Some(Ordering::Equal),
                    (true, false) => Some(Ordering::Less),
                    (false, true) => Some(Ordering::Greater),
                    _ => None,
                })
            }
            _ => {
                let (x, y) = (self.type_name(a), self.type_name(b));
                self.fail(span, format!("a {x} and a {y} have no order"))
            }
        }
    }

    fn contains(&mut self, container: &Val, val: &Val, span: Span) -> Eval<bool> {
        match (container, val) {
            (Val::Str(text), Val::Str(part)) => {
                self.scan(text, span)?;
                Ok(text.contains(&**part))
            }
            (Val::Str(_), _) => {
                self.fail(span, format!("a {} is in no string", self.type_name(val)))
            }
            (Val::Dict(id), _) => {
                let key = self.key(val, span)?;
                Ok(self.map(*id).contains_key(&key))
            }
            (Val::Set(id), _) => {
                let key = self.key(val, span)?;
                Ok(self.set_items(*id).contains_key(&key))
            }
            _ => {
                for item in self.iterate(container, span)? {
                    if self.equal(&item.val, val, span)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn is_sequence(val: &Val) -> bool {
    matches!(val, Val::Str(_) | Val::List(_) | Val::Tuple(_))
}

fn bit(value: i64, bools: bool) -> Val {
    if bools {
        Val::Bool(value != 0)
    } else {
        Val::Int(value)
    }
}

/// Number of items of `range(from, to, step)`; the step is not zero.
pub(in super::super) fn range_len(from: i64, to: i64, step: i64) -> i128 {
    let (from, to, step) = (i128::from(from), i128::from(to), i128::from(step));
    if step > 0 && from < to {
        (to - from - 1) / step + 1
    } else if step < 0 && from > to {
        (from - to - 1) / -step + 1
    } else {
        0
    }
}

/// Quotient rounded down, and remainder with the divisor's sign, as CPython computes them.
pub(super) fn float_divmod(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 {
        if (b < 0.0) != (rest < 0.0) {
            rest += b;
            quotient -= 1.0;
        }
    } else {
        rest = 0f64.copysign(b);
    }
    let whole = if quotient == 0.0 {
        0f64.copysign(a / b)
    } else {
        let floor = quotient.floor();
        if quotient - floor > 0.5 {
            floor + 1.0
        } else {
            floor
        }
    };
    (whole, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_ranges() {
        assert_eq!(range_len(0, 5, 2), 3);
        assert_eq!(range_len(5, 0, -2), 3);
        assert_eq!(range_len(5, 0, 1), 0);
        assert_eq!(range_len(i64::MIN, i64::MAX, 1), u64::MAX as i128);
    }

    #[test]
    fn float_division_goes_down() {
        assert_eq!(float_divmod(-7.5, 2.0), (-4.0, 0.5));
        assert_eq!(float_divmod(7.5, -2.0), (-4.0, -0.5));
        assert_eq!(float_divmod(1.0, 0.1), (9.0, 0.09999999999999995));
    }
}
