//! `Exponential`: `gamma` times the value at every step but the first.
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node};

#[derive(Debug, Deserialize)]
struct Exponential {
    gamma: f64,
}

pub(super) fn read(node: &Node, _: &Span) -> Result<Rule, Diagnostics> {
    Ok(Rule::Formula(Arc::new(own::<Exponential>(node)?)))
}

impl Formula for Exponential {
    fn next(&self, at: &At) -> f64 {
        if at.step == 0.0 {
            at.value
        } else {
            at.value * self.gamma
        }
    }
}
