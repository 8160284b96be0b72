//! What the kernels of convolution are given: [`Filters`], [`Channels`], [`Added`].

use std::sync::OnceLock;

use burn::tensor::{Tensor, TensorData};
use smalti_shaders::CONV_PACK;
use smalti_shaders::reference::conv::winograd;

use super::super::Finish;
use crate::layers::Activation;
use crate::ops::launch::{Buffer, Gpu, MOST_WORKGROUPS, Strided};

/// Filters as the kernels want them, each kind made when it is first used.
#[derive(Debug)]
pub(crate) struct Filters {
    weight: Tensor<4>,
    /// `[KH, KW, C, K]`.
    plain: OnceLock<Buffer>,
    /// `[36, C, K]`.
    winograd: OnceLock<Buffer>,
}

impl Filters {
    pub(super) fn new(weight: Tensor<4>) -> Self {
        Self {
            weight,
            plain: OnceLock::new(),
            winograd: OnceLock::new(),
        }
    }

    /// `[KH * KW, C, K]` with K, and C unless it is of a group, filled up with zeros.
    fn ordered(&self, fill_channels: bool) -> Tensor<3> {
        let [filters, channels, rows, columns] = self.weight.dims();
        let taps = self.weight.clone().permute([2, 3, 1, 0]);
        let taps = taps.reshape([rows * columns, channels, filters]);
        let [more_channels, more_filters] = [channels, filters].map(|n| n.next_multiple_of(4) - n);
        let more_channels = if fill_channels { more_channels } else { 0 };
        if more_channels + more_filters == 0 {
            return taps;
        }
        taps.pad((0, more_filters, 0, more_channels), 0.0)
    }

    pub(super) fn plain(&self, gpu: &Gpu, fill_channels: bool) -> Option<&Buffer> {
        if self.plain.get().is_none() {
            let _ = self
                .plain
                .set(gpu.contiguous(self.ordered(fill_channels)).ok()?);
        }
        self.plain.get()
    }

    pub(super) fn winograd(&self, gpu: &Gpu) -> Option<&Buffer> {
        if self.winograd.get().is_none() {
            let taps = self.ordered(true);
            let [_, channels, filters] = taps.dims();
            let by_tap = TensorData::new(winograd::filter(), [36, 9]);
            let by_tap = Tensor::<2>::from_data(by_tap, &taps.device());
            let made = by_tap.matmul(taps.reshape([9, channels * filters]));
            let _ = self.winograd.set(gpu.contiguous(made).ok()?);
        }
        self.winograd.get()
    }
}

/// A tensor with its channels last.
pub(crate) struct Channels {
    pub(super) buffer: Buffer,
    /// Elements from a picture, a row, a pixel to the next; all multiples of four.
    pub(super) strides: [usize; 3],
}

/// What is added before the activation, and that; with a buffer for each binding.
pub(super) struct Added {
    pub(super) bias: Buffer,
    pub(super) has_bias: bool,
    pub(super) add: Buffer,
    pub(super) has_add: bool,
    pub(super) act: u32,
    pub(super) act_by: [f32; 4],
}

impl Channels {
    /// As it lies, if its channels lie last and in fours; else copied.
    pub(super) fn of(gpu: &Gpu, x: Strided<4>) -> Self {
        let [_, channels, ..] = x.shape;
        let [picture, channel, row, pixel] = x.strides;
        let fours = [channels, picture, row, pixel].iter().all(|n| n % 4 == 0);
        if channel == 1 && fours {
            return Self {
                buffer: x.buffer,
                strides: [picture, row, pixel],
            };
        }
        Self::packed(gpu, &x)
    }

    /// Without room between pixels or beyond the last four channels, and apart from `other`: WebGPU binds no buffer twice.
    pub(crate) fn dense(gpu: &Gpu, x: Tensor<4>, other: Option<&Buffer>) -> Option<Buffer> {
        let x = gpu.strided(x).ok()?;
        let [_, channels, height, width] = x.shape;
        let dense = [height * width * channels, 1, width * channels, channels];
        let shared = other.is_some_and(|other| x.buffer.shares(other));
        Some(if channels % 4 == 0 && x.strides == dense && !shared {
            x.buffer
        } else {
            Self::packed(gpu, &x).buffer
        })
    }

