//! [`focal`]: the sum of the sigmoid focal loss, recorded as one operation. On the CPU it is `smalti-cpu`'s, on a GPU a kernel.
//!
//! By burn's operations it is some twelve passes over all logits forward and more backward, each with a tensor of that size in between; here
//! it is one forward and one backward.
//!
//! Shapes: logits `[N, A * K, H, W]` or `[R, K]`; labels and weights of each of their rows, `[N * H * W * A]` or `[R]`.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Int, Tensor};
use smalti_shaders::FOCAL;
use smalti_shaders::records::FocalRecord;

use super::conv::cpu::{in_order, slice, tensor};
use super::launch::{Buffer, Gpu};
use crate::device::is_processor;

pub use smalti_cpu::Focal;

/// The sum of the losses, and the gradient of that.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff: cfg(feature = "train"))]
pub trait FocalSum: Backend {
    /// The sum, `[1]`.
    fn focal_sum(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        of: Focal,
    ) -> FloatTensor<Self>;

    /// The gradient of the sum times `scale`, `[1]`; it has the shape of the logits.
    fn focal_gradient(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        of: Focal,
    ) -> FloatTensor<Self>;
}

/// The sum of the losses of a map, `[1]`, times the weights of their rows; labels from `of.classes` on, and below 0, are background. `None`
/// where burn's operations are to be taken: on a GPU that runs no WGSL, of other numbers than f32, of nothing, or of far too much.
///
/// # Panics
/// If there are not as many logits and labels as `of` says.
pub fn focal<const D: usize>(
    logits: &Tensor<D>,
    labels: &Tensor<1, Int>,
    weights: Option<&Tensor<1>>,
    of: Focal,
) -> Option<Tensor<1>> {
    assert_eq!(
        logits.dims().iter().product::<usize>(),
        of.logits(),
        "logits"
    );
    assert_eq!(labels.dims(), [of.rows()], "labels");
    let device = logits.device().without_autodiff();
    let here = is_processor(&device);
    let fits = (1..=MOST).contains(&of.logits());
    if !(here || Gpu::of(&device).is_some()) || !fits || logits.dtype() != DType::F32 {
        return None;
    }
    // all of one kind, recorded or not
    let alike = |tensor: Tensor<1>| {
        let tensor = tensor.without_autodiff();
        #[cfg(feature = "train")]
        if logits.is_autodiff() {
            return tensor.autodiff();
        }
        tensor
    };
    let labels = alike(labels.clone().float());
    let weights = match weights {
        Some(weights) => alike(weights.clone()),
        None => labels.ones_like(),
    };
    let [logits, labels, weights] = [
        logits.clone().into_dispatch(),
        labels.into_dispatch(),
        weights.into_dispatch(),
    ];
    let sum = <Dispatch as FocalSum>::focal_sum(logits, labels, weights, of);
    Some(Tensor::from_dispatch(sum))
}

/// The largest number of logits whose places a kernel counts.
const MOST: usize = 1 << 31;

impl FocalSum for Flex {
    fn focal_sum(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        of: Focal,
    ) -> FloatTensor<Self> {
        let [logits, labels, weights] = [logits, labels, weights].map(in_order);
        let sum = of.sum(slice(&logits), slice(&labels), slice(&weights));
        tensor(vec![sum as f32], [1])
    }

    fn focal_gradient(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        of: Focal,
    ) -> FloatTensor<Self> {
        let shape = logits.shape();
        let [logits, labels, weights, scale] = [logits, labels, weights, scale].map(in_order);
        let mut made = vec![0.0; of.logits()];
        let scale = slice(&scale)[0];
        of.gradient(
            slice(&logits),
            slice(&labels),
            slice(&weights),
            scale,
            &mut made,
        );
        tensor(made, shape)
    }
}

/// Why a kernel's answer is there.
const APPLIES: &str = "`focal` asked whether the device runs kernels";

