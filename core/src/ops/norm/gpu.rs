//! Batch norm by kernels. Channels lie last, as convolutions leave them; a tensor in another order is copied first.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use smalti_shaders::records::NormRecord;
use smalti_shaders::{NORM_GRADIENT, NORM_MOMENTS, NORM_NORMALISE, NORM_RUNNING, NORM_SLOPES};

use super::{MeanVar, Normalise, Norming};
use crate::ops::conv::gpu::{Channels, number};
use crate::ops::launch::{Buffer, Gpu};

/// Rows of an invocation that reads them: enough for a workgroup to be worth its sum, few enough for many workgroups.
const ROWS: usize = 64 * 8;

/// Most slices of rows, whose sums each workgroup adds.
const MOST_SLICES: usize = 512;

/// Whether a kernel can count the numbers of such a tensor.
pub(super) fn fits([n, c, h, w]: [usize; 4]) -> bool {
    n * h * w * c.next_multiple_of(4) < 1 << 31
}

/// Why a kernel's answer is there.
const APPLIES: &str = "`batch_norm` asked whether the device runs kernels";

#[cfg(feature = "gpu")]
/// A tensor's channels, last, and what kernels are told of them.
struct Rows {
    gpu: Gpu,
    x: Buffer,
    shape: [usize; 4],
    record: NormRecord,
}

#[cfg(feature = "gpu")]
impl Rows {
    fn of(x: FloatTensor<Cube>, of: Norming, own: bool) -> Self {
        let x = Tensor::<4>::from_primitive::<Cube>(x);
        let gpu = Gpu::of(&x.device()).expect(APPLIES);
        let shape @ [n, c, h, w] = x.dims();
        let rows = n * h * w;
        let (act, act_by) = of.act.and_then(number).unwrap_or_default();
        let x = Channels::dense(&gpu, x, None).expect(APPLIES);
        let record = NormRecord {
            act_by,
            act,
            rows: rows as u32,
            channels: c as u32,
            slices: rows.div_ceil(ROWS).min(MOST_SLICES) as u32,
            own: u32::from(own),
            eps: of.eps as f32,
            unused: [0; 2],
        };
        Self {
            gpu,
            x,
            shape,
            record,
        }
    }

    fn told(&self) -> Buffer {
        let words = bytemuck::cast_slice(std::slice::from_ref(&self.record));
        self.gpu.constant(words)
    }

    fn channels(&self) -> usize {
        self.shape[1]
    }

    fn filled(&self) -> usize {
        self.channels().next_multiple_of(4)
    }

    /// Two numbers a channel and slice, then `more` a channel.
    fn sums(&self, more: usize) -> Buffer {
        let slices = self.record.slices as usize;
        self.gpu.empty((slices * 2 + more) * self.filled())
    }

    fn empty(&self) -> Buffer {
        self.gpu.empty(self.record.rows as usize * self.filled())
    }

    fn grid(&self) -> [u32; 3] {
        let columns = self.filled().div_ceil(16) as u32;
        [columns, self.record.slices, 1]
    }

    /// The dispatch of what is done to each row.
    fn grid_of_rows(&self) -> [u32; 3] {
        let [columns, ..] = self.grid();
        [columns, self.record.rows.div_ceil(64 * 4).min(4096), 1]
    }

    fn tensor(&self, buffer: Buffer) -> FloatTensor<Cube> {
        let [_, _, height, width] = self.shape;
        let filled = self.filled();
        let strides = [height * width * filled, 1, width * filled, filled];
        let tensor = self.gpu.strided_tensor(buffer, self.shape, strides);
        tensor.try_into_primitive::<Cube>().expect(APPLIES)
    }

    fn of_channels(&self, buffer: Buffer) -> FloatTensor<Cube> {
        let tensor = self.gpu.tensor(buffer, [self.channels()]);
        tensor.try_into_primitive::<Cube>().expect(APPLIES)
    }

    /// y, by statistics that are read, or written from `sums`.
    fn normalise(&self, affine: [&Buffer; 2], sums: &Buffer, statistics: [&Buffer; 2]) -> Buffer {
        let y = self.empty();
        let [weight, bias] = affine;
        let [mean, var] = statistics;
        let buffers = [&self.told(), &self.x, weight, bias, sums, mean, var, &y];
        self.gpu
            .launch(&NORM_NORMALISE, self.grid_of_rows(), &buffers);
        y
    }
}

