//! [`activate`]: an [`Act`] of every number, and [`activation_gradient`], made again from what it was given: a pass over memory each.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::curve::{Curve, WithCurve};
use crate::{Act, Instructions};

/// Numbers that are worth a thread's while.
const CHUNK: usize = 1 << 14;

/// Writes what it makes of each number.
///
/// # Panics
/// If they are not as many.
pub fn activate(act: Act, x: &[f32], y: &mut [f32]) {
    activate_with(act, x, y, Instructions::widest());
}

/// As [`activate`], computed with these instructions.
///
/// # Panics
/// As [`activate`].
pub fn activate_with(act: Act, x: &[f32], y: &mut [f32], instructions: Instructions) {
    in_chunks(x, y, |x, y| instructions.0.dispatch(Forward { act, x, y }));
}

/// Makes the gradient of what came out that of x, which went in.
///
/// # Panics
/// If they are not as many.
pub fn activation_gradient(act: Act, x: &[f32], gradient: &mut [f32]) {
    activation_gradient_with(act, x, gradient, Instructions::widest());
}

/// As [`activation_gradient`], computed with these instructions.
///
/// # Panics
/// As [`activation_gradient`].
pub fn activation_gradient_with(
    act: Act,
    x: &[f32],
    gradient: &mut [f32],
    instructions: Instructions,
) {
    in_chunks(x, gradient, |x, gradient| {
        instructions.0.dispatch(Backward { act, x, gradient });
    });
}

fn in_chunks(x: &[f32], made: &mut [f32], work: impl Fn(&[f32], &mut [f32]) + Sync) {
    assert_eq!(x.len(), made.len(), "one for each number");
    if x.len() <= CHUNK {
        return work(x, made);
    }
    let chunks = x.par_chunks(CHUNK).zip(made.par_chunks_mut(CHUNK));
    chunks.for_each(|(x, made)| work(x, made));
}

struct Forward<'a> {
    act: Act,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        Act::with(Some(self.act), self);
    }
}

impl WithCurve for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn by<C: Curve>(self, curve: C) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y = curve.of(*x);
        }
    }
}

struct Backward<'a> {
    act: Act,
    x: &'a [f32],
    gradient: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        Act::with(Some(self.act), self);
    }
}

impl WithCurve for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn by<C: Curve>(self, curve: C) {
        for (gradient, x) in self.gradient.iter_mut().zip(self.x) {
            *gradient *= curve.slope(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_parts() {
        let count = 2 * CHUNK + 7;
        let x: Vec<f32> = (0..count).map(|i| (i % 13) as f32 - 6.0).collect();
        for instructions in Instructions::all() {
            let mut y = vec![0.0; count];
            activate_with(Act::Relu, &x, &mut y, instructions);
            assert!(x.iter().zip(&y).all(|(x, y)| *y == x.max(0.0)));
            let mut gradient = vec![3.0; count];
            activation_gradient_with(Act::LeakyRelu(0.5), &x, &mut gradient, instructions);
            let slope = |x: f32| if x > 0.0 { 3.0 } else { 1.5 };
            assert!(x.iter().zip(&gradient).all(|(x, g)| *g == slope(*x)));
        }
    }
}
