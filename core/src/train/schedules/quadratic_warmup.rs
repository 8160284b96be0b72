//! MMDetection's `QuadraticWarmup` (YOLOX, Ge et al. 2021, arXiv 2107.08430): the value grows as the square of the steps done.
use std::sync::Arc;

use serde::Deserialize;

use super::span::{INF, Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, error_at};

#[derive(Deserialize)]
struct Config {}

#[derive(Debug)]
struct QuadraticWarmup {
    total: f64,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let Config {} = own(node)?;
    if span.end >= INF {
        let message = "`end` is where the warm-up ends";
        return Err(error_at(node, "end", message, ""));
    }
    let total = span.steps();
    Ok(Rule::Formula(Arc::new(QuadraticWarmup { total })))
}

impl Formula for QuadraticWarmup {
    fn next(&self, at: &At) -> f64 {
        let before = if at.step == 0.0 { 0.0 } else { at.value };
        before + at.base * (2.0 * at.step + 1.0) / self.total.powi(2)
    }
}
