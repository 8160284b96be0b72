//! timm's MaxViT (Tu et al. 2022, arXiv 2204.01697), CoAtNet (Dai et al. 2021, arXiv 2106.04803) and their kin: a stem, then stages of
//! convolution blocks and of attention, within windows, across a grid, or of all places.
//!
//! With `features_only` a map of the stem (stride 2), then one after each stage (4, 8, 16, 32); else the last one after a norm. Windows, grids and
//! tables of distances are those for pictures of `img_size`, which timm demands; ours puts zeros at the end of maps of other sizes.

mod blocks;

use burn::tensor::Tensor;
use serde::Deserialize;

use self::blocks::{Block, Make};
use super::{Asked, COMMON};
use crate::backbones::tokens::{PictureSize, drop_path_rates, sides};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{Activation, ConvConfig, ConvNormAct, Norm, NormConfig};

#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<PictureSize>,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A convolution block.
    Conv,
    /// Attention of all places.
    Whole,
    /// A convolution block, then attention within windows, then across a grid.
    Max,
    /// Two convolution blocks, then both attentions side by side.
    Parallel,
}

/// What is added to scores by how far apart two places are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distances {
    /// A table.
    Table,
    /// A network with so many hidden channels.
    Network(usize),
    /// A table as TensorFlow's models have it.
    Reversed,
}

/// A member of the family.
#[derive(Clone, Copy, Debug)]
struct Variant {
    channels: [usize; 4],
    depths: [usize; 4],
    kinds: [Kind; 4],
    /// A stage of [`Kind::Whole`] begins with a convolution block.
    mixed: bool,
    stem: [usize; 2],
    /// Padded as TensorFlow does, with its epsilons, activation and order of heads.
    tensorflow: bool,
    /// ConvNeXt's blocks, not MobileNet's; the layer scale that they have.
    next: Option<f64>,
    /// Convolution blocks widen by what they give, not by what they get.
    expand_output: bool,
    output_bias: bool,
    /// A convolution block pools first, in place of a stride.
    pools: bool,
    /// An activation follows the first norm of a convolution block.
    pre_act: bool,
    /// Squeeze-and-excite comes before the second norm.
    early: bool,
    /// Squeeze-and-excite has ReLU, not SiLU.
    squeeze_relu: bool,
    squeeze_ratio: f64,
    act: Activation,
    /// Shortcuts take the largest, not the mean.
    max_pool: bool,
    shortcut_bias: bool,
    /// Attention of all places has batch norms.
    batch_norm: bool,
    /// Attention widens by its projection to q, k and v, not by its last.
    expand_first: bool,
    scale: Option<f64>,
    /// Whether [`Kind::Max`] has attention within windows.
    within_windows: bool,
    distances: Distances,
    /// Channels of a layer after the last stage.
    head: Option<usize>,
    /// All weights begin alike.
    normal: bool,
}

const COAT: [Kind; 4] = [Kind::Conv, Kind::Conv, Kind::Whole, Kind::Whole];
const MAX: [Kind; 4] = [Kind::Max; 4];

/// The papers' CoAtNet, with channels for the first stage, doubled in each.
fn coat(channels: usize, depths: [usize; 4]) -> Variant {
    Variant {
        channels: [0, 1, 2, 3].map(|i| channels << i),
        depths,
        kinds: COAT,
        mixed: false,
        stem: [64; 2],
        tensorflow: false,
        next: None,
        expand_output: true,
        output_bias: true,
        pools: false,
        pre_act: false,
        early: false,
        squeeze_relu: false,
        squeeze_ratio: 0.25,
        act: Activation::Gelu,
        max_pool: false,
        shortcut_bias: true,
        batch_norm: false,
        expand_first: true,
        scale: None,
        within_windows: true,
        distances: Distances::Table,
        head: Some(8 * channels),
        normal: false,
    }
}

