//! Steps of optimizers and averages on flat tensors, in place: one pass over memory on the CPU, one launch on a GPU. Nothing is read back.
//!
//! Shapes: all tensors of a step are `[n]`. A tensor that somebody else holds too is copied first.

use burn::backend::Flex;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use smalti_shaders::records::{AdamRecord, RmspropRecord, SgdRecord};
use smalti_shaders::reference::train::{self as twins, Slopes};
use smalti_shaders::{ADAM, AVERAGE, Kernel, RMSPROP, SGD, SQUARES};

use super::launch::{Buffer, Gpu, MOST_WORKGROUPS};

/// Numbers that a thread takes at a time: with what is kept beside them 640 KiB at most, which stays in its cache.
const CHUNK: usize = 1 << 15;

/// What is done to each number of a tensor, given another one of its size and some that are kept.
pub(crate) trait Elementwise: Sync {
    /// The kernel; it binds [`Elementwise::told`], the tensor, the other one, those that are kept, and the factor.
    const KERNEL: Kernel;

    /// Whether the other tensor, a gradient, is taken by a factor.
    const BY_FACTOR: bool = true;

    /// What the kernel is told.
    fn told(&self) -> Vec<u32>;

    /// Which of the kernel's tensors of its own are kept, in order.
    fn keeps(&self) -> &'static [usize];

    /// The twin; of tensors that are not kept it gets empty ones.
    fn run(&self, value: &mut [f32], other: Slopes, kept: [&mut [f32]; 3]);
}

impl Elementwise for SgdRecord {
    const KERNEL: Kernel = SGD;

    fn told(&self) -> Vec<u32> {
        bytemuck::cast_slice(&[*self]).to_vec()
    }

    fn keeps(&self) -> &'static [usize] {
        if self.momentum == 0.0 { &[] } else { &[0] }
    }

    fn run(&self, value: &mut [f32], gradient: Slopes, [buffer, ..]: [&mut [f32]; 3]) {
        twins::sgd(self, value, gradient, buffer);
    }
}

impl Elementwise for AdamRecord {
    const KERNEL: Kernel = ADAM;

    fn told(&self) -> Vec<u32> {
        bytemuck::cast_slice(&[*self]).to_vec()
    }

    fn keeps(&self) -> &'static [usize] {
        if self.amsgrad == 0 {
            &[0, 1]
        } else {
            &[0, 1, 2]
        }
    }

    fn run(&self, value: &mut [f32], gradient: Slopes, kept: [&mut [f32]; 3]) {
        twins::adam(self, value, gradient, kept);
    }
}

impl Elementwise for RmspropRecord {
    const KERNEL: Kernel = RMSPROP;

    fn told(&self) -> Vec<u32> {
        bytemuck::cast_slice(&[*self]).to_vec()
    }

    fn keeps(&self) -> &'static [usize] {
        match (self.momentum > 0.0, self.centered == 1) {
            (false, false) => &[0],
            (true, false) => &[0, 1],
            (false, true) => &[0, 2],
            (true, true) => &[0, 1, 2],
        }
    }

    fn run(&self, value: &mut [f32], gradient: Slopes, kept: [&mut [f32]; 3]) {
        twins::rmsprop(self, value, gradient, kept);
    }
}

/// The share of the new value in a running average; 1 copies it.
pub(crate) struct Share(pub f32);

impl Elementwise for Share {
    const KERNEL: Kernel = AVERAGE;
    const BY_FACTOR: bool = false;

    fn told(&self) -> Vec<u32> {
        vec![self.0.to_bits()]
    }

    fn keeps(&self) -> &'static [usize] {
        &[]
    }

    fn run(&self, average: &mut [f32], Slopes(value, _): Slopes, _: [&mut [f32]; 3]) {
        twins::average(self.0, average, value);
    }
}

