//! [`Tower`]: the stack of 3x3 convolutions in front of a dense head's last ones.

use burn::tensor::Tensor;

use crate::layers::{ConvConfig, ConvNormAct, ConvStyle, Init, Params};

/// Convolution, norm and activation, several times.
#[derive(Debug)]
pub(super) struct Tower(Vec<ConvNormAct>);

impl Tower {
    /// `count` layers below `list`, from `channels_in` to `channels`; `bias` is where there is a norm too, if that is said.
    pub fn new(
        count: usize,
        [channels_in, channels]: [usize; 2],
        style: &ConvStyle,
        bias: Option<bool>,
        list: &Params,
    ) -> Self {
        let layer = |i| {
            let from = if i == 0 { channels_in } else { channels };
            let conv = ConvConfig::new(from, channels, 3).pad(1);
            let conv = conv.initial(Init::Normal { std: 0.01 }, 0.0);
            let conv = match bias {
                Some(bias) => conv.bias(bias),
                None => conv,
            };
            style.module(conv, &list.at(i))
        };
        Self((0..count).map(layer).collect())
    }

    pub fn forward(&self, x: &Tensor<4>) -> Tensor<4> {
        self.0.iter().fold(x.clone(), |x, conv| conv.forward(x))
    }
}

/// A head's last convolution of `kernel` x `kernel`, its tensors at `at`.
pub(super) fn last(
    channels_in: usize,
    channels: usize,
    kernel: usize,
    bias: f32,
    at: &Params,
) -> ConvNormAct {
    ConvConfig::new(channels_in, channels, kernel)
        .pad(kernel / 2)
        .initial(Init::Normal { std: 0.01 }, bias)
        .init(at, None)
}
