//! What looking at a file's pickles may cost, however often their values refer to each other.
//!
//! A pickle of a megabyte can name one long key a million times, or one large dict in a million places. So every
//! text that is decoded, every pair that is looked at and every item that is kept is paid for; when the steps are used up
//! all questions are answered by nothing, and the reader that asked last refuses the file ([`Budget::check`]).

use std::cell::Cell;
use std::rc::Rc;

use crate::error::CheckpointError;

/// A step is a byte decoded, or work of about a nanosecond: a second or so in all. A checkpoint of 100,000 tensors
/// takes 200 million.
pub(crate) const MAX_STEPS: u64 = 1_000_000_000;
/// At most so many nodes in pickles that are kept at the same time (a checkpoint of a large model with its optimizer has
/// about a hundred thousand). With what hangs on them this bounds the memory to some hundred MB, for whatever file.
pub(crate) const MAX_NODES: usize = 2_000_000;
/// Nodes in the pickles of one storage, which hold its name and type alone.
const MAX_INNER_NODES: usize = 10_000;

/// Steps and nodes that are left; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    steps: Rc<Cell<u64>>,
    nodes: Rc<Cell<usize>>,
    most: usize,
}

impl Budget {
    /// For one file.
    pub fn new() -> Self {
        Self::of_values(MAX_NODES)
    }

    /// For one file that may have more values, or fewer, than a checkpoint.
    pub fn of_values(most: usize) -> Self {
        Self {
            steps: Rc::new(Cell::new(MAX_STEPS)),
            nodes: Rc::new(Cell::new(most)),
            most,
        }
    }

    /// How many nodes and memo entries a file may have.
    pub fn most(&self) -> usize {
        self.most
    }

    /// For a storage's own pickles inside the file's pickle, dropped before the next: the same steps, a few nodes of its own.
    pub fn inner(&self) -> Self {
        Self {
            steps: self.steps.clone(),
            nodes: Rc::new(Cell::new(MAX_INNER_NODES)),
            most: self.most,
        }
    }

    /// Pays; None when there is not enough left, from then on for every price.
    pub fn spend(&self, steps: usize) -> Option<()> {
        let left = self.steps.get().checked_sub(steps as u64);
        self.steps.set(left.unwrap_or(0));
        left.filter(|left| *left > 0).map(drop)
    }

    /// Pays for one node.
    pub fn add_node(&self) -> Option<()> {
        self.nodes.set(self.nodes.get().checked_sub(1)?);
        Some(())
    }

    /// Whether everything could be paid for.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn check(&self) -> Result<(), CheckpointError> {
        if self.steps.get() > 0 {
            return Ok(());
        }
        Err(CheckpointError::TooLarge {
            what: "a pickle that takes too many steps to read: it has more values than any checkpoint, or they refer to each other more often"
                .into(),
            limit: MAX_STEPS,
        })
    }

    /// Steps taken so far.
    #[cfg(test)]
    pub fn spent(&self) -> u64 {
        MAX_STEPS - self.steps.get()
    }
}
