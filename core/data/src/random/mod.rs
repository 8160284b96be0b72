//! Random numbers for transforms: a source whose calls are numpy's, so that a recording of numpy's can be replayed.
//!
//! [`Random::answer`] is all that a source does; the functions of `dyn Random` are named and called as in MMDetection's source, with
//! the same arguments, because a replay checks them.

mod call;
mod counter;
mod legacy;
mod numpy;
mod python;
mod replay;

pub use call::{Answer, Call, Choice, Draw, RandomError};
pub use counter::Counter;
pub use numpy::Numpy;
pub use python::Python;
pub use replay::{Recorded, Replay};

/// A source of random numbers.
pub trait Random: Send {
    /// Answers one call.
    ///
    /// # Errors
    /// Only a replay fails: another call was recorded, or none is left. And impossible arguments (an empty range).
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError>;
}
