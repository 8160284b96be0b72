//! ECA (Wang et al. 2020, arXiv 1910.03151): scales each channel by a gate computed from its own mean and those of its neighbours.
//!
//! Shapes: x `[N, C, H, W]`, weight `[1, 1, K]`.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, activation, module};

use super::{Init, Params, Weight};

/// One filter that moves over the channels' means, and the gate it gives.
#[derive(Debug)]
pub struct EfficientChannelAttention {
    filter: Weight<3>,
}

impl EfficientChannelAttention {
    /// The filter, `conv.weight`, is the longer the more channels there are (section 3.2.2).
    pub fn new(channels: usize, at: &Params) -> Self {
        let taps = (((channels as f64).log2() + 1.0) / 2.0) as usize;
        let taps = (taps | 1).max(3);
        let at = at.at("conv").class(&["Conv1d", "_ConvNd"]);
        Self {
            filter: at.weight("weight", [1, 1, taps], Init::TORCH),
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, _, _] = x.dims();
        let means = x.clone().mean_dim(2).mean_dim(3).reshape([n, 1, c]);
        let reach = self.filter.shape()[2] / 2;
        let options = ConvOptions::new([1], [reach], [1], 1);
        let gate = module::conv1d(means, self.filter.get(), None, options);
        x * activation::sigmoid(gate).reshape([n, c, 1, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;
    use burn::tensor::Device;

    #[test]
    fn the_filter_grows_with_the_channels() {
        for (channels, taps) in [(4, 3), (64, 3), (256, 5), (512, 5), (2048, 7)] {
            let params = Params::new(&Device::flex(), Mode::Plan, None);
            EfficientChannelAttention::new(channels, &params);
            assert_eq!(params.state()[0].shape, [1, 1, taps], "{channels}");
        }
    }
}
