//! HorNet (Rao et al. 2022, arXiv 2207.14284) as MMPretrain 1.2.0 builds it: gated convolutions of several orders, whose depthwise filters are 7x7,
//! or (`*-gf`) for half of the channels a product with a learned spectrum of the whole map.
//!
//! Shapes: stage i gives `[N, base_dim * 2^i, H / (4 * 2^i), W / ..]`, what is left over at each step not counted.

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::{Backbone, Feature, options};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, Short, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Init, LayerScale, Norm, NormConfig, Params,
    Weight,
};
use crate::limits::{Channels, Layers, Pixels};
use crate::ops::resize::{Interpolation, resize};

/// The keys of `type='mmpretrain.HorNet'`; `arch` and `out_indices` are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    drop_path_rate: Option<f64>,
    scale: Option<f64>,
    use_layer_scale: Option<bool>,
    frozen_stages: Option<i64>,
    gap_before_final_norm: Option<bool>,
}

const OTHERS: &[&str] = &["arch", "out_indices", "with_cp", "init_cfg"];

const STAGES: usize = 4;
const EPS: f64 = 1e-6;
/// First value of the scales.
const SCALE: f64 = 1e-5;
/// How often the channels of a gated convolution are halved at most.
const MOST_ORDER: usize = 16;

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct Given {
    base_dim: Channels,
    depths: Short<Layers, STAGES>,
    orders: Short<Bounded<1, MOST_ORDER>, STAGES>,
    dw_cfg: Short<FilterConfig, STAGES>,
}

/// A `dw_cfg`.
#[derive(Debug, Deserialize)]
struct FilterConfig {
    #[serde(rename = "type")]
    kind: String,
    kernel_size: Option<Pixels>,
    h: Option<Pixels>,
    w: Option<Pixels>,
}

/// What looks beyond a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// A filter of this side for each channel.
    Near(usize),
    /// The size of the spectrum.
    Global([usize; 2]),
}

impl FilterConfig {
    fn filter(&self, node: &Node) -> Result<Filter, Diagnostics> {
        let fail = |message: String, help| Err(error_at(node, "arch", message, help));
        let size = |size: Option<Pixels>, default| size.map_or(default, Pixels::get);
        match self.kind.as_str() {
            "DW" => match self.kernel_size.map(Pixels::get) {
                Some(kernel) if kernel % 2 == 1 => Ok(Filter::Near(kernel)),
                Some(kernel) => {
                    let message = format!("a filter of {kernel} px does not keep the size of maps");
                    fail(message, "odd numbers are possible")
                }
                None => fail("a `dw_cfg` of type 'DW' needs a `kernel_size`".into(), ""),
            },
            "GF" => Ok(Filter::Global([size(self.h, 14), size(self.w, 8)])),
            other => {
                let message = format!("there is no `dw_cfg` of type '{other}'");
                fail(message, "known are 'DW', 'GF'")
            }
        }
    }
}

/// Channels of the first stage, and the spectra of the last two stages.
type Size = (usize, Option<[[usize; 2]; 2]>);

const SMALL: [[usize; 2]; 2] = [[14, 8], [7, 4]];
const LARGE: [[usize; 2]; 2] = [[24, 12], [13, 7]];

const ARCHES: [(&str, Size); 20] = [
    ("tiny", (64, None)),
    ("t", (64, None)),
    ("tiny-gf", (64, Some(SMALL))),
    ("t-gf", (64, Some(SMALL))),
    ("small", (96, None)),
    ("s", (96, None)),
    ("small-gf", (96, Some(SMALL))),
    ("s-gf", (96, Some(SMALL))),
    ("base", (128, None)),
    ("b", (128, None)),
    ("base-gf", (128, Some(SMALL))),
    ("b-gf", (128, Some(SMALL))),
    ("base-gf384", (128, Some(LARGE))),
    ("b-gf384", (128, Some(LARGE))),
    ("large", (192, None)),
    ("l", (192, None)),
    ("large-gf", (192, Some(SMALL))),
    ("l-gf", (192, Some(SMALL))),
    ("large-gf384", (192, Some(LARGE))),
    ("l-gf384", (192, Some(LARGE))),
];
const DEPTHS: [usize; STAGES] = [2, 3, 18, 2];
const ORDERS: [usize; STAGES] = [2, 3, 4, 5];
const NEAR: Filter = Filter::Near(7);

/// A stage in numbers.
struct StagePlan {
    channels: usize,
    depth: usize,
    order: usize,
    filter: Filter,
}

