//! Convolution on a GPU by our WGSL kernels: which of them a shape takes, and how they are launched.
//!
//! Channels lie last here (`[N, H, W, C]`, four to a vec4), as burn's own kernels leave them; a tensor in another order is copied first. Where the
//! number of channels is not a multiple of four, they are filled up with zeros in memory, and the tensor that is given back leaves those out.
//!
//! | convolution | kernel |
//! |---|---|
//! | a filter for each channel | `depthwise` |
//! | other groups | `grouped` |
//! | 3x3, stride 1, dilation 1, enough channels and pixels | F(4x4, 3x3): `winograd_input`, 36 products by `tiles`, `winograd_output` |
//! | everything else | a product of matrices: `tiles128`, or `tiles32` where that gives too few workgroups, its sum in parts (`sum`) where even that does |
//!
//! With [`Precision::F16`] the products of the last row and the gradients of weights are those of the kernels called `_half`. Winograd's tiles stay f32:
//! their numbers are sums and differences of up to 36 pixels, with which f16 would be off by 7e-3, and a quarter of the products in f32 is less
//! work than all of them in f16.

mod operands;
#[cfg(test)]
mod tests;
mod walk;

use burn::tensor::Tensor;
use smalti_shaders::records::{ConvRecord, WinogradRecord};
use smalti_shaders::{
    CONV_DEPTHWISE, CONV_GROUPED, CONV_GROUPED_GRADIENT, CONV_SUM, CONV_TILES32, CONV_TILES32_HALF,
    CONV_TILES128, CONV_TILES128_HALF, CONV_WEIGHT_GRADIENT, CONV_WEIGHT_GRADIENT_HALF, Kernel,
    WINOGRAD_INPUT, WINOGRAD_OUTPUT,
};

use self::operands::Added;
pub(crate) use self::operands::{Channels, Filters, number};
use self::walk::Walk;
use super::{ConvShape, Finish, Prepared};
use crate::Precision;
use crate::layers::Weight;
use crate::ops::launch::{Buffer, Gpu, MOST_WORKGROUPS};

/// Bytes of a block of Winograd's tiles or their products.
const BLOCK: usize = 64 << 20;

/// The least channels, and pixels of a result, for which Winograd's way is faster.
const WINOGRAD_FROM: [usize; 2] = [32, 256];

/// Workgroups below which a GPU has nothing to do for a part of its units.
const FEW_GROUPS: usize = 96;

/// Terms of a sum, in vec4s, that a part has at least.
const LEAST_PART: usize = 32;

/// Pixels of a result beyond which the grid of a product is too large.
const MOST_PIXELS: usize = 128 * MOST_WORKGROUPS as usize;

/// The convolution, with as much of `finish` as a kernel does; `None` if the device runs no WGSL, gradients are recorded or weights can change.
pub(super) fn conv2d(
    x: &Tensor<4>,
    weight: &Weight<4>,
    shape: &ConvShape,
    finish: &mut Finish,
) -> Option<Tensor<4>> {
    let gpu = Gpu::of(&x.device())?;
    let Prepared::Gpu(filters) =
        weight.prepared(|weight| Prepared::Gpu(Box::new(Filters::new(weight.clone()))))?
    else {
        return None;
    };
    let walk = Walk::forward(shape, x.dims(), weight.shape())?;
    let job = Job::new(&gpu, x.clone(), weight.shape(), walk, shape)?;
    let added = Added::take(&gpu, finish, weight.shape()[0], &job.x)?;
    job.run(filters, &added)
}

/// Whether [`convolve`] and the gradients have an answer.
pub(in crate::ops) fn applies(x: &Tensor<4>, weight: [usize; 4], shape: &ConvShape) -> bool {
    let dims @ [pictures, _, height, width] = x.dims();
    let full =
        !dims.contains(&0) && !weight.contains(&0) && pictures * height * width <= MOST_PIXELS;
    let out = Walk::forward(shape, dims, weight).map(|walk| walk.size_out);
    let fits = out.is_some_and(|[down, across]| pictures * down * across <= MOST_PIXELS);
    full && fits && Gpu::of(&x.device().without_autodiff()).is_some()
}

