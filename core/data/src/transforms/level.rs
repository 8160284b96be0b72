//! Chance and strength that mmdet 3.3's colour and geometric transforms share: `prob`, and a `level` of ten between `min_mag` and
//! `max_mag` (datasets/transforms/augment_wrappers.py, `level_to_mag`).

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::picture::Fault;
use crate::random::Random;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// `_MAX_LEVEL`.
const MAX_LEVEL: i64 = 10;

/// What a colour or geometric transform draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Magnitude {
    /// How strong, in the transform's own unit; `None` where it is left out this time.
    pub magnitude: Option<f64>,
}

/// The options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    prob: f64,
    level: Option<i64>,
    min: f64,
    max: f64,
}

/// The same as a config has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pub prob: Option<f64>,
    pub level: Option<i64>,
    pub min_mag: Option<f64>,
    pub max_mag: Option<f64>,
}

impl Level {
    /// Checks the options as mmdet's asserts do. `range` bounds the magnitudes; `defaults` are those of `min_mag` and `max_mag`.
    pub fn read(
        node: &Node,
        given: Given,
        defaults: [f64; 2],
        range: Option<RangeInclusive<f64>>,
    ) -> Result<Self, Diagnostics> {
        let level = Self {
            prob: given.prob.unwrap_or(1.0),
            level: given.level,
            min: given.min_mag.unwrap_or(defaults[0]),
            max: given.max_mag.unwrap_or(defaults[1]),
        };
        let mut problems = Diagnostics::new();
        problems.extend(chance(node, "prob", level.prob).err().unwrap_or_default());
        if let Some(n) = level.level.filter(|n| !(0..=MAX_LEVEL).contains(n)) {
            let message = format!("`level` is {n}, must be from 0 to {MAX_LEVEL}");
            problems.extend(error_at(node, "level", message, ""));
        }
        for (key, value) in [("min_mag", level.min), ("max_mag", level.max)] {
            problems.extend(float(node, key).err().unwrap_or_default());
            if let Some(range) = range.as_ref().filter(|r| !r.contains(&value)) {
                let (from, to) = (range.start(), range.end());
                let message = format!("`{key}` is {value}, must be from {from} to {to}");
                problems.extend(error_at(node, key, message, ""));
            }
        }
        if level.min.partial_cmp(&level.max).is_none_or(|o| o.is_gt()) {
            let message = format!(
                "`min_mag` {} is more than `max_mag` {}",
                level.min, level.max
            );
            problems.extend(error_at(node, "min_mag", message, ""));
        }
        if problems.is_empty() {
            Ok(level)
        } else {
            Err(problems)
        }
    }

    /// Whether the transform is left out this time.
    pub fn left_out(&self, random: &mut dyn Random) -> Result<bool, Fault> {
        Ok(random.rand()? > self.prob)
    }

    /// The magnitude of the level, or a drawn one; to one decimal.
    pub fn magnitude(&self, random: &mut dyn Random) -> Result<f64, Fault> {
        let share = match self.level {
            None => random.rand()?,
            Some(level) => level as f64 / MAX_LEVEL as f64,
        };
        Ok(one_decimal(share * (self.max - self.min) + self.min))
    }
}

/// Python's `round(value, 1)`: of the exact value, and half to even.
fn one_decimal(value: f64) -> f64 {
    // the formatter rounds the same way
    format!("{value:.1}").parse().unwrap_or(value)
}

/// A probability.
pub(super) fn chance(node: &Node, key: &str, value: f64) -> Result<(), Diagnostics> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    let message = format!("`{key}` is {value}, must be from 0 to 1");
    Err(error_at(node, key, message, ""))
}

/// A range from which is drawn: both of its ends must be within `allowed`.
pub(super) fn within(
    node: &Node,
    key: &str,
    [low, high]: [f64; 2],
    allowed: RangeInclusive<f64>,
) -> Result<(), Diagnostics> {
    if allowed.contains(&low) && allowed.contains(&high) {
        return Ok(());
    }
    let (from, to) = (allowed.start(), allowed.end());
    let must = match to.is_finite() {
        true => format!("both must be from {from} to {to}"),
        false if *from > 0.0 && *from < 1e-9 => "both must be more than 0".to_owned(),
        false => format!("both must be at least {from}"),
    };
    let message = format!("`{key}` is ({low}, {high}), {must}");
    Err(error_at(node, key, message, ""))
}

/// mmdet asserts that some options are floats: an int is a mistake there.
pub(super) fn float(node: &Node, key: &str) -> Result<(), Diagnostics> {
    match node.get(key).map(|n| &n.value) {
        Some(Value::Int(i)) => {
            let message = format!("`{key}` must be a float, found the int {i}");
            Err(error_at(node, key, message, &format!("write {i}.0")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_python() {
        // what CPython's round(x, 1) gives
        for (value, expected) in [
            (0.25, 0.2),
            (0.35, 0.3),
            (0.45, 0.5),
            (-0.25, -0.2),
            (2.75, 2.8),
            (0.05, 0.1),
            (0.15, 0.1),
            (64.04999, 64.0),
            (1e300, 1e300),
        ] {
            assert_eq!(one_decimal(value), expected, "{value}");
        }
    }
}