/// Takes a batch's statistics into the running ones, in place.
pub(super) fn learn(gpu: &Gpu, running: MeanVar, batch: MeanVar, shares: [f32; 3]) -> MeanVar {
    let channels = running[0].dims()[0];
    let shares = gpu.constant(bytemuck::cast_slice(&shares));
    let new = batch.map(|values| gpu.contiguous(values).expect(PLAIN));
    let kept = running.map(|values| gpu.own(values).expect(PLAIN));
    let buffers = [&shares, &new[0], &new[1], &kept[0], &kept[1]];
    let groups = channels.div_ceil(NORM_RUNNING.workgroup[0] as usize);
    gpu.launch(&NORM_RUNNING, [groups as u32, 1, 1], &buffers);
    kept.map(|buffer| gpu.tensor(buffer, [channels]))
}

const PLAIN: &str = "statistics are plain tensors of the device";

#[cfg(feature = "gpu")]
/// `[C]` in memory.
fn in_order(gpu: &Gpu, values: FloatTensor<Cube>) -> Buffer {
    let values = Tensor::<1>::from_primitive::<Cube>(values);
    gpu.contiguous(values).expect(APPLIES)
}

#[cfg(feature = "gpu")]
impl Normalise for Cube {
    fn by_own(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        of: Norming,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let rows = Rows::of(x, of, true);
        let [weight, bias] = [weight, bias].map(|values| in_order(&rows.gpu, values));
        let sums = rows.sums(0);
        let buffers = [&rows.told(), &rows.x, &sums];
        rows.gpu.launch(&NORM_MOMENTS, rows.grid(), &buffers);
        let [mean, var] = [(); 2].map(|()| rows.gpu.empty(rows.channels()));
        let y = rows.normalise([&weight, &bias], &sums, [&mean, &var]);
        let [mean, var] = [mean, var].map(|values| rows.of_channels(values));
        (rows.tensor(y), mean, var)
    }

    fn by_given(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        of: Norming,
    ) -> FloatTensor<Self> {
        let mut rows = Rows::of(x, of, false);
        rows.record.slices = 0;
        let values = [weight, bias, mean, var].map(|values| in_order(&rows.gpu, values));
        let [weight, bias, mean, var] = &values;
        let none = rows.gpu.constant(&[0; 4]);
        let y = rows.normalise([weight, bias], &none, [mean, var]);
        rows.tensor(y)
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
        let rows = Rows::of(x, of, of.own);
        let values = [weight, bias, mean, var].map(|values| in_order(&rows.gpu, values));
        let [weight, bias, mean, var] = &values;
        let slope = Tensor::<4>::from_primitive::<Cube>(gradient);
        let slope = Channels::dense(&rows.gpu, slope, Some(&rows.x)).expect(APPLIES);
        let sums = rows.sums(4);
        let told = rows.told();
        let buffers = [&told, &rows.x, &slope, weight, bias, mean, var, &sums];
        rows.gpu.launch(&NORM_SLOPES, rows.grid(), &buffers);
        let of_x = rows.empty();
        let [of_weight, of_bias] = [(); 2].map(|()| rows.gpu.empty(rows.channels()));
        let buffers = [&told, &rows.x, &slope, &sums, &of_x, &of_weight, &of_bias];
        let grid = rows.grid_of_rows();
        rows.gpu.launch(&NORM_GRADIENT, grid, &buffers);
        let [of_weight, of_bias] = [of_weight, of_bias].map(|values| rows.of_channels(values));
        (rows.tensor(of_x), of_weight, of_bias)
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::{Device, Distribution};
    use smalti_shaders::reference::norm::{
        gradients, normalise, running as running_of, statistics,
    };

    use super::super::batch_norm;
    use super::*;
    use crate::device::gpu_for_tests;
    use crate::layers::Activation;

    /// `[N, C, H, W]` as the twin has it: channels last, filled up.
    fn rows(x: &Tensor<4>) -> Vec<f32> {
        let [_, c, ..] = x.dims();
        let x = x.clone().permute([0, 2, 3, 1]);
        let values: Vec<f32> = x.into_data().try_into_vec().unwrap();
        let row = |row: &[f32]| {
            let filled = std::iter::repeat_n(0.0, c.next_multiple_of(4) - c);
            row.iter().copied().chain(filled).collect::<Vec<_>>()
        };
        values.chunks(c).flat_map(row).collect()
    }

    fn close(name: &str, found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{name}");
        let most = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
        for (found, expected) in found.iter().zip(expected) {
            // sums of some thousand numbers of about 1 in f32
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= 1e-5 * most, "{name}: {found} {expected} of {most}");
        }
    }

