//! The blocks of this family, and the convolutions in them.
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C', ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::{Tensor, activation};

use super::cond_conv::{CondConv, CondConvConfig};
use super::global_context::GlobalContext;
use super::make_divisible;
use super::mixed_conv::{MixedConv, shares};
use super::recipes::{Attention, Recipe};
use super::rows::{Kind, Row};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Init, InitRule, Linear, NormConfig, Padding,
    Params, SqueezeExcite,
};

/// How all layers of one network are made.
pub(super) struct Make {
    /// Batch norms, where `norm_group` is none.
    pub norm: NormConfig,
    /// Channels of a group of the norms.
    pub norm_group: Option<usize>,
    /// The activation.
    pub act: Activation,
    /// Whether it pads as TensorFlow does.
    pub same: bool,
    /// What weighs the channels.
    pub attention: Attention,
    /// Whether timm draws initial values once more when all is built.
    pub initialises: bool,
}

/// A convolution in numbers.
#[derive(Clone, Copy)]
struct Shape<'k> {
    channels: [usize; 2],
    /// Sides of filters, each with a share of the channels.
    kernels: &'k [usize],
    stride: usize,
    dilation: usize,
    groups: usize,
    /// Sets of filters, or 0.
    experts: usize,
}

impl Make {
    /// A convolution `name` and its norm `norm`, side by side.
    pub fn plain(
        &self,
        conv: ConvConfig,
        act: Option<Activation>,
        at: &Params,
        name: &str,
        norm: &str,
        channels: usize,
    ) -> ConvNormAct {
        let norm = (&self.norm(channels), &at.at(norm));
        self.bare(conv.bias(false).act(act), &at.at(name), Some(norm))
    }

    /// A convolution that begins as TensorFlow's do (`efficientnet_init_weights`).
    pub fn bare(
        &self,
        conv: ConvConfig,
        at: &Params,
        norm: Option<(&NormConfig, &Params)>,
    ) -> ConvNormAct {
        if self.initialises {
            let std = (2.0 / conv.fan_out_of_group() as f64).sqrt();
            at.initialise_built(InitRule::all(Init::normal(std), 0.0));
        }
        conv.init(at, norm)
    }

    fn norm(&self, channels: usize) -> NormConfig {
        match self.norm_group {
            Some(group) => NormConfig::group(channels / group),
            None => self.norm.clone(),
        }
    }

    /// timm's padding for a filter.
    pub fn padding(&self, kernel: usize, stride: usize, dilation: usize) -> Padding {
        if self.same {
            Padding::Same
        } else {
            Padding::Even((stride - 1 + dilation * (kernel - 1)) / 2)
        }
    }

    fn config(&self, shape: &Shape, kernel: usize) -> ConvConfig {
        let &Shape {
            channels: [from, to],
            stride,
            dilation,
            groups,
            ..
        } = shape;
        ConvConfig::new(from, to, kernel)
            .stride(stride)
            .dilation(dilation)
            .groups(groups)
            .padding(self.padding(kernel, stride, dilation))
    }

    /// As [`Make::plain`], of whatever kind the shape asks for.
    fn layer(
        &self,
        shape: Shape,
        act: Option<Activation>,
        at: &Params,
        [name, norm]: [&str; 2],
    ) -> Filter {
        let Shape {
            channels: [from, to],
            kernels,
            stride,
            dilation,
            groups,
            experts,
        } = shape;
        if kernels.len() > 1 {
            let parts = shares(from, kernels.len()).into_iter();
            let parts = parts.zip(shares(to, kernels.len())).zip(kernels);
            let parts = parts.enumerate().map(|(i, ((from, to), kernel))| {
                let shape = Shape {
                    channels: [from, to],
                    groups: if groups > 1 { from } else { 1 },
                    ..shape
                };
                let conv = self.config(&shape, *kernel).bias(false);
                (from, self.bare(conv, &at.at(name).at(i), None))
            });
            return Filter::Mixed(MixedConv {
                parts: parts.collect(),
                norm: self.norm(to).init(to, &at.at(norm)),
                act,
            });
        }
        let kernel = kernels[0];
        if experts == 0 {
            let conv = self.config(&shape, kernel);
            return Filter::Plain(self.plain(conv, act, at, name, norm, to));
        }
        let config = CondConvConfig {
            experts,
            filters: [to, from / groups, kernel, kernel],
            stride,
            dilation,
            padding: self.padding(kernel, stride, dilation),
            groups,
        };
        let std = (2.0 / self.config(&shape, kernel).fan_out_of_group() as f64).sqrt();
        let conv_at = at.at(name);
        conv_at.initialise_built(InitRule::all(Init::normal(std), 0.0));
        let norm = (&self.norm(to), &at.at(norm));
        Filter::Conditional(CondConv::new(config, norm, act, &conv_at))
    }
}

