//! `smalti browse CONFIG`: what a data set holds, and what its pipeline makes of it, step by step.
//!
//! As MMDetection's browse_dataset.py and MMYOLO's `--mode pipeline`, with the drawn parameters, what was left out and why, and files from
//! which the same draws can be made again.

mod output;

use crate::style;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use clap::{Args, ValueEnum, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use smalti::data::Lookup;
use smalti::data::datasets::{self, Dataset};
use smalti::data::draws_file::{self, Replayable};
use smalti::data::loader::orders;
use smalti::data::pixels::Pixels;
use smalti::data::random::{Counter, Numpy};
use smalti::data::summary::{Summary, thousands};
use smalti::data::trace::{DrawSource, Trace, trace};
use smalti::data::transforms::Files;
use smalti::host::disk::Disk;

use super::DeviceArg;
use super::config::{ReadOptions, tell};
use output::Output;

/// Arguments of `smalti browse`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    smalti browse config.py                                   the first 8 samples as a training run sees them, into browse/\n  \
    smalti browse config.py --mode pipeline --index 7         sample 7 after every transform, on one sheet\n  \
    smalti browse config.py --mode original --split val       pictures and annotations as they are on disk\n  \
    smalti browse config.py --summary                         classes, sizes, shapes, faults; no pictures\n  \
    smalti browse config.py --index 7 --json --out seen/      every step's picture, draws, boxes and dropped boxes as files\n  \
    smalti browse other.py --index 9 --draws seen/000007_a/draws.json    the same draws, another picture or config\n  \
    smalti browse config.py --random numpy --seed 3 --exact   as MMDetection after np.random.seed(3), step by step\n\n\
    A sheet is read from left to right: the transform, what it drew, its result. Boxes have their class's colour; ignored ones are dashed in\n\
    grey; dashed red ones were left out by that step, and the reason is written beside them and below.\n\
    Exit code: 1 after an error. With --on-error skip, bad samples are listed and left out, and the exit code is 1 only if none was good.")]
pub struct BrowseArgs {
    /// MMDetection config
    #[arg(value_hint = ValueHint::FilePath)]
    config: String,
    /// Which data set of the config
    #[arg(long, value_enum, default_value_t = Split::Train)]
    split: Split,
    /// Where random numbers begin
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Samples to show; with --count the first of them
    #[arg(long, value_name = "I", num_args = 1.., action = clap::ArgAction::Append)]
    index: Vec<usize>,
    /// How many to show, from the first or from --index (8 if neither is given)
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// What to draw of each
    #[arg(long, value_enum, default_value_t = Mode::Transformed)]
    mode: Mode,
    /// Folder for pictures
    #[arg(long, value_name = "DIR", default_value = "browse")]
    out: PathBuf,
    /// Also write each step's picture as PNG, and draws.json of each sample and summary.json of the data set
    #[arg(long)]
    json: bool,
    /// Make the draws of a draws.json (or of a recording of numpy's calls) again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "random"])]
    draws: Option<PathBuf>,
    /// Interpolate step by step, as MMDetection does; otherwise geometric steps are composed into one
    #[arg(long)]
    exact: bool,
    /// Generator of random numbers
    #[arg(long, value_enum, default_value_t = Source::Counter)]
    random: Source,
    /// Threads (default: one a core, at most 8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: Option<u32>,
    /// What a sample that cannot be made does
    #[arg(long, value_enum, default_value_t = OnError::Error)]
    on_error: OnError,
    /// Print all of the data set's summary; pictures only if --index, --count or --draws asks for them
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    read: ReadOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The picture and its annotations as they are on disk
    Original,
    /// What the pipeline makes of it
    Transformed,
    /// After every transform
    Pipeline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    /// Ours: a sample depends on the seed and its index alone
    Counter,
    /// numpy's: a sample is MMDetection's after np.random.seed(S)
    Numpy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Ends the program
    Error,
    /// Is listed and left out
    Skip,
}

/// Without --index and --count.
const DEFAULT_COUNT: usize = 8;

/// Runs the command.
pub fn run(args: &BrowseArgs) -> Result<ExitCode, String> {
    let replay = args.draws.as_ref().map(read_draws).transpose()?;
    let config = args.read.load(&args.config)?;
    let asked = !args.index.is_empty() || args.count.is_some() || replay.is_some();
    // Before anything that takes time.
    let output = if asked || args.json || !args.summary {
        Some(Output::open(&args.out, args.json)?)
    } else {
        None
    };
    let disk = Disk::new();
    let registry = smalti::registry();
    let look = Lookup::of(&registry, &config);
    let dataset = datasets::from_config_with(&config, args.split.name(), &disk, look)
        .map_err(|e| config.errors(e).to_string())?;
    let noticed = datasets::all_notes(&*dataset)
        .into_iter()
        .cloned()
        .collect();
    tell(&config.errors(noticed).diagnostics);
    let indexes = indexes(args, replay.as_ref(), dataset.len())?;
    let exists =
        |path: &str| Path::new(path).exists() || Path::new(&path.replace('\\', "/")).exists();
    let summary = summarise(&*dataset, &exists);
    if args.summary {
        style::say(format_args!("{}: {}", args.split.name(), summary.text()))
    } else {
        style::say(format_args!("{}: {}", args.split.name(), summary.short()))
    }
    if indexes.is_empty() && !args.summary && dataset.is_empty() {
        return Err(format!(
            "the {} data set is empty: there is nothing to show",
            args.split.name()
        ));
    }
    let outcome = match &output {
        Some(output) => browse(args, &*dataset, output, &disk, replay.as_ref(), &indexes)?,
        None => Outcome::default(),
    };
    for note in config.errors(dataset.noticed()).diagnostics {
        style::remark(note);
    }
    let replaced = dataset.skipped();
    if let Some(output) = output.filter(|_| args.json) {
        output.summary(&summary, &outcome.failed, &replaced.first)?;
    }
    for error in outcome.failed.iter().filter(|_| !outcome.stopped) {
        style::note(&format!("left out: {error}"));
    }
    for error in &replaced.first {
        style::note(&format!("replaced by another picture: {error}"));
    }
    if outcome.stopped || (outcome.good == 0 && !outcome.failed.is_empty()) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn read_draws(path: &PathBuf) -> Result<Replayable, String> {
    let failed = |e: &dyn std::fmt::Display| format!("--draws {}: {e}", path.display());
    let size = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if size > draws_file::MOST_BYTES {
        let most = draws_file::MOST_BYTES >> 20;
        return Err(failed(&format!(
            "it has {} MiB, more than the limit of {most}",
            size >> 20
        )));
    }
    let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
    draws_file::read(&bytes).map_err(|e| failed(&e))
}

/// Which samples are shown.
fn indexes(
    args: &BrowseArgs,
    replay: Option<&Replayable>,
    len: usize,
) -> Result<Vec<usize>, String> {
    let own = match replay {
        Some(Replayable::Saved {
            index: Some(index), ..
        }) => vec![*index],
        Some(_) => vec![0],
        None => Vec::new(),
    };
    let chosen = if args.index.is_empty() {
        &own
    } else {
        &args.index
    };
    if let Some(bad) = chosen.iter().find(|i| **i >= len) {
        return Err(format!(
            "there is no sample {bad}: the {} data set has {}, counted from 0",
            args.split.name(),
            thousands(len)
        ));
    }
    match (&chosen[..], args.count) {
        ([], None) if args.summary => Ok(Vec::new()),
        ([], count) => Ok((0..count.unwrap_or(DEFAULT_COUNT).min(len)).collect()),
        ([first], Some(count)) => Ok((*first..first.saturating_add(count).min(len)).collect()),
        (_, Some(_)) => Err("--count goes with one --index, or none".into()),
        (list, None) => Ok(list.to_vec()),
    }
}

fn summarise(dataset: &dyn Dataset, exists: &dyn Fn(&str) -> bool) -> Summary {
    let mut summary = Summary::new(dataset.meta());
    let bar = bar(dataset.len(), "looking at the annotations");
    for index in 0..dataset.len() {
        summary.add(&dataset.info(index), exists);
        if index % 500 == 0 {
            bar.set_position(index as u64);
        }
    }
    bar.finish_and_clear();
    summary
}

fn bar(len: usize, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(len as u64);
    let style = "{pos}/{len} [{bar:30}] {per_sec} {eta} {msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    bar.with_message(message)
}

/// What became of the samples.
#[derive(Default)]
struct Outcome {
    good: usize,
    failed: Vec<String>,
    /// By --on-error error.
    stopped: bool,
}

fn browse(
    args: &BrowseArgs,
    dataset: &dyn Dataset,
    output: &Output,
    files: &dyn Files,
    replay: Option<&Replayable>,
    indexes: &[usize],
) -> Result<Outcome, String> {
    if indexes.is_empty() {
        return Ok(Outcome::default());
    }
    let pixels = pixels(&args.device)?.exact(args.exact);
    let make = |position: usize, index: usize| -> Result<String, String> {
        let of = draws_file::Of {
            config: args.config.clone(),
            split: args.split.name().into(),
            index,
            exact: args.exact,
            ..Default::default()
        };
        if args.mode == Mode::Original && !args.json {
            return output
                .original(dataset, index, &pixels, files)
                .map(|line| format!("{line}\n"));
        }
        let (trace, of) = traced(
            args,
            dataset,
            (position, index),
            replay,
            (&pixels, files),
            of,
        );
        let mut lines = match args.mode {
            Mode::Original => output.original(dataset, index, &pixels, files)?,
            Mode::Transformed => output.transformed(dataset, index, &trace, &pixels)?,
            Mode::Pipeline => output.pipeline(dataset, index, &trace, &pixels)?,
        };
        lines.push('\n');
        if args.json {
            lines.push_str(&output.draws(dataset, of, &trace, &pixels)?);
        }
        match trace.error {
            None => Ok(lines),
            // How far it came helps to find out why.
            Some(error) if args.mode == Mode::Pipeline => {
                Err(format!("sample {index}: {error}\n{}", lines.trim_end()))
            }
            Some(error) => Err(format!("sample {index}: {error}")),
        }
    };
    let workers = workers(args, dataset).min(indexes.len());
    let bar = bar(indexes.len(), "drawing");
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..workers {
            let (send, make, next, stop) = (send.clone(), &make, &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    let Some(index) = indexes.get(position) else {
                        break;
                    };
                    let made = catch_unwind(AssertUnwindSafe(|| make(position, *index)));
                    let made = made.unwrap_or_else(|_| {
                        Err(format!(
                            "sample {index}: a fault of this program, see above"
                        ))
                    });
                    if send.send((position, made)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        // Lines come in the order of samples, whoever is ready first.
        let (mut waiting, mut told) = (BTreeMap::new(), 0);
        for (position, result) in receive {
            bar.inc(1);
            waiting.insert(position, result);
            while let Some(result) = waiting.remove(&told) {
                told += 1;
                match result {
                    Ok(lines) => {
                        outcome.good += 1;
                        bar.suspend(|| style::say(lines.trim_end()));
                    }
                    Err(error) if args.on_error == OnError::Skip => outcome.failed.push(error),
                    Err(error) => {
                        if !outcome.stopped {
                            bar.suspend(|| style::error(&error));
                        }
                        outcome.failed.push(error);
                        outcome.stopped = true;
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    });
    bar.finish_and_clear();
    if outcome.stopped && indexes.len() > 1 {
        style::note("--on-error skip goes on with the other samples");
    }
    Ok(outcome)
}

/// Runs the pipeline, with everything recorded.
fn traced(
    args: &BrowseArgs,
    dataset: &dyn Dataset,
    (position, index): (usize, usize),
    replay: Option<&Replayable>,
    (pixels, files): (&Pixels, &dyn Files),
    mut of: draws_file::Of,
) -> (Trace, draws_file::Of) {
    let info = dataset.info(index);
    of.img_path = info.img_path.clone();
    of.img_id = info.img_id.clone();
    let (mut counter, mut numpy);
    let draws = match (replay, args.random) {
        (Some(Replayable::Saved { saved, .. }), _) => DrawSource::Saved(saved.clone()),
        (Some(Replayable::Raw(draws)), _) => DrawSource::Raw(draws.clone()),
        (None, Source::Counter) => {
            counter = Counter::keyed(args.seed, 0, index as u64);
            DrawSource::New(&mut counter)
        }
        (None, Source::Numpy) => {
            numpy = Numpy::new(args.seed);
            DrawSource::New(&mut numpy)
        }
    };
    of.random = match (replay, args.random) {
        (Some(_), _) => "replay",
        (None, Source::Counter) => "counter",
        (None, Source::Numpy) => "numpy",
    }
    .into();
    of.seed = replay.is_none().then_some(args.seed);
    let trace = trace(dataset, index, position as u64, draws, pixels, files);
    (trace, of)
}

fn workers(args: &BrowseArgs, dataset: &dyn Dataset) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = args.workers.map_or(cores.min(8), |n| n as usize);
    // What they remember of earlier samples must not depend on which thread was first.
    if wanted > 1 && !orders(dataset).is_empty() {
        style::note("CachedMosaic and CachedMixUp remember earlier samples: one worker");
        return 1;
    }
    wanted
}

/// Who does the pixels.
fn pixels(device: &DeviceArg) -> Result<Pixels, String> {
    if device.device == "cpu" {
        return Ok(Pixels::cpu());
    }
    let chosen = device.choose()?;
    Ok(smalti::ops::augment::pixels(&chosen.device))
}

#[cfg(test)]
mod tests;
