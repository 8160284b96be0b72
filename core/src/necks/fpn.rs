//! Feature pyramid network (Lin et al. 2017, arXiv 1612.03144) as MMDetection 3.3.0 builds it, with RetinaNet's extra levels
//! (Lin et al. 2017, arXiv 1708.02002).
//!
//! Shapes: inputs `[N, in_channels[i], H_i, W_i]`, outputs `[N, out_channels, H_j, W_j]`; each extra level halves the last one.

use burn::tensor::module::{interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};
use burn::tensor::{Int, Tensor, TensorData};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Neck;
use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostic, Diagnostics, Node, error_at};
use crate::layers::{
    ActConfig, Activation, ConvConfig, ConvLayerConfig, ConvNormAct, ConvStyle, Init, NormConfig,
};

/// The keys of `type='FPN'`.
#[derive(Debug, Deserialize)]
struct FpnConfig {
    /// Absent: as the backbone's outputs.
    in_channels: Option<Vec<usize>>,
    out_channels: usize,
    num_outs: usize,
    start_level: Option<usize>,
    end_level: Option<i64>,
    add_extra_convs: Option<ExtraConvs>,
    relu_before_extra_convs: Option<bool>,
    no_norm_on_lateral: Option<bool>,
    // Read by `ConvStyle`.
    #[serde(rename = "conv_cfg")]
    _conv_cfg: Option<ConvLayerConfig>,
    #[serde(rename = "norm_cfg")]
    _norm_cfg: Option<NormConfig>,
    #[serde(rename = "act_cfg")]
    _act_cfg: Option<ActConfig>,
    upsample_cfg: Option<UpsampleConfig>,
    #[serde(rename = "init_cfg")]
    _init_cfg: Option<IgnoredAny>,
}

/// `add_extra_convs`: a truth value or one of three words.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ExtraConvs {
    Bool(bool),
    Source(String),
}

/// `upsample_cfg`, passed to `torch.nn.functional.interpolate`.
#[derive(Debug, Deserialize)]
struct UpsampleConfig {
    mode: Option<String>,
    scale_factor: Option<ScaleFactor>,
    align_corners: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ScaleFactor {
    One(f32),
    Two([f32; 2]),
}

/// What the levels after the backbone's are made from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Extra {
    /// Every second pixel of the last output.
    MaxPool,
    OnInput,
    OnLateral,
    OnOutput,
}

#[derive(Clone, Debug)]
struct Upsample {
    mode: InterpolateMode,
    scale_factor: Option<[f32; 2]>,
    align_corners: bool,
}

pub(super) fn build(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(Fpn::read(node, inputs, build)?))
}

/// Feature pyramid network.
#[derive(Debug)]
pub struct Fpn {
    lateral_convs: Vec<ConvNormAct>,
    fpn_convs: Vec<ConvNormAct>,
    start_level: usize,
    num_outs: usize,
    extra: Extra,
    relu_before_extra: bool,
    upsample: Upsample,
    features: Vec<Feature>,
}

