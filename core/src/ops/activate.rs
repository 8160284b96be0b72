//! [`activate`]: an activation, recorded as one operation, of which nothing but x is kept. On the CPU it is `smalti-cpu`'s, on a GPU a kernel.
//!
//! Shapes: any, the same for all.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};
use smalti_shaders::ACTIVATE;
use smalti_shaders::records::ActRecord;

use super::conv::cpu::{fused, in_order, slice, tensor};
use super::conv::gpu::number;
#[cfg(feature = "gpu")]
use super::launch::Dense;
use super::launch::{Gpu, MOST_WORKGROUPS};
use crate::device::is_processor;
use crate::layers::Activation;

/// An activation and its gradient.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff: cfg(feature = "train"))]
pub trait Activate: Backend {
    /// y.
    fn activate(x: FloatTensor<Self>, act: Activation) -> FloatTensor<Self>;

    /// The gradient of x from that of y.
    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        act: Activation,
    ) -> FloatTensor<Self>;
}

/// The activation of every number; `None` where burn's operations are to be taken: on a GPU that runs no WGSL, of other numbers than f32, of
/// nothing, or of an activation that costs more than a pass over memory.
pub fn activate<const D: usize>(x: &Tensor<D>, act: Activation) -> Option<Tensor<D>> {
    let device = x.device().without_autodiff();
    let here = is_processor(&device);
    let count: usize = x.dims().iter().product();
    let fits = here || ((1..MOST).contains(&count) && Gpu::of(&device).is_some());
    if !fits || x.dtype() != DType::F32 || !in_a_pass(act, here) {
        return None;
    }
    let y = <Dispatch as Activate>::activate(x.clone().into_dispatch(), act);
    Some(Tensor::from_dispatch(y))
}

/// Whether the processor, or else a kernel, applies it in a pass over memory.
pub(super) fn in_a_pass(act: Activation, on_processor: bool) -> bool {
    match on_processor {
        true => fused(act).is_some(),
        false => number(act).is_some(),
    }
}

/// More numbers than a kernel counts.
const MOST: usize = 1 << 31;

impl Activate for Flex {
    fn activate(x: FloatTensor<Self>, act: Activation) -> FloatTensor<Self> {
        let x = in_order(x);
        let mut y = vec![0.0; slice(&x).len()];
        let act = fused(act).expect(APPLIES);
        smalti_cpu::activate(act, slice(&x), &mut y);
        tensor(y, x.shape())
    }

    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        act: Activation,
    ) -> FloatTensor<Self> {
        let x = in_order(x);
        // Nobody else holds it, most times: then it is not copied.
        let mut gradient = gradient.into_data();
        let values = gradient.as_mut_slice().expect("f32 as x");
        let act = fused(act).expect(APPLIES);
        smalti_cpu::activation_gradient(act, slice(&x), values);
        FloatTensor::<Flex>::from_data(gradient)
    }
}

/// Why an answer is there.
const APPLIES: &str = "`activate` asked whether it is done in a pass over memory";

#[cfg(feature = "gpu")]
impl Activate for Cube {
    fn activate(x: FloatTensor<Self>, act: Activation) -> FloatTensor<Self> {
        let x = Dense::of(x);
        launch(&x, None, act)
    }

    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        act: Activation,
    ) -> FloatTensor<Self> {
        let [x, gradient] = Dense::alike(x, gradient);
        launch(&x, Some(&gradient), act)
    }
}

/// y, or the gradient of x from that of y.
#[cfg(feature = "gpu")]
fn launch(x: &Dense, gradient: Option<&Dense>, act: Activation) -> FloatTensor<Cube> {
    let gpu = x.gpu();
    let (act, act_by) = number(act).expect(APPLIES);
    let record = ActRecord {
        act_by,
        act,
        numbers: x.count() as u32,
        slopes: u32::from(gradient.is_some()),
        unused: 0,
    };
    let record = gpu.constant(bytemuck::cast_slice(&[record]));
    let slope = match gradient {
        Some(gradient) => gradient.buffer(),
        None => gpu.constant(&[0]),
    };
    let made = gpu.empty(x.count());
    let groups = (x.count().div_ceil(256 * 4) as u32).min(MOST_WORKGROUPS);
    let buffers = [&record, &x.buffer(), &slope, &made];
    gpu.launch(&ACTIVATE, [groups, 1, 1], &buffers);
    x.like(made)
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

    use super::{Activate, Activation, Backend, FloatTensor};

    /// The step back from y's gradient to that of x.
    #[derive(Debug)]
    struct Step;

    impl<B: Activate> Backward<B, 1> for Step {
        /// x, and what was done.
        type State = (NodeId, Activation);

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
        fn activate(x: FloatTensor<Self>, act: Activation) -> FloatTensor<Self> {
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
            _: Activation,
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::device::gpu_for_tests;

    fn devices() -> impl Iterator<Item = Device> {
        std::iter::once(Device::flex()).chain(gpu_for_tests())
    }

    #[test]
    fn gradients_by_hand() {
        for device in devices() {
            let x = Tensor::<1>::from_floats([-4.0, -1.0, 0.0, 1.0, 8.0], &device);
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
            assert!(activate(&leaf, Activation::Tanh).is_none());
        }
    }

    /// However the numbers lie: in order, turned, with room between them.
    #[test]
    fn devices_agree() {
        let Some(gpu) = gpu_for_tests() else {
            return;
        };
        let hard = Activation::HSigmoid {
            bias: 1.0,
            divisor: 2.0,
            min: 0.0,
            max: 1.0,
        };
        let acts = [
            Activation::Relu,
            Activation::Relu6,
            Activation::LeakyRelu(0.1),
            Activation::Clip(-1.0, 2.0),
            Activation::Sigmoid,
            Activation::Silu,
            Activation::HSwish,
            hard,
        ];
        let made = |device: &Device, act: Activation, turn: usize, shape: [usize; 3]| {
            let count = shape.iter().product::<usize>();
            // on the host: devices' sines differ
            let values: Vec<f32> = (0..count).map(|i| 8.0 * (i as f32 * 0.37).sin()).collect();
            let x = Tensor::<3>::from_data(TensorData::new(values, shape), device);
            let leaf = x.clone().autodiff().require_grad();
            let lies = match turn {
                0 => leaf.clone(),
                1 => leaf.clone().swap_dims(0, 2),
                _ => leaf.clone().slice([0..1, 0..1]),
            };
            let y = activate(&lies, act).expect("it is there");
            let found = (y.clone() * lies).sum().backward();
            let gradient = leaf.grad(&found).expect("it has one");
            let values = |t: Tensor<3>| t.into_data().try_into_vec::<f32>().unwrap();
            [values(y.without_autodiff()), values(gradient)].concat()
        };
        for act in acts {
            for (turn, shape) in [
                (0, [1, 1, 1]),
                (0, [3, 63, 65]),
                (1, [4, 5, 6]),
                (2, [2, 7, 9]),
            ] {
                let expected = made(&Device::flex(), act, turn, shape);
                let found = made(&gpu, act, turn, shape);
                for (found, expected) in found.iter().zip(&expected) {
                    let bound = 1e-5 * (1.0 + expected.abs());
                    assert!(
                        (found - expected).abs() <= bound,
                        "{act:?} {turn}: {found} {expected}"
                    );
                }
            }
        }
    }
}
