//! Losses: the twins of `loss/`.

pub mod focal;