/// A convolution, its norm, and an activation.
#[derive(Debug)]
enum Filter {
    Plain(ConvNormAct),
    Mixed(MixedConv),
    Conditional(CondConv),
}

impl Filter {
    /// `sets` are the shares of the sets of filters, where there are some.
    fn forward(&self, x: Tensor<4>, sets: Option<&Tensor<2>>) -> Tensor<4> {
        match (self, sets) {
            (Self::Plain(conv), _) => conv.forward(x),
            (Self::Mixed(conv), _) => conv.forward(x),
            (Self::Conditional(conv), Some(sets)) => conv.forward(x, sets.clone()),
            (Self::Conditional(_), None) => panic!("a block with sets of filters has shares"),
        }
    }

    fn learning(&self) -> bool {
        match self {
            Self::Plain(conv) => conv.learning(),
            Self::Mixed(conv) => conv.norm.learning(),
            Self::Conditional(conv) => conv.learning(),
        }
    }
}

/// What weighs the channels of a block.
#[derive(Debug)]
enum Weigh {
    Squeeze(Box<SqueezeExcite>),
    Context(Box<GlobalContext>),
}

/// A block in numbers.
#[derive(Clone, Debug)]
pub(super) struct BlockShape {
    row: Row,
    channels_in: usize,
    channels_out: usize,
    /// Between the convolutions.
    mid: usize,
    /// Of what weighs the channels; 0 for none.
    squeezed: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
    experts: usize,
    shortcut: bool,
    drop_path_rate: f64,
}

/// The blocks of each stage; the rate of dropped paths rises from 0 at the first block towards `drop_path_rate`.
pub(super) fn shapes(
    recipe: &Recipe,
    output_stride: usize,
    drop_path_rate: f64,
) -> Vec<Vec<BlockShape>> {
    let rows = recipe.rows();
    let count = rows.iter().map(Vec::len).sum::<usize>();
    let mut done = 0;
    let (mut channels, mut stride, mut dilation) = (recipe.stem_channels(), 2, 1);
    let mut stages = Vec::new();
    for (i, rows) in rows.iter().enumerate() {
        // Past `output_stride` a stage does not stride; the blocks after the first one are dilated instead.
        let first = rows[0].stride;
        let (first_stride, next_dilation) = if stride * first > output_stride {
            (1, dilation * first)
        } else {
            (first, dilation)
        };
        let mut stage = Vec::new();
        for (j, row) in rows.iter().enumerate() {
            let mut shape = BlockShape {
                stride: if j == 0 { first_stride } else { 1 },
                dilation: if j == 0 { dilation } else { next_dilation },
                experts: if i >= 4 { recipe.experts } else { 0 },
                drop_path_rate: drop_path_rate * done as f64 / count as f64,
                ..BlockShape::new(*row, channels, recipe)
            };
            shape.shortcut = row.skip && shape.stride == 1 && channels == shape.channels_out;
            channels = shape.channels_out;
            done += 1;
            stage.push(shape);
        }
        stride *= first_stride;
        dilation = next_dilation;
        stages.push(stage);
    }
    if let Some(pruned) = recipe.pruned {
        let mut channels = recipe.stem_channels();
        for (shape, [mid, out, squeezed]) in stages.iter_mut().flatten().zip(pruned) {
            shape.channels_in = channels;
            (shape.mid, shape.channels_out, shape.squeezed) = (*mid, *out, *squeezed);
            shape.groups = *mid;
            channels = *out;
        }
    }
    stages
}

