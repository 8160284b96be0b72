//! Deformable convolution by kernels: `deform/columns` gathers what the filters see, and the product is a convolution of `[1, taps]` filters
//! that step from one pixel's taps to the next one's. The way back: the product again, `deform/points` for offsets and mask; for x the samples are
//! put in lists by where they lie (`cells`, `starts`, `order`), so that each pixel of x adds up its own, in the same order each time (`gather`).
//!
//! Channels lie last, four to a vec4.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use smalti_shaders::records::DeformRecord;
use smalti_shaders::{
    DEFORM_CELLS, DEFORM_COLUMNS, DEFORM_GATHER, DEFORM_ORDER, DEFORM_POINTS, DEFORM_STARTS, Kernel,
};

use super::DeformShape;
use crate::Precision;
use crate::ops::conv::ConvShape;
use crate::ops::conv::gpu::{self as products, Channels};
use crate::ops::launch::{Buffer, Gpu, MOST_WORKGROUPS, Strided};

/// Bytes of a block of columns; few in tests, so that there are many.
const BLOCK: usize = if cfg!(test) { 1 << 16 } else { 64 << 20 };

/// Blocks begin at multiples of so many pixels, so that parts of tensors begin where bindings may.
const STEP: usize = 64;

/// Whether the kernels can count all of it.
pub(super) fn fits(size: [usize; 4], weight: [usize; 4], out: Option<[usize; 2]>) -> bool {
    let [n, c, h, w] = size;
    let [k, _, down, across] = weight;
    let outputs = n * out.map_or(0, |[h, w]| h * w);
    let taps = down.saturating_mul(across);
    let numbers = [
        n * h * w * c.next_multiple_of(4),
        outputs.saturating_mul(k.next_multiple_of(4)),
        outputs.saturating_mul(taps),
        // a block of the least size
        STEP.saturating_mul(taps).saturating_mul(c),
    ];
    numbers.iter().all(|n| *n < 1 << 29)
}

/// Why a kernel's answer is there.
const APPLIES: &str = "`deform_conv2d` asked whether the device runs kernels";

struct Job {
    gpu: Gpu,
    device: Device,
    /// Channels last, dense.
    x: Buffer,
    offset: Strided<4>,
    mask: Strided<4>,
    record: DeformRecord,
    /// `[N, C, H, W]`.
    size: [usize; 4],
    taps: usize,
    groups: usize,
}

impl Job {
    fn new([x, offset, mask]: [Tensor<4>; 3], kernel: [usize; 2], shape: &DeformShape) -> Self {
        let (size, device) = (x.dims(), x.device());
        let gpu = Gpu::of(&device).expect(APPLIES);
        let x = Channels::dense(&gpu, x, None).expect(APPLIES);
        let offset = apart(&gpu, offset, &[&x]);
        let mask = apart(&gpu, mask, &[&x, &offset.buffer]);
        let pair = |v: [usize; 2]| v.map(|n| n as u32);
        let [_, _, height, width] = offset.shape;
        let record = DeformRecord {
            offset_strides: offset.strides.map(|n| n as u32),
            mask_strides: mask.strides.map(|n| n as u32),
            size: pair([size[2], size[3]]),
            size_out: pair([height, width]),
            kernel: pair(kernel),
            stride: pair(shape.stride),
            padding: pair(shape.before()),
            dilation: pair(shape.dilation),
            first: 0,
            pixels: 0,
            picture: 0,
            pictures: 0,
            channels: size[1].div_ceil(4) as u32,
            sets: shape.sets as u32,
            each: (size[1] / shape.sets) as u32,
            place: 0,
        };
        Self {
            gpu,
            device,
            x,
            offset,
            mask,
            record,
            size,
            taps: kernel[0] * kernel[1],
            groups: shape.groups,
        }
    }

    /// Channels, filled up.
    fn filled(&self) -> usize {
        self.record.channels as usize * 4
    }

    /// Pixels of one of y's pictures.
    fn plane(&self) -> usize {
        let [height, width] = self.record.size_out;
        height as usize * width as usize
    }

    /// Pixels of y, of all pictures.
    fn outputs(&self) -> usize {
        self.size[0] * self.plane()
    }

    /// What the kernels are told of each block.
    fn blocks(&self) -> Vec<DeformRecord> {
        let each = BLOCK / (4 * self.taps * self.filled());
        let each = (each / STEP * STEP).max(STEP);
        let (outputs, plane) = (self.outputs(), self.plane());
        let block = |first: usize| {
            let pixels = each.min(outputs - first);
            let picture = first / plane;
            DeformRecord {
                first: first as u32,
                pixels: pixels as u32,
                picture: picture as u32,
                pictures: ((first + pixels - 1) / plane + 1 - picture) as u32,
                ..self.record
            }
        };
        (0..outputs).step_by(each).map(block).collect()
    }

    fn told(&self, record: &DeformRecord) -> Buffer {
        let words = bytemuck::cast_slice(std::slice::from_ref(record));
        self.gpu.constant(words)
    }

