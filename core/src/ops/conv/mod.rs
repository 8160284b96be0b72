//! The one seam of every convolution: what is computed, apart from the layers that ask for it, and by which algorithm.
//!
//! On the CPU it is `smalti-cpu`'s, on a GPU that runs WGSL it is by our kernels ([`gpu`]), everywhere else burn's. With final weights what
//! follows is fused and the filters are prepared once; where gradients are recorded, see [`differentiable`].
//!
//! Shapes: x `[N, C, H, W]`, weight `[C_out, C / groups, KH, KW]`, result `[N, C_out, H', W']`.

pub(super) mod cpu;
pub(super) mod gpu;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use super::count::counted;
use super::differentiable;
use super::watch::seen;
use crate::Precision;
use crate::layers::{Activation, Weight};

/// How filters move over the input, and multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Steps between outputs, in pixels: down, right.
    pub stride: [usize; 2],
    /// Zeros before and after each axis.
    pub padding: [(usize, usize); 2],
    /// Steps between a filter's taps, in pixels.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// In which numbers products are computed, where a device has them.
    pub precision: Precision,
}

impl ConvShape {
    /// Height and width of what comes out of x `[N, C, H, W]` by a weight of these dimensions; `None` if nothing does.
    pub(super) fn size_out(
        &self,
        [_, _, height, width]: [usize; 4],
        weight: [usize; 4],
    ) -> Option<[usize; 2]> {
        cpu::of(self, weight).size_out([height, width], self.padding)
    }
}

/// What is done to the sums before they are written, in this order.
#[derive(Clone, Debug, Default)]
pub struct Finish {
    /// `[C_out]`, added.
    pub bias: Option<Tensor<1>>,
    /// Of the result's shape, added: a residual block's shortcut.
    pub add: Option<Tensor<4>>,
    /// Applied last.
    pub act: Option<Activation>,
}

impl Finish {
    /// All of it, to sums that lie there already.
    pub fn apply(self, x: Tensor<4>) -> Tensor<4> {
        let x = match self.bias {
            Some(bias) => {
                let [channels] = bias.dims();
                x + bias.reshape([1, channels, 1, 1])
            }
            None => x,
        };
        let x = match self.add {
            Some(other) => x + other,
            None => x,
        };
        match self.act {
            Some(act) => act.forward(x),
            None => x,
        }
    }
}

/// Convolution, and what finishes it.
pub fn conv2d(x: Tensor<4>, weight: &Weight<4>, shape: &ConvShape, finish: Finish) -> Tensor<4> {
    let y = finished(x, weight, shape, finish);
    seen(|| weight.place(), &y);
    y
}

fn finished(x: Tensor<4>, weight: &Weight<4>, shape: &ConvShape, mut finish: Finish) -> Tensor<4> {
    if let Some([height, width]) = shape.size_out(x.dims(), weight.shape()) {
        let [filters, channels, rows, columns] = weight.shape();
        let [pictures, ..] = x.dims();
        let places = pictures * height * width;
        let out = [pictures, filters, height, width];
        let products = || places * filters * channels * rows * columns;
        if counted(|| weight.place(), &out, products) {
            return Tensor::zeros(out, &x.device());
        }
    }
    let done = cpu::conv2d(&x, weight, shape, &mut finish)
        .or_else(|| gpu::conv2d(&x, weight, shape, &mut finish));
    if let Some(y) = done {
        return finish.apply(y);
    }
    if let Some(y) = differentiable::convolve(&x, &weight.get(), shape) {
        return finish.apply(y);
    }
    let options =
        ConvOptions::new_with_padding(shape.stride, shape.padding, shape.dilation, shape.groups);
    let bias = finish.bias.take();
    finish.apply(module::conv2d(x, weight.get(), bias, options))
}

/// What a device makes of final weights when they are first used.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// For the CPU.
    Cpu(Box<cpu::Filters>),
    /// For a GPU that runs WGSL.
    Gpu(Box<gpu::Filters>),
}

#[cfg(test)]
pub(crate) mod tests;
