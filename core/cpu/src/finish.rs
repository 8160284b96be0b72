//! [`Finish`]: what is done to the sums of a convolution while they are still in the cache.

use crate::curve::{Curve, WithCurve};

/// What is done to the sums before they are written, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// `[K]`, added.
    pub bias: Option<&'a [f32]>,
    /// As y, added.
    pub add: Option<&'a [f32]>,
    /// Applied last.
    pub act: Option<Act>,
}

/// A function of one number that costs less than a pass over memory. All keep NaN, as PyTorch's do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x` above zero, `slope * x` below.
    LeakyRelu(f32),
    /// Limited to a range.
    Clip(f32, f32),
    /// `x * clip(x + 3, 0, 6) / 6`
    HSwish,
    /// `clip((x + bias) / divisor, min, max)`
    HSigmoid {
        /// Added first.
        bias: f32,
        /// Divides the sum.
        divisor: f32,
        /// Lower bound.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * sigmoid(x)`
    Silu,
    /// `x * (1 + erf(x / sqrt(2))) / 2`
    Gelu,
    /// [`Act::Gelu`] by a hyperbolic tangent (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2).
    GeluTanh,
    /// `x * sigmoid(1.702 x)`
    QuickGelu,
}

impl Finish<'_> {
    /// # Panics
    /// If a slice has another length than its shape.
    pub(crate) fn check(&self, channels_out: usize, y: usize) {
        let bias = self.bias.is_none_or(|bias| bias.len() == channels_out);
        assert!(bias, "a bias is [K]");
        let add = self.add.is_none_or(|add| add.len() == y);
        assert!(add, "what is added is as y");
    }

    /// Finishes `row`, which is y from `at` on and has its bias.
    #[inline(always)]
    pub(crate) fn row(&self, row: &mut [f32], at: usize) {
        if let Some(add) = self.add {
            let add = &add[at..][..row.len()];
            row.iter_mut().zip(add).for_each(|(v, add)| *v += add);
        }
        if let Some(act) = self.act {
            act.row(row);
        }
    }
}

impl Act {
    /// Applies it to all.
    #[inline(always)]
    fn row(self, row: &mut [f32]) {
        Self::with(Some(self), Row(row));
    }
}

struct Row<'a>(&'a mut [f32]);

impl WithCurve for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn by<C: Curve>(self, curve: C) {
        self.0.iter_mut().for_each(|x| *x = curve.of(*x));
    }
}

/// `exp` without a branch, so that loops over it become vectors: the nearest power of two, and Cephes' polynomial for what is left
/// (`expf.c`, Moshier). Within 2 units in the last place; arguments are limited to where f32 has normal results.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which is then in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = x - n * LN2[0] - n * LN2[1];
    let mut p = 1.987_569_1e-4;
    for factor in [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = p * r + factor;
    }
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power
}

/// The error function without a branch: the odd rational function of x up to 4, as Eigen has it (`generic_fast_erf_float`). Within 4e-7.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_5e-4,
        -1.682_827e-3,
        -7.373_329_2e-3,
        -1.426_473_9e-2,
    ];
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let square = x * x;
    let mut above = 0.0;
    for factor in ABOVE {
        above = above * square + factor;
    }
    let mut below = 0.0;
    for factor in BELOW {
        below = below * square + factor;
    }
    x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instructions;

    #[test]
    fn exponentials_are_exact_enough() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(1000.0), exp(88.0));
        assert_eq!(exp(-1000.0), exp(-87.0));
    }

    #[test]
    fn error_functions_are_exact_enough() {
        // by Python's math.erf
        for (x, want) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (9.0, 1.0),
        ] {
            for sign in [1.0, -1.0] {
                let found = f64::from(erf(sign * x));
                assert!(
                    (found - f64::from(sign) * want).abs() < 4e-7,
                    "{x}: {found}"
                );
            }
        }
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn functions_by_hand() {
        let x = [-4.0, -1.0, 0.0, 1.0, 8.0, f32::NAN];
        let hsigmoid = Act::HSigmoid {
            bias: 3.0,
            divisor: 6.0,
            min: 0.0,
            max: 1.0,
        };
        for instructions in Instructions::all() {
            for (act, want) in [
                (Act::Relu, [0.0, 0.0, 0.0, 1.0, 8.0]),
                (Act::LeakyRelu(0.5), [-2.0, -0.5, 0.0, 1.0, 8.0]),
                (Act::Relu6, [0.0, 0.0, 0.0, 1.0, 6.0]),
                (Act::Clip(-2.0, 6.0), [-2.0, -1.0, 0.0, 1.0, 6.0]),
                (Act::HSwish, [0.0, -1.0 / 3.0, 0.0, 2.0 / 3.0, 8.0]),
                (hsigmoid, [0.0, 1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0]),
                (
                    Act::Sigmoid,
                    [0.017_986_21, 0.268_941_4, 0.5, 0.731_058_6, 0.999_664_6],
                ),
                (
                    Act::Silu,
                    [-0.071_944_84, -0.268_941_4, 0.0, 0.731_058_6, 7.997_317],
                ),
                (
                    Act::Gelu,
                    [-0.000_126_685, -0.158_655_25, 0.0, 0.841_344_8, 8.0],
                ),
                (
                    Act::GeluTanh,
                    [-0.000_070_246, -0.158_808_01, 0.0, 0.841_192, 8.0],
                ),
                (
                    Act::QuickGelu,
                    [-0.004_414_725, -0.154_204_24, 0.0, 0.845_795_8, 7.999_99],
                ),
            ] {
                let mut y = x;
                instructions.0.dispatch(|| act.row(&mut y));
                for (got, want) in y.iter().zip(want) {
                    assert!((got - want).abs() < 1e-6, "{act:?}: {got} {want}");
                }
                assert!(y[5].is_nan(), "{act:?} keeps NaN");
            }
        }
    }
}