/// The convolution alone, of weights that are used once; `None` if the device runs no WGSL.
pub(in crate::ops) fn convolve(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    shape: &ConvShape,
) -> Option<Tensor<4>> {
    let gpu = Gpu::of(&x.device())?;
    let walk = Walk::forward(shape, x.dims(), weight.dims())?;
    let filters = Filters::new(weight.clone());
    let job = Job::new(&gpu, x.clone(), weight.dims(), walk, shape)?;
    job.run(&filters, &Added::nothing(&gpu))
}

/// The gradient of x of `size` (height and width) from that of y: again a convolution, with each filter turned, channels and filters
/// exchanged, and zeros between the gradient's pixels where the filter took steps.
pub(in crate::ops) fn input_gradient(
    gradient: &Tensor<4>,
    weight: &Tensor<4>,
    shape: &ConvShape,
    size: [usize; 2],
) -> Option<Tensor<4>> {
    let gpu = Gpu::of(&gradient.device())?;
    let [k, c, kernel @ ..] = weight.dims();
    let groups = shape.groups;
    let turned = weight.clone().flip([2, 3]);
    let turned = turned.reshape([groups, k / groups, c, kernel[0] * kernel[1]]);
    let turned = turned.swap_dims(1, 2);
    let dims = [groups * c, k / groups, kernel[0], kernel[1]];
    let filters = Filters::new(turned.reshape(dims));
    let walk = Walk::backward(shape, kernel, size);
    let job = Job::new(&gpu, gradient.clone(), dims, walk, shape)?;
    job.run(&filters, &Added::nothing(&gpu))
}

/// The gradient of weights of `dims` from that of y.
pub(in crate::ops) fn weight_gradient(
    x: &Tensor<4>,
    gradient: &Tensor<4>,
    shape: &ConvShape,
    dims: [usize; 4],
) -> Option<Tensor<4>> {
    let gpu = &Gpu::of(&x.device())?;
    let walk = Walk::forward(shape, x.dims(), dims)?;
    let job = Job::new(gpu, x.clone(), dims, walk, shape)?;
    let gradient = Channels::dense(gpu, gradient.clone(), Some(&job.x.buffer))?;
    Some(job.weight_gradient(&gradient))
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Depthwise,
    Grouped,
    Winograd,
    /// The kernel, and into how many parts sums are split.
    Product(&'static Kernel, usize),
}

/// A convolution on its way.
struct Job<'a> {
    gpu: &'a Gpu,
    walk: Walk,
    x: Channels,
    /// `[N, C, H, W]`.
    size: [usize; 4],
    /// K, and C of a group.
    channels: [usize; 2],
    kernel: [usize; 2],
    /// Products are of f16.
    half: bool,
}

impl<'a> Job<'a> {
    /// Of x with weights of `dims`.
    fn new(
        gpu: &'a Gpu,
        x: Tensor<4>,
        dims: [usize; 4],
        walk: Walk,
        shape: &ConvShape,
    ) -> Option<Self> {
        let size = x.dims();
        let [k, c, kernel @ ..] = dims;
        let pixels = size[0] * walk.size_out[0] * walk.size_out[1];
        if size.contains(&0) || k == 0 || pixels == 0 || pixels > MOST_PIXELS {
            return None;
        }
        Some(Self {
            gpu,
            walk,
            x: Channels::of(gpu, gpu.strided(x).ok()?),
            size,
            channels: [k, c],
            kernel,
            half: shape.precision == Precision::F16 && gpu.has_f16(),
        })
    }

    /// Pixels of the result.
    fn pixels(&self) -> usize {
        self.size[0] * self.walk.size_out[0] * self.walk.size_out[1]
    }