fn stages(node: &Node) -> Result<Vec<StagePlan>, Diagnostics> {
    let (first, depths, orders, filters) =
        match options::arch::<Size, Given>(node, "tiny", &ARCHES)? {
            options::Arch::Named((first, spectra)) => {
                let filters = match spectra {
                    Some([third, last]) => {
                        [NEAR, NEAR, Filter::Global(third), Filter::Global(last)]
                    }
                    None => [NEAR; STAGES],
                };
                (first, DEPTHS.to_vec(), ORDERS.to_vec(), filters.to_vec())
            }
            options::Arch::Given(arch) => {
                let filters = arch.dw_cfg.iter().map(|config| config.filter(node));
                (
                    arch.base_dim.get(),
                    arch.depths.numbers(),
                    arch.orders.numbers(),
                    filters.collect::<Result<Vec<_>, _>>()?,
                )
            }
        };
    options::one_each(node, "arch", &depths, STAGES)?;
    options::one_each(node, "arch", &orders, STAGES)?;
    options::one_each(node, "arch", &filters, STAGES)?;
    let stage = |i: usize| {
        let plan = StagePlan {
            channels: first << i,
            depth: depths[i],
            order: orders[i],
            filter: filters[i],
        };
        let least = 1 << (plan.order - 1);
        let filtered = plan.widths().iter().sum::<usize>();
        let halves = matches!(plan.filter, Filter::Near(_)) || filtered.is_multiple_of(2);
        if !plan.channels.is_multiple_of(least) || !halves {
            let message = format!(
                "{} channels cannot be halved for order {} of stage {i}",
                plan.channels, plan.order
            );
            return Err(error_at(node, "arch", message, ""));
        }
        Ok(plan)
    };
    (0..STAGES).map(stage).collect()
}

impl StagePlan {
    /// Channels of each order, the fewest first.
    fn widths(&self) -> Vec<usize> {
        let halved = (0..self.order).rev();
        halved.map(|i| self.channels >> i).collect()
    }
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(HorNet::read(node, build)?))
}

/// HorNet.
#[derive(Debug)]
pub struct HorNet {
    stem: (ConvNormAct, PlaceNorm),
    /// What is before each stage but the first.
    downsamples: Vec<(PlaceNorm, ConvNormAct)>,
    stages: Vec<Vec<Block>>,
    /// Stages that give a map, and the norm of that.
    outputs: Vec<(usize, PlaceNorm)>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl HorNet {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: Keys = node.read_knowing(OTHERS)?;
        let plans = stages(node)?;
        let wanted = options::said_indices(node, &[3], STAGES, STAGES)?;
        if config.gap_before_final_norm.unwrap_or(true) {
            let message = "this HorNet gives no maps, but their means";
            let help = "write gap_before_final_norm=False";
            return Err(error_at(node, "gap_before_final_norm", message, help));
        }
        let frozen = options::frozen_stages(node, config.frozen_stages, -1, STAGES - 1)?;
        // Of a frozen stage the original freezes the norm of the one after it.
        let mut norms = (0..=frozen).filter(|i| wanted.contains(&(*i as usize)));
        if let Some(i) = norms.find(|i| !wanted.contains(&(*i as usize + 1))) {
            let message = format!(
                "stage {i} is frozen and gives a map, but stage {} gives none: MMPretrain fails",
                i + 1
            );
            let help = "freeze fewer stages, or let them give no map";
            return Err(error_at(node, "frozen_stages", message, help));
        }
        let rate = options::rate(node, "drop_path_rate", config.drop_path_rate)?;
        let depth = plans.iter().map(|plan| plan.depth).sum();
        let mut rates = (0..depth).map(options::rising(rate, depth));

        let params = &build.params;
        let at = params.at("downsample_layers");
        let channels_in = config.in_channels.map_or(3, Channels::get);
        let first = plans[0].channels;
        let conv = ConvConfig::new(channels_in, first, 4).stride(4);
        let stem = conv.init(&at.at("0.0"), None);
        let stem = (stem, PlaceNorm::new(first, &at.at("0.1")));
        let downsample = |i: usize| {
            let at = at.at(i);
            let [from, to] = [plans[i - 1].channels, plans[i].channels];
            let norm = PlaceNorm::new(from, &at.at(0));
            let conv = ConvConfig::new(from, to, 2).stride(2);
            (norm, conv.init(&at.at(1), None))
        };
        let downsamples = (1..STAGES).map(downsample).collect();
        let scales = (
            config.scale.unwrap_or(1.0 / 3.0),
            config.use_layer_scale.unwrap_or(true),
        );
        let mut stages = Vec::new();
        for (i, plan) in plans.iter().enumerate() {
            let at = params.at("stages").at(i);
            let rates = rates.by_ref().take(plan.depth).enumerate();
            let block = |(j, rate)| Block::new(plan, scales, rate, &at.at(j));
            stages.push(rates.map(block).collect());
        }
        let norm = |i: &usize| {
            let at = params.at(format!("norm{i}"));
            (*i, PlaceNorm::new(plans[*i].channels, &at))
        };
        let mut outputs: Vec<_> = wanted.iter().map(norm).collect();
        outputs.sort_by_key(|(i, _)| *i);
        for i in 0..=frozen {
            at.at(i).freeze();
            params.at("stages").at(i).freeze();
            if wanted.contains(&(i as usize)) {
                params.at(format!("norm{}", i + 1)).freeze();
            }
        }
        let feature = |(i, _): &(usize, PlaceNorm)| Feature {
            channels: plans[*i].channels,
            stride: 4 << i,
        };
        Ok(Self {
            stem,
            downsamples,
            stages,
            features: outputs.iter().map(feature).collect(),
            outputs,
            channels_in,
        })
    }
}

