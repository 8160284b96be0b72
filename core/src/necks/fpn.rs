//! Feature pyramid network (Lin et al. 2017, arXiv 1612.03144) as MMDetection 3.3.0 builds it, with RetinaNet's extra levels
//! (Lin et al. 2017, arXiv 1708.02002); and with a path from fine levels to coarse ones after it (PANet, Liu et al. 2018, arXiv 1803.01534, `PAFPN`).
//!
//! Shapes: inputs `[N, in_channels[i], H_i, W_i]`, outputs `[N, out_channels, H_j, W_j]`; each extra level halves the last one.

use std::ops::Range;

use burn::tensor::Tensor;
use serde::Deserialize;

use super::Neck;
use super::upsample::{Upsample, UpsampleConfig};
use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule};
use crate::limits::{Channels, Index, Levels, List};
use crate::ops::pool::max_pool2d;

/// The keys of `type='FPN'`.
#[derive(Debug, Deserialize)]
struct FpnConfig {
    /// Absent: as the backbone's outputs.
    in_channels: Option<List<Channels>>,
    out_channels: Channels,
    num_outs: Levels,
    start_level: Option<Index>,
    end_level: Option<i64>,
    add_extra_convs: Option<ExtraConvs>,
    relu_before_extra_convs: Option<bool>,
    no_norm_on_lateral: Option<bool>,
    upsample_cfg: Option<UpsampleConfig>,
}

/// `add_extra_convs`: a truth value or one of three words.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ExtraConvs {
    Bool(bool),
    Source(String),
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

pub(super) fn build(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(Fpn::read(node, inputs, build)?))
}

pub(super) fn build_path_aggregation(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    if node.get("upsample_cfg").is_some() {
        let message = "the key `upsample_cfg` is not known to PAFPN";
        return Err(error_at(node, "upsample_cfg", message, "`FPN` has it"));
    }
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::XAVIER_UNIFORM));
    });
    let mut fpn = Fpn::read_inside(node, inputs, build, "PAFPN", &[])?;
    fpn.bottom_up = fpn.path(node, build)?;
    Ok(Box::new(fpn))
}

/// Feature pyramid network.
#[derive(Debug)]
pub struct Fpn {
    lateral_convs: Vec<ConvNormAct>,
    fpn_convs: Vec<ConvNormAct>,
    /// Of PAFPN, for each level but the first: what comes from the one before, and what follows the sum.
    bottom_up: Vec<[ConvNormAct; 2]>,
    start_level: usize,
    num_outs: usize,
    extra: Extra,
    relu_before_extra: bool,
    upsample: Upsample,
    features: Vec<Feature>,
}

impl FpnConfig {
    /// Which of the backbone's `count` levels are used.
    fn levels(&self, node: &Node, count: usize) -> Result<Range<usize>, Diagnostics> {
        let fail = |key, message: String, help: &str| Err(error_at(node, key, message, help));
        let start = self.start_level.map_or(0, Index::get);
        if start >= count {
            let message =
                format!("`start_level` is {start}, but the backbone gives {count} levels, from 0");
            return fail("start_level", message, "");
        }
        let end_level = self.end_level.unwrap_or(-1);
        let all = end_level == -1 || end_level == count as i64 - 1;
        let end = if all {
            count
        } else {
            end_level.saturating_add(1).max(0) as usize
        };
        if !all && (end_level < start as i64 || end > count) {
            let last = count - 1;
            let message =
                format!("`end_level` is {end_level}, must be -1 or from `start_level` to {last}");
            return fail("end_level", message, "");
        }
        let (used, outs) = (end - start, self.num_outs.get());
        let message = format!("`num_outs` is {outs}, but {used} backbone levels are used");
        if all && outs < used {
            return fail("num_outs", message, "it cannot be less");
        }
        if !all && outs != used {
            let help = "with an `end_level` before the last it must be equal";
            return fail("num_outs", message, help);
        }
        Ok(start..end)
    }

    /// Where levels beyond the backbone's come from.
    fn extra(&self, node: &Node) -> Result<Extra, Diagnostics> {
        match &self.add_extra_convs {
            None | Some(ExtraConvs::Bool(false)) => Ok(Extra::MaxPool),
            Some(ExtraConvs::Bool(true)) => Ok(Extra::OnInput),
            Some(ExtraConvs::Source(word)) => match word.as_str() {
                "on_input" => Ok(Extra::OnInput),
                "on_lateral" => Ok(Extra::OnLateral),
                "on_output" => Ok(Extra::OnOutput),
                other => {
                    let message = format!("`add_extra_convs` is '{other}'");
                    let help = "write True, False, 'on_input', 'on_lateral' or 'on_output'";
                    Err(error_at(node, "add_extra_convs", message, help))
                }
            },
        }
    }
}

