//! `CosineRestart` (SGDR, Loshchilov and Hutter 2016, arXiv 1608.03983): `periods` of half a cosine, each from `restart_weights` of the first
//! value.

use std::f64::consts::PI;
use std::sync::Arc;

use serde::Deserialize;

use super::cosine::Least;
use super::span::{Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, Short, error_at};

#[derive(Deserialize)]
struct Config {
    periods: Short<f64, 10_000>,
    restart_weights: Option<Short<f64, 10_000>>,
    eta_min: Option<f64>,
    eta_min_ratio: Option<f64>,
}

#[derive(Debug)]
struct CosineRestart {
    periods: Vec<f64>,
    weights: Vec<f64>,
    least: Least,
}

pub(super) fn read(node: &Node, span: &Span) -> Result<Rule, Diagnostics> {
    let config: Config = own(node)?;
    let least = match (config.eta_min, config.eta_min_ratio) {
        (Some(value), None) => Least::Value(value),
        (None, Some(ratio)) => Least::Ratio(ratio),
        _ => {
            let message = "either `eta_min` or `eta_min_ratio` must be given";
            return Err(error_at(node, "eta_min", message, ""));
        }
    };
    let periods = config.periods.iter().map(|steps| span.scaled(*steps));
    let periods: Vec<f64> = periods.collect();
    let weights = config.restart_weights.map_or(vec![1.0], Short::into_vec);
    if periods.len() != weights.len() {
        let message = format!(
            "`periods` and `restart_weights` are as many, here {} and {}",
            periods.len(),
            weights.len()
        );
        return Err(error_at(node, "periods", message, ""));
    }
    Ok(Rule::Formula(Arc::new(CosineRestart {
        periods,
        weights,
        least,
    })))
}

impl Formula for CosineRestart {
    fn next(&self, at: &At) -> f64 {
        let mut began = 0.0;
        for (period, weight) in self.periods.iter().zip(&self.weights) {
            if at.step >= began + period {
                began += period;
                continue;
            }
            let step = at.step - began;
            if step == 0.0 {
                return at.base * weight;
            }
            let least = self.least.of(at.base);
            let height = |step: f64| 1.0 + (PI * step / period).cos();
            return height(step) / height(step - 1.0) * (at.value - least) + least;
        }
        at.value
    }
}
