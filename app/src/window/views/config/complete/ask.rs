//! Asking those who read the config: which names fit, of which type they are, and whose they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use smalti::config::{Diagnostic, Kind as Problem, Node, Severity};

use super::super::docs;
use super::{END, Found, Offer, PROBE, Place};
use crate::window::analysis::{self, Question};
use crate::window::document::key;

/// What may have to be closed.
const CLOSERS: [&str; 6] = ["", ")", "))", ")))", "]", ")]"];
/// A string that no option takes.
const NO_VALUE: &str = "zz_smalti_value";
/// Types of options are asked for as long.
const PATIENCE: Duration = Duration::from_millis(300);

/// What those who read the config say of the name that nothing has.
pub(super) fn find(mut question: Question, at: usize, place: Place) -> Found {
    let document = question.document;
    let ask = |question: &Question, text: String| {
        let question = Question {
            document,
            version: 0,
            path: question.path.clone(),
            text,
            open: question.open.clone(),
            host: Arc::clone(&question.host),
        };
        analysis::analyse(question)
    };
    question.open.remove(&key(&question.path));
    let mine = |d: &&Diagnostic| {
        d.labels
            .first()
            .is_some_and(|(o, _)| o.text().contains(PROBE))
            && !d.names().is_empty()
    };
    // While one types, brackets are still open: they are closed behind the name for those who read.
    let closed = CLOSERS.iter().find_map(|closers| {
        let text = question.text.replacen(END, closers, 1);
        let found = ask(&question, text.clone());
        let said = found.found.iter().find(mine).cloned()?;
        let root = found.config.as_ref().map(|config| &config.root);
        let owner = root.and_then(|root| owner(root, docs::CONFIG));
        Some((text, said, owner.unwrap_or_default()))
    });
    let Some((text, said, owner)) = closed else {
        return (document, at, Vec::new());
    };
    let known = said.names().to_vec();
    if place == Place::Value {
        // "unknown neck type `...`"
        let kind = said
            .message
            .strip_prefix("unknown ")
            .and_then(|m| m.split(" type").next())
            .unwrap_or("")
            .to_owned();
        let offer = |name: String| Offer {
            text: name.clone(),
            about: docs::component(&name).unwrap_or_default(),
            name,
            what: kind.clone(),
            default: None,
        };
        return (document, at, known.into_iter().map(offer).collect());
    }
    let types = types(&known, &question, |values| {
        let text = text.replacen(&format!("{PROBE}=None,"), values, 1);
        ask(&question, text).found
    });
    let offer = |name: &String| {
        let what = types.get(name).cloned().unwrap_or_default();
        Offer::of_key(name, format!("{name}="), what, docs::key(&owner, name))
    };
    (document, at, known.iter().map(offer).collect())
}

/// The types of options. Each is given a value that none takes: who reads it says what it expects. All at once first; where one hides what is said
/// of others, each alone, as long as nobody has to wait.
fn types(
    names: &[String],
    question: &Question,
    check: impl Fn(&str) -> Vec<Diagnostic>,
) -> HashMap<String, String> {
    let began = question.host.now();
    let mut types = HashMap::new();
    let learn = |asked: &[&String], types: &mut HashMap<String, String>| {
        let values: String = asked
            .iter()
            .map(|name| format!("{name}='{NO_VALUE}', "))
            .collect();
        let found = check(&values);
        for name in asked {
            let start = format!("`{name}`: ");
            let mut said = found
                .iter()
                .filter(|d| d.severity != Severity::Note || d.kind == Problem::Mistyped);
            let expected = said.find_map(|d| {
                let message = d.message.strip_prefix(&start)?;
                let expected = message.split(" expected").next()?;
                (expected.len() < 40 && expected != message).then(|| expected.to_owned())
            });
            if let Some(expected) = expected {
                types.insert((*name).clone(), expected);
            }
        }
    };
    let all: Vec<&String> = names.iter().collect();
    learn(&all, &mut types);
    for name in all {
        if question.host.now().saturating_sub(began) > PATIENCE {
            break;
        }
        if !types.contains_key(name) {
            learn(&[name], &mut types);
        }
    }
    types
}

/// The component whose option the name at the caret is: the `type` beside it, else the key that holds it.
fn owner(node: &Node, name: &str) -> Option<String> {
    if let Some(items) = node.as_items() {
        return items.iter().find_map(|item| owner(item, name));
    }
    let dict = node.as_dict()?;
    if dict.contains(PROBE) {
        let own = dict.get("type").and_then(Node::as_type);
        return Some(own.unwrap_or_else(|| name.to_owned()));
    }
    let mut entries = dict.iter();
    entries.find_map(|(key, entry)| owner(&entry.node, key.as_str().unwrap_or(name)))
}