impl Fpn {
    fn read(node: &Node, inputs: Features, build: &Build) -> Result<Self, Diagnostics> {
        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::XAVIER_UNIFORM));
        });
        Self::read_inside(node, inputs, build, "FPN", &[])
    }

    /// As what the neck `name` is derived from, which reads the keys `others` and says what initial values are.
    pub(super) fn read_inside(
        node: &Node,
        inputs: Features,
        build: &Build,
        name: &str,
        others: &[&str],
    ) -> Result<Self, Diagnostics> {
        let known = ["conv_cfg", "norm_cfg", "act_cfg", "init_cfg"];
        let config: FpnConfig = node.read_knowing(&[&known, others].concat())?;
        let given = inputs.channels(name, node, config.in_channels.as_ref())?;
        let levels = config.levels(node, given.len())?;
        let extra = config.extra(node)?;
        let style = ConvStyle::read(node, ConvStyle::default(), &[config.out_channels.get()])?;
        let upsample = Upsample::read(node, config.upsample_cfg.as_ref())?;

        let used = levels.len();
        let mut strides: Vec<_> = inputs.list[levels.clone()]
            .iter()
            .map(|f| f.stride)
            .collect();
        upsample.check(node, &strides)?;
        let (out, outs) = (config.out_channels.get(), config.num_outs.get());
        let make = |style: &ConvStyle, conv: ConvConfig, list: &str, i: usize| {
            style.module(conv, &build.params.at(list).at(i))
        };
        let lateral_style = if config.no_norm_on_lateral.unwrap_or(false) {
            style.bare()
        } else {
            style.clone()
        };
        let laterals = given[levels.clone()].iter().enumerate();
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
            for i in used..outs {
                let from = if i == used && extra == Extra::OnInput {
                    given[levels.end - 1]
                } else {
                    out
                };
                let conv = ConvConfig::new(from, out, 3).stride(2).pad(1);
                fpn_convs.push(make(&style, conv, "fpn_convs", i));
            }
        }
        let lists = ["lateral_convs", "fpn_convs"];
        let each = (0..outs.max(used)).flat_map(|i| lists.map(|list| format!("{list}.{i}")));
        build.params.built_in_order(each);
        while strides.len() < outs {
            strides.push(strides[strides.len() - 1] * 2);
        }
        let channels = out;
        let features = strides
            .into_iter()
            .map(|stride| Feature { channels, stride });
        Ok(Self {
            lateral_convs,
            fpn_convs,
            bottom_up: Vec::new(),
            start_level: levels.start,
            num_outs: outs,
            extra,
            relu_before_extra: config.relu_before_extra_convs.unwrap_or(false),
            upsample,
            features: features.collect(),
        })
    }

    /// The convolutions of PAFPN's second path.
    fn path(&self, node: &Node, build: &Build) -> Result<Vec<[ConvNormAct; 2]>, Diagnostics> {
        let out = self.features[0].channels;
        let style = ConvStyle::read(node, ConvStyle::default(), &[out])?;
        let params = &build.params;
        let make = |conv: ConvConfig, list: &str, i: usize| {
            style.module(conv.pad(1), &params.at(list).at(i))
        };
        let three = || ConvConfig::new(out, out, 3);
        let lists = ["downsample_convs", "pafpn_convs"];
        let levels = 0..self.lateral_convs.len() - 1;
        let downsamples = levels.clone().map(|i| make(three().stride(2), lists[0], i));
        let downsamples: Vec<_> = downsamples.collect();
        let after = levels.clone().map(|i| make(three(), lists[1], i));
        let path = downsamples.into_iter().zip(after);
        let path = path.map(|(down, after)| [down, after]).collect();
        let each = levels.flat_map(|i| lists.map(|list| format!("{list}.{i}")));
        params.built_in_order(each);
        Ok(path)
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
        for (i, [down, _]) in self.bottom_up.iter().enumerate() {
            outputs[i + 1] = outputs[i + 1].clone() + down.forward(outputs[i].clone());
        }
        for (i, [_, after]) in self.bottom_up.iter().enumerate() {
            outputs[i + 1] = after.forward(outputs[i + 1].clone());
        }
        for i in used..self.num_outs {
            let last = outputs[i - 1].clone();
            let source = match self.extra {
                Extra::MaxPool => {
                    outputs.push(max_pool2d(last, 1, 2, 0));
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

    /// A fixed factor fits only where each level is exactly that much smaller than the one before.
    fn size_divisor(&self) -> usize {
        let coarsest = self.features[self.lateral_convs.len() - 1].stride;
        match self.upsample.scale_factor() {
            Some(_) => coarsest,
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, StateEntry};
    use crate::necks::made;
    use burn::tensor::Device;

    /// Channels and strides.
    const LEVELS: [(usize, usize); 3] = [(4, 8), (6, 16), (10, 32)];

    fn fpn(keys: &str) -> Result<(Box<dyn Neck>, Vec<StateEntry>), String> {
        let text = format!("dict(type='FPN', out_channels=8, {keys})");
        made(&text, &LEVELS, Mode::Fixed)
    }

    #[test]
    fn maps_have_the_sizes_that_features_say() {
        for (keys, strides) in [
            ("num_outs=3", vec![8, 16, 32]),
            ("num_outs=5", vec![8, 16, 32, 64, 128]),
            (
                "num_outs=4, start_level=1, add_extra_convs=True",
                vec![16, 32, 64, 128],
            ),
            (
                "num_outs=2, end_level=1, add_extra_convs='on_input'",
                vec![8, 16],
            ),
            ("num_outs=1, start_level=1, end_level=1", vec![16]),
            (
                "num_outs=4, end_level=2, add_extra_convs='on_lateral', upsample_cfg=dict(scale_factor=2)",
                vec![8, 16, 32, 64],
            ),
            (
                "num_outs=5, add_extra_convs='on_output', relu_before_extra_convs=True, upsample_cfg=dict(mode='bilinear')",
                vec![8, 16, 32, 64, 128],
            ),
        ] {
            let (neck, _) = fpn(keys).unwrap();
            let maps =
                LEVELS.map(|(c, s)| Tensor::zeros([1, c, 128 / s, 256 / s], &Device::flex()));
            let found: Vec<_> = neck
                .forward(maps.to_vec())
                .iter()
                .map(|m| m.dims())
                .collect();
            let wanted = strides.iter().map(|s| [1, 8, 128 / s, 256 / s]);
            assert_eq!(found, wanted.collect::<Vec<_>>(), "{keys}");
            let said: Vec<_> = neck.features().iter().map(|f| f.stride).collect();
            assert_eq!(said, strides, "{keys}");
        }
    }

    #[test]
    fn norms_and_biases_are_where_the_original_has_them() {
        let keys = |text: &str| -> Vec<String> {
            let (_, state) = fpn(text).unwrap();
            let of_one = |e: &&StateEntry| e.key.contains("_convs.2.");
            state.iter().filter(of_one).map(|e| e.key.clone()).collect()
        };
        assert_eq!(
            keys("num_outs=3"),
            [
                "lateral_convs.2.conv.weight",
                "lateral_convs.2.conv.bias",
                "fpn_convs.2.conv.weight",
                "fpn_convs.2.conv.bias",
            ]
        );
        let group = "num_outs=3, norm_cfg=dict(type='GN', num_groups=2), no_norm_on_lateral=True, act_cfg=dict(type='ReLU')";
        assert_eq!(
            keys(group),
            [
                "lateral_convs.2.conv.weight",
                "lateral_convs.2.conv.bias",
                "fpn_convs.2.conv.weight",
                "fpn_convs.2.gn.weight",
                "fpn_convs.2.gn.bias",
            ]
        );
    }

    /// Pictures of odd sizes fail in the original as well.
    #[test]
    #[should_panic(expected = "pad pictures to a multiple of the coarsest stride")]
    fn a_fixed_factor_needs_padded_pictures() {
        let (neck, _) = fpn("num_outs=3, upsample_cfg=dict(scale_factor=2)").unwrap();
        let maps = [(4, 7), (6, 4), (10, 2)];
        neck.forward(
            maps.map(|(c, h)| Tensor::zeros([1, c, h, 8], &Device::flex()))
                .to_vec(),
        );
    }
}
