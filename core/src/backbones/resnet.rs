//! ResNet (He et al. 2016, arXiv 1512.03385) as MMDetection 3.3.0 builds it, with the stem and shortcut of
//! ResNet-D (He et al. 2019, arXiv 1812.01187, `deep_stem`, `avg_down`) on demand; and ResNeXt (Xie et al. 2017, arXiv 1611.05431),
//! whose 3x3 convolutions have `groups`.
//!
//! Shapes: stage i gives `[N, base_channels * 2^i * expansion, H / (4 * strides[..=i]), W / ...]`, expansion 1 for depths 18 and 34, else 4.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, Short, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NormConfig, Params,
};
use crate::limits::{Channels, Index, List, Pixels};
use crate::ops::pool::max_pool2d;

/// Channels of the first stage; the last has eight times as many.
const MOST_BASE: usize = 8192;
/// Channels of a 3x3 convolution.
const MOST_WIDTH: usize = 1 << 16;

/// The keys of `type='ResNet'` and its kin, absent ones at MMDetection's defaults.
#[derive(Debug, Deserialize)]
struct ResNetConfig {
    depth: i64,
    in_channels: Option<Channels>,
    stem_channels: Option<Channels>,
    base_channels: Option<Bounded<0, MOST_BASE>>,
    num_stages: Option<Index>,
    strides: Option<List<Pixels>>,
    dilations: Option<List<Pixels>>,
    out_indices: Option<List<Index>>,
    style: Option<String>,
    deep_stem: Option<bool>,
    avg_down: Option<bool>,
    /// Of ResNeXt only.
    groups: Option<Channels>,
    /// Of ResNeXt only: channels of a group in the first stage, if that has 64.
    base_width: Option<f64>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
    zero_init_residual: Option<bool>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
    /// Not supported in the stages that `stage_with_dcn` names.
    dcn: Option<IgnoredAny>,
    stage_with_dcn: Option<Vec<bool>>,
    /// Not supported, unless empty.
    plugins: Option<Short<IgnoredAny, 64>>,
}

/// Keys that [`ConvStyle`] or others read, or that are of memory and of initial values only.
const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "with_cp", "init_cfg"];

/// Which of the three registered classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    ResNet,
    ResNetV1d,
    ResNeXt,
}

/// What the blocks share.
struct Style {
    conv: ConvStyle,
    groups: usize,
    caffe: bool,
    avg_down: bool,
    /// The last norm of a block begins with 0.
    zero_residual: bool,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(ResNet::read(node, build, Variant::ResNet)?))
}

pub(super) fn build_v1d(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(ResNet::read(node, build, Variant::ResNetV1d)?))
}

pub(super) fn build_next(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(ResNet::read(node, build, Variant::ResNeXt)?))
}

/// ResNet-18 to -152, ResNetV1d, and ResNeXt-50 to -152.
#[derive(Debug)]
pub struct ResNet {
    stem: Vec<ConvNormAct>,
    stages: Vec<Vec<Block>>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    channels_in: usize,
}

/// What the keys come to: nothing is left to be read or refused.
struct Plan {
    bottleneck: bool,
    channels_in: usize,
    stem_channels: usize,
    /// Three convolutions of 3x3 in place of one of 7x7.
    deep_stem: bool,
    stages: Vec<StagePlan>,
    out_indices: Vec<usize>,
    style: Style,
    frozen_stages: i64,
    norm_eval: bool,
}

/// One stage.
struct StagePlan {
    blocks: usize,
    /// Channels of the stage: a bottleneck gives four times as many.
    planes: usize,
    /// Channels of the 3x3 convolutions, which are `planes` but for ResNeXt.
    width: usize,
    stride: usize,
    dilation: usize,
}

impl ResNetConfig {
    /// Whether the initial values are the original's own: it takes `init_cfg=None`, too, for none given.
    fn by_default(&self, node: &Node) -> bool {
        node.get("init_cfg").is_none_or(Node::is_none) && self.pretrained.is_none()
    }

