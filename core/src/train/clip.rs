//! [`Clip`]: bounds of gradients before a step (`clip_grad`), as PyTorch's `clip_grad_norm_` and `clip_grad_value_` have them.
//!
//! Gradients are measured in one pass and bounded by the optimizer as it reads them ([`Bounded`]), so that nothing is written in between.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::config::{Diagnostics, Dict, Node, error_at};
use crate::layers::Gradients;
use crate::ops::train::Measured;

/// How gradients are bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// All are scaled so that their common norm is at most this.
    Norm {
        /// `max_norm`.
        most: f64,
        /// `norm_type`; may be infinite.
        kind: f64,
        /// `error_if_nonfinite`: a norm that is no finite number is an error. The norm is read back therefore.
        finite: bool,
    },
    /// Each parameter's are scaled so that their own norm is at most this, as Detectron2 has it.
    Each {
        /// `max_norm`.
        most: f64,
        /// `norm_type`; may be infinite.
        kind: f64,
    },
    /// Each number is from the negative of this to this.
    Value(f64),
}

#[derive(Deserialize)]
struct NormConfig {
    max_norm: f64,
    norm_type: Option<Node>,
    error_if_nonfinite: Option<bool>,
    /// A key of ours: each parameter by itself.
    each: Option<bool>,
}

#[derive(Deserialize)]
struct ValueConfig {
    clip_value: f64,
}

impl Clip {
    /// A config's `clip_grad`.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub(super) fn read(node: &Node) -> Result<Self, Diagnostics> {
        if node.as_dict().is_none_or(Dict::is_empty) {
            let message =
                "`clip_grad` is a dict with `max_norm`, or with type='value' and `clip_value`";
            return Err(error_at(node, "", message, ""));
        }
        match node.get("type").map(|kind| (kind, kind.as_str())) {
            None | Some((_, Some("norm"))) => Self::read_norm(node),
            Some((_, Some("value"))) => {
                let config: ValueConfig = node.read_knowing(&["foreach"])?;
                if config.clip_value.is_nan() || config.clip_value < 0.0 {
                    let message = format!("`clip_value` is {}, it is 0 or more", config.clip_value);
                    return Err(error_at(node, "clip_value", message, ""));
                }
                Ok(Self::Value(config.clip_value))
            }
            Some(_) => {
                let message = "`type` of `clip_grad` is 'norm' or 'value'";
                Err(error_at(node, "type", message, ""))
            }
        }
    }

    fn read_norm(node: &Node) -> Result<Self, Diagnostics> {
        let config: NormConfig = node.read_knowing(&["foreach"])?;
        // As Python's float() has it.
        let number = |node: &Node| match node.as_str() {
            Some(text) => text.trim().parse().ok(),
            None => node.as_float(),
        };
        let kind = config.norm_type.as_ref().map_or(Some(2.0), number);
        let kind = kind.filter(|kind| *kind > 0.0).ok_or_else(|| {
            let message = "`norm_type` is a number above 0, or 'inf'";
            error_at(node, "norm_type", message, "")
        })?;
        if config.each == Some(true) {
            let most = config.max_norm;
            return Ok(Self::Each { most, kind });
        }
        Ok(Self::Norm {
            most: config.max_norm,
            kind,
            finite: config.error_if_nonfinite.unwrap_or(false),
        })
    }

    /// The bounds of gradients that are `scale` times what they should be; `measured` if the caller has measured them.
    pub(super) fn bounds(
        &self,
        gradients: &Gradients,
        measured: Option<&Measured>,
        scale: f32,
    ) -> Bounds {
        let (most, kind) = match *self {
            Self::Norm { most, kind, .. } => (most, kind),
            Self::Each { most, kind } => {
                return Bounds {
                    each: Some(Each { most, kind, scale }),
                    ..Bounds::default()
                };
            }
            Self::Value(most) => {
                return Bounds {
                    most: Some(most as f32),
                    ..Bounds::unscaled(gradients, scale)
                };
            }
        };
        let all = || gradients.iter().map(|(_, gradient)| gradient);
        let found = match (kind, measured) {
            (2.0, Some(measured)) => Some(measured.norm.clone()),
            (2.0, None) => Measured::of(all()).map(|measured| measured.norm),
            (kind, _) => norm(all(), kind),
        };
        let Some(norm) = found else {
            return Bounds::default();
        };
        let norm = if scale == 1.0 { norm } else { norm / scale };
        Bounds {
            factor: Some(factor(&norm, most) / scale),
            norm: Some(norm),
            ..Bounds::default()
        }
    }
}

