//! [`Deconv`]: a transposed convolution whose filters do not overlap, that is with a stride of its kernel's side. It is a 1x1 convolution
//! whose channels are then laid out as pixels.
//!
//! Shapes: weight `[C_in, C_out, K, K]` as PyTorch has it, x `[N, C_in, H, W]`, y `[N, C_out, H * K, W * K]`.

use burn::tensor::Tensor;

use super::{Activation, Init, LayerKind, Mode, Params, Weight};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// Such a transposed convolution, and what follows it.
#[derive(Debug)]
pub struct Deconv {
    /// `[C_out * K * K, C_in, 1, 1]` where it does not change, else as PyTorch has it.
    weight: Weight<4>,
    /// `[C_out * K * K]`, likewise.
    bias: Weight<1>,
    fixed: bool,
    shape: [usize; 4],
    act: Option<Activation>,
}

impl Deconv {
    /// `[C_in, C_out]`, and the side of its filters.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        side: usize,
        act: Option<Activation>,
        at: &Params,
    ) -> Self {
        let shape = [inputs, outputs, side, side];
        let at =
            &at.layer(LayerKind::Conv)
                .class(&["ConvTranspose2d", "_ConvTransposeNd", "_ConvNd"]);
        let of_bias = Init::torch_bias(&shape);
        let fixed = at.mode() != Mode::Train;
        let (weight, bias) = if fixed {
            let weight = at.values("weight", &shape, Init::TORCH);
            let bias = at.values("bias", &[outputs], of_bias);
            let area = side * side;
            // A plan has no values, of however many there would be.
            let there = if weight.is_empty() { 0 } else { outputs * area };
            let turned = (0..there).flat_map(|to| {
                let weight = &weight;
                (0..inputs).map(move |from| weight.get(from * outputs * area + to).copied())
            });
            let turned: Vec<f32> = turned.flatten().collect();
            let spread = bias
                .iter()
                .flat_map(|bias| std::iter::repeat_n(*bias, area));
            (
                at.upload(turned, [outputs * area, inputs, 1, 1]),
                at.upload(spread.collect(), [outputs * area]),
            )
        } else {
            (
                at.weight("weight", shape, Init::TORCH),
                at.weight("bias", [outputs], of_bias),
            )
        };
        Self {
            weight,
            bias,
            fixed,
            shape,
            act,
        }
    }

    /// # Shapes
    /// - input `[N, C_in, H, W]`, output `[N, C_out, H * K, W * K]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [inputs, outputs, side, _] = self.shape;
        let channels = outputs * side * side;
        let [n, _, h, w] = x.dims();
        let turned;
        let (weight, bias) = if self.fixed {
            (&self.weight, self.bias.get())
        } else {
            let weight = self.weight.get().reshape([inputs, channels]);
            turned = weight.transpose().reshape([channels, inputs, 1, 1]).into();
            let bias = self.bias.get().unsqueeze_dim::<2>(1);
            let bias = bias.expand([outputs, side * side]).reshape([channels]);
            (&turned, bias)
        };
        let shape = ConvShape {
            stride: [1; 2],
            padding: [(0, 0); 2],
            dilation: [1; 2],
            groups: 1,
            precision: self.weight.precision(),
        };
        let finish = Finish {
            bias: Some(bias),
            add: None,
            act: self.act,
        };
        let y = conv2d(x, weight, &shape, finish);
        y.reshape([n, outputs, side, side, h, w])
            .permute([0, 1, 4, 2, 5, 3])
            .reshape([n, outputs, h * side, w * side])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::ops::ConvTransposeOptions;
    use burn::tensor::{Device, Distribution, module::conv_transpose2d};

    use super::*;

    #[test]
    fn as_a_transposed_convolution() {
        let device = Device::flex();
        let x = Tensor::<4>::random([2, 3, 4, 5], Distribution::Default, &device);
        let params = Params::new(&device, Mode::Train, None);
        let live = Deconv::new([3, 2], 2, Some(Activation::Relu), &params.at("a"));
        let options = ConvTransposeOptions::new([2; 2], [0; 2], [0; 2], [1; 2], 1);
        let (weight, bias) = (live.weight.get(), live.bias.get());
        let expected = conv_transpose2d(x.clone(), weight, Some(bias), options).clamp_min(0.0);
        let source = pollster::block_on(params.store().source()).unwrap();
        let again = Params::new(&device, Mode::Fixed, Some(Box::new(source)));
        let fixed = Deconv::new([3, 2], 2, Some(Activation::Relu), &again.at("a"));
        for y in [live.forward(x.clone()), fixed.forward(x)] {
            let off = (y - expected.clone()).abs().max().into_scalar::<f32>();
            assert!(off < 1e-5, "{off}");
        }
    }
}
