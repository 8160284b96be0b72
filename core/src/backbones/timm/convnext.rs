//! timm's ConvNeXt, ConvNeXt V2 and InceptionNeXt: names and sizes; the model is [`ConvNext`]'s.
//!
//! With `features_only` the maps are those of the four stages, without a norm; without, the last one after the norm of the classifier.

use serde::Deserialize;

use super::{Asked, COMMON, activation};
use crate::backbones::convnext::{
    ConvNext, Ending, INITIAL, Make, Mixing, Naming, Plan, StagePlan,
};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, Node, Short, error_at, unsupported};
use crate::layers::{Activation, ConvConfig, InitRule, NormConfig, Padding, make_divisible};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of timm's ConvNeXt.
#[derive(Debug, Deserialize)]
struct Keys {
    depths: Option<Short<Layers, STAGES>>,
    dims: Option<Short<Channels, STAGES>>,
    ls_init_value: Option<f64>,
    stem_type: Option<String>,
    patch_size: Option<Pixels>,
    head_norm_first: Option<bool>,
    head_hidden_size: Option<Channels>,
    conv_mlp: Option<bool>,
    conv_bias: Option<bool>,
    use_grn: Option<bool>,
    act_layer: Option<String>,
    norm_eps: Option<f64>,
}

/// That change initial values of the classifier only.
const OTHERS: &[&str] = &["head_init_scale", "kernel_sizes"];

const STAGES: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stem {
    Patch,
    /// Two 3x3 filters that overlap.
    Overlap,
    /// The first of them has half the channels.
    Tiered,
}

/// A member of the family.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    /// Of the stages but the third, of the third.
    blocks: [usize; 2],
    /// Of the first stage.
    channels: usize,
    stem: Stem,
    /// Whether the pointwise layers are convolutions.
    convolutions: bool,
}

const fn variant(
    name: &'static str,
    blocks: [usize; 2],
    channels: usize,
    stem: Stem,
    convolutions: bool,
) -> Variant {
    Variant {
        name,
        blocks,
        channels,
        stem,
        convolutions,
    }
}

const VARIANTS: [Variant; 16] = [
    variant("atto", [2, 6], 40, Stem::Patch, true),
    variant("atto_ols", [2, 6], 40, Stem::Tiered, true),
    variant("base", [3, 27], 128, Stem::Patch, false),
    variant("femto", [2, 6], 48, Stem::Patch, true),
    variant("femto_ols", [2, 6], 48, Stem::Tiered, true),
    variant("large", [3, 27], 192, Stem::Patch, false),
    variant("large_mlp", [3, 27], 192, Stem::Patch, false),
    variant("nano", [2, 8], 80, Stem::Patch, true),
    variant("nano_ols", [2, 8], 80, Stem::Overlap, true),
    variant("pico", [2, 6], 64, Stem::Patch, true),
    variant("pico_ols", [2, 6], 64, Stem::Tiered, true),
    variant("small", [3, 27], 96, Stem::Patch, false),
    variant("tiny", [3, 9], 96, Stem::Patch, false),
    variant("tiny_hnf", [3, 9], 96, Stem::Patch, true),
    variant("xlarge", [3, 27], 256, Stem::Patch, false),
    variant("xxlarge", [3, 30], 384, Stem::Patch, false),
];
/// Names of the second version that are in no other; the rest is as in the first.
const HUGE: Variant = variant("huge", [3, 27], 352, Stem::Patch, false);
const VERSION_2: [&str; 8] = [
    "atto", "base", "femto", "large", "nano", "pico", "small", "tiny",
];
const INCEPTION: [&str; 3] = ["base", "small", "tiny"];

impl Variant {
    /// The sizes of a name, and whether it is of the second version.
    fn parse(name: &str) -> Option<(Self, bool)> {
        let of = |name| VARIANTS.iter().find(|v| v.name == name).copied();
        if let Some(rest) = name.strip_prefix("convnext_") {
            return Some((of(rest)?, false));
        }
        match name.strip_prefix("convnextv2_")? {
            "huge" => Some((HUGE, true)),
            rest => VERSION_2
                .contains(&rest)
                .then(|| of(rest))?
                .map(|v| (v, true)),
        }
    }

