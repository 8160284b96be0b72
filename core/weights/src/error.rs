//! What can go wrong while a checkpoint is read.

use std::borrow::Cow;
use std::fmt;

use smalti_config::line;

use super::state::MAX_TENSORS;

/// Longest reason that is told, in bytes.
pub(crate) const MAX_WHY: usize = 400;
/// A name that a file gives is quoted up to so many bytes.
pub(crate) const MAX_NAME: usize = 200;

/// Why a checkpoint, or one tensor of it, cannot be read.
///
/// Every reader in this module returns this for a malformed or hostile file; none panics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The content is none of the formats that are known; holds what it looks like.
    UnknownFormat {
        /// What the first bytes look like.
        looks_like: String,
    },
    /// A format that is recognised but not read, with what to do instead.
    Unsupported {
        /// The format or feature.
        what: String,
        /// What to do instead.
        help: &'static str,
    },
    /// The file breaks the rules of its format: often a download that stopped early.
    Malformed {
        /// The format or part being read, such as `pickle` or `zip archive`.
        part: &'static str,
        /// Byte offset within that part.
        at: usize,
        /// What was found and what was expected.
        why: String,
    },
    /// The file asks for more than any real checkpoint needs.
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in the unit that `what` says.
        limit: u64,
    },
    /// The file was read, but it holds no tensors by name.
    NoTensors {
        /// What it holds instead.
        found: String,
    },
    /// The state dict has no such key.
    NoSuchKey {
        /// The key asked for.
        key: String,
        /// The nearest key there is.
        nearest: Option<String>,
    },
    /// This tensor cannot be read; the others of the file can.
    Unreadable {
        /// The tensor's key.
        key: String,
        /// Why.
        why: String,
    },
    /// No training can go on from this file.
    NotTraining {
        /// What it lacks.
        lacks: &'static str,
    },
    /// One file of a checkpoint in several.
    InFile {
        /// Its name.
        name: String,
        /// Why it cannot be read.
        error: Box<CheckpointError>,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat { looks_like } => write!(
                f,
                "not a checkpoint: {looks_like}; expected a .pth or .pkl of PyTorch or Detectron2, .safetensors, or burnpack"
            ),
            Self::Unsupported { what, help } => write!(f, "cannot read {what}; {help}"),
            Self::Malformed { part, at, why } => {
                write!(f, "damaged {part} at byte {at}: {why}")
            }
            Self::TooLarge { what, limit } => {
                write!(f, "refused: {what} (the limit is {limit})")
            }
            Self::NoTensors { found } => {
                write!(f, "no named tensors in this file: it holds {found}")
            }
            Self::NoSuchKey { key, nearest } => {
                write!(
                    f,
                    "no tensor `{}` in the checkpoint",
                    shortened(key, MAX_NAME)
                )?;
                match nearest {
                    Some(nearest) => {
                        write!(f, "; the nearest is `{}`", shortened(nearest, MAX_NAME))
                    }
                    None => Ok(()),
                }
            }
            Self::NotTraining { lacks } => write!(
                f,
                "no training can go on from this file, it lacks {lacks}: give a checkpoint that training saved, or load the weights alone (`load_from`)"
            ),
            Self::InFile { name, error } => write!(f, "in `{name}`: {error}"),
            Self::Unreadable { key, why } => {
                write!(
                    f,
                    "tensor `{}` cannot be read: {why}",
                    shortened(key, MAX_NAME)
                )
            }
        }
    }
}

impl std::error::Error for CheckpointError {}

impl CheckpointError {
    /// A broken rule of `part` at byte `at`.
    pub(crate) fn malformed(part: &'static str, at: usize, why: impl Into<String>) -> Self {
        let why = shortened(&why.into(), MAX_WHY).into_owned();
        Self::Malformed { part, at, why }
    }

    /// More tensors than are read.
    pub(crate) fn too_many_tensors() -> Self {
        Self::TooLarge {
            what: "a file with more tensors, or longer names of them, than any model has"
                .to_owned(),
            limit: MAX_TENSORS as u64,
        }
    }
}

/// At most `max` bytes of a text that comes from a file, and `...` if that is not all.
pub(crate) fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return line(text);
    }
    let cut = (0..=max).rev().find(|&at| text.is_char_boundary(at));
    let shown = line(&text[..cut.unwrap_or(0)]);
    Cow::Owned(format!("{shown}..."))
}
