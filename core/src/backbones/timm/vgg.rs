//! timm's VGG (Simonyan and Zisserman 2015, arXiv 1409.1556), with batch norms or without.
//!
//! Shapes: level i from 0 to 4 is stage i before its pooling, `[N, 64 * 2^i, H / 2^i, ..]`, at most 512 channels; level 5 is the last pooling.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Asked, COMMON, norm_layer};
use crate::backbones::plain_chain::{PlainChain, Pool};
use crate::backbones::vgg::{CHANNELS, stages, three};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at, unsupported};
use crate::layers::{Activation, Init, InitRule, NormConfig};

/// The keys of timm's VGG that change something before its classifier.
#[derive(Debug, Deserialize)]
struct Keys {
    /// A class, which a config cannot name.
    act_layer: Option<IgnoredAny>,
    /// The same.
    conv_layer: Option<IgnoredAny>,
}

/// Keys that others read, or that are of the classifier.
const OTHERS: &[&str] = &["norm_layer", "global_pool", "mlp_ratio"];

const DEPTHS: [usize; 4] = [11, 13, 16, 19];

/// All names.
pub(super) fn names() -> Vec<String> {
    let of = |depth| [format!("vgg{depth}"), format!("vgg{depth}_bn")];
    DEPTHS.into_iter().flat_map(of).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let node = asked.node;
    let fail = |key, message: String| Err(error_at(node, key, message, ""));
    let keys: Keys = node.read_knowing(&[COMMON, OTHERS].concat())?;
    for (key, given) in [
        ("act_layer", keys.act_layer.is_some()),
        ("conv_layer", keys.conv_layer.is_some()),
    ] {
        if given {
            return fail(
                key,
                format!("`{key}` must be a class, which no config can name"),
            );
        }
    }
    let name = &asked.name;
    if asked.output_stride != 32 {
        let message = format!("`output_stride` must be 32 for '{name}'");
        return fail("output_stride", message);
    }
    if asked.drop_path_rate > 0.0 {
        let message = format!("'{name}' has no stochastic depth");
        return fail("drop_path_rate", message);
    }
    if !asked.features_only {
        let message = format!("'{name}' without features_only=True gives its classifier's numbers");
        let help = "write features_only=True";
        return Err(unsupported(node, "features_only", message, help));
    }
    let (digits, batch_norm) = match name["vgg".len()..].strip_suffix("_bn") {
        Some(digits) => (digits, true),
        None => (&name["vgg".len()..], false),
    };
    let norm = match node.get("norm_layer") {
        Some(_) if batch_norm => {
            return fail("norm_layer", format!("'{name}' has a norm of its own"));
        }
        None if !batch_norm => None,
        _ => Some(norm_layer(node, NormConfig::batch(1e-5))?),
    };
    let depth = digits.parse().expect("a name has its depth");
    let blocks = stages(depth).expect("the family knows its depths");

    let mut levels = Vec::new();
    for (i, channels) in CHANNELS.into_iter().enumerate() {
        let stride = 1 << i;
        levels.push(Feature { channels, stride });
    }
    levels.push(Feature {
        channels: 512,
        stride: 32,
    });
    let wanted = asked.wanted(&levels)?;
    let last = wanted.last().copied().unwrap_or(0);

    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Conv2d"], Init::KAIMING));
    let mut chain = PlainChain::new(asked.channels_in);
    let mut index = 0;
    for (i, count) in blocks.into_iter().enumerate().take(last + 1) {
        for _ in 0..count {
            let place = |index: usize| {
                let at = params.at(format!("features_{index}"));
                at.once_called(&format!("features.{index}"));
                at
            };
            let conv = three(chain.channels(), CHANNELS[i], 1)
                .bias(true)
                .act(Some(Activation::Relu));
            let layer = match &norm {
                Some(norm) => conv.init(&place(index), Some((norm, &place(index + 1)))),
                None => conv.init(&place(index), None),
            };
            chain.convolution(layer, CHANNELS[i], 1);
            index += if norm.is_some() { 3 } else { 2 };
        }
        if wanted.contains(&i) {
            chain.give();
        }
        if i < last {
            chain.pool(Pool::halving(false));
            index += 1;
        }
    }
    if last == blocks.len() {
        chain.give();
    }
    params.built();
    Ok(Box::new(chain))
}
