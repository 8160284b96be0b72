//! [`TorchRandom`]: the random numbers of PyTorch 2.4's CPU generator, as its in-place draws of `f32` tensors consume them.
//!
//! The generator is MT19937 (Matsumoto and Nishimura 1998). What is ours by choice: logarithms and cosines are exact to the last bit, where PyTorch's
//! vectors approximate them (and differ between processors), so normal numbers agree to some 1e-7 of their deviation, uniform ones exactly.

use std::f64::consts::{PI, SQRT_2, TAU};

use super::Init;
use super::init::Drawn;

/// Words of the generator's state.
const WORDS: usize = 624;
/// How far apart the words are that make a new one.
const APART: usize = 397;
/// So many normal numbers are made at once; of fewer each is made by itself.
const BATCH: usize = 16;

/// `torch.manual_seed`, and what draws after it.
#[derive(Clone, Debug)]
pub struct TorchRandom {
    words: [u32; WORDS],
    next: usize,
    /// The second of the last pair of single normal numbers.
    kept: Option<f64>,
}

impl TorchRandom {
    /// As after `torch.manual_seed(seed)`: of a seed the lower 32 bits count.
    pub fn new(seed: u64) -> Self {
        let mut words = [seed as u32; WORDS];
        for i in 1..WORDS {
            let last = words[i - 1];
            words[i] = (last ^ (last >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        Self {
            words,
            next: WORDS,
            kept: None,
        }
    }

    /// What `init` makes of a tensor of `shape`, in its place in memory.
    pub(super) fn values(&mut self, init: Init, shape: &[usize]) -> Vec<f32> {
        let n = shape.iter().product();
        match init.drawn(shape) {
            None => init.fixed(n),
            Some(Drawn::Normal { mean, std }) => self.normal(n, mean, std),
            Some(Drawn::Uniform { a, b }) => self.uniform(n, a, b),
            Some(Drawn::TruncNormal { mean, std, a, b }) => {
                self.trunc_normal(n, [mean, std], [a, b])
            }
        }
    }

    /// Goes on as if [`TorchRandom::values`] had been asked.
    pub(super) fn pass(&mut self, init: Init, shape: &[usize]) {
        let n: usize = shape.iter().product();
        let words = match init.drawn(shape) {
            None => 0,
            Some(Drawn::Normal { .. }) if n < BATCH => {
                self.normal(n, 0.0, 1.0);
                0
            }
            Some(Drawn::Normal { .. }) if !n.is_multiple_of(BATCH) => n + BATCH,
            Some(_) => n,
        };
        for _ in 0..words {
            self.word();
        }
    }

    /// `Tensor.uniform_(a, b)`.
    fn uniform(&mut self, n: usize, a: f64, b: f64) -> Vec<f32> {
        let (a, b) = (a as f32, b as f32);
        let width = f64::from(b - a);
        let between = |share: f64| (share * width + f64::from(a)) as f32;
        (0..n).map(|_| between(self.share())).collect()
    }

    /// `Tensor.normal_(mean, std)`, of a tensor without gaps.
    fn normal(&mut self, n: usize, mean: f64, std: f64) -> Vec<f32> {
        if n < BATCH {
            return (0..n)
                .map(|_| (self.single() * std + mean) as f32)
                .collect();
        }
        let (mean, std) = (mean as f32, std as f32);
        let mut values: Vec<f32> = (0..n).map(|_| self.share() as f32).collect();
        for chunk in values.chunks_exact_mut(BATCH) {
            pairs(chunk, mean, std);
        }
        if !n.is_multiple_of(BATCH) {
            // The last ones anew, with some that were made before.
            let last = &mut values[n - BATCH..];
            last.fill_with(|| self.share() as f32);
            pairs(last, mean, std);
        }
        values
    }

    /// MMEngine's `trunc_normal_` with `[mean, std]` within `[a, b]`: the inverse of the distribution's integral at uniform numbers.
    fn trunc_normal(&mut self, n: usize, [mean, std]: [f64; 2], [a, b]: [f64; 2]) -> Vec<f32> {
        let edge = |x: f64| erf((x - mean) / std / SQRT_2);
        let (scale, mean) = ((std * SQRT_2) as f32, mean as f32);
        let mut values = self.uniform(n, edge(a), edge(b));
        for value in &mut values {
            let standard = erf_inverse(f64::from(*value)) as f32;
            *value = (standard * scale + mean).clamp(a as f32, b as f32);
        }
        values
    }

    /// One standard normal number of a small tensor, in double precision; they are made in pairs.
    fn single(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let (turn, share) = (self.fine_share(), self.fine_share());
        let radius = (-2.0 * (-share).ln_1p()).sqrt();
        let (sin, cos) = (TAU * turn).sin_cos();
        self.kept = Some(radius * sin);
        radius * cos
    }

    /// In `[0, 1)`, in steps of 2^-24.
    fn share(&mut self) -> f64 {
        f64::from(self.word() & 0x00ff_ffff) / f64::from(1 << 24)
    }

    /// In `[0, 1)`, in steps of 2^-53.
    fn fine_share(&mut self) -> f64 {
        let word = u64::from(self.word()) << 32 | u64::from(self.word());
        (word & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.turn();
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// New words for all.
    fn turn(&mut self) {
        for i in 0..WORDS {
            let mixed = self.words[i] & 0x8000_0000 | self.words[(i + 1) % WORDS] & 0x7fff_ffff;
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + APART) % WORDS] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }
}

/// Makes 16 uniform numbers normal, by Box and Muller: each of the first half and the one 8 after it.
fn pairs(values: &mut [f32], mean: f32, std: f32) {
    let (first, second) = values.split_at_mut(BATCH / 2);
    for (u, v) in first.iter_mut().zip(second) {
        let radius = (-2.0 * (1.0 - *u).ln()).sqrt();
        let angle = (2.0 * PI) as f32 * *v;
        let (sin, cos) = f64::from(angle).sin_cos();
        *u = (radius * cos as f32).mul_add(std, mean);
        *v = (radius * sin as f32).mul_add(std, mean);
    }
}

/// The error function, by a series of positive terms (Abramowitz and Stegun 7.1.6).
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > sum.abs() * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// Its inverse: a first guess (Winitzki 2008), then Newton's steps.
fn erf_inverse(y: f64) -> f64 {
    if y.abs() >= 1.0 {
        return y.signum() * f64::INFINITY;
    }
    let a = 0.147;
    let log = (-y * y).ln_1p();
    let half = 2.0 / (PI * a) + log / 2.0;
    let mut x = y.signum() * ((half * half - log / a).sqrt() - half).sqrt();
    for _ in 0..3 {
        x -= (erf(x) - y) * PI.sqrt() / 2.0 * (x * x).exp();
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `torch_random.py` beside it: seed, draw, its numbers, how many values; the first, the middle and the last.
    const ROWS: &str = include_str!("../../../tests/data/torch_random.json");

    #[derive(serde::Deserialize)]
    struct Row(u64, String, Vec<f64>, usize, [f64; 3]);

    fn init(name: &str, numbers: &[f64]) -> Init {
        match (name, numbers) {
            ("normal", &[mean, std]) => Init::Normal { mean, std },
            ("uniform", &[a, b]) => Init::Uniform { a, b },
            ("trunc_normal", &[mean, std, a, b]) => Init::TruncNormal { mean, std, a, b },
            _ => panic!("no such draw: {name}"),
        }
    }

    #[test]
    fn numbers_are_pytorchs() {
        let rows: Vec<Row> = serde_json::from_str(ROWS).unwrap();
        let mut random = TorchRandom::new(0);
        let mut passing = random.clone();
        let mut seeded = 0;
        for Row(seed, name, numbers, n, expected) in rows {
            if seed != seeded {
                random = TorchRandom::new(seed);
                passing = random.clone();
                seeded = seed;
            }
            let init = init(&name, &numbers);
            let values = random.values(init, &[n]);
            passing.pass(init, &[n]);
            for (i, expected) in [0, n / 2, n - 1].into_iter().zip(expected) {
                let (found, what) = (f64::from(values[i]), format!("{name} {numbers:?} {i}/{n}"));
                match name.as_str() {
                    "uniform" => assert_eq!(found as f32, expected as f32, "{what}"),
                    // Of the draw's scale, some 1: what PyTorch's approximations come to.
                    _ => assert!(
                        (found - expected).abs() < 1e-6,
                        "{what}: {found} {expected}"
                    ),
                }
            }
            assert_eq!((passing.next, passing.kept), (random.next, random.kept));
        }
    }

    #[test]
    fn the_error_function_and_its_inverse() {
        assert!((erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
        assert!((erf(2.0) - 0.995_322_265_018_952_7).abs() < 1e-15);
        assert_eq!((erf(0.0), erf(-7.0)), (0.0, -1.0));
        for x in [-3.0, -0.7, 0.0, 1e-4, 0.3, 2.5] {
            assert!((erf_inverse(erf(x)) - x).abs() < 1e-9, "{x}");
        }
        assert_eq!(erf_inverse(1.0), f64::INFINITY);
    }
}
