//! One call on numpy's global generator, its answer, and the functions that transforms use.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::Random;

/// A call as written in the original's source: which function, and in which form its arguments are.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `np.random.rand()`.
    Rand,
    /// `np.random.rand(n)`.
    RandN(usize),
    /// `np.random.random()`.
    Random,
    /// `np.random.random_sample()`.
    RandomSample,
    /// `np.random.uniform(low, high)`.
    Uniform(f64, f64),
    /// `np.random.uniform(low)`: from `low` to 1.
    UniformFrom(f64),
    /// `np.random.uniform(low, high, n)`.
    UniformN(f64, f64, usize),
    /// `np.random.randint(high)`.
    RandintBelow(i64),
    /// `np.random.randint(low, high)`.
    Randint(i64, i64),
    /// `np.random.randint(low=low, high=high)`.
    RandintNamed(i64, i64),
    /// `np.random.randint(low, high, n)`.
    RandintN(i64, i64, usize),
    /// `np.random.permutation(n)`.
    Permutation(usize),
    /// `np.random.beta(a, b)`.
    Beta(f64, f64),
    /// `np.random.choice(...)`.
    Choice(Choice),
}

/// Arguments of `np.random.choice`, in the forms that transforms use.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The first argument as written: a number n, or a list.
    pub of: Json,
    /// `size`: `None`, or given by keyword or as the second argument.
    pub size: Option<usize>,
    /// `size` is written as the second argument.
    pub size_positional: bool,
    /// `replace=`, if written.
    pub replace: Option<bool>,
    /// `p=`, if written; `p=None` is the same as none.
    pub p: Option<Vec<f64>>,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One number.
    Float(f64),
    /// Several.
    Floats(Vec<f64>),
    /// One integer; for a choice the index of what was chosen.
    Int(i64),
    /// Several.
    Ints(Vec<i64>),
}

/// A recorded call, shown without its result: `[function, args, kwargs, result]`, for example `["np.uniform", [0, 1], {}, 0.5]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw(
    pub String,
    pub Vec<Json>,
    pub serde_json::Map<String, Json>,
    pub Json,
);

/// A call that could not be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomError(pub String);

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RandomError {}

impl From<RandomError> for crate::picture::Fault {
    fn from(error: RandomError) -> Self {
        Self::Transform(error.0)
    }
}

type Result<T> = std::result::Result<T, RandomError>;

/// The most numbers that one call may ask for, so that a config cannot exhaust the memory.
const NUMBERS_MAX: usize = 1 << 24;

