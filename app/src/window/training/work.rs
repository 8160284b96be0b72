//! The run itself, on a thread of its own: what `smalti train` does, with the same files, telling the window what happens.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::Device;
use smalti::config::{Config, Severity};
use smalti::data::datasets;
use smalti::evaluate::{TestOptions, TestSet};
use smalti::train::{Ended, Event, TrainError, Trainer, Validation};

use super::control::Control;
use super::cut_off::{Kept, Note};
use super::looked::Looked;
use super::watch::{Shared, Watch};
use super::{Begin, Head, News, Order, Said, Voice, log};
use crate::window::analysis;
use crate::window::host::Host;
use crate::window::jobs::Progress;

/// A checkpoint that a run can go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Where it is.
    pub path: PathBuf,
    /// Epochs that are done.
    pub epoch: u64,
    /// Iterations that are done.
    pub iter: u64,
}

/// Why a run ended that was to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, and what to do.
    pub text: String,
    /// Whether the config says what cannot be done.
    pub of_config: bool,
    /// The iteration whose loss is no number, counted from 1, and what it is instead.
    pub not_finite: Option<(u64, String)>,
    /// From where it can go on.
    pub last: Option<Last>,
}

/// What a run needs beside its order.
pub struct Means {
    /// Where files, texts and time come from.
    pub host: Arc<dyn Host>,
    /// What it runs on.
    pub device: Device,
    /// The device's name.
    pub device_name: String,
    /// What it is asked to do next.
    pub control: Arc<Control>,
    /// Who hears what happens.
    pub voice: Voice,
}

/// The last checkpoint of a run's folder.
pub fn last(host: &dyn Host, folder: &Path) -> Option<Last> {
    let path = host.last_checkpoint(folder)?;
    let checkpoint = host.checkpoint(&path).ok()?;
    let meta = checkpoint.meta();
    let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Some(Last {
        epoch: count(meta.epoch),
        iter: count(meta.iter),
        path,
    })
}

/// Whether a config says how its model is validated.
pub fn validates(config: &Config) -> bool {
    config.get("val_evaluator").is_some_and(|n| !n.is_none())
}

/// Trains to the end, or until it is stopped.
///
/// # Errors
/// Why it could not.
pub fn train(order: &Order, means: &Means, progress: &Progress) -> Result<Ended, Failure> {
    let kept = Rc::new(Kept::begin(means.host.clone()));
    let ended = run(order, means, progress, &kept).map_err(|failure| Failure {
        last: last(&*means.host, &order.work_dir),
        ..failure
    });
    kept.end();
    ended
}

fn run(
    order: &Order,
    means: &Means,
    progress: &Progress,
    kept: &Rc<Kept>,
) -> Result<Ended, Failure> {
    let (host, voice) = (&means.host, &means.voice);
    progress.say("reading the config");
    let config = analysis::load(&**host, &order.config).map_err(of_config)?;
    let errors = |problems| of_config(config.errors(problems).to_string());
    let registry = smalti::registry();
    progress.say("reading the data");
    let set = if order.validate && validates(&config) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = TestOptions {
            workers: cores.min(4),
            tta: false,
        };
        let set = TestSet::read(&config, &registry, "val", host.files(), options);
        let set = set.map_err(errors)?;
        notes_of(set.dataset(), &config, voice);
        Some(Rc::new(RefCell::new(set)))
    } else {
        None
    };
    progress.say("building the model");
    let opened = |name: &str| {
        progress.say(format!("fetching {name}"));
        let fetched = host.fetch(name, &mut |done, of| progress.tell(done, of));
        fetched.map(Arc::new)
    };
    let resume = match &order.begin {
        Begin::Anew => None,
        Begin::At(path) => Some(path.clone()),
    };
    let validation = set.clone().map(Shared);
    let (asking, asked, control) = (progress.clone(), voice.clone(), means.control.clone());
    let built = Trainer::builder(&config, host.files())
        .registry(&registry)
        .device(&means.device)
        .open_with(&opened)
        .work_dir(&order.work_dir)
        .resume(resume.clone())
        .validation(validation.map(|set| Box::new(set) as Box<dyn Validation>))
        .interrupted(move || {
            let held = |held| asked.tell(News::Held(held));
            control.asked(|| asking.cancelled(), held)
        })
        .tell(listener(voice.clone()))
        .build();
    let mut trainer = built.map_err(|error| match error {
        TrainError::Config(errors) => of_config(errors.to_string()),
        TrainError::Fault(text) => fault(text),
    })?;
    let start = trainer.run().position;
    let looked = before(order, &trainer, means, set.is_some());
    let note = Note {
        order: order.clone(),
        at: host.now().as_secs(),
        epoch: start.epoch,
        iter: start.iter,
        by_epoch: trainer.run().train_loop.by_epoch,
    };
    trainer.add_hook(Box::new(Watch::new(
        voice.clone(),
        progress.clone(),
        set,
        (kept.clone(), note),
        (host.clone(), order.work_dir.clone(), looked),
    )));
    progress.say("");
    trainer.train().map_err(|error| {
        let losses = trainer.run().scalars.values("train/loss");
        let first = losses.iter().position(|loss| !loss.is_finite());
        Failure {
            not_finite: first.map(|i| (start.iter + i as u64 + 1, losses[i].to_string())),
            ..fault(error.to_string())
        }
    })
}