/// Applies a formula to `value`, and to `kept` in place; gives what `value` becomes. `factor`, `[1]`, is that of `other`; 1 if there is none.
///
/// # Panics
/// If the tensors differ in size or device, or others are kept than the formula says.
pub(crate) fn apply(
    formula: &impl Elementwise,
    value: Tensor<1>,
    other: Tensor<1>,
    factor: Option<Tensor<1>>,
    kept: &mut [Tensor<1>],
) -> Tensor<1> {
    assert_eq!(value.dims(), other.dims(), "a number for each");
    assert_eq!(kept.len(), formula.keeps().len());
    assert!(kept.iter().all(|k| k.dims() == value.dims()));
    if value.dims() == [0] {
        return value;
    }
    match Gpu::of(&value.device()) {
        Some(gpu) => on_gpu(&gpu, formula, value, other, factor, kept),
        None => by_twin(formula, value, other, factor, kept),
    }
}

const HERE: &str = "all tensors of a step are plain ones of one device";

fn on_gpu<F: Elementwise>(
    gpu: &Gpu,
    formula: &F,
    value: Tensor<1>,
    other: Tensor<1>,
    factor: Option<Tensor<1>>,
    kept: &mut [Tensor<1>],
) -> Tensor<1> {
    let count = value.dims()[0];
    let told = gpu.constant(&formula.told());
    let value = gpu.own(value).expect(HERE);
    let other = gpu.contiguous(other).expect(HERE);
    let owned = kept.iter_mut().map(|kept| {
        let device = kept.device();
        let taken = std::mem::replace(kept, Tensor::empty([0], &device));
        gpu.own(taken).expect(HERE)
    });
    let owned: Vec<Buffer> = owned.collect();
    // What is not kept is bound all the same, each a buffer of its own.
    let places = 0..(F::KERNEL.bindings - 3 - usize::from(F::BY_FACTOR)) as u32;
    let unused: Vec<Buffer> = places.map(|place| gpu.constant(&[place])).collect();
    let mut buffers = vec![&told, &value, &other];
    buffers.extend(&unused);
    for (place, kept) in formula.keeps().iter().zip(&owned) {
        buffers[3 + place] = kept;
    }
    let factor = match factor {
        Some(factor) => gpu.contiguous(factor).expect(HERE),
        None => gpu.constant(&[1f32.to_bits()]),
    };
    if F::BY_FACTOR {
        buffers.push(&factor);
    }
    let groups = count.div_ceil(F::KERNEL.workgroup[0] as usize) as u32;
    let rows = groups.div_ceil(MOST_WORKGROUPS);
    gpu.launch(&F::KERNEL, [groups.div_ceil(rows), rows, 1], &buffers);
    for (kept, buffer) in kept.iter_mut().zip(owned) {
        *kept = gpu.tensor(buffer, [count]);
    }
    gpu.tensor(value, [count])
}

fn by_twin(
    formula: &impl Elementwise,
    value: Tensor<1>,
    other: Tensor<1>,
    factor: Option<Tensor<1>>,
    kept: &mut [Tensor<1>],
) -> Tensor<1> {
    let device = value.device();
    let factor = factor.map_or(1.0, Tensor::into_scalar::<f32>);
    let mut numbers = in_memory(value);
    let mut kept_numbers: Vec<TensorData> = kept
        .iter_mut()
        .map(|kept| in_memory(std::mem::replace(kept, Tensor::empty([0], &device))))
        .collect();
    match other.clone().try_into_primitive::<Flex>() {
        // As it lies: a gradient may be held by others, and need not be copied to be read.
        Ok(other) if other.as_slice::<f32>().is_some() => {
            let other = other.as_slice().expect("asked just now");
            in_chunks(
                formula,
                &mut numbers,
                Slopes(other, factor),
                &mut kept_numbers,
            );
        }
        _ => {
            let other = in_memory(other);
            let other = other.as_slice().expect("made of f32");
            in_chunks(
                formula,
                &mut numbers,
                Slopes(other, factor),
                &mut kept_numbers,
            );
        }
    }
    for (kept, numbers) in kept.iter_mut().zip(kept_numbers) {
        *kept = Tensor::from_data(numbers, &device);
    }
    Tensor::from_data(numbers, &device)
}

