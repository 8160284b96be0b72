//! Checkpoints of other software, and of older MMDetection, made into such as MMDetection 3 loads: names, and the order of rows.
//!
//! A conversion is a plan ([`Conversion`]): which tensors of the file are written under which names, and which of their rows in which order. Nothing is
//! copied before it is written. What was done is counted ([`Changes`]), since a converter that silently drops a layer costs its user a day.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::Write;

use super::error::{MAX_NAME, shortened};
use super::save::{SaveError, Saved, write_safetensors, write_torch};
use super::{Checkpoint, CheckpointError, DType, Dict, TensorView};

mod detector;
mod detectron2;
mod native;
mod regnet;
#[cfg(test)]
mod tests;
mod torchvision;
mod upgrade;

pub use detectron2::detectron2_to_mmdet;
pub use native::detectron2_native;
pub use regnet::regnet_to_mmdet;
pub use torchvision::torchvision_to_mmdet;
pub use upgrade::{Upgrade, upgrade_model_version, upgrade_ssd_version};

/// Reasons for dropping and reordering that are listed, each with its first tensor; the rest is counted.
const MAX_LISTED: usize = 24;

/// Why a checkpoint cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertError {
    /// A tensor cannot be read.
    Read(CheckpointError),
    /// The file is not what this converter reads.
    NotThis {
        /// What it would be, such as `a Detectron2 checkpoint`.
        wanted: &'static str,
        /// What was found.
        found: String,
        /// What to do.
        help: &'static str,
    },
    /// A tensor of a shape that none has there.
    Shape {
        /// Its key.
        key: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// Two tensors of the file would get the same name.
    Clash {
        /// The name.
        name: String,
        /// The second tensor.
        key: String,
    },
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |key: &str| shortened(key, MAX_NAME).into_owned();
        match self {
            Self::Read(error) => error.fmt(f),
            Self::NotThis {
                wanted,
                found,
                help,
            } => write!(f, "this is not {wanted}: {found}\nhelp: {help}"),
            Self::Shape {
                key,
                shape,
                expected,
            } => write!(
                f,
                "`{}` has shape {shape:?}, expected {expected}",
                short(key)
            ),
            Self::Clash { name, key } => write!(
                f,
                "`{}` of the file would be `{}`, and there is one already",
                short(key),
                short(name)
            ),
        }
    }
}

impl std::error::Error for ConvertError {}

impl From<CheckpointError> for ConvertError {
    fn from(error: CheckpointError) -> Self {
        Self::Read(error)
    }
}

/// A tensor of the file, or rows of it: slices along its first dimension, in an order of their own.
#[derive(Clone)]
pub struct Piece<'a> {
    view: TensorView<'a>,
    shape: Vec<usize>,
    rows: Option<Vec<usize>>,
}

impl Saved for Piece<'_> {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn dtype(&self) -> DType {
        self.view.dtype()
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        let bytes = TensorView::bytes(&self.view).map_err(|error| error.to_string())?;
        let Some(rows) = &self.rows else {
            return Ok(bytes.into());
        };
        let count = self.view.shape().first().copied().unwrap_or(1);
        let size = bytes.len() / count.max(1);
        let row = |&row: &usize| bytes.get(row * size..(row + 1) * size);
        let picked: Option<Vec<&[u8]>> = rows.iter().map(row).collect();
        let picked = picked.ok_or("a row beyond the last")?;
        Ok(picked.concat().into())
    }

    fn tied(&self) -> Option<usize> {
        match self.rows {
            None => self.view.whole_storage(),
            Some(_) => None,
        }
    }
}

/// What a conversion does to the tensors of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tensors that stay as they are, under their names.
    pub kept: usize,
    /// Tensors that get another name only, and the first of them: old and new.
    pub renamed: usize,
    /// The first that is renamed: old name and new.
    pub first_renamed: Option<(String, String)>,
    /// Tensors of which rows are moved or left out: the new name, and what was done.
    pub reordered: Vec<(String, String)>,
    /// Tensors that are left out: the name, and why.
    pub dropped: Vec<(String, String)>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} kept", self.kept)?;
        write!(f, "\n{:>6} renamed", self.renamed)?;
        if let Some((old, new)) = &self.first_renamed {
            let (old, new) = (shortened(old, MAX_NAME), shortened(new, MAX_NAME));
            write!(f, ", such as `{old}` to `{new}`")?;
        }
        list(f, "reordered", &self.reordered)?;
        list(f, "dropped", &self.dropped)?;
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

/// How many there are, and the first of them, each with its reason.
fn list(f: &mut fmt::Formatter<'_>, what: &str, items: &[(String, String)]) -> fmt::Result {
    write!(f, "\n{:>6} {what}", items.len())?;
    for (name, why) in items.iter().take(MAX_LISTED) {
        write!(f, "\n         `{}`: {why}", shortened(name, MAX_NAME))?;
    }
    match items.len().saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => write!(f, "\n         and {more} more"),
    }
}

/// A converted checkpoint, not yet written.
pub struct Conversion<'a> {
    tensors: Vec<(String, Piece<'a>)>,
    names: HashSet<String>,
    /// What the new file says beside its tensors.
    pub meta: Dict,
    /// The config that goes with the new file, where the converter knows it.
    pub config: Option<String>,
    /// What was done.
    pub changes: Changes,
}

