//! [`Plugin`]: a layer that a config puts before or after what an extractor reads, mmcv's `build_plugin_layer`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::present;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ContextBlock, ContextBlockConfig, ConvConfig, ConvNormAct, ConvStyle,
    GeneralizedAttention, GeneralizedAttentionConfig, NonLocal, NonLocalConfig, Params,
};
use crate::limits::Channels;

/// The keys of `type='ConvModule'`.
#[derive(Debug, Deserialize)]
struct ConvKeys {
    in_channels: Channels,
    out_channels: Channels,
    kernel_size: Bounded<1, 31>,
    padding: Option<Bounded<0, 31>>,
    dilation: Option<Bounded<1, 31>>,
    groups: Option<Channels>,
    stride: Option<Bounded<1, 31>>,
    bias: Option<crate::layers::ConvBias>,
    with_spectral_norm: Option<bool>,
    padding_mode: Option<String>,
    order: Option<Vec<String>>,
}

/// A layer that keeps the size of maps.
#[derive(Debug)]
pub(super) enum Plugin {
    Conv(Box<ConvNormAct>),
    Context(Box<ContextBlock>),
    Attention(Box<GeneralizedAttention>),
    NonLocal(Box<NonLocal>),
}

/// Keys of attention that are read here.
const OTHERS: &[&str] = &["type", "in_channels"];

/// What `in_channels` of attention says.
fn takes(given: &Node) -> Result<usize, Diagnostics> {
    let Some(channels) = present(given, "in_channels") else {
        let message = "the key `in_channels` is missing";
        return Err(error_at(given, "", message, ""));
    };
    channels.read::<Channels>().map(Channels::get)
}

impl Plugin {
    /// What `key` of `node` says, for maps of so many channels, `square` or not, and the channels that it gives; None without the key.
    ///
    /// # Errors
    /// The layer is not known, or changes the size of maps.
    pub fn read(
        node: &Node,
        key: &str,
        channels: usize,
        square: bool,
        at: &Params,
    ) -> Result<Option<(Self, usize)>, Diagnostics> {
        let Some(given) = present(node, key) else {
            return Ok(None);
        };
        let kind = given.get("type").and_then(Node::as_type);
        let kind = kind.as_deref().unwrap_or_default();
        let (plugin, takes, gives) = match kind.rsplit('.').next().unwrap_or_default() {
            "ConvModule" => Self::conv(given, at)?,
            "ContextBlock" => {
                let config: ContextBlockConfig = given.read_knowing(OTHERS)?;
                config.check(given, &[channels])?;
                let plugin = Self::Context(Box::new(config.init(channels, at)));
                (plugin, takes(given)?, channels)
            }
            "GeneralizedAttention" => {
                let config: GeneralizedAttentionConfig = given.read_knowing(OTHERS)?;
                match square {
                    true => config.check_square(given, &[channels])?,
                    false => config.check(given, &[channels])?,
                }
                let plugin = Self::Attention(Box::new(config.init(channels, at)));
                (plugin, takes(given)?, channels)
            }
            "NonLocal2d" => {
                let config = NonLocalConfig::read(given, &[channels], OTHERS)?;
                let plugin = Self::NonLocal(Box::new(config.init(channels, at)));
                (plugin, takes(given)?, channels)
            }
            other => {
                let message = format!("the layer `{other}` is not supported here");
                let known = "known are ContextBlock, ConvModule, GeneralizedAttention, NonLocal2d";
                return Err(unsupported(given, "type", message, known));
            }
        };
        if takes != channels {
            let message = format!("`{key}` takes {takes} channels, but gets {channels}");
            return Err(error_at(given, "in_channels", message, ""));
        }
        Ok(Some((plugin, gives)))
    }

    fn conv(given: &Node, at: &Params) -> Result<(Self, usize, usize), Diagnostics> {
        let others = ["type", "conv_cfg", "norm_cfg", "act_cfg", "inplace"];
        let keys: ConvKeys = given.read_knowing(&others)?;
        let order = keys.order.as_ref();
        let usual = order.is_none_or(|order| *order == ["conv", "norm", "act"]);
        let zeros = keys
            .padding_mode
            .as_ref()
            .is_none_or(|mode| mode == "zeros");
        for (key, fine) in [
            ("with_spectral_norm", keys.with_spectral_norm != Some(true)),
            ("padding_mode", zeros),
            ("order", usual),
        ] {
            if !fine {
                let message = format!("this `{key}` is not supported here");
                return Err(unsupported(given, key, message, ""));
            }
        }
        let [from, to] = [keys.in_channels.get(), keys.out_channels.get()];
        let side = keys.kernel_size.get();
        let dilation = keys.dilation.map_or(1, Bounded::get);
        let padding = keys.padding.map_or(0, Bounded::get);
        let stride = keys.stride.map_or(1, Bounded::get);
        if stride != 1 || 2 * padding != dilation * (side - 1) {
            let message = "this convolution changes the size of a region's map";
            let help = "write stride=1 and padding=(kernel_size - 1) / 2";
            return Err(unsupported(given, "kernel_size", message, help));
        }
        let groups = keys.groups.map_or(1, Channels::get);
        if !from.is_multiple_of(groups) || !to.is_multiple_of(groups) {
            let message = format!("`groups` is {groups}, which does not divide {from} and {to}");
            return Err(error_at(given, "groups", message, ""));
        }
        let defaults = ConvStyle {
            act: Some(Activation::Relu),
            initialises: true,
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(given, defaults, &[to])?;
        let conv = ConvConfig::new(from, to, side);
        let conv = conv.pad(padding).dilation(dilation).groups(groups);
        let conv = match keys.bias.and_then(crate::layers::ConvBias::said) {
            Some(bias) => conv.bias(bias),
            None => conv,
        };
        Ok((Self::Conv(Box::new(style.module(conv, at))), from, to))
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Context(layer) => layer.forward(x),
            Self::Attention(layer) => layer.forward(x),
            Self::NonLocal(layer) => layer.forward(x),
        }
    }
}
