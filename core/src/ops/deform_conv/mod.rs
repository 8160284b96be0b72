//! [`deform_conv2d`]: deformable convolution (Dai et al. 2017, arXiv 1703.06211), with a mask its second version (Zhu et al. 2019, arXiv
//! 1811.11168), as mmcv 2.1 computes it; with the gradients of all its operands.
//!
//! What the filters see is gathered, a block of pixels at a time, and the product with the filters is a convolution: on the CPU by `smalti-cpu`
//! ([`cpu`]), on a GPU that runs WGSL by kernels ([`gpu`]), everywhere else all is burn's.
//!
//! Shapes: x `[N, C, H, W]`, weight `[K, C / groups, KH, KW]`, offset `[N, sets * KH * KW * 2, H', W']`, mask `[N, sets * KH * KW, H', W']`,
//! y `[N, K, H', W']`.

mod cpu;
mod gpu;

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::ops::DeformConvOptions;
use burn::tensor::{DType, Tensor, module};

use super::conv::ConvShape;
use super::count::counted;
use super::launch::Gpu;
use crate::Precision;
use crate::device::is_processor;

/// How filters move over the input before their taps move by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeformShape {
    /// Steps between outputs, in pixels: down, right.
    pub stride: [usize; 2],
    /// Zeros before and after each axis.
    pub padding: [(usize, usize); 2],
    /// Steps between a filter's taps, in pixels.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Sets of channels that move together (mmcv's `deform_groups`).
    pub sets: usize,
}

impl DeformShape {
    /// Zeros above and to the left.
    fn before(&self) -> [usize; 2] {
        self.padding.map(|(before, _)| before)
    }

    /// The convolution that it is where nothing moves.
    fn still(&self) -> ConvShape {
        ConvShape {
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
            precision: Precision::F32,
        }
    }
}

/// The convolution, and its gradients.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff: cfg(feature = "train"))]
pub trait DeformConvolve: Backend {
    /// y.
    fn deform_convolve(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: DeformShape,
    ) -> FloatTensor<Self>;

    /// The gradients of x, offset and mask.
    fn deform_gradients(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: DeformShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of the weights, which have `dims`.
    fn deform_weight_gradient(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: DeformShape,
        dims: [usize; 4],
    ) -> FloatTensor<Self>;
}

/// Deformable convolution; without a mask all samples count alike.
///
/// # Panics
/// If shapes do not belong together.
pub fn deform_conv2d(
    x: Tensor<4>,
    offset: Tensor<4>,
    mask: Option<Tensor<4>>,
    weight: Tensor<4>,
    shape: &DeformShape,
) -> Tensor<4> {
    let (size, dims) = (x.dims(), weight.dims());
    let out = shape.still().size_out(size, dims);
    let rows = shape.sets * dims[2] * dims[3];
    if let Some([height, width]) = out {
        let count = [size[0], 2 * rows, height, width];
        assert_eq!(offset.dims(), count, "the offsets of {size:?} by {dims:?}");
        let places = size[0] * height * width;
        let given = [size[0], dims[0], height, width];
        if counted(|| None, &given, || places * dims.iter().product::<usize>()) {
            return Tensor::zeros(given, &x.device());
        }
    }
    let device = x.device().without_autodiff();
    if let (Some([height, width]), true) = (out, size[0] * dims[0] == 0) {
        return Tensor::zeros([size[0], dims[0], height, width], &device);
    }
    let here = is_processor(&device) || (Gpu::of(&device).is_some() && gpu::fits(size, dims, out));
    let numbers = size.iter().chain(&dims).all(|n| *n > 0) && size[2] * size[3] < 1 << 31;
    if !here || !numbers || out.is_none() || x.dtype() != DType::F32 {
        let options = DeformConvOptions::new(
            shape.stride,
            shape.before(),
            shape.dilation,
            shape.groups,
            shape.sets,
        );
        return module::deform_conv2d(x, offset, weight, mask, None, options);
    }
    let mask = mask.unwrap_or_else(|| {
        let [n, _, height, width] = offset.dims();
        Tensor::ones([n, rows, height, width], &device)
    });
    let [x, offset, mask, weight] = [x, offset, mask, weight].map(Tensor::into_dispatch);
    let y = <Dispatch as DeformConvolve>::deform_convolve(x, offset, mask, weight, *shape);
    Tensor::from_dispatch(y)
}

impl DeformConvolve for Flex {
    fn deform_convolve(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: DeformShape,
    ) -> FloatTensor<Self> {
        cpu::convolve([x, offset, mask], weight, &shape)
    }