    /// The table.
    fn way(&self) -> Way {
        let ([filters, channels], groups) = (self.channels, self.walk.groups);
        if groups > 1 && channels == 1 && groups == filters {
            return Way::Depthwise;
        }
        if groups > 1 {
            return Way::Grouped;
        }
        let once = [1, 1];
        let pixels = self.pixels();
        let plain = (
            self.kernel,
            self.walk.stride,
            self.walk.dilation,
            self.walk.spread,
        ) == ([3, 3], once, once, once);
        if plain && filters.min(channels) >= WINOGRAD_FROM[0] && pixels >= WINOGRAD_FROM[1] {
            return Way::Winograd;
        }
        let depth = self.kernel[0] * self.kernel[1] * channels.div_ceil(4);
        product_way(pixels, filters.div_ceil(4), depth, self.half)
    }

    fn record(&self, added: &Added) -> ConvRecord {
        let four = |n: usize| n.div_ceil(4) as u32;
        let pair = |v: [usize; 2]| v.map(|n| n as u32);
        let [filters, channels] = self.channels;
        let [pictures, row, pixel] = self.x.strides.map(four);
        let depth = (self.kernel[0] * self.kernel[1]) as u32 * four(channels);
        ConvRecord {
            strides: [0, pictures, row, pixel],
            act_by: added.act_by,
            size: pair([self.size[2], self.size[3]]),
            size_out: pair(self.walk.size_out),
            kernel: pair(self.kernel),
            stride: pair(self.walk.stride),
            padding: self.walk.padding.map(|n| n as i32 as u32),
            dilation: pair(self.walk.dilation),
            spread: pair(self.walk.spread),
            pixels: self.pixels() as u32,
            channels: four(channels),
            filters: four(filters),
            depth,
            part: depth,
            step: 0,
            x_batch: 0,
            w_batch: 0,
            y_batch: 0,
            has_bias: added.has_bias.into(),
            has_add: added.has_add.into(),
            act: added.act,
        }
    }

    fn run(&self, filters: &Filters, added: &Added) -> Option<Tensor<4>> {
        let gpu = self.gpu;
        let mut record = self.record(added);
        let filled = self.channels[0].next_multiple_of(4);
        let y = gpu.empty(record.pixels as usize * filled);
        match self.way() {
            Way::Depthwise => {
                let operands = added.operands(&self.x, filters.plain(gpu, false)?);
                gpu.conv_rows(&CONV_DEPTHWISE, &record, &operands, &y);
            }
            Way::Grouped => {
                record.strides = record.strides.map(|n| n * 4);
                record.channels = self.channels[1] as u32;
                record.part = (self.channels[0] / self.walk.groups) as u32;
                record.depth = self.channels[0] as u32;
                let operands = added.operands(&self.x, filters.plain(gpu, false)?);
                gpu.conv_rows(&CONV_GROUPED, &record, &operands, &y);
            }
            Way::Winograd => self.winograd(filters.winograd(gpu)?, added, &y),
            Way::Product(kernel, parts) => {
                let operands = added.operands(&self.x, filters.plain(gpu, true)?);
                if parts == 1 {
                    gpu.conv_tiles(kernel, &record, 1, &operands, &y);
                } else {
                    self.in_parts(kernel, parts, record, added, &operands, &y);
                }
            }
        }
        let [height, width] = self.walk.size_out;
        let size = [self.size[0], self.channels[0], height, width];
        let strides = [height * width * filled, 1, width * filled, filled];
        Some(gpu.strided_tensor(y, size, strides))
    }

    /// A product whose sums are split, for few pixels and filters.
    fn in_parts(
        &self,
        kernel: &'static Kernel,
        parts: usize,
        record: ConvRecord,
        added: &Added,
        operands: &[&Buffer; 4],
        y: &Buffer,
    ) {
        // Whole slabs of the kernel's loop.
        let part = record.depth.div_ceil(parts as u32).next_multiple_of(4);
        let parts = record.depth.div_ceil(part);
        let split = ConvRecord {
            part,
            step: part,
            y_batch: record.pixels * record.filters,
            has_bias: 0,
            has_add: 0,
            act: 0,
            ..record
        };
        let sums = self.gpu.empty(parts as usize * y.words());
        self.gpu.conv_tiles(kernel, &split, parts, operands, &sums);
        let whole = ConvRecord {
            part: parts,
            y_batch: split.y_batch,
            ..record
        };
        let operands = [&sums, &added.bias, &added.add];
        self.gpu.conv_rows(&CONV_SUM, &whole, &operands, y);
    }

