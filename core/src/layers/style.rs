//! [`ConvStyle`]: what `conv_cfg`, `norm_cfg` and `act_cfg` say for all convolutions of a component.

use super::{ActConfig, Activation, ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct};
use super::{Distribution, Fan, Init, InitRule, NormConfig, Params};
use crate::config::{Diagnostics, Node, error_at};

/// What the convolutions of a component have in common.
#[derive(Clone, Debug, Default)]
pub struct ConvStyle {
    /// `conv_cfg`.
    pub kind: ConvKind,
    /// `norm_cfg`.
    pub norm: Option<NormConfig>,
    /// `act_cfg`.
    pub act: Option<Activation>,
    /// Whether mmcv's `ConvModule` gives its convolution and norm their initial values once more when all is built, whatever an `init_cfg`
    /// around it says. MMEngine has it do so where all modules around it are its own, but not in an `nn.ModuleList` or `nn.Sequential`.
    pub initialises: bool,
}

impl ConvStyle {
    /// The defaults of YOLOX's parts: BN with momentum 0.03 and eps 1e-3, then Swish.
    pub fn batch_swish() -> Self {
        Self {
            kind: ConvKind::Plain,
            norm: Some(NormConfig::batch(1e-3).momentum(0.03)),
            act: Some(Activation::Silu),
            initialises: false,
        }
    }

    /// Reads the three keys of `node`. An absent one is as in `defaults`, `None` is none. `channels` are those that the norms are to have.
    ///
    /// # Errors
    /// All that is wrong with them, each at its place.
    pub fn read(node: &Node, defaults: ConvStyle, channels: &[usize]) -> Result<Self, Diagnostics> {
        let mut style = defaults;
        let mut problems = Vec::new();
        let mut fail = |key, message: String, help: &str| {
            problems.extend(error_at(node, key, message, help));
        };
        match read::<NormConfig>(node, "norm_cfg")? {
            None => {}
            Some(norm) => style.norm = norm,
        }
        if let Some(norm) = &style.norm
            && let Err(message) = norm.check(channels)
        {
            fail("norm_cfg", message, "");
        }
        match read::<ConvLayerConfig>(node, "conv_cfg")?.map(|conv| conv.map(|c| c.conv_kind())) {
            None => {}
            Some(None) => style.kind = ConvKind::Plain,
            Some(Some(Ok(kind))) => style.kind = kind,
            Some(Some(Err(message))) => fail("conv_cfg", message, ""),
        }
        if let Some(act) = read::<ActConfig>(node, "act_cfg")? {
            style.act = act.as_ref().and_then(Activation::from_config);
            if let (Some(act), None) = (&act, style.act) {
                let help = format!("known are {}", Activation::NAMES.join(", "));
                fail(
                    "act_cfg",
                    format!("unknown activation `{}`", act.kind),
                    &help,
                );
            }
        }
        if problems.is_empty() {
            Ok(style)
        } else {
            Err(problems)
        }
    }

    /// The same with another activation.
    pub fn act(&self, act: Option<Activation>) -> Self {
        Self {
            act,
            ..self.clone()
        }
    }

    /// The same without norms.
    pub fn bare(&self) -> Self {
        Self {
            norm: None,
            ..self.clone()
        }
    }

    /// A convolution in this style, with the names of mmcv's `ConvModule`: `conv` and, if there is a norm, `bn` (`gn`, `in`).
    pub fn module(&self, conv: ConvConfig, at: &Params) -> ConvNormAct {
        let name = self.norm.as_ref().map_or("", NormConfig::abbreviation);
        let (conv_at, of_conv) = (at.at("conv"), InitRule::all(self.kaiming(), 0.0));
        let itself = self.kind.initialises_itself();
        if self.initialises {
            if !itself {
                conv_at.initialise(of_conv.clone());
            }
            at.at(name)
                .initialise(InitRule::all(Init::Constant(1.0), 0.0));
        }
        if !itself {
            conv_at.initialise_built(of_conv);
        }
        if matches!(self.kind, ConvKind::Deformable { .. }) {
            let none = InitRule::all(Init::Constant(0.0), 0.0);
            conv_at.at("conv_offset").initialise_built(none);
        }
        let module = self.named(conv, at, "conv", name);
        at.built();
        module
    }

    /// What `ConvModule` gives its convolution, by the activation that follows.
    fn kaiming(&self) -> Init {
        match self.act {
            Some(Activation::LeakyRelu(slope)) => Init::Kaiming {
                gain: (2.0 / (1.0 + slope * slope)).sqrt(),
                fan: Fan::Out,
                distribution: Distribution::Normal,
            },
            _ => Init::KAIMING,
        }
    }

