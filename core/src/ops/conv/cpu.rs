//! Convolution on the CPU by `smalti-cpu`, which chooses the algorithm.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, Shape as Dims, Tensor, TensorData};
use smalti_cpu::{Act, InputGradient, Picture, Shape};

use super::{ConvShape, Finish, Prepared};
use crate::device::is_processor;
use crate::layers::{Activation, Weight};

/// Filters as their algorithm wants them.
pub(crate) type Filters = smalti_cpu::Filters;

/// The convolution, with as much of `finish` as it does; `None` where that does not apply.
pub(super) fn conv2d(
    x: &Tensor<4>,
    weight: &Weight<4>,
    shape: &ConvShape,
    finish: &mut Finish,
) -> Option<Tensor<4>> {
    let dims = weight.shape();
    let (padding, shape) = (shape.padding, of(shape, dims));
    let values = on_cpu(x)?;
    let Prepared::Cpu(filters) = weight.prepared(|weight| {
        let values = weight.to_data().try_into_vec_as::<f32>();
        let values = values.expect("weights of f32 in host memory");
        Prepared::Cpu(Box::new(Filters::new(&values, shape)))
    })?
    else {
        return None;
    };
    // The same weights used with another stride or other groups, which no layer does.
    if *filters.shape() != shape {
        return None;
    }
    let bias = finish.bias.as_ref().map(on_cpu);
    let add = finish.add.as_ref().map(on_cpu);
    let (bias, add) = match (bias, add) {
        (Some(None), _) | (_, Some(None)) => return None,
        (bias, add) => (bias.flatten(), add.flatten()),
    };
    let act = finish.act.and_then(fused);
    let added = smalti_cpu::Finish {
        bias: bias.as_ref().map(slice),
        add: add.as_ref().map(slice),
        act,
    };
    let (y, size) = run(filters, slice(&values), x.dims(), padding, added)?;
    (finish.bias, finish.add) = (None, None);
    if act.is_some() {
        finish.act = None;
    }
    Some(Tensor::from_data(TensorData::new(y, size), &x.device()))
}

/// Whether [`convolve`] and the gradients have an answer.
pub(in crate::ops) fn applies(x: &Tensor<4>, weight: [usize; 4], shape: &ConvShape) -> bool {
    let here = is_processor(&x.device()) && x.dtype() == DType::F32;
    let full = !x.dims().contains(&0) && !weight.contains(&0);
    here && full && shape.size_out(x.dims(), weight).is_some()
}

/// The convolution alone, of weights that are used once.
pub(in crate::ops) fn convolve(
    x: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    shape: &ConvShape,
) -> FloatTensor<Flex> {
    let (x, dims) = ordered(x);
    let (weight, of_weight) = ordered(weight);
    let filters = Filters::new(slice(&weight), of(shape, of_weight));
    let finish = smalti_cpu::Finish::default();
    let made = run(&filters, slice(&x), dims, shape.padding, finish);
    let (y, size) = made.expect("asked before");
    tensor(y, size)
}

/// The gradient of x of `size` (height and width) from that of y.
pub(in crate::ops) fn input_gradient(
    gradient: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    shape: &ConvShape,
    size: [usize; 2],
) -> FloatTensor<Flex> {
    let (gradient, [pictures, ..]) = ordered(gradient);
    let (weight, dims) = ordered(weight);
    let of = of(shape, dims);
    let prepared = InputGradient::new(slice(&weight), of, shape.padding);
    let mut made = vec![0.0; pictures * of.channels_in * size[0] * size[1]];
    prepared.run(slice(&gradient), size, &mut made);
    tensor(made, [pictures, of.channels_in, size[0], size[1]])
}

/// The gradient of weights of `dims` from that of y.
pub(in crate::ops) fn weight_gradient(
    x: FloatTensor<Flex>,
    gradient: FloatTensor<Flex>,
    shape: &ConvShape,
    dims: [usize; 4],
) -> FloatTensor<Flex> {
    let (x, [.., height, width]) = ordered(x);
    let (gradient, _) = ordered(gradient);
    let mut made = vec![0.0; dims.iter().product()];
    let pictures = Picture {
        values: slice(&x),
        size: [height, width],
        padding: shape.padding,
    };
    smalti_cpu::weight_gradient(&of(shape, dims), pictures, slice(&gradient), &mut made);
    tensor(made, dims)
}

/// As `smalti-cpu` says it.
pub(super) fn of(shape: &ConvShape, [channels_out, channels, kernel @ ..]: [usize; 4]) -> Shape {
    Shape {
        channels_out,
        channels_in: channels * shape.groups,
        kernel,
        stride: shape.stride,
        dilation: shape.dilation,
        groups: shape.groups,
    }
}

/// What comes out of pictures, with its shape, if anything does.
fn run(
    filters: &Filters,
    x: &[f32],
    [pictures, channels, height, width]: [usize; 4],
    padding: [(usize, usize); 2],
    finish: smalti_cpu::Finish,
) -> Option<(Vec<f32>, [usize; 4])> {
    let shape = filters.shape();
    let size = [height, width];
    let out = shape.size_out(size, padding)?;
    if channels == 0 {
        return None;
    }
    let x = Picture {
        values: x,
        size,
        padding,
    };
    let y = filters.convolve(x, finish);
    Some((y, [pictures, shape.channels_out, out[0], out[1]]))
}

