//! Steps of optimizers and averages on flat tensors, in place: one pass over memory on the CPU, one launch on a GPU. Nothing is read back.
//!
//! Shapes: all tensors of a step are `[n]`. A tensor that somebody else holds too is copied first.

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use smalti_shaders::records::{AdamRecord, RmspropRecord, SgdRecord};
use smalti_shaders::reference::train as twins;
use smalti_shaders::{ADAM, AVERAGE, Kernel, RMSPROP, SGD, SQUARES};

use super::launch::{Buffer, Gpu, MOST_WORKGROUPS};

/// Numbers that a thread takes at a time: with what is kept beside them 640 KiB at most, which stays in its cache.
const CHUNK: usize = 1 << 15;

/// What is done to each number of a tensor, given another one of its size and some that are kept.
pub(crate) trait Elementwise: Sync {
    /// The kernel; it binds [`Elementwise::told`], the tensor, the other one, and those that are kept.
    const KERNEL: Kernel;

    /// What the kernel is told.
    fn told(&self) -> Vec<u32>;

    /// Which of the kernel's tensors of its own are kept, in order.
    fn keeps(&self) -> &'static [usize];

    /// The twin; of tensors that are not kept it gets empty ones.
    fn run(&self, value: &mut [f32], other: &[f32], kept: [&mut [f32]; 3]);
}

impl Elementwise for SgdRecord {
    const KERNEL: Kernel = SGD;

    fn told(&self) -> Vec<u32> {
        bytemuck::cast_slice(&[*self]).to_vec()
    }

    fn keeps(&self) -> &'static [usize] {
        if self.momentum == 0.0 { &[] } else { &[0] }
    }

    fn run(&self, value: &mut [f32], gradient: &[f32], [buffer, ..]: [&mut [f32]; 3]) {
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

    fn run(&self, value: &mut [f32], gradient: &[f32], kept: [&mut [f32]; 3]) {
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

    fn run(&self, value: &mut [f32], gradient: &[f32], kept: [&mut [f32]; 3]) {
        twins::rmsprop(self, value, gradient, kept);
    }
}

/// The share of the new value in a running average; 1 copies it.
pub(crate) struct Share(pub f32);

impl Elementwise for Share {
    const KERNEL: Kernel = AVERAGE;

    fn told(&self) -> Vec<u32> {
        vec![self.0.to_bits()]
    }

    fn keeps(&self) -> &'static [usize] {
        &[]
    }

    fn run(&self, average: &mut [f32], value: &[f32], _: [&mut [f32]; 3]) {
        twins::average(self.0, average, value);
    }
}

/// Applies a formula to `value`, and to `kept` in place; gives what `value` becomes.
///
/// # Panics
/// If the tensors differ in size or device, or others are kept than the formula says.
pub(crate) fn apply(
    formula: &impl Elementwise,
    value: Tensor<1>,
    other: Tensor<1>,
    kept: &mut [Tensor<1>],
) -> Tensor<1> {
    assert_eq!(value.dims(), other.dims(), "a number for each");
    assert_eq!(kept.len(), formula.keeps().len());
    assert!(kept.iter().all(|k| k.dims() == value.dims()));
    if value.dims() == [0] {
        return value;
    }
    match Gpu::of(&value.device()) {
        Some(gpu) => on_gpu(&gpu, formula, value, other, kept),
        None => by_twin(formula, value, other, kept),
    }
}

fn on_gpu<F: Elementwise>(
    gpu: &Gpu,
    formula: &F,
    value: Tensor<1>,
    other: Tensor<1>,
    kept: &mut [Tensor<1>],
) -> Tensor<1> {
    const HERE: &str = "all tensors of a step are plain ones of one device";
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
    let places = 0..F::KERNEL.bindings as u32 - 3;
    let unused: Vec<Buffer> = places.map(|place| gpu.constant(&[place])).collect();
    let mut buffers = vec![&told, &value, &other];
    buffers.extend(&unused);
    for (place, kept) in formula.keeps().iter().zip(&owned) {
        buffers[3 + place] = kept;
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
    kept: &mut [Tensor<1>],
) -> Tensor<1> {
    let device = value.device();
    let mut numbers = in_memory(value);
    let mut kept_numbers: Vec<TensorData> = kept
        .iter_mut()
        .map(|kept| in_memory(std::mem::replace(kept, Tensor::empty([0], &device))))
        .collect();
    match other.clone().try_into_primitive::<Flex>() {
        // As it lies: a gradient may be held by others, and need not be copied to be read.
        Ok(other) if other.as_slice::<f32>().is_some() => {
            let other = other.as_slice().expect("asked just now");
            in_chunks(formula, &mut numbers, other, &mut kept_numbers);
        }
        _ => {
            let other = in_memory(other);
            let other = other.as_slice().expect("made of f32");
            in_chunks(formula, &mut numbers, other, &mut kept_numbers);
        }
    }
    for (kept, numbers) in kept.iter_mut().zip(kept_numbers) {
        *kept = Tensor::from_data(numbers, &device);
    }
    Tensor::from_data(numbers, &device)
}

/// The Euclidean norm of all numbers of all tensors, if they are in the host's memory: one pass over it, and no tensor between.
pub(crate) fn norm_in_memory<'a>(tensors: impl Iterator<Item = &'a Tensor<1>>) -> Option<f32> {
    let mut sum = 0.0;
    for tensor in tensors {
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        let parts = tensor
            .as_slice::<f32>()?
            .par_chunks(CHUNK)
            .map(twins::squares);
        // Added up in order, so that a run can be repeated.
        sum += parts.collect::<Vec<_>>().iter().sum::<f64>();
    }
    Some(sum.sqrt() as f32)
}

