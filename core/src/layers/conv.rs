//! Convolution, norm, activation: the one layer through which every convolution goes (mmcv's `ConvModule`, and the
//! bare convolutions and norms of ResNet and timm). A norm with fixed statistics is folded into the weights when a model is
//! built to stay as it is, before anything reaches the device.
//!
//! Shapes: x `[N, C, H, W]`, weight `[C_out, C / groups, KH, KW]`, bias `[C_out]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::adaptive::{Adaptive, standardise_adaptively};
use super::deform_conv::Offsets;
use super::switchable::Switchable;
use super::{
    Activation, Distribution, Fan, Init, LayerKind, Mode, Norm, NormConfig, Params, Role, Weight,
};
use crate::limits::Channels;
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// A `conv_cfg` dict.
#[derive(Clone, Debug, Deserialize)]
pub struct ConvLayerConfig {
    /// Registered name: `Conv2d`, `Conv`, `ConvWS`, `ConvAWS`, `Conv2dAdaptivePadding`, `DCN`, `DCNv2` or `SAC`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of `DCN` and `DCNv2`: sets of channels that move together, 1 if absent.
    #[serde(alias = "deformable_groups")]
    pub deform_groups: Option<Channels>,
    /// Of `SAC`: its two convolutions are deformable.
    pub use_deform: Option<bool>,
}

/// A `conv_bias`: True, False, or 'auto', which is a bias where there is no norm.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum ConvBias {
    /// As said.
    Said(bool),
    /// `'auto'`, the only word there is.
    Auto(Auto),
}

/// The word `'auto'`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// By the norm.
    Auto,
}

impl ConvBias {
    /// What was said, if anything was.
    pub fn said(self) -> Option<bool> {
        match self {
            ConvBias::Said(bias) => Some(bias),
            ConvBias::Auto(_) => None,
        }
    }
}

/// What kind of convolution a `conv_cfg` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConvKind {
    /// Plain.
    #[default]
    Plain,
    /// Weight standardisation (Qiao et al. 2019, arXiv 1903.10520): each filter gets mean 0 and deviation 1.
    Standardised,
    /// Padded so that the output is `ceil(input / stride)`.
    SamePadding,
    /// Weight standardisation with a deviation and a mean for each filter, which training leaves alone (`ConvAWS`).
    Adaptive,
    /// Taps that move by what the input says (`DCN`), and are weighed by it (`DCNv2`).
    Deformable {
        /// Whether they are weighed.
        modulated: bool,
        /// Sets of channels that move together; they divide the input's.
        sets: usize,
    },
    /// Two dilations, mixed at each place by what is there (`SAC`).
    Switchable {
        /// Whether both are deformable, which takes a kernel of 3x3.
        deform: bool,
    },
}

impl ConvKind {
    /// The class of mmcv's or PyTorch's, and what it is derived from.
    fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["Conv2d", "_ConvNd"],
            Self::Standardised => &["ConvWS2d", "Conv2d"],
            Self::SamePadding => &["Conv2dAdaptivePadding", "Conv2d"],
            Self::Adaptive => &["ConvAWS2d", "Conv2d"],
            Self::Deformable {
                modulated: false, ..
            } => &["DeformConv2dPack", "DeformConv2d"],
            Self::Deformable { .. } => &["ModulatedDeformConv2dPack", "ModulatedDeformConv2d"],
            Self::Switchable { .. } => &["SAConv2d", "ConvAWS2d"],
        }
    }

    /// Whether mmcv's layer gives itself its initial values whenever the layers around it are given theirs.
    pub(super) fn initialises_itself(self) -> bool {
        matches!(
            self,
            Self::Deformable {
                modulated: true,
                ..
            } | Self::Switchable { .. }
        )
    }
}

