//! Which samples an epoch has, in which order ([`Sampler`]) and in which batches ([`BatchSampler`]): `sampler` and `batch_sampler` of
//! a `*_dataloader`, as mmengine 0.10 and mmdet 3.3 (datasets/samplers) have them. One sampler, one file, a row in [`ROWS`] or
//! [`BATCH_ROWS`].
//!
//! Orders are MMDetection's to the index: [`Permutations`] are `torch.randperm`'s. There is one process, so nothing is split between
//! several and `round_up` changes nothing.

mod aspect_ratio;
mod class_aware;
mod default;
mod infinite;
mod multi_source;
mod permutations;
mod sampling;

use std::fmt;

pub use aspect_ratio::AspectRatioBatchSampler;
pub use class_aware::ClassAwareSampler;
pub use default::DefaultSampler;
pub use infinite::InfiniteSampler;
pub use multi_source::MultiSourceSampler;
pub use permutations::Permutations;
pub use sampling::{InTurn, Sampling};

use crate::datasets::Dataset;
use smalti_config::registry::{Family, Registry, Row};
use smalti_config::{Diagnostics, Node};

/// Indices, one after another.
pub type Indices<'a> = Box<dyn Iterator<Item = usize> + 'a>;
/// Indices, in batches.
pub type Batches<'a> = Box<dyn Iterator<Item = Vec<usize>> + 'a>;

/// In which order samples come.
pub trait Sampler: Send + Sync + fmt::Debug {
    /// Indices of an epoch; all there ever are, whatever the epoch, if it [is endless](Self::is_endless).
    fn order<'a>(&'a self, epoch: u64, data: &'a dyn Dataset) -> Indices<'a>;

    /// Its order goes on and on: what is called an epoch is a part of it.
    fn is_endless(&self) -> bool {
        false
    }

    /// Whether it can sample from this data set.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, data: &dyn Dataset) -> Result<(), String> {
        let _ = data;
        Ok(())
    }
}

/// Which samples come together.
pub trait BatchSampler: Send + Sync + fmt::Debug {
    /// The batches of an order.
    fn batches<'a>(&'a self, order: Indices<'a>, data: &'a dyn Dataset) -> Batches<'a>;

    /// Number of batches that so many samples make.
    fn number(&self, samples: usize) -> usize;
}

/// The kind `sampler` of the registry. A builder is given the seed of the run, which counts where the sampler has none of its own.
#[derive(Debug)]
pub struct Samplers;

impl Family for Samplers {
    const KIND: &'static str = "sampler";
    type Build = fn(&Node, u64) -> Result<Box<dyn Sampler>, Diagnostics>;
    const COMPLETE: bool = true;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        (
            "CustomSampleSizeSampler",
            "use MultiSourceSampler with a `source_ratio`",
        ),
        (
            "MultiDataSampler",
            "use MultiSourceSampler with a `source_ratio`",
        ),
        ("TrackImgSampler", "only pictures are read, no videos"),
    ];
}

/// The kind `batch sampler` of the registry. A builder is given the `batch_size` of the dataloader.
#[derive(Debug)]
pub struct BatchSamplers;

impl Family for BatchSamplers {
    const KIND: &'static str = "batch sampler";
    type Build = fn(&Node, usize) -> Result<Box<dyn BatchSampler>, Diagnostics>;
    const COMPLETE: bool = true;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        (
            "MultiDataAspectRatioBatchSampler",
            "use AspectRatioBatchSampler",
        ),
        (
            "TrackAspectRatioBatchSampler",
            "only pictures are read, no videos",
        ),
    ];
}

/// The table of samplers.
pub const ROWS: [Row<Samplers>; 5] = [
    Row::<Samplers>::new("mmdet", "ClassAwareSampler", class_aware::build),
    Row::<Samplers>::new(
        "mmdet",
        "GroupMultiSourceSampler",
        multi_source::build_grouped,
    ),
    Row::<Samplers>::new("mmdet", "MultiSourceSampler", multi_source::build),
    Row::<Samplers>::new("mmengine", "DefaultSampler", default::build),
    Row::<Samplers>::new("mmengine", "InfiniteSampler", infinite::build),
];

/// The table of batch samplers.
pub const BATCH_ROWS: [Row<BatchSamplers>; 1] = [Row::<BatchSamplers>::new(
    "mmdet",
    "AspectRatioBatchSampler",
    aspect_ratio::build,
)];

/// Adds them all.
pub fn register(registry: &mut Registry) {
    registry.extend(ROWS).extend(BATCH_ROWS);
}

/// 1 where a picture is at least as wide as high, else 0: the groups of which batches are made.
fn shape(data: &dyn Dataset, index: usize) -> usize {
    let info = data.info(index);
    usize::from(info.width >= info.height)
}

#[cfg(test)]
mod tests;
