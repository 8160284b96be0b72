//! Convolution on the CPU: which of `smalti-cpu`'s algorithms a shape takes.

use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData};
use smalti_cpu::{Picture, Winograd};

use super::{ConvShape, Finish, Prepared};
use crate::layers::{Activation, Weight};

/// Filters as its algorithm wants them.
pub(crate) type Filters = Winograd;

/// Channels below which the plain way is faster.
const LEAST_CHANNELS: usize = 16;

/// The convolution, with as much of `finish` as it does; `None` where that does not apply.
pub(super) fn conv2d(
    x: &Tensor<4>,
    weight: &Weight<4>,
    shape: &ConvShape,
    finish: &mut Finish,
) -> Option<Tensor<4>> {
    let [channels_out, channels_in, kernel @ ..] = weight.shape();
    let once = [1, 1];
    let plain = (kernel, shape.stride, shape.dilation, shape.groups) == ([3, 3], once, once, 1);
    if !plain || channels_out.min(channels_in) < LEAST_CHANNELS {
        return None;
    }
    let values = on_cpu(x)?;
    let values = values.as_slice::<f32>()?;
    let [pictures, _, height, width] = x.dims();
    let at = |i: usize| Picture {
        values: &values[i * channels_in * height * width..][..channels_in * height * width],
        size: [height, width],
        padding: shape.padding,
    };
    let size = at(0).size_out().filter(|_| pictures > 0)?;
    let Prepared::Cpu(filters) = weight.prepared(|weight| {
        let values = weight.to_data().try_into_vec_as::<f32>();
        let values = values.expect("weights of f32 in host memory");
        Prepared::Cpu(Winograd::new(&values, channels_out, channels_in))
    })?;
    let bias = finish.bias.as_ref().map(on_cpu);
    let add = finish.add.as_ref().map(on_cpu);
    let (bias, add) = match (bias, add) {
        (Some(None), _) | (_, Some(None)) => return None,
        (bias, add) => (bias.flatten(), add.flatten()),
    };
    (finish.bias, finish.add) = (None, None);
    let relu = matches!(finish.act, Some(Activation::Relu));
    if relu {
        finish.act = None;
    }
    let each = channels_out * size[0] * size[1];
    let mut y = vec![0.0; pictures * each];
    for (i, y) in y.chunks_exact_mut(each).enumerate() {
        let add = add.as_ref().and_then(|add| add.as_slice::<f32>());
        let finish = smalti_cpu::Finish {
            bias: bias.as_ref().and_then(|bias| bias.as_slice()),
            add: add.map(|add| &add[i * each..][..each]),
            relu,
        };
        filters.run(at(i), finish, y);
    }
    let data = TensorData::new(y, [pictures, channels_out, size[0], size[1]]);
    Some(Tensor::from_data(data, &x.device()))
}

/// A tensor of f32 in host memory, as it lies or copied in order; `None` if it is not there or gradients are recorded.
fn on_cpu<const D: usize>(x: &Tensor<D>) -> Option<FloatTensor<Flex>> {
    if x.dtype() != DType::F32 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    Some(if x.is_contiguous() {
        x
    } else {
        x.to_contiguous()
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution, module};

    use super::*;

    fn shape(padding: [(usize, usize); 2]) -> ConvShape {
        ConvShape {
            stride: [1, 1],
            padding,
            dilation: [1, 1],
            groups: 1,
        }
    }

    #[test]
    fn winograd_gives_what_burn_gives() {
        let device = Device::flex();
        device.seed(1);
        let random = |shape: [usize; 4]| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
        };
        for (pictures, channels, size, padding) in [
            (1, [16, 16], [1, 1], [(1, 1), (1, 1)]),
            (2, [33, 17], [9, 14], [(1, 1), (1, 1)]),
            (3, [16, 40], [6, 5], [(0, 1), (2, 0)]),
        ] {
            let x = random([pictures, channels[1], size[1], size[0]]);
            // As a view in another order.
            let x = x.swap_dims(2, 3);
            let weight = random([channels[0], channels[1], 3, 3]);
            let shape = shape(padding);
            let plain = {
                let options = ConvOptions::new_with_padding([1, 1], padding, [1, 1], 1);
                module::conv2d(x.clone(), weight.clone(), None, options)
            };
            let bias = random([1, 1, 1, channels[0]]).flatten::<1>(0, 3);
            let add = random(plain.dims());
            for act in [None, Some(Activation::Relu), Some(Activation::Relu6)] {
                let finish = Finish {
                    bias: Some(bias.clone()),
                    add: Some(add.clone()),
                    act,
                };
                let expected = finish.clone().apply(plain.clone());
                let held = Weight::from(weight.clone());
                let mut left = finish.clone();
                assert!(conv2d(&x, &held, &shape, &mut left).is_some(), "it applies");
                let got = super::super::conv2d(x.clone(), &held, &shape, finish);
                let worst = (got - expected.clone()).abs().max().into_scalar::<f32>();
                let largest = expected.abs().max().into_scalar::<f32>();
                assert!(worst <= 2e-5 * largest.max(1.0), "{worst} of {largest}");
            }
        }
    }

    #[test]
    fn other_convolutions_are_burn_s() {
        let device = Device::flex();
        let applies = |x: [usize; 4], weight: [usize; 4], change: fn(&mut ConvShape)| {
            let mut shape = shape([(1, 1); 2]);
            change(&mut shape);
            let x = Tensor::<4>::zeros(x, &device);
            let weight = Weight::from(Tensor::<4>::zeros(weight, &device));
            conv2d(&x, &weight, &shape, &mut Finish::default()).is_some()
        };
        assert!(applies([1, 16, 8, 8], [16, 16, 3, 3], |_| ()));
        assert!(!applies([1, 16, 8, 8], [16, 16, 1, 1], |_| ()));
        assert!(!applies([1, 3, 8, 8], [16, 3, 3, 3], |_| ()));
        assert!(!applies([1, 16, 8, 8], [16, 16, 3, 3], |s| s.stride = [2, 2]));
        assert!(!applies([1, 16, 8, 8], [16, 16, 3, 3], |s| s.dilation = [2, 2]));
        assert!(!applies([1, 32, 8, 8], [32, 16, 3, 3], |s| s.groups = 2));
    }
}