/// TensorFlow's MaxViT.
fn tf(channels: usize, depths: [usize; 4], stem: usize) -> Variant {
    Variant {
        kinds: MAX,
        stem: [stem; 2],
        tensorflow: true,
        act: Activation::GeluTanh,
        distances: Distances::Reversed,
        ..coat(channels, depths)
    }
}

/// timm's own MaxViT.
fn rw(channels: usize, depths: [usize; 4]) -> Variant {
    Variant {
        kinds: MAX,
        stem: [32, 64],
        expand_output: false,
        output_bias: false,
        squeeze_ratio: 1.0 / 16.0,
        act: Activation::Silu,
        expand_first: false,
        head: None,
        ..coat(channels, depths)
    }
}

/// timm's own CoAtNet.
fn rw_coat(channels: usize, depths: [usize; 4]) -> Variant {
    Variant {
        kinds: COAT,
        stem: [channels / 2, channels],
        pre_act: true,
        squeeze_ratio: 0.25,
        ..rw(channels, depths)
    }
}

/// With ConvNeXt's blocks.
fn next(channels: usize, depths: [usize; 4]) -> Variant {
    Variant {
        stem: [channels / 2, channels],
        next: Some(1e-6),
        output_bias: true,
        act: Activation::Gelu,
        scale: Some(1e-6),
        distances: Distances::Network(512),
        ..rw(channels, depths)
    }
}

const NAMES: [&str; 56] = [
    "coatnet_0_224",
    "coatnet_0_rw_224",
    "coatnet_1_224",
    "coatnet_1_rw_224",
    "coatnet_2_224",
    "coatnet_2_rw_224",
    "coatnet_3_224",
    "coatnet_3_rw_224",
    "coatnet_4_224",
    "coatnet_5_224",
    "coatnet_bn_0_rw_224",
    "coatnet_nano_cc_224",
    "coatnet_nano_rw_224",
    "coatnet_pico_rw_224",
    "coatnet_rmlp_0_rw_224",
    "coatnet_rmlp_1_rw2_224",
    "coatnet_rmlp_1_rw_224",
    "coatnet_rmlp_2_rw_224",
    "coatnet_rmlp_2_rw_384",
    "coatnet_rmlp_3_rw_224",
    "coatnet_rmlp_nano_rw_224",
    "coatnext_nano_rw_224",
    "maxvit_base_tf_224",
    "maxvit_base_tf_384",
    "maxvit_base_tf_512",
    "maxvit_large_tf_224",
    "maxvit_large_tf_384",
    "maxvit_large_tf_512",
    "maxvit_nano_rw_256",
    "maxvit_pico_rw_256",
    "maxvit_rmlp_base_rw_224",
    "maxvit_rmlp_base_rw_384",
    "maxvit_rmlp_nano_rw_256",
    "maxvit_rmlp_pico_rw_256",
    "maxvit_rmlp_small_rw_224",
    "maxvit_rmlp_small_rw_256",
    "maxvit_rmlp_tiny_rw_256",
    "maxvit_small_tf_224",
    "maxvit_small_tf_384",
    "maxvit_small_tf_512",
    "maxvit_tiny_pm_256",
    "maxvit_tiny_rw_224",
    "maxvit_tiny_rw_256",
    "maxvit_tiny_tf_224",
    "maxvit_tiny_tf_384",
    "maxvit_tiny_tf_512",
    "maxvit_xlarge_tf_224",
    "maxvit_xlarge_tf_384",
    "maxvit_xlarge_tf_512",
    "maxxvit_rmlp_nano_rw_256",
    "maxxvit_rmlp_small_rw_256",
    "maxxvit_rmlp_tiny_rw_256",
    "maxxvitv2_nano_rw_256",
    "maxxvitv2_rmlp_base_rw_224",
    "maxxvitv2_rmlp_base_rw_384",
    "maxxvitv2_rmlp_large_rw_224",
];

pub(super) fn names() -> Vec<String> {
    NAMES.iter().map(|name| name.to_string()).collect()
}

