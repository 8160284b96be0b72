//! Keys that MMPretrain's backbones have in common, read and checked.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use crate::config::{Diagnostics, Node, error_at, nearest};
use crate::limits::List;

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

/// `drop_path_rate` or another share of what is left out.
///
/// # Errors
/// It is not from 0 to less than 1.
pub(super) fn rate(node: &Node, key: &str, said: Option<f64>) -> Result<f64, Diagnostics> {
    let rate = said.unwrap_or(0.0);
    if (0.0..1.0).contains(&rate) {
        return Ok(rate);
    }
    let message = format!("`{key}` is {rate}, must be from 0 to less than 1");
    Err(error_at(node, key, message, ""))
}

/// The rates of `count` blocks, rising from 0 to `rate`.
pub(super) fn rising(rate: f64, count: usize) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| rate * i as f64 / last).collect()
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