    /// With `zero_init_residual` each block begins as the identity, too (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
    fn initial(&self, node: &Node, build: &Build) -> Result<(), Diagnostics> {
        let params = &build.params;
        if let Some(name) = self.pretrained.as_deref().filter(|_| build.wants_weights()) {
            return build.pretrained(node, name, None, params);
        }
        if self.by_default(node) {
            params.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
            let norms = ["_BatchNorm", "GroupNorm"];
            params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
        }
        Ok(())
    }

    fn plan(self, node: &Node, variant: Variant) -> Result<Plan, Diagnostics> {
        self.refuse(node, variant)?;
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let stages = self.stages(node, variant)?;
        let count = stages.len();
        let out_indices = self.out_indices.as_ref();
        let out_indices = out_indices.map_or_else(|| vec![0, 1, 2, 3], List::numbers);
        if let Some(i) = out_indices.iter().find(|i| **i >= count) {
            let message = format!("`out_indices` names stage {i}; there are {count}, from 0");
            return fail("out_indices", message);
        }
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        if frozen_stages > count as i64 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} stages");
            return fail("frozen_stages", message);
        }
        let deep_stem = variant == Variant::ResNetV1d || self.deep_stem.unwrap_or(false);
        let stem_channels = self.stem_channels.map_or(self.base(), Channels::get);
        let mut channels: Vec<_> = stages
            .iter()
            .flat_map(|s| [s.width, 4 * s.planes])
            .collect();
        channels.push(stem_channels);
        if deep_stem {
            channels.push(stem_channels / 2);
        }
        Ok(Plan {
            bottleneck: self.depth >= 50,
            channels_in: self.in_channels.map_or(3, Channels::get),
            stem_channels,
            deep_stem,
            stages,
            out_indices,
            style: self.style(node, variant, &channels)?,
            frozen_stages,
            norm_eval: self.norm_eval.unwrap_or(true),
        })
    }

    /// What this variant does not have, and what is not built yet.
    fn refuse(&self, node: &Node, variant: Variant) -> Result<(), Diagnostics> {
        let of_resnext = [
            ("groups", self.groups.is_some()),
            ("base_width", self.base_width.is_some()),
        ];
        for (key, given) in of_resnext {
            if given && variant != Variant::ResNeXt {
                let message = format!("the key `{key}` is not known to {variant:?}");
                return Err(error_at(node, key, message, "`ResNeXt` has it"));
            }
        }
        let stages = self.stage_with_dcn.as_ref();
        if self.dcn.is_some() && stages.is_some_and(|s| s.contains(&true)) {
            let message = "deformable convolutions are not supported yet";
            return Err(unsupported(node, "dcn", message, ""));
        }
        if self.plugins.as_ref().is_some_and(|p| !p.is_empty()) {
            let message = "ResNet plugins are not supported yet";
            return Err(unsupported(node, "plugins", message, ""));
        }
        Ok(())
    }

    /// Channels of the first stage.
    fn base(&self) -> usize {
        self.base_channels.map_or(64, Bounded::get).max(1)
    }

    fn stages(&self, node: &Node, variant: Variant) -> Result<Vec<StagePlan>, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let blocks = self.blocks(node, variant)?;
        let count = self.num_stages.map_or(4, Index::get);
        if !(1..=4).contains(&count) {
            let message = format!("`num_stages` is {count}, must be 1 to 4");
            return fail("num_stages", message);
        }
        let strides = self.strides.as_ref();
        let strides = strides.map_or_else(|| vec![1, 2, 2, 2], List::numbers);
        let dilations = self.dilations.as_ref();
        let dilations = dilations.map_or_else(|| vec![1; 4], List::numbers);
        for (key, list) in [("strides", &strides), ("dilations", &dilations)] {
            if list.len() != count {
                let message = format!("`{key}` has {} entries for {count} stages", list.len());
                return fail(key, message);
            }
        }
        let groups = self.groups.map_or(1, Channels::get);
        let group_width = self.base_width.unwrap_or(4.0) / self.base() as f64;
        let stage = |i: usize| {
            let planes = self.base() << i;
            StagePlan {
                blocks: blocks[i],
                planes,
                width: match groups {
                    1 => planes,
                    _ => ((planes as f64 * group_width) as usize).saturating_mul(groups),
                },
                stride: strides[i],
                dilation: dilations[i],
            }
        };
        let stages: Vec<_> = (0..count).map(stage).collect();
        if stages[0].width == 0 {
            let message = format!("`groups` is {groups}, which leaves no channels for a group");
            return fail("groups", message);
        }
        if let Some(wide) = stages.iter().find(|stage| stage.width > MOST_WIDTH) {
            let message = format!(
                "a stage would have 3x3 convolutions of {} channels",
                wide.width
            );
            return fail("base_width", message);
        }
        Ok(stages)
    }

    /// Blocks of each stage.
    fn blocks(&self, node: &Node, variant: Variant) -> Result<[usize; 4], Diagnostics> {
        let next = variant == Variant::ResNeXt;
        match self.depth {
            18 if !next => Ok([2, 2, 2, 2]),
            34 if !next => Ok([3, 4, 6, 3]),
            50 => Ok([3, 4, 6, 3]),
            101 => Ok([3, 4, 23, 3]),
            152 => Ok([3, 8, 36, 3]),
            other => {
                let message = format!("{variant:?} has no depth {other}");
                let known = if next {
                    "known are 50, 101, 152"
                } else {
                    "known are 18, 34, 50, 101, 152"
                };
                Err(error_at(node, "depth", message, known))
            }
        }
    }

    /// `channels` are those of all norms.
    fn style(
        &self,
        node: &Node,
        variant: Variant,
        channels: &[usize],
    ) -> Result<Style, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let caffe = match self.style.as_deref() {
            None | Some("pytorch") => false,
            Some("caffe") => true,
            Some(other) => {
                let message = format!("`style` is '{other}', must be 'pytorch' or 'caffe'");
                return fail("style", message);
            }
        };
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let conv = ConvStyle::read(node, defaults, channels)?;
        if conv.norm.is_none() {
            return fail("norm_cfg", format!("{variant:?} needs a `norm_cfg`"));
        }
        Ok(Style {
            conv,
            groups: self.groups.map_or(1, Channels::get),
            caffe,
            avg_down: variant == Variant::ResNetV1d || self.avg_down.unwrap_or(false),
            zero_residual: self.by_default(node) && self.zero_init_residual.unwrap_or(true),
        })
    }
}

