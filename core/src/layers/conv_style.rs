//! What mmcv's `ConvModule` and `DepthwiseSeparableConvModule` (Howard et al. 2017, arXiv 1704.04861) make of the keys `conv_cfg`,
//! `norm_cfg` and `act_cfg`, which most parts have.

use super::{
    ActConfig, Activation, ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct, Init, NormConfig,
    Params,
};
use crate::config::{Diagnostics, Node, error_at};

/// What the convolutions of a part have in common.
#[derive(Clone, Debug)]
pub struct ConvStyle {
    /// Which convolution.
    pub kind: ConvKind,
    /// What follows each convolution; without it the convolutions have a bias.
    pub norm: Option<NormConfig>,
    /// What follows the norm.
    pub act: Option<Activation>,
    /// Weights where no checkpoint gives any.
    pub init: Init,
}

impl ConvStyle {
    /// Nothing but convolutions.
    pub fn plain(init: Init) -> Self {
        Self {
            kind: ConvKind::Plain,
            norm: None,
            act: None,
            init,
        }
    }

    /// The defaults of YOLOX's and RTMDet's parts: BN with momentum 0.03 and eps 1e-3, then Swish.
    pub fn batch_swish() -> Self {
        Self {
            kind: ConvKind::Plain,
            norm: Some(NormConfig {
                momentum: Some(0.03),
                ..NormConfig::batch(1e-3)
            }),
            act: Some(Activation::Silu),
            init: Init::UniformFanIn,
        }
    }

