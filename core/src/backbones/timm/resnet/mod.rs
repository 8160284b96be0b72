//! timm's ResNet (He et al. 2016, arXiv 1512.03385) and its many relations, of which all have its frame of a stem and four stages:
//! ResNeXt (Xie et al. 2017, arXiv 1611.05431), Wide ResNet (Zagoruyko and Komodakis 2016, arXiv 1605.07146), ResNet-C, -D and -S (He et al.
//! 2019, arXiv 1812.01187), SENet (Hu et al. 2018, arXiv 1709.01507), ECA-Net (Wang et al. 2020, arXiv 1910.03151), ResNet-RS (Bello et al.
//! 2021, arXiv 2103.07579), Res2Net (Gao et al. 2019, arXiv 1904.01169) and ResNeSt (Zhang et al. 2020, arXiv 2004.08955).
//!
//! Shapes: level 0 is the stem before its pooling, `[N, stem, H / 2, W / 2]`; level i is stage i, `[N, 32 * 2^i * expansion, H / (2 * 2^i), ..]`,
//! expansion 1 for two convolutions in a block, else 4.

mod block;
mod models;
mod scales;
mod split;

pub(super) use models::names;

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;
use serde::de::IgnoredAny;

use self::block::{Block, BlockShape};
use self::models::Arch;
use super::{Asked, COMMON, activation, norm_layer};
use crate::backbones::{Backbone, Feature};
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, BlurPool, ConvConfig, ConvNormAct, ConvStyle, Dropout, Init, InitRule, NormConfig,
    Params,
};
use crate::limits::{Channels, List, Pixels};
use crate::ops::pool::max_pool2d;

/// Blocks of a stage.
const MOST_BLOCKS: usize = 128;
/// Channels of a convolution.
const MOST_CHANNELS: usize = 1 << 16;

/// What a block has between its first convolution and the shortcut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Two convolutions of 3x3.
    Basic,
    /// 1x1, 3x3, 1x1.
    Bottleneck,
    /// A split attention in place of the 3x3 (ResNeSt).
    Split { radix: usize, pools_first: bool },
    /// So many groups one after the other in place of the 3x3 (Res2Net).
    Scales(usize),
}

impl Kind {
    /// Channels that come out of a block, of those that it is named by.
    fn expansion(self) -> usize {
        if self == Kind::Basic { 1 } else { 4 }
    }
}

/// What comes before the stages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stem {
    /// One convolution of 7x7.
    Plain,
    /// Three of 3x3.
    Deep,
    /// Three, the first narrower.
    Tiered,
}

/// What weighs the channels at the end of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attention {
    /// With so many times fewer channels inside.
    SqueezeExcite(usize),
    Efficient,
}

/// What filters before numbers are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AntiAlias {
    /// The mean of those that become one.
    Average,
    Blur,
}

/// The keys of timm's ResNet.
#[derive(Debug, Deserialize)]
struct Keys {
    layers: Option<List<Bounded<1, MOST_BLOCKS>>>,
    cardinality: Option<Channels>,
    base_width: Option<Channels>,
    stem_width: Option<Channels>,
    stem_type: Option<String>,
    replace_stem_pool: Option<bool>,
    block_reduce_first: Option<Channels>,
    down_kernel_size: Option<Pixels>,
    avg_down: Option<bool>,
    act_layer: Option<String>,
    zero_init_last: Option<bool>,
    block_args: Option<Node>,
    drop_block_rate: Option<f64>,
    /// A class, which a config cannot name.
    aa_layer: Option<IgnoredAny>,
}

/// What a `block_args` of a plain block holds.
#[derive(Debug, Deserialize)]
struct BlockArgs {
    attn_layer: Option<String>,
}

/// Keys that others read, or that are of the classifier.
const OTHERS: &[&str] = &["norm_layer", "global_pool"];

/// All layers in numbers that were checked.
struct Plan {
    arch: Arch,
    make: Make,
    channels_in: usize,
    /// Channels of the stem's convolutions.
    stem: Vec<usize>,
    stages: Vec<Vec<BlockShape>>,
    /// Of the stem, then of each stage.
    levels: Vec<Feature>,
    /// Which levels are given.
    wanted: Vec<usize>,
    dropout: Option<f64>,
}

