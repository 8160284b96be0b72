//! [`Python`]: the generator of Python's module `random` after `random.seed(seed)`; numbers are those of Python 3.

use super::legacy::Words;
use super::numpy::Twister;

/// Python's `random.Random`.
#[derive(Clone, Debug)]
pub struct Python {
    words: Twister,
}

impl Python {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        let words = [seed as u32, (seed >> 32) as u32];
        let used = if words[1] == 0 { 1 } else { 2 };
        Self {
            words: Twister::keyed(&words[..used]),
        }
    }

    /// `random.randint(low, high)`: from `low` to `high`, both among them.
    ///
    /// # Panics
    /// If the range is empty or has 2^32 numbers or more.
    pub fn randint(&mut self, low: i64, high: i64) -> i64 {
        let count = u32::try_from(high.abs_diff(low) + 1);
        let count = count.ok().filter(|_| low <= high);
        let count = count.expect("a range that has numbers, and not too many");
        // The highest bits of words, until a number fits.
        loop {
            let number = self.words.next() >> count.leading_zeros();
            if number < count {
                return low + i64::from(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_s_own_numbers() {
        for (seed, low, high, expected) in [
            (0, 15, 25, [21, 21, 15, 19, 23, 22, 21, 19]),
            (3, 1, 1, [1, 1, 1, 1, 1, 1, 1, 1]),
            (4294967301, 0, 9, [2, 7, 4, 9, 0, 5, 2, 7]),
            (
                7,
                -3,
                1000000,
                [339560, 993905, 158173, 413999, 682551, 50628, 75951, 861165],
            ),
        ] {
            let mut random = Python::new(seed);
            let drawn: [i64; 8] = std::array::from_fn(|_| random.randint(low, high));
            assert_eq!(drawn, expected, "random.seed({seed})");
        }
    }
}
