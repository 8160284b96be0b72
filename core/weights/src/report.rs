//! How a checkpoint fits a model: matched, missing, unexpected, wrong shape, and the prefix that would fit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::Checkpoint;
use super::error::shortened;

/// Names of each class that `Display` lists before "and N more".
const SHOWN: usize = 10;
/// Longest line of those, in bytes: a name, and why.
const MAX_LINE: usize = 400;

/// A tensor whose shape in the file is not the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// The model's key.
    pub key: String,
    /// Shape in the file.
    pub file: Vec<usize>,
    /// Shape in the model.
    pub model: Vec<usize>,
}

/// How a checkpoint fits a model; `Display` shows counts, the first names of each class, and help.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// The prefix that was used, with its dot.
    pub prefix: Option<String>,
    /// The model's key and the file's key of each tensor that fits.
    pub matched: Vec<(String, String)>,
    /// Keys of the model that the file lacks. `num_batches_tracked` is not counted, as in mmengine.
    pub missing: Vec<String>,
    /// Keys of the file that the model lacks; with a prefix only those under it, without it.
    pub unexpected: Vec<String>,
    /// Tensors whose shapes differ.
    pub wrong_shape: Vec<WrongShape>,
    /// Tensors that the model wants and that cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// A prefix that would match far more keys than now; empty when the one given should be left out.
    pub prefix_hint: Option<String>,
    /// The part of the model, such as `backbone.`, that the whole file is for.
    pub part_hint: Option<String>,
    /// How many keys match if the hint is followed, and of how many.
    pub hint_matches: (usize, usize),
}

impl LoadReport {
    /// The same, with tensors that turned out to be unreadable: the model's keys, and why.
    pub fn with_unreadable(mut self, found: Vec<(String, String)>) -> Self {
        let keys: HashSet<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        self.matched.retain(|(key, _)| !keys.contains(key.as_str()));
        let mut known: HashSet<String> =
            self.unreadable.iter().map(|(key, _)| key.clone()).collect();
        for (key, why) in found {
            if known.insert(key.clone()) {
                self.unreadable.push((key, why));
            }
        }
        self
    }

    /// The same, after reading every value that the model would take from the checkpoint.
    pub fn after_reading(self, checkpoint: &Checkpoint) -> Self {
        let mut found = Vec::new();
        for (key, file_key) in &self.matched {
            // Counters are integers, which only training reads.
            if key.ends_with("num_batches_tracked") {
                continue;
            }
            let read = checkpoint.tensor(file_key).and_then(|view| view.f32());
            found.extend(read.err().map(|why| (key.clone(), why.to_string())));
        }
        self.with_unreadable(found)
    }

    /// The parts of the model, such as `backbone`, that the file lacks more than half of: the part, tensors missing, and of how many.
    pub fn lacking(&self) -> Vec<(&str, usize, usize)> {
        let part = |key: &'_ str| key.split('.').next().unwrap_or_default().len();
        let mut parts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for key in &self.missing {
            let (missing, all) = parts.entry(&key[..part(key)]).or_default();
            (*missing, *all) = (*missing + 1, *all + 1);
        }
        let matched = self.matched.iter().map(|(key, _)| key);
        let unreadable = self.unreadable.iter().map(|(key, _)| key);
        let wrong = self.wrong_shape.iter().map(|wrong| &wrong.key);
        for key in matched.chain(unreadable).chain(wrong) {
            // Counters are never counted as missing.
            if !key.ends_with("num_batches_tracked") {
                parts.entry(&key[..part(key)]).or_default().1 += 1;
            }
        }
        let parts = parts.into_iter();
        let lacking = parts.filter(|(_, (missing, all))| missing * 2 > *all);
        lacking
            .map(|(part, (missing, all))| (part, missing, all))
            .collect()
    }

    /// True when every tensor of the model is in the file with its shape.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.wrong_shape.is_empty() && self.unreadable.is_empty()
    }
}

/// A tensor that a model wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub key: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its name in older checkpoints, if that was another.
    pub once: Option<String>,
    /// Of vectors for the places of a map, `[1, places, channels]`, that are resized where the file has them for a square map of another size:
    /// how many vectors there are before them.
    pub square: Option<usize>,
}

