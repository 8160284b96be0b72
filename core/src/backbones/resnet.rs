//! ResNet (He et al. 2016, arXiv 1512.03385) and what is made of its stages, as MMDetection 3.3.0 and MMPretrain 1.2.0 build them: the stem and
//! shortcut of ResNet-C and -D (He et al. 2019, arXiv 1812.01187, `deep_stem`, `avg_down`); ResNeXt (Xie et al. 2017, arXiv 1611.05431), whose
//! 3x3 convolutions have `groups`; SENet (Hu et al. 2018, arXiv 1709.01507), which weighs the channels of each block. Further middles of
//! blocks, and the widths of RegNet, are in files of their own.
//!
//! The two libraries have the same tensors but for the deep stem; they differ in keys, defaults, where a shortcut is pooled, and in initial values.
//!
//! Shapes: stage i gives `[N, base_channels * 2^i * expansion, H / (4 * strides[..=i]), W / ...]`, expansion 1 for depths 18 and 34, else 4.

use burn::tensor::Tensor;

mod block;
mod class;
mod config;
mod detectors;
mod extras;
mod trident;

pub(super) use self::block::{Block, BlockPlace, MiddleConfig, Style};
use self::class::Class;
use self::class::Variant::{ResNeXt, ResNetV1c, ResNetV1d, SEResNeXt, SEResNet};
pub(super) use self::class::{DEPTHS, Library, Variant};
pub(super) use self::config::{MOST_WIDTH, StagePlan};
use self::config::{OTHERS, Plan, ResNetConfig, Stem};
pub(super) use self::extras::Extras;
use self::trident::Trident;
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::{ConvConfig, ConvNormAct, Params};
use crate::ops::pool::max_pool2d;

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, Variant::ResNet)
}

pub(super) fn build_v1d(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, ResNetV1d)
}

pub(super) fn build_next(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, ResNeXt)
}

pub(super) use detectors::{build as build_detectors, build_next as build_detectors_next};
pub(super) use trident::build as build_trident;

/// MMPretrain's.
pub(super) mod mmpretrain {
    use super::*;

    pub fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
        boxed(node, build, Library::MMPretrain, Variant::ResNet)
    }

    pub fn build_v1c(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
        boxed(node, build, Library::MMPretrain, ResNetV1c)
    }

    pub fn build_v1d(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
        boxed(node, build, Library::MMPretrain, ResNetV1d)
    }

    pub fn build_next(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
        boxed(node, build, Library::MMPretrain, ResNeXt)
    }

    pub fn build_se(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
        boxed(node, build, Library::MMPretrain, SEResNet)
    }

    pub fn build_se_next(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
        boxed(node, build, Library::MMPretrain, SEResNeXt)
    }
}

/// Builds the class `variant` of a library.
pub(super) fn boxed(
    node: &Node,
    build: &Build,
    library: Library,
    variant: Variant,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    let class = Class { library, variant };
    Ok(Box::new(ResNet::read(node, build, class)?))
}

/// A stem, four stages of residual blocks, and a map after each that is asked for.
#[derive(Debug)]
pub struct ResNet {
    stem: Vec<ConvNormAct>,
    /// Whether the stem ends with a 3x3 maximum of stride 2.
    pools: bool,
    stages: Vec<Vec<Block>>,
    features: Vec<Feature>,
    /// Pixels of a picture for one of each stage's.
    strides: Vec<usize>,
    out_indices: Vec<usize>,
    channels_in: usize,
    /// Of TridentNet: how the last stage branches.
    trident: Option<Trident>,
    /// Whether the picture is the first output.
    output_image: bool,
}

impl ResNet {
    fn read(node: &Node, build: &Build, class: Class) -> Result<Self, Diagnostics> {
        let config: ResNetConfig = node.read_knowing(OTHERS)?;
        config.refuse(node, class)?;
        config.initial(node, build, class)?;
        Ok(Self::new(config.plan(node, class)?, &build.params))
    }

