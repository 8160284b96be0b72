//! Deformable convolution by `smalti-cpu`: what the filters see, and a convolution of 1x1 over that.

use std::ops::Range;

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use smalti_cpu::{Deform, Filters, Finish, InputGradient, Picture, Samples, Shape};

use super::DeformShape;
use crate::ops::conv::cpu::{in_order, slice, tensor};

/// Numbers of a block of columns; few in tests, so that there are many.
const BLOCK: usize = if cfg!(test) { 1 << 13 } else { 2 << 20 };

/// x, offset and mask in order.
struct Operands {
    x: FloatTensor<Flex>,
    offset: FloatTensor<Flex>,
    mask: FloatTensor<Flex>,
    of: Deform,
    pictures: usize,
    /// The product with the filters.
    product: Shape,
}

/// One of the blocks.
struct Block<'a> {
    picture: usize,
    pixels: Range<usize>,
    samples: Samples<'a>,
}

impl Operands {
    fn new(operands: [FloatTensor<Flex>; 3], dims: [usize; 4], shape: &DeformShape) -> Self {
        let [x, offset, mask] = operands.map(in_order);
        let [pictures, channels, height, width] = x.shape().dims();
        let [_, _, rows, columns] = offset.shape().dims();
        let [filters, _, kernel @ ..] = dims;
        let of = Deform {
            channels,
            size: [height, width],
            size_out: [rows, columns],
            kernel,
            stride: shape.stride,
            padding: shape.before(),
            dilation: shape.dilation,
            sets: shape.sets,
        };
        let product = Shape {
            channels_out: filters,
            channels_in: channels * kernel[0] * kernel[1],
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            groups: shape.groups,
        };
        Self {
            x,
            offset,
            mask,
            of,
            pictures,
            product,
        }
    }

    /// y's height and width multiplied.
    fn plane(&self) -> usize {
        self.of.size_out[0] * self.of.size_out[1]
    }

    fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        let plane = self.plane();
        let each = (BLOCK / self.product.channels_in).clamp(1, plane);
        let first =
            (0..self.pictures).flat_map(move |i| (0..plane).step_by(each).map(move |p| (i, p)));
        first.map(move |(picture, first)| {
            let pixels = first..(first + each).min(plane);
            let offset = of_picture(&self.offset, picture, self.pictures);
            let mask = of_picture(&self.mask, picture, self.pictures);
            let samples = self.of.samples(offset, mask, pixels.clone());
            Block {
                picture,
                pixels,
                samples,
            }
        })
    }

    fn x(&self, picture: usize) -> &[f32] {
        of_picture(&self.x, picture, self.pictures)
    }

    fn columns(&self, block: &Block) -> Vec<f32> {
        let mut columns = vec![0.0; self.product.channels_in * block.pixels.len()];
        block.samples.columns(self.x(block.picture), &mut columns);
        columns
    }

    /// The rows of a block's pixels in a tensor of y's shape.
    fn rows(&self, block: &Block) -> impl Iterator<Item = Range<usize>> + use<> {
        let (plane, pixels) = (self.plane(), block.pixels.clone());
        let first = block.picture * self.product.channels_out;
        (first..first + self.product.channels_out)
            .map(move |row| row * plane + pixels.start..row * plane + pixels.end)
    }

    /// y's gradient of a block.
    fn slopes(&self, block: &Block, gradient: &[f32]) -> Vec<f32> {
        let rows = self.rows(block).map(|row| &gradient[row]);
        rows.collect::<Vec<_>>().concat()
    }
}

fn of_picture(tensor: &FloatTensor<Flex>, picture: usize, pictures: usize) -> &[f32] {
    let each = slice(tensor).len() / pictures;
    &slice(tensor)[picture * each..][..each]
}

fn line(values: &[f32], pixels: usize) -> Picture<'_> {
    Picture {
        values,
        size: [1, pixels],
        padding: [(0, 0); 2],
    }
}

pub(super) fn convolve(
    operands: [FloatTensor<Flex>; 3],
    weight: FloatTensor<Flex>,
    shape: &DeformShape,
) -> FloatTensor<Flex> {
    let weight = in_order(weight);
    let operands = Operands::new(operands, weight.shape().dims(), shape);
    let filters = Filters::new(slice(&weight), operands.product);
    let channels = operands.product.channels_out;
    let mut y = vec![0.0; operands.pictures * channels * operands.plane()];
    for block in operands.blocks() {
        let pixels = block.pixels.len();
        let mut made = vec![0.0; channels * pixels];
        let columns = operands.columns(&block);
        filters.run(line(&columns, pixels), Finish::default(), &mut made);
        for (to, made) in operands.rows(&block).zip(made.chunks_exact(pixels)) {
            y[to].copy_from_slice(made);
        }
    }
    let [height, width] = operands.of.size_out;
    tensor(y, [operands.pictures, channels, height, width])
}

/// Of x, offset and mask.
pub(super) fn gradients(
    operands: [FloatTensor<Flex>; 3],
    weight: FloatTensor<Flex>,
    gradient: FloatTensor<Flex>,
    shape: &DeformShape,
) -> [FloatTensor<Flex>; 3] {
    let [weight, gradient] = [weight, gradient].map(in_order);
    let operands = Operands::new(operands, weight.shape().dims(), shape);
    let prepared = InputGradient::new(slice(&weight), operands.product, [(0, 0); 2]);
    let all = [&operands.x, &operands.offset, &operands.mask];
    let [mut of_x, mut of_offset, mut of_mask] = all.map(|t| vec![0.0; slice(t).len()]);
    let [x, offset, mask] = all.map(|t| slice(t).len() / operands.pictures);
    for block in operands.blocks() {
        let (i, pixels) = (block.picture, block.pixels.len());
        let dy = operands.slopes(&block, slice(&gradient));
        let mut slopes = vec![0.0; operands.product.channels_in * pixels];
        prepared.run(&dy, [1, pixels], &mut slopes);
        block
            .samples
            .input_gradient(&slopes, &mut of_x[i * x..][..x]);
        block.samples.point_gradients(
            operands.x(i),
            &slopes,
            &mut of_offset[i * offset..][..offset],
            &mut of_mask[i * mask..][..mask],
        );
    }
    let [x, offset, mask] = all.map(|t| t.shape());
    [
        tensor(of_x, x),
        tensor(of_offset, offset),
        tensor(of_mask, mask),
    ]
}

/// Of weights of `dims`.
pub(super) fn weight_gradient(
    operands: [FloatTensor<Flex>; 3],
    gradient: FloatTensor<Flex>,
    shape: &DeformShape,
    dims: [usize; 4],
) -> FloatTensor<Flex> {
    let gradient = in_order(gradient);
    let operands = Operands::new(operands, dims, shape);
    let mut made = vec![0.0; dims.iter().product()];
    for block in operands.blocks() {
        let dy = operands.slopes(&block, slice(&gradient));
        let columns = operands.columns(&block);
        let columns = line(&columns, block.pixels.len());
        smalti_cpu::weight_gradient(&operands.product, columns, &dy, &mut made);
    }
    tensor(made, dims)
}
