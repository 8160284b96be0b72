//! The middle of a ResNeSt block: split attention (Zhang et al. 2020, arXiv 2004.08955, section 3.1). A convolution gives each channel `radix`
//! times, and a softmax over these, computed from the means of their sum, weighs them.

use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Tensor, activation};

use super::block::BlockShape;
use super::models::Arch;
use super::{Kind, Make};
use crate::layers::{Activation, ConvConfig, ConvNormAct, Params, make_divisible};

/// Split attention, and the pooling before or after it where the block strides.
#[derive(Debug)]
pub(super) struct SplitAttention {
    conv: ConvNormAct,
    reduce: ConvNormAct,
    expand: ConvNormAct,
    radix: usize,
    cardinality: usize,
    pool: Option<usize>,
    pools_first: bool,
}

impl SplitAttention {
    /// Channels between the two layers that compute the weights of `wide` channels.
    pub fn squeezed(wide: usize) -> usize {
        make_divisible(wide as f64 / 4.0, 8).max(32)
    }

    pub fn new(shape: &BlockShape, arch: &Arch, make: &Make, at: &Params) -> Self {
        let Kind::Split { radix, pools_first } = arch.kind else {
            unreachable!("only split blocks are built here");
        };
        let (width, cardinality) = (shape.width, arch.cardinality);
        let wide = width * radix;
        let squeezed = Self::squeezed(wide);
        let style = make.style.act(Some(Activation::Relu));
        let conv = ConvConfig::new(width, wide, 3)
            .pad(shape.first_dilation)
            .dilation(shape.first_dilation)
            .groups(cardinality * radix)
            .bias(false);
        let reduce = ConvConfig::new(width, squeezed, 1)
            .groups(cardinality)
            .bias(true);
        let expand = ConvConfig::new(squeezed, wide, 1).groups(cardinality);
        Self {
            conv: style.named(conv, at, "conv", "bn0"),
            reduce: style.named(reduce, at, "fc1", "bn1"),
            expand: expand.init(&at.at("fc2"), None),
            radix,
            cardinality,
            pool: (shape.stride > 1).then_some(shape.stride),
            pools_first,
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`, the output's sides by the stride
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if self.pools_first {
            return self.attend(self.pool(x));
        }
        self.pool(self.attend(x))
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<4> {
        let Some(stride) = self.pool else { return x };
        let options = AvgPoolOptions::new([3; 2])
            .with_stride([stride; 2])
            .with_padding([1; 2]);
        avg_pool2d(x, options)
    }

    fn attend(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        let [n, wide, h, w] = x.dims();
        let (radix, groups) = (self.radix, self.cardinality);
        let channels = wide / radix;
        let splits = x.reshape([n, radix, channels, h * w]);
        let means = splits.clone().sum_dim(1).mean_dim(3);
        let means = means.reshape([n, channels, 1, 1]);
        let logits = self.expand.forward(self.reduce.forward(means));
        let weights = match radix {
            1 => activation::sigmoid(logits.reshape([n, 1, channels, 1])),
            _ => {
                let logits = logits.reshape([n, groups, radix, channels / groups]);
                let weights = activation::softmax(logits.swap_dims(1, 2), 1);
                weights.reshape([n, radix, channels, 1])
            }
        };
        (splits * weights).sum_dim(1).reshape([n, channels, h, w])
    }
}