/// How all layers of one network are made.
struct Make {
    style: ConvStyle,
    act: Activation,
    zero_last: bool,
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(&[COMMON, OTHERS].concat())?;
    let plan = keys.plan(asked)?;
    Ok(Box::new(TimmResNet::new(plan, &asked.params)))
}

impl Keys {
    /// The model that the name means, with what the keys make of it.
    fn arch(&self, asked: &Asked) -> Result<Arch, Diagnostics> {
        let node = asked.node;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let mut arch = models::named(&asked.name).expect("the family knows its names");
        let set = |to: &mut usize, from: Option<Channels>| {
            *to = from.map_or(*to, Channels::get);
        };
        set(&mut arch.cardinality, self.cardinality);
        set(&mut arch.base_width, self.base_width);
        set(&mut arch.stem_width, self.stem_width);
        set(&mut arch.reduce_first, self.block_reduce_first);
        arch.down_kernel = self.down_kernel_size.map_or(arch.down_kernel, Pixels::get);
        arch.avg_down = self.avg_down.unwrap_or(arch.avg_down);
        arch.stem_convolves = self.replace_stem_pool.unwrap_or(arch.stem_convolves);
        if let Some(layers) = &self.layers {
            let numbers = layers.numbers();
            let Ok(four) = numbers.as_slice().try_into() else {
                let message = format!("`layers` has {} entries, must have 4", numbers.len());
                return fail("layers", message);
            };
            arch.layers = four;
        }
        if let Some(stem) = &self.stem_type {
            arch.stem = match (stem.contains("deep"), stem.contains("tiered")) {
                (false, _) => Stem::Plain,
                (true, false) => Stem::Deep,
                (true, true) => Stem::Tiered,
            };
        }
        if let Some(args) = &self.block_args {
            if !matches!(arch.kind, Kind::Basic | Kind::Bottleneck) {
                let message = format!("`block_args` of '{}' are not supported", asked.name);
                return Err(unsupported(node, "block_args", message, ""));
            }
            arch.attention = args.read::<BlockArgs>()?.attention(args)?;
        }
        if self.aa_layer.is_some() {
            let message = "`aa_layer` must be a class, which no config can name";
            let help = "models with it are those called resnetaa and resnetblur";
            return Err(error_at(node, "aa_layer", message, help));
        }
        if self.drop_block_rate.is_some_and(|rate| rate != 0.0) {
            let message = "DropBlock is not supported yet";
            return Err(unsupported(node, "drop_block_rate", message, ""));
        }
        Ok(arch)
    }

    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let node = asked.node;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let arch = self.arch(asked)?;
        arch.check(asked)?;
        let act = self.act_layer.as_deref().unwrap_or("relu");
        let Some(act) = activation(act) else {
            return fail("act_layer", format!("timm has no activation '{act}'"));
        };
        let stem = arch.stem_channels();
        if stem.contains(&0) {
            let width = arch.stem_width;
            return fail(
                "stem_width",
                format!("`stem_width` is {width}, too few for a tiered stem"),
            );
        }
        let stages = arch.stages(asked, stem[stem.len() - 1]);
        let norm = match arch.group_norm {
            true => NormConfig::group(32),
            false => NormConfig::batch(1e-5),
        };
        let norm = norm_layer(node, norm)?;
        let blocks = stages.iter().flatten();
        let normed = blocks.flat_map(|block| block.normed(&arch));
        let normed: Vec<_> = stem.iter().copied().chain(normed).collect();
        if let Some(channels) = normed.iter().find(|c| !(1..=MOST_CHANNELS).contains(*c)) {
            let message = format!("a convolution would have {channels} channels");
            return fail("base_width", message);
        }
        if !stages.iter().flatten().all(|block| block.is_even(&arch)) {
            let message = format!(
                "`cardinality` is {}, which does not divide the channels",
                arch.cardinality
            );
            return fail("cardinality", message);
        }
        if let Err(message) = norm.check(&normed) {
            return fail("norm_layer", message);
        }
        let mut levels = vec![Feature {
            channels: stem[stem.len() - 1],
            stride: 2,
        }];
        let mut stride = 4;
        for stage in &stages {
            stride *= stage[0].stride;
            let channels = stage[0].channels_out;
            levels.push(Feature { channels, stride });
        }
        let wanted = match asked.features_only {
            true => asked.wanted(&levels)?,
            false => vec![stages.len()],
        };
        Ok(Plan {
            make: Make {
                style: ConvStyle {
                    norm: Some(norm),
                    act: Some(act),
                    ..ConvStyle::default()
                },
                act,
                zero_last: self.zero_init_last.unwrap_or(true),
            },
            arch,
            channels_in: asked.channels_in,
            stem,
            stages,
            levels,
            wanted,
            dropout: asked.classifier_dropout()?,
        })
    }
}

