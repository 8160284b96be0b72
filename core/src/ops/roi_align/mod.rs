//! [`roi_align`]: the features of regions at a fixed size, with gradients. `smalti_shaders::reference::roi_align` has the arithmetic and the papers.
//!
//! Shapes: maps `[N, C, H, W]`, one for each level; regions `[R, 5]`: which picture, then xyxy in pixels of the batch; result
//! `[R, C, height, width]`.

mod cpu;
#[cfg(feature = "gpu")]
mod gpu;

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use smalti_cpu::Map;
pub use smalti_shaders::reference::roi_align::{Bin, RoiLevel, Sampling};

use super::conv::cpu::{on_cpu, slice};
use super::count::is_counting;
use super::rows;
use crate::device::is_processor;

/// How regions are read from a pyramid.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The levels.
    pub levels: Vec<RoiLevel>,
    /// How a region is read from one of them.
    pub sampling: Sampling,
    /// Which level a region is read from.
    pub choice: Choice,
}

/// Which level a region is read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// By its size.
    BySize {
        /// Regions of less than twice so many pixels a side are read from the finest one.
        finest: f32,
        /// Added to sizes that are counted in that.
        epsilon: f32,
    },
    /// All from this one.
    Level(usize),
}

/// The features of `regions`, each from one of `maps`; `scales` are places per pixel.
///
/// # Panics
/// If there are not as many scales as maps, or on a device that runs neither WGSL nor is the processor.
pub fn roi_align(
    maps: &[Tensor<4>],
    scales: &[f32],
    regions: Tensor<2>,
    sampling: Sampling,
    choice: Choice,
) -> Tensor<4> {
    assert_eq!(maps.len(), scales.len(), "a scale for each map");
    let (mut levels, mut first) = (Vec::new(), 0);
    for (map, scale) in maps.iter().zip(scales) {
        let [_, _, height, width] = map.dims();
        levels.push(RoiLevel {
            first,
            height,
            width,
            scale: *scale,
        });
        first += height * width;
    }
    let reading = Reading {
        levels,
        sampling,
        choice,
    };
    let [_, channels, ..] = maps[0].dims();
    let [rows, columns] = sampling.bins;
    let count = regions.dims()[0];
    if count == 0 || is_counting() {
        return Tensor::zeros([count, channels, rows, columns], &maps[0].device());
    }
    if let Some(made) = here(maps, &regions, &reading) {
        return made;
    }
    let pyramid = pyramid(maps).into_dispatch();
    let regions = regions.without_autodiff();
    let regions = match maps.iter().any(Tensor::is_autodiff) {
        true => regions.autodiff(),
        false => regions,
    };
    let made = <Dispatch as RoiAlign>::read_regions(pyramid, regions.into_dispatch(), reading);
    Tensor::from_dispatch(made)
}

/// On the processor where no gradients are recorded: from the maps as they lie.
fn here(maps: &[Tensor<4>], regions: &Tensor<2>, reading: &Reading) -> Option<Tensor<4>> {
    if !rows::here(&maps[0]) {
        return None;
    }
    let flex: Option<Vec<_>> = maps.iter().map(on_cpu).collect();
    let (flex, of) = (flex?, on_cpu(regions)?);
    let [pictures, channels, ..] = maps[0].dims();
    let levels = flex.iter().zip(&reading.levels).map(|(map, level)| Map {
        values: slice(map),
        plane: level.height * level.width,
        first: 0,
        size: [level.height, level.width],
    });
    let levels: Vec<_> = levels.collect();
    let made = cpu::read_maps(&levels, [pictures, channels], of, reading);
    Some(Tensor::from_primitive::<Flex>(made))
}

/// All levels, `[N, C, P]`: rows after rows, level after level. On the processor channel by channel, on a GPU with channels last, as
/// convolutions leave them there.
fn pyramid(maps: &[Tensor<4>]) -> Tensor<3> {
    let here = is_processor(&maps[0].device());
    let flat = maps.iter().map(|map| {
        let [n, c, h, w] = map.dims();
        match here {
            true => map.clone().reshape([n, c, h * w]),
            false => map.clone().permute([0, 2, 3, 1]).reshape([n, h * w, c]),
        }
    });
    let flat: Vec<_> = flat.collect();
    match (here, flat.len()) {
        (true, 1) => flat.into_iter().next().expect("one map"),
        (true, _) => Tensor::cat(flat, 2),
        (false, _) => Tensor::cat(flat, 1).swap_dims(1, 2),
    }
}

