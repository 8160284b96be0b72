//! [`left_over`]: keys that were written for another `type` than the one that a child or an option has put in its place.

use super::diagnostic::Diagnostic;
use super::source::SourceKind;
use super::value::Node;

/// What is said of the component `node`. Where that is of a key that was not written beside the `type`, it is noted for [`help`].
pub fn left_over(node: &Node, mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let Some(given) = node.get("type").map(|given| &given.origin) else {
        return problems;
    };
    for problem in &mut problems {
        let Some((place, _)) = problem.labels.first() else {
            continue;
        };
        let place = place.to_string();
        let keys = node.as_dict().into_iter().flat_map(|dict| dict.iter());
        let mut of = keys.filter(|(_, entry)| {
            let origins = [&entry.key, &entry.node.origin];
            let apart = origins.iter().all(|origin| origin.file() != given.file());
            apart && origins.iter().any(|origin| origin.to_string() == place)
        });
        let found = of.next().map(|(key, _)| (key.to_string(), given.clone()));
        problem.beside = found.map(Box::new);
    }
    problems
}

/// Says how keys are dropped where the `type` is of an option, or of a file that has the key's among its bases.
pub(crate) fn help(problem: &mut Diagnostic) {
    let Some(beside) = problem.beside.take() else {
        return;
    };
    let (key, given) = *beside;
    let of_option = given.source().kind() == SourceKind::CommandLine;
    if of_option || problem.chain.iter().any(|by| by.file() == given.file()) {
        problem.help_too(format!(
            "if `{key}` was meant for another `type`, `_delete_=True` beside the new one drops all keys that were there before"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, MapLoader};
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Component {
        #[serde(rename = "depth")]
        _depth: Option<usize>,
    }

    fn said(child: &str, options: &[&str]) -> Vec<String> {
        let base = "part = dict(type='A', arch='small', depth='x')\n";
        let files = MapLoader::new([("a.py", base), ("b.py", child)]);
        let mut config = Config::load("b.py", &files).unwrap();
        config.merge_options(options).unwrap();
        let new = |note: &Diagnostic| note.message.contains("is new:");
        assert!(!config.notes.iter().any(new), "a new part has new keys");
        let node = config.get("part").unwrap();
        let problems = left_over(node, node.read::<Component>().unwrap_err());
        let problems = config.errors(problems).diagnostics;
        problems
            .into_iter()
            .map(|p| p.help.unwrap_or_default())
            .collect()
    }

    #[test]
    fn keys_of_another_type_are_told_from_wrong_ones() {
        for (child, options, of) in [
            ("", &[][..], &[][..]),
            ("part = dict(arch='large', width=1)\n", &[], &[]),
            ("part = dict(type='B')\n", &[], &["arch", "depth"]),
            ("part = dict(type='B', depth='y')\n", &[], &["arch"]),
            ("", &["part.type=B"], &["arch", "depth"]),
            (
                "",
                &["part.type=B", "part.depth=y", "part.width=1"],
                &["arch"],
            ),
        ] {
            let helps = said(&format!("_base_ = 'a.py'\n{child}"), options);
            for key in ["arch", "depth", "width"] {
                let told = format!("if `{key}` was meant for another `type`, `_delete_=True`");
                let found = helps.iter().any(|help| help.contains(&told));
                assert_eq!(
                    found,
                    of.contains(&key),
                    "{child} {options:?} {key}: {helps:?}"
                );
            }
        }
    }
}
