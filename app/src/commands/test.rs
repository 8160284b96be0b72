//! `smalti test CONFIG CHECKPOINT`: a detector over the config's test data, and the figures of its metrics.

use crate::style;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use smalti::Predictor;
use smalti::config::Severity;
use smalti::data::coco::Id;
use smalti::data::datasets;
use smalti::data::evaluate::Report;
use smalti::evaluate::{TestOptions, TestSet, Told};
use smalti::host::clock;
use smalti::host::disk::Disk;
use smalti::host::files::AtomicFile;
use smalti::results::{ResultWriter, Row, xywh_from_xyxy};
use smalti::structures::masks::Runs;
use smalti::train::hooks::{DetVisualizationHook, Seen};
use smalti::train::work_dir;

use super::config::{ReadOptions, tell};
use super::{DeviceArg, PrecisionArg, model};

/// Arguments of `smalti test`.
#[derive(Args)]
#[command(after_help = "Examples:\n  smalti test config.py epoch_12.pth\n  \
    smalti test config.py epoch_12.pth --out results.json        what was found, in COCO's result form, for `smalti analyze`\n  \
    smalti test config.py epoch_12.pth --tta                     every picture and its mirror image, or what the config's tta_pipeline says\n  \
    smalti test config.py epoch_12.pth --split val --json\n  \
    smalti test config.py epoch_12.pth --cfg-options test_evaluator.classwise=True test_evaluator.outfile_prefix=work/results\n\n\
    The data are the config's `test_dataloader`, the metrics its `test_evaluator`; where it has none, those of `val`.\n\
    Exit code: 1 if the config, the checkpoint, the annotations or any picture was bad.")]
pub struct TestArgs {
    /// MMDetection config
    #[arg(value_hint = ValueHint::FilePath)]
    config: String,
    /// Checkpoint: a path, an http(s) address, torchvision://..., open-mmlab://..., or the word `load_from` for what the config names
    #[arg(value_hint = ValueHint::FilePath)]
    checkpoint: String,
    /// Which data set and evaluator of the config
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// Write all detections to this file, in COCO's result form
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Test-time augmentation: several versions of each picture, as `tta_pipeline` and `tta_model` say
    #[arg(long)]
    tta: bool,
    /// Threads that read and prepare pictures (as many as there are processor cores, up to 4, if not given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=64))]
    workers: Option<u32>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: model::FromCheckpoint,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    precision: PrecisionArg,
    #[command(flatten)]
    read: ReadOptions,
}

/// A data set of a config.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Split {
    Test,
    Val,
}

