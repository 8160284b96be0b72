//! A hook of your own, and samples that come from no file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use smalti::config::{Config, Diagnostics, MapLoader, Node};
use smalti::data::Meta;
use smalti::data::datasets::MetaInfo;
use smalti::data::image::{Image, Samples};
use smalti::data::packed::Packed;
use smalti::evaluate::Told;
use smalti::host::disk::Disk;
use smalti::registry::{Registry, Row};
use smalti::structures::GroundTruth;
use smalti::train::feed::{Feed, Take};
use smalti::train::hooks::{Figures, Given, Hook, Hooks, Step};
use smalti::train::{Run, Stepped, Stop, TrainError, Trainer, Validated, Validation};

/// The keys of `type='mine.WatchHook'`.
#[derive(Deserialize)]
struct WatchConfig {
    named: String,
    stop_after: Option<u64>,
}

/// Writes to `watched.txt` in the work directory at which points it is called, and ends the run with the epoch of some iteration.
struct WatchHook(WatchConfig);

impl WatchHook {
    fn saw(&self, run: &Run, what: &str) -> Step {
        let path = run.work_dir.join("watched.txt");
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{}: {what}", self.0.named))
            .map_err(|e| Stop::fault(format!("watched.txt: {e}")))
    }
}

impl Hook for WatchHook {
    fn name(&self) -> &'static str {
        "WatchHook"
    }

    fn before_train(&mut self, run: &mut Run) -> Step {
        let parameters = run.learner.store.parameters().len();
        self.saw(run, &format!("before_train, {parameters} parameters"))
    }

    fn before_train_epoch(&mut self, run: &mut Run) -> Step {
        self.saw(run, &format!("before_train_epoch {}", run.position.epoch))
    }

    fn after_train_iter(&mut self, run: &mut Run, stepped: &Stepped) -> Step {
        let iter = run.position.iter;
        let names: Vec<_> = stepped.losses.iter().map(|(name, _)| name).collect();
        self.saw(run, &format!("after_train_iter {iter}: {names:?}"))?;
        if self.0.stop_after == Some(iter + 1) {
            run.end("it has seen enough");
        }
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        self.saw(run, &format!("after_val_epoch {figures:?}"))
    }

    fn after_train(&mut self, run: &mut Run) -> Step {
        self.saw(run, "after_train")
    }
}

/// Two grey pictures, a light square on each.
struct Squares;

impl Feed for Squares {
    fn batches(&self) -> u64 {
        2
    }

    fn batch_size(&self) -> u64 {
        1
    }

    fn meta(&self) -> MetaInfo {
        MetaInfo::default()
    }

    fn epoch(&mut self, _: u64, batch: u64, take: &mut Take) -> Result<(), Stop> {
        for at in batch as usize..2 {
            if !take(vec![square(8 + 16 * at)])? {
                break;
            }
        }
        Ok(())
    }
}

fn square(at: usize) -> Packed {
    let inside = |i: usize| (at..at + 16).contains(&i);
    let value = |i: usize| {
        let pixel = i / 3;
        if inside(pixel % 64) && inside(pixel / 64) {
            250
        } else {
            100
        }
    };
    let meta = Meta {
        img_path: format!("square at {at}"),
        ori_shape: [64, 64],
        img_shape: [64, 64],
        pad_shape: [64, 64],
        scale_factor: [1.0, 1.0],
        ..Meta::default()
    };
    let [from, to] = [at, at + 16].map(|px| px as f32);
    Packed {
        image: Image::new(
            [64, 64],
            3,
            Samples::U8((0..64 * 64 * 3).map(value).collect()),
        ),
        gt: GroundTruth {
            boxes: vec![[from, from, to, to]],
            labels: vec![0],
            ignore: vec![false],
            origins: vec![Default::default()],
            ..GroundTruth::default()
        },
        ignored: GroundTruth::default(),
        meta,
        asked: Default::default(),
    }
}

/// A figure that is always the same.
struct Judge;

impl Validation for Judge {
    fn figures(
        &mut self,
        _: &dyn smalti::detectors::Detector,
        _: &burn::tensor::Device,
        _: &mut dyn FnMut(Told<'_>) -> Result<(), Stop>,
    ) -> Result<Validated, Stop> {
        Ok(Validated {
            figures: vec![("mine/good".into(), 0.5)],
            texts: Vec::new(),
        })
    }
}

const CONFIG: &str = "
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=9, val_interval=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
custom_hooks = [
    dict(type='mine.WatchHook', named='second', priority='LOW', stop_after=3),
    dict(type='mine.WatchHook', named='first', priority='HIGH'),
]
default_hooks = dict(checkpoint=None, logger=None)
";

fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    Ok(Box::new(WatchHook(node.read_knowing(&["priority"])?)))
}

/// Trains `model` until the hook ends the run; what was written, and how it ended.
///
/// # Errors
/// What the trainer said.
pub fn watch(mut registry: Registry, model: &str, work_dir: &Path) -> Result<String, TrainError> {
    registry.add(Row::<Hooks>::new("mine", "WatchHook", build));
    let text = format!("{model}{CONFIG}");
    let config =
        Config::parse(&text, "mine.py", &MapLoader::default()).map_err(TrainError::Config)?;
    let mut trainer = Trainer::builder(&config, Arc::new(Disk::new()))
        .registry(&registry)
        .feed(Box::new(Squares))
        .validation(Some(Box::new(Judge)))
        .work_dir(work_dir)
        .build()?;
    let ended = trainer.train()?;
    let watched = std::fs::read_to_string(work_dir.join("watched.txt"));
    let watched = watched.map_err(|e| TrainError::Fault(e.to_string()))?;
    Ok(format!("{watched}{ended:?}\n"))
}