impl ResNet {
    fn read(node: &Node, build: &Build, variant: Variant) -> Result<Self, Diagnostics> {
        let config: ResNetConfig = node.read_knowing(OTHERS)?;
        config.initial(node, build)?;
        Ok(Self::new(config.plan(node, variant)?, &build.params))
    }

    fn new(plan: Plan, params: &Params) -> Self {
        let style = &plan.style;
        let stem = if plan.deep_stem {
            deep_stem(
                plan.channels_in,
                plan.stem_channels,
                style,
                &params.at("stem"),
            )
        } else {
            let conv = ConvConfig::new(plan.channels_in, plan.stem_channels, 7);
            vec![style.layer(conv.stride(2).pad(3), params, 1)]
        };
        let mut stages = Vec::new();
        let mut features = Vec::new();
        let (mut channels, mut stride) = (plan.stem_channels, 4);
        for (i, stage) in plan.stages.iter().enumerate() {
            let at = params.at(format!("layer{}", i + 1));
            let mut blocks = Vec::with_capacity(stage.blocks);
            for j in 0..stage.blocks {
                let shape = BlockShape {
                    bottleneck: plan.bottleneck,
                    planes: stage.planes,
                    width: stage.width,
                    stride: if j == 0 { stage.stride } else { 1 },
                    dilation: stage.dilation,
                };
                blocks.push(Block::new(channels, shape, style, &at.at(j)));
                channels = shape.channels_out();
            }
            stages.push(blocks);
            stride *= stage.stride;
            if plan.out_indices.contains(&i) {
                features.push(Feature { channels, stride });
            }
        }
        freeze(params, &plan);
        if plan.norm_eval {
            params.evaluate();
        }
        Self {
            stem,
            stages,
            features,
            out_indices: plan.out_indices,
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for ResNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        let mut x = max_pool2d(x, 3, 2, 1);
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

/// The original's `_freeze_stages`: from 0 on the stem, from 1 on the stages up to that number.
fn freeze(params: &Params, plan: &Plan) {
    if plan.frozen_stages >= 0 {
        if plan.deep_stem {
            params.at("stem").freeze();
        } else {
            params.at("conv1").freeze();
            params.at(format!("{}1", plan.style.norm_name())).freeze();
        }
    }
    for i in 1..=plan.frozen_stages {
        params.at(format!("layer{i}")).freeze();
    }
}

/// Three 3x3 convolutions in place of the 7x7 one: `stem.0`, `.3`, `.6` and their norms at the next index.
fn deep_stem(channels_in: usize, channels: usize, style: &Style, at: &Params) -> Vec<ConvNormAct> {
    let half = channels / 2;
    [(channels_in, half, 2), (half, half, 1), (half, channels, 1)]
        .into_iter()
        .enumerate()
        .map(|(i, (from, to, stride))| {
            let conv = ConvConfig::new(from, to, 3).stride(stride).pad(1);
            style.conv.named(conv.bias(false), at, 3 * i, 3 * i + 1)
        })
        .collect()
}

impl Style {
    /// `bn` or `gn`.
    fn norm_name(&self) -> &'static str {
        self.conv.norm.as_ref().map_or("", NormConfig::abbreviation)
    }

    /// The i-th convolution of a block, from 1: `conv1` and, beside it, its norm `bn1` or `gn1`.
    fn layer(&self, conv: ConvConfig, at: &Params, i: usize) -> ConvNormAct {
        let names = (format!("conv{i}"), format!("{}{i}", self.norm_name()));
        self.conv.named(conv.bias(false), at, names.0, names.1)
    }
}

#[derive(Clone, Copy)]
struct BlockShape {
    bottleneck: bool,
    planes: usize,
    /// Channels inside a bottleneck.
    width: usize,
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

/// A residual block: two 3x3 convolutions, or a 3x3 between two 1x1 (bottleneck), added to the shortcut before the last activation.
#[derive(Debug)]
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
            width,
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
            let middle = ConvConfig::new(width, width, 3)
                .groups(style.groups)
                .stride(second)
                .pad(dilation)
                .dilation(dilation);
            let first = ConvConfig::new(channels_in, width, 1).stride(first);
            let last = ConvConfig::new(width, out, 1);
            vec![first, middle, last]
        } else {
            let first = ConvConfig::new(channels_in, planes, 3)
                .stride(stride)
                .pad(dilation)
                .dilation(dilation);
            vec![first, ConvConfig::new(planes, planes, 3).pad(1)]
        };
        if style.zero_residual {
            let last = at.at(format!("{}{}", style.norm_name(), convs.len()));
            last.initialise(InitRule::all(Init::Constant(0.0), 0.0));
        }
        let layer = |(i, conv)| style.layer(conv, at, i + 1);
        let convs = convs.into_iter().enumerate().map(layer).collect();
        let shortcut = stride != 1 || channels_in != out;
        let (pool, conv_stride) = if style.avg_down {
            (stride, 1)
        } else {
            (1, stride)
        };
        let downsample = shortcut.then(|| {
            let first = usize::from(style.avg_down); // the pooling is the sequence's first entry
            let conv = ConvConfig::new(channels_in, out, 1).stride(conv_stride);
            let bare = style.conv.act(None);
            bare.named(conv.bias(false), &at.at("downsample"), first, first + 1)
        });
        at.built_in_order(["downsample", "conv1", "conv2", "conv3"]);
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
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let x = before.iter().fold(x, |x, conv| conv.forward(x));
        last.forward_onto(x, shortcut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::made;
    use crate::config::{Config, MapLoader};
    use crate::layers::{Mode, Store, TensorSource};
    use burn::tensor::{Device, TensorData};

    fn build(mode: Mode, keys: &str, source: Option<Box<dyn TensorSource>>) -> (ResNet, Store) {
        let text = format!("m=dict(type='ResNet', depth=18, base_channels=4, {keys})");
        let config = Config::parse(&text, "test.py", &MapLoader::default()).unwrap();
        let params = Params::new(&Device::flex(), mode, source);
        let registry = crate::registry();
        let build = Build::new(&registry, params.clone(), "mmdet", None);
        let net = ResNet::read(config.root.get("m").unwrap(), &build, Variant::ResNet);
        (net.unwrap(), params.store())
    }

    fn picture(seed: f32) -> Tensor<4> {
        let n = 2 * 3 * 32 * 32;
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * seed).sin()).collect();
        Tensor::from_data(TensorData::new(values, [2, 3, 32, 32]), &Device::flex())
    }

