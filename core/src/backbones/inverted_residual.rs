//! The blocks of MobileNet's kin as OpenMMLab builds them: [`InvertedResidual`] (Sandler et al. 2018, arXiv 1801.04381, section 3.3), and
//! [`EdgeResidual`], which does its first two convolutions in one (Gupta and Akin 2020, arXiv 2003.02838).
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C', ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::Tensor;

use super::staged::Layer;
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvNormAct, ConvStyle, DropPath, Params, SqueezeExcite,
};

/// What a block is to be.
#[derive(Clone, Debug)]
pub(super) struct BlockConfig {
    /// Channels that come in.
    pub channels_in: usize,
    /// Channels between its convolutions.
    pub mid: usize,
    /// Channels that go out.
    pub channels_out: usize,
    /// Of the convolution that sees neighbours.
    pub kernel: usize,
    /// Of the same.
    pub stride: usize,
    /// Channels of the squeeze-and-excite, and its two activations.
    pub squeeze: Option<(usize, [Activation; 2])>,
    /// Share of pictures that go without the block while learning.
    pub drop_path_rate: f64,
}

/// What the convolutions of an [`InvertedResidual`] are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `expand_conv`, `depthwise_conv`, `linear_conv`.
    Apart,
    /// `conv.0` and so on, as many as there are.
    Sequence,
}

impl BlockConfig {
    /// Whether the input is added to what comes out.
    fn shortcut(&self) -> bool {
        self.stride == 1 && self.channels_in == self.channels_out
    }

    fn squeeze_excite(&self, style: &ConvStyle, at: &Params) -> Option<SqueezeExcite> {
        let (squeezed, [act, gate]) = self.squeeze?;
        let at = at.at("se");
        let convs = [(act, &at.at("conv1")), (gate, &at.at("conv2"))];
        let plain = ConvStyle {
            initialises: style.initialises,
            ..ConvStyle::default()
        };
        let make = |conv, act, at: &Params| plain.act(Some(act)).module(conv, at);
        Some(SqueezeExcite::new(self.mid, squeezed, convs, make))
    }

    /// Widen (1x1), filter each channel (depthwise), weigh the channels, narrow (1x1).
    pub fn inverted(&self, style: &ConvStyle, names: Names, at: &Params) -> InvertedResidual {
        let bare = &style.act(None);
        let expands = self.mid != self.channels_in;
        let place = |apart: &str, i: usize| match names {
            Names::Apart => at.at(apart),
            Names::Sequence => at.at("conv").at(i - usize::from(!expands)),
        };
        let expand = expands.then(|| {
            let conv = ConvConfig::new(self.channels_in, self.mid, 1);
            style.module(conv, &place("expand_conv", 0))
        });
        let depthwise = ConvConfig::new(self.mid, self.mid, self.kernel)
            .stride(self.stride)
            .pad(self.kernel / 2)
            .groups(self.mid);
        let depthwise = style.module(depthwise, &place("depthwise_conv", 1));
        let squeeze_excite = self.squeeze_excite(style, at);
        let linear = ConvConfig::new(self.mid, self.channels_out, 1);
        let linear = bare.module(linear, &place("linear_conv", 2));
        let rate = self.drop_path_rate;
        InvertedResidual {
            expand,
            depthwise,
            squeeze_excite,
            linear,
            shortcut: self
                .shortcut()
                .then(|| DropPath::new(rate, &at.at("drop_path"))),
        }
    }

    /// Widen and filter at once, weigh the channels, narrow (1x1). `narrow` says how the last convolution is made, and its stride, which is
    /// that of the block or 1.
    pub fn edge(
        &self,
        style: &ConvStyle,
        narrow: (ConvKind, usize),
        with_shortcut: bool,
        at: &Params,
    ) -> EdgeResidual {
        let (kind, last_stride) = narrow;
        let widen = ConvConfig::new(self.channels_in, self.mid, self.kernel)
            .stride(self.stride / last_stride)
            .pad(self.kernel / 2);
        let widen = style.module(widen, &at.at("conv1"));
        let squeeze_excite = self.squeeze_excite(style, at);
        let bare = ConvStyle {
            kind,
            ..style.act(None)
        };
        let narrow = ConvConfig::new(self.mid, self.channels_out, 1).stride(last_stride);
        let narrow = bare.module(narrow, &at.at("conv2"));
        let rate = self.drop_path_rate;
        EdgeResidual {
            widen,
            squeeze_excite,
            narrow,
            shortcut: (with_shortcut && self.shortcut())
                .then(|| DropPath::new(rate, &at.at("drop_path"))),
        }
    }
}

/// What a block adds its input with: nothing, or a [`DropPath`] that may be none.
type Shortcut = Option<Option<DropPath>>;

/// The last convolution of a block, and the shortcut from the block's input.
fn close(last: &ConvNormAct, shortcut: &Shortcut, wide: Tensor<4>, input: Tensor<4>) -> Tensor<4> {
    match shortcut {
        None => last.forward(wide),
        Some(Some(drop)) if drop.learning() => drop.forward(last.forward(wide)) + input,
        Some(_) => last.forward_onto(wide, input),
    }
}

/// Widen, filter each channel, weigh the channels, narrow; added to the input where shapes allow.
#[derive(Debug)]
pub(super) struct InvertedResidual {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    squeeze_excite: Option<SqueezeExcite>,
    linear: ConvNormAct,
    shortcut: Shortcut,
}

impl Layer for InvertedResidual {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = match &self.expand {
            Some(expand) => expand.forward(x.clone()),
            None => x.clone(),
        };
        y = self.depthwise.forward(y);
        if let Some(se) = &self.squeeze_excite {
            y = se.forward(y);
        }
        close(&self.linear, &self.shortcut, y, x)
    }

    fn learning(&self) -> bool {
        self.depthwise.learning()
    }
}

/// Widen and filter at once, weigh the channels, narrow; added to the input where shapes allow.
#[derive(Debug)]
pub(super) struct EdgeResidual {
    widen: ConvNormAct,
    squeeze_excite: Option<SqueezeExcite>,
    narrow: ConvNormAct,
    shortcut: Shortcut,
}

impl Layer for EdgeResidual {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = self.widen.forward(x.clone());
        if let Some(se) = &self.squeeze_excite {
            y = se.forward(y);
        }
        close(&self.narrow, &self.shortcut, y, x)
    }

    fn learning(&self) -> bool {
        self.widen.learning()
    }
}
