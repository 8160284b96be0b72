//! Stochastic depth (Huang et al. 2016, arXiv 1603.09382, section 3): while learning, a residual branch is left out for some pictures of a
//! batch and made larger for the others, so that its mean stays.

use burn::tensor::{Tensor, TensorData};

use super::{Dice, Params, Phase};

/// What leaves a branch out.
#[derive(Debug)]
pub struct DropPath {
    /// Share of pictures that go without.
    rate: f64,
    phase: Phase,
    dice: Dice,
}

impl DropPath {
    /// None if it would never leave anything out. `at` is where the original has the layer; it has no tensors.
    pub fn new(rate: f64, at: &Params) -> Option<Self> {
        (rate > 0.0).then(|| Self {
            rate,
            phase: at.phase(),
            dice: at.dice(),
        })
    }

    /// Whether [`DropPath::forward`] does something now.
    pub fn learning(&self) -> bool {
        self.phase.learning()
    }

    /// # Shapes
    /// - input and output: `[N, ..]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if !self.learning() {
            return x;
        }
        let n = x.dims()[0];
        let mut shape = [1; D];
        shape[0] = n;
        let factors = self.dice.factors(self.rate, n);
        let device = x.device().without_autodiff();
        x * Tensor::from_data(TensorData::new(factors, shape), &device)
    }

    /// `branch` added to `x`, but for pictures that go without.
    ///
    /// # Shapes
    /// - all: `[N, ..]`
    pub fn add<const D: usize>(this: &Option<Self>, x: Tensor<D>, branch: Tensor<D>) -> Tensor<D> {
        match this {
            Some(drop) => x + drop.forward(branch),
            None => x + branch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;
    use burn::tensor::Device;

    #[test]
    fn whole_pictures_are_left_out() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        let store = params.store();
        assert!(DropPath::new(0.0, &params).is_none());
        let drop = DropPath::new(0.25, &params.at("a")).unwrap();
        let run = || -> Vec<f32> {
            let y = drop.forward(Tensor::<4>::ones([400, 1, 1, 2], &device));
            y.into_data().try_into_vec().unwrap()
        };
        let y = run();
        let kept = 4.0 / 3.0;
        assert!(y.chunks(2).all(|p| p == [0.0; 2] || p == [kept; 2]));
        let share = y.iter().filter(|v| **v == 0.0).count() as f32 / 800.0;
        assert!((share - 0.25).abs() < 0.06, "{share}"); // 0.25 in 400 draws, deviation 0.02
        assert_ne!(run(), y);
        store.set_step(0, 1);
        let later = run();
        assert_ne!(later, y);
        store.set_step(0, 0);
        assert_eq!(run(), y, "a resumed run draws the same");
        store.learn("", false);
        assert!(run().iter().all(|v| *v == 1.0));
    }
}
