//! [`Counter`]: the default generator, Philox4x32-10 of "Parallel random numbers: as easy as 1, 2, 3" (Salmon et al. 2011,
//! DOI 10.1145/2063384.2063405, section 3.3).
//!
//! A block of four words is a function of a key and a counter, so the numbers of a sample need no state from any other: whichever
//! worker makes it, and in whatever order, it gets the same ones. The key is the seed; the counter holds the sample's
//! position, the epoch and the number of the block.

use super::legacy::{self, Words};
use super::{Answer, Call, Random, RandomError};

/// Round constants of section 3.3, table 2: multipliers, and what is added to the key after a round.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A sequence of random numbers that belongs to a seed, an epoch and a position.
#[derive(Clone, Debug)]
pub struct Counter {
    words: Philox,
    gauss: Option<f64>,
}

impl Counter {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self::keyed(seed, 0, 0)
    }

    /// The sequence of the sample at `position` of the order of `epoch` (of which the low 32 bits count).
    pub fn keyed(seed: u64, epoch: u64, position: u64) -> Self {
        let words = Philox {
            key: halves(seed),
            counter: [0, epoch as u32, position as u32, (position >> 32) as u32],
            block: [0; 4],
            left: 0,
        };
        Self { words, gauss: None }
    }
}

impl Random for Counter {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        legacy::answer(&mut self.words, &mut self.gauss, &call)
    }
}

/// The stream of words: block after block.
#[derive(Clone, Debug)]
struct Philox {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    /// Words of the block that were not given yet.
    left: usize,
}

impl Words for Philox {
    fn next(&mut self) -> u32 {
        if self.left == 0 {
            self.block = philox(self.key, self.counter);
            self.left = 4;
            // 2^34 words: more than a sample can use
            self.counter[0] = self.counter[0].wrapping_add(1);
        }
        self.left -= 1;
        self.block[3 - self.left]
    }
}

fn halves(v: u64) -> [u32; 2] {
    [v as u32, (v >> 32) as u32]
}

/// Ten rounds.
fn philox(mut key: [u32; 2], mut x: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let [low0, high0] = halves(u64::from(MULTIPLIERS[0]) * u64::from(x[0]));
        let [low1, high1] = halves(u64::from(MULTIPLIERS[1]) * u64::from(x[2]));
        x = [high1 ^ x[1] ^ key[0], low1, high0 ^ x[3] ^ key[1], low0];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123, the authors' own code.
    #[test]
    fn known_answers() {
        for (key, counter, expected) in [
            (
                [0; 2],
                [0; 4],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 2],
                [u32::MAX; 4],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0xa409_3822, 0x299f_31d0],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(key, counter), expected);
        }
    }

    #[test]
    fn a_sample_has_its_own_sequence() {
        let first = |seed, epoch, position| {
            let mut counter = Counter::keyed(seed, epoch, position);
            let random: &mut dyn Random = &mut counter;
            random.rand_n(5).unwrap()
        };
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        let others = [
            (0, 2, 3),
            (1, 0, 3),
            (1, 2, 0),
            (1, 2, 3 + (1 << 32)),
            (1 + (1 << 32), 2, 3),
        ];
        for (seed, epoch, position) in others {
            assert_ne!(first(seed, epoch, position), first(1, 2, 3));
        }
        assert_eq!(first(7, 0, 0), Counter::new(7).floats(5));
    }

    impl Counter {
        fn floats(mut self, n: usize) -> Vec<f64> {
            let random: &mut dyn Random = &mut self;
            random.rand_n(n).unwrap()
        }
    }

    /// Mean and variance of 100,000 numbers, within five standard errors.
    #[test]
    fn numbers_are_uniform() {
        let u = Counter::new(3).floats(100_000);
        let mean = u.iter().sum::<f64>() / u.len() as f64;
        let variance = u.iter().map(|v| (v - 0.5).powi(2)).sum::<f64>() / u.len() as f64;
        assert!(
            (mean - 0.5).abs() < 5.0 * (1.0f64 / 12.0 / 1e5).sqrt(),
            "{mean}"
        );
        assert!(
            (variance - 1.0 / 12.0).abs() < 5.0 * (1.0f64 / 180.0 / 1e5).sqrt(),
            "{variance}"
        );
    }
}
