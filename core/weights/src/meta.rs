//! What a checkpoint says beside its tensors: classes, versions, how far training was, the config's text.

use super::graph::Graph;
use super::pickle::{Id, Node};
use super::storage::Storages;

/// Longest config text that is kept, in bytes.
const MAX_CONFIG: usize = 8 << 20;
/// At most so many facts and other parts are listed.
const MAX_DESCRIBED: usize = 1000;
/// More classes than this are not listed.
const MAX_CLASSES: usize = 100_000;
/// Longest name and value that are listed, in bytes.
const MAX_TEXT: usize = 200;

/// Plainly readable facts of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meta {
    /// Epochs trained, as the file says: a negative number makes no sense, but is told.
    pub epoch: Option<i64>,
    /// Iterations trained.
    pub iter: Option<i64>,
    /// Class names of the data set, in label order.
    pub classes: Vec<String>,
    /// The config it was trained with, as Python text.
    pub config: Option<String>,
    /// Short facts by name, such as `mmengine_version` or `time`.
    pub facts: Vec<(String, String)>,
    /// What else is in the file, by its name at the top level: `optimizer`, and a description.
    pub others: Vec<(String, String)>,
}

impl Graph<'_, '_> {
    /// Reads `meta` of mmengine (and of mmcv 1.x), and describes the rest of the file. `section` is the
    /// state dict's path.
    pub(super) fn meta(&mut self, section: &str, storages: &mut Storages) -> Meta {
        let pickle = self.pickle;
        let mut meta = Meta::default();
        let root = pickle.root;
        if let Some(found) = pickle.get(root, "meta") {
            self.training_meta(found, &mut meta, storages);
        }
        if section.is_empty() {
            return meta;
        }
        let chosen = section.split('.').next().unwrap_or_default();
        let mut seen = vec![false; pickle.nodes.len()];
        for &(key, value) in pickle.pairs(root).unwrap_or_default().iter() {
            if meta.others.len() >= MAX_DESCRIBED {
                break;
            }
            let Some(name) = pickle.long_text(key, MAX_TEXT) else {
                continue;
            };
            if name == chosen || name == "meta" {
                continue;
            }
            let field = match &*name {
                "epoch" => Some(&mut meta.epoch),
                "iter" => Some(&mut meta.iter),
                _ => None,
            };
            // `meta` says it already, or this does.
            if let Some(field) = field {
                *field = field.or_else(|| self.whole_number(value, storages));
                if field.is_some() {
                    continue;
                }
            }
            let described = match self.count_tensors(value, &mut seen) {
                0 => pickle.render(value, 60),
                1 => "1 tensor".to_owned(),
                count => format!("{count} tensors"),
            };
            meta.others.push((name.into_owned(), described));
        }
        meta
    }

    fn training_meta(&mut self, from: Id, meta: &mut Meta, storages: &mut Storages) {
        let pickle = self.pickle;
        let mut number = |name: &str| self.whole_number(pickle.get(from, name)?, storages);
        (meta.epoch, meta.iter) = (number("epoch"), number("iter"));
        let config = pickle
            .get(from, "cfg")
            .or_else(|| pickle.get(from, "config"));
        let config = config.and_then(|config| pickle.long_text(config, MAX_CONFIG));
        meta.config = config.map(|config| config.into_owned());
        // mmengine, then mmcv 1.x.
        let dataset = pickle.get(from, "dataset_meta");
        let classes = dataset.and_then(|dataset| {
            let new = pickle.get(dataset, "classes");
            new.or_else(|| pickle.get(dataset, "CLASSES"))
        });
        let classes = classes.or_else(|| pickle.get(from, "CLASSES"));
        meta.classes = classes.map(|id| self.class_names(id)).unwrap_or_default();

        for &(key, value) in pickle.pairs(from).unwrap_or_default().iter() {
            if meta.facts.len() >= MAX_DESCRIBED {
                break;
            }
            let Some(name) = pickle.long_text(key, MAX_TEXT) else {
                continue;
            };
            let skipped = match &*name {
                // Read above.
                "epoch" => meta.epoch.is_some(),
                "iter" => meta.iter.is_some(),
                "cfg" | "config" => true,
                // Long listings that say nothing of the model.
                "env_info" | "hook_msgs" => true,
                _ => false,
            };
            if skipped {
                continue;
            }
            let value = match pickle.node(value) {
                Node::Int(number) => number.to_string(),
                Node::Bool(_) | Node::BigInt => pickle.render(value, 60),
                _ => match self.number(value, storages) {
                    Some(number) => number.to_string(),
                    None => match pickle.long_text(value, MAX_TEXT) {
                        Some(text) => text.into_owned(),
                        None => continue,
                    },
                },
            };
            meta.facts.push((name.into_owned(), value));
        }
    }

    /// A tuple or list of names, or one name as a text.
    fn class_names(&self, id: Id) -> Vec<String> {
        let pickle = self.pickle;
        let text = |id| pickle.text(id).map(|text| text.chars().take(200).collect());
        match pickle.sequence(id) {
            Some(items) if items.len() <= MAX_CLASSES => {
                items.iter().filter_map(|&id| text(id)).collect()
            }
            Some(_) => Vec::new(),
            None => text(id).into_iter().collect(),
        }
    }
}
