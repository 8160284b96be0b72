//! timm's GhostNet (Han et al. 2020, arXiv 1911.11907) and GhostNetV2 (Tang et al. 2022, arXiv 2211.12905), as timm 0.9.16 builds them.
//!
//! With `features_only` the maps are the first convolution's, before its norm, and those after each block that strides (strides 2, 4, 8,
//! 16, 32), and what comes after the last of them is left out; without, the single map is that of the last convolution, which
//! classifiers pool before.
//!
//! Shapes: x `[N, C, H, W]`, maps `[N, C', ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::module::{avg_pool2d, interpolate};
use burn::tensor::ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::efficientnet::make_divisible;
use super::{Asked, COMMON};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, Dropout, Init, LayerKind, Norm, NormConfig, Params,
    SqueezeExcite, Weight,
};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// Name, width, whether it is of the second version.
const MODELS: [(&str, f64, bool); 6] = [
    ("ghostnet_050", 0.5, false),
    ("ghostnet_100", 1.0, false),
    ("ghostnet_130", 1.3, false),
    ("ghostnetv2_100", 1.0, true),
    ("ghostnetv2_130", 1.3, true),
    ("ghostnetv2_160", 1.6, true),
];

/// Kernel, channels inside, channels outside, squeeze-and-excite, stride.
type Row = (usize, usize, usize, bool, usize);

const STAGES: [&[Row]; 9] = [
    &[(3, 16, 16, false, 1)],
    &[(3, 48, 24, false, 2)],
    &[(3, 72, 24, false, 1)],
    &[(5, 72, 40, true, 2)],
    &[(5, 120, 40, true, 1)],
    &[(3, 240, 80, false, 2)],
    &[
        (3, 200, 80, false, 1),
        (3, 184, 80, false, 1),
        (3, 184, 80, false, 1),
        (3, 480, 112, true, 1),
        (3, 672, 112, true, 1),
    ],
    &[(5, 672, 160, true, 2)],
    &[
        (5, 960, 160, false, 1),
        (5, 960, 160, true, 1),
        (5, 960, 160, false, 1),
        (5, 960, 160, true, 1),
    ],
];
const STEM: usize = 16;
const LAST: usize = 960;
const HEAD: usize = 1280;
/// Blocks of the second version that are of the first.
const PLAIN_BLOCKS: usize = 2;
/// Share of numbers that the original drops of its last map, while learning.
const DROP_RATE: f64 = 0.2;
const BATCH_NORM_EPS: f64 = 1e-5;
const HARD_SIGMOID: Activation = Activation::HSigmoid {
    bias: 3.0,
    divisor: 6.0,
    min: 0.0,
    max: 1.0,
};

/// The keys of timm's GhostNet.
#[derive(Debug, Deserialize)]
struct Keys {
    drop_rate: Option<f64>,
}

/// The names of this family.
pub(super) fn names() -> Vec<String> {
    MODELS.iter().map(|model| model.0.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let fail = |key, message: &str| Err(error_at(asked.node, key, message.to_string(), ""));
    if asked.output_stride != 32 {
        return fail("output_stride", "GhostNet has no `output_stride` but 32");
    }
    if asked.node.get("drop_path_rate").is_some() {
        return fail("drop_path_rate", "GhostNet has no `drop_path_rate`");
    }
    let drop_rate = keys.drop_rate.unwrap_or(DROP_RATE);
    if !(0.0..1.0).contains(&drop_rate) {
        return fail("drop_rate", "`drop_rate` must be from 0 to less than 1");
    }
    let known = MODELS.iter().find(|model| model.0 == asked.name);
    let &(_, width, second) = known.expect("the family knows its names");
    let model = Model { width, second };
    let levels = model.levels();
    let features: Vec<_> = levels.iter().map(|level| level.1).collect();
    let wanted = match asked.features_only {
        true => Some(asked.wanted(&features)?),
        false => None,
    };
    Ok(Box::new(GhostNet::new(
        &model, &levels, wanted, drop_rate, asked,
    )))
}

/// What a name means.
struct Model {
    width: f64,
    second: bool,
}

impl Model {
    fn scaled(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width, 4, 0.9)
    }

    /// How many stages there are up to each level, and its shape.
    fn levels(&self) -> Vec<(usize, Feature)> {
        let mut stride = 2;
        let channels = self.scaled(STEM);
        let mut levels = vec![(0, Feature { channels, stride })];
        for (i, rows) in STAGES.iter().enumerate() {
            let last = rows[rows.len() - 1];
            if last.4 > 1 {
                stride *= 2;
                let channels = self.scaled(last.2);
                levels.push((i + 1, Feature { channels, stride }));
            }
        }
        levels
    }
}

/// GhostNet from timm.
#[derive(Debug)]
struct GhostNet {
    stem: ConvNormAct,
    /// What follows it apart, where its own map is asked for; none where nothing else is.
    stem_norm: Option<Norm>,
    stages: Vec<Vec<Bottleneck>>,
    /// The last two convolutions, where they are.
    head: Option<([ConvNormAct; 2], Option<Dropout>)>,
    features: Vec<Feature>,
    /// Numbers of stages after which maps are given.
    out_stages: Vec<usize>,
    channels_in: usize,
}