impl BlockShape {
    fn new(row: Row, channels_in: usize, recipe: &Recipe) -> Self {
        let expands = matches!(row.kind, Kind::Inverted | Kind::Edge);
        let base = match row.widened_from {
            0 => channels_in,
            channels => recipe.scaled(channels),
        };
        let mid = match expands {
            true => make_divisible(base as f64 * row.expansion, 8, 0.9),
            false => channels_in,
        };
        Self {
            row,
            channels_in,
            channels_out: recipe.scaled(row.channels),
            mid,
            squeezed: squeezed(&row, mid, &recipe.attention),
            stride: 1,
            dilation: 1,
            groups: match row.kind {
                Kind::Separable | Kind::Inverted => mid / recipe.group,
                Kind::Edge | Kind::Conv => 1,
            },
            experts: 0,
            shortcut: false,
            drop_path_rate: 0.0,
        }
    }

    /// Channels that go out.
    pub fn channels_out(&self) -> usize {
        self.channels_out
    }

    /// Channels before the last convolution; those of a block of one convolution.
    pub fn mid(&self) -> usize {
        match self.row.kind {
            Kind::Conv => self.channels_out,
            _ => self.mid,
        }
    }

    /// Of the whole block.
    pub fn stride(&self) -> usize {
        self.stride
    }
}

/// Channels of what weighs the `mid` channels of a block.
fn squeezed(row: &Row, mid: usize, attention: &Attention) -> usize {
    let of_narrow = match row.kind {
        Kind::Inverted | Kind::Edge => row.squeeze / row.expansion,
        _ => row.squeeze,
    };
    match attention {
        _ if row.squeeze == 0.0 || row.kind == Kind::Conv => 0,
        Attention::None => 0,
        Attention::SqueezeExcite { of_wide, limit, .. } => {
            let share = if *of_wide { row.squeeze } else { of_narrow };
            let channels = mid as f64 * share;
            match limit {
                Some(limit) => make_divisible(channels, 8, *limit),
                None => channels.round_ties_even() as usize,
            }
        }
        Attention::GlobalContext => make_divisible(mid as f64 * of_narrow, 1, 0.0),
    }
}

/// A few convolutions, one of which sees neighbours, and a shortcut where shapes allow.
#[derive(Debug)]
pub(super) struct Block {
    convs: Vec<Filter>,
    weigh: Option<Weigh>,
    /// None for a block of one convolution.
    last: Option<Filter>,
    /// Says how the sets of filters are mixed.
    routing: Option<Linear>,
    shortcut: bool,
    drop_path: Option<DropPath>,
}

