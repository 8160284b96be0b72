//! Config values that many backbones have in common, read and checked: `arch`, `out_indices` as one number or more, from the end where negative,
//! sides of things, rates, norms and activations.

use std::fmt::Debug;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::{Diagnostics, Node, error_at, nearest};
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

/// What an `arch` says: one of the table, by its name, or a dict of the same.
pub(super) enum Arch<T, D> {
    Named(T),
    Given(D),
}

/// `arch`; `default` is the name where there is none.
///
/// # Errors
/// The table has no such name, or a dict lacks something.
pub(super) fn arch<T: Copy, D: DeserializeOwned>(
    node: &Node,
    default: &str,
    table: &[(&str, T)],
) -> Result<Arch<T, D>, Diagnostics> {
    let said = node.get("arch");
    if let Some(dict) = said.filter(|arch| arch.as_dict().is_some()) {
        return Ok(Arch::Given(dict.read()?));
    }
    let name = match said {
        Some(arch) => arch.read::<String>()?,
        None => default.to_string(),
    };
    let named = |(known, _): &&(&str, T)| known.eq_ignore_ascii_case(&name);
    match table.iter().find(named) {
        Some((_, arch)) => Ok(Arch::Named(*arch)),
        None => Err(unknown_arch(node, &name, table.iter().map(|row| row.0))),
    }
}

/// There is no arch `name`.
pub(super) fn unknown_arch<'a>(
    node: &Node,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Diagnostics {
    let class = node.get("type").and_then(Node::as_type);
    let class = class.unwrap_or_default();
    let known: Vec<_> = known.collect();
    let message = format!("{class} has no arch '{name}'");
    let quoted: Vec<_> = known.iter().map(|name| format!("'{name}'")).collect();
    let all = format!("known are {}", quoted.join(", "));
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'? {all}"),
        None => all,
    };
    error_at(node, "arch", message, &help)
}

/// As [`said_indices`], in order.
///
/// # Errors
/// One is not there.
pub(super) fn out_indices(
    node: &Node,
    default: &[i64],
    count: usize,
    end: usize,
) -> Result<Vec<usize>, Diagnostics> {
    let mut places = said_indices(node, default, count, end)?;
    places.sort_unstable();
    Ok(places)
}

/// `out_indices`, a number or a list of them, each once: stages or layers of which there are `count`; negative ones count back from `end`.
/// `default` where nothing is said.
///
/// # Errors
/// One is not there.
pub(super) fn said_indices(
    node: &Node,
    default: &[i64],
    count: usize,
    end: usize,
) -> Result<Vec<usize>, Diagnostics> {
    let said = match node.get("out_indices") {
        None => default.to_vec(),
        Some(one) if one.as_int().is_some() => vec![one.read()?],
        Some(many) => many.read::<List<i64>>()?.to_vec(),
    };
    let place = |i: &i64| {
        let at = if *i < 0 {
            i.saturating_add(end as i64)
        } else {
            *i
        };
        let found = usize::try_from(at).ok().filter(|at| *at < count);
        found.ok_or_else(|| {
            let last = count as i64 - 1;
            let message = format!("`out_indices` names {i}; there are 0 to {last}");
            error_at(node, "out_indices", message, "")
        })
    };
    let mut places = Vec::new();
    for index in &said {
        let at = place(index)?;
        if !places.contains(&at) {
            places.push(at);
        }
    }
    Ok(places)
}

/// `frozen_stages`, at most `most`; `default` where nothing is said.
///
/// # Errors
/// It is more.
pub(super) fn frozen_stages(
    node: &Node,
    said: Option<i64>,
    default: i64,
    most: usize,
) -> Result<i64, Diagnostics> {
    let frozen = said.unwrap_or(default);
    if frozen > most as i64 {
        let message = format!("`frozen_stages` is {frozen}, at most {most} are there");
        return Err(error_at(node, "frozen_stages", message, ""));
    }
    Ok(frozen)
}

/// One item for each of `count` stages.
///
/// # Errors
/// There are fewer, or more.
pub(super) fn one_each<T: Debug>(
    node: &Node,
    key: &str,
    list: &[T],
    count: usize,
) -> Result<(), Diagnostics> {
    if list.len() == count {
        return Ok(());
    }
    let message = format!("`{key}` has {} entries for {count} stages", list.len());
    Err(error_at(node, key, message, ""))
}
