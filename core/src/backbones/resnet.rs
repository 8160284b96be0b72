//! ResNet (He et al. 2016, arXiv 1512.03385) and what is made of its stages, as MMDetection 3.3.0 and MMPretrain 1.2.0 build them: the stem and
//! shortcut of ResNet-C and -D (He et al. 2019, arXiv 1812.01187, `deep_stem`, `avg_down`); ResNeXt (Xie et al. 2017, arXiv 1611.05431), whose
//! 3x3 convolutions have `groups`; SENet (Hu et al. 2018, arXiv 1709.01507), which weighs the channels of each block. Further middles of
//! blocks, and the widths of RegNet, are in files of their own.
//!
//! The two libraries have the same tensors but for the deep stem; they differ in keys, defaults, where a shortcut is pooled, and in initial values.
//!
//! Shapes: stage i gives `[N, base_channels * 2^i * expansion, H / (4 * strides[..=i]), W / ...]`, expansion 1 for depths 18 and 34, else 4.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;
use serde::de::IgnoredAny;

mod detectors;
mod extras;
mod trident;

pub(super) use self::extras::Extras;
use self::trident::Trident;
use super::plugins::{Plugin, PluginConfig};
use super::regnet;
use super::res2net::{Scales, ScalesConfig};
use super::resnest::{SplitAttention, SplitAttentionConfig};
use super::{Backbone, Feature};
use crate::backbones::options::rate;
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Kind, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Init, InitRule, NormConfig, Params,
    SqueezeExcite, make_divisible,
};
use crate::limits::{Channels, Index, List, Pixels};
use crate::ops::pool::max_pool2d;

/// Channels of the first stage; the last has eight times as many.
const MOST_BASE: usize = 8192;
/// Channels of a convolution.
pub(super) const MOST_WIDTH: usize = 1 << 16;

/// The keys of all classes, absent ones at the original's defaults; [`Class::has`] says which class has which.
#[derive(Debug, Deserialize)]
struct ResNetConfig {
    depth: Option<i64>,
    /// Of RegNet in place of a depth: a name or a dict.
    arch: Option<Node>,
    in_channels: Option<Channels>,
    stem_channels: Option<Channels>,
    base_channels: Option<Bounded<0, MOST_BASE>>,
    /// Output channels of a block for one inside.
    expansion: Option<Bounded<1, 64>>,
    num_stages: Option<Index>,
    strides: Option<List<Pixels>>,
    dilations: Option<List<Pixels>>,
    out_indices: Option<List<Index>>,
    style: Option<String>,
    deep_stem: Option<bool>,
    avg_down: Option<bool>,
    groups: Option<Channels>,
    /// Channels of a group (of a scale in Res2Net) in the first stage, if that has 64.
    base_width: Option<f64>,
    /// The same in MMPretrain.
    width_per_group: Option<Channels>,
    /// Channels for one of the squeezed.
    se_ratio: Option<Channels>,
    scales: Option<Bounded<1, 64>>,
    radix: Option<Bounded<1, 64>>,
    reduction_factor: Option<Channels>,
    avg_down_stride: Option<bool>,
    drop_path_rate: Option<f64>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
    zero_init_residual: Option<bool>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
    /// A `conv_cfg` for the middles of bottlenecks in the stages that `stage_with_dcn` names, as `sac`.
    dcn: Option<IgnoredAny>,
    stage_with_dcn: Option<Vec<bool>>,
    sac: Option<IgnoredAny>,
    stage_with_sac: Option<Vec<bool>>,
    /// Channels that come back from a recursive pyramid.
    rfp_inplanes: Option<Channels>,
    /// Whether the picture is among the outputs.
    output_img: Option<bool>,
    num_branch: Option<Index>,
    test_branch_idx: Option<i64>,
    trident_dilations: Option<List<Pixels>>,
}

/// Keys that [`ConvStyle`], [`PluginConfig`] or others read, or that are of memory and of initial values only.
const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "plugins", "with_cp", "init_cfg"];

/// Whose class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    MMDetection,
    MMPretrain,
}

/// By what name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)] // the names that they are registered by
pub(super) enum Variant {
    ResNet,
    ResNetV1c,
    ResNetV1d,
    ResNeXt,
    SEResNet,
    SEResNeXt,
    RegNet,
    Res2Net,
    ResNeSt,
    TridentResNet,
    DetectoRS_ResNet,
    DetectoRS_ResNeXt,
}

