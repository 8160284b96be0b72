//! Cross-stage partial layer (Wang et al. 2019, arXiv 1911.11929) with Darknet's bottlenecks (Redmon and Farhadi 2018, arXiv
//! 1804.02767), as MMDetection 3.3.0's `CSPLayer`: half of the channels pass the blocks, the other half goes past them.
//!
//! Shapes: x `[N, channels_in, H, W]`, output `[N, channels_out, H, W]`, inside `channels_out / 2` for each half.

use burn::tensor::Tensor;

use super::{ConvConfig, ConvNormAct, ConvStyle, Params};

/// How to make a [`CspLayer`].
#[derive(Clone, Copy, Debug)]
pub struct CspLayerConfig {
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output, at least 2.
    pub channels_out: usize,
    /// Bottlenecks.
    pub num_blocks: usize,
    /// Whether each bottleneck's input is added to its output.
    pub add_identity: bool,
    /// Whether the 3x3 convolutions are depthwise separable.
    pub use_depthwise: bool,
}

impl CspLayerConfig {
    /// Channels of each half, which a norm must fit beside `channels_out`.
    pub fn channels_inside(&self) -> usize {
        self.channels_out / 2
    }

    /// Builds the layer, its tensors below `at`.
    pub fn init(&self, style: &ConvStyle, at: &Params) -> CspLayer {
        let half = self.channels_inside();
        let conv1x1 = |from, to, at: Params| style.module(ConvConfig::new(from, to, 1), &at);
        CspLayer {
            main_conv: conv1x1(self.channels_in, half, at.at("main_conv")),
            short_conv: conv1x1(self.channels_in, half, at.at("short_conv")),
            final_conv: conv1x1(2 * half, self.channels_out, at.at("final_conv")),
            blocks: (0..self.num_blocks)
                .map(|i| {
                    let at = at.at("blocks").at(i);
                    DarknetBottleneck {
                        conv1: conv1x1(half, half, at.at("conv1")),
                        conv2: style.conv3x3(
                            [half; 2],
                            1,
                            self.use_depthwise,
                            None,
                            &at.at("conv2"),
                        ),
                        add_identity: self.add_identity,
                    }
                })
                .collect(),
        }
    }
}

/// Two 1x1 convolutions side by side, one of them followed by blocks, and a 1x1 convolution that joins them.
#[derive(Debug)]
pub struct CspLayer {
    main_conv: ConvNormAct,
    short_conv: ConvNormAct,
    final_conv: ConvNormAct,
    blocks: Vec<DarknetBottleneck>,
}

impl CspLayer {
    /// # Shapes
    /// - input: `[N, channels_in, H, W]`
    /// - output: `[N, channels_out, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let main = self.main_conv.forward(x.clone());
        let main = self.blocks.iter().fold(main, |x, block| block.forward(x));
        let short = self.short_conv.forward(x);
        self.final_conv.forward(Tensor::cat(vec![main, short], 1))
    }
}

/// A 1x1 and a 3x3 convolution of the same width. Unlike ResNet's blocks, nothing follows the sum.
#[derive(Debug)]
struct DarknetBottleneck {
    conv1: ConvNormAct,
    conv2: Vec<ConvNormAct>,
    add_identity: bool,
}

impl DarknetBottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let out = self.conv1.forward(x.clone());
        let out = self.conv2.iter().fold(out, |x, conv| conv.forward(x));
        if self.add_identity { out + x } else { out }
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
            channels_in: 3,
            channels_out: 2,
            num_blocks: 1,
            add_identity: false,
            use_depthwise: false,
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
            channels_out: 5,
            ..config
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