/// What makes `norm` at most `most`. A norm that is no number makes it none, as in PyTorch.
fn factor(norm: &Tensor<1>, most: f64) -> Tensor<1> {
    let factor = norm.full_like(most) / (norm.clone() + 1e-6);
    let above = factor.clone().greater_elem(1.0);
    factor.mask_fill(above, 1.0)
}

/// How the gradients of a step are bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    /// The norm that they had, which stays on the device, if that is what is bounded and there are any.
    pub norm: Option<Tensor<1>>,
    factor: Option<Tensor<1>>,
    most: Option<f32>,
    each: Option<Each>,
}

/// [`Clip::Each`], of gradients that are `scale` times what they should be.
#[derive(Clone, Copy, Debug)]
struct Each {
    most: f64,
    kind: f64,
    scale: f32,
}

impl Bounds {
    /// No bounds for gradients that are `scale` times what they should be.
    pub fn unscaled(gradients: &Gradients, scale: f32) -> Self {
        let first = gradients.iter().next().filter(|_| scale != 1.0);
        Self {
            factor: first.map(|(_, g)| Tensor::from_floats([1.0 / scale], &g.device())),
            ..Self::default()
        }
    }

    /// A gradient within them.
    pub fn of(&self, gradient: Tensor<1>) -> Bounded {
        let own = self.each.map(|Each { most, kind, scale }| {
            let one = || std::iter::once(&gradient);
            let norm = match kind {
                2.0 => Measured::of(one()).map(|measured| measured.norm),
                kind => norm(one(), kind),
            };
            factor(&(norm.expect("there is one") / scale), most) / scale
        });
        Bounded {
            gradient,
            factor: own.or_else(|| self.factor.clone()),
            most: self.most,
        }
    }
}

/// A gradient as a step is to take it: each number by the factor, then within the bound.
#[derive(Clone, Debug)]
pub struct Bounded {
    pub(super) gradient: Tensor<1>,
    pub(super) factor: Option<Tensor<1>>,
    pub(super) most: Option<f32>,
}

/// As it is.
impl From<Tensor<1>> for Bounded {
    fn from(gradient: Tensor<1>) -> Self {
        Self {
            gradient,
            factor: None,
            most: None,
        }
    }
}

impl Bounded {
    /// What `most` of a kernel's record says.
    pub(super) fn most(&self) -> f32 {
        self.most.unwrap_or(-1.0)
    }

    /// The numbers.
    pub fn into_tensor(self) -> Tensor<1> {
        let by_factor = match self.factor {
            Some(factor) => self.gradient * factor,
            None => self.gradient,
        };
        match self.most {
            Some(most) => by_factor.clamp(-most, most),
            None => by_factor,
        }
    }
}

