//! `Constant`: `factor` of the value until the end, where it is divided by it again.
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own, share};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, error_at};

#[derive(Deserialize)]
struct Config {
    factor: Option<f64>,
}

#[derive(Debug)]
struct Constant {
    factor: f64,
    total: f64,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    let factor = share(node, "factor", config.factor.unwrap_or(1.0 / 3.0))?;
    if factor == 0.0 {
        let message = "`factor` is 0, by which the end cannot divide";
        return Err(error_at(node, "factor", message, ""));
    }
    let total = span.steps() - 1.0;
    Ok(Rule::Formula(Arc::new(Constant { factor, total })))
}

impl Formula for Constant {
    fn next(&self, at: &At) -> f64 {
        if at.step == 0.0 {
            at.value * self.factor
        } else if at.step == self.total {
            at.value * (1.0 / self.factor)
        } else {
            at.value
        }
    }
}
