//! Checkpoints, read by content: `.pth` (zip and legacy), `.pkl` with numpy arrays, `.safetensors` and burnpack. And written.
//!
//! ```text
//! bytes -> zip | legacy stream | pickle -> graph of nodes -> state dict -> TensorView -> f32
//!          safetensors | burnpack ------------------------->
//! ```
//!
//! Nothing in a file is executed: a pickle's calls are only remembered ([`pickle`]), and those few that
//! make a tensor are understood ([`graph`]). Everything else stays opaque, so a training checkpoint with optimizer,
//! message hub and config objects of any class reads like any other, and storages that nobody asks for are never
//! touched. Memory and time are bounded, whatever a file says: a second or two and some hundred megabytes beyond its own
//! length; see the limits at the top of each file, and [`pickle::Budget`]. A checkpoint in several files is read by its index
//! ([`ShardIndex`]).
//!
//! What is written is `.pth` and `.safetensors` ([`save`]): weights alone, or a training run to be gone on from ([`TrainingState`]), which is read
//! back in the same form, ours and MMEngine's. Files of [`Proposals`] are pickles of arrays too.
//!
//! [`names`] resolves `torchvision://resnet50` and the like; downloading them is `host::cache`, on native
//! targets only.

use std::fmt;
use std::sync::Arc;

mod burnpack;
mod caffe2;
mod coco;
pub mod convert;
mod dtype;
mod error;
mod graph;
mod header;
mod inflated;
mod meta;
mod modules;
pub mod names;
mod numpy;
mod pickle;
mod plain;
mod proposals;
mod report;
mod safetensors;
mod save;
mod shards;
mod state;
mod storage;
mod tensor;
#[cfg(test)]
mod tests;
mod torch;
mod training;
mod zip;

pub use coco::COCO_CLASSES;
pub use dtype::DType;
pub use error::CheckpointError;
pub use meta::Meta;
pub use plain::{Dict, Plain};
pub use proposals::{ProposalFile, Proposals, proposal_key, read_proposals, write_proposals};
pub use report::{LoadReport, Wanted, WrongShape, report};
pub use save::{Altered, Numbers, SaveError, Saved, write_safetensors, write_torch};
pub use shards::ShardIndex;
pub use state::StateDict;
pub use tensor::TensorView;
pub use training::{
    Averaged, OptimizerState, ParameterState, StateValue, Stored, TrainingMeta, TrainingState,
};

use graph::{Graph, Outside};
use pickle::Budget;
use smalti_config::file_kind::looks_like;
use storage::{FileBytes, Storages};
use tensor::TensorInfo;

/// Inflated `data.pkl` entries beyond this are refused, in bytes.
const MAX_PICKLE: usize = 256 << 20;

/// The format of a file, told by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// PyTorch's zip archive (torch 1.6 and later).
    TorchZip,
    /// PyTorch's older stream of pickles.
    TorchLegacy,
    /// A plain pickle, as Detectron2's `.pkl` files.
    Pickle,
    /// safetensors.
    Safetensors,
    /// burn's burnpack.
    Burnpack,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TorchZip => "PyTorch (zip)",
            Self::TorchLegacy => "PyTorch (older format)",
            Self::Pickle => "pickle",
            Self::Safetensors => "safetensors",
            Self::Burnpack => "burnpack",
        })
    }
}

/// The tensors of one file by key, in the file's order, and what else the file says.
#[derive(Debug)]
pub struct Checkpoint {
    format: Format,
    storages: Arc<Storages>,
    state: StateDict,
    meta: Meta,
}