impl GhostNet {
    fn new(
        model: &Model,
        levels: &[(usize, Feature)],
        wanted: Option<Vec<usize>>,
        drop_rate: f64,
        asked: &Asked,
    ) -> Self {
        let params = &asked.params;
        let picked = |i: &usize| levels[*i];
        let (out_stages, mut features): (Vec<_>, Vec<_>) =
            wanted.iter().flatten().map(picked).unzip();
        let last = match &wanted {
            Some(_) => out_stages.last().copied().unwrap_or(0),
            None => STAGES.len(),
        };
        let mut channels = model.scaled(STEM);
        let stem = ConvConfig::new(asked.channels_in, channels, 3)
            .stride(2)
            .pad(1);
        let norm = NormConfig::batch(BATCH_NORM_EPS);
        let (conv_at, norm_at) = (params.at("conv_stem"), params.at("bn1"));
        let (stem, stem_norm) = if out_stages.contains(&0) {
            let conv = stem.bias(false).init(&conv_at, None);
            (conv, (last > 0).then(|| norm.init(channels, &norm_at)))
        } else {
            let stem = stem.bias(false).act(Some(Activation::Relu));
            (stem.init(&conv_at, Some((&norm, &norm_at))), None)
        };
        let mut stages = Vec::new();
        let mut blocks = 0;
        for (i, rows) in STAGES.iter().enumerate().take(last) {
            let at = stage_at(params, i, wanted.is_some());
            let mut stage = Vec::new();
            for (j, row) in rows.iter().enumerate() {
                let attentive = model.second && blocks >= PLAIN_BLOCKS;
                stage.push(Bottleneck::new(model, row, channels, attentive, &at.at(j)));
                channels = model.scaled(row.2);
                blocks += 1;
            }
            stages.push(stage);
        }
        let head = wanted.is_none().then(|| {
            let wide = model.scaled(LAST);
            let relu = Some(Activation::Relu);
            let at = stage_at(params, STAGES.len(), false).at(0);
            let conv = ConvConfig::new(channels, wide, 1).bias(false).act(relu);
            let conv = conv.init(&at.at("conv"), Some((&norm, &at.at("bn1"))));
            let end = ConvConfig::new(wide, HEAD, 1).bias(true).act(relu);
            let at = params.at("conv_head");
            let end = end.init(&at, None);
            features = vec![Feature {
                channels: HEAD,
                stride: levels[levels.len() - 1].1.stride,
            }];
            ([conv, end], Dropout::new(drop_rate, &at.at("dropout")))
        });
        Self {
            stem,
            stem_norm,
            stages,
            head,
            features,
            out_stages,
            channels_in: asked.channels_in,
        }
    }
}

/// Where a stage is: `features_only` has the stages side by side.
fn stage_at(params: &Params, i: usize, apart: bool) -> Params {
    if !apart {
        return params.at("blocks").at(i);
    }
    let at = params.at(format!("blocks_{i}"));
    at.once_called(&format!("blocks.{i}"));
    at
}