    fn depths(&self) -> Vec<usize> {
        let [others, third] = self.blocks;
        // The largest has one more block in its second stage.
        let second = others + usize::from(self.name == "xxlarge");
        vec![others, second, third, others]
    }

    fn dims(&self) -> Vec<usize> {
        (0..STAGES).map(|i| self.channels << i).collect()
    }
}

/// All names.
pub(super) fn names() -> Vec<String> {
    let first = VARIANTS.iter().map(|v| format!("convnext_{}", v.name));
    let second = VERSION_2.iter().chain(&["huge"]);
    let second = second.map(|name| format!("convnextv2_{name}"));
    first.chain(second).collect()
}

/// Those of InceptionNeXt.
pub(super) fn inception_names() -> Vec<String> {
    let name = |size: &&str| format!("inception_next_{size}");
    INCEPTION.iter().map(name).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let known = [COMMON, OTHERS].concat();
    let keys: Keys = asked.node.read_knowing(&known)?;
    finish(asked, keys.plan(asked)?)
}

/// Builds the model of a plan.
fn finish(asked: &Asked, plan: Plan) -> Result<Box<dyn Backbone>, Diagnostics> {
    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Conv2d", "Linear"], INITIAL));
    let model = ConvNext::new(plan, params);
    params.built();
    Ok(Box::new(model))
}

/// Strides and dilations of a stage: past `output_stride` its step is taken by the dilation of what follows.
struct Steps {
    stride: usize,
    total: usize,
    first_dilation: usize,
    dilation: usize,
}

/// Those of all stages, after a stem of a stride.
fn steps(stem: usize, output_stride: usize) -> Vec<Steps> {
    let (mut total, mut dilation) = (stem, 1);
    let of = |i: usize| {
        let mut stride = if total == 2 || i > 0 { 2 } else { 1 };
        if total >= output_stride && stride > 1 {
            dilation *= stride;
            stride = 1;
        }
        total *= stride;
        Steps {
            stride,
            total,
            first_dilation: if dilation <= 2 { 1 } else { 2 },
            dilation,
        }
    };
    (0..STAGES).map(of).collect()
}

/// `output_stride`, which must be 8, 16 or 32.
fn output_stride(asked: &Asked) -> Result<usize, Diagnostics> {
    match asked.output_stride {
        stride @ (8 | 16 | 32) => Ok(stride),
        other => {
            let message = format!("`output_stride` is {other}, must be 8, 16 or 32");
            Err(error_at(asked.node, "output_stride", message, ""))
        }
    }
}

/// The stages that are built, those that give a map, and how the tensors are named.
fn outputs(
    asked: &Asked,
    stages: &mut Vec<StagePlan>,
) -> Result<(Vec<usize>, Naming), Diagnostics> {
    if !asked.features_only {
        return Ok((vec![STAGES - 1], Naming::Timm { flat: false }));
    }
    let level = |stage: &StagePlan| Feature {
        channels: stage.channels,
        stride: stage.stride,
    };
    let levels: Vec<_> = stages.iter().map(level).collect();
    let wanted = asked.wanted(&levels)?;
    stages.truncate(wanted.last().map_or(0, |last| last + 1));
    Ok((wanted, Naming::Timm { flat: true }))
}

