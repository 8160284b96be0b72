//! Values for a model from a checkpoint.

use std::sync::Arc;

use super::{StateEntry, TensorSource};
use crate::weights::{Checkpoint, Wanted};

/// The tensors of a checkpoint, found below a prefix.
pub struct StateSource {
    checkpoint: Arc<Checkpoint>,
    prefix: String,
}

impl StateSource {
    /// `prefix` is what the checkpoint's keys have before ours: `backbone.` or `backbone` for a backbone out of a whole model.
    pub fn new(checkpoint: Arc<Checkpoint>, prefix: Option<&str>) -> Self {
        let prefix = checkpoint.prefix(prefix);
        Self { checkpoint, prefix }
    }
}

impl TensorSource for StateSource {
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
        let view = self
            .checkpoint
            .get(&format!("{}{}", self.prefix, entry.key))?;
        // A scalar may be stored as `[1]`. Other shapes are no match; the load report names them.
        let fits = view.shape() == entry.shape || view.shape() == [1] && entry.shape.is_empty();
        if !fits {
            return None;
        }
        view.f32().ok()
    }
}

impl From<StateEntry> for Wanted {
    fn from(entry: StateEntry) -> Self {
        Self {
            key: entry.key,
            shape: entry.shape,
            once: entry.once,
        }
    }
}
