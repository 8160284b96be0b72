//! [`NormedConv`]: a convolution of directions, not of magnitudes (MMDetection's `NormedConv2d`; seesaw loss, Wang et al. 2021,
//! arXiv 2008.10032, section 3.3).

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Init, LayerKind, Params, Weight};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// The keys of `type='NormedConv2d'`.
#[derive(Clone, Debug, Deserialize)]
pub struct NormedConvConfig {
    /// Factor of the normalised input, 20 if absent; the original's spelling.
    pub tempearture: Option<f64>,
    /// Exponent of the magnitudes, 1 if absent.
    pub power: Option<f64>,
    /// Added to the magnitudes, 1e-6 if absent.
    pub eps: Option<f64>,
    /// Magnitude of a whole filter, not of each of its taps.
    pub norm_over_kernel: Option<bool>,
    /// Whether there is a bias, true if absent.
    pub bias: Option<bool>,
}

/// A 1x1 convolution of normalised vectors.
#[derive(Debug)]
pub struct NormedConv {
    weight: Weight<4>,
    bias: Option<Weight<1>>,
    temperature: f64,
    power: f64,
    eps: f64,
}

impl NormedConvConfig {
    /// A 1x1 convolution, its tensors at `at`. Over 1x1 filters `norm_over_kernel` makes no difference.
    pub fn init(&self, channels_in: usize, channels_out: usize, at: &Params) -> NormedConv {
        let shape = [channels_out, channels_in, 1, 1];
        let at = &at.layer(LayerKind::Conv).class(&["NormedConv2d", "Conv2d"]);
        NormedConv {
            weight: at.weight("weight", shape, Init::TORCH),
            bias: (self.bias != Some(false))
                .then(|| at.weight("bias", [channels_out], Init::torch_bias(&shape))),
            temperature: self.tempearture.unwrap_or(20.0),
            // burn takes whole powers for 64-bit integers; a larger one makes 0 or infinity as well.
            power: self.power.unwrap_or(1.0).clamp(-1e18, 1e18),
            eps: self.eps.unwrap_or(1e-6),
        }
    }
}

impl NormedConv {
    /// # Shapes
    /// - input `[N, C, H, W]`, output `[N, C_out, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.direction(self.weight.get());
        let x = self.direction(x) * self.temperature;
        let shape = ConvShape {
            stride: [1; 2],
            padding: [(0, 0); 2],
            dilation: [1; 2],
            groups: 1,
            precision: self.weight.precision(),
        };
        let finish = Finish {
            bias: self.bias.as_ref().map(Weight::get),
            ..Finish::default()
        };
        conv2d(x, &weight.into(), &shape, finish)
    }

    /// Each vector along axis 1 divided by its magnitude.
    fn direction(&self, x: Tensor<4>) -> Tensor<4> {
        let magnitude = x.clone().square().sum_dim(1).sqrt();
        let magnitude = if self.power == 1.0 {
            magnitude
        } else {
            magnitude.powf_scalar(self.power)
        };
        x / (magnitude + self.eps)
    }
}