    fn new(plan: Plan, params: &Params) -> Self {
        let style = &plan.style;
        let stem = stem(&plan, params);
        let (mut stages, mut strides) = (Vec::new(), Vec::new());
        let mut features = Vec::new();
        if plan.output_image {
            features.push(Feature {
                channels: plan.channels_in,
                stride: 1,
            });
        }
        let mut rates = plan.drop_path_rates.iter();
        let mut channels = plan.stem_channels;
        let pools = plan.stem != Stem::Small;
        let mut stride = if pools { 4 } else { 2 };
        for (i, stage) in plan.stages.iter().enumerate() {
            let at = params.at(format!("layer{}", i + 1));
            let mut blocks = Vec::with_capacity(stage.blocks);
            for j in 0..stage.blocks {
                let place = BlockPlace {
                    channels_in: channels,
                    bottleneck: plan.bottleneck,
                    first: j == 0,
                    drop_path_rate: rates.next().copied().unwrap_or(0.0),
                    extras: &plan.extras[i],
                };
                let mut block = Block::new(place, stage, style, &at.at(j));
                let here = plan.plugins.iter().filter(|plugin| plugin.is_in(i));
                block.add(here, &plan.extras[i], j == 0, stage, &at.at(j));
                blocks.push(block);
                channels = stage.channels;
            }
            stages.push(blocks);
            stride *= stage.stride;
            strides.push(stride);
            if plan.out_indices.contains(&i) {
                features.push(Feature { channels, stride });
            }
        }
        // before it is frozen
        let trident = plan.trident.clone().map(|config| {
            let last = params.at(format!("layer{}", stages.len()));
            Trident::new(config, last.phase())
        });
        freeze(params, &plan);
        if plan.norm_eval {
            params.evaluate();
        }
        Self {
            stem,
            pools,
            stages,
            features,
            strides,
            out_indices: plan.out_indices,
            channels_in: plan.channels_in,
            trident,
            output_image: plan.output_image,
        }
    }

    /// The maps that are asked for; `given` is what is added to each stage, but for the first one.
    fn walk(&self, x: Tensor<4>, given: &[Tensor<4>]) -> Vec<Tensor<4>> {
        let mut x = self.stem.iter().fold(x, |x, layer| layer.forward(x));
        if self.pools {
            x = max_pool2d(x, 3, 2, 1);
        }
        let mut outputs = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let trident = self.trident.as_ref().filter(|_| i + 1 == self.stages.len());
            let given = given.get(i).filter(|_| i > 0);
            let block = |x: Tensor<4>, block: &Block| block.forward(x, given, None);
            x = match trident {
                Some(trident) => trident.forward(x, stage),
                None => stage.iter().fold(x, block),
            };
            if self.out_indices.contains(&i) {
                outputs.push(x.clone());
            }
            if !self.goes_on(i) {
                break;
            }
        }
        outputs
    }

    /// Whether a stage after the i-th one is asked for, or learns from what comes through.
    fn goes_on(&self, i: usize) -> bool {
        let learning = || self.stages[i + 1..].iter().flatten().any(Block::learning);
        self.out_indices.iter().any(|wanted| *wanted > i) || learning()
    }
}

