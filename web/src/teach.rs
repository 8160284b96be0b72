//! A detector that learns from a few pictures, step by step, on the CPU.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::json;
use smalti::config::{Config, Diagnostics, Severity};
use smalti::data::packed::Packed;
use smalti::data::picture::Picture;
use smalti::data::preprocessor::DetDataPreprocessor;
use smalti::data::{DecodeOptions, decode};
use smalti::detectors::detectron2::check_training;
use smalti::device::Chosen;
use smalti::layers::{Mode, Params, Role, TensorSource};
use smalti::model;
use smalti::train::batch_augments::{BatchAugments, Moment};
use smalti::train::feed::{Feed, Loaded};
use smalti::train::{Learned, Learner, Scalars, TrainError, TrainLoop, first_weights};
use smalti::weights::{Checkpoint, Numbers, write_safetensors};
use wasm_bindgen::prelude::*;

use super::findings;
use super::lesson::{Labelled, Lesson};

/// The most steps of a lesson.
const MOST_STEPS: u32 = 100_000;

/// Pictures with boxes, to be given to a [`Trainer`].
#[wasm_bindgen]
#[derive(Default)]
pub struct Pictures(Vec<Labelled>);

#[wasm_bindgen]
impl Pictures {
    /// None at first.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a picture file; `boxes` are left, top, right and bottom of each object, px, `labels` count the classes.
    ///
    /// # Errors
    /// It is no picture, or a box is none of it.
    pub fn add(
        &mut self,
        bytes: Vec<u8>,
        boxes: Vec<f32>,
        labels: Vec<u32>,
    ) -> Result<(), JsError> {
        let name = format!("picture {}", self.0.len() + 1);
        let wrong = |what: &str| JsError::new(&format!("{name}: {what}"));
        let picture: Picture = decode(&name, &bytes, &DecodeOptions::default())?;
        let size = [picture.width(), picture.height()];
        let [width, height] = size.map(|side| side as f32);
        if boxes.len() != 4 * labels.len() {
            return Err(wrong("each box has four numbers and a label"));
        }
        let mut objects = Vec::new();
        for (corners, label) in boxes.chunks_exact(4).zip(labels) {
            let clipped = [
                corners[0].clamp(0.0, width),
                corners[1].clamp(0.0, height),
                corners[2].clamp(0.0, width),
                corners[3].clamp(0.0, height),
            ];
            let [x1, y1, x2, y2] = clipped;
            // not a number is neither
            if !(x2 - x1 >= 1.0 && y2 - y1 >= 1.0) {
                return Err(wrong(&format!(
                    "the box {corners:?} has less than a pixel of the picture, which is {width} x {height} px"
                )));
            }
            objects.push((clipped, label as usize));
        }
        self.0.push(Labelled {
            bytes,
            size,
            objects,
        });
        Ok(())
    }
}

/// A detector that learns.
#[wasm_bindgen]
pub struct Trainer {
    device: Chosen,
    learner: Learner,
    feed: Loaded,
    preprocessor: DetDataPreprocessor,
    augments: BatchAugments,
    /// Batches of this epoch that are left.
    waiting: VecDeque<Vec<Packed>>,
    epoch: u64,
    step: u64,
    steps: u64,
    seed: u64,
    config: String,
    report: String,
    notes: Vec<String>,
}

#[wasm_bindgen]
impl Trainer {
    /// `config`, `name`, `files` and `checkpoint` as a detector's. Of the checkpoint is taken what fits the model of `classes`. What is below a
    /// place of `frozen`, such as `backbone`, stays as it is.
    ///
    /// # Errors
    /// The config, the checkpoint or how they fit is wrong; there is nothing to learn.
    #[allow(clippy::too_many_arguments)]
    pub async fn load(
        config: String,
        name: Option<String>,
        files: JsValue,
        checkpoint: Vec<u8>,
        pictures: Pictures,
        classes: Vec<String>,
        steps: u32,
        batch_size: u32,
        learning_rate: Option<f64>,
        frozen: Vec<String>,
        seed: u32,
    ) -> Result<Trainer, JsError> {
        let loader = findings::loader(&files)?;
        let name = name.as_deref().unwrap_or(findings::NAME);
        let config = Config::parse(&config, name, &loader)?;
        let lesson = Lesson {
            pictures: pictures.0,
            classes,
            steps: steps.into(),
            batch_size: batch_size.into(),
            learning_rate,
        };
        check(&lesson).map_err(|what| JsError::new(&what))?;
        let checkpoint = Checkpoint::read(checkpoint)?;
        let cpu = smalti::device::choose("cpu").await?;
        Self::begin(&config, &lesson, checkpoint, &frozen, seed.into(), cpu)
            .map_err(|error| JsError::new(&error.to_string()))
    }

