//! `HungarianAssigner` (Carion et al. 2020, arXiv 2005.12872, section 3.1) as MMDetection 3.3.0 computes it: one query for each object, so that
//! all together cost least.
//!
//! It runs on the host, on what is predicted: what is to be read from the device are a few hundred queries of a picture.

use serde::Deserialize;

use super::match_cost::{MatchCost, MatchCosts};
use super::{AnyAssigner, BACKGROUND};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::structures::Xyxy;
use crate::targets::Objects;

/// Assigns one to one.
#[derive(Clone, Debug)]
pub struct HungarianAssigner {
    /// They are added up.
    pub match_costs: Vec<MatchCost>,
}

/// What is predicted for one picture.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `[Q, K]`.
    pub logits: &'a [f32],
    /// K, at least 1.
    pub classes: usize,
    /// `[Q]`, xyxy px.
    pub boxes: &'a [Xyxy],
}

impl Queries<'_> {
    /// Of query `q`.
    pub(super) fn logits(&self, q: usize) -> &[f32] {
        &self.logits[q * self.classes..][..self.classes]
    }
}

/// The keys of `type='HungarianAssigner'` that are plain.
#[derive(Debug, Deserialize)]
struct HungarianConfig {}

/// The most costs that a config may add up.
const MOST: usize = 32;

pub(super) fn build(node: &Node, build: &Build) -> Result<AnyAssigner, Diagnostics> {
    let HungarianConfig {} = node.read_knowing(&["match_costs"])?;
    let given = node.get("match_costs").filter(|n| !n.is_none());
    let list: Vec<&Node> = match given {
        Some(one) if one.get("type").is_some() => vec![one],
        Some(list) => list.as_items().unwrap_or_default().iter().collect(),
        None => Vec::new(),
    };
    if list.is_empty() || list.len() > MOST {
        let message = format!("`match_costs` is a list of 1 to {MOST} costs");
        let help = "for example [dict(type='FocalLossCost', weight=2.0)]";
        return Err(error_at(node, "match_costs", message, help));
    }
    let cost = |node: &&Node| build.find::<MatchCosts>(node)?(node, build);
    let match_costs = list.iter().map(cost).collect::<Result<_, _>>()?;
    Ok(AnyAssigner::Queries(HungarianAssigner { match_costs }))
}

impl HungarianAssigner {
    /// For each query [`BACKGROUND`], or object g as `g + 1`. `size` is the picture's height and width, px.
    ///
    /// # Panics
    /// If there are not as many logits as boxes and classes say, or an object's class is none of them.
    pub fn assign(&self, queries: &Queries, objects: &Objects, size: [usize; 2]) -> Vec<i32> {
        let count = queries.boxes.len();
        assert_eq!(
            queries.logits.len(),
            count * queries.classes,
            "logits are [Q, K]"
        );
        let objects = || objects.boxes.iter().zip(&objects.labels);
        let cost = |q: usize, (bbox, label): (&Xyxy, &usize)| -> f64 {
            let costs = self.match_costs.iter();
            let sum: f32 = costs.map(|c| c.of(queries, q, bbox, *label, size)).sum();
            // what is no number is taken last
            if sum.is_finite() {
                f64::from(sum)
            } else {
                1e30
            }
        };
        let mut assigned = vec![BACKGROUND; count];
        // the side with fewer takes
        let found = objects().len();
        if found <= count {
            let costs: Vec<Vec<f64>> = objects()
                .map(|object| (0..count).map(|q| cost(q, object)).collect())
                .collect();
            for (g, q) in cheapest(&costs).into_iter().enumerate() {
                assigned[q] = g as i32 + 1;
            }
        } else {
            let costs: Vec<Vec<f64>> = (0..count)
                .map(|q| objects().map(|object| cost(q, object)).collect())
                .collect();
            for (q, g) in cheapest(&costs).into_iter().enumerate() {
                assigned[q] = g as i32 + 1;
            }
        }
        assigned
    }
}

