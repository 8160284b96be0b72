//! [`Feed`]: where a run's samples come from: a config's `train_dataloader` ([`Loaded`]), or whatever else gives them.

use std::sync::Arc;

use burn::tensor::Device;

use super::Stop;
use crate::config::{Config, Diagnostic, Diagnostics, Node, Value, error_at};
use crate::data::Lookup;
use crate::data::datasets::{self, MetaInfo};
use crate::data::files::Files;
use crate::data::loader::{Loader, LoaderOptions};
use crate::data::packed::Packed;
use crate::data::samplers::Sampling;
use crate::ops;
use crate::registry::Registry;

/// What takes the samples of a batch; whether it wants more.
pub type Take<'a> = dyn FnMut(Vec<Packed>) -> Result<bool, Stop> + 'a;

/// Gives samples, epoch after epoch.
pub trait Feed {
    /// Batches of an epoch.
    fn batches(&self) -> u64;

    /// Samples of a batch.
    fn batch_size(&self) -> u64;

    /// What the data set says of its classes.
    fn meta(&self) -> MetaInfo;

    /// Gives the batches of `epoch` from `batch` on to `take`, until that wants no more or there are no more.
    ///
    /// # Errors
    /// What `take` gave, or a sample that cannot be made.
    fn epoch(&mut self, epoch: u64, batch: u64, take: &mut Take) -> Result<(), Stop>;

    /// Trains with another pipeline from the next epoch on.
    ///
    /// # Errors
    /// It is wrong, or this feed has none.
    fn switch_pipeline(&mut self, pipeline: &Node) -> Result<(), Stop> {
        let _ = pipeline;
        Err(Stop::fault(
            "this run's samples come from no pipeline that could be switched",
        ))
    }

    /// Leaves transforms of these types out from the next epoch on.
    ///
    /// # Errors
    /// This feed has no pipeline.
    fn skip_transforms(&mut self, types: &[String]) -> Result<(), Stop> {
        let _ = types;
        Err(Stop::fault(
            "this run's samples come from no pipeline that could leave steps out",
        ))
    }
}

/// The samples of a config's `train_dataloader`.
pub struct Loaded {
    loader: Loader,
    /// The config, with what hooks have changed of the data set.
    config: Config,
    registry: Registry,
    files: Arc<dyn Files>,
    device: Device,
    seed: u64,
    batch_size: u64,
}

impl Loaded {
    /// Reads the data set of `config`. `seed` is the run's. Pixels are worked on by `device` where it can.
    ///
    /// # Errors
    /// Something in the config or its files is wrong.
    pub fn read(
        config: &Config,
        registry: &Registry,
        files: Arc<dyn Files>,
        device: &Device,
        seed: u64,
    ) -> Result<Self, Diagnostics> {
        let loader = loader(config, registry, &files, device, seed)?;
        let batches = loader.batches(0);
        let batch_size = batches.iter().map(Vec::len).max().unwrap_or(0) as u64;
        if batch_size == 0 {
            let message = "the training data set has no samples, or not enough for one batch";
            let help = "`drop_last` and `filter_cfg` leave samples out";
            return Err(error_at(&config.root, "train_dataloader", message, help));
        }
        Ok(Self {
            loader,
            config: config.clone(),
            registry: registry.clone(),
            files,
            device: device.clone(),
            seed,
            batch_size,
        })
    }

    /// What was noticed while the data set was read.
    pub fn notes(&self) -> Vec<Diagnostic> {
        let notes = datasets::all_notes(self.loader.dataset());
        notes.into_iter().cloned().collect()
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn datasets::Dataset {
        self.loader.dataset()
    }
}

fn loader(
    config: &Config,
    registry: &Registry,
    files: &Arc<dyn Files>,
    device: &Device,
    seed: u64,
) -> Result<Loader, Diagnostics> {
    let look = Lookup::of(registry, config);
    let dataset = datasets::from_config_with(config, "train", &**files, look)?;
    let sampling = Sampling::read(config, "train", look, seed)?;
    let workers = config.root.at("train_dataloader.num_workers");
    let workers = workers.and_then(Node::as_int).unwrap_or(0);
    let prefetch = config.root.at("train_dataloader.prefetch_factor");
    let prefetch = prefetch.and_then(Node::as_int).unwrap_or(2);
    // More threads than the machine has would only take memory: configs are written for machines of their own.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = LoaderOptions {
        seed,
        workers: usize::try_from(workers).unwrap_or(0).min(threads),
        prefetch: usize::try_from(prefetch).unwrap_or(2).clamp(1, 16),
        ..LoaderOptions::default()
    };
    let pixels = ops::augment::pixels(device);
    let loader = Loader::new(dataset, pixels, files.clone(), options);
    loader
        .sampled(sampling)
        .map_err(|message| error_at(&config.root, "train_dataloader", message, ""))
}

impl Feed for Loaded {
    fn batches(&self) -> u64 {
        self.loader.batches_per_epoch() as u64
    }

    fn batch_size(&self) -> u64 {
        self.batch_size
    }

    fn meta(&self) -> MetaInfo {
        self.loader.dataset().meta().clone()
    }

    fn epoch(&mut self, epoch: u64, batch: u64, take: &mut Take) -> Result<(), Stop> {
        let mut epoch = self.loader.epoch_from(epoch, batch as usize);
        for samples in epoch.batches() {
            let samples = samples.map_err(|e| Stop::fault(e.to_string()))?;
            let packed = samples.into_iter().map(Packed::of).collect::<Option<_>>();
            let packed = packed.ok_or_else(|| {
                Stop::fault(
                    "the training pipeline has no `PackDetInputs`: write it as its last step",
                )
            })?;
            if !take(packed)? {
                break;
            }
        }
        Ok(())
    }

    fn switch_pipeline(&mut self, pipeline: &Node) -> Result<(), Stop> {
        let mut config = self.config.clone();
        replace_pipeline(&mut config.root, pipeline);
        let errors = |problems| Stop::fault(config.errors(problems).to_string());
        let loader = loader(
            &config,
            &self.registry,
            &self.files,
            &self.device,
            self.seed,
        );
        self.loader = loader.map_err(errors)?;
        self.config = config;
        Ok(())
    }

    fn skip_transforms(&mut self, types: &[String]) -> Result<(), Stop> {
        self.loader.dataset().skip_types(types);
        Ok(())
    }
}

/// Gives the data set of `root`'s training another pipeline: the outermost one that has any, or those in it, where it is a wrapper without.
fn replace_pipeline(root: &mut Node, pipeline: &Node) {
    fn change(node: &mut Node, key: &str, with: impl FnOnce(&mut Node)) {
        let Value::Dict(dict) = &node.value else {
            return;
        };
        let Some(mut child) = dict.get(key).cloned() else {
            return;
        };
        with(&mut child);
        let mut dict = dict.clone();
        dict.set(key, child);
        node.value = Value::Dict(dict);
    }
    fn replace(dataset: &mut Node, pipeline: &Node) {
        if dataset.get("pipeline").is_some_and(|n| !n.is_none()) {
            change(dataset, "pipeline", |old| *old = pipeline.clone());
            return;
        }
        change(dataset, "dataset", |inner| replace(inner, pipeline));
        change(dataset, "datasets", |list| {
            if let Some(items) = list.as_items() {
                let mut items = items.to_vec();
                items.iter_mut().for_each(|inner| replace(inner, pipeline));
                list.value = Value::List(Arc::new(items));
            }
        });
    }
    change(root, "train_dataloader", |loader| {
        change(loader, "dataset", |dataset| replace(dataset, pipeline));
    });
}
