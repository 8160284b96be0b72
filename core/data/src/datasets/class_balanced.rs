//! `ClassBalancedDataset` of mmengine 0.10: pictures with rare classes come several times (LVIS, 2019, arXiv:1908.03195, appendix).
//!
//! A class that a fraction f of the pictures has is repeated max(1, sqrt(t / f)) times, a picture as often as its rarest class, rounded up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::concat::no_sample;
use super::{Built, Dataset, MetaInfo, SampleError, Source};
use crate::sample::{DataInfo, Sample};
use crate::transforms::{Context, Transform};
use smalti_config::{Diagnostic, Node, error_at};

/// Most samples; a threshold of a wrong unit would ask for more.
const MOST: usize = 1 << 26;

/// Pictures with rare classes several times.
#[derive(Debug)]
pub struct ClassBalancedDataset {
    dataset: Box<dyn Dataset>,
    /// Indices of `dataset`.
    indices: Vec<u32>,
    notes: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Options {
    dataset: Node,
    oversample_thr: f64,
    #[serde(rename = "lazy_init")]
    _lazy_init: Option<bool>,
}

pub(super) fn build(source: &Source<'_>) -> Built {
    let options: Options = source.node.read()?;
    let wrong = |message: &str| {
        error_at(
            source.node,
            "oversample_thr",
            message,
            "for example oversample_thr=1e-3",
        )
    };
    if !(options.oversample_thr.is_finite() && options.oversample_thr >= 0.0) {
        return Err(wrong("`oversample_thr` is a fraction of the pictures"));
    }
    let Some(dataset) = source.nested(&options.dataset)? else {
        return Ok(None);
    };
    let indices = repeated(&*dataset, options.oversample_thr);
    let indices = indices.ok_or_else(|| wrong("`oversample_thr` repeats pictures too often"))?;
    let notes = source.notes.clone();
    Ok(Some(Box::new(ClassBalancedDataset {
        dataset,
        indices,
        notes,
    })))
}

/// Indices, each as often as its picture comes; `None` if there are too many.
fn repeated(dataset: &dyn Dataset, threshold: f64) -> Option<Vec<u32>> {
    let classes = |index: usize| -> BTreeSet<i64> { dataset.labels(index).into_iter().collect() };
    let mut pictures: BTreeMap<i64, f64> = BTreeMap::new();
    for index in 0..dataset.len() {
        for class in classes(index) {
            *pictures.entry(class).or_default() += 1.0;
        }
    }
    let all = dataset.len() as f64;
    let times = |count: &f64| (threshold / (count / all)).sqrt().max(1.0);
    let times: BTreeMap<i64, f64> = pictures
        .iter()
        .map(|(class, count)| (*class, times(count)))
        .collect();
    let mut indices = Vec::new();
    for index in 0..dataset.len() {
        let most = classes(index)
            .iter()
            .map(|class| times[class])
            .fold(1.0, f64::max);
        let most = most.ceil() as usize;
        if indices.len().checked_add(most)? > MOST {
            return None;
        }
        indices.extend(std::iter::repeat_n(u32::try_from(index).ok()?, most));
    }
    Some(indices)
}

impl Dataset for ClassBalancedDataset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn meta(&self) -> &MetaInfo {
        self.dataset.meta()
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        self.dataset.info(self.indices[index] as usize)
    }

    fn labels(&self, index: usize) -> Vec<i64> {
        self.dataset.labels(self.indices[index] as usize)
    }

    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        match self.indices.get(index) {
            Some(index) => self.dataset.get(*index as usize, cx),
            None => Err(no_sample(index, self.len())),
        }
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