    fn deform_gradients(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: DeformShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        cpu::gradients([x, offset, mask], weight, gradient, &shape).into()
    }

    fn deform_weight_gradient(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: DeformShape,
        dims: [usize; 4],
    ) -> FloatTensor<Self> {
        cpu::weight_gradient([x, offset, mask], gradient, &shape, dims)
    }
}

#[cfg(feature = "gpu")]
impl DeformConvolve for Cube {
    fn deform_convolve(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: DeformShape,
    ) -> FloatTensor<Self> {
        let [x, offset, mask, weight] = [x, offset, mask, weight].map(here);
        primitive(gpu::convolve([x, offset, mask], weight, &shape))
    }

    fn deform_gradients(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: DeformShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [x, offset, mask, weight, gradient] = [x, offset, mask, weight, gradient].map(here);
        let made = gpu::gradients([x, offset, mask], weight, gradient, &shape);
        made.map(primitive).into()
    }

    fn deform_weight_gradient(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: DeformShape,
        dims: [usize; 4],
    ) -> FloatTensor<Self> {
        let [x, offset, mask, gradient] = [x, offset, mask, gradient].map(here);
        primitive(gpu::weight_gradient(
            [x, offset, mask],
            gradient,
            &shape,
            dims,
        ))
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

/// How the recording goes.
#[cfg(feature = "train")]
mod recorded {
    use burn::backend::TensorMetadata;
    use burn_autodiff::Autodiff;
    use burn_autodiff::NodeId;
    use burn_autodiff::checkpoint::base::Checkpointer;
    use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn_autodiff::grads::Gradients;
    use burn_autodiff::ops::{Backward, Ops, OpsKind};

    use super::{Backend, DeformConvolve, DeformShape, FloatTensor};

    /// The step back from y's gradient to those of x, offset, mask and weights.
    #[derive(Debug)]
    struct Step;

    impl<B: DeformConvolve> Backward<B, 4> for Step {
        /// x, offset, mask, weights; how the filters move.
        type State = ([NodeId; 4], DeformShape);

        fn backward(
            self,
            ops: Ops<Self::State, 4>,
            grads: &mut Gradients,
            checkpointer: &mut Checkpointer,
        ) {
            let [of_x, of_offset, of_mask, of_weight] = ops.parents;
            let gradient = grads.consume::<B>(&ops.node);
            let (nodes, shape) = ops.state;
            let operands = nodes.map(|node| checkpointer.retrieve_node_output(node));
            let [x, offset, mask, weight]: [FloatTensor<B>; 4] = operands;
            if let Some(node) = of_weight {
                let dims = weight.shape().dims::<4>();
                let [x, offset, mask] = [&x, &offset, &mask].map(Clone::clone);
                let gradient =
                    B::deform_weight_gradient(x, offset, mask, gradient.clone(), shape, dims);
                grads.register::<B>(node.id, gradient);
            }
            let parents = [of_x, of_offset, of_mask];
            if parents.iter().all(Option::is_none) {
                return;
            }
            let (x, offset, mask) = B::deform_gradients(x, offset, mask, weight, gradient, shape);
            for (node, gradient) in parents.into_iter().zip([x, offset, mask]) {
                if let Some(node) = node {
                    grads.register::<B>(node.id, gradient);
                }
            }
        }
    }

    impl<B: Backend + DeformConvolve, C: CheckpointStrategy> DeformConvolve for Autodiff<B, C> {
        fn deform_convolve(
            x: FloatTensor<Self>,
            offset: FloatTensor<Self>,
            mask: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            shape: DeformShape,
        ) -> FloatTensor<Self> {
            let operands = [x, offset, mask, weight];
            let prepared = Step
                .prepare::<C>(operands.each_ref().map(|operand| operand.node()))
                .compute_bound()
                .stateful();
            let convolve = |operands: [FloatTensor<Self>; 4]| {
                let [x, offset, mask, weight] = operands.map(|operand| operand.into_primitive());
                B::deform_convolve(x, offset, mask, weight, shape)
            };
            match prepared {
                OpsKind::Tracked(mut prepared) => {
                    let nodes = operands.each_ref().map(|o| prepared.checkpoint(o));
                    prepared.finish((nodes, shape), convolve(operands))
                }
                OpsKind::UnTracked(prepared) => prepared.finish(convolve(operands)),
            }
        }

        fn deform_gradients(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: DeformShape,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }

        fn deform_weight_gradient(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: DeformShape,
            _: [usize; 4],
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}

#[cfg(test)]
mod tests;
