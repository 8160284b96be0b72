//! [`BatchNorm`]: a factor and a summand for each channel (Ioffe and Szegedy 2015, arXiv 1502.03167), and the activation after them, a pass
//! over memory forward and two backward. For the way back nothing is kept but x: what the activation was given is made again.
//!
//! Shapes: x and y `[N, C, P]`, all else `[C]`. `y = act(x * scale + shift)`, where `scale = weight / sqrt(var + eps)` and `shift = bias - mean *
//! scale`.
//!
//! A channel is one thread's, so that what it reads for its statistics may be in the cache when it is written.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::curve::{Curve, WithCurve};
use crate::sums::{BLOCK, Moments, products};
use crate::{Act, Instructions};

/// What is done to each channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// P.
    pub cells: usize,
    /// `[C]`
    pub weight: &'a [f32],
    /// `[C]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f64,
    /// Applied last.
    pub act: Option<Act>,
}

/// Mean and variance (of all values, not an estimate) of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// `[C]`
    pub mean: Vec<f32>,
    /// `[C]`
    pub var: Vec<f32>,
}

/// The gradients of weight and bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Slopes {
    /// `[C]`
    pub weight: Vec<f32>,
    /// `[C]`
    pub bias: Vec<f32>,
}

impl BatchNorm<'_> {
    /// Writes y by the statistics of x, and gives them.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn by_own(&self, x: &[f32], y: &mut [f32]) -> Statistics {
        self.by_own_with(x, y, Instructions::widest())
    }

    /// As [`BatchNorm::by_own`], computed with these instructions.
    ///
    /// # Panics
    /// As [`BatchNorm::by_own`].
    pub fn by_own_with(&self, x: &[f32], y: &mut [f32], instructions: Instructions) -> Statistics {
        let of_channel = |c: usize, y: Vec<&mut [f32]>| {
            let x = self.planes(x, c);
            let moments = instructions.0.dispatch(OfChannel(x));
            let (mean, var) = (moments.mean as f32, moments.var() as f32);
            let line = self.line(c, mean, var);
            let act = self.act;
            instructions.0.dispatch(Forward { x, y, line, act });
            (mean, var)
        };
        let (mean, var) = self.each(x, y, of_channel).into_iter().unzip();
        Statistics { mean, var }
    }

    /// Writes y by statistics that are given.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn by_given(&self, x: &[f32], given: &Statistics, y: &mut [f32]) {
        self.by_given_with(x, given, y, Instructions::widest());
    }

    /// As [`BatchNorm::by_given`], computed with these instructions.
    ///
    /// # Panics
    /// As [`BatchNorm::by_given`].
    pub fn by_given_with(
        &self,
        x: &[f32],
        given: &Statistics,
        y: &mut [f32],
        instructions: Instructions,
    ) {
        self.check(given);
        self.each(x, y, |c, y| {
            let line = self.line(c, given.mean[c], given.var[c]);
            let (x, act) = (self.planes(x, c), self.act);
            instructions.0.dispatch(Forward { x, y, line, act });
        });
    }

    /// Makes y's gradient that of x, and gives those of weight and bias. `own` are statistics that x itself was asked for, so that it has a
    /// part in them.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn gradients(
        &self,
        x: &[f32],
        statistics: &Statistics,
        own: bool,
        gradient: &mut [f32],
    ) -> Slopes {
        let instructions = Instructions::widest();
        self.gradients_with(x, statistics, own, gradient, instructions)
    }

    /// As [`BatchNorm::gradients`], computed with these instructions.
    ///
    /// # Panics
    /// As [`BatchNorm::gradients`].
    pub fn gradients_with(
        &self,
        x: &[f32],
        statistics: &Statistics,
        own: bool,
        gradient: &mut [f32],
        instructions: Instructions,
    ) -> Slopes {
        self.check(statistics);
        let of_channel = |c: usize, gradient: Vec<&mut [f32]>| {
            let (mean, var) = (statistics.mean[c], statistics.var[c]);
            let line = self.line(c, mean, var);
            let work = Backward {
                x: self.planes(x, c),
                gradient,
                line,
                mean,
                inverse: self.inverse(var),
                own,
                act: self.act,
            };
            instructions.0.dispatch(work)
        };
        let (weight, bias) = self.each(x, gradient, of_channel).into_iter().unzip();
        Slopes { weight, bias }
    }

    fn check(&self, statistics: &Statistics) {
        let channels = self.weight.len();
        let lengths = [statistics.mean.len(), statistics.var.len()];
        assert_eq!(lengths, [channels; 2], "statistics are [C]");
    }

    fn inverse(&self, var: f32) -> f64 {
        1.0 / (f64::from(var) + self.eps).sqrt()
    }

    fn line(&self, c: usize, mean: f32, var: f32) -> Line {
        let scale = f64::from(self.weight[c]) * self.inverse(var);
        let shift = f64::from(self.bias[c]) - f64::from(mean) * scale;
        Line {
            scale: scale as f32,
            shift: shift as f32,
        }
    }

    fn planes<'x>(&self, x: &'x [f32], channel: usize) -> Planes<'x> {
        Planes {
            x,
            channel,
            channels: self.weight.len(),
            cells: self.cells,
        }
    }

    /// What `work` makes of each channel, given its planes of `made`, a picture's each.
    fn each<R: Send>(
        &self,
        x: &[f32],
        made: &mut [f32],
        work: impl Fn(usize, Vec<&mut [f32]>) -> R + Sync,
    ) -> Vec<R> {
        /// Numbers that are worth a thread's while.
        const LEAST: usize = 1 << 13;
        let channels = self.weight.len();
        assert_eq!(self.bias.len(), channels, "weight and bias are [C]");
        assert_eq!(x.len(), made.len(), "y is as x");
        let picture = channels * self.cells;
        assert!(
            x.len() == x.len().checked_div(picture).unwrap_or(0) * picture,
            "x is [N, C, P]"
        );
        let mut planes: Vec<Vec<&mut [f32]>> = (0..channels).map(|_| Vec::new()).collect();
        for (i, plane) in made.chunks_exact_mut(self.cells.max(1)).enumerate() {
            planes[i % channels].push(plane);
        }
        let work = |(c, planes): (usize, Vec<&mut [f32]>)| work(c, planes);
        if x.len() <= LEAST {
            return planes.into_iter().enumerate().map(work).collect();
        }
        let least = LEAST.div_ceil(x.len() / channels);
        let planes = planes.into_par_iter().with_min_len(least).enumerate();
        planes.map(work).collect()
    }
}

