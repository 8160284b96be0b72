//! Values for a model from a checkpoint.

use std::sync::Arc;

use super::{StateEntry, TensorSource};
use crate::weights::{Checkpoint, Wanted};

/// The tensors of a checkpoint, found below a prefix.
pub struct StateSource {
    checkpoint: Arc<Checkpoint>,
    prefix: String,
    fault: Option<String>,
}

impl StateSource {
    /// `prefix` is what the checkpoint's keys have before ours: `backbone.` or `backbone` for a backbone out of a whole model.
    pub fn new(checkpoint: Arc<Checkpoint>, prefix: Option<&str>) -> Self {
        let prefix = checkpoint.prefix(prefix);
        Self {
            checkpoint,
            prefix,
            fault: None,
        }
    }
}

impl TensorSource for StateSource {
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
        self.fault = None;
        let name = format!("{}{}", self.prefix, entry.key);
        let Some(view) = self.checkpoint.get(&name) else {
            self.fault = self.checkpoint.fault(&name).map(String::from);
            return None;
        };
        // A scalar may be stored as `[1]`. Other shapes are no match; the load report names them.
        let fits = view.shape() == entry.shape || view.shape() == [1] && entry.shape.is_empty();
        if !fits && entry.resized.is_none() {
            return None;
        }
        match view.f32() {
            Ok(values) if fits => Some(values),
            Ok(values) => (entry.resized)?.fit(view.shape(), &values, &entry.shape),
            Err(error) => {
                self.fault = Some(error.to_string());
                None
            }
        }
    }

    fn fault(&mut self) -> Option<String> {
        self.fault.take()
    }
}

/// What a checkpoint has under one of its names.
pub struct Stored {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Vec<f32>,
}

/// Finds the values of one of our tensors among a checkpoint's, which it gets by their names.
pub type Find = fn(&StateEntry, &dyn Fn(&str) -> Option<Stored>) -> Option<Vec<f32>>;

/// The tensors of a checkpoint that has other names and layouts than ours.
pub struct ForeignSource {
    checkpoint: Arc<Checkpoint>,
    find: Find,
}

impl ForeignSource {
    /// `find` knows the names and layouts.
    pub fn new(checkpoint: Arc<Checkpoint>, find: Find) -> Self {
        Self { checkpoint, find }
    }
}

impl TensorSource for ForeignSource {
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
        let stored = |name: &str| {
            let view = self.checkpoint.get(name)?;
            Some(Stored {
                shape: view.shape().to_vec(),
                values: view.f32().ok()?,
            })
        };
        let values = (self.find)(entry, &stored)?;
        (values.len() == entry.shape.iter().product::<usize>()).then_some(values)
    }
}

impl From<StateEntry> for Wanted {
    fn from(entry: StateEntry) -> Self {
        Self {
            key: entry.key,
            shape: entry.shape,
            once: entry.once,
            square: entry.resized.map(|resized| resized.extra),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Init, Mode, Params};
    use burn::tensor::Device;

    #[test]
    fn what_cannot_be_read_is_told_and_not_passed_over() {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"C64","shape":[1],"data_offsets":[4,12]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(2.5f32.to_le_bytes());
        file.extend([0; 8]);
        let checkpoint = Arc::new(Checkpoint::read(file).unwrap());
        let source = StateSource::new(checkpoint, None);
        let params = Params::new(&Device::flex(), Mode::Fixed, Some(Box::new(source)));
        let init = Init::Constant(9.0);
        assert_eq!(params.values("a", &[1], init), [2.5]);
        assert_eq!(params.values("b", &[1], init), [9.0]);
        assert_eq!(params.values("c", &[1], init), [9.0]);
        let told = params.unreadable();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].0 == "b" && told[0].1.contains("complex"),
            "{told:?}"
        );
    }
}
