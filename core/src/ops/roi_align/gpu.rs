//! Regions by kernels. Channels lie last in what is read, as convolutions leave and take them.

use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use smalti_shaders::records::{self, RoiRecord};
use smalti_shaders::{ROI_ALIGN, ROI_ALIGN_GRADIENT};

use super::{Bin, Choice, Reading};
use crate::ops::conv::gpu::Channels;
use crate::ops::launch::{Buffer, Gpu, MOST_WORKGROUPS, Strided};

/// Why there is a device that runs kernels.
const WGSL: &str = "regions are read by kernels: the device runs WGSL, and tensors are f32 on it";

/// What a launch needs.
struct Job {
    gpu: Gpu,
    record: RoiRecord,
    levels: Buffer,
    regions: Buffer,
    pyramid: Strided<3>,
}

impl Job {
    fn new(pyramid: FloatTensor<Cube>, regions: FloatTensor<Cube>, reading: &Reading) -> Self {
        let pyramid = Tensor::<3>::from_primitive::<Cube>(pyramid);
        let regions = Tensor::<2>::from_primitive::<Cube>(regions);
        let gpu = Gpu::of(&pyramid.device()).expect(WGSL);
        let count = regions.dims()[0];
        let regions = gpu.contiguous(regions).expect(WGSL);
        let pyramid = gpu.strided(pyramid).expect(WGSL);
        let [pictures, channels, places] = pyramid.shape;
        let [picture, channel, place] = pyramid.strides.map(|stride| stride as u32);
        let (by_size, [finest, epsilon], level) = match reading.choice {
            Choice::BySize { finest, epsilon } => (1, [finest, epsilon], 0),
            Choice::Level(level) => (0, [1.0, 0.0], level as u32),
        };
        let record = RoiRecord {
            strides: [picture, channel, place, 0],
            bins: reading.sampling.bins.map(|n| n as u32),
            ratio: reading.sampling.ratio as u32,
            aligned: u32::from(reading.sampling.aligned),
            kind: match reading.sampling.bin {
                Bin::Mean => 0,
                Bin::Largest => 1,
                Bin::Places => 2,
            },
            by_size,
            level,
            levels: reading.levels.len() as u32,
            finest,
            channels: channels as u32,
            regions: count as u32,
            pictures: pictures as u32,
            places: places as u32,
            filled: channels.next_multiple_of(4) as u32,
            epsilon,
            unused: 0,
        };
        let levels = reading.levels.iter().map(|level| records::RoiLevel {
            first: level.first as u32,
            height: level.height as u32,
            width: level.width as u32,
            scale: level.scale,
        });
        let levels: Vec<_> = levels.collect();
        let levels = gpu.constant(bytemuck::cast_slice(&levels));
        Self {
            gpu,
            record,
            levels,
            regions,
            pyramid,
        }
    }

    fn told(&self) -> Buffer {
        let words = bytemuck::cast_slice(std::slice::from_ref(&self.record));
        self.gpu.constant(words)
    }

    /// A dispatch of one row of workgroups for each of `rows`.
    fn grid(&self, rows: usize) -> [u32; 3] {
        let rows = rows.min(MOST_WORKGROUPS as usize) as u32;
        [self.record.filled.div_ceil(64), rows, 1]
    }

    fn bins(&self) -> usize {
        let [rows, columns] = self.record.bins;
        self.record.regions as usize * (rows * columns) as usize
    }
}

pub(super) fn read(
    pyramid: FloatTensor<Cube>,
    regions: FloatTensor<Cube>,
    reading: &Reading,
) -> FloatTensor<Cube> {
    let job = Job::new(pyramid, regions, reading);
    let (count, channels) = (job.record.regions as usize, job.record.channels as usize);
    let [rows, columns] = reading.sampling.bins;
    let filled = job.record.filled as usize;
    let out = job.gpu.empty(job.bins() * filled);
    let (told, grid) = (job.told(), job.grid(job.bins()));
    let buffers = [&told, &job.levels, &job.regions, &job.pyramid.buffer, &out];
    job.gpu.launch(&ROI_ALIGN, grid, &buffers);
    let shape = [count, channels, rows, columns];
    let strides = [rows * columns * filled, 1, columns * filled, filled];
    primitive(job.gpu.strided_tensor(out, shape, strides))
}

pub(super) fn gradient(
    pyramid: FloatTensor<Cube>,
    regions: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    reading: &Reading,
) -> FloatTensor<Cube> {
    let job = Job::new(pyramid, regions, reading);
    let gradient = Tensor::<4>::from_primitive::<Cube>(gradient);
    let gradient = Channels::dense(&job.gpu, gradient, None).expect(WGSL);
    let [pictures, channels, places] = job.pyramid.shape;
    let filled = job.record.filled as usize;
    let out = job.gpu.empty(pictures * places * filled);
    let (told, grid) = (job.told(), job.grid(pictures * places));
    let pyramid = &job.pyramid.buffer;
    let buffers = [&told, &job.levels, &job.regions, pyramid, &gradient, &out];
    job.gpu.launch(&ROI_ALIGN_GRADIENT, grid, &buffers);
    let strides = [places * filled, 1, filled];
    let shape = [pictures, channels, places];
    primitive(job.gpu.strided_tensor(out, shape, strides))
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FloatTensor<Cube> {
    tensor.try_into_primitive::<Cube>().expect(WGSL)
}