impl Choice {
    /// How many there are to choose from; `None` if the first argument is neither a number nor a list.
    pub(super) fn population(&self) -> Option<usize> {
        match &self.of {
            Json::Array(items) => Some(items.len()),
            other => other.as_u64().map(|n| n as usize),
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let Some(population) = self.population() else {
            return Err("the first argument is neither a number nor a list".into());
        };
        let size = self.size.unwrap_or(1);
        if population.max(size) > NUMBERS_MAX {
            return Err(format!("more than {NUMBERS_MAX} numbers"));
        }
        if population == 0 && size > 0 {
            return Err("there is nothing to choose from".into());
        }
        let replace = self.replace.unwrap_or(true);
        if !replace && size > population {
            return Err(format!(
                "cannot take {size} of {population} without replacing"
            ));
        }
        let Some(p) = &self.p else {
            return Ok(());
        };
        if p.len() != population {
            return Err(format!("{} probabilities for {population}", p.len()));
        }
        if p.iter().any(|v| v.is_nan() || *v < 0.0) {
            return Err("a probability is no number, or negative".into());
        }
        let sum: f64 = p.iter().sum();
        // numpy's bound: the root of what a float can resolve at 1
        if (sum - 1.0).abs() > f64::EPSILON.sqrt() {
            return Err(format!("the probabilities sum to {sum}, not to 1"));
        }
        if !replace && p.iter().filter(|v| **v > 0.0).count() < size {
            return Err(format!("fewer than {size} have a probability"));
        }
        Ok(())
    }
}

impl Call {
    /// Function, arguments and keyword arguments, as a recording has them.
    fn parts(&self) -> (&'static str, Vec<Json>, serde_json::Map<String, Json>) {
        let none = serde_json::Map::new;
        match self {
            Call::Rand => ("np.rand", vec![], none()),
            Call::RandN(n) => ("np.rand", vec![json!(n)], none()),
            Call::Random => ("np.random", vec![], none()),
            Call::RandomSample => ("np.random_sample", vec![], none()),
            Call::Uniform(low, high) => ("np.uniform", vec![json!(low), json!(high)], none()),
            Call::UniformFrom(low) => ("np.uniform", vec![json!(low)], none()),
            Call::UniformN(low, high, n) => {
                let args = vec![json!(low), json!(high), json!(n)];
                ("np.uniform", args, none())
            }
            Call::RandintBelow(high) => ("np.randint", vec![json!(high)], none()),
            Call::Randint(low, high) => ("np.randint", vec![json!(low), json!(high)], none()),
            Call::RandintNamed(low, high) => {
                let named = [("low", json!(low)), ("high", json!(high))];
                let named = named.map(|(k, v)| (k.to_owned(), v));
                ("np.randint", vec![], named.into_iter().collect())
            }
            Call::RandintN(low, high, n) => {
                let args = vec![json!(low), json!(high), json!(n)];
                ("np.randint", args, none())
            }
            Call::Permutation(n) => ("np.permutation", vec![json!(n)], none()),
            Call::Beta(a, b) => ("np.beta", vec![json!(a), json!(b)], none()),
            Call::Choice(choice) => {
                let (mut args, mut named) = (vec![choice.of.clone()], none());
                match choice.size {
                    Some(n) if choice.size_positional => args.push(json!(n)),
                    Some(n) => {
                        named.insert("size".into(), json!(n));
                    }
                    None => {}
                }
                if let Some(p) = &choice.p {
                    named.insert("p".into(), json!(p));
                }
                if let Some(replace) = choice.replace {
                    named.insert("replace".into(), json!(replace));
                }
                ("np.choice", args, named)
            }
        }
    }

    /// Whether numpy takes these arguments, in bounded memory.
    pub(super) fn check(&self) -> Result<()> {
        let range = |low: f64, high: f64| {
            if (high - low).is_finite() {
                Ok(())
            } else {
                Err("the range is not finite".to_owned())
            }
        };
        let whole = |low: i64, high: i64| {
            if low < high {
                Ok(())
            } else {
                Err(format!("no whole number is from {low} on and below {high}"))
            }
        };
        let few = |n: usize| {
            if n <= NUMBERS_MAX {
                Ok(())
            } else {
                Err(format!("more than {NUMBERS_MAX} numbers"))
            }
        };
        let checked = match self {
            Call::Rand | Call::Random | Call::RandomSample => Ok(()),
            Call::RandN(n) | Call::Permutation(n) => few(*n),
            Call::Uniform(low, high) => range(*low, *high),
            Call::UniformFrom(low) => range(*low, 1.0),
            Call::UniformN(low, high, n) => range(*low, *high).and(few(*n)),
            Call::RandintBelow(high) => whole(0, *high),
            Call::Randint(low, high) | Call::RandintNamed(low, high) => whole(*low, *high),
            Call::RandintN(low, high, n) => whole(*low, *high).and(few(*n)),
            Call::Beta(a, b) => {
                if *a > 0.0 && *b > 0.0 && a.is_finite() && b.is_finite() {
                    Ok(())
                } else {
                    Err("both must be above 0".into())
                }
            }
            Call::Choice(choice) => choice.check(),
        };
        checked.map_err(|why| RandomError(format!("{self}: {why}")))
    }

