//! [`Uploads`]: which pictures in memory lie on the device too.

use std::sync::{Arc, Weak};

use super::Held;
use crate::data::image::Samples;

/// Copies on the device of pictures in memory, so that one that several steps use is uploaded once.
///
/// A copy lives as long as the samples; those least used go when all are larger than [`Uploads::MOST`].
#[derive(Default)]
pub(super) struct Uploads {
    /// The latest used last.
    copies: Vec<(Weak<Samples>, Arc<Held>)>,
}

impl Uploads {
    /// Words.
    const MOST: usize = 64 << 20;

    pub(super) fn find(&mut self, samples: &Arc<Samples>) -> Option<Arc<Held>> {
        let same = |(of, _): &(Weak<Samples>, Arc<Held>)| of.as_ptr() == Arc::as_ptr(samples);
        let at = self.copies.iter().position(same)?;
        let copy = self.copies.remove(at);
        let held = copy.1.clone();
        self.copies.push(copy);
        Some(held)
    }

    pub(super) fn keep(&mut self, samples: &Arc<Samples>, held: Arc<Held>) {
        self.copies.retain(|(of, _)| of.strong_count() > 0);
        self.copies.push((Arc::downgrade(samples), held));
        let mut words: usize = self.copies.iter().map(|(_, h)| h.buffer.words()).sum();
        while words > Self::MOST && self.copies.len() > 1 {
            words -= self.copies.remove(0).1.buffer.words();
        }
    }
}
