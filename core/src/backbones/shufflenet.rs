//! ShuffleNetV1 (Zhang et al. 2018, arXiv 1707.01083) and V2 (Ma et al. 2018, arXiv 1807.11164), as MMPretrain 1.2.0 builds them: `conv1` and
//! a max pooling, then `layers.0` to `.2`, stages of units; in the second version `layers.3`, a 1x1 convolution. `out_indices` counts
//! `layers`.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;

use super::Backbone;
use super::staged::{Counted, Layer, Staged};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NormConfig, Params,
    make_divisible,
};
use crate::limits::{Index, List};
use crate::ops::pool::max_pool2d;

/// The keys of `type='mmpretrain.ShuffleNetV1'`; V2 has no `groups`.
#[derive(Debug, Deserialize)]
struct ShuffleNetConfig {
    groups: Option<u64>,
    widen_factor: Option<f64>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
}

/// Keys that others read, or that are of memory only.
const OTHERS: &[&str] = &["conv_cfg", "norm_cfg", "act_cfg", "with_cp", "init_cfg"];

/// Blocks of each stage.
const BLOCKS: [usize; 3] = [4, 8, 4];
const STEM_CHANNELS: usize = 24;
/// Groups of V1's 1x1 convolutions, channels of each stage.
const GROUPS: [(usize, [usize; 3]); 5] = [
    (1, [144, 288, 576]),
    (2, [200, 400, 800]),
    (3, [240, 480, 960]),
    (4, [272, 544, 1088]),
    (8, [384, 768, 1536]),
];
/// Largest `widen_factor` of V1.
const WIDEST: f64 = 32.0;
/// V2's `widen_factor`, channels of each stage and of the last convolution.
const WIDTHS: [(f64, [usize; 3], usize); 4] = [
    (0.5, [48, 96, 192], 1024),
    (1.0, [116, 232, 464], 1024),
    (1.5, [176, 352, 704], 1024),
    (2.0, [244, 488, 976], 2048),
];

pub(super) fn build_v1(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: ShuffleNetConfig = node.read_knowing(OTHERS)?;
    let counted = Counted {
        node,
        of: "ShuffleNetV1",
        last: 2,
    };
    let out_indices = counted.out_indices(config.out_indices.as_ref(), &[2])?;
    let frozen_stages = counted.frozen_stages(config.frozen_stages, [-1, 2])?;
    let groups = config.groups.unwrap_or(3);
    let Some(&(groups, bases)) = GROUPS.iter().find(|row| row.0 as u64 == groups) else {
        let message = format!("`groups` is {groups}, must be 1, 2, 3, 4 or 8");
        return Err(error_at(node, "groups", message, ""));
    };
    let factor = config.widen_factor.unwrap_or(1.0);
    if !(factor > 0.0 && factor <= WIDEST) {
        let message =
            format!("`widen_factor` is {factor}, must be more than 0 and at most {WIDEST}");
        return Err(error_at(node, "widen_factor", message, ""));
    }
    let channels = bases.map(|base| make_divisible(base as f64 * factor, 8));
    let stem_channels = (STEM_CHANNELS as f64 * factor) as usize;
    let units = units(stem_channels, channels, groups);
    if stem_channels == 0 || !units.iter().flatten().all(Unit::divides) {
        let message =
            format!("`widen_factor` {factor} leaves channels that {groups} groups cannot share");
        return Err(error_at(node, "widen_factor", message, ""));
    }
    let mut widths = vec![stem_channels];
    widths.extend(units.iter().flatten().flat_map(|u| [u.mid(), u.widened()]));
    let style = style(node, &widths)?;

    let make = Make::new(node, build, &style);
    if make.initialises {
        build.params.initialise(InitRule {
            bias: Some(1e-4),
            ..InitRule::of(&["_BatchNorm", "GroupNorm"], Init::Constant(1.0))
        });
    }
    let mut staged = Staged::new(3, out_indices);
    let mut before = make.stem(stem_channels);
    for (i, stage) in units.iter().enumerate() {
        let at = build.params.at("layers").at(i);
        let mut layers = std::mem::take(&mut before);
        let stage = stage.iter().enumerate();
        layers.extend(stage.map(|(j, unit)| -> Box<dyn Layer> {
            Box::new(AddingUnit::new(unit, &make, &at.at(j)))
        }));
        staged.push(layers, channels[i], if i == 0 { 8 } else { 2 });
    }
    freeze(&build.params, frozen_stages);
    if config.norm_eval.unwrap_or(false) {
        build.params.evaluate();
    }
    Ok(Box::new(staged))
}

