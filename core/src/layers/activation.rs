//! Activations, by the names that mmcv registers.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use crate::ops::activate::activate;

/// An `act_cfg` dict.
#[derive(Clone, Debug, Deserialize)]
pub struct ActConfig {
    /// Registered name, for example `ReLU`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Accepted for compatibility; ours are never in place.
    pub inplace: Option<bool>,
    /// `LeakyReLU`'s slope below zero, 0.01 if absent.
    pub negative_slope: Option<f64>,
    /// `ELU`'s alpha, 1 if absent.
    pub alpha: Option<f64>,
    /// `Clip`: lower bound, -1 if absent.
    pub min: Option<f64>,
    /// `Clip`: upper bound, 1 if absent.
    pub max: Option<f64>,
    /// `HSigmoid`: added to the input, 3 if absent.
    pub bias: Option<f64>,
    /// `HSigmoid`: divides the sum, 6 if absent.
    pub divisor: Option<f64>,
    /// `HSigmoid`: lower bound, 0 if absent.
    pub min_value: Option<f64>,
    /// `HSigmoid`: upper bound, 1 if absent.
    pub max_value: Option<f64>,
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x` above zero, `slope * x` below.
    LeakyRelu(f64),
    /// `x` above zero, `alpha * (exp(x) - 1)` below.
    Elu(f64),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * sigmoid(x)`, also called Swish.
    Silu,
    /// `x * relu6(x + 3) / 6`
    HSwish,
    /// `clamp((x + bias) / divisor, min, max)`
    HSigmoid {
        /// Added first.
        bias: f64,
        /// Divides the sum.
        divisor: f64,
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// Gaussian error linear unit, exact form.
    Gelu,
    /// Gaussian error linear unit, by a hyperbolic tangent.
    GeluTanh,
    /// `x * sigmoid(1.702 * x)`
    QuickGelu,
    /// `x * tanh(softplus(x))`
    Mish,
    /// Values limited to a range.
    Clip(f64, f64),
}

impl Activation {
    /// Names that [`Activation::from_config`] knows.
    pub const NAMES: [&'static str; 15] = [
        "ReLU",
        "ReLU6",
        "LeakyReLU",
        "ELU",
        "Sigmoid",
        "SiLU",
        "Swish",
        "HSwish",
        "HSigmoid",
        "Tanh",
        "GELU",
        "QuickGELU",
        "Mish",
        "Clip",
        "Clamp",
    ];

    /// The function that an `act_cfg` names; `None` if the name is unknown.
    pub fn from_config(config: &ActConfig) -> Option<Self> {
        let name = config.kind.rsplit('.').next().unwrap_or_default();
        Some(match name {
            "ReLU" => Self::Relu,
            "ReLU6" => Self::Relu6,
            "LeakyReLU" => Self::LeakyRelu(config.negative_slope.unwrap_or(0.01)),
            "ELU" => Self::Elu(config.alpha.unwrap_or(1.0)),
            "Sigmoid" => Self::Sigmoid,
            "SiLU" | "Swish" => Self::Silu,
            "HSwish" | "Hardswish" => Self::HSwish,
            "HSigmoid" => Self::HSigmoid {
                bias: config.bias.unwrap_or(3.0),
                divisor: config.divisor.unwrap_or(6.0),
                min: config.min_value.unwrap_or(0.0),
                max: config.max_value.unwrap_or(1.0),
            },
            "Tanh" => Self::Tanh,
            "GELU" => Self::Gelu,
            "QuickGELU" => Self::QuickGelu,
            "Mish" => Self::Mish,
            "Clip" | "Clamp" => Self::Clip(config.min.unwrap_or(-1.0), config.max.unwrap_or(1.0)),
            _ => return None,
        })
    }

    /// Applies the function to every element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if let Some(y) = activate(&x, self) {
            return y;
        }
        match self {
            Self::Relu => activation::relu(x),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::LeakyRelu(slope) => activation::leaky_relu(x, slope),
            Self::Elu(alpha) => activation::elu(x, alpha),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Silu => activation::silu(x),
            Self::HSwish => x.clone() * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::HSigmoid {
                bias,
                divisor,
                min,
                max,
            } => ((x + bias) / divisor).clamp(min, max),
            Self::Tanh => activation::tanh(x),
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => {
                let cubic = x.clone() + x.clone().powi_scalar(3) * 0.044_715;
                let angle = cubic * (2.0 / std::f64::consts::PI).sqrt();
                x * 0.5 * (angle.tanh() + 1.0)
            }
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Self::Mish => activation::mish(x),
            Self::Clip(min, max) => x.clamp(min, max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn apply(act: Activation, x: [f32; 5]) -> Vec<f32> {
        let x = Tensor::<1>::from_floats(x, &Device::flex());
        act.forward(x).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn values_by_hand() {
        let x = [-4.0, -1.0, 0.0, 1.0, 8.0];
        assert_eq!(apply(Activation::Relu, x), [0.0, 0.0, 0.0, 1.0, 8.0]);
        assert_eq!(apply(Activation::Relu6, x), [0.0, 0.0, 0.0, 1.0, 6.0]);
        let hswish = apply(Activation::HSwish, x);
        for (got, want) in hswish.iter().zip([0.0, -1.0 / 3.0, 0.0, 2.0 / 3.0, 8.0]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        let act = Activation::HSigmoid {
            bias: 3.0,
            divisor: 6.0,
            min: 0.0,
            max: 1.0,
        };
        for (got, want) in apply(act, x)
            .iter()
            .zip([0.0, 1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0])
        {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        let silu = apply(Activation::Silu, x);
        assert!((silu[3] - 0.731_058_6).abs() < 1e-6);
    }

    #[test]
    fn every_listed_name_is_known() {
        for name in Activation::NAMES {
            let config: ActConfig =
                serde_json::from_value(serde_json::json!({ "type": name })).unwrap();
            assert!(Activation::from_config(&config).is_some(), "{name}");
        }
    }
}