/// A model by its name, and its picture's side.
fn variant(name: &str) -> Option<(Variant, usize)> {
    const SMALL: [usize; 4] = [2, 2, 5, 2];
    const NANO: [usize; 4] = [1, 2, 3, 1];
    const LARGE: [usize; 4] = [2, 6, 14, 2];
    const HUGE: [usize; 4] = [2, 12, 28, 2];
    let network = Distances::Network(512);
    let (model, side) = name.rsplit_once('_')?;
    let variant = match model {
        "coatnet_0" => coat(96, [2, 3, 5, 2]),
        "coatnet_1" => coat(96, LARGE),
        "coatnet_2" => Variant {
            stem: [128; 2],
            ..coat(128, LARGE)
        },
        "coatnet_3" => Variant {
            stem: [192; 2],
            ..coat(192, LARGE)
        },
        "coatnet_4" => Variant {
            stem: [192; 2],
            ..coat(192, HUGE)
        },
        "coatnet_5" => Variant {
            channels: [256, 512, 1280, 2048],
            stem: [192; 2],
            ..coat(256, HUGE)
        },
        "coatnet_pico_rw" => Variant {
            pre_act: false,
            output_bias: true,
            ..rw_coat(64, [2, 3, 5, 2])
        },
        "coatnet_nano_rw" => Variant {
            pre_act: false,
            output_bias: true,
            pools: true,
            ..rw_coat(64, [3, 4, 6, 3])
        },
        "coatnet_nano_cc" => Variant {
            kinds: COAT,
            mixed: true,
            pools: true,
            squeeze_relu: true,
            ..rw_coat(64, [3, 4, 6, 3])
        },
        "coatnet_0_rw" | "coatnet_bn_0_rw" => Variant {
            stem: [32, 64],
            pools: model == "coatnet_0_rw",
            early: true,
            squeeze_relu: true,
            shortcut_bias: false,
            batch_norm: model == "coatnet_bn_0_rw",
            ..rw_coat(96, [2, 3, 7, 2])
        },
        "coatnet_1_rw" => Variant {
            stem: [32, 64],
            early: true,
            squeeze_relu: true,
            shortcut_bias: false,
            ..rw_coat(96, LARGE)
        },
        "coatnet_2_rw" => rw_coat(128, LARGE),
        "coatnet_3_rw" => Variant {
            scale: Some(1e-6),
            ..rw_coat(192, LARGE)
        },
        "coatnet_rmlp_nano_rw" => Variant {
            pre_act: false,
            output_bias: true,
            distances: Distances::Network(384),
            ..rw_coat(64, [3, 4, 6, 3])
        },
        "coatnet_rmlp_0_rw" => Variant {
            stem: [32, 64],
            squeeze_relu: true,
            distances: network,
            ..rw_coat(96, [2, 3, 7, 2])
        },
        "coatnet_rmlp_1_rw" => Variant {
            stem: [32, 64],
            pools: true,
            max_pool: true,
            early: true,
            squeeze_relu: true,
            shortcut_bias: false,
            distances: Distances::Network(384),
            ..rw_coat(96, LARGE)
        },
        "coatnet_rmlp_1_rw2" => Variant {
            stem: [32, 64],
            squeeze_relu: true,
            distances: network,
            ..rw_coat(96, LARGE)
        },
        "coatnet_rmlp_2_rw" => Variant {
            scale: Some(1e-6),
            distances: network,
            ..rw_coat(128, LARGE)
        },
        "coatnet_rmlp_3_rw" => Variant {
            scale: Some(1e-6),
            distances: network,
            ..rw_coat(192, LARGE)
        },
        "coatnext_nano_rw" => Variant {
            kinds: COAT,
            next: Some(1e-5),
            scale: None,
            distances: Distances::Table,
            normal: true,
            ..next(64, [3, 4, 6, 3])
        },
        "maxvit_pico_rw" => Variant {
            stem: [24, 32],
            ..rw(32, SMALL)
        },
        "maxvit_nano_rw" => rw(64, NANO),
        "maxvit_tiny_rw" => rw(64, SMALL),
        "maxvit_tiny_pm" => Variant {
            kinds: [Kind::Parallel; 4],
            ..rw(64, SMALL)
        },
        "maxvit_rmlp_pico_rw" => Variant {
            stem: [24, 32],
            distances: network,
            ..rw(32, SMALL)
        },
        "maxvit_rmlp_nano_rw" => Variant {
            distances: network,
            ..rw(64, NANO)
        },
        "maxvit_rmlp_tiny_rw" => Variant {
            distances: network,
            ..rw(64, SMALL)
        },
        "maxvit_rmlp_small_rw" => Variant {
            scale: Some(1e-6),
            distances: network,
            ..rw(96, SMALL)
        },
        "maxvit_rmlp_base_rw" => Variant {
            distances: network,
            head: Some(768),
            ..rw(96, LARGE)
        },
        "maxxvit_rmlp_nano_rw" => Variant {
            normal: true,
            stem: [32, 64],
            ..next(64, NANO)
        },
        "maxxvit_rmlp_tiny_rw" => next(64, SMALL),
        "maxxvit_rmlp_small_rw" => next(96, SMALL),
        "maxxvitv2_nano_rw" => Variant {
            within_windows: false,
            distances: Distances::Table,
            normal: true,
            ..next(96, NANO)
        },
        "maxxvitv2_rmlp_base_rw" => Variant {
            within_windows: false,
            ..next(128, [2, 6, 12, 2])
        },
        "maxxvitv2_rmlp_large_rw" => Variant {
            within_windows: false,
            head: Some(1280),
            ..next(160, [2, 6, 16, 2])
        },
        "maxvit_tiny_tf" => tf(64, SMALL, 64),
        "maxvit_small_tf" => tf(96, SMALL, 64),
        "maxvit_base_tf" => tf(96, LARGE, 64),
        "maxvit_large_tf" => tf(128, LARGE, 128),
        "maxvit_xlarge_tf" => tf(192, LARGE, 192),
        _ => return None,
    };
    Some((variant, side.parse().ok()?))
}