/// What is to be known of gradients before a step.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// The Euclidean norm of all numbers of all tensors, `[1]`.
    pub norm: Tensor<1>,
    /// How many numbers are not finite, `[1]`.
    pub not_finite: Tensor<1>,
}

impl Measured {
    /// Of all tensors, on the device they are on; `None` if there are none.
    pub fn of<'a>(tensors: impl Iterator<Item = &'a Tensor<1>> + Clone) -> Option<Self> {
        let device = tensors.clone().next()?.device();
        Some(match Gpu::of(&device) {
            Some(gpu) => measured_on_gpu(&gpu, tensors),
            None => measured_in_memory(tensors, &device),
        })
    }
}

/// One pass over the host's memory, and no tensor between.
fn measured_in_memory<'a>(
    tensors: impl Iterator<Item = &'a Tensor<1>>,
    device: &Device,
) -> Measured {
    let (mut sum, mut not_finite) = (0.0, 0);
    for tensor in tensors {
        let data;
        let plain = tensor.clone().try_into_primitive::<Flex>();
        let values = match plain
            .as_ref()
            .ok()
            .and_then(|plain| plain.as_slice::<f32>())
        {
            Some(values) => values,
            None => {
                data = in_memory(tensor.clone());
                data.as_slice().expect(FLOATS)
            }
        };
        let part = |values: &[f32]| (twins::squares(values), twins::not_finite(values));
        let parts: Vec<_> = values.par_chunks(CHUNK).map(part).collect();
        // Added up in order, so that a run can be repeated.
        sum += parts.iter().map(|(squares, _)| squares).sum::<f64>();
        not_finite += parts.iter().map(|(_, count)| count).sum::<usize>();
    }
    Measured {
        norm: Tensor::from_floats([sum.sqrt() as f32], device),
        not_finite: Tensor::from_floats([not_finite as f32], device),
    }
}

/// Tensors of a launch of `squares`.
const TOGETHER: usize = SQUARES.bindings - 2;

/// A launch for every few tensors.
fn measured_on_gpu<'a>(
    gpu: &Gpu,
    tensors: impl Iterator<Item = &'a Tensor<1>> + Clone,
) -> Measured {
    let numbers = |tensor: &Tensor<1>| gpu.contiguous(tensor.clone()).expect(HERE);
    let mut launches: Vec<Vec<Buffer>> = Vec::new();
    for buffer in tensors.filter(|t| t.dims() != [0]).map(numbers) {
        // Two gradients may be one tensor, which no launch binds twice.
        let fits = |launch: &&mut Vec<Buffer>| {
            launch.len() < TOGETHER && !launch.iter().any(|other| other.shares(&buffer))
        };
        match launches.last_mut().filter(fits) {
            Some(launch) => launch.push(buffer),
            None => launches.push(vec![buffer]),
        }
    }
    let groups = |launch: &[Buffer]| {
        let most = launch.iter().map(Buffer::words).max().unwrap_or(0);
        most.div_ceil(256 * 16).clamp(1, 64)
    };
    let all: usize = launches.iter().map(|l| groups(l) * l.len()).sum();
    let sums = match all {
        0 => gpu.constant(&[0; 2]),
        _ => gpu.empty(2 * all),
    };
    let mut at = 0;
    let unused: Vec<Buffer> = (0..TOGETHER as u32).map(|i| gpu.constant(&[i])).collect();
    for launch in &launches {
        let mut plan = [0u32; TOGETHER + 2];
        for (count, buffer) in plan.iter_mut().zip(launch) {
            *count = buffer.words() as u32;
        }
        (plan[TOGETHER], plan[TOGETHER + 1]) = (at as u32, all as u32);
        let plan = gpu.constant(&plan);
        let mut buffers = vec![&plan];
        buffers.extend(launch);
        buffers.extend(&unused[launch.len()..]);
        buffers.push(&sums);
        gpu.launch(
            &SQUARES,
            [groups(launch) as u32, launch.len() as u32, 1],
            &buffers,
        );
        at += groups(launch) * launch.len();
    }
    let sums = gpu.tensor(sums, [2, all.max(1)]).sum_dim(1);
    let row = |i: usize| sums.clone().slice([i..i + 1, 0..1]).reshape([1]);
    Measured {
        norm: row(0).sqrt(),
        not_finite: row(1),
    }
}