/// A column for each row, none twice, so that they cost least together: by shortest augmenting paths (Crouse 2016, "On implementing 2D
/// rectangular assignment algorithms", which SciPy follows). There are as many columns as rows, or more, and all costs are finite.
fn cheapest(costs: &[Vec<f64>]) -> Vec<usize> {
    let columns = costs.first().map_or(0, Vec::len);
    let (mut of_rows, mut of_columns) = (vec![0.0; costs.len()], vec![0.0; columns]);
    let mut column_of: Vec<Option<usize>> = vec![None; costs.len()];
    let mut row_of: Vec<Option<usize>> = vec![None; columns];
    for first in 0..costs.len() {
        // The cheapest way from the row to each column, and the row before it.
        let mut way = vec![f64::INFINITY; columns];
        let mut before = vec![first; columns];
        let mut left: Vec<usize> = (0..columns).rev().collect();
        let mut reached: Vec<usize> = Vec::new();
        let (mut row, mut least) = (first, 0.0);
        let last = loop {
            let mut nearest = (f64::INFINITY, 0);
            for (at, &column) in left.iter().enumerate() {
                let reduced = least + costs[row][column] - of_rows[row] - of_columns[column];
                if reduced < way[column] {
                    (way[column], before[column]) = (reduced, row);
                }
                let free = way[column] == nearest.0 && row_of[column].is_none();
                if way[column] < nearest.0 || free {
                    nearest = (way[column], at);
                }
            }
            let column = left.swap_remove(nearest.1);
            least = nearest.0;
            reached.push(column);
            match row_of[column] {
                None => break column,
                Some(taken) => row = taken,
            }
        };
        of_rows[first] += least;
        for column in &reached {
            if let Some(row) = row_of[*column] {
                of_rows[row] += least - way[*column];
            }
            of_columns[*column] -= least - way[*column];
        }
        let mut column = last;
        loop {
            let row = before[column];
            row_of[column] = Some(row);
            match column_of[row].replace(column) {
                Some(freed) if row != first => column = freed,
                _ => break,
            }
        }
    }
    let chosen = column_of
        .into_iter()
        .map(|c| c.expect("each row has got one"));
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::uniform;

    #[test]
    fn by_hand() {
        // each row alone would take the first column
        let costs = [
            vec![1.0, 2.0, 9.0],
            vec![1.0, 5.0, 9.0],
            vec![0.0, 1.0, 3.0],
        ];
        assert_eq!(cheapest(&costs), [1, 0, 2]);
        assert_eq!(cheapest(&costs[..2]), [1, 0]);
        assert_eq!(cheapest(&[vec![7.0; 3], vec![7.0; 3]]), [0, 1]);
        assert!(cheapest(&[]).is_empty());
    }

    /// All orders of up to five columns.
    #[test]
    fn none_is_cheaper() {
        fn least(costs: &[Vec<f64>], taken: &mut Vec<usize>) -> f64 {
            let Some(row) = costs.get(taken.len()) else {
                return 0.0;
            };
            let mut best = f64::INFINITY;
            for (column, cost) in row.iter().enumerate() {
                if !taken.contains(&column) {
                    taken.push(column);
                    best = best.min(cost + least(costs, taken));
                    taken.pop();
                }
            }
            best
        }
        for seed in 0..60 {
            let (rows, columns) = (1 + seed % 4, 4 + seed % 2);
            let numbers = uniform(seed as u32, rows * columns);
            // many are the same
            let rough = |u: &f64| {
                if seed % 3 == 0 {
                    (u * 4.0).floor()
                } else {
                    u * 10.0 - 5.0
                }
            };
            let costs = numbers
                .chunks(columns)
                .map(|row| row.iter().map(rough).collect());
            let costs: Vec<Vec<f64>> = costs.collect();
            let chosen = cheapest(&costs);
            let sum: f64 = chosen
                .iter()
                .enumerate()
                .map(|(row, column)| costs[row][*column])
                .sum();
            assert!(
                (sum - least(&costs, &mut Vec::new())).abs() < 1e-9,
                "{costs:?}: {chosen:?}"
            );
        }
    }
}
