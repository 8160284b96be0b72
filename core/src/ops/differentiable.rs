//! [`Convolve`]: convolution with the gradients of both its operands, under autodiff too.
//!
//! Shapes: x `[N, C, H, W]`, weight `[K, C / groups, KH, KW]`, y `[N, K, H', W']`.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::conv::{ConvShape, cpu, gpu};

/// A convolution's three products: y from x and the weights, and the gradient of either from that of y and the other.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff: cfg(feature = "train"))]
pub trait Convolve: Backend {
    /// y.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self>;

    /// The gradient of x, which has `size` (height and width).
    fn input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
        size: [usize; 2],
    ) -> FloatTensor<Self>;

    /// The gradient of the weights, which have `dims`.
    fn weight_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: ConvShape,
        dims: [usize; 4],
    ) -> FloatTensor<Self>;
}

/// Convolution of weights that may change, recorded where gradients are; `None` where burn's is to be taken: on a GPU that runs no
/// WGSL, of other numbers than f32, of nothing, or of far too much.
pub fn convolve(x: &Tensor<4>, weight: &Tensor<4>, shape: &ConvShape) -> Option<Tensor<4>> {
    let dims = weight.dims();
    let applies = cpu::applies(x, dims, shape) || gpu::applies(x, dims, shape);
    applies.then(|| {
        let (x, weight) = (x.clone().into_dispatch(), weight.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Convolve>::convolve(x, weight, *shape))
    })
}

/// Why a kernel's answer is there.
const APPLIES: &str = "`convolve` asked whether the kernels apply";

#[cfg(feature = "gpu")]
impl Convolve for Cube {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        let y = gpu::convolve(&here(x), &here(weight), &shape);
        primitive(y.expect(APPLIES))
    }

    fn input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
        size: [usize; 2],
    ) -> FloatTensor<Self> {
        let gradient = gpu::input_gradient(&here(gradient), &here(weight), &shape, size);
        primitive(gradient.expect(APPLIES))
    }

    fn weight_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: ConvShape,
        dims: [usize; 4],
    ) -> FloatTensor<Self> {
        let gradient = gpu::weight_gradient(&here(x), &here(gradient), &shape, dims);
        primitive(gradient.expect(APPLIES))
    }
}

#[cfg(feature = "gpu")]
fn here(tensor: FloatTensor<Cube>) -> Tensor<4> {
    Tensor::from_primitive::<Cube>(tensor)
}

#[cfg(feature = "gpu")]
fn primitive(tensor: Tensor<4>) -> FloatTensor<Cube> {
    let tensor = tensor.try_into_primitive::<Cube>();
    tensor.expect("made on the device of what was given")
}

impl Convolve for Flex {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        cpu::convolve(x, weight, &shape)
    }

    fn input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
        size: [usize; 2],
    ) -> FloatTensor<Self> {
        cpu::input_gradient(gradient, weight, &shape, size)
    }

    fn weight_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: ConvShape,
        dims: [usize; 4],
    ) -> FloatTensor<Self> {
        cpu::weight_gradient(x, gradient, &shape, dims)
    }
}

/// How the recording goes: as burn records its own (`burn-autodiff`, `conv2d`).
#[cfg(feature = "train")]
mod recorded {
    use burn::backend::TensorMetadata;
    use burn_autodiff::Autodiff;
    use burn_autodiff::NodeId;
    use burn_autodiff::checkpoint::base::Checkpointer;
    use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn_autodiff::grads::Gradients;
    use burn_autodiff::ops::{Backward, Ops, OpsKind};

    use super::{Backend, ConvShape, Convolve, FloatTensor};

    /// The step back from y's gradient to those of x and the weights.
    #[derive(Debug)]
    struct Convolution;

    impl<B: Convolve> Backward<B, 2> for Convolution {
        /// x, the weights, how the filters move.
        type State = (NodeId, NodeId, ConvShape);

        fn backward(
            self,
            ops: Ops<Self::State, 2>,
            grads: &mut Gradients,
            checkpointer: &mut Checkpointer,
        ) {
            let [of_x, of_weight] = ops.parents;
            let gradient = grads.consume::<B>(&ops.node);
            let (x, weight, shape) = ops.state;
            let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
            let weight: FloatTensor<B> = checkpointer.retrieve_node_output(weight);
            let dims = weight.shape().dims::<4>();
            if let Some(node) = of_x {
                let [_, _, height, width] = x.shape().dims::<4>();
                let size = [height, width];
                let gradient = B::input_gradient(gradient.clone(), weight, shape, size);
                grads.register::<B>(node.id, gradient);
            }
            if let Some(node) = of_weight {
                let gradient = B::weight_gradient(x, gradient, shape, dims);
                grads.register::<B>(node.id, gradient);
            }
        }
    }

    impl<B: Backend + Convolve, C: CheckpointStrategy> Convolve for Autodiff<B, C> {
        fn convolve(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            shape: ConvShape,
        ) -> FloatTensor<Self> {
            let prepared = Convolution
                .prepare::<C>([x.node(), weight.node()])
                .compute_bound()
                .stateful();
            match prepared {
                OpsKind::Tracked(mut prepared) => {
                    let state = (prepared.checkpoint(&x), prepared.checkpoint(&weight), shape);
                    let y = B::convolve(x.into_primitive(), weight.into_primitive(), shape);
                    prepared.finish(state, y)
                }
                OpsKind::UnTracked(prepared) => prepared.finish(B::convolve(
                    x.into_primitive(),
                    weight.into_primitive(),
                    shape,
                )),
            }
        }

        fn input_gradient(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: ConvShape,
            _: [usize; 2],
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }

        fn weight_gradient(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: ConvShape,
            _: [usize; 4],
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}
