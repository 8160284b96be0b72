//! [`Evaluator`]: `val_evaluator` or `test_evaluator`, one metric or a list of them (mmengine 0.10, evaluator/evaluator.py).

use super::{EvaluateError, Given, Metric, Metrics, Report};
use crate::coco::Id;
use crate::lookup::Lookup;
use crate::sample::DataInfo;
use crate::structures::Instances;
use smalti_config::{Diagnostics, Node, error_at};

/// Metrics that look at the same pictures.
#[derive(Debug)]
pub struct Evaluator {
    metrics: Vec<Box<dyn Metric>>,
}

impl Evaluator {
    /// Of metrics that are built already.
    pub fn new(metrics: Vec<Box<dyn Metric>>) -> Self {
        Self { metrics }
    }

    /// Reads a metric's dict, a list of such, or `dict(type='Evaluator', metrics=...)`. `None` where only the config is checked.
    ///
    /// # Errors
    /// Everything wrong in it, each with its place; an annotation file that cannot be read.
    pub fn read(
        node: &Node,
        given: Given<'_>,
        look: Lookup<'_>,
    ) -> Result<Option<Self>, Diagnostics> {
        let node = node.get("metrics").unwrap_or(node);
        let items = node.as_items().unwrap_or(std::slice::from_ref(node));
        if items.is_empty() {
            let message = "the evaluator has no metric";
            return Err(error_at(
                node,
                "",
                message,
                "for example dict(type='CocoMetric', ann_file='...')",
            ));
        }
        let (mut metrics, mut problems, mut all) = (Vec::new(), Vec::new(), true);
        for item in items {
            match look
                .find::<Metrics>(item)
                .and_then(|row| (row.build)(item, given))
            {
                Ok(Some(metric)) => metrics.push(metric),
                Ok(None) => all = false,
                Err(found) => problems.extend(found),
            }
        }
        match problems.is_empty() {
            true => Ok(all.then_some(Self { metrics })),
            false => Err(problems),
        }
    }

    /// Adds a picture to each; see [`Metric::add`].
    pub fn add(&mut self, info: &DataInfo, ori_shape: [usize; 2], found: &Instances) {
        for metric in &mut self.metrics {
            metric.add(info, ori_shape, found);
        }
    }

    /// Forgets what was added.
    pub fn forget(&mut self) {
        self.metrics.iter_mut().for_each(|metric| metric.forget());
    }

    /// The ids that results have for so many classes: those of the annotations where a metric has some, else labels.
    pub fn categories(&self, classes: usize) -> Vec<Id> {
        let known = self.metrics.iter().find_map(|metric| metric.categories());
        let mut known = known.unwrap_or_default();
        let rest = known.len()..classes;
        known.extend(rest.map(|label| Id::Number(label as i64)));
        known
    }

    /// The figures of all, in order; what was added is forgotten.
    ///
    /// # Errors
    /// As [`Metric::compute`]; two figures of one name.
    pub fn compute(&mut self) -> Result<Report, EvaluateError> {
        let mut all = Report::default();
        for metric in &mut self.metrics {
            let report = metric.compute()?;
            let again = report
                .figures
                .keys()
                .find(|name| all.figures.contains_key(*name));
            if let Some(name) = again {
                return Err(EvaluateError::SameName(name.clone()));
            }
            all.figures.extend(report.figures);
            all.texts.extend(report.texts);
            all.notes.extend(report.notes);
            all.files.extend(report.files);
        }
        Ok(all)
    }
}