impl ConvLayerConfig {
    /// What it means for layers of any kernel and number of channels; an error says what is wrong.
    pub fn conv_kind(&self) -> Result<ConvKind, String> {
        let kind = self.conv_kind_3x3()?;
        match kind {
            ConvKind::Deformable { sets: 2.., .. } => Err(
                "`deform_groups` is more than 1, which must divide the input's channels; a backbone's `dcn` may have that"
                    .into(),
            ),
            ConvKind::Switchable { deform: true } => {
                Err("`use_deform` needs a kernel of 3x3; the `sac` of DetectoRS has one".into())
            }
            kind => Ok(kind),
        }
    }

    /// What it means for a convolution of 3x3 on so many channels that `deform_groups` divides them; an error says what is wrong.
    pub fn conv_kind_3x3(&self) -> Result<ConvKind, String> {
        let modulated = |modulated| ConvKind::Deformable {
            modulated,
            sets: self.deform_groups.map_or(1, Channels::get),
        };
        let kind = match self.kind.rsplit('.').next().unwrap_or_default() {
            "Conv2d" | "Conv" => ConvKind::Plain,
            "ConvWS" => ConvKind::Standardised,
            "ConvAWS" => ConvKind::Adaptive,
            "Conv2dAdaptivePadding" => ConvKind::SamePadding,
            "DCN" => modulated(false),
            "DCNv2" => modulated(true),
            "SAC" => ConvKind::Switchable {
                deform: self.use_deform.unwrap_or(false),
            },
            other => {
                return Err(format!(
                    "unknown convolution `{other}`; known are Conv2d, Conv, ConvWS, ConvAWS, Conv2dAdaptivePadding, DCN, DCNv2, SAC"
                ));
            }
        };
        let deformable = matches!(kind, ConvKind::Deformable { .. });
        if self.deform_groups.is_some() && !deformable {
            return Err("`deform_groups` is of DCN and DCNv2".into());
        }
        if self.use_deform.is_some() && !matches!(kind, ConvKind::Switchable { .. }) {
            return Err("`use_deform` is of SAC".into());
        }
        Ok(kind)
    }
}

/// Zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many on every side.
    Even(usize),
    /// So many above and below, and so many on the left and on the right.
    Each([usize; 2]),
    /// As TensorFlow's `SAME`: as many as make the output `ceil(input / stride)`, the odd one at the end.
    Same,
    /// As many as `Same`, all at the end (mmcv's `AdaptivePadding` of `'corner'`).
    Corner,
}

impl Padding {
    /// Zeros before and after one axis (0 is the height) of `size`. Where a filter is larger than what it moves over, so many more at the end
    /// that it has one place: PyTorch has none, and fails.
    pub fn sides(
        self,
        axis: usize,
        size: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> (usize, usize) {
        let taps = dilation * (kernel - 1) + 1;
        let even = |p: usize| (p, p + taps.saturating_sub(size + 2 * p));
        match self {
            Padding::Even(p) => even(p),
            Padding::Each(p) => even(p[axis]),
            Padding::Same | Padding::Corner => {
                let needed = (size.div_ceil(stride) - 1) * stride + taps;
                let total = needed.saturating_sub(size);
                let before = if self == Padding::Same { total / 2 } else { 0 };
                (before, total - before)
            }
        }
    }
}

/// How to make a [`ConvNormAct`].
#[derive(Clone, Debug)]
pub struct ConvConfig {
    channels_in: usize,
    channels_out: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    dilation: usize,
    groups: usize,
    bias: Option<bool>,
    kind: ConvKind,
    linear: bool,
    act: Option<Activation>,
    /// Of a deformable convolution's own layer of offsets.
    offsets: bool,
    /// Of a deformable convolution whose layer of offsets is beside it.
    pub(super) beside: bool,
}

impl ConvConfig {
    /// A square convolution of stride 1 without padding or activation.
    pub fn new(channels_in: usize, channels_out: usize, kernel: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            kernel: [kernel; 2],
            stride: 1,
            padding: Padding::Even(0),
            dilation: 1,
            groups: 1,
            bias: None,
            kind: ConvKind::Plain,
            linear: false,
            act: None,
            offsets: false,
            beside: false,
        }
    }

