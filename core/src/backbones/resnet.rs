//! ResNet (He et al. 2016, arXiv 1512.03385) as MMDetection 3.3.0 builds it, with the stem and shortcut of
//! ResNet-D (He et al. 2019, arXiv 1812.01187, `deep_stem`, `avg_down`) on demand.
//!
//! Shapes: stage i gives `[N, base_channels * 2^i * expansion, H / (4 * strides[..=i]), W / ...]`, expansion 1 for depths 18 and 34, else 4.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct, NormConfig, Params,
};

/// The keys of `type='ResNet'`, absent ones at MMDetection's defaults.
#[derive(Debug, Deserialize)]
struct ResNetConfig {
    depth: i64,
    in_channels: Option<usize>,
    stem_channels: Option<usize>,
    base_channels: Option<usize>,
    num_stages: Option<usize>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    out_indices: Option<Vec<usize>>,
    style: Option<String>,
    deep_stem: Option<bool>,
    avg_down: Option<bool>,
    conv_cfg: Option<ConvLayerConfig>,
    norm_cfg: Option<NormConfig>,
    /// Not supported; anything but None is an error.
    dcn: Option<IgnoredAny>,
    /// Not supported; anything but None is an error.
    plugins: Option<IgnoredAny>,
    // Of training only: read, so that they are known keys.
    #[serde(rename = "frozen_stages")]
    _frozen_stages: Option<i64>,
    #[serde(rename = "norm_eval")]
    _norm_eval: Option<bool>,
    #[serde(rename = "stage_with_dcn")]
    _stage_with_dcn: Option<Vec<bool>>,
    #[serde(rename = "with_cp")]
    _with_cp: Option<bool>,
    #[serde(rename = "zero_init_residual")]
    _zero_init_residual: Option<bool>,
    #[serde(rename = "pretrained")]
    _pretrained: Option<String>,
    #[serde(rename = "init_cfg")]
    _init_cfg: Option<IgnoredAny>,
}

/// What the blocks share.
struct Style {
    norm: NormConfig,
    conv: ConvKind,
    caffe: bool,
    avg_down: bool,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(ResNet::read(node, build, false)?))
}

pub(super) fn build_v1d(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(ResNet::read(node, build, true)?))
}

/// ResNet-18 to -152.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Vec<ConvNormAct>,
    stages: Vec<Vec<Block>>,
    #[module(skip)]
    features: Vec<Feature>,
    #[module(skip)]
    out_indices: Vec<usize>,
    channels_in: usize,
}