impl Checkpoint {
    /// Reads a file's content: a memory map, `Vec<u8>`, `Arc<[u8]>`, or any other owner of bytes. No tensor is copied yet.
    ///
    /// # Errors
    /// Any [`CheckpointError`] but `NoSuchKey` and `Unreadable`.
    pub fn read(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, CheckpointError> {
        Self::read_section(bytes, None)
    }

    /// As [`Self::read`], but with a part of the file that the caller names, such as `ema_state_dict` or `model.ema`,
    /// instead of the one that the rules choose.
    ///
    /// # Errors
    /// As [`Self::read`]; `NoTensors` when the section is not there, `Unsupported` when the format has none: only PyTorch's and
    /// pickles have.
    pub fn read_section(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        section: Option<&str>,
    ) -> Result<Self, CheckpointError> {
        Self::read_within(bytes, section, &Budget::new())
    }

    fn read_within(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        section: Option<&str>,
        budget: &Budget,
    ) -> Result<Self, CheckpointError> {
        let mut storages = Storages::new(bytes);
        let file = storages.file();
        let read = read_torch(&mut storages, budget, |graph, storages| {
            read_graph(graph, section, storages)
        })?;
        let (format, (state, meta)) = if let Some(read) = read {
            read
        } else if file.starts_with(burnpack::MAGIC) {
            no_section(section, Format::Burnpack)?;
            (Format::Burnpack, burnpack::read(&mut storages)?)
        } else if let Some(header) = safetensors::header(&file) {
            no_section(section, Format::Safetensors)?;
            let read = safetensors::read(header, &mut storages)?;
            (Format::Safetensors, read)
        } else if let Some(index) = ShardIndex::read(&file)? {
            return Err(index.alone());
        } else if let Some(pickle) = read_plain_pickle(&file, budget)? {
            let mut graph = Graph::new(&pickle, Some(0), Outside::Nowhere, false);
            let read = read_graph(&mut graph, section, &mut storages)?;
            (Format::Pickle, read)
        } else {
            return Err(CheckpointError::UnknownFormat {
                looks_like: looks_like(&file),
            });
        };
        let (mut state, mut meta) = (state, meta);
        if format == Format::Pickle && caffe2::is(&state) {
            caffe2::rename(&mut state, &mut storages)?;
            let fact = ("names".to_owned(), "Caffe2's, made Detectron2's".to_owned());
            meta.facts.push(fact);
        }
        Ok(Self {
            format,
            storages: Arc::new(storages),
            state,
            meta,
        })
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> usize {
        self.storages.file().len()
    }

    /// The state dict that the keys below belong to.
    pub fn state(&self) -> &StateDict {
        &self.state
    }

    /// What the file says beside its tensors.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// All keys in the file's order, also of tensors that cannot be read.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.state.entries.iter().map(|entry| entry.key.as_str())
    }

    /// The tensor of this key; None when it is not there or cannot be read.
    pub fn get(&self, key: &str) -> Option<TensorView<'_>> {
        let entry = self.state.entry(key)?;
        entry
            .tensor
            .as_ref()
            .ok()
            .map(|info| self.view(entry, info))
    }

    /// Why the tensor of this key cannot be read; `None` if it can, or if there is no such key.
    pub fn fault(&self, key: &str) -> Option<&str> {
        let entry = self.state.entry(key)?;
        entry.tensor.as_ref().err().map(String::as_str)
    }

    /// As [`Self::get`], saying why not.
    ///
    /// # Errors
    /// `NoSuchKey`, and `Unreadable` for sparse or quantised tensors and the like.
    pub fn tensor(&self, key: &str) -> Result<TensorView<'_>, CheckpointError> {
        let entry = self
            .state
            .entry(key)
            .ok_or_else(|| CheckpointError::NoSuchKey {
                key: key.to_owned(),
                nearest: names::nearest(key, self.keys()).map(str::to_owned),
            })?;
        match &entry.tensor {
            Ok(info) => Ok(self.view(entry, info)),
            Err(why) => Err(CheckpointError::Unreadable {
                key: key.to_owned(),
                why: why.clone(),
            }),
        }
    }

    fn view<'a>(&'a self, entry: &'a state::Entry, info: &'a TensorInfo) -> TensorView<'a> {
        TensorView {
            key: &entry.key,
            info,
            storages: &self.storages,
        }
    }

    /// The elements of a tensor as f32, row-major; see [`TensorView::f32`].
    ///
    /// # Errors
    /// `NoSuchKey`, `Unreadable`.
    pub fn f32(&self, key: &str) -> Result<Vec<f32>, CheckpointError> {
        self.tensor(key)?.f32()
    }

    /// Tensors that cannot be read, with the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.state.entries.iter();
        entries.filter_map(|entry| Some((&*entry.key, entry.tensor.as_ref().err()?.as_str())))
    }

    /// What stands before a model's keys in this file when `init_cfg` has this `prefix`: with its dot, which may be left out,
    /// and without wrappers' names, which were taken out of all keys already. Empty without a prefix.
    pub fn prefix(&self, given: Option<&str>) -> String {
        let given = given.unwrap_or_default().trim_end_matches('.');
        if given.is_empty() {
            return String::new();
        }
        let prefix = format!("{given}.");
        match self.keys().any(|key| key.starts_with(&prefix)) {
            true => prefix,
            false => state::unwrap(&prefix),
        }
    }

    /// The same tensors by other names: those that `name` gives.
    ///
    /// # Errors
    /// `TooLarge` where the new names are too long in all.
    pub fn renamed(&self, name: impl Fn(&str) -> String) -> Result<Self, CheckpointError> {
        let mut state = StateDict {
            section: self.state.section.clone(),
            unwrapped: self.state.unwrapped,
            ema_shadows: self.state.ema_shadows,
            not_tensors: self.state.not_tensors.clone(),
            ..StateDict::default()
        };
        for entry in &self.state.entries {
            state.put(state::Entry {
                key: name(&entry.key),
                tensor: entry.tensor.clone(),
            })?;
        }
        Ok(Self {
            format: self.format,
            storages: self.storages.clone(),
            state,
            meta: self.meta.clone(),
        })
    }

    /// Keeps only the keys that begin with `prefix`, and takes it off: what mmengine does to `mmcls://` checkpoints
    /// with `backbone.`.
    pub fn keep_prefix(&mut self, prefix: &str) {
        self.state.keep_prefix(prefix);
    }
}