    /// Largest difference, of the largest value.
    fn difference(a: Vec<Tensor<4>>, b: Vec<Tensor<4>>) -> f32 {
        let pairs = a.into_iter().zip(b);
        let of = |(a, b): (Tensor<4>, Tensor<4>)| {
            let size = a.clone().abs().max().into_scalar::<f32>();
            (a - b).abs().max().into_scalar::<f32>() / size
        };
        pairs.map(of).fold(0.0, f32::max)
    }

    fn frozen(store: &Store) -> Vec<String> {
        let slots = store.parameters().into_iter().filter(|s| s.frozen());
        slots.map(|s| s.key().to_string()).collect()
    }

    #[test]
    fn stages_freeze_as_in_mmdetection() {
        let (_, store) = build(Mode::Plan, "frozen_stages=-1", None);
        assert!(frozen(&store).is_empty());
        let (_, store) = build(Mode::Plan, "frozen_stages=0", None);
        assert_eq!(frozen(&store), ["conv1.weight", "bn1.weight", "bn1.bias"]);
        let (_, store) = build(Mode::Plan, "frozen_stages=0, deep_stem=True", None);
        assert_eq!(frozen(&store).len(), 9);

        let (_, store) = build(Mode::Train, "frozen_stages=1, norm_eval=False", None);
        let rest = |name: &str| {
            !["conv1.", "bn1.", "layer1."]
                .iter()
                .any(|p| name.starts_with(p))
        };
        assert!(frozen(&store).iter().all(|name| !rest(name)));
        assert_eq!(frozen(&store).len(), 3 + 4 * 3);
        let learning = store.learning();
        assert!(learning.iter().all(|name| rest(name)), "{learning:?}");
        assert_eq!(learning.len(), 15, "three stages of five norms");
        // The how-to page's UnfreezeBackbone.
        assert_eq!(store.freeze("", false).len(), 15);
        assert_eq!(store.learning().len(), 20);

        let (_, store) = build(Mode::Train, "frozen_stages=1", None);
        assert!(store.learning().is_empty(), "`norm_eval` is True if absent");
    }