    /// Learns from the next batch. JSON: `{step, loss, losses, learningRate}`; `step` counts those that are done.
    ///
    /// # Errors
    /// The loss is no number any more, or a picture cannot be prepared.
    pub async fn step(&mut self) -> Result<String, JsError> {
        let told = self.next().await;
        told.map_err(|what| JsError::new(&what))
    }

    /// The weights as they are, as `.safetensors`.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn weights(&self) -> Result<Vec<u8>, JsError> {
        let mut source = self.learner.store.source().await?;
        let entries = self.learner.store.entries();
        let mut tensors = Vec::new();
        for (name, slot) in entries {
            let numbers = match slot.role() {
                Role::Counter => Numbers::i64(&[], vec![slot.count() as i64]),
                Role::Index => Numbers::i64(slot.shape(), slot.indices().to_vec()),
                _ => {
                    let values = source.tensor(&slot.as_entry());
                    Numbers::f32(slot.shape(), values.unwrap_or_default())
                }
            };
            tensors.push((name, numbers));
        }
        let mut bytes = Vec::new();
        let facts = HashMap::from([
            ("format", "pt".to_string()),
            ("iter", self.step.to_string()),
        ]);
        let facts = facts.into_iter().map(|(k, v)| (k.to_string(), v));
        write_safetensors(&mut bytes, &tensors, &facts.collect::<Vec<_>>())?;
        Ok(bytes)
    }

    /// The config that goes with the weights: whole, of the new classes.
    #[wasm_bindgen(getter)]
    pub fn config(&self) -> String {
        self.config.clone()
    }

    /// Which tensors of the checkpoint were taken, and which were not.
    #[wasm_bindgen(getter)]
    pub fn report(&self) -> String {
        self.report.clone()
    }

    /// What is worth knowing, a text each.
    #[wasm_bindgen(getter)]
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// How many there are.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> u32 {
        self.steps as u32
    }
}

/// Whether there is something to learn.
fn check(lesson: &Lesson) -> Result<(), String> {
    let count = lesson.classes.len();
    let objects = || lesson.pictures.iter().flat_map(|p| &p.objects);
    if lesson.classes.is_empty() || lesson.classes.iter().any(|name| name.trim().is_empty()) {
        return Err("give the classes names".into());
    }
    let mut names = lesson.classes.clone();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the class `{}` is there twice", twice[0]));
    }
    if objects().next().is_none() {
        return Err("there is no box to learn from: draw one around an object".into());
    }
    if let Some((_, label)) = objects().find(|(_, label)| *label >= count) {
        return Err(format!(
            "a box is of class {label}, and there are {count}, counted from 0"
        ));
    }
    if lesson.steps == 0 || lesson.steps > MOST_STEPS.into() {
        return Err(format!("`steps` must be from 1 to {MOST_STEPS}"));
    }
    if lesson.batch_size == 0 {
        return Err("`batchSize` must be 1 or more".into());
    }
    if lesson.learning_rate.is_some_and(|rate| !(rate > 0.0)) {
        return Err("`learningRate` must be above 0".into());
    }
    Ok(())
}