/// The activation as one that is applied while sums are in the cache; `None` for those that cost more than a pass over memory.
pub(in crate::ops) fn fused(act: Activation) -> Option<Act> {
    Some(match act {
        Activation::Relu => Act::Relu,
        Activation::Relu6 => Act::Relu6,
        Activation::LeakyRelu(slope) => Act::LeakyRelu(slope as f32),
        Activation::Clip(min, max) => Act::Clip(min as f32, max as f32),
        Activation::HSwish => Act::HSwish,
        Activation::HSigmoid {
            bias,
            divisor,
            min,
            max,
        } => Act::HSigmoid {
            bias: bias as f32,
            divisor: divisor as f32,
            min: min as f32,
            max: max as f32,
        },
        Activation::Sigmoid => Act::Sigmoid,
        Activation::Silu => Act::Silu,
        Activation::Gelu => Act::Gelu,
        Activation::GeluTanh => Act::GeluTanh,
        Activation::QuickGelu => Act::QuickGelu,
        Activation::Elu(_) | Activation::Tanh | Activation::Mish => return None,
    })
}

/// A tensor of f32 in host memory, as it lies or copied in order; `None` if it is not there or gradients are recorded.
pub(in crate::ops) fn on_cpu<const D: usize>(x: &Tensor<D>) -> Option<FloatTensor<Flex>> {
    if x.dtype() != DType::F32 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    Some(in_order(x))
}

pub(in crate::ops) fn in_order(x: FloatTensor<Flex>) -> FloatTensor<Flex> {
    if x.is_contiguous() {
        x
    } else {
        x.to_contiguous()
    }
}

/// A tensor in order, and its shape.
fn ordered(x: FloatTensor<Flex>) -> (FloatTensor<Flex>, [usize; 4]) {
    let dims = x.shape().dims();
    (in_order(x), dims)
}

/// The values of a tensor of f32 in order.
pub(in crate::ops) fn slice(x: &FloatTensor<Flex>) -> &[f32] {
    x.as_slice().expect("f32 in order")
}

/// A tensor of these values.
pub(in crate::ops) fn tensor(values: Vec<f32>, shape: impl Into<Dims>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

#[cfg(test)]
mod tests {
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution, module};

    use super::*;
    use crate::Precision;

    /// The layer's way and burn's, for convolutions of every algorithm and all activations.
    #[test]
    fn all_give_what_burn_gives() {
        let device = Device::flex();
        device.seed(1);
        let random = |shape: [usize; 4]| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
        };
        let even = |p| [(p, p); 2];
        for (pictures, weight, size, stride, padding, dilation, groups) in [
            (1, [16, 16, 3, 3], [1, 1], 1, even(1), 1, 1),
            (2, [33, 17, 3, 3], [9, 14], 1, even(1), 1, 1),
            (3, [16, 40, 3, 3], [16, 25], 1, [(0, 1), (2, 0)], 1, 1),
            (2, [24, 10, 1, 1], [9, 14], 1, even(0), 1, 1),
            (1, [24, 10, 1, 1], [9, 14], 2, even(0), 1, 1),
            (2, [16, 3, 3, 3], [9, 14], 2, [(0, 1); 2], 1, 1),
            (1, [5, 3, 7, 7], [20, 31], 2, even(3), 1, 1),
            (1, [16, 16, 3, 3], [9, 14], 1, even(2), 2, 1),
            (2, [12, 1, 5, 5], [9, 14], 2, even(2), 1, 12),
            (1, [32, 4, 3, 3], [9, 14], 1, even(1), 1, 8),
        ] {
            let x = random([pictures, weight[1] * groups, size[1], size[0]]);
            // As a view in another order.
            let x = x.swap_dims(2, 3);
            let shape = ConvShape {
                stride: [stride; 2],
                padding,
                dilation: [dilation; 2],
                groups,
                precision: Precision::F32,
            };
            let filters = random(weight);
            let plain = {
                let options =
                    ConvOptions::new_with_padding([stride; 2], padding, [dilation; 2], groups);
                module::conv2d(x.clone(), filters.clone(), None, options)
            };
            let bias = random([1, 1, 1, weight[0]]).flatten::<1>(0, 3);
            let add = random(plain.dims());
            let hsigmoid = Activation::HSigmoid {
                bias: 1.0,
                divisor: 2.0,
                min: 0.0,
                max: 1.0,
            };
            for act in [
                None,
                Some(Activation::Relu),
                Some(Activation::Relu6),
                Some(Activation::LeakyRelu(0.1)),
                Some(Activation::Elu(1.0)),
                Some(Activation::Sigmoid),
                Some(Activation::Silu),
                Some(Activation::HSwish),
                Some(hsigmoid),
                Some(Activation::Gelu),
                Some(Activation::Clip(-0.5, 0.5)),
            ] {
                let finish = Finish {
                    bias: Some(bias.clone()),
                    add: Some(add.clone()),
                    act,
                };
                let expected = finish.clone().apply(plain.clone());
                // Of the sums: what a function cuts off of them does not make them more exact.
                let sums = Finish {
                    act: None,
                    ..finish.clone()
                };
                let largest = sums.apply(plain.clone()).abs().max().into_scalar::<f32>();
                let held = Weight::from(filters.clone());
                let mut left = finish.clone();
                assert!(conv2d(&x, &held, &shape, &mut left).is_some(), "it applies");
                let got = super::super::conv2d(x.clone(), &held, &shape, finish);
                let worst = (got - expected).abs().max().into_scalar::<f32>();
                assert!(
                    worst <= 2e-5 * largest.max(1.0),
                    "{weight:?} {act:?}: {worst} of {largest}"
                );
            }
        }
    }
}