use Variant::{DetectoRS_ResNeXt, DetectoRS_ResNet, TridentResNet};
use Variant::{RegNet, Res2Net, ResNeSt, ResNeXt, ResNetV1c, ResNetV1d, SEResNeXt, SEResNet};

/// One of the registered classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub library: Library,
    pub variant: Variant,
}

impl Class {
    /// Those of MMDetection.
    const MMDET: &[Variant] = &[
        Variant::ResNet,
        ResNetV1d,
        ResNeXt,
        RegNet,
        Res2Net,
        ResNeSt,
        TridentResNet,
        DetectoRS_ResNet,
        DetectoRS_ResNeXt,
    ];
    /// Those of MMPretrain.
    const MMPRETRAIN: &[Variant] = &[
        Variant::ResNet,
        ResNetV1c,
        ResNetV1d,
        ResNeXt,
        SEResNet,
        SEResNeXt,
        RegNet,
        Res2Net,
        ResNeSt,
    ];

    fn is_detectors(self) -> bool {
        matches!(self.variant, DetectoRS_ResNet | DetectoRS_ResNeXt)
    }

    fn of_mmdet(self) -> bool {
        self.library == Library::MMDetection
    }

    /// Whether it has a key that not all of them have.
    fn has(self, key: &str) -> bool {
        let grouped = matches!(
            self.variant,
            ResNeXt | SEResNeXt | ResNeSt | DetectoRS_ResNeXt
        );
        match key {
            "depth" | "num_stages" => self.variant != RegNet,
            "arch" => self.variant == RegNet,
            "expansion" | "drop_path_rate" => !self.of_mmdet() && self.variant != RegNet,
            "dcn" | "stage_with_dcn" | "plugins" | "pretrained" => self.of_mmdet(),
            "deep_stem" | "avg_down" => !matches!(self.variant, ResNetV1c | ResNetV1d | ResNeSt),
            "groups" => grouped,
            "base_width" => self.variant == Res2Net || grouped && self.of_mmdet(),
            "width_per_group" => grouped && !self.of_mmdet(),
            "se_ratio" => matches!(self.variant, SEResNet | SEResNeXt),
            "scales" => self.variant == Res2Net,
            "sac" | "stage_with_sac" | "rfp_inplanes" | "output_img" => self.is_detectors(),
            "num_branch" | "test_branch_idx" | "trident_dilations" => self.variant == TridentResNet,
            "radix" | "reduction_factor" | "avg_down_stride" => self.variant == ResNeSt,
            _ => true,
        }
    }

    /// Names of the classes that have `key`.
    fn with(key: &str) -> String {
        let of = |library, variants: &[Variant], prefix: &str| {
            let has = |variant: &&Variant| {
                let variant = **variant;
                Self { library, variant }.has(key)
            };
            let name = |variant: &Variant| format!("`{prefix}{variant:?}`");
            variants.iter().filter(has).map(name).collect::<Vec<_>>()
        };
        let mut names = of(Library::MMDetection, Self::MMDET, "");
        names.extend(of(Library::MMPretrain, Self::MMPRETRAIN, "mmpretrain."));
        names.join(", ")
    }

    /// Depths, and how many blocks each stage has.
    fn depths(self) -> &'static [(i64, [usize; 4])] {
        let count = match self.variant {
            Variant::ResNet | ResNetV1c | ResNetV1d => return &DEPTHS[..5],
            ResNeSt if self.of_mmdet() => 4,
            ResNeSt => 5,
            _ => 3,
        };
        &DEPTHS[2..][..count]
    }

    /// What `deep_stem` and `avg_down` are, whatever the config says.
    fn fixed_stem(self) -> Option<[bool; 2]> {
        match self.variant {
            ResNetV1c => Some([true, false]),
            ResNetV1d | ResNeSt => Some([true, true]),
            Res2Net if self.of_mmdet() => Some([true, true]),
            _ => None,
        }
    }

    /// Whether a shortcut has its pooling layer where nothing is pooled, too.
    fn pools_always(self) -> bool {
        self.of_mmdet() && !self.is_detectors() || self.variant == Res2Net
    }

    fn strides(self) -> [usize; 4] {
        match self.variant {
            RegNet => [2; 4],
            _ => [1, 2, 2, 2],
        }
    }
}

