//! [`batch_norm`]: batch norm and the activation after it, recorded as one operation, of which nothing but x is kept. On the CPU it is
//! `smalti-cpu`'s, on a GPU kernels (`gpu`), two each way.
//!
//! Shapes: x and y `[N, C, H, W]`, all else `[C]`.

mod gpu;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};
use smalti_cpu::{BatchNorm, Statistics};

use super::activate::in_a_pass;
use super::conv::cpu::{fused, in_order, slice, tensor};
use super::launch::Gpu;
use crate::device::is_processor;
use crate::layers::Activation;

/// What is done to the channels besides their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norming {
    /// Added to the variance.
    pub eps: f64,
    /// Applied last; none of those that [`batch_norm`] leaves.
    pub act: Option<Activation>,
    /// The statistics are of x itself, so that it has a part in them.
    pub own: bool,
}

/// The norm by statistics of x or others, and the gradients.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff: cfg(feature = "train"))]
pub trait Normalise: Backend {
    /// y, mean and variance (of all values, not an estimate); no gradients flow through the latter.
    fn by_own(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        of: Norming,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// y. Mean and variance are constants.
    fn by_given(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        of: Norming,
    ) -> FloatTensor<Self>;

    /// The gradients of x, weight and bias.
    fn norm_gradients(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        of: Norming,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Statistics of channels: mean and variance (of all values, not an estimate).
pub type MeanVar = [Tensor<1>; 2];

/// Batch norm by the statistics that are given, else by x's own; y and the statistics. If it applies the activation too, it takes it; those
/// that cost more than a pass over memory it leaves. `None` where tensor operations are to be taken: on a GPU that runs no WGSL, of other
/// numbers than f32, of nothing, of more than a kernel counts.
///
/// # Panics
/// If a tensor has another shape than said above.
pub fn batch_norm(
    x: &Tensor<4>,
    [weight, bias]: [Tensor<1>; 2],
    given: Option<MeanVar>,
    eps: f64,
    act: &mut Option<Activation>,
) -> Option<(Tensor<4>, MeanVar)> {
    let device = x.device().without_autodiff();
    let here = is_processor(&device);
    let fits = here || (Gpu::of(&device).is_some() && gpu::fits(x.dims()));
    if !fits || x.dtype() != DType::F32 || x.dims().contains(&0) {
        return None;
    }
    let fits = act.is_some_and(|act| in_a_pass(act, here));
    let of = Norming {
        eps,
        act: if fits { act.take() } else { None },
        own: given.is_none(),
    };
    let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
    let input = x.clone().into_dispatch();
    let Some([mean, var]) = given else {
        let (y, mean, var) = <Dispatch as Normalise>::by_own(input, weight, bias, of);
        return Some((
            Tensor::from_dispatch(y),
            [mean, var].map(Tensor::from_dispatch),
        ));
    };
    let [of_mean, of_var] = [mean.clone(), var.clone()].map(Tensor::into_dispatch);
    let y = <Dispatch as Normalise>::by_given(input, weight, bias, of_mean, of_var, of);
    Some((Tensor::from_dispatch(y), [mean, var]))
}

/// Takes the statistics of a batch of `count` values a channel into the running ones, of which they get `share`, as PyTorch: the variance as an
/// estimate of that of all batches. In place, and one launch, on a GPU that runs kernels.
///
/// # Panics
/// If `count` is 1.
pub fn learn(running: MeanVar, batch: MeanVar, share: f64, count: usize) -> MeanVar {
    assert!(count > 1, "a variance is of more than one value");
    let estimate = count as f64 / (count - 1) as f64;
    let batch = batch.map(Tensor::without_autodiff);
    if let Some(gpu) = Gpu::of(&running[0].device()) {
        let shares = [1.0 - share, share, share * estimate].map(|share| share as f32);
        return gpu::learn(&gpu, running, batch, shares);
    }
    let [mean, var] = batch;
    let new = [mean, var * estimate];
    let mut new = new.into_iter();
    running.map(|kept| kept * (1.0 - share) + new.next().expect("two") * share)
}

impl Normalise for Flex {
    fn by_own(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        of: Norming,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, bias] = [x, weight, bias].map(in_order);
        let mut y = vec![0.0; slice(&x).len()];
        let found = norm(&x, &weight, &bias, of).by_own(slice(&x), &mut y);
        let y = tensor(y, x.shape());
        (y, channels(found.mean), channels(found.var))
    }

    fn by_given(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        of: Norming,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(in_order);
        let mut y = vec![0.0; slice(&x).len()];
        let given = statistics(mean, var);
        norm(&x, &weight, &bias, of).by_given(slice(&x), &given, &mut y);
        tensor(y, x.shape())
    }

    fn norm_gradients(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        of: Norming,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, bias] = [x, weight, bias].map(in_order);
        // Nobody else holds it, most times: then it is not copied.
        let mut gradient = gradient.into_data();
        let values = gradient.as_mut_slice().expect("f32 as x");
        let statistics = statistics(mean, var);
        let norm = norm(&x, &weight, &bias, of);
        let slopes = norm.gradients(slice(&x), &statistics, of.own, values);
        let of_x = FloatTensor::<Flex>::from_data(gradient);
        (of_x, channels(slopes.weight), channels(slopes.bias))
    }
}

fn norm<'a>(
    x: &FloatTensor<Flex>,
    weight: &'a FloatTensor<Flex>,
    bias: &'a FloatTensor<Flex>,
    of: Norming,
) -> BatchNorm<'a> {
    let [_, _, height, width] = x.shape().dims();
    BatchNorm {
        cells: height * width,
        weight: slice(weight),
        bias: slice(bias),
        eps: of.eps,
        act: of.act.and_then(fused),
    }
}