impl Block {
    pub fn new(shape: &BlockShape, make: &Make, at: &Params) -> Self {
        let &BlockShape {
            row,
            channels_in,
            channels_out,
            mid,
            experts,
            ..
        } = shape;
        let act = row.act.unwrap_or(make.act);
        let one: &[usize] = &[1];
        let halves = |i: usize| if row.halves[i] { &[1, 1] } else { one };
        let point = |channels, kernels| Shape {
            channels,
            kernels,
            stride: 1,
            dilation: 1,
            groups: 1,
            experts,
        };
        let kernels: &[usize] = match row.mixed {
            [] => &[row.kernel],
            mixed => mixed,
        };
        let seeing = |channels| Shape {
            stride: shape.stride,
            dilation: shape.dilation,
            groups: shape.groups,
            ..point(channels, kernels)
        };
        let layer = |shape, names| make.layer(shape, Some(act), at, names);
        let convs = match row.kind {
            Kind::Conv => vec![layer(seeing([channels_in, channels_out]), ["conv", "bn1"])],
            Kind::Edge => vec![layer(seeing([channels_in, mid]), ["conv_exp", "bn1"])],
            Kind::Separable => vec![layer(seeing([mid, mid]), ["conv_dw", "bn1"])],
            Kind::Inverted => vec![
                layer(point([channels_in, mid], halves(0)), ["conv_pw", "bn1"]),
                layer(seeing([mid, mid]), ["conv_dw", "bn2"]),
            ],
        };
        let weigh = (shape.squeezed > 0).then(|| weigh(shape, act, make, &at.at("se")));
        let names = match row.kind {
            Kind::Conv => None,
            Kind::Edge => Some(["conv_pwl", "bn2"]),
            Kind::Separable => Some(["conv_pw", "bn2"]),
            Kind::Inverted => Some(["conv_pwl", "bn3"]),
        };
        let last = names.map(|names| {
            let act = row.act_at_end.then_some(act);
            make.layer(point([mid, channels_out], halves(1)), act, at, names)
        });
        let routing = (experts > 0).then(|| routing(channels_in, experts, &at.at("routing_fn")));
        let rate = if shape.shortcut {
            shape.drop_path_rate
        } else {
            0.0
        };
        Self {
            convs,
            weigh,
            last,
            routing,
            shortcut: shape.shortcut,
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    /// Whether a norm takes in statistics.
    pub fn learning(&self) -> bool {
        self.convs.iter().any(Filter::learning)
    }

    /// What comes out of the block; if `wide` is asked for, also what comes into its last convolution, or out of its only one.
    pub fn forward(&self, x: Tensor<4>, wide: bool) -> (Tensor<4>, Option<Tensor<4>>) {
        let sets = self.routing.as_ref().map(|routing| {
            let [n, c, ..] = x.dims();
            let means = x.clone().mean_dim(2).mean_dim(3).reshape([n, c]);
            activation::sigmoid(routing.forward(means))
        });
        let sets = sets.as_ref();
        let filter = |x, conv: &Filter| conv.forward(x, sets);
        let y = self.convs.iter().fold(x.clone(), filter);
        let y = match &self.weigh {
            Some(Weigh::Squeeze(squeeze)) => squeeze.forward(y),
            Some(Weigh::Context(context)) => context.forward(y),
            None => y,
        };
        let wide = wide.then(|| y.clone());
        let drops = self.drop_path.as_ref().is_some_and(DropPath::learning);
        let y = match &self.last {
            Some(Filter::Plain(last)) if self.shortcut && !drops => {
                return (last.forward_onto(y, x), wide);
            }
            Some(last) => last.forward(y, sets),
            None => y,
        };
        if self.shortcut {
            (DropPath::add(&self.drop_path, x, y), wide)
        } else {
            (y, wide)
        }
    }
}

fn weigh(shape: &BlockShape, act: Activation, make: &Make, at: &Params) -> Weigh {
    let (mid, squeezed) = (shape.mid(), shape.squeezed);
    let (first, gate) = match make.attention {
        Attention::GlobalContext => {
            let context = GlobalContext::new(mid, squeezed, act, make, at);
            return Weigh::Context(Box::new(context));
        }
        Attention::SqueezeExcite { act: own, gate, .. } => (own.unwrap_or(act), gate),
        Attention::None => (act, Activation::Sigmoid),
    };
    let convs = [
        (first, &at.at("conv_reduce")),
        (gate, &at.at("conv_expand")),
    ];
    let make = |conv: ConvConfig, act, at: &Params| make.bare(conv.act(Some(act)), at, None);
    Weigh::Squeeze(Box::new(SqueezeExcite::new(mid, squeezed, convs, make)))
}

fn routing(channels: usize, experts: usize, at: &Params) -> Linear {
    let bound = ((channels + experts) as f64).sqrt().recip();
    let init = Init::Uniform {
        a: -bound,
        b: bound,
    };
    at.initialise_built(InitRule::all(init, 0.0));
    Linear::new(channels, experts, true, at)
}
