//! [`Clip`]: bounds of gradients before a step (`clip_grad`), as PyTorch's `clip_grad_norm_` and `clip_grad_value_` have them.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::config::{Diagnostics, Dict, Node, error_at};
use crate::layers::Gradients;
use crate::ops::train::{norm_in_memory, norm_on_gpu, scale_in_memory};

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

    /// Bounds gradients, and gives the norm that they had, which stays on the device, if that is what is bounded and there are any.
    pub fn apply(&self, gradients: &mut Gradients) -> Option<Tensor<1>> {
        match *self {
            Self::Norm { most, kind, .. } => {
                let each = || gradients.iter().map(|(_, gradient)| gradient);
                let usual = kind == 2.0;
                let here = usual.then(|| norm_in_memory(each())).flatten();
                if let Some(norm) = here {
                    return in_memory(gradients, norm, most);
                }
                let there = usual.then(|| norm_on_gpu(each())).flatten();
                let norm = there.or_else(|| norm(each(), kind))?;
                let factor = ((norm.clone() + 1e-6).recip() * most).clamp_max(1.0);
                gradients.map(|gradient| gradient * factor.clone());
                Some(norm)
            }
            Self::Each { most, kind } => {
                gradients.map(|gradient| {
                    let norm = norm(std::iter::once(&gradient), kind);
                    let norm = norm.expect("there is one");
                    let factor = ((norm + 1e-6).recip() * most).clamp_max(1.0);
                    gradient * factor
                });
                None
            }
            Self::Value(most) => {
                gradients.map(|gradient| gradient.clamp(-most, most));
                None
            }
        }
    }
}

/// Bounds gradients of this norm that are in the host's memory, where nothing needs to be done to those that are small enough.
fn in_memory(gradients: &mut Gradients, norm: f32, most: f64) -> Option<Tensor<1>> {
    let device = gradients.iter().next()?.1.device();
    let factor = most as f32 / (norm + 1e-6);
    // A norm that is no number makes all of them none, as in PyTorch.
    if factor.is_nan() || factor < 1.0 {
        gradients.map(|gradient| scale_in_memory(gradient, factor));
    }
    Some(Tensor::from_floats([norm], &device))
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
        let (_, mut gradients) = gradients(device);
        let norm = clip.apply(&mut gradients);
        let numbers = |tensor: &Tensor<1>| tensor.to_data().try_into_vec::<f32>().unwrap();
        let all = gradients.iter().flat_map(|(_, gradient)| numbers(gradient));
        (norm.map(|norm| numbers(&norm)[0]), all.collect())
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
    fn no_number_spoils_all() {
        let (_, mut gradients) = gradients(&Device::flex());
        gradients.map(|gradient| gradient * f32::NAN);
        let clip = Clip::Norm {
            most: 1.0,
            kind: 2.0,
            finite: false,
        };
        let norm = clip.apply(&mut gradients).unwrap().to_data();
        assert!(norm.try_into_vec::<f32>().unwrap()[0].is_nan());
        for (_, gradient) in gradients {
            let numbers = gradient.to_data().try_into_vec::<f32>().unwrap();
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
    }
}
