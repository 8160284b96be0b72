//! [`check`]: what can be wrong with the data sets and pipelines of a config, found without reading a file.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{legacy, make, stray_loader};
use crate::lookup::Lookup;
use crate::samplers::Sampling;
use crate::transforms::Files;
use smalti_config::{Config, Diagnostic, Kind, Node, Severity};

/// Findings for the data sets of `train`, `val` and `test`: errors with their places, and notes on keys of MMDetection 2.x and on what
/// MMDetection has and we do not. No annotation file and no picture is read; `files` are for files of class names, if they may be read.
/// Names are those of this crate.
pub fn check(config: &Config, files: Option<&dyn Files>) -> Vec<Diagnostic> {
    check_with(config, files, Lookup::own())
}

/// As [`check`], with names of other crates too.
pub fn check_with(config: &Config, files: Option<&dyn Files>, look: Lookup<'_>) -> Vec<Diagnostic> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for split in ["train", "val", "test"] {
        let (loader, mut notes) = legacy::dataloader(config, split);
        found.extend(stray_loader(loader.as_ref(), split));
        let Some(dataset) = loader.as_ref().and_then(|l| l.get("dataset")) else {
            continue;
        };
        let log = RefCell::default();
        let built = make(dataset, look, None, files, Vec::new(), &log);
        notes.extend(log.into_inner());
        let problems = built.err().unwrap_or_default();
        if split == "train" && problems.is_empty() {
            notes.extend(unlabelled(dataset));
        }
        notes.extend(problems);
        notes.extend(
            Sampling::read(config, split, look, 0)
                .err()
                .unwrap_or_default(),
        );
        notes.extend(normalization(dataset, config));
        for mut finding in notes {
            // A config for inference alone may name no annotation file.
            let unnamed = finding.message.ends_with("needs `ann_file`");
            if finding.kind == Kind::Unsupported || unnamed {
                finding.severity = Severity::Note;
            }
            // `test_dataloader = val_dataloader` is one place.
            if seen.insert(finding.to_string()) {
                found.push(finding);
            }
        }
    }
    found
}

/// A warning of a data set for training whose pipelines load no objects.
fn unlabelled(dataset: &Node) -> Option<Diagnostic> {
    /// The place of the first pipeline, and whether any step of any loads annotations.
    fn walk<'n>(node: &'n Node, first: &mut Option<&'n Node>) -> bool {
        if let Some(items) = node.as_items() {
            return items
                .iter()
                .fold(false, |any, item| walk(item, first) | any);
        }
        let kind = node.get("type").and_then(Node::as_type).unwrap_or_default();
        let mut any = kind.contains("Annotations") && kind.contains("Load");
        for key in ["dataset", "datasets", "pipeline", "transforms"] {
            let Some(inner) = node.get(key) else { continue };
            let steps = inner.as_items().is_some_and(|items| !items.is_empty());
            if key == "pipeline" && steps {
                first.get_or_insert(inner);
            }
            any |= walk(inner, first);
        }
        any
    }
    let mut first = None;
    if walk(dataset, &mut first) {
        return None;
    }
    let text = "no step of the training pipeline loads objects: `LoadAnnotations` is missing";
    let warning = Diagnostic::warning(text).kind(Kind::Missing);
    let help = "add dict(type='LoadAnnotations', with_bbox=True) behind `LoadImageFromFile`";
    Some(warning.at(&first?.origin, "").help(help))
}

/// `Normalize` in a pipeline (MMDetection 2.x) and the model's preprocessor must say the same.
fn normalization(dataset: &Node, config: &Config) -> Option<Diagnostic> {
    let step = find_normalize(dataset)?;
    let preprocessor = config.at("model.data_preprocessor");
    let numbers = |node: Option<&Node>| -> Vec<f64> {
        let items = node.and_then(Node::as_items).unwrap_or_default();
        items.iter().filter_map(Node::as_float).collect()
    };
    let differ = ["mean", "std"]
        .into_iter()
        .any(|key| numbers(step.get(key)) != numbers(preprocessor.and_then(|p| p.get(key))));
    differ.then(|| {
        let what = match preprocessor {
            None => "the model has no `data_preprocessor`",
            Some(_) => "the model's `data_preprocessor` has another mean or std",
        };
        let text = format!("`Normalize` of the pipeline is not done, and {what}");
        Diagnostic::warning(text)
            .at(&step.origin, "")
            .help("give the model this mean and std")
    })
}

fn find_normalize(node: &Node) -> Option<&Node> {
    let is_one = |n: &&Node| {
        n.get("type")
            .and_then(Node::as_type)
            .is_some_and(|t| t.ends_with("Normalize"))
    };
    let steps = node
        .get("pipeline")
        .and_then(Node::as_items)
        .unwrap_or_default();
    let inner = node.get("dataset").and_then(find_normalize);
    let several = node
        .get("datasets")
        .and_then(Node::as_items)
        .unwrap_or_default();
    steps
        .iter()
        .find(is_one)
        .or(inner)
        .or_else(|| several.iter().find_map(find_normalize))
}