impl ResNet {
    fn read(node: &Node, build: &Build, v1d: bool) -> Result<Self, Diagnostics> {
        let config: ResNetConfig = node.read()?;
        let blocks: [usize; 4] = match config.depth {
            18 => [2, 2, 2, 2],
            34 | 50 => [3, 4, 6, 3],
            101 => [3, 4, 23, 3],
            152 => [3, 8, 36, 3],
            other => {
                let message = format!("ResNet has no depth {other}");
                return Err(error_at(
                    node,
                    "depth",
                    message,
                    "known are 18, 34, 50, 101, 152",
                ));
            }
        };
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        if config.dcn.is_some() {
            return Err(unsupported(
                node,
                "dcn",
                "deformable convolutions are not supported yet",
                "",
            ));
        }
        if config.plugins.is_some() {
            return Err(unsupported(
                node,
                "plugins",
                "ResNet plugins are not supported yet",
                "",
            ));
        }
        let num_stages = config.num_stages.unwrap_or(4);
        if !(1..=4).contains(&num_stages) {
            return fail(
                "num_stages",
                format!("`num_stages` is {num_stages}, must be 1 to 4"),
            );
        }
        let strides = config.strides.unwrap_or_else(|| vec![1, 2, 2, 2]);
        let dilations = config.dilations.unwrap_or_else(|| vec![1; 4]);
        let out_indices = config.out_indices.unwrap_or_else(|| vec![0, 1, 2, 3]);
        for (key, list) in [("strides", &strides), ("dilations", &dilations)] {
            if list.len() != num_stages {
                let message = format!("`{key}` has {} entries for {num_stages} stages", list.len());
                return fail(key, message);
            }
            if list.contains(&0) {
                return fail(key, format!("`{key}` must be at least 1"));
            }
        }
        if let Some(i) = out_indices.iter().find(|i| **i >= num_stages) {
            let message = format!("`out_indices` names stage {i}; there are {num_stages}, from 0");
            return fail("out_indices", message);
        }
        let caffe = match config.style.as_deref() {
            None | Some("pytorch") => false,
            Some("caffe") => true,
            Some(other) => {
                return fail(
                    "style",
                    format!("`style` is '{other}', must be 'pytorch' or 'caffe'"),
                );
            }
        };
        let norm = config.norm_cfg.unwrap_or_else(|| NormConfig::batch(1e-5));
        let conv = match config.conv_cfg.map(|c| c.conv_kind()) {
            None => ConvKind::Plain,
            Some(Ok(kind)) => kind,
            Some(Err(message)) => return fail("conv_cfg", message),
        };
        let deep = v1d || config.deep_stem.unwrap_or(false);
        let style = Style {
            norm,
            conv,
            caffe,
            avg_down: v1d || config.avg_down.unwrap_or(false),
        };
        let base = config.base_channels.unwrap_or(64).max(1);
        let stem_channels = config.stem_channels.unwrap_or(base);
        let channels_in = config.in_channels.unwrap_or(3);
        let planes = (0..num_stages).map(|i| base << i);
        let channels: Vec<_> = planes.chain([stem_channels, stem_channels / 2]).collect();
        let used = if deep {
            &channels[..]
        } else {
            &channels[..num_stages + 1]
        };
        if let Err(message) = style.norm.check(used) {
            return fail("norm_cfg", message);
        }

        let params = &build.params;
        let stem = if deep {
            deep_stem(channels_in, stem_channels, &style, &params.at("stem"))
        } else {
            let conv = ConvConfig::new(channels_in, stem_channels, 7)
                .stride(2)
                .pad(3);
            vec![style.layer(conv, true, params, "conv1", 1)]
        };
        let mut stages = Vec::new();
        let mut features = Vec::new();
        let (mut channels, mut stride) = (stem_channels, 4);
        for (i, &count) in blocks.iter().take(num_stages).enumerate() {
            let shape = BlockShape {
                bottleneck: config.depth >= 50,
                planes: base << i,
                stride: strides[i],
                dilation: dilations[i],
            };
            let at = params.at(format!("layer{}", i + 1));
            let mut stage = Vec::with_capacity(count);
            for j in 0..count {
                let shape = BlockShape {
                    stride: if j == 0 { shape.stride } else { 1 },
                    ..shape
                };
                stage.push(Block::new(channels, shape, &style, &at.at(j)));
                channels = shape.channels_out();
            }
            stages.push(stage);
            stride *= strides[i];
            if out_indices.contains(&i) {
                features.push(Feature { channels, stride });
            }
        }
        Ok(Self {
            stem,
            stages,
            features,
            out_indices,
            channels_in,
        })
    }
}

impl Backbone for ResNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let pool = MaxPoolOptions::new([3, 3])
            .with_stride([2, 2])
            .with_padding([1, 1]);
        let mut x = max_pool2d(x, pool);
        let mut outputs = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if self.out_indices.contains(&i) {
                outputs.push(x.clone());
            }
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// Three 3x3 convolutions in place of the 7x7 one: `stem.0`, `.3`, `.6` and their norms at the next index.
fn deep_stem(channels_in: usize, channels: usize, style: &Style, at: &Params) -> Vec<ConvNormAct> {
    let half = channels / 2;
    [(channels_in, half, 2), (half, half, 1), (half, channels, 1)]
        .into_iter()
        .enumerate()
        .map(|(i, (from, to, stride))| {
            ConvConfig::new(from, to, 3)
                .stride(stride)
                .pad(1)
                .bias(false)
                .kind(style.conv)
                .act(Some(Activation::Relu))
                .init(&at.at(3 * i), Some((&style.norm, &at.at(3 * i + 1))))
        })
        .collect()
}