impl Wanted {
    /// Whether a tensor of this shape is, or is made, what is wanted.
    pub(crate) fn takes(&self, file: &[usize]) -> bool {
        if fits(file, &self.shape) {
            return true;
        }
        let (Some(extra), [1, rows, channels], [1, places, same]) =
            (self.square, file, &self.shape[..])
        else {
            return false;
        };
        let square = rows.checked_sub(extra).filter(|rows| *rows > 0);
        let square = square.is_some_and(|rows| rows.isqrt().pow(2) == rows);
        // One more is a class token that the model does without.
        channels == same && (square || extra == 0 && *rows == places + 1)
    }
}

/// Compares what a model wants with what a checkpoint has.
///
/// `prefix` as in `init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`: only keys under it count, without
/// it; the trailing dot may be left out.
pub fn report(wanted: &[Wanted], checkpoint: &Checkpoint, prefix: Option<&str>) -> LoadReport {
    let below = checkpoint.prefix(prefix);
    let prefix = prefix.filter(|prefix| !prefix.is_empty());
    let prefix = prefix.map(|prefix| format!("{}.", prefix.trim_end_matches('.')));
    let offered = offered(checkpoint, &below);
    let mut report = LoadReport::default();
    let mut used = HashSet::new();
    for one in wanted {
        let Wanted {
            key, shape, once, ..
        } = one;
        let names = [Some(key), once.as_ref()];
        let mut known = names.into_iter().flatten().filter_map(|name| {
            let file_key = offered.by_key.get(name.as_str())?;
            Some((name, *file_key))
        });
        let Some((name, file_key)) = known.next() else {
            if !key.ends_with("num_batches_tracked") {
                report.missing.push(key.clone());
            }
            continue;
        };
        used.insert(name.as_str());
        match checkpoint.tensor(file_key) {
            Ok(tensor) if one.takes(tensor.shape()) => {
                report.matched.push((key.clone(), file_key.to_owned()));
            }
            Ok(tensor) => report.wrong_shape.push(WrongShape {
                key: key.clone(),
                file: tensor.shape().to_vec(),
                model: shape.clone(),
            }),
            Err(error) => report.unreadable.push((key.clone(), error.to_string())),
        }
    }
    for &key in &offered.order {
        // Counters of a norm that the model keeps without one are no news.
        let norm = key.strip_suffix("num_batches_tracked");
        let counter =
            norm.is_some_and(|norm| used.contains(format!("{norm}running_mean").as_str()));
        if !used.contains(key) && !counter {
            report.unexpected.push(key.to_owned());
        }
    }
    add_hint(&mut report, wanted, checkpoint);
    report.prefix = prefix;
    report
}

/// PyTorch before 0.4 stored single numbers with one dimension.
fn fits(file: &[usize], model: &[usize]) -> bool {
    file == model || (file == [1] && model.is_empty())
}

/// The file's keys as the model would see them.
struct Offered<'a> {
    /// From the key without prefix to the file's key.
    by_key: HashMap<&'a str, &'a str>,
    order: Vec<&'a str>,
}

fn offered<'a>(checkpoint: &'a Checkpoint, prefix: &str) -> Offered<'a> {
    let pairs = checkpoint
        .keys()
        .filter_map(|key| Some((key.strip_prefix(prefix)?, key)));
    let pairs: Vec<_> = pairs.collect();
    Offered {
        order: pairs.iter().map(|pair| pair.0).collect(),
        by_key: pairs.into_iter().collect(),
    }
}

/// Votes: each key that would match under some prefix is a vote for that prefix.
fn add_hint(report: &mut LoadReport, wanted: &[Wanted], checkpoint: &Checkpoint) {
    let shapes: HashMap<&str, &[usize]> = wanted.iter().map(|w| (&*w.key, &*w.shape)).collect();
    let file: HashMap<&str, &[usize]> = checkpoint
        .keys()
        .filter_map(|key| Some((key, checkpoint.get(key)?.shape())))
        .collect();
    let needed = report.matched.len() + report.missing.len() + report.wrong_shape.len();
    let enough = |votes: usize, of: usize| votes > report.matched.len() && votes * 2 >= of;

    let (prefix, votes) = most_votes(&file, &shapes);
    let (part, part_votes) = most_votes(&shapes, &file);
    if enough(votes, needed) && votes >= part_votes {
        report.prefix_hint = Some(prefix.to_owned());
        report.hint_matches = (votes, needed.max(votes));
    } else if enough(part_votes, file.len()) && !part.is_empty() {
        report.part_hint = Some(part.to_owned());
        report.hint_matches = (part_votes, file.len());
    }
}

