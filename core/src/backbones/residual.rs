//! ResNet's blocks (He et al. 2016, arXiv 1512.03385) where other networks are made of them: two 3x3 convolutions, or a 3x3 between two 1x1
//! (bottleneck), added to the input before the last activation. Tensors are `conv1`, `bn1`, `conv2` and so on; `downsample.0` and `.1` are the
//! convolution and norm of an input of another shape.
//!
//! Shapes: x `[N, channels_in, H, W]`, output `[N, channels_out, H / stride, W / stride]`.

use burn::tensor::Tensor;

use crate::layers::{Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, NormConfig, Params};

/// How to make a [`ResidualBlock`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResidualConfig {
    pub channels_in: usize,
    /// Channels of the 3x3 convolution of a bottleneck; None for two 3x3 convolutions.
    pub width: Option<usize>,
    pub channels_out: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Of the 3x3 convolution of a bottleneck.
    pub groups: usize,
    pub drop_path_rate: f64,
}

impl ResidualConfig {
    /// Two 3x3 convolutions.
    pub fn basic(channels_in: usize, channels_out: usize) -> Self {
        Self {
            channels_in,
            width: None,
            channels_out,
            stride: 1,
            dilation: 1,
            groups: 1,
            drop_path_rate: 0.0,
        }
    }

    /// A 3x3 convolution of `width` channels between two of 1x1.
    pub fn bottleneck(channels_in: usize, width: usize, channels_out: usize) -> Self {
        Self {
            width: Some(width),
            ..Self::basic(channels_in, channels_out)
        }
    }

    /// The convolutions without that of the shortcut, in their order.
    fn convs(&self) -> Vec<ConvConfig> {
        let three = |from, to| {
            ConvConfig::new(from, to, 3)
                .stride(self.stride)
                .pad(self.dilation)
                .dilation(self.dilation)
        };
        let (from, to) = (self.channels_in, self.channels_out);
        match self.width {
            Some(width) => vec![
                ConvConfig::new(from, width, 1),
                three(width, width).groups(self.groups),
                ConvConfig::new(width, to, 1),
            ],
            None => vec![three(from, to), ConvConfig::new(to, to, 3).pad(1)],
        }
    }

    /// Builds the block, and its shortcut if the shapes of input and output differ.
    ///
    /// # Panics
    /// If `style` has no norm.
    pub fn init(&self, style: &ConvStyle, at: &Params) -> ResidualBlock {
        let mut block = self.init_branch(style, at);
        if self.stride != 1 || self.channels_in != self.channels_out {
            let conv = ConvConfig::new(self.channels_in, self.channels_out, 1);
            let conv = conv.stride(self.stride).bias(false);
            let downsample = style.act(None).named(conv, &at.at("downsample"), 0, 1);
            block.downsample = Some(downsample);
            at.built_in_order(["downsample", "conv1", "conv2", "conv3"]);
        }
        block
    }

    /// As [`ResidualConfig::init`], for [`ResidualBlock::forward_onto`] alone.
    pub fn init_branch(&self, style: &ConvStyle, at: &Params) -> ResidualBlock {
        let drop_path = DropPath::new(self.drop_path_rate, &at.at("drop_path"));
        let norm = style.norm.as_ref();
        let norm = norm.expect("a residual block has norms").abbreviation();
        let configs = self.convs();
        let count = configs.len();
        let conv = |(i, conv): (usize, ConvConfig)| {
            let names = (format!("conv{}", i + 1), format!("{norm}{}", i + 1));
            let last = i + 1 == count;
            let bare = style.act(None);
            let style = if last && drop_path.is_some() {
                &bare
            } else {
                style
            };
            style.named(conv.bias(false), at, names.0, names.1)
        };
        ResidualBlock {
            convs: configs.into_iter().enumerate().map(conv).collect(),
            downsample: None,
            drop_path: drop_path.map(|drop| (drop, style.act)),
        }
    }

    /// The place of the last norm, with which a block begins as the identity where that is 0.
    pub fn last_norm(&self, norm: &NormConfig, at: &Params) -> Params {
        let count = if self.width.is_some() { 3 } else { 2 };
        at.at(format!("{}{count}", norm.abbreviation()))
    }
}

/// A residual block.
#[derive(Debug)]
pub(crate) struct ResidualBlock {
    convs: Vec<ConvNormAct>,
    downsample: Option<ConvNormAct>,
    /// What leaves the branch out, and the activation that then follows the sum.
    drop_path: Option<(DropPath, Option<Activation>)>,
}

impl ResidualBlock {
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(conv) => conv.forward(x.clone()),
            None => x.clone(),
        };
        self.forward_onto(x, shortcut)
    }

    /// With what is added to the branch of `x`.
    pub fn forward_onto(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let x = before.iter().fold(x, |x, conv| conv.forward(x));
        let Some((drop, act)) = &self.drop_path else {
            return last.forward_onto(x, shortcut);
        };
        let sum = if drop.learning() {
            drop.forward(last.forward(x)) + shortcut
        } else {
            last.forward_onto(x, shortcut)
        };
        match act {
            Some(act) => act.forward(sum),
            None => sum,
        }
    }
}