    /// Of weights `[K, C / groups, KH, KW]`, from that of y with its channels last, dense.
    fn weight_gradient(&self, gradient: &Buffer) -> Tensor<4> {
        let gpu = self.gpu;
        let mut record = self.record(&Added::nothing(gpu));
        let [filters, channels] = self.channels;
        let [down, across] = self.kernel;
        let (kernel, rows, groups) = if self.walk.groups == 1 {
            let groups = record.depth.div_ceil(16) * record.filters.div_ceil(16);
            let kernel = match self.half {
                false => &CONV_WEIGHT_GRADIENT,
                true => &CONV_WEIGHT_GRADIENT_HALF,
            };
            (kernel, record.depth * 4, groups)
        } else {
            record.strides = record.strides.map(|n| n * 4);
            record.channels = channels as u32;
            record.step = (filters / self.walk.groups) as u32;
            record.depth = filters as u32;
            let rows = (down * across * channels) as u32;
            (
                &CONV_GROUPED_GRADIENT,
                rows,
                rows.div_ceil(8) * record.filters.div_ceil(8),
            )
        };
        let each = rows as usize * record.filters as usize * 4;
        // As many parts as give every unit of the GPU something to do, and fit a block.
        let parts = (4 * FEW_GROUPS as u32).div_ceil(groups);
        let parts = parts.min((BLOCK / 4 / each) as u32).max(1);
        record.part = record.pixels.div_ceil(parts).next_multiple_of(16);
        let parts = record.pixels.div_ceil(record.part);
        record.y_batch = rows * record.filters;
        let grid = if self.walk.groups == 1 {
            [
                record.depth.div_ceil(16),
                record.filters.div_ceil(16),
                parts,
            ]
        } else {
            [record.filters.div_ceil(8), rows.div_ceil(8), parts]
        };
        let mut made = gpu.empty(parts as usize * each);
        gpu.conv(kernel, &record, grid, &[&self.x.buffer, gradient], &made);
        if parts > 1 {
            let whole = ConvRecord {
                pixels: rows,
                part: parts,
                ..record
            };
            let sum = gpu.empty(each);
            let none = Added::nothing(gpu);
            gpu.conv_rows(&CONV_SUM, &whole, &[&made, &none.bias, &none.add], &sum);
            made = sum;
        }
        let filled = record.filters as usize * 4;
        let row = each / (down * across);
        gpu.strided_tensor(
            made,
            [filters, channels, down, across],
            [1, filled, across * row, row],
        )
    }