    /// The offsets of a deformable convolution come from a layer beside it, as Detectron2 has it: `conv2_offset` of `conv2`.
    pub fn offsets_beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// With a bias, for the offsets of `self`, which is deformable: of its kernel, stride, padding and dilation.
    pub(super) fn of_offsets(&self, channels_out: usize) -> Self {
        Self {
            channels_out,
            groups: 1,
            bias: Some(true),
            kind: ConvKind::Plain,
            act: None,
            offsets: true,
            ..self.clone()
        }
    }

    /// Height and width of the filters.
    pub fn kernel(mut self, kernel: [usize; 2]) -> Self {
        self.kernel = kernel;
        self
    }

    /// Step between outputs, in pixels.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Zeros around the input.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// The same number of zeros on every side.
    pub fn pad(self, padding: usize) -> Self {
        self.padding(Padding::Even(padding))
    }

    /// Step between the filter's taps, in pixels.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self
    }

    /// Groups of channels that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// With or without a bias; if never said, a bias where there is no norm (mmcv's `bias='auto'`).
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = Some(bias);
        self
    }

    /// What a `conv_cfg` asked for.
    pub fn kind(mut self, kind: ConvKind) -> Self {
        self.kind = kind;
        if kind == ConvKind::SamePadding {
            self.padding = Padding::Same;
        }
        self
    }

    /// Says that the original has a linear layer along the channels here in place of this 1x1 convolution: its weight is `[C_out, C]`.
    ///
    /// # Panics
    /// If the filter is not 1x1.
    pub fn linear(mut self) -> Self {
        assert_eq!(self.kernel, [1; 2], "a linear layer sees one place");
        self.linear = true;
        self
    }

    /// What follows the norm.
    pub fn act(mut self, act: Option<Activation>) -> Self {
        self.act = act;
        self
    }

    /// Says that the original builds such a layer with a bias at `at`, and drops it.
    pub fn built_and_dropped(&self, at: &Params) {
        let shape = self.shape();
        at.built_and_dropped(Init::TORCH, &shape);
        at.built_and_dropped(Init::torch_bias(&shape), &shape[..1]);
    }

    pub(super) fn shape(&self) -> [usize; 4] {
        let inputs = self.channels_in / self.groups;
        let [height, width] = self.kernel;
        [self.channels_out, inputs, height, width]
    }

    /// What one input channel of a group goes to: filters of the group, times their taps.
    pub fn fan_out_of_group(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels_out / self.groups
    }

    /// What it makes of a side of `size` pixels; none if the filter does not fit in.
    pub fn side(&self, size: usize) -> Option<usize> {
        let [kernel, _] = self.kernel;
        let filter = self.dilation * (kernel - 1) + 1;
        let zeros = match self.padding {
            Padding::Even(p) => 2 * p,
            Padding::Each(p) => 2 * p[0],
            same => {
                let (before, after) = same.sides(0, size, kernel, self.stride, self.dilation);
                before + after
            }
        };
        let rest = (size + zeros).checked_sub(filter)?;
        Some(rest / self.stride + 1)
    }

    /// Builds the layer: the convolution's tensors below `conv`, the norm's below the other place.
    ///
    /// # Panics
    /// If the norm config is not valid ([`NormConfig::norm_kind`]) or a size is zero.
    pub fn init(&self, conv: &Params, norm: Option<(&NormConfig, &Params)>) -> ConvNormAct {
        let channels = self.channels_out;
        if conv.mode() == Mode::Train {
            let (shape, conv) = (self.shape(), &self.place(conv));
            let listed = self.listed(&shape);
            let (own, of_bias) = self.own_values(&shape);
            let weight = conv.listed("weight", listed, shape, Role::Parameter, own);
            let bias = self.bias.unwrap_or(norm.is_none());
            let bias = bias.then(|| conv.weight("bias", [channels], of_bias));
            let way = match self.kind {
                ConvKind::Plain | ConvKind::SamePadding => Way::Plain,
                ConvKind::Standardised => Way::Standardised,
                ConvKind::Adaptive => Way::Adaptive(Box::new(Adaptive::new(&weight, conv))),
                ConvKind::Deformable { modulated, sets } => {
                    Way::Deformable(Box::new(Offsets::new(self, modulated, sets, conv)))
                }
                ConvKind::Switchable { deform } => {
                    Way::Switchable(Box::new(Switchable::live(self, &weight, deform, conv)))
                }
            };
            let norm = norm.map(|(config, at)| config.init(channels, at));
            return ConvNormAct {
                norm,
                way,
                ..self.layer(weight, bias)
            };
        }
        let foldable = !matches!(self.kind, ConvKind::Switchable { .. });
        let fixed = norm.filter(|(config, _)| foldable && config.has_fixed_statistics());
        let with_bias = self.bias.unwrap_or(norm.is_none());
        let (weight, bias, way) = self.clone().bias(with_bias).final_values(conv, fixed);
        let rest = norm.filter(|_| fixed.is_none());
        let rest = rest.map(|(config, at)| config.init(channels, at));
        ConvNormAct {
            norm: rest,
            way,
            ..self.of_values(weight, bias, conv)
        }
    }

    /// Filters and biases that are final; a norm is folded into them. Empty in [`Mode::Plan`].
    pub(super) fn folded(
        &self,
        conv: &Params,
        norm: Option<(&NormConfig, &Params)>,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let (weight, bias, _) = self.final_values(conv, norm);
        (weight, bias)
    }

    /// As [`ConvConfig::folded`], with what is done in place of a convolution by these filters.
    fn final_values(
        &self,
        conv: &Params,
        norm: Option<(&NormConfig, &Params)>,
    ) -> (Vec<f32>, Option<Vec<f32>>, Way) {
        let (shape, conv, channels) = (self.shape(), &self.place(conv), self.channels_out);
        let (own, of_bias) = self.own_values(&shape);
        let mut weight = conv.values("weight", self.listed(&shape), own);
        let with_bias = self.bias.unwrap_or(norm.is_none());
        let bias = with_bias.then(|| conv.values("bias", &[channels], of_bias));
        let mut way = Way::Plain;
        match self.kind {
            ConvKind::Plain | ConvKind::SamePadding => {}
            ConvKind::Standardised => standardise_values(&mut weight, channels),
            ConvKind::Adaptive => standardise_adaptively(&mut weight, channels, conv),
            ConvKind::Deformable { modulated, sets } => {
                way = Way::Deformable(Box::new(Offsets::new(self, modulated, sets, conv)));
            }
            ConvKind::Switchable { deform } => {
                let made = Switchable::fixed(self, &mut weight, deform, conv);
                way = Way::Switchable(Box::new(made));
            }
        }
        match norm {
            Some((config, at)) => {
                let bias = fold(config, channels, at, &mut weight, bias);
                (weight, Some(bias), way)
            }
            None => (weight, bias, way),
        }
    }

    /// The layer of values that are final.
    pub(super) fn of_values(
        &self,
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
        at: &Params,
    ) -> ConvNormAct {
        let bias = bias.map(|b| at.upload(b, [self.channels_out]));
        self.layer(at.upload(weight, self.shape()), bias)
    }

    fn layer(&self, weight: Weight<4>, bias: Option<Weight<1>>) -> ConvNormAct {
        ConvNormAct {
            weight,
            bias,
            norm: None,
            way: Way::Plain,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
            act: self.act,
        }
    }

    /// The place, said to belong to such a layer.
    fn place(&self, conv: &Params) -> Params {
        // What `paramwise_cfg` takes for depthwise (mmengine's DefaultOptimWrapperConstructor), one input channel among it.
        let layer = conv.layer(match self.channels_in == self.groups {
            _ if self.linear => LayerKind::Linear,
            _ if self.offsets => LayerKind::Offsets,
            _ if matches!(self.kind, ConvKind::Deformable { .. }) => LayerKind::Conv,
            true => LayerKind::DepthwiseConv,
            false => LayerKind::Conv,
        });
        layer.class(match self.linear {
            true => &["Linear"],
            false => self.kind.classes(),
        })
    }

    /// The weight's shape in the state dict.
    fn listed<'s>(&self, shape: &'s [usize; 4]) -> &'s [usize] {
        if self.linear { &shape[..2] } else { shape }
    }

    /// Whether filters that are summed have the sum's result: none is to see other zeros at the end than the others, or other places.
    pub(super) fn is_centred(&self) -> bool {
        let moves = matches!(
            self.kind,
            ConvKind::Deformable { .. } | ConvKind::Switchable { .. }
        );
        !moves && self.kind != ConvKind::SamePadding && self.padding != Padding::Same
    }

    /// Adds smaller filters of as many channels to the middle of these, of the size of this layer.
    pub(super) fn add_centred(&self, filters: &mut [f32], smaller: &[f32], [h, w]: [usize; 2]) {
        let [height, width] = self.kernel;
        let (top, left) = ((height - h) / 2, (width - w) / 2);
        let each = filters.chunks_exact_mut(height * width);
        for (filter, smaller) in each.zip(smaller.chunks_exact(h * w)) {
            for (y, row) in smaller.chunks_exact(w).enumerate() {
                let at = (top + y) * width + left;
                let into = filter[at..at + w].iter_mut();
                into.zip(row).for_each(|(into, value)| *into += value);
            }
        }
    }

    /// Adds to these filters what multiplies each channel by a factor.
    pub(super) fn add_factors(&self, filters: &mut [f32], factors: &[f64]) {
        let [_, inputs, height, width] = self.shape();
        let middle = height / 2 * width + width / 2;
        for (c, factor) in factors.iter().enumerate() {
            let at = (c * inputs + c % inputs) * height * width + middle;
            filters[at] = (f64::from(filters[at]) + factor) as f32;
        }
    }

    pub(super) fn kernel_size(&self) -> [usize; 2] {
        self.kernel
    }

    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    pub(super) fn channels_in(&self) -> usize {
        self.channels_in
    }

    pub(super) fn step(&self) -> usize {
        self.stride
    }

    /// What weight and bias get by themselves.
    fn own_values(&self, shape: &[usize]) -> (Init, Init) {
        let zero = Init::Constant(0.0);
        match self.kind {
            _ if self.offsets => (zero, zero),
            ConvKind::Deformable {
                modulated: false, ..
            } => {
                let relu = Init::Kaiming {
                    gain: std::f64::consts::SQRT_2,
                    fan: Fan::In,
                    distribution: Distribution::Uniform,
                };
                (relu, zero)
            }
            ConvKind::Deformable { .. } => {
                // of all input channels, whatever the groups
                let fan = (self.channels_in * self.taps()) as f64;
                let bound = fan.sqrt().recip();
                let uniform = Init::Uniform {
                    a: -bound,
                    b: bound,
                };
                (uniform, zero)
            }
            _ => (Init::TORCH, Init::torch_bias(shape)),
        }
    }

    pub(super) fn channels_out(&self) -> usize {
        self.channels_out
    }

    /// What [`ConvNormAct::forward`] applies last.
    pub(super) fn last(&self) -> Option<Activation> {
        self.act
    }
}