    /// A convolution in this style, its tensors below `conv_name`, its norm's below `norm_name`.
    pub fn named(
        &self,
        conv: ConvConfig,
        at: &Params,
        conv_name: impl std::fmt::Display,
        norm_name: impl std::fmt::Display,
    ) -> ConvNormAct {
        let norm_at = at.at(norm_name);
        let norm = self.norm.as_ref().map(|norm| (norm, &norm_at));
        conv.kind(self.kind)
            .act(self.act)
            .init(&at.at(conv_name), norm)
    }

    /// A 3x3 convolution that keeps the size, but for its stride; with `depthwise` mmcv's `DepthwiseSeparableConvModule` in its place: a
    /// convolution for each channel (`depthwise_conv`), then one of 1x1 across them (`pointwise_conv`; Howard et al. 2017, arXiv 1704.04861).
    /// `bias` is where there is a norm too, if that is said.
    pub fn conv3x3(
        &self,
        [channels_in, channels_out]: [usize; 2],
        stride: usize,
        depthwise: bool,
        bias: Option<bool>,
        at: &Params,
    ) -> Vec<ConvNormAct> {
        let biased = |conv: ConvConfig| match bias {
            Some(bias) => conv.bias(bias),
            None => conv,
        };
        let out = if depthwise { channels_in } else { channels_out };
        let three = ConvConfig::new(channels_in, out, 3).stride(stride).pad(1);
        if !depthwise {
            return vec![self.module(biased(three), at)];
        }
        let one = ConvConfig::new(channels_in, channels_out, 1);
        vec![
            self.module(biased(three.groups(channels_in)), &at.at("depthwise_conv")),
            self.module(biased(one), &at.at("pointwise_conv")),
        ]
    }
}

/// `None` if the key is absent, `Some(None)` if it is None.
fn read<T: serde::de::DeserializeOwned>(
    node: &Node,
    key: &str,
) -> Result<Option<Option<T>>, Diagnostics> {
    node.get(key).map(|node| node.read()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MapLoader};
    use crate::layers::Mode;
    use burn::tensor::Device;

    fn style(keys: &str, channels: &[usize]) -> Result<ConvStyle, Diagnostics> {
        let text = format!("m=dict({keys})");
        let config = Config::parse(&text, "test.py", &MapLoader::default()).unwrap();
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-3)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        ConvStyle::read(config.root.get("m").unwrap(), defaults, channels)
    }

    #[test]
    fn absent_keys_are_defaults_and_none_is_none() {
        let absent = style("", &[8]).unwrap();
        assert_eq!(absent.norm.unwrap().momentum, Some(0.1));
        assert_eq!(absent.act, Some(Activation::Relu));
        let none = style("conv_cfg=None, norm_cfg=None, act_cfg=None", &[8]).unwrap();
        assert!(none.norm.is_none() && none.act.is_none());
        let given = "norm_cfg=dict(type='BN', momentum=None), conv_cfg=dict(type='ConvWS'), act_cfg=dict(type='SiLU')";
        let given = style(given, &[8]).unwrap();
        assert_eq!(given.norm.unwrap().momentum, None, "a cumulative average");
        assert_eq!(given.kind, ConvKind::Standardised);
        assert_eq!(given.act, Some(Activation::Silu));
    }

    #[test]
    fn all_mistakes_are_found() {
        let wrong = "norm_cfg=dict(type='GN', num_groups=3), conv_cfg=dict(type='Conv9d'), act_cfg=dict(type='ReLu')";
        let found: Vec<_> = style(wrong, &[8]).unwrap_err();
        let found: Vec<_> = found.into_iter().map(|d| d.message).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("does not divide 8"));
        assert!(found[1].contains("`Conv9d`") && found[2].contains("`ReLu`"));
    }

    #[test]
    fn names_are_mmcvs() {
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        let style = ConvStyle::batch_swish();
        style.conv3x3([4, 8], 2, true, None, &params.at("a"));
        style.conv3x3([4, 8], 2, false, Some(true), &params.at("b"));
        style
            .bare()
            .module(ConvConfig::new(4, 8, 1), &params.at("c"));
        let state = params.state();
        let found: Vec<_> = state
            .iter()
            .filter(|e| !e.key.contains("bn.") || e.key.ends_with("bn.weight"))
            .map(|e| (e.key.as_str(), e.shape.as_slice()))
            .collect();
        let expected: [(&str, &[usize]); 9] = [
            ("a.depthwise_conv.conv.weight", &[4, 1, 3, 3]),
            ("a.depthwise_conv.bn.weight", &[4]),
            ("a.pointwise_conv.conv.weight", &[8, 4, 1, 1]),
            ("a.pointwise_conv.bn.weight", &[8]),
            ("b.conv.weight", &[8, 4, 3, 3]),
            ("b.conv.bias", &[8]),
            ("b.bn.weight", &[8]),
            ("c.conv.weight", &[8, 4, 1, 1]),
            ("c.conv.bias", &[8]),
        ];
        assert_eq!(found, expected);
    }
}