impl Keys {
    fn plan(&self, asked: &Asked) -> Result<Plan, Diagnostics> {
        let node = asked.node;
        let (variant, second) = Variant::parse(&asked.name).expect("the family knows its names");
        let depths = self.depths.as_ref();
        let depths = depths.map_or_else(|| variant.depths(), Short::numbers);
        let dims = self.dims.as_ref();
        let dims = dims.map_or_else(|| variant.dims(), Short::numbers);
        for (key, list) in [("depths", &depths), ("dims", &dims)] {
            crate::backbones::options::one_each(node, key, list, STAGES)?;
        }
        let act = self.act_layer.as_deref().unwrap_or("gelu");
        let Some(act) = activation(act) else {
            let message = format!("timm has no activation '{act}'");
            return Err(error_at(node, "act_layer", message, ""));
        };
        let (stem, stem_stride) = self.stem(node, variant.stem, asked.channels_in, dims[0])?;
        let kernels = kernels(node)?;
        let steps = steps(stem_stride, output_stride(asked)?);
        let stage = |(i, steps): (usize, &Steps)| {
            let into = dims[i.saturating_sub(1)];
            StagePlan {
                channels: dims[i],
                depth: depths[i],
                stride: steps.total,
                downsample: downsample(into, dims[i], steps),
                mixer: Mixing::Depthwise { kernel: kernels[i] },
                dilation: steps.dilation,
                expansion: 4,
            }
        };
        let mut stages = steps.iter().enumerate().map(stage).collect();
        let (out_stages, naming) = outputs(asked, &mut stages)?;
        let hnf = self.head_norm_first.unwrap_or(variant.name == "tiny_hnf");
        let hidden = (variant.name == "large_mlp").then_some(8 * variant.channels);
        let hidden = self.head_hidden_size.map(Channels::get).or(hidden);
        if hnf && hidden.is_some() {
            let message = "`head_hidden_size` and `head_norm_first` exclude each other";
            return Err(error_at(node, "head_hidden_size", message, ""));
        }
        let eps = if variant.name == "xxlarge" {
            1e-5
        } else {
            1e-6
        };
        Ok(Plan {
            naming,
            channels_in: asked.channels_in,
            stem,
            stages,
            out_stages,
            end: match asked.features_only {
                true => Ending::Nothing,
                false if hnf => Ending::Head("norm_pre", None),
                false => Ending::Head("head.norm", hidden),
            },
            make: Make {
                norm: NormConfig::layer(self.norm_eps.unwrap_or(eps)),
                act: Some(act),
                linear: !self.conv_mlp.unwrap_or(variant.convolutions),
                bias: self.conv_bias.unwrap_or(true),
                response_norm: self.use_grn.unwrap_or(second),
                scale: self.ls_init_value.or((!second).then_some(1e-6)),
            },
            drop_path_rate: asked.drop_path_rate,
        })
    }

    /// The stem's convolutions and their stride.
    fn stem(
        &self,
        node: &Node,
        default: Stem,
        channels_in: usize,
        channels: usize,
    ) -> Result<(Vec<ConvConfig>, usize), Diagnostics> {
        let stem = match self.stem_type.as_deref() {
            None => default,
            Some("patch") => Stem::Patch,
            Some("overlap") => Stem::Overlap,
            Some("overlap_tiered") => Stem::Tiered,
            Some(other) => {
                let message = format!("`stem_type` is '{other}'");
                let known = "known are 'patch', 'overlap', 'overlap_tiered'";
                return Err(error_at(node, "stem_type", message, known));
            }
        };
        let patch = self.patch_size.map_or(4, Pixels::get);
        let mid = match stem {
            Stem::Patch => {
                let conv = ConvConfig::new(channels_in, channels, patch).stride(patch);
                return Ok((vec![conv], patch));
            }
            Stem::Overlap => channels,
            Stem::Tiered => make_divisible((channels / 2) as f64, 8),
        };
        let three = |from, to| ConvConfig::new(from, to, 3).stride(2).pad(1);
        Ok((vec![three(channels_in, mid), three(mid, channels)], 4))
    }
}

