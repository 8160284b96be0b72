//! Convolutions side by side whose results are summed (RepVGG, Ding et al. 2021, arXiv 2101.03697, section 3.3): several while a model is trained,
//! one where it stays as it is. Each has its norm; a norm alone passes its input on.
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C_out, H', W']`.

use burn::tensor::Tensor;

use super::{Activation, ConvConfig, ConvNormAct, DropPath, Mode, Norm, NormConfig, Params};

/// One summand.
pub enum Branch<'a> {
    /// A convolution at a place, and a norm at another. Its filters have their middle where the largest ones have it.
    Conv(Box<ConvConfig>, Params, Option<(&'a NormConfig, Params)>),
    /// A norm of the input.
    Norm(&'a NormConfig, Params),
}

impl<'a> Branch<'a> {
    /// A convolution at a place, its norm at another.
    pub fn normed(conv: ConvConfig, at: Params, norm: &'a NormConfig, norm_at: Params) -> Self {
        Self::Conv(Box::new(conv.bias(false)), at, Some((norm, norm_at)))
    }

    /// Whether it can be written as a convolution.
    fn is_linear(&self) -> bool {
        match self {
            Self::Conv(conv, _, None) => conv.is_centred(),
            Self::Conv(conv, _, Some((norm, _))) => {
                conv.is_centred() && norm.has_fixed_statistics()
            }
            Self::Norm(norm, _) => norm.has_fixed_statistics(),
        }
    }

    fn places(&self) -> Vec<Params> {
        match self {
            Self::Conv(_, conv, None) => vec![conv.clone()],
            Self::Conv(_, conv, Some((_, norm))) => vec![conv.clone(), norm.clone()],
            Self::Norm(_, at) => vec![at.clone()],
        }
    }
}

/// Convolutions and a norm, side by side, then an activation.
#[derive(Debug)]
pub struct Branches {
    convs: Vec<ConvNormAct>,
    norm: Option<Norm>,
    /// Of the convolutions' sum.
    drop_path: Option<DropPath>,
    /// Already applied where there is one convolution and nothing else.
    act: Option<Activation>,
}

impl Branches {
    /// `whole` is the convolution that they come to, its activation among it; the branches are in the order of the state dict, none has an
    /// activation. `deployed` is where the original has the whole once it is merged.
    ///
    /// # Panics
    /// If there is more than one norm alone.
    pub fn new(whole: &ConvConfig, branches: &[Branch], deployed: Option<&Params>) -> Self {
        let at = match branches.first() {
            Some(Branch::Conv(_, at, _) | Branch::Norm(_, at)) => at,
            None => panic!("there is a branch"),
        };
        if at.mode() != Mode::Train && branches.iter().all(Branch::is_linear) {
            return Self::one(merge(whole, branches, at, deployed));
        }
        let (mut convs, mut norm) = (Vec::new(), None);
        for branch in branches {
            match branch {
                Branch::Conv(conv, at, of) => {
                    let of = of.as_ref().map(|(norm, at)| (*norm, at));
                    convs.push(conv.init(at, of));
                }
                Branch::Norm(config, at) => {
                    let alone = config.init(whole.channels_out(), at);
                    assert!(norm.replace(alone).is_none(), "one norm alone");
                }
            }
        }
        Self {
            convs,
            norm,
            drop_path: None,
            act: whole.last(),
        }
    }

    /// One convolution, with its activation: the deployed form.
    pub fn one(conv: ConvNormAct) -> Self {
        Self {
            convs: vec![conv],
            norm: None,
            drop_path: None,
            act: None,
        }
    }

    /// Leaves the convolutions, but not the norm alone, out by the way.
    pub fn drop_path(mut self, drop_path: Option<DropPath>) -> Self {
        self.drop_path = drop_path;
        self
    }

    /// See the shapes above.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut convs = self.convs.iter();
        let first = convs.next().map(|conv| conv.forward(x.clone()));
        let sum = convs.fold(first, |sum, conv| {
            Some(match sum {
                Some(sum) => conv.forward_onto(x.clone(), sum),
                None => conv.forward(x.clone()),
            })
        });
        let sum = match (sum, &self.drop_path) {
            (Some(sum), Some(drop)) => Some(drop.forward(sum)),
            (sum, _) => sum,
        };
        let alone = self.norm.as_ref().map(|norm| norm.forward(x.clone()));
        let sum = match (sum, alone) {
            (Some(sum), Some(alone)) => sum + alone,
            (sum, alone) => sum.or(alone).unwrap_or(x),
        };
        match self.act {
            Some(act) => act.forward(sum),
            None => sum,
        }
    }

    /// Whether a norm takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        let alone = self.norm.as_ref().is_some_and(Norm::learning);
        alone || self.convs.iter().any(ConvNormAct::learning)
    }
}

/// All of them as one convolution.
fn merge(
    whole: &ConvConfig,
    branches: &[Branch],
    at: &Params,
    deployed: Option<&Params>,
) -> ConvNormAct {
    let planned = at.mode() == Mode::Plan;
    let shape = whole.shape();
    let channels = shape[0];
    let count = if planned { 0 } else { shape.iter().product() };
    let mut filters = vec![0.0; count];
    let mut biases = vec![0.0f64; if planned { 0 } else { channels }];
    for branch in branches {
        let (values, shifts): (_, Vec<f64>) = match branch {
            Branch::Conv(conv, at, norm) => {
                let norm = norm.as_ref().map(|(norm, at)| (*norm, at));
                let (values, bias) = conv.folded(at, norm);
                let shifts = bias.unwrap_or_default();
                whole.add_centred(&mut filters, &values, conv.kernel_size());
                (None, shifts.into_iter().map(f64::from).collect())
            }
            Branch::Norm(norm, at) => {
                let (factors, shifts) = norm.values(channels, at);
                (Some(factors), shifts)
            }
        };
        if let Some(factors) = values {
            whole.add_factors(&mut filters, &factors);
        }
        let into = biases.iter_mut().zip(shifts);
        into.for_each(|(into, shift)| *into += shift);
    }
    let biases: Vec<_> = biases.into_iter().map(|b| b as f32).collect();
    if let Some(deployed) = deployed {
        deployed.tell_merged(branches.iter().flat_map(Branch::places), || {
            vec![
                ("weight", shape.to_vec(), filters.clone()),
                ("bias", vec![channels], biases.clone()),
            ]
        });
    }
    whole.of_values(filters, Some(biases), at)
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
            let n = entry.shape.iter().product::<usize>();
            let k = entry.key.len() as f32;
            let values = (0..n).map(|i| ((i as f32 + k) * 1.7).sin() * 0.5);
            let positive = entry.key.ends_with("var");
            Some(values.map(|v| if positive { 1.0 + v } else { v }).collect())
        }
    }

    #[test]
    fn merged_branches_give_the_same() {
        let device = Device::flex();
        let x: Vec<f32> = (0..4 * 7 * 5).map(|i| (i as f32 * 0.9).cos()).collect();
        let x = Tensor::<1>::from_floats(x.as_slice(), &device).reshape([1, 4, 7, 5]);
        for (groups, dilation) in [(1, 1), (2, 1), (4, 2)] {
            let run = |mode| {
                let params = Params::new(&device, mode, Some(Box::new(Formula)));
                let norm = NormConfig::batch(1e-3);
                let whole = ConvConfig::new(4, 4, 3)
                    .pad(dilation)
                    .dilation(dilation)
                    .groups(groups);
                let one = ConvConfig::new(4, 4, 1).groups(groups);
                let conv = |conv: &ConvConfig, name: &str| {
                    let at = params.at(name);
                    Branch::normed(conv.clone(), at.at("conv"), &norm, at.at("bn"))
                };
                let branches = [
                    Branch::Norm(&norm, params.at("alone")),
                    conv(&whole, "three"),
                    conv(&one, "one"),
                ];
                let deployed = params.at("deployed");
                params.note_merged();
                let whole = whole.clone().act(Some(Activation::Relu));
                let layer = Branches::new(&whole, &branches, Some(&deployed));
                params.store().learn("", false);
                let y = layer.forward(x.clone());
                let y: Vec<f32> = y.into_data().try_into_vec().unwrap();
                (layer.convs.len(), y, params.merged(), params.state().len())
            };
            let (many, expected, none, state) = run(Mode::Train);
            let (one, found, merged, same) = run(Mode::Fixed);
            assert_eq!((many, one, none.len(), state), (2, 1, 0, same));
            for (a, b) in expected.iter().zip(&found) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            let names: Vec<_> = merged[0].tensors.iter().map(|t| t.0.as_str()).collect();
            assert_eq!(names, ["deployed.weight", "deployed.bias"]);
            let from = ["alone", "three.conv", "three.bn", "one.conv", "one.bn"];
            assert_eq!(merged[0].from, from);
        }
    }
}
