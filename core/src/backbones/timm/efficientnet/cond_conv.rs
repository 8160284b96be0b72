//! A convolution whose filters are a mixture of several sets, one mixture for each picture (CondConv, Yang et al. 2019, arXiv 1904.04971).
//!
//! Shapes: x `[N, C, H, W]`, shares of the sets `[N, experts]`, result `[N, C', ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::Tensor;

use crate::layers::{Activation, Init, LayerKind, Norm, NormConfig, Padding, Params, Weight};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// How to make a [`CondConv`].
#[derive(Clone, Copy, Debug)]
pub(super) struct CondConvConfig {
    /// Sets of filters.
    pub experts: usize,
    /// `[C', C / groups, K, K]`.
    pub filters: [usize; 4],
    /// Between outputs.
    pub stride: usize,
    /// Between taps.
    pub dilation: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Of channels.
    pub groups: usize,
}

/// A convolution by the mixture of each picture, then a norm and an activation.
#[derive(Debug)]
pub(super) struct CondConv {
    weight: Weight<2>,
    config: CondConvConfig,
    norm: Norm,
    act: Option<Activation>,
}

impl CondConv {
    /// `norm` is how its norm is made, and where.
    pub fn new(
        config: CondConvConfig,
        norm: (&NormConfig, &Params),
        act: Option<Activation>,
        at: &Params,
    ) -> Self {
        let inputs = config.filters[1..].iter().product::<usize>();
        let bound = (inputs as f64).sqrt().recip();
        let init = Init::Uniform {
            a: -bound,
            b: bound,
        };
        let shape = [config.experts, config.filters[0] * inputs];
        let at = at.layer(LayerKind::Conv).class(&["CondConv2d"]);
        Self {
            weight: at.weight("weight", shape, init),
            config,
            norm: norm.0.init(config.filters[0], norm.1),
            act,
        }
    }

    /// Whether its norm takes in statistics.
    pub fn learning(&self) -> bool {
        self.norm.learning()
    }

    /// The shapes at the top of the file. The pictures are groups of one convolution.
    pub fn forward(&self, x: Tensor<4>, shares: Tensor<2>) -> Tensor<4> {
        let CondConvConfig {
            filters: [out, inputs, kernel, _],
            stride,
            dilation,
            padding,
            groups,
            ..
        } = self.config;
        let [n, c, h, w] = x.dims();
        let filters = shares.matmul(self.weight.get());
        let filters = filters.reshape([n * out, inputs, kernel, kernel]).into();
        let shape = ConvShape {
            stride: [stride; 2],
            padding: [(0, h), (1, w)]
                .map(|(axis, size)| padding.sides(axis, size, kernel, stride, dilation)),
            dilation: [dilation; 2],
            groups: groups * n,
            precision: self.weight.precision(),
        };
        let x = x.reshape([1, n * c, h, w]);
        let y = conv2d(x, &filters, &shape, Finish::default());
        let [_, _, h, w] = y.dims();
        let y = self.norm.forward(y.reshape([n, out, h, w]));
        match self.act {
            Some(act) => act.forward(y),
            None => y,
        }
    }
}