/// `kernel_sizes`, a number or one for each stage.
fn kernels(node: &Node) -> Result<Vec<usize>, Diagnostics> {
    let key = "kernel_sizes";
    let kernels = match node.get(key) {
        None => vec![7; STAGES],
        Some(one) if one.as_int().is_some() => vec![one.read::<Pixels>()?.get(); STAGES],
        Some(many) => many.read::<Short<Pixels, STAGES>>()?.numbers(),
    };
    crate::backbones::options::one_each(node, key, &kernels, STAGES)?;
    if let Some(even) = kernels.iter().find(|kernel| *kernel % 2 == 0) {
        let message = format!("a kernel of {even} px does not keep the size of maps");
        return Err(error_at(node, key, message, "odd numbers are possible"));
    }
    Ok(kernels)
}

/// What is before a stage's blocks, after a norm.
fn downsample(into: usize, out: usize, steps: &Steps) -> Option<ConvConfig> {
    let halves = steps.stride > 1 || steps.first_dilation != steps.dilation;
    if into == out && !halves {
        return None;
    }
    let conv = ConvConfig::new(into, out, if halves { 2 } else { 1 })
        .stride(steps.stride)
        .dilation(steps.first_dilation);
    Some(match steps.dilation {
        1 => conv,
        _ => conv.padding(Padding::Same),
    })
}

/// The keys of timm's InceptionNeXt.
#[derive(Debug, Deserialize)]
struct InceptionKeys {
    ls_init_value: Option<f64>,
}

pub(super) fn build_inception(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let node = asked.node;
    let keys: InceptionKeys = node.read_knowing(COMMON)?;
    let size = asked.name.trim_start_matches("inception_next_");
    let found = VARIANTS.iter().find(|variant| variant.name == size);
    let variant = found.expect("the family knows its names");
    let (depths, dims) = (variant.depths(), variant.dims());
    if output_stride(asked)? != 32 {
        let message = "InceptionNeXt with dilations, whose maps lose their last rows, is not built";
        let help = "leave `output_stride` out";
        return Err(unsupported(node, "output_stride", message, help));
    }
    let stage = |(i, steps): (usize, &Steps)| StagePlan {
        channels: dims[i],
        depth: depths[i],
        stride: steps.total,
        downsample: downsample(dims[i.saturating_sub(1)], dims[i], steps),
        mixer: Mixing::Inception,
        dilation: 1,
        expansion: if i == STAGES - 1 { 3 } else { 4 },
    };
    let mut stages = steps(4, 32).iter().enumerate().map(stage).collect();
    let (out_stages, naming) = outputs(asked, &mut stages)?;
    let plan = Plan {
        naming,
        channels_in: asked.channels_in,
        stem: vec![ConvConfig::new(asked.channels_in, dims[0], 4).stride(4)],
        stages,
        out_stages,
        end: Ending::Nothing,
        make: Make {
            norm: NormConfig::batch(1e-5),
            act: Some(Activation::Gelu),
            linear: false,
            bias: true,
            response_norm: false,
            scale: Some(keys.ls_init_value.unwrap_or(1e-6)).filter(|value| *value != 0.0),
        },
        drop_path_rate: asked.drop_path_rate,
    };
    finish(asked, plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_become_dilations() {
        let of = |output_stride| -> Vec<_> {
            let steps = steps(4, output_stride);
            let figures = |s: &Steps| (s.stride, s.first_dilation, s.dilation);
            steps.iter().map(figures).collect()
        };
        assert_eq!(of(32), [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]);
        assert_eq!(of(8), [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]);
    }

    #[test]
    fn names_and_sizes() {
        assert!(names().iter().all(|name| Variant::parse(name).is_some()));
        let (xxlarge, second) = Variant::parse("convnext_xxlarge").unwrap();
        assert_eq!((xxlarge.depths(), second), (vec![3, 4, 30, 3], false));
        assert_eq!(Variant::parse("convnextv2_huge").unwrap().0.dims()[3], 2816);
        for unknown in ["convnext_huge", "convnextv2_xlarge", "convnextv2_atto_ols"] {
            assert!(Variant::parse(unknown).is_none(), "{unknown}");
        }
    }
}