    fn check(device: &Device, shape: [usize; 4], act: Option<Activation>, own: bool) {
        let name = format!("{shape:?} {act:?} own: {own}");
        let [n, c, h, w] = shape;
        let random =
            |low, high| Tensor::<4>::random(shape, Distribution::Uniform(low, high), device);
        let of_channels =
            |low, high| Tensor::<1>::random([c], Distribution::Uniform(low, high), device);
        let (x, slope) = (random(-1.0, 2.0), random(-1.0, 1.0));
        let affine = [of_channels(0.5, 2.0), of_channels(-1.0, 1.0)];
        let given = (!own).then(|| [of_channels(-0.5, 0.5), of_channels(0.5, 2.0)]);
        let leaf = x.clone().autodiff().require_grad();
        let leaves = affine.clone().map(|t| t.autodiff().require_grad());
        let recorded = leaves.clone();
        let (y, found) = batch_norm(&leaf, recorded, given, 1e-3, &mut act.clone()).unwrap();
        let back = (y.clone() * slope.clone()).sum().backward();

        let (act, act_by) = act.and_then(number).unwrap_or_default();
        let told = NormRecord {
            act_by,
            act,
            rows: (n * h * w) as u32,
            channels: c as u32,
            slices: 1,
            own: u32::from(own),
            eps: 1e-3,
            unused: [0; 2],
        };
        let numbers = |t: &Tensor<1>| t.to_data().try_into_vec::<f32>().unwrap();
        let (x, slope) = (rows(&x), rows(&slope));
        let values = affine.each_ref().map(numbers);
        let affine = values.each_ref().map(Vec::as_slice);
        let found = found.map(|t| numbers(&t.without_autodiff()));
        let expected = if own {
            let expected = statistics(&told, &x);
            for (found, expected) in found.iter().zip(&expected) {
                close(&name, found, expected);
            }
            expected
        } else {
            found.map(|values| values.into_iter().map(f64::from).collect())
        };
        let y = rows(&y.without_autodiff());
        close(&name, &y, &normalise(&told, &x, affine, &expected));
        let [of_x, of_weight, of_bias] = gradients(&told, &x, &slope, affine, &expected);
        close(&name, &rows(&leaf.grad(&back).unwrap()), &of_x);
        for (leaf, expected) in leaves.iter().zip([of_weight, of_bias]) {
            close(&name, &numbers(&leaf.grad(&back).unwrap()), &expected);
        }
    }

    #[test]
    fn running_statistics_are_the_twin_s() {
        let Some(device) = gpu_for_tests() else {
            return;
        };
        device.seed(6);
        for channels in [1, 63, 64, 65] {
            let draw = || Tensor::<1>::random([channels], Distribution::Uniform(0.0, 2.0), &device);
            let [running, batch] = [(); 2].map(|()| [draw(), draw()]);
            let numbers = |t: &Tensor<1>| t.to_data().try_into_vec::<f32>().unwrap();
            let [kept, new] = [&running, &batch].map(|pair| pair.each_ref().map(numbers));
            let held = running[0].clone();
            let made = super::super::learn(running, batch, 0.1, 5);
            let [kept_of, new_of] = [&kept, &new].map(|pair| pair.each_ref().map(Vec::as_slice));
            let expected = running_of([0.9, 0.1, 0.125], new_of, kept_of);
            for (made, expected) in made.iter().zip(expected) {
                close("running", &numbers(made), &expected);
            }
            assert_eq!(numbers(&held), kept[0], "what others hold stays");
        }
    }

    #[test]
    fn as_the_twin() {
        let Some(device) = gpu_for_tests() else {
            return;
        };
        device.seed(5);
        let shapes = [
            [2, 1, 1, 1],
            [2, 5, 3, 7],
            [1, 17, 63, 1],
            [3, 65, 9, 9],
            [2, 4, 80, 64],
        ];
        for shape in shapes {
            for act in [None, Some(Activation::Silu), Some(Activation::HSwish)] {
                for own in [true, false] {
                    check(&device, shape, act, own);
                }
            }
        }
    }
}