impl BlockArgs {
    fn attention(&self, node: &Node) -> Result<Option<Attention>, Diagnostics> {
        match self.attn_layer.as_deref() {
            None | Some("") => Ok(None),
            Some("se") => Ok(Some(Attention::SqueezeExcite(16))),
            Some("eca") => Ok(Some(Attention::Efficient)),
            Some(other) => {
                let message = format!("the attention '{other}' is not supported");
                Err(unsupported(
                    node,
                    "attn_layer",
                    message,
                    "known are 'se', 'eca'",
                ))
            }
        }
    }
}

impl Arch {
    /// What timm asserts, and what does not go together.
    fn check(&self, asked: &Asked) -> Result<(), Diagnostics> {
        let node = asked.node;
        let name = &asked.name;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        if !matches!(asked.output_stride, 8 | 16 | 32) {
            let message = format!(
                "`output_stride` is {}, must be 8, 16 or 32",
                asked.output_stride
            );
            return fail("output_stride", message);
        }
        if self.kind == Kind::Basic && self.cardinality != 1 {
            let message = format!("the blocks of '{name}' have no groups");
            return fail("cardinality", message);
        }
        if self.kind == Kind::Basic && self.base_width != 64 {
            let message = format!("the blocks of '{name}' have a `base_width` of 64");
            return fail("base_width", message);
        }
        if self.pruned.is_some() && asked.channels_in != 3 {
            let message = format!("'{name}' takes 3 channels");
            return fail("in_channels", message);
        }
        let changed = (1, 1, 64) != (self.cardinality, self.reduce_first, self.base_width);
        if self.pruned.is_some() && changed {
            let message = format!("'{name}' has channels that its pruning left");
            return fail("base_width", message);
        }
        if matches!(self.kind, Kind::Split { .. }) {
            if self.reduce_first != 1 {
                let message = format!("the blocks of '{name}' take no `block_reduce_first`");
                return fail("block_reduce_first", message);
            }
            if asked.drop_path_rate > 0.0 {
                let message = format!("the blocks of '{name}' have no stochastic depth");
                return fail("drop_path_rate", message);
            }
        }
        if self.down_kernel.is_multiple_of(2) {
            let message = format!("`down_kernel_size` is {}, must be odd", self.down_kernel);
            return fail("down_kernel_size", message);
        }
        if self.stem_convolves && self.antialias.is_some() {
            let message =
                "a stem with both a convolution and a filter for its stride is not supported";
            return Err(unsupported(node, "replace_stem_pool", message, ""));
        }
        Ok(())
    }

    /// Of each of the stem's convolutions.
    fn stem_channels(&self) -> Vec<usize> {
        let width = self.stem_width;
        match self.stem {
            Stem::Plain => vec![64],
            Stem::Deep => vec![width, width, 2 * width],
            Stem::Tiered => vec![3 * (width / 4), width, 2 * width],
        }
    }

