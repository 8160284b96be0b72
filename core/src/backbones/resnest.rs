//! ResNeSt (Zhang et al. 2020, arXiv 2004.08955) as MMDetection 3.3.0 and MMPretrain 1.2.0 build it: a ResNet-D in whose bottlenecks a
//! convolution gives `radix` versions of each channel, and the means of their sum say how much of each is taken.
//!
//! Its stride is an average pooling of 3x3 after that (`avg_down_stride`).

use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

use super::Backbone;
use super::resnet::{Library, Variant, boxed};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{ConvConfig, ConvKind, ConvNormAct, ConvStyle, NormConfig, Params};

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, Variant::ResNeSt)
}

pub(super) fn build_mmpretrain(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMPretrain, Variant::ResNeSt)
}

/// Fewest channels of the squeezed means.
const LEAST_SQUEEZED: usize = 32;

/// How to make a [`SplitAttention`].
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitAttentionConfig {
    pub channels: usize,
    pub groups: usize,
    pub radix: usize,
    /// Versions of channels for one of the squeezed means.
    pub reduction: usize,
    pub stride: usize,
    /// Whether a pooling has the stride, not the convolution.
    pub pools: bool,
    pub dilation: usize,
}

impl SplitAttentionConfig {
    fn squeezed(&self) -> usize {
        (self.channels * self.radix / self.reduction).max(LEAST_SQUEEZED)
    }

    /// Channels of its norms.
    ///
    /// # Errors
    /// The groups do not divide the squeezed means.
    pub fn check(&self, node: &Node) -> Result<[usize; 3], Diagnostics> {
        let (squeezed, groups) = (self.squeezed(), self.groups);
        if !squeezed.is_multiple_of(groups) {
            let message = format!(
                "`groups` is {groups}, which does not divide the {squeezed} squeezed channels"
            );
            return Err(error_at(node, "groups", message, ""));
        }
        Ok([self.channels, self.channels * self.radix, squeezed])
    }
}

/// A 3x3 convolution that gives several versions of each channel, and what mixes them.
#[derive(Debug)]
pub(super) struct SplitAttention {
    conv: ConvNormAct,
    squeeze: ConvNormAct,
    expand: ConvNormAct,
    groups: usize,
    radix: usize,
    /// Stride of the pooling at the end, if there is one.
    pool: Option<usize>,
}

impl SplitAttention {
    /// Below `at`: `conv`, `bn0`, `fc1`, `bn1`, `fc2`.
    pub fn new(config: SplitAttentionConfig, style: &ConvStyle, at: &Params) -> Self {
        let SplitAttentionConfig {
            channels,
            groups,
            radix,
            stride,
            dilation,
            ..
        } = config;
        let pool = (config.pools && stride > 1).then_some(stride);
        let norm = style.norm.as_ref().map_or("", NormConfig::abbreviation);
        let conv = ConvConfig::new(channels, channels * radix, 3)
            .stride(if pool.is_some() { 1 } else { stride })
            .pad(dilation)
            .dilation(dilation)
            .groups(groups * radix)
            .bias(false);
        let conv = style.named(conv, at, "conv", format!("{norm}0"));
        let plain = ConvStyle {
            kind: ConvKind::Plain,
            ..style.clone()
        };
        let full = |from, to| ConvConfig::new(from, to, 1).groups(groups).bias(true);
        let squeeze = full(channels, config.squeezed());
        let squeeze = plain.named(squeeze, at, "fc1", format!("{norm}1"));
        let expand = full(config.squeezed(), channels * radix);
        let expand = ConvStyle::default().named(expand, at, "fc2", "");
        Self {
            conv,
            squeeze,
            expand,
            groups,
            radix,
            pool,
        }
    }

    /// # Shapes
    /// - input `[N, C, H, W]`, output `[N, C, H / stride, W / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        let [n, all, h, w] = x.dims();
        let (radix, c) = (self.radix, all / self.radix);
        let versions = x.reshape([n, radix, c, h * w]);
        let means = versions.clone().sum_dim(1).mean_dim(3);
        let logits = self.squeeze.forward(means.reshape([n, c, 1, 1]));
        let logits = self.expand.forward(logits);
        let shares = if radix > 1 {
            // The logits of a group lie together, its versions one after another.
            let logits = logits.reshape([n, self.groups, radix, c / self.groups]);
            softmax(logits, 2).swap_dims(1, 2)
        } else {
            sigmoid(logits)
        };
        let mixed = (versions * shares.reshape([n, radix, c, 1])).sum_dim(1);
        let mixed = mixed.reshape([n, c, h, w]);
        match self.pool {
            Some(stride) => {
                let options = AvgPoolOptions::new([3; 2])
                    .with_stride([stride; 2])
                    .with_padding([1; 2]);
                avg_pool2d(mixed, options)
            }
            None => mixed,
        }
    }

    /// Whether a norm here takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        self.conv.learning() || self.squeeze.learning()
    }
}