pub(super) const DEPTHS: [(i64, [usize; 4]); 7] = [
    (18, [2, 2, 2, 2]),
    (34, [3, 4, 6, 3]),
    (50, [3, 4, 6, 3]),
    (101, [3, 4, 23, 3]),
    (152, [3, 8, 36, 3]),
    (200, [3, 24, 36, 3]),
    (269, [3, 30, 48, 8]),
];

/// What the blocks share.
pub(super) struct Style {
    pub conv: ConvStyle,
    pub middle: MiddleConfig,
    pub caffe: bool,
    pub avg_down: bool,
    /// See [`Class::pools_always`].
    pub pools_always: bool,
    /// The last norm of a block begins with 0.
    pub zero_residual: bool,
    /// Channels for one of the squeezed, where there is squeeze-and-excite.
    pub se_ratio: Option<usize>,
}

/// What is between the 1x1 convolutions of a bottleneck, besides its width and stride.
#[derive(Clone, Copy, Debug)]
pub(super) enum MiddleConfig {
    /// A 3x3 convolution.
    Conv,
    Scales {
        count: usize,
        /// Whether the last part of a stage's first block is pooled where nothing strides, too.
        pools_always: bool,
    },
    SplitAttention {
        radix: usize,
        reduction: usize,
        avg_down_stride: bool,
    },
}

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

/// What the keys come to: nothing is left to be read or refused.
struct Plan {
    bottleneck: bool,
    channels_in: usize,
    stem: Stem,
    stem_channels: usize,
    stages: Vec<StagePlan>,
    /// What else each of them has.
    extras: Vec<Extras>,
    plugins: Vec<PluginConfig>,
    trident: Option<trident::Config>,
    output_image: bool,
    out_indices: Vec<usize>,
    style: Style,
    frozen_stages: i64,
    norm_eval: bool,
    /// How often the branch of each block is left out, first to last.
    drop_path_rates: Vec<f64>,
}

/// Convolutions before the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stem {
    /// One of 7x7.
    Wide,
    /// Three of 3x3, as entries of a sequence.
    Deep,
    /// Three of 3x3, as mmcv's `ConvModule`s.
    DeepModules,
    /// One of 3x3, and nothing is pooled.
    Small,
}

/// One stage.
pub(super) struct StagePlan {
    pub blocks: usize,
    /// Channels that it gives.
    pub channels: usize,
    /// Channels inside a bottleneck; of each scale in Res2Net.
    pub width: usize,
    pub groups: usize,
    pub stride: usize,
    pub dilation: usize,
}

/// Strides and dilations of the stages.
pub(super) struct Steps {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
}

impl ResNetConfig {
    /// Whether the initial values are the original's own.
    fn by_default(&self, node: &Node, class: Class) -> bool {
        let given = node.get("init_cfg");
        match class.library {
            // `init_cfg=None`, too, is none given.
            Library::MMDetection => given.is_none_or(Node::is_none) && self.pretrained.is_none(),
            // These two have PyTorch's.
            Library::MMPretrain => given.is_none() && !matches!(class.variant, RegNet | Res2Net),
        }
    }

    /// With `zero_init_residual` each block begins as the identity, too (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
    fn zero_residual(&self, node: &Node, class: Class) -> bool {
        let here = match class.library {
            // Not where a class has blocks of its own.
            Library::MMDetection => {
                let own = matches!(class.variant, ResNeXt | Res2Net | ResNeSt);
                self.by_default(node, class) && !own
            }
            Library::MMPretrain => {
                let kind = node.get("init_cfg").and_then(|init| init.get("type"));
                kind.and_then(Node::as_str) != Some("Pretrained")
            }
        };
        here && self.zero_init_residual.unwrap_or(true)
    }

    fn initial(&self, node: &Node, build: &Build, class: Class) -> Result<(), Diagnostics> {
        let params = &build.params;
        if let Some(name) = self.pretrained.as_deref().filter(|_| build.wants_weights()) {
            return build.pretrained(node, name, None, params);
        }
        if self.by_default(node, class) {
            let convs: &[&str] = match class.is_detectors() {
                true => &["Conv2d", "ConvAWS2d"], // all that are derived from the first
                false => &["Conv2d"],
            };
            params.initialise(InitRule::of(convs, Init::KAIMING));
            let norms = ["_BatchNorm", "GroupNorm"];
            params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
        }
        Ok(())
    }