/// The `kind`-norm of all gradients together.
fn norm<'g>(gradients: impl Iterator<Item = &'g Tensor<1>>, kind: f64) -> Option<Tensor<1>> {
    let all = gradients.map(|gradient| gradient.clone().abs());
    if kind.is_infinite() {
        return all.map(Tensor::max).reduce(|a, b| a.max_pair(b));
    }
    if kind == 1.0 {
        return all.map(Tensor::sum).reduce(|a, b| a + b);
    }
    let powers = all.map(|gradient| gradient.powf_scalar(kind).sum());
    let sum = powers.reduce(|a, b| a + b)?;
    Some(sum.powf_scalar(1.0 / kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Init, Mode, Params, Store};
    use burn::tensor::Device;

    /// Gradients 3, -4 and 12.
    fn gradients(device: &Device) -> (Store, Gradients) {
        let params = Params::new(device, Mode::Train, None);
        let weight = |name: &str| params.weight(name, [2], Init::Constant(1.0)).get();
        params.store().track(true);
        let slopes = |numbers: [f32; 2]| Tensor::<1>::from_floats(numbers, device);
        let loss = weight("a") * slopes([3.0, -4.0]) + weight("b") * slopes([12.0, 0.0]);
        let gradients = params.store().gradients(loss.sum());
        (params.store(), gradients)
    }

    fn clipped(clip: Clip, device: &Device) -> (Option<f32>, Vec<f32>) {
        let (_, gradients) = gradients(device);
        let bounds = clip.bounds(&gradients, None, 1.0);
        let numbers = |tensor: Tensor<1>| tensor.into_data().try_into_vec::<f32>().unwrap();
        let within = |gradient: Tensor<1>| numbers(bounds.of(gradient).into_tensor());
        let all = gradients.into_iter().flat_map(|(_, g)| within(g));
        let all = all.collect();
        (bounds.norm.map(|norm| numbers(norm)[0]), all)
    }

    #[test]
    fn norms_by_hand() {
        by_hand(&Device::flex());
        if let Some(device) = crate::device::gpu_for_tests() {
            by_hand(&device);
        }
    }

    fn by_hand(device: &Device) {
        let cube = 1819f32.powf(1.0 / 3.0); // 27 + 64 + 1728
        for (kind, norm) in [(1.0, 19.0), (2.0, 13.0), (f64::INFINITY, 12.0), (3.0, cube)] {
            let clip = |most| Clip::Norm {
                most,
                kind,
                finite: false,
            };
            let (found, numbers) = clipped(clip(20.0), device);
            assert!((found.unwrap() - norm).abs() < 1e-5, "{kind}: {found:?}");
            assert_eq!(numbers, [3.0, -4.0, 12.0, 0.0]);
            let (found, numbers) = clipped(clip(6.0), device);
            assert!((found.unwrap() - norm).abs() < 1e-5, "the norm before");
            let expected = [3.0, -4.0, 12.0, 0.0].map(|g: f32| g * 6.0 / norm);
            for (found, expected) in numbers.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{kind}: {numbers:?}");
            }
        }
        let (norm, numbers) = clipped(Clip::Value(3.5), device);
        assert_eq!((norm, numbers), (None, vec![3.0, -3.5, 3.5, 0.0]));
        let each = Clip::Each {
            most: 10.0,
            kind: 2.0,
        };
        let (norm, numbers) = clipped(each, device);
        assert!(
            norm.is_none() && (numbers[2] - 10.0).abs() < 1e-5,
            "{numbers:?}"
        );
        assert_eq!((numbers[0], numbers[1]), (3.0, -4.0));
    }

    #[test]
    fn scaled_gradients_are_bounded_as_others() {
        let (_, mut gradients) = gradients(&Device::flex());
        gradients.map(|gradient| gradient * 8.0);
        let clip = |kind| Clip::Norm {
            most: 6.5,
            kind,
            finite: false,
        };
        for (clip, norm, expected) in [
            (clip(2.0), Some(13.0), [1.5, -2.0, 6.0, 0.0]),
            (
                clip(f64::INFINITY),
                Some(12.0),
                [1.625, -13.0 / 6.0, 6.5, 0.0],
            ),
            (Clip::Value(3.5), None, [3.0, -3.5, 3.5, 0.0]),
        ] {
            let bounds = clip.bounds(&gradients, None, 8.0);
            assert_eq!(bounds.norm.clone().map(Tensor::into_scalar::<f32>), norm);
            let all = gradients.iter();
            let all = all.flat_map(|(_, g)| {
                let bounded = bounds.of(g.clone()).into_tensor();
                bounded.into_data().try_into_vec::<f32>().unwrap()
            });
            for (found, expected) in all.zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }

    #[test]
    fn no_number_spoils_all() {
        let (_, mut gradients) = gradients(&Device::flex());
        gradients.map(|gradient| gradient * f32::NAN);
        let clip = Clip::Norm {
            most: 1.0,
            kind: 2.0,
            finite: false,
        };
        let bounds = clip.bounds(&gradients, None, 1.0);
        let norm = bounds.norm.clone().unwrap().into_data();
        assert!(norm.try_into_vec::<f32>().unwrap()[0].is_nan());
        for (_, gradient) in gradients {
            let bounded = bounds.of(gradient).into_tensor();
            let numbers = bounded.into_data().try_into_vec::<f32>().unwrap();
            assert!(numbers.iter().all(|number| number.is_nan()));
        }
    }

    #[test]
    fn configs() {
        let read = |text: &str| Clip::read(&crate::config::parse_value(text).unwrap()).unwrap();
        let norm = |most, kind, finite| Clip::Norm { most, kind, finite };
        assert_eq!(
            read("dict(max_norm=35, norm_type=2)"),
            norm(35.0, 2.0, false)
        );
        let infinite = "dict(type='norm', max_norm=0.1, norm_type='inf', error_if_nonfinite=True)";
        assert_eq!(read(infinite), norm(0.1, f64::INFINITY, true));
        assert_eq!(read("dict(type='value', clip_value=0.2)"), Clip::Value(0.2));
        let (most, kind) = (1.0, 2.0);
        let each = read("dict(type='norm', max_norm=1, each=True)");
        assert_eq!(each, Clip::Each { most, kind });
        let odd = crate::config::parse_value("dict(type='value', clip_value=-1.0)").unwrap();
        let odd = Clip::read(&odd).unwrap_err()[0].to_string();
        assert!(odd.contains("`clip_value` is -1, it is 0 or more"), "{odd}");
    }
}