    pub(super) fn packed(gpu: &Gpu, x: &Strided<4>) -> Self {
        let [pictures, channels, height, width] = x.shape;
        let filled = channels.next_multiple_of(4);
        let buffer = gpu.empty(pictures * height * width * filled);
        let words = [x.shape, x.strides].concat();
        let plan: Vec<u32> = words.into_iter().map(|n| n as u32).collect();
        let rows = (pictures * height).min(MOST_WORKGROUPS as usize);
        let grid = [width.div_ceil(16), (filled / 4).div_ceil(4), rows].map(|n| n as u32);
        gpu.launch(
            &CONV_PACK,
            grid,
            &[&gpu.constant(&plan), &x.buffer, &buffer],
        );
        Self {
            buffer,
            strides: [height * width * filled, width * filled, filled],
        }
    }
}

impl Added {
    /// What most kernels bind before y.
    pub(super) fn operands<'a>(&'a self, x: &'a Channels, weights: &'a Buffer) -> [&'a Buffer; 4] {
        [&x.buffer, weights, &self.bias, &self.add]
    }

    pub(super) fn nothing(gpu: &Gpu) -> Self {
        Self {
            bias: nothing(gpu, 1),
            has_bias: false,
            add: nothing(gpu, 2),
            has_add: false,
            act: 0,
            act_by: [0.0; 4],
        }
    }

    /// Takes from `finish` what the kernels do to so many channels, apart from `x`.
    pub(super) fn take(
        gpu: &Gpu,
        finish: &mut Finish,
        channels: usize,
        x: &Channels,
    ) -> Option<Self> {
        let filled = channels.next_multiple_of(4);
        let bias = match &finish.bias {
            Some(bias) if filled == channels => Some(bias.clone()),
            Some(bias) => Some(
                bias.clone()
                    .reshape([1, channels])
                    .pad((0, filled - channels, 0, 0), 0.0)
                    .flatten(0, 1),
            ),
            None => None,
        };
        let bias = bias.map(|bias| gpu.contiguous(bias)).transpose().ok()?;
        let add = match &finish.add {
            Some(add) => Some(Channels::dense(gpu, add.clone(), Some(&x.buffer))?),
            None => None,
        };
        let (act, act_by) = match finish.act {
            Some(act) => number(act).unwrap_or_default(),
            None => (0, [0.0; 4]),
        };
        if act != 0 {
            finish.act = None;
        }
        (finish.bias, finish.add) = (None, None);
        Some(Self {
            has_bias: bias.is_some(),
            bias: bias.unwrap_or_else(|| nothing(gpu, 1)),
            has_add: add.is_some(),
            add: add.unwrap_or_else(|| nothing(gpu, 2)),
            act,
            act_by,
        })
    }
}

/// What is bound where nothing is added; each `which` is apart from the others, as WebGPU binds no buffer twice.
fn nothing(gpu: &Gpu, which: u32) -> Buffer {
    gpu.constant(&[which; 4])
}

/// The number and the numbers of an activation in `shared/finish.wgsl` and `shared/slope.wgsl`; `None` if it has none.
pub(crate) fn number(act: Activation) -> Option<(u32, [f32; 4])> {
    let by = |values: &[f64]| {
        let mut by = [0.0; 4];
        for (to, value) in by.iter_mut().zip(values) {
            *to = *value as f32;
        }
        by
    };
    Some(match act {
        Activation::Relu => (1, by(&[])),
        // The third is the slope at the corners, which is PyTorch's.
        Activation::Relu6 => (2, by(&[0.0, 6.0, 0.0])),
        Activation::Clip(low, high) => (2, by(&[low, high, 1.0])),
        Activation::LeakyRelu(slope) => (3, by(&[slope])),
        Activation::Sigmoid => (4, by(&[])),
        Activation::Silu => (5, by(&[])),
        Activation::HSwish => (6, by(&[])),
        Activation::HSigmoid {
            bias,
            divisor,
            min,
            max,
        } => (7, by(&[bias, divisor, min, max])),
        Activation::Elu(_)
        | Activation::Tanh
        | Activation::Gelu
        | Activation::GeluTanh
        | Activation::QuickGelu
        | Activation::Mish => return None,
    })
}