    fn plan(self, node: &Node, class: Class) -> Result<Plan, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let depth = match class.variant {
            RegNet => None,
            _ => Some(self.depth(node, class)?),
        };
        let bottleneck = depth.is_none_or(|(depth, _)| depth >= 50);
        let mut stages = match depth {
            Some((_, blocks)) => self.stages(node, class, bottleneck, blocks)?,
            None => self.regnet_stages(node, class)?,
        };
        let count = stages.len();
        let out_indices = match &self.out_indices {
            Some(list) => list.numbers(),
            None if class.of_mmdet() => vec![0, 1, 2, 3],
            None => vec![3],
        };
        if let Some(i) = out_indices.iter().find(|i| **i >= count) {
            let message = format!("`out_indices` names stage {i}; there are {count}, from 0");
            return fail("out_indices", message);
        }
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        if frozen_stages > count as i64 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} stages");
            return fail("frozen_stages", message);
        }
        let stem = self.stem(node, class)?;
        let stem_channels = self.stem_channels.map(Channels::get);
        let stem_channels = stem_channels.unwrap_or(match class.variant {
            RegNet => 32,
            _ if class.of_mmdet() => self.base(),
            _ => 64,
        });
        if stem_channels == 1 && matches!(stem, Stem::Deep | Stem::DeepModules) {
            let message = "`stem_channels` is 1, which leaves half a channel in a deep stem";
            return fail("stem_channels", message.into());
        }
        let drop_path_rates = self.drop_path_rates(node, class, depth)?;
        let trident = self.trident(node, class, &mut stages)?;
        let mut extras = self.extras(node, class, &stages, bottleneck)?;
        let plugins = PluginConfig::read(node, count, |stage, conv| match conv {
            0 | 1 => stages[stage].width,
            _ => stages[stage].channels,
        })?;
        self.refuse_plugins(node, class, &plugins, bottleneck)?;
        for (i, extras) in extras.iter_mut().enumerate() {
            let last = |plugin: &PluginConfig| plugin.position == 2 && plugin.is_in(i);
            extras.plugged = plugins.iter().any(last);
        }
        Ok(Plan {
            extras,
            plugins,
            trident,
            output_image: self.output_img.unwrap_or(false),
            bottleneck,
            channels_in: self.in_channels.map_or(3, Channels::get),
            stem,
            stem_channels,
            style: self.style(node, class, stem, stem_channels, &stages)?,
            stages,
            out_indices,
            frozen_stages,
            norm_eval: self.norm_eval.unwrap_or(class.of_mmdet()),
            drop_path_rates,
        })
    }

    /// What this class does not have.
    fn refuse(&self, node: &Node, class: Class) -> Result<(), Diagnostics> {
        let keys = node.as_dict().into_iter().flat_map(|dict| dict.iter());
        let keys: Vec<_> = keys.map(|(key, _)| key.to_string()).collect();
        if let Some(key) = keys.iter().find(|key| !class.has(key)) {
            let variant = class.variant;
            let message = format!("the key `{key}` is not known to {variant:?}");
            let help = format!("it is known to {}", Class::with(key));
            return Err(error_at(node, key, message, &help));
        }
        Ok(())
    }

    fn stem(&self, node: &Node, class: Class) -> Result<Stem, Diagnostics> {
        let fixed = class.fixed_stem().map(|[deep, _]| deep);
        let deep = fixed.or(self.deep_stem);
        let deep = deep.unwrap_or(class.variant == Res2Net);
        match class.variant {
            // MMDetection's has none either, and looks for it where it is to be frozen.
            RegNet if deep && (!class.of_mmdet() || self.frozen_stages.is_some_and(|n| n >= 0)) => {
                let message = "RegNet has no deep stem";
                Err(error_at(node, "deep_stem", message, ""))
            }
            RegNet => Ok(Stem::Small),
            _ if !deep => Ok(Stem::Wide),
            _ if class.of_mmdet() => Ok(Stem::Deep),
            _ => Ok(Stem::DeepModules),
        }
    }

    /// From 0 at the first block to `drop_path_rate` at the last one that this depth has, be it built or not.
    fn drop_path_rates(
        &self,
        node: &Node,
        class: Class,
        depth: Option<(i64, [usize; 4])>,
    ) -> Result<Vec<f64>, Diagnostics> {
        let rate = rate(node, "drop_path_rate", self.drop_path_rate)?;
        // Blocks of other classes have the key, and drop nothing.
        let drops = matches!(
            class.variant,
            Variant::ResNet | ResNetV1c | ResNetV1d | ResNeXt
        );
        let count = depth.map_or(0, |(_, blocks)| blocks.iter().sum());
        let of = |i: usize| rate * i as f64 / (count - 1) as f64;
        let least = |rate: f64| if rate > 1e-5 { rate } else { 0.0 };
        Ok(match drops {
            true => (0..count).map(of).map(least).collect(),
            false => Vec::new(),
        })
    }

    /// Channels of the first stage.
    fn base(&self) -> usize {
        self.base_channels.map_or(64, Bounded::get).max(1)
    }

    fn groups(&self, class: Class) -> usize {
        let many = !class.of_mmdet() && matches!(class.variant, ResNeXt | SEResNeXt);
        self.groups.map_or(if many { 32 } else { 1 }, Channels::get)
    }

    fn steps(&self, node: &Node, class: Class, count: usize) -> Result<Steps, Diagnostics> {
        let strides = self.strides.as_ref();
        let strides = strides.map_or_else(|| class.strides().to_vec(), List::numbers);
        let dilations = self.dilations.as_ref();
        let dilations = dilations.map_or_else(|| vec![1; 4], List::numbers);
        for (key, list) in [("strides", &strides), ("dilations", &dilations)] {
            if list.len() != count {
                let message = format!("`{key}` has {} entries for {count} stages", list.len());
                return Err(error_at(node, key, message, ""));
            }
        }
        Ok(Steps { strides, dilations })
    }

    fn regnet_stages(&self, node: &Node, class: Class) -> Result<Vec<StagePlan>, Diagnostics> {
        let arch = regnet::stages(node, self.arch.as_ref(), class.of_mmdet())?;
        let steps = self.steps(node, class, arch.len())?;
        let stage = |(i, stage): (usize, regnet::Stage)| StagePlan {
            blocks: stage.blocks,
            channels: stage.channels,
            width: stage.width,
            groups: stage.groups,
            stride: steps.strides[i],
            dilation: steps.dilations[i],
        };
        Ok(arch.into_iter().enumerate().map(stage).collect())
    }

    fn stages(
        &self,
        node: &Node,
        class: Class,
        bottleneck: bool,
        blocks: [usize; 4],
    ) -> Result<Vec<StagePlan>, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let count = self.num_stages.map_or(4, Index::get);
        if !(1..=4).contains(&count) {
            let message = format!("`num_stages` is {count}, must be 1 to 4");
            return fail("num_stages", message);
        }
        let steps = self.steps(node, class, count)?;
        let expansion = self.expansion.map(Bounded::get);
        let expansion = expansion.unwrap_or(if bottleneck { 4 } else { 1 });
        if !bottleneck && expansion != 1 {
            let message = format!("`expansion` is {expansion}; below depth 50 it must be 1");
            return fail("expansion", message);
        }
        let groups = self.groups(class);
        let stage = |i: usize| StagePlan {
            blocks: blocks[i],
            channels: (self.base() << i) * expansion,
            width: self.width(class, self.base() << i, groups),
            groups,
            stride: steps.strides[i],
            dilation: steps.dilations[i],
        };
        let stages: Vec<_> = (0..count).map(stage).collect();
        if stages[0].width == 0 {
            return match class.variant {
                Res2Net => fail("base_width", "no channels are left for a scale".into()),
                _ => {
                    let message =
                        format!("`groups` is {groups}, which leaves no channels for a group");
                    fail("groups", message)
                }
            };
        }
        let parts = match self.middle(node, class)? {
            MiddleConfig::Conv => 1,
            MiddleConfig::Scales { count, .. } => count,
            MiddleConfig::SplitAttention { radix, .. } => radix,
        };
        let widths = stages.iter().map(|stage| stage.width.saturating_mul(parts));
        if let Some(wide) = widths.into_iter().find(|width| *width > MOST_WIDTH) {
            let key = if class.has("base_width") {
                "base_width"
            } else {
                "width_per_group"
            };
            return fail(
                key,
                format!("a stage would have 3x3 convolutions of {wide} channels"),
            );
        }
        if let Some(last) = stages.iter().find(|stage| stage.channels > MOST_WIDTH) {
            let message = format!("a stage would have {} channels", last.channels);
            return fail("base_channels", message);
        }
        Ok(stages)
    }

    /// Channels inside a bottleneck of a stage that has `planes` if nothing is said.
    fn width(&self, class: Class, planes: usize, groups: usize) -> usize {
        let base = self.base();
        let part = |default: f64| {
            (planes as f64 * (self.base_width.unwrap_or(default) / base as f64)) as usize
        };
        match class.library {
            _ if class.variant == Res2Net => part(26.0),
            _ if groups == 1 => planes,
            Library::MMDetection => part(4.0).saturating_mul(groups),
            Library::MMPretrain => {
                groups * self.width_per_group.map_or(4, Channels::get) * planes / base
            }
        }
    }

    /// The depth, and the blocks of each stage.
    fn depth(&self, node: &Node, class: Class) -> Result<(i64, [usize; 4]), Diagnostics> {
        let Some(depth) = self.depth else {
            let mut problems = error_at(node, "", "the key `depth` is missing", "");
            problems.iter_mut().for_each(|p| p.kind = Kind::Missing);
            return Err(problems);
        };
        let depths = class.depths();
        if let Some(known) = depths.iter().find(|(known, _)| *known == depth) {
            return Ok(*known);
        }
        let message = format!("{:?} has no depth {depth}", class.variant);
        let known: Vec<_> = depths.iter().map(|(depth, _)| depth.to_string()).collect();
        let known = format!("known are {}", known.join(", "));
        Err(error_at(node, "depth", message, &known))
    }

    fn middle(&self, node: &Node, class: Class) -> Result<MiddleConfig, Diagnostics> {
        Ok(match class.variant {
            Res2Net => {
                let count = self.scales.map_or(4, Bounded::get);
                if count == 1 {
                    let message = "`scales` is 1, which leaves a ResNet; it must be 2 or more";
                    return Err(error_at(node, "scales", message, ""));
                }
                let pools_always = !class.of_mmdet();
                MiddleConfig::Scales {
                    count,
                    pools_always,
                }
            }
            ResNeSt => MiddleConfig::SplitAttention {
                radix: self.radix.map_or(2, Bounded::get),
                reduction: self.reduction_factor.map_or(4, Channels::get),
                avg_down_stride: self.avg_down_stride.unwrap_or(true),
            },
            _ => MiddleConfig::Conv,
        })
    }

    fn style(
        &self,
        node: &Node,
        class: Class,
        stem: Stem,
        stem_channels: usize,
        stages: &[StagePlan],
    ) -> Result<Style, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let fixed = class.variant == Res2Net && class.of_mmdet();
        let caffe = match self.style.as_deref().filter(|_| !fixed) {
            None | Some("pytorch") => false,
            Some("caffe") => true,
            Some(other) => {
                let message = format!("`style` is '{other}', must be 'pytorch' or 'caffe'");
                return fail("style", message);
            }
        };
        let middle = self.middle(node, class)?;
        let mut channels: Vec<_> = stages.iter().map(|stage| stage.channels).collect();
        channels.push(stem_channels);
        if matches!(stem, Stem::Deep | Stem::DeepModules) {
            channels.push(stem_channels / 2);
        }
        for stage in stages {
            match middle {
                MiddleConfig::Conv => channels.push(stage.width),
                MiddleConfig::Scales { count, .. } => {
                    channels.extend([stage.width, stage.width * count]);
                }
                MiddleConfig::SplitAttention { .. } => {
                    let split = middle.split_attention(stage, 1).expect("it is one");
                    channels.extend(split.check(node)?);
                }
            }
        }
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let conv = ConvStyle::read(node, defaults, &channels)?;
        if conv.norm.is_none() {
            return fail(
                "norm_cfg",
                format!("{:?} needs a `norm_cfg`", class.variant),
            );
        }
        let fixed = class.fixed_stem().map(|[_, avg_down]| avg_down);
        let ratio = self.se_ratio.map_or(16, Channels::get);
        let se_ratio = match class.variant {
            SEResNet => Some(ratio),
            SEResNeXt => Some(16), // the original takes `se_ratio`, and drops it
            _ => None,
        };
        Ok(Style {
            conv,
            middle,
            caffe,
            avg_down: fixed.or(self.avg_down).unwrap_or(class.variant == Res2Net),
            pools_always: class.pools_always(),
            zero_residual: self.zero_residual(node, class),
            se_ratio,
        })
    }
}