impl Trainer {
    fn begin(
        config: &Config,
        lesson: &Lesson,
        checkpoint: Checkpoint,
        frozen: &[String],
        seed: u64,
        chosen: Chosen,
    ) -> Result<Self, TrainError> {
        let device = &chosen.device;
        let taught = lesson.taught(config).map_err(TrainError::Fault)?;
        let training = lesson.training(&taught).map_err(TrainError::Fault)?;
        let errors = |problems: Diagnostics| TrainError::Config(config.errors(problems));
        let registry = smalti::registry();
        check_training(&training).map_err(errors)?;
        let planned = model::state(&training, &registry).map_err(errors)?;
        let (source, report) = first_weights(&training, planned, Arc::new(checkpoint))?;
        let params = Params::new(device, Mode::Train, Some(source));
        params.store().set_step(seed, 0);
        let detector = model::build(&training, &registry, params.clone(), None).map_err(errors)?;
        let store = params.store();
        let mut notes = Vec::new();
        for place in frozen {
            if store.freeze(place.as_str(), true).is_empty() {
                notes.push(format!("nothing below `{place}` is there to be frozen"));
            }
        }
        if store.parameters().iter().all(|slot| slot.frozen()) {
            let what = "all of the model is frozen: nothing could be learned";
            return Err(TrainError::Fault(what.into()));
        }
        // A few pictures say nothing of the statistics that norms keep.
        store.evaluate("", true);
        let files = lesson.files();
        let feed = Loaded::read(&training, &registry, files, device, seed).map_err(errors)?;
        let said = feed.notes();
        let said = said.iter().filter(|note| note.severity != Severity::Note);
        notes.extend(said.map(ToString::to_string));
        let train_loop = TrainLoop::read(&training, &registry).map_err(errors)?;
        let length = train_loop.length(feed.batches());
        let size = feed.batch_size();
        let learner = Learner::build(&training, &registry, detector, &params, &length, size, seed);
        let text = training.to_py();
        if text.contains("with_mask=True") {
            notes.push("this model has masks: they are taught as boxes".into());
        }
        Ok(Self {
            learner: learner.map_err(errors)?,
            feed,
            preprocessor: model::preprocessor(&training).map_err(errors)?,
            augments: BatchAugments::read(&training, &registry).map_err(errors)?,
            waiting: VecDeque::new(),
            epoch: 0,
            step: 0,
            steps: lesson.steps,
            seed,
            config: taught.to_py(),
            report: report.to_string(),
            notes,
            device: chosen,
        })
    }

    async fn next(&mut self) -> Result<String, String> {
        if self.waiting.is_empty() {
            let waiting = &mut self.waiting;
            let gone = self.feed.epoch(self.epoch, 0, &mut |samples| {
                waiting.push_back(samples);
                Ok(true)
            });
            gone.map_err(|stop| TrainError::from(stop).to_string())?;
            self.epoch += 1;
        }
        let Some(samples) = self.waiting.pop_front() else {
            return Err("the training pipeline left every picture out".into());
        };
        let (seed, iter) = (self.seed, self.step);
        let learned = Learned::of(
            samples,
            &*self.learner.detector,
            &self.preprocessor,
            &mut self.augments,
            Moment { seed, iter },
            &self.device.device,
        )?;
        let rate = self.learner.optimization.groups().base_lr();
        let Learned { batch, targets } = learned;
        let stepped = self.learner.step(iter, batch, &targets).await;
        let losses = stepped.map_err(|e| e.to_string())?.losses;
        self.learner.schedule_iter();
        self.step += 1;
        let mut scalars = Scalars::default();
        if let Some(total) = losses.total() {
            scalars.add_later("loss", total);
        }
        for (name, loss) in losses.iter() {
            scalars.add_later(&format!("losses/{name}"), loss.clone());
        }
        scalars.read().await.map_err(|e| e.to_string())?;
        let loss = scalars.last("loss").unwrap_or(f64::NAN);
        if !loss.is_finite() {
            return Err(format!(
                "the loss is {loss} at step {}: begin again with a smaller learning rate than {rate}",
                self.step
            ));
        }
        let each = scalars.names().filter_map(|name| {
            let value = scalars.last(name)?;
            Some((name.strip_prefix("losses/")?.to_string(), json!(value)))
        });
        let each: serde_json::Map<_, _> = each.collect();
        Ok(
            json!({"step": self.step, "loss": loss, "losses": each, "learningRate": rate})
                .to_string(),
        )
    }
}
