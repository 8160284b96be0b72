//! [`Switchable`]: switchable atrous convolution (DetectoRS, Qiao et al. 2020, arXiv 2006.02334, section 4; mmcv's `SAC`): the same filters with
//! two dilations, those of the larger changed by a difference, mixed at each place by what is around it; means of the whole map are added before and
//! after.
//!
//! Shapes: x `[N, C, H, W]`, weight `[K, C / groups, KH, KW]`, result `[N, K, H', W']`.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

use super::adaptive::{Adaptive, standardise_adaptively};
use super::deform_conv::deform;
use super::{ConvConfig, ConvNormAct, Init, Params, Weight};
use crate::ops::conv::{ConvShape, Finish, conv2d};

/// How many times the dilation the second one is.
const LARGER: usize = 3;

/// Pixels to each side that the switch sees the mean of.
const AROUND: usize = 2;

/// What there is beside the filters.
#[derive(Debug)]
pub(super) struct Switchable {
    filters: Filters,
    switch: ConvNormAct,
    before: ConvNormAct,
    after: ConvNormAct,
    /// Offsets of the two convolutions, if they are deformable.
    offsets: Option<[ConvNormAct; 2]>,
}

/// The filters of the larger dilation.
#[derive(Debug)]
enum Filters {
    /// To be made of what changes.
    Live(Box<(Adaptive, Weight<4>)>),
    /// Final, as those of the smaller are.
    Fixed(Weight<4>),
}

impl Switchable {
    /// Of filters at `at` that may change.
    pub fn live(of: &ConvConfig, weight: &Weight<4>, deform: bool, at: &Params) -> Self {
        let difference = at.weight("weight_diff", weight.shape(), Init::Constant(0.0));
        let adaptive = Adaptive::new(weight, at);
        Self::new(
            of,
            Filters::Live(Box::new((adaptive, difference))),
            deform,
            at,
        )
    }

    /// Of final filters at `at`, which are made what the smaller dilation uses.
    pub fn fixed(of: &ConvConfig, weight: &mut [f32], deform: bool, at: &Params) -> Self {
        let shape = of.shape();
        let mut larger = at.values("weight_diff", &shape, Init::Constant(0.0));
        standardise_adaptively(weight, of.channels_out(), at);
        larger.iter_mut().zip(weight).for_each(|(l, w)| *l += *w);
        Self::new(of, Filters::Fixed(at.upload(larger, shape)), deform, at)
    }

    fn new(of: &ConvConfig, filters: Filters, deform: bool, at: &Params) -> Self {
        let (channels, out, stride) = (of.channels_in(), of.channels_out(), of.step());
        let constant = |at: &Params, bias| {
            at.initialise_built(super::InitRule::all(Init::Constant(0.0), bias));
        };
        let beside = |name: &str, [from, to]: [usize; 2], stride: usize, bias: f32| {
            let at = at.at(name);
            constant(&at, bias);
            let conv = ConvConfig::new(from, to, 1).stride(stride).bias(true);
            conv.init(&at, None)
        };
        let switch = beside("switch", [channels, 1], stride, 1.0);
        let before = beside("pre_context", [channels, channels], 1, 0.0);
        let after = beside("post_context", [out, out], 1, 0.0);
        let offsets = deform.then(|| {
            ["offset_s", "offset_l"].map(|name| {
                let at = at.at(name);
                constant(&at, 0.0);
                let conv = ConvConfig::new(channels, 18, 3)
                    .stride(stride)
                    .pad(1)
                    .bias(true);
                conv.init(&at, None)
            })
        });
        at.built();
        Self {
            filters,
            switch,
            before,
            after,
            offsets,
        }
    }

    /// The convolution, `weight` being the filters of the smaller dilation.
    pub fn convolve(&self, x: Tensor<4>, weight: &Weight<4>, shape: &ConvShape) -> Tensor<4> {
        let x = x.clone() + self.before.forward(whole(x));
        let around = mean_around(x.clone());
        let share = self.switch.forward(around.clone());
        let made;
        let [small, large] = match &self.filters {
            Filters::Fixed(large) => [weight, large],
            Filters::Live(live) => {
                let (adaptive, difference) = live.as_ref();
                let small = adaptive.apply(weight.get());
                let large = small.clone() + difference.get();
                made = [small, large].map(Weight::from);
                [&made[0], &made[1]]
            }
        };
        let wider = ConvShape {
            padding: shape.padding.map(|(a, b)| (LARGER * a, LARGER * b)),
            dilation: shape.dilation.map(|d| LARGER * d),
            ..*shape
        };
        let convolve = |i: usize, weight: &Weight<4>, shape: &ConvShape| match &self.offsets {
            Some(offsets) => {
                let offset = offsets[i].forward(around.clone());
                deform(x.clone(), offset, None, weight.get(), shape, 1)
            }
            None => conv2d(x.clone(), weight, shape, Finish::default()),
        };
        let [small, large] = [convolve(0, small, shape), convolve(1, large, &wider)];
        let mixed = large.clone() + share * (small - large);
        mixed.clone() + self.after.forward(whole(mixed))
    }
}

/// The mean of each channel, `[N, C, 1, 1]`.
fn whole(x: Tensor<4>) -> Tensor<4> {
    x.mean_dim(2).mean_dim(3)
}

/// The mean of 5x5 pixels around each; beyond the border the map is mirrored.
fn mean_around(x: Tensor<4>) -> Tensor<4> {
    let x = mirrored(mirrored(x, 2), 3);
    let options = AvgPoolOptions::new([2 * AROUND + 1; 2]).with_stride([1; 2]);
    avg_pool2d(x, options)
}

/// With [`AROUND`] more on both sides of a dimension, the pixel at the border being the mirror (in a map that is too small for that, the border).
fn mirrored(x: Tensor<4>, dim: usize) -> Tensor<4> {
    let last = x.dims()[dim] - 1;
    let one = |at: usize| x.clone().slice_dim(dim, at..at + 1);
    let before = (1..=AROUND).rev().map(|i| one(i.min(last)));
    let after = (1..=AROUND).map(|i| one(last.saturating_sub(i)));
    let parts = before.chain([x.clone()]).chain(after);
    Tensor::cat(parts.collect(), dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn borders_are_mirrors() {
        let line = |values: &[f32]| {
            let x = Tensor::<1>::from_floats(values, &Device::flex());
            let x = mirrored(x.reshape([1, 1, 1, values.len()]), 3);
            x.into_data().try_into_vec::<f32>().unwrap()
        };
        assert_eq!(
            line(&[1.0, 2.0, 3.0, 4.0]),
            [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0]
        );
        assert_eq!(line(&[1.0, 2.0]), [2.0, 2.0, 1.0, 2.0, 1.0, 1.0]);
    }
}
