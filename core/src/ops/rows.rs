//! [`softmax`] of attention's scores, [`layer_norm`], and what follows a product of matrices ([`finished`]): by `smalti-cpu` in a pass over memory on the CPU
//! where no gradients are recorded, by burn's operations elsewhere.

use burn::tensor::{DType, Tensor, TensorData, activation};
use smalti_cpu::{Added, LayerNorm};

use super::conv::cpu::{fused, on_cpu, slice};
use crate::device::is_processor;
use crate::layers::Activation;

/// Whether numbers are f32 in host memory of which no gradients are recorded.
pub fn here<const D: usize>(x: &Tensor<D>) -> bool {
    is_processor(&x.device()) && x.dtype() == DType::F32 && !x.is_autodiff()
}

/// `softmax(scores * scale + bias + mask)` along the last axis.
///
/// # Shapes
/// - scores: `[B * W, heads, N, M]`
/// - bias: `[B * W or 1, heads or 1, N, M]`
/// - mask: `[W, N, M]`
pub fn softmax(
    scores: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
    mask: Option<Tensor<3>>,
) -> Tensor<4> {
    let [all, heads, n, m] = scores.dims();
    let of_heads = bias.as_ref().filter(|bias| bias.dims() == [1, heads, n, m]);
    let (of_heads, of_windows) = (of_heads.map(on_cpu), mask.as_ref().map(on_cpu));
    let there = of_heads.as_ref().map(Option::is_some) != Some(false)
        && of_windows.as_ref().map(Option::is_some) != Some(false)
        && of_heads.is_some() == bias.is_some();
    if here(&scores) && there {
        let device = scores.device();
        // Nobody else holds it, most times: then it is not copied.
        let mut data = scores.into_data();
        let added = Added {
            of_heads: of_heads.as_ref().and_then(Option::as_ref).map(slice),
            of_windows: of_windows.as_ref().and_then(Option::as_ref).map(slice),
        };
        let values = data.as_mut_slice().expect("f32 as it was asked");
        smalti_cpu::softmax(values, [heads, n, m], scale as f32, added);
        return Tensor::from_data(data, &device);
    }
    let scores = match scale == 1.0 {
        true => scores,
        false => scores * scale,
    };
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    let scores = match mask {
        None => scores,
        Some(mask) => {
            let [windows, _, _] = mask.dims();
            let mask = mask.reshape([1, windows, 1, n, m]);
            let scores = scores.reshape([all / windows, windows, heads, n, m]) + mask;
            scores.reshape([all, heads, n, m])
        }
    };
    activation::softmax(scores, 3)
}

/// A layer norm along the last axis, or along axis 1 of a map, with weight and bias, `[C]`; `None` where burn's operations are to be taken.
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    axis: usize,
    [weight, bias]: [Tensor<1>; 2],
    eps: f64,
) -> Option<Tensor<D>> {
    if !here(x) || x.dims().contains(&0) || !(axis == 1 || axis + 1 == D) {
        return None;
    }
    let (dims, device) = (x.dims(), x.device());
    let (x, weight, bias) = (on_cpu(x)?, on_cpu(&weight)?, on_cpu(&bias)?);
    let norm = LayerNorm {
        weight: slice(&weight),
        bias: slice(&bias),
        eps,
    };
    let mut y = vec![0.0; slice(&x).len()];
    match axis + 1 == D {
        true => norm.rows(slice(&x), &mut y),
        false => norm.maps(dims[2..].iter().product(), slice(&x), &mut y),
    }
    Some(Tensor::from_data(TensorData::new(y, dims), &device))
}

/// Rows of a product of matrices with their bias, `[C]`, and an activation.
pub fn finished(y: Tensor<2>, bias: Option<Tensor<1>>, act: Option<Activation>) -> Tensor<2> {
    let values = bias.as_ref().map(on_cpu);
    let there = values.as_ref().map(Option::is_some) != Some(false);
    if here(&y) && there && (bias.is_some() || act.is_some_and(|act| fused(act).is_some())) {
        let (device, [_, channels]) = (y.device(), y.dims());
        let mut data = y.into_data();
        let rows = data.as_mut_slice().expect("f32 as it was asked");
        let bias = values.as_ref().and_then(Option::as_ref).map(slice);
        let within = act.and_then(fused);
        smalti_cpu::finish_rows(rows, bias, channels, within);
        let y = Tensor::from_data(data, &device);
        return match act.filter(|_| within.is_none()) {
            Some(act) => act.forward(y),
            None => y,
        };
    }
    let y = match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    };
    match act {
        Some(act) => act.forward(y),
        None => y,
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Uniform(-3.0, 3.0), &Device::flex())
    }

    fn same<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
        let values = |x: Tensor<D>| {
            x.without_autodiff()
                .into_data()
                .try_into_vec::<f32>()
                .unwrap()
        };
        assert_eq!(found.dims(), expected.dims());
        for (a, b) in values(found).into_iter().zip(values(expected)) {
            // sums of some hundred numbers up to 3, in another order
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
    }

    /// Where gradients are recorded burn's operations are taken.
    #[test]
    fn both_ways_give_the_same() {
        Device::flex().seed(3);
        for [pictures, windows, heads, n, m] in
            [[1, 1, 1, 1, 1], [2, 3, 4, 49, 49], [1, 1, 2, 65, 7]]
        {
            let scores = random([pictures * windows, heads, n, m]);
            let mask = random([windows, n, m]);
            for bias in [None, Some([1, heads]), Some([pictures * windows, 1])] {
                let bias = bias.map(|[b, h]| random([b, h, n, m]));
                for mask in [None, Some(mask.clone())] {
                    let found = softmax(scores.clone(), 0.5, bias.clone(), mask.clone());
                    let recorded = scores.clone().autodiff();
                    same(found, softmax(recorded, 0.5, bias.clone(), mask));
                }
            }
        }
        for [rows, channels] in [[1, 1], [70, 33], [3, 700]] {
            let (x, weight, bias) = (
                random([rows, channels]),
                random([channels]),
                random([channels]),
            );
            for act in [None, Some(Activation::Gelu), Some(Activation::Tanh)] {
                for bias in [None, Some(bias.clone())] {
                    let found = finished(x.clone(), bias.clone(), act);
                    same(found, finished(x.clone().autodiff(), bias, act));
                }
            }
            let both = [weight, bias];
            assert!(layer_norm(&x.clone().autodiff(), 1, both.clone(), 1e-5).is_none());
            let (mean, var) = (x.clone().mean_dim(1), x.clone().var_bias(1));
            let [weight, bias] = both.clone().map(|values| values.unsqueeze::<2>());
            let expected = (x.clone() - mean) / (var + 1e-5).sqrt() * weight + bias;
            let found = layer_norm(&x, 1, both.clone(), 1e-5).unwrap();
            same(found, expected.clone());
            // The same as a map of one column.
            let map = x.clone().reshape([rows, channels, 1, 1]);
            let found = layer_norm(&map, 1, both, 1e-5).unwrap();
            same(found.reshape([rows, channels]), expected);
        }
    }
}
