//! Cross-stage partial layer (Wang et al. 2019, arXiv 1911.11929) with Darknet's bottlenecks (Redmon and Farhadi 2018, arXiv
//! 1804.02767) or those of CSPNeXt (Lyu et al. 2022, arXiv 2212.07784), as MMDetection 3.3.0's `CSPLayer`: half of the channels pass the blocks, the
//! other half goes past them.
//!
//! Shapes: x `[N, channels_in, H, W]`, output `[N, channels_out, H, W]`, inside `channels_inside` for each half.

use burn::tensor::Tensor;

use super::{Activation, ConvConfig, ConvNormAct, ConvStyle, Params};

/// How to make a [`CspLayer`].
#[derive(Clone, Copy, Debug)]
pub struct CspLayerConfig {
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels_out: usize,
    /// Channels of each half, which a norm must fit beside `channels_out`.
    pub channels_inside: usize,
    /// Bottlenecks.
    pub num_blocks: usize,
    /// Whether each bottleneck's input is added to its output.
    pub add_identity: bool,
    /// Whether the 3x3 convolutions are depthwise separable.
    pub use_depthwise: bool,
    /// CSPNeXt's bottlenecks: a 3x3 convolution, then a depthwise separable one of 5x5.
    pub next: bool,
    /// Whether the channels are weighed before they are joined.
    pub channel_attention: bool,
}

impl CspLayerConfig {
    /// One Darknet bottleneck beside as many channels as pass it; `channels_out` is at least 2.
    pub fn new(channels_in: usize, channels_out: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            channels_inside: channels_out / 2,
            num_blocks: 1,
            add_identity: true,
            use_depthwise: false,
            next: false,
            channel_attention: false,
        }
    }

    /// Builds the layer, its tensors below `at`.
    pub fn init(&self, style: &ConvStyle, at: &Params) -> CspLayer {
        let half = self.channels_inside;
        let conv1x1 = |from, to, at: Params| style.module(ConvConfig::new(from, to, 1), &at);
        CspLayer {
            main_conv: conv1x1(self.channels_in, half, at.at("main_conv")),
            short_conv: conv1x1(self.channels_in, half, at.at("short_conv")),
            final_conv: conv1x1(2 * half, self.channels_out, at.at("final_conv")),
            blocks: (0..self.num_blocks)
                .map(|i| self.bottleneck(style, &at.at("blocks").at(i)))
                .collect(),
            attention: self
                .channel_attention
                .then(|| ChannelAttention::new(2 * half, &at.at("attention"))),
        }
    }

    fn bottleneck(&self, style: &ConvStyle, at: &Params) -> Bottleneck {
        let half = self.channels_inside;
        let (first, second) = (at.at("conv1"), at.at("conv2"));
        let three =
            |style: &ConvStyle, at| style.conv3x3([half; 2], 1, self.use_depthwise, None, at);
        let (conv1, conv2) = if self.next {
            // `conv_cfg` is not for the first.
            let plain = ConvStyle {
                kind: Default::default(),
                ..style.clone()
            };
            (three(&plain, &first), separable5x5(half, style, &second))
        } else {
            let one = style.module(ConvConfig::new(half, half, 1), &first);
            (vec![one], three(style, &second))
        };
        Bottleneck {
            convs: conv1.into_iter().chain(conv2).collect(),
            add_identity: self.add_identity,
        }
    }
}

/// Two 1x1 convolutions side by side, one of them followed by blocks, and a 1x1 convolution that joins them.
#[derive(Debug)]
pub struct CspLayer {
    main_conv: ConvNormAct,
    short_conv: ConvNormAct,
    final_conv: ConvNormAct,
    blocks: Vec<Bottleneck>,
    attention: Option<ChannelAttention>,
}

impl CspLayer {
    /// # Shapes
    /// - input: `[N, channels_in, H, W]`
    /// - output: `[N, channels_out, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let main = self.main_conv.forward(x.clone());
        let main = self.blocks.iter().fold(main, |x, block| block.forward(x));
        let short = self.short_conv.forward(x);
        let mut joined = Tensor::cat(vec![main, short], 1);
        if let Some(attention) = &self.attention {
            joined = attention.forward(joined);
        }
        self.final_conv.forward(joined)
    }
}

/// A convolution for each channel of 5x5, and one of 1x1 across them.
fn separable5x5(channels: usize, style: &ConvStyle, at: &Params) -> Vec<ConvNormAct> {
    let depthwise = ConvConfig::new(channels, channels, 5).pad(2);
    let pointwise = ConvConfig::new(channels, channels, 1);
    vec![
        style.module(depthwise.groups(channels), &at.at("depthwise_conv")),
        style.module(pointwise, &at.at("pointwise_conv")),
    ]
}

/// Convolutions of the same width. Unlike ResNet's blocks, nothing follows the sum.
#[derive(Debug)]
struct Bottleneck {
    convs: Vec<ConvNormAct>,
    add_identity: bool,
}

impl Bottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let out = self.convs.iter().fold(x.clone(), |x, conv| conv.forward(x));
        if self.add_identity { out + x } else { out }
    }
}

/// Each channel by a gate that a 1x1 convolution of all channels' means gives.
#[derive(Debug)]
struct ChannelAttention {
    fc: ConvNormAct,
}

impl ChannelAttention {
    fn new(channels: usize, at: &Params) -> Self {
        let gate = Activation::HSigmoid {
            bias: 3.0,
            divisor: 6.0,
            min: 0.0,
            max: 1.0,
        };
        let fc = ConvConfig::new(channels, channels, 1).act(Some(gate));
        Self {
            fc: fc.init(&at.at("fc"), None),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let means = x.clone().mean_dim(2).mean_dim(3);
        x * self.fc.forward(means)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, StateEntry, TensorSource};
    use burn::tensor::Device;

    /// Every weight 1, every bias 0.
    struct Ones;
    impl TensorSource for Ones {
        fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
            let value = f32::from(u8::from(entry.key.ends_with("weight")));
            Some(vec![value; entry.shape.iter().product()])
        }
    }

    fn center(config: CspLayerConfig) -> Vec<f32> {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Fixed, Some(Box::new(Ones)));
        let layer = config.init(&ConvStyle::default(), &params);
        let y = layer.forward(Tensor::ones([1, config.channels_in, 3, 3], &device));
        let channels = config.channels_out;
        assert_eq!(y.dims(), [1, channels, 3, 3]);
        y.select(2, Tensor::from_ints([1], &device))
            .select(3, Tensor::from_ints([1], &device))
            .into_data()
            .try_into_vec()
            .unwrap()
    }

    #[test]
    fn values_by_hand() {
        let config = CspLayerConfig {
            add_identity: false,
            ..CspLayerConfig::new(3, 2)
        };
        // Halves of 1 channel, each 3; nine of them in the block are 27; final 27 + 3.
        assert_eq!(center(config), [30.0; 2]);
        let added = CspLayerConfig {
            add_identity: true,
            ..config
        };
        assert_eq!(center(added), [33.0; 2]);
        let depthwise = CspLayerConfig {
            use_depthwise: true,
            add_identity: false,
            ..CspLayerConfig::new(3, 5)
        };
        // Halves of 2 channels, each 3: 6 after the 1x1, 54 after nine taps, 108 across; final 2 * 108 + 2 * 3.
        assert_eq!(center(depthwise), [222.0; 5]);
        let none = CspLayerConfig {
            num_blocks: 0,
            ..config
        };
        assert_eq!(center(none), [6.0; 2]);
    }
}