/// The Euclidean norm of all numbers of all tensors, if they are on a GPU that runs kernels: one launch for each.
pub(crate) fn norm_on_gpu<'a>(
    tensors: impl Iterator<Item = &'a Tensor<1>> + Clone,
) -> Option<Tensor<1>> {
    let gpu = Gpu::of(&tensors.clone().next()?.device())?;
    let groups = |count: usize| count.div_ceil(256 * 16).clamp(1, 64);
    let all = tensors.clone().map(|tensor| groups(tensor.dims()[0])).sum();
    let (sums, mut at) = (gpu.empty(all), 0);
    for tensor in tensors {
        let count = tensor.dims()[0];
        let numbers = gpu.contiguous(tensor.clone()).ok()?;
        let plan = gpu.constant(&[count as u32, at as u32]);
        let grid = [groups(count) as u32, 1, 1];
        gpu.launch(&SQUARES, grid, &[&plan, &numbers, &sums]);
        at += groups(count);
    }
    Some(gpu.tensor(sums, [all]).sum().sqrt())
}

/// Multiplies all by a factor, in the host's memory.
pub(crate) fn scale_in_memory(tensor: Tensor<1>, factor: f32) -> Tensor<1> {
    let device = tensor.device();
    let mut numbers = in_memory(tensor);
    let values = numbers.as_mut_slice::<f32>().expect(FLOATS);
    values
        .par_chunks_mut(CHUNK)
        .for_each(|values| twins::scale(factor, values));
    Tensor::from_data(numbers, &device)
}

const FLOATS: &str = "made of f32";

/// Its numbers, without a copy where nobody else holds them.
fn in_memory(tensor: Tensor<1>) -> TensorData {
    tensor.into_data().convert::<f32>()
}

fn in_chunks(
    formula: &impl Elementwise,
    value: &mut TensorData,
    other: &[f32],
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
        (value, other, kept)
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
    use burn::tensor::Device;

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
    fn made(formula: &impl Elementwise, count: usize, device: &Device) -> Vec<Vec<f32>> {
        let mut kept: Vec<_> = (0..formula.keeps().len())
            .map(|i| tensor(start(i, count), device))
            .collect();
        let held = kept.first().cloned();
        let value = tensor(numbers(count, 1.0), device);
        let also = value.clone();
        let gradient = tensor(numbers(count, 2.0), device);
        let new = apply(formula, value, gradient.clone(), &mut kept);
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
    fn norms_agree() {
        let counts = [1, 63, 65, 256, 70_001];
        let on = |device: &Device| {
            let tensors = counts.map(|count| tensor(numbers(count, 1.0), device));
            (
                norm_in_memory(tensors.iter()),
                norm_on_gpu(tensors.iter()).map(Tensor::into_scalar::<f32>),
            )
        };
        let (Some(expected), None) = on(&Device::flex()) else {
            panic!("the host's memory is no GPU's");
        };
        let Some(gpu) = crate::device::gpu_for_tests() else {
            return;
        };
        let (None, Some(found)) = on(&gpu) else {
            panic!("a GPU's memory is not the host's");
        };
        // sums of 70,001 numbers in f32
        assert!(
            (found - expected).abs() <= 1e-6 * expected,
            "{found} {expected}"
        );
    }

    #[test]
    fn threads_take_parts() {
        let count = 3 * CHUNK + 7;
        let all = made(&SGD, count, &Device::flex());
        let (mut value, mut buffer) = (numbers(count, 1.0), start(0, count));
        twins::sgd(&SGD, &mut value, &numbers(count, 2.0), &mut buffer);
        assert_eq!(all, [value, buffer]);
        let none = made(&SGD, 0, &Device::flex());
        assert_eq!(none, [Vec::<f32>::new(), Vec::new()]);
    }
}
