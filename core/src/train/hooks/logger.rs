//! `LoggerHook` and `LogProcessor` of MMEngine 0.10: a line every so many iterations, and one for each validation.
//!
//! Lines go to whoever watches and, as text and as JSON with MMEngine's keys, into the work directory: `TIME/TIME.log`,
//! `TIME/vis_data/scalars.json`.

use std::fs::{File, OpenOptions, create_dir_all};
use std::io::Write;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{Figures, Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node, error_at};
use crate::train::learner::Stepped;
use crate::train::run::Run;
use crate::train::{Event, Stop};

/// Writes the log.
pub(super) struct LoggerHook {
    interval: u64,
    ignore_last: bool,
    processor: LogProcessor,
    files: Option<Files>,
}

struct Files {
    text: File,
    json: File,
}

impl Default for LoggerHook {
    fn default() -> Self {
        Self {
            interval: 10,
            ignore_last: true,
            processor: LogProcessor::default(),
            files: None,
        }
    }
}

/// How figures become lines (a config's `log_processor`).
#[derive(Clone, Debug, PartialEq)]
struct LogProcessor {
    window_size: usize,
    by_epoch: bool,
    num_digits: usize,
    custom: Vec<Custom>,
}

impl Default for LogProcessor {
    fn default() -> Self {
        Self {
            window_size: 10,
            by_epoch: true,
            num_digits: 4,
            custom: Vec::new(),
        }
    }
}

/// One entry of `custom_cfg`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Custom {
    data_src: String,
    method_name: Option<String>,
    method: Option<String>,
    log_name: Option<String>,
    window_size: Option<Window>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Window {
    Last(usize),
    Named(String),
}

#[derive(Deserialize)]
struct Config {
    interval: Option<i64>,
    ignore_last: Option<bool>,
}

#[derive(Deserialize)]
struct ProcessorConfig {
    window_size: Option<usize>,
    by_epoch: Option<bool>,
    num_digits: Option<usize>,
    custom_cfg: Option<Vec<Custom>>,
}

pub(super) fn build(node: &Node, given: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let others = [
        "interval_exp_name",
        "out_dir",
        "out_suffix",
        "keep_local",
        "file_client_args",
        "log_metric_by_epoch",
        "backend_args",
    ];
    let config: Config = node.read_knowing(&[OWN, &others].concat())?;
    Ok(Box::new(LoggerHook {
        interval: u64::try_from(config.interval.unwrap_or(10)).unwrap_or(0),
        ignore_last: config.ignore_last.unwrap_or(true),
        processor: LogProcessor::read(given)?,
        files: None,
    }))
}

impl LogProcessor {
    fn read(given: Given) -> Result<Self, Diagnostics> {
        let node = given.config.root.get("log_processor");
        let Some(node) = node.filter(|n| !n.is_none()) else {
            return Ok(Self::default());
        };
        let others = ["type", "log_with_hierarchy", "mean_pattern"];
        let config: ProcessorConfig = node.read_knowing(&others)?;
        let default = Self::default();
        let custom = config.custom_cfg.unwrap_or_default();
        for entry in &custom {
            let method = entry.method();
            if !["mean", "max", "min", "current"].contains(&method) {
                let message = format!("`custom_cfg` has the method '{method}'");
                let help = "known are mean, max, min, current";
                return Err(error_at(node, "custom_cfg", message, help));
            }
        }
        Ok(Self {
            window_size: config.window_size.unwrap_or(default.window_size),
            by_epoch: config.by_epoch.unwrap_or(true),
            num_digits: config.num_digits.unwrap_or(default.num_digits).min(17),
            custom,
        })
    }

    /// The figures of `mode`, without its name: means of losses, times and norms over the window, the last value of the others.
    fn figures(&self, run: &Run, mode: &str) -> Vec<(String, f64)> {
        let mut figures = Vec::new();
        let prefix = format!("{mode}/");
        let names: Vec<String> = run.scalars.names().map(String::from).collect();
        for name in names {
            let Some(short) = name.strip_prefix(&prefix) else {
                continue;
            };
            let smooth = ["loss", "time", "data_time", "grad_norm"]
                .iter()
                .any(|part| short.contains(part));
            let value = if smooth {
                run.scalars.mean(&name, self.window_size)
            } else {
                run.scalars.last(&name)
            };
            figures.extend(value.map(|value| (short.to_string(), value)));
        }
        for entry in &self.custom {
            let source = entry
                .data_src
                .strip_prefix(&prefix)
                .unwrap_or(&entry.data_src);
            let values = run.scalars.values(&format!("{prefix}{source}"));
            let window = match &entry.window_size {
                Some(Window::Last(n)) => *n,
                Some(Window::Named(name)) if name == "epoch" => run.position.batch as usize + 1,
                Some(Window::Named(_)) => values.len(),
                None => self.window_size,
            };
            let last = &values[values.len().saturating_sub(window.max(1))..];
            let Some(value) = entry.of(last) else {
                continue;
            };
            let name = entry.log_name.clone().unwrap_or_else(|| source.to_string());
            match figures.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => figures.push((name, value)),
            }
        }
        figures
    }
}

impl Custom {
    fn method(&self) -> &str {
        let method = self.method_name.as_deref().or(self.method.as_deref());
        method.unwrap_or("mean")
    }

