//! The weights of a checkpoint that was read, written in another form: without what training goes on from.

use std::borrow::Cow;
use std::io::Write;

use super::{SaveError, Saved, write_safetensors, write_torch};
use crate::dtype::DType;
use crate::meta::Meta;
use crate::plain::{Dict, Plain};
use crate::tensor::TensorView;
use crate::{Checkpoint, CheckpointError};

impl Saved for TensorView<'_> {
    fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    fn dtype(&self) -> DType {
        self.info.dtype
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        let bytes = TensorView::bytes(self).map_err(|error| error.to_string())?;
        Ok(bytes.into())
    }

    fn tied(&self) -> Option<usize> {
        self.whole_storage()
    }
}

impl Checkpoint {
    /// Writes a `.pth` as MMDetection publishes them: all tensors, and of the rest epoch, iteration, config, classes and facts.
    ///
    /// # Errors
    /// [`SaveError`], also for a tensor that cannot be read.
    pub fn write_torch(&self, out: impl Write) -> Result<(), SaveError> {
        self.altered()?.write_torch(out)
    }

    /// Writes a `.safetensors` file: all tensors, and as its metadata epoch, iteration and facts.
    ///
    /// # Errors
    /// [`SaveError`], also for a tensor that cannot be read.
    pub fn write_safetensors(&self, out: impl Write) -> Result<(), SaveError> {
        self.altered()?.write_safetensors(out)
    }

    /// The same checkpoint, whose tensors can be changed before it is written.
    ///
    /// # Errors
    /// [`SaveError`] for a tensor that cannot be read.
    pub fn altered(&self) -> Result<Altered<'_>, SaveError> {
        let tensor = |key: &str| match self.tensor(key) {
            Ok(tensor) => Ok((key.to_owned(), Box::new(tensor) as Box<dyn Saved>)),
            Err(CheckpointError::Unreadable { why, .. }) => Err(SaveError::tensor(key, why)),
            Err(error) => Err(SaveError::tensor(key, error.to_string())),
        };
        Ok(Altered {
            meta: self.meta(),
            tensors: self.keys().map(tensor).collect::<Result<_, _>>()?,
        })
    }
}

/// A checkpoint that is to be written: its tensors can be others than those that were read.
pub struct Altered<'c> {
    meta: &'c Meta,
    /// Keys and tensors, in order.
    pub tensors: Vec<(String, Box<dyn Saved + 'c>)>,
}

impl Altered<'_> {
    /// As [`Checkpoint::write_torch`].
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn write_torch(&self, out: impl Write) -> Result<(), SaveError> {
        write_torch(out, &self.tensors, &self.meta.to_dict())
    }

    /// As [`Checkpoint::write_safetensors`].
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn write_safetensors(&self, out: impl Write) -> Result<(), SaveError> {
        let meta = self.meta;
        let mut facts = vec![("format".to_owned(), "pt".to_owned())];
        for (name, number) in [("epoch", meta.epoch), ("iter", meta.iter)] {
            facts.extend(number.map(|n| (name.to_owned(), n.to_string())));
        }
        let others = meta.facts.iter().filter(|(name, _)| name != "format");
        facts.extend(others.cloned());
        write_safetensors(out, &self.tensors, &facts)
    }
}

impl Meta {
    pub(crate) fn to_dict(&self) -> Dict {
        let mut dict = Dict::new();
        for (name, number) in [("epoch", self.epoch), ("iter", self.iter)] {
            if let Some(number) = number {
                dict.insert(name, number);
            }
        }
        if let Some(config) = &self.config {
            dict.insert("cfg", config.as_str());
        }
        if !self.classes.is_empty() {
            let classes = Plain::tuple(self.classes.iter().map(String::as_str));
            dict.insert("dataset_meta", Dict::new().with("classes", classes));
        }
        for (name, fact) in &self.facts {
            if dict.get(name).is_none() {
                dict.0.push((name.as_str().into(), fact.as_str().into()));
            }
        }
        dict
    }
}
