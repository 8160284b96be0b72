//! Values for tensors that no checkpoint gives, and the random numbers that they and [`super::Dice`] are made of.
//!
//! The distributions are those of `torch.nn.init` and MMEngine 0.10.7's `weight_init.py`. The numbers of a model that is to be trained are PyTorch's
//! own (see [`super::Drawing`]); where a part is built by itself, they are a function of a seed and the tensor's name.

use std::f64::consts::{SQRT_2, TAU};

/// Tries to draw a number within bounds; where there was none, these are so narrow that all within are about as likely.
const TRIES: usize = 64;

/// Values for a tensor that no checkpoint gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Normal, without what lies outside of bounds.
    TruncNormal {
        /// Mean of the whole distribution.
        mean: f64,
        /// Standard deviation of the whole distribution.
        std: f64,
        /// Least value.
        a: f64,
        /// Largest value.
        b: f64,
    },
    /// All between two values alike.
    Uniform {
        /// Least value.
        a: f64,
        /// Largest value.
        b: f64,
    },
    /// Deviation `gain / sqrt(fan)` (He et al. 2015, arXiv 1502.01852, section 2.2).
    Kaiming {
        /// By what follows the layer, `sqrt(2)` for a ReLU.
        gain: f64,
        /// Which fan.
        fan: Fan,
        /// Of which kind.
        distribution: Distribution,
    },
    /// Deviation `gain * sqrt(2 / (fan_in + fan_out))` (Glorot and Bengio 2010, section 4.2.1).
    Xavier {
        /// By what follows the layer.
        gain: f64,
        /// Of which kind.
        distribution: Distribution,
    },
    /// The edges of equal bins from 0 to 1, the last moved.
    Edges {
        /// Where the last bin ends.
        last: f32,
    },
}

/// What a filter has of inputs or of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// Input channels of a filter, times its taps.
    In,
    /// Output channels of the layer, whatever its groups, times a filter's taps.
    Out,
}

/// A distribution of mean 0 and a given deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Normal.
    Normal,
    /// Uniform, within `sqrt(3)` deviations.
    Uniform,
}

impl Init {
    /// PyTorch's own for the weight of a convolution or linear layer: uniform within `1 / sqrt(fan_in)`. (Kaiming with `a=sqrt(5)`, as
    /// YOLOX's parts have it, is the same.)
    pub const TORCH: Self = Self::Kaiming {
        gain: 0.577_350_269_189_625_8,
        fan: Fan::In,
        distribution: Distribution::Uniform,
    };
    /// MMEngine's `Kaiming` as it is by default.
    pub const KAIMING: Self = Self::Kaiming {
        gain: SQRT_2,
        fan: Fan::Out,
        distribution: Distribution::Normal,
    };
    /// MMEngine's `Xavier` with `distribution='uniform'`.
    pub const XAVIER_UNIFORM: Self = Self::Xavier {
        gain: 1.0,
        distribution: Distribution::Uniform,
    };

    /// Normal with mean 0.
    pub const fn normal(std: f64) -> Self {
        Self::Normal { mean: 0.0, std }
    }

    /// PyTorch's own for the bias beside a weight of `shape`: uniform within `1 / sqrt(fan_in)`, none of its business what the weight has.
    pub fn torch_bias(shape: &[usize]) -> Self {
        let bound = fans(shape).0.sqrt().recip();
        Self::Uniform {
            a: -bound,
            b: bound,
        }
    }

    /// Whether there is such a thing for a tensor of `shape`: one of fewer than two dimensions has no fans.
    pub(super) fn suits(self, shape: &[usize]) -> bool {
        shape.len() >= 2 || !matches!(self, Self::Kaiming { .. } | Self::Xavier { .. })
    }

    /// Values for a tensor of `shape`; the random ones depend on `seed` and `key` alone, so that they are the same in every part of a model.
    pub(crate) fn values(self, seed: u64, key: &str, shape: &[usize]) -> Vec<f32> {
        let n: usize = shape.iter().product();
        let mut random = Random::new(key).with(seed);
        let mut draw: Box<dyn FnMut() -> f64> = match self.drawn(shape) {
            None => return self.fixed(n),
            Some(Drawn::Normal { mean, std }) => Box::new(move || mean + std * random.normal()),
            Some(Drawn::TruncNormal { mean, std, a, b }) => Box::new(move || {
                let mut tries = (0..TRIES).map(|_| mean + std * random.normal());
                let found = tries.find(|value| (a..=b).contains(value));
                found.unwrap_or_else(|| random.between(a, b))
            }),
            Some(Drawn::Uniform { a, b }) => Box::new(move || random.between(a, b)),
        };
        (0..n).map(|_| draw() as f32).collect()
    }

    /// What is drawn for a tensor of `shape`; None where nothing is.
    pub(super) fn drawn(self, shape: &[usize]) -> Option<Drawn> {
        let (fan_in, fan_out) = fans(shape);
        Some(match self {
            Init::Constant(_) | Init::Edges { .. } => return None,
            Init::Normal { mean, std } => Drawn::Normal { mean, std },
            Init::TruncNormal { mean, std, a, b } => Drawn::TruncNormal { mean, std, a, b },
            Init::Uniform { a, b } => Drawn::Uniform { a, b },
            Init::Kaiming {
                gain,
                fan,
                distribution,
            } => {
                let fan = match fan {
                    Fan::In => fan_in,
                    Fan::Out => fan_out,
                };
                distribution.of(gain / fan.sqrt())
            }
            Init::Xavier { gain, distribution } => {
                distribution.of(gain * (2.0 / (fan_in + fan_out)).sqrt())
            }
        })
    }