/// `x * scale + shift`
#[derive(Clone, Copy)]
struct Line {
    scale: f32,
    shift: f32,
}

impl Line {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x * self.scale + self.shift
    }
}

/// The planes of a channel, one of each picture.
#[derive(Clone, Copy)]
struct Planes<'a> {
    /// Of all.
    x: &'a [f32],
    channel: usize,
    channels: usize,
    cells: usize,
}

impl<'a> Planes<'a> {
    #[inline(always)]
    fn plane(self, picture: usize) -> &'a [f32] {
        let at = (picture * self.channels + self.channel) * self.cells;
        &self.x[at..][..self.cells]
    }

    #[inline(always)]
    fn pictures(self) -> usize {
        self.x
            .len()
            .checked_div(self.channels * self.cells)
            .unwrap_or(0)
    }
}

/// The moments of a channel.
struct OfChannel<'a>(Planes<'a>);

impl WithSimd for OfChannel<'_> {
    type Output = Moments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Moments {
        let mut all = Moments::default();
        for picture in 0..self.0.pictures() {
            for block in self.0.plane(picture).chunks(BLOCK) {
                all = all.with(Moments::of(block));
            }
        }
        all
    }
}

/// Writes a channel of y.
struct Forward<'a, 'y> {
    x: Planes<'a>,
    y: Vec<&'y mut [f32]>,
    line: Line,
    act: Option<Act>,
}

impl WithSimd for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        Act::with(self.act, self);
    }
}

impl WithCurve for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn by<C: Curve>(self, curve: C) {
        for (picture, y) in self.y.into_iter().enumerate() {
            for (y, x) in y.iter_mut().zip(self.x.plane(picture)) {
                *y = curve.of(self.line.of(*x));
            }
        }
    }
}

/// Makes a channel's gradient of y that of x; gives those of weight and bias.
struct Backward<'a, 'y> {
    x: Planes<'a>,
    gradient: Vec<&'y mut [f32]>,
    line: Line,
    mean: f32,
    /// Of the deviation.
    inverse: f64,
    own: bool,
    act: Option<Act>,
}

