//! [`ResNetConfig`]: the keys of all classes, and the [`Plan`] that they come to.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::block::{MiddleConfig, Style};
use super::class::Variant::{
    RegNet, Res2Net, ResNeSt, ResNeXt, ResNetV1c, ResNetV1d, SEResNeXt, SEResNet,
};
use super::class::{Class, Library, Variant};
use super::extras::Extras;
use super::trident;
use crate::backbones::options::rate;
use crate::backbones::plugins::PluginConfig;
use crate::backbones::regnet;
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Kind, Node, error_at};
use crate::layers::{Activation, ConvStyle, Init, InitRule, NormConfig};
use crate::limits::{Channels, Index, List, Pixels};

/// Channels of the first stage; the last has eight times as many.
const MOST_BASE: usize = 8192;
/// Channels of a convolution.
pub(in crate::backbones) const MOST_WIDTH: usize = 1 << 16;

/// The keys of all classes, absent ones at the original's defaults; [`Class::has`] says which class has which.
#[derive(Debug, Deserialize)]
pub(super) struct ResNetConfig {
    pub depth: Option<i64>,
    /// Of RegNet in place of a depth: a name or a dict.
    pub arch: Option<Node>,
    pub in_channels: Option<Channels>,
    pub stem_channels: Option<Channels>,
    pub base_channels: Option<Bounded<0, MOST_BASE>>,
    /// Output channels of a block for one inside.
    pub expansion: Option<Bounded<1, 64>>,
    pub num_stages: Option<Index>,
    pub strides: Option<List<Pixels>>,
    pub dilations: Option<List<Pixels>>,
    pub out_indices: Option<List<Index>>,
    pub style: Option<String>,
    pub deep_stem: Option<bool>,
    pub avg_down: Option<bool>,
    pub groups: Option<Channels>,
    /// Channels of a group (of a scale in Res2Net) in the first stage, if that has 64.
    pub base_width: Option<f64>,
    /// The same in MMPretrain.
    pub width_per_group: Option<Channels>,
    /// Channels for one of the squeezed.
    pub se_ratio: Option<Channels>,
    pub scales: Option<Bounded<1, 64>>,
    pub radix: Option<Bounded<1, 64>>,
    pub reduction_factor: Option<Channels>,
    pub avg_down_stride: Option<bool>,
    pub drop_path_rate: Option<f64>,
    pub frozen_stages: Option<i64>,
    pub norm_eval: Option<bool>,
    pub zero_init_residual: Option<bool>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pub pretrained: Option<String>,
    /// A `conv_cfg` for the middles of bottlenecks in the stages that `stage_with_dcn` names, as `sac`.
    pub dcn: Option<IgnoredAny>,
    pub stage_with_dcn: Option<Vec<bool>>,
    pub sac: Option<IgnoredAny>,
    pub stage_with_sac: Option<Vec<bool>>,
    /// Channels that come back from a recursive pyramid.
    pub rfp_inplanes: Option<Channels>,
    /// Whether the picture is among the outputs.
    pub output_img: Option<bool>,
    pub num_branch: Option<Index>,
    pub test_branch_idx: Option<i64>,
    pub trident_dilations: Option<List<Pixels>>,
}

/// Keys that [`ConvStyle`], [`PluginConfig`] or others read, or that are of memory and of initial values only.
pub(super) const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "plugins", "with_cp", "init_cfg"];

/// What the keys come to: nothing is left to be read or refused.
pub(super) struct Plan {
    pub bottleneck: bool,
    pub channels_in: usize,
    pub stem: Stem,
    pub stem_channels: usize,
    pub stages: Vec<StagePlan>,
    /// What else each of them has.
    pub extras: Vec<Extras>,
    pub plugins: Vec<PluginConfig>,
    pub trident: Option<trident::Config>,
    pub output_image: bool,
    pub out_indices: Vec<usize>,
    pub style: Style,
    pub frozen_stages: i64,
    pub norm_eval: bool,
    /// How often the branch of each block is left out, first to last.
    pub drop_path_rates: Vec<f64>,
}

/// Convolutions before the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stem {
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
pub(in crate::backbones) struct StagePlan {
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
pub(in crate::backbones) struct Steps {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
}

impl ResNetConfig {
    /// Whether the initial values are the original's own.
    pub fn by_default(&self, node: &Node, class: Class) -> bool {
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

    pub fn initial(&self, node: &Node, build: &Build, class: Class) -> Result<(), Diagnostics> {
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

    pub fn plan(self, node: &Node, class: Class) -> Result<Plan, Diagnostics> {
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
    pub fn refuse(&self, node: &Node, class: Class) -> Result<(), Diagnostics> {
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

    pub fn groups(&self, class: Class) -> usize {
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