    #[test]
    fn trained_and_folded_builds_agree() {
        let (train, store) = build(Mode::Train, "norm_eval=False, frozen_stages=1", None);
        let before = pollster::block_on(store.source()).unwrap();
        for seed in [0.37, 0.71] {
            train.forward(picture(seed)); // running statistics move
        }
        store.learn("", false);
        let after = pollster::block_on(store.source()).unwrap();
        let fixed = |source| build(Mode::Fixed, "norm_eval=False", Some(Box::new(source))).0;
        let x = picture(0.53);
        let (old, new) = (fixed(before), fixed(after));
        assert!(difference(train.forward(x.clone()), new.forward(x.clone())) < 1e-5);
        assert!(difference(train.forward(x.clone()), old.forward(x)) > 1e-2);
        let tracked = |name: &str| store.slot(name).unwrap().count();
        assert_eq!(tracked("bn1.num_batches_tracked"), 0, "frozen");
        assert_eq!(tracked("layer4.1.bn2.num_batches_tracked"), 2);
    }

    #[test]
    fn maps_have_the_sizes_that_features_say() {
        for (text, strides) in [
            (
                "dict(type='ResNet', depth=18, base_channels=4)",
                vec![4, 8, 16, 32],
            ),
            (
                "dict(type='ResNet', depth=50, base_channels=2, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,), style='caffe', frozen_stages=1, norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True, with_cp=True, zero_init_residual=False)",
                vec![16],
            ),
            (
                "dict(type='ResNet', depth=50, base_channels=2, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), avg_down=True, deep_stem=True, stem_channels=6)",
                vec![4, 8, 16, 16],
            ),
            (
                "dict(type='ResNetV1d', depth=34, base_channels=4, in_channels=1, norm_cfg=dict(type='GN', num_groups=2))",
                vec![4, 8, 16, 32],
            ),
            (
                "dict(type='ResNeXt', depth=50, base_channels=8, groups=2, base_width=4, style='caffe', norm_cfg=dict(type='GN', num_groups=2), deep_stem=True, avg_down=True)",
                vec![4, 8, 16, 32],
            ),
        ] {
            let (backbone, _) = made(text, Mode::Fixed).unwrap();
            let features = backbone.features();
            let said: Vec<_> = features.iter().map(|f| f.stride).collect();
            assert_eq!(said, strides, "{text}");
            let x = Tensor::zeros([1, backbone.channels_in(), 64, 32], &Device::flex());
            let found: Vec<_> = backbone.forward(x).iter().map(|m| m.dims()).collect();
            let said = features
                .iter()
                .map(|f| [1, f.channels, 64 / f.stride, 32 / f.stride]);
            assert_eq!(found, said.collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn groups_widen_the_middle_of_a_resnext_block() {
        let shape = |text: &str, key: &str| {
            let (_, state) = made(text, Mode::Plan).unwrap();
            let entry = state.into_iter().find(|e| e.key == key);
            entry.map(|e| e.shape)
        };
        // 32x4d: 64 channels become 32 groups of 4; 8 of 2^3 times 64 become 32 groups of 32.
        let x32 = "dict(type='ResNeXt', depth=50, groups=32, base_width=4)";
        for (key, expected) in [
            ("layer1.0.conv1.weight", [128, 64, 1, 1]),
            ("layer1.0.conv2.weight", [128, 4, 3, 3]),
            ("layer1.2.conv3.weight", [256, 128, 1, 1]),
            ("layer4.0.conv2.weight", [1024, 32, 3, 3]),
            ("layer4.0.downsample.0.weight", [2048, 1024, 1, 1]),
        ] {
            assert_eq!(shape(x32, key), Some(expected.to_vec()), "{key}");
        }
        // Without groups `base_width` means nothing.
        let plain = "dict(type='ResNeXt', depth=50, base_width=9)";
        assert_eq!(
            shape(plain, "layer1.0.conv2.weight"),
            Some(vec![64, 64, 3, 3])
        );
        // 64 * (3.99 / 64) is a little less than 4 channels for each group.
        let less = "dict(type='ResNeXt', depth=50, groups=2, base_width=3.99)";
        assert_eq!(shape(less, "layer1.0.conv2.weight"), Some(vec![6, 3, 3, 3]));
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("dict(type='ResNeXt', depth=18)", "ResNeXt has no depth 18"),
            (
                "dict(type='ResNet', depth=50, groups=32)",
                "`groups` is not known to ResNet",
            ),
            (
                "dict(type='ResNetV1d', depth=50, base_width=4)",
                "help: `ResNeXt` has it",
            ),
            (
                "dict(type='ResNeXt', depth=50, groups=0)",
                "0 is out of bounds",
            ),
            (
                "dict(type='ResNeXt', depth=50, groups=2, base_width=0.5)",
                "leaves no channels",
            ),
            (
                "dict(type='ResNet', depth=50, num_stages=3)",
                "`strides` has 4 entries for 3 stages",
            ),
            (
                "dict(type='ResNet', depth=50, out_indices=(4,))",
                "`out_indices` names stage 4",
            ),
            (
                "dict(type='ResNet', depth=50, style='torch')",
                "must be 'pytorch' or 'caffe'",
            ),
            (
                "dict(type='ResNet', depth=50, dcn=dict(type='DCNv2'), stage_with_dcn=(False, True, True, True))",
                "not supported yet",
            ),
            (
                "dict(type='ResNeXt', depth=50, plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv3')])",
                "not supported yet",
            ),
            (
                "dict(type='ResNeXt', depth=50, groups=3, base_width=4, norm_cfg=dict(type='GN', num_groups=32))",
                "does not divide 12 channels",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        // No stage takes them.
        let none =
            "dict(type='ResNet', depth=18, base_channels=2, dcn=dict(type='DCNv2'), plugins=[])";
        assert!(made(none, Mode::Plan).is_ok());
    }
}