#[cfg(feature = "gpu")]
impl FocalSum for Cube {
    fn focal_sum(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        of: Focal,
    ) -> FloatTensor<Self> {
        let rows = [labels, weights].map(Tensor::<1>::from_primitive::<Cube>);
        let gpu = Gpu::of(&rows[0].device()).expect(APPLIES);
        let groups = groups(&of);
        let sums = gpu.empty(groups as usize);
        // no gradient, so no factor
        let scale = gpu.upload(&[0]);
        launch(&gpu, logits, rows, &scale, &sums, of, false);
        let sums: Tensor<1> = gpu.tensor(sums, [groups as usize]);
        let sum = sums.sum().try_into_primitive::<Cube>();
        sum.expect(APPLIES)
    }

    fn focal_gradient(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        of: Focal,
    ) -> FloatTensor<Self> {
        let shape = logits.shape();
        let rows = [labels, weights].map(Tensor::<1>::from_primitive::<Cube>);
        let gpu = Gpu::of(&rows[0].device()).expect(APPLIES);
        let made = gpu.empty(of.logits());
        // a copy: the one number may lie in the same memory as what else is bound
        let scale = Tensor::<1>::from_primitive::<Cube>(scale) * 1.0;
        let scale = gpu.contiguous(scale).expect(APPLIES);
        launch(&gpu, logits, rows, &scale, &made, of, true);
        let made = gpu.tensor(made, [of.logits()]).try_into_primitive::<Cube>();
        Cube::float_reshape(made.expect(APPLIES), shape)
    }
}

#[cfg(feature = "gpu")]
/// Enough for a large device to be busy, few enough for their sums to be added quickly.
fn groups(of: &Focal) -> u32 {
    (of.logits().div_ceil(256 * 8) as u32).clamp(1, 1024)
}