impl<'a> Conversion<'a> {
    fn new(meta: Dict) -> Self {
        Self {
            tensors: Vec::new(),
            names: HashSet::new(),
            meta,
            config: None,
            changes: Changes::default(),
        }
    }

    /// All tensors of a checkpoint as they are, without what training goes on from: optimizer, schedules, and values before averaging.
    ///
    /// # Errors
    /// [`ConvertError::Read`].
    pub fn unchanged(checkpoint: &'a Checkpoint) -> Result<Self, ConvertError> {
        let mut new = Self::new(checkpoint.meta().to_dict());
        for key in checkpoint.keys() {
            new.rename(checkpoint.tensor(key)?, key)?;
        }
        let others = &checkpoint.meta().others;
        for (name, what) in others.iter().chain(&checkpoint.state().not_tensors) {
            new.leave_out(name, what);
        }
        match checkpoint.state().ema_shadows {
            0 => {}
            count => new.leave_out("ema_...", &format!("{count} values before averaging")),
        }
        Ok(new)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// True without any tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensors by name, in their order.
    pub fn tensors(&self) -> &[(String, Piece<'a>)] {
        &self.tensors
    }

    /// Writes a `.pth`.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn write_torch(&self, out: impl Write) -> Result<(), SaveError> {
        write_torch(out, &self.tensors, &self.meta)
    }

    /// Writes a `.safetensors` file, with those facts that are texts and numbers.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn write_safetensors(&self, out: impl Write) -> Result<(), SaveError> {
        let mut facts = vec![("format".to_owned(), "pt".to_owned())];
        for (name, value) in self.meta.iter() {
            if matches!(name, "format" | "cfg") {
                continue;
            }
            let text = value.text().map(str::to_owned);
            let text = text.or_else(|| Some(value.int()?.to_string()));
            facts.extend(text.map(|text| (name.to_owned(), text)));
        }
        write_safetensors(out, &self.tensors, &facts)
    }

    /// Takes a tensor under a name, its own or another.
    fn rename(&mut self, view: TensorView<'a>, name: &str) -> Result<(), ConvertError> {
        let shape = view.shape().to_vec();
        let piece = Piece {
            view,
            shape,
            rows: None,
        };
        self.put(name, piece)?;
        if view.key == name {
            self.changes.kept += 1;
            return Ok(());
        }
        self.changes.renamed += 1;
        let first = &mut self.changes.first_renamed;
        first.get_or_insert_with(|| (view.key.to_owned(), name.to_owned()));
        Ok(())
    }

    /// Takes these rows of a tensor, in this order.
    fn rows(
        &mut self,
        view: TensorView<'a>,
        name: &str,
        rows: Vec<usize>,
        what: &str,
    ) -> Result<(), ConvertError> {
        let count = view.shape().first().copied().unwrap_or(0);
        if rows.iter().copied().eq(0..count) {
            return self.rename(view, name);
        }
        let mut shape = view.shape().to_vec();
        let Some(first) = shape
            .first_mut()
            .filter(|_| rows.iter().all(|&r| r < count))
        else {
            return Err(wrong_shape(&view, "more rows"));
        };
        *first = rows.len();
        let rows = Some(rows);
        self.put(name, Piece { view, shape, rows })?;
        let change = (name.to_owned(), what.to_owned());
        self.changes.reordered.push(change);
        Ok(())
    }

    /// Leaves a tensor out.
    fn leave_out(&mut self, key: &str, why: &str) {
        self.changes.dropped.push((key.to_owned(), why.to_owned()));
    }

    fn put(&mut self, name: &str, piece: Piece<'a>) -> Result<(), ConvertError> {
        if !self.names.insert(name.to_owned()) {
            return Err(ConvertError::Clash {
                name: name.to_owned(),
                key: piece.view.key.to_owned(),
            });
        }
        self.tensors.push((name.to_owned(), piece));
        Ok(())
    }

    fn note(&mut self, note: impl Into<String>) {
        self.changes.notes.push(note.into());
    }
}

/// The rows of a tensor whose class 0 is the background: that last, or left out. `groups` comes first: anchors, each with all classes, of which
/// each has `size` rows. `classes` are those that stay, by their old number.
fn background_first(
    groups: usize,
    count: usize,
    size: usize,
    classes: &[usize],
    keep_background: bool,
) -> Vec<usize> {
    let background = keep_background.then_some(0);
    let order = classes.iter().copied().chain(background);
    let in_order: Vec<usize> = order.flat_map(|c| c * size..(c + 1) * size).collect();
    let group = |g: usize| in_order.iter().map(move |row| g * count * size + row);
    (0..groups).flat_map(group).collect()
}

fn wrong_shape(view: &TensorView<'_>, expected: impl Into<String>) -> ConvertError {
    ConvertError::Shape {
        key: view.key.to_owned(),
        shape: view.shape().to_vec(),
        expected: expected.into(),
    }
}

/// The first dimension of a tensor, which all layers' weights and biases have.
fn row_count(view: &TensorView<'_>) -> Result<usize, ConvertError> {
    let first = view.shape().first().copied();
    first.ok_or_else(|| wrong_shape(view, "at least one dimension"))
}

/// The first key, for saying what was found instead.
fn first_key(checkpoint: &Checkpoint) -> String {
    let key = checkpoint.keys().next().unwrap_or_default();
    format!("its first tensor is `{}`", shortened(key, MAX_NAME))
}