    /// The blocks of each stage: past `output_stride` a stage does not stride, its blocks are dilated instead, the first by what the stage
    /// before has. The rate of dropped paths rises from 0 to `drop_path_rate`.
    fn stages(&self, asked: &Asked, stem: usize) -> Vec<Vec<BlockShape>> {
        let all: usize = self.layers.iter().sum();
        let (mut channels, mut stride, mut dilation, mut before) = (stem, 4, 1, 1);
        let mut blocks = 0;
        let mut stages = Vec::new();
        for (i, count) in self.layers.into_iter().enumerate() {
            let planes = 64 << i;
            let mut step = if i == 0 { 1 } else { 2 };
            if stride >= asked.output_stride {
                dilation *= step;
                step = 1;
            } else {
                stride *= step;
            }
            let widths = |j: usize| match self.pruned {
                Some(pruned) => (pruned[i].0, pruned[i].1[j]),
                None => {
                    let width = match self.kind {
                        Kind::Basic => planes,
                        _ => (planes * self.base_width / 64).saturating_mul(self.cardinality),
                    };
                    let out = planes * self.kind.expansion();
                    (out, [width / self.reduce_first, width])
                }
            };
            // By the numbers before pruning, which takes no shortcut away.
            let shortcut = step != 1 || i > 0 || stem != planes * self.kind.expansion();
            let block = |j| {
                let (channels_out, [first, width]) = widths(j);
                let rate = match self.kind {
                    Kind::Scales(_) => 0.0,
                    _ => asked.drop_path_rate * (blocks + j) as f64 / (all - 1) as f64,
                };
                BlockShape {
                    channels_in: if j == 0 { channels } else { channels_out },
                    first,
                    width,
                    channels_out,
                    attended: planes * self.kind.expansion(),
                    stride: if j == 0 { step } else { 1 },
                    dilation,
                    first_dilation: if j == 0 { before } else { dilation },
                    shortcut: j == 0 && shortcut,
                    drop_path_rate: rate,
                }
            };
            stages.push((0..count).map(block).collect());
            channels = widths(0).0;
            blocks += count;
            before = dilation;
        }
        stages
    }
}

/// ResNet and its relations from timm.
#[derive(Debug)]
pub struct TimmResNet {
    stem: Vec<ConvNormAct>,
    pool: StemPool,
    stages: Vec<Vec<Block>>,
    features: Vec<Feature>,
    wanted: Vec<usize>,
    dropout: Option<Dropout>,
    channels_in: usize,
    size_divisor: usize,
}

impl TimmResNet {
    fn new(plan: Plan, params: &Params) -> Self {
        let Plan { arch, make, .. } = &plan;
        // Pruning makes all layers anew, with PyTorch's values.
        if arch.pruned.is_none() {
            params.initialise_built(InitRule {
                bias: None,
                ..InitRule::of(&["Conv2d"], Init::KAIMING)
            });
        }
        let stem = make.stem(plan.channels_in, &plan.stem, params);
        let last = plan.wanted.last().copied().unwrap_or(0);
        let pool = match last {
            0 => StemPool::Max, // none is asked for
            _ => make.stem_pool(arch, plan.levels[0].channels, params),
        };
        let stage = |(i, stage): (usize, &Vec<BlockShape>)| {
            let at = params.at(format!("layer{}", i + 1));
            let block = |(j, shape)| Block::new(shape, arch, make, &at.at(j));
            stage.iter().enumerate().map(block).collect()
        };
        let stages = plan.stages.iter().take(last).enumerate().map(stage);
        let stages = stages.collect();
        params.built();
        Self {
            stem,
            pool,
            stages,
            features: plan.wanted.iter().map(|i| plan.levels[*i]).collect(),
            size_divisor: match arch.antialias {
                // The mean of what is left over at an edge would be dropped, but not in the shortcut.
                Some(AntiAlias::Average) => plan.levels[last].stride,
                _ => 1,
            },
            wanted: plan.wanted,
            dropout: plan
                .dropout
                .and_then(|rate| Dropout::new(rate, &params.at("dropout"))),
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for TimmResNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let mut outputs = Vec::new();
        if self.wanted.contains(&0) {
            outputs.push(x.clone());
        }
        if !self.stages.is_empty() {
            x = self.pool.forward(x);
        }
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if self.wanted.contains(&(i + 1)) {
                outputs.push(x.clone());
            }
        }
        let Some(dropout) = &self.dropout else {
            return outputs;
        };
        outputs.into_iter().map(|x| dropout.forward(x)).collect()
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }

    fn size_divisor(&self) -> usize {
        self.size_divisor
    }
}

