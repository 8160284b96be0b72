//! `AspectRatioBatchSampler` of mmdet 3.3 (datasets/samplers/batch_sampler.py): pictures that are wider than high come together, and so
//! do the others: a batch then has less padding.

use serde::Deserialize;

use super::{BatchSampler, Batches, Indices, shape};
use crate::datasets::Dataset;
use smalti_config::{Diagnostics, Node, error_at};

/// Batches of pictures of one shape; what is left at the end comes together, whatever its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AspectRatioBatchSampler {
    /// Samples of a batch, at least 1.
    pub batch_size: usize,
    /// The last batch of what is left is left out, as there even if it is full: then there is one less than [`BatchSampler::number`] says.
    pub drop_last: bool,
}

impl BatchSampler for AspectRatioBatchSampler {
    fn batches<'a>(&'a self, mut order: Indices<'a>, data: &'a dyn Dataset) -> Batches<'a> {
        let size = self.batch_size.max(1);
        let mut buckets = [Vec::new(), Vec::new()];
        let mut left: Option<std::vec::IntoIter<usize>> = None;
        Box::new(std::iter::from_fn(move || {
            if left.is_none() {
                for index in order.by_ref() {
                    let bucket = &mut buckets[shape(data, index)];
                    bucket.push(index);
                    if bucket.len() == size {
                        return Some(std::mem::take(bucket));
                    }
                }
            }
            let rest = left.get_or_insert_with(|| {
                let [high, wide] = std::mem::take(&mut buckets);
                [high, wide].concat().into_iter()
            });
            if rest.len() <= size && self.drop_last {
                return None;
            }
            let batch: Vec<usize> = rest.take(size).collect();
            (!batch.is_empty()).then_some(batch)
        }))
    }

    fn number(&self, samples: usize) -> usize {
        number_of(samples, self.batch_size, self.drop_last)
    }
}

/// Number of batches of `size`.
pub(super) fn number_of(samples: usize, size: usize, drop_last: bool) -> usize {
    if drop_last {
        samples / size.max(1)
    } else {
        samples.div_ceil(size.max(1))
    }
}

#[derive(Deserialize)]
struct Config {
    batch_size: Option<usize>,
    drop_last: Option<bool>,
}

pub(super) fn build(node: &Node, batch_size: usize) -> Result<Box<dyn BatchSampler>, Diagnostics> {
    let config: Config = node.read()?;
    let batch_size = config.batch_size.unwrap_or(batch_size);
    if batch_size == 0 {
        let message = "`batch_size` is 0, must be 1 or more";
        return Err(error_at(node, "batch_size", message, ""));
    }
    Ok(Box::new(AspectRatioBatchSampler {
        batch_size,
        drop_last: config.drop_last.unwrap_or(false),
    }))
}
