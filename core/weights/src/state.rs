//! Which part of a file is the state dict, and under which keys its tensors are known.
//!
//! mmengine's `load_checkpoint` takes `state_dict` where the file has one, else the file itself, and takes
//! `module.` (left by DataParallel) off the front of keys. Files of other origins are looked through
//! as well ([`SECTIONS`]).
//!
//! Moving averages: mmengine's EMAHook and the EMA hooks of MMDetection 2.x swap the averaged and
//! the trained values when they save, so `state_dict` under its plain keys always holds the averaged
//! values, which is what MMDetection tests with; `ema_state_dict` (mmengine) and the
//! `ema_backbone_conv1_weight` kind of keys (2.x) hold the trained values, for resuming only. So nothing is swapped
//! here; the 2.x keys are left out, since no model has such names.

use std::collections::{HashMap, HashSet};

use super::error::{CheckpointError, MAX_NAME, MAX_WHY, shortened};
use super::graph::Graph;
use super::pickle::Id;
use super::storage::Storages;
use super::tensor::TensorInfo;

/// Names under which a file may keep its state dict, the first that holds tensors counts:
/// mmengine and most others, Detectron2 and timm, BasicSR, Detectron1; averaged weights only where there are no others.
pub(crate) const SECTIONS: [&str; 14] = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "params",
    "weights",
    "blobs",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "params_ema",
    "ema",
];

/// Parts of a training checkpoint whose tensors are no weights.
const NOT_WEIGHTS: [&str; 8] = [
    "optimizer",
    "optimizers",
    "optim",
    "lr_scheduler",
    "param_schedulers",
    "message_hub",
    "meta",
    "scaler",
];

/// Dicts and modules are looked through to this depth.
const MAX_DEPTH: usize = 8;
/// Longest key that is read, in bytes: a tensor with a longer one is unreadable.
pub(crate) const MAX_KEY: usize = 512;
/// At most so many tensors (a detector has a thousand) ...
pub(crate) const MAX_TENSORS: usize = 100_000;
/// ... whose keys have so many bytes.
const MAX_KEYS: usize = 64 << 20;
/// Items of a tuple or list that are looked through for a state dict.
const MAX_ITEMS: usize = 16;
/// What a value costs that is listed with its key, in steps of the pickle's budget ...
pub(crate) const LISTED: usize = 512;
/// ... and what a byte of a key costs that is made of several names: what can be paid for takes 120 MB.
pub(crate) const JOINED: usize = 8;
/// At most so many entries that are no tensors are described.
const MAX_DESCRIBED: usize = 1000;

/// A path in the file, and the values there by name.
type Named = (String, Vec<(String, Id)>);

/// Names that `torch.compile`, FSDP and activation checkpointing put into keys, before the names of what they wrap.
const WRAPPERS: [&str; 3] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// A key without the names of wrappers; `module` (`DistributedDataParallel`) only in front, since it may be a layer's own name.
pub(crate) fn unwrap(key: &str) -> String {
    let mut names: Vec<&str> = key.split('.').collect();
    let last = names.pop();
    names.retain(|name| !WRAPPERS.contains(name));
    if names.first() == Some(&"module") {
        names.remove(0);
    }
    names.extend(last);
    names.join(".")
}

/// One tensor of a state dict.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    /// Where it lies, or why it cannot be read.
    pub tensor: Result<TensorInfo, String>,
}

/// The chosen state dict of a checkpoint.
#[derive(Debug, Default)]
pub struct StateDict {
    /// Where in the file it was, such as `state_dict` or `model.state_dict`; empty for the file's top level.
    pub section: String,
    /// Keys that wrappers had put their names into: `module.` in front, `_orig_mod.` anywhere.
    pub unwrapped: usize,
    /// Keys of MMDetection 2.x's EMA hook (the trained, not the averaged values), left out.
    pub ema_shadows: usize,
    /// Entries that are no tensors, by key, with what they are.
    pub not_tensors: Vec<(String, String)>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) index: HashMap<String, usize>,
    /// Bytes of all keys.
    pub(crate) key_bytes: usize,
}

