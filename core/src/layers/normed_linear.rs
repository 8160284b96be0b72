//! [`NormedLinear`]: a product of directions, not of magnitudes (MMDetection's `NormedLinear`; seesaw loss, Wang et al. 2021, arXiv 2008.10032,
//! section 3.3).

use burn::tensor::Tensor;

use super::{Init, LayerKind, Params, Weight};

/// A fully connected layer of normalised vectors.
#[derive(Debug)]
pub struct NormedLinear {
    weight: Weight<2>,
    bias: Option<Weight<1>>,
    /// Factor of the normalised input.
    pub temperature: f64,
    /// Exponent of the magnitudes.
    pub power: f64,
    /// Added to the magnitudes.
    pub eps: f64,
}

impl NormedLinear {
    /// With the original's defaults.
    pub fn new(inputs: usize, outputs: usize, bias: bool, at: &Params) -> Self {
        let at = &at
            .layer(LayerKind::Linear)
            .class(&["NormedLinear", "Linear"]);
        Self {
            weight: at.weight("weight", [outputs, inputs], Init::normal(0.01)),
            bias: bias.then(|| at.weight("bias", [outputs], Init::Constant(0.0))),
            temperature: 20.0,
            power: 1.0,
            eps: 1e-6,
        }
    }

    /// # Shapes
    /// - input `[R, inputs]`, output `[R, outputs]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.direction(self.weight.get());
        let x = self.direction(x) * self.temperature;
        let y = x.matmul(weight.transpose());
        match &self.bias {
            Some(bias) => y + bias.get().unsqueeze(),
            None => y,
        }
    }

    /// Each row divided by its magnitude.
    fn direction(&self, x: Tensor<2>) -> Tensor<2> {
        let magnitude = x.clone().square().sum_dim(1).sqrt();
        let magnitude = if self.power == 1.0 {
            magnitude
        } else {
            // burn takes whole powers for 64-bit integers; a larger one makes 0 or infinity as well.
            magnitude.powf_scalar(self.power.clamp(-1e18, 1e18))
        };
        x / (magnitude + self.eps)
    }
}