    /// This call with its answer, as a recording has it.
    pub fn recorded(&self, answer: &Answer) -> Draw {
        let (name, args, named) = self.parts();
        let element = |i: &i64| match self {
            Call::Choice(Choice {
                of: Json::Array(items),
                ..
            }) => usize::try_from(*i).ok().and_then(|i| items.get(i)).cloned(),
            _ => None,
        };
        let whole = |i: &i64| element(i).unwrap_or_else(|| json!(i));
        let result = match answer {
            Answer::Float(v) => json!(v),
            Answer::Floats(v) => json!(v),
            Answer::Int(i) => whole(i),
            Answer::Ints(list) => list.iter().map(whole).collect(),
        };
        Draw(name.into(), args, named, result)
    }

    /// Whether a recording is of this call: the same function with the same arguments. Numbers are compared as numbers; an
    /// argument of `None` is as good as none.
    pub(super) fn is(&self, draw: &Draw) -> bool {
        let (name, args, named) = self.parts();
        let written =
            |map: &serde_json::Map<String, Json>| map.values().filter(|v| !v.is_null()).count();
        let same_named = |(key, value): (&String, &Json)| {
            draw.2
                .get(key)
                .map_or(value.is_null(), |other| same(value, other))
        };
        name == draw.0
            && args.len() == draw.1.len()
            && args.iter().zip(&draw.1).all(|(a, b)| same(a, b))
            && written(&named) == written(&draw.2)
            && named.iter().all(same_named)
    }

    /// The recorded result as an answer to this call; `None` if it cannot be one.
    pub(super) fn answer(&self, result: &Json) -> Option<Answer> {
        let floats = |n: usize| {
            let list: Option<Vec<f64>> = result.as_array()?.iter().map(Json::as_f64).collect();
            list.filter(|l| l.len() == n).map(Answer::Floats)
        };
        let ints = |n: usize, one: &dyn Fn(&Json) -> Option<i64>| {
            let list: Option<Vec<i64>> = result.as_array()?.iter().map(one).collect();
            list.filter(|l| l.len() == n).map(Answer::Ints)
        };
        let within =
            |low: i64, high: i64| move |v: &Json| whole(v).filter(|i| (low..high).contains(i));
        match self {
            Call::Rand | Call::Random | Call::RandomSample => result.as_f64().map(Answer::Float),
            Call::Uniform(..) | Call::UniformFrom(_) | Call::Beta(..) => {
                result.as_f64().map(Answer::Float)
            }
            Call::RandN(n) | Call::UniformN(_, _, n) => floats(*n),
            Call::RandintBelow(high) => within(0, *high)(result).map(Answer::Int),
            Call::Randint(low, high) | Call::RandintNamed(low, high) => {
                within(*low, *high)(result).map(Answer::Int)
            }
            Call::RandintN(low, high, n) => ints(*n, &within(*low, *high)),
            Call::Permutation(n) => {
                let answer = ints(*n, &within(0, *n as i64))?;
                let Answer::Ints(list) = &answer else {
                    return None;
                };
                let mut seen = vec![false; *n];
                let fresh = |i: &i64| !std::mem::replace(&mut seen[*i as usize], true);
                list.iter().all(fresh).then_some(answer)
            }
            Call::Choice(choice) => {
                let one = |v: &Json| match &choice.of {
                    Json::Array(items) => items.iter().position(|i| same(i, v)).map(|i| i as i64),
                    of => whole(v).filter(|i| (0..of.as_i64().unwrap_or(0)).contains(i)),
                };
                match choice.size {
                    None => one(result).map(Answer::Int),
                    Some(n) => ints(n, &one),
                }
            }
        }
    }
}

/// A whole number, also where it is written as a float.
fn whole(v: &Json) -> Option<i64> {
    let exact = |v: &f64| v.fract() == 0.0 && v.abs() < 9e15;
    v.as_i64()
        .or_else(|| v.as_f64().filter(exact).map(|v| v as i64))
}

/// Equal, numbers within 1e-9 of the larger: a decimal text may have lost the last digit.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, args, named) = self.parts();
        show(f, name, &args, &named)
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.0, &self.1, &self.2)
    }
}

