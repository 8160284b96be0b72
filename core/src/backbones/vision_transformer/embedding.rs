//! Patches of a picture as tokens, and what is added to them to tell where they come from.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::backbones::options::{Sides, token_norm};
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    ConvConfig, ConvNormAct, Init, Norm, NormConfig, Padding, Params, Resized, Weight,
    map_from_tokens, tokens_from_map,
};
use crate::limits::Pixels;
use crate::ops::resize::{Interpolation, resize};

/// Values of position embeddings and tokens at the beginning (mmengine's `trunc_normal_` of 0.02).
pub(super) const SMALL: Init = Init::TruncNormal {
    mean: 0.0,
    std: 0.02,
    a: -2.0,
    b: 2.0,
};

/// The keys of a `patch_cfg`, absent ones as the backbone has them.
#[derive(Debug, Default, Deserialize)]
struct PatchKeys {
    kernel_size: Option<Sides<Pixels>>,
    stride: Option<Sides<Pixels>>,
    padding: Option<PatchPadding>,
    dilation: Option<Sides<Pixels>>,
    bias: Option<bool>,
    norm_cfg: Option<NormConfig>,
    conv_type: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum PatchPadding {
    Named(String),
    Even(PaddingPixels),
}
type PaddingPixels = crate::config::Bounded<0, 1024>;

/// How patches become tokens (mmcv's `PatchEmbed`).
pub(super) struct PatchPlan {
    conv: ConvConfig,
    norm: Option<NormConfig>,
    channels: usize,
    pub stride: usize,
}

impl PatchPlan {
    /// `bias` is whether the convolution has one where `patch_cfg` says nothing.
    pub fn read(
        node: &Node,
        patch_size: Option<Sides<Pixels>>,
        [channels_in, channels]: [usize; 2],
        bias: bool,
    ) -> Result<Self, Diagnostics> {
        let keys = match node.get("patch_cfg") {
            Some(cfg) => cfg.read_knowing::<PatchKeys>(&[])?,
            None => PatchKeys::default(),
        };
        let cfg = node.get("patch_cfg").unwrap_or(node);
        let square = |at: &Node, key: &str, sides: Sides<Pixels>| match sides.both() {
            [h, w] if h == w => Ok(h.get()),
            _ => Err(unsupported(
                at,
                key,
                "patches that are not square are not supported",
                "",
            )),
        };
        let default = match patch_size {
            Some(size) => square(node, "patch_size", size)?,
            None => 16,
        };
        let of = |key, sides: Option<Sides<Pixels>>, default| match sides {
            Some(sides) => square(cfg, key, sides),
            None => Ok(default),
        };
        let kernel = of("kernel_size", keys.kernel_size, default)?;
        let stride = of("stride", keys.stride, default)?;
        let dilation = of("dilation", keys.dilation, 1)?;
        let padding = match keys.padding {
            None => Padding::Corner,
            Some(PatchPadding::Even(pixels)) => Padding::Even(pixels.get()),
            Some(PatchPadding::Named(name)) => match name.as_str() {
                "corner" => Padding::Corner,
                "same" => Padding::Same,
                other => {
                    let message = format!("`padding` is '{other}', must be 'corner' or 'same'");
                    return Err(error_at(cfg, "padding", message, ""));
                }
            },
        };
        if let Some(kind) = keys.conv_type.as_deref().filter(|kind| *kind != "Conv2d") {
            let message = format!("patches by '{kind}' are not supported");
            return Err(unsupported(cfg, "conv_type", message, "'Conv2d' is"));
        }
        let norm = match keys.norm_cfg {
            Some(norm) => Some(token_norm(cfg, "norm_cfg", norm)?),
            None => None,
        };
        let conv = ConvConfig::new(channels_in, channels, kernel)
            .stride(stride)
            .dilation(dilation)
            .padding(padding)
            .bias(keys.bias.unwrap_or(bias));
        Ok(Self {
            conv,
            norm,
            channels,
            stride,
        })
    }

    /// Patches down and across a picture of `size`.
    ///
    /// # Errors
    /// There are none.
    pub fn places(&self, size: [usize; 2], node: &Node) -> Result<[usize; 2], Diagnostics> {
        if let [Some(h), Some(w)] = size.map(|side| self.conv.side(side)) {
            return Ok([h, w]);
        }
        let [h, w] = size;
        let message = format!("a picture of {w} x {h} px has no room for a patch");
        Err(error_at(node, "img_size", message, ""))
    }

    pub fn init(&self, at: &Params) -> PatchEmbed {
        PatchEmbed {
            conv: self.conv.init(&at.at("projection"), None),
            norm: (self.norm.as_ref()).map(|norm| norm.init(self.channels, &at.at("norm"))),
        }
    }
}

/// Patches to tokens.
#[derive(Debug)]
pub(super) struct PatchEmbed {
    conv: ConvNormAct,
    norm: Option<Norm>,
}

impl PatchEmbed {
    /// Tokens `[N, H * W, C]` of a picture, and their places `[H, W]`.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let map = self.conv.forward(x);
        let [_, _, h, w] = map.dims();
        let tokens = tokens_from_map(map);
        let tokens = match &self.norm {
            Some(norm) => norm.forward_tokens(tokens),
            None => tokens,
        };
        (tokens, [h, w])
    }
}

/// A learned vector for each place of a picture, and before them those of `extra` tokens; resized for pictures of another size.
#[derive(Debug)]
pub(super) struct PositionEmbed {
    /// `[1, extra + H * W, C]`
    weight: Weight<3>,
    places: [usize; 2],
    extra: usize,
    how: Interpolation,
}

impl PositionEmbed {
    pub fn new(
        [h, w]: [usize; 2],
        extra: usize,
        channels: usize,
        how: Interpolation,
        at: &Params,
    ) -> Self {
        let resized = Resized {
            extra,
            places: [h, w],
            how,
        };
        at.resized("pos_embed", resized);
        Self {
            weight: at.weight("pos_embed", [1, extra + h * w, channels], SMALL),
            places: [h, w],
            extra,
            how,
        }
    }

    /// `[1, extra + h * w, C]`
    pub fn forward(&self, size: [usize; 2]) -> Tensor<3> {
        let all = self.weight.get();
        if size == self.places {
            return all;
        }
        let [h, w] = self.places;
        let map = map_from_tokens(all.clone().narrow(1, self.extra, h * w), [h, w]);
        let places = tokens_from_map(resize(map, size, self.how, false));
        match self.extra {
            0 => places,
            extra => Tensor::cat(vec![all.narrow(1, 0, extra), places], 1),
        }
    }
}
