//! Numbers that decide how much is built or computed, with their bounds in their type: a config of a stranger may say 10**18.

use serde::de::{self, Deserialize, Deserializer};
use std::ops::Deref;

/// An integer from `LEAST` (0 or 1) to `MOST`; another one is an error where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const LEAST: usize, const MOST: usize>(usize);

impl<const LEAST: usize, const MOST: usize> Bounded<LEAST, MOST> {
    /// The integer.
    pub fn get(self) -> usize {
        self.0
    }
}

impl<'de, const LEAST: usize, const MOST: usize> Deserialize<'de> for Bounded<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let fits = usize::try_from(number)
            .ok()
            .filter(|n| (LEAST..=MOST).contains(n));
        fits.map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "{number} is out of bounds, {LEAST} to {MOST} are possible"
            ))
        })
    }
}

/// A list of at most `MOST` items.
#[derive(Clone, Debug, PartialEq)]
pub struct Short<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Short<T, MOST> {
    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<const LEAST: usize, const LARGEST: usize, const MOST: usize>
    Short<Bounded<LEAST, LARGEST>, MOST>
{
    /// The integers.
    pub fn numbers(&self) -> Vec<usize> {
        self.0.iter().map(|n| n.0).collect()
    }
}

impl<T, const MOST: usize> Deref for Short<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Short<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<T>::deserialize(deserializer)?;
        if items.len() <= MOST {
            return Ok(Self(items));
        }
        let count = items.len();
        Err(de::Error::custom(format!(
            "{count} items, at most {MOST} are possible"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_value;

    fn error<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        let problems = parse_value(text).unwrap().read::<T>().unwrap_err();
        problems
            .iter()
            .map(|p| p.message.clone())
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[derive(Debug, serde::Deserialize)]
    struct Part {
        classes: Bounded<1, 8>,
        widths: Option<Short<Bounded<0, 9>, 2>>,
    }

    #[test]
    fn every_number_out_of_bounds_is_named() {
        let part: Part = parse_value("dict(classes=8, widths=[0, 9])")
            .unwrap()
            .read()
            .unwrap();
        assert_eq!(
            (part.classes.get(), part.widths.unwrap().numbers()),
            (8, vec![0, 9])
        );
        assert_eq!(
            error::<Part>("dict(classes=0, widths=[1, 2, 3])"),
            "`classes`: 0 is out of bounds, 1 to 8 are possible; `widths`: 3 items, at most 2 are possible"
        );
        let large = error::<Part>("dict(classes=10**18, widths=[-1])");
        assert!(
            large.contains("1000000000000000000 is out of bounds"),
            "{large}"
        );
        assert!(large.contains("not negative"), "{large}");
    }
}
