//! `Linear`: from `start_factor` to `end_factor` of the value, in equal steps; the warm-up of most of MMDetection's configs.
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own, share};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, error_at};

#[derive(Deserialize)]
struct Config {
    start_factor: Option<f64>,
    end_factor: Option<f64>,
}

#[derive(Debug)]
struct Linear {
    start: f64,
    end: f64,
    total: f64,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    let start = share(
        node,
        "start_factor",
        config.start_factor.unwrap_or(1.0 / 3.0),
    )?;
    let end = share(node, "end_factor", config.end_factor.unwrap_or(1.0))?;
    let total = span.steps() - 1.0;
    if start == 0.0 && total > 0.0 {
        let message = "`start_factor` is 0, from which no factor leads on";
        return Err(error_at(node, "start_factor", message, ""));
    }
    Ok(Rule::Formula(Arc::new(Linear { start, end, total })))
}

impl Formula for Linear {
    fn next(&self, at: &At) -> f64 {
        if at.step == 0.0 {
            return at.value * self.start;
        }
        let rise = self.end - self.start;
        at.value * (1.0 + rise / (self.total * self.start + (at.step - 1.0) * rise))
    }
}
