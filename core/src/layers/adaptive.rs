//! [`Adaptive`]: weight standardisation that keeps the deviation and mean of filters that were trained without it (DetectoRS, Qiao et al. 2020, arXiv
//! 2006.02334, section 4.3; mmcv's `ConvAWS`). They are buffers; where a checkpoint has weights only, they are worked out from those.
//!
//! Shapes: weight `[C_out, C / groups, KH, KW]`, deviation and mean `[C_out, 1, 1, 1]`.

use burn::tensor::Tensor;

use super::{Init, Params, Weight};

/// Added to the variance of filters.
const EPS: f32 = 1e-5;

/// The two buffers.
#[derive(Clone, Debug)]
pub(super) struct Adaptive {
    deviation: Weight<4>,
    mean: Weight<4>,
}

impl Adaptive {
    /// Of `weight`, which is at `at` and may change.
    pub fn new(weight: &Weight<4>, at: &Params) -> Self {
        let shape = [weight.shape()[0], 1, 1, 1];
        let made = Self {
            deviation: at.buffer(DEVIATION, shape, Init::Constant(1.0)),
            mean: at.buffer(MEAN, shape, Init::Constant(0.0)),
        };
        if unknown(at) {
            let [mean, deviation] = moments(weight.get().without_autodiff());
            made.mean.set(mean.reshape(shape));
            made.deviation.set(deviation.reshape(shape));
        }
        made
    }

    /// The filters as they are used.
    pub fn apply(&self, weight: Tensor<4>) -> Tensor<4> {
        let dims @ [filters, seen, rows, columns] = weight.dims();
        let [mean, deviation] = moments(weight.clone());
        let flat = weight.reshape([filters, seen * rows * columns]);
        let standard = ((flat - mean) / deviation).reshape(dims);
        standard * self.deviation.get() + self.mean.get()
    }
}

/// Names of the two buffers.
const DEVIATION: &str = "weight_gamma";
const MEAN: &str = "weight_beta";

/// Whether a checkpoint has the weights at `at` without what is to be made of them.
fn unknown(at: &Params) -> bool {
    at.lacked(DEVIATION) && !at.lacked("weight")
}

/// Mean and deviation of each filter, `[C_out, 1]`.
fn moments(weight: Tensor<4>) -> [Tensor<2>; 2] {
    let [filters, seen, rows, columns] = weight.dims();
    let n = seen * rows * columns;
    let flat = weight.reshape([filters, n]);
    let mean = flat.clone().mean_dim(1);
    let centred = flat - mean.clone();
    let var = centred.square().sum_dim(1) / (n as f32 - 1.0);
    [mean, (var + EPS).sqrt()]
}

/// Makes final filters what they are used as; asks for the buffers at `at`.
pub(super) fn standardise_adaptively(weight: &mut [f32], filters: usize, at: &Params) {
    let shape = [filters, 1, 1, 1];
    let numbers =
        |name, value| at.numbers(name, &shape, super::Role::Buffer, Init::Constant(value));
    let (deviations, means) = (numbers(DEVIATION, 1.0), numbers(MEAN, 0.0));
    if weight.is_empty() {
        return;
    }
    let unknown = unknown(at);
    let n = weight.len() / filters;
    for (i, filter) in weight.chunks_mut(n).enumerate() {
        let mean = filter.iter().sum::<f32>() / n as f32;
        let var = filter.iter().map(|w| (w - mean).powi(2)).sum::<f32>() / (n as f32 - 1.0);
        let deviation = (var + EPS).sqrt();
        if unknown {
            continue; // they are their own deviation and mean
        }
        for w in filter {
            *w = deviations[i] * ((*w - mean) / deviation) + means[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{ConvConfig, ConvKind, Mode, StateEntry, TensorSource};
    use burn::tensor::Device;

    /// Weights, and their deviations and means if it has them.
    struct Given(bool);
    impl TensorSource for Given {
        fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
            match entry.key.as_str() {
                "weight" => Some(vec![1.0, 3.0, 5.0, 9.0]),
                "weight_gamma" if self.0 => Some(vec![2.0, 3.0]),
                "weight_beta" if self.0 => Some(vec![0.5, -1.0]),
                _ => None,
            }
        }
    }

    fn run(mode: Mode, given: bool) -> Vec<f32> {
        let device = Device::flex();
        let params = Params::new(&device, mode, Some(Box::new(Given(given))));
        let config = ConvConfig::new(2, 2, 1)
            .kind(ConvKind::Adaptive)
            .bias(false);
        let layer = config.init(&params, None);
        let x = Tensor::<1>::from_floats([1.0, 0.0, 0.0, 1.0], &device);
        let y = layer.forward(x.reshape([2, 2, 1, 1]));
        y.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn trained_and_final_filters_are_the_same() {
        // deviations sqrt(2) and sqrt(8): the standardised filters are -0.7071 and 0.7071, both times
        let half = 0.5f32.sqrt();
        let expected = [
            0.5 - 2.0 * half,
            -1.0 - 3.0 * half,
            0.5 + 2.0 * half,
            3.0 * half - 1.0,
        ];
        for mode in [Mode::Train, Mode::Fixed] {
            for (found, expected) in run(mode, true).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }

    #[test]
    fn filters_of_other_checkpoints_stay_what_they_are() {
        for mode in [Mode::Train, Mode::Fixed] {
            for (found, expected) in run(mode, false).iter().zip([1.0, 5.0, 3.0, 9.0]) {
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }
}
