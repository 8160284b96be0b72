//! Fully connected layers, one or two.

use burn::tensor::{Device, Tensor};

use super::conv::fold;
use super::{Activation, Dropout, Init, LayerKind, Mode, Norm, NormConfig, Params, Weight};
use crate::ops::count::counted;
use crate::ops::rows::finished;

/// A product with a matrix along the last axis, `torch.nn.Linear`.
#[derive(Debug)]
pub struct Linear {
    weight: Weight<2>,
    bias: Option<Weight<1>>,
}

impl Linear {
    /// With the initial values of PyTorch's.
    pub fn new(inputs: usize, outputs: usize, bias: bool, at: &Params) -> Self {
        let shape = [outputs, inputs];
        let at = &at.layer(LayerKind::Linear).class(&["Linear"]);
        Self {
            weight: at.weight("weight", shape, Init::TORCH),
            bias: bias.then(|| at.weight("bias", [outputs], Init::torch_bias(&shape))),
        }
    }

    /// Where its tensors are.
    pub fn device(&self) -> Device {
        self.weight.get().device()
    }

    /// # Shapes
    /// - input `[.., inputs]`, output `[.., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.forward_with(x, None)
    }

    /// With an activation after it.
    ///
    /// # Shapes
    /// - input `[.., inputs]`, output `[.., outputs]`
    pub fn forward_with<const D: usize>(&self, x: Tensor<D>, act: Option<Activation>) -> Tensor<D> {
        let [outputs, inputs] = self.weight.shape();
        let mut dims = x.dims();
        let rows = dims[..D - 1].iter().product::<usize>();
        dims[D - 1] = outputs;
        if counted(|| self.weight.place(), &dims, || rows * inputs * outputs) {
            return Tensor::zeros(dims, &x.device());
        }
        let y = x
            .reshape([rows, inputs])
            .matmul(self.weight.get().transpose());
        finished(y, self.bias.as_ref().map(Weight::get), act).reshape(dims)
    }
}

/// A fully connected layer without a bias, then a batch norm over all tokens (LeViT, Graham et al. 2021, arXiv 2104.01136, section 4.2).
#[derive(Debug)]
pub struct LinearNorm {
    linear: Linear,
    /// None where it is folded into the layer.
    norm: Option<Norm>,
}

impl LinearNorm {
    /// The layer's tensors are at the first place, the norm's at the second.
    pub fn new(
        inputs: usize,
        outputs: usize,
        norm: &NormConfig,
        [linear_at, norm_at]: [&Params; 2],
    ) -> Self {
        if linear_at.mode() == Mode::Train || !norm.has_fixed_statistics() {
            return Self {
                linear: Linear::new(inputs, outputs, false, linear_at),
                norm: Some(norm.init(outputs, norm_at)),
            };
        }
        let at = &linear_at.layer(LayerKind::Linear).class(&["Linear"]);
        let shape = [outputs, inputs];
        let mut weight = at.values("weight", &shape, Init::TORCH);
        let bias = fold(norm, outputs, norm_at, &mut weight, None);
        Self {
            linear: Linear {
                weight: at.upload(weight, shape),
                bias: Some(at.upload(bias, [outputs])),
            },
            norm: None,
        }
    }

    /// Of the layer alone, with a bias: what is left when the norm was folded before.
    pub fn folded(inputs: usize, outputs: usize, at: &Params) -> Self {
        Self {
            linear: Linear::new(inputs, outputs, true, at),
            norm: None,
        }
    }

    /// Whether its norm takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        self.norm.as_ref().is_some_and(Norm::learning)
    }

    /// # Shapes
    /// - input `[B, N, inputs]`, output `[B, N, outputs]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.linear.forward(x);
        match &self.norm {
            Some(norm) => {
                let dims = x.dims();
                let [b, n, c] = dims;
                norm.forward(x.reshape([b * n, c, 1, 1])).reshape(dims)
            }
            None => x,
        }
    }
}

/// Two fully connected layers with an activation between them.
#[derive(Debug)]
pub struct Mlp {
    layers: [Linear; 2],
    act: Activation,
    dropout: Option<Dropout>,
}

impl Mlp {
    /// `[inputs, hidden, outputs]`, the places of the two layers, and the share of numbers that is left out after each while learning.
    pub fn new(
        [inputs, hidden, outputs]: [usize; 3],
        act: Activation,
        dropout: f64,
        [first, last]: [&Params; 2],
    ) -> Self {
        Self {
            layers: [
                Linear::new(inputs, hidden, true, first),
                Linear::new(hidden, outputs, true, last),
            ],
            act,
            dropout: Dropout::new(dropout, last),
        }
    }

    /// As mmcv's `FFN` names them: `layers.0.0` and `layers.1`.
    pub fn ffn(channels: usize, hidden: usize, act: Activation, dropout: f64, at: &Params) -> Self {
        let places = [&at.at("layers.0.0"), &at.at("layers.1")];
        Self::new([channels, hidden, channels], act, dropout, places)
    }

    /// # Shapes
    /// - input `[.., inputs]`, output `[.., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let drop = |x| match &self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        };
        let [first, last] = &self.layers;
        let hidden = drop(first.forward_with(x, Some(self.act)));
        drop(last.forward(hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, StateEntry, TensorSource};
    use burn::tensor::Device;

    struct Counting;
    impl TensorSource for Counting {
        fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
            let n = entry.shape.iter().product::<usize>();
            Some((1..=n).map(|i| i as f32).collect())
        }
    }

    #[test]
    fn the_last_axis_is_multiplied() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Fixed, Some(Box::new(Counting)));
        let linear = Linear::new(2, 3, true, &params);
        let x = Tensor::<3>::from_floats([[[1.0, 0.0], [1.0, 1.0]]], &device);
        let y: Vec<f32> = linear.forward(x).into_data().try_into_vec().unwrap();
        // Rows of the weight are (1, 2), (3, 4), (5, 6), the bias is (1, 2, 3).
        assert_eq!(y, [2.0, 5.0, 8.0, 4.0, 9.0, 14.0]);
    }

    #[test]
    fn names_are_mmcvs() {
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        Mlp::ffn(4, 8, Activation::Gelu, 0.1, &params.at("ffn"));
        let keys: Vec<_> = params.state().into_iter().map(|e| e.key).collect();
        let expected = [
            "layers.0.0.weight",
            "layers.0.0.bias",
            "layers.1.weight",
            "layers.1.bias",
        ];
        assert_eq!(keys, expected.map(|name| format!("ffn.{name}")));
    }
}