/// The prefix of `long` keys under which most of them are `short` keys of equal shape.
fn most_votes<'a>(
    long: &HashMap<&'a str, &[usize]>,
    short: &HashMap<&str, &[usize]>,
) -> (&'a str, usize) {
    let mut votes: HashMap<&str, usize> = HashMap::new();
    let longest = short.keys().map(|key| key.len()).max().unwrap_or(0);
    for (&key, &shape) in long {
        for start in starts(key, longest) {
            if short
                .get(&key[start..])
                .is_some_and(|&other| other == shape)
            {
                *votes.entry(&key[..start]).or_default() += 1;
            }
        }
    }
    // Of equals the teacher, which semi-supervised detectors predict with, and else the shortest: no answer by the map's order.
    let best = votes.into_iter().max_by_key(|&(prefix, votes)| {
        let teacher = prefix.ends_with("teacher.");
        (votes, teacher, std::cmp::Reverse((prefix.len(), prefix)))
    });
    best.unwrap_or(("", 0))
}

/// Where in a key another may begin, of at most `longest` bytes. A longer rest is no such key: so one of dots alone
/// is not hashed after every dot.
fn starts(key: &str, longest: usize) -> impl Iterator<Item = usize> {
    let dots = key.match_indices('.').map(|(at, _)| at + 1);
    let starts = std::iter::once(0).chain(dots);
    starts.filter(move |start| key.len() - start <= longest)
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "matched {}, missing {}, unexpected {}, wrong shape {}",
            self.matched.len(),
            self.missing.len(),
            self.unexpected.len(),
            self.wrong_shape.len()
        )?;
        if let Some(prefix) = &self.prefix {
            write!(f, " (with prefix='{}')", shortened(prefix, MAX_LINE))?;
        }
        if !self.unreadable.is_empty() {
            write!(f, ", unreadable {}", self.unreadable.len())?;
        }
        let shapes = self.wrong_shape.iter().map(|wrong| {
            format!(
                "{}: file {:?}, model {:?}",
                wrong.key, wrong.file, wrong.model
            )
        });
        let missing = "missing (in the model, not in the file; they keep their initial values)";
        list(f, missing, self.missing.iter().cloned())?;
        list(f, "wrong shape (not loaded)", shapes)?;
        let unreadable =
            self.unreadable
                .iter()
                .map(|(key, why)| match why.contains(key.as_str()) {
                    true => why.clone(),
                    false => format!("{key}: {why}"),
                });
        list(f, "unreadable (not loaded)", unreadable)?;
        let unexpected = "unexpected (in the file, not in the model; not used)";
        list(f, unexpected, self.unexpected.iter().cloned())?;
        let (matches, of) = self.hint_matches;
        match (&self.prefix_hint, &self.part_hint) {
            (Some(prefix), _) if prefix.is_empty() => {
                write!(
                    f,
                    "\nhelp: {matches} of {of} keys match if `prefix` is left out"
                )
            }
            (Some(prefix), _) => {
                write!(
                    f,
                    "\nhelp: {matches} of {of} keys match if `prefix='{}'` is given",
                    shortened(prefix, MAX_LINE)
                )
            }
            (None, Some(part)) => write!(
                f,
                "\nhelp: {matches} of the file's {of} keys fit the model's `{part}` alone: load it there, with `init_cfg=dict(type='Pretrained', checkpoint=...)` in `{}`",
                part.trim_end_matches('.')
            ),
            (None, None) => Ok(()),
        }
    }
}

/// A titled list with at most [`SHOWN`] lines; nothing when it is empty.
fn list(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    let count = lines.len();
    if count > 0 {
        write!(f, "\n{title}:")?;
    }
    for text in lines.take(SHOWN) {
        write!(f, "\n  {}", shortened(&text, MAX_LINE))?;
    }
    if count > SHOWN {
        write!(f, "\n  ... and {} more", count - SHOWN)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rests_of_a_key_that_are_compared_are_no_longer_than_the_model_s() {
        assert_eq!(starts("a.bb.c", 9).collect::<Vec<_>>(), [0, 2, 5]);
        assert_eq!(starts("a.bb.c", 4).collect::<Vec<_>>(), [2, 5]);
        let dots = ".".repeat(200_000);
        let compared: usize = starts(&dots, 40).map(|start| dots.len() - start).sum();
        assert_eq!(compared, 40 * 41 / 2);
    }
}