    /// The `n` values of what is not drawn.
    pub(super) fn fixed(self, n: usize) -> Vec<f32> {
        match self {
            Init::Constant(value) => vec![value; n],
            Init::Edges { last } => {
                let bins = n.saturating_sub(1);
                let edge = |i: usize| {
                    if i == bins {
                        last
                    } else {
                        i as f32 / bins as f32
                    }
                };
                (0..n).map(edge).collect()
            }
            _ => vec![0.0; n],
        }
    }
}

/// What a distribution comes to for one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Drawn {
    Normal { mean: f64, std: f64 },
    TruncNormal { mean: f64, std: f64, a: f64, b: f64 },
    Uniform { a: f64, b: f64 },
}

impl Distribution {
    /// Draws of this deviation.
    fn of(self, std: f64) -> Drawn {
        match self {
            Self::Normal => Drawn::Normal { mean: 0.0, std },
            Self::Uniform => {
                let bound = 3f64.sqrt() * std;
                Drawn::Uniform {
                    a: -bound,
                    b: bound,
                }
            }
        }
    }
}

/// `fan_in` and `fan_out` of a weight `[out, in, ...]`, at least 1.
fn fans(shape: &[usize]) -> (f64, f64) {
    let taps: usize = shape.iter().skip(2).product();
    let fan = |channels: Option<&usize>| (channels.copied().unwrap_or(1) * taps).max(1) as f64;
    (fan(shape.get(1)), fan(shape.first()))
}

/// A splitmix64 stream (Steele et al. 2014) seeded by a name.
pub(crate) struct Random(u64);

impl Random {
    pub fn new(key: &str) -> Self {
        let fnv = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        Self(key.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
    }

    /// Another stream for each `number`; mixed, as numbers are small and near each other.
    pub fn with(self, number: u64) -> Self {
        let mut next = Self(self.0 ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self(next.bits())
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// In `[0, 1)`, in finer steps.
    fn fine(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, a: f64, b: f64) -> f64 {
        a + (b - a) * self.fine()
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.fine()).ln()).sqrt();
        radius * (TAU * self.fine()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, deviation, least and largest.
    fn spread(init: Init, shape: &[usize]) -> [f64; 4] {
        let values = init.values(3, "k", shape);
        let n = values.len() as f64;
        let values = values.iter().map(|v| f64::from(*v));
        let mean = values.clone().sum::<f64>() / n;
        let var = values.clone().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let (least, most) = (
            values.clone().fold(f64::MAX, f64::min),
            values.fold(f64::MIN, f64::max),
        );
        [mean, var.sqrt(), least, most]
    }

    #[test]
    fn initial_values_have_the_stated_spread() {
        let shape = [64, 32, 3, 3];
        let near = |found: f64, expected: f64| {
            assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}")
        };
        let of = |init, expected: f64| near(spread(init, &shape)[1], expected);
        of(Init::KAIMING, (2f64 / 576.0).sqrt());
        of(Init::XAVIER_UNIFORM, (2f64 / 864.0).sqrt());
        of(Init::TORCH, (1f64 / 288.0 / 3.0).sqrt());
        let [mean, std, ..] = spread(
            Init::Normal {
                mean: 5.0,
                std: 0.5,
            },
            &shape,
        );
        near(mean, 5.0);
        near(std, 0.5);
        // Bounds are reached, not passed.
        let bound = (1f64 / 288.0).sqrt();
        let [_, _, least, most] = spread(Init::TORCH, &shape);
        assert!(-bound <= least && most <= bound);
        near(least, -bound);
        near(most, bound);
        // Cut at one deviation, the deviation of what is left is 0.5396.
        let cut = Init::TruncNormal {
            mean: 1.0,
            std: 2.0,
            a: -1.0,
            b: 3.0,
        };
        let [mean, std, least, most] = spread(cut, &shape);
        near(mean, 1.0);
        near(std, 2.0 * 0.5396);
        assert!(-1.0 <= least && most <= 3.0);
        // No normal number is there: any will do that is.
        let far = Init::TruncNormal {
            mean: 0.0,
            std: 0.1,
            a: 8.0,
            b: 9.0,
        };
        let [_, _, least, most] = spread(far, &[100]);
        assert!((8.0..8.1).contains(&least) && (8.9..9.0).contains(&most));
        let Init::Uniform { a, b } = Init::torch_bias(&shape) else {
            panic!("a bias is uniform")
        };
        near(b, bound);
        near(a, -bound);
    }

    #[test]
    fn values_are_a_function_of_seed_and_name() {
        let values = |seed, key| Init::normal(1.0).values(seed, key, &[4]);
        assert_eq!(values(1, "a"), values(1, "a"));
        assert_ne!(values(1, "a"), values(2, "a"));
        assert_ne!(values(1, "a"), values(1, "b"));
    }
}