impl Style {
    /// A convolution named `name` and, beside it, its norm: `bn1` or `gn1` for the first one of a block.
    fn layer(
        &self,
        conv: ConvConfig,
        relu: bool,
        at: &Params,
        name: &str,
        i: usize,
    ) -> ConvNormAct {
        let norm_at = at.at(format!("{}{i}", self.norm.abbreviation()));
        conv.bias(false)
            .kind(self.conv)
            .act(relu.then_some(Activation::Relu))
            .init(&at.at(name), Some((&self.norm, &norm_at)))
    }
}

#[derive(Clone, Copy)]
struct BlockShape {
    bottleneck: bool,
    planes: usize,
    stride: usize,
    dilation: usize,
}

impl BlockShape {
    fn channels_out(&self) -> usize {
        if self.bottleneck {
            4 * self.planes
        } else {
            self.planes
        }
    }
}

/// A residual block: two 3x3 convolutions, or a 3x3 between two 1x1 (bottleneck), added to the shortcut.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    downsample: Option<ConvNormAct>,
    /// Side of the average pooling before the shortcut's convolution, 1 for none.
    pool: usize,
}

impl Block {
    fn new(channels_in: usize, shape: BlockShape, style: &Style, at: &Params) -> Self {
        let BlockShape {
            bottleneck,
            planes,
            stride,
            dilation,
        } = shape;
        let out = shape.channels_out();
        let convs = if bottleneck {
            let (first, second) = if style.caffe {
                (stride, 1)
            } else {
                (1, stride)
            };
            let middle = ConvConfig::new(planes, planes, 3)
                .stride(second)
                .pad(dilation)
                .dilation(dilation);
            vec![
                style.layer(
                    ConvConfig::new(channels_in, planes, 1).stride(first),
                    true,
                    at,
                    "conv1",
                    1,
                ),
                style.layer(middle, true, at, "conv2", 2),
                style.layer(ConvConfig::new(planes, out, 1), false, at, "conv3", 3),
            ]
        } else {
            let first = ConvConfig::new(channels_in, planes, 3)
                .stride(stride)
                .pad(dilation)
                .dilation(dilation);
            vec![
                style.layer(first, true, at, "conv1", 1),
                style.layer(
                    ConvConfig::new(planes, planes, 3).pad(1),
                    false,
                    at,
                    "conv2",
                    2,
                ),
            ]
        };
        let shortcut = stride != 1 || channels_in != out;
        let (pool, conv_stride) = if style.avg_down {
            (stride, 1)
        } else {
            (1, stride)
        };
        let downsample = shortcut.then(|| {
            let at = at.at("downsample");
            let first = usize::from(style.avg_down); // the pooling is the sequence's first entry
            ConvConfig::new(channels_in, out, 1)
                .stride(conv_stride)
                .bias(false)
                .kind(style.conv)
                .init(&at.at(first), Some((&style.norm, &at.at(first + 1))))
        });
        Self {
            convs,
            downsample,
            pool,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            None => x.clone(),
            Some(conv) if self.pool == 1 => conv.forward(x.clone()),
            Some(conv) => {
                let options = AvgPoolOptions::new([self.pool; 2])
                    .with_stride([self.pool; 2])
                    .with_ceil_mode(true)
                    .with_count_include_pad(false);
                conv.forward(avg_pool2d(x.clone(), options))
            }
        };
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x));
        Activation::Relu.forward(x + shortcut)
    }
}
