//! Samples of an epoch: which, in which order, by how many threads.

pub mod in_order;
pub mod loader;
pub mod samplers;
