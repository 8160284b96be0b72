//! [`Trainer`]: walk 2, training. [`Trainer::train`] is its beginning; the functions below follow in the order of the walk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch_augments::{BatchAugments, Moment};
use super::checkpoint::{self, Saving};
use super::curves::CurvesHook;
use super::feed::{Feed, Loaded};
use super::first_batches::FirstBatchesHook;
use super::first_weights::first_weights;
use super::hooks::{Given, HookList, Seen};
use super::learner::Learner;
use super::run::{FEED, Position, Run};
use super::scalars::Scalars;
use super::{Event, Learned, Mixed, Stop, TrainError, TrainLoop};
use crate::Precision;
use crate::build::OpenCheckpoint;
use crate::config::{Config, Diagnostics, Node};
use crate::data::files::Files;
use crate::data::packed::Packed;
use crate::detectors::{Detector, detectron2};
use crate::evaluate::Told;
use crate::host::lock::Lock;
use crate::layers::{Course, Mode, Params};
use crate::registry::{DEFAULT_SCOPE, Registry};
use crate::weights::{Checkpoint, LoadReport, TrainingState};
use crate::{host, model};
use burn::tensor::Device;

/// Where a checkpoint has what batch augments know.
const AUGMENTS: &str = "batch_augments";

/// What validates: the figures of the model as it is, in the order of their importance.
pub trait Validation {
    /// Runs over the data. `told` hears of every picture; it says whether to go on.
    ///
    /// # Errors
    /// It could not.
    fn figures(
        &mut self,
        model: &dyn Detector,
        device: &Device,
        told: &mut dyn FnMut(Told<'_>) -> Result<(), Stop>,
    ) -> Result<Validated, Stop>;
}

/// What a validation found.
#[derive(Clone, Debug, Default)]
pub struct Validated {
    /// Names as MMEngine logs them, and values.
    pub figures: Vec<(String, f64)>,
    /// Tables to show.
    pub texts: Vec<String>,
}

/// How to make a [`Trainer`].
pub struct TrainerBuilder<'a> {
    config: &'a Config,
    registry: Option<&'a Registry>,
    device: Option<&'a Device>,
    open: Option<&'a OpenCheckpoint<'a>>,
    files: Arc<dyn Files>,
    work_dir: Option<PathBuf>,
    resume: Option<PathBuf>,
    tell: Option<Tell>,
    interrupted: Interrupted,
    feed: Option<Box<dyn Feed>>,
    built: Option<Box<dyn crate::layers::TensorSource>>,
    validation: Option<Box<dyn Validation>>,
}

impl<'a> TrainerBuilder<'a> {
    /// Components beside those of this crate.
    pub fn registry(mut self, registry: &'a Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Where to run; the CPU if never said.
    pub fn device(mut self, device: &'a Device) -> Self {
        self.device = Some(device);
        self
    }

    /// How to get the checkpoints that `init_cfg` and `load_from` name.
    pub fn open_with(mut self, open: &'a OpenCheckpoint<'a>) -> Self {
        self.open = Some(open);
        self
    }

    /// Where the run's files go; the config's `work_dir`, else `work_dirs/` and its name, if never said.
    pub fn work_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(folder.into());
        self
    }

    /// The checkpoint to go on from.
    pub fn resume(mut self, path: Option<PathBuf>) -> Self {
        self.resume = path;
        self
    }