#[cfg(feature = "gpu")]
fn launch(
    gpu: &Gpu,
    logits: FloatTensor<Cube>,
    rows: [Tensor<1>; 2],
    scale: &Buffer,
    made: &Buffer,
    of: Focal,
    slopes: bool,
) {
    let logits = Cube::float_reshape(logits, vec![of.logits()].into());
    let logits = gpu.contiguous(Tensor::<1>::from_primitive::<Cube>(logits));
    let [labels, weights] = rows.map(|rows| gpu.contiguous(rows).expect(APPLIES));
    let record = FocalRecord {
        logits: of.logits() as u32,
        per_cell: of.per_cell as u32,
        classes: of.classes as u32,
        cells: of.cells as u32,
        slopes: u32::from(slopes),
        gamma: of.gamma,
        alpha: of.alpha,
        unused: 0,
    };
    let record = gpu.constant(bytemuck::cast_slice(&[record]));
    let logits = logits.expect(APPLIES);
    let buffers = [&record, &logits, &labels, &weights, scale, made];
    gpu.launch(&FOCAL, [groups(&of), 1, 1], &buffers);
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

    use super::{Backend, FloatTensor, Focal, FocalSum};

    /// The step back from the sum's gradient to that of the logits.
    #[derive(Debug)]
    struct Step;

    impl<B: FocalSum> Backward<B, 1> for Step {
        /// Logits, labels, weights, and what they are.
        type State = (NodeId, FloatTensor<B>, FloatTensor<B>, Focal);

        fn backward(
            self,
            ops: Ops<Self::State, 1>,
            grads: &mut Gradients,
            checkpointer: &mut Checkpointer,
        ) {
            let [of_logits] = ops.parents;
            let scale = grads.consume::<B>(&ops.node);
            let (logits, labels, weights, of) = ops.state;
            let logits: FloatTensor<B> = checkpointer.retrieve_node_output(logits);
            if let Some(node) = of_logits {
                let gradient = B::focal_gradient(logits, labels, weights, scale, of);
                grads.register::<B>(node.id, gradient);
            }
        }
    }

    impl<B: Backend + FocalSum, C: CheckpointStrategy> FocalSum for Autodiff<B, C> {
        fn focal_sum(
            logits: FloatTensor<Self>,
            labels: FloatTensor<Self>,
            weights: FloatTensor<Self>,
            of: Focal,
        ) -> FloatTensor<Self> {
            let [labels, weights] = [labels, weights].map(|t| t.into_primitive());
            let prepared = Step
                .prepare::<C>([logits.node()])
                .compute_bound()
                .stateful();
            match prepared {
                OpsKind::Tracked(mut prepared) => {
                    let node = prepared.checkpoint(&logits);
                    let sum =
                        B::focal_sum(logits.into_primitive(), labels.clone(), weights.clone(), of);
                    prepared.finish((node, labels, weights, of), sum)
                }
                OpsKind::UnTracked(prepared) => {
                    prepared.finish(B::focal_sum(logits.into_primitive(), labels, weights, of))
                }
            }
        }

        fn focal_gradient(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: Focal,
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use smalti_shaders::reference::loss::focal::{gradient, sum};

    use super::*;
    use crate::device::gpu_for_tests;
    use crate::losses::tests::uniform;

    /// Maps whose logits lie in order or not, with and without weights, against the twin.
    fn check(device: &Device) {
        for (pictures, per_cell, classes, [height, width], gamma) in [
            (1, 1, 1, [1, 1], 2.0),
            (2, 3, 5, [4, 7], 2.0),
            (1, 1, 63, [1, 65], 1.5),
            (3, 2, 64, [8, 8], 0.0),
            (2, 9, 80, [13, 5], 2.0),
        ] {
            let of = Focal {
                pictures,
                per_cell,
                classes,
                cells: height * width,
                gamma,
                alpha: 0.25,
            };
            let shape = [pictures, per_cell * classes, width, height];
            // more sure than f32's `1 - p` could tell
            let logits = uniform(1, of.logits())
                .into_iter()
                .map(|u| (u * 60.0 - 30.0) as f32);
            let logits = Tensor::<4>::from_data(
                TensorData::new(logits.collect::<Vec<f32>>(), shape),
                device,
            );
            let labels = uniform(2, of.rows()).into_iter();
            let labels = labels.map(|u| (u * (classes + 2) as f64) as i32 - 1);
            let labels: Vec<i32> = labels.collect();
            let weights: Vec<f32> = uniform(3, of.rows())
                .into_iter()
                .map(|u| u as f32)
                .collect();
            let rows = [of.rows()];
            let on_device =
                Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), rows), device);
            for weighted in [false, true] {
                let leaf = logits.clone().autodiff().require_grad();
                let map = leaf.clone().swap_dims(2, 3);
                let given = Tensor::<1>::from_data(TensorData::new(weights.clone(), rows), device);
                let found = focal(&map, &on_device, weighted.then_some(&given), of);
                let found = found.expect("it applies");
                let plain = focal(
                    &map.clone().without_autodiff(),
                    &on_device,
                    weighted.then_some(&given),
                    of,
                );
                let plain = plain.expect("it applies").into_scalar::<f32>();

                let told = FocalRecord {
                    logits: of.logits() as u32,
                    per_cell: per_cell as u32,
                    classes: classes as u32,
                    cells: of.cells as u32,
                    slopes: 0,
                    gamma,
                    alpha: 0.25,
                    unused: 0,
                };
                let values = map
                    .without_autodiff()
                    .into_data()
                    .try_into_vec::<f32>()
                    .unwrap();
                let labels: Vec<f32> = labels.iter().map(|l| *l as f32).collect();
                let weights = if weighted {
                    weights.clone()
                } else {
                    vec![1.0; of.rows()]
                };
                let expected = sum(&told, &values, &labels, &weights);
                assert_eq!(plain, found.clone().into_scalar::<f32>());
                assert!(
                    (f64::from(plain) - expected).abs() <= 1e-5 * expected,
                    "{of:?}: {plain} {expected}"
                );

                let made = leaf.grad(&(found * 3.0).backward()).expect("a gradient");
                let made = made
                    .swap_dims(2, 3)
                    .into_data()
                    .try_into_vec::<f32>()
                    .unwrap();
                let expected = gradient(&told, &values, &labels, &weights, 3.0);
                for (made, expected) in made.iter().zip(&expected) {
                    // what is far below the rest may be 0: GPUs have no numbers below f32's normal ones
                    let bound = 1e-5 * expected.abs() + 1e-30;
                    assert!(
                        (made - expected).abs() <= bound,
                        "{of:?}: {made} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn as_the_twin_on_the_cpu() {
        check(&Device::flex());
    }

    #[test]
    fn as_the_twin_on_a_gpu() {
        if let Some(device) = gpu_for_tests() {
            check(&device);
        }
    }
}
