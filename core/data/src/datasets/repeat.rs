//! `RepeatDataset` of mmengine 0.10: a data set several times over.

use std::sync::Arc;

use serde::Deserialize;

use super::concat::no_sample;
use super::{Built, Dataset, MetaInfo, SampleError, Source};
use crate::sample::{DataInfo, Sample};
use crate::transforms::{Context, Transform};
use smalti_config::{Diagnostic, Node, error_at};

/// A data set several times over.
#[derive(Debug)]
pub struct RepeatDataset {
    dataset: Box<dyn Dataset>,
    len: usize,
    notes: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Options {
    dataset: Node,
    times: usize,
    #[serde(rename = "lazy_init")]
    _lazy_init: Option<bool>,
}

pub(super) fn build(source: &Source<'_>) -> Built {
    let options: Options = source.node.read()?;
    if options.times == 0 {
        return Err(error_at(
            source.node,
            "times",
            "`times` is 0: the data set would be empty",
            "",
        ));
    }
    let Some(dataset) = source.nested(&options.dataset)? else {
        return Ok(None);
    };
    let Some(len) = dataset.len().checked_mul(options.times) else {
        return Err(error_at(
            source.node,
            "times",
            "too many samples to count",
            "",
        ));
    };
    let notes = source.notes.clone();
    Ok(Some(Box::new(RepeatDataset {
        dataset,
        len,
        notes,
    })))
}

impl Dataset for RepeatDataset {
    fn len(&self) -> usize {
        self.len
    }

    fn meta(&self) -> &MetaInfo {
        self.dataset.meta()
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        self.dataset.info(index % self.dataset.len())
    }

    fn labels(&self, index: usize) -> Vec<i64> {
        self.dataset.labels(index % self.dataset.len())
    }

    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        if index >= self.len {
            return Err(no_sample(index, self.len));
        }
        self.dataset.get(index % self.dataset.len(), cx)
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &[]
    }

    fn children(&self) -> Vec<&dyn Dataset> {
        vec![&*self.dataset]
    }

    fn children_mut(&mut self) -> Vec<&mut dyn Dataset> {
        vec![&mut *self.dataset]
    }

    fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }
}