impl StateDict {
    /// Number of tensors, readable or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without any tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|&at| self.entries.get(at))
    }

    /// Adds tensors in the file's order; a key that comes again replaces the earlier value, as in Python.
    ///
    /// # Errors
    /// `TooLarge` beyond [`MAX_TENSORS`] or [`MAX_KEYS`]. A key that is too long makes only its tensor unreadable.
    pub(crate) fn insert(
        &mut self,
        raw_key: String,
        tensor: Result<TensorInfo, String>,
    ) -> Result<(), CheckpointError> {
        let (key, tensor) = if raw_key.len() > MAX_KEY {
            let why = format!("its name is longer than {MAX_KEY} bytes");
            (shortened(&raw_key, MAX_NAME).into_owned(), Err(why))
        } else {
            let key = unwrap(&raw_key);
            self.unwrapped += usize::from(key != raw_key);
            let shorter = |why: String| shortened(&why, MAX_WHY).into_owned();
            (key, tensor.map_err(shorter))
        };
        self.put(Entry { key, tensor })
    }

    /// As [`Self::insert`], under a key as it is.
    pub(crate) fn put(&mut self, entry: Entry) -> Result<(), CheckpointError> {
        self.key_bytes += entry.key.len();
        if self.entries.len() >= MAX_TENSORS || self.key_bytes > MAX_KEYS {
            return Err(CheckpointError::too_many_tensors());
        }
        match self.index.get(&entry.key) {
            Some(&at) => self.entries[at] = entry,
            None => {
                self.index.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    /// Drops `ema_backbone_conv1_weight` where `backbone.conv1.weight` is there too.
    pub(crate) fn drop_ema_shadows(&mut self) {
        if !self
            .entries
            .iter()
            .any(|entry| entry.key.starts_with("ema_"))
        {
            return;
        }
        let keys = self.entries.iter().map(|entry| entry.key.as_str());
        let shadows: HashSet<String> = keys
            .map(|key| format!("ema_{}", key.replace('.', "_")))
            .collect();
        let before = self.entries.len();
        self.entries
            .retain(|entry| entry.key.contains('.') || !shadows.contains(&entry.key));
        self.ema_shadows = before - self.entries.len();
        self.reindex();
    }

    /// Keeps the keys that begin with `prefix`, without it.
    pub(crate) fn keep_prefix(&mut self, prefix: &str) {
        self.entries
            .retain_mut(|entry| match entry.key.strip_prefix(prefix) {
                Some(rest) => {
                    entry.key = rest.to_owned();
                    true
                }
                None => false,
            });
        self.reindex();
    }

    fn reindex(&mut self) {
        let keys = self.entries.iter().map(|entry| entry.key.clone());
        self.index = keys.enumerate().map(|(at, key)| (key, at)).collect();
    }
}

impl Graph<'_, '_> {
    /// The state dict of this pickle: the section named, or else the one that the rules choose.
    pub(super) fn state_dict(
        &mut self,
        section: Option<&str>,
        storages: &mut Storages,
    ) -> Result<StateDict, CheckpointError> {
        let root = self.pickle.root;
        let (path, pairs) = match section {
            Some(path) => {
                let mut id = Some(root);
                for name in path.split('.').filter(|name| !name.is_empty()) {
                    id = id.and_then(|id| self.part(id, name));
                }
                let pairs = id.and_then(|id| self.named_values(id));
                (path.to_owned(), pairs.unwrap_or_default())
            }
            None => {
                let chosen = self.choose(root, MAX_DEPTH, &mut HashSet::new());
                chosen.unwrap_or_default()
            }
        };
        let mut state = StateDict {
            section: path,
            ..StateDict::default()
        };
        for (key, id) in pairs {
            match self.tensor(id, storages) {
                Ok(Some(tensor)) => state.insert(key, Ok(tensor))?,
                Err(why) => state.insert(key, Err(why))?,
                Ok(None) if key.ends_with("_extra_state") || key == "_metadata" => {}
                Ok(None) if state.not_tensors.len() >= MAX_DESCRIBED => {}
                Ok(None) => {
                    let key = shortened(&key, MAX_NAME).into_owned();
                    state.not_tensors.push((key, self.pickle.render(id, 60)));
                }
            }
        }
        self.pickle.budget.check()?;
        if state.is_empty() {
            let mut seen = vec![false; self.pickle.nodes.len()];
            let found = match (section, self.count_tensors(root, &mut seen)) {
                (Some(section), _) => format!("no tensors under `{section}`"),
                (None, 0) => self.pickle.render(root, 120),
                (None, n) if self.is_tensor(root) => format!("{n} tensor without a name"),
                (None, n) => format!(
                    "{n} tensors, but not in a dict by name: {}",
                    self.pickle.render(root, 120)
                ),
            };
            return Err(CheckpointError::NoTensors { found });
        }
        state.drop_ema_shadows();
        Ok(state)
    }

    /// Path and named values of the best state dict at or below `id`. Each value is looked at once, however
    /// often the file refers to it.
    fn choose(&self, id: Id, depth: usize, seen: &mut HashSet<Id>) -> Option<Named> {
        let depth = depth.checked_sub(1)?;
        if !seen.insert(id) {
            return None;
        }
        for name in SECTIONS {
            let Some(inner) = self.pickle.get(id, name) else {
                continue;
            };
            if self.is_tensor(inner) {
                continue;
            }
            if let Some(found) = self.choose(inner, depth, seen) {
                return Some(below(name, found));
            }
        }
        // What a script saved as one: `torch.save((model.state_dict(), epoch), ...)`.
        if let Some(items) = self.pickle.tuple(id) {
            let mut items = items.iter().take(MAX_ITEMS).enumerate();
            return items.find_map(|(at, &item)| {
                Some(below(&at.to_string(), self.choose(item, depth, seen)?))
            });
        }
        let values = self.named_values(id)?;
        let holds_tensors =
            |values: &[(String, Id)]| values.iter().any(|(_, id)| self.is_tensor(*id));
        if holds_tensors(&values) {
            return Some((String::new(), values));
        }
        // A state dict for each part of a model: {'backbone': {...}, 'head': {...}}.
        let mut joined = Vec::new();
        for (name, id) in values {
            if !NOT_WEIGHTS.contains(&name.as_str()) && seen.insert(id) {
                let inner = self.named_values(id).unwrap_or_default();
                for (key, id) in inner {
                    let price = JOINED * (name.len() + key.len());
                    if self.is_tensor(id) && self.pickle.budget.spend(price).is_some() {
                        joined.push((format!("{name}.{key}"), id));
                    }
                }
            }
        }
        (!joined.is_empty()).then_some((String::new(), joined))
    }

    /// The value that a dict has under this name, or a tuple or list at this index.
    fn part(&self, id: Id, name: &str) -> Option<Id> {
        match self.pickle.tuple(id) {
            Some(items) => items.get(name.parse::<usize>().ok()?).copied(),
            None => self.pickle.get(id, name),
        }
    }

    /// The values of a dict with text keys, or the parameters and buffers of a whole pickled module.
    fn named_values(&self, id: Id) -> Option<Vec<(String, Id)>> {
        let pairs = self.pickle.pairs(id);
        if let Some(pairs) = pairs.as_ref().filter(|pairs| !pairs.is_empty()) {
            return Some(self.text_keys(pairs));
        }
        // Also `nn.ModuleDict`, which is no dict.
        let mut values = Vec::new();
        self.module_values(id, "", MAX_DEPTH * 4, &mut HashSet::new(), &mut values);
        (!values.is_empty() || pairs.is_some()).then_some(values)
    }

    /// Each text key once, with the value that it had last. Of keys that are too long as much as tells so.
    pub(super) fn text_keys(&self, pairs: &[(Id, Id)]) -> Vec<(String, Id)> {
        let mut at = HashMap::new();
        let mut values: Vec<(String, Id)> = Vec::new();
        for &(key, value) in pairs {
            let key = match self.pickle.text_len(key) {
                Some(len) if len > MAX_KEY => self.pickle.text_start(key, MAX_KEY + 1),
                _ => self.pickle.text(key),
            };
            let paid = self.pickle.budget.spend(LISTED);
            let Some(key) = key.filter(|_| paid.is_some()) else {
                continue;
            };
            match at.get(&key) {
                Some(&at) => values[at] = (key.into_owned(), value),
                None => {
                    at.insert(key.clone(), values.len());
                    values.push((key.into_owned(), value));
                }
            }
        }
        values
    }
}

/// What was found in the part of this name.
fn below(name: &str, (path, values): Named) -> Named {
    let dot = if path.is_empty() { "" } else { "." };
    (format!("{name}{dot}{path}"), values)
}