impl MiddleConfig {
    /// The split attention of a block, if that is what is meant.
    fn split_attention(self, stage: &StagePlan, stride: usize) -> Option<SplitAttentionConfig> {
        let Self::SplitAttention {
            radix,
            reduction,
            avg_down_stride,
        } = self
        else {
            return None;
        };
        Some(SplitAttentionConfig {
            channels: stage.width,
            groups: stage.groups,
            radix,
            reduction,
            stride,
            pools: avg_down_stride,
            dilation: stage.dilation,
        })
    }
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

    /// The same without an activation.
    fn bare_layer(&self, conv: ConvConfig, at: &Params, i: usize) -> ConvNormAct {
        let names = (format!("conv{i}"), format!("{}{i}", self.norm_name()));
        let bare = self.conv.act(None);
        bare.named(conv.bias(false), at, names.0, names.1)
    }
}

/// A block in its stage.
#[derive(Clone, Copy)]
pub(super) struct BlockPlace<'a> {
    pub channels_in: usize,
    pub bottleneck: bool,
    /// Whether it is the stage's first, which strides.
    pub first: bool,
    pub drop_path_rate: f64,
    pub extras: &'a Extras,
}

/// A residual block: two 3x3 convolutions, or a middle between two 1x1 (bottleneck), added to the shortcut before the last activation.
#[derive(Debug)]
pub(super) struct Block {
    first: ConvNormAct,
    middle: Option<Middle>,
    last: ConvNormAct,
    gate: Option<SqueezeExcite>,
    /// What follows each of the three convolutions.
    plugins: [Vec<Plugin>; 3],
    /// For what comes back from a recursive pyramid.
    rfp: Option<ConvNormAct>,
    drop_path: Option<DropPath>,
    downsample: Option<ConvNormAct>,
    /// Side of the average pooling before the shortcut's convolution, 1 for none.
    pool: usize,
}