/// Runs the command.
///
/// # Errors
/// What is wrong and what to do.
pub fn run(args: &TestArgs) -> Result<ExitCode, String> {
    let config = args.read.load(&args.config)?;
    let registry = smalti::registry();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = TestOptions {
        workers: args.workers.map_or(cores.min(4), |n| n as usize),
        tta: args.tta,
    };
    let split = match args.split {
        Split::Test => "test",
        Split::Val => "val",
    };
    let set = TestSet::read(&config, &registry, split, Arc::new(Disk::new()), options);
    let mut set = set.map_err(|e| config.errors(e).to_string())?;
    let noticed = datasets::all_notes(set.dataset()).into_iter();
    let warnings = noticed.filter(|d| d.severity != Severity::Note).cloned();
    tell(&config.errors(warnings.collect()).diagnostics);

    let chosen = args.device.choose()?;
    let builder = Predictor::builder(&config)
        .device(&chosen.device)
        .precision(args.precision.on(&chosen));
    let predictor = args.from.build(builder, &args.checkpoint)?;
    if !predictor.uninitialised().is_empty() && predictor.report().is_none() {
        return Err("this config has no `load_from`: give a checkpoint".into());
    }
    if let Some(report) = predictor.report().filter(|r| !r.is_complete()) {
        style::note(&format!(
            "the checkpoint lacks parts of the model\n{report}"
        ));
    }
    let (known, named) = (
        predictor.detector().classes(),
        set.dataset().meta().classes.len(),
    );
    if known != named && known > 1 {
        style::warning(&format!(
            "the model has {known} classes, the data set {named}: labels may mean other classes"
        ));
    }
    let mut out = match &args.out {
        None => None,
        Some(path) => Some(Output::new(
            path,
            set.evaluator().categories(named.max(known)),
        )?),
    };
    let bar = ProgressBar::new(set.dataset().len() as u64);
    let style = "{pos}/{len} [{bar:30}] {per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    let pictures = DetVisualizationHook::of(&config).map_err(|e| config.errors(e).to_string())?;
    let notes = pictures.iter().flat_map(|hook| hook.notes());
    notes.for_each(|note| style::note(note));
    let (meta, files) = (set.dataset().meta().clone(), Disk::new());
    let log_dir = work_dir(&config).join(clock::timestamp());
    let mut failed = None;
    let mut told = |told: Told<'_>| {
        bar.set_length(told.total as u64);
        bar.set_position(told.done as u64);
        if let Some(out) = &mut out
            && let Err(e) = out.picture(&told)
        {
            failed = Some(e);
            return ControlFlow::Break(());
        }
        let seen = Seen {
            told,
            iter: 0,
            meta: &meta,
            files: &files,
            log_dir: &log_dir,
        };
        let drawn = pictures.as_ref().map(|hook| hook.test_picture(&seen));
        if let Some(Err(e)) = drawn {
            failed = Some(e);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let ran = set.run(predictor.detector(), predictor.device(), &mut told);
    let report = pollster::block_on(ran);
    bar.finish_and_clear();
    let report = report.map_err(|e| failed.unwrap_or_else(|| e.to_string()))?;
    if let Some(out) = out {
        out.finish()?;
    }
    print(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints figures, and writes the files that a metric gives.
fn print(report: &Report, json: bool) -> Result<(), String> {
    for (path, content) in &report.files {
        write(Path::new(path), content)?;
        style::note(&format!("{path} is written"));
    }
    report.notes.iter().for_each(|note| style::note(note));
    if json {
        // No JSON has a number that is none.
        let figures = report.figures.iter().map(|(n, v)| (n.clone(), (*v).into()));
        style::say_json(&serde_json::Value::Object(figures.collect()));
        return Ok(());
    }
    for text in &report.texts {
        text.lines().for_each(style::say);
        style::say("");
    }
    let widest = report.figures.keys().map(String::len).max();
    for (name, value) in &report.figures {
        let width = widest.unwrap_or(0);
        style::say(format_args!("{name:<width$}  {value:.4}"));
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    use std::io::Write;
    let written = AtomicFile::create(path).and_then(|mut file| {
        file.write_all(content)?;
        file.commit()
    });
    written.map_err(|e| format!("{}: {e}", path.display()))
}

/// The file of `--out`.
struct Output {
    path: PathBuf,
    writer: ResultWriter<AtomicFile>,
    categories: Vec<Id>,
}

impl Output {
    fn new(path: &Path, categories: Vec<Id>) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let file = AtomicFile::create(path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            writer: ResultWriter::new(file).map_err(failed)?,
            categories,
        })
    }

    fn picture(&mut self, told: &Told<'_>) -> Result<(), String> {
        let id = told.info.img_id.clone();
        let image_id = id.unwrap_or(Id::Number(told.info.index as i64));
        let found = told.found;
        for (i, label) in found.labels.iter().enumerate() {
            let category = self.categories.get(*label).cloned();
            let row = Row {
                image_id: image_id.clone(),
                category_id: category.unwrap_or(Id::Number(*label as i64)),
                bbox: xywh_from_xyxy(found.boxes[i]),
                score: f64::from(found.scores[i]),
                mask: found.masks.as_ref().and_then(|masks| Runs::of(masks, i)),
            };
            let written = self.writer.row(&row);
            written.map_err(|e| format!("{}: {e}", self.path.display()))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        let done = self.writer.finish().and_then(AtomicFile::commit);
        done.map_err(|e| format!("{}: {e}", self.path.display()))
    }
}
