//! Checkpoints written: PyTorch's `.pth` and `.safetensors`, tensor by tensor, so that never more than one is held in memory for it.
//!
//! Both go to any [`std::io::Write`]; that a file appears whole or not at all is the business of whoever opens it (`host::files`).

use std::borrow::Cow;
use std::{fmt, io};

use super::dtype::DType;
use super::error::{MAX_NAME, shortened};
use super::tensor::element_count;

mod pickler;
mod safetensors;
mod torch;
mod weights;
mod zip;

pub use safetensors::write_safetensors;
pub use torch::write_torch;
pub use weights::Altered;

pub(crate) use pickler::Pickler;
pub(crate) use torch::write_archive;

/// A tensor that can be saved. It is asked for its elements once, when its turn comes.
pub trait Saved {
    /// Sizes, outermost dimension first; empty for a single number.
    fn shape(&self) -> &[usize];

    /// Element type in the file.
    fn dtype(&self) -> DType;

    /// The elements, row-major, little-endian.
    ///
    /// # Errors
    /// Why they cannot be had.
    fn bytes(&self) -> Result<Cow<'_, [u8]>, String>;

    /// Tensors with the same number here are one, and a `.pth` holds it once: weights that are tied.
    fn tied(&self) -> Option<usize> {
        None
    }
}

impl Saved for Box<dyn Saved + '_> {
    fn shape(&self) -> &[usize] {
        (**self).shape()
    }

    fn dtype(&self) -> DType {
        (**self).dtype()
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        (**self).bytes()
    }

    fn tied(&self) -> Option<usize> {
        (**self).tied()
    }
}

/// Numbers to be saved, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers<'a> {
    shape: Vec<usize>,
    elements: Elements<'a>,
}

#[derive(Debug, Clone, PartialEq)]
enum Elements<'a> {
    F32(Cow<'a, [f32]>),
    I64(Cow<'a, [i64]>),
}

impl<'a> Numbers<'a> {
    /// Floats of this shape.
    pub fn f32(shape: &[usize], elements: impl Into<Cow<'a, [f32]>>) -> Self {
        Self {
            shape: shape.to_vec(),
            elements: Elements::F32(elements.into()),
        }
    }

    /// Integers of this shape, such as a norm's counter.
    pub fn i64(shape: &[usize], elements: impl Into<Cow<'a, [i64]>>) -> Self {
        Self {
            shape: shape.to_vec(),
            elements: Elements::I64(elements.into()),
        }
    }
}

impl Saved for Numbers<'_> {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn dtype(&self) -> DType {
        match self.elements {
            Elements::F32(_) => DType::F32,
            Elements::I64(_) => DType::I64,
        }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        let bytes: Vec<u8> = match &self.elements {
            Elements::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Elements::I64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        Ok(bytes.into())
    }
}

/// Why a checkpoint cannot be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SaveError {
    /// A tensor cannot be had, or not be put into this format.
    Tensor {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
    /// The file cannot be written.
    Write(io::Error),
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor { key, why } => {
                let key = shortened(key, MAX_NAME);
                write!(f, "tensor `{key}` cannot be saved: {why}")
            }
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write(error) => Some(error),
            Self::Tensor { .. } => None,
        }
    }
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl SaveError {
    fn tensor(key: &str, why: impl Into<String>) -> Self {
        Self::Tensor {
            key: key.to_owned(),
            why: why.into(),
        }
    }
}

/// Bytes that a tensor takes.
fn size_of(key: &str, tensor: &dyn Saved) -> Result<usize, SaveError> {
    let shape = tensor.shape();
    element_count(shape)
        .and_then(|count| count.checked_mul(tensor.dtype().size()))
        .ok_or_else(|| SaveError::tensor(key, format!("shape {shape:?} overflows")))
}

/// A tensor's elements, as many as its shape says.
fn elements_of<'t>(key: &str, tensor: &'t dyn Saved) -> Result<Cow<'t, [u8]>, SaveError> {
    let size = size_of(key, tensor)?;
    let bytes = tensor.bytes().map_err(|why| SaveError::tensor(key, why))?;
    if bytes.len() != size {
        let why = format!(
            "{} bytes were given for shape {:?} of {}",
            bytes.len(),
            tensor.shape(),
            tensor.dtype()
        );
        return Err(SaveError::tensor(key, why));
    }
    Ok(bytes)
}