/// Added to the deviation of filters (mmcv's `conv_ws_2d`).
const STANDARDISE_EPS: f32 = 1e-5;

/// Gives each of `filters` filters mean 0 and deviation 1.
fn standardise_values(weight: &mut [f32], filters: usize) {
    if weight.is_empty() {
        return;
    }
    let n = weight.len() / filters;
    for filter in weight.chunks_mut(n) {
        let mean = filter.iter().sum::<f32>() / n as f32;
        let var = filter.iter().map(|w| (w - mean).powi(2)).sum::<f32>() / (n - 1) as f32;
        let scale = 1.0 / (var.sqrt() + STANDARDISE_EPS);
        filter.iter_mut().for_each(|w| *w = (*w - mean) * scale);
    }
}

/// [`standardise_values`] of weights that change, on their device.
fn standardise(weight: Tensor<4>) -> Tensor<4> {
    let dims = weight.dims();
    let n = dims[1] * dims[2] * dims[3];
    let flat = weight.reshape([dims[0], n]);
    let centred = flat.clone() - flat.mean_dim(1);
    let var = centred.clone().square().sum_dim(1) / (n - 1) as f32;
    (centred / (var.sqrt() + STANDARDISE_EPS)).reshape(dims)
}

/// Scales the filters in place so that the norm after them vanishes, and gives the bias that remains.
pub(super) fn fold(
    norm: &NormConfig,
    channels: usize,
    at: &Params,
    weight: &mut [f32],
    bias: Option<Vec<f32>>,
) -> Vec<f32> {
    let (scales, shifts) = norm.values(channels, at);
    let per_filter = weight.len() / channels.max(1);
    let mut folded = Vec::with_capacity(scales.len());
    for (c, (scale, shift)) in scales.into_iter().zip(shifts).enumerate() {
        for w in &mut weight[c * per_filter..(c + 1) * per_filter] {
            *w = (f64::from(*w) * scale) as f32;
        }
        let before = bias.as_ref().map_or(0.0, |b| b[c]);
        folded.push((f64::from(before) * scale + shift) as f32);
    }
    folded
}

