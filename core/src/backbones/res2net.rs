//! Res2Net (Gao et al. 2019, arXiv 1904.01169) as MMDetection 3.3.0 and MMPretrain 1.2.0 build it: a ResNet in whose bottlenecks the channels go
//! in `scales` parts, each through a 3x3 convolution of its own that sees the result of the part before it, too, and the last part as it is.
//!
//! In the first block of a stage the parts do not see each other, and the last one is pooled: by MMPretrain even where the stage does not
//! stride. MMDetection's class takes `style`, `deep_stem` and `avg_down`, and is 'pytorch', True and True all the same.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

use super::Backbone;
use super::resnet::{Library, Variant, boxed};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::{ConvConfig, ConvNormAct, ConvStyle, Params};

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, Variant::Res2Net)
}

pub(super) fn build_mmpretrain(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMPretrain, Variant::Res2Net)
}

/// How to make [`Scales`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ScalesConfig {
    /// Parts.
    pub count: usize,
    /// Channels of each.
    pub width: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Whether the block is the first one of its stage.
    pub first: bool,
    /// Whether the last part is pooled in such a block where it does not stride, too.
    pub pools_always: bool,
}

/// The parts of the channels, and what each goes through.
#[derive(Debug)]
pub(super) struct Scales {
    convs: Vec<ConvNormAct>,
    width: usize,
    /// Whether each part sees the result of the one before it.
    chained: bool,
    /// Stride of the last part's pooling, if it is pooled.
    pool: Option<usize>,
}

impl Scales {
    /// `at` is the block: `convs.0`, .., then `bns.0`, ...
    pub fn new(config: ScalesConfig, style: &ConvStyle, at: &Params) -> Self {
        let ScalesConfig {
            width,
            stride,
            dilation,
            first,
            ..
        } = config;
        let conv = |i| {
            let conv = ConvConfig::new(width, width, 3)
                .stride(stride)
                .pad(dilation)
                .dilation(dilation)
                .bias(false);
            style.named(conv, at, format!("convs.{i}"), format!("bns.{i}"))
        };
        let convs = (0..config.count - 1).map(conv).collect();
        at.listed_in_order(["convs", "bns"]);
        Self {
            convs,
            width,
            chained: !first,
            pool: (first && (stride != 1 || config.pools_always)).then_some(stride),
        }
    }

    /// # Shapes
    /// - input `[N, count * width, H, W]`, output `[N, count * width, H / stride, W / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let part = |i| x.clone().narrow(1, i * self.width, self.width);
        let mut parts: Vec<Tensor<4>> = Vec::with_capacity(self.convs.len() + 1);
        for (i, conv) in self.convs.iter().enumerate() {
            let input = match parts.last() {
                Some(before) if self.chained => before.clone() + part(i),
                _ => part(i),
            };
            parts.push(conv.forward(input));
        }
        let last = part(self.convs.len());
        parts.push(match self.pool {
            Some(stride) => {
                let options = AvgPoolOptions::new([3; 2])
                    .with_stride([stride; 2])
                    .with_padding([1; 2]);
                avg_pool2d(last, options)
            }
            None => last,
        });
        Tensor::cat(parts, 1)
    }

    /// Whether a norm here takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        self.convs.iter().any(ConvNormAct::learning)
    }
}
