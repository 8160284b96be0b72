//! The log of a run as its folder has it: figures by iteration, of `TIME/vis_data/scalars.json` as `smalti train` and MMEngine write them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use crate::window::host::Host;

/// Values by iteration, in order.
pub type Points = Vec<[f64; 2]>;

/// Curves of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLog {
    /// Its folder.
    pub folder: PathBuf,
    /// Losses, learning rates and times, by name.
    pub train: BTreeMap<String, Points>,
    /// Figures of validations, by name.
    pub val: BTreeMap<String, Points>,
    /// Iterations of an epoch; none in a run by iterations.
    pub epoch_length: Option<u64>,
}

/// Where a beginning of a run has its log, below its folder.
const LOG: [&str; 2] = ["vis_data", "scalars.json"];

/// The logs of a run's folder, one for each time that it was begun or went on; empty if it is none.
pub fn files(host: &dyn Host, folder: &Path) -> Vec<PathBuf> {
    // Their names are times: what has an ending is no such folder.
    let folders = host.list(folder).into_iter();
    let folders = folders.filter(|path| path.extension().is_none());
    let logs = folders.map(|path| path.join(LOG[0]).join(LOG[1]));
    logs.filter(|path| host.head(path, 1).is_some()).collect()
}

/// The folder of the run that this folder is one of, or a beginning's of one.
pub fn run_of(host: &dyn Host, folder: &Path) -> Option<PathBuf> {
    if !files(host, folder).is_empty() {
        return Some(folder.to_owned());
    }
    let log = folder.join(LOG[0]).join(LOG[1]);
    host.head(&log, 1).and_then(|_| folder_of(&log))
}

/// The folder of the run that this file is the log of.
pub fn folder_of(file: &Path) -> Option<PathBuf> {
    let is = |path: &Path, name: &str| path.file_name() == Some(name.as_ref());
    let vis_data = file.parent().filter(|_| is(file, LOG[1]))?;
    let vis_data = Some(vis_data).filter(|folder| is(folder, LOG[0]))?;
    let time = vis_data.parent()?;
    Some(time.parent()?.to_owned())
}

/// Reads all logs of a run's folder as one.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn read(host: &dyn Host, folder: &Path) -> Result<RunLog, String> {
    let files = files(host, folder);
    if files.is_empty() {
        return Err(format!(
            "{} has no log of a run: TIME/vis_data/scalars.json",
            folder.display()
        ));
    }
    let mut log = RunLog {
        folder: folder.to_owned(),
        ..RunLog::default()
    };
    for file in files {
        let bytes = host
            .read(&file)
            .map_err(|why| format!("{}: {why}", file.display()))?;
        log.add(&String::from_utf8_lossy(&bytes));
    }
    Ok(log)
}

impl RunLog {
    /// Adds the lines of one beginning. What was logged before of the same iterations and later ones does not count any more.
    fn add(&mut self, text: &str) {
        let rows: Vec<Map<String, Json>> = text.lines().filter_map(row).collect();
        let trained = rows.iter().filter(|row| is_of_training(row));
        let iter = |row: &Map<String, Json>| number(row, "iter").or_else(|| number(row, "step"));
        if let Some(first) = trained.clone().filter_map(iter).reduce(f64::min) {
            self.forget_from(first as u64);
        }
        for row in trained {
            if let (Some(epoch), Some(iter)) = (number(row, "epoch"), iter(row)) {
                // the last line of an epoch says how long that is, if it is one of its last iteration
                let length = (iter / epoch.max(1.0)).ceil() as u64;
                self.epoch_length = Some(self.epoch_length.unwrap_or(1).max(length));
            }
        }
        for row in &rows {
            let train = is_of_training(row);
            let Some(step) = number(row, "step").or_else(|| number(row, "iter")) else {
                continue;
            };
            let x = match self.epoch_length.filter(|_| !train) {
                Some(length) => step * length as f64,
                None => step,
            };
            for (name, value) in row {
                let named = !["step", "epoch", "iter", "memory"].contains(&&**name);
                if let Some(y) = value.as_f64().filter(|_| named) {
                    let figures = if train {
                        &mut self.train
                    } else {
                        &mut self.val
                    };
                    figures.entry(name.clone()).or_default().push([x, y]);
                }
            }
        }
    }

