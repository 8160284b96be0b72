//! [`Accumulation`]: one step for several iterations (`accumulative_counts`), as MMEngine's `OptimWrapper` has it.
//!
//! Each loss is divided by the number of iterations that share a step, so that a step goes by their mean. The last step of a run may have
//! fewer: what is left over after whole ones.

use crate::layers::Gradients;

/// Gradients of the iterations since the last step.
pub struct Accumulation {
    counts: u64,
    done: u64,
    all: u64,
    sum: Option<Gradients>,
}

impl Accumulation {
    /// Of `counts` iterations for a step, in a run of `all` iterations of which `done` are done.
    ///
    /// # Panics
    /// If `counts` is 0.
    pub fn new(counts: u64, done: u64, all: u64) -> Self {
        assert!(counts > 0, "a step has an iteration");
        Self {
            counts,
            done,
            all,
            sum: None,
        }
    }

    /// Iterations for a step.
    pub fn counts(&self) -> u64 {
        self.counts
    }

    /// By which the loss of the next iteration is to be divided.
    pub fn factor(&self) -> u64 {
        if self.counts == 1 {
            return 1;
        }
        let rest = self.all % self.counts;
        // After the end of the run, as before it: the original divides by 0 there if nothing is left over.
        if self.done < self.all - rest || rest == 0 {
            self.counts
        } else {
            rest
        }
    }

    /// Takes an iteration's gradients in; gives the sum where a step is due.
    pub fn take(&mut self, gradients: Gradients) -> Option<Gradients> {
        self.done += 1;
        let sum = match self.sum.take() {
            Some(sum) => sum.plus(gradients),
            None => gradients,
        };
        if self.done.is_multiple_of(self.counts) || self.done == self.all {
            return Some(sum);
        }
        self.sum = Some(sum);
        None
    }
}

impl std::fmt::Debug for Accumulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}, {} a step", self.done, self.all, self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Init, Mode, Params};
    use burn::tensor::Device;

    #[test]
    fn the_last_step_has_what_is_left() {
        let params = Params::new(&Device::flex(), Mode::Train, None);
        let weight = params.weight("w", [2], Init::Constant(1.0));
        let store = params.store();
        store.track(true);
        let mut accumulation = Accumulation::new(3, 0, 8);
        let (mut factors, mut steps) = (Vec::new(), Vec::new());
        for i in 0..8 {
            factors.push(accumulation.factor());
            let loss = weight.get().sum() * (i as f64 + 1.0);
            if let Some(sum) = accumulation.take(store.gradients(loss)) {
                let sum: Vec<f32> = sum.get("w").unwrap().to_data().try_into_vec().unwrap();
                steps.push((i, sum[0]));
            }
        }
        assert_eq!(factors, [3, 3, 3, 3, 3, 3, 2, 2]);
        assert_eq!(steps, [(2, 6.0), (5, 15.0), (7, 15.0)]);
        let resumed = Accumulation::new(3, 7, 8);
        assert_eq!(resumed.factor(), 2);
        assert_eq!(Accumulation::new(1, 9, 8).factor(), 1);
    }
}
