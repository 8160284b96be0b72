//! What is wrong with a config beyond its language: its model, its data sets, its evaluators.

use std::collections::BTreeSet;

use smalti::config::{Config, Diagnostic, Kind, Severity, check_commas};
use smalti::data::Lookup;
use smalti::data::datasets::{self, MetaInfo};
use smalti::data::evaluate::{Evaluator, Given};
use smalti::data::transforms::Files;

/// What is wrong with a config's model and its data sets, for `smalti config check`. What is not built yet is a note. `files` has the files of
/// class names.
pub fn check(config: &Config, files: &dyn Files) -> Vec<Diagnostic> {
    let mut found = check_commas(config);
    let registry = smalti::registry();
    found.extend(smalti::model::check(config, &registry));
    let look = Lookup::of(&registry, config);
    found.extend(datasets::check_with(config, Some(files), look));
    found.extend(evaluators(config, look));
    // A comma is found by the checks of its place too.
    let mut commas = BTreeSet::new();
    found.retain(|finding| {
        let comma = finding
            .labels
            .last()
            .filter(|(_, label)| label == "this comma");
        comma.is_none_or(|(origin, _)| commas.insert(origin.to_string()))
    });
    found
}

/// What is wrong with a config's evaluators. What is not built yet is a note.
fn evaluators(config: &Config, look: Lookup<'_>) -> Vec<Diagnostic> {
    let meta = MetaInfo::default();
    let given = Given {
        files: None,
        meta: &meta,
    };
    let nodes = ["val_evaluator", "test_evaluator"].map(|key| config.get(key));
    let mut found: Vec<Diagnostic> = Vec::new();
    for node in nodes.into_iter().flatten().filter(|n| !n.is_none()) {
        let problems = Evaluator::read(node, given, look).err().unwrap_or_default();
        for mut problem in problems {
            if problem.kind == Kind::Unsupported {
                problem.severity = Severity::Note;
            }
            // often one is the other
            if !found.iter().any(|f| f.to_string() == problem.to_string()) {
                found.push(problem);
            }
        }
    }
    found
}
