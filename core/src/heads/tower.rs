//! [`Tower`]: the stack of 3x3 convolutions in front of a dense head's last ones.

use burn::tensor::Tensor;

use crate::layers::{ConvConfig, ConvNormAct, ConvStyle, Params};

/// Convolution, norm and activation, several times.
#[derive(Debug)]
pub(super) struct Tower(Vec<ConvNormAct>);

/// What the layers of a [`Tower`] have in common.
#[derive(Debug)]
pub(super) struct TowerConfig {
    pub layers: usize,
    pub channels_in: usize,
    pub channels: usize,
    pub style: ConvStyle,
    /// A bias where there is a norm too, or none where there is none, if that is said.
    pub bias: Option<bool>,
    /// Depthwise separable convolutions.
    pub depthwise: bool,
}

impl TowerConfig {
    /// Builds it, its tensors below `list`.
    pub fn init(&self, list: &Params) -> Tower {
        let layer = |i| {
            let from = if i == 0 {
                self.channels_in
            } else {
                self.channels
            };
            let channels = [from, self.channels];
            self.style
                .conv3x3(channels, 1, self.depthwise, self.bias, &list.at(i))
        };
        Tower((0..self.layers).flat_map(layer).collect())
    }

    /// Channels of what comes out.
    pub fn channels_out(&self) -> usize {
        if self.layers == 0 {
            self.channels_in
        } else {
            self.channels
        }
    }
}

impl Tower {
    pub fn forward(&self, x: &Tensor<4>) -> Tensor<4> {
        self.0.iter().fold(x.clone(), |x, conv| conv.forward(x))
    }
}

/// A head's last convolution of `kernel` x `kernel`, its tensors at `at`.
pub(super) fn last(channels_in: usize, channels: usize, kernel: usize, at: &Params) -> ConvNormAct {
    ConvConfig::new(channels_in, channels, kernel)
        .pad(kernel / 2)
        .init(at, None)
}
