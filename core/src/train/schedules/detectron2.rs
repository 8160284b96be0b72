//! Detectron2's schedules (solver/lr_scheduler.py, fvcore's `ParamScheduler`s): steps, half a cosine or steps of one length, behind a warm-up. Unlike
//! MMEngine's they are functions of how far a run has come.

use std::f64::consts::PI;
use std::sync::Arc;

use serde::Deserialize;

use super::span::{Span, own};
use super::{At, Formula, Rule};
use crate::config::{Diagnostics, Node, Short, error_at};

/// What places in a run are moved by before they are compared.
const EPSILON: f64 = 1e-6;

/// What all have.
#[derive(Debug, Deserialize)]
struct Common {
    max_iter: f64,
    warmup_factor: f64,
    warmup_iters: f64,
    warmup_method: String,
    rescale_interval: Option<bool>,
    milestones: Option<Short<f64, 10_000>>,
    gamma: Option<f64>,
    end_factor: Option<f64>,
    num_decays: Option<i64>,
}

/// A factor by how far a run has come, 0 to 1.
#[derive(Debug)]
enum Course {
    Steps { at: Vec<f64>, gamma: f64, of: f64 },
    Cosine { end: f64 },
    Equal { gamma: f64, decays: f64 },
}

#[derive(Debug)]
struct Warmed {
    course: Course,
    max_iter: f64,
    /// How far the warm-up goes, 0 to 1.
    length: f64,
    /// From its first value to its last.
    from: f64,
    to: f64,
    /// What comes behind begins at its beginning.
    rescaled: bool,
}

/// `WarmupMultiStepLR`.
pub(super) fn steps(node: &Node, _: &Span) -> Result<Rule, Diagnostics> {
    let config: Common = own(node)?;
    let at = config.milestones.as_deref().unwrap_or_default();
    let course = Course::Steps {
        at: at
            .iter()
            .copied()
            .filter(|at| *at <= config.max_iter)
            .collect(),
        gamma: config.gamma.unwrap_or(0.1),
        of: config.max_iter,
    };
    warmed(node, &config, course)
}

/// `WarmupCosineLR`.
pub(super) fn cosine(node: &Node, _: &Span) -> Result<Rule, Diagnostics> {
    let config: Common = own(node)?;
    let end = super::span::share(node, "end_factor", config.end_factor.unwrap_or(0.0))?;
    warmed(node, &config, Course::Cosine { end })
}

/// `WarmupStepWithFixedGammaLR`.
pub(super) fn equal(node: &Node, _: &Span) -> Result<Rule, Diagnostics> {
    let config: Common = own(node)?;
    let (gamma, decays) = (config.gamma.unwrap_or(0.1), config.num_decays.unwrap_or(3));
    if decays < 1 || gamma.is_nan() || gamma <= 0.0 {
        let message = "`num_decays` and `gamma` must be above 0";
        return Err(error_at(node, "num_decays", message, ""));
    }
    let decays = decays as f64;
    warmed(node, &config, Course::Equal { gamma, decays })
}

fn warmed(node: &Node, config: &Common, course: Course) -> Result<Rule, Diagnostics> {
    if !(config.max_iter >= 1.0 && config.max_iter.is_finite()) {
        return Err(error_at(
            node,
            "max_iter",
            "`max_iter` must be 1 or more",
            "",
        ));
    }
    let rescaled = config.rescale_interval.unwrap_or(false);
    let length = (config.warmup_iters / config.max_iter).clamp(0.0, 1.0);
    let from = config.warmup_factor * course.at(0.0);
    let to = match config.warmup_method.as_str() {
        "constant" => from,
        "linear" => course.at(if rescaled { 0.0 } else { length }),
        other => {
            let message = format!("`warmup_method` is '{other}', must be 'linear' or 'constant'");
            return Err(error_at(node, "warmup_method", message, ""));
        }
    };
    Ok(Rule::Formula(Arc::new(Warmed {
        course,
        max_iter: config.max_iter,
        length,
        from,
        to,
        rescaled,
    })))
}

impl Course {
    fn at(&self, place: f64) -> f64 {
        match self {
            Self::Steps { at, gamma, of } => {
                let iter = ((place + EPSILON) * of).floor();
                let passed = at.iter().filter(|at| **at <= iter).count();
                gamma.powi(passed as i32)
            }
            Self::Cosine { end } => end + 0.5 * (1.0 - end) * (1.0 + (PI * place).cos()),
            Self::Equal { gamma, decays } => {
                let step = ((place + EPSILON) * (decays + 1.0)).floor();
                gamma.powi(step.min(*decays) as i32)
            }
        }
    }
}

impl Warmed {
    fn factor(&self, place: f64) -> f64 {
        if place + EPSILON <= self.length {
            let share = place / self.length;
            return self.to * share + self.from * (1.0 - share);
        }
        let left = 1.0 - self.length;
        match self.rescaled && left > 0.0 {
            true => self.course.at((place - self.length) / left),
            false => self.course.at(place),
        }
    }
}

impl Formula for Warmed {
    fn next(&self, at: &At) -> f64 {
        at.base * self.factor(at.step / self.max_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_value;
    use crate::train::Settings;
    use crate::train::schedules::Length;

    fn factors(
        text: &str,
        read: fn(&Node, &Span) -> Result<Rule, Diagnostics>,
        at: &[u32],
    ) -> Vec<f64> {
        let text = format!("dict(by_epoch=False, max_iter=100, {text})");
        let node = parse_value(&text).unwrap();
        let length = Length {
            max_epochs: 1,
            max_iters: 100,
            epoch_length: 100,
        };
        let span = Span::read(&node, &length).unwrap();
        let Rule::Formula(formula) = read(&node, &span).unwrap() else {
            panic!("a formula expected");
        };
        let settings = Settings::default();
        let at = at.iter().map(|step| At {
            step: f64::from(*step),
            value: f64::NAN,
            base: 2.0,
            settings: &settings,
        });
        at.map(|at| formula.next(&at) / 2.0).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    /// The values of fvcore 0.1.5, put together as Detectron2 does.
    #[test]
    fn values_are_detectron2s() {
        let warm = "warmup_factor=0.1, warmup_iters=10, warmup_method='linear'";
        let text = format!("{warm}, milestones=[5, 60, 80, 300], gamma=0.5");
        let found = factors(&text, steps, &[0, 5, 9, 10, 59, 60, 80, 100]);
        close(&found, &STEPS);
        let found = factors(
            &format!("{warm}, end_factor=0.2"),
            cosine,
            &[0, 9, 10, 50, 100],
        );
        close(&found, &COSINE);
        let text = "warmup_factor=0.3, warmup_iters=20, warmup_method='constant', rescale_interval=True, gamma=0.5, num_decays=3";
        close(&factors(text, equal, &[0, 19, 20, 39, 40, 99]), &EQUAL);
        let none = "warmup_factor=0.1, warmup_iters=0, warmup_method='linear', milestones=[3]";
        close(&factors(none, steps, &[0, 3]), &[1.0, 0.1]);
    }

    const STEPS: [f64; 8] = [0.1, 0.3, 0.46, 0.5, 0.5, 0.25, 0.125, 0.125];
    const COSINE: [f64; 5] = [
        0.1,
        0.892_380_345_866_255_3,
        0.980_422_606_518_061_5,
        0.6,
        0.2,
    ];
    const EQUAL: [f64; 6] = [0.3, 0.3, 1.0, 1.0, 0.5, 0.125];
}
