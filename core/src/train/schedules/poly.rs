//! `Poly`: to `eta_min` along a polynomial of the steps that are left.
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node};

#[derive(Deserialize)]
struct Config {
    eta_min: Option<f64>,
    power: Option<f64>,
}

#[derive(Debug)]
struct Poly {
    eta_min: f64,
    power: f64,
    total: f64,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    Ok(Rule::Formula(Arc::new(Poly {
        eta_min: config.eta_min.unwrap_or(0.0),
        power: config.power.unwrap_or(1.0),
        total: span.steps() - 1.0,
    })))
}

impl Formula for Poly {
    fn next(&self, at: &At) -> f64 {
        if at.step == 0.0 {
            return at.value;
        }
        let left = 1.0 - 1.0 / (self.total - at.step + 1.0);
        (at.value - self.eta_min) * left.powf(self.power) + self.eta_min
    }
}
