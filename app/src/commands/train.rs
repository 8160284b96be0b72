//! `smalti train CONFIG`: trains the detector that a config describes.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use smalti::config::Severity;
use smalti::data::datasets;
use smalti::evaluate::{TestOptions, TestSet};
use smalti::host::checkpoint_files;
use smalti::host::disk::Disk;
use smalti::train::run::Position;
use smalti::train::{Ended, Event, Plan, Trainer, Validation, curves, work_dir};

use super::DeviceArg;
use super::config::{ReadOptions, tell};
use super::weights::load_with_bar;
use crate::{interrupt, style};

/// Arguments of `smalti train`.
#[derive(Args)]
#[command(after_help = "Examples:\n  smalti train config.py\n  \
    smalti train config.py --plan                               what is trained, with which learning rates, for how long; trains nothing\n  \
    smalti train config.py --resume                             go on from the last checkpoint of the work directory, if there is one\n  \
    smalti train config.py --resume work_dirs/config/epoch_3.pth   from this one; MMDetection's own checkpoints too\n  \
    smalti train config.py --cfg-options load_from=epoch_12.pth train_cfg.max_epochs=3 optim_wrapper.optimizer.lr=0.001\n\n\
    Checkpoints, log and curves go to the work directory. Ctrl-C writes a checkpoint and ends; --resume goes on from there.\n\
    Exit code: 1 if something was bad, 130 after Ctrl-C.")]
pub struct TrainArgs {
    /// MMDetection config
    #[arg(value_hint = ValueHint::FilePath)]
    config: String,
    /// Where checkpoints and logs go (the config's `work_dir`, else work_dirs/ and its name, if not given)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    work_dir: Option<PathBuf>,
    /// Go on from a checkpoint with its optimizer and schedules; from the last one in the work directory, if none is named
    #[arg(long, value_name = "FILE", num_args = 0..=1, value_hint = ValueHint::FilePath)]
    resume: Option<Option<PathBuf>>,
    /// Print what would be trained, and how, and draw the learning rate to plan.png in the work directory; train nothing
    #[arg(long)]
    plan: bool,
    /// Do not validate between epochs
    #[arg(long)]
    no_validate: bool,
    /// Enable `auto_scale_lr`: learning rates for the batch size that there is
    #[arg(long)]
    auto_scale_lr: bool,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    read: ReadOptions,
}

