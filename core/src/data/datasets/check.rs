//! [`check`]: what can be wrong with the data sets and pipelines of a config, found without reading a file.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{legacy, make};
use crate::config::{Config, Diagnostic, Kind, Node, Severity};

/// Findings for the data sets of `train`, `val` and `test`: errors with their places, and notes on keys of MMDetection 2.x and on what
/// MMDetection has and we do not. No annotation file and no picture is read.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for split in ["train", "val", "test"] {
        let (loader, mut notes) = legacy::dataloader(config, split);
        let Some(dataset) = loader.as_ref().and_then(|l| l.get("dataset")) else {
            continue;
        };
        let log = RefCell::default();
        let built = make(dataset, None, Vec::new(), &log);
        notes.extend(log.into_inner());
        notes.extend(built.err().unwrap_or_default());
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
