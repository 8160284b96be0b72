//! [`Offsets`]: where a deformable convolution's taps go (Dai et al. 2017, arXiv 1703.06211), and how much they count (Zhu et al. 2019, arXiv
//! 1811.11168): mmcv's `DeformConv2dPack` and `ModulatedDeformConv2dPack`, which are `DCN` and `DCNv2` in configs.
//!
//! Shapes: x `[N, C, H, W]`, weight `[K, C / groups, KH, KW]`, result `[N, K, H', W']`.

use burn::tensor::{Tensor, activation::sigmoid};

use super::{ConvConfig, ConvNormAct, Params};
use crate::ops::conv::ConvShape;
use crate::ops::deform_conv::{DeformShape, deform_conv2d};

/// The convolution that gives the offsets, and the weights of the taps if there are any.
#[derive(Debug)]
pub(super) struct Offsets {
    conv: ConvNormAct,
    modulated: bool,
    sets: usize,
}

impl Offsets {
    /// Of the deformable convolution `of` at the place `at`.
    pub fn new(of: &ConvConfig, modulated: bool, sets: usize, at: &Params) -> Self {
        let each = if modulated { 3 } else { 2 };
        let at = if of.beside {
            at.beside("_offset")
        } else {
            let at = at.at("conv_offset");
            at.once_beside("_offset");
            at
        };
        let conv = of.of_offsets(sets * each * of.taps());
        Self {
            conv: conv.init(&at, None),
            modulated,
            sets,
        }
    }

    /// The deformable convolution.
    pub fn convolve(&self, x: Tensor<4>, weight: Tensor<4>, shape: &ConvShape) -> Tensor<4> {
        let found = self.conv.forward(x.clone());
        if !self.modulated {
            return deform(x, found, None, weight, shape, self.sets);
        }
        let [_, channels, ..] = found.dims();
        let moves = channels / 3 * 2;
        let mask = sigmoid(found.clone().slice_dim(1, moves..channels));
        let offset = found.slice_dim(1, 0..moves);
        deform(x, offset, Some(mask), weight, shape, self.sets)
    }
}

/// A convolution of `shape` whose taps move by `offset`.
pub(super) fn deform(
    x: Tensor<4>,
    offset: Tensor<4>,
    mask: Option<Tensor<4>>,
    weight: Tensor<4>,
    shape: &ConvShape,
    sets: usize,
) -> Tensor<4> {
    let shape = DeformShape {
        stride: shape.stride,
        padding: shape.padding,
        dilation: shape.dilation,
        groups: shape.groups,
        sets,
    };
    deform_conv2d(x, offset, mask, weight, &shape)
}
