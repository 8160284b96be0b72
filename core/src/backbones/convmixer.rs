//! ConvMixer (Trockman and Kolter 2022, arXiv 2201.09792) as MMPretrain 1.2.0 builds it: patches, then layers that all give maps of one size: a
//! depthwise filter, added to its input, and a layer of one place, each with activation and norm.
//!
//! Shapes: every layer gives `[N, embed_dims, H / patch_size, W / patch_size]`, what is left over not counted.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Norm, NormConfig, Padding, Params,
};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of `type='mmpretrain.ConvMixer'`; `arch`, `out_indices`, `norm_cfg` and `act_cfg` are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    frozen_stages: Option<i64>,
}

const OTHERS: &[&str] = &["arch", "out_indices", "norm_cfg", "act_cfg", "init_cfg"];

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct Given {
    embed_dims: Channels,
    depth: Layers,
    patch_size: Pixels,
    kernel_size: Pixels,
}

/// Channels, layers, and the sides of patches and of filters.
type Size = [usize; 4];

const ARCHES: [(&str, Size); 3] = [
    ("768/32", [768, 32, 7, 7]),
    ("1024/20", [1024, 20, 14, 9]),
    ("1536/20", [1536, 20, 7, 9]),
];

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(ConvMixer::read(node, build)?))
}

/// ConvMixer.
#[derive(Debug)]
pub struct ConvMixer {
    stem: Normed,
    layers: Vec<[Normed; 2]>,
    outputs: Vec<usize>,
    feature: Feature,
    channels_in: usize,
}

impl ConvMixer {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: Keys = node.read_knowing(OTHERS)?;
        let [channels, depth, patch, kernel] =
            match options::arch::<Size, Given>(node, "768/32", &ARCHES)? {
                options::Arch::Named(size) => size,
                options::Arch::Given(arch) => [
                    arch.embed_dims.get(),
                    arch.depth.get(),
                    arch.patch_size.get(),
                    arch.kernel_size.get(),
                ],
            };
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Gelu),
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults, &[channels])?;
        let Some(norm) = style.norm else {
            let message = "there is no layer without norms";
            return Err(error_at(node, "norm_cfg", message, ""));
        };
        let outputs = options::out_indices(node, &[-1], depth, depth)?;
        let frozen = options::frozen_stages(node, config.frozen_stages, 0, depth)?;

        let params = &build.params;
        let layer = |conv: ConvConfig, at: &Params, [first, last]: [usize; 2]| Normed {
            conv: conv.act(style.act).init(&at.at(first), None),
            norm: norm.init(channels, &at.at(last)),
        };
        let channels_in = config.in_channels.map_or(3, Channels::get);
        let stem = ConvConfig::new(channels_in, channels, patch).stride(patch);
        let stem = layer(stem, &params.at("stem"), [0, 2]);
        let stages = params.at("stages");
        let of = |i: usize| {
            let at = stages.at(i);
            let each = ConvConfig::new(channels, channels, kernel)
                .padding(Padding::Same)
                .groups(channels);
            let each = layer(each, &at.at("0.fn"), [0, 2]);
            [
                each,
                layer(ConvConfig::new(channels, channels, 1), &at, [1, 3]),
            ]
        };
        let layers = (0..depth).map(of).collect();
        for i in 0..frozen {
            stages.at(i).freeze();
        }
        Ok(Self {
            stem,
            layers,
            outputs,
            feature: Feature {
                channels,
                stride: patch,
            },
            channels_in,
        })
    }
}

impl Backbone for ConvMixer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(x);
        let mut maps = Vec::new();
        for (i, [each, across]) in self.layers.iter().enumerate() {
            let after = self.outputs.last().is_none_or(|last| i > *last);
            if after && !each.norm.learning() {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            x = across.forward(each.forward(x.clone()) + x);
            if self.outputs.contains(&i) {
                maps.push(x.clone());
            }
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        vec![self.feature; self.outputs.len()]
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// A convolution with its activation, then a norm.
#[derive(Debug)]
struct Normed {
    conv: ConvNormAct,
    norm: Norm,
}

impl Normed {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}
