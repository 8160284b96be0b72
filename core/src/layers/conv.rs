//! Convolution, norm, activation: the one layer through which every convolution goes (mmcv's `ConvModule`, and the
//! bare convolutions and norms of ResNet and timm). A norm with fixed statistics is folded into the weights when a model is
//! built to stay as it is, before anything reaches the device.
//!
//! Shapes: x `[N, C, H, W]`, weight `[C_out, C / groups, KH, KW]`, bias `[C_out]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Activation, Init, LayerKind, Mode, Norm, NormConfig, Params, Weight};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// A `conv_cfg` dict.
#[derive(Clone, Debug, Deserialize)]
pub struct ConvLayerConfig {
    /// Registered name: `Conv2d`, `Conv`, `ConvWS` or `Conv2dAdaptivePadding`.
    #[serde(rename = "type")]
    pub kind: String,
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
}

impl ConvKind {
    /// The class of mmcv's or PyTorch's, and what it is derived from.
    fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["Conv2d", "_ConvNd"],
            Self::Standardised => &["ConvWS2d", "Conv2d"],
            Self::SamePadding => &["Conv2dAdaptivePadding", "Conv2d"],
        }
    }
}

impl ConvLayerConfig {
    /// What the name means; an error names those that are known.
    pub fn conv_kind(&self) -> Result<ConvKind, String> {
        match self.kind.rsplit('.').next().unwrap_or_default() {
            "Conv2d" | "Conv" => Ok(ConvKind::Plain),
            "ConvWS" => Ok(ConvKind::Standardised),
            "Conv2dAdaptivePadding" => Ok(ConvKind::SamePadding),
            other => Err(format!(
                "unknown convolution `{other}`; known are Conv2d, Conv, ConvWS, Conv2dAdaptivePadding"
            )),
        }
    }
}

/// Zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many on every side.
    Even(usize),
    /// As TensorFlow's `SAME`: as many as make the output `ceil(input / stride)`, the odd one at the end.
    Same,
    /// As many as `Same`, all at the end (mmcv's `AdaptivePadding` of `'corner'`).
    Corner,
}

impl Padding {
    /// Zeros before and after one axis of `size`.
    pub fn sides(
        self,
        size: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> (usize, usize) {
        match self {
            Padding::Even(p) => (p, p),
            Padding::Same | Padding::Corner => {
                let needed = (size.div_ceil(stride) - 1) * stride + dilation * (kernel - 1) + 1;
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
    kernel: usize,
    stride: usize,
    padding: Padding,
    dilation: usize,
    groups: usize,
    bias: Option<bool>,
    kind: ConvKind,
    act: Option<Activation>,
}

impl ConvConfig {
    /// A square convolution of stride 1 without padding or activation.
    pub fn new(channels_in: usize, channels_out: usize, kernel: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            kernel,
            stride: 1,
            padding: Padding::Even(0),
            dilation: 1,
            groups: 1,
            bias: None,
            kind: ConvKind::Plain,
            act: None,
        }
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

    fn shape(&self) -> [usize; 4] {
        let inputs = self.channels_in / self.groups;
        [self.channels_out, inputs, self.kernel, self.kernel]
    }

    /// What one input channel of a group goes to: filters of the group, times their taps.
    pub fn fan_out_of_group(&self) -> usize {
        self.kernel * self.kernel * self.channels_out / self.groups
    }

    /// What it makes of a side of `size` pixels; none if the filter does not fit in.
    pub fn side(&self, size: usize) -> Option<usize> {
        let (before, after) = self
            .padding
            .sides(size, self.kernel, self.stride, self.dilation);
        let filter = self.dilation * (self.kernel - 1) + 1;
        let rest = (size + before + after).checked_sub(filter)?;
        Some(rest / self.stride + 1)
    }

    /// Builds the layer: the convolution's tensors below `conv`, the norm's below the other place.
    ///
    /// # Panics
    /// If the norm config is not valid ([`NormConfig::norm_kind`]) or a size is zero.
    pub fn init(&self, conv: &Params, norm: Option<(&NormConfig, &Params)>) -> ConvNormAct {
        let shape = self.shape();
        // What `paramwise_cfg` takes for depthwise (mmengine's DefaultOptimWrapperConstructor), one input channel among it.
        let layer = conv.layer(if self.channels_in == self.groups {
            LayerKind::DepthwiseConv
        } else {
            LayerKind::Conv
        });
        let conv = &layer.class(self.kind.classes());
        let channels = self.channels_out;
        let with_bias = self.bias.unwrap_or(norm.is_none());
        let bias_init = Init::torch_bias(&shape);
        let layer = |weight, bias, norm, standardise| ConvNormAct {
            weight,
            bias,
            norm,
            standardise,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
            act: self.act,
        };
        let standardised = self.kind == ConvKind::Standardised;
        if conv.mode() == Mode::Train {
            let weight = conv.weight("weight", shape, Init::TORCH);
            let bias = with_bias.then(|| conv.weight("bias", [channels], bias_init));
            let norm = norm.map(|(config, at)| config.init(channels, at));
            return layer(weight, bias, norm, standardised);
        }

        let mut weight = conv.values("weight", &shape, Init::TORCH);
        if standardised {
            standardise_values(&mut weight, channels);
        }
        let mut bias = with_bias.then(|| conv.values("bias", &[channels], bias_init));
        let mut rest = None;
        if let Some((config, at)) = norm {
            if config.has_fixed_statistics() {
                bias = Some(fold(config, channels, at, &mut weight, bias));
            } else {
                rest = Some(config.init(channels, at));
            }
        }
        let bias = bias.map(|b| conv.upload(b, [channels]));
        layer(conv.upload(weight, shape), bias, rest, false)
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
    /// Whether the filters are standardised at each use; they are once and for all where they do not change.
    standardise: bool,
    kernel: usize,
    stride: usize,
    padding: Padding,
    dilation: usize,
    groups: usize,
    act: Option<Activation>,
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

    fn run(&self, x: Tensor<4>, add: Option<Tensor<4>>, act: Option<Activation>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let sides = |size| {
            self.padding
                .sides(size, self.kernel, self.stride, self.dilation)
        };
        let shape = ConvShape {
            stride: [self.stride; 2],
            padding: [sides(h), sides(w)],
            dilation: [self.dilation; 2],
            groups: self.groups,
        };
        let standardised;
        let weight = if self.standardise {
            standardised = standardise(self.weight.get()).into();
            &standardised
        } else {
            &self.weight
        };
        let bias = self.bias.as_ref().map(Weight::get);
        let Some(norm) = &self.norm else {
            return conv2d(x, weight, &shape, Finish { bias, add, act });
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
        let x = norm.forward_with(conv2d(x, weight, &shape, before), &mut finish);
        finish.apply(x)
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
        assert_eq!(Padding::Same.sides(7, 3, 2, 1), (1, 1));
        assert_eq!(Padding::Same.sides(8, 3, 2, 1), (0, 1));
        assert_eq!(Padding::Same.sides(8, 5, 1, 1), (2, 2));
        assert_eq!(Padding::Same.sides(5, 1, 2, 1), (0, 0));
        let config = ConvConfig::new(4, 2, 3).stride(2).padding(Padding::Same);
        assert_eq!(run(Mode::Fixed, &config, None).1, [1, 2, 4, 3]);
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