    /// F(4x4, 3x3) in blocks of tiles.
    fn winograd(&self, weights: &Buffer, added: &Added, y: &Buffer) {
        let gpu = self.gpu;
        let filled = self.channels.map(|n| n.next_multiple_of(4));
        let across = self.walk.size_out.map(|n| n.div_ceil(4));
        let tiles = self.size[0] * across[0] * across[1];
        let block = (BLOCK / (36 * 4 * filled[0].max(filled[1]))).clamp(1, tiles);
        let plain = self.record(added);
        for first in (0..tiles).step_by(block) {
            let count = block.min(tiles - first);
            let record = |channels: usize| WinogradRecord {
                strides: plain.strides,
                act_by: added.act_by,
                size: plain.size,
                size_out: plain.size_out,
                padding: plain.padding,
                tiles: across.map(|n| n as u32),
                first: first as u32,
                count: count as u32,
                channels: (channels / 4) as u32,
                has_bias: plain.has_bias,
                has_add: plain.has_add,
                act: plain.act,
            };
            let input = gpu.empty(36 * count * filled[1]);
            let over = |channels: usize| {
                [
                    (channels / 4).div_ceil(8) as u32,
                    count.div_ceil(8) as u32,
                    1,
                ]
            };
            let told = gpu.record(&record(filled[1]));
            gpu.launch(
                &WINOGRAD_INPUT,
                over(filled[1]),
                &[&told, &self.x.buffer, &input],
            );
            // 36 products of their own: pixels are tiles, and there is one tap.
            let [filters, channels] = filled.map(|n| (n / 4) as u32);
            let product = ConvRecord {
                strides: [0, 0, 0, channels],
                size: [1, count as u32],
                size_out: [1, count as u32],
                kernel: [1; 2],
                padding: [0; 2],
                pixels: count as u32,
                channels,
                filters,
                depth: channels,
                part: channels,
                x_batch: count as u32 * channels,
                w_batch: 4 * channels * filters,
                y_batch: count as u32 * filters,
                has_bias: 0,
                has_add: 0,
                act: 0,
                ..plain
            };
            let groups = 36 * count.div_ceil(128) * (filters as usize).div_ceil(16);
            let kernel = if groups < FEW_GROUPS {
                &CONV_TILES32
            } else {
                &CONV_TILES128
            };
            let products = gpu.empty(36 * count * filled[0]);
            let operands = [&input, weights, &added.bias, &added.add];
            gpu.conv_tiles(kernel, &product, 36, &operands, &products);
            let told = gpu.record(&record(filled[0]));
            let buffers = [&told, &products, &added.bias, &added.add, y];
            gpu.launch(&WINOGRAD_OUTPUT, over(filled[0]), &buffers);
        }
    }
}

/// The tiles of a product of `pixels` rows, `filters` columns and `depth` terms (the last two in vec4s), of f16 or f32, and its parts.
fn product_way(pixels: usize, filters: usize, depth: usize, half: bool) -> Way {
    let [large, small] = match half {
        false => [&CONV_TILES128, &CONV_TILES32],
        true => [&CONV_TILES128_HALF, &CONV_TILES32_HALF],
    };
    if pixels.div_ceil(128) * filters.div_ceil(16) >= FEW_GROUPS {
        return Way::Product(large, 1);
    }
    let groups = pixels.div_ceil(32) * filters.div_ceil(8);
    let parts = (2 * FEW_GROUPS / groups).clamp(1, (depth / LEAST_PART).max(1));
    Way::Product(small, parts)
}

impl Gpu {
    /// A record with the room that a binding of its struct has.
    fn record(&self, record: &impl bytemuck::Pod) -> Buffer {
        let mut words: Vec<u32> = bytemuck::cast_slice(bytemuck::bytes_of(record)).to_vec();
        words.resize(words.len().next_multiple_of(4), 0);
        self.constant(&words)
    }

    /// One of the kernels of tiles.
    fn conv_tiles(
        &self,
        kernel: &Kernel,
        record: &ConvRecord,
        z: u32,
        operands: &[&Buffer; 4],
        y: &Buffer,
    ) {
        let [pixels, filters] = if kernel.workgroup == CONV_TILES128.workgroup {
            [128, 16]
        } else {
            [32, 8]
        };
        let grid = [
            record.pixels.div_ceil(pixels),
            record.filters.div_ceil(filters),
            z,
        ];
        self.conv(kernel, record, grid, operands, y);
    }

    /// One of the kernels with an invocation for four filters of a pixel.
    fn conv_rows(&self, kernel: &Kernel, record: &ConvRecord, operands: &[&Buffer], y: &Buffer) {
        let rows = record.pixels.div_ceil(8);
        let z = rows.div_ceil(MOST_WORKGROUPS);
        let grid = [record.filters.div_ceil(8), rows.div_ceil(z), z];
        self.conv(kernel, record, grid, operands, y);
    }

    fn conv(
        &self,
        kernel: &Kernel,
        record: &ConvRecord,
        grid: [u32; 3],
        operands: &[&Buffer],
        y: &Buffer,
    ) {
        let told = self.record(record);
        let mut buffers = vec![&told];
        buffers.extend(operands);
        buffers.push(y);
        self.launch(kernel, grid, &buffers);
    }
}