fn statistics(mean: FloatTensor<Flex>, var: FloatTensor<Flex>) -> Statistics {
    let [mean, var] = [mean, var].map(|values| slice(&in_order(values)).to_vec());
    Statistics { mean, var }
}

fn channels(values: Vec<f32>) -> FloatTensor<Flex> {
    let shape = [values.len()];
    tensor(values, shape)
}

/// How the recording goes.
#[cfg(feature = "train")]
mod recorded {
    use burn::backend::AutodiffBackend;
    use burn_autodiff::Autodiff;
    use burn_autodiff::NodeId;
    use burn_autodiff::checkpoint::base::Checkpointer;
    use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn_autodiff::grads::Gradients;
    use burn_autodiff::ops::{Backward, Ops, OpsKind};

    use super::{Backend, FloatTensor, Normalise, Norming};

    /// The step back from y's gradient to those of x, weight and bias.
    #[derive(Debug)]
    struct Step;

    /// x; weight, bias, mean and variance; what was done.
    type State<B> = (NodeId, [FloatTensor<B>; 4], Norming);

    impl<B: Normalise> Backward<B, 3> for Step {
        type State = State<B>;

        fn backward(
            self,
            ops: Ops<Self::State, 3>,
            grads: &mut Gradients,
            checkpointer: &mut Checkpointer,
        ) {
            let gradient = grads.consume::<B>(&ops.node);
            let (x, [weight, bias, mean, var], of) = ops.state;
            let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
            let (of_x, of_weight, of_bias) =
                B::norm_gradients(x, gradient, weight, bias, mean, var, of);
            for (node, gradient) in ops.parents.into_iter().zip([of_x, of_weight, of_bias]) {
                if let Some(node) = node {
                    grads.register::<B>(node.id, gradient);
                }
            }
        }
    }

    impl<B: Backend + Normalise, C: CheckpointStrategy> Normalise for Autodiff<B, C> {
        fn by_own(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            of: Norming,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let prepared = Step
                .prepare::<C>([x.node(), weight.node(), bias.node()])
                .compute_bound()
                .stateful();
            let (y, mean, var) = match prepared {
                OpsKind::Tracked(mut prepared) => {
                    let node = prepared.checkpoint(&x);
                    let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
                    let (y, mean, var) = B::by_own(x, weight.clone(), bias.clone(), of);
                    let kept = [weight, bias, mean.clone(), var.clone()];
                    (prepared.finish((node, kept, of), y), mean, var)
                }
                OpsKind::UnTracked(prepared) => {
                    let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
                    let (y, mean, var) = B::by_own(x, weight, bias, of);
                    (prepared.finish(y), mean, var)
                }
            };
            (y, Self::from_inner(mean), Self::from_inner(var))
        }

        fn by_given(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            mean: FloatTensor<Self>,
            var: FloatTensor<Self>,
            of: Norming,
        ) -> FloatTensor<Self> {
            let prepared = Step
                .prepare::<C>([x.node(), weight.node(), bias.node()])
                .compute_bound()
                .stateful();
            let [mean, var] = [mean, var].map(|t| t.into_primitive());
            match prepared {
                OpsKind::Tracked(mut prepared) => {
                    let node = prepared.checkpoint(&x);
                    let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
                    let kept = [&weight, &bias, &mean, &var].map(Clone::clone);
                    let y = B::by_given(x, weight, bias, mean, var, of);
                    prepared.finish((node, kept, of), y)
                }
                OpsKind::UnTracked(prepared) => {
                    let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
                    prepared.finish(B::by_given(x, weight, bias, mean, var, of))
                }
            }
        }