    /// How the product's filters step over the columns.
    fn product(&self) -> ConvShape {
        ConvShape {
            stride: [1, self.taps],
            padding: [(0, 0); 2],
            dilation: [1; 2],
            groups: self.groups,
            precision: Precision::F32,
        }
    }

    /// What the filters see, `[1, C, pixels, taps]`.
    fn columns(&self, block: &DeformRecord) -> Tensor<4> {
        let (pixels, filled) = (block.pixels as usize, self.filled());
        let columns = self.gpu.empty(pixels * self.taps * filled);
        let told = self.told(block);
        let Self {
            x, offset, mask, ..
        } = self;
        let buffers = [&told, x, &offset.buffer, &mask.buffer, &columns];
        self.rows(&DEFORM_COLUMNS, pixels * self.taps, &buffers);
        let row = self.taps * filled;
        self.gpu.strided_tensor(
            columns,
            [1, self.size[1], pixels, self.taps],
            [pixels * row, 1, row, filled],
        )
    }

    /// The gradient of that, `[pixels, taps, C]` filled up, from y's.
    fn slopes(&self, gradient: &Tensor<4>, weight: &Tensor<4>) -> Buffer {
        let [filters, seen, _, taps] = weight.dims();
        let pixels = gradient.dims()[2];
        let slopes = if self.groups == 1 && seen % 4 == 0 {
            // As one convolution of 1x1: the filters' steps would have the kernel look at each of their taps in vain but one.
            let turned = weight.clone().reshape([filters, seen, taps]);
            let turned = turned.permute([2, 1, 0]);
            let turned = turned.reshape([taps * seen, filters, 1, 1]);
            let once = ConvShape {
                stride: [1; 2],
                ..self.product()
            };
            products::convolve(gradient, &turned, &once)
        } else {
            products::input_gradient(gradient, weight, &self.product(), [pixels, taps])
        };
        Channels::dense(&self.gpu, slopes.expect(APPLIES), None).expect(APPLIES)
    }

    /// Writes the gradients of a block's offsets and mask.
    fn points(&self, block: &DeformRecord, slopes: &Buffer, [of_offset, of_mask]: [&Buffer; 2]) {
        let told = self.told(block);
        let Self {
            x, offset, mask, ..
        } = self;
        let operands = [&told, x, &offset.buffer, &mask.buffer];
        let made = [slopes, of_offset, of_mask];
        let samples = block.pixels as usize * self.taps * self.record.sets as usize;
        let buffers = [&operands[..], &made[..]].concat();
        self.flat(&DEFORM_POINTS, samples.div_ceil(8), &buffers);
    }

    /// Adds what a block gives to the gradient of x.
    fn gather(&self, block: &DeformRecord, slopes: &Buffer, of_x: &Buffer) {
        let gpu = &self.gpu;
        let [rows, columns] = block.size.map(|n| n as usize + 1);
        let count = (block.pictures * block.sets) as usize * rows * columns;
        let samples = block.pixels as usize * self.taps * self.record.sets as usize;
        let (cells, list) = (self.zeros(count), gpu.empty(samples));
        let (told, number) = (self.told(block), gpu.constant(&[count as u32]));
        let offset = &self.offset.buffer;
        let counted = [&told, offset, &cells, &list];
        self.flat(&DEFORM_CELLS, samples.div_ceil(256), &counted);
        gpu.launch(&DEFORM_STARTS, [1; 3], &[&number, &cells]);
        let placing = self.told(&DeformRecord { place: 1, ..*block });
        let placed = [&placing, offset, &cells, &list];
        self.flat(&DEFORM_CELLS, samples.div_ceil(256), &placed);
        let ordered = [&number, &cells, &list];
        self.flat(&DEFORM_ORDER, count.div_ceil(64), &ordered);
        let [_, _, height, width] = self.size;
        let operands = [&told, offset, &self.mask.buffer, &cells, &list];
        let buffers = [&operands[..], &[slopes, of_x]].concat();
        let pixels = block.pictures as usize * height * width;
        self.rows(&DEFORM_GATHER, pixels, &buffers);
    }

    fn zeros(&self, words: usize) -> Buffer {
        let zeros = Tensor::<1>::zeros([words], &self.device);
        self.gpu.own(zeros).expect(APPLIES)
    }

    /// A kernel with an invocation for four channels of each row.
    fn rows(&self, kernel: &Kernel, rows: usize, buffers: &[&Buffer]) {
        let rows = rows.div_ceil(8) as u32;
        let z = rows.div_ceil(MOST_WORKGROUPS).max(1);
        let grid = [self.record.channels.div_ceil(8), rows.div_ceil(z), z];
        self.gpu.launch(kernel, grid, buffers);
    }

    /// So many workgroups, on as many lines as it takes.
    fn flat(&self, kernel: &Kernel, groups: usize, buffers: &[&Buffer]) {
        let groups = groups as u32;
        let across = groups.min(MOST_WORKGROUPS);
        let grid = [across, groups.div_ceil(across.max(1)), 1];
        self.gpu.launch(kernel, grid, buffers);
    }