fn show(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    args: &[Json],
    named: &serde_json::Map<String, Json>,
) -> fmt::Result {
    let args = args.iter().map(Json::to_string);
    let named = named.iter().map(|(key, value)| format!("{key}={value}"));
    let all: Vec<String> = args.chain(named).collect();
    write!(f, "{name}({})", all.join(", "))
}

impl dyn Random + '_ {
    fn float(&mut self, call: Call) -> Result<f64> {
        match self.answer(call.clone())? {
            Answer::Float(v) => Ok(v),
            other => Err(RandomError(format!(
                "{call:?} gave {other:?}, not a number"
            ))),
        }
    }
    fn floats(&mut self, call: Call) -> Result<Vec<f64>> {
        match self.answer(call.clone())? {
            Answer::Floats(v) => Ok(v),
            other => Err(RandomError(format!("{call:?} gave {other:?}, not numbers"))),
        }
    }
    fn int(&mut self, call: Call) -> Result<i64> {
        match self.answer(call.clone())? {
            Answer::Int(v) => Ok(v),
            other => Err(RandomError(format!(
                "{call:?} gave {other:?}, not an integer"
            ))),
        }
    }
    fn ints(&mut self, call: Call) -> Result<Vec<i64>> {
        match self.answer(call.clone())? {
            Answer::Ints(v) => Ok(v),
            other => Err(RandomError(format!(
                "{call:?} gave {other:?}, not integers"
            ))),
        }
    }
    /// `np.random.rand()`.
    pub fn rand(&mut self) -> Result<f64> {
        self.float(Call::Rand)
    }
    /// `np.random.rand(n)`.
    pub fn rand_n(&mut self, n: usize) -> Result<Vec<f64>> {
        self.floats(Call::RandN(n))
    }
    /// `np.random.random()`.
    pub fn random(&mut self) -> Result<f64> {
        self.float(Call::Random)
    }
    /// `np.random.random_sample()`.
    pub fn random_sample(&mut self) -> Result<f64> {
        self.float(Call::RandomSample)
    }
    /// `np.random.uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> Result<f64> {
        self.float(Call::Uniform(low, high))
    }
    /// `np.random.uniform(low)`: between `low` and 1.
    pub fn uniform_from(&mut self, low: f64) -> Result<f64> {
        self.float(Call::UniformFrom(low))
    }
    /// `np.random.uniform(low, high, n)`.
    pub fn uniform_n(&mut self, low: f64, high: f64, n: usize) -> Result<Vec<f64>> {
        self.floats(Call::UniformN(low, high, n))
    }
    /// `np.random.randint(high)`.
    pub fn randint_below(&mut self, high: i64) -> Result<i64> {
        self.int(Call::RandintBelow(high))
    }
    /// `np.random.randint(low, high)`.
    pub fn randint(&mut self, low: i64, high: i64) -> Result<i64> {
        self.int(Call::Randint(low, high))
    }
    /// `np.random.randint(low=low, high=high)`.
    pub fn randint_named(&mut self, low: i64, high: i64) -> Result<i64> {
        self.int(Call::RandintNamed(low, high))
    }
    /// `np.random.randint(low, high, n)`.
    pub fn randint_n(&mut self, low: i64, high: i64, n: usize) -> Result<Vec<i64>> {
        self.ints(Call::RandintN(low, high, n))
    }
    /// `np.random.permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Result<Vec<i64>> {
        self.ints(Call::Permutation(n))
    }
    /// `np.random.choice(list)` or `choice(list, p=p)`: the index of the chosen element.
    pub fn choice(&mut self, of: Json, p: Option<&[f64]>) -> Result<usize> {
        let p = p.map(<[f64]>::to_vec);
        let choice = Choice {
            of,
            size: None,
            size_positional: false,
            replace: None,
            p,
        };
        self.int(Call::Choice(choice)).map(|i| i as usize)
    }
    /// Any other form of `np.random.choice`; with a `size`, indices.
    pub fn choices(&mut self, choice: Choice) -> Result<Vec<i64>> {
        self.ints(Call::Choice(choice))
    }
}