/// What is between the 1x1 convolutions of a bottleneck.
#[derive(Debug)]
enum Middle {
    Conv(Box<ConvNormAct>),
    Scales(Scales),
    SplitAttention(Box<SplitAttention>),
}

impl Middle {
    fn forward(&self, x: Tensor<4>, dilation: Option<usize>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => match dilation {
                Some(dilation) => conv.forward_dilated(x, dilation),
                None => conv.forward(x),
            },
            Self::Scales(scales) => scales.forward(x),
            Self::SplitAttention(attention) => attention.forward(x),
        }
    }

    fn learning(&self) -> bool {
        match self {
            Self::Conv(conv) => conv.learning(),
            Self::Scales(scales) => scales.learning(),
            Self::SplitAttention(attention) => attention.learning(),
        }
    }
}

impl Block {
    pub fn new(place: BlockPlace, stage: &StagePlan, style: &Style, at: &Params) -> Self {
        let BlockPlace {
            channels_in,
            bottleneck,
            first,
            drop_path_rate,
            extras,
        } = place;
        let (stride, out) = (if first { stage.stride } else { 1 }, stage.channels);
        let styled = extras.style(style, first);
        let middle_style = styled.as_ref().unwrap_or(style);
        extras.initialise(style, first, at);
        if style.zero_residual && !extras.trident {
            let last = if bottleneck { 3 } else { 2 };
            let last = at.at(format!("{}{last}", style.norm_name()));
            last.initialise(InitRule::all(Init::Constant(0.0), 0.0));
        }
        let drop_path = DropPath::new(drop_path_rate, &at.at("drop_path"));
        // What is done to the branch before it is added is done between its last norm and the activation.
        let last_layer =
            |conv, i| match style.se_ratio.is_none() && drop_path.is_none() && !extras.plugged {
                true => style.layer(conv, at, i),
                false => style.bare_layer(conv, at, i),
            };
        let (first_conv, middle, last) = if bottleneck {
            let strides = if style.caffe {
                [stride, 1]
            } else {
                [1, stride]
            };
            let width = match style.middle {
                MiddleConfig::Scales { count, .. } => stage.width * count,
                _ => stage.width,
            };
            let conv = ConvConfig::new(channels_in, width, 1).stride(strides[0]);
            let first_conv = style.layer(conv, at, 1);
            let middle = match style.middle {
                MiddleConfig::Scales { .. } => None, // the state dict has it after all others
                _ => Some(Self::middle(strides[1], first, stage, middle_style, at)),
            };
            let last = last_layer(ConvConfig::new(width, out, 1), 3);
            (first_conv, middle, last)
        } else {
            let conv = ConvConfig::new(channels_in, out, 3)
                .stride(stride)
                .pad(stage.dilation)
                .dilation(stage.dilation);
            let first_conv = style.layer(conv, at, 1);
            let last = last_layer(ConvConfig::new(out, out, 3).pad(1), 2);
            (first_conv, None, last)
        };
        let shortcut = stride != 1 || channels_in != out;
        let pools = style.avg_down && !extras.trident && (stride != 1 || style.pools_always);
        let downsample = shortcut.then(|| {
            let first = usize::from(pools); // the pooling is the sequence's first entry
            let stride = if pools { 1 } else { stride };
            let conv = ConvConfig::new(channels_in, out, 1).stride(stride);
            let bare = style.conv.act(None);
            bare.named(conv.bias(false), &at.at("downsample"), first, first + 1)
        });
        let middle = match style.middle {
            MiddleConfig::Scales { .. } if bottleneck => {
                let stride = if style.caffe { 1 } else { stride };
                Some(Self::middle(stride, first, stage, middle_style, at))
            }
            _ => middle,
        };
        let gate = style.se_ratio.map(|ratio| {
            let squeezed = make_divisible((out / ratio) as f64, 8);
            let at = at.at("se_layer");
            let convs = [
                (Activation::Relu, &at.at("conv1")),
                (Activation::Sigmoid, &at.at("conv2")),
            ];
            SqueezeExcite::new(out, squeezed, convs, |conv, act, at| {
                ConvStyle::default().act(Some(act)).module(conv, at)
            })
        });
        at.built_in_order(["downsample", "conv1", "conv2", "conv3"]);
        Self {
            first: first_conv,
            middle,
            last,
            gate,
            plugins: Default::default(),
            rfp: None,
            drop_path,
            downsample,
            pool: if pools { stride } else { 1 },
        }
    }

