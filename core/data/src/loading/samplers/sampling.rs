//! [`Sampling`]: what a `*_dataloader` says of order and batches.

use super::aspect_ratio::number_of;
use super::{BatchSampler, BatchSamplers, Batches, DefaultSampler, Indices, Sampler, Samplers};
use crate::datasets::{Dataset, legacy};
use crate::lookup::Lookup;
use smalti_config::{Config, Diagnostics, Node, error_at};

/// A sampler and how its samples are put together.
#[derive(Debug)]
pub struct Sampling {
    /// The order.
    pub sampler: Box<dyn Sampler>,
    /// The batches.
    pub batch_sampler: Box<dyn BatchSampler>,
}

impl Sampling {
    /// One sample at a time.
    pub fn single(sampler: impl Sampler + 'static) -> Self {
        Self {
            sampler: Box::new(sampler),
            batch_sampler: Box::new(InTurn {
                batch_size: 1,
                drop_last: false,
            }),
        }
    }

    /// Reads `sampler`, `batch_sampler`, `batch_size` and `drop_last` of `{split}_dataloader`. `seed` is the run's. Without a sampler
    /// samples come in turn, shuffled when they are for training.
    ///
    /// # Errors
    /// A sampler that is unknown or has wrong options; keys that exclude each other; all at once.
    pub fn read(
        config: &Config,
        split: &str,
        look: Lookup<'_>,
        seed: u64,
    ) -> Result<Self, Diagnostics> {
        let (loader, _) = legacy::dataloader(config, split);
        let Some(loader) = loader else {
            let message = format!("the config has no `{split}_dataloader`");
            return Err(error_at(&config.root, "", message, ""));
        };
        let shuffle = split == "train";
        let loader = &loader;
        let mut problems = Vec::new();
        let given = |key: &str| loader.get(key).filter(|n| !n.is_none());
        let batch_size = match given("batch_size") {
            None => 1,
            Some(node) => usize::try_from(node.as_int().unwrap_or(0)).unwrap_or(0),
        };
        if batch_size == 0 {
            let message = "`batch_size` must be a whole number, 1 or more";
            problems.extend(error_at(loader, "batch_size", message, ""));
        }
        let drop_last = given("drop_last").map_or(Some(false), Node::as_bool);
        if drop_last.is_none() {
            let message = "`drop_last` must be True or False";
            problems.extend(error_at(loader, "drop_last", message, ""));
        }
        let in_turn = InTurn {
            batch_size,
            drop_last: drop_last == Some(true),
        };
        let sampler = match given("sampler") {
            None => Ok(Box::new(DefaultSampler { shuffle, seed }) as Box<dyn Sampler>),
            Some(node) => look
                .find::<Samplers>(node)
                .and_then(|row| (row.build)(node, seed)),
        };
        let batch_sampler = match given("batch_sampler") {
            None => Ok(Box::new(in_turn) as Box<dyn BatchSampler>),
            Some(_) if in_turn.drop_last => {
                let message = "`drop_last` and `batch_sampler` exclude each other";
                let help = "say drop_last=True in the `batch_sampler`";
                Err(error_at(loader, "drop_last", message, help))
            }
            Some(node) => look
                .find::<BatchSamplers>(node)
                .and_then(|row| (row.build)(node, batch_size.max(1))),
        };
        match (sampler, batch_sampler) {
            (Ok(sampler), Ok(batch_sampler)) if problems.is_empty() => Ok(Self {
                sampler,
                batch_sampler,
            }),
            (sampler, batch_sampler) => {
                problems.extend(sampler.err().unwrap_or_default());
                problems.extend(batch_sampler.err().unwrap_or_default());
                Err(problems)
            }
        }
    }

    /// `len(dataloader)`: batches of an epoch.
    pub fn number(&self, data: &dyn Dataset) -> usize {
        self.batch_sampler.number(data.len())
    }

    /// The batches of an epoch. Of an endless sampler, an epoch is as many as would hold all samples once: they go on from one epoch to
    /// the next without a gap.
    pub fn batches(&self, epoch: u64, data: &dyn Dataset) -> Vec<Vec<usize>> {
        let order = self.sampler.order(epoch, data);
        let batches = self.batch_sampler.batches(order, data);
        if !self.sampler.is_endless() {
            return batches.collect();
        }
        let number = self.number(data);
        let before = usize::try_from(epoch).unwrap_or(usize::MAX);
        batches
            .skip(before.saturating_mul(number))
            .take(number)
            .collect()
    }
}

/// `torch.utils.data.BatchSampler`: samples as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InTurn {
    /// Samples of a batch, at least 1.
    pub batch_size: usize,
    /// A last batch of fewer samples is left out.
    pub drop_last: bool,
}

impl BatchSampler for InTurn {
    fn batches<'a>(&'a self, mut order: Indices<'a>, _: &'a dyn Dataset) -> Batches<'a> {
        let size = self.batch_size.max(1);
        Box::new(std::iter::from_fn(move || {
            let batch: Vec<usize> = order.by_ref().take(size).collect();
            let short = batch.len() < size && self.drop_last;
            (!batch.is_empty() && !short).then_some(batch)
        }))
    }

    fn number(&self, samples: usize) -> usize {
        number_of(samples, self.batch_size, self.drop_last)
    }
}