pub(super) fn build_v2(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: ShuffleNetConfig = node.read_knowing(OTHERS)?;
    if config.groups.is_some() {
        let message = "the key `groups` is not known to ShuffleNetV2".to_string();
        return Err(error_at(node, "groups", message, "`ShuffleNetV1` has it"));
    }
    let counted = Counted {
        node,
        of: "ShuffleNetV2",
        last: 3,
    };
    let out_indices = counted.out_indices(config.out_indices.as_ref(), &[3])?;
    let frozen_stages = counted.frozen_stages(config.frozen_stages, [-1, 3])?;
    let factor = config.widen_factor.unwrap_or(1.0);
    let Some(&(_, channels, end_channels)) = WIDTHS.iter().find(|row| row.0 == factor) else {
        let message = format!("`widen_factor` is {factor}, must be 0.5, 1.0, 1.5 or 2.0");
        return Err(error_at(node, "widen_factor", message, ""));
    };
    let mut widths = vec![STEM_CHANNELS, end_channels];
    // The last stage's channels are never filtered together.
    widths.extend(&channels[..2]);
    widths.extend(channels.map(|channels| channels / 2));
    let style = style(node, &widths)?;

    let make = Make::new(node, build, &style);
    let mut staged = Staged::new(3, out_indices);
    let mut before = make.stem(STEM_CHANNELS);
    let mut from = STEM_CHANNELS;
    let layers_at = build.params.at("layers");
    for (i, to) in channels.into_iter().enumerate() {
        let at = layers_at.at(i);
        let mut layers = std::mem::take(&mut before);
        for j in 0..BLOCKS[i] {
            let stride = if j == 0 { 2 } else { 1 };
            layers.push(Box::new(SplittingUnit::new(
                [from, to],
                stride,
                &make,
                &at.at(j),
            )));
            from = to;
        }
        staged.push(layers, to, if i == 0 { 8 } else { 2 });
    }
    let end = ConvConfig::new(from, end_channels, 1);
    let end = make.module(end, true, from, &layers_at.at(3));
    staged.push(vec![Box::new(end)], end_channels, 1);
    freeze(&build.params, frozen_stages);
    // The original looks for `BatchNorm2d` alone.
    let synced = |norm: &NormConfig| norm.kind.ends_with("SyncBN");
    if config.norm_eval.unwrap_or(false) && !style.norm.as_ref().is_some_and(synced) {
        build.params.evaluate();
    }
    Ok(Box::new(staged))
}

fn style(node: &Node, channels: &[usize]) -> Result<ConvStyle, Diagnostics> {
    let defaults = ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(Activation::Relu),
        ..ConvStyle::default()
    };
    let style = ConvStyle::read(node, defaults, channels)?;
    if style.act.is_none() {
        let message = "ShuffleNet needs an `act_cfg`".to_string();
        return Err(error_at(node, "act_cfg", message, ""));
    }
    Ok(style)
}

/// From 0 on the first convolution, whose norm goes on to learn its statistics; from 1 on the stages before that number.
fn freeze(params: &Params, frozen_stages: i64) {
    if frozen_stages >= 0 {
        params.at("conv1").require_grad(false);
    }
    for i in 0..frozen_stages {
        params.at("layers").at(i).freeze();
    }
}