    /// What is between the 1x1 convolutions; `first` says of a stage.
    fn middle(stride: usize, first: bool, stage: &StagePlan, style: &Style, at: &Params) -> Middle {
        match style.middle {
            MiddleConfig::Conv => {
                let conv = ConvConfig::new(stage.width, stage.width, 3)
                    .groups(stage.groups)
                    .stride(stride)
                    .pad(stage.dilation)
                    .dilation(stage.dilation);
                Middle::Conv(Box::new(style.layer(conv, at, 2)))
            }
            MiddleConfig::Scales {
                count,
                pools_always,
            } => {
                let config = ScalesConfig {
                    count,
                    width: stage.width,
                    stride,
                    dilation: stage.dilation,
                    first,
                    pools_always,
                };
                Middle::Scales(Scales::new(config, &style.conv, at))
            }
            MiddleConfig::SplitAttention { .. } => {
                let config = style.middle.split_attention(stage, stride);
                let config = config.expect("it is one");
                let attention = SplitAttention::new(config, &style.conv, &at.at("conv2"));
                Middle::SplitAttention(Box::new(attention))
            }
        }
    }

    /// `given` is what comes back from a recursive pyramid; `dilation` that of a 3x3 middle, if not its own.
    pub fn forward(
        &self,
        x: Tensor<4>,
        given: Option<&Tensor<4>>,
        dilation: Option<usize>,
    ) -> Tensor<4> {
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
        let shortcut = match (&self.rfp, given) {
            (Some(conv), Some(given)) => shortcut + conv.forward(given.clone()),
            _ => shortcut,
        };
        let plugged = |x: Tensor<4>, i: usize| self.plugins[i].iter().fold(x, |x, p| p.forward(x));
        let mut x = plugged(self.first.forward(x), 0);
        if let Some(middle) = &self.middle {
            x = plugged(middle.forward(x, dilation), 1);
        }
        if self.gate.is_none() && self.drop_path.is_none() && self.plugins[2].is_empty() {
            return self.last.forward_onto(x, shortcut);
        }
        x = plugged(self.last.forward(x), 2);
        if let Some(gate) = &self.gate {
            x = gate.forward(x);
        }
        Activation::Relu.forward(DropPath::add(&self.drop_path, shortcut, x))
    }

    /// Whether a norm here takes in the statistics of what comes through.
    fn learning(&self) -> bool {
        let convs = [&self.first, &self.last].into_iter();
        convs.chain(&self.downsample).any(ConvNormAct::learning)
            || self.middle.as_ref().is_some_and(Middle::learning)
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