    /// This style changed by the keys of `node`, which were read into the other three: an absent key leaves it, `None` takes it away.
    ///
    /// # Errors
    /// A name is unknown. That the norm fits the channels is [`ConvStyle::check`]'s business.
    pub fn changed(
        mut self,
        node: &Node,
        conv_cfg: Option<&ConvLayerConfig>,
        norm_cfg: Option<&NormConfig>,
        act_cfg: Option<&ActConfig>,
    ) -> Result<Self, Diagnostics> {
        let mut problems = Vec::new();
        match conv_cfg.map(ConvLayerConfig::conv_kind) {
            None => {}
            Some(Ok(kind)) => self.kind = kind,
            Some(Err(message)) => problems.extend(error_at(node, "conv_cfg", message, "")),
        }
        if node.get("norm_cfg").is_some() {
            self.norm = norm_cfg.cloned();
        }
        if node.get("act_cfg").is_some() {
            self.act = act_cfg.and_then(Activation::from_config);
        }
        if let (None, Some(act)) = (self.act, act_cfg) {
            let message = format!("unknown activation `{}`", act.kind);
            let help = format!("known are {}", Activation::NAMES.join(", "));
            problems.extend(error_at(node, "act_cfg", message, &help));
        }
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    /// Whether the norm is one for layers of so many channels.
    ///
    /// # Errors
    /// It is not; the error is at `norm_cfg` of `node`.
    pub fn check(&self, node: &Node, channels: &[usize]) -> Result<(), Diagnostics> {
        match self.norm.as_ref().map(|norm| norm.check(channels)) {
            Some(Err(message)) => Err(error_at(node, "norm_cfg", message, "")),
            _ => Ok(()),
        }
    }

    /// A `ConvModule`: the convolution's tensors are below `at.conv`, the norm's below `at.bn` (`at.gn`, `at.in`).
    ///
    /// # Panics
    /// If [`ConvStyle::check`] was not asked.
    pub fn conv(&self, conv: ConvConfig, at: &Params) -> ConvNormAct {
        let norm_at = self.norm.as_ref().map(|n| (n, at.at(n.abbreviation())));
        conv.kind(self.kind)
            .act(self.act)
            .initial(self.init, 0.0)
            .init(&at.at("conv"), norm_at.as_ref().map(|(n, at)| (*n, at)))
    }

    /// A `DepthwiseSeparableConvModule`: a convolution for each channel (`at.depthwise_conv`), then one of 1x1 across them
    /// (`at.pointwise_conv`). The first keeps the size, but for its stride.
    pub fn separable(
        &self,
        [channels_in, channels_out]: [usize; 2],
        kernel: usize,
        stride: usize,
        at: &Params,
    ) -> Vec<ConvNormAct> {
        let depthwise = ConvConfig::new(channels_in, channels_in, kernel)
            .stride(stride)
            .pad(kernel / 2)
            .groups(channels_in);
        let pointwise = ConvConfig::new(channels_in, channels_out, 1);
        vec![
            self.conv(depthwise, &at.at("depthwise_conv")),
            self.conv(pointwise, &at.at("pointwise_conv")),
        ]
    }

    /// One 3x3 convolution, or with `depthwise` what replaces it, [`ConvStyle::separable`].
    pub fn conv3x3(
        &self,
        channels: [usize; 2],
        stride: usize,
        depthwise: bool,
        at: &Params,
    ) -> Vec<ConvNormAct> {
        if depthwise {
            return self.separable(channels, 3, stride, at);
        }
        let conv = ConvConfig::new(channels[0], channels[1], 3)
            .stride(stride)
            .pad(1);
        vec![self.conv(conv, at)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_value;
    use crate::layers::Mode;
    use burn::tensor::Device;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Keys {
        conv_cfg: Option<ConvLayerConfig>,
        norm_cfg: Option<NormConfig>,
        act_cfg: Option<ActConfig>,
    }

    fn read(text: &str) -> Result<ConvStyle, String> {
        let node = parse_value(text).unwrap();
        let Keys {
            conv_cfg,
            norm_cfg,
            act_cfg,
        } = node.read().unwrap();
        ConvStyle::batch_swish()
            .changed(
                &node,
                conv_cfg.as_ref(),
                norm_cfg.as_ref(),
                act_cfg.as_ref(),
            )
            .map_err(|problems| problems.iter().map(|p| p.message.clone()).collect())
    }

    #[test]
    fn none_is_not_absent() {
        let absent = read("dict()").unwrap();
        assert_eq!(absent.norm.unwrap().eps(), 1e-3);
        assert_eq!(absent.act, Some(Activation::Silu));
        let none = read("dict(norm_cfg=None, act_cfg=None)").unwrap();
        assert!(none.norm.is_none() && none.act.is_none());
        let other = read("dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))").unwrap();
        assert_eq!(other.norm.unwrap().eps(), 1e-5);
        assert_eq!(other.act, Some(Activation::Relu));
    }

    #[test]
    fn unknown_names_are_told_together() {
        let both = read("dict(conv_cfg=dict(type='X'), act_cfg=dict(type='Y'))").unwrap_err();
        assert!(both.contains("unknown convolution `X`"), "{both}");
        assert!(both.contains("unknown activation `Y`"), "{both}");
    }

    #[test]
    fn names_are_mmcvs() {
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        let style = ConvStyle::batch_swish();
        style.conv3x3([4, 8], 2, true, &params.at("a"));
        style.conv3x3([4, 8], 2, false, &params.at("b"));
        ConvStyle::plain(Init::XavierUniform)
            .conv(ConvConfig::new(4, 8, 1), &params.at("c"))
            .forward(burn::tensor::Tensor::zeros([1, 4, 2, 2], &Device::flex()));
        let state = params.state();
        let found: Vec<_> = state
            .iter()
            .filter(|e| !e.key.contains("bn.") || e.key.ends_with("bn.weight"))
            .map(|e| (e.key.as_str(), e.shape.as_slice()))
            .collect();
        let expected: [(&str, &[usize]); 8] = [
            ("a.depthwise_conv.conv.weight", &[4, 1, 3, 3]),
            ("a.depthwise_conv.bn.weight", &[4]),
            ("a.pointwise_conv.conv.weight", &[8, 4, 1, 1]),
            ("a.pointwise_conv.bn.weight", &[8]),
            ("b.conv.weight", &[8, 4, 3, 3]),
            ("b.bn.weight", &[8]),
            ("c.conv.weight", &[8, 4, 1, 1]),
            ("c.conv.bias", &[8]),
        ];
        assert_eq!(found, expected);
    }
}
