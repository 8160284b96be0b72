//! Values for tensors that no checkpoint gives, and the random numbers that they and [`super::Dice`] are made of.

/// Values for a tensor that no checkpoint gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Normal with deviation `sqrt(2 / fan_out)` (He et al. 2015, arXiv 1502.01852), mmengine's `Kaiming` default.
    KaimingNormal,
    /// Uniform with Glorot's bound `sqrt(6 / (fan_in + fan_out))`, mmengine's `Xavier` with `distribution='uniform'`.
    XavierUniform,
    /// Uniform with bound `1 / sqrt(fan_in)`: PyTorch's own for a convolution, mmengine's `Kaiming` with `a=sqrt(5)`,
    /// `distribution='uniform'` and `mode='fan_in'`.
    UniformFanIn,
    /// The edges of equal bins from 0 to 1, the last moved.
    Edges {
        /// Where the last bin ends.
        last: f32,
    },
}

impl Init {
    /// Values for a tensor of `shape`; the random ones depend on `key` alone, so that a run can be repeated.
    pub(crate) fn values(self, key: &str, shape: &[usize]) -> Vec<f32> {
        let n: usize = shape.iter().product();
        let receptive: usize = shape.iter().skip(2).product();
        let fan_out = (shape.first().copied().unwrap_or(1) * receptive).max(1) as f32;
        let fan_in = (shape.get(1).copied().unwrap_or(1) * receptive).max(1) as f32;
        let mut random = Random::new(key);
        match self {
            Init::Constant(v) => vec![v; n],
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
            Init::Normal { std } => (0..n).map(|_| std * random.normal()).collect(),
            Init::KaimingNormal => {
                let std = (2.0 / fan_out).sqrt();
                (0..n).map(|_| std * random.normal()).collect()
            }
            Init::XavierUniform | Init::UniformFanIn => {
                let bound = match self {
                    Init::XavierUniform => (6.0 / (fan_in + fan_out)).sqrt(),
                    _ => fan_in.recip().sqrt(),
                };
                (0..n)
                    .map(|_| bound * (2.0 * random.uniform() - 1.0))
                    .collect()
            }
        }
    }
}

/// A splitmix64 stream (Steele et al. 2014) seeded by a name.
pub(super) struct Random(u64);

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

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_initial_values_have_the_stated_spread() {
        let v = Init::KaimingNormal.values("k", &[64, 8, 3, 3]);
        let var = v.iter().map(|x| x * x).sum::<f32>() / v.len() as f32;
        assert!((var.sqrt() / (2.0f32 / 576.0).sqrt() - 1.0).abs() < 0.05);
        let bound = (6.0f32 / 24.0).sqrt();
        assert!(
            Init::XavierUniform
                .values("k", &[12, 12])
                .iter()
                .all(|x| x.abs() <= bound)
        );
    }
}
