//! Dropout (Srivastava et al. 2014): while learning, some numbers are left out and the others made larger, so that the mean stays.

use burn::tensor::{Tensor, TensorData};

use super::{Dice, Params, Phase};

/// What leaves numbers out.
#[derive(Debug)]
pub struct Dropout {
    /// Share of numbers that go.
    rate: f64,
    phase: Phase,
    dice: Dice,
}

impl Dropout {
    /// None if it would never leave anything out. `at` tells it from others; it has no tensors.
    pub fn new(rate: f64, at: &Params) -> Option<Self> {
        (rate > 0.0).then(|| Self {
            rate,
            phase: at.phase(),
            dice: at.dice(),
        })
    }

    /// `x` without what `this` leaves out.
    pub fn apply<const D: usize>(this: &Option<Self>, x: Tensor<D>) -> Tensor<D> {
        match this {
            Some(dropout) => dropout.forward(x),
            None => x,
        }
    }

    /// # Shapes
    /// - input and output: the same
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if !self.phase.learning() {
            return x;
        }
        let device = x.device().without_autodiff();
        let factors = self.dice.factors(self.rate, x.shape().num_elements());
        let factors = Tensor::from_data(TensorData::new(factors, x.dims()), &device);
        x * factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;
    use burn::tensor::Device;

    #[test]
    fn numbers_are_left_out_while_learning() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        assert!(Dropout::new(0.0, &params).is_none());
        let dropout = Dropout::new(0.25, &params.at("a")).unwrap();
        let run = || -> Vec<f32> {
            let y = dropout.forward(Tensor::<2>::ones([40, 20], &device));
            y.into_data().try_into_vec().unwrap()
        };
        let y = run();
        assert!(y.iter().all(|v| *v == 0.0 || *v == 4.0 / 3.0));
        let share = y.iter().filter(|v| **v == 0.0).count() as f32 / 800.0;
        assert!((share - 0.25).abs() < 0.06, "{share}");
        params.store().learn("", false);
        assert!(run().iter().all(|v| *v == 1.0));
    }
}
