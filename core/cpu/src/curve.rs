//! [`Curve`]: an [`Act`] as a type, so that the choice is outside of loops and each of them becomes vectors.

use crate::finish::{Act, erf, exp};

/// A function of one number, and its slope.
pub(crate) trait Curve: Copy + Sync {
    fn of(self, x: f32) -> f32;

    /// PyTorch's, at corners too.
    fn slope(self, x: f32) -> f32;
}

/// What is done with a curve, whichever it is.
pub(crate) trait WithCurve {
    type Output;

    fn by<C: Curve>(self, curve: C) -> Self::Output;
}

impl Act {
    #[inline(always)]
    pub(crate) fn with<W: WithCurve>(act: Option<Self>, work: W) -> W::Output {
        match act {
            None => work.by(Line),
            Some(Self::Relu) => work.by(Relu),
            Some(Self::Relu6) => work.by(Relu6),
            Some(Self::LeakyRelu(slope)) => work.by(LeakyRelu(slope)),
            Some(Self::Clip(min, max)) => work.by(Clip(min, max)),
            Some(Self::HSwish) => work.by(HSwish),
            Some(Self::HSigmoid {
                bias,
                divisor,
                min,
                max,
            }) => work.by(HSigmoid {
                bias,
                divisor,
                range: Clip(min, max),
            }),
            Some(Self::Sigmoid) => work.by(Sigmoid),
            Some(Self::Silu) => work.by(Silu),
            Some(Self::Gelu) => work.by(Gelu),
            Some(Self::GeluTanh) => work.by(GeluTanh),
            Some(Self::QuickGelu) => work.by(QuickGelu),
        }
    }
}

/// x itself.
#[derive(Clone, Copy)]
struct Line;

impl Curve for Line {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope(self, _: f32) -> f32 {
        1.0
    }
}

#[derive(Clone, Copy)]
struct Relu;

impl Curve for Relu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { 1.0 }
    }
}

/// At its corners the slope is 0, where that of a [`Clip`] is 1.
#[derive(Clone, Copy)]
struct Relu6;

impl Curve for Relu6 {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        Clip(0.0, 6.0).of(x)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let rises = if x <= 0.0 { 0.0 } else { 1.0 };
        if x >= 6.0 { 0.0 } else { rises }
    }
}

#[derive(Clone, Copy)]
struct LeakyRelu(f32);

impl Curve for LeakyRelu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        if x < 0.0 { self.0 * x } else { x }
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { self.0 }
    }
}

#[derive(Clone, Copy)]
struct Clip(f32, f32);

impl Curve for Clip {
    /// As [`f32::clamp`], but for bounds that are the wrong way round: then the upper one, as PyTorch.
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        let x = if x < self.0 { self.0 } else { x };
        if x > self.1 { self.1 } else { x }
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let rises = if x >= self.0 { 1.0 } else { 0.0 };
        if x <= self.1 { rises } else { 0.0 }
    }
}

#[derive(Clone, Copy)]
struct HSwish;

impl Curve for HSwish {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x * Clip(0.0, 6.0).of(x + 3.0) / 6.0
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let bend = x / 3.0 + 0.5;
        let bend = if x < -3.0 { 0.0 } else { bend };
        if x > 3.0 { 1.0 } else { bend }
    }
}

#[derive(Clone, Copy)]
struct HSigmoid {
    bias: f32,
    divisor: f32,
    range: Clip,
}

impl Curve for HSigmoid {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        self.range.of((x + self.bias) / self.divisor)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        self.range.slope((x + self.bias) / self.divisor) / self.divisor
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Curve for Sigmoid {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        1.0 / (1.0 + exp(-x))
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let y = self.of(x);
        y * (1.0 - y)
    }
}

#[derive(Clone, Copy)]
struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x * Sigmoid.of(x)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let share = Sigmoid.of(x);
        share * (1.0 + x * (1.0 - share))
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Gelu {
    /// How much of a normal distribution lies below.
    #[inline(always)]
    fn below(x: f32) -> f32 {
        0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2)
    }
}