/// The reading, and the gradient of the pyramid.
#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Autodiff: cfg(feature = "train"))]
pub trait RoiAlign: Backend {
    /// `[R, C, height, width]` from `[N, C, P]` and `[R, 5]`; no gradients flow to the regions.
    fn read_regions(
        pyramid: FloatTensor<Self>,
        regions: FloatTensor<Self>,
        reading: Reading,
    ) -> FloatTensor<Self>;

    /// The gradient of `pyramid` from that of what was read.
    fn pyramid_gradient(
        pyramid: FloatTensor<Self>,
        regions: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        reading: Reading,
    ) -> FloatTensor<Self>;
}

impl RoiAlign for Flex {
    fn read_regions(
        pyramid: FloatTensor<Self>,
        regions: FloatTensor<Self>,
        reading: Reading,
    ) -> FloatTensor<Self> {
        cpu::read(pyramid, regions, &reading)
    }

    fn pyramid_gradient(
        pyramid: FloatTensor<Self>,
        regions: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        reading: Reading,
    ) -> FloatTensor<Self> {
        cpu::gradient(pyramid, regions, gradient, &reading)
    }
}

#[cfg(feature = "gpu")]
impl RoiAlign for Cube {
    fn read_regions(
        pyramid: FloatTensor<Self>,
        regions: FloatTensor<Self>,
        reading: Reading,
    ) -> FloatTensor<Self> {
        gpu::read(pyramid, regions, &reading)
    }

    fn pyramid_gradient(
        pyramid: FloatTensor<Self>,
        regions: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        reading: Reading,
    ) -> FloatTensor<Self> {
        gpu::gradient(pyramid, regions, gradient, &reading)
    }
}

/// How the recording goes.
#[cfg(feature = "train")]
mod recorded {
    use burn::backend::AutodiffBackend;
    use burn_autodiff::Autodiff;
    use burn_autodiff::checkpoint::base::Checkpointer;
    use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn_autodiff::grads::Gradients;
    use burn_autodiff::ops::{Backward, Ops, OpsKind};

    use super::{Backend, FloatTensor, Reading, RoiAlign};

    /// The step back from what was read to the pyramid.
    #[derive(Debug)]
    struct Step;

