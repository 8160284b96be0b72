//! `ConcatDataset` of mmengine 0.10 and mmdet 3.3: data sets one after another.

use std::sync::Arc;

use serde::Deserialize;

use super::{Built, Dataset, MetaInfo, SampleError, Source};
use crate::picture::Fault;
use crate::sample::{DataInfo, Sample};
use crate::transforms::{Context, Transform};
use smalti_config::{Diagnostic, Node, Short, error_at};

/// Data sets one after another.
#[derive(Debug)]
pub struct ConcatDataset {
    datasets: Vec<Box<dyn Dataset>>,
    /// Where each ends.
    ends: Vec<usize>,
    notes: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Options {
    datasets: Short<Node, 256>,
    #[serde(rename = "lazy_init")]
    _lazy_init: Option<bool>,
    ignore_keys: Option<Keys>,
}

/// One key, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum Keys {
    One(String),
    Several(Vec<String>),
}

pub(super) fn build(source: &Source<'_>) -> Built {
    let options: Options = source.node.read()?;
    if options.datasets.is_empty() {
        return Err(error_at(
            source.node,
            "datasets",
            "`ConcatDataset` has no data sets",
            "",
        ));
    }
    let ignored = match options.ignore_keys {
        None => Vec::new(),
        Some(Keys::One(key)) => vec![key],
        Some(Keys::Several(keys)) => keys,
    };
    let (mut datasets, mut problems) = (Vec::new(), Vec::new());
    for node in options.datasets.iter() {
        match source.nested(node) {
            Ok(dataset) => datasets.extend(dataset),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if source.files.is_none() {
        return Ok(None);
    }
    let mut notes = source.notes.clone();
    for (dataset, node) in datasets.iter().zip(options.datasets.iter()).skip(1) {
        let (first, other) = (datasets[0].meta(), dataset.meta());
        let differ = [
            ("classes", first.classes != other.classes),
            ("palette", first.palette != other.palette),
            ("dataset_type", first.dataset_type != other.dataset_type),
        ];
        let named = |key: &str| ignored.iter().any(|k| k == key);
        let Some((key, _)) = differ
            .into_iter()
            .find(|(key, differ)| *differ && !named(key))
        else {
            continue;
        };
        let text = format!(
            "`{key}` of this data set differs from that of the first, whose is taken for all"
        );
        let warning = Diagnostic::warning(text).at(&node.origin, "");
        notes.push(match key {
            "classes" => {
                warning.help("give both the same metainfo: labels are indices into classes")
            }
            _ => warning.help(format!("ignore_keys=['{key}'] if that is meant")),
        });
    }
    let ends = datasets.iter().scan(0usize, |end, dataset| {
        *end = end.checked_add(dataset.len())?;
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    if ends.len() < datasets.len() {
        return Err(error_at(
            source.node,
            "datasets",
            "too many samples to count",
            "",
        ));
    }
    Ok(Some(Box::new(ConcatDataset {
        datasets,
        ends,
        notes,
    })))
}

impl ConcatDataset {
    /// Which data set has the sample, and as which.
    fn place(&self, index: usize) -> Option<(&dyn Dataset, usize)> {
        let which = self.ends.partition_point(|end| *end <= index);
        let start = which.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some((&**self.datasets.get(which)?, index - start))
    }

    fn at(&self, index: usize) -> (&dyn Dataset, usize) {
        self.place(index).expect("an index of the data set")
    }
}

impl Dataset for ConcatDataset {
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn meta(&self) -> &MetaInfo {
        self.datasets[0].meta()
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        let (dataset, index) = self.at(index);
        dataset.info(index)
    }

    fn labels(&self, index: usize) -> Vec<i64> {
        let (dataset, index) = self.at(index);
        dataset.labels(index)
    }

    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        match self.place(index) {
            Some((dataset, index)) => dataset.get(index, cx),
            None => Err(no_sample(index, self.len())),
        }
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &[]
    }

    fn children(&self) -> Vec<&dyn Dataset> {
        self.datasets.iter().map(|d| &**d).collect()
    }

    fn children_mut(&mut self) -> Vec<&mut dyn Dataset> {
        let all = self.datasets.iter_mut();
        all.map(|d| &mut **d as &mut dyn Dataset).collect()
    }

    fn ends(&self) -> Option<&[usize]> {
        Some(&self.ends)
    }

    fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }
}

/// The error of an index that a wrapper does not have.
pub(super) fn no_sample(index: usize, len: usize) -> SampleError {
    SampleError {
        path: String::new(),
        id: None,
        problem: Fault::Transform(format!(
            "there is no sample {index}: the data set has {len}"
        )),
    }
}
