//! Compressed storages that were inflated, the latest of them kept.
//!
//! Tensors mostly have a storage each, so keeping all would hold a model in memory twice; but many can look into one. A few are
//! kept, and the work of inflating others again is bounded by what the caller has got for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::error::CheckpointError;

/// Storages kept have at most so many bytes together, unless the latest has more.
const MAX_KEPT: usize = 128 << 20;
/// Bytes that may be inflated beyond all storages once, and beyond [`WORK`] ...
const FREE_WORK: usize = 512 << 20;
/// ... times the bytes of the tensors that were read.
const WORK: usize = 4;

/// What was inflated.
#[derive(Debug, Default)]
pub(super) struct Inflated {
    /// Storages by number, the oldest first.
    kept: VecDeque<(usize, Arc<Vec<u8>>)>,
    /// Storages that cannot be inflated, by number.
    failed: HashMap<usize, CheckpointError>,
    /// Bytes inflated so far.
    pub work: usize,
    /// Bytes of the tensors that were asked for.
    read: usize,
}

impl Inflated {
    /// The bytes of storage `index`, which has `size` of them, for a tensor of `read` bytes. `once` is the size of all storages.
    pub fn get(
        &mut self,
        index: usize,
        size: usize,
        read: usize,
        once: usize,
        inflate: impl FnOnce() -> Result<Vec<u8>, CheckpointError>,
    ) -> Result<Arc<Vec<u8>>, CheckpointError> {
        self.read = self.read.saturating_add(read);
        if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| *kept == index) {
            return Ok(bytes.clone());
        }
        if let Some(error) = self.failed.get(&index) {
            return Err(error.clone());
        }
        let limit = once.saturating_add(FREE_WORK);
        let limit = limit.saturating_add(self.read.saturating_mul(WORK));
        let work = self.work.saturating_add(size);
        if work > limit {
            return Err(CheckpointError::TooLarge {
                what: "compressed storages that small tensors take turns in: zip the archive again without compression"
                    .to_owned(),
                limit: limit as u64,
            });
        }
        self.work = work;
        // Room is made first, so that there are never more in memory.
        while self.kept_bytes().saturating_add(size) > MAX_KEPT && self.kept.pop_front().is_some() {
        }
        match inflate() {
            Ok(bytes) => {
                let bytes = Arc::new(bytes);
                self.kept.push_back((index, bytes.clone()));
                Ok(bytes)
            }
            Err(error) => {
                self.failed.insert(index, error.clone());
                Err(error)
            }
        }
    }

    /// Bytes that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    /// Asks `times` times for tensors of `read` bytes, of these storages of `size` bytes in turn: how often one was inflated, the most
    /// that was kept, and how often that was refused.
    fn ask(storages: usize, size: usize, read: usize, times: usize) -> (usize, usize, usize) {
        let mut inflated = Inflated::default();
        let (mut count, mut most, mut refused) = (0, 0, 0);
        for i in 0..times {
            let inflate = || {
                count += 1;
                Ok(vec![0; size])
            };
            let got = inflated.get(i % storages, size, read, storages * size, inflate);
            refused += usize::from(got.is_err());
            most = most.max(inflated.kept_bytes());
        }
        (count, most, refused)
    }

    #[test]
    fn few_are_kept_and_small_tensors_that_take_turns_are_refused() {
        // What fits is inflated once.
        assert_eq!(ask(4, 32 * MB, 4, 1000), (4, 128 * MB, 0));
        assert_eq!(ask(1, 400 * MB, 4, 1000), (1, 400 * MB, 0));
        // Two that do not fit: (200 + 512) MB are inflated, whatever the number of tensors.
        assert_eq!(ask(2, 100 * MB, 4, 1000), (7, 100 * MB, 497));
        // A caller that gets a quarter of what is inflated may go on.
        assert_eq!(ask(2, 100 * MB, 25 * MB, 50), (50, 100 * MB, 0));
        // Each one once is never refused.
        assert_eq!(ask(50, 100 * MB, 4, 50), (50, 100 * MB, 0));
    }

    #[test]
    fn a_damaged_one_is_inflated_once() {
        let mut inflated = Inflated::default();
        let mut count = 0;
        for _ in 0..3 {
            let got = inflated.get(0, MB, 4, MB, || {
                count += 1;
                Err(CheckpointError::malformed("zip archive", 0, "damaged"))
            });
            assert!(got.unwrap_err().to_string().contains("damaged"));
        }
        assert_eq!((count, inflated.work), (1, MB));
    }
}
