//! numpy's calls made of a stream of 32-bit words, by the algorithms of its legacy `RandomState` (numpy 1.26, random/mtrand.pyx
//! and random/src/legacy), which numpy promises not to change.

use super::{Answer, Call, Choice, RandomError};

type Result<T> = std::result::Result<T, RandomError>;

/// Random words.
pub(super) trait Words {
    /// The next one.
    fn next(&mut self) -> u32;

    /// In [0, 1): 53 bits of two words.
    fn float(&mut self) -> f64 {
        let (a, b) = (self.next() >> 5, self.next() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    /// In 0..=most: words, masked, until one fits.
    fn most(&mut self, most: u64) -> u64 {
        if most == 0 {
            return 0;
        }
        let mask = u64::MAX >> most.leading_zeros();
        loop {
            let mut word = u64::from(self.next());
            if most > u64::from(u32::MAX) {
                word = word << 32 | u64::from(self.next());
            }
            if word & mask <= most {
                return word & mask;
            }
        }
    }
}

/// Answers a call. `gauss` is the normal number that the last pair left over.
pub(super) fn answer(
    words: &mut dyn Words,
    gauss: &mut Option<f64>,
    call: &Call,
) -> Result<Answer> {
    call.check()?;
    Ok(match call {
        Call::Rand | Call::Random | Call::RandomSample => Answer::Float(words.float()),
        Call::RandN(n) => Answer::Floats((0..*n).map(|_| words.float()).collect()),
        Call::Uniform(low, high) => Answer::Float(uniform(words, *low, *high)),
        Call::UniformFrom(low) => Answer::Float(uniform(words, *low, 1.0)),
        Call::UniformN(low, high, n) => {
            Answer::Floats((0..*n).map(|_| uniform(words, *low, *high)).collect())
        }
        Call::RandintBelow(high) => Answer::Int(randint(words, 0, *high)),
        Call::Randint(low, high) | Call::RandintNamed(low, high) => {
            Answer::Int(randint(words, *low, *high))
        }
        Call::RandintN(low, high, n) => {
            Answer::Ints((0..*n).map(|_| randint(words, *low, *high)).collect())
        }
        Call::Permutation(n) => Answer::Ints(permutation(words, *n)),
        Call::Beta(a, b) => Answer::Float(beta(words, gauss, *a, *b)),
        Call::Choice(choice) => {
            let mut chosen = choose(words, choice, call)?;
            match choice.size {
                None => Answer::Int(chosen.pop().unwrap_or(0)),
                Some(_) => Answer::Ints(chosen),
            }
        }
    })
}

fn uniform(words: &mut dyn Words, low: f64, high: f64) -> f64 {
    low + (high - low) * words.float()
}

/// The range is not empty.
fn randint(words: &mut dyn Words, low: i64, high: i64) -> i64 {
    let most = high.wrapping_sub(low).wrapping_sub(1) as u64;
    low.wrapping_add(words.most(most) as i64)
}

/// Fisher and Yates, from the end.
fn permutation(words: &mut dyn Words, n: usize) -> Vec<i64> {
    let mut list: Vec<i64> = (0..n as i64).collect();
    for i in (1..n).rev() {
        let j = words.most(i as u64) as usize;
        list.swap(i, j);
    }
    list
}

fn choose(words: &mut dyn Words, choice: &Choice, call: &Call) -> Result<Vec<i64>> {
    let population = choice.population().unwrap_or(0);
    let n = choice.size.unwrap_or(1);
    if choice.replace.unwrap_or(true) {
        let Some(p) = &choice.p else {
            return Ok((0..n)
                .map(|_| randint(words, 0, population as i64))
                .collect());
        };
        let cdf = cumulated(p);
        return Ok((0..n).map(|_| place(&cdf, words.float())).collect());
    }
    let Some(p) = &choice.p else {
        let mut list = permutation(words, population);
        list.truncate(n);
        return Ok(list);
    };
    let (mut p, mut found) = (p.clone(), Vec::with_capacity(n));
    let mut taken = vec![false; p.len()];
    while found.len() < n {
        for i in &found {
            p[*i as usize] = 0.0;
        }
        let cdf = cumulated(&p);
        let drawn: Vec<f64> = (found.len()..n).map(|_| words.float()).collect();
        let before = found.len();
        for x in drawn {
            let i = place(&cdf, x);
            if !std::mem::replace(&mut taken[i as usize], true) {
                found.push(i);
            }
        }
        // Only where the probabilities left are too small to add up.
        if found.len() == before {
            return Err(RandomError(format!(
                "{call}: too little probability is left"
            )));
        }
    }
    Ok(found)
}

/// Sums up to each element, divided by the whole.
fn cumulated(p: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let mut cdf: Vec<f64> = p
        .iter()
        .map(|v| {
            sum += v;
            sum
        })
        .collect();
    cdf.iter_mut().for_each(|v| *v /= sum);
    cdf
}

/// `searchsorted(x, side="right")`.
fn place(cdf: &[f64], x: f64) -> i64 {
    // the last is 1 and x below it
    cdf.partition_point(|v| *v <= x).min(cdf.len() - 1) as i64
}

/// Jöhnk's algorithm where both are at most 1, else of two gammas.
fn beta(words: &mut dyn Words, gauss: &mut Option<f64>, a: f64, b: f64) -> f64 {
    if a > 1.0 || b > 1.0 {
        let x = gamma(words, gauss, a);
        let y = gamma(words, gauss, b);
        return x / (x + y);
    }
    loop {
        let (u, v) = (words.float(), words.float());
        let (x, y) = (u.powf(1.0 / a), v.powf(1.0 / b));
        if x + y > 1.0 {
            continue;
        }
        if x + y > 0.0 {
            return x / (x + y);
        }
        let (x, y) = (u.ln() / a, v.ln() / b);
        let most = x.max(y);
        let (x, y) = (x - most, y - most);
        return (x - (x.exp() + y.exp()).ln()).exp();
    }
}

/// Gamma of scale 1: Marsaglia and Tsang from 1 on, Ahrens and Dieter below.
fn gamma(words: &mut dyn Words, gauss: &mut Option<f64>, shape: f64) -> f64 {
    if shape == 1.0 {
        return exponential(words);
    }
    if shape < 1.0 {
        loop {
            let (u, v) = (words.float(), exponential(words));
            if u <= 1.0 - shape {
                let x = u.powf(1.0 / shape);
                if x <= v {
                    return x;
                }
            } else {
                let y = -((1.0 - u) / shape).ln();
                let x = (1.0 - shape + shape * y).powf(1.0 / shape);
                if x <= v + y {
                    return x;
                }
            }
        }
    }
    let b = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * b).sqrt();
    loop {
        let (x, v) = loop {
            let x = normal(words, gauss);
            let v = 1.0 + c * x;
            if v > 0.0 {
                break (x, v * v * v);
            }
        };
        let u = words.float();
        if u < 1.0 - 0.0331 * (x * x) * (x * x) || u.ln() < 0.5 * x * x + b * (1.0 - v + v.ln()) {
            return b * v;
        }
    }
}

fn exponential(words: &mut dyn Words) -> f64 {
    -(1.0 - words.float()).ln()
}

/// Marsaglia's polar method, which makes two at a time.
fn normal(words: &mut dyn Words, gauss: &mut Option<f64>) -> f64 {
    if let Some(left) = gauss.take() {
        return left;
    }
    loop {
        let (x, y) = (2.0 * words.float() - 1.0, 2.0 * words.float() - 1.0);
        let square = x * x + y * y;
        if square < 1.0 && square != 0.0 {
            let f = (-2.0 * square.ln() / square).sqrt();
            *gauss = Some(f * x);
            return f * y;
        }
    }
}