/// How convolutions are made.
struct Make<'a> {
    style: &'a ConvStyle,
    params: &'a Params,
    /// Whether they get the values of the original's `init_weights`, whatever its `init_cfg` says, but for a checkpoint.
    initialises: bool,
}

impl<'a> Make<'a> {
    fn new(node: &Node, build: &'a Build, style: &'a ConvStyle) -> Self {
        let init = node.get("init_cfg").and_then(|init| init.get("type"));
        let pretrained = init.and_then(Node::as_str) == Some("Pretrained");
        Self {
            style,
            params: &build.params,
            initialises: !pretrained,
        }
    }

    /// A convolution of filters that see `inputs` channels.
    fn module(&self, conv: ConvConfig, act: bool, inputs: usize, at: &Params) -> ConvNormAct {
        let rule = InitRule::of(&["Conv2d"], Init::normal(1.0 / inputs as f64));
        if self.initialises {
            at.initialise(rule);
        }
        let act = self.style.act.filter(|_| act);
        self.style.act(act).module(conv, at)
    }

    /// The first convolution and the pooling.
    fn stem(&self, channels: usize) -> Vec<Box<dyn Layer>> {
        let at = self.params.at("conv1");
        if self.initialises {
            at.initialise(InitRule::of(&["Conv2d"], Init::normal(0.01)));
        }
        let conv = ConvConfig::new(3, channels, 3).stride(2).pad(1);
        let conv = self.style.module(conv, &at);
        vec![Box::new(conv), Box::new(MaxPool)]
    }
}

/// The largest of 3 x 3 numbers, at half the size.
#[derive(Debug)]
struct MaxPool;

impl Layer for MaxPool {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        max_pool2d(x, 3, 2, 1)
    }

    fn learning(&self) -> bool {
        false
    }
}

/// Takes the channels of `groups` in turns.
fn shuffle(x: Tensor<4>, groups: usize) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let x = x.reshape([n, groups, c / groups, h * w]);
    x.swap_dims(1, 2).reshape([n, c, h, w])
}

/// A unit of the first version in numbers.
struct Unit {
    channels_in: usize,
    channels_out: usize,
    /// Of the first convolution.
    first_groups: usize,
    groups: usize,
    /// Whether it halves the size and has its input beside what it adds, else on top of it.
    halves: bool,
}

impl Unit {
    /// Channels inside.
    fn mid(&self) -> usize {
        self.channels_out / 4
    }

    /// Channels that the last convolution gives.
    fn widened(&self) -> usize {
        match self.halves {
            true => self.channels_out.saturating_sub(self.channels_in),
            false => self.channels_out,
        }
    }

    /// Whether there are channels for every group.
    fn divides(&self) -> bool {
        let shared =
            |channels: usize, groups: usize| channels > 0 && channels.is_multiple_of(groups);
        shared(self.channels_in, self.first_groups)
            && shared(self.mid(), self.groups)
            && shared(self.widened(), self.groups)
    }
}

/// The units of each stage.
fn units(stem_channels: usize, channels: [usize; 3], groups: usize) -> Vec<Vec<Unit>> {
    let mut channels_in = stem_channels;
    let mut unit = |i: usize, j: usize| {
        let unit = Unit {
            channels_in,
            channels_out: channels[i],
            first_groups: if i + j == 0 { 1 } else { groups },
            groups,
            halves: j == 0,
        };
        channels_in = channels[i];
        unit
    };
    let mut stages = Vec::new();
    for (i, blocks) in BLOCKS.into_iter().enumerate() {
        stages.push((0..blocks).map(|j| unit(i, j)).collect());
    }
    stages
}

/// Narrow (1x1, in groups), shuffle, filter each channel, widen (1x1, in groups), add.
#[derive(Debug)]
struct AddingUnit {
    compress: ConvNormAct,
    depthwise: ConvNormAct,
    expand: ConvNormAct,
    groups: usize,
    halves: bool,
}