impl WithSimd for Backward<'_, '_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, f32) {
        Act::with(self.act, self)
    }
}

impl WithCurve for Backward<'_, '_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn by<C: Curve>(mut self, curve: C) -> (f32, f32) {
        let Self { x, line, mean, .. } = self;
        let (mut of_weight, mut of_bias) = (0.0, 0.0);
        for (picture, gradient) in self.gradient.iter_mut().enumerate() {
            let blocks = x.plane(picture).chunks(BLOCK);
            for (x, gradient) in blocks.zip(gradient.chunks_mut(BLOCK)) {
                // A loop of its own: an exponential in the one that adds up would keep that from vectors.
                for (g, x) in gradient.iter_mut().zip(x) {
                    *g *= curve.slope(line.of(*x));
                }
                let [apart, plain] = products(x, gradient, mean);
                of_weight += apart;
                of_bias += plain;
            }
        }
        let Line { scale, .. } = line;
        let count = (self.gradient.len() * x.cells).max(1) as f64;
        let by_x = -f64::from(scale) * self.inverse * self.inverse * of_weight / count;
        let always = -f64::from(scale) * of_bias / count;
        let (by_x, always) = (by_x as f32, always as f32);
        for (picture, gradient) in self.gradient.into_iter().enumerate() {
            let pairs = gradient.iter_mut().zip(x.plane(picture));
            if self.own {
                pairs.for_each(|(g, x)| *g = *g * scale + ((*x - mean) * by_x + always));
            } else {
                pairs.for_each(|(g, _)| *g *= scale);
            }
        }
        ((of_weight * self.inverse) as f32, of_bias as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::tests::ALL;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 7919 + seed * 104_729) % 8191) as f32 / 8191.0;
        (0..count).map(number).collect()
    }

    struct At(f64);

    /// In f64, but for the curve: f32's, which has a test of its own.
    impl WithCurve for At {
        type Output = [f64; 2];

        fn by<C: Curve>(self, curve: C) -> [f64; 2] {
            [curve.of(self.0 as f32), curve.slope(self.0 as f32)].map(f64::from)
        }
    }

    /// y, statistics, and the gradients of x, weight and bias, in f64.
    fn exact(
        norm: &BatchNorm,
        x: &[f32],
        given: Option<&Statistics>,
        gradient: &[f32],
    ) -> [Vec<f64>; 6] {
        let (channels, cells) = (norm.weight.len(), norm.cells);
        let mut found: [Vec<f64>; 6] = Default::default();
        (found[0], found[3]) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for c in 0..channels {
            let places: Vec<usize> = (0..x.len()).filter(|i| i / cells % channels == c).collect();
            let count = places.len() as f64;
            let sum = |of: &dyn Fn(usize) -> f64| places.iter().map(|i| of(*i)).sum::<f64>();
            let at = |i: usize| f64::from(x[i]);
            let mean = sum(&at) / count;
            let var = sum(&|i| (at(i) - mean).powi(2)) / count;
            let (mean, var) = match given {
                Some(given) => (f64::from(given.mean[c]), f64::from(given.var[c])),
                None => (mean, var),
            };
            let inverse = 1.0 / (var + norm.eps).sqrt();
            let weight = f64::from(norm.weight[c]);
            let standard = |i: usize| (at(i) - mean) * inverse;
            let curve = |i: usize| {
                let x = standard(i) * weight + f64::from(norm.bias[c]);
                Act::with(norm.act, At(x))
            };
            let sloped = |i: usize| f64::from(gradient[i]) * curve(i)[1];
            let of_weight = sum(&|i| sloped(i) * standard(i));
            let of_bias = sum(&sloped);
            for i in &places {
                found[0][*i] = curve(*i)[0];
                let shared = (of_bias + standard(*i) * of_weight) / count;
                let shared = if given.is_some() { 0.0 } else { shared };
                found[3][*i] = weight * inverse * (sloped(*i) - shared);
            }
            for (kind, value) in [(1, mean), (2, var), (4, of_weight), (5, of_bias)] {
                found[kind].push(value);
            }
        }
        found
    }

    fn close(name: &str, made: &[f32], expected: &[f64], bound: f64) {
        assert_eq!(made.len(), expected.len());
        let most = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
        for (made, expected) in made.iter().zip(expected) {
            let off = (f64::from(*made) - expected).abs();
            assert!(off <= bound * most, "{name}: {made} {expected}");
        }
    }

    #[test]
    fn as_in_f64() {
        for (case, (pictures, channels, cells)) in [
            (1, 1, 2),
            (2, 3, 1),
            (3, 5, 9),
            (2, 70, 65),
            (1, 2, 2 * BLOCK + 33),
            (2, 40, 400),
        ]
        .into_iter()
        .enumerate()
        {
            let count = pictures * channels * cells;
            // with a mean that is larger than the deviation
            let x: Vec<f32> = numbers(count, case).iter().map(|u| u * 4.0 + 5.0).collect();
            let gradient: Vec<f32> = numbers(count, 9).iter().map(|u| u - 0.4).collect();
            let weight: Vec<f32> = numbers(channels, 3).iter().map(|u| u * 2.0 - 0.5).collect();
            let bias = numbers(channels, 4);
            let given = Statistics {
                mean: numbers(channels, 5).iter().map(|u| u + 6.0).collect(),
                var: numbers(channels, 6).iter().map(|u| u + 0.5).collect(),
            };
            for act in ALL {
                let norm = BatchNorm {
                    cells,
                    weight: &weight,
                    bias: &bias,
                    eps: 1e-3,
                    act,
                };
                for instructions in Instructions::all() {
                    for given in [None, Some(&given)] {
                        let name = format!("{act:?} {pictures} {channels} {cells} {given:?}");
                        let [y, mean, var, of_x, of_weight, of_bias] =
                            exact(&norm, &x, given, &gradient);
                        let mut made = vec![0.0; count];
                        let statistics = match given {
                            None => norm.by_own_with(&x, &mut made, instructions),
                            Some(given) => {
                                norm.by_given_with(&x, given, &mut made, instructions);
                                given.clone()
                            }
                        };
                        close(&name, &made, &y, 4e-6);
                        close(&name, &statistics.mean, &mean, 1e-6);
                        close(&name, &statistics.var, &var, 1e-6);
                        let mut made = gradient.clone();
                        let own = given.is_none();
                        let slopes =
                            norm.gradients_with(&x, &statistics, own, &mut made, instructions);
                        // a slope jumps where a number falls on the other side of a corner, which none here does
                        close(&name, &made, &of_x, 4e-6);
                        close(&name, &slopes.weight, &of_weight, 4e-6);
                        close(&name, &slopes.bias, &of_bias, 4e-6);
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_mean_costs_no_digits_of_the_variance() {
        let x: Vec<f32> = numbers(10_000, 1).iter().map(|u| u + 10_000.0).collect();
        let norm = BatchNorm {
            cells: 5000,
            weight: &[1.0],
            bias: &[0.0],
            eps: 1e-5,
            act: None,
        };
        let mut y = vec![0.0; x.len()];
        let found = norm.by_own(&x, &mut y);
        let [_, mean, var, ..] = exact(&norm, &x, None, &y);
        assert!((f64::from(found.mean[0]) - mean[0]).abs() < 1e-3);
        assert!((f64::from(found.var[0]) - var[0]).abs() < 1e-6 * var[0]);
    }

    #[test]
    fn what_is_no_number_is_seen() {
        let norm = BatchNorm {
            cells: 2,
            weight: &[1.0; 2],
            bias: &[0.0; 2],
            eps: 1e-5,
            act: Some(Act::Relu),
        };
        let mut y = [0.0; 4];
        let found = norm.by_own(&[f32::NAN, 1.0, 1.0, 3.0], &mut y);
        assert!(found.mean[0].is_nan() && found.var[0].is_nan() && y[1].is_nan());
        assert_eq!((found.mean[1], found.var[1]), (2.0, 1.0));
    }

    #[test]
    fn nothing_is_normed_to_nothing() {
        let norm = BatchNorm {
            cells: 0,
            weight: &[1.0],
            bias: &[0.0],
            eps: 1e-5,
            act: None,
        };
        let found = norm.by_own(&[], &mut []);
        assert_eq!(found.mean, [0.0]);
        let slopes = norm.gradients(&[], &found, true, &mut []);
        assert_eq!(slopes.bias, [0.0]);
    }
}
