//! What is being dragged: the picture follows it at once, and the text as soon as the one before has been read.

use std::collections::VecDeque;

use smalti::config::{Node, parse_value};

use crate::window::document::Kind;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::views::config::{apply, write};

/// Changes of the config's text on their way.
#[derive(Default)]
pub struct Edits {
    /// Values that the text may not say yet, by their place in the config.
    over: Vec<(String, Node)>,
    /// Changes of the text that wait; of each place the newest.
    waiting: VecDeque<(String, String, Kind)>,
    /// A place that the text cannot say, which was told once for this drag.
    refused: Option<String>,
    /// Counts changes of `over`.
    pub number: u64,
}

impl Edits {
    /// Makes a value another one.
    pub fn change(&mut self, path: &str, new: &str, kind: Kind) {
        let Ok(node) = parse_value(new) else { return };
        if self.refused.as_deref() == Some(path) {
            return;
        }
        self.number += 1;
        self.over.retain(|(of, _)| of != path);
        self.over.push((path.to_owned(), node));
        match self.waiting.iter_mut().find(|(of, ..)| of == path) {
            Some(waiting) => new.clone_into(&mut waiting.1),
            None => self
                .waiting
                .push_back((path.to_owned(), new.to_owned(), kind)),
        }
    }

    /// Writes what waits, once the text is read: places in it are known then. What was written and read is what the text says.
    pub fn tick(&mut self, session: &mut Session, jobs: &mut Jobs) {
        let Some(config) = session.current().and_then(|a| a.config.clone()) else {
            return;
        };
        match self.waiting.pop_front() {
            Some((path, new, kind)) => {
                let done = apply::value(session, jobs, &config, &path, &new, kind);
                if !done {
                    self.refused = Some(path.clone());
                    self.over.retain(|(of, _)| *of != path);
                    self.number += 1;
                }
            }
            None if !self.over.is_empty() => {
                self.over.clear();
                self.number += 1;
            }
            None => {}
        }
    }

    /// A drag has ended: what was refused may be tried again.
    pub fn end_drag(&mut self) {
        self.refused = None;
    }

    /// Whether something is still to be written or read.
    pub fn is_busy(&self) -> bool {
        !self.over.is_empty()
    }

    /// A config's part at `root` with what is not in the text yet.
    pub fn over(&self, node: &Node, root: &str) -> Node {
        let mut node = node.clone();
        for (path, value) in &self.over {
            let below = path.strip_prefix(root).and_then(|p| p.strip_prefix('.'));
            if let Some(below) = below {
                let parts: Vec<&str> = below.split('.').collect();
                // a place that is not there any more has nothing to show
                let _ = write::set(&mut node, &parts, value.clone());
            }
        }
        node
    }
}