impl Backbone for GhostNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut outputs = Vec::new();
        let mut x = self.stem.forward(x);
        if self.out_stages.contains(&0) {
            outputs.push(x.clone());
        }
        if let Some(norm) = &self.stem_norm {
            x = Activation::Relu.forward(norm.forward(x));
        }
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if self.out_stages.contains(&(i + 1)) {
                outputs.push(x.clone());
            }
        }
        if let Some((convs, dropout)) = &self.head {
            let x = convs.iter().fold(x, |x, conv| conv.forward(x));
            outputs.push(match dropout {
                Some(dropout) => dropout.forward(x),
                None => x,
            });
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

/// Half of the channels by a convolution of 1x1, the other half from those by one for each channel.
#[derive(Debug)]
struct Ghost {
    primary: ConvNormAct,
    cheap: ConvNormAct,
    channels: usize,
    attention: Option<Strips>,
}

impl Ghost {
    fn new(
        [channels_in, channels]: [usize; 2],
        act: Option<Activation>,
        attentive: bool,
        at: &Params,
    ) -> Self {
        let half = channels.div_ceil(2);
        let primary = ConvConfig::new(channels_in, half, 1);
        let cheap = ConvConfig::new(half, half, 3).pad(1).groups(half);
        Self {
            primary: layer(primary.act(act), &at.at("primary_conv"), 0),
            cheap: layer(cheap.act(act), &at.at("cheap_operation"), 0),
            channels,
            attention: attentive.then(|| Strips::new(channels_in, channels, &at.at("short_conv"))),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let gate = self.attention.as_ref().map(|strips| strips.forward(&x));
        let first = self.primary.forward(x);
        let second = self.cheap.forward(first.clone());
        let y = Tensor::cat(vec![first, second], 1).narrow(1, 0, self.channels);
        match gate {
            Some(gate) => {
                let [_, _, h, w] = y.dims();
                let options =
                    InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([h, w]);
                y * interpolate(gate, options)
            }
            None => y,
        }
    }
}

/// A convolution at `i` of a sequence, and its norm at the next place.
fn layer(conv: ConvConfig, at: &Params, i: usize) -> ConvNormAct {
    let norm = NormConfig::batch(BATCH_NORM_EPS);
    let norm = (&norm, &at.at(i + 1));
    conv.bias(false).init(&at.at(i), Some(norm))
}

/// How much each place counts, found at half the size along rows and columns (the second version's section 3.2).
#[derive(Debug)]
struct Strips {
    point: ConvNormAct,
    across: Strip,
    down: Strip,
}

impl Strips {
    fn new(channels_in: usize, channels: usize, at: &Params) -> Self {
        Self {
            point: layer(ConvConfig::new(channels_in, channels, 1), at, 0),
            across: Strip::new(channels, [1, STRIP], at, 2),
            down: Strip::new(channels, [STRIP, 1], at, 4),
        }
    }

    /// At half the size.
    fn forward(&self, x: &Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        // A side of one place has no half.
        let kernel = [h.min(2), w.min(2)];
        let options = AvgPoolOptions::new(kernel).with_stride(kernel);
        let x = self.point.forward(avg_pool2d(x.clone(), options));
        activation::sigmoid(self.down.forward(self.across.forward(x)))
    }
}

/// The long side of the filters of a [`Strip`].
const STRIP: usize = 5;

/// A convolution for each channel along one axis, and its norm.
#[derive(Debug)]
struct Strip {
    weight: Weight<4>,
    norm: Norm,
}

impl Strip {
    fn new(channels: usize, [down, across]: [usize; 2], at: &Params, i: usize) -> Self {
        let conv = at.at(i).layer(LayerKind::DepthwiseConv);
        let conv = conv.class(&["Conv2d", "_ConvNd"]);
        Self {
            weight: conv.weight("weight", [channels, 1, down, across], Init::TORCH),
            norm: NormConfig::batch(BATCH_NORM_EPS).init(channels, &at.at(i + 1)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [channels, _, down, across] = self.weight.shape();
        let shape = ConvShape {
            stride: [1; 2],
            padding: [down / 2, across / 2].map(|pad| (pad, pad)),
            dilation: [1; 2],
            groups: channels,
            precision: self.weight.precision(),
        };
        let x = conv2d(x, &self.weight, &shape, Finish::default());
        self.norm.forward(x)
    }
}

/// Two ghosts, and between them a convolution that strides, and what weighs the channels.
#[derive(Debug)]
struct Bottleneck {
    widen: Ghost,
    depthwise: Option<ConvNormAct>,
    squeeze: Option<SqueezeExcite>,
    narrow: Ghost,
    /// None where the input itself is added.
    shortcut: Option<[ConvNormAct; 2]>,
}

impl Bottleneck {
    fn new(model: &Model, row: &Row, from: usize, attentive: bool, at: &Params) -> Self {
        let &(kernel, mid, to, squeezes, stride) = row;
        let [mid, to] = [mid, to].map(|channels| model.scaled(channels));
        let relu = Some(Activation::Relu);
        let widen = Ghost::new([from, mid], relu, attentive, &at.at("ghost1"));
        let seeing = |channels| {
            ConvConfig::new(channels, channels, kernel)
                .stride(stride)
                .pad((kernel - 1) / 2)
                .groups(channels)
                .bias(false)
        };
        let norm = NormConfig::batch(BATCH_NORM_EPS);
        let depthwise = (stride > 1).then(|| {
            let norm = (&norm, &at.at("bn_dw"));
            seeing(mid).init(&at.at("conv_dw"), Some(norm))
        });
        let squeeze = squeezes.then(|| {
            let at = at.at("se");
            let convs = [
                (Activation::Relu, &at.at("conv_reduce")),
                (HARD_SIGMOID, &at.at("conv_expand")),
            ];
            let squeezed = make_divisible(mid as f64 * 0.25, 4, 0.9);
            let make = |conv: ConvConfig, act, at: &Params| conv.act(Some(act)).init(at, None);
            SqueezeExcite::new(mid, squeezed, convs, make)
        });
        let narrow = Ghost::new([mid, to], None, false, &at.at("ghost2"));
        let shortcut = (stride > 1 || from != to).then(|| {
            let at = at.at("shortcut");
            let point = ConvConfig::new(from, to, 1);
            [layer(seeing(from), &at, 0), layer(point, &at, 2)]
        });
        Self {
            widen,
            depthwise,
            squeeze,
            narrow,
            shortcut,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = self.widen.forward(x.clone());
        if let Some(conv) = &self.depthwise {
            y = conv.forward(y);
        }
        if let Some(squeeze) = &self.squeeze {
            y = squeeze.forward(y);
        }
        let shortcut = self.shortcut.iter().flatten();
        let shortcut = shortcut.fold(x, |x, conv| conv.forward(x));
        self.narrow.forward(y) + shortcut
    }
}
