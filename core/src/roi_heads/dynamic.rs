//! [`Dynamic`]: what Dynamic R-CNN (Zhang et al. 2020, arXiv 2004.06002) changes while it learns, as MMDetection 3.3.0's `DynamicRoIHead` does: how
//! much a proposal must overlap its object, and where the parabola of its smooth L1 loss ends. Both follow what was seen in the last steps; like the
//! original's they are in no checkpoint, and begin anew with a run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use super::sampling::Sampled;
use super::{Given, present};
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};

type Count = Bounded<1, 1_000_000>;

/// The keys of `dynamic_rcnn` of a `train_cfg`.
#[derive(Debug, Deserialize)]
struct DynamicConfig {
    iou_topk: Count,
    beta_topk: Count,
    update_iter_interval: Count,
    initial_iou: f64,
    initial_beta: f64,
}

/// What is used in a step where it is not what the config says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Now {
    /// The least overlap of a proposal that learns an object.
    pub overlap: Option<f64>,
    /// Of the smooth L1 loss.
    pub beta: Option<f64>,
}

/// What is seen while learning, and what follows from it.
#[derive(Debug)]
pub(super) struct Dynamic {
    config: DynamicConfig,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    overlaps: Vec<f64>,
    betas: Vec<f64>,
    now: Now,
}

/// Medians below it are none.
const LEAST: f64 = 1e-15;

impl Dynamic {
    /// # Errors
    /// The `train_cfg` lacks what it needs.
    pub fn read(node: &Node, given: &Given) -> Result<Self, Diagnostics> {
        let described = given.train_cfg.and_then(|cfg| present(cfg, "dynamic_rcnn"));
        let Some(described) = described else {
            let message =
                "`DynamicRoIHead` needs `dynamic_rcnn` in the `train_cfg` of the second stage";
            let help = "for example dynamic_rcnn=dict(iou_topk=75, beta_topk=10, update_iter_interval=100, initial_iou=0.4, initial_beta=1.0)";
            return Err(unsupported(node, "", message, help));
        };
        let config: DynamicConfig = described.read()?;
        if config.initial_beta.is_nan() || config.initial_beta <= 0.0 {
            let message = "`initial_beta` must be above 0";
            return Err(error_at(described, "initial_beta", message, ""));
        }
        Ok(Self {
            config,
            history: Mutex::default(),
        })
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // Lists of numbers are never half written.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this step is to use.
    pub fn now(&self) -> Now {
        self.history().now
    }

    /// Takes in what was seen in a step: proposals, and how far those with objects have to move, each a mean of two numbers.
    pub fn saw(&self, sampled: &[Sampled], mut moves: Vec<f64>) {
        let config = &self.config;
        let topmost = sampled.iter().map(|sampled| {
            let mut overlaps = sampled.overlaps.clone();
            let last = config.iou_topk.get().min(overlaps.len());
            overlaps.sort_by(|a, b| b.total_cmp(a));
            overlaps
                .get(last.wrapping_sub(1))
                .map_or(0.0, |v| f64::from(*v))
        });
        let mean = topmost.sum::<f64>() / sampled.len().max(1) as f64;
        let mut history = self.history();
        history.overlaps.push(mean);
        if !moves.is_empty() {
            moves.sort_by(f64::total_cmp);
            let place = (config.beta_topk.get() * sampled.len()).min(moves.len());
            history.betas.push(moves[place.saturating_sub(1)]);
        }
        if history
            .overlaps
            .len()
            .is_multiple_of(config.update_iter_interval.get())
        {
            history.update(config);
        }
    }
}

impl History {
    fn update(&mut self, config: &DynamicConfig) {
        let overlaps = std::mem::take(&mut self.overlaps);
        let mean = overlaps.iter().sum::<f64>() / overlaps.len().max(1) as f64;
        self.now.overlap = Some(mean.max(config.initial_iou));
        let mut betas = std::mem::take(&mut self.betas);
        betas.sort_by(f64::total_cmp);
        let middle = betas.len() / 2;
        let median = match betas.len() {
            0 => return,
            odd if odd % 2 == 1 => betas[middle],
            _ => (betas[middle - 1] + betas[middle]) / 2.0,
        };
        if median >= LEAST {
            self.now.beta = Some(median.min(config.initial_beta));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Count {
        crate::config::parse_value(text).unwrap().read().unwrap()
    }

    /// Worked by hand from the paper's rule: the mean of the steps' overlaps, the median of their moves.
    #[test]
    fn both_numbers_follow_the_last_steps() {
        let dynamic = Dynamic {
            config: DynamicConfig {
                iou_topk: count("2"),
                beta_topk: count("1"),
                update_iter_interval: count("2"),
                initial_iou: 0.4,
                initial_beta: 1.0,
            },
            history: Mutex::default(),
        };
        let seen = |overlaps: [f32; 3]| Sampled {
            overlaps: overlaps.to_vec(),
            ..Sampled::default()
        };
        // The second of each: 0.5 and 0.75.
        let first = [seen([0.25, 1.0, 0.5]), seen([0.75, 0.75, 0.0])];
        dynamic.saw(&first, vec![0.3, 0.1, 0.2]);
        assert_eq!(dynamic.now(), Now::default());
        dynamic.saw(&[seen([0.875, 0.5, 1.0])], vec![0.4, 0.5]);
        let now = dynamic.now();
        assert_eq!(now.overlap, Some(0.75)); // of 0.625 and 0.875
        assert!((now.beta.unwrap() - 0.3).abs() < 1e-12); // of 0.2 and 0.4
        // Nothing was moved; overlaps are never asked to be less than at first.
        dynamic.saw(&[seen([0.0; 3])], Vec::new());
        dynamic.saw(&[seen([0.1; 3])], Vec::new());
        let overlap = Some(0.4);
        assert_eq!(dynamic.now(), Now { overlap, ..now });
    }
}