impl Curve for Gelu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x * Self::below(x)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        const DENSITY: f32 = 0.398_942_3; // of the mean, 1 / sqrt(2 pi)
        Self::below(x) + x * DENSITY * exp(-0.5 * x * x)
    }
}

/// `0.5 * (1 + tanh(z))` is `sigmoid(2 z)`.
#[derive(Clone, Copy)]
struct GeluTanh;

impl GeluTanh {
    const FACTOR: f32 = 1.595_769; // 2 sqrt(2 / pi)
    const CUBE: f32 = 0.044_715;
}

impl Curve for GeluTanh {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x * Sigmoid.of(Self::FACTOR * x * (1.0 + Self::CUBE * x * x))
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let share = Sigmoid.of(Self::FACTOR * x * (1.0 + Self::CUBE * x * x));
        let rise = Self::FACTOR * (1.0 + 3.0 * Self::CUBE * x * x);
        share + x * share * (1.0 - share) * rise
    }
}

#[derive(Clone, Copy)]
struct QuickGelu;

impl QuickGelu {
    const FACTOR: f32 = 1.702;
}

impl Curve for QuickGelu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x * Sigmoid.of(Self::FACTOR * x)
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let share = Sigmoid.of(Self::FACTOR * x);
        share + x * share * (1.0 - share) * Self::FACTOR
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every activation, and none.
    pub(crate) const ALL: [Option<Act>; 12] = [
        None,
        Some(Act::Relu),
        Some(Act::Relu6),
        Some(Act::LeakyRelu(0.1)),
        Some(Act::Clip(-1.0, 1.0)),
        Some(Act::HSwish),
        Some(Act::HSigmoid {
            bias: 3.0,
            divisor: 6.0,
            min: 0.0,
            max: 1.0,
        }),
        Some(Act::Sigmoid),
        Some(Act::Silu),
        Some(Act::Gelu),
        Some(Act::GeluTanh),
        Some(Act::QuickGelu),
    ];

    struct At(f32);

    impl WithCurve for At {
        type Output = [f32; 2];

        fn by<C: Curve>(self, curve: C) -> [f32; 2] {
            [curve.of(self.0), curve.slope(self.0)]
        }
    }

    #[test]
    fn slopes_are_differences() {
        for act in ALL {
            // between the corners, which are at whole numbers
            for x in [-7.3, -3.4, -2.6, -0.7, -0.2, 0.3, 0.8, 2.7, 3.3, 5.8, 6.4] {
                let at = |x| Act::with(act, At(x));
                let [above, below] = [at(x + 0.01)[0], at(x - 0.01)[0]].map(f64::from);
                let slope = (above - below) / 0.02;
                let found = f64::from(at(x)[1]);
                // f32's rounding of a number up to 8 over the step, and the curve's bend
                assert!((found - slope).abs() < 1e-4, "{act:?} {x}: {found} {slope}");
            }
        }
    }

    #[test]
    fn corners_are_as_pytorchs() {
        // torch 2.4.1: the gradients of relu, relu6, leaky_relu(0.1), clamp(-1, 1) and hardswish
        let x = [-3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0];
        for (act, want) in [
            (Act::Relu, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
            (Act::Relu6, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
            (Act::LeakyRelu(0.1), [0.1, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0]),
            (Act::Clip(-1.0, 1.0), [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
            (
                Act::HSwish,
                [-0.5, 1.0 / 6.0, 0.5, 0.5, 5.0 / 6.0, 1.5, 1.0],
            ),
        ] {
            for (x, want) in x.into_iter().zip(want) {
                let [_, slope] = Act::with(Some(act), At(x));
                assert!((slope - want).abs() < 1e-6, "{act:?} {x}: {slope} {want}");
            }
        }
    }
}