    /// Who is told what happens.
    pub fn tell(mut self, tell: impl FnMut(&Event) + 'static) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// The run writes a checkpoint and ends when this says so; it is asked after every iteration, and every picture of a validation. The run
    /// waits as long as it takes its time, which counts as no iteration's.
    pub fn interrupted(mut self, asked: impl Fn() -> bool + 'static) -> Self {
        self.interrupted = Box::new(asked);
        self
    }

    /// Where samples come from; the config's `train_dataloader`, if never said.
    pub fn feed(mut self, feed: Box<dyn Feed>) -> Self {
        self.feed = Some(feed);
        self
    }

    /// Begins with a model that was built before, as MMEngine's Runner can: these are its values, and what its `init_cfg` mean is drawn over
    /// them. If never said, it is built by the run's seed, and checkpoints that the config names count.
    pub fn built(mut self, values: Box<dyn crate::layers::TensorSource>) -> Self {
        self.built = Some(values);
        self
    }

    /// What validates; nothing, if never said.
    pub fn validation(mut self, validation: Option<Box<dyn Validation>>) -> Self {
        self.validation = validation;
        self
    }

    /// Builds everything, and goes to where the run is resumed.
    ///
    /// # Errors
    /// The config is wrong, or asks for something that is not built; a checkpoint does not fit.
    pub fn build(self) -> Result<Trainer, TrainError> {
        let standard;
        let registry = match self.registry {
            Some(registry) => registry,
            None => {
                standard = crate::registry();
                &standard
            }
        };
        let config = self.config;
        let errors = |problems: Diagnostics| TrainError::Config(config.errors(problems));
        let device = self.device.cloned().unwrap_or_else(Device::flex);
        detectron2::check_training(config).map_err(errors)?;
        let train_loop = TrainLoop::read(config, registry).map_err(errors)?;
        let given = Given { config, registry };
        let mut hooks = HookList::read(given).map_err(errors)?;
        if hooks.names().contains(&"LoggerHook") {
            hooks.add(Box::new(CurvesHook), None);
            if self.resume.is_none() {
                hooks.add(Box::new(FirstBatchesHook), None);
            }
        }
        let seed = config.root.at("randomness.seed").and_then(Node::as_int);
        let seed = seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0);
        let state = match &self.resume {
            Some(path) => Some(open_state(path)?),
            None => None,
        };
        let seed = state
            .as_ref()
            .and_then(|state| u64::try_from(state.meta.seed?).ok())
            .unwrap_or(seed);

        let planned = model::state(config, registry).map_err(errors)?;
        let course = match &self.built {
            Some(_) => Course::Rules,
            None => Course::Whole,
        };
        let (source, loaded) = match (self.built, &state) {
            (Some(source), _) => (Some(source), None),
            (None, Some(_)) => (None, None),
            (None, None) => match load_from(config, self.open)? {
                Some(checkpoint) => {
                    let (source, report) = first_weights(config, planned, checkpoint)?;
                    (Some(source), Some(report))
                }
                None => (None, None),
            },
        };
        let precision = mixed(config, registry).map_err(errors)?;
        let params = Params::new(&device, Mode::Train, source).compute_in(precision);
        params.store().set_step(seed, 0);
        // A loop by iterations makes its DataLoader's iterator first, which draws a seed for its workers: 64 bits.
        params.draw_later(course, if train_loop.by_epoch { 0 } else { 2 });
        let open = self.open.filter(|_| state.is_none());
        let detector = model::walk(config, registry, params.clone(), open).map_err(errors)?;
        let feed: Box<dyn Feed> = match self.feed {
            Some(feed) => feed,
            None => {
                let loaded = Loaded::read(config, registry, self.files.clone(), &device, seed);
                Box::new(loaded.map_err(errors)?)
            }
        };
        let length = train_loop.length(feed.batches());
        let batch_size = feed.batch_size();
        let learner = Learner::build(
            config, registry, detector, &params, &length, batch_size, seed,
        );
        let learner = learner.map_err(errors)?;
        let preprocessor = crate::model::preprocessor(config).map_err(errors)?;
        let batch_augments = BatchAugments::read(config, registry).map_err(errors)?;
        let work_dir = self.work_dir.unwrap_or_else(|| work_dir(config));
        let begun = host::clock::timestamp();
        let meta = feed.meta();
        let mut trainer = Trainer {
            run: Run {
                config: config.clone(),
                registry: registry.clone(),
                device,
                learner,
                preprocessor,
                batch_augments,
                files: self.files,
                feed: Some(feed),
                train_loop,
                length,
                position: Position::default(),
                scalars: Scalars::default(),
                info: BTreeMap::new(),
                name: format!("{}_{begun}", stem(config)),
                begun,
                work_dir,
                seed,
                classes: meta.classes,
                palette: meta.palette,
                pictures: Vec::new(),
                batch: None,
                seconds_left: None,
                held: Duration::ZERO,
                ending: None,
                tell: self.tell.unwrap_or_else(|| Box::new(|_| ())),
                looked: None,
            },
            hooks,
            validation: self.validation,
            interrupted: self.interrupted,
            state,
            loaded,
        };
        if let Some(state) = &trainer.state {
            checkpoint::restore(&mut trainer.run, state)?;
            if let Some(augments) = trainer.run.info.get(AUGMENTS) {
                trainer.run.batch_augments.restore(augments);
            }
            let Position { iter, .. } = trainer.run.position;
            let all = trainer.run.length.max_iters;
            trainer.run.learner.resume(iter, all);
        }
        Ok(trainer)
    }
}

