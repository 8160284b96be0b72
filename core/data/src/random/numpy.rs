//! [`Numpy`]: numpy's global generator (`np.random.seed(seed)`), the Mersenne Twister MT19937 of "Mersenne Twister: a
//! 623-dimensionally equidistributed uniform pseudorandom number generator" (Matsumoto and Nishimura 1998,
//! DOI 10.1145/272991.272995). Numbers are those of numpy 1.26, whose legacy functions are frozen.

use super::legacy::{self, Words};
use super::{Answer, Call, Random, RandomError};

/// Words of state.
const N: usize = 624;
/// The middle word of the recurrence.
const M: usize = 397;

/// numpy's `RandomState`.
#[derive(Clone, Debug)]
pub struct Numpy {
    words: Twister,
    gauss: Option<f64>,
}

impl Numpy {
    /// The sequence that belongs to `seed`, of which the low 32 bits count: numpy takes no more.
    pub fn new(seed: u64) -> Self {
        let words = Twister::new(seed as u32);
        Self { words, gauss: None }
    }

    /// The next word of the generator itself, which torch's has in common.
    pub(crate) fn word(&mut self) -> u32 {
        self.words.next()
    }
}

impl Random for Numpy {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        legacy::answer(&mut self.words, &mut self.gauss, &call)
    }
}

/// MT19937.
#[derive(Clone)]
pub(super) struct Twister {
    state: [u32; N],
    /// The next word; `N` where a new round of words is due.
    at: usize,
}

impl std::fmt::Debug for Twister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MT19937 at {}", self.at)
    }
}

impl Words for Twister {
    fn next(&mut self) -> u32 {
        if self.at == N {
            self.renew();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }
}

impl Twister {
    /// The state of one word (`init_genrand`).
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0; N];
        let mut word = seed;
        for (i, slot) in (0u32..).zip(&mut state) {
            *slot = word;
            word = (word ^ (word >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i + 1);
        }
        Self { state, at: N }
    }

    /// The state of a key of one or more words (`init_by_array`).
    pub(super) fn keyed(key: &[u32]) -> Self {
        let mut state = Self::new(19_650_218).state;
        let mut at = 1;
        let keys = (0u32..).zip(key).cycle().take(N.max(key.len()));
        let keys = keys.map(|(j, word)| (1_664_525, Some(word.wrapping_add(j))));
        let rest = std::iter::repeat_n((1_566_083_941, None), N - 1);
        for (factor, key) in keys.chain(rest) {
            let before = state[at - 1];
            let mixed = state[at] ^ (before ^ (before >> 30)).wrapping_mul(factor);
            state[at] = match key {
                Some(key) => mixed.wrapping_add(key),
                None => mixed.wrapping_sub(at as u32),
            };
            at += 1;
            if at == N {
                state[0] = state[N - 1];
                at = 1;
            }
        }
        state[0] = 0x8000_0000;
        Self { state, at: N }
    }

