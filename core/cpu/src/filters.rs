//! [`Filters`]: a convolution's weights, prepared for the algorithm that is the fastest for its shape.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::depthwise::Depthwise;
use crate::implicit::Implicit;
use crate::product::Rows;
use crate::winograd::Winograd;
use crate::{Finish, Instructions, Picture, Shape};

/// Weights of a convolution, prepared once.
#[derive(Debug)]
pub struct Filters {
    shape: Shape,
    prepared: Prepared,
}

#[derive(Debug)]
enum Prepared {
    Depthwise(Depthwise),
    Implicit(Implicit),
    /// And for few tiles.
    Winograd(Winograd, Implicit),
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Taps of a single channel.
    Depthwise,
    /// A product of matrices.
    Implicit,
    /// F(4x4, 3x3), where there are enough tiles.
    Winograd,
}

/// Channels of either side from which on a 3x3 has fewer products than its transforms cost.
const WINOGRAD_CHANNELS: usize = 16;

impl Algorithm {
    /// The table. It was measured (README); nothing is tried when the program runs.
    pub fn of(shape: &Shape) -> Self {
        let once = [1; 2];
        let narrow = shape.filters().min(shape.seen()) < WINOGRAD_CHANNELS;
        match (shape.kernel, shape.stride, shape.dilation) {
            _ if shape.groups == shape.channels_in && shape.groups > 1 => Self::Depthwise,
            ([3, 3], s, d) if s == once && d == once && shape.groups == 1 && !narrow => {
                Self::Winograd
            }
            _ => Self::Implicit,
        }
    }
}

impl Filters {
    /// `weight` is `[K, C / groups, KH, KW]`.
    ///
    /// # Panics
    /// If it has another number of values, or a number of `shape` is 0, or its groups do not divide the channels.
    pub fn new(weight: &[f32], shape: Shape) -> Self {
        Self::with(weight, shape, Instructions::widest())
    }

    /// As [`Filters::new`], computed with these instructions.
    ///
    /// # Panics
    /// As [`Filters::new`].
    pub fn with(weight: &[f32], shape: Shape, instructions: Instructions) -> Self {
        shape.check();
        assert_eq!(
            weight.len(),
            shape.channels_out * shape.depth(),
            "weights are [K, C / groups, KH, KW]"
        );
        let implicit = || Implicit::new(weight, shape, instructions);
        let prepared = match Algorithm::of(&shape) {
            Algorithm::Depthwise => {
                Prepared::Depthwise(Depthwise::new(weight, shape, instructions))
            }
            Algorithm::Implicit => Prepared::Implicit(implicit()),
            Algorithm::Winograd => {
                Prepared::Winograd(Winograd::new(weight, shape, instructions), implicit())
            }
        };
        Self { shape, prepared }
    }

    /// What was prepared.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Convolves one picture or several of one size, `[N, C, H, W]`, to `[N, K, H', W']`.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn convolve(&self, x: Picture, finish: Finish) -> Vec<f32> {
        let len = self.pictures(&x) * self.each(&x);
        // New memory is not cleared first: it is as large as what is computed, and one thread would clear it for all.
        let mut y = Vec::with_capacity(len);
        self.write(x, finish, &mut y.spare_capacity_mut()[..len]);
        // SAFETY: so many have been written.
        unsafe { y.set_len(len) };
        y
    }

    /// As [`Filters::convolve`], into `y`.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn run(&self, x: Picture, finish: Finish, y: &mut [f32]) {
        let len = y.len();
        // SAFETY: the same floats; only numbers are written to them.
        let y = unsafe { std::slice::from_raw_parts_mut(y.as_mut_ptr().cast(), len) };
        self.write(x, finish, y);
    }

    /// Floats of a picture's output.
    fn each(&self, x: &Picture) -> usize {
        let out = self.shape.size_out(x.size, x.padding).unwrap_or_default();
        self.shape.channels_out * out[0] * out[1]
    }

    fn pictures(&self, x: &Picture) -> usize {
        let seen = self.shape.channels_in * x.size[0] * x.size[1];
        x.values.len().checked_div(seen).unwrap_or(0)
    }

    /// Writes all of `y`.
    fn write(&self, x: Picture, finish: Finish, y: &mut [MaybeUninit<f32>]) {
        let out = self.shape.size_out(x.size, x.padding).unwrap_or_default();
        let (each, seen) = (
            self.each(&x),
            self.shape.channels_in * x.size[0] * x.size[1],
        );
        let pictures = match seen {
            0 => y.len() / each.max(1),
            _ => self.pictures(&x),
        };
        assert_eq!(x.values.len(), pictures * seen, "x is [N, C, H, W]");
        assert_eq!(y.len(), pictures * each, "y is [N, K, H', W']");
        finish.check(self.shape.channels_out, y.len());
        if y.is_empty() {
            return;
        }
        let channels = self.shape.channels_out;
        let y = Rows::unwritten(y, out[0] * out[1]);
        let filters = match &self.prepared {
            Prepared::Winograd(filters, _) if Winograd::pays(out, pictures) => {
                return filters.run(pictures, x, finish, y);
            }
            other => other,
        };
        (0..pictures).into_par_iter().for_each(|i| {
            let finish = Finish {
                add: finish.add.map(|add| &add[i * each..][..each]),
                ..finish
            };
            let values = &x.values[i * seen..][..seen];
            let x = Picture { values, ..x };
            let y = y.part(i * channels, channels);
            match filters {
                Prepared::Depthwise(filters) => filters.run(x, finish, y),
                Prepared::Implicit(filters) | Prepared::Winograd(_, filters) => {
                    filters.run(x, finish, y);
                }
            }
        });
    }
}
