//! [`activate`]: an activation, recorded as one operation, of which nothing but x is kept. On the CPU it is `smalti-cpu`'s.
//!
//! Shapes: any, the same for all.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};
use smalti_cpu::Act;

use super::conv::cpu::{fused, in_order, slice, tensor};
use crate::layers::Activation;

/// An activation and its gradient.
#[backend_extension(Flex, Autodiff: cfg(feature = "train"))]
pub trait Activate: Backend {
    /// y.
    fn activate(x: FloatTensor<Self>, act: Act) -> FloatTensor<Self>;

    /// The gradient of x from that of y.
    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        act: Act,
    ) -> FloatTensor<Self>;
}

/// The activation of every number; `None` where burn's operations are to be taken: not on the CPU, of other numbers than f32, or of an
/// activation that costs more than a pass over memory.
pub fn activate<const D: usize>(x: &Tensor<D>, act: Activation) -> Option<Tensor<D>> {
    let device = x.device().without_autodiff();
    let here = matches!(device.as_dispatch(), DispatchDevice::Flex(_));
    if !here || x.dtype() != DType::F32 {
        return None;
    }
    let y = <Dispatch as Activate>::activate(x.clone().into_dispatch(), fused(act)?);
    Some(Tensor::from_dispatch(y))
}

impl Activate for Flex {
    fn activate(x: FloatTensor<Self>, act: Act) -> FloatTensor<Self> {
        let x = in_order(x);
        let mut y = vec![0.0; slice(&x).len()];
        smalti_cpu::activate(act, slice(&x), &mut y);
        tensor(y, x.shape())
    }

    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        act: Act,
    ) -> FloatTensor<Self> {
        let x = in_order(x);
        // Nobody else holds it, most times: then it is not copied.
        let mut gradient = gradient.into_data();
        let values = gradient.as_mut_slice().expect("f32 as x");
        smalti_cpu::activation_gradient(act, slice(&x), values);
        FloatTensor::<Flex>::from_data(gradient)
    }
}

/// How the recording goes.
#[cfg(feature = "train")]
mod recorded {
    use burn_autodiff::Autodiff;
    use burn_autodiff::NodeId;
    use burn_autodiff::checkpoint::base::Checkpointer;
    use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn_autodiff::grads::Gradients;
    use burn_autodiff::ops::{Backward, Ops, OpsKind};

    use super::{Act, Activate, Backend, FloatTensor};

    /// The step back from y's gradient to that of x.
    #[derive(Debug)]
    struct Step;

    impl<B: Activate> Backward<B, 1> for Step {
        /// x, and what was done.
        type State = (NodeId, Act);

        fn backward(
            self,
            ops: Ops<Self::State, 1>,
            grads: &mut Gradients,
            checkpointer: &mut Checkpointer,
        ) {
            let [of_x] = ops.parents;
            let gradient = grads.consume::<B>(&ops.node);
            let (x, act) = ops.state;
            let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
            if let Some(node) = of_x {
                let gradient = B::activation_gradient(x, gradient, act);
                grads.register::<B>(node.id, gradient);
            }
        }
    }

    impl<B: Backend + Activate, C: CheckpointStrategy> Activate for Autodiff<B, C> {
        fn activate(x: FloatTensor<Self>, act: Act) -> FloatTensor<Self> {
            let prepared = Step.prepare::<C>([x.node()]).compute_bound().stateful();
            match prepared {
                OpsKind::Tracked(mut prepared) => {
                    let node = prepared.checkpoint(&x);
                    let y = B::activate(x.into_primitive(), act);
                    prepared.finish((node, act), y)
                }
                OpsKind::UnTracked(prepared) => {
                    prepared.finish(B::activate(x.into_primitive(), act))
                }
            }
        }

        fn activation_gradient(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: Act,
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn gradients_by_hand() {
        let x = Tensor::<1>::from_floats([-4.0, -1.0, 0.0, 1.0, 8.0], &Device::flex());
        let leaf = x.autodiff().require_grad();
        for (act, slopes) in [
            (Activation::Relu, [0.0, 0.0, 0.0, 1.0, 1.0]),
            (Activation::Relu6, [0.0, 0.0, 0.0, 1.0, 0.0]),
            (Activation::Clip(-1.0, 1.0), [0.0, 1.0, 1.0, 1.0, 0.0]),
        ] {
            let y = activate(&leaf, act).expect("it is there");
            // a gradient of one number for all, which does not lie in order
            let found = (y.sum() * 3.0).backward();
            let gradient = leaf.grad(&found).expect("it has one").into_data();
            let expected = slopes.map(|slope| 3.0 * slope);
            assert_eq!(gradient.try_into_vec::<f32>().unwrap(), expected, "{act:?}");
        }
        assert!(activate(&leaf, Activation::Gelu).is_none());
    }
}