    fn of(&self, values: &[f64]) -> Option<f64> {
        let last = *values.last()?;
        Some(match self.method() {
            "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
            "current" => last,
            _ => values.iter().sum::<f64>() / values.len() as f64,
        })
    }
}

/// Seconds as `1:02:03`, with days before it if there are any.
fn clock(seconds: f64) -> String {
    let all = seconds.max(0.0) as u64;
    let (days, hours) = (all / 86_400, all / 3600 % 24);
    let time = format!("{hours}:{:02}:{:02}", all / 60 % 60, all % 60);
    match days {
        0 => time,
        1 => format!("1 day, {time}"),
        _ => format!("{days} days, {time}"),
    }
}

impl LoggerHook {
    fn iteration(&mut self, run: &mut Run) -> Step {
        run.read_scalars()?;
        let mut figures = self.processor.figures(run, "train");
        let digits = self.processor.num_digits;
        let (epoch, batch) = (run.position.epoch + 1, run.position.batch + 1);
        let (iter, length) = (run.position.iter + 1, run.length);
        let mut line = if self.processor.by_epoch {
            format!("Epoch(train) [{epoch}][{batch}/{}] ", length.epoch_length)
        } else {
            format!("Iter(train) [{iter}/{}] ", length.max_iters)
        };
        let take = |name: &str| figures.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        for (name, value) in figures.iter().filter(|(name, _)| name.ends_with("lr")) {
            line += &format!(" {name}: {}", scientific(*value, digits));
        }
        if let (Some(time), Some(data)) = (take("time"), take("data_time")) {
            if let Some(left) = run.seconds_left {
                line += &format!("  eta: {}", clock(left));
            }
            line += &format!("  time: {time:.digits$}  data_time: {data:.digits$}");
        }
        let memory = crate::host::memory::resident_mib();
        if let Some(memory) = memory {
            line += &format!("  memory: {memory}");
        }
        let apart = |name: &str| name.ends_with("lr") || name == "time" || name == "data_time";
        for (name, value) in figures.iter().filter(|(name, _)| !apart(name)) {
            line += &format!("  {name}: {value:.digits$}");
        }
        if self.processor.by_epoch {
            figures.push(("epoch".into(), epoch as f64));
        }
        figures.push(("iter".into(), iter as f64));
        if let Some(memory) = memory {
            figures.push(("memory".into(), memory as f64));
        }
        figures.push(("step".into(), iter as f64));
        self.write(run, line, &figures)
    }

    fn write(&mut self, run: &mut Run, line: String, figures: &[(String, f64)]) -> Step {
        if let Some(files) = &mut self.files {
            let row: Map<String, Json> = figures
                .iter()
                .map(|(name, value)| (name.clone(), number(*value)))
                .collect();
            let row = Json::Object(row).to_string();
            let written = writeln!(files.text, "{} - {line}", crate::host::clock::now())
                .and_then(|()| writeln!(files.json, "{row}"));
            written.map_err(|e| Stop::fault(format!("the log cannot be written: {e}")))?;
        }
        run.tell(&Event::Line(line));
        Ok(())
    }
}

/// Whole numbers as such.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9e15 && value != -1.0 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

/// As Python writes it: `1.0000e-04`.
fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        None => text,
    }
}

impl Hook for LoggerHook {
    fn name(&self) -> &'static str {
        "LoggerHook"
    }

    fn priority(&self) -> u8 {
        60
    }

    fn before_run(&mut self, run: &mut Run) -> Step {
        let folder: PathBuf = run.log_dir();
        let open = |path: PathBuf| OpenOptions::new().create(true).append(true).open(path);
        let files = create_dir_all(folder.join("vis_data")).and_then(|()| {
            let name = folder.file_name().unwrap_or_default().to_os_string();
            let mut text = folder.join(name);
            text.set_extension("log");
            Ok(Files {
                text: open(text)?,
                json: open(folder.join("vis_data/scalars.json"))?,
            })
        });
        let fail = |e| Stop::fault(format!("{} cannot be written: {e}", folder.display()));
        self.files = Some(files.map_err(fail)?);
        Ok(())
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        let short = run.length.epoch_length <= self.interval;
        let last = run.ends_epoch() && (!self.ignore_last || short);
        if run.every_inner_iters(self.interval) || last {
            return self.iteration(run);
        }
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        let digits = self.processor.num_digits;
        let (epoch, iter) = (run.position.epoch, run.position.iter);
        let by_epoch = self.processor.by_epoch;
        let mut line = if by_epoch {
            format!("Epoch(val) [{epoch}]  ")
        } else {
            format!("Iter(val) [{iter}]  ")
        };
        let texts = figures
            .iter()
            .map(|(name, value)| format!("{name}: {value:.digits$}"));
        line += &texts.collect::<Vec<_>>().join("  ");
        let mut row = figures.to_vec();
        row.push(("step".into(), (if by_epoch { epoch } else { iter }) as f64));
        self.write(run, line, &row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_python_writes_them() {
        assert_eq!(scientific(1e-4, 4), "1.0000e-04");
        assert_eq!(scientific(0.002, 4), "2.0000e-03");
        assert_eq!(scientific(12.5, 2), "1.25e+01");
        assert_eq!(clock(3723.9), "1:02:03");
        assert_eq!(clock(90_061.0), "1 day, 1:01:01");
        assert_eq!(number(3.0).to_string(), "3");
        assert_eq!(number(0.5).to_string(), "0.5");
    }
}
