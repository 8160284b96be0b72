//! Config values that many backbones have in common: `out_indices` as one number or more, from the end where negative, sides of things, rates,
//! norms and activations.

use serde::Deserialize;

use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{ActConfig, Activation, NormConfig, NormKind};
use crate::limits::List;

/// Channels inside a block.
const MOST_HIDDEN: usize = 1 << 20;

/// `out_indices`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OutIndices {
    One(i64),
    Many(List<i64>),
}

impl OutIndices {
    /// Which of `count` maps are asked for, fine ones first. `things` are what is counted.
    ///
    /// # Errors
    /// One is asked for that is not there.
    pub fn of(
        given: Option<&Self>,
        default: &[i64],
        count: usize,
        things: &str,
        node: &Node,
    ) -> Result<Vec<usize>, Diagnostics> {
        let mut indices = Self::listed(given, default, count, things, node)?;
        indices.sort_unstable();
        indices.dedup();
        Ok(indices)
    }

    /// As [`OutIndices::of`], in the order in which they are asked for.
    pub fn listed(
        given: Option<&Self>,
        default: &[i64],
        count: usize,
        things: &str,
        node: &Node,
    ) -> Result<Vec<usize>, Diagnostics> {
        let named = match given {
            None => default,
            Some(Self::One(index)) => std::slice::from_ref(index),
            Some(Self::Many(list)) => list,
        };
        let count = count as i64;
        if let Some(index) = named.iter().find(|i| !(-count..count).contains(i)) {
            let message =
                format!("`out_indices` names {index}; there are {count} {things}, from 0");
            return Err(error_at(node, "out_indices", message, ""));
        }
        let indices = named.iter().map(|i| i.rem_euclid(count) as usize);
        Ok(indices.collect())
    }
}

/// One number for both sides, or height and width.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Sides<T> {
    Square(T),
    Each([T; 2]),
}

impl<T: Copy> Sides<T> {
    /// Height and width.
    pub fn both(self) -> [T; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Each(sides) => sides,
        }
    }
}

/// A share of what is left out: the key's value, 0 if absent.
///
/// # Errors
/// It is not from 0 to less than 1.
pub(super) fn rate(node: &Node, key: &str, given: Option<f64>) -> Result<f64, Diagnostics> {
    let rate = given.unwrap_or(0.0);
    if (0.0..1.0).contains(&rate) {
        return Ok(rate);
    }
    let message = format!("`{key}` is {rate}, must be from 0 to less than 1");
    Err(error_at(node, key, message, ""))
}

/// The rate of each of `count` blocks, which rises evenly from 0 to `last`.
pub(super) fn rising(last: f64, count: usize) -> impl Fn(usize) -> f64 + Copy {
    move |i| match count {
        0 | 1 => 0.0,
        _ => last * i as f64 / (count - 1) as f64,
    }
}

/// The norm `key` of layers with these channels.
///
/// # Errors
/// It is none, or does not suit them.
pub(super) fn norm(
    node: &Node,
    key: &str,
    default: NormConfig,
    channels: &[usize],
) -> Result<NormConfig, Diagnostics> {
    let norm = match node.get(key) {
        Some(cfg) => cfg.read()?,
        None => default,
    };
    match norm.check(channels) {
        Ok(()) => Ok(norm),
        Err(message) => Err(error_at(node, key, message, "")),
    }
}

/// The norm `key` of tokens.
///
/// # Errors
/// It is not one of tokens.
pub(super) fn token_norm(
    node: &Node,
    key: &str,
    default: NormConfig,
) -> Result<NormConfig, Diagnostics> {
    let norm = norm(node, key, default, &[])?;
    if norm.norm_kind() == Ok(NormKind::Layer) {
        return Ok(norm);
    }
    let message = format!("`{}` is no norm of tokens", norm.kind);
    let help = format!("tokens have a layer norm: {key}=dict(type='LN', eps=1e-6)");
    Err(error_at(node, key, message, &help))
}

/// The activation `key`.
///
/// # Errors
/// It is not known.
pub(super) fn act(node: &Node, key: &str, default: Activation) -> Result<Activation, Diagnostics> {
    let Some(cfg) = node.get(key) else {
        return Ok(default);
    };
    let cfg: ActConfig = cfg.read()?;
    Activation::from_config(&cfg).ok_or_else(|| {
        let help = format!("known are {}", Activation::NAMES.join(", "));
        let message = format!("unknown activation `{}`", cfg.kind);
        error_at(node, key, message, &help)
    })
}

/// `ratio` times so many channels, as the key `key` says.
///
/// # Errors
/// That is no number of channels.
pub(super) fn widened(
    node: &Node,
    key: &str,
    channels: usize,
    ratio: f64,
) -> Result<usize, Diagnostics> {
    let wide = channels as f64 * ratio;
    if (1.0..=MOST_HIDDEN as f64).contains(&wide) {
        return Ok(wide as usize);
    }
    let message = format!("`{key}` is {ratio}, which makes {channels} channels into {wide}");
    Err(error_at(node, key, message, ""))
}

/// The first `count` numbers of a list that has one for each stage.
///
/// # Errors
/// There are fewer.
pub(super) fn each<T: Copy>(
    node: &Node,
    key: &str,
    list: &[T],
    count: usize,
) -> Result<Vec<T>, Diagnostics> {
    match list.get(..count) {
        Some(list) => Ok(list.to_vec()),
        None => {
            let message = format!("`{key}` has {} entries for {count} stages", list.len());
            Err(error_at(node, key, message, ""))
        }
    }
}