    /// The gradient of y as `[1, K, N * H' * W', 1]`.
    fn by_pixels(&self, gradient: Tensor<4>) -> Tensor<4> {
        let [_, channels, ..] = gradient.dims();
        let rows = gradient.permute([0, 2, 3, 1]);
        let rows = rows.reshape([1, self.outputs(), 1, channels]);
        rows.permute([0, 3, 1, 2])
    }

    /// Of `[N * H' * W', channels]` as `[N, channels, H', W']`.
    fn of_points(&self, made: Buffer, channels: usize) -> Tensor<4> {
        let [height, width] = self.record.size_out.map(|n| n as usize);
        self.gpu.strided_tensor(
            made,
            [self.size[0], channels, height, width],
            [height * width * channels, 1, width * channels, channels],
        )
    }
}

/// The memory of a tensor, apart from others: WebGPU binds no buffer twice.
fn apart(gpu: &Gpu, tensor: Tensor<4>, others: &[&Buffer]) -> Strided<4> {
    let here = gpu.strided(tensor.clone()).expect(APPLIES);
    if others.iter().any(|other| here.buffer.shares(other)) {
        return gpu.strided(tensor * 1.0).expect(APPLIES);
    }
    here
}

/// The filters as the product has them, `[K, C / groups, 1, taps]`.
fn in_a_row(weight: Tensor<4>) -> Tensor<4> {
    let [filters, seen, down, across] = weight.dims();
    weight.reshape([filters, seen, 1, down * across])
}

fn part(gradient: &Tensor<4>, block: &DeformRecord) -> Tensor<4> {
    let [first, pixels] = [block.first, block.pixels].map(|n| n as usize);
    let of: Range<usize> = first..first + pixels;
    if gradient.dims()[2] == pixels {
        return gradient.clone();
    }
    gradient.clone().slice_dim(2, of)
}

pub(super) fn convolve(
    operands: [Tensor<4>; 3],
    weight: Tensor<4>,
    shape: &DeformShape,
) -> Tensor<4> {
    let [filters, _, kernel @ ..] = weight.dims();
    let job = Job::new(operands, kernel, shape);
    let weight = in_a_row(weight);
    let blocks = job.blocks();
    let made = blocks.iter().map(|block| {
        let made = products::convolve(&job.columns(block), &weight, &job.product());
        made.expect(APPLIES)
    });
    let mut made: Vec<_> = made.collect();
    let y = match made.len() {
        1 => made.remove(0),
        _ => Tensor::cat(made, 2),
    };
    let [height, width] = job.record.size_out.map(|n| n as usize);
    let y = y.permute([0, 2, 3, 1]);
    let y = y.reshape([job.size[0], height, width, filters]);
    y.permute([0, 3, 1, 2])
}

/// Of x, offset and mask.
pub(super) fn gradients(
    operands: [Tensor<4>; 3],
    weight: Tensor<4>,
    gradient: Tensor<4>,
    shape: &DeformShape,
) -> [Tensor<4>; 3] {
    let [_, _, kernel @ ..] = weight.dims();
    let job = Job::new(operands, kernel, shape);
    let (weight, gradient) = (in_a_row(weight), job.by_pixels(gradient));
    let [pictures, _, height, width] = job.size;
    let filled = job.filled();
    let of_x = job.zeros(pictures * height * width * filled);
    let samples = job.outputs() * shape.sets * job.taps;
    let (of_offset, of_mask) = (job.gpu.empty(samples * 2), job.gpu.empty(samples));
    for block in job.blocks() {
        let slopes = job.slopes(&part(&gradient, &block), &weight);
        job.points(&block, &slopes, [&of_offset, &of_mask]);
        job.gather(&block, &slopes, &of_x);
    }
    let of_x = job.gpu.strided_tensor(
        of_x,
        job.size,
        [height * width * filled, 1, width * filled, filled],
    );
    let rows = shape.sets * job.taps;
    [
        of_x,
        job.of_points(of_offset, rows * 2),
        job.of_points(of_mask, rows),
    ]
}

/// Of weights of `dims`.
pub(super) fn weight_gradient(
    operands: [Tensor<4>; 3],
    gradient: Tensor<4>,
    shape: &DeformShape,
    dims: [usize; 4],
) -> Tensor<4> {
    let [filters, seen, kernel @ ..] = dims;
    let job = Job::new(operands, kernel, shape);
    let gradient = job.by_pixels(gradient);
    let row = [filters, seen, 1, job.taps];
    let made = job.blocks().into_iter().map(|block| {
        let slope = part(&gradient, &block);
        let made = products::weight_gradient(&job.columns(&block), &slope, &job.product(), row);
        made.expect(APPLIES)
    });
    let made = made.reduce(|sum, made| sum + made);
    made.expect("y has pixels").reshape(dims)
}