    fn renew(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ twist;
        }
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Draw};
    use super::*;
    use serde::Deserialize;
    use serde_json::Value as Json;

    #[derive(Deserialize)]
    struct Row {
        seed: u64,
        draws: Vec<Draw>,
    }

    /// The call that a recording is of.
    fn call(Draw(name, args, named, _): &Draw) -> Call {
        let float = |i: usize| args[i].as_f64().unwrap();
        let int = |i: usize| args[i].as_i64().unwrap();
        let n = |i: usize| int(i) as usize;
        let named_int = |key: &str| named[key].as_f64().unwrap() as i64;
        match (name.as_str(), args.len()) {
            ("np.rand", 0) => Call::Rand,
            ("np.rand", 1) => Call::RandN(n(0)),
            ("np.random", 0) => Call::Random,
            ("np.random_sample", 0) => Call::RandomSample,
            ("np.uniform", 1) => Call::UniformFrom(float(0)),
            ("np.uniform", 2) => Call::Uniform(float(0), float(1)),
            ("np.uniform", 3) => Call::UniformN(float(0), float(1), n(2)),
            ("np.randint", 0) => Call::RandintNamed(named_int("low"), named_int("high")),
            ("np.randint", 1) => Call::RandintBelow(int(0)),
            ("np.randint", 2) => Call::Randint(int(0), int(1)),
            ("np.randint", 3) => Call::RandintN(int(0), int(1), n(2)),
            ("np.permutation", 1) => Call::Permutation(n(0)),
            ("np.beta", 2) => Call::Beta(float(0), float(1)),
            ("np.choice", args_given) => {
                let size = args.get(1).or(named.get("size"));
                let floats = |p: &Json| {
                    p.as_array()
                        .map(|p| p.iter().flat_map(Json::as_f64).collect())
                };
                Call::Choice(Choice {
                    of: args[0].clone(),
                    size: size.and_then(Json::as_u64).map(|n| n as usize),
                    size_positional: args_given == 2,
                    replace: named.get("replace").and_then(Json::as_bool),
                    p: named.get("p").and_then(floats),
                })
            }
            other => panic!("{other:?}"),
        }
    }

    /// Whether two results are the same, numbers within `tolerance` of the first.
    fn same(a: &Json, b: &Json, tolerance: f64) -> bool {
        match (a, b) {
            (Json::Array(a), Json::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, tolerance))
            }
            _ => match (a.as_f64(), b.as_f64()) {
                (Some(x), Some(y)) => (x - y).abs() <= tolerance * x.abs(),
                _ => a == b,
            },
        }
    }

    /// Every form of call, in another order for each seed, as numpy 1.26 answered.
    #[test]
    fn answers_as_numpy() {
        let text = include_str!("../../../../tests/data/numpy_draws.json");
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        for row in rows {
            let mut numpy = Numpy::new(row.seed);
            let (last, draws) = row.draws.split_last().unwrap();
            let skipped = |numpy: &mut Numpy| numpy.answer(Call::RandN(700)).map(|_| ());
            for (i, expected) in draws.iter().chain([last]).enumerate() {
                if i == draws.len() {
                    skipped(&mut numpy).unwrap();
                }
                let call = call(expected);
                let found = call.recorded(&numpy.answer(call.clone()).unwrap());
                assert_eq!(found.0, expected.0);
                // a decimal text keeps all but the last bit; logarithms and powers are not numpy's own
                let tolerance = if expected.0 == "np.beta" {
                    1e-12
                } else {
                    3e-16
                };
                let equal = same(&expected.3, &found.3, tolerance);
                assert!(
                    equal,
                    "seed {}: {expected} gave {}, not {}",
                    row.seed, found.3, expected.3
                );
                assert!(call.is(expected), "{call} is {expected}");
            }
        }
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let choice = |of: Json, p: Option<Vec<f64>>, size| {
            Call::Choice(Choice {
                of,
                size,
                size_positional: false,
                replace: Some(false),
                p,
            })
        };
        for (call, why) in [
            (
                Call::Randint(3, 3),
                "no whole number is from 3 on and below 3",
            ),
            (Call::RandintBelow(0), "no whole number"),
            (Call::Uniform(0.0, f64::INFINITY), "not finite"),
            (Call::RandN(1 << 40), "more than"),
            (Call::Beta(0.0, 1.0), "above 0"),
            (choice(0.into(), None, None), "nothing to choose from"),
            (
                choice((-1).into(), None, None),
                "neither a number nor a list",
            ),
            (choice(3.into(), None, Some(4)), "cannot take 4 of 3"),
            (choice(2.into(), Some(vec![0.5, 0.4]), None), "sum to 0.9"),
            (
                choice(2.into(), Some(vec![0.5]), None),
                "1 probabilities for 2",
            ),
            (choice(2.into(), Some(vec![1.5, -0.5]), None), "negative"),
            (
                choice(2.into(), Some(vec![1.0, 0.0]), Some(2)),
                "fewer than 2",
            ),
        ] {
            let error = Numpy::new(0).answer(call).unwrap_err();
            assert!(error.0.contains(why), "{error}");
        }
    }
}