/// In which numbers the config's `optim_wrapper` has convolutions multiply.
fn mixed(config: &Config, registry: &Registry) -> Result<Precision, Diagnostics> {
    let Some(wrapper) = config.get("optim_wrapper") else {
        return Ok(Precision::F32);
    };
    let scope = config.get("default_scope").and_then(|s| s.as_str());
    let mixed = Mixed::read(wrapper, registry, scope.unwrap_or(DEFAULT_SCOPE))?;
    Ok(mixed.map_or(Precision::F32, |mixed| mixed.precision))
}

/// Reads a checkpoint to go on from.
fn open_state(path: &Path) -> Result<TrainingState<crate::weights::Stored>, TrainError> {
    let fail = |what: String| TrainError::Fault(format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    TrainingState::read(bytes).map_err(|e| fail(e.to_string()))
}

/// Who hears what happens.
pub(super) type Tell = Box<dyn FnMut(&Event)>;
/// Who says whether the run is to end.
type Interrupted = Box<dyn Fn() -> bool>;

/// The checkpoint that `load_from` names.
fn load_from(
    config: &Config,
    open: Option<&OpenCheckpoint>,
) -> Result<Option<Arc<Checkpoint>>, TrainError> {
    let name = config.root.get("load_from").and_then(|n| n.as_str());
    let opened = name.zip(open).map(|(name, open)| open(name));
    opened.transpose().map_err(TrainError::Fault)
}

/// Name of a config's file, without its ending.
fn stem(config: &Config) -> String {
    let stem = Path::new(&config.path).file_stem();
    stem.map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned())
}

/// Where a config's run writes.
pub fn work_dir(config: &Config) -> PathBuf {
    let said = config.root.get("work_dir").and_then(|n| n.as_str());
    let default = || Path::new("work_dirs").join(stem(config));
    said.map_or_else(default, PathBuf::from)
}

/// Trains the detector of a config.
pub struct Trainer {
    run: Run,
    hooks: HookList,
    validation: Option<Box<dyn Validation>>,
    interrupted: Interrupted,
    /// What the run goes on from.
    state: Option<TrainingState<crate::weights::Stored>>,
    loaded: Option<LoadReport>,
}