impl Backbone for ResNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut outputs = self.walk(x.clone(), &[]);
        if self.output_image {
            outputs.insert(0, x);
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
        if matches!(plan.stem, Stem::Deep | Stem::DeepModules) {
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

fn stem(plan: &Plan, params: &Params) -> Vec<ConvNormAct> {
    let (style, from, to) = (&plan.style, plan.channels_in, plan.stem_channels);
    match plan.stem {
        Stem::Wide => {
            let conv = ConvConfig::new(from, to, 7).stride(2).pad(3);
            vec![style.layer(conv, params, 1)]
        }
        Stem::Small => {
            let conv = ConvConfig::new(from, to, 3).stride(2).pad(1);
            vec![style.layer(conv, params, 1)]
        }
        Stem::Deep | Stem::DeepModules => {
            let (at, half) = (params.at("stem"), to / 2);
            let layer = |(i, (from, to, stride))| {
                let conv = ConvConfig::new(from, to, 3).stride(stride).pad(1);
                let conv = conv.bias(false);
                match plan.stem {
                    Stem::DeepModules => style.conv.module(conv, &at.at(i)),
                    _ => style.conv.named(conv, &at, 3 * i, 3 * i + 1),
                }
            };
            let convs = [(from, half, 2), (half, half, 1), (half, to, 1)];
            convs.into_iter().enumerate().map(layer).collect()
        }
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
        let class = Class {
            library: Library::MMDetection,
            variant: Variant::ResNet,
        };
        let net = ResNet::read(config.root.get("m").unwrap(), &build, class);
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
    fn blocks_begin_as_the_original_s() {
        let (kaiming, torch) = ("Kaiming", "PyTorch");
        for (text, mean, kind) in [
            (
                "dict(type='ResNet', depth=50, base_channels=16)",
                0.0,
                kaiming,
            ),
            (
                "dict(type='ResNet', depth=50, base_channels=16, init_cfg=None)",
                0.0,
                kaiming,
            ),
            (
                "dict(type='ResNet', depth=50, base_channels=16, zero_init_residual=False)",
                1.0,
                kaiming,
            ),
            // MMDetection does so for its own two blocks only.
            (
                "dict(type='ResNeXt', depth=50, base_channels=16)",
                1.0,
                kaiming,
            ),
            (
                "dict(type='Res2Net', depth=50, base_channels=16)",
                1.0,
                kaiming,
            ),
            (
                "dict(type='ResNeSt', depth=50, base_channels=16)",
                1.0,
                kaiming,
            ),
            ("dict(type='RegNet', arch='regnetx_400mf')", 0.0, kaiming),
            (
                "dict(type='mmpretrain.ResNeXt', depth=50, base_channels=16)",
                0.0,
                kaiming,
            ),
            (
                "dict(type='mmpretrain.SEResNet', depth=50, base_channels=16)",
                0.0,
                kaiming,
            ),
            (
                "dict(type='mmpretrain.ResNeSt', depth=50, base_channels=16)",
                0.0,
                kaiming,
            ),
            (
                "dict(type='mmpretrain.ResNet', depth=50, base_channels=16, init_cfg=None)",
                0.0,
                torch,
            ),
            // These two have no `init_cfg` by default.
            (
                "dict(type='mmpretrain.Res2Net', depth=50, base_channels=16)",
                0.0,
                torch,
            ),
            (
                "dict(type='mmpretrain.RegNet', arch='regnetx_400mf')",
                0.0,
                torch,
            ),
        ] {
            let node = crate::config::parse_value(text).unwrap();
            let registry = crate::registry();
            let params = Params::new(&Device::flex(), Mode::Train, None);
            let root = Build::new(&registry, params.clone(), "mmdet", None);
            let (make, part) = root
                .part::<crate::backbones::Backbones>("b", &node)
                .unwrap();
            make(&node, &part).unwrap();
            let store = params.store();
            let slot = |name: &str| store.slot(&format!("b.layer1.0.{name}")).unwrap();
            let values = |name: &str| {
                slot(name)
                    .value()
                    .into_data()
                    .try_into_vec::<f32>()
                    .unwrap()
            };
            let norm = values("bn3.weight");
            assert!(norm.iter().all(|v| *v == mean), "{text}");
            let conv = values("conv3.weight");
            let square = conv.iter().map(|v| f64::from(v * v)).sum::<f64>();
            let [out, inputs, ..] = slot("conv3.weight").shape()[..] else {
                panic!("a convolution has four dimensions");
            };
            let variance = match kind {
                "Kaiming" => 2.0 / out as f64,
                _ => 1.0 / (3 * inputs) as f64,
            };
            let ratio = square / conv.len() as f64 / variance;
            assert!((ratio - 1.0).abs() < 0.2, "{text}: {ratio}"); // of 1024 numbers, deviation 0.045
        }
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
                "help: it is known to `ResNeXt`",
            ),
            ("dict(type='ResNet')", "the key `depth` is missing"),
            (
                "dict(type='ResNet', depth=50, drop_path_rate=0.1)",
                "help: it is known to `mmpretrain.ResNet`",
            ),
            (
                "dict(type='ResNetV1d', depth=50, deep_stem=False)",
                "`deep_stem` is not known to ResNetV1d",
            ),
            (
                "dict(type='mmpretrain.ResNet', depth=18, expansion=4)",
                "below depth 50 it must be 1",
            ),
            (
                "dict(type='mmpretrain.SEResNet', depth=34)",
                "known are 50, 101, 152",
            ),
            (
                "dict(type='Res2Net', depth=50, scales=1)",
                "must be 2 or more",
            ),
            (
                "dict(type='Res2Net', depth=50, base_width=0.5)",
                "no channels are left for a scale",
            ),
            (
                "dict(type='ResNeSt', depth=50, groups=3)",
                "does not divide the 32 squeezed channels",
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
                "dict(type='ResNeXt', depth=50, groups=3, base_width=4, norm_cfg=dict(type='GN', num_groups=32))",
                "does not divide 12 channels",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