/// Tells what is about to happen; gives what was found so far, of a run that goes on.
fn before(order: &Order, trainer: &Trainer, means: &Means, validated: bool) -> Looked {
    let (host, voice, run) = (&means.host, &means.voice, trainer.run());
    if order.begin != Begin::Anew
        && let Ok(mut log) = log::read(&**host, &order.work_dir)
    {
        log.forget_from(run.position.iter + 1);
        voice.tell(News::Log(Box::new(log)));
    }
    voice.tell(News::Begun(Box::new(Head {
        device: means.device_name.clone(),
        length: run.length,
        by_epoch: run.train_loop.by_epoch,
        validated,
        hooks: trainer.hooks(),
        classes: run.classes.clone(),
        palette: run.palette.clone(),
        position: run.position,
    })));
    if let Some(report) = trainer.loaded().filter(|report| !report.is_complete()) {
        let text = format!("not all of the model comes from `load_from`\n{report}");
        voice.tell(News::Said(Said::Note, text));
    }
    for note in &run.learner.optimization.notes {
        voice.tell(News::Said(Said::Note, note.to_string()));
    }
    let before = match order.begin {
        Begin::Anew => None,
        Begin::At(_) => Looked::read(&**host, &order.work_dir),
    };
    let mut looked = before
        .filter(|looked| looked.classes == run.classes)
        .unwrap_or_default();
    looked.forget_after(run.position.iter);
    looked.classes.clone_from(&run.classes);
    looked.by_epoch = run.train_loop.by_epoch;
    voice.tell(News::Glimpses(looked.glimpses.clone()));
    for seen in &looked.seen {
        voice.tell(News::Seen(seen.clone()));
    }
    looked
}

/// Turns what a run tells into news.
fn listener(voice: Voice) -> impl FnMut(&Event) + 'static {
    let mut iter = 0;
    move |event| {
        let said = |what, text: &dyn std::fmt::Display| News::Said(what, text.to_string());
        voice.tell(match event {
            Event::Epoch(_) => return,
            Event::Step {
                position,
                figures,
                seconds_left,
            } => {
                iter = position.iter;
                News::Step {
                    position: *position,
                    figures: *figures,
                    seconds_left: *seconds_left,
                }
            }
            Event::Validating { done, total } => News::Validating(*done, *total),
            Event::Trained(parameters) => News::Trained(iter, parameters.clone()),
            Event::Saved(path) => News::Saved(path.clone()),
            Event::Line(text) => said(Said::Line, text),
            Event::Table(text) => said(Said::Table, text),
            Event::Note(text) => said(Said::Note, text),
        });
    }
}

fn notes_of(dataset: &dyn datasets::Dataset, config: &Config, voice: &Voice) {
    let noticed = datasets::all_notes(dataset).into_iter();
    let warnings = noticed.filter(|d| d.severity != Severity::Note).cloned();
    for note in config.errors(warnings.collect()).diagnostics {
        voice.tell(News::Said(Said::Note, note.to_string()));
    }
}

fn fault(text: String) -> Failure {
    Failure {
        text,
        of_config: false,
        not_finite: None,
        last: None,
    }
}

fn of_config(text: String) -> Failure {
    Failure {
        of_config: true,
        ..fault(text)
    }
}
