//! The files that a value went through: what each of them said of it, the last of which counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use smalti::config::{Config, Configs, value_to_py};

use crate::window::analysis::Open;
use crate::window::host::Host;
use crate::window::session::Place;

/// One file's word on a value.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it said.
    pub value: String,
    /// Where.
    pub place: Place,
    /// The line there.
    pub line: usize,
}

/// What is asked.
pub struct Question {
    /// The path of the value.
    pub path: String,
    /// The resolved config.
    pub config: Config,
    /// Open texts.
    pub open: std::collections::BTreeMap<String, String>,
    /// Where files come from.
    pub host: Arc<dyn Host>,
}

/// All that was said, the word that counts last. Each file is read by itself with its own bases; what it says in its own text is its word.
pub fn find(question: &Question) -> Vec<Link> {
    let loader = Open {
        texts: question.open.clone(),
        files: question.host.configs(),
    };
    let mut configs = Configs::new(&loader);
    let mut links: Vec<Link> = Vec::new();
    let wins = question.config.at(&question.path).map(|n| n.origin.clone());
    for file in question.config.files() {
        let Ok(config) = configs.load(file) else {
            continue;
        };
        let Some(node) = config.at(&question.path) else {
            continue;
        };
        let place = Place {
            path: PathBuf::from(node.origin.file()),
            range: node.origin.range(),
        };
        if links.iter().all(|l| l.place != place) {
            links.push(Link {
                value: value_to_py(node),
                place,
                line: node.origin.line(),
            });
        }
    }
    // the word that counts is said last
    if let Some(wins) = wins {
        links.sort_by_key(|l| {
            l.place.range == wins.range() && l.place.path == Path::new(wins.file())
        });
    }
    links
}