impl Trainer {
    /// Begins with a config. `files` are pictures and annotations.
    pub fn builder(config: &Config, files: Arc<dyn Files>) -> TrainerBuilder<'_> {
        TrainerBuilder {
            config,
            registry: None,
            device: None,
            open: None,
            files,
            work_dir: None,
            resume: None,
            tell: None,
            interrupted: Box::new(|| false),
            feed: None,
            built: None,
            validation: None,
        }
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Its hooks, in the order in which they act.
    pub fn hooks(&self) -> Vec<&'static str> {
        self.hooks.names()
    }

    /// Adds a hook that no config names.
    pub fn add_hook(&mut self, hook: Box<dyn super::hooks::Hook>) {
        self.hooks.add(hook, None);
    }

    /// How the weights of `load_from` fit, if it names some.
    pub fn loaded(&self) -> Option<&LoadReport> {
        self.loaded.as_ref()
    }

    /// Trains to the end, or until something ends it.
    ///
    /// # Errors
    /// What a hook or the device says. Checkpoints that were written before are whole.
    pub fn train(&mut self) -> Result<Ended, TrainError> {
        let lock = Lock::take(&self.run.work_dir).map_err(TrainError::Fault)?;
        let ended = match self.whole() {
            Ok(ended) => Ok(ended),
            Err(Stop::Finished(why)) => Ok(Ended::Early(why)),
            Err(Stop::Fault(error)) => Err(error),
        };
        drop(lock);
        ended
    }

    fn whole(&mut self) -> Result<Ended, Stop> {
        let Self { run, hooks, .. } = self;
        hooks.call(|hook| hook.before_run(run))?;
        let text = run.config.to_py();
        checkpoint::write_text(
            &run.work_dir.join(format!("{}.py", stem(&run.config))),
            &text,
        )?;
        if self.state.is_some() {
            hooks.call(|hook| hook.after_load_checkpoint(run))?;
        }
        run.tell(&Event::Trained(run.parameters()));
        hooks.call(|hook| hook.before_train(run))?;
        let ended = if self.run.train_loop.by_epoch {
            self.epochs()?
        } else {
            self.iterations()?
        };
        let Self { run, hooks, .. } = self;
        if !matches!(ended, Ended::Interrupted(_)) {
            hooks.call(|hook| hook.after_train(run))?;
        }
        hooks.call(|hook| hook.after_run(run))?;
        Ok(ended)
    }

    /// A run by epochs.
    fn epochs(&mut self) -> Result<Ended, Stop> {
        while self.run.position.epoch < self.run.length.max_epochs {
            self.begin_epoch()?;
            if self.batches(u64::MAX)? == Met::Interrupt {
                return self.interrupt();
            }
            let Self { run, hooks, .. } = self;
            hooks.call(|hook| hook.after_train_epoch(run))?;
            run.position.epoch += 1;
            run.position.batch = 0;
            if run.train_loop.validates(run.position.epoch) && self.validate()? == Met::Interrupt {
                return self.interrupt();
            }
            if let Some(why) = self.run.ending.take() {
                return Ok(Ended::Early(why));
            }
        }
        Ok(Ended::Done)
    }

    /// A run by iterations: one large epoch, over the data again and again.
    fn iterations(&mut self) -> Result<Ended, Stop> {
        self.begin_epoch()?;
        while self.run.position.iter < self.run.length.max_iters {
            if self.batches(self.run.length.max_iters)? == Met::Interrupt {
                return self.interrupt();
            }
            self.run.position.batch = 0;
            if let Some(why) = self.run.ending.take() {
                return Ok(Ended::Early(why));
            }
        }
        let Self { run, hooks, .. } = self;
        hooks.call(|hook| hook.after_train_epoch(run))?;
        Ok(Ended::Done)
    }

    fn begin_epoch(&mut self) -> Result<(), Stop> {
        let Self { run, hooks, .. } = self;
        hooks.call(|hook| hook.before_train_epoch(run))?;
        if let Some(state) = self.state.take() {
            // Now that hooks have unfrozen what they had when it was written.
            checkpoint::restore_optimizer(run, &state)?;
        }
        run.learner.store.learn("", true);
        run.tell(&Event::Epoch(run.position.epoch));
        Ok(())
    }

    /// The batches that are left of this pass over the data, up to iteration `last`.
    fn batches(&mut self, last: u64) -> Result<Met, Stop> {
        let mut feed = self.run.feed.take().expect(FEED);
        let (epoch, batch) = match self.run.train_loop.by_epoch {
            true => (self.run.position.epoch, self.run.position.batch),
            false => {
                let each = self.run.length.epoch_length.max(1);
                let iter = self.run.position.iter;
                (iter / each, iter % each)
            }
        };
        self.run.position.batch = batch;
        let mut met = Met::End;
        let gone = feed.epoch(epoch, batch, &mut |samples| {
            self.iteration(samples)?;
            if asked(&self.interrupted, &mut self.run.held) {
                met = Met::Interrupt;
                return Ok(false);
            }
            let more = self.run.position.iter < last;
            Ok(more && (self.run.train_loop.by_epoch || self.run.ending.is_none()))
        });
        self.run.feed = Some(feed);
        gone.map(|()| met)
    }

    /// One batch.
    fn iteration(&mut self, samples: Vec<Packed>) -> Result<(), Stop> {
        let Self { run, hooks, .. } = self;
        run.pictures = samples.iter().map(|s| s.meta.img_path.clone()).collect();
        let (seed, iter) = (run.seed, run.position.iter);
        let learned = Learned::of(
            samples,
            &*run.learner.detector,
            &run.preprocessor,
            &mut run.batch_augments,
            Moment { seed, iter },
            &run.device,
        );
        run.batch = Some(learned.map_err(Stop::fault)?);
        if !run.batch_augments.is_empty() {
            run.info.insert(AUGMENTS.into(), run.batch_augments.state());
        }
        hooks.call(|hook| hook.before_train_iter(run))?;
        let Learned { batch, targets } = run.batch.take().expect("hooks leave the batch there");
        let stepped = pollster::block_on(run.learner.step(iter, batch, &targets));
        let stepped = stepped.map_err(|e| Stop::fault(e.to_string()))?;
        hooks.call(|hook| hook.after_train_iter(run, &stepped))?;
        run.position.iter += 1;
        run.position.batch += 1;
        run.look()?;
        if !run.train_loop.by_epoch && run.train_loop.validates(run.position.iter) {
            // who interrupts it is asked once more after the iteration
            self.validate()?;
        }
        Ok(())
    }

    /// The figures of the model as it is. Where it is interrupted there are none, and the run is where it was before.
    fn validate(&mut self) -> Result<Met, Stop> {
        let Self {
            run,
            hooks,
            validation: Some(validation),
            interrupted,
            ..
        } = self
        else {
            return Ok(Met::End);
        };
        hooks.call(|hook| hook.before_val(run))?;
        hooks.call(|hook| hook.before_val_epoch(run))?;
        run.learner.store.track(false);
        run.learner.store.learn("", false);
        let (meta, log_dir) = (run.meta(), run.log_dir());
        let Run {
            learner,
            device,
            tell,
            position,
            files,
            held,
            ..
        } = run;
        let mut met = Met::End;
        let validated = validation.figures(&*learner.detector, device, &mut |told| {
            let Told { done, total, .. } = told;
            tell(&Event::Validating { done, total });
            let seen = Seen {
                told,
                iter: position.iter,
                meta: &meta,
                files: &**files,
                log_dir: &log_dir,
            };
            hooks.call(|hook| hook.after_val_picture(&seen))?;
            if asked(interrupted, held) {
                met = Met::Interrupt;
                return Err(Stop::Finished("interrupted".into()));
            }
            Ok(())
        });
        run.learner.store.learn("", true);
        run.learner.store.track(true);
        if met == Met::Interrupt {
            hooks.call(|hook| hook.after_val(run))?;
            return Ok(met);
        }
        let validated = validated?;
        for text in &validated.texts {
            run.tell(&Event::Table(text.clone()));
        }
        let figures = &validated.figures;
        hooks.call(|hook| hook.after_val_epoch(run, figures))?;
        hooks.call(|hook| hook.after_val(run))?;
        Ok(met)
    }

    /// Writes a checkpoint of where the run is.
    fn interrupt(&mut self) -> Result<Ended, Stop> {
        let path = self.run.path("interrupted.pth");
        let position = self.run.position;
        self.run.save(&path, position, Saving::ALL)?;
        Ok(Ended::Interrupted(path))
    }
}

/// Whether the run is to end, and in `held` how long that took to be said.
fn asked(interrupted: &Interrupted, held: &mut Duration) -> bool {
    let begun = Instant::now();
    let end = interrupted();
    *held += begun.elapsed();
    end
}

/// Why a pass over the data, or a validation, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    End,
    Interrupt,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of it is done.
    Done,
    /// A hook ended it, and why.
    Early(String),
    /// Somebody interrupted it; the checkpoint to go on from.
    Interrupted(PathBuf),
}