impl Fpn {
    fn read(node: &Node, inputs: Features, build: &Build) -> Result<Self, Diagnostics> {
        let config: FpnConfig = node.read()?;
        let given: Vec<usize> = inputs.list.iter().map(|f| f.channels).collect();
        if let Some(wanted) = &config.in_channels
            && *wanted != given
        {
            return Err(vec![disagreement(node, wanted, &given, inputs)]);
        }
        let fail = |key, message: String, help: &str| Err(error_at(node, key, message, help));
        let count = given.len();
        let start = config.start_level.unwrap_or(0);
        if start >= count {
            let message =
                format!("`start_level` is {start}, but the backbone gives {count} levels, from 0");
            return fail("start_level", message, "");
        }
        let end_level = config.end_level.unwrap_or(-1);
        let all = end_level == -1 || end_level == count as i64 - 1;
        let end = if all {
            count
        } else {
            (end_level + 1).max(0) as usize
        };
        if !all && (end_level < start as i64 || end > count) {
            let message = format!(
                "`end_level` is {end_level}, must be -1 or from `start_level` to {}",
                count - 1
            );
            return fail("end_level", message, "");
        }
        let used = end - start;
        let fits = if all {
            config.num_outs >= used
        } else {
            config.num_outs == used
        };
        if !fits {
            let message = format!(
                "`num_outs` is {}, but {used} backbone levels are used",
                config.num_outs
            );
            let help = if all {
                "it cannot be less"
            } else {
                "with an `end_level` before the last it must be equal"
            };
            return fail("num_outs", message, help);
        }
        let extra = match &config.add_extra_convs {
            None | Some(ExtraConvs::Bool(false)) => Extra::MaxPool,
            Some(ExtraConvs::Bool(true)) => Extra::OnInput,
            Some(ExtraConvs::Source(word)) => match word.as_str() {
                "on_input" => Extra::OnInput,
                "on_lateral" => Extra::OnLateral,
                "on_output" => Extra::OnOutput,
                other => {
                    let help = "write True, False, 'on_input', 'on_lateral' or 'on_output'";
                    return fail(
                        "add_extra_convs",
                        format!("`add_extra_convs` is '{other}'"),
                        help,
                    );
                }
            },
        };
        let style = ConvStyle::read(node, ConvStyle::default(), &[config.out_channels])?;
        let upsample = Upsample::read(node, config.upsample_cfg.as_ref())?;

        let out = config.out_channels;
        let make = |style: &ConvStyle, conv: ConvConfig, list: &str, i: usize| {
            let conv = conv.initial(Init::XavierUniform, 0.0);
            style.module(conv, &build.params.at(list).at(i))
        };
        let lateral_style = if config.no_norm_on_lateral.unwrap_or(false) {
            style.bare()
        } else {
            style.clone()
        };
        let laterals = given[start..end].iter().enumerate();
        let lateral_convs = laterals
            .map(|(i, c)| {
                let conv = ConvConfig::new(*c, out, 1);
                make(&lateral_style, conv, "lateral_convs", i)
            })
            .collect();
        let mut fpn_convs: Vec<_> = (0..used)
            .map(|i| {
                let conv = ConvConfig::new(out, out, 3).pad(1);
                make(&style, conv, "fpn_convs", i)
            })
            .collect();
        if extra != Extra::MaxPool {
            for i in used..config.num_outs {
                let from = if i == used && extra == Extra::OnInput {
                    given[end - 1]
                } else {
                    out
                };
                let conv = ConvConfig::new(from, out, 3).stride(2).pad(1);
                fpn_convs.push(make(&style, conv, "fpn_convs", i));
            }
        }
        let mut strides: Vec<_> = inputs.list[start..end].iter().map(|f| f.stride).collect();
        while strides.len() < config.num_outs {
            strides.push(strides[strides.len() - 1] * 2);
        }
        let channels = out;
        let features = strides
            .into_iter()
            .map(|stride| Feature { channels, stride });
        Ok(Self {
            lateral_convs,
            fpn_convs,
            start_level: start,
            num_outs: config.num_outs,
            extra,
            relu_before_extra: config.relu_before_extra_convs.unwrap_or(false),
            upsample,
            features: features.collect(),
        })
    }
}

/// `in_channels` and the backbone do not agree: points at both, and gives the right list.
fn disagreement(node: &Node, wanted: &[usize], given: &[usize], inputs: Features) -> Diagnostic {
    let message = if wanted.len() == given.len() {
        format!(
            "`FPN` has `in_channels` {wanted:?} but backbone `{}` gives {given:?}",
            inputs.of
        )
    } else {
        format!(
            "`FPN` has {} `in_channels` but backbone `{}` gives {} levels",
            wanted.len(),
            inputs.of,
            given.len()
        )
    };
    let at = node.get("in_channels").unwrap_or(node);
    Diagnostic::error(message)
        .at(&at.origin, format!("{} entries", wanted.len()))
        .at(inputs.origin, format!("gives {given:?}"))
        .help(format!("write in_channels={given:?}, or leave `in_channels` out to have it taken from the backbone"))
}