impl AddingUnit {
    fn new(unit: &Unit, make: &Make, at: &Params) -> Self {
        let &Unit {
            channels_in,
            first_groups,
            groups,
            halves,
            ..
        } = unit;
        let (mid, widened) = (unit.mid(), unit.widened());
        let compress = ConvConfig::new(channels_in, mid, 1).groups(first_groups);
        let place = at.at("g_conv_1x1_compress");
        let compress = make.module(compress, true, channels_in / first_groups, &place);
        let depthwise = ConvConfig::new(mid, mid, 3)
            .stride(if halves { 2 } else { 1 })
            .pad(1)
            .groups(mid);
        let depthwise = make.module(depthwise, false, 1, &at.at("depthwise_conv3x3_bn"));
        let expand = ConvConfig::new(mid, widened, 1).groups(groups);
        let expand = make.module(expand, true, mid / groups, &at.at("g_conv_1x1_expand"));
        Self {
            compress,
            depthwise,
            expand,
            groups,
            halves,
        }
    }
}

impl Layer for AddingUnit {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.depthwise.forward(self.compress.forward(x.clone()));
        let y = shuffle(y, self.groups);
        if !self.halves {
            return self.expand.forward_onto(y, x);
        }
        let options = AvgPoolOptions::new([3; 2])
            .with_stride([2; 2])
            .with_padding([1; 2]);
        let x = avg_pool2d(x, options);
        Tensor::cat(vec![x, self.expand.forward(y)], 1)
    }

    fn learning(&self) -> bool {
        self.compress.learning()
    }
}

/// Two branches side by side, shuffled; where the size stays, the first is half of the input as it is.
#[derive(Debug)]
struct SplittingUnit {
    first: Option<[ConvNormAct; 2]>,
    second: [ConvNormAct; 3],
}

impl SplittingUnit {
    fn new([from, to]: [usize; 2], stride: usize, make: &Make, at: &Params) -> Self {
        let half = to / 2;
        let seeing = |channels| {
            ConvConfig::new(channels, channels, 3)
                .stride(stride)
                .pad(1)
                .groups(channels)
        };
        let point = |from| ConvConfig::new(from, half, 1);
        let first = (stride > 1).then(|| {
            let at = at.at("branch1");
            [
                make.module(seeing(from), false, 1, &at.at(0)),
                make.module(point(from), true, from, &at.at(1)),
            ]
        });
        let from = if stride > 1 { from } else { half };
        let at = at.at("branch2");
        let second = [
            make.module(point(from), true, from, &at.at(0)),
            make.module(seeing(half), false, 1, &at.at(1)),
            make.module(point(half), true, half, &at.at(2)),
        ];
        Self { first, second }
    }
}

impl Layer for SplittingUnit {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let run = |x, convs: &[ConvNormAct]| convs.iter().fold(x, |x, conv| conv.forward(x));
        let (first, second) = match &self.first {
            Some(convs) => (run(x.clone(), convs), x),
            None => {
                let half = x.dims()[1] / 2;
                (x.clone().narrow(1, 0, half), x.narrow(1, half, half))
            }
        };
        let second = run(second, &self.second);
        shuffle(Tensor::cat(vec![first, second], 1), 2)
    }

    fn learning(&self) -> bool {
        self.second[0].learning()
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("V1', groups=5", "`groups` is 5, must be 1, 2, 3, 4 or 8"),
            ("V1', groups=8, widen_factor=0.1", "8 groups cannot share"),
            ("V1', out_indices=(3,)", "ShuffleNetV1 has layers 0 to 2"),
            ("V1', frozen_stages=3", "must be -1 to 2 for ShuffleNetV1"),
            ("V2', groups=2", "help: `ShuffleNetV1` has it"),
            ("V2', widen_factor=0.75", "must be 0.5, 1.0, 1.5 or 2.0"),
            ("V2', act_cfg=None", "needs an `act_cfg`"),
        ] {
            let text = format!("dict(type='mmpretrain.ShuffleNet{text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