impl Make {
    /// A convolution `name` and its norm `norm`.
    fn layer(
        &self,
        conv: ConvConfig,
        act: bool,
        at: &Params,
        name: &str,
        norm: &str,
    ) -> ConvNormAct {
        let style = self.style.act(act.then_some(self.act));
        style.named(conv.bias(false), at, name, norm)
    }

    /// `conv1` and `bn1`; of three convolutions the first two and their norms are `conv1.0`, `.1` and `.3`, `.4`.
    fn stem(&self, channels_in: usize, channels: &[usize], at: &Params) -> Vec<ConvNormAct> {
        let &[first, second, third] = channels else {
            let conv = ConvConfig::new(channels_in, channels[0], 7);
            return vec![self.layer(conv.stride(2).pad(3), true, at, "conv1", "bn1")];
        };
        let conv = |from, to, stride, name, norm| {
            let conv = ConvConfig::new(from, to, 3).stride(stride).pad(1);
            self.layer(conv, true, at, name, norm)
        };
        vec![
            conv(channels_in, first, 2, "conv1.0", "conv1.1"),
            conv(first, second, 1, "conv1.3", "conv1.4"),
            conv(second, third, 1, "conv1.6", "bn1"),
        ]
    }

    fn stem_pool(&self, arch: &Arch, channels: usize, at: &Params) -> StemPool {
        if arch.stem_convolves {
            let conv = ConvConfig::new(channels, channels, 3).stride(2).pad(1);
            let conv = self.layer(conv, true, &at.at("maxpool"), "0", "1");
            return StemPool::Convolution(Box::new(conv));
        }
        match arch.antialias {
            None => StemPool::Max,
            Some(AntiAlias::Average) => StemPool::Average,
            Some(AntiAlias::Blur) => StemPool::Blur(BlurPool::new(channels, 2, at)),
        }
    }
}

/// What halves the stem's map.
#[derive(Debug)]
enum StemPool {
    Max,
    Average,
    Blur(BlurPool),
    Convolution(Box<ConvNormAct>),
}

impl StemPool {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            StemPool::Max => max_pool2d(x, 3, 2, 1),
            StemPool::Average => average(x, 2),
            StemPool::Blur(blur) => blur.forward(max_pool2d(x, 3, 1, 1)),
            StemPool::Convolution(conv) => conv.forward(x),
        }
    }
}

/// The mean of each square of `side`; what is left over at an edge is dropped.
fn average(x: Tensor<4>, side: usize) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([side; 2]).with_stride([side; 2]))
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (model, keys, part) in [
            (
                "resnet18",
                "features_only=True, out_indices=(5,)",
                "has maps 0 to 4",
            ),
            ("resnet18", "cardinality=2", "have no groups"),
            ("resnet18", "base_width=32", "a `base_width` of 64"),
            ("resnet18", "output_stride=4", "must be 8, 16 or 32"),
            ("resnet50", "layers=[3, 4]", "`layers` has 2 entries"),
            (
                "resnet50",
                "cardinality=3, base_width=5, block_reduce_first=2",
                "does not divide",
            ),
            ("resnet50", "base_width=65536, cardinality=64", "channels"),
            ("resnet50", "down_kernel_size=2", "must be odd"),
            ("resnet50", "act_layer='rule'", "no activation 'rule'"),
            ("resnet50", "norm_layer='GN'", "takes more than channels"),
            (
                "resnet50",
                "stem_type='deep_tiered', stem_width=3",
                "too few",
            ),
            (
                "resnet50",
                "block_args=dict(attn_layer='cbam')",
                "not supported",
            ),
            ("resnet50", "aa_layer='blur'", "must be a class"),
            (
                "resnet50",
                "drop_rate=1.5, features_only=False",
                "`drop_rate` is 1.5",
            ),
            (
                "resnet50_gn",
                "stem_type='deep', stem_width=24",
                "does not divide",
            ),
            ("ecaresnet50d_pruned", "in_channels=1", "takes 3 channels"),
            ("resnest14d", "drop_path_rate=0.1", "no stochastic depth"),
            ("resnest14d", "base_width=63", "does not divide"),
        ] {
            let text =
                format!("dict(type='mmpretrain.TIMMBackbone', model_name='{model}', {keys})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
