//! [`Scalars`]: the figures of a run, one after another, by MMEngine's names (its message hub's `log_scalars`). Those of the device are read
//! back when somebody asks, many at once: nothing waits for an iteration's losses.

use burn::tensor::{Tensor, Transaction};
use indexmap::IndexMap;

use crate::ops::launch::ReadError;

/// The values of each figure; those of one iteration and another may be of different length.
#[derive(Default)]
pub struct Scalars {
    values: IndexMap<String, Vec<f64>>,
    pending: Vec<(String, Tensor<1>)>,
}

/// Values of a figure that are kept, as in MMEngine.
const MOST: usize = 1_000_000;

impl Scalars {
    /// Adds a value.
    pub fn add(&mut self, name: &str, value: f64) {
        match self.values.get_mut(name) {
            Some(values) => {
                if values.len() == MOST {
                    values.drain(..MOST / 2);
                }
                values.push(value);
            }
            None => {
                self.values.insert(name.to_string(), vec![value]);
            }
        }
    }

    /// Adds a value that is on the device, `[1]`.
    pub fn add_later(&mut self, name: &str, value: Tensor<1>) {
        if !self.values.contains_key(name) {
            // its place in the order
            self.values.insert(name.to_string(), Vec::new());
        }
        self.pending.push((name.to_string(), value));
    }

    /// Reads what is on the device.
    ///
    /// # Errors
    /// The device was lost.
    pub async fn read(&mut self) -> Result<(), ReadError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (names, tensors): (Vec<_>, Vec<_>) = self.pending.drain(..).unzip();
        let reads = tensors
            .into_iter()
            .fold(Transaction::default(), |reads, tensor| {
                reads.register(tensor)
            });
        let read = reads.execute_async().await;
        let read = read.map_err(|e| ReadError(format!("{e:?}")))?;
        for (name, data) in names.iter().zip(read) {
            let value = data.iter::<f32>().next().unwrap_or(f32::NAN);
            self.add(name, f64::from(value));
        }
        Ok(())
    }

    /// Names, in the order in which they were added first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// All values that were read.
    pub fn values(&self, name: &str) -> &[f64] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value that was read.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.values(name).last().copied()
    }

    /// The mean of the last `window` values.
    pub fn mean(&self, name: &str, window: usize) -> Option<f64> {
        let values = self.values(name);
        let last = &values[values.len().saturating_sub(window.max(1))..];
        (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn later_values_keep_their_order() {
        let mut scalars = Scalars::default();
        scalars.add("lr", 0.5);
        for value in [1.0, 2.0, 6.0] {
            let value = Tensor::<1>::from_floats([value], &Device::flex());
            scalars.add_later("loss", value);
        }
        scalars.add("time", 1.0);
        assert_eq!(scalars.last("loss"), None);
        pollster::block_on(scalars.read()).unwrap();
        assert_eq!(scalars.names().collect::<Vec<_>>(), ["lr", "loss", "time"]);
        assert_eq!(scalars.mean("loss", 2), Some(4.0));
        assert_eq!(scalars.mean("loss", 99), Some(3.0));
        assert_eq!(scalars.mean("none", 2), None);
    }
}