/// Runs the command.
///
/// # Errors
/// What is wrong and what to do.
pub fn run(args: &TrainArgs) -> Result<ExitCode, String> {
    let config = args.read.load(&args.config)?;
    let config = if args.auto_scale_lr {
        let mut read = args.read.clone();
        read.cfg_options.push("auto_scale_lr.enable=True".into());
        read.load(&args.config)?
    } else {
        config
    };
    let registry = smalti::registry();
    let folder = args.work_dir.clone().unwrap_or_else(|| work_dir(&config));
    let resume = resumed(args, &config, &folder)?;
    let files = Arc::new(Disk::new());
    let errors = |problems| config.errors(problems).to_string();

    let evaluator = config.get("val_evaluator").filter(|n| !n.is_none());
    let validated = !args.no_validate && evaluator.is_some();
    let validation: Option<Box<dyn Validation>> = if validated && !args.plan {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = TestOptions {
            workers: cores.min(4),
            tta: false,
        };
        let set = TestSet::read(&config, &registry, "val", files.clone(), options);
        let set = set.map_err(errors)?;
        notes_of(&config, set.dataset());
        Some(Box::new(set))
    } else {
        None
    };

    let chosen = args.device.choose()?;
    let ui = Rc::new(RefCell::new(Ui::new()));
    let told = ui.clone();
    let open = |name: &str| {
        load_with_bar(name, None)
            .map(Arc::new)
            .map_err(|e| e.to_string())
    };
    let built = Trainer::builder(&config, files)
        .registry(&registry)
        .device(&chosen.device)
        .open_with(&open)
        .work_dir(&folder)
        .resume(resume.clone())
        .validation(validation)
        .interrupted(interrupt::pressed)
        .tell(move |event| told.borrow_mut().hear(event))
        .build();
    let mut trainer = built.map_err(|e| e.to_string())?;
    if let Some(report) = trainer.loaded().filter(|r| !r.is_complete()) {
        style::note(&format!(
            "not all of the model comes from `load_from`\n{report}"
        ));
    }
    for note in &trainer.run().learner.optimization.notes {
        tell(std::slice::from_ref(note));
    }
    head(
        &trainer,
        &chosen.name,
        &folder,
        resume.as_deref(),
        validated,
    );
    let run = trainer.run();
    let learner = &run.learner;
    let plan = Plan::new(
        &learner.optimization,
        &learner.schedules,
        &learner.store,
        run.length,
    );
    if args.plan {
        style::say(run.parameters());
        style::say(&plan);
        let path = folder.join("plan.png");
        let png = curves::of_plan(&plan).png().map_err(|e| e.to_string())?;
        checkpoint_files::save(&path, |file| Ok(file.write_all(&png)?))
            .map_err(|e| e.to_string())?;
        style::say(format_args!("drawn to {}", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::listen();
    {
        let mut ui = ui.borrow_mut();
        ui.total(run.length.max_iters, run.length.epoch_length);
        ui.place(run.position);
    }
    let ended = trainer.train();
    ui.borrow_mut().end();
    match ended.map_err(|e| e.to_string())? {
        Ended::Done => {
            style::say(format_args!("done: {}", folder.display()));
            Ok(ExitCode::SUCCESS)
        }
        Ended::Early(why) => {
            style::say(format_args!("ended early: {why}"));
            Ok(ExitCode::SUCCESS)
        }
        Ended::Interrupted(path) => {
            style::remark(format_args!(
                "interrupted; `--resume` goes on from {}",
                path.display()
            ));
            Ok(ExitCode::from(130))
        }
    }
}

/// The checkpoint to go on from: what was named, else the work directory's last, if there is one.
fn resumed(
    args: &TrainArgs,
    config: &smalti::config::Config,
    folder: &Path,
) -> Result<Option<PathBuf>, String> {
    let by_config = config.get("resume").and_then(|n| n.as_bool()) == Some(true);
    let named = config.get("load_from").and_then(|n| n.as_str());
    match &args.resume {
        Some(Some(path)) if !path.exists() => Err(format!(
            "{} is not there; without a name, --resume takes the last checkpoint of {}",
            path.display(),
            folder.display()
        )),
        Some(Some(path)) => Ok(Some(path.clone())),
        None if !by_config => Ok(None),
        // MMEngine's `resume=True` goes on from `load_from`, where one is named.
        None if named.is_some() => Ok(named.map(PathBuf::from)),
        _ => {
            let last = checkpoint_files::last(folder);
            if last.is_none() {
                style::note(&format!(
                    "{} has no checkpoint to go on from: training begins at the beginning",
                    folder.display()
                ));
            }
            Ok(last)
        }
    }
}

fn notes_of(config: &smalti::config::Config, dataset: &dyn datasets::Dataset) {
    let noticed = datasets::all_notes(dataset).into_iter();
    let warnings = noticed.filter(|d| d.severity != Severity::Note).cloned();
    tell(&config.errors(warnings.collect()).diagnostics);
}

/// What is about to happen.
fn head(trainer: &Trainer, device: &str, folder: &Path, resume: Option<&Path>, validated: bool) {
    let run = trainer.run();
    let length = run.length;
    let much = if run.train_loop.by_epoch {
        format!(
            "{} epochs of {} iterations",
            length.max_epochs, length.epoch_length
        )
    } else {
        format!("{} iterations", length.max_iters)
    };
    let validation = match (
        validated,
        run.train_loop.by_epoch,
        run.train_loop.val_interval,
    ) {
        (false, ..) => "no validation".to_string(),
        (true, true, n) => format!("validated every {n} epochs"),
        (true, false, n) => format!("validated every {n} iterations"),
    };
    style::remark(format_args!(
        "on {device}: {much}, {validation}, to {}",
        folder.display()
    ));
    style::remark(format_args!("hooks: {}", trainer.hooks().join(", ")));
    if let Some(path) = resume {
        let Position { epoch, iter, .. } = run.position;
        style::remark(format_args!(
            "goes on from {} after {epoch} epochs, {iter} iterations",
            path.display()
        ));
    }
}

/// What is shown while training goes on.
struct Ui {
    bar: ProgressBar,
    epoch_length: u64,
    validating: Option<ProgressBar>,
}

impl Ui {
    fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            epoch_length: 1,
            validating: None,
        }
    }

    fn total(&mut self, iters: u64, epoch_length: u64) {
        self.bar = ProgressBar::new(iters);
        let style = "{pos}/{len} [{bar:30}] {msg}";
        self.bar
            .set_style(ProgressStyle::with_template(style).expect("a valid template"));
        self.epoch_length = epoch_length.max(1);
    }

    fn place(&mut self, position: Position) {
        self.bar.set_position(position.iter);
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.bar.suspend(|| style::remark(text));
    }

    fn hear(&mut self, event: &Event) {
        if !matches!(event, Event::Validating { .. })
            && let Some(bar) = self.validating.take()
        {
            bar.finish_and_clear();
        }
        match event {
            Event::Epoch(_) => {}
            Event::Step {
                position,
                figures,
                seconds_left,
            } => {
                self.place(*position);
                let mut text = format!("epoch {}", position.epoch + 1);
                if let Some((loss, lr)) = figures {
                    text += &format!("  loss {loss:.4}  lr {lr:.2e}");
                }
                if let Some(left) = seconds_left {
                    let left = std::time::Duration::from_secs_f64(left.max(0.0));
                    text += &format!("  {} left", indicatif::HumanDuration(left));
                }
                self.bar.set_message(text);
            }
            Event::Line(line) => self.say(line),
            Event::Validating { done, total } => {
                let bar = self.validating.get_or_insert_with(|| {
                    let bar = ProgressBar::new(*total as u64);
                    let style = "validating {pos}/{len} [{bar:30}] {per_sec} {eta}";
                    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
                    bar
                });
                bar.set_position(*done as u64);
            }
            Event::Table(text) => self.bar.suspend(|| style::say(text)),
            Event::Saved(path) => self.say(format_args!("saved {}", path.display())),
            Event::Trained(parameters) => self.say(parameters),
            Event::Note(text) => self.say(format_args!("note: {text}")),
        }
    }
}