const FLOATS: &str = "made of f32";

/// Its numbers, without a copy where nobody else holds them.
fn in_memory(tensor: Tensor<1>) -> TensorData {
    tensor.into_data().convert::<f32>()
}

fn in_chunks(
    formula: &impl Elementwise,
    value: &mut TensorData,
    Slopes(other, factor): Slopes,
    kept: &mut [TensorData],
) {
    let value = value.as_mut_slice::<f32>().expect(FLOATS);
    let mut rest: [&mut [f32]; 3] = Default::default();
    for (place, kept) in formula.keeps().iter().zip(kept) {
        rest[*place] = kept.as_mut_slice().expect(FLOATS);
    }
    let [mut a, mut b, mut c] = rest.map(|kept| kept.chunks_mut(CHUNK));
    let chunks = value.chunks_mut(CHUNK).zip(other.chunks(CHUNK));
    let chunks = chunks.map(|(value, other)| {
        let kept = [a.next(), b.next(), c.next()].map(Option::unwrap_or_default);
        (value, Slopes(other, factor), kept)
    });
    let chunks: Vec<_> = chunks.collect();
    if let [_] = chunks.as_slice() {
        let work = chunks.into_iter();
        return work.for_each(|(value, other, kept)| formula.run(value, other, kept));
    }
    let work = chunks.into_par_iter();
    work.for_each(|(value, other, kept)| formula.run(value, other, kept));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -1 to 1 that differ by `seed`.
    fn numbers(count: usize, seed: f32) -> Vec<f32> {
        let number = |i: usize| (i as f32 * 0.37 + seed).sin();
        (0..count).map(number).collect()
    }

    /// What is kept in the beginning. The first may be a mean of squares, the others means: their squares are below it.
    fn start(i: usize, count: usize) -> Vec<f32> {
        let scale = if i == 0 { 1.0 } else { 0.2 };
        let number = |v: f32| scale * (v * v + 0.1);
        numbers(count, 3.0 + i as f32)
            .into_iter()
            .map(number)
            .collect()
    }

    fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), device)
    }

    /// What a formula makes of a tensor and those that are kept.
    fn made<F: Elementwise>(formula: &F, count: usize, device: &Device) -> Vec<Vec<f32>> {
        let mut kept: Vec<_> = (0..formula.keeps().len())
            .map(|i| tensor(start(i, count), device))
            .collect();
        let held = kept.first().cloned();
        let value = tensor(numbers(count, 1.0), device);
        let also = value.clone();
        let gradient = tensor(numbers(count, 2.0), device);
        let factor = F::BY_FACTOR.then(|| tensor(vec![0.5], device));
        let new = apply(formula, value, gradient.clone(), factor, &mut kept);
        // What others hold stays.
        assert_eq!(read(&also), numbers(count, 1.0));
        assert_eq!(read(&gradient), numbers(count, 2.0));
        if let Some(held) = held {
            assert_eq!(read(&held), start(0, count));
        }
        let kept = kept.iter().map(read);
        std::iter::once(read(&new)).chain(kept).collect()
    }

    fn read(tensor: &Tensor<1>) -> Vec<f32> {
        tensor.to_data().try_into_vec().unwrap()
    }

    const SGD: SgdRecord = SgdRecord {
        lr: 0.1,
        momentum: 0.9,
        undamped: 0.8,
        weight_decay: 0.01,
        sign: 1.0,
        fresh: 0,
        nesterov: 1,
        most: 0.3,
    };
    const ADAM: AdamRecord = AdamRecord {
        keep: 0.99,
        weight_decay: 0.01,
        sign: -1.0,
        new_mean: 0.1,
        old_square: 0.999,
        new_square: 0.001,
        step_size: 0.2,
        correction: 0.5,
        eps: 1e-8,
        amsgrad: 1,
        most: -1.0,
    };
    const RMSPROP: RmspropRecord = RmspropRecord {
        lr: 0.1,
        alpha: 0.9,
        new_share: 0.1,
        eps: 1e-2,
        weight_decay: 0.01,
        momentum: 0.9,
        sign: 1.0,
        centered: 0,
        most: 0.4,
    };

    #[test]
    fn devices_agree() {
        let Some(gpu) = crate::device::gpu_for_tests() else {
            return;
        };
        let check = |name: &str, make: &dyn Fn(usize, &Device) -> Vec<Vec<f32>>| {
            for count in [1, 63, 65, 256, 70_001] {
                let (here, there) = (make(count, &Device::flex()), make(count, &gpu));
                for (here, there) in here.iter().flatten().zip(there.iter().flatten()) {
                    // A GPU's division may be off by 2.5, its square root by 2 units in the last place.
                    let bound = 2e-6 * (1.0 + here.abs());
                    assert!(
                        (here - there).abs() <= bound,
                        "{name} {count}: {here} {there}"
                    );
                }
            }
        };
        check("sgd", &|n, d| made(&SGD, n, d));
        let plain = SgdRecord {
            momentum: 0.0,
            ..SGD
        };
        check("plain sgd", &|n, d| made(&plain, n, d));
        check("amsgrad", &|n, d| made(&ADAM, n, d));
        let adam = AdamRecord { amsgrad: 0, ..ADAM };
        check("adam", &|n, d| made(&adam, n, d));
        check("rmsprop", &|n, d| made(&RMSPROP, n, d));
        let centered = RmspropRecord {
            centered: 1,
            new_share: 1e-3,
            ..RMSPROP
        };
        check("centred", &|n, d| made(&centered, n, d));
        let plain = RmspropRecord {
            momentum: 0.0,
            ..centered
        };
        check("centred alone", &|n, d| made(&plain, n, d));
        check("average", &|n, d| made(&Share(0.3), n, d));
    }

    #[test]
    fn devices_measure_alike() {
        let counts = [1, 63, 65, 256, 70_001, 0, 3, 5];
        let on = |device: &Device, odd: &[f32]| {
            let mut tensors: Vec<_> = counts
                .map(|count| tensor(numbers(count, 1.0), device))
                .into();
            tensors.push(tensor(odd.to_vec(), device));
            tensors.push(tensors[0].clone());
            let Measured { norm, not_finite } = Measured::of(tensors.iter()).unwrap();
            [norm, not_finite].map(Tensor::into_scalar::<f32>)
        };
        let plain = |count: usize| numbers(count, 1.0).iter().map(|v| v * v).sum::<f32>();
        let all = counts.map(plain).iter().sum::<f32>() + 4.0 + plain(1);
        let devices = [Some(Device::flex()), crate::device::gpu_for_tests()];
        for device in devices.iter().flatten() {
            let [norm, none] = on(device, &[2.0]);
            // sums of 70,001 numbers in f32
            assert!((norm - all.sqrt()).abs() <= 1e-5 * norm, "{norm} {all}");
            assert_eq!(none, 0.0);
            let [_, some] = on(device, &[f32::NAN, 1e30, f32::INFINITY, f32::NEG_INFINITY]);
            assert_eq!(some, 3.0, "large ones are numbers all the same");
        }
        assert!(Measured::of([].iter()).is_none());
    }

    #[test]
    fn threads_take_parts() {
        let count = 3 * CHUNK + 7;
        let all = made(&SGD, count, &Device::flex());
        let (mut value, mut buffer) = (numbers(count, 1.0), start(0, count));
        let gradient = numbers(count, 2.0);
        twins::sgd(&SGD, &mut value, Slopes(&gradient, 0.5), &mut buffer);
        assert_eq!(all, [value, buffer]);
        let none = made(&SGD, 0, &Device::flex());
        assert_eq!(none, [Vec::<f32>::new(), Vec::new()]);
    }
}