impl Backbone for HorNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.1.forward(self.stem.0.forward(x));
        let mut maps = Vec::new();
        let mut outputs = self.outputs.iter().peekable();
        for (i, stage) in self.stages.iter().enumerate() {
            if outputs.peek().is_none() {
                break;
            }
            if i > 0 {
                let (norm, conv) = &self.downsamples[i - 1];
                x = conv.forward(norm.forward(x));
            }
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if let Some((_, norm)) = outputs.next_if(|(wanted, _)| *wanted == i) {
                maps.push(norm.forward(x.clone()));
            }
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// A norm over the channels of each place. To the original's optimizers it is no `LayerNorm`.
#[derive(Debug)]
struct PlaceNorm {
    norm: Norm,
    weight: LayerScale,
    bias: Weight<1>,
}

impl PlaceNorm {
    fn new(channels: usize, at: &Params) -> Self {
        let bare = NormConfig {
            affine: Some(false),
            ..NormConfig::layer(EPS)
        };
        Self {
            norm: bare.init(channels, at),
            weight: LayerScale::new("weight", channels, 1.0, at),
            bias: at.weight("bias", [channels], Init::Constant(0.0)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [channels] = self.bias.shape();
        let bias = self.bias.get().reshape([1, channels, 1, 1]);
        self.weight.forward(self.norm.forward(x)) + bias
    }
}

/// A gated convolution, then two layers of one place each, both scaled and added to their inputs.
#[derive(Debug)]
struct Block {
    norms: [PlaceNorm; 2],
    gated: GatedConv,
    widen: ConvNormAct,
    narrow: ConvNormAct,
    scales: Option<[LayerScale; 2]>,
    drop_path: Option<DropPath>,
}

impl Block {
    /// The scale of the filters, and whether branches are scaled.
    fn new(plan: &StagePlan, (scale, scaled): (f64, bool), rate: f64, at: &Params) -> Self {
        let channels = plan.channels;
        let norm = |name| PlaceNorm::new(channels, &at.at(name));
        let first = norm("norm1");
        let gated = GatedConv::new(plan, scale, &at.at("gnconv"));
        let second = norm("norm2");
        let widen = ConvConfig::new(channels, 4 * channels, 1).linear();
        let widen = widen.act(Some(Activation::Gelu));
        let narrow = ConvConfig::new(4 * channels, channels, 1).linear();
        let [widen, narrow] = [(widen, "pwconv1"), (narrow, "pwconv2")]
            .map(|(conv, name)| conv.init(&at.at(name), None));
        let scale = |name| LayerScale::new("weight", channels, SCALE, &at.at(name));
        Self {
            norms: [first, second],
            gated,
            widen,
            narrow,
            scales: scaled.then(|| ["gamma1", "gamma2"].map(scale)),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let scaled = |x, which: usize| match &self.scales {
            Some(scales) => scales[which].forward(x),
            None => x,
        };
        let y = self.gated.forward(self.norms[0].forward(x.clone()));
        let x = DropPath::add(&self.drop_path, x, scaled(y, 0));
        let y = self.widen.forward(self.norms[1].forward(x.clone()));
        let y = self.narrow.forward(y);
        DropPath::add(&self.drop_path, x, scaled(y, 1))
    }
}

/// Products of what a filter gives, each order with twice the channels of the one before.
#[derive(Debug)]
struct GatedConv {
    first: ConvNormAct,
    filter: Filtering,
    last: ConvNormAct,
    /// From each order to the next.
    widen: Vec<ConvNormAct>,
    widths: Vec<usize>,
    scale: f64,
}

impl GatedConv {
    fn new(plan: &StagePlan, scale: f64, at: &Params) -> Self {
        let (channels, widths) = (plan.channels, plan.widths());
        let one = |from, to, at: &Params| ConvConfig::new(from, to, 1).init(at, None);
        let first = one(channels, 2 * channels, &at.at("proj_in"));
        let filter = Filtering::new(widths.iter().sum(), plan.filter, &at.at("dwconv"));
        let last = one(channels, channels, &at.at("proj_out"));
        let place = at.at("projs");
        let pairs = widths.windows(2).enumerate();
        let widen = pairs.map(|(i, pair)| one(pair[0], pair[1], &place.at(i)));
        Self {
            first,
            filter,
            last,
            widen: widen.collect(),
            widths,
            scale,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.first.forward(x);
        let (least, all) = (self.widths[0], self.widths.iter().sum::<usize>());
        let filtered = self.filter.forward(x.clone().narrow(1, least, all)) * self.scale;
        let mut y = x.narrow(1, 0, least) * filtered.clone().narrow(1, 0, least);
        let mut from = least;
        for (widen, width) in self.widen.iter().zip(&self.widths[1..]) {
            y = widen.forward(y) * filtered.clone().narrow(1, from, *width);
            from += width;
        }
        self.last.forward(y)
    }
}

#[derive(Debug)]
enum Filtering {
    Near(Box<ConvNormAct>),
    Global(Box<GlobalFilter>),
}

impl Filtering {
    fn new(channels: usize, filter: Filter, at: &Params) -> Self {
        match filter {
            Filter::Near(kernel) => {
                let conv = ConvConfig::new(channels, channels, kernel).pad(kernel / 2);
                Self::Near(Box::new(conv.groups(channels).init(at, None)))
            }
            Filter::Global(size) => Self::Global(Box::new(GlobalFilter::new(channels, size, at))),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Near(conv) => conv.forward(x),
            Self::Global(filter) => filter.forward(x),
        }
    }
}

/// Half of the channels by a small filter, the others times a learned spectrum (Rao et al. 2021, arXiv 2107.00645), in turn.
#[derive(Debug)]
struct GlobalFilter {
    /// `[channels / 2, h, w, 2]`, real and imaginary parts last.
    spectrum: Weight<4>,
    near: ConvNormAct,
    norms: [PlaceNorm; 2],
}

impl GlobalFilter {
    fn new(channels: usize, [h, w]: [usize; 2], at: &Params) -> Self {
        let half = channels / 2;
        let spectrum = at.weight("complex_weight", [half, h, w, 2], Init::normal(0.02));
        let near = ConvConfig::new(half, half, 3)
            .pad(1)
            .groups(half)
            .bias(false);
        Self {
            spectrum,
            near: near.init(&at.at("dw"), None),
            norms: ["pre_norm", "post_norm"].map(|name| PlaceNorm::new(channels, &at.at(name))),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norms[0].forward(x);
        let [n, channels, h, w] = x.dims();
        let half = channels / 2;
        let near = self.near.forward(x.clone().narrow(1, 0, half));
        let waves = Waves::new([h, w], &x.device().without_autodiff());
        let spectrum = self.spectrum.get().permute([3, 0, 1, 2]);
        let spectrum = resize(spectrum, [h, w / 2 + 1], Interpolation::Bilinear, true);
        let far = waves.filter(x.narrow(1, half, half), spectrum);
        let pairs = Tensor::cat(
            vec![near.unsqueeze_dim::<5>(2), far.unsqueeze_dim::<5>(2)],
            2,
        );
        self.norms[1].forward(pairs.reshape([n, channels, h, w]))
    }
}

/// A Fourier transform of maps as products with matrices, so that gradients go through on every device. The spectrum of real numbers is symmetric:
/// only the first half of each row, and the middle, is kept.
struct Waves {
    /// Cosines and sines down, `[1, 1, H, H]`.
    down: [Tensor<4>; 2],
    /// The same across, `[1, 1, W, W / 2 + 1]`.
    across: [Tensor<4>; 2],
    /// From the kept half back, `[1, 1, W / 2 + 1, W]`.
    back: [Tensor<4>; 2],
}

impl Waves {
    fn new([h, w]: [usize; 2], device: &Device) -> Self {
        let kept = w / 2 + 1;
        // Both ways divide by the root of the number of places, as `norm='ortho'`.
        let part = |size: usize| 1.0 / (size as f64).sqrt();
        let pair = |rows: usize, columns: usize, size: usize, factor: &dyn Fn(usize) -> f64| {
            [f64::cos, f64::sin].map(|wave| {
                let of = |i: usize| {
                    let (row, column) = (i / columns, i % columns);
                    let turn = TAU * ((row * column) % size) as f64 / size as f64;
                    (wave(turn) * factor(row) * part(size)) as f32
                };
                let values: Vec<_> = (0..rows * columns).map(of).collect();
                Tensor::from_data(TensorData::new(values, [1, 1, rows, columns]), device)
            })
        };
        // All but the mean, and the middle of an even number, stand for two.
        let twice = |row: usize| if row == 0 || 2 * row == w { 1.0 } else { 2.0 };
        Self {
            down: pair(h, h, h, &|_| 1.0),
            across: pair(w, kept, w, &|_| 1.0),
            back: pair(kept, w, w, &twice),
        }
    }

    /// Real maps, their spectrum times another, and back.
    ///
    /// # Shapes
    /// - input and output: `[N, C, H, W]`; spectrum: `[2, C, H, W / 2 + 1]`
    fn filter(&self, x: Tensor<4>, spectrum: Tensor<4>) -> Tensor<4> {
        let [down, across, back] = [&self.down, &self.across, &self.back];
        let by = |left: &Tensor<4>, right: &Tensor<4>| left.clone().matmul(right.clone());
        // exp(-i t) across, then down.
        let (real, imaginary) = (by(&x, &across[0]), -by(&x, &across[1]));
        let (real, imaginary) = (
            by(&down[0], &real) + by(&down[1], &imaginary),
            by(&down[0], &imaginary) - by(&down[1], &real),
        );
        let [a, b] = [0, 1].map(|i| spectrum.clone().narrow(0, i, 1));
        let (real, imaginary) = (
            real.clone() * a.clone() - imaginary.clone() * b.clone(),
            real * b + imaginary * a,
        );
        // exp(i t) down, then the real part across.
        let (real, imaginary) = (
            by(&down[0], &real) - by(&down[1], &imaginary),
            by(&down[0], &imaginary) + by(&down[1], &real),
        );
        by(&real, &back[0]) - by(&imaginary, &back[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_of_ones_changes_nothing_and_waves_move_maps() {
        let device = Device::flex();
        for [h, w] in [[3, 4], [4, 5], [1, 1], [2, 6]] {
            let values: Vec<f32> = (0..h * w).map(|i| ((i * i) as f32 * 0.7).sin()).collect();
            let x = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([1, 1, h, w]);
            let kept = w / 2 + 1;
            let numbers = |x: Tensor<4>| x.into_data().try_into_vec::<f32>().unwrap();
            let waves = Waves::new([h, w], &device);
            let ones = Tensor::ones([1, 1, h, kept], &device);
            let zeros = Tensor::zeros([1, 1, h, kept], &device);
            let same = numbers(waves.filter(x.clone(), Tensor::cat(vec![ones, zeros], 0)));
            // exp(-i t) of one step down: each row becomes the one before.
            let turn = |row: usize| TAU * row as f64 / h as f64;
            let wave = |of: fn(f64) -> f64, sign: f64| -> Tensor<4> {
                let values: Vec<f32> = (0..h * kept)
                    .map(|i| (sign * of(turn(i / kept))) as f32)
                    .collect();
                Tensor::from_data(TensorData::new(values, [1, 1, h, kept]), &device)
            };
            let step = Tensor::cat(vec![wave(f64::cos, 1.0), wave(f64::sin, -1.0)], 0);
            let moved = numbers(waves.filter(x, step));
            for i in 0..h * w {
                let before = (i + h * w - w) % (h * w);
                assert!((same[i] - values[i]).abs() < 1e-5, "{h} {w} {same:?}");
                assert!(
                    (moved[i] - values[before]).abs() < 1e-5,
                    "{h} {w} {moved:?}"
                );
            }
        }
    }
}