type Parts = (StateDict, Meta);

/// Has the graph of a file of PyTorch's read; None for another format.
fn read_torch<R>(
    storages: &mut Storages,
    budget: &Budget,
    read: impl FnOnce(&mut Graph, &mut Storages) -> Result<R, CheckpointError>,
) -> Result<Option<(Format, R)>, CheckpointError> {
    let file = storages.file();
    if file.starts_with(zip::MAGIC) {
        let read = read_zip(&file, budget, storages, read)?;
        return Ok(Some((Format::TorchZip, read)));
    }
    if file.starts_with(burnpack::MAGIC) || !torch::is_legacy(&file) {
        return Ok(None);
    }
    let legacy = torch::read_legacy(&file, budget)?;
    let outside = Outside::Legacy(legacy.storages);
    let mut graph = Graph::new(&legacy.pickle, Some(0), outside, legacy.big_endian);
    Ok(Some((Format::TorchLegacy, read(&mut graph, storages)?)))
}

fn read_zip<R>(
    file: &FileBytes,
    budget: &Budget,
    storages: &mut Storages,
    read: impl FnOnce(&mut Graph, &mut Storages) -> Result<R, CheckpointError>,
) -> Result<R, CheckpointError> {
    let archive = zip::Archive::read(file)?;
    let folder = torch::archive_folder(&archive)?;
    let missing = || CheckpointError::malformed("zip archive", 0, "data.pkl is not there");
    let entry = archive
        .get(&format!("{folder}data.pkl"))
        .ok_or_else(missing)?;
    // PyTorch can leave checksums out; then not one of them is right.
    let small = ["version", "byteorder", ".format_version"].map(|name| format!("{folder}{name}"));
    let small = small.iter().filter_map(|name| archive.get(name));
    if !entry.has_right_checksum(file) {
        if small.clone().any(|e| e.has_right_checksum(file)) {
            entry.check_stored(file)?;
        } else {
            storages.without_checksums();
        }
    }
    let order = archive.small(file, &format!("{folder}byteorder"), 16);
    let big_endian = order.is_some_and(|order| order.starts_with(b"big"));
    let inflated;
    let (bytes, base) = match entry.stored_range()? {
        Some(range) => (
            file.get(range.clone()).unwrap_or_default(),
            Some(range.start),
        ),
        None if entry.size > MAX_PICKLE => {
            return Err(CheckpointError::TooLarge {
                what: format!("a compressed data.pkl of {} bytes", entry.size),
                limit: MAX_PICKLE as u64,
            });
        }
        None => {
            inflated = entry.inflate(file)?;
            (inflated.as_slice(), None)
        }
    };
    let pickle = pickle::parse(bytes, 0, budget)?;
    let outside = Outside::Zip(archive, folder);
    let mut graph = Graph::new(&pickle, base, outside, big_endian);
    read(&mut graph, storages)
}

fn read_graph(
    graph: &mut Graph,
    section: Option<&str>,
    storages: &mut Storages,
) -> Result<Parts, CheckpointError> {
    let is_script = graph.is_scripts();
    let state = match graph.state_dict(section, storages) {
        Err(CheckpointError::NoTensors { .. }) if is_script && section.is_none() => {
            return Err(CheckpointError::Unsupported {
                what: "TorchScript whose module holds no tensors (as `torch.jit.freeze` leaves it)"
                    .to_owned(),
                help: "in Python, save the model that it was made from: torch.save(model.state_dict(), 'model.pth')",
            });
        }
        state => state?,
    };
    let mut meta = graph.meta(&state.section, storages);
    if is_script {
        let fact = ("saved as".to_owned(), "TorchScript".to_owned());
        meta.facts.push(fact);
    }
    graph.pickle.budget.check()?;
    Ok((state, meta))
}

/// That no part of a file is asked for where the format has none.
fn no_section(section: Option<&str>, format: Format) -> Result<(), CheckpointError> {
    match section.filter(|section| !section.is_empty()) {
        Some(section) => Err(CheckpointError::Unsupported {
            what: format!("section `{section}` of a file of {format}, which has no sections"),
            help: "leave the section out, and choose keys by their prefix",
        }),
        None => Ok(()),
    }
}

/// A plain pickle has no magic number before protocol 2: there, whatever parses to the end is one.
fn read_plain_pickle<'a>(
    file: &'a [u8],
    budget: &Budget,
) -> Result<Option<pickle::Pickle<'a>>, CheckpointError> {
    match file {
        [0x80, 0..=5, ..] => pickle::parse(file, 0, budget).map(Some),
        [b'(' | b'}' | b']' | b'c' | b'd' | b'l', ..] => match pickle::parse(file, 0, budget) {
            Err(error @ CheckpointError::TooLarge { .. }) => Err(error),
            parsed => Ok(parsed.ok()),
        },
        _ => Ok(None),
    }
}