    impl<B: RoiAlign> Backward<B, 1> for Step {
        /// The pyramid, the regions, how they were read.
        type State = (FloatTensor<B>, FloatTensor<B>, Reading);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<B>(&ops.node);
            let (pyramid, regions, reading) = ops.state;
            if let [Some(node)] = ops.parents {
                let gradient = B::pyramid_gradient(pyramid, regions, gradient, reading);
                grads.register::<B>(node.id, gradient);
            }
        }
    }

    impl<B: Backend + RoiAlign, C: CheckpointStrategy> RoiAlign for Autodiff<B, C> {
        fn read_regions(
            pyramid: FloatTensor<Self>,
            regions: FloatTensor<Self>,
            reading: Reading,
        ) -> FloatTensor<Self> {
            let prepared = Step
                .prepare::<C>([pyramid.node()])
                .compute_bound()
                .stateful();
            let regions = Self::inner(regions);
            match prepared {
                OpsKind::Tracked(prepared) => {
                    let pyramid = pyramid.into_primitive();
                    let y = B::read_regions(pyramid.clone(), regions.clone(), reading.clone());
                    prepared.finish((pyramid, regions, reading), y)
                }
                OpsKind::UnTracked(prepared) => {
                    prepared.finish(B::read_regions(pyramid.into_primitive(), regions, reading))
                }
            }
        }

        fn pyramid_gradient(
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: FloatTensor<Self>,
            _: Reading,
        ) -> FloatTensor<Self> {
            panic!("gradients of gradients are not recorded: burn's are of the first order")
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};
    use smalti_shaders::reference::random::Random;

    use super::*;
    use crate::device::gpu_for_tests;

    /// Regions of two pictures of 96 x 64 px, some beyond them, some without size.
    fn regions(count: usize, random: &mut Random) -> Vec<f32> {
        let mut number = |low: f32, high: f32| low + (high - low) * random.unit();
        let region = |i: usize| {
            let (x, y) = (number(-20.0, 90.0), number(-20.0, 60.0));
            let side = if i % 7 == 3 { 0.0 } else { 80.0 };
            let picture = (i % 2) as f32;
            [picture, x, y, x + number(0.0, side), y + number(0.0, side)]
        };
        (0..count).flat_map(region).collect()
    }

    /// What is read, and the gradients of the maps.
    fn run(
        device: &Device,
        maps: &[TensorData],
        regions: &[f32],
        sampling: Sampling,
        choice: Choice,
    ) -> Vec<Vec<f32>> {
        let maps: Vec<Tensor<4>> = maps
            .iter()
            .map(|map| {
                Tensor::from_data(map.clone(), device)
                    .autodiff()
                    .require_grad()
            })
            .collect();
        let count = regions.len() / 5;
        let regions = TensorData::new(regions.to_vec(), [count, 5]);
        let regions = Tensor::<2>::from_data(regions, device);
        let scales = [0.25, 0.125, 0.0625];
        let y = roi_align(&maps, &scales[..maps.len()], regions, sampling, choice);
        let factors = Tensor::<1>::from_floats([0.3, -1.2, 0.7], device);
        let spread = y.clone().flatten::<1>(0, 3);
        let n = spread.dims()[0];
        let factors = factors.repeat(&[n.div_ceil(3)]).narrow(0, 0, n);
        let gradients = (spread * factors.autodiff()).sum().backward();
        let numbers = |t: Tensor<4>| t.into_data().try_into_vec::<f32>().unwrap();
        let mut made = vec![numbers(y.without_autodiff())];
        made.extend(
            maps.iter()
                .map(|map| numbers(map.grad(&gradients).unwrap())),
        );
        made
    }

    #[test]
    fn a_gpu_reads_what_the_processor_reads() {
        let Some(gpu) = gpu_for_tests() else { return };
        let cpu = Device::flex();
        cpu.seed(3);
        let mut random = Random::new(11);
        let bins = [Bin::Mean, Bin::Largest, Bin::Places];
        for (case, channels) in [1, 5, 64, 65, 4, 3].into_iter().enumerate() {
            for (i, bin) in bins.into_iter().enumerate() {
                let levels = 1 + (case + i) % 3;
                let map = |level: usize| {
                    let shape = [2, channels, 16 >> level, 24 >> level];
                    let map = Tensor::<4>::random(shape, Distribution::Default, &cpu);
                    map.into_data()
                };
                let maps: Vec<_> = (0..levels).map(map).collect();
                let count = [1, 2, 13, 0][case % 4];
                let regions = regions(count, &mut random);
                let sampling = Sampling {
                    bins: [[7, 7], [2, 3], [1, 5]][case % 3],
                    ratio: case % 3,
                    aligned: (case + i) % 2 == 0,
                    bin,
                };
                let choice = match case % 2 {
                    0 => Choice::BySize {
                        finest: 20.0,
                        epsilon: 1e-6,
                    },
                    _ => Choice::Level(levels - 1),
                };
                if count == 0 {
                    continue;
                }
                let on = |device| run(device, &maps, &regions, sampling, choice);
                for (part, (a, b)) in on(&gpu).iter().zip(&on(&cpu)).enumerate() {
                    let most = b.iter().fold(1.0f32, |m, v| m.max(v.abs()));
                    let off = a
                        .iter()
                        .zip(b)
                        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
                    assert_eq!(a.len(), b.len());
                    assert!(
                        off <= 1e-5 * most,
                        "case {case} {sampling:?} part {part}: {off} of {most}"
                    );
                }
            }
        }
    }
}
