//! "Did you mean": the name in a list that is nearest to a mistyped one.

use std::cmp::Reverse;

/// How many names are compared.
const NAMES: usize = 2000;
/// Longer words, in characters, are nobody's typos.
const LONGEST: usize = 200;

/// The nearest of `names` to `wanted`, if one is near enough to be worth saying.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wanted.chars().take(LONGEST + 1).count();
    if length > LONGEST {
        return None;
    }
    // A third of the name may be wrong; two letters in any case for short names such as `in`.
    let limit = (length / 3).max(if length > 3 { 2 } else { 1 });
    let lower = wanted.to_lowercase();
    names
        .into_iter()
        .take(NAMES)
        .filter(|name| name.len() <= 4 * LONGEST)
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(d, name)| *d <= limit || contains(&lower, &name.to_lowercase()))
        // Of those that are as near, the one that begins as it does for longest.
        .min_by_key(|(d, name)| (*d, Reverse(same_start(&lower, &name.to_lowercase()))))
        .map(|(_, name)| name)
}

/// How many characters two words begin with alike.
fn same_start(a: &str, b: &str) -> usize {
    let pairs = a.chars().zip(b.chars());
    pairs.take_while(|(a, b)| a == b).count()
}

/// One name within the other counts as near when it is most of it (`channels`, `in_channels`).
fn contains(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.len() >= 4 && short.len() * 2 >= long.len() && long.contains(short)
}

/// Number of single-character edits and swaps of neighbours between two words (restricted
/// Damerau-Levenshtein). Words over 200 characters are compared by their first 200.
pub fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(200).collect();
    let b: Vec<char> = b.chars().take(200).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let swap = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = swap.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_mistakes_and_nothing_far_away() {
        let names = ["in_channels", "out_channels", "num_outs"];
        assert_eq!(nearest("in_chanels", names), Some("in_channels"));
        assert_eq!(nearest("num_out", names), Some("num_outs"));
        assert_eq!(nearest("depth", names), None);
        assert_eq!(nearest("ResNett", ["ResNeSt", "ResNet"]), Some("ResNet"));
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