impl Variant {
    /// The j-th block of stage i.
    fn kind(&self, i: usize, j: usize) -> Kind {
        match self.kinds[i] {
            Kind::Whole if self.mixed && j == 0 => Kind::Conv,
            kind => kind,
        }
    }

    /// Of convolution blocks and the stem.
    fn conv_norm(&self) -> NormConfig {
        match (self.next, self.tensorflow) {
            (Some(_), _) => NormConfig::layer(1e-6),
            (None, true) => NormConfig::batch(1e-3),
            (None, false) => NormConfig::batch(1e-5),
        }
    }

    /// Of attention.
    fn norm(&self) -> NormConfig {
        NormConfig::layer(if self.tensorflow { 1e-5 } else { 1e-6 })
    }

    /// Of attention of all places, and at the end.
    fn whole_norm(&self) -> NormConfig {
        match self.batch_norm {
            true => NormConfig::batch(1e-6),
            false => self.norm(),
        }
    }

    /// Between the layers of attention blocks.
    fn layers_act(&self) -> Activation {
        match self.tensorflow {
            true => Activation::GeluTanh,
            false => Activation::Gelu,
        }
    }
}

const STEM_STRIDE: usize = 2;
/// A picture has so many windows a side.
const PARTITIONS: usize = 32;

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let (variant, side) = variant(&asked.name).expect("the family knows its names");
    let picture = sides(asked.node, "img_size", keys.img_size.as_ref(), side)?;
    let windows = picture.map(|side| side / PARTITIONS);
    if windows.iter().any(|side| !(1..=64).contains(side)) {
        let message = "`img_size` must be from 32 to 2048 px";
        return Err(error_at(asked.node, "img_size", message, ""));
    }
    let channels = [vec![variant.stem[1]], variant.channels.to_vec()].concat();
    let features = channels.iter().enumerate().map(|(i, channels)| Feature {
        channels: *channels,
        stride: STEM_STRIDE << i,
    });
    let features: Vec<_> = features.collect();
    let wanted = match asked.features_only {
        true => asked.wanted(&features)?,
        false => vec![features.len() - 1],
    };
    let stages = wanted.last().copied().unwrap_or(0);

    let params = &asked.params;
    let make = Make {
        variant: &variant,
        windows,
    };
    let at = params.at("stem");
    let bias = variant.tensorflow;
    let conv1 = ConvConfig::new(asked.channels_in, variant.stem[0], 3).stride(STEM_STRIDE);
    let norm = variant.conv_norm();
    let act = variant.act;
    let conv1 = make.padded(conv1, 3, STEM_STRIDE).bias(bias).act(Some(act));
    make.begin(&conv1, &at.at("conv1"));
    let conv1 = conv1.init(&at.at("conv1"), Some((&norm, &at.at("norm1"))));
    let conv2 = ConvConfig::new(variant.stem[0], variant.stem[1], 3);
    let conv2 = make.padded(conv2, 3, 1).bias(bias);
    make.begin(&conv2, &at.at("conv2"));
    let stem = [conv1, conv2.init(&at.at("conv2"), None)];

    let most = asked.drop_path_rate;
    let rates = drop_path_rates(most, &variant.depths);
    let mut map = picture.map(|side| side / STEM_STRIDE);
    let mut before = variant.stem[1];
    let mut built = Vec::new();
    for (i, rates) in rates.iter().enumerate().take(stages) {
        map = map.map(|side| side.div_ceil(2));
        let at = match asked.features_only {
            true => {
                let at = params.at(format!("stages_{i}"));
                at.once_called(&format!("stages.{i}"));
                at
            }
            false => params.at(format!("stages.{i}")),
        };
        let at = at.at("blocks");
        let mut blocks = Vec::new();
        for (j, rate) in rates.iter().enumerate() {
            let channels = [before, variant.channels[i]];
            let stride = if j == 0 { 2 } else { 1 };
            let kind = variant.kind(i, j);
            blocks.push(make.block(kind, channels, stride, map, *rate, &at.at(j)));
            before = variant.channels[i];
        }
        built.push(blocks);
    }
    let mut last = None;
    let mut features: Vec<_> = wanted.iter().map(|i| features[*i]).collect();
    if !asked.features_only {
        let at = match variant.head {
            Some(_) => params.at("head.norm"),
            None => params.at("norm"),
        };
        let norm = variant.whole_norm().init(before, &at);
        let layer = variant.head.map(|channels| {
            features[0].channels = channels;
            let conv = ConvConfig::new(before, channels, 1).bias(true);
            let conv = conv.act(Some(Activation::Tanh));
            conv.init(&params.at("head.pre_logits.fc"), None)
        });
        last = Some((norm, layer));
    }
    params.built();
    Ok(Box::new(MaxxVit {
        stem,
        stages: built,
        last,
        wanted,
        features,
        channels_in: asked.channels_in,
    }))
}

/// MaxViT, CoAtNet and their kin.
#[derive(Debug)]
pub struct MaxxVit {
    stem: [ConvNormAct; 2],
    stages: Vec<Vec<Block>>,
    /// The norm, and the layer, that the classifier would read.
    last: Option<(Norm, Option<ConvNormAct>)>,
    /// Maps that are given: 0 is the stem's.
    wanted: Vec<usize>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl Backbone for MaxxVit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, conv| conv.forward(x));
        let mut maps = Vec::new();
        if self.wanted.contains(&0) {
            maps.push(x.clone());
        }
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if self.wanted.contains(&(i + 1)) {
                maps.push(x.clone());
            }
        }
        let Some((norm, layer)) = &self.last else {
            return maps;
        };
        let x = norm.forward(x);
        match layer {
            Some(layer) => vec![layer.forward(x)],
            None => vec![x],
        }
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_model() {
        for name in NAMES {
            let (variant, side) = variant(name).unwrap();
            assert!(variant.channels[0] >= 32 && side >= 224, "{name}");
        }
        assert!(variant("maxvit_tiny_xx_224").is_none());
    }
}
