//! Layer scale (Touvron et al. 2021, arXiv 2103.17239, section 2): one learned factor for each channel of a residual branch, small at first.

use burn::tensor::Tensor;

use super::{Init, Params, Role, Weight};

/// One factor for each channel.
#[derive(Debug)]
pub struct LayerScale {
    weight: Weight<1>,
}

impl LayerScale {
    /// All factors are `value` at first; the tensor is `name` below `at`, `[channels]`.
    pub fn new(name: &str, channels: usize, value: f64, at: &Params) -> Self {
        Self {
            weight: at.weight(name, [channels], Init::Constant(value as f32)),
        }
    }

    /// The same where the state dict has a tensor of `[channels, 1, 1]`.
    pub fn of_map(name: &str, channels: usize, value: f64, at: &Params) -> Self {
        let (listed, init) = ([channels, 1, 1], Init::Constant(value as f32));
        Self {
            weight: at.listed(name, &listed, [channels], Role::Parameter, init),
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [channels] = self.weight.shape();
        x * self.weight.get().reshape([1, channels, 1, 1])
    }

    /// # Shapes
    /// - input and output: `[.., C]`
    pub fn forward_tokens<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x * self.weight.get().unsqueeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;
    use burn::tensor::Device;

    #[test]
    fn each_channel_has_its_factor() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        let scale = LayerScale::of_map("gamma", 2, 0.5, &params);
        assert_eq!(params.state()[0].shape, [2, 1, 1]);
        scale.weight.set(Tensor::from_floats([2.0, 3.0], &device));
        let numbers = |x: Tensor<4>| x.into_data().try_into_vec::<f32>().unwrap();
        let x = Tensor::<4>::ones([1, 2, 1, 2], &device);
        assert_eq!(numbers(scale.forward(x.clone())), [2.0, 2.0, 3.0, 3.0]);
        assert_eq!(numbers(scale.forward_tokens(x)), [2.0, 3.0, 2.0, 3.0]);
    }
}