/// A convolution, then a norm unless it is folded, then an activation.
#[derive(Debug)]
pub struct ConvNormAct {
    weight: Weight<4>,
    bias: Option<Weight<1>>,
    norm: Option<Norm>,
    way: Way,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    dilation: usize,
    groups: usize,
    act: Option<Activation>,
}

/// What is done to the filters at each use, where they change, or in place of a convolution by them.
#[derive(Debug)]
enum Way {
    Plain,
    Standardised,
    Adaptive(Box<Adaptive>),
    Deformable(Box<Offsets>),
    Switchable(Box<Switchable>),
}

impl ConvNormAct {
    /// # Shapes
    /// - input: `[N, C, H, W]`
    /// - output: `[N, C_out, H', W']`, `H' = (H + padding - dilation * (kernel - 1) - 1) / stride + 1`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, None, self.act)
    }

    /// As [`ConvNormAct::forward`], `shortcut` added before the activation: the end of a residual block.
    ///
    /// # Shapes
    /// - shortcut: that of the output
    pub fn forward_onto(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        self.run(x, Some(shortcut), self.act)
    }

    /// As [`ConvNormAct::forward`], without the activation.
    pub fn forward_bare(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, None, None)
    }

    /// Whether its norm takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        self.norm.as_ref().is_some_and(Norm::learning)
    }

    /// As [`ConvNormAct::forward`], with steps between taps of another length and as many zeros on every side.
    ///
    /// # Shapes
    /// - output: for a kernel of 3x3 as in [`ConvNormAct::forward`]
    pub fn forward_dilated(&self, x: Tensor<4>, dilation: usize) -> Tensor<4> {
        let even = Padding::Even(dilation);
        self.run_with(x, None, self.act, (even, dilation))
    }

    fn run(&self, x: Tensor<4>, add: Option<Tensor<4>>, act: Option<Activation>) -> Tensor<4> {
        self.run_with(x, add, act, (self.padding, self.dilation))
    }

    fn run_with(
        &self,
        x: Tensor<4>,
        add: Option<Tensor<4>>,
        act: Option<Activation>,
        (padding, dilation): (Padding, usize),
    ) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let sides =
            |axis: usize, size| padding.sides(axis, size, self.kernel[axis], self.stride, dilation);
        let shape = ConvShape {
            stride: [self.stride; 2],
            padding: [sides(0, h), sides(1, w)],
            dilation: [dilation; 2],
            groups: self.groups,
            precision: self.weight.precision(),
        };
        let bias = self.bias.as_ref().map(Weight::get);
        let Some(norm) = &self.norm else {
            return self.convolve(x, &shape, Finish { bias, add, act });
        };
        let before = Finish {
            bias,
            ..Finish::default()
        };
        let mut finish = Finish {
            bias: None,
            add,
            act,
        };
        let x = norm.forward_with(self.convolve(x, &shape, before), &mut finish);
        finish.apply(x)
    }

    fn convolve(&self, x: Tensor<4>, shape: &ConvShape, mut finish: Finish) -> Tensor<4> {
        match &self.way {
            Way::Plain => conv2d(x, &self.weight, shape, finish),
            Way::Standardised => {
                let weight = standardise(self.weight.get()).into();
                conv2d(x, &weight, shape, finish)
            }
            Way::Adaptive(adaptive) => {
                let weight = adaptive.apply(self.weight.get()).into();
                conv2d(x, &weight, shape, finish)
            }
            Way::Deformable(offsets) => finish.apply(offsets.convolve(x, self.weight.get(), shape)),
            Way::Switchable(switch) => {
                // The original has one, and takes none.
                finish.bias = None;
                finish.apply(switch.convolve(x, &self.weight, shape))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{StateEntry, TensorSource};
    use burn::tensor::Device;

    /// Values that depend on the key and the position, variances positive.
    struct Formula;
    impl TensorSource for Formula {
        fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
            let StateEntry { key, shape, .. } = entry;
            let n = shape.iter().product::<usize>();
            let k = key.len() as f32;
            let values = (0..n).map(|i| ((i as f32 + k) * 1.7).sin() * 0.5);
            Some(if key.ends_with("var") {
                values.map(|v| 1.0 + v).collect()
            } else {
                values.collect()
            })
        }
    }

    /// Output of a layer that does not learn.
    fn run(mode: Mode, config: &ConvConfig, norm: Option<NormConfig>) -> (Vec<f32>, [usize; 4]) {
        let device = Device::flex();
        let params = Params::new(&device, mode, Some(Box::new(Formula)));
        let at = params.at("bn");
        let layer = config.init(&params.at("conv"), norm.as_ref().map(|n| (n, &at)));
        params.store().learn("", false);
        let x: Vec<f32> = (0..4 * 7 * 5).map(|i| (i as f32 * 0.9).cos()).collect();
        let x = Tensor::<1>::from_floats(x.as_slice(), &device).reshape([1, 4, 7, 5]);
        let y = layer.forward(x);
        let dims = y.dims();
        (y.into_data().try_into_vec().unwrap(), dims)
    }

    #[test]
    fn folding_changes_nothing() {
        let kinds = [ConvKind::Plain, ConvKind::Standardised];
        for (groups, kind) in [(1, kinds[0]), (4, kinds[0]), (1, kinds[1]), (4, kinds[1])] {
            let config = ConvConfig::new(4, 8, 3)
                .pad(1)
                .stride(2)
                .groups(groups)
                .kind(kind)
                .act(Some(Activation::Relu));
            let (folded, dims) = run(Mode::Fixed, &config, Some(NormConfig::batch(1e-3)));
            let (plain, _) = run(Mode::Train, &config, Some(NormConfig::batch(1e-3)));
            assert_eq!(dims, [1, 8, 4, 3]);
            for (a, b) in folded.iter().zip(&plain) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_shortcut_is_added_before_the_activation() {
        let device = Device::flex();
        let norms = [None, Some(NormConfig::batch(1e-5))];
        for (mode, norm) in [Mode::Fixed, Mode::Train]
            .into_iter()
            .flat_map(|mode| norms.clone().map(|norm| (mode, norm)))
        {
            let params = Params::new(&device, mode, Some(Box::new(Formula)));
            let at = params.at("bn");
            let norm = norm.as_ref().map(|n| (n, &at));
            let config = ConvConfig::new(2, 2, 1);
            let plain = config.init(&params.at("conv"), norm);
            let config = config.act(Some(Activation::Relu));
            let params = Params::new(&device, mode, Some(Box::new(Formula)));
            let (conv, at) = (params.at("conv"), params.at("bn"));
            let relu = config.init(&conv, norm.map(|(n, _)| (n, &at)));
            let x = Tensor::<1>::from_floats([1.0, -2.0, 0.5, 3.0], &device);
            let x = x.reshape([1, 2, 1, 2]);
            let want = Activation::Relu.forward(plain.forward(x.clone()) + x.clone());
            let got = relu.forward_onto(x.clone(), x);
            got.into_data().assert_eq(&want.into_data(), true);
        }
    }

    #[test]
    fn same_padding_is_tensorflows() {
        // 7 rows, stride 2: 4 outputs need 9 rows with a 3x3 filter, one zero on each side;
        // 5 columns alike. An even size needs a single zero, at the end.
        assert_eq!(Padding::Same.sides(0, 7, 3, 2, 1), (1, 1));
        assert_eq!(Padding::Same.sides(0, 8, 3, 2, 1), (0, 1));
        assert_eq!(Padding::Same.sides(0, 8, 5, 1, 1), (2, 2));
        assert_eq!(Padding::Same.sides(0, 5, 1, 2, 1), (0, 0));
        let config = ConvConfig::new(4, 2, 3).stride(2).padding(Padding::Same);
        assert_eq!(run(Mode::Fixed, &config, None).1, [1, 2, 4, 3]);
    }

    #[test]
    fn a_small_picture_has_one_place() {
        // Four columns are one tap short of a 1x5 filter.
        let row = ConvConfig::new(4, 2, 1).kernel([1, 5]);
        assert_eq!(run(Mode::Fixed, &row, None).1, [1, 2, 7, 1]);
        assert_eq!(Padding::Even(0).sides(1, 4, 5, 1, 1), (0, 1));
        assert_eq!(Padding::Each([0, 2]).sides(1, 4, 5, 1, 1), (2, 2));
        assert_eq!(Padding::Each([0, 2]).sides(0, 2, 4, 4, 1), (0, 2));
    }

    #[test]
    fn a_linear_layer_is_a_convolution_of_one_place() {
        for mode in [Mode::Fixed, Mode::Train] {
            let params = Params::new(&Device::flex(), mode, None);
            let layer = ConvConfig::new(4, 8, 1).linear();
            let layer = layer.init(&params.at("fc"), None);
            let state = params.state();
            assert_eq!(
                (state[0].shape.as_slice(), state[1].shape.as_slice()),
                (&[8, 4][..], &[8][..])
            );
            let y = layer.forward(Tensor::ones([1, 4, 2, 3], &Device::flex()));
            assert_eq!(y.dims(), [1, 8, 2, 3]);
        }
    }

    #[test]
    fn standardised_filters_have_mean_zero_and_deviation_one() {
        let mut w = vec![1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
        standardise_values(&mut w, 2);
        for filter in w.chunks(4) {
            assert!(filter.iter().sum::<f32>().abs() < 1e-5);
            let var = filter.iter().map(|x| x * x).sum::<f32>() / 3.0;
            assert!((var - 1.0).abs() < 1e-4);
        }
    }
}