impl Upsample {
    fn read(node: &Node, config: Option<&UpsampleConfig>) -> Result<Self, Diagnostics> {
        let mode = match config.and_then(|c| c.mode.as_deref()).unwrap_or("nearest") {
            "nearest" => InterpolateMode::Nearest,
            "nearest-exact" => InterpolateMode::NearestExact,
            "bilinear" => InterpolateMode::Bilinear,
            "bicubic" => InterpolateMode::Bicubic,
            other => {
                let message = format!("`upsample_cfg` has the unknown mode '{other}'");
                let help = "known are 'nearest', 'nearest-exact', 'bilinear', 'bicubic'";
                return Err(error_at(node, "upsample_cfg", message, help));
            }
        };
        let scale_factor = config
            .and_then(|c| c.scale_factor.as_ref())
            .map(|s| match s {
                ScaleFactor::One(s) => [*s; 2],
                ScaleFactor::Two(s) => *s,
            });
        Ok(Self {
            mode,
            scale_factor,
            align_corners: config.and_then(|c| c.align_corners).unwrap_or(false),
        })
    }

    /// `x` at the size of a map `[_, _, h, w]`, unless the config fixes the factor.
    fn forward(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        if matches!(self.mode, InterpolateMode::NearestExact) {
            return self.nearest_exact(x, size);
        }
        let options =
            InterpolateOptions::new(self.mode.clone()).with_align_corners(self.align_corners);
        let options = match self.scale_factor {
            Some(factor) => options.with_scale_factor(factor),
            None => options.with_output_size(size),
        };
        interpolate(x, options)
    }

    /// The pixel whose centre is nearest, which burn does not have on every device.
    fn nearest_exact(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let device = x.device();
        let indices = |from: usize, size: usize, factor: Option<f32>| {
            let to = factor.map_or(size, |f| (from as f32 * f) as usize);
            let step = factor.map_or(from as f32 / to as f32, |f| 1.0 / f);
            let at = |i| (((i as f32 + 0.5) * step) as usize).min(from - 1) as i32;
            let indices: Vec<i32> = (0..to).map(at).collect();
            Tensor::<1, Int>::from_data(TensorData::new(indices, [to]), &device)
        };
        let rows = indices(h, size[0], self.scale_factor.map(|f| f[0]));
        let columns = indices(w, size[1], self.scale_factor.map(|f| f[1]));
        x.select(2, rows).select(3, columns)
    }
}

impl Neck for Fpn {
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let used = self.lateral_convs.len();
        let mut laterals: Vec<_> = self
            .lateral_convs
            .iter()
            .zip(&inputs[self.start_level..])
            .map(|(conv, x)| conv.forward(x.clone()))
            .collect();
        for i in (1..used).rev() {
            let [_, _, h, w] = laterals[i - 1].dims();
            let from_above = self.upsample.forward(laterals[i].clone(), [h, w]);
            laterals[i - 1] = laterals[i - 1].clone() + from_above;
        }
        let last_lateral = laterals[used - 1].clone();
        let levels = laterals.into_iter().zip(&self.fpn_convs);
        let mut outputs: Vec<_> = levels.map(|(x, conv)| conv.forward(x)).collect();
        for i in used..self.num_outs {
            let last = outputs[i - 1].clone();
            let source = match self.extra {
                Extra::MaxPool => {
                    let every_second = MaxPoolOptions::new([1, 1]).with_stride([2, 2]);
                    outputs.push(max_pool2d(last, every_second));
                    continue;
                }
                _ if i > used && self.relu_before_extra => Activation::Relu.forward(last),
                _ if i > used => last,
                Extra::OnInput => inputs[self.start_level + used - 1].clone(),
                Extra::OnLateral => last_lateral.clone(),
                Extra::OnOutput => last,
            };
            outputs.push(self.fpn_convs[i].forward(source));
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }
}