        fn norm_gradients(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: Norming,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::{Device, Distribution, activation};

    use super::*;
    use crate::device::gpu_for_tests;

    /// The activation by burn's operations.
    fn plain(act: Option<Activation>, x: Tensor<4>) -> Tensor<4> {
        match act {
            None => x,
            Some(Activation::Relu) => activation::relu(x),
            Some(Activation::Silu) => activation::silu(x),
            Some(Activation::HSwish) => x.clone() * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Some(act) => unreachable!("{act:?} is not among the cases"),
        }
    }

    fn close(name: &str, made: Tensor<4>, expected: Tensor<4>) {
        let most = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
        let off = (made - expected).abs().max().into_scalar::<f32>();
        // both sides round in f32, and add up in other orders
        assert!(off <= 1e-4 * most, "{name}: {off} of {most}");
    }

    #[test]
    fn gradients_are_those_of_the_formula() {
        check(&Device::flex());
    }

    #[test]
    fn gradients_are_those_of_the_formula_on_a_gpu() {
        if let Some(device) = gpu_for_tests() {
            check(&device);
        }
    }

    fn check(device: &Device) {
        device.seed(3);
        let random = |shape: [usize; 4], low, high| {
            Tensor::<4>::random(shape, Distribution::Uniform(low, high), device)
        };
        let acts = [
            None,
            Some(Activation::Relu),
            Some(Activation::Silu),
            Some(Activation::HSwish),
        ];
        for (i, [n, c, h, w]) in [
            [1, 1, 1, 2],
            [3, 2, 1, 1],
            [2, 70, 3, 3],
            [3, 17, 9, 8],
            [1, 64, 1, 9],
            [2, 5, 37, 40],
        ]
        .into_iter()
        .enumerate()
        {
            for act in acts {
                for own in [true, false] {
                    let values = [
                        random([n, c, w, h], -1.0, 5.0),
                        random([1, c, 1, 1], -2.0, 2.0),
                        random([1, c, 1, 1], -1.0, 1.0),
                    ];
                    let leaves = || values.clone().map(|t| t.autodiff().require_grad());
                    let given =
                        [(0.0, 2.0), (0.5, 3.0)].map(|(low, high)| random([1, c, 1, 1], low, high));
                    let wanted = random([n, c, h, w], -1.0, 1.0);
                    let flat = |t: &Tensor<4>| t.clone().reshape([c]);
                    let statistics = (!own).then(|| given.each_ref().map(flat));

                    let ours @ [x, weight, bias] = &leaves();
                    // in another order
                    let map = x.clone().swap_dims(2, 3);
                    let (mut left, affine) = (act, [flat(weight), flat(bias)]);
                    let made = batch_norm(&map, affine, statistics, 1e-3, &mut left);
                    let (y, _) = made.expect("it is there");
                    assert_eq!(left, None, "taken");

                    let burns @ [x, weight, bias] = &leaves();
                    let map = x.clone().swap_dims(2, 3);
                    let over = |t: Tensor<4>| t.mean_dim(0).mean_dim(2).mean_dim(3);
                    let [mean, var] = if own {
                        let mean = over(map.clone());
                        let var = over((map.clone() - mean.clone()).square());
                        [mean, var]
                    } else {
                        given
                    };
                    let standard = (map - mean) / (var + 1e-3).sqrt();
                    let expected = plain(act, standard * weight.clone() + bias.clone());

                    let name = format!("case {i}, {act:?}, own: {own}");
                    let numbers = |t: &Tensor<4>| t.clone().without_autodiff();
                    close(&name, numbers(&y), numbers(&expected));
                    let found = (y * wanted.clone()).sum().backward();
                    let right = (expected * wanted).sum().backward();
                    for (ours, burns) in ours.iter().zip(burns) {
                        let gradient = ours.grad(&found).expect("it has one");
                        close(&name, gradient, burns.grad(&right).expect("it has one"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_frozen_gets_nothing_and_stops_nothing() {
        frozen(Device::flex());
        if let Some(device) = gpu_for_tests() {
            frozen(device);
        }
    }

    fn frozen(device: Device) {
        let x = Tensor::<4>::from_data([[[[1.0, 2.0]], [[3.0, 5.0]]]], &device);
        let ones = Tensor::<1>::ones([2], &device);
        let zeros = Tensor::<1>::zeros([2], &device);
        let given = || Some([zeros.clone(), ones.clone()]);
        let norm = |x: &Tensor<4>, weight: &Tensor<1>| {
            let affine = [weight.clone(), zeros.clone()];
            let made = batch_norm(x, affine, given(), 0.0, &mut Some(Activation::Tanh));
            made.expect("it is there").0
        };
        assert!(!norm(&x, &ones).is_autodiff(), "nothing to record");
        let weight = ones.clone().autodiff().require_grad();
        let found = norm(&x, &weight).sum().backward();
        let gradient = weight.grad(&found).expect("it has one").into_data();
        assert_eq!(gradient.try_into_vec::<f32>().unwrap(), [3.0, 8.0]);
        let leaf = x.autodiff().require_grad();
        let found = (norm(&leaf, &ones) * 2.0).sum().backward();
        let gradient = leaf.grad(&found).expect("it has one").into_data();
        assert_eq!(gradient.try_into_vec::<f32>().unwrap(), [2.0; 4]);
        let mut act = Some(Activation::Tanh);
        batch_norm(&leaf, [ones.clone(), zeros.clone()], None, 0.0, &mut act);
        assert_eq!(act, Some(Activation::Tanh), "left");
    }
}
