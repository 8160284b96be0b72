//! [`DistanceNetwork`]: a bias for each pair of places of a window from a small network that sees the logarithm of how far apart they are
//! (Swin V2, Liu et al. 2022, arXiv 2111.09883, section 3.3), as timm's `swinv2_cr` and MaxViT have it.

use burn::tensor::{Tensor, TensorData};

use super::attention::Pairs;
use super::{Activation, Dropout, Linear, Params};

/// Share of the hidden numbers that are left out while learning.
const DROPOUT: f64 = 0.125;

/// Two layers, `fc1` and `fc2`, from two distances to a bias for each head. What is left out while learning is left out for all pairs of one
/// distance, also where timm's `swinv2_cr` draws for each pair.
#[derive(Debug)]
pub struct DistanceNetwork {
    layers: [Linear; 2],
    dropout: Option<Dropout>,
    pairs: Pairs,
}

impl DistanceNetwork {
    /// For windows of this height and width.
    pub fn new(window: [usize; 2], hidden: usize, heads: usize, at: &Params) -> Self {
        Self {
            layers: [
                Linear::new(2, hidden, true, &at.at("fc1")),
                Linear::new(hidden, heads, true, &at.at("fc2")),
            ],
            dropout: Dropout::new(DROPOUT, &at.at("drop1")),
            pairs: Pairs::new(window),
        }
    }

    /// `[1, heads, N, N]`, N the places of the window.
    pub fn forward(&self) -> Tensor<4> {
        let [first, last] = &self.layers;
        let distances = self.pairs.distances(|_, distance| logarithm(distance));
        let distances = TensorData::new(distances, [self.pairs.rows(), 2]);
        let device = first.device().without_autodiff();
        let distances = Tensor::<2>::from_data(distances, &device);
        let hidden = Activation::Relu.forward(first.forward(distances));
        let hidden = Dropout::apply(&self.dropout, hidden);
        self.pairs.gather(last.forward(hidden))
    }
}

/// With its sign.
fn logarithm(distance: i64) -> f32 {
    let x = distance as f32;
    match distance {
        0 => 0.0,
        _ => x.signum() * x.abs().ln_1p(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, StateEntry, TensorSource};
    use burn::tensor::Device;

    struct Ones;
    impl TensorSource for Ones {
        fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
            let bias = entry.key.ends_with("bias");
            Some(vec![f32::from(!bias); entry.shape.iter().product()])
        }
    }

    #[test]
    fn a_pair_has_the_logarithm_of_its_distance() {
        let params = Params::new(&Device::flex(), Mode::Fixed, Some(Box::new(Ones)));
        let network = DistanceNetwork::new([1, 3], 1, 1, &params.at("a"));
        let bias: Vec<f32> = network.forward().into_data().try_into_vec().unwrap();
        // All weights are one, and what is negative is nothing: how far a query is to the right of a key.
        let [one, two] = [2f32.ln(), 3f32.ln()];
        let expected = [0.0, 0.0, 0.0, one, 0.0, 0.0, two, one, 0.0];
        assert!(
            bias.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{bias:?}"
        );
    }
}
