//! [`Tower`]: the stack of 3x3 convolutions in front of a dense head's last ones.

use burn::tensor::Tensor;

use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct, Init, NormConfig, Params,
};

/// How a head's convolutions are made: `conv_cfg`, `norm_cfg`, `conv_bias`.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub kind: ConvKind,
    pub norm: Option<NormConfig>,
    /// A bias where there is no norm, if it is not said.
    pub bias: Option<bool>,
    /// One filter a channel, then 1x1 (Howard et al. 2017, arXiv 1704.04861).
    pub depthwise: bool,
    pub act: Activation,
}

impl Style {
    /// Convolution and ReLU.
    pub fn plain() -> Self {
        Self {
            kind: ConvKind::Plain,
            norm: None,
            bias: None,
            depthwise: false,
            act: Activation::Relu,
        }
    }

    /// Reads the styles of the head `node` for maps of `channels`; `norm` is what the original takes where there is no `norm_cfg`.
    pub fn read(
        node: &Node,
        conv_cfg: Option<&ConvLayerConfig>,
        channels: usize,
        norm: Option<NormConfig>,
    ) -> Result<Self, Diagnostics> {
        let norm = match node.get("norm_cfg") {
            None => norm,
            Some(none) if none.is_none() => None,
            Some(given) => Some(given.read::<NormConfig>()?),
        };
        if let Some(norm) = &norm {
            let checked = norm.check(&[channels]);
            checked.map_err(|message| error_at(node, "norm_cfg", message, ""))?;
        }
        let kind = conv_cfg.map_or(Ok(ConvKind::Plain), ConvLayerConfig::conv_kind);
        let kind = kind.map_err(|message| error_at(node, "conv_cfg", message, ""))?;
        Ok(Self {
            kind,
            norm,
            ..Self::plain()
        })
    }
}

/// `conv`, norm and ReLU, several times.
#[derive(Debug)]
pub(super) struct Tower(Vec<ConvNormAct>);

impl Tower {
    /// `count` layers below `list`, from `channels_in` to `channels`.
    pub fn new(
        count: usize,
        channels_in: usize,
        channels: usize,
        style: &Style,
        list: &Params,
    ) -> Self {
        let layer = |i| {
            let at = list.at(i);
            let norm = style.norm.as_ref().map(|n| (n, at.at(n.abbreviation())));
            let from = if i == 0 { channels_in } else { channels };
            let mut conv = ConvConfig::new(from, channels, 3)
                .pad(1)
                .kind(style.kind)
                .act(Some(style.act))
                .initial(Init::Normal { std: 0.01 }, 0.0);
            if let Some(bias) = style.bias {
                conv = conv.bias(bias);
            }
            conv.init(&at.at("conv"), norm.as_ref().map(|(n, at)| (*n, at)))
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