    /// Forgets figures of this iteration and later ones.
    pub fn forget_from(&mut self, iter: u64) {
        for figures in [&mut self.train, &mut self.val] {
            for points in figures.values_mut() {
                points.truncate(points.partition_point(|[x, _]| *x < iter as f64));
            }
            figures.retain(|_, points| !points.is_empty());
        }
    }

    /// The last iteration of which there is a figure.
    pub fn last_iter(&self) -> u64 {
        let all = self.train.values().chain(self.val.values());
        let last = all.filter_map(|points| points.last());
        last.map(|[x, _]| *x as u64).max().unwrap_or(0)
    }

    /// The epoch that ends at this iteration or after it, from 1; the iteration itself in a run by iterations.
    pub fn epoch_at(&self, iter: u64) -> u64 {
        self.epoch_length
            .map_or(iter, |length| iter.div_ceil(length.max(1)))
    }
}

/// A line; Python writes what is no number in a way that is no JSON.
fn row(line: &str) -> Option<Map<String, Json>> {
    let line = line.replace(": NaN", ": null");
    match serde_json::from_str(&line.replace(": Infinity", ": null")) {
        Ok(Json::Object(row)) => Some(row),
        _ => None,
    }
}

fn number(row: &Map<String, Json>, key: &str) -> Option<f64> {
    row.get(key).and_then(Json::as_f64)
}

fn is_of_training(row: &Map<String, Json>) -> bool {
    ["iter", "lr", "loss"]
        .iter()
        .any(|key| row.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(texts: &[&str]) -> RunLog {
        let mut log = RunLog::default();
        texts.iter().for_each(|text| log.add(text));
        log
    }

    #[test]
    fn validations_stand_at_the_end_of_their_epochs() {
        let log = log(&[
            r#"{"lr": 0.1, "loss": 2, "epoch": 1, "iter": 50, "memory": 7, "step": 50}
{"lr": 0.1, "loss": NaN, "epoch": 1, "iter": 100, "step": 100}
{"coco/bbox_mAP": 0.25, "time": 0.5, "step": 1}
{"lr": 0.01, "loss": 1.0, "epoch": 2, "iter": 200, "step": 200}
no JSON"#,
        ]);
        assert_eq!(log.train["loss"], [[50.0, 2.0], [200.0, 1.0]]);
        assert_eq!(log.val["coco/bbox_mAP"], [[100.0, 0.25]]);
        assert_eq!((log.epoch_length, log.last_iter()), (Some(100), 200));
        assert_eq!([1, 100, 101].map(|iter| log.epoch_at(iter)), [1, 1, 2]);
        assert!(!log.train.contains_key("memory"));
    }

    #[test]
    fn what_a_run_did_again_counts_once() {
        let log = log(&[
            r#"{"loss": 3, "iter": 10, "step": 10}
{"loss": 2, "iter": 20, "step": 20}
{"mAP": 0.1, "step": 20}
{"loss": 9, "iter": 30, "step": 30}"#,
            r#"{"loss": 1, "iter": 20, "step": 20}"#,
        ]);
        assert_eq!(log.train["loss"], [[10.0, 3.0], [20.0, 1.0]]);
        assert!(log.val.is_empty() && log.epoch_length.is_none());
    }

    #[test]
    fn a_log_knows_its_run() {
        let run = |path: &str| folder_of(Path::new(path));
        assert_eq!(run("w/r/2026/vis_data/scalars.json"), Some("w/r".into()));
        assert_eq!(run("w/r/2026/vis_data/other.json"), None);
        assert_eq!(run("w/r/2026/scalars.json"), None);
    }
}
